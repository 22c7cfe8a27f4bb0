/* Kernel loaders: what they make of good files, and that bad ones are refused with a reason.
 * Files are made here, byte by byte; each good one is also truncated at every length and bent at every byte, which
 * must never do worse than an error. */

#include "machine/boot.h"
#include "machine/bootorder.h"
#include "machine/elf.h"

#include "base/bytes.h"
#include "base/text.h"

#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

static MemoryMap sample_map(uint64_t ram)
{
    MemoryMap map = { 0 };
    memory_map_add(&map, 0, ram, MEMORY_RAM);
    memory_map_add(&map, 0x9fc00, 0x400, MEMORY_RESERVED);
    memory_map_add(&map, 0xa0000, 0x60000, MEMORY_RESERVED);
    memory_map_add(&map, ram - 0x20000, 0x20000, MEMORY_ACPI);
    return map;
}

static const BootPiece *find_piece(const BootImage *image, const char *what)
{
    for (guint i = 0; i < image->pieces->len; i++) {
        const BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        if (strcmp(p->what, what) == 0) {
            return p;
        }
    }
    return NULL;
}

/* No two pieces overlap (one of the same kind may), and all lie in RAM. */
static void check_pieces(const BootImage *image)
{
    for (guint i = 0; i < image->pieces->len; i++) {
        const BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        g_assert_true(memory_map_is_ram(image->map, p->addr, p->size));
        g_assert_cmpuint(p->len, <=, p->size);
        for (guint j = 0; j < i; j++) {
            const BootPiece *q = &g_array_index(image->pieces, BootPiece, j);
            g_assert_true(strcmp(p->what, q->what) == 0 || p->addr >= q->addr + q->size ||
                          q->addr >= p->addr + p->size);
        }
        for (uint64_t at = 0; at < p->len; at += 4096) {
            volatile uint8_t touch = p->data[at];
            (void)touch;
        }
    }
}

static BootImage *load(const void *data, size_t size, const BootOptions *options, const MemoryMap *map, Error *err)
{
    BootImage *image = boot_load_file(boot_file_from_memory("test-kernel", data, size), options, map, err);
    if (image) {
        check_pieces(image);
    }
    return image;
}

static char *temporary_file(const char *contents)
{
    char *path = g_build_filename(g_get_tmp_dir(), "quern-test-loader-XXXXXX", NULL);
    int   fd   = g_mkstemp(path);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, contents, strlen(contents)), ==, (ssize_t)strlen(contents));
    close(fd);
    return path;
}

/* ---- Samples ---- */

enum { BZIMAGE_SIZE = 5 * 512 + 8192 };

static uint8_t *make_bzimage(size_t *size)
{
    uint8_t *d = g_malloc0(BZIMAGE_SIZE);
    *size      = BZIMAGE_SIZE;
    d[0x1f1]   = 4;
    store_le32(d + 0x1f4, 8192 / 16);
    store_le16(d + 0x1fe, 0xaa55);
    d[0x201] = 0x6a;
    memcpy(d + 0x202, "HdrS", 4);
    store_le16(d + 0x206, 0x020f);
    d[0x211] = 1;
    store_le32(d + 0x22c, 0x7fffffff);
    store_le32(d + 0x230, 0x200000);
    d[0x234] = 1;
    store_le16(d + 0x236, 1);
    store_le32(d + 0x238, 2047);
    store_le64(d + 0x258, 0x1000000);
    store_le32(d + 0x260, 0x100000);
    memset(d + 5 * 512, 0x90, 8192);
    return d;
}

/* An ELF file with one loaded segment at `paddr`, and a PVH note when asked for. */
static uint8_t *make_elf(bool is64, bool note, uint64_t paddr, uint64_t memory, size_t *size)
{
    enum { NOTE_AT = 0x200, TEXT_AT = 0x400, TOTAL = 0x800 };
    uint8_t *d = g_malloc0(TOTAL);
    *size      = TOTAL;
    memcpy(d, "\177ELF", 4);
    d[4] = is64 ? 2 : 1;
    d[5] = d[6] = 1;
    store_le16(d + 16, 2);
    store_le16(d + 18, is64 ? 62 : 3);
    unsigned ph = is64 ? 64 : 52, ph_size = is64 ? 56 : 32;
    if (is64) {
        store_le64(d + 24, paddr);
        store_le64(d + 32, ph);
        store_le16(d + 54, (uint16_t)ph_size);
        store_le16(d + 56, 2);
    } else {
        store_le32(d + 24, (uint32_t)paddr);
        store_le32(d + 28, ph);
        store_le16(d + 42, (uint16_t)ph_size);
        store_le16(d + 44, 2);
    }
    for (unsigned i = 0; i < 2; i++) {
        uint8_t *p    = d + ph + i * ph_size;
        uint64_t file = i ? NOTE_AT : TEXT_AT, len = i ? 24 : 0x400, mem = i ? 24 : memory;
        store_le32(p, i ? (note ? 4 : 0) : 1);
        if (is64) {
            store_le64(p + 8, file);
            store_le64(p + 16, paddr);
            store_le64(p + 24, paddr);
            store_le64(p + 32, len);
            store_le64(p + 40, mem);
            store_le64(p + 48, 4);
        } else {
            store_le32(p + 4, (uint32_t)file);
            store_le32(p + 8, (uint32_t)paddr);
            store_le32(p + 12, (uint32_t)paddr);
            store_le32(p + 16, (uint32_t)len);
            store_le32(p + 20, (uint32_t)mem);
            store_le32(p + 28, 4);
        }
    }
    store_le32(d + NOTE_AT, 4);
    store_le32(d + NOTE_AT + 4, is64 ? 8 : 4);
    store_le32(d + NOTE_AT + 8, 18);
    memcpy(d + NOTE_AT + 12, "Xen", 4);
    store_le32(d + NOTE_AT + 16, (uint32_t)paddr + 0x10);
    return d;
}

static void put_multiboot_header(uint8_t *at, uint32_t flags)
{
    store_le32(at, 0x1badb002);
    store_le32(at + 4, flags);
    store_le32(at + 8, 0u - 0x1badb002 - flags);
}

/* ---- Memory map ---- */

static void test_memory_map(void)
{
    MemoryMap map = sample_map(64 * MiB);
    g_assert_cmpuint(map.n, ==, 5);
    g_assert_true(memory_map_is_ram(&map, 0, 0x9fc00));
    g_assert_false(memory_map_is_ram(&map, 0, 0x9fc01));
    g_assert_true(memory_map_is_ram(&map, MiB, 63 * MiB - 0x20000));
    g_assert_false(memory_map_is_ram(&map, MiB, 63 * MiB));
    g_assert_false(memory_map_is_ram(&map, UINT64_MAX, 2));
    for (unsigned i = 1; i < map.n; i++) {
        g_assert_cmpuint(map.ranges[i].addr, ==, map.ranges[i - 1].addr + map.ranges[i - 1].len);
    }
}

/* ---- Linux ---- */

static void test_linux(void)
{
    g_auto(Error) err = { 0 };
    size_t              size;
    g_autofree uint8_t *kernel  = make_bzimage(&size);
    g_autofree char    *initrd  = temporary_file("initial RAM disk");
    BootOptions         options = { .append = "console=ttyS0", .initrd = initrd, .rsdp = 0xf0000 };
    MemoryMap           map     = sample_map(64 * MiB);
    BootImage          *image   = load(kernel, size, &options, &map, &err);
    g_assert_nonnull(image);
    g_assert_cmpstr(image->protocol, ==, "Linux");
    g_assert_cmpint(image->entry_mode, ==, BOOT_ENTRY_LONG64);
    g_assert_cmpuint(image->entry, ==, 0x1000200);
    const BootPiece *params = find_piece(image, "boot parameters");
    g_assert_cmpuint(params->addr, ==, image->rsi);
    g_assert_cmpuint(load_le64(params->data + 0x70), ==, 0xf0000);
    g_assert_cmpuint(params->data[0x1e8], ==, 5);
    g_assert_cmpuint(params->data[0x210], ==, 0xff);
    g_assert_cmpuint(params->data[0x1ef], ==, 0);
    const BootPiece *disk = find_piece(image, "initrd");
    g_assert_cmpuint(load_le32(params->data + 0x218), ==, disk->addr);
    g_assert_cmpuint(load_le32(params->data + 0x21c), ==, 16);
    g_assert_cmpmem(disk->data, disk->len, "initial RAM disk", 16);
    g_assert_cmpstr((const char *)find_piece(image, "command line")->data, ==, "console=ttyS0");
    g_assert_cmpuint(image->page_tables, !=, 0);
    boot_image_free(image);

    map   = sample_map(14 * MiB); /* its preferred place does not exist: it moves */
    image = load(kernel, size, &options, &map, &err);
    g_assert_nonnull(image);
    g_assert_cmpuint(find_piece(image, "kernel")->addr, ==, 0x200000);
    boot_image_free(image);

    store_le16(kernel + 0x236, 0); /* a 32-bit kernel */
    image = load(kernel, size, &options, &map, &err);
    g_assert_nonnull(image);
    g_assert_cmpint(image->entry_mode, ==, BOOT_ENTRY_PROTECTED32);
    g_assert_cmpuint(image->entry, ==, 0x200000);
    boot_image_free(image);
    g_unlink(initrd);
}

static void expect_failure(const void *data, size_t size, const BootOptions *options, uint64_t ram, const char *text)
{
    g_auto(Error) err = { 0 };
    MemoryMap  map    = sample_map(ram);
    BootImage *image  = load(data, size, options, &map, &err);
    if (image) {
        g_error("accepted; expected '%s'", text);
    }
    if (!strstr(err.text, text) || !g_str_has_prefix(err.text, "-kernel test-kernel: ")) {
        g_error("'%s' does not say '%s'", err.text, text);
    }
}

static void test_linux_refusals(void)
{
    size_t              size;
    g_autofree uint8_t *kernel = make_bzimage(&size);
    g_autofree char    *line   = g_strnfill(3000, 'x');
    BootOptions         plain  = { 0 };

    expect_failure(kernel, size, &(BootOptions){ .append = line }, 64 * MiB, "-append has 3000 characters");
    expect_failure(kernel, size, &(BootOptions){ .initrd = "/nonexistent" }, 64 * MiB, "/nonexistent");
    expect_failure(kernel, size, &plain, 2 * MiB, "no room in guest RAM for the kernel");
    expect_failure(kernel, size - 16, &plain, 64 * MiB, "truncated");
    expect_failure(kernel, 2560, &plain, 64 * MiB, "truncated");
    kernel[0x211] = 0;
    expect_failure(kernel, size, &plain, 64 * MiB, "16-bit mode");
    kernel[0x211] = 1;
    store_le16(kernel + 0x206, 0x0201);
    expect_failure(kernel, size, &plain, 64 * MiB, "16-bit mode");
    store_le16(kernel + 0x206, 0x020f);
    kernel[0x234] = 0;
    expect_failure(kernel, size, &plain, 12 * MiB, "not all RAM");
    expect_failure("hello, world", 12, &plain, 64 * MiB, "none of bzImage");
    expect_failure("\x1f\x8b\x08\x00", 4, &plain, 64 * MiB, "gzip");
}

/* The parts that firmware loads. */
static void test_linux16(void)
{
    g_auto(Error) err = { 0 };
    size_t              size;
    g_autofree uint8_t *data    = make_bzimage(&size);
    g_autofree char    *initrd  = temporary_file("initial RAM disk");
    g_autofree char    *kernel  = temporary_file("");
    BootOptions         options = { .kernel = kernel, .append = "vga=ext quiet", .initrd = initrd };
    Linux16             parts;

    g_assert_true(g_file_set_contents(kernel, (const char *)data, (gssize)size, NULL));
    g_assert_true(linux16_load(&parts, &options, 64 * MiB, &err));
    g_assert_cmpuint(parts.setup_size, ==, 5 * 512);
    g_assert_cmpmem(parts.kernel, parts.kernel_size, data + 5 * 512, 8192);
    g_assert_cmpuint(load_le32(parts.setup + 0x228), ==, parts.cmdline_addr);
    g_assert_cmpuint(load_le32(parts.setup + 0x218), ==, parts.initrd_addr);
    g_assert_cmpuint(load_le32(parts.setup + 0x21c), ==, 16);
    g_assert_cmpuint(parts.initrd_addr, ==, 64 * MiB - 0x20000 - 4096);
    g_assert_cmpuint(load_le16(parts.setup + 0x1fa), ==, 0xfffe);
    g_assert_cmpuint(parts.setup[0x211], ==, 0x81);
    g_assert_cmpstr(parts.cmdline, ==, "vga=ext quiet");
    linux16_clear(&parts);

    g_assert_false(linux16_load(&parts, &options, 16 * MiB, &err));
    g_assert_nonnull(strstr(err.text, "no room in guest RAM for the initrd"));
    error_clear(&err);
    data[0x1f1] = 255; /* more set-up code than there is room for, or than the file has */
    g_assert_true(g_file_set_contents(kernel, (const char *)data, (gssize)size, NULL));
    g_assert_false(linux16_load(&parts, &options, 64 * MiB, &err));
    g_assert_nonnull(strstr(err.text, "truncated"));
    g_unlink(initrd);
    g_unlink(kernel);
}

static void test_boot_order(void)
{
    g_auto(Error) err = { 0 };
    BootOrder order   = { 0 };

    g_assert_null(boot_order_file(&order, true));
    g_assert_true(boot_order_add(&order, -1, "never", &err));
    g_assert_true(boot_order_add(&order, 7, "last", &err));
    g_assert_true(boot_order_add(&order, 0, "first", &err));
    g_assert_true(boot_order_add(&order, 3, "middle", &err));
    g_assert_false(boot_order_add(&order, 3, "other", &err));
    g_assert_cmpstr(err.text, ==, "bootindex=3 is that of middle already");
    for (unsigned strict = 0; strict < 2; strict++) {
        static const char text[] = "first\nmiddle\nlast", whole[] = "first\nmiddle\nlast\nHALT";
        g_autoptr(GBytes) file = boot_order_file(&order, strict);
        g_autoptr(GBytes) expected =
            strict ? g_bytes_new_static(whole, sizeof whole) : g_bytes_new_static(text, sizeof text);
        g_assert_true(g_bytes_equal(file, expected));
    }
    boot_order_clear(&order);
}

static void test_boot_letters(void)
{
    static const struct {
        const char *letters;
        uint8_t     first_two, third;
        const char *wrong;
    } rows[] = { { "cad", 0x12, 0x30 },
                 { "", 0, 0 },
                 { "n", 4, 0 },
                 { "bdn", 0x31, 0x40 },
                 { "abc", 0x11, 0x20 },
                 { .letters = "cdan", .wrong = "three" },
                 { .letters = "aba", .wrong = "twice" },
                 { .letters = "ce", .wrong = "'e' is no drive" } };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        g_auto(Error) err = { 0 };
        uint8_t first_two, third;
        bool    good = boot_order_cmos(rows[i].letters, &first_two, &third, &err);
        g_assert_true(good == !rows[i].wrong);
        g_assert_true(good ? first_two == rows[i].first_two && third == rows[i].third
                           : strstr(err.text, rows[i].wrong) != NULL);
    }
}

/* ---- PVH ---- */

static void test_pvh(void)
{
    for (unsigned is64 = 0; is64 < 2; is64++) {
        g_auto(Error) err = { 0 };
        size_t              size;
        g_autofree uint8_t *elf     = make_elf(is64, true, 0x1000000, 0x3000, &size);
        g_autofree char    *initrd  = temporary_file("disk");
        BootOptions         options = { .append = "quiet", .initrd = initrd, .rsdp = 0xe0010 };
        MemoryMap           map     = sample_map(64 * MiB);
        BootImage          *image   = load(elf, size, &options, &map, &err);
        g_assert_nonnull(image);
        g_assert_cmpstr(image->protocol, ==, "PVH");
        g_assert_cmpuint(image->entry, ==, 0x1000010);
        const BootPiece *info = find_piece(image, "start info");
        g_assert_cmpuint(image->rbx, ==, info->addr);
        g_assert_cmpuint(load_le32(info->data), ==, 0x336ec578);
        g_assert_cmpuint(load_le64(info->data + 32), ==, 0xe0010);
        g_assert_cmpuint(load_le32(info->data + 48), ==, map.n);
        g_assert_cmpstr((const char *)info->data + (load_le64(info->data + 24) - info->addr), ==, "quiet");
        const uint8_t *module = info->data + (load_le64(info->data + 16) - info->addr);
        g_assert_cmpuint(load_le64(module), ==, find_piece(image, "initrd")->addr);
        g_assert_cmpuint(load_le64(module + 8), ==, 4);
        const BootPiece *text = find_piece(image, "kernel");
        g_assert_cmpuint(text->size, ==, 0x3000);
        g_assert_cmpuint(text->len, ==, 0x400);
        g_assert_true(text->zero);
        boot_image_free(image);
        g_unlink(initrd);

        g_autofree uint8_t *no_note = make_elf(is64, false, 0x1000000, 0x3000, &size);
        expect_failure(no_note, size, &options, 64 * MiB, "neither a multiboot header nor a PVH entry");
    }
    size_t              size;
    g_autofree uint8_t *far = make_elf(true, true, 0x10000000, 0x3000, &size);
    expect_failure(far, size, &(BootOptions){ 0 }, 64 * MiB, "not all RAM");
    g_autofree uint8_t *wraps = make_elf(true, true, 0x1000000, UINT64_MAX - 0x1000, &size);
    expect_failure(wraps, size, &(BootOptions){ 0 }, 64 * MiB, "neither a multiboot header nor a PVH entry");
}

/* ---- Multiboot ---- */

static void test_multiboot_elf(void)
{
    g_auto(Error) err = { 0 };
    size_t              size;
    g_autofree uint8_t *elf     = make_elf(false, false, 0x100000, 0x3000, &size);
    g_autofree char    *mod1    = temporary_file("module one");
    g_autofree char    *mod2    = temporary_file("module two");
    g_autofree char    *list    = g_strdup_printf("%s a,,b c,%s", mod1, mod2);
    BootOptions         options = { .append = "hello", .initrd = list };
    MemoryMap           map     = sample_map(64 * MiB);
    put_multiboot_header(elf + 0x400, 3);
    BootImage *image = load(elf, size, &options, &map, &err);
    g_assert_nonnull(image);
    g_assert_cmpstr(image->protocol, ==, "multiboot");
    g_assert_cmpuint(image->rax, ==, 0x2badb002);
    g_assert_cmpuint(image->entry, ==, 0x100000);
    const BootPiece *info = find_piece(image, "multiboot information");
    const uint8_t   *p    = info->data;
    g_assert_cmpuint(image->rbx, ==, info->addr);
    g_assert_cmpuint(load_le32(p + 4), ==, 639);
    g_assert_cmpuint(load_le32(p + 8), ==, 63 * 1024 - 128);
    g_assert_cmpstr((const char *)p + (load_le32(p + 16) - info->addr), ==, "test-kernel hello");
    g_assert_cmpuint(load_le32(p + 20), ==, 2);
    const uint8_t   *mods  = p + (load_le32(p + 24) - info->addr);
    g_autofree char *first = g_strdup_printf("%s a,b c", mod1);
    g_assert_cmpstr((const char *)p + (load_le32(mods + 8) - info->addr), ==, first);
    g_assert_cmpuint(load_le32(mods) % 4096, ==, 0);
    g_assert_cmpuint(load_le32(mods + 4) - load_le32(mods), ==, 10);
    g_assert_cmpstr((const char *)p + (load_le32(mods + 24) - info->addr), ==, mod2);
    g_assert_cmpuint(load_le32(p + 44), ==, map.n * 24);
    g_assert_cmpstr((const char *)p + (load_le32(p + 64) - info->addr), ==, "Quern");
    boot_image_free(image);
    g_unlink(mod1);
    g_unlink(mod2);

    g_autofree uint8_t *low = make_elf(false, false, 0xff000, 0x3000, &size); /* its first page is where ROMs are */
    put_multiboot_header(low + 0x400, 0);
    store_le32(low + 24, 0x100000);
    image = load(low, size, &(BootOptions){ 0 }, &map, &err);
    g_assert_nonnull(image);
    g_assert_cmpuint(find_piece(image, "kernel")->addr, ==, 0x100000);
    g_assert_cmpuint(find_piece(image, "kernel")->size, ==, 0x2000);
    boot_image_free(image);

    put_multiboot_header(elf + 0x400, 0x8);
    expect_failure(elf, size, &(BootOptions){ 0 }, 64 * MiB, "features nobody has defined");
}

static void test_multiboot_kludge(void)
{
    g_auto(Error) err        = { 0 };
    uint8_t     kernel[4096] = { 0 };
    BootOptions options      = { 0 };
    MemoryMap   map          = sample_map(64 * MiB);
    put_multiboot_header(kernel + 64, 1 << 16);
    store_le32(kernel + 64 + 12, 0x200040);
    store_le32(kernel + 64 + 16, 0x200000);
    store_le32(kernel + 64 + 20, 0x200800);
    store_le32(kernel + 64 + 24, 0x204000);
    store_le32(kernel + 64 + 28, 0x200100);
    BootImage *image = load(kernel, sizeof kernel, &options, &map, &err);
    g_assert_nonnull(image);
    const BootPiece *text = find_piece(image, "kernel");
    g_assert_cmpuint(text->addr, ==, 0x200000);
    g_assert_cmpuint(text->len, ==, 0x800);
    g_assert_cmpuint(text->size, ==, 0x4000);
    g_assert_cmpuint(image->entry, ==, 0x200100);
    boot_image_free(image);

    store_le32(kernel + 64 + 20, 0x202000);
    expect_failure(kernel, sizeof kernel, &options, 64 * MiB, "more than the file has");
    store_le32(kernel + 64 + 20, 0x200800);
    store_le32(kernel + 64 + 24, 0x200100);
    expect_failure(kernel, sizeof kernel, &options, 64 * MiB, "bss ends before");
    store_le32(kernel + 64 + 12, 0x1ff000);
    expect_failure(kernel, sizeof kernel, &options, 64 * MiB, "do not fit");
}

/* ---- Damage ---- */

static void bend(const uint8_t *good, size_t size, const BootOptions *options)
{
    static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
    g_autofree uint8_t  *copy     = g_memdup2(good, size);
    MemoryMap            map      = sample_map(64 * MiB);
    size_t               end      = MIN(size, 0x420); /* headers of all samples lie before */

    for (size_t at = 0; at < end; at++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
            g_auto(Error) err = { 0 };
            uint8_t was       = copy[at];
            copy[at]          = values[i];
            BootImage *image  = load(copy, size, options, &map, &err);
            g_assert_true(image || error_is_set(&err));
            boot_image_free(image);
            copy[at] = was;
        }
    }
    for (size_t len = 1; len < size; len += len < 0x420 ? 1 : 97) {
        g_auto(Error) err = { 0 };
        BootImage *image  = load(good, len, options, &map, &err);
        g_assert_true(image || error_is_set(&err));
        boot_image_free(image);
    }
}

static void test_damage(void)
{
    size_t              size;
    BootOptions         options = { .append = "x", .unpack = false };
    g_autofree uint8_t *bzimage = make_bzimage(&size);
    bend(bzimage, size, &options);
    g_autofree uint8_t *elf32 = make_elf(false, true, 0x100000, 0x3000, &size);
    bend(elf32, size, &options);
    g_autofree uint8_t *elf64 = make_elf(true, true, 0x100000, 0x3000, &size);
    bend(elf64, size, &options);
    g_autofree uint8_t *multiboot = make_elf(false, false, 0x100000, 0x3000, &size);
    put_multiboot_header(multiboot + 0x400, 3);
    bend(multiboot, size, &options);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/loader/memory-map", test_memory_map);
    g_test_add_func("/loader/linux", test_linux);
    g_test_add_func("/loader/linux-refusals", test_linux_refusals);
    g_test_add_func("/loader/linux16", test_linux16);
    g_test_add_func("/loader/boot-order", test_boot_order);
    g_test_add_func("/loader/boot-letters", test_boot_letters);
    g_test_add_func("/loader/pvh", test_pvh);
    g_test_add_func("/loader/multiboot-elf", test_multiboot_elf);
    g_test_add_func("/loader/multiboot-kludge", test_multiboot_kludge);
    g_test_add_func("/loader/damage", test_damage);
    return g_test_run();
}
