/* What the files of the vector and FP instructions share: vector.c (choice of handler, thunks), vector_move.c,
 * vector_mask.c, fpu.c, fpu_env.c and xsave.c.
 *
 * Their handlers run on the vCPU's thread inside x86_run(). Whether CR0, CR4 and XCR0 allow an instruction at all is
 * decided once, when it is decoded: X86Cpu.mode_key keeps states apart that answer differently. */

#ifndef QUERN_CPU_X86_VECTOR_H
#define QUERN_CPU_X86_VECTOR_H

#include "base/bytes.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/ops.h"

struct X86ThunkSpec; /* thunk.h */

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
bool x86_amd_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn);
bool x86_xsave_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn);

/* Does the host run EXTRQ and INSERTQ? */
static inline bool x86_sse4a_is_native(void)
{
    return __builtin_cpu_supports("sse4a");
}

/* For the translator: the form and the register numbers (in the order of the operands) of a vector instruction that the
 * host can run as it is, with the guest's registers in its own. false: C has to run it, or it raises something now. */
bool x86_vector_inline(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops,
                       struct X86ThunkSpec *spec, uint8_t number[4]);

/* The same for x87 instructions; the stack is the host's. With X86_THUNK_FLAGS they write EFLAGS, or read them. */
bool x86_fpu_inline(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops,
                    struct X86ThunkSpec *spec, bool *reads_flags);

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

/* After each instruction while cpu->ferr is set: what it ignored is pending again, and FERR# follows FSW and CR0. */
void x86_fpu_follow_error(X86Cpu *cpu);

/* Asserts FERR# for an instruction that waits. true: it has to wait on, for an interrupt or IGNNE#. */
bool x86_fpu_report_error(X86Cpu *cpu);

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

/* Loads and stores of 1 to 8 bytes, and longer ones, that go through the TLB's fast path where they can. #AC: shorter
 * ones check their natural alignment, longer ones `align` bytes (2 to 16), as hosts do, which look at an operand's
 * parts. With alignment checks in force nothing takes the fast path. */

static inline uint64_t x86_vector_load(X86Cpu *cpu, const X86Insn *in, uint64_t linear, unsigned size)
{
    switch (size) {
    case 1: return LOAD(8, cpu, in, linear);
    case 2: return LOAD(16, cpu, in, linear);
    case 4: return LOAD(32, cpu, in, linear);
    default: return LOAD(64, cpu, in, linear);
    }
}

static inline void x86_vector_store(X86Cpu *cpu, const X86Insn *in, uint64_t linear, uint64_t value, unsigned size)
{
    switch (size) {
    case 1: STORE(8, cpu, in, linear, (uint8_t)value); break;
    case 2: STORE(16, cpu, in, linear, (uint16_t)value); break;
    case 4: STORE(32, cpu, in, linear, (uint32_t)value); break;
    default: STORE(64, cpu, in, linear, value); break;
    }
}

static inline void x86_check_ac(X86Cpu *cpu, uint64_t linear, unsigned align)
{
    if (__builtin_expect(cpu->eflags & EFLAGS_AC, 0) && cpu->cpl == 3 && cpu->cr0 & CR0_AM && linear & (align - 1)) {
        x86_raise_error(cpu, X86_AC, 0);
    }
}

static inline __attribute__((always_inline)) void x86_vector_load_long(X86Cpu *cpu, uint64_t linear, void *buf,
                                                                       unsigned size, unsigned align)
{
    const X86TlbEntry *e = x86_tlb_slot(cpu, linear);
    if (x86_tlb_hit(e->read, linear, size)) {
        memcpy(buf, (const void *)(linear + e->addend), size);
        return;
    }
    x86_check_ac(cpu, linear, align);
    x86_load_bytes(cpu, linear, buf, size);
}

static inline __attribute__((always_inline)) void x86_vector_store_long(X86Cpu *cpu, uint64_t linear, const void *buf,
                                                                        unsigned size, unsigned align)
{
    const X86TlbEntry *e = x86_tlb_slot(cpu, linear);
    if (x86_tlb_hit(e->write, linear, size)) {
        memcpy((void *)(linear + e->addend), buf, size);
        return;
    }
    x86_check_ac(cpu, linear, align);
    x86_store_bytes(cpu, linear, buf, size);
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
