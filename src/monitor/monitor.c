/* Monitors: connecting sessions to character devices. Main loop, or machine lock held. */

#include "monitor/monitor.h"

#include "monitor/dumping.h"
#include "monitor/events.h"
#include "monitor/hmp.h"
#include "monitor/qmp.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

enum {
    READ_BYTES    = 4096,
    PENDING_LIMIT = 16 * 1024 * 1024, /* so much output waits: what comes on top is dropped */
};

struct Monitors {
    Machine     *machine;
    CompatPolicy policy;
    GPtrArray   *list; /* Monitor *, owned */
    Events      *events;
    Dumping     *dumping;
    bool         started, preconfig;
};

static const char *const mode_names[]   = { "readline", "control", NULL };
static const char *const input_names[]  = { "accept", "reject", "crash", NULL };
static const char *const output_names[] = { "accept", "hide", NULL };

const Field monitor_options[] = {
    FIELD(MonitorOptions, chardev, "chardev", .required = true, .help = "id of the chardev it is on"),
    FIELD(MonitorOptions, mode, "mode", .names = mode_names, .help = "for people (readline) or programs (control)"),
    FIELD(MonitorOptions, pretty, "pretty", .has_offset = 1 + offsetof(MonitorOptions, has_pretty),
          .help = "indents JSON"),
    FIELD(MonitorOptions, id, "id", .help = "a name for -set"),
    {},
};

const Field compat_options[] = {
    FIELD(CompatPolicy, deprecated_input, "deprecated-input", .names = input_names,
          .help = "deprecated commands and arguments"),
    FIELD(CompatPolicy, deprecated_output, "deprecated-output", .names = output_names,
          .help = "deprecated results and events"),
    FIELD(CompatPolicy, unstable_input, "unstable-input", .names = input_names,
          .help = "unstable commands and arguments"),
    FIELD(CompatPolicy, unstable_output, "unstable-output", .names = output_names,
          .help = "unstable results and events"),
    {},
};

/* --- output --- */

void monitor_write(Monitor *mon, const char *text, size_t len)
{
    if (mon->captured) {
        g_string_append_len(mon->captured, text, (gssize)len);
    } else if (mon->out.waiting->len < PENDING_LIMIT) {
        char_output_append(&mon->out, text, len);
    } else if (!mon->stuck) {
        mon->stuck = true;
        warn_report("monitor on chardev '%s': nobody reads what it says; the rest is dropped", mon->fe.chr->id);
    }
}

void monitor_print(Monitor *mon, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    monitor_write(mon, text, strlen(text));
}

/* --- the chardev's side --- */

static size_t can_read(void *opaque)
{
    Monitor *mon = opaque;
    if (!mon->all->started || mon->unread->len || char_output_is_full(&mon->out)) {
        return 0;
    }
    return mon->qmp ? READ_BYTES : hmp_session_can_read(mon->hmp);
}

static void take(void *opaque, const uint8_t *buf, size_t len)
{
    Monitor *mon  = opaque;
    size_t   done = 0;
    if (!mon->all->started) {
        done = 0;
    } else if (mon->qmp) {
        done = qmp_session_read(mon->qmp, buf, len);
    } else {
        hmp_session_read(mon->hmp, buf, len);
        done = len;
    }
    g_byte_array_append(mon->unread, buf + done, (guint)(len - done));
}

static void take_unread(Monitor *mon)
{
    if (mon->unread->len) {
        g_autoptr(GByteArray) bytes = mon->unread;
        mon->unread                 = g_byte_array_new();
        take(mon, bytes->data, bytes->len);
    }
}

static void came_or_went(Monitor *mon, bool came)
{
    char_output_drop(&mon->out);
    g_byte_array_set_size(mon->unread, 0);
    mon->stuck = false;
    if (mon->qmp) {
        (came ? qmp_session_opened : qmp_session_closed)(mon->qmp);
    } else {
        (came ? hmp_session_opened : hmp_session_closed)(mon->hmp);
    }
}

static void heard(void *opaque, CharEvent event)
{
    Monitor *mon = opaque;
    if (event == CHAR_OPENED || event == CHAR_CLOSED) {
        came_or_went(mon, event == CHAR_OPENED);
    } else if (mon->hmp && (event == CHAR_MUX_IN || event == CHAR_MUX_OUT)) {
        hmp_session_focused(mon->hmp, event == CHAR_MUX_IN);
    }
}

static void writable(void *opaque)
{
    char_output_flush(&((Monitor *)opaque)->out);
}

bool monitor_on_mux(const Monitor *mon)
{
    return mon->fe.chr && char_is_mux(mon->fe.chr);
}

/* --- life --- */

static void close_fd(gpointer fd)
{
    close(GPOINTER_TO_INT(fd));
}

static Monitor *make(Monitors *all, MonitorMode mode)
{
    Monitor *mon = g_new0(Monitor, 1);
    mon->all     = all;
    mon->machine = all->machine;
    mon->mode    = mode;
    mon->unread  = g_byte_array_new();
    mon->fds     = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, close_fd);
    mon->fe      = (CharFrontend){
             .stays = true, .opaque = mon, .can_read = can_read, .read = take, .event = heard, .writable = writable
    };
    char_output_init(&mon->out, &mon->fe);
    return mon;
}

static void free_monitor(gpointer data)
{
    Monitor *mon = data;
    char_detach(&mon->fe);
    qmp_session_free(mon->qmp);
    hmp_session_free(mon->hmp);
    g_hash_table_unref(mon->fds);
    char_output_clear(&mon->out);
    g_byte_array_unref(mon->unread);
    g_free(mon);
}

Monitors *monitors_new(Machine *m, const CompatPolicy *policy)
{
    Monitors *all = g_new0(Monitors, 1);
    all->machine  = m;
    all->policy   = *policy;
    all->list     = g_ptr_array_new_with_free_func(free_monitor);
    all->events   = events_new(all);
    all->dumping  = dumping_new(all);
    return all;
}

void monitors_free(Monitors *all)
{
    if (all) {
        dumping_free(all->dumping);
        events_free(all->events);
        g_ptr_array_unref(all->list);
        g_free(all);
    }
}

bool monitors_add(Monitors *all, Chardev *chr, const MonitorOptions *options, Error *err)
{
    Monitor *mon = make(all, (MonitorMode)options->mode);
    mon->pretty  = options->pretty;
    if (options->has_pretty && mon->mode == MONITOR_READLINE) {
        free_monitor(mon);
        return error_set(err, "pretty= is for mode=control only");
    }
    if (mon->mode == MONITOR_CONTROL) {
        mon->qmp = qmp_session_new(mon);
    } else {
        mon->hmp = hmp_session_new(mon);
    }
    if (!char_attach(&mon->fe, chr, err)) {
        free_monitor(mon);
        return false;
    }
    g_ptr_array_add(all->list, mon);
    return true;
}

void monitors_start(Monitors *all)
{
    all->started = true;
    for (guint i = 0; i < all->list->len; i++) {
        Monitor *mon = all->list->pdata[i];
        take_unread(mon);
        char_accept_input(&mon->fe);
    }
}

void monitors_hold(Monitors *all)
{
    all->started = false;
}

bool monitors_started(const Monitors *all)
{
    return all->started;
}

void monitors_set_preconfig(Monitors *all, bool on)
{
    all->preconfig = on;
}

bool monitors_preconfig(const Monitors *all)
{
    return all->preconfig;
}

const CompatPolicy *monitors_policy(const Monitors *all)
{
    return &all->policy;
}

Dumping *monitors_dumping(Monitors *all)
{
    return all->dumping;
}

Machine *monitors_machine(Monitors *all)
{
    return all->machine;
}

void monitors_foreach(Monitors *all, void (*visit)(Monitor *mon, void *opaque), void *opaque)
{
    for (guint i = 0; i < all->list->len; i++) {
        visit(all->list->pdata[i], opaque);
    }
}

void monitors_emit(Monitors *all, const char *event, Json *data)
{
    events_emit(all->events, event, data);
}

Monitor *monitor_new_captured(Monitors *all)
{
    Monitor *mon  = make(all, MONITOR_READLINE);
    mon->captured = g_string_new(NULL);
    return mon;
}

char *monitor_free_captured(Monitor *mon)
{
    char *text = g_string_free(mon->captured, false);
    free_monitor(mon);
    return text;
}
