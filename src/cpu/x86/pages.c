/* Walks all of a vCPU's page tables, for debuggers and dumps.
 * Specification: Intel SDM 3, chapter 4 (December 2023). */

#include "cpu/x86/pages.h"

#include "base/bytes.h"
#include "cpu/x86/system.h"

#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)

typedef struct Walk {
    const X86Cpu *cpu;
    unsigned      entry_size, canonical_bits;
    unsigned      tables, max_tables;
    bool          cut;
    bool (*visit)(void *opaque, const X86Page *page);
    void *opaque;
} Walk;

/* Shifts of the levels from the top, ending with 12. */
static const uint8_t levels_32[]  = { 22, 12 };
static const uint8_t levels_pae[] = { 30, 21, 12 };
static const uint8_t levels_4[]   = { 39, 30, 21, 12 };
static const uint8_t levels_5[]   = { 48, 39, 30, 21, 12 };

static bool is_page(const Walk *w, unsigned shift, uint64_t entry)
{
    if (shift == 12) {
        return true;
    }
    if (!(entry & PTE_PS)) {
        return false;
    }
    return shift == 22 ? w->cpu->cr4 & CR4_PSE : shift == 21 || (shift == 30 && w->cpu->long_mode);
}

static uint64_t page_address(unsigned shift, uint64_t entry)
{
    if (shift == 22) {
        return (entry & UINT64_C(0xffc00000)) | (entry & UINT64_C(0x1fe000)) << 19;
    }
    return entry & PTE_ADDRESS & ~((UINT64_C(1) << shift) - 1);
}

static void walk_table(Walk *w, const uint8_t *levels, uint64_t table, uint64_t linear, uint64_t rights)
{
    uint8_t  bytes[4096];
    unsigned shift = levels[0], n = w->entry_size == 4 ? 1024 : shift == 30 && !w->cpu->long_mode ? 4 : 512;
    if (++w->tables > w->max_tables || address_space_read(w->cpu->vcpu.memory, table, bytes, n * w->entry_size)) {
        w->cut |= w->tables > w->max_tables;
        return;
    }
    for (unsigned i = 0; i < n && !w->cut; i++) {
        uint64_t entry = w->entry_size == 4 ? load_le32(bytes + 4 * i) : load_le64(bytes + 8 * i);
        uint64_t at    = linear | (uint64_t)i << shift;
        if (!(entry & PTE_P)) {
            continue;
        }
        /* NX is gathered upside down: what every level must have to give a right. PDPTEs of PAE paging give none. */
        uint64_t gives = n == 4 ? rights : rights & (entry ^ PTE_NX);
        if (w->canonical_bits < 64 && at >> (w->canonical_bits - 1) & 1) {
            at |= ~UINT64_C(0) << w->canonical_bits;
        }
        if (is_page(w, shift, entry)) {
            X86Page page = { .linear   = at,
                             .size     = UINT64_C(1) << shift,
                             .physical = page_address(shift, entry),
                             .entry    = entry,
                             .rights   = gives };
            w->cut       = !w->visit(w->opaque, &page);
        } else {
            walk_table(w, levels + 1, entry & (w->entry_size == 4 ? UINT64_C(0xfffff000) : PTE_ADDRESS), at, gives);
        }
    }
}

X86Walk x86_walk_pages(const X86Cpu *cpu, unsigned max_tables, bool (*visit)(void *opaque, const X86Page *page),
                       void *opaque)
{
    Walk           w      = { .cpu = cpu, .max_tables = max_tables, .visit = visit, .opaque = opaque };
    const uint8_t *levels = levels_32;
    uint64_t       table  = cpu->cr3 & UINT64_C(0xfffff000);
    if (!(cpu->cr0 & CR0_PG)) {
        return X86_WALK_NO_PAGING;
    }
    w.entry_size     = 4;
    w.canonical_bits = 64;
    if (cpu->long_mode) {
        bool five        = cpu->cr4 & CR4_LA57;
        w.entry_size     = 8;
        w.canonical_bits = five ? 57 : 48;
        levels           = five ? levels_5 : levels_4;
        table            = cpu->cr3 & PTE_ADDRESS;
    } else if (cpu->cr4 & CR4_PAE) {
        w.entry_size = 8;
        levels       = levels_pae;
        table        = cpu->cr3 & UINT64_C(0xffffffe0);
    }
    walk_table(&w, levels, table, 0, ~UINT64_C(0));
    return w.cut ? X86_WALK_CUT : X86_WALK_WHOLE;
}
