/* HMP: run control, and what else acts on the machine as a whole. */

#include "base/trace.h"
#include "cpu/x86/mce.h"
#include "debug/gdbstub.h"
#include "devices/timer/mc146818rtc.h"
#include "monitor/hmp_command.h"

#include <inttypes.h>
#include <string.h>

/* --- QMP's commands by other names --- */

static bool cmd_quit(Hmp *h, Error *err)
{
    return hmp_do(h, "quit", NULL, err);
}

static bool cmd_stop(Hmp *h, Error *err)
{
    return hmp_do(h, "stop", NULL, err);
}

static bool cmd_cont(Hmp *h, Error *err)
{
    return hmp_do(h, "cont", NULL, err);
}

static bool cmd_reset(Hmp *h, Error *err)
{
    return hmp_do(h, "system_reset", NULL, err);
}

static bool cmd_powerdown(Hmp *h, Error *err)
{
    return hmp_do(h, "system_powerdown", NULL, err);
}

static bool cmd_wakeup(Hmp *h, Error *err)
{
    return hmp_do(h, "system_wakeup", NULL, err);
}

static bool cmd_nmi(Hmp *h, Error *err)
{
    return hmp_do(h, "inject-nmi", NULL, err);
}

static bool cmd_exit_preconfig(Hmp *h, Error *err)
{
    if (!monitors_preconfig(h->mon->all)) {
        return error_set(err, "the machine is made already");
    }
    return hmp_do(h, "x-exit-preconfig", NULL, err);
}

static bool cmd_watchdog_action(Hmp *h, Error *err)
{
    Json *args = json_new_object();
    json_set(args, "action", json_new_string(hmp_text(h, "action")));
    return hmp_do(h, "watchdog-set-action", args, err);
}

/* --- the current vCPU --- */

static bool cmd_cpu(Hmp *h, Error *err)
{
    int64_t index = hmp_number(h, "index");
    if (!hmp_cpu(h, err)) {
        return false;
    }
    if (!machine_cpu(h->machine, index)) {
        hmp_print(h, "invalid CPU index\n");
        return true;
    }
    h->mon->cpu_index = (unsigned)index;
    return true;
}

/* --- machine checks --- */

static bool cmd_mce(Hmp *h, Error *err)
{
    static const char *const outcomes[] = {
        [X86_MCE_DISABLED]  = "the guest has switched reporting of this bank off: nothing has happened",
        [X86_MCE_POSTPONED] = "another machine check is being handled: nothing has happened",
        [X86_MCE_SHUTDOWN]  = "it cannot be reported: the processor shuts down",
    };
    int64_t       index   = hmp_number(h, "cpu_index");
    X86MceOutcome outcome = X86_MCE_LOGGED;
    X86MceError   e       = { .bank          = (unsigned)hmp_number(h, "bank"),
                              .status        = (uint64_t)hmp_number(h, "status"),
                              .mcg_status    = (uint64_t)hmp_number(h, "mcg_status"),
                              .addr          = (uint64_t)hmp_number(h, "addr"),
                              .misc          = (uint64_t)hmp_number(h, "misc"),
                              .broadcast     = hmp_given(h, "broadcast"),
                              .unconditional = true };
    if (!hmp_cpu(h, err)) {
        return false;
    }
    if (strcmp(accel_type(h->machine->accel)->name, "tcg") != 0) {
        return error_set_unsupported(err, "mce with the accelerator '%s'", accel_type(h->machine->accel)->name);
    }
    X86Cpu *cpu = machine_cpu(h->machine, index);
    if (!cpu) {
        return error_set(err, "there is no vCPU %" PRId64, index);
    }
    if (!x86_mce_inject(cpu, &e, &outcome, err)) {
        return false;
    }
    if (outcome < G_N_ELEMENTS(outcomes) && outcomes[outcome]) {
        hmp_print(h, "CPU %" PRId64 ": %s\n", index, outcomes[outcome]);
    }
    return true;
}

/* --- what firmware boots from --- */

static void find_rtc(Device *dev, void *opaque)
{
    if (strcmp(dev->obj.type->name, "mc146818rtc") == 0) {
        *(Rtc **)opaque = (Rtc *)dev;
    }
}

static bool cmd_boot_set(Hmp *h, Error *err)
{
    const char *devices = hmp_text(h, "bootdevice");
    BootConfig *boot    = &h->machine->config.boot;
    Rtc        *rtc     = NULL;
    uint8_t     first_two, third;
    if (!boot_order_cmos(devices, &first_two, &third, err)) {
        return false;
    }
    devices_foreach(&h->machine->platform, find_rtc, &rtc);
    if (!rtc) {
        return error_set(err, "this machine has no CMOS memory to hold the boot order");
    }
    rtc_set_cmos(rtc, CMOS_BOOT_12, first_two);
    rtc_set_cmos(rtc, CMOS_BOOT_3, (uint8_t)(third | (rtc_get_cmos(rtc, CMOS_BOOT_3) & 15)));
    /* Not what the second start would go back to. */
    g_clear_pointer(&boot->once, g_free);
    g_free(boot->order);
    boot->order = g_strdup(devices);
    hmp_print(h, "boot device list now set to %s\n", devices);
    return true;
}

/* --- logs --- */

/* What only the software that runs each instruction knows, and what units must have been made for. */
enum {
    LOG_OF_INSTRUCTIONS = LOG_IN_ASM | LOG_INT | LOG_MMU | LOG_EXEC | LOG_CPU | LOG_OP | LOG_OUT_ASM | LOG_JIT,
    LOG_FROM_START      = LOG_EXEC | LOG_CPU | LOG_NOCHAIN,
};

static bool print_log_help(Hmp *h)
{
    char  *text = NULL;
    size_t size = 0;
    FILE  *to   = open_memstream(&text, &size);
    if (!to) {
        return false;
    }
    log_print_help(to);
    fclose(to);
    g_string_append_len(h->out, text, (gssize)size);
    free(text);
    hmp_print(h, "%-15s %s\n", "none", "none of them");
    return true;
}

static bool cmd_log(Hmp *h, Error *err)
{
    const char *items = hmp_text(h, "items");
    Log        *log   = h->machine->platform.log;
    Log         want  = { 0 };
    if (!strcmp(items, "help") || !strcmp(items, "?")) {
        return print_log_help(h);
    }
    if (strcmp(items, "none") != 0 && !log_parse_items(&want, items, err)) {
        return false;
    }
    uint32_t more = want.items & ~log->items;
    if (more & LOG_FROM_START) {
        return error_set(err, "exec, cpu and nochain begin when the machine starts: give them with -d");
    }
    if (more & LOG_OF_INSTRUCTIONS && strcmp(accel_type(h->machine->accel)->name, "tcg") != 0) {
        return error_set(err, "with the accelerator '%s' only cpu_reset, guest_errors and unimp are logged",
                         accel_type(h->machine->accel)->name);
    }
    HmpPause pause = hmp_pause(h->machine);
    log->items     = want.items;
    for (int i = 0; i < TRACE_COUNT; i++) {
        if (trace_on(&want, (TraceId)i)) {
            trace_switch(log, (TraceId)i, true);
        }
    }
    hmp_unpause(h->machine, pause);
    return true;
}

static bool cmd_logfile(Hmp *h, Error *err)
{
    HmpPause pause = hmp_pause(h->machine);
    bool     ok    = log_open_file(h->machine->platform.log, hmp_text(h, "filename"), err);
    hmp_unpause(h->machine, pause);
    return ok;
}

static bool cmd_sync_profile(Hmp *h, Error *err)
{
    if (!hmp_given(h, "op")) {
        hmp_print(h, "sync-profile is off\n");
        return true;
    }
    return !strcmp(hmp_text(h, "op"), "off") || error_set_unsupported(err, "sync-profile %s", hmp_text(h, "op"));
}

/* --- gdb --- */

static bool cmd_gdbserver(Hmp *h, Error *err)
{
    const char *text = hmp_given(h, "device") ? hmp_text(h, "device") : "tcp::1234";
    Machine    *m    = h->machine;
    if (m->gdb) {
        gdb_stub_free(m->gdb);
        m->gdb                = NULL;
        g_auto(Error) ignored = { 0 };
        char_remove(m->chars, "gdb", &ignored); /* it stays when it is the user's own */
    }
    if (strcmp(text, "none") == 0) {
        hmp_print(h, "Disabled gdbserver\n");
        return true;
    }
    bool             with_monitor = false;
    g_autofree char *device       = gdb_stub_device(text);
    Chardev         *chr          = char_create_short(m->chars, "gdb", device, &with_monitor, err);
    m->gdb                        = chr ? gdb_stub_new(m, chr, err) : NULL;
    if (!m->gdb) {
        if (!error_is_set(err)) {
            error_set(err, "no device is given");
        }
        return error_prefix(err, "Could not open gdbserver on device '%s': ", text);
    }
    hmp_print(h, "Waiting for gdb connection on device '%s'\n", text);
    return true;
}

static bool cmd_one_insn(Hmp *h, Error *err)
{
    const char *accel = accel_type(h->machine->accel)->name;
    if (strcmp(accel, "tcg") != 0) {
        return error_set(err, "one-insn-per-tb is a property of the accelerator tcg; this machine runs on '%s'", accel);
    }
    g_autoptr(Json) want = json_new_bool(!hmp_given(h, "option") || hmp_number(h, "option"));
    return object_set(&h->machine->accel->obj, "one-insn-per-tb", want, false, err);
}

static const char *const watchdog_choices[] = { "reset", "shutdown", "poweroff",   "pause",
                                                "debug", "none",     "inject-nmi", NULL };
static const char *const profile_choices[]  = { "on", "off", "reset", NULL };

HMP_COMMANDS(run) = {
    { .name = "quit|q", .help = "ends the emulator", .preconfig = true, .run = cmd_quit },
    { .name = "stop|s", .help = "pauses the guest", .run = cmd_stop },
    { .name = "cont|c", .help = "has the guest go on", .run = cmd_cont },
    { .name = "system_reset", .help = "resets the machine", .run = cmd_reset },
    { .name = "system_powerdown", .help = "presses the power button", .run = cmd_powerdown },
    { .name = "system_wakeup", .help = "wakes the guest up from suspend", .run = cmd_wakeup },
    { .name = "nmi", .help = "sends an NMI to the guest", .run = cmd_nmi },
    { .name      = "exit_preconfig",
      .help      = "makes the machine, after --preconfig",
      .preconfig = true,
      .run       = cmd_exit_preconfig },
    { .name   = "watchdog_action",
      .params = "[reset|shutdown|poweroff|pause|debug|none|inject-nmi]",
      .help   = "what happens when a watchdog expires",
      .args   = { { "action", HMP_STRING, .words = HMP_WORDS_CHOICES, .choices = watchdog_choices } },
      .run    = cmd_watchdog_action },
    { .name   = "cpu",
      .params = "index",
      .help   = "makes a vCPU the current one of this monitor",
      .args   = { { "index", HMP_INT32, .words = HMP_WORDS_CPUS } },
      .run    = cmd_cpu },
    { .name   = "mce",
      .params = "[-b] cpu bank status mcgstatus addr misc",
      .help   = "has a machine-check error happen on a vCPU; -b: #MC for all others as well",
      .args   = { { "broadcast", HMP_FLAG, .letter = 'b' },
                  { "cpu_index", HMP_INT32, .words = HMP_WORDS_CPUS },
                  { "bank", HMP_INT32 },
                  { "status", HMP_INT64 },
                  { "mcg_status", HMP_INT64 },
                  { "addr", HMP_INT64 },
                  { "misc", HMP_INT64 } },
      .run    = cmd_mce },
    { .name   = "boot_set",
      .params = "bootdevice",
      .help   = "what firmware boots from next time: letters as -boot has them",
      .args   = { { "bootdevice", HMP_STRING } },
      .run    = cmd_boot_set },
    { .name      = "log",
      .params    = "item1[,...]",
      .help      = "what is logged from now on, as -d; \"log help\" lists the items, \"log none\" ends it",
      .args      = { { "items", HMP_STRING, .words = HMP_WORDS_LOG_ITEMS } },
      .run       = cmd_log,
      .more_help = print_log_help },
    { .name   = "logfile",
      .params = "filename",
      .help   = "where the log goes from now on",
      .args   = { { "filename", HMP_FILE } },
      .run    = cmd_logfile },
    { .name   = "sync-profile",
      .params = "[on|off|reset]",
      .help   = "is the waiting for locks measured? (it cannot be yet)",
      .args   = { { "op", HMP_STRING, .optional = true, .words = HMP_WORDS_CHOICES, .choices = profile_choices } },
      .run    = cmd_sync_profile },
    { .name   = "gdbserver",
      .params = "[device]",
      .help   = "waits for gdb on a chardev, as -gdb (tcp::1234 by itself); none ends that",
      .args   = { { "device", HMP_STRING, .optional = true } },
      .run    = cmd_gdbserver },
    { .name   = "one-insn-per-tb",
      .params = "[on|off]",
      .help   = "runs each guest instruction by itself, for logs, or not",
      .args   = { { "option", HMP_ON_OFF, .optional = true } },
      .run    = cmd_one_insn },
    {},
};
