/* Local APIC and x2APIC: registers, interrupt acceptance and the timer. Interrupt messages are in apic_bus.c.
 * Specification: Intel SDM volume 3, chapter 11 (December 2023).
 *
 * The vCPU's thread owns the registers. Others read some of them to route interrupts (those are atomics) and set
 * bits of IRR, TMR and the pending words; nothing here takes the machine lock, but for EOIs that the I/O APIC must
 * hear of. apic->lock guards the timer, which the main loop fires. */

#include "devices/irq/apic_internal.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "desc/state.h"

#include <string.h>

/* Registers, as index of their 16-byte slot; the MSR is 800h + index. */
enum {
    REG_ID            = 0x02,
    REG_VERSION       = 0x03,
    REG_TPR           = 0x08,
    REG_APR           = 0x09,
    REG_PPR           = 0x0a,
    REG_EOI           = 0x0b,
    REG_RRD           = 0x0c,
    REG_LDR           = 0x0d,
    REG_DFR           = 0x0e,
    REG_SVR           = 0x0f,
    REG_ISR           = 0x10, /* 8 registers each */
    REG_TMR           = 0x18,
    REG_IRR           = 0x20,
    REG_ESR           = 0x28,
    REG_ICR           = 0x30,
    REG_ICR_HIGH      = 0x31,
    REG_LVT           = 0x32, /* timer, thermal, performance, LINT0, LINT1, error */
    REG_INITIAL_COUNT = 0x38,
    REG_CURRENT_COUNT = 0x39,
    REG_DIVIDE        = 0x3e,
    REG_SELF_IPI      = 0x3f,
    N_REGS            = 0x40,
};

enum {
    VERSION      = 0x14 | (N_LVTS - 1) << 16 | 1 << 24, /* 1 << 24: EOI broadcasts can be suppressed */
    BASE_BSP     = 1 << 8,
    BASE_DEFAULT = 0xfee00000,
    SVR_DEFAULT  = 0xff,
    SVR_BITS     = 0x11ff,
    DFR_BITS     = 0xf0000000,
    DIVIDE_BITS  = 0x0b,

    ESR_SEND_ILLEGAL     = 1 << 5,
    ESR_RECEIVE_ILLEGAL  = 1 << 6,
    ESR_ILLEGAL_REGISTER = 1 << 7,

    LVT_TIMER_ONESHOT  = 0 << 17,
    LVT_TIMER_PERIODIC = 1 << 17,
    LVT_TIMER_DEADLINE = 2 << 17,
    LVT_TIMER_MODE     = 3 << 17,

    /* A periodic timer faster than this misses beats: each fires on the main loop. The counts stay exact. */
    MIN_PERIOD_NS = 20000,
};

/* Bits of each LVT entry that the guest writes. */
static const uint32_t lvt_bits[N_LVTS] = {
    [LVT_TIMER] = 0x700ff, [LVT_THERMAL] = 0x107ff, [LVT_PERF] = 0x107ff,
    [LVT_LINT0] = 0x1a7ff, [LVT_LINT1] = 0x1a7ff,   [LVT_ERROR] = 0x100ff,
};

static const uint32_t lvt_read_only = LVT_REMOTE_IRR | 1 << 12;

static bool is_x2apic(const Apic *apic)
{
    return apic_mode(apic) == APIC_MODE_X2;
}

static void signal_intr(Apic *apic)
{
    apic->host.signal(apic->host.opaque, APIC_SIGNAL_INTR, 0);
}

/* ---- Request, service, priority: see also apic_priority.c ---- */

/* After the priority fell: something that waited may be due. */
static void recheck(Apic *apic)
{
    if (apic_has_vector(apic)) {
        signal_intr(apic);
    }
}

void apic_error(Apic *apic, uint32_t bit)
{
    uint32_t lvt = apic_load32(&apic->lvt[LVT_ERROR]);
    atomic_fetch_or_explicit(&apic->errors, bit, memory_order_acq_rel);
    /* Only a usable vector: an error about the error would never end. */
    if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16) {
        apic_accept(apic, (uint8_t)lvt, false);
    }
}

void apic_accept(Apic *apic, uint8_t vector, bool level)
{
    if (apic_mode(apic) == APIC_MODE_OFF || !(apic_load32(&apic->svr) & SVR_ENABLE)) {
        return;
    }
    if (vector < 16) {
        apic_error(apic, ESR_RECEIVE_ILLEGAL);
        return;
    }
    if (level) {
        apic_set_bit(apic->tmr, vector);
    } else {
        apic_clear_bit(apic->tmr, vector);
    }
    uint32_t bit = 1u << vector % 32;
    if (!(atomic_fetch_or_explicit(&apic->irr[vector / 32], bit, memory_order_acq_rel) & bit)) {
        signal_intr(apic);
    }
}

static void lint_retrigger(Apic *apic, uint8_t vector);

static void write_eoi(Apic *apic)
{
    int vector = apic_highest_bit(apic->isr);
    if (vector < 0) {
        return;
    }
    apic_clear_bit(apic->isr, (unsigned)vector);
    apic_update_ppr(apic);
    if (apic_test_bit(apic->tmr, (unsigned)vector)) {
        lint_retrigger(apic, (uint8_t)vector);
        if (!(apic_load32(&apic->svr) & SVR_NO_EOI_BROADCAST)) {
            apic_bus_eoi(apic->bus, (uint8_t)vector);
        }
    }
    recheck(apic);
    if (atomic_load_explicit(&apic->taken[vector], memory_order_relaxed)) {
        const IrqTaken *taken = atomic_exchange(&apic->taken[vector], NULL);
        if (taken) {
            taken->call(taken->opaque);
        }
    }
}

/* ---- LVT and local lines ---- */

/* An LVT entry other than the timer's, error's and ExtINT's fires. Any thread. */
static void deliver_lvt(Apic *apic, unsigned n)
{
    uint32_t lvt = apic_load32(&apic->lvt[n]);
    if (lvt & LVT_MASKED || apic_mode(apic) == APIC_MODE_OFF) {
        return;
    }
    switch (lvt & LVT_DELIVERY) {
    case LVT_FIXED: {
        bool level = n == LVT_LINT0 && lvt & LVT_LEVEL;
        if (level) {
            atomic_fetch_or_explicit(&apic->lvt[n], LVT_REMOTE_IRR, memory_order_acq_rel);
        }
        apic_accept(apic, (uint8_t)lvt, level);
        break;
    }
    case LVT_SMI: apic->host.signal(apic->host.opaque, APIC_SIGNAL_SMI, 0); break;
    case LVT_NMI: apic->host.signal(apic->host.opaque, APIC_SIGNAL_NMI, 0); break;
    case LVT_INIT: apic->host.signal(apic->host.opaque, APIC_SIGNAL_INIT, 0); break;
    case LVT_EXTINT: signal_intr(apic); break;
    default: break;
    }
}

/* The level-triggered vector of LINT0 was completed and the line is still high. */
static void lint_retrigger(Apic *apic, uint8_t vector)
{
    uint32_t lvt = apic_load32(&apic->lvt[LVT_LINT0]);
    if (lvt & LVT_REMOTE_IRR && (lvt & 0xff) == vector) {
        atomic_fetch_and_explicit(&apic->lvt[LVT_LINT0], ~(uint32_t)LVT_REMOTE_IRR, memory_order_acq_rel);
        if (atomic_load_explicit(&apic->lint_level[0], memory_order_acquire)) {
            deliver_lvt(apic, LVT_LINT0);
        }
    }
}

void apic_set_lint(Apic *apic, int lint, int level)
{
    bool     before = atomic_exchange_explicit(&apic->lint_level[lint], level != 0, memory_order_acq_rel);
    unsigned n      = lint ? LVT_LINT1 : LVT_LINT0;
    if (!level || before) {
        return;
    }
    if (apic->external) {
        apic->host.signal(apic->host.opaque, lint ? APIC_SIGNAL_NMI : APIC_SIGNAL_INTR, 0);
        return;
    }
    if (apic_mode(apic) != APIC_MODE_OFF) {
        deliver_lvt(apic, n);
    } else if (lint) {
        apic->host.signal(apic->host.opaque, APIC_SIGNAL_NMI, 0); /* the pins are INTR and NMI then */
    } else {
        signal_intr(apic);
    }
}

/* ---- Timer ----
 *
 * Counting is computed: `timer_start` is the virtual time at which the initial count was loaded. The host timer runs
 * only while an interrupt would come of it. */

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

static void timer_disarm(Apic *apic)
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
            timer_disarm(apic);
            return false;
        }
        if (apic->host.read_tsc(apic->host.opaque) >= apic->tsc_deadline) {
            apic->tsc_deadline = 0;
            timer_disarm(apic);
            return true;
        }
        /* Never now: conversions round down, and the TSC says that it is still to come. */
        int64_t when = apic->host.tsc_to_ns(apic->host.opaque, apic->tsc_deadline);
        timer_arm_at(apic, MAX(when, clock_now(apic->bus->clocks, VIRTUAL_CLOCK) + 1));
        return false;
    }
    if (!period || apic_load32(&apic->lvt[LVT_TIMER]) & LVT_MASKED) {
        timer_disarm(apic);
    } else if (timer_mode(apic) == LVT_TIMER_PERIODIC) {
        int64_t beats = (int64_t)((timer_elapsed(apic) + (period < MIN_PERIOD_NS ? MIN_PERIOD_NS : 0)) / period) + 1;
        timer_arm_at(apic, apic->timer_start + beats * (int64_t)period);
    } else if (apic->timer_due < 0 && timer_elapsed(apic) >= period) {
        apic->timer_done = true; /* ran out while it was masked */
    } else if (!apic->timer_done) {
        timer_arm_at(apic, apic->timer_start + (int64_t)period);
    } else {
        timer_disarm(apic);
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

/* With the lock held, so that whoever changes the timer afterwards finds the interrupt where it belongs: what is due
 * by now happens. */
static void timer_catch_up(Apic *apic)
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
    timer_catch_up(apic);
    g_mutex_unlock(&apic->lock);
}

/* With the lock held, after a change of registers. */
static void timer_update_and_fire(Apic *apic)
{
    if (timer_update(apic)) {
        timer_interrupt(apic);
    }
}

static void write_initial_count(Apic *apic, uint32_t value)
{
    if (timer_mode(apic) >= LVT_TIMER_DEADLINE) {
        return;
    }
    g_mutex_lock(&apic->lock);
    timer_catch_up(apic);
    apic->initial_count = value;
    apic->timer_start   = clock_now(apic->bus->clocks, VIRTUAL_CLOCK);
    apic->timer_done    = false;
    timer_update(apic);
    g_mutex_unlock(&apic->lock);
}

/* The count goes on from where it is at the new rate. */
static void write_divide(Apic *apic, uint32_t value)
{
    g_mutex_lock(&apic->lock);
    timer_catch_up(apic);
    uint64_t counted  = apic->initial_count - current_count(apic);
    apic->divide      = value & DIVIDE_BITS;
    apic->timer_start = clock_now(apic->bus->clocks, VIRTUAL_CLOCK) - (int64_t)(counted * divider(apic));
    timer_update(apic);
    g_mutex_unlock(&apic->lock);
}

static void write_lvt_timer(Apic *apic, uint32_t value)
{
    g_mutex_lock(&apic->lock);
    timer_catch_up(apic);
    uint32_t change = timer_mode(apic) ^ (value & LVT_TIMER_MODE);
    apic_store32(&apic->lvt[LVT_TIMER], value);
    if (change & LVT_TIMER_DEADLINE) { /* to or from deadline mode: disarmed */
        apic->initial_count = 0;
        apic->tsc_deadline  = 0;
    }
    timer_update_and_fire(apic);
    g_mutex_unlock(&apic->lock);
}

uint64_t apic_get_tsc_deadline(const Apic *apic)
{
    Apic *a = (Apic *)apic;
    g_mutex_lock(&a->lock);
    timer_catch_up(a);
    uint64_t deadline = timer_mode(apic) == LVT_TIMER_DEADLINE ? apic->tsc_deadline : 0;
    g_mutex_unlock(&a->lock);
    return deadline;
}

void apic_set_tsc_deadline(Apic *apic, uint64_t value)
{
    if (timer_mode(apic) == LVT_TIMER_DEADLINE && apic_mode(apic) != APIC_MODE_OFF) {
        g_mutex_lock(&apic->lock);
        timer_catch_up(apic);
        apic->tsc_deadline = value;
        timer_update_and_fire(apic);
        g_mutex_unlock(&apic->lock);
    }
}

void apic_tsc_changed(Apic *apic)
{
    g_mutex_lock(&apic->lock);
    timer_update_and_fire(apic);
    g_mutex_unlock(&apic->lock);
}

/* ---- Registers ---- */

static uint32_t x2apic_ldr(uint32_t id)
{
    return id >> 4 << 16 | 1u << (id & 15);
}

/* What is seen here can be taken: whoever set the bit may not have got to telling the CPU. */
static uint32_t read_irr(Apic *apic, unsigned n)
{
    g_mutex_lock(&apic->lock);
    timer_catch_up(apic);
    g_mutex_unlock(&apic->lock);
    uint32_t value = apic_load32(&apic->irr[n]);
    if (value && !apic->external) {
        recheck(apic);
    }
    return value;
}

/* false: there is no such register. */
static bool read_register(Apic *apic, unsigned reg, uint32_t *value)
{
    switch (reg) {
    case REG_ID: *value = is_x2apic(apic) ? apic->id : apic->id << 24; return true;
    case REG_VERSION: *value = VERSION; return true;
    case REG_TPR: *value = apic_load32(&apic->tpr); return true;
    case REG_PPR: *value = apic_load32(&apic->ppr); return true;
    case REG_LDR: *value = is_x2apic(apic) ? x2apic_ldr(apic->id) : apic_load32(&apic->ldr); return true;
    case REG_DFR: *value = apic_load32(&apic->dfr); return !is_x2apic(apic);
    case REG_SVR: *value = apic_load32(&apic->svr); return true;
    case REG_ISR ... REG_ISR + 7: *value = apic_load32(&apic->isr[reg - REG_ISR]); return true;
    case REG_TMR ... REG_TMR + 7: *value = apic_load32(&apic->tmr[reg - REG_TMR]); return true;
    case REG_IRR ... REG_IRR + 7: *value = read_irr(apic, reg - REG_IRR); return true;
    case REG_ESR: *value = apic->esr; return true;
    case REG_ICR: *value = apic->icr; return true;
    case REG_ICR_HIGH: *value = apic->icr_high; return true;
    case REG_LVT ... REG_LVT + N_LVTS - 1: *value = apic_load32(&apic->lvt[reg - REG_LVT]); return true;
    case REG_INITIAL_COUNT: *value = apic->initial_count; return true;
    case REG_CURRENT_COUNT:
        g_mutex_lock(&apic->lock);
        timer_catch_up(apic);
        *value = current_count(apic);
        g_mutex_unlock(&apic->lock);
        return true;
    case REG_DIVIDE: *value = apic->divide; return true;
    case REG_APR: /* arbitration, remote read and EOI are not there in x2APIC mode, and 0 otherwise */
    case REG_RRD:
    case REG_EOI: *value = 0; return !is_x2apic(apic);
    default: return false;
    }
}

static void write_lvt(Apic *apic, unsigned n, uint32_t value)
{
    value &= lvt_bits[n];
    if (n == LVT_TIMER && (value & LVT_TIMER_MODE) == LVT_TIMER_MODE) {
        value &= ~LVT_TIMER_MODE; /* reserved */
    }
    if (!(apic_load32(&apic->svr) & SVR_ENABLE)) {
        value |= LVT_MASKED;
    }
    if (n == LVT_TIMER) {
        write_lvt_timer(apic, value);
        return;
    }
    uint32_t before = apic_load32(&apic->lvt[n]);
    apic_store32(&apic->lvt[n], value | (value & LVT_LEVEL ? before & LVT_REMOTE_IRR : 0));
    if (n == LVT_LINT0 && atomic_load_explicit(&apic->lint_level[0], memory_order_acquire)) {
        bool was_waiting = before & LVT_MASKED;
        if ((value & LVT_DELIVERY) == LVT_EXTINT || (value & LVT_LEVEL && was_waiting)) {
            deliver_lvt(apic, LVT_LINT0); /* a level that was masked is heard now */
        }
    }
}

static void write_svr(Apic *apic, uint32_t value)
{
    bool off = !(value & SVR_ENABLE) && apic_load32(&apic->svr) & SVR_ENABLE;
    g_mutex_lock(&apic->lock);
    timer_catch_up(apic);
    apic_store32(&apic->svr, value & SVR_BITS);
    for (unsigned n = 0; off && n < N_LVTS; n++) {
        atomic_fetch_or_explicit(&apic->lvt[n], LVT_MASKED, memory_order_acq_rel);
    }
    timer_update_and_fire(apic);
    g_mutex_unlock(&apic->lock);
}

static void write_tpr(Apic *apic, uint32_t value)
{
    apic_store32(&apic->tpr, value & 0xff);
    apic_update_ppr(apic);
    recheck(apic);
}

static void write_icr(Apic *apic, uint32_t value, uint32_t destination)
{
    uint8_t vector = (uint8_t)value, delivery = value >> 8 & 7;
    apic->icr = value & 0xccfff; /* delivery status is idle at once */
    if ((delivery == APIC_FIXED || delivery == APIC_LOWEST) && vector < 16) {
        apic_error(apic, ESR_SEND_ILLEGAL);
        return;
    }
    apic_bus_send_ipi(apic, value, destination);
}

/* false: no such register, or not writable. */
static bool write_register(Apic *apic, unsigned reg, uint32_t value)
{
    switch (reg) {
    case REG_ID: return !is_x2apic(apic); /* fixed; writes are ignored as by current processors */
    case REG_TPR: write_tpr(apic, value); return true;
    case REG_EOI: write_eoi(apic); return true;
    case REG_LDR: apic_store32(&apic->ldr, value & 0xff000000); return !is_x2apic(apic);
    case REG_DFR: apic_store32(&apic->dfr, (value & DFR_BITS) | ~DFR_BITS); return !is_x2apic(apic);
    case REG_SVR: write_svr(apic, value); return true;
    case REG_ESR: apic->esr = atomic_exchange_explicit(&apic->errors, 0, memory_order_acq_rel); return true;
    case REG_ICR: write_icr(apic, value, apic->icr_high >> 24); return true;
    case REG_ICR_HIGH: apic->icr_high = value & 0xff000000; return true;
    case REG_LVT ... REG_LVT + N_LVTS - 1: write_lvt(apic, reg - REG_LVT, value); return true;
    case REG_INITIAL_COUNT: write_initial_count(apic, value); return true;
    case REG_DIVIDE: write_divide(apic, value); return true;
    case REG_VERSION: /* read-only */
    case REG_APR:
    case REG_PPR:
    case REG_RRD:
    case REG_ISR ... REG_IRR + 7:
    case REG_CURRENT_COUNT: return true;
    default: return false;
    }
}

/* The 4 KiB page of xAPIC mode: 32-bit registers, each alone in 16 bytes. */
static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    Apic    *apic  = opaque;
    uint32_t value = 0;
    if (apic_mode(apic) != APIC_MODE_X) {
        return UINT64_MAX;
    }
    if (offset % 16 == 0 && !(offset / 16 < N_REGS && read_register(apic, (unsigned)offset / 16, &value))) {
        apic_error(apic, ESR_ILLEGAL_REGISTER);
        value = 0;
    }
    return value;
}

static void mmio_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Apic *apic = opaque;
    if (apic_mode(apic) != APIC_MODE_X || offset % 16) {
        return;
    }
    if (offset / 16 >= N_REGS || !write_register(apic, (unsigned)offset / 16, (uint32_t)value)) {
        apic_error(apic, ESR_ILLEGAL_REGISTER);
    }
}

static const IoOps mmio_ops = {
    .name = "apic", .access = IO_LONG, .lockless = true, .read = mmio_read, .write = mmio_write
};

/* Which bits of an x2APIC register may be written at all; others are #GP. 0: read-only or absent. */
static bool x2apic_writable(unsigned reg, uint64_t *bits)
{
    switch (reg) {
    case REG_TPR: *bits = 0xff; return true;
    case REG_EOI:
    case REG_ESR: *bits = 0; return true;
    case REG_SVR: *bits = SVR_BITS; return true;
    case REG_ICR: *bits = UINT64_C(0xffffffff000ccfff); return true;
    case REG_LVT ... REG_LVT + N_LVTS - 1: *bits = lvt_bits[reg - REG_LVT] | lvt_read_only; return true;
    case REG_INITIAL_COUNT: *bits = UINT32_MAX; return true;
    case REG_DIVIDE: *bits = DIVIDE_BITS; return true;
    case REG_SELF_IPI: *bits = 0xff; return true;
    default: return false;
    }
}

bool apic_read_msr(Apic *apic, uint32_t index, uint64_t *value)
{
    unsigned reg = index - 0x800;
    uint32_t low = 0;
    if (!is_x2apic(apic) || reg >= N_REGS || reg == REG_ICR_HIGH || reg == REG_SELF_IPI ||
        !read_register(apic, reg, &low)) {
        return false;
    }
    *value = low | (reg == REG_ICR ? (uint64_t)apic->icr_high << 32 : 0);
    return true;
}

bool apic_write_msr(Apic *apic, uint32_t index, uint64_t value)
{
    unsigned reg = index - 0x800;
    uint64_t bits;
    if (!is_x2apic(apic) || reg >= N_REGS || !x2apic_writable(reg, &bits) || value & ~bits) {
        return false;
    }
    if (reg == REG_SELF_IPI) {
        if (value < 16) {
            apic_error(apic, ESR_SEND_ILLEGAL);
        } else {
            apic_accept(apic, (uint8_t)value, false);
        }
        return true;
    }
    if (reg == REG_ICR) {
        apic->icr_high = (uint32_t)(value >> 32);
        write_icr(apic, (uint32_t)value, apic->icr_high);
        return true;
    }
    return write_register(apic, reg, (uint32_t)value);
}

void apic_set_tpr(Apic *apic, uint8_t cr8)
{
    write_tpr(apic, (uint32_t)(cr8 & 15) << 4);
}

/* ---- External ---- */

void apic_set_external(Apic *apic, bool external)
{
    g_mutex_lock(&apic->lock);
    apic->external = external;
    timer_disarm(apic);
    g_mutex_unlock(&apic->lock);
}

bool apic_get_lint(const Apic *apic, int lint)
{
    return atomic_load_explicit(&apic->lint_level[lint], memory_order_acquire);
}

void apic_get_page(Apic *apic, uint8_t page[APIC_PAGE_SIZE])
{
    memset(page, 0, APIC_PAGE_SIZE);
    for (unsigned reg = 0; reg < N_REGS; reg++) {
        uint32_t value = 0;
        if (reg == REG_DFR || read_register(apic, reg, &value)) {
            store_le32(page + 16 * reg, reg == REG_DFR ? apic_load32(&apic->dfr) : value);
        }
    }
}

void apic_set_page(Apic *apic, const uint8_t page[APIC_PAGE_SIZE], uint64_t base, uint64_t tsc_deadline)
{
    atomic_store_explicit(&apic->base, (base & ~(uint64_t)BASE_BSP) | (apic->bsp ? BASE_BSP : 0), memory_order_release);
    for (unsigned i = 0; i < 8; i++) {
        apic_store32(&apic->isr[i], load_le32(page + 16 * (REG_ISR + i)));
        apic_store32(&apic->tmr[i], load_le32(page + 16 * (REG_TMR + i)));
        apic_store32(&apic->irr[i], load_le32(page + 16 * (REG_IRR + i)));
    }
    for (unsigned n = 0; n < N_LVTS; n++) {
        apic_store32(&apic->lvt[n], load_le32(page + 16 * (REG_LVT + n)) & (lvt_bits[n] | LVT_REMOTE_IRR));
    }
    apic_store32(&apic->svr, load_le32(page + 16 * REG_SVR) & SVR_BITS);
    apic_store32(&apic->tpr, load_le32(page + 16 * REG_TPR) & 0xff);
    apic_store32(&apic->ldr, load_le32(page + 16 * REG_LDR));
    apic_store32(&apic->dfr, load_le32(page + 16 * REG_DFR) | ~DFR_BITS);
    apic->esr      = load_le32(page + 16 * REG_ESR);
    apic->icr      = load_le32(page + 16 * REG_ICR) & 0xccfff;
    apic->icr_high = load_le32(page + 16 * REG_ICR_HIGH);
    apic_update_ppr(apic);

    g_mutex_lock(&apic->lock);
    apic->initial_count = load_le32(page + 16 * REG_INITIAL_COUNT);
    apic->divide        = load_le32(page + 16 * REG_DIVIDE) & DIVIDE_BITS;
    apic->tsc_deadline  = tsc_deadline;
    uint32_t current    = MIN(load_le32(page + 16 * REG_CURRENT_COUNT), apic->initial_count);
    apic->timer_done    = timer_mode(apic) == LVT_TIMER_ONESHOT && !current;
    apic->timer_start =
        clock_now(apic->bus->clocks, VIRTUAL_CLOCK) - (int64_t)((apic->initial_count - current) * divider(apic));
    g_mutex_unlock(&apic->lock);
}

/* ---- IA32_APIC_BASE ---- */

uint64_t apic_get_base(const Apic *apic)
{
    return atomic_load_explicit(&apic->base, memory_order_acquire);
}

void apic_on_base_change(Apic *apic, void (*moved)(void *opaque), void *opaque)
{
    apic->moved        = moved;
    apic->moved_opaque = opaque;
}

bool apic_set_base(Apic *apic, uint64_t value, unsigned phys_bits)
{
    uint64_t old      = apic_get_base(apic);
    uint64_t reserved = 0xff | 1 << 9 | ~(phys_bits < 64 ? (UINT64_C(1) << phys_bits) - 1 : UINT64_MAX);
    uint64_t mode     = value & (BASE_ENABLE | BASE_X2APIC);
    uint64_t old_mode = old & (BASE_ENABLE | BASE_X2APIC);
    if (value & reserved || mode == BASE_X2APIC || (mode == BASE_ENABLE && old_mode == (BASE_ENABLE | BASE_X2APIC)) ||
        (mode == (BASE_ENABLE | BASE_X2APIC) && !old_mode)) {
        return false;
    }
    value = (value & ~(uint64_t)BASE_BSP) | (old & BASE_BSP);
    atomic_store_explicit(&apic->base, value, memory_order_release);
    if (old_mode && !mode) {
        apic_reset(apic, true);
    } else if (mode != old_mode) {
        apic->icr_high = 0;
    }
    if (value != old && apic->moved) {
        apic->moved(apic->moved_opaque);
    }
    return true;
}

/* ---- Life ---- */

Apic *apic_new(ApicBus *bus, Memory *memory, uint32_t apic_id, bool bsp, const ApicHost *host)
{
    Apic *apic = g_new0(Apic, 1);
    apic->bus  = bus;
    apic->id   = apic_id;
    apic->bsp  = bsp;
    apic->host = *host;
    g_mutex_init(&apic->lock);
    timer_init(&apic->timer, bus->clocks, VIRTUAL_CLOCK, timer_fire, apic);
    region_init_io(&apic->region, memory, "apic", 0x1000, &mmio_ops, apic);
    apic_reset(apic, false);
    apic_bus_add(bus, apic);
    return apic;
}

void apic_free(Apic *apic)
{
    if (apic) {
        apic_bus_remove(apic->bus, apic);
        timer_cancel(&apic->timer);
        region_destroy(&apic->region);
        g_mutex_clear(&apic->lock);
        g_free(apic);
    }
}

Region *apic_region(Apic *apic)
{
    return &apic->region;
}

uint32_t apic_id(const Apic *apic)
{
    return apic->id;
}

void apic_reset(Apic *apic, bool init_only)
{
    g_mutex_lock(&apic->lock);
    for (int i = 0; i < 8; i++) {
        apic_store32(&apic->irr[i], 0);
        apic_store32(&apic->isr[i], 0);
        apic_store32(&apic->tmr[i], 0);
    }
    for (int n = 0; n < N_LVTS; n++) {
        apic_store32(&apic->lvt[n], LVT_MASKED);
    }
    if (apic->bsp) {
        /* Firmware's setting from the start, so that code without an idea of APICs hears the 8259. */
        apic_store32(&apic->lvt[LVT_LINT0], LVT_EXTINT);
    }
    apic_store32(&apic->svr, SVR_DEFAULT);
    apic_store32(&apic->tpr, 0);
    apic_store32(&apic->ppr, 0);
    apic_store32(&apic->ldr, 0);
    apic_store32(&apic->dfr, UINT32_MAX);
    apic_store32(&apic->errors, 0);
    atomic_store(&apic->extint_pending, false);
    apic->esr           = 0;
    apic->icr           = 0;
    apic->icr_high      = 0;
    apic->initial_count = 0;
    apic->divide        = 0;
    apic->tsc_deadline  = 0;
    apic->timer_done    = false;
    apic->timer_start   = 0;
    timer_disarm(apic);
    g_mutex_unlock(&apic->lock);
    if (!init_only) {
        uint64_t base = BASE_DEFAULT | BASE_ENABLE | (apic->bsp ? BASE_BSP : 0);
        if (atomic_exchange(&apic->base, base) != base && apic->moved) {
            apic->moved(apic->moved_opaque);
        }
    }
}

/* ---- Saved state ---- */

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
        s->lvt[n] &= lvt_bits[n] | LVT_REMOTE_IRR;
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
    recheck(apic);
    return true;
}
