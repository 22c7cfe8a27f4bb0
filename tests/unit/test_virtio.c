/* Virtio: what devices are and refuse, transports, and the balloon behind them. The driver is virtio_rig.c. */

#include "virtio_rig.h"

#include "base/bytes.h"
#include "base/optstr.h"
#include "devices/virtio/mmio.h"

/* ---- Identity ---- */

static void test_identity(void)
{
    static const struct {
        const char *driver;
        uint16_t    device, subsystem;
        uint8_t     revision;
        bool        ports, bar;
    } cases[] = {
        { "virtio-balloon-pci", 0x1002, 5, 0, true, true },
        { "virtio-balloon", 0x1002, 5, 0, true, true },
        { "virtio-balloon-pci-transitional", 0x1002, 5, 0, true, true },
        { "virtio-balloon-pci-non-transitional", 0x1045, 0x1100, 1, false, true },
        { "virtio-balloon-pci,disable-legacy=on", 0x1045, 0x1100, 1, false, true },
        { "virtio-balloon-pci,disable-modern=on", 0x1002, 5, 0, true, false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Driver d;
        driver_open_platform(&d);
        PciDevice *pci = (PciDevice *)driver_create(&d, cases[i].driver);
        devices_reset(&d.t.p, RESET_COLD);
        g_assert_cmphex(pci_get16(pci, PCI_VENDOR_ID), ==, 0x1af4);
        g_assert_cmphex(pci_get16(pci, PCI_DEVICE_ID), ==, cases[i].device);
        g_assert_cmphex(pci_get16(pci, PCI_SUBSYSTEM_ID), ==, cases[i].subsystem);
        g_assert_cmphex(pci_get8(pci, PCI_REVISION_ID), ==, cases[i].revision);
        g_assert_cmpint(pci->bars[0].region != NULL, ==, cases[i].ports);
        g_assert_cmpint(pci->bars[4].region != NULL, ==, cases[i].bar);
        driver_close(&d);
    }
}

static void test_refused(void)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "virtio-balloon-pci,disable-modern=on,disable-legacy=on", "no interface is left" },
        { "virtio-balloon-pci,vectors=200", "at most 127" },
        { "virtio-balloon-pci,free-page-hint=on", "not supported yet" },
        { "virtio-balloon-pci,iommu_platform=on", "not supported yet" },
        { "virtio-balloon-pci,guest-stats-polling-interval=-1", "guest-stats-polling-interval" },
        { "virtio-balloon-device", "no virtio-bus bus" },
    };
    Driver d;
    driver_open_platform(&d);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err       = {};
        g_autoptr(Json) options = optstr_parse(cases[i].text, "driver", &err);
        g_assert_null(device_create(&d.t.p, options, true, &err));
        if (!strstr(err.text, cases[i].why)) {
            g_error("%s: %s", cases[i].text, err.text);
        }
    }
    driver_create(&d, "virtio-balloon-pci");
    g_auto(Error) err       = {};
    g_autoptr(Json) options = optstr_parse("virtio-balloon-pci", "driver", &err);
    g_assert_null(device_create(&d.t.p, options, true, &err));
    g_assert_cmpstr(err.text, ==, "there is a balloon already");
    driver_close(&d);
}

/* ---- The window in configuration space ---- */

static void test_window(void)
{
    Driver d;
    driver_open_pci(&d, "vectors=0");
    driver_start(&d, 0, false);
    uint8_t cap = d.pci->config[PCI_CAPABILITIES];
    while (cap && d.pci->config[cap + 3] != 5) {
        cap = d.pci->config[cap + 1];
    }
    g_assert_cmpuint(cap, !=, 0);
    pci_config_write(d.pci, cap + 4u, 4, 1);
    pci_config_write(d.pci, cap + 8u, COMMON + 0x12, 4);
    pci_config_write(d.pci, cap + 12u, 2, 4);
    g_assert_cmpuint(pci_config_read(d.pci, cap + 16u, 2), ==, 3);
    balloon_fill(&d, balloon_pages, G_N_ELEMENTS(balloon_pages));
    driver_desc(&d, RING, 0, LIST, 32, 0, 0);
    driver_offer(&d, 0, 0);
    pci_config_write(d.pci, cap + 8u, NOTIFY, 4);
    pci_config_write(d.pci, cap + 16u, 0, 2);
    balloon_check(&d);
    /* Nonsense does nothing. */
    for (unsigned i = 0; i < 20; i++) {
        pci_config_write(d.pci, cap + 4u, i % 3 ? 4 : i, 1);
        pci_config_write(d.pci, cap + 8u, i % 2 ? 0xffffffff - i : i * 3, 4);
        pci_config_write(d.pci, cap + 12u, i, 4);
        pci_config_write(d.pci, cap + 16u, 0xffffffff, 4);
        pci_config_read(d.pci, cap + 16u, 4);
    }
    driver_close(&d);
}

/* ---- Legacy ---- */

static void test_legacy(void)
{
    Driver d;
    driver_open_pci(&d, "vectors=0");
    out8(&d.t, PORTS + 18, 3);
    g_assert_cmphex(in32(&d.t, PORTS), ==, (uint32_t)virtio_features(d.v, true));
    out32(&d.t, PORTS + 4, 1 << 1 | 1 << 28 | 1 << 20); /* one of them was not offered */
    g_assert_cmphex(in32(&d.t, PORTS + 4), ==, 1 << 1 | 1 << 28);
    out16(&d.t, PORTS + 14, 0);
    g_assert_cmpuint(in16(&d.t, PORTS + 12), ==, 128);
    out32(&d.t, PORTS + 8, RING >> 12);
    out8(&d.t, PORTS + 18, 7);
    balloon_fill(&d, balloon_pages, G_N_ELEMENTS(balloon_pages));
    driver_desc(&d, RING, 0, LIST, 32, 0, 0);
    store_le16(driver_ram(&d, RING + 128 * 16 + 4), 0);
    store_le16(driver_ram(&d, RING + 128 * 16 + 2), 1);
    out16(&d.t, PORTS + 16, 0);
    balloon_check(&d);
    g_assert_cmpuint(load_le16(driver_ram(&d, RING + 0x1000 + 2)), ==, 1);
    g_assert_cmphex(in8(&d.t, PORTS + 19), ==, 1);
    virtio_balloon_set_target(d.t.p.balloon, 3 << 20);
    g_assert_cmpuint(in32(&d.t, PORTS + 20), ==, 256);
    g_assert_cmphex(in8(&d.t, PORTS + 19), ==, 2);
    out32(&d.t, PORTS + 24, 100);
    g_assert_cmpuint(virtio_balloon_actual(d.t.p.balloon), ==, TEST_RAM_SIZE - 100 * 4096);
    test_save_load(d.dev);
    out32(&d.t, PORTS + 8, 0);
    g_assert_cmphex(in8(&d.t, PORTS + 18), ==, 0);
    driver_close(&d);
}

/* ---- Memory-mapped ---- */

static void test_mmio(void)
{
    for (unsigned legacy = 0; legacy < 2; legacy++) {
        g_auto(Error) err = {};
        Driver  d;
        TestPin irq;
        driver_open_platform(&d);
        test_pin_init(&irq);
        if (!legacy) {
            device_add_global(&d.t.p, "virtio-mmio", "force-legacy", "off", &err);
        }
        g_assert_nonnull(virtio_mmio_create(&d.t.p, 0, (uint32_t)PLACE, &irq.pin, &err));
        d.dev = driver_create(&d, "virtio-balloon-device");
        /* The place is taken. */
        g_autoptr(Json) options = optstr_parse("virtio-balloon-device", "driver", &err);
        g_assert_null(device_create(&d.t.p, options, true, &err));
        g_assert_nonnull(strstr(err.text, "has a device already"));
        d.v = &d.t.p.balloon->virtio;
        driver_reset(&d);
        const uint32_t at = (uint32_t)PLACE;
        g_assert_cmpuint(mem_load(&d.t, at + 8, 4), ==, 5);
        mem_store(&d.t, at + 0x70, 3, 4);
        for (unsigned i = 0; i < 2; i++) {
            mem_store(&d.t, at + 0x14, i, 4);
            uint64_t f = mem_load(&d.t, at + 0x10, 4);
            g_assert_cmphex(f, ==, (uint32_t)(virtio_features(d.v, legacy) >> (32 * i)));
            mem_store(&d.t, at + 0x24, i, 4);
            mem_store(&d.t, at + 0x20, f & ~(i ? 0 : UINT64_C(1) << 29), 4);
        }
        mem_store(&d.t, at + 0x70, 11, 4);
        mem_store(&d.t, at + 0x30, 0, 4);
        g_assert_cmpuint(mem_load(&d.t, at + 0x34, 4), ==, 128);
        mem_store(&d.t, at + 0x38, SIZE, 4);
        if (legacy) {
            mem_store(&d.t, at + 0x28, 4096, 4);
            mem_store(&d.t, at + 0x3c, 4096, 4);
            mem_store(&d.t, at + 0x40, RING >> 12, 4);
        } else {
            mem_store(&d.t, at + 0x80, RING, 4);
            mem_store(&d.t, at + 0x90, RING + 16 * SIZE, 4);
            mem_store(&d.t, at + 0xa0, RING + 0x1000, 4);
            mem_store(&d.t, at + 0x44, 1, 4);
            g_assert_cmpuint(mem_load(&d.t, at + 0x44, 4), ==, 1);
        }
        mem_store(&d.t, at + 0x70, 15, 4);
        balloon_fill(&d, balloon_pages, G_N_ELEMENTS(balloon_pages));
        driver_desc(&d, RING, 0, LIST, 32, 0, 0);
        store_le16(driver_ram(&d, RING + 16 * SIZE + 2), 1);
        mem_store(&d.t, at + 0x50, 0, 4);
        balloon_check(&d);
        g_assert_cmpint(irq.level, ==, 1);
        g_assert_cmphex(mem_load(&d.t, at + 0x60, 4), ==, 1);
        mem_store(&d.t, at + 0x64, 1, 4);
        g_assert_cmpint(irq.level, ==, 0);
        mem_store(&d.t, at + 0x100 + 4, 7, 4);
        g_assert_cmpuint(mem_load(&d.t, at + 0x104, 1), ==, 7);
        test_save_load(d.dev);
        driver_close(&d);
    }
}

/* ---- Statistics ---- */

static void test_statistics(void)
{
    g_auto(Error) err = {};
    Driver d;
    driver_open_pci(&d, "guest-stats-polling-interval=2");
    driver_start(&d, VIRTIO_F_EVENT_IDX, false);
    static const uint64_t values[][2] = { { 4, 1000 }, { 5, 2000 }, { 77, 1 }, { 4, 3000 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        store_le16(driver_ram(&d, LIST + 10 * i), (uint16_t)values[i][0]);
        store_le64(driver_ram(&d, LIST + 10 * i + 2), values[i][1]);
    }
    driver_desc(&d, RING + 0x8000, 0, LIST, 40, 0, 0);
    driver_offer(&d, 2, 0);
    driver_notify(&d, 2);
    g_assert_cmpuint(driver_used(&d, 2), ==, 0);
    g_autoptr(Json) stats = object_get(&d.dev->obj, "guest-stats", &err);
    const Json *inner     = json_get(stats, "stats");
    g_assert_cmpint(json_get(inner, "stat-free-memory")->integer, ==, 3000);
    g_assert_cmpint(json_get(inner, "stat-total-memory")->integer, ==, 2000);
    g_assert_cmpint(json_get(inner, "stat-swap-in")->kind, ==, JSON_UINT);
    test_step(&d.t, 3 * NS_PER_SECOND);
    g_assert_cmpuint(driver_used(&d, 2), ==, 1);
    test_step(&d.t, 3 * NS_PER_SECOND);
    g_assert_cmpuint(driver_used(&d, 2), ==, 1);
    driver_offer(&d, 2, 0);
    driver_notify(&d, 2);
    test_save_load(d.dev);
    driver_close(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio/identity", test_identity);
    g_test_add_func("/virtio/refused", test_refused);
    g_test_add_func("/virtio/window", test_window);
    g_test_add_func("/virtio/legacy", test_legacy);
    g_test_add_func("/virtio/mmio", test_mmio);
    g_test_add_func("/virtio/statistics", test_statistics);
    return g_test_run();
}
