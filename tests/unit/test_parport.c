/* isa-parallel on a parallel port of the host. The port is a fake: ioctl() is wrapped by the linker, the descriptor is
 * one end of a socket pair, whose other end is the EPP device. */

#include "base/optstr.h"
#include "char/char.h"
#include "platform.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/parport.h>
#include <linux/ppdev.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DATA = 0x378, STATUS = 0x379, CONTROL = 0x37a, EPP_ADDRESS = 0x37b, EPP_DATA = 0x37c };

/* The host's port. */
static struct {
    int      fd; /* 0: none */
    bool     claimed, input;
    int      claim_error, mode, interrupts;
    uint8_t  data, status, control, pins;
    unsigned directions;
} port;

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

static int fake_ioctl(unsigned long request, void *argument)
{
    uint8_t *byte = argument;
    int     *word = argument;
    if (request == PPCLAIM) {
        errno        = port.claim_error;
        port.claimed = !port.claim_error;
        return port.claim_error ? -1 : 0;
    }
    g_assert_true(port.claimed);
    switch (request) {
    case PPRELEASE: port.claimed = false; break;
    case PPSETMODE: port.mode = *word; break;
    case PPRSTATUS: *byte = port.status; break;
    case PPWCONTROL: port.control = *byte; break;
    case PPRDATA: *byte = port.input ? port.pins : port.data; break;
    case PPWDATA: port.data = *byte; break;
    case PPDATADIR:
        port.input = *word;
        port.directions++;
        break;
    case PPCLRIRQ:
        *word           = port.interrupts;
        port.interrupts = 0;
        break;
    default: g_assert_not_reached();
    }
    return 0;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *argument = va_arg(args, void *);
    va_end(args);
    return request == PPCLAIM || (port.claimed && (request >> 8 & 0xff) == PP_IOCTL)
               ? fake_ioctl(request, argument)
               : __real_ioctl(fd, request, argument);
}

typedef struct Rig {
    TestPlatform t;
    Device      *dev;
    int          far; /* the EPP device */
} Rig;

static Chardev *chardev(TestPlatform *t, const char *text, Error *err)
{
    g_autoptr(Json) json = optstr_parse(text, "backend", err);
    return char_create(t->p.chars, json, true, err);
}

static void open_platform(Rig *r)
{
    g_auto(Error) err = {};
    int ends[2];
    port.claim_error = 0;
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), ==, 0);
    test_platform_open(&r->t);
    if (!r->t.p.chars) {
        r->t.p.chars = char_hub_new(r->t.p.loop, r->t.p.objects);
    }
    bus_new(BUS_ISA, NULL, NULL, &r->t.p);
    g_assert_true(char_hub_add_fd(r->t.p.chars, ends[0], 1, NULL, &err));
    close(ends[0]);
    r->far = ends[1];
}

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    open_platform(r);
    g_assert_nonnull(chardev(&r->t, "parport,id=lp,path=/dev/fdset/1", &err));
    g_assert_true(port.claimed);
    g_autoptr(Json) json = optstr_parse("isa-parallel,chardev=lp", "driver", &err);
    r->dev               = device_create(&r->t.p, json, true, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    devices_reset(&r->t.p, RESET_COLD);
}

static void close_rig(Rig *r)
{
    close(r->far);
    test_platform_close(&r->t);
    g_assert_false(port.claimed);
}

static void test_registers(void)
{
    Rig r;
    open_rig(&r);
    g_assert_cmphex(port.control, ==, 0x0c);
    out8(&r.t, DATA, 0x5a);
    g_assert_cmphex(port.data, ==, 0x5a);
    g_assert_cmphex(in8(&r.t, DATA), ==, 0x5a);
    port.status = 0xb8;
    g_assert_cmphex(in8(&r.t, STATUS), ==, 0xb8);
    out8(&r.t, CONTROL, 0x1d);
    g_assert_cmphex(port.control, ==, 0x0d); /* the interrupt is ours to give */
    g_assert_cmphex(in8(&r.t, CONTROL), ==, 0xdd);

    /* Reverse: the pins are read. */
    port.pins = 0x77;
    out8(&r.t, CONTROL, 0x24);
    g_assert_true(port.input);
    g_assert_cmphex(port.control, ==, 0x04);
    g_assert_cmphex(in8(&r.t, DATA), ==, 0x77);
    out8(&r.t, CONTROL, 0x25);
    g_assert_cmpuint(port.directions, ==, 1);
    test_save_load(r.dev);
    devices_reset(&r.t.p, RESET_COLD);
    g_assert_false(port.input);
    g_assert_cmphex(port.control, ==, 0x0c);
    close_rig(&r);
}

static void test_epp(void)
{
    Rig     r;
    uint8_t bytes[16];
    open_rig(&r);

    /* Control must let the hardware have its lines. */
    out8(&r.t, EPP_ADDRESS, 1);
    g_assert_cmpint(read(r.far, bytes, sizeof bytes), ==, -1);
    out8(&r.t, CONTROL, 0x04);
    out8(&r.t, EPP_ADDRESS, 0x11);
    g_assert_cmpint(port.mode, ==, IEEE1284_MODE_EPP | IEEE1284_ADDR);
    g_assert_cmpint(read(r.far, bytes, sizeof bytes), ==, 1);
    g_assert_cmphex(bytes[0], ==, 0x11);
    out32(&r.t, EPP_DATA, 0x44332211);
    g_assert_cmpint(port.mode, ==, IEEE1284_MODE_EPP | IEEE1284_DATA);
    g_assert_cmpint(read(r.far, bytes, sizeof bytes), ==, 4);
    g_assert_cmpmem(bytes, 4, "\x11\x22\x33\x44", 4);
    out16(&r.t, EPP_DATA, 0x6655);
    g_assert_cmpint(read(r.far, bytes, sizeof bytes), ==, 2);

    /* Not while the direction is reverse. */
    out8(&r.t, CONTROL, 0x24);
    out8(&r.t, EPP_DATA, 1);
    g_assert_cmpint(read(r.far, bytes, sizeof bytes), ==, -1);
    g_assert_cmpint(write(r.far, "\x81\x82\x83\x84\x85", 5), ==, 5);
    g_assert_cmphex(in8(&r.t, EPP_DATA), ==, 0x81);
    g_assert_cmphex(in32(&r.t, EPP_DATA), ==, 0x85848382);
    port.status = 0x78;
    g_assert_cmphex(in8(&r.t, STATUS), ==, 0x78);

    /* Nobody answers: ones, and the time-out bit until status is written. */
    g_assert_cmphex(in8(&r.t, EPP_ADDRESS), ==, 0xff);
    g_assert_cmphex(in8(&r.t, STATUS), ==, 0x79);
    test_save_load(r.dev);
    g_assert_cmphex(in8(&r.t, STATUS), ==, 0x79);
    out8(&r.t, STATUS, 1);
    g_assert_cmphex(in8(&r.t, STATUS), ==, 0x78);
    close_rig(&r);
}

static void test_interrupts(void)
{
    Rig r;
    open_rig(&r);
    g_assert_cmpint(write(r.far, "x", 1), ==, 1); /* makes the descriptor readable */
    port.interrupts = 2;
    loop_step(r.t.p.loop, false);
    g_assert_cmpint(port.interrupts, ==, 0);
    g_assert_cmpuint(r.t.isa[7].rises, ==, 0);
    out8(&r.t, CONTROL, 0x1c);
    loop_step(r.t.p.loop, false); /* none: nothing */
    g_assert_cmpuint(r.t.isa[7].rises, ==, 0);
    port.interrupts = 1;
    loop_step(r.t.p.loop, false);
    g_assert_cmpuint(r.t.isa[7].rises, ==, 1);
    close_rig(&r);
}

static void test_refusals(void)
{
    Rig r;
    g_auto(Error) err = {};
    open_platform(&r);
    port.claim_error = EBUSY;
    g_assert_null(chardev(&r.t, "parport,id=lp,path=/dev/fdset/1", &err));
    g_assert_cmpstr(err.text, ==, "path=/dev/fdset/1: the port cannot be claimed: Device or resource busy");
    error_clear(&err);
    port.claim_error = ENOTTY;
    g_assert_null(chardev(&r.t, "parallel,id=lp,path=/dev/fdset/1", &err));
    g_assert_cmpstr(err.text, ==, "path=/dev/fdset/1 is no parallel port (they are named /dev/parport0 and so on)");
    error_clear(&err);
    port.claim_error = 0;
    Chardev *chr     = chardev(&r.t, "parallel,id=lp,path=/dev/fdset/1", &err);
    g_assert_nonnull(chr);
    CharFrontend stream = {};
    g_assert_false(char_attach(&stream, chr, &err));
    g_assert_nonnull(strstr(err.text, "only isa-parallel"));
    error_clear(&err);
    g_assert_null(chardev(&r.t, "mux,id=m,chardev=lp", &err));
    g_assert_nonnull(strstr(err.text, "only isa-parallel"));
    close_rig(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/parport/registers", test_registers);
    g_test_add_func("/parport/epp", test_epp);
    g_test_add_func("/parport/interrupts", test_interrupts);
    g_test_add_func("/parport/refusals", test_refusals);
    return g_test_run();
}
