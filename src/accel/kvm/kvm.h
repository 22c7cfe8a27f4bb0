/* The accelerator "kvm": what its files share, and what devices may use of it (routes, irqfd, ioeventfd).
 *
 * While the machine runs, the state of vCPUs, and of the interrupt controllers that live in the kernel, is the
 * kernel's; while it stands, it is in X86Cpu, Apic, I8259 and IoApic as under any other accelerator. The threads of the
 * vCPUs and the hooks `resuming` and `paused` carry it over.
 *
 * Specification: Linux, Documentation/virt/kvm/api.rst. */

#ifndef QUERN_ACCEL_KVM_KVM_H
#define QUERN_ACCEL_KVM_KVM_H

#include "accel/accel.h"

#include <linux/kvm.h>

typedef enum KvmIrqchip { KVM_IRQCHIP_ON, KVM_IRQCHIP_SPLIT, KVM_IRQCHIP_OFF } KvmIrqchip;
typedef enum KvmNotify { KVM_NOTIFY_RUN, KVM_NOTIFY_INTERNAL_ERROR, KVM_NOTIFY_DISABLE } KvmNotify;

/* GSIs: pins of the I/O APIC, then those of the 8259 pair, then messages. */
enum { KVM_GSI_PIC = IOAPIC_PINS, KVM_GSI_MSI = KVM_GSI_PIC + 16 };

typedef struct KvmMemory   KvmMemory;   /* memory.c */
typedef struct KvmRoutes   KvmRoutes;   /* routes.c */
typedef struct KvmIrqchips KvmIrqchips; /* irqchip.c */
typedef struct KvmVcpu     KvmVcpu;

typedef struct Kvm {
    Accel accel; /* first */

    /* Properties. */
    char    *device;
    int      irqchip; /* KvmIrqchip */
    uint64_t shadow_mem;
    uint32_t dirty_ring_size;
    int      notify; /* KvmNotify */
    uint32_t notify_window;
    bool     cpu_pm;
    uint64_t eager_split;

    /* Constant once initialized. */
    int                  fd, vm;
    int                  vcpu_mmap_size, xsave_size;
    uint64_t             xcr0; /* state components that guests may have */
    bool                 has_tsc_offset, has_debug_block_irq, has_xcrs;
    struct kvm_cpuid2   *supported; /* owned */
    struct kvm_msr_list *msr_list;  /* owned */
    X86Hypervisor        hypervisor;

    KvmMemory            *memory;
    KvmRoutes            *routes;
    KvmIrqchips          *chips;
    GPtrArray            *parked;      /* KvmVcpu *: of vCPUs that have gone; machine lock */
    GArray               *breakpoints; /* uint64_t: linear addresses; machine lock */
    GArray               *patches;     /* those of them that are in memory now, debug.c's */
    bool                  running;     /* machine lock */
    struct kvm_clock_data clock;       /* while it stands */
    bool                  have_clock;
    _Atomic(const char *) failed; /* why it cannot go on, a literal; NULL */
} Kvm;

/* One vCPU. Its thread's, but for the kick's part. */
struct KvmVcpu {
    Kvm            *kvm;
    X86Cpu         *cpu;
    uint32_t        apic_id; /* the kernel knows it by */
    int             fd;
    struct kvm_run *run;

    _Atomic int  tid;    /* of its thread; 0: not there yet */
    _Atomic bool kicked; /* since it last looked at its requests */

    bool complete; /* all of it is made */
    bool debug_armed;
    bool io_pending; /* the kernel has yet to finish the access that made it return */
    char failure[160];

    /* What X86Cpu has no place for, from the last time the state was fetched, and which resets it belongs to. */
    uint32_t               resets, power_ons;
    struct kvm_vcpu_events events;
    uint8_t               *xsave; /* kvm->xsave_size */
    struct kvm_xcrs        xcrs;
    uint8_t                lapic_seen[APIC_PAGE_SIZE]; /* what Apic made of that */
    bool                   lapic_valid;
    struct kvm_msrs       *msrs;    /* for transfers, as long as the kernel's list */
    struct kvm_msr_entry  *initial; /* values at power-on of MSRs that X86Cpu does not have */
    unsigned               n_initial;
    struct kvm_dirty_gfn  *ring; /* NULL: no dirty ring */
    uint32_t               ring_next;
};

static inline Kvm *kvm_of(Accel *accel)
{
    return (Kvm *)accel;
}

static inline KvmVcpu *kvm_vcpu(const X86Cpu *cpu)
{
    return cpu->vcpu.accel_cpu;
}

static inline bool kvm_local_apic_inside(const Kvm *kvm)
{
    return kvm->irqchip != KVM_IRQCHIP_OFF;
}

/* ioctl() that goes on after signals. -1 and errno. */
int kvm_ioctl(int fd, unsigned long request, void *argument);

/* The value of a capability, 0 if there is none; of the VM once there is one. */
int kvm_check(const Kvm *kvm, int capability);

/* From now on no vCPU runs any more: each says this literal and stops. The first failure counts. Any thread. */
void kvm_note_failure(Kvm *kvm, const char *why);

/* --- open.c --- */

/* Opens the device: a descriptor, or -1 and an error that says cause and cure. `has_vm` errors of kvm_create_vm: too.
 */
int kvm_open(const char *path, Error *err);
int kvm_create_vm(int fd, Error *err);

/* --- probe.c --- */

/* Does KVM run code at hardware speed here? If not, *why says why in a few words (owned by the caller). Takes a few
 * milliseconds at most. */
bool kvm_probe(char **why);

/* --- memory.c --- */
KvmMemory *kvm_memory_new(Kvm *kvm);
void       kvm_memory_free(KvmMemory *memory);
void       kvm_memory_attach(KvmMemory *memory, AddressSpace *as);
void       kvm_memory_detach(KvmMemory *memory);
bool       kvm_dirty_log(Accel *accel, RamBlock *ram, bool on, Error *err);
void       kvm_dirty_sync(Accel *accel, RamBlock *ram);
void       kvm_dirty_ring_collect(KvmMemory *memory); /* any thread */

/* --- vcpu.c --- */
bool  kvm_vcpu_init(Accel *accel, X86Cpu *cpu, Error *err);
void  kvm_vcpu_free(Accel *accel, X86Cpu *cpu);
void  kvm_vcpu_free_parked(Kvm *kvm);
void *kvm_vcpu_thread(X86Cpu *cpu);
void  kvm_signal_init(void); /* once a process: the signal that ends KVM_RUN does nothing else */

/* Notes why the vCPU cannot go on. Returns false. */
bool kvm_vcpu_fail(KvmVcpu *k, const char *format, ...) G_GNUC_PRINTF(2, 3);

/* --- state.c, xsave.c, msrs.c: false after kvm_vcpu_fail(). The vCPU's thread, or it stands. --- */
bool     kvm_state_put(KvmVcpu *k);
bool     kvm_state_get(KvmVcpu *k);
bool     kvm_xsave_put(KvmVcpu *k, bool power_on);
bool     kvm_xsave_get(KvmVcpu *k);
bool     kvm_msrs_init(KvmVcpu *k, Error *err);
bool     kvm_msrs_put(KvmVcpu *k, bool power_on);
bool     kvm_msrs_get(KvmVcpu *k);
bool     kvm_tsc_deadline_put(KvmVcpu *k, uint64_t deadline);
uint64_t kvm_tsc_deadline_get(KvmVcpu *k);

/* --- cpuid.c --- */
bool kvm_cpuid_init(Kvm *kvm, Error *err); /* what the host has to offer */
bool kvm_cpuid_set(KvmVcpu *k, Error *err);

/* --- irqchip.c --- */
bool kvm_irqchip_create(Kvm *kvm, Error *err);
bool kvm_irqchip_attach(Kvm *kvm, const AccelBoard *board, Error *err);
void kvm_irqchip_detach(Kvm *kvm);
void kvm_irqchip_free(Kvm *kvm);
bool kvm_irqchip_put(Kvm *kvm);
bool kvm_irqchip_get(Kvm *kvm);
void kvm_irqchip_eoi(Kvm *kvm, uint8_t vector); /* of a level interrupt, from a vCPU */

/* --- routes.c: any thread --- */

KvmRoutes *kvm_routes_new(Kvm *kvm);
void       kvm_routes_free(KvmRoutes *routes);

/* Sets what a GSI does; kvm_routes_commit() tells the kernel about all changes. */
void kvm_route_chip(Kvm *kvm, unsigned gsi, unsigned chip, unsigned pin);
void kvm_route_msi(Kvm *kvm, unsigned gsi, uint64_t address, uint32_t data);
void kvm_route_none(Kvm *kvm, unsigned gsi);
bool kvm_routes_commit(Kvm *kvm, Error *err);

/* A GSI of its own for a message, for an irqfd; -1 and an error. */
int  kvm_msi_gsi_new(Kvm *kvm, uint64_t address, uint32_t data, Error *err);
bool kvm_msi_gsi_update(Kvm *kvm, int gsi, uint64_t address, uint32_t data, Error *err);
void kvm_msi_gsi_free(Kvm *kvm, int gsi);

/* Sends a message now. */
void kvm_send_msi(Kvm *kvm, uint64_t address, uint32_t data);

/* Writes to the eventfd raise the GSI. With `resample` (else -1) it is level-triggered: that one is written at its EOI.
 */
bool kvm_irqfd_add(Kvm *kvm, int gsi, int fd, int resample, Error *err);
void kvm_irqfd_remove(Kvm *kvm, int gsi, int fd);

/* A guest's write of `size` bytes (0: of any size) to that address, or with `match` of that value only, is a write to
 * the eventfd and nothing else. */
typedef struct KvmIoEvent {
    uint64_t address;
    bool     port; /* I/O port rather than memory */
    unsigned size;
    bool     match;
    uint64_t value;
    int      fd;
} KvmIoEvent;
bool kvm_ioeventfd_add(Kvm *kvm, const KvmIoEvent *event, Error *err);
void kvm_ioeventfd_remove(Kvm *kvm, const KvmIoEvent *event);

/* --- stats.c: AccelType.stats --- */
Json *kvm_stats(Accel *accel, X86Cpu *cpu, bool schema, Error *err);

/* --- debug.c --- */
GArray *kvm_patches_new(void);
void    kvm_breakpoint(Accel *accel, X86Cpu *cpu, uint64_t linear, bool insert);
bool    kvm_debug_arm(KvmVcpu *k, bool step);
void    kvm_debug_place(Kvm *kvm); /* breakpoints that no debug register has are written into memory */
void    kvm_debug_remove(Kvm *kvm);

/* KVM_EXIT_DEBUG: true when it is the debugger's; else the guest's own exception has been given back to it. */
bool kvm_debug_exit(KvmVcpu *k);

#endif
