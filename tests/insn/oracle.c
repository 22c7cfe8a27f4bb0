/* What instructions do that the host cannot be asked about, written from the manuals and not from the executor: those
 * that enter the host's kernel or that it emulates, and those of some CPU models only.
 *
 * Memory faults are not in here: states whose operands are not plainly in the data are refused, and so are results that
 * the manuals leave undefined.
 *
 * Specification: Intel SDM 2; AMD 21928 and 22466 (3DNow!); AMD APM 3 and 4 (SYSCALL, CLZERO, EXTRQ, INSERTQ). */

#include "insn.h"

#include <math.h>
#include <string.h>

enum { UD = 6, GP = 13, MF = 16, ZF = 0x40, ARITH = 0x8d5, AC = 0x40000, ES = 0x80 };

typedef struct Run {
    const Instance *in;
    const Code     *code;
    const State    *before;
    Outcome        *after;
    ExecutorSystem  system;
} Run;

static bool fault(Run *r, int vector)
{
    r->after->vector    = vector;
    r->after->state.rip = r->before->rip;
    return true;
}

/* Offset in the data, or -1: not a place this knows about. */
static int64_t place(const Run *r, unsigned n, unsigned size)
{
    const ZydisDecodedOperand *op      = &r->in->op[n];
    bool                       in_code = r->in->form->mode != MODE_64 && op->mem.segment == ZYDIS_REGISTER_CS;
    if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || in_code || r->before->flags & AC) {
        return -1;
    }
    uint64_t at = operand_address(r->in, r->before, op);
    at += op->mem.segment == ZYDIS_REGISTER_GS ? r->before->gs_base : 0;
    at -= r->in->form->mode == MODE_16 ? 0 : (unsigned)DATA_BASE;
    return at <= DATA_SIZE - size ? (int64_t)at : -1;
}

static void set_gpr(Run *r, unsigned reg, unsigned size, uint64_t value)
{
    uint64_t *gpr = &r->after->state.gpr[reg];
    *gpr          = size == 16 ? (*gpr & ~UINT64_C(0xffff)) | (value & 0xffff) : size == 32 ? (uint32_t)value : value;
}

/* --- system instructions --- */

/* Ring 3: refused with CR4.UMIP. A word register, a register, or a word in memory. */
static bool store_selector(Run *r, uint64_t value)
{
    const ZydisDecodedOperand *op = &r->in->op[0];
    if (!r->code->no_umip) {
        return fault(r, GP);
    }
    if (op->type == ZYDIS_OPERAND_TYPE_REGISTER) {
        set_gpr(r, (unsigned)ZydisRegisterGetId(op->reg.value), op->size, value);
        return true;
    }
    int64_t at = place(r, 0, 2);
    if (at >= 0) {
        store_le16(r->after->state.data + at, (uint16_t)value);
    }
    return at >= 0;
}

static bool store_table(Run *r, uint16_t limit, uint64_t base)
{
    bool wide = r->in->form->mode == MODE_64;
    if (!r->code->no_umip) {
        return fault(r, GP);
    }
    int64_t at = place(r, 0, 10);
    if (at >= 0) {
        store_le16(r->after->state.data + at, limit);
        store_le(r->after->state.data + at + 2, base, wide ? 8 : 4);
    }
    return at >= 0;
}

/* SDM 2, SYSCALL; outside 64-bit mode only AMD's have it. */
static bool run_syscall(Run *r)
{
    State *s = &r->after->state;
    if (r->in->form->mode != MODE_64 && !r->system.amd) {
        return fault(r, UD);
    }
    s->gpr[1]        = s->rip;
    s->gpr[11]       = r->before->flags | 0x202;
    s->flags         = (r->before->flags | 0x202) & ~r->system.syscall_mask;
    s->sel[SEL_CS]   = r->system.syscall_cs;
    s->sel[SEL_SS]   = r->system.syscall_cs + 8;
    s->rip           = r->system.entry;
    r->after->vector = SYSCALL_ENTERED;
    return true;
}

static bool run_xbegin(Run *r)
{
    State   *s      = &r->after->state;
    uint64_t target = s->rip + (uint64_t)r->in->op[0].imm.value.s;
    if (r->in->form->mode != MODE_64) {
        target = (uint32_t)target;
    }
    bool outside = r->in->form->mode == MODE_16 ? target > 0xffff : (int64_t)(target << 16) >> 16 != (int64_t)target;
    if (outside) {
        return fault(r, GP);
    }
    s->rip    = target;
    s->gpr[0] = 0;
    return true;
}

/* Whole lines need no alignment. */
static bool run_clzero(Run *r)
{
    uint64_t mask = r->in->d.address_width == 64 ? ~UINT64_C(0) : r->in->d.address_width == 32 ? UINT32_MAX : 0xffff;
    uint64_t at   = r->before->gpr[0] & mask & ~UINT64_C(63);
    at += r->in->d.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS ? r->before->gs_base : 0;
    at -= r->in->form->mode == MODE_16 ? 0 : (unsigned)DATA_BASE;
    if (at > DATA_SIZE - 64) {
        return false;
    }
    memset(r->after->state.data + at, 0, 64);
    return true;
}

static bool run_system(Run *r)
{
    const ExecutorSystem *y = &r->system;
    switch (r->in->d.mnemonic) {
    case ZYDIS_MNEMONIC_VMCALL:
    case ZYDIS_MNEMONIC_VMMCALL: return fault(r, UD);
    case ZYDIS_MNEMONIC_SYSENTER: return fault(r, y->amd ? UD : GP); /* SYSENTER_CS is null */
    case ZYDIS_MNEMONIC_SYSCALL: return run_syscall(r);
    case ZYDIS_MNEMONIC_SLDT: return store_selector(r, y->ldt);
    case ZYDIS_MNEMONIC_STR: return store_selector(r, y->tr);
    case ZYDIS_MNEMONIC_SMSW: return store_selector(r, y->cr0);
    case ZYDIS_MNEMONIC_SGDT: return store_table(r, y->gdt_limit, y->gdt_base);
    case ZYDIS_MNEMONIC_SIDT: return store_table(r, y->idt_limit, y->idt_base);
    case ZYDIS_MNEMONIC_XBEGIN: return run_xbegin(r);
    case ZYDIS_MNEMONIC_XEND: return fault(r, GP);
    case ZYDIS_MNEMONIC_XABORT: return true;
    case ZYDIS_MNEMONIC_XTEST: r->after->state.flags = (r->after->state.flags & ~(uint64_t)ARITH) | ZF; return true;
    case ZYDIS_MNEMONIC_CLZERO: return run_clzero(r);
    default: return false;
    }
}

/* --- SSE4A --- */

static uint8_t *xmm(State *s, unsigned n)
{
    return s->fx + 160 + 16 * n;
}

static bool run_sse4a(Run *r)
{
    State                     *s  = &r->after->state;
    const ZydisDecodedOperand *op = r->in->op;
    unsigned dst = (unsigned)ZydisRegisterGetId(op[0].reg.value), last = r->in->d.operand_count_visible;
    uint64_t control, field;
    switch (r->in->d.mnemonic) {
    case ZYDIS_MNEMONIC_MOVNTSS:
    case ZYDIS_MNEMONIC_MOVNTSD: {
        unsigned size = r->in->d.mnemonic == ZYDIS_MNEMONIC_MOVNTSS ? 4 : 8;
        int64_t  at   = place(r, 0, size);
        if (at >= 0) {
            memcpy(s->data + at, xmm(s, (unsigned)ZydisRegisterGetId(op[1].reg.value)), size);
        }
        return at >= 0;
    }
    default: break;
    }
    bool           insert = r->in->d.mnemonic == ZYDIS_MNEMONIC_INSERTQ;
    const uint8_t *source = op[1].type == ZYDIS_OPERAND_TYPE_REGISTER
                                ? xmm((State *)r->before, (unsigned)ZydisRegisterGetId(op[1].reg.value))
                                : NULL;
    if (r->in->d.raw.imm[0].size) {
        control = (op[last - 2].imm.value.u & 63) | (op[last - 1].imm.value.u & 63) << 8;
    } else {
        control = load_le64(source + (insert ? 8 : 0)) & 0x3f3f;
    }
    unsigned length = control & 63, index = control >> 8;
    length = length ? length : 64;
    if (length + index > 64) {
        return false;
    }
    uint64_t mask = length == 64 ? ~UINT64_C(0) : (UINT64_C(1) << length) - 1;
    uint64_t d    = load_le64(xmm(s, dst));
    field         = insert ? (d & ~(mask << index)) | (load_le64(source) & mask) << index : d >> index & mask;
    store_le64(xmm(s, dst), field);
    return true;
}

/* --- 3DNow! --- */

/* Denormals are zeros; there are no infinities and NaNs: their patterns are large numbers, which the manual leaves
 * undefined as operands. */
static double real(uint32_t bits)
{
    int    exponent = (int)(bits >> 23 & 0xff);
    double m        = exponent ? ldexp(1 + (bits & 0x7fffff) / 8388608.0, exponent - 127) : 0;
    return bits >> 31 ? -m : m;
}

static bool is_number(uint32_t bits)
{
    return (bits >> 23 & 0xff) != 0xff;
}

/* Rounds to nearest; too large: the largest, too small: zero. */
static uint32_t packed(double v)
{
    uint32_t sign = signbit(v) ? UINT32_C(1) << 31 : 0;
    double   m    = fabs(v);
    if (m < ldexp(1, -126)) {
        /* What rounds up to the smallest number is that number. */
        return m >= ldexp(1, -126) - ldexp(1, -151) ? sign | 0x00800000 : sign;
    }
    int      exponent;
    double   fraction = frexp(m, &exponent); /* 0.5 to 1 */
    double   scaled   = rint(ldexp(fraction, 24));
    uint64_t bits     = (uint64_t)scaled;
    if (bits == 1 << 24) {
        bits >>= 1;
        exponent++;
    }
    if (exponent + 126 > 254) {
        return sign | 0x7f7fffff;
    }
    return sign | (uint32_t)(exponent + 126) << 23 | (uint32_t)(bits & 0x7fffff);
}

static uint32_t truncated(double v, double least, double most)
{
    return (uint32_t)(int32_t)(v < least ? least : v > most ? most : trunc(v));
}

/* One half. false: not defined. */
static bool half_3dnow(ZydisMnemonic m, uint32_t d, uint32_t s, uint32_t *out)
{
    double  a = real(d), b = real(s);
    int32_t n = (int32_t)s;
    switch (m) {
    case ZYDIS_MNEMONIC_PI2FW: *out = packed((int16_t)s); return true;
    case ZYDIS_MNEMONIC_PI2FD: {
        /* Truncates to 24 bits. */
        unsigned magnitude = n < 0 ? 0u - (uint32_t)n : (uint32_t)n, drop = 0;
        while (magnitude >> drop >= 1 << 24) {
            drop++;
        }
        magnitude = magnitude >> drop << drop;
        *out      = packed(n < 0 ? -(double)magnitude : magnitude);
        return true;
    }
    default: break;
    }
    if (!is_number(s) || (!is_number(d) && m != ZYDIS_MNEMONIC_PF2ID && m != ZYDIS_MNEMONIC_PF2IW)) {
        return false;
    }
    switch (m) {
    case ZYDIS_MNEMONIC_PFADD: *out = packed(a + b); return true;
    case ZYDIS_MNEMONIC_PFSUB: *out = packed(a - b); return true;
    case ZYDIS_MNEMONIC_PFSUBR: *out = packed(b - a); return true;
    case ZYDIS_MNEMONIC_PFMUL: *out = packed(a * b); return true;
    case ZYDIS_MNEMONIC_PFCMPEQ: *out = a == b ? UINT32_MAX : 0; return true;
    case ZYDIS_MNEMONIC_PFCMPGE: *out = a >= b ? UINT32_MAX : 0; return true;
    case ZYDIS_MNEMONIC_PFCMPGT: *out = a > b ? UINT32_MAX : 0; return true;
    case ZYDIS_MNEMONIC_PFMIN: a = a < b ? a : b; break;
    case ZYDIS_MNEMONIC_PFMAX: a = a > b ? a : b; break;
    case ZYDIS_MNEMONIC_PF2ID: *out = truncated(b, INT32_MIN, INT32_MAX); return true;
    case ZYDIS_MNEMONIC_PF2IW: *out = truncated(b, INT16_MIN, INT16_MAX); return true;
    default: return false;
    }
    *out = a == 0 ? 0 : packed(a);
    return true;
}

static bool halves_3dnow(ZydisMnemonic m, uint64_t d, uint64_t s, uint64_t *out)
{
    uint32_t low, high;
    if (!half_3dnow(m, (uint32_t)d, (uint32_t)s, &low) ||
        !half_3dnow(m, (uint32_t)(d >> 32), (uint32_t)(s >> 32), &high)) {
        return false;
    }
    *out = low | (uint64_t)high << 32;
    return true;
}

/* Sums and differences within each operand. */
static bool across_3dnow(ZydisMnemonic m, uint64_t d, uint64_t s, uint64_t *out)
{
    uint32_t v[4] = { (uint32_t)d, (uint32_t)(d >> 32), (uint32_t)s, (uint32_t)(s >> 32) };
    for (unsigned i = 0; i < 4; i++) {
        if (!is_number(v[i])) {
            return false;
        }
    }
    double low  = m == ZYDIS_MNEMONIC_PFACC ? real(v[0]) + real(v[1]) : real(v[0]) - real(v[1]);
    double high = m == ZYDIS_MNEMONIC_PFNACC ? real(v[2]) - real(v[3]) : real(v[2]) + real(v[3]);
    *out        = packed(low) | (uint64_t)packed(high) << 32;
    return true;
}

static bool value_3dnow(ZydisMnemonic m, uint64_t d, uint64_t s, uint64_t *out)
{
    uint32_t b = (uint32_t)s;
    *out       = 0;
    switch (m) {
    case ZYDIS_MNEMONIC_PAVGUSB:
        for (unsigned i = 0; i < 8; i++) {
            unsigned sum = (unsigned)(d >> 8 * i & 0xff) + (unsigned)(s >> 8 * i & 0xff);
            *out |= (uint64_t)(sum / 2 + sum % 2) << 8 * i;
        }
        return true;
    case ZYDIS_MNEMONIC_PMULHRW:
        for (unsigned i = 0; i < 4; i++) {
            int64_t product = (int64_t)(int16_t)(d >> 16 * i) * (int16_t)(s >> 16 * i);
            *out |= (uint64_t)((product + 0x8000) >> 16 & 0xffff) << 16 * i;
        }
        return true;
    case ZYDIS_MNEMONIC_PSWAPD: *out = s << 32 | s >> 32; return true;
    case ZYDIS_MNEMONIC_PFCPIT1:
    case ZYDIS_MNEMONIC_PFRCPIT2:
    case ZYDIS_MNEMONIC_PFRSQIT1: *out = s; return true; /* what they refine is exact already */
    case ZYDIS_MNEMONIC_PFACC:
    case ZYDIS_MNEMONIC_PFNACC:
    case ZYDIS_MNEMONIC_PFPNACC: return across_3dnow(m, d, s, out);
    case ZYDIS_MNEMONIC_PFRCP:
    case ZYDIS_MNEMONIC_PFSQRT: {
        double   root = m == ZYDIS_MNEMONIC_PFSQRT ? sqrt(fabs(real(b))) : real(b);
        uint32_t v    = root == 0 ? 0x7f7fffff : packed(1 / root);
        v             = (v & INT32_MAX) | (b & UINT32_C(1) << 31);
        *out          = v | (uint64_t)v << 32;
        return is_number(b);
    }
    default: return halves_3dnow(m, d, s, out);
    }
}

/* As all of MMX: TOP 0, all registers valid, the exponent of what is written all ones. */
static void enter_mmx(State *s, unsigned top)
{
    uint8_t st[8][16];
    for (unsigned i = 0; i < 8; i++) {
        memcpy(st[(top + i) & 7], s->fx + 32 + 16 * i, 16);
    }
    memcpy(s->fx + 32, st, sizeof st);
    store_le16(s->fx + 2, load_le16(s->fx + 2) & 0xc7ff);
    s->fx[4] = 0xff;
}

static bool run_3dnow(Run *r)
{
    State   *s      = &r->after->state;
    uint16_t fsw    = load_le16(s->fx + 2);
    uint64_t source = 0, result;
    if (r->in->d.mnemonic == ZYDIS_MNEMONIC_FEMMS) {
        if (fsw & ES) {
            return fault(r, MF);
        }
        enter_mmx(s, fsw >> 11 & 7);
        s->fx[4] = 0;
        return true;
    }
    const ZydisDecodedOperand *op = r->in->op;
    if (op[1].type == ZYDIS_OPERAND_TYPE_MEMORY) {
        int64_t at = place(r, 1, 8);
        if (at < 0) {
            return false;
        }
        source = load_le64(s->data + at);
    }
    if (fsw & ES) {
        return fault(r, MF);
    }
    enter_mmx(s, fsw >> 11 & 7);
    if (op[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        source = load_le64(s->fx + 32 + 16 * ZydisRegisterGetId(op[1].reg.value));
    }
    uint8_t *to = s->fx + 32 + 16 * ZydisRegisterGetId(op[0].reg.value);
    if (!value_3dnow(r->in->d.mnemonic, load_le64(to), source, &result)) {
        return false;
    }
    store_le64(to, result);
    store_le16(to + 8, 0xffff);
    return true;
}

/* --- entry --- */

void oracle_fault(const State *before, int vector, Outcome *after)
{
    *after = (Outcome){ .state = *before, .vector = vector };
    after->state.flags |= 0x202;
    memset(after->state.fx + 416, 0, 160);
}

bool oracle_run(const Instance *in, const Code *code, const State *before, Outcome *after)
{
    Run r  = { in, code, before, after, executor_system() };
    *after = (Outcome){ .state = *before, .vector = NO_FAULT };
    after->state.flags |= 0x202;
    memset(after->state.fx + 416, 0, 160);
    after->state.rip += in->len;
    if (in->form->mode == MODE_16) {
        after->state.rip &= 0xffff;
    }
    if (in->d.meta.isa_set == ZYDIS_ISA_SET_SSE4A) {
        return run_sse4a(&r);
    }
    if (in->d.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW || in->d.mnemonic == ZYDIS_MNEMONIC_FEMMS) {
        return run_3dnow(&r);
    }
    return run_system(&r);
}
