/* A hard disk on an IDE channel. */

#ifndef QUERN_DEVICES_STORAGE_IDE_DISK_H
#define QUERN_DEVICES_STORAGE_IDE_DISK_H

#include "devices/storage/ide.h"

enum {
    DISK_MULTIPLE  = 16 /* sectors of a DRQ block, at most */,
    DISK_HEADS     = 16,
    DISK_TRACK     = 63,
    DISK_CYLINDERS = 16383
};

/* How a PC's firmware is to make the geometry that INT 13h shows. */
typedef enum ChsTranslation { CHS_NONE, CHS_LBA, CHS_LARGE, CHS_RECHS, CHS_AUTO } ChsTranslation;

typedef struct IdeDisk {
    IdeDrive d;
    uint32_t cylinders, heads, track; /* properties, then as they are; track: sectors of one */
    int      translation;             /* ChsTranslation; not CHS_AUTO when realized */
    uint16_t rotation_rate;
    uint64_t sectors;

    /* Settings. */
    uint8_t heads_now, track_now; /* INITIALIZE DEVICE PARAMETERS */
    uint8_t multiple;             /* sectors of a DRQ block; 0: such commands are not allowed */
    uint8_t multiword, ultra;     /* modes that are selected: 8 and a number, 0: none */
    bool    write_cache, look_ahead, smart, standby, keep_settings;
    bool    cache_at_start; /* write_cache after power-on */

    /* The command under way. */
    uint64_t lba;      /* next sector */
    uint32_t left;     /* sectors */
    uint32_t batch;    /* sectors in the buffer */
    uint32_t range;    /* next one of a TRIM */
    bool     cautious; /* a read of many has failed: few at a time, to find where */
} IdeDisk;

/* ide_identify.c: the 512 bytes of IDENTIFY DEVICE; those of SMART's tables, which have a sum. false: there is no such
 * log. */
void ide_disk_identify(const IdeDisk *disk, uint8_t *data);
void ide_disk_smart_data(const IdeDisk *disk, uint8_t *data);
void ide_disk_smart_thresholds(uint8_t *data);
bool ide_disk_smart_log(uint8_t log, uint8_t *data);

#endif
