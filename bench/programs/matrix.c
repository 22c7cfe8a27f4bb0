/* Product of two matrices of doubles, 160 by 160, rows by columns as written in a textbook: matrix ROUNDS. */

#include "bench.h"

#define N 160

static double a[N][N], b[N][N], c[N][N];

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), state = 88172645463325252u, sum = 0;

    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)(bench_random(&state) >> 40) * 0x1p-24 - 0.5;
            b[i][j] = (double)(bench_random(&state) >> 40) * 0x1p-24 - 0.5;
        }
    }
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < N; i++) {
            for (int j = 0; j < N; j++) {
                double dot = 0;
                for (int k = 0; k < N; k++)
                    dot += a[i][k] * b[k][j];
                c[i][j] = dot;
            }
        }
        a[round % N][(round * 7) % N] = c[(round * 3) % N][round % N] * 0.125;
    }
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++)
            sum = bench_mix_double(sum, c[i][j]);
    }
    return bench_result(sum);
}
