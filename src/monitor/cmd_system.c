/* Commands about power, watchdogs and what guest events lead to; and parts of the surface that are empty here. */

#include "devices/timer/mc146818rtc.h"
#include "monitor/command.h"

#include <string.h>

/* --- set-action --- */

static const char *const reboot_names[]   = { "reset", "shutdown", NULL };
static const char *const shutdown_names[] = { "poweroff", "pause", NULL };
static const char *const panic_names[]    = { "pause", "shutdown", "exit-failure", "none", NULL };
static const char *const watchdog_names[] = { "reset", "shutdown", "poweroff",   "pause",
                                              "debug", "none",     "inject-nmi", NULL };

typedef struct ActionArgs {
    int  reboot, shutdown, panic, watchdog;
    bool has_reboot, has_shutdown, has_panic, has_watchdog;
} ActionArgs;

#define ACTION(member, text)                                                                                           \
    FIELD(ActionArgs, member, #member, .names = member##_names, .has_offset = 1 + offsetof(ActionArgs, has_##member),  \
          .help = text)

static const Field action_args[] = { ACTION(reboot, "guest reboots"),
                                     ACTION(shutdown, "guest powers off"),
                                     ACTION(panic, "guest panics"),
                                     ACTION(watchdog, "a watchdog fires"),
                                     {} };

static bool set_action(Monitor *mon, void *args, Json **result, Error *err)
{
    const ActionArgs *a = args;
    MachineConfig    *c = &mon->machine->config;
    c->reboot_action    = a->has_reboot ? (RebootAction)a->reboot : c->reboot_action;
    c->shutdown_action  = a->has_shutdown ? (ShutdownAction)a->shutdown : c->shutdown_action;
    c->panic_action     = a->has_panic ? (PanicAction)a->panic : c->panic_action;
    c->watchdog_action  = a->has_watchdog ? (WatchdogAction)a->watchdog : c->watchdog_action;
    return true;
}

typedef struct WatchdogArgs {
    int action;
} WatchdogArgs;

static const Field watchdog_args[] = {
    FIELD(WatchdogArgs, action, "action", .names = watchdog_names, .required = true, .help = "a watchdog fires"),
    {},
};

static bool watchdog_set_action(Monitor *mon, void *args, Json **result, Error *err)
{
    mon->machine->config.watchdog_action = (WatchdogAction)((WatchdogArgs *)args)->action;
    return true;
}

/* --- power and NMI --- */

static bool system_wakeup(Monitor *mon, void *args, Json **result, Error *err)
{
    Platform *p = &mon->machine->platform;
    if (!p->can_sleep || !p->can_sleep(p->power_button)) {
        return error_set(err, "waking up: this machine cannot sleep (ACPI S3), so there is nothing to wake it from");
    }
    if (!mon->machine->asleep) {
        return error_set(err, "the machine does not sleep");
    }
    platform_wake(p, WAKE_OTHER);
    return true;
}

static bool inject_nmi(Monitor *mon, void *args, Json **result, Error *err)
{
    if (!mon->machine->cpus->len) {
        return error_set(err, "there is no vCPU to take an NMI");
    }
    mon->machine->platform.raise_nmi(&mon->machine->platform);
    return true;
}

/* --- the RTC --- */

static void forget_lost_ticks(Device *dev, void *opaque)
{
    rtc_forget_lost_ticks(dev);
}

static bool rtc_reset_reinjection(Monitor *mon, void *args, Json **result, Error *err)
{
    devices_foreach(&mon->machine->platform, forget_lost_ticks, NULL);
    return true;
}

/* --- TPMs: none --- */

static const char *const tpm_models[]  = { "tpm-tis", "tpm-crb", "tpm-spapr", NULL };
static const char *const tpm_types[]   = { "passthrough", "emulator", NULL };
static const Field       tpm_model     = QMP_ENUM("", tpm_models);
static const Field       tpm_type      = QMP_ENUM("", tpm_types);
static const Field       tpm_options[] = { QMP_ENUM("type", tpm_types), QMP_ANY("data"), {} };
static const Field       tpm_info[]    = {
             QMP_STRING("id"), QMP_ENUM("model", tpm_models), QMP_OBJECT("options", tpm_options), {}
};
static const Field tpm_result    = QMP_LIST("", tpm_info);
static const Field models_result = QMP_LIST_OF("", &tpm_model);
static const Field types_result  = QMP_LIST_OF("", &tpm_type);

static bool query_none(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    return true;
}

/* --- the VM generation ID: there is no such device yet --- */

static const Field guid_info[] = { QMP_STRING("guid"), {} };
static const Field guid_result = QMP_OBJECT("", guid_info);

static bool query_generation_id(Monitor *mon, void *args, Json **result, Error *err)
{
    return error_set(err, "VM Generation ID device not found");
}

MONITOR_COMMANDS(system) = {
    { .name      = "set-action",
      .args      = action_args,
      .args_size = sizeof(ActionArgs),
      .flags     = COMMAND_PRECONFIG,
      .help      = "what to do when the guest reboots, powers off, panics",
      .run       = set_action },
    { .name      = "watchdog-set-action",
      .args      = watchdog_args,
      .args_size = sizeof(WatchdogArgs),
      .help      = "what to do when a watchdog fires",
      .run       = watchdog_set_action },
    { .name = "system_wakeup", .help = "ends the guest's sleep", .run = system_wakeup },
    { .name = "inject-nmi", .help = "raises an NMI on all vCPUs", .run = inject_nmi },
    { .name = "rtc-reset-reinjection",
      .help = "forgets ticks of the RTC that were to be made up for",
      .run  = rtc_reset_reinjection },
    { .name   = "query-vm-generation-id",
      .result = &guid_result,
      .help   = "the VM generation ID",
      .run    = query_generation_id },
    { .name = "query-tpm", .result = &tpm_result, .help = "TPMs: none", .run = query_none },
    { .name = "query-tpm-models", .result = &models_result, .help = "models of TPMs: none", .run = query_none },
    { .name = "query-tpm-types", .result = &types_result, .help = "back ends of TPMs: none", .run = query_none },
    {},
};

/* --- events --- */

static const char *const panic_actions[] = { "pause", "poweroff", "run", NULL };
static const Field       panic_data[]    = { QMP_ENUM("action", panic_actions), {} };
static const Field       watchdog_data[] = { QMP_ENUM("action", watchdog_names), {} };
static const Field       rtc_data[]      = { QMP_INT("offset"), QMP_STRING("qom-path"), {} };

MONITOR_EVENTS(system) = {
    { .name = "GUEST_PANICKED", .data = panic_data },
    { .name = "GUEST_CRASHLOADED", .data = panic_data },
    { .name = "GUEST_PVSHUTDOWN" },
    { .name = "WATCHDOG", .data = watchdog_data, .limited = true },
    { .name = "RTC_CHANGE", .data = rtc_data, .limited = true },
    {},
};
