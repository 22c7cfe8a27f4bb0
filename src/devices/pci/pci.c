/* PCI functions: configuration header, BARs, expansion ROM, capabilities, interrupt pin, DMA space.
 * Specification: PCI Local Bus Specification 3.0, chapter 6.
 * Under the machine lock. */

#include "devices/pci/internal.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/trace.h"
#include "memory/ram.h"

enum {
    HEADER_SIZE         = 0x40,
    SUBSYSTEM_VENDOR_ID = 0x1af4, /* what guests of QEMU find for functions without one of their own */
    SUBSYSTEM_ID        = 0x1100,
    ROM_MIN             = 2048,
    ROM_MAX             = 16 << 20,
    BAR_PRIORITY        = 1, /* over firmware ROMs that the board maps into PCI memory */
};

/* ---- Registers as the device sees them ---- */

uint8_t pci_get8(const PciDevice *pci, unsigned offset)
{
    return pci->config[offset];
}

uint16_t pci_get16(const PciDevice *pci, unsigned offset)
{
    return load_le16(pci->config + offset);
}

uint32_t pci_get32(const PciDevice *pci, unsigned offset)
{
    return load_le32(pci->config + offset);
}

void pci_put8(PciDevice *pci, unsigned offset, uint8_t value)
{
    pci->config[offset] = value;
}

void pci_put16(PciDevice *pci, unsigned offset, uint16_t value)
{
    store_le16(pci->config + offset, value);
}

void pci_put32(PciDevice *pci, unsigned offset, uint32_t value)
{
    store_le32(pci->config + offset, value);
}

/* ---- BARs ---- */

static unsigned bar_offset(const PciDevice *pci, unsigned n)
{
    if (n == PCI_ROM) {
        return pci_info(pci)->bridge ? PCI_BRIDGE_ROM_ADDRESS : PCI_ROM_ADDRESS;
    }
    return PCI_BAR0 + 4 * n;
}

/* Where the guest wants the BAR; false: nowhere. An address of 0 and one that reaches the end of the space (a BAR
 * that is being sized) count as nowhere. */
static bool bar_wanted(const PciDevice *pci, unsigned n, uint64_t *addr)
{
    const PciBar *bar     = &pci->bars[n];
    unsigned      offset  = bar_offset(pci, n);
    uint16_t      command = pci_get16(pci, PCI_COMMAND);
    uint32_t      low     = pci_get32(pci, offset);
    uint64_t      limit   = UINT32_MAX;
    if (bar->kind == PCI_BAR_IO) {
        limit = UINT16_MAX;
        *addr = low & ~3u;
    } else if (bar->kind == PCI_BAR_MEM64) {
        limit = UINT64_MAX;
        *addr = (uint64_t)pci_get32(pci, offset + 4) << 32 | (low & ~15u);
    } else {
        *addr = n == PCI_ROM ? low & (uint32_t)PCI_ROM_ADDRESS_MASK : low & ~15u;
    }
    *addr = align_down(*addr, bar->size);
    return command & (bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY) &&
           (n != PCI_ROM || low & PCI_ROM_ENABLE) && *addr && *addr < limit && bar->size < limit - *addr + 1;
}

static void update_bar(PciDevice *pci, unsigned n)
{
    PciBar  *bar = &pci->bars[n];
    uint64_t addr;
    bool     wanted = bar_wanted(pci, n, &addr);
    if (wanted == bar->mapped && (!wanted || addr == bar->addr)) {
        return;
    }
    if (bar->mapped) {
        region_unmap(bar->region);
    }
    if (wanted) {
        region_map(bar->kind == PCI_BAR_IO ? pci->pci_bus->io : pci->pci_bus->memory, addr, bar->region, BAR_PRIORITY);
    }
    bar->mapped = wanted;
    bar->addr   = addr;
}

/* The pin is silent while INTx is disabled or the function sends messages instead. */
static void update_pin(PciDevice *pci)
{
    bool silent =
        pci_get16(pci, PCI_COMMAND) & PCI_COMMAND_INTX_DISABLE || pci_msi_enabled(pci) || pci_msix_enabled(pci);
    pci_bus_drive(pci, pci->irq_asserted && !silent);
}

/* Makes what the registers say true: BARs, bus mastering, the interrupt pin. */
static void update_decoding(PciDevice *pci)
{
    uint16_t command = pci_get16(pci, PCI_COMMAND);
    memory_begin(pci->dev.platform->memory);
    for (unsigned n = 0; n < PCI_N_REGIONS; n++) {
        if (pci->bars[n].region) {
            update_bar(pci, n);
        }
    }
    region_set_enabled(&pci->dma_window, command & PCI_COMMAND_MASTER);
    memory_commit(pci->dev.platform->memory);
    update_pin(pci);
}

void pci_add_bar(PciDevice *pci, unsigned n, PciBarKind kind, bool prefetch, Region *region)
{
    unsigned offset = bar_offset(pci, n);
    uint64_t size   = region->size;
    uint32_t flags  = kind == PCI_BAR_IO ? PCI_BAR_SPACE_IO : 0;
    if (kind != PCI_BAR_IO) {
        flags |= (kind == PCI_BAR_MEM64 ? PCI_BAR_TYPE_64 : 0) | (prefetch ? PCI_BAR_PREFETCH : 0);
    }
    g_assert(n < PCI_N_REGIONS && !pci->bars[n].region && is_power_of_two(size));
    g_assert(size >= (kind == PCI_BAR_IO ? 4 : 16) && (kind == PCI_BAR_MEM64 || size <= 1u << 31));
    pci->bars[n] = (PciBar){ .region = region, .size = size, .kind = kind, .prefetch = prefetch };
    pci_put32(pci, offset, n == PCI_ROM ? 0 : flags);
    store_le32(pci->wmask + offset, (uint32_t) ~(size - 1) | (n == PCI_ROM ? PCI_ROM_ENABLE : 0));
    if (kind == PCI_BAR_MEM64) {
        store_le32(pci->wmask + offset + 4, (uint32_t)(~(size - 1) >> 32));
    }
}

bool pci_bar_address(const PciDevice *pci, unsigned n, uint64_t *addr)
{
    *addr = pci->bars[n].addr;
    return pci->bars[n].mapped;
}

bool pci_add_rom(PciDevice *pci, const uint8_t *data, size_t len, Error *err)
{
    if (!pci->rombar) {
        return true;
    }
    if (!len || len > ROM_MAX) {
        return error_set(err, "an option ROM of %zu bytes is not possible (1 byte to 16 MiB)", len);
    }
    uint64_t size = ROM_MIN;
    while (size < len) {
        size *= 2;
    }
    pci->rom_ram = ram_block_new("pci.rom", size, err);
    if (!pci->rom_ram) {
        return false;
    }
    memcpy(pci->rom_ram->host, data, len);
    region_init_rom(&pci->rom, pci->dev.platform->memory, "pci.rom", pci->rom_ram, 0, size);
    pci_add_bar(pci, PCI_ROM, PCI_BAR_MEM32, false, &pci->rom);
    return true;
}

static bool load_romfile(PciDevice *pci, Error *err)
{
    size_t len;
    if (!pci->romfile || !*pci->romfile) {
        return true;
    }
    g_autofree char *data = file_read(pci->romfile, &len, err);
    if (!data) {
        return error_prefix(err, "romfile: ");
    }
    return pci_add_rom(pci, (const uint8_t *)data, len, err) || error_prefix(err, "romfile=%s: ", pci->romfile);
}

/* ---- Configuration cycles ---- */

uint32_t pci_config_load_default(PciDevice *pci, unsigned offset, unsigned size)
{
    return (uint32_t)load_le(pci->config + offset, size);
}

void pci_config_store_default(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    g_mutex_lock(&pci->msi_lock);
    for (unsigned i = offset; i < offset + size; i++, value >>= 8) {
        uint8_t v      = (uint8_t)value;
        pci->config[i] = (pci->config[i] & ~pci->wmask[i]) | (v & pci->wmask[i]);
        pci->config[i] &= ~(v & pci->w1cmask[i]);
    }
    g_mutex_unlock(&pci->msi_lock);
    if (offset < HEADER_SIZE) {
        update_decoding(pci);
    } else {
        update_pin(pci);
    }
    pci_msi_written(pci, offset, size);
    pci_msix_written(pci, offset, size);
}

static bool config_cycle_fits(unsigned offset, unsigned size)
{
    return size <= 4 && offset < PCI_CONFIG_SIZE && offset + size <= PCI_CONFIG_SIZE;
}

uint32_t pci_config_read(PciDevice *pci, unsigned offset, unsigned size)
{
    const PciDeviceInfo *info = pci_info(pci);
    if (!config_cycle_fits(offset, size)) {
        return pci->express && offset >= PCI_CONFIG_SIZE ? 0 : UINT32_MAX;
    }
    uint32_t value =
        info->config_read ? info->config_read(pci, offset, size) : pci_config_load_default(pci, offset, size);
    trace(pci->dev.platform->log, TRACE_PCI_READ, "%s %02x.%x @0x%x -> 0x%x", device_type(&pci->dev)->name,
          pci->devfn >> 3, pci->devfn & 7, offset, value);
    return value;
}

void pci_config_write(PciDevice *pci, unsigned offset, uint32_t value, unsigned size)
{
    const PciDeviceInfo *info = pci_info(pci);
    pci_device_take_initial(pci);
    if (!config_cycle_fits(offset, size)) {
        return;
    }
    trace(pci->dev.platform->log, TRACE_PCI_WRITE, "%s %02x.%x @0x%x <- 0x%x", device_type(&pci->dev)->name,
          pci->devfn >> 3, pci->devfn & 7, offset, value);
    if (info->config_write) {
        info->config_write(pci, offset, value, size);
    } else {
        pci_config_store_default(pci, offset, value, size);
    }
}

/* ---- Capabilities ---- */

static bool bytes_free(const PciDevice *pci, unsigned offset, unsigned size)
{
    for (unsigned i = offset; i < offset + size; i++) {
        if (i >= PCI_CONFIG_SIZE || pci->used[i]) {
            return false;
        }
    }
    return true;
}

uint8_t pci_add_capability(PciDevice *pci, uint8_t id, uint8_t offset, uint8_t size, Error *err)
{
    unsigned at = offset ? offset : HEADER_SIZE;
    while (!offset && at < PCI_CONFIG_SIZE && !bytes_free(pci, at, size)) {
        at += 4;
    }
    if (!bytes_free(pci, at, size)) {
        error_set(err, "no room for capability %02x in the configuration space", id);
        return 0;
    }
    memset(pci->used + at, 1, size);
    memset(pci->wmask + at, 0, size);
    pci->config[at]               = id;
    pci->config[at + 1]           = pci->config[PCI_CAPABILITIES];
    pci->config[PCI_CAPABILITIES] = (uint8_t)at;
    pci_put16(pci, PCI_STATUS, pci_get16(pci, PCI_STATUS) | PCI_STATUS_CAPABILITIES);
    return (uint8_t)at;
}

uint8_t pci_find_capability(const PciDevice *pci, uint8_t id)
{
    uint8_t at = pci_get16(pci, PCI_STATUS) & PCI_STATUS_CAPABILITIES ? pci->config[PCI_CAPABILITIES] : 0;
    for (unsigned budget = PCI_CONFIG_SIZE / 4; at && budget; budget--) {
        if (pci->config[at] == id) {
            return at;
        }
        at = pci->config[at + 1];
    }
    return 0;
}

/* ---- The interrupt pin ---- */

void pci_set_irq(PciDevice *pci, bool level)
{
    uint16_t status = pci_get16(pci, PCI_STATUS) & ~PCI_STATUS_INTERRUPT;
    g_assert(pci->config[PCI_INTERRUPT_PIN]);
    pci->irq_asserted = level;
    pci_put16(pci, PCI_STATUS, status | (level ? PCI_STATUS_INTERRUPT : 0));
    update_pin(pci);
}

/* ---- Life ---- */

static void init_header(PciDevice *pci)
{
    const PciDeviceInfo *info = pci_info(pci);
    pci_put16(pci, PCI_VENDOR_ID, info->vendor_id);
    pci_put16(pci, PCI_DEVICE_ID, info->device_id);
    pci->config[PCI_REVISION_ID]    = info->revision;
    pci->config[PCI_CLASS_CODE]     = (uint8_t)info->class_code;
    pci->config[PCI_CLASS_CODE + 1] = (uint8_t)(info->class_code >> 8);
    pci->config[PCI_CLASS_CODE + 2] = (uint8_t)(info->class_code >> 16);
    pci->config[PCI_HEADER_TYPE] =
        (info->bridge ? PCI_HEADER_TYPE_BRIDGE : 0) | (pci->multifunction ? PCI_HEADER_MULTIFUNCTION : 0);
    pci->config[PCI_INTERRUPT_PIN] = info->interrupt_pin;

    store_le16(pci->wmask + PCI_COMMAND, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                                             PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
    store_le16(pci->w1cmask + PCI_STATUS, PCI_STATUS_W1C);
    store_le16(pci->volatiles + PCI_STATUS, PCI_STATUS_INTERRUPT);
    pci->wmask[PCI_CACHE_LINE_SIZE] = 0xff;
    pci->wmask[PCI_INTERRUPT_LINE]  = 0xff;
    if (info->bridge) {
        pci->wmask[PCI_LATENCY_TIMER] = 0xff;
        memset(pci->wmask + PCI_PRIMARY_BUS, 0xff, 4);
        pci->wmask[PCI_IO_BASE]  = 0xf0;
        pci->wmask[PCI_IO_LIMIT] = 0xf0;
        store_le16(pci->w1cmask + PCI_SECONDARY_STATUS, PCI_STATUS_W1C);
        for (unsigned i = PCI_MEMORY_BASE; i < PCI_PREFETCH_BASE_UPPER; i += 2) {
            store_le16(pci->wmask + i, 0xfff0);
        }
        store_le16(pci->config + PCI_PREFETCH_BASE, 1); /* 64-bit */
        store_le16(pci->config + PCI_PREFETCH_LIMIT, 1);
        memset(pci->wmask + PCI_PREFETCH_BASE_UPPER, 0xff, 8);
        store_le16(pci->wmask + PCI_BRIDGE_CONTROL, 0x0eff);
    } else if (!info->no_subsystem) {
        bool own = info->subsystem_vendor_id || info->subsystem_id;
        pci_put16(pci, PCI_SUBSYSTEM_VENDOR_ID, own ? info->subsystem_vendor_id : SUBSYSTEM_VENDOR_ID);
        pci_put16(pci, PCI_SUBSYSTEM_ID, own ? info->subsystem_id : SUBSYSTEM_ID);
    }
    memset(pci->used, 1, HEADER_SIZE);
}

bool pci_device_init(PciDevice *pci, PciBus *bus, uint8_t devfn, Error *err)
{
    Memory *memory = pci->dev.platform->memory;
    pci->pci_bus   = bus;
    pci->devfn     = devfn;
    g_mutex_init(&pci->msi_lock);
    init_header(pci);
    region_init_container(&pci->dma_root, memory, "bus-master", UINT64_MAX);
    region_init_alias(&pci->dma_window, memory, "bus-master-window", bus->dma, 0, UINT64_MAX);
    region_set_enabled(&pci->dma_window, false);
    region_map(&pci->dma_root, 0, &pci->dma_window, 0);
    pci->dma = address_space_new(memory, &pci->dma_root, device_type(&pci->dev)->name);
    if (load_romfile(pci, err)) {
        return true;
    }
    pci_device_exit(pci);
    return false;
}

void pci_device_disconnect(PciDevice *pci)
{
    pci_bus_drive(pci, false);
    for (unsigned n = 0; n < PCI_N_REGIONS; n++) {
        if (pci->bars[n].mapped) {
            region_unmap(pci->bars[n].region);
        }
        pci->bars[n].region = NULL;
        pci->bars[n].mapped = false;
    }
}

void pci_device_exit(PciDevice *pci)
{
    pci_device_disconnect(pci);
    pci_msix_exit(pci);
    if (pci->rom_ram) {
        region_destroy(&pci->rom);
        ram_block_unref(pci->rom_ram);
        pci->rom_ram = NULL;
    }
    address_space_free(pci->dma);
    pci->dma = NULL;
    region_unmap(&pci->dma_window);
    region_destroy(&pci->dma_window);
    region_destroy(&pci->dma_root);
    g_mutex_clear(&pci->msi_lock);
}

void pci_device_take_initial(PciDevice *pci)
{
    if (!pci->initial_taken) {
        memcpy(pci->initial, pci->config, sizeof pci->initial);
        pci->initial_taken = true;
    }
}

void pci_device_reset(Device *dev, ResetKind kind)
{
    PciDevice *pci = (PciDevice *)dev;
    pci_device_take_initial(pci);
    pci->irq_asserted = false;
    g_mutex_lock(&pci->msi_lock);
    memcpy(pci->config, pci->initial, sizeof pci->config);
    g_mutex_unlock(&pci->msi_lock);
    update_decoding(pci);
    pci_msix_reset(pci);
}

/* Only bits that guests write or the device changes come from the stream: the rest is what this device is. */
bool pci_device_post_load(Device *dev, Error *err)
{
    PciDevice *pci = (PciDevice *)dev;
    pci_device_take_initial(pci);
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        uint8_t loaded = pci->wmask[i] | pci->w1cmask[i] | pci->volatiles[i];
        pci->config[i] = (pci->initial[i] & ~loaded) | (pci->config[i] & loaded);
    }
    if (pci->irq_asserted && !pci->config[PCI_INTERRUPT_PIN]) {
        return error_set(err, "an interrupt pin is asserted that the device does not have");
    }
    update_decoding(pci);
    pci_msi_written(pci, 0, PCI_CONFIG_SIZE);
    pci_msix_written(pci, 0, PCI_CONFIG_SIZE);
    return true;
}
