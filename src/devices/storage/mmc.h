/* The commands of CD and DVD drives, whatever brings them: packets of ATAPI or of SCSI.
 * Specification: SFF-8020i revision 2.6; MMC-3 (T10/1363-D revision 10g); SPC-3 for INQUIRY, MODE SENSE, REQUEST SENSE.
 *
 * Pure functions of the drive's state and a command: no I/O, no lock. The medium is data in one track, written in one
 * session; more than a CD can have makes it a DVD. */

#ifndef QUERN_DEVICES_STORAGE_MMC_H
#define QUERN_DEVICES_STORAGE_MMC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MMC_BLOCK = 2048, MMC_COMMAND = 12 /* bytes */, MMC_REPLY_MOST = 65536 };

typedef enum MmcEvent { MMC_NO_EVENT, MMC_EJECT_ASKED, MMC_NEW_MEDIUM, MMC_MEDIUM_GONE } MmcEvent;

typedef struct Mmc {
    const char *model, *ver; /* borrowed */
    uint64_t    blocks;      /* of the medium */
    bool        medium;      /* there is one in the tray */

    bool     locked, open; /* the tray */
    bool     changed;      /* the host has not been told yet of another medium */
    uint32_t event;        /* MmcEvent, for GET EVENT STATUS NOTIFICATION */
    uint8_t  key, asc, ascq;
} Mmc;

typedef enum MmcResult {
    MMC_DONE,
    MMC_DATA,   /* `len` bytes were put into the buffer */
    MMC_READ,   /* `count` blocks from `lba` on are wanted; they are on the medium */
    MMC_FAILED, /* key, asc and ascq say why */
} MmcResult;

typedef struct MmcReply {
    uint32_t len;
    uint32_t lba, count;
} MmcReply;

/* Runs a command. `buf` has room for MMC_REPLY_MOST bytes. */
MmcResult mmc_execute(Mmc *m, const uint8_t command[MMC_COMMAND], uint8_t *buf, MmcReply *reply);

/* A read has failed, or what was read could not be handed over. */
enum { MMC_KEY_MEDIUM_ERROR = 3, MMC_KEY_ABORTED = 11 };
void mmc_fail_read(Mmc *m, uint8_t key);

/* The tray moves, and somebody has pressed its button: the guest hears of both as it polls. */
void mmc_move_tray(Mmc *m, bool open);
void mmc_ask_eject(Mmc *m);

void mmc_reset(Mmc *m, bool power_on); /* without power_on the tray stays as it is */

#endif
