/* CPUID features by name, what each needs, and what this host and this Quern can offer together.
 *
 * Specification: Intel SDM 2A, CPUID, and SDM 1, chapters 13 and 14 for the prerequisites; AMD APM 3, appendix E. */

#include "cpu/x86/features.h"

#include <cpuid.h>

static const X86FeatureInfo features[] = {
#define FEATURE(id, word, bit, text, how) { .name = (text), .feature = X86_FEATURE_##id, .offer = X86_OFFER_##how },
#include "cpu/x86/cpuid_features.h"
#undef FEATURE
};

enum { N_FEATURES = sizeof features / sizeof features[0] };

static const struct {
    const char *alias, *name;
} aliases[] = {
    { "sse3", "pni" },
    { "sse4-1", "sse4.1" },
    { "sse4-2", "sse4.2" },
    { "xd", "nx" },
    { "i64", "lm" },
    { "ffxsr", "fxsr-opt" },
    { "lzcnt", "abm" },
    { "pclmuldq", "pclmulqdq" },
    { "amd-ssb-no", "amd-no-ssb" },
};

static const struct {
    uint32_t leaf, subleaf;
    uint8_t  reg;
} sources[X86_N_WORDS] = {
    [X86_WORD_1_EDX]        = { 1, 0, 3 },
    [X86_WORD_1_ECX]        = { 1, 0, 2 },
    [X86_WORD_6_EAX]        = { 6, 0, 0 },
    [X86_WORD_7_0_EBX]      = { 7, 0, 1 },
    [X86_WORD_7_0_ECX]      = { 7, 0, 2 },
    [X86_WORD_7_0_EDX]      = { 7, 0, 3 },
    [X86_WORD_7_1_EAX]      = { 7, 1, 0 },
    [X86_WORD_7_1_EDX]      = { 7, 1, 3 },
    [X86_WORD_7_2_EDX]      = { 7, 2, 3 },
    [X86_WORD_D_1_EAX]      = { 0xd, 1, 0 },
    [X86_WORD_12_0_EAX]     = { 0x12, 0, 0 },
    [X86_WORD_12_0_EBX]     = { 0x12, 0, 1 },
    [X86_WORD_12_1_EAX]     = { 0x12, 1, 0 },
    [X86_WORD_14_0_ECX]     = { 0x14, 0, 2 },
    [X86_WORD_KVM_EAX]      = { 0x40000001, 0, 0 },
    [X86_WORD_KVM_EDX]      = { 0x40000001, 0, 3 },
    [X86_WORD_80000001_EDX] = { 0x80000001, 0, 3 },
    [X86_WORD_80000001_ECX] = { 0x80000001, 0, 2 },
    [X86_WORD_80000007_EDX] = { 0x80000007, 0, 3 },
    [X86_WORD_80000008_EBX] = { 0x80000008, 0, 1 },
    [X86_WORD_8000000A_EDX] = { 0x8000000a, 0, 3 },
    [X86_WORD_80000021_EAX] = { 0x80000021, 0, 0 },
    [X86_WORD_C0000001_EDX] = { 0xc0000001, 0, 3 },
};

bool x86_word_source(X86FeatureWord word, uint32_t *leaf, uint32_t *subleaf, unsigned *reg)
{
    *leaf    = sources[word].leaf;
    *subleaf = sources[word].subleaf;
    *reg     = sources[word].reg;
    return *leaf != 0;
}

/* --- names --- */

const X86FeatureInfo *x86_feature_info(size_t n)
{
    return n < N_FEATURES ? &features[n] : NULL;
}

const char *x86_feature_name(X86Feature feature)
{
    for (unsigned i = 0; i < N_FEATURES; i++) {
        if (features[i].feature == feature) {
            return features[i].name;
        }
    }
    return NULL;
}

const X86FeatureInfo *x86_feature_find(const char *name, NameMatch *match)
{
    g_autofree char *wanted = g_strdelimit(g_strdup(name), "_", '-');
    for (unsigned i = 0; i < G_N_ELEMENTS(aliases); i++) {
        if (strcmp(wanted, aliases[i].alias) == 0) {
            g_free(wanted);
            wanted = g_strdup(aliases[i].name);
            break;
        }
    }
    for (unsigned i = 0; i < N_FEATURES; i++) {
        if (strcmp(wanted, features[i].name) == 0) {
            return &features[i];
        }
        if (match) {
            text_match_name(match, features[i].name);
        }
    }
    return NULL;
}

/* --- prerequisites --- */

#define NEED(feature, needs)                                                                                           \
    {                                                                                                                  \
        X86_FEATURE_##feature, X86_FEATURE_##needs                                                                     \
    }

/* Each feature only once all it needs stands above it: x86_words_close() goes through once. */
static const struct {
    uint16_t feature, needs;
} needs[] = {
    NEED(CX16, CX8),
    NEED(X2APIC, APIC),
    NEED(TSC_DEADLINE, APIC),
    NEED(TSC_DEADLINE, TSC),
    NEED(TSC_ADJUST, TSC),
    NEED(RDTSCP, TSC),
    NEED(INVTSC, TSC),
    NEED(MCA, MCE),
    NEED(SEP, MSR),
    NEED(MTRR, MSR),
    NEED(PAT, MSR),
    NEED(NX, PAE),
    NEED(LM, PAE),
    NEED(LM, MSR),
    NEED(PCID, LM),
    NEED(INVPCID, LM),
    NEED(PDPE1GB, LM),
    NEED(LA57, LM),
    NEED(FSGSBASE, LM),
    NEED(LAHF_LM, LM),
    NEED(MMX, FPU),
    NEED(FXSR, FPU),
    NEED(MMXEXT, MMX),
    NEED(3DNOW, MMX),
    NEED(3DNOWEXT, 3DNOW),
    NEED(FXSR_OPT, FXSR),
    NEED(SSE, FXSR),
    NEED(SSE, MMX),
    NEED(SSE2, SSE),
    NEED(SSE3, SSE2),
    NEED(SSSE3, SSE3),
    NEED(SSE4_1, SSSE3),
    NEED(SSE4_2, SSE4_1),
    NEED(SSE4_2, POPCNT),
    NEED(SSE4A, SSE3),
    NEED(MISALIGNSSE, SSE),
    NEED(AES, SSE2),
    NEED(PCLMULQDQ, SSE2),
    NEED(SHA_NI, SSE2),
    NEED(GFNI, SSE2),
    NEED(XSAVE, SSE),
    NEED(XSAVEOPT, XSAVE),
    NEED(XSAVEC, XSAVE),
    NEED(XGETBV1, XSAVE),
    NEED(XSAVES, XSAVEC),
    NEED(XSAVEERPTR, XSAVE),
    NEED(AVX, XSAVE),
    NEED(AVX, SSE4_2),
    NEED(F16C, AVX),
    NEED(FMA, AVX),
    NEED(AVX2, AVX),
    NEED(VAES, AVX),
    NEED(VAES, AES),
    NEED(VPCLMULQDQ, AVX),
    NEED(VPCLMULQDQ, PCLMULQDQ),
    NEED(AVX_VNNI, AVX2),
    NEED(CLFLUSHOPT, CLFLUSH),
    NEED(FSRM, ERMS),
    NEED(FZRM, ERMS),
    NEED(FSRS, ERMS),
    NEED(FSRC, ERMS),
    NEED(STIBP, SPEC_CTRL),
    NEED(SSBD, SPEC_CTRL),
    NEED(RDCL_NO, ARCH_CAPABILITIES),
    NEED(IBRS_ALL, ARCH_CAPABILITIES),
    NEED(IBRS_ALL, SPEC_CTRL),
    NEED(RSBA, ARCH_CAPABILITIES),
    NEED(SKIP_L1DFL, ARCH_CAPABILITIES),
    NEED(SSB_NO, ARCH_CAPABILITIES),
    NEED(MDS_NO, ARCH_CAPABILITIES),
    NEED(PSCHANGE_MC_NO, ARCH_CAPABILITIES),
    NEED(TAA_NO, ARCH_CAPABILITIES),
    NEED(SBDR_SSDP_NO, ARCH_CAPABILITIES),
    NEED(FBSDP_NO, ARCH_CAPABILITIES),
    NEED(PSDP_NO, ARCH_CAPABILITIES),
    NEED(FB_CLEAR, ARCH_CAPABILITIES),
    NEED(BHI_NO, ARCH_CAPABILITIES),
    NEED(PBRSB_NO, ARCH_CAPABILITIES),
    NEED(GDS_NO, ARCH_CAPABILITIES),
    NEED(RFDS_NO, ARCH_CAPABILITIES),
    NEED(RFDS_CLEAR, ARCH_CAPABILITIES),
    NEED(ITS_NO, ARCH_CAPABILITIES),
};

bool x86_feature_need(size_t n, X86Feature *feature, X86Feature *need)
{
    if (n >= G_N_ELEMENTS(needs)) {
        return false;
    }
    *feature = (X86Feature)needs[n].feature;
    *need    = (X86Feature)needs[n].needs;
    return true;
}

void x86_words_close(uint32_t *words)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(needs); i++) {
        if (!x86_words_have(words, (X86Feature)needs[i].needs)) {
            x86_words_set(words, (X86Feature)needs[i].feature, false);
        }
    }
}

const char *x86_feature_lacks(const uint32_t *words, X86Feature feature)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(needs); i++) {
        if (needs[i].feature == feature && !x86_words_have(words, (X86Feature)needs[i].needs)) {
            return x86_feature_name((X86Feature)needs[i].needs);
        }
    }
    return NULL;
}

/* --- what can be offered --- */

static void read_host(uint32_t words[X86_N_WORDS])
{
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        uint32_t regs[4] = { 0 };
        if (sources[i].leaf) {
            __get_cpuid_count(sources[i].leaf, sources[i].subleaf, &regs[0], &regs[1], &regs[2], &regs[3]);
        }
        words[i] = regs[sources[i].reg];
    }
    /* AVX takes the host's kernel, too. */
    uint32_t xcr0 = 0, high;
    if (words[X86_WORD_1_ECX] & (1u << 27)) {
        __asm__("xgetbv" : "=a"(xcr0), "=d"(high) : "c"(0));
    }
    if ((xcr0 & 6) != 6) {
        x86_words_set(words, X86_FEATURE_AVX, false);
    }
}

void x86_offered_features(uint32_t words[X86_N_WORDS], bool with_requests)
{
    uint32_t host[X86_N_WORDS];
    read_host(host);
    memset(words, 0, X86_N_WORDS * sizeof *words);
    for (unsigned i = 0; i < N_FEATURES; i++) {
        const X86FeatureInfo *f = &features[i];
        bool offered            = f->offer == X86_OFFER_ALWAYS || (f->offer == X86_OFFER_REQUEST && with_requests) ||
                       (f->offer == X86_OFFER_HOST && x86_words_have(host, f->feature));
        x86_words_set(words, f->feature, offered);
    }
    x86_words_close(words);
}

void x86_host_features(uint32_t words[X86_N_WORDS])
{
    x86_offered_features(words, true);
}
