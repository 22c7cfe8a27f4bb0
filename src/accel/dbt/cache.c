/* The code cache: memory that is mapped twice, units by guest memory and mode, links between them, and their end.
 *
 * Memory is filled region by region. When all are in use the oldest is emptied, inside an exclusive section; what is
 * killed before only loses its last traces (links, jump cache entries) and is freed with its region, since some vCPU
 * may still be in it.
 *
 * Lock of the Dbt held, but where it says otherwise. */

#include "accel/dbt/dbt.h"

#include <errno.h>
#include <sys/mman.h>

/* --- memory --- */

/* Shared anonymous memory, and the same pages a second time: Linux perf looks into /tmp/perf-PID.map only for memory
 * that has no file, which memfd_create() would be. */
static bool map_views(Dbt *dbt, Error *err)
{
    dbt->rw = mmap(NULL, dbt->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (dbt->rw == MAP_FAILED) {
        return error_set_errno(err, errno, "cannot get %zu MiB of memory for translated code (tb-size=)",
                               dbt->size >> 20);
    }
    dbt->rx = mremap(dbt->rw, 0, dbt->size, MREMAP_MAYMOVE);
    if (dbt->rx == MAP_FAILED || mprotect(dbt->rx, dbt->size, PROT_READ | PROT_EXEC) != 0) {
        error_set_errno(err, errno, "cannot map executable memory for translated code");
        if (dbt->rx != MAP_FAILED) {
            munmap(dbt->rx, dbt->size);
        }
        munmap(dbt->rw, dbt->size);
        return false;
    }
    return true;
}

Dbt *dbt_new(size_t size, Error *err)
{
    Dbt *dbt  = g_new0(Dbt, 1);
    dbt->size = size;
    g_mutex_init(&dbt->lock);
    if (!map_views(dbt, err)) {
        g_mutex_clear(&dbt->lock);
        g_free(dbt);
        return NULL;
    }
    dbt_make_stubs(dbt);
    dbt->listener = (RamCodeListener){ .written = dbt_ram_written, .opaque = dbt };
    size_t part   = (size - DBT_STUB_SPACE) / DBT_REGIONS & ~(size_t)63;
    for (unsigned i = 0; i < DBT_REGIONS; i++) {
        dbt->regions[i] = (DbtRegion){
            .start = dbt->rx + DBT_STUB_SPACE + i * part,
            .size  = part,
            .units = g_ptr_array_new(),
        };
    }
    dbt->pages   = g_hash_table_new(NULL, NULL);
    dbt->misfits = g_hash_table_new(NULL, NULL);
    dbt->advice  = g_hash_table_new(NULL, NULL);
    dbt->frames  = g_ptr_array_new();
    dbt->scratch = dbt_scratch_new();
    dbt_set_verify(dbt, X86_ALWAYS_PARK);
    return dbt;
}

void dbt_unit_free(DbtUnit *u)
{
    g_free(u->second);
    g_free(u->relocs);
    g_free(u);
}

DbtUnit *dbt_unit_clone(const DbtUnit *from)
{
    DbtUnit  *u  = g_memdup2(from, from->bytes);
    ptrdiff_t by = (uint8_t *)u - (const uint8_t *)from;
    u->exits     = (DbtExit *)((uint8_t *)from->exits + by);
    u->c         = (X86Insn *)((uint8_t *)from->c + by);
    u->insn_host = (uint32_t *)((uint8_t *)from->insn_host + by);
    u->places    = (DbtPlace *)((uint8_t *)from->places + by);
    u->insn_off  = (uint16_t *)((uint8_t *)from->insn_off + by);
    u->c_of      = from->c_of + by;
    u->relocs    = g_memdup2(from->relocs, sizeof(Reloc) * from->n_relocs);
    u->incoming  = NULL;
    u->hash_next = u->page_next = u->page_prev = NULL;
    u->second = u->stands_for = NULL;
    return u;
}

void dbt_free(Dbt *dbt)
{
    if (!dbt) {
        return;
    }
    for (unsigned i = 0; i < DBT_REGIONS; i++) {
        for (unsigned k = 0; k < dbt->regions[i].units->len; k++) {
            dbt_unit_free(g_ptr_array_index(dbt->regions[i].units, k));
        }
        g_ptr_array_free(dbt->regions[i].units, true);
    }
    g_hash_table_destroy(dbt->pages);
    g_hash_table_destroy(dbt->misfits);
    g_hash_table_destroy(dbt->advice);
    g_ptr_array_free(dbt->frames, true);
    dbt_perf_stop(dbt);
    munmap(dbt->rw, dbt->size);
    munmap(dbt->rx, dbt->size);
    dbt_scratch_free(dbt->scratch);
    dbt_set_verify(dbt, false);
    g_mutex_clear(&dbt->lock);
    g_free(dbt);
}

bool dbt_allocate(Dbt *dbt, size_t hot, size_t cold, uint8_t **hot_at, uint8_t **cold_at)
{
    enum { ALIGN = 16 };
    hot          = (hot + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    cold         = (cold + ALIGN - 1) & ~(size_t)(ALIGN - 1);
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
    return true;
}

DbtUnit *dbt_unit_at(Dbt *dbt, const uint8_t *code)
{
    for (unsigned i = 0; i < DBT_REGIONS; i++) {
        DbtRegion *r = &dbt->regions[i];
        if (code < r->start || code >= r->start + r->size) {
            continue;
        }
        /* Hot parts rise with the index, cold parts fall. */
        bool     cold = code >= r->start + r->hot_used;
        unsigned low = 0, high = r->units->len;
        while (low < high) {
            unsigned middle = (low + high) / 2;
            DbtUnit *u      = g_ptr_array_index(r->units, middle);
            uint8_t *start  = cold ? u->cold : u->hot;
            size_t   size   = cold ? u->cold_size : u->hot_size;
            if (code >= start && code < start + size) {
                return u;
            }
            if ((code < start) != cold) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        return NULL;
    }
    return NULL;
}

/* --- finding --- */

static gpointer page_key(const DbtUnit *u)
{
    return (gpointer)((uintptr_t)u->host & ~(uintptr_t)X86_PAGE_MASK);
}

DbtUnit *dbt_page_units(Dbt *dbt, const uint8_t *host)
{
    return g_hash_table_lookup(dbt->pages, (gpointer)((uintptr_t)host & ~(uintptr_t)X86_PAGE_MASK));
}

static void page_insert(Dbt *dbt, DbtUnit *u)
{
    DbtUnit *head = g_hash_table_lookup(dbt->pages, page_key(u));
    u->page_next  = head;
    if (head) {
        head->page_prev = u;
    }
    g_hash_table_insert(dbt->pages, page_key(u), u);
}

static void page_remove(Dbt *dbt, DbtUnit *u)
{
    if (u->page_next) {
        u->page_next->page_prev = u->page_prev;
    }
    if (u->page_prev) {
        u->page_prev->page_next = u->page_next;
    } else if (u->page_next) {
        g_hash_table_insert(dbt->pages, page_key(u), u->page_next);
    } else {
        g_hash_table_remove(dbt->pages, page_key(u));
    }
}

void dbt_insert(Dbt *dbt, DbtUnit *u)
{
    DbtUnit **slot = dbt_hash_slot(dbt, u->host, u->key, u->rip);
    u->hash_next   = *slot;
    __atomic_store_n(slot, u, __ATOMIC_RELEASE);
    page_insert(dbt, u);
    if (u->second) {
        page_insert(dbt, u->second);
    }
    g_ptr_array_add(dbt->regions[dbt->region].units, u);
}

/* --- links --- */

static void patch32(Dbt *dbt, uint8_t *field, const uint8_t *to)
{
    int32_t  rel  = (int32_t)(to - (field - dbt_writable(dbt) + 4));
    uint8_t *word = (uint8_t *)((uintptr_t)field & ~(uintptr_t)7);
    uint64_t bits;
    memcpy(&bits, word, 8);
    memcpy((uint8_t *)&bits + (field - word), &rel, 4);
    __atomic_store_n((uint64_t *)word, bits, __ATOMIC_RELEASE);
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

void dbt_link(Dbt *dbt, DbtExit *e, DbtUnit *to)
{
    if (e->to || e->unit->dead || to->dead || dbt->no_links) {
        return;
    }
    e->to        = to;
    e->next_in   = to->incoming;
    to->incoming = e;
    if (e->direct) {
        patch32(dbt, e->site, to->hot);
    } else {
        patch_cold(dbt, e->cold, 0xe9, to->hot);
    }
}

static void unlink_exit(Dbt *dbt, DbtExit *e)
{
    if (e->direct) {
        patch32(dbt, e->site, e->way - dbt_writable(dbt));
    } else {
        patch_cold(dbt, e->cold, 0xe8, dbt->stubs[STUB_LINK]);
    }
    e->to = NULL;
}

static void forget_incoming(DbtExit *e)
{
    DbtExit **at = &e->to->incoming;
    while (*at != e) {
        at = &(*at)->next_in;
    }
    *at = e->next_in;
}

/* --- the end of a unit --- */

void dbt_kill(Dbt *dbt, DbtUnit *u)
{
    if (u->dead) {
        return;
    }
    __atomic_store_n(&u->dead, true, __ATOMIC_SEQ_CST);
    dbt->counters.killed++;

    DbtUnit **slot = dbt_hash_slot(dbt, u->host, u->key, u->rip);
    while (*slot != u) {
        slot = &(*slot)->hash_next;
    }
    __atomic_store_n(slot, u->hash_next, __ATOMIC_RELEASE);
    page_remove(dbt, u);
    if (u->second) {
        page_remove(dbt, u->second);
    }

    while (u->incoming) {
        DbtExit *e  = u->incoming;
        u->incoming = e->next_in;
        unlink_exit(dbt, e);
    }
    for (unsigned i = 0; i < u->n_exits; i++) {
        if (u->exits[i].to) {
            forget_incoming(&u->exits[i]);
            unlink_exit(dbt, &u->exits[i]);
        }
    }
    for (unsigned i = 0; i < dbt->frames->len; i++) {
        DbtFrame *f = g_ptr_array_index(dbt->frames, i);
        DbtJump  *j = &f->jumps[u->mode][dbt_jump_slot(u->rip)];
        if (__atomic_load_n(&j->code, __ATOMIC_SEQ_CST) == u->hot) {
            __atomic_store_n(&j->code, dbt->stubs[STUB_LOOKUP], __ATOMIC_RELEASE); /* its thread may be reading */
        }
    }
}

void dbt_empty_region(Dbt *dbt)
{
    unsigned   next = (dbt->region + 1) % DBT_REGIONS;
    DbtRegion *r    = &dbt->regions[next];
    for (unsigned i = 0; i < r->units->len; i++) {
        dbt_kill(dbt, g_ptr_array_index(r->units, i));
    }
    for (unsigned i = 0; i < r->units->len; i++) {
        dbt_unit_free(g_ptr_array_index(r->units, i));
    }
    g_ptr_array_set_size(r->units, 0);
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
    DbtUnit *u = g_hash_table_lookup(dbt->pages, ram->host + (offset & ~(uint64_t)X86_PAGE_MASK));
    while (u) {
        DbtUnit *next = u->page_next;
        if (u->range_start <= high && low < u->range_start + u->range_len) {
            DbtUnit *whole = u->stands_for ? u->stands_for : u;
            if (next && (next == whole || next == whole->second)) {
                next = next->page_next; /* both parts in one page */
            }
            dbt_kill(dbt, whole);
        } else {
            unsigned a = u->range_start / 64u, b = (u->range_start + u->range_len - 1u) / 64u;
            keep |= (b - a == 63 ? ~UINT64_C(0) : ((UINT64_C(1) << (b - a + 1)) - 1)) << a;
        }
        u = next;
    }
    /* Chunks that no unit needs any more lose their marks here, where none can be made meanwhile. */
    ram_block_keep_marks(ram, offset, keep);
    g_mutex_unlock(&dbt->lock);
}
