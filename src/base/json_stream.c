/* Cuts a stream of bytes into JSON values.
 * Specification: RFC 8259 for what values are made of; strings in single quotes are taken too. */

#include "base/json_stream.h"

#include <string.h>

enum { NESTING_MAX = 1024, KEEP_BYTES = 64 * 1024 };

typedef enum State {
    BETWEEN, /* values, or inside an object or list between tokens */
    WORD,    /* in a number or keyword at the top level, which ends where something else begins */
    STRING,
    ESCAPE,   /* after a backslash in a string */
    RECOVERY, /* after an error */
} State;

struct JsonStream {
    State    state;
    char     quote;
    bool     complete; /* the text is the value handed out last */
    unsigned depth;
    size_t   limit;
    GString *text;
};

JsonStream *json_stream_new(size_t limit)
{
    JsonStream *s = g_new0(JsonStream, 1);
    s->limit      = limit;
    s->text       = g_string_new(NULL);
    return s;
}

void json_stream_free(JsonStream *s)
{
    if (s) {
        g_string_free(s->text, true);
        g_free(s);
    }
}

/* Begins a new value. A large one's memory is not kept. */
static void forget(JsonStream *s)
{
    if (s->text->allocated_len > KEEP_BYTES) {
        g_string_free(s->text, true);
        s->text = g_string_new(NULL);
    } else {
        g_string_truncate(s->text, 0);
    }
    s->complete = false;
    s->depth    = 0;
    s->state    = BETWEEN;
}

void json_stream_reset(JsonStream *s)
{
    forget(s);
}

const char *json_stream_text(const JsonStream *s, size_t *len)
{
    *len = s->text->len;
    return s->text->str;
}

static bool is_space(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_structural(uint8_t c)
{
    return c && strchr("{}[],:", c);
}

static bool is_word(uint8_t c)
{
    return g_ascii_isalnum(c) || c == '-' || c == '+' || c == '.' || c == '_';
}

static JsonStreamResult fail_stray(JsonStream *s, uint8_t c, Error *err)
{
    const char *where = s->state == STRING || s->state == ESCAPE ? " in a string" : "";
    forget(s);
    s->state = c == '\n' ? BETWEEN : RECOVERY;
    if (c > 0x20 && c < 0x7f) {
        error_set(err, "JSON parse error, stray '%c'%s", c, where);
    } else {
        error_set(err, "JSON parse error, stray byte 0x%02x%s", c, where);
    }
    return JSON_STREAM_ERROR;
}

static JsonStreamResult complete(JsonStream *s)
{
    s->complete = true;
    return JSON_STREAM_VALUE;
}

/* One byte between tokens. */
static JsonStreamResult take_between(JsonStream *s, uint8_t c, Error *err)
{
    if (is_space(c)) {
        if (s->depth) {
            g_string_append_c(s->text, (char)c);
        }
        return JSON_STREAM_MORE;
    }
    if (c == '"' || c == '\'') {
        s->state = STRING;
        s->quote = (char)c;
    } else if (c == '{' || c == '[') {
        if (++s->depth > NESTING_MAX) {
            forget(s);
            s->state = RECOVERY;
            error_set(err, "JSON parse error, nested deeper than %d levels", NESTING_MAX);
            return JSON_STREAM_ERROR;
        }
    } else if (c == '}' || c == ']') {
        g_string_append_c(s->text, (char)c);
        /* One too many is a value of its own, which json_parse() then finds to be none. */
        return s->depth <= 1 ? complete(s) : (s->depth--, JSON_STREAM_MORE);
    } else if (is_word(c)) {
        s->state = s->depth ? BETWEEN : WORD;
    } else if (!is_structural(c)) {
        return fail_stray(s, c, err);
    } else if (!s->depth) {
        g_string_append_c(s->text, (char)c);
        return complete(s);
    }
    g_string_append_c(s->text, (char)c);
    return JSON_STREAM_MORE;
}

static JsonStreamResult take_in_string(JsonStream *s, uint8_t c, Error *err)
{
    if (c < 0x20 || c == 0xff) {
        return fail_stray(s, c, err);
    }
    g_string_append_c(s->text, (char)c);
    if (s->state == ESCAPE) {
        s->state = STRING;
    } else if (c == '\\') {
        s->state = ESCAPE;
    } else if (c == (uint8_t)s->quote) {
        s->state = BETWEEN;
        return s->depth ? JSON_STREAM_MORE : complete(s);
    }
    return JSON_STREAM_MORE;
}

JsonStreamResult json_stream_feed(JsonStream *s, const uint8_t *buf, size_t len, size_t *used, Error *err)
{
    if (s->complete) {
        forget(s);
    }
    for (size_t i = 0; i < len; i++) {
        uint8_t          c      = buf[i];
        JsonStreamResult result = JSON_STREAM_MORE;
        *used                   = i + 1;
        switch (s->state) {
        case BETWEEN: result = take_between(s, c, err); break;
        case STRING:
        case ESCAPE: result = take_in_string(s, c, err); break;
        case WORD:
            if (!is_word(c)) {
                *used = i; /* it belongs to what comes next */
                return complete(s);
            }
            g_string_append_c(s->text, (char)c);
            break;
        case RECOVERY:
            if (is_structural(c)) {
                s->state = BETWEEN;
                result   = take_between(s, c, err);
            } else if (c == '\n') {
                s->state = BETWEEN;
            } else if (c == 0xff || (c < 0x20 && !is_space(c))) {
                result = fail_stray(s, c, err); /* a client that looks for a known state gets an answer to each */
            }
            break;
        }
        if (result == JSON_STREAM_MORE && s->text->len > s->limit) {
            forget(s);
            s->state = RECOVERY;
            error_set(err, "JSON parse error, longer than %zu bytes", s->limit);
            result = JSON_STREAM_ERROR;
        }
        if (result != JSON_STREAM_MORE) {
            return result;
        }
    }
    *used = len;
    return JSON_STREAM_MORE;
}
