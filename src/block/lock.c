/* Locks on image files, so that two programs do not write one image, or one writes what another reads.
 *
 * Advisory "open file description" locks on bytes of the file, which need no bytes to be there, as QEMU's programs set
 * them: for each thing that can be done with an image (number i) a shared lock on byte 100 + i says "I do it", one on
 * byte 200 + i "nobody else may". Whoever opens an image sets its own locks, then looks for what contradicts them.
 * Specification: fcntl(2); the byte numbers are what /proc/locks shows of Debian's qemu-io. Machine lock. */

#include "block/driver.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BYTE_DOES = 100, BYTE_REFUSES = 200, N_BITS = 4 };

static int set_lock(int fd, int command, short type, off_t byte, struct flock *l)
{
    *l = (struct flock){ .l_type = type, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1 };
    return fcntl(fd, command, l) < 0 ? errno : 0;
}

/* Has the process `pid` a lock on byte `byte` of the file, by another descriptor than `but`? /proc/PID/fdinfo/FD shows
 * those of an open file as "lock: 1: OFDLCK ADVISORY  READ PID MAJOR:MINOR:INODE START END". */
static bool holds_lock(const char *pid, int but, const struct stat *file, off_t byte)
{
    g_autofree char *fds = g_strdup_printf("/proc/%s/fd", pid);
    g_autoptr(GDir) dir  = g_dir_open(fds, 0, NULL);
    const char *fd;
    while (dir && (fd = g_dir_read_name(dir))) {
        g_autofree char *link = g_strdup_printf("/proc/%s/fd/%s", pid, fd);
        struct stat      st;
        if (atoi(fd) == but || stat(link, &st) < 0 || st.st_dev != file->st_dev || st.st_ino != file->st_ino) {
            continue;
        }
        g_autofree char *path = g_strdup_printf("/proc/%s/fdinfo/%s", pid, fd);
        g_autofree char *text = NULL;
        if (!g_file_get_contents(path, &text, NULL, NULL)) {
            continue;
        }
        g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
        for (char **line = lines; *line; line++) {
            char *last = strrchr(*line, ' ');
            if (!g_str_has_prefix(*line, "lock:") || !last) {
                continue;
            }
            *last              = '\0';
            const char *before = strrchr(*line, ' ');
            long long   from   = before ? atoll(before + 1) : -1;
            long long   to     = g_str_has_prefix(last + 1, "EOF") ? INT64_MAX : atoll(last + 1);
            if (from <= byte && byte <= to) {
                return true;
            }
        }
    }
    return false;
}

/* "process 4711 (qemu-img commit disk.qcow2)"; the kernel does not say, so look who has the file open. */
static char *find_holder(int fd, off_t byte)
{
    struct stat file;
    g_autoptr(GDir) proc = g_dir_open("/proc", 0, NULL);
    const char *pid;
    if (fstat(fd, &file) < 0) {
        return g_strdup("another process");
    }
    while (proc && (pid = g_dir_read_name(proc))) {
        if (!isdigit((unsigned char)*pid) || !holds_lock(pid, atoi(pid) == getpid() ? fd : -1, &file, byte)) {
            continue;
        }
        if (atoi(pid) == getpid()) {
            return g_strdup("this program itself, in another node");
        }
        g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", pid);
        g_autofree char *text = NULL;
        gsize            len  = 0;
        if (!g_file_get_contents(path, &text, &len, NULL) || !len) {
            return g_strdup_printf("process %s", pid);
        }
        for (gsize i = 0; i + 1 < len; i++) {
            text[i] = text[i] ? text[i] : ' ';
        }
        return g_strdup_printf("process %s (%.60s%s)", pid, text, len > 61 ? "..." : "");
    }
    return g_strdup("another process");
}

void image_unlock(int fd)
{
    struct flock l;
    for (off_t byte = BYTE_DOES; byte < BYTE_DOES + N_BITS; byte++) {
        set_lock(fd, F_OFD_SETLK, F_UNLCK, byte, &l);
        set_lock(fd, F_OFD_SETLK, F_UNLCK, byte - BYTE_DOES + BYTE_REFUSES, &l);
    }
}

bool image_lock(int fd, unsigned does, unsigned bears, bool must, Error *err)
{
    struct flock l;
    for (unsigned i = 0; i < 2 * N_BITS; i++) {
        unsigned bit  = 1u << i % N_BITS;
        bool     mine = i < N_BITS ? does & bit : !(bears & bit);
        off_t    byte = (i < N_BITS ? BYTE_DOES : BYTE_REFUSES) + i % N_BITS;
        int      why  = mine ? set_lock(fd, F_OFD_SETLK, F_RDLCK, byte, &l) : 0;
        if (why && why != EAGAIN && why != EACCES) {
            return !must || error_set_errno(err, why, "locking=on: the file cannot be locked");
        }
    }
    for (unsigned i = 0; i < 2 * N_BITS; i++) {
        unsigned bit      = 1u << i % N_BITS;
        bool     conflict = i < N_BITS ? !(bears & bit) : does & bit;
        off_t    byte     = (i < N_BITS ? BYTE_DOES : BYTE_REFUSES) + i % N_BITS;
        if (!conflict || set_lock(fd, F_OFD_GETLK, F_WRLCK, byte, &l) || l.l_type == F_UNLCK) {
            continue;
        }
        g_autofree char *who = find_holder(fd, byte);
        const char      *how = i < N_BITS ? (bit == IMAGE_READ ? "in use" : "locked for writing") : "kept from writers";
        return error_set(err, "the image is %s by %s; wait for it, or open it with read-only=on,force-share=on", how,
                         who);
    }
    return true;
}
