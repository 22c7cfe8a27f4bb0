/* A walk along a random cycle of pointers, one a cache line: chase KIB STEPS (in thousands). */

#include "bench.h"

typedef struct Node {
    struct Node *next;
    uint64_t     id, unused[6];
} Node;

int main(int argc, char **argv)
{
    uint64_t count = bench_argument(argc, argv, 1) * 1024 / sizeof(Node), steps = bench_argument(argc, argv, 2) * 1000;
    uint64_t state = 88172645463325252u;
    Node    *nodes = aligned_alloc(4096, count * sizeof(Node));

    if (!nodes) {
        perror("chase");
        return 1;
    }
    /* Sattolo's shuffle makes one cycle of all. */
    for (uint64_t i = 0; i < count; i++)
        nodes[i] = (Node){ .id = i };
    for (uint64_t i = count - 1; i > 0; i--) {
        uint64_t j = bench_random(&state) % i, id = nodes[i].id;
        nodes[i].id = nodes[j].id;
        nodes[j].id = id;
    }
    for (uint64_t i = 0; i < count; i++)
        nodes[i].next = &nodes[nodes[i].id];

    Node *node = nodes;
    for (uint64_t i = 0; i < steps; i++)
        node = node->next;
    return bench_result(bench_mix(node->id, (uint64_t)(node - nodes)));
}
