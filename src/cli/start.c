/* From a parsed command line to a running machine: each option's part of the configuration, in the order in which
 * parts need each other. Main thread; the machine lock is held from machine_new() on. */

#include "cli/start.h"

#include "base/optstr.h"
#include "base/text.h"
#include "base/trace.h"
#include "cli/bootopts.h"
#include "cli/choose.h"
#include "cli/confine.h"
#include "cli/daemon.h"
#include "cli/disks.h"
#include "cli/mons.h"
#include "debug/gdbstub.h"
#include "debug/qtest.h"
#include "machine/cpuplug.h"
#include "machine/numa.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

/* A starting machine and what belongs to the process. */
typedef struct Start {
    const Cli *cli;
    Log        log;
    Machine   *machine;
    QTest     *qtest;
    Confine   *confine;
    Monitors  *monitors;
    GPtrArray *with_monitor; /* Chardev *: ports that "mon:" gave a monitor */
    Daemon     daemon;
    char      *pidfile; /* written by us: removed at the end */
    char      *guest_name;
} Start;

/* --- small option groups --- */

typedef struct NameOptions {
    char *guest, *process;
    bool  debug_threads;
} NameOptions;

static const Field name_options[] = {
    FIELD(NameOptions, guest, "guest", .help = "name of the guest"),
    FIELD(NameOptions, process, "process", .help = "name of the process"),
    FIELD(NameOptions, debug_threads, "debug-threads", .help = "name threads"),
    {},
};
CLI_KEYS(name_options, "name");

typedef struct MessageOptions {
    bool timestamp, guest_name;
} MessageOptions;

static const Field message_options[] = {
    FIELD(MessageOptions, timestamp, "timestamp", .help = "begin with the time"),
    FIELD(MessageOptions, guest_name, "guest-name", .help = "begin with the guest's name"),
    {},
};
CLI_KEYS(message_options, "msg");

typedef struct FdOptions {
    int64_t fd, set;
    char   *opaque;
} FdOptions;

static const Field fd_options[] = {
    FIELD(FdOptions, fd, "fd", .required = true, .min = 3, .max = INT32_MAX, .help = "inherited descriptor"),
    FIELD(FdOptions, set, "set", .required = true, .min = 0, .max = INT32_MAX, .help = "number of the set"),
    FIELD(FdOptions, opaque, "opaque", .help = "text to recognize it by"),
    {},
};
CLI_KEYS(fd_options, "add-fd");

typedef struct MemoryOptions {
    uint64_t size, maxmem;
    uint64_t slots;
    bool     has_size;
} MemoryOptions;

static const Field memory_options[] = {
    FIELD(MemoryOptions, size, "size", .size_unit = MiB, .has_offset = 1 + offsetof(MemoryOptions, has_size),
          .help = "memory at start"),
    FIELD(MemoryOptions, maxmem, "maxmem", .size_unit = MiB, .help = "memory there can be"),
    FIELD(MemoryOptions, slots, "slots", .min = 0, .max = 256, .help = "slots for more memory"),
    {},
};
CLI_KEYS(memory_options, "memory");

static const char *const clock_names[]    = { "host", "rt", "vm", NULL };
static const char *const drift_names[]    = { "none", "slew", NULL };
static const char *const reboot_names[]   = { "reset", "shutdown", NULL };
static const char *const shutdown_names[] = { "poweroff", "pause", NULL };
static const char *const panic_names[]    = { "pause", "shutdown", "exit-failure", "none", NULL };

typedef struct RtcOptions {
    char *base;
    int   clock, driftfix;
} RtcOptions;

static const Field rtc_options[] = {
    FIELD(RtcOptions, base, "base", .text = "utc", .help = "utc, localtime, or a date like 2006-06-17T16:01:21"),
    FIELD(RtcOptions, clock, "clock", .names = clock_names, .help = "clock that drives it"),
    FIELD(RtcOptions, driftfix, "driftfix", .names = drift_names, .help = "deliver lost ticks later"),
    {},
};
CLI_KEYS(rtc_options, "rtc");

static const char *const watchdog_names[] = { "reset", "shutdown", "poweroff",   "pause",
                                              "debug", "none",     "inject-nmi", NULL };

typedef struct ActionOptions {
    int reboot, shutdown, panic, watchdog;
} ActionOptions;

static const Field action_options[] = {
    FIELD(ActionOptions, reboot, "reboot", .names = reboot_names, .initial = REBOOT_RESET, .help = "guest reboots"),
    FIELD(ActionOptions, shutdown, "shutdown", .names = shutdown_names, .initial = SHUTDOWN_POWEROFF,
          .help = "guest powers off"),
    FIELD(ActionOptions, panic, "panic", .names = panic_names, .initial = PANIC_SHUTDOWN, .help = "guest panics"),
    FIELD(ActionOptions, watchdog, "watchdog", .names = watchdog_names, .help = "a watchdog fires"),
    {},
};
CLI_KEYS(action_options, "action");

/* Parses all entries of one option into a struct; the struct holds its defaults when there are none. */
static bool parse_group(const Cli *cli, const char *name, const Field *table, void *object, Error *err)
{
    fields_init(table, object);
    g_autoptr(Json) merged = cli_merged(cli, name);
    if (merged && !fields_parse(table, object, merged, true, NULL, err)) {
        return error_prefix(err, "-%s: ", name);
    }
    return true;
}

CLI_KEYS(smp_options, "smp-opts");
CLI_KEYS(audiodev_options, "audiodev");

/* --- process-wide settings --- */

static bool set_names_and_messages(Start *s, Error *err)
{
    NameOptions    name;
    MessageOptions message;
    bool           ok = parse_group(s->cli, "name", name_options, &name, err);
    if (ok && name.process && !*name.process) {
        ok = error_set(err, "-name process=: a name is missing");
    }
    if (ok && name.process && prctl(PR_SET_NAME, name.process) < 0) {
        ok = error_set_errno(err, errno, "-name process=%s", name.process);
    }
    if (ok) {
        if (name.debug_threads) {
            thread_use_names();
        }
        s->guest_name = g_strdup(name.guest);
    }
    fields_clear(name_options, &name);
    if (!ok || !parse_group(s->cli, "msg", message_options, &message, err)) {
        return false;
    }
    message_set_options("qemu-system-x86_64", message.timestamp, message.guest_name ? s->guest_name : NULL);
    return true;
}

typedef struct TraceOptions {
    char *enable, *events, *file;
} TraceOptions;

static const Field trace_options[] = {
    FIELD(TraceOptions, enable, "enable", .help = "events to log, with * and ?"),
    FIELD(TraceOptions, events, "events", .help = "file of such patterns, one a line; - before one switches off"),
    FIELD(TraceOptions, file, "file", .help = "where the log goes"),
    {},
};

static bool set_trace(Start *s, const TraceOptions *o, Error *err)
{
    if (o->file) {
        if (s->log.close_file) {
            return error_set(err, "file=%s: there is one log, and another file has been named for it", o->file);
        }
        g_autofree char *path = cli_path(s->cli, o->file, O_WRONLY, err);
        if (!path || !log_open_file(&s->log, path, err)) {
            return false;
        }
    }
    if (o->events) {
        g_autofree char *path = cli_path(s->cli, o->events, O_RDONLY, err);
        if (!path || !trace_read_file(&s->log, path, err)) {
            return error_prefix(err, "events=");
        }
    }
    return !o->enable || trace_set(&s->log, o->enable, true, err);
}

static bool set_traces(Start *s, Error *err)
{
    for (size_t i = 0; cli_nth(s->cli, "trace", i); i++) {
        const CliEntry *entry = cli_nth(s->cli, "trace", i);
        TraceOptions    o;
        fields_init(trace_options, &o);
        bool ok = fields_parse(trace_options, &o, entry->json, true, NULL, err) && set_trace(s, &o, err);
        fields_clear(trace_options, &o);
        if (!ok) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

static bool set_log(Start *s, Error *err)
{
    const char *text;
    s->log.file = stderr;
    if ((text = cli_text(s->cli, "D"))) {
        g_autofree char *path = cli_path(s->cli, text, O_WRONLY, err);
        if (!path || !log_open_file(&s->log, path, err)) {
            return error_prefix(err, "-D %s: ", text);
        }
    }
    if ((text = cli_text(s->cli, "dfilter")) && !log_parse_filter(&s->log, text, err)) {
        return error_prefix(err, "-dfilter %s: ", text);
    }
    for (size_t i = 0; cli_nth(s->cli, "d", i); i++) {
        const CliEntry *entry = cli_nth(s->cli, "d", i);
        if (!log_parse_items(&s->log, entry->text, err)) {
            return cli_blame(entry, err);
        }
    }
    return set_traces(s, err);
}

static bool write_pidfile(Start *s, Error *err)
{
    const char *path = cli_text(s->cli, "pidfile");
    if (!path) {
        return true;
    }
    int          fd   = char_hub_open(s->machine->chars, path, O_CREAT | O_WRONLY, 0644);
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    if (fd < 0) {
        return error_set_errno(err, errno, "-pidfile %s: cannot create it", path);
    }
    if (fcntl(fd, F_SETLK, &lock) < 0) {
        close(fd);
        return error_set(err, "-pidfile %s: another process holds it; is the machine running already?", path);
    }
    g_autofree char *text = g_strdup_printf("%d\n", (int)getpid());
    /* The descriptor stays open until the process ends: it is the lock. */
    if (ftruncate(fd, 0) < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) {
        return error_set_errno(err, errno, "-pidfile %s", path);
    }
    if (!g_str_has_prefix(path, "/dev/fdset/")) {
        s->pidfile = g_canonicalize_filename(path, NULL);
    }
    return true;
}

/* --- the machine's configuration --- */

static bool configure_memory(Start *s, MachineConfig *c, const MachineType *type, Error *err)
{
    MemoryOptions o;
    if (!parse_group(s->cli, "m", memory_options, &o, err)) {
        return false;
    }
    if ((o.slots || o.maxmem) && !type->memory_slots) {
        return error_set(err, "-m: the machine '%s' takes no memory devices (slots=, maxmem=)", type->name);
    }
    c->ram_slots = o.slots;
    c->max_ram   = o.maxmem;
    c->prealloc  = cli_has(s->cli, "mem-prealloc");
    c->mem_path  = g_strdup(cli_text(s->cli, "mem-path"));
    c->ram_given = o.has_size;
    c->ram_size  = o.has_size ? o.size : type->default_ram;
    if (c->ram_size < MiB && (o.has_size || type->default_ram)) {
        return error_set(err, "-m %s: a guest needs at least 1 MiB of memory", cli_text(s->cli, "m"));
    }
    return true;
}

/* Nodes first: the others name them. */
static bool configure_numa(Start *s, MachineConfig *c, const MachineType *type, Error *err)
{
    if (!cli_has(s->cli, "numa")) {
        return true;
    }
    if (!type->numa) {
        return error_set(err, "-numa: the machine '%s' has nothing that tells the guest of nodes", type->name);
    }
    c->numa = numa_new(&c->smp, s->machine->hmat);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (size_t i = 0; cli_nth(s->cli, "numa", i); i++) {
            const CliEntry *entry = cli_nth(s->cli, "numa", i);
            if (numa_is_node(entry->json) == !pass && !numa_add(c->numa, entry->json, true, err)) {
                return cli_blame(entry, err);
            }
        }
    }
    return numa_finish(c->numa, err) || error_prefix(err, "-numa: ");
}

static bool configure_rtc(Start *s, MachineConfig *c, Error *err)
{
    static const ClockKind clocks[] = { HOST_CLOCK, REALTIME_CLOCK, VIRTUAL_CLOCK };
    RtcOptions             o;
    if (!parse_group(s->cli, "rtc", rtc_options, &o, err)) {
        fields_clear(rtc_options, &o);
        return false;
    }
    bool ok      = true;
    c->rtc.clock = clocks[o.clock];
    c->rtc.slew  = o.driftfix == 1;
    c->rtc.local = !strcmp(o.base, "localtime");
    if (!c->rtc.local && strcmp(o.base, "utc") != 0) {
        struct tm   tm  = { 0 };
        const char *end = strptime(o.base, "%Y-%m-%dT%H:%M:%S", &tm);
        if (!end) {
            tm  = (struct tm){ 0 };
            end = strptime(o.base, "%Y-%m-%d", &tm);
        }
        struct tm as_given = tm;
        c->rtc.start       = end ? timegm(&tm) : 0;
        if (!end || *end || tm.tm_mday != as_given.tm_mday || tm.tm_sec != as_given.tm_sec) {
            ok = error_set(
                err, "-rtc base=%s: expected utc, localtime, or a date like 2006-06-17T16:01:21 or 2006-06-17", o.base);
        } else {
            c->rtc.fixed = true;
        }
    }
    fields_clear(rtc_options, &o);
    return ok;
}

/* -watchdog-action X is -action watchdog=X. */
static bool parse_actions(Start *s, ActionOptions *o, Error *err)
{
    const char *text = cli_text(s->cli, "watchdog-action");
    if (!parse_group(s->cli, "action", action_options, o, err)) {
        return false;
    }
    if (!text) {
        return true;
    }
    g_autoptr(Json) both = cli_merged(s->cli, "action");
    if (both && json_get(both, "watchdog")) {
        return error_set(err, "-watchdog-action and -action watchdog= say the same; give one of them");
    }
    g_autoptr(Json) one = json_new_object();
    json_set(one, "watchdog", json_new_string(text));
    return fields_parse(action_options, o, one, true, NULL, err) || error_prefix(err, "-watchdog-action: ");
}

static bool configure_actions(Start *s, MachineConfig *c, Error *err)
{
    ActionOptions o;
    bool          ok   = parse_actions(s, &o, err);
    c->reboot_action   = (RebootAction)o.reboot;
    c->shutdown_action = (ShutdownAction)o.shutdown;
    c->panic_action    = (PanicAction)o.panic;
    c->watchdog_action = (WatchdogAction)o.watchdog;
    fields_clear(action_options, &o);
    return ok;
}

static void free_json(gpointer json)
{
    json_free(json);
}

static GPtrArray *collect_json(const Cli *cli, const char *name)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(free_json);
    for (size_t i = 0; cli_nth(cli, name, i); i++) {
        g_ptr_array_add(list, json_copy(cli_nth(cli, name, i)->json));
    }
    return list;
}

static GPtrArray *collect_text(const Cli *cli, const char *name)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    for (size_t i = 0; cli_nth(cli, name, i); i++) {
        g_ptr_array_add(list, g_strdup(cli_nth(cli, name, i)->text));
    }
    return list;
}

/* The files that entries of -smbios and -acpitable name. */
static bool take_paths(Start *s, const char *option, GPtrArray *entries, Error *err)
{
    static const char *const keys[] = { "file", "data", "path" };
    for (guint i = 0; i < entries->len * G_N_ELEMENTS(keys); i++) {
        Json            *entry = entries->pdata[i / G_N_ELEMENTS(keys)];
        const char      *key   = keys[i % G_N_ELEMENTS(keys)];
        const char      *text  = json_get_string(entry, key);
        g_autofree char *path  = text ? cli_path(s->cli, text, O_RDONLY, err) : NULL;
        if (text && !path) {
            return error_prefix(err, "-%s %s=: ", option, key);
        }
        if (path && strcmp(path, text) != 0) {
            json_set(entry, key, json_new_string(path));
        }
    }
    return true;
}

/* Who adds one of these gets no CD-ROM that was not asked for. */
static bool has_disk_device(const Cli *cli)
{
    static const char *const types[] = { "ide-hd", "ide-cd", "scsi-hd", "scsi-cd", NULL };
    for (size_t i = 0; cli_nth(cli, "device", i); i++) {
        const CliEntry *entry  = cli_nth(cli, "device", i);
        const char     *driver = entry->json ? json_get_string(entry->json, "driver") : NULL;
        if (driver && g_strv_contains(types, driver)) {
            return true;
        }
    }
    return false;
}

static bool configure(Start *s, const MachineType *type, Error *err)
{
    MachineConfig *c    = &s->machine->config;
    g_autoptr(Json) smp = cli_merged(s->cli, "smp");
    c->name             = g_strdup(s->guest_name);
    c->cpu_model        = g_strdup(cli_text(s->cli, "cpu"));
    c->no_defaults      = cli_has(s->cli, "nodefaults");
    c->no_default_cd    = has_disk_device(s->cli);
    c->smbios           = collect_json(s->cli, "smbios");
    c->acpi_tables      = collect_json(s->cli, "acpitable");
    c->firmware_dirs    = collect_text(s->cli, "L");
    if (smp && !smp_parse(smp, true, true, type->max_cpus, type->name, &c->smp, err)) {
        const char *text = cli_text(s->cli, "smp");
        return error_prefix(err, "-smp%s%s: ", text ? " " : "", text ? text : "");
    }
    if (!smp && !smp_parse(NULL, true, true, type->max_cpus, type->name, &c->smp, err)) {
        return false;
    }
    if (c->smp.max_cpus > c->smp.cpus && !type->hotpluggable_cpus) {
        return error_set(err, "-smp maxcpus=%u: the machine '%s' has no vCPUs but those of cpus=%u", c->smp.max_cpus,
                         type->name, c->smp.cpus);
    }
    return take_paths(s, "smbios", c->smbios, err) && take_paths(s, "acpitable", c->acpi_tables, err) &&
           configure_memory(s, c, type, err) && configure_numa(s, c, type, err) && configure_rtc(s, c, err) &&
           configure_actions(s, c, err) && bootopts_configure(s->cli, &s->machine->platform, c, err);
}

/* --- character devices --- */

static bool make_chardevs(Start *s, Error *err)
{
    CharHub    *hub  = s->machine->chars;
    const char *echr = cli_text(s->cli, "echr");
    uint64_t    code = 1;
    if (echr && !text_parse_uint(echr, 255, &code, err)) {
        return error_prefix(err, "-echr %s: ", echr);
    }
    char_hub_set_escape(hub, (int)code);
    if (cli_has(s->cli, "daemonize")) {
        char_hub_forbid_stdio(hub, "-daemonize gives them up");
    }
    for (size_t i = 0; cli_nth(s->cli, "add-fd", i); i++) {
        const CliEntry *entry = cli_nth(s->cli, "add-fd", i);
        FdOptions       o;
        fields_init(fd_options, &o);
        bool ok = fields_parse(fd_options, &o, entry->json, true, NULL, err) &&
                  char_hub_add_fd(hub, (int)o.fd, o.set, o.opaque, err);
        fields_clear(fd_options, &o);
        if (!ok) {
            return cli_blame(entry, err);
        }
    }
    for (size_t i = 0; cli_nth(s->cli, "chardev", i); i++) {
        const CliEntry *entry = cli_nth(s->cli, "chardev", i);
        if (!char_create(hub, entry->json, true, err)) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

static bool make_audiodevs(Start *s, Error *err)
{
    for (size_t i = 0; cli_nth(s->cli, "audiodev", i); i++) {
        const CliEntry *entry = cli_nth(s->cli, "audiodev", i);
        if (!audio_create(s->machine->audio, entry->json, true, err)) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

/* One -serial, -debugcon, -gdb ...: the chardev, or NULL without an error for "none". */
static Chardev *short_chardev(Start *s, const char *id, const char *text, Error *err)
{
    bool     with_monitor = false;
    Chardev *chr          = char_create_short(s->machine->chars, id, text, &with_monitor, err);
    if (with_monitor) {
        g_ptr_array_add(s->with_monitor, chr);
    }
    return chr;
}

/* The ports that -serial or -parallel ask for, in order; without any the first one goes to `otherwise`. */
static bool make_ports(Start *s, const char *option, Chardev **chardevs, bool *present, size_t max,
                       const char *otherwise, Error *err)
{
    size_t n = 0;
    for (; cli_nth(s->cli, option, n); n++) {
        const CliEntry *entry = cli_nth(s->cli, option, n);
        if (n == max) {
            error_set(err, "this machine has at most %zu %s ports", max, option);
            return cli_blame(entry, err);
        }
        g_autofree char *id = g_strdup_printf("%s%zu", option, n);
        chardevs[n]         = short_chardev(s, id, entry->text, err);
        present[n]          = chardevs[n] != NULL;
        if (error_is_set(err)) {
            return cli_blame(entry, err);
        }
    }
    if (!n && max && !s->machine->config.no_defaults) {
        g_autofree char *id = g_strdup_printf("%s0", option);
        chardevs[0]         = short_chardev(s, id, otherwise, err);
        present[0]          = true;
        if (error_is_set(err)) {
            return error_prefix(err, "%s port 0: ", option);
        }
    }
    return true;
}

static bool make_all_ports(Start *s, Error *err)
{
    MachineConfig     *c    = &s->machine->config;
    const MachineType *type = machine_type(s->machine);
    /* Without a window the first serial port is in the terminal; otherwise it exists and what it says is dropped. */
    if (!make_ports(s, "serial", c->serial, c->serial_present, type->max_serial,
                    cli_has(s->cli, "nographic") ? "mon:stdio" : "null", err) ||
        !make_ports(s, "parallel", c->parallel, c->parallel_present, type->max_parallel, "null", err)) {
        return false;
    }
    const char *debugcon = cli_text(s->cli, "debugcon");
    if (debugcon) {
        c->debugcon = short_chardev(s, "debugcon", debugcon, err);
        if (error_is_set(err)) {
            return error_prefix(err, "-debugcon %s: ", debugcon);
        }
    }
    return true;
}

/* --- globals, objects, devices --- */

static bool add_globals(Start *s, Error *err)
{
    for (size_t i = 0; cli_nth(s->cli, "global", i); i++) {
        const CliEntry *entry  = cli_nth(s->cli, "global", i);
        const char     *equals = strchr(entry->text, '=');
        const char     *dot    = strchr(entry->text, '.');
        bool            ok;
        g_autoptr(Json) keys = NULL;
        if (dot && equals && dot < equals) {
            g_autofree char *driver   = g_strndup(entry->text, (gsize)(dot - entry->text));
            g_autofree char *property = g_strndup(dot + 1, (gsize)(equals - dot - 1));
            ok                        = device_add_global(&s->machine->platform, driver, property, equals + 1, err);
        } else if ((keys = optstr_parse(entry->text, NULL, err))) {
            const char *driver = json_get_string(keys, "driver"), *property = json_get_string(keys, "property"),
                       *value = json_get_string(keys, "value");
            ok                = driver && property && value
                                    ? device_add_global(&s->machine->platform, driver, property, value, err)
                                    : error_set(err, "expected DRIVER.PROP=VALUE or driver=D,property=P,value=V");
        } else {
            ok = false;
        }
        if (!ok) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

static bool add_objects(Start *s, Error *err)
{
    for (size_t i = 0; cli_nth(s->cli, "object", i); i++) {
        const CliEntry *entry = cli_nth(s->cli, "object", i);
        if (!object_create_user(s->machine->platform.objects, entry->json, true, err)) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

static bool add_devices(Start *s, Error *err)
{
    for (size_t i = 0; cli_nth(s->cli, "device", i); i++) {
        const CliEntry *entry = cli_nth(s->cli, "device", i);
        if (!machine_add_device(s->machine, entry->json, true, err)) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

/* --- signals and debuggers --- */

static void caught_signal(void *opaque, int signal)
{
    Machine *m = opaque;
    if (signal != SIGINT || !isatty(STDERR_FILENO)) {
        info_report("ended by signal %d (%s)", signal, g_strsignal(signal));
    }
    char_hub_cancel_waits(m->chars);
    m->platform.request_shutdown(&m->platform, SHUTDOWN_HOST_SIGNAL, 0);
}

static void quit_from_terminal(void *opaque)
{
    Machine *m = opaque;
    m->platform.request_shutdown(&m->platform, SHUTDOWN_HOST_REQUEST, 0);
}

static void watch_signals(Start *s)
{
    static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < G_N_ELEMENTS(signals); i++) {
        loop_on_signal(s->machine->platform.loop, signals[i], caught_signal, s->machine);
    }
    char_hub_on_quit(s->machine->chars, quit_from_terminal, s->machine);
}

static bool make_debuggers(Start *s, Error *err)
{
    const char *text = cli_text(s->cli, "gdb");
    if (text && strcmp(text, "none") != 0) {
        g_autofree char *device = gdb_stub_device(text);
        Chardev         *chr    = short_chardev(s, "gdb", device, err);
        if (!chr || !(s->machine->gdb = gdb_stub_new(s->machine, chr, err))) {
            return error_prefix(err, "-gdb %s: ", text);
        }
    }
    text = cli_text(s->cli, "qtest");
    if (text && strcmp(text, "none") != 0) {
        Chardev *chr = short_chardev(s, "qtest", text, err);
        if (!chr || !(s->qtest = qtest_new(s->machine, chr, cli_text(s->cli, "qtest-log"), err))) {
            return error_prefix(err, "-qtest %s: ", text);
        }
    } else if (cli_has(s->cli, "qtest-log")) {
        return error_set(err, "-qtest-log needs a -qtest");
    }
    return true;
}

/* --preconfig: orders come before the machine is made. False: they were to end it, err is not set then. */
static bool wait_for_orders(Start *s)
{
    if (!cli_has(s->cli, "preconfig")) {
        return true;
    }
    monitors_set_preconfig(s->monitors, true);
    monitors_start(s->monitors);
    while (monitors_preconfig(s->monitors) && !s->machine->exit_requested) {
        loop_step(s->machine->platform.loop, true);
    }
    return !s->machine->exit_requested;
}

static void hint_about_screen(const Start *s)
{
    if (!cli_has(s->cli, "nographic") && !cli_has(s->cli, "display") && !cli_has(s->cli, "serial") &&
        !cli_has(s->cli, "daemonize") && isatty(STDERR_FILENO)) {
        info_report("no window can be shown yet; -nographic puts the serial port into this terminal");
    }
}

/* Does -nographic put anything into the terminal? Not when every port is somewhere else, or there are none. */
static bool uses_terminal(const Cli *cli)
{
    bool monitor = cli_has(cli, "monitor") || cli_has(cli, "qmp") || cli_has(cli, "qmp-pretty") || cli_has(cli, "mon");
    return !cli_has(cli, "nodefaults") && !(cli_has(cli, "serial") && cli_has(cli, "parallel") && monitor);
}

static bool build(Start *s, Error *err)
{
    const Cli *cli = s->cli;
    if (cli_has(cli, "nographic") && cli_has(cli, "daemonize") && uses_terminal(cli)) {
        return error_set(err, "-nographic: needs the terminal that -daemonize gives up; use -display none");
    }
    if (!set_names_and_messages(s, err) || !set_log(s, err)) {
        return false;
    }
    g_autoptr(Json) options      = cli_merged(cli, "machine");
    const char        *type_name = options ? json_get_string(options, "type") : NULL;
    const MachineType *type      = machine_type_find(type_name, err);
    if (!type) {
        return error_prefix(err, "-machine %s: ", type_name ? type_name : "");
    }
    if (options) {
        json_remove(options, "type");
    }
    if (cli_has(cli, "daemonize") && !daemon_start(&s->daemon, err)) {
        return false;
    }
    s->machine = machine_new(type, options, true, &s->log, err);
    if (!s->machine) {
        return error_prefix(err, "-machine: ");
    }
    watch_signals(s); /* before there are threads: they inherit what is blocked */
    s->confine = confine_new(cli, err);
    if (!s->confine || !confine_start(s->confine, err)) {
        return false;
    }
    if (confine_changes_files(s->confine)) {
        s->machine->unpack_cache =
            false; /* it would be the folder of somebody who is gone before the file is complete */
    }
    return configure(s, type, err) && choose_accel(s->cli, s->machine, confine_wants_cpu_pm(s->confine), err) &&
           make_chardevs(s, err) && make_audiodevs(s, err) && disks_make(s->cli, s->machine, err) &&
           make_all_ports(s, err) && (s->monitors = mons_make(s->cli, s->machine, s->with_monitor, err)) &&
           add_globals(s, err) && add_objects(s, err) && wait_for_orders(s) && machine_build(s->machine, err) &&
           add_devices(s, err) && drives_check_used(s->machine->block, err) && machine_finish(s->machine, err) &&
           make_debuggers(s, err) && write_pidfile(s, err);
}

int start_machine(const Cli *cli)
{
    Start s           = { .cli = cli, .with_monitor = g_ptr_array_new() };
    g_auto(Error) err = { 0 };
    int  status;
    bool built = build(&s, &err);
    if (built) {
        hint_about_screen(&s);
        machine_reset(s.machine, RESET_COLD);
    }
    if (!built && !error_is_set(&err)) {
        g_assert(s.machine);
        status = s.machine->exit_code; /* --preconfig, and quit */
    } else if (built && confine_enter(s.confine, &err)) {
        daemon_ready(&s.daemon);
        if (!cli_has(cli, "S")) {
            machine_resume(s.machine);
        }
        monitors_start(s.monitors);
        status = machine_run(s.machine);
    } else {
        error_report(&err);
        status = 1;
    }
    if (s.pidfile) {
        unlink(s.pidfile);
    }
    g_clear_pointer(&s.monitors, monitors_free);
    if (s.machine) {
        g_clear_pointer(&s.machine->gdb, gdb_stub_free);
    }
    g_clear_pointer(&s.machine, machine_free);
    g_clear_pointer(&s.qtest, qtest_free); /* the devices' pins may lead to it */
    log_close(&s.log);
    confine_free(s.confine);
    g_ptr_array_unref(s.with_monitor);
    g_free(s.pidfile);
    g_free(s.guest_name);
    return status;
}
