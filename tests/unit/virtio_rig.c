/* See virtio_rig.h. */

#include "virtio_rig.h"

#include "base/bytes.h"
#include "base/optstr.h"

Device *driver_create(Driver *d, const char *text)
{
    g_auto(Error) err       = {};
    g_autoptr(Json) options = optstr_parse(text, "driver", &err);
    Device *dev             = device_create(&d->t.p, options, true, &err);
    if (!dev) {
        g_error("%s", err.text);
    }
    return dev;
}

void driver_open_platform(Driver *d)
{
    g_auto(Error) err = {};
    *d                = (Driver){};
    test_platform_open(&d->t);
    d->t.p.ram_size = TEST_RAM_SIZE;
    d->host         = i440fx_create(&d->t.p, &d->t.ram_region, &err);
}

void driver_close(Driver *d)
{
    test_platform_close(&d->t);
}

void driver_reset(Driver *d)
{
    devices_reset(&d->t.p, RESET_COLD);
    if (d->pci) {
        pci_config_write(d->pci, PCI_BAR0 + 16, (uint32_t)BAR4, 4);
        pci_config_write(d->pci, PCI_BAR0 + 4, (uint32_t)BAR1, 4);
        pci_config_write(d->pci, PCI_BAR0, PORTS, 4);
        pci_config_write(d->pci, PCI_COMMAND, 7, 2);
    }
    memset(d->avail, 0, sizeof d->avail);
    memset(d->t.ram->host + RING, 0, 0x80000);
}

void driver_open_pci(Driver *d, const char *options)
{
    g_autofree char *text = g_strdup_printf("virtio-balloon-pci,addr=4%s%s", *options ? "," : "", options);
    driver_open_platform(d);
    d->dev = driver_create(d, text);
    d->pci = (PciDevice *)d->dev;
    d->v   = &d->t.p.balloon->virtio;
    driver_reset(d);
}

uint64_t driver_get(Driver *d, unsigned at, unsigned size)
{
    return mem_load(&d->t, (uint32_t)BAR4 + COMMON + at, size);
}

void driver_set(Driver *d, unsigned at, uint64_t value, unsigned size)
{
    mem_store(&d->t, (uint32_t)BAR4 + COMMON + at, value, size);
}

void driver_start(Driver *d, uint64_t without, bool packed)
{
    uint64_t features = virtio_features(d->v, false) & ~without;
    driver_set(d, 0x14, 1, 1);
    driver_set(d, 0x14, 3, 1);
    for (unsigned i = 0; i < 2; i++) {
        driver_set(d, 0x00, i, 4);
        g_assert_cmphex(driver_get(d, 0x04, 4), ==, (uint32_t)(virtio_features(d->v, false) >> (32 * i)));
        driver_set(d, 0x08, i, 4);
        driver_set(d, 0x0c, (uint32_t)(features >> (32 * i)), 4);
    }
    driver_set(d, 0x14, 11, 1);
    g_assert_cmphex(driver_get(d, 0x14, 1), ==, 11);
    driver_set(d, 0x10, 0, 2);
    for (unsigned i = 0; i < driver_get(d, 0x12, 2); i++) {
        driver_set(d, 0x16, i, 2);
        driver_set(d, 0x18, SIZE, 2);
        driver_set(d, 0x1a, i + 1, 2);
        driver_set(d, 0x20, RING + 0x4000 * i, 8);
        driver_set(d, 0x28, RING + 0x4000 * i + AVAIL, 8);
        driver_set(d, 0x30, RING + 0x4000 * i + USED, 8);
        driver_set(d, 0x1c, 1, 2);
        g_assert_cmpuint(driver_get(d, 0x1c, 2), ==, 1);
    }
    driver_set(d, 0x14, 15, 1);
}

uint8_t *driver_ram(Driver *d, uint64_t at)
{
    return d->t.ram->host + at;
}

void driver_desc(Driver *d, uint64_t table, unsigned n, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    uint8_t *p = driver_ram(d, table + 16 * n);
    store_le64(p, addr);
    store_le32(p + 8, len);
    store_le16(p + 12, flags);
    store_le16(p + 14, next);
}

void driver_offer(Driver *d, unsigned q, uint16_t head)
{
    uint8_t *avail = driver_ram(d, RING + 0x4000 * q + AVAIL);
    store_le16(avail + 4 + 2 * (d->avail[q] % SIZE), head);
    store_le16(avail + 2, ++d->avail[q]);
}

void driver_notify(Driver *d, unsigned q)
{
    mem_store(&d->t, (uint32_t)BAR4 + NOTIFY + 4 * q, q, 2);
}

uint16_t driver_used(Driver *d, unsigned q)
{
    return load_le16(driver_ram(d, RING + 0x4000 * q + USED + 2));
}

void balloon_fill(Driver *d, const uint32_t *pages, unsigned n)
{
    memset(driver_ram(d, PAGES), 0xaa, 16 * 4096);
    for (unsigned i = 0; i < n; i++) {
        store_le32(driver_ram(d, LIST + 4 * i), pages[i]);
    }
}

static bool is_zero(Driver *d, uint32_t page)
{
    return *driver_ram(d, (uint64_t)page << 12) == 0 && driver_ram(d, (uint64_t)page << 12)[4095] == 0;
}

bool driver_is_broken(Driver *d)
{
    return driver_get(d, 0x14, 1) & VIRTIO_NEEDS_RESET;
}

const uint32_t balloon_pages[N_BALLOON_PAGES] = { 0x200, 0x201, 0x203, 0x202, 0x206, 0x205, 0xffffffff, 0x208 };

void balloon_check(Driver *d)
{
    static const bool gone[] = { 1, 1, 1, 1, 0, 1, 1, 0, 1, 0 };
    for (unsigned i = 0; i < G_N_ELEMENTS(gone); i++) {
        g_assert_cmpint(is_zero(d, 0x200 + i), ==, gone[i]);
    }
}
