/* MC146818A real-time clock with 128 bytes of CMOS RAM.
 * Specification: Motorola MC146818A data sheet (1984); century byte where ACPI's FADT says (32h).
 * Under the machine lock; the timer fires on the main loop.
 *
 * Time is computed, not counted: `epoch` is the second that began when the driving clock showed `ref`. Flags of
 * register C are brought up to date when somebody looks, and the timer runs only while an interrupt would come of
 * it, so that an idle guest costs nothing. */

#include "devices/timer/mc146818rtc.h"

enum {
    RTC_PORT = 0x70,

    SECONDS       = 0x00,
    SECONDS_ALARM = 0x01,
    MINUTES       = 0x02,
    MINUTES_ALARM = 0x03,
    HOURS         = 0x04,
    HOURS_ALARM   = 0x05,
    DAY_OF_WEEK   = 0x06,
    DAY_OF_MONTH  = 0x07,
    MONTH         = 0x08,
    YEAR          = 0x09,
    REG_A         = 0x0a,
    REG_B         = 0x0b,
    REG_C         = 0x0c,
    REG_D         = 0x0d,
    CENTURY       = 0x32,
    CMOS_SIZE     = 128,

    A_RS    = 0x0f,
    A_DV    = 0x70,
    A_RESET = 0x60, /* DV 11x: the divider is held in reset */
    A_UIP   = 0x80,

    B_DSE = 0x01,
    B_24H = 0x02,
    B_DM  = 0x04, /* binary */
    B_UIE = 0x10,
    B_AIE = 0x20,
    B_PIE = 0x40,
    B_SET = 0x80,

    C_UF   = 0x10,
    C_AF   = 0x20,
    C_PF   = 0x40,
    C_IRQF = 0x80,
    C_ALL  = C_UF | C_AF | C_PF,

    D_VRT      = 0x80,
    HOUR_PM    = 0x80, /* in 12-hour mode */
    DONT_CARE  = 0xc0, /* alarm bytes from here on match everything */
    RTC_HZ     = 32768,
    UPDATE_NS  = (244 + 1984) * 1000, /* UIP is up this long before a second ends */
    DAY        = 86400,
    LOST_MAX_S = 10, /* of periodic interrupts, when they are made up for */
};

typedef enum RtcDrift { RTC_DISCARD, RTC_SLEW } RtcDrift;

static const char *const rtc_drift_names[] = { "discard", "slew", NULL };

struct Rtc {
    Device   dev;
    uint8_t  cmos[CMOS_SIZE]; /* time of day: valid while the clock stands */
    uint8_t  index;           /* last value written to port 70h, bit 7 is the NMI mask */
    int      clock;           /* ClockKind */
    int64_t  epoch, ref;
    int64_t  first_epoch, first_ref; /* as the machine began: what RTC_CHANGE counts from */
    int64_t  seen_second;            /* up to which UF and AF are right */
    int64_t  seen_edge;              /* likewise PF: number of the last periodic edge */
    uint32_t lost;                   /* periodic interrupts to make up for */
    Timer    timer;
    IrqLine  irq;
    Region   ports;
    RtcDrift lost_tick_policy;
    uint16_t iobase;
    int32_t  base_year;
};

/* ---- Calendar ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Days since 1970-01-01 of the proleptic Gregorian calendar. month 1 to 12; day may overflow into later months. */
static int64_t days_from_date(int64_t year, unsigned month, int64_t day)
{
    int64_t  y           = year - (month <= 2); /* years begin in March: the leap day comes last */
    int64_t  era         = floor_div(y, 400);
    int64_t  year_of_era = y - era * 400;
    unsigned march_month = (month + 9) % 12;
    int64_t  day_of_year = (153 * march_month + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static void date_from_days(int64_t days, int64_t *year, unsigned *month, unsigned *day)
{
    int64_t  era         = floor_div(days + 719468, 146097);
    unsigned day_of_era  = (unsigned)(days + 719468 - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;
    *day                 = day_of_year - (153 * march_month + 2) / 5 + 1;
    *month               = march_month < 10 ? march_month + 3 : march_month - 9;
    *year                = era * 400 + year_of_era + (*month <= 2);
}

/* ---- Registers to numbers and back ---- */

static uint8_t encode(const Rtc *rtc, unsigned value)
{
    return (uint8_t)(rtc->cmos[REG_B] & B_DM ? value : (value / 10 % 10) << 4 | value % 10);
}

static unsigned decode(const Rtc *rtc, uint8_t reg)
{
    return rtc->cmos[REG_B] & B_DM ? reg : (reg >> 4) * 10u + (reg & 15);
}

static uint8_t encode_hour(const Rtc *rtc, unsigned hour)
{
    if (rtc->cmos[REG_B] & B_24H) {
        return encode(rtc, hour);
    }
    return encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const Rtc *rtc, uint8_t reg)
{
    if (rtc->cmos[REG_B] & B_24H) {
        return decode(rtc, reg);
    }
    return decode(rtc, reg & ~HOUR_PM) % 12 + (reg & HOUR_PM ? 12 : 0);
}

/* The time of day and date of a second, into the registers of `cmos`. */
static void write_registers(const Rtc *rtc, int64_t second, uint8_t *cmos)
{
    int64_t  days   = floor_div(second, DAY), year;
    unsigned of_day = (unsigned)(second - days * DAY), month, day;
    date_from_days(days, &year, &month, &day);
    cmos[SECONDS]      = encode(rtc, of_day % 60);
    cmos[MINUTES]      = encode(rtc, of_day / 60 % 60);
    cmos[HOURS]        = encode_hour(rtc, of_day / 3600);
    cmos[DAY_OF_WEEK]  = encode(rtc, (unsigned)((days % 7 + 11) % 7) + 1); /* 1 is Sunday; day 0 was a Thursday */
    cmos[DAY_OF_MONTH] = encode(rtc, day);
    cmos[MONTH]        = encode(rtc, month);
    cmos[YEAR]         = encode(rtc, (unsigned)(((year - rtc->base_year) % 100 + 100) % 100));
    if (!rtc->base_year) {
        cmos[CENTURY] = encode(rtc, (unsigned)(year / 100 % 100));
    }
}

/* The second that the registers name. What is no date becomes one: the 31st of a short month is a day of the next. */
static int64_t read_registers(const Rtc *rtc)
{
    const uint8_t *cmos  = rtc->cmos;
    int64_t        year  = decode(rtc, cmos[YEAR]);
    unsigned       month = CLAMP(decode(rtc, cmos[MONTH]), 1, 12);
    year += rtc->base_year ? rtc->base_year : 100 * (int64_t)decode(rtc, cmos[CENTURY]);
    return days_from_date(year, month, decode(rtc, cmos[DAY_OF_MONTH])) * DAY + decode_hour(rtc, cmos[HOURS]) * 3600 +
           decode(rtc, cmos[MINUTES]) * 60 + decode(rtc, cmos[SECONDS]);
}

/* ---- Time ---- */

static bool divider_runs(const Rtc *rtc)
{
    return (rtc->cmos[REG_A] & A_RESET) != A_RESET;
}

static bool is_running(const Rtc *rtc)
{
    return divider_runs(rtc) && !(rtc->cmos[REG_B] & B_SET);
}

static int64_t driving_clock(const Rtc *rtc)
{
    return clock_now(rtc->dev.platform->clocks, (ClockKind)rtc->clock);
}

/* The second and how far into it. */
static int64_t time_now(const Rtc *rtc, int64_t *ns)
{
    int64_t since = driving_clock(rtc) - rtc->ref, seconds = floor_div(since, NS_PER_SECOND);
    *ns = since - seconds * NS_PER_SECOND;
    return rtc->epoch + seconds;
}

static void set_time(Rtc *rtc, int64_t second, int64_t ns)
{
    rtc->epoch       = second;
    rtc->ref         = driving_clock(rtc) - ns;
    rtc->seen_second = second;
}

/* The guest sets the clock: management may want to remember by how much it differs now. */
static void change_time(Rtc *rtc, int64_t second, int64_t ns)
{
    set_time(rtc, second, ns);
    int64_t          expected = rtc->first_epoch + floor_div(rtc->ref - rtc->first_ref, NS_PER_SECOND);
    Json            *data     = json_new_object();
    g_autofree char *path     = object_path(&rtc->dev.obj);
    json_add(data, "offset", json_new_int(second - expected));
    json_add(data, "qom-path", json_new_string(path));
    platform_emit(rtc->dev.platform, "RTC_CHANGE", data);
}

/* Periodic edges come at multiples of this many crystal ticks; 0: none. */
static int64_t period_ticks(const Rtc *rtc)
{
    unsigned rate = rtc->cmos[REG_A] & A_RS;
    return !rate || !divider_runs(rtc) ? 0 : rate <= 2 ? 64 << rate : 1 << (rate - 1);
}

/* Number of the last periodic edge: counts on while the second's phase stays, whatever the date. */
static int64_t edge_now(const Rtc *rtc)
{
    int64_t period = period_ticks(rtc), ns;
    int64_t second = time_now(rtc, &ns);
    return period ? (second * RTC_HZ + ns * RTC_HZ / NS_PER_SECOND) / period : 0;
}

/* The first second after `after` at which the alarm goes off; INT64_MIN: none within a day. */
static int64_t next_alarm(const Rtc *rtc, int64_t after)
{
    const uint8_t *cmos = rtc->cmos;
    for (int64_t s = after + 1; s <= after + DAY;) {
        unsigned of_day = (unsigned)(s - floor_div(s, DAY) * DAY);
        if (cmos[HOURS_ALARM] < DONT_CARE && cmos[HOURS_ALARM] != encode_hour(rtc, of_day / 3600)) {
            s += 3600 - of_day % 3600;
        } else if (cmos[MINUTES_ALARM] < DONT_CARE && cmos[MINUTES_ALARM] != encode(rtc, of_day / 60 % 60)) {
            s += 60 - of_day % 60;
        } else if (cmos[SECONDS_ALARM] < DONT_CARE && cmos[SECONDS_ALARM] != encode(rtc, of_day % 60)) {
            s++;
        } else {
            return s;
        }
    }
    return INT64_MIN;
}

/* ---- Interrupts ---- */

static void update_irq(Rtc *rtc)
{
    if (rtc->cmos[REG_C] & rtc->cmos[REG_B] & C_AF) {
        platform_wake(rtc->dev.platform, WAKE_RTC);
    }
    bool active      = rtc->cmos[REG_C] & rtc->cmos[REG_B] & C_ALL;
    rtc->cmos[REG_C] = (uint8_t)((rtc->cmos[REG_C] & C_ALL) | (active ? C_IRQF : 0));
    irq_set(&rtc->irq, active);
}

/* Sets the flags for all that happened since somebody last looked. */
static void catch_up(Rtc *rtc)
{
    int64_t ns, second = time_now(rtc, &ns), edge = edge_now(rtc);
    uint8_t before = rtc->cmos[REG_C];
    if (is_running(rtc) && second > rtc->seen_second) {
        int64_t alarm = next_alarm(rtc, rtc->seen_second);
        rtc->cmos[REG_C] |= C_UF | (alarm != INT64_MIN && alarm <= second ? C_AF : 0);
    }
    rtc->seen_second = second;
    if (period_ticks(rtc) && edge > rtc->seen_edge) {
        uint64_t edges = (uint64_t)(edge - rtc->seen_edge), max = LOST_MAX_S * RTC_HZ / (uint64_t)period_ticks(rtc);
        if (rtc->cmos[REG_B] & B_PIE && rtc->lost_tick_policy == RTC_SLEW) {
            rtc->lost = (uint32_t)MIN(rtc->lost + edges - !(before & C_PF), max);
        }
        rtc->cmos[REG_C] |= C_PF;
    }
    rtc->seen_edge = edge;
    update_irq(rtc);
}

/* Arms the timer for the next event that interrupts and whose flag is not up yet. */
static void schedule(Rtc *rtc)
{
    uint8_t wanted = rtc->cmos[REG_B] & ~rtc->cmos[REG_C];
    int64_t ns, second = time_now(rtc, &ns), next = INT64_MAX;
    if (is_running(rtc) && wanted & B_UIE) {
        next = NS_PER_SECOND - ns;
    }
    if (is_running(rtc) && wanted & B_AIE) {
        int64_t alarm = next_alarm(rtc, second);
        next          = alarm == INT64_MIN ? next : MIN(next, (alarm - second) * NS_PER_SECOND - ns);
    }
    if (wanted & B_PIE && period_ticks(rtc)) {
        int64_t tick = ns * RTC_HZ / NS_PER_SECOND, period = period_ticks(rtc);
        int64_t at = (tick / period + 1) * period; /* of this second: whole periods make one */
        next       = MIN(next, (at * NS_PER_SECOND + RTC_HZ - 1) / RTC_HZ - ns);
    }
    if (next == INT64_MAX) {
        timer_cancel(&rtc->timer);
    } else {
        timer_set(&rtc->timer, driving_clock(rtc) + next);
    }
}

static void timer_fired(void *opaque)
{
    Rtc *rtc = opaque;
    catch_up(rtc);
    schedule(rtc);
}

/* Reading C takes the flags away. A periodic interrupt that is owed comes at once. */
static uint8_t read_flags(Rtc *rtc)
{
    catch_up(rtc);
    uint8_t flags    = rtc->cmos[REG_C];
    rtc->cmos[REG_C] = 0;
    update_irq(rtc);
    if (rtc->lost && rtc->cmos[REG_B] & B_PIE) {
        rtc->lost--;
        rtc->cmos[REG_C] = C_PF;
        update_irq(rtc);
    }
    schedule(rtc);
    return flags;
}

/* ---- Registers ---- */

static bool is_time_register(uint8_t reg)
{
    switch (reg) {
    case SECONDS:
    case MINUTES:
    case HOURS:
    case DAY_OF_WEEK ... YEAR:
    case CENTURY: return true;
    default: return false;
    }
}

static uint8_t read_register(Rtc *rtc, uint8_t reg)
{
    int64_t ns, second = time_now(rtc, &ns);
    if (is_time_register(reg) && is_running(rtc)) {
        write_registers(rtc, second, rtc->cmos);
    }
    switch (reg) {
    case REG_A: return rtc->cmos[reg] | (is_running(rtc) && ns >= NS_PER_SECOND - UPDATE_NS ? A_UIP : 0);
    case REG_C: return read_flags(rtc);
    case REG_D: return D_VRT;
    default: return rtc->cmos[reg];
    }
}

/* Register A or B changes, and with it perhaps whether the clock runs. */
static void write_control(Rtc *rtc, uint8_t reg, uint8_t value)
{
    int64_t ns, second = time_now(rtc, &ns);
    bool    ran = is_running(rtc), divided = divider_runs(rtc);
    if (ran) {
        write_registers(rtc, second, rtc->cmos); /* in the old format: what a stopped clock shows */
    }
    rtc->cmos[reg] = value;
    if (!divided && divider_runs(rtc)) {
        ns = NS_PER_SECOND / 2; /* the first update comes half a second after the divider's reset ends */
        set_time(rtc, second, ns);
    }
    if (!ran && is_running(rtc)) {
        change_time(rtc, read_registers(rtc), ns);
    }
    rtc->seen_edge = edge_now(rtc);
}

static void write_register(Rtc *rtc, uint8_t reg, uint8_t value)
{
    catch_up(rtc);
    switch (reg) {
    case REG_A: write_control(rtc, reg, value & ~A_UIP); break;
    case REG_B:
        if (value & B_SET) {
            value &= ~B_UIE;
        }
        if (!(value & B_PIE)) {
            rtc->lost = 0;
        }
        write_control(rtc, reg, value);
        break;
    case REG_C:
    case REG_D: break; /* read-only */
    default:
        if (is_time_register(reg) && is_running(rtc)) {
            int64_t ns, second = time_now(rtc, &ns);
            write_registers(rtc, second, rtc->cmos);
            rtc->cmos[reg] = value;
            change_time(rtc, read_registers(rtc), ns);
            rtc->seen_edge = edge_now(rtc);
        } else {
            rtc->cmos[reg] = value;
        }
    }
    update_irq(rtc);
    schedule(rtc);
}

static uint64_t rtc_read(void *opaque, uint64_t offset, unsigned size)
{
    Rtc *rtc = opaque;
    return offset ? read_register(rtc, rtc->index & (CMOS_SIZE - 1)) : UINT64_MAX;
}

static void rtc_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Rtc *rtc = opaque;
    if (offset) {
        write_register(rtc, rtc->index & (CMOS_SIZE - 1), (uint8_t)value);
    } else {
        rtc->index = (uint8_t)value;
    }
}

static const IoOps rtc_ports = { .name = "rtc", .access = IO_BYTE, .read = rtc_read, .write = rtc_write };

void rtc_set_cmos(Rtc *rtc, uint8_t index, uint8_t value)
{
    g_assert(index > REG_D && index < CMOS_SIZE);
    rtc->cmos[index] = value;
}

uint8_t rtc_get_cmos(const Rtc *rtc, uint8_t index)
{
    g_assert(index > REG_D && index < CMOS_SIZE);
    return rtc->cmos[index];
}

int64_t rtc_now(const Rtc *rtc)
{
    int64_t ns;
    return is_running(rtc) ? time_now(rtc, &ns) : read_registers(rtc);
}

/* ---- The device ---- */

static const Field rtc_properties[] = {
    FIELD(Rtc, base_year, "base_year", .max = 9999,
          .help = "year that byte 9 counts from; 0: byte 32h has the century"),
    FIELD(Rtc, iobase, "iobase", .initial = RTC_PORT, .max = 0xfffe, .help = "port of the index register"),
    FIELD(Rtc, lost_tick_policy, "lost_tick_policy", .names = rtc_drift_names, .initial = RTC_DISCARD,
          .help = "what to do with periodic ticks the guest was too slow to take"),
    {},
};

static const Field rtc_state[] = {
    FIELD_ARRAY(Rtc, cmos, "cmos"),
    FIELD(Rtc, index, "index"),
    FIELD(Rtc, epoch, "epoch"),
    FIELD(Rtc, ref, "ref"),
    FIELD(Rtc, seen_second, "seen-second"),
    FIELD(Rtc, seen_edge, "seen-edge"),
    FIELD(Rtc, lost, "lost"),
    {},
};

static bool rtc_realize(Device *dev, Error *err)
{
    Rtc *rtc         = (Rtc *)dev;
    rtc->cmos[REG_A] = 0x26; /* 32768 Hz crystal, 1024 Hz */
    rtc->cmos[REG_B] = B_24H;
    rtc->cmos[REG_D] = D_VRT;
    timer_init(&rtc->timer, dev->platform->clocks, (ClockKind)rtc->clock, timer_fired, rtc);
    region_init_io(&rtc->ports, dev->platform->memory, "rtc", 2, &rtc_ports, rtc);
    isa_map_ports(dev, &rtc->ports, rtc->iobase);
    device_add_outputs(dev, NULL, &rtc->irq, 1);
    set_time(rtc, rtc->epoch, 0);
    rtc->first_epoch = rtc->epoch;
    rtc->first_ref   = rtc->ref;
    rtc->seen_edge   = edge_now(rtc);
    write_registers(rtc, rtc->epoch, rtc->cmos);
    return true;
}

static void rtc_unrealize(Device *dev)
{
    Rtc *rtc = (Rtc *)dev;
    timer_cancel(&rtc->timer);
    region_unmap(&rtc->ports);
    region_destroy(&rtc->ports);
}

/* The RESET pin leaves time, RAM and register A alone. */
static void rtc_reset(Device *dev, ResetKind kind)
{
    Rtc *rtc = (Rtc *)dev;
    catch_up(rtc);
    rtc->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | 0x08);
    rtc->cmos[REG_C] = 0;
    rtc->index       = 0;
    rtc->lost        = 0;
    update_irq(rtc);
    schedule(rtc);
}

static bool rtc_post_load(Device *dev, Error *err)
{
    Rtc *rtc = (Rtc *)dev;
    if (rtc->epoch < -(INT64_C(1) << 40) || rtc->epoch > INT64_C(1) << 40 || rtc->ref < -(INT64_C(1) << 61) ||
        rtc->ref > INT64_C(1) << 61) {
        return error_set(err, "epoch, ref: out of range");
    }
    int64_t ns, second = time_now(rtc, &ns), edge = edge_now(rtc);
    if (rtc->seen_second > second || rtc->seen_second < -(INT64_C(1) << 41)) {
        rtc->seen_second = second;
    }
    if (rtc->seen_edge > edge || rtc->seen_edge < -(INT64_C(1) << 56)) {
        rtc->seen_edge = edge;
    }
    rtc->cmos[REG_A] &= ~A_UIP;
    rtc->cmos[REG_D] = D_VRT;
    update_irq(rtc);
    schedule(rtc);
    return true;
}

DEVICE_TYPE(rtc) = {
    .name       = "mc146818rtc",
    .parent     = "isa-device",
    .class      = OBJECT_CLASS_DEVICE,
    .help       = "real-time clock and CMOS RAM",
    .size       = sizeof(Rtc),
    .bus        = BUS_ISA,
    .category   = DEVICE_MISC,
    .internal   = true,
    .properties = rtc_properties,
    .state      = rtc_state,
    .realize    = rtc_realize,
    .unrealize  = rtc_unrealize,
    .reset      = rtc_reset,
    .post_load  = rtc_post_load,
};

Rtc *rtc_create(Platform *platform, const RtcSetup *setup, IrqPin *irq, Error *err)
{
    Rtc *rtc    = device_new(platform, "mc146818rtc");
    rtc->clock  = (int)setup->clock;
    rtc->epoch  = setup->start;
    rtc->irq.to = irq;
    if (setup->slew) {
        rtc->lost_tick_policy = RTC_SLEW;
    }
    return device_realize(&rtc->dev, NULL, err) ? rtc : NULL;
}

void rtc_forget_lost_ticks(Device *dev)
{
    if (device_type(dev)->realize == rtc_realize) {
        ((Rtc *)dev)->lost = 0;
    }
}
