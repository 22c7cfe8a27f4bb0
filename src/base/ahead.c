/* Work ahead of its owner: see ahead.h. */

#include "base/ahead.h"

#include <glib.h>
#include <stdbool.h>
#include <sys/mman.h>

enum { WISHES = 16 };

typedef struct Wish {
    void (*work)(void *memory, size_t size);
    void  *memory;
    size_t size;
} Wish;

struct Ahead {
    GThread *thread;
    GMutex   lock;
    GCond    wake;
    bool     stop, refused;
    unsigned first, n;
    Wish     wishes[WISHES];
};

static gpointer run(gpointer opaque)
{
    Ahead *a = opaque;
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
        wish.work(wish.memory, wish.size);
        g_mutex_lock(&a->lock);
    }
    g_mutex_unlock(&a->lock);
    return NULL;
}

Ahead *ahead_new(void)
{
    Ahead *a = g_new0(Ahead, 1);
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

void ahead_ask(Ahead *a, void (*work)(void *memory, size_t size), void *memory, size_t size)
{
    if (!a->thread && !a->refused) {
        a->thread  = g_thread_try_new("ahead", run, a, NULL);
        a->refused = !a->thread; /* all works without */
    }
    g_mutex_lock(&a->lock);
    if (a->thread && a->n < WISHES) {
        a->wishes[(a->first + a->n++) % WISHES] = (Wish){ .work = work, .memory = memory, .size = size };
        g_cond_signal(&a->wake);
    }
    g_mutex_unlock(&a->lock);
}

void ahead_touch(void *memory, size_t size)
{
    (void)madvise(memory, size, MADV_POPULATE_WRITE); /* Linux before 5.14: the owner touches it */
}
