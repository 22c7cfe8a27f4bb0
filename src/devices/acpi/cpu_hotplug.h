/* The registers by which ACPI's methods and the machine speak about vCPUs that come and go. See cpu_hotplug.c. */

#ifndef QUERN_DEVICES_ACPI_CPU_HOTPLUG_H
#define QUERN_DEVICES_ACPI_CPU_HOTPLUG_H

#include "devices/device.h"

/* For the DSDT. Reading and writing mean different things at the same place. */
enum {
    CPU_HOTPLUG_PORT_PIIX4 = 0xaf00,
    CPU_HOTPLUG_PORT_ICH9  = 0x0cd8,
    CPU_HOTPLUG_SIZE       = 12,
    CPU_HOTPLUG_GPE        = 2,

    CPU_HOTPLUG_SELECTOR = 0x0, /* write */
    CPU_HOTPLUG_DATA2    = 0x0, /* read */
    CPU_HOTPLUG_FLAGS    = 0x4, /* 8 bits, CPU_SLOT_* */
    CPU_HOTPLUG_COMMAND  = 0x5, /* write: 8 bits, CPU_COMMAND_* */
    CPU_HOTPLUG_DATA     = 0x8,

    CPU_SLOT_ENABLED   = 1 << 0,
    CPU_SLOT_INSERTING = 1 << 1, /* written: the guest has been told */
    CPU_SLOT_REMOVING  = 1 << 2, /* the same */
    CPU_SLOT_EJECT     = 1 << 3, /* written: take it out */
    CPU_SLOT_FIRMWARE  = 1 << 4, /* the guest leaves that to firmware */

    CPU_COMMAND_NEXT       = 0, /* selects one of which something is to be told */
    CPU_COMMAND_OST_EVENT  = 1,
    CPU_COMMAND_OST_STATUS = 2,
    CPU_COMMAND_ID         = 3, /* DATA and DATA2 are the APIC ID */

    CPU_SLOTS_MAX = 256,
};

typedef struct CpuHotplug CpuHotplug;

typedef struct CpuHotplugSetup {
    uint16_t        port;
    unsigned        n_slots;
    const uint32_t *apic_ids; /* of the slots; borrowed */
    void (*raise_gpe)(void *opaque, unsigned n);
    void *gpe_opaque;

    /* The guest has let go of the vCPU (it is to go as soon as the guest stands), or will not. */
    void (*ejected)(void *opaque, unsigned slot);
    void (*refused)(void *opaque, unsigned slot);
    const char *(*id)(void *opaque, unsigned slot); /* for management; NULL: it has none */
    void *opaque;
} CpuHotplugSetup;

CpuHotplug *cpu_hotplug_create(Platform *platform, const CpuHotplugSetup *setup, Error *err);

/* A vCPU is in the slot, and the guest is told if it runs already; it is not any more. */
void cpu_hotplug_plugged(CpuHotplug *h, unsigned slot);
void cpu_hotplug_unplugged(CpuHotplug *h, unsigned slot);

/* Asks the guest to let go of it. false: it has been asked before. */
bool cpu_hotplug_ask_back(CpuHotplug *h, unsigned slot);

/* Has the guest let go of it? */
bool cpu_hotplug_is_ejected(const CpuHotplug *h, unsigned slot);

/* What the guest has said of a slot: one ACPIOSTInfo of QMP. */
Json    *cpu_hotplug_status(const CpuHotplug *h, unsigned slot);
unsigned cpu_hotplug_slots(const CpuHotplug *h);

#endif
