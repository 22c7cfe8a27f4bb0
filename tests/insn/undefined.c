/* What the architecture leaves undefined, or to the implementation, and the executor does not take from the host
 * anyway. This is the one place for it. */

#include "insn.h"

enum { CF = 1, PF = 4, AF = 0x10, ZF = 0x40, SF = 0x80, OF = 0x800 };

/* Flags that SDM 2 calls undefined, of instructions that do not exist in 64-bit mode: the executor cannot ask the host
 * for them. All other undefined flags are the host's. */
typedef struct FlagRow {
    uint16_t mnemonic;
    uint16_t flags;
} FlagRow;

static const FlagRow flag_rows[] = {
    { ZYDIS_MNEMONIC_DAA, OF },
    { ZYDIS_MNEMONIC_DAS, OF },
    { ZYDIS_MNEMONIC_AAA, OF | SF | ZF | PF },
    { ZYDIS_MNEMONIC_AAS, OF | SF | ZF | PF },
    { ZYDIS_MNEMONIC_AAM, OF | AF | CF },
    { ZYDIS_MNEMONIC_AAD, OF | AF | CF },
};

/* Instructions that access memory in pieces: which of them meets a page fault first is the implementation's choice. */
static bool accesses_in_pieces(ZydisMnemonic mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XRSTOR:
    case ZYDIS_MNEMONIC_XRSTOR64: return true;
    default: return false;
    }
}

/* Legacy SSE instructions may fetch only the half of a 16-byte operand that they use (SDM 2, UNPCKLPS). That shows
 * when the operand is misaligned, which MXCSR.MM allows, and crosses a page. */
static bool may_read_half(const Instance *in, const State *before)
{
    return !in->form->vex && in->form->memory && load_le32(before->fx + 24) & 1u << 17 && crosses_page(in, before);
}

/* FXSAVE and FXRSTOR of a misaligned image: #AC or #GP, as the implementation likes (SDM 2). */
static bool either_alignment_fault(const Instance *in, const State *before, const Outcome *native)
{
    switch (in->form->mnemonic) {
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_FXRSTOR:
    case ZYDIS_MNEMONIC_FXRSTOR64: break;
    default: return false;
    }
    return before->flags & 0x40000 && (native->vector == 13 || native->vector == 17);
}

Undefined undefined_mask(const Instance *in, const State *before, const Outcome *native)
{
    Undefined u = { 0 };
    for (unsigned i = 0; i < G_N_ELEMENTS(flag_rows); i++) {
        if (in->form->mnemonic == flag_rows[i].mnemonic) {
            u.flags = flag_rows[i].flags;
        }
    }
    /* POPA that faults half way: some hosts have written registers by then. */
    if (native->vector != NO_FAULT &&
        (in->form->mnemonic == ZYDIS_MNEMONIC_POPA || in->form->mnemonic == ZYDIS_MNEMONIC_POPAD)) {
        u.gprs = 0xff & ~(1 << 4);
    }
    /* FXSAVE on AMD hosts reports the pointers only while an exception is pending. */
    u.fpu_pointers = !(load_le16(native->state.fx + 2) & 0x80);
    if (accesses_in_pieces(in->form->mnemonic)) {
        bool two_pages = crosses_page(in, before);
        u.cr2          = two_pages ? ~UINT64_C(0) : 0xfff;
        u.error        = two_pages ? 1 : 0; /* present */
    }
    /* How many bits the pointers have is the implementation's choice. */
    u.fip = UINT64_C(0xffff) << 48;
    if (may_read_half(in, before) || either_alignment_fault(in, before, native)) {
        u.everything = true;
    }
    return u;
}
