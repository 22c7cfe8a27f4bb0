/* Long mode: breakpoints, single steps and what holds them off, interrupt shadows and NMIs. */

#include "check.h"

enum {
    BP_L0    = 1,
    BP_WRITE = 0x10000,
    BP_IO    = 0x20000,
    BP_RDWR  = 0x30000,
    BP_LEN1  = 0,
    BP_LEN2  = 0x40000,
    BP_LEN8  = 0x80000,
    BP_LEN4  = 0xc0000
};
static u64  dr6;
static void watch(u64 address, u32 dr7)
{
    WRITE_DR(0, address);
    WRITE_DR(6, 0xffff0ff0);
    WRITE_DR(7, 0x400 | dr7);
}
static bool dr6_is(u64 want)
{
    dr6 = READ_DR(6) & 0xe00f;
    WRITE_DR(7, 0x400);
    WRITE_DR(6, 0xffff0ff0);
    if (dr6 != want) {
        print("# DR6 %lx, expected %lx\n", dr6, want);
    }
    return dr6 == want;
}
BEFORE(write8, watch(A_AREA + 0x10, BP_L0 | BP_WRITE | BP_LEN8))
BEFORE(write4, watch(A_AREA + 0x10, BP_L0 | BP_WRITE | BP_LEN4))
BEFORE(write1, watch(A_AREA + 0x17, BP_L0 | BP_WRITE | BP_LEN1))
BEFORE(rdwr8, watch(A_AREA + 0x14, BP_L0 | BP_RDWR | BP_LEN8)) /* means 10h */
BEFORE(high_bits, watch(A_AREA + 0x10 + (1ull << 32), BP_L0 | BP_WRITE | BP_LEN8))
BEFORE(high_bits_compat, watch(A_AREA + 0x10 + (1ull << 32), BP_L0 | BP_WRITE | BP_LEN4))
BEFORE(stack_watch, watch(STACK_TOP - 8, BP_L0 | BP_WRITE | BP_LEN8))
BEFORE(ss_selector, *(u32 *)(area_page + 0x10) = UDS; watch(A_AREA + 0x10, BP_L0 | BP_RDWR | BP_LEN4))
BEFORE(ss_selector_int3, ss_selector(f); set_ist(&cpus[0], 2, (u64)A_AREA + 0x800);
       *idt_entry(3) ^= 3ull << 32) /* not on the stack of #DB */
BEFORE(port_watch, WRITE_CR(4, saved_cr4 | CR4_DE); watch(0x80, BP_L0 | BP_IO | BP_LEN1))
BEFORE(code_here, watch(A_CODE, BP_L0))
BEFORE(code_rf, watch(A_CODE, BP_L0); f->rflags |= RF)
BEFORE(code_high, watch(A_CODE + (1ull << 32), BP_L0))
static bool stop_detecting(const Frame *f)
{
    Frame g;
    return run_bytes(L0, "\x0f\x21\xc0\xcc", 4, &g) == 1; /* MOV RAX, DR0: the #DB clears GD */
}
BEFORE(detect, WRITE_DR(7, 0x2400))
BEFORE(disabled, watch(A_AREA + 0x10, BP_WRITE | BP_LEN8))
AFTER(hit_0, dr6_is(1))
AFTER(hit_none, dr6_is(0))
AFTER(hit_bs, dr6_is(0x4000))
AFTER(hit_bs_0, dr6_is(0x4001))
static bool hit_detect(const Frame *f)
{
    bool off = !(READ_DR(7) & 0x2000);
    return dr6_is(0x2000) && off;
}
CASE("dbg64.write8", "a breakpoint of eight bytes", "SDM 3, 18.2.4", L3, "", "movb %al, 0x17(%rdi)", TRAP(1),
     .before = write8, .after = hit_0)
CASE("dbg64.write8-below", "an access that overlaps its start", "SDM 3, 18.2.5", L3, "", "movq %rax, 0x9(%rdi)",
     TRAP(1), .before = write8, .after = hit_0)
CASE("dbg64.write8-beside", "one that ends before it", "SDM 3, 18.2.5", L3, "", "movq %rax, 0x8(%rdi)", NONE,
     .before = write8, .after = hit_none)
CASE("dbg64.write8-above", "one that begins behind it", "SDM 3, 18.2.5", L3, "", "movb %al, 0x18(%rdi)", NONE,
     .before = write8, .after = hit_none)
CASE("dbg64.write1", "one of a byte inside a quadword", "SDM 3, 18.2.5", L3, "", "movq %rax, 0x10(%rdi)", TRAP(1),
     .before = write1, .after = hit_0)
CASE("dbg64.aligned", "low bits of its address are masked by its length", "SDM 3, 18.2.5", L3, "",
     "movb 0x10(%rdi), %al", TRAP(1), .before = rdwr8, .after = hit_0)
CASE("dbg64.read", "a read does not hit a write breakpoint", "SDM 3, 18.2.4", L3, "", "movq 0x10(%rdi), %rax", NONE,
     .before = write8, .after = hit_none)
CASE("dbg64.disabled", "not without L or G", "SDM 3, 18.2.4", L3, "", "movq %rax, 0x10(%rdi)", NONE, .before = disabled)
CASE("dbg64.high-bits", "all bits of the address count", "SDM 3, 18.2.6", L3, "", "movq %rax, 0x10(%rdi)", NONE,
     .before = high_bits, .after = hit_none)
CASE("dbg64.compat-write", "compatibility mode", "SDM 3, 18.2.6", C3, "", "movl %eax, 0x10(%edi)", TRAP(1),
     .before = write4, .after = hit_0)
CASE("dbg64.compat-high", "there too", "SDM 3, 18.2.6", C3, "", "movl %eax, 0x10(%edi)", NONE,
     .before = high_bits_compat, .after = hit_none)
CASE("dbg64.push", "a push", "SDM 3, 18.3.1.2", L3, "", "push %rax", TRAP(1), .before = stack_watch, .after = hit_0)
CASE("dbg64.call", "the push of a CALL traps at the target", "SDM 3, 18.3.1.2", L3, "", "call 1f\n 1:", TRAP(1),
     .before = stack_watch, .after = hit_0)
CASE("dbg64.movaps", "a vector store", "SDM 3, 18.3.1.2", L3, "", "movaps %xmm0, 0x10(%rdi)", TRAP(1), .before = write8,
     .after = hit_0)
CASE("dbg64.xsave", "XSAVE", "SDM 3, 18.3.1.2", L3, "mov $1, %eax\n xor %edx, %edx", "fxsave (%rdi)", TRAP(1),
     .before = write8, .after = hit_0)
CASE("dbg64.lock", "a locked one", "SDM 3, 18.3.1.2", L3, "", "lock xaddq %rax, 0x10(%rdi)", TRAP(1), .before = write8,
     .after = hit_0)
CASE("dbg64.cmpxchg16b", "CMPXCHG16B that does not exchange", "SDM 3, 18.3.1.2", L3, "mov $1, %eax",
     "lock cmpxchg16b 0x10(%rdi)", TRAP(1), .before = write8, .after = hit_0)
AFTER(rep_stopped, f->rcx == 2 && (f->rflags & RF) && dr6_is(1))
CASE("dbg64.rep", "REP STOS stops behind the iteration that hits", "SDM 3, 18.3.1.2", L3, "mov $5, %ecx", "rep stosq",
     .vector = 1, .at = AT_INSN, .before = write8, .after = rep_stopped)
CASE("dbg64.fault", "an instruction that faults reports no hit", "SDM 3, 6.9", L3, "", "push 0x1000(%rdi)",
     PAGE_FAULT(4, A_AREA + PAGE), .before = stack_watch, .after = hit_none)
CASE("dbg64.mov-ss", "a hit of MOV SS waits for the next instruction", "SDM 3, 6.8.3", L3, "",
     "mov 0x10(%rdi), %ss\n nop", TRAP(1), .before = ss_selector, .after = hit_0)
AFTER(in_handler, (f->cs & 3) == 0 && f->rip != A_CODE && dr6_is(1))
CASE("dbg64.mov-ss-int3", "and comes in the handler when that is INT3", "SDM 3, 18.3.1.2", L3, "",
     "mov 0x10(%rdi), %ss\n int3", .vector = 1, .at = AT_ANY, .before = ss_selector_int3, .after = in_handler)
CASE("dbg64.mov-ss-syscall", "at LSTAR when it is SYSCALL", "SDM 3, 18.3.1.2", L3, "", "mov 0x10(%rdi), %ss\n syscall",
     .vector = 1, .at = AT_ANY, .before = ss_selector, .after = in_handler)
CASE("dbg64.mov-ss-fault", "and is lost when it faults", "SDM 3, 6.8.3", L3, "", "mov 0x10(%rdi), %ss\n ud2",
     .vector = 6, .at = AT_ANY, .before = ss_selector, .after = hit_none)
CASE("dbg64.port", "a port with CR4.DE", "SDM 3, 18.3.1.3", L0, "", "outb %al, $0x80", TRAP(1), .before = port_watch,
     .after = hit_0)
CASE("dbg64.port-rep", "REP OUTS stops behind its first iteration", "SDM 3, 18.3.1.3", L0,
     "mov $0x80, %edx\n mov $3, %ecx\n mov %rdi, %rsi", "rep outsb", .vector = 1, .at = AT_INSN, .before = port_watch,
     .after = hit_0)
AFTER(code_fault, !(f->rflags & RF) && dr6_is(1))
CASE("dbg64.code", "a code breakpoint is a fault", "SDM 3, 18.3.1.1", L3, "", "nop", .vector = 1, .at = AT_INSN,
     .before = code_here, .after = code_fault)
CASE("dbg64.code-rf", "which RF holds off", "SDM 3, 18.3.1.1", L3, "", "nop", NONE, .before = code_rf)
CASE("dbg64.code-high", "all bits of the address count", "SDM 3, 18.2.6", L3, "", "nop", NONE, .before = code_high)
CASE("dbg64.code-order", "it comes before #UD of its instruction", "SDM 3, table 6-2", L3, "", "ud2", .vector = 1,
     .at = AT_INSN, .before = code_here, .after = code_fault)
CASE("dbg64.code-rf-iret", "IRET with RF lets the instruction through", "SDM 3, 18.3.1.1", L0,
     "lea 1f(%rip), %rax\n mov %rax, %dr0\n mov $0x401, %ecx\n mov %rcx, %dr7\n push $S_DS64\n push $STACK_TOP\n push "
     "$0x10002\n push $S_CS64\n push %rax",
     "iretq\n 1: nop", NONE, .after = hit_none)
CASE("dbg64.code-rf-popf", "POPF does not set RF", "SDM 2, POPF", L0,
     "lea 1f(%rip), %rax\n mov %rax, %dr0\n mov $0x401, %ecx\n mov %rcx, %dr7\n push $0x10002\n popfq", "1: nop",
     .vector = 1, .at = AT_INSN, .after = hit_0)
CASE("dbg64.detect", "general detect", "SDM 3, 18.3.1.3", L0, "", "mov %dr0, %rax", .vector = 1, .at = AT_INSN,
     .before = detect, .after = hit_detect)
CASE("dbg64.detect-ring3", "in ring 3 it is #GP(0) instead", "SDM 2, MOV", L3, "", "mov %dr0, %rax", GP(0),
     .before = detect, .after = stop_detecting)
CASE("dbg64.dr4-de", "DR4 with CR4.DE is #UD", "SDM 3, 18.2.2", L0, "", "mov %dr4, %rax", UD, .before = port_watch)
CASE("dbg64.dr4", "without it DR6", "SDM 3, 18.2.2", L0, "mov %dr6, %rcx", "mov %dr4, %rax\n sub %rcx, %rax", VALUE(0))
CASE("dbg64.dr6-fixed", "DR6's fixed bits", "SDM 3, 18.2.3", L0, "xor %eax, %eax\n mov %rax, %dr6",
     "mov %dr6, %rax\n or $0x10800, %eax", VALUE(0xffff0ff0))
CASE("dbg64.dr7-fixed", "DR7's", "SDM 3, 18.2.4", L0, "mov $0xd800, %eax\n mov %rax, %dr7",
     "mov %dr7, %rax\n and $0xf7ff, %eax", VALUE(0x400))

/* --- single steps --- */

static bool swapgs_back(const Frame *f)
{
    __asm__ volatile("swapgs");
    return dr6_is(0x4000);
}
AFTER(pushed_tf, (*(u64 *)(stack_page + 0x7f8) & TF) && dr6_is(0x4000))
#define STEP "push $0x102\n popfq"
CASE("step64.nop", "TF traps behind the next instruction", "SDM 3, 18.3.1.4", L3, STEP, "nop", TRAP(1), .after = hit_bs)
CASE("step64.compat", "in compatibility mode", "SDM 3, 18.3.1.4", C3, "push $0x102\n popf", "nop", TRAP(1),
     .after = hit_bs)
CASE("step64.data", "with a data breakpoint it is one trap", "SDM 3, 18.3.1.4", L3, STEP, "movq %rax, 0x10(%rdi)",
     TRAP(1), .before = write8, .after = hit_bs_0)
CASE("step64.branch", "a branch", "SDM 3, 18.3.1.4", L3, STEP, "jmp 1f\n ud2\n 1:", TRAP(1), .after = hit_bs)
CASE("step64.mov-ss", "MOV SS is not stepped", "SDM 3, 6.8.3", L3, "mov %ss, %eax\n" STEP, "mov %eax, %ss\n nop",
     TRAP(1), .after = hit_bs)
CASE("step64.sti", "STI is", "SDM 3, 18.3.1.4", L0, STEP, "sti", TRAP(1), .after = hit_bs)
CASE("step64.popf-off", "POPF that clears TF too", "SDM 3, 18.3.1.4", L3, "push $2\n" STEP, "popfq", TRAP(1),
     .after = hit_bs)
CASE("step64.fault", "what faults is not", "SDM 3, 18.3.1.4", L3, STEP, "ud2", UD, .after = hit_none)
CASE("step64.int", "INT n clears TF", "SDM 3, 18.3.1.4", L3, STEP, "int $0x80", TRAP(0x80), .after = hit_none)
CASE("step64.int3", "so does INT3", "SDM 3, 18.3.1.4", L3, STEP, "int3", TRAP(3), .after = hit_none)
AFTER(rep_step, f->rcx == 2 && (f->rflags & RF) && dr6_is(0x4000))
CASE("step64.rep", "REP is stepped by iterations", "SDM 2, REP", L3, "mov $3, %ecx\n" STEP, "rep stosb", .vector = 1,
     .at = AT_INSN, .after = rep_step)
CASE("step64.cpuid", "CPUID", "SDM 3, 18.3.1.4", L3, STEP, "cpuid", TRAP(1), .after = hit_bs)
CASE("step64.wrmsr", "WRMSR", "SDM 3, 18.3.1.4", L0, "mov $0xc0000102, %ecx\n" STEP, "wrmsr", TRAP(1), .after = hit_bs)
CASE("step64.swapgs", "SWAPGS", "SDM 3, 18.3.1.4", L0, STEP, "swapgs", TRAP(1), .after = swapgs_back)
CASE("step64.mov-cr3", "MOV to CR3", "SDM 3, 18.3.1.4", L0, "mov %cr3, %rax\n" STEP, "mov %rax, %cr3", TRAP(1),
     .after = hit_bs)
CASE("step64.in", "IN", "SDM 3, 18.3.1.4", L0, STEP, "inb $0x80, %al", TRAP(1), .after = hit_bs)
CASE("step64.pushf", "PUSHF pushes TF", "SDM 3, 18.3.1.4", L3, STEP, "pushfq", TRAP(1), .after = pushed_tf)
CASE("step64.xmm", "a vector instruction", "SDM 3, 18.3.1.4", L3, STEP, "paddd %xmm0, %xmm1", TRAP(1), .after = hit_bs)
CASE("step64.hlt-ring3", "HLT in ring 3 faults first", "SDM 3, 18.3.1.4", L3, STEP, "hlt", GP(0), .after = hit_none)
CASE("step64.call-far", "a far CALL within the ring", "SDM 3, 18.3.1.4", L0,
     "lea 1f(%rip), %rax\n mov %eax, (%rdi)\n movl $S_CS64, 4(%rdi)\n" STEP, "lcall *(%rdi)\n 1:", TRAP(1),
     .after = hit_bs)

/* --- interrupt shadows and NMIs --- */

static void self_ipi(Frame *f)
{
    __asm__ volatile("cli");
    apic_write(APIC_ICR, 0x44000 | 0x80); /* vector 80h, which run() ends with */
    for (unsigned i = 0; i < 1000; i++) {
        pause_();
    }
}
static bool end_of_interrupt(const Frame *f)
{
    apic_write(APIC_EOI, 0);
    return true;
}
static bool drop_ipi(const Frame *f)
{
    Frame g;
    run_bytes(L0, "\xfb\x90\xcc", 3, &g); /* STI: it comes now */
    apic_write(APIC_EOI, 0);
    return g.vector == 0x80;
}
BEFORE(ipi_user, user_pages(f); self_ipi(f))
#define IRQ .vector = 0x80, .at = AT_END, .before = self_ipi, .after = end_of_interrupt
CASE("shadow64.sti", "STI lets one more instruction run", "SDM 2, STI", L0, "", "sti\n nop", IRQ)
CASE("shadow64.sti-sti", "a second STI does not hold off again", "SDM 2, STI", L0, "", "sti\n sti", IRQ)
CASE("shadow64.popf", "POPF does not hold off", "SDM 2, POPF", L0, "push $0x202", "popfq", IRQ)
CASE("shadow64.iret", "nor IRET", "SDM 2, IRET", L0,
     "push $S_DS64\n push $STACK_TOP\n push $0x202\n push $S_CS64\n lea 1f(%rip), %rax\n push %rax", "iretq\n 1:", IRQ)
CASE("shadow64.mov-ss", "MOV SS does", "SDM 3, 6.8.3", L0, "mov %ss, %eax\n sti", "mov %eax, %ss\n nop", IRQ)
CASE("shadow64.sti-hlt", "STI, HLT: it wakes HLT", "SDM 2, HLT", L0, "", "sti\n hlt", IRQ)
CASE("shadow64.sysret", "SYSRET that sets IF does not hold off", "SDM 2, SYSRET", L0,
     "lea 1f(%rip), %rcx\n mov $0x202, %r11d", "sysretq\n 1:", .vector = 0x80, .at = AT_END, .before = ipi_user,
     .after = end_of_interrupt)
CASE("shadow64.cr8", "CR8 holds lower priorities off", "SDM 3, 11.8.6", L0,
     "mov $8, %eax\n mov %rax, %cr8\n sti\n nop\n nop\n xor %eax, %eax", "mov %rax, %cr8", IRQ)
CASE("shadow64.cr8-cli", "without IF nothing comes", "SDM 3, 11.8.6", L0, "xor %eax, %eax\n mov %rax, %cr8",
     "nop\n nop", NONE, .before = self_ipi, .after = drop_ipi)
CASE("nmi64.taken", "an NMI comes with IF clear", "SDM 3, 6.7", L0, "", SEND_NMI, .vector = 2, .at = AT_ANY)
extern u32 nmis64;
u32        nmis64;
CODE(nmi_again, "incl nmis64\n cmpl $1, nmis64\n jne 1f\n" SEND_NMI "mov nmis64, %edx\n 1: iretq")
CODE(nmi_bad_iret, "incl nmis64\n cmpl $1, nmis64\n jne 1f\n" SEND_NMI
                   "push $0\n push $0\n push $2\n push $0\n push $0\n iretq\n 1: mov nmis64, %eax")
BEFORE(nmi_returns, nmis64 = 0; set_gate(2, (u64)nmi_again, 0, 0))
BEFORE(nmi_faults, nmis64 = 0; set_gate(2, (u64)nmi_bad_iret, 0, 0))
AFTER(nmi_waited, f->rdx == 1 && nmis64 == 2)
CASE("nmi64.blocked", "another waits for IRET", "SDM 3, 6.7.1", L0, "", SEND_NMI, NONE, .before = nmi_returns,
     .after = nmi_waited)
CASE("nmi64.iret-faults", "one that faults is enough", "SDM 3, 6.7.1", L0, "", SEND_NMI, .vector = 3, .at = AT_ANY,
     .before = nmi_faults, .check_ax = true, .ax = 2)
