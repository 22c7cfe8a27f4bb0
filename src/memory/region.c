/* The region tree and its publication as flat maps.
 *
 * The tree, and the lists of address spaces and listeners, are under the machine lock. A commit makes the new maps,
 * publishes those that differ, tells the listeners, waits until no reader can hold an old map, and frees those. */

#include "memory/internal.h"

#include "base/checked.h"
#include "loop/rcu.h"

#include <stdatomic.h>

Memory *memory_new(MachineLock *lock)
{
    Memory *m = g_new0(Memory, 1);
    m->lock   = lock;
    m->spaces = g_ptr_array_new();
    return m;
}

void memory_free(Memory *m)
{
    if (m) {
        g_assert(m->spaces->len == 0);
        g_ptr_array_free(m->spaces, TRUE);
        g_free(m);
    }
}

void memory_set_log(Memory *m, const Log *log)
{
    m->log = log;
}

/* Making regions. */

static void region_init(Region *r, Memory *m, const char *name, RegionKind kind, uint64_t size)
{
    *r = (Region){ .memory = m, .name = name, .kind = kind, .enabled = true, .size = size };
}

static void region_set_ram(Region *r, RamBlock *ram, uint64_t offset)
{
    g_assert(range_fits(offset, r->size, ram->size));
    r->ram        = ram_block_ref(ram);
    r->ram_offset = offset;
}

void region_init_container(Region *r, Memory *m, const char *name, uint64_t size)
{
    region_init(r, m, name, REGION_CONTAINER, size);
}

void region_init_io(Region *r, Memory *m, const char *name, uint64_t size, const IoOps *ops, void *opaque)
{
    g_assert(ops->access & IO_ANY);
    region_init(r, m, name, REGION_IO, size);
    r->ops    = ops;
    r->opaque = opaque;
}

void region_init_ram(Region *r, Memory *m, const char *name, RamBlock *ram, uint64_t offset, uint64_t size)
{
    region_init(r, m, name, REGION_RAM, size);
    region_set_ram(r, ram, offset);
}

void region_init_rom(Region *r, Memory *m, const char *name, RamBlock *ram, uint64_t offset, uint64_t size)
{
    region_init(r, m, name, REGION_ROM, size);
    region_set_ram(r, ram, offset);
}

void region_init_rom_device(Region *r, Memory *m, const char *name, RamBlock *ram, const IoOps *ops, void *opaque)
{
    g_assert(ops->access & IO_ANY);
    region_init(r, m, name, REGION_ROM_DEVICE, ram->size);
    region_set_ram(r, ram, 0);
    r->ops      = ops;
    r->opaque   = opaque;
    r->rom_mode = true;
}

void region_init_alias(Region *r, Memory *m, const char *name, Region *target, uint64_t offset, uint64_t size)
{
    region_init(r, m, name, REGION_ALIAS, size);
    r->alias        = target;
    r->alias_offset = offset;
    target->n_aliases++;
}

void region_destroy(Region *r)
{
    Memory *m = r->memory;
    if (!m) {
        return; /* never made: its owner failed half-way */
    }
    g_assert(machine_lock_held(m->lock));
    g_assert(!r->mapped && r->n_aliases == 0 && r->n_spaces == 0 && (!r->children || r->children->len == 0));
    /* A batch may have unmapped it, and readers see it still. */
    memory_publish(m);
    region_wait_idle(r);
    if (r->alias) {
        r->alias->n_aliases--;
    }
    if (r->children) {
        g_ptr_array_free(r->children, TRUE);
    }
    ram_block_unref(r->ram);
    *r = (Region){ 0 };
}

/* Publishing. */

static void publish_once(Memory *m)
{
    g_autoptr(GPtrArray) changed = g_ptr_array_new(); /* address spaces */
    g_autoptr(GPtrArray) old     = g_ptr_array_new(); /* the maps they had */

    for (unsigned i = 0; i < m->spaces->len; i++) {
        AddressSpace *as  = g_ptr_array_index(m->spaces, i);
        FlatMap      *map = NULL;
        /* Address spaces with the same root share a map. */
        for (unsigned k = 0; k < i && !map; k++) {
            AddressSpace *other = g_ptr_array_index(m->spaces, k);
            if (other->root == as->root) {
                map = address_space_map(other);
                flat_map_ref(map);
            }
        }
        map = map ? map : flat_map_new(m, as->root);
        if (map == address_space_map(as) || flat_map_same(map, address_space_map(as))) {
            flat_map_unref(map);
        } else {
            g_ptr_array_add(changed, as);
            g_ptr_array_add(old, atomic_exchange(&as->map, map));
        }
    }
    for (unsigned i = 0; i < changed->len; i++) {
        AddressSpace *as = g_ptr_array_index(changed, i);
        for (unsigned k = 0; k < as->listeners->len; k++) {
            MemoryListener *listener = g_ptr_array_index(as->listeners, k);
            listener->changed(listener, as);
        }
    }
    if (old->len) {
        rcu_wait_readers();
        for (unsigned i = 0; i < old->len; i++) {
            flat_map_unref(g_ptr_array_index(old, i));
        }
    }
}

void memory_publish(Memory *m)
{
    if (m->publishing) {
        return; /* by a listener: the loop below goes round once more */
    }
    m->publishing = true;
    while (m->changed) {
        m->changed = false;
        publish_once(m);
    }
    m->publishing = false;
}

void memory_begin(Memory *m)
{
    g_assert(machine_lock_held(m->lock));
    m->depth++;
}

void memory_commit(Memory *m)
{
    g_assert(machine_lock_held(m->lock) && m->depth > 0);
    if (--m->depth == 0) {
        memory_publish(m);
    }
}

/* After a change to r or its children. Publishes unless no address space can show it (a device that builds its
 * tree before it is plugged in). */
static void region_changed(Region *r)
{
    Memory *m = r->memory;
    for (const Region *up = r; up; up = up->parent) {
        if (up->n_aliases || up->n_spaces) {
            m->changed = true;
            break;
        }
    }
    if (m->changed && m->depth == 0) {
        memory_publish(m);
    }
}

/* Changing the tree. */

void region_map(Region *parent, uint64_t addr, Region *r, int priority)
{
    g_assert(machine_lock_held(r->memory->lock));
    g_assert(!r->mapped && parent->kind != REGION_ALIAS && parent->memory == r->memory);
    for (Region *up = parent; up; up = up->parent) {
        g_assert(up != r);
    }
    if (!parent->children) {
        parent->children = g_ptr_array_new();
    }
    unsigned at = 0;
    while (at < parent->children->len && ((Region *)g_ptr_array_index(parent->children, at))->priority > priority) {
        at++;
    }
    g_ptr_array_insert(parent->children, (int)at, r);
    r->parent   = parent;
    r->mapped   = true;
    r->addr     = addr;
    r->priority = priority;
    region_changed(r);
}

void region_unmap(Region *r)
{
    Region *parent = r->parent;
    g_assert(machine_lock_held(r->memory->lock) && r->mapped);
    g_ptr_array_remove(parent->children, r);
    r->parent = NULL;
    r->mapped = false;
    region_changed(parent);
}

#define SET_AND_PUBLISH(r, member, value)                                                                              \
    do {                                                                                                               \
        g_assert(machine_lock_held((r)->memory->lock));                                                                \
        if ((r)->member != (value)) {                                                                                  \
            (r)->member = (value);                                                                                     \
            region_changed(r);                                                                                         \
        }                                                                                                              \
    } while (0)

void region_set_enabled(Region *r, bool enabled)
{
    SET_AND_PUBLISH(r, enabled, enabled);
}

void region_set_addr(Region *r, uint64_t addr)
{
    SET_AND_PUBLISH(r, addr, addr);
}

void region_set_size(Region *r, uint64_t size)
{
    g_assert(!r->ram || range_fits(r->ram_offset, size, r->ram->size));
    SET_AND_PUBLISH(r, size, size);
}

void region_set_readonly(Region *r, bool readonly)
{
    SET_AND_PUBLISH(r, readonly, readonly);
}

void region_set_rom_mode(Region *r, bool rom_mode)
{
    g_assert(r->kind == REGION_ROM_DEVICE);
    SET_AND_PUBLISH(r, rom_mode, rom_mode);
}

void region_set_alias_offset(Region *r, uint64_t offset)
{
    g_assert(r->kind == REGION_ALIAS);
    SET_AND_PUBLISH(r, alias_offset, offset);
}

/* Address spaces. */

AddressSpace *address_space_new(Memory *m, Region *root, const char *name)
{
    g_assert(machine_lock_held(m->lock));
    AddressSpace *as = g_new0(AddressSpace, 1);
    as->memory       = m;
    as->root         = root;
    as->name         = name;
    as->listeners    = g_ptr_array_new();
    atomic_init(&as->map, flat_map_new(m, root));
    root->n_spaces++;
    g_ptr_array_add(m->spaces, as);
    return as;
}

void address_space_free(AddressSpace *as)
{
    if (!as) {
        return;
    }
    g_assert(machine_lock_held(as->memory->lock));
    g_ptr_array_remove(as->memory->spaces, as);
    as->root->n_spaces--;
    rcu_wait_readers();
    flat_map_unref(address_space_map(as));
    g_ptr_array_free(as->listeners, TRUE);
    g_free(as);
}

const char *address_space_name(const AddressSpace *as)
{
    return as->name;
}

void address_space_add_listener(AddressSpace *as, MemoryListener *listener)
{
    g_assert(machine_lock_held(as->memory->lock));
    g_ptr_array_add(as->listeners, listener);
}

void address_space_remove_listener(AddressSpace *as, MemoryListener *listener)
{
    g_assert(machine_lock_held(as->memory->lock));
    g_ptr_array_remove(as->listeners, listener);
}
