/* The translator's decoder: prefixes and the one-byte map. See decode.h; operands are in decode_operands.c, the other
 * maps in decode_maps.c. */

#include "accel/dbt/decode_private.h"

#include <string.h>

/* Outside 64-bit mode: are both sides of MOVS, STOS or LODS in segments that templates know? */
static bool good_string(const DbtCursor *c, uint8_t op)
{
    enum { KINDS = 3, WRITABLE = 4 }; /* X86SegmentKind */
    DbtInsn *in = c->in;

    in->seg      = in->seg == DBT_NO_REG ? 3 : in->seg;
    unsigned es  = c->mode->seg[0];
    bool     bad = op < 0xac && (!(es & KINDS) || !(es & WRITABLE));
    return !bad && (op == 0xaa || op == 0xab || c->mode->seg[in->seg] & KINDS);
}

/* An immediate of a byte, or as wide as the operands are. */
static void imm_sized(DbtCursor *c, bool byte)
{
    if (byte) {
        dec_imm(c, 1);
    } else {
        dec_imm_z(c);
    }
}

static void alu(DbtCursor *c, uint8_t op)
{
    static const uint8_t reads[8] = { [2] = FL_CF, [3] = FL_CF };
    DbtInsn             *in       = c->in;
    unsigned             kind     = op >> 3 & 7;
    bool                 compare  = kind == 7;

    in->op = op;
    if (!(op & 1)) {
        in->opsize = 1;
    }
    if ((op & 7) < 2) {
        dec_gen(c, G_RM_R | (compare ? 0 : G_RM_W) | G_REG_R, reads[kind], FL_ALL);
    } else if ((op & 7) < 4) {
        dec_gen(c, G_RM_R | G_REG_R | (compare ? 0 : G_REG_W), reads[kind], FL_ALL);
    } else {
        in->t      = T_GEN;
        in->op     = op & 1 ? 0x81 : 0x80;
        in->access = G_RM_R | (compare ? 0 : G_RM_W);
        in->ext    = true;
        in->reg    = (uint8_t)kind;
        in->rm     = 0;
        in->read   = reads[kind];
        in->write  = FL_ALL;
        imm_sized(c, !(op & 1));
    }
}

static void shift(DbtCursor *c, uint8_t op)
{
    DbtInsn *in    = c->in;
    unsigned kind  = dec_peek_ext(c);
    bool     carry = kind == 2 || kind == 3;
    bool     roll  = kind < 4;

    in->op = op;
    if (!(op & 1)) {
        in->opsize = 1;
    }
    dec_gen_ext(c, G_RM_R | G_RM_W, carry ? FL_CF : 0, roll ? FL_CF | FL_OF : FL_ALL);
    if (op <= 0xc1) {
        dec_imm(c, 1);
        if (!(in->imm & (in->opsize == 8 ? 63 : 31))) {
            in->t = T_OTHER; /* changes no flags */
        } else if (roll && in->opsize < 4 && (in->imm & 31) % (8 * in->opsize + carry) == 0) {
            in->t = T_OTHER; /* all the way round: which flags change is the host's to know */
        }
    }
    if (op >= 0xd2) {
        in->t     = T_SHCL;
        in->read  = carry ? FL_CF : 0;
        in->write = 0; /* a count of 0 leaves them all */
    }
}

static bool decode_one_byte(DbtCursor *c, uint8_t op)
{
    DbtInsn       *in   = c->in;
    const DbtMode *mode = c->mode;
    bool           m64  = mode->code == 8;

    in->op = op;
    if (op < 0x40 && (op & 7) < 6) {
        alu(c, op);
        return true;
    }
    switch (op) {
    case 0x0f: return dec_map_0f(c);
    case 0x40 ... 0x4f: /* INC and DEC outside 64-bit mode */
        in->t      = T_GEN;
        in->op     = 0xff;
        in->ext    = true;
        in->reg    = op >> 3 & 1;
        in->rm     = op & 7;
        in->access = G_RM_R | G_RM_W;
        in->write  = FL_ALL & ~FL_CF;
        return true;
    case 0x50 ... 0x57:
    case 0x58 ... 0x5f:
        if (dec_odd_stack(c)) {
            return dec_other(c);
        }
        in->t      = op < 0x58 ? T_PUSH : T_POP;
        in->rm     = (uint8_t)((op & 7) | (c->rex & 1) << 3);
        in->opsize = dec_stack_opsize(c);
        in->faults = true;
        return true;
    case 0x63:
        if (!m64 || in->opsize == 2) {
            return dec_other(c);
        }
        in->rm_size = 4;
        dec_gen(c, G_RM_R | G_REG_W, 0, 0);
        return true;
    case 0x68:
    case 0x6a:
        if (dec_odd_stack(c)) {
            return dec_other(c);
        }
        in->t      = T_PUSHI;
        in->opsize = dec_stack_opsize(c);
        in->faults = true;
        dec_imm(c, op == 0x6a ? 1 : in->opsize == 2 ? 2 : 4);
        return true;
    case 0x69:
    case 0x6b:
        dec_gen(c, G_RM_R | G_REG_W, 0, mode->writes.mul);
        imm_sized(c, op != 0x69);
        return true;
    case 0x70 ... 0x7f:
        if (dec_odd_branch(c)) {
            return dec_other(c);
        }
        in->t    = T_JCC;
        in->read = dbt_condition_flags(op & 15);
        dec_imm(c, 1);
        return true;
    case 0x82: return dec_other(c);
    case 0x80:
    case 0x81:
    case 0x83: {
        unsigned kind = dec_peek_ext(c);
        if (op == 0x80) {
            in->opsize = 1;
        }
        dec_gen_ext(c, G_RM_R | (kind == 7 ? 0 : G_RM_W), kind == 2 || kind == 3 ? FL_CF : 0, FL_ALL);
        imm_sized(c, op != 0x81);
        return true;
    }
    case 0x84:
    case 0x85:
        in->opsize = op == 0x84 ? 1 : in->opsize;
        dec_gen(c, G_RM_R | G_REG_R, 0, FL_ALL);
        return true;
    case 0x86:
    case 0x87:
        in->opsize = op == 0x86 ? 1 : in->opsize;
        dec_gen(c, G_RM_R | G_RM_W | G_REG_R | G_REG_W, 0, 0);
        if (!in->memory) {
            in->t = T_XCHG;
        }
        return true;
    case 0x88:
    case 0x89:
        in->opsize = op == 0x88 ? 1 : in->opsize;
        dec_gen(c, G_RM_W | G_REG_R, 0, 0);
        return true;
    case 0x8a:
    case 0x8b:
        in->opsize = op == 0x8a ? 1 : in->opsize;
        dec_gen(c, G_RM_R | G_REG_W, 0, 0);
        return true;
    case 0x06:
    case 0x0e:
    case 0x16:
    case 0x1e: return dec_segment_on_stack(c, true, op >> 3);
    case 0x07:
    case 0x1f: return dec_segment_on_stack(c, false, op >> 3);
    case 0x8c:
        if (!m64 && *c->p < 0xc0) {
            dec_gen(c, G_RM_W, 0, 0);
            in->t       = T_STSEG;
            in->seg_reg = in->reg;
            in->rm_size = 2;
            return in->reg > 5 ? dec_other(c) : true;
        }
        dec_modrm(c);
        in->t = T_RDSEG;
        return in->memory || (in->reg & 7) > 5 || c->rex & 4 ? dec_other(c) : true;
    case 0x8e: return dec_load_segment(c, false, dec_peek_ext(c));
    case 0x9a:
    case 0xea: return dec_far_transfer(c, 4);
    case 0xcd:
        if ((mode->vm86 && !mode->protected) || mode->ints_by_c || !dec_far_transfer(c, 0) || in->t == T_OTHER) {
            return dec_other(c);
        }
        in->imm      = *c->p++;
        in->imm_size = 1;
        return true;
    case 0xca: return dec_far_transfer(c, 2);
    case 0xcb:
    case 0xcf: return dec_far_transfer(c, 0);
    case 0xc4: return dec_load_segment(c, true, 0);
    case 0xc5: return dec_load_segment(c, true, 3);
    case 0x8d:
        dec_modrm(c);
        in->t      = T_LEA;
        in->faults = false;
        return in->memory && (in->opsize != 2 || !m64) ? true : dec_other(c);
    case 0x90 ... 0x97: {
        unsigned n = (op & 7) | (c->rex & 1) << 3;
        if (n == 0) {
            in->t = T_NOP;
            return c->rep ? dec_other(c) : true;
        }
        in->t   = T_XCHG;
        in->reg = 0;
        in->rm  = (uint8_t)n;
        return true;
    }
    case 0x98: in->t = T_EXTEND; return true;
    case 0x99: in->t = T_SPREAD; return true;
    case 0xa0 ... 0xa3: /* MOV with the accumulator, by address alone */
        if (m64) {
            return dec_other(c);
        }
        in->t      = T_GEN;
        in->op     = op < 0xa2 ? 0x8a + (op & 1) : 0x88 + (op & 1);
        in->opsize = op & 1 ? in->opsize : 1;
        in->access = op < 0xa2 ? G_RM_R | G_REG_W : G_RM_W | G_REG_R;
        in->memory = true;
        in->faults = true;
        in->seg    = in->seg == DBT_NO_REG ? 3 : in->seg;
        in->disp   = (int32_t)dec_immediate(c, in->addrsize);
        return true;
    case 0xa4:
    case 0xa5:
    case 0xaa:
    case 0xab:
    case 0xac:
    case 0xad:
        if (!mode->forward || c->repne || in->lock || (c->rep && op >= 0xac) ||
            (m64 ? in->addrsize != 8 || in->seg != DBT_NO_REG : !good_string(c, op))) {
            return dec_other(c);
        }
        in->t      = c->rep ? T_REP : T_STRING;
        in->opsize = op & 1 ? in->opsize : 1;
        in->faults = true;
        return true;
    case 0xa8:
    case 0xa9:
        in->t      = T_GEN;
        in->op     = op == 0xa8 ? 0xf6 : 0xf7;
        in->ext    = true;
        in->access = G_RM_R;
        in->write  = FL_ALL;
        in->opsize = op == 0xa8 ? 1 : in->opsize;
        imm_sized(c, op == 0xa8);
        return true;
    case 0xb0 ... 0xb7:
        in->t      = T_MOVI;
        in->opsize = 1;
        in->rm     = dec_byte_register(c, (op & 7) | (c->rex & 1u) << 3);
        dec_imm(c, 1);
        return true;
    case 0xb8 ... 0xbf:
        in->t  = T_MOVI;
        in->rm = (uint8_t)((op & 7) | (c->rex & 1) << 3);
        dec_imm(c, in->opsize);
        return true;
    case 0xc0:
    case 0xc1:
    case 0xd0 ... 0xd3: shift(c, op); return in->t == T_OTHER ? dec_other(c) : true;
    case 0xc2:
    case 0xc3:
        if (dec_odd_branch(c) || dec_odd_stack(c)) {
            return dec_other(c);
        }
        in->t      = T_RET;
        in->opsize = dec_stack_opsize(c);
        in->faults = true;
        if (op == 0xc2) {
            dec_imm(c, 2);
            in->imm &= 0xffff;
        }
        return true;
    case 0xc6:
    case 0xc7:
        if (dec_peek_ext(c) != 0) {
            return dec_other(c);
        }
        if (op == 0xc6) {
            in->opsize = 1;
        }
        dec_gen_ext(c, G_RM_W, 0, 0);
        imm_sized(c, op == 0xc6);
        return true;
    case 0xc9:
        if (dec_odd_stack(c)) {
            return dec_other(c);
        }
        in->t      = T_LEAVE;
        in->opsize = dec_stack_opsize(c);
        in->faults = true;
        return true;
    case 0xe8:
        if (dec_odd_branch(c) || dec_odd_stack(c)) {
            return dec_other(c);
        }
        in->t      = T_CALL;
        in->opsize = dec_stack_opsize(c);
        in->faults = true;
        dec_imm_z(c);
        return true;
    case 0xe9:
    case 0xeb:
        if (dec_odd_branch(c)) {
            return dec_other(c);
        }
        in->t = T_JMP;
        imm_sized(c, op != 0xe9);
        return true;
    case 0xe2:
    case 0xe3:
        in->t = T_LOOP; /* ECX or CX by the address size */
        dec_imm(c, 1);
        return m64 || dec_odd_branch(c) ? dec_other(c) : true;
    case 0x9c:
        if (dec_odd_stack(c) || (!m64 && !mode->kernel)) {
            return dec_other(c);
        }
        in->t      = T_PUSHM;
        in->opsize = dec_stack_opsize(c);
        in->read   = FL_ALL;
        in->faults = true;
        return true;
    case 0xfa:
    case 0xfb:
        in->t      = op == 0xfa ? T_CLI : T_STI;
        in->faults = op == 0xfb;
        return mode->kernel ? true : dec_other(c);
    case 0xfc:
        in->t = T_NOP; /* DF is part of the mode */
        return mode->forward ? true : dec_other(c);
    case 0xf5:
        in->t     = T_FLAG;
        in->read  = FL_CF;
        in->write = FL_CF;
        return true;
    case 0xf8:
    case 0xf9:
        in->t     = T_FLAG;
        in->write = FL_CF;
        return true;
    case 0xf6:
    case 0xf7: {
        unsigned kind = dec_peek_ext(c);
        in->opsize    = op == 0xf6 ? 1 : in->opsize;
        if (kind >= 4) {
            dec_gen_ext(c, G_RM_R, 0, kind >= 6 ? mode->writes.div : mode->writes.mul);
            in->t = T_MULDIV;
            in->faults |= kind >= 6;
            return true;
        }
        dec_gen_ext(c, G_RM_R | (kind >= 2 ? G_RM_W : 0), 0, kind == 2 ? 0 : FL_ALL);
        if (kind < 2) {
            in->reg = 0;
            imm_sized(c, op == 0xf6);
        }
        return true;
    }
    case 0xfe:
    case 0xff: {
        unsigned kind = dec_peek_ext(c);
        in->opsize    = op == 0xfe ? 1 : in->opsize;
        if (kind < 2) {
            dec_gen_ext(c, G_RM_R | G_RM_W, 0, FL_ALL & ~FL_CF);
            return true;
        }
        if (op == 0xff && (kind == 3 || kind == 5) && *c->p < 0xc0) {
            dec_gen_ext(c, G_RM_R, 0, 0);
            in->rm_size = in->opsize + 2;
            return dec_far_transfer(c, 0);
        }
        if (op == 0xfe || kind == 3 || kind == 5 || kind == 7 || (kind != 6 && dec_odd_branch(c)) ||
            (kind != 4 && dec_odd_stack(c))) {
            return dec_other(c);
        }
        in->opsize = dec_stack_opsize(c);
        dec_gen_ext(c, G_RM_R, 0, 0);
        in->t      = kind == 2 ? T_CALLI : kind == 4 ? T_JMPI : T_PUSHM;
        in->faults = true;
        return true;
    }
    default: return dec_other(c);
    }
}

/* Is the operand in a segment that templates know? Bit offsets would have to be cut before the base. */
static bool good_segment(const DbtCursor *c)
{
    enum { KINDS = 3, WRITABLE = 4 }; /* X86SegmentKind */
    const DbtInsn *in   = c->in;
    unsigned       kind = c->mode->seg[in->seg];
    bool           flat = c->mode->flat && in->seg <= 3 && in->addrsize == 4;

    return kind & KINDS && (kind & WRITABLE || !(in->access & G_RM_W)) && (in->t != T_BITMEM || flat);
}

/* Which instructions may carry LOCK: those with a memory destination that SDM 2 lists. */
static bool may_lock(const DbtInsn *in)
{
    if (!in->memory || !(in->access & G_RM_W)) {
        return false;
    }
    if (in->t == T_CMPXCHG || in->t == T_BITMEM || in->t == T_CMPXCHG16) {
        return true;
    }
    if (in->t != T_GEN) {
        return false;
    }
    if (in->map == 1) {
        return in->op == 0xba || in->op == 0xc0 || in->op == 0xc1;
    }
    return (in->op < 0x40 && (in->op & 7) < 2) || (in->op >= 0x80 && in->op <= 0x83) || in->op == 0x86 ||
           in->op == 0x87 || (in->op >= 0xf6 && in->op <= 0xf7) || in->op >= 0xfe;
}

/* Prefixes, REX too, which outside 64-bit mode is none. */
enum { P_NONE, P_SEG, P_FS, P_GS, P_O16, P_A, P_LOCK, P_REPNE, P_REP, P_REX };

static const uint8_t prefixes[256] = {
    [0x26] = P_SEG, [0x2e] = P_SEG, [0x36] = P_SEG, [0x3e] = P_SEG,  [0x40 ... 0x4f] = P_REX, [0x64] = P_FS,
    [0x65] = P_GS,  [0x66] = P_O16, [0x67] = P_A,   [0xf0] = P_LOCK, [0xf2] = P_REPNE,        [0xf3] = P_REP,
};

bool dbt_decode(const DbtMode *mode, const uint8_t *bytes, unsigned avail, DbtInsn *in)
{
    DbtCursor c = { .mode = mode, .p = bytes, .in = in };

    memset(in, 0, sizeof *in);
    in->seg      = DBT_NO_REG;
    in->base     = DBT_NO_REG;
    in->index    = DBT_NO_REG;
    in->vvvv     = DBT_NO_REG;
    in->addrsize = mode->code;
    in->opsize   = mode->code == 8 ? 4 : mode->code;

    uint8_t op;
    for (;; c.p++) {
        if ((unsigned)(c.p - bytes) > 10) {
            return dec_other(&c);
        }
        op              = *c.p;
        unsigned prefix = prefixes[op];
        if (prefix == P_NONE || prefix == P_REX) {
            break;
        }
        switch (prefix) {
        case P_SEG:
            if (mode->code != 8) {
                in->seg = op >> 3 & 3; /* ES, CS, SS, DS */
            }
            break;
        case P_FS: in->seg = 4; break;
        case P_GS: in->seg = 5; break;
        case P_O16: c.o16 = true; break;
        case P_A: c.a_other = true; break;
        case P_LOCK: in->lock = true; break;
        case P_REPNE: c.repne = true; break;
        default: c.rep = true; break;
        }
    }
    if (mode->code == 8 && prefixes[op] == P_REX) {
        c.rex     = op;
        c.has_rex = true;
        c.p++;
        op = *c.p;
        if (prefixes[op] != P_NONE) {
            return dec_other(&c); /* a REX that does not count */
        }
    }
    c.p++;
    if (c.rep && c.repne) {
        return dec_other(&c);
    }
    if (c.a_other) {
        in->addrsize = mode->code == 8 ? 4 : mode->code == 4 ? 2 : 4;
    }
    if (c.rex & 8) {
        in->opsize = 8;
    } else if (c.o16) {
        in->opsize = mode->code == 2 ? 4 : 2;
    }
    c.rex &= 15;

    bool ok = (op == 0xc4 || op == 0xc5) && mode->code == 8 ? dec_vex(&c, op) : decode_one_byte(&c, op);
    if (in->t == T_OTHER || !ok) {
        return dec_other(&c);
    }
    if (in->lock && !may_lock(in)) {
        return dec_other(&c);
    }
    if (mode->code != 8 && in->memory && in->t != T_LEA && in->t != T_NOP && in->t != T_SEGC && !good_segment(&c)) {
        if (in->t != T_SEGQ) {
            return dec_other(&c);
        }
        in->t = T_SEGC;
    }
    if (in->memory && in->seg > 3 && in->t == T_LEA) {
        in->seg = 3;
    }
    /* F2 and F3 on what does not know them: only where nobody ever gave them a meaning. */
    if ((c.rep || c.repne) && !in->prefix && in->t != T_RET && in->t != T_JCC && in->t != T_LOOP && in->t != T_JMP &&
        in->t != T_JMPI && in->t != T_CALL && in->t != T_CALLI && in->t != T_NOP && in->t != T_REP &&
        !(in->t == T_GEN && in->map == 1 && in->op >= 0xbc)) {
        return dec_other(&c);
    }
    if (!in->rm_size) {
        in->rm_size = in->opsize;
    }
    unsigned len = (unsigned)(c.p - bytes);
    if (len > 15) {
        return dec_other(&c);
    }
    in->len = (uint8_t)len;
    return len <= avail;
}
