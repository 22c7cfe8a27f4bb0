/* What is on a terminal's screen and what can be done to it: the cells, the cursor, margins, lines. vt.c understands
 * what is written and calls these. */

#ifndef QUERN_CHAR_VTSCREEN_H
#define QUERN_CHAR_VTSCREEN_H

#include "char/vt.h"

#include "base/utf8.h"

enum { VT_PARAMS = 16 };

typedef enum VtState {
    GROUND,
    ESCAPE,
    ESCAPE_MORE, /* after what comes between ESC and the final byte */
    CSI,
    CSI_MORE,
    CSI_IGNORE,
    STRING,
    STRING_ESCAPE, /* the ESC of ST, perhaps */
} VtState;

typedef struct VtCursor {
    unsigned x, y;
    bool     wrap; /* the next character begins a new line */
    bool     origin;
    VtCell   pen; /* colours and style; the character is a blank */
    uint8_t  sets[2], set;
} VtCursor;

typedef struct VtScreen {
    VtCell **line; /* rows of them */
    VtCell  *cells;
} VtScreen;

struct Vt {
    unsigned cols, rows;
    VtScreen screens[2]; /* the other one is made when it is asked for */
    unsigned screen;
    VtCursor cursor, saved[2];
    unsigned top, bottom; /* scrolling region: first and last line */
    bool     autowrap, insert, newline, visible, inverse, cursor_keys;
    bool    *tabs;

    VtState state;
    Utf8    utf8;
    uint8_t private;  /* '?' and the like after CSI */
    uint8_t  between; /* ' ' to '/' */
    unsigned params[VT_PARAMS];
    unsigned n_params;
    uint32_t last; /* for REP */

    uint64_t changes;
    unsigned bells;
};

/* "To the edge" is never farther than the screen or, where it says so, the margins. */
void vt_reset(Vt *vt);
void vt_put(Vt *vt, uint32_t c); /* at the cursor, which goes on */

/* Moves the lines from `top` to the bottom margin by n: up with empty ones at the bottom, or down. */
void vt_scroll(Vt *vt, unsigned top, unsigned n, bool up);

void vt_move_to(Vt *vt, int64_t x, int64_t y);   /* with origin mode, y counts from the top margin */
void vt_move_by(Vt *vt, int64_t dx, int64_t dy); /* stops at the margins when the cursor is between them */
void vt_line_feed(Vt *vt);                       /* scrolls at the bottom margin */
void vt_reverse_line_feed(Vt *vt);
void vt_to_tab(Vt *vt, unsigned n, int step);

/* 0: from the cursor on, 1: up to it, 2: all; others do nothing. */
void vt_erase_line(Vt *vt, unsigned how);
void vt_erase_screen(Vt *vt, unsigned how);
void vt_erase_cells(Vt *vt, unsigned n);

/* Open or close a gap of n cells at the cursor, of n lines at its line. */
void vt_shift_line(Vt *vt, unsigned n, bool insert);
void vt_shift_lines(Vt *vt, unsigned n, bool insert);

void vt_save_cursor(Vt *vt);
void vt_restore_cursor(Vt *vt);
void vt_use_screen(Vt *vt, unsigned screen); /* 0, or 1: the alternate one */
void vt_alignment(Vt *vt);                   /* fills the screen with E, to adjust a monitor by */

#endif
