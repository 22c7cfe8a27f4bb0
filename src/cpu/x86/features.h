/* CPUID features by name, who can offer them, and what each needs. For models.c, cpuid.c and tests. */

#ifndef QUERN_CPU_X86_FEATURES_H
#define QUERN_CPU_X86_FEATURES_H

#include "base/text.h"
#include "cpu/x86/cpuid.h"

/* See cpuid_features.h. */
typedef enum X86Offer { X86_OFFER_NEVER, X86_OFFER_ALWAYS, X86_OFFER_HOST, X86_OFFER_REQUEST } X86Offer;

typedef struct X86FeatureInfo {
    const char *name;
    X86Feature  feature;
    X86Offer    offer;
} X86FeatureInfo;

/* The n'th named feature; NULL after the last. */
const X86FeatureInfo *x86_feature_info(size_t n);

/* By name or alias, '_' and '-' alike. NULL when unknown; then the nearest name is in *match if that is not NULL. */
const X86FeatureInfo *x86_feature_find(const char *name, NameMatch *match);

/* Name of a feature bit, NULL if it has none. */
const char *x86_feature_name(X86Feature feature);

static inline void x86_words_set(uint32_t *words, X86Feature feature, bool on)
{
    uint32_t bit        = 1u << feature % 32;
    words[feature / 32] = on ? words[feature / 32] | bit : words[feature / 32] & ~bit;
}

/* Clears every feature whose prerequisites are not all there. */
void x86_words_close(uint32_t *words);

/* The first prerequisite that is missing for a feature, as a name; NULL if none is. */
const char *x86_feature_lacks(const uint32_t *words, X86Feature feature);

/* The n'th pair {feature, what it needs}; false after the last. */
bool x86_feature_need(size_t n, X86Feature *feature, X86Feature *needs);

/* All that `max` has (REQUEST features left out), or all that can be offered at all. */
void x86_offered_features(uint32_t words[X86_N_WORDS], bool with_requests);

/* Where a word is read: leaf, subleaf and which of EAX to EDX (0 to 3). false for words that are MSRs. */
bool x86_word_source(X86FeatureWord word, uint32_t *leaf, uint32_t *subleaf, unsigned *reg);

#endif
