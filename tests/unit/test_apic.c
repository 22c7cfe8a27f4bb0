/* Local APICs and the bus between them: acceptance and priority, EOI, LVT and lines, IPIs and destinations, x2APIC
 * registers, modes of IA32_APIC_BASE, MSI. */

#include "apic_rig.h"

#include <stdatomic.h>

static void test_reset(void)
{
    Rig r;
    rig_open(&r);
    rig_set_reg(&r, 1, 0x80, 0x55);
    apic_reset(r.cpus[0].apic, false);
    apic_reset(r.cpus[1].apic, false);
    g_assert_cmphex(apic_get_base(r.cpus[0].apic), ==, 0xfee00900);
    g_assert_cmphex(apic_get_base(r.cpus[1].apic), ==, 0xfee00800);
    g_assert_cmphex(rig_reg(&r, 1, 0x20), ==, 1u << 24);
    g_assert_cmphex(rig_reg(&r, 1, 0x30) & 0xff00ff, ==, 0x050014);
    g_assert_cmphex(rig_reg(&r, 1, 0x80), ==, 0);
    g_assert_cmphex(rig_reg(&r, 1, 0xe0), ==, 0xffffffff);
    g_assert_cmphex(rig_reg(&r, 1, 0xf0), ==, 0xff);
    for (unsigned offset = 0x320; offset <= 0x370; offset += 0x10) {
        g_assert_cmphex(rig_reg(&r, 1, offset), ==, 0x10000);
    }
    g_assert_cmphex(rig_reg(&r, 0, 0x350), ==, 0x700); /* the boot processor hears the 8259 */
    rig_set_reg(&r, 1, 0x350, 0x700);                  /* software-disabled: stays masked */
    g_assert_cmphex(rig_reg(&r, 1, 0x350), ==, 0x10700);
    rig_send(&r, 1, false, 0, 0x40, false); /* and takes no fixed interrupts */
    g_assert_cmpint(rig_take(&r, 1), ==, -1);
    rig_close(&r);
}

static void test_priority(void)
{
    Rig r;
    rig_open(&r);
    rig_send(&r, 0, false, 0, 0x41, false);
    g_assert_cmpuint(r.cpus[0].intr, ==, 1);
    g_assert_cmphex(rig_reg(&r, 0, 0x220), ==, 2);
    rig_send(&r, 0, false, 0, 0x41, false); /* merges */
    rig_send(&r, 0, false, 0, 0x52, false);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x52);
    g_assert_cmphex(rig_reg(&r, 0, 0xa0), ==, 0x50); /* PPR */
    g_assert_cmphex(rig_reg(&r, 0, 0x120), ==, 1u << 18);
    g_assert_cmpint(rig_take(&r, 0), ==, -1); /* 41h waits */
    rig_send(&r, 0, false, 0, 0x5f, false);   /* so does the same class */
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    rig_send(&r, 0, false, 0, 0x60, false);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x60);
    rig_forget(&r);
    rig_set_reg(&r, 0, 0xb0, 0); /* EOI of 60h */
    rig_set_reg(&r, 0, 0xb0, 0); /* and of 52h: the CPU is told that something is due */
    g_assert_cmpuint(r.cpus[0].intr, >=, 1);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x5f);
    rig_set_reg(&r, 0, 0xb0, 0);
    apic_set_tpr(r.cpus[0].apic, 4);
    g_assert_cmphex(rig_reg(&r, 0, 0x80), ==, 0x40);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    rig_forget(&r);
    apic_set_tpr(r.cpus[0].apic, 3);
    g_assert_cmpuint(r.cpus[0].intr, ==, 1);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x41);
    rig_set_reg(&r, 0, 0xb0, 0);
    rig_set_reg(&r, 0, 0xb0, 0); /* nothing in service: nothing happens */
    rig_set_reg(&r, 0, 0x80, 0x37);
    g_assert_cmphex(rig_reg(&r, 0, 0xa0), ==, 0x37);
    g_assert_cmpuint(apic_get_tpr(r.cpus[0].apic), ==, 3);
    rig_close(&r);
}

static void test_errors(void)
{
    Rig r;
    rig_open(&r);
    rig_set_reg(&r, 0, 0x370, 0xfe);
    rig_send(&r, 0, false, 0, 0x0f, false); /* illegal vector received */
    g_assert_cmpint(rig_take(&r, 0), ==, 0xfe);
    g_assert_cmphex(rig_reg(&r, 0, 0x280), ==, 0); /* a write latches */
    rig_set_reg(&r, 0, 0x280, 0);
    g_assert_cmphex(rig_reg(&r, 0, 0x280), ==, 0x40);
    rig_set_reg(&r, 0, 0x300, 0x0000000f); /* illegal vector sent */
    rig_reg(&r, 0, 0x3f0);                 /* no such register */
    rig_set_reg(&r, 0, 0x280, 0);
    g_assert_cmphex(rig_reg(&r, 0, 0x280), ==, 0xa0);
    rig_set_reg(&r, 0, 0x280, 0);
    g_assert_cmphex(rig_reg(&r, 0, 0x280), ==, 0);
    rig_set_reg(&r, 0, 0x370, 0x05); /* an illegal vector here does not go round for ever */
    rig_send(&r, 0, false, 0, 0x01, false);
    rig_close(&r);
}

static void test_lint(void)
{
    Rig r;
    rig_open(&r);
    Apic *bsp = r.cpus[0].apic;
    apic_set_lint(bsp, 0, 1);
    g_assert_cmpuint(r.cpus[0].intr, ==, 1);
    g_assert_cmpint(rig_take(&r, 0), ==, APIC_EXTINT);
    g_assert_cmpint(rig_take(&r, 0), ==, APIC_EXTINT); /* until the line falls */
    apic_set_tpr(bsp, 15);
    g_assert_cmpint(rig_take(&r, 0), ==, APIC_EXTINT); /* priorities are not for it */
    apic_set_tpr(bsp, 0);
    apic_set_lint(bsp, 0, 0);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    apic_set_lint(bsp, 0, 1);
    rig_set_reg(&r, 0, 0x350, 0x10700);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    rig_forget(&r);
    rig_set_reg(&r, 0, 0x350, 0x700);
    g_assert_cmpuint(r.cpus[0].intr, ==, 1); /* unmasked: heard */
    apic_set_lint(bsp, 0, 0);
    apic_set_lint(r.cpus[1].apic, 0, 1); /* masked there since reset */
    g_assert_cmpint(rig_take(&r, 1), ==, -1);

    rig_set_reg(&r, 0, 0x360, 0x400); /* LINT1: NMI, on the edge */
    apic_set_lint(bsp, 1, 1);
    apic_set_lint(bsp, 1, 1);
    g_assert_cmpuint(r.cpus[0].nmi, ==, 1);
    apic_set_lint(bsp, 1, 0);
    rig_set_reg(&r, 0, 0x350, 0x8033); /* LINT0 as a level-triggered fixed interrupt */
    apic_set_lint(bsp, 0, 1);
    g_assert_cmphex(rig_reg(&r, 0, 0x350), ==, 0xc033); /* remote IRR */
    g_assert_cmpint(rig_take(&r, 0), ==, 0x33);
    rig_set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x33); /* still high */
    apic_set_lint(bsp, 0, 0);
    rig_set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    rig_set_reg(&r, 0, 0xf0, 0xff); /* software-disable masks all */
    g_assert_cmphex(rig_reg(&r, 0, 0x350) & 0x10000, ==, 0x10000);
    rig_close(&r);
}

static void test_ipi(void)
{
    Rig r;
    rig_open(&r);
    rig_set_reg(&r, 0, 0x310, 2u << 24);
    rig_set_reg(&r, 0, 0x300, 0x4050);
    g_assert_cmpint(rig_take(&r, 2), ==, 0x50);
    g_assert_cmpint(rig_take(&r, 1), ==, -1);
    rig_set_reg(&r, 0, 0x310, 0x06000000);
    rig_set_reg(&r, 0, 0x300, 0x4851); /* logical, flat: 1 and 2 */
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    g_assert_cmpint(rig_take(&r, 1), ==, 0x51);
    rig_set_reg(&r, 2, 0xb0, 0);
    g_assert_cmpint(rig_take(&r, 2), ==, 0x51);
    rig_set_reg(&r, 1, 0xb0, 0);
    rig_set_reg(&r, 2, 0xb0, 0);
    rig_set_reg(&r, 0, 0x310, 0xff000000);
    rig_set_reg(&r, 0, 0x300, 0x4052); /* physical broadcast: all */
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_assert_cmpint(rig_take(&r, i), ==, 0x52);
        rig_set_reg(&r, i, 0xb0, 0);
    }
    rig_set_reg(&r, 1, 0x300, 0x44053); /* self */
    g_assert_cmpint(rig_take(&r, 1), ==, 0x53);
    rig_set_reg(&r, 1, 0xb0, 0);
    rig_set_reg(&r, 1, 0x300, 0x84054); /* all */
    g_assert_cmpint(rig_take(&r, 1), ==, 0x54);
    rig_set_reg(&r, 1, 0xb0, 0);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x54);
    g_assert_cmpint(rig_take(&r, 2), ==, 0x54);
    rig_set_reg(&r, 0, 0xb0, 0);
    rig_set_reg(&r, 2, 0xb0, 0);
    rig_set_reg(&r, 1, 0x300, 0xc4055); /* all others */
    g_assert_cmpint(rig_take(&r, 1), ==, -1);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x55);
    g_assert_cmpint(rig_take(&r, 2), ==, 0x55);
    rig_set_reg(&r, 0, 0xb0, 0);
    rig_set_reg(&r, 2, 0xb0, 0);

    rig_forget(&r);
    rig_set_reg(&r, 0, 0x300, 0xc4400); /* NMI to the others */
    rig_set_reg(&r, 0, 0x300, 0xc4200); /* SMI */
    rig_set_reg(&r, 0, 0x300, 0xc4500); /* INIT */
    rig_set_reg(&r, 0, 0x300, 0xc8500); /* INIT de-assert does nothing */
    rig_set_reg(&r, 0, 0x300, 0xc4699); /* SIPI */
    for (unsigned i = 0; i < N_CPUS; i++) {
        unsigned n = i != 0;
        g_assert_cmpuint(r.cpus[i].nmi, ==, n);
        g_assert_cmpuint(r.cpus[i].smi, ==, n);
        g_assert_cmpuint(r.cpus[i].init, ==, n);
        g_assert_cmpuint(r.cpus[i].sipi, ==, n);
    }
    g_assert_cmphex(r.cpus[2].sipi_vector, ==, 0x99);
    g_assert_cmphex(rig_reg(&r, 0, 0x300), ==, 0xc4699);
    /* Cluster model: cluster 1, members 1 and 4. */
    for (unsigned i = 0; i < N_CPUS; i++) {
        rig_set_reg(&r, i, 0xe0, 0x0fffffff);
        rig_set_reg(&r, i, 0xd0, (0x10u | 1u << i) << 24);
    }
    rig_set_reg(&r, 0, 0x310, 0x15000000);
    rig_set_reg(&r, 0, 0x300, 0x4856);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x56);
    g_assert_cmpint(rig_take(&r, 1), ==, -1);
    g_assert_cmpint(rig_take(&r, 2), ==, 0x56);
    rig_set_reg(&r, 0, 0x310, 0x27000000); /* another cluster */
    rig_set_reg(&r, 0, 0x300, 0x4857);
    g_assert_cmpint(rig_take(&r, 1), ==, -1);
    rig_close(&r);
}

static void test_lowest(void)
{
    Rig r;
    rig_open(&r);
    rig_set_reg(&r, 0, 0x80, 0x30);
    rig_set_reg(&r, 1, 0x80, 0x20);
    rig_set_reg(&r, 2, 0x80, 0x40);
    rig_send(&r, 0xff, true, 1, 0x70, false);
    g_assert_cmpint(rig_take(&r, 1), ==, 0x70);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    g_assert_cmpint(rig_take(&r, 2), ==, -1);
    rig_send(&r, 0xff, true, 1, 0x71, false); /* 1 is at 70h now */
    g_assert_cmpint(rig_take(&r, 0), ==, 0x71);
    rig_set_reg(&r, 0, 0xb0, 0);
    rig_set_reg(&r, 1, 0xb0, 0);
    unsigned got[N_CPUS] = {};
    for (unsigned i = 0; i < N_CPUS; i++) {
        rig_set_reg(&r, i, 0x80, 0);
    }
    for (unsigned n = 0; n < 9; n++) { /* equals take turns */
        rig_send(&r, 0xff, true, 1, 0x72, false);
        for (unsigned i = 0; i < N_CPUS; i++) {
            if (rig_take(&r, i) == 0x72) {
                got[i]++;
                rig_set_reg(&r, i, 0xb0, 0);
            }
        }
    }
    g_assert_cmpuint(got[0], ==, 3);
    g_assert_cmpuint(got[1], ==, 3);
    g_assert_cmpuint(got[2], ==, 3);
    rig_set_reg(&r, 0, 0xf0, 0xff); /* who is off does not take part */
    rig_set_reg(&r, 1, 0xf0, 0xff);
    rig_send(&r, 0xff, true, 1, 0x73, false);
    g_assert_cmpint(rig_take(&r, 2), ==, 0x73);
    rig_close(&r);
}

static void test_base(void)
{
    Rig r;
    rig_open(&r);
    Apic *apic = r.cpus[1].apic;
    g_assert_false(apic_set_base(apic, 0xfee00801, 40)); /* reserved */
    g_assert_false(apic_set_base(apic, UINT64_C(1) << 40 | 0x800, 40));
    g_assert_false(apic_set_base(apic, 0xfee00400, 40)); /* x2APIC without being enabled */
    g_assert_true(apic_set_base(apic, 0xfed00800, 40));
    g_assert_cmpuint(r.cpus[1].moved, ==, 1);
    g_assert_true(apic_set_base(apic, 0xfed00900, 40)); /* BSP is not the guest's to change */
    g_assert_cmphex(apic_get_base(apic), ==, 0xfed00800);
    g_assert_cmpuint(r.cpus[1].moved, ==, 1);
    g_assert_true(apic_set_base(apic, 0xfee00c00, 40));  /* to x2APIC */
    g_assert_false(apic_set_base(apic, 0xfee00800, 40)); /* not back */
    rig_send(&r, 1, false, 0, 0x66, false);
    g_assert_true(apic_set_base(apic, 0xfee00000, 40)); /* off: state is lost */
    g_assert_cmpint(rig_take(&r, 1), ==, -1);
    g_assert_false(apic_set_base(apic, 0xfee00c00, 40));
    rig_forget(&r);
    rig_send(&r, 1, false, 0, 0x66, false);
    g_assert_cmpuint(r.cpus[1].intr, ==, 0);
    apic_set_lint(apic, 0, 1); /* the pins are INTR and NMI */
    g_assert_cmpint(rig_take(&r, 1), ==, APIC_EXTINT);
    apic_set_lint(apic, 1, 1);
    g_assert_cmpuint(r.cpus[1].nmi, ==, 1);
    apic_set_lint(apic, 0, 0);
    g_assert_true(apic_set_base(apic, 0xfee00800, 40));
    g_assert_cmphex(rig_reg(&r, 1, 0xf0), ==, 0xff);
    rig_close(&r);
}

static uint64_t msr(Rig *r, unsigned cpu, uint32_t index)
{
    uint64_t value;
    g_assert_true(apic_read_msr(r->cpus[cpu].apic, index, &value));
    return value;
}

static void test_x2apic(void)
{
    Rig      r;
    uint64_t value;
    rig_open(&r);
    Apic *apic = r.cpus[2].apic;
    g_assert_false(apic_read_msr(apic, 0x802, &value)); /* not in this mode */
    g_assert_false(apic_write_msr(apic, 0x808, 0));
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_assert_true(apic_set_base(r.cpus[i].apic, apic_get_base(r.cpus[i].apic) | 0x400, 40));
    }
    g_assert_cmphex(rig_reg(&r, 2, 0x20), ==, 0xffffffff); /* the page is gone */
    g_assert_cmphex(msr(&r, 2, 0x802), ==, 2);
    g_assert_cmphex(msr(&r, 2, 0x80d), ==, 4);
    g_assert_cmphex(msr(&r, 2, 0x80f), ==, 0x1ff); /* kept */
    static const uint32_t absent[] = { 0x800, 0x801, 0x804, 0x809, 0x80c, 0x80e, 0x82f, 0x831, 0x83a, 0x83f, 0x840 };
    for (unsigned i = 0; i < G_N_ELEMENTS(absent); i++) {
        g_assert_false(apic_read_msr(apic, absent[i], &value));
    }
    static const struct {
        uint32_t index;
        uint64_t value;
    } refused[] = {
        { 0x802, 0 },          { 0x803, 0 },        { 0x80a, 0 },      { 0x80b, 1 },       { 0x80d, 1 },
        { 0x80e, 0 },          { 0x808, 0x100 },    { 0x80f, 0x2000 }, { 0x810, 0 },       { 0x820, 0 },
        { 0x828, 1 },          { 0x830, 0x100000 }, { 0x831, 0 },      { 0x832, 0x80000 }, { 0x835, 0x20000 },
        { 0x838, 1ull << 32 }, { 0x839, 0 },        { 0x83e, 4 },      { 0x83f, 0x100 },   { 0x808, 1ull << 32 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_assert_false(apic_write_msr(apic, refused[i].index, refused[i].value));
    }
    g_assert_true(apic_write_msr(apic, 0x83f, 0x77)); /* self IPI */
    g_assert_cmpint(rig_take(&r, 2), ==, 0x77);
    g_assert_cmphex(msr(&r, 2, 0x813), ==, 1u << 23); /* in service */
    g_assert_true(apic_write_msr(apic, 0x80b, 0));
    g_assert_cmphex(msr(&r, 2, 0x813), ==, 0);
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(1) << 32 | 0x61));
    g_assert_cmpint(rig_take(&r, 1), ==, 0x61);
    g_assert_cmphex(msr(&r, 2, 0x830), ==, UINT64_C(1) << 32 | 0x61);
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(5) << 32 | 0x862)); /* logical: cluster 0, members 0 and 2 */
    g_assert_cmpint(rig_take(&r, 0), ==, 0x62);
    g_assert_cmpint(rig_take(&r, 2), ==, 0x62);
    g_assert_cmpint(rig_take(&r, 1), ==, -1);
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(0x10001) << 32 | 0x8b0)); /* another cluster */
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(0xffffffff) << 32 | 0x90)); /* broadcast */
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_assert_cmpint(rig_take(&r, i), ==, 0x90);
        g_assert_true(apic_write_msr(r.cpus[i].apic, 0x80b, 0));
    }
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(0xff) << 32 | 0xa0)); /* FFh is an ID like others here */
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    rig_send(&r, 4, true, 0, 0xa1, false); /* a logical message of 8 bits reaches members of cluster 0 */
    g_assert_cmpint(rig_take(&r, 2), ==, 0xa1);
    rig_send(&r, 0xff, false, 0, 0xa2, false); /* and its broadcast all */
    g_assert_cmpint(rig_take(&r, 0), ==, 0xa2);
    rig_close(&r);
}

static void test_msi(void)
{
    Rig r;
    rig_open(&r);
    apic_bus_send_msi(r.bus, 0xfee01000, 0x0041);
    g_assert_cmpint(rig_take(&r, 1), ==, 0x41);
    apic_bus_send_msi(r.bus, 0xfee04004, 0x0042); /* logical */
    g_assert_cmpint(rig_take(&r, 2), ==, 0x42);
    apic_bus_send_msi(r.bus, 0xfee0600c, 0x0143); /* lowest priority among 1 and 2; both are at 40h */
    g_assert_cmpint(apic_has_vector(r.cpus[1].apic) + apic_has_vector(r.cpus[2].apic), ==, 0);
    rig_set_reg(&r, 1, 0xb0, 0);
    rig_set_reg(&r, 2, 0xb0, 0);
    g_assert_cmpint(apic_has_vector(r.cpus[1].apic) + apic_has_vector(r.cpus[2].apic), ==, 1);
    rig_forget(&r);
    apic_bus_send_msi(r.bus, 0xfee00000, 0x0400); /* NMI */
    g_assert_cmpuint(r.cpus[0].nmi, ==, 1);
    apic_bus_send_msi(r.bus, 0xfee00000, 0x8044); /* level, de-asserted */
    apic_bus_send_msi(r.bus, 0xfed00000, 0x0044); /* not the APICs' */
    apic_bus_send_msi(r.bus, UINT64_C(0x1fee00000), 0x0044);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    apic_bus_send_msi(r.bus, 0xfee00000, 0x0700); /* ExtINT: once */
    g_assert_cmpint(rig_take(&r, 0), ==, APIC_EXTINT);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    rig_close(&r);
}

static void test_state(void)
{
    Rig r;
    g_auto(Error) err = {};
    rig_open(&r);
    rig_set_reg(&r, 1, 0x80, 0x20);
    rig_set_reg(&r, 1, 0x3e0, 0xb);
    rig_set_reg(&r, 1, 0x320, 0x20041);
    rig_set_reg(&r, 1, 0x380, 1000000);
    rig_send(&r, 1, false, 0, 0x90, true);
    rig_send(&r, 1, false, 0, 0x50, false);
    g_assert_cmpint(rig_take(&r, 1), ==, 0x90);
    test_step(&r.t, 400000);
    GByteArray *saved = g_byte_array_new(), *again = g_byte_array_new();
    apic_save(r.cpus[1].apic, saved);
    apic_reset(r.cpus[1].apic, false);
    g_assert_true(apic_load(r.cpus[1].apic, saved->data, saved->len, &err));
    apic_save(r.cpus[1].apic, again);
    g_assert_cmpmem(saved->data, saved->len, again->data, again->len);
    g_assert_cmphex(rig_reg(&r, 1, 0xa0), ==, 0x90);
    g_assert_cmpuint(rig_reg(&r, 1, 0x390), ==, 600000);
    rig_set_reg(&r, 1, 0xb0, 0);
    g_assert_cmpint(rig_take(&r, 1), ==, 0x50);
    rig_set_reg(&r, 1, 0xb0, 0);
    test_step(&r.t, 600000);
    g_assert_cmpint(rig_take(&r, 1), ==, 0x41);
    /* What no APIC can hold is refused: x2APIC without being enabled. */
    for (guint i = 0; i + 8 < saved->len; i++) {
        if (!memcmp(saved->data + i, "\0\0\0\0\xfe\xe0\x08", 7)) {
            saved->data[i + 6] = 0x04;
        }
    }
    g_assert_false(apic_load(r.cpus[1].apic, saved->data, saved->len, &err));
    g_byte_array_unref(saved);
    g_byte_array_unref(again);
    rig_close(&r);
}

/* ---- Several threads ---- */

enum { SENDERS = 2, MESSAGES = 20000 };

typedef struct Traffic {
    ApicBus    *bus;
    Apic       *apic;
    atomic_bool signalled;
    atomic_uint senders_left;
    unsigned    taken;
} Traffic;

static void note_signal(void *opaque, ApicSignal what, uint8_t vector)
{
    atomic_store(&((Traffic *)opaque)->signalled, true);
}

/* Nobody sets a deadline. */
static uint64_t no_tsc(void *opaque)
{
    return 0;
}

static int64_t no_time(void *opaque, uint64_t tsc)
{
    return 0;
}

static void *sender(void *opaque)
{
    Traffic *t = opaque;
    for (unsigned i = 0; i < MESSAGES; i++) {
        apic_bus_send(t->bus, &(ApicMessage){ .destination = 0, .vector = (uint8_t)(0x20 + i % 0xe0) });
    }
    atomic_fetch_sub(&t->senders_left, 1);
    return NULL;
}

/* A CPU that looks only when it is signalled, as a real one does, loses nothing. */
static void *receiver(void *opaque)
{
    Traffic *t = opaque;
    for (bool last = false;; last = atomic_load(&t->senders_left) == 0) {
        while (atomic_exchange(&t->signalled, false)) {
            for (int vector; (vector = apic_take_vector(t->apic)) >= 0; t->taken++) {
                region_write(apic_region(t->apic), 0xb0, 4, 0);
            }
        }
        if (last) {
            return NULL;
        }
    }
}

static void test_threads(void)
{
    TestPlatform t;
    test_platform_open(&t);
    Traffic  traffic = { .bus = apic_bus_new(t.p.clocks, t.p.log), .senders_left = SENDERS };
    ApicHost host    = { note_signal, no_tsc, no_time, &traffic };
    traffic.apic     = apic_new(traffic.bus, t.p.memory, 0, true, &host);
    GThread *threads[SENDERS + 1];
    region_write(apic_region(traffic.apic), 0xf0, 4, 0x1ff);
    threads[SENDERS] = g_thread_new("receiver", receiver, &traffic);
    for (unsigned i = 0; i < SENDERS; i++) {
        threads[i] = g_thread_new("sender", sender, &traffic);
    }
    for (unsigned i = 0; i <= SENDERS; i++) {
        g_thread_join(threads[i]);
    }
    g_assert_false(apic_has_vector(traffic.apic));
    g_assert_cmpuint(traffic.taken, >=, 0xe0);
    g_assert_cmpuint(traffic.taken, <=, SENDERS * MESSAGES);
    apic_free(traffic.apic);
    apic_bus_free(traffic.bus);
    test_platform_close(&t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apic/reset", test_reset);
    g_test_add_func("/apic/priority", test_priority);
    g_test_add_func("/apic/errors", test_errors);
    g_test_add_func("/apic/lint", test_lint);
    g_test_add_func("/apic/ipi", test_ipi);
    g_test_add_func("/apic/lowest", test_lowest);
    g_test_add_func("/apic/base", test_base);
    g_test_add_func("/apic/x2apic", test_x2apic);
    g_test_add_func("/apic/msi", test_msi);
    g_test_add_func("/apic/state", test_state);
    g_test_add_func("/apic/threads", test_threads);
    return g_test_run();
}
