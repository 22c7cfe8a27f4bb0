/* The region tree and the flat maps as text, in the form of `info mtree` that people and scripts know. */

#include "memory/internal.h"

#include <inttypes.h>

#define SPAN "%016" PRIx64 "-%016" PRIx64

static const char *kind_name(const Region *r, bool readonly)
{
    switch (r->kind) {
    case REGION_RAM: return readonly ? "rom" : "ram";
    case REGION_ROM: return "rom";
    case REGION_ROM_DEVICE: return r->rom_mode ? "romd" : "i/o";
    case REGION_ALIAS: return kind_name(r->alias, readonly || r->readonly);
    default: return "i/o";
    }
}

static void end_line(GString *out, const Region *r, const MemoryDump *d)
{
    if (d->owner) {
        d->owner(r, out, d->opaque);
    }
    g_string_append(out, r->enabled ? "\n" : " [disabled]\n");
}

/* Targets of aliases that were met are gathered in `targets`. */
static void dump_region(GString *out, const Region *r, uint64_t base, unsigned level, const MemoryDump *d,
                        GPtrArray *targets)
{
    if ((!r->enabled && !d->disabled) || r->size == 0) {
        return;
    }
    g_string_append_printf(out, "%*s" SPAN " (prio %d, %s): ", 2 * level, "", base, base + region_last(r), r->priority,
                           kind_name(r, r->readonly));
    if (r->kind == REGION_ALIAS) {
        g_string_append_printf(out, "alias %s @%s " SPAN, r->name, r->alias->name, r->alias_offset,
                               r->alias_offset + region_last(r));
        if (!g_ptr_array_find(targets, r->alias, NULL)) {
            g_ptr_array_add(targets, r->alias);
        }
    } else {
        g_string_append(out, r->name);
    }
    end_line(out, r, d);

    /* People read addresses, not priorities: children by where they lie. */
    g_autoptr(GPtrArray) left = g_ptr_array_new();
    for (unsigned i = 0; r->children && i < r->children->len; i++) {
        g_ptr_array_add(left, g_ptr_array_index(r->children, i));
    }
    while (left->len) {
        unsigned first = 0;
        for (unsigned i = 1; i < left->len; i++) {
            const Region *a = g_ptr_array_index(left, i), *b = g_ptr_array_index(left, first);
            if (a->addr < b->addr) {
                first = i;
            }
        }
        const Region *child = g_ptr_array_remove_index(left, first);
        dump_region(out, child, base + child->addr, level + 1, d, targets);
    }
}

static void dump_tree(Memory *m, GString *out, const MemoryDump *d)
{
    g_autoptr(GPtrArray) targets = g_ptr_array_new();
    g_autoptr(GPtrArray) roots   = g_ptr_array_new();
    for (unsigned i = 0; i < m->spaces->len; i++) {
        Region *root = ((AddressSpace *)g_ptr_array_index(m->spaces, i))->root;
        if (g_ptr_array_find(roots, root, NULL)) {
            continue;
        }
        g_ptr_array_add(roots, root);
        for (unsigned k = i; k < m->spaces->len; k++) {
            AddressSpace *as = g_ptr_array_index(m->spaces, k);
            if (as->root == root) {
                g_string_append_printf(out, "address-space: %s\n", as->name);
            }
        }
        dump_region(out, root, 0, 1, d, targets);
        g_string_append_c(out, '\n');
    }
    /* Grows while it is walked: what is shown here may be of aliases in turn. */
    for (unsigned i = 0; i < targets->len; i++) {
        const Region *r = g_ptr_array_index(targets, i);
        if (!g_ptr_array_find(roots, r, NULL)) {
            g_string_append_printf(out, "memory-region: %s\n", r->name);
            dump_region(out, r, r->addr, 1, d, targets);
            g_string_append_c(out, '\n');
        }
    }
}

static void dump_map(GString *out, const FlatMap *map, const MemoryDump *d)
{
    if (map->n == 0) {
        g_string_append(out, "  No rendered FlatView\n");
    }
    for (size_t i = 0; i < map->n; i++) {
        const FlatRange *range = &map->ranges[i];
        const Region    *r     = range->region;
        g_string_append_printf(out, "  " SPAN " (prio %d, %s): %s", range->first, range->last, r->priority,
                               kind_name(r, range->readonly), r->name);
        if (range->offset) {
            g_string_append_printf(out, " @%016" PRIx64, range->offset);
        }
        end_line(out, r, d);
    }
    if (d->dispatch) {
        g_string_append_printf(out, "  Dispatch\n    %zu sections, sorted; found by halving\n", map->n);
    }
}

static void dump_flat(Memory *m, GString *out, const MemoryDump *d)
{
    g_autoptr(GPtrArray) seen = g_ptr_array_new();
    for (unsigned i = 0; i < m->spaces->len; i++) {
        AddressSpace *first = g_ptr_array_index(m->spaces, i);
        FlatMap      *map   = address_space_map(first);
        if (g_ptr_array_find(seen, map, NULL)) {
            continue;
        }
        g_string_append_printf(out, "FlatView #%u\n", seen->len);
        g_ptr_array_add(seen, map);
        for (unsigned k = i; k < m->spaces->len; k++) {
            AddressSpace *as = g_ptr_array_index(m->spaces, k);
            if (address_space_map(as) == map) {
                g_string_append_printf(out, " AS \"%s\", root: %s\n", as->name, as->root->name);
            }
        }
        g_string_append_printf(out, " Root memory region: %s\n", first->root->name);
        dump_map(out, map, d);
        g_string_append_c(out, '\n');
    }
}

void memory_dump(Memory *m, GString *out, const MemoryDump *dump)
{
    g_assert(machine_lock_held(m->lock));
    if (dump->flat) {
        dump_flat(m, out, dump);
    } else {
        dump_tree(m, out, dump);
    }
}
