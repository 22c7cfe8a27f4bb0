/* Memory devices and the registers by which ACPI sees their slots. */

#include "base/bytes.h"
#include "base/optstr.h"
#include "base/text.h"
#include "devices/acpi/memory_hotplug.h"
#include "devices/acpi/nvdimm.h"
#include "platform.h"

#include <string.h>

#define BASE (4 * GiB)

typedef struct Slots {
    TestPlatform t;
    unsigned     events[16], deleted, refused, told;
} Slots;

static void raise_gpe(void *opaque, unsigned n)
{
    ((Slots *)opaque)->events[n]++;
}

static void emit(Platform *p, const char *event, Json *data)
{
    Slots *s = (Slots *)p;
    s->deleted += !strcmp(event, "DEVICE_DELETED");
    s->refused += !strcmp(event, "MEM_UNPLUG_ERROR");
    s->told += !strcmp(event, "ACPI_DEVICE_OST");
    json_free(data);
}

static void open_slots(Slots *s, unsigned n)
{
    g_auto(Error) err = { 0 };
    *s                = (Slots){ 0 };
    test_platform_open(&s->t);
    Platform *p       = &s->t.p;
    p->emit_event     = emit;
    p->memory_devices = memory_devices_new(p, BASE, 8 * GiB, 32 * MiB, n, 2);
    bus_new(BUS_ISA, "isa.0", NULL, p);
    g_assert_nonnull(memory_hotplug_create(p, raise_gpe, s, &err));
}

static void close_slots(Slots *s)
{
    MemoryDevices *all = s->t.p.memory_devices;
    devices_free(&s->t.p);
    s->t.p.memory_devices = NULL;
    memory_devices_free(all);
    test_platform_close(&s->t);
}

static bool make(Slots *s, const char *text, Error *err)
{
    g_autoptr(Json) options = optstr_parse(text, "qom-type", err);
    return options && object_create_user(s->t.p.objects, options, true, err);
}

static MemoryDevice *plug(Slots *s, const char *text, Error *err)
{
    g_autoptr(Json) options = optstr_parse(text, "driver", err);
    Dimm *d                 = options ? (Dimm *)device_create(&s->t.p, options, true, err) : NULL;
    return d ? &d->memory : NULL;
}

static void refuse(Slots *s, const char *text, const char *why)
{
    g_auto(Error) err = { 0 };
    uint64_t before   = memory_devices_plugged(s->t.p.memory_devices);
    g_assert_null(plug(s, text, &err));
    if (!strstr(err.text, why)) {
        g_error("%s: %s", text, err.text);
    }
    g_assert_cmpuint(memory_devices_plugged(s->t.p.memory_devices), ==, before);
}

static void select_slot(Slots *s, uint32_t n)
{
    out32(&s->t, MEMORY_HOTPLUG_PORT + MEMORY_HOTPLUG_SELECTOR, n);
}

static uint8_t flags(Slots *s)
{
    return in8(&s->t, MEMORY_HOTPLUG_PORT + MEMORY_HOTPLUG_FLAGS);
}

static void set_flags(Slots *s, uint8_t value)
{
    out8(&s->t, MEMORY_HOTPLUG_PORT + MEMORY_HOTPLUG_FLAGS, value);
}

static void ost(Slots *s, uint32_t event, uint32_t status)
{
    out32(&s->t, MEMORY_HOTPLUG_PORT + MEMORY_HOTPLUG_OST, event);
    out32(&s->t, MEMORY_HOTPLUG_PORT + MEMORY_HOTPLUG_STATUS, status);
}

static void test_plug(void)
{
    Slots s;
    g_auto(Error) err = { 0 };
    open_slots(&s, 3);
    g_assert_true(make(&s, "memory-backend-ram,id=a,size=4M", &err));
    g_assert_true(make(&s, "memory-backend-memfd,id=b,size=8M", &err));

    /* At the start: there, and no event. */
    MemoryDevice *a = plug(&s, "pc-dimm,id=x,memdev=a,node=1", &err);
    g_assert_nonnull(a);
    g_assert_cmphex(a->addr, ==, BASE);
    select_slot(&s, 0);
    g_assert_cmpuint(flags(&s), ==, MEMORY_SLOT_ENABLED);
    g_assert_cmphex(in32(&s.t, MEMORY_HOTPLUG_PORT + 4), ==, BASE >> 32);
    g_assert_cmphex(in32(&s.t, MEMORY_HOTPLUG_PORT + 8), ==, 4 * MiB);
    g_assert_cmphex(in32(&s.t, MEMORY_HOTPLUG_PORT + 16), ==, 1);
    g_assert_cmphex(in16(&s.t, MEMORY_HOTPLUG_PORT + 10), ==, 0x40);
    mem_store(&s.t, BASE + 0x1000, 0x12345678, 4);
    g_assert_cmphex(mem_load(&s.t, BASE + 0x1000, 4), ==, 0x12345678);
    select_slot(&s, 1);
    g_assert_cmpuint(flags(&s), ==, 0);
    select_slot(&s, 3); /* there is none: all ones */
    g_assert_cmphex(in32(&s.t, MEMORY_HOTPLUG_PORT), ==, 0xffffffff);
    g_assert_cmphex(flags(&s), ==, 0xff);
    set_flags(&s, 0xff);

    /* While it runs. */
    devices_reset(&s.t.p, RESET_COLD);
    MemoryDevice *b = plug(&s, "pc-dimm,id=y,memdev=b,slot=2", &err);
    g_assert_nonnull(b);
    g_assert_cmphex(b->addr, ==, BASE + 4 * MiB);
    g_assert_cmpuint(s.events[MEMORY_HOTPLUG_GPE], ==, 1);
    select_slot(&s, 2);
    g_assert_cmpuint(flags(&s), ==, MEMORY_SLOT_ENABLED | MEMORY_SLOT_INSERTING);
    set_flags(&s, MEMORY_SLOT_INSERTING);
    g_assert_cmpuint(flags(&s), ==, MEMORY_SLOT_ENABLED);
    ost(&s, 1, 0);
    g_assert_cmpuint(s.told, ==, 1);
    close_slots(&s);
}

static void test_refused(void)
{
    Slots s;
    g_auto(Error) err = { 0 };
    open_slots(&s, 2);
    g_assert_true(make(&s, "memory-backend-ram,id=a,size=4M", &err));
    g_assert_true(make(&s, "memory-backend-ram,id=b,size=3M", &err));
    g_assert_true(make(&s, "memory-backend-ram,id=c,size=30M", &err));
    g_assert_true(make(&s, "memory-backend-ram,id=d,size=2M", &err));
    g_assert_nonnull(plug(&s, "pc-dimm,id=x,memdev=a,addr=0x100400000", &err));
    refuse(&s, "pc-dimm,memdev=a", "in use already");
    refuse(&s, "pc-dimm,memdev=b", "no multiple of 2 MiB");
    refuse(&s, "pc-dimm,memdev=c", "no room for 30 MiB: of 32 MiB");
    refuse(&s, "pc-dimm,memdev=d,slot=0", "slot=0: it is in use");
    refuse(&s, "pc-dimm,memdev=d,slot=2", "there are slots 0 to 1");
    refuse(&s, "pc-dimm,memdev=d,node=2", "there are nodes 0 to 1");
    refuse(&s, "pc-dimm,memdev=d,addr=0x100600000", "slot 0 has memory at");
    refuse(&s, "pc-dimm,memdev=d,addr=0x100100000", "has to be a multiple of 0x200000");
    refuse(&s, "pc-dimm,memdev=d,addr=0x2ffe00000000", "memory devices lie at");
    refuse(&s, "pc-dimm,memdev=d,id=x", "there is a device with id 'x' already");
    g_assert_false(object_delete_user(s.t.p.objects, "a", &err));
    error_clear(&err);
    /* The gap before the first one is filled. */
    MemoryDevice *d = plug(&s, "pc-dimm,memdev=d", &err);
    g_assert_cmphex(d->addr, ==, BASE);
    close_slots(&s);
}

static void test_unplug(void)
{
    Slots s;
    g_auto(Error) err = { 0 };
    open_slots(&s, 2);
    devices_reset(&s.t.p, RESET_COLD);
    g_assert_true(make(&s, "memory-backend-ram,id=a,size=4M", &err));
    MemoryDevice *a = plug(&s, "pc-dimm,id=x,memdev=a", &err);
    select_slot(&s, 0);
    set_flags(&s, MEMORY_SLOT_INSERTING);

    /* Refused. */
    g_assert_true(device_unplug(a->dev, &err));
    g_assert_cmpuint(s.events[MEMORY_HOTPLUG_GPE], ==, 2);
    g_assert_cmpuint(flags(&s), ==, MEMORY_SLOT_ENABLED | MEMORY_SLOT_REMOVING);
    g_assert_false(device_unplug(a->dev, &err));
    error_clear(&err);
    set_flags(&s, MEMORY_SLOT_REMOVING);
    ost(&s, 3, 0x84); /* in progress */
    g_assert_cmpuint(s.refused, ==, 0);
    ost(&s, 3, 0x82); /* busy */
    g_assert_cmpuint(s.refused, ==, 1);
    g_assert_false(a->unplugging);

    /* Granted: code in it is forgotten, and the backend is free again. */
    RamBlock *ram = a->backend->ram;
    ram_block_mark_code(ram, 0x2000, 16);
    uint32_t gen = ram_block_page(ram, 0x2000)->code_gen;
    g_assert_true(device_unplug(a->dev, &err));
    set_flags(&s, MEMORY_SLOT_EJECT);
    g_assert_cmpuint(s.deleted, ==, 1);
    g_assert_cmpuint(ram_block_page(ram, 0x2000)->code_gen, ==, gen + 1);
    g_assert_cmpuint(flags(&s), ==, 0);
    g_assert_cmphex(mem_load(&s.t, BASE, 4), ==, 0xffffffff);
    set_flags(&s, MEMORY_SLOT_EJECT); /* nothing there */
    g_assert_true(object_delete_user(s.t.p.objects, "a", &err));
    close_slots(&s);
}

/* A hostile guest and a busy operator. */
static void test_fuzz(void)
{
    Slots s;
    g_auto(Error) err     = { 0 };
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    open_slots(&s, 4);
    devices_reset(&s.t.p, RESET_COLD);
    for (unsigned i = 0; i < 6; i++) {
        g_autofree char *text = g_strdup_printf("memory-backend-ram,id=m%u,size=%uM", i, 2 * (i + 1));
        g_assert_true(make(&s, text, &err));
    }
    for (unsigned i = 0; i < 40000; i++) {
        unsigned n = (unsigned)g_rand_int_range(rand, 0, 6), what = (unsigned)g_rand_int_range(rand, 0, 16);
        if (what == 0) {
            g_autofree char *text = g_strdup_printf("pc-dimm,id=d%u,memdev=m%u", n, n);
            plug(&s, text, &err);
        } else if (what == 1) {
            g_autofree char *path = g_strdup_printf("/machine/peripheral/d%u", n);
            Object          *obj  = object_resolve(s.t.p.objects, path);
            if (obj) {
                device_unplug((Device *)obj, &err);
            }
        } else if (what == 2 && n == 0) {
            devices_reset(&s.t.p, RESET_WARM);
        } else if (what < 6) {
            select_slot(&s, n);
        } else {
            uint16_t port  = (uint16_t)(MEMORY_HOTPLUG_PORT + g_rand_int_range(rand, 0, MEMORY_HOTPLUG_SIZE));
            uint32_t value = g_rand_int(rand) >> g_rand_int_range(rand, 0, 32);
            switch (what) {
            case 6: in32(&s.t, port & 0xfffc); break;
            case 7: in8(&s.t, port); break;
            case 8: out8(&s.t, port, (uint8_t)value); break;
            case 9: out16(&s.t, port & 0xfffe, (uint16_t)value); break;
            case 10: set_flags(&s, (uint8_t)value); break;
            default: out32(&s.t, port & 0xfffc, value); break;
            }
        }
        error_clear(&err);
        g_assert_cmpuint(memory_devices_plugged(s.t.p.memory_devices), <=, 32 * MiB);
    }
    g_assert_cmpuint(s.deleted, >, 0);
    close_slots(&s);
}

/* ---- Persistent modules ---- */

enum { PAGE = 0x10000 };

static uint8_t *page(Slots *s)
{
    return s->t.ram->host + PAGE;
}

/* What a method does; the answer's length without its own field. */
static unsigned call(Slots *s, uint32_t handle, uint32_t function, uint32_t a, uint32_t b)
{
    store_le32(page(s), handle);
    store_le32(page(s) + 4, 1);
    store_le32(page(s) + 8, function);
    store_le32(page(s) + 12, a);
    store_le32(page(s) + 16, b);
    out32(&s->t, NVDIMM_PORT, PAGE);
    unsigned len = load_le32(page(s));
    g_assert_cmpuint(len, >, 4);
    g_assert_cmpuint(len, <=, 4096);
    return len - 4;
}

static void open_nvdimm(Slots *s)
{
    g_auto(Error) err = { 0 };
    open_slots(s, 3);
    s->t.p.memory_devices->nvdimms = true;
    g_assert_nonnull(acpi_nvdimm_create(&s->t.p, NVDIMM_PERSISTENCE_CPU, raise_gpe, s, &err));
}

static void check_fit(const uint8_t *fit, size_t len)
{
    g_autofree char *iasl = g_find_program_in_path("iasl");
    if (!iasl) {
        return;
    }
    g_autofree char    *dir     = g_dir_make_tmp("quern-test-nfit-XXXXXX", NULL);
    g_autofree char    *file    = g_build_filename(dir, "NFIT.dat", NULL);
    g_autofree char    *command = g_strdup_printf("cd '%s' && iasl -d NFIT.dat 2>&1; rm -r '%s'", dir, dir);
    g_autofree uint8_t *table   = g_malloc0(40 + len);
    const char         *argv[]  = { "/bin/sh", "-c", command, NULL };
    g_autofree char    *output  = NULL;
    memcpy(table, "NFIT", 4);
    store_le32(table + 4, (uint32_t)(40 + len));
    table[8] = 1;
    memcpy(table + 10, "BOCHS BXPC    ", 14);
    store_le32(table + 24, 1);
    memcpy(table + 28, "BXPC", 4);
    store_le32(table + 32, 1);
    memcpy(table + 40, fit, len);
    for (size_t i = 0; i < 40 + len; i++) {
        table[9] = (uint8_t)(table[9] - (i == 9 ? 0 : table[i]));
    }
    g_assert_true(g_file_set_contents(file, (const char *)table, (gssize)(40 + len), NULL));
    g_assert_true(g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, NULL, NULL, NULL));
    if (strstr(output, "rror") || strstr(output, "arning")) {
        g_error("%s", output);
    }
}

static void test_nvdimm(void)
{
    Slots s;
    g_auto(Error) err = { 0 };
    open_nvdimm(&s);
    g_assert_true(make(&s, "memory-backend-memfd,id=a,size=5M", &err));
    g_assert_true(make(&s, "memory-backend-memfd,id=b,size=4M", &err));
    refuse(&s, "nvdimm,memdev=a,label-size=4K", "128 KiB at least");
    refuse(&s, "nvdimm,memdev=a,label-size=4M", "less than 2 MiB is left");
    refuse(&s, "nvdimm,memdev=a", "no multiple of 2 MiB");
    refuse(&s, "nvdimm,memdev=a,label-size=1M,uuid=12", "uuid");
    MemoryDevice *a = plug(&s, "nvdimm,id=x,memdev=a,label-size=1M", &err);
    g_assert_nonnull(a);
    g_assert_cmphex(a->size, ==, 4 * MiB);
    select_slot(&s, 0);
    g_assert_cmpuint(flags(&s), ==, 0); /* no module that those methods know */
    devices_reset(&s.t.p, RESET_COLD);

    /* Its table, and the same by _FIT. */
    g_assert_cmpuint(call(&s, NVDIMM_HANDLE_FIT, NVDIMM_READ_FIT, 0, 0), ==, 4 + 56 + 48 + 32 + 16);
    g_assert_cmpuint(load_le32(page(&s) + 4), ==, 0);
    g_assert_cmphex(load_le64(page(&s) + 8 + 32), ==, BASE);
    check_fit(page(&s) + 8, 56 + 48 + 32 + 16);
    g_assert_cmpuint(call(&s, NVDIMM_HANDLE_FIT, NVDIMM_READ_FIT, 152, 0), ==, 4);
    g_assert_cmpuint(call(&s, NVDIMM_HANDLE_FIT, NVDIMM_READ_FIT, 153, 0), ==, 4);
    g_assert_cmpuint(load_le32(page(&s) + 4), ==, 3);

    /* One more: what is being read is out of date. */
    g_assert_nonnull(plug(&s, "nvdimm,id=y,memdev=b,unarmed=on,uuid=11223344-1234-1234-1234-123456789abc", &err));
    g_assert_cmpuint(s.events[NVDIMM_GPE], ==, 1);
    g_assert_cmpuint(s.events[MEMORY_HOTPLUG_GPE], ==, 0);
    call(&s, NVDIMM_HANDLE_FIT, NVDIMM_READ_FIT, 152, 0);
    g_assert_cmphex(load_le32(page(&s) + 4), ==, NVDIMM_FIT_CHANGED);
    g_assert_cmpuint(call(&s, NVDIMM_HANDLE_FIT, NVDIMM_READ_FIT, 0, 0), ==, 4 + 2 * 136 + 16);
    check_fit(page(&s) + 8, 2 * 136 + 16);

    /* Labels. */
    uint8_t *labels = a->backend->ram->host + 4 * MiB;
    call(&s, 1, 0, 0, 0);
    g_assert_cmphex(load_le32(page(&s) + 4), ==, 0x71);
    g_assert_cmpuint(call(&s, 1, 4, 0, 0), ==, 12);
    g_assert_cmpuint(load_le32(page(&s) + 8), ==, MiB);
    unsigned most = load_le32(page(&s) + 12);
    memset(page(&s) + 20, 0x5a, most);
    call(&s, 1, 6, MiB - most, most);
    g_assert_cmpuint(load_le32(page(&s) + 4), ==, 0);
    g_assert_cmphex(labels[MiB - 1], ==, 0x5a);
    g_assert_cmphex(labels[MiB - most - 1], ==, 0);
    g_assert_cmpuint(call(&s, 1, 5, MiB - 8, 8), ==, 12);
    g_assert_cmphex(load_le64(page(&s) + 8), ==, UINT64_C(0x5a5a5a5a5a5a5a5a));
    static const uint32_t wrong[][2] = {
        { MiB, 1 }, { UINT32_MAX, 8 }, { 0, UINT32_MAX }, { 0, 4096 }, { MiB - 4, 8 }
    };
    for (unsigned i = 0; i < 2 * G_N_ELEMENTS(wrong); i++) {
        g_assert_cmpuint(call(&s, 1, 5 + i % 2, wrong[i / 2][0], wrong[i / 2][1]), ==, 4);
        g_assert_cmpuint(load_le32(page(&s) + 4), ==, 3);
    }
    call(&s, 2, 0, 0, 0); /* has none */
    g_assert_cmphex(load_le32(page(&s) + 4), ==, 0);
    call(&s, 2, 4, 0, 0);
    g_assert_cmphex(load_le32(page(&s) + 4), ==, 1);
    static const uint32_t nobody[] = { 3, 4, 257, 0xffff, UINT32_MAX };
    for (unsigned i = 0; i < G_N_ELEMENTS(nobody); i++) {
        call(&s, nobody[i], 4, 0, 0);
        g_assert_cmphex(load_le32(page(&s) + 4), ==, 2);
    }
    out32(&s.t, NVDIMM_PORT, 0xfffff000); /* no memory there */
    g_assert_false(device_unplug(a->dev, &err));
    error_clear(&err);
    close_slots(&s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memdevs/plug", test_plug);
    g_test_add_func("/memdevs/refused", test_refused);
    g_test_add_func("/memdevs/unplug", test_unplug);
    g_test_add_func("/memdevs/fuzz", test_fuzz);
    g_test_add_func("/memdevs/nvdimm", test_nvdimm);
    return g_test_run();
}
