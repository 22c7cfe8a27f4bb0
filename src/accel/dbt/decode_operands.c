/* The translator's decoder: operands, and the families that load segment registers. See decode.h. */

#include "accel/dbt/decode_private.h"

/* 16-bit addresses. */
static void modrm16(DbtCursor *c, unsigned mod, unsigned rm)
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
        in->disp = (int32_t)dec_immediate(c, 1);
    } else if (mod == 2 || direct) {
        in->disp = (int32_t)dec_immediate(c, 2);
    }
    if (in->seg == DBT_NO_REG) {
        in->seg = in->base == 5 ? 2 : 3;
    }
}

void dec_modrm(DbtCursor *c)
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
            in->disp = (int32_t)dec_immediate(c, 4);
        }
    } else if (rm == 5 && mod == 0) {
        in->base         = DBT_NO_REG;
        in->rip_relative = c->mode->code == 8;
        in->disp         = (int32_t)dec_immediate(c, 4);
    }
    if (mod == 1) {
        in->disp = (int32_t)dec_immediate(c, 1);
    } else if (mod == 2) {
        in->disp = (int32_t)dec_immediate(c, 4);
    }
    stack = in->base == 4 || in->base == 5;
    if (in->seg == DBT_NO_REG) {
        in->seg = stack ? 2 : 3;
    }
}

void dec_gen_ext(DbtCursor *c, unsigned access, unsigned read, unsigned write)
{
    dec_gen(c, access, read, write);
    DbtInsn *in = c->in;
    in->ext     = true;
    if (in->reg >= DBT_HIGH) {
        in->reg = (uint8_t)(in->reg - DBT_HIGH + 4);
    }
    in->reg &= 7;
}

/* Can templates load that segment register? */
static bool can_set(const DbtCursor *c, unsigned seg)
{
    enum { KINDS = 3, KIND_64K = 1, WRITABLE = 4 }; /* X86SegmentKind */
    unsigned kind = c->mode->seg[seg];
    return c->mode->real && (c->mode->vm86 ? kind == (KIND_64K | WRITABLE) : kind & KINDS);
}

/* Who loads a segment register that templates cannot? Helpers do it in protected mode, if they can. */
static uint8_t by_helper(const DbtCursor *c)
{
    return c->mode->protected && !c->mode->vm86 ? T_SEGQ : T_SEGC;
}

bool dec_segment_on_stack(DbtCursor *c, bool push, unsigned seg)
{
    DbtInsn *in = c->in;
    if (c->mode->code == 8 || (push && dec_odd_stack(c))) {
        return dec_other(c);
    }
    in->t       = push ? T_PUSHSEG : dec_odd_stack(c) ? T_SEGC : can_set(c, seg) ? T_POPSEG : by_helper(c);
    in->seg_reg = (uint8_t)seg;
    in->faults  = true;
    return true;
}

bool dec_load_segment(DbtCursor *c, bool pointer, unsigned seg)
{
    DbtInsn *in = c->in;
    if (c->mode->code == 8 || seg == 1 || seg == 2 || seg > 5 || (pointer && *c->p >= 0xc0)) {
        return dec_other(c);
    }
    dec_gen(c, G_RM_R | (pointer ? G_REG_W : 0), 0, 0);
    in->t       = pointer ? T_LSEG : T_SETSEG;
    in->seg_reg = (uint8_t)seg;
    in->rm_size = pointer ? in->opsize + 2 : 2;
    if (!can_set(c, seg)) {
        in->t      = by_helper(c);
        in->faults = true;
    }
    return true;
}

bool dec_far_transfer(DbtCursor *c, unsigned size)
{
    DbtInsn *in     = c->in;
    bool     helper = c->mode->protected && (!c->mode->vm86 || in->op == 0xcd) && in->opsize <= 4;
    if (!helper && (!c->mode->real || in->opsize != 2 || dec_odd_stack(c))) {
        return dec_other(c);
    }
    in->t      = helper ? T_FARQ : T_FAR;
    in->write  = in->op == 0xcf ? FL_ALL : 0;
    in->faults = true;
    if (size == 4 && in->opsize == 4) {
        dec_imm(c, 4);
        in->imm &= UINT32_MAX;
    } else if (size) {
        dec_imm(c, 2);
        in->imm &= 0xffff;
    }
    if (size == 4) {
        in->disp = (int32_t)dec_immediate(c, 2) & 0xffff;
    }
    return true;
}
