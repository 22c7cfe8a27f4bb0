/* Memory in huge pages, for tables that are looked into at random: a miss of the host's TLB costs more than one of its
 * cache, twice as much again in a virtual machine. Where the kernel has none to give, ordinary pages serve. */

#ifndef QUERN_BASE_HUGE_H
#define QUERN_BASE_HUGE_H

#include "base/ahead.h"

#include <glib.h>

enum { HUGE_PAGE = 2 << 20 };

/* `size` bytes of zeros that begin at a multiple of HUGE_PAGE and become real when touched. Ends the process when there
 * are no addresses left. For huge_free(), with the same size. Any thread. */
void *huge_new0(size_t size);
void *huge_try_new0(size_t size);           /* NULL instead of the end */
void  huge_free(void *memory, size_t size); /* NULL: nothing */

/* Asks for huge pages in memory that exists and has not been touched: [start, start + size), start a multiple of
 * HUGE_PAGE, rounded down to whole pages of that size. */
void huge_advise(void *start, size_t size);

/* Many small objects that end together. Whoever has it locks; {0} is an empty one. */
typedef struct HugeArena {
    GPtrArray *blocks; /* of HUGE_PAGE bytes */
    unsigned   n;      /* those in use */
    size_t     used;   /* of the last one */
    Ahead     *ahead;  /* touches the one behind; NULL: nobody does. Has ended before huge_arena_free() */
} HugeArena;

void *huge_arena_new(HugeArena *arena, size_t size); /* not cleared; size at most HUGE_PAGE */
void  huge_arena_expect(const HugeArena *arena);     /* what comes next is brought into the cache, for writing */
void  huge_arena_prepare(HugeArena *arena);          /* has the next block touched, if there is `ahead` */
void  huge_arena_reset(HugeArena *arena);            /* all objects end, the memory stays */
void  huge_arena_free(HugeArena *arena);             /* all objects and the memory; empty again */

#endif
