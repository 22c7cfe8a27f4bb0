/* The local APIC's saved state. The vCPU stands. */

#include "devices/irq/apic_internal.h"

#include "desc/state.h"

/* The registers as plain integers: the atomics are copied in and out. */
typedef struct ApicState {
    uint64_t base, tsc_deadline;
    uint32_t irr[8], isr[8], tmr[8], lvt[N_LVTS];
    uint32_t svr, tpr, ldr, dfr, errors, esr, icr, icr_high, initial_count, divide;
    int64_t  timer_start;
    bool     timer_done, extint_pending;
} ApicState;

static const Field apic_state[] = {
    FIELD(ApicState, base, "base"),
    FIELD_ARRAY(ApicState, irr, "irr"),
    FIELD_ARRAY(ApicState, isr, "isr"),
    FIELD_ARRAY(ApicState, tmr, "tmr"),
    FIELD_ARRAY(ApicState, lvt, "lvt"),
    FIELD(ApicState, svr, "svr"),
    FIELD(ApicState, tpr, "tpr"),
    FIELD(ApicState, ldr, "ldr"),
    FIELD(ApicState, dfr, "dfr"),
    FIELD(ApicState, errors, "errors"),
    FIELD(ApicState, esr, "esr"),
    FIELD(ApicState, icr, "icr"),
    FIELD(ApicState, icr_high, "icr-high"),
    FIELD(ApicState, initial_count, "initial-count"),
    FIELD(ApicState, divide, "divide"),
    FIELD(ApicState, timer_start, "timer-start"),
    FIELD(ApicState, timer_done, "timer-done"),
    FIELD(ApicState, tsc_deadline, "tsc-deadline"),
    FIELD(ApicState, extint_pending, "extint-pending"),
    {},
};

void apic_save(Apic *apic, GByteArray *out)
{
    ApicState s = { .base           = apic_get_base(apic),
                    .svr            = apic_load32(&apic->svr),
                    .tpr            = apic_load32(&apic->tpr),
                    .ldr            = apic_load32(&apic->ldr),
                    .dfr            = apic_load32(&apic->dfr),
                    .errors         = apic_load32(&apic->errors),
                    .esr            = apic->esr,
                    .icr            = apic->icr,
                    .icr_high       = apic->icr_high,
                    .extint_pending = atomic_load(&apic->extint_pending) };
    for (int i = 0; i < 8; i++) {
        s.irr[i] = apic_load32(&apic->irr[i]);
        s.isr[i] = apic_load32(&apic->isr[i]);
        s.tmr[i] = apic_load32(&apic->tmr[i]);
    }
    for (int n = 0; n < N_LVTS; n++) {
        s.lvt[n] = apic_load32(&apic->lvt[n]);
    }
    g_mutex_lock(&apic->lock);
    s.initial_count = apic->initial_count;
    s.divide        = apic->divide;
    s.timer_start   = apic->timer_start;
    s.timer_done    = apic->timer_done;
    s.tsc_deadline  = apic->tsc_deadline;
    g_mutex_unlock(&apic->lock);
    state_save(apic_state, &s, out);
}

static bool validate(const Apic *apic, ApicState *s, Error *err)
{
    uint64_t mode = s->base & (BASE_ENABLE | BASE_X2APIC);
    if (s->base & (0xff | 1 << 9) || mode == BASE_X2APIC) {
        return error_set(err, "base: 0x%" PRIx64 " is no value of IA32_APIC_BASE", s->base);
    }
    if (s->timer_start < -INT64_MAX / 2 || s->timer_start > INT64_MAX / 2) {
        return error_set(err, "timer-start: %" PRId64 " is out of range", s->timer_start);
    }
    if (s->irr[0] & 0xffff || s->isr[0] & 0xffff) {
        return error_set(err, "irr, isr: vectors below 16 do not exist");
    }
    s->base = (s->base & ~(uint64_t)BASE_BSP) | (apic->bsp ? BASE_BSP : 0);
    s->svr &= SVR_BITS;
    s->tpr &= 0xff;
    s->ldr &= 0xff000000;
    s->dfr |= ~DFR_BITS;
    s->divide &= DIVIDE_BITS;
    s->icr &= 0xccfff;
    for (int n = 0; n < N_LVTS; n++) {
        s->lvt[n] &= apic_lvt_bits[n] | LVT_REMOTE_IRR;
        s->lvt[n] |= s->svr & SVR_ENABLE || (n == LVT_LINT0 && apic->bsp) ? 0 : LVT_MASKED;
    }
    return true;
}

bool apic_load(Apic *apic, const uint8_t *data, size_t len, Error *err)
{
    ApicState s = {};
    if (!state_load(apic_state, &s, data, len, err) || !validate(apic, &s, err)) {
        return false;
    }
    for (int i = 0; i < 8; i++) {
        apic_store32(&apic->irr[i], s.irr[i]);
        apic_store32(&apic->isr[i], s.isr[i]);
        apic_store32(&apic->tmr[i], s.tmr[i]);
    }
    for (int n = 0; n < N_LVTS; n++) {
        apic_store32(&apic->lvt[n], s.lvt[n]);
    }
    apic_store32(&apic->svr, s.svr);
    apic_store32(&apic->tpr, s.tpr);
    apic_store32(&apic->ldr, s.ldr);
    apic_store32(&apic->dfr, s.dfr);
    apic_store32(&apic->errors, s.errors);
    atomic_store(&apic->extint_pending, s.extint_pending);
    apic->esr      = s.esr;
    apic->icr      = s.icr;
    apic->icr_high = s.icr_high;
    g_mutex_lock(&apic->lock);
    apic->initial_count = s.initial_count;
    apic->divide        = s.divide;
    apic->timer_start   = s.timer_start;
    apic->timer_done    = s.timer_done;
    apic->tsc_deadline  = s.tsc_deadline;
    apic->timer_due     = s.timer_done ? -1 : 0; /* what was due and had not fired yet fires now */
    g_mutex_unlock(&apic->lock);
    apic_update_ppr(apic);
    if (atomic_exchange(&apic->base, s.base) != s.base && apic->moved) {
        apic->moved(apic->moved_opaque);
    }
    apic_tsc_changed(apic);
    apic_recheck(apic);
    return true;
}
