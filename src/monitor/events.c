/* QMP events: delivery, rate limits, and what the machine itself tells. Machine lock held.
 * Specification: QEMU 9.1 QMP reference, and "QEMU Machine Protocol Specification", asynchronous events. */

#include "monitor/events.h"

#include "base/trace.h"
#include "monitor/command.h"
#include "monitor/qmp.h"

#include <string.h>

/* One kind of event (with one key) during the second after it was sent. */
typedef struct Limit {
    Events *events;
    char   *id;   /* name and key */
    Json   *held; /* the last one that came too early; NULL: none */
    Timer   timer;
} Limit;

struct Events {
    Monitors        *all;
    Machine         *machine;
    GHashTable      *limits; /* Limit, by id */
    RunStateListener run_state;
    RunState         state;
};

/* --- delivery --- */

static void deliver_to(Monitor *mon, void *event)
{
    if (mon->qmp) {
        qmp_session_event(mon->qmp, event);
    }
}

static void deliver(Events *e, const Json *event)
{
    monitors_foreach(e->all, deliver_to, (void *)event);
}

static Json *make_event(const char *name, Json *data)
{
    gint64 now   = g_get_real_time();
    Json  *event = json_new_object();
    Json  *stamp = json_add(event, "timestamp", json_new_object());
    json_add(stamp, "seconds", json_new_int(now / G_USEC_PER_SEC));
    json_add(stamp, "microseconds", json_new_int(now % G_USEC_PER_SEC));
    json_add(event, "event", json_new_string(name));
    if (data) {
        json_add(event, "data", data);
    }
    return event;
}

/* --- limits --- */

static void free_limit(gpointer data)
{
    Limit *l = data;
    timer_cancel(&l->timer);
    json_free(l->held);
    g_free(l->id);
    g_free(l);
}

static void limit_over(void *opaque)
{
    Limit *l = opaque;
    if (!l->held) {
        g_hash_table_remove(l->events->limits, l->id);
        return;
    }
    g_autoptr(Json) event = g_steal_pointer(&l->held);
    timer_set(&l->timer, clock_now(l->timer.clocks, REALTIME_CLOCK) + NS_PER_SECOND);
    deliver(l->events, event);
}

/* Takes the event when it comes too early. */
static bool hold_back(Events *e, const MonitorEvent *type, Json *event)
{
    const Json      *data  = json_get(event, "data");
    const char      *value = type->key && data ? json_get_string(data, type->key) : NULL;
    g_autofree char *id    = g_strconcat(type->name, " ", value ? value : "", NULL);
    Limit           *l     = g_hash_table_lookup(e->limits, id);
    if (l) {
        json_free(l->held);
        l->held = event;
        return true;
    }
    l         = g_new0(Limit, 1);
    l->events = e;
    l->id     = g_steal_pointer(&id);
    timer_init(&l->timer, e->machine->platform.clocks, REALTIME_CLOCK, limit_over, l);
    timer_set(&l->timer, clock_now(e->machine->platform.clocks, REALTIME_CLOCK) + NS_PER_SECOND);
    g_hash_table_insert(e->limits, l->id, l);
    return false;
}

void events_emit(Events *e, const char *name, Json *data)
{
    const MonitorEvent *type   = monitor_event_find(name);
    const CompatPolicy *policy = monitors_policy(e->all);
    g_assert(type);
    trace(e->machine->platform.log, TRACE_QMP_EVENT, "%s", name);
    if ((type->flags & COMMAND_DEPRECATED && policy->deprecated_output) ||
        (type->flags & COMMAND_UNSTABLE && policy->unstable_output)) {
        json_free(data);
        return;
    }
    Json *event = make_event(name, data);
    if (type->limited && hold_back(e, type, event)) {
        return;
    }
    deliver(e, event);
    json_free(event);
}

/* --- what the machine tells --- */

static void platform_event(Platform *p, const char *name, Json *data)
{
    events_emit(p->event_opaque, name, data);
}

/* Nobody holds it: it runs, or sleeps by itself. */
static bool is_live(RunState state)
{
    return state == RUN_STATE_RUNNING || state == RUN_STATE_SUSPENDED;
}

static void state_changed(RunStateListener *self, RunState state)
{
    Events  *e      = (Events *)((char *)self - offsetof(Events, run_state));
    RunState before = e->state;
    bool     was = is_live(before), is = is_live(state);
    e->state = state;
    if (e->machine->exit_requested) {
        return;
    }
    if (was != is) {
        events_emit(e, is ? "RESUME" : "STOP", NULL);
    } else if (is && before != state) {
        events_emit(e, state == RUN_STATE_SUSPENDED ? "SUSPEND" : "WAKEUP", NULL);
    }
}

Events *events_new(Monitors *all)
{
    Events *e            = g_new0(Events, 1);
    e->all               = all;
    e->machine           = monitors_machine(all);
    e->limits            = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_limit);
    e->state             = e->machine->state;
    e->run_state.changed = state_changed;
    machine_add_state_listener(e->machine, &e->run_state);
    e->machine->platform.emit_event   = platform_event;
    e->machine->platform.event_opaque = e;
    return e;
}

void events_free(Events *e)
{
    machine_remove_state_listener(e->machine, &e->run_state);
    e->machine->platform.emit_event = NULL;
    g_hash_table_unref(e->limits);
    g_free(e);
}
