/* What the benchmark programs share: the amount of work from the command line, pseudo-random numbers, the result.
 *
 * Each program does work that its argument scales and prints one line that depends on all of it, so that a wrong
 * result shows and no compiler leaves anything out. */

#pragma once

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The argument at `index` as a number, or a message and exit status 2. */
static inline uint64_t bench_argument(int argc, char **argv, int index)
{
    char    *end;
    uint64_t n;

    if (index >= argc || (n = strtoull(argv[index], &end, 0)) == 0 || *end) {
        fprintf(stderr, "%s: argument %d is not a positive number\n", argv[0], index);
        exit(2);
    }
    return n;
}

/* Marsaglia's xorshift64: the same numbers everywhere. */
static inline uint64_t bench_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline uint64_t bench_mix(uint64_t sum, uint64_t value)
{
    return (sum ^ value) * 0x9e3779b97f4a7c15u + (sum >> 29);
}

static inline uint64_t bench_mix_double(uint64_t sum, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bench_mix(sum, bits);
}

static inline int bench_result(uint64_t sum)
{
    printf("%016llx\n", (unsigned long long)sum);
    return 0;
}
