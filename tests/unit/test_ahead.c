/* Work done ahead by a thread: what is asked for happens once, in order, and ends with ahead_free(). */

#include "base/ahead.h"
#include "base/huge.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N = 8 };

typedef struct Note {
    gint  *next; /* shared: the place of the one that comes next */
    gint   place;
    size_t size;
} Note;

static void note(void *memory, size_t size)
{
    Note *n  = memory;
    n->place = g_atomic_int_add(n->next, 1) + 1;
    n->size  = size;
}

static void test_order(void)
{
    gint   next     = 0;
    Note   notes[N] = {};
    Ahead *a        = ahead_new(AHEAD_AT_ONCE);
    for (unsigned i = 0; i < N; i++) {
        notes[i].next = &next;
        ahead_ask(a, note, &notes[i], i);
    }
    while (g_atomic_int_get(&next) < N) {
        g_usleep(1000);
    }
    ahead_free(a);
    for (unsigned i = 0; i < N; i++) {
        g_assert_cmpint(notes[i].place, ==, (gint)i + 1);
        g_assert_cmpuint(notes[i].size, ==, i);
    }
}

static void nap(void *memory, size_t size)
{
    g_atomic_int_inc((gint *)memory);
    g_usleep(size);
}

/* More than can wait is dropped, and nothing is begun after the end. */
static void test_too_much(void)
{
    gint   done = 0;
    Ahead *a    = ahead_new(AHEAD_AT_ONCE);
    for (unsigned i = 0; i < 3000; i++) {
        ahead_ask(a, nap, &done, 20000);
    }
    ahead_free(a);
    g_assert_cmpint(done, <, 100);
    ahead_free(ahead_new(AHEAD_AT_ONCE)); /* never asked */
    ahead_free(NULL);
}

static bool is_there(const void *memory)
{
    unsigned char there = 0;
    g_assert_cmpint(mincore((void *)memory, 1, &there), ==, 0);
    return there & 1;
}

static bool comes(const void *memory)
{
    for (unsigned i = 0; i < 5000 && !is_there(memory); i++) {
        g_usleep(1000);
    }
    return is_there(memory);
}

/* Little is not worth a thread; more is touched from the page it begins in to the one it ends in, and no further. */
static void test_touch(void)
{
    size_t   page = (size_t)sysconf(_SC_PAGESIZE), size = 3 * AHEAD_WORTH_A_THREAD;
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    g_assert_true(memory != MAP_FAILED);
    madvise(memory, size, MADV_NOHUGEPAGE);
    Ahead *a = ahead_new(AHEAD_WORTH_A_THREAD);
    ahead_ask_touch(a, memory + 100, page);
    g_usleep(20000);
    g_assert_false(is_there(memory));
    ahead_ask_touch(a, memory + 4 * page + 1, AHEAD_WORTH_A_THREAD + 1);
    g_assert_true(comes(memory + 4 * page + AHEAD_WORTH_A_THREAD));
    ahead_free(a);
    for (size_t at = 0; at < size; at += page) {
        bool wanted = at < 2 * page || (at >= 4 * page && at <= 4 * page + AHEAD_WORTH_A_THREAD);
        g_assert_cmpint(is_there(memory + at), ==, wanted);
    }
    munmap(memory, size);
}

/* Of an arena that has taken a second block, the third is touched before anybody is there. */
static void test_arena(void)
{
    HugeArena arena = { .ahead = ahead_new(AHEAD_AT_ONCE) };
    for (unsigned i = 0; i < 2; i++) {
        huge_arena_new(&arena, HUGE_PAGE);
    }
    g_assert_cmpuint(arena.blocks->len, ==, 3);
    g_assert_true(comes(g_ptr_array_index(arena.blocks, 2)));
    g_assert_true(huge_arena_new(&arena, 64) == g_ptr_array_index(arena.blocks, 2));
    ahead_free(arena.ahead);
    huge_arena_free(&arena);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/ahead/order", test_order);
    g_test_add_func("/ahead/too-much", test_too_much);
    g_test_add_func("/ahead/touch", test_touch);
    g_test_add_func("/ahead/arena", test_arena);
    return g_test_run();
}
