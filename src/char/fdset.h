/* Sets of inherited file descriptors (-add-fd), opened by the name /dev/fdset/N. Main thread. */

#ifndef QUERN_CHAR_FDSET_H
#define QUERN_CHAR_FDSET_H

#include "base/error.h"

#include <stdint.h>

typedef struct FdSets FdSets;

FdSets *fdsets_new(void);
void    fdsets_free(FdSets *sets); /* closes all of them; NULL is fine */

/* Adds a duplicate of `fd` to `set`. `opaque` is the user's note, may be NULL. */
bool fdsets_add(FdSets *sets, int fd, int64_t set, const char *opaque, Error *err);

/* What fdsets_add() made last; the smallest number that no set has. */
int     fdsets_last(const FdSets *sets);
int64_t fdsets_unused(const FdSets *sets);

/* Closes one descriptor of a set, or all (-1). */
bool fdsets_remove(FdSets *sets, int64_t set, int fd, Error *err);
void fdsets_foreach(FdSets *sets, void (*visit)(void *opaque, int64_t set, int fd, const char *text), void *opaque);

/* Is `path` "/dev/fdset/N"? */
bool fdset_path(const char *path, int64_t *set);

/* A duplicate of the first descriptor of `set` whose access mode is that of `flags`. -1 and errno. */
int fdsets_open(FdSets *sets, int64_t set, int flags);

#endif
