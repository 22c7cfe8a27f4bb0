/* Commands about keys and pointers: send-key, input-send-event, query-mice. */

#include "devices/input/keys.h"
#include "monitor/command.h"

#include <string.h>

/* --- send-key --- */

static const char *const key_kinds[]  = { "number", "qcode", NULL };
static const Field       key_base[]   = { QMP_ENUM("type", key_kinds), {} };
static const Field       key_number[] = { QMP_INT("data"), {} };
static const Field       key_qcode[]  = { QMP_STRING("data"), {} };
static const QmpVariant  key_values[] = { { "number", key_number }, { "qcode", key_qcode }, {} };
static const QmpUnion    key_value    = {
          .custom = QMP_UNION_CUSTOM, .base = key_base, .tag = "type", .variants = key_values
};
static const Field key_element = {
    .name = "", .kind = FIELD_JSON, .size = sizeof(Json *), .count = 1, .custom = &key_value.custom
};

enum { HOLD_USUAL = 100, HOLD_MAX = 60000, SCAN_CODES = 0x100 };

typedef struct KeyArgs {
    Json   *keys;
    int64_t hold;
} KeyArgs;

/* The fields as the schema has them; `keys` is read as any value. */
static const Field key_schema[] = { QMP_LIST_OF("keys", &key_element), QMP_MAYBE_INT("hold-time"), {} };
static const Field key_args[]   = {
      FIELD(KeyArgs, keys, "keys", .required = true),
      FIELD(KeyArgs, hold, "hold-time", .initial = HOLD_USUAL, .min = 0, .max = HOLD_MAX),
      {},
};

static bool find_key(const Json *key, uint16_t *code, Error *err)
{
    const char *kind = json_get_string(key, "type"), *name = json_get_string(key, "data");
    const Json *data = json_get(key, "data");
    if (kind && !strcmp(kind, "number") && data && data->kind == JSON_INT) {
        int64_t n = data->integer;
        *code     = (uint16_t)((n & 0x7f) | (n & 0x80 ? KEY_EXTENDED : 0));
        return (n >= 0 && n < SCAN_CODES) || error_set(err, "a key's number is 0 to %d", SCAN_CODES - 1);
    }
    for (unsigned i = 0; kind && name && !strcmp(kind, "qcode") && key_names[i].name; i++) {
        if (!strcmp(name, key_names[i].name)) {
            *code = key_names[i].code;
            return true;
        }
    }
    return error_set(err, "no key '%s' (a key is {\"type\": \"qcode\", \"data\": NAME} or one by \"number\")",
                     name ? name : "");
}

static bool press(Monitor *mon, const KeyArgs *a, Error *err)
{
    Platform *p = &mon->machine->platform;
    uint16_t  codes[KEYS_TOGETHER_MAX];
    if (a->keys->kind != JSON_LIST || a->keys->n > KEYS_TOGETHER_MAX) {
        return error_set(err, "argument 'keys' takes a list of at most %d keys", KEYS_TOGETHER_MAX);
    }
    for (size_t i = 0; i < a->keys->n; i++) {
        if (!find_key(a->keys->items[i], &codes[i], err)) {
            return false;
        }
    }
    if (!p->send_keys) {
        return error_set(err, "this machine has no keyboard");
    }
    return !a->keys->n || p->send_keys(p->keyboard, codes, (unsigned)a->keys->n, (unsigned)a->hold, err);
}

static bool send_key(Monitor *mon, void *args, Json **result, Error *err)
{
    KeyArgs a;
    fields_init(key_args, &a);
    bool ok = fields_parse(key_args, &a, args, false, NULL, err) && press(mon, &a, err);
    fields_clear(key_args, &a);
    return ok;
}

/* --- input-send-event --- */

enum { EVENTS_MAX = 256 };

static const char *const event_kinds[]  = { "key", "btn", "rel", "abs", NULL }; /* in InputKind's order */
static const char *const button_names[] = { "left",  "middle",     "right",       "wheel-up", "wheel-down", "side",
                                            "extra", "wheel-left", "wheel-right", "touch",    NULL };
static const char *const axis_names[]   = { "x", "y", NULL };

static const Field key_event[]    = { {
                                          .name     = "key",
                                          .kind     = FIELD_JSON,
                                          .size     = sizeof(Json *),
                                          .count    = 1,
                                          .custom   = &key_value.custom,
                                          .required = true,
                                   },
                                      QMP_BOOL("down"),
                                      {} };
static const Field button_event[] = { QMP_ENUM("button", button_names), QMP_BOOL("down"), {} };
static const Field move_event[]   = { QMP_ENUM("axis", axis_names), QMP_INT("value"), {} };

static const Field      event_base[]   = { QMP_ENUM("type", event_kinds), {} };
static const Field      key_data[]     = { QMP_OBJECT("data", key_event), {} };
static const Field      button_data[]  = { QMP_OBJECT("data", button_event), {} };
static const Field      move_data[]    = { QMP_OBJECT("data", move_event), {} };
static const QmpVariant event_values[] = {
    { "key", key_data }, { "btn", button_data }, { "rel", move_data }, { "abs", move_data }, {}
};
static const QmpUnion event_value = {
    .custom = QMP_UNION_CUSTOM, .base = event_base, .tag = "type", .variants = event_values
};
static const Field event_element = {
    .name = "", .kind = FIELD_JSON, .size = sizeof(Json *), .count = 1, .custom = &event_value.custom
};

typedef struct SendArgs {
    char   *device;
    int64_t head;
    bool    has_head;
    Json   *events;
} SendArgs;

static const Field send_schema[] = {
    QMP_MAYBE_STRING("device"), QMP_MAYBE_INT("head"), QMP_LIST_OF("events", &event_element), {}
};
static const Field send_args[] = {
    FIELD(SendArgs, device, "device", .help = "the display it happens on"),
    FIELD(SendArgs, head, "head", .has_offset = 1 + offsetof(SendArgs, has_head), .help = "and which of its screens"),
    FIELD(SendArgs, events, "events", .required = true, .help = "what happens"),
    {},
};

/* A member that is one of `names`; -1: it is not. */
static int name_index(const Json *object, const char *member, const char *const names[], Error *err)
{
    const char *text = json_get_string(object, member);
    for (int i = 0; text && names[i]; i++) {
        if (!strcmp(text, names[i])) {
            return i;
        }
    }
    g_autofree char *all = g_strjoinv(", ", (char **)names);
    error_set(err, "'%s' is one of %s", member, all);
    return -1;
}

/* The members of an event's data and no others. */
static bool check_data(const Json *data, const char *first, const char *second, Error *err)
{
    if (!data || data->kind != JSON_OBJECT || data->n != 2 || !json_get(data, first) || !json_get(data, second)) {
        return error_set(err, "its 'data' is an object with '%s' and '%s'", first, second);
    }
    return true;
}

static bool read_down(const Json *data, InputEvent *to, Error *err)
{
    const Json *down = json_get(data, "down");
    to->value        = down->kind == JSON_BOOL && down->boolean;
    return down->kind == JSON_BOOL || error_set(err, "'down' is true or false");
}

static bool read_event(const Json *event, InputEvent *to, Error *err)
{
    int         kind = name_index(event, "type", event_kinds, err), code;
    const Json *data = json_get(event, "data");
    if (kind < 0) {
        return false;
    }
    to->kind = (InputKind)kind;
    switch (to->kind) {
    case INPUT_KEY:
        return check_data(data, "key", "down", err) && find_key(json_get(data, "key"), &to->code, err) &&
               read_down(data, to, err);
    case INPUT_BUTTON:
        if (!check_data(data, "button", "down", err) || (code = name_index(data, "button", button_names, err)) < 0) {
            return false;
        }
        to->code = (uint16_t)code;
        return read_down(data, to, err);
    default: break;
    }
    const Json *value;
    int64_t     low = kind == INPUT_ABSOLUTE ? 0 : INT32_MIN,
            high    = kind == INPUT_ABSOLUTE ? INPUT_ABSOLUTE_MAX : INT32_MAX;
    if (!check_data(data, "axis", "value", err) || (code = name_index(data, "axis", axis_names, err)) < 0) {
        return false;
    }
    value    = json_get(data, "value");
    to->code = (uint16_t)code;
    if (value->kind != JSON_INT || value->integer < low || value->integer > high) {
        return error_set(err, "'value' is a number from %" G_GINT64_FORMAT " to %" G_GINT64_FORMAT, low, high);
    }
    to->value = (int32_t)value->integer;
    return true;
}

static bool send_events(Monitor *mon, const SendArgs *a, Error *err)
{
    Machine *m = mon->machine;
    if (a->device) {
        return error_set_class(err, ERROR_DEVICE_NOT_FOUND, "no display device '%s'", a->device);
    }
    if (a->has_head && a->head) {
        return error_set(err, "argument 'head' needs 'device'");
    }
    if (a->events->kind != JSON_LIST || a->events->n > EVENTS_MAX) {
        return error_set(err, "argument 'events' takes a list of at most %d events", EVENTS_MAX);
    }
    InputEvent events[EVENTS_MAX];
    for (size_t i = 0; i < a->events->n; i++) {
        events[i] = (InputEvent){ 0 };
        if (!read_event(a->events->items[i], &events[i], err)) {
            return error_prefix(err, "event %zu: ", i);
        }
    }
    if (!m->platform.is_running(&m->platform) && !m->asleep) {
        return error_set(err, "the machine does not run");
    }
    return input_send(&m->platform.input, events, a->events->n, err);
}

static bool input_send_event(Monitor *mon, void *args, Json **result, Error *err)
{
    SendArgs a;
    fields_init(send_args, &a);
    bool ok = fields_parse(send_args, &a, args, false, NULL, err) && send_events(mon, &a, err);
    fields_clear(send_args, &a);
    return ok;
}

/* --- query-mice --- */

static const Field mouse_info[] = {
    QMP_STRING("name"), QMP_INT("index"), QMP_BOOL("current"), QMP_BOOL("absolute"), {}
};
static const Field mice_result = QMP_LIST("", mouse_info);

static bool query_mice(Monitor *mon, void *args, Json **result, Error *err)
{
    const InputHub *hub     = &mon->machine->platform.input;
    bool            current = true;
    *result                 = json_new_list();
    for (const InputHandler *h = hub->first; h; h = h->next) {
        if (!input_is_pointer(h)) {
            continue;
        }
        Json *mouse = json_new_object();
        json_add(mouse, "name", json_new_string(h->name));
        json_add(mouse, "index", json_new_int(h->index));
        json_add(mouse, "current", json_new_bool(current));
        json_add(mouse, "absolute", json_new_bool((h->kinds & 1u << INPUT_ABSOLUTE) != 0));
        json_append(*result, mouse);
        current = false;
    }
    return true;
}

MONITOR_COMMANDS(input) = {
    { .name = "send-key", .args = key_schema, .help = "presses keys together, and lets them go", .run = send_key },
    { .name = "input-send-event", .args = send_schema, .help = "keys, buttons, movements", .run = input_send_event },
    { .name = "query-mice", .result = &mice_result, .help = "pointers that hear of movements", .run = query_mice },
    {},
};
