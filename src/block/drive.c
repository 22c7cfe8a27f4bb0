/* Drives: what -drive, -hda ... and -cdrom describe: an image, and where the guest sees it.
 * Specification: QEMU 9.1 invocation manual, "Block device options". Machine lock. */

#include "block/hub.h"

#include "base/text.h"
#include "object/object.h"

#include <string.h>

const char *const drive_interface_names[] = { "ide", "scsi", "sd", "mtd", "floppy", "pflash", "virtio", "none", NULL };

/* How many drives a bus of the interface has; 0: they are counted through. And is there a device for it? */
static const struct {
    unsigned units;
    bool     built;
} interfaces[N_DRIVE_INTERFACES] = {
    [DRIVE_IDE] = { 2, true }, [DRIVE_SCSI] = { 7, false }, [DRIVE_NONE] = { 0, true }
};

enum { MEDIA_DISK, MEDIA_CDROM };
static const char *const media_names[]   = { "disk", "cdrom", NULL };
static const char *const onerror_names[] = { "report", "ignore", "stop", "enospc", NULL };
static const char *const cache_names[]   = { "writeback", "none", "writethrough", "directsync", "unsafe", NULL };

static const struct {
    bool writeback, direct, no_flush;
} cache_modes[] = { { true, false, false },
                    { true, true, false },
                    { false, false, false },
                    { false, true, false },
                    { true, false, true } };

typedef struct DriveOptions {
    char    *id, *format, *absent_text;
    int      interface, media;
    unsigned bus, unit, index;
    bool     has_bus, has_unit, has_index, read_only, has_read_only, snapshot, absent_flag;
    int      rerror, werror;
    uint64_t absent_number;
} DriveOptions;

#define UNBUILT_NUMBER(option, text)                                                                                   \
    FIELD(DriveOptions, absent_number, option, .size_unit = 1, .unsupported = true, .help = text)

const Field drive_options[] = {
    FIELD(DriveOptions, id, "id", .help = "name of the drive"),
    FIELD(DriveOptions, interface, "if", .names = drive_interface_names, .help = "what it is connected to"),
    FIELD(DriveOptions, bus, "bus", .min = 0, .max = 255, .has_offset = 1 + offsetof(DriveOptions, has_bus),
          .help = "number of the bus"),
    FIELD(DriveOptions, unit, "unit", .min = 0, .max = 255, .has_offset = 1 + offsetof(DriveOptions, has_unit),
          .help = "place on the bus"),
    FIELD(DriveOptions, index, "index", .min = 0, .max = 255, .has_offset = 1 + offsetof(DriveOptions, has_index),
          .help = "place, counted through all buses"),
    FIELD(DriveOptions, media, "media", .names = media_names, .help = "kind of medium"),
    FIELD(DriveOptions, format, "format", .help = "format of the image; guessed when not given"),
    FIELD(DriveOptions, read_only, "readonly", .alias = "read-only",
          .has_offset = 1 + offsetof(DriveOptions, has_read_only), .help = "takes no writes"),
    FIELD(DriveOptions, rerror, "rerror", .names = onerror_names, .initial = BLOCK_ERROR_REPORT,
          .help = "what becomes of the host's read errors"),
    FIELD(DriveOptions, werror, "werror", .names = onerror_names, .initial = BLOCK_ERROR_ENOSPC,
          .help = "what becomes of the host's write errors"),
    FIELD(DriveOptions, snapshot, "snapshot", .help = "writes go to a temporary file, and are lost"),
    FIELD(DriveOptions, absent_flag, "copy-on-read", .unsupported = true, .help = "keeps what the backing file had"),
    FIELD(DriveOptions, absent_text, "group", .unsupported = true, .help = "drives that share limits"),
    UNBUILT_NUMBER("bps", "limit of bytes a second"),
    UNBUILT_NUMBER("bps_rd", "the same for reads"),
    UNBUILT_NUMBER("bps_wr", "the same for writes"),
    UNBUILT_NUMBER("bps_max", "bytes a second in bursts"),
    UNBUILT_NUMBER("bps_rd_max", "the same for reads"),
    UNBUILT_NUMBER("bps_wr_max", "the same for writes"),
    UNBUILT_NUMBER("iops", "limit of requests a second"),
    UNBUILT_NUMBER("iops_rd", "the same for reads"),
    UNBUILT_NUMBER("iops_wr", "the same for writes"),
    UNBUILT_NUMBER("iops_max", "requests a second in bursts"),
    UNBUILT_NUMBER("iops_rd_max", "the same for reads"),
    UNBUILT_NUMBER("iops_wr_max", "the same for writes"),
    UNBUILT_NUMBER("iops_size", "bytes that count as a request"),
    {},
};

/* Keys that are neither the drive's nor its nodes' own. */
static const char *const special_keys[] = { "file", "cache", "backing", "aio" };

/* --- places --- */

static unsigned index_of(const Drive *d)
{
    unsigned units = interfaces[d->interface].units;
    return units ? d->bus * units + d->unit : d->unit;
}

Drive *drive_at(BlockHub *hub, DriveInterface interface, unsigned bus, unsigned unit)
{
    for (guint i = 0; i < hub->drives->len; i++) {
        Drive *d = hub->drives->pdata[i];
        if (d->interface == interface && d->bus == bus && d->unit == unit) {
            return d;
        }
    }
    return NULL;
}

Drive *drive_find(BlockHub *hub, const char *id)
{
    for (guint i = 0; i < hub->drives->len; i++) {
        Drive *d = hub->drives->pdata[i];
        if (!strcmp(d->id, id)) {
            return d;
        }
    }
    return NULL;
}

void drive_foreach(BlockHub *hub, void (*visit)(Drive *drive, void *opaque), void *opaque)
{
    for (guint i = 0; i < hub->drives->len; i++) {
        visit(hub->drives->pdata[i], opaque);
    }
}

static bool find_place(BlockHub *hub, Drive *d, const DriveOptions *o, Error *err)
{
    unsigned units = interfaces[d->interface].units;
    if (o->has_index && (o->has_bus || o->has_unit)) {
        return error_set(err, "index= and bus=, unit= say the same; give one of them");
    }
    if (units && o->has_unit && o->unit >= units) {
        return error_set(err, "unit=%u: a bus of if=%s has units 0 to %u", o->unit, drive_interface_names[d->interface],
                         units - 1);
    }
    d->bus  = o->has_index && units ? o->index / units : o->bus;
    d->unit = !o->has_index ? o->unit : units ? o->index % units : o->index;
    if (!o->has_index && !o->has_unit) {
        while (drive_at(hub, d->interface, d->bus, d->unit)) {
            d->unit++;
            if (units && d->unit == units) {
                if (o->has_bus) {
                    return error_set(err, "bus=%u: all %u units are taken", d->bus, units);
                }
                d->unit = 0;
                d->bus++;
            }
        }
    }
    const Drive *other = drive_at(hub, d->interface, d->bus, d->unit);
    return !other || error_set(err, "drive '%s' is at index=%u (bus=%u,unit=%u) of if=%s already", other->id,
                               index_of(d), d->bus, d->unit, drive_interface_names[d->interface]);
}

static bool name_drive(BlockHub *hub, Drive *d, const char *id, Error *err)
{
    if (id) {
        d->id = g_strdup(id);
    } else if (interfaces[d->interface].units) {
        d->id =
            g_strdup_printf("%s%u-%s%u", drive_interface_names[d->interface], d->bus, d->cdrom ? "cd" : "hd", d->unit);
    } else {
        d->id = g_strdup_printf("%s%u", drive_interface_names[d->interface], d->unit);
    }
    const char *what = drive_find(hub, d->id) ? "drive" : block_find_node(hub, d->id) ? "block node" : NULL;
    return (!id || object_check_id(id, err)) &&
           (!what || error_set(err, "id=%s: there is a %s of that name already", d->id, what));
}

/* --- the image --- */

/* What -drive says of the nodes: their options, what it was short for filled in. */
typedef struct Layers {
    const char *path;   /* NULL: no file= */
    Json       *file;   /* options of the protocol's node */
    Json       *format; /* options of the format's node */
} Layers;

static void add_default(Json *object, const char *key, const char *value)
{
    if (!json_get(object, key)) {
        json_set(object, key, json_new_string(value));
    }
}

/* cache=MODE, cache.direct= and so on: the flags of nodes in place of the mode, and whether the guest is told of a
 * write cache. */
static bool take_cache(Json *options, bool *writeback, Error *err)
{
    g_autoptr(Json) given = json_take(options, "cache");
    const char *mode      = !given ? NULL : given->kind == JSON_STRING ? given->string : json_get_string(given, "");
    g_autoptr(Json) flags = given && given->kind == JSON_OBJECT ? json_copy(given) : json_new_object();
    size_t i              = 0;
    while (mode && cache_names[i] && strcmp(cache_names[i], mode) != 0 && !(i == 1 && !strcmp(mode, "off"))) {
        i++;
    }
    if (mode && !cache_names[i]) {
        return error_set(err, "cache=%s: the modes are writeback, none, writethrough, directsync and unsafe", mode);
    }
    *writeback = cache_modes[i].writeback;
    json_remove(flags, "");
    g_autoptr(Json) own = json_take(flags, "writeback");
    if (own && !(own->kind == JSON_STRING && text_parse_bool(own->string, writeback, err))) {
        return error_is_set(err) ? error_prefix(err, "cache.writeback=")
                                 : error_set(err, "cache.writeback= takes on or off");
    }
    add_default(flags, "direct", cache_modes[i].direct ? "on" : "off");
    add_default(flags, "no-flush", cache_modes[i].no_flush ? "on" : "off");
    json_set(options, "cache", g_steal_pointer(&flags));
    return true;
}

/* Takes file= apart: "x", or "x" with file.locking=off, or file.driver=file,file.filename=x. */
static bool take_file(Json *options, Layers *l, Json **keep, Error *err)
{
    Json *given = json_take(options, "file");
    *keep       = given;
    l->file     = given && given->kind == JSON_OBJECT ? json_copy(given) : json_new_object();
    l->path     = !given ? NULL : given->kind == JSON_STRING ? given->string : json_get_string(given, "");
    json_remove(l->file, "");
    if (given && !l->path) {
        l->path = json_get_string(given, "filename");
        json_remove(l->file, "filename");
    }
    if (given && !l->path) {
        return error_set(err, "file= takes the path of an image");
    }
    /* aio= is the protocol's, and stands among -drive's own. */
    Json *aio = json_take(options, "aio");
    if (aio) {
        json_set(l->file, "aio", aio);
    }
    l->path = l->path && *l->path ? l->path : NULL;
    return true;
}

static bool open_image(BlockHub *hub, Drive *d, const DriveOptions *o, Json *options, Error *err)
{
    Layers l              = { .format = options };
    g_autoptr(Json) given = NULL;
    bool ok               = take_cache(options, &d->write_cache, err) && take_file(options, &l, &given, err);
    g_autoptr(Json) file  = l.file;
    if (!ok) {
        return false;
    }
    if (!l.path) {
        return (!o->format && !json_get(options, "driver")) || error_set(err, "format= needs a file=");
    }
    bool read_only = o->has_read_only ? o->read_only : d->cdrom;
    if (d->cdrom && !read_only) {
        return error_set(err, "readonly=off: a CD-ROM cannot be written");
    }
    bool temporary = o->snapshot && !read_only;
    json_set(options, "read-only", json_new_string(read_only || temporary ? "on" : "off"));
    add_default(options, "auto-read-only", "on");
    const char *format = o->format ? o->format : json_get_string(options, "driver");
    /* driver= of -drive names the format, or the protocol when there is no format above it. */
    if (o->format && json_get(options, "driver")) {
        return error_set(err, "format= and driver= say the same; give one of them");
    }
    json_remove(options, "driver");
    if (format && (!strcmp(format, "file") || !strcmp(format, "host_device"))) {
        json_set(file, "driver", json_new_string(format));
        format = "raw";
    }
    d->node = block_open_path(hub, l.path, format, options, file, true, NULL, false, err);
    if (d->node && d->node->probed && d->node->driver == &block_raw && d->node->writable) {
        warn_report(
            "'%s': no format was given, and it has no header of one: taken as raw, where the guest cannot write "
            "such a header to the first sector (format=raw says what it is, and lifts this)",
            l.path);
    }
    if (d->node && temporary) {
        BlockNode *below = d->node;
        d->node          = block_open_temporary(below, err);
        block_node_unref(below);
        return d->node || error_prefix(err, "snapshot=on: ");
    }
    return d->node != NULL;
}

/* --- one -drive --- */

/* Every key is somebody's: the drive's, or that of some node. */
static bool check_key(const char *key, Error *err)
{
    const Field *const tables[] = { drive_options, block_node_options, block_file.options, block_raw.options,
                                    block_qcow2.options };
    NameMatch          match    = { .word = key };
    char               hint[128];
    if (!strcmp(key, "throttling")) {
        return error_set_unsupported(err, "throttling");
    }
    for (size_t i = 0; i < G_N_ELEMENTS(special_keys); i++) {
        if (!strcmp(special_keys[i], key)) {
            return true;
        }
        text_match_name(&match, special_keys[i]);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(tables); i++) {
        if (fields_find(tables[i], key)) {
            return true;
        }
        fields_match_names(tables[i], &match);
    }
    return error_set(err, "no property '%s'%s", key, text_did_you_mean(&match, hint));
}

/* Splits `options` into those of the drive and those of its nodes. */
static bool split(const Json *options, Json *own, Json *rest, Error *err)
{
    for (size_t i = 0; i < options->n; i++) {
        const char *key = options->keys[i];
        if (!check_key(key, err)) {
            return false;
        }
        json_set(fields_find(drive_options, key) ? own : rest, key, json_copy(options->items[i]));
    }
    return true;
}

static void drive_free(Drive *d)
{
    block_node_unref(d->node);
    g_free(d->id);
    g_free(d);
}

Drive *drive_add(BlockHub *hub, const Json *options, bool lenient, Error *err)
{
    g_autoptr(Json) own = json_new_object(), rest = json_new_object();
    DriveOptions o;
    Drive       *d = g_new0(Drive, 1);
    fields_init(drive_options, &o);
    bool ok = split(options, own, rest, err) && fields_parse(drive_options, &o, own, lenient, NULL, err);
    if (ok) {
        d->interface      = (DriveInterface)o.interface;
        d->cdrom          = o.media == MEDIA_CDROM;
        d->on_read_error  = (BlockOnError)o.rerror;
        d->on_write_error = (BlockOnError)o.werror;
        if (!interfaces[d->interface].built) {
            ok = error_set_unsupported(err, "if=%s", drive_interface_names[d->interface]);
        } else if (d->on_read_error == BLOCK_ERROR_ENOSPC) {
            ok = error_set(err, "rerror=enospc: reading needs no space; rerror takes report, ignore and stop");
        }
    }
    ok = ok && find_place(hub, d, &o, err) && name_drive(hub, d, o.id, err) && open_image(hub, d, &o, rest, err);
    fields_clear(drive_options, &o);
    if (!ok) {
        drive_free(d);
        return NULL;
    }
    g_ptr_array_add(hub->drives, d);
    return d;
}

bool drives_check_used(BlockHub *hub, Error *err)
{
    for (guint i = 0; i < hub->drives->len; i++) {
        const Drive *d = hub->drives->pdata[i];
        if (d->interface != DRIVE_NONE && !d->user) {
            return error_set(err, "drive '%s': the machine has no place for it: if=%s, bus=%u, unit=%u", d->id,
                             drive_interface_names[d->interface], d->bus, d->unit);
        }
    }
    return true;
}

void drives_free(BlockHub *hub)
{
    for (guint i = 0; i < hub->drives->len; i++) {
        drive_free(hub->drives->pdata[i]);
    }
    g_ptr_array_unref(hub->drives);
}
