/* Names and switches of trace events. See trace.h. */

#include "base/trace.h"

#include "base/file.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

static const struct {
    const char *name, *help;
} events[] = {
#define TRACE_ROW(id, name, help) [id] = { name, help },
    TRACE_EVENTS(TRACE_ROW)
#undef TRACE_ROW
};

_Static_assert(TRACE_COUNT <= 64, "Log.traced has 64 bits");

void trace_print(const Log *log, TraceId id, const char *format, ...)
{
    FILE   *to = log->file ? log->file : stderr;
    va_list args;
    va_start(args, format);
    flockfile(to);
    fprintf(to, "%s ", events[id].name);
    vfprintf(to, format, args);
    putc('\n', to);
    funlockfile(to);
    va_end(args);
}

const char *trace_name(TraceId id)
{
    return events[id].name;
}

void trace_switch(Log *log, TraceId id, bool on)
{
    if (on) {
        __atomic_fetch_or(&log->traced, UINT64_C(1) << id, __ATOMIC_RELAXED);
    } else {
        __atomic_fetch_and(&log->traced, ~(UINT64_C(1) << id), __ATOMIC_RELAXED);
    }
}

bool trace_matches(const char *pattern, TraceId id)
{
    return text_glob(pattern, events[id].name);
}

bool trace_check(const char *pattern, Error *err)
{
    NameMatch match = { .word = pattern };
    char      hint[128];
    for (int i = 0; i < TRACE_COUNT; i++) {
        if (!strcmp(events[i].name, pattern)) {
            return true;
        }
        text_match_name(&match, events[i].name);
    }
    return strpbrk(pattern, "*?") || error_set(err, "no trace event '%s'%s", pattern, text_did_you_mean(&match, hint));
}

bool trace_set(Log *log, const char *pattern, bool on, Error *err)
{
    bool found = false;
    if (!trace_check(pattern, err)) {
        return false;
    }
    for (int i = 0; i < TRACE_COUNT; i++) {
        if (trace_matches(pattern, (TraceId)i)) {
            trace_switch(log, (TraceId)i, on);
            found = true;
        }
    }
    return found || error_set(err, "no trace event matches '%s'", pattern);
}

bool trace_read_file(Log *log, const char *path, Error *err)
{
    size_t           len;
    unsigned         line_number = 0;
    g_autofree char *text        = file_read(path, &len, err);
    if (!text) {
        return false;
    }
    if (strlen(text) != len) {
        return error_set(err, "'%s' is no text", path);
    }
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        bool off = false;
        line_number++;
        (*line)[strcspn(*line, "#")] = '\0';
        char *pattern                = g_strstrip(*line);
        if (*pattern == '-') {
            off = true;
            pattern++;
        }
        if (*pattern && !trace_set(log, pattern, !off, err)) {
            return error_prefix(err, "%s:%u: ", path, line_number);
        }
    }
    return true;
}

void trace_print_help(GString *out)
{
    for (int i = 0; i < TRACE_COUNT; i++) {
        g_string_append_printf(out, "%-27s %s\n", events[i].name, events[i].help);
    }
}
