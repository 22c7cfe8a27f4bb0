/* What firmware is told about booting: -boot, and the order that bootindex makes. */

#ifndef QUERN_MACHINE_BOOTORDER_H
#define QUERN_MACHINE_BOOTORDER_H

#include "base/error.h"

#include <glib.h>
#include <stdint.h>

/* -boot. Strings and bytes are owned; NULL: not given. */
typedef struct BootConfig {
    bool        given;
    char       *order, *once; /* letters of drives */
    bool        menu, strict;
    GBytes     *splash;
    const char *splash_file;    /* what fw_cfg calls it */
    int         splash_time;    /* milliseconds; -1: not given */
    int         reboot_timeout; /* the same; -1: never */
} BootConfig;

typedef struct BootOrder {
    GArray *entries; /* by index; NULL: none */
} BootOrder;

enum { CMOS_BOOT_12 = 0x3d, CMOS_BOOT_3 = 0x38, CMOS_NO_FLOPPY_CHECK = 1 };

/* What the two bytes of a PC's CMOS RAM say of an order such as "cad": byte 3Dh, and the upper half of 38h. Fails when
 * a letter is no drive of a PC, or with more than three of them. */
bool boot_order_cmos(const char *letters, uint8_t *first_two, uint8_t *third, Error *err);

void boot_order_clear(BootOrder *order);

/* Adds what firmware calls `path`. An index of -1 means that it has no place in the order. Fails when the index is
 * taken. */
bool boot_order_add(BootOrder *order, int index, const char *path, Error *err);

/* The fw_cfg file "bootorder": a line each, with a final NUL; NULL when there are none. `strict`: nothing else is to be
 * tried. */
GBytes *boot_order_file(const BootOrder *order, bool strict);

#endif
