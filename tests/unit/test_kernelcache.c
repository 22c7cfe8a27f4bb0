/* The cache of unpacked kernels: what was saved comes back, and what is not exactly that is as if it were not there.
 * Folders and files that somebody else could have made are not used; nothing is left behind. */

#include "machine/kernelcache.h"

#include "base/bytes.h"
#include "base/text.h"

#include <dirent.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    STEP     = 256 << 10,
    SIZE     = 5 * STEP + 12345,
    PACKED   = 3 * STEP + 777,
    HEADER   = 8192,
    ZEROS_AT = 2 * STEP, /* a step of them */
    NOBODY   = 65534,
};

/* ---- A folder, and kernels ---- */

static char *new_folder(void)
{
    g_autofree char *top = g_dir_make_tmp("kernelcache-XXXXXX", NULL);
    g_assert_nonnull(top);
    return g_build_filename(top, "a", "unpacked", NULL);
}

static void remove_all(const char *folder)
{
    GDir       *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        g_assert_cmpint(remove(path), ==, 0);
    }
    if (dir) {
        g_dir_close(dir);
    }
    g_autofree char *parent = g_path_get_dirname(folder);
    g_autofree char *top    = g_path_get_dirname(parent);
    remove(folder);
    g_assert_cmpint(remove(parent), ==, 0);
    g_assert_cmpint(remove(top), ==, 0);
}

/* How many files' names contain this. */
static unsigned count_files(const char *folder, const char *part)
{
    GDir       *dir = g_dir_open(folder, 0, NULL);
    unsigned    n   = 0;
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        n += strstr(name, part) != NULL;
    }
    if (dir) {
        g_dir_close(dir);
    }
    return n;
}

static char *only_file(const char *folder)
{
    GDir *dir  = g_dir_open(folder, 0, NULL);
    char *path = g_build_filename(folder, g_dir_read_name(dir), NULL);
    g_assert_null(g_dir_read_name(dir));
    g_dir_close(dir);
    return path;
}

static void fill(uint8_t *d, size_t len, unsigned seed)
{
    for (size_t i = 0; i < len; i++) {
        d[i] = (uint8_t)((i * i >> 7) + i + seed);
    }
}

static uint8_t *new_packed(unsigned seed)
{
    uint8_t *d = g_malloc(PACKED);
    fill(d, PACKED, seed);
    return d;
}

static uint8_t *new_unpacked(unsigned seed)
{
    uint8_t *d = g_malloc(SIZE);
    fill(d, SIZE, seed ^ 0x5a);
    memset(d + ZEROS_AT, 0, STEP);
    return d;
}

/* ---- Saving and reading ---- */

static void begin_save(KernelCache *c, unsigned seed)
{
    g_autofree uint8_t *packed = new_packed(seed), *unpacked = new_unpacked(seed);
    uint8_t            *to = kernel_cache_begin(c, packed, PACKED, SIZE);
    g_assert_nonnull(to);
    memcpy(to, unpacked, SIZE);
    kernel_cache_save(c);
}

static bool load(KernelCache *c, unsigned seed)
{
    g_autofree uint8_t *packed = new_packed(seed), *unpacked = new_unpacked(seed);
    g_autofree uint8_t *to   = g_malloc0(SIZE);
    KeptKernel         *kept = kernel_cache_find(c, packed, PACKED);
    if (!kept) {
        return false;
    }
    bool ok = kept_kernel_size(kept) == SIZE;
    if (ok) {
        kept_kernel_want(kept, 0, to, SIZE, true);
    }
    ok = ok && kept_kernel_fetch(kept);
    g_assert_true(!ok || memcmp(to, unpacked, SIZE) == 0);
    kept_kernel_close(kept);
    return ok;
}

/* The writer is on its own: until it is done, ten seconds at most. */
static void save(const char *folder, unsigned seed)
{
    KernelCache *c = kernel_cache_new(folder);
    g_assert_nonnull(c);
    begin_save(c, seed);
    for (unsigned i = 0; i < 10000 && !load(c, seed); i++) {
        g_usleep(1000);
    }
    g_assert_true(load(c, seed));
    kernel_cache_free(c);
}

static bool loads(const char *folder, unsigned seed)
{
    KernelCache *c  = kernel_cache_new(folder);
    bool         ok = load(c, seed);
    kernel_cache_free(c);
    return ok;
}

static void test_round_trip(void)
{
    g_autofree char    *folder = new_folder();
    g_autofree uint8_t *packed = new_packed(1), *unpacked = new_unpacked(1);
    g_autofree uint8_t *to = g_malloc(SIZE);
    struct stat         st;
    g_assert_false(loads(folder, 1));
    save(folder, 1);
    g_assert_true(loads(folder, 1));
    g_assert_false(loads(folder, 2));
    g_assert_cmpint(stat(folder, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0700);
    g_autofree char *file = only_file(folder);
    g_assert_cmpint(stat(file, &st), ==, 0);
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpint(st.st_size, ==, HEADER + SIZE - STEP + PACKED); /* the zeros are not in it */

    static const struct {
        size_t at, len;
    } parts[]         = { { 0, 1 },
                          { 100, 70000 },
                          { STEP - 1, 2 },
                          { ZEROS_AT - 5, STEP + 10 },
                          { SIZE - 1, 1 },
                          { 5 * STEP, SIZE - 5 * STEP },
                          { ZEROS_AT + 3, 100 },
                          { 77, SIZE - 77 } };
    KernelCache *c    = kernel_cache_new(folder);
    KeptKernel  *kept = kernel_cache_find(c, packed, PACKED);
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++) {
        memset(to, 0xee, SIZE);
        g_assert_true(kept_kernel_read(kept, parts[i].at, to, parts[i].len));
        g_assert_true(memcmp(to, unpacked + parts[i].at, parts[i].len) == 0);
        g_assert_true(parts[i].len == SIZE || to[parts[i].len] == 0xee);
    }
    memset(to, 0xee, SIZE); /* memory that has been in use */
    kept_kernel_want(kept, 0, to, SIZE, false);
    g_assert_true(kept_kernel_fetch(kept));
    g_assert_true(memcmp(to, unpacked, SIZE) == 0);
    memset(to, 0xee, SIZE); /* what is said to be zeros is not touched */
    kept_kernel_want(kept, 0, to, SIZE, true);
    g_assert_true(kept_kernel_fetch(kept));
    g_assert_cmpint(to[ZEROS_AT], ==, 0xee);
    g_assert_false(kept_kernel_read(kept, SIZE, to, 1));
    kept_kernel_close(kept);
    kernel_cache_free(c);
    remove_all(folder);
}

/* Another kernel whose file would have the same name. */
static void test_same_name(void)
{
    g_autofree char    *folder = new_folder();
    g_autofree uint8_t *packed = new_packed(1), *to = g_malloc(SIZE);
    save(folder, 1);
    packed[PACKED / 2] ^= 1;
    KernelCache *c    = kernel_cache_new(folder);
    KeptKernel  *kept = kernel_cache_find(c, packed, PACKED);
    g_assert_nonnull(kept);
    kept_kernel_want(kept, 0, to, SIZE, false);
    g_assert_false(kept_kernel_fetch(kept));
    kept_kernel_close(kept);
    kernel_cache_free(c);
    remove_all(folder);
}

/* ---- Files that are not what they should be ---- */

static uint32_t crc32c(const uint8_t *d, size_t len)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < len; i++) {
        crc ^= d[i];
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0);
        }
    }
    return ~crc;
}

static void put(const char *file, const char *data, size_t len)
{
    g_assert_true(g_file_set_contents_full(file, data, (gssize)len, G_FILE_SET_CONTENTS_NONE, 0600, NULL));
}

static void test_damage(void)
{
    g_autofree char *folder = new_folder();
    g_autofree char *data   = NULL;
    size_t           len;
    save(folder, 1);
    g_autofree char *file = only_file(folder);
    g_assert_true(g_file_get_contents(file, &data, &len, NULL));
    for (size_t at = 0; at < len; at += at < 64 ? 1 : at < HEADER ? 331 : 70001) {
        data[at] ^= 0x10;
        put(file, data, len);
        g_assert_false(loads(folder, 1));
        data[at] ^= 0x10;
    }
    for (size_t n = 0; n < len; n += n < 64 ? 9 : 99991) {
        put(file, data, n);
        g_assert_false(loads(folder, 1));
    }
    g_autofree char *longer = g_malloc0(len + 1);
    memcpy(longer, data, len);
    put(file, longer, len + 1);
    g_assert_false(loads(folder, 1));
    save(folder, 1); /* it is replaced */
    g_assert_true(loads(folder, 1));
    remove_all(folder);
}

/* Headers with the right checksum that say what is not so. */
static void test_lies(void)
{
    enum { CHECK = 12, SIZE_AT = 16, PACKED_AT = 24, STORED_AT = 32, STEPS_AT = 40, ZEROS = 40 + 4 * 1968 };
    static const struct {
        unsigned at, len;
        uint64_t value;
    } lies[] = {
        { 0, 1, 'q' },
        { 8, 4, 2 },
        { SIZE_AT, 8, 0 },
        { SIZE_AT, 8, SIZE - 1 },
        { SIZE_AT, 8, SIZE + STEP },
        { SIZE_AT, 8, UINT64_MAX },
        { SIZE_AT, 8, UINT64_MAX - 4 * STEP },
        { SIZE_AT, 8, 1968ul * STEP + 1 },
        { SIZE_AT, 8, 1968ul * STEP },
        { PACKED_AT, 8, PACKED - 1 },
        { PACKED_AT, 8, UINT64_MAX },
        { STORED_AT, 8, 0 },
        { STORED_AT, 8, SIZE },
        { STORED_AT, 8, UINT64_MAX },
        { STEPS_AT, 4, 0 },
        { ZEROS, 1, 0 },
        { ZEROS, 1, 0xff },
        { ZEROS, 1, 0x02 }, /* as many, but another one */
    };
    g_autofree char *folder = new_folder();
    g_autofree char *data   = NULL;
    size_t           len;
    save(folder, 1);
    g_autofree char *file = only_file(folder);
    g_assert_true(g_file_get_contents(file, &data, &len, NULL));
    g_assert_cmpint(data[ZEROS], ==, 1 << ZEROS_AT / STEP);
    for (unsigned i = 0; i <= G_N_ELEMENTS(lies); i++) {
        bool             lie    = i < G_N_ELEMENTS(lies);
        g_autofree char *bent   = g_memdup2(data, len);
        uint8_t         *header = (uint8_t *)bent;
        if (lie) {
            store_le(header + lies[i].at, lies[i].value, lies[i].len);
        }
        store_le32(header + CHECK, 0);
        store_le32(header + CHECK, crc32c(header, HEADER));
        put(file, bent, len);
        g_test_message("lie %u", i);
        g_assert_cmpint(loads(folder, 1), ==, !lie);
    }
    remove_all(folder);
}

/* ---- Whose they are ---- */

static void test_folders(void)
{
    g_autofree char *folder = new_folder();
    g_autofree char *parent = g_path_get_dirname(folder);
    g_autofree char *link   = g_build_filename(parent, "link", NULL);
    save(folder, 1);
    for (unsigned mode = 0720; mode <= 0722; mode++) {
        g_assert_cmpint(chmod(folder, mode), ==, 0);
        g_assert_true((mode & 022) == 0 || !kernel_cache_new(folder));
    }
    g_assert_cmpint(chmod(folder, 0755), ==, 0);
    g_assert_true(loads(folder, 1));
    g_assert_cmpint(symlink("unpacked", link), ==, 0);
    g_assert_null(kernel_cache_new(link));
    g_assert_cmpint(unlink(link), ==, 0);
    g_assert_true(g_file_set_contents(link, "", 0, NULL));
    g_assert_null(kernel_cache_new(link));
    g_autofree char *below = g_build_filename(link, "unpacked", NULL);
    g_assert_null(kernel_cache_new(below));
    g_assert_cmpint(unlink(link), ==, 0);
    if (geteuid() == 0) {
        g_assert_cmpint(chown(folder, NOBODY, (gid_t)-1), ==, 0);
        g_assert_null(kernel_cache_new(folder));
    }
    remove_all(folder);
}

static void test_files(void)
{
    g_autofree char *folder = new_folder();
    save(folder, 1);
    g_autofree char *file = only_file(folder), *aside = g_strconcat(file, ".aside", NULL);
    g_assert_cmpint(chmod(file, 0666), ==, 0);
    g_assert_false(loads(folder, 1));
    g_assert_cmpint(chmod(file, 0444), ==, 0);
    g_assert_true(loads(folder, 1));
    if (geteuid() == 0) {
        g_assert_cmpint(chown(file, NOBODY, (gid_t)-1), ==, 0);
        g_assert_false(loads(folder, 1));
        g_assert_cmpint(chown(file, 0, (gid_t)-1), ==, 0);
    }
    g_assert_cmpint(rename(file, aside), ==, 0);
    g_assert_cmpint(symlink(aside, file), ==, 0);
    g_assert_false(loads(folder, 1));
    save(folder, 1); /* in the link's place */
    g_assert_cmpint(unlink(file), ==, 0);
    g_assert_cmpint(mkfifo(file, 0600), ==, 0);
    g_assert_false(loads(folder, 1));
    g_assert_cmpint(unlink(file), ==, 0);
    g_assert_cmpint(mkdir(file, 0700), ==, 0);
    KernelCache *c = kernel_cache_new(folder);
    begin_save(c, 1);
    g_assert_false(load(c, 1));
    kernel_cache_free(c);
    g_assert_cmpuint(count_files(folder, "writing"), ==, 0);
    remove_all(folder);
}

/* Root may write anywhere, so it is somebody else for a while. */
static void test_read_only(void)
{
    g_autofree char *folder = new_folder();
    g_autofree char *parent = g_path_get_dirname(folder), *top = g_path_get_dirname(parent);
    uid_t            me = geteuid();
    save(folder, 1);
    g_autofree char *file = only_file(folder);
    if (me == 0) {
        g_assert_cmpint(chown(folder, NOBODY, (gid_t)-1) | chown(file, NOBODY, (gid_t)-1), ==, 0);
        g_assert_cmpint(chmod(top, 0755) | chmod(parent, 0755), ==, 0);
        g_assert_cmpint(seteuid(NOBODY), ==, 0);
    }
    g_assert_cmpint(chmod(folder, 0500), ==, 0);
    g_assert_true(loads(folder, 1));
    KernelCache *c = kernel_cache_new(folder);
    g_assert_nonnull(c);
    begin_save(c, 2);
    g_usleep(20000);
    kernel_cache_free(c);
    g_assert_false(loads(folder, 2));
    g_assert_cmpuint(count_files(folder, ""), ==, 1);
    g_assert_cmpint(chmod(folder, 0700), ==, 0);
    g_assert_cmpint(seteuid(me), ==, 0);
    remove_all(folder);
}

/* ---- Several, and the end ---- */

static void test_concurrent(void)
{
    enum { WRITERS = 6 };
    g_autofree char    *folder = new_folder();
    g_autofree uint8_t *packed = new_packed(1), *to = g_malloc(SIZE);
    KernelCache        *c[WRITERS], *reader         = kernel_cache_new(folder);
    unsigned            found = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        c[i] = kernel_cache_new(folder);
        begin_save(c[i], 1);
    }
    for (unsigned i = 0; i < 10000 && found < 100; i++) {
        KeptKernel *kept = kernel_cache_find(reader, packed, PACKED);
        if (!kept) {
            g_usleep(1000);
            continue;
        }
        found++; /* as soon as there is anything by this name, it is all there */
        kept_kernel_want(kept, 0, to, SIZE, false);
        g_assert_true(kept_kernel_fetch(kept));
        kept_kernel_close(kept);
    }
    g_assert_cmpuint(found, ==, 100);
    for (unsigned i = 0; i < WRITERS; i++) {
        kernel_cache_free(c[i]);
    }
    kernel_cache_free(reader);
    g_assert_cmpuint(count_files(folder, "writing"), ==, 0);
    g_assert_cmpuint(count_files(folder, ""), ==, 1);
    remove_all(folder);
}

static void set_age(const char *folder, const char *name, int64_t seconds)
{
    g_autofree char *path    = g_build_filename(folder, name, NULL);
    struct timespec  time[2] = { { .tv_sec = g_get_real_time() / G_USEC_PER_SEC - seconds } };
    time[1]                  = time[0];
    g_assert_cmpint(utimensat(AT_FDCWD, path, time, 0), ==, 0);
}

static char *newest(const char *folder, GHashTable *known)
{
    GDir       *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while ((name = g_dir_read_name(dir)) && g_hash_table_contains(known, name)) {
    }
    g_assert_nonnull(name);
    char *copy = g_strdup(name);
    g_dir_close(dir);
    g_hash_table_add(known, copy);
    return copy;
}

static void test_eviction(void)
{
    g_autofree char *folder           = new_folder();
    g_autoptr(GHashTable) known       = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    static const char *const others[] = { "note", ".writing-1-old", ".writing-2-new" };
    for (unsigned i = 0; i < 4; i++) {
        save(folder, i);
        set_age(folder, newest(folder, known), 1000 - 100 * (int)i);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) {
        g_autofree char *path = g_build_filename(folder, others[i], NULL);
        g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    }
    set_age(folder, others[0], 1000000);
    set_age(folder, others[1], 1000000);
    g_assert_true(loads(folder, 0)); /* the oldest, and now the youngest */
    save(folder, 4);
    g_assert_true(loads(folder, 0) && loads(folder, 2) && loads(folder, 3) && loads(folder, 4));
    g_assert_false(loads(folder, 1));
    g_assert_cmpuint(count_files(folder, "unpacked"), ==, 4);
    g_assert_cmpuint(count_files(folder, "note"), ==, 1);
    g_assert_cmpuint(count_files(folder, "old"), ==, 0);
    g_assert_cmpuint(count_files(folder, "new"), ==, 1);
    save(folder, 4); /* its own predecessor makes room for it */
    g_assert_cmpuint(count_files(folder, "unpacked"), ==, 4);
    remove_all(folder);
}

/* Whenever the end comes: a whole file or none. */
static void test_end(void)
{
    g_autofree char *folder = new_folder();
    for (unsigned i = 0; i < 40; i++) {
        KernelCache *c = kernel_cache_new(folder);
        begin_save(c, i % 2);
        g_usleep(i * 100);
        kernel_cache_free(c);
        g_assert_cmpuint(count_files(folder, "writing"), ==, 0);
    }
    KernelCache *c = kernel_cache_new(folder);
    g_assert_null(kernel_cache_begin(c, (const uint8_t *)"", 1, UINT64_MAX));
    g_assert_null(kernel_cache_begin(c, (const uint8_t *)"", 1, 0));
    g_assert_nonnull(kernel_cache_begin(c, (const uint8_t *)"", 1, 1));
    kernel_cache_drop(c);
    g_assert_nonnull(kernel_cache_begin(c, (const uint8_t *)"", 1, 1));
    kernel_cache_free(c);
    remove_all(folder);
}

static void test_name(void)
{
    static const struct {
        const char *cache, *home, *want;
    } cases[] = {
        { "/c", "/h", "/c/quern/unpacked" },
        { NULL, "/h", "/h/.cache/quern/unpacked" },
        { "c", "/h", "/h/.cache/quern/unpacked" },
        { "", "/h", "/h/.cache/quern/unpacked" },
        { NULL, "h", NULL },
        { NULL, NULL, NULL },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_unsetenv("XDG_CACHE_HOME");
        g_unsetenv("HOME");
        if (cases[i].cache) {
            g_setenv("XDG_CACHE_HOME", cases[i].cache, TRUE);
        }
        if (cases[i].home) {
            g_setenv("HOME", cases[i].home, TRUE);
        }
        g_autofree char *folder = kernel_cache_folder();
        g_assert_cmpstr(folder, ==, cases[i].want);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    /* before there are threads: it changes the environment */
    g_test_add_func("/kernelcache/name", test_name);
    g_test_add_func("/kernelcache/round-trip", test_round_trip);
    g_test_add_func("/kernelcache/same-name", test_same_name);
    g_test_add_func("/kernelcache/damage", test_damage);
    g_test_add_func("/kernelcache/lies", test_lies);
    g_test_add_func("/kernelcache/folders", test_folders);
    g_test_add_func("/kernelcache/files", test_files);
    g_test_add_func("/kernelcache/read-only", test_read_only);
    g_test_add_func("/kernelcache/concurrent", test_concurrent);
    g_test_add_func("/kernelcache/eviction", test_eviction);
    g_test_add_func("/kernelcache/end", test_end);
    return g_test_run();
}
