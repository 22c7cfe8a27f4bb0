/* ide-cd: a CD or DVD drive on an IDE channel.
 * Specification: ATA/ATAPI-6 (T13/1410D revision 3b), sections 8.15 (IDENTIFY PACKET DEVICE), 8.27 (PACKET) and 9.9 to
 * 9.11; SFF-8020i revision 2.6. What the packets say is in mmc.c. Machine lock. */

#include "base/bytes.h"
#include "devices/storage/ide.h"
#include "devices/storage/mmc.h"

#include <string.h>

enum { BUFFER_BLOCKS = IDE_BUFFER / MMC_BLOCK, POWER_ACTIVE = 0xff, MODE_IS_SET = 8, DRIVE_IS_PACKET_CD = 0x85c0 };

_Static_assert((unsigned)IDE_BUFFER >= (unsigned)MMC_REPLY_MOST, "replies fit into the channel's buffer");

typedef struct IdeCd {
    IdeDrive d;
    Mmc      mmc;
    uint8_t  multiword, ultra; /* modes that are selected: 8 and a number, 0: none */
    bool     dma;              /* of the command under way: data by the bus master */
    uint16_t limit;            /* bytes of a DRQ block */
    uint32_t lba, left;        /* blocks to be read */
    uint32_t batch;            /* blocks in the buffer */
    bool     shown_open;       /* management has been told of an open tray */
} IdeCd;

/* ---- Packets ---- */

static void complete(IdeCd *cd)
{
    cd->d.count[0] = ATAPI_IO | ATAPI_CD;
    ide_complete(&cd->d, 0);
}

static void fail(IdeCd *cd)
{
    cd->d.count[0] = ATAPI_IO | ATAPI_CD;
    ide_complete(&cd->d, (uint8_t)(cd->mmc.key << 4 | ATA_ABRT));
}

static uint32_t note_block(IdeCd *cd, uint32_t rest)
{
    uint32_t n        = cd->limit < rest ? MAX(cd->limit & ~1u, 2) : rest; /* only the last may be odd */
    cd->d.lba_mid[0]  = (uint8_t)n;
    cd->d.lba_high[0] = (uint8_t)(n >> 8);
    cd->d.count[0]    = ATAPI_IO;
    return n;
}

static void send(IdeCd *cd, uint32_t len)
{
    if (cd->dma) {
        cd->d.count[0] = ATAPI_IO;
        ide_transfer(&cd->d, IDE_DMA_IN, len);
    } else {
        ide_offer(&cd->d, IDE_PIO_IN, len, note_block(cd, len), true);
    }
}

static void read_on(IdeCd *cd)
{
    cd->batch = MIN(cd->left, BUFFER_BLOCKS);
    if (!ide_drive_read(&cd->d, (uint64_t)cd->lba * MMC_BLOCK, cd->batch * MMC_BLOCK)) {
        mmc_fail_read(&cd->mmc, MMC_KEY_MEDIUM_ERROR);
        fail(cd);
    }
}

/* Management is told of the tray. */
static void show_tray(IdeCd *cd)
{
    if (cd->shown_open != cd->mmc.open) {
        cd->shown_open = cd->mmc.open;
        block_tray_moved(&cd->d.user, cd->mmc.open);
    }
}

static void run_packet(IdeCd *cd)
{
    uint8_t  packet[ATAPI_PACKET];
    uint8_t *buf = cd->d.channel->buffer;
    MmcReply reply;
    memcpy(packet, buf, sizeof packet);
    cd->left         = 0;
    MmcResult result = mmc_execute(&cd->mmc, packet, buf, &reply);
    show_tray(cd);
    switch (result) {
    case MMC_DONE: complete(cd); break;
    case MMC_DATA: send(cd, reply.len); break;
    case MMC_READ:
        cd->lba  = reply.lba;
        cd->left = reply.count;
        read_on(cd);
        break;
    default: fail(cd);
    }
}

/* Data of a packet command has gone to the host. */
static void after_data(IdeCd *cd)
{
    uint32_t n = MIN(cd->batch, cd->left);
    cd->lba += n;
    cd->left -= n;
    if (cd->left) {
        read_on(cd);
    } else {
        complete(cd);
    }
}

static void cd_step(IdeDrive *d, IdePhase phase, int error)
{
    IdeCd      *cd = (IdeCd *)d;
    IdeChannel *c  = d->channel;
    if (c->command != ATA_CMD_PACKET) {
        ide_rest(d); /* IDENTIFY PACKET DEVICE */
        return;
    }
    switch (phase) {
    case IDE_PIO_OUT: run_packet(cd); break;
    case IDE_PIO_IN:
        if (c->pos < c->end) {
            ide_next_block(d, note_block(cd, c->end - c->pos));
        } else {
            after_data(cd);
        }
        break;
    case IDE_WORK:
        if (error) {
            mmc_fail_read(&cd->mmc, MMC_KEY_MEDIUM_ERROR);
            fail(cd);
        } else {
            send(cd, MAX(cd->batch, 1) * MMC_BLOCK);
        }
        break;
    default:
        if (error) {
            mmc_fail_read(&cd->mmc, MMC_KEY_ABORTED);
            fail(cd);
        } else {
            after_data(cd);
        }
    }
}

static void start_packet(IdeCd *cd)
{
    IdeDrive *d     = &cd->d;
    uint32_t  limit = d->lba_mid[0] | d->lba_high[0] << 8;
    cd->dma         = d->features[0] & ATAPI_DMA;
    if (d->features[0] & ATAPI_OVERLAP || (cd->dma && !d->channel->dma)) {
        ide_abort(d);
        return;
    }
    cd->limit   = (uint16_t)(limit < 2 ? ATAPI_LIMIT_MOST : MIN(limit, ATAPI_LIMIT_MOST));
    d->count[0] = ATAPI_CD;
    ide_offer(d, IDE_PIO_OUT, ATAPI_PACKET, ATAPI_PACKET, false);
}

/* ---- Other commands ---- */

static void identify(IdeCd *cd)
{
    static const struct {
        uint8_t  word;
        uint16_t value;
    } constants[] = {
        { 0, DRIVE_IS_PACKET_CD }, /* removable, packets of 12 bytes within 50 us */
        { 20, 3 },
        { 21, 512 }, /* buffer */
        { 22, 4 },
        { 48, 1 },      /* double words by PIO */
        { 49, 0x0300 }, /* LBA, DMA */
        { 53, 7 },      /* words 54 to 58, 64 to 70 and 88 are valid */
        { 62, 7 },
        { 64, 3 }, /* single word DMA; PIO modes 3 and 4 */
        { 65, 180 },
        { 66, 180 },
        { 67, 300 },
        { 68, 180 }, /* ns of a cycle */
        { 71, 30 },
        { 72, 30 },     /* ns until the bus is released, and BSY goes */
        { 80, 0x001e }, /* ATA-1 to ATA/ATAPI-4 */
    };
    IdeDrive *d    = &cd->d;
    uint8_t  *data = d->channel->buffer;
    memset(data, 0, IDE_SECTOR);
    for (unsigned i = 0; i < G_N_ELEMENTS(constants); i++) {
        store_le16(data + 2 * constants[i].word, constants[i].value);
    }
    ide_put_string(data, 10, 10, d->serial);
    ide_put_string(data, 23, 4, d->ver ? d->ver : "");
    ide_put_string(data, 27, 20, d->model);
    store_le16(data + 2 * 63, (uint16_t)(7 | (cd->multiword ? 0x100 << (cd->multiword & 7) : 0)));
    store_le16(data + 2 * 88, (uint16_t)(0x3f | (cd->ultra ? 0x100 << (cd->ultra & 7) : 0)));
    ide_offer(d, IDE_PIO_IN, IDE_SECTOR, IDE_SECTOR, true);
}

static bool set_transfer_mode(IdeCd *cd, uint8_t mode)
{
    uint8_t n = mode & 7;
    switch (mode & ~7) {
    case ATA_MODE_PIO: return n <= 1;
    case ATA_MODE_PIO_FLOW: return n <= ATA_MOST_PIO;
    case ATA_MODE_MULTIWORD:
        cd->multiword = MODE_IS_SET | n;
        cd->ultra     = 0;
        return n <= ATA_MOST_MULTIWORD;
    case ATA_MODE_ULTRA:
        cd->ultra     = MODE_IS_SET | n;
        cd->multiword = 0;
        return n <= ATA_MOST_ULTRA;
    default: return false;
    }
}

static void cd_command(IdeDrive *d, uint8_t command)
{
    IdeCd *cd = (IdeCd *)d;
    bool   ok = true;
    switch (command) {
    case ATA_CMD_PACKET: start_packet(cd); return;
    case ATA_CMD_IDENTIFY_PACKET: identify(cd); return;
    case ATA_CMD_IDENTIFY:
    case ATA_CMD_READ: /* what a host finds instead of a disk */
        ide_set_signature(d);
        ok = false;
        break;
    case ATA_CMD_SET_FEATURES:
        ok = d->features[0] == ATA_SET_TRANSFER_MODE && set_transfer_mode(cd, d->count[0]);
        break;
    case ATA_CMD_CHECK_POWER: d->count[0] = POWER_ACTIVE; break;
    case ATA_CMD_STANDBY_NOW:
    case ATA_CMD_IDLE_NOW:
    case ATA_CMD_STANDBY:
    case ATA_CMD_IDLE:
    case ATA_CMD_SLEEP: break;
    default: ok = false;
    }
    ide_complete(d, ok ? 0 : ATA_ABRT);
}

static void cd_reset(IdeDrive *d, bool power_on)
{
    IdeCd *cd = (IdeCd *)d;
    mmc_reset(&cd->mmc, power_on);
    show_tray(cd);
    cd->dma   = false;
    cd->limit = 0;
    cd->lba = cd->left = cd->batch = 0;
    if (power_on) {
        cd->multiword = 0;
        cd->ultra     = MODE_IS_SET | ATA_MOST_ULTRA;
    }
}

static const IdeDriveKind cd_kind = { .packet = true, .command = cd_command, .step = cd_step, .reset = cd_reset };

/* ---- The tray, from outside ---- */

static IdeCd *cd_of(const BlockUser *user)
{
    return (IdeCd *)((char *)(uintptr_t)user - offsetof(IdeCd, d.user));
}

static bool tray_is_open(const BlockUser *user)
{
    return cd_of(user)->mmc.open;
}

static bool tray_is_locked(const BlockUser *user)
{
    return cd_of(user)->mmc.locked;
}

static void move_tray(BlockUser *user, bool open)
{
    IdeCd *cd = cd_of(user);
    mmc_move_tray(&cd->mmc, open);
    show_tray(cd);
}

static void ask_eject(BlockUser *user)
{
    mmc_ask_eject(&cd_of(user)->mmc);
}

static void take_medium(BlockUser *user)
{
    IdeCd *cd      = cd_of(user);
    cd->mmc.blocks = block_user_size(user) / MMC_BLOCK;
    cd->mmc.medium = cd->mmc.blocks;
}

static const BlockTray cd_tray = { .is_open   = tray_is_open,
                                   .is_locked = tray_is_locked,
                                   .move      = move_tray,
                                   .ask_eject = ask_eject,
                                   .changed   = take_medium };

/* ---- Life ---- */

static bool cd_realize(Device *dev, Error *err)
{
    IdeCd *cd = (IdeCd *)dev;
    if (!ide_drive_attach(&cd->d, BLOCK_READS, "QEMU DVD-ROM", err)) {
        return false;
    }
    cd->d.user.tray = cd->d.user.hub ? &cd_tray : NULL;
    cd->mmc.model   = cd->d.model;
    cd->mmc.ver     = cd->d.ver ? cd->d.ver : "";
    take_medium(&cd->d.user);
    return true;
}

static void cd_unrealize(Device *dev)
{
    ide_drive_detach((IdeDrive *)dev);
}

static bool cd_post_load(Device *dev, Error *err)
{
    show_tray((IdeCd *)dev);
    return true;
}

static const Field cd_properties[] = { FIELDS_OF(IdeCd, d, ide_drive_properties), {} };

static const Field cd_state[] = {
    FIELDS_OF(IdeCd, d, ide_drive_state),
    FIELD(IdeCd, mmc.locked, "locked"),
    FIELD(IdeCd, mmc.open, "open"),
    FIELD(IdeCd, mmc.changed, "changed"),
    FIELD(IdeCd, mmc.event, "event", .min = 0, .max = MMC_MEDIUM_GONE),
    FIELD(IdeCd, mmc.key, "sense-key", .min = 0, .max = 15),
    FIELD(IdeCd, mmc.asc, "sense-code"),
    FIELD(IdeCd, mmc.ascq, "sense-qualifier"),
    FIELD(IdeCd, multiword, "multiword"),
    FIELD(IdeCd, ultra, "ultra"),
    FIELD(IdeCd, dma, "dma"),
    FIELD(IdeCd, limit, "limit", .min = 0, .max = ATAPI_LIMIT_MOST),
    FIELD(IdeCd, lba, "lba"),
    FIELD(IdeCd, left, "left"),
    FIELD(IdeCd, batch, "batch", .min = 0, .max = BUFFER_BLOCKS),
    {},
};

DEVICE_TYPE(ide_cd) = {
    .name       = "ide-cd",
    .parent     = "ide-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "IDE CD-ROM",
    .size       = sizeof(IdeCd),
    .bus        = BUS_IDE,
    .bus_info   = &cd_kind,
    .category   = DEVICE_STORAGE,
    .properties = cd_properties,
    .state      = cd_state,
    .realize    = cd_realize,
    .unrealize  = cd_unrealize,
    .reset      = ide_drive_reset,
    .post_load  = cd_post_load,
};
