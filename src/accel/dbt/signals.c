/* Host faults in translated code: misaligned operands, division, unmasked floating-point exceptions, and addresses that
 * no page can have (an empty micro TLB entry matches one that is not canonical, and leads to one that is not on the
 * host). All of them end in the C semantics of the instruction, which raise what the guest is to see.
 *
 * The handler runs on the vCPU's stack, below its frame, and acts only when RIP lies in the code cache. */

#include "accel/dbt/dbt.h"

#include <errno.h>
#include <signal.h>
#include <ucontext.h>

static struct sigaction previous[3];
static const int        numbers[3] = { SIGSEGV, SIGFPE, SIGBUS };

static void pass_on(int number, siginfo_t *info, void *context)
{
    const struct sigaction *p = &previous[0];
    for (unsigned i = 1; i < 3; i++) {
        if (numbers[i] == number) {
            p = &previous[i];
        }
    }
    if ((unsigned)p->sa_flags & SA_RESETHAND) {
        signal(number, SIG_DFL);
    }
    if (p->sa_flags & SA_SIGINFO && p->sa_sigaction) {
        p->sa_sigaction(number, info, context);
    } else if (p->sa_handler != SIG_DFL && p->sa_handler != SIG_IGN) {
        p->sa_handler(number);
    } else {
        signal(number, SIG_DFL);
        if (info->si_code <= 0) { /* sent by a process: returning would not raise it again */
            raise(number);
        }
    }
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    ucontext_t    *uc  = context;
    DbtFrame      *f   = dbt_current_frame();
    const uint8_t *rip = (const uint8_t *)(uintptr_t)uc->uc_mcontext.gregs[REG_RIP];

    if (f && rip >= f->dbt->rx + DBT_STUB_SPACE && rip < f->dbt->rx + f->dbt->size) {
        f->fault_rip                   = rip;
        f->fault_eflags                = (uint64_t)uc->uc_mcontext.gregs[REG_EFL];
        uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)f->dbt->stubs[STUB_FAULT];
        return;
    }
    pass_on(number, info, context);
}

void dbt_signals_init(void)
{
    static gsize once;
    if (g_once_init_enter(&once)) {
        struct sigaction action = { .sa_sigaction = on_fault };
        sigemptyset(&action.sa_mask);
        for (unsigned i = 0; i < 3; i++) {
            /* Who was there before may need a stack of its own. */
            sigaction(numbers[i], NULL, &previous[i]);
            action.sa_flags = SA_SIGINFO | SA_NODEFER | (previous[i].sa_flags & SA_ONSTACK);
            sigaction(numbers[i], &action, NULL);
        }
        g_once_init_leave(&once, 1);
    }
}
