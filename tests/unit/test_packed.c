/* Unpacked kernels (unpack-kernel=on): streams of each format, and ELF files that come out of them right into guest
 * RAM. Good ones land where their headers say and nowhere else; damaged and impossible ones are refused with a reason.
 */

#include "machine/boot.h"
#include "machine/unpack.h"

#include "base/bytes.h"
#include "base/text.h"

#include <lz4.h>
#include <lzma.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

/* ---- Packers. What they return has the size appended, as the kernel's build does it, but for gzip. ---- */

typedef size_t Packer(const uint8_t *data, size_t len, uint8_t *out, size_t room);

static size_t pack_gzip(const uint8_t *data, size_t len, uint8_t *out, size_t room)
{
    z_stream z = { .next_in = (uint8_t *)data, .avail_in = (uInt)len, .next_out = out, .avail_out = (uInt)room };
    g_assert_cmpint(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), ==, Z_OK);
    g_assert_cmpint(deflate(&z, Z_FINISH), ==, Z_STREAM_END);
    size_t n = z.total_out;
    deflateEnd(&z);
    return n;
}

static size_t append_size(uint8_t *out, size_t n, size_t len)
{
    store_le32(out + n, (uint32_t)len);
    return n + 4;
}

/* As the kernel's build calls xz: with a filter for x86 code, and a dictionary larger than the data. */
static size_t pack_xz(const uint8_t *data, size_t len, uint8_t *out, size_t room)
{
    lzma_options_lzma options;
    size_t            n = 0;
    g_assert_false(lzma_lzma_preset(&options, 1));
    options.dict_size     = 16 << 20;
    lzma_filter filters[] = { { LZMA_FILTER_X86, NULL }, { LZMA_FILTER_LZMA2, &options }, { LZMA_VLI_UNKNOWN, NULL } };
    g_assert_cmpint(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, data, len, out, &n, room), ==, LZMA_OK);
    return append_size(out, n, len);
}

static size_t pack_lzma(const uint8_t *data, size_t len, uint8_t *out, size_t room)
{
    lzma_stream       x = LZMA_STREAM_INIT;
    lzma_options_lzma options;
    g_assert_false(lzma_lzma_preset(&options, 1));
    g_assert_cmpint(lzma_alone_encoder(&x, &options), ==, LZMA_OK);
    x.next_in   = data;
    x.avail_in  = len;
    x.next_out  = out;
    x.avail_out = room;
    g_assert_cmpint(lzma_code(&x, LZMA_FINISH), ==, LZMA_STREAM_END);
    size_t n = room - x.avail_out;
    lzma_end(&x);
    return append_size(out, n, len);
}

static size_t pack_lz4(const uint8_t *data, size_t len, uint8_t *out, size_t room)
{
    enum { BLOCK = 1 << 18 };
    size_t at = 4;
    store_le32(out, 0x184c2102);
    for (size_t from = 0; from < len; from += BLOCK) {
        int n = LZ4_compress_default((const char *)data + from, (char *)out + at + 4, (int)MIN(len - from, BLOCK),
                                     (int)(room - at - 4));
        g_assert_cmpint(n, >, 0);
        store_le32(out + at, (uint32_t)n);
        at += 4 + (size_t)n;
    }
    return append_size(out, at, len);
}

static size_t pack_zstd(const uint8_t *data, size_t len, uint8_t *out, size_t room)
{
    size_t n = ZSTD_compress(out, room, data, len, 1);
    g_assert_false(ZSTD_isError(n));
    return append_size(out, n, len);
}

static const struct {
    const char *name;
    Packer     *pack;
} packers[] = {
    { "gzip", pack_gzip }, { "xz", pack_xz }, { "lzma", pack_lzma }, { "lz4", pack_lz4 }, { "zstd", pack_zstd },
};

static void fill_sample(uint8_t *d, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        d[i] = (uint8_t)(i * i >> 9 ^ (i % 5 ? 0 : 0xe8));
    }
}

/* ---- Streams ---- */

/* Reads all in pieces of `step` bytes; -1: damaged. */
static ssize_t unpack_all(const uint8_t *packed, size_t len, uint8_t *out, size_t room, size_t step, Error *err)
{
    Unpack *u     = unpack_open(packed, len, err);
    ssize_t total = u ? 0 : -1;
    while (total >= 0 && (size_t)total < room) {
        size_t ask = MIN(step, room - (size_t)total), got = 0;
        if (!unpack_read(u, out + total, ask, &got, err)) {
            total = -1;
            break;
        }
        total += (ssize_t)got;
        if (got < ask) {
            break;
        }
    }
    unpack_close(u);
    return total;
}

static void test_streams(void)
{
    enum { SIZE = 5 << 18, ROOM = 2 * SIZE };
    static const size_t steps[]  = { ROOM, SIZE, 4096, 65537 };
    g_autofree uint8_t *sample   = g_malloc(SIZE);
    g_autofree uint8_t *packed   = g_malloc(ROOM);
    g_autofree uint8_t *unpacked = g_malloc(ROOM);
    fill_sample(sample, SIZE);
    for (unsigned i = 0; i < G_N_ELEMENTS(packers); i++) {
        size_t              len   = packers[i].pack(sample, SIZE, packed, ROOM);
        g_autofree uint8_t *exact = g_memdup2(packed, len);
        for (unsigned j = 0; j < G_N_ELEMENTS(steps); j++) {
            g_auto(Error) err = { 0 };
            memset(unpacked, 0, ROOM);
            ssize_t n = unpack_all(exact, len, unpacked, ROOM, steps[j], &err);
            if (n < 0) {
                g_error("%s: %s", packers[i].name, err.text);
            }
            g_assert_cmpint(n, ==, SIZE);
            g_assert_true(memcmp(unpacked, sample, SIZE) == 0);
        }
        /* half of it: the first bytes come, and the error when they are all */
        g_auto(Error) err        = { 0 };
        g_autofree uint8_t *half = g_memdup2(packed, len / 2);
        g_assert_cmpint(unpack_all(half, len / 2, unpacked, 100, 100, &err), ==, 100);
        g_assert_true(memcmp(unpacked, sample, 100) == 0);
        g_assert_cmpint(unpack_all(half, len / 2, unpacked, ROOM, 4096, &err), ==, -1);
        g_assert_nonnull(strstr(err.text, packers[i].name));
        g_assert_nonnull(strstr(err.text, "damaged"));
    }
}

/* Whatever is wrong with a byte: as many bytes as fit, or an error. */
static void test_bent_streams(void)
{
    enum { SIZE = 20000, ROOM = 2 * SIZE };
    g_autofree uint8_t *sample   = g_malloc(SIZE);
    g_autofree uint8_t *packed   = g_malloc(ROOM);
    g_autofree uint8_t *unpacked = g_malloc(ROOM);
    fill_sample(sample, SIZE);
    for (unsigned i = 0; i < G_N_ELEMENTS(packers); i++) {
        size_t len = packers[i].pack(sample, SIZE, packed, ROOM);
        for (size_t at = 0; at < len; at += at < 100 ? 1 : 37) {
            g_auto(Error) err = { 0 };
            packed[at] ^= 0x55;
            ssize_t n = unpack_all(packed, len, unpacked, ROOM, 5000, &err);
            g_assert_true(n >= 0 ? n <= ROOM : error_is_set(&err));
            packed[at] ^= 0x55;
        }
        for (size_t short_len = 0; short_len < len; short_len += short_len < 100 ? 1 : 37) {
            g_auto(Error) err        = { 0 };
            g_autofree uint8_t *part = g_memdup2(packed, short_len);
            ssize_t             n    = unpack_all(part, short_len, unpacked, ROOM, 5000, &err);
            g_assert_true(n >= 0 ? n <= SIZE : error_is_set(&err));
        }
    }
}

static void test_other_formats(void)
{
    static const char *const texts[][2] = {
        { "BZh91AY", "bzip2" }, { "\x89LZO\0\r\n", "LZO" }, { "nothing", "unknown format" }, { "", "unknown format" }
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_auto(Error) err = { 0 };
        g_assert_null(unpack_open((const uint8_t *)texts[i][0], strlen(texts[i][0]), &err));
        g_assert_nonnull(strstr(err.text, texts[i][1]));
    }
}

/* ---- Kernels ---- */

enum { RAM_SIZE = 32 << 20, ELF_SIZE = 0x300000, SETUP = 5 * 512, PAYLOAD_AT = 256 };

typedef struct Segment {
    uint32_t type;
    uint64_t offset, file_size, physical, memory_size;
} Segment;

enum { LOAD = 1, NOTE = 4 };

/* Like Debian's: text with the notes in its midst, data, and a segment without bytes in the file. */
static const Segment good[] = {
    { LOAD, 0x100000, 0x54321, 0x1000000, 0x54321 },
    { LOAD, 0x180000, 0x23456, 0x1200000, 0x40000 },
    { LOAD, 0x200000, 0, 0x1400000, 0x5000 },
    { NOTE, 0x130000, 24, 0, 0 },
};

static uint8_t *make_elf(const Segment *segments, unsigned n, uint64_t note_at)
{
    uint8_t *d = g_malloc(ELF_SIZE);
    fill_sample(d, ELF_SIZE);
    memset(d, 0, 0x1000);
    memcpy(d, "\177ELF\2\1\1", 7);
    store_le16(d + 16, 2);
    store_le16(d + 18, 62);
    store_le64(d + 24, 0x1000000);
    store_le64(d + 32, 64);
    store_le16(d + 54, 56);
    store_le16(d + 56, (uint16_t)n);
    for (unsigned i = 0; i < n; i++) {
        uint8_t *p = d + 64 + i * 56;
        store_le32(p, segments[i].type);
        store_le64(p + 8, segments[i].offset);
        store_le64(p + 24, segments[i].physical);
        store_le64(p + 32, segments[i].file_size);
        store_le64(p + 40, segments[i].memory_size);
        store_le64(p + 48, 4);
    }
    if (note_at) {
        store_le32(d + note_at, 4);
        store_le32(d + note_at + 4, 8);
        store_le32(d + note_at + 8, 18);
        memcpy(d + note_at + 12, "Xen", 4);
        store_le64(d + note_at + 16, 0x1000010);
    }
    return d;
}

/* A bzImage around the first elf_len bytes of it. */
static BootFile *make_kernel(const uint8_t *elf, size_t elf_len, Packer *pack)
{
    size_t              room = elf_len + elf_len / 4 + 4096;
    g_autofree uint8_t *d    = g_malloc0(SETUP + PAYLOAD_AT + room);
    size_t              len  = pack(elf, elf_len, d + SETUP + PAYLOAD_AT, room - 16);
    size_t              all  = (PAYLOAD_AT + len + 15) & ~(size_t)15;
    d[0x1f1]                 = 4;
    store_le32(d + 0x1f4, (uint32_t)all / 16);
    store_le16(d + 0x1fe, 0xaa55);
    memcpy(d + 0x202, "HdrS", 4);
    store_le16(d + 0x206, 0x020f);
    d[0x211] = 1;
    store_le32(d + 0x248, PAYLOAD_AT);
    store_le32(d + 0x24c, (uint32_t)len);
    return boot_file_from_memory("test-kernel", d, SETUP + all);
}

/* Guest RAM in two backends, of which the first ends in the middle of a segment. */
typedef struct TestRam {
    uint8_t *memory;
    uint64_t written; /* bytes that were said to be */
} TestRam;

enum { FIRST_BACKEND = 0x1021000 };

static uint8_t *test_ram_at(void *opaque, uint64_t addr, uint64_t *len)
{
    TestRam *ram = opaque;
    g_assert_cmpuint(addr + *len, <=, RAM_SIZE);
    if (addr < FIRST_BACKEND) {
        *len = MIN(*len, FIRST_BACKEND - addr);
    }
    return ram->memory + addr;
}

static void test_ram_written(void *opaque, uint64_t addr, uint64_t len)
{
    TestRam *ram = opaque;
    g_assert_cmpuint(addr + len, <=, RAM_SIZE);
    ram->written += len;
}

static void make_map(MemoryMap *map)
{
    *map = (MemoryMap){ 0 };
    memory_map_add(map, 0, RAM_SIZE, MEMORY_RAM);
    memory_map_add(map, 0xa0000, 0x60000, MEMORY_RESERVED);
}

static uint8_t *make_ram(void)
{
    uint8_t *p = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    g_assert_true(p != MAP_FAILED);
    return p;
}

/* Every byte of RAM is that of the segment there, or `rest`. */
static void check_ram(const uint8_t *ram, const uint8_t *elf, const Segment *segments, unsigned n, uint8_t rest)
{
    g_autofree uint8_t *want = g_malloc(RAM_SIZE);
    memset(want, rest, RAM_SIZE);
    for (unsigned i = 0; i < n; i++) {
        if (segments[i].type == LOAD) {
            memcpy(want + segments[i].physical, elf + segments[i].offset, segments[i].file_size);
        }
    }
    g_assert_true(memcmp(ram, want, RAM_SIZE) == 0);
}

static size_t resident(uint8_t *memory)
{
    enum { PAGE = 4096 };
    g_autofree unsigned char *vec = g_malloc(RAM_SIZE / PAGE);
    size_t                    n   = 0;
    g_assert_cmpint(mincore(memory, RAM_SIZE, vec), ==, 0);
    for (size_t i = 0; i < RAM_SIZE / PAGE; i++) {
        n += vec[i] & 1;
    }
    return n * PAGE;
}

static void test_into_ram(void)
{
    g_autofree uint8_t *elf = make_elf(good, G_N_ELEMENTS(good), 0x130000);
    MemoryMap           map;
    make_map(&map);
    for (unsigned i = 0; i < G_N_ELEMENTS(packers); i++) {
        g_auto(Error) err   = { 0 };
        TestRam     test    = { .memory = make_ram() };
        BootRam     ram     = { test_ram_at, test_ram_written, &test, .untouched = true };
        BootOptions options = { .unpack = true, .ram = &ram };
        BootImage  *image   = boot_load_file(make_kernel(elf, ELF_SIZE, packers[i].pack), &options, &map, &err);
        if (!image) {
            g_error("%s: %s", packers[i].name, err.text);
        }
        g_assert_cmpstr(image->protocol, ==, "PVH");
        g_assert_cmpuint(image->entry, ==, 0x1000010);
        g_assert_cmpuint(test.written, ==, 0x54321 + 0x23456);
        g_assert_cmpuint(resident(test.memory), <, 1 << 20); /* only what was written has been touched */
        check_ram(test.memory, elf, good, G_N_ELEMENTS(good), 0);
        unsigned n_zero = 0;
        for (guint j = 0; j < image->pieces->len; j++) {
            const BootPiece *p = &g_array_index(image->pieces, BootPiece, j);
            n_zero += p->zero;
            g_assert_true(!p->zero || !p->data);
        }
        g_assert_cmpuint(n_zero, ==, 3);

        memset(test.memory, 0xaa, RAM_SIZE); /* a guest has run; cleared is what the board clears, by the pieces */
        ram.untouched = false;
        g_assert_true(boot_image_unpack(image, &ram, &err));
        check_ram(test.memory, elf, good, G_N_ELEMENTS(good), 0xaa);
        boot_image_free(image);
        munmap(test.memory, RAM_SIZE);
    }
}

/* ---- The cache ---- */

enum { TRIES = 10000 };

/* Loads it into RAM of its own and checks what is there; was it kept? */
static bool load_cached(const uint8_t *elf, KernelCache *cache, Packer *pack, bool reset)
{
    g_auto(Error) err   = { 0 };
    TestRam     test    = { .memory = make_ram() };
    BootRam     ram     = { test_ram_at, test_ram_written, &test, .untouched = true };
    BootOptions options = { .unpack = true, .cache = cache, .ram = &ram };
    MemoryMap   map;
    make_map(&map);
    BootImage *image = boot_load_file(make_kernel(elf, ELF_SIZE, pack), &options, &map, &err);
    g_assert_nonnull(image);
    g_assert_cmpuint(image->entry, ==, 0x1000010);
    g_assert_cmpuint(test.written, >=, 0x54321 + 0x23456);
    g_assert_true(!image->was_kept || resident(test.memory) < 1 << 20);
    check_ram(test.memory, elf, good, G_N_ELEMENTS(good), 0);
    bool kept = image->was_kept;
    if (reset) {
        memset(test.memory, 0xaa, RAM_SIZE);
        ram.untouched = false;
        g_assert_true(boot_image_unpack(image, &ram, &err));
        check_ram(test.memory, elf, good, G_N_ELEMENTS(good), 0xaa);
        g_assert_cmpint(image->was_kept, ==, kept);
    }
    boot_image_free(image);
    munmap(test.memory, RAM_SIZE);
    return kept;
}

/* A program starts, and runs until the kernel is kept. */
static void start_once(const char *folder, const uint8_t *elf, Packer *pack)
{
    KernelCache *cache = kernel_cache_new(folder);
    unsigned     i     = 0;
    g_assert_false(load_cached(elf, cache, pack, false));
    while (i < TRIES && !load_cached(elf, cache, pack, false)) {
        g_usleep(1000);
        i++;
    }
    g_assert_cmpuint(i, <, TRIES);
    kernel_cache_free(cache);
}

/* Keeps something else for this kernel. */
static void keep(const char *folder, const uint8_t *elf, size_t len, Packer *pack)
{
    KernelCache   *cache   = kernel_cache_new(folder);
    BootFile      *kernel  = make_kernel(elf, ELF_SIZE, pack);
    const uint8_t *payload = kernel->data + SETUP + PAYLOAD_AT;
    size_t         packed  = load_le32(kernel->data + 0x24c);
    KeptKernel    *kept    = NULL;
    memcpy(kernel_cache_begin(cache, payload, packed, len), elf, len);
    kernel_cache_save(cache);
    for (unsigned i = 0; i < TRIES && !kept; i++) {
        g_usleep(1000);
        kept = kernel_cache_find(cache, payload, packed);
    }
    g_assert_nonnull(kept);
    kept_kernel_close(kept);
    kernel_cache_free(cache);
    boot_file_close(kernel);
}

static void clear_folder(const char *folder)
{
    const char *name;
    GDir       *dir = g_dir_open(folder, 0, NULL);
    while ((name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_assert_cmpint(remove(path), ==, 0);
    }
    g_dir_close(dir);
}

static void test_cache(void)
{
    g_autofree char    *folder = g_dir_make_tmp("packed-XXXXXX", NULL);
    g_autofree uint8_t *elf    = make_elf(good, G_N_ELEMENTS(good), 0x130000);
    memset(elf + 0x140000, 0, 0x60000); /* zeros in two segments */
    for (unsigned i = 0; i < G_N_ELEMENTS(packers); i++) {
        start_once(folder, elf, packers[i].pack);
        KernelCache *cache = kernel_cache_new(folder);
        g_assert_true(load_cached(elf, cache, packers[i].pack, true));
        kernel_cache_free(cache);
    }
    clear_folder(folder);
    /* Kept well, and not what belongs there: none of it stays in RAM. */
    g_autofree uint8_t *other = make_elf(good, G_N_ELEMENTS(good), 0);
    memset(other + 0x100000, 0x77, 0x60000);
    keep(folder, other, ELF_SIZE, pack_zstd); /* no entry, which is seen at the end */
    start_once(folder, elf, pack_zstd);
    clear_folder(folder);
    keep(folder, elf, 0x100000, pack_zstd); /* too short */
    start_once(folder, elf, pack_zstd);
    clear_folder(folder);
    keep(folder, elf, 100, pack_zstd);
    start_once(folder, elf, pack_zstd);
    clear_folder(folder);
    memset(other, 0, ELF_SIZE);
    keep(folder, other, ELF_SIZE, pack_zstd);
    start_once(folder, elf, pack_zstd);
    clear_folder(folder);
    g_assert_cmpint(remove(folder), ==, 0);
}

/* What does not load is not kept. */
static void test_cache_refusals(void)
{
    g_autofree char    *folder  = g_dir_make_tmp("packed-XXXXXX", NULL);
    g_autofree uint8_t *elf     = make_elf(good, G_N_ELEMENTS(good), 0);
    KernelCache        *cache   = kernel_cache_new(folder);
    BootOptions         options = { .unpack = true, .cache = cache };
    MemoryMap           map;
    make_map(&map);
    for (unsigned i = 0; i < 2; i++) {
        g_auto(Error) err = { 0 };
        g_assert_null(boot_load_file(make_kernel(elf, ELF_SIZE, pack_lz4), &options, &map, &err));
        g_assert_nonnull(strstr(err.text, "no PVH entry"));
    }
    kernel_cache_free(cache);
    g_assert_cmpint(remove(folder), ==, 0);
}

/* For firmware: the pieces have their bytes with them. */
static bool load_into_memory(KernelCache *cache)
{
    g_auto(Error) err = { 0 };
    MemoryMap map;
    make_map(&map);
    g_autofree uint8_t *elf     = make_elf(good, G_N_ELEMENTS(good), 0x130000);
    BootOptions         options = { .unpack = true, .cache = cache };
    BootImage          *image   = boot_load_file(make_kernel(elf, ELF_SIZE, pack_zstd), &options, &map, &err);
    g_assert_nonnull(image);
    for (unsigned i = 0; i < 2; i++) {
        const BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        g_assert_cmpuint(p->addr, ==, good[i].physical);
        g_assert_cmpuint(p->size, ==, good[i].memory_size);
        g_assert_cmpuint(p->len, ==, good[i].file_size);
        g_assert_true(memcmp(p->data, elf + good[i].offset, p->len) == 0);
    }
    g_assert_true(boot_image_unpack(image, NULL, &err));
    bool kept = image->was_kept;
    boot_image_free(image);
    return kept;
}

static void test_into_memory(void)
{
    g_autofree char *folder = g_dir_make_tmp("packed-XXXXXX", NULL);
    KernelCache     *cache  = kernel_cache_new(folder);
    bool             kept   = load_into_memory(cache);
    g_assert_false(kept || load_into_memory(NULL));
    for (unsigned i = 0; i < TRIES && !kept; i++) {
        g_usleep(1000);
        kept = load_into_memory(cache);
    }
    g_assert_true(kept);
    kernel_cache_free(cache);
    clear_folder(folder);
    g_assert_cmpint(remove(folder), ==, 0);
}

/* `segments` in RAM; returns the error's text for the caller to free, or NULL when it loaded. */
static char *try(const Segment *segments, unsigned n, uint64_t note_at, size_t elf_len, Packer *pack, bool bend)
{
    g_auto(Error) err   = { 0 };
    TestRam     test    = { .memory = make_ram() };
    BootRam     ram     = { test_ram_at, test_ram_written, &test, .untouched = true };
    BootOptions options = { .unpack = true, .ram = &ram };
    MemoryMap   map;
    make_map(&map);
    g_autofree uint8_t *elf    = make_elf(segments, n, note_at);
    BootFile           *kernel = make_kernel(elf, elf_len, pack);
    if (bend) {
        size_t payload = kernel->size - SETUP - PAYLOAD_AT;
        memset(kernel->memory + SETUP + PAYLOAD_AT + payload / 2, 0xa5, payload / 8);
    }
    BootImage *image = boot_load_file(kernel, &options, &map, &err);
    g_assert_true(image || error_is_set(&err));
    if (image) {
        check_ram(test.memory, elf, segments, n, 0);
    }
    boot_image_free(image);
    munmap(test.memory, RAM_SIZE);
    return error_is_set(&err) ? g_strdup(err.text) : NULL;
}

static void test_refusals(void)
{
    static const struct {
        const char *text; /* NULL: it loads */
        Segment     segments[4];
        unsigned    n;
        uint64_t    note_at;
        size_t      elf_len;
        bool        bend;
    } cases[] = {
        { NULL, { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 }, { NOTE, 0x280000, 24 } }, 2, 0x280000, ELF_SIZE },
        { NULL, { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 }, { NOTE, 0x2000, 24 } }, 2, 0x2000, ELF_SIZE },
        { NULL, { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 }, { NOTE, 0x100ff0, 40 } }, 2, 0x100ff0, ELF_SIZE },
        { NULL,
          { { LOAD, 0x180000, 0x1000, 0x1000000, 0x1000 },
            { LOAD, 0x100000, 0x2000, 0x1100000, 0x2000 },
            { NOTE, 0x2000, 24 } },
          3,
          0x2000,
          ELF_SIZE },
        { NULL, /* the file's own headers, and what comes after the last segment is not there */
          { { LOAD, 0, 0x20000, 0x1000000, 0x20000 }, { NOTE, 0x2000, 24 } },
          2,
          0x2000,
          0x20000 },
        { "no PVH entry", { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 } }, 1, 0, ELF_SIZE },
        { "no PVH entry",
          { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 }, { NOTE, 0x2000, 20 } },
          2,
          0x2000,
          ELF_SIZE },
        { "nothing to load", { { NOTE, 0x2000, 24 } }, 1, 0x2000, ELF_SIZE },
        { "not all RAM", { { LOAD, 0x100000, 0x1000, RAM_SIZE - 0x800, 0x1000 } }, 1, 0, ELF_SIZE },
        { "not all RAM", { { LOAD, 0x100000, 0x1000, 0x1000000, 0x8000000 } }, 1, 0, ELF_SIZE },
        { "not all RAM", { { LOAD, 0x100000, 0x1000, UINT64_C(0x1000000000), 0x1000 } }, 1, 0, ELF_SIZE },
        { "impossible sizes", { { LOAD, 0x100000, 0x1001, 0x1000000, 0x1000 } }, 1, 0, ELF_SIZE },
        { "impossible sizes", { { LOAD, 0x100000, 0x1000, UINT64_MAX - 0xfff, 0x2000 } }, 1, 0, ELF_SIZE },
        { "lies outside the file", { { LOAD, UINT64_MAX - 0xfff, 0x1000, 0x1000000, 0x1000 } }, 1, 0, ELF_SIZE },
        { "lies outside the file", { { LOAD, 0x40000000, 0x1000, 0x1000000, 0x1000 } }, 1, 0, ELF_SIZE },
        { "ends in the middle", { { LOAD, 0x2ff001, 0x1000, 0x1000000, 0x1000 } }, 1, 0, ELF_SIZE },
        { "ends in the middle", { { LOAD, 0x3000000, 0x1000, 0x1000000, 0x1000 } }, 1, 0, ELF_SIZE },
        { "ends in the middle",
          { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 }, { NOTE, 0x2ffff0, 24 } },
          2,
          0,
          ELF_SIZE },
        { "share the bytes at 0x100fff",
          { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 }, { LOAD, 0x100fff, 0x1000, 0x1100000, 0x1000 } },
          2,
          0,
          ELF_SIZE },
        { "share the memory at 0x1001fff",
          { { LOAD, 0x100000, 0x1000, 0x1000000, 0x2000 }, { LOAD, 0x110000, 0x1000, 0x1001fff, 0x1000 } },
          2,
          0,
          ELF_SIZE },
        { "share the memory at 0x1000000",
          { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 }, { LOAD, 0, 0, 0xfff000, 0x1001 } },
          2,
          0,
          ELF_SIZE },
        { "not an ELF file", { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 } }, 1, 0, 3 },
        { "headers lie outside", { { LOAD, 0x100000, 0x1000, 0x1000000, 0x1000 } }, 1, 0, 100 },
        { "damaged",
          { { LOAD, 0x1000, 0x2ff000, 0x1000000, 0x2ff000 }, { NOTE, 0x2000, 24 } },
          2,
          0x2000,
          ELF_SIZE,
          true },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = try(cases[i].segments, cases[i].n, cases[i].note_at, cases[i].elf_len,
                                    cases[i].bend ? pack_xz : pack_zstd, cases[i].bend);
        g_test_message("%u: %s", i, text ? text : "loads");
        if (!cases[i].text) {
            g_assert_cmpstr(text, ==, NULL);
            continue;
        }
        g_assert_nonnull(text);
        g_assert_true(g_str_has_prefix(text, "-kernel test-kernel: "));
        g_assert_nonnull(strstr(text, cases[i].text));
    }
}

/* Any byte of the ELF header and the program headers may be anything. */
static void test_bent_headers(void)
{
    static const uint8_t values[] = { 0x00, 0x01, 0x7f, 0x80, 0xff };
    enum { HEADERS = 64 + 3 * 56, LEN = 0x8000 };
    static const Segment small[] = {
        { LOAD, 0x1000, 0x2000, 0x1000000, 0x2000 },
        { LOAD, 0x4000, 0x3000, 0x1200000, 0x4000 },
        { NOTE, 0x2000, 24, 0, 0 },
    };
    g_autofree uint8_t *elf  = make_elf(small, G_N_ELEMENTS(small), 0x2000);
    TestRam             test = { .memory = make_ram() };
    BootRam             ram  = { test_ram_at, test_ram_written, &test, .untouched = false };
    MemoryMap           map;
    make_map(&map);
    for (size_t at = 0; at < HEADERS; at++) {
        for (unsigned i = 0; i < G_N_ELEMENTS(values); i++) {
            g_auto(Error) err   = { 0 };
            BootOptions options = { .unpack = true, .ram = i % 2 ? &ram : NULL };
            uint8_t     was     = elf[at];
            elf[at]             = values[i];
            BootImage *image    = boot_load_file(make_kernel(elf, LEN, pack_lz4), &options, &map, &err);
            g_assert_true(image || error_is_set(&err));
            boot_image_free(image);
            elf[at] = was;
        }
    }
    munmap(test.memory, RAM_SIZE);
}

/* The bzImage around it. */
static void test_outside(void)
{
    g_autofree uint8_t *elf     = make_elf(good, G_N_ELEMENTS(good), 0x130000);
    BootOptions         options = { .unpack = true };
    MemoryMap           map;
    make_map(&map);
    static const struct {
        uint32_t    length;
        const char *text;
    } cases[] = { { 0x7fffffff, "outside the file" }, { 0, "does not say" }, { 1, "unknown format" } };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_auto(Error) err = { 0 };
        BootFile *kernel  = make_kernel(elf, ELF_SIZE, pack_zstd);
        store_le32(kernel->memory + 0x24c, cases[i].length);
        g_assert_null(boot_load_file(kernel, &options, &map, &err));
        g_assert_nonnull(strstr(err.text, cases[i].text));
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/packed/streams", test_streams);
    g_test_add_func("/packed/bent-streams", test_bent_streams);
    g_test_add_func("/packed/other-formats", test_other_formats);
    g_test_add_func("/packed/into-ram", test_into_ram);
    g_test_add_func("/packed/cache", test_cache);
    g_test_add_func("/packed/cache-refusals", test_cache_refusals);
    g_test_add_func("/packed/into-memory", test_into_memory);
    g_test_add_func("/packed/refusals", test_refusals);
    g_test_add_func("/packed/bent-headers", test_bent_headers);
    g_test_add_func("/packed/outside", test_outside);
    return g_test_run();
}
