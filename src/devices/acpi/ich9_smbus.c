/* SMBus controller of the ICH9 (D31:F3): a host that nothing is attached to.
 * Specification: Intel I/O Controller Hub 9 Family data sheet, order 316972-004 (August 2008), chapter 20.
 * Machine lock. */

#include "devices/acpi/ich9_smbus.h"

enum {
    HST_STS  = 0x00,
    HST_CNT  = 0x02,
    BLOCK_DB = 0x07,
    AUX_CTL  = 0x0d,
    N_PORTS  = 0x40, /* 32 of them are registers */

    HOSTC_ENABLE = 1 << 0,
    STS_INTR     = 1 << 1,
    STS_DEV_ERR  = 1 << 2,
    STS_FAILED   = 1 << 4,
    STS_INUSE    = 1 << 6, /* a semaphore: reading sets it */
    STS_EVENTS   = 0x1e,   /* those that interrupt */
    STS_W1C      = 0xfe,
    CNT_INTREN   = 1 << 0,
    CNT_KILL     = 1 << 1,
    CNT_START    = 1 << 6,
    CNT_WRITABLE = 0xbf,   /* START is write-only */
    AUX_E32B     = 1 << 1, /* BLOCK_DB is a buffer of 32 bytes; HST_CNT reads start it anew */
    BLOCK_SIZE   = 32,
};

struct Ich9Smbus {
    PciDevice pci;
    Region    ports;
    uint8_t   regs[N_PORTS];
    uint8_t   block[BLOCK_SIZE];
    uint8_t   block_at;
};

/* Which bits of the registers are kept: command, address, data, PEC, auxiliary control, slave address and data. */
static const uint8_t writable[N_PORTS] = {
    [3] = 0xff, [4] = 0xff, [5] = 0xff, [6] = 0xff, [8] = 0xff, [AUX_CTL] = 0x03, [9] = 0x7f
};

static void update_irq(Ich9Smbus *smb)
{
    pci_set_irq(&smb->pci, smb->regs[HST_STS] & STS_EVENTS && smb->regs[HST_CNT] & CNT_INTREN);
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    Ich9Smbus *smb   = opaque;
    uint8_t    value = smb->regs[offset];
    if (offset == HST_STS) {
        smb->regs[HST_STS] |= STS_INUSE;
    } else if (offset == HST_CNT) {
        smb->block_at = 0;
    } else if (offset == BLOCK_DB && smb->regs[AUX_CTL] & AUX_E32B) {
        value         = smb->block[smb->block_at];
        smb->block_at = (uint8_t)((smb->block_at + 1) % BLOCK_SIZE);
    }
    return value;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Ich9Smbus *smb  = opaque;
    uint8_t    byte = (uint8_t)value;
    switch (offset) {
    case HST_STS: smb->regs[HST_STS] &= (uint8_t) ~(byte & STS_W1C); break;
    case HST_CNT:
        smb->regs[HST_CNT] = byte & CNT_WRITABLE;
        if (byte & CNT_KILL) {
            smb->regs[HST_STS] |= STS_FAILED;
        } else if (byte & CNT_START && pci_get8(&smb->pci, ICH9_SMBUS_HOSTC) & HOSTC_ENABLE) {
            smb->regs[HST_STS] |= STS_DEV_ERR; /* nobody acknowledges the address */
        }
        break;
    case BLOCK_DB:
        if (smb->regs[AUX_CTL] & AUX_E32B) {
            smb->block[smb->block_at] = byte;
            smb->block_at             = (uint8_t)((smb->block_at + 1) % BLOCK_SIZE);
        } else {
            smb->regs[BLOCK_DB] = byte;
        }
        break;
    default: smb->regs[offset] = (uint8_t)((smb->regs[offset] & ~writable[offset]) | (byte & writable[offset])); break;
    }
    update_irq(smb);
}

static const IoOps ports_ops = { .name = "ich9-smbus", .access = IO_BYTE, .read = ports_read, .write = ports_write };

static bool smbus_realize(Device *dev, Error *err)
{
    Ich9Smbus *smb = (Ich9Smbus *)dev;
    pci_put16(&smb->pci, PCI_STATUS, 0x0280); /* medium DEVSEL timing, fast back-to-back */
    smb->pci.wmask[ICH9_SMBUS_HOSTC] = 0x0f;
    region_init_io(&smb->ports, dev->platform->memory, ports_ops.name, N_PORTS, &ports_ops, smb);
    pci_add_bar(&smb->pci, ICH9_SMBUS_BAR, PCI_BAR_IO, false, &smb->ports);
    return true;
}

static void smbus_unrealize(Device *dev)
{
    region_destroy(&((Ich9Smbus *)dev)->ports);
}

static void smbus_reset(Device *dev, ResetKind kind)
{
    Ich9Smbus *smb = (Ich9Smbus *)dev;
    pci_device_reset(dev, kind);
    memset(smb->regs, 0, sizeof smb->regs);
    memset(smb->block, 0, sizeof smb->block);
    smb->block_at = 0;
}

static bool smbus_post_load(Device *dev, Error *err)
{
    Ich9Smbus *smb = (Ich9Smbus *)dev;
    if (!pci_device_post_load(dev, err)) {
        return false;
    }
    update_irq(smb);
    return true;
}

static const Field smbus_properties[] = { PCI_PROPERTIES(Ich9Smbus, pci), {} };

static const Field smbus_state[] = {
    PCI_STATE(Ich9Smbus, pci),
    FIELD_ARRAY(Ich9Smbus, regs, "regs"),
    FIELD_ARRAY(Ich9Smbus, block, "block"),
    FIELD(Ich9Smbus, block_at, "block-at", .max = BLOCK_SIZE - 1),
    {},
};

static const PciDeviceInfo smbus_info = {
    .vendor_id     = 0x8086,
    .device_id     = 0x2930,
    .revision      = 2,
    .class_code    = 0x0c0500,
    .interrupt_pin = 1,
    .no_hotplug    = true,
};

DEVICE_TYPE(ich9_smbus) = {
    .name       = "ICH9-SMB",
    .parent     = "pci-device",
    .help       = "SMBus controller of the ICH9",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(Ich9Smbus),
    .properties = smbus_properties,
    .bus        = BUS_PCI,
    .category   = DEVICE_BRIDGE,
    .internal   = true,
    .bus_info   = &smbus_info,
    .state      = smbus_state,
    .realize    = smbus_realize,
    .unrealize  = smbus_unrealize,
    .reset      = smbus_reset,
    .post_load  = smbus_post_load,
};

Ich9Smbus *ich9_smbus_create(Platform *platform, PciBus *bus, uint8_t devfn, Error *err)
{
    Ich9Smbus *smb         = device_new(platform, "ICH9-SMB");
    smb->pci.addr          = 1u + devfn;
    smb->pci.multifunction = true;
    return device_realize(&smb->pci.dev, pci_bus_base(bus), err) ? smb : NULL;
}
