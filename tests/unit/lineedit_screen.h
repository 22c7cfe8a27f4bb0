/* A terminal as wide as it has to be: what a line editor's output makes of its last row. */

#ifndef QUERN_TESTS_LINEEDIT_SCREEN_H
#define QUERN_TESTS_LINEEDIT_SCREEN_H

#include <glib.h>
#include <stdbool.h>
#include <string.h>

enum { SCREEN_COLUMNS = 16384 };

typedef struct Screen {
    gunichar cells[SCREEN_COLUMNS]; /* 1: the second half of a wide character */
    unsigned at;
    char     partial[64]; /* the beginning of a character or a sequence */
    unsigned partial_len;
} Screen;

static inline void screen_clear(Screen *s)
{
    memset(s, 0, sizeof *s);
    for (unsigned i = 0; i < SCREEN_COLUMNS; i++) {
        s->cells[i] = ' ';
    }
}

static inline unsigned screen_width(gunichar c)
{
    return g_unichar_iszerowidth(c) ? 0 : g_unichar_iswide(c) ? 2 : 1;
}

static inline void screen_put(Screen *s, gunichar c)
{
    unsigned width = screen_width(c);
    for (unsigned i = 0; i < width; i++) {
        g_assert(s->at < SCREEN_COLUMNS);
        s->cells[s->at++] = i ? 1 : c;
    }
}

static inline void screen_sequence(Screen *s, const char *text)
{
    if (strcmp(text, "\033[K") == 0) {
        for (unsigned i = s->at; i < SCREEN_COLUMNS; i++) {
            s->cells[i] = ' ';
        }
    } else if (strcmp(text, "\033[2J") == 0) {
        for (unsigned i = 0; i < SCREEN_COLUMNS; i++) {
            s->cells[i] = ' ';
        }
    } else if (strcmp(text, "\033[1;1H") == 0) {
        s->at = 0;
    } else {
        g_error("unknown sequence ESC %s", text + 1);
    }
}

static inline void screen_byte(Screen *s, char byte)
{
    s->partial[s->partial_len++] = byte;
    s->partial[s->partial_len]   = 0;
    if (s->partial[0] == '\033') {
        if (g_ascii_isalpha(byte)) {
            screen_sequence(s, s->partial);
            s->partial_len = 0;
        }
        g_assert(s->partial_len < sizeof s->partial - 1);
        return;
    }
    gunichar c = g_utf8_get_char_validated(s->partial, (gssize)s->partial_len);
    if (c == (gunichar)-2) {
        return;
    }
    g_assert(c != (gunichar)-1);
    s->partial_len = 0;
    if (c == '\b') {
        g_assert(s->at > 0);
        s->at--;
    } else if (c == '\r') {
        s->at = 0;
    } else if (c == '\n') {
        for (unsigned i = 0; i < SCREEN_COLUMNS; i++) {
            s->cells[i] = ' ';
        }
    } else if (c != '\a') {
        g_assert(c >= ' ');
        screen_put(s, c);
    }
}

static inline void screen_take(Screen *s, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        screen_byte(s, text[i]);
    }
}

/* Does the row show `text`, and nothing else, with the cursor where its first `cursor` bytes end? */
static inline bool screen_matches(const Screen *s, const char *text, size_t cursor)
{
    unsigned at = 0, cursor_at = 0;
    for (const char *p = text; *p; p = g_utf8_next_char(p)) {
        gunichar c     = g_utf8_get_char(p);
        unsigned width = screen_width(c);
        if ((size_t)(p - text) < cursor) {
            cursor_at += width;
        }
        if (width && s->cells[at] != c) {
            return false;
        }
        at += width;
    }
    for (; at < SCREEN_COLUMNS; at++) {
        if (s->cells[at] != ' ') {
            return false;
        }
    }
    return s->at == cursor_at;
}

#endif
