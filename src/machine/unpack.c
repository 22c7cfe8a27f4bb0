/* Unpacking as a stream: see unpack.h. The libraries do the work; here is the choice by magic number, and one function
 * for each format that goes on until the output is full or the data ends. */

#include "machine/unpack.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/huge.h"
#include "base/text.h"

#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

enum {
    LZ4_LEGACY_MAGIC = 0x184c2102,
    LZ4_BLOCK        = 8 << 20,
    LZMA_STEP        = 256 << 10, /* what is written at once, and filtered in a second pass: fits into a cache */
    MAX_WINDOWS      = 4,
    LARGE            = 1 << 20,
};

static const uint64_t lzma_memory_limit = 512 * MiB;

typedef struct Format Format;

struct Unpack {
    const Format  *format;
    const uint8_t *data; /* what is left of it */
    size_t         len;
    uint8_t       *to; /* where the next bytes go, and how many are asked for */
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

static bool xz_start(Unpack *u)
{
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
    if (!format->start(u)) {
        error_set(err, "the decoder for %s does not start", format->name);
        unpack_close(u);
        return NULL;
    }
    return u;
}

void unpack_close(Unpack *u)
{
    if (u) {
        u->format->end(u);
        g_free(u);
    }
}

bool unpack_read(Unpack *u, uint8_t *to, size_t len, size_t *got, Error *err)
{
    u->to   = to;
    u->room = len;
    while (u->room && !u->ended) {
        if (!u->format->go_on(u)) {
            return error_set(err, "the compressed part (%s) is damaged", u->format->name);
        }
    }
    *got = len - u->room;
    return true;
}

uint8_t *unpack_window(const Unpack *u, size_t *len)
{
    *len = u->windows[0].size;
    return u->windows[0].memory;
}
