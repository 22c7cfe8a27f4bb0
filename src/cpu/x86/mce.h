/* Machine-check errors that somebody outside of the machine makes up: what a monitor's `mce` command asks for. */

#ifndef QUERN_CPU_X86_MCE_H
#define QUERN_CPU_X86_MCE_H

#include "base/error.h"
#include "cpu/x86/x86.h"

/* Bits of MCG_CAP, MCG_STATUS and MCi_STATUS (SDM 3, 16.3.1 and 16.3.2.2). */
#define MCG_CAP_CTL_P   (UINT64_C(1) << 8)
#define MCG_CAP_SER_P   (UINT64_C(1) << 24)
#define MCG_STATUS_RIPV (UINT64_C(1) << 0)
#define MCG_STATUS_EIPV (UINT64_C(1) << 1)
#define MCG_STATUS_MCIP (UINT64_C(1) << 2)
#define MCI_STATUS_AR   (UINT64_C(1) << 55) /* action required */
#define MCI_STATUS_S    (UINT64_C(1) << 56) /* signaled by #MC */
#define MCI_STATUS_PCC  (UINT64_C(1) << 57)
#define MCI_STATUS_UC   (UINT64_C(1) << 61)
#define MCI_STATUS_OVER (UINT64_C(1) << 62)
#define MCI_STATUS_VAL  (UINT64_C(1) << 63)

typedef struct X86MceError {
    unsigned bank;
    uint64_t status, mcg_status, addr, misc;
    bool     broadcast;     /* #MC for all other vCPUs, too: that is how processors since family 6, model 14, do it */
    bool     unconditional; /* an error whose action is optional interrupts also a vCPU that handles another one */
} X86MceError;

/* What came of it on its vCPU. */
typedef enum X86MceOutcome {
    X86_MCE_LOGGED,   /* in the bank: corrected, or a second one that is only counted as an overflow */
    X86_MCE_REPORTED, /* in the bank, and #MC is under way */
    X86_MCE_SHUTDOWN, /* it cannot be reported: the processor shuts down */
    X86_MCE_DISABLED, /* its reporting is switched off by MCG_CTL or MCi_CTL: nothing has happened */
    X86_MCE_POSTPONED /* its action is optional, and another #MC is being handled: nothing has happened */
} X86MceOutcome;

/* Makes the error happen on the vCPU. Machine lock held (given up meanwhile), not on a vCPU's thread. false: the vCPU
 * has no machine-check architecture, there is no such bank, MCi_STATUS says nothing, or it cannot be broadcast. For
 * accelerators whose state is X86Cpu's: not for KVM's vCPUs. */
bool x86_mce_inject(X86Cpu *cpu, const X86MceError *e, X86MceOutcome *outcome, Error *err);

/* The same for one vCPU, already checked, on its own thread outside of guest code. */
X86MceOutcome x86_mce_record(X86Cpu *cpu, const X86MceError *e);

#endif
