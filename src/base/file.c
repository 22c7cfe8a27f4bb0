/* Files that are read as a whole: see file.h. */

#include "base/file.h"

#include <glib.h>

char *file_read(const char *path, size_t *len, Error *err)
{
    g_autoptr(GError) failure = NULL;
    char *data;
    gsize size;
    if (!g_file_get_contents(path, &data, &size, &failure)) {
        error_set(err, "%s", failure->message);
        return NULL;
    }
    if (len) {
        *len = size;
    }
    return data;
}
