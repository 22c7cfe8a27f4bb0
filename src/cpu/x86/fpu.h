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

/* len is a multiple of 8. */
static inline bool x86_all_zero(const uint8_t *p, size_t len)
{
    uint64_t any = 0;
    for (size_t i = 0; i < len; i += 8) {
        any |= load_le64(p + i);
    }
    return !any;
}

/* Which state components are not in their initial configuration (XINUSE): XCR0_* bits. MXCSR does not count. */
static inline uint64_t x86_xinuse(const X86Cpu *cpu)
{
    const uint8_t *x     = cpu->xsave;
    uint64_t       inuse = 0;
    if (load_le64(x) != 0x37f || !x86_all_zero(x + 8, 16) || !x86_all_zero(x + XSAVE_ST, 128) || cpu->fpu_cs ||
        cpu->fpu_ds) {
        inuse |= XCR0_X87;
    }
    if (!x86_all_zero(x + XSAVE_XMM, 256)) {
        inuse |= XCR0_SSE;
    }
    if (!x86_all_zero(x + XSAVE_YMM, 256)) {
        inuse |= XCR0_AVX;
    }
    return inuse;
}

#endif
