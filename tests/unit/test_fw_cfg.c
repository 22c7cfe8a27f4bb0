/* fw_cfg: items, files and their directory, ports, DMA and what is wrong with DMA requests, writable files, state. */

#include "base/bytes.h"
#include "devices/misc/fw_cfg.h"
#include "platform.h"

typedef struct Rig {
    TestPlatform t;
    FwCfg       *fw;
    unsigned     selected, written;
    size_t       written_offset, written_len;
} Rig;

static void open_rig(Rig *r)
{
    g_auto(Error) err = {};
    test_platform_open(&r->t);
    r->fw       = fw_cfg_create(&r->t.p, &err);
    r->selected = r->written = 0;
    g_assert_nonnull(r->fw);
    devices_reset(&r->t.p, RESET_COLD);
}

static void close_rig(Rig *r)
{
    test_platform_close(&r->t);
}

static void add(Rig *r, const char *name, const char *text)
{
    g_auto(Error) err      = {};
    g_autoptr(GBytes) data = g_bytes_new(text, strlen(text));
    g_assert_true(fw_cfg_add_file(r->fw, name, data, &err));
}

static void read_item(Rig *r, uint16_t key, uint8_t *to, size_t len)
{
    out16(&r->t, 0x510, key);
    for (size_t i = 0; i < len; i++) {
        to[i] = in8(&r->t, 0x511);
    }
}

/* Runs a request; returns its control field afterwards. */
static uint32_t dma(Rig *r, uint32_t control, uint32_t length, uint64_t address)
{
    uint8_t request[16];
    store_be32(request, control);
    store_be32(request + 4, length);
    store_be64(request + 8, address);
    g_assert_cmpint(dma_write(r->t.p.memory_space, 0x1000, request, sizeof request), ==, MEM_OK);
    out32(&r->t, 0x514, 0);
    out32(&r->t, 0x518, GUINT32_TO_BE(0x1000));
    return GUINT32_FROM_BE((uint32_t)mem_load(&r->t, 0x1000, 4));
}

static void test_items(void)
{
    Rig     r;
    uint8_t buf[8];
    open_rig(&r);
    read_item(&r, FW_CFG_SIGNATURE, buf, 6);
    g_assert_cmpmem(buf, 6, "QEMU\0\0", 6); /* behind the end: zeros */
    read_item(&r, FW_CFG_ID, buf, 4);
    g_assert_cmpuint(load_le32(buf), ==, 3);
    fw_cfg_add_i16(r.fw, FW_CFG_NB_CPUS, 0x1234);
    fw_cfg_add_i64(r.fw, FW_CFG_RAM_SIZE, UINT64_C(0x123456789abcdef0));
    fw_cfg_add_string(r.fw, FW_CFG_CMDLINE_DATA, "quiet");
    fw_cfg_add_i32(r.fw, FW_CFG_IRQ0_OVERRIDE, 1);
    read_item(&r, FW_CFG_NB_CPUS, buf, 2);
    g_assert_cmphex(load_le16(buf), ==, 0x1234);
    read_item(&r, FW_CFG_RAM_SIZE, buf, 8);
    g_assert_cmphex(load_le64(buf), ==, UINT64_C(0x123456789abcdef0));
    read_item(&r, FW_CFG_CMDLINE_DATA, buf, 6);
    g_assert_cmpstr((char *)buf, ==, "quiet");
    read_item(&r, FW_CFG_IRQ0_OVERRIDE, buf, 4);
    g_assert_cmpuint(load_le32(buf), ==, 1);
    fw_cfg_add_i16(r.fw, FW_CFG_NB_CPUS, 7); /* replaces */
    read_item(&r, FW_CFG_NB_CPUS, buf, 2);
    g_assert_cmphex(load_le16(buf), ==, 7);
    read_item(&r, 0x1f, buf, 2); /* empty, and not there at all */
    g_assert_cmphex(load_le16(buf), ==, 0);
    read_item(&r, 0x3fff, buf, 2);
    g_assert_cmphex(load_le16(buf), ==, 0);
    read_item(&r, 0x8fff, buf, 2);
    g_assert_cmphex(load_le16(buf), ==, 0);
    close_rig(&r);
}

static void test_files(void)
{
    Rig      r;
    uint8_t  dir[4 + 3 * 64], buf[4];
    uint16_t key;
    size_t   len;
    g_auto(Error) err = {};
    open_rig(&r);
    add(&r, "opt/b", "bb");
    add(&r, "etc/z", "zzz");
    add(&r, "opt/a", "a");
    read_item(&r, FW_CFG_FILE_DIR, dir, sizeof dir);
    g_assert_cmpuint(load_be32(dir), ==, 3);
    static const char *const names[] = { "etc/z", "opt/a", "opt/b" }; /* sorted */
    static const unsigned    sizes[] = { 3, 1, 2 };
    for (unsigned i = 0; i < 3; i++) {
        const uint8_t *entry = dir + 4 + 64 * i;
        g_assert_cmpuint(load_be32(entry), ==, sizes[i]);
        g_assert_cmpuint(load_be16(entry + 4), ==, 0x20 + i);
        g_assert_cmpstr((const char *)entry + 8, ==, names[i]);
        g_assert_cmpstr(fw_cfg_file_name(r.fw, i, &key), ==, names[i]);
        g_assert_cmpuint(key, ==, 0x20 + i);
    }
    read_item(&r, 0x22, buf, 3);
    g_assert_cmpmem(buf, 3, "bb\0", 3);
    add(&r, "opt/b", "new"); /* replaces */
    g_assert_cmpuint(fw_cfg_n_files(r.fw), ==, 3);
    g_assert_cmpmem(fw_cfg_file(r.fw, "opt/b", &len), 3, "new", 3);
    g_assert_cmpuint(len, ==, 3);
    g_assert_null(fw_cfg_file(r.fw, "opt/c", &len));
    g_autoptr(GBytes) none = g_bytes_new(NULL, 0);
    char name[57];
    memset(name, 'x', 56);
    name[56] = 0;
    g_assert_false(fw_cfg_add_file(r.fw, name, none, &err));
    error_clear(&err);
    name[55] = 0;
    g_assert_true(fw_cfg_add_file(r.fw, name, none, &err));
    unsigned n = 0;
    for (; n < 200; n++) {
        g_autofree char *file = g_strdup_printf("f%u", n);
        if (!fw_cfg_add_file(r.fw, file, none, &err)) {
            break;
        }
    }
    g_assert_cmpuint(n, ==, 60); /* 64 slots */
    close_rig(&r);
}

static void test_ports(void)
{
    Rig r;
    open_rig(&r);
    g_assert_cmphex(GUINT32_FROM_BE(in32(&r.t, 0x514)), ==, 0x51454d55);
    g_assert_cmphex(GUINT32_FROM_BE(in32(&r.t, 0x518)), ==, 0x20434647);
    g_assert_cmphex(in8(&r.t, 0x515), ==, 'E');
    out16(&r.t, 0x510, FW_CFG_SIGNATURE);
    out8(&r.t, 0x511, 0xaa); /* no effect */
    out8(&r.t, 0x510, 0x19);
    g_assert_cmphex(in8(&r.t, 0x511), ==, 'Q');
    close_rig(&r);
}

static void test_dma(void)
{
    Rig      r;
    uint8_t *ram;
    open_rig(&r);
    ram = r.t.ram->host;
    add(&r, "opt/a", "0123456789");
    memset(ram + 0x2000, 0xee, 64);
    g_assert_cmphex(dma(&r, 0x20u << 16 | 8 | 2, 4, 0x2000), ==, 0); /* select and read */
    g_assert_cmpmem(ram + 0x2000, 5, "0123\xee", 5);
    g_assert_cmphex(dma(&r, 4, 2, 0), ==, 0); /* skip */
    g_assert_cmphex(dma(&r, 2, 8, 0x2000), ==, 0);
    g_assert_cmpmem(ram + 0x2000, 9, "6789\0\0\0\0\xee", 9);
    g_assert_cmphex(in8(&r.t, 0x511), ==, 0);                          /* the port goes on where DMA stopped */
    g_assert_cmphex(dma(&r, 0x3fffu << 16 | 8 | 2, 4, 0x2000), ==, 0); /* nothing there: zeros */
    g_assert_cmpmem(ram + 0x2000, 4, "\0\0\0", 4);
    g_assert_cmphex(dma(&r, 0x20u << 16 | 8 | 16, 1, 0x2000), ==, 1);           /* not writable */
    g_assert_cmphex(dma(&r, 0x20u << 16 | 8 | 2, 4, TEST_RAM_SIZE - 2), ==, 1); /* no RAM there */
    g_assert_cmphex(dma(&r, 0x20u << 16 | 8 | 2, 4, UINT64_MAX - 1), ==, 1);    /* wraps */
    g_assert_cmphex(dma(&r, 0x20u << 16 | 8 | 2, UINT32_MAX, 0x2000), ==, 1);   /* absurd */
    g_assert_cmphex(dma(&r, 0x20u << 16 | 8, 0, 0), ==, 0);                     /* selects alone */
    g_assert_cmphex(in8(&r.t, 0x511), ==, '0');
    out32(&r.t, 0x514, GUINT32_TO_BE(0xffffffff)); /* a request nowhere */
    out32(&r.t, 0x518, 0);
    close_rig(&r);
}

static void on_select(void *opaque)
{
    Rig *r = opaque;
    r->selected++;
    add(r, "etc/table", "fresh");
}

static void on_written(void *opaque, const uint8_t *data, size_t offset, size_t len)
{
    Rig *r            = opaque;
    r->written_offset = offset;
    r->written_len    = len;
    r->written++;
}

static void test_callbacks(void)
{
    Rig r;
    g_auto(Error) err = {};
    uint8_t buf[5];
    size_t  len;
    open_rig(&r);
    g_autoptr(GBytes) stale = g_bytes_new_static("stale", 5), zero = g_bytes_new_static("\0\0\0\0\0\0\0", 8);
    FwCfgFileOps table = { .select = on_select, .opaque = &r }, pointer = { .written = on_written, .opaque = &r };
    g_assert_true(fw_cfg_add_file_ops(r.fw, "etc/table", stale, false, &table, &err));
    g_assert_true(fw_cfg_add_file_ops(r.fw, "etc/pointer", zero, true, &pointer, &err));
    read_item(&r, 0x21, buf, 5);
    g_assert_cmpuint(r.selected, ==, 1);
    g_assert_cmpmem(buf, 5, "fresh", 5);

    memcpy(r.t.ram->host + 0x3000, "ABCDEFGHI", 9);
    g_assert_cmphex(dma(&r, 0x20u << 16 | 8 | 4, 2, 0), ==, 0);
    g_assert_cmphex(dma(&r, 16, 3, 0x3000), ==, 0);
    g_assert_cmpuint(r.written, ==, 1);
    g_assert_cmpuint(r.written_offset, ==, 2);
    g_assert_cmpuint(r.written_len, ==, 3);
    g_assert_cmpmem(fw_cfg_file(r.fw, "etc/pointer", &len), 8, "\0\0ABC\0\0\0", 8);
    g_assert_cmphex(dma(&r, 16, 4, 0x3000), ==, 1); /* over the end: nothing of it */
    g_assert_cmpuint(r.written, ==, 1);
    g_assert_cmphex(g_bytes_get_size(zero), ==, 8);
    g_assert_cmpmem(g_bytes_get_data(zero, NULL), 8, "\0\0\0\0\0\0\0", 8); /* the board's copy is its own */
    test_save_load((Device *)r.fw);
    g_assert_cmpmem(fw_cfg_file(r.fw, "etc/pointer", &len), 8, "\0\0ABC\0\0\0", 8);
    close_rig(&r);
}

static void test_state(void)
{
    Rig r;
    open_rig(&r);
    add(&r, "opt/a", "0123456789");
    GByteArray *fresh = test_saved((Device *)r.fw);
    out16(&r.t, 0x510, 0x20);
    in8(&r.t, 0x511);
    out32(&r.t, 0x514, 0x12345678);
    test_save_load((Device *)r.fw);
    g_assert_cmphex(in8(&r.t, 0x511), ==, '1');
    test_reset_is((Device *)r.fw, fresh);
    close_rig(&r);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/fw_cfg/items", test_items);
    g_test_add_func("/fw_cfg/files", test_files);
    g_test_add_func("/fw_cfg/ports", test_ports);
    g_test_add_func("/fw_cfg/dma", test_dma);
    g_test_add_func("/fw_cfg/callbacks", test_callbacks);
    g_test_add_func("/fw_cfg/state", test_state);
    return g_test_run();
}
