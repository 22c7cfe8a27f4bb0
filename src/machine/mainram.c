/* Main RAM: which memory backends it lies in, and the regions that show it.
 *
 * RAM is what -m says. It lies in one backend - the one that -machine memory-backend= names, else one of our own, made
 * from -mem-path and -mem-prealloc - or in those that NUMA nodes name, one after the other. Machine lock held. */

#include "machine/machine.h"
#include "machine/numa.h"

#include "base/checked.h"
#include "base/text.h"

#include <string.h>

#define MAX_MAX_RAM (UINT64_C(1) << 50)

/* ---- Backends ---- */

static bool add_part(Machine *m, MemoryBackend *backend, Error *err)
{
    uint64_t start = 0;
    if (m->ram->len) {
        const RamPart *last = &g_array_index(m->ram, RamPart, m->ram->len - 1);
        start               = last->start + last->size;
    }
    RamPart part = { .backend = backend, .start = start, .size = backend->size };
    if (!memory_backend_take(backend, true, "the machine's RAM lies in it", err)) {
        return false;
    }
    memory_backend_set_defaults(backend, m->mem_merge, m->dump_guest_core);
    object_ref(&backend->obj);
    g_array_append_val(m->ram, part);
    return true;
}

static bool use_named(Machine *m, Error *err)
{
    MachineConfig *c       = &m->config;
    MemoryBackend *backend = memory_backend_find(m->platform.objects, m->memory_backend, err);
    if (!backend) {
        return error_prefix(err, "-machine memory-backend=: ");
    }
    if (c->mem_path || c->prealloc) {
        return error_set(
            err, "-%s and -machine memory-backend= both say where RAM comes from; the backend's properties (%s) do it",
            c->mem_path ? "mem-path" : "mem-prealloc", c->mem_path ? "mem-path=" : "prealloc=on");
    }
    if (c->ram_given && backend->size != c->ram_size) {
        g_autofree char *ram = text_format_size(c->ram_size), *size = text_format_size(backend->size);
        return error_set(err, "-machine memory-backend=%s: it has %s, but -m says %s", m->memory_backend, size, ram);
    }
    c->ram_size = backend->size;
    return add_part(m, backend, err) || error_prefix(err, "-machine memory-backend=: ");
}

/* What -m, -mem-path and -mem-prealloc say, as an object like one of the user's. */
static bool make_own(Machine *m, Error *err)
{
    const MachineConfig *c  = &m->config;
    const char          *id = machine_type(m)->ram_id;
    g_autoptr(Json) options = json_new_object();

    if (object_child(object_container(m->platform.objects, "objects"), id)) {
        return error_set(
            err,
            "-object id=%s: the machine's own RAM has this id; with -machine memory-backend=%s that object is the RAM",
            id, id);
    }
    json_set(options, "qom-type", json_new_string(c->mem_path ? "memory-backend-file" : "memory-backend-ram"));
    json_set(options, "id", json_new_string(id));
    json_set(options, "size", json_new_uint(c->ram_size));
    json_set(options, "x-use-canonical-path-for-ramblock-id", json_new_bool(false));
    json_set(options, "prealloc", json_new_bool(c->prealloc));
    json_set(options, "merge", json_new_bool(m->mem_merge));
    json_set(options, "dump", json_new_bool(m->dump_guest_core));
    if (c->mem_path) {
        json_set(options, "mem-path", json_new_string(c->mem_path));
    }
    Object *obj = object_create_user(m->platform.objects, options, false, err);
    if (!obj) {
        return error_prefix(err, c->prealloc && !c->mem_path ? "-mem-prealloc: "
                                 : c->mem_path               ? "-mem-path: "
                                                             : "-m: ");
    }
    return add_part(m, (MemoryBackend *)obj, err);
}

/* The nodes' memory is the RAM. */
static bool use_nodes(Machine *m, Error *err)
{
    MachineConfig *c    = &m->config;
    NumaConfig    *numa = c->numa;
    uint64_t       sum  = 0;

    if (m->memory_backend || c->mem_path || c->prealloc) {
        return error_set(err, "-%s and -numa node,memdev= both say where RAM comes from",
                         m->memory_backend ? "machine memory-backend="
                         : c->mem_path     ? "mem-path"
                                           : "mem-prealloc");
    }
    for (unsigned i = 0; i < numa->n; i++) {
        NumaNode *node = &numa->nodes[i];
        if (!node->memdev) {
            continue; /* only vCPUs */
        }
        MemoryBackend *backend = memory_backend_find(m->platform.objects, node->memdev, err);
        if (!backend || !add_part(m, backend, err)) {
            return error_prefix(err, "-numa node,nodeid=%u,memdev=%s: ", i, node->memdev);
        }
        node->size = backend->size;
        if (!checked_add(sum, backend->size, &sum)) {
            return error_set(err, "-numa: the nodes' memory adds up to more than there can be");
        }
    }
    if (c->ram_given && sum != c->ram_size) {
        g_autofree char *ram = text_format_size(c->ram_size), *nodes = text_format_size(sum);
        return error_set(err, "-numa: the nodes' memory adds up to %s, but -m says %s", nodes, ram);
    }
    c->ram_size = sum;
    return true;
}

/* -m slots=,maxmem= against what RAM there is. */
static bool check_maximum(Machine *m, Error *err)
{
    MachineConfig   *c   = &m->config;
    g_autofree char *ram = text_format_size(c->ram_size), *max = text_format_size(c->max_ram);

    if (c->ram_slots && !c->max_ram) {
        return error_set(err, "-m slots=%u: maxmem= has to say how much memory there can be", (unsigned)c->ram_slots);
    }
    if (c->max_ram && c->max_ram < c->ram_size) {
        return error_set(err, "-m maxmem=: %s is less than the %s at the start", max, ram);
    }
    if (c->ram_slots && c->max_ram == c->ram_size) {
        return error_set(err, "-m maxmem=: %s is what there is at the start: nothing is left for slots=%u", max,
                         (unsigned)c->ram_slots);
    }
    if (c->max_ram % RAM_PAGE_SIZE || c->max_ram > MAX_MAX_RAM) {
        return error_set(err, "-m maxmem=: it has to be a multiple of the page size, 4 KiB, and at most 1 PiB");
    }
    return true;
}

/* Memory that can be plugged in belongs to a node: operating systems learn from the SRAT where it will be. */
static void add_node(Machine *m)
{
    MachineConfig *c      = &m->config;
    g_auto(Error) ignored = { 0 };
    g_autoptr(Json) node  = json_new_object();
    c->numa               = numa_new(&c->smp, m->hmat);
    json_set(node, "type", json_new_string("node"));
    numa_add(c->numa, node, false, &ignored);
    numa_finish(c->numa, &ignored);
}

bool machine_make_ram(Machine *m, Error *err)
{
    m->ram = g_array_new(FALSE, FALSE, sizeof(RamPart));
    if ((m->config.ram_slots || m->config.max_ram > m->config.ram_size) && !m->config.numa) {
        add_node(m);
    }
    NumaConfig *numa = m->config.numa;
    if (numa && numa_has_memdevs(numa)) {
        if (!use_nodes(m, err)) {
            return false;
        }
    } else if (m->memory_backend) {
        if (!use_named(m, err)) {
            return false;
        }
    } else if (m->config.ram_size && !make_own(m, err)) {
        return false;
    }
    if (numa && !numa_has_memdevs(numa)) {
        numa->nodes[0].size = m->config.ram_size;
        if (numa->n > 1) {
            warn_report("-numa: no node names its memory (memdev=): all of it is node 0's");
        }
    }
    if (!check_maximum(m, err)) {
        return false;
    }
    const RamPart *first = (const RamPart *)(const void *)m->ram->data;
    m->platform.ram_size = m->config.ram_size;
    return !m->ram->len || first->size >= MiB ||
           error_set(err, "memory backend '%s' is less than 1 MiB, which the first part of RAM has to have",
                     first->backend->obj.name);
}

void machine_free_ram(Machine *m)
{
    for (guint i = 0; m->ram && i < m->ram->len; i++) {
        MemoryBackend *backend = g_array_index(m->ram, RamPart, i).backend;
        memory_backend_release(backend);
        object_unref(&backend->obj);
    }
    g_clear_pointer(&m->ram, g_array_unref);
}

/* ---- Regions ---- */

static const RamPart *part_at(const Machine *m, uint64_t offset)
{
    for (guint i = 0; i < m->ram->len; i++) {
        const RamPart *part = &g_array_index(m->ram, RamPart, i);
        if (offset - part->start < part->size) {
            return part;
        }
    }
    g_assert_not_reached();
}

RamBlock *machine_ram_at(const Machine *m, uint64_t offset, uint64_t *in_block, uint64_t *left)
{
    const RamPart *part = part_at(m, offset);
    *in_block           = offset - part->start;
    *left               = part->size - *in_block;
    return part->backend->ram;
}

void machine_init_ram_region(Machine *m, Region *r, const char *name, uint64_t offset, uint64_t size)
{
    Memory   *memory = m->platform.memory;
    uint64_t  at, left;
    RamBlock *ram = machine_ram_at(m, offset, &at, &left);

    if (left >= size) {
        region_init_ram(r, memory, name, ram, at, size);
        return;
    }
    region_init_container(r, memory, name, size);
    for (uint64_t done = 0, n; done < size; done += n) {
        ram           = machine_ram_at(m, offset + done, &at, &left);
        n             = MIN(left, size - done);
        Region *piece = g_new0(Region, 1);
        region_init_ram(piece, memory, name, ram, at, n);
        region_map(r, done, piece, 0);
    }
}

void machine_destroy_ram_region(Region *r)
{
    if (!r->memory) {
        return;
    }
    if (r->mapped) {
        region_unmap(r);
    }
    while (r->children && r->children->len) {
        Region *piece = r->children->pdata[0];
        region_unmap(piece);
        region_destroy(piece);
        g_free(piece);
    }
    region_destroy(r);
}
