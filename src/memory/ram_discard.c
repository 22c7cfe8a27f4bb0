/* Giving the host its memory back while the guest goes on: see ram.h.
 *
 * What other mappings of a page see follows: the file below is punched, which takes it from all of them, and pages that
 * were moved for the translator (ram_alias.c) have such a file. Machine lock. */

#include "memory/ram.h"

#include "base/checked.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

static bool is_alias(const RamBlock *ram, uint64_t offset)
{
    return ram_block_has_alias(ram, offset);
}

/* Takes pages that were moved out of the file they lie in, run by run. */
static void punch_aliases(RamBlock *ram, uint64_t offset, uint64_t len)
{
    uint64_t end = offset + len;
    while (ram->alias_fd >= 0 && ram->alias_bits && offset < end) {
        uint64_t from = offset;
        while (from < end && !is_alias(ram, from)) {
            from += RAM_PAGE_SIZE;
        }
        offset = from;
        while (offset < end && is_alias(ram, offset)) {
            offset += RAM_PAGE_SIZE;
        }
        if (offset > from) {
            fallocate(ram->alias_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(offset - from));
        }
    }
}

bool ram_block_discard(RamBlock *ram, uint64_t offset, uint64_t len)
{
    g_assert(range_fits(offset, len, ram->size));
    if (!len || offset % ram->page_size || len % ram->page_size || ram->readonly) {
        return false;
    }
    bool ok;
    if (ram->fd >= 0 && ram->shared) {
        ok = fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(ram->fd_offset + offset),
                       (off_t)len) == 0;
    } else if (ram->shared) {
        ok = madvise(ram->host + offset, len, MADV_REMOVE) == 0;
    } else {
        ok = madvise(ram->host + offset, len, MADV_DONTNEED) == 0; /* of a private file: back to what the file has */
    }
    if (ok) {
        punch_aliases(ram, offset, len);
        ram_block_written(ram, offset, len);
    }
    return ok;
}

bool ram_block_populate_range(RamBlock *ram, uint64_t offset, uint64_t len)
{
    enum { POPULATE_WRITE = 23 }; /* MADV_POPULATE_WRITE, Linux 5.14 */
    g_assert(range_fits(offset, len, ram->size));
    return madvise(ram->host + offset, len, POPULATE_WRITE) == 0 || errno == EINVAL;
}
