/* The hub of all character devices: creation, front ends, log files.
 * Main loop, or machine lock held. */

#include "char/char.h"

#include "base/text.h"
#include "char/fdset.h"
#include "char/mux.h"
#include "input/input.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

enum { ID_MAX = 127, STALL_MS = 1000 };

struct CharHub {
    Loop       *loop;
    Object     *container; /* "/chardevs" */
    GPtrArray  *chardevs;  /* borrowed: the container owns them */
    FdSets     *fdsets;
    InputHub   *input;
    int         escape;
    bool        waits_cancelled;
    const char *no_stdio;
    void (*quit)(void *opaque);
    void *quit_opaque;
    void (*save)(void *opaque);
    void *save_opaque;
};

/* Options that every backend has. */
const Field char_common_options[] = {
    FIELD(Chardev, mux, "mux", .help = "lets up to four front ends share it, with escape keys (Ctrl-A H)"),
    FIELD(Chardev, logfile, "logfile", .help = "file that records what is sent"),
    FIELD(Chardev, logappend, "logappend", .help = "keep what is in the log file already"),
    {}
};

/* Keys of -chardev that are not the backend's own. */
static bool is_common(const char *key)
{
    return strcmp(key, "backend") == 0 || strcmp(key, "id") == 0 || fields_find(char_common_options, key);
}

/* --- the hub --- */

CharHub *char_hub_new(Loop *loop, Object *root)
{
    CharHub *hub   = g_new0(CharHub, 1);
    hub->loop      = loop;
    hub->container = object_container(root, "chardevs");
    hub->chardevs  = g_ptr_array_new();
    hub->fdsets    = fdsets_new();
    hub->escape    = 1;
    /* A reader that goes away must be an error of one write, not the end of the machine. */
    signal(SIGPIPE, SIG_IGN);
    return hub;
}

void char_hub_set_input(CharHub *hub, InputHub *input)
{
    hub->input = input;
}

InputHub *char_hub_input(const CharHub *hub)
{
    return hub->input;
}

static void char_destroy(Chardev *chr)
{
    CharHub *hub = chr->hub;
    if (chr->frontend) {
        chr->frontend->chr = NULL;
        chr->frontend      = NULL;
    }
    if (chr->opened) {
        if (char_type(chr)->close) {
            char_type(chr)->close(chr);
        }
        chr->opened = false;
    }
    if (chr->log_fd >= 0) {
        close(chr->log_fd);
        chr->log_fd = -1;
    }
    g_ptr_array_remove(hub->chardevs, chr);
    fields_clear(char_common_options, chr);
    g_clear_pointer(&chr->id, g_free);
    if (chr->obj.parent) {
        object_remove(&chr->obj);
    }
    object_unref(&chr->obj);
}

void char_hub_free(CharHub *hub)
{
    if (!hub) {
        return;
    }
    /* The youngest first: a mux comes after what it sits on. */
    while (hub->chardevs->len) {
        char_destroy(g_ptr_array_index(hub->chardevs, hub->chardevs->len - 1));
    }
    g_ptr_array_free(hub->chardevs, true);
    fdsets_free(hub->fdsets);
    g_free(hub);
}

Loop *char_hub_loop(CharHub *hub)
{
    return hub->loop;
}

void char_hub_set_escape(CharHub *hub, int escape)
{
    hub->escape = escape;
}

int char_hub_escape(const CharHub *hub)
{
    return hub->escape;
}

void char_hub_on_quit(CharHub *hub, void (*quit)(void *opaque), void *opaque)
{
    hub->quit        = quit;
    hub->quit_opaque = opaque;
}

void char_hub_on_save(CharHub *hub, void (*save)(void *opaque), void *opaque)
{
    hub->save        = save;
    hub->save_opaque = opaque;
}

void char_hub_quit(CharHub *hub)
{
    if (hub->quit) {
        hub->quit(hub->quit_opaque);
    }
}

bool char_hub_save(CharHub *hub)
{
    if (!hub->save) {
        return false;
    }
    hub->save(hub->save_opaque);
    return true;
}

void char_hub_forbid_stdio(CharHub *hub, const char *why)
{
    hub->no_stdio = why;
}

const char *char_hub_stdio_forbidden(const CharHub *hub)
{
    return hub->no_stdio;
}

void char_hub_cancel_waits(CharHub *hub)
{
    hub->waits_cancelled = true;
}

bool char_hub_waits_cancelled(const CharHub *hub)
{
    return hub->waits_cancelled;
}

bool char_hub_add_fd(CharHub *hub, int fd, int64_t set, const char *opaque, Error *err)
{
    return fdsets_add(hub->fdsets, fd, set, opaque, err);
}

bool char_hub_add_fd_to(CharHub *hub, int fd, int64_t *set, const char *opaque, int *copy, Error *err)
{
    if (*set < 0) {
        *set = fdsets_unused(hub->fdsets);
    }
    return fdsets_add(hub->fdsets, fd, *set, opaque, err) && (*copy = fdsets_last(hub->fdsets), true);
}

bool char_hub_remove_fd(CharHub *hub, int64_t set, int fd, Error *err)
{
    return fdsets_remove(hub->fdsets, set, fd, err);
}

void char_hub_each_fd(CharHub *hub, void (*visit)(void *opaque, int64_t set, int fd, const char *text), void *opaque)
{
    fdsets_foreach(hub->fdsets, visit, opaque);
}

int char_hub_open(CharHub *hub, const char *path, int flags, int mode)
{
    int64_t set;
    if (fdset_path(path, &set)) {
        return fdsets_open(hub->fdsets, set, flags);
    }
    return open(path, flags | O_CLOEXEC, mode);
}

/* --- types --- */

typedef struct TypeSearch {
    const char     *name;
    const CharType *found;
} TypeSearch;

static void match_type(const ObjectType *type, void *opaque)
{
    TypeSearch *search = opaque;
    if (type->class != OBJECT_CLASS_CHARDEV) {
        return;
    }
    const CharType *t = (const CharType *)type;
    if (strcmp(type->name, search->name) == 0 || (t->alias && strcmp(t->alias, search->name) == 0)) {
        search->found = t;
    }
}

static const CharType *char_type_find(const char *name, Error *err)
{
    TypeSearch search = { .name = name };
    object_type_foreach(match_type, &search);
    if (!search.found) {
        object_type_unknown(OBJECT_CLASS_CHARDEV, "character device backend", name, err);
        return NULL;
    }
    if (search.found->missing) {
        error_set_unsupported(err, "%s (%s)", name, search.found->missing);
        return NULL;
    }
    return search.found;
}

static void collect_type(const ObjectType *type, void *opaque)
{
    if (type->class == OBJECT_CLASS_CHARDEV && !((const CharType *)type)->missing) {
        g_ptr_array_add(opaque, (void *)type);
    }
}

static gint compare_types(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const ObjectType *const *)a)->name, (*(const ObjectType *const *)b)->name);
}

void char_print_help(GString *out)
{
    g_autoptr(GPtrArray) types = g_ptr_array_new();
    object_type_foreach(collect_type, types);
    g_ptr_array_sort(types, compare_types);
    g_string_append(out, "Available chardev backend types:\n");
    for (guint i = 0; i < types->len; i++) {
        const ObjectType *type = g_ptr_array_index(types, i);
        g_string_append_printf(out, "  %-10s %s\n", type->name, type->help ? type->help : "");
    }
}

bool char_print_type_help(const char *backend, GString *out, Error *err)
{
    const CharType *type = char_type_find(backend, err);
    if (!type) {
        return false;
    }
    g_string_append_printf(out, "%s options:\n", type->name);
    if (type->properties) {
        fields_print_help(type->properties, out);
    }
    fields_print_help(char_common_options, out);
    return true;
}

/* --- creation --- */

static bool id_ok(const char *id, Error *err)
{
    size_t len = strlen(id);
    if (len == 0 || len > ID_MAX) {
        return error_set(err, "an id has 1 to %d characters, '%.20s%s' has %zu", ID_MAX, id, len > 20 ? "..." : "",
                         len);
    }
    for (size_t i = 0; i < len; i++) {
        if (!g_ascii_isalpha(id[i]) && (i == 0 || (!g_ascii_isdigit(id[i]) && !strchr("-._", id[i])))) {
            return error_set(err, "'%s' is no id: an id starts with a letter, then come letters, digits and - . _", id);
        }
    }
    return true;
}

static Chardev *find(CharHub *hub, const char *id)
{
    for (guint i = 0; i < hub->chardevs->len; i++) {
        Chardev *chr = g_ptr_array_index(hub->chardevs, i);
        if (strcmp(chr->id, id) == 0) {
            return chr;
        }
    }
    return NULL;
}

Chardev *char_find(CharHub *hub, const char *id, Error *err)
{
    Chardev *chr = find(hub, id);
    if (chr) {
        return chr;
    }
    NameMatch match = { .word = id };
    for (guint i = 0; i < hub->chardevs->len; i++) {
        text_match_name(&match, ((Chardev *)g_ptr_array_index(hub->chardevs, i))->id);
    }
    char hint[128];
    error_set(err, "no chardev '%s'%s", id, text_did_you_mean(&match, hint));
    return NULL;
}

/* Copies the common or the backend's own members of `options`. Scripts of many years write "nowait" for wait=off. */
static Json *pick_options(const CharType *type, const Json *options, bool lenient, bool common)
{
    static const Field none[] = { {} };
    const Field       *table  = type->properties ? type->properties : none;
    Json              *picked = json_new_object();
    for (size_t i = 0; i < options->n; i++) {
        const char *key   = options->keys[i];
        const Json *value = options->items[i];
        bool        on    = value->kind == JSON_STRING && strcmp(value->string, "on") == 0;
        if (is_common(key) != common || strcmp(key, "backend") == 0 || strcmp(key, "id") == 0) {
            continue;
        }
        const Field *negated = strncmp(key, "no", 2) == 0 ? fields_find(table, key + 2) : NULL;
        if (lenient && on && !common && !fields_find(table, key) && negated && negated->kind == FIELD_BOOL) {
            json_set(picked, key + 2, json_new_string("off"));
        } else {
            json_set(picked, key, json_copy(value));
        }
    }
    return picked;
}

/* Makes, registers and opens. Takes over nothing of `options`. */
static Chardev *create(CharHub *hub, const CharType *type, const char *id, const Json *options, bool lenient,
                       Error *err)
{
    if (!id_ok(id, err)) {
        return NULL;
    }
    if (find(hub, id)) {
        error_set(err, "there is a chardev '%s' already", id);
        return NULL;
    }
    Chardev *chr = object_new((const ObjectType *)type);
    fields_init(char_common_options, chr);
    chr->hub    = hub;
    chr->log_fd = -1;
    chr->id     = g_strdup(id);

    static const Field none[] = { {} };
    g_autoptr(Json) common    = pick_options(type, options, lenient, true);
    g_autoptr(Json) own       = pick_options(type, options, lenient, false);
    bool ok                   = fields_parse(char_common_options, chr, common, lenient, NULL, err) &&
              fields_parse(type->properties ? type->properties : none, chr, own, lenient, NULL, err);
    if (ok && chr->logappend && !chr->logfile) {
        ok = error_set(err, "logappend is of no use without logfile");
    }
    if (ok && chr->logfile) {
        chr->log_fd =
            char_hub_open(hub, chr->logfile, O_WRONLY | O_CREAT | (chr->logappend ? O_APPEND : O_TRUNC), 0666);
        if (chr->log_fd < 0) {
            ok = error_set_errno(err, errno, "logfile=%s", chr->logfile);
        }
    }
    if (ok) {
        ok = object_add_child(hub->container, id, &chr->obj, err);
    }
    if (ok) {
        g_ptr_array_add(hub->chardevs, chr);
        ok = chr->opened = !type->open || type->open(chr, err);
    }
    if (!ok) {
        char_destroy(chr);
        return NULL;
    }
    return chr;
}

Chardev *char_create(CharHub *hub, const Json *options, bool lenient, Error *err)
{
    const char *backend = json_get_string(options, "backend");
    const char *id      = json_get_string(options, "id");
    if (!backend) {
        error_set(err, "no backend given ('help' lists them)");
        return NULL;
    }
    const CharType *type = char_type_find(backend, err);
    if (!type) {
        return NULL;
    }
    if (!id) {
        error_set(err, "no id given");
        return NULL;
    }

    bool mux = false;
    if (json_get(options, "mux") && type != mux_char_type()) {
        Chardev probe          = {};
        g_autoptr(Json) common = json_new_object();
        json_set(common, "mux", json_copy(json_get(options, "mux")));
        fields_init(char_common_options, &probe);
        bool ok = fields_parse(char_common_options, &probe, common, lenient, NULL, err);
        mux     = probe.mux;
        fields_clear(char_common_options, &probe);
        if (!ok) {
            return NULL;
        }
    }
    if (!mux) {
        return create(hub, type, id, options, lenient, err);
    }

    /* The backend hides behind "ID-base"; "ID" is the mux. */
    if (!id_ok(id, err)) {
        return NULL;
    }
    g_autofree char *base_id = g_strconcat(id, "-base", NULL);
    if (strlen(base_id) > ID_MAX) {
        error_set(err, "with mux=on an id has at most %d characters", ID_MAX - 5);
        return NULL;
    }
    if (find(hub, id)) {
        error_set(err, "there is a chardev '%s' already", id);
        return NULL;
    }
    Chardev *base = create(hub, type, base_id, options, lenient, err);
    if (!base) {
        return NULL;
    }
    g_autoptr(Json) mux_options = json_new_object();
    json_set(mux_options, "chardev", json_new_string(base_id));
    Chardev *chr = create(hub, mux_char_type(), id, mux_options, false, err);
    if (!chr) {
        char_destroy(base);
    }
    return chr;
}

bool char_in_use(const Chardev *chr)
{
    return chr->frontend || mux_in_use(chr);
}

bool char_check_backend(const char *name, Error *err)
{
    return char_type_find(name, err) != NULL;
}

bool char_remove(CharHub *hub, const char *id, Error *err)
{
    Chardev *chr = char_find(hub, id, err);
    if (!chr) {
        return false;
    }
    if (!chr->opened) {
        return error_set(err, "chardev '%s' is still being opened", id); /* a server that waits, in another monitor */
    }
    if (char_in_use(chr)) {
        return error_set(err, "chardev '%s' is in use", id);
    }
    Chardev *base = mux_implicit_base(chr);
    char_destroy(chr);
    if (base) {
        char_destroy(base);
    }
    return true;
}

bool char_change(CharHub *hub, const Json *options, bool lenient, Error *err)
{
    const char *id  = json_get_string(options, "id");
    Chardev    *old = char_find(hub, id ? id : "", err);
    if (!old) {
        return false;
    }
    CharFrontend *fe = old->frontend;
    if (!old->opened) {
        return error_set(err, "chardev '%s' is still being opened", id);
    }
    if (fe && fe->stays) {
        return error_set_unsupported(err, "exchanging chardev '%s' below a monitor", id);
    }
    if (char_is_mux(old) || mux_has_base(hub, old)) {
        return error_set(err, "chardev '%s' is shared by a mux, and cannot be changed", id);
    }
    g_autoptr(Json) other   = json_copy(options);
    g_autofree char *new_id = g_strdup_printf("%.*s-new", ID_MAX - 4, id);
    json_set(other, "id", json_new_string(new_id));
    Chardev *chr = char_create(hub, other, lenient, err);
    if (!chr) {
        return false;
    }
    if (char_is_mux(chr) || (char_type(chr)->port && fe && !fe->takes_port)) {
        error_set(err, "chardev '%s' cannot become a %s", id, char_is_mux(chr) ? "mux" : chr->obj.type->name);
        g_auto(Error) ignored = { 0 };
        return char_remove(hub, new_id, &ignored) && false;
    }
    if (old->is_open) {
        char_event(old, CHAR_CLOSED);
    }
    char_destroy(old);
    g_free(chr->id);
    chr->id = g_strdup(id);
    g_free(chr->obj.name);
    chr->obj.name = g_strdup(id);
    return !fe || char_attach(fe, chr, err);
}

void char_receive_break(Chardev *chr)
{
    if (char_is_mux(chr)) {
        mux_receive_break(chr);
    } else {
        char_event(chr, CHAR_BREAK);
    }
}

int char_take_fd(CharFrontend *fe)
{
    Chardev *chr = fe->chr;
    return chr && char_type(chr)->take_fd ? char_type(chr)->take_fd(chr) : -1;
}

void char_foreach(CharHub *hub, void (*visit)(Chardev *chr, void *opaque), void *opaque)
{
    for (guint i = 0; i < hub->chardevs->len; i++) {
        visit(g_ptr_array_index(hub->chardevs, i), opaque);
    }
}

char *char_describe(Chardev *chr)
{
    const CharType *type = char_type(chr);
    return type->describe ? type->describe(chr) : g_strdup(type->name);
}

/* --- front ends --- */

bool char_attach(CharFrontend *fe, Chardev *chr, Error *err)
{
    if (char_type(chr)->port && !fe->takes_port) {
        return error_set(
            err, "chardev '%s' is a parallel port of the host, which only isa-parallel (-parallel) can use", chr->id);
    }
    if (char_type(chr) == mux_char_type()) {
        if (!mux_attach(chr, fe, err)) {
            return false;
        }
    } else if (chr->frontend) {
        return error_set(err, "chardev '%s' is in use already (mux=on lets front ends share one)", chr->id);
    } else {
        chr->frontend = fe;
    }
    fe->chr = chr;
    if (chr->is_open && fe->event) {
        fe->event(fe->opaque, CHAR_OPENED);
    }
    char_accept_input(fe);
    return true;
}

bool char_attach_id(CharFrontend *fe, CharHub *hub, const char *id, Error *err)
{
    if (!id || !*id) {
        return true;
    }
    Chardev *chr = char_find(hub, id, err);
    return chr && char_attach(fe, chr, err);
}

void char_detach(CharFrontend *fe)
{
    Chardev *chr = fe->chr;
    if (!chr) {
        return;
    }
    if (char_type(chr) == mux_char_type()) {
        mux_detach(chr, fe);
    } else {
        chr->frontend = NULL;
    }
    fe->chr = NULL;
}

void char_take_focus(CharFrontend *fe)
{
    if (fe->chr && char_type(fe->chr) == mux_char_type()) {
        mux_set_focus(fe->chr, fe);
    }
}

static void write_log(Chardev *chr, const uint8_t *buf, size_t len)
{
    while (chr->log_fd >= 0 && len) {
        ssize_t n = write(chr->log_fd, buf, len);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            warn_report("chardev %s: logfile=%s: %s; logging ends", chr->id, chr->logfile, g_strerror(errno));
            close(chr->log_fd);
            chr->log_fd = -1;
            return;
        }
        buf += n;
        len -= (size_t)n;
    }
}

ssize_t char_write(CharFrontend *fe, const void *buf, size_t len)
{
    Chardev *chr = fe->chr;
    if (!chr || !len) {
        return (ssize_t)len;
    }
    ssize_t n = char_type(chr)->write ? char_type(chr)->write(chr, buf, len) : (ssize_t)len;
    if (n > 0) {
        write_log(chr, buf, (size_t)n);
    }
    return n;
}

bool char_costs_a_call(const CharFrontend *fe)
{
    Chardev *chr = fe->chr;
    return chr && char_type(chr)->write_fd && char_type(chr)->write_fd(chr) >= 0;
}

void char_write_all(CharFrontend *fe, const void *buf, size_t len)
{
    const uint8_t *p     = buf;
    gint64         since = g_get_monotonic_time();
    while (len) {
        ssize_t n = char_write(fe, p, len);
        if (n < 0) {
            return;
        }
        if (n > 0) {
            p += n;
            len -= (size_t)n;
            since = g_get_monotonic_time();
            continue;
        }
        Chardev *chr = fe->chr;
        int      fd  = chr && char_type(chr)->write_fd ? char_type(chr)->write_fd(chr) : -1;
        if (fd < 0 || g_get_monotonic_time() - since > STALL_MS * 1000) {
            return;
        }
        struct pollfd p1 = { .fd = fd, .events = POLLOUT };
        poll(&p1, 1, STALL_MS / 10);
    }
}

void char_accept_input(CharFrontend *fe)
{
    Chardev *chr = fe->chr;
    if (chr && char_type(chr)->accept_input) {
        char_type(chr)->accept_input(chr);
    }
}

void char_set_echo(CharFrontend *fe, bool on)
{
    Chardev *chr = fe->chr;
    if (chr && char_type(chr)->set_echo) {
        char_type(chr)->set_echo(chr, on);
    }
}

bool char_set_line(CharFrontend *fe, const CharLine *line)
{
    Chardev *chr = fe->chr;
    return chr && char_type(chr)->set_line && char_type(chr)->set_line(chr, line);
}

void char_set_break(CharFrontend *fe, bool on)
{
    Chardev *chr = fe->chr;
    if (chr && char_type(chr)->set_break) {
        char_type(chr)->set_break(chr, on);
    }
}

bool char_set_modem(CharFrontend *fe, unsigned lines)
{
    Chardev *chr = fe->chr;
    return chr && char_type(chr)->set_modem && char_type(chr)->set_modem(chr, lines);
}

bool char_get_modem(CharFrontend *fe, unsigned *lines)
{
    Chardev *chr = fe->chr;
    return chr && char_type(chr)->get_modem && char_type(chr)->get_modem(chr, lines);
}

bool char_is_port(const CharFrontend *fe)
{
    return fe->chr && char_type(fe->chr)->port;
}

bool char_port(CharFrontend *fe, CharPort what, uint8_t *value)
{
    return char_is_port(fe) && char_type(fe->chr)->port(fe->chr, what, value);
}

bool char_is_open(const CharFrontend *fe)
{
    return fe->chr && fe->chr->is_open;
}

/* --- back ends --- */

size_t char_can_read(Chardev *chr)
{
    CharFrontend *fe = chr->frontend;
    return fe && fe->can_read ? fe->can_read(fe->opaque) : 0;
}

void char_push(Chardev *chr, const uint8_t *buf, size_t len)
{
    CharFrontend *fe = chr->frontend;
    if (fe && fe->read && len) {
        fe->read(fe->opaque, buf, len);
    }
}

void char_event(Chardev *chr, CharEvent event)
{
    if (event == CHAR_OPENED) {
        chr->is_open = true;
    } else if (event == CHAR_CLOSED) {
        chr->is_open = false;
    }
    CharFrontend *fe = chr->frontend;
    if (fe && fe->event) {
        fe->event(fe->opaque, event);
    }
}

void char_writable(Chardev *chr)
{
    CharFrontend *fe = chr->frontend;
    if (fe && fe->writable) {
        fe->writable(fe->opaque);
    }
}
