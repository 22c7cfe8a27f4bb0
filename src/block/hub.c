/* The hub: all of a machine's block nodes, drives and users. Machine lock. */

#include "block/hub.h"

#include <errno.h>
#include <string.h>

BlockHub *block_hub_new(Loop *loop, const BlockHost *host, Error *err)
{
    BlockHub *hub = g_new0(BlockHub, 1);
    hub->loop     = loop;
    hub->host     = *host;
    hub->drives   = g_ptr_array_new();
    if (!block_workers_init(hub, err)) {
        block_hub_free(hub);
        return NULL;
    }
    return hub;
}

/* Devices are gone: drives let go of their nodes, then -blockdev's. Each node flushes before it is closed. */
void block_hub_free(BlockHub *hub)
{
    if (!hub) {
        return;
    }
    drives_free(hub);
    for (BlockNode *n = hub->nodes; n;) {
        bool keeps      = n->keeps;
        n->keeps        = false;
        BlockNode *next = n->next;
        if (keeps) {
            block_node_unref(n);
            next = hub->nodes; /* its children may be gone too */
        }
        n = next;
    }
    block_workers_end(hub);
    g_free(hub);
}

bool block_hub_flush(BlockHub *hub)
{
    bool ok = true;
    for (BlockNode *n = hub->nodes; n; n = n->next) {
        int error = block_node_flush(n);
        if (error) {
            warn_report("node '%s': cannot make it durable: %s", n->name, g_strerror(error));
            ok = false;
        }
    }
    return ok;
}

/* --- users --- */

static bool find_medium(BlockUser *user, const char *drive, Error *err)
{
    BlockHub *hub = user->hub;
    user->drive   = drive_find(hub, drive);
    user->node    = user->drive ? user->drive->node : block_find_node(hub, drive);
    if (!user->drive && !user->node) {
        return error_set(err, "there is no drive and no block node '%s'", drive);
    }
    if (user->drive && user->drive->user) {
        return error_set(err, "drive '%s' is in use by %s already", drive, user->drive->user->name);
    }
    return true;
}

bool block_attach(BlockUser *user, BlockHub *hub, const char *drive, BlockAccess access, const char *name, Error *err)
{
    *user = (BlockUser){ .hub = hub, .write_cache = true, .on_write_error = BLOCK_ERROR_ENOSPC };
    if (!find_medium(user, drive, err)) {
        *user = (BlockUser){ 0 };
        return false;
    }
    BlockNode *n   = user->node;
    user->writable = n && access != BLOCK_READS && block_node_may_write(n);
    if (n && !block_node_use(n, user->writable, name, err)) {
        *user = (BlockUser){ 0 };
        return false;
    }
    if (n && user->writable && !n->writable) { /* the host does not let us */
        block_node_unuse(n, true);
        block_node_use(n, false, name, err);
        user->writable = false;
    }
    if (n && access == BLOCK_WRITES && !user->writable) {
        block_node_unuse(n, false);
        error_set(err, "'%s' is read-only, and %s is not", drive, name);
        *user = (BlockUser){ 0 };
        return false;
    }
    if (n) {
        block_node_ref(n);
    }
    if (user->drive) {
        user->drive->user    = user;
        user->write_cache    = user->drive->write_cache;
        user->on_read_error  = user->drive->on_read_error;
        user->on_write_error = user->drive->on_write_error;
    }
    user->name = g_strdup(name);
    user->next = hub->users;
    hub->users = user;
    return true;
}

void block_detach(BlockUser *user)
{
    BlockHub *hub = user->hub;
    if (!hub) {
        return;
    }
    block_cancel(user);
    for (BlockUser **at = &hub->users; *at; at = &(*at)->next) {
        if (*at == user) {
            *at = user->next;
            break;
        }
    }
    if (user->drive) {
        user->drive->user = NULL;
    }
    if (user->node) {
        int error = user->writable ? block_node_flush(user->node) : 0;
        if (error) {
            warn_report("%s: what was written last may be lost: %s", user->name, g_strerror(error));
        }
        block_node_unuse(user->node, user->writable);
        block_node_unref(user->node);
    }
    g_free(user->name);
    *user = (BlockUser){ 0 };
}

uint64_t block_user_size(const BlockUser *user)
{
    return user->node ? user->node->size : 0;
}
