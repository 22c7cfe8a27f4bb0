/* PCI configuration mechanism #1.
 * Specification: PCI Local Bus Specification 3.0, section 3.2.2.3.2. Under the machine lock. */

#include "devices/pci/confports.h"

enum {
    CONFADD      = 0xcf8,
    CONFDATA     = 0xcfc,
    RESET_OFFSET = 1,

    CONFADD_ENABLE = 1u << 31,
};

/* Only whole dwords reach CONFADD; smaller cycles go on to PCI, where the ISA bridge has its reset register. */
static uint64_t address_read(void *opaque, uint64_t offset, unsigned size)
{
    const PciConfigPorts *ports = opaque;
    const ResetControl   *rc    = &ports->reset_control;
    if (size == 4) {
        return ports->confadd;
    }
    if (size == 1 && offset == RESET_OFFSET && rc->read) {
        return rc->read(rc->opaque);
    }
    return UINT64_MAX;
}

static void address_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PciConfigPorts     *ports = opaque;
    const ResetControl *rc    = &ports->reset_control;
    if (size == 4) {
        ports->confadd = (uint32_t)value & ~0x7f000003u;
    } else if (size == 1 && offset == RESET_OFFSET && rc->write) {
        rc->write(rc->opaque, (uint8_t)value);
    }
}

static const IoOps address_ops = {
    .name = "pci-conf-idx", .access = IO_BYTE | IO_WORD | IO_LONG, .read = address_read, .write = address_write
};

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size)
{
    const PciConfigPorts *ports = opaque;
    if (!(ports->confadd & CONFADD_ENABLE)) {
        return UINT64_MAX;
    }
    return pci_bus_config_read(ports->bus, (uint8_t)(ports->confadd >> 16), (uint8_t)(ports->confadd >> 8),
                               (ports->confadd & 0xfc) + (unsigned)offset, size);
}

static void data_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    const PciConfigPorts *ports = opaque;
    if (ports->confadd & CONFADD_ENABLE) {
        pci_bus_config_write(ports->bus, (uint8_t)(ports->confadd >> 16), (uint8_t)(ports->confadd >> 8),
                             (ports->confadd & 0xfc) + (unsigned)offset, (uint32_t)value, size);
    }
}

static const IoOps data_ops = {
    .name = "pci-conf-data", .access = IO_BYTE | IO_WORD | IO_LONG, .read = data_read, .write = data_write
};

void pci_config_ports_init(PciConfigPorts *ports, Platform *p, PciBus *bus)
{
    ports->bus = bus;
    region_init_io(&ports->address, p->memory, address_ops.name, 4, &address_ops, ports);
    region_init_io(&ports->data, p->memory, data_ops.name, 4, &data_ops, ports);
    region_map(p->system_io, CONFADD, &ports->address, 0);
    region_map(p->system_io, CONFDATA, &ports->data, 0);
}

void pci_config_ports_destroy(PciConfigPorts *ports)
{
    region_unmap(&ports->address);
    region_unmap(&ports->data);
    region_destroy(&ports->address);
    region_destroy(&ports->data);
}
