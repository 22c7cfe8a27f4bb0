/* PCI Express root ports without hot plug: "pcie-root-port", and "ioh3420" that looks like Intel's X58.
 * Specification: PCI Express Base Specification 3.0, section 7.8; Intel 5520 and X58 data sheet, order 321328-001
 * (March 2009), for identifiers and places of capabilities; those of pcie-root-port as QEMU's has them. Under the
 * machine lock.
 *
 * There is no advanced error reporting: nothing here makes such errors. */

#include "devices/pci/bridge.h"

#include "base/bytes.h"
#include "devices/pci/internal.h"

/* The PCI Express capability. */
enum {
    EXP_FLAGS   = 0x02,
    EXP_DEVCAP  = 0x04,
    EXP_DEVCTL  = 0x08,
    EXP_DEVSTA  = 0x0a,
    EXP_LNKCAP  = 0x0c,
    EXP_LNKCTL  = 0x10,
    EXP_LNKSTA  = 0x12,
    EXP_SLTCAP  = 0x14,
    EXP_SLTCTL  = 0x18,
    EXP_SLTSTA  = 0x1a,
    EXP_ROOTCTL = 0x1c,
    EXP_DEVCAP2 = 0x24,
    EXP_DEVCTL2 = 0x28,
    EXP_LNKCAP2 = 0x2c,
    EXP_LNKCTL2 = 0x30,
    EXP_SIZE    = 0x3c,

    FLAGS_ROOT_PORT = 2 | 4 << 4 | 1 << 8, /* version 2, root port, has a slot */
    DEVCAP_RBER     = 1 << 15,
    LNKCAP_ASPM_L0S = 1 << 10,
    LNKCAP_ACTIVE   = 1 << 20, /* the link's state can be seen */
    LNKSTA_ACTIVE   = 1 << 13,
    SLTCAP_NO_CMD   = 1 << 18, /* no command completed */
    SLTSTA_PRESENT  = 1 << 6,
    DEVCAP2_ARI     = 1 << 5,

    SSVID_CAP  = 0x0d,
    SSVID_SIZE = 8,
};

/* What differs between the two. */
typedef struct PortKind {
    uint8_t  ssvid_at, express_at, msi_at;
    uint16_t subsystem_vendor;
    uint8_t  speed, width;
} PortKind;

static const PortKind plain = { 0x40, 0x54, 0, 0x1b36, 4, 32 };
static const PortKind ioh   = { 0x40, 0x90, 0x60, 0x8086, 1, 1 };

typedef struct RootPort {
    PciBridge bridge; /* first */
    uint8_t   port, chassis;
    uint16_t  slot;
    bool      absent_flag; /* properties that are known but not built */
    char     *absent_text;
    Region    msix;
} RootPort;

static const PortKind *kind_of(const Device *dev)
{
    return strcmp(dev->obj.type->name, "ioh3420") == 0 ? &ioh : &plain;
}

static void add_express(RootPort *port, const PortKind *kind, Error *err)
{
    PciDevice *pci = &port->bridge.pci;
    uint8_t    at  = pci_add_capability(pci, PCI_CAP_EXPRESS, kind->express_at, EXP_SIZE, err);
    uint8_t   *c = pci->config + at, *w = pci->wmask + at;

    store_le16(c + EXP_FLAGS, FLAGS_ROOT_PORT);
    store_le32(c + EXP_DEVCAP, DEVCAP_RBER);
    store_le16(w + EXP_DEVCTL, 0x00ef);
    store_le16(pci->w1cmask + at + EXP_DEVSTA, 0x000f);
    store_le32(c + EXP_LNKCAP, (uint32_t)(kind->speed | kind->width << 4) | LNKCAP_ASPM_L0S | LNKCAP_ACTIVE |
                                   (uint32_t)port->port << 24);
    store_le16(w + EXP_LNKCTL, 0x00cb);
    store_le16(c + EXP_LNKSTA, (uint16_t)(kind->speed | kind->width << 4));
    store_le16(pci->volatiles + at + EXP_LNKSTA, LNKSTA_ACTIVE);
    store_le16(pci->volatiles + at + EXP_SLTSTA, SLTSTA_PRESENT);
    store_le32(c + EXP_SLTCAP, SLTCAP_NO_CMD | (uint32_t)port->slot << 19);
    store_le16(w + EXP_ROOTCTL, 0x000f);
    store_le32(c + EXP_DEVCAP2, DEVCAP2_ARI);
    store_le16(w + EXP_DEVCTL2, 0x0020);
    store_le32(c + EXP_LNKCAP2, kind->speed > 1 ? 2u * ((1u << kind->speed) - 1) : 0);
    store_le16(c + EXP_LNKCTL2, kind->speed > 1 ? kind->speed : 0);
}

/* Bridges have no subsystem registers: a capability says it. */
static bool add_capabilities(RootPort *port, const PortKind *kind, Error *err)
{
    PciDevice *pci = &port->bridge.pci;
    if (!pci_add_capability(pci, SSVID_CAP, kind->ssvid_at, SSVID_SIZE, err)) {
        return false;
    }
    pci_put16(pci, kind->ssvid_at + 4u, kind->subsystem_vendor);
    if (kind->msi_at) {
        if (!pci_msi_init(pci, kind->msi_at, 2, false, true, err)) {
            return false;
        }
    } else {
        region_init_container(&port->msix, pci->dev.platform->memory, "msix", 0x1000);
        pci_add_bar(pci, 0, PCI_BAR_MEM32, false, &port->msix);
        if (!pci_msix_init(pci, 0x48, 1, 0, &port->msix, 0, 0x800, err)) {
            return false;
        }
    }
    add_express(port, kind, err);
    return true;
}

static void port_unrealize(Device *dev)
{
    RootPort *port = (RootPort *)dev;
    pci_msix_exit(&port->bridge.pci);
    pci_bridge_exit(&port->bridge);
    if (port->msix.memory) {
        region_destroy(&port->msix);
    }
}

static bool port_realize(Device *dev, Error *err)
{
    RootPort *port           = (RootPort *)dev;
    port->bridge.pci.express = true;
    pci_bridge_init(&port->bridge);
    port->bridge.bus->slots = 1; /* a link has one other end */
    if (add_capabilities(port, kind_of(dev), err)) {
        return true;
    }
    port_unrealize(dev);
    return false;
}

/* Who sits in the slot does not change: there is no hot plug. */
static uint32_t port_config_read(PciDevice *pci, unsigned offset, unsigned size)
{
    RootPort *port = (RootPort *)pci;
    unsigned  at   = kind_of(&pci->dev)->express_at;
    bool      used = port->bridge.bus->devices[0] != NULL;
    uint16_t  link = pci_get16(pci, at + EXP_LNKSTA) & (uint16_t)~LNKSTA_ACTIVE;
    pci_put16(pci, at + EXP_LNKSTA, link | (used ? LNKSTA_ACTIVE : 0));
    pci_put16(pci, at + EXP_SLTSTA, used ? SLTSTA_PRESENT : 0);
    return pci_config_load_default(pci, offset, size);
}

static const Field port_properties[] = {
    PCI_PROPERTIES(RootPort, bridge.pci),
    FIELD(RootPort, port, "port", .help = "number of the port"),
    FIELD(RootPort, chassis, "chassis", .help = "chassis the slot is in"),
    FIELD(RootPort, slot, "slot", .max = 0x1fff, .help = "number of the slot"),
    FIELD(RootPort, absent_flag, "hotplug", .unsupported = true, .help = "devices may come and go"),
    FIELD(RootPort, absent_text, "bus-reserve", .unsupported = true, .help = "bus numbers for hot plug"),
    FIELD(RootPort, absent_text, "io-reserve", .unsupported = true, .help = "ports for hot plug"),
    FIELD(RootPort, absent_text, "mem-reserve", .unsupported = true, .help = "memory for hot plug"),
    FIELD(RootPort, absent_text, "pref32-reserve", .unsupported = true, .help = "prefetchable memory for hot plug"),
    FIELD(RootPort, absent_text, "pref64-reserve", .unsupported = true, .help = "prefetchable memory for hot plug"),
    {},
};

static const Field port_state[] = { PCI_STATE(RootPort, bridge.pci), {} };

static const PciDeviceInfo plain_info = {
    .vendor_id     = 0x1b36,
    .device_id     = 0x000c,
    .class_code    = 0x060400,
    .interrupt_pin = 1,
    .bridge        = true,
    .no_hotplug    = true,
    .config_read   = port_config_read,
    .config_write  = pci_bridge_config_write,
};

static const PciDeviceInfo ioh_info = {
    .vendor_id     = 0x8086,
    .device_id     = 0x3420,
    .revision      = 2,
    .class_code    = 0x060400,
    .interrupt_pin = 1,
    .bridge        = true,
    .no_hotplug    = true,
    .config_read   = port_config_read,
    .config_write  = pci_bridge_config_write,
};

#define ROOT_PORT(identifier, type_name, text)                                                                         \
    DEVICE_TYPE(identifier) = {                                                                                        \
        .name       = type_name,                                                                                       \
        .parent     = "pci-device",                                                                                    \
        .class      = OBJECT_CLASS_DEVICE,                                                                             \
        .help       = text,                                                                                            \
        .size       = sizeof(RootPort),                                                                                \
        .bus        = BUS_PCI,                                                                                         \
        .bus_info   = &identifier##_info,                                                                              \
        .category   = DEVICE_BRIDGE,                                                                                   \
        .properties = port_properties,                                                                                 \
        .state      = port_state,                                                                                      \
        .realize    = port_realize,                                                                                    \
        .unrealize  = port_unrealize,                                                                                  \
        .reset      = pci_bridge_reset,                                                                                \
        .post_load  = pci_bridge_post_load,                                                                            \
    };

ROOT_PORT(plain, "pcie-root-port", "PCI Express root port")
ROOT_PORT(ioh, "ioh3420", "Intel IOH device id 3420 PCI Express root port")
