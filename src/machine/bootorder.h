/* The order in which firmware tries what it can boot from: bootindex. */

#ifndef QUERN_MACHINE_BOOTORDER_H
#define QUERN_MACHINE_BOOTORDER_H

#include "base/error.h"

#include <glib.h>

typedef struct BootOrder {
    GArray *entries; /* by index; NULL: none */
} BootOrder;

void boot_order_clear(BootOrder *order);

/* Adds what firmware calls `path`. An index of -1 means that it has no place in the order. Fails when the index is
 * taken. */
bool boot_order_add(BootOrder *order, int index, const char *path, Error *err);

/* The fw_cfg file "bootorder": a line each, with a final NUL; NULL when there are none. */
GBytes *boot_order_file(const BootOrder *order);

#endif
