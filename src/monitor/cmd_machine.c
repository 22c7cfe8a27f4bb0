/* Commands about the machine: which types there are, and what this one is. */

#include "machine/cpu_object.h"
#include "machine/numa.h"
#include "monitor/command.h"
#include "monitor/cpu_model.h"

#include <string.h>

/* --- names --- */

static const Field name_info[] = { QMP_MAYBE_STRING("name"), {} };
static const Field name_result = QMP_OBJECT("", name_info);

static bool query_name(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_object();
    if (mon->machine->config.name) {
        json_add(*result, "name", json_new_string(mon->machine->config.name));
    }
    return true;
}

static const Field uuid_info[] = { QMP_STRING("UUID"), {} };
static const Field uuid_result = QMP_OBJECT("", uuid_info);

static bool query_uuid(Monitor *mon, void *args, Json **result, Error *err)
{
    const uint8_t *u = mon->machine->config.uuid;
    *result          = json_new_object();
    json_add(*result, "UUID",
             json_new_format("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
                             u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]));
    return true;
}

/* --- types of machines --- */

static const Field compat_info[]   = { QMP_STRING("qom-type"), QMP_STRING("property"), QMP_STRING("value"), {} };
static const Field machine_info[]  = { QMP_STRING("name"),
                                       QMP_MAYBE_STRING("alias"),
                                       QMP_MAYBE_BOOL("is-default"),
                                       QMP_INT("cpu-max"),
                                       QMP_BOOL("hotpluggable-cpus"),
                                       QMP_BOOL("numa-mem-supported"),
                                       QMP_BOOL("deprecated"),
                                       QMP_MAYBE_STRING("default-cpu-type"),
                                       QMP_MAYBE_STRING("default-ram-id"),
                                       QMP_BOOL("acpi"),
                                       QMP_MAYBE_LIST("compat-props", compat_info),
                                       {} };
static const Field machines_result = QMP_LIST("", machine_info);

typedef struct MachinesArgs {
    bool compat_props;
} MachinesArgs;

static const Field machines_args[] = {
    FIELD(MachinesArgs, compat_props, "compat-props", .help = "also show defaults that differ on older boards"),
    {},
};

static Json *describe_compat(const CompatProperty *c)
{
    Json *list = json_new_list();
    for (; c && c->type; c++) {
        Json *item = json_new_object();
        json_add(item, "qom-type", json_new_string(c->type));
        json_add(item, "property", json_new_string(c->property));
        json_add(item, "value", json_new_string(c->value));
        json_append(list, item);
    }
    return list;
}

typedef struct MachinesWalk {
    Json               *list;
    const MachinesArgs *args;
} MachinesWalk;

static void describe_machine(const ObjectType *type, void *opaque)
{
    MachinesWalk      *walk = opaque;
    const MachineType *mt   = (const MachineType *)type;
    if (type->class != OBJECT_CLASS_MACHINE || mt->missing) {
        return;
    }
    Json *m = json_new_object();
    json_add(m, "name", json_new_string(type->name));
    if (mt->alias) {
        json_add(m, "alias", json_new_string(mt->alias));
    }
    if (mt->is_default) {
        json_add(m, "is-default", json_new_bool(true));
    }
    json_add(m, "cpu-max", json_new_int(mt->max_cpus));
    json_add(m, "hotpluggable-cpus", json_new_bool(mt->hotpluggable_cpus));
    json_add(m, "numa-mem-supported", json_new_bool(false)); /* -numa mem= has gone from boards of this age */
    json_add(m, "deprecated", json_new_bool(false));
    if (mt->default_cpu) {
        json_add(m, "default-cpu-type", json_new_format("%s" CPU_TYPE_SUFFIX, mt->default_cpu));
    }
    if (mt->ram_id) {
        json_add(m, "default-ram-id", json_new_string(mt->ram_id));
    }
    json_add(m, "acpi", json_new_bool(!mt->no_acpi));
    if (walk->args->compat_props) {
        json_add(m, "compat-props", describe_compat(mt->compat));
    }
    json_append(walk->list, m);
}

static bool query_machines(Monitor *mon, void *args, Json **result, Error *err)
{
    MachinesWalk walk = { .list = json_new_list(), .args = args };
    object_type_foreach(describe_machine, &walk);
    *result = walk.list;
    return true;
}

/* --- this machine --- */

static const char *const arch_names[]  = { "x86_64", NULL };
static const Field       target_info[] = { QMP_ENUM("arch", arch_names), {} };
static const Field       target_result = QMP_OBJECT("", target_info);

static bool query_target(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_object();
    json_add(*result, "arch", json_new_string(arch_names[0]));
    return true;
}

static const Field kvm_info[] = { QMP_BOOL("enabled"), QMP_BOOL("present"), {} };
static const Field kvm_result = QMP_OBJECT("", kvm_info);

static bool query_kvm(Monitor *mon, void *args, Json **result, Error *err)
{
    Accel *accel = mon->machine->accel;
    *result      = json_new_object();
    json_add(*result, "enabled", json_new_bool(accel && !strcmp(accel->obj.type->name, "kvm")));
    json_add(*result, "present", json_new_bool(true)); /* this program has that accelerator */
    return true;
}

static const Field current_info[] = { QMP_BOOL("wakeup-suspend-support"), {} };
static const Field current_result = QMP_OBJECT("", current_info);

static bool query_current_machine(Monitor *mon, void *args, Json **result, Error *err)
{
    Platform *p = &mon->machine->platform;
    *result     = json_new_object();
    json_add(*result, "wakeup-suspend-support", json_new_bool(p->can_sleep && p->can_sleep(p->power_button)));
    return true;
}

/* --- vCPUs --- */

static const Field cpu_props[] = { QMP_MAYBE_INT("node-id"),   QMP_MAYBE_INT("drawer-id"),
                                   QMP_MAYBE_INT("book-id"),   QMP_MAYBE_INT("socket-id"),
                                   QMP_MAYBE_INT("die-id"),    QMP_MAYBE_INT("cluster-id"),
                                   QMP_MAYBE_INT("module-id"), QMP_MAYBE_INT("core-id"),
                                   QMP_MAYBE_INT("thread-id"), {} };
static const Field cpu_info[]  = { QMP_INT("cpu-index"),           QMP_STRING("qom-path"),
                                   QMP_INT("thread-id"),           QMP_MAYBE_OBJECT("props", cpu_props),
                                   QMP_ENUM("target", arch_names), {} };
static const Field cpus_result = QMP_LIST("", cpu_info);

/* Node of a vCPU; -1: there are none. */
static int node_of(const Machine *m, unsigned index)
{
    const NumaConfig *numa = m->config.numa;
    return numa && index < numa->n_cpus ? numa->cpu_node[index] : -1;
}

/* Where vCPU number `index` is: only levels that there are more than one of, but for the usual three. */
static Json *describe_place(const Machine *m, const X86Topology *t, unsigned index)
{
    X86Topology place = cpu_place(t, index);
    Json       *props = json_new_object();
    json_add(props, "core-id", json_new_int(place.cores));
    json_add(props, "thread-id", json_new_int(place.threads));
    json_add(props, "socket-id", json_new_int(place.sockets));
    if (t->dies > 1) {
        json_add(props, "die-id", json_new_int(place.dies));
    }
    if (t->modules > 1) {
        json_add(props, "module-id", json_new_int(place.modules));
    }
    if (node_of(m, index) >= 0) {
        json_add(props, "node-id", json_new_int(node_of(m, index)));
    }
    return props;
}

static char *cpu_path(Machine *m, const X86Cpu *cpu)
{
    CpuObject *node = cpu_object_find(m, cpu);
    return node ? object_path(&node->obj) : g_strdup("");
}

static void do_nothing(Vcpu *cpu, void *opaque)
{
}

static bool query_cpus_fast(Monitor *mon, void *args, Json **result, Error *err)
{
    Machine *m = mon->machine;
    *result    = json_new_list();
    for (guint i = 0; i < m->cpus->len; i++) {
        X86Cpu          *cpu  = m->cpus->pdata[i];
        g_autofree char *path = cpu_path(m, cpu);
        Json            *c    = json_new_object();
        if (!cpu->vcpu.thread_id && cpu->vcpu.has_thread) {
            vcpu_run_on(&cpu->vcpu, do_nothing, NULL); /* its thread has only just been made */
        }
        json_add(c, "cpu-index", json_new_int(cpu->vcpu.index));
        json_add(c, "qom-path", json_new_string(path));
        json_add(c, "thread-id", json_new_int(cpu->vcpu.thread_id));
        json_add(c, "props", describe_place(m, &m->topology, (unsigned)cpu->vcpu.index));
        json_add(c, "target", json_new_string(arch_names[0]));
        json_append(*result, c);
    }
    return true;
}

static const Field hotpluggable_cpu[] = {
    QMP_STRING("type"), QMP_INT("vcpus-count"), QMP_OBJECT("props", cpu_props), QMP_MAYBE_STRING("qom-path"), {}
};
static const Field hotpluggable_result = QMP_LIST("", hotpluggable_cpu);

static bool query_hotpluggable_cpus(Monitor *mon, void *args, Json **result, Error *err)
{
    Machine         *m    = mon->machine;
    const SmpConfig *smp  = &m->config.smp;
    X86Topology      t    = { .sockets = MAX(smp->sockets, 1),
                              .dies    = MAX(smp->dies, 1),
                              .modules = MAX(smp->modules, 1),
                              .cores   = MAX(smp->cores, 1),
                              .threads = MAX(smp->threads, 1) };
    g_autofree char *type = cpu_type_name(m);
    *result               = json_new_list();
    for (unsigned i = MAX(smp->max_cpus, smp->cpus); i-- > 0;) {
        Json *c = json_new_object();
        json_add(c, "props", describe_place(m, &t, i));
        json_add(c, "vcpus-count", json_new_int(1));
        json_add(c, "type", json_new_string(type));
        const X86Cpu *cpu = machine_cpu(m, i);
        if (cpu) {
            g_autofree char *path = cpu_path(m, cpu);
            json_add(c, "qom-path", json_new_string(path));
        }
        json_append(*result, c);
    }
    return true;
}

/* --- set-numa-node --- */

static const Field    numa_base[] = { QMP_STRING("type"), {} };
static const QmpUnion numa_union  = {
     .custom = QMP_UNION_CUSTOM, .base = numa_base, .tag = "type", .each = numa_foreach_type
};
static const Field numa_args[] = { { .name = "", .kind = FIELD_JSON, .custom = &numa_union.custom }, {} };

/* One -numa by QMP, while there is no machine yet. x-exit-preconfig checks what depends on all of them. */
static bool set_numa_node(Monitor *mon, void *args, Json **result, Error *err)
{
    Machine       *m = mon->machine;
    MachineConfig *c = &m->config;
    if (!machine_type(m)->numa) {
        return error_set(err, "the machine '%s' has nothing that tells the guest of nodes", machine_type(m)->name);
    }
    if (c->numa && !c->numa_open) {
        return error_set(err, "the command line has given NUMA nodes already (-numa)");
    }
    if (!c->numa) {
        c->numa      = numa_new(&c->smp, m->hmat);
        c->numa_open = true;
    }
    return numa_add(c->numa, args, false, err);
}

/* --- parts that are not there --- */

static const Field iothread_info[]  = { QMP_STRING("id"),
                                        QMP_INT("thread-id"),
                                        QMP_INT("poll-max-ns"),
                                        QMP_INT("poll-grow"),
                                        QMP_INT("poll-shrink"),
                                        QMP_INT("aio-max-batch"),
                                        {} };
static const Field iothreads_result = QMP_LIST("", iothread_info);
static bool        query_nothing(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    return true;
}

MONITOR_COMMANDS(machine) = {
    { .name   = "query-name",
      .result = &name_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "name of the guest",
      .run    = query_name },
    { .name   = "query-uuid",
      .result = &uuid_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "UUID of the guest",
      .run    = query_uuid },
    { .name            = "query-machines",
      .args            = machines_args,
      .args_size       = sizeof(MachinesArgs),
      .result          = &machines_result,
      .flags           = COMMAND_PRECONFIG,
      .member_features = (const MemberFeature[]){ { "compat-props", "unstable" }, {} },
      .help            = "types of machines",
      .run             = query_machines },
    { .name   = "query-target",
      .result = &target_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "what is emulated",
      .run    = query_target },
    { .name   = "query-kvm",
      .result = &kvm_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "is KVM in use",
      .run    = query_kvm },
    { .name   = "query-current-machine",
      .result = &current_result,
      .help   = "what this machine can do",
      .run    = query_current_machine },
    { .name = "query-cpus-fast", .result = &cpus_result, .help = "the vCPUs", .run = query_cpus_fast },
    { .name   = "query-hotpluggable-cpus",
      .result = &hotpluggable_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "the vCPUs there are and those there could be",
      .run    = query_hotpluggable_cpus },
    { .name   = "query-iothreads",
      .result = &iothreads_result,
      .flags  = COMMAND_PRECONFIG,
      .help   = "I/O threads: none",
      .run    = query_nothing },
    { .name  = "set-numa-node",
      .args  = numa_args,
      .flags = COMMAND_ONLY_PRECONFIG,
      .help  = "adds a NUMA node, or what belongs to one, as -numa does",
      .run   = set_numa_node },
    {},
};
