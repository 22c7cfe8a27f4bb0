/* -daemonize. The fork comes before any thread exists; the parent keeps the terminal until the child is ready, so
 * that errors are seen and a script that started it can connect at once. */

#include "cli/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

bool daemon_start(Daemon *daemon, Error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        return error_set_errno(err, errno, "-daemonize: cannot make a pipe");
    }
    pid_t child = fork();
    if (child < 0) {
        close(ends[0]);
        close(ends[1]);
        return error_set_errno(err, errno, "-daemonize: cannot fork");
    }
    if (child > 0) {
        char    verdict;
        ssize_t got;
        close(ends[1]);
        do {
            got = read(ends[0], &verdict, 1);
        } while (got < 0 && errno == EINTR);
        _exit(got == 1 ? 0 : 1);
    }
    close(ends[0]);
    daemon->pipe = ends[1];
    daemon->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    setsid();
    umask(027);
    return true;
}

void daemon_ready(Daemon *daemon)
{
    if (!daemon->pipe) {
        return;
    }
    if (daemon->null >= 0) {
        dup2(daemon->null, STDIN_FILENO);
        dup2(daemon->null, STDOUT_FILENO);
        dup2(daemon->null, STDERR_FILENO);
        close(daemon->null);
    }
    char verdict = 0;
    if (chdir("/") < 0 || write(daemon->pipe, &verdict, 1) != 1) {
        exit(1);
    }
    close(daemon->pipe);
    daemon->pipe = 0;
}
