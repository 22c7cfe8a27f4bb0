/* Parsing the command line into entries, and questions about them. Main thread, before the machine exists. */

#include "cli/cli.h"

#include "base/optstr.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>

static void entry_free(gpointer data)
{
    CliEntry *entry = data;
    g_free(entry->text);
    json_free(entry->json);
    g_free(entry);
}

void cli_init(Cli *cli)
{
    cli->entries = g_ptr_array_new_with_free_func(entry_free);
}

void cli_clear(Cli *cli)
{
    g_clear_pointer(&cli->entries, g_ptr_array_unref);
}

const Option *cli_option_find(const char *name)
{
    for (const Option *o = cli_options; o->name; o++) {
        if (!strcmp(o->name, name)) {
            return o;
        }
    }
    return NULL;
}

const Option *cli_option_find_group(const char *group)
{
    for (const Option *o = cli_options; o->name; o++) {
        if (o->group && !strcmp(o->group, group)) {
            return o;
        }
    }
    const Option *o = cli_option_find(group);
    return o && o->form == OPTION_KEYS && !o->group && !o->means ? o : NULL;
}

bool cli_blame(const CliEntry *entry, Error *err)
{
    if (entry->text) {
        return error_prefix(err, "-%s %s: ", entry->option->name, entry->text);
    }
    return error_prefix(err, "-%s: ", entry->option->name);
}

static bool value_asks_for_absence(const Option *option, const char *text)
{
    if (!option->absent || !text) {
        return false;
    }
    g_auto(GStrv) values = g_strsplit(option->absent, "|", -1);
    return g_strv_contains((const char *const *)values, text);
}

/* Checks and stores one entry whose option is no alias. Takes json. */
static bool add_entry(Cli *cli, const Option *option, const char *text, Json *json, Error *err)
{
    CliEntry *entry = g_new0(CliEntry, 1);
    entry->option   = option;
    entry->text     = g_strdup(text);
    entry->json     = json;
    g_ptr_array_add(cli->entries, entry);
    if (option->missing && !value_asks_for_absence(option, text)) {
        return error_set_unsupported(err, "-%s%s%s", option->name, text ? " " : "", text ? text : "");
    }
    if (option->form == OPTION_KEYS && !json) {
        entry->json = optstr_parse(text, option->implied, err);
        if (!entry->json) {
            return cli_blame(entry, err);
        }
    }
    return true;
}

bool cli_add(Cli *cli, const char *name, const char *text, Error *err)
{
    const Option *option = cli_option_find(name);
    if (option->means) {
        text   = option->meaning ? option->meaning : text;
        option = cli_option_find(option->means);
    }
    return add_entry(cli, option, text, NULL, err);
}

bool cli_add_group(Cli *cli, const char *group, Json *json, Error *err)
{
    const Option *option = cli_option_find_group(group);
    if (!option) {
        json_free(json);
        const Option *named = cli_option_find(group);
        if (named && named->missing) {
            return error_set_unsupported(err, "-%s", group);
        }
        NameMatch match = { .word = group };
        for (const Option *o = cli_options; o->name; o++) {
            if (o->form == OPTION_KEYS && !o->means) {
                text_match_name(&match, o->group ? o->group : o->name);
            }
        }
        char hint[128];
        return error_set(err, "no group '%s'%s", group, text_did_you_mean(&match, hint));
    }
    return add_entry(cli, option, NULL, json, err);
}

/* -set GROUP.ID.ARG=VALUE changes the entry of that group with that id. */
static bool apply_set(Cli *cli, const char *text, Error *err)
{
    g_assert(text); /* the option has an argument */
    const char      *equals = strchr(text, '=');
    g_autofree char *target = equals ? g_strndup(text, (gsize)(equals - text)) : g_strdup(text);
    g_auto(GStrv) path      = g_strsplit(target, ".", 3);
    if (!equals || g_strv_length(path) != 3) {
        return error_set(err, "-set %s: expected GROUP.ID.ARG=VALUE, for example device.nic0.mac=52:54:00:12:34:56",
                         text);
    }
    const Option *option = cli_option_find_group(path[0]);
    for (guint i = 0; option && i < cli->entries->len; i++) {
        CliEntry   *entry = cli->entries->pdata[i];
        const char *id    = entry->option == option ? json_get_string(entry->json, "id") : NULL;
        if (id && !strcmp(id, path[1])) {
            json_set(entry->json, path[2], json_new_string(equals + 1));
            return true;
        }
    }
    return error_set(err, "-set %s: no -%s with id '%s' comes before it", text, path[0], path[1]);
}

static bool unknown_option(const char *typed, const char *name, Error *err)
{
    NameMatch match = { .word = name };
    for (const Option *o = cli_options; o->name; o++) {
        text_match_name(&match, o->name);
    }
    char hint[128] = "; -h lists all options";
    if (match.best) {
        g_snprintf(hint, sizeof hint, " (did you mean '-%s'?)", match.best);
    }
    return error_set(err, "%s: no such option%s", typed, hint);
}

bool cli_parse(Cli *cli, int argc, char **argv, Error *err)
{
    for (int i = 1; i < argc; i++) {
        const char *typed = argv[i];
        if (typed[0] != '-' || !typed[1]) {
            if (!cli_add(cli, "hda", typed, err)) {
                return error_prefix(err, "disk image '%s': ", typed);
            }
            continue;
        }
        const char   *name   = typed + (typed[1] == '-' ? 2 : 1);
        const Option *option = cli_option_find(name);
        if (!option) {
            return unknown_option(typed, name, err);
        }
        const char *text = NULL;
        if (option->form != OPTION_FLAG) {
            if (++i == argc) {
                return error_set(err, "%s: needs an argument%s%s", typed,
                                 option->argument && *option->argument ? ": " : "",
                                 option->argument ? option->argument : "");
            }
            text = argv[i];
        }
        if (!cli_add(cli, name, text, err)) {
            return false;
        }
        if (!strcmp(name, "readconfig") && !cli_read_config(cli, text, err)) {
            return false;
        }
        if (!strcmp(name, "set") && !apply_set(cli, text, err)) {
            return false;
        }
    }
    return true;
}

const CliEntry *cli_nth(const Cli *cli, const char *name, size_t n)
{
    for (guint i = 0; i < cli->entries->len; i++) {
        const CliEntry *entry = cli->entries->pdata[i];
        if (!strcmp(entry->option->name, name) && n-- == 0) {
            return entry;
        }
    }
    return NULL;
}

bool cli_has(const Cli *cli, const char *name)
{
    return cli_nth(cli, name, 0) != NULL;
}

const char *cli_text(const Cli *cli, const char *name)
{
    const char *text = NULL;
    for (guint i = 0; i < cli->entries->len; i++) {
        const CliEntry *entry = cli->entries->pdata[i];
        if (!strcmp(entry->option->name, name)) {
            text = entry->text;
        }
    }
    return text;
}

Json *cli_merged(const Cli *cli, const char *name)
{
    Json *merged = NULL;
    for (guint i = 0; i < cli->entries->len; i++) {
        const CliEntry *entry = cli->entries->pdata[i];
        if (strcmp(entry->option->name, name) != 0) {
            continue;
        }
        if (!merged) {
            merged = json_new_object();
        }
        for (size_t k = 0; k < entry->json->n; k++) {
            json_set(merged, entry->json->keys[k], json_copy(entry->json->items[k]));
        }
    }
    return merged;
}

char *cli_path(const Cli *cli, const char *path, int flags, Error *err)
{
    static const char prefix[] = "/dev/fdset/";
    if (!path || !g_str_has_prefix(path, prefix)) {
        return g_strdup(path);
    }
    for (size_t i = 0; cli_nth(cli, "add-fd", i); i++) {
        const Json *entry = cli_nth(cli, "add-fd", i)->json;
        const char *set = json_get_string(entry, "set"), *fd = json_get_string(entry, "fd");
        uint64_t    number;
        g_auto(Error) ignored = { 0 }; /* what is wrong with -add-fd itself is told where it is carried out */
        if (!set || !fd || strcmp(set, path + strlen(prefix)) != 0 ||
            !text_parse_uint(fd, INT32_MAX, &number, &ignored)) {
            continue;
        }
        int mode = fcntl((int)number, F_GETFL);
        if (mode >= 0 && ((mode & O_ACCMODE) == O_RDWR || (mode & O_ACCMODE) == (flags & O_ACCMODE))) {
            return g_strdup_printf("/proc/self/fd/%d", (int)number);
        }
    }
    error_set(err, "%s: -add-fd has put no descriptor that is open for %s into that set", path,
              (flags & O_ACCMODE) == O_RDONLY ? "reading" : "writing");
    return NULL;
}

static void append_help(GString *out, const Option *o)
{
    g_autofree char *head =
        g_strdup_printf("-%s%s%s", o->name, o->argument && *o->argument ? " " : "", o->argument ? o->argument : "");
    g_string_append_printf(out, strlen(head) > 15 ? "%s\n%16s" : "%-15s %s", head, "");
    g_auto(GStrv) lines = g_strsplit(o->help, "\n", -1);
    for (char **line = lines; *line; line++) {
        g_string_append_printf(out, "%s%s\n", line == lines ? "" : "                ", *line);
    }
}

char *cli_help(void)
{
    GString *out = g_string_new("usage: qemu-system-x86_64 [options] [disk_image]\n");
    for (const Option *o = cli_options; o->name; o++) {
        if (o->section) {
            g_string_append_printf(out, "\n%s:\n", o->section);
        }
        if (o->help) {
            append_help(out, o);
        }
    }
    g_string_append(out, "\nOptions of QEMU 9.1 that are not listed here are not supported yet: they say so and the "
                         "program ends with status 1.\n");
    return g_string_free(out, FALSE);
}
