/* See check_decode.h. */

#include "check_decode.h"

#include <Zydis/Zydis.h>

#include <string.h>

typedef struct Check {
    const DbtInsn          *in;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
} Check;

#define DIFFERS(...) (g_snprintf(why, 256, __VA_ARGS__), (const char *)why)

DbtMode check_decode_mode(unsigned number)
{
    static const uint8_t sizes[6][3] = { { 8, 8, 1 }, { 4, 4, 1 }, { 2, 2, 1 }, { 4, 2, 0 }, { 2, 4, 0 }, { 8, 8, 1 } };
    const uint8_t       *s           = sizes[number % 6];
    bool                 some        = number % 6 == 5;
    DbtMode              mode        = { .code      = s[0],
                                         .stack     = s[1],
                                         .flat      = s[2],
                                         .popcnt    = true,
                                         .forward   = !some,
                                         .kernel    = !some,
                                         .user      = some,
                                         .stac      = !some,
                                         .clac      = !some,
                                         .rdtscp    = true,
                                         .serialize = true,
                                         .cx16      = true,
                                         .lzcnt     = !some,
                                         .tzcnt     = !some,
                                         .movbe     = !some,
                                         .crc32     = true,
                                         .bmi1      = !some,
                                         .bmi2      = !some,
                                         .writes    = DBT_USUAL_WRITES };
    /* Any kind of segment, each more than once */
    static const uint8_t kinds[6][6] = {
        { 0 }, { 6, 2, 6, 6, 7, 3 }, { 6, 2, 6, 6, 0, 5 }, { 5, 1, 5, 3, 6, 0 }, { 7, 7, 7, 7, 1, 2 }, { 0 }
    };
    memcpy(mode.seg, kinds[number % 6], sizeof mode.seg);
    if (some) { /* as AMD's family 1Ah */
        mode.writes = (DbtWrites){
            .mul = FL_CF | FL_OF, .div = FL_ALL & ~(FL_CF | FL_OF), .tzcnt = FL_ALL & ~FL_OF, .lzcnt = FL_ALL & ~FL_OF
        };
    }
    mode.real      = s[0] == 2;
    mode.protected = number % 6 == 1 || number % 6 == 3;
    return mode;
}

/* --- what Zydis calls it --- */

static ZydisRegister reg_of(unsigned n, unsigned size)
{
    static const ZydisRegister high[4] = { ZYDIS_REGISTER_AH, ZYDIS_REGISTER_CH, ZYDIS_REGISTER_DH, ZYDIS_REGISTER_BH };
    if (n >= DBT_HIGH) {
        return size == 1 && n < DBT_HIGH + 4 ? high[n - DBT_HIGH] : ZYDIS_REGISTER_NONE;
    }
    switch (size) {
    case 1: return n < 4 ? ZYDIS_REGISTER_AL + n : ZYDIS_REGISTER_SPL + n - 4; /* AH to BH lie between */
    case 2: return ZYDIS_REGISTER_AX + n;
    case 4: return ZYDIS_REGISTER_EAX + n;
    case 8: return ZYDIS_REGISTER_RAX + n;
    default: return ZYDIS_REGISTER_NONE;
    }
}

static const ZydisDecodedOperand *find(const Check *c, ZydisOperandEncoding encoding)
{
    for (unsigned i = 0; i < c->z.operand_count_visible; i++) {
        if (c->op[i].encoding == encoding) {
            return &c->op[i];
        }
    }
    return NULL;
}

/* The operand that DbtInsn.rm and memory are about. */
static const ZydisDecodedOperand *find_rm(const Check *c)
{
    const ZydisDecodedOperand *o = find(c, ZYDIS_OPERAND_ENCODING_MODRM_RM);
    o                            = o ? o : find(c, ZYDIS_OPERAND_ENCODING_OPCODE);
    o                            = o ? o : find(c, ZYDIS_OPERAND_ENCODING_DISP16_32_64);
    if (!o && c->z.operand_count_visible && c->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
        o = &c->op[0]; /* the accumulator of short forms */
    }
    return o;
}

/* --- comparing --- */

/* Of string instructions: the source's, where there is one. */
static bool good_segment(const Check *c)
{
    const ZydisDecodedOperand *from = &c->op[1];
    if (c->z.address_width == 64) {
        return !(c->z.attributes & ZYDIS_ATTRIB_HAS_SEGMENT);
    }
    return from->type != ZYDIS_OPERAND_TYPE_MEMORY ||
           from->mem.segment == (ZydisRegister)(ZYDIS_REGISTER_ES + c->in->seg);
}

static const char *check_name(const Check *c, char *why)
{
    static const ZydisMnemonic loads[6] = {
        [0] = ZYDIS_MNEMONIC_LES, [3] = ZYDIS_MNEMONIC_LDS, [4] = ZYDIS_MNEMONIC_LFS, [5] = ZYDIS_MNEMONIC_LGS
    };

    static const ZydisMnemonic pushes[9] = {
        [2] = ZYDIS_MNEMONIC_PUSHF, [4] = ZYDIS_MNEMONIC_PUSHFD, [8] = ZYDIS_MNEMONIC_PUSHFQ
    };
    ZydisMnemonic m       = c->z.mnemonic;
    ZydisRegister segment = ZYDIS_REGISTER_ES + c->in->seg_reg;
    bool          ok      = true;
    switch ((DbtTemplate)c->in->t) {
    case T_MOVI: ok = m == ZYDIS_MNEMONIC_MOV; break;
    case T_LEA: ok = m == ZYDIS_MNEMONIC_LEA; break;
    case T_PUSH:
    case T_PUSHI:
    case T_PUSHM: ok = m == (c->in->op == 0x9c ? pushes[c->in->opsize] : ZYDIS_MNEMONIC_PUSH); break;
    case T_POP: ok = m == ZYDIS_MNEMONIC_POP; break;
    case T_LEAVE: ok = m == ZYDIS_MNEMONIC_LEAVE; break;
    case T_CALL: ok = m == ZYDIS_MNEMONIC_CALL && c->op[0].imm.is_relative; break;
    case T_CALLI: ok = m == ZYDIS_MNEMONIC_CALL && c->z.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR; break;
    case T_RET: ok = m == ZYDIS_MNEMONIC_RET && c->z.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR; break;
    case T_JMP:
        ok = c->in->serialize ? m == ZYDIS_MNEMONIC_SERIALIZE && !c->in->imm
                              : m == ZYDIS_MNEMONIC_JMP && c->op[0].imm.is_relative;
        break;
    case T_JMPI: ok = m == ZYDIS_MNEMONIC_JMP && c->z.meta.branch_type == ZYDIS_BRANCH_TYPE_NEAR; break;
    case T_LOOP: ok = m == ZYDIS_MNEMONIC_LOOP || m == ZYDIS_MNEMONIC_JCXZ || m == ZYDIS_MNEMONIC_JECXZ; break;
    case T_PUSHSEG: ok = m == ZYDIS_MNEMONIC_PUSH && c->op[0].reg.value == segment; break;
    case T_POPSEG: ok = m == ZYDIS_MNEMONIC_POP && c->op[0].reg.value == segment; break;
    case T_STSEG: ok = m == ZYDIS_MNEMONIC_MOV && c->op[1].reg.value == segment; break;
    case T_SETSEG: ok = m == ZYDIS_MNEMONIC_MOV && c->op[0].reg.value == segment; break;
    case T_SEGC:
    case T_SEGQ:
        ok = m == loads[c->in->seg_reg] ||
             ((m == ZYDIS_MNEMONIC_MOV || m == ZYDIS_MNEMONIC_POP) && c->op[0].reg.value == segment);
        break;
    case T_LSEG: ok = m == loads[c->in->seg_reg]; break;
    case T_FAR:
    case T_FARQ:
        ok = m == ZYDIS_MNEMONIC_IRET || m == ZYDIS_MNEMONIC_IRETD || m == ZYDIS_MNEMONIC_INT ||
             c->z.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR;
        ok &= c->op[0].type != ZYDIS_OPERAND_TYPE_POINTER || c->op[0].ptr.segment == (uint32_t)c->in->disp;
        break;
    case T_JCC: ok = c->z.meta.category == ZYDIS_CATEGORY_COND_BR && (c->z.opcode & 15) == (c->in->op & 15); break;
    case T_SHCL: ok = c->z.meta.category == ZYDIS_CATEGORY_SHIFT || c->z.meta.category == ZYDIS_CATEGORY_ROTATE; break;
    case T_SHDCL: ok = m == ZYDIS_MNEMONIC_SHLD || m == ZYDIS_MNEMONIC_SHRD; break;
    case T_MULDIV:
        ok = m == ZYDIS_MNEMONIC_MUL || m == ZYDIS_MNEMONIC_IMUL || m == ZYDIS_MNEMONIC_DIV || m == ZYDIS_MNEMONIC_IDIV;
        break;
    case T_XCHG: ok = m == ZYDIS_MNEMONIC_XCHG; break;
    case T_CMPXCHG: ok = m == ZYDIS_MNEMONIC_CMPXCHG; break;
    case T_EXTEND: ok = m == ZYDIS_MNEMONIC_CBW || m == ZYDIS_MNEMONIC_CWDE || m == ZYDIS_MNEMONIC_CDQE; break;
    case T_SPREAD: ok = m == ZYDIS_MNEMONIC_CWD || m == ZYDIS_MNEMONIC_CDQ || m == ZYDIS_MNEMONIC_CQO; break;
    case T_BITMEM:
        ok = m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR || m == ZYDIS_MNEMONIC_BTC;
        break;
    case T_BSWAP: ok = m == ZYDIS_MNEMONIC_BSWAP; break;
    case T_FLAG: ok = m == ZYDIS_MNEMONIC_CLC || m == ZYDIS_MNEMONIC_STC || m == ZYDIS_MNEMONIC_CMC; break;
    case T_FENCE: ok = m == ZYDIS_MNEMONIC_LFENCE || m == ZYDIS_MNEMONIC_MFENCE || m == ZYDIS_MNEMONIC_SFENCE; break;
    case T_NOP: /* and what is one without its feature */
        ok = c->z.opcode == 0x90 || m == ZYDIS_MNEMONIC_CLD || m == ZYDIS_MNEMONIC_CLAC ||
             c->z.opcode_map == ZYDIS_OPCODE_MAP_0F;
        break;
    case T_STRING: /* REP and segments are others' */
        ok = c->z.meta.category == ZYDIS_CATEGORY_STRINGOP && c->in->opsize * 8 == c->op[0].size &&
             c->z.address_width == c->in->addrsize * 8 && !(c->z.attributes & ZYDIS_ATTRIB_HAS_REP) && good_segment(c);
        break;
    case T_REP:
        ok = c->z.meta.category == ZYDIS_CATEGORY_STRINGOP && c->in->opsize * 8 == c->op[0].size &&
             c->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY && c->z.address_width == c->in->addrsize * 8 &&
             c->op[0].mem.base == reg_of(7, c->in->addrsize) && c->z.attributes & ZYDIS_ATTRIB_HAS_REP &&
             good_segment(c);
        break;
    case T_CLI: ok = m == ZYDIS_MNEMONIC_CLI; break;
    case T_STI: ok = m == ZYDIS_MNEMONIC_STI; break;
    case T_STAC: ok = m == ZYDIS_MNEMONIC_STAC; break;
    case T_CLAC: ok = m == ZYDIS_MNEMONIC_CLAC; break;
    case T_BASE: {
        static const ZydisMnemonic names[4] = { ZYDIS_MNEMONIC_RDFSBASE, ZYDIS_MNEMONIC_RDGSBASE,
                                                ZYDIS_MNEMONIC_WRFSBASE, ZYDIS_MNEMONIC_WRGSBASE };
        ok                                  = m == names[c->in->reg & 3];
        break;
    }
    case T_SYSCALL: ok = m == ZYDIS_MNEMONIC_SYSCALL; break;
    case T_SYSRET: ok = m == ZYDIS_MNEMONIC_SYSRET; break;
    case T_SWAPGS: ok = m == ZYDIS_MNEMONIC_SWAPGS; break;
    case T_RDSEG:
        ok = m == ZYDIS_MNEMONIC_MOV && c->op[1].reg.value == (ZydisRegister)(ZYDIS_REGISTER_ES + c->in->reg);
        break;
    case T_RDTSC: ok = m == (c->in->map == 2 ? ZYDIS_MNEMONIC_RDTSCP : ZYDIS_MNEMONIC_RDTSC); break;
    case T_CMPXCHG16: ok = m == ZYDIS_MNEMONIC_CMPXCHG16B; break;
    case T_BMI: ok = c->z.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX; break;
    case T_GEN: ok = c->z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY; break;
    default: ok = false; break;
    }
    return ok ? NULL : DIFFERS("template %u for %s", c->in->t, ZydisMnemonicGetString(m));
}

static const char *check_memory(const Check *c, const ZydisDecodedOperand *o, char *why)
{
    const DbtInsn *in = c->in;
    if (!o || o->type != ZYDIS_OPERAND_TYPE_MEMORY) {
        return DIFFERS("there is no memory operand");
    }
    if (in->addrsize * 8 != c->z.address_width) {
        return DIFFERS("address size %u, not %u bits", in->addrsize, c->z.address_width);
    }
    bool          rip   = o->mem.base == ZYDIS_REGISTER_RIP || o->mem.base == ZYDIS_REGISTER_EIP;
    ZydisRegister base  = in->base == DBT_NO_REG ? ZYDIS_REGISTER_NONE : reg_of(in->base, in->addrsize);
    ZydisRegister index = in->index == DBT_NO_REG ? ZYDIS_REGISTER_NONE : reg_of(in->index, in->addrsize);
    ZydisRegister its   = o->mem.base;
    int64_t       disp  = o->mem.disp.has_displacement ? o->mem.disp.value : 0;
    if (c->z.raw.modrm.mod == 0 && c->z.raw.modrm.rm == 4 && c->z.raw.sib.base == 5 && c->z.address_width != 16) {
        its  = ZYDIS_REGISTER_NONE; /* with REX.B and 67h Zydis 4.0 sees R13D, processors see none */
        disp = c->z.raw.disp.value;
    }
    if (in->rip_relative != rip || (!rip && base != its)) {
        return DIFFERS("base %s, not %s", ZydisRegisterGetString(base), ZydisRegisterGetString(its));
    }
    if (index != o->mem.index || (index != ZYDIS_REGISTER_NONE && 1u << in->scale != o->mem.scale)) {
        return DIFFERS("index %s*%u, not %s*%u", ZydisRegisterGetString(index), 1u << in->scale,
                       ZydisRegisterGetString(o->mem.index), o->mem.scale);
    }
    if ((int32_t)disp != in->disp) {
        return DIFFERS("displacement %d, not %d", in->disp, (int32_t)disp);
    }
    ZydisRegister seg = ZYDIS_REGISTER_ES + in->seg;
    if (c->z.attributes & ZYDIS_ATTRIB_HAS_NOTRACK && in->seg == 3 && c->z.address_width != 64) {
        return NULL; /* the prefix is also that of DS, which Zydis does not see */
    }
    if (in->t != T_LEA && seg != o->mem.segment) {
        return DIFFERS("segment %s, not %s", ZydisRegisterGetString(seg), ZydisRegisterGetString(o->mem.segment));
    }
    if (in->t != T_LEA && in->t != T_BMI && in->rm_size * 8 != o->size) {
        return DIFFERS("operand of %u bytes, not %u bits", in->rm_size, o->size);
    }
    return NULL;
}

static const char *check_access(const ZydisDecodedOperand *o, const char *name, bool read, bool write, char *why)
{
    bool reads = o->actions & ZYDIS_OPERAND_ACTION_MASK_READ, writes = o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    if ((reads && !read) || writes != write) {
        return DIFFERS("%s: %s%s, not %s%s", name, read ? "r" : "", write ? "w" : "", reads ? "r" : "",
                       writes ? "w" : "");
    }
    return NULL;
}

static const char *check_operands(const Check *c, char *why)
{
    const DbtInsn             *in  = c->in;
    const ZydisDecodedOperand *rm  = find_rm(c);
    const ZydisDecodedOperand *reg = find(c, ZYDIS_OPERAND_ENCODING_MODRM_REG);
    if (find(c, ZYDIS_OPERAND_ENCODING_DISP16_32_64)) {
        reg = &c->op[c->op[0].type != ZYDIS_OPERAND_TYPE_REGISTER]; /* the accumulator */
    }
    const char *bad = NULL;

    if (in->memory && in->t != T_NOP) {
        bad = check_memory(c, rm, why);
    }
    bool has_rm = in->t == T_GEN || in->t == T_MOVI || in->t == T_PUSH || (in->t == T_PUSHM && in->op != 0x9c) ||
                  in->t == T_RDSEG || in->t == T_BASE || in->t == T_POP || in->t == T_CALLI || in->t == T_JMPI ||
                  in->t == T_SHCL || in->t == T_SHDCL || in->t == T_MULDIV || in->t == T_XCHG || in->t == T_CMPXCHG ||
                  in->t == T_BSWAP || in->t == T_BMI;
    if (!bad && has_rm && !in->memory) {
        unsigned size = in->rm_size;
        if (!rm || rm->type != ZYDIS_OPERAND_TYPE_REGISTER || reg_of(in->rm, size) != rm->reg.value) {
            return DIFFERS("r/m is %s, not %s", ZydisRegisterGetString(reg_of(in->rm, size)),
                           rm ? ZydisRegisterGetString(rm->reg.value) : "there");
        }
    }
    bool has_reg = (in->t == T_GEN && !in->ext) || in->t == T_LEA || in->t == T_CMPXCHG || in->t == T_BITMEM ||
                   in->t == T_SHDCL || in->t == T_BMI || (in->t == T_XCHG && reg);
    if (!bad && has_reg && (!reg || reg_of(in->reg, in->opsize) != reg->reg.value)) {
        return DIFFERS("reg is %s, not %s", ZydisRegisterGetString(reg_of(in->reg, in->opsize)),
                       reg ? ZydisRegisterGetString(reg->reg.value) : "there");
    }
    if (!bad && in->ext && c->z.raw.modrm.offset && (in->reg & 7) != c->z.raw.modrm.reg && in->map != 1 &&
        in->op != 0xc6 && in->op != 0xc7 && !((in->op | 1) == 0xf7 && in->reg == 0)) {
        return DIFFERS("extension %u, not %u", in->reg, c->z.raw.modrm.reg);
    }
    if (!bad && in->t == T_BMI) {
        const ZydisDecodedOperand *v = find(c, ZYDIS_OPERAND_ENCODING_NDSNDD);
        if ((in->vvvv != DBT_NO_REG) != (v != NULL) || (v && reg_of(in->vvvv, in->opsize) != v->reg.value)) {
            return DIFFERS("vvvv is %u", in->vvvv);
        }
    }
    if (!bad && in->t == T_GEN) {
        if (rm) {
            bad = check_access(rm, "r/m", in->access & G_RM_R, in->access & G_RM_W, why);
        }
        if (!bad && !in->ext) {
            bad = check_access(reg, "reg", in->access & G_REG_R, in->access & G_REG_W, why);
        }
    }
    return bad;
}

static const char *check_immediate(const Check *c, char *why)
{
    const DbtInsn *in  = c->in;
    bool           imm = c->z.raw.imm[0].size != 0;
    if (in->imm_size * 8 != (imm ? c->z.raw.imm[0].size : 0)) {
        return DIFFERS("immediate of %u bytes, not %u bits", in->imm_size, c->z.raw.imm[0].size);
    }
    if (!imm) {
        return NULL;
    }
    unsigned free = 64 - 8u * in->imm_size;
    uint64_t want = c->z.raw.imm[0].value.u << free;
    int64_t  sign =
        in->t == T_RET || in->t == T_FAR || in->t == T_FARQ ? (int64_t)(want >> free) : (int64_t)want >> free;
    return sign == in->imm ? NULL
                           : DIFFERS("immediate %" G_GINT64_MODIFIER "x, not %" G_GINT64_MODIFIER "x",
                                     (uint64_t)in->imm, (uint64_t)sign);
}

static unsigned flags_from(uint32_t mask)
{
    static const struct {
        uint32_t zydis;
        unsigned own;
    } map[]      = { { ZYDIS_CPUFLAG_CF, FL_CF }, { ZYDIS_CPUFLAG_PF, FL_PF }, { ZYDIS_CPUFLAG_AF, FL_AF },
                     { ZYDIS_CPUFLAG_ZF, FL_ZF }, { ZYDIS_CPUFLAG_SF, FL_SF }, { ZYDIS_CPUFLAG_OF, FL_OF } };
    unsigned set = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(map); i++) {
        set |= mask & map[i].zydis ? map[i].own : 0;
    }
    return set;
}

static const char *check_flags(const Check *c, char *why)
{
    const DbtInsn *in = c->in;
    if (!c->z.cpu_flags) {
        return in->read || in->write ? DIFFERS("flags where there are none") : NULL;
    }
    const ZydisAccessedFlags *f       = c->z.cpu_flags;
    unsigned                  tested  = flags_from(f->tested);
    unsigned                  changed = flags_from(f->modified | f->set_0 | f->set_1 | f->undefined);
    if (tested & ~(unsigned)in->read) {
        return DIFFERS("reads flags %02x, not %02x", in->read, tested);
    }
    if (in->write & ~changed) {
        return DIFFERS("writes flags %02x, not %02x", in->write, changed);
    }
    bool divides = in->t == T_MULDIV && in->reg >= 6;
    if (changed && !in->write && in->t != T_SHCL && in->t != T_SHDCL && in->t != T_SYSCALL && in->t != T_SYSRET &&
        !divides) {
        return DIFFERS("writes no flags, but %02x", changed);
    }
    return NULL;
}

const char *check_decode(const DbtMode *mode, const uint8_t bytes[16], unsigned avail, char why[256], bool *accepted)
{
    DbtInsn      in;
    Check        c = { .in = &in };
    ZydisDecoder decoder;
    uint8_t      padded[48] = { 0 };
    memcpy(padded, bytes, 16);

    bool all  = dbt_decode(mode, padded, avail, &in);
    *accepted = all && in.t != T_OTHER;
    if (in.t == T_OTHER) {
        return all && !in.len ? NULL : DIFFERS("left to others, but %s", all ? "with a length" : "too short");
    }
    ZydisDecoderInit(&decoder,
                     mode->code == 8   ? ZYDIS_MACHINE_MODE_LONG_64
                     : mode->code == 4 ? ZYDIS_MACHINE_MODE_LEGACY_32
                                       : ZYDIS_MACHINE_MODE_LEGACY_16,
                     mode->stack == 8   ? ZYDIS_STACK_WIDTH_64
                     : mode->stack == 4 ? ZYDIS_STACK_WIDTH_32
                                        : ZYDIS_STACK_WIDTH_16);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, padded, 15, &c.z, c.op))) {
        return DIFFERS("not an instruction");
    }
    if (in.len != c.z.length || all != (c.z.length <= avail)) {
        return DIFFERS("%s is %u bytes, not %u", ZydisMnemonicGetString(c.z.mnemonic), c.z.length, in.len);
    }
    if (in.lock != ((c.z.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0)) {
        return DIFFERS("LOCK");
    }
    const char *bad = check_name(&c, why);
    bad             = bad ? bad : check_operands(&c, why);
    bad             = bad ? bad : check_immediate(&c, why);
    return bad ? bad : check_flags(&c, why);
}
