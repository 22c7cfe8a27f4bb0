/* The pty back end: a new pseudo terminal. It is open while some process has its other side open; the kernel tells
 * when that ends but not when it begins, so a timer looks. Output is dropped while nobody is there. */

#include "char/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define PTY_LOOK_NS (300 * NS_PER_MS)

typedef struct Pty {
    Chardev chr;
    char   *link; /* path= */
    char    name[64];
    int     master;
    bool    linked;
    CharFd  fd;
    Timer   look;
} Pty;

static const Field pty_properties[] = {
    FIELD(Pty, link, "path", .help = "symbolic link to make to the new terminal; removed at the end"), {}
};

static void pty_left(Chardev *chr)
{
    Pty *p = (Pty *)chr;
    char_fd_stop(&p->fd);
    char_event(chr, CHAR_CLOSED);
    timer_set(&p->look, clock_now(loop_clocks(char_hub_loop(chr->hub)), REALTIME_CLOCK) + PTY_LOOK_NS);
}

/* Has somebody opened the other side? */
static bool pty_check(Pty *p)
{
    if (p->chr.is_open) {
        return true;
    }
    struct pollfd fd = { .fd = p->master, .events = POLLIN };
    if (poll(&fd, 1, 0) < 0 || fd.revents & POLLHUP) {
        return false;
    }
    timer_cancel(&p->look);
    char_fd_start(&p->fd, &p->chr, p->master, p->master, pty_left);
    char_event(&p->chr, CHAR_OPENED);
    return true;
}

static void pty_look(void *opaque)
{
    Pty *p = opaque;
    if (!pty_check(p)) {
        timer_set(&p->look, clock_now(loop_clocks(char_hub_loop(p->chr.hub)), REALTIME_CLOCK) + PTY_LOOK_NS);
    }
}

static bool pty_open(Chardev *chr, Error *err)
{
    Pty *p    = (Pty *)chr;
    p->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (p->master < 0) {
        return error_set_errno(err, errno, "no pseudo terminal can be had");
    }
    int slave = -1;
    if (grantpt(p->master) < 0 || unlockpt(p->master) < 0 || ptsname_r(p->master, p->name, sizeof p->name) != 0 ||
        (slave = open(p->name, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
        error_set_errno(err, errno, "no pseudo terminal can be had");
        close(p->master);
        return false;
    }
    struct termios t;
    if (tcgetattr(slave, &t) == 0) {
        cfmakeraw(&t);
        tcsetattr(slave, TCSAFLUSH, &t);
    }
    close(slave);
    if (p->link && symlink(p->name, p->link) < 0) {
        error_set_errno(err, errno, "path=%s: no link to %s can be made", p->link, p->name);
        close(p->master);
        return false;
    }
    p->linked = p->link != NULL;
    p->fd.out = p->fd.in = -1;
    /* Management tools read this line. */
    printf("char device redirected to %s (label %s)\n", p->name, chr->id);
    fflush(stdout);
    timer_init(&p->look, loop_clocks(char_hub_loop(chr->hub)), REALTIME_CLOCK, pty_look, p);
    pty_look(p);
    return true;
}

static void pty_close(Chardev *chr)
{
    Pty *p = (Pty *)chr;
    timer_cancel(&p->look);
    char_fd_stop(&p->fd);
    close(p->master);
    if (p->linked) {
        unlink(p->link);
    }
}

static ssize_t pty_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    Pty *p = (Pty *)chr;
    return pty_check(p) ? char_fd_write(&p->fd, buf, len) : (ssize_t)len;
}

static void pty_accept_input(Chardev *chr)
{
    char_fd_accept_input(&((Pty *)chr)->fd);
}

static int pty_write_fd(Chardev *chr)
{
    return ((Pty *)chr)->master;
}

static char *pty_describe(Chardev *chr)
{
    return g_strdup_printf("pty:%s", ((Pty *)chr)->name);
}

CHAR_TYPE(pty) = {
    .name         = "pty",
    .parent       = "chardev",
    .help         = "a new pseudo terminal, whose name is printed",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(Pty),
    .properties   = pty_properties,
    .open         = pty_open,
    .write        = pty_write,
    .accept_input = pty_accept_input,
    .write_fd     = pty_write_fd,
    .describe     = pty_describe,
    .close        = pty_close,
};
