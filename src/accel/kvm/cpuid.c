/* CPUID under KVM: what the host can offer to models, and the table that the kernel answers guests from.
 *
 * Leaves are Quern's own (cpu/x86/cpuid.c), but for those that describe what KVM itself brings: its signature and
 * features, the state components of XSAVE, and for `host` and `max` what Quern knows nothing about.
 *
 * Specification: Intel SDM 2A, CPUID; Linux, Documentation/virt/kvm/x86/cpuid.rst. */

#include "accel/kvm/kvm.h"

#include "cpu/x86/features.h"
#include "cpu/x86/system.h"

#include <errno.h>
#include <string.h>

enum {
    MAX_ENTRIES    = 256,
    MAX_SUBLEAVES  = 64,
    MSR_ARCH_CAPS  = 0x10a,
    KVM_SIGNATURE  = 0x40000000,
    KVM_FEATURES   = 0x40000001,
    FREQUENCY_LEAF = 0x40000010,
    OSXSAVE        = 1 << 27, /* leaf 1, ECX: mirrors CR4, the kernel's affair */
};

/* What KVM can but Quern cannot carry to where it belongs yet: nested virtualization (its state), performance counters
 * and their kind, what needs memory or devices of its own, messages with more bits of destination than MSIs have, and
 * AMX, which takes a permission for the process. */
static const X86Feature not_built[] = {
    X86_FEATURE_VMX,          X86_FEATURE_SVM,         X86_FEATURE_DTES64,
    X86_FEATURE_DS,           X86_FEATURE_DS_CPL,      X86_FEATURE_PDCM,
    X86_FEATURE_INTEL_PT,     X86_FEATURE_SGX,         X86_FEATURE_SGXLC,
    X86_FEATURE_AMX_BF16,     X86_FEATURE_AMX_TILE,    X86_FEATURE_AMX_INT8,
    X86_FEATURE_AMX_FP16,     X86_FEATURE_AMX_COMPLEX, X86_FEATURE_ARCH_LBR,
    X86_FEATURE_PERFCTR_CORE, X86_FEATURE_PERFCTR_NB,  X86_FEATURE_KVM_MSI_EXT_DEST_ID,
};

/* What the local APIC of the kernel has to do with. */
static const X86Feature need_local_apic[] = {
    X86_FEATURE_X2APIC,          X86_FEATURE_TSC_DEADLINE,       X86_FEATURE_KVM_PV_EOI,
    X86_FEATURE_KVM_PV_UNHALT,   X86_FEATURE_KVM_PV_IPI,         X86_FEATURE_KVM_ASYNCPF,
    X86_FEATURE_KVM_ASYNCPF_INT, X86_FEATURE_KVM_ASYNCPF_VMEXIT, X86_FEATURE_KVM_PV_SCHED_YIELD,
};

/* What models other than the host's get, as far as KVM has it. */
static const X86Feature defaults[] = {
    X86_FEATURE_KVM_CLOCK,       X86_FEATURE_KVM_NOPIODELAY, X86_FEATURE_KVM_CLOCK2,    X86_FEATURE_KVM_ASYNCPF,
    X86_FEATURE_KVM_STEAL_TIME,  X86_FEATURE_KVM_PV_EOI,     X86_FEATURE_KVM_PV_UNHALT, X86_FEATURE_KVM_CLOCK_STABLE,
    X86_FEATURE_KVM_ASYNCPF_INT, X86_FEATURE_X2APIC,
};

/* --- what there is --- */

static const struct kvm_cpuid_entry2 *find_entry(const struct kvm_cpuid2 *table, uint32_t leaf, uint32_t subleaf)
{
    for (uint32_t i = 0; i < table->nent; i++) {
        const struct kvm_cpuid_entry2 *e = &table->entries[i];
        if (e->function == leaf && (!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf)) {
            return e;
        }
    }
    return NULL;
}

static uint32_t supported_word(const Kvm *kvm, X86FeatureWord word)
{
    uint32_t leaf, subleaf;
    unsigned reg;
    if (!x86_word_source(word, &leaf, &subleaf, &reg)) {
        return 0;
    }
    const struct kvm_cpuid_entry2 *e = find_entry(kvm->supported, leaf, subleaf);
    return !e ? 0 : reg == 0 ? e->eax : reg == 1 ? e->ebx : reg == 2 ? e->ecx : e->edx;
}

static void read_arch_capabilities(const Kvm *kvm, uint32_t *words)
{
    struct kvm_msrs *msrs  = g_malloc0(sizeof *msrs + sizeof msrs->entries[0]);
    msrs->nmsrs            = 1;
    msrs->entries[0].index = MSR_ARCH_CAPS;
    if (kvm_check(kvm, KVM_CAP_GET_MSR_FEATURES) && kvm_ioctl(kvm->fd, KVM_GET_MSRS, msrs) == 1) {
        words[X86_WORD_ARCH_CAPS_LOW]  = (uint32_t)msrs->entries[0].data;
        words[X86_WORD_ARCH_CAPS_HIGH] = (uint32_t)(msrs->entries[0].data >> 32);
    }
    g_free(msrs);
}

static uint64_t offered_components(const Kvm *kvm)
{
    const struct kvm_cpuid_entry2 *e = find_entry(kvm->supported, 0xd, 0);
    return e ? e->eax | (uint64_t)e->edx << 32 : 0;
}

/* Named features only: a bit without a name has no switch, and nobody knows what it takes. */
static void keep_named(uint32_t *words)
{
    uint32_t              named[X86_N_WORDS] = {};
    const X86FeatureInfo *f;
    for (size_t i = 0; (f = x86_feature_info(i)) != NULL; i++) {
        x86_words_set(named, f->feature, true);
    }
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        words[i] &= named[i];
    }
}

static bool read_supported(Kvm *kvm, Error *err)
{
    kvm->supported       = g_malloc0(sizeof *kvm->supported + MAX_ENTRIES * sizeof kvm->supported->entries[0]);
    kvm->supported->nent = MAX_ENTRIES;
    return kvm_ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, kvm->supported) == 0 ||
           error_set_errno(err, errno, "KVM does not say which CPU features it supports");
}

bool kvm_cpuid_init(Kvm *kvm, Error *err)
{
    X86Hypervisor *hv = &kvm->hypervisor;
    if (!read_supported(kvm, err)) {
        return false;
    }
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        hv->features[i] = supported_word(kvm, (X86FeatureWord)i);
    }
    read_arch_capabilities(kvm, hv->features);
    x86_words_set(hv->features, X86_FEATURE_HYPERVISOR, true);
    x86_words_set(hv->features, X86_FEATURE_ARAT, true); /* the APIC timer never stops */
    x86_words_set(hv->features, X86_FEATURE_TSC_DEADLINE, kvm_check(kvm, KVM_CAP_TSC_DEADLINE_TIMER) > 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(not_built); i++) {
        x86_words_set(hv->features, not_built[i], false);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(need_local_apic) && !kvm_local_apic_inside(kvm); i++) {
        x86_words_set(hv->features, need_local_apic[i], false);
    }
    keep_named(hv->features);
    x86_words_close(hv->features);
    for (unsigned i = 0; i < G_N_ELEMENTS(defaults); i++) {
        x86_words_set(hv->defaults, defaults[i], x86_words_have(hv->features, defaults[i]));
    }
    const struct kvm_cpuid_entry2 *basic    = find_entry(kvm->supported, 0, 0);
    const struct kvm_cpuid_entry2 *extended = find_entry(kvm->supported, 0x80000000, 0);
    hv->level                               = basic ? MIN(basic->eax, 0x1f) : 1;
    hv->xlevel                              = extended ? MIN(extended->eax, 0x80000021) : 0x80000000;
    kvm->xcr0                               = offered_components(kvm);
    return true;
}

/* --- the table --- */

typedef struct Builder {
    KvmVcpu           *k;
    struct kvm_cpuid2 *table;
    bool               full;
} Builder;

static void add(Builder *b, uint32_t leaf, uint32_t subleaf, bool indexed, X86CpuidLeaf l)
{
    if (b->table->nent == MAX_ENTRIES) {
        b->full = true;
        return;
    }
    b->table->entries[b->table->nent++] =
        (struct kvm_cpuid_entry2){ .function = leaf,
                                   .index    = subleaf,
                                   .flags    = indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
                                   .eax      = l.eax,
                                   .ebx      = l.ebx,
                                   .ecx      = l.ecx,
                                   .edx      = l.edx };
}

static X86CpuidLeaf own(Builder *b, uint32_t leaf, uint32_t subleaf)
{
    return x86_cpuid(b->k->cpu, leaf, subleaf);
}

/* The state components that go with the model's features (SDM 1, 13.1). */
static uint64_t components_of(const X86Cpu *cpu, uint64_t offered)
{
    static const struct {
        uint64_t   bits;
        X86Feature feature;
    } components[] = {
        { 3, X86_FEATURE_XSAVE },
        { 4, X86_FEATURE_AVX },
        { 0xe0, X86_FEATURE_AVX512F },
        { 0x200, X86_FEATURE_PKU },
    };
    uint64_t bits = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(components); i++) {
        bits |= x86_has(cpu, components[i].feature) ? components[i].bits : 0;
    }
    return bits & offered;
}

/* Leaf Dh: sizes and places are the host's. The kernel keeps EBX of the first two up to date with XCR0. */
static void add_components(Builder *b)
{
    const Kvm *kvm  = b->k->kvm;
    uint64_t   xcr0 = x86_has(b->k->cpu, X86_FEATURE_XSAVE) ? components_of(b->k->cpu, kvm->xcr0) : 0;
    uint32_t   size = XSAVE_YMM;
    for (unsigned i = 2; i < 63; i++) {
        const struct kvm_cpuid_entry2 *e = xcr0 >> i & 1 ? find_entry(kvm->supported, 0xd, i) : NULL;
        size                             = e ? MAX(size, e->eax + e->ebx) : size;
    }
    if (!xcr0) {
        add(b, 0xd, 0, true, (X86CpuidLeaf){ 0 });
        return;
    }
    add(b, 0xd, 0, true,
        (X86CpuidLeaf){ .eax = (uint32_t)xcr0, .ebx = size, .ecx = size, .edx = (uint32_t)(xcr0 >> 32) });
    add(b, 0xd, 1, true, (X86CpuidLeaf){ .eax = b->k->cpu->features[X86_WORD_D_1_EAX], .ebx = size });
    for (unsigned i = 2; i < 63; i++) {
        const struct kvm_cpuid_entry2 *e = xcr0 >> i & 1 ? find_entry(kvm->supported, 0xd, i) : NULL;
        if (e) {
            add(b, 0xd, i, true, (X86CpuidLeaf){ .eax = e->eax, .ebx = e->ebx, .ecx = e->ecx });
        }
    }
}

static bool is_empty(X86CpuidLeaf l)
{
    return !(l.eax | l.ebx | l.ecx | l.edx);
}

/* Subleaves until the one that says it is the last. */
static void add_list(Builder *b, uint32_t leaf)
{
    for (uint32_t i = 0; i < MAX_SUBLEAVES; i++) {
        X86CpuidLeaf l = own(b, leaf, i);
        add(b, leaf, i, true, l);
        bool last = leaf == 0xb || leaf == 0x1f ? !(l.ecx & 0xff00) : !(l.eax & 0x1f);
        if (last) {
            return;
        }
    }
}

static void add_basic(Builder *b, uint32_t leaf)
{
    X86CpuidLeaf l = own(b, leaf, 0);
    switch (leaf) {
    case 1:
        l.ecx &= ~(uint32_t)OSXSAVE;
        add(b, leaf, 0, false, l);
        break;
    case 4:
    case 0xb:
    case 0x1f: add_list(b, leaf); break;
    case 7:
        for (uint32_t i = 0; i <= l.eax; i++) {
            add(b, leaf, i, true, own(b, leaf, i));
        }
        break;
    case 0xa: /* no performance counters */ add(b, leaf, 0, false, (X86CpuidLeaf){ 0 }); break;
    case 0xd: add_components(b); break;
    default:
        if (!is_empty(l)) {
            add(b, leaf, 0, false, l);
        }
        break;
    }
}

static void add_extended(Builder *b, uint32_t leaf)
{
    if (leaf == 0x8000001d) {
        add_list(b, leaf);
        return;
    }
    add(b, leaf, 0, false, own(b, leaf, 0));
}

static void add_hypervisor(Builder *b)
{
    const X86Cpu *cpu = b->k->cpu;
    if (!cpu->model->kvm_leaves || !x86_has(cpu, X86_FEATURE_HYPERVISOR)) {
        return;
    }
    static const char name[12] = "KVMKVMKVM\0\0";
    X86CpuidLeaf      l        = { .eax = cpu->model->frequency_leaf ? FREQUENCY_LEAF : KVM_FEATURES };
    memcpy(&l.ebx, name, 4);
    memcpy(&l.ecx, name + 4, 4);
    memcpy(&l.edx, name + 8, 4);
    add(b, KVM_SIGNATURE, 0, false, l);
    add(b, KVM_FEATURES, 0, false,
        (X86CpuidLeaf){ .eax = cpu->features[X86_WORD_KVM_EAX], .edx = cpu->features[X86_WORD_KVM_EDX] });
    if (cpu->model->frequency_leaf) {
        add(b, FREQUENCY_LEAF, 0, false,
            (X86CpuidLeaf){ .eax = (uint32_t)(cpu->tsc_hz / 1000), .ebx = APIC_TIMER_HZ / 1000 });
    }
}

bool kvm_cpuid_set(KvmVcpu *k, Error *err)
{
    g_autofree struct kvm_cpuid2 *table = g_malloc0(sizeof *table + MAX_ENTRIES * sizeof table->entries[0]);
    Builder                       b     = { .k = k, .table = table };
    uint32_t                      level = own(&b, 0, 0).eax, xlevel = own(&b, 0x80000000, 0).eax;
    for (uint32_t leaf = 0; leaf <= MIN(level, 0x1f); leaf++) {
        add_basic(&b, leaf);
    }
    add_hypervisor(&b);
    for (uint32_t leaf = 0x80000000; leaf <= MIN(xlevel, 0x8000003f); leaf++) {
        add_extended(&b, leaf);
    }
    if (b.full) {
        return error_set(err, "CPU model '%s' has more CPUID leaves than KVM takes", k->cpu->model->name);
    }
    return kvm_ioctl(k->fd, KVM_SET_CPUID2, table) == 0 ||
           error_set_errno(err, errno, "KVM does not take the CPUID of model '%s'", k->cpu->model->name);
}
