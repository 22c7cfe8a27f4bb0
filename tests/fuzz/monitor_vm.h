/* A machine with a vCPU, some character devices and a monitor on a ring buffer, for what clients say to it. */

#ifndef QUERN_FUZZ_MONITOR_VM_H
#define QUERN_FUZZ_MONITOR_VM_H

#include "machine/machine.h"
#include "monitor/monitor.h"

#include <sys/resource.h>

enum { MONITOR_VM_RING = 16 << 20 }; /* bytes of what the monitor answers */

typedef struct MonitorVm {
    Log       log;
    Machine  *machine;
    Chardev  *chr; /* the monitor's */
    Monitors *monitors;
    rlim_t    files; /* that were allowed before */
} MonitorVm;

/* Looks at what the monitor has said since the last time. */
typedef void MonitorVmCheck(Chardev *chr, void *opaque);

/* From here to the end no file can be opened: commands name files. */
void monitor_vm_begin(MonitorVm *vm, MonitorMode mode);

/* In pieces of that many bytes, until all is read, the monitor takes no more, or the machine is to end. */
void monitor_vm_feed(MonitorVm *vm, const void *data, size_t size, size_t piece, MonitorVmCheck *check, void *opaque);

/* The main loop, that many times. */
void monitor_vm_settle(MonitorVm *vm, unsigned steps, MonitorVmCheck *check, void *opaque);

void monitor_vm_end(MonitorVm *vm);

#endif
