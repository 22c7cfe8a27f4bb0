/* Virtio rings, good and bad, by what a balloon makes of them. The driver is virtio_rig.c. */

#include "virtio_rig.h"

#include "base/bytes.h"

/* ---- Rings that are right ---- */

static void test_split(void)
{
    Driver d;
    driver_open_pci(&d, "vectors=0");
    driver_start(&d, VIRTIO_F_EVENT_IDX, false);
    /* One buffer in three pieces, the first number cut in two. */
    balloon_fill(&d, balloon_pages, G_N_ELEMENTS(balloon_pages));
    driver_desc(&d, RING, 5, LIST, 2, NEXT, 2);
    driver_desc(&d, RING, 2, LIST + 2, 10, NEXT, 7);
    driver_desc(&d, RING, 7, LIST + 12, 20, 0, 0);
    driver_offer(&d, 0, 5);
    driver_notify(&d, 0);
    balloon_check(&d);
    g_assert_cmpuint(driver_used(&d, 0), ==, 1);
    g_assert_cmpuint(load_le32(driver_ram(&d, RING + USED + 4)), ==, 5);
    g_assert_true(d.pci->irq_driven);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + ISR, 1), ==, 1);
    g_assert_false(d.pci->irq_driven);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + ISR, 1), ==, 0);
    /* An indirect one, by a notification that the driver does not want to be answered. */
    balloon_fill(&d, balloon_pages, G_N_ELEMENTS(balloon_pages));
    driver_desc(&d, TABLE, 0, LIST, 4, NEXT, 2);
    driver_desc(&d, TABLE, 2, LIST + 4, 28, 0, 0);
    driver_desc(&d, RING, 1, TABLE, 48, INDIRECT, 0);
    store_le16(driver_ram(&d, RING + AVAIL), 1);
    driver_offer(&d, 0, 1);
    driver_notify(&d, 0);
    balloon_check(&d);
    g_assert_false(d.pci->irq_driven);
    /* More than the ring has entries, in rounds. */
    for (unsigned i = 0; i < 5 * SIZE; i++) {
        driver_desc(&d, RING, i % SIZE, LIST, 4, 0, 0);
        driver_offer(&d, 0, (uint16_t)(i % SIZE));
        if (i % 3 == 0) {
            driver_notify(&d, 0);
        }
    }
    driver_notify(&d, 0);
    g_assert_cmpuint(driver_used(&d, 0), ==, d.avail[0]);
    g_assert_false(driver_is_broken(&d));
    test_save_load(d.dev);
    driver_close(&d);
}

static void test_event_index(void)
{
    Driver d;
    driver_open_pci(&d, "");
    pci_config_write(d.pci, pci_find_capability(d.pci, PCI_CAP_MSIX) + 2u, 0x8000, 2);
    for (unsigned i = 0; i < 4; i++) {
        mem_store(&d.t, (uint32_t)BAR1 + 16 * i, 0xfee00000, 8);
        mem_store(&d.t, (uint32_t)BAR1 + 16 * i + 8, 0x40 + i, 4);
        mem_store(&d.t, (uint32_t)BAR1 + 16 * i + 12, 0, 4);
    }
    driver_start(&d, 0, false);
    balloon_fill(&d, balloon_pages, 1);
    driver_desc(&d, RING, 0, LIST, 4, 0, 0);
    for (unsigned i = 1; i <= 10; i++) {
        store_le16(driver_ram(&d, RING + AVAIL + 4 + 2 * SIZE), 4); /* tell me of the fifth */
        driver_offer(&d, 0, 0);
        driver_notify(&d, 0);
        g_assert_cmpuint(load_le16(driver_ram(&d, RING + USED + 4 + 8 * SIZE)), ==, i); /* tell me of the next */
        g_assert_cmpuint(d.t.msis, ==, 1 + (i >= 5));                                   /* the first is always told */
    }
    g_assert_cmphex(d.t.msi_data, ==, 0x41);
    virtio_balloon_set_target(d.t.p.balloon, 1 << 20);
    g_assert_cmpuint(d.t.msis, ==, 3);
    g_assert_cmphex(d.t.msi_data, ==, 0x40);
    g_assert_cmpuint(mem_load(&d.t, (uint32_t)BAR4 + CONFIG, 4), ==, 3 * 256);
    g_assert_cmpuint(driver_get(&d, 0x15, 1), ==, 1);
    driver_close(&d);
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
    driver_open_pci(&d, "vectors=0");
    VirtQueue *q = &d.v->queues[2]; /* nothing is taken from it: statistics have not been asked for */
    g_assert_false(virtqueue_inspect(q, 0, &e, &err));
    g_assert_nonnull(strstr(err.text, "queue 2 is not set up"));
    virt_element_clear(&e);
    driver_start(&d, VIRTIO_F_EVENT_IDX, false);
    const uint64_t table = RING + 2 * 0x4000;
    driver_desc(&d, table, 5, LIST, 2, NEXT, 2);
    driver_desc(&d, table, 2, LIST + 2, 10, NEXT, 7);
    driver_desc(&d, table, 7, LIST + 12, 20, WRITE, 0);
    driver_desc(&d, table, 1, TABLE, 32, INDIRECT, 0);
    driver_desc(&d, TABLE, 0, LIST + 64, 4, NEXT, 1);
    driver_desc(&d, TABLE, 1, LIST + 68, 4, 0, 0);
    driver_desc(&d, table, 3, LIST, 4, NEXT, 3);
    driver_desc(&d, table, 4, LIST, 4, NEXT, SIZE);
    driver_desc(&d, table, 6, UINT64_C(1) << 40, 32, INDIRECT, 0);
    uint8_t *avail = driver_ram(&d, table + AVAIL);
    store_le16(avail, 1);
    store_le16(avail + 2, 7);
    store_le16(driver_ram(&d, table + USED + 2), 9);
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
    g_assert_false(driver_is_broken(&d));
    driver_close(&d);
}

static void packed_desc(Driver *d, unsigned q, unsigned n, uint64_t addr, uint32_t len, uint16_t id, uint16_t flags)
{
    uint8_t *p = driver_ram(d, RING + 0x4000 * q + 16 * n);
    store_le64(p, addr);
    store_le32(p + 8, len);
    store_le16(p + 12, id);
    store_le16(p + 14, flags);
}

static void test_packed(void)
{
    Driver d;
    driver_open_pci(&d, "packed=on,vectors=0");
    driver_start(&d, 0, true);
    unsigned at   = 0;
    bool     wrap = true;
    for (unsigned round = 0; round < 10; round++) {
        uint16_t available = wrap ? 0x80 : 0x8000;
        balloon_fill(&d, balloon_pages, G_N_ELEMENTS(balloon_pages));
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
        driver_notify(&d, 0);
        balloon_check(&d);
        balloon_fill(&d, balloon_pages, G_N_ELEMENTS(balloon_pages));
        store_le64(driver_ram(&d, TABLE), LIST);
        store_le32(driver_ram(&d, TABLE + 8), 32);
        store_le16(driver_ram(&d, TABLE + 14), 0);
        packed_desc(&d, 0, at, TABLE, 16, 0x78, (uint16_t)(available | INDIRECT));
        unsigned mine = at;
        bool     lap  = wrap;
        if (++at == SIZE) {
            at   = 0;
            wrap = !wrap;
        }
        driver_notify(&d, 0);
        balloon_check(&d);
        g_assert_cmphex(load_le16(driver_ram(&d, RING + 16 * mine + 14)) & 0x8080, ==, lap ? 0x8080 : 0);
        g_assert_cmphex(load_le16(driver_ram(&d, RING + 16 * mine + 12)), ==, 0x78);
    }
    g_assert_false(driver_is_broken(&d));
    test_save_load(d.dev);
    driver_close(&d);
}

static void test_queue_reset(void)
{
    Driver d;
    driver_open_pci(&d, "");
    driver_start(&d, 0, false);
    driver_set(&d, 0x16, 1, 2);
    driver_set(&d, 0x3a, 1, 2);
    g_assert_cmpuint(driver_get(&d, 0x3a, 2), ==, 0);
    g_assert_cmpuint(driver_get(&d, 0x1c, 2), ==, 0);
    g_assert_cmpuint(driver_get(&d, 0x18, 2), ==, 128);
    driver_set(&d, 0x18, 3, 2); /* no power of two */
    g_assert_cmpuint(driver_get(&d, 0x18, 2), ==, 128);
    driver_set(&d, 0x18, 256, 2);
    g_assert_cmpuint(driver_get(&d, 0x18, 2), ==, 128);
    driver_set(&d, 0x16, 9, 2); /* no such queue */
    g_assert_cmpuint(driver_get(&d, 0x18, 2), ==, 0);
    driver_set(&d, 0x1a, 1, 2);
    driver_set(&d, 0x16, 0, 2);
    g_assert_cmpuint(driver_get(&d, 0x1c, 2), ==, 1);
    driver_set(&d, 0x1a, 4, 2); /* no such vector */
    g_assert_cmphex(driver_get(&d, 0x1a, 2), ==, 0xffff);
    /* Features that were not offered are refused. */
    driver_set(&d, 0x14, 0, 1);
    driver_set(&d, 0x08, 0, 4);
    driver_set(&d, 0x0c, 1 << 20, 4);
    driver_set(&d, 0x14, 11, 1);
    g_assert_cmphex(driver_get(&d, 0x14, 1), ==, 3);
    driver_close(&d);
}

/* ---- Rings that are wrong ---- */

typedef struct Wrong {
    const char *name;
    bool        packed;
    void (*make)(Driver *d);
} Wrong;

static void too_many(Driver *d)
{
    store_le16(driver_ram(d, RING + AVAIL + 2), SIZE + 1);
}

static void bad_head(Driver *d)
{
    driver_offer(d, 0, SIZE);
}

static void bad_next(Driver *d)
{
    driver_desc(d, RING, 0, LIST, 4, NEXT, SIZE);
    driver_offer(d, 0, 0);
}

static void loop(Driver *d)
{
    driver_desc(d, RING, 0, LIST, 4, NEXT, 1);
    driver_desc(d, RING, 1, LIST, 4, NEXT, 0);
    driver_offer(d, 0, 0);
}

static void read_after_write(Driver *d)
{
    driver_desc(d, RING, 0, LIST, 4, NEXT | WRITE, 1);
    driver_desc(d, RING, 1, LIST, 4, 0, 0);
    driver_offer(d, 0, 0);
}

static void not_memory(Driver *d)
{
    driver_desc(d, RING, 0, 0x10000000, 4, 0, 0);
    driver_offer(d, 0, 0);
}

static void beyond_the_end(Driver *d)
{
    driver_desc(d, RING, 0, UINT64_MAX - 2, 8, 0, 0);
    driver_offer(d, 0, 0);
}

static void indirect_size(Driver *d)
{
    driver_desc(d, RING, 0, TABLE, 24, INDIRECT, 0);
    driver_offer(d, 0, 0);
}

static void indirect_huge(Driver *d)
{
    driver_desc(d, RING, 0, TABLE, 16 * 1025, INDIRECT, 0);
    driver_offer(d, 0, 0);
}

static void indirect_twice(Driver *d)
{
    driver_desc(d, TABLE, 0, TABLE, 16, INDIRECT, 0);
    driver_desc(d, RING, 0, TABLE, 16, INDIRECT, 0);
    driver_offer(d, 0, 0);
}

static void indirect_and_next(Driver *d)
{
    driver_desc(d, TABLE, 0, LIST, 4, 0, 0);
    driver_desc(d, RING, 0, TABLE, 16, INDIRECT | NEXT, 1);
    driver_offer(d, 0, 0);
}

static void indirect_loop(Driver *d)
{
    driver_desc(d, TABLE, 0, LIST, 4, NEXT, 0);
    driver_desc(d, RING, 0, TABLE, 16, INDIRECT, 0);
    driver_offer(d, 0, 0);
}

static void indirect_out(Driver *d)
{
    driver_desc(d, TABLE, 0, LIST, 4, NEXT, 1);
    driver_desc(d, RING, 0, TABLE, 16, INDIRECT, 0);
    driver_offer(d, 0, 0);
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
        driver_open_pci(&d, wrongs[i].packed ? "packed=on,vectors=0" : "vectors=0");
        driver_start(&d, 0, wrongs[i].packed);
        balloon_fill(&d, balloon_pages, 1);
        wrongs[i].make(&d);
        driver_notify(&d, 0);
        g_assert_true(driver_is_broken(&d));
        g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + ISR, 1), ==, 2);
        driver_notify(&d, 0);
        driver_notify(&d, 1);
        g_assert_true(wrongs[i].packed || driver_used(&d, 0) == 0);
        test_save_load(d.dev);
        /* A reset mends it. */
        driver_set(&d, 0x14, 0, 1);
        g_assert_cmphex(driver_get(&d, 0x14, 1), ==, 0);
        driver_reset(&d);
        driver_start(&d, VIRTIO_F_RING_PACKED, false);
        balloon_fill(&d, balloon_pages, G_N_ELEMENTS(balloon_pages));
        driver_desc(&d, RING, 0, LIST, 32, 0, 0);
        driver_offer(&d, 0, 0);
        driver_notify(&d, 0);
        balloon_check(&d);
        g_assert_false(driver_is_broken(&d));
        driver_close(&d);
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
        driver_open_pci(&d, "");
        driver_start(&d, 0, false);
        driver_set(&d, 0x16, 0, 2);
        driver_set(&d, 0x3a, 1, 2);
        driver_set(&d, 0x18, SIZE, 2);
        driver_set(&d, 0x20, cases[i].desc, 8);
        driver_set(&d, 0x28, cases[i].avail, 8);
        driver_set(&d, 0x30, cases[i].used, 8);
        driver_set(&d, 0x1c, 1, 2);
        balloon_fill(&d, balloon_pages, 2);
        driver_desc(&d, RING, 0, LIST, 4, 0, 0);
        driver_offer(&d, 0, 0);
        driver_notify(&d, 0);
        g_assert_true(driver_is_broken(&d));
        driver_close(&d);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio/split", test_split);
    g_test_add_func("/virtio/event-index", test_event_index);
    g_test_add_func("/virtio/inspect", test_inspect);
    g_test_add_func("/virtio/packed", test_packed);
    g_test_add_func("/virtio/queue-reset", test_queue_reset);
    g_test_add_func("/virtio/wrong", test_wrong);
    g_test_add_func("/virtio/lost-rings", test_lost_rings);
    return g_test_run();
}
