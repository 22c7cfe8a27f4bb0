/* NUMA nodes: reading -numa, and its rules. Pure functions; see numa.h. */

#include "machine/numa.h"

#include "base/text.h"
#include "desc/field.h"

#include <inttypes.h>
#include <string.h>

static const char *const type_names[]      = { "node", "dist", "cpu", "hmat-lb", "hmat-cache", NULL };
static const char *const hierarchy_names[] = { "memory", "first-level", "second-level", "third-level", NULL };
static const char *const data_type_names[] = {
    "access-latency", "read-latency", "write-latency", "access-bandwidth", "read-bandwidth", "write-bandwidth", NULL
};
static const char *const associativity_names[] = { "none", "direct", "complex", NULL };
static const char *const policy_names[]        = { "none", "write-back", "write-through", NULL };

enum { HMAT_ENTRY_MAX = 0xfffe };
enum { TYPE_NODE, TYPE_DIST, TYPE_CPU, TYPE_LOCALITY, TYPE_CACHE };

typedef struct NodeOptions {
    uint16_t   nodeid, initiator;
    bool       has_nodeid, has_initiator, has_mem;
    uint64_t   mem;
    char      *memdev;
    GPtrArray *cpus;
} NodeOptions;

/* Ranges as text, "N" or "N-M"; JSON has plain numbers. */
static bool add_range(GPtrArray *list, const Json *value, Error *err)
{
    if (value->kind == JSON_INT) {
        g_ptr_array_add(list, json_print(value, false));
        return true;
    }
    if (value->kind != JSON_STRING) {
        return error_set(err, "expected a list of numbers");
    }
    g_ptr_array_add(list, g_strdup(value->string));
    return true;
}

static void clear_ranges(const Field *field, void *member)
{
    g_clear_pointer((GPtrArray **)member, g_ptr_array_unref);
}

static bool parse_ranges(const Field *field, void *member, const Json *value, Error *err)
{
    GPtrArray *list = g_ptr_array_new_with_free_func(g_free);
    bool       ok   = true;
    if (value->kind == JSON_LIST) {
        for (size_t i = 0; ok && i < value->n; i++) {
            ok = add_range(list, value->items[i], err);
        }
    } else if (value->kind != JSON_NULL) {
        ok = add_range(list, value, err);
    }
    if (!ok) {
        g_ptr_array_unref(list);
        return false;
    }
    clear_ranges(field, member);
    *(GPtrArray **)member = list;
    return true;
}

static Json *print_ranges(const Field *field, const void *member)
{
    const GPtrArray *ranges = *(GPtrArray *const *)member;
    Json            *list   = json_new_list();
    for (guint i = 0; ranges && i < ranges->len; i++) {
        json_append(list, json_new_string(ranges->pdata[i]));
    }
    return list;
}

static const FieldCustom ranges_field = {
    .type_name = "list<uint16>", .parse = parse_ranges, .print = print_ranges, .clear = clear_ranges
};
static const Field cpu_number = { .kind = FIELD_U16, .size = sizeof(uint16_t), .count = 1 }; /* for introspection */

static const Field node_options[] = {
    FIELD(NodeOptions, nodeid, "nodeid", .has_offset = 1 + offsetof(NodeOptions, has_nodeid), .help = "its number"),
    FIELD(NodeOptions, cpus, "cpus", .custom = &ranges_field, .element = &cpu_number, .element_size = sizeof(uint16_t),
          .help = "vCPUs in it: N or N-M"),
    FIELD(NodeOptions, mem, "mem", .size_unit = MiB, .has_offset = 1 + offsetof(NodeOptions, has_mem),
          .help = "its RAM, on boards of QEMU 5.0 and older"),
    FIELD(NodeOptions, memdev, "memdev", .help = "memory backend that is its RAM"),
    FIELD(NodeOptions, initiator, "initiator", .has_offset = 1 + offsetof(NodeOptions, has_initiator),
          .help = "node that reaches its memory best"),
    {},
};

typedef struct DistanceOptions {
    uint16_t src, dst;
    uint8_t  val;
} DistanceOptions;

static const Field distance_options[] = {
    FIELD(DistanceOptions, src, "src", .required = true, .help = "from this node"),
    FIELD(DistanceOptions, dst, "dst", .required = true, .help = "to this one"),
    FIELD(DistanceOptions, val, "val", .required = true, .min = NUMA_LOCAL_DISTANCE, .max = NUMA_UNREACHABLE,
          .help = "distance; 10 is local, 255 unreachable"),
    {},
};

typedef struct CpuOptions {
    uint16_t node_id;
    int64_t  socket_id, die_id, module_id, core_id, thread_id;
    char    *absent;
} CpuOptions;

#define CPU_ID(member, text)                                                                                           \
    FIELD(CpuOptions, member, text, .initial = -1, .min = -1, .max = INT32_MAX, .help = "place in the topology")

static const Field cpu_options[] = {
    FIELD(CpuOptions, node_id, "node-id", .required = true, .help = "node that they are in"),
    CPU_ID(socket_id, "socket-id"),
    CPU_ID(die_id, "die-id"),
    CPU_ID(module_id, "module-id"),
    CPU_ID(core_id, "core-id"),
    CPU_ID(thread_id, "thread-id"),
    FIELD(CpuOptions, absent, "cluster-id", .unsupported = true, .help = "PCs have no clusters"),
    {},
};

typedef struct LocalityOptions {
    uint16_t initiator, target;
    int      hierarchy, data_type;
    uint64_t latency, bandwidth;
    bool     has_latency, has_bandwidth;
} LocalityOptions;

static const Field locality_options[] = {
    FIELD(LocalityOptions, initiator, "initiator", .required = true, .help = "node that reads and writes"),
    FIELD(LocalityOptions, target, "target", .required = true, .help = "node whose memory it is"),
    FIELD(LocalityOptions, hierarchy, "hierarchy", .names = hierarchy_names, .required = true,
          .help = "the memory, or a cache on its side"),
    FIELD(LocalityOptions, data_type, "data-type", .names = data_type_names, .required = true, .help = "what is said"),
    FIELD(LocalityOptions, latency, "latency", .has_offset = 1 + offsetof(LocalityOptions, has_latency),
          .help = "nanoseconds; 0: not known"),
    FIELD(LocalityOptions, bandwidth, "bandwidth", .size_unit = 1,
          .has_offset = 1 + offsetof(LocalityOptions, has_bandwidth), .help = "bytes a second; 0: not known"),
    {},
};

typedef struct CacheOptions {
    uint16_t node_id, line;
    uint64_t size;
    uint8_t  level;
    int      associativity, policy;
} CacheOptions;

static const Field cache_options[] = {
    FIELD(CacheOptions, node_id, "node-id", .required = true, .help = "node whose memory it is for"),
    FIELD(CacheOptions, size, "size", .required = true, .size_unit = 1, .help = "bytes"),
    FIELD(CacheOptions, level, "level", .required = true, .min = 1, .max = NUMA_MAX_CACHE_LEVELS, .help = "from 1 on"),
    FIELD(CacheOptions, associativity, "associativity", .names = associativity_names, .required = true,
          .help = "direct-mapped, or more complex"),
    FIELD(CacheOptions, policy, "policy", .names = policy_names, .required = true, .help = "when it writes"),
    FIELD(CacheOptions, line, "line", .required = true, .help = "bytes in a line"),
    {},
};

/* ---- vCPUs ---- */

static bool put_cpu(NumaConfig *numa, unsigned index, unsigned node, Error *err)
{
    int16_t *of = &numa->cpu_node[index];
    if (*of >= 0 && *of != (int)node) {
        return error_set(err, "vCPU %u is in node %d already", index, *of);
    }
    *of                        = (int16_t)node;
    numa->nodes[node].has_cpus = true;
    numa->have_cpus            = true;
    return true;
}

static bool add_cpu_range(NumaConfig *numa, unsigned node, const char *text, Error *err)
{
    const char      *dash  = strchr(text, '-');
    g_autofree char *start = g_strndup(text, dash ? (size_t)(dash - text) : strlen(text));
    uint64_t         first, last;
    if (!text_parse_uint(start, UINT32_MAX, &first, err) ||
        (dash && !text_parse_uint(dash + 1, UINT32_MAX, &last, err))) {
        return error_prefix(err, "cpus=%s: ", text);
    }
    last = dash ? last : first;
    if (last < first || last >= numa->n_cpus) {
        return error_set(err, "cpus=%s: there are vCPUs 0 to %u", text, numa->n_cpus - 1);
    }
    for (uint64_t i = first; i <= last; i++) {
        if (!put_cpu(numa, (unsigned)i, node, err)) {
            return error_prefix(err, "cpus=%s: ", text);
        }
    }
    return true;
}

static bool node_exists(const NumaConfig *numa, unsigned node, const char *what, Error *err)
{
    return (node < NUMA_MAX_NODES && numa->nodes[node].declared) ||
           error_set(err, "%s=%u: there is no such node; -numa node,nodeid=%u makes it", what, node, node);
}

static bool add_cpu(NumaConfig *numa, CpuOptions *o, Error *err)
{
    const SmpConfig *smp   = &numa->smp;
    const int64_t    ids[] = { o->socket_id, o->die_id, o->module_id, o->core_id, o->thread_id };
    const unsigned   of[]  = { smp->sockets, smp->dies, smp->modules, smp->cores, smp->threads };
    unsigned         found = 0;
    if (!node_exists(numa, o->node_id, "node-id", err)) {
        return false;
    }
    for (unsigned i = 0; i < numa->n_cpus; i++) {
        bool     match = true;
        unsigned rest  = i;
        for (unsigned k = G_N_ELEMENTS(ids); k-- > 0;) {
            match &= ids[k] < 0 || ids[k] == rest % MAX(of[k], 1u);
            rest /= MAX(of[k], 1u);
        }
        if (match && !put_cpu(numa, i, o->node_id, err)) {
            return false;
        }
        found += match;
    }
    return found ||
           error_set(err,
                     "no vCPU has this place in the topology (%u sockets, %u dies, %u modules, %u cores, %u threads)",
                     smp->sockets, smp->dies, smp->modules, smp->cores, smp->threads);
}

/* ---- Nodes ---- */

static bool need_hmat(const NumaConfig *numa, const char *what, Error *err)
{
    return numa->hmat || error_set(err, "%s is for the HMAT, which -machine hmat=on asks for", what);
}

static bool add_node(NumaConfig *numa, NodeOptions *o, Error *err)
{
    unsigned  id   = o->has_nodeid ? o->nodeid : numa->n;
    NumaNode *node = &numa->nodes[MIN(id, NUMA_MAX_NODES - 1u)];
    if (id >= NUMA_MAX_NODES) {
        return error_set(err, "nodeid=%u: there are at most %d nodes", id, NUMA_MAX_NODES);
    }
    if (node->declared) {
        return error_set(err, "nodeid=%u: there is such a node already", id);
    }
    if (o->has_mem) {
        return error_set(err, "mem=: only boards of QEMU 5.0 and older take it; memdev=ID gives the node the memory of "
                              "-object memory-backend-ram,id=ID,size=");
    }
    if (o->has_initiator && !need_hmat(numa, "initiator=", err)) {
        return false;
    }
    node->declared  = true;
    node->memdev    = g_strdup(o->memdev);
    node->initiator = o->has_initiator ? o->initiator : -1;
    numa->n++;
    for (guint i = 0; o->cpus && i < o->cpus->len; i++) {
        if (!add_cpu_range(numa, id, o->cpus->pdata[i], err)) {
            return false;
        }
    }
    return true;
}

static bool add_distance(NumaConfig *numa, const DistanceOptions *o, Error *err)
{
    if (!node_exists(numa, o->src, "src", err) || !node_exists(numa, o->dst, "dst", err)) {
        return false;
    }
    if (o->src == o->dst && o->val != NUMA_LOCAL_DISTANCE) {
        return error_set(err, "val=%u: a node's distance from itself is %d", o->val, NUMA_LOCAL_DISTANCE);
    }
    numa->distances[o->src][o->dst] = o->val;
    numa->have_distances            = true;
    return true;
}

/* ---- HMAT ---- */

static bool add_locality(NumaConfig *numa, const LocalityOptions *o, Error *err)
{
    bool bandwidth = o->data_type >= NUMA_FIRST_BANDWIDTH;
    if (!need_hmat(numa, "hmat-lb", err) || !node_exists(numa, o->initiator, "initiator", err) ||
        !node_exists(numa, o->target, "target", err)) {
        return false;
    }
    if (bandwidth ? !o->has_bandwidth : !o->has_latency) {
        return error_set(err, "data-type=%s needs %s=", data_type_names[o->data_type],
                         bandwidth ? "bandwidth" : "latency");
    }
    if (bandwidth ? o->has_latency : o->has_bandwidth) {
        return error_set(err, "data-type=%s takes no %s=", data_type_names[o->data_type],
                         bandwidth ? "latency" : "bandwidth");
    }
    if (bandwidth && o->bandwidth % MiB) {
        return error_set(err, "bandwidth=: the HMAT has multiples of 1M only");
    }
    for (guint i = 0; i < numa->localities->len; i++) {
        const NumaLocality *l = &g_array_index(numa->localities, NumaLocality, i);
        if (l->initiator == o->initiator && l->target == o->target && l->hierarchy == (unsigned)o->hierarchy &&
            l->data_type == (unsigned)o->data_type) {
            return error_set(err, "%s of initiator=%u, target=%u has been given before", data_type_names[o->data_type],
                             o->initiator, o->target);
        }
    }
    NumaLocality l = { .initiator = o->initiator,
                       .target    = o->target,
                       .hierarchy = (unsigned)o->hierarchy,
                       .data_type = (unsigned)o->data_type,
                       .value     = bandwidth ? o->bandwidth : o->latency };
    g_array_append_val(numa->localities, l);
    return true;
}

static bool add_cache(NumaConfig *numa, const CacheOptions *o, Error *err)
{
    if (!need_hmat(numa, "hmat-cache", err) || !node_exists(numa, o->node_id, "node-id", err)) {
        return false;
    }
    NumaCache *cache = &numa->nodes[o->node_id].caches[o->level - 1];
    if (cache->present) {
        return error_set(err, "the cache of node-id=%u, level=%u has been given before", o->node_id, o->level);
    }
    *cache = (NumaCache){ .present       = true,
                          .size          = o->size,
                          .associativity = (unsigned)o->associativity,
                          .policy        = (unsigned)o->policy,
                          .line          = o->line };
    return true;
}

/* ---- One -numa ---- */

typedef struct TypeOptions {
    int type;
} TypeOptions;

static const Field type_option[] = {
    FIELD(TypeOptions, type, "type", .names = type_names, .required = true, .help = "what it describes"),
    {},
};

bool numa_is_node(const Json *options)
{
    const char *type = json_get_string(options, "type");
    return type && !strcmp(type, "node");
}

static const Field *const type_tables[] = { node_options, distance_options, cpu_options, locality_options,
                                            cache_options };

void numa_foreach_type(void (*visit)(void *opaque, const char *name, const Field *options), void *opaque)
{
    for (unsigned i = 0; type_names[i]; i++) {
        visit(opaque, type_names[i], type_tables[i]);
    }
}

bool numa_add(NumaConfig *numa, const Json *options, bool lenient, Error *err)
{
    static const char *const own[] = { "type", NULL };
    union {
        NodeOptions     node;
        DistanceOptions distance;
        CpuOptions      cpu;
        LocalityOptions locality;
        CacheOptions    cache;
    } o;
    TypeOptions type     = { 0 };
    const Json *value    = json_get(options, "type");
    g_autoptr(Json) only = json_new_object();

    if (value) {
        json_set(only, "type", json_copy(value));
    }
    if (!fields_parse(type_option, &type, only, lenient, NULL, err)) {
        return false;
    }
    memset(&o, 0, sizeof o);
    fields_init(type_tables[type.type], &o);
    bool ok = fields_parse(type_tables[type.type], &o, options, lenient, own, err);
    if (ok) {
        switch (type.type) {
        case TYPE_NODE: ok = add_node(numa, &o.node, err); break;
        case TYPE_DIST: ok = add_distance(numa, &o.distance, err); break;
        case TYPE_CPU: ok = add_cpu(numa, &o.cpu, err); break;
        case TYPE_LOCALITY: ok = add_locality(numa, &o.locality, err); break;
        default: ok = add_cache(numa, &o.cache, err);
        }
    }
    fields_clear(type_tables[type.type], &o);
    return ok;
}

/* ---- All of them ---- */

static bool finish_nodes(const NumaConfig *numa, Error *err)
{
    if (!numa->n) {
        return error_set(err, "there is no node");
    }
    for (unsigned i = 0; i < numa->n; i++) {
        if (!numa->nodes[i].declared) {
            return error_set(err, "nodes count from 0 up, and node %u is missing", i);
        }
    }
    return true;
}

/* Without any word about vCPUs each socket goes to the next node. */
static void finish_cpus(NumaConfig *numa)
{
    const SmpConfig *smp        = &numa->smp;
    unsigned         per_socket = MAX(smp->dies * smp->modules * smp->cores * smp->threads, 1u);
    unsigned         left = 0, first = 0;
    for (unsigned i = 0; i < numa->n_cpus; i++) {
        if (numa->cpu_node[i] >= 0) {
            continue;
        }
        unsigned node              = numa->have_cpus ? 0 : i / per_socket % numa->n;
        first                      = left++ ? first : i;
        numa->cpu_node[i]          = (int16_t)node;
        numa->nodes[node].has_cpus = true;
    }
    if (left && numa->have_cpus) {
        warn_report("-numa: vCPU %u%s in no node: node 0 gets %s", first, left > 1 ? " and others are" : " is",
                    left > 1 ? "them" : "it");
    }
}

static bool finish_distances(NumaConfig *numa, Error *err)
{
    bool asymmetrical = false;
    if (!numa->have_distances) {
        return true;
    }
    for (unsigned i = 0; i < numa->n; i++) {
        numa->distances[i][i] = NUMA_LOCAL_DISTANCE;
        for (unsigned k = 0; k < i; k++) {
            uint8_t a = numa->distances[i][k], b = numa->distances[k][i];
            if (!a && !b) {
                return error_set(err, "dist: the distance between nodes %u and %u is missing: all are needed, or none",
                                 k, i);
            }
            asymmetrical |= a && b && a != b;
        }
    }
    for (unsigned i = 0; i < numa->n; i++) {
        for (unsigned k = 0; k < numa->n; k++) {
            uint8_t *to = &numa->distances[i][k];
            if (!*to && asymmetrical) {
                return error_set(
                    err,
                    "dist: the distance from node %u to %u is missing: where one pair has two distances, all need "
                    "both",
                    i, k);
            }
            *to = *to ? *to : numa->distances[k][i];
        }
    }
    return true;
}

static bool finish_initiators(NumaConfig *numa, Error *err)
{
    for (unsigned i = 0; numa->hmat && i < numa->n; i++) {
        NumaNode *node = &numa->nodes[i];
        if (node->has_cpus) {
            if (node->initiator >= 0 && node->initiator != (int)i) {
                return error_set(err, "node %u: initiator=%d: a node with vCPUs is its own", i, node->initiator);
            }
            node->initiator = (int)i;
        } else if (node->initiator >= 0 &&
                   (node->initiator >= (int)numa->n || !numa->nodes[node->initiator].has_cpus)) {
            return error_set(err, "node %u: initiator=%d: there is no such node with vCPUs", i, node->initiator);
        }
    }
    return true;
}

static bool has_locality(const NumaConfig *numa, unsigned target, bool bandwidth)
{
    for (guint i = 0; i < numa->localities->len; i++) {
        const NumaLocality *l = &g_array_index(numa->localities, NumaLocality, i);
        if (l->target == target && (l->data_type >= NUMA_FIRST_BANDWIDTH) == bandwidth) {
            return true;
        }
    }
    return false;
}

/* Entries of the HMAT are 16-bit numbers times one unit for all of a kind. */
static bool check_span(const NumaConfig *numa, const NumaLocality *like, Error *err)
{
    uint64_t unit = 0, max = 0;
    for (guint i = 0; i < numa->localities->len; i++) {
        const NumaLocality *l = &g_array_index(numa->localities, NumaLocality, i);
        if (l->hierarchy == like->hierarchy && l->data_type == like->data_type) {
            max = MAX(max, l->value);
            for (uint64_t a = l->value, rest; a; a = rest) { /* the greatest common divisor */
                rest = unit % a;
                unit = a;
            }
        }
    }
    return max / MAX(unit, UINT64_C(1)) <= HMAT_ENTRY_MAX ||
           error_set(err, "hmat-lb: values of %s differ too much: the HMAT has 1 to %d times one unit",
                     data_type_names[like->data_type], HMAT_ENTRY_MAX);
}

static bool finish_hmat(const NumaConfig *numa, Error *err)
{
    for (guint i = 0; i < numa->localities->len; i++) {
        const NumaLocality *l = &g_array_index(numa->localities, NumaLocality, i);
        if (!numa->nodes[l->initiator].has_cpus) {
            return error_set(err, "hmat-lb: initiator=%u: that node has no vCPUs", l->initiator);
        }
        if (!check_span(numa, l, err)) {
            return false;
        }
    }
    for (unsigned i = 0; i < numa->n; i++) {
        const NumaCache *caches = numa->nodes[i].caches;
        for (unsigned k = 0; k < NUMA_MAX_CACHE_LEVELS; k++) {
            if (!caches[k].present) {
                continue;
            }
            if (!has_locality(numa, i, false) || !has_locality(numa, i, true)) {
                return error_set(err, "hmat-cache: node-id=%u: hmat-lb has to say latency and bandwidth of that memory",
                                 i);
            }
            if (k && (!caches[k - 1].present || caches[k - 1].size >= caches[k].size)) {
                return error_set(err, "hmat-cache: node-id=%u, level=%u: level %u has to be there, and to be smaller",
                                 i, k + 1, k);
            }
        }
    }
    return true;
}

bool numa_finish(NumaConfig *numa, Error *err)
{
    if (!finish_nodes(numa, err) || !finish_distances(numa, err)) {
        return false;
    }
    finish_cpus(numa);
    return finish_initiators(numa, err) && finish_hmat(numa, err);
}

bool numa_has_memdevs(const NumaConfig *numa)
{
    for (unsigned i = 0; i < numa->n; i++) {
        if (numa->nodes[i].memdev) {
            return true;
        }
    }
    return false;
}

NumaConfig *numa_new(const SmpConfig *smp, bool hmat)
{
    NumaConfig *numa = g_new0(NumaConfig, 1);
    numa->smp        = *smp;
    numa->hmat       = hmat;
    numa->n_cpus     = MAX(smp->max_cpus, 1u);
    numa->cpu_node   = g_new(int16_t, numa->n_cpus);
    numa->localities = g_array_new(FALSE, FALSE, sizeof(NumaLocality));
    for (unsigned i = 0; i < numa->n_cpus; i++) {
        numa->cpu_node[i] = -1;
    }
    for (unsigned i = 0; i < NUMA_MAX_NODES; i++) {
        numa->nodes[i].initiator = -1;
    }
    return numa;
}

void numa_free(NumaConfig *numa)
{
    if (!numa) {
        return;
    }
    for (unsigned i = 0; i < NUMA_MAX_NODES; i++) {
        g_free(numa->nodes[i].memdev);
    }
    g_array_unref(numa->localities);
    g_free(numa->cpu_node);
    g_free(numa);
}
