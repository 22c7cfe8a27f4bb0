/* Windows: pages that the guest has side by side, and the host has not, mapped a second time in the guest's order.
 *
 * Linux hands pages out in whatever order they were freed, so that an array's pages are scattered in guest memory. An
 * access that goes through them would have to look into the TLB each time, with the look-up on the way of what depends
 * on it. With a window it is one run. What is mapped is guest memory and nothing else; whether a linear address still
 * means such a page is the TLB's to say, each time a run is made (runs.c).
 *
 * vCPU thread, parked. */

#include "accel/dbt/runs.h"
#include "cpu/x86/tlb.h"

#include <sys/mman.h>

enum { WINDOW_BYTES = DBT_WINDOW_PAGES * X86_PAGE_SIZE };

static DbtWindows *windows_new(void)
{
    size_t size = (size_t)DBT_WINDOWS * WINDOW_BYTES;
    void  *area = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) {
        return NULL;
    }
    DbtWindows *w = g_new0(DbtWindows, 1);
    w->area       = area;
    return w;
}

void dbt_windows_free(DbtFrame *f)
{
    if (!f->windows) {
        return;
    }
    for (unsigned i = 0; i < DBT_WINDOWS; i++) {
        ram_block_unref(f->windows->window[i].ram);
    }
    munmap(f->windows->area, (size_t)DBT_WINDOWS * WINDOW_BYTES);
    g_free(f->windows);
    f->windows = NULL;
}

/* The page of the TLB, if it can be shown: RAM. */
static const X86TlbPage *page_at(const X86Cpu *cpu, uint64_t linear)
{
    const TlbTable   *t = (const TlbTable *)(const void *)cpu->tlb_entries;
    const X86TlbPage *p = &t->pages[linear >> X86_PAGE_BITS & (X86_TLB_SIZE - 1)];
    return p->host && p->writable ? p : NULL;
}

/* All pages of the window so that they can be mapped again: the first time in an exclusive section. false: no more of
 * it; the TLB may be another one then. */
static bool move_pages(DbtFrame *f, const DbtWindow *w)
{
    X86Cpu    *cpu   = f->cpu;
    VcpuGroup *group = cpu->vcpu.group;
    bool       all   = true, ok;

    for (unsigned i = 0; i < w->n; i++) {
        all &= ram_block_has_alias(w->ram, (uint64_t)(w->pages[i] - w->ram->host));
    }
    if (all) {
        return true;
    }
    machine_lock(cpu->vcpu.lock); /* the main loop writes memory too */
    vcpu_exclusive_begin(group, &cpu->vcpu);
    ok = !(vcpu_requests(&cpu->vcpu) & VCPU_REQUEST_FLUSH);
    for (unsigned i = 0; i < w->n && ok; i++) {
        ok = ram_block_make_alias(w->ram, (uint64_t)(w->pages[i] - w->ram->host));
    }
    vcpu_exclusive_end(group, &cpu->vcpu);
    machine_unlock(cpu->vcpu.lock);
    x86_take_flush_request(cpu);
    return ok;
}

bool dbt_window_make(DbtFrame *f, uint64_t linear, bool write)
{
    X86Cpu *cpu = f->cpu;
    DbtRun  has = dbt_run_around(f, linear, write), may = dbt_run_possible(f, linear, write);

    if (has.start == DBT_NO_TAG || may.last8 <= has.last8) {
        return false;
    }
    DbtWindow         want  = { .start = may.start, .n = (unsigned)((may.last8 + 8) / X86_PAGE_SIZE) };
    const X86TlbPage *first = page_at(cpu, want.start);
    for (unsigned i = 0; i < want.n; i++) {
        const X86TlbPage *p = page_at(cpu, want.start + (uint64_t)i * X86_PAGE_SIZE);
        if (!p || !first || p->ram != first->ram) {
            return false;
        }
        want.pages[i] = p->host;
    }
    if (!f->windows && !(f->windows = windows_new())) {
        return false;
    }
    want.ram  = ram_block_ref(first->ram);
    want.host = f->windows->area + (size_t)f->windows->next * WINDOW_BYTES;
    if (!move_pages(f, &want)) {
        ram_block_unref(want.ram);
        return true;
    }

    DbtWindow *w     = &f->windows->window[f->windows->next];
    f->windows->next = (f->windows->next + 1) % DBT_WINDOWS;
    dbt_runs_flush(f, false); /* one may lead to what was here */
    ram_block_unref(w->ram);
    *w = want;
    for (unsigned i = 0; i < w->n; i++) {
        if (!ram_block_map_alias(w->ram, (uint64_t)(w->pages[i] - w->ram->host), w->host + (size_t)i * X86_PAGE_SIZE)) {
            w->n = i;
        }
    }
    g_mutex_lock(&f->dbt->lock);
    f->dbt->counters.windows++;
    f->dbt->counters.window_pages += w->n;
    g_mutex_unlock(&f->dbt->lock);
    return true;
}
