/* AVX2 and FMA: the rounds of ChaCha20 (RFC 8439) on two blocks at a time, then polynomials of floats by Horner's
 * scheme with fused multiply-adds: avx2 ROUNDS. */

#include "bench.h"

#include <immintrin.h>

#define BLOCKS 64
#define DEGREE 32
#define FLOATS 64

static __m256i rotate(__m256i v, int n)
{
    return _mm256_or_si256(_mm256_slli_epi32(v, n), _mm256_srli_epi32(v, 32 - n));
}

/* Four quarter rounds at once, in each half of the registers. */
static void quarter_rounds(__m256i v[4])
{
    v[0] = _mm256_add_epi32(v[0], v[1]);
    v[3] = rotate(_mm256_xor_si256(v[3], v[0]), 16);
    v[2] = _mm256_add_epi32(v[2], v[3]);
    v[1] = rotate(_mm256_xor_si256(v[1], v[2]), 12);
    v[0] = _mm256_add_epi32(v[0], v[1]);
    v[3] = rotate(_mm256_xor_si256(v[3], v[0]), 8);
    v[2] = _mm256_add_epi32(v[2], v[3]);
    v[1] = rotate(_mm256_xor_si256(v[1], v[2]), 7);
}

static void blocks(__m256i state[4])
{
    __m256i v[4] = { state[0], state[1], state[2], state[3] };

    for (int i = 0; i < 10; i++) {
        quarter_rounds(v);
        v[1] = _mm256_shuffle_epi32(v[1], 0x39);
        v[2] = _mm256_shuffle_epi32(v[2], 0x4e);
        v[3] = _mm256_shuffle_epi32(v[3], 0x93);
        quarter_rounds(v);
        v[1] = _mm256_shuffle_epi32(v[1], 0x93);
        v[2] = _mm256_shuffle_epi32(v[2], 0x4e);
        v[3] = _mm256_shuffle_epi32(v[3], 0x39);
    }
    for (int i = 0; i < 4; i++)
        state[i] = _mm256_add_epi32(state[i], v[i]);
}

static __m256 polynomial(__m256 x, const float *coefficients)
{
    __m256 value = _mm256_setzero_ps();

    for (int i = 0; i < DEGREE; i++)
        value = _mm256_fmadd_ps(value, x, _mm256_broadcast_ss(coefficients + i));
    return value;
}

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), random = 88172645463325252u, sum = 0, words[4];
    float    coefficients[DEGREE], x[FLOATS] = { 0 };
    __m256i  state[4];

    for (int i = 0; i < DEGREE; i++)
        coefficients[i] = (float)(bench_random(&random) >> 44) * 0x1p-20f - 0.5f;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 4; j++)
            words[j] = bench_random(&random);
        state[i] = _mm256_loadu_si256((__m256i *)words);
    }
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < BLOCKS; i++)
            blocks(state);
        for (int i = 0; i < FLOATS; i += 8) {
            __m256 v = _mm256_add_ps(_mm256_loadu_ps(x + i), _mm256_set1_ps((float)(round % 17) * 0.03125f));
            _mm256_storeu_ps(x + i, _mm256_mul_ps(polynomial(v, coefficients), _mm256_set1_ps(0.125f)));
        }
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_si256((__m256i *)words, state[i]);
        for (int j = 0; j < 4; j++)
            sum = bench_mix(sum, words[j]);
    }
    for (int i = 0; i < FLOATS; i++)
        sum = bench_mix_double(sum, (double)x[i]);
    return bench_result(sum);
}
