/* VMware's backdoor port. */

#ifndef QUERN_MACHINE_VMPORT_H
#define QUERN_MACHINE_VMPORT_H

#include "machine/machine.h"

/* Makes the port on the ISA bus. */
bool vmport_create(Machine *m, Error *err);

#endif
