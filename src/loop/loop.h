/* The main loop: file descriptors, deferred calls, signals and timers on one GMainContext.
 * Callbacks run on the main thread with the machine lock held. */

#ifndef QUERN_LOOP_LOOP_H
#define QUERN_LOOP_LOOP_H

#include "base/error.h"
#include "loop/clock.h"
#include "loop/lock.h"

typedef struct Loop   Loop;
typedef struct Source Source;

/* `lock` is borrowed; callbacks run under it. The GMainContext is the default one, and the calling thread becomes
 * the main thread. loop_free: every watch and timer is gone by then; deferred calls that did not run never will. */
Loop   *loop_new(MachineLock *lock, Error *err);
void    loop_free(Loop *loop);
Clocks *loop_clocks(Loop *loop);

/* Runs until loop_quit(), also one that came before. Main thread, with or without the machine lock; while it waits
 * the lock is given up in any case. */
void loop_run(Loop *loop);
void loop_quit(Loop *loop); /* any thread */

/* One iteration, waiting for something to happen when `block`. Like loop_run; for tests and start-up waits. A
 * callback may use it to wait: timers, signals and deferred calls go on inside it, the callback's own descriptor
 * does not. */
void loop_step(Loop *loop, bool block);

enum { LOOP_READ = 1, LOOP_WRITE = 2, LOOP_HANGUP = 4 };

/* Watches `fd` for LOOP_* events; the callback gets those that hold. The end of the other side counts as readable
 * and writable, so that read() and write() tell it; LOOP_HANGUP is for those who do neither (a watch that is
 * paused does not see it). Machine lock held; the main thread may do without before it runs the loop. */
Source *loop_watch(Loop *loop, int fd, unsigned events, void (*ready)(void *opaque, unsigned events), void *opaque);
void    loop_watch_set(Source *source, unsigned events); /* 0 pauses */
void    loop_unwatch(Source *source);                    /* NULL is fine */

/* Runs `call` on the main loop as soon as it can, in the order of the calls. Any thread. What deferred calls defer
 * runs in the next iteration. */
void loop_defer(Loop *loop, void (*call)(void *opaque), void *opaque);

/* Calls `caught` on the main loop when the process gets `signal`, which is blocked from then on: call it before
 * other threads are made. The last one set for a signal holds. Programs that are run by this one must unblock. */
void loop_on_signal(Loop *loop, int signal, void (*caught)(void *opaque, int signal), void *opaque);

/* Names this thread for ps and gdb when -name debug-threads=on asked for it (15 characters at most, the rest is cut
 * off). Process-wide like the names themselves: thread_use_names is called once, before any thread is made. */
void thread_use_names(void);
void thread_set_name(const char *name);

#endif
