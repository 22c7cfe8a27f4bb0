/* The vector and FP instructions: which of them the guest has, and those that run through thunks.
 *
 * Specification: Intel SDM volume 2 (December 2023), section 2.4 (exception classes) and the instructions' own pages;
 * volume 3, table 24-3 (CR0.EM, MP, TS) and 23-1 (MMX). See vector.h for threads. */

#include "cpu/x86/vector.h"

#include "cpu/x86/thunk.h"

/* --- what the guest has ----------------------------------------------------------------------------------------- */

/* The CPUID features behind each of Zydis's instruction sets. Those not listed are not ours. */
typedef struct IsaRow {
    uint16_t isa_set;
    uint16_t feature, second; /* X86Feature; the same twice where one is enough */
} IsaRow;

#define ONE(set, feature)                                                                                              \
    {                                                                                                                  \
        ZYDIS_ISA_SET_##set, X86_FEATURE_##feature, X86_FEATURE_##feature                                              \
    }
#define TWO(set, a, b)                                                                                                 \
    {                                                                                                                  \
        ZYDIS_ISA_SET_##set, X86_FEATURE_##a, X86_FEATURE_##b                                                          \
    }

static const IsaRow isa_rows[] = {
    ONE(X87, FPU),
    TWO(FCMOV, FPU, CMOV),
    TWO(PPRO, FPU, CMOV), /* FCOMI and its like */
    TWO(SSE3X87, FPU, SSE3),
    ONE(PENTIUMMMX, MMX),
    ONE(FXSAVE, FXSR),
    ONE(FXSAVE64, FXSR),
    ONE(SSE, SSE),
    ONE(SSEMXCSR, SSE),
    ONE(SSE2, SSE2),
    ONE(SSE2MMX, SSE2),
    ONE(SSE3, SSE3),
    ONE(SSSE3, SSSE3),
    ONE(SSSE3MMX, SSSE3),
    ONE(SSE4, SSE4_1),
    ONE(SSE42, SSE4_2),
    ONE(SSE4A, SSE4A),
    TWO(AMD3DNOW, 3DNOW, MMX),
    ONE(AES, AES),
    ONE(PCLMULQDQ, PCLMULQDQ),
    ONE(SHA, SHA_NI),
    ONE(GFNI, GFNI),
    ONE(AVX, AVX),
    TWO(AVXAES, AVX, AES),
    TWO(AVX_GFNI, AVX, GFNI),
    ONE(AVX2, AVX2),
    ONE(AVX2GATHER, AVX2),
    TWO(AVX_VNNI, AVX2, AVX_VNNI),
    TWO(F16C, AVX, F16C),
    TWO(FMA, AVX, FMA),
    TWO(VAES, AVX, VAES),
    TWO(VPCLMULQDQ, AVX, VPCLMULQDQ),
    ONE(XSAVE, XSAVE),
    TWO(XSAVEOPT, XSAVE, XSAVEOPT),
    TWO(XSAVEC, XSAVE, XSAVEC),
    TWO(XSAVES, XSAVE, XSAVES),
};

/* MMX instructions that came with SSE or AMD's MMX extensions; Zydis counts them as Pentium MMX. */
static bool is_extended_mmx(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ:
    case ZYDIS_MNEMONIC_MOVNTQ:
    case ZYDIS_MNEMONIC_PAVGB:
    case ZYDIS_MNEMONIC_PAVGW:
    case ZYDIS_MNEMONIC_PEXTRW:
    case ZYDIS_MNEMONIC_PINSRW:
    case ZYDIS_MNEMONIC_PMAXSW:
    case ZYDIS_MNEMONIC_PMAXUB:
    case ZYDIS_MNEMONIC_PMINSW:
    case ZYDIS_MNEMONIC_PMINUB:
    case ZYDIS_MNEMONIC_PMOVMSKB:
    case ZYDIS_MNEMONIC_PMULHUW:
    case ZYDIS_MNEMONIC_PSADBW:
    case ZYDIS_MNEMONIC_PSHUFW: return true;
    default: return false;
    }
}

/* VEX.W = 1 in what is VPEXTRD and VPINSRD outside 64-bit mode: reserved on AMD's processors, ignored on Intel's. */
static bool is_reserved_w(const ZydisDecodedInstruction *d)
{
    return (d->mnemonic == ZYDIS_MNEMONIC_VPEXTRD || d->mnemonic == ZYDIS_MNEMONIC_VPINSRD) && d->raw.vex.W &&
           __builtin_cpu_is("amd");
}

static bool is_offered(const X86Cpu *cpu, const ZydisDecodedInstruction *d)
{
    if (is_reserved_w(d)) {
        return false;
    }
    for (size_t i = 0; i < G_N_ELEMENTS(isa_rows); i++) {
        const IsaRow *row = &isa_rows[i];
        if (row->isa_set != d->meta.isa_set) {
            continue;
        }
        if (!x86_has(cpu, row->feature) || !x86_has(cpu, row->second)) {
            return false;
        }
        if (d->meta.isa_set == ZYDIS_ISA_SET_PENTIUMMMX && is_extended_mmx(d->mnemonic)) {
            return x86_has(cpu, X86_FEATURE_SSE) || x86_has(cpu, X86_FEATURE_MMXEXT);
        }
        /* Zydis puts the 128-bit form under AVX. */
        if (d->mnemonic == ZYDIS_MNEMONIC_VPCLMULQDQ && d->meta.isa_set == ZYDIS_ISA_SET_AVX) {
            return x86_has(cpu, X86_FEATURE_PCLMULQDQ);
        }
        return true;
    }
    return false;
}

/* --- CR0, CR4, XCR0 --------------------------------------------------------------------------------------------- */

void x86_vector_undefined(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise(cpu, X86_UD);
}

static void run_not_available(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise(cpu, X86_NM);
}

X86Handler x86_unit_blocked(const X86Cpu *cpu, X86Unit unit)
{
    bool undefined = false;
    bool task      = cpu->cr0 & CR0_TS;

    switch (unit) {
    case X86_UNIT_X87:
    case X86_UNIT_FXSAVE: task |= (cpu->cr0 & CR0_EM) != 0; break;
    case X86_UNIT_FWAIT: task &= (cpu->cr0 & CR0_MP) != 0; break;
    case X86_UNIT_MMX: undefined = cpu->cr0 & CR0_EM; break;
    case X86_UNIT_SSE: undefined = cpu->cr0 & CR0_EM || !(cpu->cr4 & CR4_OSFXSR); break;
    case X86_UNIT_AVX:
        undefined = !(cpu->cr0 & CR0_PE) || cpu->eflags & EFLAGS_VM || !(cpu->cr4 & CR4_OSXSAVE) ||
                    (cpu->xcr0 & (XCR0_SSE | XCR0_AVX)) != (XCR0_SSE | XCR0_AVX);
        break;
    case X86_UNIT_XSAVE: undefined = !(cpu->cr4 & CR4_OSXSAVE); break;
    }
    return undefined ? x86_vector_undefined : task ? run_not_available : NULL;
}

uint32_t x86_mxcsr_mask(const X86Cpu *cpu)
{
    return 0xffffu | (x86_has(cpu, X86_FEATURE_MISALIGNSSE) ? 1u << 17 : 0);
}

/* --- handlers of thunks ----------------------------------------------------------------------------------------- */

/* X86Insn.reg, rm, reg3 and aux are operands 0 to 3 as slots of X86Cpu. */
enum { SLOT_GPR = 0, SLOT_XMM = 32, SLOT_MMX = 48, SLOT_UNUSED = 0, N_SLOTS = 56 };

static inline void *slot(X86Cpu *cpu, unsigned n)
{
    static const uint16_t offset[N_SLOTS] = {
#define GPR(n) [SLOT_GPR + (n)] = offsetof(X86Cpu, gpr) + 8 * (n)
#define XMM(n) [SLOT_XMM + (n)] = offsetof(X86Cpu, xsave) + XSAVE_XMM + 16 * (n)
#define MMX(n) [SLOT_MMX + (n)] = offsetof(X86Cpu, xsave) + XSAVE_ST + 16 * (n)
        GPR(0),  GPR(1),  GPR(2),  GPR(3),  GPR(4),  GPR(5),  GPR(6),  GPR(7),  GPR(8),  GPR(9),
        GPR(10), GPR(11), GPR(12), GPR(13), GPR(14), GPR(15), XMM(0),  XMM(1),  XMM(2),  XMM(3),
        XMM(4),  XMM(5),  XMM(6),  XMM(7),  XMM(8),  XMM(9),  XMM(10), XMM(11), XMM(12), XMM(13),
        XMM(14), XMM(15), MMX(0),  MMX(1),  MMX(2),  MMX(3),  MMX(4),  MMX(5),  MMX(6),  MMX(7),
#undef GPR
#undef XMM
#undef MMX
    };
    return (uint8_t *)cpu + offset[n];
}

static __attribute__((noinline, cold)) void raise_simd(X86Cpu *cpu)
{
    x86_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? X86_XM : X86_UD);
}

static inline void call(X86Cpu *cpu, const X86Insn *in, const X86Thunk *thunk)
{
    if (__builtin_expect(
            thunk->code(slot(cpu, in->reg), slot(cpu, in->rm), slot(cpu, in->reg3), slot(cpu, in->aux), cpu), 0)) {
        raise_simd(cpu);
    }
}

static inline void call_with_memory(X86Cpu *cpu, const X86Insn *in, const X86Thunk *thunk, uint8_t *memory)
{
    void *op[4]                    = { slot(cpu, in->reg), slot(cpu, in->rm), slot(cpu, in->reg3), slot(cpu, in->aux) };
    op[thunk->spec.memory_operand] = memory;
    if (__builtin_expect(thunk->code(op[0], op[1], op[2], op[3], cpu), 0)) {
        raise_simd(cpu);
    }
}

static inline void load_operand(X86Cpu *cpu, const X86Insn *in, const X86Thunk *thunk, uint8_t *buf)
{
    unsigned size   = thunk->spec.memory_size;
    uint64_t linear = x86_ea(cpu, in, size, X86_READ);
    if (thunk->spec.aligned && !x86_misaligned_mode(cpu)) {
        x86_check_alignment(cpu, linear, size);
    }
    if (size <= 8) {
        uint64_t value = x86_vector_load(cpu, in, linear, size);
        memcpy(buf, &value, 8);
    } else if (size == 16) {
        x86_vector_load_long(cpu, linear, buf, 16, 16);
    } else {
        x86_vector_load_long(cpu, linear, buf, size, 16);
    }
}

static void run_registers(X86Cpu *cpu, const X86Insn *in)
{
    call(cpu, in, in->extra);
}

static void run_load(X86Cpu *cpu, const X86Insn *in)
{
    X86_UNINITIALIZED uint8_t buf[X86_THUNK_BUFFER] __attribute__((aligned(32)));
    load_operand(cpu, in, in->extra, buf);
    call_with_memory(cpu, in, in->extra, buf);
}

/* No instruction that stores through a thunk reads its memory operand. */
static void run_store(X86Cpu *cpu, const X86Insn *in)
{
    X86_UNINITIALIZED uint8_t buf[X86_THUNK_BUFFER] __attribute__((aligned(32)));
    const X86Thunk           *thunk  = in->extra;
    unsigned                  size   = thunk->spec.memory_size;
    uint64_t                  linear = x86_ea(cpu, in, size, X86_WRITE);

    if (size > 8) {
        x86_check_ac(cpu, linear, 16);
    }
    if (thunk->spec.flags & X86_THUNK_MXCSR) {
        x86_probe_write(cpu, linear, size); /* MXCSR changes only when the store will not fault */
    }
    call_with_memory(cpu, in, thunk, buf);
    if (size <= 8) {
        x86_vector_store(cpu, in, linear, load_le(buf, size), size);
    } else {
        x86_store_bytes(cpu, linear, buf, size);
    }
}

/* With at least one MMX register. */
static void run_mmx(X86Cpu *cpu, const X86Insn *in)
{
    X86_UNINITIALIZED uint8_t buf[X86_THUNK_BUFFER] __attribute__((aligned(32)));
    const X86Thunk           *thunk    = in->extra;
    const uint8_t             slots[2] = { in->reg, in->rm };
    bool                      memory   = in->flags & X86_INSN_MEMORY;

    x86_fpu_check_pending(cpu);
    if (memory) {
        load_operand(cpu, in, thunk, buf);
    }
    x86_mmx_enter(cpu); /* also when #XM follows */
    if (memory) {
        call_with_memory(cpu, in, thunk, buf);
    } else {
        call(cpu, in, thunk);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (thunk->spec.mmx_written >> i & 1) {
            x86_mmx_written(cpu, slots[i] - SLOT_MMX);
        }
    }
}

static void run_missing(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise_missing(cpu, in->extra);
}

/* --- decoding --------------------------------------------------------------------------------------------------- */

/* Legacy SSE instructions whose exception class asks for alignment, although they do not. SHA's does on Intel hosts. */
static bool is_unaligned(const ZydisDecodedInstruction *d)
{
    if (d->meta.isa_set == ZYDIS_ISA_SET_SHA) {
        return __builtin_cpu_is("amd");
    }
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM: return true;
    default: return false;
    }
}

static bool uses_mxcsr(const ZydisDecodedInstruction *d)
{
    switch (d->meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_SSE2:
    case ZYDIS_EXCEPTION_CLASS_SSE3:
    case ZYDIS_EXCEPTION_CLASS_AVX2:
    case ZYDIS_EXCEPTION_CLASS_AVX3:
    case ZYDIS_EXCEPTION_CLASS_AVX11: return true;
    default: break;
    }
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_CVTPI2PS:
    case ZYDIS_MNEMONIC_CVTPI2PD:
    case ZYDIS_MNEMONIC_CVTPS2PI:
    case ZYDIS_MNEMONIC_CVTTPS2PI:
    case ZYDIS_MNEMONIC_CVTPD2PI:
    case ZYDIS_MNEMONIC_CVTTPD2PI:
    /* They raise nothing, but a host may look at FTZ and DAZ. */
    case ZYDIS_MNEMONIC_RCPPS:
    case ZYDIS_MNEMONIC_RCPSS:
    case ZYDIS_MNEMONIC_RSQRTPS:
    case ZYDIS_MNEMONIC_RSQRTSS:
    case ZYDIS_MNEMONIC_VRCPPS:
    case ZYDIS_MNEMONIC_VRCPSS:
    case ZYDIS_MNEMONIC_VRSQRTPS:
    case ZYDIS_MNEMONIC_VRSQRTSS: return true;
    default: return false;
    }
}

static bool hidden_operand(X86ThunkSpec *spec, const ZydisDecodedOperand *op)
{
    bool written = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
    if (op->type != ZYDIS_OPERAND_TYPE_REGISTER) {
        return false;
    }
    switch (op->reg.value) {
    case ZYDIS_REGISTER_XMM0: spec->flags |= written ? X86_THUNK_XMM0_OUT : X86_THUNK_XMM0_IN; return true;
    case ZYDIS_REGISTER_EAX:
    case ZYDIS_REGISTER_RAX:
    case ZYDIS_REGISTER_EDX:
    case ZYDIS_REGISTER_RDX: spec->flags |= X86_THUNK_LENGTHS; return !written;
    case ZYDIS_REGISTER_ECX: spec->flags |= X86_THUNK_RCX_OUT; return written;
    case ZYDIS_REGISTER_FLAGS:
    case ZYDIS_REGISTER_EFLAGS:
    case ZYDIS_REGISTER_RFLAGS: spec->flags |= X86_THUNK_FLAGS; return true;
    default: return false;
    }
}

/* Fills spec and slots from the operands. false: something a thunk cannot express. */
static bool plan(X86ThunkSpec *spec, uint8_t slots[4], X86Unit *unit, const ZydisDecodedInstruction *d,
                 const ZydisDecodedOperand *ops)
{
    bool vector = false, mmx = false;

    for (unsigned i = 0; i < d->operand_count; i++) {
        const ZydisDecodedOperand *op = &ops[i];
        if (op->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT) {
            if (!hidden_operand(spec, op)) {
                return false;
            }
            continue;
        }
        if (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            continue;
        }
        if (i >= 4) {
            return false;
        }
        bool written      = op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
        spec->encoding[i] = (uint8_t)op->encoding;
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            if (op->mem.type != ZYDIS_MEMOP_TYPE_MEM || op->size % 8 || op->size / 8 > X86_THUNK_BUFFER ||
                (written && op->actions & ZYDIS_OPERAND_ACTION_MASK_READ)) {
                return false;
            }
            spec->kind[i]        = X86_THUNK_MEMORY_OPERAND;
            spec->encoding[i]    = 0;
            spec->memory_operand = (uint8_t)i;
            spec->memory_write   = written;
            spec->memory_size    = (uint8_t)(op->size / 8);
            continue;
        }
        if (op->type != ZYDIS_OPERAND_TYPE_REGISTER) {
            return false;
        }
        uint8_t number = (uint8_t)ZydisRegisterGetId(op->reg.value);
        spec->written |= (uint8_t)(written << i);
        switch (ZydisRegisterGetClass(op->reg.value)) {
        case ZYDIS_REGCLASS_XMM:
            spec->kind[i] = X86_THUNK_XMM;
            slots[i]      = SLOT_XMM + number;
            vector        = true;
            break;
        case ZYDIS_REGCLASS_YMM:
            spec->kind[i] = X86_THUNK_YMM;
            slots[i]      = SLOT_XMM + number;
            vector        = true;
            break;
        case ZYDIS_REGCLASS_MMX:
            if (i > 1) {
                return false;
            }
            spec->kind[i] = X86_THUNK_MMX;
            slots[i]      = SLOT_MMX + number;
            spec->mmx_written |= (uint8_t)(written << i);
            mmx = true;
            break;
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64:
            spec->kind[i] = X86_THUNK_GPR;
            slots[i]      = SLOT_GPR + number;
            break;
        default: return false;
        }
    }
    spec->mmx_enter = mmx;
    *unit           = spec->form.vex ? X86_UNIT_AVX : mmx && !vector ? X86_UNIT_MMX : X86_UNIT_SSE;
    return true;
}

static bool decode_thunk(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    X86ThunkSpec spec;
    uint8_t      slots[4] = { SLOT_UNUSED };
    X86Unit      unit;

    memset(&spec, 0, sizeof spec);
    if (!x86_form_from_decoded(&spec.form, d, ops) || !x86_form_allowed(&spec.form) ||
        !plan(&spec, slots, &unit, d, ops)) {
        return false;
    }
    X86Handler blocked = x86_unit_blocked(cpu, unit);
    if (blocked) {
        insn->run = blocked;
        return true;
    }
    if (uses_mxcsr(d)) {
        spec.flags |= X86_THUNK_MXCSR;
    }
    for (unsigned i = 0; i < 4; i++) {
        if (spec.encoding[i] == ZYDIS_OPERAND_ENCODING_IS4) {
            spec.form.imm &= 0x0f;
        }
    }
    spec.aligned = spec.memory_size == 16 && !spec.form.vex && !spec.memory_write && !is_unaligned(d);

    const X86Thunk *thunk = x86_thunk_get(&spec);
    if (!thunk) {
        return false;
    }
    insn->extra = thunk;
    insn->reg   = slots[0];
    insn->rm    = slots[1];
    insn->reg3  = slots[2];
    insn->aux   = slots[3];
    if (spec.mmx_enter) {
        insn->run = run_mmx;
    } else {
        insn->run = !spec.memory_size ? run_registers : spec.memory_write ? run_store : run_load;
    }
    return true;
}

/* Does this instruction fault on a misaligned operand? Moves included. */
static bool wants_alignment(const ZydisDecodedInstruction *d)
{
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU: return false;
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA: return true;
    default: return d->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && !is_unaligned(d);
    }
}

bool x86_vector_inline(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops,
                       X86ThunkSpec *spec, uint8_t number[4])
{
    uint8_t slots[4] = { SLOT_UNUSED };
    X86Unit unit;

    memset(spec, 0, sizeof *spec);
    if ((d->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY && d->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX) ||
        (d->meta.isa_set == ZYDIS_ISA_SET_SSE4A && !x86_sse4a_is_native()) || !is_offered(cpu, d) ||
        !x86_form_from_decoded(&spec->form, d, ops) || !x86_form_allowed(&spec->form) ||
        !plan(spec, slots, &unit, d, ops) || x86_unit_blocked(cpu, unit)) {
        return false;
    }
    if (uses_mxcsr(d)) {
        spec->flags |= X86_THUNK_MXCSR;
    }
    spec->aligned = spec->memory_size >= 16 && wants_alignment(d);
    for (unsigned i = 0; i < 4; i++) {
        if (spec->encoding[i] == ZYDIS_OPERAND_ENCODING_IS4) {
            spec->form.imm &= 0x0f;
        }
        number[i] = (uint8_t)(slots[i] - (spec->kind[i] == X86_THUNK_GPR   ? SLOT_GPR
                                          : spec->kind[i] == X86_THUNK_MMX ? SLOT_MMX
                                                                           : SLOT_XMM));
    }
    return true;
}

bool x86_vector_decode(X86Cpu *cpu, const ZydisDecodedInstruction *decoded, const ZydisDecodedOperand *operands,
                       X86Insn *insn)
{
    if ((decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
         decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX &&
         decoded->encoding != ZYDIS_INSTRUCTION_ENCODING_3DNOW) ||
        !is_offered(cpu, decoded)) {
        return false;
    }
    if (x86_fpu_decode(cpu, decoded, operands, insn) || x86_move_decode(cpu, decoded, operands, insn) ||
        x86_mask_decode(cpu, decoded, operands, insn) || x86_xsave_decode(cpu, decoded, operands, insn) ||
        x86_amd_decode(cpu, decoded, operands, insn) || decode_thunk(cpu, decoded, operands, insn)) {
        return true;
    }
    insn->run   = run_missing;
    insn->extra = ZydisMnemonicGetString(decoded->mnemonic);
    return true;
}
