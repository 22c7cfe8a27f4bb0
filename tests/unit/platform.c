/* See platform.h. */

#include "platform.h"

#include "char/char.h"

static void pin_set(void *opaque, int n, int level)
{
    TestPin *pin = opaque;
    pin->rises += level && !pin->level;
    pin->falls += !level && pin->level;
    pin->hearing = pin->latches && level && !pin->level ? IRQ_WAITS : pin->hearing;
    pin->level   = level;
}

static IrqHearing pin_hearing(void *opaque, int n, const IrqTaken *taken)
{
    TestPin *pin = opaque;
    if (pin->hearing == IRQ_WAITS) {
        pin->taken = taken;
    }
    return pin->hearing;
}

void test_pin_take(TestPin *pin)
{
    const IrqTaken *taken = pin->taken;
    pin->taken            = NULL;
    pin->hearing          = IRQ_HEARS;
    if (taken) {
        taken->call(taken->opaque);
    }
}

void test_pin_init(TestPin *pin)
{
    *pin = (TestPin){ .pin = { pin_set, pin, 0, pin_hearing } };
}

void test_pin_forget(TestPin *pin)
{
    pin->rises = pin->falls = 0;
}

static void request_reset(Platform *p, ResetCause cause)
{
    ((TestPlatform *)p)->resets++;
}

static void request_shutdown(Platform *p, ShutdownCause cause, int exit_code)
{
    TestPlatform *t = (TestPlatform *)p;
    t->shutdowns++;
    t->shutdown_cause = cause;
    t->exit_code      = exit_code;
}

static void request_suspend(Platform *p)
{
    ((TestPlatform *)p)->suspends++;
}

static void request_wakeup(Platform *p, WakeReason reason)
{
    ((TestPlatform *)p)->wakeups++;
}

static void watchdog_expired(Platform *p)
{
    ((TestPlatform *)p)->watchdogs++;
}

static void guest_panicked(Platform *p)
{
    ((TestPlatform *)p)->panics++;
}

static void raise_nmi(Platform *p)
{
    ((TestPlatform *)p)->nmis++;
}

static bool is_running(Platform *p)
{
    return true;
}

static void send_msi(Platform *p, uint64_t address, uint32_t data)
{
    TestPlatform *t = (TestPlatform *)p;
    t->msis++;
    t->msi_address = address;
    t->msi_data    = data;
}

void test_platform_open(TestPlatform *t)
{
    g_auto(Error) err = {};
    *t                = (TestPlatform){};
    Platform *p       = &t->p;
    machine_lock_init(&t->lock);
    machine_lock(&t->lock);
    t->log           = (Log){ .file = stderr };
    p->lock          = &t->lock;
    p->log           = &t->log;
    p->objects       = object_root_new();
    p->loop          = loop_new(&t->lock, &err);
    p->clocks        = loop_clocks(p->loop);
    p->memory        = memory_new(&t->lock);
    p->system_memory = &t->memory_root;
    p->system_io     = &t->io_root;
    region_init_container(&t->memory_root, p->memory, "system", UINT64_MAX);
    region_init_container(&t->io_root, p->memory, "io", 65536);
    t->ram = ram_block_new("ram", TEST_RAM_SIZE, &err);
    g_assert_nonnull(t->ram);
    region_init_ram(&t->ram_region, p->memory, "ram", t->ram, 0, TEST_RAM_SIZE);
    region_map(&t->memory_root, 0, &t->ram_region, 0);
    p->memory_space = address_space_new(p->memory, &t->memory_root, "memory");
    p->io_space     = address_space_new(p->memory, &t->io_root, "I/O");
    for (unsigned i = 0; i < G_N_ELEMENTS(t->isa); i++) {
        test_pin_init(&t->isa[i]);
        p->isa_irq[i] = &t->isa[i].pin;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(t->gsi); i++) {
        test_pin_init(&t->gsi[i]);
        p->gsi[i] = &t->gsi[i].pin;
    }
    p->request_reset    = request_reset;
    p->request_shutdown = request_shutdown;
    p->request_suspend  = request_suspend;
    p->request_wakeup   = request_wakeup;
    p->watchdog_expired = watchdog_expired;
    p->guest_panicked   = guest_panicked;
    p->raise_nmi        = raise_nmi;
    p->is_running       = is_running;
    p->send_msi         = send_msi;
    clock_use_manual(p->clocks);
    clock_set_virtual(p->clocks, 0);
}

void test_platform_close(TestPlatform *t)
{
    Platform *p = &t->p;
    devices_free(p);
    char_hub_free(p->chars);
    object_unref(p->objects);
    address_space_free(p->io_space);
    address_space_free(p->memory_space);
    region_unmap(&t->ram_region);
    region_destroy(&t->ram_region);
    region_destroy(&t->memory_root);
    region_destroy(&t->io_root);
    ram_block_unref(t->ram);
    memory_free(p->memory);
    loop_free(p->loop);
    machine_unlock(&t->lock);
    machine_lock_destroy(&t->lock);
}

uint8_t in8(TestPlatform *t, uint16_t port)
{
    return (uint8_t)address_space_load(t->p.io_space, port, 1);
}

uint16_t in16(TestPlatform *t, uint16_t port)
{
    return (uint16_t)address_space_load(t->p.io_space, port, 2);
}

uint32_t in32(TestPlatform *t, uint16_t port)
{
    return (uint32_t)address_space_load(t->p.io_space, port, 4);
}

void out8(TestPlatform *t, uint16_t port, uint8_t value)
{
    address_space_store(t->p.io_space, port, value, 1);
}

void out16(TestPlatform *t, uint16_t port, uint16_t value)
{
    address_space_store(t->p.io_space, port, value, 2);
}

void out32(TestPlatform *t, uint16_t port, uint32_t value)
{
    address_space_store(t->p.io_space, port, value, 4);
}

uint64_t mem_load(TestPlatform *t, uint64_t addr, unsigned size)
{
    return address_space_load(t->p.memory_space, addr, size);
}

void mem_store(TestPlatform *t, uint64_t addr, uint64_t value, unsigned size)
{
    address_space_store(t->p.memory_space, addr, value, size);
}

void test_step(TestPlatform *t, int64_t ns)
{
    clock_step(t->p.clocks, ns);
}

GByteArray *test_saved(Device *dev)
{
    GByteArray *out = g_byte_array_new();
    device_save(dev, out);
    return out;
}

static void assert_same(GByteArray *a, GByteArray *b)
{
    g_assert_cmpmem(a->data, a->len, b->data, b->len);
    g_byte_array_unref(a);
    g_byte_array_unref(b);
}

void test_save_load(Device *dev)
{
    g_auto(Error) err  = {};
    GByteArray *before = test_saved(dev);
    device_type(dev)->reset(dev, RESET_COLD);
    if (!device_load(dev, before->data, before->len, &err)) {
        g_error("%s", err.text);
    }
    assert_same(before, test_saved(dev));
}

void test_reset_is(Device *dev, GByteArray *fresh)
{
    device_type(dev)->reset(dev, RESET_WARM);
    assert_same(fresh, test_saved(dev));
}
