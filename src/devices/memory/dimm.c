/* pc-dimm: a memory module in a slot. Machine lock held. */

#include "devices/memory/memdevs.h"

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

static const Field dimm_properties[] = {
    FIELD(Dimm, memory.memdev, "memdev", .required = true, .help = "memory backend that it shows"),
    FIELD(Dimm, memory.addr, "addr", .help = "guest-physical address; 0: wherever there is room"),
    FIELD(Dimm, memory.slot, "slot", .initial = -1, .min = -1, .max = INT32_MAX,
          .help = "slot; -1: the first free one"),
    FIELD(Dimm, memory.node, "node", .help = "NUMA node"),
    FIELD(Dimm, memory.size, "size", .read_only = true, .help = "bytes"),
    {},
};

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
