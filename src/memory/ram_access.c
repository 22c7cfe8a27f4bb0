/* RAM blocks: copying that races with vCPUs, code and dirty tracking.
 *
 * Any thread. Calls nothing: it is part of the CPU's hot set (cpu/x86/park.h). */

#include "memory/ram.h"

#include "base/checked.h"
#include "base/hot.h"
#include "base/sanitize.h"

enum { CODE_CHUNK_BITS = 6 };

/* Copying. In assembly an access is one instruction of its size, and none at all to a sanitizer that watches for
 * races: those on guest RAM are not ours. */

static inline void copy_bytes(void *to, const void *from, size_t len)
{
    if (WITH_TSAN) {
        __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
    } else {
        hot_copy(to, from, len);
    }
}

void ram_copy_out(void *to, const uint8_t *host, size_t len)
{
    uint64_t v = 0;
    switch (len) {
    case 1: __asm__ volatile("movb %1, %b0" : "=q"(v) : "m"(*host)); break;
    case 2: __asm__ volatile("movw %1, %w0" : "=r"(v) : "m"(*(const uint8_t(*)[2])host)); break;
    case 4: __asm__ volatile("movl %1, %k0" : "=r"(v) : "m"(*(const uint8_t(*)[4])host)); break;
    case 8: __asm__ volatile("movq %1, %q0" : "=r"(v) : "m"(*(const uint8_t(*)[8])host)); break;
    default: copy_bytes(to, host, len); return;
    }
    hot_copy(to, &v, len);
}

void ram_copy_in(uint8_t *host, const void *from, size_t len)
{
    uint64_t v = 0;
    if (len <= sizeof v) {
        hot_copy(&v, from, len);
    }
    switch (len) {
    case 1: __asm__ volatile("movb %b1, %0" : "=m"(*host) : "q"(v)); break;
    case 2: __asm__ volatile("movw %w1, %0" : "=m"(*(uint8_t(*)[2])host) : "r"(v)); break;
    case 4: __asm__ volatile("movl %k1, %0" : "=m"(*(uint8_t(*)[4])host) : "r"(v)); break;
    case 8: __asm__ volatile("movq %q1, %0" : "=m"(*(uint8_t(*)[8])host) : "r"(v)); break;
    default: copy_bytes(host, from, len); break;
    }
}

/* Tracking. */

/* Stores before it are seen by every thread before loads after it are made. */
static inline void full_barrier(void)
{
    __asm__ volatile("lock; orq $0, -64(%%rsp)" : : : "memory", "cc");
}

/* The bits of code_mask for the chunks that [first, last] (offsets inside one page) touches. */
static uint64_t chunk_mask(uint64_t first, uint64_t last)
{
    unsigned low  = (unsigned)(first & (RAM_PAGE_SIZE - 1)) >> CODE_CHUNK_BITS;
    unsigned high = (unsigned)(last & (RAM_PAGE_SIZE - 1)) >> CODE_CHUNK_BITS;
    return extract_bits(~UINT64_C(0), 0, high - low + 1) << low;
}

void ram_block_written(RamBlock *ram, uint64_t offset, uint64_t len)
{
    if (!len) {
        return;
    }
    g_assert(range_fits(offset, len, ram->size));
    /* Against ram_block_mark_code: either we see its mark, or its caller reads our bytes. */
    full_barrier();
    uint32_t clients = atomic_load_explicit(&ram->dirty_clients, memory_order_relaxed);
    uint64_t last    = offset + len - 1;
    for (uint64_t page = offset >> RAM_PAGE_BITS; page <= last >> RAM_PAGE_BITS; page++) {
        RamPage *p     = &ram->pages[page];
        uint64_t start = page << RAM_PAGE_BITS;
        uint64_t hit   = chunk_mask(MAX(offset, start), MIN(last, start + RAM_PAGE_SIZE - 1));
        if (atomic_load_explicit(&p->code_mask, memory_order_relaxed) & hit) {
            const RamCodeListener *listener = atomic_load_explicit(&ram->code_listener, memory_order_acquire);
            /* The mark goes first: one that is set after this belongs to bytes read after it. */
            if (!listener) {
                atomic_fetch_and(&p->code_mask, ~hit);
            }
            atomic_fetch_add(&p->code_gen, 1);
            if (listener) {
                listener->written(listener->opaque, ram, start, MAX(offset, start),
                                  MIN(last, start + RAM_PAGE_SIZE - 1));
            }
        }
        if (clients) {
            atomic_fetch_or_explicit(&p->dirty, clients, memory_order_relaxed);
        }
    }
}

bool ram_block_hits_code(RamBlock *ram, uint64_t offset, uint64_t len)
{
    uint64_t last = offset + len - 1;
    for (uint64_t page = offset >> RAM_PAGE_BITS; page <= last >> RAM_PAGE_BITS; page++) {
        uint64_t start = page << RAM_PAGE_BITS;
        uint64_t mask  = chunk_mask(MAX(offset, start), MIN(last, start + RAM_PAGE_SIZE - 1));
        if (atomic_load_explicit(&ram->pages[page].code_mask, memory_order_relaxed) & mask) {
            return true;
        }
    }
    return false;
}

void ram_block_keep_marks(RamBlock *ram, uint64_t page, uint64_t keep)
{
    RamPage *p = ram_block_page(ram, page);
    atomic_fetch_and(&p->code_mask, keep);
    atomic_fetch_add(&p->code_gen, 1);
}

bool ram_block_mark_code(RamBlock *ram, uint64_t offset, uint64_t len)
{
    if (!len) {
        return false;
    }
    g_assert(range_fits(offset, len, ram->size));
    bool     first_mark = false;
    uint64_t last       = offset + len - 1;
    for (uint64_t page = offset >> RAM_PAGE_BITS; page <= last >> RAM_PAGE_BITS; page++) {
        RamPage *p     = &ram->pages[page];
        uint64_t start = page << RAM_PAGE_BITS;
        uint64_t mask  = chunk_mask(MAX(offset, start), MIN(last, start + RAM_PAGE_SIZE - 1));
        if ((atomic_load_explicit(&p->code_mask, memory_order_relaxed) & mask) != mask) {
            first_mark |= !atomic_fetch_or(&p->code_mask, mask);
        }
    }
    return first_mark;
}
