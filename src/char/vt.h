/* A text screen in memory that understands what is written to a terminal: a VT102 with colours and the screen part of
 * later ones, UTF-8. Who shows it reads the cells. No lock of its own: under that of the chardev it belongs to. */

#ifndef QUERN_CHAR_VT_H
#define QUERN_CHAR_VT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum { VT_COLS_MAX = 512, VT_ROWS_MAX = 256 };

/* 0 to 255: of the usual palette (0 to 7, 8 to 15 bright, a cube of 216, 24 greys). */
#define VT_DEFAULT 0x2000000U /* the screen's own colour */
#define VT_RGB     0x1000000U /* with red, green and blue in the lower 24 bits */

enum {
    VT_BOLD      = 1,
    VT_FAINT     = 2,
    VT_ITALIC    = 4,
    VT_UNDERLINE = 8,
    VT_BLINK     = 16,
    VT_INVERSE   = 32,
    VT_HIDDEN    = 64,
    VT_STRUCK    = 128
};

typedef struct VtCell {
    uint32_t character; /* Unicode; 0: the right half of a wide one */
    uint32_t fg, bg;
    uint8_t  style; /* VT_BOLD ... */
} VtCell;

/* Keys that are no characters. */
typedef enum VtKey {
    VT_UP,
    VT_DOWN,
    VT_RIGHT,
    VT_LEFT,
    VT_HOME,
    VT_END,
    VT_INSERT,
    VT_DELETE,
    VT_PAGE_UP,
    VT_PAGE_DOWN,
    VT_ENTER,
    VT_BACKSPACE,
    VT_F1,
    VT_F12 = VT_F1 + 11,
    VT_KEYS,
} VtKey;

typedef struct Vt Vt;

/* 1 to VT_COLS_MAX by 1 to VT_ROWS_MAX cells. */
Vt  *vt_new(unsigned cols, unsigned rows);
void vt_free(Vt *vt); /* NULL is fine */

/* Shows what is written. What the terminal answers (cursor reports and the like) is appended to `answers`, up to a few
 * thousand bytes in it. */
void vt_write(Vt *vt, const uint8_t *data, size_t len, GByteArray *answers);

/* Appends what this key sends in the terminal's present modes. */
void vt_press(const Vt *vt, VtKey key, GByteArray *out);

unsigned      vt_cols(const Vt *vt);
unsigned      vt_rows(const Vt *vt);
const VtCell *vt_row(const Vt *vt, unsigned row);                /* its cells; valid until the next vt_write() */
bool          vt_cursor(const Vt *vt, unsigned *x, unsigned *y); /* false: hidden */
bool          vt_inverse(const Vt *vt);                          /* the whole screen is (DECSCNM) */
uint64_t      vt_changes(const Vt *vt);                          /* grows whenever something may have changed */
unsigned      vt_bells(const Vt *vt);                            /* how often it has rung */

/* The text of the screen, a line each without the blanks at its end; empty lines at the bottom are left out. The caller
 * frees. */
char *vt_text(const Vt *vt);

#endif
