/* The high precision event timers. See hpet.c. */

#ifndef QUERN_DEVICES_TIMER_HPET_H
#define QUERN_DEVICES_TIMER_HPET_H

#include "devices/device.h"

typedef struct Hpet Hpet; /* "hpet", properties timers=3..32, msi, hpet-intcap */

enum { HPET_ADDRESS = 0xfed00000, HPET_PERIOD_FS = 10000000 /* 10 ns */ };

/* Makes it at HPET_ADDRESS. Routes to platform->gsi, in legacy mode to platform->isa_irq[0] and [8]. */
Hpet *hpet_create(Platform *platform, Error *err);

/* 0: the 8254's output comes in here, 1: the RTC's. Passed on to ISA IRQ 0 and 8 unless in legacy mode. */
IrqPin *hpet_legacy_input(Hpet *hpet, unsigned n);

/* The event timer block ID: bits 31..0 of the capabilities register, as the ACPI table has it. */
uint32_t hpet_block_id(const Hpet *hpet);

#endif
