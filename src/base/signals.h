/* Threads that are for work alone begin while all signals are held: a signal goes to any thread that lets it in, and in
 * one that nobody has told of it, its default would happen, or nothing. */

#ifndef QUERN_BASE_SIGNALS_H
#define QUERN_BASE_SIGNALS_H

#include <pthread.h>
#include <signal.h>

/* For the calling thread, and those that it starts meanwhile for good. */
static inline void signals_hold(sigset_t *before)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, before);
}

static inline void signals_let(const sigset_t *before)
{
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

#endif
