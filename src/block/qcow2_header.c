/* qcow2: the header with its extensions, every field checked. Specification: see qcow2.h. */

#include "block/qcow2.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

enum {
    AT_VERSION          = 4,
    AT_BACKING_OFFSET   = 8,
    AT_BACKING_SIZE     = 16,
    AT_CLUSTER_BITS     = 20,
    AT_SIZE             = 24,
    AT_CRYPT            = 32,
    AT_L1_SIZE          = 36,
    AT_L1_OFFSET        = 40,
    AT_REFTABLE_OFFSET  = 48,
    AT_REFTABLE_SIZE    = 56,
    AT_SNAPSHOTS        = 60,
    AT_SNAPSHOTS_OFFSET = 64,
    AT_INCOMPATIBLE     = 72,
    AT_COMPATIBLE       = 80,
    AT_AUTOCLEAR        = 88,
    AT_REFCOUNT_ORDER   = 96,
    AT_HEADER_LENGTH    = 100,
    AT_COMPRESSION      = 104,
};

enum { MAX_BACKING_NAME = 1023, MAX_FORMAT_NAME = 31, FEATURE_NAME = 48, SNAPSHOT_ENTRY = 40 };

enum {
    EXT_END            = 0,
    EXT_BACKING_FORMAT = (int)0xe2792acau,
    EXT_FEATURE_NAMES  = 0x6803f857,
};

/* --- features --- */

/* What the feature name table calls bit `bit` of the incompatible ones; "bit N" otherwise. The caller frees. */
static char *feature_name(const uint8_t *names, size_t len, unsigned bit)
{
    for (size_t at = 0; names && at + FEATURE_NAME <= len; at += FEATURE_NAME) {
        if (names[at] == 0 && names[at + 1] == bit) {
            g_autofree char *text = g_strndup((const char *)names + at + 2, FEATURE_NAME - 2);
            return g_utf8_make_valid(text, -1);
        }
    }
    return g_strdup_printf("bit %u", bit);
}

static bool check_features(Qcow2 *q, const uint8_t *names, size_t len, Error *err)
{
    uint64_t unknown = q->incompatible & ~(uint64_t)(QCOW2_DIRTY | QCOW2_CORRUPT | QCOW2_COMPRESSION_TYPE);
    if (unknown & QCOW2_EXTERNAL_DATA) {
        return error_set_unsupported(err, "qcow2 images with an external data file");
    }
    if (unknown & QCOW2_EXTENDED_L2) {
        return error_set_unsupported(err, "qcow2 images with extended L2 entries (subclusters)");
    }
    for (unsigned bit = 0; bit < 64; bit++) {
        if (unknown >> bit & 1) {
            g_autofree char *name = feature_name(names, len, bit);
            return error_set(err, "the qcow2 image has a feature that is not known here: %s", name);
        }
    }
    return true;
}

/* Extensions follow the header and end, at the latest, where the cluster or the backing file's name begins. */
static bool read_extensions(Qcow2 *q, const uint8_t *cluster, uint64_t end, Error *err)
{
    const uint8_t *names     = NULL;
    uint32_t       names_len = 0;
    uint64_t       at        = q->header_length;
    while (at + 8 <= end) {
        uint32_t type = load_be32(cluster + at), len = load_be32(cluster + at + 4);
        at += 8;
        if (type == EXT_END) {
            break;
        }
        if (!range_fits(at, len, end)) {
            return error_set(err, "is no valid qcow2 image: a header extension is %u bytes long and does not fit", len);
        }
        if (type == (uint32_t)EXT_BACKING_FORMAT) {
            if (len > MAX_FORMAT_NAME) {
                return error_set(err, "is no valid qcow2 image: the name of its backing format is %u bytes long", len);
            }
            g_free(q->backing_format);
            q->backing_format = g_strndup((const char *)cluster + at, len);
        } else if (type == EXT_FEATURE_NAMES) {
            names     = cluster + at;
            names_len = len;
        }
        at += align_up(len, 8);
    }
    return check_features(q, names, names_len, err);
}

/* --- fields --- */

static bool bad(Error *err, const char *what, uint64_t value)
{
    return error_set(err, "is no valid qcow2 image: %s is %" G_GINT64_MODIFIER "u", what, value);
}

static bool check_table(const Qcow2 *q, const char *what, uint64_t offset, uint64_t bytes, uint64_t max, Error *err)
{
    if (bytes > max) {
        return error_set(err, "is no valid qcow2 image: %s is %" G_GINT64_MODIFIER "u bytes long", what, bytes);
    }
    return (!qcow2_in_cluster(q, offset) && offset && range_fits(offset, bytes, q->node.file->size)) ||
           error_set(err, "is no valid qcow2 image: %s lies at %#" G_GINT64_MODIFIER "x, which is %s", what, offset,
                     qcow2_in_cluster(q, offset) ? "no cluster's beginning"
                     : offset                    ? "not inside the file"
                                                 : "the header");
}

static bool read_v3(Qcow2 *q, const uint8_t *h, Error *err)
{
    q->incompatible   = load_be64(h + AT_INCOMPATIBLE);
    q->compatible     = load_be64(h + AT_COMPATIBLE);
    q->autoclear      = load_be64(h + AT_AUTOCLEAR);
    q->refcount_order = load_be32(h + AT_REFCOUNT_ORDER);
    q->header_length  = load_be32(h + AT_HEADER_LENGTH);
    if (q->refcount_order > 6) {
        return bad(err, "its refcount order (0 to 6)", q->refcount_order);
    }
    if (q->header_length < QCOW2_V3_HEADER || q->header_length > q->cluster_size || q->header_length % 8) {
        return bad(err, "its header's length", q->header_length);
    }
    q->compression = q->header_length > AT_COMPRESSION ? h[AT_COMPRESSION] : QCOW2_ZLIB;
    if (q->compression > QCOW2_ZSTD) {
        return bad(err, "its compression type (0 or 1)", q->compression);
    }
    if (!q->compression != !(q->incompatible & QCOW2_COMPRESSION_TYPE)) {
        return error_set(err, "is no valid qcow2 image: its compression type %u and the bit for it disagree",
                         q->compression);
    }
    return true;
}

static bool read_fields(Qcow2 *q, const uint8_t *h, Error *err)
{
    uint64_t size  = load_be64(h + AT_SIZE), reach;
    uint32_t crypt = load_be32(h + AT_CRYPT), reftable_clusters = load_be32(h + AT_REFTABLE_SIZE);
    q->l2_bits = q->cluster_bits - 3;
    if (crypt) {
        return crypt <= 2 ? error_set_unsupported(err, "encrypted qcow2 images (%s)", crypt == 1 ? "AES" : "LUKS")
                          : bad(err, "its encryption (0 to 2)", crypt);
    }
    q->refcount_order = 4;
    q->header_length  = QCOW2_V2_HEADER;
    if (q->version == 3 && !read_v3(q, h, err)) {
        return false;
    }
    q->l1_size          = load_be32(h + AT_L1_SIZE);
    q->l1_offset        = load_be64(h + AT_L1_OFFSET);
    q->reftable_offset  = load_be64(h + AT_REFTABLE_OFFSET);
    q->n_snapshots      = load_be32(h + AT_SNAPSHOTS);
    q->snapshots_offset = load_be64(h + AT_SNAPSHOTS_OFFSET);
    q->snapshots_size   = (uint64_t)q->n_snapshots * SNAPSHOT_ENTRY;
    if (size > INT64_MAX - BLOCK_SECTOR) {
        return bad(err, "its size", size);
    }
    q->node.size = align_up(size, BLOCK_SECTOR);
    reach        = (uint64_t)q->l1_size << (q->cluster_bits + q->l2_bits);
    if (q->l1_size <= QCOW2_MAX_L1_BYTES / 8 && reach >> (q->cluster_bits + q->l2_bits) == q->l1_size &&
        reach < q->node.size) {
        return error_set(err, "is no valid qcow2 image: its L1 table has %u entries, too few for its size", q->l1_size);
    }
    if (q->n_snapshots > QCOW2_MAX_SNAPSHOTS) {
        return bad(err, "the number of its snapshots", q->n_snapshots);
    }
    uint64_t reftable_bytes = (uint64_t)reftable_clusters << q->cluster_bits;
    q->reftable_size        = (uint32_t)MIN(reftable_bytes / 8, UINT32_MAX);
    return ((!q->l1_size && !q->node.size) ||
            check_table(q, "its L1 table", q->l1_offset, (uint64_t)q->l1_size * 8, QCOW2_MAX_L1_BYTES, err)) &&
           check_table(q, "its refcount table", q->reftable_offset, reftable_bytes, QCOW2_MAX_REFTABLE, err) &&
           (!q->n_snapshots ||
            check_table(q, "its snapshot table", q->snapshots_offset, q->snapshots_size, UINT64_MAX, err));
}

/* Reads the name of the backing file; *end is where extensions may reach to. */
static bool read_backing_name(Qcow2 *q, const uint8_t *h, uint64_t *end, Error *err)
{
    uint64_t offset = load_be64(h + AT_BACKING_OFFSET);
    uint32_t len    = load_be32(h + AT_BACKING_SIZE);
    *end            = q->cluster_size;
    if (!offset) {
        return true;
    }
    if (len > MAX_BACKING_NAME || offset < q->header_length || !range_fits(offset, len, q->cluster_size)) {
        return error_set(err,
                         "is no valid qcow2 image: the name of its backing file (%u bytes at %#" G_GINT64_MODIFIER
                         "x) is too long or not in the first cluster",
                         len, offset);
    }
    if (memchr(h + offset, '\0', len)) {
        return error_set(err, "is no valid qcow2 image: the name of its backing file has a NUL in it");
    }
    q->backing_name = len ? g_strndup((const char *)h + offset, len) : NULL;
    *end            = offset;
    return true;
}

bool qcow2_read_header(Qcow2 *q, Error *err)
{
    BlockNode *file = q->node.file;
    uint8_t    start[QCOW2_V2_HEADER];
    int        error = block_node_read(file, 0, start, sizeof start);
    if (error) {
        return error_set_errno(err, error, "cannot read its header");
    }
    if (load_be32(start) != QCOW2_MAGIC) {
        return error_set(err, "is no qcow2 image (format=raw takes any file as it is)");
    }
    q->version      = load_be32(start + AT_VERSION);
    q->cluster_bits = load_be32(start + AT_CLUSTER_BITS);
    if (q->version == 1) {
        return error_set_unsupported(err, "block driver 'qcow' (qcow version 1)");
    }
    if (q->version != 2 && q->version != 3) {
        return error_set(err, "is a qcow2 image of version %u; 2 and 3 are known", q->version);
    }
    if (q->cluster_bits < QCOW2_MIN_CLUSTER_BITS || q->cluster_bits > QCOW2_MAX_CLUSTER_BITS) {
        return bad(err, "its cluster size in bits (9 to 21)", q->cluster_bits);
    }
    q->cluster_size            = UINT64_C(1) << q->cluster_bits;
    g_autofree uint8_t *header = g_malloc(q->cluster_size);
    error                      = block_node_read(file, 0, header, q->cluster_size);
    if (error) {
        return error_set_errno(err, error, "cannot read its header");
    }
    uint64_t end;
    return read_fields(q, header, err) && read_backing_name(q, header, &end, err) &&
           read_extensions(q, header, end, err);
}

/* --- changes --- */

int qcow2_write_reftable_pointer(Qcow2 *q)
{
    uint8_t raw[12];
    store_be64(raw, q->reftable_offset);
    store_be32(raw + 8, (uint32_t)(((uint64_t)q->reftable_size * 8) >> q->cluster_bits));
    int error = block_node_write(q->node.file, AT_REFTABLE_OFFSET, raw, sizeof raw);
    return error ? error : block_node_flush(q->node.file);
}

int qcow2_set_features(Qcow2 *q, uint64_t incompatible, uint64_t autoclear)
{
    uint8_t raw[8];
    int     error = 0;
    if (q->version < 3) {
        return 0;
    }
    if (incompatible != q->incompatible) {
        store_be64(raw, incompatible);
        error = block_node_write(q->node.file, AT_INCOMPATIBLE, raw, sizeof raw);
    }
    if (!error && autoclear != q->autoclear) {
        store_be64(raw, autoclear);
        error = block_node_write(q->node.file, AT_AUTOCLEAR, raw, sizeof raw);
    }
    if (!error) {
        q->incompatible = incompatible;
        q->autoclear    = autoclear;
        error           = block_node_flush(q->node.file);
    }
    return error;
}

int qcow2_corrupt(Qcow2 *q, const char *format, ...)
{
    if (atomic_exchange(&q->broken, true)) {
        return EIO;
    }
    va_list args;
    va_start(args, format);
    g_autofree char *why  = g_strdup_vprintf(format, args);
    const char      *path = block_node_filename(&q->node);
    va_end(args);
    warn_report(
        "'%s': the qcow2 image is corrupt: %s; nothing more is written to it ('qemu-img check -r all' mends what "
        "can be mended)",
        path ? path : q->node.name, why);
    if (q->node.file->writable && q->node.writable) {
        qcow2_set_features(q, q->incompatible | QCOW2_CORRUPT, q->autoclear);
    }
    return EIO;
}
