/* Where direct branches to other pages lead: see cells.c. */

#ifndef QUERN_ACCEL_DBT_CELLS_H
#define QUERN_ACCEL_DBT_CELLS_H

#include "accel/dbt/dbt.h"

/* A word of each frame through which a branch jumps: what it holds until it is filled, and where it leads; of one that
 * has been given back, the next such. */
struct DbtCell {
    const uint8_t *cold;
    uint64_t       rip;
};

/* Are there so many to give out? Lock held, as for all that do not say so. */
bool dbt_cells_left(const Dbt *dbt, unsigned n);

/* A cell for the exit, whose `site` and `cold` are known: into its branch. There must be one left. */
void dbt_cell_new(Dbt *dbt, DbtExit *exit);

/* Its unit's memory is about to be used again, and no frame has it in a list. */
void dbt_cell_free(Dbt *dbt, DbtExit *exit);

/* For a new frame, before it is one of Dbt.frames. */
void dbt_cells_begin(DbtFrame *f);

/* The unit that the exit leads this vCPU to now, if that is to be remembered. vCPU thread, parked. */
void dbt_cell_link(DbtFrame *f, DbtExit *exit, DbtUnit *to);

/* The same without the lock, where some vCPU has been led there before; false: none has. */
bool dbt_cell_refill(DbtFrame *f, const DbtExit *exit, const DbtUnit *to);

/* No vCPU goes anywhere by the exit any more. */
void dbt_cell_unlink(Dbt *dbt, DbtExit *exit);

/* The vCPU's TLB has dropped everything, or the page. vCPU thread, or nobody runs translated code; without the lock. */
void dbt_cells_flush(DbtFrame *f, unsigned mode);
void dbt_cells_flush_page(DbtFrame *f, unsigned mode, uint64_t page);

#endif
