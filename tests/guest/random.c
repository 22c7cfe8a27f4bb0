/* Prints what a guest may take random numbers from: test_seed.py compares runs with and without -seed. */

#include "rt/rt.h"

static u64 random64(bool seed)
{
    u64 value;
    if (seed) {
        __asm__ volatile("rdseed %0" : "=r"(value));
    } else {
        __asm__ volatile("rdrand %0" : "=r"(value));
    }
    return value;
}

static u64 first[MAX_CPUS];

static void take(Cpu *cpu)
{
    first[cpu->index] = random64(false);
}

TEST(numbers, "random numbers")
{
    if (!(cpuid(1, 0).c >> 30 & 1)) {
        skip("no RDRAND");
        return;
    }
    bool has_rdseed = cpuid(7, 0).b >> 18 & 1;
    smp_start();
    for (unsigned i = 1; i < n_cpus; i++) {
        smp_go(i, take);
        smp_wait(i);
    }
    take(&cpus[0]);
    print("# random");
    for (unsigned i = 0; i < n_cpus; i++) {
        print(" %lx", first[i]);
    }
    print(" %lx %lx %lx\n", random64(has_rdseed), random64(false), random64(false));
}
