/* What the files of the translator's decoder share: the cursor over an instruction, and what moves it. */

#ifndef QUERN_ACCEL_DBT_DECODE_PRIVATE_H
#define QUERN_ACCEL_DBT_DECODE_PRIVATE_H

#include "accel/dbt/decode.h"

#include <string.h>

typedef struct DbtCursor {
    const DbtMode *mode;
    const uint8_t *p;
    DbtInsn       *in;
    uint8_t        rex;
    bool           has_rex, o16, a_other, rep, repne;
} DbtCursor;

/* --- pieces --- */

static inline int64_t dec_immediate(DbtCursor *c, unsigned size)
{
    int64_t v = 0;
    switch (size) {
    case 1: v = (int64_t)(int8_t)c->p[0]; break;
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

static inline void dec_imm(DbtCursor *c, unsigned size)
{
    c->in->imm      = dec_immediate(c, size);
    c->in->imm_size = (uint8_t)size;
}

/* imm16 or imm32, as the operand size says. */
static inline void dec_imm_z(DbtCursor *c)
{
    dec_imm(c, c->in->opsize == 2 ? 2 : 4);
}

static inline uint8_t dec_byte_register(const DbtCursor *c, unsigned n)
{
    return (uint8_t)(!c->has_rex && n >= 4 && n < 8 ? DBT_HIGH + n - 4 : n);
}

static inline unsigned dec_peek_ext(const DbtCursor *c)
{
    return *c->p >> 3 & 7;
}

static inline bool dec_other(DbtCursor *c)
{
    c->in->t   = T_OTHER;
    c->in->len = 0;
    return true;
}

/* In 64-bit mode an operand-size prefix means different things to different vendors. */
static inline bool dec_odd_branch(const DbtCursor *c)
{
    return c->o16 && c->mode->code != 2;
}

/* Is the stack one that templates know? */
static inline bool dec_odd_stack(const DbtCursor *c)
{
    enum { KINDS = 3, WRITABLE = 4 }; /* X86SegmentKind */
    return c->mode->code == 8 ? c->o16 : !(c->mode->seg[2] & KINDS) || !(c->mode->seg[2] & WRITABLE);
}

/* What PUSH, POP, CALL and their like move. */
static inline uint8_t dec_stack_opsize(const DbtCursor *c)
{
    return c->mode->code == 8 ? 8 : c->in->opsize;
}

/* --- decode_operands.c: those that return a bool return true, what templates do not know has become T_OTHER --- */

/* ModRM with SIB and displacement. */
void dec_modrm(DbtCursor *c);
/* An instruction of T_GEN with ModRM: how it uses both operands (G_...), and the flags it reads and writes. With an
 * opcode extension in ModRM.reg the register is none. */
static inline void dec_gen(DbtCursor *c, unsigned access, unsigned read, unsigned write)
{
    DbtInsn *in = c->in;
    in->t       = T_GEN;
    in->access  = (uint8_t)access;
    in->read    = (uint8_t)read;
    in->write   = (uint8_t)write;
    dec_modrm(c);
    if (in->opsize == 1) {
        in->reg = dec_byte_register(c, in->reg);
        if (!in->memory) {
            in->rm = dec_byte_register(c, in->rm);
        }
    }
}
void dec_gen_ext(DbtCursor *c, unsigned access, unsigned read, unsigned write);
bool dec_segment_on_stack(DbtCursor *c, bool push, unsigned seg);
/* MOV to a segment register, or LES and its like. */
bool dec_load_segment(DbtCursor *c, bool pointer, unsigned seg);
/* Far transfers: `size` of an immediate. */
bool dec_far_transfer(DbtCursor *c, unsigned size);

/* --- decode_maps.c: the cursor is behind 0Fh, or behind C4h or C5h, which is `first` --- */

bool dec_map_0f(DbtCursor *c);
bool dec_vex(DbtCursor *c, uint8_t first);

#endif
