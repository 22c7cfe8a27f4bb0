/* virtio-mem and virtio-pmem. The driver is virtio_rig.c. */

#include "virtio_rig.h"

#include "base/bytes.h"
#include "base/optstr.h"
#include "base/text.h"
#include "devices/memory/memdevs.h"

enum { REQUEST = 0x94000, ANSWER = 0x98000 };
#define MEMORY (4 * GiB)

static void open_memory(Driver *d, const char *backend, const char *device)
{
    g_auto(Error) err = {};
    driver_open_platform(d);
    d->t.p.memory_devices   = memory_devices_new(&d->t.p, MEMORY, GiB, 64 * MiB, 0, 1);
    g_autoptr(Json) options = optstr_parse(backend, "qom-type", &err);
    if (!object_create_user(d->t.p.objects, options, true, &err)) {
        g_error("%s", err.text);
    }
    d->dev = driver_create(d, device);
    d->pci = (PciDevice *)d->dev;
    d->v   = ((VirtioPci *)d->dev)->virtio;
    driver_reset(d);
    driver_start(d, 0, false);
}

static void close_memory(Driver *d)
{
    MemoryDevices *all = d->t.p.memory_devices;
    devices_free(&d->t.p);
    d->t.p.memory_devices = NULL;
    memory_devices_free(all);
    driver_close(d);
}

static uint64_t plugged_now(Driver *d)
{
    return memory_devices_plugged(d->t.p.memory_devices);
}

static unsigned request(Driver *d, uint16_t type, uint64_t block, uint16_t n)
{
    store_le64(driver_ram(d, REQUEST), type);
    store_le64(driver_ram(d, REQUEST + 8), MEMORY + block * 2 * MiB);
    store_le64(driver_ram(d, REQUEST + 16), n);
    memset(driver_ram(d, ANSWER), 0xee, 16);
    driver_desc(d, RING, 0, REQUEST, 24, NEXT, 1);
    driver_desc(d, RING, 1, ANSWER, 10, WRITE, 0);
    driver_offer(d, 0, 0);
    driver_notify(d, 0);
    return load_le16(driver_ram(d, ANSWER));
}

static unsigned state(Driver *d, uint64_t block, uint16_t n)
{
    g_assert_cmpuint(request(d, 3, block, n), ==, 0);
    return load_le16(driver_ram(d, ANSWER + 8));
}

static void test_mem(void)
{
    enum { ACK, NACK, BUSY, ERROR };
    enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
    g_auto(Error) err = {};
    Driver d;
    open_memory(&d, "memory-backend-ram,id=m,size=32M", "virtio-mem-pci,id=v,memdev=m,requested-size=8M");
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG, 4), ==, 2 * MiB);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 20, 4), ==, 1);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 24, 4), ==, 32 * MiB);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 48, 4), ==, 8 * MiB);
    g_assert_cmpuint(state(&d, 0, 16), ==, 1);
    g_assert_cmpuint(request(&d, PLUG, 1, 3), ==, ACK);
    g_assert_cmpuint(plugged_now(&d), ==, 6 * MiB);
    g_assert_cmpuint(request(&d, PLUG, 3, 1), ==, ERROR); /* it is plugged */
    g_assert_cmpuint(request(&d, PLUG, 3, 2), ==, ERROR); /* one of them is */
    g_assert_cmpuint(request(&d, PLUG, 4, 2), ==, NACK);  /* more than requested */
    g_assert_cmpuint(request(&d, PLUG, 15, 2), ==, ERROR);
    g_assert_cmpuint(request(&d, PLUG, 0, 0), ==, ERROR);
    g_assert_cmpuint(request(&d, PLUG, UINT64_MAX / 2 / MiB, 1), ==, ERROR);
    g_assert_cmpuint(request(&d, 4, 0, 1), ==, ERROR);
    g_assert_cmpuint(request(&d, STATE, 16, 1), ==, ERROR);
    g_assert_cmpuint(state(&d, 1, 3), ==, 0);
    g_assert_cmpuint(state(&d, 0, 3), ==, 2);
    /* What is unplugged is gone, and code that was found in it. */
    MemTarget t = address_space_lookup(d.t.p.memory_space, MEMORY + 2 * MiB);
    mem_store(&d.t, MEMORY + 2 * MiB + 0x2000, 0x1234, 8);
    ram_block_mark_code(t.ram, t.ram_offset + 0x2000, 16);
    uint32_t gen = ram_block_page(t.ram, t.ram_offset + 0x2000)->code_gen;
    g_assert_cmpuint(request(&d, UNPLUG, 0, 2), ==, ERROR);
    g_assert_cmpuint(request(&d, UNPLUG, 1, 1), ==, ACK);
    g_assert_cmphex(mem_load(&d.t, MEMORY + 2 * MiB + 0x2000, 8), ==, 0);
    g_assert_cmpuint(ram_block_page(t.ram, t.ram_offset + 0x2000)->code_gen, ==, gen + 1);
    g_assert_cmpuint(plugged_now(&d), ==, 4 * MiB);
    /* The request changes. */
    g_autoptr(Json) more = json_new_string("32M");
    g_assert_true(object_set(&d.dev->obj, "requested-size", more, true, &err));
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 48, 4), ==, 32 * MiB);
    g_assert_cmpuint(request(&d, PLUG, 4, 12), ==, ACK);
    static const char *const wrong[] = { "34M", "1M", "x" };
    for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(Json) value = json_new_string(wrong[i]);
        g_assert_false(object_set(&d.dev->obj, "requested-size", value, true, &err));
        error_clear(&err);
    }
    test_save_load(d.dev);
    g_assert_cmpuint(plugged_now(&d), ==, 28 * MiB);
    /* The driver's reset leaves what is plugged, the machine's does not. */
    driver_set(&d, 0x14, 0, 1);
    g_assert_cmpuint(plugged_now(&d), ==, 28 * MiB);
    driver_reset(&d);
    g_assert_cmpuint(plugged_now(&d), ==, 0);
    driver_start(&d, 0, false);
    g_assert_cmpuint(request(&d, PLUG, 0, 16), ==, ACK);
    g_assert_cmpuint(request(&d, UNPLUG_ALL, 0, 0), ==, ACK);
    g_assert_cmpuint(plugged_now(&d), ==, 0);
    /* A request that is too short breaks the rules. */
    driver_desc(&d, RING, 0, REQUEST, 23, NEXT, 1);
    driver_offer(&d, 0, 0);
    driver_notify(&d, 0);
    g_assert_true(driver_is_broken(&d));
    close_memory(&d);
}

static void test_mem_refused(void)
{
    static const struct {
        const char *text, *why;
    } cases[] = {
        { "virtio-mem-pci,memdev=x", "no memory backend 'x'" },
        { "virtio-mem-pci,memdev=m,block-size=3M", "power of two" },
        { "virtio-mem-pci,memdev=m,block-size=512K", "1 MiB at least" },
        { "virtio-mem-pci,memdev=m,block-size=16M", "no multiple of it" },
        { "virtio-mem-pci,memdev=m,requested-size=64M", "the memory backend has 24 MiB" },
        { "virtio-mem-pci,memdev=m,requested-size=1M", "multiple of block-size=2 MiB" },
        { "virtio-mem-pci,memdev=m,node=1", "there are nodes 0 to 0" },
        { "virtio-mem-pci,memdev=m,memaddr=0x100100000", "multiple of 0x200000" },
        { "virtio-mem-pci,memdev=m,memaddr=0x1000000", "memory devices lie at" },
        { "virtio-mem-pci,memdev=m,dynamic-memslots=on", "not supported yet" },
        { "virtio-mem-pci,memdev=m,disable-legacy=off", "no property 'disable-legacy'" },
        { "virtio-mem-pci", "memdev" },
        { "virtio-pmem-pci,memdev=m,memaddr=0x100000001", "multiple of" },
        { "virtio-pmem-pci,memdev=big", "no room for 80 MiB" },
    };
    Driver d;
    g_auto(Error) err = {};
    open_memory(&d, "memory-backend-ram,id=other,size=2M", "virtio-pmem-pci,memdev=other");
    d.t.p.started = false;
    for (unsigned i = 0; i < 2; i++) {
        g_autoptr(Json) options = optstr_parse(
            i ? "memory-backend-ram,id=m,size=24M" : "memory-backend-ram,id=big,size=80M", "qom-type", &err);
        g_assert_true(object_create_user(d.t.p.objects, options, true, &err));
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(Json) options = optstr_parse(cases[i].text, "driver", &err);
        g_assert_null(device_create(&d.t.p, options, true, &err));
        if (!strstr(err.text, cases[i].why)) {
            g_error("%s: %s", cases[i].text, err.text);
        }
        error_clear(&err);
        g_assert_cmpuint(memory_devices_room_used(d.t.p.memory_devices), ==, 2 * MiB);
    }
    close_memory(&d);
}

static void test_pmem(void)
{
    Driver d;
    open_memory(&d, "memory-backend-memfd,id=m,size=4M", "virtio-pmem-pci,memdev=m");
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 4, 4), ==, 1);
    g_assert_cmphex(mem_load(&d.t, (uint32_t)BAR4 + CONFIG + 8, 4), ==, 4 * MiB);
    for (unsigned i = 0; i < 3; i++) {
        store_le32(driver_ram(&d, REQUEST), i == 1);
        store_le32(driver_ram(&d, ANSWER), 77);
        driver_desc(&d, RING, 0, REQUEST, 4, NEXT, 1);
        driver_desc(&d, RING, 1, ANSWER, 4, WRITE, 0);
        driver_offer(&d, 0, 0);
        driver_notify(&d, 0);
        for (unsigned n = 0; n < 1000 && driver_used(&d, 0) == i; n++) {
            loop_step(d.t.p.loop, true);
        }
        g_assert_cmpuint(driver_used(&d, 0), ==, i + 1);
        g_assert_cmpuint(load_le32(driver_ram(&d, ANSWER)), ==, i == 1);
    }
    /* A reset while one is under way. */
    store_le32(driver_ram(&d, REQUEST), 0);
    driver_offer(&d, 0, 0);
    driver_notify(&d, 0);
    driver_set(&d, 0x14, 0, 1);
    driver_reset(&d);
    driver_start(&d, 0, false);
    driver_desc(&d, RING, 0, REQUEST, 4, NEXT, 1);
    driver_desc(&d, RING, 1, ANSWER, 4, WRITE, 0);
    driver_offer(&d, 0, 0);
    driver_notify(&d, 0);
    for (unsigned n = 0; n < 1000 && !driver_used(&d, 0); n++) {
        loop_step(d.t.p.loop, true);
    }
    g_assert_cmpuint(driver_used(&d, 0), ==, 1);
    test_save_load(d.dev);
    close_memory(&d);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/virtio/mem", test_mem);
    g_test_add_func("/virtio/mem-refused", test_mem_refused);
    g_test_add_func("/virtio/pmem", test_pmem);
    return g_test_run();
}
