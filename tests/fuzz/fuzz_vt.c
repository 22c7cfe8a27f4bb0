/* A terminal's screen: the first two bytes are its size, the rest is what a guest writes. */

#include "fuzz.h"

#include "char/vt.h"

#include <string.h>

static void check(const Vt *vt)
{
    unsigned x, y;
    vt_cursor(vt, &x, &y);
    g_assert(x < vt_cols(vt) && y < vt_rows(vt));
    for (unsigned r = 0; r < vt_rows(vt); r++) {
        const VtCell *row = vt_row(vt, r);
        g_assert(row[0].character);
        for (unsigned c = 0; c < vt_cols(vt); c++) {
            bool wide = row[c].character >= 0x1100 && g_unichar_iswide(row[c].character) && vt_cols(vt) > 1;
            g_assert(row[c].character == 0 || (row[c].character >= 0x20 && row[c].character <= 0x10ffff));
            g_assert(wide == (c + 1 < vt_cols(vt) && !row[c + 1].character));
        }
    }
    g_autofree char *text = vt_text(vt);
    g_assert(g_utf8_validate(text, -1, NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }
    unsigned cols = data[0] % 90 + 1, rows = data[1] % 30 + 1;
    Vt      *whole = vt_new(cols, rows), *bytes = vt_new(cols, rows);
    g_autoptr(GByteArray) answers = g_byte_array_new();
    g_autoptr(GByteArray) again   = g_byte_array_new();
    data += 2, size -= 2;
    vt_write(whole, data, size, answers);
    for (size_t i = 0; i < size; i++) {
        vt_write(bytes, data + i, 1, again);
    }
    check(whole);
    g_autofree char *a = vt_text(whole), *b = vt_text(bytes);
    g_assert(!strcmp(a, b) && answers->len == again->len);
    g_assert(!answers->len || !memcmp(answers->data, again->data, answers->len));
    g_assert(answers->len <= 4096 + 32);
    for (unsigned key = 0; key <= VT_KEYS; key++) {
        vt_press(whole, (VtKey)key, answers);
    }
    vt_free(whole);
    vt_free(bytes);
    return 0;
}
