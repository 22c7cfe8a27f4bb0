/* What the files of the vector and FP instructions share: vector.c (choice of handler, thunks), vector_move.c,
 * vector_mask.c, fpu.c, fpu_env.c and xsave.c.
 *
 * Their handlers run on the vCPU's thread inside x86_run(). Whether CR0, CR4 and XCR0 allow an instruction at all is
 * decided once, when it is decoded: X86Cpu.mode_key keeps states apart that answer differently. */

#ifndef QUERN_CPU_X86_VECTOR_H
#define QUERN_CPU_X86_VECTOR_H

#include "base/bytes.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/insn.h"

/* Who executes an instruction, as far as #UD and #NM are concerned. */
typedef enum X86Unit {
    X86_UNIT_X87,    /* CR0.EM or TS: #NM */
    X86_UNIT_FWAIT,  /* CR0.MP and TS: #NM */
    X86_UNIT_MMX,    /* EM: #UD; TS: #NM */
    X86_UNIT_SSE,    /* EM, no OSFXSR: #UD; TS: #NM */
    X86_UNIT_AVX,    /* no protected mode, no OSXSAVE, XCR0 without SSE and AVX: #UD; TS: #NM */
    X86_UNIT_FXSAVE, /* EM or TS: #NM */
    X86_UNIT_XSAVE,  /* no OSXSAVE: #UD; TS: #NM */
} X86Unit;

/* The handler that raises what this unit's instructions raise now, or NULL when they may run. */
X86Handler x86_unit_blocked(const X86Cpu *cpu, X86Unit unit);

/* Raises #UD, for handlers chosen at decode time. */
void x86_vector_undefined(X86Cpu *cpu, const X86Insn *in);

/* Each chooses the handler of one family's instruction; false when it is not one of its own. Availability by CPUID
 * has been checked. */
bool x86_move_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn);
bool x86_mask_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn);
bool x86_fpu_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn);
bool x86_xsave_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn);

/* --- state --- */

typedef struct X86Vec128 {
    uint64_t q[2];
} X86Vec128;

static inline X86Vec128 *x86_xmm_at(X86Cpu *cpu, unsigned n)
{
    return (X86Vec128 *)x86_xmm(cpu, n);
}

static inline X86Vec128 *x86_ymm_high_at(X86Cpu *cpu, unsigned n)
{
    return (X86Vec128 *)x86_ymm_high(cpu, n);
}

/* Fields of the legacy area (SDM 1, table 10-2), x87 part. FIP and FDP hold the guest's 64-bit offsets; the
 * selectors are in X86Cpu. */
enum { FX_FCW = 0, FX_FSW = 2, FX_FTW = 4, FX_FOP = 6, FX_FIP = 8, FX_FDP = 16 };

enum {
    FSW_EXCEPTIONS = 0x3f,
    FSW_SF         = 0x40,
    FSW_ES         = 0x80,
    FSW_TOP        = 0x3800,
    FSW_B          = 0x8000,
};

static inline uint16_t x86_fsw(const X86Cpu *cpu)
{
    return load_le16(cpu->xsave + FX_FSW);
}

/* The x87 exception that is waiting, if there is one: raises #MF, or signals FERR#. */
void x86_fpu_raise_pending(X86Cpu *cpu);

static inline void x86_fpu_check_pending(X86Cpu *cpu)
{
    if (__builtin_expect(x86_fsw(cpu) & FSW_ES, 0)) {
        x86_fpu_raise_pending(cpu);
    }
}

/* Turns the x87 registers into MMX ones: TOP = 0, all tags valid. Afterwards MMn is ST slot n of the legacy area. */
void x86_mmx_enter(X86Cpu *cpu);

static inline uint8_t *x86_mmx(X86Cpu *cpu, unsigned n)
{
    return cpu->xsave + XSAVE_ST + 16 * n;
}

/* Writing an MMX register sets sign and exponent of the x87 register that it is. */
static inline void x86_mmx_written(X86Cpu *cpu, unsigned n)
{
    store_le16(x86_mmx(cpu, n) + 8, 0xffff);
}

/* LDMXCSR, FXRSTOR, XRSTOR: the bits that exist for this guest. */
uint32_t x86_mxcsr_mask(const X86Cpu *cpu);

static inline uint32_t x86_mxcsr(const X86Cpu *cpu)
{
    return load_le32(cpu->xsave + XSAVE_MXCSR);
}

/* --- memory --- */

/* Linear address of the memory operand, checked against its segment for `len` bytes. */
static inline uint64_t x86_vector_linear(X86Cpu *cpu, const X86Insn *in, unsigned len, X86Access access)
{
    uint64_t sum = cpu->gpr[in->base] + (cpu->gpr[in->index] << in->scale) + (uint64_t)in->disp;
    switch (in->address) {
    case X86_ADDRESS_PLAIN: return sum;
    case X86_ADDRESS_BASED: return sum + cpu->seg[in->seg].base;
    case X86_ADDRESS_FLAT32: return (uint32_t)sum;
    default: return x86_linear(cpu, in->seg, x86_operand_offset(cpu, in), len, access);
    }
}

/* The rule for legacy SSE's aligned operands, and VMOVAPS and its like. */
static inline void x86_check_alignment(X86Cpu *cpu, uint64_t linear, unsigned size)
{
    if (__builtin_expect(linear & (size - 1), 0)) {
        x86_raise_error(cpu, X86_GP, 0);
    }
}

/* Does MXCSR.MM (AMD's misaligned SSE mode) lift that rule for legacy SSE? */
static inline bool x86_misaligned_mode(const X86Cpu *cpu)
{
    return x86_mxcsr(cpu) & 1u << 17;
}

/* A variable that a hot handler fills by itself: without the compiler's zeroing of it. */
#define X86_UNINITIALIZED __attribute__((uninitialized))

#endif
