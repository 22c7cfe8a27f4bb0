/* The machine's block layer: how images are opened, and what it has to do with the run state. A machine that stops has
 * its requests done and its data on disk; one that stopped because of the host's error tries again when it goes on. */

#include "machine/machine.h"
#include "machine/runstate.h"

#include <errno.h>
#include <string.h>

typedef struct Storage {
    RunStateListener listener;
    Machine         *machine;
} Storage;

static int open_path(void *opaque, const char *path, int flags, int mode)
{
    return char_hub_open(((Machine *)opaque)->chars, path, flags, mode);
}

/* BLOCK_IO_ERROR, then the machine stops. */
static void stop_for_error(void *opaque, const BlockUser *user, BlockOp op, int error)
{
    Machine         *m    = opaque;
    Json            *data = json_new_object();
    g_autofree char *path = user->owner ? object_path(user->owner) : g_strdup("");
    json_add(data, "qom-path", json_new_string(path));
    json_add(data, "device", json_new_string(user->drive ? user->drive->id : ""));
    json_add(data, "node-name", json_new_string(block_node_name(user->node)));
    json_add(data, "operation", json_new_string(op == BLOCK_READ ? "read" : "write"));
    json_add(data, "action", json_new_string("stop"));
    json_add(data, "nospace", json_new_bool(error == ENOSPC));
    json_add(data, "reason", json_new_string(g_strerror(error)));
    platform_emit(&m->platform, "BLOCK_IO_ERROR", data);
    warn_report("%s: the host cannot %s: %s; the machine waits ('cont' tries again)", user->name,
                op == BLOCK_READ ? "read" : "write", g_strerror(error));
    run_state_request_pause(m, RUN_STATE_IO_ERROR);
}

/* DEVICE_TRAY_MOVED */
static void tray_moved(void *opaque, const BlockUser *user, bool open)
{
    Machine         *m    = opaque;
    g_autofree char *path = user->owner ? object_path(user->owner) : g_strdup("");
    Json            *data = json_new_object();
    json_add(data, "device", json_new_string(user->drive ? user->drive->id : ""));
    const Device *dev =
        user->owner && user->owner->type->class == OBJECT_CLASS_DEVICE ? (const Device *)user->owner : NULL;
    json_add(data, "id", json_new_string(dev && dev->id ? dev->id : path));
    json_add(data, "tray-open", json_new_bool(open));
    platform_emit(&m->platform, "DEVICE_TRAY_MOVED", data);
}

static void state_changed(RunStateListener *self, RunState state)
{
    BlockHub *hub = ((Storage *)self)->machine->block;
    if (state == RUN_STATE_RUNNING) {
        block_hub_retry(hub);
    } else if (state != RUN_STATE_DEBUG) { /* a debugger's steps are too many to write out each */
        block_hub_drain(hub);
        block_hub_flush(hub);
    }
}

bool machine_make_storage(Machine *m, Error *err)
{
    BlockHost host = { .open = open_path, .stop = stop_for_error, .tray_moved = tray_moved, .opaque = m };
    m->block       = block_hub_new(m->platform.loop, &host, err);
    if (!m->block) {
        return false;
    }
    m->platform.block = m->block;
    Storage *s        = g_new0(Storage, 1);
    s->machine        = m;
    s->listener       = (RunStateListener){ .changed = state_changed };
    m->storage        = s;
    machine_add_state_listener(m, &s->listener);
    return true;
}

void machine_free_storage(Machine *m)
{
    if (m->storage) {
        machine_remove_state_listener(m, &m->storage->listener);
        g_clear_pointer(&m->storage, g_free);
    }
    g_clear_pointer(&m->block, block_hub_free);
    m->platform.block = NULL;
}
