/* What the translator keeps in a vCPU's frame by linear address: micro TLBs and jump caches. They follow the TLB, which
 * notes in X86Tlb.changes what it has dropped.
 *
 * vCPU thread; part of the hot set. Jump caches are filled with the Dbt's lock held. */

#include "accel/dbt/dbt.h"
#include "cpu/x86/cache.h"
#include "cpu/x86/tlb.h"

uint64_t dbt_empty_tag(unsigned mode, unsigned slot)
{
    /* No canonical address; a branch to one that is not must miss too: that belongs to another pair of slots. */
    return slot / 2 == dbt_jump_slot(mode, DBT_NO_TAG) / 2 ? DBT_NO_TAG | 1
                                                           : DBT_NO_TAG; /* a checksum tells them apart */
}

static DbtJump *jump_at(DbtFrame *f, unsigned mode, unsigned slot)
{
    return &f->jumps[dbt_first_jump(mode) + slot];
}

static bool is_empty(DbtFrame *f, unsigned mode, unsigned slot)
{
    return jump_at(f, mode, slot)->rip == dbt_empty_tag(mode, slot);
}

/* dbt_kill() looks at `code` from other threads. */
static void make_empty(DbtFrame *f, unsigned mode, unsigned slot)
{
    DbtJump *j = jump_at(f, mode, slot);
    j->rip     = dbt_empty_tag(mode, slot);
    __atomic_store_n(&j->code, f->dbt->stubs[STUB_LOOKUP], __ATOMIC_RELAXED);
}

void dbt_jumps_flush(DbtFrame *f, unsigned mode)
{
    for (unsigned i = 0; i < f->jump_n[mode]; i++) {
        make_empty(f, mode, f->jump_list[dbt_first_jump(mode) + i]);
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
        unsigned slot = f->jump_list[dbt_first_jump(mode) + i];
        if ((jump_at(f, mode, slot)->rip ^ page) >> X86_PAGE_BITS == 0) {
            make_empty(f, mode, slot);
        }
    }
}

DbtJump *dbt_jump_find(DbtFrame *f, unsigned mode, uint64_t rip)
{
    unsigned slot = dbt_jump_slot(mode, rip);
    for (unsigned way = 0; way < 2; way++) {
        DbtJump *j = jump_at(f, mode, slot ^ way);
        if (j->rip == rip) {
            return j;
        }
    }
    return NULL;
}

static void jump_fill(DbtFrame *f, unsigned mode, const DbtUnit *u, bool global)
{
    unsigned slot = dbt_jump_slot(mode, u->rip);
    if (!slot || f->dbt->no_jumps) {
        return;
    }
    DbtJump *j = dbt_jump_find(f, mode, u->rip);
    if (!j) {
        /* Nothing moves between the two slots: dbt_kill() might miss it. */
        unsigned other = slot ^ 1;
        if (other && !is_empty(f, mode, slot) && (is_empty(f, mode, other) || f->jump_turn++ & 1)) {
            slot = other;
        }
        if (is_empty(f, mode, slot)) {
            if (f->jump_n[mode] == dbt_n_jumps(mode)) {
                dbt_jumps_flush(f, mode);
            }
            f->jump_list[dbt_first_jump(mode) + f->jump_n[mode]++] = (uint16_t)slot;
        }
        j = jump_at(f, mode, slot);
    }
    f->jump_local[mode] |= !global;
    unsigned bit = filter_bit(u->rip);
    f->page_filter[mode][bit / 64] |= UINT64_C(1) << (bit % 64);
    j->rip = u->rip;
    __atomic_store_n(&j->code, u->hot, __ATOMIC_SEQ_CST);
    /* Against dbt_kill(), which marks the unit dead before it looks here. */
    if (__atomic_load_n(&u->dead, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&j->code, f->dbt->stubs[STUB_LOOKUP], __ATOMIC_RELAXED);
    }
}

DbtUnit *dbt_next_unit(DbtFrame *f, unsigned groups, const Recipe *entry)
{
    X86Cpu  *cpu   = f->cpu;
    uint64_t rip   = cpu->rip;
    DbtFetch fetch = { .rip = rip, .linear = rip, .limit = UINT64_MAX, .groups = groups };

    if (cpu->code_size != X86_CODE64) {
        const X86Segment *cs = &cpu->seg[X86_CS];
        if (rip > cs->limit) {
            x86_raise(cpu, X86_GP);
        }
        fetch.linear = (uint32_t)(cs->base + rip);
        fetch.limit  = (uint64_t)cs->limit - rip + 1;
    } else if (!x86_canonical(cpu, rip)) {
        x86_raise(cpu, X86_GP);
    }
    fetch.page_offset = (unsigned)(fetch.linear & X86_PAGE_MASK);
    if (entry) {
        fetch.entry = *entry;
    }
    for (;;) {
        const X86TlbPage *page = x86_translate(cpu, x86_tlb_mode(cpu), fetch.linear, X86_FETCH);
        if (cpu->tlb->changes.any) {
            dbt_sync_flush(f);
        }
        if (!page->host) {
            return NULL;
        }
        bool global      = page->global;
        fetch.key        = dbt_key_of(cpu);
        fetch.mode       = cpu->tlb->mode;
        fetch.host       = page->host + fetch.page_offset;
        fetch.ram        = page->ram;
        fetch.ram_offset = page->ram_offset + fetch.page_offset;
        fetch.host2      = NULL;

        uint64_t jump_key = dbt_jump_key_of(cpu, fetch.key);
        if (f->jump_key[fetch.mode] != jump_key) {
            dbt_jumps_flush(f, fetch.mode);
            f->jump_key[fetch.mode] = jump_key;
        }
        DbtUnit *u = dbt_lookup(f->dbt, fetch.host, fetch.key, rip, groups, &fetch.entry);
        if (!u) {
            bool again;
            x86_park(cpu);
            u = dbt_make_unit(f, &fetch, &again);
            if (again) {
                continue;
            }
            if (cpu->tlb->changes.any) {
                dbt_sync_flush(f);
            }
        }
        if (u && groups == GROUPS_WIDE && !entry) {
            jump_fill(f, fetch.mode, u, global);
        }
        if (u && f->dbt->no_jumps) {
            x86_park(cpu);
            dbt_watch_entry(f, u);
        }
        return u;
    }
}

enum { LINES = DBT_MICRO / DBT_LINE, WORD = 8 }; /* lines of a table; bytes of micro_used that are looked at at once */

G_STATIC_ASSERT(sizeof(DbtMicro) * DBT_LINE == 64); /* stubs.c */

static void empty_line(DbtMicro *m)
{
    for (unsigned i = 0; i < DBT_LINE; i++) {
        m[i].tag = DBT_NO_TAG;
    }
}

static uint64_t *used_word(DbtFrame *f, unsigned line)
{
    return (uint64_t *)(void *)(f->micro_used + line);
}

void dbt_micro_flush(DbtFrame *f, bool writes_only)
{
    dbt_runs_flush(f, writes_only);
    DbtMicro *micro = f->micro[0][0];
    for (unsigned line = 0; line < sizeof f->micro_used; line += WORD) {
        uint64_t *word = used_word(f, line);
        if (!*word || (writes_only && line / LINES % 2 != X86_WRITE)) {
            continue;
        }
        for (unsigned i = line; i < line + WORD; i++) {
            if (f->micro_used[i]) {
                empty_line(micro + i * DBT_LINE);
            }
        }
        *word = 0;
    }
}

/* What was filled from one page: entries have its address as their tag. */
static void micro_flush_page(DbtFrame *f, uint64_t page)
{
    DbtMicro *micro = f->micro[0][0];
    dbt_runs_flush_page(f, page);
    for (unsigned line = 0; line < sizeof f->micro_used; line += WORD) {
        for (unsigned i = line; *used_word(f, line) && i < line + WORD; i++) {
            for (unsigned k = 0; f->micro_used[i] && k < DBT_LINE; k++) {
                DbtMicro *m = &micro[i * DBT_LINE + k];
                m->tag      = m->tag == page ? DBT_NO_TAG : m->tag;
            }
        }
    }
}

void dbt_sync_flush(DbtFrame *f)
{
    enum { PAGES_MAX = 4 };
    TlbChanges *c = &f->cpu->tlb->changes;

    f->calls.flushes++;
    if (c->all || c->local || c->data || c->n_pages + c->n_data > PAGES_MAX) {
        dbt_micro_flush(f, false);
    } else {
        for (unsigned i = 0; i < c->n_pages; i++) {
            micro_flush_page(f, c->pages[i]);
        }
        for (unsigned i = 0; i < c->n_data; i++) {
            micro_flush_page(f, c->data_pages[i]);
        }
        if (c->writes) {
            dbt_micro_flush(f, true);
        }
    }
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
