/* Virtio devices: QMP's x-query-virtio and its kin, balloon, query-balloon and BALLOON_CHANGE, HMP's balloon,
 * "info balloon" and "info virtio...". */

#include "devices/virtio/balloon.h"
#include "monitor/command.h"
#include "monitor/hmp_command.h"
#include "monitor/qom.h"

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

static bool query_virtio(Monitor *mon, void *args, Json **result, Error *err)
{
    const GPtrArray *all = mon->machine->platform.virtio;
    *result              = json_new_list();
    for (guint i = 0; all && i < all->len; i++) {
        const VirtioDevice *v    = all->pdata[i];
        g_autofree char    *path = object_path(&v->dev->obj);
        Json               *info = json_new_object();
        json_set(info, "path", json_new_string(path));
        json_set(info, "name", json_new_string(v->kind->name));
        json_append(*result, info);
    }
    return true;
}

static VirtioDevice *find_virtio(Machine *m, const char *path, Error *err)
{
    const GPtrArray *all = m->platform.virtio;
    const Object    *obj = qom_find(m, path, err);
    for (guint i = 0; obj && all && i < all->len; i++) {
        VirtioDevice *v = all->pdata[i];
        if (&v->dev->obj == obj) {
            return v;
        }
    }
    if (obj) {
        error_set(err, "'%s' is no virtio device (x-query-virtio lists them)", path);
    }
    return NULL;
}

/* --- bits as lists of "NAME: what it means" --- */

/* Takes those of `table` out of *bits. */
static Json *name_bits(const VirtioBit *table, uint64_t *bits)
{
    Json *list = json_new_list();
    for (; table && table->bit; table++) {
        if (*bits & table->bit) {
            *bits &= ~table->bit;
            json_append(list, json_new_format("%s: %s", table->name, table->help));
        }
    }
    return list;
}

static const Field features_info[] = { QMP_LIST_OF("transports", &qmp_string),
                                       QMP_LIST_OF("dev-features", &qmp_string),
                                       QMP_MAYBE_INT("unknown-dev-features"),
                                       {} };

static Json *name_features(const VirtioDevice *v, uint64_t features)
{
    Json *names = json_new_object();
    json_add(names, "transports", name_bits(virtio_feature_bits, &features));
    json_add(names, "dev-features", name_bits(v->kind->feature_bits, &features));
    if (features) {
        json_add(names, "unknown-dev-features", json_new_uint(features));
    }
    return names;
}

/* --- x-query-virtio-status --- */

typedef struct PathArgs {
    char *path;
} PathArgs;

static const Field path_args[] = {
    FIELD(PathArgs, path, "path", .required = true, .help = "of the device in the object tree"),
    {},
};

static const Field statuses_info[] = { QMP_LIST_OF("statuses", &qmp_string), QMP_MAYBE_INT("unknown-statuses"), {} };
static const Field status_info[]   = { QMP_STRING("name"),
                                       QMP_INT("device-id"),
                                       QMP_BOOL("vhost-started"),
                                       QMP_STRING("device-endian"),
                                       QMP_OBJECT("guest-features", features_info),
                                       QMP_OBJECT("host-features", features_info),
                                       QMP_OBJECT("backend-features", features_info),
                                       QMP_INT("num-vqs"),
                                       QMP_OBJECT("status", statuses_info),
                                       QMP_INT("isr"),
                                       QMP_INT("queue-sel"),
                                       QMP_BOOL("vm-running"),
                                       QMP_BOOL("broken"),
                                       QMP_BOOL("disabled"),
                                       QMP_BOOL("use-started"),
                                       QMP_BOOL("started"),
                                       QMP_BOOL("start-on-kick"),
                                       QMP_BOOL("disable-legacy-check"),
                                       QMP_STRING("bus-name"),
                                       QMP_BOOL("use-guest-notifier-mask"),
                                       {} };
static const Field status_result   = QMP_OBJECT("", status_info);

static bool query_virtio_status(Monitor *mon, void *args, Json **result, Error *err)
{
    const VirtioDevice *v = find_virtio(mon->machine, ((PathArgs *)args)->path, err);
    if (!v) {
        return false;
    }
    Platform *p        = v->dev->platform;
    uint64_t  status   = v->status;
    Json     *statuses = json_new_object(), *s = json_new_object();
    json_add(statuses, "statuses", name_bits(virtio_status_bits, &status));
    if (status) {
        json_add(statuses, "unknown-statuses", json_new_uint(status));
    }
    json_add(s, "name", json_new_string(v->kind->name));
    json_add(s, "device-id", json_new_int(v->kind->id));
    json_add(s, "vhost-started", json_new_bool(false));
    json_add(s, "device-endian", json_new_string("little"));
    json_add(s, "guest-features", name_features(v, v->guest_features));
    json_add(s, "host-features",
             name_features(v, virtio_features(v, false) | (v->kind->modern_only ? 0 : virtio_features(v, true))));
    json_add(s, "backend-features", name_features(v, 0)); /* vhost's */
    json_add(s, "num-vqs", json_new_int(v->n_queues));
    json_add(s, "status", statuses);
    json_add(s, "isr", json_new_int(v->isr));
    json_add(s, "queue-sel", json_new_int(v->queue_select));
    json_add(s, "vm-running", json_new_bool(p->is_running(p)));
    json_add(s, "broken", json_new_bool(v->status & VIRTIO_NEEDS_RESET));
    json_add(s, "disabled", json_new_bool(false));
    json_add(s, "use-started", json_new_bool(true));
    json_add(s, "started", json_new_bool(v->status & VIRTIO_DRIVER_OK));
    json_add(s, "start-on-kick", json_new_bool(false));
    json_add(s, "disable-legacy-check", json_new_bool(false));
    json_add(s, "bus-name", json_new_string(v->dev->bus ? v->dev->bus->name : ""));
    json_add(s, "use-guest-notifier-mask", json_new_bool(false)); /* there is no guest notifier */
    *result = s;
    return true;
}

/* --- x-query-virtio-queue-status, -vhost-queue-status --- */

typedef struct QueueArgs {
    char    *path;
    uint16_t queue, index;
    bool     has_index;
} QueueArgs;

#define QUEUE_FIELDS                                                                                                   \
    FIELD(QueueArgs, path, "path", .required = true, .help = "of the device in the object tree"),                      \
        FIELD(QueueArgs, queue, "queue", .required = true, .help = "number of the queue")

static const Field queue_args[]   = { QUEUE_FIELDS, {} };
static const Field element_args[] = {
    QUEUE_FIELDS,
    FIELD(QueueArgs, index, "index", .has_offset = 1 + offsetof(QueueArgs, has_index),
          .help = "entry of the available ring; not given: the next one that the device takes"),
    {},
};

static VirtQueue *find_queue(Machine *m, const QueueArgs *a, Error *err)
{
    VirtioDevice *v = find_virtio(m, a->path, err);
    if (v && a->queue >= v->n_queues) {
        error_set(err, "argument 'queue': '%s' has queues 0 to %u", a->path, v->n_queues - 1);
    }
    return v && a->queue < v->n_queues ? &v->queues[a->queue] : NULL;
}

static const Field queue_info[] = { QMP_STRING("name"),
                                    QMP_INT("queue-index"),
                                    QMP_INT("inuse"),
                                    QMP_INT("vring-num"),
                                    QMP_INT("vring-num-default"),
                                    QMP_INT("vring-align"),
                                    QMP_INT("vring-desc"),
                                    QMP_INT("vring-avail"),
                                    QMP_INT("vring-used"),
                                    QMP_MAYBE_INT("last-avail-idx"),
                                    QMP_MAYBE_INT("shadow-avail-idx"),
                                    QMP_INT("used-idx"),
                                    QMP_INT("signalled-used"),
                                    QMP_BOOL("signalled-used-valid"),
                                    {} };
static const Field queue_result = QMP_OBJECT("", queue_info);

static bool query_virtio_queue_status(Monitor *mon, void *args, Json **result, Error *err)
{
    const VirtQueue *q = find_queue(mon->machine, args, err);
    if (!q) {
        return false;
    }
    Json *s = json_new_object();
    json_add(s, "name", json_new_string(q->device->kind->name));
    json_add(s, "queue-index", json_new_int(q->index));
    json_add(s, "inuse", json_new_int(q->in_flight));
    json_add(s, "vring-num", json_new_int(q->size));
    json_add(s, "vring-num-default", json_new_int(q->max_size));
    json_add(s, "vring-align", json_new_int(q->legacy_align));
    json_add(s, "vring-desc", json_new_uint(q->desc));
    json_add(s, "vring-avail", json_new_uint(q->driver));
    json_add(s, "vring-used", json_new_uint(q->device_area));
    json_add(s, "last-avail-idx", json_new_int(q->avail));
    json_add(s, "shadow-avail-idx", json_new_int(q->avail)); /* what is read from the ring is not kept */
    json_add(s, "used-idx", json_new_int(q->used));
    json_add(s, "signalled-used", json_new_int(q->signalled));
    json_add(s, "signalled-used-valid", json_new_bool(q->signalled_valid));
    *result = s;
    return true;
}

static const Field vhost_info[] = { QMP_STRING("name"),    QMP_INT("kick"),
                                    QMP_INT("call"),       QMP_INT("desc"),
                                    QMP_INT("avail"),      QMP_INT("used"),
                                    QMP_INT("num"),        QMP_INT("desc-phys"),
                                    QMP_INT("desc-size"),  QMP_INT("avail-phys"),
                                    QMP_INT("avail-size"), QMP_INT("used-phys"),
                                    QMP_INT("used-size"),  {} };
static const Field vhost_result = QMP_OBJECT("", vhost_info);

static bool query_virtio_vhost_queue_status(Monitor *mon, void *args, Json **result, Error *err)
{
    const QueueArgs *a = args;
    return find_queue(mon->machine, a, err) && error_set(err, "no vhost back end works for '%s'", a->path);
}

/* --- x-query-virtio-queue-element --- */

static const Field desc_info[]    = { QMP_INT("addr"), QMP_INT("len"), QMP_LIST_OF("flags", &qmp_string), {} };
static const Field avail_info[]   = { QMP_INT("flags"), QMP_INT("idx"), QMP_INT("ring"), {} };
static const Field used_info[]    = { QMP_INT("flags"), QMP_INT("idx"), {} };
static const Field element_info[] = { QMP_STRING("name"),
                                      QMP_INT("index"),
                                      QMP_LIST("descs", desc_info),
                                      QMP_OBJECT("avail", avail_info),
                                      QMP_OBJECT("used", used_info),
                                      {} };
static const Field element_result = QMP_OBJECT("", element_info);

static Json *describe_descs(const GArray *descs)
{
    Json *list = json_new_list();
    for (guint i = 0; i < descs->len; i++) {
        const VirtDesc *d    = &g_array_index(descs, VirtDesc, i);
        Json           *item = json_new_object(), *flags = json_new_list();
        for (const VirtioBit *b = virtq_desc_bits; b->bit; b++) {
            if (d->flags & b->bit) {
                json_append(flags, json_new_string(b->name));
            }
        }
        json_add(item, "addr", json_new_uint(d->addr));
        json_add(item, "len", json_new_int(d->len));
        json_add(item, "flags", flags);
        json_append(list, item);
    }
    return list;
}

static bool query_virtio_queue_element(Monitor *mon, void *args, Json **result, Error *err)
{
    const QueueArgs *a  = args;
    const VirtQueue *q  = find_queue(mon->machine, a, err);
    VirtElement      e  = {};
    bool             ok = q && virtqueue_inspect(q, a->has_index ? a->index : -1, &e, err);
    if (ok) {
        Json *avail = json_new_object(), *used = json_new_object();
        json_add(avail, "flags", json_new_int(e.avail_flags));
        json_add(avail, "idx", json_new_int(e.avail_index));
        json_add(avail, "ring", json_new_int(e.head));
        json_add(used, "flags", json_new_int(e.used_flags));
        json_add(used, "idx", json_new_int(e.used_index));
        *result = json_new_object();
        json_add(*result, "name", json_new_string(q->device->kind->name));
        json_add(*result, "index", json_new_int(e.head));
        json_add(*result, "descs", describe_descs(e.descs));
        json_add(*result, "avail", avail);
        json_add(*result, "used", used);
    }
    virt_element_clear(&e);
    return ok;
}

MONITOR_COMMANDS(virtio) = {
    { .name   = "x-query-virtio",
      .result = &virtio_info_result,
      .flags  = COMMAND_UNSTABLE,
      .help   = "virtio devices",
      .run    = query_virtio },
    { .name      = "x-query-virtio-status",
      .args      = path_args,
      .args_size = sizeof(PathArgs),
      .result    = &status_result,
      .flags     = COMMAND_UNSTABLE,
      .help      = "features and status of a virtio device",
      .run       = query_virtio_status },
    { .name      = "x-query-virtio-queue-status",
      .args      = queue_args,
      .args_size = sizeof(QueueArgs),
      .result    = &queue_result,
      .flags     = COMMAND_UNSTABLE,
      .help      = "where a queue of a virtio device lies, and how far it is",
      .run       = query_virtio_queue_status },
    { .name      = "x-query-virtio-vhost-queue-status",
      .args      = queue_args,
      .args_size = sizeof(QueueArgs),
      .result    = &vhost_result,
      .flags     = COMMAND_UNSTABLE,
      .help      = "the same of a vhost back end: none",
      .run       = query_virtio_vhost_queue_status },
    { .name      = "x-query-virtio-queue-element",
      .args      = element_args,
      .args_size = sizeof(QueueArgs),
      .result    = &element_result,
      .flags     = COMMAND_UNSTABLE,
      .help      = "a buffer in a queue of a virtio device",
      .run       = query_virtio_queue_element },
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

static uint64_t json_bits(const Json *number)
{
    return number->kind == JSON_UINT ? number->uinteger : (uint64_t)number->integer;
}

/* How "info" shows a member: by another name, or in hexadecimal. */
static const struct {
    const char *member, *label;
    bool        hex;
} shown[] = {
    { "name", "device_name", false },     { "device-endian", "endianness", false },
    { "vring-desc", "vring_desc", true }, { "vring-avail", "vring_avail", true },
    { "vring-used", "vring_used", true }, { "addr", "addr", true },
};

static void print_member(Hmp *h, const char *name, const Json *value, const char *indent, int width)
{
    const char *label = name;
    bool        hex   = false;
    for (unsigned i = 0; i < G_N_ELEMENTS(shown); i++) {
        if (!strcmp(shown[i].member, name)) {
            label = shown[i].label;
            hex   = shown[i].hex;
        }
    }
    g_autofree char *text = hex ? g_strdup_printf("0x%016" PRIx64, json_bits(value)) : json_print(value, false);
    g_autofree char *head = g_strdelimit(g_strdup_printf("%s:", label), "-", '_');
    hmp_print(h, "%s%-*s %s\n", indent, width, head, value->kind == JSON_STRING ? value->string : text);
}

/* Those members of an answer that are no objects, a line each. */
static void print_members(Hmp *h, const Json *object, const char *indent, int width)
{
    for (size_t i = 0; i < object->n; i++) {
        if (object->items[i]->kind != JSON_OBJECT && object->items[i]->kind != JSON_LIST) {
            print_member(h, object->keys[i], object->items[i], indent, width);
        }
    }
}

static void print_strings(Hmp *h, const Json *list)
{
    for (size_t i = 0; list && i < list->n; i++) {
        hmp_print(h, "    %s\n", list->items[i]->string);
    }
}

static void print_bits(Hmp *h, const Json *answer, const char *member, const char *title)
{
    static const char *const lists[]   = { "statuses", "transports", "dev-features" };
    static const char *const unknown[] = { "unknown-statuses", "unknown-dev-features" };
    const Json              *bits      = json_get(answer, member);
    hmp_print(h, "  %s:\n", title);
    for (unsigned i = 0; i < G_N_ELEMENTS(lists); i++) {
        print_strings(h, json_get(bits, lists[i]));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(unknown); i++) {
        const Json *value = json_get(bits, unknown[i]);
        if (value) {
            hmp_print(h, "    unknown: 0x%016" PRIx64 "\n", json_bits(value));
        }
    }
}

/* Asks about the device, and perhaps the queue and the entry, that the line names. */
static Json *ask_virtio(Hmp *h, const char *query, Error *err)
{
    static const char *const numbers[] = { "queue", "index" };
    Json                    *args      = json_new_object();
    json_add(args, "path", json_new_string(hmp_text(h, "path")));
    for (const HmpArg *a = h->command->args; a->kind != HMP_END; a++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++) {
            if (!strcmp(a->name, numbers[i]) && hmp_given(h, a->name)) {
                json_add(args, a->name, json_new_int(hmp_number(h, a->name)));
            }
        }
    }
    Json *answer = hmp_qmp(h, query, args, err);
    if (answer) {
        hmp_print(h, "%s:\n", hmp_text(h, "path"));
    }
    return answer;
}

static bool info_virtio_status(Hmp *h, Error *err)
{
    g_autoptr(Json) s = ask_virtio(h, "x-query-virtio-status", err);
    if (s) {
        print_members(h, s, "  ", 24);
        print_bits(h, s, "status", "status");
        print_bits(h, s, "guest-features", "Guest features");
        print_bits(h, s, "host-features", "Host features");
        print_bits(h, s, "backend-features", "Backend features");
    }
    return s != NULL;
}

static bool info_virtio_queue(Hmp *h, Error *err)
{
    g_autoptr(Json) s = ask_virtio(h, "x-query-virtio-queue-status", err);
    if (s) {
        print_members(h, s, "  ", 21);
    }
    return s != NULL;
}

static bool info_virtio_vhost_queue(Hmp *h, Error *err)
{
    g_autoptr(Json) s = ask_virtio(h, "x-query-virtio-vhost-queue-status", err);
    return s != NULL;
}

static bool info_virtio_element(Hmp *h, Error *err)
{
    g_autoptr(Json) e = ask_virtio(h, "x-query-virtio-queue-element", err);
    if (!e) {
        return false;
    }
    print_members(h, e, "  ", 6);
    hmp_print(h, "  descs:\n");
    const Json *descs = json_get(e, "descs");
    for (size_t i = 0; i < descs->n; i++) {
        const Json *d = descs->items[i], *flags = json_get(d, "flags");
        print_members(h, d, "    ", 6);
        hmp_print(h, "    flags:");
        for (size_t f = 0; f < flags->n; f++) {
            hmp_print(h, " %s", flags->items[f]->string);
        }
        hmp_print(h, "\n");
    }
    hmp_print(h, "  avail:\n");
    print_members(h, json_get(e, "avail"), "    ", 6);
    hmp_print(h, "  used:\n");
    print_members(h, json_get(e, "used"), "    ", 6);
    return true;
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
    { .name   = "virtio-status",
      .params = "path",
      .help   = "features and status of a virtio device",
      .args   = { { "path", HMP_STRING, .words = HMP_WORDS_PATHS } },
      .run    = info_virtio_status },
    { .name   = "virtio-queue-status",
      .params = "path queue",
      .help   = "where a queue of a virtio device lies, and how far it is",
      .args   = { { "path", HMP_STRING, .words = HMP_WORDS_PATHS }, { "queue", HMP_INT32 } },
      .run    = info_virtio_queue },
    { .name   = "virtio-vhost-queue-status",
      .params = "path queue",
      .help   = "the same of a vhost back end",
      .args   = { { "path", HMP_STRING, .words = HMP_WORDS_PATHS }, { "queue", HMP_INT32 } },
      .run    = info_virtio_vhost_queue },
    { .name   = "virtio-queue-element",
      .params = "path queue [index]",
      .help   = "a buffer in a queue of a virtio device",
      .args   = { { "path", HMP_STRING, .words = HMP_WORDS_PATHS },
                  { "queue", HMP_INT32 },
                  { "index", HMP_INT32, .optional = true } },
      .run    = info_virtio_element },
    { .name = "balloon", .help = "how much memory the balloon leaves the guest", .run = info_balloon },
    {},
};
