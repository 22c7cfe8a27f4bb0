/* Trace events at run time: QMP's trace-event-get-state and -set-state, HMP's trace-event and "info trace-events". */

#include "base/trace.h"
#include "monitor/command.h"
#include "monitor/hmp_command.h"

typedef struct TraceArgs {
    char   *name;
    bool    enable, ignore_unavailable, has_vcpu;
    int64_t vcpu;
} TraceArgs;

#define TRACE_NAME FIELD(TraceArgs, name, "name", .required = true, .help = "of events, with * and ?")
#define TRACE_VCPU                                                                                                     \
    FIELD(TraceArgs, vcpu, "vcpu", .has_offset = 1 + offsetof(TraceArgs, has_vcpu), .help = "only for this vCPU")

static const Field trace_get_args[] = { TRACE_NAME, TRACE_VCPU, {} };
static const Field trace_set_args[] = {
    TRACE_NAME,
    FIELD(TraceArgs, enable, "enable", .required = true, .help = "on or off"),
    FIELD(TraceArgs, ignore_unavailable, "ignore-unavailable", .help = "leave out those that are not built in"),
    TRACE_VCPU,
    {},
};
static const MemberFeature trace_features[] = { { "vcpu", "deprecated" }, {} };
static const char *const   trace_states[]   = { "unavailable", "disabled", "enabled", NULL };
static const Field         trace_info[] = { QMP_STRING("name"), QMP_ENUM("state", trace_states), QMP_BOOL("vcpu"), {} };
static const Field         trace_result = QMP_LIST("", trace_info);

static bool check(const TraceArgs *a, Error *err)
{
    if (a->has_vcpu) {
        return error_set(err, "no trace event is one of each vCPU: leave 'vcpu' out");
    }
    return trace_check(a->name, err);
}

static bool trace_event_get_state(Monitor *mon, void *args, Json **result, Error *err)
{
    const TraceArgs *a   = args;
    const Log       *log = mon->machine->platform.log;
    *result              = json_new_list();
    if (!check(a, err)) {
        return false;
    }
    for (int i = 0; i < TRACE_COUNT; i++) {
        if (trace_matches(a->name, (TraceId)i)) {
            Json *info = json_new_object();
            json_add(info, "name", json_new_string(trace_name((TraceId)i)));
            json_add(info, "state", json_new_string(trace_states[trace_on(log, (TraceId)i) ? 2 : 1]));
            json_add(info, "vcpu", json_new_bool(false));
            json_append(*result, info);
        }
    }
    return true;
}

static bool trace_event_set_state(Monitor *mon, void *args, Json **result, Error *err)
{
    const TraceArgs *a = args;
    if (!check(a, err)) {
        return false;
    }
    for (int i = 0; i < TRACE_COUNT; i++) { /* that none matches a pattern is no error here */
        if (trace_matches(a->name, (TraceId)i)) {
            trace_switch(mon->machine->platform.log, (TraceId)i, a->enable);
        }
    }
    return true;
}

MONITOR_COMMANDS(trace) = {
    { .name            = "trace-event-get-state",
      .args            = trace_get_args,
      .args_size       = sizeof(TraceArgs),
      .result          = &trace_result,
      .member_features = trace_features,
      .help            = "which trace events are on",
      .run             = trace_event_get_state },
    { .name            = "trace-event-set-state",
      .args            = trace_set_args,
      .args_size       = sizeof(TraceArgs),
      .member_features = trace_features,
      .help            = "switches trace events",
      .run             = trace_event_set_state },
    {},
};

/* --- HMP --- */

static Json *arguments(const Hmp *h)
{
    Json *args = json_new_object();
    json_set(args, "name", json_new_string(hmp_given(h, "name") ? hmp_text(h, "name") : "*"));
    if (hmp_given(h, "vcpu")) {
        json_set(args, "vcpu", json_new_int(hmp_number(h, "vcpu")));
    }
    return args;
}

static bool cmd_trace_event(Hmp *h, Error *err)
{
    Json *args = arguments(h);
    json_set(args, "enable", json_new_bool(hmp_number(h, "option") != 0));
    return hmp_do(h, "trace-event-set-state", args, err);
}

static bool info_trace_events(Hmp *h, Error *err)
{
    g_autoptr(Json) list = hmp_qmp(h, "trace-event-get-state", arguments(h), err);
    for (size_t i = 0; list && i < list->n; i++) {
        hmp_print(h, "%s : state %d\n", json_get_string(list->items[i], "name"),
                  g_str_equal(json_get_string(list->items[i], "state"), "enabled"));
    }
    return list != NULL;
}

HMP_COMMANDS(trace) = {
    { .name   = "trace-event",
      .params = "name on|off [vcpu]",
      .help   = "switches trace events, whose lines go into the log; names with * and ?",
      .args   = { { "name", HMP_STRING }, { "option", HMP_ON_OFF }, { "vcpu", HMP_INT32, .optional = true } },
      .run    = cmd_trace_event },
    {},
};

HMP_INFO(trace) = {
    { .name   = "trace-events",
      .params = "[name] [vcpu]",
      .help   = "trace events, and which are on (state 1)",
      .args   = { { "name", HMP_STRING, .optional = true }, { "vcpu", HMP_INT32, .optional = true } },
      .run    = info_trace_events },
    {},
};
