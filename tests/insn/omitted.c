/* Forms that are left out, each with its reason, and those that are not run natively. Everything else must agree. */

#include "insn.h"

#include <cpuid.h>

typedef struct Omission {
    const char *reason;
    uint16_t    mnemonics[40]; /* 0 ends */
} Omission;

#define M(m) ZYDIS_MNEMONIC_##m

static const Omission by_mnemonic[] = {
    { "would give up the right to touch the test's memory", { M(WRPKRU), M(RDPKRU) } },
    { "stores to whole cache lines; not offered to guests", { M(MOVDIR64B), M(ENQCMD), M(ENQCMDS) } },
};

/* What enters the host's kernel, or is emulated by it for its processes (UMIP), or is of some CPU models only: oracle.c
 * knows what they do. */
static const uint16_t by_manual[] = {
    M(SYSCALL), M(SYSENTER), M(VMCALL), M(VMMCALL), M(SGDT),  M(SIDT),   M(SLDT),  M(STR),
    M(SMSW),    M(XBEGIN),   M(XEND),   M(XABORT),  M(XTEST), M(CLZERO), M(FEMMS),
};

/* What answers with the host's own identity, time or entropy: the rest of the state counts. And what ends blocks. */
static const uint16_t not_in_blocks[] = {
    M(CPUID), M(RDTSC), M(RDTSCP), M(RDPID), M(RDRAND), M(RDSEED),  M(XGETBV), M(RDPMC), M(INT),
    M(INT1),  M(LAR),   M(LSL),    M(VERR),  M(VERW),   M(SYSEXIT), M(SYSRET), M(MWAIT), M(MONITOR),
};

static const uint16_t of_segments[] = { M(LAR), M(LSL), M(VERR), M(VERW) };

/* Instruction sets that no guest is offered, although the host may have them. */
static const uint16_t not_offered[] = {
    ZYDIS_ISA_SET_AMX_BF16,     ZYDIS_ISA_SET_AMX_INT8,
    ZYDIS_ISA_SET_AMX_TILE,     ZYDIS_ISA_SET_AVX512BW_KOP,
    ZYDIS_ISA_SET_AVX512DQ_KOP, ZYDIS_ISA_SET_AVX512F_KOP,
    ZYDIS_ISA_SET_CET,          ZYDIS_ISA_SET_FMA4,
    ZYDIS_ISA_SET_XOP,          ZYDIS_ISA_SET_TBM,
    ZYDIS_ISA_SET_LWP,          ZYDIS_ISA_SET_HRESET,
    ZYDIS_ISA_SET_KEYLOCKER,    ZYDIS_ISA_SET_KEYLOCKER_WIDE,
    ZYDIS_ISA_SET_KNCE,         ZYDIS_ISA_SET_KNCJKBR,
    ZYDIS_ISA_SET_KNCSTREAM,    ZYDIS_ISA_SET_KNCV,
    ZYDIS_ISA_SET_KNC_MISC,     ZYDIS_ISA_SET_KNC_PF_HINT,
    ZYDIS_ISA_SET_MPX,          ZYDIS_ISA_SET_MOVDIR,
    ZYDIS_ISA_SET_PADLOCK_ACE,  ZYDIS_ISA_SET_PADLOCK_PHE,
    ZYDIS_ISA_SET_PADLOCK_PMM,  ZYDIS_ISA_SET_PADLOCK_RNG,
    ZYDIS_ISA_SET_PCONFIG,      ZYDIS_ISA_SET_PT,
    ZYDIS_ISA_SET_SGX,          ZYDIS_ISA_SET_SGX_ENCLV,
    ZYDIS_ISA_SET_SMX,          ZYDIS_ISA_SET_SNP,
    ZYDIS_ISA_SET_SVM,          ZYDIS_ISA_SET_TDX,
    ZYDIS_ISA_SET_TSX_LDTRK,    ZYDIS_ISA_SET_UINTR,
    ZYDIS_ISA_SET_VMFUNC,       ZYDIS_ISA_SET_VTX,
    ZYDIS_ISA_SET_WAITPKG,      ZYDIS_ISA_SET_AMD_INVLPGB,
    ZYDIS_ISA_SET_MONITORX,     ZYDIS_ISA_SET_RDPRU,
    ZYDIS_ISA_SET_MCOMMIT,      ZYDIS_ISA_SET_XSAVES,
    ZYDIS_ISA_SET_PKU,          ZYDIS_ISA_SET_ENQCMD,
    ZYDIS_ISA_SET_PREFETCHWT1,  ZYDIS_ISA_SET_CLDEMOTE,
};

/* What the host may have without saying so, or the other way round: it cannot be asked then. */
static bool host_says(const ZydisDecodedInstruction *d)
{
    enum { RDSEED = 1 << 18, SERIALIZE = 1 << 14 }; /* CPUID 7: EBX, EDX */
    unsigned a, b, c, features = 0;
    if (d->meta.isa_set == ZYDIS_ISA_SET_RDWRFSGS) {
        return native_has_fsgsbase();
    }
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &features)) {
        return true;
    }
    return d->mnemonic == M(RDSEED) ? b & RDSEED : d->mnemonic == M(SERIALIZE) ? features & SERIALIZE : true;
}

static bool is_one_of(uint16_t mnemonic, const uint16_t *list, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (list[i] == mnemonic) {
            return true;
        }
    }
    return false;
}

static bool is_of_amd(const ZydisDecodedInstruction *d)
{
    return d->meta.isa_set == ZYDIS_ISA_SET_SSE4A || d->encoding == ZYDIS_INSTRUCTION_ENCODING_3DNOW;
}

void form_judge(Form *form, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(not_offered); i++) {
        if (d->meta.isa_set == not_offered[i]) {
            form->omitted = "not offered to guests";
            form->outside = true;
            return;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(by_mnemonic); i++) {
        for (const uint16_t *m = by_mnemonic[i].mnemonics; *m; m++) {
            if (d->mnemonic == *m) {
                form->omitted = by_mnemonic[i].reason;
            }
        }
    }
    if (!host_says(d)) {
        form->omitted = "the host does not offer it";
    } else if (!native_has_segments() &&
               (touches_segments(d, op) || is_one_of(d->mnemonic, of_segments, G_N_ELEMENTS(of_segments)))) {
        form->omitted = "the host keeps segments to itself";
    }
    form->oracle =
        is_one_of(d->mnemonic, by_manual, G_N_ELEMENTS(by_manual)) || is_of_amd(d) ? ORACLE_MANUAL : ORACLE_HOST;
    form->alone = form->oracle == ORACLE_MANUAL || touches_segments(d, op) ||
                  is_one_of(d->mnemonic, not_in_blocks, G_N_ELEMENTS(not_in_blocks));
}
