/* The units of each guest page: see pages.h. */

#include "accel/dbt/dbt.h"

enum { FIRST_BITS = 13 };

/* Code that is mapped at many addresses may have more units than an arena can list. */
G_STATIC_ASSERT((DBT_PAGE_ROOM << (DBT_PAGE_ROOMS - 1)) * sizeof(DbtPageUnit) <= HUGE_PAGE);

static const uint8_t *page_start(const uint8_t *host)
{
    return host - ((uintptr_t)host & X86_PAGE_MASK);
}

/* Where the page is or may be put; some slot is free. */
static DbtPage *find_slot(const DbtPages *pages, const uint8_t *host)
{
    uint64_t hash = ((uint64_t)(uintptr_t)host >> X86_PAGE_BITS) * UINT64_C(0x9e3779b97f4a7c15);
    unsigned mask = (1u << pages->bits) - 1;
    unsigned slot = (unsigned)(hash >> (64 - pages->bits));

    while (pages->slots[slot].host && pages->slots[slot].host != host) {
        slot = (slot + 1) & mask;
    }
    return &pages->slots[slot];
}

static size_t bytes_of_slots(const DbtPages *pages)
{
    return sizeof(DbtPage) << pages->bits;
}

static void free_slots(DbtPages *pages)
{
    if (pages->bits > FIRST_BITS) {
        huge_free(pages->slots, bytes_of_slots(pages));
    }
}

/* A quarter of the slots stays free. */
static void make_slots(DbtPages *pages)
{
    size_t slots = (size_t)1 << pages->bits;
    if (pages->n < slots - slots / 4) {
        return;
    }
    DbtPages more = { .bits = pages->bits + 1 };
    more.slots    = huge_new0(bytes_of_slots(&more));
    for (size_t i = 0; i < slots; i++) {
        if (pages->slots[i].host) {
            *find_slot(&more, pages->slots[i].host) = pages->slots[i];
        }
    }
    free_slots(pages);
    pages->slots = more.slots;
    pages->bits  = more.bits;
}

/* --- lists --- */

/* Lists of that room that wait to be used again; NULL: they are malloc()'s. */
static DbtPageUnit **free_lists(DbtPages *pages, uint32_t room)
{
    unsigned class = (unsigned)g_bit_nth_msf(room / DBT_PAGE_ROOM, -1);
    return class < DBT_PAGE_ROOMS ? &pages->free[class] : NULL;
}

static DbtPageUnit *new_list(DbtPages *pages, uint32_t room)
{
    DbtPageUnit **first = free_lists(pages, room), *list = first ? *first : NULL;
    if (!first) {
        return g_new(DbtPageUnit, room);
    }
    if (!list) {
        return huge_arena_new(&pages->memory, room * sizeof *list);
    }
    *first = (DbtPageUnit *)list->unit; /* the next one */
    return list;
}

static void free_list(DbtPages *pages, DbtPage *page)
{
    DbtPageUnit **first = page->room ? free_lists(pages, page->room) : NULL;
    if (first) {
        page->units->unit = (DbtUnit *)*first;
        *first            = page->units;
    } else {
        g_free(page->units);
    }
    page->units = NULL;
}

static void make_longer(DbtPages *pages, DbtPage *page)
{
    uint32_t     room  = MAX(2 * page->room, DBT_PAGE_ROOM);
    DbtPageUnit *units = new_list(pages, room);
    if (page->n) {
        memcpy(units, page->units, page->n * sizeof *units);
    }
    free_list(pages, page);
    page->units = units;
    page->room  = room;
}

/* --- entry points --- */

void dbt_pages_init(DbtPages *pages, Ahead *ahead)
{
    *pages = (DbtPages){ .bits = FIRST_BITS, .memory = { .ahead = ahead } };
    huge_arena_prepare(&pages->memory);
    pages->slots = huge_arena_new(&pages->memory, bytes_of_slots(pages)); /* zeros, as nobody had it before */
}

void dbt_pages_free(DbtPages *pages)
{
    for (size_t i = 0; i < (size_t)1 << pages->bits; i++) {
        if (pages->slots[i].room && !free_lists(pages, pages->slots[i].room)) {
            g_free(pages->slots[i].units);
        }
    }
    free_slots(pages);
    huge_arena_free(&pages->memory);
}

DbtPage *dbt_pages_find(const DbtPages *pages, const uint8_t *host)
{
    DbtPage *page = find_slot(pages, page_start(host));
    return page->n ? page : NULL;
}

void dbt_pages_add(DbtPages *pages, DbtUnit *u)
{
    make_slots(pages);
    DbtPage *page = find_slot(pages, page_start(u->host));
    if (!page->host) {
        page->host = page_start(u->host);
        pages->n++;
    }
    if (page->n == page->room) {
        make_longer(pages, page);
    }
    u->page_at             = page->n;
    page->units[page->n++] = (DbtPageUnit){ .unit = u, .start = u->range_start, .len = u->range_len };
}

void dbt_pages_remove(DbtPages *pages, const DbtUnit *u)
{
    DbtPage    *page = find_slot(pages, page_start(u->host));
    DbtPageUnit last = page->units[--page->n];

    page->units[u->page_at] = last;
    last.unit->page_at      = u->page_at;
    if (!page->n) {
        free_list(pages, page);
        page->room = 0;
    }
}
