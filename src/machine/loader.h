/* -device loader, see loader.c. */

#ifndef QUERN_MACHINE_LOADER_H
#define QUERN_MACHINE_LOADER_H

#include "machine/machine.h"

/* After vCPUs were reset: those that a loader's cpu-num names start where it says. */
void loaders_set_start(Machine *m);

#endif
