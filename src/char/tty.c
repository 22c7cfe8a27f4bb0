/* The serial back end: a serial port (or any other terminal) of the host, whose line follows the guest's. */

#include "char/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

typedef struct Tty {
    Chardev        chr;
    char          *path;
    CharFd         fd;
    int            tty;
    bool           line; /* it has one: null devices and the like do not */
    struct termios before;
} Tty;

static const Field tty_properties[] = {
    FIELD(Tty, path, "path", .required = true, .help = "terminal device, such as /dev/ttyS0"), {}
};

static const struct {
    unsigned baud;
    speed_t  code;
} speeds[] = {
    { 50, B50 },           { 75, B75 },           { 110, B110 },         { 134, B134 },         { 150, B150 },
    { 200, B200 },         { 300, B300 },         { 600, B600 },         { 1200, B1200 },       { 1800, B1800 },
    { 2400, B2400 },       { 4800, B4800 },       { 9600, B9600 },       { 19200, B19200 },     { 38400, B38400 },
    { 57600, B57600 },     { 115200, B115200 },   { 230400, B230400 },   { 460800, B460800 },   { 500000, B500000 },
    { 576000, B576000 },   { 921600, B921600 },   { 1000000, B1000000 }, { 1152000, B1152000 }, { 1500000, B1500000 },
    { 2000000, B2000000 }, { 2500000, B2500000 }, { 3000000, B3000000 }, { 3500000, B3500000 }, { 4000000, B4000000 },
};

static void input_ended(Chardev *chr)
{
    Tty *t = (Tty *)chr;
    if (!t->line) {
        char_fd_stop_input(&t->fd); /* a null device takes on what it is given */
        return;
    }
    char_fd_stop(&t->fd);
    char_event(chr, CHAR_CLOSED);
}

static bool tty_set_line(Chardev *chr, const CharLine *line)
{
    Tty           *t = (Tty *)chr;
    struct termios now;
    if (tcgetattr(t->tty, &now) < 0) {
        return false;
    }
    /* The nearest speed: divisors seldom give the exact one. */
    speed_t  code = B9600;
    uint64_t best = UINT64_MAX;
    for (unsigned i = 0; i < G_N_ELEMENTS(speeds); i++) {
        uint64_t apart = speeds[i].baud > line->baud ? speeds[i].baud - line->baud : line->baud - speeds[i].baud;
        if (apart < best) {
            best = apart;
            code = speeds[i].code;
        }
    }
    cfsetispeed(&now, code);
    cfsetospeed(&now, code);
    now.c_cflag &= ~(tcflag_t)(CSIZE | CSTOPB | PARENB | PARODD | CMSPAR);
    now.c_cflag |= CLOCAL | CREAD;
    now.c_cflag |= line->data_bits == 5 ? CS5 : line->data_bits == 6 ? CS6 : line->data_bits == 7 ? CS7 : CS8;
    now.c_cflag |= line->stop_bits == 2 ? CSTOPB : 0;
    now.c_cflag |= line->parity == 'N' ? 0 : PARENB;
    now.c_cflag |= line->parity == 'O' || line->parity == 'M' ? PARODD : 0;
    now.c_cflag |= line->parity == 'M' || line->parity == 'S' ? CMSPAR : 0;
    return tcsetattr(t->tty, TCSANOW, &now) == 0;
}

static bool tty_open(Chardev *chr, Error *err)
{
    Tty *t = (Tty *)chr;
    t->tty = char_hub_open(chr->hub, t->path, O_RDWR | O_NONBLOCK | O_NOCTTY, 0);
    if (t->tty < 0) {
        return error_set_errno(err, errno, "path=%s", t->path);
    }
    struct stat st = {};
    t->line        = tcgetattr(t->tty, &t->before) == 0;
    if (!t->line && (fstat(t->tty, &st) < 0 || !S_ISCHR(st.st_mode))) {
        error_set(err, "path=%s is no terminal or serial port", t->path);
        close(t->tty);
        return false;
    }
    if (t->line) {
        struct termios raw = t->before;
        cfmakeraw(&raw);
        raw.c_cc[VMIN]  = 1;
        raw.c_cc[VTIME] = 0;
        tcsetattr(t->tty, TCSANOW, &raw);
        tty_set_line(chr, &(CharLine){ .baud = 115200, .parity = 'N', .data_bits = 8, .stop_bits = 1 });
    }
    char_fd_start(&t->fd, chr, t->tty, t->tty, input_ended);
    char_event(chr, CHAR_OPENED);
    return true;
}

static void tty_close(Chardev *chr)
{
    Tty *t = (Tty *)chr;
    char_fd_stop(&t->fd);
    if (t->line) {
        tcsetattr(t->tty, TCSANOW, &t->before);
    }
    close(t->tty);
}

static ssize_t tty_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    return char_fd_write(&((Tty *)chr)->fd, buf, len);
}

static void tty_accept_input(Chardev *chr)
{
    char_fd_accept_input(&((Tty *)chr)->fd);
}

static void tty_set_break(Chardev *chr, bool on)
{
    ioctl(((Tty *)chr)->tty, on ? TIOCSBRK : TIOCCBRK, 0);
}

static bool tty_set_modem(Chardev *chr, unsigned lines)
{
    int bits = 0;
    if (ioctl(((Tty *)chr)->tty, TIOCMGET, &bits) < 0) {
        return false;
    }
    bits &= ~(TIOCM_RTS | TIOCM_DTR);
    bits |= (lines & CHAR_RTS ? TIOCM_RTS : 0) | (lines & CHAR_DTR ? TIOCM_DTR : 0);
    return ioctl(((Tty *)chr)->tty, TIOCMSET, &bits) == 0;
}

static bool tty_get_modem(Chardev *chr, unsigned *lines)
{
    int bits = 0;
    if (ioctl(((Tty *)chr)->tty, TIOCMGET, &bits) < 0) {
        return false;
    }
    *lines = (unsigned)((bits & TIOCM_CTS ? CHAR_CTS : 0) | (bits & TIOCM_CAR ? CHAR_DCD : 0) |
                        (bits & TIOCM_DSR ? CHAR_DSR : 0) | (bits & TIOCM_RI ? CHAR_RI : 0) |
                        (bits & TIOCM_RTS ? CHAR_RTS : 0) | (bits & TIOCM_DTR ? CHAR_DTR : 0));
    return true;
}

static int tty_write_fd(Chardev *chr)
{
    return ((Tty *)chr)->tty;
}

CHAR_TYPE(tty) = {
    .name         = "serial",
    .parent       = "chardev",
    .alias        = "tty",
    .help         = "a serial port of the host",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(Tty),
    .properties   = tty_properties,
    .open         = tty_open,
    .write        = tty_write,
    .accept_input = tty_accept_input,
    .set_line     = tty_set_line,
    .set_break    = tty_set_break,
    .set_modem    = tty_set_modem,
    .get_modem    = tty_get_modem,
    .write_fd     = tty_write_fd,
    .close        = tty_close,
};
