/* qcow2: reading and writing the disk. Specification, locks and order: qcow2.h. */

#include "block/qcow2.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>

enum { MAX_ENTRIES = 128, MAX_RELEASES = 4096 };

/* --- reading: with the lock held, shared or alone --- */

static int read_backing(Qcow2 *q, uint64_t offset, uint8_t *buf, uint64_t len)
{
    BlockNode *backing = q->node.backing;
    uint64_t   there   = backing && offset < backing->size ? MIN(len, backing->size - offset) : 0;
    memset(buf + there, 0, len - there);
    return there ? block_node_read(backing, offset, buf, there) : 0;
}

static int read_run(Qcow2 *q, const Qcow2Run *run, uint64_t offset, uint8_t *buf)
{
    switch (run->kind) {
    case QCOW2_NONE: return read_backing(q, offset, buf, run->len);
    case QCOW2_ZEROS: memset(buf, 0, run->len); return 0;
    case QCOW2_DATA: return block_node_read(q->node.file, run->host, buf, run->len);
    case QCOW2_PACKED: return qcow2_unpack(q, run->entry, qcow2_in_cluster(q, offset), buf, run->len);
    }
    return EIO;
}

static int read_locked(Qcow2 *q, uint64_t offset, uint8_t *buf, uint64_t len)
{
    int error = 0;
    while (len && !error) {
        Qcow2Run run;
        error = qcow2_lookup(q, offset, len, &run);
        error = error ? error : read_run(q, &run, offset, buf);
        if (!error) {
            offset += run.len;
            buf += run.len;
            len -= run.len;
        }
    }
    return error;
}

int qcow2_read(BlockNode *n, uint64_t offset, void *buf, size_t len)
{
    Qcow2 *q = (Qcow2 *)n;
    pthread_rwlock_rdlock(&q->lock);
    int error = read_locked(q, offset, buf, len);
    pthread_rwlock_unlock(&q->lock);
    return error;
}

/* --- writing --- */

/* Does the cluster read as what the backing file has, if it has no entry? */
static bool shows_backing(const Qcow2 *q, uint64_t offset)
{
    return q->node.backing && align_down(offset, q->cluster_size) < q->node.backing->size;
}

static int write_in_place(Qcow2 *q, const Qcow2Run *run, const uint8_t *buf)
{
    int error = q->overlap ? qcow2_check_overlap(q, run->host, run->len) : 0;
    return error ? error : block_node_write(q->node.file, run->host, buf, run->len);
}

/* A write into new clusters: what is written, and what of the clusters around it has to come along. */
typedef struct Fresh {
    uint64_t       offset, len; /* on the disk */
    const uint8_t *buf;
    uint64_t       host;     /* first cluster in the file */
    uint64_t       clusters; /* as many */
    uint64_t       was_end;  /* the file's size before: what lies beyond reads as zeros */
    bool           empty;    /* the clusters read as zeros, where they are and where they will be */
} Fresh;

/* Fills `at` .. `at + len` of the new clusters (bytes from f->host) with what the disk has there now. */
static int copy_old(Qcow2 *q, const Fresh *f, uint64_t at, uint64_t len)
{
    uint64_t            disk  = align_down(f->offset, q->cluster_size) + at;
    uint64_t            there = disk < q->node.size ? MIN(len, q->node.size - disk) : 0;
    g_autofree uint8_t *buf   = g_malloc0(MAX(len, 1));
    int                 error = there ? read_locked(q, disk, buf, there) : 0;
    if (error || !len || (f->host + at >= f->was_end && block_is_zero(buf, len))) {
        return error;
    }
    return block_node_write(q->node.file, f->host + at, buf, len);
}

/* One cluster: everything in one write. */
static int fill_one(Qcow2 *q, const Fresh *f)
{
    g_autofree uint8_t *buf   = g_malloc0(q->cluster_size);
    uint64_t            disk  = align_down(f->offset, q->cluster_size);
    int                 error = read_locked(q, disk, buf, MIN(q->cluster_size, q->node.size - disk));
    memcpy(buf + (f->offset - disk), f->buf, f->len);
    return error ? error : block_node_write(q->node.file, f->host, buf, q->cluster_size);
}

static int fill_clusters(Qcow2 *q, const Fresh *f)
{
    uint64_t head = qcow2_in_cluster(q, f->offset), end = head + f->len, all = f->clusters << q->cluster_bits;
    if (f->empty) {
        return block_node_write(q->node.file, f->host + head, f->buf, f->len);
    }
    if (f->clusters == 1 && f->len < q->cluster_size && q->cluster_size <= 64 << 10) {
        return fill_one(q, f);
    }
    int error = copy_old(q, f, 0, head);
    error     = error ? error : block_node_write(q->node.file, f->host + head, f->buf, f->len);
    return error ? error : copy_old(q, f, end, all - end);
}

/* Puts entries in the place of those that cover `offset` on, and lets go of what those led to. */
static int replace_entries(Qcow2 *q, uint64_t offset, const uint64_t *entries, unsigned n, bool discard)
{
    uint64_t old[MAX_ENTRIES];
    for (unsigned i = 0; i < n; i++) {
        Qcow2Run run;
        int error = qcow2_lookup(q, align_down(offset, q->cluster_size) + ((uint64_t)i << q->cluster_bits), 1, &run);
        if (error) {
            return error;
        }
        old[i] = run.entry;
    }
    int error = qcow2_set_entries(q, offset, entries, n);
    for (unsigned i = 0; i < n && !error; i++) {
        bool packed = old[i] & QCOW2_COMPRESSED;
        if (old[i] != entries[i] && (packed || (old[i] ^ entries[i]) & QCOW2_OFFSET_MASK)) {
            qcow2_release_entry(q, old[i], discard);
        }
    }
    return error;
}

/* Writes as much of [offset, offset + len) as one run has; *done says how much. The lock is held alone. */
static int write_some(Qcow2 *q, uint64_t offset, const uint8_t *buf, uint64_t len, uint64_t *done)
{
    Qcow2Run run;
    uint64_t entries[MAX_ENTRIES], got = 1;
    int      error = q->broken ? EIO : qcow2_lookup(q, offset, len, &run);
    if (error) {
        return error;
    }
    *done = run.len;
    if (run.kind == QCOW2_DATA && run.own) {
        return write_in_place(q, &run, buf);
    }
    Fresh f        = { .offset = offset, .buf = buf, .was_end = q->node.file->size };
    bool  in_place = run.kind == QCOW2_ZEROS && run.own;
    f.clusters     = MIN((qcow2_in_cluster(q, offset) + run.len + q->cluster_size - 1) >> q->cluster_bits, MAX_ENTRIES);
    if (in_place) {
        f.clusters = 1;
        f.host     = run.host;
        f.was_end  = UINT64_MAX; /* what is there is old data */
        error      = qcow2_check_overlap(q, f.host, q->cluster_size);
    } else if (!(error = qcow2_allocate(q, f.clusters, &f.host, &got))) {
        f.clusters = got;
    }
    if (error) {
        return error;
    }
    f.empty = f.host >= f.was_end && (run.kind == QCOW2_ZEROS || (run.kind == QCOW2_NONE && !shows_backing(q, offset)));
    f.len = *done = MIN(run.len, (f.clusters << q->cluster_bits) - qcow2_in_cluster(q, offset));
    for (unsigned i = 0; i < f.clusters; i++) {
        entries[i] = (f.host + ((uint64_t)i << q->cluster_bits)) | QCOW2_COPIED;
    }
    error = fill_clusters(q, &f);
    error = error ? error : replace_entries(q, offset, entries, (unsigned)f.clusters, false);
    if (error && !in_place && !q->broken) {
        qcow2_give_back(q, f.host, f.clusters);
    }
    return error;
}

static int write_locked(Qcow2 *q, uint64_t offset, const uint8_t *buf, uint64_t len)
{
    int error = 0;
    while (len && !error) {
        uint64_t done = 0;
        error         = write_some(q, offset, buf, len, &done);
        offset += done;
        buf += done;
        len -= done;
        if (!error && q->releases->len > MAX_RELEASES) {
            error = qcow2_write_tables(q);
        }
    }
    return error;
}

int qcow2_write(BlockNode *n, uint64_t offset, const void *buf, size_t len)
{
    Qcow2         *q     = (Qcow2 *)n;
    const uint8_t *from  = buf;
    int            error = 0;
    while (len && !error) {
        Qcow2Run run;
        pthread_rwlock_rdlock(&q->lock);
        error         = q->broken ? EIO : qcow2_lookup(q, offset, len, &run);
        bool in_place = !error && run.kind == QCOW2_DATA && run.own;
        error         = in_place ? write_in_place(q, &run, from) : error;
        pthread_rwlock_unlock(&q->lock);
        if (!in_place && !error) {
            /* Somebody else may be writing there too by now: all is looked up again. */
            pthread_rwlock_wrlock(&q->lock);
            error = write_locked(q, offset, from, run.len);
            pthread_rwlock_unlock(&q->lock);
        }
        if (!error) {
            offset += run.len;
            from += run.len;
            len -= run.len;
        }
    }
    return error;
}

static bool is_dirty(const Qcow2 *q)
{
    return q->refcount_cache.n_dirty || q->l2_cache.n_dirty || q->l1_dirty_end > q->l1_dirty_from || q->releases->len;
}

int qcow2_flush(BlockNode *n)
{
    Qcow2 *q = (Qcow2 *)n;
    pthread_rwlock_rdlock(&q->lock);
    bool dirty = is_dirty(q) && !q->broken;
    pthread_rwlock_unlock(&q->lock);
    int error = 0;
    if (dirty) {
        pthread_rwlock_wrlock(&q->lock);
        error = qcow2_write_tables(q);
        pthread_rwlock_unlock(&q->lock);
    }
    return error || n->o.no_flush ? error : block_node_flush(n->file);
}

/* --- zeros and discards --- */

/* What becomes of a cluster that is to read as zeros. false: it cannot be said in the tables of this version. */
static bool zero_entry(const Qcow2 *q, uint64_t offset, const Qcow2Run *old, bool unmap, uint64_t *entry)
{
    bool covered = shows_backing(q, offset);
    *entry       = old->entry;
    if ((old->kind == QCOW2_NONE && !covered) || (old->kind == QCOW2_ZEROS && !(unmap && old->host))) {
        return true;
    }
    if (q->version < 3) {
        *entry = 0;
        return !covered;
    }
    *entry = old->kind == QCOW2_DATA && old->own && !unmap ? old->entry | QCOW2_ZERO : QCOW2_ZERO;
    return true;
}

/* A discarded cluster reads as zeros, but where only the backing file's data could come up again. */
static bool discard_entry(const Qcow2 *q, uint64_t offset, const Qcow2Run *old, bool unmap, uint64_t *entry)
{
    bool covered = shows_backing(q, offset);
    *entry       = q->version >= 3 && covered ? QCOW2_ZERO : 0;
    if (old->kind == QCOW2_NONE || (q->version < 3 && covered)) {
        *entry = old->entry;
    }
    return true;
}

typedef bool (*NewEntry)(const Qcow2 *q, uint64_t offset, const Qcow2Run *old, bool unmap, uint64_t *entry);

/* Whole clusters. The lock is held alone. */
static int change_clusters(Qcow2 *q, uint64_t offset, uint64_t clusters, NewEntry new_entry, bool unmap, bool discard)
{
    int error = q->broken ? EIO : 0;
    while (clusters && !error) {
        uint64_t entries[MAX_ENTRIES];
        unsigned n       = (unsigned)MIN(MIN(clusters, MAX_ENTRIES), (1u << q->l2_bits) - qcow2_l2_index(q, offset));
        bool     changed = false;
        for (unsigned i = 0; i < n && !error; i++) {
            Qcow2Run old;
            uint64_t at = offset + ((uint64_t)i << q->cluster_bits);
            error       = qcow2_lookup(q, at, 1, &old);
            if (!error && !new_entry(q, at, &old, unmap, &entries[i])) {
                error = ENOTSUP;
            }
            changed |= !error && entries[i] != old.entry;
        }
        if (!error && changed) {
            error = replace_entries(q, offset, entries, n, discard);
        }
        if (!error && q->releases->len > MAX_RELEASES) {
            error = qcow2_write_tables(q);
        }
        offset += (uint64_t)n << q->cluster_bits;
        clusters -= n;
    }
    return error;
}

/* The whole clusters of a range; what is left of the last one beyond the disk's end counts as inside. */
static bool whole_clusters(const Qcow2 *q, uint64_t offset, uint64_t len, uint64_t *first, uint64_t *end)
{
    *first = align_up(offset, q->cluster_size);
    *end   = offset + len == q->node.size ? align_up(offset + len, q->cluster_size)
                                          : align_down(offset + len, q->cluster_size);
    return *first < *end;
}

/* Part of a cluster: nothing is written where zeros are already. */
static int zero_part(Qcow2 *q, uint64_t offset, uint64_t len)
{
    Qcow2Run run;
    int      error = len ? qcow2_lookup(q, offset, len, &run) : 0;
    if (!len || error || run.kind == QCOW2_ZEROS || (run.kind == QCOW2_NONE && !shows_backing(q, offset))) {
        return error;
    }
    g_autofree uint8_t *zeros = g_malloc0(len);
    return write_locked(q, offset, zeros, len);
}

int qcow2_zero(BlockNode *n, uint64_t offset, uint64_t len, bool unmap)
{
    Qcow2   *q = (Qcow2 *)n;
    uint64_t first, end;
    pthread_rwlock_wrlock(&q->lock);
    int error;
    if (!whole_clusters(q, offset, len, &first, &end)) {
        uint64_t head = MIN(len, q->cluster_size - qcow2_in_cluster(q, offset));
        error         = zero_part(q, offset, head);
        error         = error ? error : zero_part(q, offset + head, len - head);
    } else {
        error = change_clusters(q, first, (end - first) >> q->cluster_bits, zero_entry, unmap, unmap);
        error = error ? error : zero_part(q, offset, first - offset);
        error = error || end >= offset + len ? error : zero_part(q, end, offset + len - end);
    }
    pthread_rwlock_unlock(&q->lock);
    return error;
}

int qcow2_discard(BlockNode *n, uint64_t offset, uint64_t len)
{
    Qcow2   *q = (Qcow2 *)n;
    uint64_t first, end;
    if (!whole_clusters(q, offset, len, &first, &end)) {
        return 0;
    }
    pthread_rwlock_wrlock(&q->lock);
    int error = change_clusters(q, first, (end - first) >> q->cluster_bits, discard_entry, true, true);
    pthread_rwlock_unlock(&q->lock);
    return error;
}
