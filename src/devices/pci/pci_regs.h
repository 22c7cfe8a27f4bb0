/* Names of PCI configuration registers and bits, as in the PCI Local Bus Specification 3.0. */

#ifndef QUERN_DEVICES_PCI_PCI_REGS_H
#define QUERN_DEVICES_PCI_PCI_REGS_H

enum {
    PCI_VENDOR_ID           = 0x00,
    PCI_DEVICE_ID           = 0x02,
    PCI_COMMAND             = 0x04,
    PCI_STATUS              = 0x06,
    PCI_REVISION_ID         = 0x08,
    PCI_CLASS_CODE          = 0x09, /* three bytes: interface, subclass, class */
    PCI_CACHE_LINE_SIZE     = 0x0c,
    PCI_LATENCY_TIMER       = 0x0d,
    PCI_HEADER_TYPE         = 0x0e,
    PCI_BIST                = 0x0f,
    PCI_BAR0                = 0x10,
    PCI_SUBSYSTEM_VENDOR_ID = 0x2c,
    PCI_SUBSYSTEM_ID        = 0x2e,
    PCI_ROM_ADDRESS         = 0x30,
    PCI_CAPABILITIES        = 0x34,
    PCI_INTERRUPT_LINE      = 0x3c,
    PCI_INTERRUPT_PIN       = 0x3d,
    PCI_MIN_GNT             = 0x3e,
    PCI_MAX_LAT             = 0x3f,
    /* Type 1 headers */
    PCI_PRIMARY_BUS          = 0x18,
    PCI_SECONDARY_BUS        = 0x19,
    PCI_SUBORDINATE_BUS      = 0x1a,
    PCI_SECONDARY_LATENCY    = 0x1b,
    PCI_IO_BASE              = 0x1c,
    PCI_IO_LIMIT             = 0x1d,
    PCI_SECONDARY_STATUS     = 0x1e,
    PCI_MEMORY_BASE          = 0x20,
    PCI_MEMORY_LIMIT         = 0x22,
    PCI_PREFETCH_BASE        = 0x24,
    PCI_PREFETCH_LIMIT       = 0x26,
    PCI_PREFETCH_BASE_UPPER  = 0x28,
    PCI_PREFETCH_LIMIT_UPPER = 0x2c,
    PCI_IO_BASE_UPPER        = 0x30,
    PCI_IO_LIMIT_UPPER       = 0x32,
    PCI_BRIDGE_ROM_ADDRESS   = 0x38,
    PCI_BRIDGE_CONTROL       = 0x3e,
};

/* PCI_COMMAND */
enum {
    PCI_COMMAND_IO           = 1 << 0,
    PCI_COMMAND_MEMORY       = 1 << 1,
    PCI_COMMAND_MASTER       = 1 << 2,
    PCI_COMMAND_PARITY       = 1 << 6,
    PCI_COMMAND_SERR         = 1 << 8,
    PCI_COMMAND_INTX_DISABLE = 1 << 10,
};

/* PCI_STATUS */
enum {
    PCI_STATUS_INTERRUPT    = 1 << 3,
    PCI_STATUS_CAPABILITIES = 1 << 4,
    PCI_STATUS_W1C          = 0xf900, /* the error bits */
};

enum {
    PCI_HEADER_TYPE_BRIDGE   = 0x01,
    PCI_HEADER_MULTIFUNCTION = 0x80,
    PCI_BAR_SPACE_IO         = 0x01,
    PCI_BAR_TYPE_64          = 0x04,
    PCI_BAR_PREFETCH         = 0x08,
    PCI_ROM_ENABLE           = 0x01,
    PCI_ROM_ADDRESS_MASK     = ~0x7ff,
};

/* Capability identifiers */
enum {
    PCI_CAP_PM      = 0x01,
    PCI_CAP_MSI     = 0x05,
    PCI_CAP_VENDOR  = 0x09,
    PCI_CAP_EXPRESS = 0x10,
    PCI_CAP_MSIX    = 0x11,
};

#endif
