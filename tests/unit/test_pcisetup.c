/* PCI set-up for direct boot: addresses without overlap, inside the windows, also behind bridges; interrupt lines. */

#include "devices/pci/piix3.h"
#include "machine/pcisetup.h"
#include "platform.h"

/* ---- Functions to set up ---- */

typedef struct Card {
    PciDevice pci;
    Region    small, large, ports;
    uint64_t  large_size;
} Card;

static uint64_t no_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0;
}

static void no_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const IoOps ops = { .name = "card", .access = IO_ANY, .read = no_read, .write = no_write };

static const Field card_properties[] = { PCI_PROPERTIES(Card, pci),
                                         FIELD(Card, large_size, "large", .initial = 1 << 20),
                                         {} };
static const Field card_state[]      = { PCI_STATE(Card, pci), {} };

static const PciDeviceInfo card_info = {
    .vendor_id = 0x1234, .device_id = 1, .class_code = 0xff0000, .interrupt_pin = 1
};

static bool card_realize(Device *dev, Error *err)
{
    Card *c = (Card *)dev;
    region_init_io(&c->small, dev->platform->memory, "small", 0x1000, &ops, c);
    region_init_container(&c->large, dev->platform->memory, "large", c->large_size);
    region_init_io(&c->ports, dev->platform->memory, "ports", 0x40, &ops, c);
    pci_add_bar(&c->pci, 0, PCI_BAR_MEM32, false, &c->small);
    pci_add_bar(&c->pci, 1, PCI_BAR_IO, false, &c->ports);
    pci_add_bar(&c->pci, 2, PCI_BAR_MEM64, true, &c->large);
    return true;
}

static void card_unrealize(Device *dev)
{
    Card *c = (Card *)dev;
    region_destroy(&c->small);
    region_destroy(&c->large);
    region_destroy(&c->ports);
}

DEVICE_TYPE(card) = {
    .name       = "test-card",
    .help       = "for a test",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(Card),
    .bus        = BUS_PCI,
    .bus_info   = &card_info,
    .properties = card_properties,
    .state      = card_state,
    .realize    = card_realize,
    .unrealize  = card_unrealize,
    .reset      = pci_device_reset,
    .post_load  = pci_device_post_load,
};

typedef struct Bridge {
    PciDevice pci;
    Region    memory, io;
    PciBus   *bus;
} Bridge;

static const Field         bridge_properties[] = { PCI_PROPERTIES(Bridge, pci), {} };
static const Field         bridge_state[]      = { PCI_STATE(Bridge, pci), {} };
static const PciDeviceInfo bridge_info         = {
            .vendor_id = 0x1234, .device_id = 2, .class_code = 0x060400, .bridge = true
};

static bool bridge_realize(Device *dev, Error *err)
{
    Bridge   *b = (Bridge *)dev;
    Platform *p = dev->platform;
    region_init_container(&b->memory, p->memory, "bridge", UINT64_MAX);
    region_init_container(&b->io, p->memory, "bridge-io", 0x10000);
    b->bus = pci_bus_new(p, "pci.1", dev, &b->memory, &b->io, p->system_memory, NULL);
    return true;
}

static void bridge_unrealize(Device *dev)
{
    Bridge *b = (Bridge *)dev;
    pci_bus_free(b->bus);
    region_destroy(&b->memory);
    region_destroy(&b->io);
}

DEVICE_TYPE(bridge) = {
    .name       = "test-bridge",
    .help       = "for a test",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(Bridge),
    .bus        = BUS_PCI,
    .bus_info   = &bridge_info,
    .properties = bridge_properties,
    .state      = bridge_state,
    .realize    = bridge_realize,
    .unrealize  = bridge_unrealize,
    .reset      = pci_device_reset,
    .post_load  = pci_device_post_load,
};

/* ---- Tests ---- */

typedef struct Rig {
    TestPlatform t;
    PciHost     *host;
} Rig;

static const PciWindows windows = { .io_first    = 0xc000,
                                    .io_last     = 0xffff,
                                    .mem_first   = 0xe0000000,
                                    .mem_last    = 0xfebfffff,
                                    .mem64_first = 0x800000000,
                                    .mem64_last  = 0xfffffffff };

static void open_rig(Rig *r)
{
    g_auto(Error) err = { 0 };
    *r                = (Rig){ 0 };
    test_platform_open(&r->t);
    r->host = i440fx_create(&r->t.p, &r->t.ram_region, &err);
    g_assert_nonnull(r->host);
    g_assert_nonnull(piix3_create(&r->t.p, r->host, &err));
}

static Card *add_card(Rig *r, PciBus *bus, unsigned slot, uint64_t large)
{
    g_auto(Error) err = { 0 };
    Card *c           = device_new(&r->t.p, "test-card");
    c->pci.addr       = 1 + PCI_DEVFN(slot, 0);
    c->large_size     = large;
    g_assert_true(device_realize(&c->pci.dev, pci_bus_base(bus), &err));
    return c;
}

static void run(Rig *r)
{
    devices_reset(&r->t.p, RESET_COLD);
    pci_setup(r->host->bus, &windows, &pc_i440fx_wiring, r->t.p.log);
}

/* Each BAR has its address, naturally aligned; `first` to `last` is what its bus may use. */
static void check_card(const Card *c, uint64_t first, uint64_t last)
{
    for (unsigned n = 0; n < 3; n++) {
        uint64_t      addr;
        const PciBar *bar = &c->pci.bars[n];
        g_assert_true(pci_bar_address(&c->pci, n, &addr));
        g_assert_cmphex(addr & (bar->size - 1), ==, 0);
        if (bar->kind != PCI_BAR_IO) {
            g_assert_cmphex(addr, >=, first);
            g_assert_cmphex(addr + bar->size - 1, <=, last);
        } else {
            g_assert_cmphex(addr, >=, windows.io_first);
            g_assert_cmphex(addr + bar->size - 1, <=, windows.io_last);
        }
    }
}

static void check_apart(Card **cards, unsigned n)
{
    for (unsigned i = 0; i < 3 * n; i++) {
        for (unsigned j = 0; j < i; j++) {
            const PciBar *a = &cards[i / 3]->pci.bars[i % 3], *b = &cards[j / 3]->pci.bars[j % 3];
            if ((a->kind == PCI_BAR_IO) == (b->kind == PCI_BAR_IO)) {
                g_assert_true(a->addr + a->size <= b->addr || b->addr + b->size <= a->addr);
            }
        }
    }
}

static void test_root(void)
{
    Rig   r;
    Card *cards[8];
    open_rig(&r);
    for (unsigned i = 0; i < 8; i++) {
        cards[i] = add_card(&r, r.host->bus, 2 + i, UINT64_C(4096) << (i * 5 % 13));
    }
    run(&r);
    for (unsigned i = 0; i < 8; i++) {
        check_card(cards[i], windows.mem_first, windows.mem_last);
        g_assert_cmpuint(cards[i]->pci.config[PCI_INTERRUPT_LINE], ==, pc_i440fx_wiring.irqs[(2 + i + 3) % 4]);
        g_assert_cmpuint(cards[i]->pci.config[PCI_COMMAND] & 3, ==, 3);
    }
    check_apart(cards, 8);
    test_platform_close(&r.t);
}

/* What does not fit below 4 GiB goes above, small things stay. */
static void test_above_4g(void)
{
    Rig r;
    open_rig(&r);
    Card *big   = add_card(&r, r.host->bus, 3, UINT64_C(4) << 30);
    Card *other = add_card(&r, r.host->bus, 4, UINT64_C(1) << 30);
    run(&r);
    uint64_t addr;
    g_assert_true(pci_bar_address(&big->pci, 2, &addr));
    g_assert_cmphex(addr, ==, windows.mem64_first);
    g_assert_true(pci_bar_address(&other->pci, 2, &addr));
    g_assert_cmphex(addr, ==, windows.mem64_first + (UINT64_C(4) << 30));
    g_assert_true(pci_bar_address(&big->pci, 0, &addr));
    g_assert_cmphex(addr, <, UINT64_C(1) << 32);
    test_platform_close(&r.t);
}

static void test_bridges(void)
{
    g_auto(Error) err = { 0 };
    Rig   r;
    Card *cards[4];
    open_rig(&r);
    Bridge *outer   = device_new(&r.t.p, "test-bridge");
    outer->pci.addr = 1 + PCI_DEVFN(5, 0);
    g_assert_true(device_realize(&outer->pci.dev, pci_bus_base(r.host->bus), &err));
    Bridge *inner   = device_new(&r.t.p, "test-bridge");
    inner->pci.addr = 1 + PCI_DEVFN(2, 0);
    g_assert_true(device_realize(&inner->pci.dev, pci_bus_base(outer->bus), &err));
    cards[0] = add_card(&r, r.host->bus, 3, 1 << 20);
    cards[1] = add_card(&r, outer->bus, 1, 8 << 20);
    cards[2] = add_card(&r, inner->bus, 3, 2 << 20);
    cards[3] = add_card(&r, inner->bus, 4, 64 << 20);
    run(&r);
    check_apart(cards, 4);

    const PciDevice *o = &outer->pci, *in = &inner->pci;
    g_assert_cmpuint(o->config[PCI_SECONDARY_BUS], ==, 1);
    g_assert_cmpuint(o->config[PCI_SUBORDINATE_BUS], ==, 2);
    g_assert_cmpuint(in->config[PCI_PRIMARY_BUS], ==, 1);
    g_assert_cmpuint(in->config[PCI_SECONDARY_BUS], ==, 2);
    for (unsigned i = 1; i < 4; i++) { /* each BAR lies in the windows of the bridges above */
        const PciDevice *bridges[] = { o, in };
        for (unsigned b = 0; b < (i == 1 ? 1u : 2u); b++) {
            uint64_t base  = (uint64_t)pci_get16(bridges[b], PCI_MEMORY_BASE) << 16;
            uint64_t limit = (uint64_t)pci_get16(bridges[b], PCI_MEMORY_LIMIT) << 16 | 0xfffff;
            uint64_t at    = pci_get32(&cards[i]->pci, PCI_BAR0);
            g_assert_cmphex(at, >=, base);
            g_assert_cmphex(at + 0xfff, <=, limit);
            base  = (uint64_t)(pci_get16(bridges[b], PCI_PREFETCH_BASE) & 0xfff0) << 16;
            limit = (uint64_t)pci_get16(bridges[b], PCI_PREFETCH_LIMIT) << 16 | 0xfffff;
            at    = pci_get32(&cards[i]->pci, PCI_BAR0 + 8) & ~15u;
            g_assert_cmphex(at, >=, base);
            g_assert_cmphex(at + cards[i]->large_size - 1, <=, limit);
            base  = (uint64_t)(bridges[b]->config[PCI_IO_BASE] & 0xf0) << 8;
            limit = (uint64_t)bridges[b]->config[PCI_IO_LIMIT] << 8 | 0xfff;
            at    = pci_get32(&cards[i]->pci, PCI_BAR0 + 4) & ~3u;
            g_assert_cmphex(at, >=, base);
            g_assert_cmphex(at + 0x3f, <=, limit);
        }
    }
    /* INTA of slot 1 behind slot 5: pin B there. Of slot 3 behind slot 2 behind slot 5: 3 + 2 further. */
    g_assert_cmpuint(cards[1]->pci.config[PCI_INTERRUPT_LINE], ==, pc_i440fx_wiring.irqs[(5 + 3 + 1) % 4]);
    g_assert_cmpuint(cards[2]->pci.config[PCI_INTERRUPT_LINE], ==, pc_i440fx_wiring.irqs[(5 + 3 + 3 + 2) % 4]);
    test_platform_close(&r.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pcisetup/root", test_root);
    g_test_add_func("/pcisetup/above-4g", test_above_4g);
    g_test_add_func("/pcisetup/bridges", test_bridges);
    return g_test_run();
}
