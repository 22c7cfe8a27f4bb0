/* Microsoft's hypervisor interface: what Windows does otherwise, and faster, when it knows that it is a guest.
 *
 * Specification: Microsoft, Hypervisor Top-Level Functional Specification 6.0b (2020), sections 2 (features), 3.13
 * (hypercall page), 7 (virtual processors), 10.4 (APIC), 12 (time). There are no hypercalls: the page that a guest
 * makes them through says so itself. The registers of a partition are the first vCPU's. */

#include "cpu/x86/hyperv.h"

#include "base/bytes.h"
#include "devices/irq/apic.h"

#include <pthread.h>
#include <string.h>

enum {
    MSR_GUEST_OS_ID      = 0x40000000,
    MSR_HYPERCALL        = 0x40000001,
    MSR_VP_INDEX         = 0x40000002,
    MSR_VP_RUNTIME       = 0x40000010,
    MSR_TIME_REF_COUNT   = 0x40000020,
    MSR_REFERENCE_TSC    = 0x40000021,
    MSR_TSC_FREQUENCY    = 0x40000022,
    MSR_APIC_FREQUENCY   = 0x40000023,
    MSR_EOI              = 0x40000070,
    MSR_ICR              = 0x40000071,
    MSR_TPR              = 0x40000072,
    MSR_VP_ASSIST_PAGE   = 0x40000073,
    PAGE_ENABLED         = 1,
    HYPERCALL_LOCKED     = 2,
    PAGE_SIZE            = 4096,
    PRIVILEGE_HYPERCALLS = 1 << 5, /* the registers, not the calls */
    MIN_MAX_PROCESSORS   = 64,
    TICKS_PER_SECOND     = 10000000, /* all times are in units of 100 ns */
};

/* What each property adds to CPUID, and the registers that come with it. */
static const struct {
    X86HvFeature feature;
    uint32_t     privileges, features, recommendations; /* 40000003h EAX and EDX, 40000004h EAX */
    uint32_t     first, last;
} parts[] = {
    { X86_HV_RELAXED, 0, 0, 1 << 5, 1, 0 },
    { X86_HV_VAPIC, 1 << 4, 0, 1 << 3, MSR_EOI, MSR_VP_ASSIST_PAGE },
    { X86_HV_TIME, 1 << 1 | 1 << 9, 0, 0, MSR_TIME_REF_COUNT, MSR_REFERENCE_TSC },
    { X86_HV_VPINDEX, 1 << 6, 0, 0, MSR_VP_INDEX, MSR_VP_INDEX },
    { X86_HV_RUNTIME, 1 << 0, 0, 0, MSR_VP_RUNTIME, MSR_VP_RUNTIME },
    { X86_HV_FREQUENCIES, 1 << 11, 1 << 8, 0, MSR_TSC_FREQUENCY, MSR_APIC_FREQUENCY },
};

bool x86_hv_shows(const X86Model *model)
{
    return model->hyperv.on || model->hyperv.spinlocks != X86_HV_NO_SPINLOCKS;
}

/* --- CPUID --- */

X86CpuidLeaf x86_hv_cpuid(const X86Cpu *cpu, uint32_t leaf)
{
    const X86HvModel *hv = &cpu->model->hyperv;
    X86CpuidLeaf      r  = { 0 };

    switch (leaf) {
    case 0x40000000:
        r.eax = 0x40000005;
        memcpy(&r.ebx, hv->vendor, 4);
        memcpy(&r.ecx, hv->vendor + 4, 4);
        memcpy(&r.edx, hv->vendor + 8, 4);
        break;
    case 0x40000001: memcpy(&r.eax, "Hv#1", 4); break;
    case 0x40000002:
        r.eax = hv->build;
        r.ebx = hv->major << 16 | hv->minor;
        r.ecx = hv->service_pack;
        r.edx = hv->service_branch << 24 | hv->service_number;
        break;
    case 0x40000003:
    case 0x40000004:
        r.eax = leaf & 1 ? PRIVILEGE_HYPERCALLS : 0;
        r.ebx = leaf & 1 ? 0 : hv->spinlocks;
        for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            if (hv->on & parts[i].feature) {
                r.eax |= leaf & 1 ? parts[i].privileges : parts[i].recommendations;
                r.edx |= leaf & 1 ? parts[i].features : 0;
            }
        }
        break;
    case 0x40000005: r.eax = MAX(vcpu_group_size(cpu->vcpu.group), MIN_MAX_PROCESSORS); break;
    default: break;
    }
    return r;
}

/* --- pages --- */

static X86Hyperv *partition(X86Cpu *cpu)
{
    return &x86_cpu(vcpu_group_get(cpu->vcpu.group, 0))->hyperv;
}

static bool write_page(X86Cpu *cpu, uint64_t msr, const void *data, size_t len)
{
    return address_space_write(cpu->vcpu.memory, msr & ~(uint64_t)(PAGE_SIZE - 1), data, len) == MEM_OK;
}

/* Every call returns HV_STATUS_INVALID_HYPERCALL_CODE, in RAX or in EDX:EAX. */
static bool set_hypercall(X86Cpu *cpu, uint64_t value)
{
    static const uint8_t code64[]  = { 0xb8, 2, 0, 0, 0, 0xc3 };
    static const uint8_t code32[]  = { 0xb8, 2, 0, 0, 0, 0x31, 0xd2, 0xc3 };
    uint8_t              page[256] = { 0 };
    X86Hyperv           *p         = partition(cpu);

    if (p->hypercall & HYPERCALL_LOCKED) {
        return false;
    }
    if (!p->guest_os) {
        value &= ~(uint64_t)PAGE_ENABLED; /* who does not say what it is gets no page */
    }
    memcpy(page, cpu->long_mode ? code64 : code32, cpu->long_mode ? sizeof code64 : sizeof code32);
    if (value & PAGE_ENABLED && !write_page(cpu, value, page, sizeof page)) {
        return false;
    }
    p->hypercall = value;
    return true;
}

/* In units of 100 ns, of a TSC that the guest has not changed. */
static uint64_t tsc_scale(const X86Cpu *cpu)
{
    return (uint64_t)(((unsigned __int128)TICKS_PER_SECOND << 64) / cpu->tsc_hz);
}

static uint64_t reference_time(X86Cpu *cpu)
{
    return (uint64_t)((unsigned __int128)(x86_rdtsc(cpu) - cpu->tsc_adjust) * tsc_scale(cpu) >> 64);
}

/* TscSequence, TscScale, TscOffset: reference time = (TSC * scale >> 64) + offset. */
static bool set_reference_tsc(X86Cpu *cpu, uint64_t value)
{
    uint8_t  page[24] = { 0 };
    bool     back     = (int64_t)cpu->tsc_adjust < 0;
    uint64_t offset = (uint64_t)((unsigned __int128)(back ? -cpu->tsc_adjust : cpu->tsc_adjust) * tsc_scale(cpu) >> 64);

    store_le32(page, 1);
    store_le64(page + 8, tsc_scale(cpu));
    store_le64(page + 16, back ? offset : -offset);
    if (value & PAGE_ENABLED && !write_page(cpu, value, page, sizeof page)) {
        return false;
    }
    partition(cpu)->reference_tsc = value;
    return true;
}

static bool set_assist_page(X86Cpu *cpu, uint64_t value)
{
    static const uint8_t zeros[PAGE_SIZE];
    if (value & PAGE_ENABLED && !write_page(cpu, value, zeros, sizeof zeros)) {
        return false;
    }
    cpu->hyperv.assist_page = value;
    return true;
}

/* --- registers --- */

static uint64_t run_time(const X86Cpu *cpu)
{
    struct timespec t = { 0 };
    clockid_t       clock;
    if (!cpu->vcpu.has_thread || pthread_getcpuclockid(cpu->vcpu.thread, &clock) || clock_gettime(clock, &t)) {
        return 0;
    }
    return (uint64_t)t.tv_sec * TICKS_PER_SECOND + (uint64_t)t.tv_nsec / 100;
}

static bool is_offered(const X86Cpu *cpu, uint32_t index)
{
    if (!x86_hv_shows(cpu->model) || !x86_has(cpu, X86_FEATURE_HYPERVISOR)) {
        return false;
    }
    if (index == MSR_GUEST_OS_ID || index == MSR_HYPERCALL) {
        return true;
    }
    for (unsigned i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        if (index >= parts[i].first && index <= parts[i].last) {
            return cpu->model->hyperv.on & parts[i].feature;
        }
    }
    return false;
}

bool x86_hv_get_msr(X86Cpu *cpu, uint32_t index, uint64_t *value)
{
    if (!is_offered(cpu, index)) {
        return false;
    }
    switch (index) {
    case MSR_GUEST_OS_ID: *value = partition(cpu)->guest_os; return true;
    case MSR_HYPERCALL: *value = partition(cpu)->hypercall; return true;
    case MSR_VP_INDEX: *value = (uint64_t)cpu->vcpu.index; return true;
    case MSR_VP_RUNTIME: *value = run_time(cpu); return true;
    case MSR_TIME_REF_COUNT: *value = reference_time(cpu); return true;
    case MSR_REFERENCE_TSC: *value = partition(cpu)->reference_tsc; return true;
    case MSR_TSC_FREQUENCY: *value = cpu->tsc_hz; return true;
    case MSR_APIC_FREQUENCY: *value = APIC_TIMER_HZ; return true;
    case MSR_ICR: return cpu->apic && apic_get_icr(cpu->apic, value);
    case MSR_TPR: *value = cpu->apic ? apic_get_task_priority(cpu->apic) : 0; return cpu->apic != NULL;
    case MSR_VP_ASSIST_PAGE: *value = cpu->hyperv.assist_page; return true;
    default: return false; /* EOI can only be written */
    }
}

bool x86_hv_set_msr(X86Cpu *cpu, uint32_t index, uint64_t value)
{
    if (!is_offered(cpu, index)) {
        return false;
    }
    switch (index) {
    case MSR_GUEST_OS_ID:
        partition(cpu)->guest_os = value;
        if (!value) {
            partition(cpu)->hypercall &= ~(uint64_t)PAGE_ENABLED;
        }
        return true;
    case MSR_HYPERCALL: return set_hypercall(cpu, value);
    case MSR_REFERENCE_TSC: return set_reference_tsc(cpu, value);
    case MSR_EOI: return cpu->apic && value <= UINT32_MAX && apic_set_eoi(cpu->apic);
    case MSR_ICR: return cpu->apic && apic_set_icr(cpu->apic, value);
    case MSR_TPR: return cpu->apic && value <= 0xff && apic_set_task_priority(cpu->apic, (uint8_t)value);
    case MSR_VP_ASSIST_PAGE: return set_assist_page(cpu, value);
    default: return false; /* the others can only be read */
    }
}

void x86_hv_reset(X86Cpu *cpu)
{
    cpu->hyperv.guest_os = cpu->hyperv.hypercall = cpu->hyperv.reference_tsc = 0;
    cpu->hyperv.assist_page                                                  = 0;
}
