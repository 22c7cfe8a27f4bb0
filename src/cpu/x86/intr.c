/* Exceptions and interrupts: delivery through IVT and IDT, double and triple faults, and which event comes first.
 *
 * Specification: Intel SDM 3, chapters 6 and 21.3; SDM 2, INT n (December 2023). vCPU thread but for
 * x86_has_wakeup(). A delivery reads, checks and pushes first and changes registers last, so that the state is as it
 * was when it faults on the way. Hot set (park.h). */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/quick.h"
#include "devices/irq/apic.h"

#include <inttypes.h>

typedef struct Delivery {
    X86Event event;
    unsigned vector;
    bool     has_error;
    uint32_t error;
    uint64_t next; /* what software events push */
} Delivery;

static bool is_software(const Delivery *d)
{
    return d->event == X86_EVENT_SOFTWARE || d->event == X86_EVENT_SOFTWARE_BP;
}

/* The EXT bit of the error codes of faults on the way: was the event not asked for by the program? */
static unsigned ext_of(const Delivery *d)
{
    return is_software(d) ? 0 : 1;
}

static uint64_t return_rip(const X86Cpu *cpu, const Delivery *d)
{
    return is_software(d) || d->event == X86_EVENT_ICEBP ? d->next : cpu->rip;
}

/* EFLAGS as pushed: RF is set for faults, so that the instruction goes through when it is restarted (18.3.1.1). */
static uint64_t pushed_flags(const X86Cpu *cpu, const Delivery *d)
{
    bool trap = d->vector == X86_DB || d->vector == X86_NMI || d->vector == X86_BP || d->vector == X86_OF ||
                d->vector == X86_DF || d->vector == X86_MC;
    return x86_get_eflags(cpu) | (d->event == X86_EVENT_EXCEPTION && !trap ? EFLAGS_RF : 0);
}

/* --- real mode --- */

static void deliver_real(X86Cpu *cpu, const Delivery *d)
{
    uint32_t at = d->vector * 4;
    if (at + 3 > cpu->idt.limit) {
        x86_raise_error(cpu, X86_GP, d->vector * 8 + 2 + ext_of(d));
    }
    uint32_t entry = (uint32_t)x86_load_system(cpu, cpu->idt.base + at, 4);
    X86Stack stack = x86_stack_current(cpu);
    x86_stack_push(cpu, &stack, x86_get_eflags(cpu), 2);
    x86_stack_push(cpu, &stack, cpu->seg[X86_CS].selector, 2);
    x86_stack_push(cpu, &stack, return_rip(cpu, d), 2);
    X86Segment *cs = &cpu->seg[X86_CS];
    cs->selector   = (uint16_t)(entry >> 16);
    cs->base       = (uint32_t)cs->selector << 4;
    x86_set_sp(cpu, stack.width, stack.sp);
    x86_set_eflags(cpu, 0, EFLAGS_IF | EFLAGS_TF | EFLAGS_AC | EFLAGS_RF);
    cpu->rip = entry & 0xffff;
    x86_update_mode(cpu);
}

/* --- protected and long mode --- */

/* Reads and checks the IDT's gate. */
static X86Descriptor need_interrupt_gate(X86Cpu *cpu, const Delivery *d)
{
    static const uint32_t legacy =
        1u << SYS_TASK_GATE | 1u << SYS_INT_GATE16 | 1u << SYS_TRAP_GATE16 | 1u << SYS_INT_GATE | 1u << SYS_TRAP_GATE;
    static const uint32_t in_long_mode = 1u << SYS_INT_GATE | 1u << SYS_TRAP_GATE;

    unsigned size = cpu->long_mode ? 16 : 8;
    uint32_t at = d->vector * size, code = d->vector * 8 + 2 + ext_of(d);
    if (at + size - 1 > cpu->idt.limit) {
        x86_raise_error(cpu, X86_GP, code);
    }
    X86Descriptor gate = { .address = cpu->idt.base + at };
    uint64_t      both = x86_load_system(cpu, gate.address, 8);
    gate.low           = (uint32_t)both;
    gate.high          = (uint32_t)(both >> 32);
    if (cpu->long_mode) {
        gate.upper = (uint32_t)x86_load_system(cpu, gate.address + 8, 4);
    }
    bool type_ok = (cpu->long_mode ? in_long_mode : legacy) >> x86_desc_type(&gate) & 1;
    if (!type_ok || (is_software(d) && x86_desc_dpl(&gate) < cpu->cpl)) {
        x86_raise_error(cpu, X86_GP, code);
    }
    if (!x86_desc_present(&gate)) {
        x86_raise_error(cpu, X86_NP, code);
    }
    return gate;
}

static X86Descriptor need_handler_segment(X86Cpu *cpu, uint16_t selector, unsigned ext)
{
    if (x86_null_selector(selector)) {
        x86_raise_error(cpu, X86_GP, ext);
    }
    X86Descriptor cs;
    x86_need_descriptor(cpu, selector, false, X86_GP, ext, &cs);
    bool bad_size = cpu->long_mode && (x86_desc_attr(&cs) & (SEG_L | SEG_DB)) != SEG_L;
    if (!x86_desc_is_code(&cs) || x86_desc_dpl(&cs) > cpu->cpl || bad_size) {
        x86_raise_selector(cpu, X86_GP, selector, ext);
    }
    if (!x86_desc_present(&cs)) {
        x86_raise_selector(cpu, X86_NP, selector, ext);
    }
    return cs;
}

static void push_vm86_segments(X86Cpu *cpu, X86Stack *stack, unsigned size)
{
    static const uint8_t order[] = { X86_GS, X86_FS, X86_DS, X86_ES };
    for (unsigned i = 0; i < sizeof order; i++) {
        x86_stack_push(cpu, stack, cpu->seg[order[i]].selector, size);
    }
}

static void deliver_protected(X86Cpu *cpu, const Delivery *d)
{
    unsigned      ext  = ext_of(d);
    bool          vm86 = cpu->eflags & EFLAGS_VM;
    X86Descriptor gate = need_interrupt_gate(cpu, d);
    unsigned      type = x86_desc_type(&gate);
    if (type == SYS_TASK_GATE) {
        cpu->eflags |= (uint32_t)pushed_flags(cpu, d) & EFLAGS_RF; /* saved in the old task */
        x86_task_gate(cpu, &gate, X86_TASK_INTERRUPT, return_rip(cpu, d), d->has_error, d->error, ext);
        return;
    }
    uint16_t      selector = (uint16_t)(gate.low >> 16);
    X86Descriptor cs       = need_handler_segment(cpu, selector, ext);
    unsigned      ist      = cpu->long_mode ? gate.high & 7 : 0;
    unsigned      size     = cpu->long_mode ? 8 : type >= SYS_INT_GATE ? 4 : 2;
    unsigned      cpl      = x86_desc_is_conforming(&cs) ? cpu->cpl : x86_desc_dpl(&cs);
    bool          inner    = cpl < cpu->cpl;
    if (vm86 && cpl != 0) {
        x86_raise_selector(cpu, X86_GP, selector, ext);
    }
    uint64_t offset = gate.low & 0xffff;
    if (type >= SYS_INT_GATE) {
        offset |= gate.high & 0xffff0000;
    }
    offset |= (uint64_t)gate.upper << 32;

    X86Stack stack;
    if (inner || ist) {
        stack = x86_stack_of_ring(cpu, cpl, ist, ext);
    } else {
        stack      = x86_stack_current(cpu);
        stack.code = ext;
    }
    if (cpu->long_mode) {
        stack.width = 8;
        stack.sp &= ~UINT64_C(0xf);
    }
    x86_check_target(cpu, &cs, offset, ext);
    if (vm86) {
        push_vm86_segments(cpu, &stack, size);
    }
    if (inner || cpu->long_mode) {
        x86_stack_push(cpu, &stack, cpu->seg[X86_SS].selector, size);
        x86_stack_push(cpu, &stack, cpu->gpr[X86_RSP], size);
    }
    x86_stack_push(cpu, &stack, pushed_flags(cpu, d), size);
    x86_stack_push(cpu, &stack, cpu->seg[X86_CS].selector, size);
    x86_stack_push(cpu, &stack, return_rip(cpu, d), size);
    if (d->has_error) {
        x86_stack_push(cpu, &stack, d->error, size);
    }
    x86_mark_accessed(cpu, &cs);

    if (inner) {
        x86_stack_enter(cpu, &stack);
    } else {
        x86_set_sp(cpu, stack.width, stack.sp);
    }
    if (vm86) {
        x86_set_null_segment(cpu, X86_ES, 0);
        x86_set_null_segment(cpu, X86_DS, 0);
        x86_set_null_segment(cpu, X86_FS, 0);
        x86_set_null_segment(cpu, X86_GS, 0);
    }
    x86_set_segment(cpu, X86_CS, (uint16_t)((selector & 0xfffc) | cpl), &cs);
    bool interrupt_gate = type == SYS_INT_GATE || type == SYS_INT_GATE16;
    x86_set_eflags(cpu, 0, EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM | (interrupt_gate ? EFLAGS_IF : 0));
    cpu->rip = offset;
    x86_update_mode(cpu);
}

/* --- virtual-8086 mode with CR4.VME: INT n that stays in it (SDM 3, 21.3.2 and 21.3.3) --- */

/* The bit of the 32 bytes below the I/O permission map. */
static bool is_redirected(X86Cpu *cpu, unsigned vector)
{
    if ((cpu->tr.attr & SEG_UNUSABLE) || (cpu->tr.attr & SEG_TYPE) < SYS_TSS_AVAILABLE || cpu->tr.limit < 103) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    uint32_t map = (uint32_t)x86_load_system(cpu, cpu->tr.base + 0x66, 2);
    uint32_t at  = map - 32 + vector / 8;
    if (map < 32 || at > cpu->tr.limit) {
        x86_raise_error(cpu, X86_GP, 0);
    }
    return !(x86_load_system(cpu, cpu->tr.base + at, 1) >> (vector & 7) & 1);
}

/* Through the program's own vector table at linear address 0. */
static void deliver_redirected(X86Cpu *cpu, const Delivery *d)
{
    bool virtual   = x86_virtual_if(cpu);
    uint32_t entry = (uint32_t)x86_load_system(cpu, d->vector * 4, 4);
    X86Stack stack = x86_stack_current(cpu);

    x86_stack_push(cpu, &stack, virtual ? x86_virtual_flags(cpu) : x86_get_eflags(cpu), 2);
    x86_stack_push(cpu, &stack, cpu->seg[X86_CS].selector, 2);
    x86_stack_push(cpu, &stack, return_rip(cpu, d), 2);
    x86_set_vm86_segment(cpu, X86_CS, (uint16_t)(entry >> 16));
    x86_set_sp(cpu, stack.width, stack.sp);
    x86_set_eflags(cpu, 0, EFLAGS_TF | EFLAGS_RF | (virtual ? EFLAGS_VIF : EFLAGS_IF));
    cpu->rip = entry & 0xffff;
    x86_update_mode(cpu);
}

/* --- what a fault during delivery becomes --- */

typedef enum FaultClass { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT } FaultClass;

static FaultClass classify(X86Event event, unsigned vector)
{
    if (event != X86_EVENT_EXCEPTION) {
        return BENIGN;
    }
    switch (vector) {
    case X86_DE:
    case X86_TS:
    case X86_NP:
    case X86_SS_FAULT:
    case X86_GP: return CONTRIBUTORY;
    case X86_PF: return PAGE_FAULT;
    case X86_DF: return DOUBLE_FAULT;
    default: return BENIGN;
    }
}

X86FaultPair x86_combine_faults(X86Event event, unsigned first, X86Vector second)
{
    FaultClass a = classify(event, first), b = classify(X86_EVENT_EXCEPTION, second);
    if (b == BENIGN || a == BENIGN) {
        return X86_FAULTS_SERIAL;
    }
    if (a == DOUBLE_FAULT) {
        return X86_FAULTS_SHUTDOWN;
    }
    return a == PAGE_FAULT || b == CONTRIBUTORY ? X86_FAULTS_DOUBLE : X86_FAULTS_SERIAL;
}

static const char *const event_names[] = {
    [X86_EVENT_EXCEPTION] = "exception", [X86_EVENT_SOFTWARE] = "int n",     [X86_EVENT_SOFTWARE_BP] = "int3/into",
    [X86_EVENT_ICEBP] = "int1",          [X86_EVENT_EXTERNAL] = "interrupt",
};

static void log_delivery(X86Cpu *cpu, const Delivery *d)
{
    x86_park(cpu);
    const X86Segment *cs = &cpu->seg[X86_CS], *ss = &cpu->seg[X86_SS];
    uint64_t          rip   = return_rip(cpu, d);
    g_autoptr(GString) text = g_string_new(NULL);
    g_string_append_printf(
        text, "%6" PRIu64 ": v=%02x e=%04x i=%d cpl=%d IP=%04x:%016" PRIx64 " pc=%016" PRIx64 " SP=%04x:%016" PRIx64,
        cpu->n_events, d->vector, d->error, is_software(d), cpu->cpl, cs->selector, rip, cs->base + rip, ss->selector,
        cpu->gpr[X86_RSP]);
    if (d->event == X86_EVENT_EXCEPTION && d->vector == X86_PF) {
        g_string_append_printf(text, " CR2=%016" PRIx64, cpu->cr2);
    }
    g_string_append_printf(text, " CPU %d %s\n", cpu->vcpu.index, event_names[d->event]);
    x86_dump(cpu, text);
    log_print(cpu->vcpu.log, LOG_INT, "%s", text->str);
}

static void deliver_once(X86Cpu *cpu, const Delivery *d)
{
    if (!(cpu->cr0 & CR0_PE)) {
        deliver_real(cpu, d);
    } else {
        bool vm86 = cpu->eflags & EFLAGS_VM;
        if (vm86 && d->event == X86_EVENT_SOFTWARE && (cpu->cr4 & CR4_VME) && is_redirected(cpu, d->vector)) {
            deliver_redirected(cpu, d);
            return;
        }
        if (vm86 && d->event == X86_EVENT_SOFTWARE && (cpu->eflags & EFLAGS_IOPL) != EFLAGS_IOPL) {
            x86_raise_error(cpu, X86_GP, 0);
        }
        deliver_protected(cpu, d);
    }
    if (d->vector == X86_DB && !is_software(d) && (cpu->dr[7] & DR7_GD)) {
        cpu->dr[7] &= ~DR7_GD;
        x86_debug_changed(cpu);
    }
}

/* Faults on the way become the next thing to deliver. */
static __attribute__((noinline)) void deliver_checked(X86Cpu *cpu, const Delivery *first)
{
    X86Jump           outer;
    volatile Delivery now = *first;
    /* A guest can make benign faults follow each other for ever (#AC on a handler's stack): processors hang, we stop.
     */
    volatile unsigned budget = 8;

    cpu->insn             = NULL;
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    x86_jump_copy(outer, cpu->fault_exit);
    int thrown = x86_setjmp(cpu->fault_exit);
    if (thrown == X86_THROW_FAULT) {
        X86FaultPair pair = x86_combine_faults(now.event, now.vector, cpu->fault.vector);
        if (pair == X86_FAULTS_SHUTDOWN || --budget == 0) {
            x86_park(cpu);
            log_print(cpu->vcpu.log, LOG_INT | LOG_CPU_RESET, "CPU %d: triple fault\n", cpu->vcpu.index);
            cpu->in_shutdown    = true;
            cpu->pending_vector = -1;
            x86_jump_copy(cpu->fault_exit, outer);
            return;
        }
        x86_update_mode(cpu); /* a task switch may have stopped halfway through its segments */
        bool doubled  = pair == X86_FAULTS_DOUBLE;
        now.event     = X86_EVENT_EXCEPTION;
        now.vector    = doubled ? X86_DF : cpu->fault.vector;
        now.has_error = doubled || cpu->fault.has_error;
        now.error     = doubled ? 0 : cpu->fault.error;
    } else if (thrown) {
        cpu->pending_vector = -1;
        x86_jump_copy(cpu->fault_exit, outer);
        x86_longjmp(cpu->fault_exit, thrown);
    }
    Delivery copy       = now;
    cpu->pending_vector = (int)copy.vector;
    cpu->n_events++;
    if (log_on(cpu->vcpu.log, LOG_INT)) {
        log_delivery(cpu, &copy);
    }
    deliver_once(cpu, &copy);
    cpu->pending_vector = -1;
    x86_jump_copy(cpu->fault_exit, outer);
}

void x86_deliver(X86Cpu *cpu, X86Event event, unsigned vector, bool has_error, uint32_t error, uint64_t next)
{
    Delivery d = { .event = event, .vector = vector, .has_error = has_error, .error = error, .next = next };

    cpu->insn             = NULL;
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    if (!log_on(cpu->vcpu.log, LOG_INT) && vector != X86_DB &&
        x86_quick_deliver(cpu, vector, is_software(&d), has_error, error, return_rip(cpu, &d), pushed_flags(cpu, &d))) {
        cpu->n_events++;
        return;
    }
    deliver_checked(cpu, &d);
}

/* --- which event comes first --- */

void x86_start_at_sipi(X86Cpu *cpu)
{
    X86Segment *cs     = &cpu->seg[X86_CS];
    cs->selector       = (uint16_t)(cpu->sipi_vector << 8);
    cs->base           = (uint32_t)cpu->sipi_vector << 12;
    cpu->rip           = 0;
    cpu->wait_for_sipi = false;
    cpu->vcpu.halted   = false;
    x86_update_mode(cpu);
}

static void take_init(X86Cpu *cpu)
{
    x86_park(cpu);
    log_print(cpu->vcpu.log, LOG_INT, "CPU %d: INIT\n", cpu->vcpu.index);
    x86_reset(cpu, true);
    vcpu_request_done(&cpu->vcpu, X86_REQUEST_INIT | X86_REQUEST_NMI); /* now a SIPI is accepted for wait_for_sipi */
}

static bool interrupts_open(const X86Cpu *cpu)
{
    return (cpu->eflags & EFLAGS_IF) && !cpu->interrupt_shadow;
}

/* A maskable interrupt: the APIC's, or through it (or around it) the 8259's. */
static bool take_intr(X86Cpu *cpu)
{
    vcpu_request_done(&cpu->vcpu, X86_REQUEST_INTR);
    int vector = cpu->apic ? apic_take_vector(cpu->apic) : APIC_EXTINT;
    if (vector == APIC_EXTINT) {
        x86_park(cpu);
        vector = cpu->ack_extint ? cpu->ack_extint(cpu->board) : -1;
    }
    if (vector < 0) {
        return false;
    }
    if (cpu->apic && apic_has_vector(cpu->apic)) {
        vcpu_request_self(&cpu->vcpu, X86_REQUEST_INTR); /* the next one is waiting already */
    }
    cpu->vcpu.halted = false;
    x86_deliver(cpu, X86_EVENT_EXTERNAL, (unsigned)vector, false, 0, cpu->rip);
    return true;
}

bool x86_take_interrupt(X86Cpu *cpu)
{
    uint32_t requests = vcpu_requests(&cpu->vcpu);
    if ((requests & X86_REQUEST_MCE) && (cpu->mce_fatal || !(cpu->cr4 & CR4_MCE))) {
        vcpu_request_done(&cpu->vcpu, X86_REQUEST_MCE);
        x86_park(cpu);
        log_print(cpu->vcpu.log, LOG_INT | LOG_CPU_RESET, "CPU %d: machine check that cannot be reported\n",
                  cpu->vcpu.index);
        cpu->vcpu.halted = false;
        cpu->in_shutdown = true;
        return true;
    }
    if (cpu->wait_for_sipi) {
        if (requests & X86_REQUEST_INIT) {
            take_init(cpu);
        }
        if (!(requests & X86_REQUEST_SIPI)) {
            return false;
        }
        x86_park(cpu);
        log_print(cpu->vcpu.log, LOG_INT, "CPU %d: SIPI, vector %02x\n", cpu->vcpu.index, cpu->sipi_vector);
        x86_start_at_sipi(cpu);
        vcpu_request_done(&cpu->vcpu, X86_REQUEST_SIPI);
        return true;
    }
    if ((requests & X86_REQUEST_SIPI) && !(requests & X86_REQUEST_INIT)) {
        vcpu_request_done(&cpu->vcpu,
                          X86_REQUEST_SIPI); /* means nothing to a CPU that runs, unless INIT stops it now */
    }
    if (requests & X86_REQUEST_MCE) {
        vcpu_request_done(&cpu->vcpu, X86_REQUEST_MCE);
        cpu->vcpu.halted = false;
        x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_MC, false, 0, cpu->rip);
        return true;
    }
    if ((requests & X86_REQUEST_SMI) && !cpu->smm) {
        vcpu_request_done(&cpu->vcpu, X86_REQUEST_SMI);
        x86_park(cpu);
        x86_enter_smm(cpu);
        return true;
    }
    if ((requests & X86_REQUEST_INIT) && !cpu->smm) {
        take_init(cpu);
        return true;
    }
    if ((requests & X86_REQUEST_NMI) && !cpu->nmi_blocked && !cpu->interrupt_shadow) {
        vcpu_request_done(&cpu->vcpu, X86_REQUEST_NMI);
        cpu->nmi_blocked = true;
        cpu->vcpu.halted = false;
        x86_deliver(cpu, X86_EVENT_EXTERNAL, X86_NMI, false, 0, cpu->rip);
        return true;
    }
    if ((requests & X86_REQUEST_INTR) && interrupts_open(cpu)) {
        return take_intr(cpu);
    }
    return false;
}

bool x86_has_wakeup(X86Cpu *cpu)
{
    uint32_t requests = vcpu_requests(&cpu->vcpu);
    if (cpu->wait_for_sipi) {
        return requests & (X86_REQUEST_SIPI | X86_REQUEST_INIT | X86_REQUEST_MCE);
    }
    if ((requests & X86_REQUEST_MCE) || ((requests & (X86_REQUEST_INIT | X86_REQUEST_SMI)) && !cpu->smm)) {
        return true;
    }
    if ((requests & X86_REQUEST_NMI) && !cpu->nmi_blocked) {
        return true;
    }
    if (cpu->ferr && atomic_load(&cpu->ignne)) {
        return true; /* it waited for that */
    }
    return (requests & X86_REQUEST_INTR) && (cpu->eflags & EFLAGS_IF) && (!cpu->apic || apic_has_vector(cpu->apic));
}
