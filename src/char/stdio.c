/* The stdio back end: this program's terminal, in raw mode, or whatever standard input and output are.
 *
 * The terminal belongs to the process and to whoever started it, so what must be put back is kept in one static place:
 * it is put back at exit, and on signals that end the process, when no CharHub is at hand any more. Standard input
 * and output are opened again where that can be done, because O_NONBLOCK on the inherited descriptors would be seen
 * by every other process that shares them. Main loop, or machine lock held. */

#include "char/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

typedef struct Stdio {
    Chardev        chr;
    bool           signal;
    CharFd         fd;
    int            in, out; /* ours to close unless they are 0 and 1 */
    struct termios raw;
    bool           cooked_echo; /* a monitor wants to see what is typed */
} Stdio;

static const Field stdio_properties[] = {
    FIELD(Stdio, signal, "signal", .initial = true, .help = "Ctrl-C, Ctrl-\\ and Ctrl-Z act on the emulator"), {}
};

/* What to put back when the process ends. */
static struct {
    Stdio                *user; /* NULL: standard input and output are free */
    volatile sig_atomic_t terminal;
    struct termios        cooked;
    int                   flags[2]; /* of descriptors 0 and 1; -1: not changed */
    bool                  at_exit;
} inherited = { .flags = { -1, -1 } };

static void restore_terminal(void)
{
    if (inherited.terminal) {
        inherited.terminal = 0;
        tcsetattr(0, TCSANOW, &inherited.cooked);
    }
    for (int fd = 0; fd < 2; fd++) {
        if (inherited.flags[fd] >= 0) {
            fcntl(fd, F_SETFL, inherited.flags[fd]);
            inherited.flags[fd] = -1;
        }
    }
}

/* The disposition is back at the default by SA_RESETHAND, so that the second one ends the process. */
static void on_fatal_signal(int signal)
{
    restore_terminal();
    raise(signal);
}

static void catch_fatal_signals(void)
{
    static const int fatal[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGSEGV, SIGBUS, SIGILL, SIGABRT };
    for (unsigned i = 0; i < G_N_ELEMENTS(fatal); i++) {
        struct sigaction now;
        if (sigaction(fatal[i], NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL) {
            struct sigaction ours = { .sa_handler = on_fatal_signal, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER) };
            sigaction(fatal[i], &ours, NULL);
        }
    }
}

static void apply_terminal(Stdio *s)
{
    /* From the background this would stop us (SIGTTOU). */
    if (!inherited.terminal || tcgetpgrp(0) != getpgrp()) {
        return;
    }
    struct termios t = s->raw;
    if (s->cooked_echo) {
        t.c_lflag |= inherited.cooked.c_lflag & (ECHO | ECHONL | ICANON | IEXTEN);
        t.c_iflag |= inherited.cooked.c_iflag & ICRNL;
    }
    tcsetattr(0, TCSANOW, &t);
}

static void on_continue(void *opaque, int signal)
{
    if (inherited.user) {
        apply_terminal(inherited.user);
    }
}

/* A descriptor for the same thing with a file description of its own, or the inherited one. */
static int open_again(int fd, int mode)
{
    struct stat st = {};
    if (fstat(fd, &st) == 0 && (isatty(fd) || S_ISFIFO(st.st_mode))) {
        g_autofree char *path  = g_strdup_printf("/proc/self/fd/%d", fd);
        int              again = open(path, mode | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (again >= 0) {
            return again;
        }
    } else if (S_ISREG(st.st_mode)) {
        return fd;
    }
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && !(flags & O_NONBLOCK)) {
        inherited.flags[fd] = flags;
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
    return fd;
}

/* The end of standard input leaves the output as it is. */
static void input_ended(Chardev *chr)
{
    Stdio *s = (Stdio *)chr;
    char_fd_stop_input(&s->fd);
    char_event(chr, CHAR_CLOSED);
}

static bool stdio_open(Chardev *chr, Error *err)
{
    Stdio *s = (Stdio *)chr;
    if (char_hub_stdio_forbidden(chr->hub)) {
        return error_set(err, "standard input and output cannot be used: %s", char_hub_stdio_forbidden(chr->hub));
    }
    if (inherited.user) {
        return error_set(err, "chardev '%s' uses standard input and output already", inherited.user->chr.id);
    }
    inherited.user = s;
    if (!inherited.at_exit) {
        atexit(restore_terminal);
        inherited.at_exit = true;
    }
    loop_on_signal(char_hub_loop(chr->hub), SIGCONT, on_continue, NULL);
    if (isatty(0) && tcgetattr(0, &inherited.cooked) == 0) {
        s->raw = inherited.cooked;
        s->raw.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
        s->raw.c_oflag |= OPOST;
        s->raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN | (s->signal ? 0 : ISIG));
        s->raw.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
        s->raw.c_cflag |= CS8;
        s->raw.c_cc[VMIN]  = 1;
        s->raw.c_cc[VTIME] = 0;
        catch_fatal_signals();
        inherited.terminal = 1;
        apply_terminal(s);
    }
    s->in  = open_again(0, O_RDONLY);
    s->out = open_again(1, O_WRONLY);
    char_fd_start(&s->fd, chr, s->in, s->out, input_ended);
    char_event(chr, CHAR_OPENED);
    return true;
}

static void stdio_close(Chardev *chr)
{
    Stdio *s = (Stdio *)chr;
    char_fd_stop(&s->fd);
    if (s->in > 0) {
        close(s->in);
    }
    if (s->out > 1) {
        close(s->out);
    }
    restore_terminal();
    inherited.user = NULL;
}

static ssize_t stdio_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    return char_fd_write(&((Stdio *)chr)->fd, buf, len);
}

static void stdio_accept_input(Chardev *chr)
{
    char_fd_accept_input(&((Stdio *)chr)->fd);
}

static void stdio_set_echo(Chardev *chr, bool on)
{
    Stdio *s       = (Stdio *)chr;
    s->cooked_echo = on;
    apply_terminal(s);
}

static int stdio_write_fd(Chardev *chr)
{
    return ((Stdio *)chr)->out;
}

CHAR_TYPE(stdio) = {
    .name         = "stdio",
    .parent       = "chardev",
    .help         = "standard input and output; a terminal is put in raw mode",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(Stdio),
    .properties   = stdio_properties,
    .open         = stdio_open,
    .write        = stdio_write,
    .accept_input = stdio_accept_input,
    .set_echo     = stdio_set_echo,
    .write_fd     = stdio_write_fd,
    .close        = stdio_close,
};
