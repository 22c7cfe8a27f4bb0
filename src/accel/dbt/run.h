/* The translator from outside: one Dbt for all vCPUs of a machine, one dbt_loop() a vCPU thread. */

#ifndef QUERN_ACCEL_DBT_RUN_H
#define QUERN_ACCEL_DBT_RUN_H

#include "cpu/x86/exec.h"

typedef struct Dbt Dbt;

/* Memory for `size` bytes of translated code (at least 1 MiB). NULL with an error when the host has not enough. The
 * RAM that its vCPUs translate code from holds a pointer to it: it lives as long as the machine. */
Dbt *dbt_new(size_t size, Error *err);
void dbt_free(Dbt *dbt); /* no vCPU runs any more; NULL is fine */

/* Has the code of each unit looked at by another decoder before it runs (verify.c): a bug in the translator ends the
 * process. Off unless sanitizers are on. */
void dbt_set_verify(Dbt *dbt, bool on);

/* For tests: memory accesses nothing is known of yet are made in all ways there are (adapt.c), by their address. */
void dbt_set_mixed(Dbt *dbt, bool on);

/* 64-bit code is translated when it has run that often, and no code has run so far (first.c): 0 to DBT_FIRST_RUNS,
 * which machines use. 0 at first. No vCPU runs. */
enum { DBT_FIRST_RUNS = 3 };
void dbt_set_first(Dbt *dbt, unsigned runs);

typedef struct DbtHost {
    /* Called when a run ends (see X86Exit), inside as x86_run() ends: does what is to be done about it and returns true
     * to go on, or false to return from dbt_loop(). */
    bool (*exited)(void *opaque, X86Exit exit);
    void *opaque;
} DbtHost;

/* Runs guest code on this vCPU until host->exited() says no. The thread has called vcpu_enter(). Uses 250 KiB of
 * stack. */
void dbt_loop(Dbt *dbt, X86Cpu *cpu, const DbtHost *host);

/* Takes SIGSEGV, SIGFPE and SIGBUS, once a process. dbt_loop() does it: whoever has other plans with these signals (the
 * terminal is put back) is there before, and hears of those that are not the translator's. */
void dbt_signals_init(void);

/* --- what people see --- */

/* A counter: how often something happened so far. */
typedef struct DbtCounter {
    const char *name; /* constant */
    const char *help;
    uint64_t    value;
} DbtCounter;

/* Fills at most `max` of them in and answers how many there are. Any thread, also while vCPUs run; counters of one call
 * need not be of one moment. */
size_t dbt_counters(Dbt *dbt, DbtCounter *out, size_t max);
bool   dbt_counter(Dbt *dbt, const char *name, uint64_t *value); /* false: there is none of that name */

/* Writes them to the log (-d jit). */
void dbt_log_counters(Dbt *dbt, const Log *log);

enum { DBT_PERF_MAP = 1, DBT_PERF_DUMP = 2 };

/* Tells Linux perf about all code that is made from now on: before vCPUs run, and once. The files are complete after
 * dbt_perf_stop(), when vCPUs run no more. */
bool dbt_perf_start(Dbt *dbt, unsigned what, Error *err);
void dbt_perf_stop(Dbt *dbt);

/* One run: the translator's x86_run(). */
X86Exit dbt_run(Dbt *dbt, X86Cpu *cpu);

#endif
