/* Work ahead of its owner: see ahead.h. */

#include "base/ahead.h"

#include "base/checked.h"
#include "base/signals.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    WISHES = 1024,    /* 2 GiB to touch */
    STEP   = 2 << 20, /* a huge page: after each it is seen that nobody wants any more */
};

typedef struct Wish {
    void (*work)(void *memory, size_t size); /* NULL: touch it */
    void  *memory;
    size_t size;
} Wish;

struct Ahead {
    GThread *thread;
    GMutex   lock;
    GCond    wake;
    bool     stop, refused;
    size_t   worth, asked; /* bytes; the thread starts when that many were asked for */
    unsigned first, n;
    Wish     wishes[WISHES];
};

static bool touch(void *memory, size_t size)
{
    return madvise(memory, size, MADV_POPULATE_WRITE) == 0; /* fails before Linux 5.14 */
}

static gpointer run(gpointer opaque)
{
    Ahead *a       = opaque;
    bool   touches = true;
    g_mutex_lock(&a->lock);
    for (;;) {
        while (!a->n && !a->stop) {
            g_cond_wait(&a->wake, &a->lock);
        }
        if (a->stop) {
            break;
        }
        Wish wish = a->wishes[a->first];
        a->first  = (a->first + 1) % WISHES;
        a->n--;
        g_mutex_unlock(&a->lock);
        if (wish.work) {
            wish.work(wish.memory, wish.size);
        } else {
            touches = touches && touch(wish.memory, wish.size);
        }
        g_mutex_lock(&a->lock);
    }
    g_mutex_unlock(&a->lock);
    return NULL;
}

Ahead *ahead_new(size_t worth)
{
    Ahead *a = g_new0(Ahead, 1);
    a->worth = worth;
    g_mutex_init(&a->lock);
    g_cond_init(&a->wake);
    return a;
}

void ahead_free(Ahead *a)
{
    if (!a) {
        return;
    }
    if (a->thread) {
        g_mutex_lock(&a->lock);
        a->stop = true;
        g_cond_signal(&a->wake);
        g_mutex_unlock(&a->lock);
        g_thread_join(a->thread);
    }
    g_mutex_clear(&a->lock);
    g_cond_clear(&a->wake);
    g_free(a);
}

static void start(Ahead *a)
{
    sigset_t before;
    signals_hold(&before);
    a->thread = g_thread_try_new("ahead", run, a, NULL);
    signals_let(&before);
    a->refused = !a->thread;
}

void ahead_ask(Ahead *a, void (*work)(void *memory, size_t size), void *memory, size_t size)
{
    g_mutex_lock(&a->lock);
    if (!a->refused && a->n < WISHES) {
        a->wishes[(a->first + a->n++) % WISHES] = (Wish){ .work = work, .memory = memory, .size = size };
        g_cond_signal(&a->wake);
    }
    g_mutex_unlock(&a->lock);
    a->asked += size;
    if (!a->thread && !a->refused && a->asked >= a->worth) {
        start(a);
    }
}

void ahead_ask_touch(Ahead *a, void *memory, size_t size)
{
    size_t    page  = (size_t)sysconf(_SC_PAGESIZE);
    uintptr_t start = align_down((uintptr_t)memory, page), end = align_up((uintptr_t)memory + size, page);
    for (; start < end; start += STEP) {
        ahead_ask(a, NULL, (void *)start, MIN(end - start, (size_t)STEP));
    }
}
