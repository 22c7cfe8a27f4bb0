/* Long mode: SYSCALL, SYSRET, SYSENTER, SYSEXIT and SWAPGS, and what compatibility mode has. */

#include "check.h"

CODE(report_cs_ss, "mov %cs, %eax\n shl $16, %eax\n mov %ss, %ecx\n or %ecx, %eax")
CODE(report_flags, "pushfq\n pop %rax")
CODE(report_r11, "mov %r11, %rax")
CODE(report_rcx, "mov %rcx, %rax")
CODE(report_sp, "mov %rsp, %rax")
CODE(report_nothing, "nop")
static bool step_at_target(const Frame *f)
{
    return (f->cs & 3) == 3 && f->rip == f->rcx;
}
AFTER(in_ring0, !(f->cs & 3))
AFTER(in_ring3, (f->cs & 3) == 3)
AFTER(from_compat, f->cs == UCS32 && f->ss == UDS)
BEFORE(tss_at_end, *gdt_entry(0x98) = SEGMENT((u32)(u64)cpus[0].tss, 103, 0x89))
BEFORE(ldt_at_end, *gdt_entry(0x98) = SEGMENT(0, 0xff, 0x82))
static bool has_cr8_legacy(void)
{
    return offered(0x80000001, ECX, 4);
}
/* In the user's page or in ours: ring 0 runs both. */
static void syscall_to(const u8 *code)
{
    wrmsr(LSTAR, (u64)code);
    wrmsr(CSTAR, (u64)code);
}
#define REPORTS(x) LANDS, .check_ax = true, .ax = (x)
/* --- SYSCALL and SYSRET --- */

BEFORE(sce_off, wrmsr(EFER, saved_efer & ~1ull))
CASE("syscall.sce", "SYSCALL without SCE is #UD", "SDM 2, SYSCALL", L3, "", "syscall", UD, .before = sce_off)
CASE("sysret.ring3", "SYSRET in ring 3 is #GP(0)", "SDM 2, SYSRET", L3, "", "sysretq", GP(0))
CASE("sysret.rf-vm", "SYSRET clears RF and VM of R11, and reserved bits", "SDM 2, SYSRET", L0,
     "lea 1f(%rip), %rcx\n mov $0xffffffffffff8cd7, %r11\n and $~0x100, %r11", ".byte 0x90\n jmp 2f\n 1: nop\n 2: nop",
     NONE)
CASE("swapgs.ring3", "SWAPGS in ring 3 is #GP(0)", "SDM 2, SWAPGS", L3, "", "swapgs", GP(0))
CASE("fsgsbase.off", "RDFSBASE without CR4.FSGSBASE is #UD", "SDM 2, RDFSBASE", L3, "", "rdfsbase %rax", UD)
BEFORE(to_segments, syscall_to(report_cs_ss))
BEFORE(to_flags, syscall_to(report_flags); wrmsr(FMASK, 0x4700))
BEFORE(to_flags_all, syscall_to(report_flags); wrmsr(FMASK, 0xffffffff))
BEFORE(to_r11, syscall_to(report_r11); f->rflags |= RF)
BEFORE(to_rcx, syscall_to(report_rcx))
BEFORE(to_sp, syscall_to(report_sp))
BEFORE(to_tf, syscall_to(report_nothing); wrmsr(FMASK, 0))
BEFORE(star_rpl, syscall_to(report_cs_ss); wrmsr(STAR, (u64)(CS64 | 3) << 32))
BEFORE(star_nowhere, syscall_to(report_cs_ss); wrmsr(STAR, (u64)0x1000 << 32))
CASE("syscall.segments", "SYSCALL loads CS and SS from STAR", "SDM 2, SYSCALL", L3, "", "syscall",
     REPORTS(CS64 << 16 | DS64), .before = to_segments)
CASE("syscall.rpl", "with RPL 0 whatever STAR has", "SDM 2, SYSCALL", L3, "", "syscall",
     REPORTS(CS64 << 16 | (DS64 + 3)), .before = star_rpl, .when = is_intel)
CASE("syscall.no-gdt", "descriptors are not read", "SDM 2, SYSCALL", L3, "", "syscall", REPORTS(0x1000 << 16 | 0x1008),
     .before = star_nowhere)
CASE("syscall.rcx", "RCX is the address behind it", "SDM 2, SYSCALL", L3, "", "syscall", REPORTS(A_CODE + 2),
     .before = to_rcx)
CASE("syscall.r11", "R11 has RFLAGS without RF", "SDM 2, SYSCALL", L3, "", "syscall", REPORTS(2), .before = to_r11)
CASE("syscall.fmask", "bits of FMASK are cleared", "SDM 2, SYSCALL", L3, "stc\n std", "syscall", REPORTS(3),
     .before = to_flags)
CASE("syscall.fmask-all", "all of them, bit 1 stays", "SDM 2, SYSCALL", L3, "stc", "syscall", REPORTS(2),
     .before = to_flags_all)
CASE("syscall.rsp", "RSP stays", "SDM 2, SYSCALL", L3, "", "syscall", REPORTS(STACK_TOP), .before = to_sp)
CASE("syscall.ring0", "it works in ring 0 as well", "SDM 2, SYSCALL", L0, "", "syscall", REPORTS(STACK_TOP),
     .before = to_sp)
CASE("syscall.lock", "LOCK SYSCALL is #UD", "SDM 2, SYSCALL", L3, "", ".byte 0xf0\n syscall", UD)
AFTER(at_lstar, f->rip == (u64)report_nothing && (f->cs & 3) == 0)
CASE("syscall.tf", "TF that FMASK leaves traps at the target", "SDM 3, 18.3.1.4", L3, "push $0x102\n popfq", "syscall",
     .vector = 1, .at = AT_ANY, .before = to_tf, .after = at_lstar)
CASE("syscall.compat-intel", "in compatibility mode it is #UD on Intel's processors", "SDM 2, SYSCALL", C3, "",
     "syscall", UD, .when = is_intel)
CASE("syscall.compat-amd", "AMD's go to CSTAR", "AMD APM 3, SYSCALL", C3, "", "syscall", REPORTS(CS64 << 16 | DS64),
     .before = to_segments, .when = is_amd)
#define TO_1 "lea 1f(%rip), %rcx\n"
CASE("sysret.segments", "SYSRET: CS is STAR's plus 16, SS plus 8, RPL 3", "SDM 2, SYSRET", L0, TO_1 "mov $2, %r11d",
     "sysretq\n 1: mov %cs, %eax\n shl $16, %eax\n mov %ss, %ecx\n or %ecx, %eax", VALUE(UCS64 << 16 | UDS),
     .before = user_pages)
CASE("sysret.compat", "with a 32-bit operand CS is STAR's: compatibility mode", "SDM 2, SYSRET", L0,
     TO_1 "mov $2, %r11d\n xor %eax, %eax", "sysretl\n 1: .byte 0x40\n mov %cs, %ecx\n shl $16, %ecx\n add %ecx, %eax",
     VALUE(UCS32 << 16 | 1), .before = user_pages)
CASE("sysret.flags", "flags are R11's, but for RF, VM and reserved ones", "SDM 2, SYSRET", L0,
     TO_1 "mov $-1, %r11\n and $~0x100, %r11", "sysretq\n 1: pushfq\n pop %rax", VALUE(0x3c7ed7 & ~0x30000),
     .before = user_pages)
CASE("sysret.rsp", "RSP stays", "SDM 2, SYSRET", L0, TO_1 "mov $2, %r11d", "sysretq\n 1: mov %rsp, %rax",
     VALUE(STACK_TOP), .before = user_pages)
CASE("sysret.canonical", "RCX that is not canonical is #GP(0) in ring 0", "SDM 2, SYSRET", L0,
     BAD "mov %rbx, %rcx\n mov $2, %r11d", "sysretq", GP(0), .when = is_intel, .after = in_ring0)
CASE("sysret.canonical-amd", "on AMD's in ring 3", "AMD APM 3, SYSRET", L0, BAD "mov %rbx, %rcx\n mov $2, %r11d",
     "sysretq", .vector = 13, .error = 0, .at = AT_ANY, .when = is_amd, .after = in_ring3)
CASE("sysret.sce", "without SCE it is #UD", "SDM 2, SYSRET", L0, "", "sysretq", UD, .before = sce_off)
CASE("sysret.compat-mode-intel", "in compatibility mode #UD on Intel's", "SDM 2, SYSRET", C0, "", ".byte 0x0f, 0x07",
     UD, .when = is_intel)
CASE("sysret.tf", "TF of R11 traps at once, in ring 3", "Intel's and AMD's processors; SDM 3, 18.3.1.4 leaves it open",
     L0, TO_1 "mov $0x102, %r11d", "sysretq\n 1: nop", .vector = 1, .at = AT_ANY, .before = user_pages,
     .after = step_at_target)
CASE("sysret.no-gdt", "descriptors are not read", "SDM 2, SYSRET", L0,
     "mov $0xc0000081, %ecx\n xor %eax, %eax\n mov $0x10000000, %edx\n wrmsr\n" TO_1 "mov $2, %r11d",
     "sysretq\n 1: mov %cs, %eax", VALUE(0x1013), .before = user_pages)

/* --- SYSENTER and SYSEXIT --- */

enum { SYSENTER_CS = 0x174, SYSENTER_ESP, SYSENTER_EIP };
static void sysenter_to(const u8 *code)
{
    wrmsr(SYSENTER_CS, CS64);
    wrmsr(SYSENTER_ESP, 0xffff800012345678);
    wrmsr(SYSENTER_EIP, (u64)code);
}
BEFORE(enter_segments, sysenter_to(report_cs_ss))
BEFORE(enter_sp, sysenter_to(report_sp))
BEFORE(enter_null, sysenter_to(report_sp); wrmsr(SYSENTER_CS, 3))
BEFORE(enter_user, sysenter_to(report_sp); wrmsr(SYSENTER_CS, 0x23 - 3); user_pages(f))
CASE("sysenter64.segments", "SYSENTER loads CS and SS by its MSR, to 64-bit code", "SDM 2, SYSENTER", L3, "",
     "sysenter", REPORTS(CS64 << 16 | DS64), .before = enter_segments, .when = is_intel)
CASE("sysenter64.rsp", "RSP has 64 bits", "SDM 2, SYSENTER", L3, "", "sysenter", REPORTS(0xffff800012345678),
     .before = enter_sp, .when = is_intel)
CASE("sysenter64.compat", "from compatibility mode too", "SDM 2, SYSENTER", C3, "", "sysenter",
     REPORTS(0xffff800012345678), .before = enter_sp, .when = is_intel)
CASE("sysenter64.null", "with a null CS #GP(0)", "SDM 2, SYSENTER", L3, "", "sysenter", GP(0), .before = enter_null,
     .when = is_intel)
CASE("sysenter64.amd", "AMD's have none in long mode: #UD", "AMD APM 3, SYSENTER", L3, "", "sysenter", UD,
     .before = enter_segments, .when = is_amd)
CASE("sysenter64.amd-compat", "nor in compatibility mode", "AMD APM 3, SYSENTER", C3, "", "sysenter", UD,
     .before = enter_segments, .when = is_amd)
CASE("sysexit64.amd", "nor SYSEXIT", "AMD APM 3, SYSEXIT", L0, "", "sysexitl", UD, .before = enter_segments,
     .when = is_amd)
CASE("sysexit64.ring3", "SYSEXIT in ring 3 is #GP(0)", "SDM 2, SYSEXIT", L3, "", "sysexitl", GP(0),
     .before = enter_segments, .when = is_intel)
CASE("sysexit64.null", "with a null CS #GP(0)", "SDM 2, SYSEXIT", L0, "", "sysexitl", GP(0), .before = enter_null,
     .when = is_intel)
CASE("sysexit64.rdx", "RDX that is not canonical is #GP(0)", "SDM 2, SYSEXIT", L0,
     BAD "mov %rbx, %rdx\n mov $STACK_TOP, %ecx", "rex.w sysexit", GP(0), .before = enter_segments, .when = is_intel)
CASE("sysexit64.rcx", "so is RCX", "SDM 2, SYSEXIT", L0, BAD "mov %rbx, %rcx\n mov $A_CODE, %edx", "rex.w sysexit",
     GP(0), .before = enter_segments, .when = is_intel)
CASE("sysexit64.segments", "with REX.W CS is the MSR's plus 32, SS plus 40, RPL 3", "SDM 2, SYSEXIT", L0,
     "lea 1f(%rip), %rdx\n mov $STACK_TOP, %ecx",
     "rex.w sysexit\n 1: mov %cs, %eax\n shl $16, %eax\n mov %ss, %ecx\n or %ecx, %eax", VALUE(0x43 << 16 | 0x4b),
     .before = enter_user, .when = is_intel)
CASE("sysexit64.compat", "without it plus 16 and 24, to compatibility mode", "SDM 2, SYSEXIT", L0,
     "lea 1f(%rip), %rdx\n mov $STACK_TOP, %ecx\n xor %eax, %eax",
     "sysexitl\n 1: .byte 0x40\n mov %cs, %ecx\n shl $16, %ecx\n or %ecx, %eax", VALUE(0x33 << 16 | 1),
     .before = enter_user, .when = is_intel)
CASE("swapgs.swaps", "SWAPGS exchanges GS's base and KERNEL_GS_BASE", "SDM 2, SWAPGS", L0,
     "mov $0xc0000102, %ecx\n mov $0x1234, %eax\n xor %edx, %edx\n wrmsr\n swapgs\n mov $0xc0000101, %ecx",
     "rdmsr\n swapgs", VALUE(0x1234))

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
CASE("compat.wrap", "addresses wrap at 4 GiB", "SDM 3, 3.3", C0,
     "movl $0x77, 0x10(%edi)\n mov $A_AREA+0x20, %ebx\n xor %eax, %eax", "mov -0x10(%ebx), %eax", VALUE(0x77))
CASE("compat.limit", "limits count", "SDM 3, 5.3.1", C3, "mov $S_T1+3, %eax\n mov %ax, %fs", "mov %fs:0x100, %al",
     GP(0), .t1 = SEGMENT(A_AREA, 0xff, 0x40f2))
CASE("compat.limit-inside", "inside it is read", "SDM 3, 5.3.1", C3,
     "movb $7, 0xff(%edi)\n mov $S_T1+3, %eax\n mov %ax, %fs\n xor %eax, %eax", "mov %fs:0xff, %al", VALUE(7),
     .t1 = SEGMENT(A_AREA, 0xff, 0x40f2))
CASE("compat.down", "expand-down segments", "SDM 3, 5.3.1", C3, "mov $S_T1+3, %eax\n mov %ax, %fs", "mov %fs:0xff, %al",
     GP(0), .t1 = SEGMENT(A_AREA, 0xff, 0x40f6))
CASE("compat.read-only", "types count", "SDM 3, 5.5", C3, "mov $S_T1+3, %eax\n mov %ax, %fs", "mov %al, %fs:0", GP(0),
     .t1 = SEGMENT(A_AREA, 0xff, 0x40f0))
CASE("compat.execute-only", "an execute-only CS is not read", "SDM 3, 5.5", C3, "mov $S_T1+3, %eax", "mov %ax, %fs",
     GP(S_T1), .t1 = SEGMENT(0, 0xfffff, 0xc0f8))
CASE("compat.null", "a null DS is #GP(0) when it is used", "SDM 3, 3.4.2", C3, "xor %eax, %eax\n mov %ax, %ds",
     "mov (%edi), %al", GP(0))
CASE("compat.cs-write", "CS cannot be written", "SDM 3, 5.5", C3, "", "movb $1, %cs:(%edi)", GP(0))
CASE("compat.base", "bases count", "SDM 3, 3.4.4", C3, "movl $0x77, 0x10(%edi)\n mov $S_T1+3, %eax\n mov %ax, %fs",
     "mov %fs:8, %eax", VALUE(0x77), .t1 = SEGMENT(A_AREA + 8, 0xff, 0x40f2))
CASE("compat.ss-limit", "the stack's limit is #SS(0)", "SDM 3, 5.3.1", C3,
     "mov $S_T1+3, %eax\n mov %ax, %ss\n mov $0x104, %esp", "push %eax", SS(0), .t1 = SEGMENT(A_AREA, 0xff, 0x40f2))
CASE("compat.fs-high-base", "FS_BASE's upper half does not count", "SDM 3, 3.4.4", C0,
     "movl $0x77, 0x10(%edi)\n mov $S_T1, %eax\n mov %ax, %fs\n mov $0xc0000100, %ecx\n mov $0x10, %eax\n mov $1, "
     "%edx\n wrmsr",
     "mov %fs:(%edi), %eax", VALUE(0x77), .t1 = SEGMENT(0, 0xfffff, 0xc092))
CASE("compat.push", "PUSH has four bytes", "SDM 2, PUSH", C3, "mov %esp, %eax", "push %eax\n sub %esp, %eax", VALUE(4))
CASE("compat.high-halves", "32-bit operations", "SDM 1, 3.4.1.1", C3, "mov $-1, %eax", ".byte 0x40", VALUE(0))
CASE("compat.pusha", "PUSHA is there", "SDM 2, PUSHA", C3, "mov %esp, %eax", "pusha\n sub %esp, %eax", VALUE(32))
CASE("compat.daa", "DAA", "SDM 2, DAA", C3, "mov $0x79, %eax\n add $0x35, %al", "daa", VALUE(0x14))
CASE("compat.into", "INTO", "SDM 2, INT n", C3, "movb $0x7f, %al\n addb $1, %al", "into", TRAP(4))
CASE("compat.bound", "BOUND", "SDM 2, BOUND", C3, "movl $2, 4(%edi)\n mov $3, %eax", "bound %eax, (%edi)", BR)
CASE("compat.les", "LES", "SDM 2, LDS", C3, "movl $0x123, (%edi)\n movl $S_UDS, 4(%edi)", "les (%edi), %eax",
     VALUE(0x123))
CASE("compat.arpl", "ARPL", "SDM 2, ARPL", C3, "mov $0x10, %eax\n mov $3, %ecx", "arpl %cx, %ax", VALUE(0x13))
CASE("compat.aam", "AAM of 0 is #DE", "SDM 2, AAM", C3, "", "aam $0", DE)
CASE("compat.far-jmp", "a direct far JMP", "SDM 2, JMP", C0, "xor %eax, %eax",
     "ljmp $S_CS64, $A_CODE+9\n .byte 0x48, 0xff, 0xc0", VALUE(1))
CASE("compat.call-far", "a far CALL and RET", "SDM 2, CALL", C0, "movb $0xcb, (%edi)\n mov %esp, %ebx",
     "lcall $S_CS32, $A_AREA\n mov %esp, %eax\n sub %ebx, %eax", VALUE(0))
CASE("compat.int", "INT pushes 64-bit frames", "SDM 3, 6.14.2", C3, "", "int $0x80", TRAP(0x80), .after = from_compat)
CASE("compat.ud2", "and so do faults", "SDM 3, 6.14.2", C3, "", "ud2", UD, .after = from_compat)
CASE("compat.eip-limit", "code that runs beyond CS's limit is #GP(0)", "SDM 3, 5.3.1", C0, "", "ljmp $S_T1, $A_CODE",
     GP(0), .t1 = SEGMENT(0, 0xfff, 0x409a))
CASE("compat.sgdt", "SGDT stores six bytes", "SDM 2, SGDT", C3, "movl $0x5a5a5a5a, 6(%edi)",
     "sgdt (%edi)\n mov 6(%edi), %eax", VALUE(0x5a5a5a5a))
CASE("compat.lgdt", "LGDT reads six: the upper half of the base becomes 0", "SDM 2, LGDT", C0, "sgdt (%edi)",
     "lgdt (%edi)", NONE)
CASE("compat.cmpxchg16b", "CMPXCHG16B is not there", "SDM 2, CMPXCHG8B", C3, "", "cmpxchg8b (%edi)", NONE)
CASE("compat.rdfsbase", "RDFSBASE is #UD", "SDM 2, RDFSBASE", C3, "", ".byte 0xf3, 0x0f, 0xae, 0xc0", UD)
CASE("compat.movsxd", "63h is ARPL, not MOVSXD", "SDM 2, ARPL", C3, "mov $0, %eax\n mov $3, %ecx", ".byte 0x63, 0xc8",
     VALUE(3))
CASE("compat.popf", "POPF pops four bytes", "SDM 2, POPF", C3, "push $3\n mov %esp, %ebx",
     "popf\n mov %esp, %eax\n sub %ebx, %eax", VALUE(4))
CASE("compat.enter", "ENTER", "SDM 2, ENTER", C3, "mov %esp, %ebx", "enter $8, $0\n mov %ebx, %eax\n sub %esp, %eax",
     VALUE(12))
CASE("compat.lldt", "LLDT reads eight bytes: the base has 32 bits", "SDM 2, LLDT", C0, "mov $0x98, %eax", "lldt %ax",
     NONE, .before = ldt_at_end)
CASE("compat.ltr", "so does LTR", "SDM 2, LTR", C0, "mov $0x98, %eax", "ltr %ax", NONE, .before = tss_at_end)
CASE("compat.task-gate", "a task gate is #GP(gate)", "SDM 3, 8.7", C0, "", "ljmp $S_T1, $0", GP(S_T1),
     .t1 = GATE(TSS, 0, 0xe5))
CASE("compat.cr8", "there is no CR8 but by a LOCK prefix on AMD's", "AMD APM 3, MOV CRn", C0, "",
     ".byte 0xf0, 0x0f, 0x20, 0xc0", VALUE(0), .when = has_cr8_legacy)
CASE("compat.cr8-intel", "on Intel's LOCK MOV CR0 is #UD", "SDM 2, LOCK", C0, "", ".byte 0xf0, 0x0f, 0x20, 0xc0", UD,
     .when = is_intel)
