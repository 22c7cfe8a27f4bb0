/* Vector and MMX instructions that only move data: plain copies between the vCPU's state and guest memory.
 *
 * X86Insn.reg, rm and reg3 are the numbers of operands 0, 1 and 2. Legacy SSE keeps the upper half of a YMM register,
 * VEX clears it. Non-temporal moves are ordinary ones. See vector.h for threads. */

#include "cpu/x86/vector.h"

static inline void clear_high(X86Cpu *cpu, unsigned n)
{
    *x86_ymm_high_at(cpu, n) = (X86Vec128){ { 0, 0 } };
}

/* Each handler comes in a legacy and a VEX form, which differ in the upper half only. */
#define BOTH(name, dest, body)                                                                                         \
    static void name(X86Cpu *cpu, const X86Insn *in)                                                                   \
    {                                                                                                                  \
        body;                                                                                                          \
    }                                                                                                                  \
    static void v_##name(X86Cpu *cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        body;                                                                                                          \
        clear_high(cpu, in->dest);                                                                                     \
    }

static inline X86Vec128 load16(X86Cpu *cpu, const X86Insn *in, bool aligned)
{
    X86_UNINITIALIZED X86Vec128 v;
    uint64_t                    linear = x86_ea(cpu, in, 16, X86_READ);
    if (aligned) {
        x86_check_alignment(cpu, linear, 16);
    }
    x86_vector_load_long(cpu, linear, &v, 16, 16);
    return v;
}

static inline uint64_t load_small(X86Cpu *cpu, const X86Insn *in, unsigned size)
{
    return x86_vector_load(cpu, in, x86_ea(cpu, in, size, X86_READ), size);
}

static inline void store_small(X86Cpu *cpu, const X86Insn *in, uint64_t value, unsigned size)
{
    x86_vector_store(cpu, in, x86_ea(cpu, in, size, X86_WRITE), value, size);
}

/* --- whole registers -------------------------------------------------------------------------------------------- */

BOTH(copy16, reg, *x86_xmm_at(cpu, in->reg) = *x86_xmm_at(cpu, in->rm))
BOTH(load16_any, reg, *x86_xmm_at(cpu, in->reg) = load16(cpu, in, false))
BOTH(load16_aligned, reg, *x86_xmm_at(cpu, in->reg) = load16(cpu, in, true))

static void store16_any(X86Cpu *cpu, const X86Insn *in)
{
    x86_vector_store_long(cpu, x86_ea(cpu, in, 16, X86_WRITE), x86_xmm_at(cpu, in->rm), 16, 16);
}

static void store16_aligned(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t linear = x86_ea(cpu, in, 16, X86_WRITE);
    x86_check_alignment(cpu, linear, 16);
    x86_vector_store_long(cpu, linear, x86_xmm_at(cpu, in->rm), 16, 16);
}

static void copy32(X86Cpu *cpu, const X86Insn *in)
{
    *x86_xmm_at(cpu, in->reg)      = *x86_xmm_at(cpu, in->rm);
    *x86_ymm_high_at(cpu, in->reg) = *x86_ymm_high_at(cpu, in->rm);
}

static inline void load32(X86Cpu *cpu, const X86Insn *in, bool aligned)
{
    X86_UNINITIALIZED X86Vec128 v[2];
    uint64_t                    linear = x86_ea(cpu, in, 32, X86_READ);
    if (aligned) {
        x86_check_alignment(cpu, linear, 32);
    }
    x86_vector_load_long(cpu, linear, v, 32, 16);
    *x86_xmm_at(cpu, in->reg)      = v[0];
    *x86_ymm_high_at(cpu, in->reg) = v[1];
}

static inline void store32(X86Cpu *cpu, const X86Insn *in, bool aligned)
{
    X86Vec128 v[2]   = { *x86_xmm_at(cpu, in->rm), *x86_ymm_high_at(cpu, in->rm) };
    uint64_t  linear = x86_ea(cpu, in, 32, X86_WRITE);
    if (aligned) {
        x86_check_alignment(cpu, linear, 32);
    }
    x86_vector_store_long(cpu, linear, v, 32, 16);
}

static void load32_any(X86Cpu *cpu, const X86Insn *in)
{
    load32(cpu, in, false);
}

static void load32_aligned(X86Cpu *cpu, const X86Insn *in)
{
    load32(cpu, in, true);
}

static void store32_any(X86Cpu *cpu, const X86Insn *in)
{
    store32(cpu, in, false);
}

static void store32_aligned(X86Cpu *cpu, const X86Insn *in)
{
    store32(cpu, in, true);
}

/* --- parts ------------------------------------------------------------------------------------------------------ */

/* MOVSS and MOVSD between registers keep the rest of the first source: operand 0 itself, or operand 1 under VEX. */
static void copy_ss(X86Cpu *cpu, const X86Insn *in)
{
    memcpy(x86_xmm_at(cpu, in->reg), x86_xmm_at(cpu, in->rm), 4);
}

static void copy_sd(X86Cpu *cpu, const X86Insn *in)
{
    x86_xmm_at(cpu, in->reg)->q[0] = x86_xmm_at(cpu, in->rm)->q[0];
}

static void v_copy_ss(X86Cpu *cpu, const X86Insn *in)
{
    X86Vec128 v = *x86_xmm_at(cpu, in->rm);
    memcpy(&v, x86_xmm_at(cpu, in->reg3), 4);
    *x86_xmm_at(cpu, in->reg) = v;
    clear_high(cpu, in->reg);
}

/* Operand 0 = two quadwords, in VEX forms taken from operands 1 and 2. */
#define PAIR(name, low, high)                                                                                          \
    static void name(X86Cpu *cpu, const X86Insn *in)                                                                   \
    {                                                                                                                  \
        uint64_t a = (low), b = (high);                                                                                \
        *x86_xmm_at(cpu, in->reg) = (X86Vec128){ { a, b } };                                                           \
        clear_high(cpu, in->reg);                                                                                      \
    }

PAIR(v_copy_sd, x86_xmm_at(cpu, in->reg3)->q[0], x86_xmm_at(cpu, in->rm)->q[1])
PAIR(v_movhlps, x86_xmm_at(cpu, in->reg3)->q[1], x86_xmm_at(cpu, in->rm)->q[1])
PAIR(v_movlhps, x86_xmm_at(cpu, in->rm)->q[0], x86_xmm_at(cpu, in->reg3)->q[0])
PAIR(v_load_low, load_small(cpu, in, 8), x86_xmm_at(cpu, in->rm)->q[1])
PAIR(v_load_high, x86_xmm_at(cpu, in->rm)->q[0], load_small(cpu, in, 8))

static void movhlps(X86Cpu *cpu, const X86Insn *in)
{
    x86_xmm_at(cpu, in->reg)->q[0] = x86_xmm_at(cpu, in->rm)->q[1];
}

static void movlhps(X86Cpu *cpu, const X86Insn *in)
{
    x86_xmm_at(cpu, in->reg)->q[1] = x86_xmm_at(cpu, in->rm)->q[0];
}

static void load_low(X86Cpu *cpu, const X86Insn *in)
{
    x86_xmm_at(cpu, in->reg)->q[0] = load_small(cpu, in, 8);
}

static void load_high(X86Cpu *cpu, const X86Insn *in)
{
    x86_xmm_at(cpu, in->reg)->q[1] = load_small(cpu, in, 8);
}

/* The rest of the register becomes 0. */
BOTH(load4, reg, *x86_xmm_at(cpu, in->reg) = ((X86Vec128){ { load_small(cpu, in, 4), 0 } }))
BOTH(load8, reg, *x86_xmm_at(cpu, in->reg) = ((X86Vec128){ { load_small(cpu, in, 8), 0 } }))
BOTH(copy_q, reg, *x86_xmm_at(cpu, in->reg) = ((X86Vec128){ { x86_xmm_at(cpu, in->rm)->q[0], 0 } }))
BOTH(from_gpr4, reg, *x86_xmm_at(cpu, in->reg) = ((X86Vec128){ { (uint32_t)cpu->gpr[in->rm], 0 } }))
BOTH(from_gpr8, reg, *x86_xmm_at(cpu, in->reg) = ((X86Vec128){ { cpu->gpr[in->rm], 0 } }))

static void to_gpr4(X86Cpu *cpu, const X86Insn *in)
{
    cpu->gpr[in->reg] = (uint32_t)x86_xmm_at(cpu, in->rm)->q[0];
}

static void to_gpr8(X86Cpu *cpu, const X86Insn *in)
{
    cpu->gpr[in->reg] = x86_xmm_at(cpu, in->rm)->q[0];
}

static void store4(X86Cpu *cpu, const X86Insn *in)
{
    store_small(cpu, in, (uint32_t)x86_xmm_at(cpu, in->rm)->q[0], 4);
}

static void store8(X86Cpu *cpu, const X86Insn *in)
{
    store_small(cpu, in, x86_xmm_at(cpu, in->rm)->q[0], 8);
}

static void store_high(X86Cpu *cpu, const X86Insn *in)
{
    store_small(cpu, in, x86_xmm_at(cpu, in->rm)->q[1], 8);
}

/* MOVNTI */
static void store_gpr4(X86Cpu *cpu, const X86Insn *in)
{
    store_small(cpu, in, (uint32_t)cpu->gpr[in->rm], 4);
}

static void store_gpr8(X86Cpu *cpu, const X86Insn *in)
{
    store_small(cpu, in, cpu->gpr[in->rm], 8);
}

/* --- MMX -------------------------------------------------------------------------------------------------------- */

static inline void mmx_set(X86Cpu *cpu, unsigned n, uint64_t value)
{
    x86_mmx_enter(cpu);
    store_le64(x86_mmx(cpu, n), value);
    x86_mmx_written(cpu, n);
}

/* The value of register n seen as MMX, before or after the switch. */
static inline uint64_t mmx_get(X86Cpu *cpu, unsigned n)
{
    x86_mmx_enter(cpu);
    return load_le64(x86_mmx(cpu, n));
}

#define MMX(name, body)                                                                                                \
    static void name(X86Cpu *cpu, const X86Insn *in)                                                                   \
    {                                                                                                                  \
        x86_fpu_check_pending(cpu);                                                                                    \
        body;                                                                                                          \
    }

MMX(mmx_copy, mmx_set(cpu, in->reg, mmx_get(cpu, in->rm)))
MMX(mmx_load4, mmx_set(cpu, in->reg, load_small(cpu, in, 4)))
MMX(mmx_load8, mmx_set(cpu, in->reg, load_small(cpu, in, 8)))
MMX(mmx_from_gpr4, mmx_set(cpu, in->reg, (uint32_t)cpu->gpr[in->rm]))
MMX(mmx_from_gpr8, mmx_set(cpu, in->reg, cpu->gpr[in->rm]))
MMX(mmx_from_xmm, mmx_set(cpu, in->reg, x86_xmm_at(cpu, in->rm)->q[0]))
MMX(mmx_to_gpr4, cpu->gpr[in->reg] = (uint32_t)mmx_get(cpu, in->rm))
MMX(mmx_to_gpr8, cpu->gpr[in->reg] = mmx_get(cpu, in->rm))
MMX(mmx_to_xmm, *x86_xmm_at(cpu, in->reg) = ((X86Vec128){ { mmx_get(cpu, in->rm), 0 } }))

static inline void mmx_store(X86Cpu *cpu, const X86Insn *in, unsigned size)
{
    x86_fpu_check_pending(cpu);
    uint64_t linear = x86_ea(cpu, in, size, X86_WRITE);
    x86_check_ac(cpu, linear, size);
    x86_probe_write(cpu, linear, size); /* the switch to MMX happens only when the store will not fault */
    uint64_t value = mmx_get(cpu, in->rm);
    x86_store(cpu, linear, size == 4 ? (uint32_t)value : value, size);
}

static void mmx_store4(X86Cpu *cpu, const X86Insn *in)
{
    mmx_store(cpu, in, 4);
}

static void mmx_store8(X86Cpu *cpu, const X86Insn *in)
{
    mmx_store(cpu, in, 8);
}

/* --- decoding --------------------------------------------------------------------------------------------------- */

typedef struct Move {
    X86Handler copy, load, store;
} Move;

/* Which shape a mnemonic has. */
typedef enum Shape {
    SHAPE_NONE,
    SHAPE_FULL,         /* all of the register */
    SHAPE_FULL_ALIGNED, /* the same, aligned in memory */
    SHAPE_SS,
    SHAPE_SD,
    SHAPE_D, /* MOVD */
    SHAPE_Q, /* MOVQ */
    SHAPE_LOW,
    SHAPE_HIGH,
    SHAPE_HLPS,
    SHAPE_LHPS,
    SHAPE_NTI,
    SHAPE_CROSS, /* between MMX and XMM */
} Shape;

static Shape shape_of(ZydisMnemonic mnemonic)
{
#define CASE(m)                                                                                                        \
    case ZYDIS_MNEMONIC_##m:                                                                                           \
    case ZYDIS_MNEMONIC_V##m
    switch (mnemonic) {
        CASE(MOVUPS) : CASE(MOVUPD) : CASE(MOVDQU) : CASE(LDDQU) : return SHAPE_FULL;
        CASE(MOVAPS)
            : CASE(MOVAPD)
            : CASE(MOVDQA) : CASE(MOVNTPS) : CASE(MOVNTPD) : CASE(MOVNTDQ) : CASE(MOVNTDQA) : return SHAPE_FULL_ALIGNED;
    case ZYDIS_MNEMONIC_MOVNTSS: CASE(MOVSS) : return SHAPE_SS;
    case ZYDIS_MNEMONIC_MOVNTSD: CASE(MOVSD) : return SHAPE_SD; CASE(MOVD) : return SHAPE_D;
    case ZYDIS_MNEMONIC_MOVNTQ:
        CASE(MOVQ) : return SHAPE_Q;
        CASE(MOVLPS) : CASE(MOVLPD) : return SHAPE_LOW;
        CASE(MOVHPS) : CASE(MOVHPD) : return SHAPE_HIGH;
        CASE(MOVHLPS) : return SHAPE_HLPS;
        CASE(MOVLHPS) : return SHAPE_LHPS;
    case ZYDIS_MNEMONIC_MOVNTI: return SHAPE_NTI;
    case ZYDIS_MNEMONIC_MOVDQ2Q:
    case ZYDIS_MNEMONIC_MOVQ2DQ: return SHAPE_CROSS;
    default: return SHAPE_NONE;
    }
#undef CASE
}

static ZydisRegisterClass class_of(const ZydisDecodedOperand *op)
{
    return op->type == ZYDIS_OPERAND_TYPE_REGISTER ? ZydisRegisterGetClass(op->reg.value) : ZYDIS_REGCLASS_INVALID;
}

static bool is_gpr(ZydisRegisterClass class)
{
    return class == ZYDIS_REGCLASS_GPR32 || class == ZYDIS_REGCLASS_GPR64;
}

/* MOVD and MOVQ with general registers, by the classes of both operands. */
static Move gpr_move(Shape shape, bool vex, bool mmx, ZydisRegisterClass to, ZydisRegisterClass from)
{
    bool wide = to == ZYDIS_REGCLASS_GPR64 || from == ZYDIS_REGCLASS_GPR64;
    if (mmx) {
        if (is_gpr(to)) {
            return (Move){ .copy = wide ? mmx_to_gpr8 : mmx_to_gpr4 };
        } else if (is_gpr(from)) {
            return (Move){ .copy = wide ? mmx_from_gpr8 : mmx_from_gpr4 };
        }
        return shape == SHAPE_D ? (Move){ .load = mmx_load4, .store = mmx_store4 }
                                : (Move){ mmx_copy, mmx_load8, mmx_store8 };
    }
    if (is_gpr(to)) {
        return (Move){ .copy = wide ? to_gpr8 : to_gpr4 };
    } else if (is_gpr(from)) {
        return (Move){ .copy = wide ? vex ? v_from_gpr8 : from_gpr8 : vex ? v_from_gpr4 : from_gpr4 };
    }
    return shape == SHAPE_D ? (Move){ .load = vex ? v_load4 : load4, .store = store4 }
                            : (Move){ vex ? v_copy_q : copy_q, vex ? v_load8 : load8, store8 };
}

static Move choose(Shape shape, bool vex, bool wide, bool mmx, const ZydisDecodedOperand *ops)
{
    switch (shape) {
    case SHAPE_FULL:
        if (wide) {
            return (Move){ copy32, load32_any, store32_any };
        }
        return (Move){ vex ? v_copy16 : copy16, vex ? v_load16_any : load16_any, store16_any };
    case SHAPE_FULL_ALIGNED:
        if (wide) {
            return (Move){ copy32, load32_aligned, store32_aligned };
        }
        return (Move){ vex ? v_copy16 : copy16, vex ? v_load16_aligned : load16_aligned, store16_aligned };
    case SHAPE_SS: return (Move){ vex ? v_copy_ss : copy_ss, vex ? v_load4 : load4, store4 };
    case SHAPE_SD: return (Move){ vex ? v_copy_sd : copy_sd, vex ? v_load8 : load8, store8 };
    case SHAPE_LOW: return (Move){ NULL, vex ? v_load_low : load_low, store8 };
    case SHAPE_HIGH: return (Move){ NULL, vex ? v_load_high : load_high, store_high };
    case SHAPE_HLPS: return (Move){ .copy = vex ? v_movhlps : movhlps };
    case SHAPE_LHPS: return (Move){ .copy = vex ? v_movlhps : movlhps };
    case SHAPE_NTI: return (Move){ .store = ops[1].size == 64 ? store_gpr8 : store_gpr4 };
    case SHAPE_CROSS: return (Move){ .copy = class_of(&ops[0]) == ZYDIS_REGCLASS_MMX ? mmx_from_xmm : mmx_to_xmm };
    case SHAPE_D:
    case SHAPE_Q: return gpr_move(shape, vex, mmx, class_of(&ops[0]), class_of(&ops[1]));
    default: return (Move){ NULL };
    }
}

bool x86_move_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    Shape shape = shape_of(d->mnemonic);
    if (shape == SHAPE_NONE) {
        return false;
    }
    bool     vex = d->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX, wide = false, mmx = false, xmm = false;
    uint8_t *field[3] = { &insn->reg, &insn->rm, &insn->reg3 };
    for (unsigned i = 0; i < d->operand_count_visible && i < 3; i++) {
        ZydisRegisterClass class = class_of(&ops[i]);
        wide |= class == ZYDIS_REGCLASS_YMM;
        mmx |= class == ZYDIS_REGCLASS_MMX;
        xmm |= class == ZYDIS_REGCLASS_XMM;
        if (class != ZYDIS_REGCLASS_INVALID) {
            *field[i] = (uint8_t)ZydisRegisterGetId(ops[i].reg.value);
        }
    }
    Move move = choose(shape, vex, wide, mmx, ops);
    insn->run = ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY ? move.store
                : insn->flags & X86_INSN_MEMORY          ? move.load
                                                         : move.copy;
    if (!insn->run) {
        return false;
    }
    /* MOVNTI needs nothing that CR0 or CR4 could forbid. */
    if (shape != SHAPE_NTI) {
        X86Handler blocked = x86_unit_blocked(cpu, vex ? X86_UNIT_AVX : mmx && !xmm ? X86_UNIT_MMX : X86_UNIT_SSE);
        insn->run          = blocked ? blocked : insn->run;
    }
    return true;
}
