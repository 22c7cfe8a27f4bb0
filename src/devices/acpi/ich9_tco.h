/* The TCO watchdog of the ICH9. Embedded in the LPC bridge. See ich9_tco.c. */

#ifndef QUERN_DEVICES_ACPI_ICH9_TCO_H
#define QUERN_DEVICES_ACPI_ICH9_TCO_H

#include "devices/device.h"

enum { TCO_SIZE = 0x20 };

typedef struct Ich9Tco {
    Platform *platform;
    uint16_t  rld, sts1, sts2, cnt1, cnt2, tmr;
    uint8_t   dat_in, dat_out, message[2], wdcnt, sw_irq;
    bool      counting; /* from here to `expires` */
    int64_t   expires;  /* virtual time */
    Timer     timer;
    bool (*no_reboot)(void *opaque);
    void (*smi)(void *opaque); /* an event that is an SMI if SMI_EN allows it */
    void *opaque;
} Ich9Tco;

#define TCO_STATE(Type, tco)                                                                                           \
    FIELD(Type, tco.rld, "tco-rld", .max = 0x3ff), FIELD(Type, tco.sts1, "tco1-sts"),                                  \
        FIELD(Type, tco.sts2, "tco2-sts"), FIELD(Type, tco.cnt1, "tco1-cnt"), FIELD(Type, tco.cnt2, "tco2-cnt"),       \
        FIELD(Type, tco.tmr, "tco-tmr", .max = 0x3ff), FIELD(Type, tco.dat_in, "tco-dat-in"),                          \
        FIELD(Type, tco.dat_out, "tco-dat-out"), FIELD_ARRAY(Type, tco.message, "tco-message"),                        \
        FIELD(Type, tco.wdcnt, "tco-wdcnt"), FIELD(Type, tco.sw_irq, "tco-sw-irq"),                                    \
        FIELD(Type, tco.counting, "tco-counting"), FIELD(Type, tco.expires, "tco-expires")

/* Set no_reboot, smi and opaque first. */
void     tco_init(Ich9Tco *tco, Platform *platform);
void     tco_destroy(Ich9Tco *tco);
void     tco_reset(Ich9Tco *tco, ResetKind kind);
void     tco_post_load(Ich9Tco *tco);
uint64_t tco_read(Ich9Tco *tco, uint64_t offset, unsigned size);
void     tco_write(Ich9Tco *tco, uint64_t offset, uint64_t value, unsigned size);

#endif
