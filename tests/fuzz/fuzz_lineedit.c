/* The line editor: what it writes shows, on a screen, the line that it holds. The first byte says whether there is a
 * terminal and how many bytes come at a time. Then all parsers of lines get what was entered. */

#include "fuzz.h"

#include "../unit/lineedit_screen.h"
#include "monitor/hmp_command.h"

#include <string.h>

typedef struct Rig {
    LineEdit *le;
    Screen    screen;
    bool      terminal;
} Rig;

static void rig_write(void *opaque, const char *text, size_t len)
{
    Rig *rig = opaque;
    g_assert(rig->terminal || !memchr(text, '\033', len));
    screen_take(&rig->screen, text, len);
}

static bool get_register(void *opaque, const char *name, int64_t *value)
{
    *value = (int64_t)strlen(name);
    return *name == 'r';
}

typedef struct Line {
    const char *text;
} Line;

static void parse_line(const HmpCommand *c, void *opaque)
{
    const Line *line  = opaque;
    g_auto(Error) err = { 0 };
    HmpArgs  args     = { 0 };
    HmpParse p        = { .command = c->name, .table = c->args, .last = { 1, 'x', 4 }, .get_register = get_register };
    g_assert(hmp_args_parse(&p, line->text, &args, &err) == !error_is_set(&err));
    hmp_args_clear(&args);
    g_autoptr(GPtrArray) before = g_ptr_array_new_with_free_func(g_free);
    size_t        start;
    const HmpArg *arg = hmp_args_locate(c->args, line->text, &start, before);
    g_assert(!arg || start <= strlen(line->text));
}

static void rig_line(void *opaque, const char *text)
{
    Line line = { text };
    g_assert(g_utf8_validate(text, -1, NULL) && strlen(text) <= LINEEDIT_LINE_MAX);
    hmp_commands_foreach(false, parse_line, &line);
    hmp_commands_foreach(true, parse_line, &line);
}

static void rig_complete(void *opaque, const char *text, LineCompletion *c)
{
    static const char *const words[] = { "ax", "ay", "b=", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\xa4", "\xe6\x97\xa5" };
    const char              *space   = strrchr(text, ' ');
    c->start                         = space ? (size_t)(space + 1 - text) : 0;
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        line_completion_add(c, text + c->start, words[i]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    static Rig rig;
    rig.terminal = data[0] & 0x80;
    size_t step  = (size_t)(data[0] & 0x7f) + 1;
    screen_clear(&rig.screen);
    LineEditHost host = { .write = rig_write, .line = rig_line, .complete = rig_complete, .opaque = &rig };
    rig.le            = lineedit_new(&host, "> ");
    lineedit_set_terminal(rig.le, rig.terminal);
    lineedit_show(rig.le);
    for (size_t used = 1; used < size; used += step) {
        lineedit_take(rig.le, data + used, MIN(step, size - used));
        size_t           cursor;
        const char      *text  = lineedit_text(rig.le, &cursor);
        g_autofree char *shown = g_strconcat("> ", text, NULL);
        g_assert(screen_matches(&rig.screen, shown, 2 + cursor));
    }
    for (unsigned i = 0; lineedit_history(rig.le, i); i++) {
        g_assert(i < LINEEDIT_HISTORY_MAX);
    }
    lineedit_free(rig.le);
    return 0;
}
