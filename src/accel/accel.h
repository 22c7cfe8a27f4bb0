/* Accelerators: what runs vCPUs. One static AccelType each: tcg (the plain executor, later the translator), qtest,
 * later kvm.
 *
 * Threads: accel_start() makes the vCPU threads; each runs until accel_stop_all/pause. Machine lock held for every
 * call here unless it says otherwise. */

#ifndef QUERN_ACCEL_ACCEL_H
#define QUERN_ACCEL_ACCEL_H

#include "cpu/x86/x86.h"
#include "object/object.h"

typedef struct Accel     Accel;
typedef struct AccelType AccelType;

/* How an accelerator tells the machine what happened. Called on vCPU threads with the machine lock held. */
typedef struct AccelHost {
    void (*shutdown)(void *opaque, Vcpu *cpu);                  /* triple fault */
    void (*missing)(void *opaque, Vcpu *cpu, const char *what); /* what Quern does not implement: VM stops */
    void (*debug)(void *opaque, Vcpu *cpu);                     /* breakpoint or step */
    void *opaque;
} AccelHost;

struct AccelType {
    struct ObjectType; /* .name "tcg"; .properties */
    bool (*init)(Accel *accel, Error *err);
    bool (*vcpu_init)(Accel *accel, X86Cpu *cpu, Error *err);
    void (*vcpu_free)(Accel *accel, X86Cpu *cpu);
    void *(*vcpu_thread)(X86Cpu *cpu); /* the thread's function: NULL: this accelerator runs no guest code */
    const char *missing;               /* not NULL: known but not built */
};

struct Accel {
    Object       obj;
    VcpuGroup   *group;
    AccelHost    host;
    Clocks      *clocks;
    MachineLock *lock;
    bool         running;       /* vCPUs may run */
    GCond        state_changed; /* guarded by state_mutex: pauses and resumes */
    GMutex       state_mutex;
};

#define ACCEL_TYPE(identifier)                                                                                         \
    static const AccelType         identifier##_type;                                                                  \
    static const ObjectType *const identifier##_entry __attribute__((used, section("quern_types"))) =                  \
        (const ObjectType *)&identifier##_type;                                                                        \
    static const AccelType identifier##_type

/* Makes the accelerator that `options` ("accel": name, properties) ask for. Each of several -accel options (or of
 * -machine accel=a:b) is tried in order. */
Accel *accel_new(const Json *options, bool lenient, MachineLock *lock, Clocks *clocks, const AccelHost *host,
                 Error *err);
void   accel_free(Accel *accel);
void   accel_print_help(GString *out);

bool accel_add_vcpu(Accel *accel, X86Cpu *cpu, Error *err); /* starts its thread, stopped */

/* All vCPUs run, or all have stopped when it returns (gives the machine lock up while it waits). The virtual clock
 * and the TSCs stop and go with them. */
void accel_resume_all(Accel *accel);
void accel_pause_all(Accel *accel);

/* Ends the threads. */
void accel_shutdown(Accel *accel);

#endif
