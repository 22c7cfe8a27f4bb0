/* Commands about character devices.
 *
 * QMP's ChardevBackend is a nest of unions; what is below makes the flat options of it that -chardev takes. */

#include "monitor/command.h"

#include <string.h>
#include <unistd.h>

/* --- queries --- */

static const Field chardev_info[]  = { QMP_STRING("label"), QMP_STRING("filename"), QMP_BOOL("frontend-open"), {} };
static const Field chardevs_result = QMP_LIST("", chardev_info);

static void describe_chardev(Chardev *chr, void *list)
{
    g_autofree char *name = char_describe(chr);
    Json            *item = json_new_object();
    json_add(item, "label", json_new_string(chr->id));
    json_add(item, "filename", json_new_string(name));
    json_add(item, "frontend-open", json_new_bool(char_in_use(chr)));
    json_append(list, item);
}

static bool query_chardev(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    char_foreach(mon->machine->chars, describe_chardev, *result);
    return true;
}

static const Field backend_info[]  = { QMP_STRING("name"), {} };
static const Field backends_result = QMP_LIST("", backend_info);

static void add_name(Json *list, const char *name)
{
    Json *item = json_new_object();
    json_add(item, "name", json_new_string(name));
    json_append(list, item);
}

static void describe_backend(const ObjectType *type, void *list)
{
    const CharType *t = (const CharType *)type;
    if (type->class == OBJECT_CLASS_CHARDEV && !t->missing) {
        add_name(list, type->name);
        if (t->alias) {
            add_name(list, t->alias);
        }
    }
}

static bool query_chardev_backends(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    object_type_foreach(describe_backend, *result);
    return true;
}

/* --- ChardevBackend --- */

#define COMMON QMP_MAYBE_STRING("logfile"), QMP_MAYBE_BOOL("logappend")

static const Field inet_address[] = { QMP_STRING("host"),
                                      QMP_STRING("port"),
                                      QMP_MAYBE_BOOL("numeric"),
                                      QMP_MAYBE_INT("to"),
                                      QMP_MAYBE_BOOL("ipv4"),
                                      QMP_MAYBE_BOOL("ipv6"),
                                      {} };
static const Field unix_address[] = { QMP_STRING("path"), QMP_MAYBE_BOOL("abstract"), QMP_MAYBE_BOOL("tight"), {} };
static const Field fd_address[]   = { QMP_STRING("str"), {} };

static const Field       inet_data[]     = { QMP_OBJECT("data", inet_address), {} };
static const Field       unix_data[]     = { QMP_OBJECT("data", unix_address), {} };
static const Field       fd_data[]       = { QMP_OBJECT("data", fd_address), {} };
static const QmpVariant  addresses[]     = { { "inet", inet_data }, { "unix", unix_data }, { "fd", fd_data }, {} };
static const char *const address_names[] = { "inet", "unix", "fd", NULL };
static const Field       address_base[]  = { QMP_ENUM("type", address_names), {} };
static const QmpUnion    address_union   = {
         .custom = QMP_UNION_CUSTOM, .base = address_base, .tag = "type", .variants = addresses
};

#define ADDRESS(n)                                                                                                     \
    {                                                                                                                  \
        .name = n, .kind = FIELD_JSON, .custom = &address_union.custom, .required = true                               \
    }
#define MAYBE_ADDRESS(n)                                                                                               \
    {                                                                                                                  \
        .name = n, .kind = FIELD_JSON, .custom = &address_union.custom                                                 \
    }

static const Field plain[]  = { COMMON, {} };
static const Field file[]   = { COMMON, QMP_MAYBE_STRING("in"), QMP_STRING("out"), QMP_MAYBE_BOOL("append"), {} };
static const Field device[] = { COMMON, QMP_STRING("device"), {} };
static const Field udp[]    = { COMMON, ADDRESS("remote"), MAYBE_ADDRESS("local"), {} };
static const Field mux[]    = { COMMON, QMP_STRING("chardev"), {} };
static const Field stdio[]  = { COMMON, QMP_MAYBE_BOOL("signal"), {} };
static const Field ring[]   = { COMMON, QMP_MAYBE_INT("size"), {} };
static const Field vc[]     = {
        COMMON, QMP_MAYBE_INT("width"), QMP_MAYBE_INT("height"), QMP_MAYBE_INT("cols"), QMP_MAYBE_INT("rows"), {}
};
static const Field socket_fields[] = { COMMON,
                                       ADDRESS("addr"),
                                       QMP_MAYBE_STRING("tls-creds"),
                                       QMP_MAYBE_STRING("tls-authz"),
                                       QMP_MAYBE_BOOL("server"),
                                       QMP_MAYBE_BOOL("wait"),
                                       QMP_MAYBE_BOOL("nodelay"),
                                       QMP_MAYBE_BOOL("telnet"),
                                       QMP_MAYBE_BOOL("tn3270"),
                                       QMP_MAYBE_BOOL("websocket"),
                                       QMP_MAYBE_INT("reconnect"),
                                       {} };

/* What "data" of a backend is, and which of its members -chardev knows by another name. */
typedef struct Backend {
    const char  *name;
    const Field *fields;
    const char  *from[2], *to[2];
} Backend;

static const Backend backends[] = {
    { "file", file, { "out", "in" }, { "path", "input-path" } },
    { "serial", device, { "device" }, { "path" } },
    { "parallel", device, { "device" }, { "path" } },
    { "pipe", device, { "device" }, { "path" } },
    { "socket", socket_fields },
    { "udp", udp },
    { "pty", plain },
    { "null", plain },
    { "mux", mux },
    { "msmouse", plain },
    { "stdio", stdio },
    { "vc", vc },
    { "ringbuf", ring },
    { "memory", ring },
};

static void each_backend(void (*add)(void *opaque, const char *name, const Field *table), void *opaque)
{
    static Field const wrapped[G_N_ELEMENTS(backends)][2] = {
#define WRAP(table)                                                                                                    \
    {                                                                                                                  \
        QMP_OBJECT("data", table),                                                                                     \
        {                                                                                                              \
        }                                                                                                              \
    }
        WRAP(file), WRAP(device), WRAP(device), WRAP(device), WRAP(socket_fields), WRAP(udp),  WRAP(plain), WRAP(plain),
        WRAP(mux),  WRAP(plain),  WRAP(stdio),  WRAP(vc),     WRAP(ring),          WRAP(ring),
    };
    for (size_t i = 0; i < G_N_ELEMENTS(backends); i++) {
        add(opaque, backends[i].name, wrapped[i]);
    }
}

static const Field    backend_base[] = { QMP_STRING("type"), {} };
static const QmpUnion backend_union  = {
     .custom = QMP_UNION_CUSTOM, .base = backend_base, .tag = "type", .each = each_backend
};

static const Json *need_object(const Json *in, const char *key, Error *err)
{
    const Json *value = json_get(in, key);
    if (!value || value->kind != JSON_OBJECT) {
        error_set(err, value ? "argument '%s' takes an object" : "argument '%s' is missing", key);
        return NULL;
    }
    return value;
}

static bool check_members(const Json *object, const Field *fields, Error *err)
{
    for (size_t i = 0; i < object->n; i++) {
        if (!fields_find(fields, object->keys[i])) {
            return error_set(err, "no argument '%s' there", object->keys[i]);
        }
    }
    for (const Field *f = fields; f->kind != FIELD_END; f++) {
        if (f->required && !json_get(object, f->name)) {
            return error_set(err, "argument '%s' is missing", f->name);
        }
    }
    return true;
}

/* A descriptor by the name that getfd gave it, which it loses; numbers stay what they are. */
static Json *named_fd(Monitor *mon, const Json *str, Error *err)
{
    const char *name = str->kind == JSON_STRING ? str->string : "";
    gpointer    key, fd;
    if (g_ascii_isdigit(*name)) {
        return json_new_string(name);
    }
    if (!g_hash_table_steal_extended(mon->fds, name, &key, &fd)) {
        error_set(err, "no file descriptor is named '%s'; getfd gives names", name);
        return NULL;
    }
    g_free(key);
    return json_new_format("%d", GPOINTER_TO_INT(fd));
}

/* Adds the members of a SocketAddress to `options`, as `host` and `port` name them there. */
static bool add_address(Monitor *mon, Json *options, const Json *address, const char *host, const char *port,
                        bool stream, Error *err)
{
    const char  *type   = json_get_string(address, "type");
    const Json  *data   = need_object(address, "data", err);
    const Field *fields = !type                             ? NULL
                          : !strcmp(type, "inet")           ? inet_address
                          : stream && !strcmp(type, "unix") ? unix_address
                          : stream && !strcmp(type, "fd")   ? fd_address
                                                            : NULL;
    if (!data) {
        return false;
    }
    if (!fields) {
        return error_set(err, "an address of type '%s' is not possible here", type ? type : "");
    }
    if (!check_members(data, fields, err)) {
        return false;
    }
    for (size_t i = 0; i < data->n; i++) {
        const char *key = data->keys[i];
        if (!strcmp(key, "numeric")) {
            continue;
        }
        Json *value = !strcmp(key, "str") ? named_fd(mon, data->items[i], err) : json_copy(data->items[i]);
        if (!value) {
            return false;
        }
        json_set(options,
                 !strcmp(key, "host")   ? host
                 : !strcmp(key, "port") ? port
                 : !strcmp(key, "str")  ? "fd"
                                        : key,
                 value);
    }
    return true;
}

static bool add_member(Monitor *mon, Json *options, const Backend *b, const char *key, const Json *value, Error *err)
{
    if (fields_find(b->fields, key)->custom) {
        bool local = !strcmp(key, "local");
        if (value->kind != JSON_OBJECT) {
            return error_set(err, "argument '%s' takes an object", key);
        }
        return add_address(mon, options, value, local ? "localaddr" : "host", local ? "localport" : "port",
                           b->fields == socket_fields, err);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(b->from); i++) {
        key = b->from[i] && !strcmp(key, b->from[i]) ? b->to[i] : key;
    }
    json_set(options, key, json_copy(value));
    return true;
}

/* The options of -chardev for {"id", "backend": {"type", "data"}}. */
static Json *flatten(Monitor *mon, const char *id, const Json *backend, Error *err)
{
    const char    *type = json_get_string(backend, "type");
    const Backend *b    = NULL;
    const Json    *data;
    for (size_t i = 0; type && i < G_N_ELEMENTS(backends); i++) {
        b = !strcmp(type, backends[i].name) ? &backends[i] : b;
    }
    if (!b) {
        if (!type) {
            error_set(err, "argument 'backend.type' is missing");
        } else if (!char_check_backend(type, err)) {
            return NULL;
        } else {
            error_set_unsupported(err, "backend '%s' by QMP", type);
        }
        return NULL;
    }
    if (!(data = need_object(backend, "data", err)) || !check_members(data, b->fields, err)) {
        error_prefix(err, "backend '%s': ", type);
        return NULL;
    }
    g_autoptr(Json) options = json_new_object();
    json_set(options, "backend", json_new_string(type));
    json_set(options, "id", json_new_string(id));
    for (size_t i = 0; i < data->n; i++) {
        if (!add_member(mon, options, b, data->keys[i], data->items[i], err)) {
            error_prefix(err, "backend '%s': ", type);
            return NULL;
        }
    }
    /* QMP listens without waiting, unless it is told to. */
    const Json *server = json_get(options, "server");
    if (b->fields == socket_fields && (!server || (server->kind == JSON_BOOL && server->boolean))) {
        json_set(options, "server", json_new_bool(true));
        if (!json_get(options, "wait")) {
            json_set(options, "wait", json_new_bool(false));
        }
    } else if (b->fields == socket_fields) {
        json_remove(options, "wait"); /* of no meaning for a client */
    }
    return g_steal_pointer(&options);
}

/* --- making, changing, taking away --- */

typedef struct AddArgs {
    char *id;
    Json *backend;
} AddArgs;

static const Field add_args[] = {
    FIELD(AddArgs, id, "id", .required = true, .help = "of the chardev"),
    FIELD(AddArgs, backend, "backend", .custom = &backend_union.custom, .required = true, .help = "what it is"),
    {},
};
static const Field add_info[] = { QMP_MAYBE_STRING("pty"), {} };
static const Field add_result = QMP_OBJECT("", add_info);

/* {"pty": NAME} for one of those. */
static Json *describe_new(Monitor *mon, const char *id)
{
    g_auto(Error) ignored = { 0 };
    Chardev         *chr  = char_find(mon->machine->chars, id, &ignored);
    g_autofree char *name = chr ? char_describe(chr) : g_strdup("");
    Json            *info = json_new_object();
    if (g_str_has_prefix(name, "pty:")) {
        json_add(info, "pty", json_new_string(name + 4));
    }
    return info;
}

static bool chardev_add(Monitor *mon, void *args, Json **result, Error *err)
{
    AddArgs *a              = args;
    g_autoptr(Json) options = flatten(mon, a->id, a->backend, err);
    if (!options || !char_create(mon->machine->chars, options, false, err)) {
        return false;
    }
    *result = describe_new(mon, a->id);
    return true;
}

static bool chardev_change(Monitor *mon, void *args, Json **result, Error *err)
{
    AddArgs *a = args;
    if (!char_find(mon->machine->chars, a->id, err)) {
        return false;
    }
    g_autoptr(Json) options = flatten(mon, a->id, a->backend, err);
    if (!options || !char_change(mon->machine->chars, options, false, err)) {
        return false;
    }
    *result = describe_new(mon, a->id);
    return true;
}

typedef struct IdArgs {
    char *id;
} IdArgs;

static const Field id_args[] = { FIELD(IdArgs, id, "id", .required = true, .help = "of the chardev"), {} };

static bool chardev_remove(Monitor *mon, void *args, Json **result, Error *err)
{
    return char_remove(mon->machine->chars, ((IdArgs *)args)->id, err);
}

static bool chardev_send_break(Monitor *mon, void *args, Json **result, Error *err)
{
    Chardev *chr = char_find(mon->machine->chars, ((IdArgs *)args)->id, err);
    if (chr) {
        char_receive_break(chr);
    }
    return chr != NULL;
}

/* --- ring buffers --- */

enum { FORMAT_UTF8, FORMAT_BASE64 };
static const char *const format_names[] = { "utf8", "base64", NULL };

typedef struct RingArgs {
    char    *device, *data;
    uint64_t size;
    int      format;
} RingArgs;

static const Field write_args[] = {
    FIELD(RingArgs, device, "device", .required = true, .help = "id of the ring buffer"),
    FIELD(RingArgs, data, "data", .required = true, .help = "what to put into it"),
    FIELD(RingArgs, format, "format", .names = format_names, .help = "how data is written (default utf8)"),
    {},
};
static const Field read_args[] = {
    FIELD(RingArgs, device, "device", .required = true, .help = "id of the ring buffer"),
    FIELD(RingArgs, size, "size", .required = true, .min = 1, .max = INT32_MAX, .help = "bytes to take, at most"),
    FIELD(RingArgs, format, "format", .names = format_names, .help = "how they are written (default utf8)"),
    {},
};

static Chardev *find_ring(Monitor *mon, const char *id, Error *err)
{
    Chardev *chr = char_find(mon->machine->chars, id, err);
    if (chr && !char_is_ringbuf(chr)) {
        error_set(err, "chardev '%s' is no ring buffer", id);
        return NULL;
    }
    return chr;
}

static bool ringbuf_write(Monitor *mon, void *args, Json **result, Error *err)
{
    RingArgs *a   = args;
    Chardev  *chr = find_ring(mon, a->device, err);
    gsize     len = strlen(a->data);
    if (!chr) {
        return false;
    }
    if (a->format == FORMAT_BASE64) {
        if (len % 4 || strspn(a->data, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != len) {
            return error_set(err, "argument 'data' is not base64");
        }
        g_autofree guchar *bytes = g_base64_decode(a->data, &len);
        return char_ringbuf_put(chr, bytes, len);
    }
    return char_ringbuf_put(chr, a->data, len);
}

static bool ringbuf_read(Monitor *mon, void *args, Json **result, Error *err)
{
    RingArgs *a   = args;
    Chardev  *chr = find_ring(mon, a->device, err);
    if (!chr) {
        return false;
    }
    g_autoptr(GByteArray) data = g_byte_array_new();
    char_ringbuf_take(chr, a->size, data);
    g_byte_array_append(data, (const uint8_t *)"", 1); /* never without memory */
    gsize            len  = data->len - 1;
    g_autofree char *text = a->format == FORMAT_BASE64 ? g_base64_encode(data->data, len)
                                                       : g_utf8_make_valid((const char *)data->data, (gssize)len);
    *result               = json_new_string(text);
    return true;
}

/* --- yank --- */

static const char *const yank_names[]  = { "chardev", NULL };
static const Field       yank_base[]   = { QMP_ENUM("type", yank_names), {} };
static const Field       yank_char[]   = { QMP_STRING("id"), {} };
static const QmpVariant  yank_kinds[]  = { { "chardev", yank_char }, {} };
static const QmpUnion    yank_instance = {
       .custom = QMP_UNION_CUSTOM, .base = yank_base, .tag = "type", .variants = yank_kinds
};
static const Field yank_element = {
    .name = "", .kind = FIELD_JSON, .size = sizeof(Json *), .count = 1, .custom = &yank_instance.custom
};
static const Field yank_result = QMP_LIST_OF("", &yank_element);

static const Field yank_schema[] = { QMP_LIST_OF("instances", &yank_element), {} };

static void describe_yank(Chardev *chr, void *list)
{
    if (char_type(chr)->yank) {
        Json *item = json_new_object();
        json_add(item, "type", json_new_string("chardev"));
        json_add(item, "id", json_new_string(chr->id));
        json_append(list, item);
    }
}

static bool query_yank(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    char_foreach(mon->machine->chars, describe_yank, *result);
    return true;
}

/* All are looked up before the first connection is broken. */
static bool yank(Monitor *mon, void *args, Json **result, Error *err)
{
    const Json *arguments = args, *instances = json_get(arguments, "instances");
    g_autoptr(GPtrArray) found = g_ptr_array_new();
    if (!instances || instances->kind != JSON_LIST || arguments->n != 1) {
        return error_set(err, "argument 'instances' is missing, or no list, or not the only one");
    }
    for (size_t i = 0; i < instances->n; i++) {
        const char *type  = json_get_string(instances->items[i], "type"),
                   *id    = json_get_string(instances->items[i], "id");
        g_auto(Error) why = { 0 };
        Chardev *chr      = type && id && !strcmp(type, "chardev") ? char_find(mon->machine->chars, id, &why) : NULL;
        if (!chr || !char_type(chr)->yank) {
            return error_set_class(err, ERROR_DEVICE_NOT_FOUND, "no connection '%s' to yank; query-yank lists them",
                                   id ? id : "");
        }
        g_ptr_array_add(found, chr);
    }
    for (guint i = 0; i < found->len; i++) {
        char_type((Chardev *)found->pdata[i])->yank(found->pdata[i]);
    }
    return true;
}

MONITOR_COMMANDS(chars) = {
    { .name   = "query-chardev",
      .result = &chardevs_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "character devices",
      .run    = query_chardev },
    { .name   = "query-chardev-backends",
      .result = &backends_result,
      .help   = "kinds of character devices",
      .run    = query_chardev_backends },
    { .name      = "chardev-add",
      .args      = add_args,
      .args_size = sizeof(AddArgs),
      .result    = &add_result,
      .help      = "makes a character device",
      .run       = chardev_add },
    { .name      = "chardev-change",
      .args      = add_args,
      .args_size = sizeof(AddArgs),
      .result    = &add_result,
      .help      = "gives the users of a character device another one",
      .run       = chardev_change },
    { .name      = "chardev-remove",
      .args      = id_args,
      .args_size = sizeof(IdArgs),
      .help      = "takes a character device away",
      .run       = chardev_remove },
    { .name      = "chardev-send-break",
      .args      = id_args,
      .args_size = sizeof(IdArgs),
      .help      = "a break comes in there",
      .run       = chardev_send_break },
    { .name      = "ringbuf-write",
      .args      = write_args,
      .args_size = sizeof(RingArgs),
      .help      = "writes to a ring buffer",
      .run       = ringbuf_write },
    { .name      = "ringbuf-read",
      .args      = read_args,
      .args_size = sizeof(RingArgs),
      .result    = &qmp_string,
      .help      = "takes from a ring buffer",
      .run       = ringbuf_read },
    { .name   = "query-yank",
      .result = &yank_result,
      .flags  = COMMAND_OOB,
      .help   = "connections that can be broken",
      .run    = query_yank },
    { .name = "yank", .args = yank_schema, .flags = COMMAND_OOB, .help = "breaks connections", .run = yank },
    {},
};
