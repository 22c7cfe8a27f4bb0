/* pc-dimm: a memory module in a slot. Machine lock held. */

#include "devices/memory/memdevs.h"

static bool dimm_realize(Device *dev, Error *err)
{
    return memory_device_plug((MemoryDevice *)dev, 0, err);
}

static void dimm_unrealize(Device *dev)
{
    memory_device_unplug((MemoryDevice *)dev);
}

static const Field dimm_properties[] = {
    FIELD(MemoryDevice, memdev, "memdev", .required = true, .help = "memory backend that it shows"),
    FIELD(MemoryDevice, addr, "addr", .help = "guest-physical address; 0: wherever there is room"),
    FIELD(MemoryDevice, slot, "slot", .initial = -1, .min = -1, .max = INT32_MAX,
          .help = "slot; -1: the first free one"),
    FIELD(MemoryDevice, node, "node", .help = "NUMA node"),
    FIELD(MemoryDevice, size, "size", .read_only = true, .help = "bytes"),
    {},
};

DEVICE_TYPE(pc_dimm) = {
    .name           = "pc-dimm",
    .parent         = "device",
    .help           = "memory module",
    .class          = OBJECT_CLASS_DEVICE,
    .size           = sizeof(MemoryDevice),
    .properties     = dimm_properties,
    .bus            = BUS_NONE,
    .category       = DEVICE_MISC,
    .hotplug        = true,
    .realize        = dimm_realize,
    .unrealize      = dimm_unrealize,
    .unplug_request = memory_device_ask_back,
};
