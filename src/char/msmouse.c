/* The msmouse back end: a serial mouse with three buttons on the guest's serial port.
 * Specification: Microsoft serial mouse protocol (three bytes of seven bits at 1200 baud), with Logitech's fourth byte
 * for the middle button; Plug and Play External COM Device Specification 1.00 (1995) for what it says when RTS goes on.
 * It lives on DTR and RTS: without both it has no power. Main loop, or machine lock held. */

#include "char/msmouse.h"

#include "input/input.h"

#include <string.h>

/* It has come to its senses so long after RTS goes on. */
#define AWAKE_NS (14 * NS_PER_MS)

enum { QUEUE = 128, STEP_MIN = -128, STEP_MAX = 127, FAR = 4096 };

enum { SYNC = 0x40, LEFT = 0x20, RIGHT = 0x10, MIDDLE = 0x20 };

typedef struct MsMouse {
    Chardev      chr;
    unsigned     lines; /* CHAR_RTS, CHAR_DTR as the guest has them */
    bool         awake;
    Timer        wake;
    int          dx, dy; /* not reported yet */
    unsigned     buttons, told;
    uint8_t      queue[QUEUE];
    unsigned     head, used;
    InputHandler input;
    int          step_x, step_y; /* events since the last sync */
} MsMouse;

static const CharType msmouse_type;

static bool powered(const MsMouse *m)
{
    return (m->lines & (CHAR_RTS | CHAR_DTR)) == (CHAR_RTS | CHAR_DTR);
}

static void queue(MsMouse *m, const void *data, size_t len)
{
    g_assert(m->used + len <= QUEUE);
    for (size_t i = 0; i < len; i++) {
        m->queue[(m->head + m->used++) % QUEUE] = ((const uint8_t *)data)[i];
    }
}

static void queue_packet(MsMouse *m)
{
    int     dx = CLAMP(m->dx, STEP_MIN, STEP_MAX), dy = CLAMP(m->dy, STEP_MIN, STEP_MAX);
    uint8_t packet[] = {
        (uint8_t)(SYNC | (m->buttons & MSMOUSE_LEFT ? LEFT : 0) | (m->buttons & MSMOUSE_RIGHT ? RIGHT : 0) |
                  (dy >> 4 & 0x0c) | (dx >> 6 & 0x03)),
        dx & 0x3f,
        dy & 0x3f,
        m->buttons & MSMOUSE_MIDDLE ? MIDDLE : 0,
    };
    /* Who knows two buttons only sees the fourth byte with the third one. */
    bool middle = (m->buttons | m->told) & MSMOUSE_MIDDLE;
    queue(m, packet, middle ? 4 : 3);
    m->dx -= dx;
    m->dy -= dy;
    m->told = m->buttons;
}

static void deliver(MsMouse *m)
{
    size_t room;
    while (m->awake && (room = char_can_read(&m->chr)) > 0) {
        if (!m->used && (m->dx || m->dy || m->buttons != m->told)) {
            queue_packet(m);
        }
        if (!m->used) {
            return;
        }
        uint8_t chunk[QUEUE];
        size_t  n = MIN(room, m->used);
        for (size_t i = 0; i < n; i++) {
            chunk[i] = m->queue[(m->head + i) % QUEUE];
        }
        m->head = (m->head + (unsigned)n) % QUEUE;
        m->used -= (unsigned)n;
        char_push(&m->chr, chunk, n);
    }
}

/* "M3": Microsoft, three buttons; then who it is, with a checksum, for Plug and Play. */
static void introduce(MsMouse *m)
{
    static const char id[] = "(\x01\x24QRN0001\\\\MOUSE\\PNP0F08\\Quern serial mouse";
    unsigned          sum  = ')';
    char              tail[4];
    for (const char *p = id; *p; p++) {
        sum += (uint8_t)*p;
    }
    g_snprintf(tail, sizeof tail, "%02X)", sum & 0xff);
    queue(m, "M3", 2);
    queue(m, id, sizeof id - 1);
    queue(m, tail, 3);
}

static void wake_up(void *opaque)
{
    MsMouse *m = opaque;
    m->awake   = true;
    introduce(m);
    deliver(m);
}

static bool msmouse_set_modem(Chardev *chr, unsigned lines)
{
    MsMouse *m   = (MsMouse *)chr;
    bool     was = powered(m);
    m->lines     = lines & (CHAR_RTS | CHAR_DTR);
    if (was == powered(m)) {
        return true;
    }
    m->awake = false;
    m->used  = 0;
    m->dx = m->dy = 0;
    m->told       = 0;
    if (was) {
        timer_cancel(&m->wake);
    } else {
        timer_set(&m->wake, clock_now(loop_clocks(char_hub_loop(chr->hub)), VIRTUAL_CLOCK) + AWAKE_NS);
    }
    return true;
}

static bool msmouse_get_modem(Chardev *chr, unsigned *lines)
{
    const MsMouse *m = (const MsMouse *)chr;
    *lines           = m->lines | (m->lines & CHAR_DTR ? CHAR_DSR : 0) | (m->lines & CHAR_RTS ? CHAR_CTS : 0);
    return true;
}

static bool msmouse_event(void *opaque, const InputEvent *event)
{
    static const unsigned buttons[] = {
        [INPUT_LEFT] = MSMOUSE_LEFT, [INPUT_MIDDLE] = MSMOUSE_MIDDLE, [INPUT_RIGHT] = MSMOUSE_RIGHT, [INPUT_TOUCH] = 0
    };
    MsMouse *m = opaque;
    if (event->kind == INPUT_BUTTON) {
        unsigned bit = buttons[event->code];
        m->buttons   = event->value ? m->buttons | bit : m->buttons & ~bit;
    } else {
        int *step = event->code == INPUT_X ? &m->step_x : &m->step_y;
        *step     = CLAMP(*step + CLAMP(event->value, -FAR, FAR), -FAR, FAR);
    }
    return true;
}

static void msmouse_sync(void *opaque)
{
    MsMouse *m  = opaque;
    int      dx = m->step_x, dy = m->step_y;
    m->step_x = m->step_y = 0;
    char_msmouse_move(&m->chr, dx, dy, m->buttons);
}

static bool msmouse_open(Chardev *chr, Error *err)
{
    MsMouse *m = (MsMouse *)chr;
    timer_init(&m->wake, loop_clocks(char_hub_loop(chr->hub)), VIRTUAL_CLOCK, wake_up, m);
    if (char_hub_input(chr->hub)) {
        m->input = (InputHandler){ .name   = "QEMU Microsoft Mouse",
                                   .kinds  = 1u << INPUT_BUTTON | 1u << INPUT_RELATIVE,
                                   .opaque = m,
                                   .event  = msmouse_event,
                                   .sync   = msmouse_sync };
        input_add(char_hub_input(chr->hub), &m->input);
    }
    char_event(chr, CHAR_OPENED);
    return true;
}

static void msmouse_close(Chardev *chr)
{
    if (char_hub_input(chr->hub)) {
        input_remove(char_hub_input(chr->hub), &((MsMouse *)chr)->input);
    }
    timer_cancel(&((MsMouse *)chr)->wake);
}

/* A mouse does not listen. */
static ssize_t msmouse_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    return (ssize_t)len;
}

static void msmouse_accept_input(Chardev *chr)
{
    deliver((MsMouse *)chr);
}

bool char_is_msmouse(const Chardev *chr)
{
    return char_type(chr) == &msmouse_type;
}

void char_msmouse_move(Chardev *chr, int dx, int dy, unsigned buttons)
{
    MsMouse *m = (MsMouse *)chr;
    m->buttons = buttons & (MSMOUSE_LEFT | MSMOUSE_RIGHT | MSMOUSE_MIDDLE);
    if (m->awake) {
        m->dx = CLAMP(m->dx + CLAMP(dx, -FAR, FAR), -FAR, FAR);
        m->dy = CLAMP(m->dy + CLAMP(dy, -FAR, FAR), -FAR, FAR);
        deliver(m);
    }
}

CHAR_TYPE(msmouse) = {
    .name         = "msmouse",
    .parent       = "chardev",
    .help         = "a Microsoft serial mouse",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(MsMouse),
    .open         = msmouse_open,
    .write        = msmouse_write,
    .accept_input = msmouse_accept_input,
    .set_modem    = msmouse_set_modem,
    .get_modem    = msmouse_get_modem,
    .close        = msmouse_close,
};
