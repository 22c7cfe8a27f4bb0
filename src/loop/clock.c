/* Clocks and timers: a heap of timers a clock, and one timerfd that is set to the earliest deadline of all.
 *
 * Clocks.mutex guards the heaps and what the timerfd is set to; it is a leaf (nothing is called under it). Timers
 * are taken off their heap and fired under the machine lock, which is why a cancel under that lock is final.
 *
 * vCPU threads rearm their local APIC timer thousands of times a second. The timerfd is therefore set, by whichever
 * thread arms the timer, only when the new deadline comes before the one it is set to: setting it later is left
 * to the main loop, which finds nothing due when the old time comes. A process without timers never wakes.
 *
 * The timerfd counts CLOCK_MONOTONIC. Deadlines of HOST_CLOCK are converted when it is set; a second timerfd, armed
 * far in the future while such deadlines exist, tells when the host's clock was set (TFD_TIMER_CANCEL_ON_SET). */

#include "loop/clock.h"

#include <errno.h>
#include <glib.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NEVER INT64_MAX

/* A pass of the main loop fires at most this many timers, so that file descriptors get their turn. */
enum { FIRE_BUDGET = 1000 };

typedef struct Heap {
    Timer  **timers;
    unsigned n, room;
} Heap;

struct Clocks {
    MachineLock    *lock;
    int             fd, jump_fd;
    pthread_mutex_t mutex;
    Heap            heaps[N_CLOCKS];
    uint64_t        n_armed; /* counts calls of timer_set: Timer.order */
    int64_t         wakeup;  /* what fd is set to (monotonic), NEVER for nothing */
    bool            jump_armed;

    /* The virtual clock: a sequence lock for readers; written under mutex. While running, virtual time is
     * monotonic time + offset, otherwise it is offset. */
    _Atomic uint32_t sequence;
    _Atomic bool     running;
    _Atomic int64_t  offset;
    bool             manual;
};

static int64_t host_time(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * NS_PER_SECOND + ts.tv_nsec;
}

static int64_t add_saturated(int64_t a, int64_t b)
{
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) {
        return b > 0 ? INT64_MAX : INT64_MIN;
    }
    return sum;
}

/* Reading the time. */

static int64_t virtual_now(const Clocks *c)
{
    for (;;) {
        /* Acquire loads keep their order, so the second look at the sequence comes last. */
        uint32_t before  = atomic_load_explicit(&c->sequence, memory_order_acquire);
        bool     running = atomic_load_explicit(&c->running, memory_order_acquire);
        int64_t  offset  = atomic_load_explicit(&c->offset, memory_order_acquire);
        uint32_t after   = atomic_load_explicit(&c->sequence, memory_order_acquire);
        if (before == after && !(before & 1)) {
            return running ? host_time(CLOCK_MONOTONIC) + offset : offset;
        }
    }
}

/* Mutex held. */
static void virtual_change(Clocks *c, bool running, int64_t offset)
{
    atomic_fetch_add(&c->sequence, 1);
    atomic_store_explicit(&c->running, running, memory_order_release);
    atomic_store_explicit(&c->offset, offset, memory_order_release);
    atomic_fetch_add(&c->sequence, 1);
}

int64_t clock_now(const Clocks *c, ClockKind kind)
{
    switch (kind) {
    case VIRTUAL_CLOCK: return virtual_now(c);
    case HOST_CLOCK: return host_time(CLOCK_REALTIME);
    default: return host_time(CLOCK_MONOTONIC);
    }
}

/* Heaps: children of n are 2n + 1 and 2n + 2. Mutex held. */

static int64_t deadline_of(const Timer *t)
{
    return atomic_load_explicit(&t->deadline, memory_order_relaxed);
}

static bool comes_before(const Timer *a, const Timer *b)
{
    int64_t da = deadline_of(a), db = deadline_of(b);
    return da < db || (da == db && a->order < b->order);
}

static void heap_put(Heap *h, unsigned at, Timer *t)
{
    h->timers[at] = t;
    t->index      = at;
}

static void heap_rise(Heap *h, unsigned at, Timer *t)
{
    while (at > 0 && comes_before(t, h->timers[(at - 1) / 2])) {
        heap_put(h, at, h->timers[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    heap_put(h, at, t);
}

static void heap_sink(Heap *h, unsigned at, Timer *t)
{
    for (;;) {
        unsigned child = 2 * at + 1;
        if (child + 1 < h->n && comes_before(h->timers[child + 1], h->timers[child])) {
            child++;
        }
        if (child >= h->n || !comes_before(h->timers[child], t)) {
            break;
        }
        heap_put(h, at, h->timers[child]);
        at = child;
    }
    heap_put(h, at, t);
}

static void heap_remove(Heap *h, Timer *t)
{
    unsigned at   = t->index;
    Timer   *last = h->timers[--h->n];
    if (last != t) {
        if (at > 0 && comes_before(last, h->timers[(at - 1) / 2])) {
            heap_rise(h, at, last);
        } else {
            heap_sink(h, at, last);
        }
    }
    atomic_store_explicit(&t->deadline, -1, memory_order_relaxed);
}

static void heap_insert(Heap *h, Timer *t)
{
    if (h->n == h->room) {
        h->room   = h->room ? 2 * h->room : 16;
        h->timers = g_renew(Timer *, h->timers, h->room);
    }
    heap_rise(h, h->n++, t);
}

/* The timerfd. Mutex held. */

/* Do timers of this clock fire by themselves when they are due? */
static bool clock_fires(const Clocks *c, ClockKind kind)
{
    return kind != VIRTUAL_CLOCK || c->manual || atomic_load_explicit(&c->running, memory_order_relaxed);
}

/* When, in monotonic time, a deadline of this clock comes: NEVER while its clock stands, 0 when it is past. */
static int64_t monotonic_deadline(const Clocks *c, ClockKind kind, int64_t deadline)
{
    switch (kind) {
    case VIRTUAL_CLOCK: {
        int64_t offset = atomic_load_explicit(&c->offset, memory_order_relaxed);
        if (atomic_load_explicit(&c->running, memory_order_relaxed)) {
            return add_saturated(deadline, -offset);
        }
        return c->manual && deadline <= offset ? 0 : NEVER;
    }
    case HOST_CLOCK: return add_saturated(deadline, host_time(CLOCK_MONOTONIC) - host_time(CLOCK_REALTIME));
    default: return deadline;
    }
}

static void fd_set_time(int fd, int flags, int64_t ns)
{
    struct itimerspec when = { 0 };
    if (ns != NEVER) {
        ns                    = MAX(ns, 1); /* 0 would disarm it */
        when.it_value.tv_sec  = ns / NS_PER_SECOND;
        when.it_value.tv_nsec = ns % NS_PER_SECOND;
    }
    int failed = timerfd_settime(fd, TFD_TIMER_ABSTIME | flags, &when, NULL);
    g_assert(!failed || errno == ECANCELED);
}

static void set_wakeup(Clocks *c, int64_t when)
{
    if (when != c->wakeup) {
        c->wakeup = when;
        fd_set_time(c->fd, 0, when);
    }
}

/* The host's clock may be set at any time while timers count on it. */
static void watch_jumps(Clocks *c)
{
    bool wanted = c->heaps[HOST_CLOCK].n > 0;
    if (wanted != c->jump_armed) {
        c->jump_armed = wanted;
        fd_set_time(c->jump_fd, TFD_TIMER_CANCEL_ON_SET, wanted ? INT64_MAX / 2 : NEVER);
    }
}

/* Sets the timerfd to the earliest of all deadlines. */
static void set_wakeup_to_earliest(Clocks *c)
{
    int64_t earliest = NEVER;
    for (int kind = 0; kind < N_CLOCKS; kind++) {
        if (c->heaps[kind].n) {
            earliest = MIN(earliest, monotonic_deadline(c, kind, deadline_of(c->heaps[kind].timers[0])));
        }
    }
    set_wakeup(c, earliest);
    watch_jumps(c);
}

/* Timers. */

void timer_init(Timer *t, Clocks *clocks, ClockKind kind, void (*fire)(void *opaque), void *opaque)
{
    *t = (Timer){ .clocks = clocks, .kind = kind, .fire = fire, .opaque = opaque, .deadline = -1 };
}

void timer_set(Timer *t, int64_t deadline)
{
    Clocks *c    = t->clocks;
    Heap   *heap = &c->heaps[t->kind];

    pthread_mutex_lock(&c->mutex);
    if (timer_armed(t)) {
        heap_remove(heap, t);
    }
    atomic_store_explicit(&t->deadline, MAX(deadline, 0), memory_order_relaxed);
    t->order = c->n_armed++;
    heap_insert(heap, t);
    if (heap->timers[0] == t) {
        int64_t when = monotonic_deadline(c, t->kind, deadline_of(t));
        if (when < c->wakeup) {
            set_wakeup(c, when);
        }
        if (t->kind == HOST_CLOCK) {
            watch_jumps(c);
        }
    }
    pthread_mutex_unlock(&c->mutex);
}

void timer_cancel(Timer *t)
{
    Clocks *c = t->clocks;
    if (!c) {
        return; /* never initialized: its owner failed half-way */
    }
    pthread_mutex_lock(&c->mutex);
    if (timer_armed(t)) {
        heap_remove(&c->heaps[t->kind], t);
    }
    pthread_mutex_unlock(&c->mutex);
}

/* Takes the first timer of `kind` whose deadline is not after `limit` off its heap. */
static bool take_due(Clocks *c, ClockKind kind, int64_t limit, void (**fire)(void *), void **opaque)
{
    bool due = false;
    pthread_mutex_lock(&c->mutex);
    Heap *heap = &c->heaps[kind];
    if (heap->n && deadline_of(heap->timers[0]) <= limit) {
        Timer *t = heap->timers[0];
        *fire    = t->fire;
        *opaque  = t->opaque;
        heap_remove(heap, t);
        due = true;
    }
    pthread_mutex_unlock(&c->mutex);
    return due;
}

void clocks_run(Clocks *c)
{
    g_assert(machine_lock_held(c->lock));

    /* Empties both descriptors: the count does not matter, and ECANCELED is how a jump is told. */
    uint64_t count;
    bool     jumped = read(c->jump_fd, &count, sizeof count) < 0 && errno == ECANCELED;
    pthread_mutex_lock(&c->mutex);
    if (jumped) {
        c->jump_armed = false; /* so that it is armed again, for the next jump */
    }
    if (read(c->fd, &count, sizeof count) > 0) {
        c->wakeup = NEVER;
    }
    pthread_mutex_unlock(&c->mutex);

    unsigned budget = FIRE_BUDGET;
    for (int kind = 0; kind < N_CLOCKS; kind++) {
        void (*fire)(void *opaque);
        void *opaque;

        pthread_mutex_lock(&c->mutex);
        bool idle = !c->heaps[kind].n;
        pthread_mutex_unlock(&c->mutex);
        if (idle) {
            continue;
        }
        /* What callbacks arm waits for the next pass unless it was due before this one began; a callback may
         * also stop the clock. */
        int64_t now = clock_now(c, kind);
        while (budget && clock_fires(c, kind) && take_due(c, kind, now, &fire, &opaque)) {
            fire(opaque);
            budget--;
        }
    }

    pthread_mutex_lock(&c->mutex);
    set_wakeup_to_earliest(c);
    pthread_mutex_unlock(&c->mutex);
}

/* The virtual clock. */

void clock_set_running(Clocks *c, bool running)
{
    g_assert(machine_lock_held(c->lock));
    pthread_mutex_lock(&c->mutex);
    if (!c->manual && running != atomic_load_explicit(&c->running, memory_order_relaxed)) {
        int64_t offset = atomic_load_explicit(&c->offset, memory_order_relaxed);
        int64_t now    = host_time(CLOCK_MONOTONIC);
        virtual_change(c, running, running ? offset - now : offset + now);
        set_wakeup_to_earliest(c);
    }
    pthread_mutex_unlock(&c->mutex);
}

void clock_set_virtual(Clocks *c, int64_t now)
{
    g_assert(machine_lock_held(c->lock));
    pthread_mutex_lock(&c->mutex);
    bool running = atomic_load_explicit(&c->running, memory_order_relaxed);
    virtual_change(c, running, running ? now - host_time(CLOCK_MONOTONIC) : now);
    set_wakeup_to_earliest(c);
    pthread_mutex_unlock(&c->mutex);
}

void clock_use_manual(Clocks *c)
{
    g_assert(machine_lock_held(c->lock));
    int64_t now = virtual_now(c);
    pthread_mutex_lock(&c->mutex);
    c->manual = true;
    virtual_change(c, false, now);
    set_wakeup_to_earliest(c);
    pthread_mutex_unlock(&c->mutex);
}

int64_t clock_step(Clocks *c, int64_t ns)
{
    g_assert(machine_lock_held(c->lock) && c->manual);
    int64_t target = add_saturated(virtual_now(c), MAX(ns, 0));
    int64_t next;
    while ((next = clock_next_deadline(c, VIRTUAL_CLOCK)) >= 0 && next <= target) {
        void (*fire)(void *opaque);
        void *opaque;
        if (next > virtual_now(c)) {
            clock_set_virtual(c, next);
        }
        if (take_due(c, VIRTUAL_CLOCK, next, &fire, &opaque)) {
            fire(opaque);
        }
    }
    /* A callback may have set the clock itself. */
    if (target > virtual_now(c)) {
        clock_set_virtual(c, target);
    }
    return virtual_now(c);
}

int64_t clock_next_deadline(const Clocks *c, ClockKind kind)
{
    Clocks *clocks = (Clocks *)c; /* the mutex is no part of its value */
    pthread_mutex_lock(&clocks->mutex);
    const Heap *heap     = &c->heaps[kind];
    int64_t     deadline = heap->n ? deadline_of(heap->timers[0]) : -1;
    pthread_mutex_unlock(&clocks->mutex);
    return deadline;
}

/* Making and freeing. */

Clocks *clocks_new(MachineLock *lock, Error *err)
{
    int fd      = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int jump_fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd < 0 || jump_fd < 0) {
        error_set_errno(err, errno, "cannot create a timer file descriptor");
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    Clocks *c  = g_new0(Clocks, 1);
    c->lock    = lock;
    c->fd      = fd;
    c->jump_fd = jump_fd;
    c->wakeup  = NEVER;
    pthread_mutex_init(&c->mutex, NULL);
    return c;
}

void clocks_free(Clocks *c)
{
    for (int kind = 0; kind < N_CLOCKS; kind++) {
        g_assert(c->heaps[kind].n == 0);
        g_free(c->heaps[kind].timers);
    }
    pthread_mutex_destroy(&c->mutex);
    close(c->fd);
    close(c->jump_fd);
    g_free(c);
}

int clocks_clock_fd(const Clocks *c)
{
    return c->fd;
}

int clocks_jump_fd(const Clocks *c)
{
    return c->jump_fd;
}
