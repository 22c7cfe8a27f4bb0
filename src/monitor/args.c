/* Arguments of commands of the human monitor. See args.h. */

#include "monitor/args.h"

#include "base/text.h"

#include <ctype.h>
#include <string.h>

enum { COUNT_MAX = 1 << 20 };

static const char *skip_blanks(const char *p)
{
    while (isspace((unsigned char)*p)) {
        p++;
    }
    return p;
}

/* --- words --- */

/* Takes a word off *text. NULL: there is none, or it is not well formed, then with an error. */
static char *take_word(const char **text, Error *err)
{
    const char *p = skip_blanks(*text);
    GString    *s = g_string_new(NULL);
    if (*p != '"') {
        while (*p && !isspace((unsigned char)*p)) {
            g_string_append_c(s, *p++);
        }
        *text = p;
        return g_string_free(s, s->len == 0);
    }
    for (p++; *p != '"'; p++) {
        if (!*p) {
            error_set(err, "unterminated string");
            return g_string_free(s, TRUE);
        }
        if (*p != '\\') {
            g_string_append_c(s, *p);
            continue;
        }
        switch (*++p) {
        case 'n': g_string_append_c(s, '\n'); break;
        case 'r': g_string_append_c(s, '\r'); break;
        case '\\':
        case '\'':
        case '"': g_string_append_c(s, *p); break;
        default: error_set(err, "unsupported escape sequence in a string"); return g_string_free(s, TRUE);
        }
    }
    *text = p + 1;
    return g_string_free(s, FALSE);
}

/* --- one argument --- */

static bool parse_string(const char **text, const HmpArg *arg, HmpValue *v, const HmpParse *parse, Error *err)
{
    v->text  = take_word(text, err);
    v->given = v->text != NULL;
    if (error_is_set(err)) {
        return error_prefix(err, "%s: ", parse->command);
    }
    return v->given || arg->optional ||
           error_set(err, "%s: %s expected", parse->command, arg->kind == HMP_FILE ? "filename" : "string");
}

static bool parse_int(const char **text, const HmpArg *arg, HmpValue *v, const HmpParse *parse, Error *err)
{
    if (!expr_parse(text, parse->get_register, parse->opaque, &v->number, err)) {
        return false;
    }
    if (arg->kind == HMP_INT32 && v->number != (int32_t)v->number && v->number != (uint32_t)v->number) {
        return error_set(err, "%s: '%s' has 32 bits", parse->command, arg->name);
    }
    v->given = true;
    return true;
}

static bool parse_size(const char **text, const HmpArg *arg, HmpValue *v, const HmpParse *parse, Error *err)
{
    uint64_t         bytes;
    g_autofree char *word = take_word(text, err);
    if (!word) {
        return error_is_set(err) ? error_prefix(err, "%s: ", parse->command)
                                 : error_set(err, "%s: size expected", parse->command);
    }
    if (!text_parse_size(word, MiB, &bytes, err)) {
        return error_prefix(err, "%s: ", parse->command);
    }
    if (bytes > INT64_MAX) {
        return error_set(err, "%s: the size is too large", parse->command);
    }
    v->number = (int64_t)bytes;
    v->given  = true;
    return true;
}

static bool parse_on_off(const char **text, HmpValue *v, const HmpParse *parse, Error *err)
{
    g_autofree char *word = take_word(text, err);
    v->given              = word && (!strcmp(word, "on") || !strcmp(word, "off"));
    v->number             = v->given && !strcmp(word, "on");
    if (error_is_set(err)) {
        return error_prefix(err, "%s: ", parse->command);
    }
    return v->given || error_set(err, "Expected 'on' or 'off'");
}

static bool parse_format(const char **text, HmpArgs *args, const HmpParse *parse, Error *err)
{
    HmpFormat   f = { .count = 1 };
    const char *p = skip_blanks(*text);
    if (*p == '/') {
        p++;
        if (isdigit((unsigned char)*p)) {
            char    *end;
            uint64_t n = strtoull(p, &end, 10);
            if (n > COUNT_MAX) {
                return error_set(err, "at most %d items at a time", COUNT_MAX);
            }
            f.count = (unsigned)n;
            p       = end;
        }
        for (; *p && !isspace((unsigned char)*p); p++) {
            switch (*p) {
            case 'o':
            case 'd':
            case 'u':
            case 'x':
            case 'i':
            case 'c': f.format = *p; break;
            case 'b': f.size = 1; break;
            case 'h': f.size = 2; break;
            case 'w': f.size = 4; break;
            case 'g':
            case 'L': f.size = 8; break;
            default: return error_set(err, "invalid char in format: '%c'", isprint((unsigned char)*p) ? *p : '?');
            }
        }
        *text = p;
    }
    f.size       = f.size ? f.size : f.format == 'c' ? 1 : parse->last.size;
    f.format     = f.format ? f.format : parse->last.format;
    args->format = f;
    return true;
}

/* The flags of table[first] on, as many as stand together. */
static bool parse_flags(const char **text, const HmpArg *table, unsigned first, HmpArgs *args, const HmpParse *parse,
                        Error *err)
{
    for (;;) {
        const char *p = skip_blanks(*text);
        if (*p != '-' || isdigit((unsigned char)p[1])) {
            *text = p;
            return true;
        }
        p++;
        if (!isalpha((unsigned char)*p)) {
            return error_set(err, "%s: an option is missing after '-'", parse->command);
        }
        for (; *p && !isspace((unsigned char)*p); p++) {
            unsigned i = first;
            while ((table[i].kind == HMP_FLAG || table[i].kind == HMP_VALUE) && table[i].letter != *p) {
                i++;
            }
            if (table[i].kind != HMP_FLAG && table[i].kind != HMP_VALUE) {
                return error_set(err, "%s: unsupported option -%c", parse->command,
                                 isprint((unsigned char)*p) ? *p : '?');
            }
            args->values[i].given = true;
            if (table[i].kind == HMP_VALUE) {
                p++;
                g_free(args->values[i].text);
                args->values[i].text = take_word(&p, err);
                if (!args->values[i].text) {
                    return error_is_set(err) ? false
                                             : error_set(err, "%s: -%c needs a value", parse->command, table[i].letter);
                }
                break;
            }
        }
        *text = p;
    }
}

static bool parse_one(const char **text, const HmpArg *arg, HmpArgs *args, HmpValue *v, const HmpParse *parse,
                      Error *err)
{
    *text = skip_blanks(*text);
    if (!**text && arg->optional) {
        return true;
    }
    switch (arg->kind) {
    case HMP_STRING:
    case HMP_FILE: return parse_string(text, arg, v, parse, err);
    case HMP_REST:
        if (!**text) {
            return error_set(err, "%s: string expected", parse->command);
        }
        v->text  = g_strchomp(g_strdup(*text));
        v->given = true;
        *text += strlen(*text);
        return true;
    case HMP_INT32:
    case HMP_INT64: return parse_int(text, arg, v, parse, err);
    case HMP_SIZE: return parse_size(text, arg, v, parse, err);
    case HMP_ON_OFF: return parse_on_off(text, v, parse, err);
    case HMP_FORMAT: return parse_format(text, args, parse, err);
    case HMP_FLAG:
    case HMP_VALUE:
    case HMP_END: break;
    }
    g_assert_not_reached();
}

bool hmp_args_parse(const HmpParse *parse, const char *text, HmpArgs *args, Error *err)
{
    const HmpArg *table = parse->table;
    for (unsigned i = 0; table[i].kind != HMP_END; i++) {
        if (table[i].kind == HMP_FLAG || table[i].kind == HMP_VALUE) {
            if (!parse_flags(&text, table, i, args, parse, err)) {
                return false;
            }
            while (table[i + 1].kind == HMP_FLAG || table[i + 1].kind == HMP_VALUE) {
                i++;
            }
        } else if (!parse_one(&text, &table[i], args, &args->values[i], parse, err)) {
            return false;
        }
    }
    if (*skip_blanks(text)) {
        return error_set(err, "%s: extraneous characters at the end of line", parse->command);
    }
    return true;
}

void hmp_args_clear(HmpArgs *args)
{
    for (unsigned i = 0; i < HMP_ARGS_MAX; i++) {
        g_free(args->values[i].text);
    }
    *args = (HmpArgs){ 0 };
}

/* --- completion --- */

const HmpArg *hmp_args_locate(const HmpArg *table, const char *text, size_t *start, GPtrArray *before)
{
    const HmpArg *arg = table;
    const char   *p   = text;
    for (;;) {
        p               = skip_blanks(p);
        const char *end = p;
        while (*end && !isspace((unsigned char)*end)) {
            end++;
        }
        bool flag = *p == '-' && (!p[1] || isalpha((unsigned char)p[1]));
        while (arg->kind == HMP_FORMAT || ((arg->kind == HMP_FLAG || arg->kind == HMP_VALUE) && !flag)) {
            arg++;
        }
        if (!*end) {
            *start = (size_t)(p - text);
            return arg->kind == HMP_END || arg->kind == HMP_FLAG || arg->kind == HMP_VALUE ? NULL : arg;
        }
        if (arg->kind == HMP_END) {
            return NULL;
        }
        if (arg->kind == HMP_REST) {
            *start = (size_t)(p - text);
            return arg;
        }
        if (arg->kind != HMP_FLAG && arg->kind != HMP_VALUE) {
            arg++;
        }
        g_ptr_array_add(before, g_strndup(p, (gsize)(end - p)));
        p = end;
    }
}
