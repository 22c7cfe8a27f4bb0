/* Sieve of Eratosthenes below one million, a byte a number: sieve ROUNDS. */

#include "bench.h"

#define LIMIT 1000000

static uint8_t composite[LIMIT];

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), sum = 0;

    for (uint64_t round = 0; round < rounds; round++) {
        uint64_t count = 0;
        memset(composite, 0, sizeof(composite));
        for (uint32_t i = 2; i < LIMIT; i++) {
            if (composite[i])
                continue;
            count++;
            for (uint64_t j = (uint64_t)i * i; j < LIMIT; j += i)
                composite[j] = 1;
        }
        sum = bench_mix(sum, count + round);
    }
    return bench_result(sum);
}
