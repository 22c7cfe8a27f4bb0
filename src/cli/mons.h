/* The monitors that a command line asks for: -monitor, -qmp, -qmp-pretty, -mon, mon:... and the default one. */

#ifndef QUERN_CLI_MONS_H
#define QUERN_CLI_MONS_H

#include "cli/cli.h"
#include "monitor/monitor.h"

/* `with_monitor`: chardevs that "mon:" made. NULL on error. They do not read yet. */
Monitors *mons_make(const Cli *cli, Machine *m, GPtrArray *with_monitor, Error *err);

#endif
