/* AVX2 and FMA: integer vectors of 256 bits, then a fused multiply-add over floats, in 16 KiB: avx2 ROUNDS. */

#include "bench.h"

#include <immintrin.h>

#define SIZE   (16 << 10)
#define FLOATS 2048

static uint8_t data[SIZE] __attribute__((aligned(32)));
static float   x[FLOATS] __attribute__((aligned(32))), y[FLOATS] __attribute__((aligned(32)));

static __m256i integers(__m256i sums)
{
    __m256i order   = _mm256_setr_epi8(3, 1, 4, 15, 9, 2, 6, 5, 8, 7, 0, 11, 10, 13, 12, 14, 3, 1, 4, 15, 9, 2, 6, 5, 8,
                                       7, 0, 11, 10, 13, 12, 14);
    __m256i weights = _mm256_set1_epi16(77);

    for (int i = 0; i < SIZE; i += 32) {
        __m256i v = _mm256_load_si256((__m256i *)(data + i));
        v         = _mm256_shuffle_epi8(v, order);
        v         = _mm256_permute4x64_epi64(v, 0x93);
        sums      = _mm256_add_epi32(sums, _mm256_madd_epi16(v, weights));
        sums      = _mm256_xor_si256(sums, _mm256_sllv_epi32(v, _mm256_set1_epi32(3)));
        _mm256_store_si256((__m256i *)(data + i), _mm256_sub_epi8(v, _mm256_max_epu8(v, sums)));
    }
    return sums;
}

static void floats(float factor)
{
    __m256 f = _mm256_set1_ps(factor);

    for (int i = 0; i < FLOATS; i += 8) {
        __m256 v = _mm256_fmadd_ps(_mm256_load_ps(x + i), f, _mm256_load_ps(y + i));
        _mm256_store_ps(y + i, _mm256_min_ps(v, _mm256_set1_ps(1000.0f)));
    }
}

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), state = 88172645463325252u, sum = 0, words[4];

    for (int i = 0; i < SIZE; i++)
        data[i] = (uint8_t)bench_random(&state);
    for (int i = 0; i < FLOATS; i++)
        x[i] = (float)(bench_random(&state) >> 44) * 0x1p-20f - 0.5f;
    __m256i sums = _mm256_setzero_si256();
    for (uint64_t round = 0; round < rounds; round++) {
        sums = integers(sums);
        floats((float)(round % 17) * 0.25f - 2.0f);
    }
    _mm256_storeu_si256((__m256i *)words, sums);
    for (int i = 0; i < 4; i++)
        sum = bench_mix(sum, words[i]);
    for (int i = 0; i < FLOATS; i++)
        sum = bench_mix_double(sum, (double)y[i]);
    return bench_result(sum);
}
