/* Touching memory ahead of its writer: see touch.h. */

#include "machine/touch.h"

#include "base/checked.h"
#include "base/text.h"

#include <sys/mman.h>
#include <unistd.h>

enum {
    STEP  = 2 << 20, /* a huge page: after each it is seen that nobody wants any more */
    WORTH = 2 << 20,
};

typedef struct Span {
    uint8_t *start;
    uint64_t len;
} Span;

void toucher_add(Toucher *t, uint8_t *start, uint64_t len)
{
    if (!t->spans) {
        t->spans = g_array_new(FALSE, FALSE, sizeof(Span));
    }
    for (uint64_t n; len; start += n, len -= n) {
        n         = MIN(len, (uint64_t)STEP);
        Span span = { start, n };
        g_array_append_val(t->spans, span);
    }
}

static gpointer touch(gpointer opaque)
{
    Toucher *t    = opaque;
    size_t   page = (size_t)sysconf(_SC_PAGESIZE);

    for (guint i = 0; i < t->spans->len && !t->stop; i++) {
        Span      span  = g_array_index(t->spans, Span, i);
        uintptr_t start = align_down((uintptr_t)span.start, page);
        size_t    len   = align_up((uintptr_t)span.start + span.len, page) - start;
        if (madvise((void *)start, len, MADV_POPULATE_WRITE) < 0) {
            break; /* before Linux 5.14, or the host is short of memory: whoever writes finds out */
        }
    }
    return NULL;
}

void toucher_start(Toucher *t)
{
    uint64_t total = 0;

    for (guint i = 0; t->spans && i < t->spans->len; i++) {
        total += g_array_index(t->spans, Span, i).len;
    }
    t->thread = total >= WORTH ? g_thread_try_new("touch", touch, t, NULL) : NULL;
}

void toucher_stop(Toucher *t)
{
    t->stop = true;
    if (t->thread) {
        g_thread_join(t->thread);
    }
    if (t->spans) {
        g_array_unref(t->spans);
    }
    *t = (Toucher){ 0 };
}
