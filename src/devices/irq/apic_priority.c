/* Local APIC: which interrupt comes next, and the accesses that follow each one: EOI and the task priority.
 * Specification: Intel SDM volume 3, 11.8 (December 2023).
 *
 * apic_has_vector() and apic_get_tpr() on any thread, the rest on the vCPU's. Calls nothing else: it is part of the
 * CPU's hot set (cpu/x86/park.h). */

#include "devices/irq/apic_internal.h"

enum { MSR_TPR = 0x808, MSR_EOI = 0x80b };

void apic_update_ppr(Apic *apic)
{
    int      isr = apic_highest_bit(apic->isr);
    uint32_t tpr = apic_load32(&apic->tpr);
    apic_store32(&apic->ppr, isr >= 0 && (uint32_t)(isr & 0xf0) > (tpr & 0xf0) ? (uint32_t)isr & 0xf0 : tpr);
}

static bool fixed_ready(const Apic *apic)
{
    int irr = apic_highest_bit(apic->irr);
    return irr >= 0 && (irr & 0xf0) > (int)(apic_load32(&apic->ppr) & 0xf0);
}

static bool extint_ready(const Apic *apic)
{
    if (apic_mode(apic) == APIC_MODE_OFF) {
        return atomic_load_explicit(&apic->lint_level[0], memory_order_acquire);
    }
    uint32_t lint0 = apic_load32(&apic->lvt[LVT_LINT0]);
    return atomic_load_explicit(&apic->extint_pending, memory_order_acquire) ||
           (!(lint0 & LVT_MASKED) && (lint0 & LVT_DELIVERY) == LVT_EXTINT &&
            atomic_load_explicit(&apic->lint_level[0], memory_order_acquire));
}

bool apic_has_vector(const Apic *apic)
{
    return extint_ready(apic) || (apic_mode(apic) != APIC_MODE_OFF && fixed_ready(apic));
}

int apic_take_vector(Apic *apic)
{
    if (extint_ready(apic)) {
        atomic_store_explicit(&apic->extint_pending, false, memory_order_release);
        return APIC_EXTINT;
    }
    if (apic_mode(apic) == APIC_MODE_OFF || !fixed_ready(apic)) {
        return -1;
    }
    int vector = apic_highest_bit(apic->irr);
    apic_set_bit(apic->isr, (unsigned)vector);
    apic_clear_bit(apic->irr, (unsigned)vector);
    apic_update_ppr(apic);
    return vector;
}

uint8_t apic_get_tpr(const Apic *apic)
{
    return (uint8_t)(apic_load32(&apic->tpr) >> 4);
}

void apic_set_tpr_quietly(Apic *apic, uint8_t cr8)
{
    apic_store32(&apic->tpr, (uint32_t)(cr8 & 15) << 4);
    apic_update_ppr(apic);
}

/* The end of an edge-triggered interrupt concerns nobody else, unless a timer is behind with its beats. */
static bool end_edge(Apic *apic)
{
    int vector = apic_highest_bit(apic->isr);
    if (vector >= 0) {
        if (apic_test_bit(apic->tmr, (unsigned)vector) ||
            atomic_load_explicit(&apic->taken[vector], memory_order_relaxed)) {
            return false;
        }
        apic_clear_bit(apic->isr, (unsigned)vector);
        apic_update_ppr(apic);
    }
    return true;
}

bool apic_write_msr_quickly(Apic *apic, uint32_t index, uint64_t value)
{
    if (apic_mode(apic) != APIC_MODE_X2) {
        return false;
    }
    if (index == MSR_EOI && value == 0) {
        return end_edge(apic);
    }
    if (index == MSR_TPR && value <= 0xff) {
        apic_store32(&apic->tpr, (uint32_t)value);
        apic_update_ppr(apic);
        return true;
    }
    return false;
}
