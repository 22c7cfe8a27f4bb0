/* JSON parser (RFC 8259), plus strings in single quotes, which people type inside a shell's double quotes.
 *
 * Input may be hostile: depth is limited, every byte is checked, strings come out as valid UTF-8 without NUL. */

#include "base/json.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define MAX_DEPTH 1024

/* From this many members on, a hash finds duplicate names. */
#define HASH_FROM 16

typedef struct Parser {
    const char *start, *p, *end;
    unsigned    depth;
    Error      *err;
} Parser;

static Json *parse_value(Parser *ps);

static bool G_GNUC_PRINTF(2, 3) fail(Parser *ps, const char *format, ...)
{
    size_t line = 1, column = 1;
    for (const char *q = ps->start; q < ps->p; q++) {
        if (*q == '\n') {
            line++;
            column = 1;
        } else if ((*q & 0xC0) != 0x80) {
            column++;
        }
    }
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    return error_set(ps->err, "line %zu, column %zu: %s", line, column, what);
}

static void skip_blanks(Parser *ps)
{
    while (ps->p < ps->end && (*ps->p == ' ' || *ps->p == '\t' || *ps->p == '\n' || *ps->p == '\r')) {
        ps->p++;
    }
}

/* What stands at the current place, for messages. */
static bool fail_unexpected(Parser *ps, const char *wanted)
{
    if (ps->p == ps->end) {
        return fail(ps, "the text ends where %s should be", wanted);
    }
    unsigned char c = (unsigned char)*ps->p;
    if (c < 0x20 || c >= 0x7F) {
        return fail(ps, "byte %02x where %s should be", c, wanted);
    }
    return fail(ps, "'%c' where %s should be", c, wanted);
}

static bool parse_hex4(Parser *ps, unsigned *code)
{
    *code = 0;
    for (int i = 0; i < 4; i++, ps->p++) {
        if (ps->p == ps->end || !g_ascii_isxdigit(*ps->p)) {
            return fail_unexpected(ps, "a hexadecimal digit");
        }
        *code = *code << 4 | (unsigned)g_ascii_xdigit_value(*ps->p);
    }
    return true;
}

static bool parse_unicode_escape(Parser *ps, GString *out)
{
    unsigned code;
    if (!parse_hex4(ps, &code)) {
        return false;
    }
    if (code >= 0xD800 && code < 0xDC00) {
        unsigned low;
        if (ps->end - ps->p < 2 || ps->p[0] != '\\' || ps->p[1] != 'u') {
            return fail(ps, "half a surrogate pair");
        }
        ps->p += 2;
        if (!parse_hex4(ps, &low)) {
            return false;
        }
        if (low < 0xDC00 || low >= 0xE000) {
            return fail(ps, "half a surrogate pair");
        }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
        return fail(ps, "half a surrogate pair");
    } else if (code == 0) {
        return fail(ps, "\\u0000 is not allowed in a string");
    }
    g_string_append_unichar(out, code);
    return true;
}

static bool parse_escape(Parser *ps, GString *out)
{
    if (ps->p == ps->end) {
        return fail_unexpected(ps, "an escaped character");
    }
    static const char plain[] = "\"'\\/", letters[] = "bfnrt", controls[] = "\b\f\n\r\t";
    char              c = *ps->p;
    const char       *at;
    if (c && strchr(plain, c)) {
        g_string_append_c(out, c);
    } else if (c && (at = strchr(letters, c))) {
        g_string_append_c(out, controls[at - letters]);
    } else if (c == 'u') {
        ps->p++;
        return parse_unicode_escape(ps, out);
    } else {
        return fail_unexpected(ps, "one of \" \\ / b f n r t u");
    }
    ps->p++;
    return true;
}

/* At the opening quote. The caller frees. */
static char *parse_string(Parser *ps)
{
    char quote             = *ps->p++;
    g_autoptr(GString) out = g_string_new(NULL);
    for (;;) {
        const char *run = ps->p;
        while (ps->p < ps->end && *ps->p != quote && *ps->p != '\\' && (unsigned char)*ps->p >= 0x20) {
            ps->p++;
        }
        const char *bad;
        if (!g_utf8_validate_len(run, (gsize)(ps->p - run), &bad)) {
            ps->p = bad;
            fail(ps, "a string that is not UTF-8");
            return NULL;
        }
        g_string_append_len(out, run, ps->p - run);
        if (ps->p == ps->end) {
            fail(ps, "the text ends inside a string");
            return NULL;
        }
        if (*ps->p == quote) {
            ps->p++;
            return g_string_free(g_steal_pointer(&out), FALSE);
        }
        if (*ps->p != '\\') {
            fail(ps, "control character %02x inside a string", (unsigned char)*ps->p);
            return NULL;
        }
        ps->p++;
        if (!parse_escape(ps, out)) {
            return NULL;
        }
    }
}

static bool skip_digits(Parser *ps)
{
    if (ps->p == ps->end || !g_ascii_isdigit(*ps->p)) {
        return fail_unexpected(ps, "a digit");
    }
    while (ps->p < ps->end && g_ascii_isdigit(*ps->p)) {
        ps->p++;
    }
    return true;
}

static Json *parse_number(Parser *ps)
{
    const char *from     = ps->p;
    bool        negative = *ps->p == '-', integer = true;
    ps->p += negative;
    bool zero = ps->p < ps->end && *ps->p == '0';
    if (!skip_digits(ps)) {
        return NULL;
    }
    if (zero && ps->p - from > 1 + negative) {
        ps->p = from;
        fail(ps, "a number with a leading zero");
        return NULL;
    }
    if (ps->p < ps->end && *ps->p == '.') {
        integer = false;
        ps->p++;
        if (!skip_digits(ps)) {
            return NULL;
        }
    }
    if (ps->p < ps->end && (*ps->p == 'e' || *ps->p == 'E')) {
        integer = false;
        ps->p++;
        if (ps->p < ps->end && (*ps->p == '+' || *ps->p == '-')) {
            ps->p++;
        }
        if (!skip_digits(ps)) {
            return NULL;
        }
    }
    g_autofree char *text = g_strndup(from, (size_t)(ps->p - from));
    if (integer) {
        errno = 0;
        if (negative) {
            int64_t value = g_ascii_strtoll(text, NULL, 10);
            if (!errno) {
                return json_new_int(value);
            }
        } else {
            uint64_t value = g_ascii_strtoull(text, NULL, 10);
            if (!errno) {
                return json_new_uint(value);
            }
        }
    }
    double value = g_ascii_strtod(text, NULL);
    if (!isfinite(value)) {
        ps->p = from;
        fail(ps, "a number too large for a double");
        return NULL;
    }
    return json_new_double(value);
}

static bool parse_word(Parser *ps, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(ps->end - ps->p) < len || memcmp(ps->p, word, len) != 0 ||
        ((size_t)(ps->end - ps->p) > len && g_ascii_isalnum(ps->p[len]))) {
        return fail_unexpected(ps, "a value");
    }
    ps->p += len;
    return true;
}

/* After an element: the closing bracket ends (*done), a comma goes on. */
static bool parse_separator(Parser *ps, char close, bool *done)
{
    skip_blanks(ps);
    if (ps->p < ps->end && *ps->p == close) {
        ps->p++;
        *done = true;
        return true;
    }
    if (ps->p < ps->end && *ps->p == ',') {
        ps->p++;
        return true;
    }
    return fail_unexpected(ps, close == ']' ? "',' or ']'" : "',' or '}'");
}

static Json *parse_list(Parser *ps)
{
    g_autoptr(Json) list = json_new_list();
    ps->p++;
    skip_blanks(ps);
    if (ps->p < ps->end && *ps->p == ']') {
        ps->p++;
        return g_steal_pointer(&list);
    }
    for (bool done = false; !done;) {
        Json *item = parse_value(ps);
        if (!item) {
            return NULL;
        }
        json_append(list, item);
        if (!parse_separator(ps, ']', &done)) {
            return NULL;
        }
    }
    return g_steal_pointer(&list);
}

/* Has the object a member of that name already? `seen` is made once the object is large. */
static bool is_duplicate(const Json *object, const char *key, GHashTable **seen)
{
    if (object->n < HASH_FROM) {
        return json_get(object, key) != NULL;
    }
    if (!*seen) {
        *seen = g_hash_table_new(g_str_hash, g_str_equal);
        for (size_t i = 0; i < object->n; i++) {
            g_hash_table_add(*seen, object->keys[i]);
        }
    }
    return g_hash_table_contains(*seen, key);
}

static bool parse_member(Parser *ps, Json *object, GHashTable **seen)
{
    skip_blanks(ps);
    if (ps->p == ps->end || (*ps->p != '"' && *ps->p != '\'')) {
        return fail_unexpected(ps, "a member name in quotes");
    }
    const char      *at  = ps->p;
    g_autofree char *key = parse_string(ps);
    if (!key) {
        return false;
    }
    if (is_duplicate(object, key, seen)) {
        ps->p = at;
        return fail(ps, "a second member '%s'", key);
    }
    skip_blanks(ps);
    if (ps->p == ps->end || *ps->p != ':') {
        return fail_unexpected(ps, "':'");
    }
    ps->p++;
    Json *value = parse_value(ps);
    if (!value) {
        return false;
    }
    json_add(object, key, value);
    if (*seen) {
        g_hash_table_add(*seen, object->keys[object->n - 1]);
    }
    return true;
}

static Json *parse_object(Parser *ps)
{
    g_autoptr(Json) object     = json_new_object();
    g_autoptr(GHashTable) seen = NULL;
    ps->p++;
    skip_blanks(ps);
    if (ps->p < ps->end && *ps->p == '}') {
        ps->p++;
        return g_steal_pointer(&object);
    }
    for (bool done = false; !done;) {
        if (!parse_member(ps, object, &seen) || !parse_separator(ps, '}', &done)) {
            return NULL;
        }
    }
    return g_steal_pointer(&object);
}

static Json *parse_container(Parser *ps)
{
    if (ps->depth == MAX_DEPTH) {
        fail(ps, "nested more than %d levels deep", MAX_DEPTH);
        return NULL;
    }
    ps->depth++;
    Json *value = *ps->p == '[' ? parse_list(ps) : parse_object(ps);
    ps->depth--;
    return value;
}

static Json *parse_value(Parser *ps)
{
    skip_blanks(ps);
    if (ps->p == ps->end) {
        fail_unexpected(ps, "a value");
        return NULL;
    }
    switch (*ps->p) {
    case '{':
    case '[': return parse_container(ps);
    case '"':
    case '\'': {
        char *text = parse_string(ps);
        Json *json = text ? json_new_string("") : NULL;
        if (json) {
            g_free(json->string);
            json->string = text;
        }
        return json;
    }
    case 't': return parse_word(ps, "true") ? json_new_bool(true) : NULL;
    case 'f': return parse_word(ps, "false") ? json_new_bool(false) : NULL;
    case 'n': return parse_word(ps, "null") ? json_new_null() : NULL;
    case '-':
    case '0' ... '9': return parse_number(ps);
    default: fail_unexpected(ps, "a value"); return NULL;
    }
}

Json *json_parse(const char *text, size_t len, Error *err)
{
    Parser ps             = { .start = text, .p = text, .end = text + len, .err = err };
    g_autoptr(Json) value = parse_value(&ps);
    if (!value) {
        return NULL;
    }
    skip_blanks(&ps);
    if (ps.p < ps.end) {
        fail_unexpected(&ps, "the end of the text");
        return NULL;
    }
    return g_steal_pointer(&value);
}
