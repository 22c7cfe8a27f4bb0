/* The assembler: see asm.h. */

#include "accel/dbt/asm.h"

static void put_mem(Asm *a, unsigned reg, const HostMem *m)
{
    unsigned r = (reg & 7u) << 3;
    if (m->base == H_NONE) {
        asm_8(a, r | 4);
        asm_8(a, (unsigned)m->scale << 6 | (m->index == H_NONE ? 4u : m->index & 7u) << 3 | 5);
        asm_32(a, (uint32_t)m->disp);
        return;
    }
    bool     sib = m->index != H_NONE || (m->base & 7) == 4;
    unsigned mod = m->disp == 0 && (m->base & 7) != 5 ? 0 : m->disp == (int8_t)m->disp ? 1 : 2;

    asm_8(a, mod << 6 | r | (sib ? 4u : m->base & 7u));
    if (sib) {
        asm_8(a, (unsigned)m->scale << 6 | (m->index == H_NONE ? 4u : m->index & 7u) << 3 | (m->base & 7u));
    }
    if (mod == 1) {
        asm_8(a, (uint8_t)m->disp);
    } else if (mod == 2) {
        asm_32(a, (uint32_t)m->disp);
    }
}

void asm_emit(Asm *a, const Enc *e)
{
    unsigned r = e->reg >> 3 & 1;
    unsigned x = e->memory && e->mem.index != H_NONE ? e->mem.index >> 3 & 1u : 0;
    unsigned b = e->memory ? (e->mem.base != H_NONE ? e->mem.base >> 3 & 1u : 0) : e->rm >> 3 & 1u;

    if (e->lock) {
        asm_8(a, 0xf0);
    }
    if (e->vex) {
        unsigned pp = e->prefix == 0x66 ? 1 : e->prefix == 0xf3 ? 2 : e->prefix == 0xf2 ? 3 : 0;
        asm_8(a, 0xc4);
        asm_8(a, !r << 7 | !x << 6 | !b << 5 | e->map);
        asm_8(a, (unsigned)e->w << 7 | (~e->vvvv & 15u) << 3 | (unsigned)e->l << 2 | pp);
    } else {
        if (e->prefix) {
            asm_8(a, e->prefix);
        }
        unsigned rex  = (unsigned)e->w << 3 | r << 2 | x << 1 | b;
        bool     need = !e->no_rex && ((e->byte_reg && e->reg >= 4) || (e->byte_rm && !e->memory && e->rm >= 4));
        if (rex || need) {
            asm_8(a, 0x40 | rex);
        }
        if (e->map) {
            asm_8(a, 0x0f);
        }
        if (e->map >= 2) {
            asm_8(a, e->map == 2 ? 0x38 : 0x3a);
        }
    }
    asm_8(a, e->op);
    if (e->memory) {
        put_mem(a, e->reg, &e->mem);
    } else {
        asm_8(a, 0xc0u | (e->reg & 7u) << 3 | (e->rm & 7u));
    }
    for (unsigned i = 0; i < e->imm_size; i++) {
        asm_8(a, (uint8_t)((uint64_t)e->imm >> (8 * i)));
    }
}

void asm_rr(Asm *a, bool w, uint8_t op, unsigned reg, unsigned rm)
{
    asm_emit(a, &(Enc){ .w = w, .op = op, .reg = (uint8_t)reg, .rm = (uint8_t)rm });
}

void asm_rm(Asm *a, bool w, uint8_t op, unsigned reg, HostMem mem)
{
    asm_emit(a, &(Enc){ .w = w, .op = op, .reg = (uint8_t)reg, .memory = true, .mem = mem });
}

void asm_ri(Asm *a, bool w, unsigned ext, unsigned rm, int32_t imm)
{
    bool short_form = imm == (int8_t)imm;
    asm_emit(a, &(Enc){ .w        = w,
                        .op       = short_form ? 0x83 : 0x81,
                        .reg      = (uint8_t)ext,
                        .rm       = (uint8_t)rm,
                        .imm      = imm,
                        .imm_size = short_form ? 1 : 4 });
}

void asm_mov_imm(Asm *a, unsigned reg, uint64_t imm)
{
    if (imm <= UINT32_MAX) {
        if (reg >= 8) {
            asm_8(a, 0x41);
        }
        asm_8(a, 0xb8 | (reg & 7));
        asm_32(a, (uint32_t)imm);
    } else if ((int64_t)imm == (int32_t)imm) {
        asm_emit(a, &(Enc){ .w = true, .op = 0xc7, .rm = (uint8_t)reg, .imm = (int64_t)imm, .imm_size = 4 });
    } else {
        asm_mov_imm64(a, reg, imm);
    }
}

void asm_mov_imm64(Asm *a, unsigned reg, uint64_t imm)
{
    asm_8(a, 0x48 | reg >> 3);
    asm_8(a, 0xb8 | (reg & 7));
    asm_64(a, imm);
}

void asm_lea(Asm *a, bool w, unsigned reg, HostMem mem)
{
    asm_rm(a, w, 0x8d, reg, mem);
}

void asm_jcc(Asm *a, unsigned cc, int32_t rel)
{
    asm_8(a, 0x0f);
    asm_8(a, 0x80 | cc);
    asm_32(a, (uint32_t)rel);
}

void asm_jmp(Asm *a, int32_t rel)
{
    asm_8(a, 0xe9);
    asm_32(a, (uint32_t)rel);
}

void asm_call(Asm *a, int32_t rel)
{
    asm_8(a, 0xe8);
    asm_32(a, (uint32_t)rel);
}

/* The long NOPs that SDM 2, table 4-12 recommends. */
void asm_nops(Asm *a, unsigned n)
{
    static const uint8_t nops[8][8] = {
        { 0x90 },
        { 0x66, 0x90 },
        { 0x0f, 0x1f, 0x00 },
        { 0x0f, 0x1f, 0x40, 0x00 },
        { 0x0f, 0x1f, 0x44, 0x00, 0x00 },
        { 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00 },
        { 0x0f, 0x1f, 0x80, 0x00, 0x00, 0x00, 0x00 },
        { 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00 },
    };
    while (n) {
        unsigned k = n > 8 ? 8 : n;
        for (unsigned i = 0; i < k; i++) {
            asm_8(a, nops[k - 1][i]);
        }
        n -= k;
    }
}
