/* The main loop: one GSource for timers, deferred calls and signals, and one for each watched file descriptor.
 *
 * An iteration is GLib's (prepare, query, poll, check, dispatch) written out, because the machine lock must be held
 * in all of it but the poll. Loop.mutex guards the deferred calls and is a leaf; everything else is under the machine
 * lock. */

#include "loop/loop.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

typedef struct Deferred {
    void (*call)(void *opaque);
    void *opaque;
} Deferred;

typedef struct SignalHandler {
    void (*caught)(void *opaque, int signal);
    void *opaque;
} SignalHandler;

/* The loop's own GSource. */
typedef struct CoreSource {
    GSource base;
    Loop   *loop;
} CoreSource;

struct Loop {
    MachineLock  *lock;
    GMainContext *context;
    Clocks       *clocks;
    CoreSource   *core;
    GPollFD       clock_fd, jump_fd, signal_fd; /* polled by core; signal_fd.fd is -1 without handlers */
    sigset_t      signals;
    SignalHandler handlers[NSIG];
    GPollFD      *fds; /* room for what a poll waits for */
    int           fds_room;
    _Atomic bool  quit;

    pthread_mutex_t mutex;
    GArray         *deferred; /* of Deferred */
    _Atomic bool    has_deferred;
};

/* A watched file descriptor. */
struct Source {
    GSource base;
    Loop   *loop;
    GPollFD fd;
    bool    polled; /* fd is among those of the context */
    void (*ready)(void *opaque, unsigned events);
    void *opaque;
};

/* The core source: timers, deferred calls, signals. */

static gboolean core_prepare(GSource *source, int *timeout)
{
    *timeout = -1;
    return atomic_load(&((CoreSource *)source)->loop->has_deferred);
}

static gboolean core_check(GSource *source)
{
    Loop *loop = ((CoreSource *)source)->loop;
    return loop->clock_fd.revents || loop->jump_fd.revents || loop->signal_fd.revents ||
           atomic_load(&loop->has_deferred);
}

static void run_deferred(Loop *loop)
{
    pthread_mutex_lock(&loop->mutex);
    GArray *calls  = loop->deferred;
    loop->deferred = g_array_new(FALSE, FALSE, sizeof(Deferred));
    atomic_store(&loop->has_deferred, false);
    pthread_mutex_unlock(&loop->mutex);

    for (unsigned i = 0; i < calls->len; i++) {
        Deferred *d = &g_array_index(calls, Deferred, i);
        d->call(d->opaque);
    }
    g_array_free(calls, TRUE);
}

static void run_signals(Loop *loop)
{
    struct signalfd_siginfo info;
    while (read(loop->signal_fd.fd, &info, sizeof info) == sizeof info) {
        SignalHandler *h = info.ssi_signo < NSIG ? &loop->handlers[info.ssi_signo] : NULL;
        if (h && h->caught) {
            h->caught(h->opaque, (int)info.ssi_signo);
        }
    }
}

static gboolean core_dispatch(GSource *source, GSourceFunc unused, void *unused_too)
{
    Loop *loop = ((CoreSource *)source)->loop;
    /* Signals first: one of them may ask to end it all. */
    if (loop->signal_fd.revents) {
        run_signals(loop);
    }
    if (loop->clock_fd.revents || loop->jump_fd.revents) {
        clocks_run(loop->clocks);
    }
    if (atomic_load(&loop->has_deferred)) {
        run_deferred(loop);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs core_funcs = { .prepare = core_prepare, .check = core_check, .dispatch = core_dispatch };

Loop *loop_new(MachineLock *lock, Error *err)
{
    Clocks *clocks = clocks_new(lock, err);
    if (!clocks) {
        return NULL;
    }
    Loop *loop      = g_new0(Loop, 1);
    loop->lock      = lock;
    loop->clocks    = clocks;
    loop->context   = g_main_context_ref(g_main_context_default());
    loop->deferred  = g_array_new(FALSE, FALSE, sizeof(Deferred));
    loop->clock_fd  = (GPollFD){ .fd = clocks_clock_fd(clocks), .events = G_IO_IN };
    loop->jump_fd   = (GPollFD){ .fd = clocks_jump_fd(clocks), .events = G_IO_IN };
    loop->signal_fd = (GPollFD){ .fd = -1, .events = G_IO_IN };
    sigemptyset(&loop->signals);
    pthread_mutex_init(&loop->mutex, NULL);

    /* To own the context is what makes GLib wake it up when another thread adds a source. */
    bool owned = g_main_context_acquire(loop->context);
    g_assert(owned);

    loop->core       = (CoreSource *)g_source_new(&core_funcs, sizeof(CoreSource));
    loop->core->loop = loop;
    g_source_set_static_name(&loop->core->base, "loop");
    g_source_set_can_recurse(&loop->core->base, TRUE); /* a callback may wait with loop_step */
    g_source_add_poll(&loop->core->base, &loop->clock_fd);
    g_source_add_poll(&loop->core->base, &loop->jump_fd);
    g_source_attach(&loop->core->base, loop->context);
    return loop;
}

void loop_free(Loop *loop)
{
    if (!loop) {
        return;
    }
    g_source_destroy(&loop->core->base);
    g_source_unref(&loop->core->base);
    if (loop->signal_fd.fd >= 0) {
        close(loop->signal_fd.fd);
        pthread_sigmask(SIG_UNBLOCK, &loop->signals, NULL);
    }
    g_main_context_release(loop->context);
    g_main_context_unref(loop->context);
    clocks_free(loop->clocks);
    g_array_free(loop->deferred, TRUE);
    pthread_mutex_destroy(&loop->mutex);
    g_free(loop->fds);
    g_free(loop);
}

Clocks *loop_clocks(Loop *loop)
{
    return loop->clocks;
}

/* Running. */

void loop_step(Loop *loop, bool block)
{
    int priority, timeout, n;

    machine_lock(loop->lock);
    g_main_context_prepare(loop->context, &priority);
    while ((n = g_main_context_query(loop->context, priority, &timeout, loop->fds, loop->fds_room)) > loop->fds_room) {
        loop->fds_room = 2 * n;
        loop->fds      = g_renew(GPollFD, loop->fds, loop->fds_room);
    }
    int depth = machine_lock_drop(loop->lock);
    g_poll(loop->fds, n, block ? timeout : 0);
    machine_lock_restore(loop->lock, depth);
    if (g_main_context_check(loop->context, priority, loop->fds, n)) {
        g_main_context_dispatch(loop->context);
    }
    machine_unlock(loop->lock);
}

void loop_run(Loop *loop)
{
    while (!atomic_exchange(&loop->quit, false)) {
        loop_step(loop, true);
    }
}

void loop_quit(Loop *loop)
{
    atomic_store(&loop->quit, true);
    g_main_context_wakeup(loop->context);
}

void loop_defer(Loop *loop, void (*call)(void *opaque), void *opaque)
{
    pthread_mutex_lock(&loop->mutex);
    g_array_append_val(loop->deferred, ((Deferred){ call, opaque }));
    bool first = !atomic_exchange(&loop->has_deferred, true);
    pthread_mutex_unlock(&loop->mutex);
    if (first && !g_main_context_is_owner(loop->context)) {
        g_main_context_wakeup(loop->context); /* the main thread itself looks before it polls */
    }
}

/* File descriptors. */

static gboolean watch_check(GSource *source)
{
    Source *s = (Source *)source;
    return s->polled && s->fd.revents;
}

static gboolean watch_dispatch(GSource *source, GSourceFunc unused, void *unused_too)
{
    Source *s = (Source *)source;
    if (!s->polled) {
        return G_SOURCE_CONTINUE; /* paused by a callback of this iteration */
    }
    unsigned revents = s->fd.revents, wanted = s->fd.events, events = 0;
    if (wanted & G_IO_IN && revents & (G_IO_IN | G_IO_HUP | G_IO_ERR | G_IO_NVAL)) {
        events |= LOOP_READ;
    }
    if (wanted & G_IO_OUT && revents & (G_IO_OUT | G_IO_HUP | G_IO_ERR | G_IO_NVAL)) {
        events |= LOOP_WRITE;
    }
    if (wanted & G_IO_HUP && revents & (G_IO_HUP | G_IO_ERR | G_IO_NVAL)) {
        events |= LOOP_HANGUP;
    }
    if (events) {
        s->ready(s->opaque, events);
    }
    return G_SOURCE_CONTINUE;
}

static GSourceFuncs watch_funcs = { .check = watch_check, .dispatch = watch_dispatch };

Source *loop_watch(Loop *loop, int fd, unsigned events, void (*ready)(void *opaque, unsigned events), void *opaque)
{
    Source *s = (Source *)g_source_new(&watch_funcs, sizeof(Source));
    s->loop   = loop;
    s->fd.fd  = fd;
    s->ready  = ready;
    s->opaque = opaque;
    g_source_set_static_name(&s->base, "fd");
    loop_watch_set(s, events);
    g_source_attach(&s->base, loop->context);
    return s;
}

void loop_watch_set(Source *s, unsigned events)
{
    unsigned wanted = (events & LOOP_READ ? G_IO_IN : 0) | (events & LOOP_WRITE ? G_IO_OUT : 0) |
                      (events & LOOP_HANGUP ? G_IO_HUP : 0);
    if (s->polled && wanted == s->fd.events) {
        return;
    }
    s->fd.events  = wanted;
    s->fd.revents = 0;
    if (!wanted == !s->polled) {
        /* GLib reads events anew in each iteration; only one that waits already must begin again. */
        if (s->polled && !g_main_context_is_owner(s->loop->context)) {
            g_main_context_wakeup(s->loop->context);
        }
    } else if (wanted) {
        g_source_add_poll(&s->base, &s->fd);
        s->polled = true;
    } else {
        g_source_remove_poll(&s->base, &s->fd);
        s->polled = false;
    }
}

void loop_unwatch(Source *s)
{
    if (s) {
        g_source_destroy(&s->base);
        g_source_unref(&s->base);
    }
}

/* Signals. */

void loop_on_signal(Loop *loop, int signal, void (*caught)(void *opaque, int signal), void *opaque)
{
    g_assert(signal > 0 && signal < NSIG);
    loop->handlers[signal] = (SignalHandler){ caught, opaque };
    sigaddset(&loop->signals, signal);
    pthread_sigmask(SIG_BLOCK, &loop->signals, NULL);

    int fd = signalfd(loop->signal_fd.fd, &loop->signals, SFD_NONBLOCK | SFD_CLOEXEC);
    g_assert(fd >= 0); /* the first one of a process that has just started */
    if (loop->signal_fd.fd < 0) {
        loop->signal_fd.fd = fd;
        g_source_add_poll(&loop->core->base, &loop->signal_fd);
    }
}

/* Threads. */

static bool use_thread_names;

void thread_use_names(void)
{
    use_thread_names = true;
}

void thread_set_name(const char *name)
{
    if (use_thread_names) {
        char short_name[16];
        g_strlcpy(short_name, name, sizeof short_name);
        pthread_setname_np(pthread_self(), short_name);
    }
}
