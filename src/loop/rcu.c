/* RCU on liburcu's "bulletproof" flavour: a section is two stores to memory of the thread's own, and the waiting
 * side makes up for the missing barriers with membarrier(2).
 *
 * liburcu is not built for ThreadSanitizer, which therefore cannot see that waiting orders the end of a section
 * before what follows the wait. The annotations say so. */

#include "loop/rcu.h"

#include "base/sanitize.h"

#include <glib.h>
#include <urcu-bp.h>

static char section_ends; /* has an address, and no value */

void rcu_section_begin(void)
{
    rcu_read_lock();
}

void rcu_section_end(void)
{
    order_release(&section_ends);
    rcu_read_unlock();
}

void rcu_wait_readers(void)
{
    g_assert(!rcu_read_ongoing());
    synchronize_rcu();
    order_acquire(&section_ends);
}

void rcu_thread_register(void)
{
    rcu_register_thread();
}

void rcu_thread_unregister(void)
{
    rcu_unregister_thread();
}
