/* Saving and restoring vector and FP state: FXSAVE, FXRSTOR and the XSAVE family; MXCSR, VZEROALL, EMMS and fences.
 *
 * The vCPU's own image (X86Cpu.xsave) has the standard format. XINUSE is exact: a component is in use when it differs
 * from its initial configuration. XSAVEOPT and XSAVEC use the init optimization; none uses the modified one. Bytes
 * that the architecture does not have written are left alone: 416 to 511, reserved header bytes, and outside 64-bit
 * mode all of XMM8 to XMM15.
 *
 * Specification: Intel SDM volume 1 (December 2023), sections 10.5 and 13.7 to 13.12. See vector.h for threads. */

#include "cpu/x86/fpu.h"

#include "cpu/x86/thunk.h"

#include <stdatomic.h>

enum {
    AREA_XSTATE_BV = XSAVE_HEADER,
    AREA_XCOMP_BV  = XSAVE_HEADER + 8,
    AREA_LEGACY    = 416, /* end of what FXSAVE writes */
    MXCSR_INIT     = 0x1f80,
};

#define XCOMP_COMPACT (UINT64_C(1) << 63)
#define FEATURES      (XCR0_X87 | XCR0_SSE | XCR0_AVX)

/* --- the state -------------------------------------------------------------------------------------------------- */

static unsigned vector_registers(const X86Cpu *cpu)
{
    return cpu->code_size == X86_CODE64 ? 16 : 8;
}

/* Writes the x87 part of an FXSAVE image, bytes 0 to 23. `wide`: 64-bit pointers. */
static void put_x87(const X86Cpu *cpu, uint8_t *area, bool wide)
{
    memcpy(area, cpu->xsave, XSAVE_MXCSR);
    if (!wide) {
        store_le16(area + FX_FIP + 4, cpu->fpu_cs);
        store_le16(area + FX_FIP + 6, 0);
        store_le16(area + FX_FDP + 4, cpu->fpu_ds);
        store_le16(area + FX_FDP + 6, 0);
    }
}

/* Takes the x87 part from an FXSAVE image; the host clears what does not exist. */
static void get_x87(X86Cpu *cpu, const uint8_t *area, bool wide)
{
    uint8_t pointers[XSAVE_MXCSR - FX_FOP];
    memcpy(cpu->xsave, area, FX_FOP);
    memcpy(cpu->xsave + XSAVE_ST, area + XSAVE_ST, XSAVE_XMM - XSAVE_ST);
    memcpy(pointers, area + FX_FOP, sizeof pointers);
    x86_thunk_normalize(cpu);
    memcpy(cpu->xsave + FX_FOP, pointers, sizeof pointers);
    store_le16(cpu->xsave + FX_FOP, load_le16(pointers) & 0x7ff);

    uint16_t cs = 0, ds = 0;
    if (wide) {
        /* Pointers are linear addresses of 48 or 57 bits, sign-extended as the host does. */
        int shift = cpu->lin_bits ? 64 - (int)cpu->lin_bits : 16;
        store_le64(cpu->xsave + FX_FIP, (uint64_t)((int64_t)(load_le64(area + FX_FIP) << shift) >> shift));
        store_le64(cpu->xsave + FX_FDP, (uint64_t)((int64_t)(load_le64(area + FX_FDP) << shift) >> shift));
    } else {
        cs = load_le16(area + FX_FIP + 4);
        ds = load_le16(area + FX_FDP + 4);
        store_le64(cpu->xsave + FX_FIP, load_le32(area + FX_FIP));
        store_le64(cpu->xsave + FX_FDP, load_le32(area + FX_FDP));
    }
    bool deprecated = x86_has(cpu, X86_FEATURE_ZERO_FCS_FDS);
    cpu->fpu_cs     = deprecated ? 0 : cs;
    cpu->fpu_ds     = deprecated ? 0 : ds;
}

static void init_x87(X86Cpu *cpu)
{
    memset(cpu->xsave + XSAVE_ST, 0, XSAVE_XMM - XSAVE_ST);
    x86_fpu_init_state(cpu, 0x37f);
}

static void check_mxcsr(X86Cpu *cpu, uint32_t value)
{
    if (value & ~x86_mxcsr_mask(cpu)) {
        x86_raise_error(cpu, X86_GP, 0);
    }
}

/* --- FXSAVE, FXRSTOR -------------------------------------------------------------------------------------------- */

/* AMD's fast FXSAVE and FXRSTOR (EFER.FFXSR): kernel code in 64-bit mode leaves the XMM registers out. */
static bool is_fast(const X86Cpu *cpu)
{
    return cpu->efer & EFER_FFXSR && cpu->cpl == 0 && cpu->code_size == X86_CODE64;
}

/* aux: 1 with REX.W. */
static void run_fxsave(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t  area[AREA_LEGACY];
    unsigned len    = XSAVE_XMM + (is_fast(cpu) ? 0 : 16 * vector_registers(cpu));
    uint64_t linear = x86_ea(cpu, in, 512, X86_WRITE);

    x86_check_ac(cpu, linear, 4);
    x86_check_alignment(cpu, linear, 16);
    memcpy(area, cpu->xsave, sizeof area);
    put_x87(cpu, area, in->aux);
    store_le32(area + XSAVE_MXCSR + 4, x86_mxcsr_mask(cpu));
    x86_probe_write(cpu, linear, 512);
    x86_store_bytes(cpu, linear, area, len);
}

static void run_fxrstor(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t  area[512];
    uint64_t linear = x86_ea(cpu, in, 512, X86_READ);

    x86_check_ac(cpu, linear, 4);
    x86_check_alignment(cpu, linear, 16);
    x86_load_bytes(cpu, linear, area, sizeof area);
    check_mxcsr(cpu, load_le32(area + XSAVE_MXCSR));
    if (!is_fast(cpu)) {
        memcpy(cpu->xsave + XSAVE_XMM, area + XSAVE_XMM, 16 * vector_registers(cpu));
    }
    memcpy(cpu->xsave + XSAVE_MXCSR, area + XSAVE_MXCSR, 4);
    get_x87(cpu, area, in->aux);
}

/* --- XSAVE and its variants ------------------------------------------------------------------------------------- */

typedef enum Variant { VARIANT_PLAIN, VARIANT_OPT, VARIANT_COMPACT, VARIANT_SUPERVISOR } Variant;

enum { AUX_WIDE = 1, AUX_VARIANT_SHIFT = 1 };

static uint64_t requested(const X86Cpu *cpu, Variant variant)
{
    uint64_t mask = (cpu->gpr[X86_RDX] << 32) | (uint32_t)cpu->gpr[X86_RAX];
    return mask & (cpu->xcr0 | (variant == VARIANT_SUPERVISOR ? cpu->xss : 0)) & FEATURES;
}

static uint64_t xsave_linear(X86Cpu *cpu, const X86Insn *in, unsigned len, X86Access access)
{
    uint64_t linear = x86_ea(cpu, in, len, access);
    x86_check_alignment(cpu, linear, 64);
    return linear;
}

/* Fills the area's components from the vCPU and calls `write` for each piece: probed first, then stored. */
static void write_components(X86Cpu *cpu, uint64_t linear, const uint8_t *area, uint64_t components, bool mxcsr,
                             bool store)
{
    struct {
        unsigned from, len;
        bool     wanted;
    } pieces[] = {
        { 0, XSAVE_MXCSR, components & XCR0_X87 },
        { XSAVE_ST, 128, components & XCR0_X87 },
        { XSAVE_MXCSR, 8, mxcsr },
        { XSAVE_XMM, 16 * vector_registers(cpu), components & XCR0_SSE },
        { XSAVE_YMM, 16 * vector_registers(cpu), components & XCR0_AVX },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++) {
        if (!pieces[i].wanted) {
            continue;
        } else if (store) {
            x86_store_bytes(cpu, linear + pieces[i].from, area + pieces[i].from, pieces[i].len);
        } else {
            x86_probe_write(cpu, linear + pieces[i].from, pieces[i].len);
        }
    }
}

static void run_xsave(X86Cpu *cpu, const X86Insn *in)
{
    Variant variant = (Variant)(in->aux >> AUX_VARIANT_SHIFT);
    bool    compact = variant == VARIANT_COMPACT || variant == VARIANT_SUPERVISOR;
    uint8_t area[XSAVE_SIZE];

    if (variant == VARIANT_SUPERVISOR && cpu->cpl) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    uint64_t rfbm   = requested(cpu, variant);
    uint64_t inuse  = x86_xinuse(cpu);
    unsigned size   = rfbm & XCR0_AVX ? XSAVE_SIZE : XSAVE_HEADER + 64;
    uint64_t linear = xsave_linear(cpu, in, size, X86_WRITE);

    /* XSAVEC and XSAVES save SSE when MXCSR alone is not initial. */
    if (compact && x86_mxcsr(cpu) != MXCSR_INIT) {
        inuse |= XCR0_SSE;
    }
    uint64_t components = variant == VARIANT_PLAIN ? rfbm : rfbm & inuse;
    bool     mxcsr      = compact ? components & XCR0_SSE : rfbm & (XCR0_SSE | XCR0_AVX);

    memcpy(area, cpu->xsave, sizeof area);
    put_x87(cpu, area, in->aux & AUX_WIDE);
    store_le32(area + XSAVE_MXCSR + 4, x86_mxcsr_mask(cpu));
    x86_probe_write(cpu, linear + AREA_XSTATE_BV, compact ? 16 : 8);
    write_components(cpu, linear, area, components, mxcsr, false);
    uint64_t xstate = rfbm & inuse;
    if (!compact) {
        xstate |= x86_load(cpu, linear + AREA_XSTATE_BV, 8) & ~rfbm;
    }
    write_components(cpu, linear, area, components, mxcsr, true);
    x86_store(cpu, linear + AREA_XSTATE_BV, xstate, 8);
    if (compact) {
        x86_store(cpu, linear + AREA_XCOMP_BV, rfbm | XCOMP_COMPACT, 8);
    }
}

/* --- XRSTOR ----------------------------------------------------------------------------------------------------- */

/* Raises #GP for a header that XRSTOR refuses. */
static void check_header(X86Cpu *cpu, const uint8_t *header, bool supervisor)
{
    uint64_t xstate = load_le64(header), xcomp = load_le64(header + 8);
    uint64_t known = (cpu->xcr0 | (supervisor ? cpu->xss : 0)) & FEATURES;
    bool     good;

    if (xcomp & XCOMP_COMPACT) {
        good = x86_has(cpu, X86_FEATURE_XSAVEC) && !(xcomp & ~XCOMP_COMPACT & ~known) && !(xstate & ~xcomp) &&
               !(xstate & XCOMP_COMPACT) && x86_all_zero(header + 16, 48);
    } else {
        good = !supervisor && !(xstate & ~known) && x86_all_zero(header + 8, 16);
    }
    if (!good) {
        x86_raise_error(cpu, X86_GP, 0);
    }
}

static void run_xrstor(X86Cpu *cpu, const X86Insn *in)
{
    bool    supervisor = in->aux >> AUX_VARIANT_SHIFT == VARIANT_SUPERVISOR;
    uint8_t area[XSAVE_SIZE];

    if (supervisor && cpu->cpl) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    uint64_t rfbm   = requested(cpu, supervisor ? VARIANT_SUPERVISOR : VARIANT_PLAIN);
    unsigned size   = rfbm & XCR0_AVX ? XSAVE_SIZE : XSAVE_HEADER + 64;
    uint64_t linear = xsave_linear(cpu, in, size, X86_READ);

    x86_load_bytes(cpu, linear, area, XSAVE_HEADER + 64);
    check_header(cpu, area + XSAVE_HEADER, supervisor);
    bool     compact = load_le64(area + AREA_XCOMP_BV) & XCOMP_COMPACT;
    uint64_t present = load_le64(area + AREA_XSTATE_BV) & rfbm;
    uint64_t absent  = rfbm & ~present;
    bool     mxcsr   = compact ? present & XCR0_SSE : rfbm & (XCR0_SSE | XCR0_AVX);
    /* The only extended component comes first in the compacted format: at the same place in both. */
    if (present & XCR0_AVX) {
        x86_load_bytes(cpu, linear + XSAVE_YMM, area + XSAVE_YMM, XSAVE_SIZE - XSAVE_YMM);
    }
    if (mxcsr) {
        check_mxcsr(cpu, load_le32(area + XSAVE_MXCSR));
    }

    size_t vectors = 16 * vector_registers(cpu);
    if (present & XCR0_SSE) {
        memcpy(cpu->xsave + XSAVE_XMM, area + XSAVE_XMM, vectors);
    } else if (absent & XCR0_SSE) {
        memset(cpu->xsave + XSAVE_XMM, 0, vectors);
    }
    if (present & XCR0_AVX) {
        memcpy(cpu->xsave + XSAVE_YMM, area + XSAVE_YMM, vectors);
    } else if (absent & XCR0_AVX) {
        memset(cpu->xsave + XSAVE_YMM, 0, vectors);
    }
    if (mxcsr) {
        memcpy(cpu->xsave + XSAVE_MXCSR, area + XSAVE_MXCSR, 4);
    } else if (compact && absent & XCR0_SSE) {
        store_le32(cpu->xsave + XSAVE_MXCSR, MXCSR_INIT);
    }
    if (present & XCR0_X87) {
        get_x87(cpu, area, in->aux & AUX_WIDE);
    } else if (absent & XCR0_X87) {
        init_x87(cpu);
    }
}

/* --- small ones ------------------------------------------------------------------------------------------------- */

static void run_ldmxcsr(X86Cpu *cpu, const X86Insn *in)
{
    uint32_t value = (uint32_t)x86_load(cpu, x86_ea(cpu, in, 4, X86_READ), 4);
    check_mxcsr(cpu, value);
    store_le32(cpu->xsave + XSAVE_MXCSR, value);
}

static void run_stmxcsr(X86Cpu *cpu, const X86Insn *in)
{
    x86_store(cpu, x86_ea(cpu, in, 4, X86_WRITE), x86_mxcsr(cpu), 4);
}

static void run_vzeroupper(X86Cpu *cpu, const X86Insn *in)
{
    memset(cpu->xsave + XSAVE_YMM, 0, 16 * vector_registers(cpu));
}

static void run_vzeroall(X86Cpu *cpu, const X86Insn *in)
{
    memset(cpu->xsave + XSAVE_XMM, 0, 16 * vector_registers(cpu));
    memset(cpu->xsave + XSAVE_YMM, 0, 16 * vector_registers(cpu));
}

static void run_emms(X86Cpu *cpu, const X86Insn *in)
{
    x86_fpu_check_pending(cpu);
    x86_mmx_enter(cpu);
    cpu->xsave[FX_FTW] = 0;
}

/* The host's memory order is the guest's, but for stores that the executor's own loads may pass. */
static void run_fence(X86Cpu *cpu, const X86Insn *in)
{
    atomic_thread_fence(memory_order_seq_cst);
}

/* --- decoding --------------------------------------------------------------------------------------------------- */

typedef struct Row {
    uint16_t   mnemonic;
    uint8_t    unit; /* X86Unit, or NO_UNIT */
    uint8_t    aux;
    X86Handler run;
} Row;

enum { NO_UNIT = 0xff };

#define PLAIN(m, unit, run)                                                                                            \
    {                                                                                                                  \
        ZYDIS_MNEMONIC_##m, unit, 0, run                                                                               \
    }
#define FX(m, wide, run)                                                                                               \
    {                                                                                                                  \
        ZYDIS_MNEMONIC_##m, X86_UNIT_FXSAVE, wide, run                                                                 \
    }
#define XS(m, variant, run)                                                                                            \
    { ZYDIS_MNEMONIC_##m, X86_UNIT_XSAVE, VARIANT_##variant << AUX_VARIANT_SHIFT, run },                               \
    {                                                                                                                  \
        ZYDIS_MNEMONIC_##m##64, X86_UNIT_XSAVE, VARIANT_##variant << AUX_VARIANT_SHIFT | AUX_WIDE, run                 \
    }

static const Row rows[] = {
    FX(FXSAVE, 0, run_fxsave),
    FX(FXSAVE64, 1, run_fxsave),
    FX(FXRSTOR, 0, run_fxrstor),
    FX(FXRSTOR64, 1, run_fxrstor),
    XS(XSAVE, PLAIN, run_xsave),
    XS(XSAVEOPT, OPT, run_xsave),
    XS(XSAVEC, COMPACT, run_xsave),
    XS(XSAVES, SUPERVISOR, run_xsave),
    XS(XRSTOR, PLAIN, run_xrstor),
    XS(XRSTORS, SUPERVISOR, run_xrstor),
    PLAIN(LDMXCSR, X86_UNIT_SSE, run_ldmxcsr),
    PLAIN(STMXCSR, X86_UNIT_SSE, run_stmxcsr),
    PLAIN(VLDMXCSR, X86_UNIT_AVX, run_ldmxcsr),
    PLAIN(VSTMXCSR, X86_UNIT_AVX, run_stmxcsr),
    PLAIN(VZEROUPPER, X86_UNIT_AVX, run_vzeroupper),
    PLAIN(VZEROALL, X86_UNIT_AVX, run_vzeroall),
    PLAIN(EMMS, X86_UNIT_MMX, run_emms),
    PLAIN(FEMMS, X86_UNIT_MMX, run_emms),
    PLAIN(MFENCE, NO_UNIT, run_fence),
    PLAIN(LFENCE, NO_UNIT, run_fence),
    PLAIN(SFENCE, NO_UNIT, run_fence),
};

bool x86_xsave_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].mnemonic == d->mnemonic) {
            X86Handler blocked = rows[i].unit == NO_UNIT ? NULL : x86_unit_blocked(cpu, (X86Unit)rows[i].unit);
            insn->aux          = rows[i].aux;
            insn->run          = blocked ? blocked : rows[i].run;
            return true;
        }
    }
    return false;
}
