/* PIIX4 power management: PM timer, events and SCI, sleep, APM, GPE, windows, state. */

#include "devices/acpi/piix4_pm.h"
#include "devices/pci/piix3.h"
#include "platform.h"

enum { BASE = PIIX4_PM_BASE, STS = BASE, EN = BASE + 2, CNT = BASE + 4, TMR = BASE + 8, GPE = PIIX4_GPE0_BASE };

typedef struct Rig {
    TestPlatform t;
    TestPin      sci, smi;
    Piix4Pm     *pm;
} Rig;

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    test_pin_init(&r->sci);
    test_pin_init(&r->smi);
    PciHost *host = i440fx_create(&r->t.p, &r->t.ram_region, &err);
    g_assert_nonnull(piix3_create(&r->t.p, host, &err));
    r->pm = piix4_pm_create(&r->t.p, host->bus, PCI_DEVFN(1, 3), &r->sci.pin, &r->smi.pin, &err);
    g_assert_nonnull(r->pm);
    devices_reset(&r->t.p, RESET_COLD);
    g_assert_cmphex(in16(&r->t, CNT), ==, 0xffff); /* nothing there before firmware says where */
    piix4_pm_set_bases(r->pm, PIIX4_PM_BASE, PIIX4_SMBUS_BASE);
}

static void test_timer(void)
{
    Rig r;
    open_rig(&r);
    uint32_t before = in32(&r.t, TMR);
    test_step(&r.t, NS_PER_SECOND);
    g_assert_cmpuint((in32(&r.t, TMR) - before) & 0xffffff, ==, 3579545);
    out16(&r.t, STS, 0xffff);
    g_assert_cmphex(in16(&r.t, STS) & 1, ==, 0);
    out8(&r.t, PIIX4_APM_CNT, PIIX4_ACPI_ENABLE);
    out16(&r.t, EN, 1);
    test_step(&r.t, 3 * NS_PER_SECOND); /* bit 23 changes every 2.34 s */
    g_assert_cmphex(in16(&r.t, STS) & 1, ==, 1);
    g_assert_cmpint(r.sci.level, ==, 1);
    out16(&r.t, STS, 1);
    g_assert_cmpint(r.sci.level, ==, 0);
    test_platform_close(&r.t);
}

static void test_power_button(void)
{
    Rig r;
    open_rig(&r);
    pci_config_write((PciDevice *)r.pm, 0x58, 1u << 25, 4); /* APMC_EN: writing APM_CNT makes an SMI */
    out8(&r.t, PIIX4_APM_CNT, 0x12);
    g_assert_cmpuint(r.smi.rises, ==, 1);
    pci_config_write((PciDevice *)r.pm, 0x58, 0, 4);
    out8(&r.t, PIIX4_APM_CNT, 0x12);
    g_assert_cmpuint(r.smi.rises, ==, 1);
    out16(&r.t, EN, 1 << 8);
    piix4_pm_power_button(r.pm);
    g_assert_cmpint(r.sci.level, ==, 0); /* legacy mode: no SCI */
    out8(&r.t, PIIX4_APM_CNT, PIIX4_ACPI_ENABLE);
    g_assert_cmphex(in16(&r.t, CNT) & 1, ==, 1);
    g_assert_cmpint(r.sci.level, ==, 1);
    g_assert_cmphex(in16(&r.t, STS), ==, 1 << 8);
    out16(&r.t, STS, 1 << 8);
    g_assert_cmpint(r.sci.level, ==, 0);
    out8(&r.t, PIIX4_APM_CNT, PIIX4_ACPI_DISABLE);
    g_assert_cmphex(in16(&r.t, CNT) & 1, ==, 0);
    test_platform_close(&r.t);
}

static void test_sleep(void)
{
    Rig r;
    open_rig(&r);
    out16(&r.t, CNT, 1 | 7 << 10); /* no SLP_EN */
    g_assert_cmpuint(r.t.shutdowns, ==, 0);
    out16(&r.t, CNT, 1 | 7 << 10 | 1 << 13); /* a type that is not offered */
    g_assert_cmpuint(r.t.shutdowns, ==, 0);
    out16(&r.t, CNT, 1 | PM1_S5_TYPE << 10 | 1 << 13);
    g_assert_cmpuint(r.t.shutdowns, ==, 1);
    g_assert_cmpint(r.t.shutdown_cause, ==, SHUTDOWN_GUEST);
    g_assert_cmphex(in16(&r.t, CNT) >> 13, ==, 0); /* SLP_EN reads as 0 */
    test_platform_close(&r.t);
}

/* A byte changes nothing but its half of a register. */
static void test_bytes(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, PIIX4_APM_CNT, PIIX4_ACPI_ENABLE);
    out16(&r.t, EN, 0x0121);
    out8(&r.t, EN + 1, 0x04);
    g_assert_cmphex(in16(&r.t, EN), ==, 0x0421);
    g_assert_cmphex(in8(&r.t, EN + 1), ==, 0x04);
    piix4_pm_power_button(r.pm);
    r.t.p.woken(r.t.p.power_button, WAKE_OTHER);
    g_assert_cmphex(in32(&r.t, STS), ==, 0x04218100);
    out8(&r.t, STS + 1, 0x80);
    g_assert_cmphex(in16(&r.t, STS), ==, 0x0100);
    uint32_t timer = in32(&r.t, TMR);
    g_assert_cmphex(in8(&r.t, TMR), ==, timer & 0xff);
    out8(&r.t, CNT + 1, (7 << 10 | 1 << 13) >> 8);
    g_assert_cmphex(in16(&r.t, CNT), ==, 1 | 7 << 10);
    out8(&r.t, CNT + 1, (PM1_S5_TYPE << 10 | 1 << 13) >> 8);
    g_assert_cmpuint(r.t.shutdowns, ==, 1);
    test_platform_close(&r.t);
}

static void test_gpe(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, PIIX4_APM_CNT, PIIX4_ACPI_ENABLE);
    out8(&r.t, GPE + 2, 1 << 2);
    out8(&r.t, GPE + 3, 1 << 1);
    piix4_pm_raise_gpe(r.pm, 3);
    g_assert_cmpint(r.sci.level, ==, 0);
    piix4_pm_raise_gpe(r.pm, 9);
    g_assert_cmpint(r.sci.level, ==, 1);
    g_assert_cmphex(in8(&r.t, GPE + 1), ==, 2);
    out8(&r.t, GPE + 1, 2);
    g_assert_cmpint(r.sci.level, ==, 0);
    g_assert_cmphex(in8(&r.t, GPE), ==, 1 << 3);
    test_platform_close(&r.t);
}

static void test_smbus(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, PIIX4_SMBUS_BASE + 4, 0xa1);
    out8(&r.t, PIIX4_SMBUS_BASE + 2, 0x48);
    g_assert_cmphex(in8(&r.t, PIIX4_SMBUS_BASE), ==, 4); /* nobody answers */
    out8(&r.t, PIIX4_SMBUS_BASE, 0x1e);
    g_assert_cmphex(in8(&r.t, PIIX4_SMBUS_BASE), ==, 0);
    test_platform_close(&r.t);
}

static void test_state(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, PIIX4_APM_CNT, PIIX4_ACPI_ENABLE);
    out16(&r.t, EN, 1 << 8);
    piix4_pm_power_button(r.pm);
    test_save_load((Device *)r.pm);
    g_assert_cmphex(in16(&r.t, STS) & 1 << 8, ==, 1 << 8);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_cmpint(r.sci.level, ==, 0);
    g_assert_cmphex(in16(&r.t, CNT), ==, 0xffff);
    test_platform_close(&r.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/piix4-pm/timer", test_timer);
    g_test_add_func("/piix4-pm/power-button", test_power_button);
    g_test_add_func("/piix4-pm/sleep", test_sleep);
    g_test_add_func("/piix4-pm/bytes", test_bytes);
    g_test_add_func("/piix4-pm/gpe", test_gpe);
    g_test_add_func("/piix4-pm/smbus", test_smbus);
    g_test_add_func("/piix4-pm/state", test_state);
    return g_test_run();
}
