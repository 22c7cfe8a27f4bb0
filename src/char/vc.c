/* The vc back end: a text console in memory. Displays show it and type into it; without one it can still be read.
 * Main loop, or machine lock held. */

#include "char/vc.h"

#include "char/mux.h"

#include <string.h>

/* The font's cells. */
enum { CELL_WIDTH = 8, CELL_HEIGHT = 16, WIDTH = 800, HEIGHT = 600, TYPED_MAX = 4096 };

typedef struct Vc {
    Chardev     chr;
    uint32_t    width, height, cols, rows; /* 0: not given */
    Vt         *vt;
    GByteArray *typed; /* what the front end has not taken yet */
    Timer       answer;
} Vc;

static const Field vc_properties[] = {
    FIELD(Vc, width, "width", .min = 1, .max = VT_COLS_MAX * CELL_WIDTH, .help = "in pixels (default 800)"),
    FIELD(Vc, height, "height", .min = 1, .max = VT_ROWS_MAX * CELL_HEIGHT, .help = "in pixels (default 600)"),
    FIELD(Vc, cols, "cols", .min = 1, .max = VT_COLS_MAX, .help = "width in characters"),
    FIELD(Vc, rows, "rows", .min = 1, .max = VT_ROWS_MAX, .help = "height in characters"),
    {}
};

static const CharType vc_type;

static bool measure(const char *pixels_name, uint32_t pixels, uint32_t cell, uint32_t otherwise, const char *cells_name,
                    uint32_t *cells, Error *err)
{
    if (pixels && *cells) {
        return error_set(err, "%s and %s say the same; give one of them", pixels_name, cells_name);
    }
    if (!*cells) {
        *cells = (pixels ? pixels : otherwise) / cell;
    }
    return *cells || error_set(err, "%s=%u: a character needs %u pixels", pixels_name, pixels, cell);
}

static void deliver(Vc *v)
{
    size_t n;
    while (v->typed->len && (n = MIN(char_can_read(&v->chr), v->typed->len))) {
        /* The front end may write at once, and the terminal answer: take the bytes out first. */
        uint8_t chunk[256];
        n = MIN(n, sizeof chunk);
        memcpy(chunk, v->typed->data, n);
        g_byte_array_remove_range(v->typed, 0, (guint)n);
        char_push(&v->chr, chunk, n);
    }
}

static void limit(Vc *v)
{
    if (v->typed->len > TYPED_MAX) {
        g_byte_array_set_size(v->typed, TYPED_MAX);
    }
}

static void answer_due(void *opaque)
{
    deliver(opaque);
}

static bool vc_open(Chardev *chr, Error *err)
{
    Vc *v = (Vc *)chr;
    if (!measure("width", v->width, CELL_WIDTH, WIDTH, "cols", &v->cols, err) ||
        !measure("height", v->height, CELL_HEIGHT, HEIGHT, "rows", &v->rows, err)) {
        return false;
    }
    timer_init(&v->answer, loop_clocks(char_hub_loop(chr->hub)), REALTIME_CLOCK, answer_due, v);
    v->vt    = vt_new(v->cols, v->rows);
    v->typed = g_byte_array_new();
    char_event(chr, CHAR_OPENED);
    return true;
}

static void vc_close(Chardev *chr)
{
    Vc *v = (Vc *)chr;
    timer_cancel(&v->answer);
    vt_free(v->vt);
    g_byte_array_unref(v->typed);
}

/* The terminal's answers come later, as over a wire: front ends do not expect input while they write. */
static ssize_t vc_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    Vc   *v      = (Vc *)chr;
    guint before = v->typed->len;
    vt_write(v->vt, buf, len, v->typed);
    limit(v);
    if (v->typed->len > before) {
        timer_set(&v->answer, clock_now(loop_clocks(char_hub_loop(chr->hub)), REALTIME_CLOCK));
    }
    return (ssize_t)len;
}

static void vc_accept_input(Chardev *chr)
{
    deliver((Vc *)chr);
}

static Vc *find(Chardev *chr)
{
    Chardev *base = mux_implicit_base(chr);
    chr           = base ? base : chr;
    return char_type(chr) == &vc_type ? (Vc *)chr : NULL;
}

const Vt *char_vc_screen(Chardev *chr)
{
    Vc *v = find(chr);
    return v ? v->vt : NULL;
}

void char_vc_type(Chardev *chr, const char *text)
{
    Vc *v = find(chr);
    g_byte_array_append(v->typed, (const uint8_t *)text, (guint)strlen(text));
    limit(v);
    deliver(v);
}

void char_vc_press(Chardev *chr, VtKey key)
{
    Vc *v = find(chr);
    vt_press(v->vt, key, v->typed);
    limit(v);
    deliver(v);
}

static char *vc_describe(Chardev *chr)
{
    const Vc *v = (const Vc *)chr;
    return g_strdup_printf("vc:%uCx%uC", v->cols, v->rows);
}

CHAR_TYPE(vc) = {
    .name         = "vc",
    .parent       = "chardev",
    .help         = "a text console in memory",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(Vc),
    .properties   = vc_properties,
    .open         = vc_open,
    .write        = vc_write,
    .accept_input = vc_accept_input,
    .describe     = vc_describe,
    .close        = vc_close,
};
