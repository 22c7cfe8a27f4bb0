/* The qcow2 driver's cache of tables. See qcow2.h for locks. */

#include "block/qcow2.h"

#include <errno.h>
#include <string.h>

void qcow2_cache_init(Qcow2Cache *c, Qcow2 *owner, unsigned n_slots, int (*make_room)(Qcow2 *q))
{
    c->owner     = owner;
    c->n_slots   = n_slots;
    c->slots     = g_new0(Qcow2Slot, n_slots);
    c->by_offset = g_hash_table_new(g_int64_hash, g_int64_equal);
    c->make_room = make_room;
    pthread_mutex_init(&c->mutex, NULL);
}

void qcow2_cache_free(Qcow2Cache *c)
{
    if (!c->slots) {
        return;
    }
    for (unsigned i = 0; i < c->n_filled; i++) {
        g_free(c->slots[i].data);
    }
    g_free(c->slots);
    g_hash_table_destroy(c->by_offset);
    pthread_mutex_destroy(&c->mutex);
}

static Qcow2Slot *find(Qcow2Cache *c, uint64_t offset)
{
    Qcow2Slot *s = g_hash_table_lookup(c->by_offset, &offset);
    if (s) {
        s->used = ++c->clock;
    }
    return s;
}

/* A slot for another table; NULL: all are dirty. Mutex held. */
static Qcow2Slot *take_slot(Qcow2Cache *c)
{
    if (c->n_filled < c->n_slots) {
        Qcow2Slot *s = &c->slots[c->n_filled++];
        s->data      = g_malloc(c->owner->cluster_size);
        return s;
    }
    Qcow2Slot *oldest = NULL;
    for (unsigned i = 0; i < c->n_slots && c->n_dirty < c->n_slots; i++) {
        Qcow2Slot *s = &c->slots[i];
        if (!s->dirty && (!oldest || s->used < oldest->used)) {
            oldest = s;
        }
    }
    if (oldest && oldest->offset) {
        g_hash_table_remove(c->by_offset, &oldest->offset);
        oldest->offset = 0;
    }
    return oldest;
}

static void fill_slot(Qcow2Cache *c, Qcow2Slot *s, uint64_t offset)
{
    s->offset = offset;
    s->used   = ++c->clock;
    s->dirty  = false;
    g_hash_table_insert(c->by_offset, &s->offset, s);
}

/* The table in a slot, read if need be; *slot NULL: there is no room. Mutex held. */
static int load(Qcow2Cache *c, uint64_t offset, Qcow2Slot **slot)
{
    *slot = find(c, offset);
    if (*slot) {
        return 0;
    }
    Qcow2Slot *s = take_slot(c);
    if (!s) {
        return 0;
    }
    int error = block_node_read(c->owner->node.file, offset, s->data, c->owner->cluster_size);
    if (!error) {
        fill_slot(c, s, offset);
        *slot = s;
    }
    return error;
}

int qcow2_cache_read(Qcow2Cache *c, uint64_t offset, size_t at, void *to, size_t len)
{
    Qcow2Slot *s;
    pthread_mutex_lock(&c->mutex);
    int error = load(c, offset, &s);
    if (!error && s) {
        memcpy(to, s->data + at, len);
    } else if (!error) {
        error = block_node_read(c->owner->node.file, offset + at, to, len);
    }
    pthread_mutex_unlock(&c->mutex);
    return error;
}

bool qcow2_cache_has(Qcow2Cache *c, uint64_t offset)
{
    pthread_mutex_lock(&c->mutex);
    bool has = g_hash_table_contains(c->by_offset, &offset);
    pthread_mutex_unlock(&c->mutex);
    return has;
}

int qcow2_cache_edit(Qcow2Cache *c, uint64_t offset, bool fresh, uint8_t **data)
{
    Qcow2Slot *s     = NULL;
    int        error = 0;
    for (unsigned round = 0; round < 2 && !s && !error; round++) {
        if (round && (error = c->make_room(c->owner))) {
            break;
        }
        pthread_mutex_lock(&c->mutex);
        if (!fresh) {
            error = load(c, offset, &s);
        } else if (!(s = find(c, offset)) && (s = take_slot(c))) {
            fill_slot(c, s, offset);
        }
        if (s && fresh) {
            memset(s->data, 0, c->owner->cluster_size);
        }
        if (s && !s->dirty) {
            s->dirty = true;
            c->n_dirty++;
        }
        pthread_mutex_unlock(&c->mutex);
    }
    if (s) {
        *data = s->data;
    }
    return error ? error : s ? 0 : EIO;
}

int qcow2_cache_write_back(Qcow2Cache *c)
{
    int error = 0;
    pthread_mutex_lock(&c->mutex);
    for (unsigned i = 0; i < c->n_filled && c->n_dirty && !error; i++) {
        Qcow2Slot *s = &c->slots[i];
        if (s->dirty) {
            error = block_node_write(c->owner->node.file, s->offset, s->data, c->owner->cluster_size);
            if (!error) {
                s->dirty = false;
                c->n_dirty--;
            }
        }
    }
    pthread_mutex_unlock(&c->mutex);
    return error;
}

void qcow2_cache_forget(Qcow2Cache *c, uint64_t offset)
{
    pthread_mutex_lock(&c->mutex);
    Qcow2Slot *s = g_hash_table_lookup(c->by_offset, &offset);
    if (s) {
        g_hash_table_remove(c->by_offset, &offset);
        c->n_dirty -= s->dirty;
        s->dirty  = false;
        s->offset = 0;
        s->used   = 0;
    }
    pthread_mutex_unlock(&c->mutex);
}
