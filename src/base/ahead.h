/* A thread that does small work on memory before its owner gets there: the first touch of a page is the host kernel's
 * clearing it, and in a virtual machine often its host's finding one, which takes twenty times as long. What is asked
 * for is a wish: with too much of it waiting, new wishes are dropped.
 *
 * ahead_ask() and ahead_free() by one thread at a time. */

#ifndef QUERN_BASE_AHEAD_H
#define QUERN_BASE_AHEAD_H

#include <stddef.h>

typedef struct Ahead Ahead;

/* The thread starts at the first wish. */
Ahead *ahead_new(void);
void   ahead_free(Ahead *a); /* the wish that is being worked on is finished, no other; NULL: nothing */

/* Has work(memory, size) called. What it works on must stay mapped until ahead_free(). */
void ahead_ask(Ahead *a, void (*work)(void *memory, size_t size), void *memory, size_t size);

/* Work: touches all of it, for writing. */
void ahead_touch(void *memory, size_t size);

#endif
