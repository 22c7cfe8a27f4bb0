/* The tables behind QMP: commands and events. Each file of commands has a table, which the linker collects:
 *
 *     MONITOR_COMMANDS(run) = {
 *         { .name = "stop", .flags = COMMAND_..., .help = "pauses the vCPUs", .run = stop },
 *         { .name = "query-status", .result = &QMP_OBJECT("", status_info), .run = query_status },
 *         {},
 *     };
 *
 * Arguments are a struct with a Field table; the result is JSON, described by a Field, of which only name, kind, names,
 * sub, element and required count. query-qmp-schema is made from both, and the tests hold every answer against it. */

#ifndef QUERN_MONITOR_COMMAND_H
#define QUERN_MONITOR_COMMAND_H

#include "monitor/monitor.h"

enum {
    COMMAND_PRECONFIG      = 1,     /* also before the machine is made */
    COMMAND_ONLY_PRECONFIG = 2 | 1, /* only then */
    COMMAND_OOB            = 4,     /* exec-oob takes it */
    COMMAND_DEPRECATED     = 8,     /* as QEMU 9.1 has it */
    COMMAND_UNSTABLE       = 16,
    COMMAND_FREE_ARGUMENTS = 32, /* takes more arguments than its table says */
};

typedef struct MonitorCommand {
    const char        *name;
    const char        *help;
    const Field       *args;      /* NULL: none */
    size_t             args_size; /* of the struct; 0: run gets the Json object of arguments (never NULL) instead */
    const Field       *result;    /* NULL: an empty object */
    unsigned           flags;
    const char *const *features;                 /* names in query-qmp-schema, NULL-terminated; may be NULL */
    const struct MemberFeature *member_features; /* of arguments; may be NULL */
    /* Sets *result when there is one. The arguments are freed afterwards. */
    bool (*run)(Monitor *mon, void *args, Json **result, Error *err);
} MonitorCommand;

/* A feature of one argument: {"compat-props", "unstable"}. Ends with an empty one. */
typedef struct MemberFeature {
    const char *member, *feature;
} MemberFeature;

typedef struct MonitorEvent {
    const char  *name;
    const Field *data;    /* NULL: none */
    bool         limited; /* at most one a second; of several the last one is sent */
    const char  *key;     /* limited for each value of this member of its data; NULL: for all */
    unsigned     flags;   /* COMMAND_DEPRECATED, COMMAND_UNSTABLE */
} MonitorEvent;

#define MONITOR_COMMANDS(identifier)                                                                                   \
    static const MonitorCommand        identifier##_commands[];                                                        \
    static const MonitorCommand *const identifier##_commands_entry __attribute__((used, section("quern_commands"))) =  \
        identifier##_commands;                                                                                         \
    static const MonitorCommand identifier##_commands[]

#define MONITOR_EVENTS(identifier)                                                                                     \
    static const MonitorEvent        identifier##_events[];                                                            \
    static const MonitorEvent *const identifier##_events_entry __attribute__((used, section("quern_events"))) =        \
        identifier##_events;                                                                                           \
    static const MonitorEvent identifier##_events[]

/* Members of results and of events' data. Those in brackets of the manual (not always there) are QMP_MAYBE(...). */
#define QMP_STRING(n)                                                                                                  \
    {                                                                                                                  \
        .name = n, .kind = FIELD_STRING, .required = true                                                              \
    }
#define QMP_BOOL(n)                                                                                                    \
    {                                                                                                                  \
        .name = n, .kind = FIELD_BOOL, .required = true                                                                \
    }
#define QMP_INT(n)                                                                                                     \
    {                                                                                                                  \
        .name = n, .kind = FIELD_I64, .required = true                                                                 \
    }
#define QMP_NUMBER(n)                                                                                                  \
    {                                                                                                                  \
        .name = n, .kind = FIELD_DOUBLE, .required = true                                                              \
    }
#define QMP_ANY(n)                                                                                                     \
    {                                                                                                                  \
        .name = n, .kind = FIELD_JSON, .required = true                                                                \
    }
#define QMP_ENUM(n, values)                                                                                            \
    {                                                                                                                  \
        .name = n, .kind = FIELD_U32, .names = values, .required = true                                                \
    }
#define QMP_OBJECT(n, table)                                                                                           \
    {                                                                                                                  \
        .name = n, .kind = FIELD_STRUCT, .sub = table, .required = true                                                \
    }
#define QMP_LIST(n, table)                                                                                             \
    {                                                                                                                  \
        .name = n, .kind = FIELD_LIST, .sub = table, .required = true                                                  \
    }
#define QMP_LIST_OF(n, what)                                                                                           \
    {                                                                                                                  \
        .name = n, .kind = FIELD_LIST, .element = what, .required = true                                               \
    }
#define QMP_MAYBE_STRING(n)                                                                                            \
    {                                                                                                                  \
        .name = n, .kind = FIELD_STRING                                                                                \
    }
#define QMP_MAYBE_BOOL(n)                                                                                              \
    {                                                                                                                  \
        .name = n, .kind = FIELD_BOOL                                                                                  \
    }
#define QMP_MAYBE_INT(n)                                                                                               \
    {                                                                                                                  \
        .name = n, .kind = FIELD_I64                                                                                   \
    }
#define QMP_MAYBE_ANY(n)                                                                                               \
    {                                                                                                                  \
        .name = n, .kind = FIELD_JSON                                                                                  \
    }
#define QMP_MAYBE_ENUM(n, values)                                                                                      \
    {                                                                                                                  \
        .name = n, .kind = FIELD_U32, .names = values                                                                  \
    }
#define QMP_MAYBE_OBJECT(n, table)                                                                                     \
    {                                                                                                                  \
        .name = n, .kind = FIELD_STRUCT, .sub = table                                                                  \
    }
#define QMP_MAYBE_LIST(n, table)                                                                                       \
    {                                                                                                                  \
        .name = n, .kind = FIELD_LIST, .sub = table                                                                    \
    }
#define QMP_MAYBE_LIST_OF(n, what)                                                                                     \
    {                                                                                                                  \
        .name = n, .kind = FIELD_LIST, .element = what                                                                 \
    }

extern const Field qmp_string; /* elements of lists */
extern const Field qmp_int;

/* A value whose members depend on one of them: struct and Field as for any other custom field, with .custom pointing
 * to a QmpUnion's `custom`. The member is a Json *, checked by the command itself. */
typedef struct QmpVariant {
    const char  *name;
    const Field *table; /* NULL: nothing more */
} QmpVariant;

typedef struct QmpUnion {
    FieldCustom       custom; /* first; .parse = qmp_union_parse and so on: QMP_UNION_CUSTOM */
    const Field      *base;   /* has the tag */
    const char       *tag;
    const QmpVariant *variants; /* end with an empty one; NULL: */
    void (*each)(void (*add)(void *opaque, const char *name, const Field *table), void *opaque);
} QmpUnion;

bool  qmp_union_parse(const Field *field, void *member, const Json *value, Error *err);
Json *qmp_union_print(const Field *field, const void *member);
void  qmp_union_clear(const Field *field, void *member);
#define QMP_UNION_CUSTOM                                                                                               \
    {                                                                                                                  \
        .type_name = "object", .parse = qmp_union_parse, .print = qmp_union_print, .clear = qmp_union_clear            \
    }

const MonitorCommand *monitor_command_find(const char *name);
void                monitor_commands_foreach(void (*visit)(const MonitorCommand *command, void *opaque), void *opaque);
const MonitorEvent *monitor_event_find(const char *name);
void                monitor_events_foreach(void (*visit)(const MonitorEvent *event, void *opaque), void *opaque);

/* Checks the arguments (NULL: none), runs the command; *result may stay NULL. */
bool monitor_command_run(Monitor *mon, const MonitorCommand *command, const Json *arguments, Json **result, Error *err);

#endif
