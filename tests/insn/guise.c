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
    if ((touches_segments(&in->d, in->op) && !reads_segment(in)) || (guise == GUISE_V86 && m == M(SYSCALL))) {
        *why = "segments are paragraphs: tests/guest/corners has them";
        return EXPECT_NOTHING;
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
