/* Accesses: finding what is at an address and moving bytes to or from RAM and devices.
 *
 * A lookup is an RCU section; a callback never runs inside one. For a region that needs the machine lock the map is
 * looked at again once the lock is held: nothing leaves the tree without the lock, so that the region found then
 * stays until the callback is over. Callbacks are counted in their region, for region_destroy: a lockless one is
 * counted inside the RCU section that found it, and any may give up the machine lock while it waits. */

#include "memory/internal.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/trace.h"
#include "loop/rcu.h"

#include <inttypes.h>
#include <string.h>

/* An I/O callback that runs on this thread. */
typedef struct Callback {
    Region          *region; /* NULL once the region is destroyed */
    struct Callback *outer;
} Callback;

/* The innermost one. A thread's own, so that the check for re-entry costs no lock. */
static _Thread_local Callback *thread_callbacks;

static uint64_t all_ones(unsigned size)
{
    return extract_bits(UINT64_MAX, 0, 8 * size);
}

static void complain(const Region *r, uint64_t offset, unsigned size, bool write, const char *why)
{
    const Log *log = r->memory->log;
    if (log && log_on(log, LOG_GUEST_ERRORS)) {
        log_print(log, LOG_GUEST_ERRORS, "%s: %u-byte %s at offset 0x%" PRIx64 ": %s\n", r->name, size,
                  write ? "write" : "read", offset, why);
    }
}

/* Callbacks. */

/* False when this thread is in a callback of r already: a device must not reach itself through its registers. */
static bool callback_begin(Callback *cb, Region *r)
{
    for (const Callback *other = thread_callbacks; other; other = other->outer) {
        if (other->region == r) {
            return false;
        }
    }
    *cb              = (Callback){ .region = r, .outer = thread_callbacks };
    thread_callbacks = cb;
    return true;
}

static void callback_end(Callback *cb)
{
    thread_callbacks = cb->outer;
}

/* Callbacks that run under the machine lock are counted under it: two locked instructions less in each port access. */
static void region_count(Region *r, unsigned change, memory_order order)
{
    if (r->ops->lockless) {
        atomic_fetch_add_explicit(&r->callbacks, change, order);
    } else {
        unsigned callbacks = atomic_load_explicit(&r->callbacks, memory_order_relaxed);
        atomic_store_explicit(&r->callbacks, callbacks + change, memory_order_relaxed);
    }
}

static void region_hold(Region *r)
{
    region_count(r, 1, memory_order_acquire);
}

static void region_release(Region *r)
{
    region_count(r, -1u, memory_order_release);
}

void region_wait_idle(Region *r)
{
    unsigned own = 0;
    for (Callback *cb = thread_callbacks; cb; cb = cb->outer) {
        if (cb->region == r) {
            cb->region = NULL;
            own++;
        }
    }
    while (atomic_load_explicit(&r->callbacks, memory_order_acquire) > own) {
        int depth = machine_lock_drop(r->memory->lock);
        g_usleep(10);
        machine_lock_restore(r->memory->lock, depth);
    }
}

/* One access to a device's callbacks. The region is held and, unless it is lockless, so is the lock. */

/* Which piece of an access of `left` bytes (1 to 8) at `offset` is made next? The largest size that fits; 0 for
 * none. */
static unsigned piece_inside(const IoOps *ops, uint64_t offset, unsigned left)
{
    for (unsigned size = 1u << (31 - __builtin_clz(left)); size; size /= 2) {
        if (ops->access & size && (ops->unaligned || offset % size == 0)) {
            return size;
        }
    }
    return 0;
}

/* The smallest unit that a callback takes and that lies around `offset`; it has at least one byte of the access. */
static unsigned unit_around(const Region *r, uint64_t offset)
{
    for (unsigned size = 1; size <= 8; size *= 2) {
        if (r->ops->access & size && region_last(r) - align_down(offset, size) >= size - 1) {
            return size;
        }
    }
    return 0;
}

/* Why the access cannot be made at all, or NULL. */
static const char *refusal(const Region *r, uint64_t offset, unsigned size, bool write)
{
    const IoOps *ops = r->ops;
    if (write ? !ops->write : !ops->read) {
        return write ? "the register cannot be written" : "the register cannot be read";
    }
    if (ops->accept && !(ops->accept & size)) {
        return "access of a size that the device does not take";
    }
    for (unsigned done = 0; done < size;) {
        unsigned piece = piece_inside(ops, offset + done, size - done);
        if (!piece) {
            unsigned unit = unit_around(r, offset + done);
            if (!unit || (write && !(ops->accept & size))) {
                return "access of a size or alignment that the device does not take";
            }
            piece = unit - (offset + done) % unit;
        }
        done += piece;
    }
    return NULL;
}

static uint64_t device_read(Region *r, Callback *cb, uint64_t offset, unsigned size)
{
    const IoOps *ops    = r->ops;
    void        *opaque = r->opaque;
    uint64_t     value  = 0;
    for (unsigned done = 0; done < size;) {
        uint64_t at    = offset + done;
        unsigned piece = piece_inside(ops, at, size - done);
        uint64_t bits;
        if (piece) {
            bits = ops->read(opaque, at, piece) & all_ones(piece);
        } else {
            unsigned unit = unit_around(r, at), skip = at % unit;
            bits  = (ops->read(opaque, at - skip, unit) & all_ones(unit)) >> (8 * skip);
            piece = MIN(unit - skip, size - done);
        }
        value |= bits << (8 * done);
        done += piece;
        if (!cb->region && done < size) {
            value |= ~all_ones(done); /* the region has destroyed itself */
            break;
        }
    }
    return value & all_ones(size);
}

static void device_write(Region *r, Callback *cb, uint64_t offset, unsigned size, uint64_t value)
{
    const IoOps *ops    = r->ops;
    void        *opaque = r->opaque;
    for (unsigned done = 0; done < size && cb->region;) {
        uint64_t at    = offset + done;
        unsigned piece = piece_inside(ops, at, size - done);
        uint64_t bits  = value >> (8 * done);
        if (piece) {
            ops->write(opaque, at, bits & all_ones(piece), piece);
        } else {
            unsigned unit = unit_around(r, at), skip = at % unit;
            piece = MIN(unit - skip, size - done);
            ops->write(opaque, at - skip, (bits & all_ones(piece)) << (8 * skip), unit);
        }
        done += piece;
    }
}

/* Consumes the hold on the region. */
static MemResult device_access(Region *r, uint64_t offset, unsigned size, uint64_t *value, bool write)
{
    Callback    cb;
    const char *why = refusal(r, offset, size, write);
    if (!why && !callback_begin(&cb, r)) {
        why = "re-entrant access: the device is in the middle of another one on the same thread";
    }
    if (why) {
        complain(r, offset, size, write, why);
        region_release(r);
        *value = write ? *value : all_ones(size);
        return MEM_REFUSED;
    }
    if (write) {
        trace(r->memory->log, TRACE_REGION_WRITE, "addr 0x%" PRIx64 " value 0x%" PRIx64 " size %u name '%s'", offset,
              *value, size, r->name);
        device_write(r, &cb, offset, size, *value);
    } else {
        *value = device_read(r, &cb, offset, size);
        trace(cb.region ? cb.region->memory->log : NULL, TRACE_REGION_READ,
              "addr 0x%" PRIx64 " value 0x%" PRIx64 " size %u name '%s'", offset, *value, size, cb.region->name);
    }
    callback_end(&cb);
    if (cb.region) {
        region_release(r);
    }
    return MEM_OK;
}

/* RAM. Inside an RCU section or under the machine lock; the bytes lie in the range. */

static void range_read(const FlatRange *range, uint64_t addr, void *buf, size_t len)
{
    ram_copy_out(buf, range->ram->host + range->ram_offset + (addr - range->first), len);
}

static void range_write(const FlatRange *range, uint64_t addr, const void *buf, size_t len)
{
    uint64_t offset = range->ram_offset + (addr - range->first);
    ram_copy_in(range->ram->host + offset, buf, len);
    ram_block_written(range->ram, offset, len);
}

/* Words. */

static MemResult word_access(AddressSpace *as, uint64_t addr, unsigned size, uint64_t *value, bool write);

/* A word that lies across a border is two of half its size, low address first. */
static MemResult halves_access(AddressSpace *as, uint64_t addr, unsigned size, uint64_t *value, bool write)
{
    unsigned  half = size / 2;
    uint64_t  low = *value, high = *value >> (8 * half);
    MemResult a = word_access(as, addr, half, &low, write);
    MemResult b = word_access(as, addr + half, half, &high, write);
    if (!write) {
        *value = low | high << (8 * half);
    }
    return a != MEM_OK ? a : b;
}

/* Accesses a word in the map as it is now. The machine lock is held (`locked`), or an RCU section, which is ended.
 * Returns false, and has done nothing, when the lock is needed. */
static bool map_access(AddressSpace *as, uint64_t addr, unsigned size, uint64_t *value, bool write, bool locked,
                       MemResult *result)
{
    const FlatMap   *map = address_space_map(as);
    uint64_t         gap;
    const FlatRange *range = flat_map_find(map, addr, &gap);
    *result                = MEM_OK;

    if (range ? range->last - addr < size - 1 : gap < size) {
        if (!locked) {
            rcu_section_end();
        }
        *result = halves_access(as, addr, size, value, write);
        return true;
    }
    if (range && range->ram && !(write && range->readonly)) {
        uint8_t bytes[8];
        if (write) {
            store_le(bytes, *value, size);
            range_write(range, addr, bytes, size);
        } else {
            range_read(range, addr, bytes, size);
            *value = load_le(bytes, size);
        }
    } else if (range && (write ? range->write_device : range->region->ops != NULL)) {
        Region  *r      = range->region;
        uint64_t offset = range->offset + (addr - range->first);
        if (!locked && !r->ops->lockless) {
            rcu_section_end();
            return false;
        }
        region_hold(r);
        if (!locked) {
            rcu_section_end();
        }
        *result = device_access(r, offset, size, value, write);
        return true;
    } else {
        if (range) {
            complain(range->region, range->offset + (addr - range->first), size, write, "read-only memory");
        }
        *value  = write ? *value : all_ones(size);
        *result = range ? MEM_REFUSED : MEM_UNMAPPED;
    }
    if (!locked) {
        rcu_section_end();
    }
    return true;
}

static MemResult word_access(AddressSpace *as, uint64_t addr, unsigned size, uint64_t *value, bool write)
{
    MachineLock *lock = as->memory->lock;
    MemResult    result;
    if (machine_lock_held(lock)) {
        map_access(as, addr, size, value, write, true, &result);
        return result;
    }
    rcu_section_begin();
    if (!map_access(as, addr, size, value, write, false, &result)) {
        machine_lock(lock);
        map_access(as, addr, size, value, write, true, &result);
        machine_unlock(lock);
    }
    return result;
}

uint64_t address_space_load(AddressSpace *as, uint64_t addr, unsigned size)
{
    uint64_t value = 0;
    word_access(as, addr, size, &value, false);
    return value;
}

void address_space_store(AddressSpace *as, uint64_t addr, uint64_t value, unsigned size)
{
    word_access(as, addr, size, &value, true);
}

/* Regions. */

/* What is not for callbacks: RAM, ROM, and containers, which show nothing of their own. */
static MemResult plain_access(Region *r, uint64_t offset, unsigned size, uint64_t *value, bool write)
{
    uint8_t bytes[8];
    if (!r->ram || (write && (r->kind != REGION_RAM || r->readonly))) {
        complain(r, offset, size, write, r->ram ? "read-only memory" : "nothing is there");
        *value = write ? *value : all_ones(size);
        return r->ram ? MEM_REFUSED : MEM_UNMAPPED;
    }
    if (write) {
        store_le(bytes, *value, size);
        ram_copy_in(r->ram->host + r->ram_offset + offset, bytes, size);
        ram_block_written(r->ram, r->ram_offset + offset, size);
    } else {
        ram_copy_out(bytes, r->ram->host + r->ram_offset + offset, size);
        *value = load_le(bytes, size);
    }
    return MEM_OK;
}

static MemResult region_access(Region *r, uint64_t offset, unsigned size, uint64_t *value, bool write)
{
    MachineLock *lock = r->ops && r->ops->lockless ? NULL : r->memory->lock;
    MemResult    result;
    if (lock) {
        machine_lock(lock);
    }
    if (r->size == 0 || offset > region_last(r) || region_last(r) - offset < size - 1) {
        complain(r, offset, size, write, "beyond the end");
        *value = write ? *value : all_ones(size);
        result = MEM_REFUSED;
    } else if (!r->ops || (!write && r->rom_mode)) {
        result = plain_access(r, offset, size, value, write);
    } else {
        region_hold(r);
        result = device_access(r, offset, size, value, write);
    }
    if (lock) {
        machine_unlock(lock);
    }
    return result;
}

MemResult region_read(Region *r, uint64_t offset, unsigned size, uint64_t *value)
{
    *value = 0;
    return region_access(r, offset, size, value, false);
}

MemResult region_write(Region *r, uint64_t offset, unsigned size, uint64_t value)
{
    return region_access(r, offset, size, &value, true);
}

MemTarget address_space_lookup(AddressSpace *as, uint64_t addr)
{
    MemTarget target = { 0 };
    rcu_section_begin();
    const FlatRange *range = flat_map_find(address_space_map(as), addr, &target.len);
    if (range) {
        uint64_t into   = addr - range->first;
        target.region   = range->region;
        target.offset   = range->offset + into;
        target.len      = range->last - addr == UINT64_MAX ? UINT64_MAX : range->last - addr + 1;
        target.ram      = range->ram;
        target.writable = range->ram && !range->readonly;
        if (range->ram) {
            target.ram_offset = range->ram_offset + into;
            target.host       = range->ram->host + target.ram_offset;
        }
    }
    rcu_section_end();
    return target;
}

/* Bytes. */

/* How many of `len` bytes at `addr` to take at a time from a device: the largest aligned word that it accepts. */
static unsigned device_word(const FlatRange *range, uint64_t addr, size_t len)
{
    unsigned accept = range->region->ops && range->region->ops->accept ? range->region->ops->accept : IO_ANY;
    for (unsigned size = 8; size > 1; size /= 2) {
        if (size <= len && addr % size == 0 && accept & size) {
            return size;
        }
    }
    return 1;
}

/* The next part of an access of len bytes: RAM and what is unmapped in stretches, devices in words. */
static size_t next_part(AddressSpace *as, uint64_t addr, uint8_t *in, const uint8_t *out, size_t len, MemResult *result)
{
    g_assert(!in != !out);
    const size_t stretch = 1 << 20; /* RCU sections are short */
    size_t       n       = MIN(len, stretch);
    uint64_t     gap, value = 0;

    rcu_section_begin();
    const FlatRange *range = flat_map_find(address_space_map(as), addr, &gap);
    *result                = MEM_OK;
    if (range && range->ram && (in || !range->readonly)) {
        n = MIN(n - 1, range->last - addr) + 1;
        if (in) {
            range_read(range, addr, in, n);
        } else {
            range_write(range, addr, out, n);
        }
        rcu_section_end();
    } else if (range) {
        n = device_word(range, addr, len);
        rcu_section_end();
        if (in) {
            *result = word_access(as, addr, n, &value, false);
            store_le(in, value, n);
        } else {
            value   = load_le(out, n);
            *result = word_access(as, addr, n, &value, true);
        }
    } else {
        rcu_section_end();
        n       = MIN(n, gap);
        *result = MEM_UNMAPPED;
        if (in) {
            memset(in, 0xff, n);
        }
    }
    return n;
}

static MemResult bytes_access(AddressSpace *as, uint64_t addr, uint8_t *in, const uint8_t *out, size_t len)
{
    MemResult first = MEM_OK;
    while (len) {
        MemResult result;
        size_t    n = next_part(as, addr, in, out, len, &result);
        first       = first == MEM_OK ? result : first;
        addr += n;
        len -= n;
        in  = in ? in + n : NULL;
        out = out ? out + n : NULL;
    }
    return first;
}

static bool is_word(size_t len)
{
    return len <= 8 && is_power_of_two(len);
}

MemResult address_space_read(AddressSpace *as, uint64_t addr, void *buf, size_t len)
{
    if (!is_word(len)) {
        return bytes_access(as, addr, buf, NULL, len);
    }
    uint64_t  value  = 0;
    MemResult result = word_access(as, addr, (unsigned)len, &value, false);
    store_le(buf, value, (unsigned)len);
    return result;
}

MemResult address_space_write(AddressSpace *as, uint64_t addr, const void *buf, size_t len)
{
    if (!is_word(len)) {
        return bytes_access(as, addr, NULL, buf, len);
    }
    uint64_t value = load_le(buf, (unsigned)len);
    return word_access(as, addr, (unsigned)len, &value, true);
}
