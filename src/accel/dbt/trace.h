/* What people see of the translator: listings (-d in_asm, op, out_asm), files for Linux perf (-perfmap, -jitdump), and
 * entries into units (-d exec, cpu). */

#ifndef QUERN_ACCEL_DBT_TRACE_H
#define QUERN_ACCEL_DBT_TRACE_H

#include "accel/dbt/emit.h"

/* --- list.c: text about a unit, appended to `out`. Lock held --- */

enum {
    DBT_LIST_ADDRESSES = 1, /* host addresses, micro entries by number: true of this process. Without it the text
                             * depends on nothing but the guest's code and the templates */
};

/* Host code, instruction by instruction, with names for the frame, stubs and labels, and the guest's instructions
 * between; `flags`: DBT_LIST_*. */
void dbt_list_code(GString *out, const Dbt *dbt, const DbtUnit *u, X86CodeSize code_size, unsigned flags);

/* What decoding, liveness and grouping have found out about each instruction. Tr as it is when the unit is finished. */
void dbt_list_ops(GString *out, const Tr *t);

/* "rax", or "xmm3" of an instruction: guest bytes as text. */
void dbt_list_guest(GString *out, X86CodeSize code_size, const uint8_t *bytes, unsigned len, uint64_t rip);

const char *dbt_stub_name(DbtStub stub);

/* --- perf.c --- */
typedef struct DbtPerf DbtPerf;

/* Opens what `what` (DBT_PERF_* of run.h) asks for. NULL with an error. */
DbtPerf *dbt_perf_new(unsigned what, Error *err);
void     dbt_perf_free(DbtPerf *p); /* says that there is no more; NULL is fine */

/* There is code at this address of the executable view from now on. The caller sees to it that calls do not overlap. */
void dbt_perf_code(DbtPerf *p, const uint8_t *code, size_t size, const char *name);

/* --- trace.c --- */

/* A unit has been made. Lock held. */
void dbt_watch_unit(const Tr *t, const DbtUnit *u);

static inline bool dbt_is_watched(const Tr *t)
{
    return t->dbt->perf || log_on(t->cpu->vcpu.log, LOG_IN_ASM | LOG_OP | LOG_OUT_ASM);
}

#endif
