/* Text: numbers and sizes as people type them, and the nearest name to a wrong one. */

#ifndef QUERN_BASE_TEXT_H
#define QUERN_BASE_TEXT_H

#include "base/error.h"

#include <stdint.h>

#define KiB (UINT64_C(1) << 10)
#define MiB (UINT64_C(1) << 20)
#define GiB (UINT64_C(1) << 30)
#define TiB (UINT64_C(1) << 40)

/* "4G", "1.5M", "512", "6GB", "0x1000", any case, B optional; a plain number counts `unit` bytes (1, MiB ...).
 * Fails with "'4Q' is not a size (examples: 512M, 4G)". */
bool text_parse_size(const char *text, uint64_t unit, uint64_t *bytes, Error *err);

/* Decimal or 0x hexadecimal or 0 octal, no blanks, whole string. */
bool text_parse_uint(const char *text, uint64_t max, uint64_t *value, Error *err);
bool text_parse_int(const char *text, int64_t min, int64_t max, int64_t *value, Error *err);

/* on/off, yes/no, true/false, y/n. */
bool text_parse_bool(const char *text, bool *value, Error *err);

/* RFC 4122 text into 16 bytes in the order of the text. */
bool text_parse_uuid(const char *text, uint8_t uuid[16], Error *err);

/* "4 GiB", "1.5 MiB", "512 B". The caller frees. */
char *text_format_size(uint64_t bytes);

/* The candidate nearest to `word`, or NULL when none is near enough to be worth suggesting. Feed candidates one
 * by one: start with a zeroed NameMatch. */
typedef struct NameMatch {
    const char *word;
    const char *best;
    unsigned    distance;
} NameMatch;

void text_match_name(NameMatch *match, const char *candidate);

/* " (did you mean 'X'?)" or "". Valid until `match` is reused; lives in `buffer`. */
const char *text_did_you_mean(const NameMatch *match, char buffer[static 128]);

/* Shell-style pattern with * and ?. */
bool text_glob(const char *pattern, const char *text);

#endif
