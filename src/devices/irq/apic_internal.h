/* What the files of the local APIC share: apic.c, apic_priority.c, apic_timer.c, apic_state.c, apic_bus.c. */

#ifndef QUERN_DEVICES_IRQ_APIC_INTERNAL_H
#define QUERN_DEVICES_IRQ_APIC_INTERNAL_H

#include "devices/irq/apic.h"

#include <inttypes.h>
#include <stdatomic.h>

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, N_LVTS };

enum {
    LVT_DELIVERY   = 7 << 8,
    LVT_FIXED      = 0 << 8,
    LVT_SMI        = 2 << 8,
    LVT_NMI        = 4 << 8,
    LVT_INIT       = 5 << 8,
    LVT_EXTINT     = 7 << 8,
    LVT_REMOTE_IRR = 1 << 14,
    LVT_LEVEL      = 1 << 15,
    LVT_MASKED     = 1 << 16,

    LVT_TIMER_DEADLINE = 2 << 17,
    LVT_TIMER_MODE     = 3 << 17,

    SVR_BITS             = 0x11ff,
    SVR_ENABLE           = 1 << 8,
    SVR_NO_EOI_BROADCAST = 1 << 12,

    DFR_BITS    = 0xf0000000,
    DIVIDE_BITS = 0x0b,

    BASE_BSP    = 1 << 8,
    BASE_X2APIC = 1 << 10,
    BASE_ENABLE = 1 << 11,
};

/* Delivery modes of interrupt messages. */
enum {
    APIC_FIXED  = 0,
    APIC_LOWEST = 1,
    APIC_SMI    = 2,
    APIC_NMI    = 4,
    APIC_INIT   = 5,
    APIC_SIPI   = 6,
    APIC_EXTERN = 7,
};

typedef enum ApicMode { APIC_MODE_OFF, APIC_MODE_X, APIC_MODE_X2 } ApicMode;

struct Apic {
    ApicBus *bus;
    ApicHost host;
    uint32_t id;
    bool     bsp;
    bool     external; /* another local APIC does the work */
    Region   region;
    void (*moved)(void *opaque);
    void *moved_opaque;

    /* Written by the vCPU's thread (IRR, TMR, errors and remote IRR by any), read by all. */
    _Atomic uint64_t base;
    _Atomic uint32_t irr[8], isr[8], tmr[8];
    _Atomic uint32_t lvt[N_LVTS];
    _Atomic uint32_t svr, tpr, ppr, ldr, dfr;
    _Atomic uint32_t errors; /* since ESR was written */
    _Atomic bool     lint_level[2];
    _Atomic bool     extint_pending; /* an ExtINT message came */
    /* By vector: who waits for the end of that interrupt, NULL: nobody. */
    _Atomic(const IrqTaken *) taken[256];

    /* The vCPU's thread only. */
    uint32_t esr, icr, icr_high;

    GMutex   lock; /* guards the rest; LVT_TIMER is written with it held */
    Timer    timer;
    int64_t  timer_due; /* what the timer was last set to; -1: nothing is due */
    int64_t  timer_start;
    bool     timer_done; /* one-shot: it has fired */
    uint32_t initial_count, divide;
    uint64_t tsc_deadline;
};

typedef struct EoiListener {
    void (*eoi)(void *opaque, uint8_t vector);
    void *opaque;
} EoiListener;

enum { APIC_BUS_MAX = 4096, EOI_LISTENERS = 8 };

struct ApicBus {
    void (*sink)(void *opaque, uint64_t address, uint32_t data);
    void            *sink_opaque;
    Clocks          *clocks;
    Log             *log;
    _Atomic(Apic *)  apics[APIC_BUS_MAX]; /* by APIC ID */
    _Atomic unsigned end;                 /* one past the highest ID */
    _Atomic unsigned turn;                /* for lowest-priority delivery among equals */
    EoiListener      listeners[EOI_LISTENERS];
    _Atomic unsigned n_listeners;
};

static inline ApicMode apic_mode(const Apic *apic)
{
    uint64_t base = atomic_load_explicit(&apic->base, memory_order_acquire);
    return !(base & BASE_ENABLE) ? APIC_MODE_OFF : base & BASE_X2APIC ? APIC_MODE_X2 : APIC_MODE_X;
}

/* --- registers that other threads read --- */

static inline uint32_t apic_load32(const _Atomic uint32_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

static inline void apic_store32(_Atomic uint32_t *word, uint32_t value)
{
    atomic_store_explicit(word, value, memory_order_relaxed);
}

static inline int apic_highest_bit(const _Atomic uint32_t *words)
{
    for (int i = 7; i >= 0; i--) {
        uint32_t word = atomic_load_explicit(&words[i], memory_order_acquire);
        if (word) {
            return 32 * i + 31 - __builtin_clz(word);
        }
    }
    return -1;
}

static inline void apic_set_bit(_Atomic uint32_t *words, unsigned bit)
{
    atomic_fetch_or_explicit(&words[bit / 32], 1u << bit % 32, memory_order_acq_rel);
}

static inline void apic_clear_bit(_Atomic uint32_t *words, unsigned bit)
{
    atomic_fetch_and_explicit(&words[bit / 32], ~(1u << bit % 32), memory_order_acq_rel);
}

static inline bool apic_test_bit(const _Atomic uint32_t *words, unsigned bit)
{
    return atomic_load_explicit(&words[bit / 32], memory_order_acquire) >> bit % 32 & 1;
}

/* apic_priority.c */
void apic_update_ppr(Apic *apic);

/* apic.c: a fixed interrupt arrives. Any thread. */
void apic_accept(Apic *apic, uint8_t vector, bool level);
void apic_error(Apic *apic, uint32_t bit);
/* After the priority fell: something that waited may be due. */
void apic_recheck(Apic *apic);
/* Bits of each LVT entry that the guest writes. */
extern const uint32_t apic_lvt_bits[N_LVTS];

/* apic_timer.c. With the lock held: what is due by now happens, so that whoever changes or reads registers next finds
 * the interrupt where it belongs; the host timer as the registers say, after a change of them. */
void apic_timer_catch_up(Apic *apic);
void apic_timer_update(Apic *apic);
void apic_timer_disarm(Apic *apic);
/* With the lock held: the initial count and the divider are there, the count goes on from here. */
void apic_timer_set_count(Apic *apic, uint32_t current);
/* The registers. They take the lock. */
uint32_t apic_timer_read_count(Apic *apic);
void     apic_timer_write_count(Apic *apic, uint32_t value);
void     apic_timer_write_divide(Apic *apic, uint32_t value);
void     apic_timer_write_lvt(Apic *apic, uint32_t value);
/* The lock and the host timer. */
void apic_timer_init(Apic *apic);
void apic_timer_destroy(Apic *apic);

/* apic_bus.c */
void apic_bus_add(ApicBus *bus, Apic *apic);
void apic_bus_remove(ApicBus *bus, Apic *apic);
/* What a write of `icr` (low half) sends; destination as the sender's mode has it. */
void apic_bus_send_ipi(Apic *from, uint32_t icr, uint32_t destination);

#endif
