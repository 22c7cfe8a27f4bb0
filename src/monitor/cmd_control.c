/* Commands about QMP itself: negotiation, version, names of commands; and HMP through QMP. */

#include "monitor/command.h"
#include "monitor/hmp.h"
#include "monitor/qmp.h"

/* --- qmp_capabilities --- */

static const char *const capability_names[] = { "oob", NULL };
static const Field capability = { .name = "", .kind = FIELD_U32, .size = 4, .count = 1, .names = capability_names };

typedef struct CapabilitiesArgs {
    GPtrArray *enable;
} CapabilitiesArgs;

static const Field capabilities_args[] = {
    FIELD(CapabilitiesArgs, enable, "enable", .element = &capability, .element_size = sizeof(uint32_t),
          .help = "capabilities to switch on"),
    {},
};

static bool qmp_capabilities(Monitor *mon, void *args, Json **result, Error *err)
{
    CapabilitiesArgs *a = args;
    if (!mon->qmp) {
        return error_set_class(err, ERROR_COMMAND_NOT_FOUND, "only a QMP client negotiates");
    }
    return qmp_session_negotiate(mon->qmp, a->enable && a->enable->len, err);
}

/* --- query-version, query-commands --- */

static const Field version_triple[] = { QMP_INT("major"), QMP_INT("minor"), QMP_INT("micro"), {} };
static const Field version_info[]   = { QMP_OBJECT("qemu", version_triple), QMP_STRING("package"), {} };
static const Field version_result   = QMP_OBJECT("", version_info);

static bool query_version(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = qmp_version();
    return true;
}

static const Field command_info[]  = { QMP_STRING("name"), {} };
static const Field commands_result = QMP_LIST("", command_info);

static void add_command(const MonitorCommand *command, void *list)
{
    Json *entry = json_new_object();
    json_add(entry, "name", json_new_string(command->name));
    json_append(list, entry);
}

static bool query_commands(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    monitor_commands_foreach(add_command, *result);
    return true;
}

/* --- human-monitor-command --- */

typedef struct HumanArgs {
    char   *line;
    int64_t cpu_index;
    bool    has_cpu_index;
} HumanArgs;

static const Field human_args[] = {
    FIELD(HumanArgs, line, "command-line", .required = true, .help = "what to type"),
    FIELD(HumanArgs, cpu_index, "cpu-index", .has_offset = 1 + offsetof(HumanArgs, has_cpu_index),
          .help = "the vCPU that commands are about"),
    {},
};

static bool human_monitor_command(Monitor *mon, void *args, Json **result, Error *err)
{
    HumanArgs *a = args;
    if (a->has_cpu_index && !machine_cpu(mon->machine, a->cpu_index)) {
        return error_set(err, "no vCPU has index %" G_GINT64_FORMAT, a->cpu_index);
    }
    Monitor *captured   = monitor_new_captured(mon->all);
    captured->cpu_index = (unsigned)a->cpu_index;
    hmp_execute(captured, a->line);
    g_autofree char *text = monitor_free_captured(captured);
    *result               = json_new_string(text);
    return true;
}

/* --- x-query-...: what HMP's info shows, for people --- */

static const Field text_info[] = { QMP_STRING("human-readable-text"), {} };
static const Field text_result = QMP_OBJECT("", text_info);

static bool show(Monitor *mon, const char *name, Json **result, Error *err)
{
    g_autoptr(GString) text = g_string_new(NULL);
    if (!hmp_info(mon, name, text, err)) {
        return false;
    }
    *result = json_new_object();
    json_add(*result, "human-readable-text", json_new_string(text->str));
    return true;
}

#define SHOW(what)                                                                                                     \
    static bool show_##what(Monitor *mon, void *args, Json **result, Error *err)                                       \
    {                                                                                                                  \
        return show(mon, #what, result, err);                                                                          \
    }
SHOW(irq)
SHOW(jit)
SHOW(numa)
SHOW(ramblock)
SHOW(pic)
SHOW(roms)
SHOW(opcount)
SHOW(usb)

#define QUERY_TEXT(command, text, what)                                                                                \
    {                                                                                                                  \
        .name = command, .result = &text_result, .flags = COMMAND_UNSTABLE, .help = text, .run = show_##what           \
    }

MONITOR_COMMANDS(control) = {
    { .name      = "qmp_capabilities",
      .args      = capabilities_args,
      .args_size = sizeof(CapabilitiesArgs),
      .flags     = COMMAND_PRECONFIG,
      .help      = "begins command mode",
      .run       = qmp_capabilities },
    { .name   = "query-version",
      .result = &version_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "which version this is",
      .run    = query_version },
    { .name   = "query-commands",
      .result = &commands_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "names of commands",
      .run    = query_commands },
    { .name      = "human-monitor-command",
      .args      = human_args,
      .args_size = sizeof(HumanArgs),
      .result    = &qmp_string,
      .features  = (const char *const[]){ "savevm-monitor-nodes", NULL },
      .help      = "runs an HMP command",
      .run       = human_monitor_command },
    QUERY_TEXT("x-query-irq", "counts of interrupts", irq),
    QUERY_TEXT("x-query-interrupt-controllers", "state of interrupt controllers", pic),
    QUERY_TEXT("x-query-jit", "counters of the translator", jit),
    QUERY_TEXT("x-query-numa", "NUMA nodes", numa),
    QUERY_TEXT("x-query-opcount", "opcodes that were translated", opcount),
    QUERY_TEXT("x-query-ramblock", "blocks of guest memory", ramblock),
    QUERY_TEXT("x-query-roms", "ROMs in the guest's address space", roms),
    QUERY_TEXT("x-query-usb", "USB devices", usb),
    {},
};
