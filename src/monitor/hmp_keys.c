/* HMP: sendkey: keys by their names, as combinations. */

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

HMP_COMMANDS(keys) = {
    { .name   = "sendkey",
      .params = "keys [hold_ms]",
      .help   = "presses keys together and lets them go after 100 ms or so many, like ctrl-alt-f1",
      .args   = { { "keys", HMP_STRING, .words = HMP_WORDS_KEYS }, { "hold-time", HMP_INT32, .optional = true } },
      .run    = cmd_sendkey },
    {},
};
