/* What takes power away from the process once the machine stands: -sandbox, -run-with, -runas, -overcommit. */

#ifndef QUERN_CLI_CONFINE_H
#define QUERN_CLI_CONFINE_H

#include "cli/cli.h"

typedef struct Confine Confine;

/* Reads the options and looks up what may be wrong with them (users, directories). NULL on error. */
Confine *confine_new(const Cli *cli, Error *err);
void     confine_free(Confine *confine);

/* Will other files be within reach later: another root, or another user? */
bool confine_changes_files(const Confine *confine);

/* -overcommit cpu-pm=on */
bool confine_wants_cpu_pm(const Confine *confine);

/* Before there are threads: the process that frees the memory after this one has gone (async-teardown). */
bool confine_start(Confine *confine, Error *err);

/* Everything is open and every thread of the machine is there: locks memory, changes root and user, and at last loads
 * the system call filter, for all threads. */
bool confine_enter(Confine *confine, Error *err);

#endif
