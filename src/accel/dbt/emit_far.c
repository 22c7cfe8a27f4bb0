/* Segment registers and far transfers in real and virtual-8086 mode, where a selector is the base: loads and stores of
 * segment registers, far JMP, CALL and RET, INT n (real mode) and IRET, with 16-bit operands. PUSH and MOV to memory of
 * a segment register are the same in protected mode.
 *
 * In protected mode helpers do these, and INT n of virtual-8086 mode, when nothing is out of the ordinary (quick.c);
 * the executor does the rest.
 *
 * In real mode limits and attributes stay as they are, so that the mode is the same afterwards (decode.c,
 * DbtMode.real). Units know nothing of CS's base: the jump cache has it in its tags (dbt_take_segments()).
 *
 * Specification: Intel SDM 2, CALL, IRET, JMP, LDS, MOV, POP, PUSH, RET; SDM 3, 21.1 (December 2023).
 * Lock of the Dbt held. */

#include "accel/dbt/emit.h"

#define CPU_AT(member) asm_at(H_RCX, (int32_t)offsetof(X86Cpu, member))

static HostMem selector_of(unsigned seg)
{
    return asm_at(H_RCX, (int32_t)(offsetof(X86Cpu, seg) + seg * sizeof(X86Segment) + offsetof(X86Segment, selector)));
}

static HostMem base_of(unsigned seg)
{
    return asm_at(H_RCX, (int32_t)(offsetof(X86Cpu, seg) + seg * sizeof(X86Segment) + offsetof(X86Segment, base)));
}

static void load_cpu(Asm *a)
{
    asm_load(a, H_RCX, asm_frame(DBT_FRAME(cpu)));
}

static HostMem keep(unsigned n)
{
    return asm_frame(DBT_FRAME(keep) + 8 * (int32_t)n);
}

static HostMem beyond(HostMem mem, int by)
{
    mem.disp += by;
    return mem;
}

/* `size` bytes at the guest's stack pointer + disp. */
static MemSpec on_stack(const Tr *t, int disp, unsigned size, bool write)
{
    MemSpec m = { .base     = X86_RSP,
                  .index    = DBT_NO_REG,
                  .seg      = X86_SS,
                  .addrsize = t->mode.stack,
                  .disp     = disp,
                  .size     = (uint8_t)size,
                  .write    = write };
    segment_spec(t, &m);
    return m;
}

/* The segment register becomes what RAX has, 16 bits zero-extended. RAX is the base afterwards, RCX the vCPU. */
static void put_segment(Tr *t, unsigned seg)
{
    Asm *a = &t->hot;
    load_cpu(a);
    put_sized(a, 2, 0x89, H_RAX, selector_of(seg));
    asm_emit(a, &(Enc){ .op = 0xc1, .reg = 4, .rm = H_RAX, .imm = 4, .imm_size = 1 }); /* shl */
    asm_store(a, base_of(seg), H_RAX);
    asm_store(a, asm_frame(DBT_FRAME(seg_base) + 8 * (int32_t)seg), H_RAX);
}

/* Into what the operand's check has left free: the selector. */
static void put_selector(Tr *t, unsigned seg)
{
    load_cpu(&t->hot);
    put_load(&t->hot, 2, H_RCX, selector_of(seg));
}

/* The operand as [RAX + ...], RCX free: known addresses and members of groups come out of the check with RCX. */
static Operand check_to_rax(Tr *t, const MemSpec *m)
{
    Operand o = check(t, m);
    if (o.mem.base == H_RCX || o.mem.index == H_RCX) {
        asm_lea(&t->hot, true, H_RAX, o.mem);
        o            = (Operand){ .mem = asm_at(H_RAX, 0), .free = H_RCX };
        t->rcx_entry = 0;
    }
    return o;
}

void emit_segment(Tr *t, const DbtInsn *in)
{
    Asm    *a = &t->hot;
    MemSpec m;
    Operand o;

    flags_save(t);
    switch (in->t) {
    case T_PUSHSEG: /* 32 bits: the upper half stays as it is (SDM 2, PUSH) */
        m = on_stack(t, -(int)in->opsize, 2, true);
        o = check_to_rax(t, &m); /* [RAX] */
        put_selector(t, in->seg_reg);
        put_sized(a, 2, 0x89, H_RCX, o.mem);
        sp_add(t, -(int)in->opsize);
        return;
    case T_STSEG:
        m = operand_spec(t, in, 2, true);
        o = check_to_rax(t, &m);
        put_selector(t, in->seg_reg);
        put_sized(a, 2, 0x89, H_RCX, o.mem);
        return;
    case T_SETSEG:
        if (in->memory) {
            m = operand_spec(t, in, 2, false);
            o = check_to_rax(t, &m);
            put_load(a, 2, H_RAX, o.mem);
        } else {
            asm_emit(a, &(Enc){ .map = 1, .op = 0xb7, .reg = H_RAX, .rm = dbt_host_register[in->rm] });
        }
        break;
    case T_POPSEG:
        m = on_stack(t, 0, 2, false);
        o = check_to_rax(t, &m);
        put_load(a, 2, H_RAX, o.mem);
        sp_add(t, in->opsize);
        break;
    default: /* LES ... */
        m = operand_spec(t, in, in->rm_size, false);
        o = check_to_rax(t, &m);
        put_load(a, 2, H_RCX, beyond(o.mem, in->opsize));
        put_sized(a, in->opsize, 0x8b, dbt_host_register[in->reg], o.mem);
        asm_mov32(a, H_RAX, H_RCX);
        break;
    }
    put_segment(t, in->seg_reg);
}

/* --- far transfers --- */

/* To ECX:EAX, selector and offset; flags are in the frame. Interrupts leave CS's attributes alone. */
static void put_far(Tr *t, bool interrupt)
{
    Asm *a = &t->hot;
    asm_store(a, keep(0), H_RAX);
    asm_mov32(a, H_RAX, H_RCX);
    put_segment(t, X86_CS);
    if (!t->mode.vm86 && !interrupt) {
        HostMem attr = CPU_AT(seg[X86_CS].attr);
        asm_emit(a, &(Enc){ .op = 0x81, .reg = 4, .memory = true, .mem = attr, .imm = SEG_DB | SEG_G, .imm_size = 4 });
        asm_emit(a, &(Enc){ .op       = 0x81,
                            .reg      = 1,
                            .memory   = true,
                            .mem      = attr,
                            .imm      = SEG_P | SEG_S | SEG_W | SEG_A,
                            .imm_size = 4 });
    }
    asm_emit(a, &(Enc){ .w = true, .op = 0xc1, .reg = 4, .rm = H_RAX, .imm = 28, .imm_size = 1 });
    asm_rm(a, true, 0x0b, H_RAX, asm_frame(DBT_FRAME(cs_real)));
    asm_store(a, asm_frame(DBT_FRAME(cs_tag)), H_RAX);
    asm_rm(a, true, 0x0b, H_RAX, keep(0));
    put_dispatch(t, 0);
}

static void put_kept_far(Tr *t, bool interrupt)
{
    asm_load(&t->hot, H_RAX, keep(1));
    asm_load(&t->hot, H_RCX, keep(2));
    put_far(t, interrupt);
}

static void put_c_if(Tr *t, unsigned cc, uint32_t c)
{
    asm_jcc(&t->hot, cc, 0);
    reloc(t, false, RELOC_COLD, c);
}

/* EFLAGS from the 16 bits in keep[3], when nothing but the arithmetic flags and IF changes, and nobody waits for IF. */
static void put_flags(Tr *t)
{
    Asm     *a = &t->hot;
    uint32_t c = emit_rest_by_c(t, false);

    load_cpu(a);
    asm_emit(a, &(Enc){ .op = 0xf7, .memory = true, .mem = keep(3), .imm = EFLAGS_IF, .imm_size = 4 }); /* test */
    asm_jcc(a, CC_Z, 0);
    uint32_t masked = asm_offset(a);
    asm_emit(a, &(Enc){ .op = 0x83, .reg = 7, .memory = true, .mem = CPU_AT(vcpu.requests), .imm_size = 1 });
    put_c_if(t, CC_NZ, c);
    if (!a->full) {
        int32_t rel = (int32_t)(asm_offset(a) - masked);
        memcpy(a->start + masked - 4, &rel, 4);
    }
    asm_rm(a, false, 0x8b, H_RAX, CPU_AT(eflags));
    asm_rm(a, false, 0x33, H_RAX, keep(3));
    asm_emit(a, &(Enc){ .op       = 0xf7,
                        .rm       = H_RAX,
                        .imm      = EFLAGS_TF | EFLAGS_DF | EFLAGS_NT | (t->mode.vm86 ? 0 : EFLAGS_IOPL),
                        .imm_size = 4 });
    put_c_if(t, CC_NZ, c);

    asm_ri(a, false, 4, H_RAX, EFLAGS_IF); /* whether it changes */
    asm_rm(a, false, 0x31, H_RAX, CPU_AT(eflags));
    asm_load(a, H_RAX, keep(3));
    asm_mov32(a, H_RCX, H_RAX);
    asm_emit(a, &(Enc){ .op = 0xc1, .reg = 5, .rm = H_RAX, .imm = 11, .imm_size = 1 });
    asm_ri(a, false, 4, H_RAX, 1);
    asm_ri(a, false, 4, H_RCX, EFLAGS_CF | EFLAGS_PF | EFLAGS_AF | EFLAGS_ZF | EFLAGS_SF);
    asm_ri(a, false, 1, H_RCX, EFLAGS_ONE);
    asm_emit(a, &(Enc){ .op = 0xc1, .reg = 4, .rm = H_RCX, .imm = 8, .imm_size = 1 });
    asm_rr(a, false, 0x0b, H_RAX, H_RCX);
    asm_store(a, asm_frame(DBT_FRAME(flags)), H_RAX);
}

/* Virtual-8086 mode's IRET wants IOPL 3 before it looks at the stack. */
static void put_iopl_check(Tr *t)
{
    Asm *a = &t->hot;
    flags_save(t);
    load_cpu(a);
    asm_rm(a, false, 0x8b, H_RAX, CPU_AT(eflags));
    asm_emit(a, &(Enc){ .op = 0xf7, .reg = 2, .rm = H_RAX }); /* not */
    asm_emit(a, &(Enc){ .op = 0xf7, .rm = H_RAX, .imm = EFLAGS_IOPL, .imm_size = 4 });
    put_c_if(t, CC_NZ, emit_rest_by_c(t, false));
}

static void emit_return(Tr *t, const DbtInsn *in)
{
    Asm *a    = &t->hot;
    bool iret = in->op == 0xcf;
    if (iret && t->mode.vm86) {
        put_iopl_check(t);
    }
    MemSpec m = on_stack(t, 0, iret ? 6 : 4, false);
    Operand o = check_to_rax(t, &m); /* [RAX] */

    put_load(a, 2, H_RCX, beyond(o.mem, 2));
    if (iret) {
        asm_store(a, keep(2), H_RCX);
        put_load(a, 2, H_RCX, beyond(o.mem, 4));
        asm_store(a, keep(3), H_RCX);
    }
    put_load(a, 2, H_RAX, o.mem);
    put_target_check(t, in);
    if (iret) {
        asm_store(a, keep(1), H_RAX);
        /* An NMI may wait for this. */
        load_cpu(a);
        asm_emit(a, &(Enc){ .op = 0x80, .reg = 7, .memory = true, .mem = CPU_AT(nmi_blocked), .imm_size = 1 });
        put_c_if(t, CC_NZ, emit_rest_by_c(t, false));
        put_flags(t);
    }
    sp_add(t, (iret ? 6 : 4) + (int)in->imm);
    if (iret) {
        put_kept_far(t, false);
    } else {
        put_far(t, false);
    }
}

/* `next`, CS and, with flags, what keep[3] has go where the operand is, from below. */
static void put_frame(Tr *t, const Operand *o, uint64_t next, bool flags)
{
    Asm *a = &t->hot;
    put_selector(t, X86_CS);
    put_sized(a, 2, 0x89, H_RCX, beyond(o->mem, 2));
    asm_emit(a,
             &(Enc){ .prefix = 0x66, .op = 0xc7, .memory = true, .mem = o->mem, .imm = (int64_t)next, .imm_size = 2 });
    if (flags) {
        asm_load(a, H_RCX, keep(3));
        put_sized(a, 2, 0x89, H_RCX, beyond(o->mem, 4));
    }
}

/* INT n in real mode, by the vector table. */
static void emit_int(Tr *t, const DbtInsn *in)
{
    Asm     *a     = &t->hot;
    unsigned at    = 4 * (unsigned)in->imm;
    MemSpec  entry = {
         .base = DBT_NO_REG, .index = DBT_NO_REG, .seg = X86_DS, .addrsize = 4, .size = 4, .ready = true, .no_copy = true
    };
    uint32_t c = emit_rest_by_c(t, false);

    emit_rflags(t);
    asm_store(a, keep(3), H_RAX);
    load_cpu(a);
    asm_emit(a, &(Enc){ .op       = 0xf7,
                        .memory   = true,
                        .mem      = CPU_AT(eflags),
                        .imm      = EFLAGS_AC | EFLAGS_RF,
                        .imm_size = 4 }); /* test */
    put_c_if(t, CC_NZ, c);
    asm_emit(a, &(Enc){ .prefix   = 0x66,
                        .op       = 0x81,
                        .reg      = 7,
                        .memory   = true,
                        .mem      = CPU_AT(idt.limit),
                        .imm      = (int16_t)(at + 3),
                        .imm_size = 2 });
    put_c_if(t, CC_B, c);
    asm_load(a, H_RAX, CPU_AT(idt.base));
    asm_lea(a, false, H_RAX, asm_at(H_RAX, (int32_t)at));
    Operand o = check(t, &entry);
    put_load(a, 2, H_RCX, beyond(o.mem, 2));
    put_load(a, 2, H_RAX, o.mem);
    asm_store(a, keep(1), H_RAX);
    asm_store(a, keep(2), H_RCX);

    MemSpec m = on_stack(t, -6, 6, true);
    o         = check_to_rax(t, &m);
    put_frame(t, &o, insn_rip(t, t->i) + in->len, true);
    sp_add(t, -6);
    load_cpu(a);
    asm_emit(a, &(Enc){ .op       = 0x81,
                        .reg      = 4,
                        .memory   = true,
                        .mem      = CPU_AT(eflags),
                        .imm      = (int32_t) ~(uint32_t)EFLAGS_IF,
                        .imm_size = 4 });
    put_kept_far(t, true);
}

void emit_far(Tr *t, const DbtInsn *in)
{
    Asm *a    = &t->hot;
    bool call = in->op == 0x9a || (in->memory && in->reg == 3);

    flags_sync(t, a);
    t->fl_mem = true;
    t->fl_reg = false;
    if (in->op == 0xcd) {
        emit_int(t, in);
        return;
    }
    if (in->op >= 0xca && in->op <= 0xcf) {
        emit_return(t, in);
        return;
    }
    if (in->memory) {
        MemSpec m = operand_spec(t, in, 4, false);
        Operand o = check_to_rax(t, &m);
        put_load(a, 2, H_RCX, beyond(o.mem, 2));
        put_load(a, 2, H_RAX, o.mem);
    } else {
        asm_mov_imm(a, H_RCX, (uint16_t)in->disp);
        asm_mov_imm(a, H_RAX, (uint16_t)in->imm);
    }
    put_target_check(t, in);
    if (!call) {
        put_far(t, false);
        return;
    }
    asm_store(a, keep(1), H_RAX);
    asm_store(a, keep(2), H_RCX);
    MemSpec m = on_stack(t, -4, 4, true);
    Operand o = check_to_rax(t, &m);
    put_frame(t, &o, insn_rip(t, t->i) + in->len, false);
    sp_add(t, -4);
    put_kept_far(t, false);
}

/* --- by helpers --- */

/* ES, DS, FS or GS. */
static void quick_segment(Tr *t, const DbtInsn *in)
{
    Asm *a   = &t->hot;
    bool pop = !(in->access & G_RM_R), pointer = in->access & G_REG_W;

    flags_save(t);
    if (in->memory || pop) {
        MemSpec m = pop ? on_stack(t, 0, 2, false) : operand_spec(t, in, pointer ? in->rm_size : 2, false);
        Operand o = check_to_rax(t, &m);
        if (pointer) {
            put_load(a, in->opsize, H_RCX, o.mem);
            asm_store(a, keep(0), H_RCX);
        }
        put_load(a, 2, H_RAX, beyond(o.mem, pointer ? in->opsize : 0));
    } else {
        asm_emit(a, &(Enc){ .map = 1, .op = 0xb7, .reg = H_RAX, .rm = dbt_host_register[in->rm] });
    }
    asm_call(a, 0);
    reloc(t, false, RELOC_STUB, dbt_quick_stub(in->seg_reg, t->mode.seg[in->seg_reg]));
    asm_rr(a, false, 0x85, H_RAX, H_RAX);
    put_c_if(t, CC_Z, emit_rest_by_c(t, true));
    if (pop) {
        sp_add(t, in->opsize);
    }
    if (pointer) {
        put_sized(a, in->opsize, 0x8b, dbt_host_register[in->reg], keep(0));
    }
}

void emit_quick(Tr *t, const DbtInsn *in)
{
    Asm     *a    = &t->hot;
    unsigned kind = in->op == 0xcd                                   ? QUICK_INT
                    : in->op == 0xcf                                 ? QUICK_IRET
                    : in->op == 0xca || in->op == 0xcb               ? QUICK_RETURN
                    : in->op == 0x9a || (in->memory && in->reg == 3) ? QUICK_CALL
                                                                     : QUICK_JUMP;
    if (in->t == T_SEGQ) {
        quick_segment(t, in);
        return;
    }
    flags_sync(t, a);
    t->fl_mem     = true;
    t->fl_reg     = false;
    uint32_t what = dbt_quick_what(kind, in->opsize);
    if (in->memory) {
        MemSpec m = operand_spec(t, in, in->rm_size, false);
        Operand o = check_to_rax(t, &m);
        put_load(a, 2, H_RCX, beyond(o.mem, in->opsize));
        put_load(a, in->opsize, H_RAX, o.mem);
    }
    asm_emit(a, &(Enc){ .w        = true,
                        .op       = 0xc7,
                        .memory   = true,
                        .mem      = keep(0),
                        .imm      = (int32_t)(insn_rip(t, t->i) + in->len),
                        .imm_size = 4 });
    if (in->memory) {
        asm_ri(a, false, 1, H_RCX, (int32_t)what);
    } else {
        asm_mov_imm(a, H_RAX, (uint32_t)in->imm);
        asm_mov_imm(a, H_RCX, what | (kind <= QUICK_CALL ? (uint32_t)in->disp : 0));
    }
    asm_call(a, 0);
    reloc(t, false, RELOC_STUB, STUB_QUICK_FAR);
    put_c_call(t, false, STUB_INSN);
}
