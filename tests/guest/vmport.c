/* The VMware backdoor: a read of port 5658h with a magic number and a command. With the argument "show=1" all answers
 * are printed. */

#include "rt/rt.h"

enum { PORT = 0x5658, MAGIC = 0x564d5868, N_COMMANDS = 80 };

typedef struct Answer {
    u32 a, b, c, d, s, t;
} Answer;

static Answer ask_with(u32 magic, u32 command)
{
    Answer r = { magic, 0x1111, command, PORT, 0x3333, 0x4444 };
    __asm__ volatile("inl %%dx, %%eax" : "+a"(r.a), "+b"(r.b), "+c"(r.c), "+d"(r.d), "+S"(r.s), "+D"(r.t));
    return r;
}

static Answer ask(u32 command)
{
    return ask_with(MAGIC, command);
}

TEST(show, "answers")
{
    for (u32 i = 0; option("show", 0) && i < N_COMMANDS; i++) {
        Answer r = ask(i);
        print("# %u: %x %x %x %x %x %x\n", i, r.a, r.b, r.c, r.d, r.s, r.t);
    }
    Answer r = ask(10);
    equal(r.a, 6);
    equal(r.b, MAGIC);
    equal(r.c, 2);
    equal(r.d, PORT);
    r = ask(20);
    equal(r.a, 128 << 20);
    equal(r.b, 0x1177);
    r = ask(19); /* -uuid 00112233-4455-6677-8899-aabbccddeeff */
    equal(r.a, 0x33221100);
    equal(r.b, 0x77665544);
    equal(r.c, 0xbbaa9988);
    equal(r.d, 0xffeeddcc);
    r = ask(68);
    equal(r.a, (cpuid(1, 0).c >> 21 & 1) << 3);
    equal(r.b, 0x1111);
    equal(r.s, 0x3333);
    equal(r.t, 0x4444);
}

TEST(unknown, "nobody answers")
{
    Answer r = ask(0);
    equal(r.a, 0xffffffff);
    equal(r.b, 0x1111);
    r = ask_with(0, 10);
    equal(r.a, 0xffffffff);
    equal(r.b, 0x1111);
    equal(r.c, 10);
}

/* All vCPUs at once: each gets its answer in its own registers. */
static volatile u64 wrong;

static void ask_often(Cpu *cpu)
{
    for (unsigned i = 0; i < 1000; i++) {
        Answer r = ask(cpu->index & 1 ? 10 : 20);
        if (r.b != (cpu->index & 1 ? MAGIC : 0x1177) || r.a != (cpu->index & 1 ? 6 : 128 << 20)) {
            __atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
        }
    }
}

TEST(several, "each vCPU has its own registers")
{
    smp_start();
    for (unsigned i = 1; i < n_cpus; i++) {
        smp_go(i, ask_often);
    }
    ask_often(&cpus[0]);
    for (unsigned i = 1; i < n_cpus; i++) {
        smp_wait(i);
    }
    equal(wrong, 0);
}
