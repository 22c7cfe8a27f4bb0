/* PCI: buses, functions, their configuration space, BARs, DMA and interrupts.
 * Specification: PCI Local Bus Specification 3.0 (2004); PCI-to-PCI Bridge Architecture 1.2 for type 1 headers.
 *
 * A function's DeviceType has .bus = BUS_PCI, .bus_info = a PciDeviceInfo, PCI_PROPERTIES in its property table,
 * PCI_STATE in its state table, pci_device_reset and pci_device_post_load (or functions that call them) as reset and
 * post_load, and PciDevice first in its struct. The bus fills in the header and makes the DMA space before realize is
 * called; realize adds BARs and capabilities; unplugging takes all that away after unrealize.
 *
 * Machine lock held throughout, but for pci_dma_* and pci_msi_notify/pci_msix_notify, which any thread may call. */

#ifndef QUERN_DEVICES_PCI_PCI_H
#define QUERN_DEVICES_PCI_PCI_H

#include "devices/device.h"
#include "devices/pci/pci_regs.h"
#include "memory/dma.h"

typedef struct PciBus    PciBus;
typedef struct PciDevice PciDevice;
typedef struct PciMsix   PciMsix;

enum {
    PCI_CONFIG_SIZE   = 256,
    PCI_EXTENDED_SIZE = 4096, /* of functions on PCI Express, through memory-mapped configuration space */
    PCI_N_BARS        = 6,
    PCI_ROM           = 6, /* index of the expansion ROM among the BARs */
    PCI_N_REGIONS     = 7,
    PCI_N_PINS        = 4,
    PCI_N_LINES       = 32,
};

#define PCI_DEVFN(slot, fn) ((uint8_t)((slot) << 3 | (fn)))
#define PCI_SLOT(devfn)     ((devfn) >> 3)
#define PCI_FUNC(devfn)     ((devfn)&7)

/* What never changes about a kind of function; DeviceType.bus_info. */
typedef struct PciDeviceInfo {
    uint16_t vendor_id, device_id;
    uint16_t subsystem_vendor_id, subsystem_id; /* 0, 0: 1AF4h, 1100h as QEMU's; not for bridges */
    uint32_t class_code;                        /* 24 bits: class, subclass, interface */
    uint8_t  revision;
    uint8_t  interrupt_pin; /* 0: none, 1: INTA ... 4: INTD */
    bool     bridge;        /* type 1 header */
    bool     no_subsystem;  /* the subsystem registers read as 0 */
    bool     no_hotplug;
    /* Called instead of pci_config_load_default/store_default, which they usually call. NULL: the defaults. */
    uint32_t (*config_read)(PciDevice *pci, unsigned offset, unsigned size);
    void (*config_write)(PciDevice *pci, unsigned offset, uint32_t value, unsigned size);
} PciDeviceInfo;

typedef enum PciBarKind { PCI_BAR_MEM32, PCI_BAR_MEM64, PCI_BAR_IO } PciBarKind;

typedef struct PciBar {
    Region    *region; /* the device's; NULL: no such BAR */
    uint64_t   size;   /* power of two */
    PciBarKind kind;
    bool       prefetch;
    bool       mapped;
    uint64_t   addr; /* where it is mapped */
} PciBar;

struct PciDevice {
    Device   dev;
    PciBus  *pci_bus;
    uint32_t addr; /* property: 1 + devfn, 0: the bus chooses */
    uint8_t  devfn;
    bool     multifunction;
    bool     rombar;
    char    *romfile;

    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t wmask[PCI_CONFIG_SIZE];     /* bits that guests can write */
    uint8_t w1cmask[PCI_CONFIG_SIZE];   /* bits that guests clear by writing 1 */
    uint8_t volatiles[PCI_CONFIG_SIZE]; /* bits that the device changes by itself: loaded with saved state */
    uint8_t used[PCI_CONFIG_SIZE];      /* 1: byte taken by the header or a capability */
    uint8_t initial[PCI_CONFIG_SIZE];   /* as realize left it: what reset goes back to */
    bool    initial_taken;
    bool    express; /* has extended configuration space, without extended capabilities: it reads as 0 */

    PciBar    bars[PCI_N_REGIONS];
    Region    rom;
    RamBlock *rom_ram;

    bool          irq_asserted; /* what the device asks for */
    bool          irq_driven;   /* what the bus sees: not while INTx is disabled or MSI is on */
    Region        dma_root, dma_window;
    AddressSpace *dma; /* system memory while bus mastering is enabled, empty otherwise */

    GMutex   msi_lock; /* guards what follows, and the capabilities' bytes in config */
    uint8_t  msi_cap;  /* offset of the capability, 0: none */
    uint8_t  msix_cap; /* likewise */
    PciMsix *msix;
};

#define PCI_PROPERTIES(Type, pci)                                                                                      \
    { .name   = "addr",                                                                                                \
      .kind   = FIELD_CUSTOM,                                                                                          \
      .offset = offsetof(Type, pci.addr),                                                                              \
      .size   = sizeof(uint32_t),                                                                                      \
      .count  = 1,                                                                                                     \
      .custom = &pci_addr_property,                                                                                    \
      .help   = "slot and function, like 06.0" },                                                                        \
        FIELD(Type, pci.multifunction, "multifunction", .help = "other functions of the slot may follow"),             \
        FIELD(Type, pci.rombar, "rombar", .initial = true, .help = "show the option ROM in its BAR"),                  \
        FIELD(Type, pci.romfile, "romfile", .help = "file with the option ROM; empty: none")

#define PCI_STATE(Type, pci)                                                                                           \
    FIELD_ARRAY(Type, pci.config, "config"), FIELD(Type, pci.irq_asserted, "irq-asserted"),                            \
    {                                                                                                                  \
        .name = "msix", .kind = FIELD_CUSTOM, .offset = offsetof(Type, pci.msix), .size = sizeof(PciMsix *),           \
        .count = 1, .custom = &pci_msix_state                                                                          \
    }

extern const FieldCustom pci_msix_state;
extern const FieldCustom pci_addr_property;

/* ---- Buses ---- */

/* How a bus passes its interrupt lines on. They are four, but for a chipset that routes slots one by one. */
typedef struct PciBusOps {
    unsigned (*map_pin)(const PciDevice *pci, unsigned pin);      /* pin 0..3 to line 0..31; NULL: (slot + pin) % 4 */
    void (*set_line)(void *opaque, unsigned line, bool level);    /* wired-OR of all functions on that line */
    void (*send_msi)(void *opaque, uint64_t addr, uint32_t data); /* any thread. NULL: platform->send_msi */
    void *opaque;
} PciBusOps;

/* A bus owned by `owner` (a host bridge, or a bridge function). `memory` and `io` are where BARs are mapped,
 * `dma` is what bus masters see. All borrowed. */
PciBus *pci_bus_new(Platform *platform, const char *name, Device *owner, Region *memory, Region *io, Region *dma,
                    const PciBusOps *ops);
void    pci_bus_free(PciBus *bus);
Bus    *pci_bus_base(PciBus *bus);
PciBus *pci_bus_from(Bus *bus);
/* Later set-up of set_line, by the device that routes interrupts (PIIX3). */
void pci_bus_set_router(PciBus *bus, unsigned (*map_pin)(const PciDevice *, unsigned),
                        void (*set_line)(void *opaque, unsigned line, bool level), void *opaque);

/* The function at devfn of bus number `number` below (or at) `bus`; NULL: none. */
PciDevice *pci_bus_find(PciBus *bus, uint8_t number, uint8_t devfn);
PciDevice *pci_bus_device(PciBus *bus, uint8_t devfn);
/* Visits the functions of this bus in order of devfn. */
void    pci_bus_foreach(PciBus *bus, void (*visit)(PciDevice *pci, void *opaque), void *opaque);
uint8_t pci_bus_number(const PciBus *bus);

/* Configuration cycles as the guest makes them: bus 0 to 255, offset up to 4095, size 1, 2 or 4, aligned. Nobody there:
 * all ones. */
uint32_t pci_bus_config_read(PciBus *root, uint8_t number, uint8_t devfn, unsigned offset, unsigned size);
void pci_bus_config_write(PciBus *root, uint8_t number, uint8_t devfn, unsigned offset, uint32_t value, unsigned size);

/* ---- Functions ---- */

/* The same on one function: what firmware (and the direct-boot loader) does. */
uint32_t pci_config_read(PciDevice *pci, unsigned offset, unsigned size);
void     pci_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size);

/* Default handling of masks, BARs, command register, MSI; for PciDeviceInfo callbacks. */
uint32_t pci_config_load_default(PciDevice *pci, unsigned offset, unsigned size);
void     pci_config_store_default(PciDevice *pci, unsigned offset, uint32_t value, unsigned size);

/* The device's own view of its registers; masks do not count. */
uint8_t  pci_get8(const PciDevice *pci, unsigned offset);
uint16_t pci_get16(const PciDevice *pci, unsigned offset);
uint32_t pci_get32(const PciDevice *pci, unsigned offset);
void     pci_put8(PciDevice *pci, unsigned offset, uint8_t value);
void     pci_put16(PciDevice *pci, unsigned offset, uint16_t value);
void     pci_put32(PciDevice *pci, unsigned offset, uint32_t value);

/* Declares a BAR in realize. `region` is the device's, of power-of-two size (I/O at least 4, memory at least 16
 * bytes), and is mapped as the guest asks. MEM64 takes n and n + 1. */
void pci_add_bar(PciDevice *pci, unsigned n, PciBarKind kind, bool prefetch, Region *region);
/* Where a BAR is mapped; false: it is not. */
bool pci_bar_address(const PciDevice *pci, unsigned n, uint64_t *addr);

/* Shows `data` as the expansion ROM (unless rombar=off); romfile= does so by itself. */
bool pci_add_rom(PciDevice *pci, const uint8_t *data, size_t len, Error *err);

/* Adds a capability of `size` bytes, its first two filled in, in front of the list; offset 0: anywhere free.
 * Returns its offset, 0 with an error when there is no room. */
uint8_t pci_add_capability(PciDevice *pci, uint8_t id, uint8_t offset, uint8_t size, Error *err);
uint8_t pci_find_capability(const PciDevice *pci, uint8_t id); /* 0: none */

/* The interrupt pin (INTx). Level; shared with others. The bus does not see it while MSI or MSI-X is enabled. */
void pci_set_irq(PciDevice *pci, bool level);

/* DMA of this function; fails with MEM_UNMAPPED while bus mastering is off. */
static inline MemResult pci_dma_read(PciDevice *pci, uint64_t addr, void *buf, size_t len)
{
    return dma_read(pci->dma, addr, buf, len);
}

static inline MemResult pci_dma_write(PciDevice *pci, uint64_t addr, const void *buf, size_t len)
{
    return dma_write(pci->dma, addr, buf, len);
}

/* For DeviceType.reset and .post_load, or called by them first. Signatures are the type's. */
void pci_device_reset(Device *dev, ResetKind kind);
bool pci_device_post_load(Device *dev, Error *err);

/* ---- Message-signalled interrupts (msi.c, msix.c) ---- */

/* Adds the MSI capability with 1, 2, 4 ... 32 vectors. */
bool pci_msi_init(PciDevice *pci, uint8_t offset, unsigned vectors, bool address64, bool per_vector_mask, Error *err);
bool pci_msi_enabled(const PciDevice *pci);
void pci_msi_notify(PciDevice *pci, unsigned vector); /* a masked one stays pending */

/* Adds the MSI-X capability with its table and pending bits in BAR `bar`, whose region (`parent`) is a container
 * of the device: the table is mapped into it at table_offset, the pending bits at pba_offset. vectors <= 2048. */
bool pci_msix_init(PciDevice *pci, uint8_t offset, unsigned vectors, unsigned bar, Region *parent,
                   uint32_t table_offset, uint32_t pba_offset, Error *err);
bool pci_msix_enabled(const PciDevice *pci);
void pci_msix_notify(PciDevice *pci, unsigned vector);

#endif
