/* Option ROMs and kernels that firmware starts: what goes through fw_cfg for them. Machine lock held.
 *
 * Firmware runs each file "genroms/..." like a ROM found on a card. A kernel given beside -bios lies in fw_cfg's own
 * items; edk2 takes it from there, and for SeaBIOS we add a ROM (linuxboot.S) that does.
 *
 * Specifications: QEMU, docs/specs/fw_cfg; Plug and Play BIOS Specification 1.0A, 3.2; Linux Documentation/arch/x86/
 * boot.rst. */

#include "base/bytes.h"
#include "base/text.h"
#include "machine/pc.h"

#include <string.h>

extern const uint8_t linuxboot_start[], linuxboot_end[];

enum {
    ROM_BLOCK      = 512,
    ROM_MAX        = 255 * ROM_BLOCK,
    ROM_CHECKSUM   = 6,  /* of linuxboot.S: the byte that makes the sum 0 */
    PNP_POINTER    = 26, /* of any ROM: offset of its Plug and Play header */
    PNP_CHECKSUM   = 9,
    PNP_SIZE       = 32,
    BOOT_LINUX_ROM = 0, /* bootindex of linuxboot */
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
    g_autofree char *path     = machine_find_firmware(pc->machine, rom->file, err);
    g_autoptr(GError) failure = NULL;
    char *data;
    gsize len;

    if (!path) {
        return false;
    }
    if (!g_file_get_contents(path, &data, &len, &failure)) {
        return error_set(err, "%s", failure->message);
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

/* The ROM's code with its two checksums. */
static GBytes *make_linuxboot(void)
{
    size_t   size = (size_t)(linuxboot_end - linuxboot_start);
    uint8_t *rom  = g_memdup2(linuxboot_start, size);
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

bool pc_add_firmware_kernel(PcBoard *pc, Error *err)
{
    const MachineConfig *c       = &pc->machine->config;
    BootOptions          options = { .kernel = c->kernel, .initrd = c->initrd, .append = c->append };
    Linux16              parts;

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
    g_autoptr(GBytes) rom = make_linuxboot();
    return add_rom(pc, "linuxboot.rom", rom, BOOT_LINUX_ROM, err);
}
