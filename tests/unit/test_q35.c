/* Q35: memory-mapped configuration space, TSEG, PAM; ICH9: interrupt routing, power management, TCO, reset, SMBus. */

#include "devices/acpi/ich9_smbus.h"
#include "devices/pci/ich9_lpc.h"
#include "memory/dma.h"
#include "platform.h"

#include "base/bytes.h"

#include <string.h>

enum {
    LPC    = PCI_DEVFN(31, 0),
    SMB    = PCI_DEVFN(31, 3),
    PM     = ICH9_PM_BASE,
    STS    = PM,
    EN     = PM + 2,
    CNT    = PM + 4,
    GPE    = PM + ICH9_GPE0_OFFSET,
    SMI_EN = PM + 0x30,
    TCO    = PM + 0x60,
    RCBA   = (int)0xfed1c000,
};

typedef struct Rig {
    TestPlatform t;
    TestPin      smi, smi_all;
    FwCfg       *fw; /* where a test makes one */
    PciHost     *host;
    Ich9Lpc     *lpc;
    Ich9Smbus   *smb;
} Rig;

/* Sends interrupts from any slot and pin. */
typedef struct Source {
    PciDevice pci;
} Source;

static const Field         source_properties[] = { PCI_PROPERTIES(Source, pci), {} };
static const Field         source_state[]      = { PCI_STATE(Source, pci), {} };
static const PciDeviceInfo source_info         = {
            .vendor_id = 0x1234, .device_id = 2, .class_code = 0xff0000, .interrupt_pin = 1
};

DEVICE_TYPE(source) = {
    .name       = "test-source",
    .help       = "for a test",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(Source),
    .bus        = BUS_PCI,
    .bus_info   = &source_info,
    .properties = source_properties,
    .state      = source_state,
    .reset      = pci_device_reset,
    .post_load  = pci_device_post_load,
};

static void set(Rig *r, uint8_t devfn, unsigned reg, uint32_t value, unsigned size)
{
    pci_bus_config_write(r->host->bus, 0, devfn, reg, value, size);
}

static uint32_t get(Rig *r, uint8_t devfn, unsigned reg, unsigned size)
{
    return pci_bus_config_read(r->host->bus, 0, devfn, reg, size);
}

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    *r                = (Rig){};
    test_platform_open(&r->t);
    test_pin_init(&r->smi);
    test_pin_init(&r->smi_all);
    r->host = q35_create(&r->t.p, &r->t.ram_region, &err);
    g_assert_nonnull(r->host);
    r->lpc = ich9_lpc_create(&r->t.p, r->host, &r->smi.pin, &r->smi_all.pin, &err);
    g_assert_nonnull(r->lpc);
    r->smb = ich9_smbus_create(&r->t.p, r->host->bus, SMB, &err);
    g_assert_nonnull(r->smb);
    devices_reset(&r->t.p, RESET_COLD);
    set(r, LPC, ICH9_PMBASE, ICH9_PM_BASE, 4);
    set(r, LPC, ICH9_ACPI_CNTL, ICH9_ACPI_ENABLED, 1);
    set(r, LPC, ICH9_RCBA, (uint32_t)RCBA | 1, 4);
}

static void test_mmcfg(void)
{
    Rig r;
    open_rig(&r);
    uint64_t base, size, lpc = Q35_ECAM_BASE + (LPC << 12);
    g_assert_cmphex(mem_load(&r.t, lpc, 4), ==, 0xffffffff);
    g_assert_false(q35_ecam(r.host, &base, &size));
    set(&r, 0, Q35_PCIEXBAR, (uint32_t)Q35_ECAM_BASE | 1, 4);
    g_assert_true(q35_ecam(r.host, &base, &size));
    g_assert_cmphex(base, ==, Q35_ECAM_BASE);
    g_assert_cmphex(size, ==, Q35_ECAM_SIZE);
    g_assert_cmphex(mem_load(&r.t, lpc, 4), ==, 0x29188086);
    g_assert_cmphex(mem_load(&r.t, lpc + 2, 2), ==, 0x2918);
    mem_store(&r.t, lpc + PCI_INTERRUPT_LINE, 11, 1);
    g_assert_cmphex(get(&r, LPC, PCI_INTERRUPT_LINE, 1), ==, 11);
    g_assert_cmphex(mem_load(&r.t, lpc + 0x100, 4), ==, 0xffffffff);               /* not PCI Express */
    g_assert_cmphex(mem_load(&r.t, Q35_ECAM_BASE + (5 << 15), 4), ==, 0xffffffff); /* nobody */
    g_assert_cmphex(mem_load(&r.t, Q35_ECAM_BASE + (7 << 20), 2), ==, 0xffff);     /* no such bus */
    /* What would close the window does not go through it; SeaBIOS's order at waking. */
    mem_store(&r.t, Q35_ECAM_BASE + Q35_PCIEXBAR, 0, 4);
    mem_store(&r.t, Q35_ECAM_BASE + Q35_PCIEXBAR, 0, 1);
    mem_store(&r.t, Q35_ECAM_BASE + Q35_PCIEXBAR + 4, 0, 4);
    mem_store(&r.t, Q35_ECAM_BASE + Q35_PCIEXBAR, (uint32_t)Q35_ECAM_BASE | 1, 4);
    g_assert_true(q35_ecam(r.host, &base, &size));
    g_assert_cmphex(base, ==, Q35_ECAM_BASE);
    g_assert_cmphex(mem_load(&r.t, lpc, 4), ==, 0x29188086);
    set(&r, 0, Q35_PCIEXBAR, 0, 4); /* by the ports it does */
    g_assert_false(q35_ecam(r.host, &base, &size));
    g_assert_cmphex(mem_load(&r.t, lpc, 4), ==, 0xffffffff);
    /* 64 MiB elsewhere: one bus in four. */
    set(&r, 0, Q35_PCIEXBAR, 0xe4000000u | 2 << 1 | 1, 4);
    g_assert_true(q35_ecam(r.host, &base, &size));
    g_assert_cmphex(base, ==, 0xe4000000);
    g_assert_cmphex(size, ==, 64 << 20);
    g_assert_cmphex(mem_load(&r.t, lpc, 4), ==, 0xffffffff);
    g_assert_cmphex(mem_load(&r.t, base + (LPC << 12), 4), ==, 0x29188086);
    set(&r, 0, Q35_PCIEXBAR, 0xe4000000u | 3 << 1 | 1, 4); /* reserved length */
    g_assert_false(q35_ecam(r.host, &base, &size));
    test_save_load(r.t.p.devices->pdata[1]);
    test_platform_close(&r.t);
}

static void test_tseg(void)
{
    Rig r;
    open_rig(&r);
    uint64_t at = TEST_RAM_SIZE - 0x1000;
    mem_store(&r.t, at, 0x12345678, 4);
    set(&r, 0, 0x9e, 1, 1); /* 1 MiB; but SMRAM is not enabled */
    g_assert_cmphex(mem_load(&r.t, at, 4), ==, 0x12345678);
    set(&r, 0, 0x9d, 0x08, 1);
    g_assert_cmphex(mem_load(&r.t, at, 4), ==, 0xffffffff);
    mem_store(&r.t, at, 0, 4);
    g_assert_cmphex(mem_load(&r.t, TEST_RAM_SIZE - 0x100000 - 4, 4), ==, 0);
    g_assert_cmphex(get(&r, 0, 0x9e, 1), ==, 0x39);
    set(&r, 0, 0x9d, 0x18, 1); /* locked */
    set(&r, 0, 0x9e, 0, 1);
    set(&r, 0, 0x9d, 0x48, 1);
    g_assert_cmphex(get(&r, 0, 0x9e, 1), ==, 0x39);
    g_assert_cmphex(get(&r, 0, 0x9d, 1), ==, 0x1a);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_cmphex(mem_load(&r.t, at, 4), ==, 0x12345678);
    set(&r, 0, 0x50, 0xffff, 2);
    g_assert_cmphex(get(&r, 0, 0x50, 2), ==, 16);
    test_platform_close(&r.t);
}

static Source *add_source(Rig *r, unsigned slot)
{
    g_auto(Error) err = {};
    Source *s         = device_new(&r->t.p, "test-source");
    s->pci.addr       = 1 + PCI_DEVFN(slot, 0);
    g_assert_true(device_realize(&s->pci.dev, pci_bus_base(r->host->bus), &err));
    return s;
}

static void test_routing(void)
{
    static const struct {
        unsigned slot, pin, pirq;
    } cases[] = { { 0, 1, 5 },  { 1, 0, 5 },  { 2, 0, 6 },  { 3, 3, 6 }, { 24, 0, 4 },
                  { 25, 0, 0 }, { 29, 2, 2 }, { 30, 1, 5 }, { 31, 3, 3 } };
    Rig r;
    open_rig(&r);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpuint(ich9_pirq(cases[i].slot, cases[i].pin), ==, cases[i].pirq);
    }
    Source *far = add_source(&r, 2), *own = add_source(&r, 27);
    pci_set_irq(&far->pci, true); /* PIRQG: input 22, and no ISA interrupt yet */
    g_assert_cmpint(r.t.gsi[22].level, ==, 1);
    set(&r, LPC, ICH9_PIRQE + 2, 10, 1);
    g_assert_cmpint(r.t.isa[10].level, ==, 1);
    set(&r, LPC, ICH9_PIRQE + 2, 11, 1);
    g_assert_cmpint(r.t.isa[10].level, ==, 0);
    g_assert_cmpint(r.t.isa[11].level, ==, 1);
    set(&r, LPC, ICH9_PIRQE + 2, 8, 1); /* reserved */
    g_assert_cmpint(r.t.isa[8].level + r.t.isa[11].level, ==, 0);
    pci_set_irq(&far->pci, false);
    g_assert_cmpint(r.t.gsi[22].level, ==, 0);
    pci_set_irq(&own->pci, true); /* as D27IR says */
    g_assert_cmpint(r.t.gsi[16].level, ==, 1);
    mem_store(&r.t, (uint32_t)RCBA + 0x3148, 0x3217, 2);
    g_assert_cmpint(r.t.gsi[16].level, ==, 0);
    g_assert_cmpint(r.t.gsi[23].level, ==, 1);
    test_save_load(&own->pci.dev);
    test_platform_close(&r.t);
}

static void test_power(void)
{
    Rig r;
    open_rig(&r);
    Ich9Pm  *pm     = ich9_lpc_pm(r.lpc);
    uint32_t before = in32(&r.t, PM + 8);
    test_step(&r.t, NS_PER_SECOND);
    g_assert_cmpuint((in32(&r.t, PM + 8) - before) & 0xffffff, ==, 3579545);
    out16(&r.t, EN, 1 << 8);
    out8(&r.t, ICH9_APM_CNT, ICH9_ACPI_ENABLE);
    pm1_power_button(&pm->pm1);
    g_assert_cmpint(r.t.isa[9].level, ==, 1);
    set(&r, LPC, ICH9_ACPI_CNTL, ICH9_ACPI_ENABLED | 4, 1); /* SCI on input 20 */
    g_assert_cmpint(r.t.isa[9].level, ==, 0);
    g_assert_cmpint(r.t.gsi[20].level, ==, 1);
    set(&r, LPC, ICH9_ACPI_CNTL, ICH9_ACPI_ENABLED, 1);
    out16(&r.t, STS, 1 << 8);
    g_assert_cmpint(r.t.isa[9].level, ==, 0);
    out32(&r.t, GPE + 12, 0x80000000);
    g_assert_cmphex(in8(&r.t, GPE + 15), ==, 0x80);
    out16(&r.t, CNT, 1 | 7 << 10 | 1 << 13);
    g_assert_cmpuint(r.t.shutdowns, ==, 0);
    out16(&r.t, CNT, 1 | PM1_S5_TYPE << 10 | 1 << 13);
    g_assert_cmpuint(r.t.shutdowns, ==, 1);
    test_save_load(r.t.p.devices->pdata[2]);
    set(&r, LPC, ICH9_ACPI_CNTL, 0, 1);
    g_assert_cmphex(in16(&r.t, STS), ==, 0xffff);
    test_platform_close(&r.t);
}

static void test_smi(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, ICH9_APM_CNT, 0x55);
    g_assert_cmpuint(r.smi.rises, ==, 0);
    out32(&r.t, SMI_EN, 1 << 5); /* APMC_EN without GBL_SMI_EN */
    out8(&r.t, ICH9_APM_CNT, 0x55);
    g_assert_cmpuint(r.smi.rises, ==, 0);
    out32(&r.t, SMI_EN, 1 << 5 | 1);
    out8(&r.t, ICH9_APM_CNT, 0x55);
    g_assert_cmpuint(r.smi.rises, ==, 1);
    g_assert_cmphex(in32(&r.t, SMI_EN + 4), ==, 1 << 5);
    out32(&r.t, SMI_EN + 4, 1 << 5);
    g_assert_cmphex(in32(&r.t, SMI_EN + 4), ==, 0);
    set(&r, LPC, 0xa0, 1 << 4, 1); /* SMI_LOCK */
    set(&r, LPC, 0xa0, 0, 1);
    out32(&r.t, SMI_EN, 0);
    g_assert_cmphex(in32(&r.t, SMI_EN) & 1, ==, 1);
    test_platform_close(&r.t);
}

/* Features that firmware asks for through fw_cfg. */
static uint64_t read_file(Rig *r, const char *name, unsigned size)
{
    uint16_t key = 0;
    for (unsigned n = 0; n < fw_cfg_n_files(r->fw); n++) {
        uint16_t this;
        if (!strcmp(fw_cfg_file_name(r->fw, n, &this), name)) {
            key = this;
        }
    }
    g_assert_cmpuint(key, !=, 0);
    out16(&r->t, 0x510, key);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)in8(&r->t, 0x511) << (8 * i);
    }
    return value;
}

static void ask_for(Rig *r, uint64_t features)
{
    enum { REQUEST = 0x1000, DATA = 0x1100 };
    uint16_t key = 0;
    for (unsigned n = 0; n < fw_cfg_n_files(r->fw); n++) {
        uint16_t this;
        if (!strcmp(fw_cfg_file_name(r->fw, n, &this), "etc/smi/requested-features")) {
            key = this;
        }
    }
    uint8_t request[16] = { 0 }, data[8];
    store_be32(request, (uint32_t)key << 16 | 8 | 16); /* select, write */
    store_be32(request + 4, 8);
    store_be64(request + 8, DATA);
    store_le64(data, features);
    g_assert_cmpint(dma_write(r->t.p.memory_space, REQUEST, request, sizeof request), ==, MEM_OK);
    g_assert_cmpint(dma_write(r->t.p.memory_space, DATA, data, sizeof data), ==, MEM_OK);
    out32(&r->t, 0x514, 0);
    out32(&r->t, 0x518, GUINT32_TO_BE(REQUEST));
}

static void test_smi_features(void)
{
    g_auto(Error) err = { 0 };
    Rig r;
    open_rig(&r);
    r.fw = fw_cfg_create(&r.t.p, &err);
    g_assert_true(ich9_lpc_offer_smi_features(r.lpc, r.fw, &err));
    devices_reset(&r.t.p, RESET_COLD);
    set(&r, LPC, ICH9_PMBASE, ICH9_PM_BASE, 4);
    set(&r, LPC, ICH9_ACPI_CNTL, ICH9_ACPI_ENABLED, 1);
    out32(&r.t, SMI_EN, 1 << 5 | 1);
    g_assert_cmphex(read_file(&r, "etc/smi/supported-features", 8), ==, 1);
    ask_for(&r, 3); /* more than there is */
    g_assert_cmphex(read_file(&r, "etc/smi/features-ok", 1), ==, 0);
    out8(&r.t, ICH9_APM_CNT, 0x55);
    g_assert_cmpuint(r.smi.rises, ==, 1);
    g_assert_cmpuint(r.smi_all.rises, ==, 0);
    ask_for(&r, 1);
    g_assert_cmphex(read_file(&r, "etc/smi/features-ok", 1), ==, 1);
    out8(&r.t, ICH9_APM_CNT, 0x55);
    g_assert_cmpuint(r.smi.rises, ==, 1);
    g_assert_cmpuint(r.smi_all.rises, ==, 1);
    ask_for(&r, 0); /* too late */
    g_assert_cmphex(read_file(&r, "etc/smi/features-ok", 1), ==, 1);
    test_save_load(r.t.p.devices->pdata[2]);
    out8(&r.t, ICH9_APM_CNT, 0x55);
    g_assert_cmpuint(r.smi_all.rises, ==, 2);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_cmphex(read_file(&r, "etc/smi/requested-features", 8), ==, 0);
    g_assert_cmphex(fw_cfg_file(r.fw, "etc/smi/features-ok", &(size_t){ 0 })[0], ==, 0);
    test_platform_close(&r.t);
}

static void test_tco(void)
{
    Rig r;
    open_rig(&r);
    g_assert_cmphex(in16(&r.t, TCO + 0x12), ==, 4);
    test_step(&r.t, 60 * NS_PER_SECOND); /* nobody has started it */
    g_assert_cmphex(in16(&r.t, TCO + 4), ==, 0);
    out16(&r.t, TCO + 0x12, 10);
    out16(&r.t, TCO, 1);
    g_assert_cmpuint(in16(&r.t, TCO), ==, 10);
    test_step(&r.t, 3 * NS_PER_SECOND);
    g_assert_cmpuint(in16(&r.t, TCO), ==, 5);
    out16(&r.t, TCO, 1); /* alive */
    test_step(&r.t, 5 * NS_PER_SECOND);
    g_assert_cmphex(in16(&r.t, TCO + 4), ==, 0);
    out16(&r.t, TCO + 8, 1 << 11); /* halted */
    test_step(&r.t, 60 * NS_PER_SECOND);
    g_assert_cmphex(in16(&r.t, TCO + 4), ==, 0);
    out16(&r.t, TCO + 8, 0);
    test_step(&r.t, 2 * NS_PER_SECOND);
    g_assert_cmphex(in16(&r.t, TCO + 4), ==, 1 << 3);
    g_assert_cmpuint(r.t.watchdogs, ==, 0);
    test_step(&r.t, 6 * NS_PER_SECOND);
    g_assert_cmpuint(r.t.watchdogs, ==, 1);
    g_assert_cmphex(in16(&r.t, TCO + 6), ==, 1 << 1 | 1 << 2);
    devices_reset(&r.t.p, RESET_WARM);
    set(&r, LPC, ICH9_PMBASE, ICH9_PM_BASE, 4);
    set(&r, LPC, ICH9_ACPI_CNTL, ICH9_ACPI_ENABLED, 1);
    set(&r, LPC, ICH9_RCBA, (uint32_t)RCBA | 1, 4);
    g_assert_cmphex(in16(&r.t, TCO + 6), ==, 1 << 1 | 1 << 2); /* why it was reset */
    out16(&r.t, TCO + 6, 6);
    mem_store(&r.t, (uint32_t)RCBA + 0x3410, 1 << 5, 4); /* NO_REBOOT */
    out16(&r.t, TCO, 1);
    test_save_load(r.t.p.devices->pdata[2]);
    test_step(&r.t, 10 * NS_PER_SECOND);
    g_assert_cmpuint(r.t.watchdogs, ==, 1);
    g_assert_cmphex(in16(&r.t, TCO + 6), ==, 1 << 1);
    test_platform_close(&r.t);
}

static void test_reset_control(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, 0xcf9, 2);
    g_assert_cmphex(in8(&r.t, 0xcf9), ==, 2);
    g_assert_cmpuint(r.t.resets, ==, 0);
    out8(&r.t, 0xcf9, 6);
    g_assert_cmpuint(r.t.resets, ==, 1);
    test_platform_close(&r.t);
}

static void test_smbus(void)
{
    enum { PORTS = 0x700 };
    Rig r;
    open_rig(&r);
    set(&r, SMB, PCI_BAR0 + 4 * ICH9_SMBUS_BAR, PORTS, 4);
    set(&r, SMB, PCI_COMMAND, PCI_COMMAND_IO, 2);
    out8(&r.t, PORTS + 2, 0x48);
    g_assert_cmphex(in8(&r.t, PORTS), ==, 0); /* the host is not enabled */
    set(&r, SMB, ICH9_SMBUS_HOSTC, 1, 1);
    g_assert_cmphex(in8(&r.t, PORTS), ==, 0x40); /* the semaphore: taken by the read before */
    out8(&r.t, PORTS, 0x40);
    out8(&r.t, PORTS + 4, 0xa1);
    out8(&r.t, PORTS + 2, 0x49);
    g_assert_cmphex(in8(&r.t, PORTS), ==, 0x04); /* no answer */
    g_assert_cmphex(in8(&r.t, PORTS + 2), ==, 0x09);
    g_assert_cmpint(r.t.gsi[16].level, ==, 1);
    out8(&r.t, PORTS, 0xff);
    g_assert_cmpint(r.t.gsi[16].level, ==, 0);
    out8(&r.t, PORTS + 0xd, 2);
    in8(&r.t, PORTS + 2);
    out8(&r.t, PORTS + 7, 0xaa);
    out8(&r.t, PORTS + 7, 0x55);
    in8(&r.t, PORTS + 2);
    g_assert_cmphex(in8(&r.t, PORTS + 7), ==, 0xaa);
    g_assert_cmphex(in8(&r.t, PORTS + 7), ==, 0x55);
    test_save_load(r.t.p.devices->pdata[3]);
    test_platform_close(&r.t);
}

/* A function behind a root port: found by its bus number, reached through the windows, reset by the bridge. */
static void test_root_port(void)
{
    enum { PORT = PCI_DEVFN(1, 0), WINDOW = (int)0xc0100000 };
    g_auto(Error) err = {};
    Rig r;
    open_rig(&r);
    PciDevice *port = device_new(&r.t.p, "ioh3420");
    port->addr      = 1 + PORT;
    g_assert_true(device_realize(&port->dev, pci_bus_base(r.host->bus), &err));
    Bus       *behind = port->dev.buses->pdata[0];
    PciDevice *edu    = device_new(&r.t.p, "edu");
    g_assert_true(device_realize(&edu->dev, behind, &err));
    g_assert_cmpuint(edu->devfn, ==, 0);
    PciDevice *second = device_new(&r.t.p, "edu");
    g_assert_false(device_realize(&second->dev, behind, &err)); /* a link has one other end */
    devices_reset(&r.t.p, RESET_COLD);
    set(&r, 0, Q35_PCIEXBAR, (uint32_t)Q35_ECAM_BASE | 1, 4);

    g_assert_cmphex(mem_load(&r.t, Q35_ECAM_BASE + (1 << 20), 4), ==, 0xffffffff);
    set(&r, PORT, PCI_PRIMARY_BUS, 0x00010100, 4);
    g_assert_cmphex(mem_load(&r.t, Q35_ECAM_BASE + (1 << 20), 4), ==, 0x11e81234);
    g_assert_cmphex(mem_load(&r.t, Q35_ECAM_BASE + (PORT << 12) + 0x100, 4), ==, 0); /* no extended capabilities */
    uint8_t express = pci_find_capability(port, PCI_CAP_EXPRESS);
    g_assert_cmpuint(express, ==, 0x90);
    g_assert_cmphex(get(&r, PORT, express + 2, 2), ==, 0x0142);
    g_assert_cmphex(get(&r, PORT, express + 0x1a, 2) & 0x40, ==, 0x40); /* somebody is there */

    pci_config_write(edu, PCI_BAR0, (uint32_t)WINDOW, 4);
    pci_config_write(edu, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    g_assert_cmphex(mem_load(&r.t, (uint32_t)WINDOW, 4), ==, 0xffffffff); /* no window yet */
    set(&r, PORT, PCI_MEMORY_BASE, 0xc010c010, 4);
    set(&r, PORT, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
    g_assert_cmphex(mem_load(&r.t, (uint32_t)WINDOW, 4) & 0xff, ==, 0xed);
    uint32_t word = 0;
    g_assert_cmpint(pci_dma_write(edu, 0x1000, &word, 4), !=, MEM_OK); /* the port is no bus master */
    set(&r, PORT, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
    g_assert_cmpint(pci_dma_write(edu, 0x1000, &word, 4), ==, MEM_OK);
    set(&r, PORT, PCI_MEMORY_BASE, 0xc000c010, 4); /* base above limit */
    g_assert_cmphex(mem_load(&r.t, (uint32_t)WINDOW, 4), ==, 0xffffffff);
    set(&r, PORT, PCI_BRIDGE_CONTROL, 1 << 6, 2);
    g_assert_cmphex(pci_config_read(edu, PCI_COMMAND, 2), ==, 0);
    test_save_load(&port->dev);
    test_platform_close(&r.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/q35/mmcfg", test_mmcfg);
    g_test_add_func("/q35/tseg", test_tseg);
    g_test_add_func("/q35/routing", test_routing);
    g_test_add_func("/q35/power", test_power);
    g_test_add_func("/q35/smi", test_smi);
    g_test_add_func("/q35/smi-features", test_smi_features);
    g_test_add_func("/q35/tco", test_tco);
    g_test_add_func("/q35/reset-control", test_reset_control);
    g_test_add_func("/q35/smbus", test_smbus);
    g_test_add_func("/q35/root-port", test_root_port);
    return g_test_run();
}
