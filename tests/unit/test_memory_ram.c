/* RAM blocks: dirty and code tracking, aliases, and threads that read, write and take memory away at once. */

#include "loop/rcu.h"
#include "memory/dma.h"
#include "memory_rig.h"

#include <sys/mman.h>

static void test_ram(void)
{
    g_auto(Error) err = { 0 };
    RamBlock *ram     = ram_block_new("odd", 5 * 4096 + 1, &err);
    g_assert_cmphex(ram->size, ==, 6 * 4096);
    g_assert_cmphex((uintptr_t)ram->host % 4096, ==, 0);
    g_assert_cmpint(ram->host[ram->size - 1], ==, 0);
    ram_block_advise(ram, false, true);
    ram_block_unref(ram);
    ram_block_unref(NULL);

    /* A great deal of memory costs nothing until it is touched. */
    ram = ram_block_new("great", UINT64_C(1) << 40, &err);
    if (!ram) {
        g_test_message("%s", err.text);
        error_clear(&err);
    } else {
        g_assert_cmphex((uintptr_t)ram->host % (2 << 20), ==, 0);
        ram->host[ram->size - 1] = 1;
        ram_block_written(ram, ram->size - 1, 1);
        ram_block_unref(ram);
    }

    g_assert_null(ram_block_new("too great", UINT64_C(1) << 52, &err));
    g_assert_cmpstr(err.text, ==, "cannot reserve 4 PiB of guest memory: Cannot allocate memory");
    error_clear(&err);
    g_assert_null(ram_block_new("too great", UINT64_MAX, &err));
    g_assert_nonnull(err.text);
}

static void test_code(void)
{
    RamBlock *ram = ram_new(4 * 4096);
    RamPage  *p0 = ram_block_page(ram, 0), *p1 = ram_block_page(ram, 4096), *p2 = ram_block_page(ram, 8192);

    g_assert_false(ram_page_watched(ram, 0));
    g_assert_true(ram_block_mark_code(ram, 0x70, 0x20)); /* chunks 1 and 2 */
    g_assert_cmphex(p0->code_mask, ==, 6);
    g_assert_true(ram_page_watched(ram, 0xfff));
    g_assert_false(ram_block_mark_code(ram, 0x80, 1));
    g_assert_false(ram_block_mark_code(ram, 0x100, 1)); /* the page is watched already */
    g_assert_cmphex(p0->code_mask, ==, 0x16);

    ram_block_written(ram, 0, 0x40);
    ram_block_written(ram, 0xc0, 0x40);
    g_assert_cmpuint(p0->code_gen, ==, 0);
    ram_block_written(ram, 0x3f, 2); /* one byte of chunk 1 */
    g_assert_cmpuint(p0->code_gen, ==, 1);
    g_assert_cmphex(p0->code_mask, ==, 0x14); /* what was hit needs a new mark */
    ram_block_written(ram, 0x40, 0x40);
    g_assert_cmpuint(p0->code_gen, ==, 1);
    ram_block_written(ram, 0xbf, 1);
    g_assert_cmpuint(p0->code_gen, ==, 2);

    /* Over page borders, and whole pages. */
    g_assert_true(ram_block_mark_code(ram, 0x1ff0, 0x20));
    g_assert_cmphex(p1->code_mask, ==, UINT64_C(1) << 63);
    g_assert_cmphex(p2->code_mask, ==, 1);
    ram_block_written(ram, 0x1000, 0x1fff);
    g_assert_cmpuint(p1->code_gen, ==, 1);
    g_assert_cmpuint(p2->code_gen, ==, 1);
    g_assert_cmpuint(p0->code_gen, ==, 2);
    g_assert_false(ram_page_watched(ram, 0x1000));
    g_assert_true(ram_block_mark_code(ram, 0x2000, 0x1000));
    g_assert_cmphex(p2->code_mask, ==, UINT64_MAX);
    ram_block_written(ram, 0, 0);

    /* Dirty logging. */
    g_assert_cmphex(p1->dirty, ==, 0);
    ram->dirty_clients = 5;
    g_assert_true(ram_page_watched(ram, 0x3000));
    ram_block_written(ram, 0x1fff, 1);
    g_assert_cmphex(p1->dirty, ==, 5);
    g_assert_cmphex(p2->dirty, ==, 0);
    ram_block_unref(ram);
}

/* DMA and CPU stores make code stale too. */
static void test_code_writers(void)
{
    Rig       rig;
    Region    mem;
    RamBlock *ram = ram_new(0x1000);
    RamPage  *p   = ram_block_page(ram, 0);
    uint32_t  gen = 0;
    rig_open(&rig);
    region_init_ram(&mem, rig.memory, "mem", ram, 0, 0x1000);
    region_map(&rig.root, 0x5000, &mem, 0);
    ram_block_mark_code(ram, 0, 0x1000);
    address_space_store(rig.as, 0x5000, 0, 4);
    g_assert_cmpuint(p->code_gen, ==, ++gen);
    dma_write(rig.as, 0x5048, "x", 1);
    g_assert_cmpuint(p->code_gen, ==, ++gen);
    address_space_write(rig.as, 0x5090, "xyz", 3);
    g_assert_cmpuint(p->code_gen, ==, ++gen);
    address_space_poke(rig.as, 0x50c0, "xyz", 3);
    g_assert_cmpuint(p->code_gen, ==, ++gen);
    region_write(&mem, 0x100, 4, 1);
    g_assert_cmpuint(p->code_gen, ==, ++gen);
    g_assert_cmpuint(address_space_load(rig.as, 0x5000, 8), ==, 0);
    g_assert_cmpuint(p->code_gen, ==, gen);
    region_drop(&mem);
    ram_block_unref(ram);
    rig_close(&rig);
}

/* Threads. */

enum { N_READERS = 3, N_SWAPS = 300 };

typedef struct Reader {
    Rig          *rig;
    _Atomic bool *stop;
    unsigned      seed;
    uint64_t      loads;
} Reader;

/* Two blocks take turns at one address, and devices behind them; each block holds its own byte everywhere. */
static gpointer reader_run(gpointer opaque)
{
    Reader *r = opaque;
    uint8_t buf[64];
    rcu_thread_register();
    while (!*r->stop) {
        r->seed       = r->seed * 1103515245 + 12345;
        uint64_t addr = 0x1000 + (r->seed >> 8) % 0xf00;
        uint64_t word = address_space_load(r->rig->as, addr, 4);
        g_assert_true(word == 0x11111111 || word == 0x22222222);
        g_assert_cmpint(dma_read(r->rig->as, addr, buf, sizeof buf), ==, MEM_OK);
        g_assert_true(buf[0] == buf[63] && (buf[0] == 0x11 || buf[0] == 0x22));
        g_assert_cmpint(dma_write(r->rig->as, 0x8000 + (r->seed >> 8) % 0xf00, buf, 8), ==, MEM_OK);
        word = address_space_load(r->rig->as, 0x4000, 4);
        g_assert_true(word == 0xffffffff || word == 0x03020100);
        word = address_space_load(r->rig->as, 0x5000, 4);
        g_assert_true(word == 0xffffffff || word == 0x03020100);
        r->loads++;
    }
    rcu_thread_unregister();
    return NULL;
}

static uint64_t quiet_read(void *opaque, uint64_t offset, unsigned size)
{
    int *state = opaque;
    g_assert_cmpint(*state, ==, 42);
    return 0x03020100;
}

static void test_readers(void)
{
    static const IoOps locked   = { .name = "locked", .access = IO_LONG, .read = quiet_read };
    static const IoOps lockless = { .name = "lockless", .access = IO_LONG, .read = quiet_read, .lockless = true };
    Rig                rig;
    Region             fixed;
    _Atomic bool       stop = false;
    Reader             readers[N_READERS];
    GThread           *threads[N_READERS];
    RamBlock          *other = ram_new(0x1000), *blocks[2];
    Region            *views[2];
    rig_open(&rig);
    region_init_ram(&fixed, rig.memory, "fixed", other, 0, 0x1000);
    region_map(&rig.root, 0x8000, &fixed, 0);
    for (int i = 0; i < 2; i++) {
        blocks[i] = ram_new(0x1000);
        memset(blocks[i]->host, 0x11 * (i + 1), 0x1000);
        views[i] = g_new(Region, 1);
        region_init_ram(views[i], rig.memory, "view", blocks[i], 0, 0x1000);
        region_map(&rig.root, 0x1000, views[i], i);
    }
    for (int i = 0; i < N_READERS; i++) {
        readers[i] = (Reader){ .rig = &rig, .stop = &stop, .seed = 1 + i };
        threads[i] = g_thread_new("reader", reader_run, &readers[i]);
    }
    for (int i = 0; i < N_SWAPS; i++) {
        /* Devices that come, are used, go and are freed at once. */
        Region *dev[2];
        int    *state[2];
        for (int k = 0; k < 2; k++) {
            dev[k]    = g_new(Region, 1);
            state[k]  = g_new(int, 1);
            *state[k] = 42;
            region_init_io(dev[k], rig.memory, "dev", 0x10, k ? &lockless : &locked, state[k]);
            region_map(&rig.root, 0x4000 + 0x1000 * k, dev[k], 0);
        }
        int depth = machine_lock_drop(&rig.lock);
        g_thread_yield();
        machine_lock_restore(&rig.lock, depth);

        region_set_enabled(views[1], i & 1);
        for (int k = 0; k < 2; k++) {
            region_drop(dev[k]);
            *state[k] = 0;
            g_free(dev[k]);
            g_free(state[k]);
        }
        /* So do RAM blocks: a fresh one in the place of view 1 while it is hidden. */
        if (!(i & 1)) {
            region_drop(views[1]);
            ram_block_unref(blocks[1]);
            blocks[1] = ram_new(0x1000);
            memset(blocks[1]->host, 0x22, 0x1000);
            region_init_ram(views[1], rig.memory, "view", blocks[1], 0, 0x1000);
            region_set_enabled(views[1], false);
            region_map(&rig.root, 0x1000, views[1], 1);
        }
    }
    stop      = true;
    int depth = machine_lock_drop(&rig.lock);
    for (int i = 0; i < N_READERS; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpuint(readers[i].loads, >, 0);
    }
    machine_lock_restore(&rig.lock, depth);
    for (int i = 0; i < 2; i++) {
        region_drop(views[i]);
        ram_block_unref(blocks[i]);
        g_free(views[i]);
    }
    region_drop(&fixed);
    ram_block_unref(other);
    rig_close(&rig);
}

/* A region is not gone before the callbacks that other threads are in have returned: lockless ones, and ones that
 * have given up the machine lock for a wait. */
typedef struct Visit {
    Rig         *rig;
    Probe       *probe;
    _Atomic bool inside, leave, left;
} Visit;

static Visit *visit; /* the one of the test that runs */

static void linger(Probe *p)
{
    int depth     = p->ops.lockless ? 0 : machine_lock_drop(&p->rig->lock);
    visit->inside = true;
    while (!visit->leave) {
        g_usleep(100);
    }
    if (depth) {
        machine_lock_restore(&p->rig->lock, depth);
    }
    visit->left = true;
}

static gpointer visitor_run(gpointer opaque)
{
    Visit *v = opaque;
    address_space_load(v->rig->as, 0, 4);
    return NULL;
}

static gpointer opener_run(gpointer opaque)
{
    Visit *v = opaque;
    g_usleep(5000);
    g_assert_false(v->left);
    v->leave = true;
    return NULL;
}

static void test_destroy_waits(void)
{
    for (int lockless = 0; lockless < 2; lockless++) {
        Rig   rig;
        Probe p;
        Visit v = { .rig = &rig, .probe = &p };
        rig_open(&rig);
        probe_open(&p, &rig, 0x10, IO_LONG, 0, false);
        p.ops.lockless = lockless;
        p.inside       = linger;
        visit          = &v;
        region_map(&rig.root, 0, &p.region, 0);

        int      depth   = machine_lock_drop(&rig.lock);
        GThread *visitor = g_thread_new("visitor", visitor_run, &v);
        while (!v.inside) {
            g_usleep(100);
        }
        machine_lock_restore(&rig.lock, depth);
        GThread *opener = g_thread_new("opener", opener_run, &v);
        region_unmap(&p.region);
        region_destroy(&p.region);
        g_assert_true(v.left);
        g_thread_join(visitor);
        g_thread_join(opener);
        probe_close(&p);
        rig_close(&rig);
    }
}

/* Code marks against writers: code made of bytes that a writer has replaced is stale or was made of the new ones. */
typedef struct Coder {
    RamBlock    *ram;
    _Atomic bool stop;
} Coder;

static gpointer code_writer(gpointer opaque)
{
    Coder   *c = opaque;
    uint32_t n = 0;
    while (!c->stop) {
        n++;
        ram_copy_in(c->ram->host, &n, 4);
        ram_block_written(c->ram, 0, 4);
    }
    return NULL;
}

static void test_code_threads(void)
{
    Coder    c      = { .ram = ram_new(0x1000) };
    GThread *thread = g_thread_new("writer", code_writer, &c);
    RamPage *p      = ram_block_page(c.ram, 0);
    uint32_t cached = 0, gen = 0, now;
    unsigned renewed = 0;
    bool     valid   = false;
    for (int i = 0; i < 200000 || renewed < 100; i++) {
        if (!valid || p->code_gen != gen) {
            gen = p->code_gen;
            ram_block_mark_code(c.ram, 0, 4);
            ram_copy_out(&cached, c.ram->host, 4);
            valid = true;
            renewed++;
        }
    }
    /* Once the writer stands still, what is not stale is right. */
    c.stop = true;
    g_thread_join(thread);
    ram_copy_out(&now, c.ram->host, 4);
    g_assert_true(p->code_gen != gen || cached == now);
    ram_block_unref(c.ram);
}

/* Pages mapped a second time show the same memory, both ways; not more of them than the host can bear. */
static void test_ram_aliases(void)
{
    enum { PAGE = 4096, HUGE = 2 << 20, HUGES = 8 };
    g_auto(Error) err = { 0 };
    RamBlock *ram     = ram_block_new("ram", HUGES * HUGE, &err);
    uint8_t  *at      = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    g_assert_true(at != MAP_FAILED);
    ram->host[5 * PAGE + 7] = 1;
    ram->host[3 * PAGE + 9] = 2;
    g_assert_false(ram_block_has_alias(ram, 5 * PAGE));
    g_assert_true(ram_block_make_alias(ram, 5 * PAGE));
    g_assert_true(ram_block_make_alias(ram, 3 * PAGE));
    g_assert_true(ram_block_make_alias(ram, 3 * PAGE));
    g_assert_true(ram_block_has_alias(ram, 5 * PAGE));
    g_assert_false(ram_block_has_alias(ram, 4 * PAGE));
    g_assert_true(ram_block_map_alias(ram, 5 * PAGE, at));
    g_assert_true(ram_block_map_alias(ram, 3 * PAGE, at + PAGE));
    g_assert_cmpint(at[7], ==, 1);
    g_assert_cmpint(at[PAGE + 9], ==, 2);
    at[8]                   = 3;
    ram->host[3 * PAGE + 1] = 4;
    g_assert_cmpint(ram->host[5 * PAGE + 8], ==, 3);
    g_assert_cmpint(at[PAGE + 1], ==, 4);

    unsigned n = 0;
    for (unsigned i = 0; i < HUGES; i++) {
        n += ram_block_make_alias(ram, (uint64_t)i * HUGE);
    }
    g_assert_cmpint(n, ==, 4);
    munmap(at, 2 * PAGE);
    ram_block_unref(ram);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/memory-ram/ram", test_ram);
    g_test_add_func("/memory-ram/ram-aliases", test_ram_aliases);
    g_test_add_func("/memory-ram/code", test_code);
    g_test_add_func("/memory-ram/code-writers", test_code_writers);
    g_test_add_func("/memory-ram/destroy-waits", test_destroy_waits);
    g_test_add_func("/memory-ram/readers", test_readers);
    g_test_add_func("/memory-ram/code-threads", test_code_threads);
    return g_test_run();
}
