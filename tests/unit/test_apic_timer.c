/* The local APIC's timer: one-shot, periodic, TSC deadline, and what is seen of it when the host is late. */

#include "apic_rig.h"

/* A count that has run out before the timer is set up, on a clock that runs, interrupts all the same. */
static void test_timer_short(void)
{
    Rig r;
    g_auto(Error) err = {};
    rig_open(&r);
    Loop    *loop = loop_new(&r.t.lock, &err);
    ApicHost host = rig_host(&r.cpus[0]);
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
    rig_close(&r);
}

static void test_timer(void)
{
    Rig r;
    rig_open(&r);
    rig_set_reg(&r, 0, 0x3e0, 0xb); /* divide by 1 */
    rig_set_reg(&r, 0, 0x320, 0x40);
    rig_set_reg(&r, 0, 0x380, 1000000);
    test_step(&r.t, 250000);
    g_assert_cmpuint(rig_reg(&r, 0, 0x390), ==, 750000);
    test_step(&r.t, 749999);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    test_step(&r.t, 1);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x40);
    rig_set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpuint(rig_reg(&r, 0, 0x390), ==, 0);
    test_step(&r.t, 5000000);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    /* All dividers. */
    static const unsigned dividers[][2] = { { 0, 2 },  { 1, 4 },  { 2, 8 },    { 3, 16 },
                                            { 8, 32 }, { 9, 64 }, { 10, 128 }, { 11, 1 } };
    for (unsigned i = 0; i < G_N_ELEMENTS(dividers); i++) {
        rig_set_reg(&r, 0, 0x3e0, dividers[i][0]);
        rig_set_reg(&r, 0, 0x380, 100000);
        test_step(&r.t, 50000 * (int64_t)dividers[i][1]);
        g_assert_cmpuint(rig_reg(&r, 0, 0x390), ==, 50000);
    }
    /* Periodic, also when it is served late. */
    rig_set_reg(&r, 0, 0x320, 0x20041);
    rig_set_reg(&r, 0, 0x380, 1000000);
    for (unsigned i = 0; i < 5; i++) {
        test_step(&r.t, 1000000);
        g_assert_cmpint(rig_take(&r, 0), ==, 0x41);
        rig_set_reg(&r, 0, 0xb0, 0);
        g_assert_cmpint(rig_take(&r, 0), ==, -1);
    }
    test_step(&r.t, 300000);
    g_assert_cmpuint(rig_reg(&r, 0, 0x390), ==, 700000);
    /* Masked it counts on and keeps its beat. */
    rig_set_reg(&r, 0, 0x320, 0x30041);
    test_step(&r.t, 2000000);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    rig_set_reg(&r, 0, 0x320, 0x20041);
    test_step(&r.t, 700000 - 1);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    test_step(&r.t, 1);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x41);
    rig_set_reg(&r, 0, 0xb0, 0);
    rig_set_reg(&r, 0, 0x380, 0); /* stops */
    test_step(&r.t, 10000000);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    /* A one-shot that ran out while masked is over. */
    rig_set_reg(&r, 0, 0x320, 0x10042);
    rig_set_reg(&r, 0, 0x380, 1000);
    test_step(&r.t, 5000);
    rig_set_reg(&r, 0, 0x320, 0x42);
    test_step(&r.t, 5000);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    /* A rate nobody could serve does not stop the machine. */
    rig_set_reg(&r, 0, 0x320, 0x20043);
    rig_set_reg(&r, 0, 0x380, 1);
    test_step(&r.t, NS_PER_SECOND / 10);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x43);
    rig_close(&r);
}

/* Time goes on and the main loop has not got to it. */
static void late(Rig *r, int64_t ns)
{
    clock_set_virtual(r->t.p.clocks, clock_now(r->t.p.clocks, VIRTUAL_CLOCK) + ns);
}

static void done_with(Rig *r, int vector)
{
    g_assert_cmpuint(r->cpus[0].intr, >=, 1);
    rig_forget(r);
    g_assert_cmpint(rig_take(r, 0), ==, vector);
    rig_set_reg(r, 0, 0xb0, 0);
    test_step(&r->t, 1000); /* the host's timer, which is late */
    g_assert_cmpint(rig_take(r, 0), ==, -1);
    rig_forget(r);
}

/* The registers never show a timer that has run out without its interrupt, nor does a change of them undo it. */
static void test_late_timer(void)
{
    static const struct {
        uint32_t reg, value;
    } changes[] = { { 0x320, 0x10040 }, { 0x320, 0x20041 }, { 0x320, 0x40040 }, { 0x380, 0 }, { 0x380, 100000000 } };
    Rig r;
    rig_open(&r);
    rig_set_reg(&r, 0, 0x3e0, 0xb);
    for (unsigned i = 0; i < G_N_ELEMENTS(changes); i++) {
        rig_set_reg(&r, 0, 0x320, 0x40);
        rig_set_reg(&r, 0, 0x380, 1000);
        late(&r, 1000);
        rig_set_reg(&r, 0, changes[i].reg, changes[i].value);
        done_with(&r, 0x40);
    }
    rig_set_reg(&r, 0, 0x320, 0x40);
    rig_set_reg(&r, 0, 0x380, 1000);
    late(&r, 1000);
    rig_set_reg(&r, 0, 0xf0, 0xff); /* disabled by software: what waits stays (SDM 3, 11.4.7.2) */
    rig_set_reg(&r, 0, 0xf0, 0x1ff);
    done_with(&r, 0x40);
    rig_set_reg(&r, 0, 0x320, 0x40);
    rig_set_reg(&r, 0, 0x380, 1000);
    late(&r, 999);
    g_assert_cmpuint(rig_reg(&r, 0, 0x390), ==, 1);
    g_assert_cmphex(rig_reg(&r, 0, 0x220), ==, 0);
    late(&r, 1);
    g_assert_cmpuint(rig_reg(&r, 0, 0x390), ==, 0);
    done_with(&r, 0x40);
    rig_set_reg(&r, 0, 0x380, 1000);
    late(&r, 2000);
    g_assert_cmphex(rig_reg(&r, 0, 0x220), ==, 1);
    done_with(&r, 0x40);

    rig_set_reg(&r, 0, 0x320, 0x20041); /* periodic: once for all beats that were missed */
    rig_set_reg(&r, 0, 0x380, 1000000);
    late(&r, 3500000);
    g_assert_cmpuint(rig_reg(&r, 0, 0x390), ==, 500000);
    done_with(&r, 0x41);
    rig_set_reg(&r, 0, 0x380, 0);

    Apic *apic = r.cpus[0].apic;
    rig_set_reg(&r, 0, 0x320, 0x40044);
    apic_set_tsc_deadline(apic, rig_tsc(&r.cpus[0]) + 3000);
    late(&r, 1001);
    g_assert_cmpuint(apic_get_tsc_deadline(apic), ==, 0);
    done_with(&r, 0x44);
    apic_set_tsc_deadline(apic, rig_tsc(&r.cpus[0]) + 3000);
    late(&r, 1001);
    apic_set_tsc_deadline(apic, 0);
    done_with(&r, 0x44);
    /* Whoever sees a bit in IRR finds the CPU told, whatever it was told before. */
    rig_send(&r, 0, false, 0, 0x45, false);
    rig_forget(&r);
    g_assert_cmphex(rig_reg(&r, 0, 0x220), ==, 1 << 5);
    done_with(&r, 0x45);
    rig_close(&r);
}

static void test_deadline(void)
{
    Rig r;
    rig_open(&r);
    Apic *apic = r.cpus[0].apic;
    apic_set_tsc_deadline(apic, 100); /* not in that mode: ignored */
    g_assert_cmpuint(apic_get_tsc_deadline(apic), ==, 0);
    rig_set_reg(&r, 0, 0x320, 0x40044);
    apic_set_tsc_deadline(apic, 3001);
    g_assert_cmpuint(apic_get_tsc_deadline(apic), ==, 3001);
    rig_set_reg(&r, 0, 0x380, 5); /* ignored in this mode */
    g_assert_cmpuint(rig_reg(&r, 0, 0x390), ==, 0);
    test_step(&r.t, 1000); /* TSC 3000 */
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    test_step(&r.t, 1);
    g_assert_cmpint(rig_take(&r, 0), ==, 0x44);
    rig_set_reg(&r, 0, 0xb0, 0);
    g_assert_cmpuint(apic_get_tsc_deadline(apic), ==, 0);
    apic_set_tsc_deadline(apic, 10); /* in the past: at once */
    g_assert_cmpint(rig_take(&r, 0), ==, 0x44);
    rig_set_reg(&r, 0, 0xb0, 0);
    apic_set_tsc_deadline(apic, 30000);
    apic_set_tsc_deadline(apic, 0); /* disarms */
    test_step(&r.t, 100000);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    apic_set_tsc_deadline(apic, 1000000);
    rig_set_reg(&r, 0, 0x320, 0x44); /* leaving the mode disarms too */
    rig_set_reg(&r, 0, 0x320, 0x40044);
    test_step(&r.t, 1000000);
    g_assert_cmpint(rig_take(&r, 0), ==, -1);
    g_assert_cmphex(rig_reg(&r, 0, 0x320), ==, 0x40044);
    rig_set_reg(&r, 0, 0x320, 0x60044); /* reserved mode */
    g_assert_cmphex(rig_reg(&r, 0, 0x320), ==, 0x44);
    rig_close(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/apic/timer", test_timer);
    g_test_add_func("/apic/timer-short", test_timer_short);
    g_test_add_func("/apic/late-timer", test_late_timer);
    g_test_add_func("/apic/deadline", test_deadline);
    return g_test_run();
}
