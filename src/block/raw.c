/* The raw format: the file's bytes are the disk's. The last sector is filled up with zeros.
 *
 * Where the format was guessed, a guest could write a header of another format into the first sector and have it
 * believed at the next start, backing file and all: such writes are refused. */

#include "block/driver.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>

typedef struct RawNode {
    BlockNode node;
    uint64_t  absent_number;
} RawNode;

static const Field raw_options[] = {
    BLOCK_NODE_OPTIONS(RawNode, node),
    FIELD(RawNode, absent_number, "offset", .size_unit = 1, .unsupported = true, .help = "where in the file it begins"),
    FIELD(RawNode, absent_number, "size", .size_unit = 1, .unsupported = true, .help = "how much of the file it has"),
    {},
};

static bool raw_open(BlockNode *n, Error *err)
{
    n->size     = align_up(n->file->size, BLOCK_SECTOR);
    n->writable = n->file->writable;
    return true;
}

static int raw_read(BlockNode *n, uint64_t offset, void *buf, size_t len)
{
    return block_node_read(n->file, offset, buf, len);
}

static int raw_readv(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov)
{
    return block_node_readv(n->file, offset, iov, n_iov);
}

/* Would the file begin like one of another format after this write? */
static bool forges_header(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov)
{
    uint8_t head[BLOCK_SECTOR];
    if (!n->probed || offset >= BLOCK_SECTOR) {
        return false;
    }
    if (offset && block_node_read(n->file, 0, head, sizeof head)) {
        return true;
    }
    size_t at = (size_t)offset;
    for (unsigned i = 0; i < n_iov && at < sizeof head; i++) {
        size_t some = MIN(iov[i].iov_len, sizeof head - at);
        memcpy(head + at, iov[i].iov_base, some);
        at += some;
    }
    return block_probe(head, sizeof head) != &block_raw;
}

static int raw_writev(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov)
{
    return forges_header(n, offset, iov, n_iov) ? EPERM : block_node_writev(n->file, offset, iov, n_iov);
}

static int raw_write(BlockNode *n, uint64_t offset, const void *buf, size_t len)
{
    struct iovec one = { .iov_base = (void *)(uintptr_t)buf, .iov_len = len };
    return raw_writev(n, offset, &one, 1);
}

static int raw_zero(BlockNode *n, uint64_t offset, uint64_t len, bool unmap)
{
    return block_node_zero(n->file, offset, len, unmap);
}

static int raw_discard(BlockNode *n, uint64_t offset, uint64_t len)
{
    return block_node_discard(n->file, offset, len);
}

const BlockDriver block_raw = {
    .name    = "raw",
    .help    = "the file's bytes are the disk's",
    .size    = sizeof(RawNode),
    .options = raw_options,
    .open    = raw_open,
    .read    = raw_read,
    .readv   = raw_readv,
    .write   = raw_write,
    .writev  = raw_writev,
    .zero    = raw_zero,
    .discard = raw_discard,
};
