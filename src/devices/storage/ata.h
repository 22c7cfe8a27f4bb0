/* Names of ATA registers, bits and commands, as in ATA/ATAPI-6 (T13/1410D revision 3b), chapters 7 and 8, and
 * SFF-8020i revision 2.6 for packet devices. */

#ifndef QUERN_DEVICES_STORAGE_ATA_H
#define QUERN_DEVICES_STORAGE_ATA_H

/* Command block registers, as offsets of ports. */
enum {
    ATA_DATA     = 0,
    ATA_ERROR    = 1, /* read */
    ATA_FEATURES = 1, /* written */
    ATA_COUNT    = 2,
    ATA_LBA_LOW  = 3,
    ATA_LBA_MID  = 4,
    ATA_LBA_HIGH = 5,
    ATA_DEVICE   = 6,
    ATA_STATUS   = 7, /* read */
    ATA_COMMAND  = 7, /* written */
};

enum {
    ATA_ERR  = 0x01,
    ATA_DRQ  = 0x08,
    ATA_DSC  = 0x10, /* seek complete; packet devices: service */
    ATA_DF   = 0x20,
    ATA_DRDY = 0x40,
    ATA_BSY  = 0x80,
};

enum {
    ATA_ABRT = 0x04,
    ATA_IDNF = 0x10,
    ATA_UNC  = 0x40,
};

enum {
    ATA_DEVICE_HEAD     = 0x0f,
    ATA_DEVICE_DEV      = 0x10,
    ATA_DEVICE_LBA      = 0x40,
    ATA_DEVICE_OBSOLETE = 0xa0, /* 1 in old hosts' writes, and read back */
};

/* Device control register. */
enum { ATA_NIEN = 0x02, ATA_SRST = 0x04, ATA_HOB = 0x80 };

/* Packet devices: interrupt reason (the count register) and features. */
enum {
    ATAPI_CD         = 0x01, /* command, not data */
    ATAPI_IO         = 0x02, /* to the host */
    ATAPI_DMA        = 0x01, /* features */
    ATAPI_OVERLAP    = 0x02,
    ATAPI_PACKET     = 12, /* bytes */
    ATAPI_SIGNATURE  = 0xeb14,
    ATAPI_LIMIT_MOST = 0xfffe,
};

enum {
    ATA_CMD_NOP                = 0x00,
    ATA_CMD_DATA_SET           = 0x06, /* DATA SET MANAGEMENT; ACS-2 */
    ATA_CMD_DEVICE_RESET       = 0x08,
    ATA_CMD_RECALIBRATE        = 0x10, /* to 1Fh; ATA-3 */
    ATA_CMD_READ               = 0x20,
    ATA_CMD_READ_ONCE          = 0x21,
    ATA_CMD_READ_EXT           = 0x24,
    ATA_CMD_READ_DMA_EXT       = 0x25,
    ATA_CMD_READ_NATIVE_EXT    = 0x27,
    ATA_CMD_READ_MULTIPLE_EXT  = 0x29,
    ATA_CMD_WRITE              = 0x30,
    ATA_CMD_WRITE_ONCE         = 0x31,
    ATA_CMD_WRITE_EXT          = 0x34,
    ATA_CMD_WRITE_DMA_EXT      = 0x35,
    ATA_CMD_WRITE_MULTIPLE_EXT = 0x39,
    ATA_CMD_WRITE_DMA_FUA      = 0x3d,
    ATA_CMD_VERIFY             = 0x40,
    ATA_CMD_VERIFY_ONCE        = 0x41,
    ATA_CMD_VERIFY_EXT         = 0x42,
    ATA_CMD_SEEK               = 0x70, /* to 7Fh */
    ATA_CMD_DIAGNOSTIC         = 0x90,
    ATA_CMD_SET_GEOMETRY       = 0x91, /* INITIALIZE DEVICE PARAMETERS */
    ATA_CMD_PACKET             = 0xa0,
    ATA_CMD_IDENTIFY_PACKET    = 0xa1,
    ATA_CMD_SMART              = 0xb0,
    ATA_CMD_READ_MULTIPLE      = 0xc4,
    ATA_CMD_WRITE_MULTIPLE     = 0xc5,
    ATA_CMD_SET_MULTIPLE       = 0xc6,
    ATA_CMD_READ_DMA           = 0xc8,
    ATA_CMD_READ_DMA_ONCE      = 0xc9,
    ATA_CMD_WRITE_DMA          = 0xca,
    ATA_CMD_WRITE_DMA_ONCE     = 0xcb,
    ATA_CMD_WRITE_MULTIPLE_FUA = 0xce,
    ATA_CMD_STANDBY_NOW        = 0xe0,
    ATA_CMD_IDLE_NOW           = 0xe1,
    ATA_CMD_STANDBY            = 0xe2,
    ATA_CMD_IDLE               = 0xe3,
    ATA_CMD_CHECK_POWER        = 0xe5,
    ATA_CMD_SLEEP              = 0xe6,
    ATA_CMD_FLUSH              = 0xe7,
    ATA_CMD_FLUSH_EXT          = 0xea,
    ATA_CMD_IDENTIFY           = 0xec,
    ATA_CMD_SET_FEATURES       = 0xef,
    ATA_CMD_READ_NATIVE        = 0xf8,
    /* The same as E0h and so on, before ATA-2. */
    ATA_CMD_OLD_STANDBY_NOW = 0x94,
    ATA_CMD_OLD_IDLE_NOW    = 0x95,
    ATA_CMD_OLD_STANDBY     = 0x96,
    ATA_CMD_OLD_IDLE        = 0x97,
    ATA_CMD_OLD_CHECK_POWER = 0x98,
    ATA_CMD_OLD_SLEEP       = 0x99,
};

/* SET FEATURES: what the features register says. */
enum {
    ATA_SET_WRITE_CACHE   = 0x02,
    ATA_SET_TRANSFER_MODE = 0x03,
    ATA_CLEAR_LOOK_AHEAD  = 0x55,
    ATA_KEEP_ON_RESET     = 0x66, /* a software reset leaves settings alone */
    ATA_CLEAR_WRITE_CACHE = 0x82,
    ATA_SET_LOOK_AHEAD    = 0xaa,
    ATA_DEFAULTS_ON_RESET = 0xcc,
    ATA_MODE_PIO          = 0x00, /* upper five bits of the transfer mode */
    ATA_MODE_PIO_FLOW     = 0x08,
    ATA_MODE_MULTIWORD    = 0x20,
    ATA_MODE_ULTRA        = 0x40,
    ATA_MOST_PIO          = 4, /* modes that exist, as IDENTIFY says */
    ATA_MOST_MULTIWORD    = 2,
    ATA_MOST_ULTRA        = 5,
};

/* DATA SET MANAGEMENT: features, and its ranges of 48 bits of address and 16 of count. */
enum { ATA_TRIM = 0x01, ATA_RANGE_SIZE = 8, ATA_RANGE_LBA_BITS = 48 };

/* SMART: what the features register says. */
enum {
    SMART_READ_DATA       = 0xd0,
    SMART_READ_THRESHOLDS = 0xd1,
    SMART_AUTOSAVE        = 0xd2,
    SMART_OFFLINE         = 0xd4,
    SMART_READ_LOG        = 0xd5,
    SMART_ENABLE          = 0xd8,
    SMART_DISABLE         = 0xd9,
    SMART_STATUS          = 0xda,
    SMART_KEY             = 0xc24f, /* in LBA high and mid */
};

#endif
