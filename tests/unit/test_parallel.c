/* isa-parallel: bytes on strobe, status, back-pressure, interrupts, state. */

#include "base/optstr.h"
#include "char/char.h"
#include "platform.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATA = 0x378, STATUS = 0x379, CONTROL = 0x37a };

typedef struct Rig {
    TestPlatform t;
    Device      *dev;
    int          far; /* the printer's end */
} Rig;

static Chardev *chardev(TestPlatform *t, const char *text)
{
    g_auto(Error) err    = {};
    g_autoptr(Json) json = optstr_parse(text, "backend", &err);
    return char_create(t->p.chars, json, true, &err);
}

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    int ends[2];
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), ==, 0);
    test_platform_open(&r->t);
    if (!r->t.p.chars) {
        r->t.p.chars = char_hub_new(r->t.p.loop, r->t.p.objects);
    }
    bus_new(BUS_ISA, NULL, NULL, &r->t.p);
    g_autofree char *text = g_strdup_printf("socket,id=lp,fd=%d", ends[0]);
    g_assert_nonnull(chardev(&r->t, text));
    g_autoptr(Json) json = optstr_parse("isa-parallel,chardev=lp", "driver", &err);
    r->dev               = device_create(&r->t.p, json, true, &err);
    g_assert_nonnull(r->dev);
    r->far = ends[1];
    devices_reset(&r->t.p, RESET_COLD);
}

static void print(Rig *r, uint8_t c)
{
    out8(&r->t, DATA, c);
    out8(&r->t, CONTROL, 0x0d);
    out8(&r->t, CONTROL, 0x0c);
}

static void close_rig(Rig *r)
{
    close(r->far);
    test_platform_close(&r->t);
}

static void test_print(void)
{
    Rig  r;
    char text[8] = {};
    open_rig(&r);
    g_assert_cmphex(in8(&r.t, STATUS), ==, 0xdf);
    g_assert_cmphex(in8(&r.t, CONTROL), ==, 0xcc);
    print(&r, 'h');
    print(&r, 'i');
    out8(&r.t, CONTROL, 0x0d);
    out8(&r.t, CONTROL, 0x0d); /* strobe stays: nothing new */
    g_assert_cmpint(read(r.far, text, sizeof text), ==, 3);
    g_assert_cmpstr(text, ==, "hii");
    g_assert_cmpuint(r.t.isa[7].rises, ==, 0);
    out8(&r.t, CONTROL, 0x1c);
    out8(&r.t, CONTROL, 0x1d);
    g_assert_cmpuint(r.t.isa[7].rises, ==, 1);
    close_rig(&r);
}

static void test_busy(void)
{
    Rig     r;
    uint8_t sink[65536];
    open_rig(&r);
    for (unsigned i = 0; i < 10000000 && (in8(&r.t, STATUS) & 0x80); i++) {
        print(&r, 'x');
    }
    g_assert_cmphex(in8(&r.t, STATUS) & 0x80, ==, 0); /* the pipe is full: busy, nothing is lost */
    test_save_load(r.dev);
    while (read(r.far, sink, sizeof sink) > 0) {
    }
    for (unsigned i = 0; i < 1000 && !(in8(&r.t, STATUS) & 0x80); i++) {
        loop_step(r.t.p.loop, false);
    }
    g_assert_cmphex(in8(&r.t, STATUS) & 0x80, ==, 0x80);
    close_rig(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/parallel/print", test_print);
    g_test_add_func("/parallel/busy", test_busy);
    return g_test_run();
}
