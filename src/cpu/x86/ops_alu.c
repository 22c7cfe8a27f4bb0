/* Two-operand arithmetic and logic, INC, DEC, NOT, NEG, XADD, CMPXCHG and its wide forms.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run(). */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/ops.h"

enum { ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, N_ALU };

/* Operand forms: destination first. */
enum { REG_REG, REG_IMM, REG_MEM, MEM_REG, MEM_IMM, LOCK_MEM_REG, LOCK_MEM_IMM, N_FORMS };

/* --- ADD OR ADC SBB AND SUB XOR: destination is written --- */

#define WRITING(op, carry, bits)                                                                                       \
    static inline uint##bits##_t op##bits(X86Cpu *cpu, uint##bits##_t a, uint##bits##_t b)                             \
    {                                                                                                                  \
        uint16_t flags;                                                                                                \
        __asm__(carry #op " %[b], %[a]" SAVE_FLAGS                                                                     \
                : [a] "+q"(a), "=a"(flags)                                                                             \
                : [b] "q"(b), [f] "m"(cpu->arith)                                                                      \
                : "cc");                                                                                               \
        cpu->arith = flags;                                                                                            \
        return a;                                                                                                      \
    }                                                                                                                  \
    static inline void op##bits##_mem(X86Cpu *cpu, X86Guest##bits *at, uint##bits##_t b)                               \
    {                                                                                                                  \
        uint16_t flags;                                                                                                \
        __asm__ volatile(carry #op " %[b], %[a]" SAVE_FLAGS                                                            \
                         : [a] "+m"(*at), "=&a"(flags)                                                                 \
                         : [b] "q"(b), [f] "m"(cpu->arith)                                                             \
                         : "cc", "memory");                                                                            \
        cpu->arith = flags;                                                                                            \
    }                                                                                                                  \
    static inline void op##bits##_lock(X86Cpu *cpu, X86Guest##bits *at, uint##bits##_t b)                              \
    {                                                                                                                  \
        uint16_t flags;                                                                                                \
        __asm__ volatile(carry "lock " #op " %[b], %[a]" SAVE_FLAGS                                                    \
                         : [a] "+m"(*at), "=&a"(flags)                                                                 \
                         : [b] "q"(b), [f] "m"(cpu->arith)                                                             \
                         : "cc", "memory");                                                                            \
        cpu->arith = flags;                                                                                            \
    }                                                                                                                  \
    static void op##bits##_rr(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, op##bits(cpu, REG##bits(cpu, in->reg), REG##bits(cpu, in->rm)));                   \
    }                                                                                                                  \
    static void op##bits##_ri(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, op##bits(cpu, REG##bits(cpu, in->reg), (uint##bits##_t)in->imm));                  \
    }                                                                                                                  \
    static void op##bits##_rm(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        uint##bits##_t b = LOAD_OPERAND(bits, cpu, in);                                                                \
        x86_set##bits(cpu, in->reg, op##bits(cpu, REG##bits(cpu, in->reg), b));                                        \
    }                                                                                                                  \
    static inline void op##bits##_to_memory(X86Cpu *cpu, const X86Insn *in, uint##bits##_t b, bool locked)             \
    {                                                                                                                  \
        X86Rmw   rmw;                                                                                                  \
        uint64_t linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                        \
        void    *at     = x86_rmw_begin(cpu, linear, bits / 8, locked, in->seg == X86_SS, &rmw);                       \
        if (locked) {                                                                                                  \
            op##bits##_lock(cpu, at, b);                                                                               \
        } else {                                                                                                       \
            op##bits##_mem(cpu, at, b);                                                                                \
        }                                                                                                              \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }                                                                                                                  \
    static void op##bits##_mr(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        op##bits##_to_memory(cpu, in, REG##bits(cpu, in->reg), false);                                                 \
    }                                                                                                                  \
    static void op##bits##_mi(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        op##bits##_to_memory(cpu, in, (uint##bits##_t)in->imm, false);                                                 \
    }                                                                                                                  \
    static void op##bits##_lmr(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        op##bits##_to_memory(cpu, in, REG##bits(cpu, in->reg), true);                                                  \
    }                                                                                                                  \
    static void op##bits##_lmi(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        op##bits##_to_memory(cpu, in, (uint##bits##_t)in->imm, true);                                                  \
    }

/* --- CMP TEST: nothing is written --- */

#define READING(op, bits)                                                                                              \
    static inline void op##bits(X86Cpu *cpu, uint##bits##_t a, uint##bits##_t b)                                       \
    {                                                                                                                  \
        uint16_t flags;                                                                                                \
        __asm__(#op " %[b], %[a]" SAVE_FLAGS : "=a"(flags) : [a] "q"(a), [b] "q"(b) : "cc");                           \
        cpu->arith = flags;                                                                                            \
    }                                                                                                                  \
    static void op##bits##_rr(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        op##bits(cpu, REG##bits(cpu, in->reg), REG##bits(cpu, in->rm));                                                \
    }                                                                                                                  \
    static void op##bits##_ri(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        op##bits(cpu, REG##bits(cpu, in->reg), (uint##bits##_t)in->imm);                                               \
    }                                                                                                                  \
    static void op##bits##_rm(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        uint##bits##_t b = LOAD_OPERAND(bits, cpu, in);                                                                \
        op##bits(cpu, REG##bits(cpu, in->reg), b);                                                                     \
    }                                                                                                                  \
    static void op##bits##_mr(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        uint##bits##_t a = LOAD_OPERAND(bits, cpu, in);                                                                \
        op##bits(cpu, a, REG##bits(cpu, in->reg));                                                                     \
    }                                                                                                                  \
    static void op##bits##_mi(X86Cpu *cpu, const X86Insn *in)                                                          \
    {                                                                                                                  \
        uint##bits##_t a = LOAD_OPERAND(bits, cpu, in);                                                                \
        op##bits(cpu, a, (uint##bits##_t)in->imm);                                                                     \
    }

#define FOR_SIZES(M, ...) M(__VA_ARGS__, 8) M(__VA_ARGS__, 16) M(__VA_ARGS__, 32) M(__VA_ARGS__, 64)

FOR_SIZES(WRITING, add, "")
FOR_SIZES(WRITING, or, "")
FOR_SIZES(WRITING, adc, CARRY_IN)
FOR_SIZES(WRITING, sbb, CARRY_IN)
FOR_SIZES(WRITING, and, "")
FOR_SIZES(WRITING, sub, "")
FOR_SIZES(WRITING, xor, "")
FOR_SIZES(READING, cmp)
FOR_SIZES(READING, test)

#define BY_SIZE(op, form)                                                                                              \
    {                                                                                                                  \
        op##8##form, op##16##form, op##32##form, op##64##form                                                          \
    }
#define WRITING_FORMS(op)                                                                                              \
    {                                                                                                                  \
        [REG_REG] = BY_SIZE(op, _rr), [REG_IMM] = BY_SIZE(op, _ri), [REG_MEM] = BY_SIZE(op, _rm),                      \
        [MEM_REG] = BY_SIZE(op, _mr), [MEM_IMM] = BY_SIZE(op, _mi), [LOCK_MEM_REG] = BY_SIZE(op, _lmr),                \
        [LOCK_MEM_IMM] = BY_SIZE(op, _lmi)                                                                             \
    }
#define READING_FORMS(op)                                                                                              \
    {                                                                                                                  \
        [REG_REG] = BY_SIZE(op, _rr), [REG_IMM] = BY_SIZE(op, _ri), [REG_MEM] = BY_SIZE(op, _rm),                      \
        [MEM_REG] = BY_SIZE(op, _mr), [MEM_IMM] = BY_SIZE(op, _mi)                                                     \
    }

static const X86Handler alu_handlers[N_ALU][N_FORMS][4] = {
    [ADD] = WRITING_FORMS(add), [OR] = WRITING_FORMS(or),   [ADC] = WRITING_FORMS(adc),
    [SBB] = WRITING_FORMS(sbb), [AND] = WRITING_FORMS(and), [SUB] = WRITING_FORMS(sub),
    [XOR] = WRITING_FORMS(xor), [CMP] = READING_FORMS(cmp), [TEST] = READING_FORMS(test),
};

/* XOR and SUB of a register with itself: the usual way to clear it. */
#define CLEARING(bits)                                                                                                 \
    static void clear##bits(X86Cpu *cpu, const X86Insn *in)                                                            \
    {                                                                                                                  \
        cpu->gpr[in->reg] = 0;                                                                                         \
        cpu->arith        = 0x4600;                                                                                    \
    }
CLEARING(32)

bool x86_decode_alu(X86Decode *d)
{
    const ZydisDecodedOperand *a      = &d->op[0];
    const ZydisDecodedOperand *b      = &d->op[1];
    X86Insn                   *in     = d->in;
    bool                       locked = in->prefixes & X86_PREFIX_LOCK;
    unsigned                   form;

    if (x86_is_mem(a)) {
        form    = x86_is_imm(b) ? (locked ? LOCK_MEM_IMM : MEM_IMM) : (locked ? LOCK_MEM_REG : MEM_REG);
        in->reg = x86_is_imm(b) ? X86_NO_REG : x86_decode_register(b->reg.value);
    } else {
        form    = x86_is_imm(b) ? REG_IMM : x86_is_mem(b) ? REG_MEM : REG_REG;
        in->reg = x86_decode_register(a->reg.value);
        in->rm  = x86_is_reg(b) ? x86_decode_register(b->reg.value) : X86_NO_REG;
    }
    in->run = alu_handlers[d->arg][form][x86_size_index(a->size / 8)];
    if (form == REG_REG && d->arg == XOR && in->reg == in->rm && a->size >= 32) {
        /* AF is undefined after XOR; the host leaves it 0. */
        in->run = clear32;
    }
    return in->run;
}

/* --- INC DEC NEG NOT --- */

enum { INC, DEC, NEG, NOT, N_UNARY };

#define UNARY(op, carry, bits)                                                                                         \
    static void op##bits##_r(X86Cpu *cpu, const X86Insn *in)                                                           \
    {                                                                                                                  \
        uint16_t       flags;                                                                                          \
        uint##bits##_t a = REG##bits(cpu, in->reg);                                                                    \
        __asm__(carry #op " %[a]" SAVE_FLAGS : [a] "+q"(a), "=a"(flags) : [f] "m"(cpu->arith) : "cc");                 \
        cpu->arith = flags;                                                                                            \
        x86_set##bits(cpu, in->reg, a);                                                                                \
    }                                                                                                                  \
    static void op##bits##_m(X86Cpu *cpu, const X86Insn *in)                                                           \
    {                                                                                                                  \
        X86Rmw          rmw;                                                                                           \
        uint16_t        flags;                                                                                         \
        uint64_t        linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                 \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, false, in->seg == X86_SS, &rmw);                 \
        __asm__ volatile(carry #op SUFFIX_##bits " %[a]" SAVE_FLAGS                                                    \
                         : [a] "+m"(*at), "=&a"(flags)                                                                 \
                         : [f] "m"(cpu->arith)                                                                         \
                         : "cc", "memory");                                                                            \
        cpu->arith = flags;                                                                                            \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }                                                                                                                  \
    static void op##bits##_l(X86Cpu *cpu, const X86Insn *in)                                                           \
    {                                                                                                                  \
        X86Rmw          rmw;                                                                                           \
        uint16_t        flags;                                                                                         \
        uint64_t        linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                 \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, true, in->seg == X86_SS, &rmw);                  \
        __asm__ volatile(carry "lock " #op SUFFIX_##bits " %[a]" SAVE_FLAGS                                            \
                         : [a] "+m"(*at), "=&a"(flags)                                                                 \
                         : [f] "m"(cpu->arith)                                                                         \
                         : "cc", "memory");                                                                            \
        cpu->arith = flags;                                                                                            \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }

FOR_SIZES(UNARY, inc, CARRY_IN)
FOR_SIZES(UNARY, dec, CARRY_IN)
FOR_SIZES(UNARY, neg, "")

#define NOT_OPS(x, bits)                                                                                               \
    static void not ##bits##_r(X86Cpu * cpu, const X86Insn *in)                                                        \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, (uint##bits##_t) ~REG##bits(cpu, in->reg));                                        \
    }                                                                                                                  \
    static void not ##bits##_m(X86Cpu * cpu, const X86Insn *in)                                                        \
    {                                                                                                                  \
        X86Rmw          rmw;                                                                                           \
        uint64_t        linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                 \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, false, in->seg == X86_SS, &rmw);                 \
        __asm__ volatile("not" SUFFIX_##bits " %0" : "+m"(*at) : : "memory");                                          \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }                                                                                                                  \
    static void not ##bits##_l(X86Cpu * cpu, const X86Insn *in)                                                        \
    {                                                                                                                  \
        X86Rmw          rmw;                                                                                           \
        uint64_t        linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                 \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, true, in->seg == X86_SS, &rmw);                  \
        __asm__ volatile("lock not" SUFFIX_##bits " %0" : "+m"(*at) : : "memory");                                     \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }
FOR_SIZES(NOT_OPS, x)

#define UNARY_FORMS(op)                                                                                                \
    {                                                                                                                  \
        BY_SIZE(op, _r), BY_SIZE(op, _m), BY_SIZE(op, _l)                                                              \
    }
static const X86Handler unary_handlers[N_UNARY][3][4] = {
    [INC] = UNARY_FORMS(inc),
    [DEC] = UNARY_FORMS(dec),
    [NEG] = UNARY_FORMS(neg),
    [NOT] = UNARY_FORMS(not ),
};

bool x86_decode_unary(X86Decode *d)
{
    X86Insn *in   = d->in;
    unsigned form = x86_is_reg(&d->op[0]) ? 0 : in->prefixes & X86_PREFIX_LOCK ? 2 : 1;

    in->reg = form ? X86_NO_REG : x86_decode_register(d->op[0].reg.value);
    in->run = unary_handlers[d->arg][form][x86_size_index(d->op[0].size / 8)];
    return true;
}

/* --- XADD --- */

#define XADD(x, bits)                                                                                                  \
    static void xadd##bits##_rr(X86Cpu *cpu, const X86Insn *in)                                                        \
    {                                                                                                                  \
        uint16_t       flags;                                                                                          \
        uint##bits##_t a = REG##bits(cpu, in->reg), b = REG##bits(cpu, in->rm);                                        \
        __asm__("xadd %[b], %[a]" SAVE_FLAGS : [a] "+q"(a), [b] "+q"(b), "=a"(flags) : : "cc");                        \
        cpu->arith = flags;                                                                                            \
        x86_set##bits(cpu, in->rm, b);                                                                                 \
        x86_set##bits(cpu, in->reg, a);                                                                                \
    }                                                                                                                  \
    static void xadd##bits##_mr(X86Cpu *cpu, const X86Insn *in)                                                        \
    {                                                                                                                  \
        X86Rmw          rmw;                                                                                           \
        uint16_t        flags;                                                                                         \
        bool            locked = in->prefixes & X86_PREFIX_LOCK;                                                       \
        uint64_t        linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                 \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, locked, in->seg == X86_SS, &rmw);                \
        uint##bits##_t  b      = REG##bits(cpu, in->reg);                                                              \
        if (locked) {                                                                                                  \
            __asm__ volatile("lock xadd %[b], %[a]" SAVE_FLAGS                                                         \
                             : [a] "+m"(*at), [b] "+q"(b), "=&a"(flags)                                                \
                             :                                                                                         \
                             : "cc", "memory");                                                                        \
        } else {                                                                                                       \
            __asm__ volatile("xadd %[b], %[a]" SAVE_FLAGS                                                              \
                             : [a] "+m"(*at), [b] "+q"(b), "=&a"(flags)                                                \
                             :                                                                                         \
                             : "cc", "memory");                                                                        \
        }                                                                                                              \
        cpu->arith = flags;                                                                                            \
        x86_set##bits(cpu, in->reg, b);                                                                                \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }
FOR_SIZES(XADD, x)

bool x86_decode_xadd(X86Decode *d)
{
    static const X86Handler handlers[2][4] = { BY_SIZE(xadd, _rr), BY_SIZE(xadd, _mr) };
    bool                    mem            = x86_is_mem(&d->op[0]);

    d->in->reg = x86_decode_register(d->op[mem].reg.value);
    d->in->rm  = x86_decode_register(d->op[1].reg.value);
    d->in->run = handlers[mem][x86_size_index(d->op[0].size / 8)];
    return true;
}

/* --- CMPXCHG --- */

/* With whole registers, so that the host decides what becomes of their upper halves. */
#define CMPXCHG_ASM(prefix, constraint, place, bits)                                                                   \
    __asm__ volatile(prefix "cmpxchg %[b], %[a]\n\tmovq %%rax, %[acc]" SAVE_FLAGS                                      \
                     : [a] "+" constraint(place), [acc] "=&r"(acc), "+&a"(rax)                                         \
                     : [b] "q"((uint##bits##_t)REG##bits(cpu, source))                                                 \
                     : "cc", "memory");                                                                                \
    cpu->arith        = (uint16_t)rax;                                                                                 \
    cpu->gpr[X86_RAX] = acc

#define CMPXCHG(x, bits)                                                                                               \
    static void cmpxchg##bits##_mr(X86Cpu *cpu, const X86Insn *in)                                                     \
    {                                                                                                                  \
        X86Rmw          rmw;                                                                                           \
        bool            locked = in->prefixes & X86_PREFIX_LOCK;                                                       \
        uint64_t        linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                 \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, locked, in->seg == X86_SS, &rmw);                \
        uint64_t        rax    = cpu->gpr[X86_RAX], acc;                                                               \
        unsigned        source = in->reg;                                                                              \
        if (locked) {                                                                                                  \
            CMPXCHG_ASM("lock ", "m", *at, bits);                                                                      \
        } else {                                                                                                       \
            CMPXCHG_ASM("", "m", *at, bits);                                                                           \
        }                                                                                                              \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }
FOR_SIZES(CMPXCHG, x)

/* A destination register is written on success only. */
#define CMPXCHG_REG(x, bits)                                                                                           \
    static void cmpxchg##bits##_rr(X86Cpu *cpu, const X86Insn *in)                                                     \
    {                                                                                                                  \
        uint64_t       rax    = cpu->gpr[X86_RAX], acc;                                                                \
        unsigned       source = in->rm;                                                                                \
        uint##bits##_t a      = REG##bits(cpu, in->reg);                                                               \
        uint##bits##_t before = a;                                                                                     \
        uint##bits##_t wanted = (uint##bits##_t)rax;                                                                   \
        CMPXCHG_ASM("", "&q", a, bits);                                                                                \
        if (before == wanted) {                                                                                        \
            x86_set##bits(cpu, in->reg, a);                                                                            \
        }                                                                                                              \
    }
CMPXCHG_REG(x, 8)
CMPXCHG_REG(x, 16)
CMPXCHG_REG(x, 64)

/* Whether failure zero-extends the destination differs between hosts. */
static void cmpxchg32_rr(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rax = cpu->gpr[X86_RAX], a = cpu->gpr[in->reg], acc;
    __asm__ volatile("cmpxchgl %k[b], %k[a]\n\tmovq %%rax, %[acc]" SAVE_FLAGS
                     : [a] "+&r"(a), [acc] "=&r"(acc), "+&a"(rax)
                     : [b] "r"(cpu->gpr[in->rm])
                     : "cc");
    cpu->arith        = (uint16_t)rax;
    cpu->gpr[X86_RAX] = acc;
    cpu->gpr[in->reg] = a;
}

bool x86_decode_cmpxchg(X86Decode *d)
{
    static const X86Handler handlers[2][4] = { BY_SIZE(cmpxchg, _rr), BY_SIZE(cmpxchg, _mr) };
    bool                    mem            = x86_is_mem(&d->op[0]);

    d->in->reg = x86_decode_register(d->op[mem].reg.value);
    d->in->rm  = x86_decode_register(d->op[1].reg.value);
    d->in->run = handlers[mem][x86_size_index(d->op[0].size / 8)];
    return true;
}

static void set_zero_flag(X86Cpu *cpu, bool zero)
{
    cpu->arith = (uint16_t)((cpu->arith & ~0x4000) | (zero ? 0x4000 : 0));
}

static void cmpxchg8b(X86Cpu *cpu, const X86Insn *in)
{
    X86Rmw      rmw;
    bool        locked = in->prefixes & X86_PREFIX_LOCK;
    uint64_t    linear = x86_ea(cpu, in, 8, X86_WRITE);
    X86Guest64 *at     = x86_rmw_begin(cpu, linear, 8, locked, in->seg == X86_SS, &rmw);
    uint64_t    old    = (uint64_t)REG32(cpu, X86_RDX) << 32 | REG32(cpu, X86_RAX);
    uint64_t new       = (uint64_t)REG32(cpu, X86_RCX) << 32 | REG32(cpu, X86_RBX);
    bool equal;

    __asm__ volatile("lock cmpxchgq %[b], %[a]" : [a] "+m"(*at), "+a"(old), "=@ccz"(equal) : [b] "r"(new) : "memory");
    set_zero_flag(cpu, equal);
    if (!equal) {
        x86_set32(cpu, X86_RAX, (uint32_t)old);
        x86_set32(cpu, X86_RDX, (uint32_t)(old >> 32));
    }
    x86_rmw_end(cpu, &rmw);
}

static void cmpxchg16b(X86Cpu *cpu, const X86Insn *in)
{
    typedef struct __attribute__((aligned(16))) Pair {
        uint64_t low, high;
    } Pair;
    X86Rmw   rmw;
    uint64_t linear = x86_ea(cpu, in, 16, X86_WRITE);
    if (linear & 15) {
        x86_raise(cpu, X86_GP);
    }
    Pair    *at  = x86_rmw_begin(cpu, linear, 16, true, in->seg == X86_SS, &rmw);
    uint64_t low = cpu->gpr[X86_RAX], high = cpu->gpr[X86_RDX];
    bool     equal;

    __asm__ volatile("lock cmpxchg16b %[a]"
                     : [a] "+m"(*at), "+a"(low), "+d"(high), "=@ccz"(equal)
                     : "b"(cpu->gpr[X86_RBX]), "c"(cpu->gpr[X86_RCX])
                     : "memory");
    set_zero_flag(cpu, equal);
    if (!equal) {
        cpu->gpr[X86_RAX] = low;
        cpu->gpr[X86_RDX] = high;
    }
    x86_rmw_end(cpu, &rmw);
}

bool x86_decode_cmpxchg_pair(X86Decode *d)
{
    d->in->run = d->z->mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B ? cmpxchg16b : cmpxchg8b;
    return true;
}
