/* What a device may know of the machine it sits in: memory, clocks, the lock, and the few things it can ask for.
 * The board (src/machine) makes one and fills it in. */

#ifndef QUERN_DEVICES_PLATFORM_H
#define QUERN_DEVICES_PLATFORM_H

#include "base/log.h"
#include "block/block.h"
#include "char/char.h"
#include "devices/irq.h"
#include "input/input.h"
#include "loop/loop.h"
#include "memory/memory.h"
#include "object/object.h"

typedef enum ResetCause { RESET_GUEST, RESET_HOST, RESET_PANIC } ResetCause;
typedef enum ShutdownCause {
    SHUTDOWN_GUEST,       /* ACPI poweroff, ... */
    SHUTDOWN_GUEST_RESET, /* reset with -no-reboot */
    SHUTDOWN_HOST_SIGNAL,
    SHUTDOWN_HOST_REQUEST, /* the terminal, a debugger */
    SHUTDOWN_GUEST_EXIT,   /* isa-debug-exit: with exit code */
    SHUTDOWN_GUEST_PANIC,
    SHUTDOWN_HOST_QUIT, /* a monitor */
    SHUTDOWN_HOST_ERROR,
} ShutdownCause;

/* What ends a sleep (ACPI S3). */
typedef enum WakeReason { WAKE_OTHER, WAKE_RTC, WAKE_POWER_BUTTON } WakeReason;

typedef struct Platform Platform;
struct Platform {
    Object        root;    /* not in a tree itself: `objects` below is */
    Object       *objects; /* root of the object tree */
    Loop         *loop;
    Clocks       *clocks;
    MachineLock  *lock;
    Log          *log;
    Memory       *memory;
    Region       *system_memory; /* guest-physical address space, 2^64 */
    Region       *system_io;     /* I/O ports, 64 KiB */
    AddressSpace *memory_space;
    AddressSpace *io_space;
    CharHub      *chars;
    BlockHub     *block;
    IrqPin       *isa_irq[16]; /* input pins: both 8259 and I/O APIC hear them */
    IrqPin       *gsi[24];     /* global system interrupts, for ACPI and PCI routing */

    /* device.c's; made when first needed, freed by devices_free(). */
    GPtrArray *devices; /* Device *, borrowed: realized, in that order */
    GPtrArray *buses;   /* Bus *, borrowed: in the order they were made */
    GPtrArray *globals; /* -global, in the order given */
    bool       started; /* the first devices_reset() is over: devices that come now are plugged into a machine */

    /* Requests: any thread; carried out on the main loop. */
    void (*request_reset)(Platform *p, ResetCause cause);
    void (*request_shutdown)(Platform *p, ShutdownCause cause, int exit_code);
    void (*request_suspend)(Platform *p);                   /* ACPI S3 */
    void (*request_wakeup)(Platform *p, WakeReason reason); /* nothing happens when it does not sleep */
    void (*guest_panicked)(Platform *p);
    void (*watchdog_expired)(Platform *p); /* -watchdog-action says what that means */
    void (*raise_nmi)(Platform *p);
    bool (*is_running)(Platform *p);
    void (*send_msi)(Platform *p, uint64_t address, uint32_t data); /* to the local APICs; any thread; may be NULL */

    /* Tells management (QMP) what happened; set and taken away by the monitors. Use platform_emit(). */
    void (*emit_event)(Platform *p, const char *event, Json *data);
    void *event_opaque;

    uint64_t ram_size; /* the machine's own; memory devices come on top */

    struct MemoryDevices *memory_devices; /* the board's (devices/memory/memdevs.h); NULL: it takes none */

    GPtrArray            *virtio;  /* VirtioDevice * (devices/virtio/virtio.h), borrowed; NULL: there was none yet */
    struct VirtioBalloon *balloon; /* devices/virtio/balloon.h; NULL: there is none */

    /* Set by the device that has the power button; NULL: there is none. Machine lock. */
    void (*press_power_button)(void *opaque);
    void *power_button;

    /* The same device's, whose registers say what the guest may do: can it sleep, does this end its sleep; and it is
     * told, after the reset that goes with it. NULL: there is no sleep. Machine lock. */
    bool (*can_sleep)(void *power_button);
    bool (*may_wake)(void *power_button, WakeReason reason);
    void (*woken)(void *power_button, WakeReason reason);

    /* Set by the controller of the keyboard; NULL: there is none. Presses keys together (scan codes as in
     * devices/input/keys.h) and lets them go after hold_ms of the virtual clock. Machine lock. */
    bool (*send_keys)(void *keyboard, const uint16_t *codes, unsigned n, unsigned hold_ms, Error *err);
    void *keyboard;

    InputHub input; /* who hears keys and pointers */

    uint64_t random_seed; /* -seed, when given */
    bool     have_seed;
};

/* Something happened that may end the machine's sleep. */
static inline void platform_wake(Platform *p, WakeReason reason)
{
    if (p->request_wakeup) {
        p->request_wakeup(p, reason);
    }
}

/* An event of QMP by its name, which the monitors' table has. Takes `data`, NULL for none. Machine lock held. */
static inline void platform_emit(Platform *p, const char *event, Json *data)
{
    if (p->emit_event) {
        p->emit_event(p, event, data);
    } else {
        json_free(data);
    }
}

#endif
