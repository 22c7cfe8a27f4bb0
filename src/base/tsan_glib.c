/* GLib's mutexes and conditions as ThreadSanitizer should see them; only in builds with it.
 *
 * GMutex and GCond are made of futexes inside GLib, which is not built with the sanitizer: what they order would
 * look like races. These definitions stand in front of GLib's own, call them, and say what is ordered. (GRecMutex
 * and GRWLock are pthread locks, which the sanitizer knows.) */

#include "base/sanitize.h"

#include <dlfcn.h>
#include <glib.h>

/* Calls GLib's own function of this name. The static is written with the same value by whoever comes first. */
#define REAL(name, ...)                                                                                                \
    ({                                                                                                                 \
        static __typeof__(&(name)) found;                                                                              \
        __typeof__(&(name))        real = __atomic_load_n(&found, __ATOMIC_RELAXED);                                   \
        if (!real) {                                                                                                   \
            real = (__typeof__(&(name)))dlsym(RTLD_NEXT, #name);                                                       \
            __atomic_store_n(&found, real, __ATOMIC_RELAXED);                                                          \
        }                                                                                                              \
        real(__VA_ARGS__);                                                                                             \
    })

void g_mutex_lock(GMutex *mutex)
{
    REAL(g_mutex_lock, mutex);
    order_acquire(mutex);
}

gboolean g_mutex_trylock(GMutex *mutex)
{
    gboolean locked = REAL(g_mutex_trylock, mutex);
    if (locked) {
        order_acquire(mutex);
    }
    return locked;
}

void g_mutex_unlock(GMutex *mutex)
{
    order_release(mutex);
    REAL(g_mutex_unlock, mutex);
}

void g_cond_wait(GCond *cond, GMutex *mutex)
{
    order_release(mutex);
    REAL(g_cond_wait, cond, mutex);
    order_acquire(mutex);
}

gboolean g_cond_wait_until(GCond *cond, GMutex *mutex, gint64 end_time)
{
    order_release(mutex);
    gboolean signalled = REAL(g_cond_wait_until, cond, mutex, end_time);
    order_acquire(mutex);
    return signalled;
}
