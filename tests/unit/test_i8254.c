/* 8254: six modes, reading, BCD, gates and port 61h. Times are in ticks of the timer's clock. */

#include "devices/timer/i8254.h"
#include "platform.h"

typedef struct Rig {
    TestPlatform t;
    TestPin      irq;
    I8254       *pit;
    int64_t      tick;
} Rig;

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    test_pin_init(&r->irq);
    bus_new(BUS_ISA, NULL, NULL, &r->t.p);
    r->pit = i8254_create(&r->t.p, &r->irq.pin, &err);
    g_assert_nonnull(r->pit);
    devices_reset(&r->t.p, RESET_COLD);
    r->tick = 0;
}

static void close_rig(Rig *r)
{
    test_platform_close(&r->t);
}

/* Goes on by n ticks: to the first nanosecond of that tick. */
static void ticks(Rig *r, int64_t n)
{
    r->tick += n;
    int64_t ns = (int64_t)(((unsigned __int128)r->tick * NS_PER_SECOND + I8254_HZ - 1) / I8254_HZ);
    test_step(&r->t, ns - clock_now(r->t.p.clocks, VIRTUAL_CLOCK));
}

/* Control word for LSB then MSB in a binary or BCD mode. */
static void program(Rig *r, unsigned n, unsigned mode, uint16_t count, bool bcd)
{
    out8(&r->t, 0x43, (uint8_t)(n << 6 | 0x30 | mode << 1 | bcd));
    out8(&r->t, (uint16_t)(0x40 + n), (uint8_t)count);
    out8(&r->t, (uint16_t)(0x40 + n), (uint8_t)(count >> 8));
}

static uint8_t status(Rig *r, unsigned n)
{
    out8(&r->t, 0x43, (uint8_t)(0xe0 | 2 << n));
    return in8(&r->t, (uint16_t)(0x40 + n));
}

static unsigned out(Rig *r, unsigned n)
{
    return status(r, n) >> 7;
}

static uint16_t count(Rig *r, unsigned n)
{
    out8(&r->t, 0x43, (uint8_t)(n << 6)); /* latch */
    uint8_t low = in8(&r->t, (uint16_t)(0x40 + n));
    return (uint16_t)(low | in8(&r->t, (uint16_t)(0x40 + n)) << 8);
}

static void gate(Rig *r, unsigned level)
{
    out8(&r->t, 0x61, (uint8_t)level);
}

static void test_mode0(void)
{
    Rig r;
    open_rig(&r);
    program(&r, 0, 0, 10, false);
    g_assert_cmphex(status(&r, 0), ==, 0x70); /* OUT low, null count, both bytes, mode 0 */
    ticks(&r, 1);                             /* loaded */
    g_assert_cmphex(status(&r, 0), ==, 0x30);
    g_assert_cmpuint(count(&r, 0), ==, 10);
    ticks(&r, 9);
    g_assert_cmpuint(count(&r, 0), ==, 1);
    g_assert_cmpuint(r.irq.rises, ==, 0);
    ticks(&r, 1); /* N + 1 after the write */
    g_assert_cmpuint(out(&r, 0), ==, 1);
    g_assert_cmpuint(r.irq.rises, ==, 1);
    ticks(&r, 1);
    g_assert_cmphex(count(&r, 0), ==, 0xffff); /* counts on */
    ticks(&r, 100000);
    g_assert_cmpuint(r.irq.rises, ==, 1);
    program(&r, 0, 0, 5, false);
    g_assert_cmpint(r.irq.level, ==, 0);
    ticks(&r, 3);
    out8(&r.t, 0x40, 20); /* the first byte stops it */
    ticks(&r, 100);
    g_assert_cmpuint(out(&r, 0), ==, 0);
    out8(&r.t, 0x40, 0);
    ticks(&r, 20);
    g_assert_cmpuint(out(&r, 0), ==, 0);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 0), ==, 1);
    /* Gate low holds the count. */
    gate(&r, 1);
    program(&r, 2, 0, 100, false);
    ticks(&r, 11);
    gate(&r, 0);
    ticks(&r, 1000);
    g_assert_cmpuint(count(&r, 2), ==, 90);
    gate(&r, 1);
    ticks(&r, 89);
    g_assert_cmpuint(out(&r, 2), ==, 0);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 2), ==, 1);
    close_rig(&r);
}

static void test_mode1(void)
{
    Rig r;
    open_rig(&r);
    gate(&r, 0);
    program(&r, 2, 1, 8, false);
    ticks(&r, 50);
    g_assert_cmphex(status(&r, 2), ==, 0xf2); /* high, waits for the trigger with a null count */
    gate(&r, 1);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 2), ==, 0);
    ticks(&r, 4);
    gate(&r, 0); /* of no effect */
    gate(&r, 1); /* again from the start */
    ticks(&r, 8);
    g_assert_cmpuint(out(&r, 2), ==, 0);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 2), ==, 1);
    out8(&r.t, 0x42, 3); /* a new count waits for the next trigger */
    out8(&r.t, 0x42, 0);
    gate(&r, 0);
    gate(&r, 1);
    ticks(&r, 3);
    g_assert_cmpuint(out(&r, 2), ==, 0);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 2), ==, 1);
    close_rig(&r);
}

static void test_mode2(void)
{
    Rig r;
    open_rig(&r);
    program(&r, 0, 2, 1000, false);
    ticks(&r, 1);
    g_assert_cmphex(status(&r, 0), ==, 0xb4);
    ticks(&r, 999);
    g_assert_cmpuint(out(&r, 0), ==, 0); /* low for the last tick */
    g_assert_cmpuint(count(&r, 0), ==, 1);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 0), ==, 1);
    g_assert_cmpuint(count(&r, 0), ==, 1000);
    g_assert_cmpuint(r.irq.rises, ==, 1);
    ticks(&r, 5000);
    g_assert_cmpuint(r.irq.rises, ==, 6);
    /* A new count is taken over at the end of the period. */
    ticks(&r, 10);
    out8(&r.t, 0x40, 100);
    out8(&r.t, 0x40, 0);
    g_assert_cmphex(status(&r, 0) & 0x40, ==, 0x40);
    g_assert_cmpuint(count(&r, 0), ==, 990);
    ticks(&r, 990);
    g_assert_cmpuint(r.irq.rises, ==, 7);
    g_assert_cmphex(status(&r, 0) & 0x40, ==, 0);
    ticks(&r, 300);
    g_assert_cmpuint(r.irq.rises, ==, 10);
    /* The gate stops it with OUT high and starts it anew. */
    gate(&r, 1);
    program(&r, 2, 2, 10, false);
    ticks(&r, 10);
    g_assert_cmpuint(out(&r, 2), ==, 0);
    gate(&r, 0);
    g_assert_cmpuint(out(&r, 2), ==, 1);
    ticks(&r, 7);
    gate(&r, 1);
    ticks(&r, 1);
    g_assert_cmpuint(count(&r, 2), ==, 10);
    close_rig(&r);
}

static void test_mode3(void)
{
    Rig r;
    open_rig(&r);
    program(&r, 0, 3, 7, false); /* odd: high for 4, low for 3 */
    ticks(&r, 1);
    static const uint8_t expected[] = { 6, 4, 2, 0, 6, 4, 2 };
    for (int period = 0; period < 2; period++) {
        for (unsigned i = 0; i < 7; i++) {
            g_assert_cmpuint(out(&r, 0), ==, i < 4);
            g_assert_cmpuint(count(&r, 0), ==, expected[i]);
            ticks(&r, 1);
        }
    }
    program(&r, 0, 7, 0, false); /* mode 7 is 3, count 0 is 65536 */
    test_pin_forget(&r.irq);
    ticks(&r, 1 + 65536 * 3);
    g_assert_cmpuint(r.irq.rises, ==, 3);
    g_assert_cmphex(status(&r, 0), ==, 0xbe);
    /* In the middle of the high half, a new count begins with the low half. */
    program(&r, 0, 3, 100, false);
    ticks(&r, 1 + 20);
    out8(&r.t, 0x40, 10);
    out8(&r.t, 0x40, 0);
    ticks(&r, 29);
    g_assert_cmpuint(out(&r, 0), ==, 1);
    test_pin_forget(&r.irq);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 0), ==, 0);
    ticks(&r, 4);
    g_assert_cmpuint(r.irq.rises, ==, 0);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 0), ==, 1);
    g_assert_cmpuint(r.irq.rises, ==, 1);
    close_rig(&r);
}

static void test_mode4_and_5(void)
{
    Rig r;
    open_rig(&r);
    program(&r, 0, 4, 6, false);
    g_assert_cmpuint(out(&r, 0), ==, 1);
    ticks(&r, 6);
    g_assert_cmpuint(out(&r, 0), ==, 1);
    ticks(&r, 1); /* N + 1 after the write, for one tick */
    g_assert_cmpuint(out(&r, 0), ==, 0);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 0), ==, 1);
    ticks(&r, 70000);
    g_assert_cmpuint(r.irq.rises, >=, 1);
    test_pin_forget(&r.irq);
    ticks(&r, 70000); /* once only */
    g_assert_cmpuint(r.irq.rises, ==, 0);

    gate(&r, 0);
    program(&r, 2, 5, 6, false);
    ticks(&r, 20);
    g_assert_cmpuint(out(&r, 2), ==, 1);
    gate(&r, 1);
    ticks(&r, 6);
    g_assert_cmpuint(out(&r, 2), ==, 1);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 2), ==, 0);
    ticks(&r, 1);
    g_assert_cmpuint(out(&r, 2), ==, 1);
    close_rig(&r);
}

static void test_reading(void)
{
    Rig r;
    open_rig(&r);
    program(&r, 0, 2, 0x1234, false);
    ticks(&r, 1);
    out8(&r.t, 0x43, 0x00); /* latch: the first one holds */
    ticks(&r, 5);
    out8(&r.t, 0x43, 0x00);
    g_assert_cmphex(in8(&r.t, 0x40), ==, 0x34);
    g_assert_cmphex(in8(&r.t, 0x40), ==, 0x12);
    g_assert_cmphex(in8(&r.t, 0x40), ==, 0x2f); /* live again */
    g_assert_cmphex(in8(&r.t, 0x40), ==, 0x12);
    out8(&r.t, 0x43, 0xc2); /* read-back of both: status first */
    ticks(&r, 100);
    g_assert_cmphex(in8(&r.t, 0x40), ==, 0xb4);
    g_assert_cmphex(in8(&r.t, 0x40), ==, 0x2f);
    g_assert_cmphex(in8(&r.t, 0x40), ==, 0x12);
    out8(&r.t, 0x43, 0x54); /* counter 1, low byte alone, mode 2 */
    out8(&r.t, 0x41, 0x80);
    ticks(&r, 2);
    g_assert_cmphex(in8(&r.t, 0x41), ==, 0x7f);
    g_assert_cmphex(in8(&r.t, 0x41), ==, 0x7f);
    out8(&r.t, 0x43, 0x64); /* high byte alone */
    out8(&r.t, 0x41, 0x80);
    ticks(&r, 2);
    g_assert_cmphex(in8(&r.t, 0x41), ==, 0x7f);
    g_assert_cmphex(in8(&r.t, 0x43), ==, 0xff); /* the control word cannot be read */
    /* BCD */
    program(&r, 0, 0, 0x0100, true);
    ticks(&r, 2);
    g_assert_cmphex(count(&r, 0), ==, 0x0099);
    ticks(&r, 100);
    g_assert_cmphex(count(&r, 0), ==, 0x9999);
    program(&r, 0, 2, 0, true); /* 10000 */
    test_pin_forget(&r.irq);
    ticks(&r, 30001);
    g_assert_cmpuint(r.irq.rises, ==, 3);
    close_rig(&r);
}

static void test_port61(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, 0x61, 0xff);
    g_assert_cmphex(in8(&r.t, 0x61) & 0xcf, ==, 0x0f);
    uint8_t first = in8(&r.t, 0x61) & 0x10;
    ticks(&r, 18); /* the refresh bit toggles every 15 microseconds */
    g_assert_cmphex(in8(&r.t, 0x61) & 0x10, !=, first);
    program(&r, 2, 0, 10, false);
    g_assert_cmphex(in8(&r.t, 0x61) & 0x20, ==, 0);
    ticks(&r, 11);
    g_assert_cmphex(in8(&r.t, 0x61) & 0x20, ==, 0x20);
    close_rig(&r);
}

/* A second of 100 Hz has 100 beats, as exactly as the divider allows; absurd rates do not hang the machine. */
static void test_rates(void)
{
    Rig r;
    open_rig(&r);
    program(&r, 0, 2, 11932, false);
    test_step(&r.t, 100 * NS_PER_SECOND);
    g_assert_cmpuint(r.irq.rises, ==, 9999); /* 99.9985 Hz */
    program(&r, 0, 2, 2, false);
    test_pin_forget(&r.irq);
    test_step(&r.t, NS_PER_SECOND);
    g_assert_cmpuint(r.irq.rises, >, 1000);
    g_assert_cmpuint(r.irq.rises, <=, 50000);
    close_rig(&r);
}

/* Beats that the guest cannot take come later, and none is lost within a second. */
static void test_late(void)
{
    Rig r;
    open_rig(&r);
    program(&r, 0, 2, 11932, false); /* 100 Hz */
    test_step(&r.t, 105 * NS_PER_MS);
    g_assert_cmpuint(r.irq.rises, ==, 10);
    r.irq.hearing = IRQ_WAITS;
    test_step(&r.t, 200 * NS_PER_MS);
    g_assert_cmpuint(r.irq.rises, ==, 10);
    r.irq.latches = true;
    for (unsigned i = 1; i <= 5; i++) { /* each is taken, and the next one waits: nobody needs the main loop */
        test_pin_take(&r.irq);
        g_assert_cmpuint(r.irq.rises, ==, 10 + i);
    }
    r.irq.latches = false;
    r.irq.hearing = IRQ_HEARS;
    test_step(&r.t, 100 * NS_PER_MS); /* heard at once */
    g_assert_cmpuint(r.irq.rises, ==, 40);
    test_step(&r.t, 100 * NS_PER_MS);
    g_assert_cmpuint(r.irq.rises, ==, 50);
    r.irq.hearing = IRQ_WAITS;
    test_step(&r.t, 900 * NS_PER_MS);
    g_assert_cmpuint(r.irq.rises, ==, 50);
    test_step(&r.t, 4100 * NS_PER_MS); /* it never takes any: old ones are given up, and no others are kept */
    g_assert_cmpuint(r.irq.rises, >=, 440);
    g_assert_cmpuint(r.irq.rises, <=, 460);
    test_pin_forget(&r.irq);
    r.irq.hearing = IRQ_DEAF;
    test_step(&r.t, NS_PER_SECOND);
    g_assert_cmpuint(r.irq.rises, >=, 99);
    g_assert_cmpuint(r.irq.rises, <=, 101);
    close_rig(&r);
}

static void test_state(void)
{
    Rig r;
    open_rig(&r);
    Device     *dev   = (Device *)r.pit;
    GByteArray *fresh = test_saved(dev);
    program(&r, 0, 2, 1000, false);
    gate(&r, 1);
    program(&r, 2, 3, 501, true);
    out8(&r.t, 0x43, 0xc4);
    ticks(&r, 300);
    out8(&r.t, 0x40, 0x55); /* half a count */
    test_save_load(dev);
    test_pin_forget(&r.irq);
    ticks(&r, 701);
    g_assert_cmpuint(r.irq.rises, ==, 1);
    test_reset_is(dev, fresh);
    ticks(&r, 100000);
    g_assert_cmpuint(r.irq.rises, ==, 1);
    close_rig(&r);
}

/* Interrupts that come too fast are put off; that is part of the state. */
static void test_state_put_off(void)
{
    Rig r;
    open_rig(&r);
    program(&r, 0, 3, 3, false);
    for (int i = 0; i < 40; i++) {
        ticks(&r, 7);
        test_save_load((Device *)r.pit);
    }
    close_rig(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8254/mode0", test_mode0);
    g_test_add_func("/i8254/mode1", test_mode1);
    g_test_add_func("/i8254/mode2", test_mode2);
    g_test_add_func("/i8254/mode3", test_mode3);
    g_test_add_func("/i8254/mode4-5", test_mode4_and_5);
    g_test_add_func("/i8254/reading", test_reading);
    g_test_add_func("/i8254/port61", test_port61);
    g_test_add_func("/i8254/rates", test_rates);
    g_test_add_func("/i8254/late", test_late);
    g_test_add_func("/i8254/state", test_state);
    g_test_add_func("/i8254/state/put-off", test_state_put_off);
    return g_test_run();
}
