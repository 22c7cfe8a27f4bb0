/* Long mode: the local APIC's modes, and starting other processors. */

#include "check.h"

/* --- APIC modes --- */

/* --- registers --- */

static const char spurious_where[] = "SDM 3, 11.4.7.2", ipi_where[] = "SDM 3, 11.6.1", timer_where[] = "SDM 3, 11.5.4";
enum {
    APIC_TPR    = 0x80,
    APIC_PPR    = 0xa0,
    APIC_LDR    = 0xd0,
    APIC_DFR    = 0xe0,
    APIC_ISR    = 0x100,
    APIC_IRR    = 0x200,
    APIC_ESR    = 0x280,
    TEST_VECTOR = 0x61
};
static u8       order[8];
static unsigned n_order;
static void     note(Cpu *cpu, Frame *f)
{
    if (n_order < sizeof order) {
        order[n_order++] = (u8)f->vector;
    }
}
/* Lets what is pending come through; how many. */
static unsigned drain(void)
{
    n_order     = 0;
    cpus[0].irq = note;
    __asm__ volatile("sti\n nop\n nop\n cli" : : : "memory");
    cpus[0].irq = NULL;
    return n_order;
}
static bool bit_of(u32 reg, unsigned vector)
{
    return apic_read(reg + vector / 32 * 16) >> vector % 32 & 1;
}
static void wait_ms(u64 ms)
{
    for (u64 until = after_ms(ms); rdtsc() < until;) {
        pause_();
    }
}
/* Waits for the timer's interrupt. Hosts are busy, and any two instructions may lie many milliseconds apart: no check
 * expects that something has not happened yet, unless it is seconds away. */
static void wait_for_timer(void)
{
    for (u64 until = after_ms(10000); rdtsc() < until && !bit_of(APIC_IRR, TEST_VECTOR);) {
        pause_();
    }
}
static bool arrives(u32 destination, u32 command)
{
    apic_write(APIC_ICR + 0x10, destination << 24);
    apic_write(APIC_ICR, command | TEST_VECTOR);
    wait_ms(1);
    return drain() == 1 && order[0] == TEST_VECTOR;
}
/* Counts of the timer for a million ticks of the TSC: at least, at most. Looks again while the host had other work
 * between the two clocks. */
static void timer_rate(u32 divide, u64 rate[2])
{
    apic_write(APIC_DIVIDE, divide);
    for (unsigned i = 0; i < 50; i++) {
        u64 from = rdtsc();
        apic_write(APIC_INIT_COUNT, 0xffffffff);
        u64 started = rdtsc();
        wait_ms(20);
        u64 until   = rdtsc();
        u64 count   = 0xffffffff - apic_read(APIC_NOW);
        u64 stopped = rdtsc();
        rate[0]     = count * 1000000 / (stopped - from);
        rate[1]     = (count + 1) * 1000000 / (until - started) + 1;
        if (stopped - from - (until - started) < (until - started) / 50) {
            return;
        }
    }
}
GROUP(apic_registers)
{
    apic_write(APIC_SVR, 0x1ff);
    apic_write(APIC_TPR, 0);
    drain();
    check((apic_read(0x30) & 0xff) >= 0x10 && (apic_read(0x30) >> 16 & 0xff) >= 3, "apicreg.version",
          "version 1xh, four or more LVT entries", "SDM 3, 11.4.8");
    apic_write(APIC_TIMER, 0x40);
    apic_write(APIC_SVR, 0xff);
    check(apic_read(APIC_TIMER) & 0x10000, "apicreg.disable-masks", "disabling it by software masks the LVT",
          spurious_where);
    apic_write(APIC_TIMER, 0x40);
    check(apic_read(APIC_TIMER) & 0x10000, "apicreg.disabled-stays", "whose masks cannot be cleared then",
          spurious_where);
    apic_write(APIC_SVR, 0x1ff);
    check(apic_read(APIC_TIMER) & 0x10000, "apicreg.enable-keeps", "and stay behind enabling", spurious_where);
    apic_write(APIC_TIMER, 0x10040);
    apic_write(APIC_TPR, 0x35);
    check(apic_read(APIC_PPR) == 0x35, "apicreg.ppr", "PPR is TPR while nothing is in service", "SDM 3, 11.8.3.1");
    apic_write(APIC_TPR, 0x12345678);
    check(apic_read(APIC_TPR) == 0x78, "apicreg.tpr-bits", "TPR has eight bits", "SDM 3, 11.8.3.1");
    apic_write(APIC_TPR, 0);

    apic_write(APIC_ICR, 0x44000 | TEST_VECTOR);
    wait_ms(1);
    check(bit_of(APIC_IRR, TEST_VECTOR) && !bit_of(APIC_ISR, TEST_VECTOR), "apicreg.irr", "an interrupt waits in IRR",
          "SDM 3, 11.8.4");
    apic_write(APIC_ICR, 0x44000 | TEST_VECTOR);
    check(drain() == 1, "apicreg.once", "twice before it is taken is once", "SDM 3, 11.8.4");
    check(!bit_of(APIC_IRR, TEST_VECTOR) && !bit_of(APIC_ISR, TEST_VECTOR), "apicreg.taken", "behind EOI it is nowhere",
          "SDM 3, 11.8.5");
    apic_write(APIC_ICR, 0x44051);
    apic_write(APIC_ICR, 0x44000 | TEST_VECTOR);
    apic_write(APIC_ICR, 0x44041);
    wait_ms(1);
    check(drain() == 3 && order[0] == TEST_VECTOR && order[1] == 0x51 && order[2] == 0x41, "apicreg.priority",
          "higher vectors come first", "SDM 3, 11.8.3");
    apic_write(APIC_TPR, 0x60);
    apic_write(APIC_ICR, 0x44000 | TEST_VECTOR);
    wait_ms(1);
    check(drain() == 0, "apicreg.tpr-holds", "TPR holds its own class back", "SDM 3, 11.8.3.1");
    apic_write(APIC_ICR, 0x44071);
    wait_ms(1);
    check(drain() == 1 && order[0] == 0x71, "apicreg.tpr-passes", "and lets higher ones through", "SDM 3, 11.8.3.1");
    apic_write(APIC_TPR, 0);
    check(drain() == 1 && order[0] == TEST_VECTOR, "apicreg.tpr-released", "what it held back comes when it is lowered",
          "SDM 3, 11.8.3.1");

    /* Destinations. */
    u32 id = cpus[0].apic_id;
    check(arrives(id, 0x4000), "apicreg.physical", "an IPI to its own ID", ipi_where);
    check(!arrives(id ^ 0x80, 0x4000), "apicreg.physical-other", "one to another does not come", ipi_where);
    check(arrives(0xff, 0x4000), "apicreg.physical-all", "one to FFh does", ipi_where);
    apic_write(APIC_DFR, 0xffffffff);
    apic_write(APIC_LDR, 0x02123456);
    check(apic_read(APIC_LDR) == 0x02000000, "apicreg.ldr", "LDR has eight bits", "SDM 3, 11.6.2.2");
    check(apic_read(APIC_DFR) == 0xffffffff, "apicreg.dfr", "DFR's low 28 bits are ones", "SDM 3, 11.6.2.2");
    check(arrives(0x06, 0x4800), "apicreg.flat", "flat model: a bit in common", "SDM 3, 11.6.2.2");
    check(!arrives(0x05, 0x4800), "apicreg.flat-other", "none in common", "SDM 3, 11.6.2.2");
    apic_write(APIC_DFR, 0x0fffffff);
    apic_write(APIC_LDR, 0x32000000);
    check(arrives(0x33, 0x4800), "apicreg.cluster", "cluster model: the cluster and a bit", "SDM 3, 11.6.2.2");
    check(!arrives(0x31, 0x4800), "apicreg.cluster-bit", "another bit", "SDM 3, 11.6.2.2");
    check(!arrives(0x22, 0x4800), "apicreg.cluster-other", "another cluster", "SDM 3, 11.6.2.2");
    check(arrives(0xff, 0x4800), "apicreg.cluster-all", "all clusters", "SDM 3, 11.6.2.2");
    apic_write(APIC_DFR, 0xffffffff);
    apic_write(APIC_LDR, 0);
    check(arrives(0, 0x84000), "apicreg.all-including", "shorthand: all including self", ipi_where);
    check(!arrives(0, 0xc4000), "apicreg.all-excluding", "all excluding self", ipi_where);
    apic_write(APIC_ICR + 0x10, 0x12345678);
    check((apic_read(APIC_ICR + 0x10) & 0xff000000) == 0x12000000, "apicreg.icr2",
          "ICR's second half keeps the destination", ipi_where);
    check(!(apic_read(APIC_ICR) & 0x1000), "apicreg.icr-idle", "the delivery status is idle", ipi_where);

    /* The timer. */
    apic_write(APIC_DIVIDE, 0xb);
    apic_write(APIC_TIMER, TEST_VECTOR);
    apic_write(APIC_INIT_COUNT, 0xffffffff);
    u32  first  = apic_read(APIC_NOW);
    u32  second = apic_read(APIC_NOW);
    bool down   = second && second <= first && !bit_of(APIC_IRR, TEST_VECTOR);
    apic_write(APIC_INIT_COUNT, 100000);
    wait_for_timer();
    check(drain() == 1 && down && apic_read(APIC_NOW) == 0, "apictimer.once",
          "one shot: it counts down, fires, and stands at 0", timer_where);
    wait_ms(5);
    check(drain() == 0, "apictimer.once-only", "once", timer_where);
    apic_write(APIC_TIMER, 0x20000 | TEST_VECTOR);
    apic_write(APIC_INIT_COUNT, 100000);
    wait_for_timer();
    unsigned came = drain();
    wait_for_timer();
    check(came && drain() && apic_read(APIC_NOW) <= 100000, "apictimer.periodic", "periodic: again and again",
          timer_where);
    apic_write(APIC_INIT_COUNT, 0);
    drain();
    wait_ms(5);
    check(drain() == 0 && apic_read(APIC_NOW) == 0, "apictimer.stop", "an initial count of 0 stops it", timer_where);
    apic_write(APIC_TIMER, 0x10000 | TEST_VECTOR);
    apic_write(APIC_INIT_COUNT, 10000);
    wait_ms(10);
    check(drain() == 0, "apictimer.masked", "masked it does not fire", timer_where);
    apic_write(APIC_TIMER, TEST_VECTOR);
    wait_ms(5);
    check(drain() == 0, "apictimer.masked-lost", "nor later", timer_where);
    u64 slow[2], fast[2];
    timer_rate(0xa, slow); /* by 128 */
    timer_rate(0xb, fast); /* by 1 */
    check(slow[0] && fast[0] / slow[1] < 160 && fast[1] / slow[0] > 100, "apictimer.divide", "the divider divides",
          timer_where);
    apic_write(APIC_INIT_COUNT, 0);
    if (offered(1, ECX, 24)) {
        apic_write(APIC_TIMER, 0x40000 | TEST_VECTOR);
        __asm__ volatile("mfence");
        apic_write(APIC_INIT_COUNT, 1000);
        check(apic_read(APIC_NOW) == 0, "apictimer.deadline-count", "in TSC-deadline mode initial counts are ignored",
              "SDM 3, 11.5.4.1");
        u64 deadline = rdtsc() + 60 * tsc_hz();
        wrmsr(0x6e0, deadline);
        bool armed = rdmsr(0x6e0) == deadline;
        wrmsr(0x6e0, rdtsc() + tsc_hz() / 200);
        wait_for_timer();
        check(drain() == 1 && armed && rdmsr(0x6e0) == 0, "apictimer.deadline",
              "it fires when the TSC is there, and disarms", "SDM 3, 11.5.4.1");
        wrmsr(0x6e0, 1);
        wait_for_timer();
        check(drain() == 1, "apictimer.deadline-past", "at once when that has passed", "SDM 3, 11.5.4.1");
        wrmsr(0x6e0, rdtsc() + 60 * tsc_hz());
        wrmsr(0x6e0, 0);
        check(rdmsr(0x6e0) == 0, "apictimer.deadline-off", "0 disarms it", "SDM 3, 11.5.4.1");
        wrmsr(0x6e0, rdtsc() + 60 * tsc_hz());
        apic_write(APIC_TIMER, TEST_VECTOR);
        check(rdmsr(0x6e0) == 0, "apictimer.deadline-leave", "so does leaving the mode", "SDM 3, 11.5.4.1");
        wrmsr(0x6e0, rdtsc() + 1000);
        check(rdmsr(0x6e0) == 0, "apictimer.deadline-other", "in other modes the MSR takes nothing", "SDM 3, 11.5.4.1");
    }
    apic_write(APIC_TIMER, 0x10000);
}
GROUP(apic_errors)
{
    apic_write(APIC_ESR, 0);
    apic_write(APIC_ESR, 0);
    apic_write(APIC_ICR, 0x44005);
    wait_ms(1);
    check(apic_read(APIC_ESR) == 0, "apicreg.esr-latched", "ESR changes when it is written", "SDM 3, 11.5.3");
    apic_write(APIC_ESR, 0);
    check(apic_read(APIC_ESR) & 0x20, "apicreg.esr-send", "an IPI of a vector below 16 is \"send illegal vector\"",
          "SDM 3, 11.5.3");
    apic_write(APIC_ESR, 0);
    check(apic_read(APIC_ESR) == 0, "apicreg.esr-cleared", "the next write clears it", "SDM 3, 11.5.3");
}
GROUP(apic_moved)
{
    static const char where[] = "SDM 3, 11.4.5";
    u64               base    = rdmsr(0x1b);
    u32               version = apic_read(0x30);
    map(A_HOLE, 0x50000000, P | W | PCD);
    wrmsr(0x1b, (base & 0xfff) | 0x50000000);
    u32 there = *(volatile u32 *)(u64)(A_HOLE + 0x30);
    u32 here  = apic_read(0x30);
    wrmsr(0x1b, base);
    check(there == version, "apicreg.moved", "APIC_BASE moves the registers", where);
    check(here != version, "apicreg.moved-away", "away from where they were", where);
    map(A_HOLE, 0, 0);
}

static unsigned x2_write(u32 msr, u64 value)
{
    Frame f;
    frame_in(L0, "\x0f\x30\xcc", 3, &f);
    f.rcx = msr;
    f.rax = (u32)value;
    f.rdx = value >> 32;
    return run(&f);
}
static unsigned x2_read(u32 msr)
{
    Frame f;
    frame_in(L0, "\x0f\x32\xcc", 3, &f);
    f.rcx = msr;
    return run(&f);
}
/* In x2APIC mode. run() acknowledges interrupts by xAPIC's registers, so that none is let through here. */
static void x2apic_registers(void)
{
    static const struct {
        const char *id, *text;
        u32         msr;
        u64         value;
        bool        write, allowed;
    } rows[] = {
        { "x2.version", "the version can be read", 0x803, 0, false, true },
        { "x2.version-write", "not written", 0x803, 0x10, true, false },
        { "x2.reserved", "804h is reserved", 0x804, 0, false, false },
        { "x2.tpr", "TPR", 0x808, 0x20, true, true },
        { "x2.tpr-high", "its reserved bits", 0x808, 0x100, true, false },
        { "x2.tpr-clear", "TPR 0", 0x808, 0, true, true },
        { "x2.ppr-write", "PPR is read-only", 0x80a, 0, true, false },
        { "x2.eoi-read", "EOI is write-only", 0x80b, 0, false, false },
        { "x2.ldr-write", "LDR is read-only", 0x80d, 0, true, false },
        { "x2.svr-high", "reserved bits of SVR", 0x80f, 0x80001ff, true, false },
        { "x2.isr-write", "ISR is read-only", 0x810, 0, true, false },
        { "x2.esr", "ESR takes 0", 0x828, 0, true, true },
        { "x2.esr-1", "and nothing else", 0x828, 1, true, false },
        { "x2.cmci-gap", "829h is reserved", 0x829, 0, false, false },
        { "x2.icr-reserved", "reserved bits of ICR", 0x830, 0x80000000 | 0x10000, true, false },
        { "x2.lvt-reserved", "of an LVT entry", 0x832, 0x100000 | 0x10000, true, false },
        { "x2.lvt-high", "its upper half", 0x832, 1ull << 32 | 0x10000, true, false },
        { "x2.lvt", "an LVT entry", 0x832, 0x10040, true, true },
        { "x2.count", "the initial count", 0x838, 0, true, true },
        { "x2.count-high", "has 32 bits", 0x838, 1ull << 32, true, false },
        { "x2.now-write", "the current count is read-only", 0x839, 0, true, false },
        { "x2.divide", "the divider", 0x83e, 0xb, true, true },
        { "x2.divide-reserved", "its bit 2", 0x83e, 4, true, false },
        { "x2.self-read", "SELF IPI is write-only", 0x83f, 0, false, false },
        { "x2.self-high", "and has eight bits", 0x83f, 0x161, true, false },
        { "x2.beyond", "840h is reserved", 0x840, 0, false, false },
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        unsigned vector = rows[i].write ? x2_write(rows[i].msr, rows[i].value) : x2_read(rows[i].msr);
        check(vector == (rows[i].allowed ? 3 : 13), rows[i].id, rows[i].text, "SDM 3, table 11-6 and 11.12.1.3");
    }
    x2_write(0x83f, TEST_VECTOR);
    check(rdmsr(0x820 + TEST_VECTOR / 32) >> TEST_VECTOR % 32 & 1, "x2.self", "SELF IPI sets IRR", "SDM 3, 11.12.11");
    check(rdmsr(0x808) == 0 && READ_CR(8) == 0, "x2.cr8", "CR8 is TPR / 16 here, too", "SDM 3, 11.8.6");
    WRITE_CR(8, 5);
    check(rdmsr(0x808) == 0x50, "x2.cr8-write", "in both directions", "SDM 3, 11.8.6");
    WRITE_CR(8, 0);
    x2_write(0x830, (u64)cpus[0].apic_id << 32 | 0x4000 | (TEST_VECTOR + 1));
    check(rdmsr(0x820 + TEST_VECTOR / 32) >> (TEST_VECTOR + 1) % 32 & 1, "x2.icr", "ICR is one MSR", "SDM 3, 11.12.9");
}

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
        Frame f = frame_at(A_CODE, STACK_TOP, false);
        memcpy((void *)code_page, "\x0f\x30\xcc", 3);
        map(A_CODE, code_page, P | W);
        map(A_STACK, stack_page, P | W);
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
            f     = frame_at(A_CODE, STACK_TOP, false);
            f.rcx = 0x80e;
            check(run(&f) == 13, "apic.x2-dfr", "there is no DFR: MSR 80Eh is #GP(0)", "SDM 3, table 11-6");
            f     = frame_at(A_CODE, STACK_TOP, false);
            f.rcx = 0x831;
            check(run(&f) == 13, "apic.x2-icr2", "nor ICR's second half", "SDM 3, table 11-6");
            memcpy((void *)code_page, "\x0f\x30\xcc", 3);
            f     = frame_at(A_CODE, STACK_TOP, false);
            f.rcx = 0x80b;
            f.rax = 1;
            check(run(&f) == 13, "apic.x2-eoi", "EOI takes 0 only", "SDM 3, 11.12.1.2");
            f     = frame_at(A_CODE, STACK_TOP, false);
            f.rcx = 0x802;
            check(run(&f) == 13, "apic.x2-id-write", "the ID is read-only", "SDM 3, table 11-6");
            x2apic_registers();
        }
        if (i == 3) {
            check(!(cpuid(1, 0).d >> 9 & 1), "apic.cpuid", "CPUID says that there is none while it is disabled",
                  "SDM 3, 11.4.3");
        }
    }
    check(apic_read(APIC_SVR) == 0xff && (apic_read(APIC_TIMER) & 0x10000), "apic.on-reset",
          "it comes back as after a reset", "SDM 3, 11.4.3");
    apic_write(APIC_SVR, 0x1ff);
}

/* --- starting other processors: INIT and SIPI --- */

/* Real-mode code at 9000h and, by another vector, at A000h: says how it found the processor, and halts. */
__asm__(".pushsection .rodata\n sipi_code: .code16\n"
        "cli\n orl %ebx, %eax\n orl %ecx, %eax\n orl %esi, %eax\n orl %edi, %eax\n orl %ebp, %eax\n orl %esp, %eax\n"
        "movl %eax, %ds:0xb040\n pushfl\n popl %ds:0xb044\n movl $0x175, %ecx\n pushl %edx\n rdmsr\n popl %edx\n"
        "movl %eax, %ds:0xb048\n movl %db7, %eax\n movl %eax, %ds:0xb04c\n movl %db6, %eax\n movl %eax, %ds:0xb050\n"
        "fnstcw %ds:0xb054\n xorw %bx, %bx\n movw %bx, %ds\n movw %cs, %ds:0xb000\n movl %edx, %ds:0xb004\n"
        "movl %cr0, %eax\n movl %eax, %ds:0xb008\n movl $0x1b, %ecx\n rdmsr\n movl %eax, %ds:0xb00c\n"
        "call 1f\n 1: popw %ax\n subw $(1b - sipi_code), %ax\n movw %ax, %ds:0xb010\n"
        "movl %cr4, %eax\n movl %eax, %ds:0xb014\n lock incl %ds:0xb018\n"
        "2: hlt\n jmp 2b\n sipi_code_end: .code64\n .popsection");
extern const u8 sipi_code[], sipi_code_end[];

static void mark_state(Cpu *cpu)
{
    wrmsr(0x175, 0x1234);
    WRITE_DR(7, 0x401);
    __asm__ volatile("std");
}
/* Has it been started so many times since this was asked last? */
static bool started(u32 times)
{
    static u32    last;
    volatile u32 *n = (volatile u32 *)0xb018ull;
    for (u64 until = after_ms(2000); *n < last + times && rdtsc() < until;) {
        pause_();
    }
    bool ok = *n == last + times;
    last    = *n;
    return ok;
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
    smp_start();
    smp_go(1, mark_state);
    smp_wait(1);
    to_others(0x4500); /* INIT */
    check(started(0), "smp.init-waits", "INIT alone starts nothing", where);
    to_others(0x4609);
    check(started(1), "smp.sipi", "a SIPI starts the processor", where);
    check(seen[0] == 0x900 && (seen[4] & 0xffff) == 0, "smp.cs-ip", "at VV00:0000", where);
    check(seen[2] == (n_cpus > 1 ? 0x10 : 0x60000010), "smp.cr0", "CR0 is 10h, with CD and NW as they were",
          "SDM 3, table 10-1");
    check(seen[5] == 0, "smp.cr4", "CR4 is 0", "SDM 3, table 10-1");
    check((seen[1] & 0xfff) == (cpuid(1, 0).a & 0xfff), "smp.edx", "EDX has the processor's signature",
          "SDM 3, table 10-1");
    check(!(seen[3] & 0x100) && (seen[3] & 0x800), "smp.bsp-flag", "APIC_BASE: enabled, not the boot processor",
          "SDM 3, 11.4.4");
    check(seen[16] == 0, "smp.registers", "the other registers are 0", "SDM 3, table 10-1");
    check((seen[17] & ~(u32)ARITH) == 2, "smp.flags", "EFLAGS is 2", "SDM 3, table 10-1");
    check(seen[18] == 0x1234, "smp.msrs", "MSRs are as they were", "SDM 3, table 10-1");
    check(seen[19] == 0x400 && seen[20] == 0xffff0ff0, "smp.debug", "DR6 and DR7 as after a reset",
          "SDM 3, table 10-1");
    check((seen[21] & 0xffff) == 0x37f, "smp.fpu", "the x87 state as it was", "SDM 3, table 10-1");
    check(rdmsr(0x1b) & 0x100, "smp.bsp-flag-here", "this one is", "SDM 3, 11.4.4");
    to_others(0x460a);
    check(started(0) && seen[0] == 0x900, "smp.second-sipi", "a second SIPI is ignored", where);
    to_others(0x4500);
    to_others(0x460a);
    check(started(1) && seen[0] == 0xa00, "smp.again",
          "behind another INIT it is not, and another vector is another page", where);
    to_others(0x4609);
    to_others(0x4500);
    check(started(0), "smp.sipi-before-init", "a SIPI that was ignored is not there after the next INIT", where);
    to_others(0x460a);
    check(started(1), "smp.sipi-after-init", "one behind it is", where);
    apic_write(APIC_ICR, 0xc4500);
    apic_write(APIC_ICR, 0xc4609);
    check(started(1) && seen[0] == 0x900, "smp.init-sipi", "nor does a SIPI right behind the INIT get lost", where);
    /* INCW [0B020h], IRET for NMIs in real mode. */
    memcpy((void *)0xb030ull, "\xff\x06\x20\xb0\xcf", 5);
    memcpy((void *)0x8ull, "\x30\xb0\0", 4);
    seen[8] = 0;
    to_others(0x4500);
    to_others(0x4400);
    check(started(0), "smp.nmi-starts-nothing", "an NMI does not wake a processor that waits for a SIPI",
          "MP specification 1.4, B.4.2");
    to_others(0x460a);
    check(started(1) && seen[0] == 0xa00 && !seen[8], "smp.nmi-lost", "nor is it there after the SIPI",
          "MP specification 1.4, B.4.2");
    to_others(0x4400);
    for (u64 until = after_ms(2000); !seen[8] && rdtsc() < until;) {
        pause_();
    }
    check(seen[8] == 1, "smp.nmi", "later ones are taken", "SDM 3, 6.7");
    to_others(0x8500); /* INIT de-assert */
    check(started(0), "smp.de-assert", "INIT level de-assert does nothing", "SDM 3, 11.6.1");
}
