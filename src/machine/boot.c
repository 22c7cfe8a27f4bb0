/* Direct boot: memory map, files, placement of pieces, and the choice of protocol. */

#include "machine/boot.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "machine/elf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Memory map ---- */

static void insert_range(MemoryMap *map, unsigned at, MemoryRange range)
{
    assert(map->n < MEMORY_MAP_MAX);
    memmove(&map->ranges[at + 1], &map->ranges[at], (map->n - at) * sizeof map->ranges[0]);
    map->ranges[at] = range;
    map->n++;
}

static void remove_range(MemoryMap *map, unsigned at)
{
    map->n--;
    memmove(&map->ranges[at], &map->ranges[at + 1], (map->n - at) * sizeof map->ranges[0]);
}

void memory_map_add(MemoryMap *map, uint64_t addr, uint64_t len, MemoryKind kind)
{
    uint64_t end = addr + len;

    assert(end >= addr);
    if (len == 0) {
        return;
    }
    for (unsigned i = 0; i < map->n;) {
        MemoryRange r     = map->ranges[i];
        uint64_t    r_end = r.addr + r.len;
        if (!ranges_overlap(addr, len, r.addr, r.len)) {
            i++;
            continue;
        }
        remove_range(map, i);
        if (r.addr < addr) {
            insert_range(map, i++, (MemoryRange){ r.addr, addr - r.addr, r.kind });
        }
        if (r_end > end) {
            insert_range(map, i++, (MemoryRange){ end, r_end - end, r.kind });
        }
    }
    unsigned at = 0;
    while (at < map->n && map->ranges[at].addr < addr) {
        at++;
    }
    insert_range(map, at, (MemoryRange){ addr, len, kind });
}

bool memory_map_is_ram(const MemoryMap *map, uint64_t addr, uint64_t len)
{
    for (unsigned i = 0; i < map->n; i++) {
        const MemoryRange *r = &map->ranges[i];
        if (r->kind == MEMORY_RAM && addr >= r->addr && range_fits(addr - r->addr, len, r->len)) {
            return true;
        }
    }
    return false;
}

/* ---- Files ---- */

BootFile *boot_file_open(const char *path, Error *err)
{
    struct stat st;
    int         fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) < 0) {
        int code = errno;
        if (fd >= 0) {
            close(fd);
        }
        error_set_errno(err, code, "cannot open '%s'", path);
        return NULL;
    }
    if (!S_ISREG(st.st_mode) || st.st_size == 0) {
        close(fd);
        error_set(err, "'%s' is %s", path, S_ISREG(st.st_mode) ? "empty" : "not a regular file");
        return NULL;
    }
    void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
        int code = errno;
        close(fd);
        error_set_errno(err, code, "cannot map '%s'", path);
        return NULL;
    }
    BootFile *file = g_new0(BootFile, 1);
    *file          = (BootFile){ .path = g_strdup(path), .fd = fd, .data = data, .size = (size_t)st.st_size };
    return file;
}

BootFile *boot_file_new(const char *path, size_t size, Error *err)
{
    int      flags  = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    uint8_t *memory = mmap(NULL, MAX(size, 1), PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED) {
        error_set_errno(err, errno, "no memory for '%s'", path);
        return NULL;
    }
    BootFile *file = g_new0(BootFile, 1);
    *file          = (BootFile){ .path = g_strdup(path), .fd = -1, .data = memory, .size = size, .memory = memory };
    return file;
}

BootFile *boot_file_from_memory(const char *path, const void *data, size_t size)
{
    g_auto(Error) err = { 0 };
    BootFile *file    = boot_file_new(path, size, &err);
    assert(file);
    memcpy(file->memory, data, size);
    return file;
}

void boot_file_close(BootFile *file)
{
    if (!file) {
        return;
    }
    munmap((void *)file->data, MAX(file->size, 1));
    if (file->fd >= 0) {
        close(file->fd);
    }
    g_free(file->path);
    g_free(file);
}

/* ---- Image ---- */

BootImage *boot_image_new(const MemoryMap *map)
{
    BootImage *image = g_new0(BootImage, 1);
    image->map       = map;
    image->pieces    = g_array_new(FALSE, TRUE, sizeof(BootPiece));
    image->owned     = g_ptr_array_new_with_free_func(g_free);
    image->files     = g_ptr_array_new_with_free_func((GDestroyNotify)boot_file_close);
    return image;
}

void boot_image_free(BootImage *image)
{
    if (!image) {
        return;
    }
    g_array_unref(image->pieces);
    g_ptr_array_unref(image->owned);
    g_ptr_array_unref(image->files);
    g_free(image);
}

void *boot_image_alloc(BootImage *image, size_t size)
{
    void *p = g_malloc0(size);
    g_ptr_array_add(image->owned, p);
    return p;
}

/* The piece of another kind that is in the way; NULL: none. */
static const BootPiece *find_overlap(const BootImage *image, uint64_t addr, uint64_t size, const char *what)
{
    for (guint i = 0; i < image->pieces->len; i++) {
        const BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        if ((!what || strcmp(p->what, what) != 0) && ranges_overlap(addr, size, p->addr, p->size)) {
            return p;
        }
    }
    return NULL;
}

bool boot_image_add(BootImage *image, const BootPiece *piece, Error *err)
{
    assert(piece->len <= piece->size);
    if (piece->size == 0) {
        return true;
    }
    if (!memory_map_is_ram(image->map, piece->addr, piece->size)) {
        return error_set(err, "the %s needs memory at 0x%" PRIx64 " to 0x%" PRIx64 ", which is not all RAM",
                         piece->what, piece->addr, piece->addr + piece->size - 1);
    }
    const BootPiece *other = find_overlap(image, piece->addr, piece->size, piece->what);
    if (other) {
        return error_set(err, "the %s and the %s both want the memory at 0x%" PRIx64, piece->what, other->what,
                         MAX(piece->addr, other->addr));
    }
    g_array_append_vals(image->pieces, piece, 1);
    return true;
}

bool boot_image_add_segment(BootImage *image, const BootPiece *segment, Error *err)
{
    enum { ROMS = 0xa0000, ROMS_END = 0x100000 };
    BootPiece piece = *segment;

    if (piece.addr >= ROMS && piece.addr < ROMS_END) {
        uint64_t cut = MIN(ROMS_END - piece.addr, piece.size);
        piece.addr += cut;
        piece.size -= cut;
        cut = MIN(cut, piece.len);
        piece.data += piece.data ? cut : 0;
        piece.offset += cut;
        piece.len -= cut;
    }
    return boot_image_add(image, &piece, err);
}

/* The best place inside one range of RAM, stepping over pieces that are in the way. Each step passes one piece. */
static bool find_place(const BootImage *image, uint64_t first, uint64_t end, uint64_t size, uint64_t align, bool top,
                       uint64_t *addr)
{
    if (end <= first || end - first < size) {
        return false;
    }
    uint64_t at = top ? align_down(end - size, align) : align_up(first, align);
    while (at >= first && at <= end - size) {
        const BootPiece *other = find_overlap(image, at, size, NULL);
        if (!other) {
            *addr = at;
            return true;
        }
        if (top) {
            if (other->addr < size) {
                return false;
            }
            at = align_down(other->addr - size, align);
        } else {
            at = align_up(other->addr + other->size, align);
        }
    }
    return false;
}

bool boot_image_place(BootImage *image, BootPiece *piece, uint64_t align, uint64_t min, uint64_t max, bool top,
                      Error *err)
{
    assert(piece->len <= piece->size && is_power_of_two(align));
    for (unsigned i = 0; i < image->map->n; i++) {
        const MemoryRange *r = &image->map->ranges[top ? image->map->n - 1 - i : i];
        if (r->kind != MEMORY_RAM || piece->size == 0) {
            continue;
        }
        if (find_place(image, MAX(r->addr, min), MIN(r->addr + r->len, max), piece->size, align, top, &piece->addr)) {
            g_array_append_vals(image->pieces, piece, 1);
            return true;
        }
    }
    if (piece->size == 0) {
        piece->addr = 0;
        return true;
    }
    g_autofree char *size = text_format_size(piece->size);
    return error_set(err, "no room in guest RAM for the %s of %s (a larger -m?)", piece->what, size);
}

/* ---- Choice of protocol ---- */

static const char *describe_unknown(const BootFile *kernel)
{
    const uint8_t *d = kernel->data;

    if (elf_detect(d, kernel->size)) {
        return "an ELF file with neither a multiboot header nor a PVH entry (XEN_ELFNOTE_PHYS32_ENTRY)";
    }
    if (kernel->size > 2 && d[0] == 0x1f && d[1] == 0x8b) {
        return "a gzip file: unpack it first";
    }
    if (kernel->size > 2 && d[0] == 'M' && d[1] == 'Z') {
        return "an EFI program without the Linux boot protocol: it needs firmware (-bios or -pflash)";
    }
    if (kernel->size >= 512 && d[510] == 0x55 && d[511] == 0xaa) {
        return "a boot sector or a very old Linux kernel, which only starts in 16-bit mode";
    }
    return "none of bzImage, ELF with a PVH entry, and multiboot";
}

static bool load_by_protocol(BootImage *image, const BootFile *kernel, const BootOptions *options, Error *err)
{
    if (linux_detect(kernel)) {
        return options->unpack ? packed_load(image, kernel, options, err) : linux_load(image, kernel, options, err);
    }
    if (multiboot_detect(kernel)) {
        return multiboot_load(image, kernel, options, err);
    }
    if (pvh_detect(kernel)) {
        return pvh_load(image, kernel, options, err);
    }
    return error_set(err, "%s", describe_unknown(kernel));
}

BootImage *boot_load_file(BootFile *kernel, const BootOptions *options, const MemoryMap *map, Error *err)
{
    BootImage       *image = boot_image_new(map);
    g_autofree char *path  = g_strdup(kernel->path);
    BootPiece        gdt   = { .what = "GDT", .size = BOOT_GDT_SIZE };

    g_ptr_array_add(image->files, kernel);
    bool ok = load_by_protocol(image, kernel, options, err);
    if (!ok) {
        error_prefix(err, "-kernel %s: ", path);
    }
    ok         = ok && boot_image_place(image, &gdt, 16, 0x1000, 4 * GiB, false, err);
    image->gdt = gdt.addr;
    if (ok && image->entry_mode == BOOT_ENTRY_LONG64) {
        BootPiece tables   = { .what = "page tables", .size = BOOT_PAGE_TABLES_SIZE };
        ok                 = boot_image_place(image, &tables, 4096, 0x1000, 4 * GiB, false, err);
        image->page_tables = tables.addr;
    }
    if (!ok) {
        boot_image_free(image);
        return NULL;
    }
    return image;
}

BootImage *boot_load(const BootOptions *options, const MemoryMap *map, Error *err)
{
    BootFile *kernel = boot_file_open(options->kernel, err);
    if (!kernel) {
        error_prefix(err, "-kernel: ");
        return NULL;
    }
    return boot_load_file(kernel, options, map, err);
}
