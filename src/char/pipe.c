/* The pipe back end: a pair of FIFOs PATH.in and PATH.out made by the user, or one file PATH for both directions.
 * FIFOs are opened for reading and writing, so that there is no end of file while no other process has them open. */

#include "char/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

typedef struct PipeChar {
    Chardev chr;
    char   *path;
    CharFd  fd;
    int     in, out;
} PipeChar;

static const Field pipe_properties[] = { FIELD(PipeChar, path, "path", .required = true,
                                               .help = "PATH.in and PATH.out are the FIFOs, or PATH is one for both"),
                                         {} };

static void input_ended(Chardev *chr)
{
    char_fd_stop_input(&((PipeChar *)chr)->fd);
    char_event(chr, CHAR_CLOSED);
}

static bool pipe_open(Chardev *chr, Error *err)
{
    PipeChar        *p        = (PipeChar *)chr;
    g_autofree char *in_path  = g_strconcat(p->path, ".in", NULL);
    g_autofree char *out_path = g_strconcat(p->path, ".out", NULL);
    p->in                     = char_hub_open(chr->hub, in_path, O_RDWR | O_NONBLOCK, 0);
    int in_error              = errno;
    p->out                    = char_hub_open(chr->hub, out_path, O_RDWR | O_NONBLOCK, 0);
    if (p->in < 0 || p->out < 0) {
        bool have_in = p->in >= 0, have_out = p->out >= 0;
        int  out_error = errno;
        if (have_in) {
            close(p->in);
        }
        if (have_out) {
            close(p->out);
        }
        if (have_in != have_out || (in_error != ENOENT && !have_in)) {
            return error_set_errno(err, have_in ? out_error : in_error, "%s", have_in ? out_path : in_path);
        }
        p->in = p->out = char_hub_open(chr->hub, p->path, O_RDWR | O_NONBLOCK, 0);
        if (p->in < 0) {
            return error_set_errno(err, errno, "neither %s with %s nor %s can be opened (mkfifo makes them)", in_path,
                                   out_path, p->path);
        }
    }
    char_fd_start(&p->fd, chr, p->in, p->out, input_ended);
    char_event(chr, CHAR_OPENED);
    return true;
}

static void pipe_close(Chardev *chr)
{
    PipeChar *p = (PipeChar *)chr;
    char_fd_stop(&p->fd);
    close(p->in);
    if (p->out != p->in) {
        close(p->out);
    }
}

static ssize_t pipe_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    return char_fd_write(&((PipeChar *)chr)->fd, buf, len);
}

static void pipe_accept_input(Chardev *chr)
{
    char_fd_accept_input(&((PipeChar *)chr)->fd);
}

static int pipe_write_fd(Chardev *chr)
{
    return ((PipeChar *)chr)->out;
}

CHAR_TYPE(pipe) = {
    .name         = "pipe",
    .parent       = "chardev",
    .help         = "a pair of FIFOs",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(PipeChar),
    .properties   = pipe_properties,
    .open         = pipe_open,
    .write        = pipe_write,
    .accept_input = pipe_accept_input,
    .write_fd     = pipe_write_fd,
    .close        = pipe_close,
};
