/* The local APIC's timer. Specification: Intel SDM volume 3, section 11.5.4 (December 2023).
 *
 * Counting is computed: `timer_start` is the virtual time at which the initial count was loaded. The host timer runs
 * only while an interrupt would come of it, and fires on the main loop; whoever looks at the timer before it does finds
 * that interrupt nevertheless. apic->lock guards all of it. */

#include "devices/irq/apic_internal.h"

enum {
    LVT_TIMER_ONESHOT  = 0 << 17,
    LVT_TIMER_PERIODIC = 1 << 17,

    /* A periodic timer faster than this misses beats: each fires on the main loop. The counts stay exact. */
    MIN_PERIOD_NS = 20000,
};

static uint64_t divider(const Apic *apic)
{
    unsigned code = (apic->divide & 3) | (apic->divide >> 1 & 4);
    return code == 7 ? 1 : UINT64_C(2) << code;
}

static uint64_t period_ns(const Apic *apic)
{
    return apic->initial_count * divider(apic); /* 1 GHz: a nanosecond a tick; below 2^39 */
}

static uint64_t timer_elapsed(const Apic *apic)
{
    int64_t elapsed = clock_now(apic->bus->clocks, VIRTUAL_CLOCK) - apic->timer_start;
    return elapsed > 0 ? (uint64_t)elapsed : 0;
}

static uint32_t timer_mode(const Apic *apic)
{
    return apic_load32(&apic->lvt[LVT_TIMER]) & LVT_TIMER_MODE;
}

static uint32_t current_count(const Apic *apic)
{
    uint64_t period = period_ns(apic), elapsed = timer_elapsed(apic);
    if (!period || timer_mode(apic) >= LVT_TIMER_DEADLINE) {
        return 0;
    }
    if (timer_mode(apic) == LVT_TIMER_PERIODIC) {
        elapsed %= period;
    }
    return elapsed >= period ? 0 : apic->initial_count - (uint32_t)(elapsed / divider(apic));
}

void apic_timer_disarm(Apic *apic)
{
    apic->timer_due = -1;
    timer_cancel(&apic->timer);
}

static void timer_arm_at(Apic *apic, int64_t when)
{
    if (apic->external) {
        return;
    }
    apic->timer_due = MAX(when, 0);
    timer_set(&apic->timer, apic->timer_due);
}

/* With the lock held: the host timer as the registers say. Returns whether the deadline has passed already. */
static bool timer_update(Apic *apic)
{
    uint64_t period = period_ns(apic);
    if (timer_mode(apic) == LVT_TIMER_DEADLINE) {
        if (!apic->tsc_deadline) {
            apic_timer_disarm(apic);
            return false;
        }
        if (apic->host.read_tsc(apic->host.opaque) >= apic->tsc_deadline) {
            apic->tsc_deadline = 0;
            apic_timer_disarm(apic);
            return true;
        }
        /* Never now: conversions round down, and the TSC says that it is still to come. */
        int64_t when = apic->host.tsc_to_ns(apic->host.opaque, apic->tsc_deadline);
        timer_arm_at(apic, MAX(when, clock_now(apic->bus->clocks, VIRTUAL_CLOCK) + 1));
        return false;
    }
    if (!period || apic_load32(&apic->lvt[LVT_TIMER]) & LVT_MASKED) {
        apic_timer_disarm(apic);
    } else if (timer_mode(apic) == LVT_TIMER_PERIODIC) {
        int64_t beats = (int64_t)((timer_elapsed(apic) + (period < MIN_PERIOD_NS ? MIN_PERIOD_NS : 0)) / period) + 1;
        timer_arm_at(apic, apic->timer_start + beats * (int64_t)period);
    } else if (apic->timer_due < 0 && timer_elapsed(apic) >= period) {
        apic->timer_done = true; /* ran out while it was masked */
    } else if (!apic->timer_done) {
        timer_arm_at(apic, apic->timer_start + (int64_t)period);
    } else {
        apic_timer_disarm(apic);
    }
    return false;
}

static void timer_interrupt(Apic *apic)
{
    uint32_t lvt = apic_load32(&apic->lvt[LVT_TIMER]);
    if (!(lvt & LVT_MASKED)) {
        apic_accept(apic, (uint8_t)lvt, false);
    }
}

void apic_timer_catch_up(Apic *apic)
{
    if (apic->timer_due < 0 || clock_now(apic->bus->clocks, VIRTUAL_CLOCK) < apic->timer_due) {
        return;
    }
    bool fire       = true;
    apic->timer_due = -1;
    if (timer_mode(apic) == LVT_TIMER_DEADLINE) {
        fire = timer_update(apic);
    } else {
        apic->timer_done = timer_mode(apic) == LVT_TIMER_ONESHOT;
        timer_update(apic);
    }
    if (fire) {
        timer_interrupt(apic);
    }
}

/* Main loop. The vCPU may have changed its mind between the deadline and this call, or, when this one is late, may have
 * looked at its registers meanwhile: timer_due tells. */
static void timer_fire(void *opaque)
{
    Apic *apic = opaque;
    g_mutex_lock(&apic->lock);
    apic_timer_catch_up(apic);
    g_mutex_unlock(&apic->lock);
}

void apic_timer_update(Apic *apic)
{
    if (timer_update(apic)) {
        timer_interrupt(apic);
    }
}

void apic_timer_write_count(Apic *apic, uint32_t value)
{
    if (timer_mode(apic) >= LVT_TIMER_DEADLINE) {
        return;
    }
    g_mutex_lock(&apic->lock);
    apic_timer_catch_up(apic);
    apic->initial_count = value;
    apic->timer_start   = clock_now(apic->bus->clocks, VIRTUAL_CLOCK);
    apic->timer_done    = false;
    apic->timer_due     = apic->timer_start; /* it counts, however short: it has not run out while it was masked */
    timer_update(apic);
    g_mutex_unlock(&apic->lock);
}

/* The count goes on from where it is at the new rate. */
void apic_timer_write_divide(Apic *apic, uint32_t value)
{
    g_mutex_lock(&apic->lock);
    apic_timer_catch_up(apic);
    uint64_t counted  = apic->initial_count - current_count(apic);
    apic->divide      = value & DIVIDE_BITS;
    apic->timer_start = clock_now(apic->bus->clocks, VIRTUAL_CLOCK) - (int64_t)(counted * divider(apic));
    timer_update(apic);
    g_mutex_unlock(&apic->lock);
}

void apic_timer_write_lvt(Apic *apic, uint32_t value)
{
    g_mutex_lock(&apic->lock);
    apic_timer_catch_up(apic);
    uint32_t change = timer_mode(apic) ^ (value & LVT_TIMER_MODE);
    apic_store32(&apic->lvt[LVT_TIMER], value);
    if (change & LVT_TIMER_DEADLINE) { /* to or from deadline mode: disarmed */
        apic->initial_count = 0;
        apic->tsc_deadline  = 0;
    }
    apic_timer_update(apic);
    g_mutex_unlock(&apic->lock);
}

uint64_t apic_get_tsc_deadline(const Apic *apic)
{
    Apic *a = (Apic *)apic;
    g_mutex_lock(&a->lock);
    apic_timer_catch_up(a);
    uint64_t deadline = timer_mode(apic) == LVT_TIMER_DEADLINE ? apic->tsc_deadline : 0;
    g_mutex_unlock(&a->lock);
    return deadline;
}

void apic_set_tsc_deadline(Apic *apic, uint64_t value)
{
    if (timer_mode(apic) == LVT_TIMER_DEADLINE && apic_mode(apic) != APIC_MODE_OFF) {
        g_mutex_lock(&apic->lock);
        apic_timer_catch_up(apic);
        apic->tsc_deadline = value;
        apic_timer_update(apic);
        g_mutex_unlock(&apic->lock);
    }
}

void apic_tsc_changed(Apic *apic)
{
    g_mutex_lock(&apic->lock);
    apic_timer_update(apic);
    g_mutex_unlock(&apic->lock);
}

uint32_t apic_timer_read_count(Apic *apic)
{
    g_mutex_lock(&apic->lock);
    apic_timer_catch_up(apic);
    uint32_t count = current_count(apic);
    g_mutex_unlock(&apic->lock);
    return count;
}

void apic_timer_set_count(Apic *apic, uint32_t current)
{
    current          = MIN(current, apic->initial_count);
    apic->timer_done = timer_mode(apic) == LVT_TIMER_ONESHOT && !current;
    apic->timer_start =
        clock_now(apic->bus->clocks, VIRTUAL_CLOCK) - (int64_t)((apic->initial_count - current) * divider(apic));
}

void apic_timer_init(Apic *apic)
{
    g_mutex_init(&apic->lock);
    timer_init(&apic->timer, apic->bus->clocks, VIRTUAL_CLOCK, timer_fire, apic);
}

void apic_timer_destroy(Apic *apic)
{
    timer_cancel(&apic->timer);
    g_mutex_clear(&apic->lock);
}
