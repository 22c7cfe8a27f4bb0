/* unpack-kernel=on: the ELF file inside a bzImage, unpacked by the host and entered by PVH.
 *
 * It is never there as a whole. The headers are among the first bytes that come out of the decoder; they say where in
 * guest RAM what follows belongs, and the decoder writes it there. What belongs nowhere (padding, and relocations for
 * kernels that move themselves) goes into a scratch buffer; after the last segment nothing is unpacked any more. At a
 * reset all of it is done again.
 *
 * What came out is kept for the next time (kernelcache.h): the file's beginning, as far as anything of it is needed. It
 * is read from there in place of the decoder, with the same checks; when that fails for whatever reason, it is decoded.
 *
 * At the first time another thread touches what the decoder is about to write, dictionary and RAM, so that it need not
 * wait for the host to find and clear that memory. */

#include "machine/pvh.h"

#include "base/ahead.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "machine/kernelcache.h"
#include "machine/unpack.h"

#include <inttypes.h>
#include <string.h>

enum {
    HEAD_SIZE    = 64 << 10, /* of the file, with all its headers */
    SCRATCH_SIZE = 128 << 10,
    MAX_NOTES    = 64 << 10, /* what is looked at of a note segment */
    MAX_UNPACKED = 1 << 30,
    TOUCH_STEP   = 2 << 20, /* of the file, in which dictionary and RAM take turns */
};

/* A note segment: its bytes are kept when they come by. */
typedef struct Notes {
    uint64_t offset, len, align;
    uint8_t *data;
} Notes;

typedef struct Reader {
    Unpack  *unpack;
    uint8_t *head; /* read before, of the file's beginning */
    size_t   head_len;
    uint64_t at; /* in the unpacked file */
    uint8_t *scratch;
    GArray  *notes; /* Notes */

    KeptKernel *kept;     /* borrowed; not NULL: it is read from there, and nothing is decoded */
    uint8_t    *copy;     /* not NULL: for the cache, with room for what will be read */
    uint64_t    copy_len; /* the rest is not copied */
} Reader;

/* ---- Touching memory ahead of the decoder ---- */

/* What will be written while bytes [from, end) of the file are unpacked. */
static void touch_piece(Ahead *a, const BootRam *ram, const BootPiece *p, uint64_t from, uint64_t end)
{
    from = MAX(from, p->offset);
    end  = MIN(end, p->offset + p->len);
    for (uint64_t n; from < end; from += n) {
        n             = end - from;
        uint8_t *host = ram->at(ram->opaque, p->addr + (from - p->offset), &n);
        ahead_ask_touch(a, host, n);
    }
}

/* The window is written from its beginning to its end while the first bytes of that length are unpacked. */
static void touch_all(Ahead *a, Unpack *unpack, const BootRam *ram, const GPtrArray *plan)
{
    size_t   window_len;
    uint8_t *window = unpack_window(unpack, &window_len);

    if (!ram || !ram->untouched) {
        return;
    }
    const BootPiece *last = plan->len ? plan->pdata[plan->len - 1] : NULL;
    uint64_t         end  = last ? last->offset + last->len : 0;
    for (uint64_t at = 0; at < end; at += TOUCH_STEP) {
        if (at < window_len) {
            ahead_ask_touch(a, window + at, MIN((uint64_t)TOUCH_STEP, window_len - at));
        }
        for (guint i = 0; i < plan->len; i++) {
            touch_piece(a, ram, plan->pdata[i], at, at + TOUCH_STEP);
        }
    }
}

/* ---- Reading ---- */

static void reader_close(Reader *r)
{
    unpack_close(r->unpack);
    for (guint i = 0; r->notes && i < r->notes->len; i++) {
        g_free(g_array_index(r->notes, Notes, i).data);
    }
    if (r->notes) {
        g_array_unref(r->notes);
    }
    g_free(r->head);
    g_free(r->scratch);
}

static bool reader_open(Reader *r, const BootImage *image, KeptKernel *kept, Error *err)
{
    *r       = (Reader){ .head = g_malloc(HEAD_SIZE), .scratch = g_malloc(SCRATCH_SIZE), .kept = kept };
    r->notes = g_array_new(FALSE, FALSE, sizeof(Notes));
    if (kept) {
        r->head_len = MIN((size_t)HEAD_SIZE, kept_kernel_size(kept));
        return kept_kernel_read(kept, 0, r->head, r->head_len) || error_set(err, "what was kept is damaged");
    }
    r->unpack = unpack_open(image->packed, image->packed_len, err);
    return r->unpack && unpack_read(r->unpack, r->head, HEAD_SIZE, &r->head_len, err);
}

/* Bytes [r->at, r->at + len) are at `data`. */
static void keep_notes(Reader *r, const uint8_t *data, size_t len)
{
    for (guint i = 0; i < r->notes->len; i++) {
        const Notes *n    = &g_array_index(r->notes, Notes, i);
        uint64_t     from = MAX(n->offset, r->at), end = MIN(n->offset + n->len, r->at + len);
        if (from < end) {
            memcpy(n->data + (from - n->offset), data + (from - r->at), end - from);
        }
    }
}

static bool read_bytes(Reader *r, uint8_t *to, size_t len, Error *err)
{
    size_t from_head = r->at < r->head_len ? MIN(len, r->head_len - r->at) : 0, got = 0;

    memcpy(to, r->head + (from_head ? r->at : 0), from_head);
    if (len > from_head && !unpack_read(r->unpack, to + from_head, len - from_head, &got, err)) {
        return false;
    }
    if (from_head + got < len) {
        return error_set(err, "the unpacked kernel ends in the middle of an ELF segment");
    }
    keep_notes(r, to, len);
    if (r->copy && r->at < r->copy_len) {
        memcpy(r->copy + r->at, to, MIN(len, r->copy_len - r->at));
    }
    r->at += len;
    return true;
}

static bool skip_to(Reader *r, uint64_t at, Error *err)
{
    while (r->at < at) {
        if (!read_bytes(r, r->scratch, MIN(at - r->at, (uint64_t)SCRATCH_SIZE), err)) {
            return false;
        }
    }
    return true;
}

/* ---- Unpacking ---- */

static gint compare_offsets(gconstpointer a, gconstpointer b)
{
    const BootPiece *p = *(BootPiece *const *)a, *q = *(BootPiece *const *)b;
    return p->offset < q->offset ? -1 : p->offset > q->offset;
}

/* The pieces that come out of the packed file, in the order in which they do. */
static GPtrArray *make_plan(const BootImage *image)
{
    GPtrArray *plan = g_ptr_array_new();

    for (guint i = 0; i < image->pieces->len; i++) {
        BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        if (p->len && !p->data && !p->random) {
            g_ptr_array_add(plan, p);
        }
    }
    g_ptr_array_sort(plan, compare_offsets);
    return plan;
}

/* What no linker does cannot be unpacked in one go: bytes that belong to two places, or two that belong to one. */
static bool check_plan(const BootImage *image, const GPtrArray *plan, Error *err)
{
    for (guint i = 1; i < plan->len; i++) {
        const BootPiece *before = plan->pdata[i - 1], *p = plan->pdata[i];
        if (p->offset - before->offset < before->len) {
            return error_set(err, "two ELF segments share the bytes at 0x%" PRIx64 " of the unpacked kernel",
                             p->offset);
        }
    }
    for (guint i = 0; i < image->pieces->len; i++) {
        const BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        for (guint j = 0; j < i; j++) {
            const BootPiece *q = &g_array_index(image->pieces, BootPiece, j);
            if (ranges_overlap(p->addr, p->size, q->addr, q->size)) {
                return error_set(err, "two ELF segments share the memory at 0x%" PRIx64, MAX(p->addr, q->addr));
            }
        }
    }
    return true;
}

static bool unpack_piece(Reader *r, const BootRam *ram, const BootPiece *p, uint8_t *memory, Error *err)
{
    g_assert(memory || ram);
    for (uint64_t done = 0, n; done < p->len; done += n) {
        n             = p->len - done;
        uint8_t *host = memory ? memory + done : ram->at(ram->opaque, p->addr + done, &n);
        if (r->kept) {
            kept_kernel_want(r->kept, p->offset + done, host, n, memory || ram->untouched);
            continue;
        }
        if (!read_bytes(r, host, n, err)) {
            return false;
        }
        if (!memory) {
            ram->written(ram->opaque, p->addr + done, n);
        }
    }
    return true;
}

/* What was kept comes at the end, all at once. */
static bool fetch_pieces(Reader *r, const BootRam *ram, const GPtrArray *plan, Error *err)
{
    bool ok = kept_kernel_fetch(r->kept);

    for (guint i = 0; ram && i < plan->len; i++) {
        const BootPiece *p = plan->pdata[i];
        ram->written(ram->opaque, p->addr, p->len);
    }
    return ok || error_set(err, "what was kept is damaged");
}

/* Without RAM, the pieces have memory of their own afterwards. */
static bool unpack_pieces(BootImage *image, Reader *r, const BootRam *ram, const GPtrArray *plan, Error *err)
{
    for (guint i = 0; i < plan->len; i++) {
        BootPiece *p      = plan->pdata[i];
        BootFile  *memory = NULL;
        if (!ram) {
            memory = boot_file_new("unpacked kernel", p->len, err);
            if (!memory) {
                return false;
            }
            g_ptr_array_add(image->files, memory);
        }
        if (!(r->kept || skip_to(r, p->offset, err)) || !unpack_piece(r, ram, p, memory ? memory->memory : NULL, err)) {
            return false;
        }
        p->data = memory ? memory->data : NULL;
    }
    return !r->kept || fetch_pieces(r, ram, plan, err);
}

/* ---- Loading ---- */

static void expect_notes(Reader *r, const ElfFile *elf)
{
    for (unsigned i = 0; i < elf->n_segments; i++) {
        const ElfSegment *s = &elf->segments[i];
        if (s->type == ELF_PT_NOTE && s->file_size) {
            Notes n = { .offset = s->offset, .len = MIN(s->file_size, (uint64_t)MAX_NOTES), .align = s->align };
            n.data  = g_malloc0(n.len);
            g_array_append_val(r->notes, n);
        }
    }
}

static bool read_notes(Reader *r, const Notes *n, Error *err)
{
    if (r->kept) {
        return kept_kernel_read(r->kept, n->offset, n->data, n->len) || error_set(err, "what was kept is damaged");
    }
    return skip_to(r, n->offset + n->len, err); /* most have come by before */
}

static bool find_entry(Reader *r, uint64_t *entry, Error *err)
{
    for (guint i = 0; i < r->notes->len; i++) {
        const Notes *n = &g_array_index(r->notes, Notes, i);
        if (!read_notes(r, n, err)) {
            return false;
        }
        if (pvh_find_entry(n->data, n->len, n->align, entry)) {
            return true;
        }
    }
    return error_set(err, "the kernel inside has no PVH entry (CONFIG_PVH), which unpack-kernel=on needs");
}

/* Up to where the unpacked file matters. */
static uint64_t end_of_use(const Reader *r, const GPtrArray *plan)
{
    const BootPiece *last = plan->len ? plan->pdata[plan->len - 1] : NULL;
    uint64_t         end  = MAX(r->head_len, last ? last->offset + last->len : 0);

    for (guint i = 0; i < r->notes->len; i++) {
        const Notes *n = &g_array_index(r->notes, Notes, i);
        end            = MAX(end, n->offset + n->len);
    }
    return end;
}

static void begin_copy(Reader *r, const BootImage *image, const GPtrArray *plan)
{
    if (!r->kept) {
        r->copy_len = end_of_use(r, plan);
        r->copy     = kernel_cache_begin(image->cache, image->packed, image->packed_len, r->copy_len);
    }
    if (r->copy) {
        memcpy(r->copy, r->head, r->head_len);
    }
}

static void end_copy(const Reader *r, const BootImage *image, bool ok)
{
    if (r->copy && ok) {
        kernel_cache_save(image->cache);
    } else if (r->copy) {
        kernel_cache_drop(image->cache);
    }
}

static bool load(BootImage *image, Reader *r, KeptKernel *kept, const BootOptions *options, uint64_t *entry, Error *err)
{
    ElfFile elf;
    if (!reader_open(r, image, kept, err) || !elf_open_start(&elf, r->head, r->head_len, MAX_UNPACKED, err)) {
        return false;
    }
    expect_notes(r, &elf);
    bool ok = pvh_add_segments(image, &elf, err);
    elf_close(&elf);
    g_autoptr(GPtrArray) plan = make_plan(image);
    if (!ok || !check_plan(image, plan, err)) {
        return false;
    }
    begin_copy(r, image, plan);
    Ahead *ahead = ahead_new(AHEAD_WORTH_A_THREAD);
    if (r->unpack) {
        touch_all(ahead, r->unpack, options->ram, plan);
    }
    ok = unpack_pieces(image, r, options->ram, plan, err);
    ahead_free(ahead);
    ok = ok && find_entry(r, entry, err);
    end_copy(r, image, ok);
    return ok;
}

/* Undoes what load() has done, when what was kept turns out not to be what it should. */
static void unload(BootImage *image, const BootRam *ram)
{
    g_autoptr(GPtrArray) plan = make_plan(image);

    for (guint i = 0; ram && ram->untouched && i < plan->len; i++) {
        const BootPiece *p = plan->pdata[i];
        for (uint64_t done = 0, n; done < p->len; done += n) {
            n = p->len - done;
            memset(ram->at(ram->opaque, p->addr + done, &n), 0, n);
        }
    }
}

static bool load_kept(BootImage *image, const BootOptions *options, uint64_t *entry)
{
    g_auto(Error) ignored = { 0 };
    guint       n_pieces = image->pieces->len, n_files = image->files->len;
    KeptKernel *kept = kernel_cache_find(image->cache, image->packed, image->packed_len);
    Reader      r    = { 0 };

    if (!kept) {
        return false;
    }
    bool ok = load(image, &r, kept, options, entry, &ignored);
    reader_close(&r);
    kept_kernel_close(kept);
    if (!ok) {
        unload(image, options->ram);
        g_array_set_size(image->pieces, n_pieces);
        g_ptr_array_set_size(image->files, (gint)n_files);
    }
    return ok;
}

static bool load_packed(BootImage *image, const BootOptions *options, uint64_t *entry, Error *err)
{
    Reader r  = { 0 };
    bool   ok = load(image, &r, NULL, options, entry, err);

    reader_close(&r);
    return ok;
}

bool packed_load(BootImage *image, const BootFile *kernel, const BootOptions *options, Error *err)
{
    uint64_t entry = 0;

    if (!linux_payload(kernel, &image->packed, &image->packed_len, err)) {
        return false;
    }
    image->cache    = options->cache;
    image->was_kept = load_kept(image, options, &entry);
    return (image->was_kept || load_packed(image, options, &entry, err)) && pvh_finish(image, entry, options, err);
}

static bool unpack_from(BootImage *image, KeptKernel *kept, const BootRam *ram, const GPtrArray *plan, Error *err)
{
    Reader r  = { 0 };
    bool   ok = reader_open(&r, image, kept, err) && unpack_pieces(image, &r, ram, plan, err);

    reader_close(&r);
    return ok;
}

bool boot_image_unpack(BootImage *image, const BootRam *ram, Error *err)
{
    g_auto(Error) ignored     = { 0 };
    g_autoptr(GPtrArray) plan = make_plan(image);

    if (plan->len == 0) {
        return true;
    }
    KeptKernel *kept = kernel_cache_find(image->cache, image->packed, image->packed_len);
    image->was_kept  = kept && unpack_from(image, kept, ram, plan, &ignored);
    kept_kernel_close(kept);
    return image->was_kept || unpack_from(image, NULL, ram, plan, err) || error_prefix(err, "-kernel: ");
}
