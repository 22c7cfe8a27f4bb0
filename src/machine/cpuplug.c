/* vCPUs that come and go while the machine exists. See cpuplug.h.
 *
 * There is a place for each vCPU of -smp maxcpus=; its number is the vCPU's index. A vCPU is made and goes while all
 * others stand (accel_hold), so that nobody who walks over the vCPUs finds one half made. A guest lets go of a vCPU on
 * the thread of another one: that only marks it, the main loop takes it away. */

#include "machine/cpuplug.h"

#include "cpu/x86/features.h"
#include "loop/loop.h"
#include "machine/numa.h"

#include <inttypes.h>
#include <string.h>

typedef struct PlaceOptions {
    int64_t socket_id, die_id, module_id, core_id, thread_id;
    int64_t node_id, apic_id;
} PlaceOptions;

#define PLACE(member, text, what)                                                                                      \
    FIELD(PlaceOptions, member, text, .initial = -1, .min = -1, .max = UINT32_MAX, .help = what)

const Field cpu_place_options[] = {
    PLACE(socket_id, "socket-id", "socket in the machine"),
    PLACE(die_id, "die-id", "die in the socket"),
    PLACE(module_id, "module-id", "module in the die"),
    PLACE(core_id, "core-id", "core in the module"),
    PLACE(thread_id, "thread-id", "thread in the core"),
    PLACE(node_id, "node-id", "NUMA node, which -numa has to say as well"),
    PLACE(apic_id, "apic-id", "the place by its APIC ID"),
    {},
};

static const char *const own_options[] = { "driver", "id", "bus", NULL };

/* ---- Which place ---- */

typedef struct Level {
    const char *name, *plural;
    int64_t     given;
    unsigned    count;
    bool        needed; /* also when there is only one */
} Level;

/* The index of the vCPU that belongs there. */
static bool find_place(const Machine *m, const PlaceOptions *o, unsigned *index, Error *err)
{
    const X86Topology *t        = &m->topology;
    const Level        levels[] = {
               { "socket-id", "sockets", o->socket_id, t->sockets, true },  { "die-id", "dies", o->die_id, t->dies, false },
               { "module-id", "modules", o->module_id, t->modules, false }, { "core-id", "cores", o->core_id, t->cores, true },
               { "thread-id", "threads", o->thread_id, t->threads, true },
    };
    *index = 0;
    for (unsigned i = 0; i < G_N_ELEMENTS(levels); i++) {
        const Level *l = &levels[i];
        if (l->given < 0 && (l->needed || l->count > 1)) {
            return error_set(err, "%s= is missing (0 to %u); query-hotpluggable-cpus lists the places", l->name,
                             l->count - 1);
        }
        if (l->given >= l->count) {
            return error_set(err, "%s=%" PRId64 ": there are %s 0 to %u (-smp)", l->name, l->given, l->plural,
                             l->count - 1);
        }
        *index = *index * l->count + (unsigned)MAX(l->given, 0);
    }
    return true;
}

static bool find_place_by_apic_id(const Machine *m, int64_t apic_id, unsigned *index, Error *err)
{
    for (unsigned i = 0; i < m->config.smp.max_cpus; i++) {
        if (x86_apic_id(&m->topology, i) == apic_id) {
            *index = i;
            return true;
        }
    }
    return error_set(err, "apic-id=%" PRId64 ": no place has it; query-hotpluggable-cpus lists the places", apic_id);
}

static bool has_place(const PlaceOptions *o)
{
    return o->socket_id >= 0 || o->die_id >= 0 || o->module_id >= 0 || o->core_id >= 0 || o->thread_id >= 0;
}

static bool choose_place(const Machine *m, const PlaceOptions *o, unsigned *index, Error *err)
{
    const NumaConfig *numa  = m->config.numa;
    bool              by_id = o->apic_id >= 0 && !has_place(o);
    if (!(by_id ? find_place_by_apic_id(m, o->apic_id, index, err) : find_place(m, o, index, err))) {
        return false;
    }
    uint32_t apic_id = x86_apic_id(&m->topology, *index);
    if (o->apic_id >= 0 && o->apic_id != apic_id) {
        return error_set(err, "apic-id=%" PRId64 ": that place has the APIC ID %u", o->apic_id, apic_id);
    }
    if (o->node_id >= 0 && !numa) {
        return error_set(err, "node-id=%" PRId64 ": there are no NUMA nodes (-numa)", o->node_id);
    }
    if (o->node_id >= 0 && o->node_id != numa->cpu_node[*index]) {
        return error_set(err, "node-id=%" PRId64 ": -numa has put that place into node %d", o->node_id,
                         numa->cpu_node[*index]);
    }
    X86Cpu *there = machine_cpu(m, *index);
    if (there) {
        return error_set(err, "vCPU %u is in that place already", *index);
    }
    return true;
}

/* ---- Coming ---- */

static Object *peripheral(Machine *m)
{
    return object_container(object_container(m->platform.objects, "machine"), "peripheral");
}

static bool check_name(Machine *m, const char *id, Error *err)
{
    if (id && !object_check_id(id, err)) {
        return false;
    }
    return !id || !object_child(peripheral(m), id) || error_set(err, "there is a device with id '%s' already", id);
}

static bool check_type(const Machine *m, const char *driver, Error *err)
{
    g_autofree char *type = cpu_type_name(m);
    return !strcmp(driver, type) ||
           error_set(err, "'%s': the vCPUs of this machine are of type '%s' (-cpu)", driver, type);
}

static bool check_machine(Machine *m, Error *err)
{
    const MachineType *type = machine_type(m);
    if (!type->hotpluggable_cpus) {
        return error_set(err, "the machine '%s' has no vCPUs but those of -smp", type->name);
    }
    if (m->cpus->len >= m->config.smp.max_cpus) {
        return error_set(err, "all vCPUs that there can be are there: %u (-smp maxcpus=)", m->cpus->len);
    }
    if (!m->cpu_hotplug && m->platform.started) {
        return error_set(err, "without ACPI the guest does not hear of vCPUs that come (-machine acpi=off)");
    }
    return !type->check_cpu || !m->platform.started || type->check_cpu(m, err);
}

/* All vCPUs have one model, so what belongs to it is said in -cpu. */
static bool check_properties(const Json *options, Error *err)
{
    for (size_t i = 0; i < options->n; i++) {
        const char *key = options->keys[i];
        if (!fields_find(cpu_place_options, key) && x86_feature_find(key, NULL)) {
            return error_set(err, "property '%s' is the same in all vCPUs: -cpu MODEL,%s= says it", key, key);
        }
    }
    return true;
}

static const char *text_of(const Json *options, const char *key)
{
    const Json *value = json_get(options, key);
    if (value && value->kind == JSON_LIST && value->n) {
        value = value->items[value->n - 1]; /* of a repeated option the last counts */
    }
    return value && value->kind == JSON_STRING ? value->string : NULL;
}

static bool add(Machine *m, unsigned index, const char *id, Error *err)
{
    bool    held = accel_hold(m->accel);
    X86Cpu *cpu  = machine_add_cpu(m, index, err);
    if (cpu) {
        cpu_object_add(m, cpu, id, true);
        if (m->platform.started) {
            machine_start_late_cpu(m, cpu);
        }
        cpu->vcpu.stopped = !held;
        if (m->cpu_hotplug) {
            cpu_hotplug_plugged(m->cpu_hotplug, index);
        }
        if (machine_type(m)->cpus_changed) {
            machine_type(m)->cpus_changed(m);
        }
    }
    accel_release(m->accel, held);
    return cpu != NULL;
}

static bool plug_cpu(Machine *m, const char *driver, const Json *options, bool lenient, Error *err)
{
    const char  *id = text_of(options, "id");
    PlaceOptions o;
    unsigned     index = 0;

    if (json_get(options, "bus")) {
        return error_set(err, "a vCPU sits on no bus");
    }
    if (json_get(options, "id") && !id) {
        return error_set(err, "property 'id' takes a string");
    }
    fields_init(cpu_place_options, &o);
    return check_type(m, driver, err) && check_properties(options, err) &&
           fields_parse(cpu_place_options, &o, options, lenient, own_options, err) && check_name(m, id, err) &&
           check_machine(m, err) && choose_place(m, &o, &index, err) && add(m, index, id, err);
}

bool machine_add_device(Machine *m, const Json *options, bool lenient, Error *err)
{
    const char *driver = text_of(options, "driver");
    if (driver && g_str_has_suffix(driver, CPU_TYPE_SUFFIX)) {
        return plug_cpu(m, driver, options, lenient, err);
    }
    return device_create(&m->platform, options, lenient, err) != NULL;
}

/* ---- Going ---- */

static Json *describe(Machine *m, const X86Cpu *cpu)
{
    CpuObject       *node = cpu_object_find(m, cpu);
    g_autofree char *path = object_path(&node->obj);
    Json            *data = json_new_object();
    if (node->id) {
        json_set(data, "device", json_new_string(node->id));
    }
    json_set(data, "path", json_new_string(path));
    return data;
}

static void remove_cpu(Machine *m, X86Cpu *cpu)
{
    unsigned index = (unsigned)cpu->vcpu.index;
    Json    *data  = describe(m, cpu);
    bool     held  = accel_hold(m->accel);
    if (m->debug_vcpu == &cpu->vcpu) {
        m->debug_vcpu = NULL;
    }
    cpu_object_remove(m, cpu);
    machine_remove_cpu(m, cpu);
    cpu_hotplug_unplugged(m->cpu_hotplug, index);
    if (machine_type(m)->cpus_changed) {
        machine_type(m)->cpus_changed(m);
    }
    accel_release(m->accel, held);
    platform_emit(&m->platform, "DEVICE_DELETED", data);
}

static void remove_ejected(void *opaque)
{
    Machine *m = opaque;
    for (guint i = m->cpus->len; i-- > 1;) {
        X86Cpu *cpu = m->cpus->pdata[i];
        if (cpu_hotplug_is_ejected(m->cpu_hotplug, (unsigned)cpu->vcpu.index)) {
            remove_cpu(m, cpu);
        }
    }
}

static void ejected(void *opaque, unsigned slot)
{
    Machine *m = opaque;
    loop_defer(m->platform.loop, remove_ejected, m);
}

static void refused(void *opaque, unsigned slot)
{
    Machine *m   = opaque;
    X86Cpu  *cpu = machine_cpu(m, slot);
    platform_emit(&m->platform, "DEVICE_UNPLUG_GUEST_ERROR", describe(m, cpu));
}

static const char *id_of(void *opaque, unsigned slot)
{
    const CpuObject *node = cpu_object_find(opaque, machine_cpu(opaque, slot));
    return node ? node->id : NULL;
}

bool machine_cpu_is_hotpluggable(const Machine *m, const X86Cpu *cpu)
{
    return m->cpu_hotplug && cpu->vcpu.index > 0;
}

bool machine_unplug_cpu(Machine *m, X86Cpu *cpu, Error *err)
{
    if (cpu->vcpu.index == 0) {
        return error_set(err, "the boot processor cannot be unplugged");
    }
    if (!m->cpu_hotplug) {
        return error_set(err, machine_type(m)->hotpluggable_cpus
                                  ? "without ACPI the guest cannot be asked to give a vCPU back (-machine acpi=off)"
                                  : "the vCPUs of this machine stay");
    }
    return cpu_hotplug_ask_back(m->cpu_hotplug, (unsigned)cpu->vcpu.index) ||
           error_set(err, "the guest has been asked to give vCPU %d back already", cpu->vcpu.index);
}

bool machine_make_cpu_hotplug(Machine *m, const CpuHotplugSetup *setup, Error *err)
{
    CpuHotplugSetup all = *setup;
    all.ejected         = ejected;
    all.refused         = refused;
    all.id              = id_of;
    all.opaque          = m;
    m->cpu_hotplug      = cpu_hotplug_create(&m->platform, &all, err);
    for (guint i = 0; m->cpu_hotplug && i < m->cpus->len; i++) {
        cpu_hotplug_plugged(m->cpu_hotplug, (unsigned)((X86Cpu *)m->cpus->pdata[i])->vcpu.index);
    }
    return m->cpu_hotplug != NULL;
}
