/* Dumps of guest memory in makedumpfile's compressed format, plain or "flattened" (a stream of pieces with their
 * offsets, which can go into a pipe; readers take either).
 * Specification: makedumpfile's IMPLEMENTATION document, "kdump-compressed format", header version 6, and "flattened
 * format". */

#include "machine/dump_private.h"

#include "base/bytes.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <zlib.h>

enum { PAGE = 4096, PAGE_BITS = 12, FLAT_HEADER = 4096, PIECE = 1 << 20 };

typedef struct DiskDumpHeader {
    char     signature[8];
    int32_t  header_version;
    char     utsname[6][65];
    char     pad[2];
    uint64_t seconds, microseconds;
    uint32_t status;
    int32_t  block_size, sub_hdr_size;
    uint32_t bitmap_blocks, max_mapnr, total_ram_blocks, device_blocks, written_blocks, current_cpu;
    int32_t  nr_cpus;
} DiskDumpHeader;

typedef struct SubHeader {
    uint64_t phys_base;
    int32_t  dump_level, split;
    uint64_t start_pfn, end_pfn;
    uint64_t offset_vmcoreinfo, size_vmcoreinfo;
    uint64_t offset_note, size_note;
    uint64_t offset_eraseinfo, size_eraseinfo;
    uint64_t start_pfn_64, end_pfn_64, max_mapnr_64;
} SubHeader;

typedef struct PageDescriptor {
    int64_t  offset;
    uint32_t size, flags;
    uint64_t page_flags;
} PageDescriptor;

/* Collects what is written in order at one place of the file. */
typedef struct Writer {
    Dump       *dump;
    uint64_t    offset; /* in the file, of what is in `data` */
    GByteArray *data;
} Writer;

/* --- pieces of the file --- */

static bool flush(Writer *w, Error *err)
{
    if (!w->data->len) {
        return true;
    }
    bool ok = true;
    if (w->dump->options.raw) {
        ok =
            lseek(w->dump->options.fd, (off_t)w->offset, SEEK_SET) >= 0 ||
            error_set(err, "a plain kdump file needs a target that can be sought in; the formats without 'raw' do not");
    } else {
        uint8_t head[16];
        store_be64(head, w->offset);
        store_be64(head + 8, w->data->len);
        ok = dump_write_all(w->dump, head, sizeof head, err);
    }
    ok = ok && dump_write_all(w->dump, w->data->data, w->data->len, err);
    w->offset += w->data->len;
    g_byte_array_set_size(w->data, 0);
    return ok;
}

static bool put(Writer *w, const void *data, size_t len, Error *err)
{
    g_byte_array_append(w->data, data, (guint)len);
    return w->data->len < PIECE || flush(w, err);
}

/* Zeros up to the next block. */
static bool pad(Writer *w, Error *err)
{
    static const uint8_t zeros[PAGE];
    uint64_t             used = (w->offset + w->data->len) % PAGE;
    return !used || put(w, zeros, PAGE - used, err);
}

static bool begin_flat(Dump *d, Error *err)
{
    uint8_t head[FLAT_HEADER] = "makedumpfile";
    store_be64(head + 16, 1); /* type: flattened */
    store_be64(head + 24, 1); /* version */
    return dump_write_all(d, head, sizeof head, err);
}

static bool end_flat(Dump *d, Error *err)
{
    uint8_t end[16];
    memset(end, 0xff, sizeof end);
    return dump_write_all(d, end, sizeof end, err);
}

/* --- contents --- */

/* How pages are compressed: the bit in header and descriptors, and the function; 0: no shorter. */
static uint32_t compression_of(const Dump *d)
{
    static const uint32_t bits[] = { [DUMP_KDUMP_ZLIB] = 1, [DUMP_KDUMP_LZO] = 2, [DUMP_KDUMP_SNAPPY] = 4 };
    return bits[d->options.format];
}

static size_t compress_page(const Dump *d, uint8_t *packed, size_t bound, const uint8_t *page)
{
    uLong len = bound;
    switch (d->options.format) {
    case DUMP_KDUMP_LZO: return dump_pack_lzo(packed, page, PAGE);
    case DUMP_KDUMP_SNAPPY: return dump_pack_snappy(packed, page, PAGE);
    default: return compress2(packed, &len, page, PAGE, Z_BEST_SPEED) == Z_OK ? len : PAGE;
    }
}

/* Pages that lie in RAM altogether. */
static void page_range(const DumpBlock *b, uint64_t *first, uint64_t *end)
{
    *first = (b->start + PAGE - 1) >> PAGE_BITS;
    *end   = (b->start + b->size) >> PAGE_BITS;
    *end   = MAX(*first, *end);
}

static uint64_t count_pages(const Dump *d, uint64_t *max_pfn)
{
    uint64_t n = 0;
    *max_pfn   = 0;
    for (guint i = 0; i < d->blocks->len; i++) {
        uint64_t first, end;
        page_range(&g_array_index(d->blocks, DumpBlock, i), &first, &end);
        n += end - first;
        *max_pfn = MAX(*max_pfn, end);
    }
    return n;
}

static uint64_t bitmap_bytes(uint64_t max_pfn)
{
    return ((max_pfn + 7) / 8 + PAGE - 1) / PAGE * PAGE;
}

static bool write_headers(Writer *w, uint64_t pages, uint64_t max_pfn, uint32_t sub_blocks, Error *err)
{
    Dump          *d      = w->dump;
    DiskDumpHeader header = { .signature      = { 'K', 'D', 'U', 'M', 'P', ' ', ' ', ' ' },
                              .header_version = 6,
                              .utsname        = { "Linux", "", "", "", "x86_64", "" },
                              .seconds        = (uint64_t)time(NULL),
                              .status         = compression_of(d),
                              .block_size     = PAGE,
                              .sub_hdr_size   = (int32_t)sub_blocks,
                              .bitmap_blocks  = (uint32_t)(2 * bitmap_bytes(max_pfn) / PAGE),
                              .max_mapnr      = (uint32_t)MIN(max_pfn, UINT32_MAX),
                              .nr_cpus        = (int32_t)d->n_cpus };
    SubHeader      sub    = {
                .dump_level = 1, .offset_note = PAGE + sizeof sub, .size_note = d->notes->len, .max_mapnr_64 = max_pfn
    };
    G_STATIC_ASSERT(sizeof header == 464);
    return put(w, &header, sizeof header, err) && pad(w, err) && put(w, &sub, sizeof sub, err) &&
           put(w, d->notes->data, d->notes->len, err) && pad(w, err);
}

/* One bit a page, set for those that are there. */
static bool write_bitmap(Writer *w, uint64_t bytes, Error *err)
{
    uint8_t  chunk[PAGE];
    uint64_t per_chunk = (uint64_t)sizeof chunk * 8;
    for (uint64_t at = 0; at < bytes * 8; at += per_chunk) {
        memset(chunk, 0, sizeof chunk);
        for (guint i = 0; i < w->dump->blocks->len; i++) {
            uint64_t first, end;
            page_range(&g_array_index(w->dump->blocks, DumpBlock, i), &first, &end);
            for (uint64_t pfn = MAX(first, at); pfn < MIN(end, at + per_chunk); pfn++) {
                chunk[(pfn - at) / 8] |= (uint8_t)(1 << (pfn % 8));
            }
        }
        if (!put(w, chunk, sizeof chunk, err)) {
            return false;
        }
    }
    return true;
}

static bool is_zero(const uint8_t *page)
{
    return !page[0] && !memcmp(page, page + 1, PAGE - 1);
}

/* Descriptors and contents of pages lie apart: two writers. Pages of zeros share one copy. */
static bool write_pages(Writer *descriptors, Writer *contents, Error *err)
{
    Dump                *d = descriptors->dump;
    uint8_t              page[PAGE];
    size_t               bound  = MAX(compressBound(PAGE), dump_pack_bound(PAGE));
    g_autofree uint8_t  *packed = g_malloc(bound);
    static const uint8_t zeros[PAGE];
    PageDescriptor       zero = { .offset = (int64_t)contents->offset, .size = PAGE };
    if (!put(contents, zeros, PAGE, err)) {
        return false;
    }
    for (guint i = 0; i < d->blocks->len; i++) {
        const DumpBlock *b = &g_array_index(d->blocks, DumpBlock, i);
        uint64_t         first, end;
        page_range(b, &first, &end);
        for (uint64_t pfn = first; pfn < end; pfn++) {
            PageDescriptor one = zero;
            ram_copy_out(page, b->ram->host + b->offset + (pfn << PAGE_BITS) - b->start, PAGE);
            if (!is_zero(page)) {
                size_t len  = compress_page(d, packed, bound, page);
                bool   less = len < PAGE;
                one         = (PageDescriptor){ .offset = (int64_t)(contents->offset + contents->data->len),
                                                .size   = less ? (uint32_t)len : PAGE,
                                                .flags  = less ? compression_of(d) : 0 };
                if (!put(contents, less ? packed : page, one.size, err)) {
                    return false;
                }
            }
            if (!put(descriptors, &one, sizeof one, err)) {
                return false;
            }
            atomic_fetch_add_explicit(&d->completed, PAGE, memory_order_relaxed);
        }
    }
    return true;
}

bool dump_write_kdump(Dump *d, Error *err)
{
    uint64_t max_pfn, pages = count_pages(d, &max_pfn);
    uint64_t sub_blocks = (sizeof(SubHeader) + d->notes->len + PAGE - 1) / PAGE;
    uint64_t bitmap     = bitmap_bytes(max_pfn);
    uint64_t after      = (1 + sub_blocks) * PAGE + 2 * bitmap;
    Writer   head       = { .dump = d, .data = g_byte_array_new() };
    Writer   table      = { .dump = d, .data = g_byte_array_new(), .offset = after };
    Writer   contents   = { .dump = d, .data = g_byte_array_new(), .offset = after + pages * sizeof(PageDescriptor) };
    bool     flat       = !d->options.raw;
    bool     ok = (!flat || begin_flat(d, err)) && write_headers(&head, pages, max_pfn, (uint32_t)sub_blocks, err) &&
              write_bitmap(&head, bitmap, err) && write_bitmap(&head, bitmap, err) && flush(&head, err) &&
              write_pages(&table, &contents, err) && flush(&table, err) && flush(&contents, err) &&
              (!flat || end_flat(d, err));
    g_byte_array_unref(head.data);
    g_byte_array_unref(table.data);
    g_byte_array_unref(contents.data);
    return ok;
}
