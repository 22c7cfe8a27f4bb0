/* -smp: working out the CPU topology.
 * Specification: QEMU 9.1 invocation manual, -smp. Pure functions. */

#include "machine/smp.h"

typedef struct SmpOptions {
    uint32_t cpus, maxcpus, drawers, books, sockets, dies, clusters, modules, cores, threads;
    bool     has_cpus, has_maxcpus, has_drawers, has_books, has_sockets, has_dies, has_clusters, has_modules, has_cores,
        has_threads;
} SmpOptions;

#define SMP_FIELD(member, text)                                                                                        \
    FIELD(SmpOptions, member, #member, .has_offset = 1 + offsetof(SmpOptions, has_##member), .help = text)

const Field smp_options[] = {
    SMP_FIELD(cpus, "vCPUs present at start"),
    SMP_FIELD(maxcpus, "vCPUs there can be"),
    SMP_FIELD(drawers, "drawers in the machine; PCs have 1"),
    SMP_FIELD(books, "books in a drawer; PCs have 1"),
    SMP_FIELD(sockets, "sockets in the machine"),
    SMP_FIELD(dies, "dies in a socket"),
    SMP_FIELD(clusters, "clusters in a die; PCs have 1"),
    SMP_FIELD(modules, "modules in a die"),
    SMP_FIELD(cores, "cores in a module"),
    SMP_FIELD(threads, "threads in a core"),
    {},
};

static bool check_given(const SmpOptions *o, Error *err)
{
    const struct {
        const char *name;
        bool        given, pc_has_it;
        uint32_t    value;
    } members[] = {
        { "cpus", o->has_cpus, true, o->cpus },
        { "maxcpus", o->has_maxcpus, true, o->maxcpus },
        { "drawers", o->has_drawers, false, o->drawers },
        { "books", o->has_books, false, o->books },
        { "sockets", o->has_sockets, true, o->sockets },
        { "dies", o->has_dies, true, o->dies },
        { "clusters", o->has_clusters, false, o->clusters },
        { "modules", o->has_modules, true, o->modules },
        { "cores", o->has_cores, true, o->cores },
        { "threads", o->has_threads, true, o->threads },
    };
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        if (members[i].given && !members[i].value) {
            return error_set(err, "Invalid CPU topology: CPU topology parameters must be greater than zero: %s is 0",
                             members[i].name);
        }
    }
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++) {
        if (members[i].given && !members[i].pc_has_it && members[i].value > 1) {
            return error_set(err, "%s > 1 not supported by this machine's CPU topology", members[i].name);
        }
    }
    return true;
}

static uint64_t first_given(uint64_t value, uint64_t otherwise)
{
    return value ? value : otherwise;
}

bool smp_parse(const Json *json, bool lenient, bool prefer_cores, unsigned max_cpus, const char *machine,
               SmpConfig *smp, Error *err)
{
    SmpOptions o = { 0 };
    fields_init(smp_options, &o);
    if (json && (!fields_parse(smp_options, &o, json, lenient, NULL, err) || !check_given(&o, err))) {
        return false;
    }
    uint64_t dies = first_given(o.dies, 1), modules = first_given(o.modules, 1);
    uint64_t sockets = o.sockets, cores = o.cores, threads = o.threads;
    uint64_t max = first_given(o.maxcpus, o.cpus);
    /* Products of factors below 2^32 may not fit: anything above this is refused below anyhow. */
    unsigned __int128 fixed = (unsigned __int128)dies * modules;
    if (!max) {
        sockets = first_given(sockets, 1);
        cores   = first_given(cores, 1);
        threads = first_given(threads, 1);
    } else if (prefer_cores ? !cores : sockets && !cores) {
        sockets = first_given(sockets, 1);
        threads = first_given(threads, 1);
        cores   = (uint64_t)(max / (fixed * sockets * threads));
    } else if (!sockets) {
        cores   = first_given(cores, 1);
        threads = first_given(threads, 1);
        sockets = (uint64_t)(max / (fixed * cores * threads));
    }
    if (!threads) {
        threads = (uint64_t)(max / (fixed * sockets * first_given(cores, 1)));
    }
    unsigned __int128 total = fixed * sockets * cores;
    total                   = total > UINT32_MAX ? total : total * threads;
    max                     = first_given(max, total > UINT32_MAX ? UINT32_MAX : (uint64_t)total);
    uint64_t         cpus   = first_given(o.cpus, max);
    g_autofree char *hierarchy =
        g_strdup_printf("sockets (%u) * dies (%u) * modules (%u) * cores (%u) * threads (%u)", (unsigned)sockets,
                        (unsigned)dies, (unsigned)modules, (unsigned)cores, (unsigned)threads);
    if (total != max) {
        return error_set(err, "Invalid CPU topology: product of the hierarchy must match maxcpus: %s != maxcpus (%u)",
                         hierarchy, (unsigned)max);
    }
    if (max < cpus) {
        return error_set(err,
                         "Invalid CPU topology: maxcpus must be equal to or greater than smp: %s == maxcpus (%u) < "
                         "smp_cpus (%u)",
                         hierarchy, (unsigned)max, (unsigned)cpus);
    }
    if (max > max_cpus) {
        return error_set(err, "Invalid SMP CPUs %u. The max CPUs supported by machine '%s' is %u", (unsigned)max,
                         machine, max_cpus);
    }
    *smp = (SmpConfig){ .cpus     = (unsigned)cpus,
                        .max_cpus = (unsigned)max,
                        .sockets  = (unsigned)sockets,
                        .dies     = (unsigned)dies,
                        .modules  = (unsigned)modules,
                        .cores    = (unsigned)cores,
                        .threads  = (unsigned)threads };
    return true;
}
