/* Options about what a guest boots. */

#ifndef QUERN_CLI_BOOTOPTS_H
#define QUERN_CLI_BOOTOPTS_H

#include "cli/cli.h"
#include "machine/machine.h"

/* Fills in kernel, initrd, append, bios, option_roms, fw_cfg and uuid of `c`, and the platform's seed. Main thread,
 * machine lock held. Errors begin with the option. */
bool bootopts_configure(const Cli *cli, Platform *platform, MachineConfig *c, Error *err);

#endif
