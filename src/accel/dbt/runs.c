/* Runs: linear pages that lie side by side in host memory, so that one check serves for all of them. Parts of a large
 * page do, pages that a kernel has handed out in rising order, and those in a window (windows.c).
 *
 * vCPU thread; part of the hot set. */

#include "accel/dbt/runs.h"
#include "cpu/x86/cache.h"
#include "cpu/x86/tlb.h"

enum { PAGE = X86_PAGE_SIZE };

static const DbtRun empty = { .start = DBT_NO_TAG };

void dbt_runs_flush(DbtFrame *f, bool writes_only)
{
    for (unsigned table = 0; table < DBT_MODES * 2; table++) {
        while (f->runs_used[table] && (!writes_only || table % 2 == X86_WRITE)) {
            unsigned i = (unsigned)__builtin_ctz(f->runs_used[table]);
            f->runs_used[table] &= f->runs_used[table] - 1;
            f->runs[table / 2][table % 2][i] = empty;
        }
    }
}

void dbt_runs_flush_page(DbtFrame *f, uint64_t page)
{
    for (unsigned table = 0; table < DBT_MODES * 2; table++) {
        for (uint32_t left = f->runs_used[table]; left; left &= left - 1) {
            unsigned i = (unsigned)__builtin_ctz(left);
            DbtRun  *r = &f->runs[table / 2][table % 2][i];
            if (page - r->start <= r->last8) {
                f->runs_used[table] &= ~(1u << i);
                *r = empty;
            }
        }
    }
}

static bool is_known(const X86Cpu *cpu, uint64_t page, bool write)
{
    const X86TlbEntry *e = x86_tlb_slot(cpu, page);
    return (write ? e->write : e->read) == page;
}

static DbtRun run_of(uint64_t page, unsigned down, unsigned up, uintptr_t addend)
{
    uint64_t size = (uint64_t)(down + up + 1) * PAGE;
    return (DbtRun){ .start = page - (uint64_t)down * PAGE, .last8 = size - 8, .last64 = size - 64, .addend = addend };
}

/* How many pages go on from there, as far as the TLB knows them: with the same addend, or all. */
static unsigned length(const X86Cpu *cpu, uint64_t page, int64_t by, bool write, bool same, unsigned max)
{
    uintptr_t addend = x86_tlb_slot(cpu, page)->addend;
    unsigned  n      = 0;
    while (n < max) {
        page += (uint64_t)by;
        if (!is_known(cpu, page, write) || (same && x86_tlb_slot(cpu, page)->addend != addend)) {
            break;
        }
        n++;
    }
    return n;
}

/* The page of a larger mapping: how many before and behind it are as good, though the TLB need not know them: guest
 * memory that lies side by side, and may be written. */
static void large_run(X86Cpu *cpu, uint64_t page, bool write, unsigned *down, unsigned *up)
{
    enum { PAGES = 1 << (21 - X86_PAGE_BITS) };
    const TlbTable   *t = (const TlbTable *)(const void *)cpu->tlb_entries;
    const X86TlbPage *p = &t->pages[page >> X86_PAGE_BITS & (X86_TLB_SIZE - 1)];
    const TlbRange   *r = cpu->tlb->ranges;
    while (r < cpu->tlb->ranges + TLB_RANGES && p->physical - r->start >= r->len) {
        r++;
    }
    if (p->shift < 21 || r == cpu->tlb->ranges + TLB_RANGES || cpu->tlb->n_breakpoints) {
        return;
    }
    unsigned at     = (unsigned)(page >> X86_PAGE_BITS) % PAGES;
    uint64_t before = (p->physical - r->start) >> X86_PAGE_BITS, behind = (r->len >> X86_PAGE_BITS) - before - 1;
    *down = (unsigned)MIN(before, (uint64_t)at);
    *up   = (unsigned)MIN(behind, (uint64_t)(PAGES - 1 - at));
    for (unsigned n = 0; write && n < *down; n++) {
        *down = ram_page_watched(p->ram, p->ram_offset - (uint64_t)(n + 1) * PAGE) ? n : *down;
    }
    for (unsigned n = 0; write && n < *up; n++) {
        *up = ram_page_watched(p->ram, p->ram_offset + (uint64_t)(n + 1) * PAGE) ? n : *up;
    }
}

/* Does the window show the page at `linear` that the TLB knows? */
static bool shows(const X86Cpu *cpu, const DbtWindow *w, uint64_t linear, bool write)
{
    uint64_t i = (linear - w->start) >> X86_PAGE_BITS;
    return i < w->n && is_known(cpu, linear, write) &&
           w->pages[i] == (const uint8_t *)(linear + x86_tlb_slot(cpu, linear)->addend);
}

static DbtRun in_window(const X86Cpu *cpu, const DbtWindow *w, uint64_t page, bool write)
{
    unsigned down = 0, up = 0;
    if (!shows(cpu, w, page, write)) {
        return empty;
    }
    while (shows(cpu, w, page - (uint64_t)(down + 1) * PAGE, write)) {
        down++;
    }
    while (shows(cpu, w, page + (uint64_t)(up + 1) * PAGE, write)) {
        up++;
    }
    return run_of(page, down, up, (uintptr_t)w->host - w->start);
}

DbtRun dbt_run_around(DbtFrame *f, uint64_t linear, bool write)
{
    X86Cpu  *cpu  = f->cpu;
    uint64_t page = linear & ~(uint64_t)X86_PAGE_MASK;
    if (!is_known(cpu, page, write) || cpu->tlb_entries == cpu->tlb->never) {
        return empty;
    }
    unsigned down = length(cpu, page, -PAGE, write, true, DBT_WINDOW_PAGES),
             up   = length(cpu, page, PAGE, write, true, DBT_WINDOW_PAGES);
    if (down + up == 0) {
        large_run(cpu, page, write, &down, &up);
    }
    DbtRun run = run_of(page, down, up, x86_tlb_slot(cpu, page)->addend);
    for (unsigned i = 0; f->windows && i < DBT_WINDOWS; i++) {
        DbtRun other = in_window(cpu, &f->windows->window[i], page, write);
        run          = other.last8 > run.last8 ? other : run;
    }
    return run;
}

DbtRun dbt_run_possible(DbtFrame *f, uint64_t linear, bool write)
{
    const X86Cpu *cpu  = f->cpu;
    uint64_t      page = linear & ~(uint64_t)X86_PAGE_MASK;
    if (!is_known(cpu, page, write)) {
        return empty;
    }
    unsigned down = length(cpu, page, -PAGE, write, false, DBT_WINDOW_PAGES / 2 - 1);
    return run_of(page, down, length(cpu, page, PAGE, write, false, DBT_WINDOW_PAGES / 2), 0);
}

void dbt_run_find(DbtFrame *f, unsigned entry, uint64_t linear, bool write)
{
    unsigned n                                                  = entry - DBT_MICROS;
    f->runs[n / (2 * DBT_RUNS)][n / DBT_RUNS % 2][n % DBT_RUNS] = dbt_run_around(f, linear, write);
    f->runs_used[n / DBT_RUNS] |= 1u << n % DBT_RUNS;
}
