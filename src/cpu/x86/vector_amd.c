/* AMD's own vector instructions in C, for CPU models that have them on any host: 3DNow! with its extensions, and on
 * hosts without SSE4A its EXTRQ and INSERTQ (MOVNTSS and MOVNTSD are in vector_move.c).
 *
 * 3DNow! works on pairs of single-precision numbers without infinities, NaNs, denormals and exceptions: what is too
 * large becomes the largest number, what is too small 0. The approximations (PFRCP, PFRSQRT) are of full precision
 * here, so the steps that refine them hand on what they get.
 *
 * Specification: AMD 21928, 3DNow! Technology Manual; AMD 22466, extensions to it; AMD APM 4, EXTRQ and INSERTQ.
 * See vector.h for threads. */

#include "cpu/x86/vector.h"

#include <math.h>

/* --- numbers ---------------------------------------------------------------------------------------------------- */

enum { SIGN = INT32_MIN };

static const uint32_t EXPONENT = 0x7f800000, LARGEST = 0x7f7fffff;

static float number(uint32_t bits)
{
    float f;
    bits = bits & EXPONENT ? bits : bits & (uint32_t)SIGN; /* denormals are zeros */
    memcpy(&f, &bits, 4);
    return f;
}

static uint32_t bits_of(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, 4);
    uint32_t sign = bits & (uint32_t)SIGN;
    if ((bits & EXPONENT) == 0) {
        return sign;
    }
    return (bits & EXPONENT) == EXPONENT ? sign | LARGEST : bits;
}

static uint32_t low(uint64_t v)
{
    return (uint32_t)v;
}

static uint32_t high(uint64_t v)
{
    return (uint32_t)(v >> 32);
}

static uint64_t pair(uint32_t l, uint32_t h)
{
    return l | (uint64_t)h << 32;
}

/* --- operations on two 64-bit operands --------------------------------------------------------------------------- */

typedef uint64_t (*Operation)(uint64_t d, uint64_t s);
typedef uint32_t (*Lane)(uint32_t d, uint32_t s);

static inline __attribute__((always_inline)) uint64_t lanes(Lane lane, uint64_t d, uint64_t s)
{
    return pair(lane(low(d), low(s)), lane(high(d), high(s)));
}

static uint32_t add(uint32_t d, uint32_t s)
{
    return bits_of(number(d) + number(s));
}

static uint32_t sub(uint32_t d, uint32_t s)
{
    return bits_of(number(d) - number(s));
}

static uint32_t subr(uint32_t d, uint32_t s)
{
    return sub(s, d);
}

static uint32_t mul(uint32_t d, uint32_t s)
{
    return bits_of(number(d) * number(s));
}

/* A zero that wins is a positive one. */
static uint32_t min(uint32_t d, uint32_t s)
{
    float f = number(d) < number(s) ? number(d) : number(s);
    return f == 0 ? 0 : bits_of(f);
}

static uint32_t max(uint32_t d, uint32_t s)
{
    float f = number(d) > number(s) ? number(d) : number(s);
    return f == 0 ? 0 : bits_of(f);
}

static uint32_t cmpeq(uint32_t d, uint32_t s)
{
    return number(d) == number(s) ? UINT32_MAX : 0;
}

static uint32_t cmpge(uint32_t d, uint32_t s)
{
    return number(d) >= number(s) ? UINT32_MAX : 0;
}

static uint32_t cmpgt(uint32_t d, uint32_t s)
{
    return number(d) > number(s) ? UINT32_MAX : 0;
}

/* Truncates, and saturates to `limit` + 1 below and `limit` above. */
static uint32_t to_integer(uint32_t s, double limit)
{
    double f = number(s);
    return (uint32_t)(int32_t)(f >= limit ? limit : f <= -limit - 1 ? -limit - 1 : f);
}

static uint32_t f2id(uint32_t d, uint32_t s)
{
    return to_integer(s, INT32_MAX);
}

static uint32_t f2iw(uint32_t d, uint32_t s)
{
    return to_integer(s, INT16_MAX);
}

/* Rounds towards zero. */
static uint32_t i2fd(uint32_t d, uint32_t s)
{
    int32_t n = (int32_t)s;
    float   f = (float)n;
    return bits_of(fabs((double)f) > fabs((double)n) ? nextafterf(f, 0) : f);
}

static uint32_t i2fw(uint32_t d, uint32_t s)
{
    return bits_of((int16_t)s);
}

static uint32_t rcp(uint32_t s)
{
    return bits_of(1 / number(s));
}

/* Of the magnitude; the sign stays. */
static uint32_t rsqrt(uint32_t s)
{
    return bits_of((float)(1 / sqrt(fabs((double)number(s))))) | (s & (uint32_t)SIGN);
}

#define LANES(name)                                                                                                    \
    static uint64_t p_##name(uint64_t d, uint64_t s)                                                                   \
    {                                                                                                                  \
        return lanes(name, d, s);                                                                                      \
    }
LANES(add)
LANES(sub)
LANES(subr)
LANES(mul)
LANES(min)
LANES(max)
LANES(cmpeq)
LANES(cmpge)
LANES(cmpgt)
LANES(f2id)
LANES(f2iw)
LANES(i2fd)
LANES(i2fw)

static uint64_t p_rcp(uint64_t d, uint64_t s)
{
    return pair(rcp(low(s)), rcp(low(s)));
}

static uint64_t p_rsqrt(uint64_t d, uint64_t s)
{
    return pair(rsqrt(low(s)), rsqrt(low(s)));
}

static uint64_t p_refine(uint64_t d, uint64_t s)
{
    return s;
}

static uint64_t p_acc(uint64_t d, uint64_t s)
{
    return pair(add(low(d), high(d)), add(low(s), high(s)));
}

static uint64_t p_nacc(uint64_t d, uint64_t s)
{
    return pair(sub(low(d), high(d)), sub(low(s), high(s)));
}

static uint64_t p_pnacc(uint64_t d, uint64_t s)
{
    return pair(sub(low(d), high(d)), add(low(s), high(s)));
}

static uint64_t p_swap(uint64_t d, uint64_t s)
{
    return pair(high(s), low(s));
}

static uint64_t p_mulhrw(uint64_t d, uint64_t s)
{
    uint64_t r = 0;
    for (unsigned i = 0; i < 64; i += 16) {
        int32_t product = (int16_t)(d >> i) * (int16_t)(s >> i);
        r |= (uint64_t)(uint16_t)((product + 0x8000) >> 16) << i;
    }
    return r;
}

static uint64_t p_avgusb(uint64_t d, uint64_t s)
{
    uint64_t r = 0;
    for (unsigned i = 0; i < 64; i += 8) {
        r |= (uint64_t)(((d >> i & 0xff) + (s >> i & 0xff) + 1) >> 1) << i;
    }
    return r;
}

/* --- handlers ---------------------------------------------------------------------------------------------------- */

typedef struct Row3DNow {
    uint16_t  mnemonic;
    bool      extension; /* 3DNow! extensions */
    Operation run;
} Row3DNow;

static const Row3DNow rows[] = {
    { ZYDIS_MNEMONIC_PFADD, false, p_add },       { ZYDIS_MNEMONIC_PFSUB, false, p_sub },
    { ZYDIS_MNEMONIC_PFSUBR, false, p_subr },     { ZYDIS_MNEMONIC_PFMUL, false, p_mul },
    { ZYDIS_MNEMONIC_PFMIN, false, p_min },       { ZYDIS_MNEMONIC_PFMAX, false, p_max },
    { ZYDIS_MNEMONIC_PFCMPEQ, false, p_cmpeq },   { ZYDIS_MNEMONIC_PFCMPGE, false, p_cmpge },
    { ZYDIS_MNEMONIC_PFCMPGT, false, p_cmpgt },   { ZYDIS_MNEMONIC_PF2ID, false, p_f2id },
    { ZYDIS_MNEMONIC_PI2FD, false, p_i2fd },      { ZYDIS_MNEMONIC_PFACC, false, p_acc },
    { ZYDIS_MNEMONIC_PFRCP, false, p_rcp },       { ZYDIS_MNEMONIC_PFSQRT, false, p_rsqrt },
    { ZYDIS_MNEMONIC_PFCPIT1, false, p_refine },  { ZYDIS_MNEMONIC_PFRCPIT2, false, p_refine },
    { ZYDIS_MNEMONIC_PFRSQIT1, false, p_refine }, { ZYDIS_MNEMONIC_PMULHRW, false, p_mulhrw },
    { ZYDIS_MNEMONIC_PAVGUSB, false, p_avgusb },  { ZYDIS_MNEMONIC_PF2IW, true, p_f2iw },
    { ZYDIS_MNEMONIC_PI2FW, true, p_i2fw },       { ZYDIS_MNEMONIC_PFNACC, true, p_nacc },
    { ZYDIS_MNEMONIC_PFPNACC, true, p_pnacc },    { ZYDIS_MNEMONIC_PSWAPD, true, p_swap },
};

static void run_3dnow(X86Cpu *cpu, const X86Insn *in)
{
    const Row3DNow *row = in->extra;
    uint64_t        d, s = 0;
    x86_fpu_check_pending(cpu);
    if (in->flags & X86_INSN_MEMORY) {
        s = x86_vector_load(cpu, in, x86_ea(cpu, in, 8, X86_READ), 8);
    }
    x86_mmx_enter(cpu); /* turns the x87 stack, so that registers are where x86_mmx() says */
    if (!(in->flags & X86_INSN_MEMORY)) {
        memcpy(&s, x86_mmx(cpu, in->rm), 8);
    }
    memcpy(&d, x86_mmx(cpu, in->reg), 8);
    d = row->run(d, s);
    memcpy(x86_mmx(cpu, in->reg), &d, 8);
    x86_mmx_written(cpu, in->reg);
}

/* A field of `length` bits from bit `index` on, both modulo 64; a length of 0 means 64. */
static uint64_t field_mask(unsigned length)
{
    length &= 63;
    return length ? (UINT64_C(1) << length) - 1 : UINT64_MAX;
}

static void extract(X86Cpu *cpu, const X86Insn *in, unsigned length, unsigned index)
{
    X86Vec128 *d = x86_xmm_at(cpu, in->reg);
    d->q[0]      = d->q[0] >> (index & 63) & field_mask(length);
}

static void insert(X86Cpu *cpu, const X86Insn *in, unsigned length, unsigned index)
{
    X86Vec128 *d    = x86_xmm_at(cpu, in->reg);
    uint64_t   mask = field_mask(length) << (index & 63);
    d->q[0]         = (d->q[0] & ~mask) | ((x86_xmm_at(cpu, in->rm)->q[0] << (index & 63)) & mask);
}

static void extrq_imm(X86Cpu *cpu, const X86Insn *in)
{
    extract(cpu, in, in->reg3, in->aux);
}

static void extrq_reg(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t control = x86_xmm_at(cpu, in->rm)->q[0];
    extract(cpu, in, (unsigned)control, (unsigned)(control >> 8));
}

static void insertq_imm(X86Cpu *cpu, const X86Insn *in)
{
    insert(cpu, in, in->reg3, in->aux);
}

static void insertq_reg(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t control = x86_xmm_at(cpu, in->rm)->q[1];
    insert(cpu, in, (unsigned)control, (unsigned)(control >> 8));
}

/* --- decoding ---------------------------------------------------------------------------------------------------- */

static void decode_registers(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    insn->reg = (uint8_t)ZydisRegisterGetId(ops[0].reg.value);
    if (d->operand_count_visible > 1 && ops[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        insn->rm = (uint8_t)ZydisRegisterGetId(ops[1].reg.value);
    }
}

static bool decode_sse4a(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    bool immediate = d->raw.imm[0].size != 0;
    if (x86_sse4a_is_native()) {
        return false; /* a thunk */
    }
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_EXTRQ: insn->run = immediate ? extrq_imm : extrq_reg; break;
    case ZYDIS_MNEMONIC_INSERTQ: insn->run = immediate ? insertq_imm : insertq_reg; break;
    default: return false;
    }
    decode_registers(d, ops, insn);
    insn->reg3         = (uint8_t)d->raw.imm[0].value.u;
    insn->aux          = (uint8_t)d->raw.imm[1].value.u;
    X86Handler blocked = x86_unit_blocked(cpu, X86_UNIT_SSE);
    insn->run          = blocked ? blocked : insn->run;
    return true;
}

bool x86_amd_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rows); i++) {
        if (rows[i].mnemonic != d->mnemonic || d->meta.isa_set != ZYDIS_ISA_SET_AMD3DNOW) {
            continue;
        }
        X86Handler blocked = x86_unit_blocked(cpu, X86_UNIT_MMX);
        decode_registers(d, ops, insn);
        insn->extra = &rows[i];
        insn->run   = rows[i].extension && !x86_has(cpu, X86_FEATURE_3DNOWEXT) ? x86_vector_undefined
                      : blocked                                                ? blocked
                                                                               : run_3dnow;
        return true;
    }
    return decode_sse4a(cpu, d, ops, insn);
}
