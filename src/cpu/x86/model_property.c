/* Properties of -cpu that are not features of CPUID: identity, levels, widths, caches, what a hypervisor shows.
 * Called while the machine is being built. */

#include "cpu/x86/hyperv.h"
#include "cpu/x86/model_parse.h"

#include <cpuid.h>
#include <stddef.h>

typedef enum PropertyType {
    PROPERTY_BOOL,   /* of X86Model, at `offset` */
    PROPERTY_U32,    /* the same, 0 to `max` */
    PROPERTY_BIT,    /* the bit `max` of a uint32_t at `offset` */
    PROPERTY_SET,    /* `set` takes it */
    PROPERTY_ONLY,   /* one value is built */
    PROPERTY_REFUSE, /* the board's, not for people */
} PropertyType;

typedef struct Property {
    const char  *name;
    PropertyType type;
    uint16_t     offset;
    uint32_t     max;
    bool (*set)(ModelParser *p, const char *value, Error *err);
    const char *only;
} Property;

/* --- setters --- */

static bool set_vendor(ModelParser *p, const char *value, Error *err)
{
    if (strlen(value) != 12) {
        return error_set(err, "'%s' does not have the 12 characters of a vendor (such as GenuineIntel)", value);
    }
    g_strlcpy(p->model->vendor, value, sizeof p->model->vendor);
    return true;
}

static bool set_model_id(ModelParser *p, const char *value, Error *err)
{
    if (strlen(value) > 48) {
        return error_set(err, "'%s' is longer than 48 characters", value);
    }
    memset(p->model->model_id, 0, sizeof p->model->model_id); /* CPUID shows all of it */
    g_strlcpy(p->model->model_id, value, sizeof p->model->model_id);
    return true;
}

static bool parse_u32(const char *value, uint32_t max, uint32_t *to, Error *err)
{
    uint64_t n;
    if (!text_parse_uint(value, max, &n, err)) {
        return false;
    }
    *to = (uint32_t)n;
    return true;
}

static bool set_level(ModelParser *p, const char *value, Error *err)
{
    p->level_given = true;
    return parse_u32(value, UINT32_MAX, &p->model->level, err);
}

static bool set_xlevel(ModelParser *p, const char *value, Error *err)
{
    p->xlevel_given = true;
    return parse_u32(value, UINT32_MAX, &p->model->xlevel, err);
}

/* min-level and its like: levels are at least that. */
static bool set_min_level(ModelParser *p, const char *value, Error *err)
{
    uint32_t level  = 0;
    bool     ok     = parse_u32(value, UINT32_MAX, &level, err);
    p->model->level = MAX(p->model->level, level);
    return ok;
}

static bool set_min_xlevel(ModelParser *p, const char *value, Error *err)
{
    uint32_t level   = 0;
    bool     ok      = parse_u32(value, UINT32_MAX, &level, err);
    p->model->xlevel = MAX(p->model->xlevel, level);
    return ok;
}

static bool set_phys_bits(ModelParser *p, const char *value, Error *err)
{
    uint64_t bits;
    if (!text_parse_uint(value, UINT32_MAX, &bits, err)) {
        return false;
    }
    if (bits && (bits < 32 || bits > 52)) {
        return error_set(err, "%s is not between 32 and 52 (or 0 for the model's own)", value);
    }
    p->model->phys_bits = (unsigned)bits;
    return true;
}

static bool set_host_phys_bits(ModelParser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->host_phys_bits, err);
}

static bool set_host_phys_bits_limit(ModelParser *p, const char *value, Error *err)
{
    uint64_t bits;
    if (!text_parse_uint(value, 255, &bits, err)) {
        return false;
    }
    if (bits && (bits < 32 || bits > 52)) {
        return error_set(err, "%s is not between 32 and 52 (or 0 for none)", value);
    }
    p->host_phys_bits_limit = (unsigned)bits;
    return true;
}

/* Hertz, or with K, M or G as powers of 1000. */
static bool set_tsc_frequency(ModelParser *p, const char *value, Error *err)
{
    static const char letters[] = "kmg";
    g_autofree char  *digits    = g_strdup(value);
    size_t            len       = strlen(digits);
    const char       *letter    = len ? strchr(letters, g_ascii_tolower(digits[len - 1])) : NULL;
    uint64_t          unit      = 1;
    char             *end;
    if (letter && *letter) {
        for (const char *l = letters; l <= letter; l++) {
            unit *= 1000;
        }
        digits[len - 1] = 0;
    }
    double hz = g_ascii_strtod(digits, &end) * (double)unit;
    if (end == digits || *end || !(hz >= 1e6 && hz <= 1e11)) {
        return error_set(err, "'%s' is not a frequency between 1 MHz and 100 GHz (examples: 2400000000, 2.4G)", value);
    }
    p->model->tsc_hz = (uint64_t)(hz + 0.5);
    return true;
}

static bool set_ucode_rev(ModelParser *p, const char *value, Error *err)
{
    return text_parse_uint(value, UINT64_MAX, &p->model->ucode_rev, err);
}

static bool set_check(ModelParser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->check, err);
}

static bool set_enforce(ModelParser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->enforce, err);
}

static bool set_auto_level(ModelParser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->raise_levels, err);
}

static bool set_legacy_cache(ModelParser *p, const char *value, Error *err)
{
    bool on;
    if (!text_parse_bool(value, &on, err)) {
        return false;
    }
    if (!on && !p->row->caches) {
        return error_set(err, "CPU model '%s' has no other caches: only legacy-cache=on is possible", p->row->name);
    }
    p->model->legacy_cache = on;
    return true;
}

static bool set_migratable(ModelParser *p, const char *value, Error *err)
{
    if (!p->from_host) {
        return error_set(err, "only CPU models 'max' and 'host' have it");
    }
    return text_parse_bool(value, &p->migratable, err);
}

static bool set_hv_vendor(ModelParser *p, const char *value, Error *err)
{
    if (strlen(value) > 12) {
        return error_set(err, "'%s' is longer than 12 characters", value);
    }
    memset(p->model->hyperv.vendor, 0, sizeof p->model->hyperv.vendor); /* CPUID shows all of it */
    g_strlcpy(p->model->hyperv.vendor, value, sizeof p->model->hyperv.vendor);
    return true;
}

/* --- the table, by name --- */

#define MODEL_BOOL(text, member)                                                                                       \
    {                                                                                                                  \
        .name = (text), .type = PROPERTY_BOOL, .offset = offsetof(X86Model, member)                                    \
    }
#define MODEL_U32(text, member, most)                                                                                  \
    {                                                                                                                  \
        .name = (text), .type = PROPERTY_U32, .offset = offsetof(X86Model, member), .max = (most)                      \
    }
#define MODEL_HV(text, bit)                                                                                            \
    {                                                                                                                  \
        .name = (text), .type = PROPERTY_BIT, .offset = offsetof(X86Model, hyperv.on), .max = (bit)                    \
    }
#define MODEL_SET(text, function)                                                                                      \
    {                                                                                                                  \
        .name = (text), .type = PROPERTY_SET, .set = (function)                                                        \
    }
#define MODEL_ONLY(text, value)                                                                                        \
    {                                                                                                                  \
        .name = (text), .type = PROPERTY_ONLY, .only = (value)                                                         \
    }
#define MODEL_REFUSE(text)                                                                                             \
    {                                                                                                                  \
        .name = (text), .type = PROPERTY_REFUSE                                                                        \
    }

static const Property properties[] = {
    MODEL_REFUSE("apic-id"),
    MODEL_SET("check", set_check),
    MODEL_REFUSE("core-id"),
    MODEL_BOOL("cpuid-0xb", topology_leaf),
    MODEL_REFUSE("die-id"),
    MODEL_SET("enforce", set_enforce),
    MODEL_U32("family", family, 0xff + 0xf),
    MODEL_ONLY("fill-mtrr-mask", "on"),
    MODEL_SET("full-cpuid-auto-level", set_auto_level),
    MODEL_ONLY("host-cache-info", "off"),
    MODEL_SET("host-phys-bits", set_host_phys_bits),
    MODEL_SET("host-phys-bits-limit", set_host_phys_bits_limit),
    MODEL_ONLY("hv-avic", "off"),
    MODEL_ONLY("hv-crash", "off"),
    MODEL_ONLY("hv-emsr-bitmap", "off"),
    MODEL_ONLY("hv-enforce-cpuid", "on"), /* registers that CPUID does not show are never there */
    MODEL_ONLY("hv-evmcs", "off"),
    MODEL_HV("hv-frequencies", X86_HV_FREQUENCIES),
    MODEL_ONLY("hv-ipi", "off"),
    MODEL_ONLY("hv-no-nonarch-coresharing", "off"),
    MODEL_ONLY("hv-passthrough", "off"),
    MODEL_ONLY("hv-reenlightenment", "off"),
    MODEL_HV("hv-relaxed", X86_HV_RELAXED),
    MODEL_ONLY("hv-reset", "off"),
    MODEL_HV("hv-runtime", X86_HV_RUNTIME),
    MODEL_U32("hv-spinlocks", hyperv.spinlocks, UINT32_MAX),
    MODEL_ONLY("hv-stimer", "off"),
    MODEL_ONLY("hv-stimer-direct", "off"),
    MODEL_ONLY("hv-syndbg", "off"),
    MODEL_ONLY("hv-synic", "off"),
    MODEL_HV("hv-time", X86_HV_TIME),
    MODEL_ONLY("hv-tlbflush", "off"),
    MODEL_ONLY("hv-tlbflush-direct", "off"),
    MODEL_ONLY("hv-tlbflush-ext", "off"),
    MODEL_HV("hv-vapic", X86_HV_VAPIC),
    MODEL_SET("hv-vendor-id", set_hv_vendor),
    MODEL_U32("hv-version-id-build", hyperv.build, UINT32_MAX),
    MODEL_U32("hv-version-id-major", hyperv.major, UINT16_MAX),
    MODEL_U32("hv-version-id-minor", hyperv.minor, UINT16_MAX),
    MODEL_U32("hv-version-id-sbranch", hyperv.service_branch, UINT8_MAX),
    MODEL_U32("hv-version-id-snumber", hyperv.service_number, 0xffffff),
    MODEL_U32("hv-version-id-spack", hyperv.service_pack, UINT32_MAX),
    MODEL_HV("hv-vpindex", X86_HV_VPINDEX),
    MODEL_ONLY("hv-xmm-input", "off"),
    MODEL_BOOL("kvm", kvm_leaves), /* whether KVM shows itself; without it there is none to show */
    MODEL_ONLY("kvm-no-smi-migration", "off"),
    MODEL_ONLY("kvm-pv-enforce-cpuid", "off"),
    MODEL_BOOL("l3-cache", l3_cache),
    MODEL_ONLY("lbr-fmt", "0"),
    MODEL_SET("legacy-cache", set_legacy_cache),
    MODEL_SET("level", set_level),
    MODEL_U32("level-func7", level_func7, UINT32_MAX),
    MODEL_ONLY("lmce", "off"),
    MODEL_REFUSE("memory"),
    MODEL_SET("migratable", set_migratable),
    MODEL_SET("min-level", set_min_level),
    MODEL_SET("min-xlevel", set_min_xlevel),
    MODEL_ONLY("min-xlevel2", "0"),
    MODEL_U32("model", model, 0xff),
    MODEL_SET("model-id", set_model_id),
    MODEL_REFUSE("module-id"),
    MODEL_REFUSE("node-id"),
    MODEL_SET("phys-bits", set_phys_bits),
    MODEL_ONLY("pmu", "off"),
    MODEL_REFUSE("socket-id"),
    MODEL_ONLY("start-powered-off", "off"),
    MODEL_U32("stepping", stepping, 0xf),
    MODEL_BOOL("tcg-cpuid", hypervisor_id),
    MODEL_REFUSE("thread-id"),
    MODEL_SET("tsc-frequency", set_tsc_frequency),
    MODEL_SET("ucode-rev", set_ucode_rev),
    MODEL_SET("vendor", set_vendor),
    MODEL_BOOL("vmware-cpuid-freq", frequency_leaf),
    MODEL_ONLY("x-force-features", "off"),
    MODEL_SET("xlevel", set_xlevel),
    MODEL_ONLY("xlevel2", "0"),
};

static bool is_only(const char *value, const char *only)
{
    bool on, wanted;
    g_auto(Error) ignored = { 0 }, ignored2 = { 0 };
    return strcmp(value, only) == 0 ||
           (text_parse_bool(value, &on, &ignored) && text_parse_bool(only, &wanted, &ignored2) && on == wanted);
}

static bool set_bit(uint32_t *word, uint32_t bit, const char *value, Error *err)
{
    bool on;
    if (!text_parse_bool(value, &on, err)) {
        return false;
    }
    *word = on ? *word | bit : *word & ~bit;
    return true;
}

static bool set(ModelParser *p, const Property *property, const char *value, Error *err)
{
    char *member = (char *)p->model + property->offset;
    switch (property->type) {
    case PROPERTY_BOOL: return text_parse_bool(value, (bool *)(void *)member, err);
    case PROPERTY_U32: return parse_u32(value, property->max, (uint32_t *)(void *)member, err);
    case PROPERTY_BIT: return set_bit((uint32_t *)(void *)member, property->max, value, err);
    case PROPERTY_SET: return property->set(p, value, err);
    case PROPERTY_ONLY: return is_only(value, property->only) || error_set_unsupported(err, "'%s'", value);
    case PROPERTY_REFUSE: break;
    }
    return error_set(err, "-smp gives each vCPU its place");
}

ModelFound model_property_set(ModelParser *p, const char *name, const char *value, NameMatch *match, Error *err)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(properties); i++) {
        if (strcmp(name, properties[i].name) == 0) {
            if (set(p, &properties[i], value, err)) {
                return MODEL_PROPERTY_SET;
            }
            error_prefix(err, "%s: ", name);
            return MODEL_PROPERTY_WRONG;
        }
        text_match_name(match, properties[i].name);
    }
    return MODEL_PROPERTY_UNKNOWN;
}

static unsigned host_phys_bits(const ModelParser *p)
{
    unsigned a, b, c, d;
    unsigned bits = __get_cpuid(0x80000008, &a, &b, &c, &d) ? MIN(a & 0xff, 52) : 36;
    return p->host_phys_bits_limit ? MIN(bits, p->host_phys_bits_limit) : bits;
}

bool model_property_settle(ModelParser *p, Error *err)
{
    X86Model *m = p->model;
    if (p->hv && x86_hv_shows(m)) {
        return error_set_unsupported(err, "Microsoft's interface (hv-relaxed and its like) with KVM");
    }
    bool long_mode = x86_words_have(m->features, X86_FEATURE_LM);
    bool pse36     = x86_words_have(m->features, X86_FEATURE_PSE36);
    if (p->host_phys_bits || (m->host && !m->phys_bits)) {
        m->phys_bits = host_phys_bits(p);
    }
    if (!m->phys_bits) {
        m->phys_bits = long_mode ? 40 : pse36 ? 36 : 32;
    }
    m->caches = !m->legacy_cache && p->row->caches ? p->row->caches
                : m->kind == X86_VENDOR_AMD        ? &x86_caches_amd
                                                   : &x86_caches_intel;
    return true;
}
