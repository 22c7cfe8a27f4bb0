/* An IDE channel: two places for drives, their registers as the host sees them, one transfer at a time.
 * Specification: ATA/ATAPI-6 (T13/1410D revision 3b), chapters 7 and 9.
 *
 * A controller embeds IdeChannels, connects their interrupt and, when it can, a bus master (bmdma.h). A drive is a
 * Device on the channel's bus with IdeDrive first in its struct and an IdeDriveKind in DeviceType.bus_info.
 *
 * A command goes on in steps: it submits a block request or offers data to the host, and its drive's `step` is called
 * when that is over; what to do next follows from registers and counters alone, so that all of it can be saved. The
 * channel has one buffer, which belongs to the block request while there is one. A reset does not take a request back:
 * the channel is busy until the request is over, whose result nobody wants any more.
 *
 * Machine lock held throughout; block requests end on the main loop. */

#ifndef QUERN_DEVICES_STORAGE_IDE_H
#define QUERN_DEVICES_STORAGE_IDE_H

#include "block/block.h"
#include "devices/device.h"
#include "devices/storage/ata.h"

typedef struct IdeChannel IdeChannel;
typedef struct IdeDrive   IdeDrive;
typedef struct BmDma      BmDma;

enum { IDE_SECTOR = 512, IDE_BUFFER = 128 << 10, IDE_DRIVES = 2 };

typedef enum IdePhase {
    IDE_IDLE,
    IDE_WORK,    /* a block request is under way */
    IDE_PIO_IN,  /* DRQ: the host reads */
    IDE_PIO_OUT, /* DRQ: the host writes */
    IDE_DMA_IN,  /* to memory, as soon as the bus master runs */
    IDE_DMA_OUT, /* from memory */
    N_IDE_PHASES
} IdePhase;

typedef struct IdeDriveKind {
    bool packet;
    void (*command)(IdeDrive *d, uint8_t command); /* one that came; the drive is busy */
    /* What the drive waited for in `phase` is over: a request (with what errno says, 0 for success), or all that was
     * offered has been transferred. The drive is busy. */
    void (*step)(IdeDrive *d, IdePhase phase, int error);
    void (*reset)(IdeDrive *d, bool power_on); /* settings of its own */
} IdeDriveKind;

struct IdeDrive {
    Device       dev;
    IdeChannel  *channel; /* while it is plugged in */
    BlockUser    user;
    BlockRequest request; /* while the channel is in_flight for this drive */

    /* Properties. */
    uint32_t  unit; /* UINT32_MAX: the first place that is free */
    char     *drive, *serial, *model, *ver;
    uint64_t  wwn; /* 0: none */
    int32_t   bootindex;
    OnOffAuto write_cache;
    uint64_t  logical_block_size, physical_block_size; /* 0: 512 */
    int       rerror, werror;                          /* BlockOnError; "auto": the drive's */
    bool      absent_flag;
    int       absent_choice;
    uint64_t  absent_number, discard_granularity;

    /* Registers; those of two bytes keep what was written before (HOB). */
    uint8_t features[2], count[2], lba_low[2], lba_mid[2], lba_high[2]; /* [0] current, [1] previous */
    uint8_t device;                                                     /* LBA and head bits */
    uint8_t error, status;
};

struct IdeChannel {
    Device   *owner;
    Bus      *bus;
    IdeDrive *drives[IDE_DRIVES];
    BmDma    *dma; /* NULL: the controller has none */
    IrqLine   irq;
    Region    command_ports, control_port;
    uint8_t   selected;  /* 0, 1 */
    uint8_t   control;   /* ATA_NIEN, ATA_SRST, ATA_HOB */
    bool      interrupt; /* INTRQ, whatever nIEN says */

    uint8_t  active;              /* drive whose command is under way, when phase is not IDE_IDLE */
    uint8_t  command;             /* that */
    uint8_t  phase;               /* IdePhase */
    uint32_t pos, block_end, end; /* in buffer: next byte, end of what DRQ stands for, end of what is there */

    bool in_flight; /* a block request has the buffer */
    bool stale;     /* nobody waits for it any more */
    bool reset_due; /* drives come out of reset when it is over */

    uint8_t buffer[IDE_BUFFER];
};

/* ---- For controllers ---- */

/* Makes the bus ("ide.0" ... ) below `owner`; its regions are not mapped yet. */
void               ide_channel_init(IdeChannel *c, Device *owner, const char *bus, const IrqLine *irq, BmDma *dma);
void               ide_channel_destroy(IdeChannel *c); /* drives are gone by then */
void               ide_channel_map(IdeChannel *c, uint16_t command, uint16_t control);
void               ide_channel_unmap(IdeChannel *c);
void               ide_channel_reset(IdeChannel *c); /* power-on */
bool               ide_channel_post_load(IdeChannel *c, Error *err);
extern const Field ide_channel_state[];

/* The bus master was started: a transfer that waits for it goes on. */
void ide_channel_run_dma(IdeChannel *c);

/* ---- For drives ---- */

static inline const IdeDriveKind *ide_drive_kind(const IdeDrive *d)
{
    return device_type(&d->dev)->bus_info;
}

/* For the tables of drives (ide_drive.c). DeviceType.reset is ide_drive_reset. */
extern const Field ide_drive_properties[], ide_drive_state[];
void               ide_drive_reset(Device *dev, ResetKind kind);

/* In realize and unrealize: connects the block layer's drive. `model` is what the guest sees unless model= says
 * otherwise. */
bool ide_drive_attach(IdeDrive *d, BlockAccess access, const char *model, Error *err);
void ide_drive_detach(IdeDrive *d);

/* Requests of the medium, with the channel's buffer; step() with IDE_WORK follows. What lies outside the medium fails
 * at once: false, and no request was made. */
bool ide_drive_read(IdeDrive *d, uint64_t offset, uint32_t size);
bool ide_drive_write(IdeDrive *d, uint64_t offset, uint32_t size, bool fua);
void ide_drive_flush(IdeDrive *d);
void ide_drive_discard(IdeDrive *d, uint64_t offset, uint64_t size); /* inside the medium */

/* A string of IDENTIFY's: `words` words, filled up with spaces, characters of each word swapped. */
void ide_put_string(uint8_t *identify, unsigned word, unsigned words, const char *text);

/* A command is over: registers say how, INTRQ is raised. `error` is the error register: 0 for success. */
void               ide_complete(IdeDrive *d, uint8_t error);
void               ide_rest(IdeDrive *d); /* the same without an interrupt, and successfully */
static inline void ide_abort(IdeDrive *d)
{
    ide_complete(d, ATA_ABRT);
}

/* Offers buffer[0, len) to the host, or as much to be written: the first `block` bytes with this DRQ. With `interrupt`
 * INTRQ is raised. step() follows when the block has been transferred; ide_next_block() goes on in the same buffer,
 * towards the host. */
void ide_offer(IdeDrive *d, IdePhase pio, uint32_t len, uint32_t block, bool interrupt);
void ide_next_block(IdeDrive *d, uint32_t block);

/* Moves buffer[0, len) by the bus master; step() when all has gone through. */
void ide_transfer(IdeDrive *d, IdePhase dma, uint32_t len);

/* Around block requests (ide_drive.c): begin marks the buffer as taken; the request's callback calls end, which calls
 * step() unless the command has been forgotten meanwhile. forget is for a drive that goes. */
void ide_request_begin(IdeDrive *d);
void ide_request_end(IdeChannel *c, int error);
void ide_forget(IdeDrive *d);

/* Puts the signature into the registers, with the code of the diagnostic: 1 is good. */
void ide_set_signature(IdeDrive *d);

#endif
