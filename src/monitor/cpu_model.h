/* CPU models as JSON: for queries about models, and for what the tree of objects shows of a vCPU. */

#ifndef QUERN_MONITOR_CPU_MODEL_H
#define QUERN_MONITOR_CPU_MODEL_H

#include "machine/cpu_object.h"
#include "monitor/monitor.h"

/* Is this the name of a type of vCPUs? Then *model (the caller's) is the model. */
bool cpu_model_from_type(const char *type_name, char **model);

/* Names of all models: rows, versions, aliases. The caller frees. */
GPtrArray *cpu_model_names(void);

/* "device help" and "TYPE,help", with the types of vCPUs among the devices. */
void cpu_model_device_help(GString *out);
bool cpu_model_device_type_help(const char *name, GString *out, Error *err);

/* All properties with their values: {"aes": true, ..., "family": 15, ...}. */
Json *cpu_model_properties(const X86Model *model);

/* "str", "int" or "bool" as introspection names a property's type. */
const char *cpu_model_property_type(const Json *value);

/* ["pcid", ...]: what was asked for and cannot be offered. */
Json *cpu_model_unavailable(const X86Model *model);

/* [{"cpuid-input-eax": 1, ...}] of words as in X86Model.features. */
Json *cpu_model_words(const uint32_t *words);

#endif
