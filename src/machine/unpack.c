/* Unpacking the compressed part of a Linux kernel, whatever it was compressed with.
 * The libraries do the work; here is the choice by magic number, the growth of the output and its limit. */

#include "machine/boot.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"

#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

/* The output: address space for the largest result is taken at once and costs nothing until it is written. */
typedef struct Output {
    uint8_t *data;
    size_t   used, max;
} Output;

enum { LZ4_LEGACY_MAGIC = 0x184c2102, LZ4_BLOCK = 8 << 20 };

static bool too_large(const Output *out, Error *err)
{
    g_autofree char *max = text_format_size(out->max);
    return error_set(err, "the unpacked kernel is larger than %s", max);
}

static bool corrupt(const char *format, Error *err)
{
    return error_set(err, "the compressed part (%s) is damaged", format);
}

static bool unpack_gzip(const uint8_t *data, size_t len, Output *out, Error *err)
{
    z_stream z = { .next_in = (uint8_t *)data, .avail_in = (uInt)MIN(len, UINT32_MAX) };

    if (inflateInit2(&z, 15 + 16) != Z_OK) {
        return error_set(err, "zlib does not start");
    }
    z.next_out  = out->data;
    z.avail_out = (uInt)MIN(out->max, UINT32_MAX);
    int result  = inflate(&z, Z_FINISH);
    out->used   = z.total_out;
    bool full   = z.avail_out == 0;
    inflateEnd(&z);
    return result == Z_STREAM_END || (full ? too_large(out, err) : corrupt("gzip", err));
}

/* xz and the older lzma format. What follows the stream (the kernel's build appends the size) is not looked at. */
static bool unpack_lzma(const uint8_t *data, size_t len, Output *out, bool alone, Error *err)
{
    const uint64_t memory_limit = 512 * MiB;
    lzma_stream    x            = LZMA_STREAM_INIT;
    lzma_ret       result =
        alone ? lzma_alone_decoder(&x, memory_limit) : lzma_stream_decoder(&x, memory_limit, LZMA_IGNORE_CHECK);

    if (result != LZMA_OK) {
        return error_set(err, "liblzma does not start");
    }
    x.next_in   = data;
    x.avail_in  = len;
    x.next_out  = out->data;
    x.avail_out = out->max;
    do {
        result = lzma_code(&x, LZMA_RUN);
    } while (result == LZMA_OK && x.avail_in && x.avail_out);
    out->used = out->max - x.avail_out;
    bool full = x.avail_out == 0;
    lzma_end(&x);
    return result == LZMA_STREAM_END || (full ? too_large(out, err) : corrupt(alone ? "lzma" : "xz", err));
}

/* The legacy frame: blocks of up to 8 MiB behind their compressed size, without a mark at the end. */
static bool unpack_lz4(const uint8_t *data, size_t len, Output *out, Error *err)
{
    size_t at = 4;

    while (len - at >= 4) {
        uint32_t size = load_le32(data + at);
        if (size == LZ4_LEGACY_MAGIC) {
            at += 4;
            continue;
        }
        if (size == 0 || !range_fits(at + 4, size, len) || size > LZ4_COMPRESSBOUND(LZ4_BLOCK)) {
            /* the size of the result, appended by the kernel's build, follows the last block */
            return len - at == 4 && out->used ? true : corrupt("lz4", err);
        }
        int room = (int)MIN(out->max - out->used, LZ4_BLOCK);
        int n    = LZ4_decompress_safe((const char *)data + at + 4, (char *)out->data + out->used, (int)size, room);
        if (n < 0) {
            return room < LZ4_BLOCK ? too_large(out, err) : corrupt("lz4", err);
        }
        out->used += (size_t)n;
        at += 4 + size;
    }
    return out->used ? true : corrupt("lz4", err);
}

static bool unpack_zstd(const uint8_t *data, size_t len, Output *out, Error *err)
{
    ZSTD_DStream  *z      = ZSTD_createDStream();
    ZSTD_inBuffer  input  = { data, len, 0 };
    ZSTD_outBuffer output = { out->data, out->max, 0 };
    size_t         result;

    ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, 27);
    do {
        size_t before_in = input.pos, before_out = output.pos;
        result = ZSTD_decompressStream(z, &output, &input);
        if (!ZSTD_isError(result) && input.pos == before_in && output.pos == before_out) {
            break;
        }
    } while (result != 0 && !ZSTD_isError(result) && output.pos < output.size);
    ZSTD_freeDStream(z);
    out->used = output.pos;
    return result == 0 || (output.pos == output.size ? too_large(out, err) : corrupt("zstd", err));
}

static bool starts_with(const uint8_t *data, size_t len, const char *magic, size_t magic_len)
{
    return len >= magic_len && memcmp(data, magic, magic_len) == 0;
}

static bool unpack_any(const uint8_t *data, size_t len, Output *out, Error *err)
{
    if (starts_with(data, len, "\x1f\x8b", 2)) {
        return unpack_gzip(data, len, out, err);
    }
    if (starts_with(data, len,
                    "\xfd"
                    "7zXZ\0",
                    6)) {
        return unpack_lzma(data, len, out, false, err);
    }
    if (starts_with(data, len, "\x5d\0\0", 3)) {
        return unpack_lzma(data, len, out, true, err);
    }
    if (starts_with(data, len, "\x02\x21\x4c\x18", 4)) {
        return unpack_lz4(data, len, out, err);
    }
    if (starts_with(data, len, "\x28\xb5\x2f\xfd", 4)) {
        return unpack_zstd(data, len, out, err);
    }
    if (starts_with(data, len, "BZh", 3)) {
        return error_set_unsupported(err, "a kernel compressed with bzip2 and unpack-kernel=on");
    }
    if (starts_with(data, len, "\x89LZO", 4)) {
        return error_set_unsupported(err, "a kernel compressed with LZO and unpack-kernel=on");
    }
    return error_set(err, "the kernel's compressed part has an unknown format");
}

uint8_t *unpack_data(const uint8_t *data, size_t len, size_t max, size_t *out_len, Error *err)
{
    const size_t page = 4096;
    Output       out  = { .max = max };

    out.data = mmap(NULL, max, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (out.data == MAP_FAILED) {
        error_set(err, "no address space to unpack the kernel");
        return NULL;
    }
    if (!unpack_any(data, len, &out, err) || out.used == 0) {
        munmap(out.data, max);
        if (!error_is_set(err)) {
            error_set(err, "the kernel's compressed part is empty");
        }
        return NULL;
    }
    size_t keep = align_up(out.used, page);
    if (keep < max) {
        munmap(out.data + keep, max - keep);
    }
    *out_len = out.used;
    return out.data;
}

void unpack_free(uint8_t *data, size_t len)
{
    munmap(data, MAX(len, 1));
}
