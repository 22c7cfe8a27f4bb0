/* A line editor over a byte stream. See lineedit.h.
 * Keys: ECMA-48 and what xterm, VT220 and Linux consoles send; control keys as readline and Emacs have them.
 *
 * The line lies in one row as far as the editor is concerned: where a terminal wraps, cursor keys do not cross the
 * edge. All moves to the left are backspaces, all moves to the right print what is there again. */

#include "monitor/lineedit.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_CTRL_A = 1,
    KEY_CTRL_B,
    KEY_CTRL_C,
    KEY_CTRL_D,
    KEY_CTRL_E,
    KEY_CTRL_F,
    KEY_BACKSPACE = 8,
    KEY_TAB,
    KEY_NEWLINE,
    KEY_CTRL_K,
    KEY_CTRL_L,
    KEY_ENTER,
    KEY_CTRL_N,
    KEY_CTRL_P = 16,
    KEY_CTRL_U = 21,
    KEY_CTRL_W = 23,
    KEY_CTRL_Y = 25,
    KEY_ESCAPE = 27,
    KEY_DELETE = 127,
};

enum { SEQUENCE_MAX = 16, COLUMNS = 80 };

typedef enum InputState { INPUT_TEXT, INPUT_ESCAPE, INPUT_CSI, INPUT_SS3 } InputState;

struct LineEdit {
    LineEditHost host;
    char        *prompt;
    bool         terminal;

    GString *line;
    size_t   cursor; /* a byte of `line`, where a character begins */
    bool     too_long;
    GString *killed; /* what Ctrl-K, Ctrl-U and Ctrl-W took, for Ctrl-Y */

    GPtrArray *history;  /* char *, the oldest first */
    unsigned   recalled; /* entry that is shown; history->len: the new line */
    char      *new_line; /* kept while an entry is shown */

    InputState state;
    char       sequence[SEQUENCE_MAX]; /* parameters of an escape sequence */
    unsigned   sequence_len;
    char       partial[4]; /* a character whose last bytes are to come */
    unsigned   partial_len, partial_wanted;
    bool       after_enter; /* a newline now belongs to it */

    GString *out; /* gathered while input is taken */
};

LineEdit *lineedit_new(const LineEditHost *host, const char *prompt)
{
    LineEdit *le = g_new0(LineEdit, 1);
    le->host     = *host;
    le->prompt   = g_strdup(prompt);
    le->line     = g_string_new(NULL);
    le->killed   = g_string_new(NULL);
    le->history  = g_ptr_array_new_with_free_func(g_free);
    le->out      = g_string_new(NULL);
    return le;
}

void lineedit_free(LineEdit *le)
{
    g_free(le->prompt);
    g_string_free(le->line, TRUE);
    g_string_free(le->killed, TRUE);
    g_ptr_array_free(le->history, TRUE);
    g_free(le->new_line);
    g_string_free(le->out, TRUE);
    g_free(le);
}

void lineedit_set_terminal(LineEdit *le, bool terminal)
{
    le->terminal = terminal;
}

static void flush(LineEdit *le)
{
    if (le->out->len) {
        le->host.write(le->host.opaque, le->out->str, le->out->len);
        g_string_truncate(le->out, 0);
    }
}

/* --- text and columns --- */

static unsigned columns_of(const char *text, size_t len)
{
    unsigned n = 0;
    for (const char *p = text; p < text + len; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);
        n += g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
    }
    return n;
}

static size_t previous(const LineEdit *le, size_t at)
{
    return at == 0 ? 0 : (size_t)(g_utf8_prev_char(le->line->str + at) - le->line->str);
}

static size_t next(const LineEdit *le, size_t at)
{
    return at >= le->line->len ? at : (size_t)(g_utf8_next_char(le->line->str + at) - le->line->str);
}

static size_t word_left(const LineEdit *le, size_t at)
{
    while (at > 0 && le->line->str[at - 1] == ' ') {
        at--;
    }
    while (at > 0 && le->line->str[at - 1] != ' ') {
        at--;
    }
    return at;
}

static size_t word_right(const LineEdit *le, size_t at)
{
    while (at < le->line->len && le->line->str[at] == ' ') {
        at++;
    }
    while (at < le->line->len && le->line->str[at] != ' ') {
        at++;
    }
    return at;
}

/* --- what is on the screen --- */

static void put(LineEdit *le, const char *text, size_t len)
{
    g_string_append_len(le->out, text, (gssize)len);
}

static void put_repeated(LineEdit *le, char c, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        g_string_append_c(le->out, c);
    }
}

static void bell(LineEdit *le)
{
    if (le->terminal) {
        g_string_append_c(le->out, '\a');
    }
}

static void move_cursor(LineEdit *le, size_t to)
{
    if (to < le->cursor) {
        put_repeated(le, '\b', columns_of(le->line->str + to, le->cursor - to));
    } else {
        put(le, le->line->str + le->cursor, to - le->cursor);
    }
    le->cursor = to;
}

/* Shows the line from the cursor on, after which `gone` columns of old text follow, and goes back to the cursor. */
static void show_rest(LineEdit *le, unsigned gone)
{
    const char *rest = le->line->str + le->cursor;
    size_t      len  = le->line->len - le->cursor;
    put(le, rest, len);
    if (gone && le->terminal) {
        g_string_append(le->out, "\033[K");
    } else if (gone) {
        put_repeated(le, ' ', gone);
        put_repeated(le, '\b', gone);
    }
    put_repeated(le, '\b', columns_of(rest, len));
}

void lineedit_show(LineEdit *le)
{
    g_string_append(le->out, le->prompt);
    put(le, le->line->str, le->line->len);
    put_repeated(le, '\b', columns_of(le->line->str + le->cursor, le->line->len - le->cursor));
    flush(le);
}

const char *lineedit_text(const LineEdit *le, size_t *cursor)
{
    *cursor = le->cursor;
    return le->line->str;
}

void lineedit_reset(LineEdit *le)
{
    g_string_truncate(le->line, 0);
    le->cursor      = 0;
    le->too_long    = false;
    le->state       = INPUT_TEXT;
    le->partial_len = 0;
    le->after_enter = false;
    le->recalled    = le->history->len;
    g_clear_pointer(&le->new_line, g_free);
}

/* --- editing --- */

static void insert(LineEdit *le, const char *text, size_t len)
{
    if (le->line->len + len > LINEEDIT_LINE_MAX) {
        le->too_long = true;
        bell(le);
        return;
    }
    g_string_insert_len(le->line, (gssize)le->cursor, text, (gssize)len);
    put(le, text, len);
    le->cursor += len;
    show_rest(le, 0);
}

static void erase(LineEdit *le, size_t from, size_t to)
{
    if (from == to) {
        return;
    }
    unsigned gone = columns_of(le->line->str + from, to - from);
    move_cursor(le, from);
    g_string_erase(le->line, (gssize)from, (gssize)(to - from));
    le->too_long = le->too_long && le->line->len;
    show_rest(le, gone);
}

static void kill_text(LineEdit *le, size_t from, size_t to)
{
    if (from < to) {
        g_string_truncate(le->killed, 0);
        g_string_append_len(le->killed, le->line->str + from, (gssize)(to - from));
        erase(le, from, to);
    }
}

/* Another line in place of this one. */
static void replace(LineEdit *le, const char *text)
{
    unsigned before = columns_of(le->line->str, le->line->len);
    unsigned after  = columns_of(text, strlen(text));
    move_cursor(le, 0);
    g_string_assign(le->line, text);
    show_rest(le, before > after ? before - after : 0);
    move_cursor(le, le->line->len);
}

/* --- history --- */

static void remember(LineEdit *le, const char *text)
{
    for (unsigned i = 0; i < le->history->len; i++) {
        if (strcmp(le->history->pdata[i], text) == 0) {
            g_ptr_array_remove_index(le->history, i);
            break;
        }
    }
    if (le->history->len == LINEEDIT_HISTORY_MAX) {
        g_ptr_array_remove_index(le->history, 0);
    }
    g_ptr_array_add(le->history, g_strdup(text));
}

const char *lineedit_history(const LineEdit *le, unsigned n)
{
    return n < le->history->len ? le->history->pdata[n] : NULL;
}

static void recall(LineEdit *le, bool older)
{
    if (older ? le->recalled == 0 : le->recalled >= le->history->len) {
        return;
    }
    if (le->recalled == le->history->len) {
        g_free(le->new_line);
        le->new_line = g_strdup(le->line->str);
    }
    le->recalled += older ? -1u : 1;
    replace(le, le->recalled == le->history->len ? le->new_line : le->history->pdata[le->recalled]);
}

/* --- completion --- */

void line_completion_add(LineCompletion *c, const char *prefix, const char *word)
{
    if (g_str_has_prefix(word, prefix) && g_utf8_validate(word, -1, NULL)) {
        for (const char *p = word; *p; p = g_utf8_next_char(p)) {
            if (g_unichar_iscntrl(g_utf8_get_char(p))) {
                return;
            }
        }
        g_ptr_array_add(c->words, g_strdup(word));
    }
}

static int compare_words(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort_words(GPtrArray *words)
{
    g_ptr_array_sort(words, compare_words);
    for (unsigned i = 1; i < words->len;) {
        if (strcmp(words->pdata[i - 1], words->pdata[i]) == 0) {
            g_ptr_array_remove_index(words, i);
        } else {
            i++;
        }
    }
}

/* What all words begin with. They are sorted: the first and the last are the least alike. */
static size_t common_length(const GPtrArray *words)
{
    const char *a = words->pdata[0], *b = words->pdata[words->len - 1];
    size_t      n = 0;
    while (a[n] && a[n] == b[n]) {
        n++;
    }
    while (n && (a[n] & 0xc0) == 0x80) {
        n--;
    }
    return n;
}

static void list_words(LineEdit *le, const GPtrArray *words)
{
    unsigned width = 8, n = MIN(words->len, (unsigned)LINEEDIT_LIST_MAX);
    for (unsigned i = 0; i < n; i++) {
        const char *word = words->pdata[i];
        width            = MAX(width, columns_of(word, strlen(word)));
    }
    width += 2;
    unsigned per_row = MAX(1u, COLUMNS / width);
    g_string_append(le->out, "\r\n");
    for (unsigned i = 0; i < n; i++) {
        const char *word = words->pdata[i];
        g_string_append(le->out, word);
        put_repeated(le, ' ', width - columns_of(word, strlen(word)));
        if (i % per_row == per_row - 1 || i == n - 1) {
            g_string_append(le->out, "\r\n");
        }
    }
    if (n < words->len) {
        g_string_append_printf(le->out, "(and %u more)\r\n", words->len - n);
    }
    lineedit_show(le);
}

static void complete(LineEdit *le)
{
    if (!le->host.complete) {
        return;
    }
    LineCompletion   c      = { .words = g_ptr_array_new_with_free_func(g_free) };
    g_autofree char *before = g_strndup(le->line->str, le->cursor);
    c.start                 = le->cursor;
    le->host.complete(le->host.opaque, before, &c);
    if (c.words->len == 0) {
        bell(le);
    } else {
        sort_words(c.words);
        g_autofree char *text  = g_strndup(c.words->pdata[0], common_length(c.words));
        size_t           typed = le->cursor - c.start, len = strlen(text);
        bool             known = len >= typed && strncmp(text, before + c.start, typed) == 0;
        if (c.words->len > 1) {
            list_words(le, c.words);
        }
        if (known) {
            insert(le, text + typed, len - typed);
        }
        if (c.words->len == 1 && known && len && !strchr("/=,-:", text[len - 1])) {
            insert(le, " ", 1);
        }
    }
    g_ptr_array_free(c.words, TRUE);
}

/* --- keys --- */

static void enter(LineEdit *le)
{
    move_cursor(le, le->line->len);
    g_string_append(le->out, "\r\n");
    g_autofree char *text     = g_strdup(le->line->str);
    bool             too_long = le->too_long;
    lineedit_reset(le);
    if (too_long) {
        g_string_append_printf(le->out, "the line is too long (at most %d bytes)\r\n", LINEEDIT_LINE_MAX);
    } else if (*text) {
        remember(le, text);
        le->recalled = le->history->len;
    }
    flush(le);
    if (!too_long) {
        le->host.line(le->host.opaque, text);
    }
    lineedit_show(le);
}

static void abandon(LineEdit *le)
{
    move_cursor(le, le->line->len);
    g_string_append(le->out, "^C\r\n");
    lineedit_reset(le);
    lineedit_show(le);
}

static void redraw(LineEdit *le)
{
    g_string_append(le->out, le->terminal ? "\033[2J\033[1;1H" : "\r\n");
    lineedit_show(le);
}

static void control(LineEdit *le, uint8_t key)
{
    size_t end = le->line->len;
    switch (key) {
    case KEY_CTRL_A: move_cursor(le, 0); break;
    case KEY_CTRL_B: move_cursor(le, previous(le, le->cursor)); break;
    case KEY_CTRL_C: abandon(le); break;
    case KEY_CTRL_D: erase(le, le->cursor, next(le, le->cursor)); break;
    case KEY_CTRL_E: move_cursor(le, end); break;
    case KEY_CTRL_F: move_cursor(le, next(le, le->cursor)); break;
    case KEY_BACKSPACE:
    case KEY_DELETE: erase(le, previous(le, le->cursor), le->cursor); break;
    case KEY_TAB: complete(le); break;
    case KEY_NEWLINE: enter(le); break;
    case KEY_ENTER:
        enter(le);
        le->after_enter = true;
        break;
    case KEY_CTRL_K: kill_text(le, le->cursor, end); break;
    case KEY_CTRL_L: redraw(le); break;
    case KEY_CTRL_N: recall(le, false); break;
    case KEY_CTRL_P: recall(le, true); break;
    case KEY_CTRL_U: kill_text(le, 0, le->cursor); break;
    case KEY_CTRL_W: kill_text(le, word_left(le, le->cursor), le->cursor); break;
    case KEY_CTRL_Y: insert(le, le->killed->str, le->killed->len); break;
    case KEY_ESCAPE: le->state = INPUT_ESCAPE; break;
    default: break;
    }
}

/* The last byte of ESC [ ... or ESC O. */
static void cursor_key(LineEdit *le, char final)
{
    unsigned number   = (unsigned)strtoul(le->sequence, NULL, 10);
    bool     modified = strchr(le->sequence, ';') != NULL; /* with Shift, Alt or Ctrl */
    switch (final) {
    case 'A': recall(le, true); break;
    case 'B': recall(le, false); break;
    case 'C': move_cursor(le, modified ? word_right(le, le->cursor) : next(le, le->cursor)); break;
    case 'D': move_cursor(le, modified ? word_left(le, le->cursor) : previous(le, le->cursor)); break;
    case 'H': move_cursor(le, 0); break;
    case 'F': move_cursor(le, le->line->len); break;
    case '~':
        if (number == 1 || number == 7) {
            move_cursor(le, 0);
        } else if (number == 3) {
            erase(le, le->cursor, next(le, le->cursor));
        } else if (number == 4 || number == 8) {
            move_cursor(le, le->line->len);
        }
        break;
    default: break;
    }
}

static void take_escape(LineEdit *le, uint8_t byte)
{
    le->state        = INPUT_TEXT;
    le->sequence_len = 0;
    le->sequence[0]  = 0;
    switch (byte) {
    case '[': le->state = INPUT_CSI; break;
    case 'O': le->state = INPUT_SS3; break;
    case 'b': move_cursor(le, word_left(le, le->cursor)); break;
    case 'f': move_cursor(le, word_right(le, le->cursor)); break;
    case 'd': kill_text(le, le->cursor, word_right(le, le->cursor)); break;
    case KEY_ESCAPE: le->state = INPUT_ESCAPE; break;
    default: break;
    }
}

static void take_sequence(LineEdit *le, uint8_t byte)
{
    if (byte == KEY_ESCAPE) {
        le->state = INPUT_ESCAPE;
    } else if (byte >= 0x40 && byte <= 0x7e) {
        le->state = INPUT_TEXT;
        cursor_key(le, (char)byte);
    } else if (byte < 0x20 || byte > 0x7e) {
        le->state = INPUT_TEXT; /* it was none */
        if (byte < 0x20) {
            control(le, byte);
        }
    } else if (le->sequence_len < SEQUENCE_MAX - 1) {
        le->sequence[le->sequence_len++] = (char)byte;
        le->sequence[le->sequence_len]   = 0;
    }
}

static void insert_char(LineEdit *le, const char *bytes, unsigned len)
{
    gunichar c = g_utf8_get_char_validated(bytes, len);
    if (c == (gunichar)-1 || c == (gunichar)-2) {
        insert(le, "\xef\xbf\xbd", 3);
    } else if (!g_unichar_iscntrl(c)) {
        insert(le, bytes, len);
    }
}

/* A byte of a character outside ASCII. */
static void take_partial(LineEdit *le, uint8_t byte)
{
    bool continues = (byte & 0xc0) == 0x80;
    if (le->partial_len && !continues) {
        insert_char(le, "\xff", 1);
        le->partial_len = 0;
    }
    if (le->partial_len == 0) {
        le->partial_wanted = byte >= 0xf0 && byte < 0xf8 ? 4 : byte >= 0xe0 && byte < 0xf0 ? 3 : byte >= 0xc0 ? 2 : 1;
    }
    le->partial[le->partial_len++] = (char)byte;
    if (le->partial_len == le->partial_wanted) {
        insert_char(le, le->partial, le->partial_len);
        le->partial_len = 0;
    }
}

static void take_byte(LineEdit *le, uint8_t byte)
{
    bool after_enter = le->after_enter;
    le->after_enter  = false;
    if (le->state == INPUT_ESCAPE) {
        take_escape(le, byte);
    } else if (le->state != INPUT_TEXT) {
        take_sequence(le, byte);
    } else if (byte >= 0x80) {
        take_partial(le, byte);
    } else {
        if (le->partial_len) {
            le->partial_len = 0;
            insert_char(le, "\xff", 1);
        }
        if (byte == KEY_NEWLINE && after_enter) {
            /* CR LF is one end of line. */
        } else if (byte < 0x20 || byte == KEY_DELETE) {
            control(le, byte);
        } else {
            insert(le, (const char *)&byte, 1);
        }
    }
}

void lineedit_take(LineEdit *le, const void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        take_byte(le, ((const uint8_t *)bytes)[i]);
    }
    flush(le);
}
