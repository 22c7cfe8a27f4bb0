/* CRC-32 (IEEE 802.3) of one megabyte, a byte at a time by table: crc ROUNDS. */

#include "bench.h"

#define SIZE (1 << 20)

static uint8_t data[SIZE];

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), state = 88172645463325252u;
    uint32_t table[256], crc                               = ~0u;

    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? value >> 1 ^ 0xedb88320u : value >> 1;
        table[i] = value;
    }
    for (int i = 0; i < SIZE; i++)
        data[i] = (uint8_t)bench_random(&state);
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < SIZE; i++)
            crc = crc >> 8 ^ table[(uint8_t)(crc ^ data[i])];
    }
    return bench_result(~crc);
}
