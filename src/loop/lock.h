/* The machine lock: one a machine, under which device models run. It is recursive for the vCPU's sake (an I/O
 * callback may touch memory that leads to another callback), and knows its owner so that code can assert. */

#ifndef QUERN_LOOP_LOCK_H
#define QUERN_LOOP_LOCK_H

#include <glib.h>
#include <stdbool.h>

typedef struct MachineLock {
    GRecMutex          mutex;
    int                depth; /* by the owner */
    _Atomic(GThread *) owner;
} MachineLock;

void machine_lock_init(MachineLock *lock);
void machine_lock_destroy(MachineLock *lock);
void machine_lock(MachineLock *lock);
void machine_unlock(MachineLock *lock);
bool machine_lock_held(const MachineLock *lock); /* by this thread */

/* Gives the lock up altogether and returns the depth for machine_lock_restore(): for waits. */
int  machine_lock_drop(MachineLock *lock);
void machine_lock_restore(MachineLock *lock, int depth);

#endif
