/* Random and boundary-valued states, and operands put where memory is. */

#include "insn.h"

#include <string.h>

/* --- values ----------------------------------------------------------------------------------------------------- */

static unsigned below(GRand *random, unsigned n)
{
    return (unsigned)g_rand_int_range(random, 0, (gint32)n);
}

static bool chance(GRand *random, unsigned one_in)
{
    return below(random, one_in) == 0;
}

static uint64_t bits64(GRand *random)
{
    return (uint64_t)g_rand_int(random) << 32 | g_rand_int(random);
}

/* Half as many of them set. */
static uint64_t few_bits64(GRand *random)
{
    uint64_t bits = bits64(random);
    return bits & bits64(random);
}

uint64_t state_integer(GRand *random)
{
    static const uint64_t edges[] = {
        0,
        1,
        2,
        0x7f,
        0x80,
        0xff,
        0x100,
        0x7fff,
        0x8000,
        0xffff,
        0x10000,
        0x7fffffff,
        0x80000000,
        0xffffffff,
        0x100000000,
        0x7fffffffffffffff,
        0x8000000000000000,
        0xffffffffffffffff,
        0xfffffffffffffffe,
        0xffffffff80000000,
        0xaaaaaaaaaaaaaaaa,
        0x0123456789abcdef,
    };
    switch (below(random, 5)) {
    case 0: return edges[below(random, G_N_ELEMENTS(edges))];
    case 1: return below(random, 64);
    case 2: return UINT64_C(1) << below(random, 64);
    case 3: return bits64(random) >> below(random, 64);
    default: return bits64(random);
    }
}

static uint32_t float32(GRand *random)
{
    static const uint32_t edges[] = {
        0,          0x80000000, 0x3f800000, 0xbf800000, 0x3f800001, 0x00000001, 0x807fffff, 0x00800000, 0x7f7fffff,
        0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x7f800001, 0xffbfffff, 0x4effffff, 0x4f000000,
        0xcf000000, 0x5f000000, 0xdf000000, 0x5effffff, 0x3f000000, 0x3effffff, 0x34000000, 0x33800000, 0x40490fdb,
    };
    switch (below(random, 4)) {
    case 0: return edges[below(random, G_N_ELEMENTS(edges))];
    case 1: return (g_rand_int(random) & 0x80ffffff) | (below(random, 32) + 112u) << 23; /* near 1 */
    case 2: return edges[below(random, G_N_ELEMENTS(edges))] ^ below(random, 4);
    default: return g_rand_int(random);
    }
}

static uint64_t float64(GRand *random)
{
    static const uint64_t edges[] = {
        0,
        0x8000000000000000,
        0x3ff0000000000000,
        0xbff0000000000000,
        0x3ff0000000000001,
        0x0000000000000001,
        0x800fffffffffffff,
        0x0010000000000000,
        0x7fefffffffffffff,
        0xffefffffffffffff,
        0x7ff0000000000000,
        0xfff0000000000000,
        0x7ff8000000000000,
        0xfff8000000000001,
        0x7ff0000000000001,
        0xfff7ffffffffffff,
        0x41dfffffffc00000,
        0x41e0000000000000,
        0xc1e0000000200000,
        0x43e0000000000000,
        0xc3e0000000000000,
        0x43dfffffffffffff,
        0x47efffffe0000000, /* largest single */
        0x47effffff0000000, /* just rounds to infinity */
        0x3810000000000000, /* smallest normal single */
        0x36a0000000000000, /* smallest single */
        0x3690000000000000,
        0x3fe0000000000000,
        0x3fdfffffffffffff,
        0x400921fb54442d18,
    };
    switch (below(random, 4)) {
    case 0: return edges[below(random, G_N_ELEMENTS(edges))];
    case 1: return (bits64(random) & 0x800fffffffffffff) | (uint64_t)(below(random, 80) + 980) << 52;
    case 2: return edges[below(random, G_N_ELEMENTS(edges))] ^ below(random, 4);
    default: return bits64(random);
    }
}

static void float80(uint8_t out[16], GRand *random)
{
    static const struct {
        uint16_t exponent;
        uint64_t mantissa;
    } edges[] = {
        { 0, 0 },
        { 0x8000, 0 },
        { 0x3fff, 0x8000000000000000 },
        { 0xbfff, 0x8000000000000000 },
        { 0x3fff, 0x8000000000000001 },
        { 0x4000, 0xc90fdaa22168c235 },
        { 0x7fff, 0x8000000000000000 }, /* infinity */
        { 0xffff, 0x8000000000000000 },
        { 0x7fff, 0xc000000000000000 }, /* quiet */
        { 0xffff, 0xc000000000000001 },
        { 0x7fff, 0x8000000000000001 }, /* signalling */
        { 0x7fff, 0 },                  /* pseudo-infinity */
        { 0x7fff, 1 },                  /* pseudo-NaN */
        { 0, 1 },                       /* denormal */
        { 0, 0x7fffffffffffffff },
        { 0, 0x8000000000000000 }, /* pseudo-denormal */
        { 1, 0x8000000000000000 },
        { 0x1234, 0x7fffffffffffffff }, /* unnormal */
        { 0x7ffe, 0xffffffffffffffff },
        { 0x403e, 0x8000000000000000 }, /* 2^63 */
        { 0xc03e, 0x8000000000000000 },
        { 0x403d, 0xffffffffffffffff },
        { 0x401e, 0x8000000000000000 },
        { 0x3f9b, 0x8000000000000000 },
        { 0x43fe, 0xfffffffffffff800 }, /* largest double */
        { 0x43fe, 0xfffffffffffffc00 },
        { 0x3c00, 0x8000000000000000 }, /* around the smallest double */
        { 0x3bcd, 0x8000000000000000 },
        { 0x3ffe, 0x8000000000000000 },
    };
    uint16_t exponent;
    uint64_t mantissa;

    memset(out, 0, 16);
    switch (below(random, 4)) {
    case 0: {
        unsigned i = below(random, G_N_ELEMENTS(edges));
        exponent   = edges[i].exponent;
        mantissa   = edges[i].mantissa;
        break;
    }
    case 1:
        exponent = (uint16_t)(0x3fff - 40 + below(random, 80)) | (uint16_t)(below(random, 2) << 15);
        mantissa = bits64(random) | UINT64_C(1) << 63;
        break;
    case 2:
        exponent = 0x3fff + (uint16_t)below(random, 8);
        mantissa = (UINT64_C(8) | below(random, 8)) << 60;
        break;
    default:
        exponent = (uint16_t)g_rand_int(random);
        mantissa = bits64(random) | (uint64_t)!chance(random, 8) << 63;
        break;
    }
    store_le64(out, mantissa);
    store_le16(out + 8, exponent);
}

static void vector_bytes(uint8_t *out, unsigned len, GRand *random)
{
    unsigned style = below(random, 5);
    for (unsigned i = 0; i < len; i += 8) {
        switch (style) {
        case 0: store_le64(out + i, (uint64_t)float32(random) << 32 | float32(random)); break;
        case 1: store_le64(out + i, float64(random)); break;
        case 2: store_le64(out + i, state_integer(random)); break;
        case 3: store_le64(out + i, few_bits64(random) & 0x7f7f7f7f7f7f7f7f); break;
        default: store_le64(out + i, bits64(random)); break;
        }
    }
}

static void random_x87(uint8_t *fx, GRand *random)
{
    unsigned control = 0x37f;
    if (chance(random, 2)) {
        control = (g_rand_int(random) & 0x1f00) | 0x7f;
    }
    if (chance(random, 5)) {
        control = (control & ~0x3fu) | below(random, 64);
    }
    unsigned status = g_rand_int(random) & 0x7f7f;
    if (!chance(random, 16)) {
        status &= control | ~0x3fu; /* nothing pending */
    }
    if (status & ~control & 0x3f) {
        status |= 0x8080;
    }
    store_le16(fx, (uint16_t)control);
    store_le16(fx + 2, (uint16_t)status);
    fx[4] = chance(random, 4) ? (uint8_t)below(random, 256) : chance(random, 6) ? 0 : 0xff;
    for (unsigned i = 0; i < 8; i++) {
        float80(fx + 32 + 16 * i, random);
    }
}

static uint32_t random_mxcsr(GRand *random)
{
    uint32_t value = 0x1f80;
    if (chance(random, 2)) {
        value = (g_rand_int(random) & 0xe07f) | 0x1f80;
    }
    if (chance(random, 6)) {
        value = g_rand_int(random) & 0xffff;
    }
    if (chance(random, 8) && __builtin_cpu_is("amd")) {
        value |= 1u << 17; /* misaligned mode */
    }
    return value;
}

/* As native_run() and the executor begin. */
static void state_selectors(State *s, Mode mode)
{
    uint16_t data  = mode == MODE_16 ? DS_16 : SS_64;
    s->fs_base     = native_fs_base();
    s->sel[SEL_CS] = mode == MODE_64 ? CS_64 : mode == MODE_32 ? CS_32 : CS_16;
    s->sel[SEL_DS] = s->sel[SEL_ES] = s->sel[SEL_SS] = data;
    s->sel[SEL_FS] = s->sel[SEL_GS] = 0;
}

void state_registers(State *s, Mode mode, GRand *random)
{
    bool     wide = mode == MODE_64;
    unsigned n    = wide ? 16 : 8;

    memset(s, 0, offsetof(State, data));
    state_selectors(s, mode);
    for (unsigned i = 0; i < 16; i++) {
        s->gpr[i] = i >= n ? 0 : wide ? state_integer(random) : (uint32_t)state_integer(random);
    }
    s->flags = (g_rand_int(random) & 0x8d5) | (chance(random, 4) ? 0x400 : 0) | (chance(random, 12) ? 0x40000 : 0);
    random_x87(s->fx, random);
    store_le32(s->fx + 24, random_mxcsr(random));
    for (unsigned i = 0; i < 16; i++) {
        vector_bytes(s->fx + 160 + 16 * i, 16, random);
        vector_bytes(s->fx + 576 + 16 * i, 16, random);
    }
    if (chance(random, 3)) { /* equal values show what random ones do not */
        memcpy(s->fx + 160 + 16 * below(random, 16), s->fx + 160 + 16 * below(random, 16), 16);
        s->gpr[below(random, n)] = s->gpr[below(random, n)];
    }
    if (!native_takes_stack(s)) {
        s->gpr[4] &= UINT64_MAX >> 17;
    }
}

void state_data(State *s, GRand *random)
{
    for (unsigned i = 0; i < DATA_TOTAL; i += 64) {
        vector_bytes(s->data + i, 64, random);
    }
}

/* --- operands in memory ----------------------------------------------------------------------------------------- */

/* An offset from DATA_BASE for an operand of `size` bytes. */
unsigned state_place(unsigned size, GRand *random)
{
    unsigned inside = DATA_SIZE - size - 512;
    switch (below(random, 32)) {
    case 0: return 0x1000 - below(random, size + 1);        /* across pages */
    case 1: return DATA_SIZE + below(random, 64) * 16;      /* read-only */
    case 2: return DATA_SIZE - below(random, size + 1);     /* into read-only */
    case 3: return DATA_TOTAL - below(random, size + 1);    /* out of it */
    case 4: return DATA_TOTAL + 0x1000 + below(random, 64); /* nothing there */
    case 5:
    case 6:
    case 7:
    case 8: return 256 + below(random, inside - 256); /* misaligned */
    default: return (256 + below(random, inside - 256)) & ~63u;
    }
}

typedef struct Place {
    uint64_t address; /* as the instruction computes it */
    uint64_t mask;    /* of the address size */
} Place;

static unsigned gpr_number(ZydisRegister reg)
{
    return (unsigned)ZydisRegisterGetId(reg);
}

static bool is_gpr(ZydisRegister reg)
{
    ZydisRegisterClass class = ZydisRegisterGetClass(reg);
    return class >= ZYDIS_REGCLASS_GPR8 && class <= ZYDIS_REGCLASS_GPR64;
}

static uint64_t address_mask(const Instance *in)
{
    return in->d.address_width == 64 ? ~UINT64_C(0) : in->d.address_width == 32 ? 0xffffffff : 0xffff;
}

/* Stack accesses have the stack's width, whatever the address size. */
uint64_t operand_mask(const Instance *in, const ZydisDecodedOperand *op)
{
    static const uint64_t stack[N_MODES] = { ~UINT64_C(0), 0xffffffff, 0xffff };
    bool                  implicit       = op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && is_gpr(op->mem.base) &&
                    (gpr_number(op->mem.base) == 4 || gpr_number(op->mem.base) == 5);
    return implicit ? stack[in->form->mode] : address_mask(in);
}

uint64_t operand_address(const Instance *in, const State *s, const ZydisDecodedOperand *op)
{
    uint64_t a = (uint64_t)op->mem.disp.value;
    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP) {
        a += in->rip + in->len;
    } else if (is_gpr(op->mem.base)) {
        a += s->gpr[gpr_number(op->mem.base)];
    }
    if (op->mem.index == ZYDIS_REGISTER_AL) { /* XLAT */
        a += s->gpr[0] & 0xff;
    } else if (is_gpr(op->mem.index)) {
        a += s->gpr[gpr_number(op->mem.index)] * op->mem.scale;
    }
    return a & operand_mask(in, op);
}

/* Keeps the bits of a register that an address does not use. */
static void set_address(State *s, uint64_t mask, unsigned reg, uint64_t value)
{
    s->gpr[reg] = (s->gpr[reg] & ~mask) | (value & mask);
}

/* Rewrites the displacement in the code. */
bool instance_set_displacement(Instance *in, uint64_t value)
{
    unsigned size = in->d.raw.disp.size / 8;
    if (!size) {
        return false;
    }
    store_le(in->code + in->d.raw.disp.offset, value, size);
    return form_decode(in->form->mode, in->code, in->len, &in->d, in->op);
}

/* Vector indexes of a gather: small, around a base in the middle. */
static bool place_gather(State *s, Instance *in, const ZydisDecodedOperand *op, GRand *random)
{
    unsigned index = (unsigned)ZydisRegisterGetId(op->mem.index);
    bool     wide =
        strchr(ZydisMnemonicGetString(in->d.mnemonic) + 7, 'q') != NULL && in->d.mnemonic != ZYDIS_MNEMONIC_VPGATHERDQ;
    for (unsigned i = 0; i < 32; i += wide ? 8 : 4) {
        int64_t  value = (int64_t)below(random, 0x100) - 0x80;
        uint8_t *at    = i < 16 ? s->fx + 160 + 16 * index + i : s->fx + 576 + 16 * index + i - 16;
        if (chance(random, 12)) {
            value = chance(random, 2) ? 0x4000 : -0x4000; /* out of it */
        }
        store_le(at, (uint64_t)value, wide ? 8 : 4);
    }
    if (!is_gpr(op->mem.base)) {
        return in->d.raw.disp.size == 32 && instance_set_displacement(in, DATA_BASE + 0x1000);
    }
    uint64_t base = DATA_BASE + 0x1000 + below(random, 64);
    set_address(s, operand_mask(in, op), gpr_number(op->mem.base), base - (uint64_t)op->mem.disp.value);
    return true;
}

static bool place_operand(State *s, Instance *in, unsigned n, GRand *random)
{
    ZydisDecodedOperand *op = &in->op[n];
    if (op->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        return place_gather(s, in, op, random);
    }
    unsigned size = MAX(op->size / 8, 1);
    bool     pushes =
        op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN && is_gpr(op->mem.base) && gpr_number(op->mem.base) == 4;
    uint64_t target = state_place(MIN(size, 1024u), random) + (in->form->mode == MODE_16 ? 0 : (unsigned)DATA_BASE);
    if (pushes && chance(random, 2)) {
        target &= ~UINT64_C(15);
    }
    if (op->mem.segment == ZYDIS_REGISTER_GS && in->form->mode == MODE_64) {
        target -= s->gs_base;
    }
    uint64_t delta = target - operand_address(in, s, op);
    unsigned base  = gpr_number(op->mem.base);
    if (op->mem.base == ZYDIS_REGISTER_RIP || op->mem.base == ZYDIS_REGISTER_EIP) {
        return instance_set_displacement(in, (uint64_t)op->mem.disp.value + delta);
    }
    if (is_gpr(op->mem.base)) {
        uint64_t factor =
            is_gpr(op->mem.index) && op->mem.index != ZYDIS_REGISTER_AL && gpr_number(op->mem.index) == base
                ? op->mem.scale + 1u
                : 1;
        if (op->mem.index == ZYDIS_REGISTER_AL && base == 0) {
            return false;
        }
        if (factor > 1) {
            uint64_t rest = operand_address(in, s, op) - factor * s->gpr[base];
            set_address(s, operand_mask(in, op), base, ((target - rest) & operand_mask(in, op)) / factor);
        } else {
            set_address(s, operand_mask(in, op), base, s->gpr[base] + delta);
        }
    } else if (is_gpr(op->mem.index)) {
        unsigned index = gpr_number(op->mem.index);
        uint64_t rest  = operand_address(in, s, op) - s->gpr[index] * op->mem.scale;
        set_address(s, operand_mask(in, op), index, ((target - rest) & operand_mask(in, op)) / op->mem.scale);
    } else {
        return instance_set_displacement(in, target);
    }
    return true;
}

/* An image for FXRSTOR and XRSTOR that is mostly good, and registers that choose among three components. */
static void place_image(State *s, const Instance *in, GRand *random)
{
    const ZydisDecodedOperand *op = &in->op[0];
    if (op->type != ZYDIS_OPERAND_TYPE_MEMORY || op->size < 512 * 8) {
        return;
    }
    uint64_t at = operand_address(in, s, op) - (in->form->mode == MODE_16 ? 0 : (unsigned)DATA_BASE) +
                  (op->mem.segment == ZYDIS_REGISTER_GS ? s->gs_base : 0);
    if (at >= DATA_TOTAL || DATA_TOTAL - at < N_EXTENDED) {
        return;
    }
    uint8_t *area = s->data + at;
    vector_bytes(area, N_EXTENDED, random);
    random_x87(area, random);
    area[5] = 0;
    store_le32(area + 24, random_mxcsr(random) | (chance(random, 12) ? 1u << below(random, 32) : 0));
    memset(area + 512, 0, 64);
    uint64_t have = below(random, 8);
    store_le64(area + 512, have);
    if (chance(random, 2)) {
        store_le64(area + 520, have | below(random, 8) | UINT64_C(1) << 63);
    }
    if (chance(random, 12)) { /* a header that is refused; bits of components that a host may have are left alone */
        unsigned bit  = 20 + below(random, 43);
        unsigned word = below(random, 8);
        store_le64(area + 512 + 8 * word, load_le64(area + 512 + 8 * word) | UINT64_C(1) << bit);
    }
    if (chance(random, 12)) {
        store_le64(area + 512, below(random, 8));
    }
}

/* Every operand must lie where only the test's memory, or nothing, is. */
static bool operand_is_safe(const State *s, const Instance *in, const ZydisDecodedOperand *op)
{
    if (op->mem.type == ZYDIS_MEMOP_TYPE_VSIB) {
        return true; /* as placed */
    }
    uint64_t a = operand_address(in, s, op);
    if (in->form->mode == MODE_16) {
        return a <= 0xffff;
    }
    if (op->mem.segment == ZYDIS_REGISTER_GS && in->form->mode == MODE_64) {
        a += s->gs_base;
    }
    return a >= DATA_BASE - 0x10000 && a < DATA_END + 0x10000;
}

static bool is_bit_test(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR || m == ZYDIS_MNEMONIC_BTC;
}

static bool is_xsave(const ZydisDecodedInstruction *d)
{
    return d->meta.isa_set == ZYDIS_ISA_SET_XSAVE || d->meta.isa_set == ZYDIS_ISA_SET_XSAVEOPT ||
           d->meta.isa_set == ZYDIS_ISA_SET_XSAVEC || d->meta.isa_set == ZYDIS_ISA_SET_XSAVES;
}

/* Operands that are addresses without being memory operands. */
static bool place_special(State *s, Instance *in, GRand *random)
{
    const ZydisDecodedInstruction *d = &in->d;

    if (d->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) {
        set_address(s, address_mask(in), 1, chance(random, 8) ? below(random, 6000) : below(random, 24));
    }
    if (is_bit_test(d->mnemonic) && in->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
        in->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        /* The bit offset reaches beyond the operand. */
        unsigned reg   = gpr_number(in->op[1].reg.value);
        int64_t  bit   = (int64_t)below(random, 4000) - 2000;
        unsigned width = in->op[1].size;
        uint64_t mask  = width == 64 ? ~UINT64_C(0) : (UINT64_C(1) << width) - 1;
        s->gpr[reg]    = (s->gpr[reg] & ~mask) | ((uint64_t)bit & mask);
        if (in->form->mode != MODE_64) {
            s->gpr[reg] = (uint32_t)s->gpr[reg];
        }
    }
    if (is_xsave(d)) {
        s->gpr[0] = (s->gpr[0] & ~UINT64_C(0xffffffff)) | below(random, 8);
        s->gpr[2] = in->form->mode == MODE_64 ? s->gpr[2] & ~UINT64_C(0xffffffff) : 0;
    }
    if (d->mnemonic == ZYDIS_MNEMONIC_CLZERO) {
        set_address(s, address_mask(in), 0,
                    (in->form->mode == MODE_16 ? 0 : DATA_BASE) + below(random, DATA_SIZE - 64));
    }
    if (d->mnemonic == ZYDIS_MNEMONIC_XGETBV) {
        s->gpr[1] = chance(random, 4) ? s->gpr[1] : 0;
    }
    if (d->mnemonic == ZYDIS_MNEMONIC_INT && native_answers_int((uint8_t)in->d.raw.imm[0].value.u)) {
        return false;
    }
    if (d->mnemonic == ZYDIS_MNEMONIC_ENTER) {
        uint64_t base = in->form->mode == MODE_16 ? 0x1000 : DATA_BASE + 0x1000;
        s->gpr[5]     = base + below(random, 256) * 8;
        s->gpr[4]     = base + below(random, 256) * 8;
    }
    return true;
}

bool state_random(State *s, const Instance *constant, GRand *random)
{
    Instance *in = (Instance *)constant; /* displacements are rewritten */

    state_registers(s, in->form->mode, random);
    s->rip     = in->rip;
    s->gs_base = in->form->mode == MODE_64 ? below(random, 0x1000) * 16 : 0;
    if (!place_special(s, in, random)) {
        return false;
    }
    for (unsigned i = 0; i < in->d.operand_count; i++) {
        if (in->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && in->op[i].mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
            !place_operand(s, in, i, random)) {
            return false;
        }
    }
    if (is_xsave(&in->d) && (uint32_t)s->gpr[0] & ~7u) {
        return false; /* the base is RAX: it would choose components that the guest does not have */
    }
    /* Placing one operand may have moved another, or the bit offset. */
    if (is_bit_test(in->d.mnemonic) && in->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
        in->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        unsigned width = in->op[1].size;
        uint64_t value = s->gpr[gpr_number(in->op[1].reg.value)] << (64 - width);
        int64_t  bit   = (int64_t)value >> (64 - width);
        if (bit < -3000 || bit > 3000) {
            return false;
        }
    }
    for (unsigned i = 0; i < in->d.operand_count; i++) {
        if (in->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && in->op[i].mem.type != ZYDIS_MEMOP_TYPE_AGEN &&
            !operand_is_safe(s, in, &in->op[i])) {
            return false;
        }
    }
    /* Fresh operands: most of memory keeps what it had. */
    for (unsigned i = 0; i < in->d.operand_count; i++) {
        if (in->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            uint64_t at = operand_address(in, s, &in->op[i]) - (in->form->mode == MODE_16 ? 0 : (unsigned)DATA_BASE) +
                          (in->op[i].mem.segment == ZYDIS_REGISTER_GS ? s->gs_base : 0);
            if (at < DATA_TOTAL - 64) {
                vector_bytes(s->data + at, 64, random);
                if (in->d.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && in->op[i].size == 80) {
                    uint8_t value[16];
                    float80(value, random);
                    memcpy(s->data + at, value, 10);
                }
            }
        }
    }
    place_image(s, in, random);
    segments_place(s, in, random);
    if (in->d.mnemonic == ZYDIS_MNEMONIC_LDMXCSR || in->d.mnemonic == ZYDIS_MNEMONIC_VLDMXCSR) {
        uint64_t at = operand_address(in, s, &in->op[0]) - (in->form->mode == MODE_16 ? 0 : (unsigned)DATA_BASE) +
                      (in->op[0].mem.segment == ZYDIS_REGISTER_GS ? s->gs_base : 0);
        if (at < DATA_TOTAL - 4 && !chance(random, 6)) {
            store_le32(s->data + at, random_mxcsr(random));
        }
    }
    return true;
}
