/* Shifts and rotates, SHLD, SHRD and the BMI2 forms.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run().
 *
 * The flags go in before the host's shift: a count of 0 leaves them all, a rotate most of them, and what is undefined
 * is then as undefined as on the host. */

#include "cpu/x86/ops.h"

#define FOR_SIZES(M, ...) M(__VA_ARGS__, 8) M(__VA_ARGS__, 16) M(__VA_ARGS__, 32) M(__VA_ARGS__, 64)
#define BY_SIZE(op, form)                                                                                              \
    {                                                                                                                  \
        op##8##form, op##16##form, op##32##form, op##64##form                                                          \
    }

#define SHIFT(op, bits)                                                                                                \
    static inline uint##bits##_t op##bits(X86Cpu *cpu, uint##bits##_t a, uint8_t count)                                \
    {                                                                                                                  \
        uint16_t flags = cpu->arith;                                                                                   \
        __asm__(LOAD_FLAGS #op " %%cl, %[a]" SAVE_FLAGS : [a] "+q"(a), "+a"(flags) : "c"(count) : "cc");               \
        cpu->arith = flags;                                                                                            \
        return a;                                                                                                      \
    }                                                                                                                  \
    static void op##bits##_r_imm(X86Cpu *cpu, const X86Insn *in)                                                       \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, op##bits(cpu, REG##bits(cpu, in->reg), (uint8_t)in->imm));                         \
    }                                                                                                                  \
    static void op##bits##_r_cl(X86Cpu *cpu, const X86Insn *in)                                                        \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, op##bits(cpu, REG##bits(cpu, in->reg), (uint8_t)cpu->gpr[X86_RCX]));               \
    }                                                                                                                  \
    static void op##bits##_m(X86Cpu *cpu, const X86Insn *in)                                                           \
    {                                                                                                                  \
        X86Rmw          rmw;                                                                                           \
        uint8_t         count  = in->aux ? (uint8_t)cpu->gpr[X86_RCX] : (uint8_t)in->imm;                              \
        uint64_t        linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                 \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, false, in->seg == X86_SS, &rmw);                 \
        x86_guest_put##bits(at, op##bits(cpu, x86_guest_get##bits(at), count));                                        \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }

FOR_SIZES(SHIFT, rol)
FOR_SIZES(SHIFT, ror)
FOR_SIZES(SHIFT, rcl)
FOR_SIZES(SHIFT, rcr)
FOR_SIZES(SHIFT, shl)
FOR_SIZES(SHIFT, shr)
FOR_SIZES(SHIFT, sar)

#define FORMS(op)                                                                                                      \
    {                                                                                                                  \
        BY_SIZE(op, _r_imm), BY_SIZE(op, _r_cl), BY_SIZE(op, _m)                                                       \
    }

static const X86Handler shift_handlers[][3][4] = { FORMS(rol), FORMS(ror), FORMS(rcl), FORMS(rcr),
                                                   FORMS(shl), FORMS(shr), FORMS(sar) };

bool x86_decode_shift(X86Decode *d)
{
    X86Insn *in   = d->in;
    unsigned size = x86_size_index(d->op[0].size / 8);

    in->aux = x86_is_reg(&d->op[1]); /* by CL */
    if (!in->aux) {
        in->imm = d->op[1].imm.value.u & 0xff;
    }
    if (x86_is_mem(&d->op[0])) {
        in->run = shift_handlers[d->arg][2][size];
    } else {
        in->reg = x86_decode_register(d->op[0].reg.value);
        in->run = shift_handlers[d->arg][in->aux][size];
    }
    return true;
}

/* --- SHLD, SHRD --- */

#define DOUBLE_SHIFT(op, bits)                                                                                         \
    static inline uint##bits##_t op##bits(X86Cpu *cpu, uint##bits##_t a, uint##bits##_t b, uint8_t count)              \
    {                                                                                                                  \
        uint16_t flags = cpu->arith;                                                                                   \
        __asm__(LOAD_FLAGS #op " %%cl, %[b], %[a]" SAVE_FLAGS                                                          \
                : [a] "+r"(a), "+a"(flags)                                                                             \
                : [b] "r"(b), "c"(count)                                                                               \
                : "cc");                                                                                               \
        cpu->arith = flags;                                                                                            \
        return a;                                                                                                      \
    }                                                                                                                  \
    static void op##bits##_r(X86Cpu *cpu, const X86Insn *in)                                                           \
    {                                                                                                                  \
        uint8_t count = in->aux ? (uint8_t)cpu->gpr[X86_RCX] : (uint8_t)in->imm;                                       \
        x86_set##bits(cpu, in->reg, op##bits(cpu, REG##bits(cpu, in->reg), REG##bits(cpu, in->rm), count));            \
    }                                                                                                                  \
    static void op##bits##_m(X86Cpu *cpu, const X86Insn *in)                                                           \
    {                                                                                                                  \
        X86Rmw          rmw;                                                                                           \
        uint8_t         count  = in->aux ? (uint8_t)cpu->gpr[X86_RCX] : (uint8_t)in->imm;                              \
        uint64_t        linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                 \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, false, in->seg == X86_SS, &rmw);                 \
        x86_guest_put##bits(at, op##bits(cpu, x86_guest_get##bits(at), REG##bits(cpu, in->rm), count));                \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }
#define DOUBLE_SIZES(op) DOUBLE_SHIFT(op, 16) DOUBLE_SHIFT(op, 32) DOUBLE_SHIFT(op, 64)
DOUBLE_SIZES(shld)
DOUBLE_SIZES(shrd)

#define DOUBLE_FORMS(op)                                                                                               \
    {                                                                                                                  \
        { op##16_r, op##32_r, op##64_r },                                                                              \
        {                                                                                                              \
            op##16_m, op##32_m, op##64_m                                                                               \
        }                                                                                                              \
    }
static const X86Handler double_handlers[2][2][3] = { DOUBLE_FORMS(shld), DOUBLE_FORMS(shrd) };

bool x86_decode_double_shift(X86Decode *d)
{
    X86Insn *in  = d->in;
    bool     mem = x86_is_mem(&d->op[0]);

    in->aux = x86_is_reg(&d->op[2]);
    in->reg = mem ? X86_NO_REG : x86_decode_register(d->op[0].reg.value);
    in->rm  = x86_decode_register(d->op[1].reg.value);
    if (!in->aux) {
        in->imm = d->op[2].imm.value.u & 0xff;
    }
    in->run = double_handlers[d->arg][mem][x86_size_index(d->op[0].size / 8) - 1];
    return true;
}

/* --- RORX, SARX, SHLX, SHRX: no flags --- */

#define SOURCE(bits) (in->flags & X86_INSN_MEMORY ? LOAD_OPERAND(bits, cpu, in) : REG##bits(cpu, in->rm))

#define BMI_SHIFTS(bits)                                                                                               \
    static void rorx##bits(X86Cpu *cpu, const X86Insn *in)                                                             \
    {                                                                                                                  \
        uint##bits##_t a     = SOURCE(bits);                                                                           \
        unsigned       count = in->imm & (bits - 1);                                                                   \
        x86_set##bits(cpu, in->reg, count ? a >> count | a << (bits - count) : a);                                     \
    }                                                                                                                  \
    static void sarx##bits(X86Cpu *cpu, const X86Insn *in)                                                             \
    {                                                                                                                  \
        uint##bits##_t a = SOURCE(bits);                                                                               \
        x86_set##bits(cpu, in->reg, (uint##bits##_t)((int##bits##_t)a >> (cpu->gpr[in->reg3] & (bits - 1))));          \
    }                                                                                                                  \
    static void shlx##bits(X86Cpu *cpu, const X86Insn *in)                                                             \
    {                                                                                                                  \
        uint##bits##_t a = SOURCE(bits);                                                                               \
        x86_set##bits(cpu, in->reg, a << (cpu->gpr[in->reg3] & (bits - 1)));                                           \
    }                                                                                                                  \
    static void shrx##bits(X86Cpu *cpu, const X86Insn *in)                                                             \
    {                                                                                                                  \
        uint##bits##_t a = SOURCE(bits);                                                                               \
        x86_set##bits(cpu, in->reg, a >> (cpu->gpr[in->reg3] & (bits - 1)));                                           \
    }
BMI_SHIFTS(32)
BMI_SHIFTS(64)

static const X86Handler bmi_shift_handlers[4][2] = {
    { rorx32, rorx64 }, { sarx32, sarx64 }, { shlx32, shlx64 }, { shrx32, shrx64 }
};

bool x86_decode_bmi_shift(X86Decode *d)
{
    /* ModRM.reg, ModRM.rm and VEX.vvvv are in reg, rm and reg3. */
    d->in->run = bmi_shift_handlers[d->arg][d->op[0].size == 64];
    return true;
}
