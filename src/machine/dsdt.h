/* What the files that write the DSDT share. */

#ifndef QUERN_MACHINE_DSDT_H
#define QUERN_MACHINE_DSDT_H

#include "machine/aml.h"
#include "machine/hardware.h"

/* _STA */
enum { STA_PRESENT = 0x0f, STA_NO_UI = 0x0b, STA_DISABLED = 0x09 };

/* dsdt_pci.c: the host bridge with all below it, and the links of its interrupts; inside \_SB. */
void dsdt_add_pci(Aml *a, const PcHardware *hw);

/* dsdt.c: the method `name` (Arg0: number of a device, Arg1: what for) that notifies one of n devices. */
void dsdt_add_notify(Aml *a, const char *name, unsigned n, void (*device_name)(char name[8], unsigned n));

/* dsdt_reduced.c: generic event device, power button, virtio-mmio; inside \_SB. */
void dsdt_add_reduced(Aml *a, const PcHardware *hw);

/* dsdt_memory.c: memory slots; inside \_SB. And the method of their general purpose event; outside. */
void dsdt_add_memory(Aml *a, const PcHardware *hw);
void dsdt_add_memory_event(Aml *a);

/* dsdt_cpus.c: processors; inside \_SB. And the method of their general purpose event; outside. */
void dsdt_add_cpus(Aml *a, const PcHardware *hw);
void dsdt_add_cpu_event(Aml *a);

/* dsdt.c: RTC, keyboard, serial ports and so on; inside the ISA bridge or \_SB. */
void dsdt_add_isa_devices(Aml *a, const PcHardware *hw);

#endif
