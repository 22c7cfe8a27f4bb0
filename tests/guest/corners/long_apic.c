/* Long mode: the local APIC's modes, and starting other processors. */

#include "check.h"

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
