/* The accelerator "tcg": software runs the guest's code. For now that is the plain executor (cpu/x86/exec.h).
 * One thread a vCPU. */

#include "accel/accel.h"

#include "cpu/x86/exec.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/mem.h"
#include "cpu/x86/system.h"

typedef enum TcgThreads { TCG_THREADS_MULTI, TCG_THREADS_SINGLE } TcgThreads;

static const char *const tcg_threads_names[] = { "multi", "single", NULL };

typedef struct Tcg {
    Accel    accel;
    bool     one_insn;
    bool     split_wx;
    uint32_t tb_size;
    int      threads; /* TcgThreads */
} Tcg;

static const Field tcg_properties[] = {
    FIELD(Tcg, one_insn, "one-insn-per-tb", .help = "one instruction at a time, for logs"),
    FIELD(Tcg, threads, "thread", .names = tcg_threads_names, .initial = TCG_THREADS_MULTI,
          .help = "one host thread a vCPU, or one for all"),
    FIELD(Tcg, tb_size, "tb-size", .unsupported = true, .help = "MiB for translated code; 0 chooses"),
    FIELD(Tcg, split_wx, "split-wx", .initial = true, .unsupported = true,
          .help = "map translated code twice, so that it is never writable and executable at once"),
    {}
};

static bool tcg_init(Accel *accel, Error *err)
{
    return x86_vector_init(err);
}

static bool tcg_vcpu_init(Accel *accel, X86Cpu *cpu, Error *err)
{
    if (((Tcg *)accel)->threads == TCG_THREADS_SINGLE && cpu->vcpu.index > 0) {
        return error_set_unsupported(err, "thread=single with several vCPUs");
    }
    if (!x86_tlb_init(cpu, err)) {
        return false;
    }
    if (!x86_exec_init(cpu, err)) {
        x86_tlb_free(cpu);
        return false;
    }
    x86_set_one_insn(cpu, ((Tcg *)accel)->one_insn);
    return true;
}

static void tcg_vcpu_free(Accel *accel, X86Cpu *cpu)
{
    x86_exec_free(cpu);
    x86_tlb_free(cpu);
}

/* Runs guest code until somebody wants the thread, or something has to be told. */
static X86Exit run_guest(X86Cpu *cpu)
{
    X86Exit exit;
    do {
        vcpu_enter(&cpu->vcpu);
        exit = x86_run(cpu);
        vcpu_leave(&cpu->vcpu);
        if (exit == X86_EXIT_HALT) {
            cpu->vcpu.halted = true;
        }
    } while (exit == X86_EXIT_HALT && accel_vcpu_sleep(cpu));
    return exit;
}

/* One instruction for the debugger, with interrupts held off as after STI. */
static X86Exit step_guest(X86Cpu *cpu)
{
    if (cpu->vcpu.halted || cpu->wait_for_sipi) {
        return X86_EXIT_DEBUG; /* there is no next instruction yet */
    }
    vcpu_enter(&cpu->vcpu);
    cpu->interrupt_shadow = true;
    X86Exit exit          = x86_step(cpu);
    vcpu_leave(&cpu->vcpu);
    cpu->vcpu.halted = exit == X86_EXIT_HALT;
    return exit == X86_EXIT_HALT || exit == X86_EXIT_REQUEST ? X86_EXIT_DEBUG : exit;
}

static void *tcg_vcpu_thread(X86Cpu *cpu)
{
    Vcpu  *v     = &cpu->vcpu;
    Accel *accel = v->accel;

    while (accel_vcpu_wait(accel, cpu)) {
        bool    step  = v->single_step;
        int     depth = machine_lock_drop(v->lock);
        X86Exit exit  = step ? step_guest(cpu) : run_guest(cpu);
        machine_lock_restore(v->lock, depth);

        switch (exit) {
        case X86_EXIT_REQUEST:
        case X86_EXIT_HALT: break;
        case X86_EXIT_DEBUG:
            v->stopped     = true;
            v->single_step = false;
            accel->host.debug(accel->host.opaque, v);
            break;
        case X86_EXIT_SHUTDOWN:
            v->stopped = true;
            accel->host.shutdown(accel->host.opaque, v);
            break;
        case X86_EXIT_MISSING:
            v->stopped = true;
            accel->host.missing(accel->host.opaque, v, (const char *)(uintptr_t)cpu->exit_detail);
            break;
        }
        accel_vcpu_stopped(accel, cpu);
    }
    return NULL;
}

static void tcg_breakpoint(Accel *accel, X86Cpu *cpu, uint64_t linear, bool insert)
{
    if (insert) {
        x86_breakpoint_add(cpu, linear);
    } else {
        x86_breakpoint_remove(cpu, linear);
    }
}

ACCEL_TYPE(tcg) = {
    .name        = "tcg",
    .parent      = "accel",
    .help        = "software runs the guest's code",
    .class       = OBJECT_CLASS_ACCEL,
    .size        = sizeof(Tcg),
    .properties  = tcg_properties,
    .init        = tcg_init,
    .vcpu_init   = tcg_vcpu_init,
    .vcpu_free   = tcg_vcpu_free,
    .vcpu_thread = tcg_vcpu_thread,
    .breakpoint  = tcg_breakpoint,
};
