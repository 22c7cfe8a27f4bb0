/* The lists of units by guest page: many pages, long lists, and the way back. */

#include "accel/dbt/dbt.h"

enum { PAGE = X86_PAGE_SIZE };

typedef struct Fixture {
    Ahead   *ahead;
    DbtPages pages;
} Fixture;

static void setup(Fixture *f, gconstpointer unused)
{
    f->ahead = ahead_new(AHEAD_AT_ONCE);
    dbt_pages_init(&f->pages, f->ahead);
}

static void teardown(Fixture *f, gconstpointer unused)
{
    ahead_free(f->ahead);
    dbt_pages_free(&f->pages);
}

/* Nobody looks at guest memory here: any address will do. */
static DbtUnit unit_at(uint64_t page, unsigned offset)
{
    return (DbtUnit){ .host        = (const uint8_t *)(uintptr_t)(page * PAGE + offset),
                      .range_start = (uint16_t)offset,
                      .range_len   = 3 };
}

static void expect_listed(const DbtPages *pages, const DbtUnit *u)
{
    const DbtPage *page = dbt_pages_find(pages, u->host);
    g_assert_nonnull(page);
    g_assert_cmpuint(u->page_at, <, page->n);
    const DbtPageUnit *listed = &page->units[u->page_at];
    g_assert_true(listed->unit == u);
    g_assert_cmpuint(listed->start, ==, u->range_start);
    g_assert_cmpuint(listed->len, ==, u->range_len);
}

/* More pages than there were slots at first. */
static void test_many(Fixture *f, gconstpointer unused)
{
    enum { N = 100000 };
    g_autofree DbtUnit *units = g_new(DbtUnit, N);
    for (unsigned i = 0; i < N; i++) {
        units[i] = unit_at(1000 + 7 * (uint64_t)i, i % PAGE);
        g_assert_null(dbt_pages_find(&f->pages, units[i].host));
        dbt_pages_add(&f->pages, &units[i]);
    }
    for (unsigned i = 0; i < N; i++) {
        expect_listed(&f->pages, &units[i]);
        g_assert_null(dbt_pages_find(&f->pages, units[i].host + PAGE));
    }
    for (unsigned i = 0; i < N; i++) {
        dbt_pages_remove(&f->pages, &units[i]);
        g_assert_null(dbt_pages_find(&f->pages, units[i].host));
    }
}

/* One page mapped at so many addresses that its list is longer than an arena's block; out of order, and twice, so that
 * outgrown lists are used again. */
static void test_long(Fixture *f, gconstpointer unused)
{
    enum { N = (DBT_PAGE_ROOM << DBT_PAGE_ROOMS) + 1, STEP = 7919 };
    g_autofree DbtUnit *units = g_new(DbtUnit, N);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < N; i++) {
            units[i] = unit_at(5, i % PAGE);
            dbt_pages_add(&f->pages, &units[i]);
        }
        for (unsigned i = 0; i < N; i++) {
            expect_listed(&f->pages, &units[i]);
        }
        uint64_t k = 0;
        for (unsigned i = 0; i < N; i++, k = (k + STEP) % N) {
            expect_listed(&f->pages, &units[k]);
            dbt_pages_remove(&f->pages, &units[k]);
        }
        g_assert_null(dbt_pages_find(&f->pages, units[0].host));
    }
    dbt_pages_add(&f->pages, &units[0]); /* what is left is freed with the rest */
}

/* Killed from the end, as dbt_ram_written() does it. */
static void test_from_end(Fixture *f, gconstpointer unused)
{
    enum { N = 100 };
    DbtUnit  units[N];
    unsigned seen = 0;
    for (unsigned i = 0; i < N; i++) {
        units[i] = unit_at(9, 16 * i);
        dbt_pages_add(&f->pages, &units[i]);
    }
    DbtPage *page = dbt_pages_find(&f->pages, units[0].host);
    for (unsigned i = page->n; i-- > 0;) {
        seen++;
        if (page->units[i].start % 32 == 0) {
            dbt_pages_remove(&f->pages, page->units[i].unit);
        }
    }
    g_assert_cmpuint(seen, ==, N);
    g_assert_cmpuint(page->n, ==, N / 2);
    for (unsigned i = 1; i < N; i += 2) {
        expect_listed(&f->pages, &units[i]);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/dbt/pages/many", Fixture, NULL, setup, test_many, teardown);
    g_test_add("/dbt/pages/long", Fixture, NULL, setup, test_long, teardown);
    g_test_add("/dbt/pages/from-end", Fixture, NULL, setup, test_from_end, teardown);
    return g_test_run();
}
