/* The fixed ACPI hardware that PIIX4 and ICH9 share: PM1 events and control, PM timer. Embedded in the chipset's power
 * management function. Machine lock held; the timer fires on the main loop. */

#ifndef QUERN_DEVICES_ACPI_PM1_H
#define QUERN_DEVICES_ACPI_PM1_H

#include "devices/device.h"

/* Offsets of the registers in both chipsets' windows. */
/* SLP_TYP values of \_S3, \_S4 (property s4_val) and \_S5: QEMU's. */
enum { PM1_S5_TYPE, PM1_S3_TYPE, PM1_S4_TYPE };

enum { PM1_STS = 0x00, PM1_EN = 0x02, PM1_CNT = 0x04, PM1_TMR = 0x08, PM1_SIZE = 0x0c };

typedef struct AcpiPm1 {
    Platform *platform;
    uint16_t  sts, en, cnt;
    uint64_t  timer_seen; /* half periods of the PM timer that TMROF_STS accounts for */
    Timer     overflow;
    void (*changed)(void *opaque); /* something that the SCI depends on: the owner calls pm1_update() */
    void       *opaque;
    const char *name;                           /* of the chip, for the log */
    uint8_t     disable_s3, disable_s4, s4_val; /* properties */
} AcpiPm1;

#define PM1_PROPERTIES(Type, pm1)                                                                                      \
    FIELD(Type, pm1.disable_s3, "disable_s3", .min = 0, .max = 1, .help = "do not offer suspend to RAM"),              \
        FIELD(Type, pm1.disable_s4, "disable_s4", .min = 0, .max = 1, .help = "do not offer suspend to disk"),         \
        FIELD(Type, pm1.s4_val, "s4_val", .initial = PM1_S4_TYPE, .min = 0, .max = 7,                                  \
              .help = "sleep type of suspend to disk")

#define PM1_STATE(Type, pm1)                                                                                           \
    FIELD(Type, pm1.sts, "sts"), FIELD(Type, pm1.en, "en"), FIELD(Type, pm1.cnt, "cnt"),                               \
        FIELD(Type, pm1.timer_seen, "timer-seen")

/* Set changed, opaque and name first. */
void pm1_init(AcpiPm1 *pm1, Platform *platform);
void pm1_destroy(AcpiPm1 *pm1);
void pm1_reset(AcpiPm1 *pm1);

/* Accesses to the first PM1_SIZE bytes of the window. */
uint64_t pm1_read(AcpiPm1 *pm1, uint64_t offset, unsigned size);
void     pm1_write(AcpiPm1 *pm1, uint64_t offset, uint64_t value, unsigned size);

/* Arms the timer for the next overflow that matters; returns whether the SCI is to be asserted, given that a general
 * purpose event is pending or not. */
bool pm1_update(AcpiPm1 *pm1, bool gpe);

/* The APM command that turns ACPI mode on and off. */
void pm1_set_acpi_enabled(AcpiPm1 *pm1, bool on);

/* What the guest may do: \_S3 and \_S4 belong into the DSDT only when these say so. */
bool pm1_has_s3(const AcpiPm1 *pm1);
bool pm1_has_s4(const AcpiPm1 *pm1);

void pm1_power_button(AcpiPm1 *pm1);

#endif
