/* The assembler: see asm.h. */

#include "accel/dbt/asm.h"

/* Which bytes an instruction has is different each time: what may be left out is stored and then written over, since a
 * branch would be predicted wrongly. There is room for all of it. */
static uint8_t *put_if(uint8_t *p, unsigned byte, bool is)
{
    *p = (uint8_t)byte;
    return p + is;
}

static uint8_t *put_mem(uint8_t *p, unsigned reg, const HostMem *m)
{
    unsigned r   = (reg & 7u) << 3;
    unsigned sib = (unsigned)m->scale << 6 | (m->index == H_NONE ? 4u : m->index & 7u) << 3;
    if (m->base == H_NONE) {
        *p++ = (uint8_t)(r | 4);
        *p++ = (uint8_t)(sib | 5);
        memcpy(p, &m->disp, 4);
        return p + 4;
    }
    unsigned base  = m->base & 7u;
    bool     plain = (m->index == H_NONE) & (base != 4);
    bool     none  = (m->disp == 0) & (base != 5);
    unsigned mod   = (m->disp == (int8_t)m->disp ? 1u : 2u) & -(unsigned)!none;

    *p++ = (uint8_t)(mod << 6 | r | (plain ? base : 4u));
    p    = put_if(p, sib | base, !plain);
    memcpy(p, &m->disp, 4);
    return p + mod + (mod & 2u); /* 0, 1 or 4 bytes */
}

void asm_emit(Asm *a, const Enc *e)
{
    if (!asm_room(a, ASM_ROOM)) {
        return;
    }
    uint8_t *p = put_if(a->p, 0xf0, e->lock);
    unsigned r = e->reg >> 3 & 1u;
    unsigned x = (e->memory & (e->mem.index != H_NONE)) ? e->mem.index >> 3 & 1u : 0;
    unsigned b = e->memory ? e->mem.base >> 3 & (unsigned)(e->mem.base != H_NONE) : e->rm >> 3 & 1u;

    if (e->vex) {
        unsigned pp = e->prefix == 0x66 ? 1 : e->prefix == 0xf3 ? 2 : e->prefix == 0xf2 ? 3 : 0;
        *p++        = 0xc4;
        *p++        = (uint8_t)(!r << 7 | !x << 6 | !b << 5 | e->map);
        *p++        = (uint8_t)((unsigned)e->w << 7 | (~e->vvvv & 15u) << 3 | (unsigned)e->l << 2 | pp);
    } else {
        unsigned rex  = (unsigned)e->w << 3 | r << 2 | x << 1 | b;
        bool     low  = (e->byte_reg & (e->reg >= 4)) | (e->byte_rm & (e->rm >= 4) & (bool)!e->memory);
        bool     need = low & (bool)!e->no_rex;
        p             = put_if(p, e->prefix, e->prefix);
        p             = put_if(p, 0x40 | rex, rex | need);
        p             = put_if(p, 0x0f, e->map);
        p             = put_if(p, e->map == 2 ? 0x38 : 0x3a, e->map >= 2);
    }
    *p++ = e->op;
    if (e->memory) {
        p = put_mem(p, e->reg, &e->mem);
    } else {
        *p++ = (uint8_t)(0xc0u | (e->reg & 7u) << 3 | (e->rm & 7u));
    }
    memcpy(p, &e->imm, sizeof e->imm);
    a->p = p + e->imm_size;
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
