/* What the tests of interrupt controllers share: three CPUs with local APICs, the bus between them, an I/O APIC. */

#ifndef QUERN_TESTS_APIC_RIG_H
#define QUERN_TESTS_APIC_RIG_H

#include "devices/irq/apic.h"
#include "devices/irq/ioapic.h"
#include "platform.h"

enum { N_CPUS = 3 };

typedef struct Cpu {
    Apic       *apic;
    struct Rig *rig;
    unsigned    intr, nmi, smi, init, sipi, moved;
    uint8_t     sipi_vector;
} Cpu;

typedef struct Rig {
    TestPlatform t;
    ApicBus     *bus;
    Cpu          cpus[N_CPUS];
    IoApic      *io;
} Rig;

/* Software-enabled, flat logical IDs 1, 2, 4; the I/O APIC as after a reset. */
void rig_open(Rig *r);
void rig_close(Rig *r);

/* The host of one more local APIC, whose signals `cpu` counts; and the TSC that it sees, at 3 GHz; opaque is a Cpu. */
ApicHost rig_host(Cpu *cpu);
uint64_t rig_tsc(void *opaque);

uint32_t rig_reg(Rig *r, unsigned cpu, unsigned offset);
void     rig_set_reg(Rig *r, unsigned cpu, unsigned offset, uint32_t value);

/* The vector that the CPU would get now; -1: none. */
int  rig_take(Rig *r, unsigned cpu);
void rig_forget(Rig *r); /* what was signalled so far */
void rig_send(Rig *r, uint32_t destination, bool logical, uint8_t delivery, uint8_t vector, bool level);

#endif
