/* CPU models as JSON. Main loop, machine lock held. */

#include "monitor/cpu_model.h"

#include "cpu/x86/features.h"
#include "cpu/x86/model_table.h"
#include "machine/cpuplug.h"

#include <string.h>

GPtrArray *cpu_model_names(void)
{
    GPtrArray         *names = g_ptr_array_new_with_free_func(g_free);
    const X86ModelRow *row;
    for (size_t i = 0; (row = x86_model_row(i)) != NULL; i++) {
        g_ptr_array_add(names, g_strdup(row->name));
        if (row->single) {
            continue;
        }
        g_ptr_array_add(names, g_strdup_printf("%s-v1", row->name));
        for (unsigned v = 0; v < X86_MODEL_MAX_LATER && row->later[v].changes; v++) {
            g_ptr_array_add(names, g_strdup_printf("%s-v%u", row->name, v + 2));
            if (row->later[v].alias) {
                g_ptr_array_add(names, g_strdup(row->later[v].alias));
            }
        }
    }
    return names;
}

bool cpu_model_from_type(const char *type_name, char **model)
{
    if (!g_str_has_suffix(type_name, CPU_TYPE_SUFFIX)) {
        return false;
    }
    g_autoptr(GPtrArray) names = cpu_model_names();
    *model                     = g_strndup(type_name, strlen(type_name) - strlen(CPU_TYPE_SUFFIX));
    if (g_ptr_array_find_with_equal_func(names, *model, g_str_equal, NULL)) {
        return true;
    }
    g_clear_pointer(model, g_free);
    return false;
}

static int compare_names(gconstpointer a, gconstpointer b)
{
    return g_ascii_strcasecmp(*(const char *const *)a, *(const char *const *)b);
}

void cpu_model_device_help(GString *out)
{
    g_autoptr(GPtrArray) names = cpu_model_names();
    g_ptr_array_sort(names, compare_names);
    device_print_help(out);
    g_string_append(out, "\nCPU devices:\n");
    for (guint i = 0; i < names->len; i++) {
        g_string_append_printf(out, "name \"%s" CPU_TYPE_SUFFIX "\"\n", (const char *)names->pdata[i]);
    }
}

bool cpu_model_device_type_help(const char *name, GString *out, Error *err)
{
    g_autofree char *model = NULL;
    if (!cpu_model_from_type(name, &model)) {
        return device_print_type_help(name, out, err);
    }
    g_string_append_printf(out, "%s options:\n", name);
    fields_print_help(cpu_place_options, out);
    return true;
}

Json *cpu_model_properties(const X86Model *m)
{
    const struct {
        const char *name;
        uint64_t    value;
    } numbers[] = {
        { "family", m->family },     { "model", m->model },         { "stepping", m->stepping },
        { "level", m->level },       { "xlevel", m->xlevel },       { "min-level", m->level },
        { "min-xlevel", m->xlevel }, { "phys-bits", m->phys_bits }, { "ucode-rev", m->ucode_rev },
    };
    const struct {
        const char *name;
        bool        value;
    } flags[] = {
        { "cpuid-0xb", m->topology_leaf },
        { "kvm", m->kvm_leaves },
        { "l3-cache", m->l3_cache },
        { "tcg-cpuid", m->hypervisor_id },
        { "legacy-cache", m->legacy_cache },
        { "vmware-cpuid-freq", m->frequency_leaf },
        { "hv-relaxed", m->hyperv.on & X86_HV_RELAXED },
        { "hv-vapic", m->hyperv.on & X86_HV_VAPIC },
        { "hv-time", m->hyperv.on & X86_HV_TIME },
        { "hv-vpindex", m->hyperv.on & X86_HV_VPINDEX },
        { "hv-runtime", m->hyperv.on & X86_HV_RUNTIME },
        { "hv-frequencies", m->hyperv.on & X86_HV_FREQUENCIES },
    };
    Json                 *props = json_new_object();
    const X86FeatureInfo *f;
    for (size_t i = 0; (f = x86_feature_info(i)) != NULL; i++) {
        json_add(props, f->name, json_new_bool(x86_words_have(m->features, f->feature)));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        json_add(props, numbers[i].name, json_new_uint(numbers[i].value));
    }
    for (size_t i = 0; i < G_N_ELEMENTS(flags); i++) {
        json_add(props, flags[i].name, json_new_bool(flags[i].value));
    }
    if (m->tsc_hz) {
        json_add(props, "tsc-frequency", json_new_uint(m->tsc_hz));
    }
    json_add(props, "vendor", json_new_string(m->vendor));
    g_autofree char *id = g_utf8_make_valid(m->model_id, -1);
    json_add(props, "model-id", json_new_string(id));
    return props;
}

const char *cpu_model_property_type(const Json *value)
{
    return value->kind == JSON_BOOL ? "bool" : value->kind == JSON_STRING ? "string" : "int";
}

Json *cpu_model_unavailable(const X86Model *m)
{
    Json                 *list = json_new_list();
    const X86FeatureInfo *f;
    for (size_t i = 0; (f = x86_feature_info(i)) != NULL; i++) {
        if (x86_words_have(m->missing, f->feature)) {
            json_append(list, json_new_string(f->name));
        }
    }
    return list;
}

Json *cpu_model_words(const uint32_t *words)
{
    static const char *const registers[] = { "EAX", "EBX", "ECX", "EDX" };
    Json                    *list        = json_new_list();
    for (unsigned i = 0; i < X86_N_WORDS; i++) {
        uint32_t leaf, subleaf;
        unsigned reg;
        if (!x86_word_source((X86FeatureWord)i, &leaf, &subleaf, &reg)) {
            continue;
        }
        Json *word = json_new_object();
        json_add(word, "cpuid-register", json_new_string(registers[reg]));
        json_add(word, "cpuid-input-eax", json_new_uint(leaf));
        if (leaf == 7 || leaf == 0xd || leaf == 0x12 || leaf == 0x14) {
            json_add(word, "cpuid-input-ecx", json_new_uint(subleaf));
        }
        json_add(word, "features", json_new_uint(words[i]));
        json_append(list, word);
    }
    return list;
}
