/* Interrupts, exceptions and IRET in long mode when nothing is out of the ordinary: everything that is read and written
 * is in the TLB, and all checks pass. Whatever else there is goes the long way (intr.c, far.c), which raises what is to
 * be raised; nothing has been changed then.
 *
 * Specification: Intel SDM 3, 6.14; SDM 2, IRET (December 2023). vCPU thread. Hot set (park.h). */

#include "cpu/x86/quick.h"

/* Present, accessed, not conforming 64-bit code. */
static inline bool is_plain_code64(const X86Descriptor *d)
{
    const uint32_t mask = HIGH_P | HIGH_L | HIGH_D | (SEG_S | SEG_CODE | SEG_C | SEG_A) << 8;
    return (d->high & mask) == (HIGH_P | HIGH_L | (SEG_S | SEG_CODE | SEG_A) << 8);
}

bool x86_quick_deliver(X86Cpu *cpu, unsigned vector, bool software, bool has_error, uint32_t error, uint64_t rip,
                       uint64_t flags)
{
    if (!cpu->long_mode) {
        return x86_quick_interrupt(cpu, vector, software, has_error, error, rip, flags);
    }
    if (vector * 16 + 15 > cpu->idt.limit) {
        return false;
    }
    const uint64_t *gate = quick_span(cpu, cpu->tlb->system_mode, cpu->idt.base + vector * 16, 16, false);
    if (!gate) {
        return false;
    }
    uint64_t low = x86_guest_get64(gate), offset = low >> 32;
    unsigned type = offset >> 8 & 0x1f, ist = offset & 7;
    if ((type | 1) != SYS_TRAP_GATE || !(offset & HIGH_P) || (software && (offset >> 13 & 3) < cpu->cpl)) {
        return false;
    }
    offset = x86_guest_get64(gate + 1) << 32 | (offset & 0xffff0000) | (low & 0xffff);

    X86Descriptor cs;
    if (!quick_descriptor(cpu, (uint16_t)(low >> 16), &cs) || !is_plain_code64(&cs) || !x86_canonical(cpu, offset)) {
        return false;
    }
    unsigned cpl = x86_desc_dpl(&cs);
    if (cpl > cpu->cpl || checks_alignment(cpu)) {
        return false;
    }
    bool     inner = cpl < cpu->cpl;
    uint64_t sp    = cpu->gpr[X86_RSP];
    if (inner || ist) {
        uint32_t at = ist ? 0x24 + 8 * (ist - 1) : 4 + 8 * cpl;
        if ((cpu->tr.attr & SEG_UNUSABLE) || at + 7 > cpu->tr.limit) {
            return false;
        }
        const uint64_t *from = quick_span(cpu, cpu->tlb->system_mode, cpu->tr.base + at, 8, false);
        if (!from) {
            return false;
        }
        sp = x86_guest_get64(from);
    } else if (cpu->stack_size != 8) {
        return false; /* the same ring in compatibility mode: the upper bits of RSP are as good as undefined */
    }
    unsigned  words = has_error ? 6 : 5;
    uint64_t  top   = (sp & ~UINT64_C(0xf)) - 8 * words;
    uint64_t *frame = quick_span(cpu, stack_mode(cpu, cpl), top, 8 * words, true);
    if (!frame) {
        return false;
    }
    if (has_error) {
        x86_guest_put64(frame++, error);
    }
    x86_guest_put64(frame, rip);
    x86_guest_put64(frame + 1, cpu->seg[X86_CS].selector);
    x86_guest_put64(frame + 2, flags);
    x86_guest_put64(frame + 3, cpu->gpr[X86_RSP]);
    x86_guest_put64(frame + 4, cpu->seg[X86_SS].selector);

    if (inner) {
        cpu->seg[X86_SS] = (X86Segment){ .attr = SEG_UNUSABLE | cpl << SEG_DPL_SHIFT, .selector = (uint16_t)cpl };
    }
    cpu->gpr[X86_RSP] = top;
    x86_set_segment(cpu, X86_CS, (uint16_t)((cs.selector & 0xfffc) | cpl), &cs);
    uint32_t clear = EFLAGS_TF | EFLAGS_NT | EFLAGS_RF | EFLAGS_VM | (type == SYS_INT_GATE ? EFLAGS_IF : 0);
    cpu->eflags &= ~clear;
    cpu->rip = offset;
    x86_update_mode(cpu);
    return true;
}

bool x86_quick_iret(X86Cpu *cpu)
{
    if (cpu->code_size != X86_CODE64 || (cpu->eflags & EFLAGS_NT) || checks_alignment(cpu)) {
        return false;
    }
    const uint64_t *frame = quick_span(cpu, stack_mode(cpu, cpu->cpl), cpu->gpr[X86_RSP], 40, false);
    if (!frame) {
        return false;
    }
    uint64_t      rip = x86_guest_get64(frame), flags = x86_guest_get64(frame + 2), sp = x86_guest_get64(frame + 3);
    uint16_t      cs = (uint16_t)x86_guest_get64(frame + 1), ss = (uint16_t)x86_guest_get64(frame + 4);
    unsigned      rpl = cs & 3u;
    X86Descriptor code, data;
    if (!quick_descriptor(cpu, cs, &code) || !is_plain_code64(&code) || x86_desc_dpl(&code) != rpl || rpl < cpu->cpl ||
        !x86_canonical(cpu, rip) || (ss & 3u) != rpl) {
        return false;
    }
    if (!x86_null_selector(ss)) {
        if (!quick_descriptor(cpu, ss, &data) || !is_plain_data(&data) || x86_desc_dpl(&data) != rpl) {
            return false;
        }
        x86_set_segment(cpu, X86_SS, ss, &data);
    } else {
        if (rpl == 3) {
            return false;
        }
        x86_set_null_segment(cpu, X86_SS, ss);
    }
    uint64_t mask  = x86_popf_mask(cpu, 8) | EFLAGS_RF | (cpu->cpl == 0 ? EFLAGS_VIF | EFLAGS_VIP : 0);
    bool     outer = rpl > cpu->cpl;
    x86_set_segment(cpu, X86_CS, cs, &code);
    cpu->gpr[X86_RSP] = sp;
    x86_set_eflags(cpu, flags, mask);
    if (outer) {
        x86_drop_privileged_segments(cpu, rpl);
    }
    cpu->rip = rip;
    x86_update_mode(cpu);
    return true;
}
