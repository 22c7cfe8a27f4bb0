/* monitor/lineedit: keys, history and completion, on a model of a screen that shows one row. */

#include "monitor/lineedit.h"

#include "lineedit_screen.h"

#include <string.h>

typedef struct Rig {
    LineEdit          *le;
    Screen             screen;
    GString           *raw;   /* everything that was written */
    GString           *lines; /* what was entered, one a line */
    const char *const *words;
} Rig;

static void rig_write(void *opaque, const char *text, size_t len)
{
    Rig *rig = opaque;
    g_string_append_len(rig->raw, text, (gssize)len);
    screen_take(&rig->screen, text, len);
}

static void rig_line(void *opaque, const char *text)
{
    g_string_append_printf(((Rig *)opaque)->lines, "%s\n", text);
}

static void rig_complete(void *opaque, const char *text, LineCompletion *c)
{
    const char *space = strrchr(text, ' ');
    c->start          = space ? (size_t)(space + 1 - text) : 0;
    for (const char *const *word = ((Rig *)opaque)->words; word && *word; word++) {
        line_completion_add(c, text + c->start, *word);
    }
}

static void rig_start(Rig *rig, bool terminal)
{
    *rig = (Rig){ .raw = g_string_new(NULL), .lines = g_string_new(NULL) };
    screen_clear(&rig->screen);
    LineEditHost host = { .write = rig_write, .line = rig_line, .complete = rig_complete, .opaque = rig };
    rig->le           = lineedit_new(&host, "> ");
    lineedit_set_terminal(rig->le, terminal);
    lineedit_show(rig->le);
}

static void rig_stop(Rig *rig)
{
    lineedit_free(rig->le);
    g_string_free(rig->raw, TRUE);
    g_string_free(rig->lines, TRUE);
}

static void keys(Rig *rig, const char *text)
{
    lineedit_take(rig->le, text, strlen(text));
}

/* `expected` has the cursor as '|'. */
#define shows(rig, expected) check_shown(rig, expected, __LINE__)
static void check_shown(Rig *rig, const char *expected, int line)
{
    size_t           cursor;
    const char      *text = lineedit_text(rig->le, &cursor);
    g_autofree char *now  = g_strdup_printf("%.*s|%s", (int)cursor, text, text + cursor);
    if (strcmp(now, expected)) {
        g_error("line %d: '%s' instead of '%s'", line, now, expected);
    }
    g_autofree char *wanted = g_strdup_printf("> %s", text);
    if (!screen_matches(&rig->screen, wanted, 2 + cursor)) {
        g_error("line %d: the screen shows another line than '%s'", line, now);
    }
}

static void both(void (*test)(Rig *rig))
{
    for (int terminal = 0; terminal < 2; terminal++) {
        Rig rig;
        rig_start(&rig, terminal);
        test(&rig);
        if (!terminal) {
            g_assert_null(strchr(rig.raw->str, '\033'));
            g_assert_null(strchr(rig.raw->str, '\a'));
        }
        rig_stop(&rig);
    }
}

/* --- editing --- */

static void edit(Rig *rig)
{
    shows(rig, "|");
    keys(rig, "info statos");
    shows(rig, "info statos|");
    keys(rig, "\033[D\033[D");
    shows(rig, "info stat|os");
    keys(rig, "\033[3~u");
    shows(rig, "info statu|s");
    keys(rig, "\001");
    shows(rig, "|info status");
    keys(rig, "\002"); /* already at the beginning */
    shows(rig, "|info status");
    keys(rig, "\006\006");
    shows(rig, "in|fo status");
    keys(rig, "\013");
    shows(rig, "in|");
    keys(rig, "\031");
    shows(rig, "info status|");
    keys(rig, "\027");
    shows(rig, "info |");
    keys(rig, "\027");
    shows(rig, "|");
    keys(rig, "\031\031");
    shows(rig, "info info |");
    keys(rig, "\025");
    shows(rig, "|");
    keys(rig, "\177\010\004\013\025\027"); /* nothing to take */
    shows(rig, "|");
    keys(rig, "abc\010\177");
    shows(rig, "a|");
    keys(rig, "b c\033[Hx\033[Fy\033OHz\033OF!\033[1~1\033[4~4\033[7~7\033[8~8");
    shows(rig, "71zxab cy!48|");
    keys(rig, "\001\004");
    shows(rig, "|1zxab cy!48");
    keys(rig, "\033[1;5C");
    shows(rig, "1zxab| cy!48");
    keys(rig, "\033f\033b");
    shows(rig, "1zxab |cy!48");
    keys(rig, "\033[1;5D");
    shows(rig, "|1zxab cy!48");
    keys(rig, "\033d");
    shows(rig, "| cy!48");
    keys(rig, "\014");
    shows(rig, "| cy!48");
    keys(rig, "\003");
    shows(rig, "|");
    keys(rig, "a\rb\r\nc\n\r");
    g_assert_cmpstr(rig->lines->str, ==, "a\nb\nc\n\n");
    shows(rig, "|");
}

static void test_edit(void)
{
    both(edit);
}

static void sequences(Rig *rig)
{
    keys(rig, "ab\033[");
    shows(rig, "ab|");
    keys(rig, "D"); /* it comes in pieces */
    shows(rig, "a|b");
    keys(rig, "\033[200~x\033[201~"); /* a bracketed paste */
    shows(rig, "ax|b");
    keys(rig, "\033[999999999999999999999;5;;5;5555555555Z\033[Z\033OZ\033Z\033\033[C");
    shows(rig, "axb|");
    keys(rig, "\033[1\rx"); /* Enter in the middle of one is Enter */
    g_assert_cmpstr(rig->lines->str, ==, "axb\n");
    shows(rig, "x|");
    lineedit_take(rig->le, "\0y\001", 3);
    shows(rig, "|xy");
}

static void test_sequences(void)
{
    both(sequences);
}

static void characters(Rig *rig)
{
    keys(rig, "gr\xc3\xbc\xc3\x9f"); /* grüß */
    shows(rig, "gr\xc3\xbc\xc3\x9f|");
    keys(rig, "\xe6\x97"); /* a wide one, in pieces */
    shows(rig, "gr\xc3\xbc\xc3\x9f|");
    keys(rig, "\xa5\xf0\x9f\x98\x80");
    shows(rig, "gr\xc3\xbc\xc3\x9f\xe6\x97\xa5\xf0\x9f\x98\x80|");
    keys(rig, "\033[D\033[D\033[D\177");
    shows(rig, "gr|\xc3\x9f\xe6\x97\xa5\xf0\x9f\x98\x80");
    keys(rig, "\004\004");
    shows(rig, "gr|\xf0\x9f\x98\x80");
    keys(rig, "e\xcc\x81"); /* a combining accent */
    shows(rig, "gre\xcc\x81|\xf0\x9f\x98\x80");
    keys(rig, "\177\177\177\177\013");
    shows(rig, "|");
    /* What is no UTF-8 is shown as such; controls of Unicode are left out. */
    keys(rig, "a\xff\xc3(\xed\xa0\x80\xc2\x85");
    shows(rig, "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd|");
    keys(rig, "\x80\r");
    g_assert_true(g_utf8_validate(rig->lines->str, -1, NULL));
}

static void test_characters(void)
{
    both(characters);
}

/* --- length --- */

static void test_length(void)
{
    Rig rig;
    rig_start(&rig, true);
    g_autofree char *most = g_strnfill(LINEEDIT_LINE_MAX, 'x');
    keys(&rig, most);
    keys(&rig, "\r");
    g_assert_cmpuint(rig.lines->len, ==, LINEEDIT_LINE_MAX + 1);
    g_string_truncate(rig.lines, 0);
    keys(&rig, most);
    keys(&rig, "y\r");
    g_assert_cmpstr(rig.lines->str, ==, "");
    g_assert_nonnull(strstr(rig.raw->str, "the line is too long"));
    keys(&rig, most);
    keys(&rig, "y\025z\r"); /* begun anew */
    g_assert_cmpstr(rig.lines->str, ==, "z\n");
    rig_stop(&rig);
}

/* --- history --- */

static void history(Rig *rig)
{
    keys(rig, "\033[A\033[B\020\016");
    shows(rig, "|");
    keys(rig, "one\rtwo two\r\rthree\rnew");
    keys(rig, "\033[A");
    shows(rig, "three|");
    keys(rig, "\020");
    shows(rig, "two two|");
    keys(rig, "\033OA\033[A");
    shows(rig, "one|");
    keys(rig, "\033[B\033[B");
    shows(rig, "three|");
    keys(rig, "\016\016");
    shows(rig, "new|");
    keys(rig, "\033[A\033[A!\r"); /* an entry that is changed stays what it was */
    keys(rig, "\033[A\033[A\033[A");
    shows(rig, "two two|");
    keys(rig, "\003one\r"); /* one that comes again moves to the end */
    g_assert_cmpstr(lineedit_history(rig->le, 0), ==, "two two");
    g_assert_cmpstr(lineedit_history(rig->le, 1), ==, "three");
    g_assert_cmpstr(lineedit_history(rig->le, 2), ==, "two two!");
    g_assert_cmpstr(lineedit_history(rig->le, 3), ==, "one");
    g_assert_null(lineedit_history(rig->le, 4));
    for (unsigned i = 0; i < 2 * LINEEDIT_HISTORY_MAX; i++) {
        g_autofree char *line = g_strdup_printf("line %u\r", i);
        keys(rig, line);
    }
    g_assert_cmpstr(lineedit_history(rig->le, 0), ==, "line 64");
    g_assert_cmpstr(lineedit_history(rig->le, LINEEDIT_HISTORY_MAX - 1), ==, "line 127");
    g_assert_null(lineedit_history(rig->le, LINEEDIT_HISTORY_MAX));
}

static void test_history(void)
{
    both(history);
}

/* --- completion --- */

static void completion(Rig *rig)
{
    static const char *const words[] = {
        "status", "stats", "stop", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\xa4", "drive=", "di/", "b\001d", "stats", NULL
    };
    rig->words = words;
    keys(rig, "x sto\t");
    shows(rig, "x stop |");
    keys(rig, "\025sta\t");
    shows(rig, "stat|");
    g_assert_nonnull(strstr(rig->raw->str, "\r\nstats     status    \r\n> sta"));
    keys(rig, "u\ty");
    shows(rig, "status y|");
    keys(rig, "\025dr\t");
    shows(rig, "drive=|");
    keys(rig, "\025di\t");
    shows(rig, "di/|");
    keys(rig, "\025gr\t"); /* what they share ends between characters */
    shows(rig, "gr\xc3\xbc|");
    keys(rig, "\025b\t"); /* a word with control characters is not offered */
    shows(rig, "b|");
    keys(rig, "\025stp\033[D\t"); /* in the middle of a line */
    shows(rig, "st|p");
    keys(rig, "o\t");
    shows(rig, "stop |p");
    rig->words = NULL;
    keys(rig, "\t\t");
    shows(rig, "stop |p");
}

static void test_completion(void)
{
    both(completion);
}

/* Nothing but the text of a line goes back to somebody who is no terminal. */
static void test_plain(void)
{
    Rig rig;
    rig_start(&rig, false);
    keys(&rig, "info status\n");
    g_assert_cmpstr(rig.raw->str, ==, "> info status\r\n> ");
    rig_stop(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/lineedit/edit", test_edit);
    g_test_add_func("/lineedit/sequences", test_sequences);
    g_test_add_func("/lineedit/characters", test_characters);
    g_test_add_func("/lineedit/length", test_length);
    g_test_add_func("/lineedit/history", test_history);
    g_test_add_func("/lineedit/completion", test_completion);
    g_test_add_func("/lineedit/plain", test_plain);
    return g_test_run();
}
