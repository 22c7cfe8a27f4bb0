/* Integer SIMD of 128 bits (up to SSE4.2): byte search, shuffle, saturating and multiply-add arithmetic over 16 KiB:
 * simd ROUNDS. */

#include "bench.h"

#include <immintrin.h>

#define SIZE (16 << 10)

static uint8_t data[SIZE] __attribute__((aligned(16)));

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), state = 88172645463325252u, count = 0;

    for (int i = 0; i < SIZE; i++)
        data[i] = (uint8_t)bench_random(&state);
    __m128i sums = _mm_setzero_si128(), key = _mm_set1_epi8(17);
    __m128i order   = _mm_setr_epi8(3, 1, 4, 15, 9, 2, 6, 5, 8, 7, 0, 11, 10, 13, 12, 14);
    __m128i weights = _mm_set1_epi16(77);
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < SIZE; i += 16) {
            __m128i v = _mm_load_si128((__m128i *)(data + i));
            count += (unsigned)__builtin_popcount((unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(v, key)));
            v    = _mm_shuffle_epi8(v, order);
            v    = _mm_adds_epu8(v, _mm_srli_epi16(v, 3));
            sums = _mm_add_epi32(sums, _mm_madd_epi16(v, weights));
            sums = _mm_xor_si128(sums, _mm_unpacklo_epi8(v, key));
            _mm_store_si128((__m128i *)(data + i), _mm_xor_si128(v, _mm_max_epu8(v, sums)));
        }
        key = _mm_add_epi8(key, _mm_set1_epi8(1));
    }
    uint64_t words[2];
    _mm_storeu_si128((__m128i *)words, sums);
    return bench_result(bench_mix(bench_mix(count, words[0]), words[1]));
}
