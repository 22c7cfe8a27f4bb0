/* Real and virtual-8086 mode, which hosts cannot run: 16-bit code whose segments lie where those of the host's 16-bit
 * protected mode do must do the same there, but for what this file says.
 *
 * Specification: Intel SDM 3, 21.1 (real mode) and 21.2 to 21.3 (virtual-8086 mode). */

#include "insn.h"

#define M(m) ZYDIS_MNEMONIC_##m

/* Not recognized in either (SDM 2, each instruction's exceptions). */
static const uint16_t undefined[] = { M(ARPL), M(LAR), M(LSL), M(VERR), M(VERW), M(LLDT), M(LTR), M(SLDT), M(STR) };

/* #GP(0) with IOPL below 3 (SDM 3, 21.2.7); CLI and STI are for the host too. */
static const uint16_t of_iopl[] = { M(PUSHF), M(PUSHFD), M(POPF), M(POPFD), M(INT), M(IRET), M(IRETD) };

/* Real mode has ring 0. */
static const uint16_t of_ring_0[] = {
    M(IN),      M(OUT),    M(INSB),    M(INSW),  M(INSD), M(OUTSB),  M(OUTSW),   M(OUTSD), M(INT),     M(CLI),
    M(STI),     M(POPF),   M(SGDT),    M(POPFD), M(SIDT), M(SMSW),   M(RDPMC),   M(MWAIT), M(MONITOR), M(SYSENTER),
    M(SYSEXIT), M(SYSRET), M(SYSCALL), M(CLAC),  M(STAC), M(XSETBV), M(INVPCID), M(LGDT),
};

static bool is_one_of(uint16_t mnemonic, const uint16_t *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (list[i] == mnemonic) {
            return true;
        }
    }
    return false;
}

#define IS_ONE_OF(mnemonic, list) is_one_of(mnemonic, list, G_N_ELEMENTS(list))

/* MOV from and PUSH of a segment register. */
static bool reads_segment(const Instance *in)
{
    return in->d.mnemonic == M(PUSH) || (in->d.mnemonic == M(MOV) && in->form->opcode == 0x8c);
}

Expect guise_expects(Guise guise, const Instance *in, const char **why)
{
    uint16_t m = in->form->mnemonic;
    if (in->form->vex || IS_ONE_OF(m, undefined)) {
        return EXPECT_UD;
    }
    if (guise == GUISE_V86 && IS_ONE_OF(m, of_iopl)) {
        return EXPECT_GP;
    }
    if (guise == GUISE_REAL && (IS_ONE_OF(m, of_ring_0) || in->d.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED)) {
        *why = "of ring 0: tests/guest/corners has them";
        return EXPECT_NOTHING;
    }
    if (guise == GUISE_V86 && m == M(SYSCALL)) {
        *why = "depends on the vendor: tests/guest/models.c has it";
        return EXPECT_NOTHING;
    }
    if (touches_segments(&in->d, in->op) && !reads_segment(in)) {
        return EXPECT_PARAGRAPHS;
    }
    return EXPECT_SAME;
}

/* The x87 environment has linear addresses, and there are no error codes in real mode. */
void guise_undefined(Guise guise, const Instance *in, Undefined *u)
{
    switch (in->form->mnemonic) {
    case M(FNSTENV):
    case M(FNSAVE):
    case M(FLDENV):
    case M(FRSTOR): u->memory = u->fpu_pointers = true; break;
    default: break;
    }
    u->error = guise == GUISE_REAL ? ~0u : u->error;
}

/* --- segments are paragraphs --- */

/* Offset in the data of an operand, or of the stack; -1: not a place that this knows about. */
static int64_t place(const Instance *in, const State *before, const ZydisDecodedOperand *op, unsigned size)
{
    uint64_t at   = operand_address(in, before, op);
    bool     good = op->mem.segment != ZYDIS_REGISTER_CS && !(before->flags & 0x40000) && at <= DATA_SIZE - size;
    return good ? (int64_t)at : -1;
}

static void set_word(State *s, unsigned reg, unsigned size, uint64_t value)
{
    s->gpr[reg] = size == 2 ? (s->gpr[reg] & ~UINT64_C(0xffff)) | (uint16_t)value : (uint32_t)value;
}

static unsigned sel_number(ZydisRegister reg)
{
    static const uint8_t order[] = { SEL_ES, SEL_CS, SEL_SS, SEL_DS, SEL_FS, SEL_GS };
    return order[ZydisRegisterGetId(reg)];
}

/* JMP, CALL and RET between segments. */
static bool run_far(const Instance *in, const State *before, Outcome *after)
{
    State                     *s    = &after->state;
    const ZydisDecodedOperand *op   = &in->op[0];
    unsigned                   size = in->d.operand_width / 8;
    uint16_t                   sp   = (uint16_t)before->gpr[4];
    bool                       ret = in->d.mnemonic == M(RET), call = in->d.mnemonic == M(CALL);
    uint64_t                   offset;
    uint16_t                   selector;
    if (before->flags & 0x40000 || ((ret || call) && (sp < 16 || sp > DATA_SIZE - 16))) {
        return false;
    }
    if (op->type == ZYDIS_OPERAND_TYPE_POINTER) {
        offset   = load_le(in->code + in->len - 2 - size, size);
        selector = load_le16(in->code + in->len - 2);
    } else {
        int64_t at = ret ? sp : place(in, before, op, size + 2);
        if (at < 0) {
            return false;
        }
        offset   = load_le(s->data + at, size);
        selector = load_le16(s->data + at + size);
    }
    if (offset > 0xffff) {
        oracle_fault(before, 13, after);
        return true;
    }
    if (call) {
        store_le(s->data + sp - size, before->sel[SEL_CS], size);
        store_le(s->data + sp - 2 * size, s->rip, size);
        set_word(s, 4, 2, sp - 2 * size);
    } else if (ret) {
        set_word(s, 4, 2, sp + 2 * size + (op->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ? op->imm.value.u : 0));
    }
    s->rip         = offset;
    s->sel[SEL_CS] = selector;
    return true;
}

/* MOV to and POP of a segment register; LDS and its like. */
static bool run_load(const Instance *in, const State *before, Outcome *after)
{
    State                     *s    = &after->state;
    const ZydisDecodedOperand *op   = in->op;
    unsigned                   size = in->d.operand_width / 8;
    if (in->d.mnemonic == M(POP)) {
        uint16_t sp = (uint16_t)before->gpr[4];
        if (sp > DATA_SIZE - 16 || before->flags & 0x40000) {
            return false;
        }
        s->sel[sel_number(op[0].reg.value)] = load_le16(s->data + sp);
        set_word(s, 4, 2, sp + size);
        return true;
    }
    if (in->d.mnemonic == M(MOV)) {
        int64_t at = op[1].type == ZYDIS_OPERAND_TYPE_MEMORY ? place(in, before, &op[1], 2) : 0;
        if (at < 0) {
            return false;
        }
        s->sel[sel_number(op[0].reg.value)] = op[1].type == ZYDIS_OPERAND_TYPE_MEMORY
                                                  ? load_le16(s->data + at)
                                                  : (uint16_t)before->gpr[ZydisRegisterGetId(op[1].reg.value)];
        return true;
    }
    unsigned seg;
    switch (in->d.mnemonic) {
    case M(LDS): seg = SEL_DS; break;
    case M(LES): seg = SEL_ES; break;
    case M(LFS): seg = SEL_FS; break;
    case M(LGS): seg = SEL_GS; break;
    case M(LSS): seg = SEL_SS; break;
    default: return false;
    }
    int64_t at = place(in, before, &op[1], size + 2);
    if (at < 0) {
        return false;
    }
    s->sel[seg] = load_le16(s->data + at + size);
    set_word(s, (unsigned)ZydisRegisterGetId(op[0].reg.value), size, load_le(s->data + at, size));
    return true;
}

bool guise_run(const Instance *in, const State *before, Outcome *after)
{
    oracle_fault(before, NO_FAULT, after);
    after->state.rip = (before->rip + in->len) & 0xffff;
    return in->d.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR ? run_far(in, before, after) : run_load(in, before, after);
}
