/* 8254 programmable interval timer, and port 61h (NMI status and control: speaker gate, refresh toggle).
 * Specifications: Intel 8254 data sheet, order 231164-005 (September 1993); port 61h as in the PIIX3 data sheet,
 * order 290550-002, section 2.5.5.
 * Under the machine lock; the timer fires on the main loop.
 *
 * Counting is computed from the virtual clock in whole ticks (CLK pulses) of I8254_HZ: a counter remembers at which
 * tick its present count was loaded, so that nothing drifts. "Loading" happens at the tick after the write or the
 * gate's edge, as in the data sheet's timing diagrams. */

#include "devices/timer/i8254.h"

enum {
    N_COUNTERS   = 3,
    PORT_CONTROL = 3,
    PIT_PORT     = 0x40,
    PORT61       = 0x61,

    RW_LATCH  = 0, /* fields of the control word */
    RW_LSB    = 1,
    RW_MSB    = 2,
    RW_BOTH   = 3,
    READ_BACK = 3, /* as counter number */

    READBACK_NO_COUNT  = 1 << 5,
    READBACK_NO_STATUS = 1 << 4,
    STATUS_OUT         = 1 << 7,
    STATUS_NULL        = 1 << 6,

    PORT61_GATE    = 1 << 0,
    PORT61_WRITE   = 0x0f, /* gate, speaker data, and two NMI enables that enable nothing here */
    PORT61_REFRESH = 1 << 4,
    PORT61_OUT2    = 1 << 5,
    REFRESH_TICKS  = 18, /* 15 microseconds */

    /* An interrupt rate that no guest could follow: below this many ticks beats are left out. */
    MIN_IRQ_TICKS = 24,

};

/* The interrupt is late by more than this: what was missed stays missed. */
#define MAX_LATE_TICKS I8254_HZ

typedef struct Counter {
    uint8_t  control; /* control word: RW in bits 5:4, mode in 3:1, BCD in 0 */
    bool     gate;
    bool     counting;  /* a count was loaded (modes 1 and 5: and triggered) */
    uint32_t count;     /* of the present run, 1 to 65536 */
    uint32_t next;      /* written and not loaded yet; 0: none */
    int64_t  start;     /* tick at which `count` was or will be loaded */
    int64_t  switch_at; /* periodic modes: tick at which `next` takes over */
    int64_t  held;      /* gate low in modes 0, 2, 3, 4: ticks counted so far; -1: it runs */
    uint8_t  write_low; /* first byte of two */
    bool     write_high_next, read_high_next;
    bool     count_latched, status_latched;
    uint16_t latched_count;
    uint8_t  latched_status;
} Counter;

struct I8254 {
    Device   dev;
    Counter  counters[N_COUNTERS];
    uint8_t  port61;
    bool     irq_level;
    int64_t  irq_tick; /* at which the interrupt line rises next; -1: never */
    bool     given_up; /* beats are not taken: no more are kept until one is */
    IrqLine  irq;
    IrqTaken taken; /* the beat that keeps back the next has been taken */
    Timer    timer;
    Region   ports, speaker;
};

/* ---- Time ---- */

/* Seconds and the rest on their own: kernels read a counter as often as they can, and a division of 128 bits shows. */
static int64_t tick_of(int64_t ns)
{
    return ns / NS_PER_SECOND * I8254_HZ + ns % NS_PER_SECOND * I8254_HZ / NS_PER_SECOND;
}

/* The first nanosecond of a tick. */
static int64_t ns_of(int64_t tick)
{
    return (int64_t)(((unsigned __int128)(uint64_t)tick * NS_PER_SECOND + I8254_HZ - 1) / I8254_HZ);
}

static int64_t tick_now(const I8254 *pit)
{
    return tick_of(clock_now(pit->dev.platform->clocks, VIRTUAL_CLOCK));
}

/* ---- One counter ---- */

static unsigned mode_of(const Counter *c)
{
    unsigned mode = c->control >> 1 & 7;
    return mode > 5 ? mode - 4 : mode;
}

static unsigned rw_of(const Counter *c)
{
    return c->control >> 4 & 3;
}

static bool is_bcd(const Counter *c)
{
    return c->control & 1;
}

static bool is_periodic(const Counter *c)
{
    return mode_of(c) == 2 || mode_of(c) == 3;
}

static bool is_triggered(const Counter *c)
{
    return mode_of(c) == 1 || mode_of(c) == 5;
}

static uint32_t modulus(const Counter *c)
{
    return is_bcd(c) ? 10000 : 65536;
}

/* Ticks since the count was loaded; negative before. */
static int64_t elapsed_of(const Counter *c, int64_t now)
{
    return c->held >= 0 ? c->held : now - c->start;
}

/* Mode 3: ticks of a period during which OUT is high. */
static uint32_t high_ticks(uint32_t count)
{
    return (count + 1) / 2;
}

/* A periodic mode takes a new count over at the end of the period, mode 3 at the end of the half. */
static void take_over(Counter *c, int64_t now)
{
    if (!c->next || !c->counting || !is_periodic(c) || c->held >= 0 || now < c->switch_at) {
        return;
    }
    bool into_low = (c->switch_at - c->start) % c->count != 0;
    c->start      = c->switch_at - (into_low ? high_ticks(c->next) : 0);
    c->count      = c->next;
    c->next       = 0;
}

/* High until a control word says otherwise. */
static bool out_of(const Counter *c, int64_t now)
{
    if (!rw_of(c)) {
        return true;
    }
    int64_t elapsed = elapsed_of(c, now);
    bool    before  = !c->counting || elapsed < 0;
    switch (mode_of(c)) {
    case 0: return !before && elapsed >= c->count;
    case 1: return before || elapsed >= c->count;
    case 2: return before || !c->gate || elapsed % c->count != c->count - 1;
    case 3: return before || !c->gate || elapsed % c->count < high_ticks(c->count);
    default: return before || elapsed != c->count;
    }
}

static uint16_t to_bcd(uint32_t value)
{
    return (uint16_t)(value / 1000 % 10 << 12 | value / 100 % 10 << 8 | value / 10 % 10 << 4 | value % 10);
}

/* The counting element as a read finds it. */
static uint16_t value_of(const Counter *c, int64_t now)
{
    int64_t  elapsed = elapsed_of(c, now);
    uint32_t value;
    if (!c->counting) {
        value = c->next;
    } else if (elapsed < 0) {
        value = c->count;
    } else if (mode_of(c) == 2) {
        value = c->count - (uint32_t)(elapsed % c->count);
    } else if (mode_of(c) == 3) {
        uint32_t in_period = (uint32_t)(elapsed % c->count), high = high_ticks(c->count);
        value = (c->count & ~1u) - 2 * (in_period < high ? in_period : in_period - high);
    } else {
        uint32_t m = modulus(c); /* goes on below 0 */
        value      = (c->count + m - (uint32_t)(elapsed % m)) % m;
    }
    return is_bcd(c) ? to_bcd(value) : (uint16_t)value;
}

static uint8_t status_of(const Counter *c, int64_t now)
{
    bool null = !c->counting || c->next || now < c->start;
    return (uint8_t)((c->control & 0x3f) | (out_of(c, now) ? STATUS_OUT : 0) | (null ? STATUS_NULL : 0));
}

static void load(Counter *c, uint32_t count, int64_t now)
{
    c->count    = count;
    c->next     = 0;
    c->start    = now + 1;
    c->held     = c->gate || is_triggered(c) ? -1 : 0;
    c->counting = true;
}

static void write_count(Counter *c, uint16_t written, int64_t now)
{
    uint32_t count = written;
    if (is_bcd(c)) {
        count = (written >> 12) * 1000u + (written >> 8 & 15) * 100u + (written >> 4 & 15) * 10u + (written & 15);
        count = MIN(count, modulus(c));
    }
    if (!count) {
        count = modulus(c);
    }
    if (is_periodic(c) && count == 1) {
        count = 2; /* 1 is illegal: the shortest period there is */
    }
    if (is_triggered(c)) {
        c->next = count;
    } else if (is_periodic(c) && c->counting) {
        int64_t elapsed = MAX(elapsed_of(c, now), 0), begin = elapsed - elapsed % c->count;
        int64_t end = begin + c->count;
        if (mode_of(c) == 3 && elapsed - begin < high_ticks(c->count)) {
            end = begin + high_ticks(c->count);
        }
        c->next      = count;
        c->switch_at = c->start + end;
    } else {
        load(c, count, now);
    }
}

static void write_data(Counter *c, uint8_t value, int64_t now)
{
    switch (rw_of(c)) {
    case RW_LSB: write_count(c, value, now); break;
    case RW_MSB: write_count(c, (uint16_t)(value << 8), now); break;
    case RW_BOTH:
        if (c->write_high_next) {
            write_count(c, (uint16_t)(c->write_low | value << 8), now);
        } else {
            c->write_low = value;
            c->counting &= mode_of(c) != 0; /* the first byte stops mode 0 */
        }
        c->write_high_next = !c->write_high_next;
        break;
    default: break; /* no control word yet */
    }
}

static uint8_t read_data(Counter *c, int64_t now)
{
    if (c->status_latched) {
        c->status_latched = false;
        return c->latched_status;
    }
    uint16_t value = c->count_latched ? c->latched_count : value_of(c, now);
    bool     high  = rw_of(c) == RW_MSB || (rw_of(c) == RW_BOTH && c->read_high_next);
    if (rw_of(c) == RW_BOTH) {
        c->read_high_next = !c->read_high_next;
    }
    c->count_latched &= rw_of(c) == RW_BOTH && !high; /* held until the last byte */
    return (uint8_t)(high ? value >> 8 : value);
}

static void latch_count(Counter *c, int64_t now)
{
    if (!c->count_latched) {
        c->latched_count = value_of(c, now);
        c->count_latched = true;
    }
}

static void latch_status(Counter *c, int64_t now)
{
    if (!c->status_latched) {
        c->latched_status = status_of(c, now);
        c->status_latched = true;
    }
}

static void write_control(Counter *c, uint8_t control)
{
    *c = (Counter){ .control = control & 0x3f, .gate = c->gate, .held = -1 };
}

static void set_gate(Counter *c, bool gate, int64_t now)
{
    bool rising = gate && !c->gate;
    if (gate == c->gate) {
        return;
    }
    c->gate = gate;
    if (is_triggered(c)) {
        if (rising && (c->next || c->counting)) {
            load(c, c->next ? c->next : c->count, now);
        }
    } else if (!rising) {
        c->held = MAX(elapsed_of(c, now), 0);
    } else if (is_periodic(c) && c->counting) {
        load(c, c->next ? c->next : c->count, now);
    } else {
        c->start = now - c->held;
        c->held  = -1;
    }
}

/* ---- Interrupts ---- */

/* The first tick after `from` at which OUT rises; -1: none. The line of a periodic mode is lowered and raised in one
 * go then: who listens wants the edge. */
static int64_t next_rise(const Counter *c, int64_t from)
{
    if (!c->counting || c->held >= 0) {
        return -1;
    }
    int64_t rise = -1;
    switch (mode_of(c)) {
    case 0: rise = c->start + c->count; break;
    case 4: rise = c->start + c->count + 1; break;
    case 2:
    case 3: {
        int64_t periods = from > c->start ? (from - c->start) / c->count + 1 : 1;
        rise            = c->start + periods * c->count;
        if (c->next && c->switch_at < rise) { /* mode 3, the low half is the new count's */
            rise = c->switch_at + c->next - high_ticks(c->next);
        }
        break;
    }
    default: break; /* counter 0's gate is high for ever: nothing triggers it */
    }
    return rise > from ? rise : -1;
}

static void schedule(I8254 *pit, int64_t from)
{
    pit->irq_tick = next_rise(&pit->counters[0], from);
    if (pit->irq_tick < 0) {
        timer_cancel(&pit->timer);
    } else {
        timer_set(&pit->timer, ns_of(pit->irq_tick));
    }
}

/* A beat that the guest cannot take yet, because it has not taken the one before (its CPU does not get the host's),
 * comes when it has. */
static bool keeps_back(const I8254 *pit)
{
    const Counter *c = &pit->counters[0];
    return is_periodic(c) && c->count >= MIN_IRQ_TICKS && irq_hearing(&pit->irq, &pit->taken) == IRQ_WAITS;
}

static void irq_timer(void *opaque)
{
    I8254   *pit = opaque;
    Counter *c   = &pit->counters[0];
    int64_t  now = tick_now(pit), from = pit->irq_tick;
    if (from < 0 || now < from) {
        return;
    }
    bool waits = keeps_back(pit);
    if (waits && !pit->given_up && now - from <= MAX_LATE_TICKS) {
        timer_set(&pit->timer, ns_of(now + c->count));
        return;
    }
    pit->given_up = waits;
    if (pit->irq_level) {
        irq_lower(&pit->irq);
    }
    pit->irq_level = true;
    irq_raise(&pit->irq);
    /* A late beat is followed at once by those after it, but not for ever. */
    if (c->count < MIN_IRQ_TICKS) {
        from = now + MIN_IRQ_TICKS;
    } else if (now - from > MAX_LATE_TICKS) {
        from = now;
    }
    take_over(c, now);
    schedule(pit, from);
    if (pit->irq_tick >= 0 && pit->irq_tick <= now) {
        keeps_back(pit); /* to hear when it is taken */
    }
}

/* On a vCPU's thread. The main loop may not get the CPU while the guest has it: this one does not wait for it. */
static void beat_taken(void *opaque)
{
    I8254       *pit  = opaque;
    MachineLock *lock = pit->dev.platform->lock;

    machine_lock(lock);
    irq_timer(pit);
    machine_unlock(lock);
}

/* After counter 0 was written. */
static void update_irq(I8254 *pit, int64_t now)
{
    bool level = out_of(&pit->counters[0], now);
    if (level != pit->irq_level) {
        pit->irq_level = level;
        irq_set(&pit->irq, level);
    }
    schedule(pit, now);
}

/* ---- Ports ---- */

static uint64_t pit_read(void *opaque, uint64_t offset, unsigned size)
{
    I8254  *pit = opaque;
    int64_t now = tick_now(pit);
    if (offset == PORT_CONTROL) {
        return UINT64_MAX; /* write-only */
    }
    take_over(&pit->counters[offset], now);
    return read_data(&pit->counters[offset], now);
}

static void read_back(I8254 *pit, uint8_t command, int64_t now)
{
    for (unsigned n = 0; n < N_COUNTERS; n++) {
        Counter *c = &pit->counters[n];
        if (command >> (n + 1) & 1) {
            if (!(command & READBACK_NO_COUNT)) {
                latch_count(c, now);
            }
            if (!(command & READBACK_NO_STATUS)) {
                latch_status(c, now);
            }
        }
    }
}

static void pit_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8254  *pit = opaque;
    int64_t now = tick_now(pit);
    for (unsigned n = 0; n < N_COUNTERS; n++) {
        take_over(&pit->counters[n], now);
    }
    unsigned n = offset == PORT_CONTROL ? (unsigned)value >> 6 & 3 : (unsigned)offset;
    if (n == READ_BACK) {
        read_back(pit, (uint8_t)value, now);
    } else if (offset != PORT_CONTROL) {
        write_data(&pit->counters[n], (uint8_t)value, now);
    } else if ((value >> 4 & 3) == RW_LATCH) {
        latch_count(&pit->counters[n], now);
    } else {
        write_control(&pit->counters[n], (uint8_t)value);
    }
    if (n == 0) {
        update_irq(pit, now);
    }
}

static const IoOps pit_ops = { .name = "pit", .access = IO_BYTE, .read = pit_read, .write = pit_write };

static uint64_t port61_read(void *opaque, uint64_t offset, unsigned size)
{
    I8254   *pit = opaque;
    int64_t  now = tick_now(pit);
    Counter *c   = &pit->counters[2];
    take_over(c, now);
    return pit->port61 | (now / REFRESH_TICKS % 2 ? PORT61_REFRESH : 0) | (out_of(c, now) ? PORT61_OUT2 : 0);
}

static void port61_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    I8254  *pit = opaque;
    int64_t now = tick_now(pit);
    take_over(&pit->counters[2], now);
    pit->port61 = value & PORT61_WRITE;
    set_gate(&pit->counters[2], value & PORT61_GATE, now);
}

static const IoOps port61_ops = { .name = "pcspk", .access = IO_BYTE, .read = port61_read, .write = port61_write };

/* ---- The device ---- */

static const Field counter_state[] = {
    FIELD(Counter, control, "control", .max = 0x3f),
    FIELD(Counter, gate, "gate"),
    FIELD(Counter, counting, "counting"),
    FIELD(Counter, count, "count", .max = 65536),
    FIELD(Counter, next, "next", .max = 65536),
    FIELD(Counter, start, "start"),
    FIELD(Counter, switch_at, "switch-at"),
    FIELD(Counter, held, "held"),
    FIELD(Counter, write_low, "write-low"),
    FIELD(Counter, write_high_next, "write-high-next"),
    FIELD(Counter, read_high_next, "read-high-next"),
    FIELD(Counter, count_latched, "count-latched"),
    FIELD(Counter, status_latched, "status-latched"),
    FIELD(Counter, latched_count, "latched-count"),
    FIELD(Counter, latched_status, "latched-status"),
    {},
};

static const Field i8254_state[] = {
    FIELD_ARRAY(I8254, counters, "counters", .sub = counter_state),
    FIELD(I8254, port61, "port61"),
    FIELD(I8254, irq_tick, "irq-tick"),
    {},
};

static bool i8254_realize(Device *dev, Error *err)
{
    I8254 *pit = (I8254 *)dev;
    pit->taken = (IrqTaken){ beat_taken, pit };
    timer_init(&pit->timer, dev->platform->clocks, VIRTUAL_CLOCK, irq_timer, pit);
    region_init_io(&pit->ports, dev->platform->memory, "pit", 4, &pit_ops, pit);
    region_init_io(&pit->speaker, dev->platform->memory, "pcspk", 1, &port61_ops, pit);
    isa_map_ports(dev, &pit->ports, PIT_PORT);
    isa_map_ports(dev, &pit->speaker, PORT61);
    device_add_outputs(dev, NULL, &pit->irq, 1);
    return true;
}

static void i8254_unrealize(Device *dev)
{
    I8254 *pit = (I8254 *)dev;
    timer_cancel(&pit->timer);
    region_unmap(&pit->ports);
    region_unmap(&pit->speaker);
    region_destroy(&pit->ports);
    region_destroy(&pit->speaker);
}

/* The data sheet leaves it undefined: no counter counts until it is programmed. */
static void i8254_reset(Device *dev, ResetKind kind)
{
    I8254 *pit = (I8254 *)dev;
    for (unsigned n = 0; n < N_COUNTERS; n++) {
        pit->counters[n] = (Counter){ .gate = n != 2, .held = -1 };
    }
    pit->port61    = 0;
    pit->irq_level = true; /* no edge: programming a periodic mode is not to interrupt */
    update_irq(pit, tick_now(pit));
}

/* Ticks of a stream lie in a range in which no sum overflows: some 30 years around now. */
static bool tick_is_sane(int64_t tick)
{
    return tick > -(INT64_C(1) << 50) && tick < INT64_C(1) << 50;
}

static bool i8254_post_load(Device *dev, Error *err)
{
    I8254 *pit = (I8254 *)dev;
    for (unsigned n = 0; n < N_COUNTERS; n++) {
        Counter *c = &pit->counters[n];
        if (!tick_is_sane(c->start) || !tick_is_sane(c->switch_at) || !tick_is_sane(c->held) || c->held < -1) {
            return error_set(err, "counters[%u]: a time is out of range", n);
        }
        if (c->counting && c->count < (is_periodic(c) ? 2 : 1)) {
            return error_set(err, "counters[%u]: count 0 cannot be loaded", n);
        }
        c->gate = n != 2 || pit->port61 & PORT61_GATE;
    }
    if (!tick_is_sane(pit->irq_tick)) {
        return error_set(err, "irq-tick: out of range");
    }
    pit->port61 &= PORT61_WRITE;
    const Counter *c   = &pit->counters[0];
    int64_t        now = tick_now(pit), due = pit->irq_tick;
    update_irq(pit, now);
    /* What was due has not been delivered yet; what came too fast was put off. */
    bool early   = pit->irq_tick < 0 || due < pit->irq_tick;
    bool put_off = c->count < MIN_IRQ_TICKS && due <= now + MIN_IRQ_TICKS + c->count;
    if (due >= 0 && (early || put_off)) {
        pit->irq_tick = due;
        timer_set(&pit->timer, ns_of(due));
    }
    return true;
}

DEVICE_TYPE(i8254) = {
    .name      = "isa-pit",
    .parent    = "isa-device",
    .class     = OBJECT_CLASS_DEVICE,
    .help      = "8254 interval timer and silent speaker",
    .size      = sizeof(I8254),
    .bus       = BUS_ISA,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = i8254_state,
    .realize   = i8254_realize,
    .unrealize = i8254_unrealize,
    .reset     = i8254_reset,
    .post_load = i8254_post_load,
};

I8254 *i8254_create(Platform *platform, IrqPin *irq, Error *err)
{
    I8254 *pit  = device_new(platform, "isa-pit");
    pit->irq.to = irq;
    return device_realize(&pit->dev, NULL, err) ? pit : NULL;
}
