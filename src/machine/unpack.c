/* Unpacking as a stream: see unpack.h. The libraries do the work; here is the choice by magic number, one function for
 * each format that goes on until the output is full or the data ends, and what spreads the work over two threads.
 *
 * A thread of its own decodes into a ring of chunks. Whoever reads copies from there; a kernel's xz stream has a second
 * step, a filter for x86 code, and that is made by the reader as well. */

#include "machine/unpack.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/huge.h"
#include "base/text.h"

#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
    LZ4_LEGACY_MAGIC = 0x184c2102,
    LZ4_BLOCK        = 8 << 20,
    CHUNK            = 256 << 10,
    N_CHUNKS         = 4,        /* together they fit into a core's second cache */
    LZMA_STEP        = 32 << 10, /* after which it is seen that nothing more is wanted: a millisecond */
    MAX_WINDOWS      = 4,
    LARGE            = 1 << 20,
};

static const uint64_t lzma_memory_limit = 512 * MiB;

typedef struct Format Format;

/* A part of the output. What comes after it: */
typedef enum ChunkEnd { CHUNK_MORE, CHUNK_LAST, CHUNK_DAMAGED } ChunkEnd;
typedef struct Chunk {
    uint8_t *data; /* CHUNK bytes, of which `len` are there */
    size_t   len;
    ChunkEnd end;
} Chunk;

/* The second step for xz with a filter. liblzma has none for a filter alone: it is told that what it gets is LZMA2 that
 * could not be compressed, in blocks of up to 64 KiB behind a header. */
typedef struct Filter {
    bool        on;
    lzma_stream x;
    uint8_t     header[3];
    bool        begun, ending, ended;
    size_t      next;     /* bytes that the header spoke of and that did not go in yet */
    size_t      borrowed; /* bytes of the ring that `x` has as its input */
} Filter;

struct Unpack {
    const Format *format;

    GThread     *thread; /* decodes; NULL: the reader does that too */
    GMutex       lock;   /* on the numbers of chunks */
    GCond        changed;
    Chunk        ring[N_CHUNKS];
    unsigned     produced, consumed;
    _Atomic bool stop; /* nobody wants any more */

    size_t taken; /* the reader's: how much it has of the oldest chunk */
    Filter filter;

    const uint8_t *data; /* what is left of it; this and all that follows is the decoder's */
    size_t         len;
    uint8_t       *to; /* where the next bytes go, and how many may come */
    size_t         room;
    bool           ended;
    bool           output; /* there was some */

    z_stream       z;
    ZSTD_DStream  *zstd;
    lzma_stream    lzma;
    lzma_allocator allocator;
    struct {
        void  *memory;
        size_t size;
    } windows[MAX_WINDOWS]; /* large memory of liblzma's */
    uint8_t *block;         /* lz4's, LZ4_BLOCK bytes, with what is in it and what of that was taken */
    size_t   block_len, block_at;
};

struct Format {
    const char *name, *magic;
    size_t      magic_len;
    bool (*start)(Unpack *u); /* NULL: not supported */
    bool (*go_on)(Unpack *u); /* fills `room` or sets `ended`; false: the data is damaged */
    void (*end)(Unpack *u);
};

static void put(Unpack *u, size_t n)
{
    u->to += n;
    u->room -= n;
    u->output |= n != 0;
}

static void take(Unpack *u, size_t n)
{
    u->data += n;
    u->len -= n;
}

/* ---- gzip ---- */

static bool gzip_start(Unpack *u)
{
    return inflateInit2(&u->z, 15 + 16) == Z_OK;
}

static bool gzip_go_on(Unpack *u)
{
    uInt in = (uInt)MIN(u->len, UINT32_MAX), out = (uInt)MIN(u->room, UINT32_MAX);

    u->z.next_in   = (uint8_t *)u->data;
    u->z.avail_in  = in;
    u->z.next_out  = u->to;
    u->z.avail_out = out;
    int result     = inflate(&u->z, Z_NO_FLUSH);
    take(u, in - u->z.avail_in);
    put(u, out - u->z.avail_out);
    u->ended = result == Z_STREAM_END;
    return result == Z_STREAM_END || (result == Z_OK && (u->len || !u->room));
}

static void gzip_end(Unpack *u)
{
    inflateEnd(&u->z);
}

/* ---- xz, and the older lzma format ---- */

/* The dictionary is as large as the kernel: in huge pages, and where unpack_window() finds it. */
static void *lzma_allocate(void *opaque, size_t n, size_t size)
{
    Unpack *u = opaque;
    size_t  bytes;

    if (__builtin_mul_overflow(n, size, &bytes)) {
        return NULL;
    }
    for (unsigned i = 0; bytes >= LARGE && i < MAX_WINDOWS; i++) {
        if (!u->windows[i].memory) {
            void *memory         = huge_try_new0(bytes);
            u->windows[i].memory = memory;
            u->windows[i].size   = bytes;
            return memory;
        }
    }
    return g_try_malloc(bytes);
}

static void lzma_release(void *opaque, void *memory)
{
    Unpack *u = opaque;

    for (unsigned i = 0; memory && i < MAX_WINDOWS; i++) {
        if (u->windows[i].memory == memory) {
            huge_free(memory, u->windows[i].size);
            u->windows[i].memory = NULL;
            return;
        }
    }
    g_free(memory);
}

static void lzma_prepare(Unpack *u)
{
    u->allocator      = (lzma_allocator){ .alloc = lzma_allocate, .free = lzma_release, .opaque = u };
    u->lzma           = (lzma_stream)LZMA_STREAM_INIT;
    u->lzma.allocator = &u->allocator;
}

/* Is there one block? The index is at the end; the size of the result, which the kernel's build appends, may follow. */
static bool xz_has_one_block(const uint8_t *data, size_t len)
{
    for (size_t end = len; end + 4 >= len && end >= 2 * LZMA_STREAM_HEADER_SIZE; end -= 4) {
        lzma_stream_flags footer;
        uint64_t          limit = MiB;
        size_t            at = 0, footer_at = end - LZMA_STREAM_HEADER_SIZE;
        lzma_index       *index = NULL;
        if (lzma_stream_footer_decode(&footer, data + footer_at) != LZMA_OK || footer.backward_size > footer_at) {
            continue;
        }
        const uint8_t *start = data + footer_at - footer.backward_size;
        bool one = lzma_index_buffer_decode(&index, &limit, NULL, start, &at, footer.backward_size) == LZMA_OK &&
                   lzma_index_block_count(index) == 1;
        lzma_index_end(index, NULL);
        return one;
    }
    return false;
}

static bool xz_split_filters(Unpack *u, lzma_filter *filters)
{
    lzma_options_lzma stored   = { .dict_size = 64 * KiB };
    lzma_filter       second[] = { filters[0], { LZMA_FILTER_LZMA2, &stored }, { .id = LZMA_VLI_UNKNOWN } };

    if (filters[0].id != LZMA_FILTER_X86 || filters[1].id != LZMA_FILTER_LZMA2 ||
        lzma_raw_decoder_memusage(filters) > lzma_memory_limit) {
        return false;
    }
    lzma_prepare(u);
    u->filter.x = (lzma_stream)LZMA_STREAM_INIT;
    if (lzma_raw_decoder(&u->lzma, filters + 1) == LZMA_OK && lzma_raw_decoder(&u->filter.x, second) == LZMA_OK) {
        return true;
    }
    lzma_end(&u->lzma);
    lzma_end(&u->filter.x);
    return false;
}

/* A kernel is one block with two filters, LZMA2 and x86: two decoders that two threads can run. */
static bool xz_start_split(Unpack *u)
{
    lzma_filter       filters[LZMA_FILTERS_MAX + 1];
    lzma_stream_flags flags;
    size_t            at    = LZMA_STREAM_HEADER_SIZE;
    lzma_block        block = { .filters = filters };

    if (u->len <= at || lzma_stream_header_decode(&flags, u->data) != LZMA_OK || !u->data[at] ||
        !xz_has_one_block(u->data, u->len)) {
        return false;
    }
    block.check       = flags.check;
    block.header_size = lzma_block_header_size_decode(u->data[at]);
    if (!range_fits(at, block.header_size, u->len) || lzma_block_header_decode(&block, NULL, u->data + at) != LZMA_OK) {
        return false;
    }
    u->filter.on = xz_split_filters(u, filters);
    for (unsigned i = 0; filters[i].id != LZMA_VLI_UNKNOWN; i++) {
        free(filters[i].options);
    }
    take(u, u->filter.on ? at + block.header_size : 0);
    return u->filter.on;
}

static bool xz_start(Unpack *u)
{
    if (xz_start_split(u)) {
        return true;
    }
    lzma_prepare(u);
    return lzma_stream_decoder(&u->lzma, lzma_memory_limit, LZMA_IGNORE_CHECK) == LZMA_OK;
}

static bool lzma_start(Unpack *u)
{
    lzma_prepare(u);
    return lzma_alone_decoder(&u->lzma, lzma_memory_limit) == LZMA_OK;
}

static bool lzma_go_on(Unpack *u)
{
    size_t out = MIN(u->room, LZMA_STEP), in = u->len;

    u->lzma.next_in   = u->data;
    u->lzma.avail_in  = in;
    u->lzma.next_out  = u->to;
    u->lzma.avail_out = out;
    lzma_ret result   = lzma_code(&u->lzma, LZMA_RUN);
    take(u, in - u->lzma.avail_in);
    put(u, out - u->lzma.avail_out);
    u->ended = result == LZMA_STREAM_END;
    return result == LZMA_STREAM_END || (result == LZMA_OK && (u->len || !u->lzma.avail_out));
}

static void lzma_finish(Unpack *u)
{
    lzma_end(&u->lzma);
}

/* ---- lz4: the legacy frame: blocks of up to 8 MiB behind their compressed size, without a mark at the end ---- */

static bool lz4_start(Unpack *u)
{
    take(u, 4);
    u->block = g_malloc(LZ4_BLOCK);
    return true;
}

static bool lz4_next_block(Unpack *u)
{
    uint32_t size = u->len >= 4 ? load_le32(u->data) : 0;

    if (size == LZ4_LEGACY_MAGIC) {
        take(u, 4);
        return true;
    }
    if (size == 0 || size > LZ4_COMPRESSBOUND(LZ4_BLOCK) || !range_fits(4, size, u->len)) {
        /* the size of the result, appended by the kernel's build, follows the last block */
        u->ended = true;
        return u->output && u->len <= 4;
    }
    int n = LZ4_decompress_safe((const char *)u->data + 4, (char *)u->block, (int)size, LZ4_BLOCK);
    if (n < 0) {
        return false;
    }
    take(u, 4 + size);
    u->block_len = (size_t)n;
    u->block_at  = 0;
    return true;
}

static bool lz4_go_on(Unpack *u)
{
    if (u->block_at == u->block_len) {
        return lz4_next_block(u);
    }
    size_t n = MIN(u->room, u->block_len - u->block_at);
    memcpy(u->to, u->block + u->block_at, n);
    u->block_at += n;
    put(u, n);
    return true;
}

static void lz4_end(Unpack *u)
{
    g_free(u->block);
}

/* ---- zstd ---- */

static bool zstd_start(Unpack *u)
{
    u->zstd = ZSTD_createDStream();
    return u->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(u->zstd, ZSTD_d_windowLogMax, 27));
}

static bool zstd_go_on(Unpack *u)
{
    ZSTD_inBuffer  in     = { u->data, u->len, 0 };
    ZSTD_outBuffer out    = { u->to, u->room, 0 };
    size_t         result = ZSTD_decompressStream(u->zstd, &out, &in);

    take(u, in.pos);
    put(u, out.pos);
    u->ended = result == 0;
    return !ZSTD_isError(result) && (u->ended || in.pos || out.pos);
}

static void zstd_end(Unpack *u)
{
    ZSTD_freeDStream(u->zstd);
}

/* ---- Choice ---- */

static const Format formats[] = {
    { "gzip", "\x1f\x8b", 2, gzip_start, gzip_go_on, gzip_end },
    { "xz",
      "\xfd"
      "7zXZ\0",
      6, xz_start, lzma_go_on, lzma_finish },
    { "lzma", "\x5d\0\0", 3, lzma_start, lzma_go_on, lzma_finish },
    { "lz4", "\x02\x21\x4c\x18", 4, lz4_start, lz4_go_on, lz4_end },
    { "zstd", "\x28\xb5\x2f\xfd", 4, zstd_start, zstd_go_on, zstd_end },
    { .name = "bzip2", .magic = "BZh", .magic_len = 3 },
    { .name = "LZO", .magic = "\x89LZO", .magic_len = 4 },
};

static const Format *find_format(const uint8_t *data, size_t len, Error *err)
{
    for (unsigned i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        const Format *f = &formats[i];
        if (len < f->magic_len || memcmp(data, f->magic, f->magic_len) != 0) {
            continue;
        }
        if (!f->start) {
            error_set_unsupported(err, "a kernel compressed with %s and unpack-kernel=on", f->name);
            return NULL;
        }
        return f;
    }
    error_set(err, "the kernel's compressed part has an unknown format");
    return NULL;
}

/* ---- Decoding: on the thread, or on the reader's when there is none ---- */

static void produce(Unpack *u, Chunk *chunk)
{
    bool ok = true;

    u->to   = chunk->data;
    u->room = CHUNK;
    while (ok && u->room && !u->ended && !u->stop) {
        ok = u->format->go_on(u);
    }
    chunk->len = CHUNK - u->room;
    chunk->end = !ok ? CHUNK_DAMAGED : u->ended ? CHUNK_LAST : CHUNK_MORE;
}

static gpointer produce_thread(gpointer opaque)
{
    Unpack  *u   = opaque;
    ChunkEnd end = CHUNK_MORE;

    g_mutex_lock(&u->lock);
    while (end == CHUNK_MORE) {
        while (u->produced - u->consumed == N_CHUNKS && !u->stop) {
            g_cond_wait(&u->changed, &u->lock);
        }
        if (u->stop) {
            break;
        }
        Chunk *chunk = &u->ring[u->produced % N_CHUNKS];
        g_mutex_unlock(&u->lock);
        produce(u, chunk);
        end = chunk->end;
        g_mutex_lock(&u->lock);
        u->produced++;
        g_cond_signal(&u->changed);
    }
    g_mutex_unlock(&u->lock);
    return NULL;
}

Unpack *unpack_open(const uint8_t *data, size_t len, Error *err)
{
    const Format *format = find_format(data, len, err);

    if (!format) {
        return NULL;
    }
    Unpack *u = g_new0(Unpack, 1);
    u->format = format;
    u->data   = data;
    u->len    = len;
    g_mutex_init(&u->lock);
    g_cond_init(&u->changed);
    for (unsigned i = 0; i < N_CHUNKS; i++) {
        u->ring[i].data = g_malloc(CHUNK);
    }
    if (!format->start(u)) {
        error_set(err, "the decoder for %s does not start", format->name);
        unpack_close(u);
        return NULL;
    }
    u->thread = g_thread_try_new("unpack", produce_thread, u, NULL);
    return u;
}

void unpack_close(Unpack *u)
{
    if (!u) {
        return;
    }
    if (u->thread) {
        g_mutex_lock(&u->lock);
        u->stop = true;
        g_cond_signal(&u->changed);
        g_mutex_unlock(&u->lock);
        g_thread_join(u->thread);
    }
    u->format->end(u);
    if (u->filter.on) {
        lzma_end(&u->filter.x);
    }
    for (unsigned i = 0; i < N_CHUNKS; i++) {
        g_free(u->ring[i].data);
    }
    g_cond_clear(&u->changed);
    g_mutex_clear(&u->lock);
    g_free(u);
}

/* ---- Reading ---- */

/* The oldest chunk that has not been read to its end, or the last of all. */
static const Chunk *wait_for_chunk(Unpack *u)
{
    g_mutex_lock(&u->lock);
    for (;;) {
        while (u->produced == u->consumed) {
            if (u->thread) {
                g_cond_wait(&u->changed, &u->lock);
            } else {
                produce(u, &u->ring[u->produced++ % N_CHUNKS]);
            }
        }
        const Chunk *chunk = &u->ring[u->consumed % N_CHUNKS];
        if (u->taken < chunk->len || chunk->end != CHUNK_MORE) {
            g_mutex_unlock(&u->lock);
            return chunk;
        }
        u->consumed++;
        u->taken = 0;
        g_cond_signal(&u->changed);
    }
}

/* Each of the two puts up to *len bytes at `to`, and less at the end only, when *len becomes how many; false: damaged.
 */

static bool copy_out(Unpack *u, uint8_t *to, size_t *len)
{
    for (size_t done = 0, n; done < *len; done += n) {
        const Chunk *chunk = wait_for_chunk(u);
        n                  = MIN(*len - done, chunk->len - u->taken);
        if (!n) {
            *len = done;
            return chunk->end == CHUNK_LAST;
        }
        memcpy(to + done, chunk->data + u->taken, n);
        u->taken += n;
    }
    return true;
}

/* Gives the filter its next input: in turn a header and the bytes it speaks of, and a header of one byte at the end. */
static bool feed_filter(Unpack *u)
{
    enum { MAX_STORED = 64 << 10, STORED_RESET = 1, STORED = 2 };
    Filter *f = &u->filter;

    u->taken += f->borrowed;
    f->borrowed        = 0;
    const Chunk *chunk = wait_for_chunk(u);
    if (f->next) {
        f->x.next_in  = chunk->data + u->taken;
        f->x.avail_in = f->borrowed = f->next;
        f->next                     = 0;
        return true;
    }
    f->next = MIN(chunk->len - u->taken, MAX_STORED);
    if (!f->next && (chunk->end == CHUNK_DAMAGED || f->ending)) {
        return false;
    }
    f->ending     = !f->next;
    f->header[0]  = f->ending ? 0 : f->begun ? STORED : STORED_RESET;
    f->header[1]  = (uint8_t)((f->next - 1) >> 8);
    f->header[2]  = (uint8_t)(f->next - 1);
    f->begun      = true;
    f->x.next_in  = f->header;
    f->x.avail_in = f->ending ? 1 : sizeof f->header;
    return true;
}

static bool filter_out(Unpack *u, uint8_t *to, size_t *len)
{
    Filter *f      = &u->filter;
    bool    ok     = true;
    f->x.next_out  = to;
    f->x.avail_out = *len;
    while (ok && f->x.avail_out && !f->ended) {
        ok = f->x.avail_in || feed_filter(u);
        if (ok) {
            lzma_ret result = lzma_code(&f->x, LZMA_RUN);
            f->ended        = result == LZMA_STREAM_END;
            ok              = f->ended || result == LZMA_OK;
        }
    }
    *len -= f->x.avail_out;
    return ok;
}

bool unpack_read(Unpack *u, uint8_t *to, size_t len, size_t *got, Error *err)
{
    *got = len;
    if (!(u->filter.on ? filter_out : copy_out)(u, to, got)) {
        return error_set(err, "the compressed part (%s) is damaged", u->format->name);
    }
    return true;
}

uint8_t *unpack_window(const Unpack *u, size_t *len)
{
    *len = u->windows[0].size;
    return u->windows[0].memory;
}
