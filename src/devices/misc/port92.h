/* System control port A (92h): fast A20 and reset. See port92.c. */

#ifndef QUERN_DEVICES_MISC_PORT92_H
#define QUERN_DEVICES_MISC_PORT92_H

#include "devices/device.h"

typedef struct Port92 Port92; /* "port92" */

Port92 *port92_create(Platform *platform, IrqPin *a20, Error *err);

/* Ports that exist to be written to: 80h (POST codes, delays), EDh (delay). */
bool port80_create(Platform *platform, Error *err);

#endif
