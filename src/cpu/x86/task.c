/* Hardware task switches: 32-bit and 16-bit TSSs, task gates, nested tasks.
 *
 * Specification: Intel SDM 3, chapter 8 (December 2023). vCPU thread. Legacy protected mode only: long mode has no
 * task switches and its callers refuse the selectors. Up to the point where the new task's registers are loaded,
 * faults belong to the old task; later ones are delivered in the new one. */

#include "cpu/x86/insn.h"
#include "cpu/x86/segment.h"

/* Where things lie in a TSS (SDM 3, figures 8-2 and 8-10). */
typedef struct TssLayout {
    uint8_t size;  /* of a register slot */
    uint8_t eip;   /* EIP, EFLAGS, EAX to EDI, then the segments, each in a slot */
    uint8_t n_seg; /* ES, CS, SS, DS and for 32 bits FS, GS */
    uint8_t ldt;
    uint8_t length; /* smallest TSS */
} TssLayout;

static const TssLayout tss32 = { .size = 4, .eip = 0x20, .n_seg = 6, .ldt = 0x60, .length = 0x68 };
static const TssLayout tss16 = { .size = 2, .eip = 0x0e, .n_seg = 4, .ldt = 0x2a, .length = 0x2c };

enum { TSS32_CR3 = 0x1c, TSS32_TRAP = 0x64 };

typedef struct Task {
    uint32_t eip, eflags, gpr[8], cr3;
    uint16_t seg[6], ldt;
    bool     trap;
} Task;

static void read_task(X86Cpu *cpu, uint64_t base, const TssLayout *layout, Task *task)
{
    uint64_t at  = base + layout->eip;
    task->eip    = (uint32_t)x86_load_system(cpu, at, layout->size);
    task->eflags = (uint32_t)x86_load_system(cpu, at + layout->size, layout->size);
    at += 2u * layout->size;
    for (unsigned i = 0; i < 8; i++, at += layout->size) {
        task->gpr[i] = (uint32_t)x86_load_system(cpu, at, layout->size);
        if (layout->size == 2) {
            task->gpr[i] |= 0xffff0000; /* as the 80386 and its successors leave the upper halves */
        }
    }
    for (unsigned i = 0; i < layout->n_seg; i++, at += layout->size) {
        task->seg[i] = (uint16_t)x86_load_system(cpu, at, 2);
    }
    task->ldt = (uint16_t)x86_load_system(cpu, base + layout->ldt, 2);
    if (layout->size == 4) {
        task->cr3  = (uint32_t)x86_load_system(cpu, base + TSS32_CR3, 4);
        task->trap = x86_load_system(cpu, base + TSS32_TRAP, 1) & 1;
    }
}

static void write_task(X86Cpu *cpu, uint64_t base, const TssLayout *layout, uint32_t eip, uint32_t eflags)
{
    uint64_t at = base + layout->eip;
    x86_store_system(cpu, at, eip, layout->size);
    x86_store_system(cpu, at + layout->size, eflags, layout->size);
    at += 2u * layout->size;
    for (unsigned i = 0; i < 8; i++, at += layout->size) {
        x86_store_system(cpu, at, cpu->gpr[i], layout->size);
    }
    for (unsigned i = 0; i < layout->n_seg; i++, at += layout->size) {
        x86_store_system(cpu, at, cpu->seg[i].selector, 2);
    }
}

static void set_busy(X86Cpu *cpu, uint16_t selector, bool busy)
{
    uint64_t address = cpu->gdt.base + (selector & 0xfff8u) + 5;
    uint64_t byte    = x86_load_system(cpu, address, 1);
    x86_store_system(cpu, address, busy ? byte | 2 : byte & ~UINT64_C(2), 1);
}

/* --- the new task's segments: every fault is #TS, #NP or #SS with the selector, in the new task --- */

static void load_task_ldt(X86Cpu *cpu, uint16_t selector)
{
    cpu->ldt = (X86Segment){ .attr = SEG_UNUSABLE, .selector = selector };
    if (x86_null_selector(selector)) {
        return;
    }
    X86Descriptor d;
    if ((selector & 4) || !x86_read_descriptor(cpu, selector, false, &d) || x86_desc_type(&d) != SYS_LDT ||
        !x86_desc_present(&d)) {
        x86_raise_selector(cpu, X86_TS, selector, 0);
    }
    cpu->ldt = x86_desc_segment(&d);
}

static void load_task_code(X86Cpu *cpu, uint16_t selector)
{
    X86Descriptor d;
    unsigned      cpl = selector & 3u;
    if (x86_null_selector(selector)) {
        x86_raise_selector(cpu, X86_TS, selector, 0);
    }
    x86_need_descriptor(cpu, selector, false, X86_TS, 0, &d);
    unsigned dpl = x86_desc_dpl(&d);
    if (!x86_desc_is_code(&d) || (x86_desc_is_conforming(&d) ? dpl > cpl : dpl != cpl)) {
        x86_raise_selector(cpu, X86_TS, selector, 0);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_selector(cpu, X86_NP, selector, 0);
    }
    x86_mark_accessed(cpu, &d);
    x86_set_segment(cpu, X86_CS, selector, &d);
}

static void load_task_stack(X86Cpu *cpu, uint16_t selector, unsigned cpl)
{
    X86Descriptor d;
    if (x86_null_selector(selector)) {
        x86_raise_selector(cpu, X86_TS, selector, 0);
    }
    x86_need_descriptor(cpu, selector, false, X86_TS, 0, &d);
    if ((selector & 3u) != cpl || x86_desc_dpl(&d) != cpl || !x86_desc_is_writable_data(&d)) {
        x86_raise_selector(cpu, X86_TS, selector, 0);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_selector(cpu, X86_SS_FAULT, selector, 0);
    }
    x86_mark_accessed(cpu, &d);
    x86_set_segment(cpu, X86_SS, selector, &d);
}

static void load_task_data(X86Cpu *cpu, unsigned seg, uint16_t selector, unsigned cpl)
{
    if (x86_null_selector(selector)) {
        x86_set_null_segment(cpu, seg, selector);
        return;
    }
    X86Descriptor d;
    x86_need_descriptor(cpu, selector, false, X86_TS, 0, &d);
    unsigned type = x86_desc_type(&d), rpl = selector & 3u, dpl = x86_desc_dpl(&d);
    bool     readable   = (type & SEG_S) && (!(type & SEG_CODE) || (type & SEG_R));
    bool     conforming = x86_desc_is_code(&d) && x86_desc_is_conforming(&d);
    if (!readable || (!conforming && (rpl > dpl || cpl > dpl))) {
        x86_raise_selector(cpu, X86_TS, selector, 0);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_selector(cpu, X86_NP, selector, 0);
    }
    x86_mark_accessed(cpu, &d);
    x86_set_segment(cpu, seg, selector, &d);
}

static void load_task_segments(X86Cpu *cpu, const Task *task, bool has_error, uint32_t error, unsigned size)
{
    load_task_ldt(cpu, task->ldt);
    if (task->eflags & EFLAGS_VM) {
        for (unsigned i = 0; i < X86_N_SEG; i++) {
            x86_set_vm86_segment(cpu, i, task->seg[i]);
        }
    } else {
        static const uint8_t data[] = { X86_ES, X86_DS, X86_FS, X86_GS };
        unsigned             cpl    = task->seg[X86_CS] & 3u;
        load_task_stack(cpu, task->seg[X86_SS], cpl);
        x86_update_mode(cpu);
        load_task_code(cpu, task->seg[X86_CS]);
        for (unsigned i = 0; i < sizeof data; i++) {
            load_task_data(cpu, data[i], task->seg[data[i]], cpl);
        }
    }
    x86_update_mode(cpu);
    if (has_error) {
        X86Stack stack = x86_stack_current(cpu);
        x86_stack_push(cpu, &stack, error, size);
        x86_set_sp(cpu, stack.width, stack.sp);
    }
    if (cpu->rip > cpu->seg[X86_CS].limit) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    if (task->trap) {
        cpu->dr[6] |= DR6_BT;
        x86_raise(cpu, X86_DB);
    }
}

/* Runs load_task_segments() and delivers what it raises in the new task. x86_deliver() does that by itself for the
 * switches it makes, and so bounds how many can follow from one another. */
static void enter_task(X86Cpu *cpu, const Task *task)
{
    X86Jump outer;
    cpu->insn = NULL; /* cpu->rip is the new task's */
    x86_jump_copy(outer, cpu->fault_exit);
    int thrown = x86_setjmp(cpu->fault_exit);
    if (thrown == 0) {
        load_task_segments(cpu, task, false, 0, 0);
        x86_jump_copy(cpu->fault_exit, outer);
        return;
    }
    x86_jump_copy(cpu->fault_exit, outer);
    if (thrown != X86_THROW_FAULT) {
        x86_longjmp(cpu->fault_exit, thrown);
    }
    x86_update_mode(cpu);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, cpu->fault.vector, cpu->fault.has_error, cpu->fault.error, 0);
}

/* --- the switch --- */

static X86Descriptor need_tss(X86Cpu *cpu, uint16_t selector, X86TaskSwitch how, unsigned ext)
{
    X86Vector     vector = how == X86_TASK_RETURN ? X86_TS : X86_GP;
    uint32_t      types  = how == X86_TASK_RETURN ? 1u << SYS_TSS16_BUSY | 1u << SYS_TSS_BUSY
                                                  : 1u << SYS_TSS16_AVAILABLE | 1u << SYS_TSS_AVAILABLE;
    X86Descriptor d;
    if (x86_null_selector(selector) || (selector & 4)) {
        x86_raise_selector(cpu, vector, selector, ext);
    }
    x86_need_descriptor(cpu, selector, false, vector, ext, &d);
    if (!(types >> x86_desc_type(&d) & 1)) {
        x86_raise_selector(cpu, vector, selector, ext);
    }
    if (!x86_desc_present(&d)) {
        x86_raise_selector(cpu, X86_NP, selector, ext);
    }
    return d;
}

void x86_task_switch(X86Cpu *cpu, uint16_t selector, X86TaskSwitch how, uint64_t next, bool has_error, uint32_t error,
                     unsigned ext)
{
    X86Descriptor    d      = need_tss(cpu, selector, how, ext);
    bool             wide   = x86_desc_type(&d) >= SYS_TSS_AVAILABLE;
    const TssLayout *layout = wide ? &tss32 : &tss16;
    if (x86_desc_limit(&d) < layout->length - 1u) {
        x86_raise_selector(cpu, X86_TS, selector, ext);
    }
    bool             old_wide   = (cpu->tr.attr & SEG_TYPE) >= SYS_TSS_AVAILABLE;
    const TssLayout *old_layout = old_wide ? &tss32 : &tss16;
    bool             nested     = how == X86_TASK_CALL || how == X86_TASK_INTERRUPT;
    if ((cpu->tr.attr & SEG_UNUSABLE) || cpu->tr.limit < old_layout->length - 1u) {
        x86_raise_selector(cpu, X86_TS, cpu->tr.selector, ext);
    }

    Task task = { 0 };
    read_task(cpu, x86_desc_base(&d), layout, &task);
    uint32_t eflags = (uint32_t)x86_get_eflags(cpu);
    if (how == X86_TASK_RETURN) {
        eflags &= ~(uint32_t)EFLAGS_NT;
    }
    write_task(cpu, cpu->tr.base, old_layout, (uint32_t)next, eflags);
    if (nested) {
        x86_store_system(cpu, x86_desc_base(&d), cpu->tr.selector, 2);
        task.eflags |= EFLAGS_NT;
    } else {
        set_busy(cpu, cpu->tr.selector, false);
    }
    if (how != X86_TASK_RETURN) {
        set_busy(cpu, selector, true);
        d.high |= 2u << 8;
    }
    if (!wide) {
        task.eflags |= eflags & 0xffff0000;
    }

    cpu->tr = x86_desc_segment(&d);
    cpu->cr0 |= CR0_TS;
    for (unsigned i = 0; i < 8; i++) {
        cpu->gpr[i] = task.gpr[i];
    }
    cpu->rip = task.eip;
    x86_set_eflags(cpu, task.eflags, 0x003f7fd5);
    /* Selectors first, not usable until their descriptors are loaded. SS carries the CPL of the new task. */
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        x86_set_null_segment(cpu, i, task.seg[i]);
    }
    cpu->seg[X86_SS].attr = SEG_UNUSABLE | (task.seg[X86_CS] & 3u) << SEG_DPL_SHIFT;
    if (wide && (cpu->cr0 & CR0_PG)) {
        x86_load_cr3(cpu, task.cr3);
    }
    if (cpu->dr[7] & 0x155) {
        cpu->dr[7] &= ~UINT64_C(0x155); /* local breakpoints and LE belong to the old task */
        x86_debug_changed(cpu);
    }
    x86_update_mode(cpu);
    if (how == X86_TASK_INTERRUPT) {
        load_task_segments(cpu, &task, has_error, error, wide ? 4 : 2);
    } else {
        enter_task(cpu, &task);
    }
}

void x86_task_gate(X86Cpu *cpu, const X86Descriptor *gate, X86TaskSwitch how, uint64_t next, bool has_error,
                   uint32_t error, unsigned ext)
{
    x86_task_switch(cpu, (uint16_t)(gate->low >> 16), how, next, has_error, error, ext);
}
