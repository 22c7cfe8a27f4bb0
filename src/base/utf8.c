/* UTF-8 that comes byte by byte.
 * Specification: The Unicode Standard, table 3-7 (well-formed UTF-8 byte sequences). */

#include "base/utf8.h"

Utf8Result utf8_feed(Utf8 *u, uint8_t byte)
{
    if (u->left) {
        if (byte < u->low || byte > u->high) {
            u->left = 0;
            return UTF8_BROKEN;
        }
        u->code = u->code << 6 | (byte & 0x3f);
        u->low  = 0x80;
        u->high = 0xbf;
        return --u->left ? UTF8_MORE : UTF8_CHARACTER;
    }
    if (byte < 0x80) {
        u->code = byte;
        return UTF8_CHARACTER;
    }
    if (byte < 0xc2 || byte > 0xf4) {
        return UTF8_WRONG;
    }
    u->left = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    u->code = byte & (0x3fU >> u->left);
    /* No longer form than needed, no surrogates, nothing beyond 10FFFFh. */
    u->low  = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;
    u->high = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;
    return UTF8_MORE;
}
