/* Block nodes from the inside: what drivers implement and what they call.
 *
 * Drivers are plain sequential code. open and close run with the machine lock held while nobody else uses the node;
 * everything else runs on worker threads, several at a time for one node, without the machine lock: a driver with
 * state beyond its file descriptor has a lock of its own. Errors are errno values; 0 is success.
 *
 * Ranges given to a driver lie inside node->size, but for `file`, which formats may make grow. */

#ifndef QUERN_BLOCK_DRIVER_H
#define QUERN_BLOCK_DRIVER_H

#include "block/block.h"

#include <stdatomic.h>

typedef struct BlockDriver BlockDriver;

enum { BLOCK_PROBE_SIZE = 4096, BLOCK_MAX_DEPTH = 64 };

enum { BLOCK_DISCARD_IGNORE, BLOCK_DISCARD_OFF, BLOCK_DISCARD_UNMAP, BLOCK_DISCARD_ON };
enum { BLOCK_DETECT_ZEROES_OFF, BLOCK_DETECT_ZEROES_ON, BLOCK_DETECT_ZEROES_UNMAP };

/* Options of every node; children get those of their parent where they do not say otherwise. */
typedef struct BlockNodeOptions {
    char *driver, *node_name;
    bool  read_only, auto_read_only, force_share;
    bool  direct, no_flush; /* cache.* */
    int   discard, detect_zeroes;
} BlockNodeOptions;

struct BlockNode {
    const BlockDriver *driver;
    BlockHub          *hub;
    char              *name;           /* node-name=, or made up: "#block012" */
    BlockNodeOptions   o;              /* as they were given or inherited */
    BlockNode         *file;           /* what a format lies in; a reference */
    BlockNode         *backing;        /* what is read where the format has nothing; NULL: zeros */
    _Atomic uint64_t   size;           /* bytes; of a format a multiple of BLOCK_SECTOR */
    bool               writable;       /* the driver takes writes */
    bool               probed;         /* the format was guessed */
    bool               keeps;          /* the hub holds a reference: -blockdev */
    bool               no_backing;     /* backing=null */
    const BlockNode   *above;          /* while it is opened: the parent */
    unsigned           depth;          /* parents above it then: a chain that is too long is refused */
    unsigned           refs;           /* parents, drives, users, the hub */
    unsigned           users, writers; /* devices and parents that use it, and those of them that write */
    char              *used_by;        /* one of those, for messages */
    BlockNode         *next;           /* of the hub's list */
};

struct BlockDriver {
    const char  *name, *help;
    size_t       size;     /* of the struct that embeds BlockNode first */
    const Field *options;  /* of that struct, with BLOCK_NODE_OPTIONS; may not be NULL */
    bool         protocol; /* no `file` below */
    bool         backing;  /* takes backing= */
    /* Does a file that begins like this have the format? NULL: never guessed. */
    bool (*probe)(const uint8_t *head, size_t len);
    /* node->file is open; sets size and writable. On failure nothing is left but what options own. */
    bool (*open)(BlockNode *n, Error *err);
    void (*close)(BlockNode *n);
    int (*read)(BlockNode *n, uint64_t offset, void *buf, size_t len);
    int (*write)(BlockNode *n, uint64_t offset, const void *buf, size_t len); /* NULL: read-only */
    /* The same with many buffers; NULL: one by one. */
    int (*readv)(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov);
    int (*writev)(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov);
    int (*flush)(BlockNode *n); /* all the way down; NULL: that of node->file */
    /* Zeros from here on; `unmap`: the space may be given back. NULL or ENOTSUP: zeros are written. */
    int (*zero)(BlockNode *n, uint64_t offset, uint64_t len, bool unmap);
    int (*discard)(BlockNode *n, uint64_t offset, uint64_t len); /* NULL: nothing happens */
    /* auto-read-only=on: a writer comes to a node that nobody uses, or has gone. What must not be written stays
     * read-only, which is no error. NULL: the node is writable or not once and for all. */
    bool (*set_writable)(BlockNode *n, bool writable, Error *err);
    int (*truncate)(BlockNode *n, uint64_t size); /* protocols */
    uint64_t (*allocated)(BlockNode *n);          /* bytes of the host's, for queries; may be NULL */
    void (*describe)(BlockNode *n, Json *image);  /* adds to "image" of queries; may be NULL. Machine lock */
};

extern const BlockDriver block_file, block_host_device, block_raw, block_qcow2;
extern const Field       block_node_options[]; /* of BlockNodeOptions */

#define BLOCK_NODE_OPTIONS(Type, node) FIELDS_OF(Type, node.o, block_node_options)

/* --- the graph: machine lock held --- */

/* Opens what `options` describe, children first. `parent`: whose options are inherited, NULL for defaults; `backing`:
 * as a backing file is, read-only. The caller owns a reference. NULL on error. */
BlockNode *block_open(BlockHub *hub, const Json *options, bool lenient, const BlockNode *parent, bool backing,
                      Error *err);

/* A path or "file:PATH"; with `format` NULL the format is guessed. `more` are options for the format node, `more_file`
 * for the protocol node (both may be NULL). */
BlockNode *block_open_path(BlockHub *hub, const char *path, const char *format, const Json *more, const Json *more_file,
                           bool lenient, const BlockNode *parent, bool backing, Error *err);

BlockNode *block_node_ref(BlockNode *n);
void block_node_unref(BlockNode *n); /* NULL is fine; the last one flushes and closes it, and drops its children */

/* Registers a user that reads, or writes, what others must not write meanwhile. `who` for messages, copied. */
bool block_node_use(BlockNode *n, bool writes, const char *who, Error *err);
bool block_node_may_write(const BlockNode *n); /* it is writable, or becomes so for a writer if the host lets it */
void block_node_unuse(BlockNode *n, bool writes);

/* The path of the file that it lies in; NULL: in none. */
const char *block_node_filename(const BlockNode *n);

/* Resolves `path` as relative to the folder of `base`. The caller frees. */
char *block_relative_path(const char *base, const char *path);

bool block_is_device(const char *path);                /* a disk or partition of the host */
bool block_check_driver(const char *name, Error *err); /* is there such a driver, and is it built? */

/* The driver whose format a file that begins like this has; raw when it has none. */
const BlockDriver *block_probe(const uint8_t *head, size_t len);

/* An empty qcow2 image in a temporary file, which nobody else sees and which is gone with the node, over `below`. It
 * has its reference to `below`, and the caller one to it. NULL on error. */
BlockNode *block_open_temporary(BlockNode *below, Error *err);

/* Writes an empty qcow2 image of `size` bytes into a file that is empty. An errno value. */
int qcow2_create(BlockNode *file, uint64_t size);

/* --- data: any thread, without the machine lock; also in open and close --- */

int block_node_read(BlockNode *n, uint64_t offset, void *buf, size_t len);
int block_node_write(BlockNode *n, uint64_t offset, const void *buf, size_t len);
int block_node_readv(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov);
int block_node_writev(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov);
int block_node_flush(BlockNode *n);
int block_node_zero(BlockNode *n, uint64_t offset, uint64_t len, bool unmap);
int block_node_discard(BlockNode *n, uint64_t offset, uint64_t len);

bool block_is_zero(const void *buf, size_t len);

/* --- image locks (lock.c) --- */

/* What an opener does with a file, and what it bears others doing: bits of both. */
enum { IMAGE_READ = 1, IMAGE_WRITE = 2, IMAGE_WRITE_UNCHANGED = 4, IMAGE_RESIZE = 8, IMAGE_ALL = 15 };

/* Takes the locks, which last as long as the open file does. `must`: a file system without locks is an error. */
bool image_lock(int fd, unsigned does, unsigned bears, bool must, Error *err);
void image_unlock(int fd);

#endif
