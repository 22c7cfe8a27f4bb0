/* Multiplication and division, MULX, and decimal arithmetic.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run().
 *
 * A division is checked before the host makes it: its trap would be Quern's own. */

#include "cpu/x86/ops.h"

#define SOURCE(bits) (in->flags & X86_INSN_MEMORY ? LOAD_OPERAND(bits, cpu, in) : REG##bits(cpu, in->rm))

/* --- MUL, IMUL with one operand; DIV, IDIV --- */

/* The flags go in first: those that are undefined are the host's. RAX is busy with them until the operand comes. */
#define WIDE(name, op, bits, letter)                                                                                   \
    static inline void name##bits(X86Cpu *cpu, uint##bits##_t b)                                                       \
    {                                                                                                                  \
        uint64_t rax = cpu->gpr[X86_RAX], rdx = cpu->gpr[X86_RDX], flags = cpu->arith;                                 \
        __asm__(LOAD_FLAGS "movq %[rax], %%rax\n\t" op " %[b]\n\tmovq %%rax, %[rax]" SAVE_FLAGS                        \
                : [rax] "+&r"(rax), "+&d"(rdx), "+&a"(flags)                                                           \
                : [b] "q"(b)                                                                                           \
                : "cc");                                                                                               \
        cpu->arith        = (uint16_t)flags;                                                                           \
        cpu->gpr[X86_RAX] = rax;                                                                                       \
        cpu->gpr[X86_RDX] = rdx;                                                                                       \
    }

#define WIDE_SIZES(op) WIDE(op, #op, 8, "b") WIDE(op, #op, 16, "w") WIDE(op, #op, 32, "k") WIDE(op, #op, 64, "q")
WIDE_SIZES(mul)
WIDE_SIZES(imul)
WIDE_SIZES(div)
WIDE_SIZES(idiv)

#define MUL(op, bits)                                                                                                  \
    static void op##bits##_one(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        op##bits(cpu, SOURCE(bits));                                                                                   \
    }
MUL(mul, 8)
MUL(mul, 16)
MUL(mul, 32)
MUL(mul, 64)
MUL(imul, 8)
MUL(imul, 16)
MUL(imul, 32)
MUL(imul, 64)

bool x86_decode_mul(X86Decode *d)
{
    static const X86Handler handlers[] = { mul8_one, mul16_one, mul32_one, mul64_one };

    d->in->rm  = x86_is_reg(&d->op[0]) ? x86_decode_register(d->op[0].reg.value) : X86_NO_REG;
    d->in->run = handlers[x86_size_index(d->op[0].size / 8)];
    return true;
}

/* --- IMUL with two and three operands --- */

#define IMUL(bits)                                                                                                     \
    static inline void imul##bits##_to(X86Cpu *cpu, unsigned reg, uint##bits##_t a, uint##bits##_t b)                  \
    {                                                                                                                  \
        uint16_t flags = cpu->arith;                                                                                   \
        __asm__(LOAD_FLAGS "imul %[b], %[a]" SAVE_FLAGS : [a] "+r"(a), "+a"(flags) : [b] "r"(b) : "cc");               \
        cpu->arith = flags;                                                                                            \
        x86_set##bits(cpu, reg, a);                                                                                    \
    }                                                                                                                  \
    static void imul##bits##_two(X86Cpu *cpu, const X86Insn *in)                                                       \
    {                                                                                                                  \
        uint##bits##_t b = SOURCE(bits);                                                                               \
        imul##bits##_to(cpu, in->reg, REG##bits(cpu, in->reg), b);                                                     \
    }                                                                                                                  \
    static void imul##bits##_three(X86Cpu *cpu, const X86Insn *in)                                                     \
    {                                                                                                                  \
        imul##bits##_to(cpu, in->reg, SOURCE(bits), (uint##bits##_t)in->imm);                                          \
    }
IMUL(16)
IMUL(32)
IMUL(64)

bool x86_decode_imul(X86Decode *d)
{
    static const X86Handler one[]   = { imul8_one, imul16_one, imul32_one, imul64_one };
    static const X86Handler two[]   = { NULL, imul16_two, imul32_two, imul64_two };
    static const X86Handler three[] = { NULL, imul16_three, imul32_three, imul64_three };
    unsigned                size    = x86_size_index(d->op[0].size / 8);
    unsigned                n       = d->z->operand_count_visible;
    X86Insn                *in      = d->in;

    if (n == 1 || d->op[1].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
        in->rm  = x86_is_reg(&d->op[0]) ? x86_decode_register(d->op[0].reg.value) : X86_NO_REG;
        in->run = one[size];
        return true;
    }
    in->reg = x86_decode_register(d->op[0].reg.value);
    in->rm  = x86_is_reg(&d->op[1]) ? x86_decode_register(d->op[1].reg.value) : X86_NO_REG;
    in->run = n == 3 ? three[size] : two[size];
    return in->run;
}

/* --- DIV, IDIV --- */

/* #DE unless the quotient of dividend / divisor fits into `bits` bits. */
static void check_div(X86Cpu *cpu, unsigned __int128 dividend, uint64_t divisor, unsigned bits)
{
    if (!divisor || dividend >> bits >= divisor) {
        x86_raise(cpu, X86_DE);
    }
}

static void check_idiv(X86Cpu *cpu, __int128 dividend, int64_t divisor, unsigned bits)
{
    unsigned __int128 n     = dividend < 0 ? -(unsigned __int128)dividend : (unsigned __int128)dividend;
    uint64_t          d     = divisor < 0 ? -(uint64_t)divisor : (uint64_t)divisor;
    uint64_t          first = (UINT64_C(1) << (bits - 1)) + ((dividend < 0) ^ (divisor < 0)); /* that does not fit */

    if (n >= (unsigned __int128)first * d) { /* also when d is 0 */
        x86_raise(cpu, X86_DE);
    }
}

#define DIV(bits)                                                                                                      \
    static void div##bits##_one(X86Cpu *cpu, const X86Insn *in)                                                        \
    {                                                                                                                  \
        uint##bits##_t    b = SOURCE(bits);                                                                            \
        unsigned __int128 n = (unsigned __int128)REG##bits(cpu, X86_RDX) << bits | REG##bits(cpu, X86_RAX);            \
        check_div(cpu, n, b, bits);                                                                                    \
        div##bits(cpu, b);                                                                                             \
    }                                                                                                                  \
    static void idiv##bits##_one(X86Cpu *cpu, const X86Insn *in)                                                       \
    {                                                                                                                  \
        uint##bits##_t    b = SOURCE(bits);                                                                            \
        unsigned __int128 n =                                                                                          \
            (unsigned __int128)(__int128)(int##bits##_t)REG##bits(cpu, X86_RDX) << bits | REG##bits(cpu, X86_RAX);     \
        check_idiv(cpu, (__int128)n, (int##bits##_t)b, bits);                                                          \
        idiv##bits(cpu, b);                                                                                            \
    }
DIV(16)
DIV(32)
DIV(64)

static void div8_one(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t b = SOURCE(8);
    check_div(cpu, REG16(cpu, X86_RAX), b, 8);
    div8(cpu, b);
}

static void idiv8_one(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t b = SOURCE(8);
    check_idiv(cpu, (int16_t)REG16(cpu, X86_RAX), (int8_t)b, 8);
    idiv8(cpu, b);
}

bool x86_decode_div(X86Decode *d)
{
    static const X86Handler handlers[2][4] = { { div8_one, div16_one, div32_one, div64_one },
                                               { idiv8_one, idiv16_one, idiv32_one, idiv64_one } };

    d->in->rm  = x86_is_reg(&d->op[0]) ? x86_decode_register(d->op[0].reg.value) : X86_NO_REG;
    d->in->run = handlers[d->arg][x86_size_index(d->op[0].size / 8)];
    return true;
}

/* --- MULX --- */

/* The high half is written last: both destinations may be the same register. */
#define MULX(bits, wide)                                                                                               \
    static void mulx##bits(X86Cpu *cpu, const X86Insn *in)                                                             \
    {                                                                                                                  \
        wide product = (wide)REG##bits(cpu, X86_RDX) * SOURCE(bits);                                                   \
        x86_set##bits(cpu, in->reg3, (uint##bits##_t)product);                                                         \
        x86_set##bits(cpu, in->reg, (uint##bits##_t)(product >> bits));                                                \
    }
MULX(32, uint64_t)
MULX(64, unsigned __int128)

bool x86_decode_mulx(X86Decode *d)
{
    d->in->run = d->op[0].size == 64 ? mulx64 : mulx32;
    return true;
}

/* --- decimal arithmetic: not in 64-bit mode, so the host cannot do it --- */

/* SF, ZF and PF as the result says; CF, AF and OF as told. */
static void set_flags(X86Cpu *cpu, uint8_t result, bool carry, bool adjust, bool overflow)
{
    x86_set_eflags(cpu,
                   (result & 0x80 ? EFLAGS_SF : 0) | (result ? 0 : EFLAGS_ZF) |
                       (__builtin_parity(result) ? 0 : EFLAGS_PF) | (carry ? EFLAGS_CF : 0) | (adjust ? EFLAGS_AF : 0) |
                       (overflow ? EFLAGS_OF : 0),
                   EFLAGS_ARITH);
}

static bool carry_flag(const X86Cpu *cpu)
{
    return cpu->arith & 0x100;
}

static bool adjust_flag(const X86Cpu *cpu)
{
    return cpu->arith & 0x1000;
}

static void aaa(X86Cpu *cpu, const X86Insn *in)
{
    bool adjust = (REG8(cpu, 0) & 15) > 9 || adjust_flag(cpu);
    if (adjust) {
        x86_set16(cpu, X86_RAX, (uint16_t)(REG16(cpu, X86_RAX) + 0x106));
    }
    REG8(cpu, 0) &= 15;
    set_flags(cpu, REG8(cpu, 0), adjust, adjust, false);
}

static void aas(X86Cpu *cpu, const X86Insn *in)
{
    bool adjust = (REG8(cpu, 0) & 15) > 9 || adjust_flag(cpu);
    if (adjust) {
        x86_set16(cpu, X86_RAX, (uint16_t)(REG16(cpu, X86_RAX) - 0x106));
    }
    REG8(cpu, 0) &= 15;
    set_flags(cpu, REG8(cpu, 0), adjust, adjust, false);
}

static void aad(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t al = (uint8_t)(REG8(cpu, 0) + REG8(cpu, 1) * (uint8_t)in->imm);
    x86_set16(cpu, X86_RAX, al);
    set_flags(cpu, al, false, false, false);
}

static void aam(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t base = (uint8_t)in->imm, al = REG8(cpu, 0);
    if (!base) {
        x86_raise(cpu, X86_DE);
    }
    x86_set16(cpu, X86_RAX, (uint16_t)(al / base << 8 | al % base));
    set_flags(cpu, REG8(cpu, 0), false, false, false);
}

static void daa(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t al = REG8(cpu, 0), old = al;
    bool    adjust = (al & 15) > 9 || adjust_flag(cpu);
    bool    carry  = old > 0x99 || carry_flag(cpu);

    al           = (uint8_t)(al + (adjust ? 6 : 0) + (carry ? 0x60 : 0));
    REG8(cpu, 0) = al;
    set_flags(cpu, al, carry, adjust, false);
}

static void das(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t al = REG8(cpu, 0), old = al;
    bool    adjust = (al & 15) > 9 || adjust_flag(cpu);
    bool    high   = old > 0x99 || carry_flag(cpu);
    bool    carry  = high || (adjust && old < 6);

    al           = (uint8_t)(al - (adjust ? 6 : 0) - (high ? 0x60 : 0));
    REG8(cpu, 0) = al;
    set_flags(cpu, al, carry, adjust, false);
}

bool x86_decode_bcd(X86Decode *d)
{
    static const X86Handler handlers[] = { aaa, aas, aad, aam, daa, das };

    d->in->run = handlers[d->arg];
    d->in->imm &= 0xff;
    return true;
}
