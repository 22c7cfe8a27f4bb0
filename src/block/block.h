/* The block layer: disk images of the host, and the drives that guests see them as.
 *
 * An image is a graph of nodes (driver.h): a protocol (file) below a format (raw, qcow2), with backing files below
 * that. A BlockUser connects a device to the top node; a Drive says where -drive, -hda and -cdrom want such a device.
 *
 * Requests are asynchronous. A device submits one with the machine lock held; a worker thread carries it out; `done` is
 * called on the main loop with the machine lock held, never from inside block_submit(). Requests are carried out in no
 * order: a device that wants two of them one after the other waits for the first. A flush makes durable every write
 * that was done before the flush was submitted.
 *
 * Workers see host memory of the request's owner only, never the guest's: a device copies in before it submits a write
 * (dma_read) and out in `done` (dma_write), both under the machine lock. Pages of guest RAM may move otherwise
 * (memory/ram.h), and a guest that changes a buffer under way sees at most its own mistake.
 *
 * All functions: machine lock held, unless they say otherwise. */

#ifndef QUERN_BLOCK_BLOCK_H
#define QUERN_BLOCK_BLOCK_H

#include "desc/field.h"
#include "loop/loop.h"

#include <sys/uio.h>

enum { BLOCK_SECTOR = 512 };

typedef struct BlockHub     BlockHub;  /* all nodes, drives and worker threads of one machine */
typedef struct BlockNode    BlockNode; /* one image file as one driver sees it */
typedef struct BlockUser    BlockUser; /* a device's connection to a node */
typedef struct BlockRequest BlockRequest;

typedef enum BlockOp {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,   /* offset and size do not matter */
    BLOCK_ZERO,    /* reads as zeros afterwards */
    BLOCK_DISCARD, /* a hint: what is read there afterwards is not said, unless nothing else writes: old data or zeros
                    */
} BlockOp;

enum { BLOCK_OPS = BLOCK_DISCARD + 1 };

/* Embedded in, or allocated by, whoever submits it; it and the buffers stay until `done` is called. */
struct BlockRequest {
    BlockOp             op;
    uint64_t            offset, size; /* bytes; multiples of BLOCK_SECTOR; inside block_user_size() */
    const struct iovec *iov;          /* READ and WRITE: host buffers, `size` bytes together. Any alignment */
    unsigned            n_iov;
    bool                fua; /* WRITE and ZERO: durable when done */
    /* 0, or an errno value: EIO, ENOSPC, EACCES (a write to what is read-only), EINVAL (outside the disk), ENOMEDIUM;
     * ECANCELED from block_cancel() only: then the owner frees what it has and touches nothing of the guest's. */
    void (*done)(BlockRequest *r, int error);
    void *opaque;

    /* The block layer's. */
    BlockUser    *user;
    struct iovec  one; /* block_read() and block_write() */
    int           error;
    uint8_t       state;
    int64_t       since;       /* when it was submitted, in ns of the host's monotonic clock */
    BlockRequest *next, *prev; /* of the user's list */
    BlockRequest *queued;      /* of the workers' queue, then of those that are done */
};

/* What becomes of an error of the host's: told to the guest, left out (it sees success), or the machine stops and the
 * request is tried again when it goes on. The layer does all of it: a device sees what it is to report. */
typedef enum BlockOnError { BLOCK_ERROR_REPORT, BLOCK_ERROR_IGNORE, BLOCK_ERROR_STOP, BLOCK_ERROR_ENOSPC } BlockOnError;

/* By BlockOp. */
typedef struct BlockStats {
    uint64_t operations[BLOCK_OPS], bytes[BLOCK_OPS], time_ns[BLOCK_OPS], failed[BLOCK_OPS], invalid[BLOCK_OPS];
    uint64_t highest; /* end of the highest write */
} BlockStats;

/* Embedded in the device; all zeros before block_attach() and after block_detach(). */
struct BlockUser {
    BlockHub     *hub;
    BlockNode    *node;        /* NULL: no medium */
    struct Drive *drive;       /* the drive it came by; NULL: -device drive=NODE */
    char         *name;        /* of the device, for messages */
    bool          writable;    /* writes are taken */
    bool          write_cache; /* the guest is told of a write cache; without it each write is durable when done */
    BlockOnError  on_read_error, on_write_error;
    BlockRequest *requests; /* all that are not done */
    BlockStats    stats;
    /* The device sets them after block_attach(). */
    const struct Object    *owner; /* what queries show and commands name; NULL: none */
    const struct BlockTray *tray;  /* NULL: the medium stays */
    BlockUser              *next;  /* of the hub's list */
};

/* A drive whose medium can change, by what the device does. Only drives that read (BLOCK_READS) have one. */
typedef struct BlockTray {
    bool (*is_open)(const BlockUser *user);
    bool (*is_locked)(const BlockUser *user); /* by the guest */
    void (*move)(BlockUser *user, bool open); /* somebody outside does it, locked or not; calls block_tray_moved() */
    void (*ask_eject)(BlockUser *user);       /* the button was pressed while it is locked: the guest decides */
    void (*changed)(BlockUser *user);         /* user->node is another one, or NULL; the tray is open */
} BlockTray;

/* The tray has moved, whoever has moved it. */
void block_tray_moved(BlockUser *user, bool open);

/* How a device means to use a medium. */
typedef enum BlockAccess {
    BLOCK_READS,         /* a CD-ROM: an image that could be written is not */
    BLOCK_WRITES,        /* a hard disk: refuses an image that is read-only */
    BLOCK_WRITES_IF_CAN, /* user->writable says which */
} BlockAccess;

/* Connects a device to the drive or node called `drive` (a drive's id first). One user a node that writes, and one a
 * drive. A drive without a medium gives user->node == NULL and is no error: the device says whether it can do
 * without. `name` is what messages call the device ("ide-hd 'disk0'"). */
bool block_attach(BlockUser *user, BlockHub *hub, const char *drive, BlockAccess access, const char *name, Error *err);

/* Waits for requests that are under way, and flushes. `done` is called for each (ECANCELED). Fine when not attached. */
void block_detach(BlockUser *user);

/* Bytes, a multiple of BLOCK_SECTOR (a raw file's last sector is filled up with zeros). 0: no medium. Any thread. */
uint64_t block_user_size(const BlockUser *user);

void block_submit(BlockUser *user, BlockRequest *r);

/* The same with op, offset, size and one buffer filled in; `done` and `opaque` are the caller's. */
void block_read(BlockUser *user, BlockRequest *r, uint64_t offset, void *buf, size_t size);
void block_write(BlockUser *user, BlockRequest *r, uint64_t offset, const void *buf, size_t size);

/* For a reset: no request of the user's is left afterwards. Those that no worker has begun are not carried out; waits
 * for the others (the host's disk sets how long). `done` is called for each with ECANCELED before this returns. */
void block_cancel(BlockUser *user);

/* Waits until all requests of the user (all users: block_hub_drain) are done, and calls `done`. What is held because
 * the machine has stopped for an error stays held. */
void block_drain(BlockUser *user);

/* --- media that change --- */

/* By drive id, or by the id or path of the device. NULL: there is none, or its medium stays. */
BlockUser *block_find_removable(BlockHub *hub, const char *name, Error *err);

/* A tray that the guest has locked opens by force only; the guest is asked then. */
bool block_open_tray(BlockUser *user, bool force, Error *err);
void block_close_tray(BlockUser *user);

/* With the tray open. Takes a reference to `n`. */
bool block_remove_medium(BlockUser *user, Error *err);
bool block_insert_medium(BlockUser *user, BlockNode *n, Error *err);

/* All of it. format NULL: guessed. When the image cannot be opened everything stays as it was. */
bool block_change_medium(BlockUser *user, const char *path, const char *format, bool force, Error *err);
bool block_eject(BlockUser *user, bool force, Error *err);

/* --- drives --- */

typedef enum DriveInterface {
    DRIVE_IDE,
    DRIVE_SCSI,
    DRIVE_SD,
    DRIVE_MTD,
    DRIVE_FLOPPY,
    DRIVE_PFLASH,
    DRIVE_VIRTIO,
    DRIVE_NONE, /* for -device drive=ID */
    N_DRIVE_INTERFACES
} DriveInterface;

extern const char *const drive_interface_names[]; /* as if= has them; NULL-terminated */

typedef struct Drive {
    char          *id; /* id=, else made up as in "ide0-hd1" */
    DriveInterface interface;
    bool           cdrom;
    unsigned       bus, unit; /* IDE: channel, and 0 or 1 on it; meaningless with DRIVE_NONE */
    BlockNode     *node;      /* NULL: no medium */
    bool           write_cache;
    BlockOnError   on_read_error, on_write_error;
    BlockUser     *user; /* the device that has it; NULL: none yet */
} Drive;

extern const Field drive_options[]; /* keys of -drive that are no node's */

/* Adds what one -drive describes. */
Drive *drive_add(BlockHub *hub, const Json *options, bool lenient, Error *err);

/* The drive at a place, for boards that make a device for each; NULL: none. drive_find: by id. */
Drive *drive_at(BlockHub *hub, DriveInterface interface, unsigned bus, unsigned unit);
Drive *drive_find(BlockHub *hub, const char *id);
void   drive_foreach(BlockHub *hub, void (*visit)(Drive *drive, void *opaque), void *opaque);

/* When all devices are there: is every drive that wants a device of the board's used by one? */
bool drives_check_used(BlockHub *hub, Error *err);

/* --- the hub --- */

/* How paths are opened: open() that knows /dev/fdset/N. -1 and errno. */
typedef struct BlockHost {
    int (*open)(void *opaque, const char *path, int flags, int mode);
    void *opaque;
    /* An error stops the machine (werror=stop ...), asynchronously; may be NULL: then it is reported to the guest. */
    void (*stop)(void *opaque, const BlockUser *user, BlockOp op, int error);
    void (*tray_moved)(void *opaque, const BlockUser *user, bool open); /* for management; may be NULL */
} BlockHost;

/* `host` is copied. NULL on error. */
BlockHub *block_hub_new(Loop *loop, const BlockHost *host, Error *err);

/* Every user is detached. Flushes and closes all nodes and ends the threads. NULL is fine. */
void block_hub_free(BlockHub *hub);

void block_hub_drain(BlockHub *hub);

/* All data is on stable storage afterwards, as far as nodes do not say cache.no-flush. false: one of them failed
 * (warned of). For a machine that stops. */
bool block_hub_flush(BlockHub *hub);

/* The machine goes on: what was held for an error is tried again. */
void block_hub_retry(BlockHub *hub);

/* -blockdev and blockdev-add: {"driver": D, "node-name": N, ...}. The hub keeps it. */
BlockNode *block_add_node(BlockHub *hub, const Json *options, bool lenient, Error *err);
bool       block_remove_node(BlockHub *hub, const char *name, Error *err); /* fails while it is used */
BlockNode *block_find_node(BlockHub *hub, const char *name);

const char *block_node_name(const BlockNode *n);

/* Answers of QMP. The caller frees. */
Json *block_query_drives(BlockHub *hub);            /* query-block */
Json *block_query_nodes(BlockHub *hub, bool flat);  /* query-named-block-nodes; flat: without backing images */
Json *block_query_stats(BlockHub *hub, bool nodes); /* query-blockstats; of nodes instead of drives */

#endif
