/* Virtio devices: QMP's x-query-virtio, balloon, query-balloon and BALLOON_CHANGE, HMP's balloon, "info balloon" and
 * "info virtio". */

#include "devices/virtio/balloon.h"
#include "monitor/command.h"
#include "monitor/hmp_command.h"

#include <inttypes.h>
#include <string.h>

static VirtioBalloon *find_balloon(Machine *m, Error *err)
{
    VirtioBalloon *b = m->platform.balloon;
    if (!b) {
        error_set_class(err, ERROR_DEVICE_NOT_ACTIVE, "No balloon device has been activated");
    }
    return b;
}

/* --- QMP --- */

typedef struct BalloonArgs {
    int64_t value;
} BalloonArgs;

static const Field balloon_args[] = {
    FIELD(BalloonArgs, value, "value", .required = true, .help = "bytes that the guest is to leave itself"),
    {},
};

static bool balloon(Monitor *mon, void *args, Json **result, Error *err)
{
    VirtioBalloon *b     = find_balloon(mon->machine, err);
    int64_t        value = ((BalloonArgs *)args)->value;
    if (!b) {
        return false;
    }
    if (value <= 0) {
        return error_set(err, "argument 'value': a size of more than 0 bytes is needed");
    }
    virtio_balloon_set_target(b, (uint64_t)value);
    return true;
}

static const Field balloon_info[]      = { QMP_INT("actual"), {} };
static const Field balloon_info_result = QMP_OBJECT("", balloon_info);

static bool query_balloon(Monitor *mon, void *args, Json **result, Error *err)
{
    const VirtioBalloon *b = find_balloon(mon->machine, err);
    if (!b) {
        return false;
    }
    *result = json_new_object();
    json_set(*result, "actual", json_new_uint(virtio_balloon_actual(b)));
    return true;
}

static const Field virtio_info[]      = { QMP_STRING("path"), QMP_STRING("name"), {} };
static const Field virtio_info_result = QMP_LIST("", virtio_info);

/* What it is on any transport: "virtio-balloon"; NULL for other devices. */
static char *virtio_name(const Device *dev)
{
    const DeviceType *type = device_type(dev);
    const char       *end  = strstr(type->name, type->bus == BUS_PCI ? "-pci" : "-device");
    bool              is = (type->bus == BUS_PCI || type->bus == BUS_VIRTIO) && g_str_has_prefix(type->name, "virtio-");
    return is && end ? g_strndup(type->name, (gsize)(end - type->name)) : NULL;
}

static void add_virtio(Device *dev, void *opaque)
{
    g_autofree char *name = virtio_name(dev), *path = object_path(&dev->obj);
    if (name) {
        Json *info = json_new_object();
        json_set(info, "path", json_new_string(path));
        json_set(info, "name", json_new_string(name));
        json_append(opaque, info);
    }
}

static bool query_virtio(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    devices_foreach(&mon->machine->platform, add_virtio, *result);
    return true;
}

MONITOR_COMMANDS(virtio) = {
    { .name   = "x-query-virtio",
      .result = &virtio_info_result,
      .flags  = COMMAND_UNSTABLE,
      .help   = "virtio devices",
      .run    = query_virtio },
    { .name      = "balloon",
      .args      = balloon_args,
      .args_size = sizeof(BalloonArgs),
      .help      = "asks the guest for memory",
      .run       = balloon },
    { .name   = "query-balloon",
      .result = &balloon_info_result,
      .help   = "how much memory the balloon leaves the guest",
      .run    = query_balloon },
    {},
};

MONITOR_EVENTS(virtio) = {
    { .name = "BALLOON_CHANGE", .data = balloon_info, .limited = true },
    {},
};

/* --- HMP --- */

static bool cmd_balloon(Hmp *h, Error *err)
{
    Json *args = json_new_object();
    json_set(args, "value", json_new_int(hmp_number(h, "value")));
    return hmp_do(h, "balloon", args, err);
}

static bool info_balloon(Hmp *h, Error *err)
{
    const VirtioBalloon *b = find_balloon(h->machine, err);
    if (b) {
        hmp_print(h, "balloon: actual=%" PRIu64 "\n", virtio_balloon_actual(b) >> 20);
    }
    return b != NULL;
}

static bool info_virtio(Hmp *h, Error *err)
{
    g_autoptr(Json) list = hmp_qmp(h, "x-query-virtio", NULL, err);
    for (size_t i = 0; list && i < list->n; i++) {
        hmp_print(h, "%s [%s]\n", json_get_string(list->items[i], "path"), json_get_string(list->items[i], "name"));
    }
    if (list && !list->n) {
        hmp_print(h, "No VirtIO devices\n");
    }
    return list != NULL;
}

HMP_COMMANDS(virtio) = {
    { .name   = "balloon",
      .params = "target",
      .help   = "asks the guest to leave itself no more than that many MiB",
      .args   = { { "value", HMP_SIZE } },
      .run    = cmd_balloon },
    {},
};

HMP_INFO(virtio) = {
    { .name = "virtio", .help = "virtio devices", .run = info_virtio },
    { .name = "balloon", .help = "how much memory the balloon leaves the guest", .run = info_balloon },
    {},
};
