/* Multiboot kernels, version 1.
 * Specification: Multiboot Specification 0.6.96 (Free Software Foundation, 2009). */

#include "machine/boot.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "machine/elf.h"

#include <inttypes.h>
#include <string.h>

enum {
    HEADER_MAGIC    = 0x1badb002,
    LOADER_MAGIC    = 0x2badb002,
    SEARCH_SIZE     = 8192,
    HEADER_MIN      = 12,
    HEADER_KLUDGE   = 32, /* with the address fields */
    PAGE_ALIGN      = 1 << 0,
    MEMORY_INFO     = 1 << 1,
    VIDEO_MODE      = 1 << 2,
    MUST_UNDERSTAND = 0xffff,
    AOUT_KLUDGE     = 1 << 16,
    INFO_SIZE       = 120,
    MODULE_SIZE     = 16,
    MMAP_ENTRY_SIZE = 24, /* with its size field */
    MAX_MODULES     = 1024,
};

/* Bits of the information structure's flags. */
enum {
    INFO_MEMORY      = 1 << 0,
    INFO_CMDLINE     = 1 << 2,
    INFO_MODS        = 1 << 3,
    INFO_MMAP        = 1 << 6,
    INFO_LOADER_NAME = 1 << 9,
};

static const char loader_name[] = "Quern";

/* Offset of the header in the file; false: there is none. */
static bool find_header(const BootFile *kernel, size_t *offset)
{
    size_t end = MIN(kernel->size, SEARCH_SIZE);

    for (size_t at = 0; at + HEADER_MIN <= end; at += 4) {
        const uint8_t *p = kernel->data + at;
        if (load_le32(p) == HEADER_MAGIC && (uint32_t)(load_le32(p) + load_le32(p + 4) + load_le32(p + 8)) == 0) {
            *offset = at;
            return true;
        }
    }
    return false;
}

bool multiboot_detect(const BootFile *kernel)
{
    size_t offset;
    return find_header(kernel, &offset);
}

/* The header says by itself where the file goes. */
static bool load_kludge(BootImage *image, const BootFile *kernel, size_t header, Error *err)
{
    const uint8_t *h = kernel->data + header;

    if (!range_fits(header, HEADER_KLUDGE, kernel->size)) {
        return error_set(err, "the multiboot header is cut off");
    }
    uint32_t header_addr = load_le32(h + 12), load_addr = load_le32(h + 16), load_end = load_le32(h + 20);
    uint32_t bss_end = load_le32(h + 24);
    if (header_addr < load_addr || header_addr - load_addr > header) {
        return error_set(err, "the multiboot header's addresses do not fit its place in the file");
    }
    uint64_t offset = header - (header_addr - load_addr);
    uint64_t len    = load_end ? (uint64_t)load_end - load_addr : kernel->size - offset;
    if ((load_end && load_end < load_addr) || !range_fits(offset, len, kernel->size)) {
        return error_set(err, "the multiboot header wants more than the file has");
    }
    uint64_t size = len;
    if (bss_end) {
        if (bss_end < load_addr || bss_end - load_addr < len) {
            return error_set(err, "the multiboot header's bss ends before the loaded part");
        }
        size = bss_end - load_addr;
    }
    BootPiece piece = {
        .what = "kernel", .addr = load_addr, .size = size, .data = kernel->data + offset, .len = len, .zero = true
    };
    image->entry = load_le32(h + 28);
    return boot_image_add(image, &piece, err);
}

static bool load_elf(BootImage *image, const BootFile *kernel, Error *err)
{
    ElfFile elf;

    if (!elf_open(&elf, kernel->data, kernel->size, err)) {
        return false;
    }
    bool ok = true, any = false;
    image->entry = elf.entry;
    for (unsigned i = 0; ok && i < elf.n_segments; i++) {
        const ElfSegment *s = &elf.segments[i];
        if (s->type != ELF_PT_LOAD || s->memory_size == 0) {
            continue;
        }
        BootPiece piece = { .what = "kernel",
                            .addr = s->physical,
                            .size = s->memory_size,
                            .data = kernel->data + s->offset,
                            .len  = s->file_size,
                            .zero = true };
        /* Higher-half kernels may give the entry as a virtual address. */
        if (elf.entry >= s->virtual && elf.entry - s->virtual < s->memory_size && s->virtual != s->physical &&
            !memory_map_is_ram(image->map, elf.entry, 1)) {
            image->entry = elf.entry - s->virtual + s->physical;
        }
        any = true;
        ok  = boot_image_add_segment(image, &piece, err);
    }
    elf_close(&elf);
    return ok && (any || error_set(err, "an ELF file with nothing to load"));
}

/* "file1 arguments,file2": commas inside are doubled. Each module's string is its whole part. */
static char **split_modules(const char *text)
{
    GPtrArray *parts = g_ptr_array_new();
    GString   *part  = g_string_new(NULL);

    for (const char *p = text; *p; p++) {
        if (*p == ',' && p[1] != ',') {
            g_ptr_array_add(parts, g_string_free(part, FALSE));
            part = g_string_new(NULL);
            continue;
        }
        p += *p == ',';
        g_string_append_c(part, *p);
    }
    g_ptr_array_add(parts, g_string_free(part, FALSE));
    g_ptr_array_add(parts, NULL);
    return (char **)g_ptr_array_free(parts, FALSE);
}

/* Loads modules and appends their list entries; strings are collected and placed later, relative to 0. */
static bool load_modules(BootImage *image, char **modules, uint64_t after, GByteArray *list, GByteArray *strings,
                         Error *err)
{
    for (unsigned i = 0; modules[i]; i++) {
        g_autofree char *path = g_strndup(modules[i], strcspn(modules[i], " "));
        BootFile        *file = boot_file_open(path, err);
        if (!file) {
            return error_prefix(err, "-initrd: module %u: ", i + 1);
        }
        g_ptr_array_add(image->files, file);
        BootPiece piece = { .what = "module", .size = file->size, .data = file->data, .len = file->size };
        if (!boot_image_place(image, &piece, 4096, after, 4 * GiB, false, err)) {
            return false;
        }
        uint8_t entry[MODULE_SIZE] = { 0 };
        store_le32(entry, (uint32_t)piece.addr);
        store_le32(entry + 4, (uint32_t)(piece.addr + piece.size));
        store_le32(entry + 8, strings->len);
        g_byte_array_append(list, entry, sizeof entry);
        g_byte_array_append(strings, (const uint8_t *)modules[i], (guint)strlen(modules[i]) + 1);
    }
    return true;
}

static uint32_t memory_kib(const MemoryMap *map, uint64_t from)
{
    for (unsigned i = 0; i < map->n; i++) {
        if (map->ranges[i].kind == MEMORY_RAM && map->ranges[i].addr == from) {
            return (uint32_t)MIN(map->ranges[i].len / KiB, UINT32_MAX);
        }
    }
    return 0;
}

/* The information structure and all it points to, as one piece in low memory where it fits. */
static bool place_info(BootImage *image, const BootOptions *options, const GByteArray *modules,
                       const GByteArray *strings, uint32_t cmdline, uint32_t name, Error *err)
{
    const MemoryMap *map        = image->map;
    unsigned         room       = MAX(map->n, options->map_room);
    size_t           at_mods    = INFO_SIZE;
    size_t           at_mmap    = at_mods + modules->len;
    size_t           at_strings = at_mmap + room * MMAP_ENTRY_SIZE;
    size_t           size       = at_strings + strings->len;
    uint8_t         *p          = boot_image_alloc(image, size);
    BootPiece        piece      = { .what = "multiboot information", .size = size, .data = p, .len = size };

    if (!boot_image_place(image, &piece, 16, MAX(options->info_min, 0x1000), 4 * GiB, false, err)) {
        return false;
    }
    uint32_t base = (uint32_t)piece.addr;
    store_le32(p, INFO_MEMORY | INFO_CMDLINE | INFO_MODS | INFO_MMAP | INFO_LOADER_NAME);
    store_le32(p + 4, memory_kib(map, 0));
    store_le32(p + 8, memory_kib(map, MiB));
    store_le32(p + 16, base + (uint32_t)at_strings + cmdline);
    store_le32(p + 20, modules->len / MODULE_SIZE);
    store_le32(p + 24, base + (uint32_t)at_mods);
    store_le32(p + 44, map->n * MMAP_ENTRY_SIZE);
    store_le32(p + 48, base + (uint32_t)at_mmap);
    store_le32(p + 64, base + (uint32_t)at_strings + name);
    if (modules->len) {
        memcpy(p + at_mods, modules->data, modules->len);
    }
    for (size_t at = at_mods; at < at_mmap; at += MODULE_SIZE) {
        store_le32(p + at + 8, load_le32(p + at + 8) + base + (uint32_t)at_strings);
    }
    for (unsigned i = 0; i < room; i++) {
        uint8_t *e = p + at_mmap + i * MMAP_ENTRY_SIZE;
        store_le32(e, MMAP_ENTRY_SIZE - 4);
        if (i >= map->n) {
            continue;
        }
        store_le64(e + 4, map->ranges[i].addr);
        store_le64(e + 12, map->ranges[i].len);
        store_le32(e + 20, map->ranges[i].kind);
    }
    memcpy(p + at_strings, strings->data, strings->len);
    image->rbx           = base;
    image->map_at        = base + at_mmap + 4;
    image->map_length_at = base + 44;
    image->map_room      = room;
    image->map_unit      = MMAP_ENTRY_SIZE;
    return true;
}

bool multiboot_load(BootImage *image, const BootFile *kernel, const BootOptions *options, Error *err)
{
    size_t header;

    if (!find_header(kernel, &header)) {
        return error_set(err, "no multiboot header");
    }
    uint32_t flags   = load_le32(kernel->data + header + 4);
    uint32_t unknown = flags & MUST_UNDERSTAND & ~(uint32_t)(PAGE_ALIGN | MEMORY_INFO | VIDEO_MODE);
    if (unknown) {
        return error_set(err, "the multiboot header asks for features nobody has defined (flags 0x%x)", unknown);
    }
    if (flags & VIDEO_MODE) {
        warn_report("-kernel %s: the multiboot kernel asks for a video mode, and gets none", kernel->path);
    }
    if (!(flags & AOUT_KLUDGE ? load_kludge(image, kernel, header, err) : load_elf(image, kernel, err))) {
        return false;
    }
    if (!memory_map_is_ram(image->map, image->entry, 1)) {
        return error_set(err, "the entry at 0x%" PRIx64 " is not in RAM", image->entry);
    }

    uint64_t after = MiB;
    for (guint i = 0; i < image->pieces->len; i++) {
        const BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        after              = MAX(after, p->addr + p->size);
    }
    g_autoptr(GByteArray) modules = g_byte_array_new();
    g_autoptr(GByteArray) strings = g_byte_array_new();
    g_auto(GStrv) paths           = options->initrd ? split_modules(options->initrd) : g_new0(char *, 1);
    if (g_strv_length(paths) > MAX_MODULES) {
        return error_set(err, "-initrd names more than %d modules", MAX_MODULES);
    }
    if (!load_modules(image, paths, after, modules, strings, err)) {
        return false;
    }
    uint32_t         cmdline_at = strings->len;
    const char      *append     = options->append ? options->append : "";
    g_autofree char *cmdline    = g_strconcat(kernel->path, " ", append, NULL);
    g_byte_array_append(strings, (const uint8_t *)cmdline, (guint)strlen(cmdline) + 1);
    uint32_t name_at = strings->len;
    g_byte_array_append(strings, (const uint8_t *)loader_name, sizeof loader_name);

    image->protocol   = "multiboot";
    image->entry_mode = BOOT_ENTRY_PROTECTED32;
    image->rax        = LOADER_MAGIC;
    return place_info(image, options, modules, strings, cmdline_at, name_at, err);
}
