/* PS/2 keyboard and mouse.
 * Specification: IBM PS/2 hardware interface technical reference (1988), keyboards and mouse sections; Microsoft
 * IntelliMouse and IntelliMouse Explorer: knock sequences and fourth byte. Machine lock. */

#include "devices/input/ps2.h"

#include "devices/input/keys.h"

#include <string.h>

enum {
    PS2_ACK     = 0xfa,
    PS2_RESEND  = 0xfe,
    PS2_TEST_OK = 0xaa,
    PS2_ECHO    = 0xee,
};

enum {
    KBD_SET_LEDS = 0xed,
    KBD_ECHO     = 0xee,
    KBD_SCAN_SET = 0xf0,
    KBD_IDENTIFY = 0xf2,
    KBD_SET_RATE = 0xf3,
    KBD_ENABLE   = 0xf4,
    KBD_DISABLE  = 0xf5,
    KBD_DEFAULTS = 0xf6,
    KBD_RESEND   = 0xfe,
    KBD_RESET    = 0xff,
};

enum {
    MOUSE_SCALE_1_1      = 0xe6,
    MOUSE_SCALE_2_1      = 0xe7,
    MOUSE_SET_RESOLUTION = 0xe8,
    MOUSE_STATUS         = 0xe9,
    MOUSE_STREAM         = 0xea,
    MOUSE_POLL           = 0xeb,
    MOUSE_RESET_WRAP     = 0xec,
    MOUSE_SET_WRAP       = 0xee,
    MOUSE_REMOTE         = 0xf0,
    MOUSE_IDENTIFY       = 0xf2,
    MOUSE_SET_RATE       = 0xf3,
    MOUSE_ENABLE         = 0xf4,
    MOUSE_DISABLE        = 0xf5,
    MOUSE_DEFAULTS       = 0xf6,
    MOUSE_RESEND         = 0xfe,
    MOUSE_RESET          = 0xff,
};

static bool valid_queue(void *owner, Error *err)
{
    const Ps2Queue *q = owner;
    if (q->first >= PS2_QUEUE_SIZE || q->count > PS2_QUEUE_SIZE) {
        return error_set(err, "PS/2 queue: first %u, count %u", q->first, q->count);
    }
    return true;
}

static const Field queue_state[] = {
    FIELD_ARRAY(Ps2Queue, bytes, "bytes"),
    FIELD(Ps2Queue, first, "first"),
    FIELD(Ps2Queue, count, "count", .validate = valid_queue),
    {},
};

const Field ps2_keyboard_state[] = {
    FIELD(Ps2Keyboard, queue, "queue", .sub = queue_state),
    FIELD(Ps2Keyboard, command, "command"),
    FIELD(Ps2Keyboard, last, "last"),
    FIELD(Ps2Keyboard, scan_set, "scan-set"),
    FIELD(Ps2Keyboard, leds, "leds"),
    FIELD(Ps2Keyboard, rate, "rate"),
    FIELD(Ps2Keyboard, scanning, "scanning"),
    {},
};

const Field ps2_mouse_state[] = {
    FIELD(Ps2Mouse, queue, "queue", .sub = queue_state),
    FIELD(Ps2Mouse, command, "command"),
    FIELD(Ps2Mouse, last, "last"),
    FIELD(Ps2Mouse, id, "id"),
    FIELD(Ps2Mouse, rate, "rate"),
    FIELD(Ps2Mouse, resolution, "resolution"),
    FIELD_ARRAY(Ps2Mouse, rates, "rates"),
    FIELD(Ps2Mouse, reporting, "reporting"),
    FIELD(Ps2Mouse, remote, "remote"),
    FIELD(Ps2Mouse, wrap, "wrap"),
    FIELD(Ps2Mouse, scaling, "scaling"),
    FIELD(Ps2Mouse, dx, "dx"),
    FIELD(Ps2Mouse, dy, "dy"),
    FIELD(Ps2Mouse, dz, "dz"),
    FIELD(Ps2Mouse, buttons, "buttons"),
    FIELD(Ps2Mouse, told, "told"),
    FIELD(Ps2Mouse, report, "report"),
    {},
};

static void queue_put(Ps2Queue *q, uint8_t value)
{
    if (q->count < PS2_QUEUE_SIZE) {
        q->bytes[(q->first + q->count++) % PS2_QUEUE_SIZE] = value;
    }
}

static bool queue_take(Ps2Queue *q, uint8_t *value)
{
    if (!q->count) {
        return false;
    }
    *value   = q->bytes[q->first];
    q->first = (q->first + 1) % PS2_QUEUE_SIZE;
    q->count--;
    return true;
}

/* --- keyboard --- */

/* Scan code set 2 to set 1, as the controller's firmware does it. */
const uint8_t ps2_translation[PS2_TRANSLATED] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, /* 00 */
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, /* 10 */
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, /* 20 */
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, /* 30 */
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, /* 40 */
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, /* 50 */
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, /* 60 */
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54, /* 70 */
    0x80, 0x81, 0x82, 0x41, 0x54,                                                                   /* 80 */
};

/* The code of set 2 that the controller makes a code of set 1 of. Two are made by two: the real keys (F7, SysRq) have
 * the higher ones. */
static uint8_t set2_code(uint8_t set1)
{
    for (unsigned i = PS2_TRANSLATED; i-- > 0;) {
        if (ps2_translation[i] == set1) {
            return (uint8_t)i;
        }
    }
    return 0;
}

bool ps2_keyboard_key(Ps2Keyboard *kbd, uint16_t code, bool down)
{
    static const uint8_t pause1[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
    static const uint8_t pause2[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
    uint8_t              bytes[8];
    unsigned             n = 0;
    if (!kbd->scanning || kbd->scan_set == 3) {
        return true; /* nobody hears it */
    }
    if (code == KEY_PAUSE) {
        /* It has no release. */
        n = !down ? 0 : kbd->scan_set == 1 ? sizeof pause1 : sizeof pause2;
        memcpy(bytes, kbd->scan_set == 1 ? pause1 : pause2, n);
    } else {
        uint8_t set1 = code & 0x7f;
        if (code & KEY_EXTENDED) {
            bytes[n++] = 0xe0;
        }
        if (kbd->scan_set == 1) {
            bytes[n++] = (uint8_t)(set1 | (down ? 0 : 0x80));
        } else {
            if (!down) {
                bytes[n++] = 0xf0;
            }
            bytes[n++] = set2_code(set1);
        }
    }
    if (kbd->queue.count + n > PS2_QUEUE_SIZE) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        queue_put(&kbd->queue, bytes[i]);
    }
    return true;
}

static void keyboard_defaults(Ps2Keyboard *kbd)
{
    kbd->scan_set = 2;
    kbd->rate     = 0x2b; /* 10.9 characters a second after 500 ms */
    kbd->command  = 0;
}

void ps2_keyboard_reset(Ps2Keyboard *kbd)
{
    *kbd = (Ps2Keyboard){ .scanning = true };
    keyboard_defaults(kbd);
}

static void keyboard_argument(Ps2Keyboard *kbd, uint8_t command, uint8_t value)
{
    switch (command) {
    case KBD_SET_LEDS:
        kbd->leds = value & 7;
        queue_put(&kbd->queue, PS2_ACK);
        break;
    case KBD_SET_RATE:
        kbd->rate = value & 0x7f;
        queue_put(&kbd->queue, PS2_ACK);
        break;
    case KBD_SCAN_SET:
        if (value > 3) {
            queue_put(&kbd->queue, PS2_RESEND);
            break;
        }
        queue_put(&kbd->queue, PS2_ACK);
        if (value) {
            kbd->scan_set = value;
        } else {
            queue_put(&kbd->queue, kbd->scan_set);
        }
        break;
    default: break;
    }
}

void ps2_keyboard_write(Ps2Keyboard *kbd, uint8_t value)
{
    uint8_t command = kbd->command;
    kbd->command    = 0;
    if (command && value < 0xed) { /* a command byte in an argument's place starts anew */
        keyboard_argument(kbd, command, value);
        return;
    }
    switch (value) {
    case KBD_ECHO: queue_put(&kbd->queue, PS2_ECHO); return;
    case KBD_RESEND: queue_put(&kbd->queue, kbd->last); return;
    case KBD_SET_LEDS:
    case KBD_SET_RATE:
    case KBD_SCAN_SET: kbd->command = value; break;
    case KBD_IDENTIFY:
        queue_put(&kbd->queue, PS2_ACK);
        queue_put(&kbd->queue, 0xab);
        queue_put(&kbd->queue, 0x83);
        return;
    case KBD_ENABLE:
        kbd->queue.count = 0;
        kbd->scanning    = true;
        break;
    case KBD_DISABLE:
    case KBD_DEFAULTS:
        kbd->queue.count = 0;
        keyboard_defaults(kbd);
        kbd->scanning = value == KBD_DEFAULTS;
        break;
    case KBD_RESET:
        ps2_keyboard_reset(kbd);
        queue_put(&kbd->queue, PS2_ACK);
        queue_put(&kbd->queue, PS2_TEST_OK);
        return;
    default: queue_put(&kbd->queue, PS2_RESEND); return;
    }
    queue_put(&kbd->queue, PS2_ACK);
}

bool ps2_keyboard_read(Ps2Keyboard *kbd, uint8_t *value)
{
    if (!queue_take(&kbd->queue, value)) {
        return false;
    }
    kbd->last = *value;
    return true;
}

/* --- mouse --- */

enum {
    REPORT_ALWAYS = 1 << 3,
    REPORT_X_SIGN = 1 << 4,
    REPORT_Y_SIGN = 1 << 5,
};

enum { PLAIN = 0, WHEEL = 3, EXPLORER = 4 };

enum { FAR = 4096, COUNT_MIN = -256, COUNT_MAX = 255 };

static void mouse_defaults(Ps2Mouse *mouse)
{
    mouse->rate       = 100;
    mouse->resolution = 2;
    mouse->command    = 0;
    mouse->dx = mouse->dy = mouse->dz = 0;
    mouse->reporting = mouse->remote = mouse->wrap = mouse->scaling = false;
}

void ps2_mouse_reset(Ps2Mouse *mouse)
{
    *mouse = (Ps2Mouse){ .buttons = mouse->buttons }; /* a finger stays where it is */
    mouse_defaults(mouse);
    mouse->told = mouse->buttons;
}

/* Sample rates 200, 100, 80 in a row turn the wheel on; 200, 200, 80 the side buttons too. */
static void mouse_rate(Ps2Mouse *mouse, uint8_t rate)
{
    if (mouse->rates[0] == 200 && rate == 80) {
        if (mouse->rates[1] == 100) {
            mouse->id = WHEEL;
        } else if (mouse->rates[1] == 200) {
            mouse->id = EXPLORER;
        }
    }
    mouse->rates[0] = mouse->rates[1];
    mouse->rates[1] = rate;
    mouse->rate     = rate;
}

static int32_t add_up(int32_t sum, int step)
{
    return (int32_t)CLAMP((int64_t)sum + step, -FAR, FAR);
}

void ps2_mouse_move(Ps2Mouse *mouse, int dx, int dy, int dz)
{
    mouse->dx = add_up(mouse->dx, dx);
    mouse->dy = add_up(mouse->dy, dy);
    mouse->dz = add_up(mouse->dz, dz);
}

void ps2_mouse_button(Ps2Mouse *mouse, uint8_t button, bool down)
{
    mouse->buttons = (uint8_t)(down ? mouse->buttons | button : mouse->buttons & ~button);
}

/* Takes what fits into a report off a sum. */
static int take_counts(int32_t *sum, int low, int high)
{
    int counts = CLAMP(*sum, low, high);
    *sum -= counts;
    return counts;
}

/* Scaling 2:1, in stream mode only. */
static int scale(int counts)
{
    static const uint8_t small[] = { 0, 1, 1, 3, 6, 9 };
    int                  n       = ABS(counts);
    n                            = n < (int)G_N_ELEMENTS(small) ? small[n] : 2 * n;
    return counts < 0 ? -n : n;
}

static void mouse_report(Ps2Mouse *mouse, bool scaled)
{
    int low = scaled ? COUNT_MIN / 2 : COUNT_MIN, high = COUNT_MAX / (scaled ? 2 : 1);
    int dx = take_counts(&mouse->dx, low, high), dy = take_counts(&mouse->dy, low, high);
    if (scaled) {
        dx = scale(dx);
        dy = scale(dy);
    }
    queue_put(&mouse->queue, (uint8_t)(REPORT_ALWAYS | (mouse->buttons & 7) | (dx < 0 ? REPORT_X_SIGN : 0) |
                                       (dy < 0 ? REPORT_Y_SIGN : 0)));
    queue_put(&mouse->queue, (uint8_t)dx);
    queue_put(&mouse->queue, (uint8_t)dy);
    if (mouse->id == WHEEL) {
        queue_put(&mouse->queue, (uint8_t)take_counts(&mouse->dz, -128, 127));
    } else if (mouse->id == EXPLORER) {
        int side = mouse->buttons >> 3 & 3; /* PS2_SIDE and PS2_EXTRA */
        queue_put(&mouse->queue, (uint8_t)((take_counts(&mouse->dz, -8, 7) & 0x0f) | side << 4));
    } else {
        mouse->dz = 0;
    }
    mouse->told = mouse->buttons;
}

/* In stream mode a report begins when the one before has gone; resolutions and rates mean nothing to events that
 * come in counts and one at a time. */
static void mouse_stream(Ps2Mouse *mouse)
{
    uint8_t shown = mouse->id == EXPLORER ? 0x1f : 7;
    if (mouse->queue.count || !mouse->reporting || mouse->remote || mouse->wrap || mouse->command) {
        return;
    }
    if (mouse->dx || mouse->dy || (mouse->dz && mouse->id) || (mouse->buttons ^ mouse->told) & shown) {
        mouse_report(mouse, mouse->scaling);
        mouse->report = mouse->queue.count;
    }
}

/* A command ends a report under way. */
static void mouse_interrupted(Ps2Mouse *mouse)
{
    uint8_t unused;
    while (mouse->report && queue_take(&mouse->queue, &unused)) {
        mouse->report--;
    }
    mouse->report = 0;
}

static void mouse_argument(Ps2Mouse *mouse, uint8_t command, uint8_t value)
{
    if (command == MOUSE_SET_RATE) {
        mouse_rate(mouse, value);
    } else {
        mouse->resolution = value & 3;
    }
    queue_put(&mouse->queue, PS2_ACK);
}

void ps2_mouse_write(Ps2Mouse *mouse, uint8_t value)
{
    uint8_t command = mouse->command;
    mouse->command  = 0;
    if (command) {
        mouse_argument(mouse, command, value);
        return;
    }
    if (value != MOUSE_RESEND) {
        mouse_interrupted(mouse);
    }
    if (mouse->wrap && value != MOUSE_RESET_WRAP && value != MOUSE_RESET) {
        queue_put(&mouse->queue, value);
        return;
    }
    switch (value) {
    case MOUSE_SCALE_1_1:
    case MOUSE_SCALE_2_1: mouse->scaling = value == MOUSE_SCALE_2_1; break;
    case MOUSE_SET_RESOLUTION:
    case MOUSE_SET_RATE: mouse->command = value; break;
    case MOUSE_STATUS:
        queue_put(&mouse->queue, PS2_ACK);
        queue_put(&mouse->queue, (uint8_t)(mouse->remote << 6 | mouse->reporting << 5 | mouse->scaling << 4 |
                                           (mouse->buttons & PS2_LEFT ? 4 : 0) | (mouse->buttons & PS2_MIDDLE ? 2 : 0) |
                                           (mouse->buttons & PS2_RIGHT ? 1 : 0)));
        queue_put(&mouse->queue, mouse->resolution);
        queue_put(&mouse->queue, mouse->rate);
        return;
    case MOUSE_STREAM:
    case MOUSE_REMOTE: mouse->remote = value == MOUSE_REMOTE; break;
    case MOUSE_POLL:
        queue_put(&mouse->queue, PS2_ACK);
        mouse_report(mouse, false);
        return;
    case MOUSE_SET_WRAP:
    case MOUSE_RESET_WRAP: mouse->wrap = value == MOUSE_SET_WRAP; break;
    case MOUSE_IDENTIFY:
        queue_put(&mouse->queue, PS2_ACK);
        queue_put(&mouse->queue, mouse->id);
        return;
    case MOUSE_ENABLE:
    case MOUSE_DISABLE:
        mouse->reporting = value == MOUSE_ENABLE;
        mouse->dx = mouse->dy = mouse->dz = 0;
        mouse->told                       = mouse->buttons;
        break;
    case MOUSE_DEFAULTS: mouse_defaults(mouse); break;
    case MOUSE_RESEND: queue_put(&mouse->queue, mouse->last); return;
    case MOUSE_RESET:
        ps2_mouse_reset(mouse);
        queue_put(&mouse->queue, PS2_ACK);
        queue_put(&mouse->queue, PS2_TEST_OK);
        queue_put(&mouse->queue, mouse->id);
        return;
    default: queue_put(&mouse->queue, PS2_RESEND); return;
    }
    queue_put(&mouse->queue, PS2_ACK);
}

bool ps2_mouse_read(Ps2Mouse *mouse, uint8_t *value)
{
    mouse_stream(mouse);
    if (!queue_take(&mouse->queue, value)) {
        return false;
    }
    if (mouse->report) {
        mouse->report--;
    }
    mouse->last = *value;
    return true;
}
