/* HMP: keys by their names, as combinations; mice. */

#include "base/text.h"
#include "devices/input/keys.h"
#include "monitor/hmp_command.h"

#include <string.h>

enum { HOLD_USUAL = 100, HOLD_MAX = 60000 };

void hmp_keys_foreach(void (*visit)(const char *name, void *opaque), void *opaque)
{
    for (unsigned i = 0; key_names[i].name; i++) {
        visit(key_names[i].name, opaque);
    }
}

/* A name, "<" for less, or a scan code like 0x1c. */
static bool find_key(const char *text, uint16_t *code)
{
    char    *end;
    uint64_t number;
    if (strcmp(text, "<") == 0) {
        text = "less";
    }
    for (unsigned i = 0; key_names[i].name; i++) {
        if (strcmp(text, key_names[i].name) == 0) {
            *code = key_names[i].code;
            return true;
        }
    }
    if (!g_str_has_prefix(text, "0x") || !text[2]) {
        return false;
    }
    number = strtoull(text, &end, 16);
    if (*end || number > UINT16_MAX) {
        return false;
    }
    *code = (uint16_t)((number & 0x7f) | (number & 0x80 || number >> 8 == 0xe0 ? KEY_EXTENDED : 0));
    return true;
}

static bool cmd_sendkey(Hmp *h, Error *err)
{
    g_auto(GStrv) names = g_strsplit(hmp_text(h, "keys"), "-", -1);
    int64_t  hold       = hmp_given(h, "hold-time") ? hmp_number(h, "hold-time") : HOLD_USUAL;
    uint16_t codes[KEYS_TOGETHER_MAX];
    unsigned n = 0;
    for (char **name = names; *name; name++) {
        if (n == KEYS_TOGETHER_MAX) {
            return error_set(err, "at most %d keys at a time", KEYS_TOGETHER_MAX);
        }
        if (!find_key(*name, &codes[n++])) {
            hmp_print(h, "invalid parameter: %s\n", *name);
            return true;
        }
    }
    if (hold < 0 || hold > HOLD_MAX) {
        return error_set(err, "keys can be held for 0 to %d ms", HOLD_MAX);
    }
    Platform *p = &h->machine->platform;
    if (!p->send_keys) {
        return error_set(err, "this machine has no keyboard");
    }
    return p->send_keys(p->keyboard, codes, n, (unsigned)hold, err);
}

/* --- mice --- */

static bool send(Hmp *h, const InputEvent *events, size_t n, Error *err)
{
    Platform *p = &h->machine->platform;
    if (!p->is_running(p) && !h->machine->asleep) {
        return error_set(err, "the machine does not run");
    }
    if (!input_handler(&p->input, INPUT_RELATIVE)) {
        return error_set(err, "this machine has no mouse");
    }
    return !n || input_send(&p->input, events, n, err);
}

/* A distance: a plain number, since "3 -5" would be an expression. */
static bool read_step(const Hmp *h, const char *name, int32_t *step, Error *err)
{
    const char *text = hmp_text(h, name);
    uint64_t    number;
    bool        minus = text[0] == '-';
    if (!text_parse_uint(text + (minus || text[0] == '+'), INT32_MAX, &number, err)) {
        return error_prefix(err, "%s: ", name);
    }
    *step = minus ? -(int32_t)number : (int32_t)number;
    return true;
}

static bool cmd_mouse_move(Hmp *h, Error *err)
{
    int32_t dx, dy, dz = 0;
    if (!read_step(h, "dx", &dx, err) || !read_step(h, "dy", &dy, err) ||
        (hmp_given(h, "dz") && !read_step(h, "dz", &dz, err))) {
        return false;
    }
    uint16_t   wheel    = dz > 0 ? INPUT_WHEEL_UP : INPUT_WHEEL_DOWN;
    InputEvent events[] = { { INPUT_RELATIVE, INPUT_X, dx },
                            { INPUT_RELATIVE, INPUT_Y, dy },
                            { INPUT_BUTTON, wheel, 1 },
                            { INPUT_BUTTON, wheel, 0 } };
    return send(h, events, dz ? 4 : 2, err);
}

static bool cmd_mouse_button(Hmp *h, Error *err)
{
    static const uint16_t buttons[] = { INPUT_LEFT, INPUT_MIDDLE, INPUT_RIGHT };
    InputEvent            events[G_N_ELEMENTS(buttons)];
    size_t                n     = 0;
    int64_t               state = hmp_number(h, "state");
    if (state < 0 || state >> G_N_ELEMENTS(buttons)) {
        return error_set(err, "the state of three buttons is 0 to 7");
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(buttons); i++) {
        bool down = state >> i & 1;
        if (down != (h->machine->platform.input.buttons >> buttons[i] & 1)) {
            events[n++] = (InputEvent){ INPUT_BUTTON, buttons[i], down };
        }
    }
    return send(h, events, n, err);
}

static bool cmd_mouse_set(Hmp *h, Error *err)
{
    int64_t index = hmp_number(h, "index");
    return input_select(&h->machine->platform.input, (unsigned)CLAMP(index, 0, INT32_MAX), err);
}

static bool info_mice(Hmp *h, Error *err)
{
    g_autoptr(Json) list = hmp_qmp(h, "query-mice", NULL, err);
    if (!list) {
        return false;
    }
    for (size_t i = 0; i < list->n; i++) {
        const Json *mouse = list->items[i];
        hmp_print(h, "%c Mouse #%" G_GINT64_FORMAT ": %s%s\n", json_get(mouse, "current")->boolean ? '*' : ' ',
                  json_get(mouse, "index")->integer, json_get_string(mouse, "name"),
                  json_get(mouse, "absolute")->boolean ? " (absolute)" : "");
    }
    if (!list->n) {
        hmp_print(h, "No mouse devices connected\n");
    }
    return true;
}

HMP_INFO(mice) = {
    { .name = "mice", .help = "mice; the one with a * hears of movements", .run = info_mice },
    {},
};

HMP_COMMANDS(keys) = {
    { .name   = "mouse_move",
      .params = "dx dy [dz]",
      .help   = "moves the mouse right and down, turns its wheel one click up (dz > 0) or down",
      .args   = { { "dx", HMP_STRING }, { "dy", HMP_STRING }, { "dz", HMP_STRING, .optional = true } },
      .run    = cmd_mouse_move },
    { .name   = "mouse_button",
      .params = "state",
      .help   = "which buttons are down: 1 left, 2 middle, 4 right",
      .args   = { { "state", HMP_INT32 } },
      .run    = cmd_mouse_button },
    { .name   = "mouse_set",
      .params = "index",
      .help   = "which mouse hears of movements (info mice)",
      .args   = { { "index", HMP_INT32 } },
      .run    = cmd_mouse_set },
    { .name   = "sendkey",
      .params = "keys [hold_ms]",
      .help   = "presses keys together and lets them go after 100 ms or so many, like ctrl-alt-f1",
      .args   = { { "keys", HMP_STRING, .words = HMP_WORDS_KEYS }, { "hold-time", HMP_INT32, .optional = true } },
      .run    = cmd_sendkey },
    {},
};
