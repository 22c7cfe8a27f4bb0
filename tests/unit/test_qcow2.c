/* The qcow2 driver against qemu-img: images of every kind made by it, random requests here against a model, and what it
 * then says of the image (check, convert). Copies taken at random moments stand for hosts that lost power. */

#include "block_rig.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/optstr.h"
#include "base/text.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <string.h>
#include <unistd.h>

#define RUN(rig, ...) block_rig_program(rig, (const char *[]){ __VA_ARGS__, NULL })

/* --- images --- */

/* How a file of random requests is made. */
typedef struct Kind {
    const char *name;
    const char *create; /* options of qemu-img create */
    const char *open;   /* options of the node here */
    uint64_t    size;
    const char *backing;  /* format of the backing file: "raw", "qcow2"; NULL: none */
    bool        packed;   /* the image (the backing file, if there is one) is compressed */
    bool        snapshot; /* one is taken when there is data */
    unsigned    largest;  /* requests, in sectors */
} Kind;

static const Kind kinds[] = {
    { "v3", "compat=1.1", "", 3 * MiB + 512, .largest = 300 },
    { "v3/zero", "compat=1.1", ",discard=unmap,detect-zeroes=unmap", 3 * MiB, .largest = 600 },
    { "v2", "compat=0.10", ",discard=unmap", 3 * MiB, .largest = 300 },
    { "v2/backing", "compat=0.10", ",discard=unmap", 3 * MiB, "raw", .largest = 300 },
    { "v3/backing", "compat=1.1", ",discard=unmap", 3 * MiB, "qcow2", .largest = 300 },
    { "v3/packed-backing", "compat=1.1", ",discard=unmap", 3 * MiB, "qcow2", .packed = true, .largest = 300 },
    { "packed", "compat=1.1", ",discard=unmap", 3 * MiB, .packed = true, .largest = 200 },
    { "packed/zstd", "compat=1.1,compression_type=zstd", ",discard=unmap", 3 * MiB, .packed = true, .largest = 200 },
    { "packed/small", "compat=1.1,cluster_size=1024", ",discard=unmap", MiB, .packed = true, .largest = 20 },
    { "snapshot", "compat=1.1", ",discard=unmap", 3 * MiB, .snapshot = true, .largest = 300 },
    { "snapshot/v2", "compat=0.10,cluster_size=4096", ",discard=unmap", 3 * MiB, .snapshot = true, .largest = 60 },
    { "snapshot/packed", "compat=1.1,cluster_size=4096", ",discard=unmap", 3 * MiB, .packed = true, .snapshot = true,
      .largest = 60 },
    { "512", "compat=1.1,cluster_size=512", ",discard=unmap", 2 * MiB, .largest = 40 },
    { "512/64-bit", "compat=1.1,cluster_size=512,refcount_bits=64", ",discard=unmap", 4 * MiB, .largest = 60 },
    { "512/cache", "compat=1.1,cluster_size=512", ",discard=unmap,l2-cache-size=1024,refcount-cache-size=2048", 2 * MiB,
      .largest = 40 },
    { "1-bit", "compat=1.1,cluster_size=512,refcount_bits=1", ",discard=unmap", 2 * MiB, .largest = 40 },
    { "2-bit", "compat=1.1,cluster_size=4096,refcount_bits=2", "", 2 * MiB, .snapshot = true, .largest = 40 },
    { "4-bit", "compat=1.1,cluster_size=4096,refcount_bits=4", "", 2 * MiB, .largest = 40 },
    { "8-bit", "compat=1.1,cluster_size=4096,refcount_bits=8", "", 2 * MiB, .largest = 40 },
    { "32-bit", "compat=1.1,cluster_size=4096,refcount_bits=32", "", 2 * MiB, .largest = 40 },
    { "2M", "compat=1.1,cluster_size=2M", ",discard=unmap", 9 * MiB, .largest = 5000 },
    { "preallocated", "compat=1.1,preallocation=metadata", ",discard=unmap", 3 * MiB, .largest = 300 },
    { "lazy", "compat=1.1,lazy_refcounts=on", "", 3 * MiB, .largest = 300 },
    { "direct", "compat=1.1,cluster_size=4096", ",cache.direct=on,discard=unmap", MiB, .largest = 40 },
};

typedef struct Random {
    uint64_t state;
} Random;

static uint32_t draw(Random *r, uint32_t below)
{
    r->state = r->state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)((r->state >> 33) % below);
}

static void write_file(BlockRig *rig, const char *name, const uint8_t *data, uint64_t size)
{
    g_assert_true(g_file_set_contents(block_rig_path(rig, name), (const char *)data, (gssize)size, NULL));
}

static BlockNode *add_node(BlockRig *rig, const char *image, const char *more, Error *err)
{
    g_autofree char *text   = g_strdup_printf("driver=qcow2,node-name=q,file.driver=file,file.filename=%s%s",
                                              block_rig_path(rig, image), more);
    g_autoptr(Json) options = optstr_parse(text, NULL, err);
    return block_add_node(rig->hub, options, true, err);
}

/* Barriers take most of the time, and change nothing that could be seen here: only some tests have them. */
#define FAST ",cache.no-flush=on"

static void open_image(BlockRig *rig, const char *image, const char *more)
{
    g_auto(Error) err = {};
    if (!add_node(rig, image, more, &err) ||
        !block_attach(&rig->user, rig->hub, "q", BLOCK_WRITES_IF_CAN, "the test", &err)) {
        g_error("%s: %s", image, err.text);
    }
}

static void close_image(BlockRig *rig)
{
    g_auto(Error) err = {};
    block_detach(&rig->user);
    g_assert_true(block_remove_node(rig->hub, "q", &err));
}

/* The image says what the model says, by qemu-img. */
static void compare(BlockRig *rig, const char *image, const uint8_t *model, uint64_t size)
{
    write_file(rig, "model", model, size);
    g_assert_cmpint(RUN(rig, "qemu-img", "compare", "-f", "raw", "-F", "qcow2", "@model", image), ==, 0);
}

/* Makes "image", with `model` as what it reads as. */
static void make_image(BlockRig *rig, const Kind *k, Random *random, uint8_t *model)
{
    g_autofree char *size = g_strdup_printf("%" G_GUINT64_FORMAT, k->size);
    if (k->packed || k->backing) {
        /* Some of it repeats, some is random, some is zero. */
        for (uint64_t at = 0; at < k->size; at += BLOCK_SECTOR) {
            unsigned how = draw(random, 3);
            for (unsigned i = 0; i < BLOCK_SECTOR; i++) {
                model[at + i] = (uint8_t)(how == 0 ? 0 : how == 1 ? at / BLOCK_SECTOR : draw(random, 256));
            }
        }
        /* The backing file is shorter than the disk. */
        uint64_t has = k->backing ? k->size - 300 * KiB - BLOCK_SECTOR : k->size;
        memset(model + has, 0, k->size - has);
        write_file(rig, "base.raw", model, has);
    }
    const char *packed = k->packed ? "-c" : "-q";
    if (!k->backing && k->packed) {
        g_assert_cmpint(
            RUN(rig, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "-o", k->create, "@base.raw", "@image"),
            ==, 0);
    } else if (!k->backing) {
        g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "-o", k->create, "@image", size), ==, 0);
    } else {
        bool             raw  = !strcmp(k->backing, "raw");
        g_autofree char *base = g_strdup(block_rig_path(rig, raw ? "base.raw" : "base.qcow2"));
        if (!raw) {
            g_assert_cmpint(
                RUN(rig, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", packed, "@base.raw", "@base.qcow2"), ==, 0);
        }
        g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "-o", k->create, "-b", raw ? "base.raw" : base,
                            "-F", k->backing, "@image", size),
                        ==, 0);
    }
}

/* --- random requests --- */

static void check_read(BlockRig *rig, const uint8_t *model, uint64_t offset, uint64_t len)
{
    g_autofree uint8_t *buf = g_malloc(len);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, offset, buf, len), ==, 0);
    for (uint64_t i = 0; i < len; i++) {
        if (buf[i] != model[offset + i]) {
            g_error("byte %#" G_GINT64_MODIFIER "x of the disk is %#x, not %#x", offset + i, buf[i], model[offset + i]);
        }
    }
}

/* After a discard each sector is as before, or zero. */
static void take_discarded(BlockRig *rig, uint8_t *model, uint64_t offset, uint64_t len)
{
    g_autofree uint8_t *buf = g_malloc(len);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, offset, buf, len), ==, 0);
    for (uint64_t at = 0; at < len; at += BLOCK_SECTOR) {
        g_assert_true(block_is_zero(buf + at, BLOCK_SECTOR) || !memcmp(buf + at, model + offset + at, BLOCK_SECTOR));
    }
    memcpy(model + offset, buf, len);
}

static void one_request(BlockRig *rig, const Kind *k, Random *random, uint8_t *model)
{
    uint64_t sectors = k->size / BLOCK_SECTOR, len = 1 + draw(random, k->largest);
    uint64_t offset = draw(random, (uint32_t)sectors);
    if (draw(random, 4) == 0) {
        offset = align_down(offset, 128); /* whole clusters, too */
        len    = align_up(len, 128);
    }
    len = MIN(len, sectors - offset) * BLOCK_SECTOR;
    offset *= BLOCK_SECTOR;
    switch (draw(random, 10)) {
    case 0: check_read(rig, model, offset, len); break;
    case 1:
        g_assert_cmpint(block_rig_run(rig, BLOCK_ZERO, offset, NULL, len), ==, 0);
        memset(model + offset, 0, len);
        break;
    case 2:
        g_assert_cmpint(block_rig_run(rig, BLOCK_DISCARD, offset, NULL, len), ==, 0);
        take_discarded(rig, model, offset, len);
        break;
    case 3: g_assert_cmpint(block_rig_run(rig, BLOCK_FLUSH, 0, NULL, 0), ==, 0); break;
    case 4: memset(model + offset, 0, len); goto write;
    default:
        for (uint64_t i = 0; i < len; i++) {
            model[offset + i] = (uint8_t)draw(random, 256);
        }
    write:
        g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, offset, model + offset, len), ==, 0);
        break;
    }
}

/* The host has lost power: what is in the file now. At worst clusters are counted that nobody uses (3). */
static void check_crash(BlockRig *rig)
{
    g_assert_cmpint(RUN(rig, "cp", "@image", "@crashed"), ==, 0);
    int status = RUN(rig, "qemu-img", "check", "-f", "qcow2", "@crashed");
    g_assert_true(status == 0 || status == 3);
}

static void test_random(BlockRig *rig, gconstpointer data)
{
    const Kind         *k      = data;
    Random              random = { .state = g_str_hash(k->name) };
    g_autofree uint8_t *model = g_malloc0(k->size), *before = NULL;
    make_image(rig, k, &random, model);
    g_autofree char *open = g_strconcat(k->open, strchr(k->name, '/') || isdigit(k->name[0]) ? FAST : "", NULL);
    open_image(rig, "image", open);
    g_assert_cmpint(block_user_size(&rig->user), ==, k->size);
    check_read(rig, model, 0, k->size);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 60; i++) {
            one_request(rig, k, &random, model);
        }
        check_crash(rig);
        check_read(rig, model, 0, k->size);
        close_image(rig);
        g_assert_cmpint(RUN(rig, "qemu-img", "check", "-f", "qcow2", "@image"), ==, 0);
        compare(rig, "@image", model, k->size);
        if (k->snapshot && round == 0) {
            g_assert_cmpint(RUN(rig, "qemu-img", "snapshot", "-c", "s1", "@image"), ==, 0);
            before = g_memdup2(model, k->size);
        }
        open_image(rig, "image", open);
        check_read(rig, model, 0, k->size);
    }
    close_image(rig);
    if (before) {
        g_assert_cmpint(RUN(rig, "qemu-img", "convert", "-l", "s1", "-O", "qcow2", "@image", "@old"), ==, 0);
        compare(rig, "@old", before, k->size);
    }
}

/* --- many threads --- */

enum { REQUESTS = 256 };

typedef struct Parallel {
    BlockRequest r[REQUESTS];
    uint8_t     *buf[REQUESTS];
    unsigned     done;
} Parallel;

static void count_done(BlockRequest *r, int error)
{
    g_assert_cmpint(error, ==, 0);
    ((Parallel *)r->opaque)->done++;
}

/* Requests of a batch do not overlap, but share clusters. */
static void test_parallel(BlockRig *rig, gconstpointer options)
{
    enum { SIZE = 4 << 20, PIECE = SIZE / REQUESTS };
    g_autofree uint8_t  *model  = g_malloc0(SIZE);
    g_autofree Parallel *p      = g_new0(Parallel, 1);
    Random               random = { .state = 7 };
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "-o", options, "@image", "4M"), ==, 0);
    open_image(rig, "image", ",discard=unmap,l2-cache-size=8K" FAST);
    for (unsigned round = 0; round < 20; round++) {
        p->done = 0;
        for (unsigned i = 0; i < REQUESTS; i++) {
            uint64_t offset = (uint64_t)i * PIECE + draw(&random, 8) * BLOCK_SECTOR;
            uint64_t len    = (1 + draw(&random, 20)) * BLOCK_SECTOR;
            bool     zero   = draw(&random, 8) == 0;
            p->buf[i]       = g_malloc(len);
            memset(p->buf[i], zero ? 0 : (int)draw(&random, 256), len);
            memcpy(model + offset, p->buf[i], len);
            p->r[i] =
                (BlockRequest){ .op = BLOCK_ZERO, .offset = offset, .size = len, .done = count_done, .opaque = p };
            if (zero) {
                block_submit(&rig->user, &p->r[i]);
            } else {
                block_write(&rig->user, &p->r[i], offset, p->buf[i], len);
            }
        }
        while (p->done < REQUESTS) {
            loop_step(rig->loop, true);
        }
        for (unsigned i = 0; i < REQUESTS; i++) {
            g_free(p->buf[i]);
        }
        check_read(rig, model, 0, SIZE);
    }
    close_image(rig);
    g_assert_cmpint(RUN(rig, "qemu-img", "check", "-f", "qcow2", "@image"), ==, 0);
    compare(rig, "@image", model, SIZE);
}

/* --- backing files --- */

static void test_chain(BlockRig *rig, gconstpointer unused)
{
    g_autofree uint8_t *model = g_malloc0(MiB);
    uint8_t             buf[BLOCK_SECTOR];
    memset(model, 0x11, 512 * KiB);
    write_file(rig, "base.raw", model, MiB);
    g_assert_cmpint(g_mkdir(block_rig_path(rig, "sub"), 0700), ==, 0);
    /* Relative to the image that says so. */
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "-b", "../base.raw", "-F", "raw", "@sub/a"), ==, 0);
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "-b", "sub/a", "-F", "qcow2", "@b"), ==, 0);
    g_assert_cmpint(RUN(rig, "qemu-io", "-f", "qcow2", "-c", "write -P 0x22 64k 64k", "@sub/a"), ==, 0);
    memset(model + 64 * KiB, 0x22, 64 * KiB);
    open_image(rig, "b", "");
    check_read(rig, model, 0, MiB);
    memset(buf, 0x33, sizeof buf);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 65 * KiB, buf, sizeof buf), ==, 0);
    memset(model + 65 * KiB, 0x33, sizeof buf);
    check_read(rig, model, 0, MiB);
    close_image(rig);
    compare(rig, "@b", model, MiB);
    /* Without it; with another one. */
    open_image(rig, "b", ",backing=");
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 0, buf, sizeof buf), ==, 0);
    g_assert_cmpint(buf[0], ==, 0);
    close_image(rig);
    g_autofree char *other = g_strdup_printf(",backing.driver=raw,backing.file.driver=file,backing.file.filename=%s",
                                             block_rig_path(rig, "base.raw"));
    open_image(rig, "b", other);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 128 * KiB, buf, sizeof buf), ==, 0);
    g_assert_cmpint(buf[0], ==, 0x11);
    close_image(rig);
}

static void refuse(BlockRig *rig, const char *image, const char *more, const char *words)
{
    g_auto(Error) err = {};
    if (add_node(rig, image, more, &err)) {
        g_error("%s%s is not refused: %s", image, more, words);
    }
    if (!strstr(err.text, words)) {
        g_error("%s%s: '%s' is not in '%s'", image, more, words, err.text);
    }
}

static void test_loop(BlockRig *rig, gconstpointer unused)
{
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "@a", "1M"), ==, 0);
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "-b", "a", "-F", "qcow2", "@b"), ==, 0);
    g_assert_cmpint(RUN(rig, "qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "b", "-F", "qcow2", "@a"), ==, 0);
    refuse(rig, "b", "", "they would go round for ever");
    refuse(rig, "a", ",read-only=on", "they would go round for ever");
    g_assert_cmpint(RUN(rig, "qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "gone", "-F", "qcow2", "@a"), ==, 0);
    refuse(rig, "b", "", "/gone': there is no such file");
    g_assert_cmpint(RUN(rig, "qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "nbd://localhost/x", "-F", "raw", "@a"),
                    ==, 0);
    refuse(rig, "a", "", "block driver 'nbd': not supported yet");
    /* Whoever has the backing file may not write it meanwhile. */
    write_file(rig, "base", (const uint8_t *)"", 1);
    g_assert_cmpint(RUN(rig, "qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "base", "-F", "raw", "@a"), ==, 0);
    open_image(rig, "a", "");
    block_rig_refuse(rig, "file=@base,format=raw", "kept from writers by this program itself");
    close_image(rig);
}

/* --- damaged headers and tables --- */

static void poke(BlockRig *rig, const char *image, uint64_t offset, const void *data, size_t len)
{
    int fd = open(block_rig_path(rig, image), O_WRONLY);
    g_assert_cmpint(pwrite(fd, data, len, (off_t)offset), ==, (ssize_t)len);
    close(fd);
}

static uint64_t peek64(BlockRig *rig, const char *image, uint64_t offset)
{
    uint8_t raw[8];
    int     fd = open(block_rig_path(rig, image), O_RDONLY);
    g_assert_cmpint(pread(fd, raw, sizeof raw, (off_t)offset), ==, sizeof raw);
    close(fd);
    return load_be64(raw);
}

static void test_headers(BlockRig *rig, gconstpointer unused)
{
    static const struct {
        unsigned    at, len;
        uint64_t    value;
        const char *words;
    } bad[] = {
        { 0, 4, 0x12345678, "is no qcow2 image" },
        { 4, 4, 1, "'qcow' (qcow version 1): not supported yet" },
        { 4, 4, 4, "version 4" },
        { 20, 4, 8, "its cluster size in bits (9 to 21) is 8" },
        { 20, 4, 22, "its cluster size in bits (9 to 21) is 22" },
        { 20, 4, UINT32_MAX, "its cluster size" },
        { 24, 8, UINT64_MAX, "its size" },
        { 24, 8, INT64_MAX, "its size" },
        { 24, 8, UINT64_C(1) << 50, "too few for its size" },
        { 32, 4, 1, "encrypted qcow2 images (AES): not supported yet" },
        { 32, 4, 2, "encrypted qcow2 images (LUKS): not supported yet" },
        { 32, 4, 3, "its encryption" },
        { 36, 4, UINT32_MAX, "its L1 table is 34359738360 bytes long" },
        { 36, 4, 0, "too few for its size" },
        { 40, 8, 0, "its L1 table lies at 0, which is the header" },
        { 40, 8, 0x30001, "no cluster's beginning" },
        { 40, 8, UINT64_C(1) << 60, "not inside the file" },
        { 48, 8, 0x10008, "its refcount table lies at 0x10008" },
        { 48, 8, UINT64_MAX - 0xffff, "not inside the file" },
        { 56, 4, UINT32_MAX, "its refcount table is" },
        { 60, 4, 65537, "the number of its snapshots is 65537" },
        { 60, 4, 2, "its snapshot table lies at 0" },
        { 72, 8, 4, "external data file: not supported yet" },
        { 72, 8, 16, "extended L2 entries (subclusters): not supported yet" },
        { 72, 8, UINT64_C(1) << 40, "a feature that is not known here: bit 40" },
        { 72, 8, 8, "compression type 0 and the bit for it disagree" },
        { 72, 8, 1, "was not closed cleanly and its counts are out of date; 'qemu-img check -r all" },
        { 72, 8, 2, "is marked as corrupt; 'qemu-img check -r all" },
        { 96, 4, 7, "its refcount order (0 to 6) is 7" },
        { 100, 4, 96, "its header's length is 96" },
        { 100, 4, 108, "its header's length is 108" },
        { 100, 4, 0x20000, "its header's length" },
        { 104, 1, 2, "its compression type (0 or 1) is 2" },
        { 104, 1, 1, "compression type 1 and the bit for it disagree" },
        { 8, 8, 0xffff, "the name of its backing file" },
        { 8, 8, UINT64_MAX, "the name of its backing file" },
        { 16, 4, 1024, "the name of its backing file (1024 bytes" },
        { 112, 4, 0x6803f857, "a header extension is" }, /* with the next line's length */
    };
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        uint8_t raw[8];
        store_be64(raw, bad[i].value << (64 - 8 * bad[i].len));
        write_file(rig, "base", (const uint8_t *)"", 1);
        g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "-b", "base", "-F", "raw", "@a", "1M"), ==, 0);
        poke(rig, "a", bad[i].at, raw, bad[i].len);
        if (bad[i].at == 112) {
            poke(rig, "a", 116, "\x7f\xff\xff\xff", 4);
        }
        refuse(rig, "a", "", bad[i].words);
        if (bad[i].at == 72 && bad[i].value <= 2) { /* may be read */
            g_auto(Error) err = {};
            g_assert_nonnull(add_node(rig, "a", ",read-only=on", &err));
            g_assert_true(block_remove_node(rig->hub, "q", &err));
        }
    }
    write_file(rig, "short", (const uint8_t *)"QFI\xfb\0\0\0\3", 8);
    refuse(rig, "short", "", "is no valid qcow2 image");
}

static void test_options(BlockRig *rig, gconstpointer unused)
{
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "@a", "1M"), ==, 0);
    refuse(rig, "a", ",lazy-refcounts=on", "not supported yet");
    refuse(rig, "a", ",cache-clean-interval=600", "not supported yet");
    refuse(rig, "a", ",overlap-check=all", "overlap-check=all: not supported yet");
    refuse(rig, "a", ",overlap-check=al", "al");
    refuse(rig, "a", ",cache-size=1M,l2-cache-size=2M", "are more than cache-size");
    refuse(rig, "a", ",cache-size=3M,l2-cache-size=1M,refcount-cache-size=1M", "give two of them");
    refuse(rig, "a", ",encrypt.format=luks", "not supported yet");
    refuse(rig, "a", ",backing=nobody", "backing=nobody: there is no node of that name");
    refuse(rig, "a", ",l2-cache-siez=1M", "did you mean 'l2-cache-size'?");
    open_image(rig, "a", ",cache-size=1M,l2-cache-size=512K,overlap-check=constant,lazy-refcounts=off");
    close_image(rig);
}

/* Tables that contradict themselves: the request fails, the image is marked, nothing more is written. */
static void test_corrupt(BlockRig *rig, gconstpointer data)
{
    const char *what = data;
    uint8_t     buf[4096], raw[8];
    memset(buf, 0x44, sizeof buf);
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "@image", "1M"), ==, 0);
    g_assert_cmpint(RUN(rig, "qemu-io", "-f", "qcow2", "-c", "write -P 0x11 0 128k", "@image"), ==, 0);
    uint64_t l1 = peek64(rig, "image", 40), l2 = peek64(rig, "image", l1) & UINT64_C(0xfffffffffffe00),
             reftable = peek64(rig, "image", 48);
    bool on_write = false, on_flush = false;
    if (!strcmp(what, "l2-nowhere")) {
        store_be64(raw, UINT64_C(1) << 63 | UINT64_C(1) << 50);
        poke(rig, "image", l1, raw, 8);
    } else if (!strcmp(what, "l2-odd")) {
        store_be64(raw, UINT64_C(1) << 63 | (l2 + 512));
        poke(rig, "image", l1, raw, 8);
    } else if (!strcmp(what, "data-odd")) {
        store_be64(raw, UINT64_C(1) << 63 | 0x50200);
        poke(rig, "image", l2, raw, 8);
    } else if (!strcmp(what, "packed-nowhere")) {
        store_be64(raw, UINT64_C(1) << 62 | UINT64_C(1) << 50);
        poke(rig, "image", l2, raw, 8);
    } else if (!strcmp(what, "data-on-header")) {
        store_be64(raw, UINT64_C(1) << 63 | l1);
        poke(rig, "image", l2, raw, 8);
        on_write = true;
    } else if (!strcmp(what, "data-on-l2")) {
        store_be64(raw, UINT64_C(1) << 63 | l2);
        poke(rig, "image", l2, raw, 8);
        on_write = true;
    } else if (!strcmp(what, "no-count")) { /* shared, and counted as free */
        uint64_t second = peek64(rig, "image", l2 + 8), counts = peek64(rig, "image", reftable);
        uint64_t cluster = (second & UINT64_C(0xfffffffffffe00)) >> 16;
        store_be64(raw, second & ~(UINT64_C(1) << 63));
        poke(rig, "image", l2 + 8, raw, 8);
        poke(rig, "image", l2, "\0\0\0\0\0\0\0", 8); /* the first one's cluster is free */
        poke(rig, "image", counts + 2 * (cluster - 1), "\0\0\0", 4);
        on_flush = true;
    } else if (!strcmp(what, "block-odd")) {
        store_be64(raw, peek64(rig, "image", reftable) + 512);
        poke(rig, "image", reftable, raw, 8);
        store_be64(raw, 0);
        poke(rig, "image", l2, raw, 8);
        on_write = true;
    }
    open_image(rig, "image", "");
    if (on_flush) {
        g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 64 * KiB, buf, sizeof buf), ==, 0);
        g_assert_cmpint(block_rig_run(rig, BLOCK_FLUSH, 0, NULL, 0), ==, EIO);
    } else {
        g_assert_cmpint(block_rig_run(rig, on_write ? BLOCK_WRITE : BLOCK_READ, 0, buf, sizeof buf), ==, EIO);
    }
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 64 * KiB, buf, sizeof buf), ==, EIO);
    close_image(rig);
    g_assert_cmpint(peek64(rig, "image", 72) & 2, ==, 2);
    refuse(rig, "image", "", "is marked as corrupt");
}

static void test_packed_garbage(BlockRig *rig, gconstpointer unused)
{
    uint8_t buf[512];
    block_rig_make_file(rig, "base.raw", MiB, 0x5a);
    g_assert_cmpint(RUN(rig, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-c", "@base.raw", "@image"), ==, 0);
    uint64_t l2 = peek64(rig, "image", peek64(rig, "image", 40)) & UINT64_C(0xfffffffffffe00);
    uint64_t at = peek64(rig, "image", l2) & ((UINT64_C(1) << 54) - 1);
    poke(rig, "image", at, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    open_image(rig, "image", "");
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 512, buf, sizeof buf), ==, EIO);
    g_assert_cmpint(block_rig_run(rig, BLOCK_READ, 64 * KiB, buf, sizeof buf), ==, 0);
    g_assert_cmpint(buf[511], ==, 0x5a);
    close_image(rig);
}

/* Where the table of counts grows again and again. */
static void test_growth(BlockRig *rig, gconstpointer options)
{
    enum { SIZE = 24 << 20, STEP = 1 << 20 };
    g_autofree uint8_t *buf = g_malloc(STEP);
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "-o", options, "@image", "24M"), ==, 0);
    open_image(rig, "image", FAST);
    for (uint64_t at = 0; at < SIZE; at += STEP) {
        memset(buf, (int)(at / STEP) + 1, STEP);
        g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, at, buf, STEP), ==, 0);
        check_crash(rig);
    }
    close_image(rig);
    g_assert_cmpint(RUN(rig, "qemu-img", "check", "-f", "qcow2", "@image"), ==, 0);
    open_image(rig, "image", "");
    for (uint64_t at = 0; at < SIZE; at += STEP) {
        g_assert_cmpint(block_rig_run(rig, BLOCK_READ, at, buf, STEP), ==, 0);
        g_assert_true(buf[0] == at / STEP + 1 && !memcmp(buf, buf + 1, STEP - 1));
    }
    close_image(rig);
}

/* A trimmed disk gives its space back, and uses it again. */
static void test_trim(BlockRig *rig, gconstpointer unused)
{
    g_autofree uint8_t *buf = g_malloc(4 * MiB);
    struct stat         full, trimmed, again;
    memset(buf, 0x66, 4 * MiB);
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "@image", "4M"), ==, 0);
    open_image(rig, "image", ",discard=unmap");
    const char *path = block_rig_path(rig, "image");
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 0, buf, 4 * MiB), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
    g_assert_cmpint(stat(path, &full), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_DISCARD, 0, NULL, 4 * MiB), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
    g_assert_cmpint(stat(path, &trimmed), ==, 0);
    g_assert_cmpint(trimmed.st_blocks, <, full.st_blocks / 8);
    g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, 0, buf, 4 * MiB), ==, 0);
    g_assert_cmpint(block_rig_run(rig, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
    g_assert_cmpint(stat(path, &again), ==, 0);
    g_assert_cmpint(again.st_size, <=, full.st_size);
    close_image(rig);
}

/* No format given: it is told from the file. */
static void test_probe(BlockRig *rig, gconstpointer unused)
{
    g_auto(Error) err = {};
    g_assert_cmpint(RUN(rig, "qemu-img", "create", "-f", "qcow2", "@image", "7M"), ==, 0);
    Drive *d = block_rig_drive(rig, "file=@image", &err);
    g_assert_cmpstr(d->node->driver->name, ==, "qcow2");
    g_assert_cmpint(d->node->size, ==, 7 * MiB);
}

static void setup(BlockRig *rig, gconstpointer unused)
{
    block_rig_setup(rig);
}

static void teardown(BlockRig *rig, gconstpointer unused)
{
    block_rig_teardown(rig);
}

int main(int argc, char **argv)
{
    static const char *const damages[] = { "l2-nowhere",     "l2-odd",     "data-odd", "packed-nowhere",
                                           "data-on-header", "data-on-l2", "no-count", "block-odd" };
    g_test_init(&argc, &argv, NULL);
#define ADD(name, data, function) g_test_add("/qcow2/" name, BlockRig, data, setup, function, teardown)
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2/random/%s", kinds[i].name);
        g_test_add(name, BlockRig, &kinds[i], setup, test_random, teardown);
    }
    ADD("parallel/64K", "cluster_size=64K", test_parallel);
    ADD("parallel/4K", "cluster_size=4K", test_parallel);
    ADD("growth/512", "cluster_size=512", test_growth);
    ADD("growth/512-64", "cluster_size=512,refcount_bits=64", test_growth);
    ADD("growth/64K", "cluster_size=64K", test_growth);
    ADD("chain", NULL, test_chain);
    ADD("loop", NULL, test_loop);
    ADD("headers", NULL, test_headers);
    ADD("options", NULL, test_options);
    for (size_t i = 0; i < G_N_ELEMENTS(damages); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2/corrupt/%s", damages[i]);
        g_test_add(name, BlockRig, damages[i], setup, test_corrupt, teardown);
    }
    ADD("packed-garbage", NULL, test_packed_garbage);
    ADD("trim", NULL, test_trim);
    ADD("probe", NULL, test_probe);
    return g_test_run();
}
