/* Segment loads, far transfers, interrupts and IRET of protected and virtual-8086 mode when nothing is out of the
 * ordinary: see quick.h. What is usual: descriptors that are accessed already, expand-up stacks that do not wrap, code
 * that is not conforming, no task gate, 32-bit TSS.
 *
 * Specification: Intel SDM 2, CALL, INT n, IRET, JMP, MOV, RET; SDM 3, 5.8, 6.12 and 21.2 (December 2023).
 * vCPU thread. Hot set (park.h). */

#include "cpu/x86/quick.h"

/* --- descriptors --- */

static inline __attribute__((always_inline)) bool find_descriptor(const X86Cpu *cpu, uint16_t selector,
                                                                  X86Descriptor *d)
{
    if (selector & 4) {
        return !(cpu->ldt.attr & SEG_UNUSABLE) && quick_descriptor_in(cpu, cpu->ldt.base, cpu->ldt.limit, selector, d);
    }
    return quick_descriptor(cpu, selector, d);
}

/* Present, accessed, not conforming code of a ring; with `offset` within its limit. */
static bool is_plain_code(const X86Descriptor *d, unsigned dpl, uint64_t offset)
{
    const uint32_t mask = HIGH_P | (SEG_S | SEG_CODE | SEG_C | SEG_A) << 8;
    return (d->high & mask) == (HIGH_P | (SEG_S | SEG_CODE | SEG_A) << 8) && x86_desc_dpl(d) == dpl &&
           offset <= x86_desc_limit(d);
}

static inline bool is_usual(const X86Cpu *cpu)
{
    return x86_protected_mode(cpu) && !cpu->long_mode && !checks_alignment(cpu);
}

const void *x86_quick_descriptor(const X86Cpu *cpu, uint16_t selector)
{
    bool     local = selector & 4;
    uint64_t base  = local ? cpu->ldt.base : cpu->gdt.base;
    return quick_span(cpu, cpu->tlb->system_mode, base + (selector & 0xfff8u), 8, false);
}

bool x86_quick_segment(X86Cpu *cpu, unsigned seg, uint16_t selector)
{
    const uint32_t present = HIGH_P | (SEG_S | SEG_A) << 8;
    X86Descriptor  d;

    if (!x86_protected_mode(cpu) || !find_descriptor(cpu, selector, &d) || (d.high & present) != present) {
        return false;
    }
    unsigned type = x86_desc_type(&d), dpl = x86_desc_dpl(&d);
    if ((type & SEG_CODE && (type & (SEG_R | SEG_C)) != SEG_R) || (selector & 3u) > dpl || cpu->cpl > dpl) {
        return false;
    }
    /* All that is derived of segments stays as it is. */
    X86Segment *s     = &cpu->seg[seg];
    uint32_t    limit = x86_desc_limit(&d);
    if (x86_kind_of(limit, x86_desc_attr(&d), true) != x86_segment_kind(cpu->segment_key, seg) ||
        (limit == UINT32_MAX && (x86_desc_base(&d) == 0) != (s->base == 0))) {
        return false;
    }
    x86_desc_fill(s, &d);
    cpu->segment_changes++;
    return true;
}

/* --- far transfers --- */

static void enter_code(X86Cpu *cpu, const X86Descriptor *d, uint64_t offset)
{
    x86_set_segment(cpu, X86_CS, (uint16_t)((d->selector & 0xfffc) | cpu->cpl), d);
    cpu->rip = offset;
    x86_update_code(cpu);
}

bool x86_quick_far(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned size, uint64_t next)
{
    X86Descriptor d;
    if (!is_usual(cpu) || !find_descriptor(cpu, selector, &d) || (selector & 3u) > cpu->cpl ||
        !is_plain_code(&d, cpu->cpl, offset)) {
        return false;
    }
    if (size) {
        void *frame = current_span(cpu, 2 * size, true);
        if (!frame) {
            return false;
        }
        put_word(frame, 0, size, (uint32_t)next);
        put_word(frame, 1, size, cpu->seg[X86_CS].selector);
        x86_set_sp(cpu, cpu->stack_size, cpu->gpr[X86_RSP] - 2 * size);
    }
    enter_code(cpu, &d, offset);
    return true;
}

bool x86_quick_far_return(X86Cpu *cpu, unsigned size, unsigned pop_bytes)
{
    const void *frame = is_usual(cpu) ? current_span(cpu, 2 * size, false) : NULL;
    if (!frame) {
        return false;
    }
    uint32_t      offset   = get_word(frame, 0, size);
    uint16_t      selector = (uint16_t)get_word(frame, 1, size);
    X86Descriptor d;
    if ((selector & 3u) != cpu->cpl || !find_descriptor(cpu, selector, &d) || !is_plain_code(&d, cpu->cpl, offset)) {
        return false;
    }
    x86_set_sp(cpu, cpu->stack_size, cpu->gpr[X86_RSP] + 2 * size + pop_bytes);
    enter_code(cpu, &d, offset);
    return true;
}

/* --- interrupts --- */

/* The stack of an inner ring and its descriptor. */
static inline __attribute__((always_inline)) bool inner_stack(const X86Cpu *cpu, unsigned cpl, Stack *s,
                                                              X86Descriptor *d)
{
    uint32_t at = 4 + 8 * cpl;
    if ((cpu->tr.attr & SEG_UNUSABLE) || (cpu->tr.attr & SEG_TYPE) < SYS_TSS_AVAILABLE || at + 5 > cpu->tr.limit) {
        return false;
    }
    const void *from = quick_span(cpu, cpu->tlb->system_mode, cpu->tr.base + at, 8, false);
    if (!from) {
        return false;
    }
    uint16_t selector = x86_guest_get16((const uint8_t *)from + 4);
    if (!find_descriptor(cpu, selector, d) || !is_plain_data(d) || (selector & 3u) != cpl || x86_desc_dpl(d) != cpl) {
        return false;
    }
    s->base  = x86_desc_base(d);
    s->limit = x86_desc_limit(d);
    s->attr  = x86_desc_attr(d);
    s->cpl   = cpl;
    s->width = s->attr & SEG_DB ? 4 : 2;
    s->sp    = x86_guest_get32(from);
    return true;
}

bool x86_quick_interrupt(X86Cpu *cpu, unsigned vector, bool software, bool has_error, uint32_t error, uint64_t rip,
                         uint64_t flags)
{
    static const uint8_t order[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    bool                 vm86    = cpu->eflags & EFLAGS_VM;

    if (!(cpu->cr0 & CR0_PE) || cpu->long_mode || checks_alignment(cpu) || vector * 8 + 7 > cpu->idt.limit ||
        (vm86 && software && ((cpu->cr4 & CR4_VME) || (cpu->eflags & EFLAGS_IOPL) != EFLAGS_IOPL))) {
        return false;
    }
    const void *at = quick_span(cpu, cpu->tlb->system_mode, cpu->idt.base + vector * 8, 8, false);
    if (!at) {
        return false;
    }
    uint64_t gate = x86_guest_get64(at);
    uint32_t high = (uint32_t)(gate >> 32);
    unsigned type = high >> 8 & 0x1f, size = type & 8 ? 4 : 2;
    if ((type & 0x16) != SYS_INT_GATE16 || !(high & HIGH_P) || (software && (high >> 13 & 3) < cpu->cpl)) {
        return false;
    }
    uint32_t      offset = (uint32_t)(gate & 0xffff) | (size == 4 ? high & 0xffff0000 : 0);
    X86Descriptor cs;
    if (!find_descriptor(cpu, (uint16_t)(gate >> 16), &cs)) {
        return false;
    }
    unsigned cpl = x86_desc_dpl(&cs);
    if (cpl > cpu->cpl || (vm86 && cpl) || !is_plain_code(&cs, cpl, offset)) {
        return false;
    }

    bool          inner = cpl < cpu->cpl;
    Stack         stack;
    X86Descriptor ss = { 0 };
    if (!inner) {
        current_stack(cpu, &stack);
    } else if (!inner_stack(cpu, cpl, &stack, &ss)) {
        return false;
    }
    unsigned n = has_error, words = n + 3 + (inner ? 2 : 0) + (vm86 ? 4 : 0);
    void    *frame = stack_span(cpu, &stack, words * size, true);
    if (!frame) {
        return false;
    }
    if (has_error) {
        put_word(frame, 0, size, error);
    }
    put_word(frame, n++, size, (uint32_t)rip);
    put_word(frame, n++, size, cpu->seg[X86_CS].selector);
    put_word(frame, n++, size, (uint32_t)flags);
    if (inner) {
        put_word(frame, n++, size, (uint32_t)cpu->gpr[X86_RSP]);
        put_word(frame, n++, size, cpu->seg[X86_SS].selector);
        x86_desc_fill(&cpu->seg[X86_SS], &ss);
    }
    for (unsigned i = 0; vm86 && i < sizeof order; i++) {
        put_word(frame, n++, size, cpu->seg[order[i]].selector);
        x86_set_null_segment(cpu, order[i], 0);
    }
    x86_set_sp(cpu, stack.width, stack.sp - words * size);
    x86_set_segment(cpu, X86_CS, (uint16_t)((cs.selector & 0xfffc) | cpl), &cs);
    cpu->eflags &= ~(uint32_t)(EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM | (type & 1 ? 0 : EFLAGS_IF));
    cpu->rip = offset;
    x86_update_mode(cpu);
    return true;
}

/* The rest of a frame, and virtual-8086 mode. */
static bool iret_to_vm86(X86Cpu *cpu, uint32_t offset, uint16_t selector, uint32_t flags)
{
    static const uint8_t order[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    const void          *frame   = current_span(cpu, 9 * 4, false);
    if (!frame || offset > 0xffff) {
        return false;
    }
    uint32_t sp = get_word(frame, 3, 4);
    x86_set_eflags(cpu, flags, x86_popf_mask(cpu, 4) | EFLAGS_RF | EFLAGS_VM | EFLAGS_VIF | EFLAGS_VIP);
    x86_set_vm86_segment(cpu, X86_CS, selector);
    x86_set_vm86_segment(cpu, X86_SS, (uint16_t)get_word(frame, 4, 4));
    for (unsigned i = 0; i < sizeof order; i++) {
        x86_set_vm86_segment(cpu, order[i], (uint16_t)get_word(frame, 5 + i, 4));
    }
    cpu->gpr[X86_RSP] = sp;
    cpu->rip          = offset;
    x86_update_mode(cpu);
    return true;
}

bool x86_quick_iret_legacy(X86Cpu *cpu, unsigned size)
{
    const void *frame = is_usual(cpu) && !(cpu->eflags & EFLAGS_NT) ? current_span(cpu, 3 * size, false) : NULL;
    if (!frame) {
        return false;
    }
    uint32_t offset = get_word(frame, 0, size), flags = get_word(frame, 2, size);
    uint16_t selector = (uint16_t)get_word(frame, 1, size);
    if (size == 4 && flags & EFLAGS_VM && cpu->cpl == 0) {
        return iret_to_vm86(cpu, offset, selector, flags);
    }
    X86Descriptor code, data;
    unsigned      rpl = selector & 3u, words = 3;
    bool          outer = rpl > cpu->cpl;
    if (rpl < cpu->cpl || !find_descriptor(cpu, selector, &code) || !is_plain_code(&code, rpl, offset)) {
        return false;
    }
    uint32_t sp = 0;
    if (outer) {
        words = 5;
        frame = current_span(cpu, words * size, false);
        if (!frame) {
            return false;
        }
        sp          = get_word(frame, 3, size);
        uint16_t ss = (uint16_t)get_word(frame, 4, size);
        if ((ss & 3u) != rpl || !find_descriptor(cpu, ss, &data) || !is_plain_data(&data) ||
            x86_desc_dpl(&data) != rpl) {
            return false;
        }
    }
    uint64_t mask = x86_popf_mask(cpu, size);
    if (size != 2) {
        mask |= EFLAGS_RF | (cpu->cpl == 0 ? EFLAGS_VIF | EFLAGS_VIP : 0);
    }
    if (outer) {
        x86_set_segment(cpu, X86_SS, data.selector, &data);
        x86_set_sp(cpu, cpu->seg[X86_SS].attr & SEG_DB ? 4 : 2, sp);
    } else {
        x86_set_sp(cpu, cpu->stack_size, cpu->gpr[X86_RSP] + words * size);
    }
    x86_set_segment(cpu, X86_CS, selector, &code);
    x86_set_eflags(cpu, flags, mask);
    if (outer) {
        x86_drop_privileged_segments(cpu, rpl);
    }
    cpu->rip = offset;
    x86_update_mode(cpu);
    return true;
}
