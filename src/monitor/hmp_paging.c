/* HMP: page tables as text: "info mem" and "info tlb". Layouts are those that tools which read QEMU's output know.
 *
 * Tables are the guest's and may be anything: the walk stops after TABLES_MAX of them or LINES_MAX lines, and says so.
 */

#include "cpu/x86/pages.h"
#include "monitor/hmp_command.h"

#include <inttypes.h>

enum { TABLES_MAX = 1 << 18, LINES_MAX = 1 << 18 };

typedef struct Walk {
    Hmp     *h;
    X86Cpu  *cpu;
    unsigned lines;

    /* info mem: the stretch so far. */
    bool     open;
    uint64_t start, end, rights;
} Walk;

/* false: paging is off. */
static bool walk(Walk *w, bool (*visit)(void *opaque, const X86Page *page), bool *cut)
{
    HmpPause pause = hmp_pause(w->h->machine);
    X86Walk  end   = x86_walk_pages(w->cpu, TABLES_MAX, visit, w);
    hmp_unpause(w->h->machine, pause);
    if (end == X86_WALK_NO_PAGING) {
        hmp_print(w->h, "PG disabled\n");
    }
    *cut = end == X86_WALK_CUT;
    return end != X86_WALK_NO_PAGING;
}

static void finish(Walk *w, bool cut)
{
    if (cut) {
        hmp_print(w->h, "(there is more: only %u tables are read, and %u lines shown)\n", TABLES_MAX, LINES_MAX);
    }
}

/* --- info tlb --- */

static bool print_page(void *opaque, const X86Page *p)
{
    Walk *w = opaque;
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
    return ++w->lines < LINES_MAX;
}

static bool info_tlb(Hmp *h, Error *err)
{
    Walk w = { .h = h, .cpu = hmp_cpu(h, err) };
    bool cut;
    if (!w.cpu) {
        return false;
    }
    walk(&w, print_page, &cut);
    finish(&w, cut);
    return true;
}

/* --- info mem --- */

static void close_stretch(Walk *w)
{
    if (w->open) {
        hmp_print(w->h, "%016" PRIx64 "-%016" PRIx64 " %016" PRIx64 " %c%c%c\n", w->start, w->end, w->end - w->start,
                  w->rights & PTE_U ? 'u' : '-', 'r', w->rights & PTE_W ? 'w' : '-');
        w->open = false;
        w->lines++;
    }
}

static bool add_to_stretch(void *opaque, const X86Page *p)
{
    Walk    *w      = opaque;
    uint64_t rights = p->rights & (PTE_U | PTE_W);
    if (w->open && w->end == p->linear && w->rights == rights) {
        w->end += p->size;
        return true;
    }
    close_stretch(w);
    w->open   = true;
    w->start  = p->linear;
    w->end    = p->linear + p->size;
    w->rights = rights;
    return w->lines < LINES_MAX;
}

static bool info_mem(Hmp *h, Error *err)
{
    Walk w = { .h = h, .cpu = hmp_cpu(h, err) };
    bool cut;
    if (!w.cpu) {
        return false;
    }
    if (walk(&w, add_to_stretch, &cut)) {
        close_stretch(&w);
        finish(&w, cut);
    }
    return true;
}

HMP_INFO(paging) = {
    { .name = "mem", .help = "ranges of linear addresses that are mapped, and their rights", .run = info_mem },
    { .name = "tlb", .help = "each page that is mapped: linear and physical address", .run = info_tlb },
    {},
};
