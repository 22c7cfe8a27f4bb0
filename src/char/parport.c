/* The parallel back end: a parallel port of the host, register by register, for a guest's isa-parallel.
 * Specification: Linux, Documentation/driver-api/parport-lowlevel.rst and the ppdev ioctls; IEEE 1284-1994 for EPP.
 * Main loop, or machine lock held. */

#include "char/char.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/parport.h>
#include <linux/ppdev.h>
#include <sys/ioctl.h>
#include <unistd.h>

typedef struct Parport {
    Chardev chr;
    char   *path;
    int     fd;
    int     mode; /* what read() and write() do: IEEE1284_MODE_* */
    bool    reverse;
    Source *interrupts;
} Parport;

static const Field parport_properties[] = {
    FIELD(Parport, path, "path", .required = true, .help = "parallel port, such as /dev/parport0"), {}
};

/* The driver counts interrupts and is readable while there are any. */
static void interrupted(void *opaque, unsigned events)
{
    Parport *p = opaque;
    int      n = 0;
    if (ioctl(p->fd, PPCLRIRQ, &n) < 0) {
        loop_watch_set(p->interrupts, 0); /* the port is gone */
    } else if (n > 0) {
        char_event(&p->chr, CHAR_INTERRUPT);
    }
}

static bool parport_open(Chardev *chr, Error *err)
{
    Parport *p = (Parport *)chr;
    p->fd      = char_hub_open(chr->hub, p->path, O_RDWR | O_NONBLOCK, 0);
    if (p->fd < 0) {
        return error_set_errno(err, errno, "path=%s", p->path);
    }
    if (ioctl(p->fd, PPCLAIM) < 0) {
        if (errno == ENOTTY || errno == EINVAL) {
            error_set(err, "path=%s is no parallel port (they are named /dev/parport0 and so on)", p->path);
        } else {
            error_set_errno(err, errno, "path=%s: the port cannot be claimed", p->path);
        }
        close(p->fd);
        return false;
    }
    p->mode       = IEEE1284_MODE_COMPAT;
    p->interrupts = loop_watch(char_hub_loop(chr->hub), p->fd, LOOP_READ, interrupted, p);
    char_event(chr, CHAR_OPENED);
    return true;
}

static void parport_close(Chardev *chr)
{
    Parport *p = (Parport *)chr;
    loop_unwatch(p->interrupts);
    ioctl(p->fd, PPRELEASE);
    close(p->fd);
}

/* The lines are the guest's to set; the direction has a call of its own. */
static bool write_control(Parport *p, uint8_t value)
{
    bool reverse = value & CHAR_PORT_REVERSE;
    int  into    = reverse;
    if (reverse != p->reverse && ioctl(p->fd, PPDATADIR, &into) < 0) {
        return false;
    }
    p->reverse = reverse;
    uint8_t lines =
        value & (PARPORT_CONTROL_STROBE | PARPORT_CONTROL_AUTOFD | PARPORT_CONTROL_INIT | PARPORT_CONTROL_SELECT);
    return ioctl(p->fd, PPWCONTROL, &lines) == 0;
}

/* Cycles of the port's hardware; the guest has done the negotiation, if there is any, by itself. */
static bool epp(Parport *p, bool address, bool out, uint8_t *value)
{
    int mode = IEEE1284_MODE_EPP | (address ? IEEE1284_ADDR : IEEE1284_DATA);
    if (mode != p->mode) {
        if (ioctl(p->fd, PPSETMODE, &mode) < 0) {
            return false;
        }
        p->mode = mode;
    }
    return (out ? write(p->fd, value, 1) : read(p->fd, value, 1)) == 1;
}

static bool parport_port(Chardev *chr, CharPort what, uint8_t *value)
{
    Parport *p = (Parport *)chr;
    switch (what) {
    case CHAR_PORT_READ_DATA: return ioctl(p->fd, PPRDATA, value) == 0;
    case CHAR_PORT_WRITE_DATA: return ioctl(p->fd, PPWDATA, value) == 0;
    case CHAR_PORT_READ_STATUS: return ioctl(p->fd, PPRSTATUS, value) == 0;
    case CHAR_PORT_WRITE_CONTROL: return write_control(p, *value);
    case CHAR_PORT_READ_EPP_ADDRESS: return epp(p, true, false, value);
    case CHAR_PORT_WRITE_EPP_ADDRESS: return epp(p, true, true, value);
    case CHAR_PORT_READ_EPP_DATA: return epp(p, false, false, value);
    case CHAR_PORT_WRITE_EPP_DATA: return epp(p, false, true, value);
    }
    return false;
}

static char *parport_describe(Chardev *chr)
{
    return g_strdup_printf("parallel:%s", ((Parport *)chr)->path);
}

CHAR_TYPE(parport) = {
    .name       = "parallel",
    .parent     = "chardev",
    .alias      = "parport",
    .help       = "a parallel port of the host, for isa-parallel",
    .class      = OBJECT_CLASS_CHARDEV,
    .size       = sizeof(Parport),
    .properties = parport_properties,
    .open       = parport_open,
    .port       = parport_port,
    .describe   = parport_describe,
    .close      = parport_close,
};
