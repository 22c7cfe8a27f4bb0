/* The short forms of character devices: what -serial, -parallel, -monitor, -debugcon, -gdb and -qtest take. */

#include "char/char.h"

#include "base/optstr.h"
#include "base/text.h"

#include <string.h>

static const char *after(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

/* Takes "HOST:PORT" or "[HOST]:PORT" off the front of *text, up to one of `ends` or the end. */
static bool take_host_port(const char **text, const char *ends, Json *options, const char *host_key,
                           const char *port_key, Error *err)
{
    const char *host = *text, *p = *text, *host_end;
    if (*p == '[') {
        host++;
        host_end = strchr(p, ']');
        if (!host_end) {
            return error_set(err, "']' is missing");
        }
        p = host_end + 1;
    } else {
        host_end = p += strcspn(p, ":,");
    }
    if (*p != ':') {
        return error_set(err, "HOST:PORT is expected (HOST may be empty)");
    }
    const char      *port      = p + 1;
    size_t           len       = strcspn(port, ends);
    g_autofree char *host_text = g_strndup(host, (size_t)(host_end - host));
    g_autofree char *port_text = g_strndup(port, len);
    json_set(options, host_key, json_new_string(host_text));
    json_set(options, port_key, json_new_string(port_text));
    *text = port + len;
    return true;
}

/* Adds ",key=value,..." at `text` to `options`. */
static bool add_options(Json *options, const char *text, Error *err)
{
    if (!*text) {
        return true;
    }
    if (*text != ',') {
        return error_set(err, "',' is expected before '%s'", text);
    }
    g_autoptr(Json) more = optstr_parse(text + 1, NULL, err);
    if (!more) {
        return false;
    }
    for (size_t i = 0; i < more->n; i++) {
        json_set(options, more->keys[i], json_copy(more->items[i]));
    }
    return true;
}

static Json *with_path(const char *backend, const char *path, Error *err)
{
    if (!*path) {
        error_set(err, "a path is missing");
        return NULL;
    }
    Json *o = json_new_object();
    json_set(o, "backend", json_new_string(backend));
    json_set(o, "path", json_new_string(path));
    return o;
}

static bool parse_stream(Json *o, const char *rest, const char *protocol, Error *err)
{
    json_set(o, "backend", json_new_string("socket"));
    if (protocol) {
        json_set(o, protocol, json_new_string("on"));
    }
    return take_host_port(&rest, ",", o, "host", "port", err) && add_options(o, rest, err);
}

static bool parse_udp(Json *o, const char *rest, Error *err)
{
    json_set(o, "backend", json_new_string("udp"));
    if (!take_host_port(&rest, "@,", o, "host", "port", err)) {
        return false;
    }
    if (*rest == '@') {
        rest++;
        if (!take_host_port(&rest, ",", o, "localaddr", "localport", err)) {
            return false;
        }
    }
    return add_options(o, rest, err);
}

/* "800" or "80C" up to one of `ends`. */
static bool take_length(const char **text, char end, Json *options, const char *pixels, const char *cells)
{
    size_t           digits   = strspn(*text, "0123456789");
    bool             in_cells = digits && (*text)[digits] == 'C';
    g_autofree char *number   = g_strndup(*text, digits);
    *text += digits + in_cells;
    if (!digits || **text != end) {
        return false;
    }
    json_set(options, in_cells ? cells : pixels, json_new_string(number));
    *text += end != 0;
    return true;
}

/* "800x600" in pixels, "80Cx24C" in characters */
static bool parse_vc(Json *o, const char *rest, Error *err)
{
    const char *p = rest;
    json_set(o, "backend", json_new_string("vc"));
    return (take_length(&p, 'x', o, "width", "cols") && take_length(&p, 0, o, "height", "rows")) ||
           error_set(err, "WIDTHxHEIGHT is expected, in pixels (800x600) or characters (80Cx24C), not '%s'", rest);
}

static Json *parse(const char *text, Error *err)
{
    const char *rest;
    Json       *o = NULL;
    if ((rest = after(text, "file:"))) {
        return with_path("file", rest, err);
    } else if ((rest = after(text, "pipe:"))) {
        return with_path("pipe", rest, err);
    } else if ((rest = after(text, "pty:"))) {
        return with_path("pty", rest, err);
    } else if (after(text, "/dev/parport")) {
        return with_path("parallel", text, err);
    } else if (after(text, "/dev/")) {
        return with_path("serial", text, err);
    } else if ((rest = after(text, "unix:"))) {
        o = optstr_parse(rest, "path", err);
        if (o) {
            json_set(o, "backend", json_new_string("socket"));
        }
        return o;
    }

    o       = json_new_object();
    bool ok = true;
    if ((rest = after(text, "tcp:"))) {
        ok = parse_stream(o, rest, NULL, err);
    } else if ((rest = after(text, "telnet:"))) {
        ok = parse_stream(o, rest, "telnet", err);
    } else if ((rest = after(text, "tn3270:"))) {
        ok = parse_stream(o, rest, "tn3270", err);
    } else if ((rest = after(text, "websocket:"))) {
        ok = parse_stream(o, rest, "websocket", err);
    } else if ((rest = after(text, "udp:"))) {
        ok = parse_udp(o, rest, err);
    } else if ((rest = after(text, "vc:"))) {
        ok = parse_vc(o, rest, err);
    } else {
        /* A backend that needs no address: "stdio", "null", "pty", "ringbuf,size=1K". */
        size_t           len  = strcspn(text, ",:");
        g_autofree char *name = g_strndup(text, len);
        json_set(o, "backend", json_new_string(name));
        ok = text[len] != ':' ? add_options(o, text + len, err)
                              : error_set(err, "%s takes nothing behind a ':' ('%s')", name, text + len + 1);
    }
    if (!ok) {
        json_free(o);
        return NULL;
    }
    return o;
}

/* Words that begin a short form, for did-you-mean. */
static const char *const known[] = { "none",    "null",    "stdio",    "pty",     "vc",         "file:",    "pipe:",
                                     "tcp:",    "udp:",    "telnet:",  "unix:",   "websocket:", "chardev:", "mon:",
                                     "msmouse", "braille", "wctablet", "tn3270:", "ringbuf",    "/dev/",    NULL };

static bool unknown(const char *text, Error *err)
{
    char   word[32];
    size_t len = MIN(strcspn(text, ",:"), sizeof word - 2);
    memcpy(word, text, len);
    if (text[len] == ':') {
        word[len++] = ':';
    }
    word[len]       = 0;
    NameMatch match = { .word = word };
    for (const char *const *k = known; *k; k++) {
        text_match_name(&match, *k);
    }
    char hint[128];
    return error_set(err, "no such character device '%s'%s", text, text_did_you_mean(&match, hint));
}

/* "COM1", "con:" */
static bool is_windows(const char *text)
{
    return !strcmp(text, "con") || after(text, "con:") || !strcmp(text, "console") ||
           (after(text, "COM") && g_ascii_isdigit(text[3]));
}

static bool is_short_form(const char *text)
{
    static const char *const alone[] = { "null",     "stdio",   "pty",     "vc",     "msmouse",     "braille",
                                         "wctablet", "testdev", "ringbuf", "memory", "qemu-vdagent" };
    if (after(text, "/dev/")) {
        return true;
    }
    size_t len = strcspn(text, ",:");
    for (unsigned i = 0; i < G_N_ELEMENTS(alone); i++) {
        if (strlen(alone[i]) == len && strncmp(alone[i], text, len) == 0) {
            return true;
        }
    }
    for (const char *const *k = known; *k; k++) {
        if (g_str_has_suffix(*k, ":") && after(text, *k)) {
            return true;
        }
    }
    return false;
}

Chardev *char_create_short(CharHub *hub, const char *id, const char *text, bool *with_monitor, Error *err)
{
    const char *rest;
    bool        monitor = false;
    if (with_monitor) {
        *with_monitor = false;
    }
    if (strcmp(text, "none") == 0) {
        return NULL;
    }
    if ((rest = after(text, "chardev:"))) {
        return char_find(hub, rest, err);
    }
    if ((rest = after(text, "mon:"))) {
        monitor = true;
        text    = rest;
        if (!strcmp(text, "none") || after(text, "chardev:") || after(text, "mon:")) {
            error_set(err, "mon: needs a device to be made for it, such as stdio or telnet:..., not '%s'", text);
            return NULL;
        }
    }
    if (is_windows(text)) {
        error_set(err, "%s is a device of Windows hosts; here it is %s", text,
                  text[2] == 'M' ? "/dev/ttyS0 and so on" : "stdio");
        return NULL;
    }
    if (!is_short_form(text)) {
        unknown(text, err);
        return NULL;
    }
    g_autoptr(Json) options = parse(text, err);
    if (!options) {
        return NULL;
    }
    json_set(options, "id", json_new_string(id));
    if (monitor) {
        json_set(options, "mux", json_new_string("on"));
        if (strcmp(json_get_string(options, "backend"), "stdio") == 0 && !json_get(options, "signal")) {
            json_set(options, "signal", json_new_string("off")); /* Ctrl-C is the guest's */
        }
    }
    Chardev *chr = char_create(hub, options, true, err);
    if (chr && with_monitor) {
        *with_monitor = monitor;
    }
    return chr;
}
