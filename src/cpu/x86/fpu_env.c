/* x87 control instructions and environments: FNINIT, FNCLEX, FNSTSW, FNSTCW, FWAIT, FNSTENV, FLDENV, FNSAVE, FRSTOR.
 *
 * FLDCW, FLDENV and FRSTOR run on the host in the end, which so decides about reserved bits; the formats of memory
 * are converted here.
 *
 * Specification: Intel SDM volume 1 (December 2023), sections 8.1.10 and 8.3; figures 8-9 to 8-12. See vector.h for
 * threads. */

#include "cpu/x86/fpu.h"

#include "cpu/x86/thunk.h"

/* --- simple ones ------------------------------------------------------------------------------------------------ */

static void run_fninit(X86Cpu *cpu, const X86Insn *in)
{
    x86_fpu_init_state(cpu, 0x37f);
}

static void run_fnclex(X86Cpu *cpu, const X86Insn *in)
{
    store_le16(cpu->xsave + FX_FSW, x86_fsw(cpu) & 0x7f00);
}

static void run_fnstsw_ax(X86Cpu *cpu, const X86Insn *in)
{
    cpu->gpr[X86_RAX] = (cpu->gpr[X86_RAX] & ~UINT64_C(0xffff)) | x86_fsw(cpu);
}

static void run_fnstsw(X86Cpu *cpu, const X86Insn *in)
{
    x86_store(cpu, x86_ea(cpu, in, 2, X86_WRITE), x86_fsw(cpu), 2);
}

static void run_fnstcw(X86Cpu *cpu, const X86Insn *in)
{
    x86_store(cpu, x86_ea(cpu, in, 2, X86_WRITE), load_le16(cpu->xsave + FX_FCW), 2);
}

static void run_fwait(X86Cpu *cpu, const X86Insn *in)
{
    x86_fpu_check_pending(cpu);
}

/* Instructions of the 8087 and 80287 that do nothing since. */
static void run_nothing(X86Cpu *cpu, const X86Insn *in)
{
}

static void run_fnop(X86Cpu *cpu, const X86Insn *in)
{
    x86_fpu_check_pending(cpu);
    store_le16(cpu->xsave + FX_FOP, 0x1d0);
    store_le64(cpu->xsave + FX_FIP, x86_insn_rip(cpu, in));
    cpu->fpu_cs = x86_has(cpu, X86_FEATURE_ZERO_FCS_FDS) ? 0 : cpu->seg[X86_CS].selector;
}

/* --- environments ----------------------------------------------------------------------------------------------- */

/* The 28-byte protected-mode image holds all there is; the others are cut from it. */
typedef struct Environment {
    uint16_t control, status, tags, opcode, cs, ds;
    uint32_t ip, dp;
} Environment;

/* The tag of slot n, which is not empty. */
static unsigned tag_of(const uint8_t *st)
{
    uint64_t mantissa = load_le64(st);
    unsigned exponent = load_le16(st + 8) & 0x7fff;
    if (exponent == 0) {
        return mantissa ? 2 : 1;
    }
    return exponent == 0x7fff || !(mantissa >> 63) ? 2 : 0;
}

static uint16_t full_tags(const X86Cpu *cpu)
{
    unsigned top = x86_fsw(cpu) >> 11 & 7, tags = 0;
    for (unsigned i = 0; i < 8; i++) {
        bool valid = cpu->xsave[FX_FTW] >> i & 1;
        tags |= (valid ? tag_of(cpu->xsave + XSAVE_ST + 16 * ((i - top) & 7)) : 3u) << (2 * i);
    }
    return (uint16_t)tags;
}

static Environment get_environment(const X86Cpu *cpu)
{
    return (Environment){
        .control = load_le16(cpu->xsave + FX_FCW),
        .status  = x86_fsw(cpu),
        .tags    = full_tags(cpu),
        .opcode  = load_le16(cpu->xsave + FX_FOP) & 0x7ff,
        .cs      = cpu->fpu_cs,
        .ds      = cpu->fpu_ds,
        .ip      = load_le32(cpu->xsave + FX_FIP),
        .dp      = load_le32(cpu->xsave + FX_FDP),
    };
}

static bool real_format(const X86Cpu *cpu)
{
    return !(cpu->cr0 & CR0_PE) || cpu->eflags & EFLAGS_VM;
}

/* Bits 31:16 of the 32-bit formats' first words are reserved; they are stored as ones. */
static void put_environment(const X86Cpu *cpu, const Environment *e, uint8_t *to, bool wide)
{
    uint32_t ip = real_format(cpu) ? e->ip + ((uint32_t)e->cs << 4) : e->ip;
    uint32_t dp = real_format(cpu) ? e->dp + ((uint32_t)e->ds << 4) : e->dp;

    if (wide) {
        store_le32(to, 0xffff0000u | e->control);
        store_le32(to + 4, 0xffff0000u | e->status);
        store_le32(to + 8, 0xffff0000u | e->tags);
        if (real_format(cpu)) {
            store_le32(to + 12, 0xffff0000u | (ip & 0xffff));
            store_le32(to + 16, (ip >> 16) << 12 | e->opcode);
            store_le32(to + 20, 0xffff0000u | (dp & 0xffff));
            store_le32(to + 24, (dp >> 16) << 12);
        } else {
            store_le32(to + 12, ip);
            store_le32(to + 16, (uint32_t)e->opcode << 16 | e->cs);
            store_le32(to + 20, dp);
            store_le32(to + 24, 0xffff0000u | e->ds);
        }
    } else {
        store_le16(to, e->control);
        store_le16(to + 2, e->status);
        store_le16(to + 4, e->tags);
        store_le16(to + 6, (uint16_t)ip);
        store_le16(to + 8, real_format(cpu) ? (uint16_t)((ip >> 16 & 0xf) << 12 | e->opcode) : e->cs);
        store_le16(to + 10, (uint16_t)dp);
        store_le16(to + 12, real_format(cpu) ? (uint16_t)((dp >> 16 & 0xf) << 12) : e->ds);
    }
}

/* What a format does not have comes out as 0. In real mode the pointers are linear and the selectors 0. */
static Environment parse_environment(const X86Cpu *cpu, const uint8_t *from, bool wide)
{
    Environment e = { .control = load_le16(from) };
    if (wide) {
        e.status = load_le16(from + 4);
        e.tags   = load_le16(from + 8);
        if (real_format(cpu)) {
            e.ip     = (load_le32(from + 16) >> 12 & 0xffff) << 16 | load_le16(from + 12);
            e.opcode = load_le16(from + 16) & 0x7ff;
            e.dp     = (load_le32(from + 24) >> 12 & 0xffff) << 16 | load_le16(from + 20);
        } else {
            e.ip     = load_le32(from + 12);
            e.cs     = load_le16(from + 16);
            e.opcode = load_le16(from + 18) & 0x7ff;
            e.dp     = load_le32(from + 20);
            e.ds     = load_le16(from + 24);
        }
    } else {
        e.status = load_le16(from + 2);
        e.tags   = load_le16(from + 4);
        e.ip     = load_le16(from + 6);
        e.dp     = load_le16(from + 10);
        if (real_format(cpu)) {
            e.ip |= (uint32_t)(load_le16(from + 8) >> 12) << 16;
            e.opcode = load_le16(from + 8) & 0x7ff;
            e.dp |= (uint32_t)(load_le16(from + 12) >> 12) << 16;
        } else {
            e.cs = load_le16(from + 8);
            e.ds = load_le16(from + 12);
        }
    }
    return e;
}

static void set_environment(X86Cpu *cpu, const Environment *e)
{
    uint8_t image[28] = { 0 };
    store_le16(image, e->control);
    store_le16(image + 4, e->status);
    store_le16(image + 8, e->tags);
    x86_thunk_fldenv(cpu, image);
    cpu->fpu_ignored = 0; /* the status word is another now */
    store_le16(cpu->xsave + FX_FOP, e->opcode);
    store_le64(cpu->xsave + FX_FIP, e->ip);
    store_le64(cpu->xsave + FX_FDP, e->dp);
    bool deprecated = x86_has(cpu, X86_FEATURE_ZERO_FCS_FDS);
    cpu->fpu_cs     = deprecated ? 0 : e->cs;
    cpu->fpu_ds     = deprecated ? 0 : e->ds;
}

/* Linear address of an image. Hosts check the alignment of its parts. */
static uint64_t image_linear(X86Cpu *cpu, const X86Insn *in, unsigned size, X86Access access)
{
    uint64_t linear = x86_ea(cpu, in, size, access);
    x86_check_ac(cpu, linear, in->aux ? 4 : 2);
    return linear;
}

/* aux: 1 for the 32-bit formats. */
static void run_fnstenv(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t     image[28];
    unsigned    size = in->aux ? 28 : 14;
    Environment e    = get_environment(cpu);

    put_environment(cpu, &e, image, in->aux);
    x86_store_bytes(cpu, image_linear(cpu, in, size, X86_WRITE), image, size);
    /* All exceptions are masked from now on, so none is pending any more. */
    store_le16(cpu->xsave + FX_FCW, e.control | FSW_EXCEPTIONS);
    store_le16(cpu->xsave + FX_FSW, e.status & ~(FSW_ES | FSW_B));
}

static void run_fldenv(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t  image[28];
    unsigned size = in->aux ? 28 : 14;

    x86_fpu_check_pending(cpu);
    x86_load_bytes(cpu, image_linear(cpu, in, size, X86_READ), image, size);
    Environment e = parse_environment(cpu, image, in->aux);
    set_environment(cpu, &e);
}

static void run_fnsave(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t     image[108];
    unsigned    head = in->aux ? 28 : 14;
    Environment e    = get_environment(cpu);

    put_environment(cpu, &e, image, in->aux);
    for (unsigned i = 0; i < 8; i++) {
        memcpy(image + head + 10 * i, cpu->xsave + XSAVE_ST + 16 * i, 10);
    }
    x86_store_bytes(cpu, image_linear(cpu, in, head + 80, X86_WRITE), image, head + 80);
    x86_fpu_init_state(cpu, 0x37f);
}

static void run_frstor(X86Cpu *cpu, const X86Insn *in)
{
    uint8_t  image[108];
    unsigned head = in->aux ? 28 : 14;

    x86_fpu_check_pending(cpu);
    x86_load_bytes(cpu, image_linear(cpu, in, head + 80, X86_READ), image, head + 80);
    Environment e = parse_environment(cpu, image, in->aux);
    set_environment(cpu, &e);
    for (unsigned i = 0; i < 8; i++) {
        memcpy(cpu->xsave + XSAVE_ST + 16 * i, image + head + 10 * i, 10);
        memset(cpu->xsave + XSAVE_ST + 16 * i + 10, 0, 6);
    }
}

/* --- decoding --------------------------------------------------------------------------------------------------- */

bool x86_fpu_env_decode(X86Cpu *cpu, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *ops, X86Insn *insn)
{
    bool memory = insn->flags & X86_INSN_MEMORY;
    if (memory && ops[0].type == ZYDIS_OPERAND_TYPE_MEMORY) {
        insn->aux = ops[0].size == 8 * 28 || ops[0].size == 8 * 108;
    }
    switch (d->mnemonic) {
    case ZYDIS_MNEMONIC_FNINIT: insn->run = run_fninit; return true;
    case ZYDIS_MNEMONIC_FNCLEX: insn->run = run_fnclex; return true;
    case ZYDIS_MNEMONIC_FNSTSW: insn->run = memory ? run_fnstsw : run_fnstsw_ax; return true;
    case ZYDIS_MNEMONIC_FNSTCW: insn->run = run_fnstcw; return true;
    case ZYDIS_MNEMONIC_FWAIT: insn->run = run_fwait; return true;
    case ZYDIS_MNEMONIC_FNOP: insn->run = run_fnop; return true;
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP: insn->run = run_nothing; return true;
    case ZYDIS_MNEMONIC_FNSTENV: insn->run = run_fnstenv; return true;
    case ZYDIS_MNEMONIC_FLDENV: insn->run = run_fldenv; return true;
    case ZYDIS_MNEMONIC_FNSAVE: insn->run = run_fnsave; return true;
    case ZYDIS_MNEMONIC_FRSTOR: insn->run = run_frstor; return true;
    default: return false;
    }
}
