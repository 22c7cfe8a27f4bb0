/* I/O APIC.
 * Specification: Intel 82093AA data sheet, order 290566-001 (May 1996); the EOI register and version 20h as in the
 * ICH (Intel 82801 data sheets, "APIC registers").
 * Under the machine lock. EOIs come from vCPU threads, which take it.
 *
 * Pins carry "asserted", not volts: the polarity bit is kept for the guest and changes nothing. */

#include "devices/irq/ioapic.h"

#include "base/checked.h"
#include "base/trace.h"

#include <string.h>

enum {
    IOREGSEL = 0x00,
    IOWIN    = 0x10,
    EOI      = 0x40,

    IOAPICID    = 0x00,
    IOAPICVER   = 0x01,
    IOAPICARB   = 0x02,
    IOREDTBL    = 0x10, /* two registers a pin */
    VERSION     = 0x20 | (IOAPIC_PINS - 1) << 16,
    ID_BITS     = 0x0f000000,
    REGION_SIZE = 0x1000,

    /* A level-triggered pin that stays high after this many EOIs in a row waits a little: somebody forgot to serve
     * the device, and the guest would do nothing else. */
    STORM_EOIS    = 10000,
    STORM_REST_MS = 10,
};

/* Bits of a redirection table entry. */
#define RTE_VECTOR(rte)      ((uint8_t)(rte))
#define RTE_DELIVERY(rte)    ((uint8_t)((rte) >> 8 & 7))
#define RTE_DESTINATION(rte) ((uint8_t)((rte) >> 56))
#define RTE_LOGICAL          (UINT64_C(1) << 11)
#define RTE_STATUS           (UINT64_C(1) << 12)
#define RTE_POLARITY         (UINT64_C(1) << 13)
#define RTE_REMOTE_IRR       (UINT64_C(1) << 14)
#define RTE_LEVEL            (UINT64_C(1) << 15)
#define RTE_MASKED           (UINT64_C(1) << 16)
#define RTE_WRITABLE         UINT64_C(0xff0000000001afff)

struct IoApic {
    Device   dev;
    ApicBus *bus;
    Region   region;
    uint64_t address;
    uint8_t  id, ioregsel;
    uint32_t apic_id; /* as the register has it */
    uint64_t rte[IOAPIC_PINS];
    uint32_t lines;   /* levels of the pins */
    uint32_t resting; /* pins that wait for `rest` */
    uint16_t eois[IOAPIC_PINS];
    Timer    rest;
    void (*external)(void *opaque, unsigned pin, int level); /* where pins go instead */
    void *external_opaque;
    void (*changed)(void *opaque, unsigned pin, const ApicMessage *message);
    void *changed_opaque;
};

static ApicMessage message_of(uint64_t rte)
{
    return (ApicMessage){ .destination = RTE_DESTINATION(rte),
                          .logical     = rte & RTE_LOGICAL,
                          .delivery    = RTE_DELIVERY(rte),
                          .vector      = RTE_VECTOR(rte),
                          .level       = rte & RTE_LEVEL };
}

static void deliver(IoApic *io, unsigned pin)
{
    ApicMessage message = message_of(io->rte[pin]);
    apic_bus_send(io->bus, &message);
}

static void tell_change(IoApic *io, unsigned pin)
{
    if (io->changed) {
        ApicMessage message = message_of(io->rte[pin]);
        io->changed(io->changed_opaque, pin, io->rte[pin] & RTE_MASKED ? NULL : &message);
    }
}

/* A level-triggered pin asks again as long as it is high and nobody is at it. */
static void service_level(IoApic *io, unsigned pin)
{
    if (io->lines >> pin & 1 && !(io->resting >> pin & 1) &&
        (io->rte[pin] & (RTE_LEVEL | RTE_MASKED | RTE_REMOTE_IRR)) == RTE_LEVEL) {
        io->rte[pin] |= RTE_REMOTE_IRR;
        deliver(io, pin);
    }
}

static void set_pin(void *opaque, int n, int level)
{
    IoApic  *io     = opaque;
    unsigned pin    = (unsigned)n;
    uint32_t bit    = 1u << pin;
    bool     rising = level && !(io->lines & bit);
    trace(io->dev.platform->log, TRACE_IOAPIC, "pin %u level %d", pin, level);
    io->lines = level ? io->lines | bit : io->lines & ~bit;
    if (io->external) {
        io->external(io->external_opaque, pin, level);
        return;
    }
    if (!level) {
        io->eois[pin] = 0;
        return;
    }
    if (io->rte[pin] & RTE_LEVEL) {
        service_level(io, pin);
    } else if (rising && !(io->rte[pin] & RTE_MASKED)) {
        deliver(io, pin); /* an edge at a masked pin is lost */
    }
}

static void end_of_interrupt(IoApic *io, uint8_t vector)
{
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        if (RTE_VECTOR(io->rte[pin]) != vector || !(io->rte[pin] & RTE_REMOTE_IRR)) {
            continue;
        }
        io->rte[pin] &= ~RTE_REMOTE_IRR;
        if (io->lines >> pin & 1 && ++io->eois[pin] >= STORM_EOIS) {
            io->eois[pin] = 0;
            io->resting |= 1u << pin;
            timer_set(&io->rest, clock_now(io->dev.platform->clocks, VIRTUAL_CLOCK) + STORM_REST_MS * NS_PER_MS);
        }
        service_level(io, pin);
    }
}

static void rest_over(void *opaque)
{
    IoApic *io  = opaque;
    io->resting = 0;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        service_level(io, pin);
    }
}

/* From a local APIC, on its vCPU's thread. */
static void on_eoi(void *opaque, uint8_t vector)
{
    IoApic *io = opaque;
    machine_lock(io->dev.platform->lock);
    end_of_interrupt(io, vector);
    machine_unlock(io->dev.platform->lock);
}

/* ---- Registers ---- */

static uint32_t read_window(const IoApic *io)
{
    unsigned n = (io->ioregsel - IOREDTBL) / 2u;
    switch (io->ioregsel) {
    case IOAPICID:
    case IOAPICARB: return io->apic_id;
    case IOAPICVER: return VERSION;
    default:
        return io->ioregsel >= IOREDTBL && n < IOAPIC_PINS ? (uint32_t)(io->rte[n] >> (io->ioregsel & 1 ? 32 : 0)) : 0;
    }
}

static void write_rte(IoApic *io, unsigned pin, unsigned shift, uint32_t value)
{
    uint64_t mask = RTE_WRITABLE & (UINT64_C(0xffffffff) << shift);
    io->rte[pin]  = (io->rte[pin] & ~mask) | ((uint64_t)value << shift & mask);
    if (!(io->rte[pin] & RTE_LEVEL)) {
        io->rte[pin] &= ~RTE_REMOTE_IRR; /* edge has none: the way to clear it without an EOI register */
    }
    tell_change(io, pin);
    service_level(io, pin);
}

static void write_window(IoApic *io, uint32_t value)
{
    unsigned n = (io->ioregsel - IOREDTBL) / 2u;
    if (io->ioregsel == IOAPICID) {
        io->apic_id = value & ID_BITS;
    } else if (io->ioregsel >= IOREDTBL && n < IOAPIC_PINS) {
        write_rte(io, n, io->ioregsel & 1 ? 32 : 0, value);
    }
}

static uint64_t ioapic_read(void *opaque, uint64_t offset, unsigned size)
{
    const IoApic *io    = opaque;
    unsigned      shift = 8 * (offset & 3);
    switch (offset & ~3u) {
    case IOREGSEL: return (uint64_t)io->ioregsel >> shift;
    case IOWIN: return read_window(io) >> shift;
    default: return 0;
    }
}

static void ioapic_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    IoApic *io = opaque;
    switch (offset) {
    case IOREGSEL: io->ioregsel = (uint8_t)value; break;
    case IOWIN:
        if (size == 4) {
            write_window(io, (uint32_t)value);
        }
        break;
    case EOI: end_of_interrupt(io, (uint8_t)value); break;
    default: break;
    }
}

/* The window takes dwords alone; the two registers of 8 bits can be written as bytes. */
static const IoOps ioapic_ops = {
    .name = "ioapic", .access = IO_BYTE | IO_LONG, .read = ioapic_read, .write = ioapic_write
};

/* ---- External ---- */

void ioapic_set_external(IoApic *io, void (*set_pin)(void *opaque, unsigned pin, int level), void *opaque)
{
    io->external        = set_pin;
    io->external_opaque = opaque;
}

IoApicState ioapic_get_state(const IoApic *io)
{
    IoApicState state = { .ioregsel = io->ioregsel, .apic_id = io->apic_id };
    memcpy(state.rte, io->rte, sizeof state.rte);
    return state;
}

void ioapic_set_state(IoApic *io, const IoApicState *state)
{
    io->ioregsel = state->ioregsel;
    io->apic_id  = state->apic_id & ID_BITS;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        uint64_t rte = state->rte[pin];
        io->rte[pin] = rte & (RTE_WRITABLE | (rte & RTE_LEVEL ? RTE_REMOTE_IRR : 0));
    }
}

uint32_t ioapic_get_lines(const IoApic *io)
{
    return io->lines;
}

void ioapic_on_change(IoApic *io, void (*changed)(void *opaque, unsigned pin, const ApicMessage *message), void *opaque)
{
    io->changed        = changed;
    io->changed_opaque = opaque;
}

/* ---- The device ---- */

static const Field ioapic_state[] = {
    FIELD(IoApic, ioregsel, "ioregsel"),
    FIELD(IoApic, apic_id, "apic-id"),
    FIELD_ARRAY(IoApic, rte, "rte"),
    FIELD(IoApic, lines, "lines"),
    FIELD_ARRAY(IoApic, eois, "eois"),
    FIELD(IoApic, resting, "resting"),
    {},
};

static IrqHearing pin_hearing(void *opaque, int n, const IrqTaken *taken)
{
    const IoApic *io  = opaque;
    uint64_t      rte = io->rte[n];

    if (io->external || (rte & (RTE_LEVEL | RTE_MASKED)) == RTE_LEVEL) {
        return IRQ_HEARS;
    }
    if (rte & RTE_MASKED) {
        return IRQ_DEAF;
    }
    ApicMessage message = message_of(rte);
    return apic_bus_waits(io->bus, &message, taken) ? IRQ_WAITS : IRQ_HEARS;
}

static bool ioapic_realize(Device *dev, Error *err)
{
    IoApic *io = (IoApic *)dev;
    timer_init(&io->rest, dev->platform->clocks, VIRTUAL_CLOCK, rest_over, io);
    region_init_io(&io->region, dev->platform->memory, "ioapic", REGION_SIZE, &ioapic_ops, io);
    region_map(dev->platform->system_memory, io->address, &io->region, 0);
    device_add_inputs(dev, NULL, IOAPIC_PINS, set_pin);
    device_inputs_hear(dev, NULL, pin_hearing);
    apic_bus_on_eoi(io->bus, on_eoi, io);
    return true;
}

static void ioapic_unrealize(Device *dev)
{
    IoApic *io = (IoApic *)dev;
    timer_cancel(&io->rest);
    region_unmap(&io->region);
    region_destroy(&io->region);
}

/* Pins keep the levels that their devices drive. */
static void ioapic_reset(Device *dev, ResetKind kind)
{
    IoApic *io   = (IoApic *)dev;
    io->ioregsel = 0;
    io->apic_id  = (uint32_t)io->id << 24;
    io->resting  = 0;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        io->rte[pin]  = RTE_MASKED;
        io->eois[pin] = 0;
        tell_change(io, pin);
    }
    timer_cancel(&io->rest);
}

static bool ioapic_post_load(Device *dev, Error *err)
{
    IoApic *io = (IoApic *)dev;
    io->apic_id &= ID_BITS;
    io->lines &= (1u << IOAPIC_PINS) - 1;
    for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
        io->rte[pin] &= RTE_WRITABLE | (io->rte[pin] & RTE_LEVEL ? RTE_REMOTE_IRR : 0);
        tell_change(io, pin);
    }
    if (io->resting) {
        rest_over(io);
    }
    return true;
}

DEVICE_TYPE(ioapic) = {
    .name      = "ioapic",
    .parent    = "sys-bus-device",
    .class     = OBJECT_CLASS_DEVICE,
    .help      = "82093AA I/O APIC",
    .size      = sizeof(IoApic),
    .bus       = BUS_SYSTEM,
    .category  = DEVICE_MISC,
    .internal  = true,
    .state     = ioapic_state,
    .realize   = ioapic_realize,
    .unrealize = ioapic_unrealize,
    .reset     = ioapic_reset,
    .post_load = ioapic_post_load,
};

IoApic *ioapic_create(Platform *platform, ApicBus *bus, uint8_t id, Error *err)
{
    return ioapic_create_at(platform, bus, id, IOAPIC_ADDRESS, err);
}

IoApic *ioapic_create_at(Platform *platform, ApicBus *bus, uint8_t id, uint64_t address, Error *err)
{
    IoApic *io  = device_new(platform, "ioapic");
    io->bus     = bus;
    io->id      = id & 15;
    io->address = address;
    return device_realize(&io->dev, NULL, err) ? io : NULL;
}

IrqPin *ioapic_input(IoApic *ioapic, unsigned pin)
{
    return device_input(&ioapic->dev, NULL, pin);
}
