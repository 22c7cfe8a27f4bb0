/* Statistics that an accelerator or its host keeps: QMP's query-stats and query-stats-schemas, HMP's "info stats".
 * KVM has them; the translator's own counters are "info jit". */

#include "machine/cpu_object.h"
#include "monitor/command.h"
#include "monitor/hmp_command.h"

#include <inttypes.h>
#include <string.h>

typedef enum StatsTarget { STATS_VM, STATS_VCPU, STATS_CRYPTODEV } StatsTarget;

static const char *const targets[]   = { "vm", "vcpu", "cryptodev", NULL };
static const char *const providers[] = { "kvm", "cryptodev", NULL };
static const char *const kinds[]     = { "cumulative", "instant", "peak", "linear-histogram", "log2-histogram", NULL };
static const char *const units[]     = { "bytes", "seconds", "cycles", "boolean", NULL };

/* What the accelerator has; NULL: nothing, perhaps with an error. */
static Json *accel_stats(Machine *m, X86Cpu *cpu, bool schema, Error *err)
{
    const AccelType *type = accel_type(m->accel);
    return type->stats ? type->stats(m->accel, cpu, schema, err) : NULL;
}

/* The accelerators' statistics are named after them. */
static int provider_of(const Machine *m)
{
    for (int i = 0; providers[i]; i++) {
        if (!strcmp(providers[i], accel_type(m->accel)->name)) {
            return i;
        }
    }
    return -1;
}

/* --- query-stats --- */

typedef struct StatsRequest {
    int        provider;
    GPtrArray *names; /* NULL: all */
} StatsRequest;

typedef struct StatsArgs {
    int        target;
    GPtrArray *vcpus;    /* NULL: all */
    GPtrArray *requests; /* StatsRequest *; NULL: all */
} StatsArgs;

static const Field request_args[] = {
    FIELD(StatsRequest, provider, "provider", .names = providers, .required = true, .help = "who keeps them"),
    FIELD(StatsRequest, names, "names", .element = &qmp_string, .help = "of statistics; not given: all"),
    {},
};

static const Field stats_args[] = {
    FIELD(StatsArgs, target, "target", .names = targets, .required = true, .help = "what they are about"),
    FIELD(StatsArgs, vcpus, "vcpus", .element = &qmp_string, .help = "paths of vCPUs; not given: all"),
    FIELD(StatsArgs, requests, "providers", .sub = request_args, .element_size = sizeof(StatsRequest),
          .help = "who keeps them; not given: all"),
    {},
};

static const Field value_info[] = { QMP_STRING("name"), QMP_ANY("value"), {} };
static const Field stats_info[] = {
    QMP_ENUM("provider", providers), QMP_MAYBE_STRING("qom-path"), QMP_LIST("stats", value_info), {}
};
static const Field stats_result   = QMP_LIST("", stats_info);
static const Field schema_value[] = { QMP_STRING("name"),
                                      QMP_ENUM("type", kinds),
                                      QMP_MAYBE_ENUM("unit", units),
                                      QMP_MAYBE_INT("base"),
                                      QMP_INT("exponent"),
                                      QMP_MAYBE_INT("bucket-size"),
                                      {} };
static const Field schema_info[]  = {
     QMP_ENUM("provider", providers), QMP_ENUM("target", targets), QMP_LIST("stats", schema_value), {}
};
static const Field schema_result = QMP_LIST("", schema_info);

static bool is_listed(const GPtrArray *list, const char *text)
{
    for (unsigned i = 0; list && i < list->len; i++) {
        if (!strcmp(list->pdata[i], text)) {
            return true;
        }
    }
    return !list;
}

/* Is it asked for, by any of the requests for this provider? */
static bool is_wanted(const StatsArgs *a, int provider, const char *name)
{
    for (unsigned i = 0; a->requests && i < a->requests->len; i++) {
        const StatsRequest *r = a->requests->pdata[i];
        if (r->provider == provider && is_listed(r->names, name)) {
            return true;
        }
    }
    return !a->requests;
}

/* Adds an entry with what is wanted of a vCPU's or the VM's statistics; nothing if that is none. */
static bool add_stats(Machine *m, X86Cpu *cpu, const char *path, const StatsArgs *a, Json *result, Error *err)
{
    int provider        = provider_of(m);
    g_autoptr(Json) all = accel_stats(m, cpu, false, err);
    if (!all || provider < 0) {
        return !error_is_set(err);
    }
    Json *list = json_new_list();
    for (size_t i = 0; i < all->n; i++) {
        if (is_wanted(a, provider, json_get_string(all->items[i], "name"))) {
            json_append(list, json_copy(all->items[i]));
        }
    }
    if (!list->n) {
        json_free(list);
        return true;
    }
    Json *entry = json_new_object();
    json_add(entry, "provider", json_new_string(providers[provider]));
    if (path) {
        json_add(entry, "qom-path", json_new_string(path));
    }
    json_add(entry, "stats", list);
    json_append(result, entry);
    return true;
}

static bool query_stats(Monitor *mon, void *args, Json **result, Error *err)
{
    Machine         *m  = mon->machine;
    const StatsArgs *a  = args;
    bool             ok = true;
    if (a->vcpus && a->target != STATS_VCPU) {
        return error_set(err, "argument 'vcpus' goes with target 'vcpu'");
    }
    *result = json_new_list();
    if (a->target == STATS_VM) {
        return add_stats(m, NULL, NULL, a, *result, err);
    }
    for (unsigned i = 0; a->target == STATS_VCPU && i < m->cpus->len && ok; i++) {
        CpuObject       *node = cpu_object_find(m, m->cpus->pdata[i]);
        g_autofree char *path = node ? object_path(&node->obj) : g_strdup("");
        if (is_listed(a->vcpus, path)) {
            ok = add_stats(m, m->cpus->pdata[i], path, a, *result, err);
        }
    }
    return ok;
}

/* --- query-stats-schemas --- */

typedef struct SchemaArgs {
    int  provider;
    bool has_provider;
} SchemaArgs;

static const Field schema_args[] = {
    FIELD(SchemaArgs, provider, "provider", .names = providers, .has_offset = 1 + offsetof(SchemaArgs, has_provider),
          .help = "who keeps them; not given: all"),
    {},
};

static bool add_schema(Machine *m, X86Cpu *cpu, StatsTarget target, Json *result, Error *err)
{
    Json *list = accel_stats(m, cpu, true, err);
    if (!list) {
        return !error_is_set(err);
    }
    Json *entry = json_new_object();
    json_add(entry, "provider", json_new_string(providers[provider_of(m)]));
    json_add(entry, "target", json_new_string(targets[target]));
    json_add(entry, "stats", list);
    json_append(result, entry);
    return true;
}

static bool query_stats_schemas(Monitor *mon, void *args, Json **result, Error *err)
{
    Machine          *m = mon->machine;
    const SchemaArgs *a = args;
    *result             = json_new_list();
    if (provider_of(m) < 0 || (a->has_provider && a->provider != provider_of(m))) {
        return true;
    }
    return add_schema(m, NULL, STATS_VM, *result, err) &&
           (!m->cpus->len || add_schema(m, m->cpus->pdata[0], STATS_VCPU, *result, err));
}

MONITOR_COMMANDS(stats) = {
    { .name      = "query-stats",
      .args      = stats_args,
      .args_size = sizeof(StatsArgs),
      .result    = &stats_result,
      .help      = "statistics of the VM or of vCPUs",
      .run       = query_stats },
    { .name      = "query-stats-schemas",
      .args      = schema_args,
      .args_size = sizeof(SchemaArgs),
      .result    = &schema_result,
      .help      = "what each of the statistics is",
      .run       = query_stats_schemas },
    {},
};

/* --- HMP --- */

/* ", ns": in what a statistic is counted; "" for mere numbers. */
static char *unit_text(const Json *schema)
{
    static const struct {
        const char *unit;
        int64_t     base, exponent;
        const char *text;
    } known[] = {
        { "bytes", 2, 10, "KiB" },   { "bytes", 2, 20, "MiB" },   { "bytes", 2, 30, "GiB" },
        { "seconds", 10, -3, "ms" }, { "seconds", 10, -6, "us" }, { "seconds", 10, -9, "ns" },
    };
    const char *unit     = json_get_string(schema, "unit");
    int64_t     exponent = json_get(schema, "exponent")->integer;
    int64_t     base     = exponent ? json_get(schema, "base")->integer : 0;
    if (!exponent) {
        return unit ? g_strdup_printf(", %s", unit) : g_strdup("");
    }
    for (size_t i = 0; unit && i < G_N_ELEMENTS(known); i++) {
        if (!strcmp(unit, known[i].unit) && base == known[i].base && exponent == known[i].exponent) {
            return g_strdup_printf(", %s", known[i].text);
        }
    }
    return g_strdup_printf(", * %" PRId64 "^%" PRId64 "%s%s", base, exponent, unit ? " " : "", unit ? unit : "");
}

static void print_value(Hmp *h, const Json *schema, const Json *value)
{
    const Json *bucket = json_get(schema, "bucket-size");
    if (value->kind == JSON_BOOL) {
        hmp_print(h, " %s", value->boolean ? "yes" : "no");
    } else if (value->kind != JSON_LIST) {
        hmp_print(h, " %" PRId64, value->integer);
    } else {
        for (size_t i = 0; i < value->n; i++) {
            if (bucket) {
                hmp_print(h, " [%" PRIu64 "-%" PRIu64 "]", i * (uint64_t)bucket->integer,
                          (i + 1) * (uint64_t)bucket->integer);
            } else {
                hmp_print(h, " [%zu]", i + 1);
            }
            hmp_print(h, "=%" PRId64, value->items[i]->integer);
        }
    }
    hmp_print(h, "\n");
}

static bool info_stats(Hmp *h, Error *err)
{
    const char *target   = hmp_text(h, "target");
    const char *provider = hmp_given(h, "provider") ? hmp_text(h, "provider") : NULL;
    const char *names    = hmp_given(h, "names") ? hmp_text(h, "names") : "*";
    Machine    *m        = h->machine;
    X86Cpu     *cpu      = NULL;
    if (!g_strv_contains(targets, target)) {
        return error_set(err, "no statistics of '%s': there are some of the vm and of each vcpu", target);
    }
    if (provider && !g_strv_contains(providers, provider)) {
        return error_set(err, "no provider '%s' of statistics: there is 'kvm'", provider);
    }
    if (strcmp(target, "vcpu") == 0 && !(cpu = hmp_cpu(h, err))) {
        return false;
    }
    int of = provider_of(m);
    if (of < 0 || !strcmp(target, "cryptodev") || (provider && strcmp(provider, providers[of]) != 0)) {
        return true; /* nobody keeps any */
    }
    g_autoptr(Json) schema = accel_stats(m, cpu, true, err);
    g_autoptr(Json) values = schema ? accel_stats(m, cpu, false, err) : NULL;
    g_auto(GStrv) wanted   = g_strsplit(names, ",", -1);
    if (!values) {
        return !error_is_set(err);
    }
    if (!provider) {
        hmp_print(h, "provider: %s\n", providers[of]);
    }
    for (size_t i = 0; i < values->n && i < schema->n; i++) {
        const char *name = json_get_string(values->items[i], "name");
        if (strcmp(names, "*") == 0 || g_strv_contains((const char *const *)wanted, name)) {
            g_autofree char *unit = unit_text(schema->items[i]);
            hmp_print(h, "    %s (%s%s):", name, json_get_string(schema->items[i], "type"), unit);
            print_value(h, schema->items[i], json_get(values->items[i], "value"));
        }
    }
    return true;
}

HMP_INFO(stats) = {
    { .name   = "stats",
      .params = "target [names] [provider]",
      .help   = "statistics of the vm or of the current vcpu: all or * or some by their names, joined by commas",
      .args   = { { "target", HMP_STRING, .words = HMP_WORDS_CHOICES, .choices = targets },
                  { "names", HMP_STRING, .optional = true },
                  { "provider", HMP_STRING, .optional = true, .words = HMP_WORDS_CHOICES, .choices = providers } },
      .run    = info_stats },
    {},
};
