/* The monitors that a command line asks for. Main thread, machine lock held. */

#include "cli/mons.h"

#include <string.h>

CLI_KEYS(monitor_options, "mon");
CLI_KEYS(compat_options, "compat");

/* One -monitor, -qmp or -qmp-pretty; "none" asks for nothing. */
static bool add_short(Monitors *all, const CliEntry *entry, unsigned *count, Error *err)
{
    const char      *name    = entry->option->name;
    MonitorOptions   options = { .mode   = strcmp(name, "monitor") ? MONITOR_CONTROL : MONITOR_READLINE,
                                 .pretty = !strcmp(name, "qmp-pretty") };
    bool             mux     = false;
    g_autofree char *id      = g_strdup_printf("compat_monitor%u", (*count)++);
    Chardev         *chr     = char_create_short(monitors_machine(all)->chars, id, entry->text, &mux, err);
    bool             ok      = chr ? monitors_add(all, chr, &options, err) : !error_is_set(err);
    return ok || cli_blame(entry, err);
}

static bool check_id(const Cli *cli, const CliEntry *entry, Error *err)
{
    const char *id = json_get_string(entry->json, "id");
    for (size_t i = 0; id && cli_nth(cli, "mon", i) != entry; i++) {
        const char *other = json_get_string(cli_nth(cli, "mon", i)->json, "id");
        if (other && !strcmp(id, other)) {
            return error_set(err, "there is a monitor with id '%s' already", id);
        }
    }
    return !id || object_check_id(id, err);
}

static bool add_mon(Monitors *all, const Cli *cli, const CliEntry *entry, Error *err)
{
    MonitorOptions options;
    fields_init(monitor_options, &options);
    Chardev *chr = NULL;
    bool     ok  = fields_parse(monitor_options, &options, entry->json, true, NULL, err) && check_id(cli, entry, err) &&
              (chr = char_find(monitors_machine(all)->chars, options.chardev, err)) != NULL &&
              monitors_add(all, chr, &options, err);
    fields_clear(monitor_options, &options);
    return ok || cli_blame(entry, err);
}

/* The monitor that is there when nobody says anything about monitors: in the terminal beside the serial port (which
 * is a "mon:" then), in the terminal alone, or on a console of its own. */
static bool add_default(Monitors *all, const Cli *cli, Error *err)
{
    static const MonitorOptions options = { .mode = MONITOR_READLINE };
    const char *where = cli_has(cli, "nographic") ? "mon:stdio" : cli_has(cli, "daemonize") ? "null" : "vc:80Cx24C";
    bool        mux   = false;
    Chardev    *chr   = char_create_short(monitors_machine(all)->chars, "compat_monitor0", where, &mux, err);
    return (chr && monitors_add(all, chr, &options, err)) || error_prefix(err, "default monitor on %s: ", where);
}

static bool add_all(Monitors *all, const Cli *cli, GPtrArray *with_monitor, Error *err)
{
    static const MonitorOptions on_port = { .mode = MONITOR_READLINE };
    unsigned                    shorts  = 0;
    bool                        any     = with_monitor->len > 0 || cli_has(cli, "nodefaults");
    for (guint i = 0; i < with_monitor->len; i++) {
        if (!monitors_add(all, with_monitor->pdata[i], &on_port, err)) {
            return false;
        }
    }
    for (guint i = 0; i < cli->entries->len; i++) {
        const CliEntry *entry = cli->entries->pdata[i];
        const char     *name  = entry->option->name;
        bool            mon   = !strcmp(name, "mon");
        if (mon || !strcmp(name, "monitor") || !strcmp(name, "qmp") || !strcmp(name, "qmp-pretty")) {
            any = true;
            if (!(mon ? add_mon(all, cli, entry, err) : add_short(all, entry, &shorts, err))) {
                return false;
            }
        }
    }
    return any || add_default(all, cli, err);
}

Monitors *mons_make(const Cli *cli, Machine *m, GPtrArray *with_monitor, Error *err)
{
    CompatPolicy policy;
    fields_init(compat_options, &policy);
    g_autoptr(Json) merged = cli_merged(cli, "compat");
    if (merged && !fields_parse(compat_options, &policy, merged, true, NULL, err)) {
        error_prefix(err, "-compat: ");
        return NULL;
    }
    Monitors *all = monitors_new(m, &policy);
    if (!add_all(all, cli, with_monitor, err)) {
        monitors_free(all);
        return NULL;
    }
    return all;
}
