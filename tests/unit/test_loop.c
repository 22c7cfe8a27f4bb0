/* The main loop: descriptors, deferred calls, signals, quitting; the machine lock; RCU. */

#include "loop/loop.h"
#include "loop/rcu.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct Rig {
    MachineLock lock;
    Loop       *loop;
    unsigned    events; /* what the last callback got */
    int         calls;
    int         fds[2];
    Source     *source;
} Rig;

static void rig_open(Rig *rig)
{
    g_auto(Error) err = { 0 };
    *rig              = (Rig){ 0 };
    machine_lock_init(&rig->lock);
    rig->loop = loop_new(&rig->lock, &err);
    g_assert_nonnull(rig->loop);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, rig->fds), ==, 0);
}

static void rig_close(Rig *rig)
{
    loop_unwatch(rig->source);
    loop_free(rig->loop);
    machine_lock_destroy(&rig->lock);
    close(rig->fds[0]);
    if (rig->fds[1] >= 0) {
        close(rig->fds[1]);
    }
}

static void ready(void *opaque, unsigned events)
{
    Rig *rig = opaque;
    g_assert_true(machine_lock_held(&rig->lock));
    rig->events = events;
    rig->calls++;
}

static void expect(Rig *rig, unsigned events)
{
    rig->events = 0;
    loop_step(rig->loop, events != 0);
    g_assert_cmpuint(rig->events, ==, events);
}

static void test_watch(void)
{
    Rig  rig;
    char buf[4];
    rig_open(&rig);
    rig.source = loop_watch(rig.loop, rig.fds[0], LOOP_READ, ready, &rig);
    expect(&rig, 0);
    g_assert_cmpint(write(rig.fds[1], "x", 1), ==, 1);
    expect(&rig, LOOP_READ);
    expect(&rig, LOOP_READ);
    loop_watch_set(rig.source, LOOP_READ | LOOP_WRITE);
    expect(&rig, LOOP_READ | LOOP_WRITE);
    loop_watch_set(rig.source, 0);
    expect(&rig, 0);
    loop_watch_set(rig.source, LOOP_READ);
    expect(&rig, LOOP_READ);
    g_assert_cmpint(read(rig.fds[0], buf, sizeof buf), ==, 1);
    expect(&rig, 0);

    /* The end of the other side. */
    close(rig.fds[1]);
    rig.fds[1] = -1;
    expect(&rig, LOOP_READ);
    loop_watch_set(rig.source, LOOP_READ | LOOP_HANGUP);
    expect(&rig, LOOP_READ | LOOP_HANGUP);
    loop_watch_set(rig.source, LOOP_HANGUP);
    expect(&rig, LOOP_HANGUP);
    loop_watch_set(rig.source, 0);
    expect(&rig, 0);
    rig_close(&rig);
}

static void ready_unwatch(void *opaque, unsigned events)
{
    Rig *rig = opaque;
    loop_unwatch(rig->source);
    rig->source = NULL;
    rig->calls++;
}

static void test_unwatch_inside(void)
{
    Rig rig;
    rig_open(&rig);
    g_assert_cmpint(write(rig.fds[1], "x", 1), ==, 1);
    rig.source = loop_watch(rig.loop, rig.fds[0], LOOP_READ, ready_unwatch, &rig);
    loop_step(rig.loop, true);
    loop_step(rig.loop, false);
    g_assert_cmpint(rig.calls, ==, 1);
    rig_close(&rig);
}

/* Two descriptors are ready in one iteration; the first callback takes the second watch away. */
static void test_unwatch_other(void)
{
    Rig rig;
    rig_open(&rig);
    g_assert_cmpint(write(rig.fds[1], "x", 1), ==, 1);
    Source *killer = loop_watch(rig.loop, rig.fds[0], LOOP_READ, ready_unwatch, &rig);
    rig.source     = loop_watch(rig.loop, rig.fds[1], LOOP_WRITE, ready, &rig);
    loop_step(rig.loop, true);
    g_assert_cmpint(rig.calls, ==, 1);
    g_assert_cmpuint(rig.events, ==, 0);
    loop_unwatch(killer);
    rig_close(&rig);
}

/* Deferred calls. */

static void defer_once(void *opaque)
{
    Rig *rig = opaque;
    rig->calls++;
}

static void defer_again(void *opaque)
{
    Rig *rig = opaque;
    rig->calls++;
    loop_defer(rig->loop, defer_again, rig);
}

static void test_defer(void)
{
    Rig rig;
    rig_open(&rig);
    loop_defer(rig.loop, defer_once, &rig);
    loop_defer(rig.loop, defer_once, &rig);
    g_assert_cmpint(rig.calls, ==, 0);
    loop_step(rig.loop, true);
    g_assert_cmpint(rig.calls, ==, 2);
    loop_step(rig.loop, false);
    g_assert_cmpint(rig.calls, ==, 2);
    loop_defer(rig.loop, defer_again, &rig);
    loop_step(rig.loop, true);
    g_assert_cmpint(rig.calls, ==, 3);
    loop_step(rig.loop, true);
    g_assert_cmpint(rig.calls, ==, 4);
    rig_close(&rig);
}

/* A callback that waits for something else that the loop does. */
static void defer_and_wait(void *opaque)
{
    Rig *rig = opaque;
    loop_defer(rig->loop, defer_once, rig);
    while (!rig->calls) {
        loop_step(rig->loop, true);
    }
    rig->calls += 10;
}

static void test_nested(void)
{
    Rig rig;
    rig_open(&rig);
    loop_defer(rig.loop, defer_and_wait, &rig);
    loop_step(rig.loop, true);
    g_assert_cmpint(rig.calls, ==, 11);
    rig_close(&rig);
}

enum { N_THREADS = 3, N_DEFERRED = 3000 };

typedef struct Sender {
    Rig *rig;
    int  sent, got;
} Sender;

static void sender_got(void *opaque)
{
    Sender *s = opaque;
    s->got++;
    if (++s->rig->calls == N_THREADS * N_DEFERRED) {
        loop_quit(s->rig->loop);
    }
}

static gpointer sender_run(gpointer opaque)
{
    Sender *s = opaque;
    for (s->sent = 0; s->sent < N_DEFERRED; s->sent++) {
        loop_defer(s->rig->loop, sender_got, s);
        if (s->sent % 64 == 0) {
            machine_lock(&s->rig->lock);
            g_assert_true(machine_lock_held(&s->rig->lock));
            machine_unlock(&s->rig->lock);
        }
    }
    return NULL;
}

static void test_defer_threads(void)
{
    Rig      rig;
    Sender   senders[N_THREADS];
    GThread *threads[N_THREADS];
    rig_open(&rig);
    for (int i = 0; i < N_THREADS; i++) {
        senders[i] = (Sender){ .rig = &rig };
        threads[i] = g_thread_new("sender", sender_run, &senders[i]);
    }
    loop_run(rig.loop);
    for (int i = 0; i < N_THREADS; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpint(senders[i].got, ==, N_DEFERRED);
    }
    rig_close(&rig);
}

/* A watch that another thread adds under the machine lock is polled at once. */
static gpointer watch_from_thread(gpointer opaque)
{
    Rig *rig = opaque;
    g_usleep(2000); /* the main thread polls by now */
    machine_lock(&rig->lock);
    rig->source = loop_watch(rig->loop, rig->fds[0], LOOP_WRITE, ready, rig);
    machine_unlock(&rig->lock);
    return NULL;
}

static void test_watch_from_thread(void)
{
    Rig rig;
    rig_open(&rig);
    GThread *thread = g_thread_new("watcher", watch_from_thread, &rig);
    while (!rig.calls) {
        loop_step(rig.loop, true);
    }
    g_thread_join(thread);
    g_assert_cmpuint(rig.events, ==, LOOP_WRITE);
    rig_close(&rig);
}

static void test_quit_first(void)
{
    Rig rig;
    rig_open(&rig);
    loop_quit(rig.loop);
    loop_run(rig.loop);
    rig_close(&rig);
}

/* Signals. */

static void caught(void *opaque, int signal)
{
    Rig *rig = opaque;
    g_assert_true(machine_lock_held(&rig->lock));
    rig->calls += signal;
}

static void test_signals(void)
{
    Rig rig;
    rig_open(&rig);
    loop_on_signal(rig.loop, SIGUSR1, caught, &rig);
    loop_on_signal(rig.loop, SIGTERM, caught, &rig);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGTERM);
    loop_step(rig.loop, true);
    g_assert_cmpint(rig.calls, ==, SIGUSR1 + SIGTERM);
    loop_step(rig.loop, false);
    g_assert_cmpint(rig.calls, ==, SIGUSR1 + SIGTERM);
    rig_close(&rig);
}

/* The machine lock. */

typedef struct Contender {
    MachineLock *lock;
    _Atomic int  before;
    int          after;
    bool         tried;
} Contender;

static void before_wait(void *opaque)
{
    Contender *c = opaque;
    g_assert_false(machine_lock_held(c->lock));
    c->before++;
}

static void after_wait(void *opaque)
{
    Contender *c = opaque;
    g_assert_true(machine_lock_held(c->lock));
    c->after++;
}

static gpointer contend(gpointer opaque)
{
    Contender *c      = opaque;
    LockWaiter waiter = { before_wait, after_wait, c };
    machine_lock_set_waiter(&waiter);
    c->tried = machine_trylock(c->lock);
    machine_lock(c->lock); /* the test holds it for some time yet */
    machine_unlock(c->lock);
    machine_lock(c->lock); /* free now */
    machine_unlock(c->lock);
    machine_lock_set_waiter(NULL);
    return NULL;
}

static void test_lock(void)
{
    MachineLock lock;
    machine_lock_init(&lock);
    g_assert_false(machine_lock_held(&lock));
    machine_lock(&lock);
    machine_lock(&lock);
    g_assert_true(machine_trylock(&lock));
    g_assert_cmpint(lock.depth, ==, 3);

    Contender c      = { .lock = &lock };
    GThread  *thread = g_thread_new("contender", contend, &c);
    while (c.before == 0) { /* however late the thread starts */
        g_usleep(100);
    }
    int depth = machine_lock_drop(&lock);
    g_assert_cmpint(depth, ==, 3);
    g_assert_false(machine_lock_held(&lock));
    g_thread_join(thread);
    g_assert_false(c.tried);
    g_assert_cmpint(c.before, ==, 1);
    g_assert_cmpint(c.after, ==, 1);

    machine_lock_restore(&lock, depth);
    machine_unlock(&lock);
    machine_unlock(&lock);
    g_assert_true(machine_lock_held(&lock));
    machine_unlock(&lock);
    g_assert_false(machine_lock_held(&lock));
    machine_lock_destroy(&lock);
}

/* RCU: who has waited finds no reader of what was taken away before. */

typedef struct Shared {
    _Atomic(int *) value;
    _Atomic bool   stop;
} Shared;

static gpointer reader_run(gpointer opaque)
{
    Shared *s = opaque;
    rcu_thread_register();
    while (!s->stop) {
        rcu_section_begin();
        rcu_section_begin();
        int *value = s->value;
        rcu_section_end();
        g_assert_cmpint(*value, ==, 42);
        rcu_section_end();
    }
    rcu_thread_unregister();
    return NULL;
}

static void test_rcu(void)
{
    Shared   s = { .stop = false };
    GThread *threads[2];
    s.value  = g_new(int, 1);
    *s.value = 42;
    for (int i = 0; i < 2; i++) {
        threads[i] = g_thread_new("reader", reader_run, &s);
    }
    for (int i = 0; i < 200; i++) {
        int *fresh = g_new(int, 1);
        *fresh     = 42;
        int *old   = atomic_exchange(&s.value, fresh);
        rcu_wait_readers();
        *old = 0;
        g_free(old);
    }
    s.stop = true;
    for (int i = 0; i < 2; i++) {
        g_thread_join(threads[i]);
    }
    g_free(s.value);
}

static void test_thread_name(void)
{
    char name[16];
    thread_set_name("not-asked-for");
    pthread_getname_np(pthread_self(), name, sizeof name);
    g_assert_cmpstr(name, !=, "not-asked-for");
    thread_use_names();
    thread_set_name("a name too long for the kernel");
    pthread_getname_np(pthread_self(), name, sizeof name);
    g_assert_cmpstr(name, ==, "a name too long");
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loop/watch", test_watch);
    g_test_add_func("/loop/unwatch-inside", test_unwatch_inside);
    g_test_add_func("/loop/unwatch-other", test_unwatch_other);
    g_test_add_func("/loop/defer", test_defer);
    g_test_add_func("/loop/nested", test_nested);
    g_test_add_func("/loop/defer-threads", test_defer_threads);
    g_test_add_func("/loop/watch-from-thread", test_watch_from_thread);
    g_test_add_func("/loop/quit-first", test_quit_first);
    g_test_add_func("/loop/signals", test_signals);
    g_test_add_func("/loop/lock", test_lock);
    g_test_add_func("/loop/rcu", test_rcu);
    g_test_add_func("/loop/thread-name", test_thread_name);
    return g_test_run();
}
