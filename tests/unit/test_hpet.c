/* HPET: capabilities, one-shot and periodic timers, level interrupts, legacy routing, messages, 32-bit mode, state. */

#include "devices/timer/hpet.h"
#include "platform.h"

enum { CONF = HPET_ADDRESS + 0x10, STATUS = HPET_ADDRESS + 0x20, COUNTER = HPET_ADDRESS + 0xf0 };

typedef struct Rig {
    TestPlatform t;
    Hpet        *hpet;
} Rig;

static uint64_t timer_reg(unsigned n, unsigned reg)
{
    return HPET_ADDRESS + 0x100 + 0x20 * n + reg;
}

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    r->hpet = hpet_create(&r->t.p, &err);
    g_assert_nonnull(r->hpet);
    devices_reset(&r->t.p, RESET_COLD);
}

static void test_registers(void)
{
    Rig r;
    open_rig(&r);
    uint64_t id = mem_load(&r.t, HPET_ADDRESS, 8);
    g_assert_cmphex(id >> 32, ==, HPET_PERIOD_FS);
    g_assert_cmphex((uint32_t)id, ==, hpet_block_id(r.hpet));
    g_assert_cmpuint((id >> 8 & 0x1f) + 1, ==, 3);
    g_assert_cmphex(mem_load(&r.t, HPET_ADDRESS + 4, 4), ==, HPET_PERIOD_FS);
    mem_store(&r.t, COUNTER, 0x123456789a, 8);
    g_assert_cmphex(mem_load(&r.t, COUNTER, 8), ==, 0x123456789a);
    mem_store(&r.t, CONF, 1, 8);
    test_step(&r.t, 1000);
    g_assert_cmphex(mem_load(&r.t, COUNTER, 8), ==, 0x123456789a + 100);
    mem_store(&r.t, COUNTER, 0, 8); /* running: not allowed */
    g_assert_cmphex(mem_load(&r.t, COUNTER, 8), ==, 0x123456789a + 100);
    mem_store(&r.t, CONF, 0, 8);
    test_step(&r.t, 1000);
    g_assert_cmphex(mem_load(&r.t, COUNTER, 8), ==, 0x123456789a + 100);
    g_assert_cmphex(mem_load(&r.t, timer_reg(7, 0), 8), ==, 0); /* no such timer */
    test_platform_close(&r.t);
}

static void test_one_shot(void)
{
    Rig r;
    open_rig(&r);
    mem_store(&r.t, timer_reg(1, 0), 1 << 2 | 2 << 9, 8); /* enabled, edge, pin 2 */
    mem_store(&r.t, timer_reg(1, 8), 500, 8);
    mem_store(&r.t, CONF, 1, 8);
    test_step(&r.t, 4990);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 0);
    test_step(&r.t, 10);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 1);
    g_assert_cmpint(r.t.gsi[2].level, ==, 0);
    test_step(&r.t, 1000000);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 1);
    mem_store(&r.t, timer_reg(1, 8), 100, 8); /* just missed: told at once */
    test_step(&r.t, 1);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 2);
    test_platform_close(&r.t);
}

static void test_level(void)
{
    Rig r;
    open_rig(&r);
    mem_store(&r.t, timer_reg(1, 0), 1 << 1 | 1 << 2 | 2 << 9, 8);
    mem_store(&r.t, timer_reg(1, 8), 10, 8);
    mem_store(&r.t, CONF, 1, 8);
    test_step(&r.t, 100);
    g_assert_cmpint(r.t.gsi[2].level, ==, 1);
    g_assert_cmphex(mem_load(&r.t, STATUS, 8), ==, 2);
    mem_store(&r.t, STATUS, 1, 8);
    g_assert_cmpint(r.t.gsi[2].level, ==, 1);
    mem_store(&r.t, STATUS, 2, 8);
    g_assert_cmpint(r.t.gsi[2].level, ==, 0);
    g_assert_cmphex(mem_load(&r.t, STATUS, 8), ==, 0);
    test_platform_close(&r.t);
}

static void test_periodic_legacy(void)
{
    Rig r;
    open_rig(&r);
    irq_set(&(IrqLine){ hpet_legacy_input(r.hpet, 0) }, 1); /* the 8254 is connected */
    g_assert_cmpint(r.t.isa[0].level, ==, 1);
    mem_store(&r.t, CONF, 2, 8); /* legacy routing */
    g_assert_cmpint(r.t.isa[0].level, ==, 0);
    irq_set(&(IrqLine){ hpet_legacy_input(r.hpet, 0) }, 0);
    test_pin_forget(&r.t.isa[0]);
    mem_store(&r.t, timer_reg(0, 0), 1 << 2 | 1 << 3 | 1 << 6, 4); /* periodic, VAL_SET: as Linux does it */
    mem_store(&r.t, timer_reg(0, 8), 100000, 4);
    mem_store(&r.t, timer_reg(0, 8), 100000, 4);
    mem_store(&r.t, CONF, 3, 8);
    test_step(&r.t, 10 * NS_PER_MS);
    g_assert_cmpuint(r.t.isa[0].rises, ==, 10);
    test_save_load((Device *)r.hpet);
    test_step(&r.t, 10 * NS_PER_MS);
    g_assert_cmpuint(r.t.isa[0].rises, ==, 20);
    test_platform_close(&r.t);
}

/* Beats that the guest cannot take come later, and none is lost within a second. */
static void test_late(void)
{
    Rig r;
    open_rig(&r);
    mem_store(&r.t, timer_reg(0, 0), 1 << 2 | 1 << 3 | 1 << 6, 4);
    mem_store(&r.t, timer_reg(0, 8), 1000000, 4);
    mem_store(&r.t, timer_reg(0, 8), 1000000, 4); /* 100 Hz */
    mem_store(&r.t, CONF, 3, 8);
    test_step(&r.t, 105 * NS_PER_MS);
    g_assert_cmpuint(r.t.isa[0].rises, ==, 10);
    r.t.isa[0].hearing = IRQ_WAITS;
    test_step(&r.t, 200 * NS_PER_MS);
    g_assert_cmpuint(r.t.isa[0].rises, ==, 10);
    test_save_load((Device *)r.hpet);
    r.t.isa[0].latches = true;
    for (unsigned i = 1; i <= 5; i++) { /* each is taken, and the next one waits: nobody needs the main loop */
        test_pin_take(&r.t.isa[0]);
        g_assert_cmpuint(r.t.isa[0].rises, ==, 10 + i);
    }
    r.t.isa[0].latches = false;
    r.t.isa[0].hearing = IRQ_HEARS;
    test_step(&r.t, 98 * NS_PER_MS); /* heard at once */
    g_assert_cmpuint(r.t.isa[0].rises, ==, 40);
    test_step(&r.t, 2 * NS_PER_MS);
    r.t.isa[0].hearing = IRQ_WAITS;
    test_step(&r.t, 5 * NS_PER_SECOND); /* it never takes any: old ones are given up */
    g_assert_cmpuint(r.t.isa[0].rises, ==, 40);
    r.t.isa[0].hearing = IRQ_HEARS;
    test_step(&r.t, NS_PER_SECOND);
    g_assert_cmpuint(r.t.isa[0].rises, <=, 240);
    test_platform_close(&r.t);
}

static void test_storm_is_bounded(void)
{
    Rig r;
    open_rig(&r);
    mem_store(&r.t, timer_reg(0, 0), 1 << 2 | 1 << 3 | 1 << 6 | 2 << 9, 8);
    mem_store(&r.t, timer_reg(0, 8), 3, 8);
    mem_store(&r.t, timer_reg(0, 8), 3, 8); /* every 30 ns */
    mem_store(&r.t, CONF, 1, 8);
    test_step(&r.t, NS_PER_MS);
    g_assert_cmpuint(r.t.gsi[2].rises, <=, 101);
    g_assert_cmpuint(r.t.gsi[2].rises, >, 50);
    uint64_t counter = mem_load(&r.t, COUNTER, 8), next = mem_load(&r.t, timer_reg(0, 8), 8);
    g_assert_cmpuint(next, >, counter); /* beats are left out, the count is exact */
    g_assert_cmpuint(next, <=, counter + 3);
    g_assert_cmpuint(next % 3, ==, 0);
    test_platform_close(&r.t);
}

/* A counter near the end of 64 bits goes on through 0, and a comparator behind the end matches. */
static void test_wrap(void)
{
    Rig r;
    open_rig(&r);
    mem_store(&r.t, COUNTER, UINT64_MAX - 9, 8);
    mem_store(&r.t, timer_reg(1, 0), 1 << 2 | 2 << 9, 8);
    mem_store(&r.t, timer_reg(1, 8), 10, 8);
    mem_store(&r.t, CONF, 1, 8);
    g_assert_cmphex(mem_load(&r.t, COUNTER, 8), ==, UINT64_MAX - 9);
    test_step(&r.t, 199);
    g_assert_cmphex(mem_load(&r.t, COUNTER, 8), ==, 9);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 0);
    test_step(&r.t, 1);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 1);
    test_platform_close(&r.t);
}

/* What matched does not match again because somebody touches the configuration or loads a state. */
static void test_once(void)
{
    Rig r;
    open_rig(&r);
    mem_store(&r.t, CONF, 1, 8);
    mem_store(&r.t, timer_reg(1, 0), 1 << 2 | 2 << 9, 8); /* the comparator was never set: nothing */
    test_step(&r.t, 1000);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 0);
    mem_store(&r.t, timer_reg(1, 8), 200, 8);
    test_step(&r.t, 5000);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 1);
    mem_store(&r.t, timer_reg(1, 0), 0, 8);
    mem_store(&r.t, timer_reg(1, 0), 1 << 2 | 2 << 9, 8);
    test_save_load((Device *)r.hpet);
    test_step(&r.t, 5000);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 1);
    mem_store(&r.t, timer_reg(1, 0), 1 << 2 | 3 << 9, 8); /* a pin that it cannot use */
    mem_store(&r.t, timer_reg(1, 8), 5000, 8);
    test_step(&r.t, NS_PER_MS);
    g_assert_cmpuint(r.t.gsi[3].rises, ==, 0);
    test_platform_close(&r.t);
}

/* With interrupts disabled a periodic comparator goes on and a level-triggered timer sets its status bit. */
static void test_disabled(void)
{
    Rig r;
    open_rig(&r);
    mem_store(&r.t, timer_reg(0, 0), 1 << 3 | 1 << 6, 8);
    mem_store(&r.t, timer_reg(0, 8), 100, 8);
    mem_store(&r.t, timer_reg(1, 0), 1 << 1 | 2 << 9, 8);
    mem_store(&r.t, timer_reg(1, 8), 150, 8);
    mem_store(&r.t, CONF, 1, 8);
    test_step(&r.t, 10550);
    g_assert_cmpuint(mem_load(&r.t, timer_reg(0, 8), 8), ==, 1100);
    g_assert_cmphex(mem_load(&r.t, STATUS, 8), ==, 2);
    g_assert_cmpint(r.t.gsi[2].level, ==, 0);
    mem_store(&r.t, timer_reg(1, 0), 1 << 1 | 1 << 2 | 2 << 9, 8); /* enabled: it is heard */
    g_assert_cmpint(r.t.gsi[2].level, ==, 1);
    mem_store(&r.t, timer_reg(2, 0), 1 << 1 | 1 << 2 | 2 << 9, 8); /* two on one pin */
    mem_store(&r.t, timer_reg(2, 8), 1200, 8);
    test_step(&r.t, 5000);
    mem_store(&r.t, STATUS, 2, 8);
    g_assert_cmpint(r.t.gsi[2].level, ==, 1);
    mem_store(&r.t, STATUS, 4, 8);
    g_assert_cmpint(r.t.gsi[2].level, ==, 0);
    test_platform_close(&r.t);
}

static void test_messages(void)
{
    g_auto(Error) err = {};
    TestPlatform t;
    test_platform_open(&t);
    g_assert_true(device_add_global(&t.p, "hpet", "msi", "on", &err));
    g_assert_nonnull(hpet_create(&t.p, &err));
    devices_reset(&t.p, RESET_COLD);
    mem_store(&t, timer_reg(2, 0x10), 0xfee0100000004031, 8);
    mem_store(&t, timer_reg(2, 0), 1 << 2 | 1 << 14, 8);
    mem_store(&t, timer_reg(2, 8), 10, 8);
    mem_store(&t, CONF, 1, 8);
    test_step(&t, 100);
    g_assert_cmpuint(t.msis, ==, 1);
    g_assert_cmphex(t.msi_address, ==, 0xfee01000);
    g_assert_cmphex(t.msi_data, ==, 0x4031);
    test_platform_close(&t);
}

static void test_32_bit_mode(void)
{
    Rig r;
    open_rig(&r);
    mem_store(&r.t, COUNTER, 0x1fffffff0, 8);
    mem_store(&r.t, timer_reg(1, 0), 1 << 2 | 1 << 8 | 2 << 9, 8);
    mem_store(&r.t, timer_reg(1, 8), 0x10, 4);
    g_assert_cmphex(mem_load(&r.t, timer_reg(1, 8), 8), ==, 0x10);
    mem_store(&r.t, CONF, 1, 8);
    test_step(&r.t, 310);
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 0);
    test_step(&r.t, 10); /* the low half has come round to 10h */
    g_assert_cmpuint(r.t.gsi[2].rises, ==, 1);
    test_platform_close(&r.t);
}

static void test_reset(void)
{
    Rig r;
    open_rig(&r);
    GByteArray *fresh = test_saved((Device *)r.hpet);
    mem_store(&r.t, timer_reg(1, 0), 1 << 1 | 1 << 2 | 2 << 9, 8);
    mem_store(&r.t, timer_reg(1, 8), 10, 8);
    mem_store(&r.t, CONF, 3, 8);
    test_step(&r.t, 1000);
    irq_set(&(IrqLine){ hpet_legacy_input(r.hpet, 0) }, 1);
    g_assert_cmpint(r.t.isa[0].level, ==, 0);
    devices_reset(&r.t.p, RESET_WARM);
    g_assert_cmpint(r.t.gsi[2].level, ==, 0);
    g_assert_cmpint(r.t.isa[0].level, ==, 1); /* legacy routing is over */
    irq_set(&(IrqLine){ hpet_legacy_input(r.hpet, 0) }, 0);
    test_reset_is((Device *)r.hpet, fresh);
    test_platform_close(&r.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/hpet/registers", test_registers);
    g_test_add_func("/hpet/one-shot", test_one_shot);
    g_test_add_func("/hpet/level", test_level);
    g_test_add_func("/hpet/periodic-legacy", test_periodic_legacy);
    g_test_add_func("/hpet/late", test_late);
    g_test_add_func("/hpet/storm-is-bounded", test_storm_is_bounded);
    g_test_add_func("/hpet/wrap", test_wrap);
    g_test_add_func("/hpet/once", test_once);
    g_test_add_func("/hpet/disabled", test_disabled);
    g_test_add_func("/hpet/messages", test_messages);
    g_test_add_func("/hpet/32-bit-mode", test_32_bit_mode);
    g_test_add_func("/hpet/reset", test_reset);
    return g_test_run();
}
