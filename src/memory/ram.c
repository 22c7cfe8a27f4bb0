/* RAM blocks: reserving host memory, code and dirty tracking.
 *
 * Any thread; a block's fields do not change after it was made, but for the atomic ones. */

#include "memory/ram.h"

#include "base/checked.h"
#include "base/sanitize.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

/* Transparent huge pages pay where a guest has megabytes to spread over. */
#define HUGE_PAGE (2 * MiB)

enum { CODE_CHUNK_BITS = 6 };

/* Reserving. */

static void *map_anonymous(uint64_t size, int protection)
{
    void *p = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Reserves address space for `size` bytes with a guard page on either side, huge pages aligned, and opens the
 * bytes for use. */
static bool reserve(RamBlock *ram)
{
    uint64_t alignment = ram->size >= HUGE_PAGE ? HUGE_PAGE : RAM_PAGE_SIZE;
    uint64_t total;
    if (!checked_add(ram->size, alignment + 2 * RAM_PAGE_SIZE, &total)) {
        errno = ENOMEM;
        return false;
    }
    uint8_t *mapping = map_anonymous(total, PROT_NONE);
    if (!mapping) {
        return false;
    }
    ram->mapping      = mapping;
    ram->mapping_size = total;
    ram->host         = (uint8_t *)align_up((uintptr_t)mapping + RAM_PAGE_SIZE, alignment);
    if (mprotect(ram->host, ram->size, PROT_READ | PROT_WRITE) != 0) {
        return false;
    }
    if (ram->size >= HUGE_PAGE) {
        madvise(ram->host, ram->size, MADV_HUGEPAGE); /* a kernel without them goes on with small pages */
    }
    return true;
}

static void ram_block_free(RamBlock *ram)
{
    if (ram->pages) {
        munmap(ram->pages, (ram->size >> RAM_PAGE_BITS) * sizeof(RamPage));
    }
    if (ram->mapping) {
        munmap(ram->mapping, ram->mapping_size);
    }
    g_free(ram->name);
    g_free(ram);
}

bool ram_check_host(uint64_t total, Error *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && total >= limit.rlim_cur) {
        g_autofree char *wanted = text_format_size(total), *allowed = text_format_size(limit.rlim_cur);
        return error_set(err, "cannot reserve %s of guest memory: this process may use %s of address space (ulimit -v)",
                         wanted, allowed);
    }
    return true;
}

RamBlock *ram_block_new(const char *name, uint64_t size, Error *err)
{
    g_assert(size > 0);
    RamBlock *ram = g_new0(RamBlock, 1);
    ram->name     = g_strdup(name);
    ram->refs     = 1;
    ram->fd       = -1;
    ram->size     = size > UINT64_MAX - RAM_PAGE_SIZE ? align_down(size, RAM_PAGE_SIZE) : align_up(size, RAM_PAGE_SIZE);

    bool ok = ram_check_host(ram->size, err);
    if (ok && (!reserve(ram) ||
               !(ram->pages = map_anonymous((ram->size >> RAM_PAGE_BITS) * sizeof(RamPage), PROT_READ | PROT_WRITE)))) {
        int              code = errno;
        g_autofree char *text = text_format_size(ram->size);
        ok                    = error_set_errno(err, code, "cannot reserve %s of guest memory", text);
    }
    if (!ok) {
        ram_block_free(ram);
        return NULL;
    }
    return ram;
}

RamBlock *ram_block_ref(RamBlock *ram)
{
    atomic_fetch_add_explicit(&ram->refs, 1, memory_order_relaxed);
    return ram;
}

void ram_block_unref(RamBlock *ram)
{
    if (ram && atomic_fetch_sub_explicit(&ram->refs, 1, memory_order_acq_rel) == 1) {
        ram_block_free(ram);
    }
}

void ram_block_advise(RamBlock *ram, bool dump, bool merge)
{
    madvise(ram->host, ram->size, dump ? MADV_DODUMP : MADV_DONTDUMP);
    madvise(ram->host, ram->size, merge ? MADV_MERGEABLE : MADV_UNMERGEABLE);
}

/* Copying. In assembly an access is one instruction of its size, and none at all to a sanitizer that watches for
 * races: those on guest RAM are not ours. */

static inline void copy_bytes(void *to, const void *from, size_t len)
{
#if WITH_TSAN
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
#else
    memcpy(to, from, len);
#endif
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
    memcpy(to, &v, len);
}

void ram_copy_in(uint8_t *host, const void *from, size_t len)
{
    uint64_t v = 0;
    if (len <= sizeof v) {
        memcpy(&v, from, len);
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
            /* The mark goes first: one that is set after this belongs to bytes read after it. */
            atomic_fetch_and(&p->code_mask, ~hit);
            atomic_fetch_add(&p->code_gen, 1);
        }
        if (clients) {
            atomic_fetch_or_explicit(&p->dirty, clients, memory_order_relaxed);
        }
    }
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
