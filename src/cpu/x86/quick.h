/* Transfers, interrupts and segment loads when nothing is out of the ordinary: everything that is read and written is
 * in the TLB, and all checks pass. Whatever else there is goes the long way (seg.c, far.c, intr.c), which raises what
 * is to be raised. All answer false then, and nothing has been changed.
 *
 * vCPU thread. Hot set (park.h); only functions that may be called with the guest's integer registers half in X86Cpu,
 * as accel/dbt/quick.c does. */

#ifndef QUERN_CPU_X86_QUICK_H
#define QUERN_CPU_X86_QUICK_H

#include "cpu/x86/mmu.h"
#include "cpu/x86/segment.h"
#include "cpu/x86/tlb.h"

/* --- quick.c: long mode; the first in all modes --- */
bool x86_quick_deliver(X86Cpu *cpu, unsigned vector, bool software, bool has_error, uint32_t error, uint64_t rip,
                       uint64_t flags);
bool x86_quick_iret(X86Cpu *cpu); /* opsize 8 */

/* --- quick_legacy.c: protected and virtual-8086 mode, not long mode. Operands of 2 or 4 bytes --- */

/* ES, DS, FS or GS, in compatibility mode too, when X86Cpu.segment_key and mode_key stay as they are. */
bool x86_quick_segment(X86Cpu *cpu, unsigned seg, uint16_t selector);

/* Where the descriptor lies that one of these has just used; NULL: no longer in the TLB. */
const void *x86_quick_descriptor(const X86Cpu *cpu, uint16_t selector);

/* Within the ring. `size` 0: a jump. */
bool x86_quick_far(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned size, uint64_t next);
bool x86_quick_far_return(X86Cpu *cpu, unsigned size, unsigned pop_bytes);

bool x86_quick_interrupt(X86Cpu *cpu, unsigned vector, bool software, bool has_error, uint32_t error, uint64_t rip,
                         uint64_t flags);
bool x86_quick_iret_legacy(X86Cpu *cpu, unsigned size);

/* --- for both --- */

/* Host address of `len` bytes that a mode may read or write at once; NULL: not in its TLB, or on two pages. */
static inline void *quick_span(const X86Cpu *cpu, X86TlbMode mode, uint64_t linear, unsigned len, bool write)
{
    const TlbTable *t = cpu->tlb->current->tables[mode];
    if (!t) {
        return NULL;
    }
    const X86TlbEntry *e = &t->entries[(linear >> X86_PAGE_BITS) % X86_TLB_SIZE];
    return x86_tlb_hit(write ? e->write : e->read, linear, len) ? (void *)(linear + e->addend) : NULL;
}

/* The mode of accesses to the stack of a ring. */
static inline X86TlbMode stack_mode(const X86Cpu *cpu, unsigned cpl)
{
    bool smap = (cpu->cr4 & CR4_SMAP) && !(cpu->eflags & EFLAGS_AC);
    return cpl == 3 ? X86_TLB_USER : smap ? X86_TLB_KERNEL_SMAP : X86_TLB_KERNEL_OPEN;
}

/* A descriptor of a table at `base`. false: not there at once. */
static inline bool quick_descriptor_in(const X86Cpu *cpu, uint64_t base, uint32_t limit, uint16_t selector,
                                       X86Descriptor *d)
{
    uint32_t index = selector & 0xfff8u;
    if (index + 7 > limit) {
        return false;
    }
    const void *at = quick_span(cpu, cpu->tlb->system_mode, base + index, 8, false);
    if (!at) {
        return false;
    }
    uint64_t both = x86_guest_get64(at);
    d->low        = (uint32_t)both;
    d->high       = (uint32_t)(both >> 32);
    d->upper      = 0;
    d->selector   = selector;
    return true;
}

/* One of the GDT. */
static inline bool quick_descriptor(const X86Cpu *cpu, uint16_t selector, X86Descriptor *d)
{
    return selector & 0xfff8u && !(selector & 4) &&
           quick_descriptor_in(cpu, cpu->gdt.base, cpu->gdt.limit, selector, d);
}

enum { HIGH_DPL = 3 << 13, HIGH_P = 1 << 15, HIGH_L = 1 << 21, HIGH_D = 1 << 22 };

/* Present, accessed, writable, expand-up data. */
static inline bool is_plain_data(const X86Descriptor *d)
{
    const uint32_t mask = HIGH_P | (SEG_S | SEG_CODE | SEG_E | SEG_W | SEG_A) << 8;
    return (d->high & mask) == (HIGH_P | (SEG_S | SEG_W | SEG_A) << 8);
}

/* Does any access of this ring have its alignment checked? */
static inline bool checks_alignment(const X86Cpu *cpu)
{
    return cpu->cpl == 3 && (cpu->cr0 & CR0_AM) && (cpu->eflags & EFLAGS_AC);
}

/* --- stacks outside long mode --- */

static inline uint32_t cut_sp(unsigned width, uint64_t sp)
{
    return width == 4 ? (uint32_t)sp : (uint16_t)sp;
}

/* A stack. Structures are not copied here: what has been written in parts waits for that. */
typedef struct Stack {
    uint32_t base, limit, attr;
    unsigned cpl, width;
    uint64_t sp;
} Stack;

/* `len` bytes at its top, or those below it: host address; NULL: not at once. */
static inline void *stack_span(const X86Cpu *cpu, const Stack *s, unsigned len, bool push)
{
    uint32_t at = cut_sp(s->width, s->sp);
    if (push && at < len) {
        return NULL;
    }
    at -= push ? len : 0;
    bool usual = (s->attr & (SEG_UNUSABLE | SEG_P | SEG_CODE | SEG_E | SEG_W)) == (SEG_P | SEG_W) &&
                 (uint64_t)at + len - 1 <= s->limit && (s->width == 4 || at + len - 1 <= 0xffff);
    return usual ? quick_span(cpu, stack_mode(cpu, s->cpl), (uint32_t)(s->base + at), len, push) : NULL;
}

static inline void current_stack(const X86Cpu *cpu, Stack *s)
{
    const X86Segment *ss = &cpu->seg[X86_SS];
    s->base              = (uint32_t)ss->base;
    s->limit             = ss->limit;
    s->attr              = ss->attr;
    s->cpl               = cpu->cpl;
    s->width             = cpu->stack_size;
    s->sp                = cpu->gpr[X86_RSP];
}

static inline void *current_span(const X86Cpu *cpu, unsigned len, bool push)
{
    Stack s;
    current_stack(cpu, &s);
    return stack_span(cpu, &s, len, push);
}

static inline void put_word(void *frame, unsigned n, unsigned size, uint32_t value)
{
    if (size == 4) {
        x86_guest_put32((uint8_t *)frame + (size_t)4 * n, value);
    } else {
        x86_guest_put16((uint8_t *)frame + (size_t)2 * n, (uint16_t)value);
    }
}

static inline uint32_t get_word(const void *frame, unsigned n, unsigned size)
{
    return size == 4 ? x86_guest_get32((const uint8_t *)frame + (size_t)4 * n)
                     : x86_guest_get16((const uint8_t *)frame + (size_t)2 * n);
}

#endif
