/* The tree of objects as management sees it. Main loop, machine lock held.
 *
 * Most properties are those of the type's table. On top of them every object has "type", devices and vCPUs have what
 * all devices have, and vCPUs those of their model. /machine is a plain container of ours: its properties are the
 * machine's. */

#include "monitor/qom.h"

#include "base/text.h"
#include "machine/cpuplug.h"
#include "machine/numa.h"
#include "monitor/cpu_model.h"

#include <string.h>

/* --- nodes --- */

Object *qom_find(Machine *m, const char *path, Error *err)
{
    Object *obj = object_resolve(m->platform.objects, path);
    if (!obj) {
        error_set_class(err, ERROR_DEVICE_NOT_FOUND, "no object '%s'", path);
    }
    return obj;
}

static bool is_machine(Machine *m, const Object *obj)
{
    return obj->parent == m->platform.objects && !strcmp(obj->name, "machine");
}

/* The table of an object's properties, and the struct they are members of. */
static const Field *table_of(Machine *m, Object *obj, void **owner)
{
    if (is_machine(m, obj)) {
        *owner = m;
        return m->platform.root.type->properties;
    }
    *owner = obj;
    return obj->type->properties;
}

static char *type_name(const ObjectType *type)
{
    switch (type->class) {
    case OBJECT_CLASS_CHARDEV: return g_strconcat("chardev-", type->name, NULL);
    case OBJECT_CLASS_MACHINE: return g_strconcat(type->name, "-machine", NULL);
    case OBJECT_CLASS_ACCEL: return g_strconcat(type->name, "-accel", NULL);
    default: return g_strdup(type->name);
    }
}

char *qom_type_name(Machine *m, const Object *obj)
{
    return is_machine(m, obj)    ? type_name(m->platform.root.type)
           : cpu_object_cpu(obj) ? cpu_type_name(m)
                                 : type_name(obj->type);
}

static bool is_device(const Object *obj)
{
    return obj->type->class == OBJECT_CLASS_DEVICE;
}

/* --- reading --- */

/* What objects have beside their tables; NULL without an error: there is no such property. */
static Json *get_device(const Device *dev, const char *property)
{
    if (!strcmp(property, "realized")) {
        return json_new_bool(dev->realized);
    } else if (!strcmp(property, "hotpluggable")) {
        return json_new_bool(device_type(dev)->hotplug);
    } else if (!strcmp(property, "hotplugged")) {
        return json_new_bool(dev->hotplugged);
    } else if (!strcmp(property, "parent_bus")) {
        g_autofree char *path = dev->bus ? object_path(&dev->bus->obj) : g_strdup("");
        return json_new_string(path);
    }
    return NULL;
}

static const char *const device_extras[][2] = {
    { "realized", "bool" }, { "hotpluggable", "bool" }, { "hotplugged", "bool" }, { "parent_bus", "link<bus>" }
};

static Json *get_cpu(Machine *m, const X86Cpu *cpu, const char *property)
{
    X86Topology place = cpu_place(&m->topology, (unsigned)cpu->vcpu.index);
    const struct {
        const char *name;
        uint64_t    value;
    } numbers[] = { { "apic-id", cpu->apic_id },    { "socket-id", place.sockets }, { "die-id", place.dies },
                    { "module-id", place.modules }, { "core-id", place.cores },     { "thread-id", place.threads } };
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++) {
        if (!strcmp(property, numbers[i].name)) {
            return json_new_uint(numbers[i].value);
        }
    }
    if (!strcmp(property, "realized")) {
        return json_new_bool(true);
    } else if (!strcmp(property, "hotpluggable")) {
        return json_new_bool(machine_cpu_is_hotpluggable(m, cpu));
    } else if (!strcmp(property, "hotplugged")) {
        return json_new_bool(cpu_object_find(m, cpu)->hotplugged);
    } else if (!strcmp(property, "node-id")) {
        return json_new_int(m->config.numa ? m->config.numa->cpu_node[cpu->vcpu.index] : -1);
    } else if (!strcmp(property, "unavailable-features")) {
        return cpu_model_unavailable(m->cpu_model);
    } else if (!strcmp(property, "feature-words")) {
        return cpu_model_words(m->cpu_model->features);
    } else if (!strcmp(property, "filtered-features")) {
        return cpu_model_words(m->cpu_model->missing);
    }
    g_autoptr(Json) props = cpu_model_properties(m->cpu_model);
    return json_take(props, property);
}

static const char *const cpu_extras[][2] = {
    { "realized", "bool" },
    { "hotpluggable", "bool" },
    { "hotplugged", "bool" },
    { "unavailable-features", "strList" },
    { "feature-words", "X86CPUFeatureWordInfo" },
    { "filtered-features", "X86CPUFeatureWordInfo" },
    { "apic-id", "uint32" },
    { "socket-id", "int32" },
    { "die-id", "int32" },
    { "module-id", "int32" },
    { "core-id", "int32" },
    { "thread-id", "int32" },
    { "node-id", "int32" },
};

static Json *get_extra(Machine *m, Object *obj, const char *property)
{
    const X86Cpu *cpu   = cpu_object_cpu(obj);
    Object       *child = object_child(obj, property);
    if (!strcmp(property, "type")) {
        g_autofree char *name = qom_type_name(m, obj);
        return json_new_string(name);
    }
    if (child) {
        g_autofree char *path = object_path(child);
        return json_new_string(path);
    }
    return cpu ? get_cpu(m, cpu, property) : is_device(obj) ? get_device((const Device *)obj, property) : NULL;
}

Json *qom_get(Machine *m, Object *obj, const char *property, Error *err)
{
    void        *owner;
    const Field *table = table_of(m, obj, &owner);
    Json        *value = get_extra(m, obj, property);
    return value ? value : fields_get(table, owner, property, err);
}

bool qom_set(Machine *m, Object *obj, const char *property, const Json *value, Error *err)
{
    Json *extra = get_extra(m, obj, property);
    if (extra) {
        json_free(extra);
        return error_set(err, "property '%s' cannot be set", property);
    }
    if (is_machine(m, obj)) {
        const Field *field = fields_find(m->platform.root.type->properties, property);
        if (field && !field->read_only && m->cpus->len + m->platform.started) {
            return error_set(err, "property '%s' cannot be changed any more", property);
        }
        return fields_set(m->platform.root.type->properties, m, property, value, false, err);
    }
    return object_set(obj, property, value, false, err);
}

/* --- lists --- */

static Json *add_property(Json *list, const char *name, const char *type)
{
    Json *item = json_new_object();
    json_add(item, "name", json_new_string(name));
    json_add(item, "type", json_new_string(type));
    json_append(list, item);
    return item;
}

static void add_extras(Json *list, const char *const extras[][2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        add_property(list, extras[i][0], extras[i][1]);
    }
}

static void add_table(Json *list, const Field *table)
{
    char buffer[256];
    for (const Field *f = table; f && f->kind != FIELD_END; f++) {
        if (f->kind == FIELD_FLAT) {
            add_table(list, f->sub);
        } else if (!f->unsupported) {
            add_property(list, f->name, field_type_name(f, buffer, sizeof buffer));
        }
    }
}

static void add_model(Json *list, const X86Model *model)
{
    g_autoptr(Json) props = cpu_model_properties(model);
    for (size_t i = 0; i < props->n; i++) {
        add_property(list, props->keys[i], cpu_model_property_type(props->items[i]));
    }
}

Json *qom_list(Machine *m, Object *obj)
{
    void        *owner;
    const Field *table = table_of(m, obj, &owner);
    Json        *list  = json_new_list();
    add_property(list, "type", "string");
    if (cpu_object_cpu(obj)) {
        add_extras(list, cpu_extras, G_N_ELEMENTS(cpu_extras));
        add_model(list, m->cpu_model);
    } else if (is_device(obj)) {
        add_extras(list, device_extras, G_N_ELEMENTS(device_extras));
    }
    add_table(list, table);
    for (guint i = 0; i < obj->children->len; i++) {
        const Object    *child = obj->children->pdata[i];
        g_autofree char *name  = qom_type_name(m, child);
        g_autofree char *type  = g_strdup_printf("child<%s>", name);
        add_property(list, child->name, type);
    }
    return list;
}

/* --- types --- */

/* Types that nothing is made of. What other types name as their parent is one of these. */
static const struct {
    const char *name, *parent;
} bases[] = {
    { "object", NULL },
    { "device", "object" },
    { "sys-bus-device", "device" },
    { "isa-device", "device" },
    { "pci-device", "device" },
    { "virtio-device", "device" },
    { "ide-device", "device" },
    { "cpu", "device" },
    { "x86_64-cpu", "cpu" },
    { "bus", "object" },
    { "chardev", "object" },
    { "machine", "object" },
    { "generic-pc-machine", "machine" },
    { "accel", "object" },
    { "tls-creds", "object" },
    { "secret_common", "object" },
    { "memory-backend", "object" },
    { "user-creatable", "object" },
};

static void free_type(gpointer data)
{
    QomType *t = data;
    g_free(t->name);
    g_free(t->cpu_model);
    g_free(t);
}

static const char *parent_of(const ObjectType *type)
{
    static const char *const by_class[] = {
        [OBJECT_CLASS_NONE] = "object",     [OBJECT_CLASS_USER] = "object",     [OBJECT_CLASS_DEVICE] = "device",
        [OBJECT_CLASS_CHARDEV] = "chardev", [OBJECT_CLASS_MACHINE] = "machine", [OBJECT_CLASS_ACCEL] = "accel",
        [OBJECT_CLASS_CPU] = "cpu",         [OBJECT_CLASS_BUS] = "bus",
    };
    static const char *const by_bus[N_BUS_KINDS] = { [BUS_SYSTEM] = "sys-bus-device",
                                                     [BUS_ISA]    = "isa-device",
                                                     [BUS_PCI]    = "pci-device",
                                                     [BUS_VIRTIO] = "virtio-device" };
    if (type->parent) {
        return type->parent;
    }
    const char *parent = type->class == OBJECT_CLASS_DEVICE ? by_bus[((const DeviceType *)type)->bus] : NULL;
    return parent ? parent : by_class[type->class];
}

static bool is_missing(const ObjectType *type)
{
    return (type->class == OBJECT_CLASS_CHARDEV && ((const CharType *)type)->missing) ||
           (type->class == OBJECT_CLASS_MACHINE && ((const MachineType *)type)->missing) ||
           (type->class == OBJECT_CLASS_ACCEL && ((const AccelType *)type)->missing);
}

static void add_type(const ObjectType *type, void *opaque)
{
    if (!is_missing(type) && type->class != OBJECT_CLASS_CPU) {
        QomType *t = g_new0(QomType, 1);
        *t         = (QomType){ .name = type_name(type), .parent = parent_of(type), .type = type };
        g_ptr_array_add(opaque, t);
    }
}

GPtrArray *qom_types(void)
{
    GPtrArray *types            = g_ptr_array_new_with_free_func(free_type);
    g_autoptr(GPtrArray) models = cpu_model_names();
    for (size_t i = 0; i < G_N_ELEMENTS(bases); i++) {
        QomType *t = g_new0(QomType, 1);
        *t         = (QomType){ .name = g_strdup(bases[i].name), .parent = bases[i].parent, .abstract = true };
        g_ptr_array_add(types, t);
    }
    object_type_foreach(add_type, types);
    for (guint i = 0; i < models->len; i++) {
        const char *model = models->pdata[i];
        QomType    *t     = g_new0(QomType, 1);
        *t                = (QomType){ .name      = g_strconcat(model, CPU_TYPE_SUFFIX, NULL),
                                       .parent    = "x86_64-cpu",
                                       .cpu_model = g_strdup(model) };
        g_ptr_array_add(types, t);
    }
    return types;
}

const QomType *qom_type_find(GPtrArray *types, const char *name)
{
    for (guint i = 0; i < types->len; i++) {
        const QomType *t = types->pdata[i];
        if (!strcmp(t->name, name)) {
            return t;
        }
    }
    return NULL;
}

bool qom_type_is(GPtrArray *types, const QomType *type, const char *kind)
{
    if (type->type && type->type->class == OBJECT_CLASS_USER && !strcmp(kind, "user-creatable")) {
        return true;
    }
    for (unsigned depth = 0; type && depth < 16; depth++) {
        if (!strcmp(type->name, kind)) {
            return true;
        }
        if (!type->parent || !strcmp(type->parent, type->name)) {
            return false;
        }
        type = qom_type_find(types, type->parent);
    }
    return false;
}

Json *qom_type_properties(Machine *m, const QomType *type, Error *err)
{
    if (type->abstract) {
        error_set(err, "type '%s' is abstract: nothing is made of it", type->name);
        return NULL;
    }
    if (type->cpu_model) {
        g_autofree char *text = g_strdup_printf("%s,check=off", type->cpu_model);
        g_auto(Error) ignored = { 0 }; /* "host" without KVM has what "max" has */
        X86Model *model       = x86_model_parse(text, m->accel ? accel_hypervisor(m->accel) : NULL, &ignored);
        Json     *list        = json_new_list();
        model                 = model ? model : x86_model_parse("max,check=off", NULL, err);
        if (model) {
            add_extras(list, cpu_extras, G_N_ELEMENTS(cpu_extras));
            add_model(list, model);
            x86_model_free(model);
        }
        return list;
    }
    return fields_describe(type->type->properties);
}
