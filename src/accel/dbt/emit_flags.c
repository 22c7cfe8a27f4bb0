/* Where the guest's flags are: in EFLAGS, in the frame, or to be made again by a recipe (docs/translator.md, Flags).
 *
 * Lock of the Dbt held. */

#include "accel/dbt/emit.h"

/* AH is stored by itself: AX would wait for AH to be merged into it (0.17 ns a save in place of 0.38). The load then
 * takes the bytes apart too, or it would wait for both stores to leave the store buffer. */
static void put_flags_save(Asm *a)
{
    asm_8(a, 0x9f); /* lahf */
    asm_emit(a, &(Enc){ .op = 0x88, .reg = H_AH, .memory = true, .mem = asm_frame(DBT_FRAME(flags) + 1) });
    asm_emit(a, &(Enc){ .map = 1, .op = 0x90, .memory = true, .mem = asm_frame(DBT_FRAME(flags)) }); /* seto */
}

static void put_flags_load(Asm *a)
{
    asm_emit(a, &(Enc){ .op = 0x8a, .reg = H_RAX, .memory = true, .mem = asm_frame(DBT_FRAME(flags)) });
    asm_8(a, 0x04); /* add al, 127 */
    asm_8(a, 127);
    asm_emit(a, &(Enc){ .op = 0x8a, .reg = H_AH, .memory = true, .mem = asm_frame(DBT_FRAME(flags) + 1) });
    asm_8(a, 0x9e); /* sahf */
}

/* EFLAGS by the recipe. RAX is used. */
static void put_recipe(Asm *a, const Recipe *r)
{
    bool     wide = r->size == 8, imm = r->rm == DBT_NO_REG;
    unsigned reg = r->kind == RECIPE_CMP_SLOT || r->kind == RECIPE_SHIFT ? 0u : dbt_host_register[r->reg],
             rm  = imm ? 0u : dbt_host_register[r->rm];
    /* op reg, rm or imm; op RAX, rm or imm */
    Enc  op   = { .prefix   = r->size == 2 ? 0x66 : 0,
                  .w        = wide,
                  .rm       = (uint8_t)reg,
                  .reg      = (uint8_t)rm,
                  .byte_rm  = r->size == 1,
                  .byte_reg = r->size == 1 && !imm,
                  .imm      = r->imm,
                  .imm_size = (uint8_t)(!imm           ? 0
                                        : r->size == 1 ? 1
                                        : r->size == 2 ? 2
                                                       : 4) };
    bool byte = r->size == 1;

    if (r->kind == RECIPE_SHIFT) {
        asm_rm(a, wide, 0x8b, H_RAX, asm_frame(DBT_FRAME(compared)));
        asm_emit(a, &(Enc){ .w = wide, .op = 0xc1, .reg = r->reg, .rm = H_RAX, .imm = r->imm, .imm_size = 1 });
        return;
    }
    if (recipe_has_slot(r)) {
        bool with   = r->kind == RECIPE_WITH_SLOT;
        op.op       = (uint8_t)((with ? 0x3b : imm ? 0x81 : 0x39) - byte);
        op.reg      = (uint8_t)(with ? reg : imm ? 7 : rm);
        op.byte_reg = byte && (with || !imm);
        op.byte_rm  = false;
        op.imm_size = with ? 0 : op.imm_size;
        op.memory   = true;
        op.mem      = asm_frame(DBT_FRAME(compared));
        asm_emit(a, &op);
        return;
    }
    switch ((RecipeKind)r->kind) {
    case RECIPE_TEST:
        op.op = imm ? 0xf7 : 0x85;
        if (imm) {
            op.reg = 0;
        }
        break;
    case RECIPE_CMP:
    case RECIPE_SUB:
        op.op = imm ? 0x81 : 0x39;
        if (imm) {
            op.reg = 7;
        }
        break;
    case RECIPE_ADD:
        op.op = imm ? 0x81 : 0x01;
        if (imm) {
            op.reg = 0;
        }
        break;
    case RECIPE_NEG:
        op.op       = 0xf7;
        op.reg      = 3;
        op.byte_reg = false;
        op.imm_size = 0;
        break;
    case RECIPE_INC:
    case RECIPE_DEC:
        op.op       = 0xff;
        op.reg      = r->kind == RECIPE_DEC;
        op.imm_size = 0;
        break;
    case RECIPE_CMP_SLOT:
    case RECIPE_WITH_SLOT:
    case RECIPE_SHIFT:
    case RECIPE_NONE: return;
    }
    op.op = (uint8_t)(op.op - byte);
    if (r->kind == RECIPE_CMP || r->kind == RECIPE_TEST) {
        asm_emit(a, &op);
        return;
    }
    op.rm      = H_RAX;
    op.byte_rm = false;
    switch ((RecipeKind)r->kind) {
    case RECIPE_SUB:
        asm_lea(a, wide, H_RAX, imm ? asm_at(reg, r->imm) : (HostMem){ .base = (uint8_t)reg, .index = (uint8_t)rm });
        break;
    case RECIPE_ADD:
        if (imm) {
            asm_lea(a, wide, H_RAX, asm_at(reg, (int32_t)(0u - (uint32_t)r->imm)));
        } else {
            asm_rr(a, wide, 0x8b, H_RAX, reg);
            asm_rr(a, wide, 0x29, rm, H_RAX);
        }
        break;
    case RECIPE_NEG:
        asm_rr(a, wide, 0x8b, H_RAX, reg);
        asm_emit(a, &op);
        break;
    default:
        put_flags_load(a);
        asm_lea(a, wide, H_RAX, asm_at(reg, r->kind == RECIPE_DEC ? 1 : -1));
        break;
    }
    asm_emit(a, &op);
}

/* Before host code that changes EFLAGS: afterwards they are in the frame, or can be made again. */
void flags_save(Tr *t)
{
    if (t->fl_reg && !t->fl_mem && t->recipe.kind == RECIPE_NONE) {
        put_flags_save(&t->hot);
        t->fl_mem = true;
    }
    t->fl_reg = false;
}

/* The same where something leaves: the frame has them. */
void flags_sync(Tr *t, Asm *a)
{
    if (t->fl_mem) {
        return;
    }
    if (!t->fl_reg) {
        put_recipe(a, &t->recipe);
    }
    put_flags_save(a);
}

void flags_need(Tr *t)
{
    if (t->fl_reg) {
        return;
    }
    if (!t->fl_mem) {
        put_recipe(&t->hot, &t->recipe);
    } else {
        put_flags_load(&t->hot);
    }
    t->fl_reg = true;
}

void flags_written(Tr *t)
{
    t->fl_reg      = true;
    t->fl_mem      = false;
    t->recipe.kind = RECIPE_NONE;
}

bool needs_flags(const Tr *t, const DbtInsn *in)
{
    return in->read || (in->write && (t->s->live[t->i + 1] & ~in->write));
}

void note_flags(Tr *t, const DbtInsn *in)
{
    if (in->write) {
        flags_written(t);
    }
}

/* Does the frame have CF? */
static bool frame_has_carry(const Tr *t)
{
    return t->fl_mem || t->recipe.kind == RECIPE_INC || t->recipe.kind == RECIPE_DEC;
}

bool flags_by_inc(const Tr *t, const DbtInsn *in)
{
    return in->t == T_GEN && !in->memory && in->ext && !in->map && (in->op | 1) == 0xff && in->reg < 2 &&
           !is_high(in->rm) && dbt_host_register[in->rm] != H_NONE && frame_has_carry(t) &&
           t->s->live[t->i + 1] & FL_CF;
}

void flags_inc(Tr *t, const DbtInsn *in)
{
    t->fl_reg = t->fl_mem = false;
    t->recipe             = (Recipe){ .kind = in->reg ? RECIPE_DEC : RECIPE_INC,
                                      .size = in->opsize,
                                      .reg  = in->rm,
                                      .rm   = DBT_NO_REG,
                                      .uses = (uint16_t)(1u << in->rm) };
    t->part_at            = asm_offset(&t->hot);
}

void flags_need_for(Tr *t, uint8_t read)
{
    if (t->part_at != asm_offset(&t->hot) || read & FL_CF) {
        flags_need(t);
    }
}

/* Are the flags nowhere but in the recipe? */
static bool only_recipe(const Tr *t)
{
    return !t->fl_reg && !t->fl_mem;
}

bool flags_keep(Tr *t, const DbtInsn *in)
{
    if (t->recipe.kind == RECIPE_NONE || !(t->recipe.uses & t->s->writes[t->i]) ||
        (!t->fl_mem && flags_by_inc(t, in))) {
        return false;
    }
    if (in->t != T_LOOP && !(t->s->live[t->i + 1] & ~in->write)) { /* LOOP: they may live on where it goes */
        return true;
    }
    if (only_recipe(t)) {
        flags_sync(t, &t->hot);
        t->fl_mem = true;
    }
    t->recipe.kind = RECIPE_NONE;
    return false;
}

void flags_forget(Tr *t)
{
    if (only_recipe(t)) {
        t->fl_mem = true; /* nobody wants them */
    }
    t->recipe.kind = RECIPE_NONE;
}

void flags_recipe(Tr *t, const DbtInsn *in)
{
    Recipe r = { .size = in->opsize, .reg = in->rm, .rm = in->ext ? DBT_NO_REG : in->reg, .imm = (int32_t)in->imm };

    if (t->recipe.kind == RECIPE_SHIFT && t->fl_reg) { /* it has one */
        return;
    }
    t->recipe.kind = RECIPE_NONE;
    if (in->t != T_GEN || in->memory || in->map || in->lock || is_high(in->rm) || (!in->ext && is_high(in->reg)) ||
        dbt_host_register[in->rm] == H_NONE || (!in->ext && dbt_host_register[in->reg] == H_NONE)) {
        return;
    }
    unsigned kind = 8; /* of the ALU operations */
    if (in->op < 0x40 && (in->op & 7) < 4) {
        kind = in->op >> 3;
        if (in->op & 2) { /* op reg, rm */
            r.reg = in->reg;
            r.rm  = in->rm;
        }
    } else if (in->op >= 0x80 && in->op <= 0x83) {
        kind = in->reg;
    } else if (in->op == 0x84 || in->op == 0x85 || ((in->op == 0xf6 || in->op == 0xf7) && in->reg < 2)) {
        r.kind = RECIPE_TEST;
    } else if ((in->op | 1) == 0xf7 && in->reg == 3) {
        r.kind = RECIPE_NEG;
        r.rm   = r.reg;
    }
    switch (kind) {
    case 0: r.kind = RECIPE_ADD; break;
    case 1:
    case 4:
    case 6: /* OR, AND, XOR: the result's */
        r.kind = RECIPE_TEST;
        r.rm   = r.reg;
        break;
    case 5: r.kind = RECIPE_SUB; break;
    case 7: r.kind = RECIPE_CMP; break;
    default: break;
    }
    bool changes = r.kind == RECIPE_ADD || r.kind == RECIPE_SUB || r.kind == RECIPE_NEG;
    if (r.kind == RECIPE_NONE || (changes && r.kind != RECIPE_NEG && r.reg == r.rm) ||
        (r.kind == RECIPE_ADD && r.imm == INT32_MIN)) {
        return;
    }
    r.uses    = (uint16_t)(1u << r.reg | (r.rm == DBT_NO_REG ? 0u : 1u << r.rm));
    t->recipe = r;
}
