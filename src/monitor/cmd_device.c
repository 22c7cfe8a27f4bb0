/* Commands about devices: plugging, unplugging, what is on the PCI buses. */

#include "devices/pci/classes.h"
#include "devices/pci/pci.h"
#include "machine/cpuplug.h"
#include "monitor/command.h"

#include <string.h>

/* --- device_add, device_del --- */

static const Field add_args[] = { QMP_STRING("driver"), QMP_MAYBE_STRING("bus"), QMP_MAYBE_STRING("id"), {} };

/* Values may be strings also where the property is none: QEMU takes them, and so scripts give them. */
static bool device_add(Monitor *mon, void *args, Json **result, Error *err)
{
    return machine_add_device(mon->machine, args, true, err);
}

typedef struct DelArgs {
    char *id;
} DelArgs;

static const Field del_args[] = {
    FIELD(DelArgs, id, "id", .required = true, .help = "the device's id, or its path in the tree of objects"),
    {},
};

static bool device_del(Monitor *mon, void *args, Json **result, Error *err)
{
    const char *id         = ((DelArgs *)args)->id;
    Object     *objects    = mon->machine->platform.objects;
    Object     *peripheral = object_container(object_container(objects, "machine"), "peripheral");
    Object     *obj        = *id == '/' ? object_resolve(objects, id) : object_child(peripheral, id);
    if (!obj) {
        return error_set_class(err, ERROR_DEVICE_NOT_FOUND, "no device '%s'", id);
    }
    if (obj->type->class != OBJECT_CLASS_DEVICE) {
        X86Cpu *cpu = cpu_object_cpu(obj);
        return cpu ? machine_unplug_cpu(mon->machine, cpu, err) : error_set(err, "'%s' is no device", id);
    }
    return device_unplug((Device *)obj, err);
}

/* --- query-pci --- */

static const Field range_info[]   = { QMP_INT("base"), QMP_INT("limit"), {} };
static const Field pci_bus_info[] = { QMP_INT("number"),
                                      QMP_INT("secondary"),
                                      QMP_INT("subordinate"),
                                      QMP_OBJECT("io_range", range_info),
                                      QMP_OBJECT("memory_range", range_info),
                                      QMP_OBJECT("prefetchable_range", range_info),
                                      {} };
static const Field class_info[]   = { QMP_MAYBE_STRING("desc"), QMP_INT("class"), {} };
static const Field id_info[]      = {
         QMP_INT("device"), QMP_INT("vendor"), QMP_MAYBE_INT("subsystem"), QMP_MAYBE_INT("subsystem-vendor"), {}
};
static const Field region_info[] = { QMP_INT("bar"),
                                     QMP_STRING("type"),
                                     QMP_INT("address"),
                                     QMP_INT("size"),
                                     QMP_MAYBE_BOOL("prefetch"),
                                     QMP_MAYBE_BOOL("mem_type_64"),
                                     {} };

static const Field device_info[];
static const Field bridge_info[] = { QMP_OBJECT("bus", pci_bus_info), QMP_MAYBE_LIST("devices", device_info), {} };
static const Field device_info[] = { QMP_INT("bus"),
                                     QMP_INT("slot"),
                                     QMP_INT("function"),
                                     QMP_OBJECT("class_info", class_info),
                                     QMP_OBJECT("id", id_info),
                                     QMP_MAYBE_INT("irq"),
                                     QMP_INT("irq_pin"),
                                     QMP_STRING("qdev_id"),
                                     QMP_MAYBE_OBJECT("pci_bridge", bridge_info),
                                     QMP_LIST("regions", region_info),
                                     {} };
static const Field pci_info[]    = { QMP_INT("bus"), QMP_LIST("devices", device_info), {} };
static const Field pci_result    = QMP_LIST("", pci_info);

static Json *describe_class(const PciDevice *pci)
{
    uint16_t class   = pci_get16(pci, PCI_CLASS_CODE + 1);
    const char *name = pci_class_name(class);
    Json       *info = json_new_object();
    if (name) {
        json_set(info, "desc", json_new_string(name));
    }
    json_add(info, "class", json_new_int(class));
    return info;
}

static Json *describe_id(const PciDevice *pci, bool bridge)
{
    Json *info = json_new_object();
    json_add(info, "device", json_new_int(pci_get16(pci, PCI_DEVICE_ID)));
    json_add(info, "vendor", json_new_int(pci_get16(pci, PCI_VENDOR_ID)));
    if (!bridge && pci_get16(pci, PCI_SUBSYSTEM_VENDOR_ID)) {
        json_add(info, "subsystem", json_new_int(pci_get16(pci, PCI_SUBSYSTEM_ID)));
        json_add(info, "subsystem-vendor", json_new_int(pci_get16(pci, PCI_SUBSYSTEM_VENDOR_ID)));
    }
    return info;
}

static Json *describe_regions(const PciDevice *pci)
{
    Json *list = json_new_list();
    for (unsigned i = 0; i < PCI_N_REGIONS; i++) {
        const PciBar *bar = &pci->bars[i];
        uint64_t      addr;
        if (!bar->region) {
            continue;
        }
        Json *region = json_new_object();
        json_add(region, "bar", json_new_int(i));
        json_add(region, "type", json_new_string(bar->kind == PCI_BAR_IO ? "io" : "memory"));
        json_add(region, "address", pci_bar_address(pci, i, &addr) ? json_new_uint(addr) : json_new_int(-1));
        json_add(region, "size", json_new_uint(bar->size));
        if (bar->kind != PCI_BAR_IO) {
            json_add(region, "prefetch", json_new_bool(bar->prefetch));
            json_add(region, "mem_type_64", json_new_bool(bar->kind == PCI_BAR_MEM64));
        }
        json_append(list, region);
    }
    return list;
}

static Json *describe_range(uint64_t base, uint64_t limit)
{
    Json *range = json_new_object();
    json_add(range, "base", json_new_uint(base));
    json_add(range, "limit", json_new_uint(limit));
    return range;
}

static Json *describe_functions(PciBus *bus);

/* The windows of a type 1 header: PCI-to-PCI Bridge Architecture 1.2, section 3.2.5. */
static Json *describe_bridge(const PciDevice *pci)
{
    uint64_t io_base  = (uint64_t)(pci_get8(pci, PCI_IO_BASE) & 0xf0) << 8;
    uint64_t io_limit = (uint64_t)(pci_get8(pci, PCI_IO_LIMIT) & 0xf0) << 8 | 0xfff;
    uint64_t base     = (uint64_t)(pci_get16(pci, PCI_MEMORY_BASE) & 0xfff0) << 16;
    uint64_t limit    = (uint64_t)(pci_get16(pci, PCI_MEMORY_LIMIT) & 0xfff0) << 16 | 0xfffff;
    uint64_t pbase    = (uint64_t)(pci_get16(pci, PCI_PREFETCH_BASE) & 0xfff0) << 16;
    uint64_t plimit   = (uint64_t)(pci_get16(pci, PCI_PREFETCH_LIMIT) & 0xfff0) << 16 | 0xfffff;
    if ((pci_get8(pci, PCI_IO_BASE) & 0xf) == 1) {
        io_base |= (uint64_t)pci_get16(pci, PCI_IO_BASE_UPPER) << 16;
        io_limit |= (uint64_t)pci_get16(pci, PCI_IO_LIMIT_UPPER) << 16;
    }
    if ((pci_get8(pci, PCI_PREFETCH_BASE) & 0xf) == 1) {
        pbase |= (uint64_t)pci_get32(pci, PCI_PREFETCH_BASE_UPPER) << 32;
        plimit |= (uint64_t)pci_get32(pci, PCI_PREFETCH_LIMIT_UPPER) << 32;
    }
    Json *info = json_new_object(), *bus = json_add(info, "bus", json_new_object());
    json_add(bus, "number", json_new_int(pci_get8(pci, PCI_PRIMARY_BUS)));
    json_add(bus, "secondary", json_new_int(pci_get8(pci, PCI_SECONDARY_BUS)));
    json_add(bus, "subordinate", json_new_int(pci_get8(pci, PCI_SUBORDINATE_BUS)));
    json_add(bus, "io_range", describe_range(io_base, io_limit));
    json_add(bus, "memory_range", describe_range(base, limit));
    json_add(bus, "prefetchable_range", describe_range(pbase, plimit));
    for (guint i = 0; i < pci->dev.buses->len; i++) {
        Bus *behind = pci->dev.buses->pdata[i];
        if (behind->kind == BUS_PCI) {
            json_set(info, "devices", describe_functions(pci_bus_from(behind)));
        }
    }
    return info;
}

static void describe_function(PciDevice *pci, void *list)
{
    bool  bridge = (pci_get8(pci, PCI_HEADER_TYPE) & 0x7f) == 1;
    Json *info   = json_new_object();
    json_add(info, "bus", json_new_int(pci_bus_number(pci->pci_bus)));
    json_add(info, "slot", json_new_int(PCI_SLOT(pci->devfn)));
    json_add(info, "function", json_new_int(PCI_FUNC(pci->devfn)));
    json_add(info, "class_info", describe_class(pci));
    json_add(info, "id", describe_id(pci, bridge));
    if (pci_get8(pci, PCI_INTERRUPT_PIN)) {
        json_add(info, "irq", json_new_int(pci_get8(pci, PCI_INTERRUPT_LINE)));
    }
    json_add(info, "irq_pin", json_new_int(pci_get8(pci, PCI_INTERRUPT_PIN)));
    json_add(info, "qdev_id", json_new_string(pci->dev.id ? pci->dev.id : ""));
    if (bridge) {
        json_add(info, "pci_bridge", describe_bridge(pci));
    }
    json_add(info, "regions", describe_regions(pci));
    json_append(list, info);
}

static Json *describe_functions(PciBus *bus)
{
    Json *list = json_new_list();
    pci_bus_foreach(bus, describe_function, list);
    return list;
}

/* Root buses: those that are not behind a function of another one. */
static bool query_pci(Monitor *mon, void *args, Json **result, Error *err)
{
    const Platform *p = &mon->machine->platform;
    *result           = json_new_list();
    for (guint i = 0; p->buses && i < p->buses->len; i++) {
        Bus *bus = p->buses->pdata[i];
        if (bus->kind == BUS_PCI && !(bus->owner && device_type(bus->owner)->bus == BUS_PCI)) {
            Json *info = json_new_object();
            json_add(info, "bus", json_new_int(pci_bus_number(pci_bus_from(bus))));
            json_add(info, "devices", describe_functions(pci_bus_from(bus)));
            json_append(*result, info);
        }
    }
    return true;
}

MONITOR_COMMANDS(device) = {
    { .name     = "device_add",
      .args     = add_args,
      .flags    = COMMAND_FREE_ARGUMENTS,
      .features = (const char *const[]){ "json-cli", "json-cli-hotplug", NULL },
      .help     = "plugs a device in",
      .run      = device_add },
    { .name      = "device_del",
      .args      = del_args,
      .args_size = sizeof(DelArgs),
      .help      = "unplugs a device",
      .run       = device_del },
    { .name = "query-pci", .result = &pci_result, .help = "what is on the PCI buses", .run = query_pci },
    {},
};
