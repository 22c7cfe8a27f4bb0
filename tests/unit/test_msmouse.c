/* The serial mouse on a UART: power, identification, packets. */

#include "char/msmouse.h"
#include "devices/char/uart.h"

#include "base/optstr.h"

#include <stdlib.h>
#include <string.h>

enum { DATA, IER, FCR, LCR, MCR, LSR, MSR };

typedef struct Fixture {
    MachineLock lock;
    Loop       *loop;
    Object     *root;
    CharHub    *hub;
    Chardev    *mouse;
    IrqPin      pin;
    Uart        uart;
} Fixture;

static void ignore_level(void *opaque, int n, int level)
{
}

static void setup(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = {};
    machine_lock_init(&f->lock);
    machine_lock(&f->lock);
    f->loop = loop_new(&f->lock, &err);
    clock_use_manual(loop_clocks(f->loop));
    f->root              = object_root_new();
    f->hub               = char_hub_new(f->loop, f->root);
    g_autoptr(Json) json = optstr_parse("msmouse,id=m", "backend", &err);
    f->mouse             = char_create(f->hub, json, true, &err);
    g_assert_nonnull(f->mouse);
    g_assert_true(char_is_msmouse(f->mouse));
    f->pin           = (IrqPin){ .set = ignore_level, .opaque = f };
    f->uart.irq.to   = &f->pin;
    f->uart.baudbase = 115200;
    g_assert_true(uart_realize(&f->uart, f->hub, "m", loop_clocks(f->loop), &err));
    uart_write(&f->uart, FCR, 1);
}

static void teardown(Fixture *f, gconstpointer unused)
{
    uart_unrealize(&f->uart);
    char_hub_free(f->hub);
    object_unref(f->root);
    loop_free(f->loop);
    machine_unlock(&f->lock);
    machine_lock_destroy(&f->lock);
}

/* All that there is to read. */
static GString *heard(Fixture *f)
{
    GString *text = g_string_new(NULL);
    while (uart_read(&f->uart, LSR) & 1) {
        g_assert_cmpuint(text->len, <, 1000);
        g_string_append_c(text, (char)uart_read(&f->uart, DATA));
    }
    return text;
}

static void expect(Fixture *f, const char *bytes, size_t len)
{
    GString *text = heard(f);
    g_assert_cmpmem(text->str, text->len, bytes, len);
    g_string_free(text, true);
}

static void wake(Fixture *f)
{
    uart_write(&f->uart, MCR, 3);
    clock_step(loop_clocks(f->loop), 20 * NS_PER_MS);
    g_string_free(heard(f), true);
}

static void test_identification(Fixture *f, gconstpointer unused)
{
    char_msmouse_move(f->mouse, 5, 5, 0);
    uart_write(&f->uart, MCR, 1); /* DTR alone is half of it */
    clock_step(loop_clocks(f->loop), 100 * NS_PER_MS);
    expect(f, "", 0);
    g_assert_cmphex(uart_read(&f->uart, MSR) & 0xf0, ==, 0x20);
    uart_write(&f->uart, MCR, 3);
    g_assert_cmphex(uart_read(&f->uart, MSR) & 0xf0, ==, 0x30);
    expect(f, "", 0);
    clock_step(loop_clocks(f->loop), 20 * NS_PER_MS);
    GString *text = heard(f);
    g_assert_true(g_str_has_prefix(text->str, "M3(\x01\x24"));
    g_assert_true(g_str_has_suffix(text->str, ")"));
    g_assert_nonnull(strstr(text->str, "\\MOUSE\\PNP0F08\\"));
    /* The checksum: all from '(' to ')' but its own two digits. */
    unsigned sum = 0;
    for (gsize i = 2; i < text->len; i++) {
        g_assert_cmphex((uint8_t)text->str[i], <, 0x80);
        sum += i == text->len - 2 || i == text->len - 3 ? 0 : (uint8_t)text->str[i];
    }
    text->str[text->len - 1] = 0;
    g_assert_cmphex(strtoul(text->str + text->len - 3, NULL, 16), ==, sum & 0xff);
    g_string_free(text, true);

    /* RTS off and on: again. In between it says nothing. */
    uart_write(&f->uart, MCR, 1);
    char_msmouse_move(f->mouse, 5, 5, 0);
    clock_step(loop_clocks(f->loop), 100 * NS_PER_MS);
    expect(f, "", 0);
    uart_write(&f->uart, MCR, 3);
    uart_write(&f->uart, MCR, 1);
    clock_step(loop_clocks(f->loop), 100 * NS_PER_MS);
    expect(f, "", 0);
    uart_write(&f->uart, MCR, 3);
    clock_step(loop_clocks(f->loop), 100 * NS_PER_MS);
    text = heard(f);
    g_assert_true(g_str_has_prefix(text->str, "M3("));
    g_string_free(text, true);

    /* A reset of the machine takes the power away; the loop mode of a driver's test as well. */
    uart_reset(&f->uart);
    uart_write(&f->uart, FCR, 1);
    wake(f);
    uart_write(&f->uart, MCR, 0x13);
    char_msmouse_move(f->mouse, 5, 5, 0);
    uart_write(&f->uart, MCR, 3);
    clock_step(loop_clocks(f->loop), 100 * NS_PER_MS);
    text = heard(f);
    g_assert_true(g_str_has_prefix(text->str, "M3("));
    g_assert_true(g_str_has_suffix(text->str, ")"));
    g_string_free(text, true);
}

static void test_packets(Fixture *f, gconstpointer unused)
{
    static const struct {
        int      dx, dy;
        unsigned buttons;
        char     bytes[8];
        size_t   len;
    } moves[] = {
        { 0, 0, 0, "", 0 },
        { 1, 2, 0, "\x40\x01\x02", 3 },
        { -1, -2, 0, "\x4f\x3f\x3e", 3 },
        { 100, -100, 0, "\x49\x24\x1c", 3 },
        { 0, 0, MSMOUSE_LEFT, "\x60\0\0", 3 },
        { 0, 0, MSMOUSE_LEFT, "", 0 },
        { 3, 0, MSMOUSE_LEFT | MSMOUSE_RIGHT, "\x70\x03\0", 3 },
        { 0, 0, MSMOUSE_MIDDLE, "\x40\0\0\x20", 4 },
        { 1, 0, MSMOUSE_MIDDLE, "\x40\x01\0\x20", 4 },
        { 0, 0, 0, "\x40\0\0\0", 4 },
        { 1, 0, 0xf8, "\x40\x01\0", 3 },
        { 200, 0, 0, "\x41\x3f\0\x41\x09\0", 6 },
    };
    wake(f);
    for (unsigned i = 0; i < G_N_ELEMENTS(moves); i++) {
        g_test_message("move %u", i);
        char_msmouse_move(f->mouse, moves[i].dx, moves[i].dy, moves[i].buttons);
        expect(f, moves[i].bytes, moves[i].len);
    }

    /* A guest that does not read: what it misses adds up, in whole packets. */
    int dx = 0, dy = 0;
    for (int i = 0; i < 1000; i++) {
        char_msmouse_move(f->mouse, 1, i & 1 ? -2 : 1, i & 1);
    }
    GString *text = heard(f);
    g_assert_cmpuint(text->len % 3, ==, 0);
    for (gsize i = 0; i < text->len; i += 3) {
        const uint8_t *p = (const uint8_t *)text->str + i;
        g_assert_true((p[0] & 0x40) && !(p[1] & 0x40) && !(p[2] & 0x40));
        dx += (int8_t)(uint8_t)(p[0] << 6 | p[1]);
        dy += (int8_t)(uint8_t)((p[0] & 0x0c) << 4 | p[2]);
    }
    g_assert_cmpint(dx, ==, 1000);
    g_assert_cmpint(dy, ==, -500);
    g_string_free(text, true);
    char_msmouse_move(f->mouse, INT_MIN, INT_MAX, 0); /* only bounded */
    g_string_free(heard(f), true);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/msmouse/identification", Fixture, NULL, setup, test_identification, teardown);
    g_test_add("/msmouse/packets", Fixture, NULL, setup, test_packets, teardown);
    return g_test_run();
}
