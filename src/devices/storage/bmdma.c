/* Bus master of an IDE channel. See bmdma.h.
 *
 * The engine is active from when the host starts it until the last region of the table is used up, memory fails or the
 * host stops it. A drive with data left then waits, as a drive with DMARQ asserted does, until the host starts the
 * engine again or resets the drive. A table may not cross a 64 KiB boundary, so it has at most 8192 regions; one that
 * goes on is an error, however short they are. Machine lock. */

#include "devices/storage/bmdma.h"

#include "base/bytes.h"

enum {
    BMICOM  = 0,
    BMISTA  = 2,
    BMIDTP  = 4, /* to 7 */
    N_PORTS = 8,

    BMICOM_SSBM  = 0x01, /* start */
    BMICOM_RWCON = 0x08, /* to memory */

    BMISTA_ACTIVE = 0x01,
    BMISTA_ERROR  = 0x02,
    BMISTA_INT    = 0x04,
    BMISTA_CAN    = 0x60, /* drives can do DMA: firmware's note to itself */

    PRD_SIZE     = 8,
    PRD_EOT_BYTE = 7,
    MOST_PRDS    = (64 << 10) / PRD_SIZE,
};

static bool fail(BmDma *bm, const char *what)
{
    log_print(bm->pci->dev.platform->log, LOG_GUEST_ERRORS, "%s: bus master: %s\n", device_type(&bm->pci->dev)->name,
              what);
    bm->status = (uint8_t)((bm->status | BMISTA_ERROR) & ~BMISTA_ACTIVE);
    return false;
}

static bool fetch(BmDma *bm)
{
    uint8_t prd[PRD_SIZE];
    if (!bm->budget) {
        return fail(bm, "a table without an end");
    }
    bm->budget--;
    if (pci_dma_read(bm->pci, bm->next, prd, sizeof prd) != MEM_OK) {
        return fail(bm, "a table that is not in memory");
    }
    bm->next += PRD_SIZE;
    bm->addr = load_le32(prd) & ~1u;
    bm->left = load_le16(prd + 4) & ~1u;
    bm->left = bm->left ? bm->left : 64 << 10;
    bm->last = prd[PRD_EOT_BYTE] & 0x80;
    return true;
}

bool bmdma_move(BmDma *bm, bool to_memory, uint8_t *data, uint32_t len, uint32_t *moved)
{
    *moved = 0;
    while (*moved < len && (bm->status & BMISTA_ACTIVE)) {
        if (!bm->left && !fetch(bm)) {
            return false;
        }
        uint32_t n = MIN(bm->left, len - *moved);
        if (n - 1 > UINT32_MAX - bm->addr ||
            (to_memory ? pci_dma_write(bm->pci, bm->addr, data + *moved, n)
                       : pci_dma_read(bm->pci, bm->addr, data + *moved, n)) != MEM_OK) {
            return fail(bm, "a region that is not in memory");
        }
        bm->addr += n;
        bm->left -= n;
        *moved += n;
        if (!bm->left && bm->last) {
            bm->status &= (uint8_t)~BMISTA_ACTIVE;
        }
    }
    return true;
}

void bmdma_note_interrupt(BmDma *bm)
{
    bm->status |= BMISTA_INT;
}

/* ---- Registers ---- */

static void write_command(BmDma *bm, uint8_t value)
{
    bool was    = bm->command & BMICOM_SSBM;
    bool now    = value & BMICOM_SSBM;
    bm->command = value & (BMICOM_SSBM | BMICOM_RWCON);
    if (now && !was) {
        bm->status |= BMISTA_ACTIVE;
        bm->next   = bm->table;
        bm->left   = 0;
        bm->last   = false;
        bm->budget = MOST_PRDS;
        ide_channel_run_dma(bm->channel);
    } else if (!now) {
        bm->status &= (uint8_t)~BMISTA_ACTIVE;
    }
}

static void write_status(BmDma *bm, uint8_t value)
{
    bm->status &= (uint8_t) ~(value & (BMISTA_ERROR | BMISTA_INT));
    bm->status = (uint8_t)((bm->status & ~BMISTA_CAN) | (value & BMISTA_CAN));
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    const BmDma *bm                 = opaque;
    uint8_t      registers[N_PORTS] = { [BMICOM] = bm->command, [BMISTA] = bm->status };
    uint64_t     value              = 0;
    store_le32(registers + BMIDTP, bm->table);
    for (unsigned n = 0; n < size; n++) {
        value |= (uint64_t)registers[offset + n] << 8 * n;
    }
    return value;
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    BmDma *bm = opaque;
    for (unsigned n = 0; n < size; n++) {
        unsigned at   = (unsigned)offset + n;
        uint8_t  byte = (uint8_t)(value >> 8 * n);
        if (at >= BMIDTP) {
            unsigned shift = 8 * (at - BMIDTP);
            bm->table      = ((bm->table & ~(0xffu << shift)) | (uint32_t)byte << shift) & ~3u;
        } else if (at == BMISTA) {
            write_status(bm, byte);
        } else if (at == BMICOM) {
            write_command(bm, byte);
        }
    }
}

static const IoOps ports_ops = {
    .name = "bmdma", .access = IO_BYTE | IO_WORD | IO_LONG, .read = ports_read, .write = ports_write
};

/* ---- Life ---- */

void bmdma_init(BmDma *bm, PciDevice *pci, IdeChannel *channel, Region *bar, uint64_t offset)
{
    bm->pci     = pci;
    bm->channel = channel;
    region_init_io(&bm->ports, pci->dev.platform->memory, "bmdma", N_PORTS, &ports_ops, bm);
    region_map(bar, offset, &bm->ports, 0);
}

void bmdma_destroy(BmDma *bm)
{
    region_unmap(&bm->ports);
    region_destroy(&bm->ports);
}

void bmdma_reset(BmDma *bm)
{
    bm->command = bm->status = 0;
    bm->table = bm->next = bm->addr = bm->left = 0;
    bm->last                                   = false;
    bm->budget                                 = 0;
}

const Field bmdma_state[] = {
    FIELD(BmDma, command, "command"),
    FIELD(BmDma, status, "status"),
    FIELD(BmDma, table, "table"),
    FIELD(BmDma, next, "next"),
    FIELD(BmDma, addr, "addr"),
    FIELD(BmDma, left, "left", .min = 0, .max = 64 << 10),
    FIELD(BmDma, last, "last"),
    FIELD(BmDma, budget, "budget", .min = 0, .max = MOST_PRDS),
    {},
};

bool bmdma_post_load(BmDma *bm, Error *err)
{
    bm->command &= BMICOM_SSBM | BMICOM_RWCON;
    bm->status &= BMISTA_ACTIVE | BMISTA_ERROR | BMISTA_INT | BMISTA_CAN;
    bm->table &= ~3u;
    return true;
}
