/* CPUID: the leaves that a guest reads, out of its model, features and topology.
 *
 * Specification: Intel SDM 2A, CPUID (December 2023); AMD APM 3, appendix E; the hypervisor leaves as in VMware's
 * "Hypervisor CPUID Interface Proposal". vCPU thread. */

#include "cpu/x86/features.h"
#include "cpu/x86/hyperv.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/system.h"
#include "devices/irq/apic.h"

#include <string.h>

/* --- topology --- */

static unsigned bits_for(unsigned count)
{
    unsigned bits = 0;
    while ((1u << bits) < count) {
        bits++;
    }
    return bits;
}

typedef struct Widths {
    unsigned thread, core, module, die; /* shift to the level above each */
} Widths;

static Widths widths(const X86Topology *t)
{
    Widths w;
    w.thread = bits_for(t->threads);
    w.core   = w.thread + bits_for(t->cores);
    w.module = w.core + bits_for(t->modules);
    w.die    = w.module + bits_for(t->dies);
    return w;
}

uint32_t x86_apic_id(const X86Topology *t, unsigned index)
{
    Widths   w      = widths(t);
    unsigned thread = index % t->threads;
    unsigned core   = index / t->threads % t->cores;
    unsigned module = index / (t->threads * t->cores) % t->modules;
    unsigned die    = index / (t->threads * t->cores * t->modules) % t->dies;
    unsigned socket = index / (t->threads * t->cores * t->modules * t->dies);
    return socket << w.die | die << w.module | module << w.core | core << w.thread | thread;
}

static unsigned threads_per_socket(const X86Topology *t)
{
    return t->threads * t->cores * t->modules * t->dies;
}

typedef struct Level {
    uint8_t  type; /* of leaf 1Fh */
    unsigned shift, threads;
} Level;

/* Leaves 0Bh (threads and cores) and 1Fh (all levels that have more than one member). */
static X86CpuidLeaf topology_leaf(const X86Cpu *cpu, uint32_t subleaf, bool extended)
{
    const X86Topology *t = cpu->topology;
    Widths             w = widths(t);
    Level              level[4];
    unsigned           n = 0, threads = t->threads;
    level[n++] = (Level){ .type = 1, .shift = w.thread, .threads = threads };
    threads *= t->cores;
    if (extended && (t->modules > 1 || t->dies > 1)) {
        level[n++] = (Level){ .type = 2, .shift = w.core, .threads = threads };
        if (t->modules > 1) {
            threads *= t->modules;
            level[n++] = (Level){ .type = 3, .shift = w.module, .threads = threads };
        }
        if (t->dies > 1) {
            threads *= t->dies;
            level[n++] = (Level){ .type = 5, .shift = w.die, .threads = threads };
        }
        level[n - 1].shift = w.die;
    } else {
        level[n++] = (Level){ .type = 2, .shift = w.die, .threads = threads_per_socket(t) };
    }
    X86CpuidLeaf r = { .ecx = subleaf & 0xff, .edx = cpu->apic_id };
    if (subleaf < n) {
        r.eax = level[subleaf].shift;
        r.ebx = level[subleaf].threads;
        r.ecx |= (uint32_t)level[subleaf].type << 8;
    }
    return r;
}

static bool needs_extended_topology(const X86Cpu *cpu)
{
    return cpu->topology->dies > 1 || cpu->topology->modules > 1;
}

/* --- caches --- */

typedef enum CacheType { CACHE_DATA = 1, CACHE_CODE, CACHE_UNIFIED } CacheType;

enum { CACHE_LINE = 64 };

/* Leaves 4 and 8000001Dh. */
static X86CpuidLeaf cache_leaf(const X86Cpu *cpu, uint32_t subleaf, bool intel)
{
    const X86CacheSet *set = cpu->model->caches;
    Widths             w   = widths(cpu->topology);
    const struct {
        const X86CacheLevel *cache;
        unsigned             level;
        CacheType            type;
        unsigned             shared; /* bits of APIC IDs that share it */
    } order[] = {
        { &set->l1d, 1, CACHE_DATA, w.thread },
        { &set->l1i, 1, CACHE_CODE, w.thread },
        { &set->l2, 2, CACHE_UNIFIED, w.thread },
        { &set->l3, 3, CACHE_UNIFIED, w.module },
    };
    if (subleaf >= G_N_ELEMENTS(order) || (order[subleaf].level == 3 && !cpu->model->l3_cache)) {
        return (X86CpuidLeaf){ 0 };
    }
    const X86CacheLevel *c       = order[subleaf].cache;
    uint32_t             sharers = (1u << order[subleaf].shared) - 1;
    uint32_t             cores   = (1u << (w.die - w.thread)) - 1;
    return (X86CpuidLeaf){ .eax = (uint32_t)order[subleaf].type | order[subleaf].level << 5 | 1 << 8 |
                                  MIN(sharers, 0xfff) << 14 | (intel ? MIN(cores, 63) << 26 : 0),
                           .ebx = (CACHE_LINE - 1u) | (c->ways - 1u) << 22,
                           .ecx = c->kib * 1024 / CACHE_LINE / c->ways - 1,
                           .edx = c->flags };
}

/* Leaf 80000006h writes the number of ways as a code. */
static uint32_t ways_code(unsigned ways)
{
    static const uint8_t codes[][2] = { { 1, 1 }, { 2, 2 }, { 4, 4 }, { 8, 6 }, { 16, 8 }, { 32, 10 }, { 48, 11 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(codes); i++) {
        if (codes[i][0] == ways) {
            return codes[i][1];
        }
    }
    return 0xf; /* fully associative */
}

static uint32_t amd_l1(const X86CacheLevel *c)
{
    return c->kib << 24 | (uint32_t)c->ways << 16 | 1 << 8 | CACHE_LINE;
}

static uint32_t amd_l2(const X86CacheLevel *c)
{
    return c->kib << 16 | ways_code(c->ways) << 12 | 1 << 8 | CACHE_LINE;
}

static uint32_t amd_l3(const X86CacheLevel *c)
{
    return (c->kib / 512) << 18 | ways_code(c->ways) << 12 | 1 << 8 | CACHE_LINE;
}

/* --- the leaves --- */

static uint32_t signature(const X86Model *m)
{
    uint32_t family   = MIN(m->family, 15);
    uint32_t extended = m->family - family;
    return m->stepping | (m->model & 0xf) << 4 | family << 8 | (m->model >> 4) << 16 | extended << 20;
}

uint32_t x86_cpu_signature(const X86Cpu *cpu)
{
    return signature(cpu->model);
}

static X86CpuidLeaf vendor_leaf(const X86Model *m, uint32_t max)
{
    X86CpuidLeaf r = { .eax = max };
    memcpy(&r.ebx, m->vendor, 4);
    memcpy(&r.edx, m->vendor + 4, 4);
    memcpy(&r.ecx, m->vendor + 8, 4);
    return r;
}

static X86CpuidLeaf leaf_1(const X86Cpu *cpu)
{
    const uint32_t *f       = cpu->features;
    unsigned        threads = threads_per_socket(cpu->topology);
    X86CpuidLeaf    r       = {
                 .eax = signature(cpu->model),
                 .ebx = cpu->apic_id << 24 | MIN(threads, 255) << 16 | (x86_has(cpu, X86_FEATURE_CLFLUSH) ? 8 << 8 : 0),
                 .ecx = f[X86_WORD_1_ECX],
                 .edx = f[X86_WORD_1_EDX],
    };
    if (cpu->cr4 & CR4_OSXSAVE) {
        r.ecx |= 1u << 27;
    }
    if (cpu->apic && !(apic_get_base(cpu->apic) & APIC_BASE_ENABLE)) {
        r.edx &= ~(1u << 9);
    }
    return r;
}

static X86CpuidLeaf leaf_7(const X86Cpu *cpu, uint32_t subleaf)
{
    const uint32_t *f    = cpu->features;
    uint32_t        last = f[X86_WORD_7_2_EDX] ? 2 : f[X86_WORD_7_1_EAX] || f[X86_WORD_7_1_EDX] ? 1 : 0;
    switch (subleaf) {
    case 0:
        return (X86CpuidLeaf){ .eax = MAX(last, cpu->model->level_func7),
                               .ebx = f[X86_WORD_7_0_EBX],
                               .ecx = f[X86_WORD_7_0_ECX],
                               .edx = f[X86_WORD_7_0_EDX] };
    case 1: return (X86CpuidLeaf){ .eax = f[X86_WORD_7_1_EAX], .edx = f[X86_WORD_7_1_EDX] };
    case 2: return (X86CpuidLeaf){ .edx = f[X86_WORD_7_2_EDX] };
    default: return (X86CpuidLeaf){ 0 };
    }
}

static uint32_t xsave_size(uint64_t xcr0)
{
    return xcr0 & XCR0_AVX ? XSAVE_SIZE : XSAVE_YMM;
}

static X86CpuidLeaf leaf_d(const X86Cpu *cpu, uint32_t subleaf)
{
    if (!x86_has(cpu, X86_FEATURE_XSAVE)) {
        return (X86CpuidLeaf){ 0 };
    }
    bool     avx     = x86_has(cpu, X86_FEATURE_AVX);
    uint64_t offered = XCR0_X87 | XCR0_SSE | (avx ? XCR0_AVX : 0);
    if (subleaf == 0) {
        return (X86CpuidLeaf){ .eax = (uint32_t)offered, .ebx = xsave_size(cpu->xcr0), .ecx = xsave_size(offered) };
    }
    if (subleaf == 1) {
        bool compacted = x86_has(cpu, X86_FEATURE_XSAVEC) || x86_has(cpu, X86_FEATURE_XSAVES);
        return (X86CpuidLeaf){ .eax = cpu->features[X86_WORD_D_1_EAX],
                               .ebx = compacted ? xsave_size(cpu->xcr0 | cpu->xss) : 0 };
    }
    return subleaf == 2 && avx ? (X86CpuidLeaf){ .eax = 256, .ebx = XSAVE_YMM } : (X86CpuidLeaf){ 0 };
}

/* The local APIC's timer counts this clock, and so leaf 15h calls it the core crystal. */
enum { APIC_BUS_HZ = 1000000000 };

/* TSC / crystal as a fraction. Its numerator stays small enough for guests that multiply it with the crystal in kHz
 * in 32 bits (Linux); the best such fraction is off by less than one part in a million. */
static void tsc_ratio(uint64_t hz, uint32_t *numerator, uint32_t *denominator)
{
    static const uint64_t limit = UINT32_MAX / (APIC_BUS_HZ / 1000);
    uint64_t              a = hz, b = APIC_BUS_HZ;
    uint64_t              p0 = 0, q0 = 1, p1 = 1, q1 = 0;
    while (b) {
        uint64_t whole = a / b, rest = a % b;
        uint64_t p2 = whole * p1 + p0, q2 = whole * q1 + q0;
        if (p2 > limit) {
            break;
        }
        p0 = p1, q0 = q1, p1 = p2, q1 = q2;
        a = b, b = rest;
    }
    *numerator   = (uint32_t)p1;
    *denominator = (uint32_t)q1;
}

static X86CpuidLeaf leaf_15(const X86Cpu *cpu)
{
    X86CpuidLeaf r = { .ecx = APIC_BUS_HZ };
    tsc_ratio(cpu->tsc_hz, &r.ebx, &r.eax);
    return r.eax ? r : (X86CpuidLeaf){ 0 };
}

/* One-byte descriptors: 64-byte prefetch, and that caches and TLBs are in other leaves; without leaf 4 caches of 32 KiB
 * each, 2 MiB and 16 MiB. */
static X86CpuidLeaf descriptor_leaf(const X86Cpu *cpu, uint32_t max)
{
    if (max >= 4) {
        return (X86CpuidLeaf){ .eax = 0x00feff01, .edx = 0xf0 };
    }
    return (X86CpuidLeaf){ .eax = 1, .ecx = cpu->model->l3_cache ? 0x4d : 0, .edx = 0x002c307d };
}

static X86CpuidLeaf basic_leaf(X86Cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t max)
{
    const X86Model *m     = cpu->model;
    bool            intel = m->kind != X86_VENDOR_AMD;
    switch (leaf) {
    case 0: return vendor_leaf(m, max);
    case 1: return leaf_1(cpu);
    case 2: return intel ? descriptor_leaf(cpu, max) : (X86CpuidLeaf){ 0 };
    case 4: return intel ? cache_leaf(cpu, subleaf, true) : (X86CpuidLeaf){ 0 };
    case 5:
        /* No C1 substate: Linux then idles with HLT, which lets the host sleep. */
        return x86_has(cpu, X86_FEATURE_MONITOR) ? (X86CpuidLeaf){ .eax = 64, .ebx = 64, .ecx = 3 }
                                                 : (X86CpuidLeaf){ 0 };
    case 6: return (X86CpuidLeaf){ .eax = cpu->features[X86_WORD_6_EAX] };
    case 7: return leaf_7(cpu, subleaf);
    case 0xb: return m->topology_leaf ? topology_leaf(cpu, subleaf, false) : (X86CpuidLeaf){ 0 };
    case 0xd: return leaf_d(cpu, subleaf);
    case 0x15: return leaf_15(cpu);
    case 0x16: {
        uint32_t mhz = (uint32_t)MIN(cpu->tsc_hz / 1000000, 0xffff);
        return (X86CpuidLeaf){ .eax = mhz, .ebx = mhz, .ecx = APIC_BUS_HZ / 10000000 };
    }
    case 0x1f: return needs_extended_topology(cpu) ? topology_leaf(cpu, subleaf, true) : (X86CpuidLeaf){ 0 };
    default: return (X86CpuidLeaf){ 0 };
    }
}

static X86CpuidLeaf hypervisor_leaf(const X86Cpu *cpu, uint32_t leaf)
{
    const X86Model *m = cpu->model;
    if (x86_hv_shows(m)) {
        return x86_hv_cpuid(cpu, leaf);
    }
    if (leaf == 0x40000000 && m->hypervisor_id) {
        X86CpuidLeaf      r      = { .eax = m->frequency_leaf ? 0x40000010 : 0x40000001 };
        static const char name[] = "TCGTCGTCGTCG"; /* by which systemd and others know QEMU */
        memcpy(&r.ebx, name, 4);
        memcpy(&r.ecx, name + 4, 4);
        memcpy(&r.edx, name + 8, 4);
        return r;
    }
    if (leaf == 0x40000010 && m->hypervisor_id && m->frequency_leaf) {
        return (X86CpuidLeaf){ .eax = (uint32_t)(cpu->tsc_hz / 1000), .ebx = APIC_BUS_HZ / 1000 };
    }
    return (X86CpuidLeaf){ 0 };
}

static X86CpuidLeaf leaf_80000001(const X86Cpu *cpu)
{
    X86CpuidLeaf r = { .ecx = cpu->features[X86_WORD_80000001_ECX], .edx = cpu->features[X86_WORD_80000001_EDX] };
    if (cpu->model->kind == X86_VENDOR_AMD) {
        r.eax = signature(cpu->model);
        r.edx |= cpu->features[X86_WORD_1_EDX] & 0x0183f3ff;
    }
    if (cpu->misc_enable & MISC_ENABLE_XD_DISABLE) {
        r.edx &= ~(1u << 20);
    }
    return r;
}

/* The brand string: 48 bytes over three leaves. */
static X86CpuidLeaf brand_leaf(const X86Model *m, unsigned n)
{
    uint32_t words[4];
    memcpy(words, m->model_id + 16 * n, sizeof words);
    return (X86CpuidLeaf){ words[0], words[1], words[2], words[3] };
}

static X86CpuidLeaf leaf_8000001e(const X86Cpu *cpu)
{
    const X86Topology *t    = cpu->topology;
    Widths             w    = widths(t);
    uint32_t           core = (cpu->apic_id >> w.thread) & ((1u << (w.module - w.thread)) - 1);
    uint32_t           node = cpu->apic_id >> w.module;
    return (X86CpuidLeaf){ .eax = cpu->apic_id,
                           .ebx = (core & 0xff) | (t->threads - 1) << 8,
                           .ecx = (node & 0xff) | (t->dies - 1) << 8 };
}

static X86CpuidLeaf extended_leaf(X86Cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
    const X86Model    *m      = cpu->model;
    bool               amd    = m->kind == X86_VENDOR_AMD;
    const X86CacheSet *caches = m->caches;
    switch (leaf) {
    case 0x80000000: return vendor_leaf(m, m->xlevel);
    case 0x80000001: return leaf_80000001(cpu);
    case 0x80000002:
    case 0x80000003:
    case 0x80000004: return brand_leaf(m, leaf - 0x80000002);
    case 0x80000005:
        /* Size, ways, lines per tag, line size; TLBs as QEMU's: fully associative, 255 small and 1 large entries. */
        return amd ? (X86CpuidLeaf){ .eax = 0x01ff01ff,
                                     .ebx = 0x01ff01ff,
                                     .ecx = amd_l1(&caches->l1d),
                                     .edx = amd_l1(&caches->l1i) }
                   : (X86CpuidLeaf){ 0 };
    case 0x80000006: {
        X86CpuidLeaf r = { .ecx = amd_l2(&caches->l2) };
        if (amd) {
            r.ebx = 0x42004200; /* 512 entries, 4 ways */
            r.edx = m->l3_cache ? amd_l3(&caches->l3) : 0;
        }
        return r;
    }
    case 0x80000007: return (X86CpuidLeaf){ .edx = cpu->features[X86_WORD_80000007_EDX] };
    case 0x80000008: {
        X86CpuidLeaf r       = { .eax = cpu->phys_bits, .ebx = cpu->features[X86_WORD_80000008_EBX] };
        unsigned     threads = threads_per_socket(cpu->topology);
        if (x86_has(cpu, X86_FEATURE_LM)) {
            r.eax |= cpu->lin_bits << 8;
        }
        if (amd && threads > 1) {
            r.ecx = MIN(threads - 1, 255) | widths(cpu->topology).die << 12;
        }
        return r;
    }
    case 0x8000000a: return (X86CpuidLeaf){ .edx = cpu->features[X86_WORD_8000000A_EDX] };
    case 0x8000001d: return x86_has(cpu, X86_FEATURE_TOPOEXT) ? cache_leaf(cpu, subleaf, false) : (X86CpuidLeaf){ 0 };
    case 0x8000001e: return x86_has(cpu, X86_FEATURE_TOPOEXT) ? leaf_8000001e(cpu) : (X86CpuidLeaf){ 0 };
    case 0x80000021: return (X86CpuidLeaf){ .eax = cpu->features[X86_WORD_80000021_EAX] };
    default: return (X86CpuidLeaf){ 0 };
    }
}

X86CpuidLeaf x86_cpuid(X86Cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
    const X86Model *m   = cpu->model;
    uint32_t        max = m->level;
    if (needs_extended_topology(cpu) && m->topology_leaf && max >= 0xb) {
        max = MAX(max, 0x1f);
    }
    if ((cpu->misc_enable & MISC_ENABLE_LIMIT_CPUID) && max > 3) {
        max = 3;
    }
    if (leaf >= 0x80000000 && leaf <= m->xlevel) {
        return extended_leaf(cpu, leaf, subleaf);
    }
    if (leaf >= 0x40000000 && leaf <= 0x40000010 && x86_has(cpu, X86_FEATURE_HYPERVISOR)) {
        return hypervisor_leaf(cpu, leaf);
    }
    if (leaf <= max) {
        return basic_leaf(cpu, leaf, subleaf, max);
    }
    /* Beyond the highest leaf Intel's processors answer with the highest basic one, AMD's with zeros. */
    return m->kind == X86_VENDOR_INTEL ? basic_leaf(cpu, max, subleaf, max) : (X86CpuidLeaf){ 0 };
}

/* --- a vCPU's own --- */

bool x86_cpu_init(X86Cpu *cpu, const X86Model *model, const X86Topology *topology, uint32_t apic_id, Error *err)
{
    cpu->model    = model;
    cpu->topology = topology;
    cpu->apic_id  = apic_id;
    cpu->bsp      = apic_id == 0;
    memcpy(cpu->features, model->features, sizeof model->features);
    unsigned threads = threads_per_socket(topology);
    x86_words_set(cpu->features, X86_FEATURE_HT, threads > 1);
    x86_words_set(cpu->features, X86_FEATURE_CMP_LEGACY, threads > 1 && model->kind == X86_VENDOR_AMD);
    cpu->phys_bits = model->phys_bits;
    cpu->lin_bits  = x86_has(cpu, X86_FEATURE_LA57) ? 57 : 48;
    if (apic_id > 254 && !x86_has(cpu, X86_FEATURE_X2APIC)) {
        return error_set(err, "CPU model '%s' has no x2apic: no more than 255 CPUs (add x2apic=on)", model->name);
    }
    x86_init_tsc(cpu, model->tsc_hz);
    return true;
}
