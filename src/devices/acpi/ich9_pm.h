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
};

typedef struct Ich9Pm {
    Platform *platform;
    AcpiPm1   pm1;
    Ich9Tco   tco;
    uint64_t  gpe_sts, gpe_en;
    uint32_t  smi_en, smi_sts;
    uint8_t   apm_cnt, apm_sts;
    bool      enable_tco;   /* property */
    IrqLine   smi, smi_all; /* pulsed: to one processor, to all of them */
    Region    ports, apm_ports;
    bool (*smi_locked)(void *opaque);    /* GEN_PMCON_1 */
    bool (*no_reboot)(void *opaque);     /* the watchdog only counts */
    bool (*smi_broadcast)(void *opaque); /* SMIs of the APM port go to all processors */
    void (*set_sci)(void *opaque, bool level);
    void *opaque;
} Ich9Pm;

#define ICH9_PM_PROPERTIES(Type, pm)                                                                                   \
    PM1_PROPERTIES(Type, pm.pm1), FIELD(Type, pm.enable_tco, "enable_tco", .initial = true, .help = "TCO watchdog")

#define ICH9_PM_STATE(Type, pm)                                                                                        \
    PM1_STATE(Type, pm.pm1), TCO_STATE(Type, pm.tco), FIELD(Type, pm.gpe_sts, "gpe-sts"),                              \
        FIELD(Type, pm.gpe_en, "gpe-en"), FIELD(Type, pm.smi_en, "smi-en"), FIELD(Type, pm.smi_sts, "smi-sts"),        \
        FIELD(Type, pm.apm_cnt, "apm-cnt"), FIELD(Type, pm.apm_sts, "apm-sts")

/* `dev` owns the APM ports. Set smi_locked, no_reboot, smi_broadcast, set_sci and opaque first. */
void ich9_pm_init(Ich9Pm *pm, Device *dev);
void ich9_pm_destroy(Ich9Pm *pm);
void ich9_pm_reset(Ich9Pm *pm, ResetKind kind);
void ich9_pm_post_load(Ich9Pm *pm);

/* Raises general purpose event n (0..63): hotplug controllers. */
void ich9_pm_raise_gpe(Ich9Pm *pm, unsigned n);

#endif
