/* -smp: working out the CPU topology. */

#ifndef QUERN_MACHINE_SMP_H
#define QUERN_MACHINE_SMP_H

#include "machine/machine.h"

/* Fills `smp` from -smp's members; json NULL gives one vCPU. What is left out is worked out: cores before sockets
 * before threads when `prefer_cores` (boards from 6.2 on), sockets before cores before threads otherwise. Refuses
 * (in QEMU's words) zeros, products that are not maxcpus, maxcpus below cpus or above max_cpus, and levels PCs do not
 * have. `machine` is for messages. */
bool smp_parse(const Json *json, bool lenient, bool prefer_cores, unsigned max_cpus, const char *machine,
               SmpConfig *smp, Error *err);

extern const Field smp_options[]; /* the keys of -smp */

#endif
