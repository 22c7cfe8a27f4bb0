/* query-command-line-options: the keys of options, from the same tables that parse them. Main loop, machine lock held.
 */

#include "cli/cli.h"
#include "monitor/command.h"

#include <string.h>

/* The linker makes these. */
extern const CliKeys *const __start_quern_keys[] __attribute__((visibility("hidden")));
extern const CliKeys *const __stop_quern_keys[] __attribute__((visibility("hidden")));

static const char *const type_names[] = { "string", "boolean", "number", "size", NULL };

static const char *key_type(const Field *field)
{
    if (field->size_unit) {
        return "size";
    }
    if (field->names || field->custom) {
        return "string";
    }
    return field->kind == FIELD_BOOL                                ? "boolean"
           : field->kind >= FIELD_U8 && field->kind <= FIELD_DOUBLE ? "number"
                                                                    : "string";
}

/* Tables of several types may have the same key: it is told once. */
static void add_table(Json *parameters, GHashTable *seen, const Field *table)
{
    for (const Field *f = table; f && f->kind != FIELD_END; f++) {
        if (f->kind == FIELD_FLAT) {
            add_table(parameters, seen, f->sub);
            continue;
        }
        if (!g_hash_table_add(seen, (gpointer)f->name)) {
            continue;
        }
        Json *key = json_new_object();
        json_add(key, "name", json_new_string(f->name));
        json_add(key, "type", json_new_string(key_type(f)));
        if (f->help) {
            json_add(key, "help", json_new_string(f->help));
        }
        if (f->text && f->kind == FIELD_STRING) {
            json_add(key, "default", json_new_string(f->text));
        }
        json_append(parameters, key);
    }
}

typedef struct TypeKeys {
    Json       *parameters;
    GHashTable *seen;
    ObjectClass class;
} TypeKeys;

static void add_type(const ObjectType *type, void *opaque)
{
    TypeKeys *keys = opaque;
    if (type->class == keys->class) {
        add_table(keys->parameters, keys->seen, type->properties);
    }
}

/* Options whose keys are those of all types that may be their first one. */
static const struct {
    const char *group, *implied;
    ObjectClass class;
} typed[] = {
    { "machine", "type", OBJECT_CLASS_MACHINE },
    { "accel", "accel", OBJECT_CLASS_ACCEL },
    { "chardev", "backend", OBJECT_CLASS_CHARDEV },
};

static void add_typed_keys(Json *parameters, GHashTable *seen, const char *group)
{
    for (size_t i = 0; i < G_N_ELEMENTS(typed); i++) {
        if (strcmp(group, typed[i].group) != 0) {
            continue;
        }
        const Field first[] = { { .name = typed[i].implied, .kind = FIELD_STRING }, {} };
        TypeKeys    keys    = { .parameters = parameters, .seen = seen, .class = typed[i].class };
        add_table(parameters, seen, first);
        if (typed[i].class == OBJECT_CLASS_CHARDEV) {
            add_table(parameters, seen, char_common_options);
        }
        object_type_foreach(add_type, &keys);
    }
}

static Json *describe(const Option *option, const char *group)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    Json *entry                = json_new_object();
    json_add(entry, "option", json_new_string(group));
    Json *parameters = json_add(entry, "parameters", json_new_list());
    add_typed_keys(parameters, seen, group);
    for (const CliKeys *const *k = __start_quern_keys; k < __stop_quern_keys; k++) {
        if (!strcmp((*k)->group, group)) {
            add_table(parameters, seen, (*k)->table);
        }
    }
    return entry;
}

typedef struct OptionsArgs {
    char *option;
} OptionsArgs;

static const Field options_args[] = { FIELD(OptionsArgs, option, "option", .help = "only this one"), {} };

static const Field parameter_info[] = {
    QMP_STRING("name"), QMP_ENUM("type", type_names), QMP_MAYBE_STRING("help"), QMP_MAYBE_STRING("default"), {}
};
static const Field option_info[]  = { QMP_STRING("option"), QMP_LIST("parameters", parameter_info), {} };
static const Field options_result = QMP_LIST("", option_info);

static bool query_command_line_options(Monitor *mon, void *args, Json **result, Error *err)
{
    const char *wanted = ((OptionsArgs *)args)->option;
    *result            = json_new_list();
    for (const Option *o = cli_options; o->name; o++) {
        const char *group = o->group ? o->group : o->name;
        if (o->form == OPTION_KEYS && !o->missing && !o->means && (!wanted || !strcmp(wanted, group))) {
            json_append(*result, describe(o, group));
        }
    }
    if (wanted && !(*result)->n) {
        return error_set(err, "no option '%s' that takes keys", wanted);
    }
    return true;
}

MONITOR_COMMANDS(cli) = {
    { .name      = "query-command-line-options",
      .args      = options_args,
      .args_size = sizeof(OptionsArgs),
      .result    = &options_result,
      .flags     = COMMAND_PRECONFIG,
      .help      = "options of the command line and their keys",
      .run       = query_command_line_options },
    {},
};
