/* qcow2 when the host loses power: of what was written since the last barrier any sectors may have reached the disk, in
 * any order. Whichever they are, the image must be sound (clusters that are counted and not used are all that may be
 * wrong), and what the guest has flushed must be there.
 *
 * The program's writes to the image are looked at on their way to the system (the linker's --wrap). */

#include "block_rig.h"

#include "base/checked.h"
#include "base/optstr.h"
#include "base/text.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 16 << 20, DISK = 1 << 20, SECTORS = DISK / BLOCK_SECTOR, LARGEST = 96 };

/* A sector that was written and may not be on disk. */
typedef struct Pending {
    uint64_t offset;
    uint8_t  data[BLOCK_SECTOR];
} Pending;

static struct {
    ino_t    inode; /* of the image; 0: nothing is looked at */
    uint8_t *disk;  /* what is on disk for certain */
    uint64_t size;
    GArray  *pending;
    uint64_t random;
    uint8_t *lost; /* what is left on disk when power is lost at some moment inside the request; NULL: it was not */
    uint64_t lost_size;
} power;

ssize_t __real_pwrite64(int fd, const void *buf, size_t len, off64_t offset);
int     __real_fdatasync(int fd);
int     __real_fallocate64(int fd, int mode, off64_t offset, off64_t len);
ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off64_t offset);
int     __wrap_fdatasync(int fd);
int     __wrap_fallocate64(int fd, int mode, off64_t offset, off64_t len);

static bool is_image(int fd)
{
    struct stat st;
    return power.inode && fstat(fd, &st) == 0 && st.st_ino == power.inode;
}

static uint32_t draw(uint64_t *state, uint32_t below)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint32_t)((*state >> 33) % below);
}

/* Now, once in `chance` times: some of what is pending got there. */
static void lose_power(uint32_t chance)
{
    if (power.lost || draw(&power.random, chance)) {
        return;
    }
    unsigned share  = draw(&power.random, 101);
    power.lost_size = power.size;
    power.lost      = g_memdup2(power.disk, MAX_FILE);
    for (guint i = 0; i < power.pending->len; i++) {
        const Pending *p = &g_array_index(power.pending, Pending, i);
        if (draw(&power.random, 100) < share) {
            memcpy(power.lost + p->offset, p->data, sizeof p->data);
        }
    }
}

/* Whole sectors, the rest of the first and last as they are in the file now. */
static void note_write(int fd, uint64_t offset, uint64_t len)
{
    for (uint64_t at = align_down(offset, BLOCK_SECTOR); at < offset + len; at += BLOCK_SECTOR) {
        Pending p = { .offset = at };
        g_assert_cmpint(pread(fd, p.data, sizeof p.data, (off_t)at), >=, 0);
        g_array_append_val(power.pending, p);
    }
    power.size = MAX(power.size, offset + len);
    g_assert_cmpint(align_up(power.size, BLOCK_SECTOR), <=, MAX_FILE);
}

ssize_t __wrap_pwrite64(int fd, const void *buf, size_t len, off64_t offset)
{
    ssize_t done = __real_pwrite64(fd, buf, len, offset);
    if (done > 0 && is_image(fd)) {
        note_write(fd, (uint64_t)offset, (uint64_t)done);
        lose_power(40);
    }
    return done;
}

int __wrap_fallocate64(int fd, int mode, off64_t offset, off64_t len)
{
    int result = __real_fallocate64(fd, mode, offset, len);
    if (!result && is_image(fd)) {
        note_write(fd, (uint64_t)offset, (uint64_t)len);
    }
    return result;
}

/* The real one would take most of the time. */
int __wrap_fdatasync(int fd)
{
    if (!is_image(fd)) {
        return 0;
    }
    lose_power(3);
    for (guint i = 0; i < power.pending->len; i++) {
        const Pending *p = &g_array_index(power.pending, Pending, i);
        memcpy(power.disk + p->offset, p->data, sizeof p->data);
    }
    g_array_set_size(power.pending, 0);
    return 0;
}

static void watch_image(BlockRig *rig)
{
    struct stat st;
    int         fd = open(block_rig_path(rig, "image"), O_RDONLY);
    g_assert_cmpint(fstat(fd, &st), ==, 0);
    power.disk = g_malloc0(MAX_FILE);
    g_assert_cmpint(read(fd, power.disk, MAX_FILE), ==, st.st_size);
    close(fd);
    power.size    = (uint64_t)st.st_size;
    power.inode   = st.st_ino;
    power.random  = 1;
    power.pending = g_array_new(false, false, sizeof(Pending));
}

static void stop_watching(void)
{
    power.inode = 0;
    g_free(power.disk);
    g_array_unref(power.pending);
}

/* --- the guest --- */

typedef struct Model {
    uint8_t now[DISK];
    uint8_t flushed[DISK];
    bool    touched[SECTORS]; /* since the last flush: either may be there */
} Model;

typedef struct Kind {
    const char *name, *create;
    bool        backing, snapshot;
} Kind;

static const Kind kinds[] = {
    { "64K", "cluster_size=64K" },
    { "4K", "cluster_size=4K" },
    { "512", "cluster_size=512,refcount_bits=64" },
    { "backing", "cluster_size=4K", .backing = true },
    { "snapshot", "cluster_size=4K", .snapshot = true },
    { "v2", "cluster_size=4K,compat=0.10", .snapshot = true },
};

/* Is what was left on disk in order, if power was lost? */
static void check_lost(BlockRig *rig, const Model *m)
{
    if (!power.lost) {
        return;
    }
    g_assert_true(
        g_file_set_contents(block_rig_path(rig, "lost"), (const char *)power.lost, (gssize)power.lost_size, NULL));
    g_clear_pointer(&power.lost, g_free);
    int status = block_rig_program(rig, (const char *[]){ "qemu-img", "check", "-f", "qcow2", "@lost", NULL });
    g_assert_true(status == 0 || status == 3);
    g_assert_cmpint(block_rig_program(rig, (const char *[]){ "qemu-img", "convert", "-f", "qcow2", "-O", "raw", "@lost",
                                                             "@data", NULL }),
                    ==, 0);
    g_autofree char *data = NULL;
    gsize            len;
    g_assert_true(g_file_get_contents(block_rig_path(rig, "data"), &data, &len, NULL) && len == DISK);
    for (uint64_t s = 0; s < SECTORS; s++) {
        if (!m->touched[s] && memcmp(data + s * BLOCK_SECTOR, m->flushed + s * BLOCK_SECTOR, BLOCK_SECTOR)) {
            g_error("sector %" G_GINT64_MODIFIER "u was flushed and is lost", s);
        }
    }
}

static void one_request(BlockRig *rig, Model *m, uint64_t *random)
{
    uint64_t sector = draw(random, SECTORS), n = 1 + draw(random, LARGEST);
    n               = MIN(n, SECTORS - sector);
    uint64_t offset = sector * BLOCK_SECTOR, len = n * BLOCK_SECTOR;
    unsigned what = draw(random, 8);
    if (what) {
        memset(m->touched + sector, 1, n);
    }
    switch (what) {
    case 0:
        g_assert_cmpint(block_rig_run(rig, BLOCK_FLUSH, 0, NULL, 0), ==, 0);
        check_lost(rig, m);
        memcpy(m->flushed, m->now, DISK);
        memset(m->touched, 0, sizeof m->touched);
        return;
    case 1:
        g_assert_cmpint(block_rig_run(rig, BLOCK_ZERO, offset, NULL, len), ==, 0);
        memset(m->now + offset, 0, len);
        break;
    case 2:
        g_assert_cmpint(block_rig_run(rig, BLOCK_DISCARD, offset, NULL, len), ==, 0);
        g_assert_cmpint(block_rig_run(rig, BLOCK_READ, offset, m->now + offset, len), ==, 0);
        break;
    default:
        memset(m->now + offset, (int)draw(random, 256), len);
        g_assert_cmpint(block_rig_run(rig, BLOCK_WRITE, offset, m->now + offset, len), ==, 0);
        break;
    }
    check_lost(rig, m);
}

static void make_image(BlockRig *rig, const Kind *k, Model *m)
{
    if (k->backing) {
        memset(m->now, 0xbb, DISK);
        block_rig_make_file(rig, "base", DISK, 0xbb);
    }
    g_assert_cmpint(block_rig_program(rig, k->backing
                                               ? (const char *[]){ "qemu-img", "create", "-f", "qcow2", "-o", k->create,
                                                                   "-b", "base", "-F", "raw", "@image", NULL }
                                               : (const char *[]){ "qemu-img", "create", "-f", "qcow2", "-o", k->create,
                                                                   "@image", "1M", NULL }),
                    ==, 0);
    if (k->snapshot) {
        memset(m->now, 0x11, DISK);
        g_assert_cmpint(block_rig_program(rig, (const char *[]){ "qemu-io", "-f", "qcow2", "-c", "write -P 0x11 0 1M",
                                                                 "@image", NULL }),
                        ==, 0);
        g_assert_cmpint(block_rig_program(rig, (const char *[]){ "qemu-img", "snapshot", "-c", "s", "@image", NULL }),
                        ==, 0);
    }
    memcpy(m->flushed, m->now, DISK);
}

static void test_power(BlockRig *rig, gconstpointer data)
{
    const Kind       *k      = data;
    g_autofree Model *m      = g_new0(Model, 1);
    uint64_t          random = g_str_hash(k->name);
    make_image(rig, k, m);
    watch_image(rig);
    block_rig_attach(rig, "file=@image,format=qcow2,discard=unmap,l2-cache-size=8K,refcount-cache-size=16K");
    for (unsigned i = 0; i < 250; i++) {
        one_request(rig, m, &random);
    }
    block_detach(&rig->user);
    check_lost(rig, m);
    stop_watching();
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
    g_test_init(&argc, &argv, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        g_autofree char *name = g_strdup_printf("/qcow2-power/%s", kinds[i].name);
        g_test_add(name, BlockRig, &kinds[i], setup, test_power, teardown);
    }
    return g_test_run();
}
