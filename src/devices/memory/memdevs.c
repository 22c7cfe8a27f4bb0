/* Memory devices: slots, places, plugging and unplugging. See memdevs.h. */

#include "devices/memory/memdevs.h"

#include "base/checked.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

/* Addresses and sizes are multiples of it: one entry of a guest's page tables. */
#define UNIT (2 * MiB)

MemoryDevices *memory_devices_new(Platform *p, uint64_t base, uint64_t size, uint64_t room, unsigned n_slots,
                                  unsigned n_nodes)
{
    g_assert(n_slots <= MEMORY_SLOTS_MAX);
    MemoryDevices *all = g_new0(MemoryDevices, 1);
    *all               = (MemoryDevices){
                      .platform = p, .base = base, .size = size, .room = room, .n_slots = n_slots, .n_nodes = MAX(n_nodes, 1u)
    };
    all->devices = g_ptr_array_new();
    region_init_container(&all->region, p->memory, "device-memory", size);
    region_map(p->system_memory, base, &all->region, 0);
    return all;
}

void memory_devices_free(MemoryDevices *all)
{
    if (all) {
        region_unmap(&all->region);
        region_destroy(&all->region);
        g_ptr_array_unref(all->devices);
        g_free(all);
    }
}

/* ---- Looking ---- */

/* The one with the lowest address from `from` on. */
static MemoryDevice *next_device(const MemoryDevices *all, uint64_t from)
{
    MemoryDevice *found = NULL;
    for (guint i = 0; i < all->devices->len; i++) {
        MemoryDevice *m = all->devices->pdata[i];
        if (m->addr >= from && (!found || m->addr < found->addr)) {
            found = m;
        }
    }
    return found;
}

void memory_devices_foreach(MemoryDevices *all, void (*visit)(MemoryDevice *m, void *opaque), void *opaque)
{
    MemoryDevice *m = all ? next_device(all, 0) : NULL;
    while (m) {
        uint64_t end = m->addr + m->size;
        visit(m, opaque);
        m = next_device(all, end);
    }
}

uint64_t memory_devices_plugged(const MemoryDevices *all)
{
    uint64_t sum = 0;
    for (guint i = 0; all && i < all->devices->len; i++) {
        sum += ((const MemoryDevice *)all->devices->pdata[i])->usable;
    }
    return sum;
}

uint64_t memory_devices_room_used(const MemoryDevices *all)
{
    uint64_t sum = 0;
    for (guint i = 0; i < all->devices->len; i++) {
        sum += ((const MemoryDevice *)all->devices->pdata[i])->size;
    }
    return sum;
}

/* ---- Plugging ---- */

static bool find_slot(const MemoryDevices *all, int32_t wanted, int32_t *slot, Error *err)
{
    if (!all->n_slots) {
        return error_set(err, "this machine has no memory slots; -m slots=N makes some");
    }
    if (wanted >= 0) {
        if ((unsigned)wanted >= all->n_slots) {
            return error_set(err, "slot=%d: there are slots 0 to %u (-m slots=)", wanted, all->n_slots - 1);
        }
        *slot = wanted;
        return !all->slots[wanted] || error_set(err, "slot=%d: it is in use", wanted);
    }
    for (unsigned i = 0; i < all->n_slots; i++) {
        if (!all->slots[i]) {
            *slot = (int32_t)i;
            return true;
        }
    }
    return error_set(err, "all %u memory slots are in use (-m slots=)", all->n_slots);
}

static bool fail_room(const MemoryDevices *all, uint64_t size, Error *err)
{
    uint64_t         used   = memory_devices_room_used(all);
    g_autofree char *wanted = text_format_size(size), *has = text_format_size(all->room - used),
                    *total = text_format_size(all->room);
    return error_set(err, "no room for %s: of %s for memory devices (-m maxmem=) %s are left", wanted, total,
                     used == all->room ? "none" : has);
}

static bool find_place(const MemoryDevices *all, uint64_t wanted, uint64_t size, uint64_t align, uint64_t *addr,
                       Error *err)
{
    uint64_t end = all->base + all->size;
    if (size > all->room - memory_devices_room_used(all)) {
        return fail_room(all, size, err);
    }
    if (wanted) {
        if (wanted % align) {
            return error_set(err, "addr=0x%" PRIx64 ": it has to be a multiple of 0x%" PRIx64, wanted, align);
        }
        if (wanted < all->base || !range_fits(wanted - all->base, size, all->size)) {
            return error_set(err, "addr=0x%" PRIx64 ": memory devices lie at 0x%" PRIx64 " to 0x%" PRIx64, wanted,
                             all->base, end - 1);
        }
        const MemoryDevice *m = next_device(all, 0);
        for (; m; m = next_device(all, m->addr + m->size)) {
            if (ranges_overlap(wanted, size, m->addr, m->size)) {
                g_autofree char *who =
                    m->slot >= 0 ? g_strdup_printf("slot %d", m->slot) : g_strdup(m->dev->obj.type->name);
                return error_set(err, "addr=0x%" PRIx64 ": %s has memory at 0x%" PRIx64 " to 0x%" PRIx64, wanted, who,
                                 m->addr, m->addr + m->size - 1);
            }
        }
        *addr = wanted;
        return true;
    }
    uint64_t at = align_up(all->base, align);
    for (const MemoryDevice *m = next_device(all, 0); m && m->addr - MIN(m->addr, at) < size;
         m                     = next_device(all, m->addr + m->size)) {
        at = align_up(m->addr + m->size, align);
    }
    *addr = at;
    return (at < end && size <= end - at) || fail_room(all, size, err);
}

static bool check_backend(const MemoryDevice *m, const MemoryBackend *backend, uint64_t size, Error *err)
{
    uint64_t unit = MAX(UNIT, backend->ram->page_size);
    if (!size || size % unit) {
        g_autofree char *has = text_format_size(size), *wanted = text_format_size(unit);
        return error_set(err, "memory backend '%s' has %s, which is no multiple of %s", m->memdev, has, wanted);
    }
    return true;
}

static bool has_slot(const MemoryDevice *m)
{
    return m->kind < MEMORY_VIRTIO_PMEM;
}

bool memory_device_plug(MemoryDevice *m, uint64_t size, uint64_t align, Error *err)
{
    Platform      *p    = m->dev->platform;
    MemoryDevices *all  = p->memory_devices;
    int32_t        slot = -1;
    uint64_t       addr = 0;

    if (!all || (has_slot(m) && !all->host.plugged)) {
        return error_set(err, "this machine takes no memory devices: %s",
                         all ? "it has no ACPI" : "-m SIZE,slots=N,maxmem=SIZE makes room for them, on pc and q35");
    }
    MemoryBackend *backend = memory_backend_find(p->objects, m->memdev, err);
    if (!backend) {
        return error_prefix(err, "memdev=: ");
    }
    g_autofree char *user =
        m->dev->id ? g_strdup_printf("device '%s' shows it", m->dev->id) : g_strdup("a device shows it");
    size  = size ? size : backend->size;
    align = MAX(MAX(UNIT, align), backend->ram->page_size);
    if (m->node >= all->n_nodes) {
        return error_set(err, "node=%u: there are nodes 0 to %u (-numa)", m->node, all->n_nodes - 1);
    }
    if (!check_backend(m, backend, size, err) || (has_slot(m) && !find_slot(all, m->slot, &slot, err)) ||
        !find_place(all, m->addr, size, align, &addr, err) || !memory_backend_take(backend, !m->readonly, user, err)) {
        return false;
    }
    m->slot    = slot;
    m->addr    = addr;
    m->size    = size;
    m->usable  = size;
    m->backend = backend;
    object_ref(&backend->obj);
    if (m->readonly && (backend->ram->readonly || memory_backend_is_rom(backend))) {
        region_init_rom(&m->region, p->memory, "memory-device", backend->ram, 0, size);
    } else {
        region_init_ram(&m->region, p->memory, "memory-device", backend->ram, 0, size);
    }
    region_map(&all->region, addr - all->base, &m->region, 0);
    g_ptr_array_add(all->devices, m);
    if (has_slot(m)) {
        all->slots[slot] = m;
        all->host.plugged(all->host.opaque, m);
        if (m->kind == MEMORY_NVDIMM) {
            all->nvdimm_plugged(all->nvdimm_opaque);
        }
    }
    return true;
}

void memory_device_unplug(MemoryDevice *m)
{
    MemoryDevices *all = m->dev->platform->memory_devices;
    if (has_slot(m)) {
        if (all->host.unplugged) {
            all->host.unplugged(all->host.opaque, m);
        }
        all->slots[m->slot] = NULL;
    }
    g_ptr_array_remove(all->devices, m);
    region_unmap(&m->region); /* no vCPU has an address of it any more when this returns */
    region_destroy(&m->region);
    ram_block_written(m->backend->ram, 0, m->backend->ram->size); /* and no code that was found in it */
    memory_backend_release(m->backend);
    object_unref(&m->backend->obj);
    m->backend = NULL;
}

/* ---- Giving back ---- */

static Json *describe(MemoryDevice *m, bool with_path)
{
    Json *data = json_new_object();
    if (m->dev->id) {
        json_set(data, "device", json_new_string(m->dev->id));
    }
    if (with_path) {
        g_autofree char *path = object_path(&m->dev->obj);
        json_set(data, "path", json_new_string(path));
    }
    return data;
}

bool memory_device_ask_back(Device *dev, Error *err)
{
    MemoryDevice  *m   = &((Dimm *)dev)->memory;
    MemoryDevices *all = dev->platform->memory_devices;
    if (m->unplugging) {
        return error_set(err, "the guest has been asked to give device '%s' back already", dev->id ? dev->id : "");
    }
    m->unplugging = true;
    all->host.ask_back(all->host.opaque, m);
    return true;
}

void memory_device_ejected(MemoryDevice *m)
{
    device_remove(m->dev);
}

void memory_device_refused(MemoryDevice *m, const char *why)
{
    Json *data    = describe(m, false);
    m->unplugging = false;
    json_set(data, "device", json_new_string(m->dev->id ? m->dev->id : ""));
    json_set(data, "msg", json_new_string(why));
    platform_emit(m->dev->platform, "MEM_UNPLUG_ERROR", data);
    platform_emit(m->dev->platform, "DEVICE_UNPLUG_GUEST_ERROR", describe(m, true));
}
