/* Keys by name, and pressing them. See keys.h. */

#include "devices/input/keys.h"

#include <string.h>

#define E0(code) ((code) | KEY_EXTENDED)

const KeyName key_names[] = {
    { "shift", 0x2a },
    { "shift_r", 0x36 },
    { "alt", 0x38 },
    { "alt_r", E0(0x38) },
    { "ctrl", 0x1d },
    { "ctrl_r", E0(0x1d) },
    { "menu", E0(0x5d) },
    { "esc", 0x01 },
    { "1", 0x02 },
    { "2", 0x03 },
    { "3", 0x04 },
    { "4", 0x05 },
    { "5", 0x06 },
    { "6", 0x07 },
    { "7", 0x08 },
    { "8", 0x09 },
    { "9", 0x0a },
    { "0", 0x0b },
    { "minus", 0x0c },
    { "equal", 0x0d },
    { "backspace", 0x0e },
    { "tab", 0x0f },
    { "q", 0x10 },
    { "w", 0x11 },
    { "e", 0x12 },
    { "r", 0x13 },
    { "t", 0x14 },
    { "y", 0x15 },
    { "u", 0x16 },
    { "i", 0x17 },
    { "o", 0x18 },
    { "p", 0x19 },
    { "bracket_left", 0x1a },
    { "bracket_right", 0x1b },
    { "ret", 0x1c },
    { "a", 0x1e },
    { "s", 0x1f },
    { "d", 0x20 },
    { "f", 0x21 },
    { "g", 0x22 },
    { "h", 0x23 },
    { "j", 0x24 },
    { "k", 0x25 },
    { "l", 0x26 },
    { "semicolon", 0x27 },
    { "apostrophe", 0x28 },
    { "grave_accent", 0x29 },
    { "backslash", 0x2b },
    { "z", 0x2c },
    { "x", 0x2d },
    { "c", 0x2e },
    { "v", 0x2f },
    { "b", 0x30 },
    { "n", 0x31 },
    { "m", 0x32 },
    { "comma", 0x33 },
    { "dot", 0x34 },
    { "slash", 0x35 },
    { "asterisk", 0x37 },
    { "spc", 0x39 },
    { "caps_lock", 0x3a },
    { "f1", 0x3b },
    { "f2", 0x3c },
    { "f3", 0x3d },
    { "f4", 0x3e },
    { "f5", 0x3f },
    { "f6", 0x40 },
    { "f7", 0x41 },
    { "f8", 0x42 },
    { "f9", 0x43 },
    { "f10", 0x44 },
    { "f11", 0x57 },
    { "f12", 0x58 },
    { "num_lock", 0x45 },
    { "scroll_lock", 0x46 },
    { "kp_divide", E0(0x35) },
    { "kp_multiply", 0x37 },
    { "kp_subtract", 0x4a },
    { "kp_add", 0x4e },
    { "kp_enter", E0(0x1c) },
    { "kp_decimal", 0x53 },
    { "sysrq", 0x54 },
    { "kp_0", 0x52 },
    { "kp_1", 0x4f },
    { "kp_2", 0x50 },
    { "kp_3", 0x51 },
    { "kp_4", 0x4b },
    { "kp_5", 0x4c },
    { "kp_6", 0x4d },
    { "kp_7", 0x47 },
    { "kp_8", 0x48 },
    { "kp_9", 0x49 },
    { "kp_comma", 0x7e },
    { "kp_equals", 0x59 },
    { "less", 0x56 },
    { "print", E0(0x37) },
    { "pause", KEY_PAUSE },
    { "home", E0(0x47) },
    { "pgup", E0(0x49) },
    { "pgdn", E0(0x51) },
    { "end", E0(0x4f) },
    { "left", E0(0x4b) },
    { "up", E0(0x48) },
    { "down", E0(0x50) },
    { "right", E0(0x4d) },
    { "insert", E0(0x52) },
    { "delete", E0(0x53) },
    { "meta_l", E0(0x5b) },
    { "meta_r", E0(0x5c) },
    { "compose", E0(0x5d) },
    { "ro", 0x73 },
    { "yen", 0x7d },
    { "henkan", 0x79 },
    { "muhenkan", 0x7b },
    { "katakanahiragana", 0x70 },
    { "power", E0(0x5e) },
    { "sleep", E0(0x5f) },
    { "wake", E0(0x63) },
    { "audionext", E0(0x19) },
    { "audioprev", E0(0x10) },
    { "audiostop", E0(0x24) },
    { "audioplay", E0(0x22) },
    { "audiomute", E0(0x20) },
    { "volumeup", E0(0x30) },
    { "volumedown", E0(0x2e) },
    { "mediaselect", E0(0x6d) },
    { "mail", E0(0x6c) },
    { "calculator", E0(0x21) },
    { "computer", E0(0x6b) },
    { "ac_home", E0(0x32) },
    { "ac_back", E0(0x6a) },
    { "ac_forward", E0(0x69) },
    { "ac_refresh", E0(0x67) },
    { "ac_bookmarks", E0(0x66) },
    {},
};

enum { RETRY_MS = 5 };

static void wait_ms(KeyQueue *q, unsigned ms)
{
    timer_set(&q->timer, clock_now(q->timer.clocks, VIRTUAL_CLOCK) + ms * NS_PER_MS);
}

/* Goes on until it has to wait. */
static void advance(void *opaque)
{
    KeyQueue *q = opaque;
    while (q->count) {
        const KeyCombination *c = &q->waiting[q->first];
        if (!c->press && !q->step) {
            q->step = c->n;
        }
        bool     down = q->step < c->n;
        uint16_t code = down ? c->codes[q->step] : c->codes[2 * c->n - 1 - q->step];
        if (!q->key(q->opaque, code, down)) {
            wait_ms(q, RETRY_MS);
            return;
        }
        q->step++;
        if (q->step == c->n && c->release) {
            wait_ms(q, c->hold_ms);
            return;
        }
        if (q->step == (c->release ? 2u : 1u) * c->n) {
            q->first = (q->first + 1) % KEYS_WAITING_MAX;
            q->count--;
            q->step = 0;
        }
    }
}

void key_queue_init(KeyQueue *q, Clocks *clocks, bool (*key)(void *opaque, uint16_t code, bool down), void *opaque)
{
    *q = (KeyQueue){ .key = key, .opaque = opaque };
    timer_init(&q->timer, clocks, VIRTUAL_CLOCK, advance, q);
}

void key_queue_clear(KeyQueue *q)
{
    timer_cancel(&q->timer);
    q->count = q->step = 0;
}

static bool add(KeyQueue *q, const KeyCombination *c)
{
    if (q->count == KEYS_WAITING_MAX) {
        return false;
    }
    q->waiting[(q->first + q->count) % KEYS_WAITING_MAX] = *c;
    if (q->count++ == 0) {
        advance(q);
    }
    return true;
}

bool key_queue_add(KeyQueue *q, const uint16_t *codes, unsigned n, unsigned hold_ms)
{
    KeyCombination c = { .n = (uint8_t)n, .press = true, .release = true, .hold_ms = hold_ms };
    memcpy(c.codes, codes, n * sizeof codes[0]);
    return !n || add(q, &c);
}

bool key_queue_edge(KeyQueue *q, uint16_t code, bool down)
{
    KeyCombination c = { .codes = { code }, .n = 1, .press = down, .release = !down };
    return add(q, &c);
}
