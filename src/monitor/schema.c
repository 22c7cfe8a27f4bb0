/* query-qmp-schema: the tables of commands and events, as QEMU's introspection describes a schema.
 * Specification: QEMU 9.1 QMP reference, "QMP introspection".
 *
 * Types have no names that clients may rely on: numbers, given out as types are met. The same table is the same type.
 */

#include "monitor/command.h"

#include <string.h>

typedef struct Schema {
    Json               *list;
    GHashTable         *names; /* a type's key (table, names, union) -> its name */
    GQueue              todo;  /* Type *, described when the one before is done */
    unsigned            count;
    const CompatPolicy *policy;
} Schema;

typedef struct Type {
    const char          *name; /* borrowed from `names` */
    const Field         *table;
    const QmpUnion      *variants;
    const MemberFeature *features;
} Type;

static const char *type_of(Schema *s, const Field *field);

static Json *add_entry(Schema *s, const char *name, const char *meta_type)
{
    Json *entry = json_new_object();
    json_add(entry, "name", json_new_string(name));
    json_add(entry, "meta-type", json_new_string(meta_type));
    json_append(s->list, entry);
    return entry;
}

/* Finds or makes the name of the type known by `key`; *is_new says which. */
static const char *name_for(Schema *s, const void *key, bool *is_new)
{
    const char *name = g_hash_table_lookup(s->names, key);
    *is_new          = !name;
    if (!name) {
        char *made = g_strdup_printf("%u", s->count++);
        g_hash_table_insert(s->names, (void *)key, made);
        name = made;
    }
    return name;
}

/* --- types --- */

static const char *builtin_type(Schema *s, const char *name, const char *json_type)
{
    const char *key = g_intern_string(name);
    if (!g_hash_table_contains(s->names, key)) {
        g_hash_table_insert(s->names, (void *)key, g_strdup(name));
        json_add(add_entry(s, name, "builtin"), "json-type", json_new_string(json_type));
    }
    return g_hash_table_lookup(s->names, key);
}

static const char *enum_type(Schema *s, const char *const *names)
{
    bool        is_new;
    const char *name = name_for(s, names, &is_new);
    if (is_new) {
        Json *entry   = add_entry(s, name, "enum");
        Json *members = json_add(entry, "members", json_new_list());
        Json *values  = json_add(entry, "values", json_new_list());
        for (; *names; names++) {
            if (**names) {
                Json *member = json_new_object();
                json_add(member, "name", json_new_string(*names));
                json_append(members, member);
                json_append(values, json_new_string(*names));
            }
        }
    }
    return name;
}

static const char *object_type(Schema *s, const Field *table, const QmpUnion *variants, const MemberFeature *features)
{
    static const Field none[] = { {} };
    bool               is_new;
    bool               empty = !variants && (!table || table->kind == FIELD_END);
    const char        *name  = name_for(s, variants ? (const void *)variants : empty ? none : table, &is_new);
    if (is_new) {
        Type *type = g_new0(Type, 1);
        *type      = (Type){ .name = name, .table = empty ? none : table, .variants = variants, .features = features };
        g_queue_push_tail(&s->todo, type);
    }
    return name;
}

static const char *array_type(Schema *s, const char *element)
{
    g_autofree char *text = g_strdup_printf("[%s]", element);
    const char      *key  = g_intern_string(text);
    if (!g_hash_table_contains(s->names, key)) {
        g_hash_table_insert(s->names, (void *)key, g_strdup(text));
        json_add(add_entry(s, text, "array"), "element-type", json_new_string(element));
    }
    return g_hash_table_lookup(s->names, key);
}

static const char *custom_type(Schema *s, const Field *field)
{
    if (field->custom->parse == qmp_union_parse) {
        const QmpUnion *u = (const QmpUnion *)field->custom;
        return object_type(s, u->base, u, NULL);
    }
    if (field->kind == FIELD_LIST && field->element) {
        return array_type(s, builtin_type(s, "int", "int")); /* numbers that are also taken as text */
    }
    return builtin_type(s, "str", "string"); /* addresses, references and such */
}

static const char *scalar_type(Schema *s, const Field *field)
{
    switch (field->kind) {
    case FIELD_BOOL: return builtin_type(s, "bool", "boolean");
    case FIELD_DOUBLE: return builtin_type(s, "number", "number");
    case FIELD_STRING: return builtin_type(s, "str", "string");
    case FIELD_JSON: return builtin_type(s, "any", "value");
    default: return builtin_type(s, "int", "int");
    }
}

static const char *type_of(Schema *s, const Field *field)
{
    if (field->custom) {
        return custom_type(s, field);
    }
    if (field->names) {
        return enum_type(s, field->names);
    }
    switch (field->kind) {
    case FIELD_STRUCT: return object_type(s, field->sub, NULL, NULL);
    case FIELD_LIST:
        return array_type(s, field->sub ? object_type(s, field->sub, NULL, NULL) : type_of(s, field->element));
    default: return field->count > 1 ? array_type(s, scalar_type(s, field)) : scalar_type(s, field);
    }
}

/* --- members --- */

static void add_features(Json *entry, const char *const *names, unsigned flags)
{
    Json *list = json_new_list();
    for (; names && *names; names++) {
        json_append(list, json_new_string(*names));
    }
    if (flags & COMMAND_DEPRECATED) {
        json_append(list, json_new_string("deprecated"));
    }
    if (flags & COMMAND_UNSTABLE) {
        json_append(list, json_new_string("unstable"));
    }
    if (list->n) {
        json_add(entry, "features", list);
    } else {
        json_free(list);
    }
}

/* `tag` is the member (NULL: none) whose type is `tag_type`. */
static void add_members(Schema *s, Json *members, const Field *table, const MemberFeature *features, const char *tag,
                        const char *tag_type)
{
    for (const Field *field = table; field && field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_FLAT) {
            add_members(s, members, field->sub, features, tag, tag_type);
            continue;
        }
        if (field->read_only) {
            continue;
        }
        Json *member = json_new_object();
        json_add(member, "name", json_new_string(field->name));
        json_add(member, "type", json_new_string(tag && !strcmp(field->name, tag) ? tag_type : type_of(s, field)));
        if (!field->required) {
            json_add(member, "default", json_new_null());
        }
        for (const MemberFeature *f = features; f && f->member; f++) {
            if (!strcmp(f->member, field->name)) {
                add_features(member, (const char *const[]){ f->feature, NULL }, 0);
            }
        }
        json_append(members, member);
    }
}

typedef struct Variants {
    Schema *schema;
    Json   *list;
} Variants;

static void add_variant(void *opaque, const char *name, const Field *table)
{
    Variants *v       = opaque;
    Json     *variant = json_new_object();
    json_add(variant, "case", json_new_string(name));
    json_add(variant, "type", json_new_string(object_type(v->schema, table, NULL, NULL)));
    json_append(v->list, variant);
}

typedef struct Names {
    Json *members, *values;
} Names;

static void add_case(void *opaque, const char *name, const Field *table)
{
    Names *n      = opaque;
    Json  *member = json_new_object();
    json_add(member, "name", json_new_string(name));
    json_append(n->members, member);
    json_append(n->values, json_new_string(name));
}

/* The enumeration of a union's cases, when a function lists them. */
static const char *case_type(Schema *s, const QmpUnion *u)
{
    bool        is_new;
    const char *name = name_for(s, &u->each, &is_new);
    if (is_new) {
        Json *entry = add_entry(s, name, "enum");
        Names n     = { .members = json_add(entry, "members", json_new_list()) };
        n.values    = json_add(entry, "values", json_new_list());
        u->each(add_case, &n);
    }
    return name;
}

static void describe(Schema *s, const Type *type)
{
    const QmpUnion *u        = type->variants;
    const char     *tag_type = u && u->each ? case_type(s, u) : NULL;
    Json           *entry    = add_entry(s, type->name, "object");
    Json           *members  = json_add(entry, "members", json_new_list());
    add_members(s, members, type->table, type->features, tag_type ? u->tag : NULL, tag_type);
    if (u) {
        json_add(entry, "tag", json_new_string(u->tag));
        Variants v = { .schema = s, .list = json_add(entry, "variants", json_new_list()) };
        for (const QmpVariant *variant = u->variants; variant && variant->name; variant++) {
            add_variant(&v, variant->name, variant->table);
        }
        if (u->each) {
            u->each(add_variant, &v);
        }
    }
}

static void describe_waiting(Schema *s)
{
    Type *type;
    while ((type = g_queue_pop_head(&s->todo))) {
        describe(s, type);
        g_free(type);
    }
}

/* --- commands and events --- */

/* What -compat hides is not there. */
static bool is_hidden(const Schema *s, unsigned flags)
{
    return (flags & COMMAND_DEPRECATED && s->policy->deprecated_output) ||
           (flags & COMMAND_UNSTABLE && s->policy->unstable_output);
}

static void add_command(const MonitorCommand *c, void *opaque)
{
    Schema *s = opaque;
    if (is_hidden(s, c->flags)) {
        return;
    }
    Json           *entry = add_entry(s, c->name, "command");
    bool            whole = c->args && c->args->custom && !*c->args->name; /* a union instead of a table */
    const QmpUnion *u     = whole ? (const QmpUnion *)c->args->custom : NULL;
    json_add(entry, "arg-type", json_new_string(object_type(s, u ? u->base : c->args, u, c->member_features)));
    json_add(entry, "ret-type", json_new_string(c->result ? type_of(s, c->result) : object_type(s, NULL, NULL, NULL)));
    if (c->flags & COMMAND_OOB) {
        json_add(entry, "allow-oob", json_new_bool(true));
    }
    add_features(entry, c->features, c->flags);
    describe_waiting(s);
}

static void add_event(const MonitorEvent *e, void *opaque)
{
    Schema *s = opaque;
    if (!is_hidden(s, e->flags)) {
        Json *entry = add_entry(s, e->name, "event");
        json_add(entry, "arg-type", json_new_string(object_type(s, e->data, NULL, NULL)));
        add_features(entry, NULL, e->flags);
        describe_waiting(s);
    }
}

static bool query_qmp_schema(Monitor *mon, void *args, Json **result, Error *err)
{
    Schema s = { .list   = json_new_list(),
                 .names  = g_hash_table_new_full(NULL, NULL, NULL, g_free),
                 .policy = monitors_policy(mon->all) };
    monitor_commands_foreach(add_command, &s);
    monitor_events_foreach(add_event, &s);
    g_hash_table_unref(s.names);
    *result = s.list;
    return true;
}

/* --- the schema's own schema --- */

static const char *const meta_types[] = { "builtin", "enum", "array", "object", "alternate", "command", "event", NULL };
static const char *const json_types[] = {
    "string", "number", "int", "boolean", "null", "object", "array", "value", NULL
};

static const Field enum_member[]   = { QMP_STRING("name"), QMP_MAYBE_LIST_OF("features", &qmp_string), {} };
static const Field object_member[] = {
    QMP_STRING("name"), QMP_STRING("type"), QMP_MAYBE_ANY("default"), QMP_MAYBE_LIST_OF("features", &qmp_string), {}
};
static const Field object_variant[]   = { QMP_STRING("case"), QMP_STRING("type"), {} };
static const Field alternate_member[] = { QMP_STRING("type"), {} };

static const Field info_base[] = {
    QMP_STRING("name"), QMP_ENUM("meta-type", meta_types), QMP_MAYBE_LIST_OF("features", &qmp_string), {}
};
static const Field builtin_info[] = { QMP_ENUM("json-type", json_types), {} };
static const Field enum_info[]    = { QMP_LIST("members", enum_member), QMP_LIST_OF("values", &qmp_string), {} };
static const Field array_info[]   = { QMP_STRING("element-type"), {} };
static const Field object_info[]  = {
     QMP_LIST("members", object_member), QMP_MAYBE_STRING("tag"), QMP_MAYBE_LIST("variants", object_variant), {}
};
static const Field alternate_info[] = { QMP_LIST("members", alternate_member), {} };
static const Field command_info[] = { QMP_STRING("arg-type"), QMP_STRING("ret-type"), QMP_MAYBE_BOOL("allow-oob"), {} };
static const Field event_info[]   = { QMP_STRING("arg-type"), {} };

static const QmpVariant info_variants[] = {
    { "builtin", builtin_info },     { "enum", enum_info },       { "array", array_info }, { "object", object_info },
    { "alternate", alternate_info }, { "command", command_info }, { "event", event_info }, {},
};
static const QmpUnion schema_info = {
    .custom = QMP_UNION_CUSTOM, .base = info_base, .tag = "meta-type", .variants = info_variants
};
static const Field info_element  = { .name = "", .kind = FIELD_JSON, .custom = &schema_info.custom };
static const Field schema_result = QMP_LIST_OF("", &info_element);

MONITOR_COMMANDS(schema) = {
    { .name   = "query-qmp-schema",
      .result = &schema_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "describes commands, events and their types",
      .run    = query_qmp_schema },
    {},
};
