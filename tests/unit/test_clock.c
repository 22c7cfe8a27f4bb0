/* Clocks and timers: order, cancelling, manual stepping, stopping, other threads. */

#include "loop/clock.h"
#include "loop/loop.h"

#include <poll.h>
#include <string.h>

typedef struct Rig {
    MachineLock lock;
    Loop       *loop;
    Clocks     *clocks;
    GString    *fired; /* one letter a timer that fired */
} Rig;

typedef struct Probe {
    Timer   timer;
    Rig    *rig;
    char    letter;
    int64_t seen;           /* the clock when it fired */
    int64_t again;          /* rearms itself by this much, if not 0 */
    Timer  *cancels, *arms; /* what its callback does to others */
    int64_t arms_at;
} Probe;

static void rig_open(Rig *rig)
{
    g_auto(Error) err = { 0 };
    machine_lock_init(&rig->lock);
    machine_lock(&rig->lock);
    rig->loop = loop_new(&rig->lock, &err);
    g_assert_nonnull(rig->loop);
    rig->clocks = loop_clocks(rig->loop);
    rig->fired  = g_string_new(NULL);
}

static void rig_close(Rig *rig)
{
    loop_free(rig->loop);
    machine_unlock(&rig->lock);
    machine_lock_destroy(&rig->lock);
    g_string_free(rig->fired, TRUE);
}

static void probe_fired(void *opaque)
{
    Probe *p = opaque;
    g_assert_true(machine_lock_held(&p->rig->lock));
    g_assert_false(timer_armed(&p->timer));
    p->seen = clock_now(p->rig->clocks, p->timer.kind);
    g_string_append_c(p->rig->fired, p->letter);
    if (p->again) {
        timer_set(&p->timer, p->seen + p->again);
    }
    if (p->cancels) {
        timer_cancel(p->cancels);
    }
    if (p->arms) {
        timer_set(p->arms, p->arms_at);
    }
}

static void probe_init(Probe *p, Rig *rig, ClockKind kind, char letter)
{
    memset(p, 0, sizeof *p);
    p->rig    = rig;
    p->letter = letter;
    timer_init(&p->timer, rig->clocks, kind, probe_fired, p);
}

static void test_manual_order(void)
{
    Rig   rig;
    Probe p[26];
    rig_open(&rig);
    clock_use_manual(rig.clocks);
    g_assert_cmpint(clock_now(rig.clocks, VIRTUAL_CLOCK), ==, 0);
    g_assert_cmpint(clock_next_deadline(rig.clocks, VIRTUAL_CLOCK), ==, -1);
    for (int i = 0; i < 26; i++) {
        probe_init(&p[i], &rig, VIRTUAL_CLOCK, 'a' + i);
    }
    /* Armed in an order that is neither up nor down; 'a' first of all; y and z at the same time, in that order. */
    for (int i = 0; i < 25; i++) {
        int n = i * 7 % 25;
        timer_set(&p[n].timer, 100 + 10 * n);
    }
    timer_set(&p[25].timer, 100 + 10 * 24);
    g_assert_cmpint(clock_next_deadline(rig.clocks, VIRTUAL_CLOCK), ==, 100);
    g_assert_cmpint(clock_step(rig.clocks, 99), ==, 99);
    g_assert_cmpstr(rig.fired->str, ==, "");
    g_assert_cmpint(clock_step(rig.clocks, 1), ==, 100);
    g_assert_cmpstr(rig.fired->str, ==, "a");
    timer_cancel(&p[2].timer);
    timer_set(&p[3].timer, 10000);
    g_assert_cmpint(clock_step(rig.clocks, 1000), ==, 1100);
    g_assert_cmpstr(rig.fired->str, ==, "abefghijklmnopqrstuvwxyz");
    g_assert_cmpint(p[4].seen, ==, 140);
    g_assert_cmpint(clock_next_deadline(rig.clocks, VIRTUAL_CLOCK), ==, 10000);
    timer_cancel(&p[3].timer);
    rig_close(&rig);
}

static void test_manual_chain(void)
{
    Rig   rig;
    Probe a, b, c;
    rig_open(&rig);
    clock_use_manual(rig.clocks);
    probe_init(&a, &rig, VIRTUAL_CLOCK, 'a');
    probe_init(&b, &rig, VIRTUAL_CLOCK, 'b');
    probe_init(&c, &rig, VIRTUAL_CLOCK, 'c');
    a.again   = 30; /* 30, 60, 90 */
    b.arms    = &c.timer;
    b.arms_at = 70; /* armed at 50, between two of a */
    timer_set(&a.timer, 30);
    timer_set(&b.timer, 50);
    clock_step(rig.clocks, 100);
    g_assert_cmpstr(rig.fired->str, ==, "abaca");
    g_assert_cmpint(c.seen, ==, 70);
    g_assert_cmpint(a.timer.deadline, ==, 120);

    /* One that cancels what is due at the same moment. */
    a.again   = 0;
    a.cancels = &c.timer;
    timer_set(&c.timer, 120);
    g_string_truncate(rig.fired, 0);
    clock_step(rig.clocks, 100);
    g_assert_cmpstr(rig.fired->str, ==, "a");
    g_assert_false(timer_armed(&c.timer));
    rig_close(&rig);
}

/* In manual mode a timer that is due already fires on the loop. */
static void test_manual_past(void)
{
    Rig   rig;
    Probe a, b;
    rig_open(&rig);
    clock_use_manual(rig.clocks);
    clock_step(rig.clocks, 1000);
    probe_init(&a, &rig, VIRTUAL_CLOCK, 'a');
    probe_init(&b, &rig, VIRTUAL_CLOCK, 'b');
    timer_set(&a.timer, 500);
    timer_set(&b.timer, 1500);
    loop_step(rig.loop, true);
    loop_step(rig.loop, false);
    g_assert_cmpstr(rig.fired->str, ==, "a");
    timer_set(&a.timer, -5);
    g_assert_cmpint(a.timer.deadline, ==, 0);
    timer_cancel(&a.timer);
    timer_cancel(&b.timer);
    rig_close(&rig);
}

static void test_virtual_stands(void)
{
    Rig   rig;
    Probe v, r;
    rig_open(&rig);
    probe_init(&v, &rig, VIRTUAL_CLOCK, 'v');
    probe_init(&r, &rig, REALTIME_CLOCK, 'r');
    clock_set_virtual(rig.clocks, 5000);
    timer_set(&v.timer, 5000 + NS_PER_MS);
    timer_set(&r.timer, clock_now(rig.clocks, REALTIME_CLOCK) + 3 * NS_PER_MS);
    while (!rig.fired->len) {
        loop_step(rig.loop, true);
    }
    g_assert_cmpstr(rig.fired->str, ==, "r");
    g_assert_cmpint(clock_now(rig.clocks, VIRTUAL_CLOCK), ==, 5000);

    clock_set_running(rig.clocks, true);
    while (rig.fired->len < 2) {
        loop_step(rig.loop, true);
    }
    g_assert_cmpstr(rig.fired->str, ==, "rv");
    g_assert_cmpint(v.seen, >=, 5000 + NS_PER_MS);
    clock_set_running(rig.clocks, false);
    int64_t stopped = clock_now(rig.clocks, VIRTUAL_CLOCK);
    g_assert_cmpint(stopped, >=, v.seen);
    g_assert_cmpint(clock_now(rig.clocks, VIRTUAL_CLOCK), ==, stopped);
    rig_close(&rig);
}

static void test_wall_clock(void)
{
    Rig   rig;
    Probe h;
    rig_open(&rig);
    probe_init(&h, &rig, HOST_CLOCK, 'h');
    int64_t want = clock_now(rig.clocks, HOST_CLOCK) + 2 * NS_PER_MS;
    timer_set(&h.timer, want);
    loop_step(rig.loop, true);
    while (!rig.fired->len) {
        loop_step(rig.loop, true);
    }
    g_assert_cmpint(h.seen, >=, want);
    rig_close(&rig);
}

/* Nothing armed: nothing to read, ever. Arming later than what is set does not touch the descriptor. */
static void test_no_wakeups(void)
{
    Rig   rig;
    Probe a, b;
    rig_open(&rig);
    struct pollfd fd = { .fd = clocks_clock_fd(rig.clocks), .events = POLLIN };
    probe_init(&a, &rig, REALTIME_CLOCK, 'a');
    probe_init(&b, &rig, REALTIME_CLOCK, 'b');
    g_assert_cmpint(poll(&fd, 1, 5), ==, 0);
    timer_set(&a.timer, clock_now(rig.clocks, REALTIME_CLOCK) + NS_PER_MS);
    timer_cancel(&a.timer);
    /* It wakes once for the deadline that went away, and never again. */
    g_assert_cmpint(poll(&fd, 1, 1000), ==, 1);
    loop_step(rig.loop, false);
    g_assert_cmpint(poll(&fd, 1, 5), ==, 0);
    g_assert_cmpstr(rig.fired->str, ==, "");
    rig_close(&rig);
}

/* A timer that is always due does not starve the loop. */
static bool deferred_ran;

static void deferred(void *opaque)
{
    deferred_ran = true;
}

static void test_always_due(void)
{
    Rig   rig;
    Probe a;
    rig_open(&rig);
    probe_init(&a, &rig, REALTIME_CLOCK, 'a');
    a.arms       = &a.timer;
    a.arms_at    = 1;
    deferred_ran = false;
    timer_set(&a.timer, 1);
    loop_step(rig.loop, true);
    g_assert_cmpuint(rig.fired->len, >, 0);
    loop_defer(rig.loop, deferred, NULL);
    for (int i = 0; i < 3 && !deferred_ran; i++) {
        loop_step(rig.loop, true);
    }
    g_assert_true(deferred_ran);
    timer_cancel(&a.timer);
    rig_close(&rig);
}

/* Threads arm and cancel their timer, as vCPUs do; under the machine lock a cancel is final. */
enum { N_THREADS = 4, N_ROUNDS = 2000 };

typedef struct Worker {
    Timer    timer;
    Rig     *rig;
    bool     may_fire; /* machine lock */
    unsigned fired;
    unsigned seed;
} Worker;

static void worker_fired(void *opaque)
{
    Worker *w = opaque;
    g_assert_true(w->may_fire);
    w->fired++;
}

static gpointer worker_run(gpointer opaque)
{
    Worker *w = opaque;
    for (int i = 0; i < N_ROUNDS; i++) {
        int64_t now = clock_now(w->rig->clocks, VIRTUAL_CLOCK);
        w->seed     = w->seed * 1103515245 + 12345;
        if (i % 8) {
            timer_set(&w->timer, now + (w->seed >> 16) % 20000);
        } else {
            machine_lock(&w->rig->lock);
            timer_cancel(&w->timer);
            w->may_fire = false;
            machine_unlock(&w->rig->lock);
            g_thread_yield();
            machine_lock(&w->rig->lock);
            w->may_fire = true;
            timer_set(&w->timer, now + 1000);
            machine_unlock(&w->rig->lock);
        }
    }
    machine_lock(&w->rig->lock);
    timer_cancel(&w->timer);
    w->may_fire = false;
    machine_unlock(&w->rig->lock);
    return NULL;
}

typedef struct Joiner {
    GThread *threads[N_THREADS];
    Loop    *loop;
} Joiner;

static gpointer join_all(gpointer opaque)
{
    Joiner *j = opaque;
    for (int i = 0; i < N_THREADS; i++) {
        g_thread_join(j->threads[i]);
    }
    loop_quit(j->loop);
    return NULL;
}

static void test_threads(void)
{
    Rig    rig;
    Worker workers[N_THREADS];
    Joiner joiner;
    rig_open(&rig);
    clock_set_running(rig.clocks, true);
    joiner.loop = rig.loop;
    for (int i = 0; i < N_THREADS; i++) {
        workers[i] = (Worker){ .rig = &rig, .may_fire = true, .seed = 77 + i };
        timer_init(&workers[i].timer, rig.clocks, VIRTUAL_CLOCK, worker_fired, &workers[i]);
        joiner.threads[i] = g_thread_new("worker", worker_run, &workers[i]);
    }
    GThread *thread = g_thread_new("join", join_all, &joiner);
    loop_run(rig.loop);
    unsigned fired = 0;
    for (int i = 0; i < N_THREADS; i++) {
        fired += workers[i].fired;
    }
    g_assert_cmpuint(fired, >, 0);
    g_thread_join(thread);
    rig_close(&rig);
}

static void test_muldiv(void)
{
    g_assert_cmpuint(muldiv64(UINT64_MAX, 3, 4), ==, 13835058055282163711ull);
    g_assert_cmpuint(muldiv64(UINT64_MAX, UINT64_MAX, UINT64_MAX), ==, UINT64_MAX);
    g_assert_cmpuint(muldiv64(1000000007, 1193182, 1000000000), ==, 1193182);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/clock/manual/order", test_manual_order);
    g_test_add_func("/clock/manual/chain", test_manual_chain);
    g_test_add_func("/clock/manual/past", test_manual_past);
    g_test_add_func("/clock/virtual", test_virtual_stands);
    g_test_add_func("/clock/wall", test_wall_clock);
    g_test_add_func("/clock/no-wakeups", test_no_wakeups);
    g_test_add_func("/clock/always-due", test_always_due);
    g_test_add_func("/clock/threads", test_threads);
    g_test_add_func("/clock/muldiv", test_muldiv);
    return g_test_run();
}
