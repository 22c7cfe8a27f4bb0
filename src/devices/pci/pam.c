/* RAM and PCI memory at A0000h to FFFFFh: see pam.h.
 * Specification: Intel 440FX PCIset 82441FX/82442FX data sheet, order 290549-001 (May 1996), sections 3.2.18 and
 * 3.2.26; Intel 3 Series Express Chipset Family data sheet, order 316966-002 (August 2007), sections 5.1.20 to 5.1.29.
 * Under the machine lock. */

#include "devices/pci/pam.h"

#include "base/bytes.h"
#include "memory/ram.h"

enum {
    PAM_RE = 1, /* reads go to DRAM */
    PAM_WE = 2, /* writes go to DRAM */

    SMRAM_BASE    = 0xa0000,
    SMRAM_SIZE    = 0x20000,
    HOLE_SIZE     = 0x60000, /* A0000h to FFFFFh */
    HOLE_PRIORITY = 1,       /* over RAM at 0 */
    VIEW_PRIORITY = 2,
};

static uint64_t hole_read(void *opaque, uint64_t offset, unsigned size)
{
    return UINT64_MAX;
}

static void hole_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
}

static const IoOps hole_ops = {
    .name = "pci-hole", .access = IO_ANY, .unaligned = true, .lockless = true, .read = hole_read, .write = hole_write
};

static uint64_t split_read(void *opaque, uint64_t offset, unsigned size)
{
    PamSegment *s = opaque;
    return address_space_load(s->pam->pci_space, s->base + offset, size);
}

static void split_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    PamSegment *s   = opaque;
    Region     *ram = s->pam->ram_region;
    uint64_t    at  = s->base + offset;
    while (!ram->ram) {
        if (ram->kind == REGION_ALIAS) {
            at += ram->alias_offset;
            ram = ram->alias;
        } else { /* RAM of several pieces: the first one has all that is below 1 MiB */
            ram = ram->children->pdata[ram->children->len - 1];
            at -= ram->addr;
        }
    }
    at += ram->ram_offset;
    store_le(ram->ram->host + at, value, size);
    ram_block_written(ram->ram, at, size);
}

static const IoOps split_ops = {
    .name = "pam-split", .access = IO_ANY, .unaligned = true, .read = split_read, .write = split_write
};

/* Segment 0 is the F segment, 64 KiB, in the upper half of the first register; the others are 16 KiB each. */
static void segment_init(Pam *pam, unsigned n, Region *pci_memory)
{
    PamSegment *s      = &pam->segments[n];
    Memory     *memory = pam->platform->memory;
    s->pam             = pam;
    s->mode            = -1;
    s->base            = n ? 0xc0000 + (n - 1) * 0x4000 : 0xf0000;
    s->size            = n ? 0x4000 : 0x10000;
    s->reg             = (uint8_t)((n + 1) / 2);
    s->shift           = n % 2 ? 0 : 4;
    region_init_alias(&s->ram, memory, "pam-ram", pam->ram_region, s->base, s->size);
    region_init_alias(&s->pci, memory, "pam-pci", pci_memory, s->base, s->size);
    region_init_io(&s->split, memory, "pam-split", s->size, &split_ops, s);
    Region *views[] = { &s->ram, &s->pci, &s->split };
    for (unsigned i = 0; i < G_N_ELEMENTS(views); i++) {
        region_set_enabled(views[i], false);
        region_map(pam->platform->system_memory, s->base, views[i], VIEW_PRIORITY);
    }
}

static void segment_destroy(PamSegment *s)
{
    Region *views[] = { &s->ram, &s->pci, &s->split };
    for (unsigned i = 0; i < G_N_ELEMENTS(views); i++) {
        region_unmap(views[i]);
        region_destroy(views[i]);
    }
}

void pam_init(Pam *pam, Platform *p, Region *ram, Region *pci_memory, Region *smram)
{
    pam->platform   = p;
    pam->ram_region = ram;
    region_init_container(&pam->pci_root, p->memory, "pam-pci-view", UINT64_MAX);
    region_init_alias(&pam->pci_window, p->memory, "pam-pci-window", pci_memory, 0, UINT64_MAX);
    region_map(&pam->pci_root, 0, &pam->pci_window, 0);
    pam->pci_space = address_space_new(p->memory, &pam->pci_root, "pam-pci-view");

    region_init_alias(&pam->vga, p->memory, "smram-pci", pci_memory, SMRAM_BASE, SMRAM_SIZE);
    region_init_io(&pam->hole, p->memory, hole_ops.name, HOLE_SIZE, &hole_ops, pam);
    region_init_alias(&pam->smram_open, p->memory, "smram-open", ram, SMRAM_BASE, SMRAM_SIZE);
    region_init_alias(&pam->smram_low, p->memory, "smram-low", ram, SMRAM_BASE, SMRAM_SIZE);
    memory_begin(p->memory);
    region_map(p->system_memory, SMRAM_BASE, &pam->hole, HOLE_PRIORITY);
    region_map(p->system_memory, SMRAM_BASE, &pam->vga, VIEW_PRIORITY);
    region_map(p->system_memory, SMRAM_BASE, &pam->smram_open, VIEW_PRIORITY);
    region_set_enabled(&pam->smram_low, false);
    region_map(smram, SMRAM_BASE, &pam->smram_low, 0);
    for (unsigned n = 0; n < PAM_SEGMENTS; n++) {
        segment_init(pam, n, pci_memory);
    }
    memory_commit(p->memory);
}

void pam_destroy(Pam *pam)
{
    memory_begin(pam->platform->memory);
    for (unsigned n = 0; n < PAM_SEGMENTS; n++) {
        segment_destroy(&pam->segments[n]);
    }
    Region *regions[] = { &pam->hole, &pam->vga, &pam->smram_open, &pam->smram_low };
    for (unsigned i = 0; i < G_N_ELEMENTS(regions); i++) {
        region_unmap(regions[i]);
        region_destroy(regions[i]);
    }
    memory_commit(pam->platform->memory);
    address_space_free(pam->pci_space);
    region_unmap(&pam->pci_window);
    region_destroy(&pam->pci_window);
    region_destroy(&pam->pci_root);
}

void pam_update(Pam *pam, const uint8_t registers[PAM_REGISTERS], uint8_t smram)
{
    memory_begin(pam->platform->memory);
    for (unsigned n = 0; n < PAM_SEGMENTS; n++) {
        PamSegment *s    = &pam->segments[n];
        int         mode = registers[s->reg] >> s->shift & (PAM_RE | PAM_WE);
        if (mode != s->mode) {
            region_set_readonly(&s->ram, !(mode & PAM_WE));
            region_set_enabled(&s->ram, mode & PAM_RE);
            region_set_enabled(&s->split, mode == PAM_WE);
            region_set_enabled(&s->pci, mode == 0);
            s->mode = mode;
        }
    }
    bool open = smram & SMRAM_G_SMRAME && smram & SMRAM_D_OPEN;
    region_set_enabled(&pam->vga, !open);
    region_set_enabled(&pam->smram_open, open);
    region_set_enabled(&pam->smram_low, smram & SMRAM_G_SMRAME);
    memory_commit(pam->platform->memory);
}

uint8_t pam_smram_written(const Pam *pam, const char *who, uint8_t old, uint8_t value)
{
    if (old & SMRAM_D_LCK) {
        value = (uint8_t)((value & SMRAM_G_SMRAME) | (value & SMRAM_D_CLS) | SMRAM_D_LCK);
    } else if (value & SMRAM_D_LCK) {
        value &= (uint8_t)~SMRAM_D_OPEN;
    }
    if (value & SMRAM_D_CLS && !(old & SMRAM_D_CLS)) {
        log_print(pam->platform->log, LOG_UNIMP, "%s: SMRAM closed to data (D_CLS) stays open\n", who);
    }
    return (uint8_t)((value & (SMRAM_D_OPEN | SMRAM_D_CLS | SMRAM_D_LCK | SMRAM_G_SMRAME)) | SMRAM_C_BASE_SEG);
}
