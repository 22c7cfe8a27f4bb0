/* The encoder: see encode.h. */

#include "cpu/x86/encode.h"

#include "cpu/x86/encode_table.h"

#include <string.h>

/* --- from Zydis ------------------------------------------------------------------------------------------------- */

static uint8_t mandatory_prefix(const ZydisDecodedInstruction *decoded)
{
    for (unsigned i = 0; i < decoded->raw.prefix_count; i++) {
        if (decoded->raw.prefixes[i].type == ZYDIS_PREFIX_TYPE_MANDATORY) {
            return decoded->raw.prefixes[i].value;
        }
    }
    return 0;
}

/* Outside 64-bit mode the W bit of these is ignored; inside, where the thunk runs, it would widen the general
 * register or the integer in memory. */
static bool w_sizes_general_register(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_VCVTSI2SD:
    case ZYDIS_MNEMONIC_VCVTSI2SS:
    case ZYDIS_MNEMONIC_VCVTSD2SI:
    case ZYDIS_MNEMONIC_VCVTSS2SI:
    case ZYDIS_MNEMONIC_VCVTTSD2SI:
    case ZYDIS_MNEMONIC_VCVTTSS2SI:
    case ZYDIS_MNEMONIC_VMOVD:
    case ZYDIS_MNEMONIC_VMOVQ:
    case ZYDIS_MNEMONIC_VPCMPESTRI:
    case ZYDIS_MNEMONIC_VPCMPESTRM:
    case ZYDIS_MNEMONIC_VPEXTRD:
    case ZYDIS_MNEMONIC_VPEXTRQ:
    case ZYDIS_MNEMONIC_VPINSRD:
    case ZYDIS_MNEMONIC_VPINSRQ: return true;
    default: return false;
    }
}

bool x86_form_from_decoded(X86Form *form, const ZydisDecodedInstruction *decoded, const ZydisDecodedOperand *operands)
{
    static const uint8_t pp[4] = { 0, 0x66, 0xf3, 0xf2 };

    memset(form, 0, sizeof *form);
    if (decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        form->vex    = 1;
        form->prefix = pp[decoded->raw.vex.pp & 3];
        form->w      = decoded->raw.vex.W;
        form->l      = decoded->avx.vector_length == 256;
    } else if (decoded->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY) {
        form->prefix = mandatory_prefix(decoded);
        form->w      = decoded->attributes & ZYDIS_ATTRIB_HAS_REX ? decoded->raw.rex.W : 0;
    } else {
        return false;
    }
    if (decoded->machine_mode != ZYDIS_MACHINE_MODE_LONG_64 && w_sizes_general_register(decoded->mnemonic)) {
        form->w = 0;
    }
    form->mnemonic = (uint16_t)decoded->mnemonic;
    form->map      = (uint8_t)decoded->opcode_map;
    form->opcode   = decoded->opcode;
    if (form->map > ZYDIS_OPCODE_MAP_0F3A || decoded->attributes & ZYDIS_ATTRIB_HAS_LOCK) {
        return false;
    }
    if (decoded->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
        bool reg_used   = false;
        form->has_modrm = 1;
        form->memory    = decoded->raw.modrm.mod != 3;
        for (unsigned i = 0; i < decoded->operand_count; i++) {
            reg_used |= operands[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG;
        }
        if (!reg_used) {
            form->reg = decoded->raw.modrm.reg; /* an opcode extension, or part of the opcode */
        }
        if (!form->memory) {
            bool rm_used = false;
            for (unsigned i = 0; i < decoded->operand_count; i++) {
                rm_used |= operands[i].encoding == ZYDIS_OPERAND_ENCODING_MODRM_RM;
            }
            if (!rm_used) {
                form->rm = decoded->raw.modrm.rm;
            }
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        if (decoded->raw.imm[i].size) {
            uint64_t mask = decoded->raw.imm[i].size == 64 ? ~0ull : (1ull << decoded->raw.imm[i].size) - 1;
            form->imm |= (decoded->raw.imm[i].value.u & mask) << (8 * form->imm_size);
            form->imm_size += decoded->raw.imm[i].size / 8;
        }
    }
    return true;
}

/* --- bytes ------------------------------------------------------------------------------------------------------ */

bool x86_form_allowed(const X86Form *form)
{
    if (form->mnemonic > ZYDIS_MNEMONIC_MAX_VALUE) {
        return false;
    }
    uint8_t rule = x86_emit_table[form->mnemonic];
    if (rule & X86_EMIT_OPCODES) {
        const X86EmitOpcode *o = x86_emit_opcodes;
        while (o->mnemonic && (o->mnemonic != form->mnemonic || o->map != form->map || o->opcode != form->opcode)) {
            o++;
        }
        if (!o->mnemonic) {
            return false;
        }
    }
    return rule & (form->memory ? X86_EMIT_MEMORY : X86_EMIT_REGISTER);
}

static uint8_t *put_opcode_legacy(uint8_t *p, const X86Form *form, unsigned r, unsigned x, unsigned b)
{
    unsigned rex = 0x40u | form->w << 3 | r << 2 | x << 1 | b;
    if (form->prefix) {
        *p++ = form->prefix;
    }
    if (rex != 0x40) {
        *p++ = (uint8_t)rex;
    }
    if (form->map != ZYDIS_OPCODE_MAP_DEFAULT) {
        *p++ = 0x0f;
    }
    if (form->map == ZYDIS_OPCODE_MAP_0F38) {
        *p++ = 0x38;
    } else if (form->map == ZYDIS_OPCODE_MAP_0F3A) {
        *p++ = 0x3a;
    }
    return p;
}

static uint8_t *put_opcode_vex(uint8_t *p, const X86Form *form, unsigned r, unsigned x, unsigned b)
{
    unsigned pp   = form->prefix == 0x66 ? 1 : form->prefix == 0xf3 ? 2 : form->prefix == 0xf2 ? 3 : 0;
    unsigned last = (~form->vvvv & 15u) << 3 | (unsigned)form->l << 2 | pp;
    if (!x && !b && !form->w && form->map == ZYDIS_OPCODE_MAP_0F) {
        *p++ = 0xc5;
        *p++ = (uint8_t)(!r << 7 | last);
    } else {
        *p++ = 0xc4;
        *p++ = (uint8_t)(!r << 7 | !x << 6 | !b << 5 | form->map);
        *p++ = (uint8_t)((unsigned)form->w << 7 | last);
    }
    return p;
}

static uint8_t *put_disp32(uint8_t *p, int32_t disp)
{
    memcpy(p, &disp, 4);
    return p + 4;
}

static uint8_t *put_memory(uint8_t *p, const X86Form *form)
{
    unsigned reg = (form->reg & 7u) << 3;
    if (form->rip_relative) {
        *p++ = (uint8_t)(reg | 5);
        return put_disp32(p, form->disp);
    }
    if (form->base == X86_FORM_NONE) {
        *p++ = (uint8_t)(reg | 4);
        *p++ = (uint8_t)(form->scale << 6 | (form->index == X86_FORM_NONE ? 4u : form->index & 7u) << 3 | 5);
        return put_disp32(p, form->disp);
    }
    bool     sib = form->index != X86_FORM_NONE || (form->base & 7) == 4;
    unsigned mod = form->disp == 0 && (form->base & 7) != 5 ? 0 : form->disp == (int8_t)form->disp ? 1 : 2;
    *p++         = (uint8_t)(mod << 6 | reg | (sib ? 4u : form->base & 7u));
    if (sib) {
        *p++ = (uint8_t)(form->scale << 6 | (form->index == X86_FORM_NONE ? 4u : form->index & 7u) << 3 |
                         (form->base & 7u));
    }
    if (mod == 1) {
        *p++ = (uint8_t)form->disp;
    } else if (mod == 2) {
        p = put_disp32(p, form->disp);
    }
    return p;
}

size_t x86_encode(const X86Form *form, uint8_t out[15])
{
    uint8_t  buf[32];
    uint8_t *p = buf;
    unsigned r = 0, x = 0, b = 0;

    if (!x86_form_allowed(form) || form->imm_size > 8 || form->map > ZYDIS_OPCODE_MAP_0F3A ||
        (form->vex && form->map == ZYDIS_OPCODE_MAP_DEFAULT)) {
        return 0;
    }
    if (form->has_modrm) {
        r = form->reg >> 3 & 1;
    }
    if (form->memory) {
        if (!form->rip_relative && form->index == 4) {
            return 0; /* RSP cannot be an index */
        }
        x = !form->rip_relative && form->index != X86_FORM_NONE ? form->index >> 3 & 1u : 0;
        b = !form->rip_relative && form->base != X86_FORM_NONE ? form->base >> 3 & 1u : 0;
    } else {
        b = form->rm >> 3 & 1u;
    }
    p    = form->vex ? put_opcode_vex(p, form, r, x, b) : put_opcode_legacy(p, form, r, x, b);
    *p++ = form->has_modrm || !form->rm ? form->opcode : (uint8_t)(form->opcode | (form->rm & 7));
    if (form->has_modrm) {
        if (form->memory) {
            p = put_memory(p, form);
        } else {
            *p++ = (uint8_t)(0xc0 | (form->reg & 7u) << 3 | (form->rm & 7u));
        }
    }
    memcpy(p, &form->imm, form->imm_size);
    p += form->imm_size;
    if (p - buf > 15) {
        return 0;
    }
    memcpy(out, buf, (size_t)(p - buf));
    return (size_t)(p - buf);
}

void x86_emit(X86Emit *emit, const X86Form *form)
{
    uint8_t buf[15];
    size_t  len = emit->failed ? 0 : x86_encode(form, buf);
    if (!len || (size_t)(emit->end - emit->next) < len) {
        emit->failed = true;
        return;
    }
    memcpy(emit->next, buf, len);
    emit->next += len;
}

/* --- glue ------------------------------------------------------------------------------------------------------- */

typedef struct Glue {
    uint16_t mnemonic;
    uint8_t  vex, prefix, map, opcode, w, l, reg, imm_size, imm;
} Glue;

#define LEG(m, pfx, op, ...)                                                                                           \
    {                                                                                                                  \
        ZYDIS_MNEMONIC_##m, 0, pfx, ZYDIS_OPCODE_MAP_0F, op, __VA_ARGS__                                               \
    }
#define ONE(m, pfx, op, ...)                                                                                           \
    {                                                                                                                  \
        ZYDIS_MNEMONIC_##m, 0, pfx, ZYDIS_OPCODE_MAP_DEFAULT, op, __VA_ARGS__                                          \
    }

static const Glue glue_table[] = {
    [X86_GLUE_MOVUPS_LOAD]    = LEG(MOVUPS, 0, 0x10),
    [X86_GLUE_MOVUPS_STORE]   = LEG(MOVUPS, 0, 0x11),
    [X86_GLUE_VMOVUPS_LOAD]   = { ZYDIS_MNEMONIC_VMOVUPS, 1, 0, ZYDIS_OPCODE_MAP_0F, 0x10 },
    [X86_GLUE_VMOVUPS_STORE]  = { ZYDIS_MNEMONIC_VMOVUPS, 1, 0, ZYDIS_OPCODE_MAP_0F, 0x11 },
    [X86_GLUE_VINSERTF128]    = { ZYDIS_MNEMONIC_VINSERTF128, 1, 0x66, ZYDIS_OPCODE_MAP_0F3A, 0x18, 0, 1, 0, 1, 1 },
    [X86_GLUE_VEXTRACTF128]   = { ZYDIS_MNEMONIC_VEXTRACTF128, 1, 0x66, ZYDIS_OPCODE_MAP_0F3A, 0x19, 0, 1, 0, 1, 1 },
    [X86_GLUE_MOVQ_MMX_LOAD]  = LEG(MOVQ, 0, 0x6f),
    [X86_GLUE_MOVQ_MMX_STORE] = LEG(MOVQ, 0, 0x7f),
    [X86_GLUE_MOV64_LOAD]     = ONE(MOV, 0, 0x8b, 1),
    [X86_GLUE_MOV64_STORE]    = ONE(MOV, 0, 0x89, 1),
    [X86_GLUE_MOV16_STORE]    = ONE(MOV, 0x66, 0x89),
    [X86_GLUE_MOVZX16_LOAD]   = LEG(MOVZX, 0, 0xb7),
    [X86_GLUE_LDMXCSR]        = LEG(LDMXCSR, 0, 0xae, 0, 0, 2),
    [X86_GLUE_STMXCSR]        = LEG(STMXCSR, 0, 0xae, 0, 0, 3),
    [X86_GLUE_FXRSTOR64]      = LEG(FXRSTOR64, 0, 0xae, 1, 0, 1),
    [X86_GLUE_FXSAVE64]       = LEG(FXSAVE64, 0, 0xae, 1, 0, 0),
};

static X86Form glue_form(X86Glue what)
{
    const Glue *g = &glue_table[what];
    return (X86Form){
        .mnemonic  = g->mnemonic,
        .vex       = g->vex,
        .prefix    = g->prefix,
        .map       = g->map,
        .opcode    = g->opcode,
        .w         = g->w,
        .l         = g->l,
        .reg       = g->reg,
        .has_modrm = 1,
        .memory    = 1,
        .index     = X86_FORM_NONE,
        .imm_size  = g->imm_size,
        .imm       = g->imm,
    };
}

void x86_emit_glue(X86Emit *emit, X86Glue what, unsigned reg, unsigned base, int32_t disp)
{
    X86Form form = glue_form(what);
    form.reg |= (uint8_t)reg; /* the caller passes 0 where reg is an opcode extension */
    form.base = (uint8_t)base;
    form.disp = disp;
    if (what == X86_GLUE_VINSERTF128) {
        form.vvvv = (uint8_t)reg;
    }
    x86_emit(emit, &form);
}

void x86_emit_ldmxcsr_rip(X86Emit *emit, int32_t disp)
{
    X86Form form      = glue_form(X86_GLUE_LDMXCSR);
    form.rip_relative = 1;
    form.disp         = disp;
    x86_emit(emit, &form);
}

void x86_emit_plain(X86Emit *emit, ZydisMnemonic mnemonic)
{
    X86Form form = { .mnemonic = (uint16_t)mnemonic, .map = ZYDIS_OPCODE_MAP_DEFAULT };
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_VZEROUPPER:
        form.vex    = 1;
        form.map    = ZYDIS_OPCODE_MAP_0F;
        form.opcode = 0x77;
        break;
    case ZYDIS_MNEMONIC_EMMS:
        form.map    = ZYDIS_OPCODE_MAP_0F;
        form.opcode = 0x77;
        break;
    case ZYDIS_MNEMONIC_FNINIT:
        form.opcode    = 0xdb;
        form.has_modrm = 1;
        form.reg       = 4;
        form.rm        = 3;
        break;
    case ZYDIS_MNEMONIC_LAHF: form.opcode = 0x9f; break;
    case ZYDIS_MNEMONIC_SAHF: form.opcode = 0x9e; break;
    case ZYDIS_MNEMONIC_RET: form.opcode = 0xc3; break;
    default: emit->failed = true; return;
    }
    x86_emit(emit, &form);
}

void x86_emit_seto_al(X86Emit *emit)
{
    x86_emit(emit,
             &(X86Form){ .mnemonic = ZYDIS_MNEMONIC_SETO, .map = ZYDIS_OPCODE_MAP_0F, .opcode = 0x90, .has_modrm = 1 });
}

void x86_emit_add_al(X86Emit *emit, uint8_t imm)
{
    x86_emit(emit, &(X86Form){ .mnemonic  = ZYDIS_MNEMONIC_ADD,
                               .map       = ZYDIS_OPCODE_MAP_DEFAULT,
                               .opcode    = 0x80,
                               .has_modrm = 1,
                               .imm_size  = 1,
                               .imm       = imm });
}

void x86_emit_mov_eax(X86Emit *emit, uint32_t imm)
{
    x86_emit(emit, &(X86Form){ .mnemonic = ZYDIS_MNEMONIC_MOV,
                               .map      = ZYDIS_OPCODE_MAP_DEFAULT,
                               .opcode   = 0xb8,
                               .imm_size = 4,
                               .imm      = imm });
}
