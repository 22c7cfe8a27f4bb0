/* How firmware and machine agree about SMIs. Embedded in the LPC bridge; machine lock held. See ich9_smi.c. */

#ifndef QUERN_DEVICES_ACPI_ICH9_SMI_H
#define QUERN_DEVICES_ACPI_ICH9_SMI_H

#include "desc/field.h"
#include "devices/misc/fw_cfg.h"

enum { ICH9_SMI_BROADCAST = 1 << 0 };

typedef struct Ich9SmiFeatures {
    FwCfg   *fw_cfg; /* NULL: nothing is offered */
    bool     offer_broadcast;
    bool     agreed; /* until reset */
    uint64_t features;
} Ich9SmiFeatures;

#define ICH9_SMI_PROPERTIES(Type, smi)                                                                                 \
    FIELD(Type, smi.offer_broadcast, "x-smi-broadcast", .initial = true,                                               \
          .help = "offer firmware that a write to the APM port interrupts all processors")

#define ICH9_SMI_STATE(Type, smi)                                                                                      \
    FIELD(Type, smi.agreed, "smi-features-agreed"), FIELD(Type, smi.features, "smi-features")

bool ich9_smi_offer(Ich9SmiFeatures *smi, FwCfg *fw_cfg, Error *err);
void ich9_smi_reset(Ich9SmiFeatures *smi);
bool ich9_smi_post_load(Ich9SmiFeatures *smi, Error *err);

#endif
