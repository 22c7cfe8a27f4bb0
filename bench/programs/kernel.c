/* System calls, faults and switches: kernel NAME ROUNDS, NAME being one of the table below. */

#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void *map(size_t size)
{
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        fail("mmap");
    return p;
}

static uint64_t run_getppid(uint64_t rounds)
{
    uint64_t same   = 0;
    long     parent = syscall(SYS_getppid);

    for (uint64_t i = 0; i < rounds; i++)
        same += syscall(SYS_getppid) == parent;
    return same;
}

static uint64_t run_fork(uint64_t rounds)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < rounds; i++) {
        int   status;
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (!child)
            _exit((int)(i & 63));
        if (waitpid(child, &status, 0) != child)
            fail("waitpid");
        sum = bench_mix(sum, (uint64_t)WEXITSTATUS(status));
    }
    return sum;
}

/* Touches 4 MiB of new memory in 4 KiB pages, and gives it back. */
static uint64_t run_fault(uint64_t rounds)
{
    size_t   size = 4 << 20;
    uint64_t sum  = 0;
    uint8_t *p    = map(size);

    if (madvise(p, size, MADV_NOHUGEPAGE) && errno != EINVAL)
        fail("madvise");
    for (uint64_t i = 0; i < rounds; i++) {
        for (size_t at = 0; at < size; at += PAGE) {
            sum += p[at] + 1;
            p[at] = (uint8_t)i;
        }
        if (madvise(p, size, MADV_DONTNEED))
            fail("madvise");
    }
    return sum;
}

static void move(ssize_t done, const char *what)
{
    if (done != 1)
        fail(what);
}

/* One byte there and back between two processes. */
static uint64_t run_pipe(uint64_t rounds)
{
    int     there[2], back[2], status;
    uint8_t byte = 1;

    if (pipe(there) || pipe(back))
        fail("pipe");
    pid_t child = fork();
    if (child < 0)
        fail("fork");
    for (uint64_t i = 0; i < rounds; i++) {
        if (!child) {
            move(read(there[0], &byte, 1), "read");
            byte = (uint8_t)(byte * 5 + 1);
            move(write(back[1], &byte, 1), "write");
        } else {
            move(write(there[1], &byte, 1), "write");
            move(read(back[0], &byte, 1), "read");
        }
    }
    if (!child)
        _exit(0);
    if (waitpid(child, &status, 0) != child || status)
        fail("waitpid");
    return bench_mix(rounds, byte);
}

static uint64_t run_mmap(uint64_t rounds)
{
    uint64_t sum = 0;

    for (uint64_t i = 0; i < rounds; i++) {
        uint8_t *p = map(16 * PAGE);
        p[0]       = (uint8_t)i;
        sum        = bench_mix(sum, p[0] + p[5 * PAGE]);
        if (munmap(p, 16 * PAGE))
            fail("munmap");
    }
    return sum;
}

/* Two threads that wake each other in turn. */
typedef struct Turns {
    _Atomic uint32_t turn;
    uint64_t         rounds, sum;
} Turns;

static void take_turns(Turns *t, uint32_t own)
{
    for (uint64_t i = 0; i < t->rounds; i++) {
        while (t->turn != own)
            syscall(SYS_futex, &t->turn, FUTEX_WAIT_PRIVATE, !own, NULL, NULL, 0);
        t->sum  = bench_mix(t->sum, own + i);
        t->turn = !own;
        syscall(SYS_futex, &t->turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void *second_thread(void *turns)
{
    take_turns(turns, 1);
    return NULL;
}

static uint64_t run_switch(uint64_t rounds)
{
    Turns     turns = { .rounds = rounds };
    pthread_t thread;

    if (pthread_create(&thread, NULL, second_thread, &turns))
        fail("pthread_create");
    take_turns(&turns, 0);
    pthread_join(thread, NULL);
    return turns.sum;
}

static const struct {
    const char *name;
    uint64_t (*run)(uint64_t rounds);
} tests[] = {
    { "getppid", run_getppid }, { "fork", run_fork }, { "fault", run_fault },
    { "pipe", run_pipe },       { "mmap", run_mmap }, { "switch", run_switch },
};

int main(int argc, char **argv)
{
    uint64_t rounds = bench_argument(argc, argv, 2);

    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        if (!strcmp(tests[i].name, argv[1]))
            return bench_result(tests[i].run(rounds));
    }
    fprintf(stderr, "%s: no test '%s'\n", argv[0], argv[1]);
    return 2;
}
