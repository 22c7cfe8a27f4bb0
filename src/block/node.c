/* The graph of block nodes: opening what options describe, references, names, who uses what; and the data path from a
 * node to its driver. Graph: machine lock. Data: any thread. */

#include "block/hub.h"

#include "base/text.h"
#include "object/object.h"

#include <errno.h>
#include <string.h>

static const char *const discard_names[]       = { "ignore", "off", "unmap", "on", NULL };
static const char *const detect_zeroes_names[] = { "off", "on", "unmap", NULL };

const Field block_node_options[] = {
    FIELD(BlockNodeOptions, driver, "driver", .help = "kind of node"),
    FIELD(BlockNodeOptions, node_name, "node-name", .help = "name to refer to it by"),
    FIELD(BlockNodeOptions, read_only, "read-only", .help = "takes no writes"),
    FIELD(BlockNodeOptions, auto_read_only, "auto-read-only", .help = "read-only where writing is not allowed"),
    FIELD(BlockNodeOptions, force_share, "force-share", .help = "bears others that write the file meanwhile"),
    FIELD(BlockNodeOptions, direct, "cache.direct", .help = "past the host's page cache"),
    FIELD(BlockNodeOptions, no_flush, "cache.no-flush", .help = "never asks the host to make data durable"),
    FIELD(BlockNodeOptions, discard, "discard", .names = discard_names, .help = "whether trimmed space is given back"),
    FIELD(BlockNodeOptions, detect_zeroes, "detect-zeroes", .names = detect_zeroes_names,
          .help = "whether writes of zeros become something cheaper"),
    {},
};

/* In the order in which formats are guessed. */
static const BlockDriver *const drivers[] = { &block_qcow2, &block_raw, &block_file, &block_host_device };

static const char *const missing_drivers[] = {
    "blkdebug",
    "blklogwrites",
    "blkreplay",
    "blkverify",
    "bochs",
    "cloop",
    "compress",
    "copy-before-write",
    "copy-on-read",
    "dmg",
    "ftp",
    "ftps",
    "gluster",
    "host_cdrom",
    "http",
    "https",
    "io_uring",
    "iscsi",
    "luks",
    "nbd",
    "nfs",
    "null-aio",
    "null-co",
    "nvme",
    "nvme-io_uring",
    "parallels",
    "preallocate",
    "qcow",
    "qed",
    "quorum",
    "raw-probed",
    "rbd",
    "replication",
    "snapshot-access",
    "ssh",
    "throttle",
    "vdi",
    "vhdx",
    "virtio-blk-vfio-pci",
    "virtio-blk-vhost-user",
    "virtio-blk-vhost-vdpa",
    "vmdk",
    "vpc",
    "vvfat",
};

static const BlockDriver *find_driver(const char *name, Error *err)
{
    NameMatch match = { .word = name };
    char      hint[128];
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (!strcmp(drivers[i]->name, name)) {
            return drivers[i];
        }
        text_match_name(&match, drivers[i]->name);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(missing_drivers); i++) {
        if (!strcmp(missing_drivers[i], name)) {
            error_set_unsupported(err, "block driver '%s'", name);
            return NULL;
        }
    }
    error_set(err, "no block driver '%s'%s", name, text_did_you_mean(&match, hint));
    return NULL;
}

bool block_check_driver(const char *name, Error *err)
{
    return find_driver(name, err) != NULL;
}

const BlockDriver *block_probe(const uint8_t *head, size_t len)
{
    for (size_t i = 0; i < G_N_ELEMENTS(drivers); i++) {
        if (drivers[i]->probe && drivers[i]->probe(head, len)) {
            return drivers[i];
        }
    }
    return &block_raw;
}

/* --- references and users --- */

BlockNode *block_find_node(BlockHub *hub, const char *name)
{
    BlockNode *n = hub->nodes;
    while (n && strcmp(n->name, name) != 0) {
        n = n->next;
    }
    return n;
}

const char *block_node_name(const BlockNode *n)
{
    return n->name;
}

BlockNode *block_node_ref(BlockNode *n)
{
    n->refs++;
    return n;
}

static void unlink_node(BlockNode *n)
{
    BlockNode **at = &n->hub->nodes;
    while (*at && *at != n) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = n->next;
    }
}

static void drop_child(BlockNode *child, bool writes)
{
    if (child) {
        block_node_unuse(child, writes);
        block_node_unref(child);
    }
}

/* Frees a node that is not open (any more). */
static void free_node(BlockNode *n)
{
    unlink_node(n);
    drop_child(n->backing, false);
    drop_child(n->file, !n->o.read_only);
    fields_clear(n->driver->options, n);
    g_free(n->name);
    g_free(n->used_by);
    g_free(n);
}

void block_node_unref(BlockNode *n)
{
    if (!n || --n->refs) {
        return;
    }
    int error = n->writable ? block_node_flush(n) : 0;
    if (error) {
        const char *path = block_node_filename(n);
        warn_report("'%s': what was written last may be lost: %s", path ? path : n->name, g_strerror(error));
    }
    if (n->driver->close) {
        n->driver->close(n);
    }
    free_node(n);
}

bool block_node_may_write(const BlockNode *n)
{
    return n->writable || (n->o.auto_read_only && !n->o.read_only && n->driver->set_writable);
}

bool block_node_use(BlockNode *n, bool writes, const char *who, Error *err)
{
    if (n->writers || (writes && n->users)) {
        return error_set(err, "node '%s' is in use by %s already%s", n->name, n->used_by ? n->used_by : "another one",
                         n->writers ? ", which writes it" : "");
    }
    if (writes && !n->writable && block_node_may_write(n) && !n->driver->set_writable(n, true, err)) {
        return false;
    }
    n->users++;
    n->writers += writes;
    g_free(n->used_by);
    n->used_by = g_strdup(who);
    return true;
}

void block_node_unuse(BlockNode *n, bool writes)
{
    n->users--;
    n->writers -= writes;
    if (writes && n->keeps && n->writable && n->o.auto_read_only && n->driver->set_writable) {
        g_auto(Error) ignored = {};
        n->driver->set_writable(n, false, &ignored);
    }
}

/* --- opening --- */

static bool check_options(BlockNode *n, Error *err)
{
    const BlockNodeOptions *o = &n->o;
    if (o->force_share && !o->read_only) {
        return error_set(err, "force-share=on needs read-only=on");
    }
    if (o->detect_zeroes == BLOCK_DETECT_ZEROES_UNMAP && o->discard < BLOCK_DISCARD_UNMAP) {
        return error_set(err, "detect-zeroes=unmap needs discard=unmap");
    }
    return true;
}

/* The name, which is unique among nodes and drives. */
static bool name_node(BlockNode *n, Error *err)
{
    BlockHub   *hub  = n->hub;
    const char *name = n->o.node_name;
    if (!name) {
        do {
            g_free(n->name);
            n->name = g_strdup_printf("#block%03u", hub->names_made++);
        } while (block_find_node(hub, n->name));
        return true;
    }
    if (!object_check_id(name, err)) {
        return error_prefix(err, "node-name=");
    }
    if (strlen(name) > 31) {
        return error_set(err, "node-name=%s: a name has 31 characters at most", name);
    }
    if (block_find_node(hub, name)) {
        return error_set(err, "node-name=%s: there is a node of that name already", name);
    }
    if (drive_find(hub, name)) {
        return error_set(err, "node-name=%s: there is a drive with that id already", name);
    }
    n->name = g_strdup(name);
    return true;
}

static void inherit(BlockNodeOptions *o, const BlockNodeOptions *from, bool backing)
{
    o->read_only      = backing || from->read_only;
    o->auto_read_only = from->auto_read_only;
    o->force_share    = from->force_share;
    o->direct         = from->direct;
    o->no_flush       = from->no_flush;
    o->discard        = backing ? BLOCK_DISCARD_IGNORE : from->discard;
}

/* A child: text names a node that is there; an object describes a new one. */
static BlockNode *open_child(BlockNode *n, const char *key, const Json *value, bool lenient, bool backing, Error *err)
{
    BlockNode *child = NULL;
    if (value->kind == JSON_STRING) {
        child = block_find_node(n->hub, value->string);
        if (!child) {
            error_set(err, "%s=%s: there is no node of that name", key, value->string);
            return NULL;
        }
        block_node_ref(child);
    } else if (value->kind == JSON_OBJECT) {
        child = block_open(n->hub, value, lenient, n, backing, err);
        if (!child) {
            error_prefix(err, "%s: ", key);
            return NULL;
        }
    } else {
        error_set(err, "property '%s' takes the name of a node, or an object that describes one, not %s", key,
                  json_kind_name(value->kind));
        return NULL;
    }
    g_autofree char *who = g_strdup_printf("node '%s'", n->name);
    if (!block_node_use(child, !backing && !n->o.read_only, who, err)) {
        error_prefix(err, "%s=", key);
        block_node_unref(child);
        return NULL;
    }
    return child;
}

static bool open_children(BlockNode *n, const Json *options, bool lenient, Error *err)
{
    const Json *file = json_get(options, "file"), *backing = json_get(options, "backing");
    if (n->driver->protocol) {
        return true;
    }
    if (!file) {
        return error_set(err, "property 'file' is missing: the node that the %s image lies in", n->driver->name);
    }
    if (!(n->file = open_child(n, "file", file, lenient, false, err))) {
        return false;
    }
    /* backing=null, or backing= as text: without the one that the image names. */
    n->no_backing = backing && (backing->kind == JSON_NULL || (backing->kind == JSON_STRING && !*backing->string));
    return !backing || n->no_backing || (n->backing = open_child(n, "backing", backing, lenient, true, err)) != NULL;
}

static bool open_node(BlockNode *n, const Json *options, bool lenient, const BlockNode *parent, bool backing,
                      Error *err)
{
    static const char *const of_protocol[] = { NULL };
    static const char *const of_format[]   = { "file", NULL };
    static const char *const of_backed[]   = { "file", "backing", NULL };
    const char *const       *children = n->driver->protocol ? of_protocol : n->driver->backing ? of_backed : of_format;
    n->above                          = parent;
    n->depth                          = parent ? parent->depth + 1 : 0;
    if (n->depth > BLOCK_MAX_DEPTH) {
        return error_set(err, "more than %d images lie one behind the other", BLOCK_MAX_DEPTH / 2);
    }
    if (!fields_parse(n->driver->options, n, options, lenient, children, err) || !check_options(n, err) ||
        !name_node(n, err) || !open_children(n, options, lenient, err)) {
        return false;
    }
    if (!n->driver->open(n, err)) {
        return false;
    }
    if (!n->writable && !n->o.read_only && !n->o.auto_read_only) {
        error_set(err, "the node below is read-only; read-only=on says so here too");
        if (n->driver->close) {
            n->driver->close(n);
        }
        return false;
    }
    return true;
}

BlockNode *block_open(BlockHub *hub, const Json *options, bool lenient, const BlockNode *parent, bool backing,
                      Error *err)
{
    const char *name = json_get_string(options, "driver");
    if (!name) {
        error_set(err, "property 'driver' is missing%s", json_get(options, "driver") ? ": it takes a string" : "");
        return NULL;
    }
    const BlockDriver *driver = find_driver(name, err);
    if (!driver) {
        return NULL;
    }
    BlockNode *n = g_malloc0(driver->size);
    n->driver    = driver;
    n->hub       = hub;
    n->refs      = 1;
    fields_init(driver->options, n);
    if (parent) {
        inherit(&n->o, &parent->o, backing);
    }
    if (!open_node(n, options, lenient, parent, backing, err)) {
        free_node(n);
        return NULL;
    }
    n->above   = NULL;
    n->next    = hub->nodes;
    hub->nodes = n;
    return n;
}

/* "nbd://...", "json:..." and so on, told from a path by what stands before the first ':'. "file:" is taken off. */
static bool strip_protocol(const char **path, Error *err)
{
    const char *colon = strchr(*path, ':');
    if (!colon || memchr(*path, '/', (size_t)(colon - *path)) || colon == *path) {
        return true;
    }
    g_autofree char *protocol = g_strndup(*path, (gsize)(colon - *path));
    if (!strcmp(protocol, "file")) {
        *path = colon + 1;
        return true;
    }
    if (!strcmp(protocol, "json") || !strcmp(protocol, "fat")) {
        return error_set_unsupported(err, "'%s:' as a file name", protocol);
    }
    if (!block_check_driver(protocol, err) && g_str_has_suffix(err->text, "not supported yet")) {
        return false;
    }
    error_clear(err);
    return error_set(err, "'%s': there is no protocol '%s'; a file of that name is written ./%s", *path, protocol,
                     *path);
}

static Json *new_layer(const char *driver, const Json *more)
{
    Json *j = more ? json_copy(more) : json_new_object();
    if (!json_get(j, "driver")) {
        json_set(j, "driver", json_new_string(driver));
    }
    return j;
}

/* The protocol node, with the options of the format's node that children inherit. */
static BlockNode *open_protocol(BlockHub *hub, const char *path, const Json *more, const Json *more_file, bool lenient,
                                const BlockNode *parent, bool backing, Error *err)
{
    static const char *const inherited[] = { "read-only", "auto-read-only", "force-share", "discard", "cache" };
    g_autoptr(Json) options =
        new_layer(g_str_has_prefix(path, "/dev/") && block_is_device(path) ? "host_device" : "file", more_file);
    if (json_get(options, "filename")) {
        error_set(err, "file= and file.filename= say the same; give one of them");
        return NULL;
    }
    json_set(options, "filename", json_new_string(path));
    for (size_t i = 0; i < G_N_ELEMENTS(inherited); i++) {
        const Json *value = json_get(more, inherited[i]);
        if (value && !json_get(options, inherited[i])) {
            json_set(options, inherited[i], json_copy(value));
        }
    }
    return block_open(hub, options, lenient, parent, backing, err);
}

BlockNode *block_open_path(BlockHub *hub, const char *path, const char *format, const Json *more, const Json *more_file,
                           bool lenient, const BlockNode *parent, bool backing, Error *err)
{
    if (!strip_protocol(&path, err) || (format && !block_check_driver(format, err))) {
        return NULL;
    }
    BlockNode *file = open_protocol(hub, path, more, more_file, lenient, parent, backing, err);
    if (!file) {
        return NULL;
    }
    const BlockDriver *driver = NULL;
    if (!format) {
        uint8_t head[BLOCK_PROBE_SIZE];
        int     error = block_node_read(file, 0, head, sizeof head);
        if (error) {
            error_set_errno(err, error, "'%s': cannot read it", path);
            block_node_unref(file);
            return NULL;
        }
        driver = block_probe(head, sizeof head);
    }
    g_autoptr(Json) options = new_layer(format ? format : driver->name, more);
    json_set(options, "file", json_new_string(file->name));
    BlockNode *n = block_open(hub, options, lenient, parent, backing, err);
    block_node_unref(file); /* the node has it, or nobody */
    if (!n) {
        error_prefix(err, "'%s': ", path);
        return NULL;
    }
    n->probed = !format;
    return n;
}

char *block_relative_path(const char *base, const char *path)
{
    if (!base || g_path_is_absolute(path)) {
        return g_strdup(path);
    }
    g_autofree char *folder = g_path_get_dirname(base);
    return g_build_filename(folder, path, NULL);
}

/* --- -blockdev --- */

BlockNode *block_add_node(BlockHub *hub, const Json *options, bool lenient, Error *err)
{
    if (json_get(options, "driver") && !json_get(options, "node-name")) {
        error_set(err, "property 'node-name' is missing: nobody could refer to the node");
        return NULL;
    }
    BlockNode *n = block_open(hub, options, lenient, NULL, false, err);
    if (n) {
        n->keeps = true;
    }
    return n;
}

bool block_remove_node(BlockHub *hub, const char *name, Error *err)
{
    BlockNode *n = block_find_node(hub, name);
    if (!n) {
        return error_set(err, "there is no node '%s'", name);
    }
    if (!n->keeps) {
        return error_set(err, "node '%s' belongs to a drive or to another node and goes with it", name);
    }
    if (n->refs > 1) {
        return error_set(err, "node '%s' is in use by %s", name, n->used_by ? n->used_by : "another one");
    }
    block_node_unref(n);
    return true;
}

/* --- data --- */

bool block_is_zero(const void *buf, size_t len)
{
    const uint8_t *p = buf;
    return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

/* A write of nothing but zeros, where detect-zeroes= asks for it: 0 when it was made something else. */
static int write_zeros(BlockNode *n, uint64_t offset, const void *buf, size_t len)
{
    return n->o.detect_zeroes != BLOCK_DETECT_ZEROES_OFF && n->driver->zero && block_is_zero(buf, len)
               ? n->driver->zero(n, offset, len, n->o.detect_zeroes == BLOCK_DETECT_ZEROES_UNMAP)
               : ENOTSUP;
}

int block_node_read(BlockNode *n, uint64_t offset, void *buf, size_t len)
{
    return n->driver->read(n, offset, buf, len);
}

int block_node_write(BlockNode *n, uint64_t offset, const void *buf, size_t len)
{
    if (!n->writable) {
        return EACCES;
    }
    int error = write_zeros(n, offset, buf, len);
    return error == ENOTSUP ? n->driver->write(n, offset, buf, len) : error;
}

int block_node_readv(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov)
{
    if (n->driver->readv) {
        return n->driver->readv(n, offset, iov, n_iov);
    }
    int error = 0;
    for (unsigned i = 0; i < n_iov && !error; i++) {
        error = iov[i].iov_len ? block_node_read(n, offset, iov[i].iov_base, iov[i].iov_len) : 0;
        offset += iov[i].iov_len;
    }
    return error;
}

int block_node_writev(BlockNode *n, uint64_t offset, const struct iovec *iov, unsigned n_iov)
{
    if (!n->writable) {
        return EACCES;
    }
    if (n->driver->writev && n->o.detect_zeroes == BLOCK_DETECT_ZEROES_OFF) {
        return n->driver->writev(n, offset, iov, n_iov);
    }
    int error = 0;
    for (unsigned i = 0; i < n_iov && !error; i++) {
        error = iov[i].iov_len ? block_node_write(n, offset, iov[i].iov_base, iov[i].iov_len) : 0;
        offset += iov[i].iov_len;
    }
    return error;
}

int block_node_flush(BlockNode *n)
{
    /* With cache.no-flush what drivers keep is written all the same, but to the host's cache only. */
    if (!n->writable || (n->o.no_flush && !n->driver->flush)) {
        return 0;
    }
    return n->driver->flush ? n->driver->flush(n) : n->file ? block_node_flush(n->file) : 0;
}

int block_node_zero(BlockNode *n, uint64_t offset, uint64_t len, bool unmap)
{
    static const uint8_t zeros[64 * KiB];
    if (!n->writable) {
        return EACCES;
    }
    int error = n->driver->zero ? n->driver->zero(n, offset, len, unmap) : ENOTSUP;
    if (error != ENOTSUP) {
        return error;
    }
    for (error = 0; len && !error;) {
        size_t some = (size_t)MIN(len, sizeof zeros);
        error       = n->driver->write(n, offset, zeros, some);
        offset += some;
        len -= some;
    }
    return error;
}

int block_node_discard(BlockNode *n, uint64_t offset, uint64_t len)
{
    if (!n->writable) {
        return EACCES;
    }
    return n->o.discard >= BLOCK_DISCARD_UNMAP && n->driver->discard ? n->driver->discard(n, offset, len) : 0;
}
