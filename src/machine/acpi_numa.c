/* ACPI tables about NUMA: SRAT, SLIT, HMAT.
 * Specification: ACPI 6.4 (January 2021), sections 5.2.16, 5.2.17 and 5.2.27. Each writes what follows the header. */

#include "machine/acpi_numa.h"

#include "base/bytes.h"
#include "base/text.h"

enum {
    MEMORY_ENABLED      = 1 << 0,
    MEMORY_HOTPLUGGABLE = 1 << 1,

    BASE_MEMORY_END = 0xa0000, /* 640 KiB; RAM goes on at 1 MiB */

    HMAT_ENTRY_MAX = 0xfffe, /* FFFFh: cannot be reached */
};

static void put(GByteArray *out, uint64_t value, unsigned size)
{
    uint8_t buf[8];
    store_le(buf, value, size);
    g_byte_array_append(out, buf, size);
}

/* ---- SRAT ---- */

static void put_processor(GByteArray *o, uint32_t apic_id, uint32_t uid, uint32_t node)
{
    bool x2 = apic_id >= 255 || uid >= 255;
    put(o, x2 ? 2 : 0, 1);
    put(o, x2 ? 24 : 16, 1);
    if (x2) {
        put(o, 0, 2);
        put(o, node, 4);
        put(o, apic_id, 4);
        put(o, 1, 4); /* enabled */
        put(o, 0, 4); /* clock domain */
        put(o, 0, 4);
    } else {
        put(o, node & 0xff, 1);
        put(o, apic_id, 1);
        put(o, 1, 4);
        put(o, 0, 1); /* SAPIC EID */
        put(o, node >> 8, 3);
        put(o, 0, 4);
    }
}

static void put_memory(GByteArray *o, uint64_t first, uint64_t end, uint32_t node, uint32_t flags)
{
    if (first >= end) {
        return;
    }
    put(o, 1, 1);
    put(o, 40, 1);
    put(o, node, 4);
    put(o, 0, 2);
    put(o, first, 8);
    put(o, end - first, 8);
    put(o, 0, 4);
    put(o, MEMORY_ENABLED | flags, 4);
    put(o, 0, 8);
}

void acpi_srat(GByteArray *o, const PcHardware *hw)
{
    const NumaConfig *numa = hw->numa;
    uint64_t          at   = 0;

    put(o, 1, 4);
    put(o, 0, 8);
    for (unsigned i = 0; i < hw->cpus; i++) {
        put_processor(o, hw->apic_ids[i], i, (uint32_t)numa->cpu_node[i]);
    }
    for (unsigned i = 0; i < numa->n; i++) {
        uint64_t end = at + numa->nodes[i].size, low = hw->ram_below_4g;
        put_memory(o, at, MIN(end, BASE_MEMORY_END), i, 0);
        put_memory(o, MAX(at, MiB), MIN(end, low), i, 0);
        put_memory(o, 4 * GiB + (MAX(at, low) - low), 4 * GiB + (MAX(end, low) - low), i, 0);
        at = end;
    }
    if (hw->hotplug_size) {
        put_memory(o, hw->hotplug_base, hw->hotplug_base + hw->hotplug_size, numa->n - 1, MEMORY_HOTPLUGGABLE);
    }
}

/* ---- SLIT ---- */

void acpi_slit(GByteArray *o, const PcHardware *hw)
{
    const NumaConfig *numa = hw->numa;
    put(o, numa->n, 8);
    for (unsigned i = 0; i < numa->n; i++) {
        g_byte_array_append(o, numa->distances[i], numa->n);
    }
}

/* ---- HMAT ---- */

static void put_domain(GByteArray *o, const NumaNode *node, uint32_t number)
{
    put(o, 0, 2);
    put(o, 0, 2);
    put(o, 40, 4);
    put(o, node->initiator >= 0, 2); /* the initiator is valid */
    put(o, 0, 2);
    put(o, node->initiator >= 0 ? (uint32_t)node->initiator : 0, 4);
    put(o, number, 4);
    put(o, 0, 4);
    put(o, 0, 8);
    put(o, 0, 8);
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        uint64_t rest = a % b;
        a             = b;
        b             = rest;
    }
    return a;
}

/* The unit in which all values of a kind are whole numbers; 0: there are none. */
static uint64_t common_unit(const NumaConfig *numa, unsigned hierarchy, unsigned data_type)
{
    uint64_t unit = 0, max = 0;
    for (guint i = 0; i < numa->localities->len; i++) {
        const NumaLocality *l = &g_array_index(numa->localities, NumaLocality, i);
        if (l->hierarchy == hierarchy && l->data_type == data_type) {
            unit = gcd(unit, l->value);
            max  = MAX(max, l->value);
        }
    }
    return MAX(unit, (max + HMAT_ENTRY_MAX - 1) / HMAT_ENTRY_MAX); /* numa.c sees to it that it is the first */
}

static uint64_t find_value(const NumaConfig *numa, unsigned hierarchy, unsigned data_type, unsigned from, unsigned to)
{
    for (guint i = 0; i < numa->localities->len; i++) {
        const NumaLocality *l = &g_array_index(numa->localities, NumaLocality, i);
        if (l->hierarchy == hierarchy && l->data_type == data_type && l->initiator == from && l->target == to) {
            return l->value;
        }
    }
    return 0;
}

/* One table of all initiators against all nodes; latencies in picoseconds, bandwidths in MB/s, times the base unit. */
static void put_localities(GByteArray *o, const NumaConfig *numa, unsigned hierarchy, unsigned data_type)
{
    uint64_t unit = common_unit(numa, hierarchy, data_type);
    unsigned initiators[NUMA_MAX_NODES], n = 0;
    if (!unit) {
        return;
    }
    for (unsigned i = 0; i < numa->n; i++) {
        if (numa->nodes[i].has_cpus) {
            initiators[n++] = i;
        }
    }
    put(o, 1, 2);
    put(o, 0, 2);
    put(o, 32 + 4 * n + 4 * numa->n + 2 * n * numa->n, 4);
    put(o, hierarchy, 1);
    put(o, data_type, 1);
    put(o, 0, 1); /* smallest transfer */
    put(o, 0, 1);
    put(o, n, 4);
    put(o, numa->n, 4);
    put(o, 0, 4);
    put(o, data_type < NUMA_FIRST_BANDWIDTH ? unit * 1000 : unit / MiB, 8);
    for (unsigned i = 0; i < n; i++) {
        put(o, initiators[i], 4);
    }
    for (unsigned i = 0; i < numa->n; i++) {
        put(o, i, 4);
    }
    for (unsigned i = 0; i < n; i++) {
        for (unsigned k = 0; k < numa->n; k++) {
            put(o, find_value(numa, hierarchy, data_type, initiators[i], k) / unit, 2);
        }
    }
}

static void put_caches(GByteArray *o, const NumaNode *node, uint32_t number)
{
    unsigned levels = 0;
    for (unsigned i = 0; i < NUMA_MAX_CACHE_LEVELS; i++) {
        levels += node->caches[i].present;
    }
    for (unsigned i = 0; i < levels; i++) {
        const NumaCache *c = &node->caches[i];
        put(o, 2, 2);
        put(o, 0, 2);
        put(o, 32, 4);
        put(o, number, 4);
        put(o, 0, 4);
        put(o, c->size, 8);
        put(o, levels | (i + 1) << 4 | c->associativity << 8 | c->policy << 12 | (uint32_t)c->line << 16, 4);
        put(o, 0, 2);
        put(o, 0, 2); /* no SMBIOS handles */
    }
}

void acpi_hmat(GByteArray *o, const PcHardware *hw)
{
    const NumaConfig *numa = hw->numa;

    put(o, 0, 4);
    for (unsigned i = 0; i < numa->n; i++) {
        put_domain(o, &numa->nodes[i], i);
    }
    for (unsigned h = 0; h < NUMA_N_HIERARCHIES; h++) {
        for (unsigned t = 0; t < NUMA_N_DATA_TYPES; t++) {
            put_localities(o, numa, h, t);
        }
    }
    for (unsigned i = 0; i < numa->n; i++) {
        put_caches(o, &numa->nodes[i], i);
    }
}
