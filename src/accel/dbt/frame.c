/* What the translator keeps in a vCPU's frame by linear address: micro TLBs and jump caches. They follow the TLB, which
 * notes in X86Tlb.changes what it has dropped.
 *
 * vCPU thread; part of the hot set. Jump caches are filled with the Dbt's lock held. */

#include "accel/dbt/dbt.h"
#include "cpu/x86/tlb.h"

uint64_t dbt_empty_tag(unsigned slot)
{
    /* A rip that belongs to another slot. */
    return slot == (~DBT_NO_TAG & DBT_JUMP_MASK) / 2 ? DBT_NO_TAG | 2 : DBT_NO_TAG;
}

void dbt_jumps_flush(DbtFrame *f, unsigned mode)
{
    const uint8_t *none = f->dbt->stubs[STUB_LOOKUP];
    for (unsigned i = 0; i < f->jump_n[mode]; i++) {
        unsigned slot        = f->jump_list[mode][i];
        f->jumps[mode][slot] = (DbtJump){ .rip = dbt_empty_tag(slot), .code = none };
    }
    f->jump_n[mode]     = 0;
    f->jump_local[mode] = false;
    for (unsigned i = 0; i < sizeof f->page_filter[mode] / 8; i++) {
        f->page_filter[mode][i] = 0;
    }
}

static unsigned filter_bit(uint64_t rip)
{
    return (unsigned)((rip >> X86_PAGE_BITS) * UINT64_C(0x9e3779b97f4a7c15) >> 54);
}

static void jumps_flush_page(DbtFrame *f, unsigned mode, uint64_t page)
{
    unsigned bit = filter_bit(page);
    if (!(f->page_filter[mode][bit / 64] >> (bit % 64) & 1)) {
        return;
    }
    for (unsigned i = 0; i < f->jump_n[mode]; i++) {
        unsigned slot = f->jump_list[mode][i];
        if ((f->jumps[mode][slot].rip ^ page) >> X86_PAGE_BITS == 0) {
            f->jumps[mode][slot] = (DbtJump){ .rip = dbt_empty_tag(slot), .code = f->dbt->stubs[STUB_LOOKUP] };
        }
    }
}

void dbt_jump_fill(DbtFrame *f, unsigned mode, const DbtUnit *u, bool global)
{
    unsigned slot = (unsigned)(~u->rip & DBT_JUMP_MASK) / 2;
    if (!slot) {
        return;
    }
    DbtJump *j = &f->jumps[mode][slot];
    if (j->rip == dbt_empty_tag(slot)) {
        if (f->jump_n[mode] == DBT_JUMPS) {
            dbt_jumps_flush(f, mode);
        }
        f->jump_list[mode][f->jump_n[mode]++] = (uint16_t)slot;
    }
    f->jump_local[mode] |= !global;
    unsigned bit = filter_bit(u->rip);
    f->page_filter[mode][bit / 64] |= UINT64_C(1) << (bit % 64);
    j->code = u->hot;
    j->rip  = u->rip;
}

void dbt_micro_flush(DbtFrame *f, bool writes_only)
{
    for (unsigned mode = 0; mode < DBT_MODES; mode++) {
        for (unsigned i = 0; i < DBT_MICRO; i++) {
            f->micro[mode][X86_WRITE][i].tag = DBT_NO_TAG;
        }
        for (unsigned i = 0; i < DBT_MICRO && !writes_only; i++) {
            f->micro[mode][X86_READ][i].tag = DBT_NO_TAG;
        }
    }
}

void dbt_sync_flush(DbtFrame *f)
{
    TlbChanges *c = &f->cpu->tlb->changes;

    dbt_micro_flush(f, !c->all && !c->local && !c->data && !c->n_pages);
    if (c->all) {
        for (unsigned mode = 0; mode < DBT_MODES; mode++) {
            dbt_jumps_flush(f, mode);
        }
    } else {
        if (c->local) {
            for (unsigned mode = 0; mode < DBT_MODES; mode++) {
                if (mode == X86_TLB_USER || f->jump_local[mode]) {
                    dbt_jumps_flush(f, mode);
                }
            }
        }
        for (unsigned i = 0; i < c->n_pages; i++) {
            for (unsigned mode = 0; mode < DBT_MODES; mode++) {
                jumps_flush_page(f, mode, c->pages[i]);
            }
        }
    }
    *c = (TlbChanges){ 0 };
}
