/* The mux: up to four front ends share one back end. What they write goes out in turn; what is typed goes to the one
 * that has the focus. The escape character (Ctrl-A unless -echr says otherwise) begins a command.
 * Main loop, or machine lock held. */

#include "char/mux.h"

#include <string.h>

enum { MUX_BUFFER = 1024 };

/* What was typed and not taken yet. */
typedef struct MuxInput {
    CharFrontend *fe;
    uint8_t       data[MUX_BUFFER];
    size_t        head, used;
} MuxInput;

typedef struct Mux {
    Chardev      chr;
    char        *base_id;
    CharFrontend base; /* our own end, on the back end */
    MuxInput     input[MUX_FRONTENDS];
    unsigned     count;
    unsigned     focus;
    bool         escaped; /* the escape character came last */
    bool         timestamps;
    bool         line_begins;
    gint64       first_stamp; /* 0: none yet */
    GString     *pending;     /* time stamp or prompt that the back end did not take yet */
} Mux;

static const Field mux_properties[] = {
    FIELD(Mux, base_id, "chardev", .required = true, .help = "id of the chardev to share"), {}
};

/* --- output --- */

static bool flush_pending(Mux *mux)
{
    while (mux->pending->len) {
        ssize_t n = char_write(&mux->base, mux->pending->str, mux->pending->len);
        if (n < 0) {
            g_string_truncate(mux->pending, 0);
        } else if (n == 0) {
            return false;
        } else {
            g_string_erase(mux->pending, 0, n);
        }
    }
    return true;
}

static void stamp(Mux *mux)
{
    gint64 now = g_get_monotonic_time() / 1000;
    if (!mux->first_stamp) {
        mux->first_stamp = now;
    }
    gint64 ms = now - mux->first_stamp;
    g_string_append_printf(mux->pending, "[%02d:%02d:%02d.%03d] ", (int)(ms / 3600000), (int)(ms / 60000 % 60),
                           (int)(ms / 1000 % 60), (int)(ms % 1000));
}

static ssize_t mux_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    Mux *mux = (Mux *)chr;
    if (!flush_pending(mux)) {
        return 0;
    }
    if (!mux->timestamps) {
        ssize_t n = char_write(&mux->base, buf, len);
        if (n > 0) {
            mux->line_begins = buf[n - 1] == '\n';
        }
        return n;
    }
    size_t done = 0;
    while (done < len) {
        if (mux->line_begins) {
            stamp(mux);
            mux->line_begins = false;
        }
        if (!flush_pending(mux)) {
            break;
        }
        const uint8_t *end   = memchr(buf + done, '\n', len - done);
        size_t         chunk = end ? (size_t)(end - (buf + done)) + 1 : len - done;
        ssize_t        n     = char_write(&mux->base, buf + done, chunk);
        if (n < 0) {
            return done ? (ssize_t)done : n;
        }
        done += (size_t)n;
        mux->line_begins = end && (size_t)n == chunk;
        if ((size_t)n < chunk) {
            break;
        }
    }
    return (ssize_t)done;
}

/* Our own words: never in the middle of a stamp or behind the guest's back pressure for long. */
static void say(Mux *mux, const char *text)
{
    char_write_all(&mux->base, text, strlen(text));
}

static void print_help(Mux *mux)
{
    int   escape = char_hub_escape(mux->chr.hub);
    char *key =
        escape >= 1 && escape <= 26 ? g_strdup_printf("C-%c", escape + 'a' - 1) : g_strdup_printf("0x%02x", escape);
    char *text = g_strdup_printf("\r\n"
                                 "%s h    show these keys\r\n"
                                 "%s x    end the emulator\r\n"
                                 "%s s    write disk changes back to their files (-snapshot)\r\n"
                                 "%s t    time stamps on and off\r\n"
                                 "%s b    send a break (magic SysRq)\r\n"
                                 "%s c    go to the next front end (console, monitor)\r\n"
                                 "%s %s  send %s itself\r\n",
                                 key, key, key, key, key, key, key, key, key);
    say(mux, text);
    g_free(text);
    g_free(key);
}

/* --- input --- */

static void deliver(MuxInput *in)
{
    while (in->used && in->fe && in->fe->can_read) {
        size_t room = in->fe->can_read(in->fe->opaque);
        size_t run  = MIN(in->used, MUX_BUFFER - in->head);
        size_t n    = MIN(run, room);
        if (!n) {
            return;
        }
        /* The front end may come back to us from read(): take the bytes out first. */
        uint8_t chunk[MUX_BUFFER];
        memcpy(chunk, in->data + in->head, n);
        in->head = (in->head + n) % MUX_BUFFER;
        in->used -= n;
        in->fe->read(in->fe->opaque, chunk, n);
    }
}

static void queue_byte(Mux *mux, uint8_t byte)
{
    if (mux->focus >= mux->count) {
        return;
    }
    MuxInput *in = &mux->input[mux->focus];
    if (in->used == MUX_BUFFER) {
        deliver(in);
    }
    if (in->used < MUX_BUFFER) {
        in->data[(in->head + in->used++) % MUX_BUFFER] = byte;
    }
}

static void send_event(Mux *mux, unsigned n, CharEvent event)
{
    CharFrontend *fe = n < mux->count ? mux->input[n].fe : NULL;
    if (fe && fe->event) {
        fe->event(fe->opaque, event);
    }
}

static void focus_on(Mux *mux, unsigned n)
{
    if (n == mux->focus) {
        return;
    }
    send_event(mux, mux->focus, CHAR_MUX_OUT);
    mux->focus = n;
    send_event(mux, n, CHAR_MUX_IN);
}

static void command(Mux *mux, uint8_t key)
{
    if (key == (uint8_t)char_hub_escape(mux->chr.hub)) {
        queue_byte(mux, key);
        return;
    }
    switch (key) {
    case '?':
    case 'h': print_help(mux); break;
    case 'x':
        say(mux, "QEMU: Terminated\r\n");
        char_hub_quit(mux->chr.hub);
        break;
    case 's':
        if (!char_hub_save(mux->chr.hub)) {
            say(mux, "\r\nthere is no disk to save\r\n");
        }
        break;
    case 'b': send_event(mux, mux->focus, CHAR_BREAK); break;
    case 'c':
        if (mux->count > 1) {
            focus_on(mux, (mux->focus + 1) % mux->count);
        }
        break;
    case 't':
        mux->timestamps  = !mux->timestamps;
        mux->first_stamp = 0;
        mux->line_begins = false;
        break;
    default: break;
    }
}

static size_t base_can_read(void *opaque)
{
    Mux *mux = opaque;
    if (mux->focus >= mux->count) {
        return 0;
    }
    return MUX_BUFFER - mux->input[mux->focus].used;
}

static void base_read(void *opaque, const uint8_t *buf, size_t len)
{
    Mux *mux = opaque;
    for (size_t i = 0; i < len; i++) {
        if (mux->escaped) {
            mux->escaped = false;
            command(mux, buf[i]);
        } else if (buf[i] == (uint8_t)char_hub_escape(mux->chr.hub)) {
            mux->escaped = true;
        } else {
            queue_byte(mux, buf[i]);
        }
    }
    for (unsigned i = 0; i < mux->count; i++) {
        deliver(&mux->input[i]);
    }
}

static void base_event(void *opaque, CharEvent event)
{
    Mux *mux = opaque;
    if (event == CHAR_BREAK) {
        send_event(mux, mux->focus, CHAR_BREAK);
        return;
    }
    mux->chr.is_open = event == CHAR_OPENED ? true : event == CHAR_CLOSED ? false : mux->chr.is_open;
    for (unsigned i = 0; i < mux->count; i++) {
        send_event(mux, i, event);
    }
}

static void base_writable(void *opaque)
{
    Mux *mux = opaque;
    if (!flush_pending(mux)) {
        return;
    }
    for (unsigned i = 0; i < mux->count; i++) {
        CharFrontend *fe = mux->input[i].fe;
        if (fe->writable) {
            fe->writable(fe->opaque);
        }
    }
}

/* --- the chardev --- */

static bool mux_open(Chardev *chr, Error *err)
{
    Mux     *mux  = (Mux *)chr;
    Chardev *base = char_find(chr->hub, mux->base_id, err);
    if (!base) {
        return false;
    }
    if (char_type(base) == mux_char_type()) {
        return error_set(err, "chardev '%s' is a mux itself", mux->base_id);
    }
    mux->pending     = g_string_new(NULL);
    mux->line_begins = true;
    mux->base        = (CharFrontend){
               .opaque   = mux,
               .can_read = base_can_read,
               .read     = base_read,
               .event    = base_event,
               .writable = base_writable,
    };
    if (!char_attach(&mux->base, base, err)) {
        g_string_free(mux->pending, true);
        return false;
    }
    return true;
}

static void mux_close(Chardev *chr)
{
    Mux *mux = (Mux *)chr;
    for (unsigned i = 0; i < mux->count; i++) {
        mux->input[i].fe->chr = NULL;
    }
    mux->count = 0;
    flush_pending(mux);
    char_detach(&mux->base);
    g_string_free(mux->pending, true);
}

bool mux_attach(Chardev *chr, CharFrontend *fe, Error *err)
{
    Mux *mux = (Mux *)chr;
    if (mux->count == MUX_FRONTENDS) {
        return error_set(err, "chardev '%s' has %d front ends already, the most a mux takes", chr->id, MUX_FRONTENDS);
    }
    mux->input[mux->count] = (MuxInput){ .fe = fe };
    fe->mux_tag            = (int)mux->count++;
    return true;
}

void mux_detach(Chardev *chr, CharFrontend *fe)
{
    Mux *mux = (Mux *)chr;
    for (unsigned i = 0; i < mux->count; i++) {
        if (mux->input[i].fe != fe) {
            continue;
        }
        memmove(&mux->input[i], &mux->input[i + 1], (mux->count - i - 1) * sizeof mux->input[0]);
        mux->count--;
        for (unsigned k = i; k < mux->count; k++) {
            mux->input[k].fe->mux_tag = (int)k;
        }
        if (mux->focus == i) {
            mux->focus = 0;
            send_event(mux, 0, CHAR_MUX_IN);
        } else if (mux->focus > i) {
            mux->focus--;
        }
        return;
    }
}

void mux_set_focus(Chardev *chr, CharFrontend *fe)
{
    Mux *mux = (Mux *)chr;
    for (unsigned i = 0; i < mux->count; i++) {
        if (mux->input[i].fe == fe) {
            focus_on(mux, i);
        }
    }
}

bool char_is_mux(const Chardev *chr)
{
    return char_type(chr) == mux_char_type();
}

bool mux_in_use(const Chardev *chr)
{
    return char_type(chr) == mux_char_type() && ((const Mux *)chr)->count;
}

Chardev *mux_implicit_base(Chardev *chr)
{
    if (char_type(chr) != mux_char_type()) {
        return NULL;
    }
    Chardev         *base = ((Mux *)chr)->base.chr;
    g_autofree char *name = g_strconcat(chr->id, "-base", NULL);
    return base && strcmp(base->id, name) == 0 ? base : NULL;
}

typedef struct BaseSearch {
    const Chardev *base;
    bool           found;
} BaseSearch;

static void match_base(Chardev *chr, void *opaque)
{
    BaseSearch *search = opaque;
    search->found |= char_is_mux(chr) && ((Mux *)chr)->base.chr == search->base;
}

bool mux_has_base(CharHub *hub, const Chardev *chr)
{
    BaseSearch search = { .base = chr };
    char_foreach(hub, match_base, &search);
    return search.found;
}

void mux_receive_break(Chardev *chr)
{
    Mux *mux = (Mux *)chr;
    send_event(mux, mux->focus, CHAR_BREAK);
}

static void mux_accept_input(Chardev *chr)
{
    Mux *mux = (Mux *)chr;
    for (unsigned i = 0; i < mux->count; i++) {
        deliver(&mux->input[i]);
    }
    char_accept_input(&mux->base);
}

static bool mux_set_line(Chardev *chr, const CharLine *line)
{
    return char_set_line(&((Mux *)chr)->base, line);
}

static void mux_set_break(Chardev *chr, bool on)
{
    char_set_break(&((Mux *)chr)->base, on);
}

static bool mux_set_modem(Chardev *chr, unsigned lines)
{
    return char_set_modem(&((Mux *)chr)->base, lines);
}

static bool mux_get_modem(Chardev *chr, unsigned *lines)
{
    return char_get_modem(&((Mux *)chr)->base, lines);
}

static int mux_write_fd(Chardev *chr)
{
    Chardev *base = ((Mux *)chr)->base.chr;
    return base && char_type(base)->write_fd ? char_type(base)->write_fd(base) : -1;
}

CHAR_TYPE(mux) = {
    .name         = "mux",
    .parent       = "chardev",
    .help         = "lets up to four front ends share a chardev",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(Mux),
    .properties   = mux_properties,
    .open         = mux_open,
    .write        = mux_write,
    .accept_input = mux_accept_input,
    .set_line     = mux_set_line,
    .set_break    = mux_set_break,
    .set_modem    = mux_set_modem,
    .get_modem    = mux_get_modem,
    .close        = mux_close,
    .write_fd     = mux_write_fd,
};

const CharType *mux_char_type(void)
{
    return &mux_type;
}
