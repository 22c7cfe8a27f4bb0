/* Memory slots as ACPI's methods see them: 24 ports, through which one selected slot is read and written.
 * Specification: QEMU, docs/specs/acpi_mem_hotplug (2024); ACPI 6.4, section 6.3.5 for _OST. Machine lock.
 *
 * An event sets a bit of its slot and raises general purpose event 3, whose method asks all slots, tells the operating
 * system, and clears the bit. When the system has let go of a module its _EJ0 writes the eject bit; what it says by
 * _OST before that, or instead, tells whether it will. */

#include "devices/acpi/memory_hotplug.h"

enum {
    /* _OST: events, and states of those */
    OST_EJECT_REQUEST = 0x03,
    OST_EJECTION      = 0x103,
    OST_SUCCESS       = 0,
    OST_EJECT_PENDING = 0x84, /* "ejection in progress" */
};

struct MemoryHotplug {
    Device   dev;
    Region   ports;
    uint32_t selector;
    uint8_t  flags[MEMORY_SLOTS_MAX]; /* MEMORY_SLOT_INSERTING, MEMORY_SLOT_REMOVING */
    uint32_t ost_event[MEMORY_SLOTS_MAX], ost_status[MEMORY_SLOTS_MAX];
    void (*raise_gpe)(void *opaque, unsigned n);
    void *opaque;
};

static MemoryDevices *slots_of(const MemoryHotplug *h)
{
    return h->dev.platform->memory_devices;
}

/* What its methods are about: persistent modules have others (nvdimm.c). */
static MemoryDevice *module_in(const MemoryHotplug *h, unsigned slot)
{
    MemoryDevice *m = slots_of(h)->slots[slot];
    return m && m->kind == MEMORY_DIMM ? m : NULL;
}

/* ---- Ports ---- */

static uint8_t read_byte(const MemoryHotplug *h, uint64_t at)
{
    const MemoryDevice *m     = module_in(h, h->selector);
    unsigned            shift = 8 * (at & 7);
    if (at < MEMORY_HOTPLUG_LENGTH) {
        return m ? (uint8_t)(m->addr >> shift) : 0;
    }
    if (at < MEMORY_HOTPLUG_NODE) {
        return m ? (uint8_t)(m->size >> shift) : 0;
    }
    if (at < MEMORY_HOTPLUG_FLAGS) {
        return m ? (uint8_t)(m->node >> shift) : 0;
    }
    if (at == MEMORY_HOTPLUG_FLAGS) {
        return (uint8_t)((m ? MEMORY_SLOT_ENABLED : 0) | h->flags[h->selector]);
    }
    return 0xff;
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    const MemoryHotplug *h     = opaque;
    uint64_t             value = 0;
    for (unsigned i = 0; i < size; i++) {
        uint64_t byte = h->selector < slots_of(h)->n_slots ? read_byte(h, offset + i) : 0xff;
        value |= byte << (8 * i);
    }
    return value;
}

/* What the operating system said last of a slot, as QMP has it. */
static Json *slot_status(void *opaque, unsigned n)
{
    const MemoryHotplug *h    = opaque;
    const MemoryDevice  *m    = slots_of(h)->slots[n];
    Json                *info = json_new_object();
    g_autofree char     *slot = g_strdup_printf("%u", n);
    if (m && m->dev->id) {
        json_set(info, "device", json_new_string(m->dev->id));
    }
    json_set(info, "slot", json_new_string(slot));
    json_set(info, "slot-type", json_new_string("DIMM"));
    json_set(info, "source", json_new_int(h->ost_event[n]));
    json_set(info, "status", json_new_int(h->ost_status[n]));
    return info;
}

static const char *reason(uint32_t status)
{
    switch (status) {
    case 0x80: return "the guest does not support ejection";
    case 0x81: return "the guest has the memory in use";
    case 0x82: return "the guest is busy with the memory";
    case 0x83: return "something else has to be ejected before";
    default: return "the guest refused to give the memory back";
    }
}

static void write_status(MemoryHotplug *h, uint32_t status)
{
    uint32_t      event        = h->ost_event[h->selector];
    MemoryDevice *m            = module_in(h, h->selector);
    h->ost_status[h->selector] = status;
    Json *data                 = json_new_object();
    json_set(data, "info", slot_status(h, h->selector));
    platform_emit(h->dev.platform, "ACPI_DEVICE_OST", data);
    if (m && m->unplugging && (event == OST_EJECT_REQUEST || event == OST_EJECTION) && status != OST_SUCCESS &&
        status != OST_EJECT_PENDING) {
        h->flags[h->selector] &= (uint8_t)~MEMORY_SLOT_REMOVING;
        memory_device_refused(m, reason(status));
    }
}

static void write_flags(MemoryHotplug *h, uint8_t value)
{
    MemoryDevice *m = module_in(h, h->selector);
    h->flags[h->selector] &= (uint8_t) ~(value & (MEMORY_SLOT_INSERTING | MEMORY_SLOT_REMOVING));
    if (!(value & MEMORY_SLOT_EJECT)) {
        return;
    }
    if (m) {
        memory_device_ejected(m);
    } else {
        log_print(h->dev.platform->log, LOG_GUEST_ERRORS, "acpi-memory-hotplug: slot %u is empty, nothing to eject\n",
                  h->selector);
    }
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    MemoryHotplug *h = opaque;
    if (offset == MEMORY_HOTPLUG_SELECTOR && size == 4) {
        h->selector = (uint32_t)value;
        return;
    }
    if (h->selector >= slots_of(h)->n_slots) {
        return;
    }
    if (offset == MEMORY_HOTPLUG_OST && size == 4) {
        h->ost_event[h->selector] = (uint32_t)value;
    } else if (offset == MEMORY_HOTPLUG_STATUS && size == 4) {
        write_status(h, (uint32_t)value);
    } else if (offset == MEMORY_HOTPLUG_FLAGS) {
        write_flags(h, (uint8_t)value);
    }
}

static const IoOps ports_ops = {
    .name = "acpi-memory-hotplug", .access = IO_BYTE | IO_WORD | IO_LONG, .read = ports_read, .write = ports_write
};

/* ---- What happens to slots ---- */

static void plugged(void *opaque, MemoryDevice *m)
{
    MemoryHotplug *h  = opaque;
    h->flags[m->slot] = 0;
    if (m->kind == MEMORY_DIMM && m->dev->platform->started) {
        h->flags[m->slot] = MEMORY_SLOT_INSERTING;
        h->raise_gpe(h->opaque, MEMORY_HOTPLUG_GPE);
    }
}

static void ask_back(void *opaque, MemoryDevice *m)
{
    MemoryHotplug *h = opaque;
    h->flags[m->slot] |= MEMORY_SLOT_REMOVING;
    h->raise_gpe(h->opaque, MEMORY_HOTPLUG_GPE);
}

static void unplugged(void *opaque, MemoryDevice *m)
{
    MemoryHotplug *h  = opaque;
    h->flags[m->slot] = 0;
}

/* ---- Life ---- */

static bool memory_hotplug_realize(Device *dev, Error *err)
{
    MemoryHotplug *h = (MemoryHotplug *)dev;
    region_init_io(&h->ports, dev->platform->memory, ports_ops.name, MEMORY_HOTPLUG_SIZE, &ports_ops, h);
    isa_map_ports(dev, &h->ports, MEMORY_HOTPLUG_PORT);
    slots_of(h)->host = (MemoryDeviceHost){
        .plugged = plugged, .ask_back = ask_back, .unplugged = unplugged, .status = slot_status, .opaque = h
    };
    return true;
}

static void memory_hotplug_unrealize(Device *dev)
{
    MemoryHotplug *h = (MemoryHotplug *)dev;
    region_unmap(&h->ports);
    region_destroy(&h->ports);
    slots_of(h)->host = (MemoryDeviceHost){ 0 };
}

/* A guest that starts anew finds what is there by itself, and knows of no request to give something back. */
static void memory_hotplug_reset(Device *dev, ResetKind kind)
{
    MemoryHotplug *h = (MemoryHotplug *)dev;
    h->selector      = 0;
    for (unsigned i = 0; i < MEMORY_SLOTS_MAX; i++) {
        h->flags[i]     = 0;
        h->ost_event[i] = h->ost_status[i] = 0;
        if (slots_of(h)->slots[i]) {
            slots_of(h)->slots[i]->unplugging = false;
        }
    }
}

static bool memory_hotplug_post_load(Device *dev, Error *err)
{
    MemoryHotplug *h = (MemoryHotplug *)dev;
    for (unsigned i = 0; i < MEMORY_SLOTS_MAX; i++) {
        h->flags[i] &= MEMORY_SLOT_INSERTING | MEMORY_SLOT_REMOVING;
    }
    return true;
}

static const Field memory_hotplug_state[] = {
    FIELD(MemoryHotplug, selector, "selector"),
    FIELD_ARRAY(MemoryHotplug, flags, "flags"),
    FIELD_ARRAY(MemoryHotplug, ost_event, "ost-event"),
    FIELD_ARRAY(MemoryHotplug, ost_status, "ost-status"),
    {},
};

DEVICE_TYPE(memory_hotplug) = {
    .name      = "acpi-memory-hotplug",
    .parent    = "device",
    .help      = "memory slots, for ACPI",
    .class     = OBJECT_CLASS_DEVICE,
    .size      = sizeof(MemoryHotplug),
    .bus       = BUS_ISA,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = memory_hotplug_state,
    .realize   = memory_hotplug_realize,
    .unrealize = memory_hotplug_unrealize,
    .reset     = memory_hotplug_reset,
    .post_load = memory_hotplug_post_load,
};

MemoryHotplug *memory_hotplug_create(Platform *platform, void (*raise_gpe)(void *opaque, unsigned n), void *opaque,
                                     Error *err)
{
    MemoryHotplug *h = device_new(platform, "acpi-memory-hotplug");
    h->raise_gpe     = raise_gpe;
    h->opaque        = opaque;
    return device_realize(&h->dev, NULL, err) ? h : NULL;
}
