/* Arithmetic on numbers that come from a guest, a file or a stream: every result that does not fit is told. */

#ifndef QUERN_BASE_CHECKED_H
#define QUERN_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each returns true and stores the result, or returns false when it does not fit in *result. */
#define checked_add(a, b, result) (!__builtin_add_overflow((a), (b), (result)))
#define checked_sub(a, b, result) (!__builtin_sub_overflow((a), (b), (result)))
#define checked_mul(a, b, result) (!__builtin_mul_overflow((a), (b), (result)))

/* Does [off, off + len) lie inside an object of `size` bytes? An empty range at `size` does. */
static inline bool range_fits(uint64_t off, uint64_t len, uint64_t size)
{
    return off <= size && len <= size - off;
}

/* Do two ranges share a byte? Neither may wrap past 2^64; one that ends exactly there is fine. */
static inline bool ranges_overlap(uint64_t a, uint64_t a_len, uint64_t b, uint64_t b_len)
{
    return a_len && b_len && (a <= b ? b - a < a_len : a - b < b_len);
}

static inline bool is_power_of_two(uint64_t n)
{
    return n && !(n & (n - 1));
}

static inline uint64_t align_down(uint64_t n, uint64_t power_of_two)
{
    return n & ~(power_of_two - 1);
}

/* The caller knows that n + power_of_two - 1 does not wrap. */
static inline uint64_t align_up(uint64_t n, uint64_t power_of_two)
{
    return (n + power_of_two - 1) & ~(power_of_two - 1);
}

static inline uint64_t extract_bits(uint64_t value, unsigned shift, unsigned count)
{
    return (value >> shift) & (count == 64 ? ~0ull : (1ull << count) - 1);
}

#endif
