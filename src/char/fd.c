/* The file-descriptor part of a back end. */

#include "char/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { CHUNK = 4096 };

static void input_ready(void *opaque, unsigned events)
{
    CharFd *f    = opaque;
    size_t  room = MIN(char_can_read(f->chr), CHUNK);
    if (!room) {
        f->reading = false;
        loop_watch_set(f->in_source, 0);
        return;
    }
    uint8_t buf[CHUNK];
    ssize_t n = read(f->in, buf, room);
    if (n > 0) {
        char_push(f->chr, buf, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        f->hangup(f->chr);
    }
}

static void output_ready(void *opaque, unsigned events)
{
    CharFd *f = opaque;
    loop_unwatch(f->out_source);
    f->out_source = NULL;
    char_writable(f->chr);
}

void char_fd_start(CharFd *f, Chardev *chr, int in, int out, void (*hangup)(Chardev *chr))
{
    *f = (CharFd){ .chr = chr, .in = in, .out = out, .hangup = hangup };
    if (in >= 0) {
        f->reading   = char_can_read(chr) > 0;
        f->in_source = loop_watch(char_hub_loop(chr->hub), in, f->reading ? LOOP_READ : 0, input_ready, f);
    }
}

void char_fd_stop_input(CharFd *f)
{
    loop_unwatch(f->in_source);
    f->in_source = NULL;
    f->in        = -1;
}

void char_fd_stop(CharFd *f)
{
    char_fd_stop_input(f);
    loop_unwatch(f->out_source);
    f->out_source = NULL;
    f->out        = -1;
}

bool char_fd_active(const CharFd *f)
{
    return f->in_source || f->out >= 0;
}

ssize_t char_fd_write(CharFd *f, const uint8_t *buf, size_t len)
{
    if (f->out < 0) {
        return (ssize_t)len;
    }
    size_t done = 0;
    while (done < len) {
        ssize_t n = write(f->out, buf + done, len - done);
        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && errno == EINTR) {
            continue;
        } else if (n < 0 && errno != EAGAIN) {
            return done ? (ssize_t)done : -1;
        } else {
            if (!f->out_source) {
                f->out_source = loop_watch(char_hub_loop(f->chr->hub), f->out, LOOP_WRITE, output_ready, f);
            }
            break;
        }
    }
    return (ssize_t)done;
}

void char_fd_accept_input(CharFd *f)
{
    if (f->in_source && !f->reading && char_can_read(f->chr)) {
        f->reading = true;
        loop_watch_set(f->in_source, LOOP_READ);
    }
}

int char_fd_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0) {
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    }
    return fd;
}
