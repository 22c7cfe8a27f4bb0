/* TCO (total cost of ownership) logic of the ICH9: a watchdog that counts twice, then resets the machine (or does
 * what -watchdog-action says).
 * Specification: Intel I/O Controller Hub 9 Family data sheet, order 316972-004 (August 2008), section 13.9.
 * Machine lock; the timer fires on the main loop.
 *
 * On a board the timer counts from power-on until firmware halts it. Here it stands until software writes TCO_RLD or
 * starts it, because direct boot has no firmware that would. */

#include "devices/acpi/ich9_tco.h"

enum {
    TCO_RLD      = 0x00,
    TCO_DAT_IN   = 0x02,
    TCO_DAT_OUT  = 0x03,
    TCO1_STS     = 0x04,
    TCO2_STS     = 0x06,
    TCO1_CNT     = 0x08,
    TCO2_CNT     = 0x0a,
    TCO_MESSAGE1 = 0x0c,
    TCO_MESSAGE2 = 0x0d,
    TCO_WDCNT    = 0x0e,
    SW_IRQ_GEN   = 0x10,
    TCO_TMR      = 0x12,

    STS1_SW_TCO_SMI    = 1 << 1,
    STS1_TCO_INT       = 1 << 2,
    STS1_TIMEOUT       = 1 << 3,
    STS1_CLEARABLE     = 0x138e, /* by writing 1 */
    STS2_INTRUDER      = 1 << 0,
    STS2_SECOND_TO     = 1 << 1,
    STS2_BOOT          = 1 << 2,
    STS2_CLEARABLE     = 0x0016 | STS2_INTRUDER,
    CNT1_TIMER_HALT    = 1 << 11,
    CNT1_LOCK          = 1 << 12,
    CNT1_WRITABLE      = CNT1_TIMER_HALT | CNT1_LOCK | 0x0200,
    CNT2_WRITABLE      = 0x003e,
    TIMER_MASK         = 0x3ff,
    TIMER_DEFAULT      = 4,
    CNT2_DEFAULT       = 8,
    SW_IRQ_GEN_DEFAULT = 3,
};

/* The timer counts at about 0.6 s. */
static const int64_t tick_ns = 600 * INT64_C(1000000);

static void arm(Ich9Tco *tco)
{
    if (!tco->counting || tco->cnt1 & CNT1_TIMER_HALT) {
        timer_cancel(&tco->timer);
        return;
    }
    timer_set(&tco->timer, tco->expires);
}

static void reload(Ich9Tco *tco)
{
    tco->rld      = tco->tmr;
    tco->expires  = clock_now(tco->platform->clocks, VIRTUAL_CLOCK) + tco->tmr * tick_ns;
    tco->counting = true;
    arm(tco);
}

static void fired(void *opaque)
{
    Ich9Tco *tco = opaque;
    if (!(tco->sts1 & STS1_TIMEOUT)) {
        tco->sts1 |= STS1_TIMEOUT;
        tco->smi(tco->opaque);
        reload(tco);
        return;
    }
    tco->counting = false;
    tco->sts2 |= STS2_SECOND_TO;
    if (!tco->no_reboot(tco->opaque)) {
        tco->sts2 |= STS2_BOOT;
        tco->platform->watchdog_expired(tco->platform);
    }
}

static uint16_t left(const Ich9Tco *tco)
{
    int64_t ns = tco->expires - clock_now(tco->platform->clocks, VIRTUAL_CLOCK);
    if (!tco->counting || tco->cnt1 & CNT1_TIMER_HALT) {
        return tco->rld;
    }
    return ns > 0 ? (uint16_t)(ns / tick_ns) & TIMER_MASK : 0;
}

static uint16_t read_word(Ich9Tco *tco, uint64_t offset)
{
    switch (offset) {
    case TCO_RLD: return left(tco);
    case TCO_DAT_IN: return (uint16_t)(tco->dat_in | tco->dat_out << 8);
    case TCO1_STS: return tco->sts1;
    case TCO2_STS: return tco->sts2;
    case TCO1_CNT: return tco->cnt1;
    case TCO2_CNT: return tco->cnt2;
    case TCO_MESSAGE1: return (uint16_t)(tco->message[0] | tco->message[1] << 8);
    case TCO_WDCNT: return tco->wdcnt;
    case SW_IRQ_GEN: return tco->sw_irq;
    case TCO_TMR: return tco->tmr;
    default: return 0;
    }
}

static void write_control1(Ich9Tco *tco, uint16_t value)
{
    uint16_t old = tco->cnt1;
    if (!(value & CNT1_TIMER_HALT) != !(old & CNT1_TIMER_HALT)) {
        if (value & CNT1_TIMER_HALT) {
            tco->rld = left(tco);
        } else {
            tco->expires  = clock_now(tco->platform->clocks, VIRTUAL_CLOCK) + tco->rld * tick_ns;
            tco->counting = true;
        }
    }
    tco->cnt1 = (uint16_t)((value & CNT1_WRITABLE) | (old & CNT1_LOCK)); /* a lock holds until reset */
    arm(tco);
}

/* Bits of `mask` are written. */
static void write_word(Ich9Tco *tco, uint64_t offset, uint16_t value, uint16_t mask)
{
    uint16_t merged = (uint16_t)((read_word(tco, offset) & ~mask) | (value & mask));

    switch (offset) {
    case TCO_RLD: reload(tco); break;
    case TCO_DAT_IN:
        if (mask & 0x00ff) {
            tco->dat_in = (uint8_t)value;
            tco->sts1 |= STS1_SW_TCO_SMI;
            tco->smi(tco->opaque);
        }
        if (mask & 0xff00) {
            tco->dat_out = (uint8_t)(value >> 8);
            tco->sts1 |= STS1_TCO_INT;
        }
        break;
    case TCO1_STS: tco->sts1 &= (uint16_t) ~(value & mask & STS1_CLEARABLE); break;
    case TCO2_STS: tco->sts2 &= (uint16_t) ~(value & mask & STS2_CLEARABLE); break;
    case TCO1_CNT: write_control1(tco, merged); break;
    case TCO2_CNT: tco->cnt2 = merged & CNT2_WRITABLE; break;
    case TCO_MESSAGE1:
        tco->message[0] = (uint8_t)merged;
        tco->message[1] = (uint8_t)(merged >> 8);
        break;
    case TCO_WDCNT: tco->wdcnt = (uint8_t)merged; break;
    case SW_IRQ_GEN: tco->sw_irq = (uint8_t)merged; break;
    case TCO_TMR: tco->tmr = merged & TIMER_MASK; break;
    default: break;
    }
}

uint64_t tco_read(Ich9Tco *tco, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        uint64_t at = offset + i;
        value |= (uint64_t)(read_word(tco, at & ~UINT64_C(1)) >> (8 * (at & 1)) & 0xff) << (8 * i);
    }
    return value;
}

/* 32-bit writes reach two registers; a byte reaches half of one. */
void tco_write(Ich9Tco *tco, uint64_t offset, uint64_t value, unsigned size)
{
    if (size == 1) {
        unsigned shift = 8 * (offset & 1);
        write_word(tco, offset & ~UINT64_C(1), (uint16_t)(value << shift), (uint16_t)(0xff << shift));
        return;
    }
    for (unsigned i = 0; i < size; i += 2) {
        write_word(tco, offset + i, (uint16_t)(value >> (8 * i)), 0xffff);
    }
}

void tco_init(Ich9Tco *tco, Platform *platform)
{
    tco->platform = platform;
    timer_init(&tco->timer, platform->clocks, VIRTUAL_CLOCK, fired, tco);
}

void tco_destroy(Ich9Tco *tco)
{
    timer_cancel(&tco->timer);
}

/* TCO2_STS lies in the resume well: software finds there why it was reset. */
void tco_reset(Ich9Tco *tco, ResetKind kind)
{
    timer_cancel(&tco->timer);
    tco->counting = false;
    tco->expires  = 0;
    tco->rld      = TIMER_DEFAULT;
    tco->tmr      = TIMER_DEFAULT;
    tco->sts1     = 0;
    tco->sts2     = kind == RESET_COLD ? 0 : tco->sts2;
    tco->cnt1     = 0;
    tco->cnt2     = CNT2_DEFAULT;
    tco->dat_in = tco->dat_out = tco->wdcnt = 0;
    tco->message[0] = tco->message[1] = 0;
    tco->sw_irq                       = SW_IRQ_GEN_DEFAULT;
}

void tco_post_load(Ich9Tco *tco)
{
    arm(tco);
}
