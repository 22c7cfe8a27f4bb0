/* A thread that does small work on memory before its owner gets there: the first touch of a page is the host kernel's
 * clearing it, and in a virtual machine often its host's finding one, which takes twenty times as long. What is asked
 * for is a wish: with too much of it waiting, new wishes are dropped, and all works without.
 *
 * ahead_ask() and ahead_free() by one thread at a time. */

#ifndef QUERN_BASE_AHEAD_H
#define QUERN_BASE_AHEAD_H

#include <stddef.h>

typedef struct Ahead Ahead;

enum { AHEAD_AT_ONCE = 0, AHEAD_WORTH_A_THREAD = 2 << 20 };

/* The thread starts when wishes for `worth` bytes have come. */
Ahead *ahead_new(size_t worth);
void   ahead_free(Ahead *a); /* the wish that is being worked on is finished, no other; NULL: nothing */

/* Has work(memory, size) called. What it works on must stay mapped until ahead_free(), which waits for one call. */
void ahead_ask(Ahead *a, void (*work)(void *memory, size_t size), void *memory, size_t size);

/* Has all pages of it touched, for writing, from the start to the end, in steps that do not take long. Where the host
 * cannot do that, or is short of memory, nothing more is touched: whoever writes finds out. */
void ahead_ask_touch(Ahead *a, void *memory, size_t size);

#endif
