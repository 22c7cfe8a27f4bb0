/* qcow2: reference counts of the file's clusters, allocating and freeing them, and the order in which tables reach the
 * disk. Specification and locks: see qcow2.h; everything here runs with the image's lock held alone unless it says
 * otherwise.
 *
 * A stretch of clusters whose counts no block holds yet is all free: the block that is to hold them goes into the first
 * of those clusters itself, and so does a larger table of blocks when the old one is full. Nothing has to be searched
 * for, and nothing recurses. */

#include "block/qcow2.h"

#include "base/bytes.h"
#include "base/checked.h"

#include <errno.h>
#include <string.h>

/* How many clusters the counts of one block are about, as bits. */
static unsigned block_bits(const Qcow2 *q)
{
    return q->cluster_bits + 3 - q->refcount_order;
}

bool qcow2_load_reftable(Qcow2 *q, Error *err)
{
    size_t               bytes = (size_t)q->reftable_size * 8;
    g_autofree uint64_t *raw   = g_try_malloc(MAX(bytes, 8));
    int                  error = raw ? block_node_read(q->node.file, q->reftable_offset, raw, bytes) : ENOMEM;
    if (error) {
        return error_set_errno(err, error, "cannot read its refcount table");
    }
    q->reftable = g_new(uint64_t, MAX(q->reftable_size, 1));
    for (uint32_t i = 0; i < q->reftable_size; i++) {
        q->reftable[i] = load_be64(&raw[i]) & ~UINT64_C(0x1ff);
    }
    return true;
}

/* --- one count --- */

static uint64_t get_count(const Qcow2 *q, const uint8_t *block, uint64_t index)
{
    switch (q->refcount_order) {
    case 3: return block[index];
    case 4: return load_be16(block + 2 * index);
    case 5: return load_be32(block + 4 * index);
    case 6: return load_be64(block + 8 * index);
    default: break;
    }
    unsigned bits = 1u << q->refcount_order, per_byte = 8 / bits;
    return (block[index / per_byte] >> (index % per_byte * bits)) & ((1u << bits) - 1);
}

static void put_count(const Qcow2 *q, uint8_t *block, uint64_t index, uint64_t count)
{
    switch (q->refcount_order) {
    case 3: block[index] = (uint8_t)count; return;
    case 4: store_be16(block + 2 * index, (uint16_t)count); return;
    case 5: store_be32(block + 4 * index, (uint32_t)count); return;
    case 6: store_be64(block + 8 * index, count); return;
    default: break;
    }
    unsigned bits = 1u << q->refcount_order, per_byte = 8 / bits, shift = index % per_byte * bits;
    uint8_t  mask           = (uint8_t)(((1u << bits) - 1) << shift);
    block[index / per_byte] = (uint8_t)((block[index / per_byte] & ~mask) | (count << shift));
}

/* Where the block that counts `cluster` lies; 0: there is none. */
static int find_block(Qcow2 *q, uint64_t cluster, uint64_t *block)
{
    uint64_t index = cluster >> block_bits(q);
    *block         = index < q->reftable_size ? q->reftable[index] : 0;
    return *block && (qcow2_in_cluster(q, *block) || !qcow2_is_inside(q, *block))
               ? qcow2_corrupt(q, "refcount block %#" G_GINT64_MODIFIER "x lies nowhere", *block)
               : 0;
}

int qcow2_get_count(Qcow2 *q, uint64_t cluster, uint64_t *count)
{
    uint64_t block, index = cluster & ((UINT64_C(1) << block_bits(q)) - 1);
    uint8_t  raw[8];
    int      error = find_block(q, cluster, &block);
    *count         = 0;
    if (error || !block) {
        return error;
    }
    unsigned order = q->refcount_order;
    size_t   at    = order < 3 ? index >> (3 - order) : index << (order - 3);
    error          = qcow2_cache_read(&q->refcount_cache, block, at, raw, order < 3 ? 1 : (size_t)1 << (order - 3));
    *count         = error ? 0 : get_count(q, raw, order < 3 ? index & ((1u << (3 - order)) - 1) : 0);
    return error;
}

static int set_count(Qcow2 *q, uint64_t cluster, uint64_t count)
{
    uint64_t block;
    uint8_t *data;
    int      error = find_block(q, cluster, &block);
    if (!error && !block) {
        error = qcow2_corrupt(q, "cluster %" G_GINT64_MODIFIER "u is in use and nobody counts it", cluster);
    }
    error = error ? error : qcow2_cache_edit(&q->refcount_cache, block, false, &data);
    if (!error) {
        put_count(q, data, cluster & ((UINT64_C(1) << block_bits(q)) - 1), count);
    }
    return error;
}

/* --- blocks of counts --- */

/* Writes new blocks from number `first` on, the first `used` clusters of their stretch counted once. */
static int write_new_blocks(Qcow2 *q, uint64_t first, uint64_t n_blocks, uint64_t used)
{
    uint64_t base = first << (block_bits(q) + q->cluster_bits), per_block = UINT64_C(1) << block_bits(q);
    int      error = 0;
    for (uint64_t i = 0; i < n_blocks && !error; i++) {
        uint8_t *data;
        error = qcow2_cache_edit(&q->refcount_cache, base + i * q->cluster_size, true, &data);
        for (uint64_t k = 0; !error && k < per_block && used; k++, used--) {
            put_count(q, data, k, 1);
        }
    }
    return error ? error : qcow2_cache_write_back(&q->refcount_cache);
}

static int barrier(Qcow2 *q)
{
    return block_node_flush(q->node.file);
}

/* Takes blocks that were not published out of the cache. */
static int forget_blocks(Qcow2 *q, uint64_t first, uint64_t n_blocks, int error)
{
    for (uint64_t i = 0; i < n_blocks; i++) {
        qcow2_cache_forget(&q->refcount_cache, (first << (block_bits(q) + q->cluster_bits)) + i * q->cluster_size);
    }
    return error;
}

/* A block for stretch `index`, inside the table as it is. */
static int add_block(Qcow2 *q, uint64_t index)
{
    uint64_t offset = index << (block_bits(q) + q->cluster_bits);
    uint8_t  raw[8];
    int      error = qcow2_check_overlap(q, offset, q->cluster_size);
    error          = error ? error : write_new_blocks(q, index, 1, 1);
    error          = error ? error : barrier(q);
    store_be64(raw, offset);
    error = error ? error : block_node_write(q->node.file, q->reftable_offset + index * 8, raw, sizeof raw);
    if (error) {
        return forget_blocks(q, index, 1, error);
    }
    q->reftable[index] = offset;
    return 0;
}

/* A larger table, with the blocks that count itself: all at the beginning of stretch `index`, which is beyond what the
 * old table reaches. */
static int grow_table(Qcow2 *q, uint64_t index)
{
    uint64_t per_cluster = q->cluster_size / 8, per_block = UINT64_C(1) << block_bits(q), n_blocks = 1, clusters;
    for (;; n_blocks++) {
        uint64_t entries = MAX(index + n_blocks, (uint64_t)q->reftable_size * 3 / 2);
        clusters         = (entries + per_cluster - 1) / per_cluster;
        if (n_blocks * per_block >= n_blocks + clusters) {
            break;
        }
    }
    if (clusters * q->cluster_size > QCOW2_MAX_REFTABLE) {
        return EFBIG;
    }
    uint64_t  size = clusters * per_cluster, base = index << (block_bits(q) + q->cluster_bits);
    uint64_t  offset = base + n_blocks * q->cluster_size;
    uint64_t *table = g_new0(uint64_t, size), *raw = g_new0(uint64_t, size);
    memcpy(table, q->reftable, (size_t)q->reftable_size * 8);
    for (uint64_t i = 0; i < n_blocks; i++) {
        table[index + i] = base + i * q->cluster_size;
    }
    for (uint64_t i = 0; i < size; i++) {
        store_be64(&raw[i], table[i]);
    }
    int error = qcow2_check_overlap(q, base, (n_blocks + clusters) * q->cluster_size);
    error     = error ? error : write_new_blocks(q, index, n_blocks, n_blocks + clusters);
    error     = error ? error : block_node_write(q->node.file, offset, raw, size * 8);
    error     = error ? error : barrier(q);
    g_free(raw);
    uint64_t old_offset = q->reftable_offset, old_size = q->reftable_size;
    if (!error) {
        q->reftable_offset = offset;
        q->reftable_size   = (uint32_t)size;
        error              = qcow2_write_reftable_pointer(q);
    }
    if (error) {
        q->reftable_offset = old_offset;
        q->reftable_size   = (uint32_t)old_size;
        g_free(table);
        return forget_blocks(q, index, n_blocks, error);
    }
    g_free(q->reftable);
    q->reftable = table;
    qcow2_release(q, old_offset, old_size * 8, false);
    return 0;
}

static int ensure_block(Qcow2 *q, uint64_t cluster)
{
    uint64_t index = cluster >> block_bits(q);
    if (index < q->reftable_size) {
        return q->reftable[index] ? 0 : add_block(q, index);
    }
    return grow_table(q, index);
}

/* --- allocating --- */

int qcow2_allocate(Qcow2 *q, uint64_t wanted, uint64_t *offset, uint64_t *got)
{
    uint64_t cluster = MAX(q->free_hint, 1), count;
    int      error;
    *got = 0;
    while (!*got) {
        if (cluster > QCOW2_OFFSET_MASK >> q->cluster_bits) {
            return EFBIG;
        }
        error = ensure_block(q, cluster);
        error = error ? error : qcow2_get_count(q, cluster, &count);
        if (error) {
            return error;
        }
        if (count) {
            cluster++;
            continue;
        }
        /* Until now all below is taken. */
        q->free_hint = cluster;
        while (*got < wanted) {
            error = ensure_block(q, cluster + *got); /* may take the cluster itself */
            error = error ? error : qcow2_get_count(q, cluster + *got, &count);
            if (error || count || (error = set_count(q, cluster + *got, 1))) {
                break;
            }
            ++*got;
        }
        if (error && !*got) {
            return error;
        }
        cluster += *got ? 0 : 1;
    }
    *offset = cluster << q->cluster_bits;
    error   = qcow2_check_overlap(q, *offset, *got << q->cluster_bits);
    if (!error) {
        q->free_hint = cluster + *got;
        q->end       = MAX(q->end, (cluster + *got) << q->cluster_bits);
    }
    return error;
}

int qcow2_give_back(Qcow2 *q, uint64_t offset, uint64_t clusters)
{
    int error = 0;
    for (uint64_t i = 0; i < clusters && !error; i++) {
        error = set_count(q, (offset >> q->cluster_bits) + i, 0);
    }
    q->free_hint = MIN(q->free_hint, offset >> q->cluster_bits);
    return error;
}

/* --- freeing --- */

void qcow2_release(Qcow2 *q, uint64_t offset, uint64_t len, bool discard)
{
    for (uint64_t cluster = offset >> q->cluster_bits; len && cluster <= (offset + len - 1) >> q->cluster_bits;
         cluster++) {
        Qcow2Release r = { .cluster = cluster, .discard = discard };
        g_array_append_val(q->releases, r);
    }
}

int qcow2_apply_releases(Qcow2 *q)
{
    int   error = 0;
    guint done  = 0;
    for (; done < q->releases->len && !error; done++) {
        const Qcow2Release *r = &g_array_index(q->releases, Qcow2Release, done);
        uint64_t            count;
        error = qcow2_get_count(q, r->cluster, &count);
        if (!error && !count) {
            error = qcow2_corrupt(q, "cluster %" G_GINT64_MODIFIER "u is used and counted as free", r->cluster);
        }
        error = error ? error : set_count(q, r->cluster, count - 1);
        if (!error && count == 1) {
            q->free_hint = MIN(q->free_hint, r->cluster);
            qcow2_cache_forget(&q->l2_cache, r->cluster << q->cluster_bits);
            qcow2_cache_forget(&q->refcount_cache, r->cluster << q->cluster_bits);
            /* The host's answer does not matter: what is read there is not said. */
            if (r->discard && q->pass_discard) {
                block_node_discard(q->node.file, r->cluster << q->cluster_bits, q->cluster_size);
            }
        }
    }
    g_array_remove_range(q->releases, 0, done);
    return error;
}

/* --- order --- */

static int write_l1(Qcow2 *q)
{
    uint32_t             n   = q->l1_dirty_end - q->l1_dirty_from;
    g_autofree uint64_t *raw = g_new(uint64_t, n);
    for (uint32_t i = 0; i < n; i++) {
        store_be64(&raw[i], q->l1[q->l1_dirty_from + i]);
    }
    int error = block_node_write(q->node.file, q->l1_offset + (uint64_t)q->l1_dirty_from * 8, raw, (size_t)n * 8);
    if (!error) {
        q->l1_dirty_from = q->l1_dirty_end = 0;
    }
    return error;
}

int qcow2_write_tables(Qcow2 *q)
{
    if (q->broken) {
        return EIO;
    }
    int  error = qcow2_cache_write_back(&q->refcount_cache);
    bool l1    = q->l1_dirty_end > q->l1_dirty_from;
    if (!error && (q->l2_cache.n_dirty || l1)) {
        error = barrier(q);
        error = error ? error : qcow2_cache_write_back(&q->l2_cache);
        if (!error && l1) {
            error = barrier(q);
            error = error ? error : write_l1(q);
        }
    }
    if (!error && q->releases->len) {
        error = barrier(q);
        error = error ? error : qcow2_apply_releases(q);
        error = error ? error : qcow2_cache_write_back(&q->refcount_cache);
    }
    return error;
}

int qcow2_check_overlap(Qcow2 *q, uint64_t offset, uint64_t len)
{
    bool bad = ranges_overlap(offset, len, 0, q->cluster_size) ||
               ranges_overlap(offset, len, q->l1_offset, (uint64_t)q->l1_size * 8) ||
               ranges_overlap(offset, len, q->reftable_offset, (uint64_t)q->reftable_size * 8) ||
               (q->n_snapshots && ranges_overlap(offset, len, q->snapshots_offset, q->snapshots_size));
    for (uint64_t at = align_down(offset, q->cluster_size); !bad && at < offset + len; at += q->cluster_size) {
        bad = qcow2_cache_has(&q->l2_cache, at) || qcow2_cache_has(&q->refcount_cache, at);
    }
    return bad ? qcow2_corrupt(q, "data would be written over tables at %#" G_GINT64_MODIFIER "x", offset) : 0;
}
