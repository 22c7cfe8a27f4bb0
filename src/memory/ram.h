/* RAM blocks: host memory that guests see as RAM or ROM, with what must be known per 4 KiB page.
 *
 * Code tracking: whoever caches decoded or translated guest code marks the 64-byte chunks it read. A write that
 * hits a marked chunk bumps the page's generation, which makes cached code of that page stale, and takes the mark
 * away. Writers that cannot know (DMA, devices, the slow path of a vCPU store) call ram_block_written().
 *
 * Who caches code loads code_gen, then marks, then reads the bytes, in this order, and keeps what it made of them
 * under the generation it loaded: then a write at any moment either is seen or makes the copy stale. */

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

typedef struct RamBlock RamBlock;

/* Somebody who translates code and wants to hear of writes to marked chunks at once, instead of comparing generations:
 * bytes [first, last] of the page at `page`. Called by the writer after its write, on any thread. Marks stay until it
 * takes them away by ram_block_keep_marks(). */
typedef struct RamCodeListener {
    void (*written)(void *opaque, RamBlock *ram, uint64_t page, uint64_t first, uint64_t last);
    void *opaque;
} RamCodeListener;

struct RamBlock {
    char            *name;
    uint8_t         *host; /* page aligned */
    uint64_t         size; /* multiple of RAM_PAGE_SIZE */
    RamPage         *pages;
    _Atomic int      refs;
    void            *mapping; /* what was mapped: host with its guard pages */
    uint64_t         mapping_size;
    uint64_t         page_size; /* the host's for it: of huge pages in a file system of such */
    int              fd;        /* -1 for anonymous memory; the block's own */
    uint64_t         fd_offset;
    bool             shared;        /* others may see what is written */
    bool             readonly;      /* the host does not let us write */
    bool             reserved;      /* the host has promised memory for it */
    bool             no_dump;       /* kept out of core dumps */
    int              alias_fd;      /* what pages that were made aliases of lie in, at their offsets; -1: none yet */
    uint64_t        *alias_bits;    /* those pages; NULL: none yet */
    uint64_t         n_apart;       /* huge pages with some of them */
    _Atomic uint32_t dirty_clients; /* clients that log now; then writes must come through ram_block_written */
    const RamCodeListener *_Atomic code_listener; /* lives as long as the block */
};

/* Anonymous memory, reserved and zero, not touched, with an inaccessible page before and behind it. `size` is
 * rounded up to whole pages and not 0. NULL with an error that names the size when the host has not enough. The
 * caller owns one reference. */
RamBlock *ram_block_new(const char *name, uint64_t size, Error *err);

/* The same with a say. */
typedef struct RamSpec {
    const char *name;
    uint64_t    size;
    int         fd;        /* a file to map, of which the block gets a descriptor of its own; -1: none */
    uint64_t    fd_offset; /* multiple of the file's page size */
    uint64_t    align;     /* of the host address, a power of two; 0: as suits */
    bool        shared, readonly, reserve; /* reserve: the host is to promise the memory, or to refuse */
} RamSpec;
RamBlock *ram_block_map(const RamSpec *spec, Error *err);

RamBlock *ram_block_ref(RamBlock *ram);   /* any thread */
void      ram_block_unref(RamBlock *ram); /* NULL is fine; any thread; the last one frees the memory */

/* The guest does not see it any more, and never will: gives the host its memory back, also while somebody (a cache of
 * code) has a reference left. From then on nobody reads or writes it. */
void ram_block_retire(RamBlock *ram);

/* Gives the host these pages back: multiples of the block's page size. They read as zeros then, those of a private file
 * as what the file has, and code found there is forgotten. false: the host keeps them, and nothing has changed. The
 * guest may go on meanwhile; what it writes there is kept or not. Machine lock. */
bool ram_block_discard(RamBlock *ram, uint64_t offset, uint64_t len);

/* Has the host give these pages now. false: it has not enough. A kernel that cannot do so gives them later. */
bool ram_block_populate_range(RamBlock *ram, uint64_t offset, uint64_t len);

/* Can the host back `total` bytes of guest RAM? Called with the sum before the blocks are made. `reserve`: it is to
 * promise them too, which the error gives figures for when it cannot; without it looks at the limit on this process's
 * address space only (ulimit -v). */
bool ram_check_host(uint64_t total, bool reserve, Error *err);

/* Keeps guest RAM out of the host's core dumps (dump-guest-core=off), or offers it for merging (mem-merge). */
void ram_block_advise(RamBlock *ram, bool dump, bool merge);

/* Pages that are mapped a second time, to lie side by side in host memory as they do for the guest (ram_alias.c).
 *
 * ram_block_make_alias() moves a page's contents to where that is possible; meanwhile nobody may access the block:
 * vCPUs are outside, and devices write with the machine lock held only. It stays at its host address. false: the host
 * does not let us, or enough has been moved; nothing has changed. Nothing happens to a page that has been moved before.
 */
bool ram_block_make_alias(RamBlock *ram, uint64_t offset);
bool ram_block_has_alias(const RamBlock *ram, uint64_t offset);

/* Maps it at `at` as well: page aligned, in a mapping of the caller's. */
bool ram_block_map_alias(RamBlock *ram, uint64_t offset, void *at);

/* Has the host give all of it now (prealloc=on) instead of page by page when the guest gets there, on `threads` threads
 * (0: as many as suit the host). Fails before it begins if the host has not enough now. A terminal is told how far it
 * is when it takes long. Nobody writes the block meanwhile. */
bool ram_block_populate(RamBlock *ram, unsigned threads, Error *err);

static inline RamPage *ram_block_page(RamBlock *ram, uint64_t offset)
{
    return &ram->pages[offset >> RAM_PAGE_BITS];
}

/* Copies from or to guest RAM that vCPUs may be writing at the same time, which is the guest's own affair. An
 * aligned 1, 2, 4 or 8 bytes are moved at once. ram_copy_in does not call ram_block_written(). */
void ram_copy_out(void *to, const uint8_t *host, size_t len);
void ram_copy_in(uint8_t *host, const void *from, size_t len);

static inline bool ram_page_has_code(RamBlock *ram, uint64_t offset)
{
    return atomic_load_explicit(&ram_block_page(ram, offset)->code_mask, memory_order_relaxed);
}

/* Must a store to this page take the slow path (and call ram_block_written after it)? */
static inline bool ram_page_watched(RamBlock *ram, uint64_t offset)
{
    return ram_page_has_code(ram, offset) || atomic_load_explicit(&ram->dirty_clients, memory_order_relaxed);
}

/* After bytes [offset, offset + len) changed: bumps generations of marked code, sets dirty bits. The range lies in
 * the block. Any thread. */
void ram_block_written(RamBlock *ram, uint64_t offset, uint64_t len);

/* Would a write of these bytes hit marked code? */
bool ram_block_hits_code(RamBlock *ram, uint64_t offset, uint64_t len);

/* For listeners: takes the marks of the page away but those in `keep`, and makes what others have read stale. */
void ram_block_keep_marks(RamBlock *ram, uint64_t page, uint64_t keep);

/* Marks [offset, offset + len) as code. Returns true when a page had no mark before: the caller must then make
 * sure that no vCPU goes on writing to it by a fast path (see vcpu_exclusive). Any thread. */
bool ram_block_mark_code(RamBlock *ram, uint64_t offset, uint64_t len);

#endif
