/* What the architecture leaves undefined, or to the implementation, and the executor does not take from the host
 * anyway. This is the one place for it. */

#include "insn.h"

#include <string.h>

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

static bool is_x87(const Instance *in)
{
    return in->d.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && in->d.opcode >= 0xd8 && in->d.opcode <= 0xdf;
}

static bool same_end(const Outcome *native, const Outcome *ours)
{
    return native->vector == ours->vector && native->state.rip == ours->state.rip;
}

static unsigned memory_size(const Instance *in)
{
    for (unsigned i = 0; i < in->d.operand_count; i++) {
        if (in->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY && in->op[i].mem.type != ZYDIS_MEMOP_TYPE_AGEN) {
            return in->op[i].size / 8;
        }
    }
    return 0;
}

/* Legacy SSE instructions may fetch only the half of a 16-byte operand that they use (SDM 2, UNPCKLPS). That shows
 * when the operand is misaligned, which MXCSR.MM allows, and crosses a page. */
static bool may_read_half(const Instance *in, const State *before, const Outcome *native)
{
    return !in->form->vex && in->form->memory && load_le32(native->state.fx + 24) & 1u << 17 &&
           (!before || crosses_page(in, before));
}

/* MOVSXD to 16 bits reads as many (SDM 2), or 32 (AMD's). */
static bool may_read_more(const Instance *in, const Outcome *native, const Outcome *ours)
{
    return in->d.mnemonic == ZYDIS_MNEMONIC_MOVSXD && in->d.operand_width == 16 && native->vector != ours->vector;
}

/* Whether #AC is raised for what is wider than 8 bytes, and before or after other faults, is the implementation's
 * choice: AMD's raise it for VEX instructions, Intel's do not (SDM 3, 6.15, interrupt 17). So is #AC or #GP for
 * misaligned FXSAVE and XSAVE images (SDM 2). Instructions that end without an access because of an unmasked x87
 * exception may have checked it first, or not. */
static bool either_alignment_fault(const Instance *in, const Outcome *native, const Outcome *ours)
{
    if (same_end(native, ours) || (native->vector != 17 && ours->vector != 17)) {
        return false;
    }
    return memory_size(in) >= 10 || in->form->vex || is_x87(in) || in->d.meta.isa_ext == ZYDIS_ISA_EXT_MMX;
}

/* A store that an unmasked exception prevents: whether its address is looked at first. */
static bool store_without_access(const Instance *in, const Outcome *native, const Outcome *ours)
{
    if (same_end(native, ours) || !in->form->memory) {
        return false;
    }
    /* Which exceptions are unmasked is known from whoever stopped there; the other may have gone on to FNINIT. */
    return in->form->mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH ||
           (is_x87(in) && (~load_le16(native->state.fx) | ~load_le16(ours->state.fx)) & 0x3f);
}

/* Outside a segment: vector and x87 operands may be checked for alignment, or be read in part, before their limit is
 * looked at; what lies across the end of a segment of 4 GiB faults in one way or the other (SDM 3, 5.3.1); masked
 * elements count for the limit, or do not. */
static bool either_segment_fault(const Instance *in, const Outcome *native, const Outcome *ours)
{
    static const uint32_t addressing = 1 << 12 | 1 << 13 | 1 << 14;

    if (in->form->mode == MODE_64 || native->vector == ours->vector) {
        return false;
    }
    if (strstr(ZydisMnemonicGetString(in->d.mnemonic), "maskmov") &&
        (native->vector == NO_FAULT || ours->vector == NO_FAULT)) {
        return true;
    }
    if (native->vector < 0 || native->vector > 31 || ours->vector < 0 || ours->vector > 31 ||
        !(addressing >> native->vector & 1) || !(addressing >> ours->vector & 1)) {
        return false;
    }
    return in->form->vex || is_x87(in) || memory_size(in) >= 8 ||
           (in->form->mode == MODE_32 && (uint32_t)(native->cr2 + 0x100) < 0x200);
}

/* BOUND may read and check one limit before the other; CMPS reads its operands in either order; pieces may lie on
 * both sides of a segment's limit. */
static bool either_fault(const Instance *in, const Outcome *native, const Outcome *ours)
{
    if (native->vector == NO_FAULT || ours->vector == NO_FAULT) {
        return false;
    }
    switch (in->form->mnemonic) {
    case ZYDIS_MNEMONIC_INT: return !native->error; /* a gate that the host's hypervisor has */
    case ZYDIS_MNEMONIC_BOUND: return native->vector != ours->vector;
    case ZYDIS_MNEMONIC_CMPSB:
    case ZYDIS_MNEMONIC_CMPSW:
    case ZYDIS_MNEMONIC_CMPSD:
    case ZYDIS_MNEMONIC_CMPSQ: return native->vector != ours->vector || native->cr2 != ours->cr2;
    default: return accesses_in_pieces(in->form->mnemonic) && native->vector != ours->vector;
    }
}

/* What a memory operand that faults leaves behind on some hosts: XRSTOR and its like part of the state, CALL its return
 * address (Intel: when the target is not canonical), PUSHA what it has pushed, MMX instructions TOP and tags, FSTP its
 * first eight bytes, VCVTPS2PH the flags of its rounding, gathers cleared upper parts and any elements above the one
 * that faults (SDM 2, VGATHERDPS). Masked stores report any byte. */
static void mask_faulting(const Instance *in, Undefined *u)
{
    const char *name = ZydisMnemonicGetString(in->d.mnemonic);

    if (accesses_in_pieces(in->form->mnemonic) && strstr(name, "rst")) { /* what of the state is loaded by then */
        u->vectors = u->stack = u->fcw = true;
        u->fsw                         = 0xffff;
        u->mxcsr                       = UINT32_MAX;
    }
    u->memory |= in->form->mnemonic == ZYDIS_MNEMONIC_CALL || in->form->mnemonic == ZYDIS_MNEMONIC_PUSHA ||
                 in->form->mnemonic == ZYDIS_MNEMONIC_PUSHAD || (is_x87(in) && memory_size(in) == 10);
    u->mxcsr |= in->form->mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH ? 0x3f : 0;
    if (in->d.meta.isa_ext == ZYDIS_ISA_EXT_MMX || strstr(name, "pi2p") ||
        (in->d.operand_count > 1 && ZydisRegisterGetClass(in->op[1].reg.value) == ZYDIS_REGCLASS_MMX)) {
        u->stack = true;
        u->fsw |= 0x3800;
    }
    if (strstr(name, "gather")) {
        u->vectors = true;
    }
    if (strstr(name, "maskmov")) {
        u->cr2 = ~UINT64_C(0);
        u->error |= 1;
    }
}

static bool is_rep_compare(const Instance *in)
{
    return in->d.attributes & (ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE);
}

/* Rotates by more than one leave OF undefined, and encodings differ. */
static bool is_long_rotate(const Instance *in)
{
    if (in->form->mnemonic != ZYDIS_MNEMONIC_ROL && in->form->mnemonic != ZYDIS_MNEMONIC_ROR &&
        in->form->mnemonic != ZYDIS_MNEMONIC_RCL && in->form->mnemonic != ZYDIS_MNEMONIC_RCR) {
        return false;
    }
    return in->form->opcode == 0xc0 || in->form->opcode == 0xc1 || in->form->opcode == 0xd2 || in->form->opcode == 0xd3;
}

/* What the host says of itself, its time, or nothing predictable. */
static void mask_own(const Instance *in, Undefined *u)
{
    enum { RAX = 1, RCX = 2, RDX = 4, RBX = 8 };
    switch (in->form->mnemonic) {
    case ZYDIS_MNEMONIC_CPUID: u->gprs_low |= RAX | RBX | RCX | RDX; break;
    case ZYDIS_MNEMONIC_RDTSC: u->gprs_low |= RAX | RDX; break;
    case ZYDIS_MNEMONIC_RDTSCP: u->gprs_low |= RAX | RCX | RDX; break;
    case ZYDIS_MNEMONIC_XGETBV: u->gprs_low |= RAX; break;
    case ZYDIS_MNEMONIC_RDPID:
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED: {
        uint16_t reg = (uint16_t)(1 << ZydisRegisterGetId(in->op[0].reg.value));
        bool     id  = in->form->mnemonic == ZYDIS_MNEMONIC_RDPID;
        u->gprs |= in->op[0].size == 64 && !id ? reg : 0;
        u->gprs_low |= in->op[0].size == 32 || id ? reg : 0;
        u->gprs_word |= in->op[0].size == 16 ? reg : 0;
        u->flags |= id ? 0 : CF;
        break;
    }
    default: break;
    }
}

/* Far CALL from compatibility mode to 64-bit code: whether the return address is pushed by the width of the old stack
 * or of the new one, which has no base. Intel's do the latter. */
static bool either_stack(const Instance *in, const Outcome *native, const Outcome *ours)
{
    return in->form->mode != MODE_64 && in->d.mnemonic == ZYDIS_MNEMONIC_CALL && touches_segments(&in->d, in->op) &&
           (native->state.sel[SEL_CS] == CS_64 || ours->state.sel[SEL_CS] == CS_64);
}

/* Far RET from compatibility mode to 64-bit code: parameters are released after CS is loaded (SDM 2, RET, return to the
 * same privilege level), so it is the width of the old stack or of the new one that they wrap at. Intel's take the
 * latter: from a 16-bit stack they carry into the upper half of ESP. */
static bool either_width(const Instance *in, const Outcome *native)
{
    return in->form->mode == MODE_16 && in->form->opcode == 0xca && touches_segments(&in->d, in->op) &&
           native->vector == NO_FAULT && native->state.sel[SEL_CS] == CS_64;
}

/* Far transfers and loads of segments: page faults come before or after other faults, and of the slots of selectors two
 * bytes or all are read. */
static bool either_segment_order(const Instance *in, const State *before, const Outcome *native, const Outcome *ours)
{
    enum { PF = 14, AC = 17 };
    if (native->vector == ours->vector || !touches_segments(&in->d, in->op)) {
        return false;
    }
    bool both = native->vector != NO_FAULT && ours->vector != NO_FAULT;
    return native->vector == AC || ours->vector == AC ||
           ((native->vector == PF || ours->vector == PF) && (both || !before || crosses_page(in, before)));
}

Undefined undefined_mask(const Instance *in, const State *before, const Outcome *native, const Outcome *ours)
{
    Undefined u = { 0 };
    for (unsigned i = 0; i < G_N_ELEMENTS(flag_rows); i++) {
        if (in->form->mnemonic == flag_rows[i].mnemonic) {
            u.flags = flag_rows[i].flags;
        }
    }
    if (is_long_rotate(in) && native->vector == NO_FAULT) {
        u.flags |= OF;
    }
    /* Intel's restore the flags that they had before (SDM 2, REP), AMD's do not say. */
    if (is_rep_compare(in) && native->vector != NO_FAULT) {
        u.flags |= CF | PF | AF | ZF | SF | OF;
    }
    if (native->vector != NO_FAULT) {
        mask_faulting(in, &u);
    } else {
        mask_own(in, &u);
    }
    /* POPA that faults half way: some hosts have written registers by then. */
    if (native->vector != NO_FAULT &&
        (in->form->mnemonic == ZYDIS_MNEMONIC_POPA || in->form->mnemonic == ZYDIS_MNEMONIC_POPAD)) {
        u.gprs = 0xff & ~(1 << 4);
    }
    /* FXSAVE on AMD hosts reports the pointers only while an exception is pending. */
    u.fpu_pointers = !(load_le16(native->state.fx + 2) & 0x80);
    if (accesses_in_pieces(in->form->mnemonic)) {
        bool two_pages = !before || crosses_page(in, before);
        u.cr2 |= two_pages ? ~UINT64_C(0) : 0xfff;
        u.error = two_pages ? 1 : 0; /* present */
        u.memory |= !before && native->vector != NO_FAULT;
    }
    if (in->d.meta.category == ZYDIS_CATEGORY_RET && touches_segments(&in->d, in->op)) {
        u.cr2 |= ~UINT64_C(0); /* which part of the frame is popped first */
        u.error |= 1;
    }
    if (in->form->mode == MODE_16 && in->d.mnemonic == ZYDIS_MNEMONIC_CALL && touches_segments(&in->d, in->op)) {
        u.cr2 |= ~UINT64_C(0); /* either_stack() */
        u.error |= 1;
    }
    if (in->form->mnemonic == ZYDIS_MNEMONIC_EXTRQ || in->form->mnemonic == ZYDIS_MNEMONIC_INSERTQ) {
        u.xmm_high = (uint16_t)(1 << ZydisRegisterGetId(in->op[0].reg.value)); /* APM 4: undefined */
    }
    u.gprs_high = either_width(in, native) ? 1 << 4 : 0;
    /* How many bits the pointers have is the implementation's choice. */
    u.fip        = UINT64_C(0xffff) << 48;
    u.everything = either_fault(in, native, ours) || either_segment_fault(in, native, ours) ||
                   may_read_half(in, before, native) || may_read_more(in, native, ours) ||
                   either_alignment_fault(in, native, ours) || store_without_access(in, native, ours) ||
                   either_stack(in, native, ours) || either_segment_order(in, before, native, ours);
    return u;
}
