/* PCI buses: places of functions, configuration cycles, interrupt lines.
 * Specification: PCI Local Bus Specification 3.0, sections 2.2.6 and 3.2.2.3; PCI-to-PCI Bridge Architecture 1.2,
 * section 9.1 for interrupt routing behind bridges.
 * Under the machine lock, but for pci_bus_send_msi(). */

#include "devices/pci/internal.h"

enum { SLOTS = 32, MAX_DEPTH = 32 };

static unsigned swizzle(const PciDevice *pci, unsigned pin)
{
    return (PCI_SLOT(pci->devfn) + pin) % PCI_N_PINS;
}

static const char *device_label(const PciDevice *pci)
{
    return pci->dev.id ? pci->dev.id : device_type(&pci->dev)->name;
}

/* Functions 1 to 7 are looked for only when function 0 says that there may be some. */
static bool check_multifunction(PciBus *bus, const PciDevice *pci, uint8_t devfn, Error *err)
{
    const PciDevice *zero = bus->devices[devfn & ~7];
    if (PCI_FUNC(devfn)) {
        return !zero || zero->multifunction ||
               error_set(err, "slot %x has the single-function device '%s' (give that one multifunction=on)",
                         PCI_SLOT(devfn), device_label(zero));
    }
    for (unsigned fn = 1; fn < 8 && !pci->multifunction; fn++) {
        if (bus->devices[devfn + fn]) {
            return error_set(err, "slot %x has other functions already: function 0 needs multifunction=on",
                             PCI_SLOT(devfn));
        }
    }
    return true;
}

static bool find_place(PciBus *bus, const PciDevice *pci, uint8_t *devfn, Error *err)
{
    if (pci->addr) {
        *devfn = (uint8_t)(pci->addr - 1);
        if (PCI_SLOT(*devfn) >= bus->slots) {
            return error_set(err, "bus '%s' has slot 0 only", bus->base->name);
        }
        if (bus->devices[*devfn]) {
            return error_set(err, "address %02x.%x of bus '%s' is taken by '%s'", PCI_SLOT(*devfn), PCI_FUNC(*devfn),
                             bus->base->name, device_label(bus->devices[*devfn]));
        }
        return check_multifunction(bus, pci, *devfn, err);
    }
    for (unsigned slot = 0; slot < bus->slots; slot++) {
        bool empty = true;
        for (unsigned fn = 0; fn < 8; fn++) {
            empty &= !bus->devices[PCI_DEVFN(slot, fn)];
        }
        if (empty) {
            *devfn = PCI_DEVFN(slot, 0);
            return true;
        }
    }
    return error_set(err, "no free slot on bus '%s'", bus->base->name);
}

static bool bus_plug(Bus *base, Device *dev, Error *err)
{
    PciBus    *bus   = base->data;
    PciDevice *pci   = (PciDevice *)dev;
    uint8_t    devfn = 0;
    if (!find_place(bus, pci, &devfn, err) || !pci_device_init(pci, bus, devfn, err)) {
        return false;
    }
    bus->devices[devfn] = pci;
    return true;
}

static void bus_disconnect(Bus *base, Device *dev)
{
    pci_device_disconnect((PciDevice *)dev);
}

static void bus_unplug(Bus *base, Device *dev)
{
    PciBus    *bus = base->data;
    PciDevice *pci = (PciDevice *)dev;
    pci_device_exit(pci);
    bus->devices[pci->devfn] = NULL;
}

PciBus *pci_bus_new(Platform *platform, const char *name, Device *owner, Region *memory, Region *io, Region *dma,
                    const PciBusOps *ops)
{
    PciBus *bus           = g_new0(PciBus, 1);
    bus->platform         = platform;
    bus->memory           = memory;
    bus->io               = io;
    bus->dma              = dma;
    bus->ops              = ops ? *ops : (PciBusOps){};
    bus->children         = g_ptr_array_new();
    bus->slots            = SLOTS;
    bus->base             = bus_new(BUS_PCI, name, owner, platform);
    bus->base->data       = bus;
    bus->base->plug       = bus_plug;
    bus->base->disconnect = bus_disconnect;
    bus->base->unplug     = bus_unplug;
    if (owner && device_type(owner)->bus == BUS_PCI) {
        bus->bridge = (PciDevice *)owner;
        g_ptr_array_add(bus->bridge->pci_bus->children, bus);
    }
    return bus;
}

void pci_bus_free(PciBus *bus)
{
    if (bus->bridge) {
        g_ptr_array_remove(bus->bridge->pci_bus->children, bus);
    }
    bus->base->data = NULL;
    g_ptr_array_free(bus->children, true);
    g_free(bus);
}

Bus *pci_bus_base(PciBus *bus)
{
    return bus->base;
}

PciBus *pci_bus_from(Bus *bus)
{
    return bus->data;
}

void pci_bus_set_router(PciBus *bus, unsigned (*map_pin)(const PciDevice *, unsigned),
                        void (*set_line)(void *opaque, unsigned line, bool level), void *opaque)
{
    bus->ops.map_pin  = map_pin;
    bus->ops.set_line = set_line;
    bus->ops.opaque   = opaque;
}

uint8_t pci_bus_number(const PciBus *bus)
{
    return bus->bridge ? bus->bridge->config[PCI_SECONDARY_BUS] : 0;
}

PciDevice *pci_bus_device(PciBus *bus, uint8_t devfn)
{
    return bus->devices[devfn];
}

/* Bridges pass a cycle on when the number lies between their secondary and subordinate bus. `depth` because the
 * guest programs those numbers: it cannot make a loop of a tree, but the budget costs nothing. */
static PciBus *bus_by_number(PciBus *bus, uint8_t number, bool root, int depth)
{
    if (root ? number == 0 : pci_bus_number(bus) == number) {
        return bus;
    }
    for (unsigned i = 0; i < bus->children->len && depth < MAX_DEPTH; i++) {
        PciBus        *child  = bus->children->pdata[i];
        const uint8_t *config = child->bridge->config;
        if (config[PCI_SECONDARY_BUS] && number >= config[PCI_SECONDARY_BUS] && number <= config[PCI_SUBORDINATE_BUS]) {
            return bus_by_number(child, number, false, depth + 1);
        }
    }
    return NULL;
}

PciDevice *pci_bus_find(PciBus *bus, uint8_t number, uint8_t devfn)
{
    PciBus *holder = bus_by_number(bus, number, !bus->bridge, 0);
    return holder ? holder->devices[devfn] : NULL;
}

void pci_bus_foreach(PciBus *bus, void (*visit)(PciDevice *pci, void *opaque), void *opaque)
{
    for (unsigned devfn = 0; devfn < G_N_ELEMENTS(bus->devices); devfn++) {
        if (bus->devices[devfn]) {
            visit(bus->devices[devfn], opaque);
        }
    }
}

uint32_t pci_bus_config_read(PciBus *root, uint8_t number, uint8_t devfn, unsigned offset, unsigned size)
{
    PciDevice *pci = pci_bus_find(root, number, devfn);
    /* A function 0 that is missing hides the others, as no scan would look for them; answer for them all the same:
     * boards put functions where they belong. */
    return pci ? pci_config_read(pci, offset, size) : UINT32_MAX >> (32 - 8 * size);
}

void pci_bus_config_write(PciBus *root, uint8_t number, uint8_t devfn, unsigned offset, uint32_t value, unsigned size)
{
    PciDevice *pci = pci_bus_find(root, number, devfn);
    if (pci) {
        pci_config_write(pci, offset, value, size);
    }
}

/* ---- Interrupts ---- */

/* The bus that hands lines to an interrupt controller, and the line there of this function's pin. */
static PciBus *route_pin(const PciDevice *pci, unsigned *line)
{
    PciBus  *bus = pci->pci_bus;
    unsigned pin = pci->config[PCI_INTERRUPT_PIN] - 1u;
    while (bus->bridge && !bus->ops.set_line) {
        pin = swizzle(pci, pin);
        pci = bus->bridge;
        bus = pci->pci_bus;
    }
    *line = (bus->ops.map_pin ? bus->ops.map_pin(pci, pin) : swizzle(pci, pin)) % PCI_N_LINES;
    return bus;
}

void pci_bus_drive(PciDevice *pci, bool level)
{
    if (level == pci->irq_driven) {
        return;
    }
    unsigned line;
    PciBus  *bus    = route_pin(pci, &line);
    pci->irq_driven = level;
    bus->line_users[line] += level ? 1 : -1;
    if (bus->ops.set_line && bus->line_users[line] == (level ? 1 : 0)) {
        bus->ops.set_line(bus->ops.opaque, line, level);
    }
}

void pci_bus_send_msi(PciDevice *pci, uint64_t addr, uint32_t data)
{
    PciBus *bus = pci->pci_bus;
    while (bus->bridge && !bus->ops.send_msi) {
        bus = bus->bridge->pci_bus;
    }
    if (bus->ops.send_msi) {
        bus->ops.send_msi(bus->ops.opaque, addr, data);
    } else if (bus->platform->send_msi) {
        bus->platform->send_msi(bus->platform, addr, data);
    }
}

/* ---- The addr property ---- */

static bool parse_addr_text(const char *text, unsigned *slot, unsigned *fn)
{
    char *end;
    if (!g_ascii_isxdigit(text[0])) {
        return false;
    }
    guint64 value = g_ascii_strtoull(text, &end, 16);
    *fn           = 0;
    if (*end == '.') {
        if (end[1] < '0' || end[1] > '7') {
            return false;
        }
        *fn = (unsigned)(end[1] - '0');
        end += 2;
    }
    *slot = value < SLOTS ? (unsigned)value : SLOTS;
    return *end == '\0' && value < SLOTS;
}

static bool addr_parse(const Field *field, void *member, const Json *value, Error *err)
{
    uint32_t *addr = member;
    unsigned  slot, fn;
    if (value->kind == JSON_INT && value->integer >= -1 && value->integer <= 255) {
        *addr = (uint32_t)(value->integer + 1);
        return true;
    }
    if (value->kind == JSON_STRING && strcmp(value->string, "-1") == 0) {
        *addr = 0;
        return true;
    }
    if (value->kind == JSON_STRING && parse_addr_text(value->string, &slot, &fn)) {
        *addr = 1u + PCI_DEVFN(slot, fn);
        return true;
    }
    return error_set(err, "not a PCI address: slot 0 to 1f, in hexadecimal, and function 0 to 7, like 06.0");
}

static Json *addr_print(const Field *field, const void *member)
{
    uint32_t addr = *(const uint32_t *)member;
    return addr ? json_new_format("%02x.%x", PCI_SLOT(addr - 1), PCI_FUNC(addr - 1)) : json_new_string("-1");
}

const FieldCustom pci_addr_property = { .type_name = "str", .parse = addr_parse, .print = addr_print };
