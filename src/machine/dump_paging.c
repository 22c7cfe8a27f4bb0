/* Dumps with paging=true: what the guest's page tables map, as segments of the ELF file.
 * Machine lock held, vCPUs standing. */

#include "machine/dump_private.h"

#include "cpu/x86/pages.h"

enum { TABLES_MAX = 1 << 18, MAPPINGS_MAX = 1 << 20 };

typedef struct Collect {
    Dump    *dump;
    guint    first; /* mapping of this vCPU: those of others are not continued */
    uint64_t offset;
} Collect;

/* One that continues the one before, in both kinds of addresses, becomes part of it. */
static void add_mapping(Collect *c, uint64_t linear, uint64_t physical, uint64_t size)
{
    GArray      *all  = c->dump->mappings;
    DumpMapping *last = all->len > c->first ? &g_array_index(all, DumpMapping, all->len - 1) : NULL;
    if (last && last->linear + last->size == linear && last->physical + last->size == physical) {
        last->size += size;
        return;
    }
    DumpMapping mapping = { .linear = linear, .physical = physical, .size = size };
    g_array_append_val(all, mapping);
}

/* What of a page lies in RAM that is dumped. Blocks ascend. */
static bool add_page(void *opaque, const X86Page *page)
{
    Collect *c   = opaque;
    uint64_t end = page->physical + page->size;
    for (guint i = 0; i < c->dump->blocks->len; i++) {
        const DumpBlock *b     = &g_array_index(c->dump->blocks, DumpBlock, i);
        uint64_t         first = MAX(b->start, page->physical), last = MIN(b->start + b->size, end);
        if (first < last) {
            add_mapping(c, page->linear + (first - page->physical), first, last - first);
        }
    }
    return c->dump->mappings->len < MAPPINGS_MAX;
}

bool dump_find_mappings(Dump *d, Machine *m, Error *err)
{
    for (guint i = 0; i < m->cpus->len; i++) {
        const X86Cpu *cpu  = m->cpus->pdata[i];
        Collect       c    = { .dump = d, .first = d->mappings->len };
        bool          seen = false;
        for (guint j = 0; j < i; j++) {
            const X86Cpu *other = m->cpus->pdata[j];
            seen |= other->cr3 == cpu->cr3 && other->cr0 == cpu->cr0 && other->cr4 == cpu->cr4;
        }
        if (!seen && x86_walk_pages(cpu, TABLES_MAX, add_page, &c) == X86_WALK_CUT) {
            return error_set(err,
                             "the page tables of vCPU %u map too much, or lead to themselves; paging=false does "
                             "without them",
                             i);
        }
    }
    return true;
}
