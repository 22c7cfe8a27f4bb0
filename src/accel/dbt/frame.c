/* What the translator keeps in a vCPU's frame by linear address: micro TLBs and jump caches. They follow the TLB, which
 * notes in X86Tlb.changes what it has dropped.
 *
 * vCPU thread; part of the hot set. Jump caches are filled with the Dbt's lock held. */

#include "accel/dbt/cells.h"
#include "accel/dbt/runs.h"
#include "cpu/x86/cache.h"
#include "cpu/x86/tlb.h"

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
    dbt_cells_flush(f, mode);
    f->jump_n[mode]     = 0;
    f->jump_local[mode] = false;
    f->jump_based[mode] = false;
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
    unsigned bit  = filter_bit(page);
    uint64_t mask = f->jump_key[mode] == DBT_JUMPS_LEGACY ? UINT32_MAX : UINT64_MAX; /* without tags */
    if (f->jump_based[mode]) {
        dbt_jumps_flush(f, mode); /* rip does not tell the page */
        return;
    }
    if (!(f->page_filter[mode][bit / 64] >> (bit % 64) & 1)) {
        return;
    }
    dbt_cells_flush_page(f, mode, page);
    for (unsigned i = 0; i < f->jump_n[mode]; i++) {
        unsigned slot = f->jump_list[dbt_first_jump(mode) + i];
        if (((jump_at(f, mode, slot)->rip & mask) ^ page) >> X86_PAGE_BITS == 0) {
            make_empty(f, mode, slot);
        }
    }
}

/* --- code outside 64-bit mode --- */

/* Its number in tags. */
static uint64_t code_number(DbtFrame *f, uint64_t key, uint64_t base)
{
    enum { SHIFT = 49 }; /* above a selector and a bit that says so */
    const DbtCode *last = &f->codes[f->last_code];
    if (!f->n_codes || last->key != key || last->base != base) {
        f->last_code = 0;
        while (f->last_code < f->n_codes &&
               (f->codes[f->last_code].key != key || f->codes[f->last_code].base != base)) {
            f->last_code++;
        }
        if (f->last_code == f->n_codes) {
            f->codes[f->n_codes++] = (DbtCode){ key, base };
        }
    }
    return (uint64_t)f->last_code << SHIFT;
}

/* cs_tag and cs_real. */
static void take_code(DbtFrame *f)
{
    const X86Cpu     *cpu  = f->cpu;
    const X86Segment *cs   = &cpu->seg[X86_CS];
    uint64_t          key  = dbt_key_of(cpu);
    bool              real = !(cpu->cr0 & CR0_PE) || cpu->eflags & EFLAGS_VM;

    /* Far transfers in translated code change cs_tag alone. */
    if (f->code.key == key && f->code.base == cs->base && f->code_selector == cs->selector &&
        f->cs_tag == f->code_tag) {
        return;
    }
    f->code          = (DbtCode){ key, cs->base };
    f->code_selector = cs->selector;
    if (f->n_codes + 2 > DBT_CODES) {
        f->n_codes = 0;
        dbt_descriptors_flush(f);
        for (unsigned mode = 0; mode < DBT_MODES; mode++) {
            if (f->jump_key[mode] == DBT_JUMPS_LEGACY) {
                dbt_jumps_flush(f, mode);
            }
        }
    }
    if (real) {
        f->cs_real = code_number(f, key, DBT_REAL_BASE) | UINT64_C(1) << 48;
    }
    if (real && cs->base == (uint64_t)cs->selector << 4) {
        f->cs_tag = f->cs_real | (uint64_t)cs->selector << 32;
    } else {
        f->cs_tag = code_number(f, key, (uint32_t)cs->base);
    }
    f->code_tag = f->cs_tag;
}

static void take_segment(DbtFrame *f, unsigned seg)
{
    const X86Segment *s = &f->cpu->seg[seg];
    f->seg_base[seg]    = (uint32_t)s->base;
    for (unsigned n = 0; n < DBT_LAST; n++) {
        f->seg_last[seg][n] = (int64_t)s->limit + 1 - (1 << n);
    }
}

void dbt_take_segments(DbtFrame *f)
{
    const X86Cpu *cpu  = f->cpu;
    f->segment_changes = cpu->segment_changes;
    if (cpu->code_size == X86_CODE64) {
        return;
    }
    if (f->descriptors_used) {
        dbt_descriptors_check(f);
    }
    take_code(f);
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        take_segment(f, i);
    }
}

void dbt_take_segment(DbtFrame *f, unsigned seg)
{
    f->segment_changes = f->cpu->segment_changes;
    take_segment(f, seg);
}

void dbt_take_code(DbtFrame *f, uint64_t key, uint64_t tag)
{
    f->code.key      = key;
    f->code.base     = f->cpu->seg[X86_CS].base;
    f->code_selector = f->cpu->seg[X86_CS].selector;
    f->code_tag = f->cs_tag = tag;
    take_segment(f, X86_CS);
}

/* The vCPU's rip as the jump cache has it. */
static uint64_t tag_of_rip(DbtFrame *f)
{
    if (f->cpu->code_size == X86_CODE64) {
        return f->cpu->rip;
    }
    take_code(f);
    return f->cs_tag | f->cpu->rip;
}

static DbtJump *find_tag(DbtFrame *f, unsigned mode, uint64_t tag)
{
    unsigned slot = dbt_jump_slot(mode, tag);
    for (unsigned way = 0; way < 2; way++) {
        DbtJump *j = jump_at(f, mode, slot ^ way);
        if (j->rip == tag) {
            return j;
        }
    }
    return NULL;
}

DbtJump *dbt_jump_find(DbtFrame *f, unsigned mode)
{
    return find_tag(f, mode, tag_of_rip(f));
}

static const uint8_t *code_of(const DbtFrame *f, const DbtJump *j)
{
    const uint8_t *code = __atomic_load_n(&j->code, __ATOMIC_RELAXED); /* dbt_kill() */
    return code == f->dbt->stubs[STUB_LOOKUP] ? NULL : code;
}

const uint8_t *dbt_find_quickly(DbtFrame *f)
{
    const X86Cpu  *cpu  = f->cpu;
    unsigned       mode = cpu->tlb->mode;
    const DbtJump *j    = dbt_jump_find(f, mode);

    return j && f->jump_key[mode] == dbt_jump_key_of(cpu, dbt_key_of(cpu)) ? code_of(f, j) : NULL;
}

const uint8_t *dbt_find_tagged(DbtFrame *f, uint64_t tag)
{
    unsigned       mode = f->cpu->tlb->mode;
    const DbtJump *j    = find_tag(f, mode, tag);

    return j && f->jump_key[mode] == DBT_JUMPS_LEGACY ? code_of(f, j) : NULL;
}

/* Something of this page's code is remembered. */
static void note_page(DbtFrame *f, unsigned mode, uint64_t rip, bool global)
{
    unsigned bit = filter_bit(rip);
    f->jump_local[mode] |= !global;
    f->page_filter[mode][bit / 64] |= UINT64_C(1) << (bit % 64);
}

/* The unit at the vCPU's rip. */
static void jump_fill(DbtFrame *f, unsigned mode, const DbtUnit *u, bool global)
{
    uint64_t tag  = tag_of_rip(f);
    unsigned slot = dbt_jump_slot(mode, u->rip);
    if (!slot || f->dbt->no_jumps) {
        return;
    }
    DbtJump *j = find_tag(f, mode, tag);
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
            f->jump_list[dbt_first_jump(mode) + f->jump_n[mode]++] = slot;
        }
        j = jump_at(f, mode, slot);
    }
    f->jump_based[mode] |= f->cpu->code_size != X86_CODE64 && f->cpu->seg[X86_CS].base != 0;
    note_page(f, mode, u->rip, global);
    j->rip = tag;
    __atomic_store_n(&j->code, u->hot, __ATOMIC_SEQ_CST);
    /* Against dbt_kill(), which marks the unit dead before it looks here. */
    if (__atomic_load_n(&u->dead, __ATOMIC_SEQ_CST)) {
        __atomic_store_n(&j->code, f->dbt->stubs[STUB_LOOKUP], __ATOMIC_RELAXED);
    }
}

/* Are there so many units for this code that one more for a recipe is not worth its place? */
static bool has_variants(Dbt *dbt, const DbtFetch *fetch)
{
    enum { MOST = 2 };
    DbtHead  head = __atomic_load_n(dbt_hash_slot(dbt, fetch->host, fetch->key, fetch->rip), __ATOMIC_ACQUIRE);
    unsigned n    = 0;
    for (DbtUnit *u = dbt_head_first(head); u; u = __atomic_load_n(&u->hash_next, __ATOMIC_ACQUIRE)) {
        n += u->host == fetch->host && u->key == fetch->key && u->rip == fetch->rip && u->groups == fetch->groups;
    }
    return n >= MOST;
}

static DbtUnit *next_unit(DbtFrame *f, unsigned groups, const Recipe *entry, bool far)
{
    X86Cpu        *cpu     = f->cpu;
    uint64_t       rip     = cpu->rip;
    const uint8_t *told[2] = { NULL, NULL };
    DbtFetch       fetch   = { .rip = rip, .linear = rip, .limit = UINT64_MAX, .groups = groups };

    if (cpu->code_size != X86_CODE64) {
        const X86Segment *cs = &cpu->seg[X86_CS];
        if (rip > cs->limit) {
            x86_raise(cpu, X86_GP);
        }
        if (cpu->segment_key >> X86_SEGMENT_KEY_ODD_LIMIT & 1) {
            return NULL;
        }
        fetch.linear = (uint32_t)(cs->base + rip);
        fetch.limit  = (uint64_t)cs->limit - rip + 1;
    } else if (x86_canonical(cpu, rip)) {
        fetch.limit = x86_code_room(cpu, rip);
    } else {
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

        /* The translator reads this if there is no unit; nobody has for long. */
        __builtin_prefetch(fetch.host);
        __builtin_prefetch(fetch.host + 64);
        uint64_t jump_key = dbt_jump_key_of(cpu, fetch.key);
        if (f->jump_key[fetch.mode] != jump_key) {
            dbt_jumps_flush(f, fetch.mode);
            f->jump_key[fetch.mode] = jump_key;
        }
        DbtUnit *u = dbt_lookup(f->dbt, fetch.host, fetch.key, rip, fetch.linear, groups, &fetch.entry);
        if (!u && entry && has_variants(f->dbt, &fetch)) {
            fetch.entry = (Recipe){ 0 };
            entry       = NULL;
            continue;
        }
        if (!u) {
            bool again;
            x86_park(cpu);
            u = dbt_make_unit(f, &fetch, told, &again);
            if (!u && entry && !f->dbt->full) { /* one instruction in two pages */
                fetch.entry = (Recipe){ 0 };
                entry       = NULL;
                again       = true;
            }
            if (again) {
                continue;
            }
            if (cpu->tlb->changes.any) {
                dbt_sync_flush(f);
            }
        }
        if (u && far) {
            note_page(f, fetch.mode, rip, global);
        } else if (u && groups == GROUPS_WIDE && !entry) {
            jump_fill(f, fetch.mode, u, global);
        }
        if (u && f->dbt->no_jumps) {
            x86_park(cpu);
            dbt_watch_entry(f, u);
        }
        return u;
    }
}

DbtUnit *dbt_next_unit(DbtFrame *f, unsigned groups, const Recipe *entry)
{
    return next_unit(f, groups, entry, false);
}

DbtUnit *dbt_far_unit(DbtFrame *f)
{
    return next_unit(f, GROUPS_WIDE, NULL, true);
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
    f->flushed += !writes_only;
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
    if (f->descriptors_used) {
        dbt_descriptors_flush(f);
    }
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
    /* Not the lists: they count for nothing now, and compilers would call memset. */
    c->any = c->all = c->local = c->writes = c->data = false;
    c->n_pages = c->n_data = 0;
}
