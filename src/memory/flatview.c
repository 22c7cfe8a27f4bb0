/* Flat maps: the region tree below a root, cut into stretches that each lead to one region.
 *
 * Regions are walked from the highest priority down; each takes what is still free. Places are computed in 128 bits
 * because an alias that shows the middle of its target puts the target's start below 0. */

#include "memory/internal.h"

typedef __int128 Wide;

/* Aliases that lead back to themselves would never end; no real machine nests this deep. */
enum { MAX_DEPTH = 64 };

/* Takes what is free of [lo, hi] for a region whose offset 0 lies at `base`. */
static void fill(GArray *ranges, Region *r, Wide base, uint64_t lo, uint64_t hi, bool readonly)
{
    unsigned i = 0;
    /* The first range that ends at lo or behind it. */
    for (unsigned n = ranges->len; n > 0;) {
        unsigned half = n / 2;
        if (g_array_index(ranges, FlatRange, i + half).last < lo) {
            i += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    for (;; i++) {
        FlatRange *next = i < ranges->len ? &g_array_index(ranges, FlatRange, i) : NULL;
        bool       open = !next || next->first > hi;
        if (open || next->first > lo) {
            uint64_t  offset = (uint64_t)(lo - base);
            FlatRange range  = {
                 .first    = lo,
                 .last     = open ? hi : next->first - 1,
                 .region   = r,
                 .offset   = offset,
                 .readonly = readonly,
            };
            if (r->ram && (r->kind != REGION_ROM_DEVICE || r->rom_mode)) {
                range.ram        = r->ram;
                range.ram_offset = r->ram_offset + offset;
                range.readonly   = readonly || r->kind != REGION_RAM;
            }
            range.write_device = !readonly && (r->kind == REGION_ROM_DEVICE || r->kind == REGION_IO);
            g_array_insert_val(ranges, i, range);
            if (open) {
                return;
            }
            next = &g_array_index(ranges, FlatRange, ++i);
        }
        if (next->last >= hi) {
            return;
        }
        lo = next->last + 1;
    }
}

/* Shows the part of r inside [lo, hi], where r's offset 0 lies at `base`. */
static void render(GArray *ranges, Region *r, Wide base, uint64_t lo, uint64_t hi, bool readonly, int depth)
{
    g_assert(depth < MAX_DEPTH);
    if (!r->enabled || r->size == 0 || base > hi || base + region_last(r) < lo) {
        return;
    }
    lo = base > lo ? (uint64_t)base : lo;
    hi = base + region_last(r) < hi ? (uint64_t)(base + region_last(r)) : hi;
    readonly |= r->readonly;

    if (r->kind == REGION_ALIAS) {
        render(ranges, r->alias, base - r->alias_offset, lo, hi, readonly, depth + 1);
        return;
    }
    for (unsigned i = 0; r->children && i < r->children->len; i++) {
        Region *child = g_ptr_array_index(r->children, i);
        render(ranges, child, base + child->addr, lo, hi, readonly, depth + 1);
    }
    if (r->kind != REGION_CONTAINER) {
        fill(ranges, r, base, lo, hi, readonly);
    }
}

/* Does b go on where a ends, in the address space and in what is shown? */
static bool continues(const FlatRange *a, const FlatRange *b)
{
    return a->last + 1 == b->first && a->region == b->region && a->offset + (b->first - a->first) == b->offset &&
           a->ram == b->ram && a->ram_offset + (b->first - a->first) * (a->ram != NULL) == b->ram_offset &&
           a->readonly == b->readonly && a->write_device == b->write_device;
}

static size_t merge(FlatRange *ranges, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (kept && continues(&ranges[kept - 1], &ranges[i])) {
            ranges[kept - 1].last = ranges[i].last;
        } else {
            ranges[kept++] = ranges[i];
        }
    }
    return kept;
}

FlatMap *flat_map_new(Memory *m, Region *root)
{
    GArray *ranges = g_array_sized_new(FALSE, FALSE, sizeof(FlatRange), 64);
    render(ranges, root, 0, 0, UINT64_MAX, false, 0);

    FlatMap *map    = g_new0(FlatMap, 1);
    map->refs       = 1;
    map->generation = ++m->generation;
    map->n          = merge((FlatRange *)(void *)ranges->data, ranges->len);
    map->ranges     = (FlatRange *)(void *)g_array_free(ranges, FALSE);
    map->ranges     = g_renew(FlatRange, map->ranges, map->n);
    map->firsts     = g_new(uint64_t, map->n);
    for (size_t i = 0; i < map->n; i++) {
        map->firsts[i] = map->ranges[i].first;
        if (map->ranges[i].ram) {
            ram_block_ref(map->ranges[i].ram);
        }
    }
    return map;
}

bool flat_map_same(const FlatMap *a, const FlatMap *b)
{
    if (a->n != b->n) {
        return false;
    }
    for (size_t i = 0; i < a->n; i++) {
        const FlatRange *x = &a->ranges[i], *y = &b->ranges[i];
        if (x->first != y->first || x->last != y->last || x->region != y->region || x->offset != y->offset ||
            x->ram != y->ram || x->ram_offset != y->ram_offset || x->readonly != y->readonly ||
            x->write_device != y->write_device) {
            return false;
        }
    }
    return true;
}

void flat_map_ref(FlatMap *map)
{
    map->refs++;
}

void flat_map_unref(FlatMap *map)
{
    if (--map->refs > 0) {
        return;
    }
    for (size_t i = 0; i < map->n; i++) {
        ram_block_unref(map->ranges[i].ram);
    }
    g_free(map->ranges);
    g_free(map->firsts);
    g_free(map);
}

const FlatRange *flat_map_find(const FlatMap *map, uint64_t addr, uint64_t *gap)
{
    /* How many ranges begin at addr or before it; the loop has no branch that depends on the comparison. */
    const uint64_t *firsts = map->firsts;
    size_t          n = map->n, at = 0;
    while (n > 1) {
        size_t half = n / 2;
        at          = firsts[at + half] <= addr ? at + half : at;
        n -= half;
    }
    if (n && firsts[at] <= addr && addr <= map->ranges[at].last) {
        return &map->ranges[at];
    }
    if (n && firsts[at] <= addr) {
        at++;
    }
    if (gap) {
        *gap = at < map->n ? firsts[at] - addr : addr ? -addr : UINT64_MAX;
    }
    return NULL;
}
