/* 82441FX PCI and memory controller (PMC): host bridge.
 * Specification: Intel 440FX PCIset 82441FX/82442FX data sheet, order 290549-001 (May 1996), chapters 3.1 and 3.2.
 * Under the machine lock.
 *
 * Two devices, as guests and management see them: "i440FX-pcihost" has the ports of configuration mechanism #1 and
 * the bus; "i440FX" is function 00.0 with the registers that decide what lies at A0000h to FFFFFh. */

#include "devices/pci/i440fx.h"

#include "base/bytes.h"
#include "memory/ram.h"

/* ---- Function 0 ---- */

enum {
    PMC_PAM0  = 0x59, /* PAM0..PAM6 up to 5Fh */
    PMC_SMRAM = 0x72,
    PMC_TRC   = 0x93, /* turbo reset control */

    PAM_RE = 1, /* reads go to DRAM */
    PAM_WE = 2, /* writes go to DRAM */

    SMRAM_C_BASE_SEG = 0x02, /* the only segment there is: A0000h */
    SMRAM_G_SMRAME   = 0x08,
    SMRAM_D_LCK      = 0x10,
    SMRAM_D_CLS      = 0x20,
    SMRAM_D_OPEN     = 0x40,

    TRC_HARD = 1 << 1,
    TRC_RCPU = 1 << 2,

    N_SEGMENTS    = 13,
    SMRAM_BASE    = 0xa0000,
    SMRAM_SIZE    = 0x20000,
    HOLE_SIZE     = 0x60000, /* A0000h to FFFFFh */
    HOLE_PRIORITY = 1,       /* over RAM at 0 */
    VIEW_PRIORITY = 2,
};

/* A stretch of C0000h to FFFFFh whose reads and writes go to DRAM or to PCI, each as its attributes say. */
typedef struct Segment {
    struct Pmc *pmc;
    uint32_t    base, size;
    uint8_t     reg, shift; /* its attributes: bits shift and shift + 1 of config[reg] */
    Region      ram;        /* alias of RAM: read-only for RE alone */
    Region      pci;        /* alias of PCI memory */
    Region      split;      /* reads from PCI, writes to RAM: while firmware copies itself */
    int         mode;       /* attributes that are in force, -1: none */
} Segment;

typedef struct Pmc {
    PciDevice     pci;
    I440fx       *host;
    Segment       segments[N_SEGMENTS];
    Region        hole;       /* hides RAM where PCI is shown and nothing is there */
    Region        vga;        /* PCI memory at A0000h */
    Region        smram_open; /* RAM there, for everybody */
    Region        smram_low;  /* RAM at A0000h, in the view of SMM */
    Region        pci_root, pci_window;
    AddressSpace *pci_space; /* PCI memory alone, for Segment.split */
} Pmc;

struct I440fx {
    Device   dev;
    PciBus  *bus;
    Region   pci_memory;
    Region   smram;
    Region   address_port, data_port;
    Region  *ram;
    Pmc     *pmc;
    uint32_t confadd; /* CF8h */
    uint8_t (*reset_control_read)(void *opaque);
    void (*reset_control_write)(void *opaque, uint8_t value);
    void *reset_control_opaque;
};

static uint64_t hole_read(void *opaque, uint64_t offset, unsigned size)
{
    return UINT64_MAX;
}

static void hole_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const IoOps hole_ops = {
    .name = "pci-hole", .access = IO_ANY, .unaligned = true, .lockless = true, .read = hole_read, .write = hole_write
};

static uint64_t split_read(void *opaque, uint64_t offset, unsigned size)
{
    Segment *s = opaque;
    return address_space_load(s->pmc->pci_space, s->base + offset, size);
}

static void split_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Segment *s   = opaque;
    Region  *ram = s->pmc->host->ram;
    uint64_t at  = s->base + offset;
    for (; ram->kind == REGION_ALIAS; ram = ram->alias) {
        at += ram->alias_offset;
    }
    at += ram->ram_offset;
    store_le(ram->ram->host + at, value, size);
    ram_block_written(ram->ram, at, size);
}

static const IoOps split_ops = {
    .name = "pam-split", .access = IO_ANY, .unaligned = true, .read = split_read, .write = split_write
};

static void segment_init(Pmc *pmc, unsigned n)
{
    Segment *s      = &pmc->segments[n];
    Memory  *memory = pmc->pci.dev.platform->memory;
    Region  *system = pmc->pci.dev.platform->system_memory;
    s->pmc          = pmc;
    s->mode         = -1;
    s->base         = n ? 0xc0000 + (n - 1) * 0x4000 : 0xf0000;
    s->size         = n ? 0x4000 : 0x10000;
    s->reg          = (uint8_t)(PMC_PAM0 + (n + 1) / 2);
    s->shift        = n % 2 ? 0 : 4;
    region_init_alias(&s->ram, memory, "pam-ram", pmc->host->ram, s->base, s->size);
    region_init_alias(&s->pci, memory, "pam-pci", &pmc->host->pci_memory, s->base, s->size);
    region_init_io(&s->split, memory, "pam-split", s->size, &split_ops, s);
    Region *views[] = { &s->ram, &s->pci, &s->split };
    for (unsigned i = 0; i < G_N_ELEMENTS(views); i++) {
        region_set_enabled(views[i], false);
        region_map(system, s->base, views[i], VIEW_PRIORITY);
    }
}

static void segment_destroy(Segment *s)
{
    Region *views[] = { &s->ram, &s->pci, &s->split };
    for (unsigned i = 0; i < G_N_ELEMENTS(views); i++) {
        region_unmap(views[i]);
        region_destroy(views[i]);
    }
}

static void pmc_update(Pmc *pmc)
{
    uint8_t smram = pmc->pci.config[PMC_SMRAM];
    memory_begin(pmc->pci.dev.platform->memory);
    for (unsigned n = 0; n < N_SEGMENTS; n++) {
        Segment *s    = &pmc->segments[n];
        int      mode = pmc->pci.config[s->reg] >> s->shift & (PAM_RE | PAM_WE);
        if (mode != s->mode) {
            region_set_readonly(&s->ram, !(mode & PAM_WE));
            region_set_enabled(&s->ram, mode & PAM_RE);
            region_set_enabled(&s->split, mode == PAM_WE);
            region_set_enabled(&s->pci, mode == 0);
            s->mode = mode;
        }
    }
    bool open = smram & SMRAM_G_SMRAME && smram & SMRAM_D_OPEN;
    region_set_enabled(&pmc->vga, !open);
    region_set_enabled(&pmc->smram_open, open);
    region_set_enabled(&pmc->smram_low, smram & SMRAM_G_SMRAME);
    memory_commit(pmc->pci.dev.platform->memory);
}

static void write_smram(Pmc *pmc, uint8_t old, uint8_t value)
{
    const Log *log = pmc->pci.dev.platform->log;
    if (old & SMRAM_D_LCK) {
        value = (uint8_t)((value & SMRAM_G_SMRAME) | (value & SMRAM_D_CLS) | SMRAM_D_LCK);
    } else if (value & SMRAM_D_LCK) {
        value &= (uint8_t)~SMRAM_D_OPEN;
    }
    if (value & SMRAM_D_CLS && !(old & SMRAM_D_CLS)) {
        log_print(log, LOG_UNIMP, "i440FX: SMRAM closed to data (D_CLS) stays open\n");
    }
    pmc->pci.config[PMC_SMRAM] =
        (uint8_t)((value & (SMRAM_D_OPEN | SMRAM_D_CLS | SMRAM_D_LCK | SMRAM_G_SMRAME)) | SMRAM_C_BASE_SEG);
}

static void pmc_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    Pmc    *pmc       = (Pmc *)pci;
    uint8_t old_smram = pci->config[PMC_SMRAM], old_trc = pci->config[PMC_TRC];
    pci_config_store_default(pci, offset, value, size);
    if (offset <= PMC_SMRAM && PMC_SMRAM < offset + size) {
        write_smram(pmc, old_smram, pci->config[PMC_SMRAM]);
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
    Pmc      *pmc    = (Pmc *)dev;
    Platform *p      = dev->platform;
    uint8_t  *config = pmc->pci.config, *wmask = pmc->pci.wmask;
    pci_put16(&pmc->pci, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    pci_put16(&pmc->pci, PCI_STATUS, 0x0280); /* medium DEVSEL timing, fast back-to-back */
    memset(pmc->pci.wmask + PCI_COMMAND, 0, 2);
    pmc->pci.wmask[PCI_COMMAND + 1] = PCI_COMMAND_SERR >> 8;
    wmask[PMC_PAM0]                 = 0x30;
    memset(wmask + PMC_PAM0 + 1, 0x33, 6);
    config[PMC_SMRAM] = SMRAM_C_BASE_SEG;
    wmask[PMC_SMRAM]  = 0x78;
    wmask[PMC_TRC]    = TRC_HARD | TRC_RCPU;

    region_init_container(&pmc->pci_root, p->memory, "pam-pci-view", UINT64_MAX);
    region_init_alias(&pmc->pci_window, p->memory, "pam-pci-window", &pmc->host->pci_memory, 0, UINT64_MAX);
    region_map(&pmc->pci_root, 0, &pmc->pci_window, 0);
    pmc->pci_space = address_space_new(p->memory, &pmc->pci_root, "pam-pci-view");

    region_init_alias(&pmc->vga, p->memory, "smram-pci", &pmc->host->pci_memory, SMRAM_BASE, SMRAM_SIZE);
    region_init_io(&pmc->hole, p->memory, hole_ops.name, HOLE_SIZE, &hole_ops, pmc);
    region_init_alias(&pmc->smram_open, p->memory, "smram-open", pmc->host->ram, SMRAM_BASE, SMRAM_SIZE);
    region_init_alias(&pmc->smram_low, p->memory, "smram-low", pmc->host->ram, SMRAM_BASE, SMRAM_SIZE);
    memory_begin(p->memory);
    region_map(p->system_memory, SMRAM_BASE, &pmc->hole, HOLE_PRIORITY);
    region_map(p->system_memory, SMRAM_BASE, &pmc->vga, VIEW_PRIORITY);
    region_map(p->system_memory, SMRAM_BASE, &pmc->smram_open, VIEW_PRIORITY);
    region_set_enabled(&pmc->smram_low, false);
    region_map(&pmc->host->smram, SMRAM_BASE, &pmc->smram_low, 0);
    for (unsigned n = 0; n < N_SEGMENTS; n++) {
        segment_init(pmc, n);
    }
    pmc_update(pmc);
    memory_commit(p->memory);
    return true;
}

static void pmc_unrealize(Device *dev)
{
    Pmc *pmc = (Pmc *)dev;
    memory_begin(dev->platform->memory);
    for (unsigned n = 0; n < N_SEGMENTS; n++) {
        segment_destroy(&pmc->segments[n]);
    }
    Region *regions[] = { &pmc->hole, &pmc->vga, &pmc->smram_open, &pmc->smram_low };
    for (unsigned i = 0; i < G_N_ELEMENTS(regions); i++) {
        region_unmap(regions[i]);
        region_destroy(regions[i]);
    }
    memory_commit(dev->platform->memory);
    address_space_free(pmc->pci_space);
    region_unmap(&pmc->pci_window);
    region_destroy(&pmc->pci_window);
    region_destroy(&pmc->pci_root);
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

/* ---- The host bridge's ports ---- */

enum {
    CONFADD      = 0xcf8,
    CONFDATA     = 0xcfc,
    RESET_OFFSET = 1, /* CF9h, a byte that is not the host bridge's */

    CONFADD_ENABLE = 1u << 31,
};

/* Only whole dwords reach CONFADD; smaller cycles go on to PCI, where the ISA bridge has its reset register. */
static uint64_t address_read(void *opaque, uint64_t offset, unsigned size)
{
    I440fx *host = opaque;
    if (size == 4) {
        return host->confadd;
    }
    if (size == 1 && offset == RESET_OFFSET && host->reset_control_read) {
        return host->reset_control_read(host->reset_control_opaque);
    }
    return UINT64_MAX;
}

static void address_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I440fx *host = opaque;
    if (size == 4) {
        host->confadd = (uint32_t)value & ~0x7f000003u;
    } else if (size == 1 && offset == RESET_OFFSET && host->reset_control_write) {
        host->reset_control_write(host->reset_control_opaque, (uint8_t)value);
    }
}

static const IoOps address_ops = {
    .name = "pci-conf-idx", .access = IO_BYTE | IO_WORD | IO_LONG, .read = address_read, .write = address_write
};

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    const I440fx *host = opaque;
    if (!(host->confadd & CONFADD_ENABLE)) {
        return UINT64_MAX;
    }
    return pci_bus_config_read(host->bus, (uint8_t)(host->confadd >> 16), (uint8_t)(host->confadd >> 8),
                               (host->confadd & 0xfc) + (unsigned)offset, size);
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    const I440fx *host = opaque;
    if (host->confadd & CONFADD_ENABLE) {
        pci_bus_config_write(host->bus, (uint8_t)(host->confadd >> 16), (uint8_t)(host->confadd >> 8),
                             (host->confadd & 0xfc) + (unsigned)offset, (uint32_t)value, size);
    }
}

static const IoOps data_ops = {
    .name = "pci-conf-data", .access = IO_BYTE | IO_WORD | IO_LONG, .read = data_read, .write = data_write
};

static const Field host_state[] = { FIELD(I440fx, confadd, "confadd"), {} };

static bool host_realize(Device *dev, Error *err)
{
    I440fx   *host = (I440fx *)dev;
    Platform *p    = dev->platform;
    region_init_container(&host->pci_memory, p->memory, "pci", UINT64_MAX);
    region_map(p->system_memory, 0, &host->pci_memory, -1);
    region_init_container(&host->smram, p->memory, "smram", UINT64_C(1) << 32);
    region_init_io(&host->address_port, p->memory, address_ops.name, 4, &address_ops, host);
    region_init_io(&host->data_port, p->memory, data_ops.name, 4, &data_ops, host);
    region_map(p->system_io, CONFADD, &host->address_port, 0);
    region_map(p->system_io, CONFDATA, &host->data_port, 0);
    host->bus = pci_bus_new(p, "pci.0", dev, &host->pci_memory, p->system_io, p->system_memory, NULL);
    return true;
}

static void host_unrealize(Device *dev)
{
    I440fx *host      = (I440fx *)dev;
    Region *regions[] = { &host->address_port, &host->data_port, &host->pci_memory };
    pci_bus_free(host->bus);
    for (unsigned i = 0; i < G_N_ELEMENTS(regions); i++) {
        region_unmap(regions[i]);
        region_destroy(regions[i]);
    }
    region_destroy(&host->smram);
}

static void host_reset(Device *dev, ResetKind kind)
{
    I440fx *host  = (I440fx *)dev;
    host->confadd = 0;
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

void i440fx_on_reset_control(I440fx *host, uint8_t (*read)(void *opaque), void (*write)(void *opaque, uint8_t value),
                             void   *opaque)
{
    host->reset_control_read   = read;
    host->reset_control_write  = write;
    host->reset_control_opaque = opaque;
}
