/* Aliases of pages of RAM: see ram.h.
 *
 * Anonymous private memory cannot be mapped twice, and has huge pages, which shared memory often has not. So only the
 * pages that are wanted move, one by one, into a file without a name, where each has the offset that it has in the
 * block. The host maps the huge page around one that has moved by small pages from then on, which costs more than
 * aliases gain when it is so everywhere: only a part of the block may come to that. (Measured with all of 1 GiB: cc1
 * 20 % slower.)
 *
 * Called by vCPUs in an exclusive section, one at a time; has_alias() and map_alias() by any of them. */

#include "memory/ram.h"

#include <glib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    WORD       = 64,
    HUGE_SHIFT = 21,
    HUGE_MIN   = 4,
    HUGE_PART  = 32
}; /* huge pages that may be taken apart: at least 4, and one of 32 */

static bool open_file(RamBlock *ram)
{
    if (ram->alias_fd >= 0) {
        return true;
    }
    int fd = memfd_create("quern-ram", MFD_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    if (ftruncate(fd, (off_t)ram->size) != 0) {
        close(fd);
        return false;
    }
    ram->alias_bits = g_new0(uint64_t, (ram->size >> RAM_PAGE_BITS) / WORD + 1);
    ram->alias_fd   = fd;
    return true;
}

bool ram_block_has_alias(const RamBlock *ram, uint64_t offset)
{
    uint64_t n = offset >> RAM_PAGE_BITS;
    return ram->alias_bits && ram->alias_bits[n / WORD] >> (n % WORD) & 1;
}

static bool map_page(RamBlock *ram, uint64_t offset, void *at)
{
    void *p = mmap(at, RAM_PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, ram->alias_fd,
                   (off_t)offset);
    if (p == MAP_FAILED) {
        return false;
    }
    if (ram->no_dump) {
        (void)madvise(p, RAM_PAGE_SIZE, MADV_DONTDUMP);
    }
    return true;
}

/* Has the huge page around it been taken apart? */
static bool is_apart(const RamBlock *ram, uint64_t offset)
{
    uint64_t per_huge = UINT64_C(1) << (HUGE_SHIFT - RAM_PAGE_BITS),
             first    = offset >> HUGE_SHIFT << (HUGE_SHIFT - RAM_PAGE_BITS);
    for (uint64_t n = first; n < first + per_huge; n += WORD) {
        if (n / WORD <= (ram->size >> RAM_PAGE_BITS) / WORD && ram->alias_bits[n / WORD]) {
            return true;
        }
    }
    return false;
}

bool ram_block_make_alias(RamBlock *ram, uint64_t offset)
{
    uint64_t n = offset >> RAM_PAGE_BITS;

    g_assert(offset < ram->size && offset % RAM_PAGE_SIZE == 0);
    if (ram_block_has_alias(ram, offset)) {
        return true;
    }
    if (ram->fd >= 0 || ram->shared || !open_file(ram)) {
        return false;
    }
    bool apart = is_apart(ram, offset);
    if ((!apart && ram->n_apart >= MAX((uint64_t)HUGE_MIN, (ram->size >> HUGE_SHIFT) / HUGE_PART)) ||
        pwrite(ram->alias_fd, ram->host + offset, RAM_PAGE_SIZE, (off_t)offset) != RAM_PAGE_SIZE) {
        return false;
    }
    if (!map_page(ram, offset, ram->host + offset)) {
        return false;
    }
    ram->alias_bits[n / WORD] |= UINT64_C(1) << n % WORD;
    ram->n_apart += !apart;
    return true;
}

bool ram_block_map_alias(RamBlock *ram, uint64_t offset, void *at)
{
    g_assert(ram_block_has_alias(ram, offset));
    return map_page(ram, offset, at);
}
