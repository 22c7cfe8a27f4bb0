/* Sets of inherited file descriptors. */

#include "char/fdset.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

typedef struct SetFd {
    int64_t set;
    int     fd;
    char   *opaque;
} SetFd;

struct FdSets {
    GArray *fds; /* SetFd, in the order given */
};

static void clear_fd(void *data)
{
    SetFd *s = data;
    close(s->fd);
    g_free(s->opaque);
}

FdSets *fdsets_new(void)
{
    FdSets *sets = g_new0(FdSets, 1);
    sets->fds    = g_array_new(false, true, sizeof(SetFd));
    g_array_set_clear_func(sets->fds, clear_fd);
    return sets;
}

void fdsets_free(FdSets *sets)
{
    if (sets) {
        g_array_free(sets->fds, true);
        g_free(sets);
    }
}

bool fdsets_add(FdSets *sets, int fd, int64_t set, const char *opaque, Error *err)
{
    if (fd <= 2) {
        return error_set(err, "fd=%d: standard input, output and error cannot be in a set", fd);
    }
    if (set < 0) {
        return error_set(err, "set=%" G_GINT64_FORMAT ": a set's number is 0 or more", set);
    }
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        return error_set_errno(err, errno, "fd=%d", fd);
    }
    SetFd s = { .set = set, .fd = copy, .opaque = g_strdup(opaque) };
    g_array_append_val(sets->fds, s);
    return true;
}

int fdsets_last(const FdSets *sets)
{
    return g_array_index(sets->fds, SetFd, sets->fds->len - 1).fd;
}

int64_t fdsets_unused(const FdSets *sets)
{
    for (int64_t n = 0;; n++) {
        bool used = false;
        for (guint i = 0; i < sets->fds->len; i++) {
            used |= g_array_index(sets->fds, SetFd, i).set == n;
        }
        if (!used) {
            return n;
        }
    }
}

bool fdsets_remove(FdSets *sets, int64_t set, int fd, Error *err)
{
    bool found = false;
    for (guint i = sets->fds->len; i-- > 0;) {
        const SetFd *s = &g_array_index(sets->fds, SetFd, i);
        if (s->set == set && (fd < 0 || s->fd == fd)) {
            g_array_remove_index(sets->fds, i);
            found = true;
        }
    }
    if (found) {
        return true;
    }
    return fd < 0 ? error_set(err, "no fd set %" G_GINT64_FORMAT, set)
                  : error_set(err, "no descriptor %d in fd set %" G_GINT64_FORMAT, fd, set);
}

void fdsets_foreach(FdSets *sets, void (*visit)(void *opaque, int64_t set, int fd, const char *text), void *opaque)
{
    for (guint i = 0; i < sets->fds->len; i++) {
        const SetFd *s = &g_array_index(sets->fds, SetFd, i);
        visit(opaque, s->set, s->fd, s->opaque);
    }
}

bool fdset_path(const char *path, int64_t *set)
{
    static const char prefix[] = "/dev/fdset/";
    if (strncmp(path, prefix, sizeof prefix - 1) != 0) {
        return false;
    }
    g_auto(Error) ignored = {};
    return text_parse_int(path + sizeof prefix - 1, 0, INT64_MAX, set, &ignored);
}

int fdsets_open(FdSets *sets, int64_t set, int flags)
{
    int found = ENOENT;
    for (guint i = 0; i < sets->fds->len; i++) {
        SetFd *s = &g_array_index(sets->fds, SetFd, i);
        if (s->set != set) {
            continue;
        }
        found    = EACCES;
        int mode = fcntl(s->fd, F_GETFL);
        if (mode >= 0 && (mode & O_ACCMODE) == (flags & O_ACCMODE)) {
            return fcntl(s->fd, F_DUPFD_CLOEXEC, 3);
        }
    }
    errno = found;
    return -1;
}
