/* The accelerator "kvm": the host's kernel and CPU run the guest's code.
 *
 * Properties, the VM, and what happens when the machine goes on or stands. Machine lock held. */

#include "accel/kvm/kvm.h"

#include "base/checked.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
    IDENTITY_MAP = 0xfeffc000, /* a page that Intel CPUs of old need for real mode, then three for a TSS; in a hole */
    TSS          = IDENTITY_MAP + 0x1000,
    PAGE         = 4096,
    MIN_RING     = 1024,
};

static const char *const irqchip_names[] = { "on", "split", "off", NULL };
static const char *const notify_names[]  = { "run", "internal-error", "disable", NULL };

static const Field kvm_properties[] = {
    FIELD(Kvm, irqchip, "kernel-irqchip", .alias = "kernel_irqchip", .names = irqchip_names, .initial = KVM_IRQCHIP_ON,
          .help = "interrupt controllers in the kernel: all, only local APICs, or none"),
    FIELD(Kvm, shadow_mem, "kvm-shadow-mem", .size_unit = 1,
          .help = "most memory for shadow page tables; 0: the kernel's"),
    FIELD(Kvm, dirty_ring_size, "dirty-ring-size",
          .help = "entries of each vCPU's ring of written pages, a power of two from 1024; 0: a bitmap instead"),
    FIELD(Kvm, device, "device", .text = "/dev/kvm", .help = "KVM's device, or /dev/fdset/N"),
    FIELD(Kvm, cpu_pm, "cpu-pm", .help = "guests idle in the processor itself (-overcommit cpu-pm=on)"),
    FIELD(Kvm, notify, "notify-vmexit", .names = notify_names, .initial = KVM_NOTIFY_RUN,
          .help = "when a guest keeps its CPU from taking events: go on, stop, or do not watch"),
    FIELD(Kvm, notify_window, "notify-window", .help = "for how many cycles it may; 0: the hardware's"),
    FIELD(Kvm, eager_split, "eager-split-size", .size_unit = 1, .unsupported = true,
          .help = "splits huge pages in advance (Arm hosts)"),
    {},
};

/* --- init --- */

static bool need_capabilities(const Kvm *kvm, Error *err)
{
    static const struct {
        int         capability;
        const char *name;
    } needed[] = {
        { KVM_CAP_USER_MEMORY, "USER_MEMORY" },
        { KVM_CAP_DESTROY_MEMORY_REGION_WORKS, "DESTROY_MEMORY_REGION_WORKS" },
        { KVM_CAP_SET_TSS_ADDR, "SET_TSS_ADDR" },
        { KVM_CAP_EXT_CPUID, "EXT_CPUID" },
        { KVM_CAP_MP_STATE, "MP_STATE" },
        { KVM_CAP_VCPU_EVENTS, "VCPU_EVENTS" },
        { KVM_CAP_DEBUGREGS, "DEBUGREGS" },
        { KVM_CAP_XSAVE, "XSAVE" },
        { KVM_CAP_IMMEDIATE_EXIT, "IMMEDIATE_EXIT" },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(needed); i++) {
        if (!kvm_check(kvm, needed[i].capability)) {
            return error_set(err, "KVM of this kernel has no KVM_CAP_%s (Linux 4.11 and later do)", needed[i].name);
        }
    }
    static const struct {
        int         capability;
        const char *name;
    } for_irqchips[] = {
        { KVM_CAP_IRQCHIP, "IRQCHIP" },
        { KVM_CAP_IRQ_ROUTING, "IRQ_ROUTING" },
        { KVM_CAP_SIGNAL_MSI, "SIGNAL_MSI" },
    };
    for (unsigned i = 0; kvm_local_apic_inside(kvm) && i < G_N_ELEMENTS(for_irqchips); i++) {
        if (!kvm_check(kvm, for_irqchips[i].capability)) {
            return error_set(err, "KVM of this kernel has no KVM_CAP_%s: kernel-irqchip=off does without",
                             for_irqchips[i].name);
        }
    }
    return true;
}

static bool set_up_ring(Kvm *kvm, Error *err)
{
    if (!kvm->dirty_ring_size) {
        return true;
    }
    if (!is_power_of_two(kvm->dirty_ring_size) || kvm->dirty_ring_size < MIN_RING) {
        return error_set(err, "dirty-ring-size: %u is not a power of two from %d on (or 0)", kvm->dirty_ring_size,
                         MIN_RING);
    }
    int                   capability = KVM_CAP_DIRTY_LOG_RING_ACQ_REL, most = kvm_check(kvm, capability);
    struct kvm_enable_cap cap = { .args = { kvm->dirty_ring_size * sizeof(struct kvm_dirty_gfn) } };
    if (most <= 0) {
        capability = KVM_CAP_DIRTY_LOG_RING;
        most       = kvm_check(kvm, capability);
    }
    if (most <= 0) {
        return error_set(err, "dirty-ring-size: KVM of this kernel has no dirty rings (Linux 5.11 and later do)");
    }
    if (cap.args[0] > (uint64_t)most) {
        return error_set(err, "dirty-ring-size: %u is more than the kernel's %u", kvm->dirty_ring_size,
                         most / (unsigned)sizeof(struct kvm_dirty_gfn));
    }
    cap.cap = (uint32_t)capability;
    return kvm_ioctl(kvm->vm, KVM_ENABLE_CAP, &cap) == 0 || error_set_errno(err, errno, "dirty-ring-size");
}

static bool set_up_notify(Kvm *kvm, Error *err)
{
    int flags = kvm_check(kvm, KVM_CAP_X86_NOTIFY_VMEXIT);
    if (kvm->notify == KVM_NOTIFY_DISABLE) {
        return true;
    }
    if (!flags) {
        /* "run" does what can be done; what was asked for beyond that is not given up silently. */
        bool asked = kvm->notify_window || kvm->notify == KVM_NOTIFY_INTERNAL_ERROR;
        return !asked || error_set(err, "notify-%s: this CPU, or KVM of this kernel, has no notify exits",
                                   kvm->notify == KVM_NOTIFY_INTERNAL_ERROR ? "vmexit" : "window");
    }
    struct kvm_enable_cap cap = { .cap  = KVM_CAP_X86_NOTIFY_VMEXIT,
                                  .args = { (uint64_t)kvm->notify_window << 32 | KVM_X86_NOTIFY_VMEXIT_ENABLED |
                                            KVM_X86_NOTIFY_VMEXIT_USER } };
    return kvm_ioctl(kvm->vm, KVM_ENABLE_CAP, &cap) == 0 || error_set_errno(err, errno, "notify-vmexit");
}

/* HLT, MWAIT, PAUSE and C-states do not leave the guest: quick to wake up, and the host's processor looks busy. */
static bool set_up_cpu_pm(Kvm *kvm, Error *err)
{
    uint64_t wanted = KVM_X86_DISABLE_EXITS_MWAIT | KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE |
                      KVM_X86_DISABLE_EXITS_CSTATE;
    int there = kvm->cpu_pm ? kvm_check(kvm, KVM_CAP_X86_DISABLE_EXITS) : 0;
    if (!kvm->cpu_pm) {
        return true;
    }
    if (there <= 0 || !(there & KVM_X86_DISABLE_EXITS_HLT)) {
        return error_set(err,
                         "cpu-pm: KVM of this kernel cannot let guests halt the processor (Linux 4.17 and later do)");
    }
    struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_DISABLE_EXITS, .args = { wanted & (uint64_t)there } };
    return kvm_ioctl(kvm->vm, KVM_ENABLE_CAP, &cap) == 0 || error_set_errno(err, errno, "cpu-pm");
}

static bool set_up_vm(Kvm *kvm, Error *err)
{
    uint64_t identity = IDENTITY_MAP;
    if ((kvm_check(kvm, KVM_CAP_SET_IDENTITY_MAP_ADDR) &&
         kvm_ioctl(kvm->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0) ||
        kvm_ioctl(kvm->vm, KVM_SET_TSS_ADDR, (void *)(uintptr_t)TSS) < 0) {
        return error_set_errno(err, errno, "KVM does not set the VM up");
    }
    if (kvm->shadow_mem) {
        uint64_t pages = kvm->shadow_mem / PAGE;
        if (!kvm_check(kvm, KVM_CAP_MMU_SHADOW_CACHE_CONTROL) ||
            kvm_ioctl(kvm->vm, KVM_SET_NR_MMU_PAGES, (void *)(uintptr_t)MIN(pages, UINT32_MAX)) < 0) {
            return error_set(err, "kvm-shadow-mem: KVM does not take it (it needs a few MiB at least)");
        }
    }
    return true;
}

static bool read_msr_list(Kvm *kvm, Error *err)
{
    struct kvm_msr_list none = {};
    if (kvm_ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, &none) < 0 && errno != E2BIG) {
        return error_set_errno(err, errno, "KVM does not list its MSRs");
    }
    kvm->msr_list        = g_malloc0(sizeof *kvm->msr_list + none.nmsrs * sizeof(uint32_t));
    kvm->msr_list->nmsrs = none.nmsrs;
    return kvm_ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, kvm->msr_list) == 0 ||
           error_set_errno(err, errno, "KVM does not list its MSRs");
}

static void read_sizes(Kvm *kvm)
{
    int size                 = kvm_check(kvm, KVM_CAP_XSAVE2);
    kvm->xsave_size          = MAX(size, (int)sizeof(struct kvm_xsave));
    kvm->vcpu_mmap_size      = kvm_ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    kvm->has_tsc_offset      = kvm_check(kvm, KVM_CAP_VCPU_ATTRIBUTES) > 0;
    kvm->has_xcrs            = kvm_check(kvm, KVM_CAP_XCRS) > 0;
    kvm->has_debug_block_irq = kvm_check(kvm, KVM_CAP_SET_GUEST_DEBUG2) & KVM_GUESTDBG_BLOCKIRQ;
}

static bool kvm_init(Accel *accel, Error *err)
{
    Kvm *kvm         = kvm_of(accel);
    kvm->vm          = -1;
    kvm->parked      = g_ptr_array_new();
    kvm->breakpoints = g_array_new(false, true, sizeof(uint64_t));
    kvm->patches     = kvm_patches_new();
    kvm->fd          = kvm_open(kvm->device, err);
    if (kvm->fd < 0 || (kvm->vm = kvm_create_vm(kvm->fd, err)) < 0) {
        return false;
    }
    kvm->memory         = kvm_memory_new(kvm);
    kvm->routes         = kvm_routes_new(kvm);
    accel->halts_inside = kvm_local_apic_inside(kvm);
    read_sizes(kvm);
    kvm_signal_init();
    return need_capabilities(kvm, err) && set_up_vm(kvm, err) && set_up_ring(kvm, err) && set_up_notify(kvm, err) &&
           set_up_cpu_pm(kvm, err) && kvm_irqchip_create(kvm, err) && read_msr_list(kvm, err) &&
           kvm_cpuid_init(kvm, err);
}

static void kvm_free(Accel *accel)
{
    Kvm *kvm = kvm_of(accel);
    kvm_vcpu_free_parked(kvm);
    kvm_memory_free(kvm->memory);
    kvm_routes_free(kvm->routes);
    kvm_irqchip_free(kvm);
    if (kvm->breakpoints) {
        g_array_unref(kvm->breakpoints);
        g_array_unref(kvm->patches);
        if (kvm->vm >= 0) {
            close(kvm->vm);
        }
        if (kvm->fd >= 0) {
            close(kvm->fd);
        }
    }
    g_free(kvm->supported);
    g_free(kvm->msr_list);
}

/* --- boards, running and standing --- */

static bool kvm_attach(Accel *accel, const AccelBoard *board, Error *err)
{
    Kvm *kvm = kvm_of(accel);
    kvm_memory_attach(kvm->memory, board->memory);
    return kvm_irqchip_attach(kvm, board, err);
}

static void kvm_detach(Accel *accel)
{
    Kvm *kvm = kvm_of(accel);
    kvm_irqchip_detach(kvm);
    kvm_memory_detach(kvm->memory);
}

static void kvm_resuming(Accel *accel)
{
    Kvm *kvm = kvm_of(accel);
    if (kvm->running) {
        return;
    }
    kvm->running = true;
    kvm_debug_place(kvm);
    if (!kvm_irqchip_put(kvm)) {
        kvm_note_failure(kvm, "KVM does not take the state of the interrupt controllers");
    }
    /* The paravirtual clock goes on where it stood. */
    if (kvm->have_clock) {
        struct kvm_clock_data clock = { .clock = kvm->clock.clock };
        if (kvm_ioctl(kvm->vm, KVM_SET_CLOCK, &clock) < 0) {
            kvm_note_failure(kvm, "KVM does not set its clock");
        }
    }
}

static void kvm_paused(Accel *accel)
{
    Kvm *kvm = kvm_of(accel);
    if (!kvm->running) {
        return;
    }
    kvm->running = false;
    kvm_debug_remove(kvm);
    if (!kvm_irqchip_get(kvm)) {
        kvm_note_failure(kvm, "KVM does not give the state of the interrupt controllers");
    }
    kvm->have_clock = kvm_check(kvm, KVM_CAP_ADJUST_CLOCK) && kvm_ioctl(kvm->vm, KVM_GET_CLOCK, &kvm->clock) == 0;
    for (unsigned i = 0; i < vcpu_group_size(accel->group); i++) {
        /* Tells the guest's watchdogs that it stood; one without the paravirtual clock does not take it. */
        kvm_ioctl(kvm_vcpu(x86_cpu(vcpu_group_get(accel->group, i)))->fd, KVM_KVMCLOCK_CTRL, NULL);
    }
}

static const X86Hypervisor *kvm_hypervisor(Accel *accel)
{
    return &kvm_of(accel)->hypervisor;
}

ACCEL_TYPE(kvm) = {
    .name        = "kvm",
    .parent      = "accel",
    .help        = "the host's CPU runs the guest's code (Linux KVM)",
    .class       = OBJECT_CLASS_ACCEL,
    .size        = sizeof(Kvm),
    .properties  = kvm_properties,
    .no_smm      = true,
    .suits       = kvm_probe,
    .init        = kvm_init,
    .free        = kvm_free,
    .vcpu_init   = kvm_vcpu_init,
    .vcpu_free   = kvm_vcpu_free,
    .vcpu_thread = kvm_vcpu_thread,
    .attach      = kvm_attach,
    .detach      = kvm_detach,
    .resuming    = kvm_resuming,
    .paused      = kvm_paused,
    .hypervisor  = kvm_hypervisor,
    .breakpoint  = kvm_breakpoint,
    .dirty_log   = kvm_dirty_log,
    .dirty_sync  = kvm_dirty_sync,
    .stats       = kvm_stats,
};
