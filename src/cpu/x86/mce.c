/* Machine-check errors from outside: see mce.h.
 *
 * Specification: Intel SDM 3, 16.3 (registers, overwrite rules), 16.3.1.2 (MCIP), 16.6 (recoverable errors), 16.10.4.1
 * (broadcast) (December 2023). Machine lock; each vCPU's part runs on its own thread. */

#include "cpu/x86/mce.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/system.h"

#include <inttypes.h>

/* Corrected errors neither displace uncorrected ones nor interrupt; the last corrected one stays. */
static X86MceOutcome log_corrected(uint64_t bank[4], const X86MceError *e)
{
    if ((bank[1] & MCI_STATUS_VAL) && (bank[1] & MCI_STATUS_UC)) {
        bank[1] |= MCI_STATUS_OVER;
        return X86_MCE_LOGGED;
    }
    bank[1] = e->status | (bank[1] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0);
    bank[2] = e->addr;
    bank[3] = e->misc;
    return X86_MCE_LOGGED;
}

X86MceOutcome x86_mce_record(X86Cpu *cpu, const X86MceError *e)
{
    uint64_t *bank        = cpu->mc_bank[e->bank];
    bool      in_progress = cpu->mcg_status & MCG_STATUS_MCIP;
    bool      optional =
        (e->status & (MCI_STATUS_UC | MCI_STATUS_PCC | MCI_STATUS_S | MCI_STATUS_AR)) == (MCI_STATUS_UC | MCI_STATUS_S);

    if (!(e->status & MCI_STATUS_UC)) {
        return log_corrected(bank, e);
    }
    /* Which bit of a control register an error belongs to is the model's: all have to be set. */
    if (cpu->mcg_ctl != UINT64_MAX || bank[0] != UINT64_MAX) {
        return X86_MCE_DISABLED;
    }
    if (optional && in_progress && !e->unconditional) {
        return X86_MCE_POSTPONED;
    }
    if (in_progress || !(cpu->cr4 & CR4_MCE)) {
        cpu->mce_fatal = true;
        vcpu_request(&cpu->vcpu, X86_REQUEST_MCE);
        return X86_MCE_SHUTDOWN;
    }
    bool lost = (bank[1] & MCI_STATUS_VAL) && (bank[1] & MCI_STATUS_UC); /* the first uncorrected one stays */
    if (lost) {
        bank[1] |= MCI_STATUS_OVER;
    } else {
        bank[1] = e->status | (bank[1] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0);
        bank[2] = e->addr;
        bank[3] = e->misc;
    }
    cpu->mcg_status = e->mcg_status | MCG_STATUS_MCIP;
    vcpu_request(&cpu->vcpu, X86_REQUEST_MCE);
    return X86_MCE_REPORTED;
}

typedef struct Injection {
    const X86MceError *error;
    X86MceOutcome      outcome;
} Injection;

static void inject_here(Vcpu *vcpu, void *opaque)
{
    Injection *i = opaque;
    i->outcome   = x86_mce_record(x86_cpu(vcpu), i->error);
}

static bool can_broadcast(const X86Cpu *cpu)
{
    uint32_t signature = x86_cpu_signature(cpu);
    unsigned family = signature >> 8 & 0xf, model = (signature >> 4 & 0xf) | (signature >> 12 & 0xf0);
    return cpu->model->kind == X86_VENDOR_INTEL && (family > 6 || (family == 6 && model >= 14));
}

bool x86_mce_inject(X86Cpu *cpu, const X86MceError *e, X86MceOutcome *outcome, Error *err)
{
    uint64_t cap;
    if (!x86_get_msr(cpu, 0x179, &cap)) {
        return error_set(err, "CPU %d has no machine-check architecture", cpu->vcpu.index);
    }
    if (e->bank >= (cap & 0xff)) {
        return error_set(err, "there is no machine-check bank %u; CPU %d has 0 to %u", e->bank, cpu->vcpu.index,
                         (unsigned)(cap & 0xff) - 1);
    }
    if (!(e->status & MCI_STATUS_VAL)) {
        return error_set(err, "machine-check status %#" PRIx64 " is not valid: bit 63 is clear", e->status);
    }
    if (e->broadcast && !can_broadcast(cpu)) {
        return error_set(err,
                         "CPU %d does not broadcast machine checks: Intel's processors do, since family 6, model 14",
                         cpu->vcpu.index);
    }
    Injection injection = { .error = e };
    vcpu_run_on(&cpu->vcpu, inject_here, &injection);
    *outcome = injection.outcome;

    /* The others find something in bank 1 that says no more than that they were interrupted. */
    static const X86MceError elsewhere = { .bank       = 1,
                                           .status     = MCI_STATUS_VAL | MCI_STATUS_UC,
                                           .mcg_status = MCG_STATUS_MCIP | MCG_STATUS_RIPV };
    for (unsigned i = 0; e->broadcast && i < vcpu_group_size(cpu->vcpu.group); i++) {
        Vcpu *other = vcpu_group_get(cpu->vcpu.group, i);
        if (other != &cpu->vcpu) {
            vcpu_run_on(other, inject_here, &(Injection){ .error = &elsewhere });
        }
    }
    return true;
}
