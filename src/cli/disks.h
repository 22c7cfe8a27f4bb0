/* The disks that a command line asks for. */

#ifndef QUERN_CLI_DISKS_H
#define QUERN_CLI_DISKS_H

#include "cli/cli.h"
#include "machine/machine.h"

/* Opens the images of -blockdev, -drive, -hda ... and -cdrom, in their order, into the machine's block layer. Main
 * thread, machine lock held. Errors begin with the option. */
bool disks_make(const Cli *cli, Machine *m, Error *err);

#endif
