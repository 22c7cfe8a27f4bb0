/* Inside the qcow2 driver: one image, its tables, and who may touch them.
 *
 * Specification: QEMU's documentation, docs/interop/qcow2 ("The QCOW2 image file format").
 *
 * Locks: `lock` is taken shared for reading and for writing into clusters that are the image's own already, alone for
 * everything that changes tables. What is cached of the tables has a mutex of its own, as readers fill the cache too.
 *
 * Order on disk. Between two flushes new data is in the file while new mappings and reference counts are in the caches.
 * qcow2_write_tables() writes counts that have grown, then (after a barrier) mapping tables, then (after a barrier) the
 * L1 entries that lead to new ones, and after another barrier counts are lowered: whenever the host loses power, a
 * cluster that is mapped is counted and its data is there. The worst that is left is a cluster counted and not used. */

#ifndef QUERN_BLOCK_QCOW2_H
#define QUERN_BLOCK_QCOW2_H

#include "block/driver.h"

#include <pthread.h>

#define QCOW2_MAGIC       0x514649fbu                  /* "QFI\xfb" */
#define QCOW2_OFFSET_MASK UINT64_C(0x00fffffffffffe00) /* of L1 and L2 entries */
#define QCOW2_COPIED      (UINT64_C(1) << 63)          /* the cluster's count is exactly 1 */
#define QCOW2_COMPRESSED  (UINT64_C(1) << 62)
#define QCOW2_ZERO        UINT64_C(1)

enum {
    QCOW2_MIN_CLUSTER_BITS = 9,
    QCOW2_MAX_CLUSTER_BITS = 21,
    QCOW2_MAX_L1_BYTES     = 32 << 20,
    QCOW2_MAX_REFTABLE     = 8 << 20,
    QCOW2_MAX_SNAPSHOTS    = 65536,
    QCOW2_V2_HEADER        = 72,
    QCOW2_V3_HEADER        = 104,
};

/* Incompatible features. */
enum {
    QCOW2_DIRTY            = 1,
    QCOW2_CORRUPT          = 2,
    QCOW2_EXTERNAL_DATA    = 4,
    QCOW2_COMPRESSION_TYPE = 8,
    QCOW2_EXTENDED_L2      = 16,
};

enum { QCOW2_ZLIB, QCOW2_ZSTD };

typedef struct Qcow2 Qcow2;

/* A cache of tables of one cluster each (L2 tables, blocks of counts). */
typedef struct Qcow2Slot {
    uint64_t offset; /* in the file; 0: free */
    uint64_t used;   /* when last */
    bool     dirty;
    uint8_t *data;
} Qcow2Slot;

typedef struct Qcow2Cache {
    Qcow2          *owner;
    pthread_mutex_t mutex;
    Qcow2Slot      *slots;
    unsigned        n_slots, n_filled, n_dirty;
    uint64_t        clock;
    GHashTable     *by_offset; /* &slot->offset to Qcow2Slot * */
    /* Makes room when all slots are dirty; the lock is held alone. */
    int (*make_room)(Qcow2 *q);
} Qcow2Cache;

/* A count that is to be lowered when no table on disk leads to the cluster any more. */
typedef struct Qcow2Release {
    uint64_t cluster; /* number */
    bool     discard; /* give the space back to the host */
} Qcow2Release;

struct Qcow2 {
    BlockNode node;

    /* Options. */
    char    *absent_text;
    bool     absent_flag, pass_discard, have_pass_discard, pass_discard_snapshot;
    uint64_t cache_size, l2_cache_size, refcount_cache_size, absent_number;
    bool     have_cache_size, have_l2_size, have_refcount_size;
    int      overlap;

    /* The header, constant but for what grows. */
    unsigned version, cluster_bits, refcount_order, header_length, compression;
    uint64_t cluster_size;
    unsigned l2_bits; /* entries of an L2 table */
    uint64_t incompatible, compatible, autoclear;
    uint64_t snapshots_offset;
    uint64_t snapshots_size; /* of their table in bytes, at least; it is checked for overlaps only */
    uint32_t n_snapshots;
    char    *backing_name, *backing_format;

    pthread_rwlock_t lock;
    _Atomic bool     broken; /* found corrupt: nothing is written any more. Set once */

    uint64_t  l1_offset;
    uint32_t  l1_size;
    uint64_t *l1;                          /* entries as the host has integers */
    uint32_t  l1_dirty_from, l1_dirty_end; /* entries that the file has not yet */

    uint64_t  reftable_offset;
    uint32_t  reftable_size; /* entries */
    uint64_t *reftable;

    uint64_t free_hint; /* no free cluster below it */
    uint64_t end;       /* of the file, once all that is allocated has been written */
    GArray  *releases;  /* Qcow2Release */

    Qcow2Cache l2_cache, refcount_cache;

    pthread_mutex_t unpacked_mutex; /* the compressed cluster that was unpacked last */
    uint64_t        unpacked_entry;
    uint8_t        *unpacked;
};

/* What a stretch of the disk is. */
typedef enum Qcow2Kind { QCOW2_NONE, QCOW2_ZEROS, QCOW2_DATA, QCOW2_PACKED } Qcow2Kind;

typedef struct Qcow2Run {
    Qcow2Kind kind;
    bool      own;   /* the cluster may be written in place (and is plain data, or zeros with a cluster behind them) */
    uint64_t  entry; /* of the first cluster */
    uint64_t  host;  /* DATA: where in the file the first byte lies; ZEROS: the cluster kept for it, 0 for none */
    uint64_t  len;   /* bytes that follow one another, from the offset asked for */
} Qcow2Run;

/* qcow2_header.c */
bool qcow2_read_header(Qcow2 *q, Error *err);
int  qcow2_write_reftable_pointer(Qcow2 *q);
int  qcow2_set_features(Qcow2 *q, uint64_t incompatible, uint64_t autoclear);

/* Something in the image contradicts the format or itself: says so once, marks it corrupt, and stops writing. Returns
 * EIO. Any lock. */
int qcow2_corrupt(Qcow2 *q, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* qcow2_cache.c */
void qcow2_cache_init(Qcow2Cache *c, Qcow2 *owner, unsigned n_slots, int (*make_room)(Qcow2 *q));
void qcow2_cache_free(Qcow2Cache *c);
int  qcow2_cache_read(Qcow2Cache *c, uint64_t offset, size_t at, void *to, size_t len);
bool qcow2_cache_has(Qcow2Cache *c, uint64_t offset);
/* With the lock held alone: the table to be changed, which counts as dirty from now on; valid until the next call.
 * `fresh`: it is new, all zeros, and not read from the file. */
int  qcow2_cache_edit(Qcow2Cache *c, uint64_t offset, bool fresh, uint8_t **data);
int  qcow2_cache_write_back(Qcow2Cache *c);
void qcow2_cache_forget(Qcow2Cache *c, uint64_t offset); /* the table is gone */

/* qcow2_refcount.c: with the lock held alone */
bool qcow2_load_reftable(Qcow2 *q, Error *err);
int  qcow2_allocate(Qcow2 *q, uint64_t wanted, uint64_t *offset, uint64_t *got); /* clusters; count 1 each */
int  qcow2_give_back(Qcow2 *q, uint64_t offset, uint64_t clusters); /* fresh ones that nothing ever led to */
void qcow2_release(Qcow2 *q, uint64_t offset, uint64_t len,
                   bool discard); /* when tables on disk do not say otherwise */
int  qcow2_apply_releases(Qcow2 *q);
int  qcow2_get_count(Qcow2 *q, uint64_t cluster, uint64_t *count);
int  qcow2_write_tables(Qcow2 *q); /* everything that is dirty, in order */

/* May [offset, offset + len) of the file hold data? Not where tables lie: then the image is corrupt. Any lock. */
int qcow2_check_overlap(Qcow2 *q, uint64_t offset, uint64_t len);

/* qcow2_map.c */
bool qcow2_load_l1(Qcow2 *q, Error *err);
int  qcow2_lookup(Qcow2 *q, uint64_t offset, uint64_t len, Qcow2Run *run);              /* any lock */
int  qcow2_get_l2(Qcow2 *q, uint64_t offset, bool make, uint64_t *table);               /* alone; one to be written */
int  qcow2_set_entries(Qcow2 *q, uint64_t offset, const uint64_t *entries, unsigned n); /* alone; in one table */
void qcow2_release_entry(Qcow2 *q, uint64_t entry, bool discard); /* what an entry led to is not used any more */

/* Where the packed data of an entry lies, as far as the file says. */
void qcow2_packed_range(const Qcow2 *q, uint64_t entry, uint64_t *offset, uint64_t *len);

/* qcow2_data.c: the driver's operations */
int qcow2_read(BlockNode *n, uint64_t offset, void *buf, size_t len);
int qcow2_write(BlockNode *n, uint64_t offset, const void *buf, size_t len);
int qcow2_flush(BlockNode *n);
int qcow2_zero(BlockNode *n, uint64_t offset, uint64_t len, bool unmap);
int qcow2_discard(BlockNode *n, uint64_t offset, uint64_t len);

/* qcow2_unpack.c */
int qcow2_unpack(Qcow2 *q, uint64_t entry, size_t at, void *buf, size_t len);

static inline uint64_t qcow2_in_cluster(const Qcow2 *q, uint64_t offset)
{
    return offset & (q->cluster_size - 1);
}

/* Is there something at an offset of the file, or will there be? */
static inline bool qcow2_is_inside(const Qcow2 *q, uint64_t offset)
{
    return offset < q->end || offset < q->node.file->size;
}

static inline unsigned qcow2_l2_index(const Qcow2 *q, uint64_t offset)
{
    return (unsigned)((offset >> q->cluster_bits) & ((UINT64_C(1) << q->l2_bits) - 1));
}

static inline uint64_t qcow2_l1_index(const Qcow2 *q, uint64_t offset)
{
    return offset >> (q->cluster_bits + q->l2_bits);
}

#endif
