/* ide-hd: a hard disk on an IDE channel.
 * Specification: ATA/ATAPI-6 (T13/1410D revision 3b), chapters 6 (addresses, features), 8 (commands) and 9 (protocols);
 * ACS-2 for DATA SET MANAGEMENT.
 *
 * Reads fill the channel's buffer and are handed out from there block by block; writes by PIO go out a block at a time.
 * When a read of many sectors fails, it is repeated in small steps, so that what lies before the bad sector arrives and
 * the registers name it. Machine lock. */

#include "devices/storage/ide_disk.h"

#include "base/bytes.h"

enum {
    BUFFER_SECTORS = IDE_BUFFER / IDE_SECTOR,
    NO_CYLINDERS   = 65535,
    POWER_ACTIVE   = 0xff, /* CHECK POWER MODE */
    POWER_STANDBY  = 0x00,

    MODE_IS_SET = 8,
};

/* How a command moves sectors. */
enum {
    MOVES    = 1 << 0, /* at all */
    WRITES   = 1 << 1,
    DMA      = 1 << 2,
    EXT      = 1 << 3, /* 48-bit addresses and 16-bit counts */
    MULTIPLE = 1 << 4,
    VERIFIES = 1 << 5, /* nothing goes to the host */
    FUA      = 1 << 6,
};

static const uint8_t movers[256] = {
    [ATA_CMD_READ]               = MOVES,
    [ATA_CMD_READ_ONCE]          = MOVES,
    [ATA_CMD_READ_EXT]           = MOVES | EXT,
    [ATA_CMD_READ_MULTIPLE]      = MOVES | MULTIPLE,
    [ATA_CMD_READ_MULTIPLE_EXT]  = MOVES | MULTIPLE | EXT,
    [ATA_CMD_READ_DMA]           = MOVES | DMA,
    [ATA_CMD_READ_DMA_ONCE]      = MOVES | DMA,
    [ATA_CMD_READ_DMA_EXT]       = MOVES | DMA | EXT,
    [ATA_CMD_WRITE]              = MOVES | WRITES,
    [ATA_CMD_WRITE_ONCE]         = MOVES | WRITES,
    [ATA_CMD_WRITE_EXT]          = MOVES | WRITES | EXT,
    [ATA_CMD_WRITE_MULTIPLE]     = MOVES | WRITES | MULTIPLE,
    [ATA_CMD_WRITE_MULTIPLE_EXT] = MOVES | WRITES | MULTIPLE | EXT,
    [ATA_CMD_WRITE_MULTIPLE_FUA] = MOVES | WRITES | MULTIPLE | EXT | FUA,
    [ATA_CMD_WRITE_DMA]          = MOVES | WRITES | DMA,
    [ATA_CMD_WRITE_DMA_ONCE]     = MOVES | WRITES | DMA,
    [ATA_CMD_WRITE_DMA_EXT]      = MOVES | WRITES | DMA | EXT,
    [ATA_CMD_WRITE_DMA_FUA]      = MOVES | WRITES | DMA | EXT | FUA,
    [ATA_CMD_VERIFY]             = MOVES | VERIFIES,
    [ATA_CMD_VERIFY_ONCE]        = MOVES | VERIFIES,
    [ATA_CMD_VERIFY_EXT]         = MOVES | VERIFIES | EXT,
};

static uint8_t mover(const IdeDisk *disk)
{
    return movers[disk->d.channel->command];
}

/* Sectors of one DRQ block. */
static uint32_t block_sectors(const IdeDisk *disk)
{
    return mover(disk) & MULTIPLE ? MAX(disk->multiple, 1) : 1;
}

/* ---- Addresses ---- */

static void put_lba(IdeDisk *disk, uint64_t lba)
{
    IdeDrive *d = &disk->d;
    if (mover(disk) & EXT) {
        d->lba_low[1]  = (uint8_t)(lba >> 24);
        d->lba_mid[1]  = (uint8_t)(lba >> 32);
        d->lba_high[1] = (uint8_t)(lba >> 40);
    } else if (d->device & ATA_DEVICE_LBA) {
        d->device = (uint8_t)((d->device & ~ATA_DEVICE_HEAD) | (lba >> 24 & ATA_DEVICE_HEAD));
    } else if (disk->track_now && disk->heads_now) {
        uint64_t track = lba / disk->track_now, cylinder = track / disk->heads_now;
        d->device      = (uint8_t)((d->device & ~ATA_DEVICE_HEAD) | track % disk->heads_now);
        d->lba_low[0]  = (uint8_t)(lba % disk->track_now + 1);
        d->lba_mid[0]  = (uint8_t)cylinder;
        d->lba_high[0] = (uint8_t)(cylinder >> 8);
        return;
    }
    d->lba_low[0]  = (uint8_t)lba;
    d->lba_mid[0]  = (uint8_t)(lba >> 8);
    d->lba_high[0] = (uint8_t)(lba >> 16);
}

/* false: there is no such sector. */
static bool take_lba(const IdeDisk *disk, bool ext, uint64_t *lba)
{
    const IdeDrive *d   = &disk->d;
    uint32_t        low = d->lba_low[0] | d->lba_mid[0] << 8 | d->lba_high[0] << 16;
    if (ext) {
        *lba = low | (uint64_t)d->lba_low[1] << 24 | (uint64_t)d->lba_mid[1] << 32 | (uint64_t)d->lba_high[1] << 40;
        return true;
    }
    unsigned head = d->device & ATA_DEVICE_HEAD;
    if (d->device & ATA_DEVICE_LBA) {
        *lba = low | (uint64_t)head << 24;
        return true;
    }
    unsigned sector = d->lba_low[0], cylinder = low >> 8;
    *lba = ((uint64_t)cylinder * disk->heads_now + head) * disk->track_now + sector - 1;
    return sector && sector <= disk->track_now && head < disk->heads_now;
}

static void put_count(IdeDisk *disk, uint32_t count)
{
    disk->d.count[0] = (uint8_t)count;
    disk->d.count[1] = (uint8_t)(count >> 8);
}

/* ---- Moving sectors ---- */

static void fail_at(IdeDisk *disk, uint64_t lba, uint8_t error)
{
    put_lba(disk, lba);
    put_count(disk, disk->left);
    ide_complete(&disk->d, error);
}

/* The next sectors of a command that has some left. */
static void go_on(IdeDisk *disk, bool first)
{
    IdeDrive *d     = &disk->d;
    uint8_t   how   = mover(disk);
    uint32_t  block = block_sectors(disk);
    bool      pio   = !(how & (DMA | VERIFIES));
    uint32_t  most  = disk->cautious || (pio && how & WRITES) ? block : BUFFER_SECTORS;
    disk->batch     = MIN(disk->left, most);
    if (how & WRITES) {
        if (pio) {
            ide_offer(d, IDE_PIO_OUT, disk->batch * IDE_SECTOR, disk->batch * IDE_SECTOR, !first);
        } else {
            ide_transfer(d, IDE_DMA_OUT, disk->batch * IDE_SECTOR);
        }
    } else if (disk->lba >= disk->sectors || !ide_drive_read(d, disk->lba * IDE_SECTOR, disk->batch * IDE_SECTOR)) {
        fail_at(disk, disk->lba, ATA_IDNF);
    }
}

static void start_moving(IdeDisk *disk)
{
    IdeDrive *d    = &disk->d;
    uint8_t   how  = mover(disk);
    uint32_t  most = how & EXT ? 65536 : 256;
    uint32_t  n    = d->count[0] | (how & EXT ? d->count[1] << 8 : 0);
    bool      ok   = take_lba(disk, how & EXT, &disk->lba);
    disk->left     = n ? n : most;
    disk->cautious = false;
    disk->standby  = false;
    if ((how & MULTIPLE && !disk->multiple) || (how & DMA && !d->channel->dma)) {
        ide_abort(d);
    } else if (!ok) {
        ide_complete(d, ATA_IDNF);
    } else if (disk->lba >= disk->sectors || disk->left > disk->sectors - disk->lba) {
        fail_at(disk, MAX(disk->lba, disk->sectors), ATA_IDNF);
    } else {
        go_on(disk, true);
    }
}

/* The batch is on the medium, or read and gone to the host: on with the next one. True: it was the last. */
static bool finish_batch(IdeDisk *disk)
{
    uint32_t n = MIN(disk->batch, disk->left);
    disk->lba += n;
    disk->left -= n;
    if (disk->left) {
        go_on(disk, false);
        return false;
    }
    put_lba(disk, disk->lba - 1);
    put_count(disk, 0);
    return true;
}

static void after_read(IdeDisk *disk, int error)
{
    IdeDrive *d   = &disk->d;
    uint8_t   how = mover(disk);
    if (error && !disk->cautious && disk->batch > block_sectors(disk)) {
        disk->cautious = true;
        go_on(disk, false);
    } else if (error) {
        fail_at(disk, disk->lba, ATA_UNC);
    } else if (how & DMA) {
        ide_transfer(d, IDE_DMA_IN, disk->batch * IDE_SECTOR);
    } else if (how & VERIFIES) {
        if (finish_batch(disk)) {
            ide_complete(d, 0);
        }
    } else {
        ide_offer(d, IDE_PIO_IN, disk->batch * IDE_SECTOR, block_sectors(disk) * IDE_SECTOR, true);
    }
}

static void after_write(IdeDisk *disk, int error)
{
    if (error) {
        fail_at(disk, disk->lba, ATA_ABRT);
        return;
    }
    if (finish_batch(disk)) {
        ide_complete(&disk->d, 0);
    }
}

static void write_batch(IdeDisk *disk)
{
    IdeDrive *d = &disk->d;
    if (disk->lba >= disk->sectors ||
        !ide_drive_write(d, disk->lba * IDE_SECTOR, disk->batch * IDE_SECTOR, mover(disk) & FUA)) {
        fail_at(disk, disk->lba, ATA_IDNF);
    }
}

/* The host has read what it was offered; the last data ends a command without an interrupt. */
static void after_pio_in(IdeDisk *disk)
{
    IdeDrive   *d = &disk->d;
    IdeChannel *c = d->channel;
    if (c->pos < c->end) {
        ide_next_block(d, block_sectors(disk) * IDE_SECTOR);
        return;
    }
    if (!mover(disk)) { /* IDENTIFY, SMART */
        ide_rest(d);
        return;
    }
    if (finish_batch(disk)) {
        ide_rest(d);
    }
}

/* ---- TRIM ---- */

static void start_trim(IdeDisk *disk)
{
    IdeDrive *d    = &disk->d;
    uint32_t  n    = d->count[0] | d->count[1] << 8;
    bool      trim = d->features[0] == ATA_TRIM && !d->features[1];
    if (!trim || !d->channel->dma || !n || n > BUFFER_SECTORS) {
        ide_abort(d);
        return;
    }
    disk->range = 0;
    ide_transfer(d, IDE_DMA_OUT, n * IDE_SECTOR);
}

/* One range after the other, from the buffer. */
static void trim_on(IdeDisk *disk, int error)
{
    IdeChannel *c = disk->d.channel;
    while (!error && disk->range < c->end / ATA_RANGE_SIZE) {
        uint64_t range = load_le64(c->buffer + ATA_RANGE_SIZE * disk->range++);
        uint64_t lba = range & ((UINT64_C(1) << ATA_RANGE_LBA_BITS) - 1), n = range >> ATA_RANGE_LBA_BITS;
        if (n && (lba >= disk->sectors || n > disk->sectors - lba)) {
            ide_complete(&disk->d, ATA_IDNF);
            return;
        }
        if (n) {
            ide_drive_discard(&disk->d, lba * IDE_SECTOR, n * IDE_SECTOR);
            return;
        }
    }
    ide_complete(&disk->d, error ? ATA_ABRT : 0);
}

static void disk_step(IdeDrive *d, IdePhase phase, int error)
{
    IdeDisk *disk = (IdeDisk *)d;
    uint8_t  how  = mover(disk);
    if (phase == IDE_PIO_IN) {
        after_pio_in(disk);
    } else if (d->channel->command == ATA_CMD_DATA_SET) {
        trim_on(disk, error);
    } else if (!how) { /* a flush */
        ide_complete(d, error ? ATA_ABRT : 0);
    } else if (phase == IDE_WORK) {
        (how & WRITES ? after_write : after_read)(disk, error);
    } else if (error) {
        fail_at(disk, disk->lba, ATA_ABRT);
    } else if (phase == IDE_DMA_IN) {
        if (finish_batch(disk)) {
            ide_complete(d, 0);
        }
    } else {
        write_batch(disk);
    }
}

/* ---- Commands without data ---- */

static void set_geometry(IdeDisk *disk)
{
    IdeDrive *d     = &disk->d;
    unsigned  heads = (d->device & ATA_DEVICE_HEAD) + 1u;
    if (!d->count[0]) {
        ide_abort(d);
        return;
    }
    disk->heads_now = (uint8_t)heads;
    disk->track_now = d->count[0];
    ide_complete(d, 0);
}

static void set_multiple(IdeDisk *disk)
{
    uint8_t n = disk->d.count[0];
    if (n > DISK_MULTIPLE || (n & (n - 1))) {
        ide_abort(&disk->d);
        return;
    }
    disk->multiple = n;
    ide_complete(&disk->d, 0);
}

static bool set_transfer_mode(IdeDisk *disk, uint8_t mode)
{
    uint8_t n = mode & 7;
    switch (mode & ~7) {
    case ATA_MODE_PIO: return n <= 1; /* default, and default without IORDY */
    case ATA_MODE_PIO_FLOW: return n <= ATA_MOST_PIO;
    case ATA_MODE_MULTIWORD:
        if (n > ATA_MOST_MULTIWORD) {
            return false;
        }
        disk->multiword = MODE_IS_SET | n;
        disk->ultra     = 0;
        return true;
    case ATA_MODE_ULTRA:
        if (n > ATA_MOST_ULTRA) {
            return false;
        }
        disk->ultra     = MODE_IS_SET | n;
        disk->multiword = 0;
        return true;
    default: return false;
    }
}

/* A write cache that is switched off is flushed. */
static void set_write_cache(IdeDisk *disk, bool on)
{
    disk->write_cache        = on;
    disk->d.user.write_cache = on;
    if (on) {
        ide_complete(&disk->d, 0);
    } else {
        ide_drive_flush(&disk->d);
    }
}

static void set_features(IdeDisk *disk)
{
    IdeDrive *d  = &disk->d;
    bool      ok = true;
    switch (d->features[0]) {
    case ATA_SET_WRITE_CACHE:
    case ATA_CLEAR_WRITE_CACHE: set_write_cache(disk, d->features[0] == ATA_SET_WRITE_CACHE); return;
    case ATA_SET_TRANSFER_MODE: ok = set_transfer_mode(disk, d->count[0]); break;
    case ATA_SET_LOOK_AHEAD: disk->look_ahead = true; break;
    case ATA_CLEAR_LOOK_AHEAD: disk->look_ahead = false; break;
    case ATA_KEEP_ON_RESET: disk->keep_settings = true; break;
    case ATA_DEFAULTS_ON_RESET: disk->keep_settings = false; break;
    default: ok = false;
    }
    ide_complete(d, ok ? 0 : ATA_ABRT);
}

static void set_power(IdeDisk *disk, bool standby)
{
    disk->standby = standby;
    ide_complete(&disk->d, 0);
}

static void seek(IdeDisk *disk)
{
    uint64_t lba;
    bool     ok = take_lba(disk, false, &lba) && lba < disk->sectors;
    ide_complete(&disk->d, ok ? 0 : ATA_IDNF);
}

/* The last sector; a drive with more than 28 bits of them says the last that they can name. */
static void read_native_max(IdeDisk *disk, bool ext)
{
    IdeDrive *d    = &disk->d;
    uint64_t  last = ext ? disk->sectors - 1 : MIN(disk->sectors, (1 << 28) - 1) - 1;
    if (!ext && !(d->device & ATA_DEVICE_LBA)) {
        ide_abort(d);
        return;
    }
    put_lba(disk, last); /* these are no movers: 28 bits */
    if (ext) {
        d->lba_low[1]  = (uint8_t)(last >> 24);
        d->lba_mid[1]  = (uint8_t)(last >> 32);
        d->lba_high[1] = (uint8_t)(last >> 40);
    }
    ide_complete(d, 0);
}

static void offer_sector(IdeDisk *disk)
{
    ide_offer(&disk->d, IDE_PIO_IN, IDE_SECTOR, IDE_SECTOR, true);
}

static void smart(IdeDisk *disk)
{
    IdeDrive *d    = &disk->d;
    uint8_t  *data = d->channel->buffer;
    bool      key  = (d->lba_high[0] << 8 | d->lba_mid[0]) == SMART_KEY;
    if (!key || (!disk->smart && d->features[0] != SMART_ENABLE)) {
        ide_abort(d);
        return;
    }
    switch (d->features[0]) {
    case SMART_READ_DATA:
        ide_disk_smart_data(disk, data);
        offer_sector(disk);
        break;
    case SMART_READ_THRESHOLDS:
        ide_disk_smart_thresholds(data);
        offer_sector(disk);
        break;
    case SMART_READ_LOG:
        if (d->count[0] == 1 && ide_disk_smart_log(d->lba_low[0], data)) {
            offer_sector(disk);
        } else {
            ide_abort(d);
        }
        break;
    case SMART_ENABLE:
    case SMART_DISABLE:
        disk->smart = d->features[0] == SMART_ENABLE;
        ide_complete(d, 0);
        break;
    case SMART_STATUS: /* registers stay as they are: all is well */
    case SMART_AUTOSAVE: ide_complete(d, 0); break;
    case SMART_OFFLINE: /* done as soon as it is asked for: off-line, short, long test; or stop */
        ide_complete(d, d->lba_low[0] <= 2 || d->lba_low[0] == 0x7f ? 0 : ATA_ABRT);
        break;
    default: ide_abort(d);
    }
}

static void disk_command(IdeDrive *d, uint8_t command)
{
    IdeDisk *disk = (IdeDisk *)d;
    if (movers[command]) {
        start_moving(disk);
        return;
    }
    switch (command) {
    case ATA_CMD_IDENTIFY:
        ide_disk_identify(disk, d->channel->buffer);
        offer_sector(disk);
        break;
    case ATA_CMD_FLUSH:
    case ATA_CMD_FLUSH_EXT: ide_drive_flush(d); break;
    case ATA_CMD_SET_FEATURES: set_features(disk); break;
    case ATA_CMD_SET_GEOMETRY: set_geometry(disk); break;
    case ATA_CMD_SET_MULTIPLE: set_multiple(disk); break;
    case ATA_CMD_SMART: smart(disk); break;
    case ATA_CMD_DATA_SET: start_trim(disk); break;
    case ATA_CMD_READ_NATIVE:
    case ATA_CMD_READ_NATIVE_EXT: read_native_max(disk, command == ATA_CMD_READ_NATIVE_EXT); break;
    case ATA_CMD_CHECK_POWER:
    case ATA_CMD_OLD_CHECK_POWER:
        d->count[0] = disk->standby ? POWER_STANDBY : POWER_ACTIVE;
        ide_complete(d, 0);
        break;
    case ATA_CMD_IDLE:
    case ATA_CMD_IDLE_NOW:
    case ATA_CMD_OLD_IDLE:
    case ATA_CMD_OLD_IDLE_NOW: set_power(disk, false); break;
    case ATA_CMD_STANDBY:
    case ATA_CMD_STANDBY_NOW:
    case ATA_CMD_SLEEP:
    case ATA_CMD_OLD_STANDBY:
    case ATA_CMD_OLD_STANDBY_NOW:
    case ATA_CMD_OLD_SLEEP: set_power(disk, true); break;
    default:
        if ((command & 0xf0) == ATA_CMD_RECALIBRATE) {
            ide_complete(d, 0);
        } else if ((command & 0xf0) == ATA_CMD_SEEK) {
            seek(disk);
        } else {
            ide_abort(d); /* NOP too: it always does */
        }
    }
}

static void disk_reset(IdeDrive *d, bool power_on)
{
    IdeDisk *disk = (IdeDisk *)d;
    disk->standby = false;
    if (power_on) {
        disk->smart         = true;
        disk->keep_settings = false;
        disk->multiword     = 0;
        disk->ultra         = MODE_IS_SET | ATA_MOST_ULTRA;
        disk->lba           = 0;
        disk->left = disk->batch = 0;
        disk->cautious           = false;
    }
    if (power_on || !disk->keep_settings) {
        disk->heads_now     = (uint8_t)disk->heads;
        disk->track_now     = (uint8_t)disk->track;
        disk->multiple      = DISK_MULTIPLE;
        disk->look_ahead    = true;
        disk->write_cache   = disk->cache_at_start;
        d->user.write_cache = disk->cache_at_start;
    }
}

static const IdeDriveKind disk_kind = { .command = disk_command, .step = disk_step, .reset = disk_reset };

/* ---- Life ---- */

/* Without cyls=, heads= and secs=: as many cylinders as ATA can say, of 16 heads and 63 sectors. */
static bool choose_geometry(IdeDisk *disk, Error *err)
{
    if (!disk->cylinders && !disk->heads && !disk->track) {
        disk->heads     = DISK_HEADS;
        disk->track     = DISK_TRACK;
        disk->cylinders = (uint32_t)MIN(MAX(disk->sectors / (DISK_HEADS * DISK_TRACK), 2), DISK_CYLINDERS);
    }
    if (!disk->cylinders || disk->cylinders > NO_CYLINDERS || !disk->heads || disk->heads > DISK_HEADS ||
        !disk->track || disk->track > 255) {
        return error_set(err, "cyls=, heads=, secs=: together, with 1 to 65535 cylinders, 1 to 16 heads and 1 to 255 "
                              "sectors");
    }
    if (disk->translation == CHS_AUTO) {
        disk->translation = disk->cylinders <= 1024 && disk->heads <= 16 && disk->track <= 63 ? CHS_NONE : CHS_LBA;
    }
    return true;
}

static bool disk_realize(Device *dev, Error *err)
{
    IdeDisk *disk = (IdeDisk *)dev;
    if (!ide_drive_attach(&disk->d, BLOCK_WRITES, "QEMU HARDDISK", err)) {
        return false;
    }
    disk->sectors        = block_user_size(&disk->d.user) / IDE_SECTOR;
    disk->cache_at_start = disk->d.user.write_cache;
    if (!disk->d.user.node) {
        error_set(err,
                  disk->d.drive ? "drive=%s: there is no medium in it, and a hard disk needs one" : "drive= is missing",
                  disk->d.drive);
    } else if (!disk->sectors) {
        error_set(err, "drive=%s: the image is empty", disk->d.drive);
    } else if (choose_geometry(disk, err)) {
        return true;
    }
    ide_drive_detach(&disk->d);
    return false;
}

static void disk_unrealize(Device *dev)
{
    ide_drive_detach((IdeDrive *)dev);
}

static bool disk_post_load(Device *dev, Error *err)
{
    IdeDisk *disk            = (IdeDisk *)dev;
    disk->d.user.write_cache = disk->write_cache;
    if (!disk->heads_now || !disk->track_now) {
        return error_set(err, "a disk without heads or sectors");
    }
    return true;
}

static const char *const translation_names[] = { "none", "lba", "large", "rechs", "auto", NULL };

#define ABSENT(name) FIELD(IdeDisk, d.absent_number, name, .unsupported = true, .help = "geometry that INT 13h shows")

static const Field disk_properties[] = {
    FIELDS_OF(IdeDisk, d, ide_drive_properties),
    FIELD(IdeDisk, cylinders, "cyls", .help = "cylinders that it says it has"),
    FIELD(IdeDisk, heads, "heads", .help = "heads"),
    FIELD(IdeDisk, track, "secs", .help = "sectors of a track"),
    ABSENT("lcyls"),
    ABSENT("lheads"),
    ABSENT("lsecs"),
    FIELD(IdeDisk, translation, "bios-chs-trans", .names = translation_names, .initial = CHS_AUTO,
          .help = "how firmware makes the geometry that INT 13h shows"),
    FIELD(IdeDisk, rotation_rate, "rotation_rate", .help = "revolutions a minute; 1: it is a solid-state disk"),
    {},
};

static const Field disk_state[] = {
    FIELDS_OF(IdeDisk, d, ide_drive_state),
    FIELD(IdeDisk, heads_now, "heads"),
    FIELD(IdeDisk, track_now, "track"),
    FIELD(IdeDisk, multiple, "multiple", .min = 0, .max = DISK_MULTIPLE),
    FIELD(IdeDisk, multiword, "multiword"),
    FIELD(IdeDisk, ultra, "ultra"),
    FIELD(IdeDisk, write_cache, "write-cache"),
    FIELD(IdeDisk, look_ahead, "look-ahead"),
    FIELD(IdeDisk, smart, "smart"),
    FIELD(IdeDisk, standby, "standby"),
    FIELD(IdeDisk, keep_settings, "keep-settings"),
    FIELD(IdeDisk, lba, "lba"),
    FIELD(IdeDisk, left, "left", .min = 0, .max = 65536),
    FIELD(IdeDisk, batch, "batch", .min = 0, .max = BUFFER_SECTORS),
    FIELD(IdeDisk, cautious, "cautious"),
    {},
};

DEVICE_TYPE(ide_hd) = {
    .name       = "ide-hd",
    .parent     = "ide-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "IDE disk",
    .size       = sizeof(IdeDisk),
    .bus        = BUS_IDE,
    .bus_info   = &disk_kind,
    .category   = DEVICE_STORAGE,
    .properties = disk_properties,
    .state      = disk_state,
    .realize    = disk_realize,
    .unrealize  = disk_unrealize,
    .reset      = ide_drive_reset,
    .post_load  = disk_post_load,
};
