/* Forms that are not run natively, each with its reason. Everything else must agree. */

#include "insn.h"

typedef struct Omission {
    const char *reason;
    uint16_t    mnemonics[40]; /* 0 ends */
} Omission;

#define M(m) ZYDIS_MNEMONIC_##m

static const Omission by_mnemonic[] = {
    { "enters the host's kernel", { M(SYSCALL), M(SYSENTER), M(INT), M(INT1), M(VMCALL), M(VMMCALL) } },
    { "answers with the host's own identity, time or entropy",
      { M(CPUID), M(RDTSC), M(RDTSCP), M(RDPID), M(RDRAND), M(RDSEED), M(XGETBV), M(RDPMC), M(RDPRU) } },
    { "the host's kernel emulates it for its processes (UMIP)", { M(SGDT), M(SIDT), M(SLDT), M(STR), M(SMSW) } },
    { "loads or reads segment registers that the test itself needs; descriptors differ from the guest's",
      { M(LDS), M(LES), M(LFS), M(LGS), M(LSS), M(LAR), M(LSL), M(VERR), M(VERW), M(RDFSBASE), M(RDGSBASE), M(WRFSBASE),
        M(WRGSBASE), M(IRET), M(IRETD), M(IRETQ) } },
    { "its modes depend on the vendor of the CPU model", { M(SYSRET), M(SYSEXIT) } },
    { "waits", { M(MWAIT), M(MONITOR), M(UMONITOR), M(UMWAIT), M(TPAUSE), M(MWAITX), M(MONITORX), M(MCOMMIT) } },
    { "would give up the right to touch the test's memory", { M(WRPKRU), M(RDPKRU) } },
    { "stores to whole cache lines; not offered to guests", { M(MOVDIR64B), M(ENQCMD), M(ENQCMDS) } },
};

/* Instruction sets of some CPU models only, in C whatever the host is: tests/guest/models.c has tests of them. */
static const uint16_t of_models[] = { ZYDIS_ISA_SET_RTM, ZYDIS_ISA_SET_AMD3DNOW, ZYDIS_ISA_SET_CLZERO };

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
    ZYDIS_ISA_SET_SERIALIZE,    ZYDIS_ISA_SET_SGX,
    ZYDIS_ISA_SET_SGX_ENCLV,    ZYDIS_ISA_SET_SMX,
    ZYDIS_ISA_SET_SNP,          ZYDIS_ISA_SET_SVM,
    ZYDIS_ISA_SET_TDX,          ZYDIS_ISA_SET_TSX_LDTRK,
    ZYDIS_ISA_SET_UINTR,        ZYDIS_ISA_SET_VMFUNC,
    ZYDIS_ISA_SET_VTX,          ZYDIS_ISA_SET_WAITPKG,
    ZYDIS_ISA_SET_AMD_INVLPGB,  ZYDIS_ISA_SET_MONITORX,
    ZYDIS_ISA_SET_RDPRU,        ZYDIS_ISA_SET_MCOMMIT,
    ZYDIS_ISA_SET_XSAVES,       ZYDIS_ISA_SET_PKU,
    ZYDIS_ISA_SET_ENQCMD,       ZYDIS_ISA_SET_PREFETCHWT1,
    ZYDIS_ISA_SET_CLDEMOTE,
};

const char *form_omitted(const Form *form, const ZydisDecodedInstruction *d, const ZydisDecodedOperand *op)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(not_offered); i++) {
        if (d->meta.isa_set == not_offered[i]) {
            return "not offered to guests";
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(of_models); i++) {
        if (d->meta.isa_set == of_models[i]) {
            return "of some CPU models, whatever the host has";
        }
    }
    if (d->meta.isa_set == ZYDIS_ISA_SET_SSE4A && !__builtin_cpu_supports("sse4a")) {
        return "this host has none";
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(by_mnemonic); i++) {
        for (const uint16_t *m = by_mnemonic[i].mnemonics; *m; m++) {
            if (d->mnemonic == *m) {
                return by_mnemonic[i].reason;
            }
        }
    }
    if (d->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
        return "far transfer: descriptors differ from the guest's";
    }
    for (unsigned i = 0; i < d->operand_count; i++) {
        if (op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
            ZydisRegisterGetClass(op[i].reg.value) == ZYDIS_REGCLASS_SEGMENT &&
            op[i].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            return "loads or reads segment registers that the test itself needs; descriptors differ from the guest's";
        }
    }
    return NULL;
}
