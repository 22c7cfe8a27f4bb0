/* Commands about CPU models: which there are, what they expand to, how they compare. */

#include "base/text.h"
#include "cpu/x86/features.h"
#include "cpu/x86/model_table.h"
#include "monitor/command.h"
#include "monitor/cpu_model.h"

#include <string.h>

/* --- query-cpu-definitions --- */

static const Field definition_info[]  = { QMP_STRING("name"),     QMP_MAYBE_BOOL("migration-safe"),
                                          QMP_BOOL("static"),     QMP_MAYBE_LIST_OF("unavailable-features", &qmp_string),
                                          QMP_STRING("typename"), QMP_MAYBE_STRING("alias-of"),
                                          QMP_BOOL("deprecated"), {} };
static const Field definitions_result = QMP_LIST("", definition_info);

static Json *unavailable_features(Machine *m, const char *name)
{
    g_auto(Error) err      = { 0 };
    g_autofree char *text  = g_strdup_printf("%s,check=off", name);
    X86Model        *model = x86_model_parse(text, accel_hypervisor(m->accel), &err);
    Json            *list;
    if (model) {
        list = cpu_model_unavailable(model);
        x86_model_free(model);
    } else {
        list = json_new_list(); /* "host", which only KVM has */
        json_append(list, json_new_string("kvm"));
    }
    return list;
}

static void add_definition(Json *list, Machine *m, const char *name, const char *alias_of, bool safe)
{
    Json *d = json_new_object();
    json_add(d, "name", json_new_string(name));
    json_add(d, "typename", json_new_format("%s" CPU_TYPE_SUFFIX, name));
    json_add(d, "unavailable-features", unavailable_features(m, name));
    json_add(d, "static", json_new_bool(!strcmp(name, "base")));
    json_add(d, "migration-safe", json_new_bool(safe));
    json_add(d, "deprecated", json_new_bool(false));
    if (alias_of) {
        json_add(d, "alias-of", json_new_string(alias_of));
    }
    json_append(list, d);
}

static void add_row(Json *list, Machine *m, const X86ModelRow *row)
{
    if (row->single) {
        add_definition(list, m, row->name, NULL, row->features != NULL);
        return;
    }
    g_autofree char *first = g_strdup_printf("%s-v1", row->name);
    add_definition(list, m, row->name, first, true);
    add_definition(list, m, first, NULL, true);
    for (unsigned i = 0; i < X86_MODEL_MAX_LATER && row->later[i].changes; i++) {
        g_autofree char *version = g_strdup_printf("%s-v%u", row->name, i + 2);
        add_definition(list, m, version, NULL, true);
        if (row->later[i].alias) {
            add_definition(list, m, row->later[i].alias, version, true);
        }
    }
}

static bool query_cpu_definitions(Monitor *mon, void *args, Json **result, Error *err)
{
    const X86ModelRow *row;
    *result = json_new_list();
    for (size_t i = 0; (row = x86_model_row(i)) != NULL; i++) {
        add_row(*result, mon->machine, row);
    }
    return true;
}

/* --- models with changes --- */

typedef struct ModelInfo {
    char *name;
    Json *props;
} ModelInfo;

static const Field model_info[] = {
    FIELD(ModelInfo, name, "name", .required = true, .help = "of the model"),
    FIELD(ModelInfo, props, "props", .help = "what differs from it"),
    {},
};

/* As a value of "-cpu NAME,PROP=VALUE": a comma is doubled there. */
static bool append_value(GString *text, const char *name, const Json *value, Error *err)
{
    if (value->kind == JSON_LIST || value->kind == JSON_OBJECT || value->kind == JSON_NULL) {
        return error_set(err, "property '%s' takes a boolean, a number or a string, not %s", name,
                         json_kind_name(value->kind));
    }
    g_autofree char *plain  = value->kind == JSON_STRING ? g_strdup(value->string)
                              : value->kind == JSON_BOOL ? g_strdup(value->boolean ? "on" : "off")
                                                         : json_print(value, false);
    g_auto(GStrv) parts     = g_strsplit(plain, ",", -1);
    g_autofree char *quoted = g_strjoinv(",,", parts);
    g_string_append_printf(text, ",%s=%s", name, quoted);
    return true;
}

static X86Model *parse_model(Monitor *mon, const ModelInfo *info, Error *err)
{
    g_autoptr(GString) text = g_string_new(NULL);
    if (strpbrk(info->name, ",=")) {
        error_set(err, "no CPU model '%s'", info->name);
        return NULL;
    }
    if (info->props && info->props->kind != JSON_OBJECT) {
        error_set(err, "argument 'model.props' takes an object, not %s", json_kind_name(info->props->kind));
        return NULL;
    }
    /* Management asks for "host" also where nothing but "max" can be had, and means what a guest can have here. */
    bool max = !strcmp(info->name, "host") && strcmp(mon->machine->accel->obj.type->name, "kvm");
    g_string_printf(text, "%s,check=off", max ? "max" : info->name);
    for (size_t i = 0; info->props && i < info->props->n; i++) {
        if (strpbrk(info->props->keys[i], ",=+")) {
            error_set(err, "no CPU feature or property '%s'", info->props->keys[i]);
            return NULL;
        }
        if (!append_value(text, info->props->keys[i], info->props->items[i], err)) {
            return NULL;
        }
    }
    return x86_model_parse(text->str, accel_hypervisor(mon->machine->accel), err);
}

/* {"name": NAME, "props": PROPS}; takes `props`. */
static Json *describe_model(const char *name, Json *props)
{
    Json *model = json_new_object();
    json_add(model, "name", json_new_string(name));
    json_add(model, "props", props);
    return model;
}

static const Field model_result_info[] = { QMP_STRING("name"), QMP_MAYBE_ANY("props"), {} };

/* --- query-cpu-model-expansion --- */

enum { EXPAND_STATIC, EXPAND_FULL };
static const char *const expansion_names[] = { "static", "full", NULL };

typedef struct ExpansionArgs {
    int       type;
    ModelInfo model;
} ExpansionArgs;

static const Field expansion_args[] = {
    FIELD(ExpansionArgs, type, "type", .names = expansion_names, .required = true, .help = "how much is told"),
    FIELD(ExpansionArgs, model, "model", .sub = model_info, .required = true, .help = "the model"),
    {},
};
static const Field expansion_info[] = { QMP_OBJECT("model", model_result_info), {} };
static const Field expansion_result = QMP_OBJECT("", expansion_info);

static bool query_cpu_model_expansion(Monitor *mon, void *args, Json **result, Error *err)
{
    ExpansionArgs *a     = args;
    X86Model      *model = parse_model(mon, &a->model, err);
    if (!model) {
        return false;
    }
    *result = json_new_object();
    json_add(*result, "model",
             describe_model(a->type == EXPAND_STATIC ? "base" : a->model.name, cpu_model_properties(model)));
    x86_model_free(model);
    return true;
}

/* --- query-cpu-model-comparison, query-cpu-model-baseline --- */

typedef struct TwoModelsArgs {
    ModelInfo a, b;
} TwoModelsArgs;

static const Field two_models_args[] = {
    FIELD(TwoModelsArgs, a, "modela", .sub = model_info, .required = true, .help = "one model"),
    FIELD(TwoModelsArgs, b, "modelb", .sub = model_info, .required = true, .help = "the other one"),
    {},
};

static bool parse_two(Monitor *mon, const TwoModelsArgs *args, X86Model *models[2], Error *err)
{
    models[0] = parse_model(mon, &args->a, err);
    models[1] = models[0] ? parse_model(mon, &args->b, err) : NULL;
    if (!models[1]) {
        x86_model_free(models[0]);
    }
    return models[1] != NULL;
}

static const char *const comparison_names[] = { "incompatible", "identical", "superset", "subset", NULL };
static const Field       comparison_info[]  = { QMP_ENUM("result", comparison_names),
                                                QMP_LIST_OF("responsible-properties", &qmp_string),
                                                {} };
static const Field       comparison_result  = QMP_OBJECT("", comparison_info);

/* The first is a superset when it has all the features of the second and more. Models of different processors are
 * incompatible: guests look at more than feature bits. */
static bool query_cpu_model_comparison(Monitor *mon, void *args, Json **result, Error *err)
{
    X86Model *m[2];
    if (!parse_two(mon, args, m, err)) {
        return false;
    }
    Json *a = cpu_model_properties(m[0]), *b = cpu_model_properties(m[1]), *differ = json_new_list();
    bool  a_more = false, b_more = false, other = false;
    for (size_t i = 0; i < a->n; i++) {
        if (json_equal(a->items[i], b->items[i])) {
            continue;
        }
        bool flag = a->items[i]->kind == JSON_BOOL;
        a_more |= flag && a->items[i]->boolean;
        b_more |= flag && b->items[i]->boolean;
        other |= !strcmp(a->keys[i], "vendor");
        json_append(differ, json_new_string(a->keys[i]));
    }
    const char *word = other || (a_more && b_more) ? "incompatible"
                       : a_more                    ? "superset"
                       : b_more                    ? "subset"
                       : differ->n                 ? "incompatible"
                                                   : "identical";
    *result          = json_new_object();
    json_add(*result, "result", json_new_string(word));
    json_add(*result, "responsible-properties", differ);
    json_free(a);
    json_free(b);
    x86_model_free(m[0]);
    x86_model_free(m[1]);
    return true;
}

static const Field baseline_info[] = { QMP_OBJECT("model", model_result_info), {} };
static const Field baseline_result = QMP_OBJECT("", baseline_info);

/* What both have, as changes to "base": the first one's identity, the smaller numbers. */
static bool query_cpu_model_baseline(Monitor *mon, void *args, Json **result, Error *err)
{
    X86Model *m[2];
    if (!parse_two(mon, args, m, err)) {
        return false;
    }
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        m[0]->features[i] &= m[1]->features[i];
    }
    x86_words_close(m[0]->features);
    m[0]->level     = MIN(m[0]->level, m[1]->level);
    m[0]->xlevel    = MIN(m[0]->xlevel, m[1]->xlevel);
    m[0]->phys_bits = MIN(m[0]->phys_bits, m[1]->phys_bits);
    *result         = json_new_object();
    json_add(*result, "model", describe_model("base", cpu_model_properties(m[0])));
    x86_model_free(m[0]);
    x86_model_free(m[1]);
    return true;
}

MONITOR_COMMANDS(cpu) = {
    { .name   = "query-cpu-definitions",
      .result = &definitions_result,
      .help   = "CPU models",
      .run    = query_cpu_definitions },
    { .name      = "query-cpu-model-expansion",
      .args      = expansion_args,
      .args_size = sizeof(ExpansionArgs),
      .result    = &expansion_result,
      .help      = "what a CPU model stands for",
      .run       = query_cpu_model_expansion },
    { .name      = "query-cpu-model-comparison",
      .args      = two_models_args,
      .args_size = sizeof(TwoModelsArgs),
      .result    = &comparison_result,
      .help      = "which of two CPU models has more",
      .run       = query_cpu_model_comparison },
    { .name      = "query-cpu-model-baseline",
      .args      = two_models_args,
      .args_size = sizeof(TwoModelsArgs),
      .result    = &baseline_result,
      .help      = "what two CPU models have in common",
      .run       = query_cpu_model_baseline },
    {},
};
