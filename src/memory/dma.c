/* DMA, and the loaders' and debuggers' way to write ROM: all or nothing, from one state of the map.
 *
 * The RAM case takes no lock: one RCU section holds the map while the access is checked and made. When devices that
 * are dma_safe are in it, the machine lock holds the map instead, because callbacks may not run inside a section. */

#include "memory/dma.h"

#include "memory/internal.h"

#include "loop/rcu.h"

typedef enum Way { DMA_READ, DMA_WRITE, POKE } Way;

/* What one range answers. MEM_OK is RAM; dma_safe devices answer MEM_NOT_RAM and set *device. */
static MemResult range_allows(const FlatRange *range, Way way, bool *device)
{
    const Region *r = range->region;
    if (range->ram && (way != DMA_WRITE || !range->readonly)) {
        return MEM_OK;
    }
    if (way == POKE) {
        return r->ram ? MEM_OK : MEM_NOT_RAM; /* a ROM device in command mode has its contents all the same */
    }
    if (way == DMA_WRITE && range->readonly && !range->write_device) {
        return MEM_REFUSED;
    }
    if (r->ops && r->ops->dma_safe) {
        *device = true;
        return MEM_OK;
    }
    return MEM_NOT_RAM;
}

/* Inside an RCU section or under the machine lock. */
static MemResult check(AddressSpace *as, uint64_t addr, size_t len, Way way, bool *device)
{
    const FlatMap *map = address_space_map(as);
    while (len) {
        const FlatRange *range = flat_map_find(map, addr, NULL);
        if (!range) {
            return MEM_UNMAPPED;
        }
        MemResult result = range_allows(range, way, device);
        if (result != MEM_OK) {
            return result;
        }
        uint64_t n = MIN(len - 1, range->last - addr) + 1;
        addr += n;
        len -= n;
    }
    return MEM_OK;
}

/* After check() has found nothing but RAM, in the same section. */
static void copy(AddressSpace *as, uint64_t addr, uint8_t *in, const uint8_t *out, size_t len)
{
    const FlatMap *map = address_space_map(as);
    while (len) {
        const FlatRange *range  = flat_map_find(map, addr, NULL);
        const Region    *r      = range->region;
        RamBlock        *ram    = r->ram;
        uint64_t         n      = MIN(len - 1, range->last - addr) + 1;
        uint64_t         offset = r->ram_offset + range->offset + (addr - range->first);
        if (out) {
            ram_copy_in(ram->host + offset, out, n);
            ram_block_written(ram, offset, n);
            out += n;
        } else {
            ram_copy_out(in, ram->host + offset, n);
            in += n;
        }
        addr += n;
        len -= n;
    }
}

static MemResult transfer(AddressSpace *as, uint64_t addr, uint8_t *in, const uint8_t *out, size_t len, Way way)
{
    bool device = false;
    rcu_section_begin();
    MemResult result = check(as, addr, len, way, &device);
    if (result == MEM_OK && !device) {
        copy(as, addr, in, out, len);
    }
    rcu_section_end();
    if (result != MEM_OK || !device) {
        return result;
    }

    machine_lock(as->memory->lock);
    result = check(as, addr, len, way, &device);
    if (result == MEM_OK) {
        result = out ? address_space_write(as, addr, out, len) : address_space_read(as, addr, in, len);
    }
    machine_unlock(as->memory->lock);
    return result;
}

MemResult dma_read(AddressSpace *as, uint64_t addr, void *buf, size_t len)
{
    return transfer(as, addr, buf, NULL, len, DMA_READ);
}

MemResult dma_write(AddressSpace *as, uint64_t addr, const void *buf, size_t len)
{
    return transfer(as, addr, NULL, buf, len, DMA_WRITE);
}

MemResult address_space_poke(AddressSpace *as, uint64_t addr, const void *buf, size_t len)
{
    return transfer(as, addr, NULL, buf, len, POKE);
}
