/* The registers by which ACPI's methods and the machine speak about vCPUs: what a guest sees, and saved state. */

#include "devices/acpi/cpu_hotplug.h"

#include "platform.h"

enum { PORT = CPU_HOTPLUG_PORT_PIIX4, SLOTS = 4 };

typedef struct Slots {
    TestPlatform t; /* first */
    CpuHotplug  *h;
    unsigned     gpes, ejected, refused; /* slots: bits */
} Slots;

static const uint32_t apic_ids[SLOTS] = { 0, 1, 9, 300 };

static void raise_gpe(void *opaque, unsigned n)
{
    g_assert_cmpuint(n, ==, CPU_HOTPLUG_GPE);
    ((Slots *)opaque)->gpes++;
}

static void ejected(void *opaque, unsigned slot)
{
    ((Slots *)opaque)->ejected |= 1u << slot;
}

static void refused(void *opaque, unsigned slot)
{
    ((Slots *)opaque)->refused |= 1u << slot;
}

static const char *id_of(void *opaque, unsigned slot)
{
    return slot == 3 ? "c3" : NULL;
}

static void open(Slots *s)
{
    g_auto(Error) err = { 0 };
    test_platform_open(&s->t);
    bus_new(BUS_ISA, "isa.0", NULL, &s->t.p);
    s->h = cpu_hotplug_create(&s->t.p,
                              &(CpuHotplugSetup){ .port       = PORT,
                                                  .n_slots    = SLOTS,
                                                  .apic_ids   = apic_ids,
                                                  .raise_gpe  = raise_gpe,
                                                  .gpe_opaque = s,
                                                  .ejected    = ejected,
                                                  .refused    = refused,
                                                  .id         = id_of,
                                                  .opaque     = s },
                              &err);
    g_assert_nonnull(s->h);
    cpu_hotplug_plugged(s->h, 0);
    cpu_hotplug_plugged(s->h, 2);
    g_assert_cmpuint(s->gpes, ==, 0); /* not started yet */
    s->t.p.started = true;
}

static uint8_t flags_of(Slots *s, unsigned slot)
{
    out32(&s->t, PORT + CPU_HOTPLUG_SELECTOR, slot);
    return in8(&s->t, PORT + CPU_HOTPLUG_FLAGS);
}

static void write_flags(Slots *s, uint8_t flags)
{
    out8(&s->t, PORT + CPU_HOTPLUG_FLAGS, flags);
}

static void say(Slots *s, uint32_t event, uint32_t status)
{
    out8(&s->t, PORT + CPU_HOTPLUG_COMMAND, CPU_COMMAND_OST_EVENT);
    out32(&s->t, PORT + CPU_HOTPLUG_DATA, event);
    out8(&s->t, PORT + CPU_HOTPLUG_COMMAND, CPU_COMMAND_OST_STATUS);
    out32(&s->t, PORT + CPU_HOTPLUG_DATA, status);
}

static void test_bitmap(void)
{
    Slots s = { 0 };
    open(&s);
    g_assert_cmphex(in8(&s.t, PORT), ==, 1);
    g_assert_cmphex(in8(&s.t, PORT + 1), ==, 2);
    g_assert_cmphex(in32(&s.t, PORT), ==, 0x201);
    out8(&s.t, PORT, 0); /* only a double word changes over */
    out32(&s.t, PORT, 5);
    g_assert_cmphex(in8(&s.t, PORT), ==, 1);
    out32(&s.t, PORT, 0);
    g_assert_cmphex(in8(&s.t, PORT), ==, 0);
    g_assert_cmphex(flags_of(&s, 2), ==, CPU_SLOT_ENABLED);
    test_platform_close(&s.t);
}

static void test_events(void)
{
    Slots s = { 0 };
    open(&s);
    out32(&s.t, PORT, 0);
    cpu_hotplug_plugged(s.h, 1);
    cpu_hotplug_plugged(s.h, 3);
    g_assert_true(cpu_hotplug_ask_back(s.h, 2) && !cpu_hotplug_ask_back(s.h, 2));
    g_assert_cmpuint(s.gpes, ==, 3);
    static const uint8_t flags[] = { 1, 3, 5, 3 };
    for (unsigned i = 0; i < SLOTS; i++) {
        g_assert_cmphex(flags_of(&s, i), ==, flags[i]);
    }
    /* One after the other, each told of once; then there is nothing more, and the selector stays. */
    static const unsigned order[] = { 1, 2, 3, 3 };
    out32(&s.t, PORT, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(order); i++) {
        out8(&s.t, PORT + CPU_HOTPLUG_COMMAND, CPU_COMMAND_NEXT);
        g_assert_cmpuint(in32(&s.t, PORT + CPU_HOTPLUG_DATA), ==, order[i]);
        write_flags(&s, CPU_SLOT_INSERTING | CPU_SLOT_REMOVING);
        g_assert_cmphex(in8(&s.t, PORT + CPU_HOTPLUG_FLAGS), ==, 1);
    }
    out8(&s.t, PORT + CPU_HOTPLUG_COMMAND, CPU_COMMAND_ID);
    g_assert_cmpuint(in32(&s.t, PORT + CPU_HOTPLUG_DATA), ==, 300);
    g_assert_cmpuint(in32(&s.t, PORT + CPU_HOTPLUG_DATA2), ==, 0);
    out8(&s.t, PORT + CPU_HOTPLUG_COMMAND, 77);
    g_assert_cmpuint(in32(&s.t, PORT + CPU_HOTPLUG_DATA), ==, 0);
    test_platform_close(&s.t);
}

static void test_going(void)
{
    Slots s = { 0 };
    open(&s);
    out32(&s.t, PORT, 0);
    cpu_hotplug_plugged(s.h, 3);
    g_assert_true(cpu_hotplug_ask_back(s.h, 3));
    flags_of(&s, 3);
    say(&s, 3, 0x84); /* under way */
    g_assert_cmpuint(s.refused, ==, 0);
    say(&s, 3, 0x82);
    g_assert_cmpuint(s.refused, ==, 1 << 3);
    g_autoptr(Json) status = cpu_hotplug_status(s.h, 3);
    g_assert_cmpstr(json_get_string(status, "device"), ==, "c3");
    g_assert_cmpint(json_get(status, "status")->integer, ==, 0x82);
    say(&s, 3, 0x82); /* nobody has asked again */
    g_assert_true(cpu_hotplug_ask_back(s.h, 3));
    write_flags(&s, CPU_SLOT_FIRMWARE);
    g_assert_cmphex(flags_of(&s, 3), ==, CPU_SLOT_ENABLED | CPU_SLOT_INSERTING | CPU_SLOT_REMOVING | CPU_SLOT_FIRMWARE);
    write_flags(&s, CPU_SLOT_EJECT);
    g_assert_cmphex(flags_of(&s, 3), ==, 0); /* at once, although it is there until the machine takes it */
    g_assert_true(cpu_hotplug_is_ejected(s.h, 3) && !cpu_hotplug_ask_back(s.h, 3));
    write_flags(&s, CPU_SLOT_EJECT | CPU_SLOT_FIRMWARE);
    flags_of(&s, 0);
    write_flags(&s, CPU_SLOT_EJECT); /* the boot processor */
    flags_of(&s, 1);
    write_flags(&s, CPU_SLOT_EJECT); /* nothing */
    flags_of(&s, SLOTS);
    write_flags(&s, CPU_SLOT_EJECT);
    g_assert_cmphex(s.ejected, ==, 1 << 3);
    cpu_hotplug_unplugged(s.h, 3);
    cpu_hotplug_plugged(s.h, 3);
    g_assert_cmphex(flags_of(&s, 3), ==, CPU_SLOT_ENABLED | CPU_SLOT_INSERTING);
    test_platform_close(&s.t);
}

/* The selector and which interface it is stay over a reset; requests do not. Both are saved. */
static void test_state(void)
{
    Slots s = { 0 };
    open(&s);
    Device *dev = (Device *)s.h;
    out32(&s.t, PORT, 0);
    cpu_hotplug_plugged(s.h, 3);
    g_assert_true(cpu_hotplug_ask_back(s.h, 2));
    flags_of(&s, 3);
    say(&s, 1, 0);
    test_save_load(dev);
    g_assert_cmphex(in8(&s.t, PORT + CPU_HOTPLUG_FLAGS), ==, CPU_SLOT_ENABLED | CPU_SLOT_INSERTING);
    device_type(dev)->reset(dev, RESET_WARM);
    g_assert_cmphex(in8(&s.t, PORT + CPU_HOTPLUG_FLAGS), ==, CPU_SLOT_ENABLED);
    g_assert_cmpuint(in32(&s.t, PORT + CPU_HOTPLUG_DATA), ==, 3);
    g_assert_true(cpu_hotplug_ask_back(s.h, 2));
    test_platform_close(&s.t);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-hotplug/bitmap", test_bitmap);
    g_test_add_func("/cpu-hotplug/events", test_events);
    g_test_add_func("/cpu-hotplug/going", test_going);
    g_test_add_func("/cpu-hotplug/state", test_state);
    return g_test_run();
}
