/* Segment loads, far transfers, INT n and IRET of protected mode by helpers that skip the executor, when nothing is out
 * of the ordinary (cpu/x86/quick_legacy.c). Called by stubs that put only those of the guest's registers into X86Cpu
 * that C does not keep: nothing here may raise, or call what may. An answer of 0 means that nothing has happened, and
 * that the executor has to run the instruction.
 *
 * vCPU thread; part of the hot set. */

#include "cpu/x86/quick.h"
#include "accel/dbt/dbt.h"
#include "cpu/x86/cache.h"

/* --- descriptors that were used --- */

void dbt_descriptors_flush(DbtFrame *f)
{
    for (unsigned i = 0; i < DBT_DESCRIPTORS; i++) {
        f->descriptors[i].selector = DBT_NO_SELECTOR;
    }
    f->descriptors_used = false;
}

void dbt_descriptors_check(DbtFrame *f)
{
    const X86Cpu *cpu = f->cpu;
    if (f->descriptors_cpl != cpu->cpl || f->descriptors_mode != cpu->tlb->system_mode ||
        f->descriptors_gdt != cpu->gdt.base || f->descriptors_gdt_limit != cpu->gdt.limit ||
        f->descriptors_ldt != cpu->ldt.base || f->descriptors_ldt_limit != cpu->ldt.limit) {
        dbt_descriptors_flush(f);
    }
}

/* What a segment register has just been loaded with. NULL: it cannot be kept. */
static DbtDescriptor *keep_descriptor(DbtFrame *f, const X86Segment *s, uint16_t selector)
{
    const X86Cpu  *cpu  = f->cpu;
    const void    *host = x86_quick_descriptor(cpu, selector);
    X86Descriptor  d    = { 0 };
    DbtDescriptor *to   = &f->descriptors[dbt_descriptor_slot(selector)];
    if (!host) {
        return NULL;
    }
    uint64_t raw = x86_guest_get64(host);
    d.low        = (uint32_t)raw;
    d.high       = (uint32_t)(raw >> 32);
    if (x86_desc_base(&d) != s->base || x86_desc_limit(&d) != s->limit || x86_desc_attr(&d) != s->attr) {
        return NULL; /* another vCPU has changed it meanwhile */
    }
    if (!f->descriptors_used) {
        f->descriptors_used      = true;
        f->descriptors_cpl       = cpu->cpl;
        f->descriptors_mode      = (uint8_t)cpu->tlb->system_mode;
        f->descriptors_gdt       = cpu->gdt.base;
        f->descriptors_gdt_limit = cpu->gdt.limit;
        f->descriptors_ldt       = cpu->ldt.base;
        f->descriptors_ldt_limit = cpu->ldt.limit;
    }
    to->selector = selector;
    to->kind     = DBT_NO_KIND;
    to->code     = 0;
    to->raw      = raw;
    to->host     = host;
    to->base     = s->base;
    to->limit    = s->limit;
    to->attr     = s->attr;
    return to;
}

uint64_t dbt_quick_segment(DbtFrame *f, uint64_t selector, uint64_t seg)
{
    const X86Segment *s = &f->cpu->seg[seg];
    if (!x86_quick_segment(f->cpu, (unsigned)seg, (uint16_t)selector)) {
        return 0;
    }
    dbt_take_segment(f, (unsigned)seg);
    DbtDescriptor *d = keep_descriptor(f, s, (uint16_t)selector);
    if (d) {
        d->kind = (uint8_t)x86_kind_of(s->limit, s->attr, true);
    }
    return 1;
}

/* CS has just been loaded with this selector, in the ring that runs. What may make code flat is not kept. */
static void keep_code(DbtFrame *f, uint16_t selector)
{
    const X86Cpu     *cpu = f->cpu;
    const X86Segment *cs  = &cpu->seg[X86_CS];
    DbtDescriptor    *d   = cs->limit == UINT32_MAX ? NULL : keep_descriptor(f, cs, selector);
    if (d) {
        d->code    = (uint8_t)(cpu->code_size + 1);
        d->tag     = f->cs_tag;
        d->tag_key = dbt_key_of(cpu);
        d->key     = cpu->segment_key & X86_SEGMENT_KEY_CODE;
    }
}

/* --- transfers --- */

/* To `offset` in a code segment that was entered before, in the same mode but for what CS makes of it. */
static bool enter_again(DbtFrame *f, uint32_t selector, uint32_t offset, unsigned push, uint32_t next)
{
    X86Cpu              *cpu = f->cpu;
    X86Segment          *cs  = &cpu->seg[X86_CS];
    const DbtDescriptor *d   = &f->descriptors[dbt_descriptor_slot(selector)];
    if (d->selector != selector || !d->code || x86_guest_get64(d->host) != d->raw || offset > d->limit) {
        return false;
    }
    uint64_t key = (dbt_key_of(cpu) & ~X86_SEGMENT_KEY_CODE) | d->key;
    if (key != d->tag_key || d->code != cpu->code_size + 1) {
        return false;
    }
    if (push) {
        void *frame = current_span(cpu, 2 * push, true);
        if (!frame) {
            return false;
        }
        put_word(frame, 0, push, next);
        put_word(frame, 1, push, cs->selector);
        x86_set_sp(cpu, cpu->stack_size, cpu->gpr[X86_RSP] - 2 * push);
    }
    cpu->segment_key = (cpu->segment_key & ~X86_SEGMENT_KEY_CODE) | d->key;
    cpu->rip         = offset;
    cs->base         = d->base;
    cs->limit        = d->limit;
    cs->attr         = d->attr;
    cs->selector     = (uint16_t)((selector & 0xfffc) | cpu->cpl);
    dbt_take_code(f, key, d->tag);
    return true;
}

static bool return_again(DbtFrame *f, unsigned size, unsigned pop_bytes)
{
    X86Cpu     *cpu   = f->cpu;
    const void *frame = current_span(cpu, 2 * size, false);
    if (!frame) {
        return false;
    }
    uint32_t offset = get_word(frame, 0, size), selector = get_word(frame, 1, size) & 0xffff;
    if ((selector & 3) != cpu->cpl || !enter_again(f, selector, offset, 0, 0)) {
        return false;
    }
    x86_set_sp(cpu, cpu->stack_size, cpu->gpr[X86_RSP] + 2 * size + pop_bytes);
    return true;
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
    X86Cpu  *cpu  = f->cpu;
    unsigned kind = (uint32_t)what >> 24, opsize = what >> 16 & 0xff;
    bool     system = kind >= QUICK_INT, again = false;

    if (system) {
        const volatile uint8_t *flags = (const uint8_t *)&f->flags; /* as they were stored */
        cpu->arith                    = (uint16_t)(flags[1] << 8 | flags[0]);
    }
    if (is_wanted(f)) {
        return NULL;
    }
    if (kind == QUICK_RETURN) {
        again = return_again(f, opsize, (unsigned)value);
    } else if (!system) {
        again = enter_again(f, what & 0xffff, (uint32_t)value, kind == QUICK_CALL ? opsize : 0, (uint32_t)f->keep[0]);
    }
    if (!again && !transfer(f, value, (uint32_t)what)) {
        return NULL;
    }
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    if (again) {
        /* dbt_take_code() has done it */
    } else if (system) {
        f->flags = cpu->arith;
        f->tlb   = cpu->tlb_entries;
        dbt_take_segments(f);
        if (cpu->eflags & (EFLAGS_TF | EFLAGS_RF)) {
            x86_update_attention(cpu);
        }
        if (is_wanted(f) || x86_requests_due(cpu)) {
            return f->dbt->stubs[STUB_QUICK_KICK];
        }
    } else {
        dbt_take_segments(f);
        keep_code(f, kind == QUICK_RETURN ? cpu->seg[X86_CS].selector : (uint16_t)what);
    }
    const uint8_t *to = dbt_find_tagged(f, f->cs_tag | cpu->rip);
    return to ? to : f->dbt->stubs[STUB_QUICK_LOOKUP];
}
