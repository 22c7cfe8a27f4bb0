/* Power management of the ICH9: what lies in the 128 bytes at PMBASE, and the APM ports. Embedded in the LPC bridge.
 * See ich9_pm.c. */

#ifndef QUERN_DEVICES_ACPI_ICH9_PM_H
#define QUERN_DEVICES_ACPI_ICH9_PM_H

#include "devices/acpi/ich9_tco.h"
#include "devices/acpi/pm1.h"

/* For FADT and DSDT. Firmware and direct boot put the block where it is suggested (configuration 40h and 44h). */
enum {
    ICH9_PM_BASE      = 0x600,
    ICH9_PM_SIZE      = 0x80,
    ICH9_GPE0_OFFSET  = 0x20,
    ICH9_GPE0_LEN     = 16,
    ICH9_ACPI_ENABLE  = 0x02,
    ICH9_ACPI_DISABLE = 0x03,
    ICH9_APM_CNT      = 0xb2, /* SMI_CMD */
    ICH9_S3_TYPE      = 1,    /* SLP_TYP values, QEMU's: \_S4 is property s4_val */
    ICH9_S4_TYPE      = 2,
    ICH9_S5_TYPE      = 0,
};

typedef struct Ich9Pm {
    Platform *platform;
    AcpiPm1   pm1;
    Ich9Tco   tco;
    uint64_t  gpe_sts, gpe_en;
    uint32_t  smi_en, smi_sts;
    uint8_t   apm_cnt, apm_sts;
    uint8_t   disable_s3, disable_s4, s4_val; /* properties */
    bool      enable_tco;                     /* property */
    IrqLine   smi, smi_all;                   /* pulsed: to one processor, to all of them */
    Region    ports, apm_ports;
    bool (*smi_locked)(void *opaque);    /* GEN_PMCON_1 */
    bool (*no_reboot)(void *opaque);     /* the watchdog only counts */
    bool (*smi_broadcast)(void *opaque); /* SMIs of the APM port go to all processors */
    void (*set_sci)(void *opaque, bool level);
    void *opaque;
} Ich9Pm;

#define ICH9_PM_PROPERTIES(Type, pm)                                                                                   \
    FIELD(Type, pm.disable_s3, "disable_s3", .initial = 1, .min = 0, .max = 1, .help = "do not offer suspend to RAM"), \
        FIELD(Type, pm.disable_s4, "disable_s4", .min = 0, .max = 1, .help = "do not offer suspend to disk"),          \
        FIELD(Type, pm.s4_val, "s4_val", .initial = ICH9_S4_TYPE, .min = 0, .max = 7,                                  \
              .help = "sleep type of suspend to disk"),                                                                \
        FIELD(Type, pm.enable_tco, "enable_tco", .initial = true, .help = "TCO watchdog")

#define ICH9_PM_STATE(Type, pm)                                                                                        \
    PM1_STATE(Type, pm.pm1), TCO_STATE(Type, pm.tco), FIELD(Type, pm.gpe_sts, "gpe-sts"),                              \
        FIELD(Type, pm.gpe_en, "gpe-en"), FIELD(Type, pm.smi_en, "smi-en"), FIELD(Type, pm.smi_sts, "smi-sts"),        \
        FIELD(Type, pm.apm_cnt, "apm-cnt"), FIELD(Type, pm.apm_sts, "apm-sts")

/* `dev` owns the APM ports. Set smi_locked, no_reboot, smi_broadcast, set_sci and opaque first. */
void ich9_pm_init(Ich9Pm *pm, Device *dev);
void ich9_pm_destroy(Ich9Pm *pm);
void ich9_pm_reset(Ich9Pm *pm, ResetKind kind);
void ich9_pm_post_load(Ich9Pm *pm);

/* What the guest may do: \_S3 and \_S4 belong into the DSDT only when these say so. */
bool ich9_pm_has_s3(const Ich9Pm *pm);
bool ich9_pm_has_s4(const Ich9Pm *pm);

#endif
