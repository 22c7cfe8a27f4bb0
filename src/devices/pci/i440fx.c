/* 82441FX PCI and memory controller (PMC): host bridge.
 * Specification: Intel 440FX PCIset 82441FX/82442FX data sheet, order 290549-001 (May 1996), chapters 3.1 and 3.2.
 * Under the machine lock.
 *
 * Two devices, as guests and management see them: "i440FX-pcihost" has the ports of configuration mechanism #1 and
 * the bus; "i440FX" is function 00.0 with the registers that decide what lies at A0000h to FFFFFh. */

#include "devices/pci/i440fx.h"

/* ---- Function 0 ---- */

enum {
    PMC_PAM0  = 0x59, /* PAM0..PAM6 up to 5Fh */
    PMC_SMRAM = 0x72,
    PMC_TRC   = 0x93, /* turbo reset control */

    TRC_HARD = 1 << 1,
    TRC_RCPU = 1 << 2,
};

static void pmc_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    PciHostFunction *pmc     = (PciHostFunction *)pci;
    uint8_t          old_trc = pci->config[PMC_TRC];
    pci_host_function_write(pmc, "i440FX", offset, value, size);
    if (pci->config[PMC_TRC] & ~old_trc & TRC_RCPU) {
        pci->dev.platform->request_reset(pci->dev.platform, RESET_GUEST);
    }
    pci_host_function_update(pmc);
}

static const PciDeviceInfo pmc_info = {
    .vendor_id    = 0x8086,
    .device_id    = 0x1237,
    .revision     = 2,
    .class_code   = 0x060000,
    .no_hotplug   = true,
    .config_write = pmc_config_write,
};

static const Field pmc_properties[] = { PCI_PROPERTIES(PciHostFunction, pci), {} };
static const Field pmc_state[]      = { PCI_STATE(PciHostFunction, pci), {} };

static bool pmc_realize(Device *dev, Error *err)
{
    PciHostFunction *pmc = (PciHostFunction *)dev;
    pci_host_function_init(pmc, 0x0280 /* medium DEVSEL timing, fast back-to-back */, PMC_PAM0, PMC_SMRAM);
    pmc->pci.wmask[PMC_TRC] = TRC_HARD | TRC_RCPU;
    pci_host_function_update(pmc);
    return true;
}

static void pmc_unrealize(Device *dev)
{
    pam_destroy(&((PciHostFunction *)dev)->pam);
}

/* D_LCK is undone here too: this is the reset that power-on and PCIRST# share. */
static void pmc_reset(Device *dev, ResetKind kind)
{
    if (kind == RESET_WAKE) {
        return; /* SeaBIOS goes on in shadow RAM */
    }
    pci_device_reset(dev, kind);
    pci_host_function_update((PciHostFunction *)dev);
}

static bool pmc_post_load(Device *dev, Error *err)
{
    if (!pci_device_post_load(dev, err)) {
        return false;
    }
    pci_host_function_update((PciHostFunction *)dev);
    return true;
}

DEVICE_TYPE(pmc) = {
    .name       = "i440FX",
    .parent     = "pci-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "Host bridge",
    .size       = sizeof(PciHostFunction),
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

static bool host_realize(Device *dev, Error *err)
{
    return pci_host_realize((PciHost *)dev, "pci.0", err);
}

DEVICE_TYPE(host) = {
    .name      = "i440FX-pcihost",
    .parent    = "sys-bus-device",
    .class     = OBJECT_CLASS_DEVICE,
    .help      = "82441FX host bridge",
    .size      = sizeof(PciHost),
    .bus       = BUS_SYSTEM,
    .category  = DEVICE_BRIDGE,
    .internal  = true,
    .state     = pci_host_state,
    .realize   = host_realize,
    .unrealize = pci_host_unrealize,
    .reset     = pci_host_reset,
};

PciHost *i440fx_create(Platform *platform, Region *ram, Error *err)
{
    return pci_host_create(platform, "i440FX-pcihost", "i440FX", ram, err);
}
