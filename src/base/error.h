/* Errors as values.
 *
 * A function that can fail for a reason the user should read takes an `Error *err` as its last parameter,
 * returns false (or NULL) and fills it in. The caller owns the Error, which starts as all zeros:
 *
 *     g_auto(Error) err = {0};
 *     if (!thing_open(path, &err)) { error_report(&err); ... }
 *
 * `err` is never NULL. An Error is set at most once; text is added in front of it on the way up. */

#ifndef QUERN_BASE_ERROR_H
#define QUERN_BASE_ERROR_H

#include <glib.h>
#include <stdarg.h>
#include <stdbool.h>

/* QMP's error classes. All but ERROR_GENERIC exist for management tools that tell them apart. */
typedef enum ErrorClass {
    ERROR_GENERIC,
    ERROR_COMMAND_NOT_FOUND,
    ERROR_DEVICE_NOT_ACTIVE,
    ERROR_DEVICE_NOT_FOUND,
    ERROR_KVM_MISSING_CAP,
} ErrorClass;

typedef struct Error {
    char      *text; /* one line, no full stop, control characters shown as '?'; NULL while there is no error */
    ErrorClass kind;
} Error;

/* Sets the error. Returns false, so that `return error_set(err, ...)` reads well. */
bool error_set(Error *err, const char *format, ...) G_GNUC_PRINTF(2, 3);
bool error_set_class(Error *err, ErrorClass kind, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* As error_set, followed by ": " and the description of the errno value `code`. */
bool error_set_errno(Error *err, int code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Sets "WHAT: not supported yet": the answer to what the surface names and Quern does not have yet. */
bool error_set_unsupported(Error *err, const char *what, ...) G_GNUC_PRINTF(2, 3);

/* Puts text in front of an error that is set. Returns false. */
bool error_prefix(Error *err, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* Moves `from` into `to`, which must not be set. `from` is empty afterwards. Returns false. */
bool error_move(Error *to, Error *from);

static inline bool error_is_set(const Error *err)
{
    return err->text != NULL;
}

/* Frees the text and makes the Error empty again. */
void error_clear(Error *err);

/* Prints "PROGRAM: TEXT" to standard error (see message_set_options for -msg) and clears the error. */
void error_report(Error *err);

/* Prints "PROGRAM: warning: TEXT" to standard error. */
void warn_report(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* Prints "PROGRAM: info: TEXT" to standard error. */
void info_report(const char *format, ...) G_GNUC_PRINTF(1, 2);

/* How messages on standard error begin. Process-wide, as standard error is; set once by the command line
 * before any thread exists. `program` and `guest_name` must outlive the process; guest_name may be NULL. */
void message_set_options(const char *program, bool timestamp, const char *guest_name);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Error, error_clear)

/* clang-tidy looks at one file at a time, and has to be told what these return. */
#if defined(__clang_analyzer__) && !defined(QUERN_BASE_ERROR_C)
#define error_set(...)             (error_set(__VA_ARGS__), false)
#define error_set_class(...)       (error_set_class(__VA_ARGS__), false)
#define error_set_errno(...)       (error_set_errno(__VA_ARGS__), false)
#define error_set_unsupported(...) (error_set_unsupported(__VA_ARGS__), false)
#define error_prefix(...)          (error_prefix(__VA_ARGS__), false)
#define error_move(...)            (error_move(__VA_ARGS__), false)
#endif

#endif
