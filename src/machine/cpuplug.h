/* vCPUs that come and go while the machine exists: -device, device_add and device_del of a vCPU's type. Machine lock
 * held, main loop. */

#ifndef QUERN_MACHINE_CPUPLUG_H
#define QUERN_MACHINE_CPUPLUG_H

#include "machine/cpu_object.h"

/* -device, device_add: a device (device_create), or a vCPU where the type's name is one of those. */
bool machine_add_device(Machine *m, const Json *options, bool lenient, Error *err);

/* device_del: asks the guest to let go of a vCPU. */
bool machine_unplug_cpu(Machine *m, X86Cpu *cpu, Error *err);

/* For boards: makes what tells the guest of vCPUs that come and go. `setup` says all but who hears of it. */
bool machine_make_cpu_hotplug(Machine *m, const CpuHotplugSetup *setup, Error *err);

/* Could it be taken away? */
bool machine_cpu_is_hotpluggable(const Machine *m, const X86Cpu *cpu);

extern const Field cpu_place_options[]; /* properties of a vCPU's type that say where it goes */

#endif
