/* Direct boot: the part that firmware plays on other machines, also when the guest wakes from S3.
 *
 * Once, when all devices are there: places the firmware tables, makes the memory map, loads the kernel. At each reset:
 * fills RAM in and puts chipset and vCPUs into the state in which firmware hands over. Machine lock held, vCPUs
 * stopped. Specifications: those of the kernel protocols (linux.c, pvh.c, multiboot.c); Intel SDM 3, 12.11 for MTRRs;
 * data sheets of the chips for their registers. */

#include "machine/pc.h"

#include "base/ahead.h"
#include "base/bytes.h"
#include "base/checked.h"
#include "base/text.h"
#include "base/trace.h"
#include "cpu/x86/mem.h"
#include "cpu/x86/system.h"
#include "machine/acpi.h"
#include "machine/bios16.h"
#include "memory/backend.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>

enum {
    EBDA_ADDRESS = 0x9fc00,
    EBDA_SIZE    = 0x400,
    BDA_ADDRESS  = 0x400,
    BDA_SIZE     = 0x100,
    FSEG_ADDRESS = 0xf0000,
    FSEG_END     = 0x100000 - BIOS16_SIZE,
    PAGE         = 4096,
};

/* ---- RAM ---- */

/* RAM that is no file's is zero at first, and not there until it is touched. */
static bool ram_untouched(const PcBoard *pc)
{
    bool file = false;
    for (guint i = 0; i < pc->machine->ram->len; i++) {
        file |= g_array_index(pc->machine->ram, RamPart, i).backend->ram->fd >= 0;
    }
    return !pc->ran_before && !file;
}

/* The block that has this address, where in it, and how much lies side by side; the map and the loaders have checked
 * that all of it is RAM. */
static RamBlock *ram_at(PcBoard *pc, uint64_t addr, uint64_t len, uint64_t *at, uint64_t *n)
{
    bool     high   = addr >= 4 * GiB;
    uint64_t offset = high ? addr - 4 * GiB + pc->hw.ram_below_4g : addr;

    g_assert(range_fits(offset, len, high ? pc->machine->config.ram_size : pc->hw.ram_below_4g));
    RamBlock *ram = machine_ram_at(pc->machine, offset, at, n);
    *n            = MIN(*n, len);
    return ram;
}

/* Fills guest RAM, with zeros when there is no data. */
static void fill_ram(PcBoard *pc, uint64_t addr, const uint8_t *data, uint64_t len)
{
    for (uint64_t done = 0, n; done < len; done += n) { /* it may lie in several backends */
        uint64_t  at;
        RamBlock *ram = ram_at(pc, addr + done, len - done, &at, &n);
        if (data) {
            memcpy(ram->host + at, data + done, n);
        } else {
            memset(ram->host + at, 0, n);
        }
        ram_block_written(ram, at, n);
    }
}

static uint8_t *boot_ram_at(void *pc, uint64_t addr, uint64_t *len)
{
    uint64_t  at;
    RamBlock *ram = ram_at(pc, addr, *len, &at, len);
    return ram->host + at;
}

static void boot_ram_written(void *pc, uint64_t addr, uint64_t len)
{
    for (uint64_t done = 0, n; done < len; done += n) {
        uint64_t  at;
        RamBlock *ram = ram_at(pc, addr + done, len - done, &at, &n);
        ram_block_written(ram, at, n);
    }
}

static BootRam boot_ram(PcBoard *pc)
{
    return (BootRam){ .at = boot_ram_at, .written = boot_ram_written, .opaque = pc, .untouched = ram_untouched(pc) };
}

/* ---- Tables ---- */

static FirmwareTables *tables_of(PcBoard *pc, unsigned i)
{
    return i == 0 ? pc->acpi : i == 1 ? pc->smbios : pc->mp;
}

/* Visits all blobs of a zone and use. */
static uint64_t place_blobs(PcBoard *pc, TableZone zone, TableUse use, bool any_use, uint64_t at)
{
    for (unsigned t = 0; t < 3; t++) {
        FirmwareTables *tables = tables_of(pc, t);
        for (guint i = 0; tables && i < tables->blobs->len; i++) {
            TableBlob *blob = tables->blobs->pdata[i];
            if (blob->zone == zone && (any_use || blob->use == use)) {
                blob->address = align_up(at, blob->align);
                at            = blob->address + blob->data->len;
            }
        }
    }
    return at;
}

static const MemoryKind kind_of_use[] = {
    [TABLE_ACPI] = MEMORY_ACPI, [TABLE_NVS] = MEMORY_NVS, [TABLE_RESERVED] = MEMORY_RESERVED
};

/* Tables lie at the end of RAM below 4 GiB, each use in pages of its own, and their entry points in the F segment. */
static bool place_tables(PcBoard *pc, Error *err)
{
    uint64_t size = 0;
    for (TableUse use = TABLE_ACPI; use <= TABLE_RESERVED; use++) {
        size = align_up(place_blobs(pc, TABLE_ZONE_HIGH, use, false, size), PAGE);
    }
    if (pc->hw.ram_below_4g < size + 2 * MiB) {
        return error_set(err, "-m: direct boot needs at least %u MiB", (unsigned)((size + 3 * MiB - 1) / MiB));
    }
    uint64_t at = align_down(pc->hw.ram_below_4g - size, PAGE);
    for (TableUse use = TABLE_ACPI; use <= TABLE_RESERVED; use++) {
        uint64_t end = align_up(place_blobs(pc, TABLE_ZONE_HIGH, use, false, at), PAGE);
        memory_map_add(&pc->map, at, end - at, kind_of_use[use]);
        at = end;
    }
    if (place_blobs(pc, TABLE_ZONE_FSEG, 0, true, FSEG_ADDRESS) > FSEG_END) {
        return error_set(err, "firmware tables do not fit below 1 MiB (too many vCPUs?)");
    }
    for (unsigned t = 0; t < 3; t++) {
        if (tables_of(pc, t)) {
            firmware_tables_apply(tables_of(pc, t));
        }
    }
    return true;
}

/* Where an ACPI table begins, by its item of fw_cfg; 0: nowhere. */
static uint64_t find_table(const PcBoard *pc, const char *file)
{
    for (guint i = 0; pc->acpi && i < pc->acpi->blobs->len; i++) {
        const TableBlob *blob = pc->acpi->blobs->pdata[i];
        if (strcmp(blob->file, file) == 0) {
            return blob->address;
        }
    }
    return 0;
}

KernelCache *pc_kernel_cache(PcBoard *pc)
{
    const Machine *m = pc->machine;

    if (m->unpack_kernel && m->unpack_cache && !pc->kernel_cache) {
        g_autofree char *folder = kernel_cache_folder();
        pc->kernel_cache        = folder ? kernel_cache_new(folder) : NULL;
    }
    return pc->kernel_cache;
}

/* For who wonders where the time has gone. */
static void tell_unpacked(const PcBoard *pc)
{
    if (pc->boot->packed) {
        trace(pc->machine->platform.log, TRACE_UNPACK_KERNEL, "%s",
              pc->boot->was_kept ? "taken from the cache" : "decoded");
    }
}

bool pc_prepare_direct_boot(PcBoard *pc, Error *err)
{
    const MachineConfig *c       = &pc->machine->config;
    BootRam              ram     = boot_ram(pc);
    BootOptions          options = { .kernel = c->kernel,
                                     .initrd = c->initrd,
                                     .append = c->append,
                                     .unpack = pc->machine->unpack_kernel,
                                     .cache  = pc_kernel_cache(pc),
                                     .ram    = &ram };

    if (pc->hw.ram_below_4g <= 2 * MiB) {
        return error_set(err, "-m: direct boot needs more than 2 MiB");
    }
    /* A0000h to EFFFFh is left out: it shows devices and ROMs. */
    memory_map_add(&pc->map, 0, EBDA_ADDRESS, MEMORY_RAM);
    memory_map_add(&pc->map, EBDA_ADDRESS, EBDA_SIZE, MEMORY_RESERVED);
    memory_map_add(&pc->map, FSEG_ADDRESS, MiB - FSEG_ADDRESS, MEMORY_RESERVED);
    memory_map_add(&pc->map, MiB, pc->hw.ram_below_4g - MiB, MEMORY_RAM);
    memory_map_add(&pc->map, 4 * GiB, pc->hw.ram_above_4g, MEMORY_RAM);
    if (pc->hw.ecam_size) {
        memory_map_add(&pc->map, pc->hw.ecam_base, pc->hw.ecam_size, MEMORY_RESERVED);
    }
    if (!place_tables(pc, err)) {
        return false;
    }
    options.rsdp = find_table(pc, ACPI_RSDP_FILE);
    pc->boot     = boot_load(&options, &pc->map, err);
    if (pc->boot) {
        tell_unpacked(pc);
    }
    return pc->boot != NULL;
}

/* ---- What goes into RAM ---- */

static void write_ram(PcBoard *pc, uint64_t addr, const void *data, uint64_t len)
{
    fill_ram(pc, addr, data, len);
}

static void zero_ram(PcBoard *pc, uint64_t addr, uint64_t len)
{
    if (!ram_untouched(pc)) {
        fill_ram(pc, addr, NULL, len);
    }
}

/* -seed (rand): the same in every run; else the host's. */
static void make_random(GRand *rand, uint8_t *bytes, size_t n)
{
    for (size_t i = 0; rand && i < n; i++) {
        bytes[i] = (uint8_t)g_rand_int(rand);
    }
    for (size_t done = 0; !rand && done < n;) {
        ssize_t got = getrandom(bytes + done, n - done, 0);
        done += got > 0 ? (size_t)got : 0;
    }
}

static void write_random(PcBoard *pc, uint64_t addr, uint64_t len)
{
    Platform *platform    = &pc->machine->platform;
    uint64_t  mix         = platform->random_seed ^ (platform->random_seed >> 32);
    g_autoptr(GRand) rand = platform->have_seed ? g_rand_new_with_seed((guint32)mix) : NULL;
    for (uint64_t n; len; addr += n, len -= n) {
        uint8_t bytes[64];
        n = MIN(len, sizeof bytes);
        make_random(rand, bytes, n);
        write_ram(pc, addr, bytes, n);
    }
    if (rand) { /* another at the next boot */
        platform->random_seed = platform->random_seed * UINT64_C(6364136223846793005) + 1;
    }
}

/* Files must be as long as they were: what was cut off cannot be read any more. */
static bool check_files(PcBoard *pc, Error *err)
{
    for (guint i = 0; i < pc->boot->files->len; i++) {
        const BootFile *file = pc->boot->files->pdata[i];
        struct stat     st;
        if (file->fd >= 0 && (fstat(file->fd, &st) < 0 || (uint64_t)st.st_size < file->size)) {
            return error_set(err, "'%s' has become shorter since the machine was started", file->path);
        }
    }
    return true;
}

/* The kernel's segments are in RAM since it was loaded, as long as no guest has run. */
static bool unpack_again(PcBoard *pc, Error *err)
{
    BootRam ram = boot_ram(pc);

    if (!pc->ran_before) {
        return true;
    }
    bool ok = boot_image_unpack(pc->boot, &ram, err);
    tell_unpacked(pc);
    return ok;
}

/* Kernel and initrd may be large. */
static void touch_pieces(PcBoard *pc, Ahead *a)
{
    for (guint i = 0; ram_untouched(pc) && i < pc->boot->pieces->len; i++) {
        const BootPiece *p = &g_array_index(pc->boot->pieces, BootPiece, i);
        for (uint64_t done = 0, n; p->data && done < p->len; done += n) {
            n             = p->len - done;
            uint8_t *host = boot_ram_at(pc, p->addr + done, &n);
            ahead_ask_touch(a, host, n);
        }
    }
}

static void write_pieces(PcBoard *pc)
{
    const BootImage *image = pc->boot;
    Ahead           *ahead = ahead_new(AHEAD_WORTH_A_THREAD);

    touch_pieces(pc, ahead);
    for (guint i = 0; i < image->pieces->len; i++) {
        const BootPiece *p = &g_array_index(image->pieces, BootPiece, i);
        if (p->random) {
            write_random(pc, p->addr, p->size);
            continue;
        }
        if (p->len && p->data) {
            write_ram(pc, p->addr, p->data, p->len);
        }
        if (p->zero) {
            zero_ram(pc, p->addr + p->len, p->size - p->len);
        }
    }
    ahead_free(ahead);
    for (guint i = 0; i < image->files->len; i++) { /* the copy is made: give the pages back */
        const BootFile *file = image->files->pdata[i];
        if (!file->memory) {
            madvise((void *)file->data, file->size, MADV_DONTNEED);
        }
    }
}

/* While Linux starts it writes, whatever else it does: where it says it unpacks itself to; above that, from there on;
 * and at the top of RAM, which it gives to its tables first: 64 bytes for each page, and hash tables. */
static void touch_ahead(PcBoard *pc)
{
    enum { ABOVE = 28 * MiB, LEAST = 256 * MiB, MOST = 64 * MiB };
    bool     is_linux = pc->boot->packed || strcmp(pc->boot->protocol, "Linux") == 0;
    uint64_t ram = pc->machine->config.ram_size, kernel = 0, n;
    if (!is_linux || ram < LEAST || !ram_untouched(pc) || pc->ahead) {
        return;
    }
    pc->ahead = ahead_new(AHEAD_AT_ONCE);
    for (guint i = 0; i < pc->boot->pieces->len; i++) {
        const BootPiece *p = &g_array_index(pc->boot->pieces, BootPiece, i);
        if (strcmp(p->what, "kernel") == 0) {
            n             = p->size;
            uint8_t *host = boot_ram_at(pc, p->addr, &n);
            ahead_ask_touch(pc->ahead, host, n);
            kernel = MAX(kernel, p->addr + p->size);
        }
    }
    uint64_t above = pc->hw.ram_above_4g, left = pc->hw.ram_below_4g - MIN(pc->hw.ram_below_4g, kernel);
    uint64_t tables = MIN(MIN(ram / 64 + ram / 256, (uint64_t)MOST), above ? above : left);
    n               = tables;
    if (n) {
        uint8_t *host = boot_ram_at(pc, (above ? 4 * GiB + above : pc->hw.ram_below_4g) - tables, &n);
        ahead_ask_touch(pc->ahead, host, n);
    }
    n = MIN((uint64_t)ABOVE, left);
    if (n) {
        uint8_t *host = boot_ram_at(pc, kernel, &n);
        ahead_ask_touch(pc->ahead, host, n);
    }
}

static void write_tables(PcBoard *pc)
{
    for (unsigned t = 0; t < 3; t++) {
        FirmwareTables *tables = tables_of(pc, t);
        for (guint i = 0; tables && i < tables->blobs->len; i++) {
            const TableBlob *blob = tables->blobs->pdata[i];
            write_ram(pc, blob->address, blob->data->data, blob->data->len);
        }
    }
}

/* BIOS data area and extended BIOS data area (IBM PS/2 and PC BIOS Interface Technical Reference, 1991, chapter 3). */
static void write_bios_data(PcBoard *pc)
{
    uint8_t  bda[BDA_SIZE] = { 0 }, ebda[EBDA_SIZE] = { 0 };
    unsigned n_serial = 0, n_parallel = 0;

    for (unsigned i = 0; i < 4; i++) {
        if (pc->hw.serial[i]) {
            store_le16(bda + 2 * n_serial++, pc->hw.serial[i]);
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        if (pc->hw.parallel[i]) {
            store_le16(bda + 8 + 2 * n_parallel++, pc->hw.parallel[i]);
        }
    }
    store_le16(bda + 0x0e, EBDA_ADDRESS >> 4);
    store_le16(bda + 0x10, (uint16_t)(2 | (pc->hw.i8042 ? 4 : 0) | n_serial << 9 | n_parallel << 14));
    store_le16(bda + 0x13, EBDA_ADDRESS / KiB);
    ebda[0] = EBDA_SIZE / KiB;
    write_ram(pc, BDA_ADDRESS, bda, sizeof bda);
    write_ram(pc, EBDA_ADDRESS, ebda, sizeof ebda);
}

static void write_bios_services(PcBoard *pc)
{
    uint8_t image[BIOS16_SIZE], vectors[BIOS16_VECTORS_SIZE];

    bios16_make(image, vectors, &pc->map);
    write_ram(pc, 0, vectors, sizeof vectors);
    write_ram(pc, MiB - BIOS16_SIZE, image, sizeof image);
}

/* ---- Chipset ---- */

static void out8(PcBoard *pc, uint16_t port, uint8_t value)
{
    address_space_store(pc->machine->platform.io_space, port, value, 1);
}

void pc_config(PcBoard *pc, uint8_t devfn, unsigned reg, uint32_t value, unsigned size)
{
    pci_bus_config_write(pc->bus, 0, devfn, reg, value, size);
}

void pc_show_shadow_ram(PcBoard *pc, unsigned pam0)
{
    pc_config(pc, 0, pam0, 0x10, 1);
    for (unsigned i = 1; i < 7; i++) {
        pc_config(pc, 0, pam0 + i, 0x11, 1);
    }
}

static void set_up_chipset(PcBoard *pc)
{
    const PcWiring *w = pc->chipset->wiring;

    pc->chipset->set_up(pc);
    if (pc->pm) {
        address_space_store(pc->machine->platform.io_space, w->pm_base + 4u, 1, 2); /* SCI_EN: ACPI mode */
    }
    if (pc->pic) {
        unsigned level = w->pci ? 1u << PC_SCI_IRQ : 0;
        for (unsigned i = 0; i < w->n_pirqs; i++) {
            level |= 1u << w->irqs[i];
        }
        i8259_set_elcr(pc->pic, (uint16_t)level);
        out8(pc, 0x20, 0x11); /* both: ICW1 to ICW4 with the vectors a BIOS uses, 08h and 70h */
        out8(pc, 0x21, 0x08);
        out8(pc, 0x21, 0x04);
        out8(pc, 0x21, 0x01);
        out8(pc, 0xa0, 0x11);
        out8(pc, 0xa1, 0x70);
        out8(pc, 0xa1, 0x02);
        out8(pc, 0xa1, 0x01);
        /* Open: timer, keyboard, cascade. With hardware-reduced ACPI nobody would turn them off before they come. */
        out8(pc, 0x21, pc->hw.reduced ? 0xff : 0xf8);
        out8(pc, 0xa1, 0xff);
    }
    if (pc->machine->pit != ON_OFF_AUTO_OFF) {
        out8(pc, 0x43, 0x34); /* counter 0: rate generator, 18.2 Hz */
        out8(pc, 0x40, 0);
        out8(pc, 0x40, 0);
    }
}

/* ---- vCPUs ---- */

enum {
    CODE64 = 0xb | SEG_S | SEG_P | SEG_L | SEG_G,
    CODE32 = 0xb | SEG_S | SEG_P | SEG_DB | SEG_G,
    DATA   = 0x3 | SEG_S | SEG_P | SEG_DB | SEG_G,
    TSS    = 0xb | SEG_P,

    CODE_SELECTOR = 0x10,
    DATA_SELECTOR = 0x18,
    TSS_SELECTOR  = 0x20,
    GDT_LIMIT     = 0x2f,
    TSS_LIMIT     = 0x67,

    MTRR_UC          = 0,
    MTRR_WP          = 5,
    MTRR_WB          = 6,
    MTRR_FIXED       = 1 << 10,
    MTRR_ENABLE      = 1 << 11,
    MTRR_VALID       = 1 << 11,
    LAPIC_SVR        = 0xf0,
    LAPIC_LVT_LINT0  = 0x350,
    LAPIC_LVT_LINT1  = 0x360,
    SVR_ENABLED      = 0x1ff,
    DELIVERY_EXTINT  = 0x700,
    DELIVERY_NMI     = 0x400,
    N_FIXED_MTRRS    = 11,
    FIXED_A0000      = 2,
    FIXED_C0000      = 3,
    PTE_PRESENT_RW   = 3,
    PDE_LARGE        = 0x80,
    ENTRIES_PER_PAGE = 512,
};

static uint64_t descriptor(uint32_t attr)
{
    /* base 0, limit FFFFFh in units of 4 KiB */
    return 0xffff | (uint64_t)(attr & 0xff) << 40 | UINT64_C(0xf) << 48 | (uint64_t)(attr >> 12 & 0xf) << 52;
}

static void write_gdt(PcBoard *pc, bool long_mode)
{
    uint8_t gdt[BOOT_GDT_SIZE] = { 0 };
    store_le64(gdt + CODE_SELECTOR, descriptor(long_mode ? CODE64 : CODE32));
    store_le64(gdt + DATA_SELECTOR, descriptor(DATA));
    store_le64(gdt + TSS_SELECTOR, TSS_LIMIT | (uint64_t)TSS << 40); /* 16 bytes in 64-bit mode: the rest is 0 */
    write_ram(pc, pc->boot->gdt, gdt, sizeof gdt);
}

/* PML4, page directory pointers, and four page directories of 2 MiB pages: 4 GiB identity-mapped. */
static void write_page_tables(PcBoard *pc)
{
    uint64_t             base  = pc->boot->page_tables;
    g_autofree uint64_t *table = g_new0(uint64_t, BOOT_PAGE_TABLES_SIZE / sizeof(uint64_t));

    table[0] = htole64((base + PAGE) | PTE_PRESENT_RW);
    for (unsigned i = 0; i < 4; i++) {
        table[ENTRIES_PER_PAGE + i] = htole64((base + (2 + i) * PAGE) | PTE_PRESENT_RW);
    }
    for (uint64_t i = 0; i < 4 * ENTRIES_PER_PAGE; i++) {
        table[2 * ENTRIES_PER_PAGE + i] = htole64(i * 2 * MiB | PDE_LARGE | PTE_PRESENT_RW);
    }
    write_ram(pc, base, table, BOOT_PAGE_TABLES_SIZE);
}

/* Everything is cached, but what lies in the hole below 4 GiB and where devices and ROMs are below 1 MiB. */
static void set_mtrrs(const PcBoard *pc, X86Cpu *cpu)
{
    uint64_t physical = (UINT64_C(1) << cpu->phys_bits) - 1;
    uint64_t hole     = pc->hw.pci32_first;

    for (unsigned i = 0; i < N_FIXED_MTRRS; i++) {
        uint64_t type      = i == FIXED_A0000 ? MTRR_UC : i >= FIXED_C0000 ? MTRR_WP : MTRR_WB;
        cpu->mtrr_fixed[i] = type * UINT64_C(0x0101010101010101);
    }
    cpu->mtrr_base[0] = hole | MTRR_UC;
    cpu->mtrr_mask[0] = (~(4 * GiB - hole - 1) & physical) | MTRR_VALID;
    if (pc->hw.ecam_size) {
        cpu->mtrr_base[1] = pc->hw.ecam_base | MTRR_UC;
        cpu->mtrr_mask[1] = (~(pc->hw.ecam_size - 1) & physical) | MTRR_VALID;
    }
    cpu->mtrr_def_type = MTRR_ENABLE | MTRR_FIXED | MTRR_WB;
}

static void set_lapic(X86Cpu *cpu, unsigned reg, uint32_t value)
{
    region_write(apic_region(cpu->apic), reg, 4, value);
}

static void set_segments(X86Cpu *cpu, bool long_mode)
{
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        bool code   = i == X86_CS;
        cpu->seg[i] = (X86Segment){ .limit    = 0xffffffff,
                                    .attr     = code ? (long_mode ? CODE64 : CODE32) : DATA,
                                    .selector = code ? CODE_SELECTOR : DATA_SELECTOR };
    }
    cpu->tr  = (X86Segment){ .limit = TSS_LIMIT, .attr = TSS, .selector = TSS_SELECTOR };
    cpu->idt = (X86Table){ 0 };
}

/* Virtual wire: the 8259 and NMI reach the boot processor through its local APIC. */
static void set_virtual_wire(X86Cpu *cpu)
{
    set_lapic(cpu, LAPIC_SVR, SVR_ENABLED);
    set_lapic(cpu, LAPIC_LVT_LINT0, DELIVERY_EXTINT);
    set_lapic(cpu, LAPIC_LVT_LINT1, DELIVERY_NMI);
}

static void start_boot_processor(PcBoard *pc)
{
    const BootImage *image     = pc->boot;
    X86Cpu          *cpu       = pc->machine->cpus->pdata[0];
    bool             long_mode = image->entry_mode == BOOT_ENTRY_LONG64;

    write_gdt(pc, long_mode);
    cpu->gdt = (X86Table){ .base = image->gdt, .limit = GDT_LIMIT };
    cpu->cr0 = CR0_PE | CR0_ET;
    if (long_mode) {
        write_page_tables(pc);
        cpu->cr3  = image->page_tables;
        cpu->cr4  = CR4_PAE;
        cpu->efer = EFER_LME | EFER_LMA;
        cpu->cr0 |= CR0_PG | CR0_WP;
    }
    set_segments(cpu, long_mode);
    memset(cpu->gpr, 0, sizeof cpu->gpr);
    cpu->gpr[X86_RAX] = image->rax;
    cpu->gpr[X86_RBX] = image->rbx;
    cpu->gpr[X86_RSI] = image->rsi;
    cpu->rip          = image->entry;
    x86_update_mode(cpu);
    x86_tlb_flush(cpu, true);
    set_virtual_wire(cpu);
}

void pc_start_direct_boot(PcBoard *pc)
{
    g_auto(Error) err = { 0 };

    if (!check_files(pc, &err) || !unpack_again(pc, &err)) {
        error_report(&err);
        pc->machine->platform.request_shutdown(&pc->machine->platform, SHUTDOWN_HOST_REQUEST, 1);
        return;
    }
    set_up_chipset(pc);
    write_bios_data(pc);
    write_bios_services(pc);
    write_tables(pc);
    write_pieces(pc);
    touch_ahead(pc);
    for (guint i = 0; i < pc->machine->cpus->len; i++) {
        set_mtrrs(pc, pc->machine->cpus->pdata[i]);
    }
    start_boot_processor(pc);
}

/* RAM is as the guest left it. It goes on where the FACS says, in real mode (ACPI 6.4, 5.2.10 and 16.3.1). */
void pc_wake_direct_boot(PcBoard *pc)
{
    enum { FACS_WAKING_VECTOR = 12 };
    Machine *m    = pc->machine;
    X86Cpu  *cpu  = m->cpus->pdata[0];
    uint64_t facs = find_table(pc, ACPI_FACS_FILE);
    uint8_t  vector[4];

    set_up_chipset(pc);
    for (guint i = 0; i < m->cpus->len; i++) {
        set_mtrrs(pc, m->cpus->pdata[i]);
    }
    if (dma_read(m->platform.memory_space, facs + FACS_WAKING_VECTOR, vector, sizeof vector) != MEM_OK) {
        memset(vector, 0, sizeof vector);
    }
    uint32_t start            = load_le32(vector);
    cpu->seg[X86_CS].selector = (uint16_t)(start >> 4);
    cpu->seg[X86_CS].base     = start & 0xffff0;
    cpu->rip                  = start & 0xf;
    x86_update_mode(cpu);
    x86_tlb_flush(cpu, true);
    set_virtual_wire(cpu);
}
