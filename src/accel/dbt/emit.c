/* Templates of integer instructions, and which one an instruction has.
 *
 * Nothing of the guest's state changes before the last check that may leave: whatever leaves runs the instruction again
 * from its start. Lock of the Dbt held. */

#include "accel/dbt/emit.h"

static void emit_movi(Tr *t, const DbtInsn *in)
{
    Asm     *a     = &t->hot;
    bool     high  = is_high(in->rm);
    unsigned guest = high ? in->rm - DBT_HIGH : in->rm;
    unsigned host  = dbt_host_register[guest];

    if (high) {
        asm_mov(a, H_RAX, host);
        asm_8(a, 0xb4); /* mov ah, imm8 */
        asm_8(a, (uint8_t)in->imm);
        asm_mov(a, host, H_RAX);
    } else if (in->opsize >= 4) {
        uint64_t imm = in->opsize == 4 ? (uint32_t)in->imm : (uint64_t)in->imm;
        if (host != H_NONE) {
            asm_mov_imm(a, host, imm);
        } else if ((int64_t)imm == (int32_t)imm) {
            asm_emit(a, &(Enc){ .w        = true,
                                .op       = 0xc7,
                                .memory   = true,
                                .mem      = guest_slot(guest),
                                .imm      = (int64_t)imm,
                                .imm_size = 4 });
        } else {
            asm_mov_imm(a, H_RAX, imm);
            asm_store(a, guest_slot(guest), H_RAX);
        }
    } else {
        Enc e = { .prefix   = in->opsize == 2 ? 0x66 : 0,
                  .op       = in->opsize == 2 ? 0xc7 : 0xc6,
                  .rm       = (uint8_t)host,
                  .byte_rm  = in->opsize == 1,
                  .imm      = in->imm,
                  .imm_size = in->opsize };
        if (host == H_NONE) {
            e.memory = true;
            e.mem    = guest_slot(guest);
        }
        asm_emit(a, &e);
    }
}

static void emit_lea(Tr *t, const DbtInsn *in)
{
    Asm     *a    = &t->hot;
    unsigned own  = dbt_host_register[in->reg];
    unsigned to   = own == H_NONE ? (unsigned)H_RAX : own;
    bool     wide = in->opsize == 8 && in->addrsize == 8;
    MemSpec  m    = operand_spec(t, in, 1, false);

    if (in->opsize == 2 || in->addrsize == 2) {
        emit_lea16(t, in);
        return;
    }
    if (m.constant) {
        if (wide && m.rip_based) {
            put_linear(t, false, to, m.linear);
        } else {
            t->movable &= !m.rip_based;
            asm_mov_imm(a, to, wide ? m.linear : (uint32_t)m.linear);
        }
    } else {
        HostMem ea = { .base = H_NONE, .index = H_NONE, .scale = m.scale, .disp = m.disp };
        if (m.base != DBT_NO_REG) {
            ea.base = (uint8_t)read_guest(t, m.base, H_RAX);
        }
        if (m.index != DBT_NO_REG) {
            ea.index = (uint8_t)read_guest(t, m.index, H_RCX);
        }
        asm_lea(a, wide, to, ea);
    }
    if (own == H_NONE) {
        asm_store(a, guest_slot(in->reg), H_RAX);
    }
}

static void emit_shcl(Tr *t, const DbtInsn *in)
{
    Asm *a    = &t->hot;
    Enc  e    = enc_of(in);
    bool live = t->s->live[t->i + 1] || in->reg == 2 || in->reg == 3;

    e.reg = in->reg;
    if (in->memory) {
        MemSpec m = operand_spec(t, in, in->rm_size, true);
        m.scratch = true;
        check(t, &m);
        if (live) {
            flags_need(t);
        }
        asm_mov(a, H_RAX, H_RCX);
        asm_mov32(a, H_RCX, H_R10);
        e.memory = true;
        e.mem    = asm_at(H_RAX, 0);
        asm_emit(a, &e);
        flags_written(t);
        return;
    }
    if (live) {
        flags_need(t);
    }
    bool     high  = is_high(in->rm);
    unsigned guest = high ? in->rm - DBT_HIGH : in->rm;
    unsigned host  = high ? H_RAX : read_guest(t, guest, H_RAX);
    if (high) {
        asm_mov(a, H_RAX, dbt_host_register[guest]);
    }
    asm_mov32(a, H_RCX, H_R10);
    e.rm      = (uint8_t)(high ? 4 : host);
    e.no_rex  = high;
    e.byte_rm = in->opsize == 1;
    asm_emit(a, &e);
    if (host == H_RAX) {
        write_guest(t, guest, H_RAX);
    }
    flags_written(t);
}

/* The source in the frame borrows RDX, or RBX where RDX is what is shifted. */
static void emit_shdcl(Tr *t, const DbtInsn *in)
{
    Asm     *a      = &t->hot;
    Enc      e      = enc_of(in);
    unsigned source = dbt_host_register[in->reg];
    bool     borrow = source == H_NONE;
    unsigned lent   = !in->memory && in->rm == X86_RDX ? H_RBX : H_RDX;

    if (in->memory) {
        MemSpec m = operand_spec(t, in, in->rm_size, true);
        m.scratch = true;
        check(t, &m);
    }
    if (t->s->live[t->i + 1]) {
        flags_need(t);
    }
    if (in->memory) {
        asm_mov(a, H_RAX, H_RCX);
        e.memory = true;
        e.mem    = asm_at(H_RAX, 0);
    } else {
        e.rm = (uint8_t)read_guest(t, in->rm, H_RAX);
    }
    if (borrow) {
        asm_store(a, asm_frame(DBT_FRAME(keep[0])), lent);
        asm_load(a, lent, guest_slot(in->reg));
        source = lent;
    }
    asm_mov32(a, H_RCX, H_R10);
    e.reg = (uint8_t)source;
    asm_emit(a, &e);
    if (borrow) {
        asm_load(a, lent, asm_frame(DBT_FRAME(keep[0])));
    }
    if (!in->memory) {
        write_guest(t, in->rm, e.rm);
    }
    flags_written(t);
}

static void emit_muldiv(Tr *t, const DbtInsn *in)
{
    Asm *a = &t->hot;
    Enc  e = enc_of(in);

    if (in->memory) {
        MemSpec m  = operand_spec(t, in, in->rm_size, false);
        Operand o  = check(t, &m);
        Enc     mv = { .w = in->opsize == 8, .op = 0x8b, .reg = H_RCX, .memory = true, .mem = o.mem };
        if (in->opsize <= 2) {
            mv.map = 1;
            mv.op  = in->opsize == 1 ? 0xb6 : 0xb7;
        }
        asm_emit(a, &mv);
    } else if (is_high(in->rm)) {
        asm_mov(a, H_RAX, dbt_host_register[in->rm - DBT_HIGH]);
        asm_emit(a, &(Enc){ .map = 1, .op = 0xb6, .reg = H_RCX, .rm = 4, .no_rex = true });
    } else {
        unsigned host = read_guest(t, in->rm, H_RCX);
        if (host != H_RCX) {
            asm_mov(a, H_RCX, host);
        }
    }
    if (in->reg >= 6) { /* #DE leaves them as they are; most processors always do */
        flags_save(t);
    }
    if (in->write && needs_flags(t, in)) {
        flags_need(t);
    }
    asm_mov(a, H_RAX, H_R9);
    e.reg     = in->reg;
    e.rm      = H_RCX;
    e.byte_rm = in->opsize == 1;
    if (in->reg >= 6) {
        place(t);
    }
    asm_emit(a, &e);
    asm_mov(a, H_R9, H_RAX);
    note_flags(t, in);
}

static void emit_xchg(Tr *t, const DbtInsn *in)
{
    if (in->opsize < 4) {
        DbtInsn copy = *in;
        copy.op      = in->opsize == 1 ? 0x86 : 0x87;
        copy.access  = G_RM_R | G_RM_W | G_REG_R | G_REG_W;
        if (is_high(in->reg) || is_high(in->rm)) {
            unsigned a = is_high(in->reg) ? in->reg - DBT_HIGH : in->reg,
                     b = is_high(in->rm) ? in->rm - DBT_HIGH : in->rm;
            if (a == b) { /* two parts of one register: xchg ah, al in RAX */
                unsigned host = dbt_host_register[a];
                asm_mov(&t->hot, H_RAX, host);
                if (in->reg != in->rm) {
                    asm_emit(&t->hot, &(Enc){ .op = 0x86, .reg = 4, .rm = 0, .no_rex = true });
                }
                asm_mov(&t->hot, host, H_RAX);
                return;
            }
        }
        emit_gen(t, &copy);
        return;
    }
    bool     wide = in->opsize == 8;
    unsigned x    = read_guest(t, in->reg, H_RAX);
    unsigned y    = read_guest(t, in->rm, H_RCX);
    asm_rr(&t->hot, wide, 0x8b, H_RAX, x);
    asm_rr(&t->hot, wide, 0x8b, H_RCX, y);
    write_guest(t, in->reg, H_RCX);
    write_guest(t, in->rm, H_RAX);
}

/* RAX, the address and the source: a source in the frame borrows RDX. */
static void emit_cmpxchg(Tr *t, const DbtInsn *in)
{
    Asm *a = &t->hot;
    Enc  e = enc_of(in);

    if (in->memory) {
        MemSpec m = operand_spec(t, in, in->rm_size, true);
        m.scratch = true;
        m.locked  = in->lock;
        Operand o = check(t, &m);
        e.memory  = true;
        e.mem     = o.mem;
    } else {
        unsigned host = read_guest(t, in->rm, H_RCX);
        if (in->rm == 0) {
            asm_mov(a, H_RCX, host);
            host = H_RCX;
        }
        e.rm      = (uint8_t)host;
        e.byte_rm = in->opsize == 1;
    }
    unsigned source = dbt_host_register[in->reg];
    bool     borrow = source == H_NONE;
    if (borrow) {
        asm_store(a, asm_frame(DBT_FRAME(keep[0])), H_RDX);
        asm_load(a, H_RDX, guest_slot(in->reg));
        source = H_RDX;
    }
    asm_mov(a, H_RAX, H_R9);
    e.reg      = (uint8_t)source;
    e.byte_reg = in->opsize == 1;
    asm_emit(a, &e);
    if (borrow) {
        asm_load(a, H_RDX, asm_frame(DBT_FRAME(keep[0])));
    }
    asm_mov(a, H_R9, H_RAX);
    if (!in->memory) {
        write_guest(t, in->rm, e.rm);
    }
    flags_written(t);
}

/* Can this form be made, or is it C's? Called before anything is emitted. */
bool emit_can(const DbtInsn *in)
{
    if (in->t == T_CMPXCHG) {
        if (is_high(in->reg) || is_high(in->rm)) {
            return false;
        }
        /* Both register operands, with RAX among them or RDX borrowed. */
        return in->memory || (dbt_host_register[in->reg] != H_NONE && in->rm != 0 && in->rm != in->reg);
    }
    if (in->t == T_BITMEM && in->addrsize == 4 && in->seg > 3) {
        return false; /* the sum is cut before the base */
    }
    if (in->t == T_GEN && in->memory) {
        bool flags = in->read != 0;
        if (!in->ext && is_high(in->reg) && (flags || in->rm_size != 1 || in->lock || in->op == 0x86)) {
            return false;
        }
    }
    if (in->t == T_GEN && !in->memory) {
        bool high = is_high(in->rm) || (!in->ext && is_high(in->reg));
        if (high && (in->opsize == 8 || (in->map == 2))) {
            return false; /* no REX.W beside AH */
        }
    }
    return true;
}

/* The bit's own place: the operand is what holds it, at [ea + (offset >> log2(bits)) * bytes]. The host instruction
 * finds it there by itself from the address before that, with the offset as it is. */
static void emit_bitmem(Tr *t, const DbtInsn *in)
{
    static const uint8_t shifts[9] = { [2] = 4, [4] = 5, [8] = 6 };
    Asm                 *a         = &t->hot;
    MemSpec              m         = operand_spec(t, in, in->opsize, in->access & G_RM_W);
    bool                 flags     = needs_flags(t, in);
    unsigned             size      = in->opsize;

    /* keep[0] = bytes from ea to the operand */
    flags_save(t);
    unsigned reg = read_guest(t, in->reg, H_RCX);
    if (size == 8) {
        asm_rr(a, true, 0x8b, H_RCX, reg);
    } else if (size == 4) {
        asm_rr(a, true, 0x63, H_RCX, reg);
    } else {
        asm_emit(a, &(Enc){ .w = true, .map = 1, .op = 0xbf, .reg = H_RCX, .rm = (uint8_t)reg });
    }
    asm_emit(a, &(Enc){ .w = true, .op = 0xc1, .reg = 7, .rm = H_RCX, .imm = shifts[size], .imm_size = 1 });
    asm_emit(a, &(Enc){ .w        = true,
                        .op       = 0xc1,
                        .reg      = 4,
                        .rm       = H_RCX,
                        .imm      = size == 8   ? 3
                                    : size == 4 ? 2
                                                : 1,
                        .imm_size = 1 });
    asm_store(a, asm_frame(DBT_FRAME(keep[0])), H_RCX);
    m.bit_offset = true;
    m.locked     = in->lock;
    check(t, &m); /* RAX = host address */
    asm_rm(a, true, 0x2b, H_RAX, asm_frame(DBT_FRAME(keep[0])));
    asm_mov(a, H_RCX, H_RAX);
    if (flags) {
        flags_need(t);
    }
    Enc e    = enc_of(in);
    e.memory = true;
    e.mem    = asm_at(H_RCX, 0);
    e.reg    = (uint8_t)read_guest(t, in->reg, H_RAX);
    asm_emit(a, &e);
    flags_written(t);
}

static void emit_bswap(Tr *t, const DbtInsn *in)
{
    unsigned host = read_guest(t, in->rm, H_RAX);
    unsigned rex  = (in->opsize == 8 ? 8u : 0) | host >> 3;
    if (rex) {
        asm_8(&t->hot, 0x40 | rex);
    }
    asm_8(&t->hot, 0x0f);
    asm_8(&t->hot, 0xc8 | (host & 7));
    if (host == H_RAX) {
        write_guest(t, in->rm, H_RAX);
    }
}

static void emit_extend(Tr *t, const DbtInsn *in)
{
    Enc e = { .w = in->opsize == 8, .reg = H_R9, .rm = H_R9 };
    if (in->opsize == 2) {
        e.prefix  = 0x66;
        e.map     = 1;
        e.op      = 0xbe;
        e.byte_rm = true;
    } else if (in->opsize == 4) {
        e.map = 1;
        e.op  = 0xbf;
    } else {
        e.op = 0x63;
    }
    asm_emit(&t->hot, &e);
}

static void emit_spread(Tr *t, const DbtInsn *in)
{
    asm_mov(&t->hot, H_RAX, H_R9);
    if (in->opsize != 4) {
        asm_8(&t->hot, in->opsize == 2 ? 0x66 : 0x48);
    }
    asm_8(&t->hot, 0x99); /* RDX is the guest's own */
}

static void emit_bmi(Tr *t, const DbtInsn *in)
{
    Asm *a = &t->hot;
    Enc  e = { .vex = true, .prefix = in->prefix, .map = in->map, .op = in->op, .w = in->w };
    if (in->memory) {
        MemSpec m = operand_spec(t, in, in->opsize, false);
        Operand o = check(t, &m);
        asm_rm(a, in->w, 0x8b, H_RCX, o.mem);
        e.rm = H_RCX;
    } else {
        e.rm = (uint8_t)read_guest(t, in->rm, H_RCX);
    }
    if (in->vvvv != DBT_NO_REG) {
        e.vvvv = (uint8_t)read_guest(t, in->vvvv, H_RAX);
    }
    unsigned own = dbt_host_register[in->reg];
    e.reg        = (uint8_t)(own == H_NONE ? (unsigned)H_RAX : own);
    e.imm        = in->imm;
    e.imm_size   = in->imm_size;
    asm_emit(a, &e);
    if (own == H_NONE) {
        asm_store(a, guest_slot(in->reg), H_RAX);
    }
    note_flags(t, in);
}

/* Members of a group leave RSP to the last of a row (rsp_stays()), since nothing can leave the unit between them. */
static void rsp_add(Tr *t, int by)
{
    if (t->s->stack_group[t->i]) {
        t->rsp_due += by;
    } else {
        sp_add(t, by);
    }
}

void rsp_settle(Tr *t)
{
    if (t->rsp_due) {
        sp_add(t, t->rsp_due);
        t->rsp_due = 0;
    }
}

/* May RSP wait while that instruction runs? It must neither use RSP, but as a member does, nor leave the unit. */
static bool rsp_stays(const Tr *t, const DbtInsn *in)
{
    unsigned group = t->s->stack_group[t->i];
    switch (in->t) {
    case T_PUSH:
    case T_POP: return group && t->s->groups[group - 1].checked && in->rm != X86_RSP;
    case T_PUSHI:
    case T_CALL: return group && t->s->groups[group - 1].checked;
    case T_RET: return group && t->s->groups[group - 1].checked && !needs_target_check(t, in);
    case T_GEN: return !in->memory && in->rm % DBT_HIGH != X86_RSP && (in->ext || in->reg % DBT_HIGH != X86_RSP);
    case T_MOVI: return in->rm % DBT_HIGH != X86_RSP;
    case T_LEA: return in->reg != X86_RSP && in->base != X86_RSP && in->index != X86_RSP;
    case T_NOP: return true;
    default: return false;
    }
}

static void emit_push(Tr *t, const DbtInsn *in)
{
    unsigned size = in->opsize;
    MemSpec  m    = stack_spec(t, in);
    if (in->t == T_PUSHM) {
        if (in->op == 0x9c) {
            emit_rflags(t);
        } else if (in->memory) {
            MemSpec s = operand_spec(t, in, size, false);
            Operand o = check(t, &s);
            put_load(&t->hot, size, H_RAX, o.mem);
        } else {
            asm_mov(&t->hot, H_RAX, read_guest(t, in->rm, H_RAX));
        }
        asm_store(&t->hot, asm_frame(DBT_FRAME(keep[2])), H_RAX);
    }
    Operand o = check(t, &m);
    if (in->t == T_PUSHI) {
        asm_emit(&t->hot, &(Enc){ .prefix   = size == 2 ? 0x66 : 0,
                                  .w        = size == 8,
                                  .op       = 0xc7,
                                  .memory   = true,
                                  .mem      = o.mem,
                                  .imm      = in->imm,
                                  .imm_size = size == 2 ? 2 : 4 });
    } else {
        unsigned reg = o.free;
        if (in->t == T_PUSHM) {
            asm_load(&t->hot, reg, asm_frame(DBT_FRAME(keep[2])));
        } else {
            reg = read_guest(t, in->rm, o.free);
        }
        put_sized(&t->hot, size, 0x89, reg, o.mem);
    }
    rsp_add(t, -(int)size);
}

static void emit_pop(Tr *t, const DbtInsn *in)
{
    unsigned size = in->opsize;
    MemSpec  m    = stack_spec(t, in);
    Operand  o    = check(t, &m);
    unsigned own  = dbt_host_register[in->rm];
    if (own == H_NONE || in->rm == X86_RSP) {
        put_load(&t->hot, size, o.free, o.mem);
        rsp_add(t, (int)size);
        if (in->rm == X86_RSP) {
            t->rsp_due = 0;
        }
        if (size == 2) {
            asm_emit(&t->hot, &(Enc){ .prefix = 0x66, .op = 0x8b, .reg = (uint8_t)own, .rm = o.free });
        } else {
            write_guest(t, in->rm, o.free);
        }
    } else {
        put_sized(&t->hot, size, 0x8b, own, o.mem);
        rsp_add(t, (int)size);
    }
}

static void emit_leave(Tr *t, const DbtInsn *in)
{
    unsigned size = in->opsize;
    MemSpec  m    = stack_spec(t, in);
    Operand  o    = check(t, &m);
    put_load(&t->hot, size, o.free, o.mem);
    put_sized(&t->hot, t->mode.stack, 0x8d, H_R11, asm_at(H_RBP, (int)size)); /* lea */
    if (size == 2) {
        asm_emit(&t->hot, &(Enc){ .prefix = 0x66, .op = 0x8b, .reg = H_RBP, .rm = o.free });
    } else {
        asm_mov(&t->hot, H_RBP, o.free);
    }
}

/* RDX:RAX against memory, RCX:RBX into it: the address is in RCX until it is in RSI, which is the guest's. */
static void emit_cmpxchg16(Tr *t, const DbtInsn *in)
{
    Asm    *a = &t->hot;
    MemSpec m = operand_spec(t, in, 16, true);
    m.scratch = true;
    m.locked  = true; /* misaligned: #GP, in any case */
    check(t, &m);
    if (t->s->live[t->i + 1] & ~FL_ZF) {
        flags_need(t);
    }
    asm_store(a, asm_frame(DBT_FRAME(keep[0])), H_RSI);
    asm_mov(a, H_RSI, H_RCX);
    asm_mov(a, H_RCX, H_R10);
    asm_mov(a, H_RAX, H_R9);
    asm_emit(
        a,
        &(Enc){ .lock = in->lock, .w = true, .map = 1, .op = 0xc7, .reg = 1, .memory = true, .mem = asm_at(H_RSI, 0) });
    asm_mov(a, H_R9, H_RAX);
    asm_load(a, H_RSI, asm_frame(DBT_FRAME(keep[0])));
    flags_written(t);
}

static void emit_one(Tr *t, const DbtInsn *in)
{
    switch (in->t) {
    case T_GEN: emit_gen(t, in); break;
    case T_MOVI: emit_movi(t, in); break;
    case T_LEA: emit_lea(t, in); break;
    case T_PUSH:
    case T_PUSHI:
    case T_PUSHM: emit_push(t, in); break;
    case T_POP: emit_pop(t, in); break;
    case T_LEAVE: emit_leave(t, in); break;
    case T_SHCL: emit_shcl(t, in); break;
    case T_SHDCL: emit_shdcl(t, in); break;
    case T_MULDIV: emit_muldiv(t, in); break;
    case T_XCHG: emit_xchg(t, in); break;
    case T_CMPXCHG: emit_cmpxchg(t, in); break;
    case T_BITMEM: emit_bitmem(t, in); break;
    case T_BSWAP: emit_bswap(t, in); break;
    case T_EXTEND: emit_extend(t, in); break;
    case T_SPREAD: emit_spread(t, in); break;
    case T_FLAG:
        if (needs_flags(t, in)) {
            flags_need(t);
        }
        asm_8(&t->hot, in->op);
        flags_written(t);
        break;
    case T_FENCE:
        asm_8(&t->hot, 0x0f);
        asm_8(&t->hot, 0xae);
        asm_8(&t->hot, 0xc0u | (unsigned)in->reg << 3);
        break;
    case T_LOOP: emit_loop(t, in); break;
    case T_PUSHSEG:
    case T_STSEG:
    case T_SETSEG:
    case T_POPSEG:
    case T_LSEG: emit_segment(t, in); break;
    case T_FAR: emit_far(t, in); break;
    case T_SEGQ:
    case T_FARQ: emit_quick(t, in); break;
    case T_STRING: emit_string(t, in); break;
    case T_REP: emit_rep(t, in); break;
    case T_CLI:
    case T_STI:
    case T_SWAPGS:
    case T_STAC:
    case T_CLAC:
    case T_BASE:
    case T_RDSEG:
    case T_RDTSC: emit_system(t, in); break;
    case T_SYSCALL:
    case T_SYSRET: emit_c_by(t, in->t == T_SYSCALL ? STUB_SYSCALL : STUB_SYSRET); break;
    case T_CMPXCHG16: emit_cmpxchg16(t, in); break;
    case T_BMI: emit_bmi(t, in); break;
    case T_NOP: break;
    case T_VECTOR: emit_vector(t, in); break;
    case T_SEGC:
    case T_C: emit_c(t); break;
    default: emit_flow(t, in); break;
    }
}

/* Templates that use RCX only for what a check leaves there. */
bool leaves_rcx(const Tr *t, const DbtInsn *in)
{
    bool reg = in->ext || (!is_high(in->reg) && dbt_host_register[in->reg] != H_NONE);
    switch (in->t) {
    case T_PUSH: return true;
    case T_POP: return dbt_host_register[in->rm] != H_NONE && in->rm != X86_RSP;
    case T_PUSHI:
    case T_CALL: /* and RET, before it jumps */
    case T_RET:
    case T_NOP: return true;
    case T_LEA:
    case T_MOVI:
    case T_EXTEND:
    case T_SPREAD:
    case T_FLAG:
    case T_LEAVE:
    case T_JCC: return t->mode.code != 8; /* where no guest register is in the frame */
    case T_GEN: return reg && (in->memory || (!is_high(in->rm) && dbt_host_register[in->rm] != H_NONE));
    default: return false;
    }
}

/* C has run a CMP whose operand it does not leave in the frame: on behind it in another unit. */
static void leave_after_c(Tr *t, const DbtInsn *in)
{
    if (!t->n_tails || t->cold.full) {
        return;
    }
    uint32_t to = emit_group_exit(t, insn_rip(t, t->i) + in->len, GROUPS_WIDE);
    for (unsigned i = 0; i < t->n_tails && !t->cold.full; i++) {
        int32_t rel = (int32_t)(to - t->s->tails[i]);
        memcpy(t->cold.start + t->s->tails[i] - 4, &rel, 4);
    }
}

void emit_insn(Tr *t, const DbtInsn *in)
{
    t->n_tails    = 0;
    t->first_look = t->n_looks;
    if (t->rcx_entry && !leaves_rcx(t, in)) {
        t->rcx_entry = 0;
    }
    if (t->rsp_due && !rsp_stays(t, in)) {
        rsp_settle(t);
    }
    bool spoils = flags_keep(t, in);
    emit_one(t, in);
    bool slot = in->t == T_GEN && in->memory && recipe_has_slot(&t->recipe) && t->fl_reg;
    if (slot) {
        /* its recipe is there */
    } else if (in->write == FL_ALL) {
        flags_recipe(t, in);
    } else if (spoils) {
        flags_forget(t);
    }

    bool transfer = in->t == T_FAR || in->t == T_FARQ || in->t == T_CALL || in->t == T_CALLI || in->t == T_RET ||
                    in->t == T_JMP || in->t == T_JMPI;
    bool by_c = t->n_tails;
    for (unsigned i = t->first_look; i < t->n_looks; i++) {
        DbtLook *look  = &t->s->looks[i];
        bool     alone = look->groups == GROUPS_WIDE;
        look->resumes  = alone && !transfer && !t->fl_reg; /* flags are in the frame then, as for tails */
        by_c |= alone;
    }
    if (t->rcx_entry && (by_c || !leaves_rcx(t, in))) {
        t->rcx_entry = 0; /* C does not leave it there */
    }
    if (slot) {
        leave_after_c(t, in);
        return;
    }
    /* Where slow paths go on that have run the instruction in C: flags are in the frame then. */
    for (unsigned i = 0; i < t->n_tails; i++) {
        int32_t rel = (int32_t)(asm_offset(&t->cold) - t->s->tails[i]);
        if (t->cold.full) {
            return;
        }
        memcpy(t->cold.start + t->s->tails[i] - 4, &rel, 4);
    }
    if (t->n_tails && transfer) {
        asm_8(&t->cold, 0x0f); /* ud2: C does not come back from these */
        asm_8(&t->cold, 0x0b);
    } else if (t->n_tails) {
        bool only_reg = t->fl_reg; /* a recipe holds whatever C has done: what it uses has its new value */
        if (only_reg) {
            Asm hot   = t->hot;
            t->hot    = t->cold;
            bool mem  = t->fl_mem;
            t->fl_reg = false;
            t->fl_mem = true;
            flags_need(t);
            t->fl_mem = mem;
            t->cold   = t->hot;
            t->hot    = hot;
        }
        asm_jmp(&t->cold, 0);
        reloc(t, true, RELOC_HOT, asm_offset(&t->hot));
    }
}
