/* Guest-physical memory: how trees become maps, what accesses do, and what holds while the map changes. RAM itself is
 * in test_memory_ram.c. */

#include "base/bytes.h"
#include "memory/dma.h"
#include "memory_rig.h"

#include <string.h>

static void test_empty(void)
{
    Rig      rig;
    uint32_t value;
    rig_open(&rig);
    expect_range(&rig, 0, NULL, 0, UINT64_MAX);
    expect_range(&rig, 0x1000, NULL, 0, UINT64_MAX - 0xfff);
    expect_range(&rig, UINT64_MAX, NULL, 0, 1);
    g_assert_cmphex(address_space_load(rig.as, 5, 2), ==, 0xffff);
    g_assert_cmphex(address_space_load(rig.as, UINT64_MAX, 8), ==, UINT64_MAX);
    address_space_store(rig.as, 5, 1, 8);
    g_assert_cmpint(address_space_read(rig.as, 0, &value, 4), ==, MEM_UNMAPPED);
    g_assert_cmphex(value, ==, 0xffffffff);
    g_assert_cmpint(dma_read(rig.as, 0, &value, 4), ==, MEM_UNMAPPED);
    g_assert_cmpint(address_space_poke(rig.as, 0, &value, 4), ==, MEM_UNMAPPED);
    rig_close(&rig);
}

/* Trees. */

static void test_priorities(void)
{
    Rig   rig;
    Probe low, mid, high, later;
    rig_open(&rig);
    probe_open(&low, &rig, 0x1000, IO_ANY, 0, false);
    probe_open(&mid, &rig, 0x100, IO_ANY, 0, false);
    probe_open(&high, &rig, 0x10, IO_ANY, 0, false);
    probe_open(&later, &rig, 0x20, IO_ANY, 0, false);
    region_map(&rig.root, 0x1000, &low.region, -5);
    region_map(&rig.root, 0x1800, &high.region, 9);
    region_map(&rig.root, 0x1780, &mid.region, 0);

    expect_range(&rig, 0xfff, NULL, 0, 1);
    expect_range(&rig, 0x1000, &low.region, 0, 0x780);
    expect_range(&rig, 0x1780, &mid.region, 0, 0x80);
    expect_range(&rig, 0x1805, &high.region, 5, 0xb);
    expect_range(&rig, 0x1810, &mid.region, 0x90, 0x70);
    expect_range(&rig, 0x1880, &low.region, 0x880, 0x780);
    expect_range(&rig, 0x2000, NULL, 0, UINT64_MAX - 0x1fff);

    /* Of two with one priority the one mapped last wins. */
    region_map(&rig.root, 0x17f8, &later.region, 9);
    expect_range(&rig, 0x17f8, &later.region, 0, 0x20);
    region_unmap(&later.region);
    region_map(&rig.root, 0x17f8, &later.region, 8);
    expect_range(&rig, 0x17f8, &later.region, 0, 8);
    expect_range(&rig, 0x1810, &later.region, 0x18, 8);

    /* Disabled regions show what is below; moving and resizing. */
    region_set_enabled(&high.region, false);
    expect_range(&rig, 0x17f8, &later.region, 0, 0x20);
    region_set_addr(&later.region, 0x5000);
    expect_range(&rig, 0x1780, &mid.region, 0, 0x100);
    expect_range(&rig, 0x5000, &later.region, 0, 0x20);
    region_set_size(&mid.region, 0x40);
    expect_range(&rig, 0x1780, &mid.region, 0, 0x40);
    region_set_size(&mid.region, 0);
    expect_range(&rig, 0x1000, &low.region, 0, 0x1000);

    probe_close(&low);
    probe_close(&mid);
    probe_close(&high);
    probe_close(&later);
    expect_range(&rig, 0, NULL, 0, UINT64_MAX);
    rig_close(&rig);
}

/* An alias of an alias of the middle of a container that is longer than what it lies in. */
static void test_aliases(void)
{
    Rig       rig;
    Region    bus, window, inner, outer, mem;
    Probe     dev;
    RamBlock *ram = ram_new(0x4000);
    rig_open(&rig);
    region_init_container(&bus, rig.memory, "bus", 0x10000);
    region_init_container(&window, rig.memory, "window", 0x3000);
    region_init_ram(&mem, rig.memory, "mem", ram, 0x1000, 0x3000);
    probe_open(&dev, &rig, 0x100, IO_ANY, 0, false);
    region_map(&bus, 0x2000, &mem, 0);
    region_map(&bus, 0x3000, &dev.region, 1);
    region_init_alias(&inner, rig.memory, "inner", &bus, 0x1800, 0x3000);    /* bus 1800 to 47ff */
    region_init_alias(&outer, rig.memory, "outer", &inner, 0x400, 0x100000); /* bus 1c00 to 47ff */
    region_map(&window, 0x800, &outer, 0);                                   /* bus 1c00 to 43ff */
    region_map(&rig.root, 0x100000, &window, 0);

    expect_range(&rig, 0x100000, NULL, 0, 0xc00);
    expect_range(&rig, 0x100c00, &mem, 0, 0x1000);
    expect_range(&rig, 0x101c00, &dev.region, 0, 0x100);
    expect_range(&rig, 0x101d00, &mem, 0x1100, 0x1300);
    expect_range(&rig, 0x103000, NULL, 0, UINT64_MAX - 0x102fff);

    MemTarget t = address_space_lookup(rig.as, 0x101d10);
    g_assert_true(t.ram == ram && t.writable);
    g_assert_cmphex(t.ram_offset, ==, 0x2110);
    g_assert_true(t.host == ram->host + 0x2110);

    /* The same RAM again, read-only through an alias: both views of one page. */
    Region shadow;
    region_init_alias(&shadow, rig.memory, "shadow", &mem, 0x1000, 0x1000);
    region_set_readonly(&shadow, true);
    region_map(&rig.root, 0xf0000, &shadow, 0);
    t = address_space_lookup(rig.as, 0xf0110);
    g_assert_true(t.host == ram->host + 0x2110 && !t.writable);
    address_space_store(rig.as, 0x101d10, 0x1234, 2);
    g_assert_cmphex(address_space_load(rig.as, 0xf0110, 4), ==, 0x1234);
    address_space_store(rig.as, 0xf0110, 0x99, 1);
    g_assert_cmphex(address_space_load(rig.as, 0xf0110, 4), ==, 0x1234);
    region_set_readonly(&shadow, false);
    address_space_store(rig.as, 0xf0110, 0x99, 1);
    g_assert_cmphex(address_space_load(rig.as, 0x101d10, 4), ==, 0x1299);

    region_set_alias_offset(&shadow, 0);
    expect_range(&rig, 0xf0000, &mem, 0, 0x1000);

    region_drop(&shadow);
    region_drop(&outer);
    region_drop(&inner);
    region_drop(&window);
    probe_close(&dev);
    region_drop(&mem);
    region_drop(&bus);
    g_assert_cmpint(ram->refs, ==, 1);
    ram_block_unref(ram);
    rig_close(&rig);
}

/* RAM split around a hole and joined again through aliases; 2^64 bytes; children that stick out. */
static void test_sizes(void)
{
    Rig    rig;
    Region everything, low, high, box;
    Probe  all, child;
    rig_open(&rig);
    probe_open(&all, &rig, UINT64_MAX, IO_ANY, 0, false);
    region_map(&rig.root, 0, &all.region, 0);
    expect_range(&rig, 0, &all.region, 0, UINT64_MAX);
    expect_range(&rig, UINT64_MAX, &all.region, UINT64_MAX, 1);
    g_assert_cmphex(address_space_load(rig.as, UINT64_MAX - 3, 4), ==, 0xfffefdfc);
    expect_seen(&all, "r4@fffffffc ");

    /* Shifted up by an alias: what sticks out at the top is cut off. */
    region_unmap(&all.region);
    region_init_alias(&everything, rig.memory, "everything", &all.region, 0, UINT64_MAX);
    region_map(&rig.root, 0x1000, &everything, 0);
    expect_range(&rig, 0, NULL, 0, 0x1000);
    expect_range(&rig, UINT64_MAX, &all.region, UINT64_MAX - 0x1000, 1);
    region_drop(&everything);

    region_init_alias(&low, rig.memory, "low", &all.region, 0, 0x800);
    region_init_alias(&high, rig.memory, "high", &all.region, 0x800, 0x800);
    region_map(&rig.root, 0x800, &low, 0);
    region_map(&rig.root, 0x1000, &high, 0);
    expect_range(&rig, 0x900, &all.region, 0x100, 0xf00); /* one stretch again */
    region_drop(&low);
    region_drop(&high);

    region_init_container(&box, rig.memory, "box", 0x100);
    probe_open(&child, &rig, 0x100, IO_ANY, 0, false);
    region_map(&box, 0xc0, &child.region, 0);
    region_map(&rig.root, 0x2000, &box, 0);
    expect_range(&rig, 0x20c0, &child.region, 0, 0x40);
    region_set_addr(&child.region, 0x100);
    expect_range(&rig, 0x2000, NULL, 0, UINT64_MAX - 0x1fff);
    region_set_addr(&child.region, UINT64_MAX - 0xf); /* far outside, and past 2^64 from here */
    expect_range(&rig, 0, NULL, 0, UINT64_MAX);

    probe_close(&child);
    region_drop(&box);
    probe_close(&all);
    rig_close(&rig);
}

/* A child hides part of the I/O region it lies in (an MSI-X table in a BAR). */
static void test_child_of_io(void)
{
    Rig   rig;
    Probe bar, table;
    rig_open(&rig);
    probe_open(&bar, &rig, 0x1000, IO_ANY, 0, false);
    probe_open(&table, &rig, 0x100, IO_ANY, 0, false);
    region_map(&bar.region, 0x800, &table.region, 0);
    region_map(&rig.root, 0x1000, &bar.region, 0);
    expect_range(&rig, 0x1000, &bar.region, 0, 0x800);
    expect_range(&rig, 0x1800, &table.region, 0, 0x100);
    expect_range(&rig, 0x1900, &bar.region, 0x900, 0x700);
    probe_close(&table);
    expect_range(&rig, 0x1000, &bar.region, 0, 0x1000);
    probe_close(&bar);
    rig_close(&rig);
}

/* I/O. */

static void test_split(void)
{
    Rig   rig;
    Probe bytes, longs, words, any, loose;
    rig_open(&rig);
    probe_open(&bytes, &rig, 0x10, IO_BYTE, 0, false);
    probe_open(&words, &rig, 0x10, IO_WORD, 0, false);
    probe_open(&longs, &rig, 0x10, IO_LONG, 0, false);
    probe_open(&any, &rig, 0x10, IO_ANY, 0, false);
    probe_open(&loose, &rig, 0x10, IO_ANY, 0, true);
    region_map(&rig.root, 0x1000, &bytes.region, 0);
    region_map(&rig.root, 0x2000, &words.region, 0);
    region_map(&rig.root, 0x3000, &longs.region, 0);
    region_map(&rig.root, 0x4000, &any.region, 0);
    region_map(&rig.root, 0x5000, &loose.region, 0);

    /* One callback where the size fits. */
    g_assert_cmphex(address_space_load(rig.as, 0x4008, 8), ==, 0x0f0e0d0c0b0a0908);
    g_assert_cmphex(address_space_load(rig.as, 0x4003, 1), ==, 3);
    address_space_store(rig.as, 0x4004, 0x1122334455667788, 4);
    expect_seen(&any, "r8@8 r1@3 w4@4=55667788 ");

    /* Wide accesses are cut, low address first. */
    g_assert_cmphex(address_space_load(rig.as, 0x1003, 4), ==, 0x06050403);
    address_space_store(rig.as, 0x1000, 0xaabbccdd, 4);
    expect_seen(&bytes, "r1@3 r1@4 r1@5 r1@6 w1@0=dd w1@1=cc w1@2=bb w1@3=aa ");
    g_assert_cmphex(address_space_load(rig.as, 0x3000, 8), ==, 0x0706050403020100);
    address_space_store(rig.as, 0x3008, 0x1111111122222222, 8);
    expect_seen(&longs, "r4@0 r4@4 w4@8=22222222 w4@c=11111111 ");

    /* So are unaligned ones, unless the device takes them. */
    g_assert_cmphex(address_space_load(rig.as, 0x4002, 4), ==, 0x05040302);
    address_space_store(rig.as, 0x4001, 0xaabbccdd, 4);
    expect_seen(&any, "r2@2 r2@4 w1@1=dd w2@2=bbcc w1@4=aa ");
    g_assert_cmphex(address_space_load(rig.as, 0x5001, 4), ==, 0x04030201);
    expect_seen(&loose, "r4@1 ");

    /* Narrow reads take their bytes out of the unit; narrow writes are refused, before the first callback. */
    g_assert_cmphex(address_space_load(rig.as, 0x3006, 1), ==, 6);
    g_assert_cmphex(address_space_load(rig.as, 0x3006, 2), ==, 0x0706);
    g_assert_cmphex(address_space_load(rig.as, 0x3006, 4), ==, 0x09080706);
    g_assert_cmphex(address_space_load(rig.as, 0x2003, 2), ==, 0x0403);
    expect_seen(&longs, "r4@4 r4@4 r4@4 r4@8 ");
    expect_seen(&words, "r2@2 r2@4 ");
    address_space_store(rig.as, 0x3004, 1, 2);
    address_space_store(rig.as, 0x3002, 1, 8);
    address_space_store(rig.as, 0x2001, 1, 4);
    expect_seen(&longs, "");
    expect_seen(&words, "");
    g_assert_cmpint(address_space_write(rig.as, 0x3004, "x", 1), ==, MEM_REFUSED);

    /* Across the end of a region: two halves, and nothing behind it. */
    g_assert_cmphex(address_space_load(rig.as, 0x100e, 4), ==, 0xffff0f0e);
    expect_seen(&bytes, "r1@e r1@f ");

    probe_close(&bytes);
    probe_close(&words);
    probe_close(&longs);
    probe_close(&any);
    probe_close(&loose);
    rig_close(&rig);
}

static void test_accept(void)
{
    Rig      rig;
    Probe    strict, lanes;
    uint64_t value;
    rig_open(&rig);
    probe_open(&strict, &rig, 0x10, IO_LONG, IO_LONG, false);
    probe_open(&lanes, &rig, 0x10, IO_LONG, IO_BYTE | IO_LONG, false);
    region_map(&rig.root, 0, &strict.region, 0);
    region_map(&rig.root, 0x10, &lanes.region, 0);

    g_assert_cmpint(region_read(&strict.region, 0, 1, &value), ==, MEM_REFUSED);
    g_assert_cmphex(value, ==, 0xff);
    g_assert_cmpint(region_write(&strict.region, 0, 8, 0), ==, MEM_REFUSED);
    g_assert_cmpint(region_read(&strict.region, 4, 4, &value), ==, MEM_OK);
    g_assert_cmpint(region_read(&strict.region, 0x10, 4, &value), ==, MEM_REFUSED);
    g_assert_cmpint(region_read(&strict.region, 0xe, 4, &value), ==, MEM_REFUSED);
    expect_seen(&strict, "r4@4 ");

    /* A narrow size that the device accepts by name arrives in its place in the unit. */
    g_assert_cmpint(region_write(&lanes.region, 6, 1, 0xab), ==, MEM_OK);
    g_assert_cmpint(region_read(&lanes.region, 6, 1, &value), ==, MEM_OK);
    g_assert_cmphex(value, ==, 6);
    g_assert_cmpint(region_write(&lanes.region, 4, 2, 0xab), ==, MEM_REFUSED);
    expect_seen(&lanes, "w4@4=ab0000 r4@4 ");

    probe_close(&strict);
    probe_close(&lanes);
    rig_close(&rig);
}

/* Refused accesses are told with -d guest_errors. */
static void test_log(void)
{
    Rig    rig;
    Probe  p;
    char  *text = NULL;
    size_t len  = 0;
    FILE  *file = open_memstream(&text, &len);
    Log    log  = { .items = LOG_GUEST_ERRORS, .file = file };
    rig_open(&rig);
    memory_set_log(rig.memory, &log);
    probe_open(&p, &rig, 0x10, IO_LONG, 0, false);
    p.ops.read = NULL;
    region_map(&rig.root, 0, &p.region, 0);
    g_assert_cmphex(address_space_load(rig.as, 4, 4), ==, 0xffffffff);
    address_space_store(rig.as, 5, 1, 1);
    fflush(file);
    g_assert_nonnull(strstr(text, "probe: 4-byte read at offset 0x4"));
    g_assert_nonnull(strstr(text, "probe: 1-byte write at offset 0x5"));
    probe_close(&p);
    rig_close(&rig);
    fclose(file);
    free(text);
}

/* Callbacks that change what they are part of. */

static void unmap_inside(Probe *p)
{
    if (p->region.mapped) {
        region_unmap(&p->region);
    }
}

static void destroy_inside(Probe *p)
{
    region_unmap(&p->region);
    region_destroy(&p->region);
}

static void enter_again(Probe *p)
{
    uint64_t value = 0;
    p->inside      = NULL;
    g_assert_cmpint(region_read(&p->region, 4, 4, &value), ==, MEM_REFUSED);
    g_assert_cmphex(value, ==, 0xffffffff);
    g_assert_cmpint(address_space_write(p->rig->as, 0, "abcd", 4), ==, MEM_REFUSED);
}

static void test_callbacks_change(void)
{
    Rig      rig;
    Probe    p;
    uint64_t value;
    for (int locked = 0; locked < 2; locked++) {
        rig_open(&rig);
        probe_open(&p, &rig, 0x10, IO_WORD | IO_LONG, 0, false);
        region_map(&rig.root, 0, &p.region, 0);

        int depth = locked ? 0 : machine_lock_drop(&rig.lock);
        p.inside  = enter_again;
        address_space_store(rig.as, 0, 1, 4);
        expect_seen(&p, "w4@0=1 ");
        address_space_store(rig.as, 0, 1, 4); /* and it is free again */
        expect_seen(&p, "w4@0=1 ");

        p.inside = unmap_inside;
        g_assert_cmphex(address_space_load(rig.as, 0, 8), ==, 0x0706050403020100);
        expect_seen(&p, "r4@0 r4@4 ");
        g_assert_cmpint(address_space_read(rig.as, 0, &value, 4), ==, MEM_UNMAPPED);
        if (!locked) {
            machine_lock_restore(&rig.lock, depth);
        }
        region_map(&rig.root, 0, &p.region, 0);
        depth = locked ? 0 : machine_lock_drop(&rig.lock);

        /* The second half of the access finds no region any more. */
        p.inside = destroy_inside;
        g_assert_cmphex(address_space_load(rig.as, 2, 4), ==, 0xffff0302);
        expect_seen(&p, "r2@2 ");
        g_assert_null(p.region.memory);
        if (!locked) {
            machine_lock_restore(&rig.lock, depth);
        }
        probe_close(&p);
        rig_close(&rig);
    }
}

/* ROM devices: reads are RAM or I/O by mode, writes always I/O. */
static void test_rom_device(void)
{
    Rig       rig;
    Probe     p;
    Region    flash;
    RamBlock *ram = ram_new(0x2000);
    uint8_t   byte;
    rig_open(&rig);
    probe_open(&p, &rig, 0x10, IO_ANY, 0, false);
    region_init_rom_device(&flash, rig.memory, "flash", ram, &p.ops, &p);
    region_map(&rig.root, 0x1000, &flash, 0);
    memcpy(ram->host + 0x20, "flash", 5);

    MemTarget t = address_space_lookup(rig.as, 0x1020);
    g_assert_true(t.host == ram->host + 0x20 && !t.writable && t.region == &flash);
    g_assert_cmphex(address_space_load(rig.as, 0x1020, 4), ==, 0x73616c66);
    address_space_store(rig.as, 0x1020, 0x40, 1);
    expect_seen(&p, "w1@20=40 ");
    g_assert_cmphex(address_space_load(rig.as, 0x1020, 1), ==, 'f');
    g_assert_cmpint(dma_read(rig.as, 0x1020, &byte, 1), ==, MEM_OK);
    g_assert_cmpint(dma_write(rig.as, 0x1020, &byte, 1), ==, MEM_NOT_RAM);

    region_set_rom_mode(&flash, false);
    g_assert_null(address_space_lookup(rig.as, 0x1020).host);
    g_assert_cmphex(address_space_load(rig.as, 0x1020, 1), ==, 0x20);
    expect_seen(&p, "r1@20 ");
    g_assert_cmpint(dma_read(rig.as, 0x1020, &byte, 1), ==, MEM_NOT_RAM);
    g_assert_cmpint(address_space_poke(rig.as, 0x1020, "F", 1), ==, MEM_OK);
    g_assert_cmphex(ram->host[0x20], ==, 'F');
    region_set_rom_mode(&flash, true);

    /* A read-only view of it drops writes. */
    Region view;
    region_init_alias(&view, rig.memory, "view", &flash, 0, 0x1000);
    region_set_readonly(&view, true);
    region_map(&rig.root, 0x8000, &view, 0);
    g_assert_cmpint(address_space_write(rig.as, 0x8020, "x", 1), ==, MEM_REFUSED);
    expect_seen(&p, "");

    region_drop(&view);
    region_drop(&flash);
    probe_close(&p);
    ram_block_unref(ram);
    rig_close(&rig);
}

/* Bytes of any length, over every border. */
static void test_bytes(void)
{
    Rig       rig;
    Probe     p;
    Region    mem, rom;
    RamBlock *ram = ram_new(0x2000);
    uint8_t   buf[0x40];
    rig_open(&rig);
    probe_open(&p, &rig, 0x10, IO_BYTE | IO_LONG, IO_BYTE | IO_LONG, false);
    region_init_ram(&mem, rig.memory, "mem", ram, 0, 0x1000);
    region_init_rom(&rom, rig.memory, "rom", ram, 0x1000, 0x1000);
    region_map(&rig.root, 0, &mem, 0);
    region_map(&rig.root, 0x1000, &p.region, 0);
    region_map(&rig.root, 0x1020, &rom, 0);
    memset(ram->host + 0x1000, 0x77, 0x1000);

    memset(buf, 0xee, sizeof buf);
    g_assert_cmpint(address_space_write(rig.as, 0xff8, buf, 0x1d), ==, MEM_UNMAPPED);
    expect_seen(&p, "w4@0=eeeeeeee w4@4=eeeeeeee w4@8=eeeeeeee w4@c=eeeeeeee ");
    g_assert_cmpint(address_space_read(rig.as, 0xff6, buf, 0x32), ==, MEM_UNMAPPED);
    expect_seen(&p, "r4@0 r4@4 r4@8 r4@c ");
    static const uint8_t want[] = { 0,    0,    0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0xee, 0,    1,    2,
                                    3,    4,    5,    6,    7,    8,    9,    10,   11,   12,   13,   14,   15,
                                    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77, 0x77 };
    g_assert_cmpmem(buf, 0x32, want, sizeof want);

    /* Odd pieces of a device: the largest aligned words that it accepts. */
    g_assert_cmpint(address_space_read(rig.as, 0x1003, buf, 7), ==, MEM_OK);
    expect_seen(&p, "r1@3 r4@4 r1@8 r1@9 ");

    /* A word from RAM into the device, half of which is a size that it does not accept; and one that it does. */
    g_assert_cmphex(address_space_load(rig.as, 0xffe, 4), ==, 0xffffeeee);
    g_assert_cmphex(address_space_load(rig.as, 0xffc, 8), ==, 0x03020100eeeeeeee);
    expect_seen(&p, "r4@0 ");

    /* ROM. */
    g_assert_cmpint(address_space_write(rig.as, 0x1020, "\x11\x22\x33", 3), ==, MEM_REFUSED);
    g_assert_cmphex(ram->host[0x1000], ==, 0x77);
    g_assert_cmpint(address_space_poke(rig.as, 0x1020, "\x11\x22\x33", 3), ==, MEM_OK);
    g_assert_cmphex(ram->host[0x1002], ==, 0x33);
    g_assert_cmpint(address_space_poke(rig.as, 0xfff, "\x11\x22\x33", 3), ==, MEM_NOT_RAM);
    g_assert_cmphex(ram->host[0xfff], ==, 0xee);

    probe_close(&p);
    region_drop(&mem);
    region_drop(&rom);
    ram_block_unref(ram);
    rig_close(&rig);
}

static void test_dma(void)
{
    Rig       rig;
    Probe     safe, plain;
    Region    mem, rom;
    RamBlock *ram = ram_new(0x3000);
    uint8_t   buf[0x20];
    rig_open(&rig);
    probe_open(&safe, &rig, 0x10, IO_ANY, 0, false);
    probe_open(&plain, &rig, 0x10, IO_ANY, 0, false);
    safe.ops.dma_safe = true;
    region_init_ram(&mem, rig.memory, "mem", ram, 0, 0x2000);
    region_init_rom(&rom, rig.memory, "rom", ram, 0x2000, 0x1000);
    region_map(&rig.root, 0, &mem, 0);
    region_map(&rig.root, 0x1000, &safe.region, 1); /* inside the RAM */
    region_map(&rig.root, 0x2000, &plain.region, 1);
    region_map(&rig.root, 0x2010, &rom, 0);
    memset(ram->host, 0x5a, 0x3000);
    int depth = machine_lock_drop(&rig.lock);

    memset(buf, 1, sizeof buf);
    g_assert_cmpint(dma_read(rig.as, 0x1ff8, buf, 0x10), ==, MEM_NOT_RAM);
    g_assert_cmpint(buf[0], ==, 1); /* untouched */
    g_assert_cmpint(dma_write(rig.as, 0x1ff8, buf, 0x10), ==, MEM_NOT_RAM);
    g_assert_cmphex(ram->host[0x1ff8], ==, 0x5a);
    g_assert_cmpint(dma_write(rig.as, 0x2010, buf, 4), ==, MEM_REFUSED);
    g_assert_cmpint(dma_read(rig.as, 0x2010, buf, 4), ==, MEM_OK);
    g_assert_cmpint(dma_read(rig.as, 0x300e, buf, 4), ==, MEM_UNMAPPED);
    expect_seen(&plain, "");

    /* A dma_safe device in the middle of RAM. */
    g_assert_cmpint(dma_read(rig.as, 0xff8, buf, 0x20), ==, MEM_OK);
    g_assert_cmphex(buf[7], ==, 0x5a);
    g_assert_cmphex(buf[8], ==, 0);
    g_assert_cmphex(buf[0x17], ==, 0xf);
    g_assert_cmphex(buf[0x18], ==, 0x5a);
    expect_seen(&safe, "r8@0 r8@8 ");
    g_assert_cmpint(dma_write(rig.as, 0x1004, buf, 4), ==, MEM_OK);
    expect_seen(&safe, "w4@4=5a5a5a5a ");

    machine_lock_restore(&rig.lock, depth);
    probe_close(&safe);
    probe_close(&plain);
    region_drop(&mem);
    region_drop(&rom);
    ram_block_unref(ram);
    rig_close(&rig);
}

/* Listeners and batches. */

typedef struct Listener {
    MemoryListener listener;
    int            calls;
    uint8_t       *old_host; /* still mapped when told */
    Region        *shows;    /* what the new map has at 0 when told */
} Listener;

static void listened(MemoryListener *self, AddressSpace *as)
{
    Listener *l = (Listener *)self;
    l->calls++;
    l->shows = address_space_lookup(as, 0).region;
    if (l->old_host) {
        g_assert_cmphex(*l->old_host, ==, 0xab);
    }
}

static void test_listeners(void)
{
    Rig           rig;
    Region        a, b, other_root, shared;
    Listener      l = { .listener.changed = listened }, other = { .listener.changed = listened };
    RamBlock     *ram = ram_new(0x1000);
    AddressSpace *second, *third;
    rig_open(&rig);
    region_init_container(&other_root, rig.memory, "other", 0x10000);
    second = address_space_new(rig.memory, &other_root, "second");
    third  = address_space_new(rig.memory, &rig.root, "third");
    address_space_add_listener(rig.as, &l.listener);
    address_space_add_listener(second, &other.listener);

    region_init_ram(&a, rig.memory, "a", ram, 0, 0x1000);
    *ram->host = 0xab;
    region_map(&rig.root, 0, &a, 0);
    g_assert_cmpint(l.calls, ==, 1);
    g_assert_true(l.shows == &a);
    g_assert_cmpint(other.calls, ==, 0);
    g_assert_true(address_space_lookup(third, 0).region == &a);

    /* A batch is one change; one that comes to nothing is none. */
    memory_begin(rig.memory);
    memory_begin(rig.memory);
    region_set_addr(&a, 0x2000);
    region_set_addr(&a, 0x3000);
    memory_commit(rig.memory);
    g_assert_true(address_space_lookup(rig.as, 0).region == &a);
    memory_commit(rig.memory);
    g_assert_cmpint(l.calls, ==, 2);
    g_assert_null(l.shows);
    memory_begin(rig.memory);
    region_set_addr(&a, 0);
    region_set_addr(&a, 0x3000);
    memory_commit(rig.memory);
    region_set_enabled(&a, true);
    g_assert_cmpint(l.calls, ==, 2);

    /* An invisible change is none either: hidden, disabled or not in the tree. */
    region_init_container(&b, rig.memory, "b", 0x1000);
    region_map(&rig.root, 0, &b, 0);
    region_init_alias(&shared, rig.memory, "shared", &a, 0, 0x1000);
    region_set_enabled(&shared, false);
    region_map(&other_root, 0, &shared, 0);
    g_assert_cmpint(l.calls, ==, 2);
    g_assert_cmpint(other.calls, ==, 0);
    region_set_enabled(&shared, true);
    g_assert_cmpint(l.calls, ==, 2);
    g_assert_cmpint(other.calls, ==, 1);

    /* The old map holds its RAM until the listeners are through. */
    l.old_host = other.old_host = ram->host;
    memory_begin(rig.memory);
    region_unmap(&shared);
    region_unmap(&a);
    memory_commit(rig.memory);
    ram_block_unref(ram);
    region_destroy(&shared);
    region_destroy(&a);
    g_assert_cmpint(l.calls, ==, 3);
    g_assert_cmpint(other.calls, ==, 2);

    address_space_remove_listener(rig.as, &l.listener);
    address_space_remove_listener(second, &other.listener);
    address_space_free(second);
    address_space_free(third);
    region_drop(&b);
    region_destroy(&other_root);
    rig_close(&rig);
}

/* A region that goes in a batch is gone for readers once it is destroyed, not only at the commit. */
static void test_destroy_in_batch(void)
{
    Rig   rig;
    Probe p;
    rig_open(&rig);
    probe_open(&p, &rig, 0x10, IO_ANY, 0, false);
    region_map(&rig.root, 0, &p.region, 0);
    memory_begin(rig.memory);
    region_unmap(&p.region);
    region_destroy(&p.region);
    g_assert_null(address_space_lookup(rig.as, 0).region);
    memory_commit(rig.memory);
    probe_close(&p);
    rig_close(&rig);
}

/* RAM. */

/* What people see. */
static void test_dump(void)
{
    Rig       rig;
    Region    mem, rom, low, off;
    Probe     dev;
    RamBlock *ram          = ram_new(0x10000);
    g_autoptr(GString) out = g_string_new(NULL);
    rig_open(&rig);
    region_init_ram(&mem, rig.memory, "pc.ram", ram, 0, 0x10000);
    region_init_rom(&rom, rig.memory, "pc.bios", ram, 0x8000, 0x1000);
    region_init_alias(&low, rig.memory, "ram-below-4g", &mem, 0, 0x8000);
    region_init_container(&off, rig.memory, "off", 0x8000);
    region_set_enabled(&off, false);
    probe_open(&dev, &rig, 0x20, IO_ANY, 0, false);
    region_map(&rig.root, 0xfffff000, &rom, 0);
    region_map(&rig.root, 0x1000, &dev.region, 1);
    region_map(&rig.root, 0, &low, 0);
    region_map(&rig.root, 0x9000, &off, 0);
    memory_dump(rig.memory, out, &(MemoryDump){ .flat = false });
    g_assert_cmpstr(out->str, ==,
                    "address-space: space\n"
                    "  0000000000000000-ffffffffffffffff (prio 0, i/o): root\n"
                    "    0000000000000000-0000000000007fff (prio 0, ram): alias ram-below-4g @pc.ram "
                    "0000000000000000-0000000000007fff\n"
                    "    0000000000001000-000000000000101f (prio 1, i/o): probe\n"
                    "    00000000fffff000-00000000ffffffff (prio 0, rom): pc.bios\n"
                    "\n"
                    "memory-region: pc.ram\n"
                    "  0000000000000000-000000000000ffff (prio 0, ram): pc.ram\n"
                    "\n");
    g_string_truncate(out, 0);
    memory_dump(rig.memory, out, &(MemoryDump){ .flat = true });
    g_assert_cmpstr(out->str, ==,
                    "FlatView #0\n"
                    " AS \"space\", root: root\n"
                    " Root memory region: root\n"
                    "  0000000000000000-0000000000000fff (prio 0, ram): pc.ram\n"
                    "  0000000000001000-000000000000101f (prio 1, i/o): probe\n"
                    "  0000000000001020-0000000000007fff (prio 0, ram): pc.ram @0000000000001020\n"
                    "  00000000fffff000-00000000ffffffff (prio 0, rom): pc.bios\n"
                    "\n");
    region_drop(&off);
    region_drop(&low);
    region_drop(&mem);
    region_drop(&rom);
    probe_close(&dev);
    ram_block_unref(ram);
    rig_close(&rig);
}

/* Random trees against the plain definition of what an address shows. */

enum { N_REGIONS = 24, TREE_SIZE = 256 };

/* What r, whose offset 0 lies at base, shows at addr; NULL for nothing. */
static Region *show(Region *r, int64_t base, int64_t addr, int64_t *offset)
{
    if (!r->enabled || addr < base || addr - base >= (int64_t)MIN(r->size, 0x10000)) {
        return NULL;
    }
    if (r->kind == REGION_ALIAS) {
        return show(r->alias, base - (int64_t)r->alias_offset, addr, offset);
    }
    for (unsigned i = 0; r->children && i < r->children->len; i++) {
        Region *child = g_ptr_array_index(r->children, i);
        Region *found = show(child, base + (int64_t)child->addr, addr, offset);
        if (found) {
            return found;
        }
    }
    *offset = addr - base;
    return r->kind == REGION_CONTAINER ? NULL : r;
}

static bool leads_to(Region *from, Region *to)
{
    if (from == to || (from->kind == REGION_ALIAS && leads_to(from->alias, to))) {
        return true;
    }
    for (unsigned i = 0; from->children && i < from->children->len; i++) {
        if (leads_to(g_ptr_array_index(from->children, i), to)) {
            return true;
        }
    }
    return false;
}

static void test_random(void)
{
    static const IoOps ops = { .name = "leaf", .access = IO_ANY };
    Rig                rig;
    rig_open(&rig);
    for (int round = 0; round < 60; round++) {
        Region regions[N_REGIONS];
        for (int i = 0; i < N_REGIONS; i++) {
            Region  *r    = &regions[i];
            uint64_t size = g_test_rand_int_range(1, TREE_SIZE);
            int      kind = i ? g_test_rand_int_range(0, 3) : 0;
            if (kind == 0) {
                region_init_container(r, rig.memory, "box", size);
            } else if (kind == 1) {
                region_init_io(r, rig.memory, "leaf", size, &ops, NULL);
            } else {
                region_init_alias(r, rig.memory, "alias", &regions[g_test_rand_int_range(0, i)],
                                  g_test_rand_int_range(0, TREE_SIZE), size);
            }
        }
        for (int step = 0; step < 80; step++) {
            Region *r  = &regions[g_test_rand_int_range(0, N_REGIONS)];
            Region *to = &regions[g_test_rand_int_range(0, N_REGIONS)];
            switch (g_test_rand_int_range(0, 5)) {
            case 0:
                if (r->mapped) {
                    region_unmap(r);
                }
                break;
            case 1: region_set_enabled(r, g_test_rand_int_range(0, 4)); break;
            case 2: region_set_addr(r, g_test_rand_int_range(0, TREE_SIZE)); break;
            default:
                if (!r->mapped && to->kind != REGION_ALIAS && !leads_to(r, to)) {
                    region_map(g_test_rand_int_range(0, 3) ? to : &rig.root, g_test_rand_int_range(0, TREE_SIZE), r,
                               g_test_rand_int_range(-1, 2));
                }
                break;
            }
            for (int64_t addr = 0; addr < 3 * TREE_SIZE; addr++) {
                int64_t   offset = 0;
                Region   *want   = show(&rig.root, 0, addr, &offset);
                MemTarget got    = address_space_lookup(rig.as, (uint64_t)addr);
                g_assert_true(got.region == want);
                g_assert_cmpint((int64_t)got.offset, ==, want ? offset : 0);
            }
        }
        memory_begin(rig.memory);
        for (int i = 0; i < N_REGIONS; i++) {
            if (regions[i].mapped) {
                region_unmap(&regions[i]);
            }
        }
        memory_commit(rig.memory);
        for (int i = N_REGIONS - 1; i >= 0; i--) {
            region_destroy(&regions[i]);
        }
    }
    rig_close(&rig);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory/empty", test_empty);
    g_test_add_func("/memory/priorities", test_priorities);
    g_test_add_func("/memory/aliases", test_aliases);
    g_test_add_func("/memory/sizes", test_sizes);
    g_test_add_func("/memory/child-of-io", test_child_of_io);
    g_test_add_func("/memory/random", test_random);
    g_test_add_func("/memory/split", test_split);
    g_test_add_func("/memory/accept", test_accept);
    g_test_add_func("/memory/log", test_log);
    g_test_add_func("/memory/callbacks-change", test_callbacks_change);
    g_test_add_func("/memory/rom-device", test_rom_device);
    g_test_add_func("/memory/bytes", test_bytes);
    g_test_add_func("/memory/dma", test_dma);
    g_test_add_func("/memory/listeners", test_listeners);
    g_test_add_func("/memory/destroy-in-batch", test_destroy_in_batch);
    g_test_add_func("/memory/dump", test_dump);
    return g_test_run();
}
