/* Segment loads, far transfers, INT n and IRET of protected mode by helpers that skip the executor, when nothing is out
 * of the ordinary (cpu/x86/quick_legacy.c). Called by stubs that put only those of the guest's registers into X86Cpu
 * that C does not keep: nothing here may raise, or call what may. An answer of 0 means that nothing has happened, and
 * that the executor has to run the instruction.
 *
 * vCPU thread; part of the hot set. */

#include "accel/dbt/dbt.h"
#include "cpu/x86/cache.h"
#include "cpu/x86/quick.h"

uint64_t dbt_quick_segment(DbtFrame *f, uint64_t selector, uint64_t seg)
{
    if (!x86_quick_segment(f->cpu, (unsigned)seg, (uint16_t)selector)) {
        return 0;
    }
    dbt_take_segment(f, (unsigned)seg);
    return 1;
}

/* Is there anything that the run loop should see? */
static inline bool is_wanted(const DbtFrame *f)
{
    const X86Cpu *cpu = f->cpu;
    return atomic_load_explicit(&f->kick, memory_order_relaxed) == DBT_KICKED || cpu->cache->attention ||
           cpu->tlb->changes.any || cpu->tlb->check_alignment;
}

static bool interrupt(DbtFrame *f, unsigned vector)
{
    X86Cpu *cpu = f->cpu;
    if (vector == X86_DB || cpu->ferr ||
        !x86_quick_interrupt(cpu, vector, true, false, 0, (uint32_t)f->keep[0], x86_get_eflags(cpu))) {
        return false;
    }
    cpu->n_events++;
    return true;
}

static bool transfer(DbtFrame *f, uint64_t value, uint32_t what)
{
    X86Cpu  *cpu    = f->cpu;
    unsigned opsize = what >> 16 & 0xff;

    switch (what >> 24) {
    case QUICK_JUMP: return x86_quick_far(cpu, (uint16_t)what, value, 0, 0);
    case QUICK_CALL: return x86_quick_far(cpu, (uint16_t)what, value, opsize, (uint32_t)f->keep[0]);
    case QUICK_RETURN: return x86_quick_far_return(cpu, opsize, (unsigned)value);
    case QUICK_INT: return interrupt(f, (unsigned)value);
    default: return !cpu->nmi_blocked && x86_quick_iret_legacy(cpu, opsize);
    }
}

const uint8_t *dbt_quick_far(DbtFrame *f, uint64_t value, uint64_t what)
{
    X86Cpu *cpu    = f->cpu;
    bool    system = (uint32_t)what >> 24 >= QUICK_INT;

    if (system) {
        cpu->arith = *(const uint16_t *)&f->flags; /* as it was stored */
    }
    if (is_wanted(f) || !transfer(f, value, (uint32_t)what)) {
        return NULL;
    }
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    if (system) {
        f->flags = cpu->arith;
        f->tlb   = cpu->tlb_entries;
        dbt_take_segments(f);
        if (cpu->eflags & (EFLAGS_TF | EFLAGS_RF)) {
            x86_update_attention(cpu);
        }
        if (is_wanted(f) || x86_requests_due(cpu)) {
            return f->dbt->stubs[STUB_QUICK_KICK];
        }
    } else if (f->segment_changes + 1 == cpu->segment_changes) {
        dbt_take_segment(f, X86_CS);
    } else {
        dbt_take_segments(f);
    }
    const uint8_t *to = dbt_find_tagged(f, f->cs_tag | cpu->rip);
    return to ? to : f->dbt->stubs[STUB_QUICK_LOOKUP];
}
