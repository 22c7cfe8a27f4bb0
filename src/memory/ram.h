/* RAM blocks: host memory that guests see as RAM or ROM, with what must be known per 4 KiB page.
 *
 * Code tracking: whoever caches decoded or translated guest code marks the 64-byte chunks it read. A write that
 * hits a marked chunk bumps the page's generation, which makes cached code of that page stale. Writers that
 * cannot know (DMA, devices, the slow path of a vCPU store) call ram_block_written(). */

#ifndef QUERN_MEMORY_RAM_H
#define QUERN_MEMORY_RAM_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdint.h>

enum { RAM_PAGE_BITS = 12, RAM_PAGE_SIZE = 1 << RAM_PAGE_BITS };

typedef struct RamPage {
    _Atomic uint64_t code_mask; /* bit n: bytes [64n, 64n + 64) were read as code */
    _Atomic uint32_t code_gen;  /* bumped when marked bytes are written */
    _Atomic uint32_t dirty;     /* one bit a client of dirty logging */
} RamPage;

typedef struct RamBlock {
    char            *name;
    uint8_t         *host; /* page aligned */
    uint64_t         size; /* multiple of RAM_PAGE_SIZE */
    RamPage         *pages;
    int              refs;
    int              fd; /* -1 for anonymous memory */
    bool             shared;
    _Atomic uint32_t dirty_clients; /* clients that log now; then writes must come through ram_block_written */
} RamBlock;

/* Anonymous memory, reserved and zero, not touched. `size` is rounded up to whole pages. NULL with an error that
 * names the size when the host has not enough. The caller owns one reference. */
RamBlock *ram_block_new(const char *name, uint64_t size, Error *err);
RamBlock *ram_block_ref(RamBlock *ram);
void      ram_block_unref(RamBlock *ram);

/* Keeps guest RAM out of the host's core dumps (dump-guest-core=off), or offers it for merging (mem-merge). */
void ram_block_advise(RamBlock *ram, bool dump, bool merge);

static inline RamPage *ram_block_page(RamBlock *ram, uint64_t offset)
{
    return &ram->pages[offset >> RAM_PAGE_BITS];
}

/* Must a store to this page take the slow path (and call ram_block_written after it)? */
static inline bool ram_page_watched(RamBlock *ram, uint64_t offset)
{
    return atomic_load_explicit(&ram_block_page(ram, offset)->code_mask, memory_order_relaxed) ||
           atomic_load_explicit(&ram->dirty_clients, memory_order_relaxed);
}

/* After bytes [offset, offset + len) changed: bumps generations of marked code, sets dirty bits. Any thread. */
void ram_block_written(RamBlock *ram, uint64_t offset, uint64_t len);

/* Marks [offset, offset + len) as code. Returns true when a page had no mark before: the caller must then make
 * sure that no vCPU goes on writing to it by a fast path (see vcpu_exclusive). Any thread. */
bool ram_block_mark_code(RamBlock *ram, uint64_t offset, uint64_t len);

#endif
