/* What translated code calls in C for accesses to memory: whatever micro entry, run or look-up in the TLB has not
 * settled.
 *
 * Called by stubs with the guest's integer registers in X86Cpu and the vector registers perhaps live (park.h): part of
 * the hot set, like all it calls before it parks. A fault leaves by the long jump to dbt_loop(); frame->at says whose
 * access it was. */

#include "accel/dbt/runs.h"
#include "accel/dbt/slow.h"

#include "cpu/x86/cache.h"

/* --- sites --- */

/* What is known of the site whose call comes back to `at`. Parks unless it came before; the unit may be a dead one. */
static DbtAccess *find_access(DbtFrame *f, const uint8_t *at)
{
    DbtAccess *a = &f->accesses[((uintptr_t)at >> 4) % DBT_ACCESSES];

    if (a->at != at || a->resets != f->dbt->counters.resets || dbt_is_dead(a->unit)) {
        a->unit    = dbt_find_unit(f, at);
        a->at      = at;
        a->resets  = f->dbt->counters.resets;
        a->decoded = false;
        a->look    = NULL;
        if (at > a->unit->hot && at <= a->unit->hot + a->unit->hot_size) {
            a->look = a->unit->looks;
            while (a->look->host != at - a->unit->hot) {
                a->look++;
            }
        }
    }
    return a;
}

static uint64_t rip_of_insn(const DbtFrame *f, const DbtUnit *u, unsigned n)
{
    return x86_cut_rip(f->cpu, u->rip + u->insn_off[n]);
}

/* The guest's flags, where only a recipe has them. */
static void take_flags(DbtFrame *f, const DbtLook *look)
{
    if (look->recipe.kind != RECIPE_NONE) {
        f->cpu->arith = dbt_flags_by(&look->recipe, f->cpu, f->compared);
    }
}

void dbt_take_site(DbtFrame *f, const uint8_t *at)
{
    x86_park(f->cpu);
    const DbtAccess *a    = find_access(f, at);
    DbtSite          site = a->look ? a->look->site : dbt_site_of(at);
    if (a->look) {
        take_flags(f, a->look);
    }
    f->cpu->rip = rip_of_insn(f, a->unit, site.insn);
}

/* The instruction of a slow access by the executor: without parking, locking or decoding where it came before. */
static DbtRan run_access(DbtFrame *f, DbtAccess *a, unsigned n)
{
    f->cpu->rip = rip_of_insn(f, a->unit, n);
    if (!a->decoded) {
        x86_park(f->cpu);
        a->decoded = dbt_decode_slow(f->cpu, a->unit, n, &a->insn);
    }
    return a->decoded ? dbt_run_insn(f, &a->insn, a->unit) : DBT_RAN_AWAY; /* its bytes have changed: look again */
}

/* --- operands in two pages --- */

/* Operands that lie in two pages of RAM. Misaligned copies come here once a page. */
typedef struct Halves {
    uint8_t *part[2];
    unsigned first; /* bytes in the lower page */
} Halves;

/* Where translated code could access the page itself; it may fault. NULL: by other ways. */
static uint8_t *find_host(X86Cpu *cpu, uint64_t linear, bool write)
{
    uint64_t           page = linear & ~(uint64_t)X86_PAGE_MASK;
    const X86TlbEntry *e    = x86_tlb_slot(cpu, linear);
    if ((write ? e->write : e->read) != page) {
        x86_translate(cpu, cpu->tlb->mode, linear, write ? X86_WRITE : X86_READ);
        if (cpu->tlb->changes.any || (write ? e->write : e->read) != page) {
            return NULL;
        }
    }
    return (uint8_t *)(linear + e->addend);
}

static bool find_halves(DbtFrame *f, uint64_t linear, unsigned size, bool write, Halves *h)
{
    X86Cpu *cpu   = f->cpu;
    h->first      = X86_PAGE_SIZE - (unsigned)(linear & X86_PAGE_MASK);
    uint64_t next = linear + h->first;

    if (h->first >= size || size > sizeof f->copy || cpu->code_size != X86_CODE64 || !x86_canonical(cpu, linear) ||
        !x86_canonical(cpu, next) || cpu->tlb->n_breakpoints) {
        return false;
    }
    h->part[0] = find_host(cpu, linear, write);
    h->part[1] = h->part[0] ? find_host(cpu, next, write) : NULL;
    return h->part[1];
}

/* No call of the C library: the vector registers are live. */
static void copy_bytes(void *to, const void *from, size_t n)
{
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}

/* The bytes side by side, for who reads them. Faults as reading them does. */
static bool copy_operand(DbtFrame *f, uint64_t linear, unsigned size)
{
    Halves h;
    if (!find_halves(f, linear, size, false, &h)) {
        return false;
    }
    copy_bytes(f->copy, h.part[0], h.first);
    copy_bytes(f->copy + h.first, h.part[1], size - h.first);
    return true;
}

/* An access in two pages that lie in one run now. Faults as it does. */
static bool find_run_of_two(DbtFrame *f, uint64_t linear, const DbtSite *site, bool write)
{
    Halves h;
    if (!find_halves(f, linear, site->size, write, &h)) {
        return false;
    }
    DbtRun run = dbt_run_around(f, linear, write);
    if (run.last8 < site->size || linear - run.start > run.last8 + 8 - site->size) {
        return false;
    }
    dbt_run_find(f, site->micro, linear, write);
    f->tmp[1] = run.addend;
    return true;
}

/* A plain store into two pages. Faults as it does. false: not so simple, nothing is written. */
static bool store_operand(DbtFrame *f, uint64_t linear, const DbtSite *site)
{
    Halves h;
    bool   vector = site->stored < SITE_GPR;
    if (!find_halves(f, linear, site->size, true, &h) || (vector && !f->cpu->vector_live)) {
        return false;
    }
    if (vector) {
        x86_vector_get(site->stored - SITE_VECTOR, site->size, f->copy);
    } else {
        __builtin_memcpy(f->copy, &f->cpu->gpr[site->stored - SITE_GPR], 8);
    }
    copy_bytes(h.part[0], f->copy, h.first);
    copy_bytes(h.part[1], f->copy + h.first, site->size - h.first);
    return true;
}

/* The stub has counted down to 0. Enough samples? */
static bool take_sample(DbtFrame *f, uint64_t linear, unsigned entry, bool write, bool *side)
{
    DbtSample *s   = &f->samples[entry];
    DbtRun     has = dbt_run_around(f, linear, write), may = dbt_run_possible(f, linear, write);
    DbtRun     run   = may.last8 > has.last8 ? may : has;
    unsigned   n     = s->n + 1u;
    bool       calm  = f->calls.flushes - s->flushes <= DBT_MISSES / 128; /* a flush takes the run away */
    unsigned   again = n > 1 && calm && linear - s->start <= s->last ? s->inside + 1u : 0;

    f->misses[entry] = DBT_MISSES;
    *side            = again == DBT_SAMPLES_WANTED - 1;
    *s               = (DbtSample){ .start   = run.start,
                                    .last    = run.last8,
                                    .flushes = f->calls.flushes,
                                    .n       = (uint8_t)(n % DBT_SAMPLES_WANTED),
                                    .inside  = (uint8_t)again };
    return n == DBT_SAMPLES_WANTED;
}

/* Has the stub counted down to 0? true: the unit is made anew, and the instruction runs in that one. */
static bool has_missed_often(DbtFrame *f, uint64_t linear, const uint8_t *at, const DbtSite *site, bool write)
{
    bool run = site->flags & SITE_RUN, side = false, look = false;
    if (f->misses[site->micro] || (!run && !take_sample(f, linear, site->micro, write, &side))) {
        return false;
    }
    x86_park(f->cpu);
    dbt_take_site(f, at);
    bool anew = run ? dbt_note_run(f, at, site, &look) : dbt_note_missed(f, at, site, side);
    return anew || (look && dbt_window_make(f, linear, write));
}

const uint8_t *dbt_slow_counted(DbtFrame *f, uint64_t unused, const uint8_t *at)
{
    x86_park(f->cpu);
    dbt_take_site(f, at);
    return dbt_note_counted(f, at) ? dbt_leave(f) : dbt_go_back(f, at);
}

/* A counter of runs has come to its end: shall the unit's sites be checked in line? That makes it longer, and new code
 * lies apart from the old. So only code that the processor keeps near is better for it, which runs densely; a compiler,
 * which is spread over thousands of units, takes a quarter less time when it is left alone. Code that does not run long
 * from one flush to the next finds empty micro entries: for that, the look-up that is called is as good. Neither stays
 * so for ever: it is tried again. */
static bool is_hot(DbtFrame *f, unsigned slot)
{
    DbtTrial *trial = &f->trials[slot];
    int64_t   now   = g_get_monotonic_time();

    if (!trial->began) {
        *trial        = (DbtTrial){ .began = now, .flushed = f->flushed };
        f->heat[slot] = DBT_TRIAL_RUNS;
        return false;
    }
    bool hot      = now - trial->began <= DBT_TRIAL_US && f->flushed - trial->flushed <= DBT_TRIAL_RUNS / DBT_TRIAL_PER;
    trial->began  = 0;
    f->heat[slot] = DBT_WARM_RUNS;
    return hot;
}

const uint8_t *dbt_slow_hot(DbtFrame *f, uint64_t unused, const uint8_t *at)
{
    int32_t rel;
    __builtin_memcpy(&rel, at - 4, 4);
    unsigned stub = STUB_TLB;
    while (f->dbt->stubs[stub] != at + rel) {
        stub++;
    }
    x86_park(f->cpu);
    if (is_hot(f, (uintptr_t)at / 2 % DBT_HEATS)) {
        dbt_note_hot(f, at);
    }
    f->tmp[3] = (uintptr_t)f->dbt->stubs[stub - (stub - STUB_TLB) % 2]; /* that does not count */
    return dbt_go_back(f, f->dbt->stubs[STUB_HOT_BACK]);
}

/* What the site looks into. */
static void fill_entry(DbtFrame *f, const DbtSite *site, uint64_t linear, uint64_t tag, uintptr_t addend)
{
    if (site->flags & SITE_RUN) {
        dbt_run_find(f, site->micro, linear, site->micro / DBT_RUNS % 2 == X86_WRITE);
        f->tmp[1] = addend;
    } else if (!(site->flags & SITE_TLB)) {
        DbtMicro *m = (DbtMicro *)f->micro + site->micro;
        m->tag      = tag;
        m->addend   = addend;

        f->micro_used[site->micro / DBT_LINE] = 1;
    }
}

/* A store has to go the slow way. For code in its page, and is that to be looked at? */
static bool is_beside(DbtFrame *f, const X86TlbPage *page)
{
    if (!page->host || !page->writable || !ram_page_has_code(page->ram, page->ram_offset)) {
        return false;
    }
    DbtBeside *b = dbt_beside(f, page->ram->host + page->ram_offset);
    return b->page != page->ram->host + page->ram_offset || --b->left == 0;
}

/* The page of [linear, linear + page size - limit) into the TLB; it may fault. NULL: its bytes are not to be had so;
 * *page says whose they are. */
static const X86TlbEntry *find_entry(DbtFrame *f, uint64_t linear, unsigned limit, unsigned write, const uint8_t *at,
                                     const X86TlbPage **page)
{
    X86Cpu *cpu            = f->cpu;
    f->at                  = at;
    *page                  = x86_translate(cpu, cpu->tlb->mode, linear, write ? X86_WRITE : X86_READ);
    const X86TlbEntry *e   = x86_tlb_slot(cpu, linear);
    uint64_t           tag = write ? e->write : e->read;
    return linear - tag <= limit ? e : NULL;
}

static bool may_translate(const X86Cpu *cpu, uint64_t linear, unsigned limit)
{
    return (linear & X86_PAGE_MASK) <= limit && (cpu->code_size != X86_CODE64 || x86_canonical(cpu, linear));
}

/* On behind the instruction: C has run it. */
static const uint8_t *go_behind(DbtFrame *f, const uint8_t *at, const DbtAccess *a, const DbtSite *site)
{
    const DbtUnit *u = a->unit;
    if (!a->look) {
        return dbt_go_back(f, at + SITE_DONE);
    }
    if (a->look->resumes) {
        return dbt_go_back(f, u->hot + u->insn_host[site->insn + 1]);
    }
    f->cpu->rip = rip_of_insn(f, u, site->insn + 1u);
    return dbt_go_on(f);
}

/* An access that the TLB cannot settle. `page`: the TLB has no entry for this page; NULL: that has not been tried. */
static const uint8_t *access_by_c(DbtFrame *f, uint64_t linear, const uint8_t *at, const DbtSite *site, unsigned write,
                                  const X86TlbPage *page)
{
    X86Cpu *cpu = f->cpu;
    bool    odd = site->flags & SITE_ALIGN && linear & (site->size - 1u);

    if (page && write && is_beside(f, page)) {
        dbt_take_site(f, at);
        if (dbt_note_beside(f, page->ram, page->ram_offset)) {
            return dbt_leave(f);
        }
    }
    f->at = at;
    /* x87's go to the executor: #MF comes before faults of the operand, and FDP is the operand's. */
    bool simple = !odd && !(site->flags & (SITE_EXEC | SITE_FPU));
    if (simple && site->flags & SITE_RUN && find_run_of_two(f, linear, site, write)) {
        return dbt_go_back(f, at + SITE_AGAIN);
    }
    if (simple && site->flags & SITE_LOAD && copy_operand(f, linear, site->size)) {
        uintptr_t copy = (uintptr_t)f->copy;
        f->tmp[0]      = copy;
        f->tmp[1]      = site->flags & SITE_PLAIN ? copy - linear : 0;
        return dbt_go_back(f, find_access(f, at)->look ? at : at + SITE_COPY);
    }
    bool       stored = simple && site->stored && store_operand(f, linear, site);
    DbtAccess *a      = find_access(f, at);
    f->at             = NULL;
    if (a->look) {
        take_flags(f, a->look);
    }
    if (stored) {
        return go_behind(f, at, a, site);
    }
    f->calls.access_run++;
    if (run_access(f, a, site->insn) == DBT_RAN_AWAY) {
        return dbt_go_on(f);
    }
    if (cpu->tlb->changes.any) { /* a group may be open */
        cpu->rip = x86_cut_rip(cpu, cpu->rip + f->insn.len);
        return dbt_leave(f);
    }
    return go_behind(f, at, a, site);
}

const uint8_t *dbt_slow_access(DbtFrame *f, uint64_t linear, const uint8_t *at, unsigned write)
{
    DbtSite           site = dbt_site_of(at);
    const X86TlbPage *page = NULL;

    f->calls.access++;
    if ((linear & X86_PAGE_MASK) > site.limit) {
        f->misses[site.micro]--; /* the stub has not: two pages are no matter of the entry, but perhaps of a run */
    }
    if (has_missed_often(f, linear, at, &site, write)) {
        return dbt_leave(f);
    }
    bool odd = site.flags & SITE_ALIGN && linear & (site.size - 1u);
    if (!(site.flags & (SITE_EXEC | SITE_FPU)) && !odd && may_translate(f->cpu, linear, site.limit)) {
        const X86TlbEntry *e = find_entry(f, linear, site.limit, write, at, &page);
        if (f->cpu->tlb->changes.any) { /* a group may be open */
            dbt_take_site(f, at);
            return dbt_leave(f);
        }
        if (e) {
            fill_entry(f, &site, linear, write ? e->write : e->read, e->addend);
            return dbt_go_back(f, at + SITE_AGAIN);
        }
    }
    return access_by_c(f, linear, at, &site, write, page);
}

/* --- look-ups by stubs --- */

/* Back to where the stub was called, as if it had found the entry. */
static const uint8_t *found(DbtFrame *f, uint64_t linear, const uint8_t *at, unsigned what, uintptr_t addend)
{
    f->tmp[0] = what & LOOK_HOST ? linear + addend : 0;
    f->tmp[1] = addend;
    return dbt_go_back(f, at);
}

static unsigned limit_of(unsigned what)
{
    return X86_PAGE_SIZE - (1u << (what >> LOOK_SIZE));
}

const uint8_t *dbt_slow_look(DbtFrame *f, uint64_t linear, const uint8_t *at, unsigned what)
{
    enum { ALIGNED = 16 }; /* bytes, of what may have to be */
    unsigned          limit = limit_of(what), write = what & LOOK_WRITE;
    unsigned          size = 1u << (what >> LOOK_SIZE);
    const X86TlbPage *page = NULL;

    f->calls.access++;
    bool odd = size >= ALIGNED && linear & (size - 1) && find_access(f, at)->look->site.flags & SITE_ALIGN;
    if (!odd && may_translate(f->cpu, linear, limit)) {
        const X86TlbEntry *e = find_entry(f, linear, limit, write, at, &page);
        if (f->cpu->tlb->changes.any) { /* a group may be open */
            dbt_take_site(f, at);
            return dbt_leave(f);
        }
        if (e) {
            return found(f, linear, at, what, e->addend);
        }
    }
    DbtSite site = find_access(f, at)->look->site;
    if (!page) {
        f->misses[site.micro]--; /* as dbt_slow_access() does */
        if (has_missed_often(f, linear, at, &site, write)) {
            return dbt_leave(f);
        }
    }
    return access_by_c(f, linear, at, &site, write, page);
}

/* --- groups --- */

/* Translates without raising anything, or setting a dirty bit. */
static bool can_access(X86Cpu *cpu, uint64_t linear, bool write)
{
    X86Jump outer;
    x86_jump_copy(outer, cpu->fault_exit);
    uint64_t      cr2 = cpu->cr2;
    volatile bool ok  = false;
    if (!x86_setjmp(cpu->fault_exit)) {
        const X86TlbPage *page = x86_translate(cpu, cpu->tlb->mode, linear, X86_READ);
        ok                     = !write || page->rights & 1 << X86_WRITE;
    } else {
        cpu->cr2 = cr2;
    }
    x86_jump_copy(cpu->fault_exit, outer);
    return ok;
}

/* The entry of a page in which all of a group lies; NULL: there is none, or the TLB has dropped something. */
static const X86TlbEntry *find_group_entry(X86Cpu *cpu, uint64_t linear, unsigned limit, unsigned write)
{
    if (!may_translate(cpu, linear, limit) || !can_access(cpu, linear, write) || cpu->tlb->changes.any) {
        return NULL;
    }
    const X86TlbEntry *e = x86_tlb_slot(cpu, linear);
    return linear - (write ? e->write : e->read) <= limit ? e : NULL;
}

const uint8_t *dbt_slow_group(DbtFrame *f, uint64_t linear, const uint8_t *at, unsigned write)
{
    DbtSite site = dbt_site_of(at);

    f->calls.group++;
    if (has_missed_often(f, linear, at, &site, write)) {
        return dbt_leave(f);
    }
    const X86TlbEntry *e = site.flags & SITE_FPU ? NULL : find_group_entry(f->cpu, linear, site.limit, write);
    if (e) {
        fill_entry(f, &site, linear, write ? e->write : e->read, e->addend);
        return dbt_go_back(f, at + SITE_AGAIN);
    }
    f->calls.group_failed++;
    if (!(site.flags & SITE_FPU)) {
        x86_park(f->cpu);
        dbt_note_misfit(f, at);
    }
    return dbt_go_back(f, at + SITE_DONE);
}

const uint8_t *dbt_slow_look_group(DbtFrame *f, uint64_t linear, const uint8_t *at, unsigned what)
{
    enum { OFTEN = 128 };
    f->calls.group++;
    const X86TlbEntry *e = find_group_entry(f->cpu, linear, limit_of(what), what & LOOK_WRITE);
    if (e) {
        return found(f, linear, at, what, e->addend);
    }
    bool      crosses = (linear & X86_PAGE_MASK) > limit_of(what);
    DbtCross *c       = &f->crosses[(uintptr_t)at * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (DBT_CROSSES - 1)];
    if (crosses && c->at == at && c->resets == f->dbt->counters.resets && !dbt_is_dead(c->to)) {
        take_flags(f, c->look);
        if (++c->times == OFTEN) { /* with a slow side of its own it leads there by a jump */
            x86_park(f->cpu);
            dbt_note_hot(f, at);
        }
        return dbt_go(f, c->to->hot);
    }
    dbt_take_site(f, at);
    const DbtLook *look = find_access(f, at)->look;
    g_assert(look);
    if (!crosses) { /* else it is no fault of the group's that it does not fit */
        f->calls.group_failed++;
        x86_park(f->cpu);
        dbt_note_misfit(f, at);
    }
    uint64_t resets = f->dbt->counters.resets;
    DbtUnit *to     = dbt_next_unit(f, look->groups, NULL);
    if (to && resets == f->dbt->counters.resets) {
        *c = (DbtCross){ .at = at, .resets = resets, .look = look, .to = to };
    }
    return to ? dbt_go(f, to->hot) : dbt_leave(f);
}
