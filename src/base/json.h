/* JSON values (RFC 8259, and strings in single quotes): parse with located errors, build, look up, print.
 *
 * A Json is a tree: a value owns its members, and json_free() on the root frees everything. Members keep their
 * order. Integers stay exact: int64 and uint64 are kept apart from doubles. Not thread-safe; pass ownership. */

#ifndef QUERN_BASE_JSON_H
#define QUERN_BASE_JSON_H

#include "base/error.h"

#include <stdint.h>

typedef enum JsonKind {
    JSON_NULL,
    JSON_BOOL,
    JSON_INT,
    JSON_UINT,
    JSON_DOUBLE,
    JSON_STRING,
    JSON_LIST,
    JSON_OBJECT
} JsonKind;

typedef struct Json Json;
struct Json {
    JsonKind kind;   /* JSON_UINT only for values above INT64_MAX */
    bool     repeat; /* a list that came from one option key given several times, see optstr.h */
    union {
        bool     boolean;
        int64_t  integer;
        uint64_t uinteger;
        double   number;
        char    *string; /* UTF-8, no NUL inside */
        struct {
            size_t n;
            Json **items; /* elements of a list, member values of an object */
            char **keys;  /* member names of an object */
        };
    };
};

/* Parses one value that fills `text` (white space around it apart). NULL on error: "line 1, column 7: ...".
 * Nesting is limited to 1024 levels. Duplicate member names are an error. */
Json *json_parse(const char *text, size_t len, Error *err);

Json *json_new_null(void);
Json *json_new_bool(bool value);
Json *json_new_int(int64_t value);
Json *json_new_uint(uint64_t value);
Json *json_new_double(double value);
Json *json_new_string(const char *value);                           /* copies */
Json *json_new_format(const char *format, ...) G_GNUC_PRINTF(1, 2); /* a string */
Json *json_new_list(void);
Json *json_new_object(void);

Json *json_copy(const Json *value);
void  json_free(Json *value); /* NULL is fine */

/* Take ownership of `value`. json_set replaces a member of that name and returns its (new) value. */
void  json_append(Json *list, Json *value);
Json *json_set(Json *object, const char *key, Json *value);
Json *json_add(Json *object, const char *key, Json *value); /* the caller knows that there is none of that name */

/* The member, or NULL; also NULL when `object` is no object. */
Json       *json_get(const Json *object, const char *key);
const char *json_get_string(const Json *object, const char *key); /* NULL when absent or no string */
bool        json_remove(Json *object, const char *key);
Json       *json_take(Json *object, const char *key); /* removes it and gives it to the caller; NULL when absent */

/* The same value? Members of objects may differ in order; 1 and 1.0 are different. */
bool json_equal(const Json *a, const Json *b);

/* On one line, or indented by four blanks. Non-ASCII is written as it is. The caller frees. */
char *json_print(const Json *value, bool pretty);
void  json_print_to(GString *out, const Json *value, bool pretty);

/* "an object", "a string" ...: for error messages. */
const char *json_kind_name(JsonKind kind);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Json, json_free)

#endif
