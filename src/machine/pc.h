/* The PC board's own part, shared by the files that build and start it (pc.c, firmware.c, direct.c).
 * Machine lock held. */

#ifndef QUERN_MACHINE_PC_H
#define QUERN_MACHINE_PC_H

#include "devices/acpi/piix4_pm.h"
#include "devices/input/i8042.h"
#include "devices/irq/gates.h"
#include "devices/irq/i8259.h"
#include "devices/irq/ioapic.h"
#include "devices/misc/fw_cfg.h"
#include "devices/pci/piix3.h"
#include "devices/timer/hpet.h"
#include "devices/timer/i8254.h"
#include "devices/timer/mc146818rtc.h"
#include "machine/boot.h"
#include "machine/hardware.h"
#include "machine/machine.h"
#include "machine/pcisetup.h"
#include "machine/tables.h"
#include "memory/ram.h"

typedef struct PcBoard {
    Machine *machine;
    Region   ram_low, ram_high; /* below and above 4 GiB */
    IrqPin   lint0;             /* the 8259's output, on the boot processor */
    IrqSplit isa[16];

    I440fx  *host;
    Piix3   *piix3;
    Piix4Pm *pm;
    I8259   *pic; /* NULL: pic=off */
    IoApic  *ioapic;
    Hpet    *hpet;
    Rtc     *rtc;
    FwCfg   *fw_cfg;

    Region    bios_high, bios_low; /* below 4 GiB, and its last 128 KiB below 1 MiB */
    RamBlock *bios;

    PcHardware      hw;
    uint32_t       *apic_ids;
    PciWindows      windows;
    FirmwareTables *acpi, *smbios, *mp; /* NULL: there are none */

    /* Direct boot. */
    MemoryMap  map;
    BootImage *boot;
    bool       ran_before; /* RAM is not all zeros any more */
} PcBoard;

static inline PcBoard *pc_board(const Machine *m)
{
    return m->board;
}

/* Where PIRQA to PIRQD go, as firmware routes them. */
extern const uint8_t pc_pirqs[4];

/* firmware.c: loads and maps -bios, or the default firmware. */
bool pc_load_bios(PcBoard *pc, Error *err);

/* firmware.c: fills fw_cfg in; `tables` are exported for firmware when there is no direct boot. */
bool pc_fill_fw_cfg(PcBoard *pc, Error *err);

/* direct.c: places the tables in RAM and loads the kernel. */
bool pc_prepare_direct_boot(PcBoard *pc, Error *err);

/* direct.c: puts all of it into RAM, and the chipset and the vCPUs into the state that firmware would leave. */
void pc_start_direct_boot(PcBoard *pc);

#endif
