/* Virtio: transports, rings good and bad, and the balloon behind them. The driver is this file. */

#include "base/bytes.h"
#include "base/optstr.h"
#include "base/text.h"
#include "devices/memory/memdevs.h"
#include "devices/pci/i440fx.h"
#include "devices/virtio/balloon.h"
#include "devices/virtio/mmio.h"
#include "devices/virtio/pci.h"
#include "platform.h"

enum {
    BAR4   = (int)0xe0000000,
    BAR1   = (int)0xe1000000,
    PORTS  = 0xc000,
    PLACE  = (int)0xfeb00000,
    COMMON = 0,
    ISR    = 0x1000,
    CONFIG = 0x2000,
    NOTIFY = 0x3000,

    RING  = 0x10000, /* queue n: descriptors, driver area, device area at RING + n * 0x4000 */
    AVAIL = 0x1000,
    USED  = 0x2000,
    LIST  = 0x80000, /* of page numbers */
    TABLE = 0x90000, /* an indirect one */
    PAGES = 0x200000,
    SIZE  = 8,

    NEXT     = 1,
    WRITE    = 2,
    INDIRECT = 4,
};

typedef struct Driver {
    TestPlatform  t;
    PciHost      *host;
    PciDevice    *pci;
    Device       *dev;
    VirtioDevice *v;
    uint16_t      avail[4];
} Driver;

static Device *create(Driver *d, const char *text)
{
    g_auto(Error) err       = {};
    g_autoptr(Json) options = optstr_parse(text, "driver", &err);
    Device *dev             = device_create(&d->t.p, options, true, &err);
    if (!dev) {
        g_error("%s", err.text);
    }
    return dev;
}

static void open_platform(Driver *d)
{
    g_auto(Error) err = {};
    *d                = (Driver){};
    test_platform_open(&d->t);
    d->t.p.ram_size = TEST_RAM_SIZE;
    d->host         = i440fx_create(&d->t.p, &d->t.ram_region, &err);
}

static void close_driver(Driver *d)
{
    test_platform_close(&d->t);
}

static void reset_all(Driver *d)
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

static void open_pci(Driver *d, const char *options)
{
    g_autofree char *text = g_strdup_printf("virtio-balloon-pci,addr=4%s%s", *options ? "," : "", options);
    open_platform(d);
    d->dev = create(d, text);
    d->pci = (PciDevice *)d->dev;
    d->v   = &d->t.p.balloon->virtio;
    reset_all(d);
}

static uint64_t common(Driver *d, unsigned at, unsigned size)
{
    return mem_load(&d->t, (uint32_t)BAR4 + COMMON + at, size);
}

static void set_common(Driver *d, unsigned at, uint64_t value, unsigned size)
{
    mem_store(&d->t, (uint32_t)BAR4 + COMMON + at, value, size);
}

/* Takes all features but `without`, sets up queues of SIZE entries, and starts. */
static void start(Driver *d, uint64_t without, bool packed)
{
    uint64_t features = virtio_features(d->v, false) & ~without;
    set_common(d, 0x14, 1, 1);
    set_common(d, 0x14, 3, 1);
    for (unsigned i = 0; i < 2; i++) {
        set_common(d, 0x00, i, 4);
        g_assert_cmphex(common(d, 0x04, 4), ==, (uint32_t)(virtio_features(d->v, false) >> (32 * i)));
        set_common(d, 0x08, i, 4);
        set_common(d, 0x0c, (uint32_t)(features >> (32 * i)), 4);
    }
    set_common(d, 0x14, 11, 1);
    g_assert_cmphex(common(d, 0x14, 1), ==, 11);
    set_common(d, 0x10, 0, 2);
    for (unsigned i = 0; i < common(d, 0x12, 2); i++) {
        set_common(d, 0x16, i, 2);
        set_common(d, 0x18, SIZE, 2);
        set_common(d, 0x1a, i + 1, 2);
        set_common(d, 0x20, RING + 0x4000 * i, 8);
        set_common(d, 0x28, RING + 0x4000 * i + AVAIL, 8);
        set_common(d, 0x30, RING + 0x4000 * i + USED, 8);
        set_common(d, 0x1c, 1, 2);
        g_assert_cmpuint(common(d, 0x1c, 2), ==, 1);
    }
    set_common(d, 0x14, 15, 1);
}

static uint8_t *ram(Driver *d, uint64_t at)
{
    return d->t.ram->host + at;
}

static void desc(Driver *d, uint64_t table, unsigned n, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
    uint8_t *p = ram(d, table + 16 * n);
    store_le64(p, addr);
    store_le32(p + 8, len);
    store_le16(p + 12, flags);
    store_le16(p + 14, next);
}

static void offer(Driver *d, unsigned q, uint16_t head)
{
    uint8_t *avail = ram(d, RING + 0x4000 * q + AVAIL);
    store_le16(avail + 4 + 2 * (d->avail[q] % SIZE), head);
    store_le16(avail + 2, ++d->avail[q]);
}

static void notify(Driver *d, unsigned q)
{
    mem_store(&d->t, (uint32_t)BAR4 + NOTIFY + 4 * q, q, 2);
}

static uint16_t used(Driver *d, unsigned q)
{
    return load_le16(ram(d, RING + 0x4000 * q + USED + 2));
}

/* Fills pages and lists their numbers. */
static void fill(Driver *d, const uint32_t *pages, unsigned n)
{
    memset(ram(d, PAGES), 0xaa, 16 * 4096);
    for (unsigned i = 0; i < n; i++) {
        store_le32(ram(d, LIST + 4 * i), pages[i]);
    }
}

static bool is_zero(Driver *d, uint32_t page)
{
    return *ram(d, (uint64_t)page << 12) == 0 && ram(d, (uint64_t)page << 12)[4095] == 0;
}

static bool is_broken(Driver *d)
{
    return common(d, 0x14, 1) & VIRTIO_NEEDS_RESET;
}

static const uint32_t some[] = { 0x200, 0x201, 0x203, 0x202, 0x206, 0x205, 0xffffffff, 0x208 };

static void check_pages(Driver *d)
{
    static const bool gone[] = { 1, 1, 1, 1, 0, 1, 1, 0, 1, 0 };
    for (unsigned i = 0; i < G_N_ELEMENTS(gone); i++) {
        g_assert_cmpint(is_zero(d, 0x200 + i), ==, gone[i]);
    }
}

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
        open_platform(&d);
        PciDevice *pci = (PciDevice *)create(&d, cases[i].driver);
        devices_reset(&d.t.p, RESET_COLD);
        g_assert_cmphex(pci_get16(pci, PCI_VENDOR_ID), ==, 0x1af4);
        g_assert_cmphex(pci_get16(pci, PCI_DEVICE_ID), ==, cases[i].device);
        g_assert_cmphex(pci_get16(pci, PCI_SUBSYSTEM_ID), ==, cases[i].subsystem);
        g_assert_cmphex(pci_get8(pci, PCI_REVISION_ID), ==, cases[i].revision);
        g_assert_cmpint(pci->bars[0].region != NULL, ==, cases[i].ports);
        g_assert_cmpint(pci->bars[4].region != NULL, ==, cases[i].bar);
        close_driver(&d);
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
    open_platform(&d);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err       = {};
        g_autoptr(Json) options = optstr_parse(cases[i].text, "driver", &err);
        g_assert_null(device_create(&d.t.p, options, true, &err));
        if (!strstr(err.text, cases[i].why)) {
            g_error("%s: %s", cases[i].text, err.text);
        }
    }
    create(&d, "virtio-balloon-pci");
    g_auto(Error) err       = {};
    g_autoptr(Json) options = optstr_parse("virtio-balloon-pci", "driver", &err);
    g_assert_null(device_create(&d.t.p, options, true, &err));
    g_assert_cmpstr(err.text, ==, "there is a balloon already");
    close_driver(&d);
}

/* ---- Rings that are right ---- */

static void test_split(void)
{
    Driver d;
    open_pci(&d, "vectors=0");
    start(&d, VIRTIO_F_EVENT_IDX, false);
    /* One buffer in three pieces, the first number cut in two. */
    fill(&d, some, G_N_ELEMENTS(some));
    desc(&d, RING, 5, LIST, 2, NEXT, 2);
    desc(&d, RING, 2, LIST + 2, 10, NEXT, 7);
    desc(&d, RING, 7, LIST + 12, 20, 0, 0);
    offer(&d, 0, 5);
    notify(&d, 0);
    check_pages(&d);
    g_assert_cmpuint(used(&d, 0), ==, 1);
    g_assert_cmpuint(load_le32(ram(&d, RING + USED + 4)), ==, 5);
    g_assert_true(d.pci->irq_driven);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + ISR, 1), ==, 1);
    g_assert_false(d.pci->irq_driven);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + ISR, 1), ==, 0);
    /* An indirect one, by a notification that the driver does not want to be answered. */
    fill(&d, some, G_N_ELEMENTS(some));
    desc(&d, TABLE, 0, LIST, 4, NEXT, 2);
    desc(&d, TABLE, 2, LIST + 4, 28, 0, 0);
    desc(&d, RING, 1, TABLE, 48, INDIRECT, 0);
    store_le16(ram(&d, RING + AVAIL), 1);
    offer(&d, 0, 1);
    notify(&d, 0);
    check_pages(&d);
    g_assert_false(d.pci->irq_driven);
    /* More than the ring has entries, in rounds. */
    for (unsigned i = 0; i < 5 * SIZE; i++) {
        desc(&d, RING, i % SIZE, LIST, 4, 0, 0);
        offer(&d, 0, (uint16_t)(i % SIZE));
        if (i % 3 == 0) {
            notify(&d, 0);
        }
    }
    notify(&d, 0);
    g_assert_cmpuint(used(&d, 0), ==, d.avail[0]);
    g_assert_false(is_broken(&d));
    test_save_load(d.dev);
    close_driver(&d);
}

static void test_event_index(void)
{
    Driver d;
    open_pci(&d, "");
    pci_config_write(d.pci, pci_find_capability(d.pci, PCI_CAP_MSIX) + 2u, 0x8000, 2);
    for (unsigned i = 0; i < 4; i++) {
        mem_store(&d.t, (uint32_t)BAR1 + 16 * i, 0xfee00000, 8);
        mem_store(&d.t, (uint32_t)BAR1 + 16 * i + 8, 0x40 + i, 4);
        mem_store(&d.t, (uint32_t)BAR1 + 16 * i + 12, 0, 4);
    }
    start(&d, 0, false);
    fill(&d, some, 1);
    desc(&d, RING, 0, LIST, 4, 0, 0);
    for (unsigned i = 1; i <= 10; i++) {
        store_le16(ram(&d, RING + AVAIL + 4 + 2 * SIZE), 4); /* tell me of the fifth */
        offer(&d, 0, 0);
        notify(&d, 0);
        g_assert_cmpuint(load_le16(ram(&d, RING + USED + 4 + 8 * SIZE)), ==, i); /* tell me of the next */
        g_assert_cmpuint(d.t.msis, ==, 1 + (i >= 5));                            /* the first is always told */
    }
    g_assert_cmphex(d.t.msi_data, ==, 0x41);
    virtio_balloon_set_target(d.t.p.balloon, 1 << 20);
    g_assert_cmpuint(d.t.msis, ==, 3);
    g_assert_cmphex(d.t.msi_data, ==, 0x40);
    g_assert_cmpuint(mem_load(&d.t, (uint32_t)BAR4 + CONFIG, 4), ==, 3 * 256);
    g_assert_cmpuint(common(&d, 0x15, 1), ==, 1);
    close_driver(&d);
}

/* What stands in a ring, looked at from outside. */
static void test_inspect(void)
{
    static const struct {
        uint16_t    head;
        unsigned    n; /* descriptors */
        uint64_t    addr;
        const char *why;
    } cases[] = {
        { 5, 3, LIST, NULL },
        { 1, 2, LIST + 64, NULL },
        { 3, SIZE, LIST, NULL }, /* leads to itself */
        { 4, 0, 0, "out of its table" },
        { SIZE, 0, 0, "out of its table" },
        { 6, 0, 0, "not in memory" },
    };
    Driver      d;
    VirtElement e     = {};
    g_auto(Error) err = {};
    open_pci(&d, "vectors=0");
    VirtQueue *q = &d.v->queues[2]; /* nothing is taken from it: statistics have not been asked for */
    g_assert_false(virtqueue_inspect(q, 0, &e, &err));
    g_assert_nonnull(strstr(err.text, "queue 2 is not set up"));
    virt_element_clear(&e);
    start(&d, VIRTIO_F_EVENT_IDX, false);
    const uint64_t table = RING + 2 * 0x4000;
    desc(&d, table, 5, LIST, 2, NEXT, 2);
    desc(&d, table, 2, LIST + 2, 10, NEXT, 7);
    desc(&d, table, 7, LIST + 12, 20, WRITE, 0);
    desc(&d, table, 1, TABLE, 32, INDIRECT, 0);
    desc(&d, TABLE, 0, LIST + 64, 4, NEXT, 1);
    desc(&d, TABLE, 1, LIST + 68, 4, 0, 0);
    desc(&d, table, 3, LIST, 4, NEXT, 3);
    desc(&d, table, 4, LIST, 4, NEXT, SIZE);
    desc(&d, table, 6, UINT64_C(1) << 40, 32, INDIRECT, 0);
    uint8_t *avail = ram(&d, table + AVAIL);
    store_le16(avail, 1);
    store_le16(avail + 2, 7);
    store_le16(ram(&d, table + USED + 2), 9);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        store_le16(avail + 4 + 2 * (i % SIZE), cases[i].head);
        error_clear(&err);
        bool ok = virtqueue_inspect(q, (int)(i + SIZE * (i % 2)), &e, &err);
        g_assert_cmpint(ok, ==, !cases[i].why);
        if (ok) {
            const VirtDesc *first = &g_array_index(e.descs, VirtDesc, 0);
            g_assert_cmpuint(e.head, ==, cases[i].head);
            g_assert_cmpuint(e.avail_flags, ==, 1);
            g_assert_cmpuint(e.avail_index, ==, 7);
            g_assert_cmpuint(e.used_flags, ==, 0);
            g_assert_cmpuint(e.used_index, ==, 9);
            g_assert_cmpuint(e.descs->len, ==, cases[i].n);
            g_assert_cmphex(first->addr, ==, cases[i].addr);
        } else {
            g_assert_nonnull(strstr(err.text, cases[i].why));
        }
        virt_element_clear(&e);
    }
    g_assert_true(virtqueue_inspect(q, -1, &e, &err)); /* the next one: entry 0 */
    g_assert_cmpuint(e.head, ==, 5);
    g_assert_cmphex(g_array_index(e.descs, VirtDesc, 2).flags, ==, WRITE);
    virt_element_clear(&e);
    g_assert_false(is_broken(&d));
    close_driver(&d);
}

static void packed_desc(Driver *d, unsigned q, unsigned n, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags)
{
    uint8_t *p = ram(d, RING + 0x4000 * q + 16 * n);
    store_le64(p, addr);
    store_le32(p + 8, len);
    store_le16(p + 12, id);
    store_le16(p + 14, flags);
}

static void test_packed(void)
{
    Driver d;
    open_pci(&d, "packed=on,vectors=0");
    start(&d, 0, true);
    unsigned at   = 0;
    bool     wrap = true;
    for (unsigned round = 0; round < 10; round++) {
        uint16_t available = wrap ? 0x80 : 0x8000;
        fill(&d, some, G_N_ELEMENTS(some));
        /* Three descriptors, then an indirect one. */
        for (unsigned i = 0; i < 3; i++) {
            packed_desc(&d, 0, at, LIST + (i ? 4 + 12 * (i - 1) : 0), i ? (i == 1 ? 12 : 16) : 4, 0x77,
                        (uint16_t)(available | (i < 2 ? NEXT : 0)));
            if (++at == SIZE) {
                at        = 0;
                wrap      = !wrap;
                available = wrap ? 0x80 : 0x8000;
            }
        }
        notify(&d, 0);
        check_pages(&d);
        fill(&d, some, G_N_ELEMENTS(some));
        store_le64(ram(&d, TABLE), LIST);
        store_le32(ram(&d, TABLE + 8), 32);
        store_le16(ram(&d, TABLE + 14), 0);
        packed_desc(&d, 0, at, TABLE, 16, 0x78, (uint16_t)(available | INDIRECT));
        unsigned mine = at;
        bool     lap  = wrap;
        if (++at == SIZE) {
            at   = 0;
            wrap = !wrap;
        }
        notify(&d, 0);
        check_pages(&d);
        g_assert_cmphex(load_le16(ram(&d, RING + 16 * mine + 14)) & 0x8080, ==, lap ? 0x8080 : 0);
        g_assert_cmphex(load_le16(ram(&d, RING + 16 * mine + 12)), ==, 0x78);
    }
    g_assert_false(is_broken(&d));
    test_save_load(d.dev);
    close_driver(&d);
}

static void test_queue_reset(void)
{
    Driver d;
    open_pci(&d, "");
    start(&d, 0, false);
    set_common(&d, 0x16, 1, 2);
    set_common(&d, 0x3a, 1, 2);
    g_assert_cmpuint(common(&d, 0x3a, 2), ==, 0);
    g_assert_cmpuint(common(&d, 0x1c, 2), ==, 0);
    g_assert_cmpuint(common(&d, 0x18, 2), ==, 128);
    set_common(&d, 0x18, 3, 2); /* no power of two */
    g_assert_cmpuint(common(&d, 0x18, 2), ==, 128);
    set_common(&d, 0x18, 256, 2);
    g_assert_cmpuint(common(&d, 0x18, 2), ==, 128);
    set_common(&d, 0x16, 9, 2); /* no such queue */
    g_assert_cmpuint(common(&d, 0x18, 2), ==, 0);
    set_common(&d, 0x1a, 1, 2);
    set_common(&d, 0x16, 0, 2);
    g_assert_cmpuint(common(&d, 0x1c, 2), ==, 1);
    set_common(&d, 0x1a, 4, 2); /* no such vector */
    g_assert_cmphex(common(&d, 0x1a, 2), ==, 0xffff);
    /* Features that were not offered are refused. */
    set_common(&d, 0x14, 0, 1);
    set_common(&d, 0x08, 0, 4);
    set_common(&d, 0x0c, 1 << 20, 4);
    set_common(&d, 0x14, 11, 1);
    g_assert_cmphex(common(&d, 0x14, 1), ==, 3);
    close_driver(&d);
}

/* ---- Rings that are wrong ---- */

typedef struct Wrong {
    const char *name;
    bool        packed;
    void (*make)(Driver *d);
} Wrong;

static void too_many(Driver *d)
{
    store_le16(ram(d, RING + AVAIL + 2), SIZE + 1);
}

static void bad_head(Driver *d)
{
    offer(d, 0, SIZE);
}

static void bad_next(Driver *d)
{
    desc(d, RING, 0, LIST, 4, NEXT, SIZE);
    offer(d, 0, 0);
}

static void loop(Driver *d)
{
    desc(d, RING, 0, LIST, 4, NEXT, 1);
    desc(d, RING, 1, LIST, 4, NEXT, 0);
    offer(d, 0, 0);
}

static void read_after_write(Driver *d)
{
    desc(d, RING, 0, LIST, 4, NEXT | WRITE, 1);
    desc(d, RING, 1, LIST, 4, 0, 0);
    offer(d, 0, 0);
}

static void not_memory(Driver *d)
{
    desc(d, RING, 0, 0x10000000, 4, 0, 0);
    offer(d, 0, 0);
}

static void beyond_the_end(Driver *d)
{
    desc(d, RING, 0, UINT64_MAX - 2, 8, 0, 0);
    offer(d, 0, 0);
}

static void indirect_size(Driver *d)
{
    desc(d, RING, 0, TABLE, 24, INDIRECT, 0);
    offer(d, 0, 0);
}

static void indirect_huge(Driver *d)
{
    desc(d, RING, 0, TABLE, 16 * 1025, INDIRECT, 0);
    offer(d, 0, 0);
}

static void indirect_twice(Driver *d)
{
    desc(d, TABLE, 0, TABLE, 16, INDIRECT, 0);
    desc(d, RING, 0, TABLE, 16, INDIRECT, 0);
    offer(d, 0, 0);
}

static void indirect_and_next(Driver *d)
{
    desc(d, TABLE, 0, LIST, 4, 0, 0);
    desc(d, RING, 0, TABLE, 16, INDIRECT | NEXT, 1);
    offer(d, 0, 0);
}

static void indirect_loop(Driver *d)
{
    desc(d, TABLE, 0, LIST, 4, NEXT, 0);
    desc(d, RING, 0, TABLE, 16, INDIRECT, 0);
    offer(d, 0, 0);
}

static void indirect_out(Driver *d)
{
    desc(d, TABLE, 0, LIST, 4, NEXT, 1);
    desc(d, RING, 0, TABLE, 16, INDIRECT, 0);
    offer(d, 0, 0);
}

static void packed_loop(Driver *d)
{
    for (unsigned i = 0; i < SIZE; i++) {
        packed_desc(d, 0, i, LIST, 4, 0, 0x80 | NEXT);
    }
}

static void packed_indirect(Driver *d)
{
    packed_desc(d, 0, 0, TABLE, 8, 0, 0x80 | INDIRECT);
}

static const Wrong wrongs[] = {
    { "too many buffers", false, too_many },
    { "a head outside", false, bad_head },
    { "a chain that leads out", false, bad_next },
    { "a loop", false, loop },
    { "to read behind to write", false, read_after_write },
    { "not memory", false, not_memory },
    { "beyond the end", false, beyond_the_end },
    { "indirect: odd size", false, indirect_size },
    { "indirect: too long", false, indirect_huge },
    { "indirect inside indirect", false, indirect_twice },
    { "indirect with next", false, indirect_and_next },
    { "indirect: a loop", false, indirect_loop },
    { "indirect: leads out", false, indirect_out },
    { "packed: a loop", true, packed_loop },
    { "packed indirect: odd size", true, packed_indirect },
};

static void test_wrong(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(wrongs); i++) {
        Driver d;
        g_test_message("%s", wrongs[i].name);
        open_pci(&d, wrongs[i].packed ? "packed=on,vectors=0" : "vectors=0");
        start(&d, 0, wrongs[i].packed);
        fill(&d, some, 1);
        wrongs[i].make(&d);
        notify(&d, 0);
        g_assert_true(is_broken(&d));
        g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + ISR, 1), ==, 2);
        notify(&d, 0);
        notify(&d, 1);
        g_assert_true(wrongs[i].packed || used(&d, 0) == 0);
        test_save_load(d.dev);
        /* A reset mends it. */
        set_common(&d, 0x14, 0, 1);
        g_assert_cmphex(common(&d, 0x14, 1), ==, 0);
        reset_all(&d);
        start(&d, VIRTIO_F_RING_PACKED, false);
        fill(&d, some, G_N_ELEMENTS(some));
        desc(&d, RING, 0, LIST, 32, 0, 0);
        offer(&d, 0, 0);
        notify(&d, 0);
        check_pages(&d);
        g_assert_false(is_broken(&d));
        close_driver(&d);
    }
}

/* Rings where there is no memory, and on odd addresses. */
static void test_lost_rings(void)
{
    static const struct {
        uint64_t desc, avail, used;
    } cases[] = {
        { 0x20000000, RING + AVAIL, RING + USED }, { RING, 0x20000000, RING + USED },
        { RING, RING + AVAIL, 0x20000000 },        { RING, RING + AVAIL, UINT64_MAX & ~UINT64_C(3) },
        { RING + 8, RING + AVAIL, RING + USED },   { RING, RING + AVAIL + 1, RING + USED },
        { RING, RING + AVAIL, RING + USED + 2 },   { UINT64_MAX & ~UINT64_C(15), RING + AVAIL, RING + USED },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Driver d;
        open_pci(&d, "");
        start(&d, 0, false);
        set_common(&d, 0x16, 0, 2);
        set_common(&d, 0x3a, 1, 2);
        set_common(&d, 0x18, SIZE, 2);
        set_common(&d, 0x20, cases[i].desc, 8);
        set_common(&d, 0x28, cases[i].avail, 8);
        set_common(&d, 0x30, cases[i].used, 8);
        set_common(&d, 0x1c, 1, 2);
        fill(&d, some, 2);
        desc(&d, RING, 0, LIST, 4, 0, 0);
        offer(&d, 0, 0);
        notify(&d, 0);
        g_assert_true(is_broken(&d));
        close_driver(&d);
    }
}

/* ---- The window in configuration space ---- */

static void test_window(void)
{
    Driver d;
    open_pci(&d, "vectors=0");
    start(&d, 0, false);
    uint8_t cap = d.pci->config[PCI_CAPABILITIES];
    while (cap && d.pci->config[cap + 3] != 5) {
        cap = d.pci->config[cap + 1];
    }
    g_assert_cmpuint(cap, !=, 0);
    pci_config_write(d.pci, cap + 4u, 4, 1);
    pci_config_write(d.pci, cap + 8u, COMMON + 0x12, 4);
    pci_config_write(d.pci, cap + 12u, 2, 4);
    g_assert_cmpuint(pci_config_read(d.pci, cap + 16u, 2), ==, 3);
    fill(&d, some, G_N_ELEMENTS(some));
    desc(&d, RING, 0, LIST, 32, 0, 0);
    offer(&d, 0, 0);
    pci_config_write(d.pci, cap + 8u, NOTIFY, 4);
    pci_config_write(d.pci, cap + 16u, 0, 2);
    check_pages(&d);
    /* Nonsense does nothing. */
    for (unsigned i = 0; i < 20; i++) {
        pci_config_write(d.pci, cap + 4u, i % 3 ? 4 : i, 1);
        pci_config_write(d.pci, cap + 8u, i % 2 ? 0xffffffff - i : i * 3, 4);
        pci_config_write(d.pci, cap + 12u, i, 4);
        pci_config_write(d.pci, cap + 16u, 0xffffffff, 4);
        pci_config_read(d.pci, cap + 16u, 4);
    }
    close_driver(&d);
}

/* ---- Legacy ---- */

static void test_legacy(void)
{
    Driver d;
    open_pci(&d, "vectors=0");
    out8(&d.t, PORTS + 18, 3);
    g_assert_cmphex(in32(&d.t, PORTS), ==, (uint32_t)virtio_features(d.v, true));
    out32(&d.t, PORTS + 4, 1 << 1 | 1 << 28 | 1 << 20); /* one of them was not offered */
    g_assert_cmphex(in32(&d.t, PORTS + 4), ==, 1 << 1 | 1 << 28);
    out16(&d.t, PORTS + 14, 0);
    g_assert_cmpuint(in16(&d.t, PORTS + 12), ==, 128);
    out32(&d.t, PORTS + 8, RING >> 12);
    out8(&d.t, PORTS + 18, 7);
    fill(&d, some, G_N_ELEMENTS(some));
    desc(&d, RING, 0, LIST, 32, 0, 0);
    store_le16(ram(&d, RING + 128 * 16 + 4), 0);
    store_le16(ram(&d, RING + 128 * 16 + 2), 1);
    out16(&d.t, PORTS + 16, 0);
    check_pages(&d);
    g_assert_cmpuint(load_le16(ram(&d, RING + 0x1000 + 2)), ==, 1);
    g_assert_cmphex(in8(&d.t, PORTS + 19), ==, 1);
    virtio_balloon_set_target(d.t.p.balloon, 3 << 20);
    g_assert_cmpuint(in32(&d.t, PORTS + 20), ==, 256);
    g_assert_cmphex(in8(&d.t, PORTS + 19), ==, 2);
    out32(&d.t, PORTS + 24, 100);
    g_assert_cmpuint(virtio_balloon_actual(d.t.p.balloon), ==, TEST_RAM_SIZE - 100 * 4096);
    test_save_load(d.dev);
    out32(&d.t, PORTS + 8, 0);
    g_assert_cmphex(in8(&d.t, PORTS + 18), ==, 0);
    close_driver(&d);
}

/* ---- Memory-mapped ---- */

static void test_mmio(void)
{
    for (unsigned legacy = 0; legacy < 2; legacy++) {
        g_auto(Error) err = {};
        Driver  d;
        TestPin irq;
        open_platform(&d);
        test_pin_init(&irq);
        if (!legacy) {
            device_add_global(&d.t.p, "virtio-mmio", "force-legacy", "off", &err);
        }
        g_assert_nonnull(virtio_mmio_create(&d.t.p, 0, (uint32_t)PLACE, &irq.pin, &err));
        d.dev = create(&d, "virtio-balloon-device");
        /* The place is taken. */
        g_autoptr(Json) options = optstr_parse("virtio-balloon-device", "driver", &err);
        g_assert_null(device_create(&d.t.p, options, true, &err));
        g_assert_nonnull(strstr(err.text, "has a device already"));
        d.v = &d.t.p.balloon->virtio;
        reset_all(&d);
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
        fill(&d, some, G_N_ELEMENTS(some));
        desc(&d, RING, 0, LIST, 32, 0, 0);
        store_le16(ram(&d, RING + 16 * SIZE + 2), 1);
        mem_store(&d.t, at + 0x50, 0, 4);
        check_pages(&d);
        g_assert_cmpint(irq.level, ==, 1);
        g_assert_cmphex(mem_load(&d.t, at + 0x60, 4), ==, 1);
        mem_store(&d.t, at + 0x64, 1, 4);
        g_assert_cmpint(irq.level, ==, 0);
        mem_store(&d.t, at + 0x100 + 4, 7, 4);
        g_assert_cmpuint(mem_load(&d.t, at + 0x104, 1), ==, 7);
        test_save_load(d.dev);
        close_driver(&d);
    }
}

/* ---- Statistics ---- */

static void test_statistics(void)
{
    g_auto(Error) err = {};
    Driver d;
    open_pci(&d, "guest-stats-polling-interval=2");
    start(&d, VIRTIO_F_EVENT_IDX, false);
    static const uint64_t values[][2] = { { 4, 1000 }, { 5, 2000 }, { 77, 1 }, { 4, 3000 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
        store_le16(ram(&d, LIST + 10 * i), (uint16_t)values[i][0]);
        store_le64(ram(&d, LIST + 10 * i + 2), values[i][1]);
    }
    desc(&d, RING + 0x8000, 0, LIST, 40, 0, 0);
    offer(&d, 2, 0);
    notify(&d, 2);
    g_assert_cmpuint(used(&d, 2), ==, 0);
    g_autoptr(Json) stats = object_get(&d.dev->obj, "guest-stats", &err);
    const Json *inner     = json_get(stats, "stats");
    g_assert_cmpint(json_get(inner, "stat-free-memory")->integer, ==, 3000);
    g_assert_cmpint(json_get(inner, "stat-total-memory")->integer, ==, 2000);
    g_assert_cmpint(json_get(inner, "stat-swap-in")->kind, ==, JSON_UINT);
    test_step(&d.t, 3 * NS_PER_SECOND);
    g_assert_cmpuint(used(&d, 2), ==, 1);
    test_step(&d.t, 3 * NS_PER_SECOND);
    g_assert_cmpuint(used(&d, 2), ==, 1);
    offer(&d, 2, 0);
    notify(&d, 2);
    test_save_load(d.dev);
    close_driver(&d);
}

/* ---- virtio-mem, virtio-pmem ---- */

enum { REQUEST = 0x94000, ANSWER = 0x98000 };
#define MEMORY (4 * GiB)

static void open_memory(Driver *d, const char *backend, const char *device)
{
    g_auto(Error) err = {};
    open_platform(d);
    d->t.p.memory_devices   = memory_devices_new(&d->t.p, MEMORY, GiB, 64 * MiB, 0, 1);
    g_autoptr(Json) options = optstr_parse(backend, "qom-type", &err);
    if (!object_create_user(d->t.p.objects, options, true, &err)) {
        g_error("%s", err.text);
    }
    d->dev = create(d, device);
    d->pci = (PciDevice *)d->dev;
    d->v   = ((VirtioPci *)d->dev)->virtio;
    reset_all(d);
    start(d, 0, false);
}

static void close_memory(Driver *d)
{
    MemoryDevices *all = d->t.p.memory_devices;
    devices_free(&d->t.p);
    d->t.p.memory_devices = NULL;
    memory_devices_free(all);
    close_driver(d);
}

static uint64_t plugged_now(Driver *d)
{
    return memory_devices_plugged(d->t.p.memory_devices);
}

static unsigned request(Driver *d, uint16_t type, uint64_t block, uint16_t n)
{
    store_le64(ram(d, REQUEST), type);
    store_le64(ram(d, REQUEST + 8), MEMORY + block * 2 * MiB);
    store_le64(ram(d, REQUEST + 16), n);
    memset(ram(d, ANSWER), 0xee, 16);
    desc(d, RING, 0, REQUEST, 24, NEXT, 1);
    desc(d, RING, 1, ANSWER, 10, WRITE, 0);
    offer(d, 0, 0);
    notify(d, 0);
    return load_le16(ram(d, ANSWER));
}

static unsigned state(Driver *d, uint64_t block, uint16_t n)
{
    g_assert_cmpuint(request(d, 3, block, n), ==, 0);
    return load_le16(ram(d, ANSWER + 8));
}

static void test_mem(void)
{
    enum { ACK, NACK, BUSY, ERROR };
    enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
    g_auto(Error) err = {};
    Driver d;
    open_memory(&d, "memory-backend-ram,id=m,size=32M", "virtio-mem-pci,id=v,memdev=m,requested-size=8M");
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG, 4), ==, 2 * MiB);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 20, 4), ==, 1);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 24, 4), ==, 32 * MiB);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 48, 4), ==, 8 * MiB);
    g_assert_cmpuint(state(&d, 0, 16), ==, 1);
    g_assert_cmpuint(request(&d, PLUG, 1, 3), ==, ACK);
    g_assert_cmpuint(plugged_now(&d), ==, 6 * MiB);
    g_assert_cmpuint(request(&d, PLUG, 3, 1), ==, ERROR); /* it is plugged */
    g_assert_cmpuint(request(&d, PLUG, 3, 2), ==, ERROR); /* one of them is */
    g_assert_cmpuint(request(&d, PLUG, 4, 2), ==, NACK);  /* more than requested */
    g_assert_cmpuint(request(&d, PLUG, 15, 2), ==, ERROR);
    g_assert_cmpuint(request(&d, PLUG, 0, 0), ==, ERROR);
    g_assert_cmpuint(request(&d, PLUG, UINT64_MAX / 2 / MiB, 1), ==, ERROR);
    g_assert_cmpuint(request(&d, 4, 0, 1), ==, ERROR);
    g_assert_cmpuint(request(&d, STATE, 16, 1), ==, ERROR);
    g_assert_cmpuint(state(&d, 1, 3), ==, 0);
    g_assert_cmpuint(state(&d, 0, 3), ==, 2);
    /* What is unplugged is gone, and code that was found in it. */
    MemTarget t = address_space_lookup(d.t.p.memory_space, MEMORY + 2 * MiB);
    mem_store(&d.t, MEMORY + 2 * MiB + 0x2000, 0x1234, 8);
    ram_block_mark_code(t.ram, t.ram_offset + 0x2000, 16);
    uint32_t gen = ram_block_page(t.ram, t.ram_offset + 0x2000)->code_gen;
    g_assert_cmpuint(request(&d, UNPLUG, 0, 2), ==, ERROR);
    g_assert_cmpuint(request(&d, UNPLUG, 1, 1), ==, ACK);
    g_assert_cmphex(mem_load(&d.t, MEMORY + 2 * MiB + 0x2000, 8), ==, 0);
    g_assert_cmpuint(ram_block_page(t.ram, t.ram_offset + 0x2000)->code_gen, ==, gen + 1);
    g_assert_cmpuint(plugged_now(&d), ==, 4 * MiB);
    /* The request changes. */
    g_autoptr(Json) more = json_new_string("32M");
    g_assert_true(object_set(&d.dev->obj, "requested-size", more, true, &err));
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 48, 4), ==, 32 * MiB);
    g_assert_cmpuint(request(&d, PLUG, 4, 12), ==, ACK);
    static const char *const wrong[] = { "34M", "1M", "x" };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(Json) value = json_new_string(wrong[i]);
        g_assert_false(object_set(&d.dev->obj, "requested-size", value, true, &err));
        error_clear(&err);
    }
    test_save_load(d.dev);
    g_assert_cmpuint(plugged_now(&d), ==, 28 * MiB);
    /* The driver's reset leaves what is plugged, the machine's does not. */
    set_common(&d, 0x14, 0, 1);
    g_assert_cmpuint(plugged_now(&d), ==, 28 * MiB);
    reset_all(&d);
    g_assert_cmpuint(plugged_now(&d), ==, 0);
    start(&d, 0, false);
    g_assert_cmpuint(request(&d, PLUG, 0, 16), ==, ACK);
    g_assert_cmpuint(request(&d, UNPLUG_ALL, 0, 0), ==, ACK);
    g_assert_cmpuint(plugged_now(&d), ==, 0);
    /* A request that is too short breaks the rules. */
    desc(&d, RING, 0, REQUEST, 23, NEXT, 1);
    offer(&d, 0, 0);
    notify(&d, 0);
    g_assert_true(is_broken(&d));
    close_memory(&d);
}

static void test_mem_refused(void)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "virtio-mem-pci,memdev=x", "no memory backend 'x'" },
        { "virtio-mem-pci,memdev=m,block-size=3M", "power of two" },
        { "virtio-mem-pci,memdev=m,block-size=512K", "1 MiB at least" },
        { "virtio-mem-pci,memdev=m,block-size=16M", "no multiple of it" },
        { "virtio-mem-pci,memdev=m,requested-size=64M", "the memory backend has 24 MiB" },
        { "virtio-mem-pci,memdev=m,requested-size=1M", "multiple of block-size=2 MiB" },
        { "virtio-mem-pci,memdev=m,node=1", "there are nodes 0 to 0" },
        { "virtio-mem-pci,memdev=m,memaddr=0x100100000", "multiple of 0x200000" },
        { "virtio-mem-pci,memdev=m,memaddr=0x1000000", "memory devices lie at" },
        { "virtio-mem-pci,memdev=m,dynamic-memslots=on", "not supported yet" },
        { "virtio-mem-pci,memdev=m,disable-legacy=off", "no property 'disable-legacy'" },
        { "virtio-mem-pci", "memdev" },
        { "virtio-pmem-pci,memdev=m,memaddr=0x100000001", "multiple of" },
        { "virtio-pmem-pci,memdev=big", "no room for 80 MiB" },
    };
    Driver d;
    g_auto(Error) err = {};
    open_memory(&d, "memory-backend-ram,id=other,size=2M", "virtio-pmem-pci,memdev=other");
    d.t.p.started = false;
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(Json) options = optstr_parse(
            i ? "memory-backend-ram,id=m,size=24M" : "memory-backend-ram,id=big,size=80M", "qom-type", &err);
        g_assert_true(object_create_user(d.t.p.objects, options, true, &err));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(Json) options = optstr_parse(cases[i].text, "driver", &err);
        g_assert_null(device_create(&d.t.p, options, true, &err));
        if (!strstr(err.text, cases[i].why)) {
            g_error("%s: %s", cases[i].text, err.text);
        }
        error_clear(&err);
        g_assert_cmpuint(memory_devices_room_used(d.t.p.memory_devices), ==, 2 * MiB);
    }
    close_memory(&d);
}

static void test_pmem(void)
{
    Driver d;
    open_memory(&d, "memory-backend-memfd,id=m,size=4M", "virtio-pmem-pci,memdev=m");
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 4, 4), ==, 1);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 8, 4), ==, 4 * MiB);
    for (unsigned i = 0; i < 3; i++) {
        store_le32(ram(&d, REQUEST), i == 1);
        store_le32(ram(&d, ANSWER), 77);
        desc(&d, RING, 0, REQUEST, 4, NEXT, 1);
        desc(&d, RING, 1, ANSWER, 4, WRITE, 0);
        offer(&d, 0, 0);
        notify(&d, 0);
        for (unsigned n = 0; n < 1000 && used(&d, 0) == i; n++) {
            loop_step(d.t.p.loop, true);
        }
        g_assert_cmpuint(used(&d, 0), ==, i + 1);
        g_assert_cmpuint(load_le32(ram(&d, ANSWER)), ==, i == 1);
    }
    /* A reset while one is under way. */
    store_le32(ram(&d, REQUEST), 0);
    offer(&d, 0, 0);
    notify(&d, 0);
    set_common(&d, 0x14, 0, 1);
    reset_all(&d);
    start(&d, 0, false);
    desc(&d, RING, 0, REQUEST, 4, NEXT, 1);
    desc(&d, RING, 1, ANSWER, 4, WRITE, 0);
    offer(&d, 0, 0);
    notify(&d, 0);
    for (unsigned n = 0; n < 1000 && !used(&d, 0); n++) {
        loop_step(d.t.p.loop, true);
    }
    g_assert_cmpuint(used(&d, 0), ==, 1);
    test_save_load(d.dev);
    close_memory(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio/identity", test_identity);
    g_test_add_func("/virtio/refused", test_refused);
    g_test_add_func("/virtio/split", test_split);
    g_test_add_func("/virtio/event-index", test_event_index);
    g_test_add_func("/virtio/inspect", test_inspect);
    g_test_add_func("/virtio/packed", test_packed);
    g_test_add_func("/virtio/queue-reset", test_queue_reset);
    g_test_add_func("/virtio/wrong", test_wrong);
    g_test_add_func("/virtio/lost-rings", test_lost_rings);
    g_test_add_func("/virtio/window", test_window);
    g_test_add_func("/virtio/legacy", test_legacy);
    g_test_add_func("/virtio/mmio", test_mmio);
    g_test_add_func("/virtio/statistics", test_statistics);
    g_test_add_func("/virtio/mem", test_mem);
    g_test_add_func("/virtio/mem-refused", test_mem_refused);
    g_test_add_func("/virtio/pmem", test_pmem);
    return g_test_run();
}
