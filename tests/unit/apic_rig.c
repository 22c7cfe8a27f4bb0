/* See apic_rig.h. */

#include "apic_rig.h"

static void signal_cpu(void *opaque, ApicSignal what, uint8_t vector)
{
    Cpu *cpu = opaque;
    cpu->intr += what == APIC_SIGNAL_INTR;
    cpu->nmi += what == APIC_SIGNAL_NMI;
    cpu->smi += what == APIC_SIGNAL_SMI;
    cpu->init += what == APIC_SIGNAL_INIT;
    if (what == APIC_SIGNAL_SIPI) {
        cpu->sipi++;
        cpu->sipi_vector = vector;
    }
}

uint64_t rig_tsc(void *opaque)
{
    return (uint64_t)clock_now(((Cpu *)opaque)->rig->t.p.clocks, VIRTUAL_CLOCK) * 3;
}

static int64_t tsc_to_ns(void *opaque, uint64_t tsc)
{
    return (int64_t)(tsc / 3);
}

static void moved(void *opaque)
{
    ((Cpu *)opaque)->moved++;
}

uint32_t rig_reg(Rig *r, unsigned cpu, unsigned offset)
{
    uint64_t value;
    g_assert_cmpint(region_read(apic_region(r->cpus[cpu].apic), offset, 4, &value), ==, MEM_OK);
    return (uint32_t)value;
}

void rig_set_reg(Rig *r, unsigned cpu, unsigned offset, uint32_t value)
{
    g_assert_cmpint(region_write(apic_region(r->cpus[cpu].apic), offset, 4, value), ==, MEM_OK);
}

int rig_take(Rig *r, unsigned cpu)
{
    g_assert_true(apic_has_vector(r->cpus[cpu].apic) || apic_take_vector(r->cpus[cpu].apic) == -1);
    return apic_take_vector(r->cpus[cpu].apic);
}

void rig_forget(Rig *r)
{
    for (unsigned i = 0; i < N_CPUS; i++) {
        Cpu *cpu  = &r->cpus[i];
        cpu->intr = cpu->nmi = cpu->smi = cpu->init = cpu->sipi = 0;
    }
}

void rig_send(Rig *r, uint32_t destination, bool logical, uint8_t delivery, uint8_t vector, bool level)
{
    apic_bus_send(r->bus, &(ApicMessage){ destination, logical, delivery, vector, level });
}

ApicHost rig_host(Cpu *cpu)
{
    return (ApicHost){ signal_cpu, rig_tsc, tsc_to_ns, cpu };
}

void rig_open(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    r->bus = apic_bus_new(r->t.p.clocks, r->t.p.log);
    for (unsigned i = 0; i < N_CPUS; i++) {
        Cpu     *cpu  = &r->cpus[i];
        ApicHost host = rig_host(cpu);
        *cpu          = (Cpu){ .rig = r };
        cpu->apic     = apic_new(r->bus, r->t.p.memory, i, i == 0, &host);
        apic_on_base_change(cpu->apic, moved, cpu);
        rig_set_reg(r, i, 0xf0, 0x1ff);
        rig_set_reg(r, i, 0xd0, 1u << (24 + i));
    }
    r->io = ioapic_create(&r->t.p, r->bus, 0, &err);
    g_assert_nonnull(r->io);
    devices_reset(&r->t.p, RESET_COLD);
    rig_forget(r);
}

void rig_close(Rig *r)
{
    devices_free(&r->t.p);
    for (unsigned i = 0; i < N_CPUS; i++) {
        apic_free(r->cpus[i].apic);
    }
    apic_bus_free(r->bus);
    test_platform_close(&r->t);
}
