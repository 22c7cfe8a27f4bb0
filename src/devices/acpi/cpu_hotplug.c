/* vCPUs that come and go as ACPI's methods see them: a few ports, through which one selected slot is read and written.
 * Specification: QEMU, docs/specs/acpi_cpu_hotplug (2024); ACPI 6.4, section 6.3.5 for _OST. Machine lock.
 *
 * An event sets a bit of its slot and raises general purpose event 2, whose method looks for slots with such bits,
 * tells the operating system, and clears them. When the system has let go of a vCPU its _EJ0 writes the eject bit; what
 * it says by _OST before that, or instead, tells whether it will. Until somebody writes 0 to the selector, the ports
 * show a bitmap of the APIC IDs that are there, for firmware of another age. */

#include "devices/acpi/cpu_hotplug.h"

enum {
    BITMAP_SIZE = 32, /* ports, as long as the older interface shows */

    /* _OST: events, and states of those */
    OST_EJECT_REQUEST = 0x03,
    OST_EJECTION      = 0x103,
    OST_SUCCESS       = 0,
    OST_EJECT_PENDING = 0x84, /* "ejection in progress" */
};

struct CpuHotplug {
    Device          dev;
    CpuHotplugSetup setup;
    Region          ports;
    bool            modern;
    uint32_t        selector;
    uint8_t         command;
    uint8_t         flags[CPU_SLOTS_MAX]; /* CPU_SLOT_INSERTING, CPU_SLOT_REMOVING, CPU_SLOT_FIRMWARE */
    bool            asked[CPU_SLOTS_MAX]; /* for it back */
    uint32_t        ost_event[CPU_SLOTS_MAX], ost_status[CPU_SLOTS_MAX];

    bool present[CPU_SLOTS_MAX], ejected[CPU_SLOTS_MAX]; /* the machine's; ejected: it will go at once */
};

static bool is_enabled(const CpuHotplug *h, unsigned slot)
{
    return h->present[slot] && !h->ejected[slot];
}

/* ---- Ports ---- */

static uint32_t read_bitmap(const CpuHotplug *h, uint64_t at)
{
    uint32_t bits = 0;
    for (unsigned i = 0; i < h->setup.n_slots; i++) {
        uint32_t id = h->setup.apic_ids[i];
        bits |= is_enabled(h, i) && id >= 8 * at && id - 8 * at < 32 ? 1u << (id - 8 * at) : 0;
    }
    return bits;
}

static uint32_t read_data(const CpuHotplug *h)
{
    switch (h->command) {
    case CPU_COMMAND_NEXT: return h->selector;
    case CPU_COMMAND_ID: return h->setup.apic_ids[h->selector];
    default: return 0;
    }
}

static uint64_t ports_read(void *opaque, uint64_t offset, unsigned size)
{
    const CpuHotplug *h = opaque;
    if (!h->modern) {
        return read_bitmap(h, offset);
    }
    if (h->selector >= h->setup.n_slots) {
        return 0;
    }
    if (offset == CPU_HOTPLUG_FLAGS && size == 1) {
        return (is_enabled(h, h->selector) ? CPU_SLOT_ENABLED : 0) | h->flags[h->selector];
    }
    return offset == CPU_HOTPLUG_DATA && size == 4 ? read_data(h) : 0; /* APIC IDs have 32 bits: DATA2 is 0 */
}

Json *cpu_hotplug_status(const CpuHotplug *h, unsigned slot)
{
    Json            *info   = json_new_object();
    g_autofree char *number = g_strdup_printf("%u", slot);
    const char      *id     = h->present[slot] ? h->setup.id(h->setup.opaque, slot) : NULL;
    if (id) {
        json_set(info, "device", json_new_string(id));
    }
    json_set(info, "slot", json_new_string(number));
    json_set(info, "slot-type", json_new_string("CPU"));
    json_set(info, "source", json_new_int(h->ost_event[slot]));
    json_set(info, "status", json_new_int(h->ost_status[slot]));
    return info;
}

static void write_status(CpuHotplug *h, uint32_t status)
{
    unsigned slot       = h->selector;
    uint32_t event      = h->ost_event[slot];
    h->ost_status[slot] = status;
    Json *data          = json_new_object();
    json_set(data, "info", cpu_hotplug_status(h, slot));
    platform_emit(h->dev.platform, "ACPI_DEVICE_OST", data);
    if (h->asked[slot] && is_enabled(h, slot) && (event == OST_EJECT_REQUEST || event == OST_EJECTION) &&
        status != OST_SUCCESS && status != OST_EJECT_PENDING) {
        h->flags[slot] &= (uint8_t)~CPU_SLOT_REMOVING;
        h->asked[slot] = false;
        h->setup.refused(h->setup.opaque, slot);
    }
}

/* The boot processor stays: too much is connected to it. */
static void eject(CpuHotplug *h)
{
    unsigned slot = h->selector;
    if (!is_enabled(h, slot) || slot == 0) {
        log_print(h->dev.platform->log, LOG_GUEST_ERRORS, "acpi-cpu-hotplug: slot %u: %s\n", slot,
                  slot ? "nothing to eject" : "the boot processor cannot go");
        return;
    }
    h->flags[slot]   = 0;
    h->ejected[slot] = true;
    h->setup.ejected(h->setup.opaque, slot);
}

static void write_flags(CpuHotplug *h, uint8_t value)
{
    h->flags[h->selector] &= (uint8_t) ~(value & (CPU_SLOT_INSERTING | CPU_SLOT_REMOVING));
    if (value & CPU_SLOT_EJECT) {
        eject(h);
    } else if (value & CPU_SLOT_FIRMWARE && is_enabled(h, h->selector)) {
        h->flags[h->selector] |= CPU_SLOT_FIRMWARE;
    }
}

/* From the selected slot on, so that none is left out when the guest handles one at a time. */
static void select_next(CpuHotplug *h)
{
    for (unsigned i = 0; i < h->setup.n_slots; i++) {
        unsigned slot = (h->selector + i) % h->setup.n_slots;
        if (h->flags[slot] & (CPU_SLOT_INSERTING | CPU_SLOT_REMOVING)) {
            h->selector = slot;
            return;
        }
    }
}

static void ports_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    CpuHotplug *h = opaque;
    if (offset == CPU_HOTPLUG_SELECTOR && size == 4) {
        if (h->modern) {
            h->selector = (uint32_t)value;
        }
        h->modern |= value == 0;
        return;
    }
    if (!h->modern || h->selector >= h->setup.n_slots) {
        return;
    }
    if (offset == CPU_HOTPLUG_FLAGS && size == 1) {
        write_flags(h, (uint8_t)value);
    } else if (offset == CPU_HOTPLUG_COMMAND && size == 1) {
        h->command = (uint8_t)value;
        if (value == CPU_COMMAND_NEXT) {
            select_next(h);
        }
    } else if (offset == CPU_HOTPLUG_DATA && size == 4 && h->command == CPU_COMMAND_OST_EVENT) {
        h->ost_event[h->selector] = (uint32_t)value;
    } else if (offset == CPU_HOTPLUG_DATA && size == 4 && h->command == CPU_COMMAND_OST_STATUS) {
        write_status(h, (uint32_t)value);
    }
}

static const IoOps ports_ops = {
    .name = "acpi-cpu-hotplug", .access = IO_BYTE | IO_WORD | IO_LONG, .read = ports_read, .write = ports_write
};

/* ---- What happens to slots ---- */

void cpu_hotplug_plugged(CpuHotplug *h, unsigned slot)
{
    h->present[slot] = true;
    h->ejected[slot] = h->asked[slot] = false;
    h->flags[slot]                    = 0;
    if (h->dev.platform->started) {
        h->flags[slot] = CPU_SLOT_INSERTING;
        h->setup.raise_gpe(h->setup.gpe_opaque, CPU_HOTPLUG_GPE);
    }
}

void cpu_hotplug_unplugged(CpuHotplug *h, unsigned slot)
{
    h->present[slot] = h->ejected[slot] = h->asked[slot] = false;
    h->flags[slot]                                       = 0;
}

bool cpu_hotplug_ask_back(CpuHotplug *h, unsigned slot)
{
    if (h->asked[slot] || h->ejected[slot]) {
        return false;
    }
    h->asked[slot] = true;
    h->flags[slot] |= CPU_SLOT_REMOVING;
    h->setup.raise_gpe(h->setup.gpe_opaque, CPU_HOTPLUG_GPE);
    return true;
}

bool cpu_hotplug_is_ejected(const CpuHotplug *h, unsigned slot)
{
    return h->ejected[slot];
}

unsigned cpu_hotplug_slots(const CpuHotplug *h)
{
    return h->setup.n_slots;
}

/* ---- Life ---- */

static bool cpu_hotplug_realize(Device *dev, Error *err)
{
    CpuHotplug *h = (CpuHotplug *)dev;
    region_init_io(&h->ports, dev->platform->memory, ports_ops.name, BITMAP_SIZE, &ports_ops, h);
    isa_map_ports(dev, &h->ports, h->setup.port);
    return true;
}

static void cpu_hotplug_unrealize(Device *dev)
{
    CpuHotplug *h = (CpuHotplug *)dev;
    region_unmap(&h->ports);
    region_destroy(&h->ports);
}

/* A guest that starts anew finds what is there by itself, and knows of no request to give something back. The selector
 * and which interface is shown stay. */
static void cpu_hotplug_reset(Device *dev, ResetKind kind)
{
    CpuHotplug *h = (CpuHotplug *)dev;
    h->command    = CPU_COMMAND_NEXT;
    for (unsigned i = 0; i < CPU_SLOTS_MAX; i++) {
        h->flags[i]     = 0;
        h->asked[i]     = false;
        h->ost_event[i] = h->ost_status[i] = 0;
    }
}

static bool cpu_hotplug_post_load(Device *dev, Error *err)
{
    CpuHotplug *h = (CpuHotplug *)dev;
    for (unsigned i = 0; i < CPU_SLOTS_MAX; i++) {
        h->flags[i] &= CPU_SLOT_INSERTING | CPU_SLOT_REMOVING | CPU_SLOT_FIRMWARE;
    }
    return true;
}

static const Field cpu_hotplug_state[] = {
    FIELD(CpuHotplug, modern, "modern"),
    FIELD(CpuHotplug, selector, "selector"),
    FIELD(CpuHotplug, command, "command"),
    FIELD_ARRAY(CpuHotplug, flags, "flags"),
    FIELD_ARRAY(CpuHotplug, asked, "asked"),
    FIELD_ARRAY(CpuHotplug, ost_event, "ost-event"),
    FIELD_ARRAY(CpuHotplug, ost_status, "ost-status"),
    {},
};

DEVICE_TYPE(cpu_hotplug) = {
    .name      = "acpi-cpu-hotplug",
    .parent    = "device",
    .help      = "vCPUs that come and go, for ACPI",
    .class     = OBJECT_CLASS_DEVICE,
    .size      = sizeof(CpuHotplug),
    .bus       = BUS_ISA,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = cpu_hotplug_state,
    .realize   = cpu_hotplug_realize,
    .unrealize = cpu_hotplug_unrealize,
    .reset     = cpu_hotplug_reset,
    .post_load = cpu_hotplug_post_load,
};

CpuHotplug *cpu_hotplug_create(Platform *platform, const CpuHotplugSetup *setup, Error *err)
{
    g_assert(setup->n_slots <= CPU_SLOTS_MAX);
    CpuHotplug *h = device_new(platform, "acpi-cpu-hotplug");
    h->setup      = *setup;
    return device_realize(&h->dev, NULL, err) ? h : NULL;
}
