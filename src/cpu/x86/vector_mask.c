/* Vector instructions that touch only some of their memory: MASKMOVQ, MASKMOVDQU, VMASKMOVx, VPMASKMOVx and the AVX2
 * gathers. What is masked off is neither checked nor accessed (MASKMOVQ and MASKMOVDQU check all of it).
 *
 * Loads read every enabled element before they change a register; stores check every enabled element before they
 * write. Gathers go from the lowest element up and keep what they have done when one faults, as SDM 2 says.
 *
 * See vector.h for threads. */

#include "cpu/x86/vector.h"

/* --- a vector register as elements ------------------------------------------------------------------------------ */

typedef struct Vec256 {
    uint8_t b[32];
} Vec256;

static Vec256 get(X86Cpu *cpu, unsigned n)
{
    Vec256 v;
    memcpy(v.b, x86_xmm(cpu, n), 16);
    memcpy(v.b + 16, x86_ymm_high(cpu, n), 16);
    return v;
}

static void set(X86Cpu *cpu, unsigned n, const Vec256 *v)
{
    memcpy(x86_xmm(cpu, n), v->b, 16);
    memcpy(x86_ymm_high(cpu, n), v->b + 16, 16);
}

static inline bool enabled(const Vec256 *mask, unsigned i, unsigned size)
{
    return mask->b[i * size + size - 1] >> 7;
}

/* Where element i of the memory operand is; checks its segment. */
static uint64_t element(X86Cpu *cpu, const X86Insn *in, unsigned i, unsigned size, X86Access access)
{
    uint64_t offset = x86_operand_offset(cpu, in) + (uint64_t)i * size;
    offset          = in->addrsize == 8 ? offset : in->addrsize == 4 ? (uint32_t)offset : (uint16_t)offset;
    return x86_linear(cpu, in->seg, offset, size, access);
}

/* Elements are not checked for alignment, unlike other operands of their size. */
static bool would_check(const X86Cpu *cpu, uint64_t linear, unsigned size)
{
    return cpu->eflags & EFLAGS_AC && linear & (size - 1);
}

static void load_element(X86Cpu *cpu, uint64_t linear, uint8_t *buf, unsigned size)
{
    unsigned step = would_check(cpu, linear, size) ? 1 : size;
    for (unsigned i = 0; i < size; i += step) {
        x86_load_bytes(cpu, linear + i, buf + i, step);
    }
}

static void store_element(X86Cpu *cpu, uint64_t linear, const uint8_t *buf, unsigned size)
{
    unsigned step = would_check(cpu, linear, size) ? 1 : size;
    for (unsigned i = 0; i < size; i += step) {
        x86_store_bytes(cpu, linear + i, buf + i, step);
    }
}

static void probe_element(X86Cpu *cpu, uint64_t linear, unsigned size)
{
    unsigned step = would_check(cpu, linear, size) ? 1 : size;
    for (unsigned i = 0; i < size; i += step) {
        x86_probe_write(cpu, linear + i, step);
    }
}

/* --- VMASKMOV --------------------------------------------------------------------------------------------------- */

/* aux: element size; opsize is the vector's. Operand 0 in reg, the mask in rm (loads) or reg (stores). */
static void masked_load(X86Cpu *cpu, const X86Insn *in)
{
    unsigned size   = in->aux;
    Vec256   mask   = get(cpu, in->rm);
    Vec256   result = { { 0 } };
    for (unsigned i = 0; i < in->opsize / size; i++) {
        if (enabled(&mask, i, size)) {
            load_element(cpu, element(cpu, in, i, size, X86_READ), result.b + i * size, size);
        }
    }
    set(cpu, in->reg, &result);
}

/* Writes the enabled elements of `data`, all or none. */
static void store_enabled(X86Cpu *cpu, const X86Insn *in, const Vec256 *mask, const Vec256 *data, unsigned size,
                          unsigned count)
{
    uint64_t linear[32];
    for (unsigned i = 0; i < count; i++) {
        if (enabled(mask, i, size)) {
            linear[i] = element(cpu, in, i, size, X86_WRITE);
            probe_element(cpu, linear[i], size);
        }
    }
    for (unsigned i = 0; i < count; i++) {
        if (enabled(mask, i, size)) {
            store_element(cpu, linear[i], data->b + i * size, size);
        }
    }
}

static void masked_store(X86Cpu *cpu, const X86Insn *in)
{
    Vec256 mask = get(cpu, in->rm), data = get(cpu, in->reg3);
    store_enabled(cpu, in, &mask, &data, in->aux, in->opsize / in->aux);
}

/* --- MASKMOVDQU, MASKMOVQ --------------------------------------------------------------------------------------- */

/* Unlike the rest here, these check all of their operand, as SDM 2 leaves it to the implementation. */
static void check_whole(X86Cpu *cpu, const X86Insn *in, unsigned size)
{
    uint64_t linear = x86_linear(cpu, in->seg, x86_operand_offset(cpu, in), size, X86_WRITE);
    x86_check_ac(cpu, linear, 8);
    x86_probe_write(cpu, linear, size);
}

static void maskmov_sse(X86Cpu *cpu, const X86Insn *in)
{
    check_whole(cpu, in, 16);
    Vec256 data = get(cpu, in->reg), mask = get(cpu, in->rm);
    store_enabled(cpu, in, &mask, &data, 1, 16);
}

static void maskmov_mmx(X86Cpu *cpu, const X86Insn *in)
{
    Vec256 data = { { 0 } }, mask = { { 0 } };

    x86_fpu_check_pending(cpu);
    x86_mmx_enter(cpu); /* also when a fault follows */
    check_whole(cpu, in, 8);
    memcpy(data.b, x86_mmx(cpu, in->reg), 8);
    memcpy(mask.b, x86_mmx(cpu, in->rm), 8);
    store_enabled(cpu, in, &mask, &data, 1, 8);
}

/* --- gathers ---------------------------------------------------------------------------------------------------- */

/* How a gather's operands are laid out: in X86Insn.imm. */
typedef struct Gather {
    uint8_t  element; /* bytes: 4 or 8 */
    uint8_t  index;   /* bytes of an index: 4 or 8 */
    uint8_t  count;
    uint8_t  spare;
    uint32_t spare2;
} Gather;

static uint64_t gather_address(X86Cpu *cpu, const X86Insn *in, const Gather *g, const Vec256 *indexes, unsigned i)
{
    uint64_t index  = g->index == 4 ? (uint64_t)(int32_t)load_le32(indexes->b + 4 * i) : load_le64(indexes->b + 8 * i);
    uint64_t offset = cpu->gpr[in->base] + (index << in->scale) + (uint64_t)in->disp;
    if (in->base == X86_RIP) {
        x86_raise(cpu, X86_UD); /* not encodable */
    }
    offset = in->addrsize == 8 ? offset : in->addrsize == 4 ? (uint32_t)offset : (uint16_t)offset;
    return x86_linear(cpu, in->seg, offset, g->element, X86_READ);
}

/* reg: destination; rm: mask; reg3: indexes. */
static void gather(X86Cpu *cpu, const X86Insn *in)
{
    Gather g;
    memcpy(&g, &in->imm, sizeof g);
    Vec256 result = get(cpu, in->reg), mask = get(cpu, in->rm), indexes = get(cpu, in->reg3);

    for (unsigned i = 0; i < g.count; i++) {
        if (enabled(&mask, i, g.element)) {
            uint8_t value[8];
            set(cpu, in->reg, &result);
            set(cpu, in->rm, &mask); /* what has been passed is cleared, should this one fault */
            load_element(cpu, gather_address(cpu, in, &g, &indexes, i), value, g.element);
            memcpy(result.b + i * g.element, value, g.element);
        }
        memset(mask.b + i * g.element, 0, g.element);
    }
    memset(result.b + g.count * g.element, 0, sizeof result.b - g.count * g.element);
    memset(&mask, 0, sizeof mask);
    set(cpu, in->reg, &result);
    set(cpu, in->rm, &mask);
}

/* --- decoding --------------------------------------------------------------------------------------------------- */

static uint8_t reg_id(const ZydisDecodedOperand *op)
{
    return (uint8_t)ZydisRegisterGetId(op->reg.value);
}

static uint8_t segment_of(ZydisRegister segment)
{
    switch (segment) {
    case ZYDIS_REGISTER_ES: return X86_ES;
    case ZYDIS_REGISTER_CS: return X86_CS;
    case ZYDIS_REGISTER_SS: return X86_SS;
    case ZYDIS_REGISTER_FS: return X86_FS;
    case ZYDIS_REGISTER_GS: return X86_GS;
    default: return X86_DS;
    }
}

/* The store goes to [rDI] in a segment that a prefix may choose; no ModRM says so. */
static void implicit_rdi(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    insn->base     = X86_RDI;
    insn->index    = X86_NO_REG;
    insn->scale    = 0;
    insn->disp     = 0;
    insn->addrsize = d->address_width / 8;
    insn->address  = X86_ADDRESS_CHECKED;
    insn->seg      = X86_DS;
    insn->flags |= X86_INSN_MEMORY;
    for (unsigned i = 0; i < d->operand_count; i++) {
        if (ops[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            insn->seg = segment_of(ops[i].mem.segment);
        }
    }
}

static bool decode_gather(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    const ZydisDecodedOperand *mem    = &ops[1];
    Gather                     g      = { .element = (uint8_t)(mem->size / 8) };
    unsigned                   vector = ZydisRegisterGetClass(ops[0].reg.value) == ZYDIS_REGCLASS_YMM ||
                              ZydisRegisterGetClass(mem->mem.index) == ZYDIS_REGCLASS_YMM
                                            ? 32
                                            : 16;
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_VPGATHERDD:
    case ZYDIS_MNEMONIC_VGATHERDPS:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
    case ZYDIS_MNEMONIC_VGATHERDPD: g.index = 4; break;
    default: g.index = 8; break;
    }
    g.count = (uint8_t)(vector / MAX(g.element, g.index));
    if ((g.element != 4 && g.element != 8) || mem->mem.type != ZYDIS_MEMOP_TYPE_VSIB) {
        return false;
    }
    insn->reg   = reg_id(&ops[0]);
    insn->rm    = reg_id(&ops[2]);
    insn->reg3  = (uint8_t)ZydisRegisterGetId(mem->mem.index);
    insn->index = X86_NO_REG;
    insn->scale = mem->mem.scale == 8 ? 3 : mem->mem.scale == 4 ? 2 : mem->mem.scale == 2 ? 1 : 0;
    memcpy(&insn->imm, &g, sizeof insn->imm);
    insn->run = gather;
    return true;
}

bool x86_mask_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    X86Unit unit = X86_UNIT_AVX;

    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ:
        unit = X86_UNIT_MMX;
        implicit_rdi(d, ops, insn);
        insn->reg = reg_id(&ops[0]);
        insn->rm  = reg_id(&ops[1]);
        insn->run = maskmov_mmx;
        break;
    case ZYDIS_MNEMONIC_MASKMOVDQU: unit = X86_UNIT_SSE; /* fall through */
    case ZYDIS_MNEMONIC_VMASKMOVDQU:
        implicit_rdi(d, ops, insn);
        insn->reg = reg_id(&ops[0]);
        insn->rm  = reg_id(&ops[1]);
        insn->run = maskmov_sse;
        break;
    case ZYDIS_MNEMONIC_VMASKMOVPS:
    case ZYDIS_MNEMONIC_VMASKMOVPD:
    case ZYDIS_MNEMONIC_VPMASKMOVD:
    case ZYDIS_MNEMONIC_VPMASKMOVQ:
        insn->aux    = d->mnemonic == ZYDIS_MNEMONIC_VMASKMOVPS || d->mnemonic == ZYDIS_MNEMONIC_VPMASKMOVD ? 4 : 8;
        insn->opsize = d->avx.vector_length / 8;
        insn->rm     = reg_id(&ops[1]);
        if (ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            insn->reg3 = reg_id(&ops[2]);
            insn->run  = masked_store;
        } else {
            insn->reg = reg_id(&ops[0]);
            insn->run = masked_load;
        }
        break;
    case ZYDIS_MNEMONIC_VPGATHERDD:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
    case ZYDIS_MNEMONIC_VPGATHERQD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
    case ZYDIS_MNEMONIC_VGATHERDPS:
    case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VGATHERQPD:
        if (!decode_gather(d, ops, insn)) {
            return false;
        }
        break;
    default: return false;
    }
    X86Handler blocked = x86_unit_blocked(cpu, unit);
    insn->run          = blocked ? blocked : insn->run;
    return true;
}
