/* Media that change: opening a tray, taking a disc out, putting another one in. Machine lock. */

#include "block/hub.h"

#include "object/object.h"

#include <string.h>

BlockUser *block_find_removable(BlockHub *hub, const char *name, Error *err)
{
    for (BlockUser *u = hub->users; u; u = u->next) {
        g_autofree char *path = u->owner ? object_path(u->owner) : NULL;
        if ((u->drive && !strcmp(u->drive->id, name)) ||
            (path && (!strcmp(path, name) || !strcmp(u->owner->name, name)))) {
            if (!u->tray) {
                error_set(err, "the medium of %s cannot be changed", u->name);
            }
            return u->tray ? u : NULL;
        }
    }
    error_set(err, "there is no drive and no device '%s' with a medium", name);
    return NULL;
}

/* Another node, or none, in the place of the user's. Nothing is under way for the old one. */
static void set_node(BlockUser *u, BlockNode *n)
{
    Drive *d = u->drive;
    if (u->node) {
        block_node_unuse(u->node, u->writable);
        block_node_unref(u->node);
    }
    if (d) {
        block_node_unref(d->node);
        d->node = n ? block_node_ref(n) : NULL;
    }
    u->node     = n;
    u->writable = false;
    u->tray->changed(u);
}

bool block_open_tray(BlockUser *u, bool force, Error *err)
{
    if (u->tray->is_open(u)) {
        return true;
    }
    if (u->tray->is_locked(u)) {
        u->tray->ask_eject(u);
        if (!force) {
            return error_set(err, "the guest has locked the tray of %s; it has been asked to open it (force opens it)",
                             u->name);
        }
    }
    u->tray->move(u, true);
    return true;
}

void block_close_tray(BlockUser *u)
{
    if (u->tray->is_open(u)) {
        u->tray->move(u, false);
    }
}

static bool check_open(const BlockUser *u, Error *err)
{
    return u->tray->is_open(u) || error_set(err, "the tray of %s is closed", u->name);
}

bool block_remove_medium(BlockUser *u, Error *err)
{
    if (!check_open(u, err)) {
        return false;
    }
    if (u->node) {
        block_drain(u);
        block_cancel(u); /* what is held for an error */
        set_node(u, NULL);
    }
    return true;
}

bool block_insert_medium(BlockUser *u, BlockNode *n, Error *err)
{
    if (!check_open(u, err)) {
        return false;
    }
    if (u->node) {
        return error_set(err, "there is a medium in %s already", u->name);
    }
    if (!block_node_use(n, false, u->name, err)) {
        return false;
    }
    set_node(u, block_node_ref(n));
    return true;
}

bool block_change_medium(BlockUser *u, const char *path, const char *format, bool force, Error *err)
{
    g_autoptr(Json) more = json_new_object();
    json_add(more, "read-only", json_new_string("on"));
    /* First of all, so that everything stays as it is when it fails. */
    BlockNode *n = block_open_path(u->hub, path, format, more, NULL, true, NULL, false, err);
    bool ok      = n && block_open_tray(u, force, err) && block_remove_medium(u, err) && block_insert_medium(u, n, err);
    block_node_unref(n);
    if (ok) {
        block_close_tray(u);
    }
    return ok;
}

bool block_eject(BlockUser *u, bool force, Error *err)
{
    return block_open_tray(u, force, err) && block_remove_medium(u, err);
}

void block_tray_moved(BlockUser *u, bool open)
{
    if (u->hub && u->hub->host.tray_moved) {
        u->hub->host.tray_moved(u->hub->host.opaque, u, open);
    }
}
