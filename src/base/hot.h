/* Memory functions for code that must not touch vector registers (cpu/x86/park.h), which the C library's use. For few
 * bytes: no call, no start-up cost. */

#ifndef QUERN_BASE_HOT_H
#define QUERN_BASE_HOT_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t __attribute__((aligned(1), may_alias)) HotWord;
typedef uint32_t __attribute__((aligned(1), may_alias)) HotHalf;

/* Above this the string instructions' start-up pays. */
enum { HOT_LOOP_MAX = 256 };

static inline void hot_copy(void *to, const void *from, size_t len)
{
    uint8_t       *t = to;
    const uint8_t *f = from;

    if (len > HOT_LOOP_MAX) {
        __asm__ volatile("rep movsb" : "+D"(t), "+S"(f), "+c"(len) : : "memory");
        return;
    }
    for (; len >= 8; len -= 8, t += 8, f += 8) {
        *(HotWord *)t = *(const HotWord *)f;
    }
    if (len & 4) {
        *(HotHalf *)t = *(const HotHalf *)f;
        t += 4;
        f += 4;
    }
    for (len &= 3; len; len--) {
        *t++ = *f++;
    }
}

static inline void hot_zero(void *to, size_t len)
{
    __asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(0) : "memory");
}

#endif
