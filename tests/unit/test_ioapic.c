/* The I/O APIC: registers, edges, levels, and who waits for an interrupt to be taken. */

#include "apic_rig.h"

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
    rig_open(&r);
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
    rig_close(&r);
}

static void test_ioapic_edge(void)
{
    Rig r;
    rig_open(&r);
    set_pin(&r, 4, 1);
    set_rte(&r, 4, 0x44, 1); /* an edge while masked is lost */
    g_assert_cmpint(rig_take(&r, 1), ==, -1);
    set_pin(&r, 4, 0);
    set_pin(&r, 4, 1);
    set_pin(&r, 4, 1);
    g_assert_cmpint(rig_take(&r, 1), ==, 0x44);
    rig_set_reg(&r, 1, 0xb0, 0);
    g_assert_cmpint(rig_take(&r, 1), ==, -1);
    set_rte(&r, 4, 0x944, 0x06); /* lowest priority, logical */
    set_pin(&r, 4, 0);
    set_pin(&r, 4, 1);
    g_assert_cmpint(apic_has_vector(r.cpus[1].apic) + apic_has_vector(r.cpus[2].apic), ==, 1);
    rig_forget(&r);
    set_rte(&r, 5, 0x400, 2); /* NMI */
    set_pin(&r, 5, 1);
    g_assert_cmpuint(r.cpus[2].nmi, ==, 1);
    rig_close(&r);
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
        rig_open(&r);
        if (x2) {
            apic_set_base(r.cpus[1].apic, apic_get_base(r.cpus[1].apic) | 0xc00, 40);
        }
        line.to = ioapic_input(r.io, 4);
        set_rte(&r, 4, 0x44, 1);
        g_assert_cmpint(irq_hearing(&line, &taken), ==, IRQ_HEARS);
        irq_pulse(&line);
        g_assert_cmpint(irq_hearing(&line, &taken), ==, IRQ_WAITS);
        g_assert_cmpint(rig_take(&r, 1), ==, 0x44);
        g_assert_cmpuint(calls, ==, 0);
        for (unsigned i = 0; i < 2; i++) {
            if (x2) {
                g_assert_true(apic_write_msr_quickly(r.cpus[1].apic, 0x80b, 0) == (i > 0));
                g_assert_true(i || apic_write_msr(r.cpus[1].apic, 0x80b, 0));
            } else {
                rig_set_reg(&r, 1, 0xb0, 0);
            }
            g_assert_cmpuint(calls, ==, 1);
        }
        rig_close(&r);
    }
}

static void test_ioapic_hearing(void)
{
    Rig     r;
    IrqLine line;
    rig_open(&r);
    line.to = ioapic_input(r.io, 4);
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_DEAF); /* masked */
    set_rte(&r, 4, 0x44, 1);
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_HEARS);
    irq_pulse(&line);
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_WAITS);
    g_assert_cmpint(rig_take(&r, 1), ==, 0x44); /* one in service, another may wait */
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_HEARS);
    irq_pulse(&line);
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_WAITS);
    set_rte(&r, 4, 0x400, 1); /* NMI: nobody keeps an edge from it */
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_HEARS);
    set_rte(&r, 4, 0x8044, 1); /* level */
    g_assert_cmpint(irq_hearing(&line, NULL), ==, IRQ_HEARS);
    rig_close(&r);
}

static void test_ioapic_level(void)
{
    Rig r;
    rig_open(&r);
    set_rte(&r, 10, 0x8060, 0);
    set_pin(&r, 10, 1);
    g_assert_cmphex(io_reg(&r, 0x24), ==, 0xc060); /* remote IRR */
    g_assert_cmpint(rig_take(&r, 0), ==, 0x60);
    set_pin(&r, 10, 0);
    set_pin(&r, 10, 1); /* not again before the EOI */
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    rig_set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x60); /* high after the EOI: again */
    set_pin(&r, 10, 0);
    rig_set_reg(&r, 0, 0xb0, 0);
    g_assert_cmphex(io_reg(&r, 0x24), ==, 0x8060);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    /* A level that rose while masked is heard when it is not. */
    set_io_reg(&r, 0x24, 0x18060);
    set_pin(&r, 10, 1);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    set_io_reg(&r, 0x24, 0x8060);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x60);
    /* EOI broadcasts suppressed: the EOI register does it. */
    rig_set_reg(&r, 0, 0xf0, 0x11ff);
    rig_set_reg(&r, 0, 0xb0, 0);
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
    rig_close(&r);
}

/* Nobody serves the device: after many rounds it rests, then goes on. */
static void test_ioapic_storm(void)
{
    Rig      r;
    unsigned rounds = 0;
    rig_open(&r);
    set_rte(&r, 3, 0x8050, 0);
    set_pin(&r, 3, 1);
    while (rig_take(&r, 0) == 0x50 && rounds < 20000) {
        rounds++;
        rig_set_reg(&r, 0, 0xb0, 0);
    }
    g_assert_cmpuint(rounds, ==, 10000);
    test_step(&r.t, 10 * NS_PER_MS);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x50);
    rig_close(&r);
}

static void test_ioapic_state(void)
{
    Rig r;
    rig_open(&r);
    Device     *dev   = (Device *)r.io;
    GByteArray *fresh = test_saved(dev);
    set_rte(&r, 10, 0x8060, 0);
    set_rte(&r, 4, 0x44, 1);
    set_pin(&r, 10, 1);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x60);
    test_save_load(dev);
    rig_set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x60);
    set_pin(&r, 10, 0);
    test_reset_is(dev, fresh);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ioapic/registers", test_ioapic_registers);
    g_test_add_func("/ioapic/edge", test_ioapic_edge);
    g_test_add_func("/ioapic/hearing", test_ioapic_hearing);
    g_test_add_func("/ioapic/taken", test_ioapic_taken);
    g_test_add_func("/ioapic/level", test_ioapic_level);
    g_test_add_func("/ioapic/storm", test_ioapic_storm);
    g_test_add_func("/ioapic/state", test_ioapic_state);
    return g_test_run();
}
