/* From bytes to X86Insns: Zydis finds the instruction and its operands, the tables below its family, the family its
 * handler.
 *
 * vCPU thread. Nothing here raises: what is no instruction becomes one that raises #UD. */

#include "cpu/x86/cache.h"
#include "cpu/x86/cpuid.h"

#include <inttypes.h>

/* --- instructions that do not exist --- */

static void raise_ud(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise(cpu, X86_UD);
}

static void raise_gp(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise(cpu, X86_GP);
}

bool x86_decode_ud(X86Decode *d)
{
    return false;
}

/* --- Zydis --- */

enum { KIND_REAL, KIND_16, KIND_32, KIND_64 };

static bool is_real_or_vm86(const X86Cpu *cpu)
{
    return !(cpu->cr0 & CR0_PE) || (cpu->eflags & EFLAGS_VM);
}

/* `any_mode`: instructions that real mode does not have are decoded as well. */
static const ZydisDecoder *decoder_for(X86Cpu *cpu, bool any_mode)
{
    static const ZydisMachineMode modes[]  = { ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_MACHINE_MODE_LEGACY_16,
                                               ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64 };
    static const ZydisStackWidth  stacks[] = { ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64 };

    bool     real  = is_real_or_vm86(cpu) && !any_mode;
    unsigned kind  = cpu->code_size == X86_CODE64   ? KIND_64
                     : cpu->code_size == X86_CODE32 ? KIND_32
                     : real                         ? KIND_REAL
                                                    : KIND_16;
    unsigned stack = x86_size_index(cpu->stack_size) - 1;

    Decoders *d = &cpu->cache->decoders[kind][stack];
    if (!d->ready) {
        ZydisDecoderInit(&d->decoder, modes[kind], stacks[stack]);
        ZydisDecoderEnableMode(&d->decoder, ZYDIS_DECODER_MODE_MPX, x86_has(cpu, X86_FEATURE_MPX));
        ZydisDecoderEnableMode(&d->decoder, ZYDIS_DECODER_MODE_CET, false);
        ZydisDecoderEnableMode(&d->decoder, ZYDIS_DECODER_MODE_LZCNT, x86_has(cpu, X86_FEATURE_ABM));
        ZydisDecoderEnableMode(&d->decoder, ZYDIS_DECODER_MODE_TZCNT, x86_has(cpu, X86_FEATURE_BMI1));
        ZydisDecoderEnableMode(&d->decoder, ZYDIS_DECODER_MODE_WBNOINVD, x86_has(cpu, X86_FEATURE_WBNOINVD));
        ZydisDecoderEnableMode(&d->decoder, ZYDIS_DECODER_MODE_CLDEMOTE, x86_has(cpu, X86_FEATURE_CLDEMOTE));
        ZydisDecoderEnableMode(&d->decoder, ZYDIS_DECODER_MODE_AMD_BRANCHES,
                               cpu->model && cpu->model->kind == X86_VENDOR_AMD);
        d->ready = true;
    }
    return &d->decoder;
}

uint8_t x86_decode_register(ZydisRegister reg)
{
    if (reg >= ZYDIS_REGISTER_AL && reg <= ZYDIS_REGISTER_BL) {
        return (uint8_t)(8 * (reg - ZYDIS_REGISTER_AL));
    }
    if (reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH) {
        return (uint8_t)(8 * (reg - ZYDIS_REGISTER_AH) + 1);
    }
    if (reg >= ZYDIS_REGISTER_SPL && reg <= ZYDIS_REGISTER_R15B) {
        return (uint8_t)(8 * (reg - ZYDIS_REGISTER_SPL + 4));
    }
    if (reg == ZYDIS_REGISTER_NONE) {
        return X86_NO_REG;
    }
    if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP || reg == ZYDIS_REGISTER_IP) {
        return X86_RIP;
    }
    ZyanI8 id = ZydisRegisterGetId(reg);
    return id < 0 ? X86_NO_REG : (uint8_t)id;
}

/* [disp32 + index] has no base, whatever REX.B says; Zydis 4.0 makes it R13 then, and forgets the displacement. */
static bool has_no_base(const ZydisDecodedInstruction *z)
{
    return z->attributes & ZYDIS_ATTRIB_HAS_MODRM && z->address_width != 16 && z->raw.modrm.mod == 0 &&
           z->raw.modrm.rm == 4 && z->raw.sib.base == 5;
}

void x86_decode_memory(const X86Cpu *cpu, X86Insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op)
{
    static const uint8_t scales[9] = { [1] = 0, [2] = 1, [4] = 2, [8] = 3 };

    in->flags |= X86_INSN_MEMORY;
    in->base  = has_no_base(z) ? X86_NO_REG : x86_decode_register(op->mem.base);
    in->index = x86_decode_register(op->mem.index);
    in->scale = scales[op->mem.scale];
    in->disp  = has_no_base(z) ? z->raw.disp.value : op->mem.disp.has_displacement ? op->mem.disp.value : 0;
    in->seg   = op->mem.segment >= ZYDIS_REGISTER_ES && op->mem.segment <= ZYDIS_REGISTER_GS
                    ? (uint8_t)(op->mem.segment - ZYDIS_REGISTER_ES)
                    : X86_DS;
    if (z->attributes & ZYDIS_ATTRIB_HAS_NOTRACK && cpu->code_size != X86_CODE64) {
        in->seg = X86_DS; /* NOTRACK is the prefix of DS, and overrides SS as ever */
    }
    if (in->base == X86_RIP) {
        in->disp += in->rip_offset + in->len;
    }

    bool based = in->seg == X86_FS || in->seg == X86_GS;
    if (cpu->code_size == X86_CODE64 && in->addrsize == 8) {
        in->address = based ? X86_ADDRESS_BASED : X86_ADDRESS_PLAIN;
    } else if (cpu->code_size == X86_CODE32 && cpu->flat && in->addrsize == 4 && !based && in->seg != X86_CS) {
        in->address = X86_ADDRESS_FLAT32;
    } else {
        in->address = X86_ADDRESS_CHECKED;
    }
}

/* Register operands by their place in the encoding, for those that have no tables of their own for it. */
static void decode_registers(X86Insn *in, const ZydisDecodedInstruction *z, const ZydisDecodedOperand *op)
{
    for (unsigned i = 0; i < z->operand_count; i++) {
        if (op[i].type != ZYDIS_OPERAND_TYPE_REGISTER) {
            continue;
        }
        switch (op[i].encoding) {
        case ZYDIS_OPERAND_ENCODING_MODRM_REG: in->reg = x86_decode_register(op[i].reg.value); break;
        case ZYDIS_OPERAND_ENCODING_OPCODE:
        case ZYDIS_OPERAND_ENCODING_MODRM_RM: in->rm = x86_decode_register(op[i].reg.value); break;
        case ZYDIS_OPERAND_ENCODING_NDSNDD: in->reg3 = x86_decode_register(op[i].reg.value); break;
        default: break;
        }
    }
}

bool x86_decode_raw(X86Cpu *cpu, const uint8_t *bytes, unsigned len, ZydisDecodedInstruction *z,
                    ZydisDecodedOperand *op)
{
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder_for(cpu, false), bytes, len, z, op));
}

DecodeResult x86_decode_insn(X86Cpu *cpu, const uint8_t *bytes, unsigned len, unsigned offset, X86Insn *in)
{
    ZydisDecodedInstruction z;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];

    *in = (X86Insn){
        .rip_offset = (uint16_t)offset,
        .base       = X86_NO_REG,
        .index      = X86_NO_REG,
        .reg        = X86_NO_REG,
        .rm         = X86_NO_REG,
        .reg3       = X86_NO_REG,
        .seg        = X86_DS,
    };

    ZyanStatus status = ZydisDecoderDecodeFull(decoder_for(cpu, false), bytes, len, &z, op);
    if (!ZYAN_SUCCESS(status) && status != ZYDIS_STATUS_NO_MORE_DATA && is_real_or_vm86(cpu)) {
        /* SYSENTER and SYSEXIT are known in all modes, and #GP where they cannot be done. */
        ZyanStatus again = ZydisDecoderDecodeFull(decoder_for(cpu, true), bytes, len, &z, op);
        if (ZYAN_SUCCESS(again) && (z.mnemonic == ZYDIS_MNEMONIC_SYSENTER || z.mnemonic == ZYDIS_MNEMONIC_SYSEXIT)) {
            status = again;
        }
    }
    if (status == ZYDIS_STATUS_NO_MORE_DATA && len < ZYDIS_MAX_INSTRUCTION_LENGTH) {
        return DECODE_MORE;
    }
    if (!ZYAN_SUCCESS(status)) {
        bool too_long = status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA;
        in->run       = too_long ? raise_gp : raise_ud;
        in->len       = (uint8_t)len; /* whatever decided it */
        in->flags     = X86_INSN_ENDS | X86_INSN_PARKED;
        return DECODE_OK;
    }

    in->len      = z.length;
    in->opsize   = (uint8_t)(z.operand_width / 8);
    in->addrsize = (uint8_t)(z.address_width / 8);
    in->prefixes = (uint8_t)((z.attributes & ZYDIS_ATTRIB_HAS_LOCK ? X86_PREFIX_LOCK : 0) |
                             (z.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE) ? X86_PREFIX_REP : 0) |
                             (z.attributes & ZYDIS_ATTRIB_HAS_REPNE ? X86_PREFIX_REPNE : 0));
    for (unsigned i = z.operand_count; i < ZYDIS_MAX_OPERAND_COUNT; i++) {
        op[i].type = ZYDIS_OPERAND_TYPE_UNUSED;
    }
    decode_registers(in, &z, op);
    for (unsigned i = 0; i < z.operand_count; i++) {
        if (x86_is_mem(&op[i]) && op[i].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            x86_decode_memory(cpu, in, &z, &op[i]);
            break;
        }
    }
    for (unsigned i = 0; i < z.operand_count_visible; i++) {
        if (x86_is_imm(&op[i])) {
            in->imm = op[i].imm.is_signed ? (uint64_t)op[i].imm.value.s : op[i].imm.value.u;
            if (op[i].imm.is_relative) {
                in->imm += offset + z.length;
            }
            break;
        }
    }

    const X86Mnemonic *m  = x86_mnemonic(z.mnemonic);
    bool               ok = false;
    if ((z.mnemonic == ZYDIS_MNEMONIC_MOVSD || z.mnemonic == ZYDIS_MNEMONIC_CMPSD) &&
        z.meta.category != ZYDIS_CATEGORY_STRINGOP) {
        m = NULL; /* the vector instructions of that name */
    }
    if (m && (!m->needs || x86_has(cpu, (X86Feature)m->needs))) {
        X86Decode d = { .cpu = cpu, .z = &z, .op = op, .in = in, .arg = m->arg };
        in->flags |= (uint8_t)m->ends;
        ok = m->family(&d);
    } else if (!m) {
        ok = x86_vector_decode(cpu, &z, op, in);
        in->flags |= X86_INSN_PARKED;
    }
    if (!ok) {
        in->run = raise_ud;
        in->flags |= X86_INSN_ENDS | X86_INSN_PARKED;
    }
    return DECODE_OK;
}

/* --- -d in_asm --- */

void x86_log_code(X86Cpu *cpu, const uint8_t *bytes, unsigned len, uint64_t linear)
{
    const Log     *log = cpu->vcpu.log;
    ZydisFormatter formatter;

    if (!log_in_range(log, linear)) {
        return;
    }
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    log_lock(log);
    log_print(log, LOG_IN_ASM, "----------------\nIN:\n");
    for (unsigned off = 0; off < len;) {
        ZydisDecodedInstruction z;
        ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
        char                    text[128];
        uint64_t                at = linear + off;

        if (x86_decode_raw(cpu, bytes + off, len - off, &z, op) &&
            ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &z, op, z.operand_count_visible, text, sizeof text,
                                                         at, NULL))) {
            off += z.length;
        } else {
            g_strlcpy(text, "(bad)", sizeof text);
            off = len;
        }
        log_print(log, LOG_IN_ASM, "%#018" PRIx64 ":  %s\n", at, text);
    }
    log_unlock(log);
}
