/* HMP: trees: devices on their buses, objects, memory regions, PCI functions.
 * Layouts are those that tools which read QEMU's output know. */

#include "base/text.h"
#include "devices/pci/classes.h"
#include "devices/pci/pci.h"
#include "monitor/cpu_model.h"
#include "monitor/hmp_command.h"
#include "monitor/qom.h"

#include <inttypes.h>
#include <string.h>

enum { DEPTH_MAX = 64 };

static void indent(Hmp *h, unsigned n)
{
    hmp_print(h, "%*s", (int)n, "");
}

/* --- classes of PCI functions --- */

static const char *class_name(uint16_t code, char buffer[16])
{
    const char *name = pci_class_name(code);
    if (name) {
        return name;
    }
    g_snprintf(buffer, 16, "Class %04x", code);
    return buffer;
}

/* --- info qtree --- */

static void print_value(Hmp *h, const Field *field, const Json *value)
{
    switch (value->kind) {
    case JSON_BOOL: hmp_print(h, value->boolean ? "true" : "false"); break;
    case JSON_INT:
    case JSON_UINT:
        if (field->size_unit) {
            g_autofree char *size = text_format_size(value->uinteger);
            hmp_print(h, "%" PRIu64 " (%s)", value->uinteger, size);
        } else if (value->kind == JSON_INT && value->integer < 0) {
            hmp_print(h, "%" PRId64, value->integer);
        } else {
            hmp_print(h, "%" PRIu64 " (0x%" PRIx64 ")", value->uinteger, value->uinteger);
        }
        break;
    case JSON_STRING: hmp_print(h, field->custom ? "%s" : "\"%s\"", value->string); break;
    default: json_print_to(h->out, value, false); break;
    }
}

static void print_properties(Hmp *h, const Field *table, Device *dev, unsigned level)
{
    for (const Field *f = table; f && f->kind != FIELD_END; f++) {
        g_auto(Error) ignored = { 0 };
        if (f->kind == FIELD_FLAT) {
            print_properties(h, f->sub, dev, level);
            continue;
        }
        g_autoptr(Json) value = f->write_only ? NULL : object_get(&dev->obj, f->name, &ignored);
        indent(h, level);
        hmp_print(h, "%s = ", f->name);
        if (value && value->kind != JSON_NULL) {
            print_value(h, f, value);
        } else {
            hmp_print(h, "\"\"");
        }
        hmp_print(h, "\n");
    }
}

typedef struct Pins {
    Hmp     *h;
    unsigned level;
} Pins;

static void print_pins(const char *name, bool input, unsigned n, void *opaque)
{
    Pins *p = opaque;
    indent(p->h, p->level);
    hmp_print(p->h, "%s \"%s\" %u\n", input ? "gpio-in" : "gpio-out", name ? name : "", n);
}

static void print_pci_place(Hmp *h, PciDevice *pci, unsigned level)
{
    char     buffer[16];
    uint16_t code = (uint16_t)(pci_get8(pci, PCI_CLASS_CODE + 2) << 8 | pci_get8(pci, PCI_CLASS_CODE + 1));
    indent(h, level);
    hmp_print(h, "class %s, addr %02x:%02x.%x, pci id %04x:%04x (sub %04x:%04x)\n", class_name(code, buffer),
              pci_bus_number(pci->pci_bus), PCI_SLOT(pci->devfn), PCI_FUNC(pci->devfn), pci_get16(pci, PCI_VENDOR_ID),
              pci_get16(pci, PCI_DEVICE_ID), pci_get16(pci, PCI_SUBSYSTEM_VENDOR_ID), pci_get16(pci, PCI_SUBSYSTEM_ID));
    for (unsigned i = 0; i < PCI_N_REGIONS; i++) {
        const PciBar *bar = &pci->bars[i];
        if (bar->region) {
            uint64_t addr = UINT64_MAX;
            pci_bar_address(pci, i, &addr);
            indent(h, level);
            hmp_print(h, "bar %u: %s at 0x%" PRIx64 " [0x%" PRIx64 "]\n", i, bar->kind == PCI_BAR_IO ? "i/o" : "mem",
                      addr, addr + bar->size - 1);
        }
    }
}

static void print_bus(Hmp *h, Bus *bus, unsigned level);

static void print_device(Hmp *h, Device *dev, unsigned level)
{
    Pins pins = { .h = h, .level = level + 2 };
    indent(h, level);
    hmp_print(h, "dev: %s, id \"%s\"\n", dev->obj.type->name, dev->id ? dev->id : "");
    device_foreach_pins(dev, print_pins, &pins);
    print_properties(h, dev->obj.type->properties, dev, level + 2);
    if (dev->bus && dev->bus->kind == BUS_PCI) {
        print_pci_place(h, (PciDevice *)dev, level + 2);
    }
    for (guint i = 0; dev->buses && i < dev->buses->len; i++) {
        print_bus(h, dev->buses->pdata[i], level + 2);
    }
}

static void print_bus(Hmp *h, Bus *bus, unsigned level)
{
    if (level / 2 > DEPTH_MAX) {
        return;
    }
    indent(h, level);
    hmp_print(h, "bus: %s\n", bus->name);
    indent(h, level + 2);
    hmp_print(h, "type %s\n", bus_kind_name(bus->kind));
    for (guint i = bus->devices->len; i-- > 0;) { /* the last one first */
        print_device(h, bus->devices->pdata[i], level + 2);
    }
}

static void print_homeless(Device *dev, void *opaque)
{
    if (!dev->bus) {
        print_device(opaque, dev, 2);
    }
}

static bool info_qtree(Hmp *h, Error *err)
{
    Platform *p    = &h->machine->platform;
    bool      main = false;
    for (guint i = 0; p->buses && i < p->buses->len; i++) {
        Bus *bus = p->buses->pdata[i];
        if (!bus->owner) {
            print_bus(h, bus, 0);
            if (bus->kind == BUS_SYSTEM && !main) {
                main = true;
                devices_foreach(p, print_homeless, h);
            }
        }
    }
    if (!main) {
        hmp_print(h, "bus: main-system-bus\n  type System\n");
        devices_foreach(p, print_homeless, h);
    }
    return true;
}

static bool info_qdm(Hmp *h, Error *err)
{
    cpu_model_device_help(h->out);
    return true;
}

/* --- info qom-tree --- */

static int compare_objects(gconstpointer a, gconstpointer b)
{
    return strcmp((*(Object *const *)a)->name, (*(Object *const *)b)->name);
}

static void print_object(Hmp *h, const Object *obj, unsigned level)
{
    if (level / 2 > DEPTH_MAX) {
        return;
    }
    g_autofree char *type = qom_type_name(h->machine, obj);
    indent(h, level);
    hmp_print(h, "/%s (%s)\n", obj->name ? obj->name : "", type);
    g_autoptr(GPtrArray) children = g_ptr_array_new();
    for (guint i = 0; obj->children && i < obj->children->len; i++) {
        g_ptr_array_add(children, obj->children->pdata[i]);
    }
    g_ptr_array_sort(children, compare_objects);
    for (guint i = 0; i < children->len; i++) {
        print_object(h, children->pdata[i], level + 2);
    }
}

static bool info_qom_tree(Hmp *h, Error *err)
{
    const char *path = hmp_given(h, "path") ? hmp_text(h, "path") : "/machine";
    Object     *root = h->machine->platform.objects;
    Object     *obj  = strcmp(path, "/") ? object_resolve(root, path) : root;
    if (!obj) {
        hmp_print(h, "Path '%s' could not be resolved.\n", path);
        return true;
    }
    print_object(h, obj, 0);
    return true;
}

/* --- info mtree --- */

typedef struct Owner {
    const Region *region;
    Device       *dev;
} Owner;

static void compare_owner(Device *dev, void *opaque)
{
    Owner    *o     = opaque;
    uintptr_t first = (uintptr_t)dev, at = (uintptr_t)o->region;
    if (at >= first && at < first + dev->obj.type->size) {
        o->dev = dev;
    }
}

/* Regions are embedded in their device's struct. */
static void print_owner(const Region *r, GString *out, void *opaque)
{
    Owner o = { .region = r };
    devices_foreach(opaque, compare_owner, &o);
    if (!o.dev) {
        g_string_append(out, " owner:{obj path=/machine}");
        return;
    }
    g_autofree char *path = object_path(&o.dev->obj);
    g_string_append_printf(out, " owner:{dev path=%s}", path);
}

static bool info_mtree(Hmp *h, Error *err)
{
    MemoryDump dump = { .flat     = hmp_given(h, "flatview"),
                        .dispatch = hmp_given(h, "dispatch_tree"),
                        .disabled = hmp_given(h, "disabled"),
                        .owner    = hmp_given(h, "owner") ? print_owner : NULL,
                        .opaque   = &h->machine->platform };
    memory_dump(h->machine->platform.memory, h->out, &dump);
    return true;
}

/* --- info pci --- */

static int64_t number_in(const Json *object, const char *key)
{
    const Json *value = json_get(object, key);
    return value && (value->kind == JSON_INT || value->kind == JSON_UINT) ? value->integer : 0;
}

static bool flag_in(const Json *object, const char *key)
{
    const Json *value = json_get(object, key);
    return value && value->kind == JSON_BOOL && value->boolean;
}

static void print_range(Hmp *h, const char *name, const Json *range)
{
    hmp_print(h, "      %s range [0x%08" PRIx64 ", 0x%08" PRIx64 "]\n", name, (uint64_t)number_in(range, "base"),
              (uint64_t)number_in(range, "limit"));
}

static void print_bridge(Hmp *h, const Json *bridge)
{
    const Json *bus = json_get(bridge, "bus"), *io = json_get(bus, "io_range");
    hmp_print(h, "      BUS %" PRId64 ".\n      secondary bus %" PRId64 ".\n      subordinate bus %" PRId64 ".\n",
              number_in(bus, "number"), number_in(bus, "secondary"), number_in(bus, "subordinate"));
    hmp_print(h, "      IO range [0x%04" PRIx64 ", 0x%04" PRIx64 "]\n", (uint64_t)number_in(io, "base"),
              (uint64_t)number_in(io, "limit"));
    print_range(h, "memory", json_get(bus, "memory_range"));
    print_range(h, "prefetchable memory", json_get(bus, "prefetchable_range"));
}

static void print_region(Hmp *h, const Json *region)
{
    uint64_t addr = (uint64_t)number_in(region, "address"), size = (uint64_t)number_in(region, "size");
    hmp_print(h, "      BAR%" PRId64 ": ", number_in(region, "bar"));
    if (g_strcmp0(json_get_string(region, "type"), "io") == 0) {
        hmp_print(h, "I/O at 0x%04" PRIx64 " [0x%04" PRIx64 "].\n", addr, addr + size - 1);
    } else {
        hmp_print(h, "%d bit%s memory at 0x%08" PRIx64 " [0x%08" PRIx64 "].\n",
                  flag_in(region, "mem_type_64") ? 64 : 32, flag_in(region, "prefetch") ? " prefetchable" : "", addr,
                  addr + size - 1);
    }
}

static void print_function(Hmp *h, const Json *dev, unsigned depth)
{
    const Json *class = json_get(dev, "class_info"), *id = json_get(dev, "id"), *bridge = json_get(dev, "pci_bridge");
    const Json *regions = json_get(dev, "regions");
    char        buffer[16];
    uint64_t    pin  = (uint64_t)number_in(dev, "irq_pin");
    const char *desc = json_get_string(class, "desc");
    hmp_print(h, "  Bus %2" PRId64 ", device %3" PRId64 ", function %" PRId64 ":\n", number_in(dev, "bus"),
              number_in(dev, "slot"), number_in(dev, "function"));
    hmp_print(h, "    %s: PCI device %04" PRIx64 ":%04" PRIx64 "\n",
              desc ? desc : class_name((uint16_t)number_in(class, "class"), buffer), (uint64_t)number_in(id, "vendor"),
              (uint64_t)number_in(id, "device"));
    if (json_get(id, "subsystem") && json_get(id, "subsystem-vendor")) {
        hmp_print(h, "      PCI subsystem %04" PRIx64 ":%04" PRIx64 "\n", (uint64_t)number_in(id, "subsystem-vendor"),
                  (uint64_t)number_in(id, "subsystem"));
    }
    if (pin) {
        hmp_print(h, "      IRQ %" PRId64 ", pin %c\n", number_in(dev, "irq"), (char)('A' + (pin - 1) % 4));
    }
    if (bridge) {
        print_bridge(h, bridge);
    }
    for (size_t i = 0; regions && regions->kind == JSON_LIST && i < regions->n; i++) {
        print_region(h, regions->items[i]);
    }
    hmp_print(h, "      id \"%s\"\n", json_get_string(dev, "qdev_id") ? json_get_string(dev, "qdev_id") : "");
    const Json *below = json_get(bridge, "devices");
    for (size_t i = 0; below && below->kind == JSON_LIST && i < below->n && depth < DEPTH_MAX; i++) {
        print_function(h, below->items[i], depth + 1);
    }
}

static bool info_pci(Hmp *h, Error *err)
{
    g_autoptr(Json) buses = hmp_qmp(h, "query-pci", NULL, err);
    if (!buses) {
        return false;
    }
    for (size_t i = 0; buses->kind == JSON_LIST && i < buses->n; i++) {
        const Json *devices = json_get(buses->items[i], "devices");
        for (size_t k = 0; devices && devices->kind == JSON_LIST && k < devices->n; k++) {
            print_function(h, devices->items[k], 0);
        }
    }
    if (buses->kind == JSON_LIST && buses->n == 0) {
        hmp_print(h, "PCI bus not available\n");
    }
    return true;
}

HMP_INFO(trees) = {
    { .name = "qtree", .help = "devices on their buses, with their properties", .run = info_qtree },
    { .name = "qdm", .help = "kinds of devices", .run = info_qdm },
    { .name      = "qom-tree",
      .params    = "[path]",
      .help      = "tree of objects, from /machine or another one down",
      .preconfig = true,
      .args      = { { "path", HMP_STRING, .optional = true, .words = HMP_WORDS_PATHS } },
      .run       = info_qom_tree },
    { .name   = "mtree",
      .params = "[-f][-d][-o][-D]",
      .help = "tree of memory regions (-f: the flat maps that it makes; -d: how they are searched, with -f; -o: whose "
              "they are; -D: also those that are switched off)",
      .args = { { "flatview", HMP_FLAG, .letter = 'f' },
                { "dispatch_tree", HMP_FLAG, .letter = 'd' },
                { "owner", HMP_FLAG, .letter = 'o' },
                { "disabled", HMP_FLAG, .letter = 'D' } },
      .run  = info_mtree },
    { .name = "pci", .help = "PCI functions", .run = info_pci },
    {},
};
