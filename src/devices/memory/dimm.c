/* pc-dimm: a memory module in a slot; nvdimm: a persistent one, with an area for labels at the end of its backend,
 * which guests reach by ACPI's methods only (devices/acpi/nvdimm.c). Machine lock held. */

#include "devices/memory/memdevs.h"

#include "base/checked.h"
#include "base/text.h"

static bool dimm_realize(Device *dev, Error *err)
{
    Dimm *d        = (Dimm *)dev;
    d->memory.dev  = dev;
    d->memory.kind = MEMORY_DIMM;
    return memory_device_plug(&d->memory, 0, 0, err);
}

static void dimm_unrealize(Device *dev)
{
    memory_device_unplug(&((Dimm *)dev)->memory);
}

#define DIMM_PROPERTIES                                                                                                \
    FIELD(Dimm, memory.memdev, "memdev", .required = true, .help = "memory backend that it shows"),                    \
        FIELD(Dimm, memory.addr, "addr", .help = "guest-physical address; 0: wherever there is room"),                 \
        FIELD(Dimm, memory.slot, "slot", .initial = -1, .min = -1, .max = INT32_MAX,                                   \
              .help = "slot; -1: the first free one"),                                                                 \
        FIELD(Dimm, memory.node, "node", .help = "NUMA node"),                                                         \
        FIELD(Dimm, memory.size, "size", .read_only = true, .help = "bytes")

static const Field dimm_properties[] = { DIMM_PROPERTIES, {} };

DEVICE_TYPE(pc_dimm) = {
    .name           = "pc-dimm",
    .parent         = "device",
    .help           = "memory module",
    .class          = OBJECT_CLASS_DEVICE,
    .size           = sizeof(Dimm),
    .properties     = dimm_properties,
    .bus            = BUS_NONE,
    .category       = DEVICE_MISC,
    .hotplug        = true,
    .realize        = dimm_realize,
    .unrealize      = dimm_unrealize,
    .unplug_request = memory_device_ask_back,
};

/* ---- nvdimm ---- */

#define LABELS_MIN (128 * KiB) /* NVDIMM Namespace Specification, chapter 2 */
#define UNIT       (2 * MiB)

/* What the guest sees of the backend. */
static bool find_size(const Dimm *d, const MemoryBackend *backend, uint64_t *size, Error *err)
{
    if (d->label_size && d->label_size < LABELS_MIN) {
        return error_set(err, "label-size=: 128 KiB at least");
    }
    uint64_t rest = backend->size - MIN(backend->size, d->label_size);
    *size         = d->label_size ? align_down(rest, MAX(UNIT, backend->ram->page_size)) : rest;
    if (d->label_size && !*size) {
        g_autofree char *has = text_format_size(backend->size), *label = text_format_size(d->label_size);
        return error_set(err, "memory backend '%s' has %s: beside label-size=%s less than 2 MiB is left",
                         d->memory.memdev, has, label);
    }
    return true;
}

static bool nvdimm_realize(Device *dev, Error *err)
{
    Dimm          *d    = (Dimm *)dev;
    MemoryDevices *all  = dev->platform->memory_devices;
    uint64_t       size = 0;
    d->memory.dev       = dev;
    d->memory.kind      = MEMORY_NVDIMM;
    d->memory.readonly  = d->unarmed;
    if (!all) {
        return memory_device_plug(&d->memory, 0, 0, err); /* which says so */
    }
    if (!all->nvdimm_plugged) {
        return error_set(err, "this machine takes no NVDIMMs: -machine nvdimm=on has it do so");
    }
    MemoryBackend *backend = memory_backend_find(dev->platform->objects, d->memory.memdev, err);
    if (!backend) {
        return error_prefix(err, "memdev=: ");
    }
    if (!d->unarmed && (backend->ram->readonly || memory_backend_is_rom(backend))) {
        return error_set(err, "memory backend '%s' is read-only: it needs unarmed=on", d->memory.memdev);
    }
    return find_size(d, backend, &size, err) && memory_device_plug(&d->memory, size, 0, err);
}

static bool nvdimm_unplug(Device *dev, Error *err)
{
    return error_set(err, "device '%s': an NVDIMM cannot be unplugged while the guest runs",
                     dev->id ? dev->id : "nvdimm");
}

static bool parse_uuid(const Field *field, void *member, const Json *value, Error *err)
{
    Dimm *d = (Dimm *)((char *)member - offsetof(Dimm, uuid));
    if (value->kind != JSON_STRING) {
        return error_set(err, "not a UUID");
    }
    d->have_uuid = true;
    return text_parse_uuid(value->string, d->uuid, err);
}

static Json *print_uuid(const Field *field, const void *member)
{
    const Dimm    *d = (const Dimm *)((const char *)member - offsetof(Dimm, uuid));
    const uint8_t *u = d->uuid;
    if (!d->have_uuid) {
        return NULL;
    }
    return json_new_format("%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", u[0], u[1], u[2],
                           u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13], u[14], u[15]);
}

static const FieldCustom uuid_field = { .type_name = "str", .parse = parse_uuid, .print = print_uuid };

static const Field nvdimm_properties[] = {
    DIMM_PROPERTIES,
    FIELD(Dimm, label_size, "label-size", .size_unit = 1, .help = "bytes at the end of the backend for labels"),
    FIELD(Dimm, unarmed, "unarmed", .help = "the guest is told that what it writes is not kept"),
    { .name   = "uuid",
      .kind   = FIELD_CUSTOM,
      .offset = offsetof(Dimm, uuid),
      .size   = sizeof(((Dimm *)0)->uuid),
      .count  = 1,
      .custom = &uuid_field,
      .help   = "its first four bytes are the module's serial number" },
    {},
};

DEVICE_TYPE(nvdimm) = {
    .name           = "nvdimm",
    .parent         = "pc-dimm",
    .help           = "persistent memory module",
    .class          = OBJECT_CLASS_DEVICE,
    .size           = sizeof(Dimm),
    .properties     = nvdimm_properties,
    .bus            = BUS_NONE,
    .category       = DEVICE_MISC,
    .hotplug        = true,
    .realize        = nvdimm_realize,
    .unrealize      = dimm_unrealize,
    .unplug_request = nvdimm_unplug,
};
