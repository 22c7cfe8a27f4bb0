/* What is written to a terminal, and the keys it sends.
 * Specification: ECMA-48 (1991) for control sequences; DEC VT102 and VT220 manuals for ESC sequences and character
 * sets; xterm's ctlseqs for 256 colours and the alternate screen.
 *
 * It comes from a guest: numbers are cut off at 9999 and at the screen's edges, so that no sequence costs more than the
 * screen's size. */

#include "char/vtscreen.h"

#include <string.h>

enum { PARAM_MAX = 9999, ANSWERS_MAX = 4096, REPLACEMENT = 0xfffd };

/* --- characters and controls --- */

/* DEC special graphics, 5Fh to 7Eh. */
static const uint16_t graphics[] = {
    0x0020, 0x25c6, 0x2592, 0x2409, 0x240c, 0x240d, 0x240a, 0x00b0, 0x00b1, 0x2424, 0x240b,
    0x2518, 0x2510, 0x250c, 0x2514, 0x253c, 0x23ba, 0x23bb, 0x2500, 0x23bc, 0x23bd, 0x251c,
    0x2524, 0x2534, 0x252c, 0x2502, 0x2264, 0x2265, 0x03c0, 0x2260, 0x00a3, 0x00b7,
};

static uint32_t in_set(const Vt *vt, uint32_t c)
{
    uint8_t set = vt->cursor.sets[vt->cursor.set];
    if (set == '0' && c >= 0x5f && c <= 0x7e) {
        return graphics[c - 0x5f];
    }
    return set == 'A' && c == '#' ? 0xa3 : c;
}

/* C0 controls; they act within sequences too. */
static void control(Vt *vt, uint8_t c)
{
    switch (c) {
    case '\a': vt->bells++; break;
    case '\b': vt_move_by(vt, -1, 0); break;
    case '\t': vt_to_tab(vt, 1, 1); break;
    case '\n':
    case '\v':
    case '\f':
        vt_line_feed(vt);
        if (vt->newline) {
            vt->cursor.x = 0;
        }
        break;
    case '\r': vt_move_by(vt, -(int64_t)vt->cols, 0); break;
    case 0x0e: vt->cursor.set = 1; break;
    case 0x0f: vt->cursor.set = 0; break;
    default: break;
    }
}

/* --- control sequences --- */

static void answer(GByteArray *answers, const char *text)
{
    if (answers->len < ANSWERS_MAX) {
        g_byte_array_append(answers, (const uint8_t *)text, (guint)strlen(text));
    }
}

/* The i-th number; nothing and 0 are `otherwise`. */
static unsigned param(const Vt *vt, unsigned i, unsigned otherwise)
{
    return i < vt->n_params && vt->params[i] ? vt->params[i] : otherwise;
}

/* 38 and 48: "5;N" or "2;R;G;B" at params[*i] and behind. */
static void long_colour(const Vt *vt, unsigned *i, uint32_t *colour)
{
    if (*i + 1 < vt->n_params && vt->params[*i] == 5) {
        *colour = vt->params[*i + 1] & 0xff;
        *i += 1;
    } else if (*i + 3 < vt->n_params && vt->params[*i] == 2) {
        *colour =
            VT_RGB | (vt->params[*i + 1] & 0xff) << 16 | (vt->params[*i + 2] & 0xff) << 8 | (vt->params[*i + 3] & 0xff);
        *i += 3;
    }
}

static void select_rendition(Vt *vt)
{
    static const struct {
        uint8_t off, on;
    } styles[] = {
        [1]  = { 0, VT_BOLD },
        [2]  = { 0, VT_FAINT },
        [3]  = { 0, VT_ITALIC },
        [4]  = { 0, VT_UNDERLINE },
        [5]  = { 0, VT_BLINK },
        [6]  = { 0, VT_BLINK },
        [7]  = { 0, VT_INVERSE },
        [8]  = { 0, VT_HIDDEN },
        [9]  = { 0, VT_STRUCK },
        [21] = { 0, VT_UNDERLINE },
        [22] = { VT_BOLD | VT_FAINT, 0 },
        [23] = { VT_ITALIC, 0 },
        [24] = { VT_UNDERLINE, 0 },
        [25] = { VT_BLINK, 0 },
        [27] = { VT_INVERSE, 0 },
        [28] = { VT_HIDDEN, 0 },
        [29] = { VT_STRUCK, 0 },
    };
    VtCell *pen = &vt->cursor.pen;
    for (unsigned i = 0; i < MAX(vt->n_params, 1); i++) {
        unsigned p = param(vt, i, 0), before = i;
        if (p == 0) {
            *pen = (VtCell){ .character = ' ', .fg = VT_DEFAULT, .bg = VT_DEFAULT };
        } else if (p < G_N_ELEMENTS(styles)) {
            pen->style = (uint8_t)((pen->style & ~styles[p].off) | styles[p].on);
        } else if (p == 38 || p == 48) {
            i++;
            long_colour(vt, &i, p == 38 ? &pen->fg : &pen->bg);
            i = MAX(i, before + 1);
        } else if (p >= 30 && p <= 39) {
            pen->fg = p == 39 ? VT_DEFAULT : p - 30;
        } else if (p >= 40 && p <= 49) {
            pen->bg = p == 49 ? VT_DEFAULT : p - 40;
        } else if (p >= 90 && p <= 97) {
            pen->fg = p - 90 + 8;
        } else if (p >= 100 && p <= 107) {
            pen->bg = p - 100 + 8;
        }
    }
}

static void set_private_mode(Vt *vt, unsigned mode, bool on)
{
    switch (mode) {
    case 1: vt->cursor_keys = on; break;
    case 5: vt->inverse = on; break;
    case 6:
        vt->cursor.origin = on;
        vt_move_to(vt, 0, 0);
        break;
    case 7:
        vt->autowrap    = on;
        vt->cursor.wrap = vt->cursor.wrap && on;
        break;
    case 25: vt->visible = on; break;
    case 47:
    case 1047: vt_use_screen(vt, on); break;
    case 1048: (on ? vt_save_cursor : vt_restore_cursor)(vt); break;
    case 1049:
        if (on && !vt->screen) {
            VtCursor c = vt->cursor;
            vt_save_cursor(vt);
            vt_use_screen(vt, 1);
            vt->cursor = c;
            vt_erase_screen(vt, 2);
        } else if (!on && vt->screen) {
            vt_use_screen(vt, 0);
            vt_restore_cursor(vt);
        }
        break;
    default: break;
    }
}

static void set_modes(Vt *vt, bool on)
{
    for (unsigned i = 0; i < vt->n_params; i++) {
        if (vt->private == '?') {
            set_private_mode(vt, vt->params[i], on);
        } else if (vt->params[i] == 4) {
            vt->insert = on;
        } else if (vt->params[i] == 20) {
            vt->newline = on;
        }
    }
}

static void set_margins(Vt *vt)
{
    unsigned top = param(vt, 0, 1), bottom = MIN(param(vt, 1, vt->rows), vt->rows);
    if (top < bottom) {
        vt->top    = top - 1;
        vt->bottom = bottom - 1;
        vt_move_to(vt, 0, 0);
    }
}

static void report(Vt *vt, unsigned what, GByteArray *answers)
{
    if (what == 5) {
        answer(answers, "\033[0n");
    } else if (what == 6) {
        char text[32];
        g_snprintf(text, sizeof text, "\033[%u;%uR", vt->cursor.y - (vt->cursor.origin ? vt->top : 0) + 1,
                   vt->cursor.x + 1);
        answer(answers, text);
    }
}

static void clear_tabs(Vt *vt, unsigned how)
{
    if (how == 0) {
        vt->tabs[vt->cursor.x] = false;
    } else if (how == 3) {
        memset(vt->tabs, 0, vt->cols * sizeof vt->tabs[0]);
    }
}

static void repeat(Vt *vt, unsigned n)
{
    for (n = MIN(n, vt->cols); n && vt->last; n--) {
        vt_put(vt, vt->last);
    }
}

static void finish_csi(Vt *vt, uint8_t final, GByteArray *answers)
{
    unsigned n = param(vt, 0, 1);
    if (vt->between) {
        if (vt->between == '!' && final == 'p') { /* DECSTR: modes, not the screen */
            set_private_mode(vt, 25, true);
            vt->insert = vt->cursor_keys = vt->cursor.origin = false;
            vt->autowrap                                     = true;
            vt->top                                          = 0;
            vt->bottom                                       = vt->rows - 1;
            vt->n_params                                     = 0;
            select_rendition(vt);
        }
        return;
    }
    if (vt->private) {
        if (vt->private == '?' && (final == 'h' || final == 'l')) {
            set_modes(vt, final == 'h');
        } else if (vt->private == '?' && (final == 'J' || final == 'K')) {
            (final == 'J' ? vt_erase_screen : vt_erase_line)(vt, param(vt, 0, 0));
        } else if (vt->private == '>' && final == 'c') {
            answer(answers, "\033[>1;10;0c");
        }
        return;
    }
    switch (final) {
    case '@': vt_shift_line(vt, n, true); break;
    case 'A': vt_move_by(vt, 0, -(int64_t)n); break;
    case 'B':
    case 'e': vt_move_by(vt, 0, n); break;
    case 'C':
    case 'a': vt_move_by(vt, n, 0); break;
    case 'D': vt_move_by(vt, -(int64_t)n, 0); break;
    case 'E': vt_move_by(vt, -(int64_t)vt->cols, n); break;
    case 'F': vt_move_by(vt, -(int64_t)vt->cols, -(int64_t)n); break;
    case 'G':
    case '`': vt_move_by(vt, (int64_t)n - 1 - vt->cursor.x, 0); break;
    case 'H':
    case 'f': vt_move_to(vt, (int64_t)param(vt, 1, 1) - 1, (int64_t)n - 1); break;
    case 'I': vt_to_tab(vt, n, 1); break;
    case 'J': vt_erase_screen(vt, param(vt, 0, 0)); break;
    case 'K': vt_erase_line(vt, param(vt, 0, 0)); break;
    case 'L': vt_shift_lines(vt, n, true); break;
    case 'M': vt_shift_lines(vt, n, false); break;
    case 'P': vt_shift_line(vt, n, false); break;
    case 'S': vt_scroll(vt, vt->top, n, true); break;
    case 'T': vt_scroll(vt, vt->top, n, false); break;
    case 'X': vt_erase_cells(vt, n); break;
    case 'Z': vt_to_tab(vt, n, -1); break;
    case 'b': repeat(vt, n); break;
    case 'c':
        if (!param(vt, 0, 0)) {
            answer(answers, "\033[?6c");
        }
        break;
    case 'd': vt_move_to(vt, vt->cursor.x, (int64_t)n - 1); break;
    case 'g': clear_tabs(vt, param(vt, 0, 0)); break;
    case 'h':
    case 'l': set_modes(vt, final == 'h'); break;
    case 'm': select_rendition(vt); break;
    case 'n': report(vt, param(vt, 0, 0), answers); break;
    case 'r': set_margins(vt); break;
    case 's': vt_save_cursor(vt); break;
    case 'u': vt_restore_cursor(vt); break;
    default: break;
    }
}

static void finish_escape(Vt *vt, uint8_t final, GByteArray *answers)
{
    if (vt->between == '(' || vt->between == ')') {
        vt->cursor.sets[vt->between == ')'] = final;
    } else if (vt->between == '#') {
        if (final == '8') {
            vt_alignment(vt);
        }
    }
    if (vt->between) {
        return;
    }
    switch (final) {
    case '7': vt_save_cursor(vt); break;
    case '8': vt_restore_cursor(vt); break;
    case 'D': vt_line_feed(vt); break;
    case 'E':
        vt_line_feed(vt);
        vt->cursor.x = 0;
        break;
    case 'H': vt->tabs[vt->cursor.x] = true; break;
    case 'M': vt_reverse_line_feed(vt); break;
    case 'Z': answer(answers, "\033[?6c"); break;
    case 'c': vt_reset(vt); break;
    default: break;
    }
}

/* --- what is written --- */

static void begin_csi(Vt *vt)
{
    vt->state   = CSI;
    vt->private = vt->between = 0;
    vt->n_params              = 0;
    memset(vt->params, 0, sizeof vt->params);
}

static void take_escape(Vt *vt, uint8_t byte, GByteArray *answers)
{
    if (byte < 0x30) {
        vt->between = byte;
        vt->state   = ESCAPE_MORE;
    } else if (vt->state == ESCAPE && byte == '[') {
        begin_csi(vt);
    } else if (vt->state == ESCAPE && strchr("]PX^_", byte)) {
        vt->state = STRING;
    } else {
        vt->state = GROUND;
        finish_escape(vt, byte, answers);
    }
}

static void take_csi(Vt *vt, uint8_t byte, GByteArray *answers)
{
    if (byte >= 0x40) {
        bool ok   = vt->state != CSI_IGNORE;
        vt->state = GROUND;
        if (ok) {
            finish_csi(vt, byte, answers);
        }
    } else if (vt->state == CSI_IGNORE) {
        return;
    } else if (byte < 0x30) {
        vt->between = byte;
        vt->state   = CSI_MORE;
    } else if (vt->state == CSI_MORE || byte == ':') {
        vt->state = CSI_IGNORE;
    } else if (byte >= '<') {
        vt->state   = vt->private || vt->n_params ? CSI_IGNORE : CSI;
        vt->private = byte;
    } else if (byte == ';') {
        vt->n_params = MAX(vt->n_params, 1) + 1;
        vt->state    = vt->n_params > VT_PARAMS ? CSI_IGNORE : CSI;
    } else {
        vt->n_params = MAX(vt->n_params, 1);
        unsigned *p  = &vt->params[vt->n_params - 1];
        *p           = MIN(*p * 10 + (byte - '0'), PARAM_MAX);
    }
}

/* Strings (titles, device control) are skipped up to ST, or BEL as xterm has it. */
static void take_string(Vt *vt, uint8_t byte)
{
    if (byte == '\a') {
        vt->state = GROUND;
    } else if (byte == 033) {
        vt->state = STRING_ESCAPE;
    }
}

static void take_text(Vt *vt, uint8_t byte)
{
    Utf8Result r = utf8_feed(&vt->utf8, byte);
    if (r == UTF8_BROKEN) {
        vt_put(vt, REPLACEMENT);
        r = utf8_feed(&vt->utf8, byte);
    }
    if (r == UTF8_WRONG) {
        vt_put(vt, REPLACEMENT);
    } else if (r == UTF8_CHARACTER && vt->utf8.code >= 0x20 && (vt->utf8.code < 0x7f || vt->utf8.code >= 0xa0)) {
        vt_put(vt, in_set(vt, vt->utf8.code));
    }
}

static void take(Vt *vt, uint8_t byte, GByteArray *answers)
{
    if (byte < 0x20 && vt->utf8.left) {
        vt->utf8.left = 0;
        vt_put(vt, REPLACEMENT);
    }
    if (vt->state == STRING_ESCAPE) {
        vt->state   = ESCAPE; /* "\\" ends the string, anything else begins a sequence */
        vt->between = 0;
    }
    if (byte == 0x18 || byte == 0x1a) { /* CAN, SUB */
        vt->state = GROUND;
    } else if (vt->state == STRING) {
        take_string(vt, byte);
    } else if (byte == 033) {
        vt->state   = ESCAPE;
        vt->between = 0;
    } else if (byte < 0x20) {
        control(vt, byte);
    } else if (vt->state == GROUND) {
        take_text(vt, byte);
    } else if (byte >= 0x7f) {
        /* DEL and what is no ASCII has no place in a sequence. */
    } else if (vt->state == ESCAPE || vt->state == ESCAPE_MORE) {
        take_escape(vt, byte, answers);
    } else {
        take_csi(vt, byte, answers);
    }
}

void vt_write(Vt *vt, const uint8_t *data, size_t len, GByteArray *answers)
{
    for (size_t i = 0; i < len; i++) {
        take(vt, data[i], answers);
    }
    vt->changes++;
}

/* --- keys --- */

void vt_press(const Vt *vt, VtKey key, GByteArray *out)
{
    static const char *const texts[VT_KEYS] = {
        [VT_UP]        = "\033[A",
        [VT_DOWN]      = "\033[B",
        [VT_RIGHT]     = "\033[C",
        [VT_LEFT]      = "\033[D",
        [VT_HOME]      = "\033[1~",
        [VT_END]       = "\033[4~",
        [VT_INSERT]    = "\033[2~",
        [VT_DELETE]    = "\033[3~",
        [VT_PAGE_UP]   = "\033[5~",
        [VT_PAGE_DOWN] = "\033[6~",
        [VT_ENTER]     = "\r",
        [VT_BACKSPACE] = "\177",
        [VT_F1]        = "\033[11~",
        "\033[12~",
        "\033[13~",
        "\033[14~",
        "\033[15~",
        "\033[17~",
        "\033[18~",
        "\033[19~",
        "\033[20~",
        "\033[21~",
        "\033[23~",
        "\033[24~",
    };
    const char *text = key < VT_KEYS ? texts[key] : NULL;
    if (!text) {
        return;
    }
    size_t len = strlen(text);
    g_byte_array_append(out, (const uint8_t *)text, (guint)len);
    if (key <= VT_LEFT && vt->cursor_keys) {
        out->data[out->len - 2] = 'O';
    } else if (key == VT_ENTER && vt->newline) {
        g_byte_array_append(out, (const uint8_t *)"\n", 1);
    }
}
