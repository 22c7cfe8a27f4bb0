/* The machine lock: one a machine, under which device models run. It is recursive for the vCPU's sake (an I/O
 * callback may touch memory that leads to another callback), and knows its owner so that code can assert. */

#ifndef QUERN_LOOP_LOCK_H
#define QUERN_LOOP_LOCK_H

#include <pthread.h>
#include <stdbool.h>

typedef struct MachineLock {
    pthread_mutex_t mutex;
    int             depth; /* by the owner */
    _Atomic(void *) owner; /* an address that only the owning thread has; NULL while free */
} MachineLock;

void machine_lock_init(MachineLock *lock);
void machine_lock_destroy(MachineLock *lock);
void machine_lock(MachineLock *lock);
bool machine_trylock(MachineLock *lock); /* false: another thread has it */
void machine_unlock(MachineLock *lock);
bool machine_lock_held(const MachineLock *lock); /* by this thread */

/* Gives the lock up altogether and returns the depth for machine_lock_restore(): for waits. */
int  machine_lock_drop(MachineLock *lock);
void machine_lock_restore(MachineLock *lock, int depth);

/* What this thread does around waiting for a machine lock that another thread has: before_wait is called without
 * the lock, after_wait with it. A vCPU thread leaves guest code here (vcpu_leave), so that whoever holds the lock
 * may wait for vCPUs. Both are called only when the lock is not free. NULL takes the waiter away again. */
typedef struct LockWaiter {
    void (*before_wait)(void *opaque);
    void (*after_wait)(void *opaque);
    void *opaque;
} LockWaiter;

void machine_lock_set_waiter(const LockWaiter *waiter); /* borrowed, for this thread */

#endif
