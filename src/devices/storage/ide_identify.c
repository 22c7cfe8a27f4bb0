/* What a disk says of itself: IDENTIFY DEVICE and SMART.
 * Specification: ATA/ATAPI-6 (T13/1410D revision 3b), section 8.15; words 69, 106, 169 and 217 as in ACS-2; SMART data
 * as in sections 8.53.6 and 8.53.8, the attributes (which are the vendor's there) as SFF-8035i revision 2.0 has them.
 * Values are those that guests know from QEMU's disks. */

#include "base/bytes.h"
#include "devices/storage/ide_disk.h"

#include <string.h>

enum { WORD_CURRENT_MAX = 65535, LBA28_MOST = (1 << 28) - 1, SUM_BYTE = 511 };

static const struct {
    uint8_t  word;
    uint16_t value;
} constants[] = {
    { 0, 0x0040 },     /* fixed drive */
    { 5, IDE_SECTOR }, /* bytes of a sector */
    { 20, 3 },         /* dual-ported buffer with read cache */
    { 21, 512 },       /* its size in sectors */
    { 22, 4 },         /* bytes of ECC */
    { 47, 0x8000 | DISK_MULTIPLE },
    { 48, 1 },      /* double words by PIO */
    { 49, 0x0b00 }, /* IORDY, LBA, DMA */
    { 51, 0x0200 }, /* PIO and DMA timing of old */
    { 52, 0x0200 },
    { 53, 7 },   /* words 54 to 58, 64 to 70 and 88 are valid */
    { 64, 3 },   /* PIO modes 3 and 4 */
    { 65, 120 }, /* ns of a cycle */
    { 66, 120 },
    { 67, 120 },
    { 68, 120 },
    { 69, 0x4000 }, /* what was trimmed reads the same each time */
    { 80, 0x00f0 }, /* ATA/ATAPI-4 to -7 */
    { 81, 0x0016 },
    { 82, 0x4021 }, /* NOP, write cache, SMART */
    { 83, 0x7400 }, /* FLUSH CACHE (EXT), 48 bits */
    { 84, 0x4000 },
    { 86, 0x3400 },
    { 93, 0x6001 }, /* hardware reset: 80 wires, device 0 by jumper */
};

static void put(uint8_t *data, unsigned word, uint64_t value, unsigned words)
{
    for (unsigned n = 0; n < words; n++) {
        store_le16(data + 2 * (word + n), (uint16_t)(value >> 16 * n));
    }
}

/* Log2 of how many logical sectors a physical one has. */
static unsigned physical_exponent(const IdeDisk *disk)
{
    unsigned n = 0;
    while ((uint64_t)IDE_SECTOR << n < disk->d.physical_block_size) {
        n++;
    }
    return n;
}

void ide_disk_identify(const IdeDisk *disk, uint8_t *data)
{
    const IdeDrive *d         = &disk->d;
    uint32_t        track_now = (uint32_t)disk->heads_now * disk->track_now;
    uint64_t        now       = track_now ? MIN(disk->sectors / track_now, WORD_CURRENT_MAX) : 0;
    uint64_t        chs_now   = now * track_now;
    uint64_t        lba28     = MIN(disk->sectors, LBA28_MOST);

    memset(data, 0, IDE_SECTOR);
    for (unsigned i = 0; i < G_N_ELEMENTS(constants); i++) {
        put(data, constants[i].word, constants[i].value, 1);
    }
    put(data, 1, disk->cylinders, 1);
    put(data, 3, disk->heads, 1);
    put(data, 4, (uint64_t)IDE_SECTOR * disk->track, 1);
    put(data, 6, disk->track, 1);
    ide_put_string(data, 10, 10, d->serial);
    ide_put_string(data, 23, 4, d->ver ? d->ver : "");
    ide_put_string(data, 27, 20, d->model);
    bool as_made = disk->heads_now == disk->heads && disk->track_now == disk->track;
    put(data, 54, as_made ? disk->cylinders : now, 1);
    put(data, 55, disk->heads_now, 1);
    put(data, 56, disk->track_now, 1);
    put(data, 57, as_made ? (uint64_t)disk->cylinders * disk->heads * disk->track : chs_now, 2);
    put(data, 59, disk->multiple ? 0x100 | disk->multiple : 0, 1);
    put(data, 60, lba28, 2);
    put(data, 62, 7, 1); /* single word DMA */
    put(data, 63, 7 | (disk->multiword ? 0x100u << (disk->multiword & 7) : 0), 1);
    put(data, 85, 0x4000 | (disk->write_cache ? 0x20 : 0) | (disk->smart ? 1 : 0), 1);
    put(data, 87, 0x4000 | (d->wwn ? 0x100 : 0), 1);
    put(data, 84, 0x4000 | (d->wwn ? 0x100 : 0), 1);
    put(data, 88, 0x3f | (disk->ultra ? 0x100u << (disk->ultra & 7) : 0), 1);
    put(data, 100, disk->sectors, 4);
    put(data, 106, 0x6000 | physical_exponent(disk), 1);
    for (unsigned n = 0; d->wwn && n < 4; n++) {
        put(data, 108 + n, d->wwn >> 16 * (3 - n), 1);
    }
    put(data, 169, ATA_TRIM, 1);
    put(data, 217, disk->rotation_rate, 1);
}

/* ---- SMART ---- */

static const struct {
    uint8_t  id;
    uint16_t flags;
    uint8_t  value, worst, threshold, raw;
} attributes[] = {
    { 0x01, 0x03, 100, 100, 6, 0 },    /* raw read error rate */
    { 0x03, 0x03, 100, 100, 0, 16 },   /* time to spin up */
    { 0x04, 0x02, 100, 100, 20, 100 }, /* starts and stops */
    { 0x05, 0x03, 100, 100, 36, 0 },   /* sectors that were replaced */
    { 0x09, 0x03, 100, 100, 0, 1 },    /* hours */
    { 0x0c, 0x03, 100, 100, 0, 0 },    /* power cycles */
    { 0xbe, 0x03, 69, 69, 50, 31 },    /* temperature of the air */
};

static void put_sum(uint8_t *data)
{
    uint8_t sum = 0;
    for (unsigned n = 0; n < SUM_BYTE; n++) {
        sum += data[n];
    }
    data[SUM_BYTE] = (uint8_t)-sum;
}

void ide_disk_smart_data(const IdeDisk *disk, uint8_t *data)
{
    enum {
        ENTRY            = 12,
        OFFLINE_STATUS   = 362,
        OFFLINE_SECONDS  = 364,
        CAPABILITY       = 367,
        SMART_CAPABILITY = 368,
        LOGGING          = 370,
        SHORT_MINUTES    = 372,
        LONG_MINUTES     = 373
    };
    memset(data, 0, IDE_SECTOR);
    data[0] = 1; /* revision of the structure */
    for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++) {
        uint8_t *entry = data + 2 + ENTRY * i;
        entry[0]       = attributes[i].id;
        store_le16(entry + 1, attributes[i].flags);
        entry[3] = attributes[i].value;
        entry[4] = attributes[i].worst;
        entry[5] = attributes[i].raw;
    }
    data[OFFLINE_STATUS] = 0x02 | 0x80; /* finished without an error */
    store_le16(data + OFFLINE_SECONDS, 1);
    data[CAPABILITY] = 0x01 | 0x10; /* off-line collection and self-tests */
    store_le16(data + SMART_CAPABILITY, 3);
    data[LOGGING]       = 1;
    data[SHORT_MINUTES] = 2;
    data[LONG_MINUTES]  = 54;
    put_sum(data);
}

void ide_disk_smart_thresholds(uint8_t *data)
{
    enum { ENTRY = 12 };
    memset(data, 0, IDE_SECTOR);
    data[0] = 1;
    for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++) {
        data[2 + ENTRY * i] = attributes[i].id;
        data[3 + ENTRY * i] = attributes[i].threshold;
    }
    put_sum(data);
}

bool ide_disk_smart_log(uint8_t log, uint8_t *data)
{
    enum { DIRECTORY = 0, ERRORS = 1, SELF_TESTS = 6 };
    memset(data, 0, IDE_SECTOR);
    switch (log) {
    case DIRECTORY:
        data[0]              = 1; /* version */
        data[2 * ERRORS]     = 1; /* sectors of each */
        data[2 * SELF_TESTS] = 1;
        return true;
    case ERRORS:
    case SELF_TESTS:
        data[0] = 1; /* revision; no entries */
        put_sum(data);
        return true;
    default: return false;
    }
}
