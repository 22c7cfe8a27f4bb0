/* What translated code calls in C: instructions without a template, links, look-ups, faults. Memory is in
 * slow_memory.c.
 *
 * Called by stubs with the guest's integer registers in X86Cpu and the vector registers perhaps live (park.h): part of
 * the hot set, like all it calls before it parks. A fault leaves by the long jump to dbt_run(), which finds out from
 * frame->at where it was.
 *
 * A unit may be freed while its thread waits for a lock in C (dbt_empty_region), so that an instruction that runs is a
 * copy, and going back is possible only while no region has been emptied. */

#include "accel/dbt/slow.h"

#include "accel/dbt/cells.h"

#include "cpu/x86/cache.h"
#include "cpu/x86/ops.h"

static uint64_t read64(const uint8_t *p)
{
    uint64_t v;
    __builtin_memcpy(&v, p, 8);
    return v;
}

const uint8_t *dbt_go_on(DbtFrame *f)
{
    X86Cpu *cpu = f->cpu;
    if (!dbt_is_polled(f) && !cpu->cache->attention && !cpu->interrupt_shadow && !cpu->tlb->check_alignment) {
        if (cpu->tlb->changes.any) {
            dbt_sync_flush(f);
        }
        if (!x86_requests_due(cpu)) {
            const uint8_t *to = dbt_find_quickly(f);
            if (to) {
                return dbt_go(f, to);
            }
        }
    }
    return dbt_leave(f);
}

/* --- instructions in C --- */

DbtRan dbt_run_insn(DbtFrame *f, const X86Insn *from, const DbtUnit *unit)
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
    return ends || stop ? DBT_RAN_AWAY : DBT_RAN_ON;
}

DbtUnit *dbt_find_unit(DbtFrame *f, const uint8_t *at)
{
    x86_park(f->cpu);
    g_mutex_lock(&f->dbt->lock);
    DbtUnit *u = dbt_unit_at(f->dbt, at);
    g_mutex_unlock(&f->dbt->lock);
    return u;
}

/* Instruction `n` of a unit by the executor, whatever it is. */
static DbtRan run_any(DbtFrame *f, DbtUnit *u, unsigned n)
{
    X86Cpu *cpu = f->cpu;

    cpu->rip = x86_cut_rip(cpu, u->rip + u->insn_off[n]);
    if (u->c_of[n]) {
        return dbt_run_insn(f, &u->c[u->c_of[n] - 1], u);
    }
    X86Insn in;
    x86_park(cpu);
    if (!dbt_decode_slow(cpu, u, n, &in)) {
        return DBT_RAN_AWAY; /* its bytes have changed: look again */
    }
    return dbt_run_insn(f, &in, u);
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
    if (dbt_run_insn(f, &u->c[u->c_of[n] - 1], u) == DBT_RAN_AWAY) {
        f->calls.insn_ends++;
        return dbt_go_on(f);
    }
    if (!u->vectors) {
        f->vectors = cpu->vector_live;
    }
    return dbt_go_back(f, at + 10);
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
    if (dbt_is_polled(f)) {
        return dbt_leave(f);
    }
    const uint8_t *to = dbt_find_quickly(f);
    if (to) {
        return dbt_go(f, to);
    }
    to = dbt_run_first(f);
    if (to) {
        return to;
    }
    DbtUnit *u = dbt_next_unit(f, GROUPS_WIDE, NULL);
    return u ? dbt_go(f, u->hot) : dbt_leave(f);
}

const uint8_t *dbt_slow_lookup(DbtFrame *f, uint64_t rip)
{
    f->calls.lookup++;
    return go_to(f, rip);
}

const uint8_t *dbt_slow_kick(DbtFrame *f, uint64_t rip)
{
    X86Cpu *cpu = f->cpu;
    f->calls.kick++;
    cpu->rip = rip;
    end_shadow(cpu);
    uint64_t           linear = x86_linear_rip(cpu);
    const X86TlbEntry *e      = x86_tlb_slot(cpu, linear);
    if (e->fetch == (linear & ~(uint64_t)X86_PAGE_MASK)) {
        x86_park(cpu);
        dbt_note_sample(f, (const uint8_t *)(linear + e->addend));
    }
    return dbt_leave(f);
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
        DbtUnit *u = dbt_find_unit(f, at);
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
    DbtUnit *u    = dbt_find_unit(f, at);
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
    Dbt    *dbt = f->dbt;
    X86Cpu *cpu = f->cpu;
    f->calls.link++;
    x86_park(cpu);
    DbtUnit *u = dbt_find_unit(f, at - 1);
    DbtExit *e = u->exits;

    while (e->cold - dbt_writable(dbt) + 5 != at) {
        e++;
    }
    cpu->rip            = e->rip;
    const Recipe *entry = e->entry.kind == RECIPE_NONE ? NULL : &e->entry;
    if (entry) { /* whoever goes there by the executor, or faults, has no recipe */
        cpu->arith = dbt_flags_by(entry, cpu, f->compared);
    }
    const uint8_t *first = e->groups == GROUPS_WIDE ? dbt_run_first(f) : NULL;
    if (first) {
        return first;
    }
    DbtUnit *to = dbt_next_unit(f, e->groups, entry);
    if (!to) {
        return dbt_leave(f);
    }
    g_mutex_lock(&dbt->lock);
    if (to->key == u->key && (to->host - u->host) == (ptrdiff_t)(to->rip - u->rip)) {
        dbt_link(dbt, e, to);
    }
    g_mutex_unlock(&dbt->lock);
    return dbt_go(f, to->hot);
}

/* By a branch to another page, in 64-bit mode. */
const uint8_t *dbt_slow_far(DbtFrame *f, uint64_t unused, const uint8_t *at)
{
    Dbt     *dbt = f->dbt;
    uint64_t v   = read64(at + 2);
    DbtUnit *u   = (DbtUnit *)(uintptr_t)(v << 8 >> 8);
    DbtExit *e   = &u->exits[v >> 56];

    f->calls.lookup++;
    (void)dbt_is_dead(u); /* as in dbt_slow_insn() */
    f->cpu->rip = e->rip;
    end_shadow(f->cpu);
    if (dbt_is_polled(f)) {
        return dbt_leave(f);
    }
    const uint8_t *first = dbt_run_first(f);
    if (first) {
        return first;
    }
    uint64_t resets = dbt->counters.resets;
    DbtUnit *to     = dbt_far_unit(f);
    if (!to) {
        return dbt_leave(f);
    }
    if (resets == dbt->counters.resets && !dbt_cell_refill(f, e, to)) {
        x86_park(f->cpu);
        g_mutex_lock(&dbt->lock);
        dbt_cell_link(f, e, to);
        g_mutex_unlock(&dbt->lock);
    }
    return dbt_go(f, to->hot);
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
    return dbt_go_on(f);
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
        return dbt_leave(f);
    }
    /* The TLB may have room for only one of the two pages. */
    const X86TlbEntry *e = x86_tlb_slot(cpu, next);
    if (u->host2 && e->fetch != next) {
        x86_translate(cpu, cpu->tlb->mode, next, X86_FETCH);
        if (e->fetch != next) {
            return dbt_leave(f);
        }
    }
    return dbt_go(f, u->hot);
}

/* --- host faults --- */

uint16_t dbt_flags_by(const Recipe *r, const X86Cpu *cpu, uint64_t compared)
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
    case RECIPE_SHIFT: {
        bool wide = r->size == 8;
        a         = compared;
#define SHIFT(insn, suffix, mod)                                                                                       \
    __asm__(insn suffix " %%cl, %" mod "1\n\tlahf\n\tseto %%al" : "=&a"(high), "+&r"(a) : "c"(r->imm) : "cc")
#define EITHER(insn)                                                                                                   \
    if (wide) {                                                                                                        \
        SHIFT(insn, "q", "q");                                                                                         \
    } else {                                                                                                           \
        SHIFT(insn, "l", "k");                                                                                         \
    }
        if (r->reg == 4) {
            EITHER("shl")
        } else if (r->reg == 5) {
            EITHER("shr")
        } else {
            EITHER("sar")
        }
#undef EITHER
#undef SHIFT
        return high;
    }
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
    DbtUnit *u   = dbt_find_unit(f, f->fault_rip);
    uint32_t off = (uint32_t)(f->fault_rip - u->hot);
    unsigned n   = dbt_insn_at(u, off);
    X86Cpu  *cpu = f->cpu;
    uint64_t fl  = f->fault_eflags;

    for (unsigned i = 0; i < u->n_places; i++) {
        const DbtPlace *p = &u->places[i];
        if (p->host == off && p->flags_in_host) {
            cpu->arith = (uint16_t)((fl & 0xd5) << 8 | 0x200 | (fl >> 11 & 1));
        } else if (p->insn == n && p->recipe.kind != RECIPE_NONE) { /* there, or from its check on */
            cpu->arith = dbt_flags_by(&p->recipe, cpu, f->compared);
        }
    }
    if (run_any(f, u, n) == DBT_RAN_ON) {
        cpu->rip = x86_cut_rip(cpu, cpu->rip + f->insn.len);
    }
    return dbt_leave(f);
}

/* --- the run loop --- */

const uint8_t *dbt_next_code(DbtFrame *f, int thrown, const DbtHost *host)
{
    X86Cpu *cpu = f->cpu;
    X86Exit exit;
    bool    over = false;

    if (thrown) {
        if (f->at) { /* a slow access has faulted: whose is it? */
            dbt_take_site(f, f->at);
            f->at = NULL;
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
            to = dbt_run_first(f);
        }
        if (to == f->dbt->stubs[STUB_LEAVE]) {
            continue;
        }
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
        f->vectors = cpu->vector_live;
        return to;
    }
}
