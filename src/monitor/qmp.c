/* QMP: one client's conversation. Main loop, machine lock held.
 * Specification: "QEMU Machine Protocol Specification".
 *
 * Commands are carried out one after the other as they are read, so out-of-band ones never have to overtake any. */

#include "monitor/qmp.h"

#include "base/json_stream.h"
#include "base/trace.h"
#include "monitor/command.h"

#include <string.h>

enum { REQUEST_MAX = 16 * 1024 * 1024 };

struct QmpSession {
    Monitor    *mon;
    JsonStream *input;
    unsigned    client;     /* counts clients: a command's answer goes to who sent it, or nowhere */
    bool        negotiated; /* in command mode */
    bool        oob;
};

static const char *const class_names[] = { "GenericError", "CommandNotFound", "DeviceNotActive", "DeviceNotFound",
                                           "KVMMissingCap" };

QmpSession *qmp_session_new(Monitor *mon)
{
    QmpSession *s = g_new0(QmpSession, 1);
    s->mon        = mon;
    s->input      = json_stream_new(REQUEST_MAX);
    return s;
}

void qmp_session_free(QmpSession *s)
{
    if (s) {
        json_stream_free(s->input);
        g_free(s);
    }
}

/* --- output --- */

/* The protocol's output is ASCII: what is not, which is in strings only, becomes \uXXXX. */
static void escape_to(GString *out, const char *text)
{
    const char *run = text;
    for (const char *p = text; *p;) {
        if (!((uint8_t)*p & 0x80)) {
            p++;
            continue;
        }
        g_string_append_len(out, run, p - run);
        gunichar c = g_utf8_get_char(p);
        if (c > 0xffff) {
            c -= 0x10000;
            g_string_append_printf(out, "\\u%04X\\u%04X", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
        } else {
            g_string_append_printf(out, "\\u%04X", c);
        }
        run = p = g_utf8_next_char(p);
    }
    g_string_append(out, run);
}

static void send_json(QmpSession *s, const Json *json)
{
    g_autofree char *text   = json_print(json, s->mon->pretty);
    g_autoptr(GString) line = g_string_sized_new(strlen(text) + 2);
    escape_to(line, text);
    g_string_append(line, "\r\n");
    monitor_write(s->mon, line->str, line->len);
}

/* Sends {KEY: VALUE, "id": ...}; takes `value`. */
static void send_answer(QmpSession *s, const char *key, Json *value, const Json *id)
{
    g_autoptr(Json) answer = json_new_object();
    json_add(answer, key, value);
    if (id) {
        json_add(answer, "id", json_copy(id));
    }
    send_json(s, answer);
}

static void send_error(QmpSession *s, Error *err, const Json *id)
{
    Json *error = json_new_object();
    json_add(error, "class", json_new_string(class_names[err->kind]));
    json_add(error, "desc", json_new_string(err->text));
    error_clear(err);
    send_answer(s, "error", error, id);
}

void qmp_session_event(QmpSession *s, const Json *event)
{
    if (s->negotiated) {
        send_json(s, event);
    }
}

/* --- clients --- */

Json *qmp_version(void)
{
    Json *version = json_new_object();
    Json *triple  = json_add(version, "qemu", json_new_object());
    json_add(triple, "micro", json_new_int(50));
    json_add(triple, "minor", json_new_int(1));
    json_add(triple, "major", json_new_int(9));
    json_add(version, "package", json_new_string("Quern " QUERN_VERSION));
    return version;
}

void qmp_session_opened(QmpSession *s)
{
    g_autoptr(Json) greeting = json_new_object();
    Json *qmp                = json_add(greeting, "QMP", json_new_object());
    json_add(qmp, "version", qmp_version());
    Json *capabilities = json_add(qmp, "capabilities", json_new_list());
    if (!monitor_on_mux(s->mon)) {
        json_append(capabilities, json_new_string("oob"));
    }
    json_stream_reset(s->input);
    s->client++;
    s->negotiated = s->oob = false;
    send_json(s, greeting);
}

void qmp_session_closed(QmpSession *s)
{
    json_stream_reset(s->input);
    s->client++;
    s->negotiated = s->oob = false;
}

bool qmp_session_negotiate(QmpSession *s, bool oob, Error *err)
{
    if (s->negotiated) {
        return error_set_class(err, ERROR_COMMAND_NOT_FOUND, "Capabilities negotiation is already complete");
    }
    if (oob && monitor_on_mux(s->mon)) {
        return error_set(err, "capability 'oob' was not offered: the monitor shares its chardev");
    }
    s->negotiated = true;
    s->oob        = oob;
    return true;
}

/* --- requests --- */

typedef struct Request {
    const char *command;
    const Json *arguments, *id;
    bool        oob;
} Request;

static bool parse_member(const char *key, const Json *value, Request *r, Error *err)
{
    bool oob = !strcmp(key, "exec-oob");
    if (oob || !strcmp(key, "execute")) {
        if (value->kind != JSON_STRING) {
            return error_set(err, "QMP input member '%s' must be a string", key);
        }
        if (r->command) {
            return error_set(err, "QMP input member 'execute' clashes with 'exec-oob'");
        }
        r->command = value->string;
        r->oob     = oob;
        return true;
    }
    if (!strcmp(key, "arguments")) {
        r->arguments = value;
        return value->kind == JSON_OBJECT || error_set(err, "QMP input member 'arguments' must be an object");
    }
    return !strcmp(key, "id") || error_set(err, "QMP input member '%s' is unexpected", key);
}

static bool parse_request(const Json *input, Request *r, Error *err)
{
    if (input->kind != JSON_OBJECT) {
        return error_set(err, "QMP input must be a JSON object");
    }
    r->id = json_get(input, "id");
    for (size_t i = 0; i < input->n; i++) {
        if (!parse_member(input->keys[i], input->items[i], r, err)) {
            return false;
        }
    }
    return r->command || error_set(err, "QMP input lacks member 'execute'");
}

static const MonitorCommand *find_command(QmpSession *s, const Request *r, Error *err)
{
    const MonitorCommand *c         = monitor_command_find(r->command);
    bool                  preconfig = monitors_preconfig(s->mon->all);
    if (!s->negotiated && strcmp(r->command, "qmp_capabilities") != 0) {
        error_set_class(err, ERROR_COMMAND_NOT_FOUND, "Expecting capabilities negotiation with 'qmp_capabilities'");
        return NULL;
    }
    if (!c) {
        error_set_class(err, ERROR_COMMAND_NOT_FOUND, "The command %s has not been found", r->command);
        return NULL;
    }
    if (r->oob && !s->oob) {
        error_set(err, "QMP input member 'exec-oob' is unexpected: out-of-band execution was not negotiated");
        return NULL;
    }
    if (r->oob && !(c->flags & COMMAND_OOB)) {
        error_set(err, "The command %s does not support OOB", r->command);
        return NULL;
    }
    if (preconfig && !(c->flags & COMMAND_PRECONFIG)) {
        error_set(err, "The command '%s' is permitted only after machine initialization has completed", r->command);
        return NULL;
    }
    if (!preconfig && (c->flags & COMMAND_ONLY_PRECONFIG) == COMMAND_ONLY_PRECONFIG) {
        error_set(err, "The command '%s' is permitted only before machine initialization", r->command);
        return NULL;
    }
    return c;
}

static void carry_out(QmpSession *s, const Json *input)
{
    g_auto(Error) err        = { 0 };
    Request  r               = { 0 };
    unsigned client          = s->client;
    g_autoptr(Json) result   = NULL;
    const MonitorCommand *c  = NULL;
    bool                  ok = parse_request(input, &r, &err);
    if (ok) {
        trace(s->mon->machine->platform.log, TRACE_QMP_COMMAND, "%s", r.command);
    }
    ok = ok && (c = find_command(s, &r, &err)) != NULL && monitor_command_run(s->mon, c, r.arguments, &result, &err);
    if (s->client != client) {
        return; /* whoever asked is gone */
    }
    if (ok) {
        send_answer(s, "return", result ? g_steal_pointer(&result) : json_new_object(), r.id);
    } else {
        send_error(s, &err, r.id);
    }
}

static void take_text(QmpSession *s)
{
    g_auto(Error) err = { 0 };
    size_t      len;
    const char *text      = json_stream_text(s->input, &len);
    g_autoptr(Json) input = json_parse(text, len, &err);
    if (input) {
        carry_out(s, input);
    } else {
        error_prefix(&err, "JSON parse error, ");
        send_error(s, &err, NULL);
    }
}

size_t qmp_session_read(QmpSession *s, const uint8_t *buf, size_t len)
{
    unsigned client = s->client;
    size_t   done   = 0;
    while (done < len && s->client == client && monitors_started(s->mon->all)) {
        g_auto(Error) err = { 0 };
        size_t used;
        switch (json_stream_feed(s->input, buf + done, len - done, &used, &err)) {
        case JSON_STREAM_MORE: break;
        case JSON_STREAM_VALUE: take_text(s); break;
        case JSON_STREAM_ERROR: send_error(s, &err, NULL); break;
        }
        done += used;
    }
    return s->client == client ? done : len;
}
