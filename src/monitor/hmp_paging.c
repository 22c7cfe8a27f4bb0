/* HMP: page tables as text: "info mem" and "info tlb".
 * Specification: Intel SDM 3, chapter 4 (December 2023). Layouts are those that tools which read QEMU's output know.
 *
 * Tables are the guest's and may be anything: the walk stops after TABLES_MAX of them or LINES_MAX lines, and says so.
 */

#include "base/bytes.h"
#include "monitor/hmp_command.h"

#include <inttypes.h>

enum { TABLES_MAX = 1 << 18, LINES_MAX = 1 << 18, ENTRIES_MAX = 1024 };

#define PTE_P   (UINT64_C(1) << 0)
#define PTE_W   (UINT64_C(1) << 1)
#define PTE_U   (UINT64_C(1) << 2)
#define PTE_PWT (UINT64_C(1) << 3)
#define PTE_PCD (UINT64_C(1) << 4)
#define PTE_A   (UINT64_C(1) << 5)
#define PTE_D   (UINT64_C(1) << 6)
#define PTE_PS  (UINT64_C(1) << 7)
#define PTE_G   (UINT64_C(1) << 8)
#define PTE_NX  (UINT64_C(1) << 63)

#define PTE_ADDRESS UINT64_C(0x000ffffffffff000)

/* A page as it was found: its entry, and what all entries on the way agree to of W, U and NX. */
typedef struct Page {
    uint64_t linear, size, physical, entry, rights;
} Page;

typedef struct Walk {
    Hmp     *h;
    X86Cpu  *cpu;
    unsigned entry_size, canonical_bits;
    unsigned tables, lines;
    bool     cut;
    void (*page)(struct Walk *w, const Page *page);

    /* info mem: the stretch so far. */
    bool     open;
    uint64_t start, end, rights;
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
    if (++w->tables > TABLES_MAX || address_space_read(w->cpu->vcpu.memory, table, bytes, n * w->entry_size)) {
        w->cut |= w->tables > TABLES_MAX;
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
            Page page = { .linear   = at,
                          .size     = UINT64_C(1) << shift,
                          .physical = page_address(shift, entry),
                          .entry    = entry,
                          .rights   = gives };
            w->page(w, &page);
        } else {
            walk_table(w, levels + 1, entry & (w->entry_size == 4 ? UINT64_C(0xfffff000) : PTE_ADDRESS), at, gives);
        }
    }
}

/* false: paging is off. */
static bool walk(Walk *w)
{
    X86Cpu *cpu = w->cpu;
    if (!(cpu->cr0 & CR0_PG)) {
        hmp_print(w->h, "PG disabled\n");
        return false;
    }
    const uint8_t *levels = levels_32;
    uint64_t       table  = cpu->cr3 & UINT64_C(0xfffff000);
    w->entry_size         = 4;
    w->canonical_bits     = 64;
    if (cpu->long_mode) {
        bool five         = cpu->cr4 & CR4_LA57;
        w->entry_size     = 8;
        w->canonical_bits = five ? 57 : 48;
        levels            = five ? levels_5 : levels_4;
        table             = cpu->cr3 & PTE_ADDRESS;
    } else if (cpu->cr4 & CR4_PAE) {
        w->entry_size = 8;
        levels        = levels_pae;
        table         = cpu->cr3 & UINT64_C(0xffffffe0);
    }
    walk_table(w, levels, table, 0, ~UINT64_C(0));
    return true;
}

static void finish(Walk *w)
{
    if (w->cut) {
        hmp_print(w->h, "(there is more: only %u tables are read, and %u lines shown)\n", TABLES_MAX, LINES_MAX);
    }
}

static void count_line(Walk *w)
{
    w->cut |= ++w->lines >= LINES_MAX;
}

/* --- info tlb --- */

static void print_page(Walk *w, const Page *p)
{
    static const struct {
        uint64_t bit;
        char     letter;
    } letters[]    = { { PTE_NX, 'X' },  { PTE_G, 'G' },   { PTE_PS, 'P' }, { PTE_D, 'D' }, { PTE_A, 'A' },
                       { PTE_PCD, 'C' }, { PTE_PWT, 'T' }, { PTE_U, 'U' },  { PTE_W, 'W' } };
    uint64_t entry = p->size == 4096 ? p->entry & ~PTE_PS : p->entry;
    hmp_print(w->h, "%016" PRIx64 ": %016" PRIx64 " ", p->linear, p->physical);
    for (unsigned i = 0; i < G_N_ELEMENTS(letters); i++) {
        g_string_append_c(w->h->out, entry & letters[i].bit ? letters[i].letter : '-');
    }
    g_string_append_c(w->h->out, '\n');
    count_line(w);
}

static bool info_tlb(Hmp *h, Error *err)
{
    Walk w = { .h = h, .cpu = hmp_cpu(h, err), .page = print_page };
    if (!w.cpu) {
        return false;
    }
    HmpPause pause = hmp_pause(h->machine);
    walk(&w);
    hmp_unpause(h->machine, pause);
    finish(&w);
    return true;
}

/* --- info mem --- */

static void close_stretch(Walk *w)
{
    if (w->open) {
        hmp_print(w->h, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %c%c%c\n", w->start, w->end, w->end - w->start,
                  w->rights & PTE_U ? 'u' : '-', 'r', w->rights & PTE_W ? 'w' : '-');
        w->open = false;
        count_line(w);
    }
}

static void add_to_stretch(Walk *w, const Page *p)
{
    uint64_t rights = p->rights & (PTE_U | PTE_W);
    if (w->open && w->end == p->linear && w->rights == rights) {
        w->end += p->size;
        return;
    }
    close_stretch(w);
    w->open   = true;
    w->start  = p->linear;
    w->end    = p->linear + p->size;
    w->rights = rights;
}

static bool info_mem(Hmp *h, Error *err)
{
    Walk w = { .h = h, .cpu = hmp_cpu(h, err), .page = add_to_stretch };
    if (!w.cpu) {
        return false;
    }
    HmpPause pause = hmp_pause(h->machine);
    bool     paged = walk(&w);
    hmp_unpause(h->machine, pause);
    if (paged) {
        close_stretch(&w);
        finish(&w);
    }
    return true;
}

HMP_INFO(paging) = {
    { .name = "mem", .help = "ranges of linear addresses that are mapped, and their rights", .run = info_mem },
    { .name = "tlb", .help = "each page that is mapped: linear and physical address", .run = info_tlb },
    {},
};
