/* The template of most integer instructions (T_GEN): each is encoded again with the host's registers. Operands that are
 * in the frame, and AH to BH, go through RAX and RCX; one in memory is checked first (emit_mem.c).
 *
 * Lock of the Dbt held. */

#include "accel/dbt/emit.h"

Enc enc_of(const DbtInsn *in)
{
    return (Enc){
        .prefix   = in->prefix        ? in->prefix
                    : in->opsize == 2 ? 0x66
                                      : 0,
        .lock     = in->lock,
        .w        = in->opsize == 8,
        .map      = in->map,
        .op       = in->op,
        .imm      = in->imm,
        .imm_size = in->imm_size,
    };
}

/* Does writing `size` bytes of a register keep some of it? */
static bool partial(unsigned size)
{
    return size < 4;
}

/* MOVZX and its like have an 8-bit r/m beside a wider register. */
static bool byte_rm(const DbtInsn *in)
{
    return in->rm_size == 1;
}

/* Does a check come, which changes EFLAGS, before somebody looks at this instruction's, or writes them? */
static bool is_check_next(const Tr *t)
{
    for (unsigned i = t->i + 1; i < t->n && !t->s->insns[i].read && t->s->insns[i].write != FL_ALL; i++) {
        if (t->s->insns[i].faults) {
            return true;
        }
    }
    return false;
}

/* A CMP with memory, outside 64-bit mode, where each check changes EFLAGS. */
static bool is_compared(const Tr *t, const DbtInsn *in)
{
    bool forms = in->ext ? in->op >= 0x80 && in->op <= 0x83 && in->reg == 7 : in->op >= 0x38 && in->op <= 0x3b;
    return t->mode.code != 8 && !in->map && !in->lock && forms && (in->ext || !is_high(in->reg)) && is_check_next(t);
}

/* Of SHL, SHR, SAR of a register by a constant, whose flags would have to be saved: the recipe, which wants what is
 * shifted in frame.compared. Else RECIPE_NONE. */
static Recipe recipe_of_shift(const Tr *t, const DbtInsn *in)
{
    bool     shift = !in->map && in->ext && (in->op == 0xc1 || in->op == 0xd1) && in->reg >= 4 && in->reg != 6;
    unsigned count = in->op == 0xd1 ? 1 : (unsigned)in->imm & (in->opsize == 8 ? 63 : 31);
    if (!shift || in->memory || in->opsize < 4 || !count || dbt_host_register[in->rm] == H_NONE ||
        in->write != FL_ALL || !is_check_next(t)) {
        return (Recipe){ 0 };
    }
    return (
        Recipe){ .kind = RECIPE_SHIFT, .size = in->opsize, .reg = in->reg, .rm = DBT_NO_REG, .imm = (int32_t)count };
}

/* CMP with memory that leaves a copy of the operand for its recipe. */
static void gen_compared(Tr *t, const DbtInsn *in)
{
    Asm     *a    = &t->hot;
    MemSpec  m    = operand_spec(t, in, in->rm_size, false);
    Operand  o    = check(t, &m);
    unsigned size = in->opsize, reg = in->ext ? 7u : dbt_host_register[in->reg];
    bool     byte = size == 1, with = !in->ext && in->op & 2;
    uint8_t  value = o.free;

    asm_emit(a, &(Enc){ .w      = size == 8,
                        .map    = size < 4,
                        .op     = byte        ? 0xb6
                                  : size == 2 ? 0xb7
                                              : 0x8b,
                        .reg    = value,
                        .memory = true,
                        .mem    = o.mem });
    asm_store(a, asm_frame(DBT_FRAME(compared)), value);
    asm_emit(a, &(Enc){ .prefix   = size == 2 ? 0x66 : 0,
                        .w        = size == 8,
                        .op       = in->op,
                        .reg      = (uint8_t)reg,
                        .byte_reg = byte && !in->ext,
                        .rm       = value,
                        .byte_rm  = byte,
                        .imm      = in->imm,
                        .imm_size = in->imm_size });
    flags_written(t);
    t->recipe = (Recipe){ .kind = with ? RECIPE_WITH_SLOT : RECIPE_CMP_SLOT,
                          .size = (uint8_t)size,
                          .reg  = with ? in->reg : 0,
                          .rm   = in->ext || with ? DBT_NO_REG : in->reg,
                          .imm  = (int32_t)in->imm,
                          .uses = (uint16_t)(in->ext ? 0u : 1u << in->reg) };
}

static void gen_memory(Tr *t, const DbtInsn *in)
{
    if (is_compared(t, in)) {
        gen_compared(t, in);
        return;
    }
    bool    flags = needs_flags(t, in);
    MemSpec m     = operand_spec(t, in, in->rm_size, in->access & G_RM_W);
    bool    xchg  = in->map == 0 && (in->op == 0x86 || in->op == 0x87);
    m.locked      = in->lock || xchg;
    m.stored      = in->map == 0 && in->op == 0x89 ? (uint8_t)(SITE_GPR + in->reg) : 0;
    m.scratch     = (flags && !in->ext) || (!in->ext && is_high(in->reg));
    if (flags && in->ext) {
        m.scratch = true;
    }
    Operand o = check(t, &m);
    Enc     e = enc_of(in);
    e.memory  = true;
    e.mem     = o.mem;
    if (flags) {
        flags_need(t);
    }
    if (in->ext) {
        e.reg = in->reg;
        asm_emit(&t->hot, &e);
        note_flags(t, in);
        return;
    }
    if (is_high(in->reg)) {
        /* [RCX] with AH and no REX. */
        unsigned guest = in->reg - DBT_HIGH;
        unsigned host  = dbt_host_register[guest];
        asm_mov(&t->hot, H_RAX, host);
        e.reg    = 4;
        e.no_rex = true;
        asm_emit(&t->hot, &e);
        if (in->access & G_REG_W) {
            asm_mov(&t->hot, host, H_RAX);
        }
        note_flags(t, in);
        return;
    }
    unsigned reg = dbt_host_register[in->reg];
    bool     own = reg != H_NONE;
    if (!own) {
        reg = o.free;
        if (in->access & G_REG_R || partial(in->opsize)) {
            asm_load(&t->hot, reg, guest_slot(in->reg));
        }
    }
    e.reg      = (uint8_t)reg;
    e.byte_reg = in->opsize == 1;
    asm_emit(&t->hot, &e);
    if (!own && in->access & G_REG_W) {
        asm_store(&t->hot, guest_slot(in->reg), reg);
    }
    note_flags(t, in);
}

/* R9 to R11 of the guest are in the frame. What reads one of them, or changes all of it, can name it there: less code
 * than by way of a scratch register, and it runs as fast. Not what would leave bytes of it alone: a later load of all
 * of it would wait for two stores. Bit tests and XCHG mean something else with memory. */
static bool gen_in_frame(Tr *t, const DbtInsn *in)
{
    if (in->opsize < 4 || is_high(in->rm) || is_high(in->reg)) {
        return false;
    }
    bool rm_own = dbt_host_register[in->rm] != H_NONE, reg_own = in->ext || dbt_host_register[in->reg] != H_NONE;
    Enc  e = enc_of(in);
    if (rm_own == reg_own) {
        return false;
    }
    e.memory = true;
    if (reg_own) {
        bool bits = in->map == 1 && (in->op & 0xe7) == 0xa3, xchg = in->map == 0 && (in->op & 0xfe) == 0x86,
             xadd = in->map == 1 && (in->op & 0xfe) == 0xc0;
        if (bits || xchg || xadd || (in->access & G_RM_W && in->rm_size != 8)) {
            return false;
        }
        e.mem = guest_slot(in->rm);
        e.reg = in->ext ? in->reg : dbt_host_register[in->reg];
    } else {
        bool alu = in->map == 0 && in->op < 0x40 && (in->op & 7) == 1, mov = in->map == 0 && in->op == 0x89,
             test = in->map == 0 && in->op == 0x85;
        if (!alu && !mov && !test) {
            return false;
        }
        e.op  = (uint8_t)(test ? 0x85 : in->op | 2); /* op reg, r/m in place of op r/m, reg */
        e.mem = guest_slot(in->reg);
        e.reg = dbt_host_register[in->rm];
    }
    asm_emit(&t->hot, &e);
    note_flags(t, in);
    return true;
}

/* Operands in RAX (r/m) and RCX (reg) where they cannot be used in place. */
static void gen_registers(Tr *t, const DbtInsn *in)
{
    Asm *a = &t->hot;
    Enc  e = enc_of(in);

    if (flags_by_inc(t, in)) {
        e.reg     = in->reg;
        e.rm      = dbt_host_register[in->rm];
        e.byte_rm = byte_rm(in);
        asm_emit(a, &e);
        flags_inc(t, in);
        return;
    }
    if (needs_flags(t, in)) {
        flags_need(t);
    }
    if (gen_in_frame(t, in)) {
        return;
    }
    bool     high_rm  = is_high(in->rm);
    bool     high_reg = !in->ext && is_high(in->reg);
    unsigned rm_guest = high_rm ? in->rm - DBT_HIGH : in->rm;
    unsigned rm_host  = dbt_host_register[rm_guest];
    bool     rm_copy  = rm_host == H_NONE || high_rm;
    bool     rm_read  = in->access & G_RM_R || partial(in->rm_size);

    unsigned reg_guest = in->ext ? 0 : high_reg ? in->reg - DBT_HIGH : in->reg;
    unsigned reg_host  = in->ext ? in->reg : dbt_host_register[reg_guest];
    bool     reg_copy  = !in->ext && (reg_host == H_NONE || high_reg);
    bool     reg_read  = in->access & G_REG_R || partial(in->opsize);

    /* AH to BH allow no REX: then both operands must be low registers. */
    if ((high_rm || high_reg) && !in->ext) {
        if (!rm_copy && byte_rm(in)) {
            rm_copy = true;
        }
        if (!reg_copy) {
            reg_copy = true;
        }
    }
    if (rm_copy && rm_read) {
        if (rm_host == H_NONE) {
            asm_load(a, H_RAX, guest_slot(rm_guest));
        } else {
            asm_mov(a, H_RAX, rm_host);
        }
    }
    if (reg_copy && reg_read) {
        if (reg_host == H_NONE) {
            asm_load(a, H_RCX, guest_slot(reg_guest));
        } else {
            asm_mov(a, H_RCX, reg_host);
        }
    }
    e.rm         = (uint8_t)(rm_copy ? (high_rm ? 4u : (unsigned)H_RAX) : rm_host);
    e.reg        = (uint8_t)(in->ext ? in->reg : reg_copy ? (high_reg ? 5u : (unsigned)H_RCX) : reg_host);
    e.no_rex     = high_rm || high_reg;
    e.byte_rm    = byte_rm(in);
    e.byte_reg   = !in->ext && in->opsize == 1;
    Recipe shift = recipe_of_shift(t, in);
    if (shift.kind != RECIPE_NONE) {
        asm_store(a, asm_frame(DBT_FRAME(compared)), rm_host);
    }
    asm_emit(a, &e);
    if (rm_copy && in->access & G_RM_W) {
        if (rm_host == H_NONE) {
            asm_store(a, guest_slot(rm_guest), H_RAX);
        } else {
            asm_mov(a, rm_host, H_RAX);
        }
    }
    if (reg_copy && in->access & G_REG_W) {
        if (reg_host == H_NONE) {
            asm_store(a, guest_slot(reg_guest), H_RCX);
        } else {
            asm_mov(a, reg_host, H_RCX);
        }
    }
    note_flags(t, in);
    if (shift.kind != RECIPE_NONE) {
        t->recipe = shift;
    }
}

void emit_gen(Tr *t, const DbtInsn *in)
{
    if (in->memory) {
        gen_memory(t, in);
    } else {
        gen_registers(t, in);
    }
}
