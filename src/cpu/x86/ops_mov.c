/* Moves: MOV, MOVZX, MOVSX, MOVSXD, XCHG, LEA, CMOVcc, SETcc, BSWAP, MOVBE, sign conversions, segment and control
 * registers as operands, and far pointers (LDS ...).
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run(). */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/ops.h"

#define FOR_SIZES(M, ...) M(__VA_ARGS__, 8) M(__VA_ARGS__, 16) M(__VA_ARGS__, 32) M(__VA_ARGS__, 64)
#define BY_SIZE(op, form)                                                                                              \
    {                                                                                                                  \
        op##8##form, op##16##form, op##32##form, op##64##form                                                          \
    }

/* --- MOV --- */

#define MOV(x, bits)                                                                                                   \
    static void mov##bits##_rr(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, REG##bits(cpu, in->rm));                                                           \
    }                                                                                                                  \
    static void mov##bits##_ri(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, (uint##bits##_t)in->imm);                                                          \
    }                                                                                                                  \
    static void mov##bits##_rm(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, LOAD_OPERAND(bits, cpu, in));                                                      \
    }                                                                                                                  \
    static void mov##bits##_mr(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        STORE(bits, cpu, in, x86_ea(cpu, in, bits / 8, X86_WRITE), REG##bits(cpu, in->reg));                           \
    }                                                                                                                  \
    static void mov##bits##_mi(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        STORE(bits, cpu, in, x86_ea(cpu, in, bits / 8, X86_WRITE), (uint##bits##_t)in->imm);                           \
    }
FOR_SIZES(MOV, x)

static void mov_from_segment(X86Cpu *cpu, const X86Insn *in)
{
    uint16_t selector = cpu->seg[in->aux].selector;
    if (in->flags & X86_INSN_MEMORY) {
        STORE(16, cpu, in, x86_ea(cpu, in, 2, X86_WRITE), selector);
    } else {
        x86_set_sized(cpu, in->reg, in->opsize, selector);
    }
}

static void mov_to_segment(X86Cpu *cpu, const X86Insn *in)
{
    uint16_t selector = in->flags & X86_INSN_MEMORY ? LOAD_OPERAND(16, cpu, in) : REG16(cpu, in->reg);
    x86_load_segment(cpu, in->aux, selector);
    if (in->aux == X86_SS) {
        cpu->interrupt_shadow = X86_SHADOW_SS;
    }
}

static void mov_from_cr(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    uint64_t value = x86_read_cr(cpu, in->aux);
    x86_set_sized(cpu, in->reg, cpu->code_size == X86_CODE64 ? 8 : 4, value);
}

static void mov_to_cr(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    uint64_t next = x86_insn_next(cpu, in);
    x86_write_cr(cpu, in->aux, x86_get_sized(cpu, in->reg, cpu->code_size == X86_CODE64 ? 8 : 4));
    cpu->rip    = next;
    cpu->branch = X86_BRANCH_SYSTEM;
}

static void mov_from_dr(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    uint64_t value = x86_read_dr(cpu, in->aux);
    x86_set_sized(cpu, in->reg, cpu->code_size == X86_CODE64 ? 8 : 4, value);
}

static void mov_to_dr(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    x86_write_dr(cpu, in->aux, x86_get_sized(cpu, in->reg, cpu->code_size == X86_CODE64 ? 8 : 4));
}

static bool decode_mov_special(X86Decode *d, const ZydisDecodedOperand *special, const ZydisDecodedOperand *other,
                               bool write)
{
    X86Insn      *in  = d->in;
    ZydisRegister reg = special->reg.value;

    in->aux = (uint8_t)ZydisRegisterGetId(reg);
    in->reg = x86_is_reg(other) ? x86_decode_register(other->reg.value) : X86_NO_REG;
    switch (ZydisRegisterGetClass(reg)) {
    case ZYDIS_REGCLASS_SEGMENT:
        if (write && in->aux == X86_CS) {
            return false;
        }
        in->run = write ? mov_to_segment : mov_from_segment;
        in->flags |= write ? X86_INSN_ENDS : 0;
        in->opsize = (uint8_t)(x86_is_reg(other) ? other->size / 8 : 2);
        return true;
    case ZYDIS_REGCLASS_CONTROL:
        in->run = write ? mov_to_cr : mov_from_cr;
        in->flags |= write ? X86_INSN_ENDS | X86_INSN_TRANSFER : 0;
        return in->aux == 0 || in->aux == 2 || in->aux == 3 || in->aux == 4 || in->aux == 8;
    case ZYDIS_REGCLASS_DEBUG:
        in->run = write ? mov_to_dr : mov_from_dr;
        in->flags |= write ? X86_INSN_ENDS : 0;
        return in->aux < 8;
    default: return false;
    }
}

static bool is_special(const ZydisDecodedOperand *op)
{
    if (!x86_is_reg(op)) {
        return false;
    }
    ZydisRegisterClass class = ZydisRegisterGetClass(op->reg.value);
    return class == ZYDIS_REGCLASS_SEGMENT || class == ZYDIS_REGCLASS_CONTROL || class == ZYDIS_REGCLASS_DEBUG ||
           class == ZYDIS_REGCLASS_TEST;
}

enum { RR, RI, RM, MR, MI, N_MOV_FORMS };

bool x86_decode_mov(X86Decode *d)
{
    static const X86Handler    handlers[N_MOV_FORMS][4] = { BY_SIZE(mov, _rr), BY_SIZE(mov, _ri), BY_SIZE(mov, _rm),
                                                            BY_SIZE(mov, _mr), BY_SIZE(mov, _mi) };
    const ZydisDecodedOperand *a = &d->op[0], *b = &d->op[1];
    X86Insn                   *in = d->in;
    unsigned                   form;

    if (is_special(a)) {
        return decode_mov_special(d, a, b, true);
    }
    if (is_special(b)) {
        return decode_mov_special(d, b, a, false);
    }
    if (x86_is_mem(a)) {
        form    = x86_is_imm(b) ? MI : MR;
        in->reg = x86_is_imm(b) ? X86_NO_REG : x86_decode_register(b->reg.value);
    } else {
        form    = x86_is_imm(b) ? RI : x86_is_mem(b) ? RM : RR;
        in->reg = x86_decode_register(a->reg.value);
        in->rm  = x86_is_reg(b) ? x86_decode_register(b->reg.value) : X86_NO_REG;
    }
    in->run = handlers[form][x86_size_index(a->size / 8)];
    return true;
}

/* --- MOVZX MOVSX MOVSXD --- */

#define EXTEND(name, to, from, cast)                                                                                   \
    static void name##to##_##from##_r(X86Cpu *cpu, const X86Insn *in)                                                  \
    {                                                                                                                  \
        x86_set##to(cpu, in->reg, (uint##to##_t)(cast)REG##from(cpu, in->rm));                                         \
    }                                                                                                                  \
    static void name##to##_##from##_m(X86Cpu *cpu, const X86Insn *in)                                                  \
    {                                                                                                                  \
        x86_set##to(cpu, in->reg, (uint##to##_t)(cast)LOAD_OPERAND(from, cpu, in));                                    \
    }

EXTEND(movzx, 16, 8, uint8_t)
EXTEND(movzx, 32, 8, uint8_t)
EXTEND(movzx, 16, 16, uint16_t)
EXTEND(movzx, 32, 16, uint16_t)
EXTEND(movsx, 16, 8, int8_t)
EXTEND(movsx, 32, 8, int8_t)
EXTEND(movsx, 64, 8, int8_t)
EXTEND(movsx, 16, 16, int16_t)
EXTEND(movsx, 32, 16, int16_t)
EXTEND(movsx, 64, 16, int16_t)
EXTEND(movsx, 16, 32, int32_t)
EXTEND(movsx, 32, 32, int32_t)
EXTEND(movsx, 64, 32, int32_t)

/* [signed][source size][destination size - 1][memory]; zero extension to 64 bits is that to 32. */
static const X86Handler extend_handlers[2][3][3][2] = {
    { { { movzx16_8_r, movzx16_8_m }, { movzx32_8_r, movzx32_8_m }, { movzx32_8_r, movzx32_8_m } },
      { { movzx16_16_r, movzx16_16_m }, { movzx32_16_r, movzx32_16_m }, { movzx32_16_r, movzx32_16_m } },
      { { NULL, NULL } } },
    { { { movsx16_8_r, movsx16_8_m }, { movsx32_8_r, movsx32_8_m }, { movsx64_8_r, movsx64_8_m } },
      { { movsx16_16_r, movsx16_16_m }, { movsx32_16_r, movsx32_16_m }, { movsx64_16_r, movsx64_16_m } },
      { { movsx16_32_r, movsx16_32_m }, { movsx32_32_r, movsx32_32_m }, { movsx64_32_r, movsx64_32_m } } },
};

bool x86_decode_mov_extend(X86Decode *d)
{
    X86Insn *in   = d->in;
    unsigned from = x86_size_index(d->op[1].size / 8), to = x86_size_index(d->op[0].size / 8);

    in->reg = x86_decode_register(d->op[0].reg.value);
    in->rm  = x86_is_reg(&d->op[1]) ? x86_decode_register(d->op[1].reg.value) : X86_NO_REG;
    if (from > 2 || to < 1) {
        return false;
    }
    if (to == 1 && from == 2) {
        from = 1; /* MOVSXD r16, r/m16: reads two bytes, whatever the decoder says */
    }
    in->run = extend_handlers[d->arg][from][to - 1][x86_is_mem(&d->op[1])];
    return in->run;
}

/* --- XCHG --- */

#define XCHG(x, bits)                                                                                                  \
    static void xchg##bits##_rr(X86Cpu *cpu, const X86Insn *in)                                                        \
    {                                                                                                                  \
        uint##bits##_t a = REG##bits(cpu, in->reg), b = REG##bits(cpu, in->rm);                                        \
        x86_set##bits(cpu, in->reg, b);                                                                                \
        x86_set##bits(cpu, in->rm, a);                                                                                 \
    }                                                                                                                  \
    static void xchg##bits##_mr(X86Cpu *cpu, const X86Insn *in)                                                        \
    {                                                                                                                  \
        X86Rmw          rmw;                                                                                           \
        uint64_t        linear = x86_ea(cpu, in, bits / 8, X86_WRITE);                                                 \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, true, in->seg == X86_SS, &rmw);                  \
        uint##bits##_t  b      = REG##bits(cpu, in->reg);                                                              \
        __asm__ volatile("xchg %[b], %[a]" : [a] "+m"(*at), [b] "+q"(b) : : "memory");                                 \
        x86_set##bits(cpu, in->reg, b);                                                                                \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }
FOR_SIZES(XCHG, x)

bool x86_decode_xchg(X86Decode *d)
{
    static const X86Handler handlers[2][4] = { BY_SIZE(xchg, _rr), BY_SIZE(xchg, _mr) };
    X86Insn                *in             = d->in;
    unsigned                mem            = x86_is_mem(&d->op[0]) ? 0 : x86_is_mem(&d->op[1]) ? 1 : 2;

    if (mem < 2) {
        in->reg = x86_decode_register(d->op[!mem].reg.value);
        in->run = handlers[1][x86_size_index(d->op[!mem].size / 8)];
    } else {
        in->reg = x86_decode_register(d->op[0].reg.value);
        in->rm  = x86_decode_register(d->op[1].reg.value);
        in->run = handlers[0][x86_size_index(d->op[0].size / 8)];
    }
    return true;
}

/* --- LEA --- */

#define LEA(bits)                                                                                                      \
    static void lea##bits(X86Cpu *cpu, const X86Insn *in)                                                              \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, (uint##bits##_t)x86_operand_offset(cpu, in));                                      \
    }
LEA(16)
LEA(32)
LEA(64)

static void lea64_64(X86Cpu *cpu, const X86Insn *in)
{
    cpu->gpr[in->reg] = cpu->gpr[in->base] + (cpu->gpr[in->index] << in->scale) + (uint64_t)in->disp;
}

bool x86_decode_lea(X86Decode *d)
{
    static const X86Handler handlers[4] = { NULL, lea16, lea32, lea64 };

    d->in->reg = x86_decode_register(d->op[0].reg.value);
    d->in->run = handlers[x86_size_index(d->op[0].size / 8)];
    if (d->in->run == lea64 && d->in->addrsize == 8) {
        d->in->run = lea64_64;
    }
    return x86_is_mem(&d->op[1]) && d->in->run;
}

/* --- CMOVcc, SETcc --- */

/* The source is read whatever the condition says, and a 32-bit destination is zero-extended. */
#define CMOV(n, cc)                                                                                                    \
    static void cmov16##cc##_r(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        if (x86_condition(cpu, n)) {                                                                                   \
            x86_set16(cpu, in->reg, REG16(cpu, in->rm));                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    static void cmov16##cc##_m(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        uint16_t value = LOAD_OPERAND(16, cpu, in);                                                                    \
        if (x86_condition(cpu, n)) {                                                                                   \
            x86_set16(cpu, in->reg, value);                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    static void cmov32##cc##_r(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        x86_set32(cpu, in->reg, REG32(cpu, x86_condition(cpu, n) ? in->rm : in->reg));                                 \
    }                                                                                                                  \
    static void cmov32##cc##_m(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        uint32_t value = LOAD_OPERAND(32, cpu, in);                                                                    \
        x86_set32(cpu, in->reg, x86_condition(cpu, n) ? value : REG32(cpu, in->reg));                                  \
    }                                                                                                                  \
    static void cmov64##cc##_r(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        x86_set64(cpu, in->reg, REG64(cpu, x86_condition(cpu, n) ? in->rm : in->reg));                                 \
    }                                                                                                                  \
    static void cmov64##cc##_m(X86Cpu *cpu, const X86Insn *in)                                                         \
    {                                                                                                                  \
        uint64_t value = LOAD_OPERAND(64, cpu, in);                                                                    \
        x86_set64(cpu, in->reg, x86_condition(cpu, n) ? value : REG64(cpu, in->reg));                                  \
    }                                                                                                                  \
    static void set##cc##_r(X86Cpu *cpu, const X86Insn *in)                                                            \
    {                                                                                                                  \
        REG8(cpu, in->reg) = x86_condition(cpu, n);                                                                    \
    }                                                                                                                  \
    static void set##cc##_m(X86Cpu *cpu, const X86Insn *in)                                                            \
    {                                                                                                                  \
        STORE(8, cpu, in, x86_ea(cpu, in, 1, X86_WRITE), x86_condition(cpu, n));                                       \
    }
CONDITIONS(CMOV)

#define CMOV_ROW(n, cc)                                                                                                \
    { { NULL, cmov16##cc##_r, cmov32##cc##_r, cmov64##cc##_r },                                                        \
      { NULL, cmov16##cc##_m, cmov32##cc##_m, cmov64##cc##_m } },
#define SET_ROW(n, cc) { set##cc##_r, set##cc##_m },

static const X86Handler cmov_handlers[16][2][4] = { CONDITIONS(CMOV_ROW) };
static const X86Handler set_handlers[16][2]     = { CONDITIONS(SET_ROW) };

bool x86_decode_cmov(X86Decode *d)
{
    d->in->reg = x86_decode_register(d->op[0].reg.value);
    d->in->rm  = x86_is_reg(&d->op[1]) ? x86_decode_register(d->op[1].reg.value) : X86_NO_REG;
    d->in->run = cmov_handlers[d->arg][x86_is_mem(&d->op[1])][x86_size_index(d->op[0].size / 8)];
    return d->in->run;
}

bool x86_decode_setcc(X86Decode *d)
{
    d->in->reg = x86_is_reg(&d->op[0]) ? x86_decode_register(d->op[0].reg.value) : X86_NO_REG;
    d->in->run = set_handlers[d->arg][x86_is_mem(&d->op[0])];
    return true;
}

/* --- BSWAP, MOVBE --- */

/* BSWAP of 16 bits is undefined: the host decides. */
static void bswap16(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t a = cpu->gpr[in->reg];
    __asm__(".byte 0x66\n\tbswapl %%eax" : "+a"(a));
    x86_set16(cpu, in->reg, (uint16_t)a);
}

static void bswap32(X86Cpu *cpu, const X86Insn *in)
{
    x86_set32(cpu, in->reg, __builtin_bswap32(REG32(cpu, in->reg)));
}

static void bswap64(X86Cpu *cpu, const X86Insn *in)
{
    cpu->gpr[in->reg] = __builtin_bswap64(cpu->gpr[in->reg]);
}

bool x86_decode_bswap(X86Decode *d)
{
    d->in->reg = x86_decode_register(d->op[0].reg.value);
    d->in->run = d->op[0].size == 64 ? bswap64 : d->op[0].size == 32 ? bswap32 : bswap16;
    return true;
}

#define MOVBE(bits)                                                                                                    \
    static void movbe##bits##_rm(X86Cpu *cpu, const X86Insn *in)                                                       \
    {                                                                                                                  \
        x86_set##bits(cpu, in->reg, __builtin_bswap##bits(LOAD_OPERAND(bits, cpu, in)));                               \
    }                                                                                                                  \
    static void movbe##bits##_mr(X86Cpu *cpu, const X86Insn *in)                                                       \
    {                                                                                                                  \
        STORE(bits, cpu, in, x86_ea(cpu, in, bits / 8, X86_WRITE), __builtin_bswap##bits(REG##bits(cpu, in->reg)));    \
    }
MOVBE(16)
MOVBE(32)
MOVBE(64)

bool x86_decode_movbe(X86Decode *d)
{
    static const X86Handler handlers[2][4] = { { NULL, movbe16_rm, movbe32_rm, movbe64_rm },
                                               { NULL, movbe16_mr, movbe32_mr, movbe64_mr } };
    bool                    store          = x86_is_mem(&d->op[0]);

    d->in->reg = x86_decode_register(d->op[store].reg.value);
    d->in->run = handlers[store][x86_size_index(d->op[0].size / 8)];
    return d->in->run;
}

/* --- CBW CWDE CDQE CWD CDQ CQO --- */

static void cbw(X86Cpu *cpu, const X86Insn *in)
{
    x86_set16(cpu, X86_RAX, (uint16_t)(int8_t)REG8(cpu, 0));
}

static void cwde(X86Cpu *cpu, const X86Insn *in)
{
    x86_set32(cpu, X86_RAX, (uint32_t)(int16_t)REG16(cpu, X86_RAX));
}

static void cdqe(X86Cpu *cpu, const X86Insn *in)
{
    cpu->gpr[X86_RAX] = (uint64_t)(int32_t)cpu->gpr[X86_RAX];
}

static void cwd(X86Cpu *cpu, const X86Insn *in)
{
    x86_set16(cpu, X86_RDX, (uint16_t)((int16_t)REG16(cpu, X86_RAX) >> 15));
}

static void cdq(X86Cpu *cpu, const X86Insn *in)
{
    x86_set32(cpu, X86_RDX, (uint32_t)((int32_t)REG32(cpu, X86_RAX) >> 31));
}

static void cqo(X86Cpu *cpu, const X86Insn *in)
{
    cpu->gpr[X86_RDX] = (uint64_t)((int64_t)cpu->gpr[X86_RAX] >> 63);
}

bool x86_decode_convert(X86Decode *d)
{
    switch (d->z->mnemonic) {
    case ZYDIS_MNEMONIC_CBW: d->in->run = cbw; break;
    case ZYDIS_MNEMONIC_CWDE: d->in->run = cwde; break;
    case ZYDIS_MNEMONIC_CDQE: d->in->run = cdqe; break;
    case ZYDIS_MNEMONIC_CWD: d->in->run = cwd; break;
    case ZYDIS_MNEMONIC_CDQ: d->in->run = cdq; break;
    default: d->in->run = cqo; break;
    }
    return true;
}

/* --- LDS LES LFS LGS LSS --- */

static void load_far_pointer(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t linear   = x86_ea(cpu, in, in->opsize + 2u, X86_READ);
    uint64_t wrapped  = cpu->code_size == X86_CODE64 ? UINT64_MAX : UINT32_MAX;
    bool     stack    = in->seg == X86_SS;
    uint64_t offset   = in->opsize == 8   ? x86_load64(cpu, linear, stack)
                        : in->opsize == 4 ? x86_load32(cpu, linear, stack)
                                          : x86_load16(cpu, linear, stack);
    uint16_t selector = x86_load16(cpu, (linear + in->opsize) & wrapped, stack);

    x86_load_segment(cpu, in->aux, selector);
    x86_set_sized(cpu, in->reg, in->opsize, offset);
}

void x86_cut_far_pointer(X86Decode *d)
{
    if (d->in->opsize == 8 && d->cpu->model && d->cpu->model->kind == X86_VENDOR_AMD) {
        d->in->opsize = 4;
    }
}

bool x86_decode_far_pointer(X86Decode *d)
{
    if (!x86_is_mem(&d->op[1])) {
        return false;
    }
    d->in->reg    = x86_decode_register(d->op[0].reg.value);
    d->in->opsize = (uint8_t)(d->op[0].size / 8);
    d->in->aux    = (uint8_t)d->arg;
    d->in->run    = load_far_pointer;
    x86_cut_far_pointer(d);
    return true;
}
