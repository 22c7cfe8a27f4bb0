/* Having the host find and clear memory on another thread, just ahead of who is going to write it all anyway. It is
 * only faster that way: where the host does not do it, the writer's own first touch does. */

#ifndef QUERN_MACHINE_TOUCH_H
#define QUERN_MACHINE_TOUCH_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Toucher {
    GThread     *thread; /* NULL: none */
    GArray      *spans;  /* NULL: none */
    _Atomic bool stop;
} Toucher; /* {0} is an empty one */

/* Adds memory, in the order in which it is going to be written. Before toucher_start(). */
void toucher_add(Toucher *t, uint8_t *start, uint64_t len);

/* Begins, unless there is too little to be worth a thread. The Toucher stays where it is until toucher_stop(). */
void toucher_start(Toucher *t);

/* Ends it, done or not: the memory may go away then. Fine for one that was not started. */
void toucher_stop(Toucher *t);

#endif
