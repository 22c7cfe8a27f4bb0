/* SHA-256 of 64 KiB, again and again: sha256 ROUNDS. */

#include "sha256.h"

#define SIZE (64 << 10)

static uint8_t data[SIZE];

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), random = 88172645463325252u, sum = 0;
    uint32_t state[8];

    memcpy(state, sha256_initial, sizeof(state));
    for (int i = 0; i < SIZE; i++)
        data[i] = (uint8_t)bench_random(&random);
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < SIZE; i += 64)
            sha256_block(state, data + i);
    }
    for (int i = 0; i < 8; i++)
        sum = bench_mix(sum, state[i]);
    return bench_result(sum);
}
