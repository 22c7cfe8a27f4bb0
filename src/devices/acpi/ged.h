/* The Generic Event Device of machines with hardware-reduced ACPI, with their sleep and reset registers. See ged.c. */

#ifndef QUERN_DEVICES_ACPI_GED_H
#define QUERN_DEVICES_ACPI_GED_H

#include "devices/device.h"

typedef struct Ged Ged; /* "acpi-ged" */

enum {
    GED_REGS_OFFSET = 0x200, /* from the event selector */
    GED_SELECTOR    = 0,     /* 32 bits: events that have happened; reading clears them */
    GED_SLEEP_CTL   = GED_REGS_OFFSET,
    GED_SLEEP_STS   = GED_REGS_OFFSET + 1,
    GED_RESET       = GED_REGS_OFFSET + 2,
    GED_RESET_VALUE = 0x42,
    GED_S5_TYPE     = 5,
    GED_POWER_DOWN  = 1 << 1, /* an event: the power button */
};

/* Makes it at `base`; `irq` is pulsed for each event. */
Ged *ged_create(Platform *platform, uint64_t base, IrqPin *irq, Error *err);

/* system_powerdown: the power button is pressed. */
void ged_power_button(Ged *ged);

#endif
