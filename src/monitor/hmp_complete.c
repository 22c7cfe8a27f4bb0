/* HMP: completion: what could stand where the cursor is. */

#include "machine/cpuplug.h"
#include "monitor/hmp_command.h"
#include "monitor/qom.h"
#include "object/surface.h"

#include <ctype.h>
#include <dirent.h>
#include <string.h>

enum { PATH_CHILDREN_MAX = 4096, FILES_MAX = 4096 };

typedef struct Complete {
    Monitor        *mon;
    LineCompletion *c;
    const char     *prefix;
} Complete;

static void add(const char *name, void *opaque)
{
    Complete *k = opaque;
    line_completion_add(k->c, k->prefix, name);
}

static void add_command(const HmpCommand *command, void *opaque)
{
    hmp_names_foreach(command, add, opaque);
}

/* --- types --- */

static void add_device_type(const ObjectType *type, void *opaque)
{
    if (type->class == OBJECT_CLASS_DEVICE && !((const DeviceType *)type)->internal) {
        add(type->name, opaque);
    }
}

static void add_object_type(const ObjectType *type, void *opaque)
{
    if (type->class == OBJECT_CLASS_USER) {
        add(type->name, opaque);
    }
}

static void add_chardev_type(const ObjectType *type, void *opaque)
{
    if (type->class == OBJECT_CLASS_CHARDEV && !((const CharType *)type)->missing) {
        add(type->name, opaque);
    }
}

/* --- ids --- */

static void add_chardev(Chardev *chr, void *opaque)
{
    add(chr->id, opaque);
}

static void add_ringbuf(Chardev *chr, void *opaque)
{
    if (char_is_ringbuf(chr)) {
        add(chr->id, opaque);
    }
}

static void add_children(Complete *k, const Object *parent)
{
    for (guint i = 0; parent && parent->children && i < MIN(parent->children->len, (guint)PATH_CHILDREN_MAX); i++) {
        add(((const Object *)parent->children->pdata[i])->name, k);
    }
}

static void add_cpus(Complete *k)
{
    GPtrArray *cpus = k->mon->machine->cpus;
    for (guint i = 0; cpus && i < cpus->len; i++) {
        char number[16];
        g_snprintf(number, sizeof number, "%d", ((const X86Cpu *)cpus->pdata[i])->vcpu.index);
        add(number, k);
    }
}

/* --- paths in the tree, properties --- */

/* Only what comes behind the last `separator` is completed. false: there is none. */
static bool skip_to_last(Complete *k, char separator)
{
    const char *last = strrchr(k->prefix, separator);
    if (last) {
        k->c->start += (size_t)(last + 1 - k->prefix);
        k->prefix = last + 1;
    }
    return last;
}

/* "/machine/per": names below /machine. A child that has children itself ends with a slash, which is where one goes on.
 */
static void add_paths(Complete *k)
{
    Object          *root = k->mon->machine->platform.objects;
    g_autofree char *path = g_strdup(k->prefix);
    if (path[0] != '/') {
        return;
    }
    skip_to_last(k, '/');
    *strrchr(path, '/')  = 0;
    const Object *parent = *path ? object_resolve(root, path) : root;
    for (guint i = 0; parent && parent->children && i < MIN(parent->children->len, (guint)PATH_CHILDREN_MAX); i++) {
        const Object    *child = parent->children->pdata[i];
        bool             more  = child->children && child->children->len;
        g_autofree char *name  = g_strconcat(child->name, more ? "/" : "", NULL);
        add(name, k);
    }
}

static void add_fields(Complete *k, const Field *table)
{
    for (const Field *f = table; f && f->kind != FIELD_END; f++) {
        if (f->kind == FIELD_FLAT) {
            add_fields(k, f->sub);
        } else {
            add(f->name, k);
        }
    }
}

static void add_properties(Complete *k, const GPtrArray *before)
{
    g_auto(Error) ignored = { 0 };
    const char *path      = before->len ? before->pdata[before->len - 1] : "/";
    Object     *obj       = qom_find(k->mon->machine, path, &ignored);
    g_autoptr(Json) list  = obj ? qom_list(k->mon->machine, obj) : NULL;
    for (size_t i = 0; list && i < list->n; i++) {
        add(json_get_string(list->items[i], "name"), k);
    }
}

/* "TYPE,prop=": properties of the type. */
static void add_options(Complete *k, void (*types)(const ObjectType *type, void *opaque), ObjectClass class)
{
    g_autofree char *name = g_strndup(k->prefix, strcspn(k->prefix, ","));
    if (!skip_to_last(k, ',')) {
        object_type_foreach(types, k);
        if (class == OBJECT_CLASS_DEVICE) {
            g_autofree char *cpu = cpu_type_name(k->mon->machine);
            add(cpu, k);
        }
        return;
    }
    bool              is_cpu = class == OBJECT_CLASS_DEVICE && g_str_has_suffix(name, CPU_TYPE_SUFFIX);
    const ObjectType *type   = is_cpu ? NULL : object_type_find_class(class, name);
    if (!type && !is_cpu) {
        return;
    }
    LineCompletion found = { .words = g_ptr_array_new_with_free_func(g_free) };
    Complete       inner = { .mon = k->mon, .c = &found, .prefix = k->prefix };
    add_fields(&inner, is_cpu ? cpu_place_options : type->properties);
    if (class == OBJECT_CLASS_DEVICE && !is_cpu) {
        add("bus", &inner);
    }
    add("id", &inner);
    for (guint i = 0; i < found.words->len; i++) {
        g_autofree char *option = g_strconcat(found.words->pdata[i], "=", NULL);
        add(option, k);
    }
    g_ptr_array_free(found.words, TRUE);
}

/* --- lists --- */

static void log_items_foreach(void (*visit)(const char *, void *), void *opaque)
{
    for (size_t i = 0; log_item_name(i); i++) {
        visit(log_item_name(i), opaque);
    }
    visit("none", opaque);
}

/* --- files --- */

static void add_files(Complete *k)
{
    g_autofree char *folder = g_strdup(k->prefix);
    char            *slash  = strrchr(folder, '/');
    skip_to_last(k, '/');
    if (slash) {
        slash[1] = 0;
    }
    DIR           *dir = opendir(slash ? folder : ".");
    struct dirent *entry;
    for (unsigned i = 0; dir && i < FILES_MAX && (entry = readdir(dir)); i++) {
        if ((entry->d_name[0] == '.' && k->prefix[0] != '.') || strpbrk(entry->d_name, " \t\"\\")) {
            continue;
        }
        g_autofree char *name = g_strconcat(entry->d_name, entry->d_type == DT_DIR ? "/" : "", NULL);
        add(name, k);
    }
    if (dir) {
        closedir(dir);
    }
}

/* --- by argument --- */

static void add_words(Complete *k, const HmpArg *arg, const GPtrArray *before)
{
    Platform *p = &k->mon->machine->platform;
    switch (arg->words) {
    case HMP_WORDS_NONE:
        if (arg->kind == HMP_FILE) {
            add_files(k);
        } else if (arg->kind == HMP_ON_OFF) {
            add("on", k);
            add("off", k);
        }
        break;
    case HMP_WORDS_CHOICES:
        for (const char *const *choice = arg->choices; *choice; choice++) {
            add(*choice, k);
        }
        break;
    case HMP_WORDS_COMMANDS:
    case HMP_WORDS_INFO: hmp_commands_foreach(arg->words == HMP_WORDS_INFO, add_command, k); break;
    case HMP_WORDS_DEVICE_TYPES: add_options(k, add_device_type, OBJECT_CLASS_DEVICE); break;
    case HMP_WORDS_DEVICE_IDS: add_children(k, object_child(object_child(p->objects, "machine"), "peripheral")); break;
    case HMP_WORDS_OBJECT_TYPES: add_options(k, add_object_type, OBJECT_CLASS_USER); break;
    case HMP_WORDS_OBJECT_IDS: add_children(k, object_child(p->objects, "objects")); break;
    case HMP_WORDS_CHARDEV_TYPES: add_options(k, add_chardev_type, OBJECT_CLASS_CHARDEV); break;
    case HMP_WORDS_CHARDEV_IDS: char_foreach(k->mon->machine->chars, add_chardev, k); break;
    case HMP_WORDS_RINGBUF_IDS: char_foreach(k->mon->machine->chars, add_ringbuf, k); break;
    case HMP_WORDS_PATHS: add_paths(k); break;
    case HMP_WORDS_PROPERTIES: add_properties(k, before); break;
    case HMP_WORDS_KEYS:
        skip_to_last(k, '-');
        hmp_keys_foreach(add, k);
        break;
    case HMP_WORDS_LOG_ITEMS:
        skip_to_last(k, ',');
        log_items_foreach(add, k);
        break;
    case HMP_WORDS_CPUS: add_cpus(k); break;
    }
}

/* "$ra" at the end of an expression. */
static bool complete_register(const char *text, LineCompletion *c)
{
    const char *dollar = strrchr(text, '$');
    for (const char *p = dollar; p && *++p;) {
        if (!isalnum((unsigned char)*p) && !strchr("_.", *p)) {
            return false;
        }
    }
    if (dollar) {
        c->start = (size_t)(dollar + 1 - text);
        hmp_registers_complete(dollar + 1, c);
    }
    return dollar;
}

static const char *word_end(const char *p)
{
    while (*p && *p != '/' && !isspace((unsigned char)*p)) {
        p++;
    }
    return p;
}

void hmp_complete(Monitor *mon, const char *text, LineCompletion *c)
{
    Complete    k    = { .mon = mon, .c = c };
    const char *p    = text;
    bool        info = false;
    for (;;) {
        while (isspace((unsigned char)*p)) {
            p++;
        }
        const char *end = word_end(p);
        if (!*end) {
            c->start = (size_t)(p - text);
            k.prefix = p;
            hmp_commands_foreach(info, add_command, &k);
            return;
        }
        g_autofree char  *name    = g_strndup(p, (gsize)(end - p));
        const HmpCommand *command = hmp_command_find(info, name);
        p                         = end;
        if (!info && !strcmp(name, "info")) {
            info = true;
            continue;
        }
        if (!info && (!strcmp(name, "help") || !strcmp(name, "?"))) {
            while (isspace((unsigned char)*p)) {
                p++;
            }
            if (g_str_has_prefix(p, "info ")) {
                info = true;
                p += 5;
            }
            c->start = (size_t)(p - text);
            k.prefix = p;
            hmp_commands_foreach(info, add_command, &k);
            return;
        }
        if (!command || complete_register(text, c)) {
            return;
        }
        if (*p == '/') { /* the format of x and others */
            while (*p && !isspace((unsigned char)*p)) {
                p++;
            }
        }
        g_autoptr(GPtrArray) before = g_ptr_array_new_with_free_func(g_free);
        size_t        start;
        const HmpArg *arg = hmp_args_locate(command->args, p, &start, before);
        if (arg) {
            c->start = (size_t)(p - text) + start;
            k.prefix = p + start;
            add_words(&k, arg, before);
        }
        return;
    }
}
