/* The power management function of the 82371AB (PIIX4). See piix4_pm.c. */

#ifndef QUERN_DEVICES_ACPI_PIIX4_PM_H
#define QUERN_DEVICES_ACPI_PIIX4_PM_H

#include "devices/acpi/pm1.h"
#include "devices/pci/pci.h"

typedef struct Piix4Pm Piix4Pm; /* "PIIX4_PM", properties disable_s3, disable_s4, s4_val, smb_io_base */

/* Fixed by the board's FADT. PM and SMBus bases are programmed by firmware or by direct boot (config 40h and 90h). */
enum {
    PIIX4_PM_BASE      = 0x600,  /* suggested: event block +0, control +4, timer +8 */
    PIIX4_SMBUS_BASE   = 0x700,  /* suggested */
    PIIX4_GPE0_BASE    = 0xafe0, /* fixed; 4 bytes: two of status, two of enable */
    PIIX4_GPE0_LEN     = 4,
    PIIX4_APM_CNT      = 0xb2, /* SMI_CMD */
    PIIX4_ACPI_ENABLE  = 0xf1,
    PIIX4_ACPI_DISABLE = 0xf0,
    PIIX4_PM_BASE_REG  = 0x40, /* configuration registers */
    PIIX4_PM_MISC_REG  = 0x80, /* bit 0 enables the PM ports */
    PIIX4_SMB_BASE_REG = 0x90,
    PIIX4_SMB_HOST_REG = 0xd2, /* bit 0 enables the SMBus ports */
};

/* Makes it at devfn (01.3 on pc). `sci` is the bridge's SCI input; `smi` may be NULL: it is pulsed for an SMI. */
Piix4Pm *piix4_pm_create(Platform *platform, PciBus *bus, uint8_t devfn, IrqPin *sci, IrqPin *smi, Error *err);

/* Programs and enables PM_BASE and the SMBus ports as firmware would: for direct boot, after reset. */
void piix4_pm_set_bases(Piix4Pm *pm, uint16_t pm_base, uint16_t smbus_base);

/* Its fixed ACPI hardware. */
AcpiPm1 *piix4_pm_pm1(Piix4Pm *pm);

/* system_powerdown: the power button is pressed. */
void piix4_pm_power_button(Piix4Pm *pm);

/* Raises general purpose event n (0..15): hotplug controllers. */
void piix4_pm_raise_gpe(Piix4Pm *pm, unsigned n);

#endif
