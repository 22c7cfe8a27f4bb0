/* Which accelerator a command line asks for, or which one suits this host. Main thread, machine lock held. */

#ifndef QUERN_CLI_CHOOSE_H
#define QUERN_CLI_CHOOSE_H

#include "cli/cli.h"
#include "machine/machine.h"

/* Makes m->accel: of -accel, -enable-kvm and -machine accel= the first that works, with a line for each that does not;
 * else KVM where it runs at hardware speed and the translator elsewhere, with a line on a terminal. `cpu_pm` is that of
 * -overcommit. */
bool choose_accel(const Cli *cli, Machine *m, bool cpu_pm, Error *err);

#endif
