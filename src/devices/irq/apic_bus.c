/* How interrupt messages find their local APICs.
 * Specification: Intel SDM volume 3, sections 11.6 (IPIs), 11.10 (messages, MSI in 11.11), 11.12.10 (x2APIC IDs).
 * Any thread, no lock: the table of APICs is atomic, and an APIC leaves it only while no vCPU runs. */

#include "devices/irq/apic_internal.h"

enum {
    BROADCAST8   = 0xff,
    DFR_FLAT     = 0xf,
    ICR_LOGICAL  = 1 << 11,
    ICR_ASSERT   = 1 << 14,
    ICR_LEVEL    = 1 << 15,
    TO_FIELD     = 0, /* destination shorthands */
    TO_SELF      = 1,
    TO_ALL       = 2,
    TO_ALL_OTHER = 3,
};

/* A destination as its sender means it. */
typedef struct Target {
    uint32_t    destination;
    bool        logical;
    bool        wide;  /* 32 bits, from an x2APIC */
    const Apic *only;  /* shorthands: this one ... */
    const Apic *other; /* ... or all but this one */
    bool        all;
} Target;

ApicBus *apic_bus_new(Clocks *clocks, Log *log)
{
    ApicBus *bus = g_new0(ApicBus, 1);
    bus->clocks  = clocks;
    bus->log     = log;
    return bus;
}

void apic_bus_free(ApicBus *bus)
{
    g_free(bus);
}

void apic_bus_add(ApicBus *bus, Apic *apic)
{
    g_assert(apic->id < APIC_BUS_MAX && !atomic_load(&bus->apics[apic->id]));
    atomic_store_explicit(&bus->apics[apic->id], apic, memory_order_release);
    if (apic->id >= atomic_load(&bus->end)) {
        atomic_store_explicit(&bus->end, apic->id + 1, memory_order_release);
    }
}

void apic_bus_remove(ApicBus *bus, Apic *apic)
{
    atomic_store_explicit(&bus->apics[apic->id], NULL, memory_order_release);
}

void apic_bus_on_eoi(ApicBus *bus, void (*eoi)(void *opaque, uint8_t vector), void *opaque)
{
    unsigned n = atomic_load(&bus->n_listeners);
    g_assert(n < EOI_LISTENERS);
    bus->listeners[n] = (EoiListener){ eoi, opaque };
    atomic_store_explicit(&bus->n_listeners, n + 1, memory_order_release);
}

void apic_bus_eoi(ApicBus *bus, uint8_t vector)
{
    unsigned n = atomic_load_explicit(&bus->n_listeners, memory_order_acquire);
    for (unsigned i = 0; i < n; i++) {
        bus->listeners[i].eoi(bus->listeners[i].opaque, vector);
    }
}

/* ---- Destinations ---- */

static bool matches_logical(const Apic *apic, uint32_t destination, bool wide)
{
    if (apic_mode(apic) == APIC_MODE_X2) {
        uint32_t cluster = apic->id >> 4, member = 1u << (apic->id & 15);
        return destination >> 16 == cluster && destination & member;
    }
    uint32_t ldr = atomic_load_explicit(&apic->ldr, memory_order_relaxed) >> 24;
    if (wide && destination > BROADCAST8) {
        return false;
    }
    if (atomic_load_explicit(&apic->dfr, memory_order_relaxed) >> 28 == DFR_FLAT) {
        return ldr & destination;
    }
    return destination >> 4 == ldr >> 4 && destination & ldr & 15;
}

static bool matches(const Apic *apic, const Target *t)
{
    if (apic_mode(apic) == APIC_MODE_OFF) {
        return t->only == apic;
    }
    if (t->only || t->all) {
        return t->all ? apic != t->other : apic == t->only;
    }
    if (t->destination == (t->wide ? UINT32_MAX : BROADCAST8)) {
        return true;
    }
    return t->logical ? matches_logical(apic, t->destination, t->wide) : apic->id == t->destination;
}

/* The candidate of lowest processor priority; equals take turns. */
static Apic *arbitrate(ApicBus *bus, const Target *t)
{
    unsigned end  = atomic_load_explicit(&bus->end, memory_order_acquire);
    unsigned turn = end ? atomic_load_explicit(&bus->turn, memory_order_relaxed) % end : 0;
    Apic    *best = NULL;
    uint32_t low  = UINT32_MAX;
    for (unsigned i = 1; i <= end; i++) {
        Apic *apic = atomic_load_explicit(&bus->apics[(turn + i) % end], memory_order_acquire);
        if (!apic || !matches(apic, t) || !(atomic_load_explicit(&apic->svr, memory_order_relaxed) & SVR_ENABLE)) {
            continue;
        }
        uint32_t ppr = atomic_load_explicit(&apic->ppr, memory_order_relaxed);
        if (ppr < low) {
            best = apic;
            low  = ppr;
        }
    }
    if (best) {
        atomic_store_explicit(&bus->turn, best->id, memory_order_relaxed);
    }
    return best;
}

static void deliver(Apic *apic, uint8_t delivery, uint8_t vector, bool level)
{
    const ApicHost *host = &apic->host;
    switch (delivery) {
    case APIC_FIXED:
    case APIC_LOWEST: apic_accept(apic, vector, level); break;
    case APIC_SMI: host->signal(host->opaque, APIC_SIGNAL_SMI, 0); break;
    case APIC_NMI: host->signal(host->opaque, APIC_SIGNAL_NMI, 0); break;
    case APIC_INIT: host->signal(host->opaque, APIC_SIGNAL_INIT, 0); break;
    case APIC_SIPI: host->signal(host->opaque, APIC_SIGNAL_SIPI, vector); break;
    case APIC_EXTERN:
        atomic_store_explicit(&apic->extint_pending, true, memory_order_release);
        host->signal(host->opaque, APIC_SIGNAL_INTR, 0);
        break;
    default: break;
    }
}

static void send(ApicBus *bus, const Target *t, uint8_t delivery, uint8_t vector, bool level)
{
    if (delivery == APIC_LOWEST) {
        Apic *apic = arbitrate(bus, t);
        if (apic) {
            deliver(apic, delivery, vector, level);
        }
        return;
    }
    if (!t->logical && !t->only && !t->all && t->destination < APIC_BUS_MAX &&
        (t->wide || t->destination < BROADCAST8)) {
        Apic *apic = atomic_load_explicit(&bus->apics[t->destination], memory_order_acquire);
        if (apic && matches(apic, t)) {
            deliver(apic, delivery, vector, level);
        }
        return;
    }
    unsigned end = atomic_load_explicit(&bus->end, memory_order_acquire);
    for (unsigned i = 0; i < end; i++) {
        Apic *apic = atomic_load_explicit(&bus->apics[i], memory_order_acquire);
        if (apic && matches(apic, t)) {
            deliver(apic, delivery, vector, level);
        }
    }
}

void apic_bus_set_sink(ApicBus *bus, void (*send)(void *opaque, uint64_t address, uint32_t data), void *opaque)
{
    bus->sink        = send;
    bus->sink_opaque = opaque;
}

void apic_bus_send(ApicBus *bus, const ApicMessage *message)
{
    if (bus->sink) {
        uint32_t low  = (message->destination & 0xff) << 12 | (uint32_t)message->logical << 2;
        uint64_t high = message->destination & ~UINT32_C(0xff);
        uint32_t data = message->vector | (uint32_t)message->delivery << 8 | (message->level ? 3u << 14 : 0);
        bus->sink(bus->sink_opaque, high << 32 | 0xfee00000 | low, data);
        return;
    }
    Target t = { .destination = message->destination,
                 .logical     = message->logical,
                 .wide        = message->destination > BROADCAST8 };
    send(bus, &t, message->delivery, message->vector, message->level);
}

bool apic_bus_waits(ApicBus *bus, const ApicMessage *message, const IrqTaken *taken)
{
    Target t = { .destination = message->destination,
                 .logical     = message->logical,
                 .wide        = message->destination > BROADCAST8 };
    if (bus->sink || (message->delivery != APIC_FIXED && message->delivery != APIC_LOWEST)) {
        return false;
    }
    unsigned end = atomic_load_explicit(&bus->end, memory_order_acquire);
    for (unsigned i = 0; i < end; i++) {
        Apic *apic = atomic_load_explicit(&bus->apics[i], memory_order_acquire);
        if (!apic || !matches(apic, &t) || !apic_test_bit(apic->irr, message->vector)) {
            continue;
        }
        if (!taken) {
            return true;
        }
        /* Between the two looks the vCPU may have taken it, and may even have ended it. */
        atomic_store(&apic->taken[message->vector], taken);
        if (apic_test_bit(apic->irr, message->vector)) {
            return true;
        }
    }
    return false;
}

void apic_bus_send_msi(ApicBus *bus, uint64_t address, uint32_t data)
{
    if ((address & ~UINT64_C(0xfffff)) != 0xfee00000) {
        log_print(bus->log, LOG_GUEST_ERRORS, "apic: MSI to 0x%" PRIx64 " reaches no APIC\n", address);
        return;
    }
    if (bus->sink) {
        bus->sink(bus->sink_opaque, address, data);
        return;
    }
    /* The redirection hint is no matter: what it allows is what lowest-priority delivery does. */
    ApicMessage message = { .destination = (uint32_t)(address >> 12) & 0xff,
                            .logical     = address >> 2 & 1,
                            .delivery    = data >> 8 & 7,
                            .vector      = (uint8_t)data,
                            .level       = data >> 15 & 1 };
    if (message.level && !(data >> 14 & 1)) {
        return; /* de-assert */
    }
    apic_bus_send(bus, &message);
}

void apic_bus_send_ipi(Apic *from, uint32_t icr, uint32_t destination)
{
    unsigned shorthand = icr >> 18 & 3;
    uint8_t  delivery  = icr >> 8 & 7;
    Target   t         = {
                  .destination = destination,
                  .logical     = icr & ICR_LOGICAL,
                  .wide        = apic_mode(from) == APIC_MODE_X2,
                  .only        = shorthand == TO_SELF ? from : NULL,
                  .other       = shorthand == TO_ALL_OTHER ? from : NULL,
                  .all         = shorthand >= TO_ALL,
    };
    if (delivery == APIC_INIT && icr & ICR_LEVEL && !(icr & ICR_ASSERT)) {
        return; /* INIT level de-assert: arbitration IDs only, which nothing here has */
    }
    if ((shorthand == TO_SELF || shorthand == TO_ALL) && (delivery == APIC_INIT || delivery == APIC_SIPI)) {
        log_print(from->bus->log, LOG_GUEST_ERRORS, "apic: INIT or SIPI to itself is not possible\n");
        return;
    }
    if (delivery == APIC_EXTERN || delivery == 3) {
        return; /* reserved in the ICR */
    }
    send(from->bus, &t, delivery, (uint8_t)icr, false);
}
