/* Option ROMs and kernels that firmware starts: what goes through fw_cfg for them. Machine lock held.
 *
 * Firmware runs each file "genroms/..." like a ROM found on a card. A kernel given beside -bios lies in fw_cfg's own
 * items; edk2 takes it from there, and for SeaBIOS we add a ROM (linuxboot.S) that does.
 *
 * Specifications: QEMU, docs/specs/fw_cfg; Plug and Play BIOS Specification 1.0A, 3.2; Linux Documentation/arch/x86/
 * boot.rst. */

#include "base/bytes.h"
#include "base/file.h"
#include "base/text.h"
#include "machine/pc.h"

#include <string.h>

extern const uint8_t linuxboot_start[], linuxboot_end[], linuxboot_entry[];

/* In the ROM, little-endian: see linuxboot.S. */
typedef struct LinuxbootEntry {
    uint32_t entry, eax, ebx, map, map_max, map_length, map_unit;
} LinuxbootEntry;

enum {
    ROM_BLOCK      = 512,
    ROM_MAX        = 255 * ROM_BLOCK,
    ROM_CHECKSUM   = 6,  /* of linuxboot.S: the byte that makes the sum 0 */
    PNP_POINTER    = 26, /* of any ROM: offset of its Plug and Play header */
    PNP_CHECKSUM   = 9,
    PNP_SIZE       = 32,
    BOOT_LINUX_ROM = 0, /* bootindex of linuxboot */

    /* For kernels with a 32-bit entry: what firmware leaves alone. */
    LOW_RAM_END      = 0x90000,
    INFO_ADDRESS     = 0x10000,
    FIRMWARE_RESERVE = 4 << 20, /* at the end of RAM below 4 GiB */
    MAP_ROOM         = 32,
};

static bool add_rom(PcBoard *pc, const char *name, GBytes *data, int bootindex, Error *err)
{
    g_autofree char *file = g_strconcat("genroms/", name, NULL);
    g_autofree char *path = g_strconcat("/rom@", file, NULL);
    size_t           len;

    if (fw_cfg_file(pc->fw_cfg, file, &len)) {
        return error_set(err, "there is an option ROM '%s' already", name);
    }
    return boot_order_add(&pc->boot_order, bootindex, path, err) && fw_cfg_add_file(pc->fw_cfg, file, data, err);
}

static bool add_from_file(PcBoard *pc, const OptionRom *rom, Error *err)
{
    g_autofree char *path = machine_find_firmware(pc->machine, rom->file, err);
    size_t           len  = 0;
    char            *data = path ? file_read(path, &len, err) : NULL;

    if (!data) {
        return false;
    }
    g_autoptr(GBytes) bytes = g_bytes_new_take(data, len);
    if (len < ROM_BLOCK || len > 256 * ROM_BLOCK || (uint8_t)data[0] != 0x55 || (uint8_t)data[1] != 0xaa) {
        return error_set(err, "'%s' is no option ROM: those begin with 55 AA and have 512 bytes to 128 KiB", path);
    }
    g_autofree char *name = g_path_get_basename(path);
    return add_rom(pc, name, bytes, rom->bootindex, err);
}

bool pc_add_option_roms(PcBoard *pc, Error *err)
{
    const GPtrArray *roms = pc->machine->config.option_roms;

    for (guint i = 0; roms && i < roms->len; i++) {
        const OptionRom *rom = roms->pdata[i];
        if (pc_direct_boot(pc->machine)) {
            return error_set(err,
                             "-option-rom %s: with -kernel alone no firmware runs that would start it (-bios %s "
                             "brings it in)",
                             rom->file, pc->chipset->bios);
        }
        if (!add_from_file(pc, rom, err)) {
            return error_prefix(err, "-option-rom %s: ", rom->file);
        }
    }
    return true;
}

/* ---- Kernels that firmware starts ---- */

/* The ROM's code with the entry and its two checksums. */
static GBytes *make_linuxboot(const LinuxbootEntry *entry)
{
    size_t   size = (size_t)(linuxboot_end - linuxboot_start);
    uint8_t *rom  = g_memdup2(linuxboot_start, size);
    memcpy(rom + (linuxboot_entry - linuxboot_start), entry, sizeof *entry);
    uint8_t *pnp = rom + load_le16(rom + PNP_POINTER), sum = 0;

    g_assert(size % ROM_BLOCK == 0 && size <= ROM_MAX);
    for (unsigned i = 0; i < PNP_SIZE; i++) {
        sum = (uint8_t)(sum + pnp[i]);
    }
    pnp[PNP_CHECKSUM] = (uint8_t)-sum;
    sum               = 0;
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum + rom[i]);
    }
    rom[ROM_CHECKSUM] = (uint8_t)-sum;
    return g_bytes_new_take(rom, size);
}

static void add_part(PcBoard *pc, uint16_t addr_key, uint64_t addr, uint16_t size_key, uint16_t data_key,
                     const void *data, size_t len)
{
    fw_cfg_add_i32(pc->fw_cfg, addr_key, (uint32_t)addr);
    fw_cfg_add_i32(pc->fw_cfg, size_key, (uint32_t)len);
    fw_cfg_add_data(pc->fw_cfg, data_key, data, len);
}

static bool add_linuxboot(PcBoard *pc, const LinuxbootEntry *entry, Error *err)
{
    g_autoptr(GBytes) rom = make_linuxboot(entry);
    return add_rom(pc, "linuxboot.rom", rom, BOOT_LINUX_ROM, err);
}

/* All pieces of these names as one part, with what lies between them. */
static void add_pieces(PcBoard *pc, const BootImage *image, const char *what, const char *other, uint16_t addr_key,
                       uint16_t size_key, uint16_t data_key)
{
    uint64_t first = UINT64_MAX, end = 0;
    for (guint i = 0; i < image->pieces->len; i++) {
        const BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        if (strcmp(p->what, what) == 0 || strcmp(p->what, other) == 0) {
            first = MIN(first, p->addr);
            end   = MAX(end, p->addr + p->size);
        }
    }
    first         = MIN(first, end);
    uint8_t *data = g_malloc0(end - first);
    for (guint i = 0; i < image->pieces->len; i++) {
        const BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        if (p->len && (strcmp(p->what, what) == 0 || strcmp(p->what, other) == 0)) {
            memcpy(data + (p->addr - first), p->data, p->len);
        }
    }
    add_part(pc, addr_key, first, size_key, data_key, data, end - first);
    g_free(data);
}

/* PVH and multiboot: the image as direct boot would lay it out, where firmware is not in the way. */
static bool add_protected_kernel(PcBoard *pc, BootFile *kernel, BootOptions *options, Error *err)
{
    MemoryMap map = { .n = 0 };
    uint64_t  ram = pc->hw.ram_below_4g;

    memory_map_add(&map, 0, LOW_RAM_END, MEMORY_RAM);
    memory_map_add(&map, MiB, ram - MIN(ram, MiB + FIRMWARE_RESERVE), MEMORY_RAM);
    options->info_min = INFO_ADDRESS;
    options->map_room = MAP_ROOM;
    BootImage *image  = boot_load_file(kernel, options, &map, err);
    if (!image) {
        return false;
    }
    bool ok = image->rbx < LOW_RAM_END || error_set(err, "-initrd, -append: no room below 1 MiB for what they say");
    if (ok) {
        add_pieces(pc, image, "start info", "multiboot information", FW_CFG_SETUP_ADDR, FW_CFG_SETUP_SIZE,
                   FW_CFG_SETUP_DATA);
        add_pieces(pc, image, "kernel", "", FW_CFG_KERNEL_ADDR, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA);
        add_pieces(pc, image, "initrd", "module", FW_CFG_INITRD_ADDR, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA);
        fw_cfg_add_i32(pc->fw_cfg, FW_CFG_KERNEL_ENTRY, (uint32_t)image->entry);
        ok = add_linuxboot(pc,
                           &(LinuxbootEntry){ .entry      = (uint32_t)image->entry,
                                              .eax        = (uint32_t)image->rax,
                                              .ebx        = (uint32_t)image->rbx,
                                              .map        = (uint32_t)image->map_at,
                                              .map_max    = image->map_room,
                                              .map_length = (uint32_t)image->map_length_at,
                                              .map_unit   = image->map_unit },
                           err);
    }
    boot_image_free(image);
    return ok;
}

bool pc_add_firmware_kernel(PcBoard *pc, Error *err)
{
    const MachineConfig *c       = &pc->machine->config;
    BootOptions          options = { .kernel = c->kernel,
                                     .initrd = c->initrd,
                                     .append = c->append,
                                     .unpack = pc->machine->unpack_kernel,
                                     .cache  = pc_kernel_cache(pc) };
    Linux16              parts;

    BootFile *kernel = boot_file_open(c->kernel, err);
    if (!kernel) {
        return error_prefix(err, "-kernel: ");
    }
    if (!linux_detect(kernel) || options.unpack) {
        return add_protected_kernel(pc, kernel, &options, err);
    }
    boot_file_close(kernel);
    if (!linux16_load(&parts, &options, pc->hw.ram_below_4g, err)) {
        return false;
    }
    add_part(pc, FW_CFG_SETUP_ADDR, parts.setup_addr, FW_CFG_SETUP_SIZE, FW_CFG_SETUP_DATA, parts.setup,
             parts.setup_size);
    add_part(pc, FW_CFG_CMDLINE_ADDR, parts.cmdline_addr, FW_CFG_CMDLINE_SIZE, FW_CFG_CMDLINE_DATA, parts.cmdline,
             strlen(parts.cmdline) + 1);
    add_part(pc, FW_CFG_KERNEL_ADDR, parts.kernel_addr, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA, parts.kernel,
             parts.kernel_size);
    add_part(pc, FW_CFG_INITRD_ADDR, parts.initrd_addr, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA,
             parts.initrd ? parts.initrd->data : NULL, parts.initrd ? parts.initrd->size : 0);
    linux16_clear(&parts);
    return add_linuxboot(pc, &(LinuxbootEntry){ 0 }, err);
}
