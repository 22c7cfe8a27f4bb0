/* Firmware tables as blobs with relocations.
 * Specification: the table-loader interface that SeaBIOS and edk2 read from fw_cfg: 128-byte commands ALLOCATE,
 * ADD_POINTER and ADD_CHECKSUM, file names of 56 bytes, little-endian. */

#include "machine/tables.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <assert.h>
#include <string.h>

enum { COMMAND_SIZE = 128, FILE_NAME_SIZE = 56 };
enum { COMMAND_ALLOCATE = 1, COMMAND_ADD_POINTER = 2, COMMAND_ADD_CHECKSUM = 3 };

typedef struct Fixup {
    TableBlob       *blob;
    const TableBlob *target; /* NULL: a checksum */
    uint32_t         offset, start, len;
    unsigned         size;
} Fixup;

FirmwareTables *firmware_tables_new(void)
{
    FirmwareTables *tables = g_new0(FirmwareTables, 1);
    tables->blobs          = g_ptr_array_new();
    tables->fixups         = g_array_new(FALSE, FALSE, sizeof(Fixup));
    return tables;
}

void firmware_tables_free(FirmwareTables *tables)
{
    if (!tables) {
        return;
    }
    for (guint i = 0; i < tables->blobs->len; i++) {
        TableBlob *blob = tables->blobs->pdata[i];
        g_byte_array_unref(blob->data);
        g_free(blob);
    }
    g_ptr_array_unref(tables->blobs);
    g_array_unref(tables->fixups);
    g_free(tables);
}

TableBlob *firmware_tables_add(FirmwareTables *tables, const char *file, uint32_t align, TableZone zone, TableUse use)
{
    assert(strlen(file) < FILE_NAME_SIZE && is_power_of_two(align));
    TableBlob *blob = g_new0(TableBlob, 1);
    *blob           = (TableBlob){ .file = file, .data = g_byte_array_new(), .align = align, .zone = zone, .use = use };
    g_ptr_array_add(tables->blobs, blob);
    return blob;
}

void firmware_tables_pointer(FirmwareTables *tables, TableBlob *dest, uint32_t offset, unsigned size,
                             const TableBlob *target)
{
    assert((size == 4 || size == 8) && range_fits(offset, size, dest->data->len));
    Fixup f = { .blob = dest, .target = target, .offset = offset, .size = size };
    g_array_append_val(tables->fixups, f);
}

void firmware_tables_checksum(FirmwareTables *tables, TableBlob *blob, uint32_t offset, uint32_t start, uint32_t len)
{
    assert(range_fits(start, len, blob->data->len) && offset < blob->data->len);
    Fixup f = { .blob = blob, .offset = offset, .start = start, .len = len };
    g_array_append_val(tables->fixups, f);
}

uint8_t table_checksum(const void *bytes, size_t len)
{
    const uint8_t *p   = bytes;
    uint8_t        sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum = (uint8_t)(sum + p[i]);
    }
    return (uint8_t)-sum;
}

void firmware_tables_apply(FirmwareTables *tables)
{
    for (guint i = 0; i < tables->fixups->len; i++) {
        const Fixup *f  = &g_array_index(tables->fixups, Fixup, i);
        uint8_t     *at = f->blob->data->data + f->offset;
        if (f->target) {
            store_le(at, load_le(at, f->size) + f->target->address, f->size);
        } else {
            *at = 0;
            *at = table_checksum(f->blob->data->data + f->start, f->len);
        }
    }
}

static uint8_t *add_command(GByteArray *out, uint32_t command)
{
    guint at = out->len;
    g_byte_array_set_size(out, at + COMMAND_SIZE);
    memset(out->data + at, 0, COMMAND_SIZE);
    store_le32(out->data + at, command);
    return out->data + at + 4;
}

GByteArray *firmware_tables_commands(const FirmwareTables *tables)
{
    GByteArray *out = g_byte_array_new();

    for (guint i = 0; i < tables->blobs->len; i++) {
        const TableBlob *blob = tables->blobs->pdata[i];
        uint8_t         *p    = add_command(out, COMMAND_ALLOCATE);
        memcpy(p, blob->file, strlen(blob->file));
        store_le32(p + FILE_NAME_SIZE, blob->align);
        p[FILE_NAME_SIZE + 4] = (uint8_t)blob->zone;
    }
    for (guint i = 0; i < tables->fixups->len; i++) {
        const Fixup *f = &g_array_index(tables->fixups, Fixup, i);
        if (f->target) {
            uint8_t *p = add_command(out, COMMAND_ADD_POINTER);
            memcpy(p, f->blob->file, strlen(f->blob->file));
            memcpy(p + FILE_NAME_SIZE, f->target->file, strlen(f->target->file));
            store_le32(p + 2 * FILE_NAME_SIZE, f->offset);
            p[2 * FILE_NAME_SIZE + 4] = (uint8_t)f->size;
        } else {
            uint8_t *p = add_command(out, COMMAND_ADD_CHECKSUM);
            memcpy(p, f->blob->file, strlen(f->blob->file));
            store_le32(p + FILE_NAME_SIZE, f->offset);
            store_le32(p + FILE_NAME_SIZE + 4, f->start);
            store_le32(p + FILE_NAME_SIZE + 8, f->len);
        }
    }
    return out;
}
