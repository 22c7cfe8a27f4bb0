/* QMP: memory devices and backends, and what the guest says of them.
 * Specification: QEMU 9.1 QMP reference, "Machines" and "ACPI". */

#include "devices/memory/memdevs.h"
#include "monitor/command.h"

/* ---- query-memory-devices ---- */

static const char *const device_kinds[] = {
    "dimm", "nvdimm", "virtio-pmem", "virtio-mem", "sgx-epc", "hv-balloon", NULL
};

static const Field dimm_data[] = {
    QMP_MAYBE_STRING("id"),   QMP_INT("addr"),      QMP_INT("slot"),
    QMP_INT("node"),          QMP_STRING("memdev"), QMP_BOOL("hotplugged"),
    QMP_BOOL("hotpluggable"), QMP_INT("size"),      {},
};
static const Field pmem_data[] = {
    QMP_MAYBE_STRING("id"), QMP_INT("memaddr"), QMP_INT("size"), QMP_STRING("memdev"), {},
};
static const Field mem_data[] = {
    QMP_MAYBE_STRING("id"), QMP_INT("memaddr"),   QMP_INT("requested-size"),
    QMP_INT("size"),        QMP_INT("max-size"),  QMP_INT("block-size"),
    QMP_INT("node"),        QMP_STRING("memdev"), {},
};
static const Field dimm_variant[] = { QMP_OBJECT("data", dimm_data), {} };
static const Field pmem_variant[] = { QMP_OBJECT("data", pmem_data), {} };
static const Field mem_variant[]  = { QMP_OBJECT("data", mem_data), {} };

static const Field      device_base[]     = { QMP_ENUM("type", device_kinds), {} };
static const QmpVariant device_variants[] = { { "dimm", dimm_variant },
                                              { "nvdimm", dimm_variant },
                                              { "virtio-pmem", pmem_variant },
                                              { "virtio-mem", mem_variant },
                                              {} };
static const QmpUnion   device_info       = {
            .custom = QMP_UNION_CUSTOM, .base = device_base, .tag = "type", .variants = device_variants
};
static const Field device_element = {
    .name = "", .kind = FIELD_JSON, .size = sizeof(Json *), .count = 1, .custom = &device_info.custom
};
static const Field device_info_result = QMP_LIST_OF("", &device_element);

static void describe_module(const MemoryDevice *m, Json *data)
{
    json_set(data, "addr", json_new_uint(m->addr));
    json_set(data, "slot", json_new_int(m->slot));
    json_set(data, "node", json_new_int(m->node));
    json_set(data, "hotplugged", json_new_bool(m->dev->hotplugged));
    json_set(data, "hotpluggable", json_new_bool(device_type(m->dev)->hotplug));
    json_set(data, "size", json_new_uint(m->size));
}

/* What the properties of the device say beside that. */
static void describe_virtio(const MemoryDevice *m, Json *data)
{
    static const char *const properties[] = { "requested-size", "block-size" };
    json_set(data, "memaddr", json_new_uint(m->addr));
    json_set(data, "size", json_new_uint(m->usable));
    for (unsigned i = 0; m->kind == MEMORY_VIRTIO_MEM && i < G_N_ELEMENTS(properties); i++) {
        g_auto(Error) ignored = {};
        json_set(data, properties[i], object_get(&m->dev->obj, properties[i], &ignored));
    }
    if (m->kind == MEMORY_VIRTIO_MEM) {
        json_set(data, "max-size", json_new_uint(m->size));
        json_set(data, "node", json_new_int(m->node));
    }
}

static void add_device(MemoryDevice *m, void *opaque)
{
    static const char *const kinds[] = { [MEMORY_DIMM]        = "dimm",
                                         [MEMORY_NVDIMM]      = "nvdimm",
                                         [MEMORY_VIRTIO_PMEM] = "virtio-pmem",
                                         [MEMORY_VIRTIO_MEM]  = "virtio-mem" };
    Json                    *info = json_new_object(), *data = json_new_object();
    g_autofree char         *path = object_path(&m->backend->obj);
    if (m->dev->id) {
        json_set(data, "id", json_new_string(m->dev->id));
    }
    if (m->kind < MEMORY_VIRTIO_PMEM) {
        describe_module(m, data);
    } else {
        describe_virtio(m, data);
    }
    json_set(data, "memdev", json_new_string(path));
    json_set(info, "type", json_new_string(kinds[m->kind]));
    json_set(info, "data", data);
    json_append(opaque, info);
}

static bool query_memory_devices(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    memory_devices_foreach(mon->machine->platform.memory_devices, add_device, *result);
    return true;
}

/* ---- query-memory-size-summary ---- */

static const Field size_info[]      = { QMP_INT("base-memory"), QMP_MAYBE_INT("plugged-memory"), {} };
static const Field size_info_result = QMP_OBJECT("", size_info);

static bool query_memory_size_summary(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_object();
    json_set(*result, "base-memory", json_new_uint(mon->machine->config.ram_size));
    json_set(*result, "plugged-memory", json_new_uint(memory_devices_plugged(mon->machine->platform.memory_devices)));
    return true;
}

/* ---- query-memdev ---- */

static const Field memdev_info[] = {
    QMP_MAYBE_STRING("id"),
    QMP_INT("size"),
    QMP_BOOL("merge"),
    QMP_BOOL("dump"),
    QMP_BOOL("prealloc"),
    QMP_BOOL("share"),
    QMP_MAYBE_BOOL("reserve"),
    QMP_LIST_OF("host-nodes", &qmp_int),
    QMP_ENUM("policy", host_mem_policy_names),
    {},
};
static const Field memdev_info_result = QMP_LIST("", memdev_info);

static void add_backend(MemoryBackend *b, void *opaque)
{
    Json *info = json_new_object(), *nodes = json_new_list();
    for (guint i = 0; b->host_nodes && i < b->host_nodes->len; i++) {
        json_append(nodes, json_new_int(GPOINTER_TO_UINT(b->host_nodes->pdata[i])));
    }
    json_set(info, "id", json_new_string(b->obj.name));
    json_set(info, "size", json_new_uint(b->size));
    json_set(info, "merge", json_new_bool(b->merge));
    json_set(info, "dump", json_new_bool(b->dump));
    json_set(info, "prealloc", json_new_bool(b->prealloc));
    json_set(info, "share", json_new_bool(b->share));
    json_set(info, "reserve", json_new_bool(b->reserve));
    json_set(info, "host-nodes", nodes);
    json_set(info, "policy", json_new_string(host_mem_policy_names[b->policy]));
    json_append(opaque, info);
}

static bool query_memdev(Monitor *mon, void *args, Json **result, Error *err)
{
    *result = json_new_list();
    memory_backends_foreach(mon->machine->platform.objects, add_backend, *result);
    return true;
}

/* ---- query-acpi-ospm-status ---- */

static const char *const slot_kinds[] = { "DIMM", "CPU", NULL };

static const Field ost_info[] = {
    QMP_MAYBE_STRING("device"), QMP_STRING("slot"), QMP_ENUM("slot-type", slot_kinds),
    QMP_INT("source"),          QMP_INT("status"),  {},
};
static const Field ost_info_result = QMP_LIST("", ost_info);

static bool query_acpi_ospm_status(Monitor *mon, void *args, Json **result, Error *err)
{
    MemoryDevices    *all  = mon->machine->platform.memory_devices;
    const CpuHotplug *cpus = mon->machine->cpu_hotplug;
    if ((!all || !all->host.status) && !cpus) {
        return error_set(err, "this machine has no slots that ACPI knows of");
    }
    *result = json_new_list();
    for (unsigned i = 0; all && all->host.status && i < all->n_slots; i++) {
        json_append(*result, all->host.status(all->host.opaque, i));
    }
    for (unsigned i = 0; cpus && i < cpu_hotplug_slots(cpus); i++) {
        json_append(*result, cpu_hotplug_status(cpus, i));
    }
    return true;
}

MONITOR_COMMANDS(memory) = {
    { .name   = "query-memory-devices",
      .result = &device_info_result,
      .help   = "memory that is plugged in",
      .run    = query_memory_devices },
    { .name = "query-memdev", .result = &memdev_info_result, .help = "memory backends", .run = query_memdev },
    { .name   = "query-memory-size-summary",
      .result = &size_info_result,
      .help   = "how much memory there is",
      .run    = query_memory_size_summary },
    { .name   = "query-acpi-ospm-status",
      .result = &ost_info_result,
      .help   = "what the guest has said of its slots",
      .run    = query_acpi_ospm_status },
    {},
};

static const Field deleted_data[] = { QMP_MAYBE_STRING("device"), QMP_STRING("path"), {} };
static const Field refused_data[] = { QMP_STRING("device"), QMP_STRING("msg"), {} };
static const Field ost_data[]     = { QMP_OBJECT("info", ost_info), {} };

static const Field size_data[] = { QMP_MAYBE_STRING("id"), QMP_INT("size"), QMP_STRING("qom-path"), {} };

MONITOR_EVENTS(memory) = {
    { .name = "MEMORY_DEVICE_SIZE_CHANGE", .data = size_data, .limited = true, .key = "qom-path" },
    { .name = "ACPI_DEVICE_OST", .data = ost_data },
    { .name = "MEM_UNPLUG_ERROR", .data = refused_data, .flags = COMMAND_DEPRECATED },
    { .name = "DEVICE_UNPLUG_GUEST_ERROR", .data = deleted_data },
    { .name = "DEVICE_DELETED", .data = deleted_data },
    {},
};
