/* Huge pages where the host has to work for each: see ram_block_defer_huge().
 *
 * A machine that is itself virtual often has 2 MiB pages only without memory behind them (free page reporting takes it
 * away): touching one takes 4 to 5 ms instead of 0.2, twenty times what a page of 4 KiB costs that was in use before.
 * A kernel that starts touches 50 of them and needs a third of what is in them. There it starts on small pages; when it
 * has had two seconds, a thread makes huge ones of them. (Debian's 6.1 with 1 GiB, from exec to /init: 1.4 instead of
 * 1.7 s. Without huge pages at all chains of pointers, forks and compilers are slower by a tenth to a quarter.) */

#include "memory/ram.h"

#include "base/huge.h"

#include <sys/mman.h>
#include <time.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

enum {
    WORTH    = HUGE_PAGE / RAM_PAGE_SIZE / 8, /* small pages there are for a huge one to be made */
    TRIED    = 4,
    DEAR_NS  = 1500000,
    PAUSE_US = 4000, /* between two: vCPUs may have no other CPU */
    WAIT_US  = 2 * G_USEC_PER_SEC,
};

typedef struct RamHuge {
    GThread *thread;
    GMutex   lock;
    GCond    wake;
    bool     stop;
} RamHuge;

/* Waits; false: it is to end. */
static bool wait_for(RamHuge *h, gint64 us)
{
    gint64 end = g_get_monotonic_time() + us;
    g_mutex_lock(&h->lock);
    while (!h->stop && g_cond_wait_until(&h->wake, &h->lock, end)) {
    }
    bool go_on = !h->stop;
    g_mutex_unlock(&h->lock);
    return go_on;
}

static bool is_worth_it(uint8_t *at)
{
    uint8_t  there[HUGE_PAGE / (int)RAM_PAGE_SIZE];
    unsigned n = 0;
    if (mincore(at, HUGE_PAGE, there) != 0) {
        return false;
    }
    for (unsigned i = 0; i < sizeof there; i++) {
        n += there[i] & 1;
    }
    return n >= WORTH;
}

static gpointer collapse(gpointer opaque)
{
    RamBlock *ram = opaque;
    if (!wait_for(ram->huge, WAIT_US)) {
        return NULL;
    }
    madvise(ram->host, ram->size, MADV_HUGEPAGE);
    for (uint64_t at = 0; ram->size - at >= HUGE_PAGE; at += HUGE_PAGE) {
        if (!is_worth_it(ram->host + at)) {
            continue;
        }
        /* A kernel that cannot, or has none, leaves it to khugepaged. */
        if (madvise(ram->host + at, HUGE_PAGE, MADV_COLLAPSE) == 0 && !wait_for(ram->huge, PAUSE_US)) {
            break;
        }
    }
    return NULL;
}

static int64_t thread_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

/* Touches a few: the first that a kernel gives may be one that was just freed. */
static bool are_dear(RamBlock *ram)
{
    uint8_t *tried = huge_new0(TRIED * HUGE_PAGE);
    bool     dear  = false;
    for (unsigned i = 0; i <= TRIED && !dear; i++) {
        /* The first one of RAM is the guest's sure to use; the others are for whoever asks next. */
        volatile uint8_t *at     = i ? tried + (i - 1) * HUGE_PAGE : ram->host;
        int64_t           before = thread_ns();
        *at                      = *at;
        dear                     = thread_ns() - before >= DEAR_NS;
    }
    huge_free(tried, TRIED * HUGE_PAGE);
    return dear;
}

void ram_block_defer_huge(RamBlock *ram)
{
    if (ram->shared || ram->fd >= 0 || ram->readonly || ram->size < 2 * HUGE_PAGE || ram->huge) {
        return;
    }
    if (!are_dear(ram) || madvise(ram->host, ram->size, MADV_NOHUGEPAGE) != 0) {
        return;
    }
    ram->huge = g_new0(RamHuge, 1);
    g_mutex_init(&ram->huge->lock);
    g_cond_init(&ram->huge->wake);
    ram->huge->thread = g_thread_new("huge pages", collapse, ram);
}

void ram_block_end_huge(RamBlock *ram)
{
    RamHuge *h = ram->huge;
    if (!h) {
        return;
    }
    g_mutex_lock(&h->lock);
    h->stop = true;
    g_cond_signal(&h->wake);
    g_mutex_unlock(&h->lock);
    g_thread_join(h->thread);
    g_mutex_clear(&h->lock);
    g_cond_clear(&h->wake);
    g_clear_pointer(&ram->huge, g_free);
}
