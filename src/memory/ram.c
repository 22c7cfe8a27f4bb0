/* RAM blocks: reserving host memory. ram_access.c has the rest.
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
#include <unistd.h>

/* Transparent huge pages pay where a guest has megabytes to spread over. */
#define HUGE_PAGE (2 * MiB)

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
    if (ram->alias_fd >= 0) {
        close(ram->alias_fd);
    }
    g_free(ram->alias_bits);
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
    ram->alias_fd = -1;
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

bool ram_block_populate(RamBlock *ram, Error *err)
{
    uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (ram->size > physical) {
        g_autofree char *wanted = text_format_size(ram->size), *there = text_format_size(physical);
        return error_set(err, "cannot allocate %s of guest memory: this host has %s", wanted, there);
    }
    if (madvise(ram->host, ram->size, MADV_POPULATE_WRITE) == 0) {
        return true;
    }
    if (errno != EINVAL) {
        int              code = errno;
        g_autofree char *text = text_format_size(ram->size);
        return error_set_errno(err, code, "cannot allocate %s of guest memory", text);
    }
    for (uint64_t at = 0; at < ram->size; at += RAM_PAGE_SIZE) { /* before Linux 5.14 */
        volatile uint8_t *byte = ram->host + at;
        *byte                  = *byte;
    }
    return true;
}

void ram_block_advise(RamBlock *ram, bool dump, bool merge)
{
    ram->no_dump = !dump;
    madvise(ram->host, ram->size, dump ? MADV_DODUMP : MADV_DONTDUMP);
    madvise(ram->host, ram->size, merge ? MADV_MERGEABLE : MADV_UNMERGEABLE);
}
