/* What every vCPU is, whichever instruction set it has and whoever runs it: requests that interrupt it, work that
 * others want done on its thread, and exclusive sections in which no other vCPU runs guest code.
 *
 * A vCPU's thread is "inside" between vcpu_enter() and vcpu_leave(): it then runs guest code, holds host addresses
 * of guest memory, and leaves soon after a request bit is set. Outside it holds none. */

#ifndef QUERN_CPU_VCPU_H
#define QUERN_CPU_VCPU_H

#include "base/log.h"
#include "loop/clock.h"
#include "loop/lock.h"
#include "memory/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Vcpu      Vcpu;
typedef struct VcpuGroup VcpuGroup;

/* Request bits. Any thread sets them (vcpu_request); the vCPU's thread takes them at a block boundary. */
enum {
    VCPU_REQUEST_EXIT  = 1 << 0, /* leave the run loop: stop, reset, shutdown, work queued */
    VCPU_REQUEST_YIELD = 1 << 1, /* somebody wants an exclusive section: leave and enter again */
    VCPU_REQUEST_FLUSH = 1 << 2, /* drop all cached host addresses (TLB) before going on */
    VCPU_REQUEST_CPU   = 1 << 8, /* first of the bits that the CPU model defines (interrupts ...) */
};

struct Vcpu {
    int           index; /* its number: no two in a group have the same, and there may be gaps */
    VcpuGroup    *group;
    Clocks       *clocks;
    MachineLock  *lock; /* the machine lock */
    const Log    *log;
    AddressSpace *memory; /* this vCPU's own view */
    AddressSpace *io;

    _Atomic uint32_t requests;
    /* Where a word is set to kick_value with each request, so that translated code leaves; NULL: nowhere. It lives in
     * the vCPU thread's stack. */
    _Atomic uint64_t *_Atomic kick_word;
    uint64_t                  kick_value;
    bool                      halted;      /* waiting for an interrupt; written by its own thread */
    bool                      stopped;     /* stopped by the user or the machine; machine lock */
    bool                      debug_stop;  /* stopped at a breakpoint or step; for the debugger */
    bool                      single_step; /* stops after one instruction; machine lock */
    bool                      ending;      /* its thread is to end; machine lock */

    /* Accelerator's: thread, condition to wait on while halted or stopped, queue of work. */
    pthread_t thread;
    bool      has_thread;
    int       thread_id; /* Linux's, 0 until the thread has begun; machine lock */
    GCond     wake;
    GMutex    wake_mutex; /* guards the sleep of a halted vCPU; never held while taking the machine lock */
    GQueue    work;       /* guarded by wake_mutex */
    void     *accel;
    void     *accel_cpu; /* the accelerator's own part of this vCPU */
    /* Makes a thread that does not poll `requests` (it is in the kernel) look at them. Any thread, any locks. NULL: it
     * polls. */
    void (*kick)(Vcpu *cpu);

    /* vcpu.c's, guarded by the group. */
    bool       inside;
    bool       inside_before_wait; /* it waits for the machine lock and goes on inside afterwards */
    void      *runner;             /* mark of the thread that is inside */
    uint64_t   left_at;            /* the group's flush ticket when it last left */
    LockWaiter waiter;
};

/* Makes an all-zero Vcpu usable (the accelerator's and vcpu.c's members), and the opposite. The group knows it between
 * vcpu_group_add() and vcpu_group_remove(). */
void vcpu_init(Vcpu *cpu);
void vcpu_destroy(Vcpu *cpu);

/* Makes bits visible to the vCPU and wakes it when it sleeps. Any thread, any locks but wake_mutex. */
void vcpu_request(Vcpu *cpu, uint32_t bits);

/* The same without waking it from sleep: by its own thread, or while it is known to be inside. */
static inline void vcpu_request_self(Vcpu *cpu, uint32_t bits)
{
    atomic_fetch_or_explicit(&cpu->requests, bits, memory_order_acq_rel);
    _Atomic uint64_t *word = atomic_load_explicit(&cpu->kick_word, memory_order_acquire);
    if (word) {
        atomic_store_explicit(word, cpu->kick_value, memory_order_release);
    }
}

static inline uint32_t vcpu_requests(const Vcpu *cpu)
{
    return atomic_load_explicit(&cpu->requests, memory_order_acquire);
}

static inline void vcpu_request_done(Vcpu *cpu, uint32_t bits)
{
    atomic_fetch_and_explicit(&cpu->requests, ~bits, memory_order_acq_rel);
}

/* Runs call(cpu, opaque) on the vCPU's own thread, outside guest code, with the machine lock held. Returns when it
 * is done. The caller holds the machine lock (it is given up while waiting), or is that very thread. */
void vcpu_run_on(Vcpu *cpu, void (*call)(Vcpu *cpu, void *opaque), void *opaque);

/* Runs what vcpu_run_on() has queued. The vCPU's thread, outside, machine lock held; the accelerator calls it whenever
 * its loop has taken VCPU_REQUEST_EXIT. */
void vcpu_run_work(Vcpu *cpu);

/* All vCPUs of a machine. */
VcpuGroup *vcpu_group_new(void);
void       vcpu_group_free(VcpuGroup *group);
void       vcpu_group_add(VcpuGroup *group, Vcpu *cpu); /* sets cpu->group */
void       vcpu_group_remove(VcpuGroup *group, Vcpu *cpu);
unsigned   vcpu_group_size(const VcpuGroup *group);
Vcpu      *vcpu_group_get(const VcpuGroup *group, unsigned index);

/* Marks the thread as running guest code; waits while an exclusive section runs. No machine lock held. While the
 * thread is inside and has to wait for the machine lock it counts as outside; VCPU_REQUEST_FLUSH may be set then. */
void vcpu_enter(Vcpu *cpu);
void vcpu_leave(Vcpu *cpu);

/* From then on no other vCPU is inside, until vcpu_exclusive_end(). `self` is the calling thread's vCPU (inside
 * or not) or NULL. Sections do not nest. If the caller is inside and somebody else's section comes first, it waits
 * as if it had left: cached host addresses may be stale afterwards when VCPU_REQUEST_FLUSH is set.
 * The machine lock may be held by the caller. It must not be taken inside the section unless it is held already: a
 * vCPU that has got the lock may wait for the section's end with it. `self` may also be NULL on a vCPU's thread. */
void vcpu_exclusive_begin(VcpuGroup *group, Vcpu *self);
void vcpu_exclusive_end(VcpuGroup *group, Vcpu *self);

/* Asks every vCPU but `self` to drop cached host addresses and waits until each has left guest code once or is
 * outside. The machine lock may be held. With NULL on the thread of a vCPU that is inside, that one is asked as well
 * and drops them before its next access. While waiting, the caller's own vCPU counts as outside. */
void vcpu_flush_all(VcpuGroup *group, Vcpu *self);

#endif
