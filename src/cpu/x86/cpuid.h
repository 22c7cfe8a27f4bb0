/* CPUID features and CPU models: what a guest is told its processor can do, and the tests that the rest of the CPU
 * makes against it.
 *
 *     if (!x86_has(cpu, X86_FEATURE_AVX2)) { x86_raise(cpu, X86_UD); }
 *
 * The features of a vCPU are fixed by x86_cpu_init() and may be read from any thread after it. */

#ifndef QUERN_CPU_X86_CPUID_H
#define QUERN_CPU_X86_CPUID_H

#include "cpu/x86/x86.h"

/* One 32-bit register of one leaf (or half an MSR) that consists of feature bits. The order is internal. */
typedef enum X86FeatureWord {
    X86_WORD_1_EDX,
    X86_WORD_1_ECX,
    X86_WORD_6_EAX,
    X86_WORD_7_0_EBX,
    X86_WORD_7_0_ECX,
    X86_WORD_7_0_EDX,
    X86_WORD_7_1_EAX,
    X86_WORD_7_1_EDX,
    X86_WORD_7_2_EDX,
    X86_WORD_D_1_EAX,
    X86_WORD_12_0_EAX,
    X86_WORD_12_0_EBX,
    X86_WORD_12_1_EAX,
    X86_WORD_14_0_ECX,
    X86_WORD_KVM_EAX,
    X86_WORD_KVM_EDX,
    X86_WORD_80000001_EDX,
    X86_WORD_80000001_ECX,
    X86_WORD_80000007_EDX,
    X86_WORD_80000008_EBX,
    X86_WORD_8000000A_EDX,
    X86_WORD_80000021_EAX,
    X86_WORD_C0000001_EDX,
    X86_WORD_ARCH_CAPS_LOW,
    X86_WORD_ARCH_CAPS_HIGH,
    X86_WORD_CORE_CAPS,
    X86_N_WORDS /* at most the size of X86Cpu.features */
} X86FeatureWord;

/* X86_FEATURE_AVX2 and so on: word * 32 + bit. */
typedef enum X86Feature {
#define FEATURE(id, word, bit, name, offer) X86_FEATURE_##id = X86_WORD_##word * 32 + (bit),
#include "cpu/x86/cpuid_features.h"
#undef FEATURE
} X86Feature;

static inline bool x86_words_have(const uint32_t *words, X86Feature feature)
{
    return (words[feature / 32] >> (feature % 32)) & 1;
}

/* Does the guest's CPUID offer it? */
static inline bool x86_has(const X86Cpu *cpu, X86Feature feature)
{
    return x86_words_have(cpu->features, feature);
}

typedef enum X86Vendor { X86_VENDOR_INTEL, X86_VENDOR_AMD, X86_VENDOR_OTHER } X86Vendor;

/* KiB, ways and the flags of leaf 4's EDX. Lines have 64 bytes. */
typedef struct X86CacheLevel {
    uint32_t kib;
    uint16_t ways;
    uint8_t  flags;
} X86CacheLevel;

typedef struct X86CacheSet {
    X86CacheLevel l1d, l1i, l2, l3;
} X86CacheSet;

/* Microsoft's hypervisor interface (hyperv.h): properties hv-*. */
typedef enum X86HvFeature {
    X86_HV_RELAXED     = 1 << 0,
    X86_HV_VAPIC       = 1 << 1,
    X86_HV_TIME        = 1 << 2,
    X86_HV_VPINDEX     = 1 << 3,
    X86_HV_RUNTIME     = 1 << 4,
    X86_HV_FREQUENCIES = 1 << 5,
} X86HvFeature;

#define X86_HV_NO_SPINLOCKS UINT32_MAX

typedef struct X86HvModel {
    uint32_t on;         /* X86HvFeature */
    uint32_t spinlocks;  /* how often to try before telling the hypervisor */
    char     vendor[13]; /* 12 characters, zeros behind a shorter text */
    uint32_t build, major, minor, service_pack, service_branch, service_number;
} X86HvModel;

/* A CPU model with the user's changes applied. Immutable after x86_model_parse(); outlives its vCPUs. */
struct X86Model {
    char              *name;
    char               vendor[13]; /* 12 characters and NUL */
    X86Vendor          kind;
    unsigned           family, model, stepping; /* as displayed: extended family and model added in */
    uint32_t           level, xlevel;           /* highest basic and extended leaf */
    char               model_id[49];
    uint32_t           features[X86_N_WORDS];
    uint32_t           missing[X86_N_WORDS]; /* asked for, and cannot be offered here */
    unsigned           phys_bits;
    uint64_t           tsc_hz;      /* 0: the host's */
    uint64_t           ucode_rev;   /* 0: as QEMU's models have */
    uint32_t           level_func7; /* the highest subleaf of leaf 7 is at least this */
    const X86CacheSet *caches;
    bool               legacy_cache;   /* caches that do not go with the model (legacy-cache) */
    bool               l3_cache;       /* there is a third level (l3-cache) */
    bool               hypervisor_id;  /* leaves 40000000h and up (tcg-cpuid) */
    bool               frequency_leaf; /* leaf 40000010h (vmware-cpuid-freq) */
    bool               topology_leaf;  /* leaf 0Bh (cpuid-0xb) */
    bool               kvm_leaves;     /* a hypervisor shows itself (kvm) */
    X86HvModel         hyperv;
    bool               host; /* the hypervisor's own CPU: leaves that Quern knows nothing about go through */
};

/* What a hypervisor of the host (KVM) can offer in place of Quern's own executor. */
typedef struct X86Hypervisor {
    uint32_t features[X86_N_WORDS];
    uint32_t defaults[X86_N_WORDS]; /* what models other than the host's get on top of their own */
    uint32_t level, xlevel;         /* highest leaves */
} X86Hypervisor;

/* -smp as CPUID tells it; each count is per unit of the one before, all at least 1. */
typedef struct X86Topology {
    unsigned sockets, dies, modules, cores, threads;
} X86Topology;

/* Parses -cpu text: "model", "model,+feat,-feat,feat=on|off,vendor=..." . Warns once (check, the default) about what
 * cannot be offered, or fails (enforce). `hv` says what can be; NULL: what Quern's executor has. Without one there is
 * no model `host`. NULL on error, with the nearest name to a wrong one. */
X86Model *x86_model_parse(const char *text, const X86Hypervisor *hv, Error *err);
void      x86_model_free(X86Model *model);

/* -cpu help. */
void x86_model_print_help(FILE *to);

/* Walks the model names: NULL after the last. */
const char *x86_model_name(unsigned n);

/* Gives a zeroed vCPU its model, CPUID words, TSC frequency and address widths; the rest is x86_reset()'s. `apic_id`
 * as x86_apic_id() makes it. The model and topology are borrowed for the life of the vCPU. */
bool x86_cpu_init(X86Cpu *cpu, const X86Model *model, const X86Topology *topology, uint32_t apic_id, Error *err);

/* The APIC ID of the index'th vCPU: bit fields for thread, core, module, die and socket (SDM 3, 9.9.1). */
uint32_t x86_apic_id(const X86Topology *topology, unsigned index);

/* CPUID words of the host, masked to what Quern can run: for `max`, tests and KVM. Any thread. */
void x86_host_features(uint32_t words[X86_N_WORDS]);

#endif
