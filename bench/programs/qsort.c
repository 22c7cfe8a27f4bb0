/* The C library's qsort with a comparison function, 200,000 records of 16 bytes: qsort ROUNDS. */

#include "bench.h"

#define RECORDS 200000

typedef struct Record {
    uint64_t key, value;
} Record;

static Record records[RECORDS];

static int compare(const void *a, const void *b)
{
    uint64_t x = ((const Record *)a)->key, y = ((const Record *)b)->key;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), state = 88172645463325252u, sum = 0;

    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t i = 0; i < RECORDS; i++)
            records[i] = (Record){ bench_random(&state), i };
        qsort(records, RECORDS, sizeof(Record), compare);
        for (uint64_t i = 0; i < RECORDS; i += 97)
            sum = bench_mix(sum, records[i].key ^ records[i].value);
    }
    return bench_result(sum);
}
