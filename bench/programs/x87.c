/* The x87 unit: Horner's scheme, quotients and square roots in 80-bit arithmetic: x87 ROUNDS (thousands).
 * No transcendental instruction: their last bits are not defined. */

#include "bench.h"

#include <math.h>

int main(int argc, char **argv)
{
    uint64_t    rounds = bench_argument(argc, argv, 1) * 1000;
    long double coefficients[16], x = 0.75L, y = 0.0L;

    for (int i = 0; i < 16; i++)
        coefficients[i] = 1.0L / (3 * i + 1);
    for (uint64_t round = 0; round < rounds; round++) {
        long double value = 0;
        for (int i = 0; i < 16; i++)
            value = value * x + coefficients[i];
        y += value;
        x = sqrtl(value / (value + y * 0x1p-40L)) * 0.75L;
    }
    uint64_t sum;
    memcpy(&sum, &y, sizeof(sum)); /* the mantissa */
    return bench_result(bench_mix_double(sum, (double)x));
}
