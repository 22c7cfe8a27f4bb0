/* CPU models and -cpu.
 *
 * qemu64, qemu32, kvm64 and kvm32 have the values that QEMU publishes for them (query-cpu-model-expansion), without
 * svm, which is not built; `max` is everything that cpuid_features.h offers on this host. Its vendor, family and
 * model are those of QEMU's `max`: an AMD K8. Linux knows that family to be immune to all that needs mitigation but
 * Spectre v2, for which auto-ibrs says that nothing is to be done.
 * Called while the machine is being built. */

#include "base/checked.h"
#include "base/text.h"
#include "cpu/x86/features.h"

#include <cpuid.h>
#include <stddef.h>

typedef struct ModelRow {
    const char *name, *help;
    const char *vendor;
    uint16_t    family, model, stepping;
    uint32_t    level, xlevel;
    const char *model_id;
    const char *features; /* NULL: all that can be offered */
} ModelRow;

static const ModelRow models[] = {
    {
        .name     = "base",
        .help     = "no features at all: say which",
        .vendor   = "",
        .model_id = "",
        .features = "",
    },
    {
        .name     = "kvm32",
        .help     = "32-bit x86, all that a Pentium 4 has",
        .vendor   = "GenuineIntel",
        .family   = 15,
        .model    = 6,
        .stepping = 1,
        .level    = 5,
        .xlevel   = 0x80000008,
        .model_id = "Common 32-bit KVM processor",
        .features = "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 pni "
                    "hypervisor",
    },
    {
        .name     = "kvm64",
        .help     = "64-bit x86, all that the first ones have",
        .vendor   = "GenuineIntel",
        .family   = 15,
        .model    = 6,
        .stepping = 1,
        .level    = 0xd,
        .xlevel   = 0x80000008,
        .model_id = "Common KVM processor",
        .features = "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 pni "
                    "cx16 hypervisor syscall nx lm",
    },
    {
        .name     = "max",
        .help     = "everything that this host and Quern can offer",
        .vendor   = "AuthenticAMD",
        .family   = 15,
        .model    = 107,
        .stepping = 1,
        .level    = 0x16,
        .xlevel   = 0x80000021,
        .model_id = "QEMU TCG CPU version 2.5+",
    },
    {
        .name     = "host",
        .help     = "this host's processor (-accel kvm only)",
        .vendor   = "",
        .model_id = "",
    },
    {
        .name     = "qemu32",
        .help     = "32-bit x86 (the default of 32-bit machines)",
        .vendor   = "GenuineIntel",
        .family   = 6,
        .model    = 6,
        .stepping = 3,
        .level    = 4,
        .xlevel   = 0x80000004,
        .model_id = "QEMU Virtual CPU version 2.5+",
        .features = "fpu de pse tsc msr pae mce cx8 apic sep pge cmov pat mmx fxsr sse sse2 pni hypervisor",
    },
    {
        .name     = "qemu64",
        .help     = "64-bit x86 (the default)",
        .vendor   = "AuthenticAMD",
        .family   = 15,
        .model    = 107,
        .stepping = 1,
        .level    = 0xd,
        .xlevel   = 0x8000000a,
        .model_id = "QEMU Virtual CPU version 2.5+",
        .features = "fpu de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr sse sse2 pni "
                    "cx16 hypervisor syscall nx lm lahf-lm",
    },
};

/* Names that people have in their scripts. */
static const char *const models_not_built[] = {
    "486",
    "Broadwell",
    "Broadwell-IBRS",
    "Broadwell-noTSX",
    "Broadwell-noTSX-IBRS",
    "Cascadelake-Server",
    "Cascadelake-Server-noTSX",
    "Conroe",
    "Cooperlake",
    "Denverton",
    "Dhyana",
    "EPYC",
    "EPYC-Genoa",
    "EPYC-IBPB",
    "EPYC-Milan",
    "EPYC-Rome",
    "GraniteRapids",
    "Haswell",
    "Haswell-IBRS",
    "Haswell-noTSX",
    "Haswell-noTSX-IBRS",
    "Icelake-Server",
    "Icelake-Server-noTSX",
    "IvyBridge",
    "IvyBridge-IBRS",
    "KnightsMill",
    "Nehalem",
    "Nehalem-IBRS",
    "Opteron_G1",
    "Opteron_G2",
    "Opteron_G3",
    "Opteron_G4",
    "Opteron_G5",
    "Penryn",
    "SandyBridge",
    "SandyBridge-IBRS",
    "SapphireRapids",
    "SierraForest",
    "Skylake-Client",
    "Skylake-Client-IBRS",
    "Skylake-Client-noTSX-IBRS",
    "Skylake-Server",
    "Skylake-Server-IBRS",
    "Skylake-Server-noTSX-IBRS",
    "Snowridge",
    "Westmere",
    "Westmere-IBRS",
    "YongFeng",
    "athlon",
    "core2duo",
    "coreduo",
    "n270",
    "pentium",
    "pentium2",
    "pentium3",
    "phenom",
};

const char *x86_model_name(unsigned n)
{
    return n < G_N_ELEMENTS(models) ? models[n].name : NULL;
}

void x86_model_print_help(FILE *to)
{
    fputs("Available CPUs:\n", to);
    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
        fprintf(to, "  x86 %-20s  %s\n", models[i].name, models[i].help);
    }
    fputs("\nRecognized CPUID flags (those in parentheses are not offered by this Quern on this host):\n", to);
    uint32_t offered[X86_N_WORDS];
    x86_offered_features(offered, true);
    unsigned              column = 0;
    const X86FeatureInfo *f;
    for (size_t i = 0; (f = x86_feature_info(i)) != NULL; i++) {
        bool     have = x86_words_have(offered, f->feature);
        unsigned len  = (unsigned)strlen(f->name) + (have ? 1 : 3);
        if (column && column + len > 79) {
            fputc('\n', to);
            column = 0;
        }
        column += (unsigned)fprintf(to, have ? "%s%s" : "%s(%s)", column ? " " : "  ", f->name);
    }
    fputc('\n', to);
}

/* --- parsing --- */

typedef struct Request {
    X86Feature feature;
    bool       on;
} Request;

typedef struct Parser {
    X86Model            *model;
    GArray              *settings; /* Request: feature=on|off, in order */
    GArray              *plus;     /* Request: +feature, which wins over those */
    GArray              *minus;    /* Request: -feature, which wins over both */
    const X86Hypervisor *hv;
    bool                 check, enforce, level_given, xlevel_given;
    bool                 from_host; /* of max: may lose what migratable=on leaves out */
    bool                 migratable;
} Parser;

/* Properties that are not features. `set` gets the value; a property with `only` has one value that is built. */
typedef struct Property {
    const char *name;
    bool (*set)(Parser *p, const char *value, Error *err);
    const char *only;
} Property;

static bool parse_u32(const char *value, uint64_t max, uint32_t *to, Error *err)
{
    uint64_t n;
    if (!text_parse_uint(value, max, &n, err)) {
        return false;
    }
    *to = (uint32_t)n;
    return true;
}

static bool set_vendor(Parser *p, const char *value, Error *err)
{
    if (strlen(value) != 12) {
        return error_set(err, "'%s' does not have the 12 characters of a vendor (such as GenuineIntel)", value);
    }
    g_strlcpy(p->model->vendor, value, sizeof p->model->vendor);
    return true;
}

static bool set_family(Parser *p, const char *value, Error *err)
{
    return parse_u32(value, 0xff + 0xf, &p->model->family, err);
}

static bool set_model(Parser *p, const char *value, Error *err)
{
    return parse_u32(value, 0xff, &p->model->model, err);
}

static bool set_stepping(Parser *p, const char *value, Error *err)
{
    return parse_u32(value, 0xf, &p->model->stepping, err);
}

static bool set_level(Parser *p, const char *value, Error *err)
{
    p->level_given = true;
    return parse_u32(value, UINT32_MAX, &p->model->level, err);
}

static bool set_xlevel(Parser *p, const char *value, Error *err)
{
    p->xlevel_given = true;
    return parse_u32(value, UINT32_MAX, &p->model->xlevel, err);
}

static bool set_min_level(Parser *p, const char *value, Error *err)
{
    uint32_t level;
    if (!parse_u32(value, UINT32_MAX, &level, err)) {
        return false;
    }
    p->model->level = MAX(p->model->level, level);
    return true;
}

static bool set_min_xlevel(Parser *p, const char *value, Error *err)
{
    uint32_t level;
    if (!parse_u32(value, UINT32_MAX, &level, err)) {
        return false;
    }
    p->model->xlevel = MAX(p->model->xlevel, level);
    return true;
}

static bool set_phys_bits(Parser *p, const char *value, Error *err)
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

static bool set_host_phys_bits(Parser *p, const char *value, Error *err)
{
    bool     on;
    unsigned a, b, c, d;
    if (!text_parse_bool(value, &on, err)) {
        return false;
    }
    if (on) {
        p->model->phys_bits = __get_cpuid(0x80000008, &a, &b, &c, &d) ? MIN(a & 0xff, 52) : 36;
    }
    return true;
}

static bool set_model_id(Parser *p, const char *value, Error *err)
{
    if (strlen(value) > 48) {
        return error_set(err, "'%s' is longer than 48 characters", value);
    }
    g_strlcpy(p->model->model_id, value, sizeof p->model->model_id);
    return true;
}

/* Hertz, or with K, M or G as powers of 1000. */
static bool set_tsc_frequency(Parser *p, const char *value, Error *err)
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

static bool set_check(Parser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->check, err);
}

static bool set_enforce(Parser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->enforce, err);
}

static bool set_hypervisor_id(Parser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->model->hypervisor_id, err);
}

static bool set_frequency_leaf(Parser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->model->frequency_leaf, err);
}

static bool set_topology_leaf(Parser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->model->topology_leaf, err);
}

static bool set_migratable(Parser *p, const char *value, Error *err)
{
    if (!p->from_host) {
        return error_set(err, "only CPU models 'max' and 'host' have it");
    }
    return text_parse_bool(value, &p->migratable, err);
}

/* Whether KVM shows itself to the guest; without it there is none to show. */
static bool set_kvm(Parser *p, const char *value, Error *err)
{
    return text_parse_bool(value, &p->model->kvm_leaves, err);
}

static const Property properties[] = {
    { "check", set_check, NULL },
    { "cpuid-0xb", set_topology_leaf, NULL },
    { "enforce", set_enforce, NULL },
    { "family", set_family, NULL },
    { "fill-mtrr-mask", NULL, "on" },
    { "full-cpuid-auto-level", NULL, "on" },
    { "host-cache-info", NULL, "off" },
    { "host-phys-bits", set_host_phys_bits, NULL },
    { "host-phys-bits-limit", NULL, "0" },
    { "kvm", set_kvm, NULL },
    { "l3-cache", NULL, "on" },
    { "legacy-cache", NULL, "on" },
    { "level", set_level, NULL },
    { "lmce", NULL, "off" },
    { "migratable", set_migratable, NULL },
    { "min-level", set_min_level, NULL },
    { "min-xlevel", set_min_xlevel, NULL },
    { "model", set_model, NULL },
    { "model-id", set_model_id, NULL },
    { "phys-bits", set_phys_bits, NULL },
    { "pmu", NULL, "off" },
    { "start-powered-off", NULL, "off" },
    { "stepping", set_stepping, NULL },
    { "tcg-cpuid", set_hypervisor_id, NULL },
    { "tsc-frequency", set_tsc_frequency, NULL },
    { "ucode-rev", NULL, "0" },
    { "vendor", set_vendor, NULL },
    { "vmware-cpuid-freq", set_frequency_leaf, NULL },
    { "xlevel", set_xlevel, NULL },
};

static bool set_property(Parser *p, const Property *property, const char *value, Error *err)
{
    if (property->set) {
        return property->set(p, value, err) || error_prefix(err, "%s: ", property->name);
    }
    bool on, only;
    g_auto(Error) ignored = { 0 }, ignored2 = { 0 };
    bool same = strcmp(value, property->only) == 0 || (text_parse_bool(value, &on, &ignored) &&
                                                       text_parse_bool(property->only, &only, &ignored2) && on == only);
    return same || error_set_unsupported(err, "%s=%s", property->name, value);
}

/* hv-* and vmx-*: not built, and fine to switch off. */
static bool refuse_family(const char *name, const char *value, Error *err)
{
    bool on;
    g_auto(Error) ignored = { 0 };
    if (text_parse_bool(value, &on, &ignored) && !on) {
        return true;
    }
    return error_set_unsupported(err, "%s=%s", name, value);
}

static bool parse_item(Parser *p, const char *item, Error *err)
{
    char sign = item[0] == '+' || item[0] == '-' ? item[0] : 0;
    item += sign != 0;
    const char      *equals = sign ? NULL : strchr(item, '=');
    g_autofree char *name   = equals ? g_strndup(item, (gsize)(equals - item)) : g_strdup(item);
    const char      *value  = equals ? equals + 1 : "on";
    NameMatch        match  = { .word = name };

    if (*name == 0) {
        return error_set(err, "an empty name (a comma too many?)");
    }
    if (!sign) {
        g_autofree char *dashed = g_strdelimit(g_strdup(name), "_", '-');
        for (unsigned i = 0; i < G_N_ELEMENTS(properties); i++) {
            if (strcmp(dashed, properties[i].name) == 0) {
                return set_property(p, &properties[i], value, err);
            }
            text_match_name(&match, properties[i].name);
        }
    }
    if (g_str_has_prefix(name, "hv-") || g_str_has_prefix(name, "hv_") || g_str_has_prefix(name, "vmx-")) {
        return refuse_family(name, sign == '-' ? "off" : value, err);
    }
    const X86FeatureInfo *f = x86_feature_find(name, &match);
    if (!f) {
        char hint[128];
        return error_set(err, "no CPU feature%s '%s'%s", sign ? "" : " or property", name,
                         text_did_you_mean(&match, hint));
    }
    Request request = { .feature = f->feature, .on = sign == '+' };
    if (!sign && !text_parse_bool(value, &request.on, err)) {
        return error_prefix(err, "%s: ", name);
    }
    g_array_append_val(sign == '+' ? p->plus : sign ? p->minus : p->settings, request);
    return true;
}

/* Splits at single commas; ",," is a comma. The caller frees. */
static GPtrArray *split(const char *text)
{
    GPtrArray *items = g_ptr_array_new_with_free_func(g_free);
    GString   *item  = g_string_new(NULL);
    for (const char *c = text; *c; c++) {
        if (*c == ',' && c[1] != ',') {
            g_ptr_array_add(items, g_string_free(item, FALSE));
            item = g_string_new(NULL);
            continue;
        }
        c += *c == ',';
        g_string_append_c(item, *c);
    }
    g_ptr_array_add(items, g_string_free(item, FALSE));
    return items;
}

static const ModelRow *find_model(const char *name, const X86Hypervisor *hv, Error *err)
{
    size_t           len  = strlen(name);
    g_autofree char *bare = g_strdup(name);
    if (len > 3 && g_str_has_suffix(name, "-v1")) {
        bare[len - 3] = 0; /* the first version of a model is the model */
    }
    NameMatch match = { .word = name };
    if (!hv && strcmp(name, "host") == 0) {
        error_set(err, "needs -accel kvm; 'max' is all that this host and Quern can offer together");
        return NULL;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(models); i++) {
        if (strcmp(bare, models[i].name) == 0) {
            return &models[i];
        }
        text_match_name(&match, models[i].name);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(models_not_built); i++) {
        const char *known  = models_not_built[i];
        size_t      n      = strlen(known);
        bool        listed = strncmp(name, known, n) == 0 &&
                      (name[n] == 0 || (name[n] == '-' && name[n + 1] == 'v' && g_ascii_isdigit(name[n + 2])));
        if (listed) {
            error_set_unsupported(err, "CPU model '%s'", name);
            return NULL;
        }
        text_match_name(&match, known);
    }
    char hint[128];
    error_set(err, "no CPU model '%s'%s; -cpu help lists them", name, text_did_you_mean(&match, hint));
    return NULL;
}

/* The host's CPU as its CPUID tells it. */
static void identify_host(X86Model *m)
{
    unsigned a, b, c, d, name[12];

    __cpuid(0, a, b, c, d);
    memcpy(m->vendor, &b, 4);
    memcpy(m->vendor + 4, &d, 4);
    memcpy(m->vendor + 8, &c, 4);
    __cpuid(1, a, b, c, d);
    m->family   = (a >> 8 & 0xf) + ((a >> 8 & 0xf) == 0xf ? a >> 20 & 0xff : 0);
    m->model    = (a >> 4 & 0xf) | (a >> 12 & 0xf0);
    m->stepping = a & 0xf;
    for (unsigned i = 0; i < 3 && __get_cpuid(0x80000002 + i, &a, &b, &c, &d); i++) {
        name[4 * i] = a, name[4 * i + 1] = b, name[4 * i + 2] = c, name[4 * i + 3] = d;
        memcpy(m->model_id, name, 16 * (i + 1));
    }
}

/* `max` and `host` are then the host's CPU; others get the host's vendor, by which guests choose between SYSCALL and
 * SYSENTER, and what makes them run well. */
static void fit_to_hypervisor(X86Model *m, const ModelRow *row, const X86Hypervisor *hv)
{
    if (!row->features) {
        memcpy(m->features, hv->features, sizeof m->features);
        m->host = true;
        identify_host(m);
        m->level  = hv->level;
        m->xlevel = hv->xlevel;
        return;
    }
    X86Model host = {};
    identify_host(&host);
    memcpy(m->vendor, host.vendor, sizeof m->vendor);
    for (unsigned i = 0; *row->features && i < X86_N_WORDS; i++) {
        m->features[i] |= hv->defaults[i];
    }
}

static X86Model *model_from_row(const ModelRow *row, const X86Hypervisor *hv)
{
    X86Model *m       = g_new0(X86Model, 1);
    m->name           = g_strdup(row->name);
    m->family         = row->family;
    m->model          = row->model;
    m->stepping       = row->stepping;
    m->level          = row->level;
    m->xlevel         = row->xlevel;
    m->hypervisor_id  = true;
    m->frequency_leaf = true;
    m->topology_leaf  = true;
    m->kvm_leaves     = true;
    g_strlcpy(m->vendor, row->vendor, sizeof m->vendor);
    g_strlcpy(m->model_id, row->model_id, sizeof m->model_id);
    if (!row->features) {
        if (hv) {
            fit_to_hypervisor(m, row, hv);
        } else {
            x86_offered_features(m->features, false);
        }
        return m;
    }
    g_auto(GStrv) names = g_strsplit(row->features, " ", -1);
    for (char **name = names; *name; name++) {
        const X86FeatureInfo *f = **name ? x86_feature_find(*name, NULL) : NULL;
        if (f) {
            x86_words_set(m->features, f->feature, true);
        }
    }
    if (hv) {
        fit_to_hypervisor(m, row, hv);
    }
    return m;
}

/* --- what was asked for and what there is --- */

static void append_missing(const Parser *p, GString *list, X86Feature feature, const uint32_t *offered,
                           const uint32_t *words)
{
    const X86FeatureInfo *f = NULL;
    for (size_t i = 0; (f = x86_feature_info(i)) != NULL && f->feature != feature; i++) {
    }
    const char *lacks = x86_feature_lacks(words, feature);
    g_string_append_printf(list, "%s%s", list->len ? ", " : "", f->name);
    if (p->hv && !x86_words_have(offered, feature)) {
        g_string_append_printf(list, " (%s on this host has none)", p->hv->name);
    } else if (!p->hv && f->offer == X86_OFFER_NEVER) {
        g_string_append(list, " (not supported yet)");
    } else if (!x86_words_have(offered, feature)) {
        g_string_append(list, " (the host has none)");
    } else if (lacks) {
        g_string_append_printf(list, " (needs %s)", lacks);
    }
}

static void apply(const GArray *requests, uint32_t *words)
{
    for (unsigned i = 0; i < requests->len; i++) {
        const Request *r = &g_array_index(requests, Request, i);
        x86_words_set(words, r->feature, r->on);
    }
}

/* feature=on|off in their order, then every +feature, then every -feature. */
static void apply_requests(const Parser *p, uint32_t *words)
{
    apply(p->settings, words);
    apply(p->plus, words);
    apply(p->minus, words);
}

/* Cuts the model's features to what can be offered and reports what was asked for in vain. */
static bool settle_features(Parser *p, const char *text, Error *err)
{
    X86Model *m = p->model;
    uint32_t  offered[X86_N_WORDS], asked[X86_N_WORDS], named[X86_N_WORDS] = { 0 };
    if (p->hv) {
        memcpy(offered, p->hv->features, sizeof offered);
    } else {
        x86_offered_features(offered, true);
    }
    memcpy(asked, m->features, sizeof asked);
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        m->features[i] &= offered[i];
    }
    x86_words_close(m->features);
    apply_requests(p, named);

    g_autoptr(GString) missing = g_string_new(NULL);
    const X86FeatureInfo *f;
    for (size_t i = 0; (f = x86_feature_info(i)) != NULL; i++) {
        /* A feature of the model's own that goes with one that was switched off goes without a word. */
        bool lost = x86_words_have(asked, f->feature) && !x86_words_have(m->features, f->feature);
        if (lost && (!x86_words_have(offered, f->feature) || x86_words_have(named, f->feature))) {
            append_missing(p, missing, f->feature, offered, m->features);
        }
    }
    if (missing->len == 0) {
        return true;
    }
    if (p->enforce) {
        return error_set(err, "cannot be offered: %s", missing->str);
    }
    if (p->check) {
        warn_report("-cpu %s: left out: %s", text, missing->str);
    }
    return true;
}

/* Highest leaves: at least those that hold the features. */
static void raise_levels(Parser *p)
{
    X86Model *m = p->model;
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        uint32_t leaf, subleaf;
        unsigned reg;
        if (!m->features[i] || !x86_word_source((X86FeatureWord)i, &leaf, &subleaf, &reg)) {
            continue;
        }
        if (leaf < 0x40000000 && !p->level_given) {
            m->level = MAX(m->level, leaf);
        } else if (leaf >= 0x80000000 && leaf < 0xc0000000 && !p->xlevel_given) {
            m->xlevel = MAX(m->xlevel, leaf);
        }
    }
}

static bool parse(Parser *p, const char *text, Error *err)
{
    g_autoptr(GPtrArray) items = split(text);
    const ModelRow *row        = find_model(items->pdata[0], p->hv, err);
    if (!row) {
        return false;
    }
    p->model     = model_from_row(row, p->hv);
    p->from_host = !row->features;
    for (unsigned i = 1; i < items->len; i++) {
        if (!parse_item(p, items->pdata[i], err)) {
            return false;
        }
    }
    X86Model *m = p->model;
    if (p->from_host && p->migratable) {
        x86_words_set(m->features, X86_FEATURE_INVTSC, false);
    }
    apply_requests(p, m->features);
    if (!settle_features(p, text, err)) {
        return false;
    }
    raise_levels(p);
    m->kind = strcmp(m->vendor, "GenuineIntel") == 0                                             ? X86_VENDOR_INTEL
              : strcmp(m->vendor, "AuthenticAMD") == 0 || strcmp(m->vendor, "HygonGenuine") == 0 ? X86_VENDOR_AMD
                                                                                                 : X86_VENDOR_OTHER;
    if (p->hv && !m->kvm_leaves) {
        m->features[X86_WORD_KVM_EAX] = m->features[X86_WORD_KVM_EDX] = 0;
    }
    if (!m->phys_bits && m->host) {
        unsigned a, b, c, d; /* host-phys-bits is their default */
        m->phys_bits = __get_cpuid(0x80000008, &a, &b, &c, &d) ? MIN(a & 0xff, 52) : 36;
    }
    if (!m->phys_bits) {
        m->phys_bits = x86_words_have(m->features, X86_FEATURE_LM)      ? 40
                       : x86_words_have(m->features, X86_FEATURE_PSE36) ? 36
                                                                        : 32;
    }
    return true;
}

X86Model *x86_model_parse(const char *text, const X86Hypervisor *hv, Error *err)
{
    Parser p = {
        .settings = g_array_new(FALSE, FALSE, sizeof(Request)),
        .plus     = g_array_new(FALSE, FALSE, sizeof(Request)),
        .minus    = g_array_new(FALSE, FALSE, sizeof(Request)),
        .hv       = hv,
        .check    = true,
    };
    if (!parse(&p, text, err)) {
        x86_model_free(p.model);
        p.model = NULL;
    }
    g_array_unref(p.settings);
    g_array_unref(p.plus);
    g_array_unref(p.minus);
    return p.model;
}

void x86_model_free(X86Model *model)
{
    if (model) {
        g_free(model->name);
        g_free(model);
    }
}
