/* Message-signalled interrupts.
 * Specification: PCI Local Bus Specification 3.0, section 6.8.1.
 * The capability's bytes are under pci->msi_lock, so that any thread may notify. */

#include "devices/pci/internal.h"

#include "base/bytes.h"
#include "base/checked.h"

enum {
    MSI_CONTROL      = 2, /* offsets inside the capability */
    MSI_ADDRESS      = 4,
    MSI_ADDRESS_HIGH = 8,

    CONTROL_ENABLE       = 1 << 0,
    CONTROL_CAPABLE      = 7 << 1, /* log2 of the vectors offered */
    CONTROL_ALLOCATED    = 7 << 4, /* log2 of the vectors the guest allows */
    CONTROL_64           = 1 << 7,
    CONTROL_VECTOR_MASKS = 1 << 8,
    MAX_VECTORS          = 32,
};

typedef struct Message {
    uint64_t addr;
    uint32_t data;
} Message;

static uint16_t control_of(const PciDevice *pci)
{
    return load_le16(pci->config + pci->msi_cap + MSI_CONTROL);
}

static unsigned data_offset(uint16_t control)
{
    return control & CONTROL_64 ? 12 : 8;
}

/* The mask register; the pending register follows it. */
static unsigned mask_offset(uint16_t control)
{
    return data_offset(control) + 4;
}

static unsigned allocated(uint16_t control)
{
    unsigned offered = extract_bits(control, 1, 3);
    return 1u << MIN(extract_bits(control, 4, 3), offered);
}

bool pci_msi_init(PciDevice *pci, uint8_t offset, unsigned vectors, bool address64, bool per_vector_mask, Error *err)
{
    g_assert(is_power_of_two(vectors) && vectors <= MAX_VECTORS);
    uint16_t control = (uint16_t)(__builtin_ctz(vectors) << 1) | (address64 ? CONTROL_64 : 0) |
                       (per_vector_mask ? CONTROL_VECTOR_MASKS : 0);
    unsigned size = mask_offset(control) - 2 + (per_vector_mask ? 10 : 0);
    uint8_t  cap  = pci_add_capability(pci, PCI_CAP_MSI, offset, (uint8_t)size, err);
    if (!cap) {
        return false;
    }
    store_le16(pci->config + cap + MSI_CONTROL, control);
    store_le16(pci->wmask + cap + MSI_CONTROL, CONTROL_ENABLE | CONTROL_ALLOCATED);
    store_le32(pci->wmask + cap + MSI_ADDRESS, 0xfffffffc);
    if (address64) {
        store_le32(pci->wmask + cap + MSI_ADDRESS_HIGH, UINT32_MAX);
    }
    store_le16(pci->wmask + cap + data_offset(control), UINT16_MAX);
    if (per_vector_mask) {
        uint32_t all = UINT32_MAX >> (MAX_VECTORS - vectors);
        store_le32(pci->wmask + cap + mask_offset(control), all);
        store_le32(pci->volatiles + cap + mask_offset(control) + 4, all);
    }
    pci->msi_cap = cap;
    return true;
}

bool pci_msi_enabled(const PciDevice *pci)
{
    return pci->msi_cap && control_of(pci) & CONTROL_ENABLE;
}

/* With msi_lock held. */
static Message message_for(const PciDevice *pci, unsigned vector)
{
    uint16_t       control = control_of(pci);
    const uint8_t *cap     = pci->config + pci->msi_cap;
    Message        m       = { .addr = load_le32(cap + MSI_ADDRESS), .data = load_le16(cap + data_offset(control)) };
    if (control & CONTROL_64) {
        m.addr |= (uint64_t)load_le32(cap + MSI_ADDRESS_HIGH) << 32;
    }
    unsigned n = allocated(control);
    m.data     = (m.data & ~(n - 1)) | (vector & (n - 1)); /* the function changes the low bits only */
    return m;
}

static bool bus_master(const PciDevice *pci)
{
    return load_le16(pci->config + PCI_COMMAND) & PCI_COMMAND_MASTER;
}

void pci_msi_notify(PciDevice *pci, unsigned vector)
{
    Message message = {};
    bool    send    = false;
    g_mutex_lock(&pci->msi_lock);
    if (pci_msi_enabled(pci) && vector < MAX_VECTORS) {
        uint16_t control = control_of(pci);
        uint8_t *mask    = pci->config + pci->msi_cap + mask_offset(control);
        if (control & CONTROL_VECTOR_MASKS && load_le32(mask) & 1u << vector) {
            store_le32(mask + 4, load_le32(mask + 4) | 1u << vector);
        } else {
            send    = bus_master(pci);
            message = message_for(pci, vector);
        }
    }
    g_mutex_unlock(&pci->msi_lock);
    if (send) {
        pci_bus_send_msi(pci, message.addr, message.data);
    }
}

/* Sends what became unmasked. */
void pci_msi_written(PciDevice *pci, unsigned offset, unsigned size)
{
    Message  messages[MAX_VECTORS];
    unsigned n = 0;
    if (!pci->msi_cap) {
        return;
    }
    g_mutex_lock(&pci->msi_lock);
    uint16_t control = control_of(pci);
    unsigned end     = pci->msi_cap + mask_offset(control) + 8;
    if (control & CONTROL_VECTOR_MASKS && control & CONTROL_ENABLE && bus_master(pci) &&
        ranges_overlap(offset, size, pci->msi_cap, end - pci->msi_cap)) {
        uint8_t *mask  = pci->config + pci->msi_cap + mask_offset(control);
        uint32_t ready = load_le32(mask + 4) & ~load_le32(mask);
        store_le32(mask + 4, load_le32(mask + 4) & ~ready);
        for (; ready; ready &= ready - 1) {
            messages[n++] = message_for(pci, (unsigned)__builtin_ctz(ready));
        }
    }
    g_mutex_unlock(&pci->msi_lock);
    for (unsigned i = 0; i < n; i++) {
        pci_bus_send_msi(pci, messages[i].addr, messages[i].data);
    }
}
