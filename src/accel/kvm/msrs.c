/* Model-specific registers between X86Cpu and KVM.
 *
 * Those that X86Cpu has go both ways. What else the kernel keeps for a vCPU (its own paravirtual registers, counters,
 * branch records) stays with it, and gets its value of the beginning back at power-on.
 *
 * Specification: Intel SDM 4, table 2-2; AMD APM 2, appendix A; Linux, Documentation/virt/kvm/x86/msr.rst. */

#include "accel/kvm/kvm.h"

#include "cpu/x86/system.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <x86intrin.h>

enum {
    MSR_TSC          = 0x10,
    MSR_APIC_BASE    = 0x1b,
    MSR_TSC_DEADLINE = 0x6e0,
    MSR_XSS          = 0xda0,
    MSR_EFER         = 0xc0000080,
    MSR_FS_BASE      = 0xc0000100,
    MSR_GS_BASE      = 0xc0000101,
    MSR_SMBASE       = 0x9e,
    MSR_X2APIC       = 0x800,
    MSR_X2APIC_END   = 0x8ff,
    MC_BANKS         = 10,
    MAX_MSRS         = 512,
};

typedef struct Row {
    uint32_t index;
    uint16_t member; /* offset of a uint64_t in X86Cpu */
} Row;

#define MSR(index, member)                                                                                             \
    {                                                                                                                  \
        (index), offsetof(X86Cpu, member)                                                                              \
    }

static const Row rows[] = {
    MSR(0x034, smi_count),     MSR(0x03a, feature_control),     MSR(0x03b, tsc_adjust),
    MSR(0x048, spec_ctrl),     MSR(0x174, sysenter_cs),         MSR(0x175, sysenter_esp),
    MSR(0x176, sysenter_eip),  MSR(0x17a, mcg_status),          MSR(0x17b, mcg_ctl),
    MSR(0x1a0, misc_enable),   MSR(0x250, mtrr_fixed[0]),       MSR(0x258, mtrr_fixed[1]),
    MSR(0x259, mtrr_fixed[2]), MSR(0x268, mtrr_fixed[3]),       MSR(0x269, mtrr_fixed[4]),
    MSR(0x26a, mtrr_fixed[5]), MSR(0x26b, mtrr_fixed[6]),       MSR(0x26c, mtrr_fixed[7]),
    MSR(0x26d, mtrr_fixed[8]), MSR(0x26e, mtrr_fixed[9]),       MSR(0x26f, mtrr_fixed[10]),
    MSR(0x277, pat),           MSR(0x2ff, mtrr_def_type),       MSR(MSR_XSS, xss),
    MSR(0xc0000081, star),     MSR(0xc0000082, lstar),          MSR(0xc0000083, cstar),
    MSR(0xc0000084, sfmask),   MSR(0xc0000102, kernel_gs_base), MSR(0xc0000103, tsc_aux),
    MSR(0xc0010010, syscfg),   MSR(0xc0010015, hwcr),           MSR(0xc0011029, de_cfg),
};

enum { N_VARIABLE = 8, N_ROWS = G_N_ELEMENTS(rows) + 2 * N_VARIABLE + 4 * MC_BANKS };

/* The n'th register that X86Cpu has, and where. */
static uint64_t *shared_msr(X86Cpu *cpu, unsigned n, uint32_t *index)
{
    if (n < G_N_ELEMENTS(rows)) {
        *index = rows[n].index;
        return (uint64_t *)((char *)cpu + rows[n].member);
    }
    n -= G_N_ELEMENTS(rows);
    if (n < 2 * N_VARIABLE) {
        *index = 0x200 + n;
        return n & 1 ? &cpu->mtrr_mask[n / 2] : &cpu->mtrr_base[n / 2];
    }
    n -= 2 * N_VARIABLE;
    *index = 0x400 + n;
    return &cpu->mc_bank[n / 4][n & 3];
}

/* Registers that go another way: with the segments, the local APIC, the clock. */
static bool is_elsewhere(uint32_t index)
{
    return index == MSR_TSC || index == MSR_APIC_BASE || index == MSR_TSC_DEADLINE || index == MSR_EFER ||
           index == MSR_FS_BASE || index == MSR_GS_BASE || index == MSR_SMBASE ||
           (index >= MSR_X2APIC && index <= MSR_X2APIC_END);
}

static bool is_shared(X86Cpu *cpu, uint32_t index)
{
    uint32_t other;
    for (unsigned n = 0; n < N_ROWS; n++) {
        shared_msr(cpu, n, &other);
        if (other == index) {
            return true;
        }
    }
    return is_elsewhere(index);
}

/* --- transfers: the kernel stops at the first register it refuses; that one is left out --- */

static int transfer(KvmVcpu *k, unsigned long request, struct kvm_msr_entry *entries, unsigned n)
{
    unsigned done = 0;
    while (done < n) {
        k->msrs->nmsrs = n - done;
        k->msrs->pad   = 0;
        memcpy(k->msrs->entries, entries + done, (n - done) * sizeof *entries);
        int count = kvm_ioctl(k->fd, request, k->msrs);
        if (count < 0) {
            return -1;
        }
        memcpy(entries + done, k->msrs->entries, (size_t)count * sizeof *entries);
        done += (unsigned)count;
        if (done < n) {
            entries[done].reserved = 1; /* refused */
            done++;
        }
    }
    return 0;
}

static bool get_one(KvmVcpu *k, uint32_t index, uint64_t *value)
{
    struct kvm_msr_entry entry = { .index = index };
    if (transfer(k, KVM_GET_MSRS, &entry, 1) < 0 || entry.reserved) {
        return false;
    }
    *value = entry.data;
    return true;
}

static bool set_one(KvmVcpu *k, uint32_t index, uint64_t value)
{
    struct kvm_msr_entry entry = { .index = index, .data = value };
    return transfer(k, KVM_SET_MSRS, &entry, 1) == 0 && !entry.reserved;
}

/* --- the time-stamp counter: its offset to the host's, which is exact; where there is none, its value --- */

static struct kvm_device_attr offset_attribute(uint64_t *offset)
{
    return (
        struct kvm_device_attr){ .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (uintptr_t)offset };
}

static void put_tsc(KvmVcpu *k)
{
    X86Cpu  *cpu    = k->cpu;
    uint64_t offset = (uint64_t)cpu->tsc_offset;
    if (cpu->tsc_frozen) {
        /* A single step: time stands otherwise. */
        uint64_t host = __rdtsc(), hz = x86_host_tsc_hz();
        offset = cpu->tsc_frozen_at - (hz == cpu->tsc_hz ? host : muldiv64(host, cpu->tsc_hz, hz));
    }
    struct kvm_device_attr attribute = offset_attribute(&offset);
    if (cpu->tsc_from_clock || !k->kvm->has_tsc_offset || kvm_ioctl(k->fd, KVM_SET_DEVICE_ATTR, &attribute) < 0) {
        set_one(k, MSR_TSC, x86_rdtsc(cpu));
    }
}

static void get_tsc(KvmVcpu *k)
{
    X86Cpu                *cpu = k->cpu;
    uint64_t               offset, value;
    struct kvm_device_attr attribute = offset_attribute(&offset);
    if (cpu->tsc_frozen) {
        return;
    }
    if (!cpu->tsc_from_clock && k->kvm->has_tsc_offset && kvm_ioctl(k->fd, KVM_GET_DEVICE_ATTR, &attribute) == 0) {
        cpu->tsc_offset = (int64_t)offset;
    } else if (get_one(k, MSR_TSC, &value)) {
        x86_set_tsc(cpu, value);
    }
}

/* --- all --- */

static bool initial_values(KvmVcpu *k)
{
    const struct kvm_msr_list *list = k->kvm->msr_list;
    k->initial                      = g_new0(struct kvm_msr_entry, list->nmsrs + 1);
    for (uint32_t i = 0; i < list->nmsrs; i++) {
        if (!is_shared(k->cpu, list->indices[i])) {
            k->initial[k->n_initial++].index = list->indices[i];
        }
    }
    return transfer(k, KVM_GET_MSRS, k->initial, k->n_initial) == 0;
}

bool kvm_msrs_init(KvmVcpu *k, Error *err)
{
    Kvm     *kvm = k->kvm;
    uint64_t mce = 0;
    k->msrs      = g_malloc0(sizeof *k->msrs + MAX(MAX_MSRS, kvm->msr_list->nmsrs + 1) * sizeof(struct kvm_msr_entry));
    if (kvm_check(kvm, KVM_CAP_MCE) > 0 && kvm_ioctl(kvm->fd, KVM_X86_GET_MCE_CAP_SUPPORTED, &mce) == 0) {
        mce = (mce & UINT64_C(0x01000100)) | MC_BANKS;
        if (kvm_ioctl(k->fd, KVM_X86_SETUP_MCE, &mce) < 0) {
            return error_set_errno(err, errno, "KVM does not set machine checks up");
        }
    }
    if (k->cpu->model->tsc_hz && k->cpu->tsc_hz != x86_host_tsc_hz()) {
        if (kvm_ioctl(k->fd, KVM_SET_TSC_KHZ, (void *)(uintptr_t)(k->cpu->tsc_hz / 1000)) < 0) {
            return error_set(err, "tsc-frequency: this host's CPU cannot scale the TSC of a KVM guest");
        }
    }
    return initial_values(k) || error_set_errno(err, errno, "KVM does not show its MSRs");
}

static unsigned fill_shared(KvmVcpu *k, struct kvm_msr_entry *entries)
{
    for (unsigned n = 0; n < N_ROWS; n++) {
        entries[n]      = (struct kvm_msr_entry){};
        entries[n].data = *shared_msr(k->cpu, n, &entries[n].index);
    }
    return N_ROWS;
}

bool kvm_msrs_put(KvmVcpu *k, bool power_on)
{
    struct kvm_msr_entry entries[N_ROWS];
    unsigned             n = fill_shared(k, entries);
    if (transfer(k, KVM_SET_MSRS, entries, n) < 0) {
        return kvm_vcpu_fail(k, "KVM does not take the guest's MSRs (%s)", g_strerror(errno));
    }
    if (power_on) {
        g_autofree struct kvm_msr_entry *others = g_memdup2(k->initial, k->n_initial * sizeof *k->initial);
        unsigned                         known  = 0;
        for (unsigned i = 0; i < k->n_initial; i++) {
            if (!k->initial[i].reserved) {
                others[known++] = k->initial[i];
            }
        }
        if (transfer(k, KVM_SET_MSRS, others, known) < 0) {
            return kvm_vcpu_fail(k, "KVM does not reset its MSRs (%s)", g_strerror(errno));
        }
    }
    put_tsc(k);
    return true;
}

bool kvm_msrs_get(KvmVcpu *k)
{
    struct kvm_msr_entry entries[N_ROWS];
    unsigned             n = fill_shared(k, entries);
    if (transfer(k, KVM_GET_MSRS, entries, n) < 0) {
        return kvm_vcpu_fail(k, "KVM does not give the guest's MSRs (%s)", g_strerror(errno));
    }
    for (unsigned i = 0; i < n; i++) {
        uint32_t  index;
        uint64_t *value = shared_msr(k->cpu, i, &index);
        if (!entries[i].reserved) {
            *value = entries[i].data;
        }
    }
    get_tsc(k);
    return true;
}

bool kvm_tsc_deadline_put(KvmVcpu *k, uint64_t deadline)
{
    return set_one(k, MSR_TSC_DEADLINE, deadline);
}

uint64_t kvm_tsc_deadline_get(KvmVcpu *k)
{
    uint64_t deadline = 0;
    get_one(k, MSR_TSC_DEADLINE, &deadline);
    return deadline;
}
