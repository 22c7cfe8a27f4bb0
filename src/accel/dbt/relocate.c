/* Moving units: code that several processes map at different addresses (shared libraries, programs that the kernel puts
 * anywhere) is translated once and copied for each place.
 *
 * What code has of its own address is in fields of fixed size, noted in a list that a unit keeps when it can be moved:
 * user code in 64-bit mode above 4 GiB, where all such addresses need eight bytes. The copy begins without links.
 *
 * Lock of the Dbt held. */

#include "accel/dbt/cells.h"

void dbt_apply_relocs(Dbt *dbt, DbtUnit *u, const Reloc *relocs, unsigned n, uint64_t by)
{
    ptrdiff_t delta = dbt_writable(dbt);

    for (unsigned i = 0; i < n; i++) {
        const Reloc   *r    = &relocs[i];
        uint8_t       *code = r->in_cold ? u->cold : u->hot;
        uint8_t       *at   = code + delta + r->at;
        const uint8_t *next = code + r->at + 4;
        int32_t        rel  = 0;
        uint64_t       wide = r->value;
        switch ((RelocKind)r->kind) {
        case RELOC_HOT: rel = (int32_t)(u->hot + r->value - next); break;
        case RELOC_COLD: rel = (int32_t)(u->cold + r->value - next); break;
        case RELOC_STUB: rel = (int32_t)(dbt->stubs[r->value] - next); break;
        case RELOC_JUMP: rel = dbt_jump_offset(u->mode, r->value + by); break;
        case RELOC_JUMP_CODE: rel = dbt_jump_offset(u->mode, r->value + by) + 8; break;
        case RELOC_UNIT:
            wide |= (uint64_t)(uintptr_t)u;
            memcpy(at, &wide, 8);
            continue;
        case RELOC_LINEAR:
            wide += by;
            memcpy(at, &wide, 8);
            continue;
        }
        memcpy(at, &rel, 4);
    }
}

static bool has_cells(const DbtUnit *u)
{
    for (unsigned i = 0; i < u->n_exits; i++) {
        if (u->exits[i].cell) {
            return true;
        }
    }
    return false;
}

/* When all cells have been given out, one without. */
static DbtUnit *find_source(Dbt *dbt, const DbtFetch *f)
{
    bool     cells = dbt_cells_left(dbt, DBT_MAX_EXITS);
    DbtUnit *u     = *dbt_source_slot(dbt, f->host);
    while (u && (u->host != f->host || u->key != f->key || u->groups != f->groups ||
                 !recipe_same(&u->entry, &f->entry) || (!cells && has_cells(u)))) {
        u = u->source_next;
    }
    return u;
}

DbtUnit *dbt_relocate(Dbt *dbt, const DbtFetch *f)
{
    DbtUnit *from = dbt_may_move(f->rip, f->mode) && !f->host2 ? find_source(dbt, f) : NULL;
    if (!from || (from->rip ^ f->rip) & X86_PAGE_MASK) {
        return NULL;
    }
    uint64_t  by    = f->rip - from->rip;
    ptrdiff_t delta = dbt_writable(dbt);
    uint8_t  *hot, *cold_part;
    if (!dbt_allocate(dbt, from->hot_size, from->cold_size, &hot, &cold_part)) {
        return NULL;
    }
    DbtUnit *u = dbt_unit_clone(dbt, from);
    u->hot     = hot;
    u->cold    = cold_part;
    u->rip     = f->rip;
    memcpy(u->hot + delta, from->hot + delta, u->hot_size);
    memcpy(u->cold + delta, from->cold + delta, u->cold_size);
    for (unsigned i = 0; i < u->n_exits; i++) {
        DbtExit *e    = &u->exits[i];
        bool     far  = e->cell;
        uint8_t *cold = u->cold + (e->cold - delta - from->cold);
        uint8_t *way  = u->cold + (e->way - delta - from->cold);
        *e            = (DbtExit){ .rip    = e->rip + by,
                                   .site   = u->hot + delta + (e->site - delta - from->hot),
                                   .cold   = cold + delta,
                                   .way    = way + delta,
                                   .direct = e->direct,
                                   .groups = e->groups,
                                   .entry  = e->entry,
                                   .unit   = u };
        *e->cold      = 0xe8; /* CALL, also where the original has a link */
        if (far) {
            dbt_cell_new(dbt, e);
        }
    }
    dbt_apply_relocs(dbt, u, from->relocs, from->n_relocs, by);
    dbt_verify(dbt, u);
    dbt_insert(dbt, u);
    dbt->counters.relocated++;
    return u;
}
