/* NUMA nodes as -numa describes them: which vCPUs and which RAM belong to a node, distances, and what the HMAT says of
 * latencies, bandwidths and caches on the memory's side. Plain data; the ACPI tables are made of it (acpi_numa.c).
 * Specification: QEMU 9.1 invocation manual, -numa. */

#ifndef QUERN_MACHINE_NUMA_H
#define QUERN_MACHINE_NUMA_H

#include "base/json.h"
#include "machine/smp.h"

enum {
    NUMA_MAX_NODES        = 128,
    NUMA_LOCAL_DISTANCE   = 10,
    NUMA_DEFAULT_DISTANCE = 20,
    NUMA_UNREACHABLE      = 255,
    NUMA_MAX_CACHE_LEVELS = 3,
    NUMA_N_HIERARCHIES    = 4,
    NUMA_N_DATA_TYPES     = 6,
    NUMA_FIRST_BANDWIDTH  = 3, /* data types below it are latencies */
};

typedef struct NumaCache {
    bool     present;
    uint64_t size;
    unsigned associativity, policy; /* as the HMAT has them */
    uint16_t line;
} NumaCache;

typedef struct NumaNode {
    bool      declared;
    char     *memdev; /* NULL: none */
    uint64_t  size;   /* of its RAM, known once RAM has been made */
    bool      has_cpus;
    int       initiator; /* -1: not said */
    NumaCache caches[NUMA_MAX_CACHE_LEVELS];
} NumaNode;

/* One -numa hmat-lb: nanoseconds, or bytes a second. */
typedef struct NumaLocality {
    uint16_t initiator, target;
    unsigned hierarchy, data_type;
    uint64_t value;
} NumaLocality;

struct NumaConfig {
    unsigned  n;      /* nodes 0 to n - 1 */
    unsigned  n_cpus; /* vCPUs there can be */
    bool      hmat;   /* -machine hmat=on */
    bool      have_distances, have_cpus;
    NumaNode  nodes[NUMA_MAX_NODES];
    uint8_t   distances[NUMA_MAX_NODES][NUMA_MAX_NODES]; /* [from][to]; 0: not said */
    int16_t  *cpu_node;                                  /* by index; -1: not said */
    GArray   *localities;                                /* NumaLocality */
    SmpConfig smp;
};

NumaConfig *numa_new(const SmpConfig *smp, bool hmat);
void        numa_free(NumaConfig *numa); /* NULL is fine */

/* Does this -numa declare a node? Those come before the others. */
bool numa_is_node(const Json *options);

/* What follows "type", for each of them. */
void numa_foreach_type(void (*visit)(void *opaque, const char *name, const Field *options), void *opaque);

/* One -numa, as the command line or a monitor gives it. */
bool numa_add(NumaConfig *numa, const Json *options, bool lenient, Error *err);

/* All are there: checks what concerns several, and works out what was left out (distances, nodes of vCPUs). Nodes that
 * vCPUs were not said to be in are told of by a warning. */
bool numa_finish(NumaConfig *numa, Error *err);

/* Does any node name its memory? */
bool numa_has_memdevs(const NumaConfig *numa);

#endif
