/* Intel HEX files. Specification: Intel, Hexadecimal Object File Format Specification, revision A (1988). */

#include "machine/hex.h"

#include <string.h>

enum { HEX_DATA, HEX_END, HEX_SEGMENT_BASE, HEX_SEGMENT_START, HEX_LINEAR_BASE, HEX_LINEAR_START };
enum { RECORD_OVERHEAD = 5, MAX_RECORD = 255 + RECORD_OVERHEAD };

typedef struct Line {
    uint8_t  bytes[MAX_RECORD]; /* length, address, type, data, checksum */
    unsigned n;
} Line;

bool hex_detect(const uint8_t *text, size_t size)
{
    if (size < 11 || text[0] != ':') {
        return false;
    }
    for (unsigned i = 1; i < 11; i++) {
        if (!g_ascii_isxdigit(text[i])) {
            return false;
        }
    }
    return true;
}

/* One line without its end; false: not a record, or a wrong checksum. */
static bool read_line(Line *line, const uint8_t *text, size_t len)
{
    uint8_t sum = 0;

    if (len < 1 + 2 * RECORD_OVERHEAD || text[0] != ':' || len % 2 == 0 || (len - 1) / 2 > MAX_RECORD) {
        return false;
    }
    line->n = (unsigned)(len - 1) / 2;
    for (unsigned i = 0; i < line->n; i++) {
        int high = g_ascii_xdigit_value((char)text[1 + 2 * i]), low = g_ascii_xdigit_value((char)text[2 + 2 * i]);
        if (high < 0 || low < 0) {
            return false;
        }
        line->bytes[i] = (uint8_t)(high << 4 | low);
        sum            = (uint8_t)(sum + line->bytes[i]);
    }
    return sum == 0 && line->bytes[0] == line->n - RECORD_OVERHEAD;
}

static void add_data(HexFile *hex, uint32_t addr, const uint8_t *data, uint32_t len)
{
    HexRecord *last = hex->records->len ? &g_array_index(hex->records, HexRecord, hex->records->len - 1) : NULL;

    if (last && last->addr + last->len == addr) {
        last->len += len;
    } else {
        HexRecord record = { .addr = addr, .offset = hex->data->len, .len = len };
        g_array_append_val(hex->records, record);
    }
    g_byte_array_append(hex->data, data, len);
}

/* false: a record of an unknown kind or a wrong length. */
static bool take_record(HexFile *hex, const Line *line, uint32_t *base, bool *end)
{
    const uint8_t *data = line->bytes + 4;
    unsigned       len  = line->bytes[0];
    uint32_t       word = len >= 2 ? (uint32_t)(data[0] << 8 | data[1]) : 0;
    uint32_t       both = len >= 4 ? word << 16 | (uint32_t)(data[2] << 8 | data[3]) : 0;

    switch (line->bytes[3]) {
    case HEX_DATA:
        if (len) {
            add_data(hex, *base + (uint32_t)(line->bytes[1] << 8 | line->bytes[2]), data, len);
        }
        return true;
    case HEX_END: *end = true; return len == 0;
    case HEX_SEGMENT_BASE: *base = word << 4; return len == 2;
    case HEX_LINEAR_BASE: *base = word << 16; return len == 2;
    case HEX_SEGMENT_START:
        hex->has_entry = true;
        hex->entry     = (both >> 16 << 4) + (both & 0xffff);
        return len == 4;
    case HEX_LINEAR_START:
        hex->has_entry = true;
        hex->entry     = both;
        return len == 4;
    default: return false;
    }
}

bool hex_parse(HexFile *hex, const uint8_t *text, size_t size, Error *err)
{
    uint32_t base = 0;
    bool     end  = false;
    size_t   at   = 0;

    *hex = (HexFile){ .records = g_array_new(FALSE, FALSE, sizeof(HexRecord)), .data = g_byte_array_new() };
    for (unsigned number = 1; at < size && !end; number++) {
        const uint8_t *newline = memchr(text + at, '\n', size - at);
        size_t         len     = newline ? (size_t)(newline - (text + at)) : size - at;
        size_t         next    = at + len + (newline ? 1 : 0);
        Line           line;
        while (len && g_ascii_isspace(text[at + len - 1])) {
            len--;
        }
        if (len && (!read_line(&line, text + at, len) || !take_record(hex, &line, &base, &end))) {
            hex_free(hex);
            return error_set(err, "line %u is no valid Intel HEX record", number);
        }
        at = next;
    }
    if (!end) {
        hex_free(hex);
        return error_set(err, "the Intel HEX file has no end record (truncated?)");
    }
    return true;
}

void hex_free(HexFile *hex)
{
    g_array_unref(hex->records);
    g_byte_array_unref(hex->data);
}
