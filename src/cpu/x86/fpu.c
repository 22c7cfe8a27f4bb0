/* x87 arithmetic through thunks, pending exceptions, and the switch between x87 and MMX.
 *
 * The x87 registers are kept as FXSAVE lays them out: slot n of the legacy area is ST(n). A thunk loads that image,
 * runs one instruction and saves it again; the pointers FIP, FDP and FOP, which are the host's then, are put back and
 * set to the guest's. An unmasked exception only sets FSW.ES there; the next waiting instruction raises it here.
 *
 * Specification: Intel SDM volume 1 (December 2023), chapter 8; volume 3, section 13.3 (MMX and x87 tags). See vector.h
 * for threads. */

#include "cpu/x86/fpu.h"

#include "cpu/x86/thunk.h"

/* --- state ------------------------------------------------------------------------------------------------------ */

void x86_fpu_init_state(X86Cpu *cpu, uint16_t control)
{
    x86_fpu_set_top(cpu, 0);
    memset(cpu->xsave, 0, XSAVE_MXCSR);
    store_le16(cpu->xsave + FX_FCW, control);
    cpu->fpu_cs = 0;
    cpu->fpu_ds = 0;
}

void x86_fpu_reset(X86Cpu *cpu)
{
    memset(cpu->xsave, 0, sizeof cpu->xsave);
    x86_fpu_init_state(cpu, 0x40);
    cpu->xsave[FX_FTW] = 0xff; /* tags 5555h: eight zeros, none empty */
    store_le32(cpu->xsave + XSAVE_MXCSR, 0x1f80);
}

/* The registers do not move when TOP does: slots, which count from TOP, do. */
void x86_fpu_set_top(X86Cpu *cpu, unsigned top)
{
    uint16_t fsw  = x86_fsw(cpu);
    unsigned turn = (top - (fsw >> 11 & 7)) & 7;
    if (turn) {
        uint8_t *st = cpu->xsave + XSAVE_ST;
        uint8_t  old[128];
        memcpy(old, st, sizeof old);
        for (unsigned i = 0; i < 8; i++) {
            memcpy(st + 16 * i, old + 16 * ((i + turn) & 7), 16);
        }
        store_le16(cpu->xsave + FX_FSW, (uint16_t)((fsw & ~FSW_TOP) | top << 11));
    }
}

void x86_mmx_enter(X86Cpu *cpu)
{
    x86_fpu_set_top(cpu, 0);
    cpu->xsave[FX_FTW] = 0xff;
}

/* --- thunks ----------------------------------------------------------------------------------------------------- */

typedef struct Pointers {
    uint8_t bytes[XSAVE_MXCSR - FX_FOP];
} Pointers;

static inline Pointers save_pointers(const X86Cpu *cpu)
{
    Pointers p;
    memcpy(p.bytes, cpu->xsave + FX_FOP, sizeof p.bytes);
    return p;
}

static inline void restore_pointers(X86Cpu *cpu, const Pointers *p)
{
    memcpy(cpu->xsave + FX_FOP, p->bytes, sizeof p->bytes);
}

/* imm is the opcode as FOP wants it. */
static inline void set_pointers(X86Cpu *cpu, const X86Insn *in)
{
    bool deprecated = x86_has(cpu, X86_FEATURE_ZERO_FCS_FDS);
    store_le16(cpu->xsave + FX_FOP, (uint16_t)in->imm);
    store_le64(cpu->xsave + FX_FIP, x86_insn_rip(cpu, in));
    cpu->fpu_cs = deprecated ? 0 : cpu->seg[X86_CS].selector;
    if (in->flags & X86_INSN_MEMORY) {
        store_le64(cpu->xsave + FX_FDP, x86_operand_offset(cpu, in));
        cpu->fpu_ds = deprecated ? 0 : cpu->seg[in->seg].selector;
    }
}

static inline void call(X86Cpu *cpu, const X86Insn *in, uint8_t *memory)
{
    const X86Thunk *thunk = in->extra;
    Pointers        p     = save_pointers(cpu);
    thunk->code(memory, NULL, NULL, NULL, cpu);
    restore_pointers(cpu, &p);
}

static void run_registers(X86Cpu *cpu, const X86Insn *in)
{
    x86_fpu_check_pending(cpu);
    call(cpu, in, NULL);
    set_pointers(cpu, in);
}

static inline void load_operand(X86Cpu *cpu, const X86Insn *in, uint8_t *buf)
{
    const X86Thunk *thunk  = in->extra;
    unsigned        size   = thunk->spec.memory_size;
    uint64_t        linear = x86_ea(cpu, in, size, X86_READ);
    if (size <= 8) {
        store_le64(buf, x86_vector_load(cpu, in, linear, size));
    } else {
        x86_check_ac(cpu, linear, 8);
        x86_load_bytes(cpu, linear, buf, size);
    }
}

static void run_load(X86Cpu *cpu, const X86Insn *in)
{
    X86_UNINITIALIZED uint8_t buf[16] __attribute__((aligned(16)));
    x86_fpu_check_pending(cpu);
    load_operand(cpu, in, buf);
    call(cpu, in, buf);
    set_pointers(cpu, in);
}

/* FLDCW: the pointers stay. */
static void run_load_control(X86Cpu *cpu, const X86Insn *in)
{
    X86_UNINITIALIZED uint8_t buf[16] __attribute__((aligned(16)));
    x86_fpu_check_pending(cpu);
    load_operand(cpu, in, buf);
    call(cpu, in, buf);
}

/* An unmasked exception other than precision keeps the result from memory. */
static void run_store(X86Cpu *cpu, const X86Insn *in)
{
    X86_UNINITIALIZED uint8_t buf[16] __attribute__((aligned(16)));
    const X86Thunk           *thunk = in->extra;
    unsigned                  size  = thunk->spec.memory_size;

    x86_fpu_check_pending(cpu);
    uint64_t linear = x86_ea(cpu, in, size, X86_WRITE);
    x86_check_ac(cpu, linear, size > 8 ? 8 : size);
    x86_probe_write(cpu, linear, size);
    call(cpu, in, buf);
    set_pointers(cpu, in);
    uint16_t unmasked = x86_fsw(cpu) & ~load_le16(cpu->xsave + FX_FCW) & FSW_EXCEPTIONS;
    if (unmasked & ~FSW_PE) {
        return;
    }
    if (size <= 8) {
        x86_vector_store(cpu, in, linear, load_le(buf, size), size);
    } else {
        x86_store_bytes(cpu, linear, buf, size);
    }
}

/* --- decoding --------------------------------------------------------------------------------------------------- */

static bool is_x87(const ZydisDecodedInstruction *d)
{
    return d->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && d->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
           ((d->opcode >= 0xd8 && d->opcode <= 0xdf) || d->opcode == 0x9b);
}

bool x86_fpu_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    if (!is_x87(d)) {
        return false;
    }
    X86Handler blocked = x86_unit_blocked(cpu, d->opcode == 0x9b ? X86_UNIT_FWAIT : X86_UNIT_X87);
    if (blocked) {
        insn->run = blocked;
        return true;
    }
    if (x86_fpu_env_decode(cpu, d, ops, insn)) {
        return true;
    }

    X86ThunkSpec spec;
    memset(&spec, 0, sizeof spec);
    if (!x86_form_from_decoded(&spec.form, d, ops) || !x86_form_allowed(&spec.form)) {
        return false;
    }
    spec.flags = X86_THUNK_X87;
    for (unsigned i = 0; i < d->operand_count; i++) {
        const ZydisDecodedOperand *op = &ops[i];
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            spec.kind[0]      = X86_THUNK_MEMORY_OPERAND;
            spec.memory_size  = (uint8_t)(op->size / 8);
            spec.memory_write = (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
            if (spec.memory_size > 10) {
                return false;
            }
        } else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
                   ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_FLAGS) {
            spec.flags |= X86_THUNK_FLAGS;
        }
    }
    if (!spec.form.memory) {
        /* ST(i) and the rest of the opcode, as they are: x87 registers cannot be renamed. */
        spec.form.reg = d->raw.modrm.reg;
        spec.form.rm  = d->raw.modrm.rm;
    } else {
        spec.form.reg = d->raw.modrm.reg;
    }
    insn->extra = x86_thunk_get(&spec);
    if (!insn->extra) {
        return false;
    }
    insn->imm = (uint64_t)((d->opcode & 7) << 8 | d->raw.modrm.mod << 6 | d->raw.modrm.reg << 3 | d->raw.modrm.rm);
    insn->run = d->mnemonic == ZYDIS_MNEMONIC_FLDCW ? run_load_control
                : !spec.memory_size                 ? run_registers
                : spec.memory_write                 ? run_store
                                                    : run_load;
    return true;
}

bool x86_fpu_inline(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86ThunkSpec *spec,
                    bool *reads_flags)
{
    X86Insn ignored = { 0 };

    memset(spec, 0, sizeof *spec);
    *reads_flags = false;
    if (!is_x87(d) || d->opcode == 0x9b || x86_unit_blocked(cpu, X86_UNIT_X87) ||
        x86_fpu_env_decode(cpu, d, ops, &ignored) || !x86_form_from_decoded(&spec->form, d, ops) ||
        !x86_form_allowed(&spec->form)) {
        return false;
    }
    for (unsigned i = 0; i < d->operand_count; i++) {
        const ZydisDecodedOperand *op = &ops[i];
        if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            spec->kind[i]        = X86_THUNK_MEMORY_OPERAND;
            spec->memory_operand = (uint8_t)i;
            spec->memory_size    = (uint8_t)(op->size / 8);
            spec->memory_write   = (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
            if (op->size > 80 || (spec->memory_write && op->actions & ZYDIS_OPERAND_ACTION_MASK_READ)) {
                return false;
            }
        } else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
                   ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_FLAGS) {
            spec->flags |= X86_THUNK_FLAGS;
            *reads_flags |= (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ) != 0;
        }
    }
    /* ST(i) and the rest of the opcode, as they are. */
    spec->form.reg = d->raw.modrm.reg;
    spec->form.rm  = spec->form.memory ? 0 : d->raw.modrm.rm;
    return true;
}
