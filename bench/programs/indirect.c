/* Indirect calls: an interpreter of a small random program through a table of functions: indirect ROUNDS. */

#include "bench.h"

#define LENGTH 4096

typedef uint64_t (*Operation)(uint64_t value, uint64_t operand);

#define OPERATION(name, expression)                                                                                    \
    static __attribute__((noinline)) uint64_t name(uint64_t v, uint64_t o)                                             \
    {                                                                                                                  \
        return expression;                                                                                             \
    }

OPERATION(op_add, v + o)
OPERATION(op_sub, v - o)
OPERATION(op_xor, v ^ o)
OPERATION(op_mul, v *(o | 1))
OPERATION(op_shift, v ^ v >> (o & 31))
OPERATION(op_rotate, v << (o & 31) | v >> (63 - (o & 31)) >> 1)
OPERATION(op_max, v > o ? v : v + 1)
OPERATION(op_swap, __builtin_bswap64(v) + o)

static const Operation operations[] = { op_add, op_sub, op_xor, op_mul, op_shift, op_rotate, op_max, op_swap };

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), state = 88172645463325252u, value = 1;
    static struct {
        Operation operation;
        uint64_t  operand;
    } program[LENGTH];

    for (int i = 0; i < LENGTH; i++) {
        program[i].operation = operations[bench_random(&state) % 8];
        program[i].operand   = bench_random(&state);
    }
    for (uint64_t round = 0; round < rounds; round++) {
        for (int i = 0; i < LENGTH; i++)
            value = program[i].operation(value, program[i].operand);
    }
    return bench_result(value);
}
