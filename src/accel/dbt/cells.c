/* Cells: words of the frame through which direct branches to other pages jump, one for each such branch.
 *
 * A branch within its page is linked to its target for all vCPUs: whoever runs it has the page mapped. Where a branch
 * to another page leads is each vCPU's own affair, as long as its TLB drops nothing; so it is a jump through a word of
 * the frame, which leads to the branch's cold part at first. C fills it, and what empties the jump cache empties it
 * too. The jump cache would do as well, but costs four instructions of 26 bytes instead of one of seven.
 *
 * Cells are given out, and branches linked, with the Dbt's lock held; each vCPU fills again and empties its own
 * without. Part of the hot set. */

#include "accel/dbt/cells.h"
#include "cpu/x86/park.h"

enum { LAST = UINT32_MAX }; /* of a list; cell 0 is none, so that 0 in cell_next says that a cell is in no list */

static uint32_t *list_of(DbtFrame *f, unsigned mode, uint64_t rip)
{
    return &f->cell_lists[mode][(rip >> X86_PAGE_BITS) * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (DBT_CELL_LISTS - 1)];
}

static void set(DbtFrame *f, uint32_t cell, const uint8_t *to)
{
    __atomic_store_n(&f->cells[cell], to, __ATOMIC_SEQ_CST);
}

/* --- giving out --- */

bool dbt_cells_left(const Dbt *dbt, unsigned n)
{
    return DBT_CELLS - dbt->n_cells >= n || dbt->n_free_cells >= n;
}

void dbt_cell_new(Dbt *dbt, DbtExit *e)
{
    const uint8_t *cold = e->cold - dbt_writable(dbt);
    uint32_t       cell = dbt->free_cell;
    if (cell) {
        dbt->free_cell = (uint32_t)dbt->cells[cell].rip;
        dbt->n_free_cells--;
    } else {
        cell = dbt->n_cells++;
    }
    dbt->cells[cell] = (DbtCell){ .cold = cold, .rip = e->rip };
    for (unsigned i = 0; i < dbt->frames->len; i++) {
        DbtFrame *f        = g_ptr_array_index(dbt->frames, i);
        f->cell_next[cell] = 0;
        set(f, cell, cold);
    }
    int32_t disp = dbt_cell_offset(cell);
    __builtin_memcpy(e->site, &disp, sizeof disp);
    e->cell = cell;
}

void dbt_cell_free(Dbt *dbt, DbtExit *e)
{
    dbt->cells[e->cell] = (DbtCell){ .rip = dbt->free_cell };
    dbt->free_cell      = e->cell;
    dbt->n_free_cells++;
}

void dbt_cells_begin(DbtFrame *f)
{
    const Dbt *dbt = f->dbt;
    for (uint32_t cell = 1; cell < dbt->n_cells; cell++) {
        f->cells[cell] = dbt->cells[cell].cold;
    }
    for (unsigned mode = 0; mode < DBT_MODES; mode++) {
        for (unsigned i = 0; i < DBT_CELL_LISTS; i++) {
            f->cell_lists[mode][i] = LAST;
        }
    }
}

/* --- filling --- */

static void fill(DbtFrame *f, const DbtExit *e, const DbtUnit *to)
{
    if (!f->cell_next[e->cell]) {
        uint32_t *list        = list_of(f, to->mode, e->rip);
        f->cell_next[e->cell] = *list;
        *list                 = e->cell;
    }
    set(f, e->cell, to->hot);
}

static DbtUnit *leads_to(const DbtExit *e)
{
    return __atomic_load_n(&e->to, __ATOMIC_SEQ_CST);
}

bool dbt_cell_refill(DbtFrame *f, const DbtExit *e, const DbtUnit *to)
{
    if (leads_to(e) != to) {
        return false;
    }
    fill(f, e, to);
    /* Who takes the link away clears it before the cells: one of us sees the other. */
    if (leads_to(e) != to) {
        set(f, e->cell, f->dbt->cells[e->cell].cold);
    }
    return true;
}

void dbt_cell_link(DbtFrame *f, DbtExit *e, DbtUnit *to)
{
    Dbt *dbt = f->dbt;
    if (e->unit->dead || to->dead || to->key != e->unit->key || dbt->no_links) {
        return;
    }
    x86_park(f->cpu);
    if (e->to != to) {
        dbt_unlink(dbt, e);
        dbt_join_incoming(e, to);
        __atomic_store_n(&e->to, to, __ATOMIC_SEQ_CST);
    }
    fill(f, e, to);
}

void dbt_cell_unlink(Dbt *dbt, DbtExit *e)
{
    __atomic_store_n(&e->to, NULL, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < dbt->frames->len; i++) {
        set(g_ptr_array_index(dbt->frames, i), e->cell, dbt->cells[e->cell].cold);
    }
}

/* --- emptying --- */

void dbt_cells_flush(DbtFrame *f, unsigned mode)
{
    const Dbt *dbt = f->dbt;
    for (unsigned i = 0; i < DBT_CELL_LISTS; i++) {
        uint32_t cell          = f->cell_lists[mode][i];
        f->cell_lists[mode][i] = LAST;
        while (cell != LAST) {
            uint32_t next      = f->cell_next[cell];
            f->cell_next[cell] = 0;
            set(f, cell, dbt->cells[cell].cold);
            cell = next;
        }
    }
}

void dbt_cells_flush_page(DbtFrame *f, unsigned mode, uint64_t page)
{
    const Dbt *dbt = f->dbt;
    for (uint32_t cell = *list_of(f, mode, page); cell != LAST; cell = f->cell_next[cell]) {
        if ((dbt->cells[cell].rip ^ page) >> X86_PAGE_BITS == 0) {
            set(f, cell, dbt->cells[cell].cold);
        }
    }
}
