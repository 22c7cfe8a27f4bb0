/* PM1 event and control registers and the PM timer.
 * Specification: ACPI 6.4, chapter 4.8.3; the same registers in Intel's 82371AB data sheet (1997), section 7.2, and in
 * that of the ICH9 family, order 316972-004 (August 2008), section 13.8.3. Machine lock. */

#include "devices/acpi/pm1.h"

enum {
    TMROF   = 1 << 0,
    GBL     = 1 << 5,
    PWRBTN  = 1 << 8,
    RTC     = 1 << 10,
    WAK_STS = 1 << 15,
    EVENTS  = TMROF | GBL | PWRBTN | RTC, /* those that make an SCI */
};

enum { SCI_EN = 1 << 0, SLP_TYP_SHIFT = 10, SLP_TYP = 7 << SLP_TYP_SHIFT, SLP_EN = 1 << 13 };

enum { PM_TIMER_HZ = 3579545, PM_TIMER_BITS = 24 };

static uint64_t ticks(const AcpiPm1 *pm1)
{
    return muldiv64((uint64_t)clock_now(pm1->platform->clocks, VIRTUAL_CLOCK), PM_TIMER_HZ, NS_PER_SECOND);
}

/* TMROF_STS is set each time the timer's highest bit changes. */
static void account_overflow(AcpiPm1 *pm1)
{
    uint64_t half = ticks(pm1) >> (PM_TIMER_BITS - 1);
    if (half != pm1->timer_seen) {
        pm1->timer_seen = half;
        pm1->sts |= TMROF;
    }
}

static void overflow_fired(void *opaque)
{
    AcpiPm1 *pm1 = opaque;
    pm1->changed(pm1->opaque);
}

bool pm1_update(AcpiPm1 *pm1, bool gpe)
{
    account_overflow(pm1);
    if ((pm1->en & TMROF) && !(pm1->sts & TMROF)) {
        uint64_t next = ((ticks(pm1) >> (PM_TIMER_BITS - 1)) + 1) << (PM_TIMER_BITS - 1);
        timer_set(&pm1->overflow, (int64_t)muldiv64(next, NS_PER_SECOND, PM_TIMER_HZ) + 1);
    } else {
        timer_cancel(&pm1->overflow);
    }
    return (gpe || (pm1->sts & pm1->en & EVENTS)) && (pm1->cnt & SCI_EN);
}

static void press_power_button(void *pm1)
{
    pm1_power_button(pm1);
}

static bool can_sleep(void *pm1)
{
    return pm1_has_s3(pm1);
}

/* The alarm clock has an enable bit; the power button always does it. */
static bool may_wake(void *opaque, WakeReason reason)
{
    return reason != WAKE_RTC || ((AcpiPm1 *)opaque)->en & RTC;
}

/* The guest finds WAK_STS and why. */
static void woken(void *opaque, WakeReason reason)
{
    static const uint16_t reasons[] = { [WAKE_OTHER] = 0, [WAKE_RTC] = RTC, [WAKE_POWER_BUTTON] = PWRBTN };
    AcpiPm1              *pm1       = opaque;
    pm1->sts |= WAK_STS | reasons[reason];
    pm1->changed(pm1->opaque);
}

void pm1_init(AcpiPm1 *pm1, Platform *platform)
{
    pm1->platform = platform;
    timer_init(&pm1->overflow, platform->clocks, VIRTUAL_CLOCK, overflow_fired, pm1);
    platform->press_power_button = press_power_button;
    platform->power_button       = pm1;
    platform->can_sleep          = can_sleep;
    platform->may_wake           = may_wake;
    platform->woken              = woken;
}

void pm1_destroy(AcpiPm1 *pm1)
{
    timer_cancel(&pm1->overflow);
    if (pm1->platform->power_button == pm1) {
        pm1->platform->press_power_button = NULL;
        pm1->platform->power_button       = NULL;
        pm1->platform->can_sleep          = NULL;
        pm1->platform->may_wake           = NULL;
        pm1->platform->woken              = NULL;
    }
}

void pm1_reset(AcpiPm1 *pm1)
{
    pm1->sts = pm1->en = pm1->cnt = 0;
    pm1->timer_seen               = ticks(pm1) >> (PM_TIMER_BITS - 1);
}

bool pm1_has_s3(const AcpiPm1 *pm1)
{
    return !pm1->disable_s3 && pm1->platform->request_suspend;
}

bool pm1_has_s4(const AcpiPm1 *pm1)
{
    return !pm1->disable_s4;
}

static void enter_sleep(AcpiPm1 *pm1, unsigned type)
{
    Platform *p       = pm1->platform;
    bool      to_disk = type == pm1->s4_val && pm1_has_s4(pm1);
    if (type == PM1_S5_TYPE || to_disk) {
        if (to_disk) { /* the guest has written its memory to disk: what is left to do is to power off */
            platform_emit(p, "SUSPEND_DISK", NULL);
        }
        p->request_shutdown(p, SHUTDOWN_GUEST, 0);
    } else if (type == PM1_S3_TYPE && pm1_has_s3(pm1)) {
        p->request_suspend(p);
    } else {
        log_print(p->log, LOG_GUEST_ERRORS, "%s: sleep type %u is not offered\n", pm1->name, type);
    }
}

/* The first eight bytes are 16-bit registers that may be accessed byte by byte; the timer follows. */
static uint8_t read_byte(AcpiPm1 *pm1, uint64_t offset)
{
    unsigned shift = 8 * (offset & 1);
    switch (offset & ~UINT64_C(1)) {
    case PM1_STS: account_overflow(pm1); return (uint8_t)(pm1->sts >> shift);
    case PM1_EN: return (uint8_t)(pm1->en >> shift);
    case PM1_CNT: return (uint8_t)(pm1->cnt >> shift);
    default: return 0;
    }
}

uint64_t pm1_read(AcpiPm1 *pm1, uint64_t offset, unsigned size)
{
    if (offset >= PM1_TMR && offset < PM1_TMR + 4) {
        return (ticks(pm1) & ((1 << PM_TIMER_BITS) - 1)) >> (8 * (offset - PM1_TMR));
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value |= (uint64_t)read_byte(pm1, offset + i) << (8 * i);
    }
    return value;
}

static void replace_byte(uint16_t *reg, unsigned shift, uint8_t value)
{
    *reg = (uint16_t)((*reg & ~(0xff << shift)) | value << shift);
}

static void write_byte(AcpiPm1 *pm1, uint64_t offset, uint8_t value)
{
    unsigned shift = 8 * (offset & 1);
    switch (offset & ~UINT64_C(1)) {
    case PM1_STS:
        account_overflow(pm1);
        pm1->sts &= (uint16_t) ~(value << shift);
        break;
    case PM1_EN: replace_byte(&pm1->en, shift, value); break;
    case PM1_CNT: replace_byte(&pm1->cnt, shift, value); break;
    default: break;
    }
}

void pm1_write(AcpiPm1 *pm1, uint64_t offset, uint64_t value, unsigned size)
{
    for (unsigned i = 0; i < size; i++) {
        write_byte(pm1, offset + i, (uint8_t)(value >> (8 * i)));
    }
    if (pm1->cnt & SLP_EN) { /* write-only: it starts the sleep */
        pm1->cnt &= (uint16_t)~SLP_EN;
        enter_sleep(pm1, (unsigned)(pm1->cnt & SLP_TYP) >> SLP_TYP_SHIFT);
    }
    pm1->changed(pm1->opaque);
}

void pm1_set_acpi_enabled(AcpiPm1 *pm1, bool on)
{
    pm1->cnt = (uint16_t)((pm1->cnt & ~SCI_EN) | (on ? SCI_EN : 0));
    pm1->changed(pm1->opaque);
}

void pm1_power_button(AcpiPm1 *pm1)
{
    pm1->sts |= PWRBTN;
    pm1->changed(pm1->opaque);
    platform_wake(pm1->platform, WAKE_POWER_BUTTON);
}
