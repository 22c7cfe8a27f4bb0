/* -cpu while it is parsed: what models.c shares with model_property.c. */

#ifndef QUERN_CPU_X86_MODEL_PARSE_H
#define QUERN_CPU_X86_MODEL_PARSE_H

#include "cpu/x86/features.h"
#include "cpu/x86/model_table.h"

typedef struct ModelParser {
    X86Model            *model;
    const X86ModelRow   *row;
    GArray              *settings; /* feature=on|off, in order */
    GArray              *plus;     /* +feature, which wins over those */
    GArray              *minus;    /* -feature, which wins over both */
    const X86Hypervisor *hv;
    unsigned             host_phys_bits_limit;
    bool                 check, enforce, level_given, xlevel_given;
    bool                 host_phys_bits;
    bool                 raise_levels; /* full-cpuid-auto-level */
    bool                 from_host;    /* of max: may lose what migratable=on leaves out */
    bool                 migratable;
} ModelParser;

typedef enum ModelFound { MODEL_PROPERTY_SET, MODEL_PROPERTY_WRONG, MODEL_PROPERTY_UNKNOWN } ModelFound;

/* Sets a property that is not a feature, with '-' for '_' in its name; near misses go to `match`. */
ModelFound model_property_set(ModelParser *p, const char *name, const char *value, NameMatch *match, Error *err);

/* What depends on more than one property, once all are set. */
bool model_property_settle(ModelParser *p, Error *err);

#endif
