/* The device-test protocol of -qtest.
 * Specification: QEMU 9.1, "QTest Device Emulation Testing Framework", protocol section.
 *
 * A request is one line of words; the answer is a line that begins with OK or FAIL. Interrupts that a test listens to
 * come in between, as IRQ lines. */

#include "debug/qtest_protocol.h"

#include "base/checked.h"
#include "base/text.h"

#include <string.h>

#define DATA_MAX       (16 * MiB)
#define LINE_MAX_BYTES (2 * DATA_MAX + 256)

enum { WORDS_MAX = 8 };

typedef struct Command {
    const char *name;
    unsigned    min, max; /* words after the name */
    void (*run)(QTestProtocol *p, const struct Command *c, char **words, unsigned n);
    unsigned size; /* of the access */
    bool     flag; /* an I/O port; interception of inputs; base64 */
} Command;

void qtest_protocol_init(QTestProtocol *p, const QTestTarget *target)
{
    *p = (QTestProtocol){ .target = target, .line = g_string_new(NULL) };
}

void qtest_protocol_clear(QTestProtocol *p)
{
    g_string_free(p->line, true);
}

/* --- answers --- */

static void send_line(QTestProtocol *p, const char *line)
{
    p->target->log(p->target->opaque, 'S', line);
    g_autofree char *with_newline = g_strconcat(line, "\n", NULL);
    p->target->send(p->target->opaque, with_newline);
}

static void G_GNUC_PRINTF(2, 3) answer(QTestProtocol *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *line = g_strdup_vprintf(format, args);
    va_end(args);
    send_line(p, line);
}

static void answer_result(QTestProtocol *p, bool ok, const Error *err)
{
    if (ok) {
        send_line(p, "OK");
    } else {
        answer(p, "FAIL %s", err->text);
    }
}

void qtest_protocol_send_irq(QTestProtocol *p, int n, int level)
{
    answer(p, "IRQ %s %d", level ? "raise" : "lower", n);
}

/* --- arguments --- */

static bool parse_number(QTestProtocol *p, const char *what, const char *word, uint64_t max, uint64_t *value)
{
    g_auto(Error) err = {};
    if (!text_parse_uint(word, max, value, &err)) {
        answer(p, "FAIL %s: %s", what, err.text);
        return false;
    }
    return true;
}

/* ADDR and SIZE of a block. */
static bool parse_block(QTestProtocol *p, char **words, uint64_t *addr, uint64_t *size)
{
    if (!parse_number(p, "address", words[0], UINT64_MAX, addr) ||
        !parse_number(p, "size", words[1], UINT64_MAX, size)) {
        return false;
    }
    if (*size > DATA_MAX || *size == 0 || *size - 1 > UINT64_MAX - *addr) {
        answer(p, "FAIL size: 1 to %" G_GUINT64_FORMAT " bytes that do not wrap", DATA_MAX);
        return false;
    }
    return true;
}

static int hex_digit(char c)
{
    return g_ascii_xdigit_value(c);
}

/* --- commands --- */

static void run_in(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    uint64_t addr;
    if (parse_number(p, "address", words[0], c->flag ? UINT16_MAX : UINT64_MAX, &addr)) {
        uint64_t value = p->target->load(p->target->opaque, c->flag, addr, c->size);
        answer(p, c->flag ? "OK 0x%04" G_GINT64_MODIFIER "x" : "OK 0x%016" G_GINT64_MODIFIER "x", value);
    }
}

static void run_out(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    uint64_t addr, value;
    if (parse_number(p, "address", words[0], c->flag ? UINT16_MAX : UINT64_MAX, &addr) &&
        parse_number(p, "value", words[1], UINT64_MAX, &value)) {
        value &= UINT64_MAX >> (64 - 8 * c->size);
        p->target->store(p->target->opaque, c->flag, addr, value, c->size);
        send_line(p, "OK");
    }
}

static void run_read(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    uint64_t addr, size;
    if (!parse_block(p, words, &addr, &size)) {
        return;
    }
    g_autofree uint8_t *data = g_try_malloc(size);
    if (!data) {
        send_line(p, "FAIL not enough memory");
        return;
    }
    p->target->read(p->target->opaque, addr, data, size);
    g_autoptr(GString) text = g_string_new(NULL);
    if (c->flag) {
        g_autofree char *base64 = g_base64_encode(data, size);
        g_string_printf(text, "OK %s", base64);
    } else {
        g_string_assign(text, "OK 0x");
        for (uint64_t i = 0; i < size; i++) {
            g_string_append_printf(text, "%02x", data[i]);
        }
    }
    send_line(p, text->str);
}

static void run_write(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    uint64_t addr, size;
    if (!parse_block(p, words, &addr, &size)) {
        return;
    }
    g_autofree uint8_t *data = NULL;
    if (c->flag) {
        gsize len;
        data = g_base64_decode(words[2], &len);
        if (len < size) {
            answer(p, "FAIL data: %zu bytes are less than %" G_GUINT64_FORMAT, (size_t)len, size);
            return;
        }
    } else {
        const char *hex = words[2];
        if (strncmp(hex, "0x", 2) != 0 || strlen(hex + 2) < 2 * size) {
            answer(p, "FAIL data: 0x and %" G_GUINT64_FORMAT " hexadecimal digits are expected", 2 * size);
            return;
        }
        data = g_try_malloc(size);
        if (!data) {
            send_line(p, "FAIL not enough memory");
            return;
        }
        hex += 2;
        for (uint64_t i = 0; i < size; i++) {
            int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
            if (high < 0 || low < 0) {
                send_line(p, "FAIL data: no hexadecimal digit");
                return;
            }
            data[i] = (uint8_t)(high << 4 | low);
        }
    }
    p->target->write(p->target->opaque, addr, data, size);
    send_line(p, "OK");
}

static void run_memset(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    uint64_t addr, size, value;
    if (!parse_block(p, words, &addr, &size) || !parse_number(p, "value", words[2], UINT64_MAX, &value)) {
        return;
    }
    uint8_t chunk[4096];
    memset(chunk, (int)(value & 0xff), sizeof chunk);
    for (uint64_t done = 0; done < size; done += MIN(size - done, sizeof chunk)) {
        p->target->write(p->target->opaque, addr + done, chunk, MIN(size - done, sizeof chunk));
    }
    send_line(p, "OK");
}

static void run_clock_step(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    uint64_t ns       = 0;
    int64_t  now      = 0;
    g_auto(Error) err = {};
    if (n && !parse_number(p, "time", words[0], INT64_MAX, &ns)) {
        return;
    }
    if (p->target->clock_step(p->target->opaque, n ? (int64_t)ns : -1, &now, &err)) {
        answer(p, "OK %" G_GINT64_FORMAT, now);
    } else {
        answer(p, "FAIL %s", err.text);
    }
}

static void run_clock_set(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    uint64_t ns;
    int64_t  now      = 0;
    g_auto(Error) err = {};
    if (!parse_number(p, "time", words[0], INT64_MAX, &ns)) {
        return;
    }
    if (p->target->clock_set(p->target->opaque, (int64_t)ns, &now, &err)) {
        answer(p, "OK %" G_GINT64_FORMAT, now);
    } else {
        answer(p, "FAIL %s", err.text);
    }
}

static void run_intercept(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    g_auto(Error) err = {};
    answer_result(p, p->target->intercept(p->target->opaque, c->flag, words[0], n > 1 ? words[1] : NULL, &err), &err);
}

static void run_set_irq_in(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    uint64_t pin;
    int64_t  level;
    g_auto(Error) err = {};
    if (!parse_number(p, "pin", words[2], INT32_MAX, &pin)) {
        return;
    }
    bool ok = text_parse_int(words[3], INT32_MIN, INT32_MAX, &level, &err);
    if (ok) {
        const char *group = strcmp(words[1], "unnamed-gpio-in") == 0 ? NULL : words[1];
        ok                = p->target->set_irq_in(p->target->opaque, words[0], group, (unsigned)pin, (int)level, &err);
    }
    answer_result(p, ok, &err);
}

static void run_endianness(QTestProtocol *p, const Command *c, char **words, unsigned n)
{
    send_line(p, "OK little");
}

static const Command commands[] = {
    { "inb", 1, 1, run_in, 1, true },
    { "inw", 1, 1, run_in, 2, true },
    { "inl", 1, 1, run_in, 4, true },
    { "outb", 2, 2, run_out, 1, true },
    { "outw", 2, 2, run_out, 2, true },
    { "outl", 2, 2, run_out, 4, true },
    { "readb", 1, 1, run_in, 1, false },
    { "readw", 1, 1, run_in, 2, false },
    { "readl", 1, 1, run_in, 4, false },
    { "readq", 1, 1, run_in, 8, false },
    { "writeb", 2, 2, run_out, 1, false },
    { "writew", 2, 2, run_out, 2, false },
    { "writel", 2, 2, run_out, 4, false },
    { "writeq", 2, 2, run_out, 8, false },
    { "read", 2, 2, run_read, 0, false },
    { "b64read", 2, 2, run_read, 0, true },
    { "write", 3, 3, run_write, 0, false },
    { "b64write", 3, 3, run_write, 0, true },
    { "memset", 3, 3, run_memset, 0, false },
    { "clock_step", 0, 1, run_clock_step, 0, false },
    { "clock_set", 1, 1, run_clock_set, 0, false },
    { "irq_intercept_in", 1, 1, run_intercept, 0, true },
    { "irq_intercept_out", 1, 1, run_intercept, 0, false },
    { "irq_intercept_out_named", 2, 2, run_intercept, 0, false },
    { "set_irq_in", 4, 4, run_set_irq_in, 0, false },
    { "endianness", 0, 0, run_endianness, 0, false },
};

static void run_line(QTestProtocol *p, char *line)
{
    p->target->log(p->target->opaque, 'R', line);
    char    *words[WORDS_MAX + 1] = {};
    unsigned n                    = 0;
    char    *save                 = NULL;
    for (char *w = strtok_r(line, " \t\r", &save); w && n <= WORDS_MAX; w = strtok_r(NULL, " \t\r", &save)) {
        words[n++] = w;
    }
    if (!n) {
        return;
    }
    NameMatch match = { .word = words[0] };
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        const Command *c = &commands[i];
        if (strcmp(c->name, words[0]) == 0) {
            if (n - 1 < c->min || n - 1 > c->max) {
                answer(p, "FAIL %s takes %u%s words, not %u", c->name, c->min, c->min == c->max ? "" : " or 1", n - 1);
            } else {
                c->run(p, c, words + 1, n - 1);
            }
            return;
        }
        text_match_name(&match, c->name);
    }
    char             hint[128];
    g_autofree char *name = g_strndup(words[0], 64);
    answer(p, "FAIL Unknown command '%s'%s", name, text_did_you_mean(&match, hint));
}

void qtest_protocol_take(QTestProtocol *p, const uint8_t *data, size_t len)
{
    while (len) {
        const uint8_t *end   = memchr(data, '\n', len);
        size_t         chunk = end ? (size_t)(end - data) : len;
        if (p->line->len + chunk > LINE_MAX_BYTES || memchr(data, 0, chunk)) {
            p->too_long = true;
        }
        if (!p->too_long) {
            g_string_append_len(p->line, (const char *)data, (gssize)chunk);
        }
        if (!end) {
            return;
        }
        if (p->too_long) {
            send_line(p, "FAIL the line is too long, or has a zero byte in it");
        } else {
            run_line(p, p->line->str);
        }
        p->too_long = false;
        g_string_truncate(p->line, 0);
        data += chunk + 1;
        len -= chunk + 1;
    }
}
