/* A line editor over a byte stream: history, cursor keys, completion.
 *
 * All state is in the editor, so that any number of monitors have one each. A terminal gets the few VT100 sequences
 * that every terminal knows; without one nothing but text, backspaces and spaces is written, so that scripts read
 * plain text. Lines are UTF-8; what is none becomes U+FFFD. No locks; callbacks run inside lineedit_take(), and must
 * not free the editor. */

#ifndef QUERN_MONITOR_LINEEDIT_H
#define QUERN_MONITOR_LINEEDIT_H

#include <glib.h>
#include <stdbool.h>

enum {
    LINEEDIT_LINE_MAX    = 4095, /* bytes; a longer line is refused as a whole */
    LINEEDIT_HISTORY_MAX = 64,
    LINEEDIT_LIST_MAX    = 2000, /* words that a completion lists */
};

typedef struct LineEdit LineEdit;

/* What could stand in place of the text from `start` up to the cursor. */
typedef struct LineCompletion {
    size_t     start;
    GPtrArray *words; /* char *; add with line_completion_add() */
} LineCompletion;

typedef struct LineEditHost {
    void (*write)(void *opaque, const char *text, size_t len);
    void (*line)(void *opaque, const char *text); /* Enter; the prompt follows when it returns */
    /* `text` is the line up to the cursor. May be NULL: there is no completion. */
    void (*complete)(void *opaque, const char *text, LineCompletion *completion);
    void *opaque;
} LineEditHost;

/* `prompt` is copied. */
LineEdit *lineedit_new(const LineEditHost *host, const char *prompt);
void      lineedit_free(LineEdit *le);

/* Is the other end a terminal? Not at first. */
void lineedit_set_terminal(LineEdit *le, bool terminal);

/* Shows the prompt, and what has been typed behind it. */
void lineedit_show(LineEdit *le);

/* Forgets the line that is being typed: somebody else is at the other end now. */
void lineedit_reset(LineEdit *le);

/* Bytes from the other end. */
void lineedit_take(LineEdit *le, const void *bytes, size_t len);

/* The line that is being typed, and where the cursor is in it. */
const char *lineedit_text(const LineEdit *le, size_t *cursor);

/* The n-th line of the history, the oldest first; NULL: there is none. */
const char *lineedit_history(const LineEdit *le, unsigned n);

/* Adds a copy of the word, unless it does not begin with `prefix`. A single word that fits is followed by a space,
 * unless it ends in '/', '=', ',', '-' or ':'. */
void line_completion_add(LineCompletion *c, const char *prefix, const char *word);

#endif
