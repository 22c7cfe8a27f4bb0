/* Where the guest's vector and FP state is. Translated code keeps it in the host's own registers: XMM and YMM, MXCSR,
 * the x87 stack. The plain executor and all ordinary C work on cpu->xsave.
 *
 *   cpu->vector_live true: in the host's registers; cpu->xsave is out of date, but for the x87 pointers.
 *   cpu->vector_live false: in cpu->xsave; the host's registers are as the ABI wants them. Always so in the plain
 *   executor, and whenever the vCPU is outside (vcpu_leave).
 *
 * The objects of the hot set (meson.build: hot_sources) are built so that they do not touch vector or x87 registers,
 * and may be called with the state live. Before such a function calls anything that is not in the hot set, it calls
 * x86_park(). On return, and where x86_raise*() lands, the state may be parked or live: callers look at the flag. A
 * build check (tools/check-hot.py) looks at the objects. Everything else, handlers with X86_INSN_PARKED too, runs
 * parked.
 *
 * With X86_ALWAYS_PARK (builds with sanitizers) the hot set is instrumented like all code: then nothing in C may be
 * called with the state live but x86_park() itself, and translated code parks before each call.
 *
 * vCPU thread only: parking saves this thread's registers. Functions that any thread may call do not park. */

#ifndef QUERN_CPU_X86_PARK_H
#define QUERN_CPU_X86_PARK_H

#include "cpu/x86/x86.h"

/* Finds out what there is to save. Once, before the first x86_unpark(). */
void x86_park_init(X86Cpu *cpu);

void x86_park_slow(X86Cpu *cpu);

/* The guest's state goes to cpu->xsave, and the host's registers are as the ABI wants them: MXCSR 1F80h, x87 initial,
 * upper halves of YMM zero. Does nothing when it is there already. */
static inline void x86_park(X86Cpu *cpu)
{
    if (__builtin_expect(cpu->vector_live, 0)) {
        x86_park_slow(cpu);
    }
}

/* The opposite. Components in their initial state are initialized rather than loaded, so that the host takes them for
 * unused: its legacy SSE code is slow while upper halves are in use. The x87 instruction and data pointers stay behind
 * in cpu->xsave, and the host's are 0: what the next park finds there otherwise is a host address, which the guest must
 * not see. cpu->map_fpu_pointers turns it into the guest's; without it both become 0. Translated code that resets the
 * pointers itself (FNINIT) also clears those in cpu->xsave. */
void x86_unpark(X86Cpu *cpu);

/* Writes 16 or 32 bytes of vector register n, which is live. */
void x86_vector_get(unsigned n, unsigned size, void *to);

#endif
