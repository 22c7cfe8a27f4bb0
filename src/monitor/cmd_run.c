/* Commands and events of the run state: is it running, stop, go on, reset, power, quit. */

#include "machine/numa.h"
#include "monitor/command.h"

/* --- status --- */

static const Field status_info[] = { QMP_BOOL("running"), QMP_ENUM("status", run_state_names), {} };
static const Field status_result = QMP_OBJECT("", status_info);

static bool query_status(Monitor *mon, void *args, Json **result, Error *err)
{
    RunState state = mon->machine->state;
    *result        = json_new_object();
    json_add(*result, "status", json_new_string(run_state_name(state)));
    json_add(*result, "running", json_new_bool(state == RUN_STATE_RUNNING));
    return true;
}

/* --- control --- */

static bool stop(Monitor *mon, void *args, Json **result, Error *err)
{
    if (mon->machine->state == RUN_STATE_RUNNING || mon->machine->state == RUN_STATE_SUSPENDED) {
        machine_pause(mon->machine, RUN_STATE_PAUSED);
    }
    return true;
}

static bool cont(Monitor *mon, void *args, Json **result, Error *err)
{
    return machine_continue(mon->machine, err);
}

static bool system_reset(Monitor *mon, void *args, Json **result, Error *err)
{
    mon->machine->platform.request_reset(&mon->machine->platform, RESET_HOST);
    return true;
}

static bool system_powerdown(Monitor *mon, void *args, Json **result, Error *err)
{
    Platform *p = &mon->machine->platform;
    platform_emit(p, "POWERDOWN", NULL);
    if (p->press_power_button) {
        p->press_power_button(p->power_button);
    }
    return true;
}

static bool x_exit_preconfig(Monitor *mon, void *args, Json **result, Error *err)
{
    MachineConfig *c = &mon->machine->config;
    if (c->numa_open && !numa_finish(c->numa, err)) {
        return false; /* more orders can mend it */
    }
    c->numa_open = false;
    monitors_set_preconfig(mon->all, false);
    monitors_hold(mon->all); /* until the machine stands */
    return true;
}

static bool quit(Monitor *mon, void *args, Json **result, Error *err)
{
    char_hub_cancel_waits(mon->machine->chars);
    mon->machine->platform.request_shutdown(&mon->machine->platform, SHUTDOWN_HOST_QUIT, 0);
    return true;
}

MONITOR_COMMANDS(run) = {
    { .name   = "query-status",
      .result = &status_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "is it running",
      .run    = query_status },
    { .name = "stop", .help = "pauses the vCPUs", .run = stop },
    { .name = "cont", .help = "has the vCPUs go on", .run = cont },
    { .name = "system_reset", .help = "resets the machine", .run = system_reset },
    { .name = "system_powerdown", .help = "presses the power button", .run = system_powerdown },
    { .name  = "x-exit-preconfig",
      .flags = COMMAND_ONLY_PRECONFIG | COMMAND_UNSTABLE,
      .help  = "makes the machine",
      .run   = x_exit_preconfig },
    { .name = "quit", .flags = COMMAND_PRECONFIG, .help = "ends the program", .run = quit },
    {},
};

/* --- events --- */

static const Field cause_data[] = { QMP_BOOL("guest"), QMP_ENUM("reason", shutdown_cause_names), {} };

MONITOR_EVENTS(run) = {
    { .name = "STOP" },
    { .name = "RESUME" },
    { .name = "SUSPEND" },
    { .name = "SUSPEND_DISK" },
    { .name = "WAKEUP" },
    { .name = "RESET", .data = cause_data },
    { .name = "SHUTDOWN", .data = cause_data },
    { .name = "POWERDOWN" },
    {},
};
