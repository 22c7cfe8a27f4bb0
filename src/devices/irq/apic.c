/* Local APIC and x2APIC: registers and interrupt acceptance. Interrupt messages are in apic_bus.c, the timer in
 * apic_timer.c, saved state in apic_state.c.
 * Specification: Intel SDM volume 3, chapter 11 (December 2023).
 *
 * The vCPU's thread owns the registers. Others read some of them to route interrupts (those are atomics) and set
 * bits of IRR, TMR and the pending words; nothing here takes the machine lock, but for EOIs that the I/O APIC must
 * hear of. */

#include "devices/irq/apic_internal.h"

#include "base/bytes.h"

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
    BASE_DEFAULT = 0xfee00000,
    SVR_DEFAULT  = 0xff,

    ESR_SEND_ILLEGAL     = 1 << 5,
    ESR_RECEIVE_ILLEGAL  = 1 << 6,
    ESR_ILLEGAL_REGISTER = 1 << 7,

};

const uint32_t apic_lvt_bits[N_LVTS] = {
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

void apic_recheck(Apic *apic)
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
    apic_recheck(apic);
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

/* ---- Registers ---- */

static uint32_t x2apic_ldr(uint32_t id)
{
    return id >> 4 << 16 | 1u << (id & 15);
}

/* What is seen here can be taken: whoever set the bit may not have got to telling the CPU. */
static uint32_t read_irr(Apic *apic, unsigned n)
{
    g_mutex_lock(&apic->lock);
    apic_timer_catch_up(apic);
    g_mutex_unlock(&apic->lock);
    uint32_t value = apic_load32(&apic->irr[n]);
    if (value && !apic->external) {
        apic_recheck(apic);
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
    case REG_CURRENT_COUNT: *value = apic_timer_read_count(apic); return true;
    case REG_DIVIDE: *value = apic->divide; return true;
    case REG_APR: /* arbitration, remote read and EOI are not there in x2APIC mode, and 0 otherwise */
    case REG_RRD:
    case REG_EOI: *value = 0; return !is_x2apic(apic);
    default: return false;
    }
}

static void write_lvt(Apic *apic, unsigned n, uint32_t value)
{
    value &= apic_lvt_bits[n];
    if (n == LVT_TIMER && (value & LVT_TIMER_MODE) == LVT_TIMER_MODE) {
        value &= ~LVT_TIMER_MODE; /* reserved */
    }
    if (!(apic_load32(&apic->svr) & SVR_ENABLE)) {
        value |= LVT_MASKED;
    }
    if (n == LVT_TIMER) {
        apic_timer_write_lvt(apic, value);
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
    apic_timer_catch_up(apic);
    apic_store32(&apic->svr, value & SVR_BITS);
    for (unsigned n = 0; off && n < N_LVTS; n++) {
        atomic_fetch_or_explicit(&apic->lvt[n], LVT_MASKED, memory_order_acq_rel);
    }
    apic_timer_update(apic);
    g_mutex_unlock(&apic->lock);
}

static void write_tpr(Apic *apic, uint32_t value)
{
    apic_store32(&apic->tpr, value & 0xff);
    apic_update_ppr(apic);
    apic_recheck(apic);
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
    case REG_INITIAL_COUNT: apic_timer_write_count(apic, value); return true;
    case REG_DIVIDE: apic_timer_write_divide(apic, value); return true;
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
    case REG_LVT ... REG_LVT + N_LVTS - 1: *bits = apic_lvt_bits[reg - REG_LVT] | lvt_read_only; return true;
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

bool apic_set_eoi(Apic *apic)
{
    write_eoi(apic);
    return apic_mode(apic) != APIC_MODE_OFF;
}

bool apic_get_icr(Apic *apic, uint64_t *value)
{
    *value = apic->icr | (uint64_t)apic->icr_high << 32;
    return apic_mode(apic) != APIC_MODE_OFF;
}

bool apic_set_icr(Apic *apic, uint64_t value)
{
    if (apic_mode(apic) == APIC_MODE_OFF) {
        return false;
    }
    apic->icr_high = (uint32_t)(value >> 32);
    write_icr(apic, (uint32_t)value, is_x2apic(apic) ? apic->icr_high : apic->icr_high >> 24);
    return true;
}

uint8_t apic_get_task_priority(const Apic *apic)
{
    return (uint8_t)apic_load32(&apic->tpr);
}

bool apic_set_task_priority(Apic *apic, uint8_t tpr)
{
    write_tpr(apic, tpr);
    return true;
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
    apic_timer_disarm(apic);
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
        apic_store32(&apic->lvt[n], load_le32(page + 16 * (REG_LVT + n)) & (apic_lvt_bits[n] | LVT_REMOTE_IRR));
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
    apic_timer_set_count(apic, load_le32(page + 16 * REG_CURRENT_COUNT));
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
    apic_timer_init(apic);
    region_init_io(&apic->region, memory, "apic", 0x1000, &mmio_ops, apic);
    apic_reset(apic, false);
    apic_bus_add(bus, apic);
    return apic;
}

void apic_free(Apic *apic)
{
    if (apic) {
        apic_bus_remove(apic->bus, apic);
        apic_timer_destroy(apic);
        region_destroy(&apic->region);
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
    apic_timer_disarm(apic);
    g_mutex_unlock(&apic->lock);
    if (!init_only) {
        uint64_t base = BASE_DEFAULT | BASE_ENABLE | (apic->bsp ? BASE_BSP : 0);
        if (atomic_exchange(&apic->base, base) != base && apic->moved) {
            apic->moved(apic->moved_opaque);
        }
    }
}
