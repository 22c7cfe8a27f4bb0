/* Segments with bases and limits, outside 64-bit mode: addresses in them, the stack pointer, LOOP and JCXZ.
 *
 * An access by such a segment is
 *
 *     movzx eax, ea;  cmp eax, limit - size + 1;  ja slow;  add eax, [frame.seg_base]
 *
 * and the check of a linear address after that. What kind of limit a segment has is in the unit's key
 * (X86Cpu.segment_key): one of 64 KiB is an immediate, and so is one of 4 GiB, others are in the frame; 16-bit
 * addresses need no comparison where they cannot reach it. Expand-down segments and what the access may not do at all
 * are C's; so are accesses beyond the limit, which fault there.
 *
 * Lock of the Dbt held. */

#include "accel/dbt/emit.h"

void segment_spec(const Tr *t, MemSpec *m)
{
    unsigned kind = t->mode.code == 8 ? 0u : t->mode.seg[m->seg];
    m->based      = t->mode.code != 8 && !(t->mode.flat && m->seg <= X86_DS && m->addrsize == 4);
    m->kind       = kind & X86_SEGMENT_LIMIT;
}

/* movzx eax, 16 bits of a host register */
static void put_zero16(Asm *a, unsigned reg)
{
    asm_emit(a, &(Enc){ .map = 1, .op = 0xb7, .reg = H_RAX, .rm = (uint8_t)reg });
}

void put_offset(Tr *t, const MemSpec *m)
{
    Asm    *a  = &t->hot;
    HostMem ea = { .base = H_NONE, .index = H_NONE, .scale = m->scale, .disp = m->disp };

    if (m->constant) {
        asm_mov_imm(a, H_RAX, m->linear);
        return;
    }
    if (m->base != DBT_NO_REG) {
        ea.base = dbt_host_register[m->base]; /* the first eight have one */
    }
    if (m->index != DBT_NO_REG) {
        ea.index = dbt_host_register[m->index];
    }
    bool alone = ea.index == H_NONE && !ea.disp;
    if (alone && m->addrsize == 2) {
        put_zero16(a, ea.base);
    } else if (alone) {
        asm_mov32(a, H_RAX, ea.base);
    } else {
        asm_lea(a, false, H_RAX, ea);
        if (m->addrsize == 2) {
            put_zero16(a, H_RAX);
        }
    }
}

int put_limit(Tr *t, const MemSpec *m, unsigned size)
{
    Asm     *a    = &t->hot;
    unsigned last = size - 1;

    if (m->kind == X86_SEGMENT_4G) {
        if (m->addrsize == 2 || !last || (m->constant && m->linear + last <= UINT32_MAX)) {
            return -1;
        }
        asm_ri(a, false, 7, H_RAX, -(int32_t)size);
        return CC_A;
    }
    if (m->kind == X86_SEGMENT_64K) {
        if (m->addrsize == 2 && (!last || (m->constant && m->linear + last <= 0xffff))) {
            return -1;
        }
        asm_ri(a, false, 7, H_RAX, (int32_t)(0xffff - last));
        return CC_A;
    }
    unsigned n = 0;
    while (1u << n < size && n < DBT_LAST - 1) {
        n++;
    }
    unsigned reg = H_RAX;
    if (size > 1u << n) {
        asm_lea(a, true, H_RCX, asm_at(H_RAX, (int32_t)(size - (1u << n))));
        reg = H_RCX;
    } else if (size < 1u << n) {
        asm_lea(a, true, H_RCX, asm_at(H_RAX, -(int32_t)((1u << n) - size)));
        reg = H_RCX;
    }
    asm_rm(a, true, 0x3b, reg, asm_frame(DBT_FRAME(seg_last) + 8 * (int32_t)(DBT_LAST * m->seg + n)));
    return CC_G;
}

void put_base(Tr *t, const MemSpec *m)
{
    asm_rm(&t->hot, false, 0x03, H_RAX, asm_frame(DBT_FRAME(seg_base) + 8 * (int32_t)m->seg));
}

void put_sized(Asm *a, unsigned size, uint8_t op, unsigned reg, HostMem mem)
{
    asm_emit(a, &(Enc){ .prefix = size == 2 ? 0x66 : 0,
                        .w      = size == 8,
                        .op     = op,
                        .reg    = (uint8_t)reg,
                        .memory = true,
                        .mem    = mem });
}

void put_load(Asm *a, unsigned size, unsigned reg, HostMem mem)
{
    if (size == 2) {
        asm_emit(a, &(Enc){ .map = 1, .op = 0xb7, .reg = (uint8_t)reg, .memory = true, .mem = mem });
    } else {
        asm_rm(a, size == 8, 0x8b, reg, mem);
    }
}

void emit_lea16(Tr *t, const DbtInsn *in)
{
    MemSpec m = operand_spec(t, in, 1, false);
    put_offset(t, &m);
    asm_emit(
        &t->hot,
        &(Enc){ .prefix = in->opsize == 2 ? 0x66 : 0, .op = 0x8b, .reg = dbt_host_register[in->reg], .rm = H_RAX });
}

void sp_add(Tr *t, int by)
{
    put_sized(&t->hot, t->mode.stack, 0x8d, H_R11, asm_at(H_R11, by)); /* lea */
}

void emit_loop(Tr *t, const DbtInsn *in)
{
    Asm     *a      = &t->hot;
    unsigned size   = in->addrsize;
    uint64_t target = insn_rip(t, t->i) + in->len + (uint64_t)in->imm;

    flags_save(t);
    if (in->op == 0xe2) {
        put_sized(a, size, 0x8d, H_R10, asm_at(H_R10, -1));
    }
    asm_emit(a, &(Enc){ .prefix = size == 2 ? 0x66 : 0, .op = 0x85, .reg = H_R10, .rm = H_R10 });
    emit_exit(t, target, in->op == 0xe2 ? CC_NZ : CC_Z, t->s->live_taken[t->i]);
}

bool needs_target_check(const Tr *t, const DbtInsn *in)
{
    return t->mode.code != 8 && t->mode.limit < (in->opsize == 2 ? 0xffff : UINT32_MAX);
}

void put_target_check(Tr *t, const DbtInsn *in)
{
    if (!needs_target_check(t, in)) {
        return;
    }
    asm_ri(&t->hot, false, 7, H_RAX, (int32_t)t->mode.limit);
    asm_jcc(&t->hot, CC_A, 0);
    reloc(t, false, RELOC_COLD, emit_rest_by_c(t, false));
}
