/* Intel HEX files. */

#ifndef QUERN_MACHINE_HEX_H
#define QUERN_MACHINE_HEX_H

#include "base/error.h"

#include <stdint.h>

typedef struct HexRecord {
    uint32_t addr;
    uint32_t offset, len; /* inside HexFile.data */
} HexRecord;

typedef struct HexFile {
    GArray     *records; /* HexRecord, in the order of the file; adjacent ones are joined */
    GByteArray *data;
    bool        has_entry;
    uint32_t    entry;
} HexFile;

/* Does it begin like one? */
bool hex_detect(const uint8_t *text, size_t size);

/* Checks every line; false with an error that names the line. hex_free() after success only. */
bool hex_parse(HexFile *hex, const uint8_t *text, size_t size, Error *err);
void hex_free(HexFile *hex);

#endif
