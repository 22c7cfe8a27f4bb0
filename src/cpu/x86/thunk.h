/* Thunks: small host functions that each run one guest vector or FP instruction on the host's own units.
 *
 * A thunk loads the registers that the instruction reads from the vCPU's state, runs the instruction and stores what
 * it wrote. It depends on the instruction's form only: guest register numbers and addresses are arguments, so that
 * one thunk serves every place with that form, and the number of thunks is bounded by the number of forms (times 256
 * for those with an immediate byte).
 *
 * The cache is one for the process, because the SIGFPE handler, which has to know it, is. It only grows; thunks live
 * until the process ends. Its code is mapped twice, for writing and for execution, never both in one mapping. */

#ifndef QUERN_CPU_X86_THUNK_H
#define QUERN_CPU_X86_THUNK_H

#include "cpu/x86/encode.h"
#include "cpu/x86/x86.h"

/* Bytes that a memory operand may have: what the caller's buffer holds. */
#define X86_THUNK_BUFFER 64

typedef enum X86ThunkKind {
    X86_THUNK_NONE,           /* absent, or an immediate, or implicit */
    X86_THUNK_XMM,            /* op points to the low half; the upper half is XSAVE_YMM - XSAVE_XMM further */
    X86_THUNK_YMM,            /* the same, both halves read */
    X86_THUNK_MMX,            /* op points to 8 bytes */
    X86_THUNK_GPR,            /* op points to 8 bytes; a register written is zero-extended to 64 bits */
    X86_THUNK_MEMORY_OPERAND, /* op points to the bytes, aligned to 32 */
} X86ThunkKind;

enum {
    X86_THUNK_MXCSR    = 1 << 0, /* runs with the guest's MXCSR, which takes the flags; may raise #XM */
    X86_THUNK_FLAGS    = 1 << 1, /* reads or writes the arithmetic flags (X86Cpu.arith) */
    X86_THUNK_XMM0_IN  = 1 << 2,
    X86_THUNK_XMM0_OUT = 1 << 3,
    X86_THUNK_LENGTHS  = 1 << 4, /* reads RAX and RDX (PCMPESTRx) */
    X86_THUNK_RCX_OUT  = 1 << 5,
    X86_THUNK_X87      = 1 << 6, /* loads and saves the whole x87 state; a memory operand is operand 0 */
};

/* What a thunk is made from, and its key in the cache: all bytes not used are 0. The form's registers, base register
 * and displacement are chosen by the cache. */
typedef struct X86ThunkSpec X86ThunkSpec;
struct X86ThunkSpec {
    X86Form form;
    uint8_t kind[4];     /* X86ThunkKind of explicit operands 0 to 3 */
    uint8_t encoding[4]; /* ZydisOperandEncoding of them */
    uint8_t written;     /* bit mask of operands */
    uint8_t flags;       /* X86_THUNK_* */
    /* Not used by the thunk's code: the handler's own. */
    uint8_t memory_operand; /* number of the memory operand */
    uint8_t memory_write;
    uint8_t memory_size;
    uint8_t aligned;     /* #GP unless aligned to its size */
    uint8_t mmx_written; /* bit mask of operands that are MMX registers and written */
    uint8_t mmx_enter;   /* switches the x87 state to MMX */
};

/* Runs the instruction. op are the operands as X86ThunkKind says, NULL where absent. Returns 0, or 1 when an unmasked
 * SIMD floating-point exception stopped it: MXCSR then has its flags and nothing else has changed. */
typedef unsigned (*X86ThunkCode)(void *op0, void *op1, void *op2, void *op3, X86Cpu *cpu);

typedef struct X86Thunk {
    X86ThunkCode code;
    X86ThunkSpec spec;
} X86Thunk;

/* The thunk for a spec; makes it when it is new. NULL when the encoder does not allow the form, when the host lacks
 * AVX for a VEX form, or when the cache is full. x86_vector_init() has been called. Any thread. */
const X86Thunk *x86_thunk_get(const X86ThunkSpec *spec);

/* Runs FLDENV on the x87 state with a 28-byte image in the 32-bit protected-mode format, and FXRSTOR64/FXSAVE64 over
 * X86Cpu.xsave, so that the host normalizes reserved bits. */
void x86_thunk_fldenv(X86Cpu *cpu, const uint8_t image[28]);
void x86_thunk_normalize(X86Cpu *cpu);

/* What is in the cache: for tests and statistics. */
typedef struct X86ThunkStats {
    size_t thunks, bytes;
} X86ThunkStats;
X86ThunkStats x86_thunk_stats(void);

#endif
