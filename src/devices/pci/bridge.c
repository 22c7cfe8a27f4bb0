/* PCI-to-PCI bridges.
 * Specification: PCI-to-PCI Bridge Architecture 1.2, chapters 3 and 4. Under the machine lock.
 *
 * VGA addresses are not forwarded: there are no displays yet. */

#include "devices/pci/bridge.h"

#include "devices/pci/internal.h"

enum { WINDOW_IO, WINDOW_MEM, WINDOW_PREF, N_WINDOWS, WINDOW_PRIORITY = 1 };
enum { CONTROL_SECONDARY_RESET = 1 << 6 };

/* An empty window has its base above its limit. */
static void window_of(const PciDevice *pci, unsigned n, uint64_t *first, uint64_t *last)
{
    switch (n) {
    case WINDOW_IO:
        *first = (pci_get8(pci, PCI_IO_BASE) & 0xf0u) << 8;
        *last  = (pci_get8(pci, PCI_IO_LIMIT) & 0xf0u) << 8 | 0xfff;
        break;
    case WINDOW_MEM:
        *first = (uint64_t)(pci_get16(pci, PCI_MEMORY_BASE) & 0xfff0) << 16;
        *last  = (uint64_t)(pci_get16(pci, PCI_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff;
        break;
    default:
        *first = (uint64_t)(pci_get16(pci, PCI_PREFETCH_BASE) & 0xfff0) << 16 |
                 (uint64_t)pci_get32(pci, PCI_PREFETCH_BASE_UPPER) << 32;
        *last = (uint64_t)(pci_get16(pci, PCI_PREFETCH_LIMIT) & 0xfff0) << 16 | 0xfffff |
                (uint64_t)pci_get32(pci, PCI_PREFETCH_LIMIT_UPPER) << 32;
    }
}

static void update_window(PciBridge *b, unsigned n)
{
    uint64_t first, last;
    bool     ports  = n == WINDOW_IO;
    Memory  *memory = b->pci.dev.platform->memory;
    Region  *r      = &b->windows[n].region;

    window_of(&b->pci, n, &first, &last);
    bool     wanted = first <= last && pci_get16(&b->pci, PCI_COMMAND) & (ports ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
    uint64_t size   = wanted ? last - first + 1 : 0;
    if (wanted == b->windows[n].mapped && (!wanted || (b->windows[n].base == first && b->windows[n].size == size))) {
        return;
    }
    if (b->windows[n].mapped) {
        region_unmap(r);
        region_destroy(r);
    }
    if (wanted) {
        region_init_alias(r, memory, "bridge-window", ports ? &b->io : &b->memory, first, size);
        region_map(ports ? b->pci.pci_bus->io : b->pci.pci_bus->memory, first, r, WINDOW_PRIORITY);
    }
    b->windows[n].mapped = wanted;
    b->windows[n].base   = first;
    b->windows[n].size   = size;
}

static void update(PciBridge *b)
{
    memory_begin(b->pci.dev.platform->memory);
    for (unsigned n = 0; n < N_WINDOWS; n++) {
        update_window(b, n);
    }
    region_set_enabled(&b->dma_window, pci_get16(&b->pci, PCI_COMMAND) & PCI_COMMAND_MASTER);
    memory_commit(b->pci.dev.platform->memory);
}

static void reset_function(PciDevice *pci, void *opaque)
{
    const DeviceType *type = device_type(&pci->dev);
    if (type->reset) {
        type->reset(&pci->dev, RESET_WARM);
    }
    if (pci_info(pci)->bridge) {
        pci_bus_foreach(((PciBridge *)pci)->bus, reset_function, NULL);
    }
}

void pci_bridge_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    PciBridge *b      = (PciBridge *)pci;
    uint16_t   before = pci_get16(pci, PCI_BRIDGE_CONTROL);
    pci_config_store_default(pci, offset, value, size);
    if (pci_get16(pci, PCI_BRIDGE_CONTROL) & ~before & CONTROL_SECONDARY_RESET) {
        pci_bus_foreach(b->bus, reset_function, NULL);
    }
    update(b);
}

void pci_bridge_init(PciBridge *b)
{
    Platform *p      = b->pci.dev.platform;
    PciBus   *parent = b->pci.pci_bus;
    region_init_container(&b->memory, p->memory, "bridge-memory", UINT64_MAX);
    region_init_container(&b->io, p->memory, "bridge-io", 0x10000);
    region_init_container(&b->dma, p->memory, "bridge-dma", UINT64_MAX);
    region_init_alias(&b->dma_window, p->memory, "bridge-dma-window", parent->dma, 0, UINT64_MAX);
    region_set_enabled(&b->dma_window, false);
    region_map(&b->dma, 0, &b->dma_window, 0);
    b->bus = pci_bus_new(p, b->pci.dev.id, &b->pci.dev, &b->memory, &b->io, &b->dma, NULL);
}

void pci_bridge_exit(PciBridge *b)
{
    for (unsigned n = 0; n < N_WINDOWS; n++) {
        if (b->windows[n].mapped) {
            region_unmap(&b->windows[n].region);
            region_destroy(&b->windows[n].region);
            b->windows[n].mapped = false;
        }
    }
    pci_bus_free(b->bus);
    region_unmap(&b->dma_window);
    region_destroy(&b->dma_window);
    region_destroy(&b->dma);
    region_destroy(&b->memory);
    region_destroy(&b->io);
}

void pci_bridge_reset(Device *dev, ResetKind kind)
{
    pci_device_reset(dev, kind);
    update((PciBridge *)dev);
}

bool pci_bridge_post_load(Device *dev, Error *err)
{
    if (!pci_device_post_load(dev, err)) {
        return false;
    }
    update((PciBridge *)dev);
    return true;
}
