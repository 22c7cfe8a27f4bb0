/* The loader device: puts a value or a file into memory at every reset, and may set where a vCPU starts.
 * Specification: QEMU 9.1 manual, "Generic Loader". Machine lock held.
 *
 *     -device loader,addr=A,data=D,data-len=N[,data-be=on][,cpu-num=C]
 *     -device loader,file=F[,addr=A][,cpu-num=C][,force-raw=on]
 *     -device loader,addr=A,cpu-num=C */

#include "machine/loader.h"

#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "cpu/x86/system.h"
#include "machine/boot.h"
#include "machine/elf.h"
#include "machine/hex.h"

#include <inttypes.h>
#include <string.h>

typedef struct LoaderPiece {
    uint64_t       addr, size; /* what lies beyond len is cleared */
    const uint8_t *data;       /* in `file` or `hex` */
    uint64_t       len;
} LoaderPiece;

typedef struct Loader {
    Device   dev;
    uint64_t addr, data;
    uint32_t cpu_num;
    uint8_t  data_len;
    bool     data_be, force_raw;
    bool     has_addr, has_data, has_cpu;
    char    *path;

    BootFile *file;
    HexFile   hex;
    bool      has_hex;
    uint8_t   value[8];
    GArray   *pieces;
    uint64_t  entry;
} Loader;

static const Field loader_properties[] = {
    FIELD(Loader, addr, "addr", .has_offset = 1 + offsetof(Loader, has_addr), .help = "where to put it"),
    FIELD(Loader, data, "data", .has_offset = 1 + offsetof(Loader, has_data), .help = "value to store"),
    FIELD(Loader, data_len, "data-len", .help = "its bytes, 1 to 8"),
    FIELD(Loader, data_be, "data-be", .help = "store it big-endian"),
    FIELD(Loader, cpu_num, "cpu-num", .has_offset = 1 + offsetof(Loader, has_cpu),
          .help = "vCPU that starts at addr, or at the entry of the file"),
    FIELD(Loader, path, "file", .help = "file to load: ELF, Intel HEX, or raw"),
    FIELD(Loader, force_raw, "force-raw", .help = "load the file as it is, whatever it looks like"),
    {}
};

/* ---- What to load ---- */

static void add_piece(Loader *loader, uint64_t addr, const uint8_t *data, uint64_t len, uint64_t size)
{
    LoaderPiece piece = { .addr = addr, .data = data, .len = len, .size = size };
    g_array_append_val(loader->pieces, piece);
}

static bool read_elf(Loader *loader, Error *err)
{
    ElfFile elf;

    if (!elf_open(&elf, loader->file->data, loader->file->size, err)) {
        return false;
    }
    loader->entry = elf.entry;
    for (unsigned i = 0; i < elf.n_segments; i++) {
        const ElfSegment *s = &elf.segments[i];
        if (s->type == ELF_PT_LOAD) {
            add_piece(loader, s->physical, elf.data + s->offset, s->file_size, s->memory_size);
        }
    }
    elf_close(&elf);
    return true;
}

static bool read_hex(Loader *loader, Error *err)
{
    if (!hex_parse(&loader->hex, loader->file->data, loader->file->size, err)) {
        return false;
    }
    loader->has_hex = true;
    loader->entry   = loader->hex.has_entry ? loader->hex.entry : 0;
    for (guint i = 0; i < loader->hex.records->len; i++) {
        const HexRecord *r = &g_array_index(loader->hex.records, HexRecord, i);
        add_piece(loader, r->addr, loader->hex.data->data + r->offset, r->len, r->len);
        if (i == 0 && !loader->hex.has_entry) {
            loader->entry = r->addr;
        }
    }
    return true;
}

static bool read_file(Loader *loader, Error *err)
{
    loader->file = boot_file_open(loader->path, err);
    if (!loader->file) {
        return false;
    }
    const BootFile *file = loader->file;
    if (!loader->force_raw && (elf_detect(file->data, file->size) || hex_detect(file->data, file->size))) {
        if (loader->has_addr) {
            return error_set(err, "'%s' says by itself where it goes: addr is only for raw files (force-raw=on?)",
                             loader->path);
        }
        return (elf_detect(file->data, file->size) ? read_elf(loader, err) : read_hex(loader, err)) ||
               error_prefix(err, "'%s': ", loader->path);
    }
    loader->entry = loader->addr;
    add_piece(loader, loader->addr, file->data, file->size, file->size);
    return true;
}

static bool read_value(Loader *loader, Error *err)
{
    if (!loader->has_addr) {
        return error_set(err, "data needs addr");
    }
    if (loader->data_len < 1 || loader->data_len > 8) {
        return error_set(err, "data needs data-len, 1 to 8 bytes");
    }
    if (loader->data_len < 8 && loader->data >> (8 * loader->data_len)) {
        return error_set(err, "data 0x%" PRIx64 " has more than data-len=%u bytes", loader->data, loader->data_len);
    }
    for (unsigned i = 0; i < loader->data_len; i++) {
        unsigned shift   = loader->data_be ? loader->data_len - 1 - i : i;
        loader->value[i] = (uint8_t)(loader->data >> (8 * shift));
    }
    add_piece(loader, loader->addr, loader->value, loader->data_len, loader->data_len);
    return true;
}

/* Everything must be RAM or ROM when the device is made. */
static bool check_memory(const Loader *loader, Error *err)
{
    for (guint i = 0; i < loader->pieces->len; i++) {
        const LoaderPiece *p   = &g_array_index(loader->pieces, LoaderPiece, i);
        uint64_t           end = 0;
        if (!checked_add(p->addr, p->size, &end)) {
            return error_set(err, "0x%" PRIx64 " bytes at 0x%" PRIx64 " wrap around", p->size, p->addr);
        }
        for (uint64_t at = p->addr; at < end;) {
            MemTarget target = address_space_lookup(loader->dev.platform->memory_space, at);
            if (!target.ram && !(target.region && target.region->kind == REGION_ROM_DEVICE)) {
                return error_set(err, "there is no memory at 0x%" PRIx64, at);
            }
            at += MIN(target.len, end - at);
        }
    }
    return true;
}

/* ---- The device ---- */

static void loader_clear(Loader *loader)
{
    g_clear_pointer(&loader->pieces, g_array_unref);
    g_clear_pointer(&loader->file, boot_file_close);
    if (loader->has_hex) {
        hex_free(&loader->hex);
        loader->has_hex = false;
    }
}

static bool read_all(Loader *loader, Error *err)
{
    Machine *m = (Machine *)loader->dev.platform;

    if (loader->path && (loader->has_data || loader->data_len || loader->data_be)) {
        return error_set(err, "file does not go with data, data-len and data-be");
    }
    if (loader->force_raw && !loader->path) {
        return error_set(err, "force-raw needs file");
    }
    if (!loader->path && !loader->has_data && !(loader->has_addr && loader->has_cpu)) {
        return error_set(err, "needs file, or addr with data and data-len, or addr with cpu-num");
    }
    if (loader->has_cpu && !machine_cpu(m, loader->cpu_num)) {
        return error_set(err, "cpu-num %u: there are %u vCPUs, the first is 0", loader->cpu_num, m->cpus->len);
    }
    loader->entry = loader->addr;
    return (!loader->path || read_file(loader, err)) && (!loader->has_data || read_value(loader, err)) &&
           check_memory(loader, err);
}

static bool loader_realize(Device *dev, Error *err)
{
    Loader *loader = (Loader *)dev;
    loader->pieces = g_array_new(FALSE, FALSE, sizeof(LoaderPiece));
    if (!read_all(loader, err)) {
        loader_clear(loader);
        return false;
    }
    return true;
}

static void loader_unrealize(Device *dev)
{
    loader_clear((Loader *)dev);
}

static void clear_memory(AddressSpace *as, uint64_t addr, uint64_t len)
{
    static const uint8_t zeros[4096];
    while (len) {
        uint64_t n = MIN(len, sizeof zeros);
        address_space_poke(as, addr, zeros, n);
        addr += n;
        len -= n;
    }
}

static void loader_reset(Device *dev, ResetKind kind)
{
    Loader *loader = (Loader *)dev;

    if (kind == RESET_WAKE) {
        return; /* the guest finds its memory as it left it */
    }
    for (guint i = 0; i < loader->pieces->len; i++) {
        const LoaderPiece *p = &g_array_index(loader->pieces, LoaderPiece, i);
        address_space_poke(dev->platform->memory_space, p->addr, p->data, p->len);
        clear_memory(dev->platform->memory_space, p->addr + p->len, p->size - p->len);
    }
}

DEVICE_TYPE(loader) = {
    .name       = "loader",
    .help       = "Generic Loader",
    .class      = OBJECT_CLASS_DEVICE,
    .size       = sizeof(Loader),
    .properties = loader_properties,
    .bus        = BUS_NONE,
    .category   = DEVICE_MISC,
    .realize    = loader_realize,
    .unrealize  = loader_unrealize,
    .reset      = loader_reset,
};

/* The vCPU begins in real mode with CS based so that the address is reached, wherever it is below 4 GiB. */
static void set_start(Device *dev, void *opaque)
{
    Machine *m      = opaque;
    Loader  *loader = (Loader *)dev;

    if (device_type(dev) != &loader_type || !loader->has_cpu) {
        return;
    }
    X86Cpu *cpu = machine_cpu(m, loader->cpu_num);
    if (!cpu) {
        return; /* it has gone since */
    }
    cpu->rip                  = loader->entry & 0xffff;
    cpu->seg[X86_CS].base     = loader->entry & 0xffff0000;
    cpu->seg[X86_CS].selector = (uint16_t)(cpu->seg[X86_CS].base >> 4);
    cpu->wait_for_sipi        = false;
    x86_update_mode(cpu);
}

void loaders_set_start(Machine *m)
{
    devices_foreach(&m->platform, set_start, m);
}
