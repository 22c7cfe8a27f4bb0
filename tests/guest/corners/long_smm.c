/* Long mode: system management mode. SMIs by the local APIC; SMBASE is 30000h, in plain RAM, but for the checks of the
 * chipset's SMRAM. The state-save area is that of processors with long mode (AMD APM 2, table 10-1). */

#include "check.h"

enum { SMBASE = 0x30000, LOW_SMRAM = 0xa0000, SEEN = 0x9000, SAVE = 0xfe00 };
typedef struct Seen {
    u32 magic, runs, cs, cr0, cr4, flags, dr7, efer, wanted_base, nmi, smi, clear_halt, rsp, nmis_inside, iret_inside;
} Seen;
#define AT(member) "%ds:" #member "+0x9000"
__asm__(
    ".set magic, 0\n.set runs, 4\n.set cs_, 8\n.set cr0_, 12\n.set cr4_, 16\n.set flags, 20\n.set dr7_, 24\n.set efer, "
    "28\n"
    ".set wanted_base, 32\n.set nmi, 36\n.set smi, 40\n.set clear_halt, 44\n.set rsp_, 48\n.set nmis_inside, 52\n.set "
    "iret_inside, 56\n"
    ".pushsection .rodata\n smm_code: .code16\n"
    "xorw %bx, %bx\n movw %bx, %ds\n"
    "movl $0x5313d00d, " AT(magic) "\n incl " AT(runs) "\n movw %cs, " AT(
        cs_) "\n"
             "movl %cr0, %eax\n movl %eax, " AT(cr0_) "\n movl %cr4, %eax\n movl %eax, " AT(
                 cr4_) "\n"
                       "movl $0x8000, %esp\n movw %bx, %ss\n pushfl\n popl " AT(
                           flags) "\n movl %db7, %eax\n movl %eax, " AT(dr7_) "\n"
                                                                              "movl $0xc0000080, %ecx\n rdmsr\n movl "
                                                                              "%eax, " AT(efer) "\n"
                                                                                                "movl " AT(wanted_base) ", %eax\n testl %eax, %eax\n jz 1f\n movl %eax, %cs:0xff00\n movl $0, " AT(
                                                                                                    wanted_base) "\n"
                                                                                                                 "1: "
                                                                                                                 "cmpl "
                                                                                                                 "$0,"
                                                                                                                 " " AT(
                                                                                                                     clear_halt) "\n je 2f\n movb $0, %cs:0xfec9\n 2:"
                                                                                                                                 "movl $0xfee00000, %ebx\n movl 0x20(%ebx), %eax\n movl %eax, 0x310(%ebx)\n movl " AT(nmi) ", %eax\n testl %eax, %eax\n jz 3f\n movl $0, " AT(
                                                                                                                                     nmi) "\n movl $0x4400, 0x300(%ebx)\n"
                                                                                                                                          "nop\n nop\n nop\n 3: movl " AT(smi) ", %eax\n testl %eax, %eax\n jz 4f\n movl $0, " AT(
                                                                                                                                              smi) "\n movl $0x4200, 0x300(%ebx)\n nop\n nop\n"
                                                                                                                                                   "4: cmpl $0, " AT(
                                                                                                                                                       iret_inside) "\n je 5f\n"
                                                                                                                                                                    "lidtl %cs:(smm_idt - smm_code + 0x8000)\n movw %cs, %ds:0x910a\n movw $(smm_inner_nmi - smm_code + 0x8000), %ds:0x9108\n"
                                                                                                                                                                    "pushfw\n pushw %cs\n pushw $(smm_back - smm_code + 0x8000)\n iretw\n smm_back: nop\n nop\n"
                                                                                                                                                                    "5: rsm\n smm_inner_nmi: incl %ds:0x9034\n iretw\n smm_idt: .word 0x3ff\n .long 0x9100\n smm_code_end: .code64\n .popsection");
extern const u8 smm_code[], smm_code_end[];

static volatile Seen *seen(void)
{
    return (volatile Seen *)(u64)SEEN;
}
/* A field of the state-save area at the given base. */
static u64 saved(u64 base, unsigned offset)
{
    return *(volatile u64 *)(base + offset);
}
static void smm(Frame *f)
{
    memcpy((void *)(u64)(SMBASE + 0x8000), smm_code, (size_t)(smm_code_end - smm_code));
    memset((void *)(u64)SEEN, 0, sizeof(Seen));
}
extern u32 smm_nmis;
u32        smm_nmis;
CODE(count_nmi, "incl smm_nmis\n iretq")
CODE(smi_in_nmi, "incl smm_nmis\n cmpl $1, smm_nmis\n jne 1f\n" SEND_SMI SEND_NMI "mov smm_nmis, %eax\n 1: iretq")
BEFORE(smm_nmi, smm(f); seen()->nmi = 1; smm_nmis = 0; set_gate(2, (u64)count_nmi, 1, 0))
BEFORE(smm_smi, smm(f); seen()->smi = 1)
BEFORE(smm_in_nmi, smm(f); smm_nmis = 0; set_gate(2, (u64)smi_in_nmi, 1, 0))
BEFORE(smm_flags, smm(f); f->rflags |= DF | CF)
BEFORE(smm_dr7, smm(f); WRITE_DR(0, A_HOLE); WRITE_DR(7, 0x30401))
AFTER(ran_once, seen()->magic == 0x5313d00d && seen()->runs == 1)
AFTER(ran_twice, seen()->runs == 2)
AFTER(saw_cr, ran_once(f) && (seen()->cr0 & 0x8000000d) == 0 && seen()->cr4 == 0 && seen()->efer == 0)
AFTER(saw_cs, ran_once(f) && (seen()->cs & 0xffff) == SMBASE >> 4)
AFTER(saw_flags, ran_once(f) && seen()->flags == 2)
AFTER(saw_dr7, ran_once(f) && seen()->dr7 == 0x400 && READ_DR(7) == 0x30401)
AFTER(saved_efer_too, ran_once(f) && saved(SMBASE, 0xfed0) == rdmsr(EFER))
AFTER(saved_cr3, ran_once(f) && saved(SMBASE, 0xff50) == READ_CR(3))
AFTER(saved_cr0_cr4, ran_once(f) && saved(SMBASE, 0xff58) == READ_CR(0) && saved(SMBASE, 0xff48) == READ_CR(4))
AFTER(saved_rip, ran_once(f) && saved(SMBASE, 0xff78) > A_CODE && saved(SMBASE, 0xff78) < A_CODE + 0x20)
AFTER(saved_r8, ran_once(f) && saved(SMBASE, 0xff80 + 8 * 7) == 0x123456789abcdef0)
AFTER(saved_revision, ran_once(f) && *(volatile u32 *)(u64)(SMBASE + 0xfefc) == 0x20064)
BEFORE(smm_nmi_iret, smm_nmi(f); seen()->iret_inside = 1)
AFTER(nmi_inside, ran_once(f) && seen()->nmis_inside == 1 && smm_nmis == 0)
AFTER(one_nmi, ran_once(f) && smm_nmis == 1)
#define SET_DESTINATION "mov $0xfee00000, %ebx\n mov 0x20(%rbx), %ecx\n mov %ecx, 0x310(%rbx)\n"
CASE("smm64.returns", "RSM comes back to 64-bit mode with all registers", "SDM 3, 32.4", L0,
     "movabs $0x123456789abcdef0, %r15\n mov %r15, %rax", SEND_SMI "xor %r15, %rax", VALUE(0), .before = smm,
     .after = ran_once)
CASE("smm64.compat", "and to compatibility mode", "SDM 3, 32.4", C0, "mov $0x7fffffff, %eax", SEND_SMI ".byte 0x40",
     VALUE(0x80000000), .before = smm, .after = ran_once)
CASE("smm64.control", "PE, PG, CR4 and EFER are clear in it", "SDM 3, table 32-4", L0, "", SEND_SMI, NONE,
     .before = smm, .after = saw_cr)
CASE("smm64.cs", "CS is SMBASE / 16", "SDM 3, table 32-4", L0, "", SEND_SMI, NONE, .before = smm, .after = saw_cs)
CASE("smm64.flags", "EFLAGS is 2", "SDM 3, table 32-4", L0, "", SEND_SMI, NONE, .before = smm_flags, .after = saw_flags)
CASE("smm64.flags-back", "and as before behind RSM", "SDM 3, 32.4", L0, "stc\n std",
     SEND_SMI "pushfq\n cld\n pop %rax\n and $0x401, %eax", VALUE(0x401), .before = smm)
CASE("smm64.dr7", "DR7 is 400h, and as before behind RSM", "SDM 3, table 32-4", L0, "", SEND_SMI, NONE,
     .before = smm_dr7, .after = saw_dr7)
CASE("smm64.save-efer", "the save area has EFER", "AMD APM 2, table 10-1", L0, "", SEND_SMI, NONE, .before = smm,
     .after = saved_efer_too)
CASE("smm64.save-cr3", "CR3", "AMD APM 2, table 10-1", L0, "", SEND_SMI, NONE, .before = smm, .after = saved_cr3)
CASE("smm64.save-cr0", "CR0 and CR4", "AMD APM 2, table 10-1", L0, "", SEND_SMI, NONE, .before = smm,
     .after = saved_cr0_cr4)
CASE("smm64.save-rip", "RIP", "AMD APM 2, table 10-1", L0, "", SEND_SMI, NONE, .before = smm, .after = saved_rip)
CASE("smm64.save-r8", "R8", "AMD APM 2, table 10-1", L0, "movabs $0x123456789abcdef0, %r8", SEND_SMI, NONE,
     .before = smm, .after = saved_r8)
CASE("smm64.revision", "and its revision", "AMD APM 2, 10.2.3", L0, "", SEND_SMI, NONE, .before = smm,
     .after = saved_revision)
CASE("smm64.nmi", "an NMI in SMM waits for RSM", "SDM 3, 32.8", L0, "", SEND_SMI, NONE, .before = smm_nmi,
     .after = one_nmi)
CASE("smm64.nmi-iret", "or for an IRET in SMM", "SDM 3, 32.8", L0, "", SEND_SMI, NONE, .before = smm_nmi_iret,
     .after = nmi_inside)
CASE("smm64.smi", "so does another SMI", "SDM 3, 32.3", L0, "", SEND_SMI, NONE, .before = smm_smi, .after = ran_twice)
CASE("smm64.nmi-blocked", "RSM leaves NMIs blocked that were", "SDM 3, 32.8", L0, "xor %eax, %eax", SEND_NMI, VALUE(1),
     .before = smm_in_nmi, .after = ran_once)
CASE("smm64.step", "a step is behind the instruction, not in SMM", "SDM 3, 32.8", L0,
     SET_DESTINATION "push $0x102\n popfq", "movl $0x4200, 0x300(%rbx)", .vector = 1, .at = AT_ANY, .before = smm,
     .after = ran_once)
CASE("smm64.rsm", "RSM outside of it is #UD", "SDM 2, RSM", L0, "", "rsm", UD)
CASE("smm64.rsm-ring3", "in ring 3 too", "SDM 2, RSM", L3, "", "rsm", UD)

/* --- SMI while the processor is halted: another one sends it --- */

enum { WAKE = 0x50 };
static volatile bool about_to_halt;
/* `ms` after it has (or nearly has) halted. */
static void send_to_first(u32 command, u64 ms)
{
    while (!about_to_halt) {
        pause_();
    }
    for (u64 until = after_ms(ms); rdtsc() < until;) {
        pause_();
    }
    apic_write(APIC_ICR + 0x10, cpus[0].apic_id << 24);
    apic_write(APIC_ICR, command);
}
static void smi_then_irq(Cpu *cpu)
{
    send_to_first(0x4200, 100);
    send_to_first(0x4000 | WAKE, 100);
}
static void smi_then_late_irq(Cpu *cpu)
{
    send_to_first(0x4200, 100);
}
static u64  woken_by;
static void woken(Cpu *cpu, Frame *f)
{
    woken_by = seen()->runs;
}
GROUP(smi_in_halt)
{
    static const char halt_where[] = "SDM 3, 32.10";
    if (option("cpus", 1) < 2) {
        return;
    }
    smp_start();
    smm(NULL);
    cpus[0].irq          = woken;
    woken_by             = 99;
    cpus[0].n_irqs[WAKE] = 0;
    about_to_halt        = false;
    smp_go(1, smi_then_irq);
    __asm__ volatile("movb $1, %0\n sti\n hlt\n cli" : "=m"(about_to_halt));
    u64 n = cpus[0].n_irqs[WAKE];
    smp_wait(1);
    print("# runs %u n %lx by %lx\n", seen()->runs, n, woken_by);
    check(seen()->runs == 1 && n == 1 && woken_by == 1, "halt64.again", "behind an SMI the processor halts again",
          halt_where);
    check(*(volatile u8 *)(u64)(SMBASE + 0xfec9) == 1, "halt64.flag", "the save area says that it was halted",
          "AMD APM 2, 10.3.4");
    smm(NULL);
    seen()->clear_halt = 1;
    about_to_halt      = false;
    smp_go(1, smi_then_late_irq);
    __asm__ volatile("movb $1, %0\n hlt" : "=m"(about_to_halt)); /* nothing else would end it */
    smp_wait(1);
    check(seen()->runs == 1, "halt64.cleared", "unless the handler clears that: then it goes on", halt_where);
    cpus[0].irq = NULL;
}

/* --- the chipset's SMRAM: 440FX (register 72h) and Q35 (9Dh) --- */

static void outl(u16 port, u32 value)
{
    __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port));
}
static u32 inl(u16 port)
{
    u32 value;
    __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
    return value;
}
static u8 smram_register;
static u8 get_smram(void)
{
    outl(0xcf8, 0x80000000 | (smram_register & 0xfc));
    return inb(0xcfc + (smram_register & 3));
}
static u8 set_smram(u8 value)
{
    outl(0xcf8, 0x80000000 | (smram_register & 0xfc));
    outb(0xcfc + (smram_register & 3), value);
    return get_smram();
}
enum { D_OPEN = 0x40, D_CLS = 0x20, D_LCK = 0x10, G_SMRAME = 8, C_BASE = 2 };
static void smi(void)
{
    apic_write(APIC_ICR + 0x10, cpus[0].apic_id << 24);
    apic_write(APIC_ICR, 0x4200);
    for (unsigned i = 0; i < 100; i++) {
        pause_();
    }
}
static volatile u32 *low(u32 offset)
{
    return (volatile u32 *)(u64)(LOW_SMRAM + offset);
}
GROUP(smram)
{
    static const char where[] = "82441FX data sheet, 3.2.19 (SMRAM)";
    outl(0xcf8, 0x80000000);
    u32 id         = inl(0xcfc);
    smram_register = id == 0x12378086 ? 0x72 : id == 0x29c08086 ? 0x9d : 0;
    if (!smram_register || (get_smram() & D_LCK)) {
        return;
    }
    set_smram(G_SMRAME | C_BASE | D_OPEN);
    *low(0x100) = 0x12345678;
    check(*low(0x100) == 0x12345678, "smram.open", "D_OPEN: A0000h is RAM for everybody", where);
    memcpy((void *)low(0x8000), smm_code, (size_t)(smm_code_end - smm_code));
    set_smram(G_SMRAME | C_BASE);
    *low(0x100) = 0x5a5a5a5a;
    set_smram(G_SMRAME | C_BASE | D_OPEN);
    check(*low(0x100) == 0x12345678, "smram.closed", "closed, writes from outside do not reach it", where);
    set_smram(G_SMRAME | C_BASE);
    smm(NULL);
    seen()->wanted_base = LOW_SMRAM;
    smi();
    smm(NULL);
    smi();
    check(seen()->runs == 1 && (seen()->cs & 0xffff) == LOW_SMRAM >> 4, "smram.smm", "SMM runs from it", where);
    set_smram(G_SMRAME | C_BASE | D_OPEN);
    u64 saved_cr3 = saved(LOW_SMRAM, 0xff50);
    set_smram(G_SMRAME | C_BASE);
    check(saved_cr3 == READ_CR(3), "smram.saved", "and the state is saved in it", where);
    u8 now = set_smram(G_SMRAME | C_BASE | D_LCK | D_OPEN);
    check((now & D_LCK) && !(now & D_OPEN), "smram.lock", "D_LCK clears D_OPEN", where);
    now = set_smram(C_BASE | D_OPEN | G_SMRAME);
    check((now & (D_LCK | D_OPEN | G_SMRAME)) == (D_LCK | G_SMRAME), "smram.locked", "then neither can be changed",
          where);
    if (smram_register == 0x9d) {
        now = set_smram(C_BASE);
        check(now & G_SMRAME, "smram.locked-global", "nor G_SMRAME", "3 Series Chipset data sheet, 5.1.27 (SMRAM)");
    }
    smi();
    check(seen()->runs == 2, "smram.locked-smm", "SMM still runs", where);
    seen()->wanted_base = SMBASE;
    smi();
    smm(NULL);
    smi();
    check(seen()->runs == 1 && (seen()->cs & 0xffff) == SMBASE >> 4, "smram.back", "and leaves it for another SMBASE",
          where);
}
