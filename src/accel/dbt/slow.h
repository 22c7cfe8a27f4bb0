/* What translated code calls in C, and what the files of it share: slow.c, slow_memory.c. vCPU thread; part of the hot
 * set. */

#ifndef QUERN_ACCEL_DBT_SLOW_H
#define QUERN_ACCEL_DBT_SLOW_H

#include "accel/dbt/adapt.h"

#include "cpu/x86/park.h"
#include "cpu/x86/tlb.h"

/* Out of translated code, to the run loop. */
static inline const uint8_t *dbt_leave(DbtFrame *f)
{
    f->at = NULL;
    return f->dbt->stubs[STUB_LEAVE];
}

/* Does somebody want the vCPU? */
static inline bool dbt_is_polled(const DbtFrame *f)
{
    return atomic_load_explicit(&f->kick, memory_order_relaxed) == DBT_KICKED;
}

/* What both of the next have to do. */
static inline void dbt_end_call(DbtFrame *f)
{
    f->at = NULL;
    if (f->cpu->tlb->changes.any) {
        dbt_sync_flush(f);
    }
    if (f->segment_changes != f->cpu->segment_changes) {
        dbt_take_segments(f);
    }
}

/* Into a unit, at its start: it loads the vector registers if it needs them. */
static inline const uint8_t *dbt_go(DbtFrame *f, const uint8_t *to)
{
    dbt_end_call(f);
    f->vectors = f->cpu->vector_live;
    return to;
}

/* Back into the unit that has called: the vector registers are as they were. With X86_ALWAYS_PARK the stubs see to
 * that. */
static inline const uint8_t *dbt_go_back(DbtFrame *f, const uint8_t *to)
{
    dbt_end_call(f);
    if (!X86_ALWAYS_PARK && f->vectors && !f->cpu->vector_live) {
        f->calls.unparked++;
        x86_unpark(f->cpu);
    }
    return to;
}

/* On at cpu->rip after an instruction in C that has changed it, when nothing is due. */
const uint8_t *dbt_go_on(DbtFrame *f);

/* Runs the code at cpu->rip by the executor if nobody has been there before, and on from there as long as that is so;
 * where translated code goes on (dbt_leave() among them). NULL: nothing was done. Flags are in X86Cpu. Raises what the
 * code raises. */
const uint8_t *dbt_run_first(DbtFrame *f);

typedef enum DbtRan { DBT_RAN_ON, DBT_RAN_AWAY } DbtRan;

/* Runs the instruction at cpu->rip. DBT_RAN_AWAY: cpu->rip is where to go on, by the run loop. */
DbtRan dbt_run_insn(DbtFrame *f, const X86Insn *from, const DbtUnit *unit);

/* The unit that the address lies in, and its instruction there. Parks. */
DbtUnit *dbt_find_unit(DbtFrame *f, const uint8_t *at);

/* The flags that the recipe makes of the registers in `cpu`, as X86Cpu.arith has them; `compared`: frame.compared. */
uint16_t dbt_flags_by(const Recipe *r, const X86Cpu *cpu, uint64_t compared);

/* cpu->rip, and where the frame does not have them the flags, are those of the instruction that a slow access in
 * translated code was made for. Parks. `at`: where its call comes back to. */
void dbt_take_site(DbtFrame *f, const uint8_t *at);

/* --- called by stubs with the guest's registers in X86Cpu; each answers where to go on --- */
const uint8_t *dbt_slow_access(DbtFrame *frame, uint64_t linear, const uint8_t *at, unsigned write);
const uint8_t *dbt_slow_group(DbtFrame *frame, uint64_t linear, const uint8_t *at, unsigned write);
const uint8_t *dbt_slow_look(DbtFrame *frame, uint64_t linear, const uint8_t *at, unsigned what);
const uint8_t *dbt_slow_look_group(DbtFrame *frame, uint64_t linear, const uint8_t *at, unsigned what);
const uint8_t *dbt_slow_counted(DbtFrame *frame, uint64_t unused, const uint8_t *at);
const uint8_t *dbt_slow_hot(DbtFrame *frame, uint64_t unused, const uint8_t *at);
const uint8_t *dbt_slow_insn(DbtFrame *frame, uint64_t unused, const uint8_t *at);
const uint8_t *dbt_slow_link(DbtFrame *frame, uint64_t unused, const uint8_t *at);
const uint8_t *dbt_slow_far(DbtFrame *frame, uint64_t unused, const uint8_t *at);
const uint8_t *dbt_slow_lookup(DbtFrame *frame, uint64_t rip);
const uint8_t *dbt_slow_ret(DbtFrame *frame, uint64_t rip, const uint8_t *at);
const uint8_t *dbt_slow_call(DbtFrame *frame, uint64_t rip, const uint8_t *at);
const uint8_t *dbt_slow_kick(DbtFrame *frame, uint64_t rip);
const uint8_t *dbt_slow_smap(DbtFrame *frame, uint64_t rip, const uint8_t *unused, unsigned open);
const uint8_t *dbt_slow_pages(DbtFrame *frame, uint64_t rip);
const uint8_t *dbt_slow_fault(DbtFrame *frame);

/* Does all that is due until translated code can go on, and says where; NULL: the run is over. `thrown` is what the
 * fault exit brought. */
const uint8_t *dbt_next_code(DbtFrame *f, int thrown, const DbtHost *host);

#endif
