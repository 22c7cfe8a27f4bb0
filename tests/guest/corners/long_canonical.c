/* Long mode: canonical addresses, and segments in 64-bit mode. */

#include "check.h"

static bool has_xsave(void)
{
    return offered(1, ECX, 27);
}
static bool has_avx(void)
{
    return offered(1, ECX, 28) && offered(1, ECX, 27);
}
static bool has_avx2(void)
{
    return has_avx() && offered(7, EBX, 5);
}
static bool has_clflushopt(void)
{
    return offered(7, EBX, 23);
}
static bool has_clwb(void)
{
    return offered(7, EBX, 24);
}
static bool has_monitor(void)
{
    return offered(1, ECX, 3);
}
static bool has_invpcid(void)
{
    return offered(7, EBX, 10);
}
static bool keeps_null_bases(void)
{
    return is_amd() && !offered(0x80000021, EAX, 6);
}
static bool has_fsgsbase(void)
{
    return offered(7, EBX, 0);
}
BEFORE(fsgsbase, WRITE_CR(4, saved_cr4 | CR4_FSGSBASE))

/* The last page below the hole, with code at its end. */
static u64 *top_page(void)
{
    static u64 top_pdpt, top_pd, top_pt, top;
    if (!top) {
        top_pdpt               = page();
        top_pd                 = page();
        top_pt                 = page();
        top                    = page();
        pml4[255]              = top_pdpt | P | W | U;
        ((u64 *)top_pdpt)[511] = top_pd | P | W | U;
        ((u64 *)top_pd)[511]   = top_pt | P | W | U;
        ((u64 *)top_pt)[511]   = top | P | W | U;
    }
    memset((void *)top, 0x90, PAGE);
    return (u64 *)top;
}
BEFORE(map_top, top_page())
BEFORE(map_top_across, u8 *end = (u8 *)top_page() + 0xffe; end[0] = 0xc7; end[1] = 0xc0) /* the start of MOV $, EAX */
BEFORE(map_top_call, u8 *end = (u8 *)top_page() + 0xffe; end[0] = 0xff; end[1] = 0xd1)   /* CALL *RCX */
BEFORE(ldt_at_end, *gdt_entry(0x98) = SEGMENT(0, 0xff, 0x82))
BEFORE(descriptor_in_area, *(u64 *)area_page = SEGMENT(0, 0xfffff, 0xc093))
BEFORE(tss_in_t1, *gdt_entry(S_T1) = SEGMENT((u32)(u64)cpus[0].tss, 103, 0x89))
AFTER(t1_accessed, *gdt_entry(S_T1) >> 40 & 1)

/* --- canonical addresses --- */

CASE("canon.read", "a read of an address that is not canonical is #GP(0)", "SDM 1, 3.3.7.1", L0, BAD, "mov (%rbx), %al",
     GP(0))
CASE("canon.write", "a write", "SDM 1, 3.3.7.1", L3, BAD, "mov %al, (%rbx)", GP(0))
CASE("canon.end", "an access that ends behind 7FFFFFFFFFFFh", "SDM 1, 3.3.7.1", L0, "movabs $0x7fffffffffff, %rbx",
     "mov (%rbx), %ax", GP(0))
CASE("canon.begin", "one that ends at FFFF8000...", "SDM 1, 3.3.7.1", L0, "movabs $0xffff7fffffffffff, %rbx",
     "mov (%rbx), %ax", GP(0))
CASE("canon.rbp", "by RBP it is #SS(0)", "SDM 1, 3.3.7.1", L3, "movabs $0x800000000000, %rbp", "mov (%rbp), %al", SS(0))
CASE("canon.rsp", "by RSP too", "SDM 1, 3.3.7.1", L3, "movabs $0x800000000000, %rsp", "mov (%rsp), %al", SS(0))
CASE("canon.push", "a push is #SS(0)", "SDM 2, PUSH", L3, "movabs $0x800000000008, %rsp", "push %rax", SS(0))
CASE("canon.pop", "a pop", "SDM 2, POP", L3, "movabs $0x800000000000, %rsp", "pop %rax", SS(0))
CASE("canon.call", "a CALL's push", "SDM 2, CALL", L3, "movabs $0x800000000008, %rsp", "call 1f\n 1:", SS(0))
CASE("canon.call-target", "a CALL to there is #GP(0), with RSP as it was", "SDM 2, CALL", L3, BAD "mov %rsp, %rax",
     "call *%rbx", GP(0), .check_ax = true, .ax = STACK_TOP)
CASE("canon.jmp", "a JMP", "SDM 2, JMP", L3, BAD, "jmp *%rbx", GP(0))
CASE("canon.ret", "a RET, with RSP as it was", "SDM 2, RET", L3, BAD "push %rbx\n mov %rsp, %rax", "ret", GP(0),
     .check_ax = true, .ax = A_STACK + 0x7f8)
CASE("canon.iret", "an IRET to there", "SDM 2, IRET", L0, BAD "push $0\n push $0\n push $2\n push $S_CS64\n push %rbx",
     "iretq", GP(0))
CASE("canon.retf", "a far RET", "SDM 2, RET", L0, BAD "push $S_CS64\n push %rbx", "lretq", GP(0))
CASE("canon.fs-base", "through FS: base plus offset counts", "SDM 3, 3.4.4", L0,
     "mov $0xc0000100, %ecx\n mov $-1, %eax\n mov $0x7fff, %edx\n wrmsr", "mov %fs:1, %al", GP(0))
CASE("canon.wrmsr-fs", "FS_BASE must be canonical", "SDM 2, WRMSR", L0,
     "mov $0xc0000100, %ecx\n xor %eax, %eax\n mov $0x8000, %edx", "wrmsr", GP(0))
CASE("canon.wrmsr-gs", "GS_BASE", "SDM 2, WRMSR", L0, "mov $0xc0000101, %ecx\n xor %eax, %eax\n mov $0x8000, %edx",
     "wrmsr", GP(0))
CASE("canon.wrmsr-kgs", "KERNEL_GS_BASE", "SDM 2, WRMSR", L0,
     "mov $0xc0000102, %ecx\n xor %eax, %eax\n mov $0x8000, %edx", "wrmsr", GP(0))
CASE("canon.wrmsr-lstar", "LSTAR", "SDM 2, WRMSR", L0, "mov $0xc0000082, %ecx\n xor %eax, %eax\n mov $0x8000, %edx",
     "wrmsr", GP(0))
CASE("canon.wrmsr-cstar", "CSTAR", "SDM 2, WRMSR", L0, "mov $0xc0000083, %ecx\n xor %eax, %eax\n mov $0x8000, %edx",
     "wrmsr", GP(0))
CASE("canon.lgdt", "LGDT of such a base", "SDM 2, LGDT", L0, BAD "mov %rbx, 2(%rdi)", "lgdt (%rdi)", GP(0))
CASE("canon.lidt", "LIDT", "SDM 2, LGDT", L0, BAD "mov %rbx, 2(%rdi)", "lidt (%rdi)", GP(0))
CASE("canon.invlpg", "INVLPG does nothing there", "SDM 2, INVLPG", L0, BAD, "invlpg (%rbx)", NONE)
CASE("canon.movs", "MOVS", "SDM 2, MOVS", L0, "movabs $0x800000000000, %rsi", "movsb", GP(0))
CASE("canon.fxsave", "FXSAVE", "SDM 2, FXSAVE", L0, BAD, "fxsave (%rbx)", GP(0))
CASE("canon.cmpxchg16b", "CMPXCHG16B at 8 is #GP(0)", "SDM 2, CMPXCHG16B", L0, "", "cmpxchg16b 8(%rdi)", GP(0))
CASE("canon.prefetch", "PREFETCH does nothing there", "SDM 2, PREFETCHh", L0, BAD, "prefetcht0 (%rbx)", NONE)
CASE("canon.clflush", "CLFLUSH is checked like a read", "SDM 2, CLFLUSH", L0, BAD, "clflush (%rbx)", GP(0))
CASE("canon.lea", "LEA is not", "SDM 2, LEA", L0, BAD, "lea (%rbx), %rax", VALUE(0x800000000000))
CASE("canon.cr3", "reserved bits of CR3 are #GP(0)", "SDM 2, MOV", L0, "mov %cr3, %rax\n bts $62, %rax",
     "mov %rax, %cr3", GP(0))
CASE("canon.cr0-high", "bits 32 to 63 of CR0 are #GP(0)", "SDM 2, MOV", L0, "mov %cr0, %rax\n bts $32, %rax",
     "mov %rax, %cr0", GP(0))
CASE("canon.cr4-high", "of CR4", "SDM 2, MOV", L0, "mov %cr4, %rax\n bts $40, %rax", "mov %rax, %cr4", GP(0))
CASE("canon.dr7-high", "of DR7", "SDM 2, MOV", L0, "mov $0x400, %eax\n bts $32, %rax", "mov %rax, %dr7", GP(0))
CASE("canon.dr6-high", "of DR6", "SDM 2, MOV", L0, "mov $0, %eax\n bts $32, %rax", "mov %rax, %dr6", GP(0))
CASE("canon.cr8-high", "bits above 3 of CR8", "SDM 2, MOV", L0, "mov $0x10, %eax", "mov %rax, %cr8", GP(0))
CASE("canon.cr8", "CR8 is the APIC's TPR / 16", "SDM 3, 11.8.6", L0,
     "mov $5, %eax\n mov %rax, %cr8\n mov $0xfee00080, %ecx\n mov (%rcx), %ecx\n xor %eax, %eax\n mov %rax, %cr8\n mov "
     "%ecx, %eax",
     "nop", VALUE(0x50))
CASE("canon.rip-relative", "a 67h prefix cuts RIP-relative addresses to 32 bits", "SDM 2, 2.2.1.6", L0, "",
     ".byte 0x67, 0x8b, 0x05\n .long A_AREA - A_CODE - 7\n", VALUE(0))
CASE("canon.a32-base", "a 32-bit address is cut before FS's base is added", "SDM 3, 3.4.4", L0,
     "mov $0xc0000100, %ecx\n mov $-0x10, %eax\n mov $0x7fff, %edx\n wrmsr\n mov $-1, %rbx", "mov %fs:(%ebx), %al",
     GP(0))
CASE("canon.a64-base-wraps", "base plus offset wraps at 64 bits", "SDM 3, 3.4.4", L0,
     "movl $0x77, 0x10(%rdi)\n mov $0xc0000100, %ecx\n mov $-0x10, %eax\n mov $-1, %edx\n wrmsr",
     "mov %fs:0x20(%rdi), %eax", VALUE(0x77))
CASE("canon.push-memory", "PUSH of a bad address is #GP(0)", "SDM 2, PUSH", L3, BAD, "push (%rbx)", GP(0))
CASE("canon.pop-memory", "POP to one too, with RSP as it was", "SDM 2, POP", L3, BAD "push $0\n mov %rsp, %rax",
     "pop (%rbx)", GP(0), .check_ax = true, .ax = STACK_TOP - 8)
CASE("canon.push-across", "a push that ends below FFFF8000... is #SS(0)", "SDM 1, 3.3.7.1", L3,
     "movabs $0xffff800000000004, %rsp", "push %rax", SS(0))
CASE("canon.enter", "ENTER is #SS(0)", "SDM 2, ENTER", L3, "movabs $0x800000000008, %rsp", "enter $0, $0", SS(0))
CASE("canon.leave", "LEAVE by a bad RBP is #SS(0)", "SDM 2, LEAVE", L3, "movabs $0x800000000000, %rbp", "leave", SS(0))
CASE("canon.pushf", "PUSHF is #SS(0)", "SDM 2, PUSHF", L3, "movabs $0x800000000008, %rsp", "pushf", SS(0))
CASE("canon.iret-stack", "IRET's pops are #SS(0)", "SDM 2, IRET", L3, "movabs $0x800000000000, %rsp", "iretq", SS(0))
CASE("canon.retf-stack", "a far RET's pops are #SS(0)", "SDM 2, RET", L3, "movabs $0x800000000000, %rsp", "lretq",
     SS(0))
CASE("canon.ret-stack", "a near RET's pop", "SDM 2, RET", L3, "movabs $0x800000000000, %rsp", "ret", SS(0))
CASE("canon.xlat", "XLAT is #GP(0)", "SDM 2, XLAT", L3, BAD, "xlat", GP(0))
CASE("canon.stos", "STOS", "SDM 2, STOS", L3, "movabs $0x800000000000, %rdi", "stosb", GP(0))
CASE("canon.cmps", "CMPS", "SDM 2, CMPS", L3, "movabs $0x800000000000, %rsi", "cmpsb", GP(0))
CASE("canon.scas", "SCAS", "SDM 2, SCAS", L3, "movabs $0x800000000000, %rdi", "scasb", GP(0))
CASE("canon.lods", "LODS", "SDM 2, LODS", L3, "movabs $0x800000000000, %rsi", "lodsb", GP(0))
CASE("canon.rep-none", "REP with RCX 0 touches nothing", "SDM 2, REP", L3,
     "xor %ecx, %ecx\n movabs $0x800000000000, %rdi", "rep stosb", NONE)
AFTER(rep_at_end, f->rcx == 2 && f->rdi == 0x800000000000)
CASE("canon.rep-stops", "REP STOS up to 7FFF...: what fits was written", "SDM 2, REP", L3,
     "mov $0x7ffffffff000, %rbx\n mov $4, %ecx\n movabs $0x7ffffffffffe, %rdi", "rep stosb", GP(0), .before = map_top,
     .after = rep_at_end)
CASE("canon.cmpxchg8b", "CMPXCHG8B", "SDM 2, CMPXCHG8B", L3, BAD, "cmpxchg8b (%rbx)", GP(0))
CASE("canon.cmpxchg", "a locked CMPXCHG", "SDM 2, CMPXCHG", L3, BAD, "lock cmpxchg %rcx, (%rbx)", GP(0))
CASE("canon.xadd", "XADD", "SDM 2, XADD", L3, BAD, "lock xadd %rcx, (%rbx)", GP(0))
CASE("canon.bts", "BTS where its bit offset leads", "SDM 2, BTS", L3, "movabs $0x4000000000000, %rcx",
     "bts %rcx, (%rdi)", GP(0))
CASE("canon.movnti", "MOVNTI", "SDM 2, MOVNTI", L3, BAD, "movnti %rax, (%rbx)", GP(0))
CASE("canon.movups", "MOVUPS that ends behind 7FFF...", "SDM 1, 3.3.7.1", L3, "movabs $0x7ffffffffff8, %rbx",
     "movups (%rbx), %xmm0", GP(0), .before = map_top)
CASE("canon.movups-stack", "by RSP it is #SS(0)", "SDM 1, 3.3.7.1", L3, "movabs $0x800000000000, %rsp",
     "movups (%rsp), %xmm0", SS(0))
CASE("canon.fld", "FLD", "SDM 2, FLD", L3, BAD "fninit", "fldl (%rbx)", GP(0))
CASE("canon.fst-stack", "FST by RBP is #SS(0)", "SDM 2, FST", L3, "movabs $0x800000000000, %rbp\n fninit\n fldz",
     "fstpl (%rbp)", SS(0))
CASE("canon.fxrstor", "FXRSTOR", "SDM 2, FXRSTOR", L3, BAD, "fxrstor (%rbx)", GP(0))
CASE("canon.xsave", "XSAVE", "SDM 2, XSAVE", L3, BAD "mov $3, %eax\n xor %edx, %edx", "xsave (%rbx)", GP(0),
     .when = has_xsave)
CASE("canon.xrstor", "XRSTOR", "SDM 2, XRSTOR", L3, BAD "mov $3, %eax\n xor %edx, %edx", "xrstor (%rbx)", GP(0),
     .when = has_xsave)
CASE("canon.ldmxcsr", "LDMXCSR", "SDM 2, LDMXCSR", L3, BAD, "ldmxcsr (%rbx)", GP(0))
CASE("canon.maskmov-none", "VMASKMOV with an empty mask touches nothing", "SDM 2, VMASKMOV", L3,
     BAD "pxor %xmm0, %xmm0", "vmaskmovps (%rbx), %xmm0, %xmm1", NONE, .when = has_avx)
CASE("canon.maskmov", "with a bit of it set #GP(0)", "SDM 2, VMASKMOV", L3, BAD "pcmpeqd %xmm0, %xmm0",
     "vmaskmovps (%rbx), %xmm0, %xmm1", GP(0), .when = has_avx)
CASE("canon.gather", "VPGATHER", "SDM 2, VPGATHERDD", L3, BAD "pcmpeqd %xmm2, %xmm2\n pxor %xmm1, %xmm1",
     "vpgatherdd %xmm2, (%rbx,%xmm1), %xmm0", GP(0), .when = has_avx2)
CASE("canon.clflushopt", "CLFLUSHOPT", "SDM 2, CLFLUSHOPT", L3, BAD, "clflushopt (%rbx)", GP(0), .when = has_clflushopt)
CASE("canon.clwb", "CLWB", "SDM 2, CLWB", L3, BAD, "clwb (%rbx)", GP(0), .when = has_clwb)
CASE("canon.prefetchw", "PREFETCHW does nothing", "SDM 2, PREFETCHW", L3, BAD, "prefetchw (%rbx)", NONE)
CASE("canon.monitor", "MONITOR is #GP(0)", "SDM 2, MONITOR", L0, BAD "mov %rbx, %rax\n xor %ecx, %ecx\n xor %edx, %edx",
     "monitor", GP(0), .when = has_monitor)
CASE("canon.lgdt-operand", "LGDT of an operand there", "SDM 2, LGDT", L0, BAD, "lgdt (%rbx)", GP(0))
CASE("canon.sgdt-operand", "SGDT", "SDM 2, SGDT", L0, BAD, "sgdt (%rbx)", GP(0))
CASE("canon.sidt-stack", "SIDT by RBP is #SS(0)", "SDM 2, SIDT", L0, "movabs $0x800000000000, %rbp", "sidt (%rbp)",
     SS(0))
CASE("canon.lldt-operand", "LLDT", "SDM 2, LLDT", L0, BAD, "lldt (%rbx)", GP(0))
CASE("canon.str-operand", "STR", "SDM 2, STR", L0, BAD, "str (%rbx)", GP(0))
CASE("canon.invpcid-operand", "INVPCID's descriptor", "SDM 2, INVPCID", L0, BAD "mov $2, %eax", "invpcid (%rbx), %rax",
     GP(0), .when = has_invpcid)
CASE("canon.lfs", "LFS", "SDM 2, LDS", L0, BAD, ".byte 0x48, 0x0f, 0xb4, 0x03", GP(0))
CASE("canon.far-jmp-operand", "a far JMP's operand", "SDM 2, JMP", L3, BAD, "ljmp *(%rbx)", GP(0))
CASE("canon.far-call-operand", "a far CALL's by RSP is #SS(0)", "SDM 2, CALL", L3, "movabs $0x800000000000, %rsp",
     "lcall *(%rsp)", SS(0))
CASE("canon.far-jmp-target", "a far JMP with a 64-bit offset to there is #GP(0)", "SDM 2, JMP", L0,
     BAD "mov %rbx, (%rdi)\n movl $S_CS64, 8(%rdi)", "rex.w ljmp *(%rdi)", GP(0), .when = is_intel)
CASE("canon.far-jmp-amd", "AMD's processors have no 64-bit offsets in far pointers", "AMD APM 3, JMP (Far)", L0,
     "lea 1f(%rip), %rax\n mov %rax, (%rdi)\n movw $S_CS64, 4(%rdi)\n mov $7, %eax", "rex.w ljmp *(%rdi)\n 1: nop",
     VALUE(7), .when = is_amd)
CASE("canon.wrmsr-sysenter-eip", "SYSENTER_EIP must be canonical", "SDM 2, WRMSR", L0,
     "mov $0x176, %ecx\n xor %eax, %eax\n mov $0x8000, %edx", "wrmsr", GP(0))
CASE("canon.wrmsr-sysenter-esp", "SYSENTER_ESP too", "SDM 2, WRMSR", L0,
     "mov $0x175, %ecx\n xor %eax, %eax\n mov $0x8000, %edx", "wrmsr", GP(0))
CASE("canon.wrmsr-fmask", "FMASK's upper half is reserved", "SDM 4, table 2-2", L0,
     "mov $0xc0000084, %ecx\n xor %eax, %eax\n mov $1, %edx", "wrmsr", GP(0))
CASE("canon.wrfsbase", "WRFSBASE must be given a canonical one", "SDM 2, WRFSBASE", L3, BAD, "wrfsbase %rbx", GP(0),
     .before = fsgsbase, .when = has_fsgsbase)
CASE("canon.wrgsbase", "WRGSBASE too", "SDM 2, WRFSBASE", L3, BAD, "wrgsbase %rbx", GP(0), .before = fsgsbase,
     .when = has_fsgsbase)
CASE("canon.wrfsbase-32", "a 32-bit operand clears the upper half", "SDM 2, WRFSBASE", L3, "mov $-1, %rbx",
     "wrfsbase %ebx\n rdfsbase %rax", VALUE(0xffffffff), .before = fsgsbase, .when = has_fsgsbase)
CASE("canon.dr0", "breakpoint addresses may be anything", "SDM 3, 18.2.6", L0, BAD "mov %rbx, %dr0", "mov %dr0, %rax",
     VALUE(0x800000000000))
CASE("canon.cr2", "so may CR2", "SDM 2, MOV", L0, BAD "mov %rbx, %cr2", "mov %cr2, %rax", VALUE(0x800000000000))
CASE("canon.iret-rsp", "IRET to ring 3 with such an RSP goes through", "SDM 2, IRET", L0,
     "push $S_UDS\n movabs $0x800000000000, %rax\n push %rax\n push $2\n push $S_UCS64\n lea 1f(%rip), %rbx\n push "
     "%rbx\n mov "
     "$7, %eax",
     "iretq\n 1:", VALUE(7), .before = user_pages)
CASE("canon.jmp-down", "a jump below FFFF8000...", "SDM 2, JMP", L3, "movabs $0xffff7fffffffffff, %rbx", "jmp *%rbx",
     GP(0))
AFTER(at_bad, f->rip == 0x800000000000)
CASE("canon.runs-off", "code that runs beyond 7FFFFFFFFFFFh is #GP(0) behind it", "SDM 1, 3.3.7.1", L3,
     "movabs $0x7fffffffffff, %rbx", "jmp *%rbx", .vector = 13, .error = 0, .at = AT_ANY, .before = map_top,
     .after = at_bad)
AFTER(at_last, f->rip == 0x7ffffffffffe)
CASE("canon.runs-across", "an instruction across it is #GP(0) at its start", "SDM 1, 3.3.7.1", L3,
     "movabs $0x7ffffffffffe, %rbx", "jmp *%rbx", .vector = 13, .error = 0, .at = AT_ANY, .before = map_top_across,
     .after = at_last)
CASE("canon.call-at-end", "a CALL whose return address is not canonical pushes it", "SDM 2, CALL", L3,
     "movabs $0x7ffffffffffe, %rbx\n lea 1f(%rip), %rcx", "jmp *%rbx\n 1: pop %rax", VALUE(0x800000000000),
     .before = map_top_call)

/* --- segments in 64-bit mode --- */

CASE("seg64.no-limit", "limits of DS do not count", "SDM 3, 3.2.4", L0, "mov $S_T1, %eax\n mov %ax, %ds",
     "mov (%rdi), %al", NONE, .t1 = SEGMENT(0, 1, 0x92))
CASE("seg64.null", "nor does a null DS", "SDM 3, 3.4.2", L3, "xor %eax, %eax\n mov %ax, %ds", "mov (%rdi), %al", NONE)
CASE("seg64.ss-null", "a null SS may be loaded in ring 0", "SDM 2, MOV", L0, "xor %eax, %eax", "mov %ax, %ss", NONE)
CASE("seg64.ss-null-3", "not in ring 3", "SDM 2, MOV", L3, "mov $3, %eax", "mov %ax, %ss", GP(0))
CASE("seg64.ss-null-rpl", "nor with another RPL than CPL", "SDM 2, MOV", L0, "mov $1, %eax", "mov %ax, %ss", GP(0))
CASE("seg64.cs-write", "CS's type does not forbid writes", "SDM 3, 5.2.1", L0, "", "movb $1, %cs:(%rdi)", NONE)
CASE("seg64.fs-mov", "a load of FS sets its base from the descriptor", "SDM 3, 3.4.4", L0,
     "movl $0x77, 0x20(%rdi)\n mov $S_T1, %eax\n mov %ax, %fs\n xor %eax, %eax", "mov %fs:0x10, %eax", VALUE(0x77),
     .t1 = SEGMENT(A_AREA + 0x10, 0xf, 0x92))
CASE("seg64.lds", "LDS is not there: C5h is VEX", "SDM 2, LDS", L0, "", ".byte 0xc5, 0x00, 0x00", UD)
CASE("seg64.push-es", "PUSH ES is #UD", "SDM 2, PUSH", L0, "", ".byte 0x06", UD)
CASE("seg64.far-jmp", "a direct far JMP is #UD", "SDM 2, JMP", L0, "", ".byte 0xea, 0, 0, 0, 0, 0, 0", UD)
CASE("seg64.daa", "DAA is #UD", "SDM 2, DAA", L0, "", ".byte 0x27", UD)
CASE("seg64.into", "INTO is #UD", "SDM 2, INTO", L0, "", ".byte 0xce", UD)
CASE("seg64.bound", "BOUND is EVEX", "SDM 2, BOUND", L0, "", ".byte 0x62, 0, 0, 0, 0, 0", UD)
CASE("seg64.aam", "AAM is #UD", "SDM 2, AAM", L0, "", ".byte 0xd4, 10", UD)
CASE("seg64.salc", "SALC is #UD", "AMD APM 3", L0, "", ".byte 0xd6", UD)
CASE("seg64.pusha", "PUSHA is #UD", "SDM 2, PUSHA", L0, "", ".byte 0x60", UD)
CASE("seg64.82", "82h is #UD", "SDM 2, A.3", L0, "", ".byte 0x82, 0xc0, 0", UD)
CASE("seg64.sysenter-cs", "LAR of a 16-bit TSS type clears ZF in long mode", "SDM 2, LAR", L0, "mov $S_T1, %ecx",
     "lar %ecx, %ebx\n setz %al\n movzbl %al, %eax", VALUE(0), .t1 = SEGMENT(0, 0xff, 0x81))
CASE("seg64.ltr-16", "LTR of a 16-bit TSS is #GP(selector)", "SDM 2, LTR", L0, "mov $S_T1, %ecx", "ltr %cx", GP(S_T1),
     .t1 = SEGMENT(0, 0xff, 0x81))
CASE("seg64.ltr-canonical", "LTR of a base that is not canonical is #GP(selector)", "SDM 2, LTR", L0, "mov $S_T1, %ecx",
     "ltr %cx", GP(S_T1), .t1 = SEGMENT(0, 0xff, 0x89), .t2 = 0x8000)
CASE("seg64.lldt-canonical", "LLDT too", "SDM 2, LLDT", L0, "mov $S_T1, %ecx", "lldt %cx", GP(S_T1),
     .t1 = SEGMENT(0, 0xff, 0x82), .t2 = 0x8000)
CASE("seg64.code-l-d", "a code segment with L and D is #GP(selector)", "SDM 3, 5.2.1", L0, "push $S_T1\n push $0",
     "lretq", GP(S_T1), .t1 = SEGMENT(0, 0xfffff, 0xe09a))
CASE("seg64.es-beyond", "a selector beyond the limit is #GP(selector)", "SDM 2, MOV", L0, "mov $0xf8, %eax",
     "mov %ax, %es", GP(0xf8))
CASE("seg64.es-absent", "an absent segment is #NP(selector)", "SDM 2, MOV", L0, "mov $S_T1, %eax", "mov %ax, %es",
     NP(S_T1), .t1 = SEGMENT(0, 0xfffff, 0xc012))
CASE("seg64.es-execute-only", "an execute-only one is #GP(selector)", "SDM 2, MOV", L0, "mov $S_T1, %eax",
     "mov %ax, %es", GP(S_T1), .t1 = SEGMENT(0, 0xfffff, 0xa098))
CASE("seg64.es-system", "a system descriptor too", "SDM 2, MOV", L0, "mov $S_TSS, %eax", "mov %ax, %es", GP(0x58))
CASE("seg64.es-dpl", "DPL below CPL is #GP(selector) in ring 3", "SDM 2, MOV", L3, "mov $S_DS64, %eax", "mov %ax, %es",
     GP(0x10))
CASE("seg64.es-rpl", "DPL below RPL in ring 0", "SDM 2, MOV", L0, "mov $S_DS64+3, %eax", "mov %ax, %es", GP(0x10))
CASE("seg64.es-null-rpl", "a null selector with any RPL may be loaded", "SDM 2, MOV", L3, "mov $3, %eax\n mov %ax, %es",
     "mov %es, %eax", VALUE(3))
CASE("seg64.ss-dpl", "SS's DPL must be CPL: #GP(selector)", "SDM 2, MOV", L0, "mov $S_UDS, %eax", "mov %ax, %ss",
     GP(0x38))
CASE("seg64.ss-read-only", "SS must be writable", "SDM 2, MOV", L0, "mov $S_T1, %eax", "mov %ax, %ss", GP(S_T1),
     .t1 = SEGMENT(0, 0xfffff, 0xc090))
CASE("seg64.ss-absent", "an absent SS is #SS(selector)", "SDM 2, MOV", L0, "mov $S_T1, %eax", "mov %ax, %ss", SS(S_T1),
     .t1 = SEGMENT(0, 0xfffff, 0xc012))
CASE("seg64.cs-load", "MOV to CS is #UD", "SDM 2, MOV", L0, "", ".byte 0x8e, 0xc8", UD)
CASE("seg64.seg-6", "segment register 6 is #UD", "SDM 2, MOV", L0, "", ".byte 0x8e, 0xf0", UD)
CASE("seg64.push-fs", "PUSH FS pushes eight bytes", "SDM 2, PUSH", L3, "mov %rsp, %rax", "push %fs\n sub %rsp, %rax",
     VALUE(8))
CASE("seg64.pop-gs-16", "POP GS with a 66h prefix pops two", "SDM 2, POP", L3, "pushq $0\n mov %rsp, %rcx",
     "popw %gs\n mov %rsp, %rax\n sub %rcx, %rax", VALUE(2))
CASE("seg64.fs-null-intel", "a null FS has base 0 on Intel's processors", "SDM 3, 3.4.4", L0,
     "mov $0xc0000100, %ecx\n mov $0x1000, %eax\n xor %edx, %edx\n wrmsr\n xor %eax, %eax\n mov %ax, %fs", "rdmsr",
     VALUE(0), .when = is_intel)
CASE("seg64.fs-null-amd", "AMD's leave its base alone", "AMD APM 2, 4.5.3", L0,
     "mov $0xc0000100, %ecx\n mov $0x1000, %eax\n xor %edx, %edx\n wrmsr\n xor %eax, %eax\n mov %ax, %fs", "rdmsr",
     VALUE(0x1000), .when = keeps_null_bases)
CASE("seg64.ds-base", "bases of DS do not count", "SDM 3, 3.4.4", L0,
     "movl $0x77, 0x10(%rdi)\n mov $S_T1, %eax\n mov %ax, %ds", "mov 0x10(%rdi), %eax", VALUE(0x77),
     .t1 = SEGMENT(0x1000, 0xfffff, 0xc092))
CASE("seg64.fs-read-only", "FS's type does not forbid writes", "SDM 3, 5.2.1", L0, "mov $S_T1, %eax\n mov %ax, %fs",
     "mov %al, %fs:(%rdi)", NONE, .t1 = SEGMENT(0, 0xfffff, 0xc090))
CASE("seg64.fs-limit", "nor does FS's limit count", "SDM 3, 5.3.1", L0, "mov $S_T1, %eax\n mov %ax, %fs",
     "mov %fs:(%rdi), %al", NONE, .t1 = SEGMENT(0, 0, 0x92))
CASE("seg64.override-ignored", "overrides of ES, CS, SS and DS are ignored, and do not cancel FS", "SDM 1, 3.3.7.1", L0,
     "movl $0x77, 0x10(%rdi)\n mov $0xc0000100, %ecx\n mov $0x10, %eax\n xor %edx, %edx\n wrmsr\n xor %eax, %eax",
     ".byte 0x64, 0x2e\n mov (%rdi), %eax", VALUE(0x77))
CASE("seg64.ss-override", "SS: before RBX is no stack access: #GP(0)", "SDM 1, 3.3.7.1", L3, BAD,
     ".byte 0x36\n mov (%rbx), %al", GP(0), .when = is_intel)
CASE("seg64.lar-gate", "LAR of a call gate", "SDM 2, LAR", L0, "mov $S_T1, %ecx", "lar %ecx, %eax\n and $0xff00, %eax",
     VALUE(0x8c00), .t1 = GATE(CS64, 0, 0x8c))
CASE("seg64.lar-interrupt-gate", "an interrupt gate clears ZF", "SDM 2, LAR", L0, "mov $S_T1, %ecx",
     "lar %ecx, %eax\n setz %al\n movzbl %al, %eax", VALUE(0), .t1 = GATE(CS64, 0, 0x8e))
CASE("seg64.lar-wide", "LAR to a 64-bit register clears the upper half", "SDM 2, LAR", L0,
     "mov $S_DS64, %ecx\n mov $-1, %rax", "lar %rcx, %rax\n shr $32, %rax", VALUE(0))
CASE("seg64.lsl-ldt", "LSL of an LDT", "SDM 2, LSL", L0, "mov $S_T1, %ecx", "lsl %ecx, %eax", VALUE(0xff),
     .t1 = SEGMENT(0, 0xff, 0x82))
CASE("seg64.lsl-gate", "LSL of a call gate clears ZF", "SDM 2, LSL", L0, "mov $S_T1, %ecx",
     "lsl %ecx, %eax\n setz %al\n movzbl %al, %eax", VALUE(0), .t1 = GATE(CS64, 0, 0x8c))
CASE("seg64.lsl-pages", "LSL scales", "SDM 2, LSL", L0, "mov $S_DS64, %ecx", "lsl %ecx, %eax", VALUE(0xffffffff))
CASE("seg64.verw-code", "VERW of code clears ZF", "SDM 2, VERR", L0, "mov $S_CS64, %ecx",
     "verw %cx\n setz %al\n movzbl %al, %eax", VALUE(0))
CASE("seg64.verr-dpl", "VERR in ring 3 of a segment of ring 0", "SDM 2, VERR", L3, "mov $S_DS64, %ecx",
     "verr %cx\n setz %al\n movzbl %al, %eax", VALUE(0))
CASE("seg64.sldt-wide", "SLDT to a 64-bit register clears the rest", "SDM 2, SLDT", L0, "mov $-1, %rax", "sldt %rax",
     VALUE(0))
CASE("seg64.str-memory", "STR to memory stores two bytes", "SDM 2, STR", L0, "movq $-1, (%rdi)",
     "str (%rdi)\n mov (%rdi), %rax", VALUE(0xffffffffffff0058))
CASE("seg64.smsw-wide", "SMSW to a 64-bit register gives CR0", "SDM 2, SMSW", L0, "mov %cr0, %rcx",
     "smsw %rax\n sub %rcx, %rax", VALUE(0))
CASE("seg64.lldt-null", "LLDT of a null selector", "SDM 2, LLDT", L0, "xor %eax, %eax\n lldt %ax\n mov $S_T1+4, %ecx",
     "mov %cx, %es", GP(S_T1 + 4))
CASE("seg64.lldt-ldt", "LLDT from the LDT is #GP(selector)", "SDM 2, LLDT", L0, "mov $0xc, %eax", "lldt %ax", GP(0xc))
CASE("seg64.lldt-type", "of a TSS too", "SDM 2, LLDT", L0, "mov $S_TSS, %eax", "lldt %ax", GP(0x58))
CASE("seg64.lldt-absent", "an absent one is #NP(selector)", "SDM 2, LLDT", L0, "mov $S_T1, %eax", "lldt %ax", NP(S_T1),
     .t1 = SEGMENT(0, 0xff, 0x02))
CASE("seg64.lldt-half", "one whose upper half is beyond the GDT's limit is #GP(selector)", "SDM 2, LLDT", L0,
     "mov $0x98, %eax", "lldt %ax", GP(0x98), .before = ldt_at_end)
CASE("seg64.lldt-ring3", "in ring 3 #GP(0)", "SDM 2, LLDT", L3, "mov $S_T1, %eax", "lldt %ax", GP(0),
     .t1 = SEGMENT(0, 0xff, 0x82))
CASE("seg64.ldt-reads", "LDTs have 64-bit bases", "SDM 3, 3.5.2", L0,
     "mov $S_T1, %eax\n lldt %ax\n mov $4, %eax\n mov %ax, %es", "mov %es, %eax", VALUE(4),
     .t1 = SEGMENT(A_AREA, 7, 0x82), .before = descriptor_in_area)
CASE("seg64.ldt-limit", "and limits", "SDM 2, MOV", L0, "mov $S_T1, %eax\n lldt %ax\n mov $4, %eax", "mov %ax, %es",
     GP(4), .t1 = SEGMENT(A_AREA, 6, 0x82), .before = descriptor_in_area)
CASE("seg64.ltr-null", "LTR of a null selector is #GP(0)", "SDM 2, LTR", L0, "xor %eax, %eax", "ltr %ax", GP(0))
CASE("seg64.ltr-busy", "of a busy TSS #GP(selector)", "SDM 2, LTR", L0, "mov $S_TSS, %eax", "ltr %ax", GP(0x58))
AFTER(t1_busy, *gdt_entry(S_T1) >> 41 & 1)
CASE("seg64.ltr-marks", "LTR makes it busy", "SDM 2, LTR", L0, "mov $S_T1, %eax", "ltr %ax", NONE,
     .t1 = SEGMENT(0x500, 103, 0x89), .before = tss_in_t1, .after = t1_busy)
CASE("seg64.accessed", "a load sets the accessed bit", "SDM 3, 3.4.5.1", L0, "mov $S_T1, %eax\n mov %ax, %es", "nop",
     NONE, .t1 = SEGMENT(0, 0xfffff, 0xc092), .after = t1_accessed)
