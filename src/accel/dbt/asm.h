/* The assembler of the translator: x86-64 host instructions from fields, appended to a buffer.
 *
 * Integer instructions only; vector instructions go through cpu/x86/encode.h and its allow-list. Callers choose opcodes
 * from the translator's own templates, never from guest bytes.
 *
 * Specification: Intel SDM volume 2 (December 2023), chapter 2. Pure functions on one buffer; any thread. */

#ifndef QUERN_ACCEL_DBT_ASM_H
#define QUERN_ACCEL_DBT_ASM_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    H_RAX,
    H_RCX,
    H_RDX,
    H_RBX,
    H_RSP,
    H_RBP,
    H_RSI,
    H_RDI,
    H_R8,
    H_R9,
    H_R10,
    H_R11,
    H_R12,
    H_R13,
    H_R14,
    H_R15,
    H_AH   = H_RSP, /* of an instruction with 8-bit operands and no REX */
    H_NONE = 0xff,
};

/* Condition codes as opcodes have them. */
enum { CC_O, CC_NO, CC_B, CC_NB, CC_Z, CC_NZ, CC_BE, CC_A, CC_S, CC_NS, CC_P, CC_NP, CC_L, CC_NL, CC_LE, CC_G };

typedef struct Asm {
    uint8_t *start, *p, *end;
    bool     full; /* sticky: something did not fit */
} Asm;

/* A memory operand of the host; base and index may be H_NONE. */
typedef struct HostMem {
    uint8_t base, index, scale;
    int32_t disp;
} HostMem;

/* One instruction with ModRM. */
typedef struct Enc {
    uint8_t prefix; /* 0, 66h, F2h, F3h */
    bool    lock, w;
    uint8_t map; /* 0: one byte, 1: 0F, 2: 0F38, 3: 0F3A */
    uint8_t op;
    uint8_t reg;               /* register or extension */
    bool    byte_reg, byte_rm; /* 8-bit register operands: numbers 4 to 7 are SPL to DIL */
    bool    no_rex;            /* 4 to 7 are AH to BH instead */
    bool    memory;
    uint8_t rm;
    HostMem mem;
    uint8_t imm_size;
    int64_t imm;
    bool    vex, l;
    uint8_t vvvv;
} Enc;

static inline uint32_t asm_offset(const Asm *a)
{
    return (uint32_t)(a->p - a->start);
}

static inline bool asm_room(Asm *a, unsigned n)
{
    if ((unsigned)(a->end - a->p) < n) {
        a->full = true;
        return false;
    }
    return true;
}

static inline void asm_8(Asm *a, unsigned v)
{
    if (asm_room(a, 1)) {
        *a->p++ = (uint8_t)v;
    }
}

static inline void asm_32(Asm *a, uint32_t v)
{
    if (asm_room(a, 4)) {
        memcpy(a->p, &v, 4);
        a->p += 4;
    }
}

static inline void asm_64(Asm *a, uint64_t v)
{
    if (asm_room(a, 8)) {
        memcpy(a->p, &v, 8);
        a->p += 8;
    }
}

enum { ASM_ROOM = 32 }; /* bytes that asm_emit() wants, whatever the instruction takes */

void asm_emit(Asm *a, const Enc *e);

/* Often used ones. `w` true: 64 bits, else 32. */
void asm_rr(Asm *a, bool w, uint8_t op, unsigned reg, unsigned rm);  /* op rm, reg (as the opcode says) */
void asm_rm(Asm *a, bool w, uint8_t op, unsigned reg, HostMem mem);  /* reg and memory */
void asm_ri(Asm *a, bool w, unsigned ext, unsigned rm, int32_t imm); /* 81 /ext or 83 /ext */
void asm_mov_imm(Asm *a, unsigned reg, uint64_t imm);                /* the shortest form */
void asm_mov_imm64(Asm *a, unsigned reg, uint64_t imm);              /* always 10 bytes */
void asm_lea(Asm *a, bool w, unsigned reg, HostMem mem);
void asm_jcc(Asm *a, unsigned cc, int32_t rel); /* near; rel counts from its end */
void asm_jmp(Asm *a, int32_t rel);
void asm_call(Asm *a, int32_t rel);
void asm_nops(Asm *a, unsigned n);

static inline void asm_mov(Asm *a, unsigned to, unsigned from)
{
    asm_rr(a, true, 0x8b, to, from);
}

static inline void asm_mov32(Asm *a, unsigned to, unsigned from)
{
    asm_rr(a, false, 0x8b, to, from);
}

static inline void asm_load(Asm *a, unsigned to, HostMem mem)
{
    asm_rm(a, true, 0x8b, to, mem);
}

static inline void asm_store(Asm *a, HostMem mem, unsigned from)
{
    asm_rm(a, true, 0x89, from, mem);
}

/* [rsp + offset]: the vCPU's frame. */
static inline HostMem asm_frame(int32_t offset)
{
    return (HostMem){ .base = H_RSP, .index = H_NONE, .disp = offset };
}

static inline HostMem asm_at(unsigned base, int32_t disp)
{
    return (HostMem){ .base = (uint8_t)base, .index = H_NONE, .disp = disp };
}

#endif
