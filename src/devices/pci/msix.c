/* MSI-X: a table of messages and their pending bits in a BAR of the function.
 * Specification: PCI Local Bus Specification 3.0, section 6.8.2.
 * Table, pending bits and the capability's bytes are under pci->msi_lock, so that any thread may notify. */

#include "devices/pci/internal.h"

#include "base/bytes.h"
#include "base/checked.h"

enum {
    MSIX_CONTROL = 2, /* offsets inside the capability */
    MSIX_TABLE   = 4,
    MSIX_PBA     = 8,
    MSIX_SIZE    = 12,

    CONTROL_MASK_ALL = 1 << 14,
    CONTROL_ENABLE   = 1 << 15,

    ENTRY_SIZE    = 16, /* address, upper address, data, vector control */
    ENTRY_DATA    = 8,
    ENTRY_CONTROL = 12,
    ENTRY_MASKED  = 1,
    MAX_VECTORS   = 2048,
};

struct PciMsix {
    PciDevice *pci;
    unsigned   vectors;
    uint32_t   table_size, pba_size; /* bytes */
    Region     table_region, pba_region;
    uint8_t   *table, *pending;
};

static uint16_t control_of(const PciDevice *pci)
{
    return load_le16(pci->config + pci->msix_cap + MSIX_CONTROL);
}

bool pci_msix_enabled(const PciDevice *pci)
{
    return pci->msix_cap && control_of(pci) & CONTROL_ENABLE;
}

static bool may_send(const PciDevice *pci)
{
    uint16_t control = control_of(pci);
    return control & CONTROL_ENABLE && !(control & CONTROL_MASK_ALL) &&
           load_le16(pci->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
}

static bool entry_masked(const PciMsix *msix, unsigned vector)
{
    return msix->table[vector * ENTRY_SIZE + ENTRY_CONTROL] & ENTRY_MASKED;
}

/* Sends what is pending among [first, first + n) and no longer masked. */
static void send_pending(PciDevice *pci, unsigned first, unsigned n)
{
    PciMsix *msix = pci->msix;
    for (unsigned vector = first; vector < first + n && vector < msix->vectors; vector++) {
        uint8_t *byte = &msix->pending[vector / 8], bit = (uint8_t)(1 << vector % 8);
        g_mutex_lock(&pci->msi_lock);
        bool           send  = *byte & bit && may_send(pci) && !entry_masked(msix, vector);
        const uint8_t *entry = msix->table + vector * ENTRY_SIZE;
        uint64_t       addr  = load_le64(entry);
        uint32_t       data  = load_le32(entry + ENTRY_DATA);
        if (send) {
            *byte &= ~bit;
        }
        g_mutex_unlock(&pci->msi_lock);
        if (send) {
            pci_bus_send_msi(pci, addr, data);
        }
    }
}

void pci_msix_notify(PciDevice *pci, unsigned vector)
{
    PciMsix *msix = pci->msix;
    if (!msix || vector >= msix->vectors || !pci_msix_enabled(pci)) {
        return;
    }
    g_mutex_lock(&pci->msi_lock);
    msix->pending[vector / 8] |= (uint8_t)(1 << vector % 8);
    g_mutex_unlock(&pci->msi_lock);
    send_pending(pci, vector, 1);
}

static uint64_t table_read(void *opaque, uint64_t offset, unsigned size)
{
    PciMsix *msix = opaque;
    g_mutex_lock(&msix->pci->msi_lock);
    uint64_t value = load_le(msix->table + offset, size);
    g_mutex_unlock(&msix->pci->msi_lock);
    return value;
}

/* Messages are aligned, and only the mask bit of the vector control exists. */
static void clean_entry(uint8_t *entry)
{
    store_le32(entry, load_le32(entry) & ~3u);
    store_le32(entry + ENTRY_CONTROL, load_le32(entry + ENTRY_CONTROL) & ENTRY_MASKED);
}

static void table_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PciMsix *msix   = opaque;
    unsigned vector = (unsigned)(offset / ENTRY_SIZE);
    g_mutex_lock(&msix->pci->msi_lock);
    store_le(msix->table + offset, value, size);
    clean_entry(msix->table + vector * ENTRY_SIZE);
    g_mutex_unlock(&msix->pci->msi_lock);
    send_pending(msix->pci, vector, 1);
}

static const IoOps table_ops = {
    .name = "msix-table", .access = IO_LONG | IO_QUAD, .read = table_read, .write = table_write
};

static uint64_t pba_read(void *opaque, uint64_t offset, unsigned size)
{
    PciMsix *msix = opaque;
    g_mutex_lock(&msix->pci->msi_lock);
    uint64_t value = load_le(msix->pending + offset, size);
    g_mutex_unlock(&msix->pci->msi_lock);
    return value;
}

static void pba_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    /* Read-only; software shall not write. */
}

static const IoOps pba_ops = { .name = "msix-pba", .access = IO_LONG | IO_QUAD, .read = pba_read, .write = pba_write };

bool pci_msix_init(PciDevice *pci, uint8_t offset, unsigned vectors, unsigned bar, Region *parent,
                   uint32_t table_offset, uint32_t pba_offset, Error *err)
{
    Memory *memory = pci->dev.platform->memory;
    g_assert(vectors && vectors <= MAX_VECTORS && bar < PCI_N_BARS && !(table_offset & 7) && !(pba_offset & 7));
    uint8_t cap = pci_add_capability(pci, PCI_CAP_MSIX, offset, MSIX_SIZE, err);
    if (!cap) {
        return false;
    }
    PciMsix *msix    = g_new0(PciMsix, 1);
    msix->pci        = pci;
    msix->vectors    = vectors;
    msix->table_size = vectors * ENTRY_SIZE;
    msix->pba_size   = (vectors + 63) / 64 * 8;
    msix->table      = g_malloc0(msix->table_size);
    msix->pending    = g_malloc0(msix->pba_size);
    region_init_io(&msix->table_region, memory, "msix-table", msix->table_size, &table_ops, msix);
    region_init_io(&msix->pba_region, memory, "msix-pba", msix->pba_size, &pba_ops, msix);
    g_assert(range_fits(table_offset, msix->table_size, parent->size) &&
             range_fits(pba_offset, msix->pba_size, parent->size) &&
             !ranges_overlap(table_offset, msix->table_size, pba_offset, msix->pba_size));
    region_map(parent, table_offset, &msix->table_region, 1);
    region_map(parent, pba_offset, &msix->pba_region, 1);
    pci_put16(pci, cap + MSIX_CONTROL, (uint16_t)(vectors - 1));
    pci_put32(pci, cap + MSIX_TABLE, table_offset | bar);
    pci_put32(pci, cap + MSIX_PBA, pba_offset | bar);
    store_le16(pci->wmask + cap + MSIX_CONTROL, CONTROL_ENABLE | CONTROL_MASK_ALL);
    pci->msix     = msix;
    pci->msix_cap = cap;
    pci_msix_reset(pci);
    return true;
}

/* Vectors are masked and nothing is pending. */
void pci_msix_reset(PciDevice *pci)
{
    PciMsix *msix = pci->msix;
    if (!msix) {
        return;
    }
    g_mutex_lock(&pci->msi_lock);
    memset(msix->table, 0, msix->table_size);
    memset(msix->pending, 0, msix->pba_size);
    for (unsigned vector = 0; vector < msix->vectors; vector++) {
        msix->table[vector * ENTRY_SIZE + ENTRY_CONTROL] = ENTRY_MASKED;
    }
    g_mutex_unlock(&pci->msi_lock);
}

void pci_msix_written(PciDevice *pci, unsigned offset, unsigned size)
{
    if (pci->msix_cap && ranges_overlap(offset, size, pci->msix_cap, MSIX_SIZE)) {
        send_pending(pci, 0, pci->msix->vectors);
    }
}

void pci_msix_exit(PciDevice *pci)
{
    PciMsix *msix = pci->msix;
    if (!msix) {
        return;
    }
    region_unmap(&msix->table_region);
    region_unmap(&msix->pba_region);
    region_destroy(&msix->table_region);
    region_destroy(&msix->pba_region);
    g_free(msix->table);
    g_free(msix->pending);
    g_free(msix);
    pci->msix     = NULL;
    pci->msix_cap = 0;
}

/* ---- Saved state: table and pending bits in hexadecimal, null for functions without MSI-X ---- */

static void append_hex(GString *out, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        g_string_append_printf(out, "%02x", bytes[i]);
    }
}

static bool parse_hex(const char *hex, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = g_ascii_xdigit_value(hex[2 * i]), low = g_ascii_xdigit_value(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static Json *print_state(const Field *field, const void *member)
{
    const PciMsix *msix = *(PciMsix *const *)member;
    if (!msix) {
        return json_new_null();
    }
    GString *hex = g_string_new(NULL);
    append_hex(hex, msix->table, msix->table_size);
    append_hex(hex, msix->pending, msix->pba_size);
    Json *value = json_new_string(hex->str);
    g_string_free(hex, true);
    return value;
}

static bool parse_state(const Field *field, void *member, const Json *value, Error *err)
{
    PciMsix *msix = *(PciMsix **)member;
    if (!msix) {
        return value->kind == JSON_NULL || error_set(err, "the device has no MSI-X");
    }
    if (value->kind != JSON_STRING || strlen(value->string) != 2 * ((size_t)msix->table_size + msix->pba_size) ||
        !parse_hex(value->string, msix->table, msix->table_size) ||
        !parse_hex(value->string + 2 * (size_t)msix->table_size, msix->pending, msix->pba_size)) {
        return error_set(err, "not the MSI-X table of %u vectors", msix->vectors);
    }
    for (unsigned vector = 0; vector < msix->vectors; vector++) {
        clean_entry(msix->table + vector * ENTRY_SIZE);
    }
    return true;
}

const FieldCustom pci_msix_state = { .type_name = "msix", .parse = parse_state, .print = print_state };
