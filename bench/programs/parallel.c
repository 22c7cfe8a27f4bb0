/* A compute job for two vCPUs, cut into pieces that two threads take from a shared counter: parallel NAME PIECES. */

#define _GNU_SOURCE
#include "sha256.h"

#include <pthread.h>

#define THREADS 2
#define NUMBERS 65536
#define N       64

typedef struct Job {
    uint64_t (*piece)(uint64_t index);
    uint64_t         pieces;
    _Atomic uint64_t next, sum;
} Job;

/* Integer code: SHA-256 of 64 KiB. */
static uint64_t piece_hash(uint64_t index)
{
    uint32_t state[8];
    uint8_t  block[64];

    memcpy(state, sha256_initial, sizeof(state));
    memset(block, (int)index, sizeof(block));
    for (int i = 0; i < 1024; i++) {
        block[i & 63] ^= (uint8_t)i;
        sha256_block(state, block);
    }
    return (uint64_t)state[0] << 32 | state[7];
}

/* Memory: a sieve, in memory of its own. */
static uint64_t piece_sieve(uint64_t index)
{
    uint8_t *composite = calloc(NUMBERS, 1);
    uint64_t count     = 0;

    if (!composite)
        abort();
    for (uint32_t i = 2; i < NUMBERS; i++) {
        if (composite[i])
            continue;
        count += i ^ index;
        for (uint64_t j = (uint64_t)i * i; j < NUMBERS; j += i)
            composite[j] = 1;
    }
    free(composite);
    return count;
}

/* Floating point: a matrix product. */
static uint64_t piece_matrix(uint64_t index)
{
    static __thread double a[N][N], b[N][N];
    uint64_t               state = index * 2 + 1, sum = 0;

    for (int i = 0; i < N * N; i++) {
        a[i / N][i % N] = (double)(bench_random(&state) >> 40);
        b[i / N][i % N] = (double)(bench_random(&state) >> 40);
    }
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            double dot = 0;
            for (int k = 0; k < N; k++)
                dot += a[i][k] * b[k][j];
            sum = bench_mix_double(sum, dot);
        }
    }
    return sum;
}

static void *work(void *opaque)
{
    Job *job = opaque;

    for (uint64_t i; (i = job->next++) < job->pieces;)
        job->sum += bench_mix(i, job->piece(i)); /* the order of pieces does not matter to the sum */
    return NULL;
}

static const struct {
    const char *name;
    uint64_t (*piece)(uint64_t index);
} kinds[] = { { "hash", piece_hash }, { "sieve", piece_sieve }, { "matrix", piece_matrix } };

int main(int argc, char **argv)
{
    Job       job = { .pieces = bench_argument(argc, argv, 2) };
    pthread_t threads[THREADS];

    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!strcmp(kinds[i].name, argv[1]))
            job.piece = kinds[i].piece;
    }
    if (!job.piece) {
        fprintf(stderr, "%s: no job '%s'\n", argv[0], argv[1]);
        return 2;
    }
    for (int i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, work, &job))
            abort();
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return bench_result(job.sum);
}
