/* Files that are read as a whole. */

#ifndef QUERN_BASE_FILE_H
#define QUERN_BASE_FILE_H

#include "base/error.h"

#include <stddef.h>

/* What is in it, with a NUL behind it that does not count in *len (NULL: nobody asks). The caller frees; NULL: an error
 * that names the file. */
char *file_read(const char *path, size_t *len, Error *err);

#endif
