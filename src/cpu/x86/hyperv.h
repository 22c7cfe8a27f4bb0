/* Microsoft's hypervisor interface, as properties hv-* of -cpu ask for it: CPUID leaves from 40000000h on, and MSRs. */

#ifndef QUERN_CPU_X86_HYPERV_H
#define QUERN_CPU_X86_HYPERV_H

#include "cpu/x86/cpuid.h"
#include "cpu/x86/system.h"

/* Does CPUID show this interface? */
bool x86_hv_shows(const X86Model *model);

/* A leaf from 40000000h on. */
X86CpuidLeaf x86_hv_cpuid(const X86Cpu *cpu, uint32_t leaf);

/* Registers from 40000000h on; false: #GP. The CPU's thread, with the state parked, or any while it is stopped. */
bool x86_hv_get_msr(X86Cpu *cpu, uint32_t index, uint64_t *value);
bool x86_hv_set_msr(X86Cpu *cpu, uint32_t index, uint64_t value);

/* At power-on and with the machine's reset. */
void x86_hv_reset(X86Cpu *cpu);

#endif
