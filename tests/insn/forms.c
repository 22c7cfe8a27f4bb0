/* The forms of instructions: found by walking all opcode maps byte by byte through Zydis, and instances of them. */

#include "insn.h"

#include <string.h>

static ZydisDecoder decoders[N_MODES];

static const ZydisDecoder *decoder(Mode mode)
{
    static bool ready;
    if (!ready) {
        ready = true;
        ZydisDecoderInit(&decoders[MODE_64], ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        ZydisDecoderInit(&decoders[MODE_32], ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_STACK_WIDTH_32);
        ZydisDecoderInit(&decoders[MODE_16], ZYDIS_MACHINE_MODE_LONG_COMPAT_16, ZYDIS_STACK_WIDTH_16);
        for (unsigned i = 0; i < N_MODES; i++) {
            /* As the executor decodes for a guest with these features. */
            ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
            ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
            ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
            ZydisDecoderEnableMode(&decoders[i], ZYDIS_DECODER_MODE_KNC, ZYAN_FALSE);
        }
    }
    return &decoders[mode];
}

/* --- names ------------------------------------------------------------------------------------------------------ */

static void append_operand(GString *s, const ZydisDecodedOperand *op)
{
    switch (op->type) {
    case ZYDIS_OPERAND_TYPE_REGISTER:
        switch (ZydisRegisterGetClass(op->reg.value)) {
        case ZYDIS_REGCLASS_GPR8: g_string_append(s, "r8"); break;
        case ZYDIS_REGCLASS_GPR16: g_string_append(s, "r16"); break;
        case ZYDIS_REGCLASS_GPR32: g_string_append(s, "r32"); break;
        case ZYDIS_REGCLASS_GPR64: g_string_append(s, "r64"); break;
        case ZYDIS_REGCLASS_XMM: g_string_append(s, "xmm"); break;
        case ZYDIS_REGCLASS_YMM: g_string_append(s, "ymm"); break;
        case ZYDIS_REGCLASS_MMX: g_string_append(s, "mm"); break;
        case ZYDIS_REGCLASS_X87:
            g_string_append(s, op->encoding == ZYDIS_OPERAND_ENCODING_NONE ? "st0" : "st(i)");
            break;
        case ZYDIS_REGCLASS_SEGMENT: g_string_append(s, "sreg"); break;
        case ZYDIS_REGCLASS_CONTROL: g_string_append(s, "cr"); break;
        case ZYDIS_REGCLASS_DEBUG: g_string_append(s, "dr"); break;
        case ZYDIS_REGCLASS_MASK: g_string_append(s, "k"); break;
        case ZYDIS_REGCLASS_TMM: g_string_append(s, "tmm"); break;
        case ZYDIS_REGCLASS_BOUND: g_string_append(s, "bnd"); break;
        default: g_string_append(s, ZydisRegisterGetString(op->reg.value)); break;
        }
        break;
    case ZYDIS_OPERAND_TYPE_MEMORY:
        g_string_append_printf(s, op->mem.type == ZYDIS_MEMOP_TYPE_VSIB ? "vm%u" : "m%u", op->size);
        break;
    case ZYDIS_OPERAND_TYPE_POINTER: g_string_append(s, "ptr"); break;
    default: g_string_append_printf(s, "imm%u", op->size); break;
    }
}

static unsigned map_of(const ZydisDecodedInstruction *d)
{
    return d->opcode_map == ZYDIS_OPCODE_MAP_0F0F ? MAP_3DNOW
           : (unsigned)d->opcode_map < MAP_3DNOW  ? (unsigned)d->opcode_map
                                                  : 99;
}

static char *form_name(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op)
{
    GString *s = g_string_new(d->attributes & ZYDIS_ATTRIB_HAS_LOCK ? "lock " : "");
    if (d->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)) {
        g_string_append(s, "rep ");
    } else if (d->attributes & ZYDIS_ATTRIB_HAS_REPNE) {
        g_string_append(s, "repne ");
    }
    g_string_append(s, ZydisMnemonicGetString(d->mnemonic));
    for (unsigned i = 0; i < d->operand_count_visible; i++) {
        g_string_append(s, i ? ", " : " ");
        append_operand(s, &op[i]);
    }
    static const char *const maps[] = { "", "0F ", "0F 38 ", "0F 3A ", "0F 0F " };
    unsigned                 map    = map_of(d);
    g_string_append_printf(s, " (%s%s%02X%s)", d->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX ? "VEX " : "",
                           map < 5 ? maps[map] : "? ", d->opcode,
                           d->operand_width == 16   ? ", o16"
                           : d->operand_width == 64 ? ", o64"
                                                    : "");
    return g_string_free(s, FALSE);
}

/* Two encodings with the same key are the same form. */
static char *form_key(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op)
{
    GString *s = g_string_new(NULL);
    g_string_append_printf(s, "%u %u %u %u", d->mnemonic, d->encoding, d->opcode_map, d->opcode);
    g_string_append_printf(s, " %d %d %d", !!(d->attributes & ZYDIS_ATTRIB_HAS_LOCK),
                           !!(d->attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE)),
                           !!(d->attributes & ZYDIS_ATTRIB_HAS_REPNE));
    for (unsigned i = 0; i < d->operand_count; i++) {
        g_string_append_printf(s, " %u:%u:", op[i].encoding, op[i].size);
        append_operand(s, &op[i]);
    }
    return g_string_free(s, FALSE);
}

/* --- bytes ------------------------------------------------------------------------------------------------------ */

typedef struct Fields {
    uint8_t rex_r, rex_x, rex_b, vvvv;
    uint8_t modrm, sib;
    uint8_t tail[16]; /* displacement and immediate */
    uint8_t extra[4]; /* prefixes without effect, or 67h */
    uint8_t n_extra;
    bool    force_rex;
} Fields;

/* 3DNow! has its opcode behind the operands: where the decoder ends with it. */
static void put_suffix(const Form *f, uint8_t out[40], unsigned at)
{
    for (unsigned i = 0; i <= 4; i++) {
        ZydisDecodedInstruction d;
        ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
        uint8_t                 was = out[at + i];
        out[at + i]                 = f->opcode;
        if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder(f->mode), out, 15, &d, op)) && d.length == at + i + 1) {
            return;
        }
        out[at + i] = was;
    }
}

/* Puts prefixes, opcode and operand bytes together. The length is the decoder's to find. */
static unsigned assemble(const Form *f, const Fields *x, uint8_t out[40])
{
    unsigned n = 0;
    memcpy(out, x->extra, x->n_extra);
    n += x->n_extra;
    if (f->lock) {
        out[n++] = 0xf0;
    }
    if (f->vex) {
        out[n++] = 0xc4;
        out[n++] = (uint8_t)(!x->rex_r << 7 | !x->rex_x << 6 | !x->rex_b << 5 | f->map);
        out[n++] = (uint8_t)(f->w << 7 | (x->vvvv ^ 15) << 3 | f->l << 2 |
                             (f->prefix == 0x66   ? 1
                              : f->prefix == 0xf3 ? 2
                              : f->prefix == 0xf2 ? 3
                                                  : 0));
    } else {
        if (f->prefix) {
            out[n++] = f->prefix;
        }
        unsigned rex = f->w << 3 | x->rex_r << 2 | x->rex_x << 1 | x->rex_b;
        if (rex || x->force_rex) {
            out[n++] = (uint8_t)(0x40 | rex);
        }
        if (f->map) {
            out[n++] = 0x0f;
        }
        if (f->map >= 2) {
            out[n++] = f->map == 2 ? 0x38 : f->map == 3 ? 0x3a : 0x0f;
        }
    }
    if (f->map != MAP_3DNOW) {
        out[n++] = f->opcode;
    }
    if (f->has_modrm) {
        out[n++] = x->modrm;
        /* A SIB byte where the addressing form has one; otherwise the tail follows at once. */
        if (x->modrm < 0xc0 && (x->modrm & 7) == 4 && f->mode != MODE_16) {
            out[n++] = x->sib;
        }
    }
    memcpy(out + n, x->tail, sizeof x->tail);
    if (f->map == MAP_3DNOW) {
        put_suffix(f, out, n);
    }
    return n + sizeof x->tail > 15 ? 15 : n + (unsigned)sizeof x->tail;
}

/* Zydis 4.0 gives [disp32 + index] a base of R13 when REX.B is set, which this form ignores. */
static void repair_base(ZydisDecodedInstruction *d, ZydisDecodedOperand *op)
{
    bool no_base = d->attributes & ZYDIS_ATTRIB_HAS_MODRM && d->raw.modrm.mod == 0 && d->raw.modrm.rm == 4 &&
                   d->raw.sib.base == 5 && d->address_width != 16;
    for (unsigned i = 0; no_base && i < d->operand_count_visible; i++) {
        if (op[i].type == ZYDIS_OPERAND_TYPE_MEMORY) {
            op[i].mem.base                  = ZYDIS_REGISTER_NONE;
            op[i].mem.disp.has_displacement = true;
            op[i].mem.disp.value            = d->raw.disp.value;
        }
    }
}

bool form_decode(Mode mode, const uint8_t *code, unsigned len, ZydisDecodedInstruction *d, ZydisDecodedOperand *op)
{
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder(mode), code, len, d, op))) {
        return false;
    }
    repair_base(d, op);
    return true;
}

/* --- the walk --------------------------------------------------------------------------------------------------- */

typedef struct Walk {
    Mode        mode;
    const char *filter;
    GHashTable *seen; /* key -> Form */
    GPtrArray  *forms;
} Walk;

static bool uses_encoding(const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op,
                          ZydisOperandEncoding encoding)
{
    for (unsigned i = 0; i < d->operand_count; i++) {
        if (op[i].encoding == encoding) {
            return true;
        }
    }
    return false;
}

static void consider(Walk *w, Form f, uint8_t modrm)
{
    uint8_t                 code[40];
    ZydisDecodedInstruction d;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    Fields                  x = { .modrm = modrm, .vvvv = 0, .sib = 0x1c };

    f.has_modrm  = true;
    unsigned len = assemble(&f, &x, code);
    bool     ok  = form_decode(w->mode, code, len, &d, op);
    if (!ok && f.vex) {
        x.vvvv = 2; /* gathers want three different registers, others want none here */
        len    = assemble(&f, &x, code);
        ok     = form_decode(w->mode, code, len, &d, op);
    }
    if (!ok || d.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || d.encoding == ZYDIS_INSTRUCTION_ENCODING_MVEX ||
        d.encoding == ZYDIS_INSTRUCTION_ENCODING_XOP ||
        (d.encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW) != (f.map == MAP_3DNOW) ||
        (d.encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) != f.vex || map_of(&d) != f.map || d.opcode != f.opcode) {
        return;
    }
    if (w->filter && !g_pattern_match_simple(w->filter, ZydisMnemonicGetString(d.mnemonic))) {
        return;
    }
    char *key = form_key(&d, op);
    if (g_hash_table_contains(w->seen, key)) {
        g_free(key);
        return;
    }
    f.key       = key;
    f.mnemonic  = (uint16_t)d.mnemonic;
    f.mode      = w->mode;
    f.has_modrm = (d.attributes & ZYDIS_ATTRIB_HAS_MODRM) != 0;
    f.memory    = f.has_modrm && modrm < 0xc0;
    f.ext  = f.has_modrm && uses_encoding(&d, op, ZYDIS_OPERAND_ENCODING_MODRM_REG) ? -1 : (int8_t)(modrm >> 3 & 7);
    f.rm   = f.memory || uses_encoding(&d, op, ZYDIS_OPERAND_ENCODING_MODRM_RM) ? -1 : (int8_t)(modrm & 7);
    f.name = form_name(&d, op);
    form_judge(&f, &d, op);
    Form *kept = g_new(Form, 1);
    *kept      = f;
    g_hash_table_insert(w->seen, key, kept);
    g_ptr_array_add(w->forms, kept);
}

static void walk_opcode(Walk *w, Form f)
{
    static const uint8_t locks[2] = { 0, 1 };
    for (unsigned l = 0; l < 2; l++) {
        f.lock = locks[l];
        if (f.lock && f.vex) {
            continue;
        }
        for (unsigned modrm = 0; modrm < 256; modrm++) {
            if (modrm >= 0x40 && modrm < 0xc0) {
                continue; /* displacements make no new forms */
            }
            /* Without SIB, but gathers need one; and without RIP-relative. */
            if (modrm < 0x40 && (modrm & 7) != 3 && (modrm & 7) != 4) {
                continue;
            }
            if (f.lock && modrm >= 0xc0) {
                continue;
            }
            consider(w, f, (uint8_t)modrm);
        }
    }
}

static void form_free(gpointer data)
{
    Form *f = data;
    g_free(f->name);
    g_free(f->key);
    g_free(f);
}

GPtrArray *forms_walk(Mode mode, const char *filter)
{
    static const uint8_t prefixes[4] = { 0, 0x66, 0xf3, 0xf2 };
    Walk w = { mode, filter, g_hash_table_new(g_str_hash, g_str_equal), g_ptr_array_new_with_free_func(form_free) };

    for (unsigned vex = 0; vex < 2; vex++) {
        for (unsigned map = vex; map < (vex ? 4 : MAP_3DNOW + 1); map++) {
            for (unsigned opcode = 0; opcode < 256; opcode++) {
                for (unsigned p = 0; p < (map == MAP_3DNOW ? 1 : 4); p++) {
                    for (unsigned wl = 0; wl < 4; wl++) {
                        if (!vex && ((wl & 2) || (wl && mode != MODE_64))) {
                            continue;
                        }
                        walk_opcode(&w, (Form){ .vex    = (uint8_t)vex,
                                                .map    = (uint8_t)map,
                                                .opcode = (uint8_t)opcode,
                                                .prefix = prefixes[p],
                                                .w      = wl & 1,
                                                .l      = wl >> 1 });
                    }
                }
            }
        }
    }
    g_hash_table_destroy(w.seen);
    return w.forms;
}

/* --- instances -------------------------------------------------------------------------------------------------- */

static unsigned below(GRand *random, unsigned n)
{
    return (unsigned)g_rand_int_range(random, 0, (gint32)n);
}

static bool chance(GRand *random, unsigned one_in)
{
    return below(random, one_in) == 0;
}

static void random_addressing(const Form *f, Fields *x, GRand *random)
{
    unsigned reg = f->ext >= 0 ? (unsigned)f->ext : below(random, 8);
    unsigned mod = f->memory ? below(random, 3) : 3;
    unsigned rm  = f->rm >= 0 ? (unsigned)f->rm : below(random, 8);
    if (f->mode == MODE_64) {
        x->rex_r = f->ext < 0 ? below(random, 2) : 0;
        x->rex_x = f->memory ? below(random, 2) : 0;
        x->rex_b = f->rm < 0 ? below(random, 2) : 0;
    } else {
        /* VEX in the other modes: R and X must be clear, for C4 is LES there otherwise. */
        x->rex_b = f->vex ? below(random, 2) : 0;
    }
    x->modrm = (uint8_t)(mod << 6 | reg << 3 | rm);
    x->sib   = (uint8_t)below(random, 256);
}

static void random_tail(Fields *x, GRand *random)
{
    static const uint8_t bytes[] = { 0, 1, 0x7f, 0x80, 0xff };
    for (unsigned i = 0; i < sizeof x->tail; i++) {
        x->tail[i] = (uint8_t)below(random, 256);
    }
    if (chance(random, 4)) {
        memset(x->tail, bytes[below(random, sizeof bytes)], sizeof x->tail);
    } else if (chance(random, 3)) {
        x->tail[0] = bytes[below(random, sizeof bytes)];
    }
}

/* Prefixes that must not matter, an address-size prefix, a GS override in 64-bit mode. */
static void random_prefixes(const Form *f, Fields *x, GRand *random)
{
    static const uint8_t idle[] = { 0x36, 0x3e, 0x26, 0x2e };
    if (chance(random, 10)) {
        /* 16-bit code has no data behind CS. */
        x->extra[x->n_extra++] = idle[below(random, f->mode == MODE_16 ? 3 : 4)];
    }
    if (chance(random, 10)) {
        x->extra[x->n_extra++] = 0x67;
    }
    if (f->mode == MODE_64 && chance(random, 16)) {
        x->extra[x->n_extra++] = 0x65;
    }
}

static bool may_go_anywhere(const ZydisDecodedInstruction *d)
{
    switch (d->meta.category) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_RET: return true;
    default: return false;
    }
}

bool form_instance(const Form *form, GRand *random, Instance *out)
{
    for (unsigned attempt = 0; attempt < 60; attempt++) {
        Fields  x = { .force_rex = form->mode == MODE_64 && chance(random, 8) };
        Form    f = *form;
        uint8_t code[40];

        random_addressing(form, &x, random);
        random_tail(&x, random);
        if (form->vex) {
            x.vvvv = (uint8_t)below(random, form->mode == MODE_64 ? 16 : 8);
            if (attempt % 3 == 2) {
                x.vvvv = 0; /* not used: must be 1111b */
            }
            f.l ^= chance(random, 8); /* where it is ignored */
        }
        if (form->mode == MODE_64 || form->vex) {
            f.w ^= chance(random, 8);
        }
        random_prefixes(form, &x, random);
        unsigned len = assemble(&f, &x, code);
        if (!form_decode(form->mode, code, len, &out->d, out->op)) {
            continue;
        }
        char *key  = form_key(&out->d, out->op);
        bool  same = strcmp(key, form->key) == 0;
        g_free(key);
        if (!same) {
            continue;
        }
        out->form = form;
        out->len  = out->d.length;
        memcpy(out->code, code, out->len);
        out->branch = may_go_anywhere(&out->d);
        out->rip    = below(random, 0x1000 - 40) + (form->mode == MODE_16 ? 0 : CODE_BASE);
        return true;
    }
    return false;
}

void instance_code(const Instance *in, Code *code)
{
    *code = (Code){ .mode     = in->form->mode,
                    .step     = in->branch,
                    .segments = touches_segments(&in->d, in->op),
                    .no_umip  = in->form->oracle == ORACLE_MANUAL && in->rip & 1,
                    .rip      = in->rip,
                    .len      = in->len };
    memcpy(code->bytes, in->code, in->len);
}
