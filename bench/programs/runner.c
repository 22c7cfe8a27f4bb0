/* Runs rows of bench/rows one after another and prints for each how long its programs ran and what they printed.
 *
 *     runner [-d FOLDER] [-s SCALE] ROWS NAME[,NAME...]
 *
 * FOLDER holds the programs and their data; it becomes the working directory. SCALE multiplies the numbers in braces
 * of ROWS. Lines of output:
 *
 *     clock SECONDS                    CLOCK_MONOTONIC, first and last, for who wants to compare clocks
 *     begin NAME
 *     row NAME SECONDS CPU CHECKSUM    CPU: processor seconds; FNV-1a of the standard output, in hexadecimal
 *     failed NAME WHAT
 *
 * What a row prints goes to memory and is summed up outside its time. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS 32

typedef struct Row {
    char    *name, *input; /* input: file for standard input, or NULL */
    uint64_t repeat;
    char    *argv[WORDS];
} Row;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_of_children(void)
{
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e-6;
}

static void die(const char *what)
{
    fprintf(stderr, "runner: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* "{N}" becomes N * scale, at least 1; other words stay. The words are never freed. */
static char *scaled(char *word, double scale)
{
    char *end, *text;

    if (word[0] != '{')
        return word;
    double value = (double)strtoull(word + 1, &end, 0) * scale;
    if (strcmp(end, "}") || asprintf(&text, "%" PRIu64, value < 1 ? 1 : (uint64_t)value) < 0)
        die(word);
    return text;
}

/* NAME GROUP REPEAT PROGRAM [ARGUMENT...] [<FILE] */
static bool row_parse(Row *row, char *line, double scale)
{
    char *words[WORDS + 4], *save, *word;
    int   count = 0, arguments = 0;

    *row = (Row){ 0 };
    for (word = strtok_r(line, " \t\n", &save); word && count < WORDS; word = strtok_r(NULL, " \t\n", &save))
        words[count++] = word;
    if (!count || words[0][0] == '#')
        return false;
    if (count < 4) {
        fprintf(stderr, "runner: row '%s': too short\n", words[0]);
        exit(1);
    }
    row->name   = words[0];
    row->repeat = strtoull(scaled(words[2], scale), NULL, 0);
    for (int i = 3; i < count; i++) {
        if (words[i][0] == '<')
            row->input = words[i] + 1;
        else
            row->argv[arguments++] = scaled(words[i], scale);
    }
    return true;
}

static void child(const Row *row, int output)
{
    static char *environment[] = { "PATH=/bin:/usr/bin", "LC_ALL=C", "HOME=/nonexistent", NULL };
    char        *path;
    int          input = open(row->input ? row->input : "/dev/null", O_RDONLY);

    if (input < 0 || dup2(input, 0) < 0 || dup2(output, 1) < 0 || asprintf(&path, "./%s", row->argv[0]) < 0)
        die(row->name);
    execve(path, row->argv, environment);
    die(path);
}

static uint64_t checksum(int file)
{
    static uint8_t buffer[65536];
    uint64_t       sum = 0xcbf29ce484222325u;
    ssize_t        length;

    if (lseek(file, 0, SEEK_SET))
        die("output");
    while ((length = read(file, buffer, sizeof(buffer))) > 0) {
        for (ssize_t i = 0; i < length; i++)
            sum = (sum ^ buffer[i]) * 0x100000001b3u;
    }
    return sum;
}

static void row_run(const Row *row)
{
    double seconds = 0, cpu = cpu_of_children();
    int    output = memfd_create("output", MFD_CLOEXEC);

    if (output < 0)
        die("memfd_create");
    printf("begin %s\n", row->name);
    for (uint64_t i = 0; i < row->repeat; i++) {
        int status;
        if (ftruncate(output, 0) || lseek(output, 0, SEEK_SET))
            die("output");
        double start = now();
        pid_t  pid   = fork();
        if (pid < 0)
            die("fork");
        if (!pid)
            child(row, output);
        if (waitpid(pid, &status, 0) != pid)
            die("waitpid");
        seconds += now() - start;
        if (status) {
            if (WIFSIGNALED(status))
                printf("failed %s signal %d\n", row->name, WTERMSIG(status));
            else
                printf("failed %s exit status %d\n", row->name, WEXITSTATUS(status));
            close(output);
            return;
        }
    }
    cpu = cpu_of_children() - cpu;
    printf("row %s %.6f %.6f %016" PRIx64 "\n", row->name, seconds, cpu, checksum(output));
    close(output);
}

/* Whether `name` is one of the comma-separated `names`. */
static bool listed(const char *names, const char *name)
{
    size_t length = strlen(name);

    for (const char *at = names; (at = strstr(at, name)); at++) {
        if ((at == names || at[-1] == ',') && (at[length] == ',' || !at[length]))
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    const char *folder = NULL;
    double      scale  = 1;
    char        line[1024];
    Row         row;

    for (int option; (option = getopt(argc, argv, "d:s:")) != -1;) {
        if (option == 'd')
            folder = optarg;
        else if (option == 's')
            scale = atof(optarg);
        else
            return 2;
    }
    if (argc - optind != 2 || scale <= 0) {
        fprintf(stderr, "usage: runner [-d FOLDER] [-s SCALE] ROWS NAME[,NAME...]\n");
        return 2;
    }
    FILE *rows = fopen(argv[optind], "re");
    if (!rows)
        die(argv[optind]);
    if (folder && chdir(folder))
        die(folder);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("clock %.6f\n", now());
    while (fgets(line, sizeof(line), rows)) {
        if (row_parse(&row, line, scale) && listed(argv[optind + 1], row.name))
            row_run(&row);
    }
    printf("clock %.6f\n", now());
    return 0;
}
