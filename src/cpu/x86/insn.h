/* A decoded instruction, ready to run: a handler and its operands.
 *
 * Memory operands: address = gpr[base] + (gpr[index] << scale) + disp, cut to addrsize, in segment seg. X86_NO_REG
 * stands for absent registers (its slot is 0); RIP-relative ones are folded into disp at decode time. */

#ifndef QUERN_CPU_X86_INSN_H
#define QUERN_CPU_X86_INSN_H

#include "cpu/x86/mem.h"

#include <Zydis/Zydis.h>

typedef struct X86Insn X86Insn;
typedef void (*X86Handler)(X86Cpu *cpu, const X86Insn *insn);

struct X86Insn {
    X86Handler  run;
    int64_t     disp;
    uint64_t    imm;        /* immediate, or branch target offset */
    const void *extra;      /* vector and FP instructions: their thunk */
    uint32_t    rip_offset; /* of this instruction from the start of its block */
    uint8_t     len;
    uint8_t     opsize;   /* operand size in bytes */
    uint8_t     addrsize; /* 2, 4 or 8 */
    uint8_t     base, index, scale, seg;
    uint8_t     reg, rm, reg3; /* register operands: numbers; 8-bit high registers: see exec's own headers */
    uint8_t     prefixes;      /* X86_LOCK ... */
    uint8_t     aux;           /* handler's own */
};

enum { X86_PREFIX_LOCK = 1, X86_PREFIX_REP = 2, X86_PREFIX_REPNE = 4 };

/* Offset of the memory operand inside its segment. */
static inline uint64_t x86_operand_offset(const X86Cpu *cpu, const X86Insn *in)
{
    uint64_t a = cpu->gpr[in->base] + (cpu->gpr[in->index] << in->scale) + (uint64_t)in->disp;
    return in->addrsize == 8 ? a : in->addrsize == 4 ? (uint32_t)a : (uint16_t)a;
}

/* Vector, x87, MMX and state-management instructions (vector.c, fpu.c, xsave.c). Called by the decoder for what
 * the integer tables do not have; memory operand, len, opsize, prefixes and register fields are filled in already.
 * Chooses insn->run and insn->extra. false: not one of these (or not offered by the guest's CPUID: #UD). */
bool x86_vector_decode(X86Cpu *cpu, const ZydisDecodedInstruction *decoded, const ZydisDecodedOperand *operands,
                       X86Insn *insn);

/* FP state at reset (SDM 3, table 9-1) and after FNINIT. */
void x86_fpu_reset(X86Cpu *cpu);

/* Prepares host signal handling (SIGFPE) and the thunk cache. Once a process; thread-safe; idempotent. */
bool x86_vector_init(Error *err);

#endif
