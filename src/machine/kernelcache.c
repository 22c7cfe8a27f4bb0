/* The cache of unpacked kernels: see kernelcache.h.
 *
 * A file is a header, the beginning of the unpacked file without what is zeros (half of Debian's kernel is), and the
 * packed one that it comes from. The header has a
 * checksum for each step of the unpacked bytes, which are checked while they are read, still in the processor's cache:
 * CRC32C (RFC 3720, appendix B.4), for which processors have an instruction. The file's name is made of little of the
 * packed kernel; that it is the right one is known when all of it has been compared.
 *
 * A file is written under another name and renamed when it is complete; after that nobody writes to it. It is read with
 * pread(), never mapped: what happens to it is an error then, not a signal. */

#include "machine/kernelcache.h"

#include "base/checked.h"
#include "base/huge.h"
#include "base/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <nmmintrin.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
    VERSION     = 1,
    STEP        = 256 << 10, /* what has a checksum of its own */
    MAX_STEPS   = 1968,
    PIECE       = 64 << 10, /* read and checked, or written, at once: little enough to stay in a core's cache */
    NAMED_AFTER = 64 << 10, /* of the packed kernel's beginning and end */
    MAX_PACKED  = 256 << 20,
    MAX_FILES   = 4,
    FREE_SHARE  = 10,  /* all files together take up to a part of this many of what the file system has left */
    STALE       = 600, /* seconds, after which somebody's unfinished file is one that was left behind */
    NICE        = 15,  /* little beside a busy guest, and yet done within seconds of one processor shared with it */
};

static const char magic[8]     = { 'Q', 'u', 'e', 'r', 'n', 'K', 'r', 'n' };
static const char suffix[]     = ".unpacked";
static const char unfinished[] = ".writing-";

typedef struct Header {
    char     magic[8];
    uint32_t version;
    uint32_t check; /* of the header, with zero here */
    uint64_t size, packed_len;
    uint64_t stored; /* bytes that are in the file, of `size` */
    uint32_t steps[MAX_STEPS];
    uint8_t  zeros[MAX_STEPS / 8]; /* a bit for each step: it is zeros, and not in the file */
    uint8_t  rest[34];
} Header;

_Static_assert(sizeof(Header) == 8192, "the data begins at a page");

struct KernelCache {
    int folder;

    /* What is being saved: header, unpacked and packed kernel; the writer's between kernel_cache_save() and the end of
     * the thread. */
    Header      *file;     /* NULL: nothing */
    size_t       file_len; /* in memory */
    char        *name;
    GThread     *writer;
    _Atomic bool stop;
};

/* Something to read: a step or a part of one. */
typedef struct Want {
    uint64_t       at; /* in the unpacked file, or in the packed one */
    size_t         len;
    bool           zeroed; /* what is not in the file is at `to` already */
    uint8_t       *to;     /* NULL: is it ... */
    const uint8_t *same;   /* ... what is here? */
} Want;

struct KeptKernel {
    int            fd;
    Header         header;
    uint64_t       places[MAX_STEPS]; /* of the steps, in the file */
    const uint8_t *packed;
    GArray        *wants; /* Want */

    GMutex       lock; /* on `next` */
    guint        next; /* of the wants that no thread has taken */
    _Atomic bool bad;
};

/* ---- Checksums ---- */

static uint32_t checksum(uint32_t crc, const uint8_t *p, size_t len)
{
    uint64_t c = ~crc;

    for (; len >= 8; p += 8, len -= 8) {
        uint64_t v;
        memcpy(&v, p, sizeof v);
        c = _mm_crc32_u64(c, v);
    }
    for (; len; p++, len--) {
        c = _mm_crc32_u8((uint32_t)c, *p);
    }
    return ~(uint32_t)c;
}

static uint32_t header_checksum(const Header *header)
{
    g_autofree Header *h = g_memdup2(header, sizeof *header);
    h->check             = 0;
    return checksum(0, (const uint8_t *)h, sizeof *h);
}

/* ---- The folder ---- */

char *kernel_cache_folder(void)
{
    const char *cache = g_getenv("XDG_CACHE_HOME"), *home = g_getenv("HOME");

    if (cache && g_path_is_absolute(cache)) { /* relative ones are to be ignored (XDG Base Directory Specification) */
        return g_build_filename(cache, "quern", "unpacked", NULL);
    }
    return home && g_path_is_absolute(home) ? g_build_filename(home, ".cache", "quern", "unpacked", NULL) : NULL;
}

static bool trusted(const struct stat *st)
{
    return st->st_uid == geteuid() && !(st->st_mode & (S_IWGRP | S_IWOTH));
}

KernelCache *kernel_cache_new(const char *folder)
{
    struct stat st;

    g_mkdir_with_parents(folder, 0700);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    if (fstat(fd, &st) < 0 || !trusted(&st)) {
        close(fd);
        return NULL;
    }
    KernelCache *c = g_new0(KernelCache, 1);
    c->folder      = fd;
    return c;
}

static char *make_name(const uint8_t *packed, size_t len)
{
    size_t   n   = MIN(len, (size_t)NAMED_AFTER);
    uint32_t crc = checksum(checksum(0, packed, n), packed + len - n, n);
    return g_strdup_printf("%zx-%08" PRIx32 "%s", len, crc, suffix);
}

/* ---- Reading ---- */

static bool read_all(int fd, uint64_t at, void *to, size_t len)
{
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(fd, (uint8_t *)to + done, len - done, (off_t)(at + done));
        if (n <= 0 && !(n < 0 && errno == EINTR)) {
            return false;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static bool step_is_zeros(const Header *h, uint64_t step)
{
    return h->zeros[step / 8] >> step % 8 & 1;
}

static size_t step_len(const Header *h, uint64_t step)
{
    return (size_t)MIN((uint64_t)STEP, h->size - step * STEP);
}

/* Where the steps are; false: that is not what the header says. */
static bool find_places(KeptKernel *k)
{
    const Header *h  = &k->header;
    uint64_t      at = sizeof *h;

    for (uint64_t i = 0; i * STEP < h->size; i++) {
        k->places[i] = at;
        at += step_is_zeros(h, i) ? 0 : step_len(h, i);
    }
    return at == sizeof *h + h->stored;
}

static bool check_file(KeptKernel *k, size_t packed_len)
{
    const Header *h = &k->header;
    struct stat   st;

    return fstat(k->fd, &st) == 0 && S_ISREG(st.st_mode) && trusted(&st) && read_all(k->fd, 0, &k->header, sizeof *h) &&
           memcmp(h->magic, magic, sizeof magic) == 0 && h->version == VERSION && h->check == header_checksum(h) &&
           h->size <= (uint64_t)MAX_STEPS * STEP && h->packed_len == packed_len && find_places(k) &&
           (uint64_t)st.st_size == sizeof *h + h->stored + h->packed_len;
}

KeptKernel *kernel_cache_find(const KernelCache *c, const uint8_t *packed, size_t packed_len)
{
    if (!c) {
        return NULL;
    }
    g_autofree char *name = make_name(packed, packed_len);
    /* O_NONBLOCK: it might be a FIFO */
    int fd = openat(c->folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    KeptKernel *k = g_new0(KeptKernel, 1);
    k->fd         = fd;
    k->packed     = packed;
    k->wants      = g_array_new(FALSE, FALSE, sizeof(Want));
    g_mutex_init(&k->lock);
    if (!check_file(k, packed_len)) {
        kept_kernel_close(k);
        return NULL;
    }
    return k;
}

uint64_t kept_kernel_size(const KeptKernel *k)
{
    return k->header.size;
}

void kept_kernel_close(KeptKernel *k)
{
    if (!k) {
        return;
    }
    close(k->fd);
    g_mutex_clear(&k->lock);
    g_array_unref(k->wants);
    g_free(k);
}

static bool compare(const KeptKernel *k, const Want *w, uint8_t *scratch)
{
    return read_all(k->fd, sizeof k->header + k->header.stored + w->at, scratch, w->len) &&
           memcmp(scratch, w->same, w->len) == 0;
}

/* A whole step goes where it belongs, part of one through `scratch`, which has room for a step. */
static bool read_step(const KeptKernel *k, const Want *w, uint8_t *scratch)
{
    uint64_t step = w->at / STEP;
    size_t   all  = step_len(&k->header, step);
    uint8_t *to   = w->len == all ? w->to : scratch;
    uint32_t crc  = 0;

    if (step_is_zeros(&k->header, step)) {
        if (!w->zeroed) {
            memset(w->to, 0, w->len);
        }
        return true;
    }
    for (size_t done = 0, n; done < all; done += n) {
        n = MIN(all - done, (size_t)PIECE);
        if (!read_all(k->fd, k->places[step] + done, to + done, n)) {
            return false;
        }
        crc = checksum(crc, to + done, n);
    }
    if (crc != k->header.steps[step]) {
        return false;
    }
    if (to == scratch) {
        memcpy(w->to, scratch + w->at % STEP, w->len);
    }
    return true;
}

void kept_kernel_want(KeptKernel *k, uint64_t at, uint8_t *to, size_t len, bool zeroed)
{
    if (!range_fits(at, len, k->header.size)) {
        k->bad = true;
        return;
    }
    for (size_t n; len; at += n, to += n, len -= n) {
        n      = (size_t)MIN(len, STEP - at % STEP);
        Want w = { .at = at, .len = n, .to = to, .zeroed = zeroed };
        g_array_append_val(k->wants, w);
    }
}

/* The next wants for a thread: what shares a huge page, most likely, so that the host does not clear it for both. */
static bool take_wants(KeptKernel *k, guint *first, guint *end)
{
    g_mutex_lock(&k->lock);
    *first = *end = k->next;
    for (; *end < k->wants->len; ++*end) {
        const Want *a = &g_array_index(k->wants, Want, *first), *w = &g_array_index(k->wants, Want, *end);
        if (!a->to != !w->to || a->at / HUGE_PAGE != w->at / HUGE_PAGE) {
            break;
        }
    }
    k->next = *end;
    g_mutex_unlock(&k->lock);
    return *first < *end && !k->bad;
}

static gpointer fetch_thread(gpointer opaque)
{
    KeptKernel *k       = opaque;
    uint8_t    *scratch = g_malloc(STEP);
    guint       i, end;

    while (take_wants(k, &i, &end)) {
        for (; i < end && !k->bad; i++) {
            const Want *w  = &g_array_index(k->wants, Want, i);
            bool        ok = w->to ? read_step(k, w, scratch) : compare(k, w, scratch);
            if (!ok) {
                k->bad = true;
            }
        }
    }
    g_free(scratch);
    return NULL;
}

bool kept_kernel_fetch(KeptKernel *k)
{
    for (uint64_t at = 0; at < k->header.packed_len; at += STEP) {
        Want w = { .at = at, .len = MIN((uint64_t)STEP, k->header.packed_len - at), .same = k->packed + at };
        g_array_append_val(k->wants, w);
    }
    GThread *helper = g_thread_try_new("kernel-read", fetch_thread, k, NULL);
    fetch_thread(k);
    if (helper) {
        g_thread_join(helper);
    }
    g_array_set_size(k->wants, 0);
    k->next = 0;
    if (!k->bad) {
        futimens(k->fd, NULL); /* it is in use: others go first */
    }
    return !k->bad;
}

bool kept_kernel_read(KeptKernel *k, uint64_t at, uint8_t *to, size_t len)
{
    uint8_t *scratch = g_malloc(STEP);

    g_assert(k->wants->len == 0);
    kept_kernel_want(k, at, to, len, false);
    for (guint i = 0; i < k->wants->len && !k->bad; i++) {
        k->bad = !read_step(k, &g_array_index(k->wants, Want, i), scratch);
    }
    g_free(scratch);
    g_array_set_size(k->wants, 0);
    return !k->bad;
}

/* ---- Making room ---- */

typedef struct Entry {
    char    *name;
    int64_t  used; /* nanoseconds */
    uint64_t size;
} Entry;

static void clear_entry(gpointer entry)
{
    g_free(((Entry *)entry)->name);
}

static gint compare_use(gconstpointer a, gconstpointer b)
{
    const Entry *p = a, *q = b;
    return p->used < q->used ? -1 : p->used > q->used;
}

/* The files there are but for ours, the longest unused first; what was left behind is removed on the way. */
static GArray *list_files(const KernelCache *c)
{
    GArray        *files = g_array_new(FALSE, FALSE, sizeof(Entry));
    int            fd    = openat(c->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR           *dir   = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;

    g_array_set_clear_func(files, clear_entry);
    if (!dir) {
        if (fd >= 0) {
            close(fd);
        }
        return files;
    }
    while ((e = readdir(dir))) {
        struct stat st;
        if (fstatat(c->folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || S_ISDIR(st.st_mode)) {
            continue;
        }
        if (g_str_has_prefix(e->d_name, unfinished)) {
            if (g_get_real_time() / G_USEC_PER_SEC - st.st_mtime > STALE) {
                unlinkat(c->folder, e->d_name, 0);
            }
        } else if (g_str_has_suffix(e->d_name, suffix) && strcmp(e->d_name, c->name) != 0) {
            Entry entry = { g_strdup(e->d_name), st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec,
                            (uint64_t)st.st_size };
            g_array_append_val(files, entry);
        }
    }
    closedir(dir);
    g_array_sort(files, compare_use);
    return files;
}

static uint64_t size_limit(const KernelCache *c)
{
    struct statvfs fs;
    return fstatvfs(c->folder, &fs) < 0 ? 0 : (uint64_t)fs.f_bavail * fs.f_frsize / FREE_SHARE;
}

static uint64_t stored_size(const KernelCache *c)
{
    return sizeof *c->file + c->file->stored + c->file->packed_len;
}

static void make_room(const KernelCache *c, uint64_t limit)
{
    g_autoptr(GArray) files = list_files(c);
    uint64_t total          = stored_size(c);

    for (guint i = 0; i < files->len; i++) {
        total += g_array_index(files, Entry, i).size;
    }
    for (guint i = 0; i < files->len && (files->len - i >= MAX_FILES || total > limit); i++) {
        const Entry *e = &g_array_index(files, Entry, i);
        unlinkat(c->folder, e->name, 0);
        total -= e->size;
    }
}

/* ---- Saving ---- */

static uint8_t *file_data(const KernelCache *c)
{
    return (uint8_t *)(c->file + 1);
}

static void release(KernelCache *c)
{
    huge_free(c->file, c->file_len);
    c->file = NULL;
    g_clear_pointer(&c->name, g_free);
}

static bool is_zeros(const uint8_t *p, size_t len)
{
    return p[0] == 0 && memcmp(p, p + 1, len - 1) == 0;
}

static bool fill_header(KernelCache *c)
{
    Header *h = c->file;

    memcpy(h->magic, magic, sizeof magic);
    h->version = VERSION;
    for (uint64_t i = 0; i * STEP < h->size && !c->stop; i++) {
        const uint8_t *data = file_data(c) + i * STEP;
        if (is_zeros(data, step_len(h, i))) {
            h->zeros[i / 8] |= (uint8_t)(1 << i % 8);
        } else {
            h->steps[i] = checksum(0, data, step_len(h, i));
            h->stored += step_len(h, i);
        }
    }
    h->check = header_checksum(h);
    return !c->stop;
}

static bool write_bytes(KernelCache *c, int fd, const void *data, size_t len)
{
    for (size_t done = 0; done < len && !c->stop;) {
        ssize_t n = write(fd, (const uint8_t *)data + done, MIN(len - done, (size_t)PIECE));
        if (n < 0 && errno != EINTR) {
            return false;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return !c->stop;
}

static bool write_all(KernelCache *c, int fd)
{
    const Header *h  = c->file;
    bool          ok = write_bytes(c, fd, h, sizeof *h);

    for (uint64_t i = 0; ok && i * STEP < h->size; i++) {
        ok = step_is_zeros(h, i) || write_bytes(c, fd, file_data(c) + i * STEP, step_len(h, i));
    }
    return ok && write_bytes(c, fd, file_data(c) + h->size, h->packed_len);
}

static void write_file(KernelCache *c)
{
    uint64_t limit = size_limit(c);

    if (!fill_header(c) || stored_size(c) > limit) {
        return;
    }
    g_autofree char *temporary = g_strdup_printf("%s%d-%08" PRIx32, unfinished, (int)getpid(), g_random_int());
    int              fd = openat(c->folder, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return;
    }
    bool ok = write_all(c, fd);
    ok      = close(fd) == 0 && ok;
    if (ok) {
        make_room(c, limit);
    }
    if (!ok || renameat(c->folder, temporary, c->folder, c->name) < 0) {
        unlinkat(c->folder, temporary, 0);
    }
}

static gpointer write_thread(gpointer opaque)
{
    KernelCache *c = opaque;

    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);
    write_file(c);
    release(c);
    return NULL;
}

uint8_t *kernel_cache_begin(KernelCache *c, const uint8_t *packed, size_t packed_len, uint64_t size)
{
    if (!c || c->writer || c->file || size == 0 || size > (uint64_t)MAX_STEPS * STEP || packed_len > MAX_PACKED) {
        return NULL;
    }
    c->file_len = sizeof(Header) + size + packed_len;
    c->file     = huge_try_new0(c->file_len);
    if (!c->file) {
        return NULL;
    }
    c->name             = make_name(packed, packed_len);
    c->file->size       = size;
    c->file->packed_len = packed_len;
    memcpy(file_data(c) + size, packed, packed_len);
    return file_data(c);
}

void kernel_cache_save(KernelCache *c)
{
    c->writer = g_thread_try_new("kernel-save", write_thread, c, NULL);
    if (!c->writer) {
        release(c);
    }
}

void kernel_cache_drop(KernelCache *c)
{
    release(c);
}

void kernel_cache_free(KernelCache *c)
{
    if (!c) {
        return;
    }
    c->stop = true;
    if (c->writer) {
        g_thread_join(c->writer);
    }
    if (c->file) {
        release(c);
    }
    close(c->folder);
    g_free(c);
}
