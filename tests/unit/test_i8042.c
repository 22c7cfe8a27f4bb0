/* The 8042: self test, command byte, keyboard and mouse dialogues, translation, interrupts, A20 and reset. */

#include "devices/input/i8042.h"
#include "devices/input/keys.h"
#include "platform.h"

#include <string.h>

enum { DATA = 0x60, COMMAND = 0x64, FULL = 1, AUX = 0x20 };

typedef struct Rig {
    TestPlatform t;
    TestPin      a20;
    I8042       *kbc;
} Rig;

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    test_pin_init(&r->a20);
    bus_new(BUS_ISA, NULL, NULL, &r->t.p);
    r->kbc = i8042_create(&r->t.p, &r->a20.pin, &err);
    g_assert_nonnull(r->kbc);
    devices_reset(&r->t.p, RESET_COLD);
}

/* Reads a byte that must be there, from the keyboard or the mouse. */
static uint8_t take(Rig *r, bool aux)
{
    uint8_t status = in8(&r->t, COMMAND);
    g_assert_true(status & FULL);
    g_assert_cmpint((status & AUX) != 0, ==, aux);
    return in8(&r->t, DATA);
}

static void expect(Rig *r, bool aux, unsigned n, const uint8_t *bytes)
{
    for (unsigned i = 0; i < n; i++) {
        g_assert_cmphex(take(r, aux), ==, bytes[i]);
    }
    g_assert_false(in8(&r->t, COMMAND) & FULL);
}

#define EXPECT(r, aux, ...) expect(r, aux, sizeof((uint8_t[]){ __VA_ARGS__ }), (uint8_t[]){ __VA_ARGS__ })

static void to_mouse(Rig *r, uint8_t value)
{
    out8(&r->t, COMMAND, 0xd4);
    out8(&r->t, DATA, value);
}

static void set_mode(Rig *r, uint8_t mode)
{
    out8(&r->t, COMMAND, 0x60);
    out8(&r->t, DATA, mode);
}

static void test_controller(void)
{
    Rig r;
    open_rig(&r);
    out8(&r.t, COMMAND, 0xaa);
    EXPECT(&r, false, 0x55);
    out8(&r.t, COMMAND, 0xab);
    EXPECT(&r, false, 0x00);
    out8(&r.t, COMMAND, 0xa9);
    EXPECT(&r, false, 0x00);
    set_mode(&r, 0x47);
    out8(&r.t, COMMAND, 0x20);
    EXPECT(&r, false, 0x47);
    out8(&r.t, COMMAND, 0xa7); /* the mouse's clock is off: its bit shows */
    out8(&r.t, COMMAND, 0x20);
    EXPECT(&r, false, 0x67);
    out8(&r.t, COMMAND, 0xd3); /* loop back as the mouse */
    out8(&r.t, DATA, 0x5a);
    EXPECT(&r, true, 0x5a);
    test_platform_close(&r.t);
}

static void test_keyboard(void)
{
    Rig r;
    open_rig(&r);
    set_mode(&r, 0x01); /* interrupts, no translation */
    out8(&r.t, DATA, 0xff);
    g_assert_cmpint(r.t.isa[1].level, ==, 1);
    EXPECT(&r, false, 0xfa, 0xaa);
    g_assert_cmpint(r.t.isa[1].level, ==, 0);
    out8(&r.t, DATA, 0xf2);
    EXPECT(&r, false, 0xfa, 0xab, 0x83);
    out8(&r.t, DATA, 0xee);
    EXPECT(&r, false, 0xee);
    out8(&r.t, DATA, 0xed);
    EXPECT(&r, false, 0xfa);
    out8(&r.t, DATA, 0x02);
    EXPECT(&r, false, 0xfa);
    out8(&r.t, DATA, 0xf0);
    EXPECT(&r, false, 0xfa);
    out8(&r.t, DATA, 0x00);
    EXPECT(&r, false, 0xfa, 0x02);
    out8(&r.t, DATA, 0x11);
    EXPECT(&r, false, 0xfe);
    set_mode(&r, 0x41); /* translated */
    out8(&r.t, DATA, 0xf2);
    EXPECT(&r, false, 0xfa, 0xab, 0x41);
    test_platform_close(&r.t);
}

static void test_mouse(void)
{
    static const uint8_t knock[] = { 200, 100, 80 };
    Rig                  r;
    open_rig(&r);
    set_mode(&r, 0x03);
    to_mouse(&r, 0xff);
    g_assert_cmpint(r.t.isa[12].level, ==, 1);
    g_assert_cmpint(r.t.isa[1].level, ==, 0);
    EXPECT(&r, true, 0xfa, 0xaa, 0x00);
    to_mouse(&r, 0xf2);
    EXPECT(&r, true, 0xfa, 0x00);
    for (unsigned i = 0; i < G_N_ELEMENTS(knock); i++) {
        to_mouse(&r, 0xf3);
        EXPECT(&r, true, 0xfa);
        to_mouse(&r, knock[i]);
        EXPECT(&r, true, 0xfa);
    }
    to_mouse(&r, 0xf2);
    EXPECT(&r, true, 0xfa, 0x03);
    to_mouse(&r, 0xf4);
    EXPECT(&r, true, 0xfa);
    to_mouse(&r, 0xe9);
    EXPECT(&r, true, 0xfa, 0x20, 2, 80);
    to_mouse(&r, 0xeb);
    EXPECT(&r, true, 0xfa, 0x08, 0, 0, 0);
    test_platform_close(&r.t);
}

static void test_disabled_devices_wait(void)
{
    Rig r;
    open_rig(&r);
    set_mode(&r, 0x00);
    out8(&r.t, DATA, 0xee);
    EXPECT(&r, false, 0xee);
    to_mouse(&r, 0xf2);
    out8(&r.t, COMMAND, 0xa7); /* after its first byte: the rest waits */
    EXPECT(&r, true, 0xfa);
    out8(&r.t, COMMAND, 0xa8);
    EXPECT(&r, true, 0x00);
    for (unsigned i = 0; i < 100; i++) {
        to_mouse(&r, 0xe9); /* more than the queue holds: the surplus is dropped */
    }
    for (unsigned i = 0; i < 100 && (in8(&r.t, COMMAND) & FULL); i++) {
        take(&r, true);
    }
    g_assert_false(in8(&r.t, COMMAND) & FULL);
    test_platform_close(&r.t);
}

static void test_output_port(void)
{
    Rig r;
    open_rig(&r);
    g_assert_cmpint(r.a20.level, ==, 1);
    out8(&r.t, COMMAND, 0xd1);
    out8(&r.t, DATA, 0x01);
    g_assert_cmpint(r.a20.level, ==, 0);
    out8(&r.t, COMMAND, 0xdf);
    g_assert_cmpint(r.a20.level, ==, 1);
    g_assert_cmpuint(r.t.resets, ==, 0);
    out8(&r.t, COMMAND, 0xfe);
    g_assert_cmpuint(r.t.resets, ==, 1);
    out8(&r.t, COMMAND, 0xd1);
    out8(&r.t, DATA, 0x02);
    g_assert_cmpuint(r.t.resets, ==, 2);
    test_platform_close(&r.t);
}

static void test_state(void)
{
    Rig r;
    open_rig(&r);
    GByteArray *fresh = test_saved((Device *)r.kbc);
    set_mode(&r, 0x41);
    out8(&r.t, DATA, 0xf2);
    to_mouse(&r, 0xf2);
    test_save_load((Device *)r.kbc);
    g_assert_cmphex(take(&r, false), ==, 0xfa);
    g_assert_cmphex(take(&r, false), ==, 0xab);
    g_assert_cmphex(take(&r, false), ==, 0x41);
    EXPECT(&r, true, 0xfa, 0x00);
    devices_reset(&r.t.p, RESET_WARM);
    test_reset_is((Device *)r.kbc, fresh);
    test_platform_close(&r.t);
}

/* --- keys that a monitor presses --- */

static uint16_t key(const char *name)
{
    for (unsigned i = 0; key_names[i].name; i++) {
        if (strcmp(key_names[i].name, name) == 0) {
            return key_names[i].code;
        }
    }
    g_error("no key '%s'", name);
}

static bool press(Rig *r, unsigned hold, unsigned n, const char *const *names)
{
    g_auto(Error) err = {};
    uint16_t codes[KEYS_TOGETHER_MAX];
    for (unsigned i = 0; i < n; i++) {
        codes[i] = key(names[i]);
    }
    return r->t.p.send_keys(r->t.p.keyboard, codes, n, hold, &err);
}

#define PRESS(r, hold, ...)                                                                                            \
    press(r, hold, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *), (const char *[]){ __VA_ARGS__ })

static void test_keys(void)
{
    Rig r;
    open_rig(&r);
    /* Scan code set 2, translated by the controller: set 1. */
    g_assert_true(PRESS(&r, 100, "ctrl", "alt", "delete"));
    EXPECT(&r, false, 0x1d, 0x38, 0xe0, 0x53);
    clock_step(r.t.p.clocks, 99 * NS_PER_MS);
    g_assert_false(in8(&r.t, COMMAND) & FULL);
    clock_step(r.t.p.clocks, 1 * NS_PER_MS);
    EXPECT(&r, false, 0xe0, 0xd3, 0xb8, 0x9d);

    /* The next one waits until the first has been let go. */
    g_assert_true(PRESS(&r, 10, "a"));
    g_assert_true(PRESS(&r, 10, "f7"));
    EXPECT(&r, false, 0x1e);
    clock_step(r.t.p.clocks, 10 * NS_PER_MS);
    EXPECT(&r, false, 0x9e, 0x41);
    clock_step(r.t.p.clocks, 10 * NS_PER_MS);
    EXPECT(&r, false, 0xc1);

    /* Not translated: set 2 itself, and set 1 when the guest chooses it. */
    set_mode(&r, 0x05);
    g_assert_true(PRESS(&r, 1, "up"));
    EXPECT(&r, false, 0xe0, 0x75);
    clock_step(r.t.p.clocks, NS_PER_MS);
    EXPECT(&r, false, 0xe0, 0xf0, 0x75);
    g_assert_true(PRESS(&r, 1, "pause"));
    EXPECT(&r, false, 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77);
    clock_step(r.t.p.clocks, NS_PER_MS);
    g_assert_false(in8(&r.t, COMMAND) & FULL);
    out8(&r.t, DATA, 0xf0);
    out8(&r.t, DATA, 0x01);
    EXPECT(&r, false, 0xfa, 0xfa);
    g_assert_true(PRESS(&r, 1, "up"));
    EXPECT(&r, false, 0xe0, 0x48);
    clock_step(r.t.p.clocks, NS_PER_MS);
    EXPECT(&r, false, 0xe0, 0xc8);

    /* A keyboard that is switched off says nothing. */
    out8(&r.t, DATA, 0xf5);
    EXPECT(&r, false, 0xfa);
    g_assert_true(PRESS(&r, 1, "a"));
    g_assert_false(in8(&r.t, COMMAND) & FULL);
    test_platform_close(&r.t);
}

/* Nobody reads: keys wait for room, and are not lost when it comes. */
static void test_keys_wait(void)
{
    static const char *const many[] = {
        "up",     "down",   "left",   "right",  "home",  "end",    "pgup",     "pgdn",
        "insert", "delete", "meta_l", "meta_r", "alt_r", "ctrl_r", "kp_enter", "print"
    };
    Rig      r;
    unsigned downs = 0, ups = 0;
    open_rig(&r);
    g_assert_true(press(&r, 5, G_N_ELEMENTS(many), many));
    unsigned waiting = 1;
    while (press(&r, 0, 1, many)) {
        waiting++;
        g_assert_cmpuint(waiting, <=, KEYS_WAITING_MAX);
    }
    g_assert_cmpuint(waiting, ==, KEYS_WAITING_MAX);
    for (unsigned i = 0; i < 4000; i++) {
        clock_step(r.t.p.clocks, NS_PER_MS);
        while (in8(&r.t, COMMAND) & FULL) {
            uint8_t code = in8(&r.t, DATA);
            downs += code < 0x80;
            ups += code >= 0x80 && code != 0xe0;
        }
    }
    g_assert_cmpuint(downs, ==, G_N_ELEMENTS(many) + KEYS_WAITING_MAX - 1);
    g_assert_cmpuint(ups, ==, downs);

    /* Reset forgets what waits. */
    g_assert_true(PRESS(&r, 50, "a"));
    EXPECT(&r, false, 0x1e);
    devices_reset(&r.t.p, RESET_WARM);
    clock_step(r.t.p.clocks, 100 * NS_PER_MS);
    g_assert_false(in8(&r.t, COMMAND) & FULL);
    test_platform_close(&r.t);
}

static void test_key_names(void)
{
    g_assert_cmphex(key("a"), ==, 0x1e);
    for (unsigned i = 0; key_names[i].name; i++) {
        g_assert_cmpuint(key_names[i].code, <=, KEY_PAUSE);
        for (unsigned k = 0; k < i; k++) {
            g_assert_cmpstr(key_names[i].name, !=, key_names[k].name);
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/i8042/controller", test_controller);
    g_test_add_func("/i8042/keyboard", test_keyboard);
    g_test_add_func("/i8042/mouse", test_mouse);
    g_test_add_func("/i8042/disabled-devices-wait", test_disabled_devices_wait);
    g_test_add_func("/i8042/output-port", test_output_port);
    g_test_add_func("/i8042/state", test_state);
    g_test_add_func("/i8042/keys", test_keys);
    g_test_add_func("/i8042/keys-wait", test_keys_wait);
    g_test_add_func("/i8042/key-names", test_key_names);
    return g_test_run();
}
