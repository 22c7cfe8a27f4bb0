/* 82Q35 memory controller hub (MCH): host bridge with PCI Express configuration space.
 * Specification: Intel 3 Series Express Chipset Family data sheet, order 316966-002 (August 2007), chapter 5; extended
 * TSEG (register 50h) as edk2's PlatformPei asks QEMU's for it; PCI Express Base Specification 3.0, section 7.2.2 for
 * the memory-mapped configuration space. Under the machine lock.
 *
 * Two devices, as guests and management see them: "q35-pcihost" has the ports of configuration mechanism #1 and the
 * bus; "mch" is function 00.0. */

#include "devices/pci/q35.h"

/* ---- Function 0 ---- */

enum {
    MCH_EXT_TSEG = 0x50, /* 16 bits: FFFFh asks for the size of extended TSEG in MiB */
    MCH_SMRAM    = 0x9d,
    MCH_ESMRAMC  = 0x9e,

    PCIEXBAR_LENGTH_SHIFT = 1, /* 256, 128, 64 MiB */
    PCIEXBAR_LENGTHS      = 3,

    ESMRAMC_T_EN       = 1 << 0,
    ESMRAMC_SIZE_SHIFT = 1,
    ESMRAMC_SIZE_EXT   = 3,      /* reserved in the data sheet */
    ESMRAMC_FIXED      = 7 << 3, /* SMRAM is cached: these read as ones */
    ESMRAMC_WRITABLE   = 0x87,

    EXT_TSEG_QUERY = 0xffff,

    MMCFG_PRIORITY = 1, /* over RAM and PCI memory */
    TSEG_PRIORITY  = 1,
};

#define PCIEXBAR_ADDRESS UINT64_C(0x0000000ffc000000) /* down to 64 MiB */

typedef struct Mch {
    PciHostFunction f;
    uint16_t        ext_tseg_mbytes;
    Region          mmcfg;
    bool            mmcfg_mapped;
    Region          tseg_hole, tseg_window; /* in the usual view, and RAM in that of SMM */
    uint64_t        tseg_size;              /* 0: neither is mapped */
} Mch;

/* 4 KiB a function: bus, device and function in the address. */
static uint64_t mmcfg_read(void *opaque, uint64_t offset, unsigned size)
{
    const Mch *mch = opaque;
    return pci_bus_config_read(mch->f.host->bus, (uint8_t)(offset >> 20), (uint8_t)(offset >> 12), offset & 0xfff,
                               size);
}

/* SeaBIOS, woken from S3, sets PCIEXBAR up from nothing, 0 first, and does so through the window, which it remembers
 * from its start. A write through the window that would close it is not taken: what comes after it would be lost, here
 * all that SeaBIOS still has to write, and at the next waking the place of the power management registers too. */
static bool closes_window(uint64_t offset, uint64_t value)
{
    return offset == Q35_PCIEXBAR && !(value & Q35_PCIEXBAR_ENABLE);
}

static void mmcfg_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    const Mch *mch = opaque;
    if (closes_window(offset, value)) {
        return;
    }
    pci_bus_config_write(mch->f.host->bus, (uint8_t)(offset >> 20), (uint8_t)(offset >> 12), offset & 0xfff,
                         (uint32_t)value, size);
}

static const IoOps mmcfg_ops = {
    .name = "pcie-mmcfg", .access = IO_BYTE | IO_WORD | IO_LONG, .read = mmcfg_read, .write = mmcfg_write
};

static uint64_t tseg_read(void *opaque, uint64_t offset, unsigned size)
{
    return UINT64_MAX;
}

static void tseg_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const IoOps tseg_ops = {
    .name = "tseg-hole", .access = IO_ANY, .unaligned = true, .lockless = true, .read = tseg_read, .write = tseg_write
};

static bool ecam_of(const Mch *mch, uint64_t *base, uint64_t *size)
{
    uint64_t bar    = pci_get32(&mch->f.pci, Q35_PCIEXBAR) | (uint64_t)pci_get32(&mch->f.pci, Q35_PCIEXBAR + 4) << 32;
    unsigned length = bar >> PCIEXBAR_LENGTH_SHIFT & 3;
    *size           = Q35_ECAM_SIZE >> length;
    *base           = bar & PCIEXBAR_ADDRESS & ~(*size - 1);
    return bar & Q35_PCIEXBAR_ENABLE && length < PCIEXBAR_LENGTHS;
}

static void update_mmcfg(Mch *mch)
{
    uint64_t base = 0, size = 0;
    bool     wanted = ecam_of(mch, &base, &size);
    if (wanted == mch->mmcfg_mapped && (!wanted || (mch->mmcfg.addr == base && mch->mmcfg.size == size))) {
        return;
    }
    if (mch->mmcfg_mapped) {
        region_unmap(&mch->mmcfg);
        region_destroy(&mch->mmcfg);
    }
    if (wanted) {
        region_init_io(&mch->mmcfg, mch->f.pci.dev.platform->memory, mmcfg_ops.name, size, &mmcfg_ops, mch);
        region_map(mch->f.pci.dev.platform->system_memory, base, &mch->mmcfg, MMCFG_PRIORITY);
    }
    mch->mmcfg_mapped = wanted;
}

static uint64_t tseg_wanted(const Mch *mch)
{
    static const uint8_t mbytes[] = { 1, 2, 8, 0 };
    uint8_t              esmramc  = mch->f.pci.config[MCH_ESMRAMC];
    unsigned             size     = esmramc >> ESMRAMC_SIZE_SHIFT & 3;
    uint64_t             bytes    = (uint64_t)(size == ESMRAMC_SIZE_EXT ? mch->ext_tseg_mbytes : mbytes[size]) << 20;
    bool on = esmramc & ESMRAMC_T_EN && mch->f.pci.config[MCH_SMRAM] & SMRAM_G_SMRAME && bytes < mch->f.host->ram->size;
    return on ? bytes : 0;
}

static void drop_tseg(Mch *mch)
{
    if (mch->tseg_size) {
        region_unmap(&mch->tseg_hole);
        region_unmap(&mch->tseg_window);
        region_destroy(&mch->tseg_hole);
        region_destroy(&mch->tseg_window);
    }
    mch->tseg_size = 0;
}

static void update_tseg(Mch *mch)
{
    Platform *p    = mch->f.pci.dev.platform;
    uint64_t  size = tseg_wanted(mch);
    if (size == mch->tseg_size) {
        return;
    }
    drop_tseg(mch);
    if (size) {
        uint64_t base = mch->f.host->ram->size - size;
        region_init_io(&mch->tseg_hole, p->memory, tseg_ops.name, size, &tseg_ops, mch);
        region_init_alias(&mch->tseg_window, p->memory, "tseg-window", mch->f.host->ram, base, size);
        region_map(p->system_memory, base, &mch->tseg_hole, TSEG_PRIORITY);
        region_map(&mch->f.host->smram, base, &mch->tseg_window, 0);
    }
    mch->tseg_size = size;
}

static void mch_update(Mch *mch)
{
    Memory *memory = mch->f.pci.dev.platform->memory;
    memory_begin(memory);
    pci_host_function_update(&mch->f);
    update_mmcfg(mch);
    update_tseg(mch);
    memory_commit(memory);
}

static bool covers(unsigned offset, unsigned size, unsigned reg)
{
    return offset <= reg && reg < offset + size;
}

static void mch_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    Mch    *mch     = (Mch *)pci;
    uint8_t smram   = pci->config[MCH_SMRAM];
    uint8_t esmramc = pci->config[MCH_ESMRAMC];
    pci_host_function_write(&mch->f, "mch", offset, value, size);
    if (smram & SMRAM_D_LCK) { /* unlike the 82441FX, whose G_SMRAME can still be changed */
        pci->config[MCH_SMRAM]   = (pci->config[MCH_SMRAM] & ~SMRAM_G_SMRAME) | (smram & SMRAM_G_SMRAME);
        pci->config[MCH_ESMRAMC] = esmramc;
    }
    if (covers(offset, size, MCH_EXT_TSEG + 1) && pci_get16(pci, MCH_EXT_TSEG) == EXT_TSEG_QUERY) {
        pci_put16(pci, MCH_EXT_TSEG, mch->ext_tseg_mbytes);
    }
    mch_update(mch);
}

static const PciDeviceInfo mch_info = {
    .vendor_id    = 0x8086,
    .device_id    = 0x29c0,
    .class_code   = 0x060000,
    .no_hotplug   = true,
    .config_write = mch_config_write,
};

static const Field mch_properties[] = {
    PCI_PROPERTIES(Mch, f.pci),
    FIELD(Mch, ext_tseg_mbytes, "extended-tseg-mbytes", .initial = 16, .max = 0xfff,
          .help = "size of the extended TSEG that firmware may ask for; 0: none"),
    {},
};
static const Field mch_state[] = { PCI_STATE(Mch, f.pci), {} };

static bool mch_realize(Device *dev, Error *err)
{
    Mch     *mch    = (Mch *)dev;
    uint8_t *config = mch->f.pci.config, *wmask = mch->f.pci.wmask;
    pci_host_function_init(&mch->f, 0x0080 /* fast back-to-back */, Q35_PAM0, MCH_SMRAM);
    pci_put32(&mch->f.pci, Q35_PCIEXBAR, (uint32_t)Q35_ECAM_BASE);
    wmask[Q35_PCIEXBAR]     = 0x07;
    wmask[Q35_PCIEXBAR + 3] = 0xfc;
    wmask[Q35_PCIEXBAR + 4] = 0x0f;
    config[MCH_ESMRAMC]     = ESMRAMC_FIXED;
    wmask[MCH_ESMRAMC]      = ESMRAMC_WRITABLE;
    if (mch->ext_tseg_mbytes) {
        memset(wmask + MCH_EXT_TSEG, 0xff, 2);
    }
    mch_update(mch);
    return true;
}

static void mch_unrealize(Device *dev)
{
    Mch *mch = (Mch *)dev;
    drop_tseg(mch);
    if (mch->mmcfg_mapped) {
        region_unmap(&mch->mmcfg);
        region_destroy(&mch->mmcfg);
        mch->mmcfg_mapped = false;
    }
    pam_destroy(&mch->f.pam);
}

/* D_LCK is undone here too: this is the reset that power-on and PLTRST# share. */
static void mch_reset(Device *dev, ResetKind kind)
{
    if (kind == RESET_WAKE) {
        return; /* SeaBIOS goes on in shadow RAM */
    }
    pci_device_reset(dev, kind);
    mch_update((Mch *)dev);
}

static bool mch_post_load(Device *dev, Error *err)
{
    if (!pci_device_post_load(dev, err)) {
        return false;
    }
    mch_update((Mch *)dev);
    return true;
}

DEVICE_TYPE(mch) = {
    .name       = "mch",
    .parent     = "pci-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "Host bridge",
    .size       = sizeof(Mch),
    .bus        = BUS_PCI,
    .bus_info   = &mch_info,
    .category   = DEVICE_BRIDGE,
    .internal   = true,
    .properties = mch_properties,
    .state      = mch_state,
    .realize    = mch_realize,
    .unrealize  = mch_unrealize,
    .reset      = mch_reset,
    .post_load  = mch_post_load,
};

/* ---- The host bridge ---- */

static bool host_realize(Device *dev, Error *err)
{
    return pci_host_realize((PciHost *)dev, "pcie.0", err);
}

DEVICE_TYPE(host) = {
    .name      = "q35-pcihost",
    .parent    = "sys-bus-device",
    .class     = OBJECT_CLASS_DEVICE,
    .help      = "82Q35 host bridge",
    .size      = sizeof(PciHost),
    .bus       = BUS_SYSTEM,
    .category  = DEVICE_BRIDGE,
    .internal  = true,
    .state     = pci_host_state,
    .realize   = host_realize,
    .unrealize = pci_host_unrealize,
    .reset     = pci_host_reset,
};

PciHost *q35_create(Platform *platform, Region *ram, Error *err)
{
    return pci_host_create(platform, "q35-pcihost", "mch", ram, err);
}

bool q35_ecam(const PciHost *host, uint64_t *base, uint64_t *size)
{
    return ecam_of((const Mch *)host->function, base, size);
}
