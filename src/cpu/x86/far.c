/* Far transfers: JMP, CALL and RET between segments, call gates, IRET, and the fast system calls.
 *
 * Specification: Intel SDM 2, CALL, IRET, JMP, RET, SYSCALL, SYSRET, SYSENTER, SYSEXIT; SDM 3, 5.8 (December 2023);
 * AMD APM 3 for SYSCALL and SYSENTER on AMD's models. vCPU thread.
 * Loads, checks and pushes come first, the registers change last: a fault leaves the state as it was. */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/quick.h"

static uint64_t cut(uint64_t value, unsigned size)
{
    return size == 8 ? value : size == 4 ? (uint32_t)value : (uint16_t)value;
}

/* RIP of the instruction after the one being executed: what a task switch saves. */
static uint64_t next_rip(X86Cpu *cpu)
{
    return cpu->insn ? x86_insn_next(cpu, cpu->insn) : cpu->rip;
}

static void set_cs(X86Cpu *cpu, uint16_t selector, unsigned cpl, const X86Descriptor *d)
{
    x86_set_segment(cpu, X86_CS, (uint16_t)((selector & 0xfffc) | cpl), d);
}

static void set_cs_real(X86Cpu *cpu, uint16_t selector)
{
    if (cpu->eflags & EFLAGS_VM) {
        x86_set_vm86_segment(cpu, X86_CS, selector);
        return;
    }
    X86Segment *cs = &cpu->seg[X86_CS];
    cs->selector   = selector;
    cs->base       = (uint32_t)selector << 4;
    cs->attr       = (cs->attr & (SEG_DB | SEG_G)) | SEG_P | SEG_S | SEG_W | SEG_A;
}

static void check_target_real(X86Cpu *cpu, uint64_t offset)
{
    uint32_t limit = cpu->eflags & EFLAGS_VM ? 0xffff : cpu->seg[X86_CS].limit;
    if (offset > limit) {
        x86_raise_error(cpu, X86_GP, 0);
    }
}

/* --- code segments and gates --- */

/* Checks a code segment that is entered at the current CPL, directly (JMP, CALL). */
static void need_code_segment(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d)
{
    unsigned rpl = selector & 3u, dpl = x86_desc_dpl(d);
    bool     allowed = x86_desc_is_conforming(d) ? dpl <= cpu->cpl : rpl <= cpu->cpl && dpl == cpu->cpl;
    if (!allowed || x86_bad_code_size(cpu, d)) {
        x86_raise_selector(cpu, X86_GP, selector, 0);
    }
    if (!x86_desc_present(d)) {
        x86_raise_selector(cpu, X86_NP, selector, 0);
    }
}

/* Compatibility mode has the lower half of a 64-bit offset (SDM 2, CALL; processors do so everywhere). */
static uint64_t target_offset(const X86Cpu *cpu, const X86Descriptor *d, uint64_t offset)
{
    return cpu->long_mode && !(x86_desc_attr(d) & SEG_L) ? (uint32_t)offset : offset;
}

/* Reads the descriptor of a far JMP's or CALL's selector. True: of a code segment that may be gone to; false: of the
 * system. */
static bool need_target(X86Cpu *cpu, uint16_t selector, X86Descriptor *d)
{
    if (x86_null_selector(selector)) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    x86_need_descriptor(cpu, selector, cpu->long_mode, X86_GP, 0, d);
    if (!(x86_desc_type(d) & SEG_S)) {
        return false;
    }
    if (!x86_desc_is_code(d)) {
        x86_raise_selector(cpu, X86_GP, selector, 0);
    }
    need_code_segment(cpu, selector, d);
    return true;
}

/* Checks the system descriptor that a far JMP or CALL names. Returns its type. */
static unsigned need_gate(X86Cpu *cpu, uint16_t selector, const X86Descriptor *d)
{
    static const uint32_t legacy = 1u << SYS_TSS16_AVAILABLE | 1u << SYS_CALL_GATE16 | 1u << SYS_TASK_GATE |
                                   1u << SYS_TSS_AVAILABLE | 1u << SYS_CALL_GATE;
    uint32_t types = cpu->long_mode ? 1u << SYS_CALL_GATE : legacy;
    unsigned type  = x86_desc_type(d);
    /* The upper half of a 64-bit gate must look like no descriptor at all, so that nobody jumps into its middle. */
    bool upper_bad = false;
    if (cpu->long_mode && (types >> type & 1)) {
        upper_bad = (x86_load_system(cpu, d->address + 12, 4) & 0x1f00) != 0;
    }
    if (!(types >> type & 1) || upper_bad || x86_desc_dpl(d) < cpu->cpl || x86_desc_dpl(d) < (selector & 3u)) {
        x86_raise_selector(cpu, X86_GP, selector, 0);
    }
    if (!x86_desc_present(d)) {
        x86_raise_selector(cpu, X86_NP, selector, 0);
    }
    return type;
}

typedef struct GateTarget {
    uint16_t      selector;
    uint64_t      offset;
    unsigned      size; /* of what is pushed: 2, 4 or 8 */
    unsigned      parameters;
    X86Descriptor cs;
} GateTarget;

/* Where a call gate leads. The code segment is checked but for what JMP and CALL see differently. */
static GateTarget gate_target(X86Cpu *cpu, const X86Descriptor *gate)
{
    GateTarget t = { .selector = (uint16_t)(gate->low >> 16), .parameters = gate->high & 0x1f };
    if (cpu->long_mode) {
        t.size   = 8;
        t.offset = (gate->low & 0xffff) | (gate->high & 0xffff0000) | (uint64_t)gate->upper << 32;
    } else if (x86_desc_type(gate) == SYS_CALL_GATE) {
        t.size   = 4;
        t.offset = (gate->low & 0xffff) | (gate->high & 0xffff0000);
    } else {
        t.size   = 2;
        t.offset = gate->low & 0xffff;
    }
    if (x86_null_selector(t.selector)) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    x86_need_descriptor(cpu, t.selector, false, X86_GP, 0, &t.cs);
    bool bad_size = cpu->long_mode && (x86_desc_attr(&t.cs) & (SEG_L | SEG_DB)) != SEG_L;
    if (!x86_desc_is_code(&t.cs) || x86_desc_dpl(&t.cs) > cpu->cpl || bad_size) {
        x86_raise_selector(cpu, X86_GP, t.selector, 0);
    }
    return t;
}

static void need_gate_target_present(X86Cpu *cpu, const GateTarget *t)
{
    if (!x86_desc_present(&t->cs)) {
        x86_raise_selector(cpu, X86_NP, t->selector, 0);
    }
}

/* --- JMP --- */

void x86_far_jump(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize)
{
    offset = cut(offset, opsize);
    if (x86_quick_far(cpu, selector, offset, 0, 0)) {
        return;
    }
    if (!x86_protected_mode(cpu)) {
        check_target_real(cpu, offset);
        set_cs_real(cpu, selector);
        cpu->rip = offset;
        x86_update_mode(cpu);
        return;
    }
    X86Descriptor d;
    if (need_target(cpu, selector, &d)) {
        offset = target_offset(cpu, &d, offset);
    } else {
        switch (need_gate(cpu, selector, &d)) {
        case SYS_TASK_GATE: x86_task_gate(cpu, &d, X86_TASK_JUMP, next_rip(cpu), false, 0, 0); return;
        case SYS_TSS16_AVAILABLE:
        case SYS_TSS_AVAILABLE: x86_task_switch(cpu, selector, X86_TASK_JUMP, next_rip(cpu), false, 0, 0); return;
        default: break;
        }
        GateTarget t = gate_target(cpu, &d);
        if (!x86_desc_is_conforming(&t.cs) && x86_desc_dpl(&t.cs) != cpu->cpl) {
            x86_raise_selector(cpu, X86_GP, t.selector, 0);
        }
        need_gate_target_present(cpu, &t);
        selector = t.selector;
        offset   = t.offset;
        d        = t.cs;
    }
    x86_check_target(cpu, &d, offset, 0);
    x86_mark_accessed(cpu, &d);
    set_cs(cpu, selector, cpu->cpl, &d);
    cpu->rip = offset;
    x86_update_mode(cpu);
}

/* --- CALL --- */

static void call_same_ring(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned size, X86Descriptor *d,
                           uint64_t next)
{
    X86Stack stack = x86_stack_current(cpu);
    x86_check_target(cpu, d, offset, 0);
    x86_stack_push(cpu, &stack, cpu->seg[X86_CS].selector, size);
    x86_stack_push(cpu, &stack, next, size);
    x86_mark_accessed(cpu, d);
    set_cs(cpu, selector, cpu->cpl, d);
    x86_set_sp(cpu, stack.width, stack.sp);
    cpu->rip = offset;
    x86_update_mode(cpu);
}

static void call_inner_ring(X86Cpu *cpu, GateTarget *t, uint64_t next)
{
    unsigned cpl   = x86_desc_dpl(&t->cs);
    X86Stack stack = x86_stack_of_ring(cpu, cpl, 0, 0);
    X86Stack from  = x86_stack_current(cpu);
    x86_check_target(cpu, &t->cs, t->offset, 0);
    x86_stack_push(cpu, &stack, cpu->seg[X86_SS].selector, t->size);
    x86_stack_push(cpu, &stack, cpu->gpr[X86_RSP], t->size);
    if (t->size != 8) {
        uint32_t parameters[31];
        for (unsigned i = 0; i < t->parameters; i++) {
            parameters[i] = (uint32_t)x86_stack_pop(cpu, &from, t->size);
        }
        for (unsigned i = t->parameters; i-- > 0;) {
            x86_stack_push(cpu, &stack, parameters[i], t->size);
        }
    }
    x86_stack_push(cpu, &stack, cpu->seg[X86_CS].selector, t->size);
    x86_stack_push(cpu, &stack, next, t->size);
    x86_mark_accessed(cpu, &t->cs);
    x86_stack_enter(cpu, &stack);
    set_cs(cpu, t->selector, cpl, &t->cs);
    cpu->rip = t->offset;
    x86_update_mode(cpu);
}

void x86_far_call(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize, uint64_t next)
{
    offset = cut(offset, opsize);
    if (x86_quick_far(cpu, selector, offset, opsize, next)) {
        return;
    }
    if (!x86_protected_mode(cpu)) {
        X86Stack stack = x86_stack_current(cpu);
        check_target_real(cpu, offset);
        x86_stack_push(cpu, &stack, cpu->seg[X86_CS].selector, opsize);
        x86_stack_push(cpu, &stack, next, opsize);
        set_cs_real(cpu, selector);
        x86_set_sp(cpu, stack.width, stack.sp);
        cpu->rip = offset;
        x86_update_mode(cpu);
        return;
    }
    X86Descriptor d;
    if (need_target(cpu, selector, &d)) {
        call_same_ring(cpu, selector, target_offset(cpu, &d, offset), opsize, &d, next);
        return;
    }
    switch (need_gate(cpu, selector, &d)) {
    case SYS_TASK_GATE: x86_task_gate(cpu, &d, X86_TASK_CALL, next, false, 0, 0); return;
    case SYS_TSS16_AVAILABLE:
    case SYS_TSS_AVAILABLE: x86_task_switch(cpu, selector, X86_TASK_CALL, next, false, 0, 0); return;
    default: break;
    }
    GateTarget t = gate_target(cpu, &d);
    need_gate_target_present(cpu, &t);
    if (!x86_desc_is_conforming(&t.cs) && x86_desc_dpl(&t.cs) < cpu->cpl) {
        call_inner_ring(cpu, &t, next);
    } else {
        call_same_ring(cpu, t.selector, t.offset, t.size, &t.cs, next);
    }
}

/* --- RET and IRET --- */

/* Checks the code segment that RET or IRET goes back to. */
static void need_return_segment(X86Cpu *cpu, uint16_t selector, X86Descriptor *d)
{
    if (x86_null_selector(selector)) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    x86_need_descriptor(cpu, selector, false, X86_GP, 0, d);
    unsigned rpl = selector & 3u, dpl = x86_desc_dpl(d);
    bool     allowed = x86_desc_is_conforming(d) ? dpl <= rpl : dpl == rpl;
    if (rpl < cpu->cpl || !x86_desc_is_code(d) || !allowed || x86_bad_code_size(cpu, d)) {
        x86_raise_selector(cpu, X86_GP, selector, 0);
    }
    if (!x86_desc_present(d)) {
        x86_raise_selector(cpu, X86_NP, selector, 0);
    }
}

/* Checks the stack segment that goes with it. A null one (64-bit targets in rings 0 to 2) leaves *null set. */
static void need_return_stack(X86Cpu *cpu, uint16_t ss, uint16_t cs, const X86Descriptor *code, X86Descriptor *d,
                              bool *null)
{
    *null = false;
    if (x86_null_selector(ss)) {
        bool to64 = cpu->long_mode && x86_desc_attr(code) & SEG_L;
        if (!to64 || (cs & 3) == 3 || (ss & 3) == 3) {
            x86_raise_error(cpu, X86_GP, 0);
        }
        *null = true;
        return;
    }
    x86_need_descriptor(cpu, ss, false, X86_GP, 0, d);
    if (((ss ^ cs) & 3) || !x86_desc_is_writable_data(d) || x86_desc_dpl(d) != (cs & 3u)) {
        x86_raise_selector(cpu, X86_GP, ss, 0);
    }
    if (!x86_desc_present(d)) {
        x86_raise_selector(cpu, X86_SS_FAULT, ss, 0);
    }
    x86_mark_accessed(cpu, d);
}

/* SS:SP of a return to another stack; CS is loaded already. `extra` bytes of parameters are released there. */
static void set_return_stack(X86Cpu *cpu, uint16_t ss, uint64_t sp, const X86Descriptor *d, bool null, unsigned extra)
{
    if (null) {
        x86_set_null_segment(cpu, X86_SS, cpu->seg[X86_CS].selector & 3); /* CPL lives in it */
        cpu->seg[X86_SS].selector = ss;
    } else {
        x86_set_segment(cpu, X86_SS, ss, d);
    }
    bool     to64  = cpu->long_mode && cpu->seg[X86_CS].attr & SEG_L;
    unsigned width = to64 ? 8 : cpu->seg[X86_SS].attr & SEG_DB ? 4 : 2;
    x86_set_sp(cpu, width, sp + extra);
}

void x86_far_return(X86Cpu *cpu, unsigned opsize, unsigned pop_bytes)
{
    if (x86_quick_far_return(cpu, opsize, pop_bytes)) {
        return;
    }
    X86Stack stack    = x86_stack_current(cpu);
    uint64_t offset   = x86_stack_pop(cpu, &stack, opsize);
    uint16_t selector = (uint16_t)x86_stack_pop(cpu, &stack, opsize);
    x86_stack_skip(&stack, pop_bytes);
    if (!x86_protected_mode(cpu)) {
        check_target_real(cpu, offset);
        set_cs_real(cpu, selector);
        x86_set_sp(cpu, stack.width, stack.sp);
        cpu->rip = offset;
        x86_update_mode(cpu);
        return;
    }
    X86Descriptor code, data = { 0 };
    need_return_segment(cpu, selector, &code);
    offset       = target_offset(cpu, &code, offset);
    unsigned rpl = selector & 3u;
    if (rpl == cpu->cpl) {
        x86_check_target(cpu, &code, offset, 0);
        x86_mark_accessed(cpu, &code);
        set_cs(cpu, selector, rpl, &code);
        x86_set_sp(cpu, stack.width, stack.sp);
    } else {
        uint64_t sp = x86_stack_pop(cpu, &stack, opsize);
        uint16_t ss = (uint16_t)x86_stack_pop(cpu, &stack, opsize);
        bool     null;
        need_return_stack(cpu, ss, selector, &code, &data, &null);
        x86_check_target(cpu, &code, offset, 0);
        x86_mark_accessed(cpu, &code);
        set_cs(cpu, selector, rpl, &code);
        set_return_stack(cpu, ss, sp, &data, null, pop_bytes);
        x86_drop_privileged_segments(cpu, rpl);
    }
    cpu->rip = offset;
    x86_update_mode(cpu);
}

static void iret_real(X86Cpu *cpu, unsigned opsize)
{
    bool virtual = (cpu->eflags & EFLAGS_VM) && (cpu->eflags & EFLAGS_IOPL) != EFLAGS_IOPL;
    if (virtual && (!x86_virtual_if(cpu) || opsize != 2)) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    X86Stack stack    = x86_stack_current(cpu);
    uint64_t offset   = x86_stack_pop(cpu, &stack, opsize);
    uint16_t selector = (uint16_t)x86_stack_pop(cpu, &stack, opsize);
    uint64_t flags    = x86_stack_pop(cpu, &stack, opsize);
    check_target_real(cpu, offset);
    if (virtual) {
        if (!x86_set_virtual_flags(cpu, (uint16_t)flags)) {
            x86_raise_error(cpu, X86_GP, 0);
        }
    } else {
        uint64_t mask = x86_popf_mask(cpu, opsize);
        x86_set_eflags(cpu, flags, opsize == 2 ? mask : mask | EFLAGS_RF);
    }
    set_cs_real(cpu, selector);
    x86_set_sp(cpu, stack.width, stack.sp);
    cpu->rip = offset;
    x86_update_mode(cpu);
}

static void iret_to_vm86(X86Cpu *cpu, X86Stack *stack, uint64_t offset, uint16_t cs, uint64_t flags)
{
    static const uint8_t order[] = { X86_ES, X86_DS, X86_FS, X86_GS };
    uint16_t             selectors[4];
    uint64_t             sp = x86_stack_pop(cpu, stack, 4);
    uint16_t             ss = (uint16_t)x86_stack_pop(cpu, stack, 4);
    for (unsigned i = 0; i < 4; i++) {
        selectors[i] = (uint16_t)x86_stack_pop(cpu, stack, 4);
    }
    if (offset > 0xffff) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    x86_set_eflags(cpu, flags, x86_popf_mask(cpu, 4) | EFLAGS_RF | EFLAGS_VM | EFLAGS_VIF | EFLAGS_VIP);
    x86_set_vm86_segment(cpu, X86_CS, cs);
    x86_set_vm86_segment(cpu, X86_SS, ss);
    for (unsigned i = 0; i < 4; i++) {
        x86_set_vm86_segment(cpu, order[i], selectors[i]);
    }
    cpu->gpr[X86_RSP] = (uint32_t)sp;
    cpu->rip          = offset;
    x86_update_mode(cpu);
}

static void iret_from_task(X86Cpu *cpu)
{
    if ((cpu->tr.attr & SEG_UNUSABLE) || cpu->tr.limit < 1) {
        x86_raise_selector(cpu, X86_TS, cpu->tr.selector, 0);
    }
    uint16_t link = (uint16_t)x86_load_system(cpu, cpu->tr.base, 2);
    x86_task_switch(cpu, link, X86_TASK_RETURN, next_rip(cpu), false, 0, 0);
}

void x86_iret(X86Cpu *cpu, unsigned opsize)
{
    cpu->nmi_blocked = false; /* even if it faults (SDM 3, 6.7.1) */
    if (opsize == 8 ? x86_quick_iret(cpu) : x86_quick_iret_legacy(cpu, opsize)) {
        return;
    }
    if (!x86_protected_mode(cpu)) {
        iret_real(cpu, opsize);
        return;
    }
    if (cpu->eflags & EFLAGS_NT) {
        if (cpu->long_mode) {
            x86_raise_error(cpu, X86_GP, 0);
        }
        iret_from_task(cpu);
        return;
    }
    X86Stack stack    = x86_stack_current(cpu);
    uint64_t offset   = x86_stack_pop(cpu, &stack, opsize);
    uint16_t selector = (uint16_t)x86_stack_pop(cpu, &stack, opsize);
    uint64_t flags    = x86_stack_pop(cpu, &stack, opsize);
    if (opsize == 4 && (flags & EFLAGS_VM) && cpu->cpl == 0 && !cpu->long_mode) {
        iret_to_vm86(cpu, &stack, offset, selector, flags);
        return;
    }
    X86Descriptor code, data = { 0 };
    uint64_t      sp   = 0;
    uint16_t      ss   = 0;
    unsigned      rpl  = selector & 3u;
    bool          null = false;
    /* The pops come before the checks so that a page fault on the stack has precedence, as on processors. */
    bool with_stack = cpu->code_size == X86_CODE64 || rpl > cpu->cpl;
    if (with_stack) {
        sp = x86_stack_pop(cpu, &stack, opsize);
        ss = (uint16_t)x86_stack_pop(cpu, &stack, opsize);
    }
    need_return_segment(cpu, selector, &code);
    offset = target_offset(cpu, &code, offset);
    if (with_stack) {
        need_return_stack(cpu, ss, selector, &code, &data, &null);
    }
    x86_check_target(cpu, &code, offset, 0);
    x86_mark_accessed(cpu, &code);

    uint64_t mask = x86_popf_mask(cpu, opsize);
    if (opsize != 2) {
        mask |= EFLAGS_RF;
        if (cpu->cpl == 0) {
            mask |= EFLAGS_VIF | EFLAGS_VIP;
        }
    }
    unsigned old_cpl = cpu->cpl;
    set_cs(cpu, selector, rpl, &code);
    if (with_stack) {
        set_return_stack(cpu, ss, sp, &data, null, 0);
    } else {
        x86_set_sp(cpu, stack.width, stack.sp);
    }
    x86_set_eflags(cpu, flags, mask);
    if (rpl > old_cpl) {
        x86_drop_privileged_segments(cpu, rpl);
    }
    cpu->rip = offset;
    x86_update_mode(cpu);
}

/* --- SYSCALL, SYSRET, SYSENTER, SYSEXIT --- */

static bool is_amd(const X86Cpu *cpu)
{
    return cpu->model && cpu->model->kind == X86_VENDOR_AMD;
}

/* Flat code and data segments of the fast system calls. */
static void set_fast_code(X86Cpu *cpu, uint16_t selector, unsigned cpl, bool wide)
{
    x86_set_flat_segment(cpu, X86_CS, (uint16_t)((selector & 0xfffc) | cpl), cpl,
                         SEG_CODE | SEG_R | SEG_A | (wide ? SEG_L : SEG_DB));
}

static void set_fast_stack(X86Cpu *cpu, uint16_t selector, unsigned cpl)
{
    x86_set_flat_segment(cpu, X86_SS, (uint16_t)(selector | cpl), cpl, SEG_W | SEG_A | SEG_DB);
}

static void check_syscall_enabled(X86Cpu *cpu)
{
    /* Intel's processors have SYSCALL and SYSRET in 64-bit mode only, AMD's in every protected mode. */
    bool mode_ok = is_amd(cpu) ? x86_protected_mode(cpu) : cpu->code_size == X86_CODE64;
    if (!mode_ok || !(cpu->efer & EFER_SCE)) {
        x86_raise(cpu, X86_UD);
    }
}

void x86_syscall(X86Cpu *cpu, uint64_t next)
{
    check_syscall_enabled(cpu);
    uint16_t selector = (uint16_t)(cpu->star >> 32);
    if (cpu->long_mode) {
        uint64_t flags    = x86_get_eflags(cpu) & ~(uint64_t)EFLAGS_RF;
        uint64_t target   = cpu->code_size == X86_CODE64 ? cpu->lstar : cpu->cstar;
        cpu->gpr[X86_RCX] = next;
        cpu->gpr[X86_R11] = flags;
        x86_set_eflags(cpu, flags & ~cpu->sfmask, ~UINT64_C(0));
        set_fast_code(cpu, selector, 0, true);
        cpu->rip = target;
    } else {
        cpu->gpr[X86_RCX] = (uint32_t)next;
        x86_set_eflags(cpu, 0, EFLAGS_IF | EFLAGS_RF | EFLAGS_VM);
        set_fast_code(cpu, selector, 0, false);
        cpu->rip = (uint32_t)cpu->star;
    }
    set_fast_stack(cpu, (uint16_t)(selector + 8), 0); /* its RPL is STAR's */
    x86_update_mode(cpu);
}

void x86_sysret(X86Cpu *cpu, unsigned opsize)
{
    check_syscall_enabled(cpu);
    x86_check_cpl0(cpu);
    uint16_t selector = (uint16_t)(cpu->star >> 48);
    uint64_t rcx      = cpu->gpr[X86_RCX];
    if (cpu->long_mode && opsize == 8) {
        /* Intel's fault in ring 0; AMD's on the first fetch in ring 3. */
        if (!is_amd(cpu) && !x86_canonical(cpu, rcx)) {
            x86_raise_error(cpu, X86_GP, 0);
        }
        set_fast_code(cpu, (uint16_t)((selector & 0xfffc) + 16), 3, true);
        cpu->rip = rcx;
    } else {
        set_fast_code(cpu, selector, 3, false);
        cpu->rip = (uint32_t)rcx;
    }
    if (cpu->long_mode) {
        x86_set_eflags(cpu, cpu->gpr[X86_R11] & 0x3c7fd7, ~UINT64_C(0));
    } else {
        x86_set_eflags(cpu, EFLAGS_IF, EFLAGS_IF);
    }
    /* AMD's processors keep the attributes of SS here. Setting them is what the segment must have been for ring 3 to
     * use it at all, so nobody can tell but a program that relies on the fault. */
    set_fast_stack(cpu, (uint16_t)((selector & 0xfffc) + 8), 3);
    x86_update_mode(cpu);
}

static void check_sysenter(X86Cpu *cpu)
{
    if (is_amd(cpu) && cpu->long_mode) {
        x86_raise(cpu, X86_UD);
    }
    if (!(cpu->cr0 & CR0_PE) || x86_null_selector((uint16_t)cpu->sysenter_cs)) {
        x86_raise_error(cpu, X86_GP, 0);
    }
}

void x86_sysenter(X86Cpu *cpu)
{
    check_sysenter(cpu);
    uint16_t selector = (uint16_t)(cpu->sysenter_cs & 0xfffc);
    bool     wide     = cpu->long_mode;
    x86_set_eflags(cpu, 0, EFLAGS_VM | EFLAGS_IF | EFLAGS_RF);
    set_fast_code(cpu, selector, 0, wide);
    set_fast_stack(cpu, (uint16_t)(selector + 8), 0);
    cpu->gpr[X86_RSP] = wide ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
    cpu->rip          = wide ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip;
    x86_update_mode(cpu);
}

void x86_sysexit(X86Cpu *cpu, unsigned opsize)
{
    check_sysenter(cpu);
    x86_check_cpl0(cpu);
    uint16_t selector = (uint16_t)(cpu->sysenter_cs & 0xfffc);
    bool     wide     = cpu->long_mode && opsize == 8;
    uint64_t rip = cpu->gpr[X86_RDX], rsp = cpu->gpr[X86_RCX];
    if (wide && (!x86_canonical(cpu, rip) || !x86_canonical(cpu, rsp))) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    selector = (uint16_t)(selector + (wide ? 32 : 16));
    set_fast_code(cpu, selector, 3, wide);
    set_fast_stack(cpu, (uint16_t)(selector + 8), 3);
    cpu->gpr[X86_RSP] = wide ? rsp : (uint32_t)rsp;
    cpu->rip          = wide ? rip : (uint32_t)rip;
    x86_update_mode(cpu);
}
