/* HMP: the monitor for people. Main loop, machine lock held. */

#include "monitor/hmp.h"

#include <string.h>

enum { LINE_MAX_BYTES = 4096 };

struct HmpSession {
    Monitor *mon;
    GString *line;
};

HmpSession *hmp_session_new(Monitor *mon)
{
    HmpSession *s = g_new0(HmpSession, 1);
    s->mon        = mon;
    s->line       = g_string_new(NULL);
    return s;
}

void hmp_session_free(HmpSession *s)
{
    if (s) {
        g_string_free(s->line, true);
        g_free(s);
    }
}

static void prompt(HmpSession *s)
{
    monitor_print(s->mon, "(qemu) ");
}

void hmp_session_opened(HmpSession *s)
{
    g_string_truncate(s->line, 0);
    if (!monitor_on_mux(s->mon)) {
        prompt(s);
    }
}

void hmp_session_closed(HmpSession *s)
{
    g_string_truncate(s->line, 0);
}

void hmp_session_focused(HmpSession *s, bool in)
{
    if (in) {
        prompt(s);
    }
}

size_t hmp_session_can_read(const HmpSession *s)
{
    return LINE_MAX_BYTES;
}

void hmp_session_read(HmpSession *s, const uint8_t *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (buf[i] == '\r' || buf[i] == '\n') {
            monitor_print(s->mon, "\r\n");
            hmp_execute(s->mon, s->line->str);
            g_string_truncate(s->line, 0);
            prompt(s);
        } else if (s->line->len < LINE_MAX_BYTES && buf[i] >= 0x20) {
            g_string_append_c(s->line, (char)buf[i]);
            monitor_write(s->mon, (const char *)&buf[i], 1);
        }
    }
}

void hmp_execute(Monitor *mon, const char *line)
{
    g_autofree char *word = g_strstrip(g_strdup(line));
    g_auto(Error) err     = { 0 };
    if (!*word) {
        return;
    }
    if (!strcmp(word, "q") || !strcmp(word, "quit")) {
        g_autoptr(Json) result = monitor_command(mon, "quit", NULL, &err);
        return;
    }
    monitor_print(mon, "unknown command: '%s'\r\n", word);
}
