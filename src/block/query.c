/* What management hears of drives, nodes and their statistics: QMP's query-block, query-named-block-nodes and
 * query-blockstats. Members are those of QEMU 9.1. Machine lock. */

#include "block/hub.h"

#include "object/object.h"

#include <string.h>

static Json *describe_image(BlockNode *n, unsigned depth)
{
    Json       *image = json_new_object();
    const char *path  = block_node_filename(n);
    json_add(image, "filename", json_new_string(path ? path : ""));
    json_add(image, "format", json_new_string(n->driver->name));
    json_add(image, "virtual-size", json_new_uint(n->size));
    BlockNode *file = n;
    while (file && !file->driver->allocated) {
        file = file->file;
    }
    if (file) {
        json_add(image, "actual-size", json_new_uint(file->driver->allocated(file)));
    }
    json_add(image, "dirty-flag", json_new_bool(false));
    if (n->driver->describe) {
        n->driver->describe(n, image);
    }
    if (n->backing && depth < BLOCK_MAX_DEPTH) {
        const char *backing = block_node_filename(n->backing);
        json_set(image, "full-backing-filename", json_new_string(backing ? backing : ""));
        json_add(image, "backing-image", describe_image(n->backing, depth + 1));
    }
    return image;
}

static Json *describe_node(BlockNode *n, bool write_cache, bool flat)
{
    static const char *const throttles[] = { "bps", "bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr" };
    static const char *const detect[]    = { "off", "on", "unmap" };
    Json                    *j = json_new_object(), *cache = json_new_object();
    const char              *path  = block_node_filename(n);
    int                      depth = 0;
    for (const BlockNode *b = n->backing; b; b = b->backing) {
        depth++;
    }
    json_add(j, "file", json_new_string(path ? path : ""));
    json_add(j, "node-name", json_new_string(n->name));
    json_add(j, "ro", json_new_bool(!n->writable));
    json_add(j, "drv", json_new_string(n->driver->name));
    if (n->backing) {
        const char *backing = block_node_filename(n->backing);
        json_add(j, "backing_file", json_new_string(backing ? backing : ""));
    }
    json_add(j, "backing_file_depth", json_new_int(depth));
    json_add(j, "encrypted", json_new_bool(false));
    json_add(j, "detect_zeroes", json_new_string(detect[n->o.detect_zeroes]));
    for (size_t i = 0; i < G_N_ELEMENTS(throttles); i++) {
        json_add(j, throttles[i], json_new_int(0));
    }
    json_add(cache, "writeback", json_new_bool(write_cache));
    json_add(cache, "direct", json_new_bool(n->o.direct));
    json_add(cache, "no-flush", json_new_bool(n->o.no_flush));
    json_add(j, "cache", cache);
    json_add(j, "write_threshold", json_new_int(0));
    json_add(j, "image", describe_image(n, flat ? BLOCK_MAX_DEPTH : 0));
    return j;
}

static void add_owner(Json *j, const BlockUser *u)
{
    if (u && u->owner) {
        g_autofree char *path = object_path(u->owner);
        json_add(j, "qdev", json_new_string(path));
    }
}

static Json *describe_drive(const Drive *d, const BlockUser *u)
{
    Json      *j = json_new_object();
    BlockNode *n = u && u->node ? u->node : d ? d->node : NULL;
    json_add(j, "device", json_new_string(d ? d->id : ""));
    add_owner(j, u);
    json_add(j, "type", json_new_string("unknown"));
    json_add(j, "removable", json_new_bool(u ? u->tray != NULL : d->cdrom));
    json_add(j, "locked", json_new_bool(u && u->tray && u->tray->is_locked(u)));
    if (u ? u->tray != NULL : d->cdrom) {
        json_add(j, "tray_open", json_new_bool(u && u->tray->is_open(u)));
    }
    if (u && u->node) {
        bool held = block_has_held(u);
        json_add(j, "io-status", json_new_string(held ? "failed" : "ok"));
    }
    if (n) {
        json_add(j, "inserted", describe_node(n, u ? u->write_cache : d->write_cache, false));
    }
    return j;
}

/* Drives in their order, then devices that have a node of -blockdev. */
Json *block_query_drives(BlockHub *hub)
{
    Json *list = json_new_list();
    for (guint i = 0; i < hub->drives->len; i++) {
        const Drive *d = hub->drives->pdata[i];
        json_append(list, describe_drive(d, d->user));
    }
    for (const BlockUser *u = hub->users; u; u = u->next) {
        if (!u->drive) {
            json_append(list, describe_drive(NULL, u));
        }
    }
    return list;
}

Json *block_query_nodes(BlockHub *hub, bool flat)
{
    Json *list = json_new_list();
    for (BlockNode *n = hub->nodes; n; n = n->next) {
        json_append(list, describe_node(n, true, flat));
    }
    return list;
}

/* --- statistics --- */

static void add_count(Json *j, const char *before, const char *name, const char *after, uint64_t value)
{
    g_autofree char *full = g_strconcat(before, name, after, NULL);
    json_add(j, full, json_new_uint(value));
}

/* A flush has no bytes, and nothing that could be merged or invalid. */
static void add_counts(Json *j, const char *name, BlockOp op, const BlockStats *s)
{
    add_count(j, "", name, "_operations", s->operations[op]);
    add_count(j, "", name, "_total_time_ns", s->time_ns[op]);
    add_count(j, "failed_", name, "_operations", s->failed[op]);
    if (op != BLOCK_FLUSH) {
        add_count(j, "", name, "_bytes", s->bytes[op]);
        add_count(j, "", name, "_merged", 0);
        add_count(j, "invalid_", name, "_operations", s->invalid[op]);
    }
}

static Json *describe_stats(const BlockUser *u)
{
    static const BlockStats none = { 0 };
    const BlockStats       *s    = u ? &u->stats : &none;
    Json                   *j    = json_new_object();
    add_counts(j, "rd", BLOCK_READ, s);
    add_counts(j, "wr", BLOCK_WRITE, s);
    add_counts(j, "unmap", BLOCK_DISCARD, s);
    add_counts(j, "flush", BLOCK_FLUSH, s);
    add_counts(j, "zone_append", BLOCK_READ, &none);
    json_add(j, "wr_highest_offset", json_new_uint(s->highest));
    json_add(j, "account_invalid", json_new_bool(true));
    json_add(j, "account_failed", json_new_bool(true));
    json_add(j, "timed_stats", json_new_list());
    return j;
}

static Json *user_stats(const Drive *d, const BlockUser *u)
{
    Json            *j = json_new_object();
    const BlockNode *n = u && u->node ? u->node : d ? d->node : NULL;
    json_add(j, "device", json_new_string(d ? d->id : ""));
    add_owner(j, u);
    if (n) {
        json_add(j, "node-name", json_new_string(n->name));
    }
    json_add(j, "stats", describe_stats(u));
    return j;
}

Json *block_query_stats(BlockHub *hub, bool nodes)
{
    Json *list = json_new_list();
    for (const BlockNode *n = nodes ? hub->nodes : NULL; n; n = n->next) {
        Json *j = json_new_object();
        json_add(j, "node-name", json_new_string(n->name));
        json_add(j, "stats", describe_stats(NULL));
        json_append(list, j);
    }
    for (guint i = 0; !nodes && i < hub->drives->len; i++) {
        const Drive *d = hub->drives->pdata[i];
        json_append(list, user_stats(d, d->user));
    }
    for (const BlockUser *u = nodes ? NULL : hub->users; u; u = u->next) {
        if (!u->drive) {
            json_append(list, user_stats(NULL, u));
        }
    }
    return list;
}
