/* qcow2: from an offset on the disk to clusters of the file, and back into the tables. Specification, locks: qcow2.h.
 */

#include "block/qcow2.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <string.h>

enum { MAX_RUN = 128 };

bool qcow2_load_l1(Qcow2 *q, Error *err)
{
    size_t               bytes = (size_t)q->l1_size * 8;
    g_autofree uint64_t *raw   = g_try_malloc(MAX(bytes, 8));
    int                  error = !raw ? ENOMEM : bytes ? block_node_read(q->node.file, q->l1_offset, raw, bytes) : 0;
    if (error) {
        return error_set_errno(err, error, "cannot read its L1 table");
    }
    q->l1 = g_new(uint64_t, MAX(q->l1_size, 1));
    for (uint32_t i = 0; i < q->l1_size; i++) {
        q->l1[i] = load_be64(&raw[i]);
    }
    return true;
}

/* The L2 table that counts for an offset; 0: there is none. */
static int find_l2(Qcow2 *q, uint64_t offset, uint64_t *table, bool *own)
{
    uint64_t index = qcow2_l1_index(q, offset), entry = index < q->l1_size ? q->l1[index] : 0;
    *table = entry & QCOW2_OFFSET_MASK;
    *own   = entry & QCOW2_COPIED;
    return *table && (qcow2_in_cluster(q, *table) || !qcow2_is_inside(q, *table))
               ? qcow2_corrupt(q, "L2 table %#" G_GINT64_MODIFIER "x lies nowhere", *table)
               : 0;
}

/* --- looking up --- */

static Qcow2Run classify(const Qcow2 *q, uint64_t entry, bool own)
{
    Qcow2Run run = { .entry = entry, .host = entry & QCOW2_OFFSET_MASK };
    if (entry & QCOW2_COMPRESSED) {
        run.kind = QCOW2_PACKED;
        run.host = 0;
    } else if (q->version >= 3 && entry & QCOW2_ZERO) {
        run.kind = QCOW2_ZEROS;
        run.own  = own && run.host && entry & QCOW2_COPIED;
    } else {
        run.kind = run.host ? QCOW2_DATA : QCOW2_NONE;
        run.own  = own && run.host && entry & QCOW2_COPIED;
    }
    return run;
}

/* Does the next cluster go on where the run stops? */
static bool continues(const Qcow2 *q, const Qcow2Run *first, const Qcow2Run *next, unsigned clusters)
{
    return next->kind == first->kind && next->own == first->own && first->kind != QCOW2_PACKED &&
           ((first->kind != QCOW2_DATA && !first->own) ||
            next->host == first->host + ((uint64_t)clusters << q->cluster_bits));
}

int qcow2_lookup(Qcow2 *q, uint64_t offset, uint64_t len, Qcow2Run *run)
{
    uint64_t in_cluster = qcow2_in_cluster(q, offset), table;
    unsigned index      = qcow2_l2_index(q, offset), n;
    bool     own;
    int      error = find_l2(q, offset, &table, &own);
    if (error) {
        return error;
    }
    if (!table) {
        uint64_t reach = UINT64_C(1) << (q->cluster_bits + q->l2_bits);
        *run           = (Qcow2Run){ .len = MIN(len, reach - (offset & (reach - 1))) };
        return 0;
    }
    n = (unsigned)MIN((in_cluster + len + q->cluster_size - 1) >> q->cluster_bits, (1u << q->l2_bits) - index);
    n = MIN(n, MAX_RUN);
    uint64_t raw[MAX_RUN];
    error = qcow2_cache_read(&q->l2_cache, table, (size_t)index * 8, raw, (size_t)n * 8);
    if (error) {
        return error;
    }
    *run              = classify(q, load_be64(&raw[0]), own);
    unsigned clusters = 1;
    for (; clusters < n; clusters++) {
        Qcow2Run next = classify(q, load_be64(&raw[clusters]), own);
        if (!continues(q, run, &next, clusters)) {
            break;
        }
    }
    if (qcow2_in_cluster(q, run->host)) {
        return qcow2_corrupt(q, "data at %#" G_GINT64_MODIFIER "x is in no cluster's beginning", run->host);
    }
    run->len = MIN(len, ((uint64_t)clusters << q->cluster_bits) - in_cluster);
    run->host += run->kind == QCOW2_DATA ? in_cluster : 0;
    return 0;
}

void qcow2_packed_range(const Qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *len)
{
    unsigned bits    = 62 - (q->cluster_bits - 8);
    uint64_t sectors = extract_bits(entry, bits, 62 - bits) + 1;
    *offset          = extract_bits(entry, 0, bits);
    *len             = sectors * BLOCK_SECTOR - (*offset & (BLOCK_SECTOR - 1));
}

/* --- changing --- */

static void set_l1(Qcow2 *q, uint64_t index, uint64_t entry)
{
    bool clean       = q->l1_dirty_from == q->l1_dirty_end;
    q->l1[index]     = entry;
    q->l1_dirty_from = clean ? (uint32_t)index : MIN(q->l1_dirty_from, (uint32_t)index);
    q->l1_dirty_end  = clean ? (uint32_t)index + 1 : MAX(q->l1_dirty_end, (uint32_t)index + 1);
}

/* A table of our own: a new one, or a copy of one that a snapshot has too. */
static int make_l2(Qcow2 *q, uint64_t offset, uint64_t old, uint64_t *table)
{
    g_autofree uint8_t *contents = NULL;
    uint8_t            *data;
    uint64_t            got;
    int                 error = 0;
    if (old) {
        contents = g_malloc(q->cluster_size);
        error    = qcow2_cache_read(&q->l2_cache, old, 0, contents, q->cluster_size);
    }
    error = error ? error : qcow2_allocate(q, 1, table, &got);
    if (error) {
        return error;
    }
    error = qcow2_cache_edit(&q->l2_cache, *table, true, &data);
    if (error) {
        qcow2_give_back(q, *table, 1);
        return error;
    }
    if (old) {
        memcpy(data, contents, q->cluster_size);
        qcow2_release(q, old, q->cluster_size, false);
    }
    set_l1(q, qcow2_l1_index(q, offset), *table | QCOW2_COPIED);
    return 0;
}

int qcow2_get_l2(Qcow2 *q, uint64_t offset, bool make, uint64_t *table)
{
    bool own;
    int  error = find_l2(q, offset, table, &own);
    return error || (*table && own) || !make ? error : make_l2(q, offset, *table, table);
}

int qcow2_set_entries(Qcow2 *q, uint64_t offset, const uint64_t *entries, unsigned n)
{
    uint64_t table;
    uint8_t *data;
    int      error = qcow2_get_l2(q, offset, true, &table);
    error          = error ? error : qcow2_cache_edit(&q->l2_cache, table, false, &data);
    for (unsigned i = 0; !error && i < n; i++) {
        store_be64(data + ((size_t)qcow2_l2_index(q, offset) + i) * 8, entries[i]);
    }
    return error;
}

void qcow2_release_entry(Qcow2 *q, uint64_t entry, bool discard)
{
    uint64_t offset = entry & QCOW2_OFFSET_MASK, len = q->cluster_size;
    if (entry & QCOW2_COMPRESSED) {
        qcow2_packed_range(q, entry, &offset, &len);
    }
    if (offset) {
        qcow2_release(q, offset, len, discard);
    }
}
