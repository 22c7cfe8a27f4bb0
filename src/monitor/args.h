/* Arguments of commands of the human monitor: from the text behind a command's name to values, by a table. */

#ifndef QUERN_MONITOR_ARGS_H
#define QUERN_MONITOR_ARGS_H

#include "monitor/expr.h"

typedef enum HmpKind {
    HMP_END,    /* closes a table */
    HMP_STRING, /* a word, or text in double quotes with C's escapes */
    HMP_FILE,   /* the same, the name of a file */
    HMP_REST,   /* all that is left of the line */
    HMP_INT32,  /* expressions */
    HMP_INT64,
    HMP_SIZE,   /* a plain number is in MiB; suffixes */
    HMP_ON_OFF, /* on or off */
    HMP_FLAG,   /* -x; flags that stand together in the table may come in any order */
    HMP_VALUE,  /* -x TEXT */
    HMP_FORMAT, /* /COUNT FORMAT SIZE, as gdb has it; not given: what was last used */
} HmpKind;

/* Where words for completion come from. */
typedef enum HmpWords {
    HMP_WORDS_NONE,
    HMP_WORDS_CHOICES, /* HmpArg.choices */
    HMP_WORDS_COMMANDS,
    HMP_WORDS_INFO,
    HMP_WORDS_DEVICE_TYPES,
    HMP_WORDS_DEVICE_IDS,
    HMP_WORDS_OBJECT_TYPES,
    HMP_WORDS_OBJECT_IDS,
    HMP_WORDS_CHARDEV_TYPES,
    HMP_WORDS_CHARDEV_IDS,
    HMP_WORDS_RINGBUF_IDS,
    HMP_WORDS_PATHS,      /* in the object tree */
    HMP_WORDS_PROPERTIES, /* of the path before it */
    HMP_WORDS_KEYS,       /* joined by '-' */
    HMP_WORDS_LOG_ITEMS,  /* joined by ',' */
    HMP_WORDS_CPUS,
} HmpWords;

enum { HMP_ARGS_MAX = 12 };

typedef struct HmpArg {
    const char        *name;
    HmpKind            kind;
    bool               optional;
    char               letter; /* of HMP_FLAG and HMP_VALUE */
    HmpWords           words;
    const char *const *choices; /* NULL-terminated */
} HmpArg;

typedef struct HmpValue {
    bool    given;
    char   *text;
    int64_t number;
} HmpValue;

/* x/8xb: count 8, format 'x', size 1. */
typedef struct HmpFormat {
    unsigned count;
    char     format;
    unsigned size;
} HmpFormat;

typedef struct HmpArgs {
    HmpValue  values[HMP_ARGS_MAX]; /* in the order of the table */
    HmpFormat format;               /* of HMP_FORMAT */
} HmpArgs;

typedef struct HmpParse {
    const char   *command; /* for messages */
    const HmpArg *table;   /* ends with HMP_END */
    HmpFormat     last;    /* what a format that says less than all takes over; its count is 1 */
    ExprRegister *get_register;
    void         *opaque;
} HmpParse;

/* Parses the whole of `text`. All zeros in *args to begin with; to be cleared in any case. */
bool hmp_args_parse(const HmpParse *parse, const char *text, HmpArgs *args, Error *err);
void hmp_args_clear(HmpArgs *args);

/* For completion: which argument the end of `text` is in, and where in `text` it begins. `before` gets the words
 * (char *) that come before it. NULL: none that could be completed. */
const HmpArg *hmp_args_locate(const HmpArg *table, const char *text, size_t *start, GPtrArray *before);

#endif
