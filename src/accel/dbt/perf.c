/* Files by which Linux perf finds names for translated code.
 *
 *   -perfmap   /tmp/perf-PID.map: a line "start size name" for each piece of code, numbers in hexadecimal
 *   -jitdump   jit-PID.dump in the current folder, with the code itself, for `perf inject --jit`; perf record notices
 * it by an executable mapping of the file that is made for that alone
 *
 * Code memory is used again: the map's later lines replace earlier ones, the dump's records carry the time.
 *
 * Specification: Linux 6.1, tools/perf/Documentation/jit-interface.txt and jitdump-specification.txt (version 2 of
 * November 2015). Callers do not overlap. */

#include "accel/dbt/trace.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { JITDUMP_VERSION = 1, JIT_CODE_LOAD = 0, JIT_CODE_CLOSE = 3 };

#define JITDUMP_MAGIC 0x4a695444u /* "JiTD" in the file's byte order, as read by its writer */

typedef struct JitHeader {
    uint32_t magic, version, total_size, elf_mach, pad1, pid;
    uint64_t timestamp, flags;
} JitHeader;

typedef struct JitRecord {
    uint32_t id, total_size;
    uint64_t timestamp;
} JitRecord;

typedef struct JitLoad {
    JitRecord record;
    uint32_t  pid, tid;
    uint64_t  vma, code_addr, code_size, code_index;
    /* Then the name with its NUL, and the code. */
} JitLoad;

G_STATIC_ASSERT(sizeof(JitHeader) == 40 && sizeof(JitRecord) == 16 && sizeof(JitLoad) == 56);

struct DbtPerf {
    FILE    *map, *dump;
    void    *marker; /* the executable mapping that perf record looks for */
    size_t   marker_size;
    uint64_t n;
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* The names can be guessed, and /tmp is everybody's: only a plain file of our own is overwritten. */
static FILE *create(const char *option, const char *path, Error *err)
{
    int         fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0600);
    struct stat st;
    if (fd < 0) {
        error_set_errno(err, errno, "%s: cannot create %s", option, path);
        return NULL;
    }
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_nlink != 1) {
        error_set(err, "%s: %s exists and is not a plain file of this user; remove it", option, path);
    } else if (ftruncate(fd, 0) < 0) {
        error_set_errno(err, errno, "%s: cannot empty %s", option, path);
    } else {
        FILE *file = fdopen(fd, "w");
        if (file) {
            return file;
        }
        error_set_errno(err, errno, "%s: %s", option, path);
    }
    close(fd);
    return NULL;
}

static bool open_map(DbtPerf *p, Error *err)
{
    char path[64];
    g_snprintf(path, sizeof path, "/tmp/perf-%ld.map", (long)getpid());
    p->map = create("-perfmap", path, err);
    if (!p->map) {
        return false;
    }
    setvbuf(p->map, NULL, _IOLBF, 0);
    return true;
}

static bool open_dump(DbtPerf *p, Error *err)
{
    char path[64];
    g_snprintf(path, sizeof path, "jit-%ld.dump", (long)getpid());
    p->dump = create("-jitdump", path, err);
    if (!p->dump) {
        return false;
    }
    p->marker_size = (size_t)sysconf(_SC_PAGESIZE);
    p->marker      = mmap(NULL, p->marker_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(p->dump), 0);
    if (p->marker == MAP_FAILED) {
        p->marker = NULL;
        return error_set_errno(
            err, errno, "-jitdump: cannot map %s executable, by which perf finds it (a file system mounted noexec?)",
            path);
    }
    JitHeader h = { .magic      = JITDUMP_MAGIC,
                    .version    = JITDUMP_VERSION,
                    .total_size = sizeof h,
                    .elf_mach   = EM_X86_64,
                    .pid        = (uint32_t)getpid(),
                    .timestamp  = now() };
    if (fwrite(&h, sizeof h, 1, p->dump) != 1 || fflush(p->dump) != 0) {
        return error_set_errno(err, errno, "-jitdump: cannot write %s", path);
    }
    return true;
}

DbtPerf *dbt_perf_new(unsigned what, Error *err)
{
    DbtPerf *p = g_new0(DbtPerf, 1);
    if ((what & DBT_PERF_MAP && !open_map(p, err)) || (what & DBT_PERF_DUMP && !open_dump(p, err))) {
        dbt_perf_free(p);
        return NULL;
    }
    return p;
}

void dbt_perf_free(DbtPerf *p)
{
    if (!p) {
        return;
    }
    if (p->dump) {
        if (p->marker) {
            JitRecord r = { .id = JIT_CODE_CLOSE, .total_size = sizeof r, .timestamp = now() };
            fwrite(&r, sizeof r, 1, p->dump);
            munmap(p->marker, p->marker_size);
        }
        fclose(p->dump);
    }
    if (p->map) {
        fclose(p->map);
    }
    g_free(p);
}

static void give_up(FILE **file, const char *option)
{
    warn_report("%s: cannot write: %s; nothing more is written", option, g_strerror(errno));
    fclose(*file);
    *file = NULL;
}

void dbt_perf_code(DbtPerf *p, const uint8_t *code, size_t size, const char *name)
{
    if (!size) {
        return;
    }
    if (p->map && fprintf(p->map, "%" PRIxPTR " %zx %s\n", (uintptr_t)code, size, name) < 0) {
        give_up(&p->map, "-perfmap");
    }
    if (p->dump) {
        size_t  name_size = strlen(name) + 1;
        JitLoad l         = { .record     = { .id         = JIT_CODE_LOAD,
                                              .total_size = (uint32_t)(sizeof l + name_size + size),
                                              .timestamp  = now() },
                              .pid        = (uint32_t)getpid(),
                              .tid        = (uint32_t)syscall(SYS_gettid),
                              .vma        = (uintptr_t)code,
                              .code_addr  = (uintptr_t)code,
                              .code_size  = size,
                              .code_index = p->n++ };
        if (fwrite(&l, sizeof l, 1, p->dump) != 1 || fwrite(name, name_size, 1, p->dump) != 1 ||
            fwrite(code, size, 1, p->dump) != 1 || fflush(p->dump) != 0) {
            give_up(&p->dump, "-jitdump");
        }
    }
}
