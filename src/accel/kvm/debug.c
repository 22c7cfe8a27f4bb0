/* The debugger: single steps, and breakpoints in the debug registers as far as those go; further ones are INT3 in
 * memory, which is there only while the machine runs.
 *
 * Machine lock held and vCPUs stopped, but for kvm_debug_exit() and kvm_debug_arm(), which are their threads'. */

#include "accel/kvm/kvm.h"

#include "cpu/x86/mem.h"

#include <errno.h>
#include <string.h>

enum { N_REGISTERS = 4, INT3 = 0xcc };

/* A breakpoint in memory. */
typedef struct Patch {
    uint64_t linear, physical;
    uint8_t  original;
} Patch;

void kvm_breakpoint(Accel *accel, X86Cpu *cpu, uint64_t linear, bool insert)
{
    Kvm *kvm = kvm_of(accel);
    if (cpu->vcpu.index > 0) {
        return; /* one list serves all */
    }
    if (insert) {
        g_array_append_val(kvm->breakpoints, linear);
        return;
    }
    for (guint i = 0; i < kvm->breakpoints->len; i++) {
        if (g_array_index(kvm->breakpoints, uint64_t, i) == linear) {
            g_array_remove_index(kvm->breakpoints, i);
            return;
        }
    }
}

void kvm_debug_place(Kvm *kvm)
{
    VcpuGroup *group = kvm->accel.group;
    for (guint i = N_REGISTERS; i < kvm->breakpoints->len; i++) {
        Patch   patch = { .linear = g_array_index(kvm->breakpoints, uint64_t, i) };
        uint8_t int3  = INT3;
        for (unsigned n = 0; n < vcpu_group_size(group); n++) {
            X86Cpu *cpu = x86_cpu(vcpu_group_get(group, n));
            if (x86_debug_translate(cpu, patch.linear, &patch.physical) &&
                address_space_read(cpu->vcpu.memory, patch.physical, &patch.original, 1) == MEM_OK &&
                address_space_poke(cpu->vcpu.memory, patch.physical, &int3, 1) == MEM_OK) {
                g_array_append_val(kvm->patches, patch);
                break;
            }
        }
    }
}

void kvm_debug_remove(Kvm *kvm)
{
    VcpuGroup *group = kvm->accel.group;
    /* The other way round: the same byte may have been patched twice. */
    for (guint i = kvm->patches->len; i-- > 0 && vcpu_group_size(group);) {
        const Patch *patch = &g_array_index(kvm->patches, Patch, i);
        address_space_poke(vcpu_group_get(group, 0)->memory, patch->physical, &patch->original, 1);
    }
    g_array_set_size(kvm->patches, 0);
}

GArray *kvm_patches_new(void)
{
    return g_array_new(false, true, sizeof(Patch));
}

bool kvm_debug_arm(KvmVcpu *k, bool step)
{
    Kvm                   *kvm   = k->kvm;
    guint                  n     = MIN(kvm->breakpoints->len, N_REGISTERS);
    struct kvm_guest_debug debug = {};
    if (step) {
        debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
        debug.control |= kvm->has_debug_block_irq ? KVM_GUESTDBG_BLOCKIRQ : 0;
    }
    if (n) {
        debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
        debug.arch.debugreg[7] = DR7_FIXED;
        for (guint i = 0; i < n; i++) {
            debug.arch.debugreg[i] = g_array_index(kvm->breakpoints, uint64_t, i);
            debug.arch.debugreg[7] |= UINT64_C(2) << (2 * i); /* global, execution, 1 byte */
        }
    }
    if (kvm->patches->len) {
        debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
    }
    if (debug.control == 0 && !k->debug_armed) {
        return true;
    }
    if (kvm_ioctl(k->fd, KVM_SET_GUEST_DEBUG, &debug) < 0) {
        return kvm_vcpu_fail(k, "KVM cannot debug the guest (%s)", g_strerror(errno));
    }
    k->debug_armed = debug.control != 0;
    return true;
}

static bool has_patch(const Kvm *kvm, uint64_t linear)
{
    for (guint i = 0; i < kvm->patches->len; i++) {
        if (g_array_index(kvm->patches, Patch, i).linear == linear) {
            return true;
        }
    }
    return false;
}

/* Was it one of the debugger's own registers, rather than a trap of the guest's? */
static bool hit_register(const Kvm *kvm, const struct kvm_debug_exit_arch *d)
{
    guint n = MIN(kvm->breakpoints->len, N_REGISTERS);
    return d->dr6 & ((1u << n) - 1) && !(d->dr6 & DR6_BS);
}

bool kvm_debug_exit(KvmVcpu *k)
{
    const struct kvm_debug_exit_arch *d    = &k->run->debug.arch;
    bool                              step = k->cpu->vcpu.single_step;
    if (d->exception == X86_BP ? has_patch(k->kvm, d->pc) : step || hit_register(k->kvm, d)) {
        return true;
    }
    struct kvm_guest_debug debug = { .control = KVM_GUESTDBG_ENABLE };
    debug.control |= d->exception == X86_BP ? KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_INJECT_BP
                                            : KVM_GUESTDBG_USE_HW_BP | KVM_GUESTDBG_INJECT_DB;
    kvm_ioctl(k->fd, KVM_SET_GUEST_DEBUG, &debug);
    kvm_debug_arm(k, step);
    return false;
}
