/* What the generic files of devices/ share. */

#ifndef QUERN_DEVICES_PRIVATE_H
#define QUERN_DEVICES_PRIVATE_H

#include "devices/device.h"

/* bus.c */
void bus_detach(Device *dev);        /* from the bus it sits on */
void device_drop_buses(Device *dev); /* those it offers; nothing sits on them any more */

/* pins.c */
void device_free_pins(Device *dev);

/* globals.c */
void globals_apply(Platform *platform, Device *dev);
void globals_free(Platform *platform);

#endif
