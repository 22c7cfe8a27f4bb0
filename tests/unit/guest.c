/* See guest.h. */

#include "guest.h"
#include "cpu/x86/cpuid.h"

#include "base/bytes.h"

#include <string.h>

/* --- descriptor tables --- */

static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attr)
{
    bool     pages = limit > 0xfffff;
    uint32_t l     = pages ? limit >> 12 : limit;
    return (uint64_t)(l & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(attr & 0xff) << 40 |
           (uint64_t)(l >> 16 & 0xf) << 48 | (uint64_t)(attr >> 12 & 7) << 52 | (uint64_t)pages << 55 |
           (uint64_t)(base >> 24) << 56;
}

enum {
    CODE = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A,
    DATA = SEG_P | SEG_S | SEG_W | SEG_A,
    USER = SEG_DPL,
};

typedef struct Flat {
    uint16_t selector;
    uint32_t limit, attr;
} Flat;

static const Flat flats[] = {
    { GUEST_CS64, UINT32_MAX, CODE | SEG_L },
    { GUEST_DS, UINT32_MAX, DATA | SEG_DB },
    { GUEST_CS32, UINT32_MAX, CODE | SEG_DB },
    { GUEST_CS16, 0xffff, CODE },
    { GUEST_DS16, 0xffff, DATA },
    { GUEST_US32, UINT32_MAX, CODE | SEG_DB | USER },
    { GUEST_UDS, UINT32_MAX, DATA | SEG_DB | USER },
    { GUEST_US64, UINT32_MAX, CODE | SEG_L | USER },
};

static const Flat *find_flat(uint16_t selector)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(flats); i++) {
        if (flats[i].selector == (selector & ~3)) {
            return &flats[i];
        }
    }
    g_assert_not_reached();
}

static void set_segment(X86Cpu *cpu, unsigned seg, uint16_t selector)
{
    const Flat *f = find_flat(selector);
    uint32_t    g = f->limit == UINT32_MAX ? SEG_G : 0;
    cpu->seg[seg] = (X86Segment){ .limit = f->limit, .attr = f->attr | g, .selector = selector };
}

static void write_tables(Guest *g, GuestMode mode)
{
    bool      wide = mode == GUEST_LONG64 || mode == GUEST_COMPAT32;
    uint64_t *gdt  = (uint64_t *)(g->host + GUEST_GDT);
    memset(gdt, 0, 4096);
    for (unsigned i = 0; i < G_N_ELEMENTS(flats); i++) {
        gdt[flats[i].selector / 8] = descriptor(0, flats[i].limit, flats[i].attr);
    }
    gdt[GUEST_TR / 8] = descriptor(GUEST_TSS, 0xfff, SEG_P | 0xb);

    memset(g->host + GUEST_TSS, 0, 4096);
    if (wide) {
        store_le64(g->host + GUEST_TSS + 4, GUEST_STACK - 0x10000);
    } else {
        store_le32(g->host + GUEST_TSS + 4, GUEST_STACK - 0x10000);
        store_le32(g->host + GUEST_TSS + 8, GUEST_DS);
    }
    store_le16(g->host + GUEST_TSS + 102, 0x1000); /* no I/O map */

    for (unsigned v = 0; v < 256; v++) {
        uint64_t stub = GUEST_STUBS + 16u * v;
        uint8_t *e    = g->host + GUEST_IDT + (wide ? 16 : 8) * v;
        bool     r16  = mode == GUEST_PROTECTED16;
        store_le16(e, (uint16_t)stub);
        store_le16(e + 2, wide ? GUEST_CS64 : r16 ? GUEST_CS16 : GUEST_CS32);
        store_le16(e + 4, r16 ? 0xe600 : 0xee00);
        store_le16(e + 6, (uint16_t)(stub >> 16));
        if (wide) {
            store_le64(e + 8, 0);
        }
        g->host[stub] = 0xf4;
    }
    for (unsigned v = 0; mode == GUEST_REAL && v < 256; v++) {
        store_le16(g->host + 4 * v, (uint16_t)(GUEST_STUBS + 16 * v));
        store_le16(g->host + 4 * v + 2, 0);
    }
}

/* PML4, PDPT, one page directory of 2 MiB pages; page tables are added behind them. */
static void write_page_tables(Guest *g)
{
    uint64_t *pml4 = (uint64_t *)(g->host + GUEST_TABLES);
    uint64_t *pdpt = pml4 + 512, *pd = pml4 + 1024;
    memset(pml4, 0, 3 * 4096);
    pml4[0] = (GUEST_TABLES + 0x1000) | 7;
    pdpt[0] = (GUEST_TABLES + 0x2000) | 7;
    for (unsigned i = 0; i < 512; i++) {
        pd[i] = (uint64_t)i << 21 | 0x87;
    }
}

uint64_t *guest_pte(Guest *g, uint64_t linear)
{
    uint64_t *pd = (uint64_t *)(g->host + GUEST_TABLES + 0x2000);
    g_assert(linear < 1 << 30);
    return (uint64_t *)(g->host + (pd[linear >> 21] & ~UINT64_C(0xfff))) + (linear >> 12 & 511);
}

void guest_map(Guest *g, uint64_t linear, uint64_t physical, uint64_t flags)
{
    uint64_t *pd = (uint64_t *)(g->host + GUEST_TABLES + 0x2000);
    g_assert(linear < GUEST_RAM_SIZE);
    if (pd[linear >> 21] & 0x80) {
        uint64_t  table = GUEST_TABLES + 0x3000 + (linear >> 21) * 0x1000;
        uint64_t *pt    = (uint64_t *)(g->host + table);
        for (unsigned i = 0; i < 512; i++) {
            pt[i] = (linear & ~UINT64_C(0x1fffff)) | (uint64_t)i << 12 | 7;
        }
        pd[linear >> 21] = table | 7;
    }
    *guest_pte(g, linear) = physical | flags;
    for (unsigned i = 0; i < g->n_cpus; i++) {
        x86_tlb_flush(g->cpus[i], true);
    }
}

/* --- life --- */

static X86Cpu *cpu_new(Guest *g, unsigned n)
{
    static const X86Topology one = { 1, 1, 1, 1, 1 };

    X86Cpu *cpu = aligned_alloc(64, (sizeof(X86Cpu) + 63) & ~(size_t)63);
    memset(cpu, 0, sizeof *cpu);
    vcpu_init(&cpu->vcpu);
    cpu->vcpu.lock   = &g->lock;
    cpu->vcpu.log    = &g->log;
    cpu->vcpu.memory = g->as;
    cpu->vcpu.io     = g->io;
    cpu->vcpu.index  = (int)n;
    vcpu_group_add(g->group, &cpu->vcpu);
    cpu->model    = g->model;
    cpu->topology = &one;
    memset(cpu->features, 0xff, sizeof cpu->features);
    cpu->phys_bits      = 40;
    cpu->lin_bits       = 48;
    cpu->pending_vector = -1;
    cpu->arith          = 0x200;
    cpu->eflags         = EFLAGS_ONE;
    g_auto(Error) err   = { 0 };
    g_assert_true(x86_exec_init(cpu, &err));
    return cpu;
}

Guest *guest_new(unsigned n_cpus)
{
    Guest *g          = g_new0(Guest, 1);
    g_auto(Error) err = { 0 };
    machine_lock_init(&g->lock);
    machine_lock(&g->lock);
    g->log.file = stderr;
    g->memory   = memory_new(&g->lock);
    g->block    = ram_block_new("ram", GUEST_RAM_SIZE, &err);
    g_assert_nonnull(g->block);
    region_init_container(&g->root, g->memory, "system", UINT64_MAX);
    region_init_ram(&g->ram, g->memory, "ram", g->block, 0, GUEST_RAM_SIZE);
    region_map(&g->root, 0, &g->ram, 0);
    region_init_container(&g->io_root, g->memory, "io", 0x10000);
    g->as    = address_space_new(g->memory, &g->root, "memory");
    g->io    = address_space_new(g->memory, &g->io_root, "I/O");
    g->host  = g->block->host;
    g->group = vcpu_group_new();
    machine_unlock(&g->lock);
    g->model = x86_model_parse("max", NULL, &err);
    g_assert_nonnull(g->model);
    g->n_cpus = n_cpus;
    for (unsigned i = 0; i < n_cpus; i++) {
        g->cpus[i] = cpu_new(g, i);
    }
    return g;
}

void guest_free(Guest *g)
{
    for (unsigned i = 0; i < g->n_cpus; i++) {
        x86_exec_free(g->cpus[i]);
        vcpu_group_remove(g->group, &g->cpus[i]->vcpu);
        vcpu_destroy(&g->cpus[i]->vcpu);
        free(g->cpus[i]);
    }
    x86_model_free(g->model);
    vcpu_group_free(g->group);
    machine_lock(&g->lock);
    address_space_free(g->as);
    address_space_free(g->io);
    region_unmap(&g->ram);
    region_destroy(&g->ram);
    region_destroy(&g->root);
    region_destroy(&g->io_root);
    ram_block_unref(g->block);
    memory_free(g->memory);
    machine_unlock(&g->lock);
    machine_lock_destroy(&g->lock);
    g_free(g);
}

/* --- state --- */

uint64_t guest_code_address(GuestMode mode)
{
    return mode == GUEST_REAL || mode == GUEST_PROTECTED16 ? 0x8000 : GUEST_CODE;
}

void guest_set_mode(Guest *g, unsigned n, GuestMode mode, unsigned ring)
{
    X86Cpu *cpu     = g->cpus[n];
    bool    wide    = mode == GUEST_LONG64 || mode == GUEST_COMPAT32;
    bool    sixteen = mode == GUEST_REAL || mode == GUEST_PROTECTED16;

    write_tables(g, mode);
    memset(cpu->gpr, 0, sizeof cpu->gpr);
    x86_fpu_reset(cpu);
    cpu->gpr[X86_RSP] = sixteen ? 0x7000 : GUEST_STACK;
    cpu->rip          = guest_code_address(mode);
    cpu->arith        = 0x200;
    cpu->eflags       = EFLAGS_ONE;
    cpu->cr0          = CR0_ET | CR0_NE | (mode == GUEST_REAL ? 0 : CR0_PE) | (wide ? CR0_PG | CR0_WP : 0);
    cpu->cr3          = wide ? GUEST_TABLES : 0;
    cpu->cr4          = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | (wide ? CR4_PAE | CR4_PGE : 0);
    cpu->efer         = wide ? EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE : 0;
    cpu->xcr0         = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    cpu->gdt          = (X86Table){ .base = GUEST_GDT, .limit = 0xfff };
    cpu->idt = (X86Table){ .base = mode == GUEST_REAL ? 0 : GUEST_IDT, .limit = mode == GUEST_REAL ? 0x3ff : 0xfff };
    cpu->tr  = (X86Segment){ .base = GUEST_TSS, .limit = 0xfff, .attr = SEG_P | 0xb, .selector = GUEST_TR };
    cpu->ldt = (X86Segment){ .attr = SEG_UNUSABLE };
    cpu->in_shutdown = cpu->nmi_blocked = false;
    cpu->interrupt_shadow               = X86_SHADOW_NONE;
    if (mode == GUEST_REAL) {
        for (unsigned s = 0; s < X86_N_SEG; s++) {
            cpu->seg[s] = (X86Segment){ .limit = 0xffff, .attr = s == X86_CS ? CODE : DATA };
        }
    } else {
        uint16_t code = mode == GUEST_LONG64        ? (ring ? GUEST_US64 : GUEST_CS64)
                        : mode == GUEST_PROTECTED16 ? GUEST_CS16
                                                    : (ring ? GUEST_US32 : GUEST_CS32);
        uint16_t data = sixteen ? GUEST_DS16 : ring ? GUEST_UDS : GUEST_DS;
        for (unsigned s = 0; s < X86_N_SEG; s++) {
            set_segment(cpu, s, (uint16_t)((s == X86_CS ? code : data) | ring));
        }
    }
    if (wide) {
        write_page_tables(g);
    }
    x86_tlb_flush(cpu, true);
    x86_update_mode(cpu);
}

/* --- running --- */

void guest_poke(Guest *g, uint64_t addr, const void *bytes, size_t len)
{
    g_assert_cmpint(address_space_write(g->as, addr, bytes, len), ==, MEM_OK);
}

X86Exit guest_run(Guest *g, unsigned n)
{
    X86Cpu *cpu = g->cpus[n];
    vcpu_enter(&cpu->vcpu);
    X86Exit exit = x86_run(cpu);
    vcpu_leave(&cpu->vcpu);
    return exit;
}

X86Exit guest_run_code(Guest *g, unsigned n, const void *code, size_t len)
{
    static const uint8_t hlt = 0xf4;
    uint64_t             at  = g->cpus[n]->rip;
    guest_poke(g, at, code, len);
    guest_poke(g, at + len, &hlt, 1);
    return guest_run(g, n);
}

int guest_exception(Guest *g, unsigned n)
{
    uint64_t rip = g->cpus[n]->rip;
    if (rip <= GUEST_STUBS || rip >= GUEST_STUBS + 16 * 256) {
        return -1;
    }
    return (int)((rip - GUEST_STUBS) / 16);
}
