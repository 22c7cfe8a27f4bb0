/* The translator's loop on a stack of its own, like a vCPU's thread that goes on where it stood: its frame, which takes
 * longer to make than an instruction to run, stays from one run to the next. Between runs registers may be changed as
 * between those of a machine that was stopped; who changes page tables flushes the TLB.
 *
 * One at a time, by the thread that began it. */

#ifndef QUERN_TESTS_INSN_RESIDENT_H
#define QUERN_TESTS_INSN_RESIDENT_H

#include "accel/dbt/run.h"

/* As dbt_run(). The loop begins with the first call. */
X86Exit resident_run(Dbt *dbt, X86Cpu *cpu);

/* Ends it, if it ever began; before dbt_free(). */
void resident_end(void);

#endif
