/* The file back end: output goes to a file; input may come from another one. */

#include "char/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

typedef struct FileChar {
    Chardev chr;
    char   *path, *input_path;
    bool    append;
    CharFd  fd;
    int     in, out;
} FileChar;

static const Field file_properties[] = { FIELD(FileChar, path, "path", .required = true, .help = "file to write to"),
                                         FIELD(FileChar, input_path, "input-path", .help = "file to read from"),
                                         FIELD(FileChar, append, "append", .help = "keep what is in the file already"),
                                         {} };

static void input_ended(Chardev *chr)
{
    char_fd_stop_input(&((FileChar *)chr)->fd);
}

static bool file_open(Chardev *chr, Error *err)
{
    FileChar *f = (FileChar *)chr;
    f->in       = -1;
    f->out      = char_hub_open(chr->hub, f->path, O_WRONLY | O_CREAT | (f->append ? O_APPEND : O_TRUNC), 0666);
    if (f->out < 0) {
        return error_set_errno(err, errno, "path=%s", f->path);
    }
    if (f->input_path) {
        f->in = char_hub_open(chr->hub, f->input_path, O_RDONLY | O_NONBLOCK, 0);
        if (f->in < 0) {
            error_set_errno(err, errno, "input-path=%s", f->input_path);
            close(f->out);
            return false;
        }
    }
    char_fd_start(&f->fd, chr, f->in, f->out, input_ended);
    char_event(chr, CHAR_OPENED);
    return true;
}

static void file_close(Chardev *chr)
{
    FileChar *f = (FileChar *)chr;
    char_fd_stop(&f->fd);
    close(f->out);
    if (f->in >= 0) {
        close(f->in);
    }
}

static ssize_t file_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    return char_fd_write(&((FileChar *)chr)->fd, buf, len);
}

static void file_accept_input(Chardev *chr)
{
    char_fd_accept_input(&((FileChar *)chr)->fd);
}

static int file_write_fd(Chardev *chr)
{
    return ((FileChar *)chr)->out;
}

CHAR_TYPE(file) = {
    .name         = "file",
    .parent       = "chardev",
    .help         = "writes to a file; may read from another one",
    .class        = OBJECT_CLASS_CHARDEV,
    .size         = sizeof(FileChar),
    .properties   = file_properties,
    .open         = file_open,
    .write        = file_write,
    .accept_input = file_accept_input,
    .write_fd     = file_write_fd,
    .close        = file_close,
};
