/* What translated code calls in C: TLB misses, instructions without a template, links, look-ups, faults.
 *
 * Called by stubs with the guest's integer registers in X86Cpu and the vector registers live (cpu/x86/park.h): part of
 * the hot set, like all it calls before it parks. A fault leaves by the long jump to dbt_run(), which finds out from
 * frame->at where it was.
 *
 * A unit may be freed while its thread waits for a lock in C (dbt_empty_region), so that an instruction that runs is a
 * copy, and going back is possible only while no region has been emptied. */

#include "accel/dbt/dbt.h"

#include "cpu/x86/cache.h"
#include "cpu/x86/ops.h"
#include "cpu/x86/park.h"
#include "cpu/x86/tlb.h"

static const uint8_t *leave(DbtFrame *f)
{
    f->at = NULL;
    return f->dbt->stubs[STUB_LEAVE];
}

/* Does somebody want the vCPU? */
static bool is_polled(const DbtFrame *f)
{
    return atomic_load_explicit(&f->kick, memory_order_relaxed) == DBT_KICKED;
}

/* Back into translated code. */
static const uint8_t *go(DbtFrame *f, const uint8_t *to)
{
    X86Cpu *cpu = f->cpu;
    f->at       = NULL;
    if (cpu->tlb->changes.any) {
        dbt_sync_flush(f);
    }
    if (!X86_ALWAYS_PARK && !cpu->vector_live) {
        f->calls.unparked++;
        x86_unpark(cpu);
    }
    if (f->segment_changes != cpu->segment_changes) {
        dbt_take_segments(f);
    }
    return to;
}

static uint64_t read64(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, 8);
    return v;
}

/* On at cpu->rip after an instruction in C that has changed it, when nothing is due. */
static const uint8_t *go_on(DbtFrame *f)
{
    X86Cpu *cpu = f->cpu;
    if (!is_polled(f) && !cpu->cache->attention && !cpu->interrupt_shadow && !cpu->tlb->check_alignment) {
        if (cpu->tlb->changes.any) {
            dbt_sync_flush(f);
        }
        if (!x86_requests_due(cpu)) {
            const uint8_t *to = dbt_find_quickly(f);
            if (to) {
                return go(f, to);
            }
        }
    }
    return leave(f);
}

/* --- instructions in C --- */

typedef enum Ran { RAN_ON, RAN_AWAY } Ran;

/* Runs the instruction at cpu->rip. RAN_AWAY: cpu->rip is where to go on, by the run loop. */
static Ran run_insn(DbtFrame *f, const X86Insn *from, const DbtUnit *unit)
{
    X86Cpu  *cpu    = f->cpu;
    uint64_t resets = f->dbt->counters.resets;
    bool     ends   = from->flags & X86_INSN_ENDS;

    f->insn               = *from;
    cpu->insn             = &f->insn;
    cpu->insn_end         = &f->insn + 2;
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    x86_insn_run(cpu, &f->insn);
    bool stop = cpu->insn_end != &f->insn + 2 || resets != f->dbt->counters.resets || dbt_is_dead(unit) ||
                cpu->cache->attention || unit->key != dbt_key_of(cpu);
    cpu->insn = NULL;

    if (f->insn.flags & X86_INSN_TRANSFER) {
        ends = true;
    } else if (ends || stop) {
        cpu->rip = x86_cut_rip(cpu, cpu->rip + f->insn.len);
    }
    if (ends && (!(f->insn.flags & X86_INSN_TRANSFER) || cpu->branch == X86_BRANCH_SYSTEM)) {
        x86_update_attention(cpu);
    }
    return ends || stop ? RAN_AWAY : RAN_ON;
}

/* The unit that the address lies in, and its instruction there. Parks. */
static DbtUnit *find_unit(DbtFrame *f, const uint8_t *at)
{
    x86_park(f->cpu);
    g_mutex_lock(&f->dbt->lock);
    DbtUnit *u = dbt_unit_at(f->dbt, at);
    g_mutex_unlock(&f->dbt->lock);
    return u;
}

/* Instruction `n` of a unit by the executor, whatever it is. */
static Ran run_any(DbtFrame *f, DbtUnit *u, unsigned n)
{
    X86Cpu *cpu = f->cpu;

    cpu->rip = x86_cut_rip(cpu, u->rip + u->insn_off[n]);
    if (u->c_of[n]) {
        return run_insn(f, &u->c[u->c_of[n] - 1], u);
    }
    X86Insn in;
    x86_park(cpu);
    if (!dbt_decode_slow(cpu, u, n, &in)) {
        return RAN_AWAY; /* its bytes have changed: look again */
    }
    return run_insn(f, &in, u);
}

/* The instruction of a slow access by the executor: without parking, locking or decoding where it came before. */
static Ran run_access(DbtFrame *f, const uint8_t *at, unsigned n)
{
    X86Cpu    *cpu = f->cpu;
    DbtAccess *a   = &f->accesses[((uintptr_t)at >> 4) % DBT_ACCESSES];

    if (a->at != at || a->resets != f->dbt->counters.resets || dbt_is_dead(a->unit)) {
        DbtUnit *u = find_unit(f, at);
        cpu->rip   = x86_cut_rip(cpu, u->rip + u->insn_off[n]);
        a->at      = NULL;
        if (!dbt_decode_slow(cpu, u, n, &a->insn)) {
            return RAN_AWAY; /* its bytes have changed: look again */
        }
        a->at     = at;
        a->unit   = u;
        a->resets = f->dbt->counters.resets;
    }
    cpu->rip = x86_cut_rip(cpu, a->unit->rip + a->unit->insn_off[n]);
    return run_insn(f, &a->insn, a->unit);
}

const uint8_t *dbt_slow_insn(DbtFrame *f, uint64_t unused, const uint8_t *at)
{
    X86Cpu  *cpu = f->cpu;
    uint64_t v   = read64(at + 2);
    DbtUnit *u   = (DbtUnit *)(uintptr_t)(v << 8 >> 8);
    f->calls.insn++;
    unsigned n = (unsigned)(v >> 56);

    (void)dbt_is_dead(u); /* another vCPU's link may have led here: what is in the unit is to be seen */
    cpu->rip = x86_cut_rip(cpu, u->rip + u->insn_off[n]);
    if (run_insn(f, &u->c[u->c_of[n] - 1], u) == RAN_AWAY) {
        f->calls.insn_ends++;
        return go_on(f);
    }
    return go(f, at + 10);
}

/* --- memory --- */

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
    uint64_t rip  = dbt_rip_of_site(f, at);
    bool     anew = run ? dbt_note_run(f, at, &look) : dbt_note_missed(f, at, side);
    if (!anew && !(look && dbt_window_make(f, linear, write))) {
        return false;
    }
    f->cpu->rip = rip;
    return true;
}

const uint8_t *dbt_slow_counted(DbtFrame *f, uint64_t unused, const uint8_t *at)
{
    x86_park(f->cpu);
    uint64_t rip = dbt_rip_of_site(f, at);
    if (!dbt_note_counted(f, at)) {
        return go(f, at);
    }
    f->cpu->rip = rip;
    return leave(f);
}

const uint8_t *dbt_slow_hot(DbtFrame *f, uint64_t unused, const uint8_t *at)
{
    int32_t rel;
    __builtin_memcpy(&rel, at - 4, 4);
    unsigned stub = STUB_TLB;
    while (f->dbt->stubs[stub] != at + rel) {
        stub++;
    }
    f->heat[(uintptr_t)at / 2 % DBT_HEATS] = DBT_COLD_RUNS;
    x86_park(f->cpu);
    dbt_note_hot(f, at);
    f->tmp[3] = (uintptr_t)f->dbt->stubs[stub - (stub - STUB_TLB) % 2]; /* that does not count */
    return go(f, f->dbt->stubs[STUB_HOT_BACK]);
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

const uint8_t *dbt_slow_access(DbtFrame *f, uint64_t linear, const uint8_t *at, unsigned write)
{
    X86Cpu *cpu  = f->cpu;
    DbtSite site = dbt_site_of(at);

    f->calls.access++;
    if ((linear & X86_PAGE_MASK) > site.limit) {
        f->misses[site.micro]--; /* the stub has not: two pages are no matter of the entry, but perhaps of a run */
    }
    if (has_missed_often(f, linear, at, &site, write)) {
        return leave(f);
    }
    bool odd = site.flags & SITE_ALIGN && linear & (site.size - 1u);
    if (!(site.flags & (SITE_EXEC | SITE_FPU)) && !odd && (linear & X86_PAGE_MASK) <= site.limit &&
        (cpu->code_size != X86_CODE64 || x86_canonical(cpu, linear))) {
        f->at                  = at;
        const X86TlbPage *page = x86_translate(cpu, cpu->tlb->mode, linear, write ? X86_WRITE : X86_READ);
        if (cpu->tlb->changes.any) { /* a group may be open */
            x86_park(cpu);
            cpu->rip = dbt_rip_of_site(f, at);
            return leave(f);
        }
        const X86TlbEntry *e   = x86_tlb_slot(cpu, linear);
        uint64_t           tag = write ? e->write : e->read;
        if (linear - tag <= site.limit) {
            fill_entry(f, &site, linear, tag, e->addend);
            return go(f, at + SITE_AGAIN);
        }
        if (write && is_beside(f, page)) {
            x86_park(cpu);
            uint64_t rip = dbt_rip_of_site(f, at);
            if (dbt_note_beside(f, page->ram, page->ram_offset)) {
                cpu->rip = rip;
                return leave(f);
            }
        }
    }
    f->at = at;
    /* x87's go to the executor: #MF comes before faults of the operand, and FDP is the operand's. */
    bool simple = !odd && !(site.flags & (SITE_EXEC | SITE_FPU));
    if (simple && site.flags & SITE_RUN && find_run_of_two(f, linear, &site, write)) {
        return go(f, at + SITE_AGAIN);
    }
    if (simple && site.flags & SITE_LOAD && copy_operand(f, linear, site.size)) {
        uintptr_t copy = (uintptr_t)f->copy;
        f->tmp[0]      = copy;
        f->tmp[1]      = site.flags & SITE_PLAIN ? copy - linear : 0;
        return go(f, at + SITE_COPY);
    }
    if (simple && site.stored && store_operand(f, linear, &site)) {
        return go(f, at + SITE_DONE);
    }
    f->at = NULL;
    f->calls.access_run++;
    if (run_access(f, at, site.insn) == RAN_AWAY) {
        return go_on(f);
    }
    if (cpu->tlb->changes.any) { /* a group may be open */
        cpu->rip = x86_cut_rip(cpu, cpu->rip + f->insn.len);
        return leave(f);
    }
    return go(f, at + SITE_DONE);
}

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

const uint8_t *dbt_slow_group(DbtFrame *f, uint64_t linear, const uint8_t *at, unsigned write)
{
    X86Cpu *cpu  = f->cpu;
    DbtSite site = dbt_site_of(at);

    f->calls.group++;
    if (has_missed_often(f, linear, at, &site, write)) {
        return leave(f);
    }
    if (!(site.flags & SITE_FPU) && (cpu->code_size != X86_CODE64 || x86_canonical(cpu, linear)) &&
        can_access(cpu, linear, write) && !cpu->tlb->changes.any) {
        const X86TlbEntry *e   = x86_tlb_slot(cpu, linear);
        uint64_t           tag = write ? e->write : e->read;
        if (linear - tag <= site.limit) {
            fill_entry(f, &site, linear, tag, e->addend);
            return go(f, at + SITE_AGAIN);
        }
    }
    f->calls.group_failed++;
    if (!(site.flags & SITE_FPU)) {
        x86_park(cpu);
        dbt_note_misfit(f, at);
    }
    return go(f, at + SITE_DONE);
}

/* --- control flow --- */

/* STI's template does not end the shadow behind the next instruction. All ways out of its unit lie behind that. */
static void end_shadow(X86Cpu *cpu)
{
    if (cpu->interrupt_shadow == X86_SHADOW_STI) {
        cpu->interrupt_shadow = X86_SHADOW_NONE;
    }
}

static const uint8_t *go_to(DbtFrame *f, uint64_t rip)
{
    f->cpu->rip = x86_cut_rip(f->cpu, rip); /* a tag may be above it */
    end_shadow(f->cpu);
    if (is_polled(f)) {
        return leave(f);
    }
    const uint8_t *to = dbt_find_quickly(f);
    if (to) {
        return go(f, to);
    }
    DbtUnit *u = dbt_next_unit(f, GROUPS_WIDE, NULL);
    return u ? go(f, u->hot) : leave(f);
}

const uint8_t *dbt_slow_lookup(DbtFrame *f, uint64_t rip)
{
    f->calls.lookup++;
    return go_to(f, rip);
}

const uint8_t *dbt_slow_kick(DbtFrame *f, uint64_t rip)
{
    f->calls.kick++;
    f->cpu->rip = rip;
    end_shadow(f->cpu);
    return leave(f);
}

const uint8_t *dbt_slow_ret(DbtFrame *f, uint64_t rip, const uint8_t *at)
{
    X86Cpu *cpu = f->cpu;

    f->calls.ret++;
    if (cpu->code_size == X86_CODE64 && !x86_canonical(cpu, rip)) {
        /* The branch's own fault, and it has not happened. */
        uint64_t bits = read64(at + 2);
        DbtSite  site;
        __builtin_memcpy(&site, &bits, 8);
        DbtUnit *u = find_unit(f, at);
        cpu->rip   = u->rip + u->insn_off[site.insn];
        if (site.size) { /* a call */
            x86_store(cpu, cpu->gpr[X86_RSP], f->keep[3], 8);
        }
        cpu->gpr[X86_RSP] += site.size;
        cpu->gpr[X86_RSP] -= site.limit;
        x86_raise(cpu, X86_GP);
    }
    return go_to(f, rip);
}

const uint8_t *dbt_slow_call(DbtFrame *f, uint64_t rip, const uint8_t *at)
{
    X86Cpu  *cpu  = f->cpu;
    uint64_t bits = read64(at + 2);
    DbtSite  site;
    __builtin_memcpy(&site, &bits, 8);

    f->calls.ret++;
    DbtUnit *u    = find_unit(f, at);
    uint64_t next = x86_cut_rip(cpu, u->rip + u->insn_off[site.insn + 1]);
    cpu->rip      = x86_cut_rip(cpu, u->rip + u->insn_off[site.insn]);
    if (cpu->code_size == X86_CODE64 && !x86_canonical(cpu, rip)) {
        x86_raise(cpu, X86_GP);
    }
    x86_push(cpu, next, site.size);
    return go_to(f, rip);
}

const uint8_t *dbt_slow_link(DbtFrame *f, uint64_t unused, const uint8_t *at)
{
    Dbt     *dbt = f->dbt;
    X86Cpu  *cpu = f->cpu;
    DbtUnit *u   = find_unit(f, at - 1);
    f->calls.link++;
    DbtExit *e = u->exits;

    while (e->cold - dbt_writable(dbt) + 5 != at) {
        e++;
    }
    cpu->rip    = e->rip;
    DbtUnit *to = dbt_next_unit(f, e->groups, e->entry.kind == RECIPE_NONE ? NULL : &e->entry);
    if (!to) {
        return leave(f);
    }
    g_mutex_lock(&dbt->lock);
    if (to->key == u->key && (to->host - u->host) == (ptrdiff_t)(to->rip - u->rip)) {
        dbt_link(dbt, e, to);
    }
    g_mutex_unlock(&dbt->lock);
    return go(f, to->hot);
}

/* STAC, CLAC in ring 0, rip behind it. */
const uint8_t *dbt_slow_smap(DbtFrame *f, uint64_t rip, const uint8_t *unused, unsigned open)
{
    X86Cpu *cpu = f->cpu;
    f->calls.insn++;
    f->calls.insn_ends++;
    cpu->rip              = rip;
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    cpu->eflags           = open ? cpu->eflags | EFLAGS_AC : cpu->eflags & ~(uint32_t)EFLAGS_AC;
    x86_tlb_select(cpu);
    return go_on(f);
}

/* The second page of the unit at rip is not in the TLB, or another one than it was. */
const uint8_t *dbt_slow_pages(DbtFrame *f, uint64_t rip)
{
    X86Cpu *cpu     = f->cpu;
    cpu->rip        = rip;
    uint64_t linear = x86_linear_rip(cpu), next = (linear | X86_PAGE_MASK) + 1;
    if (cpu->code_size != X86_CODE64) {
        next = (uint32_t)next;
    }
    const uint8_t *second = x86_translate(cpu, cpu->tlb->mode, next, X86_FETCH)->host;
    DbtUnit       *u      = dbt_next_unit(f, GROUPS_WIDE, NULL);
    if (u && u->host2 && u->host2 != second) {
        x86_park(cpu);
        g_mutex_lock(&f->dbt->lock);
        dbt_kill(f->dbt, u);
        g_mutex_unlock(&f->dbt->lock);
        u = dbt_next_unit(f, GROUPS_WIDE, NULL);
    }
    if (!u || cpu->tlb->changes.any) {
        return leave(f);
    }
    /* The TLB may have room for only one of the two pages. */
    const X86TlbEntry *e = x86_tlb_slot(cpu, next);
    if (u->host2 && e->fetch != next) {
        x86_translate(cpu, cpu->tlb->mode, next, X86_FETCH);
        if (e->fetch != next) {
            return leave(f);
        }
    }
    return go(f, u->hot);
}

/* --- host faults --- */

/* The flags that the recipe makes of these registers, as X86Cpu.arith has them. */
static uint16_t flags_by(const Recipe *r, const X86Cpu *cpu, uint64_t compared)
{
    enum { LOW = 0x1400, CARRY = 0x100 }; /* PF and AF are the low bits' */
    uint64_t a = cpu->gpr[r->reg], b = r->rm == DBT_NO_REG ? (uint64_t)(int64_t)r->imm : cpu->gpr[r->rm];
    unsigned shift = 64 - 8u * r->size; /* the operands' sign comes into bit 63 */
    uint16_t high, low;

#define FLAGS(insn, x, y, to) __asm__(insn " %2, %1\n\tlahf\n\tseto %%al" : "=&a"(to), "+&r"(x) : "r"(y) : "cc")
#define BOTH(insn)                                                                                                     \
    do {                                                                                                               \
        uint64_t wide_a = a << shift, wide_b = b << shift;                                                             \
        FLAGS(insn, wide_a, wide_b, high);                                                                             \
        FLAGS(insn, a, b, low);                                                                                        \
    } while (0)
    switch ((RecipeKind)r->kind) {
    case RECIPE_ADD:
        a -= b;
        BOTH("addq");
        break;
    case RECIPE_TEST: BOTH("andq"); break;
    case RECIPE_SUB:
        a += b;
        BOTH("subq");
        break;
    case RECIPE_NEG:
        b = 0 - a;
        a = 0;
        BOTH("subq");
        break;
    case RECIPE_INC:
    case RECIPE_DEC:
        b = 1;
        if (r->kind == RECIPE_INC) {
            a -= b;
            BOTH("addq");
        } else {
            a += b;
            BOTH("subq");
        }
        return (high & ~(LOW | CARRY)) | (low & LOW) | (cpu->arith & CARRY);
    case RECIPE_CMP_SLOT:
        a = compared;
        BOTH("subq");
        break;
    case RECIPE_WITH_SLOT:
        b = compared;
        BOTH("subq");
        break;
    case RECIPE_CMP:
    case RECIPE_NONE:
    default: BOTH("subq"); break;
    }
#undef BOTH
#undef FLAGS
    return (high & ~LOW) | (low & LOW);
}

const uint8_t *dbt_slow_fault(DbtFrame *f)
{
    f->calls.fault++;
    DbtUnit *u   = find_unit(f, f->fault_rip);
    uint32_t off = (uint32_t)(f->fault_rip - u->hot);
    unsigned n   = dbt_insn_at(u, off);
    X86Cpu  *cpu = f->cpu;
    uint64_t fl  = f->fault_eflags;

    for (unsigned i = 0; i < u->n_places; i++) {
        const DbtPlace *p = &u->places[i];
        if (p->host == off && p->flags_in_host) {
            cpu->arith = (uint16_t)((fl & 0xd5) << 8 | 0x200 | (fl >> 11 & 1));
        } else if (p->insn == n && p->recipe.kind != RECIPE_NONE) { /* there, or from its check on */
            cpu->arith = flags_by(&p->recipe, cpu, f->compared);
        }
    }
    if (run_any(f, u, n) == RAN_ON) {
        cpu->rip = x86_cut_rip(cpu, cpu->rip + f->insn.len);
    }
    return leave(f);
}

/* --- the run loop --- */

const uint8_t *dbt_next_code(DbtFrame *f, int thrown, const DbtHost *host)
{
    X86Cpu *cpu = f->cpu;
    X86Exit exit;
    bool    over = false;

    if (thrown) {
        if (f->at) { /* a slow access has faulted: whose is it? */
            x86_park(cpu);
            cpu->rip = dbt_rip_of_site(f, f->at);
            f->at    = NULL;
        }
        over = x86_deliver_thrown(cpu, thrown, &exit);
    }
    for (;;) {
        if (over) {
            x86_park(cpu);
            if (!host->exited(host->opaque, exit)) {
                return NULL;
            }
            x86_run_begin(cpu, false);
            over = false;
        }
        atomic_store_explicit(&f->kick, DBT_RUN, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        f->calls.rounds++;
        X86Round round = x86_round(cpu, &exit, true);
        if (round != X86_ROUND_TRANSLATE) {
            over = round == X86_ROUND_EXIT;
            continue;
        }
        /* Also when there is a unit here: it may lead to one that has found no room. */
        if (__atomic_load_n(&f->dbt->full, __ATOMIC_RELAXED)) {
            x86_park(cpu);
            dbt_make_room(f);
        }
        if (cpu->tlb->changes.any) {
            dbt_sync_flush(f);
        }
        if (cpu->interrupt_shadow && x86_requests_due(cpu)) {
            /* What is pending is taken right behind the next instruction; code would look for it later than that. */
            x86_park(cpu);
            x86_run_one(cpu);
            continue;
        }
        const uint8_t *to = dbt_find_quickly(f);
        if (!to) {
            DbtUnit *u = dbt_next_unit(f, GROUPS_WIDE, NULL);
            if (!u) {
                x86_park(cpu);
                if (!f->dbt->full) {
                    f->calls.executor++;
                    x86_run_one(cpu);
                }
                continue;
            }
            to = u->hot;
            if (cpu->tlb->changes.any) {
                dbt_sync_flush(f);
            }
        }
        cpu->interrupt_shadow = X86_SHADOW_NONE;
        dbt_take_segments(f);
        return to;
    }
}
