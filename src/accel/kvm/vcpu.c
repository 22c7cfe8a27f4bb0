/* vCPUs under KVM: their threads, what makes KVM_RUN return, and interrupts that do not come from the kernel.
 *
 * A thread is "inside" (cpu/vcpu.h) from before KVM_RUN until it stops, I/O included; it takes the machine lock only
 * where a device needs it. A kick sets `immediate_exit`, which KVM_RUN looks at first, and then sends a signal, which
 * ends one that is under way: nothing gets lost between looking at the requests and entering the guest.
 *
 * Specification: Linux, Documentation/virt/kvm/api.rst. */

#include "accel/kvm/kvm.h"

#include "base/bytes.h"
#include "base/trace.h"
#include "cpu/x86/mem.h"
#include "cpu/x86/system.h"
#include "devices/irq/apic.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { KICK_SIGNAL = SIGUSR1, LVT_MASKED = 1 << 16, LVT_DELIVERY = 7 << 8, LVT_NMI = 4 << 8 };

typedef enum Stop { STOP_NONE, STOP_REQUEST, STOP_DEBUG, STOP_SHUTDOWN, STOP_FAILED } Stop;

bool kvm_vcpu_fail(KvmVcpu *k, const char *format, ...)
{
    va_list arguments;
    if (k->failure[0]) {
        return false; /* the first one is the cause */
    }
    va_start(arguments, format);
    g_vsnprintf(k->failure, sizeof k->failure, format, arguments);
    va_end(arguments);
    return false;
}

/* --- kicking --- */

static void do_nothing(int signal)
{
}

void kvm_signal_init(void)
{
    struct sigaction action = { .sa_handler = do_nothing };
    sigset_t         set;
    sigaction(KICK_SIGNAL, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void kick(Vcpu *v)
{
    KvmVcpu *k = v->accel_cpu;
    if (atomic_exchange(&k->kicked, true)) {
        return; /* it has not looked since the last one */
    }
    __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    int tid = atomic_load(&k->tid);
    if (tid) {
        syscall(SYS_tgkill, getpid(), tid, KICK_SIGNAL);
    }
}

/* From here on a kick is a new one. What was asked for before is in the requests. */
static uint32_t look_at_requests(KvmVcpu *k)
{
    __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    atomic_store(&k->kicked, false);
    return vcpu_requests(&k->cpu->vcpu);
}

/* --- interrupts that do not come from the kernel --- */

static bool has_interrupt(const KvmVcpu *k)
{
    const Apic *apic = k->cpu->apic;
    return k->kvm->irqchip == KVM_IRQCHIP_OFF ? apic_has_vector(apic) : apic_get_lint(apic, 0);
}

static int take_vector(KvmVcpu *k)
{
    X86Cpu *cpu    = k->cpu;
    int     vector = k->kvm->irqchip == KVM_IRQCHIP_OFF ? apic_take_vector(cpu->apic) : APIC_EXTINT;
    return vector == APIC_EXTINT && cpu->ack_extint ? cpu->ack_extint(cpu->board) : vector;
}

/* Before each KVM_RUN: gives the guest an interrupt, or has KVM_RUN return when it can take one. */
static bool offer_interrupt(KvmVcpu *k)
{
    struct kvm_run *run           = k->run;
    run->request_interrupt_window = 0;
    vcpu_request_done(&k->cpu->vcpu, X86_REQUEST_INTR);
    if (!has_interrupt(k)) {
        return true;
    }
    if (run->ready_for_interrupt_injection) {
        struct kvm_interrupt interrupt;
        int                  vector = take_vector(k);
        interrupt.irq               = (uint32_t)vector;
        if (vector >= 0 && kvm_ioctl(k->fd, KVM_INTERRUPT, &interrupt) < 0) {
            return kvm_vcpu_fail(k, "KVM does not take interrupt %d (%s)", vector, g_strerror(errno));
        }
        run->ready_for_interrupt_injection = 0;
    }
    run->request_interrupt_window = has_interrupt(k);
    return true;
}

static bool raise_nmi(KvmVcpu *k)
{
    vcpu_request_done(&k->cpu->vcpu, X86_REQUEST_NMI);
    if (kvm_local_apic_inside(k->kvm)) {
        /* It comes from LINT1, whose meaning is in the kernel's local APIC. */
        struct kvm_lapic_state state;
        if (kvm_ioctl(k->fd, KVM_GET_LAPIC, &state) < 0) {
            return kvm_vcpu_fail(k, "KVM does not give the guest's local APIC (%s)", g_strerror(errno));
        }
        uint32_t lvt = load_le32((const uint8_t *)state.regs + APIC_PAGE_LVT_LINT1);
        if (lvt & LVT_MASKED || (lvt & LVT_DELIVERY) != LVT_NMI) {
            return true;
        }
    }
    return kvm_ioctl(k->fd, KVM_NMI, NULL) == 0 || kvm_vcpu_fail(k, "KVM does not take an NMI (%s)", g_strerror(errno));
}

/* INIT and SIPI of a local APIC of ours. */
static bool take_init_sipi(KvmVcpu *k, uint32_t requests)
{
    X86Cpu *cpu = k->cpu;
    if (!kvm_state_get(k)) {
        return false;
    }
    if (requests & X86_REQUEST_INIT) {
        x86_reset(cpu, true);
        vcpu_request_done(&cpu->vcpu, X86_REQUEST_INIT | X86_REQUEST_NMI);
    }
    if (requests & X86_REQUEST_SIPI) {
        if (cpu->wait_for_sipi) {
            x86_start_at_sipi(cpu);
        }
        vcpu_request_done(&cpu->vcpu, X86_REQUEST_SIPI);
    }
    return kvm_state_put(k);
}

/* Takes what was asked for. STOP_NONE: go on. */
static Stop take_requests(KvmVcpu *k, uint32_t requests)
{
    Vcpu *v = &k->cpu->vcpu;
    if (requests & VCPU_REQUEST_YIELD) {
        vcpu_request_done(v, VCPU_REQUEST_YIELD);
        vcpu_leave(v);
        vcpu_enter(v);
    }
    vcpu_request_done(v, VCPU_REQUEST_FLUSH); /* kvm_state_get() drops what X86Cpu caches anyway */
    if ((requests & X86_REQUEST_NMI) && !raise_nmi(k)) {
        return STOP_FAILED;
    }
    if (requests & X86_REQUEST_SMI) {
        vcpu_request_done(v, X86_REQUEST_SMI);
        log_print(v->log, LOG_GUEST_ERRORS, "CPU %d: an SMI is dropped: there is no SMM under KVM yet\n", v->index);
    }
    if ((requests & (X86_REQUEST_INIT | X86_REQUEST_SIPI)) && !take_init_sipi(k, requests)) {
        return STOP_FAILED;
    }
    if (requests & VCPU_REQUEST_EXIT) {
        return STOP_REQUEST;
    }
    return STOP_NONE;
}

/* --- exits --- */

static void do_port_io(KvmVcpu *k)
{
    const struct kvm_run *run  = k->run;
    unsigned              size = run->io.size;
    uint8_t              *data = (uint8_t *)run + run->io.data_offset;
    for (uint32_t i = 0; i < run->io.count; i++, data += size) {
        uint64_t value = 0;
        if (run->io.direction == KVM_EXIT_IO_OUT) {
            memcpy(&value, data, size);
            address_space_store(k->cpu->vcpu.io, run->io.port, value, size);
        } else {
            value = address_space_load(k->cpu->vcpu.io, run->io.port, size);
            memcpy(data, &value, size);
        }
    }
}

static void do_mmio(KvmVcpu *k)
{
    struct kvm_run *run    = k->run;
    AddressSpace   *memory = k->cpu->vcpu.memory;
    unsigned        len    = MIN(run->mmio.len, 8);
    uint64_t        value  = 0;
    if (len & (len - 1)) {
        if (run->mmio.is_write) {
            address_space_write(memory, run->mmio.phys_addr, run->mmio.data, len);
        } else {
            address_space_read(memory, run->mmio.phys_addr, run->mmio.data, len);
        }
    } else if (run->mmio.is_write) {
        memcpy(&value, run->mmio.data, len);
        address_space_store(memory, run->mmio.phys_addr, value, len);
    } else {
        value = address_space_load(memory, run->mmio.phys_addr, len);
        memcpy(run->mmio.data, &value, len);
    }
}

/* HLT with a local APIC of ours. */
static Stop do_halt(KvmVcpu *k)
{
    X86Cpu *cpu      = k->cpu;
    cpu->vcpu.halted = true;
    x86_set_eflags(cpu, k->run->if_flag ? EFLAGS_IF : 0, EFLAGS_IF); /* what accel_vcpu_sleep() looks at */
    cpu->nmi_blocked = false;
    if (has_interrupt(k)) {
        vcpu_request(&cpu->vcpu, X86_REQUEST_INTR); /* offer_interrupt() has taken that bit */
    }
    vcpu_leave(&cpu->vcpu);
    bool awake = accel_vcpu_sleep(cpu);
    vcpu_enter(&cpu->vcpu);
    return awake ? STOP_NONE : STOP_REQUEST;
}

static Stop internal_error(KvmVcpu *k)
{
    static const char *const kinds[] = { [KVM_INTERNAL_ERROR_EMULATION]   = "an instruction it cannot emulate",
                                         [KVM_INTERNAL_ERROR_SIMUL_EX]    = "exceptions at the same time",
                                         [KVM_INTERNAL_ERROR_DELIVERY_EV] = "an event it cannot deliver",
                                         [KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "an exit it does not know" };
    uint32_t                 n       = k->run->internal.suberror;
    const char              *kind    = n < G_N_ELEMENTS(kinds) && kinds[n] ? kinds[n] : "an internal error";
    struct kvm_regs          regs    = {};
    kvm_ioctl(k->fd, KVM_GET_REGS, &regs);
    g_autoptr(GString) bytes = g_string_new(NULL);
    for (unsigned i = 0; n == KVM_INTERNAL_ERROR_EMULATION && k->run->emulation_failure.ndata >= 3 &&
                         i < MIN(k->run->emulation_failure.insn_size, 15);
         i++) {
        g_string_append_printf(bytes, "%s%02x", i ? " " : ", bytes ", k->run->emulation_failure.insn_bytes[i]);
    }
    kvm_vcpu_fail(k, "KVM met %s at rip %" PRIx64 "%s", kind, (uint64_t)regs.rip, bytes->str);
    return STOP_FAILED;
}

static Stop notified(KvmVcpu *k)
{
    bool broken = k->run->notify.flags & KVM_NOTIFY_CONTEXT_INVALID;
    if (!broken && k->kvm->notify == KVM_NOTIFY_RUN) {
        return STOP_NONE;
    }
    kvm_vcpu_fail(k, broken ? "the guest kept its CPU from taking events, and its state is lost (notify-vmexit)"
                            : "the guest kept its CPU from taking events (notify-vmexit=internal-error)");
    return STOP_FAILED;
}

static Stop handle_exit(KvmVcpu *k)
{
    const struct kvm_run *run = k->run;
    trace(k->cpu->vcpu.log, TRACE_KVM_EXIT, "cpu_index %u, reason %u", k->cpu->vcpu.index, run->exit_reason);
    switch (run->exit_reason) {
    case KVM_EXIT_IO:
        do_port_io(k);
        k->io_pending = true;
        return STOP_NONE;
    case KVM_EXIT_MMIO:
        do_mmio(k);
        k->io_pending = true;
        return STOP_NONE;
    case KVM_EXIT_IRQ_WINDOW_OPEN:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_INTR: return STOP_NONE;
    case KVM_EXIT_HLT: return do_halt(k);
    case KVM_EXIT_IOAPIC_EOI: kvm_irqchip_eoi(k->kvm, run->eoi.vector); return STOP_NONE;
    case KVM_EXIT_DIRTY_RING_FULL: kvm_dirty_ring_collect(k->kvm->memory); return STOP_NONE;
    case KVM_EXIT_DEBUG: return kvm_debug_exit(k) ? STOP_DEBUG : STOP_NONE;
    case KVM_EXIT_SHUTDOWN: return STOP_SHUTDOWN;
    case KVM_EXIT_INTERNAL_ERROR: return internal_error(k);
    case KVM_EXIT_NOTIFY: return notified(k);
    case KVM_EXIT_FAIL_ENTRY:
        kvm_vcpu_fail(k, "the CPU does not enter the guest (KVM: hardware reason 0x%llx)",
                      (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
        return STOP_FAILED;
    default: kvm_vcpu_fail(k, "KVM ended a run for an unknown reason (%u)", run->exit_reason); return STOP_FAILED;
    }
}

/* --- running --- */

/* CR8 and IA32_APIC_BASE are in kvm_run when the local APIC is ours. */
static void take_apic_registers(KvmVcpu *k)
{
    const struct kvm_run *run  = k->run;
    Apic                 *apic = k->cpu->apic;
    if ((run->cr8 & 15) != apic_get_tpr(apic)) {
        apic_set_tpr(apic, (uint8_t)run->cr8);
    }
    if (run->apic_base != apic_get_base(apic)) {
        apic_set_base(apic, run->apic_base, k->cpu->phys_bits);
    }
}

static Stop run_guest(KvmVcpu *k)
{
    KvmIrqchip irqchip = (KvmIrqchip)k->kvm->irqchip;
    k->io_pending      = false;
    for (;;) {
        uint32_t requests = look_at_requests(k);
        Stop     stop     = requests ? take_requests(k, requests) : STOP_NONE;
        if (stop == STOP_REQUEST && k->io_pending) {
            /* Finishes the access and does no more. */
            __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_RELAXED);
        } else if (stop != STOP_NONE) {
            return stop;
        }
        if (irqchip == KVM_IRQCHIP_OFF && k->cpu->wait_for_sipi) {
            return STOP_REQUEST; /* an INIT came: back to waiting */
        }
        if (irqchip != KVM_IRQCHIP_ON && stop == STOP_NONE && !offer_interrupt(k)) {
            return STOP_FAILED;
        }
        if (irqchip == KVM_IRQCHIP_OFF) {
            k->run->cr8 = apic_get_tpr(k->cpu->apic);
        }
        int result = ioctl(k->fd, KVM_RUN, NULL);
        if (irqchip == KVM_IRQCHIP_OFF) {
            take_apic_registers(k);
        }
        if (result < 0 && errno != EINTR && errno != EAGAIN) {
            kvm_vcpu_fail(k, "KVM does not run the guest (%s)", g_strerror(errno));
            return STOP_FAILED;
        }
        k->io_pending = false;
        if (result == 0) {
            stop = handle_exit(k);
            if (stop != STOP_NONE && stop != STOP_REQUEST) {
                return stop;
            }
        }
    }
}

static Stop run_from_state(KvmVcpu *k, bool step)
{
    X86Cpu *cpu = k->cpu;
    if (step && (cpu->vcpu.halted || cpu->wait_for_sipi)) {
        return STOP_DEBUG; /* there is no next instruction yet */
    }
    const char *broken = atomic_load(&k->kvm->failed);
    if (broken) {
        kvm_vcpu_fail(k, "%s", broken);
        return STOP_FAILED;
    }
    if (!kvm_state_put(k) || !kvm_debug_arm(k, step)) {
        return STOP_FAILED;
    }
    vcpu_enter(&cpu->vcpu);
    Stop stop = run_guest(k);
    vcpu_leave(&cpu->vcpu);
    return kvm_state_get(k) ? stop : STOP_FAILED;
}

void *kvm_vcpu_thread(X86Cpu *cpu)
{
    Vcpu    *v     = &cpu->vcpu;
    Accel   *accel = v->accel;
    KvmVcpu *k     = kvm_vcpu(cpu);

    kvm_signal_init();
    atomic_store(&k->tid, (int)syscall(SYS_gettid));
    while (accel_vcpu_wait(accel, cpu)) {
        bool step  = v->single_step;
        int  depth = machine_lock_drop(v->lock);
        Stop stop  = run_from_state(k, step);
        machine_lock_restore(v->lock, depth);

        switch (stop) {
        case STOP_NONE:
        case STOP_REQUEST: break;
        case STOP_DEBUG:
            v->stopped     = true;
            v->single_step = false;
            accel->host.debug(accel->host.opaque, v);
            break;
        case STOP_SHUTDOWN:
            v->stopped = true;
            accel->host.shutdown(accel->host.opaque, v);
            break;
        case STOP_FAILED:
            v->stopped = true;
            accel->host.failed(accel->host.opaque, v, k->failure);
            break;
        }
        accel_vcpu_stopped(accel, cpu);
    }
    atomic_store(&k->tid, 0);
    return NULL;
}

/* --- life --- */

static bool map_ring(KvmVcpu *k, Error *err)
{
    size_t size = k->kvm->dirty_ring_size * sizeof(struct kvm_dirty_gfn);
    if (!size) {
        return true;
    }
    void *ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd,
                      (off_t)KVM_DIRTY_LOG_PAGE_OFFSET * sysconf(_SC_PAGESIZE));
    k->ring    = ring == MAP_FAILED ? NULL : ring;
    return k->ring || error_set_errno(err, errno, "KVM does not show a vCPU's dirty ring");
}

static bool create(KvmVcpu *k, Error *err)
{
    Kvm *kvm  = k->kvm;
    int  most = kvm_check(kvm, KVM_CAP_MAX_VCPUS), end = kvm_check(kvm, KVM_CAP_MAX_VCPU_ID);
    if ((most && k->cpu->vcpu.index >= most) || (end && k->cpu->apic_id >= (unsigned)end)) {
        return error_set(err, "KVM on this host runs no more than %d vCPUs, with APIC IDs below %d", most, end);
    }
    k->fd = kvm_ioctl(kvm->vm, KVM_CREATE_VCPU, (void *)(uintptr_t)k->cpu->apic_id);
    if (k->fd < 0) {
        return error_set_errno(err, errno, "KVM makes no vCPU");
    }
    void *run = mmap(NULL, (size_t)kvm->vcpu_mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    if (run == MAP_FAILED) {
        return error_set_errno(err, errno, "KVM does not show a vCPU's run area");
    }
    k->run             = run;
    k->xsave           = g_malloc0((size_t)kvm->xsave_size);
    uint64_t apic_base = k->cpu->apic ? apic_get_base(k->cpu->apic) : 0;
    k->run->apic_base  = apic_base;
    if (!map_ring(k, err) || !kvm_cpuid_set(k, err) || !kvm_msrs_init(k, err)) {
        return false;
    }
    if (kvm_ioctl(k->fd, kvm->xsave_size > (int)sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, k->xsave) <
        0) {
        return error_set_errno(err, errno, "KVM does not give the FPU's state");
    }
    return true;
}

/* The kernel keeps a vCPU as long as the VM: one that goes is put aside, and its APIC ID may come again. */
static KvmVcpu *take_parked(Kvm *kvm, const X86Cpu *cpu)
{
    for (guint i = 0; i < kvm->parked->len; i++) {
        KvmVcpu *k = kvm->parked->pdata[i];
        if (k->apic_id == cpu->apic_id) {
            g_ptr_array_remove_index(kvm->parked, i);
            return k;
        }
    }
    return NULL;
}

/* It starts from power-on again, with the CPUID that it had: the same APIC ID is the same place in the topology. */
static void reuse(KvmVcpu *k)
{
    k->resets = k->power_ons = UINT32_MAX;
    k->lapic_valid           = false;
    k->io_pending            = false;
    k->debug_armed           = true; /* maybe: kvm_debug_arm() is to look */
    k->run->apic_base        = k->cpu->apic ? apic_get_base(k->cpu->apic) : 0;
}

bool kvm_vcpu_init(Accel *accel, X86Cpu *cpu, Error *err)
{
    KvmVcpu *k      = take_parked(kvm_of(accel), cpu);
    bool     parked = k != NULL;
    if (!k) {
        k          = g_new0(KvmVcpu, 1);
        k->kvm     = kvm_of(accel);
        k->apic_id = cpu->apic_id;
        k->fd      = -1;
    }
    k->cpu              = cpu;
    cpu->vcpu.accel_cpu = k;
    if (parked) {
        reuse(k);
    }
    if (!x86_tlb_init(cpu, err) || (!parked && !create(k, err))) {
        kvm_vcpu_free(accel, cpu);
        return false;
    }
    k->complete    = true;
    cpu->vcpu.kick = kick;
    if (kvm_local_apic_inside(k->kvm) && cpu->apic) {
        apic_set_external(cpu->apic, true);
    }
    return true;
}

static void destroy(KvmVcpu *k)
{
    if (k->ring) {
        munmap(k->ring, k->kvm->dirty_ring_size * sizeof(struct kvm_dirty_gfn));
    }
    if (k->run) {
        munmap(k->run, (size_t)k->kvm->vcpu_mmap_size);
    }
    if (k->fd >= 0) {
        close(k->fd);
    }
    g_free(k->xsave);
    g_free(k->msrs);
    g_free(k->initial);
    g_free(k);
}

void kvm_vcpu_free(Accel *accel, X86Cpu *cpu)
{
    KvmVcpu *k = kvm_vcpu(cpu);
    if (!k) {
        return;
    }
    cpu->vcpu.kick      = NULL;
    cpu->vcpu.accel_cpu = NULL;
    x86_tlb_free(cpu);
    if (cpu->apic) {
        apic_set_external(cpu->apic, false);
    }
    if (k->complete && !accel->ending) {
        k->cpu = NULL;
        g_ptr_array_add(k->kvm->parked, k);
    } else {
        destroy(k);
    }
}

void kvm_vcpu_free_parked(Kvm *kvm)
{
    for (guint i = 0; kvm->parked && i < kvm->parked->len; i++) {
        destroy(kvm->parked->pdata[i]);
    }
    g_clear_pointer(&kvm->parked, g_ptr_array_unref);
}
