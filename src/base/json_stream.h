/* Cuts a stream of bytes into JSON values, as QMP's input comes: values follow each other with or without white space
 * between, and come in pieces. Only where a value ends is decided here; json_parse() then looks at it.
 *
 * What cannot be part of any value (a control character, a byte outside of strings that JSON does not know, a line
 * that ends inside a string) is an error: what was collected is dropped, and the next value begins after the next
 * structural character or line end. So a client that sends such a byte finds the stream in a known state.
 * Not thread-safe. */

#ifndef QUERN_BASE_JSON_STREAM_H
#define QUERN_BASE_JSON_STREAM_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct JsonStream JsonStream;

typedef enum JsonStreamResult {
    JSON_STREAM_MORE,  /* everything was taken, no value is complete */
    JSON_STREAM_VALUE, /* json_stream_text() is one value, or what looks like one */
    JSON_STREAM_ERROR, /* `err` says what is wrong */
} JsonStreamResult;

/* Values longer than `limit` bytes are errors, and so are those nested deeper than 1024 levels. */
JsonStream *json_stream_new(size_t limit);
void        json_stream_free(JsonStream *s); /* NULL is fine */
void        json_stream_reset(JsonStream *s);

/* Takes bytes from the front of buf until something is complete; *used is how many. Call it again with the rest. */
JsonStreamResult json_stream_feed(JsonStream *s, const uint8_t *buf, size_t len, size_t *used, Error *err);

/* The value found last, until the next call of json_stream_feed(). NUL-terminated. */
const char *json_stream_text(const JsonStream *s, size_t *len);

#endif
