/* The real-time clock and its CMOS RAM. See mc146818rtc.c. */

#ifndef QUERN_DEVICES_TIMER_MC146818RTC_H
#define QUERN_DEVICES_TIMER_MC146818RTC_H

#include "devices/device.h"

typedef struct Rtc Rtc; /* "mc146818rtc", properties base_year, iobase, irq, lost_tick_policy */

typedef struct RtcSetup {
    ClockKind clock; /* what drives it: HOST_CLOCK, REALTIME_CLOCK or VIRTUAL_CLOCK */
    int64_t   start; /* the date it shows when it is made, in seconds since 1970 of its own time zone */
    bool      slew;  /* driftfix=slew: as -global mc146818rtc.lost_tick_policy=slew */
} RtcSetup;

/* Makes it at 70h. `irq` is ISA IRQ 8, or the HPET's legacy input 1. */
Rtc *rtc_create(Platform *platform, const RtcSetup *setup, IrqPin *irq, Error *err);

/* CMOS bytes that firmware and the board leave there: memory size ... Index 0Eh..7Fh. */
void    rtc_set_cmos(Rtc *rtc, uint8_t index, uint8_t value);
uint8_t rtc_get_cmos(const Rtc *rtc, uint8_t index);

/* Of any device: an RTC has no ticks to make up for any more, because the guest's time was set by other means. */
void rtc_forget_lost_ticks(Device *dev);

/* The date it shows now, in seconds since 1970 of its own time zone. */
int64_t rtc_now(const Rtc *rtc);

#endif
