/* The 8254 interval timer and port 61h. See i8254.c. */

#ifndef QUERN_DEVICES_TIMER_I8254_H
#define QUERN_DEVICES_TIMER_I8254_H

#include "devices/device.h"

typedef struct I8254 I8254; /* "isa-pit" */

enum { I8254_HZ = 1193182 };

/* Makes it at 40h..43h, and port 61h (speaker gate, refresh toggle). `irq` hears counter 0's output: ISA IRQ 0, or
 * the HPET's legacy input 0. The speaker is silent. */
I8254 *i8254_create(Platform *platform, IrqPin *irq, Error *err);

#endif
