/* PCI: host bridge, configuration cycles, BARs, capabilities, interrupt routing, MSI, MSI-X, PAM and SMRAM. */

#include "base/optstr.h"
#include "devices/irq/gates.h"
#include "devices/pci/piix3.h"
#include "platform.h"

/* ---- A function with one of everything ---- */

typedef struct Probe {
    PciDevice pci;
    Region    mem32, io, mem64, msix_bar;
    uint64_t  mem32_reg, io_reg;
    unsigned  reads;
} Probe;

static uint64_t reg_read(void *opaque, uint64_t offset, unsigned size)
{
    return *(uint64_t *)opaque + offset;
}

static void reg_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    *(uint64_t *)opaque = value;
}

static const IoOps reg_ops = { .name = "probe", .access = IO_ANY, .read = reg_read, .write = reg_write };

static const Field probe_properties[] = { PCI_PROPERTIES(Probe, pci), {} };
static const Field probe_state[]      = { PCI_STATE(Probe, pci), {} };

static const PciDeviceInfo probe_info = {
    .vendor_id = 0x1234, .device_id = 0x5678, .class_code = 0x00ff00, .revision = 7, .interrupt_pin = 1
};

static bool probe_realize(Device *dev, Error *err)
{
    Probe *p = (Probe *)dev;
    region_init_io(&p->mem32, dev->platform->memory, "probe-mem32", 0x1000, &reg_ops, &p->mem32_reg);
    region_init_io(&p->io, dev->platform->memory, "probe-io", 0x20, &reg_ops, &p->io_reg);
    region_init_container(&p->mem64, dev->platform->memory, "probe-mem64", UINT64_C(1) << 33);
    region_init_container(&p->msix_bar, dev->platform->memory, "probe-msix", 0x1000);
    pci_add_bar(&p->pci, 0, PCI_BAR_MEM32, false, &p->mem32);
    pci_add_bar(&p->pci, 1, PCI_BAR_IO, false, &p->io);
    pci_add_bar(&p->pci, 2, PCI_BAR_MEM64, true, &p->mem64);
    pci_add_bar(&p->pci, 4, PCI_BAR_MEM32, false, &p->msix_bar);
    return pci_msi_init(&p->pci, 0x50, 4, true, true, err) &&
           pci_msix_init(&p->pci, 0, 3, 4, &p->msix_bar, 0, 0x800, err);
}

static void probe_unrealize(Device *dev)
{
    Probe *p = (Probe *)dev;
    region_destroy(&p->mem32);
    region_destroy(&p->io);
    region_destroy(&p->mem64);
}

DEVICE_TYPE(test_probe) = {
    .name       = "test-pci-probe",
    .parent     = "pci-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "PCI function with one of everything",
    .size       = sizeof(Probe),
    .properties = probe_properties,
    .bus        = BUS_PCI,
    .bus_info   = &probe_info,
    .hotplug    = true,
    .state      = probe_state,
    .realize    = probe_realize,
    .unrealize  = probe_unrealize,
    .reset      = pci_device_reset,
    .post_load  = pci_device_post_load,
};

typedef struct Rig {
    TestPlatform t;
    PciHost     *host;
    Piix3       *bridge;
} Rig;

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    r->host = i440fx_create(&r->t.p, &r->t.ram_region, &err);
    g_assert_nonnull(r->host);
    r->bridge = piix3_create(&r->t.p, r->host, &err);
    g_assert_nonnull(r->bridge);
}

static void close_rig(Rig *r)
{
    test_platform_close(&r->t);
}

static uint32_t address_of(unsigned slot, unsigned fn, unsigned offset)
{
    return 1u << 31 | slot << 11 | fn << 8 | (offset & ~3u);
}

static uint32_t config_load(Rig *r, unsigned slot, unsigned fn, unsigned offset)
{
    out32(&r->t, 0xcf8, address_of(slot, fn, offset));
    return in32(&r->t, 0xcfc);
}

static void config_store(Rig *r, unsigned slot, unsigned fn, unsigned offset, uint32_t value)
{
    out32(&r->t, 0xcf8, address_of(slot, fn, offset));
    out32(&r->t, 0xcfc, value);
}

static void config_store8(Rig *r, unsigned slot, unsigned fn, unsigned offset, uint8_t value)
{
    out32(&r->t, 0xcf8, address_of(slot, fn, offset));
    out8(&r->t, (uint16_t)(0xcfc + (offset & 3)), value);
}

static Probe *add_probe(Rig *r, unsigned slot, unsigned fn)
{
    g_auto(Error) err = {};
    Probe *p          = device_new(&r->t.p, "test-pci-probe");
    p->pci.addr       = 1 + PCI_DEVFN(slot, fn);
    g_assert_true(device_realize(&p->pci.dev, NULL, &err));
    return p;
}

static void test_mechanism(void)
{
    Rig r;
    open_rig(&r);
    devices_reset(&r.t.p, RESET_COLD);
    g_assert_cmphex(config_load(&r, 0, 0, 0), ==, 0x12378086);
    g_assert_cmphex(config_load(&r, 1, 0, 0), ==, 0x70008086);
    g_assert_cmphex(config_load(&r, 1, 0, 8), ==, 0x06010000);
    g_assert_cmphex(config_load(&r, 1, 0, 12) >> 16 & 0xff, ==, 0x80); /* multifunction */
    g_assert_cmphex(config_load(&r, 2, 0, 0), ==, 0xffffffff);
    g_assert_cmphex(in32(&r.t, 0xcf8), ==, address_of(2, 0, 0));
    out32(&r.t, 0xcf8, address_of(0, 0, 0) & ~(1u << 31)); /* not enabled */
    g_assert_cmphex(in32(&r.t, 0xcfc), ==, 0xffffffff);
    out32(&r.t, 0xcf8, address_of(0, 0, 0) | 1 << 16); /* bus 1 */
    g_assert_cmphex(in32(&r.t, 0xcfc), ==, 0xffffffff);
    out32(&r.t, 0xcf8, 0xffffffff);
    g_assert_cmphex(in32(&r.t, 0xcf8), ==, 0x80fffffc); /* reserved bits */
    out32(&r.t, 0xcf8, address_of(0, 0, 0));
    g_assert_cmphex(in16(&r.t, 0xcfe), ==, 0x1237);
    g_assert_cmphex(in8(&r.t, 0xcfd), ==, 0x80);
    out16(&r.t, 0xcf8, 0); /* not a configuration cycle */
    g_assert_cmphex(in32(&r.t, 0xcf8), ==, address_of(0, 0, 0));
    config_store(&r, 0, 0, 0, 0); /* identifiers stay */
    g_assert_cmphex(config_load(&r, 0, 0, 0), ==, 0x12378086);
    close_rig(&r);
}

static void test_reset_control(void)
{
    Rig r;
    open_rig(&r);
    devices_reset(&r.t.p, RESET_COLD);
    out8(&r.t, 0xcf9, 0x02);
    g_assert_cmpuint(r.t.resets, ==, 0);
    g_assert_cmphex(in8(&r.t, 0xcf9), ==, 0x02);
    out8(&r.t, 0xcf9, 0x06);
    g_assert_cmpuint(r.t.resets, ==, 1);
    out8(&r.t, 0xcf8, 0x06); /* that is not it */
    g_assert_cmpuint(r.t.resets, ==, 1);
    close_rig(&r);
}

static void test_bars(void)
{
    Rig r;
    open_rig(&r);
    Probe *p = add_probe(&r, 3, 0);
    devices_reset(&r.t.p, RESET_COLD);
    g_assert_cmphex(config_load(&r, 3, 0, 0x2c), ==, 0x11001af4);
    g_assert_cmphex(config_load(&r, 3, 0, 0x14), ==, 1);
    config_store(&r, 3, 0, 0x10, 0xffffffff);
    config_store(&r, 3, 0, 0x14, 0xffffffff);
    config_store(&r, 3, 0, 0x18, 0xffffffff);
    config_store(&r, 3, 0, 0x1c, 0xffffffff);
    g_assert_cmphex(config_load(&r, 3, 0, 0x10), ==, 0xfffff000);
    g_assert_cmphex(config_load(&r, 3, 0, 0x14), ==, 0xffffffe1);
    g_assert_cmphex(config_load(&r, 3, 0, 0x18), ==, 0x0000000c);
    g_assert_cmphex(config_load(&r, 3, 0, 0x1c), ==, 0xfffffffe);
    config_store(&r, 3, 0, 4, 3); /* sizing values map nothing, decoding or not */
    uint64_t addr;
    g_assert_false(pci_bar_address(&p->pci, 0, &addr));
    g_assert_false(pci_bar_address(&p->pci, 1, &addr));
    g_assert_false(pci_bar_address(&p->pci, 2, &addr));

    config_store(&r, 3, 0, 0x10, 0xe0000000);
    config_store(&r, 3, 0, 0x14, 0xc000);
    config_store(&r, 3, 0, 0x18, 0);
    config_store(&r, 3, 0, 0x1c, 0x80);
    p->mem32_reg = 0x100;
    p->io_reg    = 0x200;
    g_assert_cmphex(mem_load(&r.t, 0xe0000010, 4), ==, 0x110);
    g_assert_cmphex(in16(&r.t, 0xc004), ==, 0x204);
    g_assert_true(pci_bar_address(&p->pci, 2, &addr));
    g_assert_cmphex(addr, ==, UINT64_C(0x8000000000));
    out16(&r.t, 0xc000, 0x4321);
    g_assert_cmphex(p->io_reg, ==, 0x4321);
    config_store(&r, 3, 0, 0x10, 0xe0004000); /* moves */
    g_assert_cmphex(mem_load(&r.t, 0xe0000010, 4), ==, 0xffffffff);
    g_assert_cmphex(mem_load(&r.t, 0xe0004010, 4), ==, 0x110);
    config_store(&r, 3, 0, 4, 1); /* memory off, I/O on */
    g_assert_cmphex(mem_load(&r.t, 0xe0004010, 4), ==, 0xffffffff);
    g_assert_cmphex(in16(&r.t, 0xc000), ==, 0x4321);
    test_save_load(&p->pci.dev);
    g_assert_cmphex(in16(&r.t, 0xc000), ==, 0x4321);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_cmphex(in16(&r.t, 0xc000), ==, 0xffff);
    g_assert_cmphex(config_load(&r, 3, 0, 0x10), ==, 0);
    /* A BAR lies below RAM: RAM hides it. */
    config_store(&r, 3, 0, 0x10, 0x1000);
    config_store(&r, 3, 0, 4, 2);
    mem_store(&r.t, 0x1000, 0x55, 1);
    g_assert_cmphex(mem_load(&r.t, 0x1000, 1), ==, 0x55);
    device_unrealize(&p->pci.dev);
    g_assert_cmphex(config_load(&r, 3, 0, 0), ==, 0xffffffff);
    close_rig(&r);
}

static void test_dma(void)
{
    Rig      r;
    uint32_t word = 0x12345678;
    open_rig(&r);
    Probe *p = add_probe(&r, 3, 0);
    devices_reset(&r.t.p, RESET_COLD);
    g_assert_cmpint(pci_dma_write(&p->pci, 0x2000, &word, 4), !=, MEM_OK);
    config_store(&r, 3, 0, 4, 4);
    g_assert_cmpint(pci_dma_write(&p->pci, 0x2000, &word, 4), ==, MEM_OK);
    g_assert_cmphex(mem_load(&r.t, 0x2000, 4), ==, word);
    g_assert_cmpint(pci_dma_write(&p->pci, 0xe0000000, &word, 4), !=, MEM_OK);
    config_store(&r, 3, 0, 4, 0);
    g_assert_cmpint(pci_dma_read(&p->pci, 0x2000, &word, 4), !=, MEM_OK);
    close_rig(&r);
}

static void test_places(void)
{
    Rig r;
    open_rig(&r);
    g_auto(Error) err    = {};
    g_auto(Error) err2   = {};
    g_autoptr(Json) json = optstr_parse("test-pci-probe,addr=04.0,id=a", "driver", &err);
    g_assert_nonnull(json);
    Device *dev = device_create(&r.t.p, json, true, &err);
    g_assert_nonnull(dev);
    g_assert_cmphex(((PciDevice *)dev)->devfn, ==, PCI_DEVFN(4, 0));
    g_autoptr(Json) addr = object_get(&dev->obj, "addr", &err);
    g_assert_cmpstr(addr->string, ==, "04.0");
    json_set(json, "id", json_new_string("b"));
    g_assert_null(device_create(&r.t.p, json, true, &err));
    g_assert_cmpstr(strstr(err.text, "address 04.0"), !=, NULL);
    json_set(json, "addr", json_new_string("4.1")); /* function 0 is alone there */
    g_assert_null(device_create(&r.t.p, json, true, &err2));
    g_assert_cmpstr(strstr(err2.text, "multifunction=on"), !=, NULL);
    static const char *const wrong[] = { "20.0", "4.8", "x", "", "4.", "4.00", "-2", "1f.7 " };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_auto(Error) bad = {};
        json_set(json, "addr", json_new_string(wrong[i]));
        g_assert_null(device_create(&r.t.p, json, true, &bad));
        g_assert_nonnull(bad.text);
    }
    json_set(json, "addr", json_new_string("1f.7"));
    g_auto(Error) err3 = {};
    g_assert_nonnull(device_create(&r.t.p, json, true, &err3));
    json_remove(json, "addr");
    json_set(json, "id", json_new_string("c"));
    dev = device_create(&r.t.p, json, true, &err3); /* the first free slot */
    g_assert_cmphex(((PciDevice *)dev)->devfn, ==, PCI_DEVFN(2, 0));
    close_rig(&r);
}

static void test_interrupts(void)
{
    Rig r;
    open_rig(&r);
    Probe *a = add_probe(&r, 3, 0), *b = add_probe(&r, 7, 0); /* the same line */
    devices_reset(&r.t.p, RESET_COLD);
    pci_set_irq(&a->pci, true); /* not routed anywhere */
    g_assert_cmpuint(r.t.isa[10].rises + r.t.isa[11].rises, ==, 0);
    g_assert_cmphex(config_load(&r, 3, 0, 4) >> 19 & 1, ==, 1);
    config_store8(&r, 1, 0, 0x62, 0x0b); /* (3 - 1 + 0) % 4: PIRQC */
    g_assert_cmphex(config_load(&r, 1, 0, 0x60), ==, 0x800b8080);
    g_assert_cmpint(r.t.isa[11].level, ==, 1);
    pci_set_irq(&b->pci, true);
    pci_set_irq(&a->pci, false);
    g_assert_cmpint(r.t.isa[11].level, ==, 1); /* wired-OR */
    config_store8(&r, 1, 0, 0x62, 0x0a);
    g_assert_cmpint(r.t.isa[11].level, ==, 0);
    g_assert_cmpint(r.t.isa[10].level, ==, 1);
    config_store8(&r, 1, 0, 0x62, 0x01); /* reserved: IRQ 1 is the keyboard's */
    g_assert_cmpint(r.t.isa[10].level, ==, 0);
    g_assert_cmpint(r.t.isa[1].level, ==, 0);
    config_store8(&r, 1, 0, 0x62, 0x0a);
    config_store(&r, 7, 0, 4, 1 << 10); /* INTx disabled */
    g_assert_cmpint(r.t.isa[10].level, ==, 0);
    config_store(&r, 7, 0, 4, 0);
    g_assert_cmpint(r.t.isa[10].level, ==, 1);
    test_save_load(&b->pci.dev);
    test_save_load((Device *)r.bridge);
    g_assert_cmpint(r.t.isa[10].level, ==, 1);
    device_unrealize(&b->pci.dev); /* lets go */
    g_assert_cmpint(r.t.isa[10].level, ==, 0);
    /* The SCI shares its interrupt with a PIRQ. */
    config_store8(&r, 1, 0, 0x62, 0x09);
    irq_set(&(IrqLine){ piix3_sci_input(r.bridge) }, 1);
    pci_set_irq(&a->pci, true);
    irq_set(&(IrqLine){ piix3_sci_input(r.bridge) }, 0);
    g_assert_cmpint(r.t.isa[9].level, ==, 1);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_cmpint(r.t.isa[9].level, ==, 0);
    g_assert_cmphex(config_load(&r, 1, 0, 0x60), ==, 0x80808080);
    close_rig(&r);
}

static void test_msi(void)
{
    Rig r;
    open_rig(&r);
    Probe *p = add_probe(&r, 3, 0);
    devices_reset(&r.t.p, RESET_COLD);
    g_assert_cmphex(pci_find_capability(&p->pci, PCI_CAP_MSI), ==, 0x50);
    g_assert_cmphex(config_load(&r, 3, 0, 0x50) >> 16, ==, 0x0184); /* 4 vectors, 64 bits, masks */
    config_store(&r, 3, 0, 0x54, 0xfee01003);
    config_store(&r, 3, 0, 0x58, 1);
    config_store(&r, 3, 0, 0x5c, 0xffff4041);
    g_assert_cmphex(config_load(&r, 3, 0, 0x54), ==, 0xfee01000);
    pci_msi_notify(&p->pci, 0);               /* not enabled */
    config_store(&r, 3, 0, 0x50, 0x00210000); /* enabled, 4 allocated */
    pci_msi_notify(&p->pci, 2);               /* no bus mastering: no message */
    g_assert_cmpuint(r.t.msis, ==, 0);
    config_store(&r, 3, 0, 4, 4);
    pci_msi_notify(&p->pci, 2);
    g_assert_cmpuint(r.t.msis, ==, 1);
    g_assert_cmphex(r.t.msi_address, ==, UINT64_C(0x1fee01000));
    g_assert_cmphex(r.t.msi_data, ==, 0x4042);
    config_store(&r, 3, 0, 0x60, 0xffffffff); /* mask all */
    g_assert_cmphex(config_load(&r, 3, 0, 0x60), ==, 0xf);
    pci_msi_notify(&p->pci, 3);
    g_assert_cmpuint(r.t.msis, ==, 1);
    g_assert_cmphex(config_load(&r, 3, 0, 0x64), ==, 8);
    test_save_load(&p->pci.dev);
    config_store(&r, 3, 0, 0x60, 0x7);
    g_assert_cmpuint(r.t.msis, ==, 2);
    g_assert_cmphex(r.t.msi_data, ==, 0x4043);
    g_assert_cmphex(config_load(&r, 3, 0, 0x64), ==, 0);
    config_store(&r, 3, 0, 0x50, 0x00710000); /* more than offered: as many as there are */
    pci_msi_notify(&p->pci, 3);
    g_assert_cmphex(r.t.msi_data, ==, 0x4043);
    config_store(&r, 3, 0, 0x50, 0x00010000); /* one only */
    config_store(&r, 3, 0, 0x60, 0);
    pci_msi_notify(&p->pci, 3);
    g_assert_cmphex(r.t.msi_data, ==, 0x4041);
    config_store8(&r, 1, 0, 0x62, 0x0a); /* the pin is silent while MSI is on */
    pci_set_irq(&p->pci, true);
    g_assert_cmpint(r.t.isa[10].level, ==, 0);
    config_store(&r, 3, 0, 0x50, 0);
    g_assert_cmpint(r.t.isa[10].level, ==, 1);
    config_store(&r, 3, 0, 0x50, 0x00010000);
    g_assert_cmpint(r.t.isa[10].level, ==, 0);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_false(pci_msi_enabled(&p->pci));
    close_rig(&r);
}

static void test_msix(void)
{
    Rig r;
    open_rig(&r);
    Probe *p = add_probe(&r, 3, 0);
    devices_reset(&r.t.p, RESET_COLD);
    unsigned cap = pci_find_capability(&p->pci, PCI_CAP_MSIX);
    g_assert_cmphex(config_load(&r, 3, 0, cap) >> 16, ==, 2);
    g_assert_cmphex(config_load(&r, 3, 0, cap + 4), ==, 4);
    g_assert_cmphex(config_load(&r, 3, 0, cap + 8), ==, 0x804);
    config_store(&r, 3, 0, 0x20, 0xe0000000);
    config_store(&r, 3, 0, 4, 6);
    config_store(&r, 3, 0, cap, 0xc0000000); /* enabled, all masked */
    g_assert_cmphex(mem_load(&r.t, 0xe000001c, 4), ==, 1);
    mem_store(&r.t, 0xe0000010, 0xfee03003, 4);
    mem_store(&r.t, 0xe0000014, 0, 4);
    mem_store(&r.t, 0xe0000018, 0x55, 4);
    mem_store(&r.t, 0xe000001c, 0xfffffffe, 4);
    g_assert_cmphex(mem_load(&r.t, 0xe0000010, 8), ==, 0xfee03000);
    g_assert_cmphex(mem_load(&r.t, 0xe000001c, 4), ==, 0);
    pci_msix_notify(&p->pci, 1);
    pci_msix_notify(&p->pci, 3); /* there is none */
    g_assert_cmpuint(r.t.msis, ==, 0);
    g_assert_cmphex(mem_load(&r.t, 0xe0000800, 8), ==, 2);
    mem_store(&r.t, 0xe0000800, 0, 8); /* read-only */
    config_store(&r, 3, 0, cap, 0x80000000);
    g_assert_cmpuint(r.t.msis, ==, 1);
    g_assert_cmphex(r.t.msi_address, ==, 0xfee03000);
    g_assert_cmphex(r.t.msi_data, ==, 0x55);
    g_assert_cmphex(mem_load(&r.t, 0xe0000800, 8), ==, 0);
    mem_store(&r.t, 0xe000001c, 1, 4);
    pci_msix_notify(&p->pci, 1);
    g_assert_cmpuint(r.t.msis, ==, 1);
    test_save_load(&p->pci.dev);
    g_assert_cmphex(mem_load(&r.t, 0xe0000800, 8), ==, 2);
    mem_store(&r.t, 0xe000001c, 0, 4);
    g_assert_cmpuint(r.t.msis, ==, 2);
    g_assert_cmphex(r.t.msi_data, ==, 0x55);
    close_rig(&r);
}

static void test_pam(void)
{
    Rig      r;
    uint8_t *ram;
    open_rig(&r);
    devices_reset(&r.t.p, RESET_COLD);
    ram               = r.t.ram->host;
    g_auto(Error) err = {};
    RamBlock *rom     = ram_block_new("rom", 0x20000, &err);
    Region    rom_region;
    memset(rom->host, 0xaa, rom->size);
    region_init_rom(&rom_region, r.t.p.memory, "rom", rom, 0, rom->size);
    region_map(&r.host->pci_memory, 0xe0000, &rom_region, 1);
    memset(ram + 0xc0000, 0x11, 0x40000);

    g_assert_cmphex(mem_load(&r.t, 0xf0000, 1), ==, 0xaa); /* after reset all is PCI */
    g_assert_cmphex(mem_load(&r.t, 0xc0000, 1), ==, 0xff);
    g_assert_cmphex(mem_load(&r.t, 0xbfff0, 1), ==, 0xff);
    config_store8(&r, 0, 0, 0x59, 0x20); /* F0000h: reads from PCI, writes to RAM */
    mem_store(&r.t, 0xf1234, 0x77665544, 4);
    g_assert_cmphex(mem_load(&r.t, 0xf1234, 4), ==, 0xaaaaaaaa);
    g_assert_cmphex(ram[0xf1235], ==, 0x55);
    config_store8(&r, 0, 0, 0x59, 0x10); /* reads from RAM, no writes */
    g_assert_cmphex(mem_load(&r.t, 0xf1234, 4), ==, 0x77665544);
    mem_store(&r.t, 0xf1234, 0, 4);
    g_assert_cmphex(mem_load(&r.t, 0xf1234, 4), ==, 0x77665544);
    config_store8(&r, 0, 0, 0x59, 0xff); /* RAM */
    g_assert_cmphex(config_load(&r, 0, 0, 0x58) >> 8 & 0xff, ==, 0x30);
    mem_store(&r.t, 0xf1234, 0, 4);
    g_assert_cmphex(ram[0xf1234], ==, 0);
    /* Each segment has its nibble. */
    for (unsigned n = 0; n < 12; n++) {
        uint32_t base = 0xc0000 + n * 0x4000;
        uint8_t  pci  = base >= 0xe0000 ? 0xaa : 0xff;
        g_assert_cmphex(mem_load(&r.t, base + 0x3fff, 1), ==, pci);
        config_store8(&r, 0, 0, 0x5a + n / 2, n % 2 ? 0x33 : 0x03);
        g_assert_cmphex(mem_load(&r.t, base, 1), ==, 0x11);
        g_assert_cmphex(mem_load(&r.t, base + 0x3fff, 1), ==, 0x11);
    }
    test_save_load(&pci_bus_device(r.host->bus, 0)->dev);
    g_assert_cmphex(mem_load(&r.t, 0xe4000, 1), ==, 0x11);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_cmphex(mem_load(&r.t, 0xe4000, 1), ==, 0xaa);
    region_unmap(&rom_region);
    region_destroy(&rom_region);
    ram_block_unref(rom);
    close_rig(&r);
}

static void test_smram(void)
{
    Rig r;
    open_rig(&r);
    devices_reset(&r.t.p, RESET_COLD);
    Region smm_root, system, smram; /* as a vCPU's view in SMM */
    region_init_container(&smm_root, r.t.p.memory, "smm", UINT64_MAX);
    region_init_alias(&system, r.t.p.memory, "system", &r.t.memory_root, 0, UINT64_MAX);
    region_init_alias(&smram, r.t.p.memory, "smram", &r.host->smram, 0, UINT64_C(1) << 32);
    region_map(&smm_root, 0, &system, 0);
    region_map(&smm_root, 0, &smram, 1);
    AddressSpace *smm      = address_space_new(r.t.p.memory, &smm_root, "smm");
    r.t.ram->host[0xa8000] = 0x42;

    g_assert_cmphex(config_load(&r, 0, 0, 0x70) >> 16 & 0xff, ==, 0x02);
    g_assert_cmphex(mem_load(&r.t, 0xa8000, 1), ==, 0xff);
    g_assert_cmphex(address_space_load(smm, 0xa8000, 1), ==, 0xff);
    config_store8(&r, 0, 0, 0x72, 0x4a); /* enabled and open */
    g_assert_cmphex(mem_load(&r.t, 0xa8000, 1), ==, 0x42);
    config_store8(&r, 0, 0, 0x72, 0x0a);
    g_assert_cmphex(mem_load(&r.t, 0xa8000, 1), ==, 0xff);
    g_assert_cmphex(address_space_load(smm, 0xa8000, 1), ==, 0x42);
    config_store8(&r, 0, 0, 0x72, 0x5a); /* locking closes it */
    g_assert_cmphex(config_load(&r, 0, 0, 0x70) >> 16 & 0xff, ==, 0x1a);
    config_store8(&r, 0, 0, 0x72, 0x4a); /* and it stays so */
    g_assert_cmphex(config_load(&r, 0, 0, 0x70) >> 16 & 0xff, ==, 0x1a);
    g_assert_cmphex(mem_load(&r.t, 0xa8000, 1), ==, 0xff);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_cmphex(config_load(&r, 0, 0, 0x70) >> 16 & 0xff, ==, 0x02);
    address_space_free(smm);
    region_unmap(&smram);
    region_unmap(&system);
    region_destroy(&smram);
    region_destroy(&system);
    region_destroy(&smm_root);
    close_rig(&r);
}

static void test_gates(void)
{
    TestPin  a, b;
    IrqSplit split;
    IrqOr    gate;
    test_pin_init(&a);
    test_pin_init(&b);
    irq_split_init(&split, &a.pin, &b.pin);
    irq_raise(&(IrqLine){ &split.in });
    g_assert_cmpint(a.level + b.level, ==, 2);
    test_pin_init(&a);
    irq_or_init(&gate, &a.pin);
    irq_raise(&(IrqLine){ &gate.in[0] });
    irq_raise(&(IrqLine){ &gate.in[7] });
    irq_lower(&(IrqLine){ &gate.in[0] });
    g_assert_cmpuint(a.rises, ==, 1);
    g_assert_cmpint(a.level, ==, 1);
    irq_lower(&(IrqLine){ &gate.in[7] });
    g_assert_cmpint(a.level, ==, 0);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/pci/mechanism", test_mechanism);
    g_test_add_func("/pci/reset-control", test_reset_control);
    g_test_add_func("/pci/bars", test_bars);
    g_test_add_func("/pci/dma", test_dma);
    g_test_add_func("/pci/places", test_places);
    g_test_add_func("/pci/interrupts", test_interrupts);
    g_test_add_func("/pci/msi", test_msi);
    g_test_add_func("/pci/msix", test_msix);
    g_test_add_func("/pci/pam", test_pam);
    g_test_add_func("/pci/smram", test_smram);
    g_test_add_func("/pci/gates", test_gates);
    return g_test_run();
}
