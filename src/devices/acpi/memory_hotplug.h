/* The registers by which ACPI's methods and the machine speak about memory slots. See memory_hotplug.c. */

#ifndef QUERN_DEVICES_ACPI_MEMORY_HOTPLUG_H
#define QUERN_DEVICES_ACPI_MEMORY_HOTPLUG_H

#include "devices/memory/memdevs.h"

/* For the DSDT. Reading and writing mean different things at the same place. */
enum {
    MEMORY_HOTPLUG_PORT = 0xa00,
    MEMORY_HOTPLUG_SIZE = 0x18,
    MEMORY_HOTPLUG_GPE  = 3,

    MEMORY_HOTPLUG_ADDR     = 0x00, /* read: 64 bits */
    MEMORY_HOTPLUG_LENGTH   = 0x08, /* read: 64 bits */
    MEMORY_HOTPLUG_NODE     = 0x10, /* read */
    MEMORY_HOTPLUG_FLAGS    = 0x14, /* 8 bits, MEMORY_SLOT_* */
    MEMORY_HOTPLUG_SELECTOR = 0x00, /* write */
    MEMORY_HOTPLUG_OST      = 0x04, /* write: event, */
    MEMORY_HOTPLUG_STATUS   = 0x08, /* write: and what became of it */

    MEMORY_SLOT_ENABLED   = 1 << 0,
    MEMORY_SLOT_INSERTING = 1 << 1, /* written: the guest has been told */
    MEMORY_SLOT_REMOVING  = 1 << 2, /* the same */
    MEMORY_SLOT_EJECT     = 1 << 3, /* written: take it out */
};

/* Connects itself to the platform's memory devices, and pulses `gpe` for each event. */
typedef struct MemoryHotplug MemoryHotplug;
MemoryHotplug *memory_hotplug_create(Platform *platform, void (*raise_gpe)(void *opaque, unsigned n), void *opaque,
                                     Error *err);

#endif
