/* What the files of this folder share: the flat map and the address space around it. */

#ifndef QUERN_MEMORY_INTERNAL_H
#define QUERN_MEMORY_INTERNAL_H

#include "memory/memory.h"
#include "memory/ram.h"

#include <stdatomic.h>

/* A stretch of the map in which addresses lead to one region, at offsets that go up with them. */
typedef struct FlatRange {
    uint64_t  first, last;
    Region   *region;
    uint64_t  offset; /* of `first` inside the region */
    RamBlock *ram;    /* what reads see; NULL if they go to the region's callbacks */
    uint64_t  ram_offset;
    bool      readonly;     /* writes do not go to `ram` */
    bool      write_device; /* writes go to the callbacks; dropped if readonly without this */
} FlatRange;

/* Never changes once it is published. Holds a reference of each RAM block. */
typedef struct FlatMap {
    uint64_t   generation; /* no two maps of a Memory have the same */
    int        refs;       /* address spaces that show it; machine lock */
    size_t     n;
    FlatRange *ranges; /* sorted, without overlaps */
    uint64_t  *firsts; /* ranges[].first, packed for the search */
} FlatMap;

struct AddressSpace {
    Memory            *memory;
    Region            *root;
    const char        *name;
    _Atomic(FlatMap *) map;       /* read inside RCU sections or under the machine lock */
    GPtrArray         *listeners; /* of MemoryListener; machine lock */
};

/* Under the machine lock but for `log`. */
struct Memory {
    MachineLock *lock;
    const Log   *log;
    GPtrArray   *spaces;
    uint64_t     generation;
    unsigned     depth;      /* of memory_begin */
    bool         changed;    /* since the maps were published */
    bool         publishing; /* a listener that changes the tree is served when it has returned */
};

/* flatview.c */
FlatMap *flat_map_new(Memory *m, Region *root);
bool     flat_map_same(const FlatMap *a, const FlatMap *b);
void     flat_map_ref(FlatMap *map);
void     flat_map_unref(FlatMap *map);

/* The range that holds addr, or NULL; then *gap tells how many bytes from addr on are unmapped. */
const FlatRange *flat_map_find(const FlatMap *map, uint64_t addr, uint64_t *gap);

/* The largest offset in a region that is not empty. */
static inline uint64_t region_last(const Region *r)
{
    return r->size == UINT64_MAX ? UINT64_MAX : r->size - 1;
}

static inline FlatMap *address_space_map(AddressSpace *as)
{
    return atomic_load_explicit(&as->map, memory_order_acquire);
}

/* region.c: publishes what has changed. */
void memory_publish(Memory *m);

/* access.c: waits until no other thread runs a callback of r; the machine lock is held and given up meanwhile. */
void region_wait_idle(Region *r);

#endif
