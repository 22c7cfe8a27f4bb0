/* HMP: what "info" tells of the machine as a whole. Most of it is what QMP's queries answer, in the words that people
 * and scripts know. */

#include "base/text.h"
#include "devices/memory/memdevs.h"
#include "machine/numa.h"
#include "memory/ram.h"
#include "monitor/hmp_command.h"

#include <inttypes.h>
#include <string.h>

enum { RANGES_MAX = 1 << 16 }; /* of the memory map, that are looked at */

/* --- JSON --- */

static int64_t number_in(const Json *object, const char *key)
{
    const Json *value = json_get(object, key);
    return !value                     ? 0
           : value->kind == JSON_INT  ? value->integer
           : value->kind == JSON_UINT ? (int64_t)value->uinteger
                                      : 0;
}

static bool flag_in(const Json *object, const char *key)
{
    const Json *value = json_get(object, key);
    return value && value->kind == JSON_BOOL && value->boolean;
}

static const char *text_in(const Json *object, const char *key)
{
    const char *text = json_get_string(object, key);
    return text ? text : "";
}

/* Runs a query whose answer is a list, and calls print for each of its elements. */
static bool print_list(Hmp *h, const char *query, void (*print)(Hmp *h, const Json *element), Error *err)
{
    g_autoptr(Json) list = hmp_qmp(h, query, NULL, err);
    for (size_t i = 0; list && list->kind == JSON_LIST && i < list->n; i++) {
        print(h, list->items[i]);
    }
    return list != NULL;
}

/* --- the machine --- */

static bool info_version(Hmp *h, Error *err)
{
    g_autoptr(Json) v = hmp_qmp(h, "query-version", NULL, err);
    if (!v) {
        return false;
    }
    const Json *n = json_get(v, "qemu");
    hmp_print(h, "%" PRId64 ".%" PRId64 ".%" PRId64 " (%s)\n", number_in(n, "major"), number_in(n, "minor"),
              number_in(n, "micro"), text_in(v, "package"));
    return true;
}

static bool info_name(Hmp *h, Error *err)
{
    g_autoptr(Json) v = hmp_qmp(h, "query-name", NULL, err);
    if (v && json_get_string(v, "name")) {
        hmp_print(h, "%s\n", json_get_string(v, "name"));
    }
    return v != NULL;
}

static bool info_uuid(Hmp *h, Error *err)
{
    g_autoptr(Json) v = hmp_qmp(h, "query-uuid", NULL, err);
    if (v) {
        hmp_print(h, "%s\n", text_in(v, "UUID"));
    }
    return v != NULL;
}

static bool info_status(Hmp *h, Error *err)
{
    g_autoptr(Json) v = hmp_qmp(h, "query-status", NULL, err);
    if (!v) {
        return false;
    }
    bool        running = flag_in(v, "running");
    const char *status  = text_in(v, "status");
    hmp_print(h, "VM status: %s", running ? "running" : "paused");
    if (!running && strcmp(status, "paused") != 0) {
        hmp_print(h, " (%s)", status);
    }
    hmp_print(h, "\n");
    return true;
}

static bool info_kvm(Hmp *h, Error *err)
{
    g_autoptr(Json) v = hmp_qmp(h, "query-kvm", NULL, err);
    if (v) {
        hmp_print(h, "kvm support: %s\n",
                  !flag_in(v, "present")  ? "not compiled"
                  : flag_in(v, "enabled") ? "enabled"
                                          : "disabled");
    }
    return v != NULL;
}

typedef struct AccelList {
    Hmp        *h;
    const char *current;
} AccelList;

static void print_accel(const ObjectType *type, void *opaque)
{
    AccelList *l = opaque;
    if (type->class == OBJECT_CLASS_ACCEL && !((const AccelType *)type)->missing) {
        hmp_print(l->h, "%c %s: %s\n", strcmp(type->name, l->current) ? ' ' : '*', type->name, type->help);
    }
}

static bool info_accelerators(Hmp *h, Error *err)
{
    AccelList l = { .h = h, .current = h->machine->accel ? accel_type(h->machine->accel)->name : "" };
    object_type_foreach(print_accel, &l);
    return true;
}

/* --- vCPUs --- */

static void print_cpu(Hmp *h, const Json *cpu)
{
    int64_t index = number_in(cpu, "cpu-index");
    hmp_print(h, "%c CPU #%" PRId64 ": thread_id=%" PRId64 "\n", index == h->mon->cpu_index ? '*' : ' ', index,
              number_in(cpu, "thread-id"));
}

static bool info_cpus(Hmp *h, Error *err)
{
    g_auto(Error) none = { 0 };
    hmp_cpu(h, &none); /* puts an index that is gone right */
    return print_list(h, "query-cpus-fast", print_cpu, err);
}

static void print_slot(Hmp *h, const Json *cpu)
{
    static const char *const names[] = { "node-id",    "drawer-id", "book-id", "socket-id", "die-id",
                                         "cluster-id", "module-id", "core-id", "thread-id" };
    const Json              *props   = json_get(cpu, "props");
    hmp_print(h, "  type: \"%s\"\n  vcpus_count: \"%" PRId64 "\"\n", text_in(cpu, "type"),
              number_in(cpu, "vcpus-count"));
    if (json_get_string(cpu, "qom-path")) {
        hmp_print(h, "  qom_path: \"%s\"\n", json_get_string(cpu, "qom-path"));
    }
    hmp_print(h, "  CPUInstance Properties:\n");
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        if (json_get(props, names[i])) {
            hmp_print(h, "    %s: \"%" PRId64 "\"\n", names[i], number_in(props, names[i]));
        }
    }
}

static bool info_hotpluggable_cpus(Hmp *h, Error *err)
{
    size_t at = h->out->len;
    hmp_print(h, "Hotpluggable CPUs:\n");
    bool ok = print_list(h, "query-hotpluggable-cpus", print_slot, err);
    if (!ok) {
        g_string_truncate(h->out, at);
    }
    return ok;
}

/* --- memory --- */

static void print_backend(Hmp *h, const Json *m)
{
    const Json *nodes = json_get(m, "host-nodes");
    hmp_print(h, "memory backend: %s\n  size:  %" PRIu64 "\n", text_in(m, "id"), (uint64_t)number_in(m, "size"));
    static const char *const flags[] = { "merge", "dump", "prealloc", "share", "reserve" };
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        if (json_get(m, flags[i])) {
            hmp_print(h, "  %s: %s\n", flags[i], flag_in(m, flags[i]) ? "true" : "false");
        }
    }
    hmp_print(h, "  policy: %s\n  host nodes: ", text_in(m, "policy"));
    for (size_t i = 0; nodes && nodes->kind == JSON_LIST && i < nodes->n; i++) {
        hmp_print(h, "%s%" PRId64, i ? "," : "", nodes->items[i]->integer);
    }
    hmp_print(h, "\n");
}

static bool info_memdev(Hmp *h, Error *err)
{
    bool ok = print_list(h, "query-memdev", print_backend, err);
    if (ok) {
        hmp_print(h, "\n");
    }
    return ok;
}

/* The members of each kind of memory device, in the order in which they are shown. */
typedef enum MemberKind { MEMBER_HEX, MEMBER_NUMBER, MEMBER_TEXT, MEMBER_FLAG } MemberKind;

static const struct {
    const char *name;
    MemberKind  kind;
} device_members[] = {
    { "memaddr", MEMBER_HEX },           { "addr", MEMBER_HEX },
    { "slot", MEMBER_NUMBER },           { "node", MEMBER_NUMBER },
    { "requested-size", MEMBER_NUMBER }, { "size", MEMBER_NUMBER },
    { "max-size", MEMBER_NUMBER },       { "block-size", MEMBER_NUMBER },
    { "memdev", MEMBER_TEXT },           { "hotplugged", MEMBER_FLAG },
    { "hotpluggable", MEMBER_FLAG },
};

static void print_memory_device(Hmp *h, const Json *device)
{
    const Json *data = json_get(device, "data");
    const char *type = text_in(device, "type");
    hmp_print(h, "Memory device [%s]: \"%s\"\n", type, text_in(data, "id"));
    for (unsigned i = 0; i < G_N_ELEMENTS(device_members); i++) {
        const char *name = device_members[i].name;
        if (!json_get(data, name)) {
            continue;
        }
        hmp_print(h, "  %s: ", name);
        switch (device_members[i].kind) {
        case MEMBER_HEX: hmp_print(h, "0x%" PRIx64 "\n", number_in(data, name)); break;
        case MEMBER_NUMBER: hmp_print(h, "%" PRId64 "\n", number_in(data, name)); break;
        case MEMBER_TEXT: hmp_print(h, "%s\n", text_in(data, name)); break;
        case MEMBER_FLAG: hmp_print(h, "%s\n", flag_in(data, name) ? "true" : "false"); break;
        }
    }
}

static bool info_memory_devices(Hmp *h, Error *err)
{
    return print_list(h, "query-memory-devices", print_memory_device, err);
}

static bool info_memory_size(Hmp *h, Error *err)
{
    g_autoptr(Json) v = hmp_qmp(h, "query-memory-size-summary", NULL, err);
    if (!v) {
        return false;
    }
    hmp_print(h, "base memory: %" PRIu64 "\n", (uint64_t)number_in(v, "base-memory"));
    if (json_get(v, "plugged-memory")) {
        hmp_print(h, "plugged memory: %" PRIu64 "\n", (uint64_t)number_in(v, "plugged-memory"));
    }
    return true;
}

/* RAM blocks that the guest can reach, in the order of their first address. */
static bool info_ramblock(Hmp *h, Error *err)
{
    g_autoptr(GPtrArray) blocks = g_ptr_array_new();
    uint64_t at                 = 0;
    for (unsigned i = 0; i < RANGES_MAX; i++) {
        MemTarget t = address_space_lookup(h->machine->platform.memory_space, at);
        if (t.ram && !g_ptr_array_find(blocks, t.ram, NULL)) {
            g_ptr_array_add(blocks, t.ram);
        }
        if (t.len == 0 || at + t.len < at) {
            break;
        }
        at += t.len;
    }
    hmp_print(h, "%24s %8s  %18s %18s %18s\n", "Block Name", "PSize", "Offset", "Used", "Total");
    uint64_t offset = 0;
    for (unsigned i = 0; i < blocks->len; i++) {
        const RamBlock *ram = blocks->pdata[i];
        hmp_print(h, "%24s %8s  0x%016" PRIx64 " 0x%016" PRIx64 " 0x%016" PRIx64 "\n", ram->name, "4 KiB", offset,
                  ram->size, ram->size);
        offset += ram->size;
    }
    return true;
}

/* --- chardevs, iothreads --- */

static void print_chardev(Hmp *h, const Json *chr)
{
    hmp_print(h, "%s: filename=%s\n", text_in(chr, "label"), text_in(chr, "filename"));
}

static bool info_chardev(Hmp *h, Error *err)
{
    return print_list(h, "query-chardev", print_chardev, err);
}

static void print_iothread(Hmp *h, const Json *t)
{
    static const char *const names[] = { "poll-max-ns", "poll-grow", "poll-shrink", "aio-max-batch" };
    hmp_print(h, "%s:\n  thread_id=%" PRId64 "\n", text_in(t, "id"), number_in(t, "thread-id"));
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        hmp_print(h, "  %s=%" PRId64 "\n", names[i], number_in(t, names[i]));
    }
}

static bool info_iothreads(Hmp *h, Error *err)
{
    return print_list(h, "query-iothreads", print_iothread, err);
}

/* --- dumps, the translator --- */

static bool info_dump(Hmp *h, Error *err)
{
    g_autoptr(Json) v = hmp_qmp(h, "query-dump", NULL, err);
    if (!v) {
        return false;
    }
    const char *status = text_in(v, "status");
    hmp_print(h, "Status: %s\n", status);
    if (!strcmp(status, "active")) {
        int64_t total = number_in(v, "total");
        hmp_print(h, "Finished: %.2f %%\n", total ? 100.0 * (double)number_in(v, "completed") / (double)total : 0.0);
    }
    return true;
}

static bool info_jit(Hmp *h, Error *err)
{
    const Accel *accel = h->machine->accel;
    if (!accel_type(accel)->statistics) {
        return error_set(err, "the accelerator '%s' translates nothing", accel_type(accel)->name);
    }
    accel_type(accel)->statistics(h->machine->accel, h->out);
    return true;
}

/* --- what there is none of --- */

static const struct {
    const char *name, *text;
    bool        error;
} empty[] = {
    { "network", "" },
    { "block-jobs", "No active jobs\n" },
    { "snapshots", "no block device can store vmstate for snapshot\n" },
    { "capture", "" },
    { "migrate", "" },
    { "replay", "Record/replay is not active\n" },
    { "sev", "SEV is not enabled\n" },
    { "sgx", "No EPC regions defined, SGX not available\n" },
    { "spice", "Server: disabled\n" },
    { "tpm", "" },
    { "usernet", "" },
    { "vcpu_dirty_limit", "Dirty page limit not enabled!\n" },
    { "vnc", "None\n" },
    { "cryptodev", "" },
    { "usb", "USB support not enabled", true },
    { "usbhost", "USB support not enabled", true },
    { "vm-generation-id", "VM Generation ID device not found", true },
    { "opcount", "the translator counts no opcodes; see info jit", true },
    { "profile", "there is no profiler inside; see -perfmap and -jitdump", true },
    { "sync-profile", "the waiting for locks is not measured yet", true },
};

static bool info_nothing(Hmp *h, Error *err)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(empty); i++) {
        if (strcmp(empty[i].name, h->command->name) == 0) {
            if (empty[i].error) {
                return error_set(err, "%s", empty[i].text);
            }
            hmp_print(h, "%s", empty[i].text);
        }
    }
    return true;
}

/* --- NUMA --- */

typedef struct NodeSum {
    unsigned node;
    uint64_t plugged;
} NodeSum;

static void add_plugged(MemoryDevice *m, void *opaque)
{
    NodeSum *sum = opaque;
    sum->plugged += m->node == sum->node ? m->size : 0;
}

static bool info_numa(Hmp *h, Error *err)
{
    const NumaConfig *numa = h->machine->config.numa;
    GPtrArray        *cpus = h->machine->cpus;
    hmp_print(h, "%u nodes\n", numa ? numa->n : 0);
    for (unsigned n = 0; numa && n < numa->n; n++) {
        NodeSum sum = { .node = n };
        memory_devices_foreach(h->machine->platform.memory_devices, add_plugged, &sum);
        hmp_print(h, "node %u cpus:", n);
        for (guint i = 0; i < cpus->len; i++) {
            unsigned index = (unsigned)((const X86Cpu *)cpus->pdata[i])->vcpu.index;
            if (index < numa->n_cpus && numa->cpu_node[index] == (int)n) {
                hmp_print(h, " %u", index);
            }
        }
        hmp_print(h, "\nnode %u size: %" PRIu64 " MB\nnode %u plugged: %" PRIu64 " MB\n", n,
                  (numa->nodes[n].size + sum.plugged) / MiB, n, sum.plugged / MiB);
    }
    return true;
}

/* --- ROMs --- */

/* Stretches of the guest's address space that show RAM blocks it cannot write. */
static bool info_roms(Hmp *h, Error *err)
{
    uint64_t at = 0;
    for (unsigned i = 0; i < RANGES_MAX; i++) {
        MemTarget t = address_space_lookup(h->machine->platform.memory_space, at);
        if (t.host && !t.writable) {
            hmp_print(h, "addr=%016" PRIx64 " size=0x%06" PRIx64 " mem=%s name=\"%s\"\n", at, t.len,
                      t.region->kind == REGION_RAM ? "ram" : "rom", t.ram->name);
        }
        if (t.len == 0 || at + t.len < at) {
            break;
        }
        at += t.len;
    }
    return true;
}

#define NOTHING(name_, params_, help_, ...)                                                                            \
    {                                                                                                                  \
        .name = name_, .params = params_, .help = help_, .run = info_nothing, .args = { __VA_ARGS__ }                  \
    }

HMP_INFO(machine) = {
    { .name = "version", .help = "version of the emulator", .preconfig = true, .run = info_version },
    { .name = "name", .help = "name of the guest", .preconfig = true, .run = info_name },
    { .name = "uuid", .help = "UUID of the guest", .preconfig = true, .run = info_uuid },
    { .name = "status", .help = "is the guest running, or why not", .preconfig = true, .run = info_status },
    { .name = "kvm", .help = "is KVM used", .run = info_kvm },
    { .name = "accelerators", .help = "what can run guest code, and (*) what does", .run = info_accelerators },
    { .name = "cpus", .help = "vCPUs and their threads; the monitor's current one has a *", .run = info_cpus },
    { .name = "hotpluggable-cpus",
      .help = "where there is a vCPU, and where one can be plugged in",
      .run  = info_hotpluggable_cpus },
    { .name = "numa", .help = "NUMA nodes", .run = info_numa },
    { .name = "memdev", .help = "memory backends", .run = info_memdev },
    { .name = "roms", .help = "where the guest sees memory that it cannot write", .run = info_roms },
    { .name = "memory-devices", .help = "memory devices that are plugged in", .run = info_memory_devices },
    { .name = "memory_size_summary",
      .help = "how much memory there is, from the start and plugged in, in bytes",
      .run  = info_memory_size },
    { .name = "ramblock", .help = "blocks of RAM that the guest can reach", .run = info_ramblock },
    { .name = "chardev", .help = "chardevs and what they are connected to", .preconfig = true, .run = info_chardev },
    { .name = "iothreads", .help = "threads for I/O", .run = info_iothreads },
    { .name = "dump", .help = "how far the last dump-guest-memory is", .run = info_dump },
    { .name = "jit", .help = "what the translator has done so far", .run = info_jit },
    NOTHING("network", NULL, "network cards and what they are connected to"),
    NOTHING("block-jobs", NULL, "block operations in progress"),
    NOTHING("snapshots", NULL, "snapshots of the machine"),
    NOTHING("capture", NULL, "audio that is being recorded"),
    NOTHING("migrate", NULL, "state of migration"),
    NOTHING("replay", NULL, "record and replay"),
    NOTHING("sev", NULL, "AMD SEV"),
    NOTHING("sgx", NULL, "Intel SGX"),
    NOTHING("spice", NULL, "SPICE server"),
    NOTHING("tpm", NULL, "TPMs"),
    NOTHING("usernet", NULL, "connections of the user network"),
    NOTHING("vcpu_dirty_limit", NULL, "limits on how fast vCPUs may dirty memory"),
    NOTHING("vnc", NULL, "VNC servers"),
    NOTHING("cryptodev", NULL, "crypto backends"),
    NOTHING("usb", NULL, "USB devices of the guest"),
    NOTHING("usbhost", NULL, "USB devices of the host"),
    NOTHING("vm-generation-id", NULL, "VM generation ID"),
    NOTHING("sync-profile", "[-m] [-n] [max]", "how long locks were waited for", { "mean", HMP_FLAG, .letter = 'm' },
            { "no_coalesce", HMP_FLAG, .letter = 'n' }, { "max", HMP_INT32, .optional = true }),
    NOTHING("opcount", NULL, "opcodes that were translated"),
    NOTHING("profile", NULL, "where time goes"),
    {},
};
