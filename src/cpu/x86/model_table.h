/* The rows of CPU models. For models.c, which makes X86Models of them, and for cpuid.c, which shows the caches. */

#ifndef QUERN_CPU_X86_MODEL_TABLE_H
#define QUERN_CPU_X86_MODEL_TABLE_H

#include "cpu/x86/cpuid.h"

/* A later version of a model: what it changes on the version before. */
typedef struct X86ModelVersion {
    const char *changes; /* "avx512ifma -hle": features that come and go. NULL ends the list */
    const char *alias;   /* another name that people have for it */
    const char *note;    /* for -cpu help */
    const char *model_id;
    uint16_t    model; /* 0: as before */
    uint16_t    stepping;
    bool        has_stepping;
} X86ModelVersion;

enum { X86_MODEL_MAX_LATER = 7 };

typedef struct X86ModelRow {
    const char        *name;
    const char        *help;   /* NULL: the model's name for itself */
    const char        *vendor; /* 12 characters, or none: the host's */
    uint16_t           family, model, stepping;
    uint32_t           level, xlevel;
    const char        *model_id;
    const char        *like;                       /* a row further up whose features this one has too */
    const char        *features;                   /* "aes -avx": on top of those. NULL: all that can be offered */
    const X86CacheSet *caches;                     /* NULL: those that every older model has */
    bool               single;                     /* has no versions */
    X86ModelVersion    later[X86_MODEL_MAX_LATER]; /* from -v2 on */
} X86ModelRow;

/* The n'th row; NULL after the last. */
const X86ModelRow *x86_model_row(size_t n);

/* The caches of models that do not say: Intel's and AMD's. */
extern const X86CacheSet x86_caches_intel, x86_caches_amd;

#endif
