/* RAM blocks: reserving host memory. ram_access.c has the rest.
 *
 * Any thread; a block's fields do not change after it was made, but for the atomic ones. */

#include "memory/ram.h"

#include "base/checked.h"
#include "base/sanitize.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Transparent huge pages pay where a guest has megabytes to spread over. */
#define HUGE_PAGE (2 * MiB)

/* Reserving. */

static void *map_anonymous(uint64_t size, int protection)
{
    void *p = mmap(NULL, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Maps what the block shows over the place that was reserved for it. */
static bool fill_in(RamBlock *ram)
{
    int protection = ram->readonly ? PROT_READ : PROT_READ | PROT_WRITE;
    int flags      = MAP_FIXED | (ram->shared ? MAP_SHARED : MAP_PRIVATE) | (ram->fd < 0 ? MAP_ANONYMOUS : 0) |
                (ram->reserved ? 0 : MAP_NORESERVE);
    return mmap(ram->host, ram->size, protection, flags, ram->fd, ram->fd < 0 ? 0 : (off_t)ram->fd_offset) !=
           MAP_FAILED;
}

/* Reserves address space for `size` bytes with a guard page on either side, huge pages aligned, and opens the
 * bytes for use. */
static bool reserve(RamBlock *ram, uint64_t alignment)
{
    alignment = MAX(MAX(alignment, ram->size >= HUGE_PAGE ? HUGE_PAGE : RAM_PAGE_SIZE), ram->page_size);
    uint64_t total;
    if (!checked_add(ram->size, alignment, &total) || !checked_add(total, 2 * ram->page_size, &total)) {
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
    if (!fill_in(ram)) {
        return false;
    }
    if (ram->size >= HUGE_PAGE && ram->page_size == RAM_PAGE_SIZE) {
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
    if (ram->fd >= 0) {
        close(ram->fd);
    }
    g_free(ram->alias_bits);
    g_free(ram->name);
    g_free(ram);
}

/* A line "Name:   123 kB" of /proc/meminfo, in bytes. */
static uint64_t meminfo(const char *text, const char *name)
{
    const char *at = text ? strstr(text, name) : NULL;
    return at ? g_ascii_strtoull(at + strlen(name), NULL, 10) * KiB : 0;
}

static bool fail_host(uint64_t total, const char *what, uint64_t there, const char *more, Error *err)
{
    g_autofree char *wanted = text_format_size(total), *has = text_format_size(there);
    return error_set(err, "cannot reserve %s of guest memory: %s %s%s", wanted, what, has, more);
}

/* The host's own rule for promises (Linux, Documentation/mm/overcommit-accounting): never more than the limit (2),
 * always (1), or no more at a time than there is (0). */
static bool check_promise(uint64_t total, Error *err)
{
    g_autofree char *mode = NULL, *text = NULL;
    if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
        return true;
    }
    g_file_get_contents("/proc/sys/vm/overcommit_memory", &mode, NULL, NULL);
    if (mode && *mode == '1') {
        return true;
    }
    if (mode && *mode == '2') {
        uint64_t limit = meminfo(text, "CommitLimit:"), used = meminfo(text, "Committed_AS:");
        return !limit || total <= limit - MIN(used, limit) ||
               fail_host(total, "of what this host promises at most (vm.overcommit_memory=2) there is left",
                         limit - MIN(used, limit), "", err);
    }
    uint64_t there = meminfo(text, "MemTotal:") + meminfo(text, "SwapTotal:");
    return !there || total <= there ||
           fail_host(total, "this host has", there,
                     ", swap included (-object memory-backend-ram,reserve=off does without)", err);
}

bool ram_check_host(uint64_t total, bool reserve, Error *err)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && total >= limit.rlim_cur) {
        return fail_host(total, "this process may use", limit.rlim_cur, " of address space (ulimit -v)", err);
    }
    return !reserve || check_promise(total, err);
}

/* The size of the pages that the host maps a file by. */
static uint64_t file_page_size(int fd)
{
    struct statfs fs;
    return fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : RAM_PAGE_SIZE;
}

RamBlock *ram_block_map(const RamSpec *spec, Error *err)
{
    g_assert(spec->size > 0);
    uint64_t  size = spec->size;
    RamBlock *ram  = g_new0(RamBlock, 1);
    ram->name      = g_strdup(spec->name);
    ram->refs      = 1;
    ram->alias_fd  = -1;
    ram->fd        = spec->fd < 0 ? -1 : fcntl(spec->fd, F_DUPFD_CLOEXEC, 0);
    ram->fd_offset = spec->fd_offset;
    ram->page_size = file_page_size(ram->fd);
    ram->shared    = spec->shared;
    ram->readonly  = spec->readonly;
    ram->reserved  = spec->reserve;
    ram->size = size > UINT64_MAX - ram->page_size ? align_down(size, ram->page_size) : align_up(size, ram->page_size);

    bool ok = ram_check_host(ram->size, spec->reserve && (spec->fd < 0 || !spec->shared), err);
    if (ok && ((spec->fd >= 0 && ram->fd < 0) || !reserve(ram, spec->align) ||
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

RamBlock *ram_block_new(const char *name, uint64_t size, Error *err)
{
    RamSpec spec = { .name = name, .size = size, .fd = -1 };
    return ram_block_map(&spec, err);
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

void ram_block_retire(RamBlock *ram)
{
    /* The addresses stay taken: nothing else can be found under them. */
    int   flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    void *p     = mmap(ram->host, ram->size, PROT_NONE, flags, -1, 0);
    if (p != MAP_FAILED && ram->fd >= 0) {
        close(ram->fd);
        ram->fd = -1;
    }
    if (ram->alias_fd >= 0) {
        close(ram->alias_fd); /* windows (accel/dbt/windows.c) still map pages of it for a while */
        ram->alias_fd = -1;
    }
}

void ram_block_advise(RamBlock *ram, bool dump, bool merge)
{
    ram->no_dump = !dump;
    madvise(ram->host, ram->size, dump ? MADV_DODUMP : MADV_DONTDUMP);
    madvise(ram->host, ram->size, merge && !ram->shared ? MADV_MERGEABLE : MADV_UNMERGEABLE);
}
