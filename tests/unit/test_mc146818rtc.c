/* MC146818A: calendar, formats, SET and divider, update, alarm and periodic interrupts, lost ticks, CMOS. */

#include "devices/timer/mc146818rtc.h"
#include "platform.h"

typedef struct Rig {
    TestPlatform t;
    TestPin      irq;
    Rtc         *rtc;
} Rig;

enum { Y2024_FEB_28_235950 = 1709164790 };

static void open_rig_at(Rig *r, int64_t start, bool slew)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    test_pin_init(&r->irq);
    bus_new(BUS_ISA, NULL, NULL, &r->t.p);
    RtcSetup setup = { .clock = VIRTUAL_CLOCK, .start = start, .slew = slew };
    r->rtc         = rtc_create(&r->t.p, &setup, &r->irq.pin, &err);
    g_assert_nonnull(r->rtc);
    devices_reset(&r->t.p, RESET_COLD);
}

static void close_rig(Rig *r)
{
    test_platform_close(&r->t);
}

static uint8_t get(Rig *r, uint8_t reg)
{
    out8(&r->t, 0x70, reg);
    return in8(&r->t, 0x71);
}

static void put(Rig *r, uint8_t reg, uint8_t value)
{
    out8(&r->t, 0x70, reg);
    out8(&r->t, 0x71, value);
}

/* "CCYY-MM-DD hh:mm:ss w" as the registers have it, in hexadecimal. */
static void expect_date(Rig *r, const char *text)
{
    g_autofree char *got = g_strdup_printf("%02x%02x-%02x-%02x %02x:%02x:%02x %x", get(r, 0x32), get(r, 9), get(r, 8),
                                           get(r, 7), get(r, 4), get(r, 2), get(r, 0), get(r, 6));
    g_assert_cmpstr(got, ==, text);
}

static void test_calendar(void)
{
    Rig r;
    open_rig_at(&r, Y2024_FEB_28_235950, false);
    expect_date(&r, "2024-02-28 23:59:50 4");
    test_step(&r.t, 10 * NS_PER_SECOND);
    expect_date(&r, "2024-02-29 00:00:00 5");
    test_step(&r.t, 86400 * NS_PER_SECOND - 1);
    expect_date(&r, "2024-02-29 23:59:59 5");
    test_step(&r.t, 1);
    expect_date(&r, "2024-03-01 00:00:00 6");
    g_assert_cmpint(rtc_now(r.rtc), ==, Y2024_FEB_28_235950 + 10 + 86400);
    close_rig(&r);
    open_rig_at(&r, 0, false);
    expect_date(&r, "1970-01-01 00:00:00 5");
    close_rig(&r);
    open_rig_at(&r, -1, false);
    expect_date(&r, "1969-12-31 23:59:59 4");
    close_rig(&r);
    open_rig_at(&r, INT64_C(253402300799), false);
    expect_date(&r, "9999-12-31 23:59:59 6");
    close_rig(&r);
}

static void test_formats(void)
{
    Rig r;
    open_rig_at(&r, Y2024_FEB_28_235950, false);
    put(&r, 11, 0x06); /* binary, 24 hours */
    expect_date(&r, "1418-02-1c 17:3b:32 4");
    put(&r, 11, 0x00); /* BCD, 12 hours */
    expect_date(&r, "2024-02-28 91:59:50 4");
    test_step(&r.t, 10 * NS_PER_SECOND);
    expect_date(&r, "2024-02-29 12:00:00 5"); /* 12 a.m. */
    put(&r, 11, 0x80);
    put(&r, 4, 0x92);  /* 12 p.m. */
    put(&r, 11, 0x00); /* what the registers say is read in the format of now */
    expect_date(&r, "2024-02-29 92:00:00 5");
    put(&r, 11, 0x02);
    expect_date(&r, "2024-02-29 12:00:00 5");
    close_rig(&r);
}

static void test_set(void)
{
    Rig r;
    open_rig_at(&r, Y2024_FEB_28_235950, false);
    test_step(&r.t, NS_PER_SECOND / 4);
    put(&r, 11, 0x92); /* SET; it clears UIE */
    g_assert_cmphex(get(&r, 11), ==, 0x82);
    test_step(&r.t, 30 * NS_PER_SECOND);
    expect_date(&r, "2024-02-28 23:59:50 4"); /* stands */
    static const uint8_t date[][2] = { { 0, 0x30 }, { 2, 0x45 }, { 4, 0x12 },   { 7, 0x31 },
                                       { 8, 0x12 }, { 9, 0x99 }, { 0x32, 0x19 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(date); i++) {
        put(&r, date[i][0], date[i][1]);
    }
    put(&r, 11, 0x02);
    expect_date(&r, "1999-12-31 12:45:30 6");
    test_step(&r.t, NS_PER_SECOND * 3 / 4 - 1); /* the divider ran on: the second's phase stayed */
    expect_date(&r, "1999-12-31 12:45:30 6");
    test_step(&r.t, 1);
    expect_date(&r, "1999-12-31 12:45:31 6");
    /* Divider reset: half a second to the first update. */
    put(&r, 10, 0x76);
    test_step(&r.t, 5 * NS_PER_SECOND + 123);
    expect_date(&r, "1999-12-31 12:45:31 6");
    put(&r, 10, 0x26);
    test_step(&r.t, NS_PER_SECOND / 2 - 1);
    expect_date(&r, "1999-12-31 12:45:31 6");
    test_step(&r.t, 1);
    expect_date(&r, "1999-12-31 12:45:32 6");
    put(&r, 0, 0x59); /* written while it runs */
    expect_date(&r, "1999-12-31 12:45:59 6");
    test_step(&r.t, NS_PER_SECOND);
    expect_date(&r, "1999-12-31 12:46:00 6");
    close_rig(&r);
}

static void test_update(void)
{
    Rig r;
    open_rig_at(&r, Y2024_FEB_28_235950, false);
    g_assert_cmphex(get(&r, 10), ==, 0x26);
    test_step(&r.t, NS_PER_SECOND - 2229000);
    g_assert_cmphex(get(&r, 10), ==, 0x26);
    test_step(&r.t, 2000); /* 244 + 1984 microseconds before the end */
    g_assert_cmphex(get(&r, 10), ==, 0xa6);
    test_step(&r.t, 2227000);
    g_assert_cmphex(get(&r, 10), ==, 0x26);
    g_assert_cmphex(get(&r, 12) & 0x10, ==, 0x10); /* UF without an interrupt */
    g_assert_cmphex(get(&r, 12), ==, 0);
    g_assert_cmpint(clock_next_deadline(r.t.p.clocks, VIRTUAL_CLOCK), ==, -1); /* nothing wakes an idle guest */
    put(&r, 11, 0x12);
    test_step(&r.t, NS_PER_SECOND - 1);
    g_assert_cmpint(r.irq.level, ==, 0);
    test_step(&r.t, 1);
    g_assert_cmpint(r.irq.level, ==, 1);
    test_step(&r.t, 5 * NS_PER_SECOND); /* until C is read there is one */
    g_assert_cmpuint(r.irq.rises, ==, 1);
    g_assert_cmphex(get(&r, 12) & 0x90, ==, 0x90);
    g_assert_cmpint(r.irq.level, ==, 0);
    test_step(&r.t, NS_PER_SECOND);
    g_assert_cmpuint(r.irq.rises, ==, 2);
    g_assert_cmphex(get(&r, 13), ==, 0x80);
    put(&r, 13, 0);
    g_assert_cmphex(get(&r, 13), ==, 0x80);
    close_rig(&r);
}

static void test_alarm(void)
{
    Rig r;
    open_rig_at(&r, Y2024_FEB_28_235950, false);
    put(&r, 1, 0x05);
    put(&r, 3, 0x00);
    put(&r, 5, 0x00);
    put(&r, 11, 0x22);
    test_step(&r.t, 15 * NS_PER_SECOND - 1);
    g_assert_cmpuint(r.irq.rises, ==, 0);
    test_step(&r.t, 1);
    g_assert_cmpuint(r.irq.rises, ==, 1);
    g_assert_cmphex(get(&r, 12) & 0xa0, ==, 0xa0);
    test_step(&r.t, 86399 * NS_PER_SECOND);
    g_assert_cmpuint(r.irq.rises, ==, 1);
    test_step(&r.t, NS_PER_SECOND); /* every day */
    g_assert_cmpuint(r.irq.rises, ==, 2);
    get(&r, 12);
    put(&r, 5, 0xff); /* every hour */
    test_step(&r.t, 3600 * NS_PER_SECOND);
    g_assert_cmpuint(r.irq.rises, ==, 3);
    get(&r, 12);
    put(&r, 3, 0xc0); /* every minute */
    test_step(&r.t, 60 * NS_PER_SECOND);
    g_assert_cmpuint(r.irq.rises, ==, 4);
    get(&r, 12);
    put(&r, 1, 0xff); /* every second */
    test_step(&r.t, NS_PER_SECOND);
    g_assert_cmpuint(r.irq.rises, ==, 5);
    get(&r, 12);
    put(&r, 3, 0x77); /* never */
    test_step(&r.t, 90000 * NS_PER_SECOND);
    g_assert_cmpuint(r.irq.rises, ==, 5);
    /* Without AIE the flag comes all the same. */
    put(&r, 11, 0x02);
    put(&r, 3, 0xff);
    get(&r, 12);
    test_step(&r.t, NS_PER_SECOND);
    g_assert_cmphex(get(&r, 12) & 0x20, ==, 0x20);
    close_rig(&r);
}

/* Acknowledges each interrupt as it comes; returns how many there were. */
static unsigned count_interrupts(Rig *r, int64_t ns, int64_t step)
{
    unsigned n = 0;
    for (int64_t done = 0; done < ns; done += step) {
        test_step(&r->t, step);
        for (; r->irq.level && n < 100000; n++) {
            get(r, 12);
        }
    }
    return n;
}

static void test_periodic(void)
{
    Rig r;
    open_rig_at(&r, Y2024_FEB_28_235950, false);
    static const struct {
        uint8_t  rate;
        unsigned per_second;
    } rates[] = { { 1, 256 }, { 2, 128 }, { 3, 8192 }, { 6, 1024 }, { 15, 2 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(rates); i++) {
        put(&r, 10, 0x20 | rates[i].rate);
        put(&r, 11, 0x42);
        get(&r, 12);
        g_assert_cmpuint(count_interrupts(&r, NS_PER_SECOND, 20000), ==, rates[i].per_second);
    }
    put(&r, 10, 0x20);
    g_assert_cmpuint(count_interrupts(&r, NS_PER_SECOND, NS_PER_SECOND / 4), ==, 0);
    put(&r, 10, 0x26); /* late: what was missed is gone */
    get(&r, 12);
    g_assert_cmpuint(count_interrupts(&r, NS_PER_SECOND, NS_PER_SECOND / 4), ==, 4);
    put(&r, 11, 0x02);
    test_step(&r.t, NS_PER_SECOND);
    g_assert_cmphex(get(&r, 12) & 0xc0, ==, 0x40); /* PF without PIE */
    close_rig(&r);
}

static void test_slew(void)
{
    Rig r;
    open_rig_at(&r, Y2024_FEB_28_235950, true);
    put(&r, 10, 0x26);
    put(&r, 11, 0x42);
    get(&r, 12);
    g_assert_cmpuint(count_interrupts(&r, NS_PER_SECOND, NS_PER_SECOND / 4), ==, 1024);
    test_step(&r.t, 3600 * NS_PER_SECOND); /* an hour late: ten seconds are made up for */
    unsigned n = count_interrupts(&r, 1, 1);
    g_assert_cmpuint(n, >=, 10240);
    g_assert_cmpuint(n, <=, 10242);
    test_step(&r.t, NS_PER_SECOND);
    put(&r, 11, 0x02); /* no longer wanted: no longer owed */
    put(&r, 11, 0x42);
    g_assert_cmpuint(count_interrupts(&r, 1, 1), <=, 1);
    close_rig(&r);
}

static void test_cmos(void)
{
    Rig r;
    open_rig_at(&r, 0, false);
    rtc_set_cmos(r.rtc, 0x34, 0x12);
    g_assert_cmphex(get(&r, 0x34), ==, 0x12);
    put(&r, 0x34 | 0x80, 0x56); /* NMI off, the same byte */
    g_assert_cmphex(rtc_get_cmos(r.rtc, 0x34), ==, 0x56);
    g_assert_cmphex(in8(&r.t, 0x70), ==, 0xff);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_cmphex(get(&r, 0x34), ==, 0x56);
    close_rig(&r);
}

static void test_state(void)
{
    Rig r;
    open_rig_at(&r, Y2024_FEB_28_235950, false);
    Device *dev = (Device *)r.rtc;
    put(&r, 11, 0x72);
    put(&r, 1, 0x07);
    test_step(&r.t, 2 * NS_PER_SECOND + 12345678);
    get(&r, 12);
    test_save_load(dev);
    test_pin_forget(&r.irq);
    test_step(&r.t, NS_PER_SECOND / 1000);
    g_assert_cmpuint(r.irq.rises, ==, 1);
    expect_date(&r, "2024-02-28 23:59:52 4");
    device_type(dev)->reset(dev, RESET_WARM); /* interrupts off, time goes on */
    g_assert_cmphex(get(&r, 11), ==, 0x02);
    g_assert_cmpint(r.irq.level, ==, 0);
    expect_date(&r, "2024-02-28 23:59:52 4");
    close_rig(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/rtc/calendar", test_calendar);
    g_test_add_func("/rtc/formats", test_formats);
    g_test_add_func("/rtc/set", test_set);
    g_test_add_func("/rtc/update", test_update);
    g_test_add_func("/rtc/alarm", test_alarm);
    g_test_add_func("/rtc/periodic", test_periodic);
    g_test_add_func("/rtc/slew", test_slew);
    g_test_add_func("/rtc/cmos", test_cmos);
    g_test_add_func("/rtc/state", test_state);
    return g_test_run();
}
