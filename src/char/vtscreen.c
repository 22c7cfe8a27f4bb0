/* What is on a terminal's screen.
 * Specification: DEC VT102 and VT220 manuals for margins, wrapping, insertion; ECMA-48 (1991) for the rest. Wrapping is
 * the VT's: after a character in the last column the cursor stays there until the next one comes. */

#include "char/vtscreen.h"

#include <string.h>

enum { TAB = 8 };

/* --- cells --- */

static VtCell blank(const Vt *vt)
{
    VtCell cell = vt->cursor.pen;
    cell.style  = 0; /* erased cells have the colour, not the lines */
    return cell;
}

static VtCell *line_of(Vt *vt, unsigned y)
{
    return vt->screens[vt->screen].line[y];
}

static void fill(Vt *vt, unsigned y, unsigned from, unsigned to)
{
    VtCell *line = line_of(vt, y), cell = blank(vt);
    for (unsigned x = from; x < to; x++) {
        line[x] = cell;
    }
}

static void make_screen(Vt *vt, VtScreen *s)
{
    s->cells = g_new(VtCell, (size_t)vt->cols * vt->rows);
    s->line  = g_new(VtCell *, vt->rows);
    for (unsigned y = 0; y < vt->rows; y++) {
        s->line[y] = s->cells + (size_t)y * vt->cols;
    }
}

void vt_scroll(Vt *vt, unsigned top, unsigned n, bool up)
{
    VtCell **line   = vt->screens[vt->screen].line;
    unsigned height = vt->bottom + 1 - top, moved;
    n               = MIN(n, height);
    moved           = height - n;
    VtCell *gone[VT_ROWS_MAX];
    memcpy(gone, line + top + (up ? 0 : moved), n * sizeof gone[0]);
    memmove(line + top + (up ? 0 : n), line + top + (up ? n : 0), moved * sizeof gone[0]);
    memcpy(line + top + (up ? moved : 0), gone, n * sizeof gone[0]);
    for (unsigned i = 0; i < n; i++) {
        fill(vt, top + (up ? moved : 0) + i, 0, vt->cols);
    }
}

/* --- the cursor --- */

void vt_move_to(Vt *vt, int64_t x, int64_t y)
{
    VtCursor *c   = &vt->cursor;
    int64_t   top = c->origin ? vt->top : 0, bottom = c->origin ? vt->bottom : vt->rows - 1;
    c->x    = (unsigned)CLAMP(x, 0, (int64_t)vt->cols - 1);
    c->y    = (unsigned)CLAMP(y + top, top, bottom);
    c->wrap = false;
}

void vt_move_by(Vt *vt, int64_t dx, int64_t dy)
{
    VtCursor *c   = &vt->cursor;
    int64_t   top = c->y >= vt->top ? vt->top : 0, bottom = c->y <= vt->bottom ? vt->bottom : vt->rows - 1;
    c->x    = (unsigned)CLAMP(c->x + dx, 0, (int64_t)vt->cols - 1);
    c->y    = (unsigned)CLAMP(c->y + dy, top, bottom);
    c->wrap = false;
}

void vt_line_feed(Vt *vt)
{
    if (vt->cursor.y == vt->bottom) {
        vt_scroll(vt, vt->top, 1, true);
    } else if (vt->cursor.y < vt->rows - 1) {
        vt->cursor.y++;
    }
    vt->cursor.wrap = false;
}

void vt_reverse_line_feed(Vt *vt)
{
    if (vt->cursor.y == vt->top) {
        vt_scroll(vt, vt->top, 1, false);
    } else if (vt->cursor.y > 0) {
        vt->cursor.y--;
    }
    vt->cursor.wrap = false;
}

void vt_to_tab(Vt *vt, unsigned n, int step)
{
    int x = (int)vt->cursor.x;
    for (; n && x + step >= 0 && x + step < (int)vt->cols; n -= vt->tabs[x]) {
        x += step;
    }
    vt->cursor.x    = (unsigned)x;
    vt->cursor.wrap = false;
}

void vt_reset(Vt *vt)
{
    vt->screen   = 0;
    vt->cursor   = (VtCursor){ .pen = { .character = ' ', .fg = VT_DEFAULT, .bg = VT_DEFAULT }, .sets = { 'B', 'B' } };
    vt->saved[0] = vt->saved[1] = vt->cursor;
    vt->top                     = 0;
    vt->bottom                  = vt->rows - 1;
    vt->autowrap = vt->visible = true;
    vt->insert = vt->newline = vt->inverse = vt->cursor_keys = false;
    vt->last                                                 = 0;
    for (unsigned x = 0; x < vt->cols; x++) {
        vt->tabs[x] = x % TAB == 0;
    }
    for (unsigned y = 0; y < vt->rows; y++) {
        fill(vt, y, 0, vt->cols);
    }
}

/* --- characters --- */

/* A wide character that loses one half is gone. */
static void split(Vt *vt, VtCell *line, unsigned x)
{
    if (x < vt->cols && !line[x].character) {
        line[x].character = ' ';
        if (x) {
            line[x - 1].character = ' ';
        }
    }
}

void vt_put(Vt *vt, uint32_t c)
{
    VtCursor *cur   = &vt->cursor;
    unsigned  width = c >= 0x1100 && g_unichar_iswide(c) && vt->cols > 1 ? 2 : 1;
    if (c >= 0x300 && g_unichar_iszerowidth(c)) {
        return;
    }
    if (cur->wrap || (width == 2 && cur->x == vt->cols - 1 && vt->autowrap)) {
        cur->x = 0;
        vt_line_feed(vt);
    }
    if (width == 2 && cur->x == vt->cols - 1) {
        cur->x--;
    }
    VtCell *line = line_of(vt, cur->y);
    if (vt->insert) {
        vt_shift_line(vt, width, true);
    }
    split(vt, line, cur->x);
    split(vt, line, cur->x + width);
    line[cur->x]           = cur->pen;
    line[cur->x].character = c;
    if (width == 2) {
        line[cur->x + 1]           = cur->pen;
        line[cur->x + 1].character = 0;
    }
    vt->last = c;
    if (cur->x + width < vt->cols) {
        cur->x += width;
    } else {
        cur->x    = vt->cols - 1;
        cur->wrap = vt->autowrap;
    }
}

/* --- erasing and shifting --- */

void vt_erase_line(Vt *vt, unsigned how)
{
    unsigned x = vt->cursor.x;
    if (how <= 2) {
        VtCell *line = line_of(vt, vt->cursor.y);
        split(vt, line, how == 0 ? x : how == 1 ? x + 1 : vt->cols);
        fill(vt, vt->cursor.y, how == 0 ? x : 0, how == 1 ? x + 1 : vt->cols);
        vt->cursor.wrap = false;
    }
}

void vt_erase_screen(Vt *vt, unsigned how)
{
    if (how > 2) {
        return; /* 3: what has scrolled away, and is not kept */
    }
    if (how < 2) {
        vt_erase_line(vt, how);
    }
    for (unsigned y = how == 0 ? vt->cursor.y + 1 : 0; y < (how == 1 ? vt->cursor.y : vt->rows); y++) {
        fill(vt, y, 0, vt->cols);
    }
    vt->cursor.wrap = false;
}

void vt_shift_line(Vt *vt, unsigned n, bool insert)
{
    unsigned x    = vt->cursor.x;
    VtCell  *line = line_of(vt, vt->cursor.y);
    n             = MIN(n, vt->cols - x);
    split(vt, line, x);
    if (insert) {
        memmove(line + x + n, line + x, (vt->cols - x - n) * sizeof line[0]);
        fill(vt, vt->cursor.y, x, x + n);
        if (x + n < vt->cols && line[vt->cols - 1].character && g_unichar_iswide(line[vt->cols - 1].character)) {
            line[vt->cols - 1].character = ' '; /* its right half fell off */
        }
    } else {
        split(vt, line, x + n);
        memmove(line + x, line + x + n, (vt->cols - x - n) * sizeof line[0]);
        fill(vt, vt->cursor.y, vt->cols - n, vt->cols);
    }
    vt->cursor.wrap = false;
}

void vt_erase_cells(Vt *vt, unsigned n)
{
    unsigned x = vt->cursor.x, end = x + MIN(n, vt->cols - x);
    split(vt, line_of(vt, vt->cursor.y), x);
    split(vt, line_of(vt, vt->cursor.y), end);
    fill(vt, vt->cursor.y, x, end);
    vt->cursor.wrap = false;
}

void vt_shift_lines(Vt *vt, unsigned n, bool insert)
{
    if (vt->cursor.y >= vt->top && vt->cursor.y <= vt->bottom) {
        vt_scroll(vt, vt->cursor.y, n, !insert);
        vt->cursor.x    = 0;
        vt->cursor.wrap = false;
    }
}

/* --- whole screens --- */

void vt_save_cursor(Vt *vt)
{
    vt->saved[vt->screen] = vt->cursor;
}

void vt_restore_cursor(Vt *vt)
{
    vt->cursor = vt->saved[vt->screen];
    if (vt->cursor.origin) { /* the margins may have changed */
        vt->cursor.y = CLAMP(vt->cursor.y, vt->top, vt->bottom);
    }
}

void vt_use_screen(Vt *vt, unsigned screen)
{
    if (screen != vt->screen) {
        vt->screen = screen;
        if (!vt->screens[screen].line) {
            make_screen(vt, &vt->screens[screen]);
            vt_erase_screen(vt, 2);
        }
    }
}

void vt_alignment(Vt *vt)
{
    vt->top    = 0;
    vt->bottom = vt->rows - 1;
    for (unsigned y = 0; y < vt->rows; y++) {
        for (unsigned x = 0; x < vt->cols; x++) {
            line_of(vt, y)[x] = (VtCell){ .character = 'E', .fg = VT_DEFAULT, .bg = VT_DEFAULT };
        }
    }
    vt_move_to(vt, 0, 0);
}

/* --- life, and what is seen --- */

Vt *vt_new(unsigned cols, unsigned rows)
{
    g_assert(cols && rows && cols <= VT_COLS_MAX && rows <= VT_ROWS_MAX);
    Vt *vt   = g_new0(Vt, 1);
    vt->cols = cols;
    vt->rows = rows;
    vt->tabs = g_new0(bool, cols);
    make_screen(vt, &vt->screens[0]);
    vt_reset(vt);
    return vt;
}

void vt_free(Vt *vt)
{
    if (!vt) {
        return;
    }
    for (unsigned i = 0; i < 2; i++) {
        g_free(vt->screens[i].cells);
        g_free(vt->screens[i].line);
    }
    g_free(vt->tabs);
    g_free(vt);
}

unsigned vt_cols(const Vt *vt)
{
    return vt->cols;
}

unsigned vt_rows(const Vt *vt)
{
    return vt->rows;
}

const VtCell *vt_row(const Vt *vt, unsigned row)
{
    return vt->screens[vt->screen].line[row];
}

bool vt_cursor(const Vt *vt, unsigned *x, unsigned *y)
{
    *x = vt->cursor.x;
    *y = vt->cursor.y;
    return vt->visible;
}

bool vt_inverse(const Vt *vt)
{
    return vt->inverse;
}

uint64_t vt_changes(const Vt *vt)
{
    return vt->changes;
}

unsigned vt_bells(const Vt *vt)
{
    return vt->bells;
}

char *vt_text(const Vt *vt)
{
    GString *text = g_string_new(NULL);
    gsize    end  = 0;
    for (unsigned y = 0; y < vt->rows; y++) {
        gsize begin = text->len, last = begin;
        for (unsigned x = 0; x < vt->cols; x++) {
            uint32_t c = vt_row(vt, y)[x].character;
            if (c) {
                g_string_append_unichar(text, c);
            }
            last = c && c != ' ' ? text->len : last;
        }
        g_string_truncate(text, last);
        end = last > begin ? text->len + 1 : end;
        g_string_append_c(text, '\n');
    }
    g_string_truncate(text, end);
    return g_string_free(text, false);
}
