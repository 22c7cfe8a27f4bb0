/* The vc back end: a text console in memory. Displays show it and type into it; without one it can still be read.
 * Main loop, or machine lock held. */

#include "char/vc.h"

#include "char/mux.h"

#include <string.h>

/* The font's cells. */
enum { CELL_WIDTH = 8, CELL_HEIGHT = 16, WIDTH = 800, HEIGHT = 600, TYPED_MAX = 4096 };

typedef struct Vc {
    Chardev     chr;
    uint32_t    width, height, cols, rows;
    bool        have_width, have_height, have_cols, have_rows;
    Vt         *vt;
    GByteArray *typed; /* what the front end has not taken yet */
    Timer       answer;
} Vc;

#define SIZE_FIELD(member, otherwise, most, text)                                                                      \
    FIELD(Vc, member, #member, .initial = otherwise, .min = 1, .max = most,                                            \
          .has_offset = 1 + offsetof(Vc, have_##member), .help = text)

static const Field vc_properties[] = { SIZE_FIELD(width, WIDTH, VT_COLS_MAX *CELL_WIDTH, "in pixels"),
                                       SIZE_FIELD(height, HEIGHT, VT_ROWS_MAX *CELL_HEIGHT, "in pixels (default 600)"),
                                       SIZE_FIELD(cols, WIDTH / CELL_WIDTH, VT_COLS_MAX, "width in characters"),
                                       SIZE_FIELD(rows, HEIGHT / CELL_HEIGHT, VT_ROWS_MAX, "height in characters"),
                                       {} };

static const CharType vc_type;

/* Characters from pixels where those were given. */
static bool measure(const char *names, bool have_pixels, uint32_t pixels, uint32_t cell, bool have_cells,
                    uint32_t *cells, Error *err)
{
    if (have_pixels && have_cells) {
        return error_set(err, "%s say the same; give one of them", names);
    }
    if (have_pixels) {
        *cells = pixels / cell;
    }
    return *cells || error_set(err, "%u pixels are too few: a character needs %u", pixels, cell);
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
    if (!measure("width and cols", v->have_width, v->width, CELL_WIDTH, v->have_cols, &v->cols, err) ||
        !measure("height and rows", v->have_height, v->height, CELL_HEIGHT, v->have_rows, &v->rows, err)) {
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
