/* 82441FX PCI and memory controller (PMC): host bridge.
 * Specification: Intel 440FX PCIset 82441FX/82442FX data sheet, order 290549-001 (May 1996), chapters 3.1 and 3.2.
 * Under the machine lock.
 *
 * Two devices, as guests and management see them: "i440FX-pcihost" has the ports of configuration mechanism #1 and
 * the bus; "i440FX" is function 00.0 with the registers that decide what lies at A0000h to FFFFFh. */

#include "devices/pci/i440fx.h"

#include "devices/pci/pam.h"

/* ---- Function 0 ---- */

enum {
    PMC_PAM0  = 0x59, /* PAM0..PAM6 up to 5Fh */
    PMC_SMRAM = 0x72,
    PMC_TRC   = 0x93, /* turbo reset control */

    TRC_HARD = 1 << 1,
    TRC_RCPU = 1 << 2,
};

typedef struct Pmc {
    PciDevice pci;
    I440fx   *host;
    Pam       pam;
} Pmc;

struct I440fx {
    Device         dev;
    PciBus        *bus;
    Region         pci_memory;
    Region         smram;
    Region        *ram;
    Pmc           *pmc;
    PciConfigPorts ports;
};

static void pmc_update(Pmc *pmc)
{
    pam_update(&pmc->pam, pmc->pci.config + PMC_PAM0, pmc->pci.config[PMC_SMRAM]);
}

static void pmc_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    Pmc    *pmc       = (Pmc *)pci;
    uint8_t old_smram = pci->config[PMC_SMRAM], old_trc = pci->config[PMC_TRC];
    pci_config_store_default(pci, offset, value, size);
    if (offset <= PMC_SMRAM && PMC_SMRAM < offset + size) {
        pci->config[PMC_SMRAM] = pam_smram_written(&pmc->pam, "i440FX", old_smram, pci->config[PMC_SMRAM]);
    }
    if (pci->config[PMC_TRC] & ~old_trc & TRC_RCPU) {
        pci->dev.platform->request_reset(pci->dev.platform, RESET_GUEST);
    }
    pmc_update(pmc);
}

static const PciDeviceInfo pmc_info = {
    .vendor_id    = 0x8086,
    .device_id    = 0x1237,
    .revision     = 2,
    .class_code   = 0x060000,
    .no_hotplug   = true,
    .config_write = pmc_config_write,
};

static const Field pmc_properties[] = { PCI_PROPERTIES(Pmc, pci), {} };
static const Field pmc_state[]      = { PCI_STATE(Pmc, pci), {} };

static bool pmc_realize(Device *dev, Error *err)
{
    Pmc     *pmc   = (Pmc *)dev;
    uint8_t *wmask = pmc->pci.wmask;
    pci_put16(&pmc->pci, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_put16(&pmc->pci, PCI_STATUS, 0x0280); /* medium DEVSEL timing, fast back-to-back */
    memset(wmask + PCI_COMMAND, 0, 2);
    wmask[PCI_COMMAND + 1] = PCI_COMMAND_SERR >> 8;
    wmask[PMC_PAM0]        = PAM_FIRST_MASK;
    memset(wmask + PMC_PAM0 + 1, PAM_MASK, PAM_REGISTERS - 1);
    pmc->pci.config[PMC_SMRAM] = SMRAM_C_BASE_SEG;
    wmask[PMC_SMRAM]           = 0x78;
    wmask[PMC_TRC]             = TRC_HARD | TRC_RCPU;
    pam_init(&pmc->pam, dev->platform, pmc->host->ram, &pmc->host->pci_memory, &pmc->host->smram);
    pmc_update(pmc);
    return true;
}

static void pmc_unrealize(Device *dev)
{
    pam_destroy(&((Pmc *)dev)->pam);
}

/* D_LCK is undone here too: this is the reset that power-on and PCIRST# share. */
static void pmc_reset(Device *dev, ResetKind kind)
{
    pci_device_reset(dev, kind);
    pmc_update((Pmc *)dev);
}

static bool pmc_post_load(Device *dev, Error *err)
{
    Pmc *pmc = (Pmc *)dev;
    if (!pci_device_post_load(dev, err)) {
        return false;
    }
    pmc_update(pmc);
    return true;
}

DEVICE_TYPE(pmc) = {
    .name       = "i440FX",
    .parent     = "pci-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "Host bridge",
    .size       = sizeof(Pmc),
    .bus        = BUS_PCI,
    .bus_info   = &pmc_info,
    .category   = DEVICE_BRIDGE,
    .internal   = true,
    .properties = pmc_properties,
    .state      = pmc_state,
    .realize    = pmc_realize,
    .unrealize  = pmc_unrealize,
    .reset      = pmc_reset,
    .post_load  = pmc_post_load,
};

/* ---- The host bridge ---- */

static const Field host_state[] = { FIELD(I440fx, ports.confadd, "confadd"), {} };

static bool host_realize(Device *dev, Error *err)
{
    I440fx   *host = (I440fx *)dev;
    Platform *p    = dev->platform;
    region_init_container(&host->pci_memory, p->memory, "pci", UINT64_MAX);
    region_map(p->system_memory, 0, &host->pci_memory, -1);
    region_init_container(&host->smram, p->memory, "smram", UINT64_C(1) << 32);
    host->bus = pci_bus_new(p, "pci.0", dev, &host->pci_memory, p->system_io, p->system_memory, NULL);
    pci_config_ports_init(&host->ports, p, host->bus);
    return true;
}

static void host_unrealize(Device *dev)
{
    I440fx *host = (I440fx *)dev;
    pci_config_ports_destroy(&host->ports);
    pci_bus_free(host->bus);
    region_unmap(&host->pci_memory);
    region_destroy(&host->pci_memory);
    region_destroy(&host->smram);
}

static void host_reset(Device *dev, ResetKind kind)
{
    ((I440fx *)dev)->ports.confadd = 0;
}

DEVICE_TYPE(host) = {
    .name      = "i440FX-pcihost",
    .parent    = "sys-bus-device",
    .class     = OBJECT_CLASS_DEVICE,
    .help      = "82441FX host bridge",
    .size      = sizeof(I440fx),
    .bus       = BUS_SYSTEM,
    .category  = DEVICE_BRIDGE,
    .internal  = true,
    .state     = host_state,
    .realize   = host_realize,
    .unrealize = host_unrealize,
    .reset     = host_reset,
};

I440fx *i440fx_create(Platform *platform, Region *ram, Error *err)
{
    I440fx *host = device_new(platform, "i440FX-pcihost");
    host->ram    = ram;
    if (!device_realize(&host->dev, NULL, err)) {
        return NULL;
    }
    Pmc *pmc      = device_new(platform, "i440FX");
    pmc->host     = host;
    pmc->pci.addr = 1 + PCI_DEVFN(0, 0);
    if (!device_realize(&pmc->pci.dev, pci_bus_base(host->bus), err)) {
        return NULL;
    }
    host->pmc = pmc;
    return host;
}

PciBus *i440fx_bus(I440fx *host)
{
    return host->bus;
}

Region *i440fx_pci_memory(I440fx *host)
{
    return &host->pci_memory;
}

Region *i440fx_smram(I440fx *host)
{
    return &host->smram;
}

void i440fx_on_reset_control(I440fx *host, ResetControl control)
{
    host->ports.reset_control = control;
}
