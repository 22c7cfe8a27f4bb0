/* ELF kernels with a PVH entry.
 * Specification: Xen, x86/HVM direct boot ABI (docs/misc/pvh.pandoc) and public/arch-x86/hvm/start_info.h. */

#include "machine/pvh.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"

#include <inttypes.h>
#include <string.h>

enum {
    XEN_ELFNOTE_PHYS32_ENTRY = 18,
    START_INFO_MAGIC         = 0x336ec578,
    START_INFO_SIZE          = 56,
    MODULE_SIZE              = 32,
    MEMMAP_ENTRY_SIZE        = 24,
};

static bool read_entry(const uint8_t *desc, size_t len, uint64_t *entry)
{
    if (!desc || (len != 4 && len != 8)) {
        return false;
    }
    *entry = load_le(desc, (unsigned)len);
    return *entry <= UINT32_MAX;
}

static bool find_entry(const ElfFile *elf, uint64_t *entry)
{
    size_t         len  = 0;
    const uint8_t *desc = elf_find_note(elf, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &len);
    return read_entry(desc, len, entry);
}

bool pvh_find_entry(const uint8_t *notes, uint64_t size, uint64_t align, uint64_t *entry)
{
    size_t         len  = 0;
    const uint8_t *desc = elf_find_note_in(notes, size, align, "Xen", XEN_ELFNOTE_PHYS32_ENTRY, &len);
    return read_entry(desc, len, entry);
}

bool pvh_detect(const BootFile *kernel)
{
    g_auto(Error) ignored = { 0 };
    ElfFile  elf;
    uint64_t entry;

    if (!elf_open(&elf, kernel->data, kernel->size, &ignored)) {
        return false;
    }
    bool found = find_entry(&elf, &entry);
    elf_close(&elf);
    return found;
}

bool pvh_add_segments(BootImage *image, const ElfFile *elf, Error *err)
{
    bool any = false;

    for (unsigned i = 0; i < elf->n_segments; i++) {
        const ElfSegment *s = &elf->segments[i];
        if (s->type != ELF_PT_LOAD || s->memory_size == 0) {
            continue;
        }
        BootPiece piece = { .what   = "kernel",
                            .addr   = s->physical,
                            .size   = s->memory_size,
                            .data   = elf->data ? elf->data + s->offset : NULL,
                            .len    = s->file_size,
                            .offset = s->offset,
                            .zero   = true };
        if (!boot_image_add_segment(image, &piece, err)) {
            return false;
        }
        any = true;
    }
    return any || error_set(err, "an ELF file with nothing to load");
}

/* Everything the kernel is told lies in one piece: start info, module list, memory map, command line. */
static bool place_start_info(BootImage *image, const BootOptions *options, const BootPiece *initrd, Error *err)
{
    const MemoryMap *map     = image->map;
    size_t           cmdline = options->append ? strlen(options->append) + 1 : 1;
    size_t           at_map  = START_INFO_SIZE + MODULE_SIZE;
    unsigned         room    = MAX(map->n, options->map_room);
    size_t           at_cmd  = at_map + room * MEMMAP_ENTRY_SIZE;
    size_t           size    = at_cmd + cmdline;
    uint8_t         *p       = boot_image_alloc(image, size);
    BootPiece        piece   = { .what = "start info", .size = size, .data = p, .len = size };

    if (!boot_image_place(image, &piece, 16, MAX(options->info_min, 0x1000), 4 * GiB, false, err)) {
        return false;
    }
    store_le32(p, START_INFO_MAGIC);
    store_le32(p + 4, 1); /* version */
    if (initrd->size) {
        store_le32(p + 12, 1);
        store_le64(p + 16, piece.addr + START_INFO_SIZE);
        store_le64(p + START_INFO_SIZE, initrd->addr);
        store_le64(p + START_INFO_SIZE + 8, initrd->size);
    }
    store_le64(p + 24, piece.addr + at_cmd);
    store_le64(p + 32, options->rsdp);
    store_le64(p + 40, piece.addr + at_map);
    store_le32(p + 48, map->n);
    for (unsigned i = 0; i < map->n; i++) {
        uint8_t *e = p + at_map + i * MEMMAP_ENTRY_SIZE;
        store_le64(e, map->ranges[i].addr);
        store_le64(e + 8, map->ranges[i].len);
        store_le32(e + 16, map->ranges[i].kind);
    }
    memcpy(p + at_cmd, options->append ? options->append : "", cmdline - 1);
    image->rbx           = piece.addr;
    image->map_at        = piece.addr + at_map;
    image->map_length_at = piece.addr + 48;
    image->map_room      = room;
    image->map_unit      = 1;
    return true;
}

bool pvh_finish(BootImage *image, uint64_t entry, const BootOptions *options, Error *err)
{
    BootPiece initrd = { .what = "initrd" };

    if (!memory_map_is_ram(image->map, entry, 1)) {
        return error_set(err, "the PVH entry at 0x%" PRIx64 " is not in RAM", entry);
    }
    if (options->initrd) {
        BootFile *file = boot_file_open(options->initrd, err);
        if (!file) {
            return error_prefix(err, "-initrd: ");
        }
        g_ptr_array_add(image->files, file);
        initrd.size = initrd.len = file->size;
        initrd.data              = file->data;
        if (!boot_image_place(image, &initrd, 4096, MiB, 2 * GiB, true, err)) {
            return false;
        }
    }
    if (!place_start_info(image, options, &initrd, err)) {
        return false;
    }
    image->protocol   = "PVH";
    image->entry_mode = BOOT_ENTRY_PROTECTED32;
    image->entry      = entry;
    return true;
}

bool pvh_load(BootImage *image, const BootFile *kernel, const BootOptions *options, Error *err)
{
    ElfFile  elf;
    uint64_t entry;

    if (!elf_open(&elf, kernel->data, kernel->size, err)) {
        return false;
    }
    bool ok = find_entry(&elf, &entry) || error_set(err, "an ELF file without a PVH entry");
    ok      = ok && pvh_add_segments(image, &elf, err);
    elf_close(&elf);
    return ok && pvh_finish(image, entry, options, err);
}
