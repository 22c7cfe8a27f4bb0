/* The machine: a board with its memory, vCPUs and devices, and the state it is in (running, paused, shut down).
 *
 * The command line fills a MachineConfig in; machine_new() makes an empty machine of a type, machine_build() builds
 * the board from the configuration, then -device adds to it; machine_start() resets and runs it. Boards implement
 * MachineType.build. Machine lock held throughout, but for the Platform requests. */

#ifndef QUERN_MACHINE_MACHINE_H
#define QUERN_MACHINE_MACHINE_H

#include "accel/accel.h"
#include "audio/audio.h"
#include "char/char.h"
#include "cpu/x86/cpuid.h"
#include "devices/acpi/cpu_hotplug.h"
#include "devices/device.h"
#include "devices/irq/apic.h"
#include "machine/bootorder.h"
#include "memory/backend.h"

typedef struct Machine     Machine;
typedef struct MachineType MachineType;
typedef struct NumaConfig  NumaConfig; /* numa.h */

/* -smp, after inference. */
typedef struct SmpConfig {
    unsigned cpus, max_cpus, sockets, dies, modules, cores, threads;
} SmpConfig;

/* -rtc */
typedef struct RtcConfig {
    bool      local; /* base=localtime */
    bool      fixed; /* base=a date: start at `start` */
    int64_t   start; /* seconds since 1970 */
    ClockKind clock; /* HOST_CLOCK, REALTIME_CLOCK or VIRTUAL_CLOCK */
    bool      slew;  /* driftfix=slew */
} RtcConfig;

/* -fw_cfg name=,string=/file=/gen_id= */
typedef struct FwCfgBlob {
    char   *name;
    GBytes *data; /* NULL: the object `gen_id` makes it */
    char   *gen_id;
} FwCfgBlob;

/* -option-rom */
typedef struct OptionRom {
    char *file;
    int   bootindex; /* -1: none */
} OptionRom;

typedef enum RebootAction { REBOOT_RESET, REBOOT_SHUTDOWN } RebootAction;
typedef enum ShutdownAction { SHUTDOWN_POWEROFF, SHUTDOWN_PAUSE } ShutdownAction;
typedef enum WatchdogAction {
    WATCHDOG_RESET,
    WATCHDOG_SHUTDOWN, /* by the power button */
    WATCHDOG_POWEROFF,
    WATCHDOG_PAUSE,
    WATCHDOG_DEBUG, /* only says so */
    WATCHDOG_NONE,
    WATCHDOG_INJECT_NMI
} WatchdogAction;
typedef enum PanicAction { PANIC_PAUSE, PANIC_SHUTDOWN, PANIC_EXIT_FAILURE, PANIC_NONE } PanicAction;

/* What boards and firmware tables need from the command line. Strings are owned. */
typedef struct MachineConfig {
    uint64_t       ram_size;
    bool           ram_given;          /* by -m; otherwise ram_size is the board's, or that of memory-backend= */
    uint64_t       ram_slots, max_ram; /* max_ram 0: no more memory than ram_size */
    char          *mem_path;           /* file or directory that it lies in; NULL: anonymous */
    bool           prealloc;           /* all of it at the start */
    NumaConfig    *numa;               /* NULL: no nodes */
    bool           numa_open;          /* set-numa-node makes it: numa_finish() is still due */
    SmpConfig      smp;
    RtcConfig      rtc;
    char          *cpu_model; /* -cpu text, NULL for the board's default */
    char          *kernel, *initrd, *append, *bios;
    BootConfig     boot;
    GPtrArray     *fw_cfg;        /* FwCfgBlob * */
    GPtrArray     *option_roms;   /* OptionRom * */
    GPtrArray     *smbios;        /* Json *: one -smbios each, in order */
    GPtrArray     *acpi_tables;   /* Json *: one -acpitable each */
    GPtrArray     *firmware_dirs; /* char *: -L, then the built-in ones */
    char          *name;          /* -name guest= */
    uint8_t        uuid[16];
    bool           have_uuid;
    Chardev       *serial[4];         /* NULL: no such port */
    bool           serial_present[4]; /* a port with or without a chardev */
    Chardev       *parallel[3];
    bool           parallel_present[3];
    Chardev       *debugcon; /* -debugcon */
    bool           no_defaults, no_default_cd;
    RebootAction   reboot_action;
    ShutdownAction shutdown_action;
    PanicAction    panic_action;
    WatchdogAction watchdog_action;
} MachineConfig;

/* A default that differs on an older board: as -global, but weaker than it. */
typedef struct CompatProperty {
    const char *type, *property, *value;
} CompatProperty;

struct MachineType {
    struct ObjectType;           /* .name "pc-i440fx-9.1"; .properties of the Machine struct of this board */
    const char           *alias; /* "pc" */
    bool                  is_default;
    const char           *default_cpu; /* "qemu64"; NULL: a vCPU only with -cpu */
    unsigned              max_cpus;
    uint64_t              default_ram;              /* 0: RAM only with -m */
    const char           *ram_id;                   /* of its backend, when none is given */
    bool                  memory_slots;             /* memory can be plugged in */
    bool                  numa;                     /* it tells of NUMA nodes */
    unsigned              max_serial, max_parallel; /* ports that -serial and -parallel may ask for */
    const char           *missing;                  /* not NULL: known but not built yet */
    bool                  no_acpi;                  /* it never has ACPI tables */
    bool                  hotpluggable_cpus;        /* device_add makes vCPUs */
    const CompatProperty *compat;                   /* ends with an empty one; NULL: none */
    /* For boards with hotpluggable_cpus: may one come now, and one has come or gone. */
    bool (*check_cpu)(Machine *m, Error *err);
    void (*cpus_changed)(Machine *m);
    bool (*build)(Machine *m, Error *err);
    bool (*finish)(Machine *m, Error *err);    /* all devices are there: kernel and firmware tables. May be NULL */
    void (*reset)(Machine *m, ResetKind kind); /* after devices and CPUs were reset: firmware's part of direct boot */
    void (*detach)(Machine *m); /* before devices go: takes away what was mapped into them. May be NULL */
    void (*free)(Machine *m);   /* devices and vCPUs are gone. May be NULL */
};

typedef enum RunState {
    RUN_STATE_PRELAUNCH,
    RUN_STATE_RUNNING,
    RUN_STATE_PAUSED,
    RUN_STATE_DEBUG,
    RUN_STATE_SUSPENDED,
    RUN_STATE_SHUTDOWN,
    RUN_STATE_GUEST_PANICKED,
    RUN_STATE_WATCHDOG,
    RUN_STATE_INTERNAL_ERROR,
    RUN_STATE_IO_ERROR
} RunState;

/* Hears of every change of the run state. Embedded in its owner. */
typedef struct RunStateListener RunStateListener;
struct RunStateListener {
    void (*changed)(RunStateListener *self, RunState state);
    RunStateListener *next;
};

/* What can open A20; address bit 20 reads as 0 while all of them are closed. */
typedef enum A20Gate { A20_PORT92, A20_KEYBOARD, N_A20_GATES } A20Gate;

/* A stretch of main RAM: [start, start + size) of what -m says lies in one backend. */
typedef struct RamPart {
    MemoryBackend *backend;
    uint64_t       start, size;
} RamPart;

/* The board's side of vCPUs (machine_connect_cpus). */
typedef struct CpuBoard {
    int (*ack_extint)(void *opaque);
    void   *opaque;
    Region *smram;
} CpuBoard;

struct Machine {
    Platform        platform; /* first */
    MachineConfig   config;
    CharHub        *chars;
    AudioHub       *audio;
    BlockHub       *block;
    struct Storage *storage; /* storage.c */
    Accel          *accel;
    ApicBus        *apic_bus;
    GPtrArray      *cpus; /* X86Cpu *: those that are there, by index */
    CpuBoard        cpu_board;
    CpuHotplug     *cpu_hotplug; /* the board's, tells the guest; NULL: vCPUs do not come and go */
    GArray         *ram;         /* RamPart: -m, below and above the PCI hole (mainram.c) */
    X86Model       *cpu_model;
    X86Topology     topology;

    RunState          state;
    int               exit_code;
    bool              exit_requested;
    bool              migration_events;                                     /* a capability of migration is on */
    bool              asleep;                                               /* the guest, in S3 */
    bool              being_dumped;                                         /* its memory: it must not run */
    bool              reset_requested, shutdown_requested, pause_requested; /* carried out on the main loop */
    bool              suspend_requested, wake_requested;
    WakeReason        wake_reason;
    RunState          pause_state;
    Vcpu             *debug_vcpu; /* which vCPU stopped for the debugger */
    RunStateListener *state_listeners;
    struct GdbStub   *gdb; /* -gdb's, or a monitor's; freed by whoever ends the machine */
    ResetCause        reset_cause;
    ShutdownCause     shutdown_cause;

    /* Machine properties (-machine); one table for all PC boards. */
    OnOffAuto vmport, smm, acpi, pit, pic, rtc, ioapic2, pcie;
    bool      isa_serial, auto_kernel_cmdline;
    bool      hmat, nvdimm;
    bool i8042, hpet, smbus, usb, graphics, unpack_kernel, unpack_cache, have_unpack_cache, dump_guest_core, mem_merge,
        fd_bootchk;
    char *accel_name, *firmware, *kernel_irqchip, *memory_backend, *nvdimm_persistence;
    char *absent_text; /* properties that are known but not built: they take no value */
    bool  absent_flag;
    void *board; /* the board's own part */

    IrqPin a20_gates[N_A20_GATES];
    bool   a20_open[N_A20_GATES];

    IrqPin  ignne; /* to all processors */
    IrqLine ferr;  /* of the boot processor, as the MP specification has it */
};

static inline const MachineType *machine_type(const Machine *m)
{
    return (const MachineType *)m->platform.root.type;
}

#define MACHINE_TYPE(identifier)                                                                                       \
    static const MachineType       identifier##_type;                                                                  \
    static const ObjectType *const identifier##_entry __attribute__((used, section("quern_types"))) =                  \
        (const ObjectType *)&identifier##_type;                                                                        \
    static const MachineType identifier##_type

/* "pc", "pc-i440fx-9.1" ...; NULL: the default. Errors: unknown (did you mean), not supported yet. */
const MachineType *machine_type_find(const char *name, Error *err);
void               machine_print_help(GString *out); /* -machine help */

/* An empty machine: platform, lock (held by the caller from then on), loop, memory, object tree, chardev hub.
 * `options` are -machine's, all merged, without the type; NULL for none. `log` is borrowed. */
Machine *machine_new(const MachineType *type, const Json *options, bool lenient, Log *log, Error *err);
void     machine_free(Machine *m);

/* Makes RAM, vCPUs (with their local APICs and views) and the board. */
bool machine_build(Machine *m, Error *err);

/* After -device: what depends on all devices being there (firmware tables), and the kernel. Before the first reset. */
bool machine_finish(Machine *m, Error *err);

/* Resets everything: devices, vCPUs, then the board's hook. vCPUs stopped. */
void machine_reset(Machine *m, ResetKind kind);

/* Run control. */
void machine_resume(Machine *m);
void machine_pause(Machine *m, RunState state);

/* For debuggers: as machine_resume, but each vCPU does what `how` says (accel_resume_each). */
void machine_resume_each(Machine *m, VcpuResume (*how)(void *opaque, Vcpu *cpu), void *opaque);

void        machine_add_state_listener(Machine *m, RunStateListener *listener);
void        machine_remove_state_listener(Machine *m, RunStateListener *listener);
const char *run_state_name(RunState state);

/* `cont` of a monitor: resumes, unless what stopped the machine asks for a reset first. */
bool machine_continue(Machine *m, Error *err);

extern const char *const run_state_names[], *const shutdown_cause_names[]; /* as QMP has them; NULL-terminated */

/* Runs the main loop until the machine is done; returns the exit code. */
int machine_run(Machine *m);

/* Makes all vCPUs of -smp with their local APICs and views of memory, and takes them away again (cpus.c). */
bool machine_add_cpus(Machine *m, Error *err);
void machine_remove_cpus(Machine *m);

/* One of them, for cpuplug.c: all vCPUs stand. One that comes later starts from power-on, in step with the others. */
X86Cpu *machine_add_cpu(Machine *m, unsigned index, Error *err);
void    machine_start_late_cpu(Machine *m, X86Cpu *cpu);
void    machine_remove_cpu(Machine *m, X86Cpu *cpu);

/* The vCPU of an index; NULL: it is not there. */
X86Cpu *machine_cpu(const Machine *m, int64_t index);

/* The block layer (storage.c). */
bool machine_make_storage(Machine *m, Error *err);
void machine_free_storage(Machine *m);

/* Main RAM, from the backends that the command line names or one of our own (mainram.c). */
bool machine_make_ram(Machine *m, Error *err);
void machine_free_ram(Machine *m);

/* Makes `r` a region that shows [offset, offset + size) of main RAM, and takes it away again, unmapping it first. */
void machine_init_ram_region(Machine *m, Region *r, const char *name, uint64_t offset, uint64_t size);
void machine_destroy_ram_region(Region *r);

/* Where byte `offset` of main RAM lies: the block, the offset inside it, and how many bytes follow there. */
RamBlock *machine_ram_at(const Machine *m, uint64_t offset, uint64_t *in_block, uint64_t *left);

/* Puts vCPUs and local APICs into their power-on state. vCPUs stopped. */
void machine_reset_cpus(Machine *m);

/* The board's side of vCPUs: who answers an ExtINT (machine lock held; -1: nothing pending), and what a vCPU in SMM
 * sees over its usual view (may be NULL). All NULL takes the connection away. */
void machine_connect_cpus(Machine *m, int (*ack_extint)(void *opaque), void *opaque, Region *smram);

/* The pin that a gate of A20 drives: 1 is open. Only the odd megabytes below 16 MiB can disappear: nobody closes A20 to
 * hide what an 80286 could not reach. */
IrqPin *machine_a20_gate(Machine *m, A20Gate gate);

/* Connects FERR# of the boot processor; machine->ignne is the pin that the board drives in turn. */
void machine_connect_ferr(Machine *m, IrqPin *ferr);

/* Finds a firmware file by name or path in -L and the built-in directories. NULL with an error that names both. */
char *machine_find_firmware(Machine *m, const char *name, Error *err);

/* The built-in firmware directories, one a line (-L help). */
void machine_print_firmware_dirs(GString *out);

#endif
