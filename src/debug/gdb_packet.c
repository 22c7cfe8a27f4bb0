/* Framing of the GDB remote serial protocol.
 * Specification: "Debugging with GDB" (GDB 13), appendix E.1. */

#include "debug/gdb_packet.h"

GdbInput gdb_frame_take(GdbFrame *f, uint8_t byte)
{
    switch (f->state) {
    case GDB_FRAME_IDLE:
        switch (byte) {
        case '$':
            f->state    = GDB_FRAME_DATA;
            f->len      = 0;
            f->sum      = 0;
            f->too_long = false;
            break;
        case '+': return GDB_INPUT_ACK;
        case '-': return GDB_INPUT_NACK;
        case 0x03: return GDB_INPUT_INTERRUPT;
        }
        break;
    case GDB_FRAME_DATA:
    case GDB_FRAME_ESCAPE:
        if (byte == '#' && f->state == GDB_FRAME_DATA) {
            f->state = GDB_FRAME_SUM_HIGH;
            break;
        }
        f->sum = (uint8_t)(f->sum + byte);
        if (byte == '}' && f->state == GDB_FRAME_DATA) {
            f->state = GDB_FRAME_ESCAPE;
            break;
        }
        if (f->state == GDB_FRAME_ESCAPE) {
            byte ^= 0x20;
            f->state = GDB_FRAME_DATA;
        }
        if (f->len == GDB_PACKET_MAX) {
            f->too_long = true;
        } else {
            f->data[f->len++] = (char)byte;
        }
        break;
    case GDB_FRAME_SUM_HIGH: {
        int digit   = g_ascii_xdigit_value((char)byte);
        f->too_long = f->too_long || digit < 0;
        f->sent_sum = (uint8_t)((unsigned)digit << 4);
        f->state    = GDB_FRAME_SUM_LOW;
        break;
    }
    case GDB_FRAME_SUM_LOW: {
        int digit       = g_ascii_xdigit_value((char)byte);
        f->state        = GDB_FRAME_IDLE;
        f->data[f->len] = 0;
        return digit < 0 || f->too_long || (f->sent_sum | digit) != f->sum ? GDB_INPUT_BAD : GDB_INPUT_PACKET;
    }
    }
    return GDB_INPUT_NONE;
}

void gdb_packet_append(GByteArray *out, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    uint8_t        sum   = 0;
    g_byte_array_append(out, (const uint8_t *)"$", 1);
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = bytes[i];
        if (byte == '#' || byte == '$' || byte == '}' || byte == '*') {
            g_byte_array_append(out, (const uint8_t *)"}", 1);
            sum = (uint8_t)(sum + '}');
            byte ^= 0x20;
        }
        g_byte_array_append(out, &byte, 1);
        sum = (uint8_t)(sum + byte);
    }
    char tail[4];
    g_snprintf(tail, sizeof tail, "#%02x", sum);
    g_byte_array_append(out, (const uint8_t *)tail, 3);
}

void gdb_hex_append(GString *out, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++) {
        g_string_append_printf(out, "%02x", bytes[i]);
    }
}

bool gdb_hex_number(const char **text, uint64_t *value)
{
    unsigned n = 0;
    *value     = 0;
    for (int digit; (digit = g_ascii_xdigit_value(**text)) >= 0; (*text)++) {
        if (n++ == 16) {
            return false;
        }
        *value = *value << 4 | (uint64_t)digit;
    }
    return n > 0;
}

bool gdb_hex_bytes(const char **text, void *buf, size_t len)
{
    uint8_t *bytes = buf;
    for (size_t i = 0; i < len; i++) {
        int high = g_ascii_xdigit_value((*text)[0]);
        int low  = high < 0 ? -1 : g_ascii_xdigit_value((*text)[1]);
        if (low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
        *text += 2;
    }
    return true;
}
