/* High precision event timers.
 * Specification: IA-PC HPET specification 1.0a (2004). Machine lock; timers fire on the main loop. */

#include "devices/timer/hpet.h"

enum {
    HPET_SIZE  = 0x400,
    HPET_MAX   = 32,
    GCAP_ID    = 0x000,
    GEN_CONF   = 0x010,
    GINTR_STA  = 0x020,
    MAIN_CNT   = 0x0f0,
    TIMER_BASE = 0x100, /* each timer has 20h bytes */
    TIMER_CONF = 0x00,
    TIMER_COMP = 0x08,
    TIMER_FSB  = 0x10,
};

enum { ENABLE_CNF = 1 << 0, LEG_RT_CNF = 1 << 1 };

enum {
    INT_TYPE_CNF    = 1 << 1, /* level */
    INT_ENB_CNF     = 1 << 2,
    TYPE_CNF        = 1 << 3, /* periodic */
    PER_INT_CAP     = 1 << 4,
    SIZE_CAP        = 1 << 5,
    VAL_SET_CNF     = 1 << 6,
    MODE32_CNF      = 1 << 8,
    INT_ROUTE_SHIFT = 9,
    INT_ROUTE_CNF   = 0x1f << INT_ROUTE_SHIFT,
    FSB_EN_CNF      = 1 << 14,
    FSB_INT_DEL_CAP = 1 << 15,
    TIMER_WRITABLE  = INT_TYPE_CNF | INT_ENB_CNF | TYPE_CNF | VAL_SET_CNF | MODE32_CNF | INT_ROUTE_CNF | FSB_EN_CNF,
};

enum { TICK_NS = HPET_PERIOD_FS / 1000000, HPET_VENDOR = 0x8086, HPET_REVISION = 1 };

/* Beats of a shorter period are left out: the main loop could do nothing else. */
enum { MIN_BEAT_TICKS = 10000 / TICK_NS };

/* Beats that came due while the guest had not taken the one before, or nobody was there to make them: they come when it
 * has (where nobody can tell when that is, this many in a period), if they are not older than OWED_TICKS. */
enum { RETRIES = 32, OWED_TICKS = 1000000000 / TICK_NS };

#define LATE_TICKS (INT64_C(1) << 31)  /* a comparator written so much too late still matches */
#define FAR_TICKS  (UINT64_C(1) << 58) /* nobody will see it */

typedef struct HpetTimer {
    Hpet    *hpet;
    uint8_t  n;
    uint64_t conf, comparator, period, fsb;
    Timer    timer;  /* runs towards the next match */
    IrqPin  *driven; /* level-triggered: the pin held high */
    uint32_t owed;   /* beats */
    IrqTaken taken;  /* the one that keeps back the next has been taken */
} HpetTimer;

struct Hpet {
    Device    dev;
    uint8_t   n_timers;
    bool      msi;
    uint32_t  intcap;
    uint64_t  conf, status;
    uint64_t  counter; /* when it was started, or now while it stands still */
    int64_t   since;   /* virtual-clock time at which it was started */
    uint8_t   legacy_levels;
    HpetTimer timers[HPET_MAX];
    Region    registers;
};

static bool running(const Hpet *hpet)
{
    return hpet->conf & ENABLE_CNF;
}

static bool legacy(const Hpet *hpet)
{
    return hpet->conf & LEG_RT_CNF;
}

static int64_t now_ns(const Hpet *hpet)
{
    return clock_now(hpet->dev.platform->clocks, VIRTUAL_CLOCK);
}

static uint64_t ns_running(const Hpet *hpet)
{
    return (uint64_t)now_ns(hpet) - (uint64_t)hpet->since;
}

static uint64_t counter_now(const Hpet *hpet)
{
    return hpet->counter + (running(hpet) ? ns_running(hpet) / TICK_NS : 0);
}

/* --- interrupts --- */

static IrqPin *timer_pin(const HpetTimer *t)
{
    const Platform *p     = t->hpet->dev.platform;
    unsigned        route = (unsigned)(t->conf & INT_ROUTE_CNF) >> INT_ROUTE_SHIFT;
    if (legacy(t->hpet) && t->n < 2) {
        return p->isa_irq[t->n ? 8 : 0];
    }
    return route < G_N_ELEMENTS(p->gsi) && t->hpet->intcap >> route & 1 ? p->gsi[route] : NULL;
}

static bool uses_messages(const HpetTimer *t)
{
    return t->conf & FSB_EN_CNF && t->hpet->msi;
}

/* Timers may share a pin: it falls when the last one lets go. */
static void release_pin(HpetTimer *t)
{
    IrqPin *pin = t->driven;
    t->driven   = NULL;
    for (unsigned i = 0; pin && i < t->hpet->n_timers; i++) {
        if (t->hpet->timers[i].driven == pin) {
            return;
        }
    }
    irq_lower(&(IrqLine){ pin });
}

/* Holds the pin of a level-triggered timer high while its status bit is set. */
static void update_line(HpetTimer *t)
{
    bool active = t->conf & INT_TYPE_CNF && t->conf & INT_ENB_CNF && !uses_messages(t) && t->hpet->status >> t->n & 1;
    IrqPin *wanted = active ? timer_pin(t) : NULL;
    if (t->driven != wanted) {
        release_pin(t);
        t->driven = wanted;
        irq_raise(&(IrqLine){ wanted });
    }
}

static void timer_matched(HpetTimer *t)
{
    Platform *p = t->hpet->dev.platform;
    if (t->conf & INT_TYPE_CNF) {
        t->hpet->status |= UINT64_C(1) << t->n;
        update_line(t);
    }
    if (!(t->conf & INT_ENB_CNF)) {
        return;
    }
    if (uses_messages(t)) {
        if (p->send_msi) {
            p->send_msi(p, t->fsb >> 32, (uint32_t)t->fsb);
        }
    } else if (!(t->conf & INT_TYPE_CNF)) {
        irq_pulse(&(IrqLine){ timer_pin(t) });
    }
}

/* --- counting --- */

static bool is32(const HpetTimer *t)
{
    return t->conf & MODE32_CNF;
}

static bool is_periodic(const HpetTimer *t)
{
    return t->conf & TYPE_CNF && t->period;
}

/* Ticks until the counter comes (round) to the comparator. */
static uint64_t ticks_left(const HpetTimer *t, uint64_t counter)
{
    uint64_t left = t->comparator - counter;
    return is32(t) ? (uint32_t)left : left;
}

/* Ticks since the counter was at the comparator; negative when that is still to come. */
static int64_t ticks_late(const HpetTimer *t, uint64_t counter)
{
    return is32(t) ? (int32_t)(uint32_t)(counter - t->comparator) : (int64_t)(counter - t->comparator);
}

/* A periodic comparator that the counter has passed moves on to the next match. */
static void advance(HpetTimer *t)
{
    int64_t late = running(t->hpet) && is_periodic(t) ? ticks_late(t, counter_now(t->hpet)) : -1;
    if (late >= 0) {
        t->comparator += ((uint64_t)late / t->period + 1) * t->period;
        t->comparator = is32(t) ? (uint32_t)t->comparator : t->comparator;
    }
}

static void arm(HpetTimer *t, uint64_t left)
{
    int64_t into_tick = (int64_t)(ns_running(t->hpet) % TICK_NS);
    timer_set(&t->timer, now_ns(t->hpet) + (left ? (int64_t)(MIN(left, FAR_TICKS) * TICK_NS) - into_tick : 0));
}

/* The timer runs when somebody would see a match: by an interrupt or in the status register. A match that is past
 * and was not delivered yet stays due. */
static void timer_update(HpetTimer *t)
{
    if (!running(t->hpet) || !(t->conf & (INT_ENB_CNF | INT_TYPE_CNF))) {
        timer_cancel(&t->timer);
        t->owed = 0;
    } else if (!timer_armed(&t->timer) || t->timer.deadline > now_ns(t->hpet)) {
        advance(t);
        arm(t, ticks_left(t, counter_now(t->hpet)));
    }
}

/* Beats of level-triggered timers show in the status register, where one hides another. */
static bool beats_add_up(const HpetTimer *t)
{
    return !(t->conf & INT_TYPE_CNF) && !uses_messages(t) && t->period >= MIN_BEAT_TICKS;
}

/* Has the guest still to take the beat before? */
static bool keeps_back(const HpetTimer *t)
{
    return beats_add_up(t) && irq_hearing(&(IrqLine){ timer_pin(t) }, &t->taken) == IRQ_WAITS;
}

/* The beats of a periodic timer. */
static void beat(HpetTimer *t)
{
    int64_t  late = ticks_late(t, counter_now(t->hpet));
    uint64_t most = beats_add_up(t) ? MAX(OWED_TICKS / t->period, 1) : 1;

    if (late >= 0) {
        t->owed = (uint32_t)MIN(t->owed + (uint64_t)late / t->period + 1, most);
    }
    bool waits = t->owed && keeps_back(t);
    if (t->owed && !waits) {
        t->owed--;
        timer_matched(t);
        waits = t->owed && keeps_back(t);
    }
    advance(t);
    uint64_t left = ticks_left(t, counter_now(t->hpet));
    if (t->owed && !waits) {
        left = MIN(left, MAX(t->period / RETRIES, MIN_BEAT_TICKS));
    } else if (left < MIN_BEAT_TICKS) {
        left += (MIN_BEAT_TICKS - left + t->period - 1) / t->period * t->period;
    }
    arm(t, left);
}

/* On a vCPU's thread. The main loop may not get the CPU while the guest has it: this one does not wait for it. */
static void beat_taken(void *opaque)
{
    HpetTimer   *t    = opaque;
    MachineLock *lock = t->hpet->dev.platform->lock;

    machine_lock(lock);
    if (t->owed && running(t->hpet) && is_periodic(t) && t->conf & INT_ENB_CNF) {
        beat(t);
    }
    machine_unlock(lock);
}

static void timer_fired(void *opaque)
{
    HpetTimer *t = opaque;
    if (is_periodic(t)) {
        beat(t);
        return;
    }
    timer_matched(t);
    if (is32(t)) {
        arm(t, UINT64_C(1) << 32); /* the low half comes round */
    }
}

/* --- registers --- */

static uint64_t capabilities(const Hpet *hpet)
{
    return (uint64_t)HPET_PERIOD_FS << 32 | hpet_block_id(hpet);
}

uint32_t hpet_block_id(const Hpet *hpet)
{
    enum { LEG_RT_CAP = 1 << 15, COUNT_SIZE_CAP = 1 << 13 };
    return (uint32_t)HPET_VENDOR << 16 | LEG_RT_CAP | COUNT_SIZE_CAP | (uint32_t)(hpet->n_timers - 1) << 8 |
           HPET_REVISION;
}

static uint64_t timer_conf(const HpetTimer *t)
{
    return (uint64_t)t->hpet->intcap << 32 | t->conf | PER_INT_CAP | SIZE_CAP | (t->hpet->msi ? FSB_INT_DEL_CAP : 0);
}

static uint64_t register_read(Hpet *hpet, uint64_t offset)
{
    if (offset >= TIMER_BASE) {
        unsigned n = (unsigned)(offset - TIMER_BASE) / 0x20;
        if (n < hpet->n_timers) {
            HpetTimer *t = &hpet->timers[n];
            switch (offset & 0x1f) {
            case TIMER_CONF: return timer_conf(t);
            case TIMER_COMP: advance(t); return t->comparator;
            case TIMER_FSB: return t->fsb;
            default: break;
            }
        }
        return 0;
    }
    switch (offset) {
    case GCAP_ID: return capabilities(hpet);
    case GEN_CONF: return hpet->conf;
    case GINTR_STA: return hpet->status;
    case MAIN_CNT: return counter_now(hpet);
    default: return 0;
    }
}

static void timer_write_conf(HpetTimer *t, uint64_t value)
{
    advance(t);
    t->conf = value & TIMER_WRITABLE;
    if (!t->hpet->msi) {
        t->conf &= ~(uint64_t)FSB_EN_CNF;
    }
    if (is32(t)) {
        t->comparator = (uint32_t)t->comparator;
        t->period     = (uint32_t)t->period;
    }
    if (!(t->conf & INT_TYPE_CNF)) {
        t->hpet->status &= ~(UINT64_C(1) << t->n);
    }
    update_line(t);
    timer_update(t);
}

/* VAL_SET lets a periodic timer's write reach the comparator; without it the write is the period alone. */
static void timer_write_comparator(HpetTimer *t, uint64_t value)
{
    bool sets = !(t->conf & TYPE_CNF) || t->conf & VAL_SET_CNF;
    if (is32(t)) {
        value = (uint32_t)value;
    }
    advance(t);
    if (t->conf & TYPE_CNF) {
        t->period = value;
    }
    t->conf &= ~(uint64_t)VAL_SET_CNF;
    if (sets) {
        t->comparator = value;
        timer_cancel(&t->timer);
        int64_t late = ticks_late(t, counter_now(t->hpet));
        if (running(t->hpet) && t->conf & INT_ENB_CNF && late > 0 && late < LATE_TICKS) {
            arm(t, 0); /* a guest that was slightly too slow gets its interrupt */
            return;
        }
    }
    timer_update(t);
}

static void pass_legacy_inputs(Hpet *hpet, bool connected)
{
    for (unsigned n = 0; n < 2; n++) {
        IrqLine line = { hpet->dev.platform->isa_irq[n ? 8 : 0] };
        irq_set(&line, connected && (hpet->legacy_levels >> n & 1));
    }
}

static void write_general_conf(Hpet *hpet, uint64_t value)
{
    uint64_t changed = hpet->conf ^ value;
    if (changed & ENABLE_CNF) {
        for (unsigned i = 0; i < hpet->n_timers; i++) {
            advance(&hpet->timers[i]);
            timer_cancel(&hpet->timers[i].timer);
        }
        hpet->counter = counter_now(hpet);
        hpet->since   = now_ns(hpet);
    }
    if (changed & LEG_RT_CNF && value & LEG_RT_CNF) {
        pass_legacy_inputs(hpet, false);
    }
    hpet->conf = value & (ENABLE_CNF | LEG_RT_CNF);
    for (unsigned i = 0; i < hpet->n_timers; i++) {
        update_line(&hpet->timers[i]);
        timer_update(&hpet->timers[i]);
    }
    if (changed & LEG_RT_CNF && !(value & LEG_RT_CNF)) {
        pass_legacy_inputs(hpet, true);
    }
}

static void register_write(Hpet *hpet, uint64_t offset, uint64_t value)
{
    if (offset >= TIMER_BASE) {
        unsigned n = (unsigned)(offset - TIMER_BASE) / 0x20;
        if (n < hpet->n_timers) {
            HpetTimer *t = &hpet->timers[n];
            switch (offset & 0x1f) {
            case TIMER_CONF: timer_write_conf(t, value); break;
            case TIMER_COMP: timer_write_comparator(t, value); break;
            case TIMER_FSB: t->fsb = value; break;
            default: break;
            }
        }
        return;
    }
    switch (offset) {
    case GEN_CONF: write_general_conf(hpet, value); break;
    case GINTR_STA:
        hpet->status &= ~value;
        for (unsigned i = 0; i < hpet->n_timers; i++) {
            update_line(&hpet->timers[i]);
        }
        break;
    case MAIN_CNT:
        if (!running(hpet)) {
            hpet->counter = value;
        } else {
            log_print(hpet->dev.platform->log, LOG_GUEST_ERRORS, "hpet: write to the running counter\n");
        }
        break;
    default: break;
    }
}

static uint64_t hpet_read(void *opaque, uint64_t offset, unsigned size)
{
    uint64_t value = register_read(opaque, offset & ~UINT64_C(7));
    return offset & 4 ? value >> 32 : value;
}

/* Half of a register written alone keeps the other half. Comparators are the exception worth a word: 32-bit guests
 * write their low half only, and in periodic mode each half is a period. */
static void hpet_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Hpet    *hpet = opaque;
    uint64_t at   = offset & ~UINT64_C(7);
    if (size == 4) {
        uint64_t old = at == GINTR_STA ? 0 : register_read(hpet, at);
        if (at >= TIMER_BASE && (at & 0x1f) == TIMER_COMP && !(offset & 4)) {
            const HpetTimer *t = &hpet->timers[MIN((at - TIMER_BASE) / 0x20, HPET_MAX - 1)];
            old                = t->conf & TYPE_CNF ? t->period : old;
        }
        value = offset & 4 ? (value << 32) | (uint32_t)old : (old & ~UINT64_C(0xffffffff)) | (uint32_t)value;
    }
    register_write(hpet, at, value);
}

static const IoOps hpet_ops = { .name = "hpet", .access = IO_LONG | IO_QUAD, .read = hpet_read, .write = hpet_write };

/* --- life --- */

static void legacy_input(void *opaque, int n, int level)
{
    Hpet *hpet          = opaque;
    hpet->legacy_levels = (uint8_t)((hpet->legacy_levels & ~(1u << n)) | (unsigned)(level != 0) << n);
    if (!legacy(hpet)) {
        IrqLine line = { hpet->dev.platform->isa_irq[n ? 8 : 0] };
        irq_set(&line, level);
    }
}

static IrqHearing legacy_hearing(void *opaque, int n, const IrqTaken *taken)
{
    Hpet *hpet = opaque;
    return legacy(hpet) ? IRQ_DEAF : irq_hearing(&(IrqLine){ hpet->dev.platform->isa_irq[n ? 8 : 0] }, taken);
}

static bool hpet_realize(Device *dev, Error *err)
{
    Hpet *hpet = (Hpet *)dev;
    for (unsigned i = 0; i < HPET_MAX; i++) {
        hpet->timers[i].hpet  = hpet;
        hpet->timers[i].n     = (uint8_t)i;
        hpet->timers[i].taken = (IrqTaken){ beat_taken, &hpet->timers[i] };
        timer_init(&hpet->timers[i].timer, dev->platform->clocks, VIRTUAL_CLOCK, timer_fired, &hpet->timers[i]);
    }
    region_init_io(&hpet->registers, dev->platform->memory, "hpet", HPET_SIZE, &hpet_ops, hpet);
    region_map(dev->platform->system_memory, HPET_ADDRESS, &hpet->registers, 0);
    device_add_inputs(dev, "legacy", 2, legacy_input);
    device_inputs_hear(dev, "legacy", legacy_hearing);
    return true;
}

static void hpet_unrealize(Device *dev)
{
    Hpet *hpet = (Hpet *)dev;
    for (unsigned i = 0; i < HPET_MAX; i++) {
        timer_cancel(&hpet->timers[i].timer);
    }
    region_unmap(&hpet->registers);
    region_destroy(&hpet->registers);
}

static void hpet_reset(Device *dev, ResetKind kind)
{
    Hpet *hpet = (Hpet *)dev;
    bool  took = legacy(hpet);
    hpet->conf = hpet->status = hpet->counter = 0;
    hpet->since                               = 0;
    for (unsigned i = 0; i < HPET_MAX; i++) {
        HpetTimer *t = &hpet->timers[i];
        timer_cancel(&t->timer);
        t->conf = t->period = t->fsb = 0;
        t->owed                      = 0;
        t->comparator                = UINT64_MAX;
        update_line(t);
    }
    if (took) {
        pass_legacy_inputs(hpet, true);
    }
}

static bool hpet_post_load(Device *dev, Error *err)
{
    Hpet *hpet = (Hpet *)dev;
    if (hpet->since < 0 || hpet->since > INT64_MAX / 2) {
        return error_set(err, "since: out of range");
    }
    hpet->conf &= ENABLE_CNF | LEG_RT_CNF;
    hpet->status &= (UINT64_C(1) << hpet->n_timers) - 1;
    hpet->legacy_levels &= 3;
    for (unsigned i = 0; i < HPET_MAX; i++) {
        HpetTimer *t = &hpet->timers[i];
        t->conf &= TIMER_WRITABLE & (hpet->msi ? UINT64_MAX : ~(uint64_t)FSB_EN_CNF);
        if (i >= hpet->n_timers || !running(hpet)) {
            timer_cancel(&t->timer);
        }
        update_line(t);
    }
    return true;
}

static const Field hpet_properties[] = {
    FIELD(Hpet, n_timers, "timers", .initial = 3, .min = 3, .max = HPET_MAX, .help = "number of timers"),
    FIELD(Hpet, msi, "msi", .help = "timers can send their interrupts as messages"),
    FIELD(Hpet, intcap, "hpet-intcap", .initial = 1 << 2, .help = "I/O APIC pins that timers can use, a bit each"),
    {},
};

static const Field hpet_timer_state[] = {
    FIELD(HpetTimer, conf, "conf"),
    FIELD(HpetTimer, comparator, "comparator"),
    FIELD(HpetTimer, period, "period"),
    FIELD(HpetTimer, fsb, "fsb"),
    FIELD(HpetTimer, owed, "owed", .max = OWED_TICKS),
    FIELD(HpetTimer, timer, "timer", .custom = &timer_field),
    {},
};

static const Field hpet_state[] = {
    FIELD(Hpet, conf, "conf"),
    FIELD(Hpet, status, "status"),
    FIELD(Hpet, counter, "counter"),
    FIELD(Hpet, since, "since"),
    FIELD(Hpet, legacy_levels, "legacy-levels"),
    FIELD_ARRAY(Hpet, timers, "timers", .sub = hpet_timer_state),
    {},
};

DEVICE_TYPE(hpet) = {
    .name       = "hpet",
    .parent     = "sys-bus-device",
    .help       = "high precision event timers",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(Hpet),
    .properties = hpet_properties,
    .bus        = BUS_SYSTEM,
    .category   = DEVICE_MISC,
    .internal   = true,
    .state      = hpet_state,
    .realize    = hpet_realize,
    .unrealize  = hpet_unrealize,
    .reset      = hpet_reset,
    .post_load  = hpet_post_load,
};

Hpet *hpet_create(Platform *platform, Error *err)
{
    Hpet *hpet = device_new(platform, "hpet");
    return device_realize(&hpet->dev, NULL, err) ? hpet : NULL;
}

IrqPin *hpet_legacy_input(Hpet *hpet, unsigned n)
{
    return device_input(&hpet->dev, "legacy", n);
}
