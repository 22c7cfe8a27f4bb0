/* A struct with a member of every kind, and its tables, for the targets that fuzz desc/. */

#ifndef QUERN_FUZZ_SAMPLE_H
#define QUERN_FUZZ_SAMPLE_H

#include "base/text.h"
#include "desc/field.h"

typedef struct SampleInner {
    bool     direct;
    uint16_t port;
    char    *host;
} SampleInner;

typedef struct Sample {
    SampleInner base, nested, array[2]; /* array: saved state only */
    bool        flag, has_count;
    uint8_t     small;
    int8_t      level;
    uint32_t    count, power;
    uint64_t    size, wide;
    int64_t     deep;
    double      ratio;
    char       *path;
    int         mode;
    OnOffAuto   smm;
    Json       *any;
    GPtrArray  *names, *inners, *numbers;
    uint64_t    custom, dotted_a, dotted_b;
    uint8_t     bytes[6]; /* saved state only */
    uint32_t    words[3]; /* saved state only */
} Sample;

extern const Field sample_properties[];
extern const Field sample_state[];

#endif
