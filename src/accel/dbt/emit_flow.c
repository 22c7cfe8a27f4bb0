/* Templates of control flow: branches, calls and returns, the ways out of a unit, and instructions run in C.
 *
 * A direct branch inside the page is one host branch once it is linked. Those to other pages jump through cells; all
 * others look into the jump cache. Loops poll: what branches backwards, calls too, looks at whether the jump
 * caches' masks are there: a kick takes them away. */

#include "accel/dbt/emit.h"

static uint64_t cut_rip(const Tr *t, uint64_t rip)
{
    return t->mode.code == 8 ? rip : (uint32_t)rip;
}

/* Pads so that a displacement that starts `before` bytes from here lies in one cache line, wherever the unit begins: it
 * is patched while others may run it. */
static void align_site(Asm *a, unsigned before)
{
    unsigned at = (asm_offset(a) + before) % DBT_ALIGN;
    if (at > DBT_ALIGN - 4) {
        asm_nops(a, DBT_ALIGN - at);
    }
}

/* A call of a stub that finds behind it whose it is, and which of the unit's instructions or exits. */
static void put_unit_call(Tr *t, bool in_cold, DbtStub stub, unsigned number)
{
    Asm *a = in_cold ? &t->cold : &t->hot;
    asm_call(a, 0);
    reloc(t, in_cold, RELOC_STUB, stub);
    asm_mov_imm64(a, H_RCX, 0);
    reloc(t, in_cold, RELOC_UNIT, (uint64_t)number << 56);
}

static DraftExit *new_exit(Tr *t, uint64_t rip)
{
    if (t->n_exits == G_N_ELEMENTS(t->s->exits)) {
        t->failed = true;
        return &t->s->exits[0];
    }
    t->s->exits[t->n_exits] = (DraftExit){ .rip = rip };
    return &t->s->exits[t->n_exits++];
}

/* In the cold part: asks for the unit, once. */
static void put_link(Tr *t, DraftExit *e)
{
    asm_nops(&t->cold, (8 - (asm_offset(&t->cold) & 7)) & 7);
    e->cold = e->way = asm_offset(&t->cold);
    asm_call(&t->cold, 0);
    reloc(t, true, RELOC_STUB, STUB_LINK);
}

uint32_t emit_group_exit(Tr *t, uint64_t rip, DbtGroups to)
{
    DraftExit *e = new_exit(t, rip);
    e->groups    = (uint8_t)to;
    put_link(t, e);
    return e->cold;
}

/* Leaves to C, at `rip`, when the vCPU is kicked. RCX changes; EFLAGS do not, so that flags that only C wants, or that
 * the branch behind it looks at, need not be saved for it. */
static void put_poll(Tr *t, uint64_t rip)
{
    Asm *a = &t->hot;
    asm_rm(a, false, 0x8b, H_RCX, asm_frame(DBT_FRAME(kernel_mask)));
    put_cold_rcxz(t);
    if (!t->fl_mem) {
        flags_sync(t, &t->cold);
    }
    put_linear(t, true, H_RAX, rip);
    asm_jmp(&t->cold, 0);
    reloc(t, true, RELOC_STUB, STUB_KICK);
}

/* RAX is where to go on: as the jump cache has it. */
static void put_tag(const Tr *t, Asm *a)
{
    if (t->mode.code != 8) {
        asm_rm(a, true, 0x0b, H_RAX, asm_frame(DBT_FRAME(cs_tag)));
    }
}

/* To another page: by a cell, or by the jump cache. Flags are in the frame. */
static void put_far_exit(Tr *t, uint64_t rip)
{
    Asm    *a    = &t->hot;
    int32_t slot = dbt_jump_offset(t->f->mode, rip);
    if (t->mode.code == 8 && t->cells) {
        unsigned   n = t->n_exits;
        DraftExit *e = new_exit(t, rip);
        asm_emit(a, &(Enc){ .op = 0xff, .reg = 4, .memory = true, .mem = asm_frame(dbt_cell_offset(0)) });
        e->site = asm_offset(a) - 4;
        e->far  = true;
        e->cold = e->way = asm_offset(&t->cold);
        put_unit_call(t, true, STUB_FAR, n);
        return;
    }
    put_linear(t, false, H_RAX, rip);
    put_tag(t, a);
    if (!dbt_jump_slot(t->f->mode, rip)) { /* the slot that is never filled */
        asm_jmp(a, 0);
        reloc(t, false, RELOC_STUB, STUB_JUMP_MISS + t->f->mode);
        return;
    }
    asm_rm(a, true, 0x3b, H_RAX, asm_frame(slot));
    reloc(t, false, RELOC_JUMP, rip);
    asm_jcc(a, CC_NZ, 0);
    reloc(t, false, RELOC_STUB, STUB_JUMP_MISS + t->f->mode);
    asm_emit(a, &(Enc){ .op = 0xff, .reg = 4, .memory = true, .mem = asm_frame(slot + 8) });
    reloc(t, false, RELOC_JUMP_CODE, rip);
}

/* JMP (cc: -1) or Jcc to code in this page, once it is linked. With a recipe it leads to a variant that finds the flags
 * by it, or by a way that puts them into the frame. */
static void put_near_branch(Tr *t, uint64_t rip, int cc, bool by_recipe)
{
    Asm       *a = &t->hot;
    DraftExit *e = new_exit(t, rip);
    align_site(a, cc < 0 ? 1 : 2);
    if (cc < 0) {
        asm_jmp(a, 0);
    } else {
        asm_jcc(a, (unsigned)cc, 0);
    }
    e->site      = asm_offset(a) - 4;
    e->direct    = true;
    uint32_t way = asm_offset(&t->cold);
    if (by_recipe) {
        e->entry = t->recipe;
        flags_sync(t, &t->cold);
    }
    put_link(t, e);
    e->way = by_recipe ? way : e->cold;
    reloc(t, false, RELOC_COLD, e->way);
}

/* With the state of flags put back as it was: what the way out does concerns it alone. */
void emit_exit(Tr *t, uint64_t rip, int cc, uint8_t live)
{
    Asm *a      = &t->hot;
    rip         = cut_rip(t, rip);
    bool fl_reg = t->fl_reg, fl_mem = t->fl_mem;
    bool near = page_offset(t, rip) >= 0;
    bool back = rip <= insn_rip(t, t->i);
    bool save = !fl_mem && (live || !near);
    /* Who comes next finds the flags by the recipe: a variant of its own. */
    bool     by_recipe = near && save && t->recipe.kind != RECIPE_NONE && t->f->groups == GROUPS_WIDE && !t->f->host2;
    bool     straight  = near && (!save || by_recipe); /* nothing to do on the way */
    uint32_t skip      = 0;

    if (straight && !back) {
        put_near_branch(t, rip, cc, by_recipe);
        goto done;
    }
    /* What is kicked here is still at the branch. Where RCX keeps something across it, the poll is on the way only. */
    if (straight && t->s->insns[t->i].t == T_JCC && !leaves_rcx(t, &t->s->insns[t->i])) {
        put_poll(t, insn_rip(t, t->i));
        put_near_branch(t, rip, cc, by_recipe);
        put_rcxz_way(t, cc >= 0);
        goto done;
    }
    if (cc >= 0 && !back) {
        /* Forwards: rarely enough taken to be elsewhere, but close by: what is taken does not wait for another line. */
        asm_jcc(a, (unsigned)cc, 0);
        if (t->n_later == G_N_ELEMENTS(t->s->later)) {
            t->failed = true;
            return;
        }
        t->s->later[t->n_later++] = (LaterExit){
            .from = asm_offset(a), .rip = rip, .near = near, .save = save, .fl_reg = fl_reg, .recipe = t->recipe
        };
        return;
    }
    if (cc >= 0) {
        asm_jcc(a, (unsigned)cc ^ 1, 0);
        skip = asm_offset(a);
    }
    if (save && !by_recipe) {
        flags_sync(t, a);
        t->fl_mem = true;
    }
    if (back) {
        put_poll(t, rip);
    }
    if (near) {
        put_near_branch(t, rip, -1, by_recipe);
    } else {
        put_far_exit(t, rip);
    }
    put_rcxz_way(t, false);
    if (cc >= 0 && !a->full) {
        int32_t rel = (int32_t)(asm_offset(a) - skip);
        memcpy(a->start + skip - 4, &rel, 4);
    }
done:
    t->fl_reg = fl_reg;
    t->fl_mem = fl_mem;
}

void emit_later_exits(Tr *t)
{
    Asm *a = &t->hot;
    for (unsigned i = 0; i < t->n_later && !a->full; i++) {
        const LaterExit *l   = &t->s->later[i];
        int32_t          rel = (int32_t)(asm_offset(a) - l->from);
        memcpy(a->start + l->from - 4, &rel, 4);
        t->fl_reg = l->fl_reg;
        t->fl_mem = !l->save;
        t->recipe = l->recipe;
        if (l->save) {
            flags_sync(t, a);
        }
        if (l->near) {
            put_near_branch(t, l->rip, -1, false);
        } else {
            put_far_exit(t, l->rip);
        }
    }
}

static HostMem jump_slot(const Tr *t, size_t member)
{
    return (
        HostMem){ .base = H_RSP, .index = H_RCX, .scale = 3, .disp = dbt_jumps_offset(t->f->mode) + (int32_t)member };
}

/* RAX = where to. RCX = its slot of the jump cache; the branch that follows is taken when it has another one. */
static void put_jump_slot(Tr *t)
{
    Asm *a = &t->hot;
    asm_mov32(a, H_RCX, H_RAX);
    asm_rm(a, false, 0x23, H_RCX, asm_frame(dbt_mask_offset(t->f->mode)));
    asm_rm(a, true, 0x3b, H_RAX, jump_slot(t, offsetof(DbtJump, rip)));
    put_cold_branch(t, CC_NZ);
}

static void put_jump_code(Tr *t)
{
    asm_emit(&t->hot, &(Enc){ .op = 0xff, .reg = 4, .memory = true, .mem = jump_slot(t, offsetof(DbtJump, code)) });
}

/* A call of a stub that wants to know whose it is, in the cold part. */
static void put_miss(Tr *t, DbtStub stub, const DbtSite *site)
{
    uint64_t bits;
    memcpy(&bits, site, 8);
    asm_call(&t->cold, 0);
    reloc(t, true, RELOC_STUB, stub);
    asm_mov_imm64(&t->cold, H_RCX, bits);
}

/* `undo`: bytes that RSP grows by again when the target is bad. */
void put_dispatch(Tr *t, int undo)
{
    DbtSite site = { .insn  = (uint8_t)t->i,
                     .size  = (uint8_t)(undo < 0 ? -undo : 0),
                     .limit = (uint16_t)(undo > 0 ? undo : 0) };
    put_jump_slot(t);
    put_jump_code(t);
    put_miss(t, STUB_RET_MISS + t->f->mode, &site);
}

/* Into the frame, for what leaves the unit. */
static void sync_flags(Tr *t)
{
    flags_sync(t, &t->hot);
    t->fl_mem = true;
    t->fl_reg = false;
}

static void load_target(Tr *t, const DbtInsn *in)
{
    if (in->memory) {
        MemSpec m = operand_spec(t, in, in->opsize, false);
        Operand o = check(t, &m);
        put_load(&t->hot, in->opsize, H_RAX, o.mem);
    } else {
        unsigned host = read_guest(t, in->rm, H_RAX);
        asm_rr(&t->hot, in->opsize == 8, 0x8b, H_RAX, host);
        if (in->opsize == 2) {
            asm_emit(&t->hot, &(Enc){ .map = 1, .op = 0xb7, .reg = H_RAX, .rm = H_RAX }); /* movzx eax, ax */
        }
    }
    put_target_check(t, in);
}

/* The address behind the instruction, and whether it can be stored at once. */
static bool return_address(const Tr *t, const DbtInsn *in, uint64_t *next)
{
    *next = cut_rip(t, insn_rip(t, t->i) + in->len);
    return in->opsize != 8 || (int64_t)*next == (int32_t)*next;
}

static void put_return_small(Asm *a, HostMem mem, unsigned size, uint64_t next)
{
    asm_emit(a, &(Enc){ .prefix   = size == 2 ? 0x66 : 0,
                        .w        = size == 8,
                        .op       = 0xc7,
                        .memory   = true,
                        .mem      = mem,
                        .imm      = (int64_t)next,
                        .imm_size = size == 2 ? 2 : 4 });
}

/* Pushes it. `keep`: what was there before goes to frame.keep[3]. */
static void push_return(Tr *t, const DbtInsn *in, bool keep)
{
    Asm     *a = &t->hot;
    MemSpec  m = stack_spec(t, in);
    Operand  o = check(t, &m);
    uint64_t next;
    if (keep) {
        put_load(a, in->opsize, o.free, o.mem);
        asm_store(a, asm_frame(DBT_FRAME(keep[3])), o.free);
    }
    if (return_address(t, in, &next)) {
        put_return_small(a, o.mem, in->opsize, next);
    } else {
        put_linear(t, false, o.free, next);
        asm_store(a, o.mem, o.free);
    }
    sp_add(t, t->rsp_due - (int)in->opsize);
    t->rsp_due = 0;
}

/* The stack is checked first, then the target is loaded and looked up, and only then something happens: a target that
 * is bad leaves all as it was. */
static void call_small(Tr *t, const DbtInsn *in, uint64_t next)
{
    Asm    *a    = &t->hot;
    MemSpec m    = stack_spec(t, in);
    DbtSite site = { .insn = (uint8_t)t->i, .size = in->opsize };

    m.fpu         = !m.group; /* what the stack's page needs C for is all C's: the target faults first */
    Operand o     = check(t, &m);
    bool    host  = o.mem.base == H_RAX;
    int32_t waits = t->rcx_entry; /* what the operand takes, in the frame */
    if (!waits) {
        waits = DBT_FRAME(keep[2]);
        asm_store(a, asm_frame(waits), host ? H_RAX : H_RCX);
    }
    load_target(t, in);
    put_tag(t, a);
    put_jump_slot(t);
    uint32_t found = asm_offset(a);
    if (o.mem.base == H_RCX) {
        o.mem.base = H_RAX;
    } else if (!host) {
        o.mem.index = H_RAX;
    }
    asm_load(a, H_RAX, asm_frame(waits));
    put_return_small(a, o.mem, in->opsize, next);
    sp_add(t, t->rsp_due - (int)in->opsize);
    t->rsp_due = 0;
    asm_load(a, H_RAX, jump_slot(t, offsetof(DbtJump, rip))); /* for a unit that is gone: frame.c */
    put_jump_code(t);

    /* The other slot of the pair; C when the vCPU is kicked, or for what is in neither. */
    Asm *c = &t->cold;
    asm_emit(c,
             &(Enc){ .op = 0x83, .reg = 7, .memory = true, .mem = asm_frame(DBT_FRAME(kernel_mask)), .imm_size = 1 });
    asm_jcc(c, CC_Z, 0);
    uint32_t kicked = asm_offset(c);
    asm_ri(c, false, 6, H_RCX, 2);
    asm_rm(c, true, 0x3b, H_RAX, jump_slot(t, offsetof(DbtJump, rip)));
    asm_jcc(c, CC_Z, 0);
    reloc(t, true, RELOC_HOT, found);
    if (!c->full) {
        int32_t rel = (int32_t)(asm_offset(c) - kicked);
        memcpy(c->start + kicked - 4, &rel, 4);
    }
    put_miss(t, STUB_CALL_MISS, &site);
}

static void emit_call_indirect(Tr *t, const DbtInsn *in)
{
    uint64_t next;
    sync_flags(t);
    if (return_address(t, in, &next)) {
        call_small(t, in, next);
        return;
    }
    load_target(t, in);
    asm_store(&t->hot, asm_frame(DBT_FRAME(keep[2])), H_RAX);
    push_return(t, in, true);
    asm_load(&t->hot, H_RAX, asm_frame(DBT_FRAME(keep[2])));
    put_dispatch(t, -(int)in->opsize);
}

void emit_flow(Tr *t, const DbtInsn *in)
{
    Asm     *a      = &t->hot;
    uint64_t next   = insn_rip(t, t->i) + in->len;
    uint64_t target = next + (uint64_t)in->imm;

    switch (in->t) {
    case T_JMP:
        if (in->serialize) { /* MFENCE for its stores; code is fetched anew by the way to the next unit */
            asm_8(a, 0x0f);
            asm_8(a, 0xae);
            asm_8(a, 0xf0);
        }
        emit_exit(t, target, -1, t->s->live_taken[t->i]);
        break;
    case T_JCC:
        flags_need_for(t, in->read);
        emit_exit(t, target, in->op & 15, t->s->live_taken[t->i]);
        break;
    case T_CALL:
        push_return(t, in, false);
        emit_exit(t, target, -1, t->s->live_taken[t->i]);
        break;
    case T_CALLI: emit_call_indirect(t, in); break;
    case T_JMPI:
        sync_flags(t); /* through RAX */
        load_target(t, in);
        put_tag(t, a);
        put_dispatch(t, 0);
        break;
    case T_RET: {
        MemSpec m = stack_spec(t, in);
        sync_flags(t); /* before RAX is the target */
        Operand o = check(t, &m);
        put_load(a, in->opsize, H_RAX, o.mem);
        put_target_check(t, in);
        int grow = in->opsize + (int)in->imm;
        sp_add(t, t->rsp_due + grow);
        t->rsp_due = 0;
        put_tag(t, a);
        put_dispatch(t, grow);
        break;
    }
    default: t->failed = true; break;
    }
}

void put_c_call(Tr *t, bool in_cold, DbtStub stub)
{
    put_unit_call(t, in_cold, stub, t->i);
}

/* The cases of an instruction that its template leaves to C, in the cold part: where that begins. C does not come back
 * from it, or it comes back in the hot part, at its end. */
uint32_t emit_rest_by_c(Tr *t, bool comes_back)
{
    uint32_t start = asm_offset(&t->cold);
    flags_sync(t, &t->cold);
    put_c_call(t, true, STUB_INSN);
    if (comes_back) {
        asm_jmp(&t->cold, 0);
        if (t->n_tails == MAX_TAILS) {
            t->failed = true;
        } else {
            t->s->tails[t->n_tails++] = asm_offset(&t->cold);
        }
    } else {
        asm_8(&t->cold, 0x0f); /* ud2 */
        asm_8(&t->cold, 0x0b);
    }
    return start;
}

/* By a stub that does without C when it can, and does not come back. */
void emit_c_by(Tr *t, DbtStub stub)
{
    sync_flags(t);
    put_linear(t, false, H_RAX, insn_rip(t, t->i) + t->s->insns[t->i].len);
    put_c_call(t, false, stub);
}

void emit_c(Tr *t)
{
    sync_flags(t);
    put_c_call(t, false, STUB_INSN);
    t->recipe.kind = RECIPE_NONE; /* registers may change */
}

/* The TLB's entry of the second page must have its tag and addend, and CS the base that both have been found by. Flags
 * are in the frame. */
void emit_page_check(Tr *t)
{
    Asm     *a       = &t->hot;
    int32_t  slot    = (int32_t)(t->f->linear2 >> X86_PAGE_BITS & (X86_TLB_SIZE - 1)) * (int32_t)sizeof(X86TlbEntry);
    uint64_t want[2] = { t->f->linear2, (uint64_t)(uintptr_t)t->f->host2 - t->f->linear2 };
    int32_t  at[2]   = { offsetof(X86TlbEntry, fetch), offsetof(X86TlbEntry, addend) };
    if (t->mode.code != 8 && !t->mode.flat) { /* code that came here by a link does not know CS's base */
        asm_emit(a, &(Enc){ .op       = 0x81,
                            .reg      = 7,
                            .memory   = true,
                            .mem      = asm_frame(DBT_FRAME(seg_base) + 8 * X86_CS),
                            .imm      = (int32_t)(t->f->linear - t->f->rip),
                            .imm_size = 4 });
        asm_jcc(a, CC_NZ, 0);
        reloc(t, false, RELOC_COLD, asm_offset(&t->cold));
    }
    asm_load(a, H_RCX, asm_frame(DBT_FRAME(tlb)));
    for (unsigned i = 0; i < 2; i++) {
        asm_mov_imm(a, H_RAX, want[i]);
        asm_rm(a, true, 0x3b, H_RAX, asm_at(H_RCX, slot + at[i]));
        asm_jcc(a, CC_NZ, 0);
        reloc(t, false, RELOC_COLD, asm_offset(&t->cold));
    }
    asm_mov_imm(&t->cold, H_RAX, t->f->rip);
    asm_jmp(&t->cold, 0);
    reloc(t, true, RELOC_STUB, STUB_PAGES);
}
