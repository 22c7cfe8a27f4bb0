/* Fields: one table beside a struct describes it to everybody.
 *
 *     typedef struct Rtc { ...; int drift; char *base; } Rtc;
 *     static const Field rtc_properties[] = {
 *         FIELD(Rtc, drift, "lost_tick_policy", .names = drift_names, .initial = RTC_DISCARD, .help = "..."),
 *         FIELD(Rtc, base, "base", .text = "utc", .help = "..."),
 *         {}
 *     };
 *
 * Walking the table parses options and JSON into the struct with located errors, prints it back, answers "help",
 * property lists, did-you-mean and introspection, and saves and loads device state (desc/state.h).
 *
 * The type comes from the member: bool, the integer types, double, char * (owned by the struct), fixed arrays of
 * integers or structs (state only), Json * (any value, owned). With `.names` an int or enum is an enumeration, with
 * `.sub` a struct is nested ("cache.direct" in text), with `.size_unit` an unsigned integer is a size in bytes that
 * text may give with a suffix, with `.custom` the type has its own rules. A GPtrArray * is a list: of strings
 * (.element of kind FIELD_STRING) or Json, then its pointers are the elements; of other scalars or of structs (.sub),
 * then they point to elements of .element_size bytes each. FIELDS_OF takes the table of an embedded struct in, as
 * every PCI device does with those of its PciDevice.
 *
 * Everything here works on plain structs and takes no lock. A NULL table is an empty one. */

#ifndef QUERN_DESC_FIELD_H
#define QUERN_DESC_FIELD_H

#include "base/json.h"

#include <stddef.h>
#include <stdint.h>

typedef enum FieldKind {
    FIELD_END, /* closes a table */
    FIELD_BOOL,
    FIELD_U8,
    FIELD_U16,
    FIELD_U32,
    FIELD_U64,
    FIELD_I8,
    FIELD_I16,
    FIELD_I32,
    FIELD_I64,
    FIELD_DOUBLE,
    FIELD_STRING, /* char *, owned; NULL when absent */
    FIELD_JSON,   /* Json *, owned: any value */
    FIELD_STRUCT, /* nested, described by .sub */
    FIELD_LIST,   /* GPtrArray * of elements described by .element, owned; NULL when absent */
    FIELD_BYTES,  /* uint8_t [size]: state only */
    FIELD_FLAT,   /* the fields of .sub stand in this table themselves, see FIELDS_OF */
    FIELD_CUSTOM, /* for entries that FIELD does not write: .custom does it all */
} FieldKind;

typedef enum OnOffAuto { ON_OFF_AUTO_AUTO, ON_OFF_AUTO_ON, ON_OFF_AUTO_OFF } OnOffAuto;
extern const char *const on_off_auto_names[]; /* "auto", "on", "off", NULL */

typedef struct Field Field;

/* A type with rules of its own: an address, a reference to an object, a MAC address. */
typedef struct FieldCustom {
    const char *type_name; /* as help and introspection show it: "str", "link<netdev>" ... */
    /* Replaces the member's value. The error says what is wrong with it ("'x' is not a MAC address"). The value is
     * as it was given: text where options are text, so take both "7" and 7. Defaults and saved state come this way
     * too: .text as a string, and what print gave (null for NULL). */
    bool (*parse)(const Field *field, void *member, const Json *value, Error *err);
    Json *(*print)(const Field *field, const void *member); /* NULL: absent */
    void (*clear)(const Field *field, void *member);        /* NULL: nothing owned */
} FieldCustom;

struct Field {
    const char *name;
    FieldKind   kind;
    uint32_t    offset;
    uint32_t    size;  /* of the member, or of one element of an array */
    uint32_t    count; /* elements of a fixed array; 1 otherwise */
    const char *help;

    const char *const *names;   /* enumeration, NULL-terminated; values are indices; "" where there is none */
    const Field       *sub;     /* FIELD_STRUCT, FIELD_FLAT, and lists of structs */
    const Field       *element; /* FIELD_LIST: how one element is described (offset 0), or sub for structs */
    uint32_t           element_size;
    const FieldCustom *custom; /* overrides kind */
    const char        *alias;  /* other spelling that is accepted ("reconnect" ...), not shown in help */

    int64_t     initial; /* default of booleans, integers, enumerations */
    const char *text;    /* default of strings; for others a default written as text */
    int64_t     min;     /* integers: used when min < max */
    uint64_t    max;
    uint64_t    size_unit; /* nonzero: a size; a plain number in text counts this many bytes */
    bool        required;
    bool        power_of_two;
    bool        live;        /* objects: may be set after completion */
    bool        read_only;   /* shown and saved, cannot be set from outside */
    bool        unsupported; /* known to the surface, not built yet: setting it to anything but its default says so */
    bool        write_only;  /* passwords: never printed */
    uint32_t    has_offset;  /* 1 + offset of a bool that says whether the field was given; 0: none */

    /* Saved state only. */
    uint32_t since;                            /* version of the section that has it; 0 = always */
    bool (*needed)(const void *owner);         /* leave the field out when false */
    bool (*validate)(void *owner, Error *err); /* after all fields were loaded */
};

/* uint8_t * is what an array of bytes decays to; a true pointer is none of ours and does not compile (1 / 0). */
#define FIELD_KIND(lvalue)                                                                                             \
    _Generic((lvalue), bool: FIELD_BOOL, uint8_t: FIELD_U8, uint16_t: FIELD_U16, uint32_t: FIELD_U32,                  \
             uint64_t: FIELD_U64, unsigned long long: FIELD_U64, int8_t: FIELD_I8, int16_t: FIELD_I16,                 \
             int32_t: FIELD_I32, int64_t: FIELD_I64, long long: FIELD_I64, double: FIELD_DOUBLE,                       \
             char *: FIELD_STRING, Json *: FIELD_JSON, GPtrArray *: FIELD_LIST,                                        \
             uint8_t *: FIELD_BYTES / !__builtin_types_compatible_p(__typeof__(lvalue), uint8_t *),                    \
             default: FIELD_STRUCT)

/* A member described by its C type. Enum types are unsigned int to _Generic. */
#define FIELD(Type, member, field_name, ...)                                                                           \
    {                                                                                                                  \
        .name = field_name, .kind = FIELD_KIND(((Type *)0)->member), .offset = offsetof(Type, member),                 \
        .size = sizeof(((Type *)0)->member), .count = 1, __VA_ARGS__                                                   \
    }

/* The fields of an embedded struct, as if they stood in this table. */
#define FIELDS_OF(Type, member, table)                                                                                 \
    {                                                                                                                  \
        .name = "", .kind = FIELD_FLAT, .offset = offsetof(Type, member), .size = sizeof(((Type *)0)->member),         \
        .count = 1, .sub = (table)                                                                                     \
    }

/* A fixed array of integers or structs, for state tables. */
#define FIELD_ARRAY(Type, member, field_name, ...)                                                                     \
    {                                                                                                                  \
        .name = field_name, .kind = FIELD_KIND(((Type *)0)->member[0]), .offset = offsetof(Type, member),              \
        .size = sizeof(((Type *)0)->member[0]), .count = sizeof(((Type *)0)->member) / sizeof(((Type *)0)->member[0]), \
        __VA_ARGS__                                                                                                    \
    }

/* Sets every member to its default. The struct's memory holds nothing owned yet. */
void fields_init(const Field *table, void *object);

/* Frees what the members own. */
void fields_clear(const Field *table, void *object);

/* Sets members from a Json object, in its order. `lenient`: strings, as optstr_parse() makes them, become numbers,
 * booleans and sizes by the field's type; of a repeated option a list takes all, others the last. Unknown members,
 * wrong types, values out of range, missing required ones: false, with an error like
 * "no property 'netdve' (did you mean 'netdev'?)"; what was set before stays set. A name with dots may be a field's
 * own ("cache.direct") or lead into nested structs. `skip` (NULL-terminated, may be NULL) are names that the caller
 * deals with. */
bool fields_parse(const Field *table, void *object, const Json *json, bool lenient, const char *const *skip,
                  Error *err);

/* One member by name; dotted names reach into nested structs. */
bool  fields_set(const Field *table, void *object, const char *name, const Json *value, bool lenient, Error *err);
Json *fields_get(const Field *table, const void *object, const char *name, Error *err);

/* All members as a Json object. Absent strings and lists are left out. The caller frees. */
Json *fields_print(const Field *table, const void *object);

/* The description of a member by its name or alias, also inside FIELDS_OF; NULL when there is none. Do not use its
 * offset: it counts from the embedded struct. */
const Field *fields_find(const Field *table, const char *name);

/* The type as help shows it: "bool", "uint32", "str", "size", "list<str>", "on/off/auto". In `buffer` if it has to be
 * made. */
const char *field_type_name(const Field *field, char *buffer, size_t size);

/* "  name=<type>            - help (default: x)" lines, sorted by name. */
void fields_print_help(const Field *table, GString *out);

/* Adds every name of the table to a did-you-mean search. */
struct NameMatch;
void fields_match_names(const Field *table, struct NameMatch *match);

/* [{"name","type","description","default-value"}] as device-list-properties answers: what can be set. */
Json *fields_describe(const Field *table);

/* For tests: is the table of a struct of `size` bytes well made (names, offsets, defaults ...)? `state`: it is one of
 * saved state. */
bool fields_check(const Field *table, size_t size, bool state, Error *err);

#endif
