/* Long mode: canonical addresses, 64-bit gates and stacks, IRET and SYSRET, compatibility mode, PCID, SMEP, SMAP,
 * reserved bits, and APIC modes. Over ../rt. */

#include "check.h"

enum { CODE_AT = WINDOW, STACK = WINDOW + 0x10000, AREA = WINDOW + 0x20000, HOLE = WINDOW + 0x30000 };
__asm__(
    ".set A_CODE, 0x40000000\n.set A_STACK, 0x40010000\n.set A_AREA, 0x40020000\n.set A_HOLE, 0x40030000\n"
    ".set S_CS64, 8\n.set S_DS64, 0x10\n.set S_CS32, 0x18\n.set S_UCS32, 0x33\n.set S_UDS, 0x3b\n.set S_UCS64, 0x43\n"
    ".set S_T1, 0x68\n.set S_T2, 0x78\n");
enum { S_T1 = 0x68, S_T2 = 0x78 }; /* the last slots of Cpu.gdt, of 16 bytes where that is needed */
static u64 code_page, stack_page, area_page;

bool case_frame(const Case *c, Frame *f, Word *start)
{
    unsigned mode = c->mode;
    if (!code_page) {
        code_page  = page();
        stack_page = page();
        area_page  = page();
    }
    u64 user = mode == L3 || mode == C3 ? U : 0;
    memset((void *)code_page, 0xcc, PAGE);
    memset((void *)area_page, 0, PAGE);
    memcpy((void *)code_page, c->code, (size_t)(c->end + 1 - c->code));
    map(CODE_AT, code_page, P | W | user);
    map(STACK, stack_page, P | W | user);
    map(AREA, area_page, P | W | user);
    map(AREA + PAGE, 0, 0);
    map(HOLE, 0, 0);
    *f     = frame_at(CODE_AT, STACK + 0x800, user);
    f->cs  = mode == C3 ? UCS32 : mode == C0 ? CS32 : f->cs;
    f->rdi = AREA;
    *start = CODE_AT;
    return true;
}

static u64 saved_cr4, saved_efer, saved_cr0;
void       case_tables(const Case *c)
{
    Cpu *cpu = &cpus[0];
    if (!saved_cr4) {
        saved_cr0  = READ_CR(0);
        saved_cr4  = READ_CR(4);
        saved_efer = rdmsr(0xc0000080);
    }
    WRITE_CR(0, saved_cr0);
    WRITE_CR(3, pml4);
    WRITE_CR(4, saved_cr4);
    wrmsr(0xc0000080, saved_efer);
    wrmsr(0xc0000081, (u64)CS64 << 32 | (u64)(UCS32) << 48);
    wrmsr(0xc0000082, (u64)CODE_AT + 0x800);
    wrmsr(0xc0000084, 0x4700);
    cpu->gdt[S_T1 / 8]     = c->t1;
    cpu->gdt[S_T1 / 8 + 1] = c->t2;
    cpu->gdt[S_T2 / 8]     = c->t3;
    reset_gate(0x80);
    __asm__ volatile("lldt %w0" : : "r"(0));
}

#define SEGMENT(base, limit, attributes)                                                                               \
    ((u64)((limit)&0xffff) | (u64)((base)&0xffffff) << 16 | (u64)((attributes)&0xff) << 40 |                           \
     (u64)((limit) >> 16 & 0xf) << 48 | (u64)((attributes) >> 12 & 0xf) << 52 | (u64)((u32)(base) >> 24) << 56)
#define GATE(selector, offset, attributes)                                                                             \
    ((u64)((u32)(offset)&0xffff) | (u64)(selector) << 16 | (u64)(attributes) << 40 | (u64)((u32)(offset) >> 16) << 48)
#define BEFORE(name, ...)                                                                                              \
    static void name(Frame *f)                                                                                         \
    {                                                                                                                  \
        __VA_ARGS__;                                                                                                   \
    }
#define AFTER(name, ...)                                                                                               \
    static bool name(const Frame *f)                                                                                   \
    {                                                                                                                  \
        return __VA_ARGS__;                                                                                            \
    }
#define BAD   "movabs $0x800000000000, %rbx\n"
#define LANDS .vector = 3, .at = AT_ANY

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
     "call *%rbx", GP(0), .check_ax = true, .ax = STACK + 0x800)
CASE("canon.jmp", "a JMP", "SDM 2, JMP", L3, BAD, "jmp *%rbx", GP(0))
CASE("canon.ret", "a RET, with RSP as it was", "SDM 2, RET", L3, BAD "push %rbx\n mov %rsp, %rax", "ret", GP(0),
     .check_ax = true, .ax = STACK + 0x7f8)
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
     .t1 = SEGMENT(AREA + 0x10, 0xf, 0x92))
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

/* --- call gates of 64 bits --- */

BEFORE(gate_here, cpus[0].gdt[S_T1 / 8] = GATE(CS64, CODE_AT + 0x800, 0xec); cpus[0].gdt[S_T1 / 8 + 1] = 0;
       memcpy((void *)(code_page + 0x800), "\x48\x8b\x44\x24\x18\xcc", 6); map(CODE_AT, code_page, P | W);
       map(CODE_AT, code_page, P | W | (f->cs & 3 ? U : 0)))
BEFORE(gate_upper, gate_here(f); cpus[0].gdt[S_T1 / 8 + 1] = 1ull << 40)
BEFORE(gate_high, gate_here(f); cpus[0].gdt[S_T1 / 8 + 1] = 0x8000)
BEFORE(gate_cs32, gate_here(f); cpus[0].gdt[S_T1 / 8] = GATE(CS32, CODE_AT + 0x800, 0xec))
BEFORE(gate_16, gate_here(f); cpus[0].gdt[S_T1 / 8] = GATE(CS64, CODE_AT + 0x800, 0xe4))
BEFORE(gate_task, gate_here(f); cpus[0].gdt[S_T1 / 8] = GATE(CS64, 0, 0xe5))
#define CALL_GATE "movl $0, (%rdi)\n movl $S_T1, 4(%rdi)\n", "lcall *(%rdi)"
AFTER(ss_null, (f->ss & ~3ull) == 0 && f->cs == CS64)
CASE("gate64.inner", "a call gate to ring 0: SS becomes null, the old SS is on the stack", "SDM 3, 5.8.5.1", L3,
     CALL_GATE, LANDS, .check_ax = true, .ax = UDS, .before = gate_here, .after = ss_null)
CASE("gate64.upper-type", "type bits in the gate's upper half are #GP(gate)", "SDM 3, 5.8.3.1", L3, CALL_GATE, GP(S_T1),
     .before = gate_upper)
CASE("gate64.canonical", "an offset that is not canonical is #GP(0)", "SDM 2, CALL", L3, CALL_GATE, GP(0),
     .before = gate_high)
CASE("gate64.cs32", "a target that is no 64-bit segment is #GP(target)", "SDM 2, CALL", L3, CALL_GATE, GP(CS32),
     .before = gate_cs32)
CASE("gate64.type-16", "a 16-bit call gate is #GP(gate)", "SDM 3, 5.8.3.1", L3, CALL_GATE, GP(S_T1), .before = gate_16)
CASE("gate64.task", "a task gate is #GP(gate)", "SDM 3, 8.7", L3, CALL_GATE, GP(S_T1), .before = gate_task)

/* --- interrupts and IRET --- */

CASE("int64.align", "the frame is pushed at RSP aligned to 16", "SDM 3, 6.14.2", L0, "sub $3, %rsp", "int3", TRAP(3))
CASE("iret64.ss-null", "IRET to ring 0 with a null SS", "SDM 3, 6.14.3", L0,
     "mov %rsp, %rbx\n push $0\n push %rbx\n push $2\n push $S_CS64\n lea 1f(%rip), %rax\n push %rax",
     "iretq\n 1: mov %ss, %eax", VALUE(0))
CASE("iret64.ss-null-3", "to ring 3 it is #GP(0)", "SDM 2, IRET", L0,
     "push $0\n push $0\n push $2\n push $S_UCS64\n push $0", "iretq", GP(0))
CASE("iret64.ss-null-compat", "to a compatibility-mode segment too", "SDM 2, IRET", L0,
     "push $0\n push $0\n push $2\n push $S_CS32\n push $0", "iretq", GP(0))
CASE("iret64.nt", "IRET with NT is #GP(0)", "SDM 2, IRET", L0,
     "push $0x4002\n popfq\n push $0\n push $0\n push $2\n push $S_CS64\n push $0", "iretq", GP(0))
CASE("iret64.vm", "VM in the image is ignored", "SDM 2, IRET", L0,
     "mov %rsp, %rbx\n push $S_DS64\n push %rbx\n push $0x20002\n push $S_CS64\n lea 1f(%rip), %rax\n push %rax",
     "iretq\n 1: mov %cs, %eax", VALUE(CS64))
CASE("iret64.same-ring-rsp", "SS:RSP are popped always", "SDM 3, 6.14.3", L0,
     "push $S_DS64\n push $A_STACK+0x300\n push $2\n push $S_CS64\n lea 1f(%rip), %rax\n push %rax",
     "iretq\n 1: mov %rsp, %rax", VALUE(STACK + 0x300))
CASE("iret64.ds", "IRET to ring 3 makes a DS of ring 0 null", "SDM 2, IRET", L3, "", "int $0x80", TRAP(0x80))
CASE("int64.ist", "a software interrupt through a gate of DPL 0 in ring 3", "SDM 2, INT n", L3, "", "int $0x31",
     GP(0x31 * 8 + 2))
typedef struct Pointer {
    u16 limit;
    u64 base;
} __attribute__((packed)) Pointer;
static u64 *idt_entry(unsigned vector)
{
    Pointer p;
    __asm__ volatile("sidt %0" : "=m"(p));
    return (u64 *)p.base + 2ull * vector;
}
BEFORE(idt_task, *idt_entry(0x80) = GATE(CS64, CODE_AT, 0xe5))
BEFORE(idt_cs32, *idt_entry(0x80) = GATE(CS32, CODE_AT, 0xee))
CASE("int64.task-gate", "a task gate in the IDT is #GP(vector * 8 + 2)", "SDM 3, 6.14.1", L0, "", "int $0x80",
     GP(0x80 * 8 + 2), .before = idt_task)
CASE("int64.cs32", "a gate to a 32-bit segment is #GP(target)", "SDM 3, 6.14.1", L0, "", "int $0x80", GP(CS32),
     .before = idt_cs32)

/* --- SYSCALL and SYSRET --- */

BEFORE(sce_off, wrmsr(0xc0000080, saved_efer & ~1ull))
CASE("syscall.sce", "SYSCALL without SCE is #UD", "SDM 2, SYSCALL", L3, "", "syscall", UD, .before = sce_off)
CASE("sysret.ring3", "SYSRET in ring 3 is #GP(0)", "SDM 2, SYSRET", L3, "", "sysretq", GP(0))
CASE("sysret.rf-vm", "SYSRET clears RF and VM of R11, and reserved bits", "SDM 2, SYSRET", L0,
     "lea 1f(%rip), %rcx\n mov $0xffffffffffff8cd7, %r11\n and $~0x100, %r11", ".byte 0x90\n jmp 2f\n 1: nop\n 2: nop",
     NONE)
CASE("swapgs.ring3", "SWAPGS in ring 3 is #GP(0)", "SDM 2, SWAPGS", L3, "", "swapgs", GP(0))
CASE("fsgsbase.off", "RDFSBASE without CR4.FSGSBASE is #UD", "SDM 2, RDFSBASE", L3, "", "rdfsbase %rax", UD)

/* --- compatibility mode --- */

CASE("compat.cr-legacy", "addresses have 32 bits", "SDM 3, 3.3", C0,
     "mov $0x77, %ecx\n mov %ecx, 0x20(%edi)\n lea 0x30(%edi), %edi", "mov -0x10(%edi), %eax", VALUE(0x77))
CASE("compat.inc", "40h is INC", "SDM 2, INC", C3, "xor %eax, %eax", ".byte 0x40", VALUE(1))
CASE("compat.syscall-flags", "task switches are not there: JMP to a TSS is #GP(TSS)", "SDM 3, 8.7", C0, "",
     "ljmp $0x58, $0", GP(0x58))
CASE("compat.iret-nt", "IRET with NT is #GP(0)", "SDM 2, IRET", C0,
     "push $0x4002\n popf\n push $2\n push $S_CS32\n push $0", "iret", GP(0))
CASE("compat.sysenter-cs", "SWAPGS is #UD", "SDM 2, SWAPGS", C0, "", ".byte 0x0f, 1, 0xf8", UD)
CASE("compat.ss-null", "a null SS is #GP(0)", "SDM 2, MOV", C0, "xor %eax, %eax", "mov %ax, %ss", GP(0))
CASE("compat.pae-off", "clearing PAE is #GP(0)", "SDM 2, MOV", C0, "mov %cr4, %eax\n and $~0x20, %eax",
     "mov %eax, %cr4", GP(0))

/* --- SMEP, SMAP, NX, reserved bits, PCID --- */

#define CR4_SMEP (1ull << 20)
#define CR4_SMAP (1ull << 21)
BEFORE(smep, map(HOLE, area_page, P | W | U); WRITE_CR(4, saved_cr4 | CR4_SMEP))
BEFORE(smap, map(HOLE, area_page, P | W | U); WRITE_CR(4, saved_cr4 | CR4_SMAP))
BEFORE(smap_ac, smap(f); f->rflags |= AC)
BEFORE(nx, map(HOLE, area_page, P | W | U | NX))
BEFORE(nx_off, map(HOLE, area_page, P | W | U | NX); wrmsr(0xc0000080, saved_efer & ~0x800ull))
BEFORE(reserved51, map(HOLE, area_page | 1ull << 51, P | W | U))
BEFORE(ignored52, map(HOLE, area_page | 1ull << 52 | 0xe00, P | W | U))
CASE("smep.fetch", "a fetch from a user page in ring 0 is error 11h", "SDM 3, 4.6", L0, "mov $A_HOLE, %eax",
     "jmp *%rax", .vector = 14, .error = 0x11, .at = AT_ANY, .check_cr2 = true, .address = HOLE, .before = smep)
CASE("smap.read", "a read of a user page in ring 0 is error 1", "SDM 3, 4.6", L0, "mov $A_HOLE, %ecx",
     "mov (%rcx), %eax", PAGE_FAULT(1, HOLE), .before = smap)
CASE("smap.write", "a write is error 3", "SDM 3, 4.6", L0, "mov $A_HOLE, %ecx", "mov %eax, (%rcx)", PAGE_FAULT(3, HOLE),
     .before = smap)
CASE("smap.ac", "with AC it is allowed", "SDM 3, 4.6", L0, "mov $A_HOLE, %ecx", "mov (%rcx), %eax", NONE,
     .before = smap_ac)
CASE("smap.stac", "STAC and CLAC", "SDM 2, STAC", L0, "mov $A_HOLE, %ecx\n stac\n mov (%rcx), %eax\n clac",
     "mov (%rcx), %eax", PAGE_FAULT(1, HOLE), .before = smap)
CASE("smap.popf", "POPF changes it as well", "SDM 3, 4.6", L0,
     "mov $A_HOLE, %ecx\n push $0x40002\n popfq\n mov (%rcx), %eax\n push $2\n popfq", "mov (%rcx), %eax",
     PAGE_FAULT(1, HOLE), .before = smap)
CASE("nx.fetch", "a fetch of a page with XD is error 15h in ring 3", "SDM 3, 4.7", L3, "mov $A_HOLE, %eax", "jmp *%rax",
     .vector = 14, .error = 0x15, .at = AT_ANY, .check_cr2 = true, .address = HOLE, .before = nx)
CASE("nx.read", "a read is fine", "SDM 3, 4.6", L3, "mov $A_HOLE, %ecx", "mov (%rcx), %eax", NONE, .before = nx)
CASE("nx.reserved", "without NXE bit 63 is reserved: error 0Dh", "SDM 3, table 4-20", L3, "mov $A_HOLE, %ecx",
     "mov (%rcx), %eax", PAGE_FAULT(0xd, HOLE), .before = nx_off)
CASE("rsvd.bit51", "a reserved address bit: error 0Dh", "SDM 3, table 4-20", L3, "mov $A_HOLE, %ecx",
     "mov (%rcx), %eax", PAGE_FAULT(0xd, HOLE), .before = reserved51)
CASE("rsvd.write", "on a write 0Fh", "SDM 3, 4.7", L3, "mov $A_HOLE, %ecx", "mov %eax, (%rcx)", PAGE_FAULT(0xf, HOLE),
     .before = reserved51)
CASE("rsvd.ignored", "bits 9 to 11 and 52 to 58 are ignored", "SDM 3, table 4-20", L3, "mov $A_HOLE, %ecx",
     "mov (%rcx), %eax", NONE, .before = ignored52)
CASE("split.fault", "an access on two pages writes nothing when the second faults", "SDM 3, 4.7", L3, "mov $-1, %rax",
     "mov %rax, 0xffc(%rdi)", PAGE_FAULT(6, AREA + PAGE))
AFTER(not_written, *(u32 *)(area_page + 0xffc) == 0)
CASE("split.not-written", "the first page is as it was", "SDM 3, 6.5", L3, "mov $-1, %rax", "mov %rax, 0xffc(%rdi)",
     PAGE_FAULT(6, AREA + PAGE), .after = not_written)
CASE("split.push", "a push on two pages", "SDM 3, 6.5", L3, "lea 0x1004(%rdi), %rsp\n mov $-1, %rax", "push %rax",
     PAGE_FAULT(6, AREA + PAGE), .after = not_written)
CASE("split.lock", "a locked one", "SDM 3, 9.1.2.2", L3, "mov $-1, %rax", "lock xadd %rax, 0xffc(%rdi)",
     PAGE_FAULT(6, AREA + PAGE), .after = not_written)
CASE("split.xsave", "XSAVE at a bad alignment is #GP(0)", "SDM 2, XSAVE", L3, "mov $7, %eax\n xor %edx, %edx",
     "xsave 8(%rdi)", GP(0))
CASE("split.xrstor-header", "XRSTOR with reserved header bits is #GP(0)", "SDM 2, XRSTOR", L3,
     "mov $7, %eax\n xor %edx, %edx\n movl $0x80, 0x210(%rdi)", "xrstor (%rdi)", GP(0))
CASE("xsetbv.ring3", "XSETBV in ring 3 is #GP(0)", "SDM 2, XSETBV", L3,
     "xor %ecx, %ecx\n mov $7, %eax\n xor %edx, %edx", "xsetbv", GP(0))
CASE("xsetbv.x87", "XCR0 without x87 is #GP(0)", "SDM 2, XSETBV", L0, "xor %ecx, %ecx\n mov $2, %eax\n xor %edx, %edx",
     "xsetbv", GP(0))
CASE("xsetbv.avx-sse", "AVX without SSE is #GP(0)", "SDM 2, XSETBV", L0,
     "xor %ecx, %ecx\n mov $5, %eax\n xor %edx, %edx", "xsetbv", GP(0))
CASE("xsetbv.index", "XCR1 is #GP(0)", "SDM 2, XSETBV", L0, "mov $1, %ecx\n mov $7, %eax\n xor %edx, %edx", "xsetbv",
     GP(0))
CASE("mxcsr.reserved", "LDMXCSR with reserved bits is #GP(0)", "SDM 2, LDMXCSR", L3, "movl $0x80001f80, (%rdi)",
     "ldmxcsr (%rdi)", GP(0))
CASE("sse.align", "MOVAPS at 8 is #GP(0)", "SDM 2, MOVAPS", L3, "", "movaps 8(%rdi), %xmm0", GP(0))

static bool has_pcid(void)
{
    return cpuid(1, 0).c >> 17 & 1;
}
#define CR4_PCIDE (1ull << 17)
static u64 second_pml4;
GROUP(pcid)
{
    if (!has_pcid()) {
        return;
    }
    if (!second_pml4) {
        second_pml4 = page();
    }
    u64 a = page(), b = page();
    *(u32 *)a = 0x11;
    *(u32 *)b = 0x22;
    memcpy((void *)second_pml4, pml4, PAGE);
    volatile u32 *hole = (volatile u32 *)(u64)HOLE;
    map(HOLE, a, P | W);
    WRITE_CR(4, READ_CR(4) | CR4_PCIDE);
    u32 first  = *hole;
    *pte(HOLE) = b | P | W; /* no INVLPG: the entry of PCID 0 may be stale */
    WRITE_CR(3, second_pml4 | 5);
    check(*hole == 0x22, "pcid.other", "another PCID does not use the entries of PCID 0", "SDM 3, 4.10.1");
    *pte(HOLE) = a | P | W;
    invlpg(HOLE);
    check(*hole == 0x11, "pcid.invlpg", "INVLPG drops the entry of the current PCID", "SDM 3, 4.10.4.1");
    WRITE_CR(3, (u64)pml4);
    check(*hole == 0x11 && first == 0x11, "pcid.cr3", "MOV to CR3 with bit 63 clear drops the entries of the new PCID",
          "SDM 3, 4.10.4.1");
    *pte(HOLE) = b | P | W;
    struct {
        u64 pcid, address;
    } what = { 5, HOLE };
    if (cpuid(7, 0).b >> 10 & 1) {
        __asm__ volatile("invpcid %0, %1" : : "m"(what), "r"(2ull) : "memory");
        check(*hole == 0x22, "pcid.invpcid", "INVPCID of all contexts", "SDM 2, INVPCID");
    }
    WRITE_CR(4, READ_CR(4) & ~CR4_PCIDE);
    map(HOLE, 0, 0);
}
BEFORE(
    pcid_on, if (has_pcid()) { WRITE_CR(4, saved_cr4 | CR4_PCIDE); })
CASE("pcid.enable-nonzero", "CR4.PCIDE with CR3's low bits set is #GP(0)", "SDM 3, 4.10.1", L0,
     "mov %cr3, %rbx\n lea 8(%rbx), %rax\n mov %rax, %cr3\n mov %cr4, %rax\n bts $17, %rax", "mov %rax, %cr4\n", GP(0))
CASE("pcid.invpcid-type", "INVPCID of type 4 is #GP(0)", "SDM 2, INVPCID", L0, "mov $4, %eax", "invpcid (%rdi), %rax",
     GP(0))
CASE("pcid.invpcid-reserved", "with reserved bits in the descriptor #GP(0)", "SDM 2, INVPCID", L0,
     "mov $2, %eax\n mov $1, %eax\n movl $0x1000, (%rdi)", "invpcid (%rdi), %rax", GP(0))
CASE("pcid.invpcid-canonical", "type 0 of an address that is not canonical #GP(0)", "SDM 2, INVPCID", L0,
     BAD "mov %rbx, 8(%rdi)\n xor %eax, %eax", "invpcid (%rdi), %rax", GP(0))
CASE("pcid.invpcid-ring3", "in ring 3 #GP(0)", "SDM 2, INVPCID", L3, "mov $2, %eax", "invpcid (%rdi), %rax", GP(0))
CASE("pcid.paging-off", "clearing PG with PCIDE from compatibility mode is #GP(0)", "SDM 2, MOV", C0,
     "mov %cr0, %eax\n and $0x7fffffff, %eax", "mov %eax, %cr0", GP(0), .before = pcid_on)

/* --- APIC modes --- */

GROUP(apic_modes)
{
    static const struct {
        const char *id, *text;
        u64         set;
        bool        allowed;
    } rows[] = {
        { "apic.x2-without-enable", "EXTD without EN is #GP(0)", 0x400, false },
        { "apic.x2", "xAPIC to x2APIC is allowed", 0xc00, true },
        { "apic.x2-to-x", "x2APIC to xAPIC is #GP(0)", 0x800, false },
        { "apic.off", "x2APIC to disabled is allowed", 0, true },
        { "apic.off-to-x2", "disabled to x2APIC is #GP(0)", 0xc00, false },
        { "apic.on", "disabled to xAPIC is allowed", 0x800, true },
    };
    u64 base = rdmsr(0x1b);
    if (!(cpuid(1, 0).c >> 21 & 1)) {
        return;
    }
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        u64   value = (base & ~0xc00ull) | rows[i].set;
        u8    bad;
        Frame f = frame_at(CODE_AT, STACK + 0x800, false);
        memcpy((void *)code_page, "\x0f\x30\xcc", 3);
        map(CODE_AT, code_page, P | W);
        map(STACK, stack_page, P | W);
        f.rcx = 0x1b;
        f.rax = (u32)value;
        f.rdx = value >> 32;
        bad   = (u8)run(&f);
        check(bad == (rows[i].allowed ? 3 : 13), rows[i].id, rows[i].text, "SDM 3, 11.12.1");
        if (i == 1) {
            check(rdmsr(0x802) == cpus[0].apic_id, "apic.x2-id", "MSR 802h is the 32-bit ID", "SDM 3, 11.12.5.1");
            check(rdmsr(0x80d) == ((u64)(cpus[0].apic_id >> 4) << 16 | 1u << (cpus[0].apic_id & 15)), "apic.x2-ldr",
                  "LDR follows from the ID", "SDM 3, 11.12.10.2");
            memcpy((void *)code_page, "\x0f\x32\xcc", 3);
            f     = frame_at(CODE_AT, STACK + 0x800, false);
            f.rcx = 0x80e;
            check(run(&f) == 13, "apic.x2-dfr", "there is no DFR: MSR 80Eh is #GP(0)", "SDM 3, table 11-6");
            f     = frame_at(CODE_AT, STACK + 0x800, false);
            f.rcx = 0x831;
            check(run(&f) == 13, "apic.x2-icr2", "nor ICR's second half", "SDM 3, table 11-6");
            memcpy((void *)code_page, "\x0f\x30\xcc", 3);
            f     = frame_at(CODE_AT, STACK + 0x800, false);
            f.rcx = 0x80b;
            f.rax = 1;
            check(run(&f) == 13, "apic.x2-eoi", "EOI takes 0 only", "SDM 3, 11.12.1.2");
            f     = frame_at(CODE_AT, STACK + 0x800, false);
            f.rcx = 0x802;
            check(run(&f) == 13, "apic.x2-id-write", "the ID is read-only", "SDM 3, table 11-6");
        }
        if (i == 3) {
            check(!(cpuid(1, 0).d >> 9 & 1), "apic.cpuid", "CPUID says that there is none while it is disabled",
                  "SDM 3, 11.4.3");
        }
    }
    apic_write(APIC_SVR, 0x1ff);
    check((apic_read(0x30) & 0xff) >= 0x10, "apic.version", "the version is 1xh", "SDM 3, 11.4.8");
}

/* --- starting other processors: INIT and SIPI --- */

/* Real-mode code at 9000h and, by another vector, at A000h: says how it found the processor, and halts. */
__asm__(".pushsection .rodata\n sipi_code: .code16\n"
        "cli\n xorw %bx, %bx\n movw %bx, %ds\n movw %cs, %ds:0xb000\n movl %edx, %ds:0xb004\n"
        "movl %cr0, %eax\n movl %eax, %ds:0xb008\n movl $0x1b, %ecx\n rdmsr\n movl %eax, %ds:0xb00c\n"
        "call 1f\n 1: popw %ax\n subw $(1b - sipi_code), %ax\n movw %ax, %ds:0xb010\n"
        "movl %cr4, %eax\n movl %eax, %ds:0xb014\n lock incl %ds:0xb018\n"
        "2: hlt\n jmp 2b\n sipi_code_end: .code64\n .popsection");
extern const u8 sipi_code[], sipi_code_end[];

static bool started(u32 times)
{
    volatile u32 *n = (volatile u32 *)0xb018ull;
    for (u64 until = after_ms(200); *n < times && rdtsc() < until;) {
        pause_();
    }
    return *n == times;
}
static void to_others(u32 command)
{
    apic_write(APIC_ICR, 0xc0000 | command);
    for (u64 until = after_ms(2); rdtsc() < until;) {
        pause_();
    }
}
GROUP(processors)
{
    static const char where[] = "SDM 3, 9.4";
    volatile u32     *seen    = (volatile u32 *)0xb000ull;
    if (option("cpus", 1) < 2) {
        return;
    }
    memcpy((void *)0x9000ull, sipi_code, (size_t)(sipi_code_end - sipi_code));
    memcpy((void *)0xa000ull, sipi_code, (size_t)(sipi_code_end - sipi_code));
    memset((void *)0xb000ull, 0, 0x20);
    to_others(0x4500); /* INIT */
    check(started(0), "smp.init-waits", "INIT alone starts nothing", where);
    to_others(0x4609);
    check(started(1), "smp.sipi", "a SIPI starts the processor", where);
    check(seen[0] == 0x900 && (seen[4] & 0xffff) == 0, "smp.cs-ip", "at VV00:0000", where);
    check(seen[2] == 0x60000010, "smp.cr0", "CR0 is 60000010h", "SDM 3, table 10-1");
    check(seen[5] == 0, "smp.cr4", "CR4 is 0", "SDM 3, table 10-1");
    check((seen[1] & 0xfff) == (cpuid(1, 0).a & 0xfff), "smp.edx", "EDX has the processor's signature",
          "SDM 3, table 10-1");
    check(!(seen[3] & 0x100) && (seen[3] & 0x800), "smp.bsp-flag", "APIC_BASE: enabled, not the boot processor",
          "SDM 3, 11.4.4");
    check(rdmsr(0x1b) & 0x100, "smp.bsp-flag-here", "this one is", "SDM 3, 11.4.4");
    to_others(0x460a);
    check(started(1) && seen[0] == 0x900, "smp.second-sipi", "a second SIPI is ignored", where);
    to_others(0x4500);
    to_others(0x460a);
    check(started(2) && seen[0] == 0xa00, "smp.again",
          "behind another INIT it is not, and another vector is another page", where);
    to_others(0x4609);
    to_others(0x4500);
    check(started(2), "smp.sipi-before-init", "a SIPI that was ignored is not there after the next INIT", where);
    to_others(0x460a);
    check(started(3), "smp.sipi-after-init", "one behind it is", where);
    apic_write(APIC_ICR, 0xc4500);
    apic_write(APIC_ICR, 0xc4609);
    check(started(4) && seen[0] == 0x900, "smp.init-sipi", "nor does a SIPI right behind the INIT get lost", where);
    /* INCW [0B020h], IRET for NMIs in real mode. */
    memcpy((void *)0xb030ull, "\xff\x06\x20\xb0\xcf", 5);
    memcpy((void *)0x8ull, "\x30\xb0\0", 4);
    seen[8] = 0;
    to_others(0x4500);
    to_others(0x4400);
    check(started(4), "smp.nmi-starts-nothing", "an NMI does not wake a processor that waits for a SIPI",
          "MP specification 1.4, B.4.2");
    to_others(0x460a);
    check(started(5) && seen[0] == 0xa00 && !seen[8], "smp.nmi-lost", "nor is it there after the SIPI",
          "MP specification 1.4, B.4.2");
    to_others(0x4400);
    check(seen[8] == 1, "smp.nmi", "later ones are taken", "SDM 3, 6.7");
    to_others(0x8500); /* INIT de-assert */
    check(started(5), "smp.de-assert", "INIT level de-assert does nothing", "SDM 3, 11.6.1");
}

TEST(all, "all checks")
{
    unsigned bad = run_checks();
    finish(bad ? 1 : 0);
}
