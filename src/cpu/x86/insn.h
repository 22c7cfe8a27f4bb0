/* A decoded instruction, ready to run: a handler and its operands.
 *
 * Memory operands: address = gpr[base] + (gpr[index] << scale) + disp, cut to addrsize, in segment seg. X86_NO_REG
 * stands for absent registers (its slot is 0). RIP-relative ones have base X86_RIP and a disp that counts from the
 * first instruction of the block, whose address cpu->rip keeps while the block runs: blocks know physical memory
 * only and run at any linear address.
 *
 * A handler returns when its instruction is done, or raises. It does not touch cpu->rip unless it transfers control;
 * such instructions end their block. */

#ifndef QUERN_CPU_X86_INSN_H
#define QUERN_CPU_X86_INSN_H

#include "cpu/x86/mem.h"
#include "cpu/x86/park.h"

#include <Zydis/Zydis.h>

typedef struct X86Insn X86Insn;
typedef void (*X86Handler)(X86Cpu *cpu, const X86Insn *insn);

struct X86Insn {
    X86Handler  run;
    int64_t     disp;
    uint64_t    imm;        /* immediate (sign-extended as the instruction says), or branch target from block start */
    const void *extra;      /* vector and FP instructions: their thunk */
    uint16_t    rip_offset; /* of this instruction from the start of its block */
    uint8_t     address;    /* X86AddressForm */
    uint8_t     flags;      /* X86_INSN_* */
    uint8_t     len;
    uint8_t     opsize;   /* operand size in bytes */
    uint8_t     addrsize; /* 2, 4 or 8 */
    uint8_t     base, index, scale, seg;
    /* Register operands: ModRM.reg, ModRM.rm (when it is a register) and VEX.vvvv, as numbers 0 to 15; X86_NO_REG
     * when absent. 8-bit general registers are byte offsets into cpu->gpr instead (AH is 1, CL is 8). Integer
     * instructions use them as their own tables say. */
    uint8_t reg, rm, reg3;
    uint8_t prefixes; /* X86_PREFIX_* */
    uint8_t aux;      /* handler's own */
};

enum { X86_PREFIX_LOCK = 1, X86_PREFIX_REP = 2, X86_PREFIX_REPNE = 4 };

/* How the memory operand becomes a linear address. */
typedef enum X86AddressForm {
    X86_ADDRESS_PLAIN,   /* 64-bit mode, 64-bit address, base 0: the sum is the linear address */
    X86_ADDRESS_BASED,   /* 64-bit mode, 64-bit address, FS or GS: plus its base */
    X86_ADDRESS_FLAT32,  /* flat 32-bit code, 32-bit address, base 0 and no limit: the low 32 bits of the sum */
    X86_ADDRESS_CHECKED, /* all others: through x86_linear() */
} X86AddressForm;

enum {
    X86_INSN_MEMORY   = 1, /* has a memory operand (base, index, disp, seg, address are valid) */
    X86_INSN_ENDS     = 2, /* last of its block */
    X86_INSN_TRANSFER = 4, /* sets cpu->rip (with X86_INSN_ENDS) */
    X86_INSN_PARKED   = 8, /* its handler is not in the hot set: x86_park() first */
};

/* Runs a handler from where the vector state may be live: part of the hot set (park.h). */
static inline void x86_insn_run(X86Cpu *cpu, const X86Insn *in)
{
    if (in->flags & X86_INSN_PARKED) {
        x86_park(cpu);
    }
    in->run(cpu, in);
}

/* Offset of the memory operand inside its segment. */
static inline uint64_t x86_operand_offset(const X86Cpu *cpu, const X86Insn *in)
{
    uint64_t a = cpu->gpr[in->base] + (cpu->gpr[in->index] << in->scale) + (uint64_t)in->disp;
    return in->addrsize == 8 ? a : in->addrsize == 4 ? (uint32_t)a : (uint16_t)a;
}

/* RIP or EIP of the instruction, and of the one after it. 16-bit code that runs on beyond FFFFh does not wrap: the
 * segment's limit decides (SDM 3, 5.3). Jumps cut their targets to the operand size themselves. */
static inline uint64_t x86_cut_rip(const X86Cpu *cpu, uint64_t rip)
{
    return cpu->code_size == X86_CODE64 ? rip : (uint32_t)rip;
}

static inline uint64_t x86_insn_rip(const X86Cpu *cpu, const X86Insn *in)
{
    return x86_cut_rip(cpu, cpu->rip + in->rip_offset);
}

static inline uint64_t x86_insn_next(const X86Cpu *cpu, const X86Insn *in)
{
    return x86_cut_rip(cpu, cpu->rip + in->rip_offset + in->len);
}

/* Vector, x87, MMX and state-management instructions (vector.c, fpu.c, xsave.c). Called by the decoder for what
 * the integer tables do not have; memory operand, len, opsize, prefixes and register fields are filled in already.
 * Chooses insn->run and insn->extra, and may set X86_INSN_ENDS (XSETBV, LDMXCSR that must be seen at once). false: not
 * one of these (or not offered by the guest's CPUID: #UD). */
bool x86_vector_decode(X86Cpu *cpu, const ZydisDecodedInstruction *decoded, const ZydisDecodedOperand *operands,
                       X86Insn *insn);

/* FP state at reset (SDM 3, table 9-1) and after FNINIT. */
void x86_fpu_reset(X86Cpu *cpu);

/* Prepares host signal handling (SIGFPE) and the thunk cache. Once a process; thread-safe; idempotent. */
bool x86_vector_init(Error *err);

#endif
