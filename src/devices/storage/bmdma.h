/* A bus master of an IDE channel: eight ports in the function's BAR 4, and what it has in hand of the table of regions.
 * Specification: Programming Interface for Bus Master IDE Controller, revision 1.0 (1994). Machine lock. */

#ifndef QUERN_DEVICES_STORAGE_BMDMA_H
#define QUERN_DEVICES_STORAGE_BMDMA_H

#include "devices/pci/pci.h"
#include "devices/storage/ide.h"

struct BmDma {
    PciDevice  *pci;
    IdeChannel *channel;
    Region      ports;

    uint8_t  command, status;
    uint32_t table;      /* descriptor table pointer */
    uint32_t next;       /* descriptor */
    uint32_t addr, left; /* of the region at hand */
    bool     last;       /* it is the table's last */
    uint16_t budget;     /* descriptors that the table may still have */
};

void               bmdma_init(BmDma *bm, PciDevice *pci, IdeChannel *channel, Region *bar, uint64_t offset);
void               bmdma_destroy(BmDma *bm);
void               bmdma_reset(BmDma *bm);
bool               bmdma_post_load(BmDma *bm, Error *err);
extern const Field bmdma_state[];

/* The channel's interrupt has risen. */
void bmdma_note_interrupt(BmDma *bm);

/* Moves up to len bytes of the drive's data to or from memory, as far as the table goes. false: memory or the table
 * cannot be accessed; the status register says so. */
bool bmdma_move(BmDma *bm, bool to_memory, uint8_t *data, uint32_t len, uint32_t *moved);

#endif
