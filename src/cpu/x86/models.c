/* -cpu: CPU models by name and version, the user's changes to their features, and what can be offered of it.
 *
 * The models are in model_table.c, properties that are not features in model_property.c.
 * Called while the machine is being built. */

#include "base/checked.h"
#include "base/text.h"
#include "cpu/x86/model_parse.h"

#include <cpuid.h>

/* --- names --- */

const char *x86_model_name(unsigned n)
{
    const X86ModelRow *row = x86_model_row(n);
    return row ? row->name : NULL;
}

static const X86ModelVersion *version_after(const X86ModelRow *row, unsigned n)
{
    return n < X86_MODEL_MAX_LATER && row->later[n].changes ? &row->later[n] : NULL;
}

static int compare_lines(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void add_line(GPtrArray *lines, const char *name, char *text)
{
    g_ptr_array_add(lines, g_strdup_printf("  %-20s  %s", name, text));
    g_free(text);
}

static void add_row_lines(GPtrArray *lines, const X86ModelRow *row)
{
    g_autofree char *first = g_strdup_printf("%s-v1", row->name);
    add_line(lines, row->name, g_strdup("(alias configured by machine type)"));
    add_line(lines, first, g_strdup(row->model_id));
    const X86ModelVersion *v;
    const char            *id = row->model_id;
    for (unsigned i = 0; (v = version_after(row, i)) != NULL; i++) {
        g_autofree char *name = g_strdup_printf("%s-v%u", row->name, i + 2);
        id                    = v->model_id ? v->model_id : id;
        if (v->alias) {
            add_line(lines, v->alias, g_strdup_printf("(alias of %s)", name));
        }
        add_line(lines, name, v->note ? g_strdup_printf("%s [%s]", id, v->note) : g_strdup(id));
    }
}

static void print_models(FILE *to)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    const X86ModelRow *row;
    for (size_t i = 0; (row = x86_model_row(i)) != NULL; i++) {
        if (!row->single) {
            add_row_lines(lines, row);
        }
    }
    g_ptr_array_sort(lines, compare_lines);
    for (size_t i = 0; (row = x86_model_row(i)) != NULL; i++) {
        if (row->single) {
            add_line(lines, row->name, g_strdup(row->help));
        }
    }
    for (guint i = 0; i < lines->len; i++) {
        fprintf(to, "%s\n", (char *)lines->pdata[i]);
    }
}

/* By name, in lines; all of them, or those that cannot be offered. */
static void print_features(FILE *to, bool missing_only)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    uint32_t offered[X86_N_WORDS];
    x86_offered_features(offered, true);
    const X86FeatureInfo *f;
    for (size_t i = 0; (f = x86_feature_info(i)) != NULL; i++) {
        if (!missing_only || !x86_words_have(offered, f->feature)) {
            g_ptr_array_add(names, (gpointer)f->name);
        }
    }
    g_ptr_array_sort(names, compare_lines);
    size_t column = 0;
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i];
        if (column && column + strlen(name) + 1 > 78) {
            fputc('\n', to);
            column = 0;
        }
        fprintf(to, "%s%s", column ? " " : "  ", name);
        column += strlen(name) + (column ? 1 : 2);
    }
    fputc('\n', to);
}

void x86_model_print_help(FILE *to)
{
    fputs("Available CPUs:\n", to);
    print_models(to);
    fputs("\nRecognized CPUID flags:\n", to);
    print_features(to, false);
    fputs("\nOf these this Quern cannot offer on this host:\n", to);
    print_features(to, true);
}

/* --- parsing --- */

typedef struct Request {
    X86Feature feature;
    bool       on;
} Request;

/* vmx-*: not built, and fine to switch off. */
static bool refuse_family(const char *name, const char *value, Error *err)
{
    bool on;
    g_auto(Error) ignored = { 0 };
    if (text_parse_bool(value, &on, &ignored) && !on) {
        return true;
    }
    return error_set_unsupported(err, "%s=%s", name, value);
}

static bool parse_item(ModelParser *p, const char *item, Error *err)
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
    bool hv = g_str_has_prefix(name, "hv-") || g_str_has_prefix(name, "hv_");
    value   = sign == '-' ? "off" : value;
    if (!sign || hv) {
        g_autofree char *dashed = g_strdelimit(g_strdup(name), "_", '-');
        ModelFound       found  = model_property_set(p, dashed, value, &match, err);
        if (found != MODEL_PROPERTY_UNKNOWN) {
            return found == MODEL_PROPERTY_SET;
        }
    }
    if (g_str_has_prefix(name, "vmx-")) {
        return refuse_family(name, value, err);
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

/* A row and which of its versions: 1 is the row itself. */
typedef struct Found {
    const X86ModelRow *row;
    unsigned           version;
} Found;

/* "NAME", "NAME-vN" or an alias of a version. */
static bool matches(const X86ModelRow *row, const char *name, Found *found)
{
    const X86ModelVersion *v;
    size_t                 len = strlen(row->name);
    *found                     = (Found){ row, 1 };
    if (strcmp(name, row->name) == 0 ||
        (!row->single && g_str_has_prefix(name, row->name) && !strcmp(name + len, "-v1"))) {
        return true;
    }
    for (unsigned i = 0; (v = version_after(row, i)) != NULL; i++) {
        char suffix[8];
        g_snprintf(suffix, sizeof suffix, "-v%u", i + 2);
        found->version = i + 2;
        if ((v->alias && strcmp(name, v->alias) == 0) ||
            (g_str_has_prefix(name, row->name) && strcmp(name + len, suffix) == 0)) {
            return true;
        }
    }
    return false;
}

static bool find_model(const char *name, const X86Hypervisor *hv, Found *found, Error *err)
{
    NameMatch match = { .word = name };
    if (!hv && strcmp(name, "host") == 0) {
        return error_set(err, "needs -accel kvm; 'max' is all that this host and Quern can offer together");
    }
    const X86ModelRow     *row;
    const X86ModelVersion *v;
    for (size_t i = 0; (row = x86_model_row(i)) != NULL; i++) {
        if (matches(row, name, found)) {
            return true;
        }
        text_match_name(&match, row->name);
        for (unsigned n = 0; (v = version_after(row, n)) != NULL; n++) {
            if (v->alias) {
                text_match_name(&match, v->alias);
            }
        }
    }
    char hint[128];
    return error_set(err, "no CPU model '%s'%s; -cpu help lists them", name, text_did_you_mean(&match, hint));
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
static void fit_to_hypervisor(X86Model *m, const X86ModelRow *row, const X86Hypervisor *hv)
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
    /* What QEMU leaves out of its models under KVM, because hosts differ in it. */
    x86_words_set(m->features, X86_FEATURE_ACPI, false);
    x86_words_set(m->features, X86_FEATURE_MONITOR, false);
    x86_words_set(m->features, X86_FEATURE_SVM, false);
    for (unsigned i = 0; row->features && *row->features && i < X86_N_WORDS; i++) {
        m->features[i] |= hv->defaults[i];
    }
}

/* "aes -avx" */
static void change_features(const char *changes, uint32_t *words)
{
    g_auto(GStrv) names = g_strsplit(changes, " ", -1);
    for (char **name = names; *name; name++) {
        bool                  off = **name == '-';
        const X86FeatureInfo *f   = **name ? x86_feature_find(*name + off, NULL) : NULL;
        if (f) {
            x86_words_set(words, f->feature, !off);
        }
    }
}

/* A row's features are those of the rows that it is like, from the first one on, and its own changes. */
static void add_row_features(const X86ModelRow *row, uint32_t *words)
{
    const X86ModelRow *chain[64], *other;
    unsigned           n = 0;
    for (const X86ModelRow *r = row; r && n < G_N_ELEMENTS(chain);) {
        chain[n++]       = r;
        const char *like = r->like;
        r                = NULL;
        for (size_t i = 0; like && (other = x86_model_row(i)) != chain[n - 1]; i++) {
            r = strcmp(other->name, like) == 0 ? other : r;
        }
    }
    while (n) {
        change_features(chain[--n]->features, words);
    }
}

static void apply_version(X86Model *m, const X86ModelRow *row, unsigned version)
{
    for (unsigned i = 0; i + 2 <= version; i++) {
        const X86ModelVersion *v = &row->later[i];
        change_features(v->changes, m->features);
        if (v->model_id) {
            memset(m->model_id, 0, sizeof m->model_id);
            g_strlcpy(m->model_id, v->model_id, sizeof m->model_id);
        }
        m->model    = v->model ? v->model : m->model;
        m->stepping = v->has_stepping ? v->stepping : m->stepping;
    }
}

static X86Model *model_from_row(const X86ModelRow *row, unsigned version, const X86Hypervisor *hv)
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
    m->l3_cache       = true;
    m->legacy_cache   = !row->caches;
    m->hyperv = (X86HvModel){ .spinlocks = X86_HV_NO_SPINLOCKS, .vendor = "Microsoft Hv", .build = 14393, .major = 10 };
    g_strlcpy(m->vendor, row->vendor, sizeof m->vendor);
    g_strlcpy(m->model_id, row->model_id, sizeof m->model_id);
    if (row->features) {
        add_row_features(row, m->features);
        apply_version(m, row, version);
    } else if (!hv) {
        x86_offered_features(m->features, false);
    }
    if (hv) {
        fit_to_hypervisor(m, row, hv);
    }
    return m;
}

/* --- what was asked for and what there is --- */

/* "CPUID.01H:ECX.pcid [bit 17]", as QEMU's users know it, and why if that is not plain. */
static void append_missing(const ModelParser *p, GString *list, const X86FeatureInfo *f, const uint32_t *offered)
{
    static const char *const registers[] = { "EAX", "EBX", "ECX", "EDX" };
    uint32_t                 leaf, subleaf;
    unsigned                 reg;
    X86FeatureWord           word  = (X86FeatureWord)(f->feature / 32);
    const char              *lacks = x86_feature_lacks(p->model->features, f->feature);
    g_string_append(list, list->len ? ", " : "");
    if (x86_word_source(word, &leaf, &subleaf, &reg)) {
        g_string_append_printf(list, "CPUID.%02XH:%s.", leaf, registers[reg]);
    } else {
        g_string_append(list, word == X86_WORD_CORE_CAPS ? "MSR(CFH)." : "MSR(10AH).");
    }
    unsigned bit = f->feature % 32 + (word == X86_WORD_ARCH_CAPS_HIGH ? 32 : 0);
    g_string_append_printf(list, "%s [bit %u]", f->name, bit);
    if (x86_words_have(offered, f->feature) && lacks) {
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
static void apply_requests(const ModelParser *p, uint32_t *words)
{
    apply(p->settings, words);
    apply(p->plus, words);
    apply(p->minus, words);
}

/* What QEMU's models do not have under TCG, either: nobody asked for it, and nobody misses it. */
static void drop_quietly(const ModelParser *p, const uint32_t *offered, const uint32_t *named)
{
    if (!p->hv && !x86_words_have(named, X86_FEATURE_VME) && !x86_words_have(offered, X86_FEATURE_VME)) {
        x86_words_set(p->model->features, X86_FEATURE_VME, false);
    }
}

/* Cuts the model's features to what can be offered and reports what was asked for in vain. */
static bool settle_features(ModelParser *p, Error *err)
{
    X86Model *m = p->model;
    uint32_t  offered[X86_N_WORDS], asked[X86_N_WORDS], named[X86_N_WORDS] = { 0 };
    if (p->hv) {
        memcpy(offered, p->hv->features, sizeof offered);
    } else {
        x86_offered_features(offered, true);
    }
    apply_requests(p, named);
    drop_quietly(p, offered, named);
    memcpy(asked, m->features, sizeof asked);
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        m->features[i] &= offered[i];
    }
    x86_words_close(m->features);

    unsigned n                 = 0;
    g_autoptr(GString) missing = g_string_new(NULL);
    const X86FeatureInfo *f;
    for (size_t i = 0; (f = x86_feature_info(i)) != NULL; i++) {
        /* A feature of the model's own that goes with one that was switched off goes without a word. */
        bool lost = x86_words_have(asked, f->feature) && !x86_words_have(m->features, f->feature);
        if (lost && (!x86_words_have(offered, f->feature) || x86_words_have(named, f->feature))) {
            x86_words_set(m->missing, f->feature, true);
            append_missing(p, missing, f, offered);
            n++;
        }
    }
    if (n == 0) {
        return true;
    }
    const char *who = p->hv ? "host" : "TCG", *s = n > 1 ? "s" : "";
    if (p->enforce) {
        return error_set(err, "%s doesn't support requested feature%s: %s", who, s, missing->str);
    }
    if (p->check) {
        warn_report("%s doesn't support requested feature%s: %s", who, s, missing->str);
    }
    return true;
}

/* Highest leaves: at least those that hold the features. */
static void raise_levels(ModelParser *p)
{
    X86Model *m = p->model;
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        uint32_t leaf, subleaf;
        unsigned reg;
        if (!m->features[i] || !x86_word_source((X86FeatureWord)i, &leaf, &subleaf, &reg)) {
            continue;
        }
        if (!p->raise_levels) {
            continue;
        }
        if (leaf < 0x40000000 && !p->level_given) {
            m->level = MAX(m->level, leaf);
        } else if (leaf >= 0x80000000 && leaf < 0xc0000000 && !p->xlevel_given) {
            m->xlevel = MAX(m->xlevel, leaf);
        }
    }
    if (x86_words_have(m->features, X86_FEATURE_TOPOEXT) && p->raise_levels && !p->xlevel_given) {
        m->xlevel = MAX(m->xlevel, 0x8000001e); /* what it stands for */
    }
}

static X86Vendor vendor_kind(const char *vendor)
{
    return strcmp(vendor, "GenuineIntel") == 0                                          ? X86_VENDOR_INTEL
           : strcmp(vendor, "AuthenticAMD") == 0 || strcmp(vendor, "HygonGenuine") == 0 ? X86_VENDOR_AMD
                                                                                        : X86_VENDOR_OTHER;
}

static bool parse(ModelParser *p, const char *text, Error *err)
{
    g_autoptr(GPtrArray) items = split(text);
    Found found                = { 0 };
    if (!find_model(items->pdata[0], p->hv, &found, err)) {
        return false;
    }
    p->row       = found.row;
    p->model     = model_from_row(found.row, found.version, p->hv);
    p->from_host = !found.row->features;
    for (unsigned i = 1; i < items->len; i++) {
        if (!parse_item(p, items->pdata[i], err)) {
            return false;
        }
    }
    X86Model *m = p->model;
    if (p->from_host && p->migratable) {
        x86_words_set(m->features, X86_FEATURE_INVTSC, false);
    }
    if (p->from_host && vendor_kind(m->vendor) != X86_VENDOR_AMD) {
        x86_words_set(m->features, X86_FEATURE_TOPOEXT, false); /* others tell threads by leaf 0Bh */
    }
    apply_requests(p, m->features);
    if (!settle_features(p, err)) {
        return false;
    }
    raise_levels(p);
    m->kind = vendor_kind(m->vendor);
    if (p->hv && !m->kvm_leaves) {
        m->features[X86_WORD_KVM_EAX] = m->features[X86_WORD_KVM_EDX] = 0;
    }
    return model_property_settle(p, err);
}

X86Model *x86_model_parse(const char *text, const X86Hypervisor *hv, Error *err)
{
    ModelParser p = {
        .settings     = g_array_new(FALSE, FALSE, sizeof(Request)),
        .plus         = g_array_new(FALSE, FALSE, sizeof(Request)),
        .minus        = g_array_new(FALSE, FALSE, sizeof(Request)),
        .hv           = hv,
        .check        = true,
        .raise_levels = true,
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
