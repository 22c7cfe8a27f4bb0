/* The main loop: file descriptors, deferred calls, signals and timers on one GMainContext.
 * Callbacks run on the main thread with the machine lock held. */

#ifndef QUERN_LOOP_LOOP_H
#define QUERN_LOOP_LOOP_H

#include "base/error.h"
#include "loop/clock.h"
#include "loop/lock.h"

typedef struct Loop   Loop;
typedef struct Source Source;

/* `lock` is borrowed; callbacks run under it. The GMainContext is the default one. */
Loop   *loop_new(MachineLock *lock, Error *err);
void    loop_free(Loop *loop);
Clocks *loop_clocks(Loop *loop);

/* Runs until loop_quit(). */
void loop_run(Loop *loop);
void loop_quit(Loop *loop); /* any thread */

/* One iteration, waiting at most until something is due when `block`. For tests and start-up waits. */
void loop_step(Loop *loop, bool block);

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 };

/* Watches `fd` for LOOP_* events; the callback gets those that hold. Main thread or machine lock held. */
Source *loop_watch(Loop *loop, int fd, unsigned events, void (*ready)(void *opaque, unsigned events), void *opaque);
void    loop_watch_set(Source *source, unsigned events); /* 0 pauses */
void    loop_unwatch(Source *source);                    /* NULL is fine */

/* Runs `call` on the main loop as soon as it can. Any thread. */
void loop_defer(Loop *loop, void (*call)(void *opaque), void *opaque);

/* Calls `caught` on the main loop when the process gets `signal`. */
void loop_on_signal(Loop *loop, int signal, void (*caught)(void *opaque, int signal), void *opaque);

/* Names this thread for ps and gdb when -name debug-threads=on asked for it (15 characters at most). */
void thread_set_name(const char *name);

/* -name debug-threads=on; off at first. Once, before the first thread. */
void thread_names_enable(bool on);

#endif
