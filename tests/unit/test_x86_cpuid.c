/* CPU models, -cpu and the CPUID leaves. */

#include "x86_stub.h"

#include "cpu/x86/features.h"

/* No feature without its prerequisites, in what CPUID itself says. */
static void check_words(Stub *s)
{
    uint32_t words[X86_N_WORDS];
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        uint32_t leaf, subleaf;
        unsigned reg;
        words[i] = s->cpu->features[i];
        if (x86_word_source((X86FeatureWord)i, &leaf, &subleaf, &reg) &&
            leaf <= x86_cpuid(s->cpu, leaf & 0x80000000, 0).eax) {
            X86CpuidLeaf r = x86_cpuid(s->cpu, leaf, subleaf);
            words[i]       = reg == 0 ? r.eax : reg == 1 ? r.ebx : reg == 2 ? r.ecx : r.edx;
            /* What a leaf shows beyond the features is AMD's copy of leaf 1. */
            uint32_t extra = words[i] & ~s->cpu->features[i];
            g_assert_true(extra == 0 || leaf == 0x80000001);
        }
    }
    X86Feature feature, needs;
    for (size_t i = 0; x86_feature_need(i, &feature, &needs); i++) {
        if (x86_words_have(words, feature) && !x86_words_have(words, needs)) {
            g_error("%s is offered without %s", x86_feature_name(feature), x86_feature_name(needs));
        }
    }
}

static void test_models(void)
{
    uint32_t offered[X86_N_WORDS];
    x86_host_features(offered);
    const char *name;
    for (unsigned i = 0; (name = x86_model_name(i)) != NULL; i++) {
        if (strcmp(name, "host") == 0) {
            continue; /* a hypervisor's only */
        }
        g_autofree char *text = g_strdup_printf("%s,check=off", name);
        Stub            *s    = stub_new(text);
        check_words(s);
        for (unsigned w = 0; w < X86_N_WORDS; w++) {
            g_assert_cmphex(s->model->features[w] & ~offered[w], ==, 0);
        }
        stub_free(s);
    }
}

typedef struct Identity {
    const char *text, *vendor, *model_id;
    uint32_t    signature, level, xlevel;
} Identity;

/* Versions, aliases and what they change, as QEMU's guests see them. */
static void test_identities(void)
{
    static const Identity cases[] = {
        { "486", "GenuineIntel", "", 0x480, 1, 0 },
        { "pentium3-v1", "GenuineIntel", "", 0x673, 3, 0 },
        { "athlon", "AuthenticAMD", "QEMU Virtual CPU version 2.5+", 0x623, 2, 0x80000008 },
        { "n270", "GenuineIntel", "Intel(R) Atom(TM) CPU N270   @ 1.60GHz", 0x106c2, 10, 0x80000008 },
        { "Haswell", "GenuineIntel", "Intel Core Processor (Haswell)", 0x306c4, 13, 0x80000008 },
        { "Haswell-v1", "GenuineIntel", "Intel Core Processor (Haswell)", 0x306c4, 13, 0x80000008 },
        { "Haswell-v2", "GenuineIntel", "Intel Core Processor (Haswell, no TSX)", 0x306c1, 13, 0x80000008 },
        { "Haswell-IBRS", "GenuineIntel", "Intel Core Processor (Haswell, IBRS)", 0x306c4, 13, 0x80000008 },
        { "Haswell-noTSX-IBRS", "GenuineIntel", "Intel Core Processor (Haswell, no TSX, IBRS)", 0x306c1, 13,
          0x80000008 },
        { "Icelake-Server-v3", "GenuineIntel", "Intel Xeon Processor (Icelake)", 0x80660, 13, 0x80000008 },
        { "Icelake-Server-v6", "GenuineIntel", "Intel Xeon Processor (Icelake)", 0x606a0, 13, 0x80000008 },
        { "SapphireRapids-v3", "GenuineIntel", "Intel Xeon Processor (SapphireRapids)", 0x806f4, 0x20, 0x80000008 },
        { "phenom", "AuthenticAMD", "AMD Phenom(tm) 9550 Quad-Core Processor", 0x100f23, 5, 0x8000001a },
        { "EPYC-IBPB", "AuthenticAMD", "AMD EPYC Processor (with IBPB)", 0x800f12, 13, 0x8000001e },
        { "EPYC-Milan-v2", "AuthenticAMD", "AMD EPYC-Milan-v2 Processor", 0xa00f11, 13, 0x80000021 },
        { "Dhyana", "HygonGenuine", "Hygon Dhyana Processor", 0x900f01, 13, 0x8000001e },
        { "x86-64-v3", "AuthenticAMD", "x86-64-v3", 0x60fb1, 13, 0x8000000a },
        { "base,level=3,vendor=GenuineIntel", "GenuineIntel", "", 0, 3, 0 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Identity  *c    = &cases[i];
        g_autofree char *text = g_strdup_printf("%s,check=off", c->text);
        Stub            *s    = stub_new(text);
        X86CpuidLeaf     r    = x86_cpuid(s->cpu, 0, 0);
        g_test_message("%s", c->text);
        g_assert_cmphex(r.eax, ==, c->level);
        g_assert_cmpmem(&r.ebx, 4, c->vendor, 4);
        g_assert_cmpmem(&r.edx, 4, c->vendor + 4, 4);
        g_assert_cmpmem(&r.ecx, 4, c->vendor + 8, 4);
        g_assert_cmphex(x86_cpuid(s->cpu, 1, 0).eax, ==, c->signature);
        g_assert_cmpstr(s->model->model_id, ==, c->model_id);
        X86CpuidLeaf end = x86_cpuid(s->cpu, 0x80000004, 0);
        if (c->xlevel >= 0x80000004 && strlen(c->model_id) < 32) {
            g_assert_true(!end.eax && !end.ebx && !end.ecx && !end.edx); /* no rest of a longer name */
        }
        if (c->xlevel) {
            g_assert_cmphex(x86_cpuid(s->cpu, 0x80000000, 0).eax, ==, c->xlevel);
        }
        stub_free(s);
    }
}

/* Caches go with the model; l3-cache=off takes one away. */
static void test_caches(void)
{
    Stub *s = stub_new("EPYC-Rome,check=off");
    g_assert_cmphex(x86_cpuid(s->cpu, 0x80000005, 0).edx, ==, 0x20080140);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x80000006, 0).ecx, ==, 0x02006140);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x80000006, 0).edx, ==, 0x00808140);
    X86CpuidLeaf r = x86_cpuid(s->cpu, 0x8000001d, 3);
    g_assert_true(r.eax == 0x163 && r.ebx == 0x03c0003f && r.ecx == 0x3fff && r.edx == 6);
    stub_free(s);
    s = stub_new("EPYC-Rome,check=off,legacy-cache=on,l3-cache=off");
    g_assert_cmphex(x86_cpuid(s->cpu, 0x80000005, 0).edx, ==, 0x40020140);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x80000006, 0).edx, ==, 0);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x8000001d, 3).eax, ==, 0);
    stub_free(s);
    s = stub_new("Nehalem,check=off");
    r = x86_cpuid(s->cpu, 4, 2);
    g_assert_true(r.eax == 0x143 && r.ebx == 0x03c0003f && r.ecx == 0xfff && r.edx == 1);
    stub_free(s);
    s = stub_new("pentium3,check=off");
    g_assert_cmphex(x86_cpuid(s->cpu, 2, 0).edx, ==, 0x002c307d); /* no leaf 4 to point at */
    stub_free(s);
}

/* Properties that are not features. */
static void test_properties(void)
{
    Stub *s = stub_new("qemu64,full-cpuid-auto-level=off,+smep,level-func7=2,min-level=9");
    g_assert_cmpuint(x86_cpuid(s->cpu, 0, 0).eax, ==, 13);
    g_assert_cmpuint(x86_cpuid(s->cpu, 7, 0).eax, ==, 2);
    stub_free(s);
    s = stub_new("kvm32,full-cpuid-auto-level=off,+smep");
    g_assert_cmpuint(x86_cpuid(s->cpu, 0, 0).eax, ==, 5);
    g_assert_cmpuint(s->model->phys_bits, ==, 36);
    stub_free(s);
    s = stub_new("kvm32,+smep,host-phys-bits,host-phys-bits-limit=33,ucode-rev=0x700000000");
    g_assert_cmpuint(x86_cpuid(s->cpu, 0, 0).eax, ==, 7);
    g_assert_cmpuint(s->model->phys_bits, ==, 33);
    g_assert_cmphex(s->model->ucode_rev, ==, UINT64_C(0x700000000));
    stub_free(s);
    s = stub_new("486");
    g_assert_cmpuint(s->model->phys_bits, ==, 32);
    stub_free(s);
}

/* Each feature of `max` taken away in turn. */
static void test_closure(void)
{
    const X86FeatureInfo *f;
    for (size_t i = 0; (f = x86_feature_info(i)) != NULL; i++) {
        if (f->offer != X86_OFFER_NEVER) {
            g_autofree char *text = g_strdup_printf("max,-%s", f->name);
            Stub            *s    = stub_new(text);
            g_assert_false(x86_words_have(s->model->features, f->feature));
            check_words(s);
            stub_free(s);
        }
    }
}

static void test_prerequisite_order(void)
{
    /* x86_words_close() goes through once: what a row needs must be settled by then. */
    X86Feature feature, needs, later, ignored;
    for (size_t i = 0; x86_feature_need(i, &feature, &needs); i++) {
        for (size_t j = i + 1; x86_feature_need(j, &later, &ignored); j++) {
            if (later == needs) {
                g_error("%s stands before its prerequisite %s", x86_feature_name(feature), x86_feature_name(needs));
            }
        }
    }
}

static void test_names(void)
{
    const X86FeatureInfo *a, *b;
    for (size_t i = 0; (a = x86_feature_info(i)) != NULL; i++) {
        for (size_t j = i + 1; (b = x86_feature_info(j)) != NULL; j++) {
            g_assert_true(strcmp(a->name, b->name) != 0 && a->feature != b->feature);
        }
        g_assert_true(x86_feature_find(a->name, NULL) == a);
    }
    g_assert_cmpstr(x86_feature_find("sse4_2", NULL)->name, ==, "sse4.2");
    g_assert_cmpstr(x86_feature_find("lahf_lm", NULL)->name, ==, "lahf-lm");
    g_assert_cmpstr(x86_feature_find("xd", NULL)->name, ==, "nx");
}

static void test_errors(void)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "qemu46", "no CPU model 'qemu46' (did you mean 'qemu64'?); -cpu help lists them" },
        { "host", "needs -accel kvm; 'max' is all that this host and Quern can offer together" },
        { "Haswell-v5", "no CPU model 'Haswell-v5' (did you mean 'Haswell'?); -cpu help lists them" },
        { "qemu64-v2", "no CPU model 'qemu64-v2' (did you mean 'qemu64'?); -cpu help lists them" },
        { "max-v1", "no CPU model 'max-v1'; -cpu help lists them" },
        { "Hasswell-IBRS", "no CPU model 'Hasswell-IBRS' (did you mean 'Haswell-IBRS'?); -cpu help lists them" },
        { "max,+avx3", "no CPU feature 'avx3' (did you mean 'avx'?)" },
        { "max,vender=x", "no CPU feature or property 'vender' (did you mean 'vendor'?)" },
        { "max,vendor=Intel", "vendor: 'Intel' does not have the 12 characters of a vendor (such as GenuineIntel)" },
        { "max,hv-synic", "hv-synic: 'on': not supported yet" },
        { "max,+hv_crash", "hv-crash: 'on': not supported yet" },
        { "max,hv-relax", "no CPU feature or property 'hv-relax' (did you mean 'hv-relaxed'?)" },
        { "max,hv-vendor-id=0123456789abc", "hv-vendor-id: '0123456789abc' is longer than 12 characters" },
        { "max,phys-bits=64", "phys-bits: 64 is not between 32 and 52 (or 0 for the model's own)" },
        { "max,pmu=on", "pmu: 'on': not supported yet" },
        { "max,apic-id=3", "apic-id: -smp gives each vCPU its place" },
        { "qemu64,migratable=off", "migratable: only CPU models 'max' and 'host' have it" },
        { "qemu64,legacy-cache=off", "legacy-cache: CPU model 'qemu64' has no other caches: only legacy-cache=on is "
                                     "possible" },
        { "max,host-phys-bits-limit=60", "host-phys-bits-limit: 60 is not between 32 and 52 (or 0 for none)" },
        { "max,,x", "no CPU model 'max,x' (did you mean 'max'?); -cpu help lists them" },
        { "max,", "an empty name (a comma too many?)" },
        { "qemu64,+svm,enforce", "TCG doesn't support requested feature: CPUID.80000001H:ECX.svm [bit 2]" },
        { "qemu64,+svm,+rdctl-no,+xfd,enforce",
          "TCG doesn't support requested features: CPUID.0DH:EAX.xfd [bit 4], CPUID.80000001H:ECX.svm [bit 2], "
          "MSR(10AH).rdctl-no [bit 0] (needs arch-capabilities)" },
        { "qemu64,+avx2,enforce", NULL },
        { "qemu64,tsc-frequency=fast", "tsc-frequency: 'fast' is not a frequency between 1 MHz and 100 GHz "
                                       "(examples: 2400000000, 2.4G)" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err = { 0 };
        g_assert_null(x86_model_parse(cases[i].text, NULL, &err));
        if (cases[i].error) {
            g_assert_cmpstr(err.text, ==, cases[i].error);
        } else {
            g_assert_nonnull(strstr(err.text, "avx2 [bit 5] (needs avx)"));
        }
    }
}

/* Models under a hypervisor that has little to offer. */
static void test_hypervisor(void)
{
    static const X86Feature few[] = { X86_FEATURE_FPU, X86_FEATURE_TSC,        X86_FEATURE_MSR,      X86_FEATURE_PAE,
                                      X86_FEATURE_LM,  X86_FEATURE_HYPERVISOR, X86_FEATURE_KVM_CLOCK };
    X86Hypervisor           hv    = { .level = 13, .xlevel = 0x80000008 };
    for (unsigned i = 0; i < G_N_ELEMENTS(few); i++) {
        x86_words_set(hv.features, few[i], true);
    }
    x86_words_set(hv.defaults, X86_FEATURE_KVM_CLOCK, true);

    g_auto(Error) err = {};
    X86Model *host    = x86_model_parse("host", &hv, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_cmpmem(host->features, sizeof host->features, hv.features, sizeof hv.features);
    g_assert_true(host->host);
    g_assert_cmpuint(host->level, ==, 13);

    X86Model *named = x86_model_parse("qemu64,check=off", &hv, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_true(x86_words_have(named->features, X86_FEATURE_KVM_CLOCK));
    g_assert_false(x86_words_have(named->features, X86_FEATURE_SSE2));
    g_assert_cmpstr(named->vendor, ==, host->vendor);
    g_assert_cmpuint(named->family, ==, 15);

    X86Model *hidden = x86_model_parse("qemu64,check=off,kvm=off", &hv, &err);
    g_assert_cmpstr(err.text, ==, NULL);
    g_assert_false(x86_words_have(hidden->features, X86_FEATURE_KVM_CLOCK) || hidden->kvm_leaves);

    g_assert_null(x86_model_parse("host,+avx2,enforce", &hv, &err));
    g_assert_cmpstr(err.text, ==, "host doesn't support requested feature: CPUID.07H:EBX.avx2 [bit 5]");
    x86_model_free(host);
    x86_model_free(named);
    x86_model_free(hidden);
}

static void test_settings(void)
{
    Stub *s = stub_new("qemu64,vendor=GenuineIntel,family=6,model=60,stepping=3,model-id=A,,B,tsc-frequency=2.5G,"
                       "hv-relaxed=off,pcid=on,+pcid,-x2apic,popcnt,lahf_lm=off,phys-bits=46,level=13");
    X86CpuidLeaf r = x86_cpuid(s->cpu, 0, 0);
    g_assert_cmpuint(r.eax, ==, 13);
    g_assert_true(memcmp(&r.ebx, "Genu", 4) == 0 && memcmp(&r.edx, "ineI", 4) == 0 && memcmp(&r.ecx, "ntel", 4) == 0);
    g_assert_cmphex(x86_cpuid(s->cpu, 1, 0).eax, ==, 0x000306c3);
    g_assert_true(x86_has(s->cpu, X86_FEATURE_PCID) && !x86_has(s->cpu, X86_FEATURE_LAHF_LM));
    g_assert_cmpuint(s->cpu->tsc_hz, ==, UINT64_C(2500000000));
    g_assert_cmphex(x86_cpuid(s->cpu, 0x80000008, 0).eax & 0xffff, ==, 0x302e);
    r = x86_cpuid(s->cpu, 0x80000002, 0);
    g_assert_cmpstr((const char *)&r.eax, ==, "A,B");
    stub_free(s);
    /* A minus wins over a plus, wherever it stands. */
    s = stub_new("qemu64,-pcid,+pcid");
    g_assert_false(x86_has(s->cpu, X86_FEATURE_PCID));
    stub_free(s);
}

static void test_qemu64(void)
{
    Stub *s = stub_new("qemu64");
    g_assert_cmphex(x86_cpuid(s->cpu, 0, 0).eax, ==, 0xd);
    g_assert_cmphex(x86_cpuid(s->cpu, 1, 0).eax, ==, 0x00060fb1);
    g_assert_cmphex(x86_cpuid(s->cpu, 1, 0).ecx, ==, 0x80002001);
    g_assert_cmphex(x86_cpuid(s->cpu, 1, 0).edx, ==, 0x078bfbfd);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x80000000, 0).eax, ==, 0x8000000a);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x80000001, 0).ecx, ==, 1);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x80000001, 0).edx, ==, 0x2193fbfd);
    X86CpuidLeaf r = x86_cpuid(s->cpu, 0x40000000, 0);
    g_assert_true(memcmp(&r.ebx, "TCGTCGTCGTCG", 12) == 0);
    g_assert_cmphex(x86_cpuid(s->cpu, 0xffffffff, 0).eax, ==, 0); /* AMD: zeros beyond the end */
    s->apic_base = 0xfee00000;
    g_assert_cmphex(x86_cpuid(s->cpu, 1, 0).edx, ==, 0x078bf9fd); /* the APIC is switched off */
    s->cpu->cr4 = CR4_OSXSAVE;
    g_assert_cmphex(x86_cpuid(s->cpu, 1, 0).ecx, ==, 0x88002001);
    stub_free(s);
}

static void test_hyperv(void)
{
    Stub *s = stub_new("max,hv-relaxed,hv_vapic=on,+hv-time,-hv-time,hv-vpindex,hv-spinlocks=0x1fff,hv-synic=off");
    X86CpuidLeaf r = x86_cpuid(s->cpu, 0x40000000, 0);
    g_assert_cmphex(r.eax, ==, 0x40000005);
    g_assert_true(memcmp(&r.ebx, "Microsoft Hv", 12) == 0);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x40000001, 0).eax, ==, 0x31237648);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x40000002, 0).ebx, ==, 0x000a0000);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x40000003, 0).eax, ==, 0x70);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x40000004, 0).eax, ==, 0x28);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x40000004, 0).ebx, ==, 0x1fff);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x40000005, 0).eax, >=, 64);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x40000006, 0).eax, ==, 0);
    stub_free(s);
    s = stub_new(
        "qemu64,hv-time,hv-frequencies,hv-runtime,hv-vendor-id=Quern,hv-version-id-build=7,hv-version-id-snumber=9");
    r = x86_cpuid(s->cpu, 0x40000000, 0);
    g_assert_true(memcmp(&r.ebx, "Quern\0\0\0\0\0\0\0", 12) == 0);
    r = x86_cpuid(s->cpu, 0x40000002, 0);
    g_assert_cmphex(r.eax, ==, 7);
    g_assert_cmphex(r.edx, ==, 9);
    r = x86_cpuid(s->cpu, 0x40000003, 0);
    g_assert_cmphex(r.eax, ==, 0xa23);
    g_assert_cmphex(r.edx, ==, 0x100);
    g_assert_cmphex(x86_cpuid(s->cpu, 0x40000004, 0).ebx, ==, UINT32_MAX);
    stub_free(s);
    g_auto(Error) err = { 0 };
    g_assert_null(x86_model_parse("qemu64,hv-relaxed", &(X86Hypervisor){ .level = 13 }, &err));
    g_assert_nonnull(strstr(err.text, "with KVM: not supported yet"));
}

/* Linux multiplies crystal (kHz) and numerator in 32 bits: it must fit and be exact to a part in a million. */
static void test_frequency(void)
{
    static const char *const hz[] = { "1000000",    "999999999",  "2400000000", "2595124000",
                                      "2596999123", "3333333333", "4100000001", "1000000000" };
    for (unsigned i = 0; i < G_N_ELEMENTS(hz); i++) {
        g_autofree char *text = g_strdup_printf("max,vendor=GenuineIntel,tsc-frequency=%s", hz[i]);
        Stub            *s    = stub_new(text);
        X86CpuidLeaf     r    = x86_cpuid(s->cpu, 0x15, 0);
        uint64_t         khz  = (uint64_t)r.ecx / 1000 * r.ebx;
        g_assert_cmpuint(khz, <=, UINT32_MAX);
        double got = (double)khz / r.eax * 1000, want = (double)s->cpu->tsc_hz;
        g_assert_cmpfloat_with_epsilon(got / want, 1, 1e-6);
        g_assert_cmpuint(x86_cpuid(s->cpu, 0x40000010, 0).eax, ==, s->cpu->tsc_hz / 1000);
        stub_free(s);
    }
}

static void test_topology(void)
{
    static const X86Topology shapes[] = {
        { 1, 1, 1, 1, 1 }, { 1, 1, 1, 2, 1 }, { 2, 1, 1, 3, 2 },
        { 2, 2, 1, 2, 2 }, { 1, 2, 2, 3, 1 }, { 4, 1, 1, 1, 1 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(shapes); i++) {
        const X86Topology *t       = &shapes[i];
        unsigned           n       = t->sockets * t->dies * t->modules * t->cores * t->threads;
        g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
        for (unsigned cpu = 0; cpu < n; cpu++) {
            g_assert_true(g_hash_table_add(seen, GUINT_TO_POINTER(x86_apic_id(t, cpu) + 1)));
        }
        Stub *s           = stub_new("max");
        s->topology       = *t;
        g_auto(Error) err = { 0 };
        g_assert_true(x86_cpu_init(s->cpu, s->model, &s->topology, x86_apic_id(t, n - 1), &err));
        unsigned per_socket = n / t->sockets;
        g_assert_cmpuint(x86_cpuid(s->cpu, 1, 0).ebx >> 16 & 0xff, ==, per_socket);
        g_assert_cmpint((x86_cpuid(s->cpu, 1, 0).edx >> 28 & 1) != 0, ==, per_socket > 1);
        g_assert_cmpuint(x86_cpuid(s->cpu, 0xb, 0).ebx, ==, t->threads);
        g_assert_cmpuint(x86_cpuid(s->cpu, 0xb, 1).ebx, ==, per_socket);
        g_assert_cmphex(x86_cpuid(s->cpu, 0xb, 1).ecx, ==, 0x201);
        g_assert_cmpuint(x86_cpuid(s->cpu, 0xb, 2).ebx, ==, 0);
        g_assert_cmpuint(x86_cpuid(s->cpu, 0xb, 0).edx, ==, x86_apic_id(t, n - 1));
        bool extended = t->dies > 1 || t->modules > 1;
        g_assert_cmpint(x86_cpuid(s->cpu, 0, 0).eax >= 0x1f, ==, extended);
        if (extended) {
            unsigned     levels = 2 + (t->modules > 1) + (t->dies > 1);
            X86CpuidLeaf top    = x86_cpuid(s->cpu, 0x1f, levels - 1);
            g_assert_cmpuint(top.ebx, ==, per_socket);
            g_assert_cmpuint(x86_apic_id(t, n - 1) >> top.eax, ==, t->sockets - 1);
            g_assert_cmpuint(x86_cpuid(s->cpu, 0x1f, levels).ecx, ==, levels);
        }
        stub_free(s);
    }
}

/* AMD has leaves of its own for threads and caches, which `max` has while it is one of AMD's. */
static void test_topoext(void)
{
    static const struct {
        const char *model;
        bool        there;
    } cases[] = {
        { "max", true },
        { "max,vendor=GenuineIntel", false },
        { "max,vendor=GenuineIntel,+topoext", true },
        { "max,-topoext", false },
        { "qemu64", false },
        { "qemu64,+topoext", true },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        Stub *s           = stub_new(cases[i].model);
        s->topology       = (X86Topology){ 1, 1, 1, 2, 2 };
        g_auto(Error) err = { 0 };
        g_assert_true(x86_cpu_init(s->cpu, s->model, &s->topology, 3, &err));
        g_assert_cmpint(x86_cpuid(s->cpu, 0x80000001, 0).ecx >> 22 & 1, ==, cases[i].there);
        X86CpuidLeaf leaf = x86_cpuid(s->cpu, 0x8000001e, 0);
        g_assert_cmphex(leaf.eax, ==, cases[i].there ? 3 : 0);
        g_assert_cmphex(leaf.ebx, ==, cases[i].there ? 1 << 8 | 1 : 0); /* two threads a core; the second core */
        stub_free(s);
    }
}

/* No leaf crashes, and none beyond the ends answers. */
static void test_every_leaf(void)
{
    Stub *s = stub_new("max");
    for (uint32_t leaf = 0; leaf < 0x40; leaf++) {
        for (uint32_t subleaf = 0; subleaf < 8; subleaf++) {
            x86_cpuid(s->cpu, leaf, subleaf);
            x86_cpuid(s->cpu, 0x40000000 + leaf, subleaf);
            x86_cpuid(s->cpu, 0x80000000 + leaf, subleaf);
            x86_cpuid(s->cpu, 0xc0000000 + leaf, subleaf);
        }
    }
    g_assert_cmpuint(x86_cpuid(s->cpu, 0xd, 0).ecx, ==, x86_has(s->cpu, X86_FEATURE_AVX) ? 832 : 576);
    stub_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x86-cpuid/models", test_models);
    g_test_add_func("/x86-cpuid/identities", test_identities);
    g_test_add_func("/x86-cpuid/caches", test_caches);
    g_test_add_func("/x86-cpuid/properties", test_properties);
    g_test_add_func("/x86-cpuid/closure", test_closure);
    g_test_add_func("/x86-cpuid/prerequisite-order", test_prerequisite_order);
    g_test_add_func("/x86-cpuid/names", test_names);
    g_test_add_func("/x86-cpuid/errors", test_errors);
    g_test_add_func("/x86-cpuid/hypervisor", test_hypervisor);
    g_test_add_func("/x86-cpuid/settings", test_settings);
    g_test_add_func("/x86-cpuid/qemu64", test_qemu64);
    g_test_add_func("/x86-cpuid/frequency", test_frequency);
    g_test_add_func("/x86-cpuid/hyperv", test_hyperv);
    g_test_add_func("/x86-cpuid/topology", test_topology);
    g_test_add_func("/x86-cpuid/topoext", test_topoext);
    g_test_add_func("/x86-cpuid/every-leaf", test_every_leaf);
    return g_test_run();
}
