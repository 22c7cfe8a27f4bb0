/* Numbers and sizes as people type them; the nearest name to a wrong one. Pure functions. */

#include "base/text.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Suffixes of sizes, in powers of 1024. */
static const char size_letters[] = "BKMGTPE";

/* "K", "KB", "KiB", "B" in any case; `text` stands behind the number. Returns the multiplier, 0 for none of these. */
static uint64_t parse_suffix(const char *text)
{
    const char *at = *text ? strchr(size_letters, g_ascii_toupper(*text)) : NULL;
    if (!at) {
        return 0;
    }
    text++;
    if (at != size_letters) {
        if (g_ascii_tolower(*text) == 'i') {
            text++;
            if (g_ascii_toupper(*text) != 'B') {
                return 0;
            }
        }
        if (g_ascii_toupper(*text) == 'B') {
            text++;
        }
    }
    return *text ? 0 : UINT64_C(1) << (10 * (at - size_letters));
}

/* "1.5M": digits, point, digits, suffix. What remains below a byte is dropped. */
static bool parse_fraction(const char *text, uint64_t unit, uint64_t *bytes)
{
    char       *end;
    long double value;
    for (const char *p = text; *p && *p != '.'; p++) {
        if (!g_ascii_isdigit(*p)) {
            return false;
        }
    }
    value = (long double)g_ascii_strtod(text, &end);
    if (g_ascii_tolower(*(end - 1)) == '.' || memchr(text, 'e', (size_t)(end - text)) ||
        memchr(text, 'E', (size_t)(end - text))) {
        return false;
    }
    uint64_t scale = *end ? parse_suffix(end) : unit;
    if (scale <= 1) {
        return false; /* half a byte */
    }
    value *= (long double)scale;
    if (value >= 0x1p64L) {
        return false;
    }
    *bytes = (uint64_t)value;
    return true;
}

static bool parse_size(const char *text, uint64_t unit, uint64_t *bytes)
{
    if (!g_ascii_isdigit(*text)) {
        return false;
    }
    bool  hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    char *end;
    errno            = 0;
    uint64_t value   = g_ascii_strtoull(text, &end, hex ? 16 : 10);
    bool     too_big = errno != 0;
    if (!hex && (*end == '.' || *end == 'e')) {
        return parse_fraction(text, unit, bytes);
    }
    uint64_t scale = !*end ? unit : hex ? 0 : parse_suffix(end);
    return scale && !too_big && !__builtin_mul_overflow(value, scale, bytes);
}

bool text_parse_size(const char *text, uint64_t unit, uint64_t *bytes, Error *err)
{
    uint64_t value;
    if (!parse_size(text, unit, &value)) {
        return error_set(err, "'%s' is not a size (examples: 512M, 4G)", text);
    }
    *bytes = value;
    return true;
}

/* Digits after the sign. Sets *overflow when it is a number, but above 2^64 - 1. */
static bool parse_digits(const char *text, uint64_t *value, bool *overflow)
{
    int base = 10;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        base = 16;
        text += 2;
    } else if (text[0] == '0' && text[1]) {
        base = 8;
        text++;
    }
    if (!g_ascii_isxdigit(*text)) {
        return false;
    }
    char *end;
    errno     = 0;
    *value    = g_ascii_strtoull(text, &end, (guint)base);
    *overflow = errno == ERANGE;
    return end != text && !*end;
}

static bool fail_number(const char *text, Error *err)
{
    return error_set(err, "'%s' is not a number (decimal, or hexadecimal with 0x)", text);
}

bool text_parse_uint(const char *text, uint64_t max, uint64_t *value, Error *err)
{
    uint64_t number;
    bool     overflow = false, negative = *text == '-';
    if (!parse_digits(text + negative, &number, &overflow)) {
        return fail_number(text, err);
    }
    if (negative && (overflow || number)) {
        return error_set(err, "'%s' is negative", text);
    }
    if (overflow || number > max) {
        return error_set(err, "'%s' is too large (at most %" G_GUINT64_FORMAT ")", text, max);
    }
    *value = number;
    return true;
}

bool text_parse_int(const char *text, int64_t min, int64_t max, int64_t *value, Error *err)
{
    uint64_t number;
    bool     overflow = false, negative = *text == '-';
    if (!parse_digits(text + negative, &number, &overflow)) {
        return fail_number(text, err);
    }
    uint64_t limit = negative ? UINT64_C(1) << 63 : (uint64_t)INT64_MAX;
    if (!overflow && number <= limit) {
        int64_t with_sign = negative ? (int64_t)(0 - number) : (int64_t)number;
        if (with_sign >= min && with_sign <= max) {
            *value = with_sign;
            return true;
        }
    }
    return error_set(err, "'%s' is out of range (%" G_GINT64_FORMAT " to %" G_GINT64_FORMAT ")", text, min, max);
}

bool text_parse_bool(const char *text, bool *value, Error *err)
{
    static const char *const yes[] = { "on", "yes", "true", "y", NULL };
    static const char *const no[]  = { "off", "no", "false", "n", NULL };
    if (g_strv_contains(yes, text)) {
        *value = true;
    } else if (g_strv_contains(no, text)) {
        *value = false;
    } else {
        return error_set(err, "'%s' is neither 'on' nor 'off'", text);
    }
    return true;
}

bool text_parse_uuid(const char *text, uint8_t uuid[16], Error *err)
{
    uint8_t  bytes[16];
    unsigned n  = 0;
    bool     ok = true;
    for (const char *p = text; ok && n < 16; n++) {
        if (n == 4 || n == 6 || n == 8 || n == 10) {
            ok = *p++ == '-';
        }
        ok = ok && g_ascii_isxdigit(p[0]) && g_ascii_isxdigit(p[1]);
        if (ok) {
            bytes[n] = (uint8_t)(g_ascii_xdigit_value(p[0]) << 4 | g_ascii_xdigit_value(p[1]));
            p += 2;
        }
    }
    if (!ok || strlen(text) != 36) {
        return error_set(err, "'%s' is not a UUID (example: 550e8400-e29b-41d4-a716-446655440000)", text);
    }
    memcpy(uuid, bytes, 16);
    return true;
}

char *text_format_size(uint64_t bytes)
{
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    unsigned                 unit    = 0;
    while (unit + 1 < G_N_ELEMENTS(units) && bytes >> (10 * (unit + 1))) {
        unit++;
    }
    char number[G_ASCII_DTOSTR_BUF_SIZE];
    g_ascii_formatd(number, sizeof number, "%.2f", (double)bytes / (double)(UINT64_C(1) << (10 * unit)));
    size_t len = strlen(number);
    while (number[len - 1] == '0') {
        len--;
    }
    if (number[len - 1] == '.') {
        len--;
    }
    return g_strdup_printf("%.*s %s", (int)len, number, units[unit]);
}

/* Names longer than this are never suggested. */
#define MAX_NAME 64

/* Letters that people mix up without thinking cost nothing. */
static char fold(char c)
{
    return c == '_' ? '-' : g_ascii_tolower(c);
}

/* Insertions, deletions, replacements and swaps of neighbours that turn a into b. */
static unsigned edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    unsigned rows[3][MAX_NAME + 1];
    for (unsigned j = 0; j <= b_len; j++) {
        rows[0][j] = j;
    }
    for (unsigned i = 1; i <= a_len; i++) {
        unsigned *row = rows[i % 3], *above = rows[(i + 2) % 3], *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (unsigned j = 1; j <= b_len; j++) {
            unsigned replace = above[j - 1] + (fold(a[i - 1]) != fold(b[j - 1]));
            row[j]           = MIN(replace, MIN(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) && fold(a[i - 2]) == fold(b[j - 1])) {
                row[j] = MIN(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[a_len % 3][b_len];
}

void text_match_name(NameMatch *match, const char *candidate)
{
    size_t len = strlen(match->word), candidate_len = strlen(candidate);
    if (!len || len > MAX_NAME || candidate_len > MAX_NAME) {
        return;
    }
    unsigned limit    = MIN((unsigned)(len + 2) / 3, 4);
    unsigned distance = edit_distance(match->word, len, candidate, candidate_len);
    bool     near     = distance <= limit && distance < len && distance < candidate_len;
    if (!near && len >= 3 && g_str_has_prefix(candidate, match->word)) {
        near     = true; /* the beginning of a longer name; behind anything spelled nearly alike */
        distance = limit + distance;
    }
    if (near && (!match->best || distance < match->distance)) {
        match->best     = candidate;
        match->distance = distance;
    }
}

const char *text_did_you_mean(const NameMatch *match, char buffer[static 128])
{
    if (!match->best) {
        return "";
    }
    g_snprintf(buffer, 128, " (did you mean '%s'?)", match->best);
    return buffer;
}

bool text_glob(const char *pattern, const char *text)
{
    const char *star = NULL, *resume = NULL;
    while (*text) {
        if (*pattern == '*') {
            star   = pattern++;
            resume = text;
        } else if (*pattern == '?' || *pattern == *text) {
            pattern++;
            text++;
        } else if (star) {
            pattern = star + 1; /* the last star takes one character more */
            text    = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*') {
        pattern++;
    }
    return !*pattern;
}
