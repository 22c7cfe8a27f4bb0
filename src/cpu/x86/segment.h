/* Descriptors and stacks as the system side sees them: shared by seg.c, far.c, task.c, intr.c and quick.c, and by
 * nobody else.
 *
 * Specification: Intel SDM 3, chapters 3, 5 and 8 (December 2023). vCPU thread, inside x86_run(). */

#ifndef QUERN_CPU_X86_SEGMENT_H
#define QUERN_CPU_X86_SEGMENT_H

#include "cpu/x86/mem.h"
#include "cpu/x86/system.h"

/* Types of system descriptors (SDM 3, table 3-2): the low four bits with S clear. */
enum {
    SYS_TSS16_AVAILABLE = 1,
    SYS_LDT             = 2,
    SYS_TSS16_BUSY      = 3,
    SYS_CALL_GATE16     = 4,
    SYS_TASK_GATE       = 5,
    SYS_INT_GATE16      = 6,
    SYS_TRAP_GATE16     = 7,
    SYS_TSS_AVAILABLE   = 9,
    SYS_TSS_BUSY        = 11,
    SYS_CALL_GATE       = 12,
    SYS_INT_GATE        = 14,
    SYS_TRAP_GATE       = 15,
};

typedef struct X86Descriptor {
    uint64_t address; /* linear, of its first byte */
    uint32_t low, high;
    uint32_t upper; /* third doubleword of a 16-byte one: bits 63:32 of base or offset; 0 in others */
    uint16_t selector;
} X86Descriptor;

static inline unsigned x86_desc_type(const X86Descriptor *d)
{
    return (d->high >> 8) & 0x1f; /* with S as bit 4 */
}

static inline unsigned x86_desc_dpl(const X86Descriptor *d)
{
    return (d->high >> 13) & 3;
}

static inline bool x86_desc_present(const X86Descriptor *d)
{
    return (d->high >> 15) & 1;
}

static inline bool x86_desc_is_code(const X86Descriptor *d)
{
    return (x86_desc_type(d) & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE);
}

static inline bool x86_desc_is_conforming(const X86Descriptor *d)
{
    return (x86_desc_type(d) & SEG_C) != 0;
}

static inline bool x86_desc_is_writable_data(const X86Descriptor *d)
{
    return (x86_desc_type(d) & (SEG_S | SEG_CODE | SEG_W)) == (SEG_S | SEG_W);
}

/* SEG_* attributes. */
static inline uint32_t x86_desc_attr(const X86Descriptor *d)
{
    return (d->high >> 8) & 0xf0ff;
}

static inline uint32_t x86_desc_base(const X86Descriptor *d)
{
    return d->low >> 16 | (d->high & 0xff) << 16 | (d->high & 0xff000000);
}

static inline uint32_t x86_desc_limit(const X86Descriptor *d)
{
    uint32_t limit = (d->low & 0xffff) | (d->high & 0x000f0000);
    return d->high & (1u << 23) ? limit << 12 | 0xfff : limit;
}

/* The register that holds it, member by member: a copy of what has just been written in parts waits for it. */
static inline void x86_desc_fill(X86Segment *s, const X86Descriptor *d)
{
    s->base     = x86_desc_base(d) | (uint64_t)d->upper << 32;
    s->limit    = x86_desc_limit(d);
    s->attr     = x86_desc_attr(d);
    s->selector = d->selector;
}

static inline X86Segment x86_desc_segment(const X86Descriptor *d)
{
    X86Segment s = { 0 };
    x86_desc_fill(&s, d);
    return s;
}

static inline bool x86_null_selector(uint16_t selector)
{
    return (selector & 0xfffc) == 0;
}

static inline bool x86_protected_mode(const X86Cpu *cpu)
{
    return (cpu->cr0 & CR0_PE) && !(cpu->eflags & EFLAGS_VM);
}

/* Reads the descriptor of a selector that is not null: 8 bytes, or 16 when `system16` is set and it is a system
 * descriptor. false: outside its table. */
bool x86_read_descriptor(X86Cpu *cpu, uint16_t selector, bool system16, X86Descriptor *d);

/* The same, raising `vector` with the selector's error code and `ext`. */
void x86_need_descriptor(X86Cpu *cpu, uint16_t selector, bool system16, X86Vector vector, unsigned ext,
                         X86Descriptor *d);

_Noreturn void x86_raise_selector(X86Cpu *cpu, X86Vector vector, uint16_t selector, unsigned ext);

/* Sets the accessed bit in memory when it is clear, and in *d. */
void x86_mark_accessed(X86Cpu *cpu, X86Descriptor *d);

/* Fills the hidden part from a descriptor that has been checked. The caller calls x86_update_mode(). */
void x86_set_segment(X86Cpu *cpu, unsigned seg, uint16_t selector, const X86Descriptor *d);
void x86_set_null_segment(X86Cpu *cpu, unsigned seg, uint16_t selector);

/* CS or SS as SYSCALL and its relatives set them: flat, 4 GiB. `attr` without SEG_P, SEG_S and SEG_G. */
void x86_set_flat_segment(X86Cpu *cpu, unsigned seg, uint16_t selector, unsigned dpl, uint32_t attr);

/* Virtual-8086 mode's hidden part of every segment. */
void x86_set_vm86_segment(X86Cpu *cpu, unsigned seg, uint16_t selector);

/* May `len` bytes at `offset` be reached inside a segment with this limit and these attributes? */
bool x86_inside_limit(uint32_t limit, uint32_t attr, uint64_t offset, unsigned len);

/* A stack that pushes go to before the transfer is certain: the current one or an inner ring's. */
typedef struct X86Stack {
    X86Segment seg;
    uint64_t   sp;
    uint8_t    width; /* of the stack pointer: 2, 4 or 8 */
    uint8_t    cpl;   /* privilege of the accesses */
    uint32_t   code;  /* error code of its #SS */
} X86Stack;

X86Stack x86_stack_current(X86Cpu *cpu);
void     x86_stack_push(X86Cpu *cpu, X86Stack *stack, uint64_t value, unsigned size);
uint64_t x86_stack_pop(X86Cpu *cpu, X86Stack *stack, unsigned size);
void     x86_stack_skip(X86Stack *stack, unsigned bytes); /* releases bytes */

/* Makes sp the stack pointer: its low 16, 32 or 64 bits. */
void x86_set_sp(X86Cpu *cpu, unsigned width, uint64_t sp);

/* The stack of an inner ring out of the TSS, checked as for call gates and interrupts: #TS, #SS with `ext`. In long
 * mode SS becomes null and `ist` (0: none) chooses the pointer. Nothing is changed. */
X86Stack x86_stack_of_ring(X86Cpu *cpu, unsigned cpl, unsigned ist, unsigned ext);

/* Sets SS:SP to a stack made by x86_stack_of_ring(). */
void x86_stack_enter(X86Cpu *cpu, const X86Stack *stack);

/* Offset inside a code segment to be entered: canonical, or within the limit; else #GP(ext). */
void x86_check_target(X86Cpu *cpu, const X86Descriptor *cs, uint64_t offset, unsigned ext);

/* A code descriptor whose L and D bits contradict each other in long mode. */
static inline bool x86_bad_code_size(const X86Cpu *cpu, const X86Descriptor *d)
{
    return cpu->long_mode && (x86_desc_attr(d) & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB);
}

/* x86_update_mode() when nothing but CS has changed, in the same ring of protected mode outside long mode. */
void x86_update_code(X86Cpu *cpu);

/* What x86_linear() lets through: X86SegmentKind. */
static inline unsigned x86_kind_of(uint32_t limit, uint32_t attr, bool protected)
{
    if (attr & SEG_UNUSABLE) {
        return X86_SEGMENT_OTHER;
    }
    bool code = attr & SEG_CODE, writable = true;
    if (protected) {
        if (!(attr & SEG_P) || (code ? !(attr & SEG_R) : attr & SEG_E)) {
            return X86_SEGMENT_OTHER;
        }
        writable = !code && attr & SEG_W;
    }
    unsigned kind = limit == 0xffff ? X86_SEGMENT_64K : limit == UINT32_MAX ? X86_SEGMENT_4G : X86_SEGMENT_LIMIT;
    return kind | (writable ? X86_SEGMENT_WRITABLE : 0);
}

/* After CPL has risen: segments that the new CPL may not use become null. */
void x86_drop_privileged_segments(X86Cpu *cpu, unsigned cpl);

/* --- intr.c --- */
typedef enum X86FaultPair { X86_FAULTS_SERIAL, X86_FAULTS_DOUBLE, X86_FAULTS_SHUTDOWN } X86FaultPair;

/* What a second fault means while `first` is being delivered (SDM 3, table 6-5). */
X86FaultPair x86_combine_faults(X86Event event, unsigned first, X86Vector second);

/* --- task.c --- */
typedef enum X86TaskSwitch { X86_TASK_JUMP, X86_TASK_CALL, X86_TASK_RETURN, X86_TASK_INTERRUPT } X86TaskSwitch;

/* Switches to the task of a TSS selector. `next` is saved as the old task's EIP. A fault before the switch is raised
 * as usual, one after it is delivered in the new task. With X86_TASK_INTERRUPT an error code may be pushed on the new
 * stack, and faults carry `ext`. */
void x86_task_switch(X86Cpu *cpu, uint16_t selector, X86TaskSwitch how, uint64_t next, bool has_error, uint32_t error,
                     unsigned ext);

/* Through the task gate `gate` of GDT, LDT or IDT, whose own privilege checks are done. */
void x86_task_gate(X86Cpu *cpu, const X86Descriptor *gate, X86TaskSwitch how, uint64_t next, bool has_error,
                   uint32_t error, unsigned ext);

#endif
