/* What fpu.c, fpu_env.c and xsave.c share about the x87 state. */

#ifndef QUERN_CPU_X86_FPU_H
#define QUERN_CPU_X86_FPU_H

#include "cpu/x86/vector.h"

enum { FSW_PE = 0x20 };

/* x87 as FNINIT leaves it, with that control word. Data registers keep their contents. */
void x86_fpu_init_state(X86Cpu *cpu, uint16_t control);

/* Changes TOP without moving physical registers. */
void x86_fpu_set_top(X86Cpu *cpu, unsigned top);

/* Control instructions and environments: fpu_env.c. CR0 allows them. */
bool x86_fpu_env_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn);

/* Which state components are not in their initial configuration (XINUSE): XCR0_* bits. */
uint64_t x86_xinuse(const X86Cpu *cpu);

#endif
