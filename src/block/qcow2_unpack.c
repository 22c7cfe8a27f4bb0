/* qcow2: compressed clusters, raw deflate or zstd. Specification: see qcow2.h; RFC 1951; RFC 8878. Any lock. */

#include "block/qcow2.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

static bool unpack_deflate(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    z_stream z = {
        .next_in = (uint8_t *)(uintptr_t)in, .avail_in = (uInt)in_len, .next_out = out, .avail_out = (uInt)out_len
    };
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) {
        return false;
    }
    int result = inflate(&z, Z_FINISH);
    inflateEnd(&z);
    return z.avail_out == 0 && (result == Z_STREAM_END || result == Z_OK || result == Z_BUF_ERROR);
}

static bool unpack_zstd(const uint8_t *in, size_t in_len, uint8_t *out, size_t out_len)
{
    ZSTD_DCtx     *context = ZSTD_createDCtx();
    ZSTD_inBuffer  from    = { .src = in, .size = in_len };
    ZSTD_outBuffer to      = { .dst = out, .size = out_len };
    while (context && to.pos < to.size) {
        size_t before = from.pos + to.pos;
        if (ZSTD_isError(ZSTD_decompressStream(context, &to, &from)) || from.pos + to.pos == before) {
            break;
        }
    }
    ZSTD_freeDCtx(context);
    return to.pos == to.size;
}

/* Unpacks the cluster into q->unpacked. Its mutex held. */
static int unpack(Qcow2 *q, uint64_t entry)
{
    uint64_t offset, len;
    qcow2_packed_range(q, entry, &offset, &len);
    if (offset >= q->node.file->size) {
        return qcow2_corrupt(q, "compressed data at %#" G_GINT64_MODIFIER "x lies nowhere", offset);
    }
    g_autofree uint8_t *in    = g_malloc(len);
    int                 error = block_node_read(q->node.file, offset, in, len);
    if (error) {
        return error;
    }
    q->unpacked       = q->unpacked ? q->unpacked : g_malloc(q->cluster_size);
    q->unpacked_entry = 0;
    if (!(q->compression == QCOW2_ZSTD ? unpack_zstd : unpack_deflate)(in, len, q->unpacked, q->cluster_size)) {
        return EIO;
    }
    q->unpacked_entry = entry;
    return 0;
}

int qcow2_unpack(Qcow2 *q, uint64_t entry, size_t at, void *buf, size_t len)
{
    pthread_mutex_lock(&q->unpacked_mutex);
    int error = q->unpacked && q->unpacked_entry == entry ? 0 : unpack(q, entry);
    if (!error) {
        memcpy(buf, q->unpacked + at, len);
    }
    pthread_mutex_unlock(&q->unpacked_mutex);
    return error;
}
