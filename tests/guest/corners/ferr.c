/* x87 errors with CR0.NE = 0: FERR#, IRQ 13 from the slave 8259, port F0h and IGNNE#, as the PC/AT has them. */

#include "check.h"

enum { MASTER = 0x20, SLAVE = 0xa0, MASTER_BASE = 0x68, SLAVE_BASE = 0x70, IRQ13 = 0x75, TIMER = 0x40 };

extern u32 irqs;
u32        irqs;

/* Only IRQ 13 comes through; the local APIC passes the 8259's interrupts on. */
static void start_pics(u8 slave_mask)
{
    for (unsigned i = 0; i < 2; i++) {
        u16 port = i ? SLAVE : MASTER;
        outb(port, 0x11);
        outb(port + 1, i ? SLAVE_BASE : MASTER_BASE);
        outb(port + 1, i ? 2 : 4);
        outb(port + 1, 1);
        outb(port + 1, i ? slave_mask : 0xfb);
    }
    *apic(0x350) = 0x700;
}
static void compatible(u8 slave_mask)
{
    __asm__ volatile("fninit");
    outb(0xf0, 0);
    start_pics(slave_mask);
    irqs = 0;
    WRITE_CR(0, READ_CR(0) & ~0x20u);
}
#define END_OF_INTERRUPT    "mov $0x20, %al\n out %al, $0xa0\n out %al, $0x20\n"
#define HANDLER(name, text) SNIPPET(name, R0, "push %eax\n incl irqs\n" text END_OF_INTERRUPT "pop %eax\n iret\n")
#define WITH(name, handler) BEFORE(name, compatible(0xdf); set_idt(IRQ13, GATE(S_CODE, (handler), 0x8e)))
HANDLER(ignore_error, "out %al, $0xf0\n")
HANDLER(clear_error, "out %al, $0xf0\n fnclex\n")
HANDLER(only_clear, "fnclex\n out %al, $0xf0\n")
WITH(ignoring, ignore_error)
WITH(clearing, clear_error)
WITH(clearing_first, only_clear)
static void waiting(Frame *f)
{
    compatible(0xdf);
}
static void timer(Frame *f)
{
    compatible(0xff);
    *apic(0x3e0) = 3;
    *apic(0x320) = TIMER;
    *apic(0x380) = 2000000;
}
static bool one_irq(const Frame *f)
{
    return irqs == 1;
}
static bool no_irq(const Frame *f)
{
    return irqs == 0;
}

/* "ferr=0" on the command line: the board has connected neither FERR# nor IGNNE#. */
static bool connected(void)
{
    return option("ferr", 1);
}
static bool not_connected(void)
{
    return !connected();
}
#define ERROR   "fld1\n fldz\n fdivrp\n"
#define PENDING "fninit\n movl $0x33b, A_AREA\n fldcw A_AREA\n" ERROR /* zero divide unmasked and pending */
#define IRQ     .vector = IRQ13, .at = AT_INSN, .flags = IF, .before = waiting, .when = connected

CASE("ferr.fwait", "an error is IRQ 13 before the next FWAIT", "SDM 1, 8.7.2", R0, PENDING, "fwait", IRQ)
CASE("ferr.x87", "before the next x87 instruction", "SDM 1, 8.7.2", R0, PENDING "nop\n", "fld1", IRQ)
CASE("ferr.load", "before one with an operand", "SDM 1, 8.7.2", R3, PENDING, "fldl A_AREA", IRQ)
CASE("ferr.mmx", "before an MMX instruction", "SDM 3, 12.5", R3, PENDING, "emms", IRQ)
CASE("ferr.v86", "in virtual-8086 mode", "SDM 1, 8.7.2", V86,
     "fninit\n movl $0x33b, 0\n fldcw 0\n fld1\n fldz\n fdivrp\n", "fwait", IRQ)
CASE("ferr.not-fnstsw", "not before FNSTSW", "SDM 1, 8.7.2", R0, PENDING, "fnstsw %ax\n and $0x8084, %eax\n fninit",
     VALUE(0x8084), .flags = IF, .before = ignoring, .after = no_irq)
CASE("ferr.cleared", "nor behind FNCLEX", "SDM 1, 8.7.2", R0, PENDING, "fnclex\n fld1\n fninit", NONE, .flags = IF,
     .before = ignoring, .after = no_irq)
CASE("ferr.waits", "with IRQ 13 masked the processor waits for another interrupt", "SDM 1, D.2.1", R0,
     PENDING "sti\n nop\n", "fwait", .vector = TIMER, .at = AT_INSN, .before = timer)
CASE("ferr.unconnected", "so it does where FERR# leads nowhere", "SDM 1, D.2.1", R0, PENDING "sti\n nop\n", "fld1",
     .vector = TIMER, .at = AT_INSN, .before = timer, .when = not_connected)
CASE("ferr.unconnected-f0", "and a write to F0h changes nothing there", "SDM 1, D.2.1", R0,
     PENDING "xor %eax, %eax\n outb %al, $0xf0\n sti\n nop", "fwait", .vector = TIMER, .at = AT_INSN, .before = timer,
     .when = not_connected)
CASE("ferr.ignored", "a write to F0h makes instructions ignore the error, which stays", "SDM 1, D.2.1", R0, PENDING,
     "fwait\n fld1\n fadd %st(0)\n fistpl A_AREA+8\n fnstsw %ax\n and $0x80bf, %eax\n shl $8, %eax\n movb A_AREA+8, "
     "%al\n fninit",
     VALUE(0x808402), .flags = IF, .before = ignoring, .when = connected, .after = one_irq)
CASE("ferr.ignored-more", "further exceptions add to it", "SDM 1, D.2.1", R0, PENDING,
     "fwait\n fldz\n fldz\n fdivrp\n fnstsw %ax\n and $0x80bf, %eax\n fninit", VALUE(0x8085), .flags = IF,
     .before = ignoring, .when = connected, .after = one_irq)
CASE("ferr.ignored-fault", "and a page fault meanwhile does not lose it", "SDM 1, D.2.1", R0,
     PENDING "fwait\n movl $1f, %eax\n movw %ax, idt+14*8\n shr $16, %eax\n movw %ax, idt+14*8+6\n",
     "fldl A_WINDOW+0x1000\n 1: fnstsw %ax\n and $0x80bf, %eax\n fninit", VALUE(0x8084), .flags = IF,
     .before = ignoring, .when = connected, .after = one_irq)
CASE("ferr.ignored-fldenv", "FLDENV loads another status", "SDM 2, FLDENV", R0,
     "fninit\n fnstenv A_AREA+0x20\n" PENDING, "fldenv A_AREA+0x20\n fnstsw %ax\n and $0x80ff, %eax\n fninit", VALUE(0),
     .flags = IF, .before = ignoring, .when = connected, .after = one_irq)
CASE("ferr.again", "an error behind FNCLEX is reported again", "SDM 1, D.2.1", R0, PENDING,
     "fwait\n fnclex\n" ERROR "fwait\n fninit\n mov irqs, %eax", VALUE(2), .flags = IF, .before = ignoring,
     .when = connected)
CASE("ferr.unmasked-mf", "with NE it is #MF, IGNNE# or not", "SDM 1, 8.7.1", R0,
     PENDING "fwait\n mov %cr0, %eax\n or $0x20, %eax\n mov %eax, %cr0\n", "fwait", MF, .flags = IF, .before = ignoring,
     .when = connected, .after = one_irq)
CASE("ferr.loop", "a handler that clears errors, many times", "SDM 1, D.2.1", R0,
     "mov $3000, %ecx\n 1:\n" PENDING "fwait\n loop 1b\n", "mov irqs, %eax\n fninit", VALUE(3000), .flags = IF,
     .before = clearing, .when = connected)
CASE("ferr.loop-cleared-first", "before the write to F0h", "SDM 1, D.2.1", R3,
     "mov $3000, %ecx\n 1:\n" PENDING "fld1\n loop 1b\n", "mov irqs, %eax\n fninit", VALUE(3000), .flags = IF,
     .before = clearing_first, .when = connected)
CHECK(ferr_end, "ferr.end", "a write to F0h takes the interrupt back", "ICH9 data sheet, coprocessor error register")
{
    if (!connected()) {
        return true;
    }
    /* ferr.waits has left it there, and everything since has written to F0h. */
    compatible(0xff);
    outb(SLAVE, 0x0a); /* IRR */
    u8 requested;
    __asm__ volatile("inb $0xa0, %0" : "=a"(requested));
    outb(MASTER + 1, 0xff);
    outb(SLAVE + 1, 0xff);
    *apic(0x350) = 0x10000;
    *apic(0x320) = 0x10000;
    return !(requested & 0x20);
}
