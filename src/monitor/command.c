/* The tables of commands and events: finding entries, calling commands. Main loop, machine lock held. */

#include "monitor/command.h"

#include "base/text.h"

#include <string.h>

const Field qmp_string = { .name = "", .kind = FIELD_STRING };
const Field qmp_int    = { .name = "", .kind = FIELD_I64 };

/* Tables without an entry, so that the sections are never empty. */
MONITOR_COMMANDS(no) = { {} };
MONITOR_EVENTS(no)   = { {} };

/* The linker makes these. */
extern const MonitorCommand *const __start_quern_commands[] __attribute__((visibility("hidden")));
extern const MonitorCommand *const __stop_quern_commands[] __attribute__((visibility("hidden")));
extern const MonitorEvent *const   __start_quern_events[] __attribute__((visibility("hidden")));
extern const MonitorEvent *const   __stop_quern_events[] __attribute__((visibility("hidden")));

void monitor_commands_foreach(void (*visit)(const MonitorCommand *command, void *opaque), void *opaque)
{
    for (const MonitorCommand *const *t = __start_quern_commands; t < __stop_quern_commands; t++) {
        for (const MonitorCommand *c = *t; c->name; c++) {
            visit(c, opaque);
        }
    }
}

const MonitorCommand *monitor_command_find(const char *name)
{
    for (const MonitorCommand *const *t = __start_quern_commands; t < __stop_quern_commands; t++) {
        for (const MonitorCommand *c = *t; c->name; c++) {
            if (!strcmp(c->name, name)) {
                return c;
            }
        }
    }
    return NULL;
}

void monitor_events_foreach(void (*visit)(const MonitorEvent *event, void *opaque), void *opaque)
{
    for (const MonitorEvent *const *t = __start_quern_events; t < __stop_quern_events; t++) {
        for (const MonitorEvent *e = *t; e->name; e++) {
            visit(e, opaque);
        }
    }
}

const MonitorEvent *monitor_event_find(const char *name)
{
    for (const MonitorEvent *const *t = __start_quern_events; t < __stop_quern_events; t++) {
        for (const MonitorEvent *e = *t; e->name; e++) {
            if (!strcmp(e->name, name)) {
                return e;
            }
        }
    }
    return NULL;
}

/* --- unions --- */

bool qmp_union_parse(const Field *field, void *member, const Json *value, Error *err)
{
    if (value->kind != JSON_OBJECT) {
        return error_set(err, "an object is expected, not %s", json_kind_name(value->kind));
    }
    json_free(*(Json **)member);
    *(Json **)member = json_copy(value);
    return true;
}

Json *qmp_union_print(const Field *field, const void *member)
{
    const Json *value = *(Json *const *)member;
    return value ? json_copy(value) : NULL;
}

void qmp_union_clear(const Field *field, void *member)
{
    g_clear_pointer((Json **)member, json_free);
}

/* --- calling --- */

/* What -compat says about a part that is deprecated or unstable. */
static bool check_policy(int policy, const char *word, const char *kind, const char *name, ErrorClass class, Error *err)
{
    if (policy == COMPAT_ACCEPT) {
        return true;
    }
    if (policy == COMPAT_CRASH) {
        g_printerr("%s %s '%s' used, and -compat asks for a crash\n", word, kind, name);
        abort();
    }
    return error_set_class(err, class, "%s %s '%s' is rejected by -compat", word, kind, name);
}

static bool check_command_policy(Monitor *mon, const MonitorCommand *c, const Json *arguments, Error *err)
{
    const CompatPolicy *p = monitors_policy(mon->all);
    if ((c->flags & COMMAND_DEPRECATED &&
         !check_policy(p->deprecated_input, "Deprecated", "command", c->name, ERROR_COMMAND_NOT_FOUND, err)) ||
        (c->flags & COMMAND_UNSTABLE &&
         !check_policy(p->unstable_input, "Unstable", "command", c->name, ERROR_COMMAND_NOT_FOUND, err))) {
        return false;
    }
    for (const MemberFeature *f = c->member_features; f && f->member; f++) {
        bool deprecated = !strcmp(f->feature, "deprecated");
        if (json_get(arguments, f->member) &&
            !check_policy(deprecated ? p->deprecated_input : p->unstable_input, deprecated ? "Deprecated" : "Unstable",
                          "parameter", f->member, ERROR_GENERIC, err)) {
            return false;
        }
    }
    return true;
}

/* What fields_parse() calls a property is an argument here. */
static bool fail_arguments(Error *err)
{
    static const char *const words[][2] = { { "property ", "argument " }, { "no property ", "no argument " } };
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        if (g_str_has_prefix(err->text, words[i][0])) {
            char *text = g_strconcat(words[i][1], err->text + strlen(words[i][0]), NULL);
            g_free(err->text);
            err->text = text;
            break;
        }
    }
    return false;
}

bool monitor_command_run(Monitor *mon, const MonitorCommand *c, const Json *arguments, Json **result, Error *err)
{
    static const Json empty = { .kind = JSON_OBJECT };
    bool              ok    = true;
    arguments               = arguments ? arguments : &empty;
    if (!check_command_policy(mon, c, arguments, err)) {
        return false;
    }
    if (!c->args_size) {
        bool none = !c->args && !(c->flags & COMMAND_FREE_ARGUMENTS);
        if (none && arguments->n) {
            return error_set(err, "command '%s' takes no arguments, and so no '%s'", c->name, arguments->keys[0]);
        }
        return c->run(mon, (void *)arguments, result, err);
    }
    void *args = g_malloc0(c->args_size);
    fields_init(c->args, args);
    ok = (fields_parse(c->args, args, arguments, false, NULL, err) || fail_arguments(err)) &&
         c->run(mon, args, result, err);
    fields_clear(c->args, args);
    g_free(args);
    return ok;
}

Json *monitor_command(Monitor *mon, const char *name, const Json *arguments, Error *err)
{
    const MonitorCommand *c      = monitor_command_find(name);
    Json                 *result = NULL;
    if (!c) {
        error_set_class(err, ERROR_COMMAND_NOT_FOUND, "The command %s has not been found", name);
        return NULL;
    }
    if (!monitor_command_run(mon, c, arguments, &result, err)) {
        json_free(result);
        return NULL;
    }
    return result ? result : json_new_object();
}
