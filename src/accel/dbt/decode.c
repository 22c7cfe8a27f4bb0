/* The translator's decoder: see decode.h. */

#include "accel/dbt/decode.h"

#include <string.h>

typedef struct Cursor {
    const DbtMode *mode;
    const uint8_t *start, *p;
    DbtInsn       *in;
    uint8_t        rex;
    bool           has_rex, o16, a_other, rep, repne;
    bool           failed;
} Cursor;

uint8_t dbt_condition_flags(unsigned cc)
{
    static const uint8_t flags[8] = { FL_OF, FL_CF, FL_ZF,         FL_CF | FL_ZF,
                                      FL_SF, FL_PF, FL_SF | FL_OF, FL_SF | FL_OF | FL_ZF };
    return flags[cc >> 1 & 7];
}

/* --- pieces --- */

static int64_t immediate(Cursor *c, unsigned size)
{
    int64_t v = 0;
    switch (size) {
    case 1: v = (int8_t)c->p[0]; break;
    case 2: v = (int16_t)(c->p[0] | c->p[1] << 8); break;
    case 4: {
        int32_t w;
        memcpy(&w, c->p, 4);
        v = w;
        break;
    }
    default: memcpy(&v, c->p, 8); break;
    }
    c->p += size;
    return v;
}

static void set_imm(Cursor *c, unsigned size)
{
    c->in->imm      = immediate(c, size);
    c->in->imm_size = (uint8_t)size;
}

/* imm16 or imm32, as the operand size says. */
static void set_imm_z(Cursor *c)
{
    set_imm(c, c->in->opsize == 2 ? 2 : 4);
}

static uint8_t byte_register(const Cursor *c, unsigned n)
{
    return (uint8_t)(!c->has_rex && n >= 4 && n < 8 ? DBT_HIGH + n - 4 : n);
}

/* 16-bit addresses. */
static void modrm16(Cursor *c, unsigned mod, unsigned rm)
{
    static const uint8_t bases[8]   = { 3, 3, 5, 5, 6, 7, 5, 3 };
    static const uint8_t indexes[4] = { 6, 7, 6, 7 };
    DbtInsn             *in         = c->in;
    bool                 direct     = mod == 0 && rm == 6;

    in->memory = true;
    in->faults = true;
    in->base   = direct ? DBT_NO_REG : bases[rm];
    in->index  = rm < 4 ? indexes[rm] : DBT_NO_REG;
    if (mod == 1) {
        in->disp = (int32_t)immediate(c, 1);
    } else if (mod == 2 || direct) {
        in->disp = (int32_t)immediate(c, 2);
    }
    if (in->seg == DBT_NO_REG) {
        in->seg = in->base == 5 ? 2 : 3;
    }
}

/* ModRM with SIB and displacement. */
static void modrm(Cursor *c)
{
    DbtInsn *in  = c->in;
    uint8_t  b   = *c->p++;
    unsigned mod = b >> 6, rm = b & 7;

    in->reg = (uint8_t)((b >> 3 & 7) | (c->rex & 4) << 1);
    if (mod == 3) {
        in->rm = (uint8_t)(rm | (c->rex & 1) << 3);
        return;
    }
    if (in->addrsize == 2) {
        modrm16(c, mod, rm);
        return;
    }
    in->memory = true;
    in->faults = true;
    in->base   = (uint8_t)(rm | (c->rex & 1) << 3);
    in->index  = DBT_NO_REG;
    bool stack = false;
    if (rm == 4) {
        uint8_t  sib   = *c->p++;
        unsigned index = (sib >> 3 & 7) | (c->rex & 2) << 2;
        in->base       = (uint8_t)((sib & 7) | (c->rex & 1) << 3);
        in->scale      = sib >> 6;
        in->index      = (uint8_t)(index == 4 ? DBT_NO_REG : index);
        if ((sib & 7) == 5 && mod == 0) {
            in->base = DBT_NO_REG;
            in->disp = (int32_t)immediate(c, 4);
        }
    } else if (rm == 5 && mod == 0) {
        in->base         = DBT_NO_REG;
        in->rip_relative = c->mode->code == 8;
        in->disp         = (int32_t)immediate(c, 4);
    }
    if (mod == 1) {
        in->disp = (int32_t)immediate(c, 1);
    } else if (mod == 2) {
        in->disp = (int32_t)immediate(c, 4);
    }
    stack = in->base == 4 || in->base == 5;
    if (in->seg == DBT_NO_REG) {
        in->seg = stack ? 2 : 3;
    }
}

static void gen(Cursor *c, unsigned access, unsigned read, unsigned write)
{
    DbtInsn *in = c->in;
    in->t       = T_GEN;
    in->access  = (uint8_t)access;
    in->read    = (uint8_t)read;
    in->write   = (uint8_t)write;
    modrm(c);
    if (in->opsize == 1) {
        in->reg = byte_register(c, in->reg);
        if (!in->memory) {
            in->rm = byte_register(c, in->rm);
        }
    }
}

/* Opcode extension in ModRM.reg. */
static void gen_ext(Cursor *c, unsigned access, unsigned read, unsigned write)
{
    gen(c, access, read, write);
    DbtInsn *in = c->in;
    in->ext     = true;
    if (in->reg >= DBT_HIGH) {
        in->reg = (uint8_t)(in->reg - DBT_HIGH + 4);
    }
    in->reg &= 7;
}

static unsigned peek_ext(const Cursor *c)
{
    return *c->p >> 3 & 7;
}

static bool other(Cursor *c)
{
    c->in->t   = T_OTHER;
    c->in->len = 0;
    return true;
}

/* In 64-bit mode an operand-size prefix means different things to different vendors. */
static bool odd_branch(const Cursor *c)
{
    return c->o16 && c->mode->code != 2;
}

/* Is the stack one that templates know? */
static bool odd_stack(const Cursor *c)
{
    enum { KINDS = 3, WRITABLE = 4 }; /* X86SegmentKind */
    return c->mode->code == 8 ? c->o16 : !(c->mode->seg[2] & KINDS) || !(c->mode->seg[2] & WRITABLE);
}

/* What PUSH, POP, CALL and their like move. */
static uint8_t stack_opsize(const Cursor *c)
{
    return c->mode->code == 8 ? 8 : c->in->opsize;
}

/* Outside 64-bit mode: are both sides of MOVS, STOS or LODS in segments that templates know? */
static bool good_string(const Cursor *c, uint8_t op)
{
    enum { KINDS = 3, WRITABLE = 4 }; /* X86SegmentKind */
    DbtInsn *in = c->in;

    in->seg      = in->seg == DBT_NO_REG ? 3 : in->seg;
    unsigned es  = c->mode->seg[0];
    bool     bad = op < 0xac && (!(es & KINDS) || !(es & WRITABLE));
    return !bad && (op == 0xaa || op == 0xab || c->mode->seg[in->seg] & KINDS);
}

/* Can templates load that segment register? */
static bool can_set(const Cursor *c, unsigned seg)
{
    enum { KINDS = 3, KIND_64K = 1, WRITABLE = 4 }; /* X86SegmentKind */
    unsigned kind = c->mode->seg[seg];
    return c->mode->real && (c->mode->vm86 ? kind == (KIND_64K | WRITABLE) : kind & KINDS);
}

/* Who loads a segment register that templates cannot? Helpers do it in protected mode, if they can. */
static uint8_t by_helper(const Cursor *c)
{
    return c->mode->protected && !c->mode->vm86 ? T_SEGQ : T_SEGC;
}

static bool segment_on_stack(Cursor *c, bool push, unsigned seg)
{
    DbtInsn *in = c->in;
    if (c->mode->code == 8 || (push && odd_stack(c))) {
        return other(c);
    }
    in->t       = push ? T_PUSHSEG : odd_stack(c) ? T_SEGC : can_set(c, seg) ? T_POPSEG : by_helper(c);
    in->seg_reg = (uint8_t)seg;
    in->faults  = true;
    return true;
}

/* MOV to a segment register, or LES and its like. */
static bool load_segment(Cursor *c, bool pointer, unsigned seg)
{
    DbtInsn *in = c->in;
    if (c->mode->code == 8 || seg == 1 || seg == 2 || seg > 5 || (pointer && *c->p >= 0xc0)) {
        return other(c);
    }
    gen(c, G_RM_R | (pointer ? G_REG_W : 0), 0, 0);
    in->t       = pointer ? T_LSEG : T_SETSEG;
    in->seg_reg = (uint8_t)seg;
    in->rm_size = pointer ? in->opsize + 2 : 2;
    if (!can_set(c, seg)) {
        in->t      = by_helper(c);
        in->faults = true;
    }
    return true;
}

/* Far transfers: `size` of an immediate. */
static bool far_transfer(Cursor *c, unsigned size)
{
    DbtInsn *in     = c->in;
    bool     helper = c->mode->protected && (!c->mode->vm86 || in->op == 0xcd) && in->opsize <= 4;
    if (!helper && (!c->mode->real || in->opsize != 2 || odd_stack(c))) {
        return other(c);
    }
    in->t      = helper ? T_FARQ : T_FAR;
    in->write  = in->op == 0xcf ? FL_ALL : 0;
    in->faults = true;
    if (size == 4 && in->opsize == 4) {
        set_imm(c, 4);
        in->imm &= UINT32_MAX;
    } else if (size) {
        set_imm(c, 2);
        in->imm &= 0xffff;
    }
    if (size == 4) {
        in->disp = (int32_t)immediate(c, 2) & 0xffff;
    }
    return true;
}

/* --- maps --- */

static void alu(Cursor *c, uint8_t op)
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
        gen(c, G_RM_R | (compare ? 0 : G_RM_W) | G_REG_R, reads[kind], FL_ALL);
    } else if ((op & 7) < 4) {
        gen(c, G_RM_R | G_REG_R | (compare ? 0 : G_REG_W), reads[kind], FL_ALL);
    } else {
        in->t      = T_GEN;
        in->op     = op & 1 ? 0x81 : 0x80;
        in->access = G_RM_R | (compare ? 0 : G_RM_W);
        in->ext    = true;
        in->reg    = (uint8_t)kind;
        in->rm     = 0;
        in->read   = reads[kind];
        in->write  = FL_ALL;
        if (op & 1) {
            set_imm_z(c);
        } else {
            set_imm(c, 1);
        }
    }
}

static void shift(Cursor *c, uint8_t op)
{
    DbtInsn *in    = c->in;
    unsigned kind  = peek_ext(c);
    bool     carry = kind == 2 || kind == 3;
    bool     roll  = kind < 4;

    in->op = op;
    if (!(op & 1)) {
        in->opsize = 1;
    }
    gen_ext(c, G_RM_R | G_RM_W, carry ? FL_CF : 0, roll ? FL_CF | FL_OF : FL_ALL);
    if (op <= 0xc1) {
        set_imm(c, 1);
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

static bool decode_0f38_integer(Cursor *c, uint8_t op)
{
    DbtInsn *in = c->in;

    in->map = 2;
    in->op  = op;
    if ((op == 0xf0 || op == 0xf1) && c->repne && c->mode->crc32) {
        in->prefix    = 0xf2;
        in->rm_size   = op == 0xf0 ? 1 : in->opsize;
        unsigned wide = in->opsize;
        gen(c, G_RM_R | G_REG_R | G_REG_W, 0, 0);
        in->opsize = wide == 8 ? 8 : 4;
        if (in->rm_size == 2 || (!in->memory && in->rm_size == 1 && byte_register(c, in->rm) >= DBT_HIGH)) {
            return other(c);
        }
        return true;
    }
    if ((op == 0xf0 || op == 0xf1) && !c->rep && !c->repne && c->mode->movbe) {
        gen(c, op == 0xf0 ? G_RM_R | G_REG_W : G_RM_W | G_REG_R, 0, 0);
        return in->memory && in->opsize != 2 ? true : other(c);
    }
    return other(c);
}

static bool decode_0f(Cursor *c)
{
    DbtInsn       *in   = c->in;
    const DbtMode *mode = c->mode;
    uint8_t        op   = *c->p++;

    in->map = 1;
    in->op  = op;
    switch (op) {
    case 0x01: {
        uint8_t b = *c->p++;
        if (c->o16) {
            return other(c);
        }
        if (b == 0xf8 && mode->code == 8 && mode->kernel) {
            in->t = T_SWAPGS;
            return true;
        }
        if (!c->rep && !c->repne && b == 0xca && mode->stac) {
            in->t = T_NOP; /* AC is clear */
            return true;
        }
        if (!c->rep && !c->repne && (b == 0xca ? mode->clac : b == 0xcb && mode->stac)) {
            in->t = b == 0xca ? T_CLAC : T_STAC;
            return true;
        }
        if (b == 0xf9 && mode->rdtscp) {
            in->t      = T_RDTSC;
            in->map    = 2;
            in->faults = !mode->kernel;
            return true;
        }
        return other(c);
    }
    case 0x05:
        in->t      = T_SYSCALL;
        in->faults = true;
        return mode->code == 8 && mode->user && !c->o16 ? true : other(c);
    case 0x07:
        in->t      = T_SYSRET;
        in->faults = true;
        return mode->code == 8 && mode->kernel && c->rex & 8 && !c->o16 ? true : other(c);
    case 0x31:
        in->t      = T_RDTSC;
        in->faults = !mode->kernel;
        return true;
    case 0x0d:
    case 0x18:
    case 0x19:
    case 0x1c:
    case 0x1d:
    case 0x1e:
    case 0x1f:
        modrm(c);
        in->t      = T_NOP;
        in->faults = false;
        return true;
    case 0x38: return decode_0f38_integer(c, *c->p++);
    case 0x40 ... 0x4f: gen(c, G_RM_R | G_REG_R | G_REG_W, dbt_condition_flags(op & 15), 0); return true;
    case 0x80 ... 0x8f:
        if (odd_branch(c)) {
            return other(c);
        }
        in->t    = T_JCC;
        in->read = dbt_condition_flags(op & 15);
        set_imm_z(c);
        return true;
    case 0x90 ... 0x9f:
        in->opsize = 1;
        gen_ext(c, G_RM_W, dbt_condition_flags(op & 15), 0);
        in->reg = 0;
        return true;
    case 0xa0:
    case 0xa8: return segment_on_stack(c, true, op == 0xa0 ? 4 : 5);
    case 0xa1:
    case 0xa9: return segment_on_stack(c, false, op == 0xa1 ? 4 : 5);
    case 0xb4:
    case 0xb5: return load_segment(c, true, op & 1 ? 5 : 4);
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
        gen(c, G_RM_R | (op == 0xa3 ? 0 : G_RM_W) | G_REG_R, 0, FL_CF);
        if (in->memory) {
            in->t = T_BITMEM;
        }
        return true;
    case 0xba:
        if (peek_ext(c) < 4) {
            return other(c);
        }
        gen_ext(c, G_RM_R | (peek_ext(c) == 4 ? 0 : G_RM_W), 0, FL_CF);
        set_imm(c, 1);
        return true;
    case 0xa4:
    case 0xac:
        gen(c, G_RM_R | G_RM_W | G_REG_R, 0, FL_ALL);
        set_imm(c, 1);
        return in->opsize == 2 || !(in->imm & (in->opsize == 8 ? 63 : 31)) ? other(c) : true;
    case 0xa5:
    case 0xad:
        gen(c, G_RM_R | G_RM_W | G_REG_R, 0, 0); /* a count of 0 leaves the flags */
        in->t = T_SHDCL;
        return in->opsize == 2 ? other(c) : true;
    case 0xae:
        if (c->rep && *c->p >= 0xc0 && *c->p < 0xe0 && mode->code == 8 && !c->o16) {
            in->prefix = 0xf3;
            in->t      = T_BASE;
            modrm(c);
            in->reg &= 7;
            in->faults = true;
            return c->rex & 4 ? other(c) : true;
        }
        if (*c->p >= 0xe8 && !c->rep && !c->repne && !c->o16) {
            in->t   = T_FENCE;
            in->reg = *c->p++ >> 3 & 7;
            return true;
        }
        return other(c);
    case 0xaf: gen(c, G_RM_R | G_REG_R | G_REG_W, 0, FL_ALL); return true;
    case 0xb0:
    case 0xb1:
        in->opsize = op == 0xb0 ? 1 : in->opsize;
        gen(c, G_RM_R | G_RM_W | G_REG_R, 0, FL_ALL);
        in->t = T_CMPXCHG;
        return true;
    case 0xb6:
    case 0xb7:
    case 0xbe:
    case 0xbf:
        in->rm_size = op & 1 ? 2 : 1;
        gen(c, G_RM_R | G_REG_W, 0, 0);
        if (in->rm_size == 1 && !in->memory) {
            in->rm = byte_register(c, in->rm);
        }
        return true;
    case 0xb8:
        if (!c->rep || !mode->popcnt || in->opsize == 2) {
            return other(c);
        }
        in->prefix = 0xf3;
        gen(c, G_RM_R | G_REG_W, 0, FL_ALL);
        return true;
    case 0xbc:
    case 0xbd:
        if (c->rep && (op == 0xbc ? mode->tzcnt : mode->lzcnt)) {
            in->prefix = 0xf3;
            gen(c, G_RM_R | G_REG_W, 0, FL_ALL);
            return in->opsize == 2 ? other(c) : true;
        }
        gen(c, G_RM_R | G_REG_R | G_REG_W, 0, FL_ALL); /* a source of 0 leaves the register */
        return true;
    case 0xc0:
    case 0xc1:
        in->opsize = op == 0xc0 ? 1 : in->opsize;
        gen(c, G_RM_R | G_RM_W | G_REG_R | G_REG_W, 0, FL_ALL);
        return in->memory ? true : other(c);
    case 0xc3:
        if (c->o16 || c->rep || c->repne || in->opsize == 2) { /* MOVNTI has no 16-bit form */
            return other(c);
        }
        gen(c, G_RM_W | G_REG_R, 0, 0);
        return in->memory ? true : other(c);
    case 0xc7:
        if (peek_ext(c) != 1 || !(c->rex & 8) || !mode->cx16) {
            return other(c);
        }
        gen_ext(c, G_RM_R | G_RM_W, 0, FL_ZF);
        in->t       = T_CMPXCHG16;
        in->rm_size = 16;
        return in->memory ? true : other(c);
    case 0xc8 ... 0xcf:
        in->t  = T_BSWAP;
        in->rm = (uint8_t)((op & 7) | (c->rex & 1) << 3);
        return in->opsize == 2 ? other(c) : true;
    default: return other(c);
    }
}

static bool decode_one_byte(Cursor *c, uint8_t op)
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
    case 0x0f: return decode_0f(c);
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
        if (odd_stack(c)) {
            return other(c);
        }
        in->t      = op < 0x58 ? T_PUSH : T_POP;
        in->rm     = (uint8_t)((op & 7) | (c->rex & 1) << 3);
        in->opsize = stack_opsize(c);
        in->faults = true;
        return true;
    case 0x63:
        if (!m64 || in->opsize == 2) {
            return other(c);
        }
        in->rm_size = 4;
        gen(c, G_RM_R | G_REG_W, 0, 0);
        return true;
    case 0x68:
    case 0x6a:
        if (odd_stack(c)) {
            return other(c);
        }
        in->t      = T_PUSHI;
        in->opsize = stack_opsize(c);
        in->faults = true;
        set_imm(c, op == 0x6a ? 1 : in->opsize == 2 ? 2 : 4);
        return true;
    case 0x69:
    case 0x6b:
        gen(c, G_RM_R | G_REG_W, 0, FL_ALL);
        if (op == 0x69) {
            set_imm_z(c);
        } else {
            set_imm(c, 1);
        }
        return true;
    case 0x70 ... 0x7f:
        if (odd_branch(c)) {
            return other(c);
        }
        in->t    = T_JCC;
        in->read = dbt_condition_flags(op & 15);
        set_imm(c, 1);
        return true;
    case 0x82: return other(c);
    case 0x80:
    case 0x81:
    case 0x83: {
        unsigned kind = peek_ext(c);
        if (op == 0x80) {
            in->opsize = 1;
        }
        gen_ext(c, G_RM_R | (kind == 7 ? 0 : G_RM_W), kind == 2 || kind == 3 ? FL_CF : 0, FL_ALL);
        if (op == 0x81) {
            set_imm_z(c);
        } else {
            set_imm(c, 1);
        }
        return true;
    }
    case 0x84:
    case 0x85:
        in->opsize = op == 0x84 ? 1 : in->opsize;
        gen(c, G_RM_R | G_REG_R, 0, FL_ALL);
        return true;
    case 0x86:
    case 0x87:
        in->opsize = op == 0x86 ? 1 : in->opsize;
        gen(c, G_RM_R | G_RM_W | G_REG_R | G_REG_W, 0, 0);
        if (!in->memory) {
            in->t = T_XCHG;
        }
        return true;
    case 0x88:
    case 0x89:
        in->opsize = op == 0x88 ? 1 : in->opsize;
        gen(c, G_RM_W | G_REG_R, 0, 0);
        return true;
    case 0x8a:
    case 0x8b:
        in->opsize = op == 0x8a ? 1 : in->opsize;
        gen(c, G_RM_R | G_REG_W, 0, 0);
        return true;
    case 0x06:
    case 0x0e:
    case 0x16:
    case 0x1e: return segment_on_stack(c, true, op >> 3);
    case 0x07:
    case 0x1f: return segment_on_stack(c, false, op >> 3);
    case 0x8c:
        if (!m64 && *c->p < 0xc0) {
            gen(c, G_RM_W, 0, 0);
            in->t       = T_STSEG;
            in->seg_reg = in->reg;
            in->rm_size = 2;
            return in->reg > 5 ? other(c) : true;
        }
        modrm(c);
        in->t = T_RDSEG;
        return in->memory || (in->reg & 7) > 5 || c->rex & 4 ? other(c) : true;
    case 0x8e: return load_segment(c, false, peek_ext(c));
    case 0x9a:
    case 0xea: return far_transfer(c, 4);
    case 0xcd:
        if ((mode->vm86 && !mode->protected) || mode->ints_by_c || !far_transfer(c, 0) || in->t == T_OTHER) {
            return other(c);
        }
        in->imm      = *c->p++;
        in->imm_size = 1;
        return true;
    case 0xca: return far_transfer(c, 2);
    case 0xcb:
    case 0xcf: return far_transfer(c, 0);
    case 0xc4: return load_segment(c, true, 0);
    case 0xc5: return load_segment(c, true, 3);
    case 0x8d:
        modrm(c);
        in->t      = T_LEA;
        in->faults = false;
        return in->memory && (in->opsize != 2 || !m64) ? true : other(c);
    case 0x90 ... 0x97: {
        unsigned n = (op & 7) | (c->rex & 1) << 3;
        if (n == 0) {
            in->t = T_NOP;
            return c->rep ? other(c) : true;
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
            return other(c);
        }
        in->t      = T_GEN;
        in->op     = op < 0xa2 ? 0x8a + (op & 1) : 0x88 + (op & 1);
        in->opsize = op & 1 ? in->opsize : 1;
        in->access = op < 0xa2 ? G_RM_R | G_REG_W : G_RM_W | G_REG_R;
        in->memory = true;
        in->faults = true;
        in->seg    = in->seg == DBT_NO_REG ? 3 : in->seg;
        in->disp   = (int32_t)immediate(c, in->addrsize);
        return true;
    case 0xa4:
    case 0xa5:
    case 0xaa:
    case 0xab:
    case 0xac:
    case 0xad:
        if (!mode->forward || c->repne || in->lock || (c->rep && op >= 0xac) ||
            (m64 ? in->addrsize != 8 || in->seg != DBT_NO_REG : !good_string(c, op))) {
            return other(c);
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
        if (op == 0xa8) {
            in->opsize = 1;
            set_imm(c, 1);
        } else {
            set_imm_z(c);
        }
        return true;
    case 0xb0 ... 0xb7:
        in->t      = T_MOVI;
        in->opsize = 1;
        in->rm     = byte_register(c, (op & 7) | (c->rex & 1u) << 3);
        set_imm(c, 1);
        return true;
    case 0xb8 ... 0xbf:
        in->t  = T_MOVI;
        in->rm = (uint8_t)((op & 7) | (c->rex & 1) << 3);
        set_imm(c, in->opsize);
        return true;
    case 0xc0:
    case 0xc1:
    case 0xd0 ... 0xd3: shift(c, op); return in->t == T_OTHER ? other(c) : true;
    case 0xc2:
    case 0xc3:
        if (odd_branch(c) || odd_stack(c)) {
            return other(c);
        }
        in->t      = T_RET;
        in->opsize = stack_opsize(c);
        in->faults = true;
        if (op == 0xc2) {
            set_imm(c, 2);
            in->imm &= 0xffff;
        }
        return true;
    case 0xc6:
    case 0xc7:
        if (peek_ext(c) != 0) {
            return other(c);
        }
        if (op == 0xc6) {
            in->opsize = 1;
        }
        gen_ext(c, G_RM_W, 0, 0);
        if (op == 0xc6) {
            set_imm(c, 1);
        } else {
            set_imm_z(c);
        }
        return true;
    case 0xc9:
        if (odd_stack(c)) {
            return other(c);
        }
        in->t      = T_LEAVE;
        in->opsize = stack_opsize(c);
        in->faults = true;
        return true;
    case 0xe8:
        if (odd_branch(c) || odd_stack(c)) {
            return other(c);
        }
        in->t      = T_CALL;
        in->opsize = stack_opsize(c);
        in->faults = true;
        set_imm_z(c);
        return true;
    case 0xe9:
    case 0xeb:
        if (odd_branch(c)) {
            return other(c);
        }
        in->t = T_JMP;
        if (op == 0xe9) {
            set_imm_z(c);
        } else {
            set_imm(c, 1);
        }
        return true;
    case 0xe2:
    case 0xe3:
        in->t = T_LOOP; /* ECX or CX by the address size */
        set_imm(c, 1);
        return m64 || odd_branch(c) ? other(c) : true;
    case 0x9c:
        if (odd_stack(c) || (!m64 && !mode->kernel)) {
            return other(c);
        }
        in->t      = T_PUSHM;
        in->opsize = stack_opsize(c);
        in->read   = FL_ALL;
        in->faults = true;
        return true;
    case 0xfa:
    case 0xfb:
        in->t      = op == 0xfa ? T_CLI : T_STI;
        in->faults = op == 0xfb;
        return mode->kernel ? true : other(c);
    case 0xfc:
        in->t = T_NOP; /* DF is part of the mode */
        return mode->forward ? true : other(c);
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
        unsigned kind = peek_ext(c);
        in->opsize    = op == 0xf6 ? 1 : in->opsize;
        if (kind >= 4) {
            gen_ext(c, G_RM_R, 0, kind >= 6 ? 0 : FL_ALL); /* processors keep them when they divide */
            in->t = T_MULDIV;
            in->faults |= kind >= 6;
            return true;
        }
        gen_ext(c, G_RM_R | (kind >= 2 ? G_RM_W : 0), 0, kind == 2 ? 0 : FL_ALL);
        if (kind < 2) {
            in->reg = 0;
            if (op == 0xf6) {
                set_imm(c, 1);
            } else {
                set_imm_z(c);
            }
        }
        return true;
    }
    case 0xfe:
    case 0xff: {
        unsigned kind = peek_ext(c);
        in->opsize    = op == 0xfe ? 1 : in->opsize;
        if (kind < 2) {
            gen_ext(c, G_RM_R | G_RM_W, 0, FL_ALL & ~FL_CF);
            return true;
        }
        if (op == 0xff && (kind == 3 || kind == 5) && *c->p < 0xc0) {
            gen_ext(c, G_RM_R, 0, 0);
            in->rm_size = in->opsize + 2;
            return far_transfer(c, 0);
        }
        if (op == 0xfe || kind == 3 || kind == 5 || kind == 7 || (kind != 6 && odd_branch(c)) ||
            (kind != 4 && odd_stack(c))) {
            return other(c);
        }
        in->opsize = stack_opsize(c);
        gen_ext(c, G_RM_R, 0, 0);
        in->t      = kind == 2 ? T_CALLI : kind == 4 ? T_JMPI : T_PUSHM;
        in->faults = true;
        return true;
    }
    default: return other(c);
    }
}

/* VEX instructions on general registers: BMI1 and BMI2. `c->p` is behind C4h or C5h. */
static bool decode_vex(Cursor *c, uint8_t first)
{
    DbtInsn *in = c->in;
    uint8_t  b1 = *c->p++, b2 = 0;

    if (first == 0xc5 || c->mode->code != 8 || c->o16 || c->rep || c->repne || c->has_rex || in->lock) {
        return other(c);
    }
    b2                       = *c->p++;
    unsigned             map = b1 & 31, pp = b2 & 3;
    uint8_t              op          = *c->p++;
    static const uint8_t prefixes[4] = { 0, 0x66, 0xf3, 0xf2 };

    c->rex     = (uint8_t)((~b1 >> 5 & 7) | (b2 >> 4 & 8)); /* R X B, and W */
    in->map    = (uint8_t)map;
    in->op     = op;
    in->prefix = prefixes[pp];
    in->w      = b2 >> 7;
    in->vvvv   = (uint8_t)(~b2 >> 3 & 15);
    in->opsize = in->w ? 8 : 4;
    if (b2 & 4) {
        return other(c);
    }
    if (map == 2 && op == 0xf2 && pp == 0 && c->mode->bmi1) {
        modrm(c); /* ANDN */
        in->access = G_RM_R | G_REG_W;
        in->write  = FL_ALL;
    } else if (map == 2 && op == 0xf7 && pp == 0 && c->mode->bmi1) {
        modrm(c); /* BEXTR */
        in->access = G_RM_R | G_REG_W;
        in->write  = FL_ALL;
    } else if (map == 2 && op == 0xf7 && pp != 0 && c->mode->bmi2) {
        modrm(c); /* SHLX, SARX, SHRX */
        in->access = G_RM_R | G_REG_W;
    } else if (map == 2 && op == 0xf5 && pp == 0 && c->mode->bmi2) {
        modrm(c); /* BZHI */
        in->access = G_RM_R | G_REG_W;
        in->write  = FL_ALL;
    } else if (map == 2 && op == 0xf5 && pp >= 2 && c->mode->bmi2) {
        modrm(c); /* PEXT, PDEP */
        in->access = G_RM_R | G_REG_W;
    } else if (map == 3 && op == 0xf0 && pp == 3 && c->mode->bmi2 && in->vvvv == 0) {
        modrm(c); /* RORX */
        in->access = G_RM_R | G_REG_W;
        in->vvvv   = DBT_NO_REG;
        set_imm(c, 1);
    } else {
        return other(c);
    }
    in->t = T_BMI;
    return true;
}

/* Is the operand in a segment that templates know? Bit offsets would have to be cut before the base. */
static bool good_segment(const Cursor *c)
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

bool dbt_decode(const DbtMode *mode, const uint8_t *bytes, unsigned avail, DbtInsn *in)
{
    Cursor c = { .mode = mode, .start = bytes, .p = bytes, .in = in };

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
            return other(&c);
        }
        op         = *c.p;
        bool again = true;
        switch (op) {
        case 0x26:
        case 0x2e:
        case 0x36:
        case 0x3e:
            if (mode->code != 8) {
                in->seg = op >> 3 & 3; /* ES, CS, SS, DS */
            }
            break;
        case 0x64: in->seg = 4; break;
        case 0x65: in->seg = 5; break;
        case 0x66: c.o16 = true; break;
        case 0x67: c.a_other = true; break;
        case 0xf0: in->lock = true; break;
        case 0xf2: c.repne = true; break;
        case 0xf3: c.rep = true; break;
        default: again = false; break;
        }
        if (!again) {
            if (mode->code == 8 && (op & 0xf0) == 0x40) {
                uint8_t next = c.p[1];
                bool    more = next == 0x66 || next == 0x67 || next == 0xf0 || next == 0xf2 || next == 0xf3 ||
                            next == 0x2e || next == 0x36 || next == 0x3e || next == 0x26 || next == 0x64 ||
                            next == 0x65 || (next & 0xf0) == 0x40;
                if (more) {
                    return other(&c); /* a REX that does not count */
                }
                c.rex     = op;
                c.has_rex = true;
                c.p++;
                op = *c.p;
            }
            break;
        }
    }
    c.p++;
    if (c.rep && c.repne) {
        return other(&c);
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

    bool ok = (op == 0xc4 || op == 0xc5) && mode->code == 8 ? decode_vex(&c, op) : decode_one_byte(&c, op);
    if (c.failed || in->t == T_OTHER || !ok) {
        return other(&c);
    }
    if (in->lock && !may_lock(in)) {
        return other(&c);
    }
    if (mode->code != 8 && in->memory && in->t != T_LEA && in->t != T_NOP && in->t != T_SEGC && !good_segment(&c)) {
        if (in->t != T_SEGQ) {
            return other(&c);
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
        return other(&c);
    }
    if (!in->rm_size) {
        in->rm_size = in->opsize;
    }
    unsigned len = (unsigned)(c.p - bytes);
    if (len > 15) {
        return other(&c);
    }
    in->len = (uint8_t)len;
    return len <= avail;
}
