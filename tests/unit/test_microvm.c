/* Devices of microvm: generic event device with sleep and reset registers, empty places for virtio, second I/O APIC. */

#include "devices/acpi/ged.h"
#include "devices/irq/ioapic.h"
#include "devices/virtio/mmio.h"
#include "platform.h"

enum { BASE = (int)0xfea00000, VIRTIO = (int)0xfeb00000 };

static void test_events(void)
{
    g_auto(Error) err = {};
    TestPlatform t;
    TestPin      irq;
    test_platform_open(&t);
    test_pin_init(&irq);
    Ged *ged = ged_create(&t.p, (uint32_t)BASE, &irq.pin, &err);
    g_assert_nonnull(ged);
    devices_reset(&t.p, RESET_COLD);
    g_assert_cmphex(mem_load(&t, (uint32_t)BASE, 4), ==, 0);
    ged_power_button(ged);
    g_assert_cmpuint(irq.rises, ==, 1);
    g_assert_cmpint(irq.level, ==, 0);
    test_save_load(t.p.devices->pdata[0]);
    g_assert_cmphex(mem_load(&t, (uint32_t)BASE, 4), ==, GED_POWER_DOWN);
    g_assert_cmphex(mem_load(&t, (uint32_t)BASE, 4), ==, 0); /* reading clears it */
    test_platform_close(&t);
}

static void test_sleep_and_reset(void)
{
    g_auto(Error) err = {};
    TestPlatform t;
    test_platform_open(&t);
    g_assert_nonnull(ged_create(&t.p, (uint32_t)BASE, NULL, &err));
    devices_reset(&t.p, RESET_COLD);
    mem_store(&t, (uint32_t)BASE + GED_SLEEP_CTL, GED_S5_TYPE << 2, 1);
    g_assert_cmpuint(t.shutdowns, ==, 0);
    mem_store(&t, (uint32_t)BASE + GED_SLEEP_CTL, 3 << 2 | 1 << 5, 1); /* S3 is not offered */
    g_assert_cmpuint(t.shutdowns, ==, 0);
    mem_store(&t, (uint32_t)BASE + GED_SLEEP_CTL, GED_S5_TYPE << 2 | 1 << 5, 1);
    g_assert_cmpuint(t.shutdowns, ==, 1);
    g_assert_cmphex(mem_load(&t, (uint32_t)BASE + GED_SLEEP_CTL, 1), ==, GED_S5_TYPE << 2);
    mem_store(&t, (uint32_t)BASE + GED_RESET, 1, 1);
    g_assert_cmpuint(t.resets, ==, 0);
    mem_store(&t, (uint32_t)BASE + GED_RESET, GED_RESET_VALUE, 1);
    g_assert_cmpuint(t.resets, ==, 1);
    test_platform_close(&t);
}

static void test_virtio(void)
{
    g_auto(Error) err = {};
    TestPlatform t;
    test_platform_open(&t);
    g_assert_nonnull(virtio_mmio_create(&t.p, 0, (uint32_t)VIRTIO, NULL, &err));
    g_assert_cmphex(mem_load(&t, (uint32_t)VIRTIO, 4), ==, 0x74726976);
    g_assert_cmphex(mem_load(&t, (uint32_t)VIRTIO + 4, 4), ==, 1);
    g_assert_cmphex(mem_load(&t, (uint32_t)VIRTIO + 8, 4), ==, 0);
    mem_store(&t, (uint32_t)VIRTIO + 0x70, 1, 4);
    g_assert_cmphex(mem_load(&t, (uint32_t)VIRTIO + 0x70, 4), ==, 0);
    test_platform_close(&t);
}

static void test_second_ioapic(void)
{
    enum { ADDRESS = (int)0xfec10000 };
    g_auto(Error) err = {};
    TestPlatform t;
    test_platform_open(&t);
    ApicBus *bus = apic_bus_new(t.p.clocks, t.p.log);
    g_assert_nonnull(ioapic_create(&t.p, bus, 0, &err));
    g_assert_nonnull(ioapic_create_at(&t.p, bus, 1, (uint32_t)ADDRESS, &err));
    devices_reset(&t.p, RESET_COLD);
    g_assert_cmphex(mem_load(&t, (uint32_t)ADDRESS + 0x10, 4), ==, 1 << 24);
    g_assert_cmphex(mem_load(&t, IOAPIC_ADDRESS + 0x10, 4), ==, 0);
    mem_store(&t, (uint32_t)ADDRESS, 0x10, 4);
    mem_store(&t, (uint32_t)ADDRESS + 0x10, 0x31, 4);
    g_assert_cmphex(mem_load(&t, (uint32_t)ADDRESS + 0x10, 4), ==, 0x31);
    mem_store(&t, IOAPIC_ADDRESS, 0x10, 4);
    g_assert_cmphex(mem_load(&t, IOAPIC_ADDRESS + 0x10, 4), ==, 1 << 16);
    test_platform_close(&t);
    apic_bus_free(bus);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/microvm/events", test_events);
    g_test_add_func("/microvm/sleep-and-reset", test_sleep_and_reset);
    g_test_add_func("/microvm/virtio", test_virtio);
    g_test_add_func("/microvm/second-ioapic", test_second_ioapic);
    return g_test_run();
}
