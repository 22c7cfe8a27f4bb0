/* Local APICs and the bus between them: acceptance and priority, EOI, LVT and lines, timer in three modes, IPIs and
 * destinations, x2APIC registers, modes of IA32_APIC_BASE, MSI; and the I/O APIC on top. */

#include "devices/irq/apic.h"
#include "devices/irq/ioapic.h"
#include "platform.h"

#include <stdatomic.h>

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

/* The TSC runs at 3 GHz. */
static uint64_t read_tsc(void *opaque)
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

static uint32_t reg(Rig *r, unsigned cpu, unsigned offset)
{
    uint64_t value;
    g_assert_cmpint(region_read(apic_region(r->cpus[cpu].apic), offset, 4, &value), ==, MEM_OK);
    return (uint32_t)value;
}

static void set_reg(Rig *r, unsigned cpu, unsigned offset, uint32_t value)
{
    g_assert_cmpint(region_write(apic_region(r->cpus[cpu].apic), offset, 4, value), ==, MEM_OK);
}

static int take(Rig *r, unsigned cpu)
{
    g_assert_true(apic_has_vector(r->cpus[cpu].apic) || apic_take_vector(r->cpus[cpu].apic) == -1);
    return apic_take_vector(r->cpus[cpu].apic);
}

static void forget(Rig *r)
{
    for (unsigned i = 0; i < N_CPUS; i++) {
        Cpu *cpu  = &r->cpus[i];
        cpu->intr = cpu->nmi = cpu->smi = cpu->init = cpu->sipi = 0;
    }
}

static void send(Rig *r, uint32_t destination, bool logical, uint8_t delivery, uint8_t vector, bool level)
{
    apic_bus_send(r->bus, &(ApicMessage){ destination, logical, delivery, vector, level });
}

/* Software-enabled, flat logical IDs 1, 2, 4. */
static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    r->bus = apic_bus_new(r->t.p.clocks, r->t.p.log);
    for (unsigned i = 0; i < N_CPUS; i++) {
        Cpu     *cpu  = &r->cpus[i];
        ApicHost host = { signal_cpu, read_tsc, tsc_to_ns, cpu };
        *cpu          = (Cpu){ .rig = r };
        cpu->apic     = apic_new(r->bus, r->t.p.memory, i, i == 0, &host);
        apic_on_base_change(cpu->apic, moved, cpu);
        set_reg(r, i, 0xf0, 0x1ff);
        set_reg(r, i, 0xd0, 1u << (24 + i));
    }
    r->io = ioapic_create(&r->t.p, r->bus, 0, &err);
    g_assert_nonnull(r->io);
    devices_reset(&r->t.p, RESET_COLD);
    forget(r);
}

static void close_rig(Rig *r)
{
    devices_free(&r->t.p);
    for (unsigned i = 0; i < N_CPUS; i++) {
        apic_free(r->cpus[i].apic);
    }
    apic_bus_free(r->bus);
    test_platform_close(&r->t);
}

static void test_reset(void)
{
    Rig r;
    open_rig(&r);
    set_reg(&r, 1, 0x80, 0x55);
    apic_reset(r.cpus[0].apic, false);
    apic_reset(r.cpus[1].apic, false);
    g_assert_cmphex(apic_get_base(r.cpus[0].apic), ==, 0xfee00900);
    g_assert_cmphex(apic_get_base(r.cpus[1].apic), ==, 0xfee00800);
    g_assert_cmphex(reg(&r, 1, 0x20), ==, 1u << 24);
    g_assert_cmphex(reg(&r, 1, 0x30) & 0xff00ff, ==, 0x050014);
    g_assert_cmphex(reg(&r, 1, 0x80), ==, 0);
    g_assert_cmphex(reg(&r, 1, 0xe0), ==, 0xffffffff);
    g_assert_cmphex(reg(&r, 1, 0xf0), ==, 0xff);
    for (unsigned offset = 0x320; offset <= 0x370; offset += 0x10) {
        g_assert_cmphex(reg(&r, 1, offset), ==, 0x10000);
    }
    g_assert_cmphex(reg(&r, 0, 0x350), ==, 0x700); /* the boot processor hears the 8259 */
    set_reg(&r, 1, 0x350, 0x700);                  /* software-disabled: stays masked */
    g_assert_cmphex(reg(&r, 1, 0x350), ==, 0x10700);
    send(&r, 1, false, 0, 0x40, false); /* and takes no fixed interrupts */
    g_assert_cmpint(take(&r, 1), ==, -1);
    close_rig(&r);
}

static void test_priority(void)
{
    Rig r;
    open_rig(&r);
    send(&r, 0, false, 0, 0x41, false);
    g_assert_cmpuint(r.cpus[0].intr, ==, 1);
    g_assert_cmphex(reg(&r, 0, 0x220), ==, 2);
    send(&r, 0, false, 0, 0x41, false); /* merges */
    send(&r, 0, false, 0, 0x52, false);
    g_assert_cmpint(take(&r, 0), ==, 0x52);
    g_assert_cmphex(reg(&r, 0, 0xa0), ==, 0x50); /* PPR */
    g_assert_cmphex(reg(&r, 0, 0x120), ==, 1u << 18);
    g_assert_cmpint(take(&r, 0), ==, -1); /* 41h waits */
    send(&r, 0, false, 0, 0x5f, false);   /* so does the same class */
    g_assert_cmpint(take(&r, 0), ==, -1);
    send(&r, 0, false, 0, 0x60, false);
    g_assert_cmpint(take(&r, 0), ==, 0x60);
    forget(&r);
    set_reg(&r, 0, 0xb0, 0); /* EOI of 60h */
    set_reg(&r, 0, 0xb0, 0); /* and of 52h: the CPU is told that something is due */
    g_assert_cmpuint(r.cpus[0].intr, >=, 1);
    g_assert_cmpint(take(&r, 0), ==, 0x5f);
    set_reg(&r, 0, 0xb0, 0);
    apic_set_tpr(r.cpus[0].apic, 4);
    g_assert_cmphex(reg(&r, 0, 0x80), ==, 0x40);
    g_assert_cmpint(take(&r, 0), ==, -1);
    forget(&r);
    apic_set_tpr(r.cpus[0].apic, 3);
    g_assert_cmpuint(r.cpus[0].intr, ==, 1);
    g_assert_cmpint(take(&r, 0), ==, 0x41);
    set_reg(&r, 0, 0xb0, 0);
    set_reg(&r, 0, 0xb0, 0); /* nothing in service: nothing happens */
    set_reg(&r, 0, 0x80, 0x37);
    g_assert_cmphex(reg(&r, 0, 0xa0), ==, 0x37);
    g_assert_cmpuint(apic_get_tpr(r.cpus[0].apic), ==, 3);
    close_rig(&r);
}

static void test_errors(void)
{
    Rig r;
    open_rig(&r);
    set_reg(&r, 0, 0x370, 0xfe);
    send(&r, 0, false, 0, 0x0f, false); /* illegal vector received */
    g_assert_cmpint(take(&r, 0), ==, 0xfe);
    g_assert_cmphex(reg(&r, 0, 0x280), ==, 0); /* a write latches */
    set_reg(&r, 0, 0x280, 0);
    g_assert_cmphex(reg(&r, 0, 0x280), ==, 0x40);
    set_reg(&r, 0, 0x300, 0x0000000f); /* illegal vector sent */
    reg(&r, 0, 0x3f0);                 /* no such register */
    set_reg(&r, 0, 0x280, 0);
    g_assert_cmphex(reg(&r, 0, 0x280), ==, 0xa0);
    set_reg(&r, 0, 0x280, 0);
    g_assert_cmphex(reg(&r, 0, 0x280), ==, 0);
    set_reg(&r, 0, 0x370, 0x05); /* an illegal vector here does not go round for ever */
    send(&r, 0, false, 0, 0x01, false);
    close_rig(&r);
}

static void test_lint(void)
{
    Rig r;
    open_rig(&r);
    Apic *bsp = r.cpus[0].apic;
    apic_set_lint(bsp, 0, 1);
    g_assert_cmpuint(r.cpus[0].intr, ==, 1);
    g_assert_cmpint(take(&r, 0), ==, APIC_EXTINT);
    g_assert_cmpint(take(&r, 0), ==, APIC_EXTINT); /* until the line falls */
    apic_set_tpr(bsp, 15);
    g_assert_cmpint(take(&r, 0), ==, APIC_EXTINT); /* priorities are not for it */
    apic_set_tpr(bsp, 0);
    apic_set_lint(bsp, 0, 0);
    g_assert_cmpint(take(&r, 0), ==, -1);
    apic_set_lint(bsp, 0, 1);
    set_reg(&r, 0, 0x350, 0x10700);
    g_assert_cmpint(take(&r, 0), ==, -1);
    forget(&r);
    set_reg(&r, 0, 0x350, 0x700);
    g_assert_cmpuint(r.cpus[0].intr, ==, 1); /* unmasked: heard */
    apic_set_lint(bsp, 0, 0);
    apic_set_lint(r.cpus[1].apic, 0, 1); /* masked there since reset */
    g_assert_cmpint(take(&r, 1), ==, -1);

    set_reg(&r, 0, 0x360, 0x400); /* LINT1: NMI, on the edge */
    apic_set_lint(bsp, 1, 1);
    apic_set_lint(bsp, 1, 1);
    g_assert_cmpuint(r.cpus[0].nmi, ==, 1);
    apic_set_lint(bsp, 1, 0);
    set_reg(&r, 0, 0x350, 0x8033); /* LINT0 as a level-triggered fixed interrupt */
    apic_set_lint(bsp, 0, 1);
    g_assert_cmphex(reg(&r, 0, 0x350), ==, 0xc033); /* remote IRR */
    g_assert_cmpint(take(&r, 0), ==, 0x33);
    set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpint(take(&r, 0), ==, 0x33); /* still high */
    apic_set_lint(bsp, 0, 0);
    set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpint(take(&r, 0), ==, -1);
    set_reg(&r, 0, 0xf0, 0xff); /* software-disable masks all */
    g_assert_cmphex(reg(&r, 0, 0x350) & 0x10000, ==, 0x10000);
    close_rig(&r);
}

/* A count that has run out before the timer is set up, on a clock that runs, interrupts all the same. */
static void test_timer_short(void)
{
    Rig r;
    g_auto(Error) err = {};
    open_rig(&r);
    Loop    *loop = loop_new(&r.t.lock, &err);
    ApicHost host = { signal_cpu, read_tsc, tsc_to_ns, &r.cpus[0] };
    ApicBus *bus  = apic_bus_new(loop_clocks(loop), r.t.p.log);
    Apic    *apic = apic_new(bus, r.t.p.memory, 0, true, &host);
    clock_set_running(loop_clocks(loop), true);
    apic_reset(apic, false);
    static const uint32_t setup[][2] = { { 0xf0, 0x1ff }, { 0x3e0, 0xb }, { 0x320, 0x40 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(setup); i++) {
        g_assert_cmpint(region_write(apic_region(apic), setup[i][0], 4, setup[i][1]), ==, MEM_OK);
    }
    for (unsigned i = 0; i < 100; i++) {
        g_assert_cmpint(region_write(apic_region(apic), 0x380, 4, 1), ==, MEM_OK); /* 1 ns */
        gint64 end = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;
        while (!apic_has_vector(apic) && g_get_monotonic_time() < end) {
            loop_step(loop, false);
        }
        g_assert_cmpint(apic_take_vector(apic), ==, 0x40);
        g_assert_cmpint(region_write(apic_region(apic), 0xb0, 4, 0), ==, MEM_OK);
    }
    clock_set_running(loop_clocks(loop), false);
    apic_free(apic);
    apic_bus_free(bus);
    loop_free(loop);
    close_rig(&r);
}

static void test_timer(void)
{
    Rig r;
    open_rig(&r);
    set_reg(&r, 0, 0x3e0, 0xb); /* divide by 1 */
    set_reg(&r, 0, 0x320, 0x40);
    set_reg(&r, 0, 0x380, 1000000);
    test_step(&r.t, 250000);
    g_assert_cmpuint(reg(&r, 0, 0x390), ==, 750000);
    test_step(&r.t, 749999);
    g_assert_cmpint(take(&r, 0), ==, -1);
    test_step(&r.t, 1);
    g_assert_cmpint(take(&r, 0), ==, 0x40);
    set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpuint(reg(&r, 0, 0x390), ==, 0);
    test_step(&r.t, 5000000);
    g_assert_cmpint(take(&r, 0), ==, -1);
    /* All dividers. */
    static const unsigned dividers[][2] = { { 0, 2 },  { 1, 4 },  { 2, 8 },    { 3, 16 },
                                            { 8, 32 }, { 9, 64 }, { 10, 128 }, { 11, 1 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(dividers); i++) {
        set_reg(&r, 0, 0x3e0, dividers[i][0]);
        set_reg(&r, 0, 0x380, 100000);
        test_step(&r.t, 50000 * (int64_t)dividers[i][1]);
        g_assert_cmpuint(reg(&r, 0, 0x390), ==, 50000);
    }
    /* Periodic, also when it is served late. */
    set_reg(&r, 0, 0x320, 0x20041);
    set_reg(&r, 0, 0x380, 1000000);
    for (unsigned i = 0; i < 5; i++) {
        test_step(&r.t, 1000000);
        g_assert_cmpint(take(&r, 0), ==, 0x41);
        set_reg(&r, 0, 0xb0, 0);
        g_assert_cmpint(take(&r, 0), ==, -1);
    }
    test_step(&r.t, 300000);
    g_assert_cmpuint(reg(&r, 0, 0x390), ==, 700000);
    /* Masked it counts on and keeps its beat. */
    set_reg(&r, 0, 0x320, 0x30041);
    test_step(&r.t, 2000000);
    g_assert_cmpint(take(&r, 0), ==, -1);
    set_reg(&r, 0, 0x320, 0x20041);
    test_step(&r.t, 700000 - 1);
    g_assert_cmpint(take(&r, 0), ==, -1);
    test_step(&r.t, 1);
    g_assert_cmpint(take(&r, 0), ==, 0x41);
    set_reg(&r, 0, 0xb0, 0);
    set_reg(&r, 0, 0x380, 0); /* stops */
    test_step(&r.t, 10000000);
    g_assert_cmpint(take(&r, 0), ==, -1);
    /* A one-shot that ran out while masked is over. */
    set_reg(&r, 0, 0x320, 0x10042);
    set_reg(&r, 0, 0x380, 1000);
    test_step(&r.t, 5000);
    set_reg(&r, 0, 0x320, 0x42);
    test_step(&r.t, 5000);
    g_assert_cmpint(take(&r, 0), ==, -1);
    /* A rate nobody could serve does not stop the machine. */
    set_reg(&r, 0, 0x320, 0x20043);
    set_reg(&r, 0, 0x380, 1);
    test_step(&r.t, NS_PER_SECOND / 10);
    g_assert_cmpint(take(&r, 0), ==, 0x43);
    close_rig(&r);
}

/* Time goes on and the main loop has not got to it. */
static void late(Rig *r, int64_t ns)
{
    clock_set_virtual(r->t.p.clocks, clock_now(r->t.p.clocks, VIRTUAL_CLOCK) + ns);
}

static void done_with(Rig *r, int vector)
{
    g_assert_cmpuint(r->cpus[0].intr, >=, 1);
    forget(r);
    g_assert_cmpint(take(r, 0), ==, vector);
    set_reg(r, 0, 0xb0, 0);
    test_step(&r->t, 1000); /* the host's timer, which is late */
    g_assert_cmpint(take(r, 0), ==, -1);
    forget(r);
}

/* The registers never show a timer that has run out without its interrupt, nor does a change of them undo it. */
static void test_late_timer(void)
{
    static const struct {
        uint32_t reg, value;
    } changes[] = { { 0x320, 0x10040 }, { 0x320, 0x20041 }, { 0x320, 0x40040 }, { 0x380, 0 }, { 0x380, 100000000 } };
    Rig r;
    open_rig(&r);
    set_reg(&r, 0, 0x3e0, 0xb);
    for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
        set_reg(&r, 0, 0x320, 0x40);
        set_reg(&r, 0, 0x380, 1000);
        late(&r, 1000);
        set_reg(&r, 0, changes[i].reg, changes[i].value);
        done_with(&r, 0x40);
    }
    set_reg(&r, 0, 0x320, 0x40);
    set_reg(&r, 0, 0x380, 1000);
    late(&r, 1000);
    set_reg(&r, 0, 0xf0, 0xff); /* disabled by software: what waits stays (SDM 3, 11.4.7.2) */
    set_reg(&r, 0, 0xf0, 0x1ff);
    done_with(&r, 0x40);
    set_reg(&r, 0, 0x320, 0x40);
    set_reg(&r, 0, 0x380, 1000);
    late(&r, 999);
    g_assert_cmpuint(reg(&r, 0, 0x390), ==, 1);
    g_assert_cmphex(reg(&r, 0, 0x220), ==, 0);
    late(&r, 1);
    g_assert_cmpuint(reg(&r, 0, 0x390), ==, 0);
    done_with(&r, 0x40);
    set_reg(&r, 0, 0x380, 1000);
    late(&r, 2000);
    g_assert_cmphex(reg(&r, 0, 0x220), ==, 1);
    done_with(&r, 0x40);

    set_reg(&r, 0, 0x320, 0x20041); /* periodic: once for all beats that were missed */
    set_reg(&r, 0, 0x380, 1000000);
    late(&r, 3500000);
    g_assert_cmpuint(reg(&r, 0, 0x390), ==, 500000);
    done_with(&r, 0x41);
    set_reg(&r, 0, 0x380, 0);

    Apic *apic = r.cpus[0].apic;
    set_reg(&r, 0, 0x320, 0x40044);
    apic_set_tsc_deadline(apic, read_tsc(&r.cpus[0]) + 3000);
    late(&r, 1001);
    g_assert_cmpuint(apic_get_tsc_deadline(apic), ==, 0);
    done_with(&r, 0x44);
    apic_set_tsc_deadline(apic, read_tsc(&r.cpus[0]) + 3000);
    late(&r, 1001);
    apic_set_tsc_deadline(apic, 0);
    done_with(&r, 0x44);
    /* Whoever sees a bit in IRR finds the CPU told, whatever it was told before. */
    send(&r, 0, false, 0, 0x45, false);
    forget(&r);
    g_assert_cmphex(reg(&r, 0, 0x220), ==, 1 << 5);
    done_with(&r, 0x45);
    close_rig(&r);
}

static void test_deadline(void)
{
    Rig r;
    open_rig(&r);
    Apic *apic = r.cpus[0].apic;
    apic_set_tsc_deadline(apic, 100); /* not in that mode: ignored */
    g_assert_cmpuint(apic_get_tsc_deadline(apic), ==, 0);
    set_reg(&r, 0, 0x320, 0x40044);
    apic_set_tsc_deadline(apic, 3001);
    g_assert_cmpuint(apic_get_tsc_deadline(apic), ==, 3001);
    set_reg(&r, 0, 0x380, 5); /* ignored in this mode */
    g_assert_cmpuint(reg(&r, 0, 0x390), ==, 0);
    test_step(&r.t, 1000); /* TSC 3000 */
    g_assert_cmpint(take(&r, 0), ==, -1);
    test_step(&r.t, 1);
    g_assert_cmpint(take(&r, 0), ==, 0x44);
    set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpuint(apic_get_tsc_deadline(apic), ==, 0);
    apic_set_tsc_deadline(apic, 10); /* in the past: at once */
    g_assert_cmpint(take(&r, 0), ==, 0x44);
    set_reg(&r, 0, 0xb0, 0);
    apic_set_tsc_deadline(apic, 30000);
    apic_set_tsc_deadline(apic, 0); /* disarms */
    test_step(&r.t, 100000);
    g_assert_cmpint(take(&r, 0), ==, -1);
    apic_set_tsc_deadline(apic, 1000000);
    set_reg(&r, 0, 0x320, 0x44); /* leaving the mode disarms too */
    set_reg(&r, 0, 0x320, 0x40044);
    test_step(&r.t, 1000000);
    g_assert_cmpint(take(&r, 0), ==, -1);
    g_assert_cmphex(reg(&r, 0, 0x320), ==, 0x40044);
    set_reg(&r, 0, 0x320, 0x60044); /* reserved mode */
    g_assert_cmphex(reg(&r, 0, 0x320), ==, 0x44);
    close_rig(&r);
}

static void test_ipi(void)
{
    Rig r;
    open_rig(&r);
    set_reg(&r, 0, 0x310, 2u << 24);
    set_reg(&r, 0, 0x300, 0x4050);
    g_assert_cmpint(take(&r, 2), ==, 0x50);
    g_assert_cmpint(take(&r, 1), ==, -1);
    set_reg(&r, 0, 0x310, 0x06000000);
    set_reg(&r, 0, 0x300, 0x4851); /* logical, flat: 1 and 2 */
    g_assert_cmpint(take(&r, 0), ==, -1);
    g_assert_cmpint(take(&r, 1), ==, 0x51);
    set_reg(&r, 2, 0xb0, 0);
    g_assert_cmpint(take(&r, 2), ==, 0x51);
    set_reg(&r, 1, 0xb0, 0);
    set_reg(&r, 2, 0xb0, 0);
    set_reg(&r, 0, 0x310, 0xff000000);
    set_reg(&r, 0, 0x300, 0x4052); /* physical broadcast: all */
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_assert_cmpint(take(&r, i), ==, 0x52);
        set_reg(&r, i, 0xb0, 0);
    }
    set_reg(&r, 1, 0x300, 0x44053); /* self */
    g_assert_cmpint(take(&r, 1), ==, 0x53);
    set_reg(&r, 1, 0xb0, 0);
    set_reg(&r, 1, 0x300, 0x84054); /* all */
    g_assert_cmpint(take(&r, 1), ==, 0x54);
    set_reg(&r, 1, 0xb0, 0);
    g_assert_cmpint(take(&r, 0), ==, 0x54);
    g_assert_cmpint(take(&r, 2), ==, 0x54);
    set_reg(&r, 0, 0xb0, 0);
    set_reg(&r, 2, 0xb0, 0);
    set_reg(&r, 1, 0x300, 0xc4055); /* all others */
    g_assert_cmpint(take(&r, 1), ==, -1);
    g_assert_cmpint(take(&r, 0), ==, 0x55);
    g_assert_cmpint(take(&r, 2), ==, 0x55);
    set_reg(&r, 0, 0xb0, 0);
    set_reg(&r, 2, 0xb0, 0);

    forget(&r);
    set_reg(&r, 0, 0x300, 0xc4400); /* NMI to the others */
    set_reg(&r, 0, 0x300, 0xc4200); /* SMI */
    set_reg(&r, 0, 0x300, 0xc4500); /* INIT */
    set_reg(&r, 0, 0x300, 0xc8500); /* INIT de-assert does nothing */
    set_reg(&r, 0, 0x300, 0xc4699); /* SIPI */
    for (unsigned i = 0; i < N_CPUS; i++) {
        unsigned n = i != 0;
        g_assert_cmpuint(r.cpus[i].nmi, ==, n);
        g_assert_cmpuint(r.cpus[i].smi, ==, n);
        g_assert_cmpuint(r.cpus[i].init, ==, n);
        g_assert_cmpuint(r.cpus[i].sipi, ==, n);
    }
    g_assert_cmphex(r.cpus[2].sipi_vector, ==, 0x99);
    g_assert_cmphex(reg(&r, 0, 0x300), ==, 0xc4699);
    /* Cluster model: cluster 1, members 1 and 4. */
    for (unsigned i = 0; i < N_CPUS; i++) {
        set_reg(&r, i, 0xe0, 0x0fffffff);
        set_reg(&r, i, 0xd0, (0x10u | 1u << i) << 24);
    }
    set_reg(&r, 0, 0x310, 0x15000000);
    set_reg(&r, 0, 0x300, 0x4856);
    g_assert_cmpint(take(&r, 0), ==, 0x56);
    g_assert_cmpint(take(&r, 1), ==, -1);
    g_assert_cmpint(take(&r, 2), ==, 0x56);
    set_reg(&r, 0, 0x310, 0x27000000); /* another cluster */
    set_reg(&r, 0, 0x300, 0x4857);
    g_assert_cmpint(take(&r, 1), ==, -1);
    close_rig(&r);
}

static void test_lowest(void)
{
    Rig r;
    open_rig(&r);
    set_reg(&r, 0, 0x80, 0x30);
    set_reg(&r, 1, 0x80, 0x20);
    set_reg(&r, 2, 0x80, 0x40);
    send(&r, 0xff, true, 1, 0x70, false);
    g_assert_cmpint(take(&r, 1), ==, 0x70);
    g_assert_cmpint(take(&r, 0), ==, -1);
    g_assert_cmpint(take(&r, 2), ==, -1);
    send(&r, 0xff, true, 1, 0x71, false); /* 1 is at 70h now */
    g_assert_cmpint(take(&r, 0), ==, 0x71);
    set_reg(&r, 0, 0xb0, 0);
    set_reg(&r, 1, 0xb0, 0);
    unsigned got[N_CPUS] = {};
    for (unsigned i = 0; i < N_CPUS; i++) {
        set_reg(&r, i, 0x80, 0);
    }
    for (unsigned n = 0; n < 9; n++) { /* equals take turns */
        send(&r, 0xff, true, 1, 0x72, false);
        for (unsigned i = 0; i < N_CPUS; i++) {
            if (take(&r, i) == 0x72) {
                got[i]++;
                set_reg(&r, i, 0xb0, 0);
            }
        }
    }
    g_assert_cmpuint(got[0], ==, 3);
    g_assert_cmpuint(got[1], ==, 3);
    g_assert_cmpuint(got[2], ==, 3);
    set_reg(&r, 0, 0xf0, 0xff); /* who is off does not take part */
    set_reg(&r, 1, 0xf0, 0xff);
    send(&r, 0xff, true, 1, 0x73, false);
    g_assert_cmpint(take(&r, 2), ==, 0x73);
    close_rig(&r);
}

static void test_base(void)
{
    Rig r;
    open_rig(&r);
    Apic *apic = r.cpus[1].apic;
    g_assert_false(apic_set_base(apic, 0xfee00801, 40)); /* reserved */
    g_assert_false(apic_set_base(apic, UINT64_C(1) << 40 | 0x800, 40));
    g_assert_false(apic_set_base(apic, 0xfee00400, 40)); /* x2APIC without being enabled */
    g_assert_true(apic_set_base(apic, 0xfed00800, 40));
    g_assert_cmpuint(r.cpus[1].moved, ==, 1);
    g_assert_true(apic_set_base(apic, 0xfed00900, 40)); /* BSP is not the guest's to change */
    g_assert_cmphex(apic_get_base(apic), ==, 0xfed00800);
    g_assert_cmpuint(r.cpus[1].moved, ==, 1);
    g_assert_true(apic_set_base(apic, 0xfee00c00, 40));  /* to x2APIC */
    g_assert_false(apic_set_base(apic, 0xfee00800, 40)); /* not back */
    send(&r, 1, false, 0, 0x66, false);
    g_assert_true(apic_set_base(apic, 0xfee00000, 40)); /* off: state is lost */
    g_assert_cmpint(take(&r, 1), ==, -1);
    g_assert_false(apic_set_base(apic, 0xfee00c00, 40));
    forget(&r);
    send(&r, 1, false, 0, 0x66, false);
    g_assert_cmpuint(r.cpus[1].intr, ==, 0);
    apic_set_lint(apic, 0, 1); /* the pins are INTR and NMI */
    g_assert_cmpint(take(&r, 1), ==, APIC_EXTINT);
    apic_set_lint(apic, 1, 1);
    g_assert_cmpuint(r.cpus[1].nmi, ==, 1);
    apic_set_lint(apic, 0, 0);
    g_assert_true(apic_set_base(apic, 0xfee00800, 40));
    g_assert_cmphex(reg(&r, 1, 0xf0), ==, 0xff);
    close_rig(&r);
}

static uint64_t msr(Rig *r, unsigned cpu, uint32_t index)
{
    uint64_t value;
    g_assert_true(apic_read_msr(r->cpus[cpu].apic, index, &value));
    return value;
}

static void test_x2apic(void)
{
    Rig      r;
    uint64_t value;
    open_rig(&r);
    Apic *apic = r.cpus[2].apic;
    g_assert_false(apic_read_msr(apic, 0x802, &value)); /* not in this mode */
    g_assert_false(apic_write_msr(apic, 0x808, 0));
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_assert_true(apic_set_base(r.cpus[i].apic, apic_get_base(r.cpus[i].apic) | 0x400, 40));
    }
    g_assert_cmphex(reg(&r, 2, 0x20), ==, 0xffffffff); /* the page is gone */
    g_assert_cmphex(msr(&r, 2, 0x802), ==, 2);
    g_assert_cmphex(msr(&r, 2, 0x80d), ==, 4);
    g_assert_cmphex(msr(&r, 2, 0x80f), ==, 0x1ff); /* kept */
    static const uint32_t absent[] = { 0x800, 0x801, 0x804, 0x809, 0x80c, 0x80e, 0x82f, 0x831, 0x83a, 0x83f, 0x840 };
    for (unsigned i = 0; i < G_N_ELEMENTS(absent); i++) {
        g_assert_false(apic_read_msr(apic, absent[i], &value));
    }
    static const struct {
        uint32_t index;
        uint64_t value;
    } refused[] = {
        { 0x802, 0 },          { 0x803, 0 },        { 0x80a, 0 },      { 0x80b, 1 },       { 0x80d, 1 },
        { 0x80e, 0 },          { 0x808, 0x100 },    { 0x80f, 0x2000 }, { 0x810, 0 },       { 0x820, 0 },
        { 0x828, 1 },          { 0x830, 0x100000 }, { 0x831, 0 },      { 0x832, 0x80000 }, { 0x835, 0x20000 },
        { 0x838, 1ull << 32 }, { 0x839, 0 },        { 0x83e, 4 },      { 0x83f, 0x100 },   { 0x808, 1ull << 32 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(refused); i++) {
        g_assert_false(apic_write_msr(apic, refused[i].index, refused[i].value));
    }
    g_assert_true(apic_write_msr(apic, 0x83f, 0x77)); /* self IPI */
    g_assert_cmpint(take(&r, 2), ==, 0x77);
    g_assert_cmphex(msr(&r, 2, 0x813), ==, 1u << 23); /* in service */
    g_assert_true(apic_write_msr(apic, 0x80b, 0));
    g_assert_cmphex(msr(&r, 2, 0x813), ==, 0);
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(1) << 32 | 0x61));
    g_assert_cmpint(take(&r, 1), ==, 0x61);
    g_assert_cmphex(msr(&r, 2, 0x830), ==, UINT64_C(1) << 32 | 0x61);
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(5) << 32 | 0x862)); /* logical: cluster 0, members 0 and 2 */
    g_assert_cmpint(take(&r, 0), ==, 0x62);
    g_assert_cmpint(take(&r, 2), ==, 0x62);
    g_assert_cmpint(take(&r, 1), ==, -1);
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(0x10001) << 32 | 0x8b0)); /* another cluster */
    g_assert_cmpint(take(&r, 0), ==, -1);
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(0xffffffff) << 32 | 0x90)); /* broadcast */
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_assert_cmpint(take(&r, i), ==, 0x90);
        g_assert_true(apic_write_msr(r.cpus[i].apic, 0x80b, 0));
    }
    g_assert_true(apic_write_msr(apic, 0x830, UINT64_C(0xff) << 32 | 0xa0)); /* FFh is an ID like others here */
    g_assert_cmpint(take(&r, 0), ==, -1);
    send(&r, 4, true, 0, 0xa1, false); /* a logical message of 8 bits reaches members of cluster 0 */
    g_assert_cmpint(take(&r, 2), ==, 0xa1);
    send(&r, 0xff, false, 0, 0xa2, false); /* and its broadcast all */
    g_assert_cmpint(take(&r, 0), ==, 0xa2);
    close_rig(&r);
}

static void test_msi(void)
{
    Rig r;
    open_rig(&r);
    apic_bus_send_msi(r.bus, 0xfee01000, 0x0041);
    g_assert_cmpint(take(&r, 1), ==, 0x41);
    apic_bus_send_msi(r.bus, 0xfee04004, 0x0042); /* logical */
    g_assert_cmpint(take(&r, 2), ==, 0x42);
    apic_bus_send_msi(r.bus, 0xfee0600c, 0x0143); /* lowest priority among 1 and 2; both are at 40h */
    g_assert_cmpint(apic_has_vector(r.cpus[1].apic) + apic_has_vector(r.cpus[2].apic), ==, 0);
    set_reg(&r, 1, 0xb0, 0);
    set_reg(&r, 2, 0xb0, 0);
    g_assert_cmpint(apic_has_vector(r.cpus[1].apic) + apic_has_vector(r.cpus[2].apic), ==, 1);
    forget(&r);
    apic_bus_send_msi(r.bus, 0xfee00000, 0x0400); /* NMI */
    g_assert_cmpuint(r.cpus[0].nmi, ==, 1);
    apic_bus_send_msi(r.bus, 0xfee00000, 0x8044); /* level, de-asserted */
    apic_bus_send_msi(r.bus, 0xfed00000, 0x0044); /* not the APICs' */
    apic_bus_send_msi(r.bus, UINT64_C(0x1fee00000), 0x0044);
    g_assert_cmpint(take(&r, 0), ==, -1);
    apic_bus_send_msi(r.bus, 0xfee00000, 0x0700); /* ExtINT: once */
    g_assert_cmpint(take(&r, 0), ==, APIC_EXTINT);
    g_assert_cmpint(take(&r, 0), ==, -1);
    close_rig(&r);
}

static void test_state(void)
{
    Rig r;
    g_auto(Error) err = {};
    open_rig(&r);
    set_reg(&r, 1, 0x80, 0x20);
    set_reg(&r, 1, 0x3e0, 0xb);
    set_reg(&r, 1, 0x320, 0x20041);
    set_reg(&r, 1, 0x380, 1000000);
    send(&r, 1, false, 0, 0x90, true);
    send(&r, 1, false, 0, 0x50, false);
    g_assert_cmpint(take(&r, 1), ==, 0x90);
    test_step(&r.t, 400000);
    GByteArray *saved = g_byte_array_new(), *again = g_byte_array_new();
    apic_save(r.cpus[1].apic, saved);
    apic_reset(r.cpus[1].apic, false);
    g_assert_true(apic_load(r.cpus[1].apic, saved->data, saved->len, &err));
    apic_save(r.cpus[1].apic, again);
    g_assert_cmpmem(saved->data, saved->len, again->data, again->len);
    g_assert_cmphex(reg(&r, 1, 0xa0), ==, 0x90);
    g_assert_cmpuint(reg(&r, 1, 0x390), ==, 600000);
    set_reg(&r, 1, 0xb0, 0);
    g_assert_cmpint(take(&r, 1), ==, 0x50);
    set_reg(&r, 1, 0xb0, 0);
    test_step(&r.t, 600000);
    g_assert_cmpint(take(&r, 1), ==, 0x41);
    /* What no APIC can hold is refused: x2APIC without being enabled. */
    for (guint i = 0; i + 8 < saved->len; i++) {
        if (!memcmp(saved->data + i, "\0\0\0\0\xfe\xe0\x08", 7)) {
            saved->data[i + 6] = 0x04;
        }
    }
    g_assert_false(apic_load(r.cpus[1].apic, saved->data, saved->len, &err));
    g_byte_array_unref(saved);
    g_byte_array_unref(again);
    close_rig(&r);
}

/* ---- Several threads ---- */

enum { SENDERS = 2, MESSAGES = 20000 };

typedef struct Traffic {
    ApicBus    *bus;
    Apic       *apic;
    atomic_bool signalled;
    atomic_uint senders_left;
    unsigned    taken;
} Traffic;

static void note_signal(void *opaque, ApicSignal what, uint8_t vector)
{
    atomic_store(&((Traffic *)opaque)->signalled, true);
}

static void *sender(void *opaque)
{
    Traffic *t = opaque;
    for (unsigned i = 0; i < MESSAGES; i++) {
        apic_bus_send(t->bus, &(ApicMessage){ .destination = 0, .vector = (uint8_t)(0x20 + i % 0xe0) });
    }
    atomic_fetch_sub(&t->senders_left, 1);
    return NULL;
}

/* A CPU that looks only when it is signalled, as a real one does, loses nothing. */
static void *receiver(void *opaque)
{
    Traffic *t = opaque;
    for (bool last = false;; last = atomic_load(&t->senders_left) == 0) {
        while (atomic_exchange(&t->signalled, false)) {
            for (int vector; (vector = apic_take_vector(t->apic)) >= 0; t->taken++) {
                region_write(apic_region(t->apic), 0xb0, 4, 0);
            }
        }
        if (last) {
            return NULL;
        }
    }
}

static void test_threads(void)
{
    TestPlatform t;
    test_platform_open(&t);
    Traffic  traffic = { .bus = apic_bus_new(t.p.clocks, t.p.log), .senders_left = SENDERS };
    ApicHost host    = { note_signal, read_tsc, tsc_to_ns, &traffic };
    traffic.apic     = apic_new(traffic.bus, t.p.memory, 0, true, &host);
    GThread *threads[SENDERS + 1];
    region_write(apic_region(traffic.apic), 0xf0, 4, 0x1ff);
    threads[SENDERS] = g_thread_new("receiver", receiver, &traffic);
    for (unsigned i = 0; i < SENDERS; i++) {
        threads[i] = g_thread_new("sender", sender, &traffic);
    }
    for (unsigned i = 0; i <= SENDERS; i++) {
        g_thread_join(threads[i]);
    }
    g_assert_false(apic_has_vector(traffic.apic));
    g_assert_cmpuint(traffic.taken, >=, 0xe0);
    g_assert_cmpuint(traffic.taken, <=, SENDERS * MESSAGES);
    apic_free(traffic.apic);
    apic_bus_free(traffic.bus);
    test_platform_close(&t);
}

/* ---- I/O APIC ---- */

static uint32_t io_reg(Rig *r, uint8_t index)
{
    mem_store(&r->t, IOAPIC_ADDRESS, index, 4);
    return (uint32_t)mem_load(&r->t, IOAPIC_ADDRESS + 0x10, 4);
}

static void set_io_reg(Rig *r, uint8_t index, uint32_t value)
{
    mem_store(&r->t, IOAPIC_ADDRESS, index, 4);
    mem_store(&r->t, IOAPIC_ADDRESS + 0x10, value, 4);
}

static void set_rte(Rig *r, unsigned pin, uint32_t low, uint8_t destination)
{
    set_io_reg(r, (uint8_t)(0x10 + 2 * pin), 0x10000);
    set_io_reg(r, (uint8_t)(0x11 + 2 * pin), (uint32_t)destination << 24);
    set_io_reg(r, (uint8_t)(0x10 + 2 * pin), low);
}

static void set_pin(Rig *r, unsigned pin, int level)
{
    irq_set(&(IrqLine){ ioapic_input(r->io, pin) }, level);
}

static void test_ioapic_registers(void)
{
    Rig r;
    open_rig(&r);
    g_assert_cmphex(io_reg(&r, 0), ==, 0);
    g_assert_cmphex(io_reg(&r, 1), ==, 0x00170020);
    set_io_reg(&r, 0, 0xffffffff);
    g_assert_cmphex(io_reg(&r, 0), ==, 0x0f000000);
    g_assert_cmphex(io_reg(&r, 2), ==, 0x0f000000);
    set_io_reg(&r, 1, 0);
    g_assert_cmphex(io_reg(&r, 1), ==, 0x00170020);
    for (unsigned pin = 0; pin < 24; pin++) {
        g_assert_cmphex(io_reg(&r, (uint8_t)(0x10 + 2 * pin)), ==, 0x10000);
    }
    g_assert_cmphex(io_reg(&r, 0x40), ==, 0); /* behind the last pin */
    set_io_reg(&r, 0x10, 0xfffeffff);
    set_io_reg(&r, 0x11, 0xffffffff);
    g_assert_cmphex(io_reg(&r, 0x10), ==, 0xafff); /* status and remote IRR are read-only */
    g_assert_cmphex(io_reg(&r, 0x11), ==, 0xff000000);
    mem_store(&r.t, IOAPIC_ADDRESS, 0x01, 1); /* the index is a byte */
    g_assert_cmphex(mem_load(&r.t, IOAPIC_ADDRESS + 0x10, 4), ==, 0x00170020);
    g_assert_cmphex(mem_load(&r.t, IOAPIC_ADDRESS + 0x12, 1), ==, 0x17);
    close_rig(&r);
}

static void test_ioapic_edge(void)
{
    Rig r;
    open_rig(&r);
    set_pin(&r, 4, 1);
    set_rte(&r, 4, 0x44, 1); /* an edge while masked is lost */
    g_assert_cmpint(take(&r, 1), ==, -1);
    set_pin(&r, 4, 0);
    set_pin(&r, 4, 1);
    set_pin(&r, 4, 1);
    g_assert_cmpint(take(&r, 1), ==, 0x44);
    set_reg(&r, 1, 0xb0, 0);
    g_assert_cmpint(take(&r, 1), ==, -1);
    set_rte(&r, 4, 0x944, 0x06); /* lowest priority, logical */
    set_pin(&r, 4, 0);
    set_pin(&r, 4, 1);
    g_assert_cmpint(apic_has_vector(r.cpus[1].apic) + apic_has_vector(r.cpus[2].apic), ==, 1);
    forget(&r);
    set_rte(&r, 5, 0x400, 2); /* NMI */
    set_pin(&r, 5, 1);
    g_assert_cmpuint(r.cpus[2].nmi, ==, 1);
    close_rig(&r);
}

static void count_call(void *opaque)
{
    ++*(unsigned *)opaque;
}

/* Who waits for an edge to be taken hears of it once, at the end of that interrupt: by the register or the MSR. */
static void test_ioapic_taken(void)
{
    for (unsigned x2 = 0; x2 < 2; x2++) {
        Rig      r;
        IrqLine  line;
        unsigned calls = 0;
        IrqTaken taken = { count_call, &calls };
        open_rig(&r);
        if (x2) {
            apic_set_base(r.cpus[1].apic, apic_get_base(r.cpus[1].apic) | 0xc00, 40);
        }
        line.to = ioapic_input(r.io, 4);
        set_rte(&r, 4, 0x44, 1);
        g_assert_cmpint(irq_hearing(&line, &taken), ==, IRQ_HEARS);
        irq_pulse(&line);
        g_assert_cmpint(irq_hearing(&line, &taken), ==, IRQ_WAITS);
        g_assert_cmpint(take(&r, 1), ==, 0x44);
        g_assert_cmpuint(calls, ==, 0);
        for (unsigned i = 0; i < 2; i++) {
            if (x2) {
                g_assert_true(apic_write_msr_quickly(r.cpus[1].apic, 0x80b, 0) == (i > 0));
                g_assert_true(i || apic_write_msr(r.cpus[1].apic, 0x80b, 0));
            } else {
                set_reg(&r, 1, 0xb0, 0);
            }
            g_assert_cmpuint(calls, ==, 1);
        }
        close_rig(&r);
    }
}

static void test_ioapic_hearing(void)
{
    Rig     r;
    IrqLine line;
    open_rig(&r);
    line.to = ioapic_input(r.io, 4);
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_DEAF); /* masked */
    set_rte(&r, 4, 0x44, 1);
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_HEARS);
    irq_pulse(&line);
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_WAITS);
    g_assert_cmpint(take(&r, 1), ==, 0x44); /* one in service, another may wait */
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_HEARS);
    irq_pulse(&line);
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_WAITS);
    set_rte(&r, 4, 0x400, 1); /* NMI: nobody keeps an edge from it */
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_HEARS);
    set_rte(&r, 4, 0x8044, 1); /* level */
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_HEARS);
    close_rig(&r);
}

static void test_ioapic_level(void)
{
    Rig r;
    open_rig(&r);
    set_rte(&r, 10, 0x8060, 0);
    set_pin(&r, 10, 1);
    g_assert_cmphex(io_reg(&r, 0x24), ==, 0xc060); /* remote IRR */
    g_assert_cmpint(take(&r, 0), ==, 0x60);
    set_pin(&r, 10, 0);
    set_pin(&r, 10, 1); /* not again before the EOI */
    g_assert_cmpint(take(&r, 0), ==, -1);
    set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpint(take(&r, 0), ==, 0x60); /* high after the EOI: again */
    set_pin(&r, 10, 0);
    set_reg(&r, 0, 0xb0, 0);
    g_assert_cmphex(io_reg(&r, 0x24), ==, 0x8060);
    g_assert_cmpint(take(&r, 0), ==, -1);
    /* A level that rose while masked is heard when it is not. */
    set_io_reg(&r, 0x24, 0x18060);
    set_pin(&r, 10, 1);
    g_assert_cmpint(take(&r, 0), ==, -1);
    set_io_reg(&r, 0x24, 0x8060);
    g_assert_cmpint(take(&r, 0), ==, 0x60);
    /* EOI broadcasts suppressed: the EOI register does it. */
    set_reg(&r, 0, 0xf0, 0x11ff);
    set_reg(&r, 0, 0xb0, 0);
    g_assert_cmphex(io_reg(&r, 0x24), ==, 0xc060);
    mem_store(&r.t, IOAPIC_ADDRESS + 0x40, 0x61, 4); /* another vector */
    g_assert_cmphex(io_reg(&r, 0x24), ==, 0xc060);
    set_pin(&r, 10, 0);
    mem_store(&r.t, IOAPIC_ADDRESS + 0x40, 0x60, 4);
    g_assert_cmphex(io_reg(&r, 0x24), ==, 0x8060);
    /* Edge mode clears remote IRR. */
    set_pin(&r, 10, 1);
    set_io_reg(&r, 0x24, 0x10060);
    g_assert_cmphex(io_reg(&r, 0x24), ==, 0x10060);
    close_rig(&r);
}

/* Nobody serves the device: after many rounds it rests, then goes on. */
static void test_ioapic_storm(void)
{
    Rig      r;
    unsigned rounds = 0;
    open_rig(&r);
    set_rte(&r, 3, 0x8050, 0);
    set_pin(&r, 3, 1);
    while (take(&r, 0) == 0x50 && rounds < 20000) {
        rounds++;
        set_reg(&r, 0, 0xb0, 0);
    }
    g_assert_cmpuint(rounds, ==, 10000);
    test_step(&r.t, 10 * NS_PER_MS);
    g_assert_cmpint(take(&r, 0), ==, 0x50);
    close_rig(&r);
}

static void test_ioapic_state(void)
{
    Rig r;
    open_rig(&r);
    Device     *dev   = (Device *)r.io;
    GByteArray *fresh = test_saved(dev);
    set_rte(&r, 10, 0x8060, 0);
    set_rte(&r, 4, 0x44, 1);
    set_pin(&r, 10, 1);
    g_assert_cmpint(take(&r, 0), ==, 0x60);
    test_save_load(dev);
    set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpint(take(&r, 0), ==, 0x60);
    set_pin(&r, 10, 0);
    test_reset_is(dev, fresh);
    close_rig(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apic/reset", test_reset);
    g_test_add_func("/apic/priority", test_priority);
    g_test_add_func("/apic/errors", test_errors);
    g_test_add_func("/apic/lint", test_lint);
    g_test_add_func("/apic/timer", test_timer);
    g_test_add_func("/apic/timer-short", test_timer_short);
    g_test_add_func("/apic/late-timer", test_late_timer);
    g_test_add_func("/apic/deadline", test_deadline);
    g_test_add_func("/apic/ipi", test_ipi);
    g_test_add_func("/apic/lowest", test_lowest);
    g_test_add_func("/apic/base", test_base);
    g_test_add_func("/apic/x2apic", test_x2apic);
    g_test_add_func("/apic/msi", test_msi);
    g_test_add_func("/apic/state", test_state);
    g_test_add_func("/apic/threads", test_threads);
    g_test_add_func("/ioapic/registers", test_ioapic_registers);
    g_test_add_func("/ioapic/edge", test_ioapic_edge);
    g_test_add_func("/ioapic/hearing", test_ioapic_hearing);
    g_test_add_func("/ioapic/taken", test_ioapic_taken);
    g_test_add_func("/ioapic/level", test_ioapic_level);
    g_test_add_func("/ioapic/storm", test_ioapic_storm);
    g_test_add_func("/ioapic/state", test_ioapic_state);
    return g_test_run();
}
