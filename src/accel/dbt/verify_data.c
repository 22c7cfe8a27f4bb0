/* The verifier's data: see verify.h. Pure functions; any thread. */

#include "accel/dbt/verify.h"

#include "cpu/x86/x86.h"

bool expr_sum(const Expr *a, const Expr *b, int64_t times, Expr *to)
{
    Expr     e = { .c = a->c + b->c * (uint64_t)times };
    unsigned i = 0, k = 0;
    while (i < a->n || k < b->n) {
        Term t;
        if (k == b->n || (i < a->n && a->term[i].root < b->term[k].root)) {
            t = a->term[i++];
        } else {
            t       = b->term[k++];
            t.times = (int64_t)((uint64_t)t.times * (uint64_t)times);
            if (i < a->n && a->term[i].root == t.root) {
                t.times = (int64_t)((uint64_t)t.times + (uint64_t)a->term[i++].times);
            }
        }
        if (t.times && e.n == EXPR_TERMS) {
            return false;
        }
        if (t.times) {
            e.term[e.n++] = t;
        }
    }
    *to = e;
    return true;
}

bool expr_same_terms(const Expr *a, const Expr *b)
{
    for (unsigned i = 0; i < a->n && a->n == b->n; i++) {
        if (a->term[i].root != b->term[i].root || a->term[i].times != b->term[i].times) {
            return false;
        }
    }
    return a->n == b->n;
}

bool expr_same(const Expr *a, const Expr *b)
{
    return a->c == b->c && expr_same_terms(a, b);
}

/* The general register that an operand is, in that width; -1: another kind of operand. */
static int gpr(const ZydisDecodedOperand *o, unsigned bits)
{
    return o->type == ZYDIS_OPERAND_TYPE_REGISTER && o->size == bits &&
                   (ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR64 ||
                    ZydisRegisterGetClass(o->reg.value) == ZYDIS_REGCLASS_GPR32)
               ? ZydisRegisterGetId(o->reg.value)
               : -1;
}

static bool is_immediate(const ZydisDecodedOperand *o)
{
    return o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

void fits_step(Fits *f, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op, const Expr *reg)
{
    enum { EAX = 0, STAGE_MOV = 1, STAGE_OR, STAGE_NEG, STAGE_SHR, STAGE_CMP };
    unsigned stage = f->stage;

    f->stage = 0;
    switch (z->mnemonic) {
    case ZYDIS_MNEMONIC_MOV:
        if (gpr(&op[0], 32) == EAX && gpr(&op[1], 32) >= 0) {
            f->fit   = (Fit){ .address = reg[gpr(&op[1], 32)] };
            f->stage = STAGE_MOV;
        }
        break;
    case ZYDIS_MNEMONIC_OR:
        if (stage == STAGE_MOV && gpr(&op[0], 32) == EAX && is_immediate(&op[1]) &&
            (uint32_t)op[1].imm.value.u == UINT32_C(0xfffff000)) {
            f->stage = STAGE_OR;
        }
        break;
    case ZYDIS_MNEMONIC_NEG: f->stage = stage == STAGE_OR && gpr(&op[0], 32) == EAX ? STAGE_NEG : 0; break;
    case ZYDIS_MNEMONIC_SHR:
        if (stage == STAGE_NEG && gpr(&op[0], 32) == EAX && is_immediate(&op[1])) {
            f->fit.shift = (unsigned)op[1].imm.value.u & 31;
            f->stage     = STAGE_SHR;
        }
        break;
    case ZYDIS_MNEMONIC_CMP:
        if ((stage == STAGE_NEG || stage == STAGE_SHR) && gpr(&op[0], 64) >= 0 && gpr(&op[1], 64) == EAX) {
            f->fit.count = reg[gpr(&op[0], 64)];
            f->stage     = STAGE_CMP;
        }
        break;
    case ZYDIS_MNEMONIC_JNBE:
        if (stage == STAGE_CMP) {
            f->known[f->n++ % 2] = f->fit;
        }
        break;
    default: break;
    }
}

bool fits_cover(const Fits *f, const Expr *address, const Expr *count, unsigned size)
{
    for (unsigned i = 0; i < f->n && i < 2; i++) {
        if (expr_same(&f->known[i].address, address) && expr_same(&f->known[i].count, count) &&
            1u << f->known[i].shift == size) {
            return true;
        }
    }
    return false;
}

#define MEMBER(member, may_write)                                                                                      \
    {                                                                                                                  \
#member, offsetof(X86Cpu, member), sizeof(((X86Cpu *)0)->member), may_write                                    \
    }
static const struct {
    const char *name;
    uint64_t    offset;
    unsigned    size;
    bool        write;
} cpu_members[] = {
    MEMBER(eflags, true),
    MEMBER(interrupt_shadow, true),
    MEMBER(vcpu.requests, false),
    MEMBER(kernel_gs_base, true),
    MEMBER(seg[X86_ES].base, true),
    MEMBER(seg[X86_CS].base, true),
    MEMBER(seg[X86_CS].attr, true),
    MEMBER(seg[X86_DS].base, true),
    MEMBER(nmi_blocked, false),
    MEMBER(idt.base, false),
    MEMBER(idt.limit, false),
    MEMBER(seg[X86_FS].base, true),
    MEMBER(seg[X86_GS].base, true),
    MEMBER(seg[X86_ES].selector, true),
    MEMBER(seg[X86_CS].selector, true),
    MEMBER(seg[X86_SS].selector, false),
    MEMBER(seg[X86_DS].selector, true),
    MEMBER(seg[X86_FS].selector, true),
    MEMBER(seg[X86_GS].selector, true),
    MEMBER(tsc_plain, false),
    MEMBER(tsc_offset, false),
    MEMBER(tsc_aux, false),
    MEMBER(cr4, false),
};
#undef MEMBER

const char *dbt_cpu_member(uint64_t offset, unsigned size, bool write)
{
    for (unsigned i = 0; i < sizeof cpu_members / sizeof cpu_members[0]; i++) {
        uint64_t into = offset - cpu_members[i].offset;
        if (into < cpu_members[i].size && size <= cpu_members[i].size - into) {
            return !write || cpu_members[i].write ? cpu_members[i].name : NULL;
        }
    }
    return NULL;
}

#define OK(m) [ZYDIS_MNEMONIC_##m] = 1
/* clang-format off */
const uint8_t dbt_verify_integer[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    OK(MOV), OK(MOVZX), OK(MOVSX), OK(MOVSXD), OK(LEA), OK(XCHG), OK(BSWAP), OK(MOVBE), OK(MOVNTI), OK(NOP), OK(PREFETCHT0),
    OK(ADD), OK(ADC), OK(SUB), OK(SBB), OK(AND), OK(OR), OK(XOR), OK(CMP), OK(TEST), OK(INC), OK(DEC), OK(NEG), OK(NOT),
    OK(MUL), OK(IMUL), OK(DIV), OK(IDIV), OK(SHL), OK(SHR), OK(SAR), OK(ROL), OK(ROR), OK(RCL), OK(RCR), OK(SHLD), OK(SHRD),
    OK(BT), OK(BTS), OK(BTR), OK(BTC), OK(BSF), OK(BSR), OK(LZCNT), OK(TZCNT), OK(POPCNT), OK(CRC32), OK(ADCX), OK(ADOX),
    OK(XADD), OK(CMPXCHG), OK(CMPXCHG8B), OK(CMPXCHG16B), OK(CBW), OK(CWDE), OK(CDQE), OK(CWD), OK(CDQ), OK(CQO),
    OK(LAHF), OK(SAHF), OK(CLC), OK(STC), OK(CMC), OK(RDTSC), OK(LFENCE), OK(MFENCE), OK(SFENCE),
    OK(ANDN), OK(BEXTR), OK(BLSI), OK(BLSR), OK(BLSMSK), OK(BZHI), OK(PDEP), OK(PEXT), OK(MULX), OK(RORX), OK(SARX), OK(SHLX),
    OK(SHRX),
    OK(CMOVO), OK(CMOVNO), OK(CMOVB), OK(CMOVNB), OK(CMOVZ), OK(CMOVNZ), OK(CMOVBE), OK(CMOVNBE), OK(CMOVS), OK(CMOVNS),
    OK(CMOVP), OK(CMOVNP), OK(CMOVL), OK(CMOVNL), OK(CMOVLE), OK(CMOVNLE),
    OK(SETO), OK(SETNO), OK(SETB), OK(SETNB), OK(SETZ), OK(SETNZ), OK(SETBE), OK(SETNBE), OK(SETS), OK(SETNS), OK(SETP),
    OK(SETNP), OK(SETL), OK(SETNL), OK(SETLE), OK(SETNLE),
    OK(JO), OK(JNO), OK(JB), OK(JNB), OK(JZ), OK(JNZ), OK(JBE), OK(JNBE), OK(JS), OK(JNS), OK(JP), OK(JNP), OK(JL), OK(JNL),
    OK(JLE), OK(JNLE), OK(JRCXZ), OK(JMP), OK(CALL), OK(UD2),
};
/* clang-format on */
