/* x87 errors: #MF, or with CR0.NE = 0 the pins FERR# and IGNNE#.
 *
 * FERR# is asserted by the first waiting instruction behind the error; the processor then stands still before it until
 * an interrupt comes, which is IRQ 13 if the board makes one of FERR#. With IGNNE# such instructions run in spite of
 * the error. As their host would not run them, they see a status word without exceptions, and these come back behind
 * them; so the executor runs one instruction at a time until the error is cleared.
 *
 * Specification: Intel SDM volume 1 (December 2023), section 8.7 and appendix D. vCPU thread, state parked. */

#include "cpu/x86/fpu.h"

#include "cpu/x86/cache.h"

void x86_fpu_raise_pending(X86Cpu *cpu)
{
    if (cpu->cr0 & CR0_NE) {
        x86_raise(cpu, X86_MF);
    }
    if (!cpu->ferr || !atomic_load(&cpu->ignne)) {
        x86_longjmp(cpu->fault_exit, X86_THROW_FERR);
    }
    uint16_t fsw     = x86_fsw(cpu);
    cpu->fpu_ignored = fsw & FSW_EXCEPTIONS;
    store_le16(cpu->xsave + FX_FSW, (uint16_t)(fsw & ~(FSW_EXCEPTIONS | FSW_ES | FSW_B)));
}

static void set_ferr(X86Cpu *cpu, bool asserted)
{
    if (cpu->ferr != asserted) {
        cpu->ferr = asserted;
        if (cpu->ferr_changed) {
            cpu->ferr_changed(cpu->board, asserted);
        }
    }
}

void x86_fpu_follow_error(X86Cpu *cpu)
{
    if (cpu->fpu_ignored) {
        unsigned fsw      = x86_fsw(cpu) | cpu->fpu_ignored;
        unsigned unmasked = fsw & ~(unsigned)load_le16(cpu->xsave + FX_FCW) & FSW_EXCEPTIONS;
        store_le16(cpu->xsave + FX_FSW, (uint16_t)(unmasked ? fsw | FSW_ES | FSW_B : fsw & ~(FSW_ES | FSW_B)));
        cpu->fpu_ignored = 0;
    }
    if (!(x86_fsw(cpu) & FSW_ES) || cpu->cr0 & CR0_NE) {
        set_ferr(cpu, false);
    }
}

bool x86_fpu_report_error(X86Cpu *cpu)
{
    set_ferr(cpu, true);
    return !atomic_load(&cpu->ignne);
}
