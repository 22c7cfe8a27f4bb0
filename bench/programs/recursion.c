/* Recursive calls: Fibonacci numbers, and trees built, walked and freed: recursion ROUNDS. */

#include "bench.h"

typedef struct Tree {
    struct Tree *left, *right;
    uint64_t     value;
} Tree;

static __attribute__((noinline, noclone)) uint64_t fibonacci(unsigned n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

static Tree *tree_new(unsigned depth, uint64_t value)
{
    Tree *tree = malloc(sizeof(*tree));

    if (!tree)
        abort();
    *tree = (Tree){ .value = value };
    if (depth) {
        tree->left  = tree_new(depth - 1, value * 2);
        tree->right = tree_new(depth - 1, value * 2 + 1);
    }
    return tree;
}

static uint64_t tree_sum(const Tree *tree)
{
    return tree ? bench_mix(tree_sum(tree->left), tree->value) + tree_sum(tree->right) : 1;
}

static void tree_free(Tree *tree)
{
    if (!tree)
        return;
    tree_free(tree->left);
    tree_free(tree->right);
    free(tree);
}

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 1), sum = 0;

    for (uint64_t round = 0; round < rounds; round++) {
        sum        = bench_mix(sum, fibonacci(24 + round % 2));
        Tree *tree = tree_new(12, round);
        sum        = bench_mix(sum, tree_sum(tree));
        tree_free(tree);
    }
    return bench_result(sum);
}
