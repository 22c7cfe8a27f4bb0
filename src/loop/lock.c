/* The machine lock: a mutex that counts how often its owner took it.
 *
 * depth and owner are written by the owner alone. Other threads read owner only to compare it with themselves, and
 * a thread that does not own the lock never finds its own mark there, whatever the order of memory. */

#include "loop/lock.h"

#include <glib.h>
#include <stdatomic.h>

/* One byte a thread; its address is the thread's mark. */
static _Thread_local char thread_mark;

static _Thread_local const LockWaiter *thread_waiter;

void machine_lock_init(MachineLock *lock)
{
    pthread_mutex_init(&lock->mutex, NULL);
    lock->depth = 0;
    atomic_init(&lock->owner, NULL);
}

void machine_lock_destroy(MachineLock *lock)
{
    g_assert(!atomic_load(&lock->owner));
    pthread_mutex_destroy(&lock->mutex);
}

bool machine_lock_held(const MachineLock *lock)
{
    return atomic_load_explicit(&lock->owner, memory_order_relaxed) == (void *)&thread_mark;
}

/* The mutex is ours now. */
static void owner_set(MachineLock *lock, int depth)
{
    lock->depth = depth;
    atomic_store_explicit(&lock->owner, &thread_mark, memory_order_relaxed);
}

/* Most owners need a few microseconds, some a system call; to be woken takes fifty and, where another process has got
 * the CPU meanwhile, five hundred: a guest that calibrates its clock by the PIT gives up then (a third of Linux starts
 * did).
 */
static bool try_for_a_while(MachineLock *lock)
{
    enum { TRIES = 1000 }; /* of 50 to 150 ns each */
    for (unsigned i = 0; i < TRIES; i++) {
        if (pthread_mutex_trylock(&lock->mutex) == 0) {
            return true;
        }
        __builtin_ia32_pause();
    }
    return false;
}

static void mutex_take(MachineLock *lock, int depth)
{
    if (try_for_a_while(lock)) {
        owner_set(lock, depth);
        return;
    }
    const LockWaiter *waiter = thread_waiter;
    if (waiter) {
        waiter->before_wait(waiter->opaque);
    }
    pthread_mutex_lock(&lock->mutex);
    owner_set(lock, depth);
    if (waiter) {
        waiter->after_wait(waiter->opaque);
    }
}

void machine_lock(MachineLock *lock)
{
    if (machine_lock_held(lock)) {
        lock->depth++;
    } else {
        mutex_take(lock, 1);
    }
}

bool machine_trylock(MachineLock *lock)
{
    if (machine_lock_held(lock)) {
        lock->depth++;
        return true;
    }
    if (pthread_mutex_trylock(&lock->mutex) != 0) {
        return false;
    }
    owner_set(lock, 1);
    return true;
}

void machine_unlock(MachineLock *lock)
{
    g_assert(machine_lock_held(lock));
    if (--lock->depth == 0) {
        atomic_store_explicit(&lock->owner, NULL, memory_order_relaxed);
        pthread_mutex_unlock(&lock->mutex);
    }
}

int machine_lock_drop(MachineLock *lock)
{
    g_assert(machine_lock_held(lock));
    int depth   = lock->depth;
    lock->depth = 0;
    atomic_store_explicit(&lock->owner, NULL, memory_order_relaxed);
    pthread_mutex_unlock(&lock->mutex);
    return depth;
}

void machine_lock_restore(MachineLock *lock, int depth)
{
    g_assert(!machine_lock_held(lock) && depth > 0);
    mutex_take(lock, depth);
}

void machine_lock_set_waiter(const LockWaiter *waiter)
{
    thread_waiter = waiter;
}
