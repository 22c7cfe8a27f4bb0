/* Debug registers, single steps and what holds them off, general detect; interrupt shadows and NMI blocking. */

#include "check.h"

#define DR6_IS(value) ((cpus[0].dr6 & 0xe00f) == (value))

/* --- data breakpoints: DR0, length and kind in DR7 --- */

static void watch(u32 address, u32 dr7)
{
    WRITE_DR(0, address);
    WRITE_DR(6, 0xffff0ff0);
    WRITE_DR(7, 0x400 | dr7);
}
enum {
    L0    = 1,
    G0    = 2,
    WRITE = 0x10000,
    IO    = 0x20000,
    RDWR  = 0x30000,
    LEN1  = 0,
    LEN2  = 0x40000,
    LEN4  = 0xc0000,
    GD    = 0x2000
};
BEFORE(write4, watch(A_AREA + 0x10, L0 | WRITE | LEN4))
BEFORE(write4_global, watch(A_AREA + 0x10, G0 | WRITE | LEN4))
BEFORE(write4_off, watch(A_AREA + 0x10, WRITE | LEN4))
BEFORE(write1, watch(A_AREA + 0x11, L0 | WRITE | LEN1))
BEFORE(write2_unaligned, watch(A_AREA + 0x11, L0 | WRITE | LEN2))
BEFORE(rdwr4, watch(A_AREA + 0x10, L0 | RDWR | LEN4))
BEFORE(rdwr_selector, *mem32(A_AREA + 0x10) = S_DATA; watch(A_AREA + 0x10, L0 | RDWR | LEN4))
BEFORE(two_hits, watch(A_AREA + 0x10, L0 | RDWR | LEN4); WRITE_DR(1, A_AREA + 0x12);
       WRITE_DR(7, 0x400 | L0 | RDWR | LEN4 | 4 | 0x300000 | 0x400000))
BEFORE(second_not_enabled, watch(A_AREA + 0x10, L0 | RDWR | LEN4); WRITE_DR(1, A_AREA + 0x10);
       WRITE_DR(7, 0x400 | L0 | RDWR | LEN4 | 0xf00000))
BEFORE(stack_watch, watch(A_STACK - 4, L0 | WRITE | LEN4))
BEFORE(port_watch, WRITE_CR(4, 0x618); watch(0x80, L0 | IO | LEN1))
AFTER(dr6_0, DR6_IS(1))
AFTER(dr6_none, DR6_IS(0))
AFTER(dr6_01, DR6_IS(3))
AFTER(dr6_bs, DR6_IS(0x4000))
AFTER(dr6_bs_0, DR6_IS(0x4001))
AFTER(dr6_1_too, (cpus[0].dr6 & 0xe00d) == 1)
AFTER(dr6_bs_bd, DR6_IS(0x6000))

CASE("data.write", "a write is a trap behind the instruction", "SDM 3, 18.3.1.2", R0, "", "movl %eax, A_AREA+0x10",
     TRAP(1), .before = write4, .after = dr6_0)
CASE("data.global", "enabled by G0 too", "SDM 3, 18.2.4", R0, "", "movl %eax, A_AREA+0x10", TRAP(1),
     .before = write4_global, .after = dr6_0)
CASE("data.off", "not without L or G", "SDM 3, 18.2.4", R0, "", "movl %eax, A_AREA+0x10", NONE, .before = write4_off)
CASE("data.ring3", "in ring 3", "SDM 3, 18.3.1.2", R3, "", "movl %eax, A_AREA+0x10", TRAP(1), .before = write4,
     .after = dr6_0)
CASE("data.write-read", "a read does not hit a write breakpoint", "SDM 3, 18.2.4", R0, "", "movl A_AREA+0x10, %eax",
     NONE, .before = write4)
CASE("data.read", "a read hits a read/write breakpoint", "SDM 3, 18.2.4", R0, "", "movl A_AREA+0x10, %eax", TRAP(1),
     .before = rdwr4, .after = dr6_0)
CASE("data.overlap-below", "an access that only overlaps at its end", "SDM 3, 18.2.5", R0, "", "movl %eax, A_AREA+0xd",
     TRAP(1), .before = write4, .after = dr6_0)
CASE("data.overlap-above", "an access that only overlaps at its start", "SDM 3, 18.2.5", R0, "",
     "movl %eax, A_AREA+0x13", TRAP(1), .before = write4, .after = dr6_0)
CASE("data.beside", "an access beside it", "SDM 3, 18.2.5", R0, "", "movl %eax, A_AREA+0x14", NONE, .before = write4)
CASE("data.byte", "a breakpoint of one byte", "SDM 3, 18.2.5", R0, "", "movb %al, A_AREA+0x12", NONE, .before = write1)
CASE("data.aligned-down", "the low bits of the address are masked by the length", "SDM 3, 18.2.5", R0, "",
     "movb %al, A_AREA+0x10", TRAP(1), .before = write2_unaligned, .after = dr6_0)
CASE("data.two", "two hits at once", "SDM 3, 18.2.3", R0, "", "movl A_AREA+0x10, %eax", TRAP(1), .before = two_hits,
     .after = dr6_01)
CASE("data.not-enabled", "one that is not enabled causes no trap by itself", "SDM 3, 18.2.3", R0, "",
     "movl A_AREA+0x10, %eax", TRAP(1), .before = second_not_enabled, .after = dr6_1_too)
CASE("data.push", "a push", "SDM 3, 18.3.1.2", R3, "", "push %eax", TRAP(1), .before = stack_watch, .after = dr6_0)
CASE("data.call", "the push of a CALL traps at the target", "SDM 3, 18.3.1.2", R3, "", "call 1f\n 1:", TRAP(1),
     .before = stack_watch, .after = dr6_0)
CASE("data.rmw", "a read and write", "SDM 3, 18.3.1.2", R0, "", "incl A_AREA+0x10", TRAP(1), .before = write4,
     .after = dr6_0)
CASE("data.locked", "a locked one", "SDM 3, 18.3.1.2", R0, "", "lock xaddl %eax, A_AREA+0x10", TRAP(1),
     .before = write4, .after = dr6_0)
CASE("data.stos", "STOS", "SDM 3, 18.3.1.2", R0, "mov $A_AREA+0x10, %edi", "stosl", TRAP(1), .before = write4,
     .after = dr6_0)
AFTER(rep_stopped, DR6_IS(1) && f->ecx == 3 && (f->eflags & RF))
CASE("data.rep-stos", "REP STOS stops behind the iteration that hits", "SDM 3, 18.3.1.2", R0,
     "mov $A_AREA+8, %edi\n mov $6, %ecx", "rep stosl", .vector = 1, .at = AT_INSN, .before = write4,
     .after = rep_stopped)
CASE("data.movups", "a vector store", "SDM 3, 18.3.1.2", R0, "", "movups %xmm0, A_AREA+8", TRAP(1), .before = write4,
     .after = dr6_0)
CASE("data.fst", "an x87 store", "SDM 3, 18.3.1.2", R0, "fldz", "fstpl A_AREA+0xc", TRAP(1), .before = write4,
     .after = dr6_0)
CASE("data.fault-first", "an instruction that faults reports no breakpoint", "SDM 3, 6.9", R3, "",
     "push A_WINDOW+0x1000", PAGE_FAULT(4, A_WINDOW + 0x1000), .before = stack_watch, .after = dr6_none)
CASE("data.mov-ss", "a hit of MOV SS waits for the next instruction", "SDM 3, 6.8.3", R0, "",
     "mov A_AREA+0x10, %ss\n nop", TRAP(1), .before = rdwr_selector, .after = dr6_0)
CASE("data.port", "a port, with CR4.DE", "SDM 3, 18.3.1.3", R0, "", "outb %al, $0x80", TRAP(1), .before = port_watch,
     .after = dr6_0)
CASE("data.port-word", "an access that overlaps it", "SDM 3, 18.3.1.3", R0, "", "inw $0x7f, %ax", TRAP(1),
     .before = port_watch, .after = dr6_0)
CASE("data.port-ins", "INS", "SDM 3, 18.3.1.3", R0, "mov $0x80, %dx\n mov $A_AREA, %edi", "insb", TRAP(1),
     .before = port_watch, .after = dr6_0)

/* --- code breakpoints --- */

BEFORE(code_here, watch(f->eip, L0))
BEFORE(code_linear, watch(f->eip + A_CODE16_BASE, L0))
BEFORE(code_next, watch(f->eip + 1, L0))
BEFORE(code_middle, watch(f->eip + 2, L0))
BEFORE(code_rf, watch(f->eip, L0); f->eflags |= RF)
BEFORE(code_next_step, watch(f->eip + 1, L0); f->eflags |= TF)
AFTER(code_at_insn, DR6_IS(1) && !(f->eflags & RF))
CASE("code.fault", "a fault before the instruction; RF is pushed as it is, clear", "SDM 3, 18.3.1.1", R0, "", "nop",
     .vector = 1, .at = AT_INSN, .before = code_here, .after = code_at_insn)
CASE("code.ring3", "in ring 3", "SDM 3, 18.3.1.1", R3, "", "nop", .vector = 1, .at = AT_INSN, .before = code_here,
     .after = code_at_insn)
CASE("code.next", "on a later instruction", "SDM 3, 18.3.1.1", R0, "nop", "nop", .vector = 1, .at = AT_INSN,
     .before = code_next, .after = code_at_insn)
CASE("code.middle", "in the middle of an instruction it does nothing", "SDM 3, 18.2.5", R0, "", "mov $5, %eax", NONE,
     .before = code_middle)
CASE("code.rf", "RF holds it off for one instruction", "SDM 3, 18.3.1.1", R0, "", "nop", NONE, .before = code_rf)
CASE("code.fault-order", "it comes before faults of the instruction", "SDM 3, table 6-2", R0, "", "ud2", .vector = 1,
     .at = AT_INSN, .before = code_here, .after = code_at_insn)
CASE("code.mov-ss", "behind MOV SS it is not looked at", "SDM 3, 6.8.3", R0, "mov %ss, %eax\n mov %eax, %ss", "nop",
     NONE, .before = code_next)
BEFORE(code_behind_ss, watch(f->eip + 4, L0))
CASE("code.mov-ss-next", "MOV SS holds off a code breakpoint on the next instruction", "SDM 3, 6.8.3", R0,
     "mov %ss, %eax\n mov %eax, %ss", "nop", NONE, .before = code_behind_ss)
CASE("code.v86", "in virtual-8086 mode the linear address counts", "SDM 3, 18.2", V86, "", "nop", .vector = 1,
     .at = AT_INSN, .before = code_linear)
CASE("code.step", "a single step and a code breakpoint of the next instruction: the step comes first",
     "SDM 3, table 6-2", R0, "nop", "nop", .vector = 1, .at = AT_INSN, .before = code_next_step)

/* --- general detect, DR4 and DR5 --- */

BEFORE(detect, WRITE_DR(7, 0x400 | GD))
BEFORE(de, WRITE_CR(4, 0x618))
AFTER(gd_cleared, DR6_IS(0x2000) && !(cpus[0].dr7 & GD))
CASE("gd.read", "a read of a debug register with GD is a fault", "SDM 3, 18.3.1.3", R0, "", "mov %db0, %eax",
     .vector = 1, .at = AT_INSN, .before = detect, .after = gd_cleared)
CASE("gd.write", "so is a write", "SDM 3, 18.3.1.3", R0, "", "mov %eax, %db6", .vector = 1, .at = AT_INSN,
     .before = detect, .after = gd_cleared)
CASE("gd.dr4-de", "DR4 with CR4.DE is #UD, even with GD", "SDM 2, MOV", R0, "", "mov %db4, %eax", UD, .before = de)
CASE("gd.dr4", "DR4 is DR6 without CR4.DE", "SDM 3, 18.2.2", R0, "mov $0xffff0ff1, %eax\n mov %eax, %db6",
     "mov %db4, %eax", VALUE(0xffff0ff1))
CASE("gd.dr5", "DR5 is DR7", "SDM 3, 18.2.2", R0, "", "mov %db5, %eax", VALUE(0x400))
CASE("gd.dr7-bits", "DR7: bit 10 is one, bits 12, 14 and 15 zeros", "SDM 3, 18.2.4", R0,
     "mov $0xd800, %eax\n mov %eax, %db7", "mov %db7, %eax\n and $0xf7ff, %eax", VALUE(0x400))
CASE("gd.dr6-bits", "DR6's fixed bits", "SDM 3, 18.2.3", R0, "xor %eax, %eax\n mov %eax, %db6",
     "mov %db6, %eax\n or $0x10800, %eax", VALUE(0xffff0ff0))

/* --- single steps --- */

CASE("step.nop", "TF traps behind the next instruction", "SDM 3, 18.3.1.4", R0, "", "nop", TRAP(1), .flags = TF,
     .after = dr6_bs)
CASE("step.ring3", "in ring 3", "SDM 3, 18.3.1.4", R3, "", "nop", TRAP(1), .flags = TF, .after = dr6_bs)
CASE("step.v86", "in virtual-8086 mode", "SDM 3, 18.3.1.4", V86, "", "nop", TRAP(1), .flags = TF, .after = dr6_bs)
CASE("step.real", "in real mode", "SDM 3, 18.3.1.4", REAL, "", "nop", TRAP(1), .flags = TF)
CASE("step.branch", "a branch", "SDM 3, 18.3.1.4", R0, "", "jmp 1f\n ud2\n 1:", TRAP(1), .flags = TF, .after = dr6_bs)
BEFORE(three_times, f->ecx = 3; f->edi = A_AREA; f->eflags |= TF)
AFTER(one_iteration, f->ecx == 2 && DR6_IS(0x4000) && (f->eflags & RF))
AFTER(last_iteration, f->ecx == 0 && DR6_IS(0x4000) && !(f->eflags & RF))
AFTER(all_iterations, f->ecx == 0)
BEFORE(one_time, f->ecx = 1; f->edi = A_AREA; f->eflags |= TF)
BEFORE(rep_rf, watch(f->eip, L0); f->ecx = 4; f->edi = A_AREA; f->eflags |= RF)
CASE("step.rep-last", "behind the last iteration RF is pushed clear", "SDM 3, 18.3.1.1", R0, "", "rep stosb", TRAP(1),
     .before = one_time, .after = last_iteration)
CASE("code.rep-rf", "RF holds a code breakpoint off for all iterations of REP", "SDM 3, 18.3.1.1", R0, "", "rep stosb",
     NONE, .before = rep_rf, .after = all_iterations)
CASE("step.rep", "REP traps behind each iteration, with RF in the image", "SDM 2, REP", R0, "", "rep stosb",
     .vector = 1, .at = AT_INSN, .before = three_times, .after = one_iteration)
CASE("step.mov-ss", "MOV SS is not stepped: the trap is behind the next instruction", "SDM 3, 6.8.3", R0,
     "mov %ss, %eax\n push $0x102\n popf", "mov %eax, %ss\n nop", TRAP(1), .after = dr6_bs)
CASE("step.pop-ss", "nor POP SS", "SDM 3, 6.8.3", R0, "push %ss\n push $0x102\n popf", "pop %ss\n nop", TRAP(1),
     .after = dr6_bs)
CASE("step.lss", "LSS is stepped", "SDM 3, 6.8.3", R0,
     "movl $A_STACK, A_AREA\n movl $S_DATA, A_AREA+4\n push $0x102\n popf", "lss A_AREA, %esp", TRAP(1),
     .after = dr6_bs)
CASE("step.mov-ds", "MOV DS is stepped", "SDM 3, 6.8.3", R0, "mov %ds, %eax\n push $0x102\n popf", "mov %eax, %ds",
     TRAP(1), .after = dr6_bs)
CASE("step.sti", "STI is stepped", "SDM 3, 18.3.1.4", R0, "push $0x102\n popf", "sti", TRAP(1), .after = dr6_bs)
CASE("step.popf", "POPF that sets TF traps behind the next instruction", "SDM 3, 18.3.1.4", R0, "push $0x102",
     "popf\n nop", TRAP(1), .after = dr6_bs)
CASE("step.popf-clear", "POPF that clears TF still traps", "SDM 3, 18.3.1.4", R0, "push $2\n push $0x102\n popf",
     "popf", TRAP(1), .after = dr6_bs)
CASE("step.iret", "IRET that sets TF traps behind the next instruction", "SDM 3, 18.3.1.4", R0,
     "push $0x102\n push $S_CODE\n push $1f", "iret\n 1: nop", TRAP(1), .after = dr6_bs)
CASE("step.fault", "an instruction that faults is not stepped", "SDM 3, 18.3.1.4", R0, "push $0x102\n popf", "ud2", UD,
     .after = dr6_none)
CASE("step.int", "INT n clears TF: the handler is not stepped", "SDM 3, 18.3.1.4", R0, "push $0x102\n popf",
     "int $0x80", TRAP(0x80), .after = dr6_none)
CASE("step.data", "a step and a data breakpoint are one trap", "SDM 3, 18.3.1.4", R0, "push $0x102\n popf",
     "movl %eax, A_AREA+0x10", TRAP(1), .before = write4, .after = dr6_bs_0)
CASE("step.pushf", "PUSHF pushes TF", "SDM 3, 18.3.1.4", R0, "push $0x102\n popf", "pushf", TRAP(1), .after = dr6_bs)
CASE("step.mov-dr", "DR6 is not cleared by the processor", "SDM 3, 18.2.3", R0,
     "mov $0xffff2ff0, %eax\n mov %eax, %db6\n push $0x102\n popf", "nop", TRAP(1), .after = dr6_bs_bd)
CASE("step.hlt-ring3", "HLT in ring 3 faults before the trap", "SDM 3, 18.3.1.4", R3, "", "hlt", GP(0), .flags = TF)
CASE("step.call-gate", "a call through a gate keeps TF", "SDM 3, 5.8.5", R3, "", "lcall $S_T1, $0", .vector = 1,
     .at = AT_ANY, .flags = TF, .t1 = GATE(S_CODE, 0x9000, 0xec))
CASE("step.smsw-cpuid", "CPUID is stepped", "SDM 3, 18.3.1.4", R0, "push $0x102\n popf", "cpuid", TRAP(1),
     .after = dr6_bs)
CASE("step.mov-cr", "MOV to CR is stepped", "SDM 3, 18.3.1.4", R0, "mov %cr0, %eax\n push $0x102\n popf",
     "mov %eax, %cr0", TRAP(1), .after = dr6_bs)
CASE("step.in", "IN is stepped", "SDM 3, 18.3.1.4", R0, "push $0x102\n popf", "inb $0x80, %al", TRAP(1),
     .after = dr6_bs)

/* --- interrupt shadows: a self-IPI of vector 40h waits --- */

static void interrupt_waits(Frame *f)
{
    __asm__ volatile("cli");
    *apic(0x300) = 0x44040; /* to self, fixed, vector 40h */
}
#define IRQ .vector = 0x40, .at = AT_END
CASE("shadow.sti", "STI lets one more instruction run", "SDM 2, STI", R0, "", "sti\n nop", IRQ,
     .before = interrupt_waits)
CASE("shadow.sti-sti", "a second STI does not hold it off again", "SDM 2, STI", R0, "", "sti\n sti", IRQ,
     .before = interrupt_waits)
CASE("shadow.sti-cli", "STI, CLI: nothing comes through", "SDM 2, STI", R0, "sti\n cli", "nop", NONE,
     .before = interrupt_waits)
CASE("shadow.popf", "POPF that sets IF: it comes at once", "SDM 2, POPF", R0, "push $0x202", "popf", IRQ,
     .before = interrupt_waits)
CASE("shadow.iret", "IRET that sets IF: it comes at once", "SDM 2, IRET", R0, "push $0x202\n push $S_CODE\n push $1f",
     "iret\n 1:", IRQ, .before = interrupt_waits)
CASE("shadow.mov-ss", "MOV SS holds it off for one instruction", "SDM 3, 6.8.3", R0, "mov %ss, %eax\n sti",
     "mov %eax, %ss\n nop", IRQ, .before = interrupt_waits)
CASE("shadow.pop-ss", "so does POP SS", "SDM 3, 6.8.3", R0, "push %ss\n sti", "pop %ss\n nop", IRQ,
     .before = interrupt_waits)
CASE("shadow.sti-hlt", "STI, HLT: it wakes HLT", "SDM 2, HLT", R0, "", "sti\n hlt", IRQ, .before = interrupt_waits)
CASE("shadow.sti-fault", "a fault behind STI is delivered first", "SDM 2, STI", R0, "sti", "ud2", UD,
     .before = interrupt_waits)
CASE("shadow.mov-cr8", "the TPR holds back lower priorities", "SDM 3, 11.8.3", R0,
     "movl $0x40, A_APIC+0x80\n sti\n nop\n nop", "movl $0, A_APIC+0x80", .vector = 0x40, .at = AT_END,
     .before = interrupt_waits)

#define SEND_NMI "movl A_APIC+0x20, %ecx\n movl %ecx, A_APIC+0x310\n movl $0x4400, A_APIC+0x300\n"
CASE("nmi.taken", "an NMI comes with IF clear", "SDM 3, 6.7", R0, "", SEND_NMI "nop\n nop\n nop", .vector = 2,
     .at = AT_ANY)
extern u32 nmis;
u32        nmis;
SNIPPET(nmi_iret, R0, "incl nmis\n cmpl $1, nmis\n jne 1f\n" SEND_NMI "nop\n nop\n movl nmis, %edx\n 1: iret\n")
SNIPPET(nmi_fault_iret, R0,
        "incl nmis\n cmpl $1, nmis\n jne 1f\n" SEND_NMI " push $2\n push $0\n push $0\n iret\n 1: mov nmis, %eax\n")
BEFORE(nmi_returns, nmis = 0; set_idt(2, GATE(S_CODE, nmi_iret, 0x8e)))
BEFORE(nmi_faults, nmis = 0; set_idt(2, GATE(S_CODE, nmi_fault_iret, 0x8e)))
AFTER(nmi_waited, f->edx == 1)
AFTER(nmis_2, nmis == 2)
CASE("nmi.blocked", "another one waits while the first is handled", "SDM 3, 6.7.1", R0, "", SEND_NMI "nop\n nop\n nop",
     NONE, .before = nmi_returns, .after = nmi_waited)
CASE("nmi.iret", "and comes behind IRET", "SDM 3, 6.7.1", R0, "", SEND_NMI "nop\n nop\n nop", NONE,
     .before = nmi_returns, .after = nmis_2)
CASE("nmi.iret-faults", "an IRET that faults ends the blocking too", "SDM 3, 6.7.1", R0, "", SEND_NMI "nop\n nop\n nop",
     .vector = 3, .at = AT_ANY, .before = nmi_faults, .check_ax = true, .ax = 2)
