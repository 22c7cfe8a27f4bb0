/* Temporary images: what a guest writes with -snapshot. Machine lock. */

#include "block/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* The node of the file, empty. Its name is gone as soon as it is open. */
static BlockNode *open_file(BlockHub *hub, Error *err)
{
    const char      *folder = g_getenv("TMPDIR");
    g_autofree char *path   = g_build_filename(folder && *folder ? folder : "/var/tmp", "quern-XXXXXX", NULL);
    int              fd     = mkstemp(path);
    if (fd < 0) {
        error_set_errno(err, errno, "'%s': cannot make a temporary file (TMPDIR says where)", path);
        return NULL;
    }
    close(fd);
    g_autoptr(Json) options = json_new_object(), cache = json_new_object();
    json_add(options, "driver", json_new_string("file"));
    json_add(options, "filename", json_new_string(path));
    json_add(options, "discard", json_new_string("unmap"));
    json_add(cache, "no-flush", json_new_string("on"));
    json_add(options, "cache", g_steal_pointer(&cache));
    BlockNode *file = block_open(hub, options, true, NULL, false, err);
    unlink(path);
    return file;
}

BlockNode *block_open_temporary(BlockNode *below, Error *err)
{
    BlockHub  *hub  = below->hub;
    BlockNode *file = open_file(hub, err), *n = NULL;
    int        error = file ? qcow2_create(file, below->size) : 0;
    if (error) {
        error_set_errno(err, error, "cannot write a temporary file");
    } else if (file) {
        g_autoptr(Json) options = json_new_object(), cache = json_new_object();
        json_add(options, "driver", json_new_string("qcow2"));
        json_add(options, "file", json_new_string(block_node_name(file)));
        json_add(options, "backing", json_new_string(block_node_name(below)));
        json_add(options, "discard", json_new_string("unmap"));
        json_add(cache, "no-flush", json_new_string("on"));
        json_add(options, "cache", g_steal_pointer(&cache));
        n = block_open(hub, options, true, NULL, false, err);
    }
    block_node_unref(file);
    return n;
}
