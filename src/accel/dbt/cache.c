/* The code cache: memory that is mapped twice, units by guest memory and mode, links between them, and their end.
 *
 * Memory is filled region by region. When all are in use the oldest is emptied, inside an exclusive section; what is
 * killed before only loses its last traces (links, jump cache entries) and is freed with its region, since some vCPU
 * may still be in it.
 *
 * Lock of the Dbt held, but where it says otherwise. */

#include "accel/dbt/cells.h"

#include <errno.h>
#include <sys/mman.h>

/* --- memory --- */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

/* Shared anonymous memory, and the same pages a second time: Linux perf looks into /tmp/perf-PID.map only for memory
 * that has no file, which memfd_create() would be. Both views begin at a huge page of the host. */
static bool map_views(Dbt *dbt, Error *err)
{
    size_t   view = (dbt->size + DBT_PIECE - 1) & ~(size_t)(DBT_PIECE - 1), space = 2 * view + DBT_PIECE;
    uint8_t *start = mmap(NULL, space, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED) {
        return error_set_errno(err, errno, "cannot get %zu MiB of addresses for translated code (tb-size=)",
                               space >> 20);
    }
    uint8_t *first = (uint8_t *)(((uintptr_t)start + DBT_PIECE - 1) & ~(uintptr_t)(DBT_PIECE - 1));
    dbt->rw =
        mmap(first, dbt->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    if (dbt->rw == MAP_FAILED) {
        error_set_errno(err, errno, "cannot get %zu MiB of memory for translated code (tb-size=)", dbt->size >> 20);
        munmap(start, space);
        return false;
    }
    dbt->rx = mremap(dbt->rw, 0, dbt->size, MREMAP_MAYMOVE | MREMAP_FIXED, first + view);
    if (dbt->rx == MAP_FAILED || mprotect(dbt->rx, dbt->size, PROT_READ | PROT_EXEC) != 0) {
        error_set_errno(err, errno, "cannot map executable memory for translated code");
        munmap(start, space);
        return false;
    }
    dbt->space      = start;
    dbt->space_size = space;
    dbt->pieces     = g_new0(bool, dbt->size / DBT_PIECE + 1);
    return true;
}

/* The host's TLBs are to hold a piece as one page. The kernel may not know how (Linux before 6.1) or have none: all
 * works without. */
static void collapse(void *piece, size_t size)
{
    (void)*(const volatile uint8_t *)piece; /* there must be a page */
    (void)madvise(piece, size, MADV_COLLAPSE);
}

/* Code has come to be, or soon will, at `at` (executable view), with `used` bytes of the piece around it in use. */
static void make_huge(Dbt *dbt, const uint8_t *at, size_t used)
{
    size_t offset = (size_t)(at - dbt->rx), piece = offset / DBT_PIECE;
    bool   first = offset < dbt->regions[0].size; /* small machines may never need much */
    if (dbt->pieces[piece] || (piece + 1) * DBT_PIECE > dbt->size || (first && used < DBT_PIECE / 4)) {
        return;
    }
    dbt->pieces[piece] = true;
    ahead_ask(dbt->ahead, collapse, dbt->rw + piece * DBT_PIECE, DBT_PIECE);
    ahead_ask(dbt->ahead, collapse, dbt->rx + piece * DBT_PIECE, DBT_PIECE);
}

Dbt *dbt_new(size_t size, Error *err)
{
    enum { CELLS_AT_FIRST = 32768 }; /* Linux's start takes 30,000 */
    Dbt *dbt  = g_new0(Dbt, 1);
    dbt->size = size;
    g_mutex_init(&dbt->lock);
    if (!map_views(dbt, err)) {
        g_mutex_clear(&dbt->lock);
        g_free(dbt);
        return NULL;
    }
    dbt->ahead  = ahead_new(AHEAD_AT_ONCE);
    dbt->bmi2   = __builtin_cpu_supports("bmi2");
    dbt->writes = dbt_host_writes();
    dbt_make_stubs(dbt);
    dbt->listener = (RamCodeListener){ .written = dbt_ram_written, .opaque = dbt };
    /* Whole pieces if there are enough; the first region has the stubs before it. */
    size_t part = size / DBT_REGIONS & ~(size_t)(size / DBT_REGIONS >= DBT_PIECE ? DBT_PIECE - 1 : 63);
    for (unsigned i = 0; i < DBT_REGIONS; i++) {
        size_t stubs    = i ? 0 : DBT_STUB_SPACE;
        dbt->regions[i] = (DbtRegion){
            .start  = dbt->rx + i * part + stubs,
            .size   = part - stubs,
            .starts = g_ptr_array_new(),
            .pages  = { g_array_new(false, false, sizeof(uint32_t)), g_array_new(false, false, sizeof(uint32_t)) },
            .memory = { .ahead = dbt->ahead },
        };
    }
    dbt->hash = huge_new0(DBT_HASH * sizeof(DbtHead));
    huge_arena_prepare(&dbt->regions[0].memory);
    dbt_pages_init(&dbt->pages, dbt->ahead);
    dbt->cells = g_new0(DbtCell, DBT_CELLS);
    ahead_ask_touch(dbt->ahead, dbt->cells, CELLS_AT_FIRST * sizeof(DbtCell));
    dbt->n_cells  = 1; /* 0 is none */
    dbt->sources  = huge_new0(DBT_SOURCES * sizeof(DbtUnit *));
    dbt->branched = g_new0(uint64_t, DBT_FIRST_WORDS);
    ahead_ask_touch(dbt->ahead, dbt->branched, DBT_FIRST_WORDS * sizeof(uint64_t));
    dbt->besides = g_hash_table_new(NULL, NULL);
    dbt->misfits = g_hash_table_new(NULL, NULL);
    dbt->advice  = g_hash_table_new(NULL, NULL);
    dbt->frames  = g_ptr_array_new();
    dbt->scratch = dbt_scratch_new();
    dbt_set_verify(dbt, X86_ALWAYS_PARK);
    return dbt;
}

void *dbt_unit_memory(Dbt *dbt, size_t size)
{
    return huge_arena_new(&dbt->regions[dbt->region].memory, size);
}

static void *copy(Dbt *dbt, const void *from, size_t size)
{
    return size ? memcpy(dbt_unit_memory(dbt, size), from, size) : NULL;
}

DbtUnit *dbt_unit_clone(Dbt *dbt, const DbtUnit *from)
{
    DbtUnit  *u  = copy(dbt, from, from->bytes);
    ptrdiff_t by = (uint8_t *)u - (const uint8_t *)from;
    u->exits     = (DbtExit *)((uint8_t *)from->exits + by);
    u->c         = (X86Insn *)((uint8_t *)from->c + by);
    u->insn_host = (uint32_t *)((uint8_t *)from->insn_host + by);
    u->places    = (DbtPlace *)((uint8_t *)from->places + by);
    u->looks     = (DbtLook *)((uint8_t *)from->looks + by);
    u->insn_off  = (uint16_t *)((uint8_t *)from->insn_off + by);
    u->c_of      = from->c_of + by;
    u->relocs    = NULL;
    u->n_relocs  = 0;
    u->incoming  = NULL;
    u->hash_next = u->second = u->stands_for = NULL;
    return u;
}

void dbt_free(Dbt *dbt)
{
    if (!dbt) {
        return;
    }
    ahead_free(dbt->ahead);
    for (unsigned i = 0; i < DBT_REGIONS; i++) {
        huge_arena_free(&dbt->regions[i].memory);
        g_ptr_array_free(dbt->regions[i].starts, true);
        g_array_free(dbt->regions[i].pages[0], true);
        g_array_free(dbt->regions[i].pages[1], true);
    }
    huge_free(dbt->hash, DBT_HASH * sizeof(DbtHead));
    g_free(dbt->cells);
    g_free(dbt->branched);
    huge_free(dbt->sources, DBT_SOURCES * sizeof(DbtUnit *));
    dbt_pages_free(&dbt->pages);
    g_hash_table_destroy(dbt->besides);
    g_hash_table_destroy(dbt->misfits);
    g_hash_table_destroy(dbt->advice);
    g_ptr_array_free(dbt->frames, true);
    dbt_perf_stop(dbt);
    munmap(dbt->space, dbt->space_size);
    g_free(dbt->pieces);
    dbt_scratch_free(dbt->scratch);
    dbt_set_verify(dbt, false);
    g_mutex_clear(&dbt->lock);
    g_free(dbt);
}

bool dbt_allocate(Dbt *dbt, size_t hot, size_t cold, uint8_t **hot_at, uint8_t **cold_at)
{
    hot          = (hot + DBT_ALIGN - 1) & ~(size_t)(DBT_ALIGN - 1);
    cold         = (cold + DBT_ALIGN - 1) & ~(size_t)(DBT_ALIGN - 1);
    DbtRegion *r = &dbt->regions[dbt->region];
    if (r->hot_used + r->cold_used + hot + cold > r->size) {
        unsigned next = (dbt->region + 1) % DBT_REGIONS;
        if (dbt->regions[next].hot_used) {
            dbt->full = true;
            return false;
        }
        dbt->region = next;
        r           = &dbt->regions[next];
    }
    *hot_at = r->start + r->hot_used;
    r->hot_used += hot;
    r->cold_used += cold;
    *cold_at = r->start + r->size - r->cold_used;
    make_huge(dbt, *hot_at + hot - 1, r->hot_used);
    if (cold) {
        make_huge(dbt, *cold_at, r->cold_used);
    }
    if (r->size - r->hot_used - r->cold_used > DBT_PIECE) { /* where they will be after half a piece more */
        make_huge(dbt, *hot_at + hot + DBT_PIECE / 2, r->hot_used);
        make_huge(dbt, *cold_at - DBT_PIECE / 2, r->cold_used);
    }
    return true;
}

static DbtStart *start_at(const DbtRegion *r, unsigned n)
{
    return (DbtStart *)g_ptr_array_index(r->starts, n / DBT_STARTS) + n % DBT_STARTS;
}

void dbt_expect_unit(Dbt *dbt)
{
    enum { LINE = 64, HOT = 4, COLD = 2 };
    const DbtRegion *r    = &dbt->regions[dbt->region];
    const uint8_t   *hot  = r->start + r->hot_used + dbt_writable(dbt);
    const uint8_t   *cold = r->start + r->size - r->cold_used + dbt_writable(dbt);
    for (unsigned i = 0; i < HOT; i++) {
        __builtin_prefetch(hot + i * LINE, 1);
    }
    for (unsigned i = 1; i <= COLD; i++) {
        __builtin_prefetch(cold - i * LINE, 1);
    }
    huge_arena_expect(&r->memory);
}

/* How many units began in the pages of code before each one, for hot and for cold parts: so that few have to be
 * searched. */
static void note_start(DbtRegion *r, const DbtStart *start)
{
    for (unsigned side = 0; side < 2; side++) {
        GArray  *pages = r->pages[side];
        uint32_t page = (side ? (uint32_t)r->size - start->cold : start->hot) >> X86_PAGE_BITS, n = r->n_units;
        while (pages->len <= page) {
            g_array_append_val(pages, n);
        }
    }
}

/* Bounds of the index that dbt_unit_at() looks for. */
static void narrow(const DbtRegion *r, bool cold, uint32_t offset, unsigned *low, unsigned *high)
{
    const GArray *pages = r->pages[cold];
    uint32_t      page  = (cold ? (uint32_t)r->size - offset : offset) >> X86_PAGE_BITS;
    if (page < pages->len) {
        *low = g_array_index(pages, uint32_t, page);
    }
    if (page + 1 < pages->len) {
        *high = g_array_index(pages, uint32_t, page + 1);
    }
}

DbtUnit *dbt_unit_at(Dbt *dbt, const uint8_t *code)
{
    for (unsigned i = 0; i < DBT_REGIONS; i++) {
        DbtRegion *r = &dbt->regions[i];
        if (code < r->start || code >= r->start + r->size) {
            continue;
        }
        /* Hot parts rise with the index, cold parts fall: which is the last that is not above the address, or the
         * first? */
        uint32_t offset = (uint32_t)(code - r->start);
        unsigned low = 0, high = r->n_units;
        bool     cold = offset >= r->hot_used;
        narrow(r, cold, offset, &low, &high);
        while (low < high) {
            unsigned        middle = (low + high) / 2;
            const DbtStart *start  = start_at(r, middle);
            if (cold ? start->cold <= offset : start->hot > offset) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        if (cold ? low < r->n_units : low > 0) {
            DbtUnit *u     = start_at(r, cold ? low : low - 1)->unit;
            uint8_t *start = cold ? u->cold : u->hot;
            if (code - start < (cold ? u->cold_size : u->hot_size)) {
                return u;
            }
        }
        return NULL;
    }
    return NULL;
}

/* --- finding --- */

void dbt_insert(Dbt *dbt, DbtUnit *u)
{
    __atomic_store_n(&u->dead, false, __ATOMIC_RELEASE);
    DbtHead *head = dbt_hash_slot(dbt, u->host, u->key, u->rip);
    u->hash_next  = dbt_head_first(*head);
    __atomic_store_n(head, (uintptr_t)u | (*head >> 48 << 48) | dbt_head_bit(u->host), __ATOMIC_RELEASE);
    if (u->relocs) {
        DbtUnit **slot = dbt_source_slot(dbt, u->host);
        u->source_next = *slot;
        *slot          = u;
    }
    dbt_pages_add(&dbt->pages, u);
    if (u->second) {
        dbt_pages_add(&dbt->pages, u->second);
    }
    DbtRegion *r = &dbt->regions[dbt->region];
    if (r->n_units % DBT_STARTS == 0) {
        g_ptr_array_add(r->starts, huge_arena_new(&r->memory, DBT_STARTS * sizeof(DbtStart)));
    }
    DbtStart *start = start_at(r, r->n_units);
    *start          = (DbtStart){ (uint32_t)(u->hot - r->start), (uint32_t)(u->cold - r->start), u };
    note_start(r, start);
    r->n_units++;
}

/* --- links --- */

/* One store inside a cache line is seen whole or not at all (Intel SDM volume 3, 9.1.1). */
static void patch32(Dbt *dbt, uint8_t *field, const uint8_t *to)
{
    typedef int32_t __attribute__((aligned(1), may_alias)) Field;
    __asm__ volatile("" ::: "memory"); /* the code there comes first */
    *(volatile Field *)field = (int32_t)(to - (field - dbt_writable(dbt) + 4));
}

/* The cold part's CALL stub becomes JMP unit, or the other way round: its five bytes lie in one aligned word. */
static void patch_cold(Dbt *dbt, uint8_t *cold, uint8_t opcode, const uint8_t *to)
{
    int32_t  rel = (int32_t)(to - (cold - dbt_writable(dbt) + 5));
    uint64_t bits;
    memcpy(&bits, cold, 8);
    memcpy(&bits, &opcode, 1);
    memcpy((uint8_t *)&bits + 1, &rel, 4);
    __atomic_store_n((uint64_t *)cold, bits, __ATOMIC_RELEASE);
}

/* Can the branch itself lead there? If not, it is the way to it that does. */
static bool links_directly(const DbtExit *e, const DbtUnit *to)
{
    return e->direct && recipe_same(&e->entry, &to->entry);
}

/* What many call has thousands of these, and code that is patched loses some at each turn. */
void dbt_join_incoming(DbtExit *e, DbtUnit *to)
{
    e->next_in = to->incoming;
    e->at_in   = &to->incoming;
    if (e->next_in) {
        e->next_in->at_in = &e->next_in;
    }
    to->incoming = e;
}

static void leave_incoming(DbtExit *e)
{
    *e->at_in = e->next_in;
    if (e->next_in) {
        e->next_in->at_in = e->at_in;
    }
}

void dbt_link(Dbt *dbt, DbtExit *e, DbtUnit *to)
{
    if (e->to || e->unit->dead || to->dead || dbt->no_links) {
        return;
    }
    /* A unit that needs the vector registers leaves with them loaded. */
    const uint8_t *start = to->hot + (e->unit->vectors ? to->vectors : 0);
    e->to                = to;
    dbt_join_incoming(e, to);
    if (links_directly(e, to)) {
        patch32(dbt, e->site, start);
    } else {
        patch_cold(dbt, e->cold, 0xe9, start);
    }
}

/* The branch leads to its cold part again; who links it has nothing more to do. */
static void unlink_exit(Dbt *dbt, DbtExit *e)
{
    if (e->cell) {
        dbt_cell_unlink(dbt, e);
        return;
    }
    if (links_directly(e, e->to)) {
        patch32(dbt, e->site, e->way - dbt_writable(dbt));
    } else {
        patch_cold(dbt, e->cold, 0xe8, dbt->stubs[STUB_LINK]);
    }
    e->to = NULL;
}

void dbt_unlink(Dbt *dbt, DbtExit *e)
{
    if (e->to) {
        leave_incoming(e);
        unlink_exit(dbt, e);
    }
}

/* --- the end of a unit --- */

void dbt_kill(Dbt *dbt, DbtUnit *u)
{
    if (u->dead) {
        return;
    }
    __atomic_store_n(&u->dead, true, __ATOMIC_SEQ_CST);
    dbt->counters.killed++;

    DbtHead *head = dbt_hash_slot(dbt, u->host, u->key, u->rip);
    DbtUnit *i    = dbt_head_first(*head);
    if (i == u) {
        DbtHead bits = u->hash_next ? *head >> 48 << 48 : 0;
        __atomic_store_n(head, (uintptr_t)u->hash_next | bits, __ATOMIC_RELEASE);
    } else {
        while (i->hash_next != u) {
            i = i->hash_next;
        }
        __atomic_store_n(&i->hash_next, u->hash_next, __ATOMIC_RELEASE);
    }
    if (u->relocs) {
        DbtUnit **slot = dbt_source_slot(dbt, u->host);
        while (*slot != u) {
            slot = &(*slot)->source_next;
        }
        *slot = u->source_next;
    }
    dbt_pages_remove(&dbt->pages, u);
    if (u->second) {
        dbt_pages_remove(&dbt->pages, u->second);
    }

    while (u->incoming) {
        dbt_unlink(dbt, u->incoming);
    }
    for (unsigned i = 0; i < u->n_exits; i++) {
        dbt_unlink(dbt, &u->exits[i]);
    }
    for (unsigned i = 0; i < dbt->frames->len; i++) {
        DbtFrame *f    = g_ptr_array_index(dbt->frames, i);
        unsigned  slot = dbt_jump_slot(u->mode, u->rip);
        for (unsigned way = 0; way < 2; way++) {
            DbtJump *j = &f->jumps[dbt_first_jump(u->mode) + (slot ^ way)];
            if (__atomic_load_n(&j->code, __ATOMIC_SEQ_CST) == u->hot) {
                __atomic_store_n(&j->code, dbt->stubs[STUB_LOOKUP], __ATOMIC_SEQ_CST); /* its thread may be reading */
            }
        }
    }
}

void dbt_empty_region(Dbt *dbt)
{
    unsigned   next = (dbt->region + 1) % DBT_REGIONS;
    DbtRegion *r    = &dbt->regions[next];
    for (unsigned i = 0; i < dbt->frames->len; i++) {
        for (unsigned mode = 0; mode < DBT_MODES; mode++) {
            dbt_cells_flush(g_ptr_array_index(dbt->frames, i), mode);
        }
    }
    for (unsigned i = 0; i < r->n_units; i++) {
        DbtUnit *u = start_at(r, i)->unit;
        dbt_kill(dbt, u);
        for (unsigned k = 0; k < u->n_exits; k++) {
            if (u->exits[k].cell) {
                dbt_cell_free(dbt, &u->exits[k]);
            }
        }
    }
    huge_arena_reset(&r->memory);
    g_ptr_array_set_size(r->starts, 0);
    r->n_units = 0;
    g_array_set_size(r->pages[0], 0);
    g_array_set_size(r->pages[1], 0);
    r->hot_used = r->cold_used = 0;
    dbt->full                  = false;
    dbt->counters.resets++;
}

/* Lock not held. */
void dbt_ram_written(void *opaque, RamBlock *ram, uint64_t offset, uint64_t first, uint64_t last)
{
    Dbt     *dbt = opaque;
    unsigned low = (unsigned)(first & X86_PAGE_MASK), high = (unsigned)(last & X86_PAGE_MASK);
    uint64_t keep = 0;

    g_mutex_lock(&dbt->lock);
    DbtPage *page = dbt_pages_find(&dbt->pages, ram->host + offset);
    for (unsigned i = page ? page->n : 0; i-- > 0;) {
        const DbtPageUnit *u = &page->units[i];
        if (u->start <= high && low < u->start + u->len) {
            dbt_kill(dbt, u->unit->stands_for ? u->unit->stands_for : u->unit);
            i = MIN(i, page->n); /* both its parts may have been in this page */
        } else {
            unsigned a = u->start / 64u, b = (u->start + u->len - 1u) / 64u;
            keep |= (b - a == 63 ? ~UINT64_C(0) : ((UINT64_C(1) << (b - a + 1)) - 1)) << a;
        }
    }
    /* Chunks that no unit needs any more lose their marks here, where none can be made meanwhile. */
    ram_block_keep_marks(ram, offset, keep);
    g_mutex_unlock(&dbt->lock);
}
