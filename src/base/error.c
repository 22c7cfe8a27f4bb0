/* Errors as values, and messages on standard error. Any thread; the options of message_set_options are written once
 * before threads exist. */

#define QUERN_BASE_ERROR_C
#include "base/error.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct MessageOptions {
    const char *program;
    const char *guest_name;
    bool        timestamp;
} MessageOptions;

/* Standard error is the process's, and so is how its lines begin. */
static MessageOptions message_options;

/* Takes the text, and gives it or another one: errors quote what people, guests and files say, and may cut it short
 * anywhere. A line stays a line, a terminal gets no orders, and what comes out is UTF-8. */
static char *make_printable(char *text)
{
    if (!g_utf8_validate(text, -1, NULL)) {
        char *valid = g_utf8_make_valid(text, -1);
        g_free(text);
        text = valid;
    }
    for (char *p = text; *p; p++) {
        if (g_ascii_iscntrl(*p)) {
            *p = '?';
        }
    }
    return text;
}

static bool set_text(Error *err, ErrorClass kind, const char *format, va_list args)
{
    g_assert(!err->text);
    err->text = make_printable(g_strdup_vprintf(format, args));
    err->kind = kind;
    return false;
}

bool error_set(Error *err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_text(err, ERROR_GENERIC, format, args);
    va_end(args);
    return false;
}

bool error_set_class(Error *err, ErrorClass kind, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_text(err, kind, format, args);
    va_end(args);
    return false;
}

bool error_set_errno(Error *err, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    return error_set(err, "%s: %s", what, g_strerror(code));
}

bool error_set_unsupported(Error *err, const char *what, ...)
{
    va_list args;
    va_start(args, what);
    g_autofree char *name = g_strdup_vprintf(what, args);
    va_end(args);
    return error_set(err, "%s: not supported yet", name);
}

bool error_prefix(Error *err, const char *format, ...)
{
    g_assert(err->text);
    va_list args;
    va_start(args, format);
    g_autofree char *prefix = make_printable(g_strdup_vprintf(format, args));
    va_end(args);
    char *text = g_strconcat(prefix, err->text, NULL);
    g_free(err->text);
    err->text = text;
    return false;
}

bool error_move(Error *to, Error *from)
{
    g_assert(!to->text && from->text);
    *to   = *from;
    *from = (Error){ 0 };
    return false;
}

void error_clear(Error *err)
{
    g_free(err->text);
    *err = (Error){ 0 };
}

/* One write, so that lines of several threads or processes do not mix. */
static void print_message(const char *severity, const char *text)
{
    g_autoptr(GString) line = g_string_new(NULL);
    if (message_options.timestamp) {
        int64_t   now     = g_get_real_time();
        time_t    seconds = (time_t)(now / G_USEC_PER_SEC);
        struct tm tm;
        char      date[32];
        gmtime_r(&seconds, &tm);
        strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
        g_string_append_printf(line, "%s.%06dZ ", date, (int)(now % G_USEC_PER_SEC));
    }
    if (message_options.guest_name) {
        g_string_append_printf(line, "%s ", message_options.guest_name);
    }
    if (message_options.program) {
        g_string_append_printf(line, "%s: ", message_options.program);
    }
    g_string_append_printf(line, "%s%s\n", severity, text);
    fputs(line->str, stderr);
    fflush(stderr);
}

void error_report(Error *err)
{
    g_assert(err->text);
    print_message("", err->text);
    error_clear(err);
}

static void G_GNUC_PRINTF(2, 0) report(const char *severity, const char *format, va_list args)
{
    g_autofree char *text = g_strdup_vprintf(format, args);
    print_message(severity, text);
}

void warn_report(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report("warning: ", format, args);
    va_end(args);
}

void info_report(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report("info: ", format, args);
    va_end(args);
}

void message_set_options(const char *program, bool timestamp, const char *guest_name)
{
    message_options = (MessageOptions){ .program = program, .guest_name = guest_name, .timestamp = timestamp };
}
