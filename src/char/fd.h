/* The file-descriptor part of a back end: reads when the front end has room, writes without blocking, and tells
 * when the other end has gone. Embedded in the back end's struct. Main loop, or machine lock held. */

#ifndef QUERN_CHAR_FD_H
#define QUERN_CHAR_FD_H

#include "char/char.h"

typedef struct CharFd {
    Chardev *chr;
    int      in, out; /* -1: none; may be the same one. The back end owns them */
    Source  *in_source;
    Source  *out_source;
    bool     reading; /* in_source is not paused */
    void (*hangup)(Chardev *chr);
} CharFd;

/* Begins to watch. Descriptors should not block; regular files may. `hangup` is called at the end of the input and
 * after a failed read; it may call char_fd_stop. */
void char_fd_start(CharFd *f, Chardev *chr, int in, int out, void (*hangup)(Chardev *chr));
void char_fd_stop(CharFd *f);       /* does not close */
void char_fd_stop_input(CharFd *f); /* the output goes on */
bool char_fd_active(const CharFd *f);

/* As CharType.write. */
ssize_t char_fd_write(CharFd *f, const uint8_t *buf, size_t len);
void    char_fd_accept_input(CharFd *f);

/* Sets O_NONBLOCK; returns fd. */
int char_fd_nonblocking(int fd);

#endif
