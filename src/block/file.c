/* The protocols file and host_device: an image in a file of the host's, or on a whole disk or partition.
 *
 * With cache.direct=on (O_DIRECT) the kernel wants offsets, lengths and addresses aligned: what is not goes through an
 * aligned buffer, or for writes of odd ranges through a second descriptor and the page cache, written back at once.
 * Specification: open(2), fallocate(2), statx(2), fcntl(2). */

#include "block/hub.h"

#include "base/checked.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AIO_THREADS, AIO_NATIVE, AIO_IO_URING };
static const char *const aio_names[] = { "threads", "native", "io_uring", NULL };

enum { DIRECT_ALIGN = 4096, BOUNCE_SIZE = 1 << 20 };

typedef struct FileNode {
    BlockNode node;
    char     *filename, *absent_text;
    int       aio, locking;
    int       fd;
    int       buffered_fd; /* with cache.direct: the same file through the page cache; -1: none */
    bool      device;
    bool      cannot_punch, cannot_zero; /* racy, and harmless */
    /* Writes that were done, and how many of them the last flush has made durable. */
    _Atomic uint64_t written, flushed;
    _Atomic bool     lost; /* the kernel has thrown pages away that it could not write, and says so only once */
} FileNode;

static const Field file_options[] = {
    BLOCK_NODE_OPTIONS(FileNode, node),
    FIELD(FileNode, filename, "filename", .required = true, .help = "path of the file"),
    FIELD(FileNode, aio, "aio", .names = aio_names, .help = "how the host is asked: threads"),
    FIELD(FileNode, locking, "locking", .names = on_off_auto_names, .help = "keep others from opening it meanwhile"),
    FIELD(FileNode, absent_text, "pr-manager", .unsupported = true, .help = "persistent reservations"),
    {},
};

/* Why a file that is there cannot be opened, and what to do about it. */
static bool refuse_open(FileNode *f, int code, int flags, Error *err)
{
    const char *path = f->filename;
    if (g_str_has_prefix(path, "/dev/fdset/") && (code == ENOENT || code == EACCES)) {
        return error_set(err,
                         code == ENOENT ? "'%s': there is no such set of descriptors (-add-fd makes them)"
                                        : "'%s': no descriptor of the set is open for what is asked for",
                         path);
    }
    if (code == ENOENT) {
        g_autofree char *folder = g_path_get_dirname(path);
        return g_file_test(folder, G_FILE_TEST_IS_DIR)
                   ? error_set(err, "'%s': there is no such file (qemu-img create makes images)", path)
                   : error_set(err, "'%s': there is no folder '%s'", path, folder);
    }
    if ((code == EACCES || code == EPERM || code == EROFS) && (flags & O_ACCMODE) == O_RDWR) {
        return error_set_errno(err, code, "'%s': cannot open it for writing (read-only=on does not try)", path);
    }
    if (code == EINVAL && flags & O_DIRECT) {
        return error_set(err, "'%s': its file system has no direct I/O (cache=none, directsync, cache.direct=on)",
                         path);
    }
    if (code == ENOSYS || code == EISDIR) {
        return error_set(err, "'%s' is a folder, not an image", path);
    }
    return error_set_errno(err, code, "'%s': cannot open it", path);
}

static bool check_kind(FileNode *f, bool want_device, Error *err)
{
    struct stat st;
    if (fstat(f->fd, &st) < 0) {
        return error_set_errno(err, errno, "'%s'", f->filename);
    }
    if (S_ISDIR(st.st_mode)) {
        return error_set(err, "'%s' is a folder, not an image", f->filename);
    }
    f->device = S_ISBLK(st.st_mode);
    if (!f->device && !S_ISREG(st.st_mode)) {
        return error_set(err, "'%s' is neither a regular file nor a disk of the host", f->filename);
    }
    if (want_device != f->device) {
        return error_set(err,
                         want_device ? "'%s' is a regular file: driver=file is for those"
                                     : "'%s' is a disk of the host: driver=host_device is for those",
                         f->filename);
    }
    uint64_t size = (uint64_t)st.st_size;
    if (f->device && ioctl(f->fd, BLKGETSIZE64, &size) < 0) {
        return error_set_errno(err, errno, "'%s': the host does not say how large it is", f->filename);
    }
    if (size > INT64_MAX - BLOCK_SECTOR) {
        return error_set(err, "'%s' is too large", f->filename);
    }
    f->node.size = size;
    return true;
}

/* With auto-read-only=on it is opened to be read, until a writer comes (file_set_writable). */
static bool open_fd(FileNode *f, Error *err)
{
    BlockNode *n     = &f->node;
    BlockHost *host  = &n->hub->host;
    int        flags = O_CLOEXEC | O_NONBLOCK | (n->o.direct ? O_DIRECT : 0);
    n->writable      = !n->o.read_only && !n->o.auto_read_only;
    flags |= n->writable ? O_RDWR : O_RDONLY;
    f->fd = host->open(host->opaque, f->filename, flags, 0);
    if (f->fd < 0 && errno == EACCES && n->o.auto_read_only &&
        !n->o.read_only) { /* a descriptor that was handed down */
        int fd = host->open(host->opaque, f->filename, (flags & ~O_ACCMODE) | O_RDWR, 0);
        if (fd >= 0) {
            f->fd       = fd;
            n->writable = true;
            return true;
        }
        errno = EACCES;
    }
    return f->fd >= 0 || refuse_open(f, errno, flags, err);
}

static bool lock_image(FileNode *f, Error *err)
{
    BlockNode *n = &f->node;
    if (f->locking == ON_OFF_AUTO_OFF) {
        return true;
    }
    unsigned does  = IMAGE_READ | (n->writable ? IMAGE_WRITE | IMAGE_RESIZE : 0);
    unsigned bears = n->o.force_share ? IMAGE_ALL : IMAGE_READ | IMAGE_WRITE_UNCHANGED;
    return image_lock(f->fd, does, bears, f->locking == ON_OFF_AUTO_ON, err) ||
           error_prefix(err, "'%s': ", f->filename);
}

static void open_buffered(FileNode *f)
{
    BlockHost *host = &f->node.hub->host;
    f->buffered_fd  = f->node.o.direct && f->node.writable
                          ? host->open(host->opaque, f->filename, O_RDWR | O_CLOEXEC | O_NONBLOCK, 0)
                          : -1;
}

static bool open_file(BlockNode *n, bool device, Error *err)
{
    FileNode *f    = (FileNode *)n;
    f->buffered_fd = -1;
    if (f->aio != AIO_THREADS) {
        return error_set_unsupported(err, "aio=%s", aio_names[f->aio]);
    }
    if (!open_fd(f, err)) {
        return false;
    }
    open_buffered(f);
    if (check_kind(f, device, err) && lock_image(f, err)) {
        return true;
    }
    close(f->fd);
    if (f->buffered_fd >= 0) {
        close(f->buffered_fd);
    }
    return false;
}

static bool file_open(BlockNode *n, Error *err)
{
    return open_file(n, false, err);
}

static bool host_device_open(BlockNode *n, Error *err)
{
    return open_file(n, true, err);
}

static void file_close(BlockNode *n)
{
    FileNode *f = (FileNode *)n;
    image_unlock(f->fd); /* others may have what was opened, too */
    close(f->fd);
    if (f->buffered_fd >= 0) {
        close(f->buffered_fd);
    }
}

/* The file is opened again, as locks and the mode belong to what was opened. Nobody uses the node now. */
static bool file_set_writable(BlockNode *n, bool writable, Error *err)
{
    FileNode  *f     = (FileNode *)n;
    BlockHost *host  = &n->hub->host;
    int        flags = (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK | (n->o.direct ? O_DIRECT : 0);
    int        fd = host->open(host->opaque, f->filename, flags, 0), old = f->fd;
    if (fd < 0) {
        return (writable && (errno == EACCES || errno == EPERM || errno == EROFS)) || refuse_open(f, errno, flags, err);
    }
    struct stat before, now;
    if (fstat(old, &before) < 0 || fstat(fd, &now) < 0 || before.st_dev != now.st_dev || before.st_ino != now.st_ino) {
        close(fd);
        return error_set(err, "'%s' is another file by now", f->filename);
    }
    image_unlock(old);
    f->fd       = fd;
    n->writable = writable;
    if (!lock_image(f, err)) {
        g_auto(Error) ignored = {};
        f->fd                 = old;
        n->writable           = !writable;
        close(fd);
        lock_image(f, &ignored);
        return false;
    }
    if (f->buffered_fd >= 0) {
        close(f->buffered_fd);
    }
    open_buffered(f);
    close(old);
    return true;
}

/* pread() until all is there; zeros after the end of the file. */
static int read_all(int fd, uint64_t offset, uint8_t *buf, size_t len)
{
    while (len) {
        ssize_t got = pread(fd, buf, len, (off_t)offset);
        if (got < 0 && errno != EINTR) {
            return errno;
        }
        if (got == 0) {
            memset(buf, 0, len);
            return 0;
        }
        if (got > 0) {
            buf += got;
            len -= (size_t)got;
            offset += (uint64_t)got;
        }
    }
    return 0;
}

static int write_all(int fd, uint64_t offset, const uint8_t *buf, size_t len)
{
    while (len) {
        ssize_t put = pwrite(fd, buf, len, (off_t)offset);
        if (put < 0 && errno != EINTR) {
            return errno;
        }
        if (put == 0) {
            return ENOSPC;
        }
        if (put > 0) {
            buf += put;
            len -= (size_t)put;
            offset += (uint64_t)put;
        }
    }
    return 0;
}

static bool is_direct(const void *buf, uint64_t offset, size_t len)
{
    return !(((uintptr_t)buf | offset | len) & (DIRECT_ALIGN - 1));
}

/* Through a buffer that the kernel takes. */
static int read_bounced(FileNode *f, uint64_t offset, uint8_t *buf, size_t len)
{
    uint8_t *bounce = g_aligned_alloc(1, BOUNCE_SIZE, DIRECT_ALIGN);
    int      error  = 0;
    while (len && !error) {
        uint64_t from = align_down(offset, DIRECT_ALIGN);
        size_t   skip = (size_t)(offset - from), some = MIN(len, BOUNCE_SIZE - skip);
        error = read_all(f->fd, from, bounce, align_up(skip + some, DIRECT_ALIGN));
        memcpy(buf, bounce + skip, error ? 0 : some);
        buf += some;
        offset += some;
        len -= some;
    }
    g_aligned_free(bounce);
    return error;
}

static int write_bounced(FileNode *f, uint64_t offset, const uint8_t *buf, size_t len)
{
    if ((offset | len) & (DIRECT_ALIGN - 1)) {
        if (f->buffered_fd < 0) {
            return EIO;
        }
        int error = write_all(f->buffered_fd, offset, buf, len);
        return error ? error : fdatasync(f->buffered_fd) < 0 ? errno : 0;
    }
    uint8_t *bounce = g_aligned_alloc(1, BOUNCE_SIZE, DIRECT_ALIGN);
    int      error  = 0;
    while (len && !error) {
        size_t some = MIN(len, (size_t)BOUNCE_SIZE);
        memcpy(bounce, buf, some);
        error = write_all(f->fd, offset, bounce, some);
        buf += some;
        offset += some;
        len -= some;
    }
    g_aligned_free(bounce);
    return error;
}

static int file_read(BlockNode *n, uint64_t offset, void *buf, size_t len)
{
    FileNode *f = (FileNode *)n;
    return n->o.direct && !is_direct(buf, offset, len) ? read_bounced(f, offset, buf, len)
                                                       : read_all(f->fd, offset, buf, len);
}

/* Another thread may have made it larger meanwhile. */
static void grow(BlockNode *n, uint64_t end)
{
    uint64_t size = n->size;
    while (end > size && !atomic_compare_exchange_weak(&n->size, &size, end)) {
    }
}

static int file_write(BlockNode *n, uint64_t offset, const void *buf, size_t len)
{
    FileNode *f     = (FileNode *)n;
    int       error = n->o.direct && !is_direct(buf, offset, len) ? write_bounced(f, offset, buf, len)
                                                                  : write_all(f->fd, offset, buf, len);
    if (!error) {
        grow(n, offset + len);
    }
    f->written++;
    return error;
}

static size_t iov_total(const struct iovec *iov, unsigned n_iov)
{
    size_t total = 0;
    for (unsigned i = 0; i < n_iov; i++) {
        total += iov[i].iov_len;
    }
    return total;
}

/* One system call where it does the whole; what it leaves over, and what is not aligned, goes buffer by buffer. */
static int transfer(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov, bool write)
{
    FileNode *f    = (FileNode *)n;
    size_t    skip = 0;
    if (!n->o.direct && n_iov > 1 && n_iov <= IOV_MAX) {
        ssize_t some =
            write ? pwritev(f->fd, iov, (int)n_iov, (off_t)offset) : preadv(f->fd, iov, (int)n_iov, (off_t)offset);
        if (some < 0 && errno != EINTR) {
            return errno;
        }
        skip = some > 0 ? (size_t)some : 0;
        if (skip == iov_total(iov, n_iov)) {
            if (write) {
                grow(n, offset + skip);
                f->written++;
            }
            return 0;
        }
    }
    for (unsigned i = 0; i < n_iov; i++) {
        size_t done = MIN(skip, iov[i].iov_len), len = iov[i].iov_len - done;
        char  *at    = (char *)iov[i].iov_base + done;
        int    error = !len ? 0 : write ? file_write(n, offset + done, at, len) : file_read(n, offset + done, at, len);
        if (error) {
            return error;
        }
        skip -= done;
        offset += iov[i].iov_len;
    }
    return 0;
}

static int file_readv(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov)
{
    return transfer(n, offset, iov, n_iov, false);
}

static int file_writev(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov)
{
    return transfer(n, offset, iov, n_iov, true);
}

static int file_flush(BlockNode *n)
{
    FileNode *f   = (FileNode *)n;
    uint64_t  now = f->written, before = f->flushed;
    if (before >= now || f->lost || n->o.no_flush) {
        return f->lost && !n->o.no_flush ? EIO : 0;
    }
    if (fdatasync(f->fd) < 0) {
        f->lost |= errno == EIO && !n->o.direct;
        return errno;
    }
    while (before < now && !atomic_compare_exchange_weak(&f->flushed, &before, now)) {
    }
    return 0;
}

static int allocate(FileNode *f, int mode, uint64_t offset, uint64_t len)
{
    int done;
    do {
        done = fallocate(f->fd, mode, (off_t)offset, (off_t)len);
    } while (done < 0 && errno == EINTR);
    return done < 0 ? errno : 0;
}

static int file_zero(BlockNode *n, uint64_t offset, uint64_t len, bool unmap)
{
    FileNode *f     = (FileNode *)n;
    int       error = ENOTSUP;
    if (unmap && !f->cannot_punch && range_fits(offset, len, n->size)) {
        error           = allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
        f->cannot_punch = error == EOPNOTSUPP || error == ENODEV;
    }
    if (error && !f->cannot_zero) {
        error          = allocate(f, FALLOC_FL_ZERO_RANGE, offset, len);
        f->cannot_zero = error == EOPNOTSUPP || error == ENODEV;
        if (!error) {
            grow(n, offset + len);
        }
    }
    f->written++;
    return error == EOPNOTSUPP || error == ENODEV || error == EINVAL || error == EPERM ? ENOTSUP : error;
}

static int file_discard(BlockNode *n, uint64_t offset, uint64_t len)
{
    FileNode *f = (FileNode *)n;
    if (f->cannot_punch) {
        return 0;
    }
    int error       = allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, len);
    f->cannot_punch = error == EOPNOTSUPP || error == ENODEV;
    f->written++;
    return error == EOPNOTSUPP || error == ENODEV || error == EINVAL || error == EPERM ? 0 : error;
}

static int file_truncate(BlockNode *n, uint64_t size)
{
    if (ftruncate(((FileNode *)n)->fd, (off_t)size) < 0) {
        return errno;
    }
    n->size = size;
    return 0;
}

static uint64_t file_allocated(BlockNode *n)
{
    struct stat st;
    return fstat(((FileNode *)n)->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}

bool block_is_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

const char *block_node_filename(const BlockNode *n)
{
    while (n && !n->driver->protocol) {
        n = n->file;
    }
    return n ? ((const FileNode *)n)->filename : NULL;
}

#define FILE_OPERATIONS                                                                                                \
    .size = sizeof(FileNode), .options = file_options, .protocol = true, .close = file_close, .read = file_read,       \
    .readv = file_readv, .write = file_write, .writev = file_writev, .flush = file_flush, .zero = file_zero,           \
    .discard = file_discard, .truncate = file_truncate, .allocated = file_allocated, .set_writable = file_set_writable

const BlockDriver block_file = { .name = "file", .help = "a regular file", .open = file_open, FILE_OPERATIONS };

const BlockDriver block_host_device = {
    .name = "host_device", .help = "a disk or partition of the host", .open = host_device_open, FILE_OPERATIONS
};
