/* The qcow2 format: options, opening, closing. See qcow2.h. Machine lock. */

#include "block/qcow2.h"

#include "base/bytes.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

enum { OVERLAP_NONE, OVERLAP_CONSTANT, OVERLAP_CACHED, OVERLAP_ALL };
static const char *const overlap_names[] = { "none", "constant", "cached", "all", NULL };

static const Field qcow2_options[] = {
    BLOCK_NODE_OPTIONS(Qcow2, node),
    FIELD(Qcow2, absent_flag, "lazy-refcounts", .unsupported = true, .help = "counts are brought up to date late"),
    FIELD(Qcow2, cache_size, "cache-size", .size_unit = 1, .max = GiB,
          .has_offset = 1 + offsetof(Qcow2, have_cache_size), .help = "memory for tables"),
    FIELD(Qcow2, l2_cache_size, "l2-cache-size", .size_unit = 1, .max = GiB,
          .has_offset = 1 + offsetof(Qcow2, have_l2_size), .help = "of that, for L2 tables"),
    FIELD(Qcow2, refcount_cache_size, "refcount-cache-size", .size_unit = 1, .max = GiB,
          .has_offset = 1 + offsetof(Qcow2, have_refcount_size), .help = "of that, for reference counts"),
    FIELD(Qcow2, absent_number, "l2-cache-entry-size", .size_unit = 1, .unsupported = true, .help = "parts of tables"),
    FIELD(Qcow2, absent_number, "cache-clean-interval", .unsupported = true, .help = "seconds until memory is freed"),
    FIELD(Qcow2, pass_discard, "pass-discard-request", .has_offset = 1 + offsetof(Qcow2, have_pass_discard),
          .help = "trimmed space goes back to the host (default: on with discard=unmap)"),
    FIELD(Qcow2, pass_discard_snapshot, "pass-discard-snapshot", .initial = true,
          .help = "so does what a deleted snapshot had"),
    FIELD(Qcow2, absent_flag, "pass-discard-other", .unsupported = true, .help = "and what else becomes free"),
    FIELD(Qcow2, absent_flag, "discard-no-unref", .unsupported = true, .help = "trimmed clusters are kept"),
    FIELD(Qcow2, overlap, "overlap-check", .names = overlap_names, .initial = OVERLAP_CACHED,
          .help = "tables that data is kept from overwriting"),
    FIELD(Qcow2, absent_text, "encrypt.format", .unsupported = true, .help = "encryption"),
    FIELD(Qcow2, absent_text, "data-file", .unsupported = true, .help = "where the data lies, if not in the image"),
    {},
};

static bool qcow2_probe(const uint8_t *head, size_t len)
{
    uint32_t version = len >= 8 && load_be32(head) == QCOW2_MAGIC ? load_be32(head + 4) : 0;
    return version >= 2;
}

/* --- the backing file --- */

/* The path, and whether one of the images above is that very file. */
static bool is_loop(const BlockNode *n, const char *path)
{
    struct stat mine, other;
    if (stat(path, &mine) < 0) {
        return false;
    }
    for (; n; n = n->above) {
        const char *above = block_node_filename(n);
        if (above && stat(above, &other) == 0 && mine.st_dev == other.st_dev && mine.st_ino == other.st_ino) {
            return true;
        }
    }
    return false;
}

static bool open_backing(Qcow2 *q, Error *err)
{
    BlockNode *n = &q->node;
    if (n->backing || n->no_backing || !q->backing_name) {
        return true;
    }
    /* Relative to the folder of the image, unless it names a protocol. */
    const char      *colon = strchr(q->backing_name, ':'), *slash = strchr(q->backing_name, '/');
    bool             protocol = colon && (!slash || colon < slash);
    g_autofree char *path =
        protocol ? g_strdup(q->backing_name) : block_relative_path(block_node_filename(n), q->backing_name);
    if (is_loop(n, path)) {
        return error_set(err, "its backing file '%s' is an image above it: they would go round for ever", path);
    }
    g_autofree char *who = g_strdup_printf("node '%s'", n->name);
    n->backing           = block_open_path(n->hub, path, q->backing_format, NULL, NULL, true, n, true, err);
    if (!n->backing) {
        return error_prefix(err, "its backing file: ");
    }
    if (!block_node_use(n->backing, false, who, err)) {
        block_node_unref(g_steal_pointer(&n->backing));
        return false;
    }
    return true;
}

/* --- caches --- */

static bool size_caches(Qcow2 *q, unsigned *l2, unsigned *refcount, Error *err)
{
    uint64_t l2_bytes = 32 * MiB, refcount_bytes = 4 * q->cluster_size;
    if (q->have_l2_size) {
        l2_bytes = q->l2_cache_size;
    }
    if (q->have_refcount_size) {
        refcount_bytes = q->refcount_cache_size;
    }
    if (q->have_cache_size) {
        if ((q->have_l2_size ? l2_bytes : 0) + (q->have_refcount_size ? refcount_bytes : 0) > q->cache_size) {
            return error_set(err, "l2-cache-size and refcount-cache-size are more than cache-size");
        }
        if (q->have_l2_size && q->have_refcount_size) {
            return error_set(err, "cache-size, l2-cache-size and refcount-cache-size say the same; give two of them");
        }
        if (q->have_l2_size) {
            refcount_bytes = q->cache_size - l2_bytes;
        } else {
            refcount_bytes = MIN(refcount_bytes, q->cache_size);
            l2_bytes       = q->cache_size - refcount_bytes;
        }
    }
    /* No more than there are tables. */
    *l2       = (unsigned)MAX(MIN(l2_bytes >> q->cluster_bits, (uint64_t)q->l1_size), 2);
    *refcount = (unsigned)MAX(refcount_bytes >> q->cluster_bits, 4);
    return true;
}

static int make_room_l2(Qcow2 *q)
{
    return qcow2_write_tables(q);
}

/* Counts may reach the disk at any time before what they count. */
static int make_room_refcount(Qcow2 *q)
{
    return qcow2_cache_write_back(&q->refcount_cache);
}

/* --- opening --- */

static void free_image(Qcow2 *q)
{
    qcow2_cache_free(&q->l2_cache);
    qcow2_cache_free(&q->refcount_cache);
    g_free(q->l1);
    g_free(q->reftable);
    g_free(q->backing_name);
    g_free(q->backing_format);
    g_free(q->unpacked);
    g_array_unref(q->releases);
    pthread_mutex_destroy(&q->unpacked_mutex);
    pthread_rwlock_destroy(&q->lock);
}

static void init_locks(Qcow2 *q)
{
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    /* Readers that come and come do not keep a writer waiting. */
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&q->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    pthread_mutex_init(&q->unpacked_mutex, NULL);
    q->releases = g_array_new(false, false, sizeof(Qcow2Release));
}

/* May it be written? One that was not closed cleanly, or is known to be corrupt, must be mended first. */
static bool check_writing(Qcow2 *q, Error *err)
{
    BlockNode *n = &q->node;
    n->writable  = n->file->writable;
    if (!n->writable || !(q->incompatible & (QCOW2_DIRTY | QCOW2_CORRUPT))) {
        return true;
    }
    if (n->o.auto_read_only && n->o.read_only) {
        n->writable = false;
        return true;
    }
    const char *path = block_node_filename(n);
    return error_set(err, "the qcow2 image %s; 'qemu-img check -r all %s' mends it, read-only=on opens it as it is",
                     q->incompatible & QCOW2_CORRUPT ? "is marked as corrupt"
                                                     : "was not closed cleanly and its counts are out of date",
                     path ? path : "IMAGE");
}

static bool open_image(Qcow2 *q, Error *err)
{
    unsigned l2 = 0, refcount = 0;
    if (q->overlap == OVERLAP_ALL) {
        return error_set_unsupported(err, "overlap-check=all");
    }
    if (!qcow2_read_header(q, err) || !check_writing(q, err) || !qcow2_load_l1(q, err) ||
        !qcow2_load_reftable(q, err) || !size_caches(q, &l2, &refcount, err)) {
        return false;
    }
    qcow2_cache_init(&q->l2_cache, q, l2, make_room_l2);
    qcow2_cache_init(&q->refcount_cache, q, refcount, make_room_refcount);
    q->pass_discard = q->have_pass_discard ? q->pass_discard : q->node.o.discard >= BLOCK_DISCARD_UNMAP;
    if (!open_backing(q, err)) {
        return false;
    }
    /* Features that are void as soon as somebody writes who does not know them (bitmaps). */
    int error = q->node.writable && q->autoclear ? qcow2_set_features(q, q->incompatible, 0) : 0;
    return !error || error_set_errno(err, error, "cannot write its header");
}

static bool qcow2_open(BlockNode *n, Error *err)
{
    Qcow2 *q = (Qcow2 *)n;
    init_locks(q);
    if (open_image(q, err)) {
        return true;
    }
    free_image(q);
    return false;
}

static void qcow2_close(BlockNode *n)
{
    free_image((Qcow2 *)n);
}

static void qcow2_describe(BlockNode *n, Json *image)
{
    const Qcow2 *q = (const Qcow2 *)n;
    json_set(image, "cluster-size", json_new_uint(q->cluster_size));
    json_set(image, "dirty-flag", json_new_bool(q->incompatible & QCOW2_DIRTY));
    if (q->backing_name) {
        json_set(image, "backing-filename", json_new_string(q->backing_name));
        if (q->backing_format) {
            json_set(image, "backing-filename-format", json_new_string(q->backing_format));
        }
    }
    Json *data = json_new_object(), *specific = json_new_object();
    json_add(data, "compat", json_new_string(q->version == 2 ? "0.10" : "1.1"));
    json_add(data, "compression-type", json_new_string(q->compression == QCOW2_ZSTD ? "zstd" : "zlib"));
    if (q->version >= 3) {
        json_add(data, "lazy-refcounts", json_new_bool(q->compatible & 1));
        json_add(data, "corrupt", json_new_bool(q->broken || q->incompatible & QCOW2_CORRUPT));
        json_add(data, "extended-l2", json_new_bool(false));
    }
    json_add(data, "refcount-bits", json_new_int(1 << q->refcount_order));
    json_add(specific, "type", json_new_string("qcow2"));
    json_add(specific, "data", data);
    json_set(image, "format-specific", specific);
}

const BlockDriver block_qcow2 = {
    .name     = "qcow2",
    .help     = "QEMU's format: grows as it is written, snapshots, backing files",
    .size     = sizeof(Qcow2),
    .options  = qcow2_options,
    .backing  = true,
    .probe    = qcow2_probe,
    .open     = qcow2_open,
    .close    = qcow2_close,
    .read     = qcow2_read,
    .write    = qcow2_write,
    .flush    = qcow2_flush,
    .zero     = qcow2_zero,
    .discard  = qcow2_discard,
    .describe = qcow2_describe,
};
