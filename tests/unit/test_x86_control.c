/* The system side of the CPU on its own: control and debug registers, MSRs, time. */

#include "x86_tables.h"

/* --- control registers --- */

typedef struct ControlCase {
    uint64_t cr0, cr3, cr4, efer; /* before */
    unsigned n;
    uint64_t value;
    bool     fine;
} ControlCase;

static void test_control_registers(void)
{
#define PM (CR0_PE | CR0_ET)
    static const ControlCase cases[] = {
        { CR0_ET, 0, 0, 0, 0, CR0_PE, true },
        { CR0_ET, 0, 0, 0, 0, CR0_PG, false },
        { CR0_ET, 0, 0, 0, 0, CR0_NW, false },
        { CR0_ET, 0, 0, 0, 0, CR0_NW | CR0_CD, true },
        { CR0_ET, 0, 0, 0, 0, UINT64_C(1) << 32, false },
        { CR0_ET, 0, 0, 0, 0, 0x00008000, true }, /* reserved bits below 32 are dropped */
        { PM, 0, 0, 0, 0, PM | CR0_PG, true },
        { PM, 0, 0, EFER_LME, 0, PM | CR0_PG, false }, /* long mode takes PAE */
        { PM, 0, CR4_PAE, EFER_LME, 0, PM | CR0_PG, true },
        { PM | CR0_PG, 0, CR4_PAE | CR4_PCIDE, EFER_LME | EFER_LMA, 0, PM, false },
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 0, PM, true }, /* from compatibility mode */
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 4, 0, false },
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 4, CR4_PAE | CR4_PCIDE, true },
        { PM | CR0_PG, 1, CR4_PAE, EFER_LME | EFER_LMA, 4, CR4_PAE | CR4_PCIDE, false }, /* CR3[11:0] */
        { PM | CR0_PG, 0, CR4_PAE, 0, 4, CR4_PAE | CR4_PCIDE, false },
        { PM, 0, 0, 0, 4, CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_SMEP | CR4_SMAP | CR4_UMIP | CR4_FSGSBASE, true },
        { PM, 0, 0, 0, 4, CR4_VME, true },
        { PM, 0, 0, 0, 4, CR4_LA57, false },
        { PM, 0, 0, 0, 4, 0x2000, false },   /* VMXE */
        { PM, 0, 0, 0, 4, 0x400000, false }, /* PKE */
        { PM, 0, 0, 0, 4, UINT64_C(1) << 32, false },
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 3, UINT64_C(1) << 40, false },
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 3, UINT64_C(1) << 63, false },
        { PM | CR0_PG, 0, CR4_PAE | CR4_PCIDE, EFER_LME | EFER_LMA, 3, UINT64_C(1) << 63 | 0x1005, true },
        { PM, 0, 0, 0, 8, 15, true },
        { PM, 0, 0, 0, 8, 16, false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const ControlCase *c   = &cases[i];
        Stub              *s   = protected_mode(0);
        X86Cpu            *cpu = s->cpu;
        cpu->cr0 = c->cr0, cpu->cr3 = c->cr3, cpu->cr4 = c->cr4, cpu->efer = c->efer;
        x86_update_mode(cpu);
        g_test_message("case %u", i);
        if (c->fine) {
            STUB_OK(s, x86_write_cr(cpu, c->n, c->value));
        } else {
            STUB_RAISES(s, x86_write_cr(cpu, c->n, c->value), X86_GP, 0);
            g_assert_true(cpu->cr0 == c->cr0 && cpu->cr3 == c->cr3 && cpu->cr4 == c->cr4 && cpu->efer == c->efer);
        }
        stub_free(s);
    }
#undef PM
    Stub *s = long_mode(0);
    STUB_RAISES(s, x86_write_cr(s->cpu, 0, CR0_PE), X86_GP, 0); /* paging off in 64-bit mode */
    STUB_RAISES(s, x86_write_cr(s->cpu, 1, 0), X86_UD, -1);
    stub_free(s);
    s = long_mode(3);
    STUB_RAISES(s, x86_read_cr(s->cpu, 0), X86_GP, 0);
    STUB_RAISES(s, x86_clts(s->cpu), X86_GP, 0);
    stub_free(s);

    /* PAE: a reserved bit in a page-directory-pointer entry refuses CR3 and the switch to paging. */
    s           = protected_mode(0);
    s->cpu->cr4 = CR4_PAE;
    stub_put(s, 0x20000 + 8, 0x21003, 8); /* R/W is reserved here */
    s->cpu->cr3 = 0x20000;
    STUB_RAISES(s, x86_write_cr(s->cpu, 0, CR0_PE | CR0_PG), X86_GP, 0);
    stub_put(s, 0x20000 + 8, 0x21001, 8);
    STUB_OK(s, x86_write_cr(s->cpu, 0, CR0_PE | CR0_PG));
    stub_put(s, 0x22000, UINT64_C(1) << 52 | 1, 8);
    STUB_RAISES(s, x86_write_cr(s->cpu, 3, 0x22000), X86_GP, 0);
    stub_free(s);

    /* LMSW sets PE and never clears it. */
    s = stub_new("max");
    STUB_OK(s, x86_lmsw(s->cpu, CR0_PE | CR0_TS));
    g_assert_cmphex(s->cpu->cr0 & 0xf, ==, CR0_PE | CR0_TS);
    STUB_OK(s, x86_lmsw(s->cpu, 0));
    g_assert_cmphex(s->cpu->cr0 & 0xf, ==, CR0_PE);
    stub_free(s);
}

static void test_long_mode_activation(void)
{
    Stub   *s   = protected_mode(0);
    X86Cpu *cpu = s->cpu;
    STUB_OK(s, x86_write_cr(cpu, 4, CR4_PAE));
    STUB_OK(s, x86_wrmsr(cpu, 0xc0000080, EFER_LME | EFER_NXE | EFER_SCE));
    STUB_OK(s, x86_write_cr(cpu, 0, CR0_PE | CR0_PG));
    g_assert_true(cpu->long_mode);
    g_assert_cmpint(cpu->code_size, ==, X86_CODE32);
    STUB_RAISES(s, x86_wrmsr(cpu, 0xc0000080, EFER_NXE), X86_GP, 0); /* LME while paging */
    STUB_OK(s, x86_wrmsr(cpu, 0xc0000080, EFER_LME | EFER_SCE));
    g_assert_true(cpu->efer & EFER_LMA);
    STUB_RAISES(s, x86_wrmsr(cpu, 0xc0000080, EFER_LME | 2), X86_GP, 0);
    STUB_OK(s, x86_write_cr(cpu, 0, CR0_PE));
    g_assert_false(cpu->long_mode);
    stub_free(s);
}

static void test_debug_registers(void)
{
    Stub   *s   = protected_mode(0);
    X86Cpu *cpu = s->cpu;
    STUB_OK(s, x86_write_dr(cpu, 7, 0xffffffff & ~(uint64_t)DR7_GD));
    g_assert_cmphex(cpu->dr[7], ==, 0xffff07ff);
    STUB_OK(s, x86_write_dr(cpu, 6, 0));
    g_assert_cmphex(cpu->dr[6], ==, DR6_FIXED);
    STUB_OK(s, x86_write_dr(cpu, 4, 0xffffffff)); /* DR6 under its old name */
    g_assert_cmphex(cpu->dr[6], ==, DR6_FIXED | DR6_WRITABLE);
    STUB_RAISES(s, x86_write_dr(cpu, 7, UINT64_C(1) << 32), X86_GP, 0);
    cpu->cr4 = CR4_DE;
    STUB_RAISES(s, x86_read_dr(cpu, 5), X86_UD, -1);
    STUB_OK(s, x86_write_dr(cpu, 7, DR7_GD));
    STUB_RAISES(s, x86_read_dr(cpu, 0), X86_DB, -1);
    g_assert_true(cpu->dr[6] & DR6_BD);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_DB, false, 0, 0);
    g_assert_false(cpu->dr[7] & DR7_GD);
    g_assert_true(stub_get(s, (uint32_t)cpu->gpr[X86_RSP] + 8, 4) & EFLAGS_RF);
    stub_free(s);
}

static void test_xcr0(void)
{
    Stub   *s   = stub_new("max");
    X86Cpu *cpu = s->cpu;
    if (!x86_has(cpu, X86_FEATURE_AVX)) {
        g_test_skip("the host has no AVX");
        stub_free(s);
        return;
    }
    STUB_RAISES(s, x86_xgetbv(cpu, 0), X86_UD, -1);
    STUB_OK(s, x86_write_cr(cpu, 4, CR4_OSXSAVE));
    STUB_OK(s, x86_xsetbv(cpu, 0, 7));
    static const uint64_t bad[] = { 0, 2, 5, 6, 0xb, 0x27, UINT64_C(1) << 63 | 7 };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        STUB_RAISES(s, x86_xsetbv(cpu, 0, bad[i]), X86_GP, 0);
    }
    STUB_RAISES(s, x86_xsetbv(cpu, 1, 7), X86_GP, 0);
    g_assert_cmphex(x86_xgetbv(cpu, 0), ==, 7);
    stub_free(s);
}

static void test_io_permission(void)
{
    Stub   *s   = protected_mode(3);
    X86Cpu *cpu = s->cpu;
    stub_put(s, TSS + 0x66, 0x68, 2);
    cpu->tr.limit = 0x68 + 4; /* ports 0 to 31, and the byte of ones after them */
    stub_put(s, TSS + 0x68, 0, 4);
    stub_put(s, TSS + 0x6c, 0xff, 1);
    STUB_OK(s, x86_check_io(cpu, 0, 4));
    STUB_OK(s, x86_check_io(cpu, 28, 4));
    STUB_RAISES(s, x86_check_io(cpu, 29, 4), X86_GP, 0);
    STUB_RAISES(s, x86_check_io(cpu, 32, 1), X86_GP, 0);
    stub_put(s, TSS + 0x68, 0x10, 4);
    STUB_RAISES(s, x86_check_io(cpu, 2, 4), X86_GP, 0);
    STUB_OK(s, x86_check_io(cpu, 2, 2));
    cpu->eflags |= EFLAGS_IOPL;
    STUB_OK(s, x86_check_io(cpu, 32, 1));
    cpu->eflags |= EFLAGS_VM;
    x86_update_mode(cpu);
    STUB_RAISES(s, x86_check_io(cpu, 32, 1), X86_GP, 0);
    cpu->tr.limit = 0x66;
    STUB_RAISES(s, x86_check_io(cpu, 0, 1), X86_GP, 0);
    stub_free(s);
}

/* --- MSRs --- */

static void test_msr_table(void)
{
    uint32_t    first, count, end = 0;
    const char *name;
    bool        begun = false;
    for (size_t i = 0; (name = x86_msr_row(i, &first, &count)) != NULL; i++) {
        g_assert_true(!begun || first >= end); /* sorted, without overlap: it is searched by halves */
        g_assert_cmpuint(count, >, 0);
        end   = first + count;
        begun = true;
    }
    /* Whatever can be read can be read before long mode, and written back without a change. */
    static const char *const names[] = { "max", "qemu64", "kvm64", "qemu32",
                                         "max,vendor=GenuineIntel,+arch-capabilities,+spec-ctrl,+flush-l1d" };
    for (unsigned m = 0; m < G_N_ELEMENTS(names); m++) {
        Stub *s = stub_new(names[m]);
        for (size_t i = 0; x86_msr_row(i, &first, &count) != NULL; i++) {
            for (uint32_t index = first; index < first + count; index++) {
                uint64_t value, again;
                if (x86_get_msr(s->cpu, index, &value) && x86_set_msr(s->cpu, index, value)) {
                    g_assert_true(x86_get_msr(s->cpu, index, &again));
                    g_assert_true(value == again || index == 0x10);
                }
            }
        }
        stub_free(s);
    }
}

/* Registers of Microsoft's interface come with their properties, and pages with what the specification has in them. */
static void test_hyperv(void)
{
    uint64_t value;
    Stub    *s = stub_new("max");
    g_assert_false(x86_get_msr(s->cpu, 0x40000000, &value));
    stub_free(s);
    s = stub_new("max,hv-relaxed");
    g_assert_true(x86_get_msr(s->cpu, 0x40000000, &value));
    g_assert_false(x86_get_msr(s->cpu, 0x40000002, &value));
    g_assert_false(x86_get_msr(s->cpu, 0x40000020, &value));
    stub_free(s);
    s = stub_new("max,hv-relaxed,hypervisor=off");
    g_assert_false(x86_get_msr(s->cpu, 0x40000000, &value));
    stub_free(s);

    s           = stub_new("max,hv-time,hv-vpindex,hv-runtime,hv-frequencies,hv-vapic,tsc-frequency=2G");
    X86Cpu *cpu = s->cpu;
    g_assert_true(x86_set_msr(cpu, 0x40000001, 0x3001));
    g_assert_true(x86_get_msr(cpu, 0x40000001, &value));
    g_assert_cmphex(value, ==, 0x3000); /* nobody has said who it is */
    g_assert_true(x86_set_msr(cpu, 0x40000000, 0x8100));
    g_assert_true(x86_set_msr(cpu, 0x40000001, 0x3001));
    g_assert_cmphex(stub_get(s, 0x3000, 8), ==, UINT64_C(0xc3d23100000002b8)); /* outside long mode */
    g_assert_true(x86_set_msr(cpu, 0x40000000, 0));
    g_assert_true(x86_get_msr(cpu, 0x40000001, &value));
    g_assert_cmphex(value, ==, 0x3000);
    g_assert_true(x86_set_msr(cpu, 0x40000000, 0x8100));
    g_assert_true(x86_set_msr(cpu, 0x40000001, 0x3003)); /* locked */
    g_assert_false(x86_set_msr(cpu, 0x40000001, 0));
    g_assert_false(x86_set_msr(cpu, 0x40000021, UINT64_C(0xfffffff000) | 1)); /* there is no memory */

    cpu->tsc_frozen     = true;
    cpu->tsc_from_clock = false;
    cpu->tsc_frozen_at  = UINT64_C(20000000000); /* ten seconds */
    g_assert_true(x86_get_msr(cpu, 0x40000020, &value));
    g_assert_cmpuint(value, >=, 99999999);
    g_assert_cmpuint(value, <=, 100000000);
    static const uint64_t moved[] = { UINT64_C(26000000000), 1000 }; /* the reference time does not follow */
    for (unsigned i = 0; i < G_N_ELEMENTS(moved); i++) {
        g_assert_true(x86_set_msr(cpu, 0x10, moved[i]));
        g_assert_true(x86_get_msr(cpu, 0x40000020, &value));
        g_assert_cmpuint(value, >=, 99999999);
        g_assert_cmpuint(value, <=, 100000000);
        g_assert_true(x86_set_msr(cpu, 0x40000021, 0x4001));
        g_assert_cmphex(stub_get(s, 0x4000, 4), !=, 0);
        unsigned __int128 scaled = (unsigned __int128)moved[i] * stub_get(s, 0x4008, 8);
        uint64_t          page   = (uint64_t)(scaled >> 64) + stub_get(s, 0x4010, 8);
        g_assert_cmpuint(page, >=, value - 1);
        g_assert_cmpuint(page, <=, value + 1);
    }

    g_assert_true(x86_get_msr(cpu, 0x40000002, &value));
    g_assert_cmpuint(value, ==, 0);
    g_assert_false(x86_set_msr(cpu, 0x40000002, 0));
    g_assert_true(x86_get_msr(cpu, 0x40000022, &value));
    g_assert_cmpuint(value, ==, 2000000000);
    g_assert_true(x86_get_msr(cpu, 0x40000023, &value));
    g_assert_cmpuint(value, ==, 1000000000);
    g_assert_false(x86_get_msr(cpu, 0x40000070, &value)); /* EOI is only written */
    stub_put(s, 0x5000, 0xff, 4);
    g_assert_true(x86_set_msr(cpu, 0x40000073, 0x5001));
    g_assert_cmphex(stub_get(s, 0x5000, 4), ==, 0);
    x86_reset(cpu, false);
    g_assert_true(x86_get_msr(cpu, 0x40000000, &value));
    g_assert_cmphex(value, ==, 0);
    stub_free(s);
}

typedef struct MsrCase {
    uint32_t index;
    uint64_t value;
    bool     fine;
} MsrCase;

static void test_msr_writes(void)
{
    static const MsrCase cases[] = {
        { 0x277, UINT64_C(0x0007040600070406), true },
        { 0x277, UINT64_C(0x0007040600070402), false },
        { 0x277, UINT64_C(0x0807040600070406), false },
        { 0x200, 0x00000006, true },
        { 0x200, 0x00000002, false },
        { 0x200, 0x00000106, false },
        { 0x200, UINT64_C(1) << 40, false },
        { 0x201, 0xfff00800, true },
        { 0x201, 0xfff00400, false },
        { 0x210, 0, false },
        { 0x250, UINT64_C(0x0606060606060606), true },
        { 0x250, UINT64_C(0x0606060606060607), false },
        { 0x259, UINT64_C(0x1e06060606060606), false },
        { 0x26f, UINT64_C(0x0505050505050505), true },
        { 0x2ff, 0xc06, true },
        { 0x2ff, 0x1c06, false },
        { 0x2ff, 0xc07, false },
        { 0xfe, 0x508, false },
        { 0x179, 0, false },
        { 0x17a, 7, true },
        { 0x17a, 8, false },
        { 0x400, UINT64_MAX, true },
        { 0x401, 0, true },
        { 0x401, 1, false },
        { 0x428, 0, false },
        { 0x174, 8, true },
        { 0x175, UINT64_C(0xffff800000000000), true },
        { 0x175, UINT64_C(0x0000800000000000), false },
        { 0xc0000082, UINT64_C(0x8000000000000000), false },
        { 0xc0000084, UINT64_C(0x100000000), false },
        { 0xc0000100, UINT64_C(0x00007fffffffffff), true },
        { 0xc0000101, UINT64_C(0x0001000000000000), false },
        { 0xc0000102, UINT64_C(0xffffffffffffffff), true },
        { 0xc0000103, UINT64_C(0x100000000), false },
        { 0xc0010015, 0x01000040, true },
        { 0xc0010015, 0x200, false }, /* MonMwaitDis */
        { 0xc0011029, 2, true },
        { 0x48, 1, false }, /* no SPEC_CTRL offered */
        { 0x49, 1, false },
        { 0x1d9, 2, false }, /* BTF is not built */
        { 0x8b, 0, true },
        { 0x12345, 0, false },
        { 0x4b564d00, 0, false },
        { 0xc0010000, 0, true },
        { 0xc0010008, 0, false },
    };
    Stub *s = protected_mode(0);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("MSR %x, %" PRIx64, cases[i].index, cases[i].value);
        if (cases[i].fine) {
            STUB_OK(s, x86_wrmsr(s->cpu, cases[i].index, cases[i].value));
        } else {
            STUB_RAISES(s, x86_wrmsr(s->cpu, cases[i].index, cases[i].value), X86_GP, 0);
        }
    }
    STUB_RAISES(s, x86_rdmsr(s->cpu, 0x49), X86_GP, 0);
    stub_free(s);
    s = protected_mode(3);
    STUB_RAISES(s, x86_rdmsr(s->cpu, 0x10), X86_GP, 0);
    stub_free(s);
    s = stub_new("qemu64");
    STUB_RAISES(s, x86_rdmsr(s->cpu, 0x3b), X86_GP, 0);
    STUB_RAISES(s, x86_rdmsr(s->cpu, 0x6e0), X86_GP, 0);
    STUB_RAISES(s, x86_wrmsr(s->cpu, 0x1b, 0xfee00000 | APIC_BASE_ENABLE | APIC_BASE_X2APIC), X86_GP, 0);
    stub_free(s);
}

static void test_misc_enable(void)
{
    Stub   *s   = stub_new("max");
    X86Cpu *cpu = s->cpu;
    g_assert_true(x86_cpuid(cpu, 1, 0).ecx & 8);
    STUB_OK(s, x86_wrmsr(cpu, 0x1a0, x86_rdmsr(cpu, 0x1a0) & ~MISC_ENABLE_MONITOR));
    g_assert_false(x86_cpuid(cpu, 1, 0).ecx & 8);
    STUB_OK(s, x86_wrmsr(cpu, 0x1a0, x86_rdmsr(cpu, 0x1a0) | MISC_ENABLE_LIMIT_CPUID));
    g_assert_cmpuint(x86_cpuid(cpu, 0, 0).eax, ==, 3);
    STUB_OK(s, x86_wrmsr(cpu, 0x1a0, x86_rdmsr(cpu, 0x1a0) | MISC_ENABLE_XD_DISABLE));
    STUB_RAISES(s, x86_wrmsr(cpu, 0xc0000080, EFER_NXE), X86_GP, 0);
    STUB_RAISES(s, x86_wrmsr(cpu, 0x1a0, x86_rdmsr(cpu, 0x1a0) | 0x80), X86_GP, 0);
    x86_reset(cpu, false);
    g_assert_true(x86_cpuid(cpu, 1, 0).ecx & 8);
    stub_free(s);
}

/* --- time --- */

static void test_tsc(void)
{
    Stub   *s   = stub_new("max");
    X86Cpu *cpu = s->cpu;
    g_assert_cmpuint(x86_rdtsc(cpu), ==, 0);
    if (cpu->tsc_from_clock) {
        g_test_skip("the host's TSC is not invariant");
        stub_free(s);
        return;
    }
    x86_tsc_set_running(NULL, true);
    uint64_t a = x86_rdtsc(cpu);
    g_usleep(2000);
    uint64_t b = x86_rdtsc(cpu);
    g_assert_cmpuint(b - a, >, cpu->tsc_hz / 1000);
    x86_tsc_set_running(NULL, false);
    b = x86_rdtsc(cpu);
    g_usleep(1000);
    g_assert_cmpuint(x86_rdtsc(cpu), ==, b);
    x86_tsc_set_running(NULL, true);
    g_assert_cmpuint(x86_rdtsc(cpu) - b, <, cpu->tsc_hz / 100);
    x86_tsc_set_running(NULL, false);
    /* TSC and TSC_ADJUST move each other. */
    b = x86_rdtsc(cpu);
    STUB_OK(s, x86_wrmsr(cpu, 0x3b, 0));
    STUB_OK(s, x86_wrmsr(cpu, 0x10, 1000000));
    g_assert_cmpuint(x86_rdmsr(cpu, 0x3b), ==, 1000000 - b);
    STUB_OK(s, x86_wrmsr(cpu, 0x3b, 5 - b));
    g_assert_cmpuint(x86_rdtsc(cpu), ==, 5);
    s->now = 1000;
    g_assert_cmpint(x86_tsc_to_ns(cpu, 5 + cpu->tsc_hz), ==, 1000 + NS_PER_SECOND);
    g_assert_cmpint(x86_tsc_to_ns(cpu, 0), <=, 1000);
    g_assert_cmpint(x86_tsc_to_ns(cpu, UINT64_MAX), >, 0);
    x86_tsc_use_clock(cpu);
    g_assert_cmpuint(x86_rdtsc(cpu), ==, 5);
    s->now += NS_PER_SECOND;
    g_assert_cmpuint(x86_rdtsc(cpu), <=, 5 + cpu->tsc_hz);
    g_assert_cmpuint(x86_rdtsc(cpu), >=, 4 + cpu->tsc_hz);
    stub_free(s);
}

static void test_dump(void)
{
    Stub *s                = long_mode(3);
    g_autoptr(GString) out = g_string_new(NULL);
    x86_dump(s->cpu, out);
    x86_dump_vectors(s->cpu, out);
    g_assert_nonnull(strstr(out->str, "RIP=0000000000007000 RFL=00000002 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\n"));
    g_assert_nonnull(strstr(out->str, "CS =0093 0000000000000000 ffffffff 00affb00 DPL=3 CS64 [-RA]\n"));
    g_assert_nonnull(strstr(out->str, "TR =0048 0000000000004000 00000067 00008b00 DPL=0 TSS64-busy\n"));
    stub_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x86-control/control-registers", test_control_registers);
    g_test_add_func("/x86-control/long-mode", test_long_mode_activation);
    g_test_add_func("/x86-control/debug-registers", test_debug_registers);
    g_test_add_func("/x86-control/xcr0", test_xcr0);
    g_test_add_func("/x86-control/io-permission", test_io_permission);
    g_test_add_func("/x86-control/msr-table", test_msr_table);
    g_test_add_func("/x86-control/hyperv", test_hyperv);
    g_test_add_func("/x86-control/msr-writes", test_msr_writes);
    g_test_add_func("/x86-control/misc-enable", test_misc_enable);
    g_test_add_func("/x86-control/tsc", test_tsc);
    g_test_add_func("/x86-control/dump", test_dump);
    return g_test_run();
}
