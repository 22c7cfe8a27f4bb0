/* Having the host give all of a RAM block at once: see ram_block_populate().
 *
 * Several threads each take the next 64 MiB until none is left. Where memory runs out, a kernel with overcommit kills
 * somebody rather than refuse: so what is there is looked at before (the host's, and this control group's). The caller
 * waits and tells a terminal how far it is. */

#include "memory/ram.h"

#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PIECE = 64 << 20, MAX_THREADS = 16 };

typedef struct Populate {
    RamBlock        *ram;
    _Atomic uint64_t next, done;
    _Atomic int      error; /* errno of the first that failed */
    _Atomic unsigned running;
} Populate;

/* ---- What there is ---- */

static uint64_t read_number(const char *path)
{
    g_autofree char *text = NULL;
    return g_file_get_contents(path, &text, NULL, NULL) && g_ascii_isdigit(*text) ? g_ascii_strtoull(text, NULL, 10)
                                                                                  : UINT64_MAX;
}

/* What this process's control group (version 2) has left; UINT64_MAX: no limit. */
static uint64_t group_left(void)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/self/cgroup", &text, NULL, NULL) || !g_str_has_prefix(text, "0::")) {
        return UINT64_MAX;
    }
    g_autofree char *path  = g_strndup(text + 3, strcspn(text + 3, "\n"));
    g_autofree char *max   = g_strdup_printf("/sys/fs/cgroup%s/memory.max", path);
    g_autofree char *now   = g_strdup_printf("/sys/fs/cgroup%s/memory.current", path);
    uint64_t         limit = read_number(max), used = read_number(now);
    return limit == UINT64_MAX || used == UINT64_MAX ? UINT64_MAX : limit - MIN(used, limit);
}

static uint64_t host_left(void)
{
    g_autofree char *text = NULL;
    if (!g_file_get_contents("/proc/meminfo", &text, NULL, NULL)) {
        return UINT64_MAX;
    }
    const char *available = strstr(text, "MemAvailable:"), *swap = strstr(text, "SwapFree:");
    if (!available) {
        return UINT64_MAX;
    }
    return (g_ascii_strtoull(available + 13, NULL, 10) + (swap ? g_ascii_strtoull(swap + 9, NULL, 10) : 0)) * KiB;
}

static bool fail(const RamBlock *ram, int code, Error *err)
{
    g_autofree char *text = text_format_size(ram->size);
    return error_set_errno(err, code, "cannot allocate %s of guest memory", text);
}

static bool check_left(const RamBlock *ram, Error *err)
{
    uint64_t group = group_left(), left = MIN(group, host_left());
    if (ram->page_size != RAM_PAGE_SIZE || ram->size <= left) { /* huge pages are set apart: the host knows */
        return true;
    }
    g_autofree char *wanted = text_format_size(ram->size), *there = text_format_size(left);
    return error_set(err, "cannot allocate %s of guest memory: %s has %s left", wanted,
                     left == group ? "this process's control group" : "this host", there);
}

/* ---- Doing it ---- */

static int populate(RamBlock *ram, uint64_t at, uint64_t len)
{
    if (madvise(ram->host + at, len, ram->readonly ? MADV_POPULATE_READ : MADV_POPULATE_WRITE) == 0) {
        return 0;
    }
    if (errno != EINVAL || ram->page_size != RAM_PAGE_SIZE) {
        return errno;
    }
    for (uint64_t end = at + len; at < end; at += RAM_PAGE_SIZE) { /* before Linux 5.14 */
        volatile uint8_t *byte = ram->host + at;
        if (ram->readonly) {
            (void)*byte;
        } else {
            *byte = *byte;
        }
    }
    return 0;
}

static gpointer populate_thread(gpointer opaque)
{
    Populate *p = opaque;
    for (uint64_t at; !p->error && (at = atomic_fetch_add(&p->next, PIECE)) < p->ram->size;) {
        uint64_t len  = MIN((uint64_t)PIECE, p->ram->size - at);
        int      code = populate(p->ram, at, len), none = 0;
        if (code) {
            atomic_compare_exchange_strong(&p->error, &none, code);
        }
        p->done += len;
    }
    p->running--;
    return NULL;
}

/* Every two seconds. */
static void tell_progress(const Populate *p)
{
    gint64 next = g_get_monotonic_time() + 2 * G_USEC_PER_SEC;
    while (p->running) {
        g_usleep(1000);
        if (g_get_monotonic_time() >= next) {
            g_autofree char *done = text_format_size(p->done), *all = text_format_size(p->ram->size);
            info_report("guest memory: %s of %s allocated", done, all);
            next += 2 * G_USEC_PER_SEC;
        }
    }
}

bool ram_block_populate(RamBlock *ram, unsigned threads, Error *err)
{
    Populate p = { .ram = ram };
    GThread *thread[MAX_THREADS];
    unsigned pieces = (unsigned)MIN((ram->size + PIECE - 1) / PIECE, (uint64_t)MAX_THREADS);
    unsigned n      = MIN(MIN(threads ? threads : g_get_num_processors(), pieces), (unsigned)MAX_THREADS);

    if (!check_left(ram, err)) {
        return false;
    }
    p.running = n;
    for (unsigned i = 0; i < n; i++) {
        thread[i] = g_thread_new("prealloc", populate_thread, &p);
    }
    if (isatty(STDERR_FILENO)) {
        tell_progress(&p);
    }
    for (unsigned i = 0; i < n; i++) {
        g_thread_join(thread[i]);
    }
    return !p.error || fail(ram, p.error, err);
}
