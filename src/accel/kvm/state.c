/* The state of a vCPU between X86Cpu and KVM: registers, segments, control and debug registers, the local APIC, events
 * on their way. MSRs and vector state have files of their own.
 *
 * The vCPU's thread, machine lock not needed: nobody else looks at X86Cpu while it is about to run or to stop.
 *
 * Specification: Linux, Documentation/virt/kvm/api.rst. */

#include "accel/kvm/kvm.h"

#include "base/bytes.h"
#include "cpu/x86/mem.h"
#include "devices/irq/apic.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum { REAL_MODE_CODE = SEG_CODE | SEG_R | SEG_A, REAL_MODE_DATA = SEG_W | SEG_A };

/* --- general registers --- */

/* kvm_regs begins with these, in its own order. */
static const uint8_t gpr_order[16] = { X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, X86_RSP, X86_RBP,
                                       X86_R8,  X86_R9,  X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15 };

static bool put_regs(KvmVcpu *k)
{
    struct kvm_regs r;
    __u64          *gpr = &r.rax;
    for (unsigned i = 0; i < 16; i++) {
        gpr[i] = k->cpu->gpr[gpr_order[i]];
    }
    r.rip    = k->cpu->rip;
    r.rflags = x86_get_eflags(k->cpu);
    return kvm_ioctl(k->fd, KVM_SET_REGS, &r) == 0;
}

static bool get_regs(KvmVcpu *k)
{
    struct kvm_regs r = {};
    if (kvm_ioctl(k->fd, KVM_GET_REGS, &r) < 0) {
        return false;
    }
    const __u64 *gpr = &r.rax;
    for (unsigned i = 0; i < 16; i++) {
        k->cpu->gpr[gpr_order[i]] = gpr[i];
    }
    k->cpu->rip = r.rip;
    x86_set_eflags(k->cpu, r.rflags, UINT64_MAX);
    return true;
}

/* --- segments, tables, control registers --- */

static struct kvm_segment segment_to_kvm(const X86Segment *s)
{
    return (struct kvm_segment){ .base     = s->base,
                                 .limit    = s->limit,
                                 .selector = s->selector,
                                 .type     = s->attr & SEG_TYPE,
                                 .present  = !!(s->attr & SEG_P),
                                 .dpl      = (s->attr & SEG_DPL) >> SEG_DPL_SHIFT,
                                 .db       = !!(s->attr & SEG_DB),
                                 .s        = !!(s->attr & SEG_S),
                                 .l        = !!(s->attr & SEG_L),
                                 .g        = s->attr & SEG_G || s->limit > 0xfffff,
                                 .avl      = !!(s->attr & SEG_AVL),
                                 .unusable = s->attr & SEG_UNUSABLE || !(s->attr & SEG_P) };
}

static X86Segment segment_from_kvm(const struct kvm_segment *s)
{
    return (X86Segment){ .base     = s->base,
                         .limit    = s->limit,
                         .selector = s->selector,
                         .attr     = s->type | (s->s ? SEG_S : 0) | (uint32_t)s->dpl << SEG_DPL_SHIFT |
                                 (s->present ? SEG_P : 0) | (s->avl ? SEG_AVL : 0) | (s->l ? SEG_L : 0) |
                                 (s->db ? SEG_DB : 0) | (s->g ? SEG_G : 0) | (s->unusable ? SEG_UNUSABLE : 0) };
}

static struct kvm_segment *segment_slot(struct kvm_sregs *s, unsigned seg)
{
    struct kvm_segment *const slots[X86_N_SEG] = {
        [X86_ES] = &s->es, [X86_CS] = &s->cs, [X86_SS] = &s->ss, [X86_DS] = &s->ds, [X86_FS] = &s->fs, [X86_GS] = &s->gs
    };
    return slots[seg];
}

/* Hardware insists on what the hidden parts hold in virtual-8086 mode (SDM 3, 27.3.1.2). */
static struct kvm_segment virtual_8086_segment(const X86Segment *s)
{
    return (struct kvm_segment){ .base     = (uint64_t)s->selector << 4,
                                 .limit    = 0xffff,
                                 .selector = s->selector,
                                 .type     = REAL_MODE_DATA,
                                 .present  = 1,
                                 .dpl      = 3,
                                 .s        = 1 };
}

static bool put_sregs(KvmVcpu *k)
{
    const X86Cpu    *cpu = k->cpu;
    struct kvm_sregs s   = {};
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        *segment_slot(&s, i) = segment_to_kvm(&cpu->seg[i]);
    }
    /* The kernel wants a code segment in CS, also where the architecture does not care. */
    if (!(cpu->cr0 & CR0_PE) && !(s.cs.type & SEG_CODE)) {
        s.cs.type = REAL_MODE_CODE;
    }
    if (cpu->eflags & EFLAGS_VM) {
        for (unsigned i = 0; i < X86_N_SEG; i++) {
            *segment_slot(&s, i) = virtual_8086_segment(&cpu->seg[i]);
        }
    }
    s.tr        = segment_to_kvm(&cpu->tr);
    s.ldt       = segment_to_kvm(&cpu->ldt);
    s.gdt.base  = cpu->gdt.base;
    s.gdt.limit = cpu->gdt.limit;
    s.idt.base  = cpu->idt.base;
    s.idt.limit = cpu->idt.limit;
    s.cr0       = cpu->cr0;
    s.cr2       = cpu->cr2;
    s.cr3       = cpu->cr3;
    s.cr4       = cpu->cr4;
    s.cr8       = cpu->apic ? apic_get_tpr(cpu->apic) : cpu->cr8;
    s.efer      = cpu->efer;
    s.apic_base = cpu->apic ? apic_get_base(cpu->apic) : 0;
    return kvm_ioctl(k->fd, KVM_SET_SREGS, &s) == 0;
}

static bool get_sregs(KvmVcpu *k, uint64_t *apic_base)
{
    X86Cpu          *cpu = k->cpu;
    struct kvm_sregs s   = {};
    if (kvm_ioctl(k->fd, KVM_GET_SREGS, &s) < 0) {
        return false;
    }
    if (!(s.cr0 & CR0_PE) && s.cs.type == REAL_MODE_CODE) {
        s.cs.type = REAL_MODE_DATA;
    }
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        cpu->seg[i] = segment_from_kvm(segment_slot(&s, i));
    }
    cpu->tr    = segment_from_kvm(&s.tr);
    cpu->ldt   = segment_from_kvm(&s.ldt);
    cpu->gdt   = (X86Table){ .base = s.gdt.base, .limit = s.gdt.limit };
    cpu->idt   = (X86Table){ .base = s.idt.base, .limit = s.idt.limit };
    cpu->cr0   = s.cr0;
    cpu->cr2   = s.cr2;
    cpu->cr3   = s.cr3;
    cpu->cr4   = s.cr4;
    cpu->cr8   = (uint8_t)s.cr8;
    cpu->efer  = s.efer;
    *apic_base = s.apic_base;
    return true;
}

static bool put_debugregs(KvmVcpu *k)
{
    struct kvm_debugregs d = { .dr6 = k->cpu->dr[6], .dr7 = k->cpu->dr[7] };
    memcpy(d.db, k->cpu->dr, sizeof d.db);
    return kvm_ioctl(k->fd, KVM_SET_DEBUGREGS, &d) == 0;
}

static bool get_debugregs(KvmVcpu *k)
{
    struct kvm_debugregs d = {};
    if (kvm_ioctl(k->fd, KVM_GET_DEBUGREGS, &d) < 0) {
        return false;
    }
    memcpy(k->cpu->dr, d.db, sizeof d.db);
    k->cpu->dr[6] = d.dr6;
    k->cpu->dr[7] = d.dr7;
    return true;
}

/* --- events on their way, and what the vCPU waits for --- */

static bool put_events(KvmVcpu *k, bool reset)
{
    static const uint8_t shadows[] = {
        [X86_SHADOW_NONE] = 0, [X86_SHADOW_STI] = KVM_X86_SHADOW_INT_STI, [X86_SHADOW_SS] = KVM_X86_SHADOW_INT_MOV_SS
    };
    X86Cpu *cpu = k->cpu;
    if (reset) {
        k->events = (struct kvm_vcpu_events){};
    }
    k->events.nmi.masked       = cpu->nmi_blocked;
    k->events.flags            = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
    k->events.sipi_vector      = cpu->sipi_vector;
    k->events.interrupt.shadow = shadows[cpu->interrupt_shadow];
    return kvm_ioctl(k->fd, KVM_SET_VCPU_EVENTS, &k->events) == 0;
}

static bool get_events(KvmVcpu *k)
{
    if (kvm_ioctl(k->fd, KVM_GET_VCPU_EVENTS, &k->events) < 0) {
        return false;
    }
    k->cpu->nmi_blocked = k->events.nmi.masked;
    /* On AMD's processors, which have one bit for both, both are said. That of SS holds more back, so it is the one
     * that loses nothing. */
    uint8_t shadow           = k->events.interrupt.shadow;
    k->cpu->interrupt_shadow = shadow & KVM_X86_SHADOW_INT_MOV_SS ? X86_SHADOW_SS
                               : shadow                           ? X86_SHADOW_STI
                                                                  : X86_SHADOW_NONE;
    return true;
}

static bool put_mp_state(KvmVcpu *k)
{
    const X86Cpu       *cpu   = k->cpu;
    struct kvm_mp_state state = { .mp_state = cpu->wait_for_sipi ? KVM_MP_STATE_INIT_RECEIVED
                                              : cpu->vcpu.halted ? KVM_MP_STATE_HALTED
                                                                 : KVM_MP_STATE_RUNNABLE };
    return !kvm_local_apic_inside(k->kvm) || kvm_ioctl(k->fd, KVM_SET_MP_STATE, &state) == 0;
}

static bool get_mp_state(KvmVcpu *k)
{
    struct kvm_mp_state state = {};
    if (!kvm_local_apic_inside(k->kvm)) {
        return true;
    }
    if (kvm_ioctl(k->fd, KVM_GET_MP_STATE, &state) < 0) {
        return false;
    }
    k->cpu->wait_for_sipi =
        state.mp_state == KVM_MP_STATE_UNINITIALIZED || state.mp_state == KVM_MP_STATE_INIT_RECEIVED;
    k->cpu->vcpu.halted = k->cpu->wait_for_sipi || state.mp_state == KVM_MP_STATE_HALTED;
    return true;
}

/* --- the local APIC --- */

/* Does Apic still say what it made of the kernel's state? The current count goes on by itself. */
static bool lapic_changed(const KvmVcpu *k, const uint8_t *page)
{
    enum { COUNT = APIC_PAGE_CURRENT_COUNT };
    return !k->lapic_valid || memcmp(page, k->lapic_seen, COUNT) != 0 ||
           memcmp(page + COUNT + 4, k->lapic_seen + COUNT + 4, APIC_PAGE_SIZE - COUNT - 4) != 0;
}

static bool put_lapic(KvmVcpu *k)
{
    struct kvm_lapic_state state = {};
    uint8_t                page[APIC_PAGE_SIZE];
    if (!kvm_local_apic_inside(k->kvm) || !k->cpu->apic) {
        return true;
    }
    apic_get_page(k->cpu->apic, page);
    if (!lapic_changed(k, page)) {
        return true;
    }
    G_STATIC_ASSERT(sizeof state.regs == APIC_PAGE_SIZE);
    memcpy(state.regs, page, sizeof page);
    uint64_t deadline = apic_get_tsc_deadline(k->cpu->apic);
    return kvm_ioctl(k->fd, KVM_SET_LAPIC, &state) == 0 && (!deadline || kvm_tsc_deadline_put(k, deadline));
}

static bool get_lapic(KvmVcpu *k, uint64_t apic_base)
{
    struct kvm_lapic_state state = {};
    Apic                  *apic  = k->cpu->apic;
    if (!kvm_local_apic_inside(k->kvm)) {
        return true;
    }
    if (kvm_ioctl(k->fd, KVM_GET_LAPIC, &state) < 0) {
        return false;
    }
    apic_set_page(apic, (const uint8_t *)state.regs, apic_base, kvm_tsc_deadline_get(k));
    apic_get_page(apic, k->lapic_seen);
    k->lapic_valid = true;
    return true;
}

/* --- all --- */

static bool failed(KvmVcpu *k, const char *verb, const char *what)
{
    return kvm_vcpu_fail(k, "KVM does not %s the guest's %s (%s)", verb, what, g_strerror(errno));
}

bool kvm_state_put(KvmVcpu *k)
{
    X86Cpu *cpu      = k->cpu;
    bool    reset    = k->resets != cpu->resets;
    bool    power_on = k->power_ons != cpu->power_ons;
    if (!put_sregs(k)) {
        return failed(k, "take", "segments and control registers");
    }
    if (!put_regs(k)) {
        return failed(k, "take", "registers");
    }
    if (!kvm_xsave_put(k, power_on) || !kvm_msrs_put(k, power_on)) {
        return false;
    }
    if (!put_lapic(k)) {
        return failed(k, "take", "local APIC");
    }
    if (!put_debugregs(k)) {
        return failed(k, "take", "debug registers");
    }
    if (!put_events(k, reset)) {
        return failed(k, "take", "pending events");
    }
    if (!put_mp_state(k)) {
        return failed(k, "take", "run state");
    }
    k->resets    = cpu->resets;
    k->power_ons = cpu->power_ons;
    return true;
}

bool kvm_state_get(KvmVcpu *k)
{
    uint64_t apic_base;
    if (!get_mp_state(k)) { /* first: the kernel takes INIT and SIPI here */
        return failed(k, "give", "run state");
    }
    if (!get_regs(k) || !get_sregs(k, &apic_base)) {
        return failed(k, "give", "registers");
    }
    if (!kvm_xsave_get(k) || !kvm_msrs_get(k)) {
        return false;
    }
    if (!get_lapic(k, apic_base)) {
        return failed(k, "give", "local APIC");
    }
    if (!get_debugregs(k)) {
        return failed(k, "give", "debug registers");
    }
    if (!get_events(k)) {
        return failed(k, "give", "pending events");
    }
    x86_tlb_drop(k->cpu);
    x86_update_mode(k->cpu);
    x86_tlb_flush(k->cpu, true);
    return true;
}
