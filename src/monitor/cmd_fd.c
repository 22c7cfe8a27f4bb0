/* Commands about file descriptors that clients pass over unix sockets: by name, or in sets that are opened as
 * /dev/fdset/N. */

#include "char/socket.h"
#include "monitor/command.h"

#include <unistd.h>

enum { NAMED_MAX = 1024 }; /* descriptors a monitor may name: a client must not use all of the process's up */

static int take_passed(Monitor *mon, Error *err)
{
    int fd = char_take_fd(&mon->fe);
    if (fd < 0) {
        error_set(err, "no file descriptor came with the command (SCM_RIGHTS)");
    }
    return fd;
}

/* --- names --- */

typedef struct NameArgs {
    char *name;
} NameArgs;

static const Field name_args[] = { FIELD(NameArgs, name, "fdname", .required = true, .help = "name of it"), {} };

static bool getfd(Monitor *mon, void *args, Json **result, Error *err)
{
    const char *name = ((NameArgs *)args)->name;
    int         fd   = take_passed(mon, err);
    if (fd < 0) {
        return false;
    }
    if (!*name || g_ascii_isdigit(*name) || g_hash_table_size(mon->fds) >= NAMED_MAX) {
        close(fd);
        return error_set(err, !*name || g_ascii_isdigit(*name) ? "a name is not empty and begins with no digit"
                                                               : "too many file descriptors have names");
    }
    g_hash_table_replace(mon->fds, g_strdup(name), GINT_TO_POINTER(fd)); /* closes what had that name */
    return true;
}

static bool closefd(Monitor *mon, void *args, Json **result, Error *err)
{
    const char *name = ((NameArgs *)args)->name;
    return g_hash_table_remove(mon->fds, name) || error_set(err, "no file descriptor is named '%s'", name);
}

/* --- add_client --- */

typedef struct ClientArgs {
    char *protocol, *name;
    bool  skip_authentication, tls;
} ClientArgs;

static const Field client_args[] = {
    FIELD(ClientArgs, protocol, "protocol", .required = true, .help = "id of a chardev that listens"),
    FIELD(ClientArgs, name, "fdname", .required = true, .help = "name of the connection's descriptor (getfd)"),
    FIELD(ClientArgs, skip_authentication, "skipauth", .help = "VNC and SPICE only"),
    FIELD(ClientArgs, tls, "tls", .help = "SPICE only"),
    {},
};

static bool add_client(Monitor *mon, void *args, Json **result, Error *err)
{
    static const char *const displays[] = { "vnc", "spice", "@dbus-display", NULL };
    const ClientArgs        *a          = args;
    gpointer                 fd;
    if (g_strv_contains(displays, a->protocol)) {
        return error_set_unsupported(err, "add_client for '%s'", a->protocol);
    }
    if (!g_hash_table_lookup_extended(mon->fds, a->name, NULL, &fd)) {
        return error_set(err, "no file descriptor is named '%s'", a->name);
    }
    Chardev *chr = char_find(mon->machine->chars, a->protocol, err);
    if (!chr) {
        return false;
    }
    if (a->skip_authentication || a->tls) {
        return error_set(err, "arguments 'skipauth' and 'tls' are not for chardevs");
    }
    if (!char_socket_add_client(chr, GPOINTER_TO_INT(fd), err)) {
        return false;
    }
    gpointer name;
    g_hash_table_steal_extended(mon->fds, a->name, &name, NULL);
    g_free(name);
    return true;
}

/* --- sets --- */

typedef struct SetArgs {
    int64_t set, fd;
    bool    has_set, has_fd;
    char   *opaque;
} SetArgs;

static const Field add_args[] = {
    FIELD(SetArgs, set, "fdset-id", .has_offset = 1 + offsetof(SetArgs, has_set), .min = 0, .max = INT64_MAX,
          .help = "number of the set (default: a new one)"),
    FIELD(SetArgs, opaque, "opaque", .help = "text to recognize it by"),
    {},
};
static const Field added_info[] = { QMP_INT("fdset-id"), QMP_INT("fd"), {} };
static const Field added        = QMP_OBJECT("", added_info);

static bool add_fd(Monitor *mon, void *args, Json **result, Error *err)
{
    SetArgs *a   = args;
    int64_t  set = a->has_set ? a->set : -1;
    int      fd  = take_passed(mon, err), copy;
    if (fd < 0) {
        return false;
    }
    bool ok = char_hub_add_fd_to(mon->machine->chars, fd, &set, a->opaque, &copy, err);
    close(fd);
    if (ok) {
        *result = json_new_object();
        json_add(*result, "fdset-id", json_new_int(set));
        json_add(*result, "fd", json_new_int(copy));
    }
    return ok;
}

static const Field remove_args[] = {
    FIELD(SetArgs, set, "fdset-id", .required = true, .min = 0, .max = INT64_MAX, .help = "number of the set"),
    FIELD(SetArgs, fd, "fd", .has_offset = 1 + offsetof(SetArgs, has_fd), .min = 0, .max = INT32_MAX,
          .help = "one of its descriptors (default: all)"),
    {},
};

static bool remove_fd(Monitor *mon, void *args, Json **result, Error *err)
{
    SetArgs *a = args;
    return char_hub_remove_fd(mon->machine->chars, a->set, a->has_fd ? (int)a->fd : -1, err);
}

static const Field fd_info[]   = { QMP_INT("fd"), QMP_MAYBE_STRING("opaque"), {} };
static const Field set_info[]  = { QMP_INT("fdset-id"), QMP_LIST("fds", fd_info), {} };
static const Field sets_result = QMP_LIST("", set_info);

static void describe_fd(void *opaque, int64_t set, int fd, const char *text)
{
    Json *list = opaque, *entry = NULL;
    for (size_t i = 0; i < list->n; i++) {
        entry = json_get(list->items[i], "fdset-id")->integer == set ? list->items[i] : entry;
    }
    if (!entry) {
        entry = json_new_object();
        json_add(entry, "fdset-id", json_new_int(set));
        json_add(entry, "fds", json_new_list());
        json_append(list, entry);
    }
    Json *one = json_new_object();
    json_add(one, "fd", json_new_int(fd));
    if (text) {
        json_add(one, "opaque", json_new_string(text));
    }
    json_append(json_get(entry, "fds"), one);
}

static bool query_fdsets(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    char_hub_each_fd(mon->machine->chars, describe_fd, *result);
    return true;
}

MONITOR_COMMANDS(fd) = {
    { .name      = "getfd",
      .args      = name_args,
      .args_size = sizeof(NameArgs),
      .help      = "names a descriptor that came along",
      .run       = getfd },
    { .name      = "closefd",
      .args      = name_args,
      .args_size = sizeof(NameArgs),
      .help      = "closes a named descriptor",
      .run       = closefd },
    { .name      = "add-fd",
      .args      = add_args,
      .args_size = sizeof(SetArgs),
      .result    = &added,
      .help      = "adds a descriptor that came along to a set",
      .run       = add_fd },
    { .name      = "remove-fd",
      .args      = remove_args,
      .args_size = sizeof(SetArgs),
      .help      = "closes descriptors of a set",
      .run       = remove_fd },
    { .name      = "add_client",
      .args      = client_args,
      .args_size = sizeof(ClientArgs),
      .help      = "gives a connection to a chardev that listens",
      .run       = add_client },
    { .name = "query-fdsets", .result = &sets_result, .help = "sets of descriptors", .run = query_fdsets },
    {},
};
