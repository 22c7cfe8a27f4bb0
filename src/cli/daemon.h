/* -daemonize: the process that was started waits until its child is ready, then ends with its verdict. */

#ifndef QUERN_CLI_DAEMON_H
#define QUERN_CLI_DAEMON_H

#include "base/error.h"

typedef struct Daemon {
    int pipe; /* to the waiting parent; 0: not daemonized */
    int null; /* /dev/null, before anything changes the root directory */
} Daemon;

/* Forks; returns in the child only. No thread may exist yet. */
bool daemon_start(Daemon *daemon, Error *err);

/* Lets the parent exit with 0 and detaches from the terminal's streams. Nothing without daemon_start(). A child
 * that ends without this makes the parent exit with 1. */
void daemon_ready(Daemon *daemon);

#endif
