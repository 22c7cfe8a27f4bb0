/* The accelerator "tcg": software runs the guest's code, by the translator (accel/dbt), or, with one-insn-per-tb=on, by
 * the plain executor (cpu/x86/exec.h). One thread a vCPU. */

#include "accel/accel.h"

#include "accel/dbt/run.h"
#include "cpu/x86/exec.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/mem.h"
#include "cpu/x86/system.h"

#include <inttypes.h>
#include <string.h>

typedef enum TcgThreads { TCG_THREADS_MULTI, TCG_THREADS_SINGLE } TcgThreads;

static const char *const tcg_threads_names[] = { "multi", "single", NULL };

/* MiB. */
#define TB_SIZE_USUAL 128
#define TB_SIZE_LIMIT 1024

typedef struct Tcg {
    Accel    accel;
    bool     one_insn;
    bool     split_wx;
    uint32_t tb_size;
    int      threads; /* TcgThreads */
    bool     perf_map, jit_dump;
    Dbt     *dbt;
} Tcg;

static const Field tcg_properties[] = {
    FIELD(Tcg, one_insn, "one-insn-per-tb", .live = true,
          .help = "one instruction at a time by the plain executor, for logs and comparison"),
    FIELD(Tcg, threads, "thread", .names = tcg_threads_names, .initial = TCG_THREADS_MULTI,
          .help = "one host thread a vCPU, or one for all (for one vCPU only as yet)"),
    FIELD(Tcg, tb_size, "tb-size", .max = TB_SIZE_LIMIT,
          .help = "MiB for translated code, up to " G_STRINGIFY(TB_SIZE_LIMIT) "; 0 means " G_STRINGIFY(TB_SIZE_USUAL)),
    FIELD(Tcg, perf_map, "perfmap",
          .help = "names of translated code for Linux perf in /tmp/perf-PID.map, as -perfmap"),
    FIELD(Tcg, jit_dump, "jitdump", .help = "translated code for Linux perf in jit-PID.dump, as -jitdump"),
    FIELD(Tcg, split_wx, "split-wx", .initial = true, .unsupported = true,
          .help = "map translated code twice, so that it is never writable and executable at once"),
    {}
};

static bool tcg_init(Accel *accel, Error *err)
{
    Tcg *tcg = (Tcg *)accel;
    if (!x86_vector_init(err)) {
        return false;
    }
    unsigned perf = (tcg->perf_map ? DBT_PERF_MAP : 0) | (tcg->jit_dump ? DBT_PERF_DUMP : 0);
    if (tcg->one_insn && perf) {
        return error_set(err, "%s: there is no translated code with one-insn-per-tb=on",
                         tcg->perf_map ? "perfmap" : "jitdump");
    }
    if (!tcg->one_insn) {
        tcg->dbt = dbt_new((size_t)(tcg->tb_size ? tcg->tb_size : TB_SIZE_USUAL) << 20, err);
    }
    if (tcg->dbt) {
        dbt_set_first(tcg->dbt, DBT_FIRST_RUNS);
    }
    if (tcg->dbt && perf && !dbt_perf_start(tcg->dbt, perf, err)) {
        dbt_free(tcg->dbt);
        tcg->dbt = NULL;
    }
    return tcg->one_insn || tcg->dbt;
}

static bool tcg_vcpu_init(Accel *accel, X86Cpu *cpu, Error *err)
{
    if (((Tcg *)accel)->one_insn && log_on(cpu->vcpu.log, LOG_OP | LOG_OUT_ASM)) {
        return error_set(err, "-d op and out_asm show the translator's work: not with one-insn-per-tb=on");
    }
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

static void tcg_free(Accel *accel)
{
    dbt_free(((Tcg *)accel)->dbt);
}

static void tcg_vcpu_free(Accel *accel, X86Cpu *cpu)
{
    Tcg *tcg = (Tcg *)accel;
    if (tcg->dbt && cpu->vcpu.index == 0 && log_on(cpu->vcpu.log, LOG_JIT)) {
        dbt_log_counters(tcg->dbt, cpu->vcpu.log); /* the last one to go */
    }
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
    cpu->interrupt_shadow = X86_SHADOW_STI;
    X86Exit exit          = x86_step(cpu);
    vcpu_leave(&cpu->vcpu);
    cpu->vcpu.halted = exit == X86_EXIT_HALT;
    return exit == X86_EXIT_HALT || exit == X86_EXIT_REQUEST ? X86_EXIT_DEBUG : exit;
}

/* Tells whoever has to know, with the machine lock held, why the vCPU stopped. */
static void report(Accel *accel, X86Cpu *cpu, X86Exit exit)
{
    Vcpu *v = &cpu->vcpu;

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

/* Until the translator's loop is to run: steps are the executor's. The machine lock is held before and given up after;
 * the vCPU is inside then. false: the thread ends, with the lock held. */
static bool wait_to_run(Accel *accel, X86Cpu *cpu, int *depth)
{
    Vcpu *v = &cpu->vcpu;

    while (accel_vcpu_wait(accel, cpu)) {
        bool step = v->single_step;
        *depth    = machine_lock_drop(v->lock);
        if (!step) {
            vcpu_enter(v);
            return true;
        }
        X86Exit exit = step_guest(cpu);
        machine_lock_restore(v->lock, *depth);
        report(accel, cpu, exit);
    }
    return false;
}

typedef struct Loop {
    Accel  *accel;
    X86Cpu *cpu;
    int     depth; /* of the machine lock */
} Loop;

static bool loop_exited(void *opaque, X86Exit exit)
{
    Loop *loop = opaque;
    Vcpu *v    = &loop->cpu->vcpu;

    vcpu_leave(v);
    if (exit == X86_EXIT_HALT) {
        v->halted = true;
        if (accel_vcpu_sleep(loop->cpu)) {
            vcpu_enter(v);
            return true;
        }
    }
    machine_lock_restore(v->lock, loop->depth);
    report(loop->accel, loop->cpu, exit);
    return wait_to_run(loop->accel, loop->cpu, &loop->depth);
}

static void *tcg_vcpu_thread(X86Cpu *cpu)
{
    Vcpu  *v     = &cpu->vcpu;
    Accel *accel = v->accel;
    Loop   loop  = { .accel = accel, .cpu = cpu };

    if (((Tcg *)accel)->dbt) {
        if (wait_to_run(accel, cpu, &loop.depth)) {
            dbt_loop(((Tcg *)accel)->dbt, cpu, &(DbtHost){ .exited = loop_exited, .opaque = &loop });
        }
        return NULL;
    }
    while (accel_vcpu_wait(accel, cpu)) {
        bool    step  = v->single_step;
        int     depth = machine_lock_drop(v->lock);
        X86Exit exit  = step ? step_guest(cpu) : run_guest(cpu);
        machine_lock_restore(v->lock, depth);
        report(accel, cpu, exit);
    }
    return NULL;
}

/* one-insn-per-tb was switched. Threads that translate go on in the executor, an instruction at a time; a machine that
 * began without a translator runs blocks of the plain executor when it is off. */
static void tcg_changed(Object *obj, const char *property)
{
    Accel *accel = (Accel *)obj;
    bool   held  = accel_hold(accel);
    for (unsigned i = 0; i < vcpu_group_size(accel->group); i++) {
        x86_set_one_insn((X86Cpu *)vcpu_group_get(accel->group, i), ((Tcg *)accel)->one_insn);
    }
    accel_release(accel, held);
}

static void tcg_breakpoint(Accel *accel, X86Cpu *cpu, uint64_t linear, bool insert)
{
    if (insert) {
        x86_breakpoint_add(cpu, linear);
    } else {
        x86_breakpoint_remove(cpu, linear);
    }
}

static uint64_t counter_of(const DbtCounter *c, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(c[i].name, name)) {
            return c[i].value;
        }
    }
    return 0;
}

static void tcg_statistics(Accel *accel, GString *out)
{
    enum { COUNTERS_MAX = 64 };
    Tcg       *tcg = (Tcg *)accel;
    DbtCounter c[COUNTERS_MAX];
    if (!tcg->dbt) {
        g_string_append(out, "nothing is translated with one-insn-per-tb=on\n");
        return;
    }
    size_t   n     = MIN(dbt_counters(tcg->dbt, c, COUNTERS_MAX), (size_t)COUNTERS_MAX);
    uint64_t units = counter_of(c, n, "units"), guest = counter_of(c, n, "guest-bytes");
    uint64_t host = counter_of(c, n, "hot-bytes") + counter_of(c, n, "cold-bytes");
    g_string_append_printf(out,
                           "Translation buffer state:\n"
                           "gen code size       %" PRIu64 " (all that was made), room for %" PRIu64 "\n"
                           "TB count            %" PRIu64 "\n"
                           "TB avg target size  %" PRIu64 " bytes\n"
                           "TB avg host size    %" PRIu64 " bytes (expansion ratio: %.1f)\n\nStatistics:\n",
                           host, (uint64_t)(tcg->tb_size ? tcg->tb_size : TB_SIZE_USUAL) << 20, units,
                           units ? guest / units : 0, units ? host / units : 0,
                           guest ? (double)host / (double)guest : 0.0);
    for (size_t i = 0; i < n; i++) {
        g_string_append_printf(out, "%-19s %-12" PRIu64 " %s\n", c[i].name, c[i].value, c[i].help);
    }
}

ACCEL_TYPE(tcg) = {
    .name        = "tcg",
    .parent      = "accel",
    .help        = "software runs the guest's code",
    .class       = OBJECT_CLASS_ACCEL,
    .size        = sizeof(Tcg),
    .properties  = tcg_properties,
    .changed     = tcg_changed,
    .init        = tcg_init,
    .vcpu_init   = tcg_vcpu_init,
    .vcpu_free   = tcg_vcpu_free,
    .free        = tcg_free,
    .vcpu_thread = tcg_vcpu_thread,
    .breakpoint  = tcg_breakpoint,
    .statistics  = tcg_statistics,
};
