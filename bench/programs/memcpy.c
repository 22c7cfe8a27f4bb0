/* The C library's memcpy, lengths from 8 bytes to 64 KiB at changing alignment: memcpy ROUNDS. */

#include "bench.h"

#define SIZE (256 << 10)

static uint8_t from[SIZE], to[SIZE];

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), state = 88172645463325252u, sum = 0;

    for (int i = 0; i < SIZE; i++)
        from[i] = (uint8_t)bench_random(&state);
    for (uint64_t round = 0; round < rounds; round++) {
        for (unsigned shift = 3; shift <= 16; shift++) {
            size_t length = (size_t)1 << shift, copies = (SIZE / 4) >> shift;
            for (size_t i = 0; i < copies; i++)
                memcpy(to + i * length + (round & 15), from + i * length + (round & 7), length);
        }
        sum = bench_mix(sum, to[(round * 61) % SIZE]);
        from[(round * 97) % SIZE]++;
    }
    for (int i = 0; i < SIZE; i++)
        sum = bench_mix(sum, to[i]);
    return bench_result(sum);
}
