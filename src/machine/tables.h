/* Firmware tables as blobs with relocations.
 *
 * What builds a table does not know where it will lie: it appends bytes to a blob and records where addresses and
 * checksums belong. Direct boot places the blobs and applies the list itself; firmware gets the same list through
 * fw_cfg as "etc/table-loader" and does it its way. Plain memory, no lock. */

#ifndef QUERN_MACHINE_TABLES_H
#define QUERN_MACHINE_TABLES_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum TableZone {
    TABLE_ZONE_HIGH = 1, /* anywhere in RAM below 4 GiB */
    TABLE_ZONE_FSEG = 2, /* in F0000h to FFFFFh, where operating systems look for it */
} TableZone;

typedef enum TableUse {
    TABLE_ACPI,    /* guests may reuse the memory once they have read it */
    TABLE_NVS,     /* must survive sleep: FACS */
    TABLE_RESERVED /* the rest */
} TableUse;

typedef struct TableBlob {
    const char *file; /* fw_cfg name, at most 55 characters, constant */
    GByteArray *data;
    uint32_t    align;
    TableZone   zone;
    TableUse    use;
    uint64_t    address; /* once placed */
} TableBlob;

typedef struct FirmwareTables {
    GPtrArray *blobs; /* TableBlob *, owned */
    GArray    *fixups;
} FirmwareTables;

FirmwareTables *firmware_tables_new(void);
void            firmware_tables_free(FirmwareTables *tables); /* NULL is fine */

/* A new empty blob, owned by `tables`; `align` is a power of two. */
TableBlob *firmware_tables_add(FirmwareTables *tables, const char *file, uint32_t align, TableZone zone, TableUse use);

/* The `size` bytes (4 or 8) at dest + offset hold an offset into `target`: its address is added to them. */
void firmware_tables_pointer(FirmwareTables *tables, TableBlob *dest, uint32_t offset, unsigned size,
                             const TableBlob *target);

/* The byte at blob + offset, 0 until then, makes the sum of [start, start + len) zero. Applied in the order given,
 * after all pointers that were given before. */
void firmware_tables_checksum(FirmwareTables *tables, TableBlob *blob, uint32_t offset, uint32_t start, uint32_t len);

/* Adds addresses and sets checksums. Every blob has its address. Once only. */
void firmware_tables_apply(FirmwareTables *tables);

/* The same as commands for firmware: the content of "etc/table-loader". The caller frees. */
GByteArray *firmware_tables_commands(const FirmwareTables *tables);

/* 0 - the sum of the bytes. */
uint8_t table_checksum(const void *bytes, size_t len);

#endif
