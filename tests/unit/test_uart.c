/* The 16550A's registers, on one end of a socket pair. */

#include "devices/char/uart.h"

#include "base/optstr.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCR, FCR = IIR };

typedef struct Fixture {
    MachineLock lock;
    Loop       *loop;
    Object     *root;
    CharHub    *hub;
    int         peer;
    int         level;
    IrqPin      pin;
    Uart        uart;
} Fixture;

static void set_level(void *opaque, int n, int level)
{
    ((Fixture *)opaque)->level = level;
}

static void setup(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = {};
    machine_lock_init(&f->lock);
    machine_lock(&f->lock);
    f->loop = loop_new(&f->lock, &err);
    clock_use_manual(loop_clocks(f->loop));
    f->root = object_root_new();
    f->hub  = char_hub_new(f->loop, f->root);
    int pair[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    f->peer                  = pair[1];
    g_autofree char *options = g_strdup_printf("backend=socket,id=c,fd=%d", pair[0]);
    g_autoptr(Json) json     = optstr_parse(options, NULL, &err);
    g_assert_nonnull(char_create(f->hub, json, true, &err));
    f->pin           = (IrqPin){ .set = set_level, .opaque = f };
    f->uart.irq.to   = &f->pin;
    f->uart.baudbase = 115200;
    g_assert_true(uart_realize(&f->uart, f->hub, "c", loop_clocks(f->loop), &err));
}

static void teardown(Fixture *f, gconstpointer unused)
{
    uart_unrealize(&f->uart);
    close(f->peer);
    char_hub_free(f->hub);
    object_unref(f->root);
    loop_free(f->loop);
    machine_unlock(&f->lock);
    machine_lock_destroy(&f->lock);
}

static void type(Fixture *f, const char *text, size_t len)
{
    g_assert_cmpint(write(f->peer, text, len), ==, (ssize_t)len);
    for (int i = 0; i < 4; i++) {
        loop_step(f->loop, false);
    }
}

#define EXPECT(reg, value) g_assert_cmphex(uart_read(&f->uart, reg), ==, value)
#define SET(reg, value)    uart_write(&f->uart, reg, value)

static void test_reset(Fixture *f, gconstpointer unused)
{
    EXPECT(IER, 0);
    EXPECT(IIR, 0x01);
    EXPECT(LCR, 0);
    EXPECT(MCR, 0);
    EXPECT(LSR, 0x60);
    EXPECT(MSR, 0xb0);
    SET(SCR, 0x5a);
    EXPECT(SCR, 0x5a);
    SET(IER, 0xff);
    EXPECT(IER, 0x0f);
    SET(LCR, 0x83);
    EXPECT(DATA, 12);
    EXPECT(IER, 0);
    SET(DATA, 1);
    SET(IER, 2);
    EXPECT(DATA, 1);
    EXPECT(IER, 2);
    SET(LCR, 0x03);
    EXPECT(IER, 0x0f);
    uart_reset(&f->uart);
    EXPECT(IER, 0);
    g_assert_cmpint(f->level, ==, 0);
}

static void test_transmit(Fixture *f, gconstpointer unused)
{
    char buf[4];
    SET(DATA, 'x');
    EXPECT(LSR, 0x60);
    g_assert_cmpint(read(f->peer, buf, sizeof buf), ==, 1);
    g_assert_cmpint(buf[0], ==, 'x');

    /* The interrupt comes when it is enabled, and goes with a look at IIR. */
    g_assert_cmpint(f->level, ==, 0);
    SET(IER, 0x02);
    g_assert_cmpint(f->level, ==, 1);
    EXPECT(IIR, 0x02);
    g_assert_cmpint(f->level, ==, 0);
    EXPECT(IIR, 0x01);
    SET(IER, 0x02);
    EXPECT(IIR, 0x01);
    SET(IER, 0x00);
    SET(IER, 0x02);
    EXPECT(IIR, 0x02); /* Linux tests for this one */
    SET(DATA, 'y');
    g_assert_cmpint(f->level, ==, 1);
    EXPECT(IIR, 0x02);
}

/* Bytes after the first wait a little for each other; nothing overtakes them, and closing sends them. */
static void test_gathered(Fixture *f, gconstpointer unused)
{
    char buf[64];
    for (unsigned i = 0; i < 20; i++) {
        SET(DATA, (uint8_t)('a' + i));
    }
    ssize_t got = recv(f->peer, buf, sizeof buf, MSG_DONTWAIT); /* a machine that stops now has sent more than one */
    g_assert_cmpint(got, >=, 1);
    gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
    while (got < 20 && g_get_monotonic_time() < end) {
        loop_step(f->loop, false);
        ssize_t n = recv(f->peer, buf + got, sizeof buf - (size_t)got, MSG_DONTWAIT);
        got += n > 0 ? n : 0;
    }
    g_assert_cmpint(got, ==, 20);
    g_assert_cmpint(memcmp(buf, "abcdefghijklmnopqrst", 20), ==, 0);

    SET(DATA, '1');
    SET(DATA, '2');
    SET(LCR, 0x03); /* other bits of the line: what was sent goes first */
    g_assert_cmpint(recv(f->peer, buf, sizeof buf, MSG_DONTWAIT), ==, 2);
    SET(DATA, '3');
    uart_unrealize(&f->uart);
    g_assert_cmpint(recv(f->peer, buf, sizeof buf, MSG_DONTWAIT), ==, 1);
    g_auto(Error) err = {};
    g_assert_true(uart_realize(&f->uart, f->hub, "c", loop_clocks(f->loop), &err));
}

/* While the other side takes nothing the transmitter is busy. */
static void test_back_pressure(Fixture *f, gconstpointer unused)
{
    SET(FCR, 0x01);
    SET(IER, 0x02);
    EXPECT(IIR, 0xc2);
    size_t sent = 0;
    while (uart_read(&f->uart, LSR) & 0x20) {
        SET(DATA, (uint8_t)sent++);
        g_assert_cmpuint(sent, <, 10000000);
    }
    EXPECT(LSR, 0x00);
    for (int i = 1; i < 16; i++) {
        SET(DATA, (uint8_t)sent++);
    }
    uart_read(&f->uart, IIR);
    EXPECT(IIR, 0xc1);
    uint8_t buf[4096];
    for (size_t got = 0; got < sent;) {
        ssize_t n = recv(f->peer, buf, sizeof buf, MSG_DONTWAIT);
        for (ssize_t i = 0; i < n; i++) {
            g_assert_cmpuint(buf[i], ==, (uint8_t)(got + (size_t)i));
        }
        got += n > 0 ? (size_t)n : 0;
        loop_step(f->loop, false);
    }
    EXPECT(LSR, 0x60);
    EXPECT(IIR, 0xc2);
}

static void test_receive(Fixture *f, gconstpointer unused)
{
    type(f, "ab", 2);
    EXPECT(LSR, 0x61);
    g_assert_cmpint(f->level, ==, 0);
    SET(IER, 0x01);
    g_assert_cmpint(f->level, ==, 1);
    EXPECT(IIR, 0x04);
    EXPECT(DATA, 'a');
    g_assert_cmpint(f->level, ==, 0); /* without queues the second one waits outside */
    loop_step(f->loop, false);
    g_assert_cmpint(f->level, ==, 1);
    EXPECT(DATA, 'b');
    EXPECT(DATA, 0);
    EXPECT(IIR, 0x01);
}

static void test_trigger_and_timeout(Fixture *f, gconstpointer unused)
{
    SET(LCR, 0x83);
    SET(DATA, 1); /* 115200 */
    SET(IER, 0);
    SET(LCR, 0x03);
    SET(FCR, 0x47); /* trigger at 4 */
    SET(IER, 0x05);
    type(f, "abc", 3);
    EXPECT(IIR, 0xc1);
    EXPECT(LSR, 0x61);
    clock_step(loop_clocks(f->loop), 4 * 10 * NS_PER_SECOND / 115200 - 1000);
    EXPECT(IIR, 0xc1);
    clock_step(loop_clocks(f->loop), 2000);
    EXPECT(IIR, 0xcc);
    g_assert_cmpint(f->level, ==, 1);
    EXPECT(DATA, 'a');
    EXPECT(IIR, 0xc1);
    type(f, "d", 1);
    EXPECT(IIR, 0xc1);
    type(f, "e", 1);
    EXPECT(IIR, 0xc4);
    SET(FCR, 0x43);
    EXPECT(IIR, 0xc1);
    EXPECT(LSR, 0x60);
    clock_step(loop_clocks(f->loop), NS_PER_SECOND);
    EXPECT(IIR, 0xc1);

    /* 16 fit; the rest waits in the socket. */
    type(f, "0123456789abcdefXYZ", 19);
    for (const char *p = "0123456789abcdef"; *p; p++) {
        EXPECT(DATA, *p);
    }
    loop_step(f->loop, false);
    EXPECT(DATA, 'X');
}

static void test_break_and_priority(Fixture *f, gconstpointer unused)
{
    SET(FCR, 0x01);
    SET(IER, 0x0f);
    char_event(f->uart.fe.chr, CHAR_BREAK);
    type(f, "h", 1);
    EXPECT(IIR, 0xc6);
    EXPECT(LSR, 0xf1);
    EXPECT(LSR, 0x61);
    EXPECT(IIR, 0xc4);
    EXPECT(DATA, 0);
    EXPECT(DATA, 'h');
    EXPECT(IIR, 0xc2);
    SET(MCR, 0x10); /* all inputs drop in the loop */
    EXPECT(IIR, 0xc0);
    EXPECT(MSR, 0x0b);
    EXPECT(MSR, 0x00);
    EXPECT(IIR, 0xc1);
}

/* A break that comes before the last character was read waits for its turn. */
static void test_early_break(Fixture *f, gconstpointer unused)
{
    type(f, "a", 1);
    char_event(f->uart.fe.chr, CHAR_BREAK);
    type(f, "b", 1);
    EXPECT(LSR, 0x61);
    EXPECT(DATA, 'a');
    EXPECT(LSR, 0x71);
    EXPECT(DATA, 0);
    loop_step(f->loop, false);
    EXPECT(LSR, 0x61);
    EXPECT(DATA, 'b');
}

static void test_loop(Fixture *f, gconstpointer unused)
{
    SET(MCR, 0x1a);
    g_assert_cmphex(uart_read(&f->uart, MSR) & 0xf0, ==, 0x90); /* as Linux looks for a UART */
    SET(MCR, 0x1f);
    uart_read(&f->uart, MSR);
    SET(MCR, 0x1b);
    EXPECT(MSR, 0xb4); /* the ring ends */
    SET(MCR, 0x10);
    SET(DATA, 'q');
    EXPECT(LSR, 0x61);
    SET(DATA, 'r');
    EXPECT(LSR, 0x63); /* overrun */
    EXPECT(LSR, 0x61);
    EXPECT(DATA, 'r');
    char c;
    g_assert_cmpint(recv(f->peer, &c, 1, MSG_DONTWAIT), ==, -1);
    SET(LCR, 0x43);
    EXPECT(LSR, 0x71);
    EXPECT(DATA, 0);
    SET(LCR, 0x03);
    type(f, "x", 1);
    EXPECT(LSR, 0x60);
    SET(MCR, 0x00);
    loop_step(f->loop, false);
    EXPECT(LSR, 0x61);
    EXPECT(DATA, 'x');
}

#define TEST(name, function) g_test_add("/uart/" name, Fixture, NULL, setup, function, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("reset", test_reset);
    TEST("transmit", test_transmit);
    TEST("gathered", test_gathered);
    TEST("back-pressure", test_back_pressure);
    TEST("receive", test_receive);
    TEST("trigger", test_trigger_and_timeout);
    TEST("break", test_break_and_priority);
    TEST("early-break", test_early_break);
    TEST("loop", test_loop);
    return g_test_run();
}
