/* Linux kernels in bzImage form, entered in 64-bit mode, or in 32-bit mode when the kernel is a 32-bit one.
 * Specification: Linux Documentation/arch/x86/boot.rst (protocol 2.15, kernel 6.6) and zero-page.rst. */

#include "machine/boot.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Offsets in the file, and in boot_params, which takes the setup header over at the same place. */
enum {
    ACPI_RSDP_ADDR    = 0x070,
    EXT_RAMDISK_IMAGE = 0x0c0,
    EXT_RAMDISK_SIZE  = 0x0c4,
    EXT_CMD_LINE_PTR  = 0x0c8,
    E820_ENTRIES      = 0x1e8,
    SETUP_SECTS       = 0x1f1,
    SYSSIZE           = 0x1f4,
    VID_MODE          = 0x1fa,
    BOOT_FLAG         = 0x1fe,
    JUMP_LENGTH       = 0x201,
    HEADER_MAGIC      = 0x202,
    VERSION           = 0x206,
    TYPE_OF_LOADER    = 0x210,
    LOADFLAGS         = 0x211,
    CODE32_START      = 0x214,
    RAMDISK_IMAGE     = 0x218,
    RAMDISK_SIZE      = 0x21c,
    HEAP_END_PTR      = 0x224,
    CMD_LINE_PTR      = 0x228,
    INITRD_ADDR_MAX   = 0x22c,
    KERNEL_ALIGNMENT  = 0x230,
    RELOCATABLE       = 0x234,
    XLOADFLAGS        = 0x236,
    CMDLINE_SIZE      = 0x238,
    PAYLOAD_OFFSET    = 0x248,
    PAYLOAD_LENGTH    = 0x24c,
    SETUP_DATA        = 0x250,
    PREF_ADDRESS      = 0x258,
    INIT_SIZE         = 0x260,
    HEADER_MAX_END    = 0x290,
    E820_TABLE        = 0x2d0,
    BOOT_PARAMS_SIZE  = 0x1000,
    E820_TABLE_MAX    = 128,
    SECTOR            = 512,
    ENTRY_64          = 0x200, /* from the load address */
};

enum {
    LOADED_HIGH         = 1 << 0,
    CAN_USE_HEAP        = 1 << 7,
    XLF_KERNEL_64       = 1 << 0,
    LOADER_UNDEFINED    = 0xff,
    SETUP_RNG_SEED      = 9,
    RNG_SEED_SIZE       = 32,
    SETUP_DATA_HEADER   = 16,
    OLD_CMDLINE_SIZE    = 255,
    OLD_INITRD_ADDR_MAX = 0x37ffffff,
};

/* The 16-bit entry: where what goes. */
enum {
    SETUP_ADDRESS    = 0x10000,
    CMDLINE_ADDRESS  = 0x20000, /* heap and stack of the setup code end below it */
    KERNEL_ADDRESS   = 0x100000,
    SETUP_MAX        = 0x9000,
    STACK_RESERVE    = 0x200,
    FIRMWARE_RESERVE = 0x20000, /* at the end of RAM: firmware's tables */
};

/* The setup header of a kernel, by value. */
typedef struct Setup {
    unsigned version;
    uint64_t setup_size;  /* boot sector and 16-bit code: what comes before the kernel proper */
    uint64_t kernel_size; /* the rest of the file */
    bool     is_64bit, relocatable;
    uint32_t alignment, cmdline_max, initrd_max;
    uint64_t preferred, init_size;
} Setup;

bool linux_detect(const BootFile *kernel)
{
    return kernel->size >= HEADER_MAX_END && load_le16(kernel->data + BOOT_FLAG) == 0xaa55 &&
           memcmp(kernel->data + HEADER_MAGIC, "HdrS", 4) == 0;
}

static bool read_setup(const BootFile *kernel, Setup *s, Error *err)
{
    const uint8_t *d     = kernel->data;
    unsigned       sects = d[SETUP_SECTS] ? d[SETUP_SECTS] : 4;

    *s             = (Setup){ .version = load_le16(d + VERSION), .setup_size = (sects + 1) * SECTOR };
    unsigned minor = s->version & 0xff, major = s->version >> 8;
    if (s->version < 0x0202 || !(d[LOADFLAGS] & LOADED_HIGH)) {
        return error_set(err,
                         "a Linux kernel of boot protocol %u.%02u%s, which only starts in 16-bit mode: it needs "
                         "firmware and a boot loader",
                         major, minor, d[LOADFLAGS] & LOADED_HIGH ? "" : " (zImage)");
    }
    if (s->setup_size >= kernel->size) {
        return error_set(err, "a Linux kernel of %zu bytes whose set-up code alone has %" PRIu64 " (truncated?)",
                         kernel->size, s->setup_size);
    }
    s->kernel_size = kernel->size - s->setup_size;
    if (s->version >= 0x0204 && (uint64_t)load_le32(d + SYSSIZE) * 16 > align_up(s->kernel_size, 16)) {
        return error_set(err,
                         "a Linux kernel that should have %" PRIu64 " bytes after its set-up code, and has %" PRIu64
                         " (truncated?)",
                         (uint64_t)load_le32(d + SYSSIZE) * 16, s->kernel_size);
    }
    s->is_64bit    = s->version >= 0x020c && (load_le16(d + XLOADFLAGS) & XLF_KERNEL_64);
    s->initrd_max  = s->version >= 0x0203 ? load_le32(d + INITRD_ADDR_MAX) : OLD_INITRD_ADDR_MAX;
    s->cmdline_max = s->version >= 0x0206 ? load_le32(d + CMDLINE_SIZE) : OLD_CMDLINE_SIZE;
    s->relocatable = s->version >= 0x0205 && d[RELOCATABLE];
    s->alignment   = s->version >= 0x0205 ? load_le32(d + KERNEL_ALIGNMENT) : 0;
    s->preferred   = s->version >= 0x020a ? load_le64(d + PREF_ADDRESS) : MiB;
    s->init_size   = s->version >= 0x020a ? load_le32(d + INIT_SIZE) : 0;
    s->init_size   = MAX(s->init_size, s->kernel_size);
    if (!is_power_of_two(s->alignment)) {
        s->alignment = 2 * MiB;
    }
    return true;
}

bool linux_payload(const BootFile *kernel, const uint8_t **payload, size_t *len, Error *err)
{
    Setup s;

    if (!read_setup(kernel, &s, err)) {
        return false;
    }
    uint32_t offset = load_le32(kernel->data + PAYLOAD_OFFSET);
    *len            = load_le32(kernel->data + PAYLOAD_LENGTH);
    if (s.version < 0x0208 || *len == 0) {
        return error_set(err, "the kernel does not say where its compressed part is: unpack-kernel=on cannot work");
    }
    if (!range_fits(offset, *len, s.kernel_size)) {
        return error_set(err, "the compressed part lies outside the file (truncated?)");
    }
    *payload = kernel->data + s.setup_size + offset;
    return true;
}

/* At its preferred address; when RAM ends before it, wherever it fits if it can be moved. */
static bool place_kernel(BootImage *image, const BootFile *kernel, const Setup *s, uint64_t *addr, Error *err)
{
    BootPiece piece = { .what = "kernel",
                        .addr = s->preferred,
                        .size = s->init_size,
                        .data = kernel->data + s->setup_size,
                        .len  = s->kernel_size };

    g_auto(Error) first = { 0 };
    if (boot_image_add(image, &piece, &first)) {
        *addr = piece.addr;
        return true;
    }
    if (!s->relocatable) {
        return error_move(err, &first);
    }
    if (!boot_image_place(image, &piece, s->alignment, MiB, 4 * GiB, false, err)) {
        return false;
    }
    *addr = piece.addr;
    return true;
}

static bool place_cmdline(BootImage *image, const Setup *s, const BootOptions *options, uint8_t *params, Error *err)
{
    size_t len = options->append ? strlen(options->append) : 0;

    if (len > s->cmdline_max) {
        return error_set(err, "-append has %zu characters, this kernel takes %u", len, s->cmdline_max);
    }
    uint8_t *text = boot_image_alloc(image, len + 1);
    memcpy(text, options->append ? options->append : "", len);
    BootPiece piece = { .what = "command line", .size = len + 1, .data = text, .len = len + 1 };
    if (!boot_image_place(image, &piece, 16, 0x1000, 4 * GiB, false, err)) {
        return false;
    }
    store_le32(params + CMD_LINE_PTR, (uint32_t)piece.addr);
    return true;
}

static bool place_initrd(BootImage *image, const Setup *s, const BootOptions *options, uint8_t *params, Error *err)
{
    if (!options->initrd) {
        return true;
    }
    BootFile *file = boot_file_open(options->initrd, err);
    if (!file) {
        return error_prefix(err, "-initrd: ");
    }
    g_ptr_array_add(image->files, file);
    BootPiece piece = { .what = "initrd", .size = file->size, .data = file->data, .len = file->size };
    uint64_t  max   = MIN((uint64_t)s->initrd_max + 1, 4 * GiB);
    if (!boot_image_place(image, &piece, 4096, MiB, max, true, err)) {
        return false;
    }
    store_le32(params + RAMDISK_IMAGE, (uint32_t)piece.addr);
    store_le32(params + RAMDISK_SIZE, (uint32_t)piece.size);
    return true;
}

/* A seed for the kernel's random numbers, new at each boot. */
static bool place_rng_seed(BootImage *image, uint8_t *params, Error *err)
{
    uint8_t  *header = boot_image_alloc(image, SETUP_DATA_HEADER);
    BootPiece all    = {
           .what = "seed", .size = SETUP_DATA_HEADER + RNG_SEED_SIZE, .data = header, .len = SETUP_DATA_HEADER
    };

    store_le32(header + 8, SETUP_RNG_SEED);
    store_le32(header + 12, RNG_SEED_SIZE);
    if (!boot_image_place(image, &all, 16, 0x1000, 4 * GiB, false, err)) {
        return false;
    }
    BootPiece bytes = { .what = "seed", .addr = all.addr + SETUP_DATA_HEADER, .size = RNG_SEED_SIZE, .random = true };
    store_le64(params + SETUP_DATA, all.addr);
    return boot_image_add(image, &bytes, err);
}

static void fill_e820(uint8_t *params, const MemoryMap *map)
{
    unsigned n = MIN(map->n, E820_TABLE_MAX);
    for (unsigned i = 0; i < n; i++) {
        uint8_t *e = params + E820_TABLE + 20 * i;
        store_le64(e, map->ranges[i].addr);
        store_le64(e + 8, map->ranges[i].len);
        store_le32(e + 16, map->ranges[i].kind);
    }
    params[E820_ENTRIES] = (uint8_t)n;
}

bool linux_load(BootImage *image, const BootFile *kernel, const BootOptions *options, Error *err)
{
    Setup    s;
    uint64_t addr = 0;

    if (!read_setup(kernel, &s, err) || !place_kernel(image, kernel, &s, &addr, err)) {
        return false;
    }
    uint8_t *params     = boot_image_alloc(image, BOOT_PARAMS_SIZE);
    unsigned header_end = MIN(HEADER_MAGIC + kernel->data[JUMP_LENGTH], HEADER_MAX_END);
    memcpy(params + SETUP_SECTS, kernel->data + SETUP_SECTS, header_end - SETUP_SECTS);

    BootPiece piece = { .what = "boot parameters", .size = BOOT_PARAMS_SIZE, .data = params, .len = BOOT_PARAMS_SIZE };
    if (!boot_image_place(image, &piece, 4096, 0x1000, 4 * GiB, false, err) ||
        !place_cmdline(image, &s, options, params, err) || !place_initrd(image, &s, options, params, err) ||
        (s.version >= 0x0209 && !place_rng_seed(image, params, err))) {
        return false;
    }
    params[TYPE_OF_LOADER] = LOADER_UNDEFINED;
    store_le32(params + CODE32_START, (uint32_t)addr);
    store_le16(params + VID_MODE, 0xffff); /* "normal" */
    store_le64(params + ACPI_RSDP_ADDR, options->rsdp);
    fill_e820(params, image->map);

    image->protocol   = "Linux";
    image->entry_mode = s.is_64bit ? BOOT_ENTRY_LONG64 : BOOT_ENTRY_PROTECTED32;
    image->entry      = s.is_64bit ? addr + ENTRY_64 : addr;
    image->rsi        = piece.addr;
    return true;
}

/* ---- The 16-bit entry ---- */

/* "vga=" is the loader's business: normal, ext, ask, or a number. */
static uint16_t video_mode(const char *cmdline)
{
    static const struct {
        const char *name;
        uint16_t    mode;
    } names[]       = { { "normal", 0xffff }, { "ext", 0xfffe }, { "ask", 0xfffd } };
    const char *vga = strstr(cmdline, "vga=");

    for (unsigned i = 0; vga && i < sizeof names / sizeof names[0]; i++) {
        if (g_str_has_prefix(vga + 4, names[i].name)) {
            return names[i].mode;
        }
    }
    return vga ? (uint16_t)strtoul(vga + 4, NULL, 0) : 0xffff;
}

static bool place_initrd16(Linux16 *parts, const Setup *s, const BootOptions *options, uint64_t ram, Error *err)
{
    parts->initrd = boot_file_open(options->initrd, err);
    if (!parts->initrd) {
        return error_prefix(err, "-initrd: ");
    }
    uint64_t size = parts->initrd->size, end = MIN((uint64_t)s->initrd_max + 1, ram - MIN(ram, FIRMWARE_RESERVE));
    uint64_t first = MAX(s->preferred, KERNEL_ADDRESS) + s->init_size;
    if (end < size || align_down(end - size, 4096) < first) {
        g_autofree char *text = text_format_size(size);
        return error_set(err, "no room in guest RAM for the initrd of %s (a larger -m?)", text);
    }
    parts->initrd_addr = align_down(end - size, 4096);
    return true;
}

bool linux16_load(Linux16 *parts, const BootOptions *options, uint64_t ram, Error *err)
{
    Setup s;

    *parts = (Linux16){ .setup_addr = SETUP_ADDRESS, .cmdline_addr = CMDLINE_ADDRESS, .kernel_addr = KERNEL_ADDRESS };
    parts->file = boot_file_open(options->kernel, err);
    if (!parts->file) {
        return error_prefix(err, "-kernel: ");
    }
    bool ok = read_setup(parts->file, &s, err);
    if (ok && s.setup_size > SETUP_MAX) {
        ok = error_set(err, "a Linux kernel with %" PRIu64 " bytes of set-up code", s.setup_size);
    }
    size_t len = options->append ? strlen(options->append) : 0;
    if (ok && len > s.cmdline_max) {
        ok = error_set(err, "-append has %zu characters, this kernel takes %u", len, s.cmdline_max);
    }
    if (!ok || (options->initrd && !place_initrd16(parts, &s, options, ram, err))) {
        error_prefix(err, "-kernel %s: ", options->kernel);
        linux16_clear(parts);
        return false;
    }
    parts->cmdline               = g_strdup(options->append ? options->append : "");
    parts->setup                 = g_memdup2(parts->file->data, s.setup_size);
    parts->setup_size            = s.setup_size;
    parts->kernel                = parts->file->data + s.setup_size;
    parts->kernel_size           = s.kernel_size;
    parts->setup[TYPE_OF_LOADER] = LOADER_UNDEFINED;
    parts->setup[LOADFLAGS] |= CAN_USE_HEAP;
    store_le16(parts->setup + HEAP_END_PTR, CMDLINE_ADDRESS - SETUP_ADDRESS - STACK_RESERVE);
    store_le16(parts->setup + VID_MODE, video_mode(parts->cmdline));
    store_le32(parts->setup + CMD_LINE_PTR, CMDLINE_ADDRESS);
    store_le32(parts->setup + RAMDISK_IMAGE, (uint32_t)parts->initrd_addr);
    store_le32(parts->setup + RAMDISK_SIZE, parts->initrd ? (uint32_t)parts->initrd->size : 0);
    return true;
}

void linux16_clear(Linux16 *parts)
{
    boot_file_close(parts->file);
    boot_file_close(parts->initrd);
    g_free(parts->setup);
    g_free(parts->cmdline);
    *parts = (Linux16){ 0 };
}
