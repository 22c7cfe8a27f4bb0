/* Accelerators: what runs vCPUs. One static AccelType each: tcg (the plain executor, later the translator), kvm,
 * qtest.
 *
 * Threads: accel_add_vcpu() makes the vCPU's thread, which runs guest code between accel_resume_all() and
 * accel_pause_all(). Machine lock held for every call here unless it says otherwise. */

#ifndef QUERN_ACCEL_ACCEL_H
#define QUERN_ACCEL_ACCEL_H

#include "cpu/x86/cpuid.h"
#include "devices/irq/apic.h"
#include "devices/irq/i8259.h"
#include "devices/irq/ioapic.h"
#include "object/object.h"

typedef struct Accel     Accel;
typedef struct AccelType AccelType;

/* How an accelerator tells the machine what happened. Called on vCPU threads with the machine lock held; the vCPU
 * that it is about is marked `stopped` and waits for the next resume. */
typedef struct AccelHost {
    void (*shutdown)(void *opaque, Vcpu *cpu);                  /* triple fault */
    void (*missing)(void *opaque, Vcpu *cpu, const char *what); /* what Quern does not implement: VM stops */
    void (*failed)(void *opaque, Vcpu *cpu, const char *why);   /* the accelerator cannot go on: VM stops */
    void (*debug)(void *opaque, Vcpu *cpu);                     /* breakpoint or step */
    void *opaque;
} AccelHost;

/* What an accelerator that is more than a way to run instructions takes over of a board. Borrowed. */
typedef struct AccelBoard {
    AddressSpace *memory; /* guest-physical, without any vCPU's own view */
    ApicBus      *apics;
    I8259        *pic; /* NULL: none */
    IoApic       *ioapic;
} AccelBoard;

struct AccelType {
    struct ObjectType;                                        /* .name "tcg"; .properties */
    bool (*init)(Accel *accel, Error *err);                   /* NULL: nothing to do */
    bool (*vcpu_init)(Accel *accel, X86Cpu *cpu, Error *err); /* NULL: nothing to do */
    void (*vcpu_free)(Accel *accel, X86Cpu *cpu);             /* NULL: nothing to do */
    void *(*vcpu_thread)(X86Cpu *cpu); /* the thread's function: NULL: this accelerator runs no guest code */
    const char *missing;               /* not NULL: known but not built */

    bool no_smm;          /* system management mode is not there: boards do without SMIs */
    bool no_io_registers; /* callbacks of ports do not see the registers of the vCPU that reads */

    /* All may be NULL: nothing to do. */
    bool (*suits)(char **why); /* see accel_suits() */
    void (*free)(Accel *accel);
    bool (*attach)(Accel *accel, const AccelBoard *board, Error *err);
    void (*detach)(Accel *accel);
    void (*resuming)(Accel *accel); /* before vCPUs run */
    void (*paused)(Accel *accel);   /* after all have stopped */
    /* What CPU models may offer. NULL: what Quern's own executor has. */
    const X86Hypervisor *(*hypervisor)(Accel *accel);
    /* A debugger's breakpoint; the vCPU stands. */
    void (*breakpoint)(Accel *accel, X86Cpu *cpu, uint64_t linear, bool insert);
    /* See accel_dirty_log(). NULL: vCPUs track writes by themselves while dirty_clients is not 0. */
    bool (*dirty_log)(Accel *accel, RamBlock *ram, bool on, Error *err);
    void (*dirty_sync)(Accel *accel, RamBlock *ram);
    void (*statistics)(Accel *accel, GString *out); /* what "info jit" shows: lines of text */
    /* Statistics of a vCPU or (NULL) of the VM, as query-stats has them: a list of objects with "name" and "value", or
     * with `schema` of what query-stats-schemas says of each. */
    Json *(*stats)(Accel *accel, X86Cpu *cpu, bool schema, Error *err);
};

struct Accel {
    Object       obj;
    VcpuGroup   *group;
    AccelHost    host;
    Clocks      *clocks;
    MachineLock *lock;
    bool         running;       /* vCPUs may run */
    bool         ending;        /* vCPU threads are to end */
    bool         halts_inside;  /* halted vCPUs wait inside the type's run loop, which knows what wakes them */
    GCond        state_changed; /* with state_mutex: a vCPU has stopped running */
    GMutex       state_mutex;
    unsigned     inside; /* vCPU threads that run guest code; guarded by state_mutex */
};

/* What a vCPU does at the next resume. */
typedef enum VcpuResume { VCPU_STAY, VCPU_RUN, VCPU_STEP } VcpuResume;

#define ACCEL_TYPE(identifier)                                                                                         \
    static const AccelType         identifier##_type;                                                                  \
    static const ObjectType *const identifier##_entry __attribute__((used, section("quern_types"))) =                  \
        (const ObjectType *)&identifier##_type;                                                                        \
    static const AccelType identifier##_type

/* Is there such an accelerator, and are its properties right? True also for what is known but not built. */
bool accel_check(const Json *options, bool lenient, Error *err);

/* Would this accelerator be a good choice on this host? If not, *why says why, for the caller to free. */
bool accel_suits(const char *name, char **why);

/* Makes the accelerator that `options` ("accel": name, properties) ask for. */
Accel *accel_new(const Json *options, bool lenient, MachineLock *lock, Clocks *clocks, const AccelHost *host,
                 Error *err);
void   accel_free(Accel *accel);
void   accel_print_help(GString *out);

/* The properties of one accelerator. false: there is none of that name, or it is not built. */
bool accel_print_type_help(const char *name, GString *out, Error *err);

/* Adds the vCPU, which has its index, to the accelerator's group and starts its thread, stopped; and ends the thread
 * and takes it out again (the machine lock is given up while it waits). The others stand. */
bool accel_add_vcpu(Accel *accel, X86Cpu *cpu, Error *err);
void accel_remove_vcpu(Accel *accel, X86Cpu *cpu);

/* All vCPUs stand when accel_hold() returns (it gives the machine lock up while it waits), and go on as they were with
 * accel_release(), which takes its result: for changes that none may see half done. Main loop. */
bool accel_hold(Accel *accel);
void accel_release(Accel *accel, bool held);

static inline const AccelType *accel_type(const Accel *accel)
{
    return (const AccelType *)accel->obj.type;
}

/* The board is complete, or is about to go. Boards that have nothing of AccelBoard need not call it. */
bool accel_attach(Accel *accel, const AccelBoard *board, Error *err);
void accel_detach(Accel *accel);

/* For x86_model_parse(). */
const X86Hypervisor *accel_hypervisor(Accel *accel);

/* All vCPUs run, or all have stopped when it returns (gives the machine lock up while it waits). The virtual clock
 * and the TSCs stop and go with them. */
void accel_resume_all(Accel *accel);
void accel_pause_all(Accel *accel);

/* For debuggers: each vCPU does what `how` says. One that steps runs a single instruction with interrupts held off,
 * then AccelHost.debug is called for it. While none runs freely the virtual clock stands still. */
void accel_resume_each(Accel *accel, VcpuResume (*how)(void *opaque, Vcpu *cpu), void *opaque);

/* A debugger's breakpoint on all vCPUs, which stand. */
void accel_breakpoint(Accel *accel, uint64_t linear, bool insert);

/* Writes to a RAM block are tracked in RamPage.dirty for the clients in its dirty_clients: on or off, and bringing what
 * is there up to date. vCPUs may run. */
bool accel_dirty_log(Accel *accel, RamBlock *ram, bool on, Error *err);
void accel_dirty_sync(Accel *accel, RamBlock *ram);

/* Ends the threads and takes the vCPUs out of the group. Gives the machine lock up while it waits. */
void accel_shutdown(Accel *accel);

/* For implementers, on vCPU threads. The machine lock is held; accel_vcpu_wait() gives it up until the vCPU may run
 * guest code (then true) or its thread is to end (false). Work that others queued is done inside. From then until
 * accel_vcpu_stopped() the vCPU counts as running. */
bool accel_vcpu_wait(Accel *accel, X86Cpu *cpu);

/* The same for a vCPU that has halted while it runs, without the machine lock: true when an interrupt has come, false
 * when somebody wants something of the thread. */
bool accel_vcpu_sleep(X86Cpu *cpu);

void accel_vcpu_stopped(Accel *accel, X86Cpu *cpu);

#endif
