/* Memory in huge pages: anonymous memory, aligned, with MADV_HUGEPAGE. Any thread. */

#include "base/huge.h"

#include <stdint.h>
#include <sys/mman.h>

static size_t whole_pages(size_t size)
{
    return (size + HUGE_PAGE - 1) & ~(size_t)(HUGE_PAGE - 1);
}

void *huge_try_new0(size_t size)
{
    size_t whole = whole_pages(size);
    if (whole < size || whole + HUGE_PAGE < whole) {
        return NULL;
    }
    uint8_t *space = mmap(NULL, whole + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (space == MAP_FAILED) {
        return NULL;
    }
    size_t before = -(uintptr_t)space & (HUGE_PAGE - 1);
    if (before) {
        munmap(space, before);
    }
    munmap(space + before + whole, HUGE_PAGE - before);
    huge_advise(space + before, whole);
    return space + before;
}

void *huge_new0(size_t size)
{
    void *memory = huge_try_new0(size);
    if (!memory) {
        g_error("cannot get %zu bytes of memory", size);
    }
    return memory;
}

void huge_free(void *memory, size_t size)
{
    if (memory) {
        munmap(memory, whole_pages(size));
    }
}

void huge_advise(void *start, size_t size)
{
    (void)madvise(start, size & ~(size_t)(HUGE_PAGE - 1), MADV_HUGEPAGE); /* a kernel without them: all works */
}

static void *add_block(HugeArena *arena)
{
    void *block = huge_new0(HUGE_PAGE);
    if (!arena->blocks) {
        arena->blocks = g_ptr_array_new();
    }
    g_ptr_array_add(arena->blocks, block);
    return block;
}

void huge_arena_prepare(HugeArena *arena)
{
    if (arena->ahead && (!arena->blocks || arena->n == arena->blocks->len)) {
        ahead_ask_touch(arena->ahead, add_block(arena), HUGE_PAGE);
    }
}

void *huge_arena_new(HugeArena *arena, size_t size)
{
    enum { ALIGN = 64 };
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    g_assert(size <= HUGE_PAGE);
    if (!arena->n || HUGE_PAGE - arena->used < size) {
        if (!arena->blocks || arena->n == arena->blocks->len) {
            (void)add_block(arena);
        }
        arena->n++;
        arena->used = 0;
        if (arena->n > 1) { /* who needs two blocks will need more */
            huge_arena_prepare(arena);
        }
    }
    uint8_t *object = (uint8_t *)g_ptr_array_index(arena->blocks, arena->n - 1) + arena->used;
    arena->used += size;
    return object;
}

void huge_arena_expect(const HugeArena *arena)
{
    enum { LINE = 64, LINES = 12 };
    if (arena->n) {
        const uint8_t *next = (const uint8_t *)g_ptr_array_index(arena->blocks, arena->n - 1) + arena->used;
        for (unsigned i = 0; i < LINES; i++) {
            __builtin_prefetch(next + i * LINE, 1);
        }
    }
}

void huge_arena_reset(HugeArena *arena)
{
    arena->n    = 0;
    arena->used = 0;
}

void huge_arena_free(HugeArena *arena)
{
    for (unsigned i = 0; arena->blocks && i < arena->blocks->len; i++) {
        huge_free(g_ptr_array_index(arena->blocks, i), HUGE_PAGE);
    }
    if (arena->blocks) {
        g_ptr_array_free(arena->blocks, TRUE);
    }
    *arena = (HugeArena){ 0 };
}
