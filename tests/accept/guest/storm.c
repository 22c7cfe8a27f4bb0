/* fork and exec of one dynamically linked program after another, by several processes at once.
 *
 * storm PROCESSES COUNT PROGRAM: prints "execs=COUNT failed=N bases=N seconds=S". PROGRAM "self" runs this file as the
 * child, which looks at its relocations, its library and its stack and sends where its C library lies back through a
 * pipe: "bases" counts different places, which shows that addresses are randomized. */

#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char            **environ;
static const char *const names[] = { "page", "walk", "table" }; /* relocated by the dynamic linker */

static int child(int fd, unsigned number)
{
    char text[64];
    snprintf(text, sizeof text, "%s-%u", names[number % 3], number);
    uint32_t sum = 0;
    for (char *p = text; *p; p++)
        sum = sum * 31 + (uint8_t)*p;
    uint64_t reply[2] = { (uintptr_t)&snprintf & ~0xfffull, sum };
    return write(fd, reply, sizeof reply) == sizeof reply ? 7 : 1;
}

static uint32_t expected(unsigned number)
{
    char     text[64];
    int      n   = snprintf(text, sizeof text, "%s-%u", names[number % 3], number);
    uint32_t sum = 0;
    for (int i = 0; i < n; i++)
        sum = sum * 31 + (uint8_t)text[i];
    return sum;
}

/* Runs count children one by one, returns how many failed and writes where their libraries were to `out`. */
static unsigned run(const char *self, const char *program, unsigned first, unsigned count, int out)
{
    int      own    = strcmp(program, "self") == 0, ends[2];
    unsigned failed = 0;
    if (pipe(ends))
        return count;
    for (unsigned i = first; i < first + count; i++) {
        char fd[16], number[16];
        snprintf(fd, sizeof fd, "%d", ends[1]);
        snprintf(number, sizeof number, "%u", i);
        char *const arguments[] = { (char *)(own ? self : program), own ? "child" : NULL, fd, number, NULL };
        pid_t       pid         = fork();
        if (!pid) {
            execve(arguments[0], arguments, environ);
            _exit(126);
        }
        int status = -1;
        if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != (own ? 7 : 0)) {
            fprintf(stderr, "%s %u: wait status %x\n", program, i, (unsigned)status);
            failed++;
            continue;
        }
        uint64_t reply[2];
        if (own) {
            if (read(ends[0], reply, sizeof reply) != sizeof reply || reply[1] != expected(i))
                failed++;
            else if (write(out, reply, 8) != 8)
                failed++;
        }
    }
    return failed;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "child"))
        return child(atoi(argv[2]), (unsigned)atoi(argv[3]));
    if (argc != 4)
        return 2;
    unsigned        processes = (unsigned)atoi(argv[1]), count = (unsigned)atoi(argv[2]), failed = 0, bases = 0;
    FILE           *places = tmpfile();
    struct timespec begin, end;
    if (!places || !processes)
        return 2;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (unsigned p = 0; p < processes; p++) {
        unsigned first = count * p / processes, last = count * (p + 1) / processes;
        pid_t    pid = fork();
        if (!pid)
            _exit(run(argv[0], argv[3], first, last - first, fileno(places)) ? 1 : 0);
        if (pid < 0)
            failed++;
    }
    for (int status; wait(&status) > 0;)
        failed += status != 0;
    clock_gettime(CLOCK_MONOTONIC, &end);

    uint64_t *all = calloc(count + 1, 8);
    rewind(places);
    size_t n = all ? fread(all, 8, count, places) : 0;
    qsort(all, n, 8, compare);
    for (size_t i = 0; i < n; i++)
        bases += !i || all[i] != all[i - 1];
    printf("execs=%u failed=%u bases=%u seconds=%.3f\n", count, failed, bases,
           (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return failed != 0;
}
