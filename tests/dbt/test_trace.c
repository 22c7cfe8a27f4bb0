/* What people see of the translator: counters, listings in the log, traces, files for Linux perf. */

#include "../unit/guest.h"
#include "accel/dbt/trace.h"
#include "cpu/x86/vector.h"

#include <elf.h>
#include <glib/gstdio.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Fixture {
    Guest *guest;
    Dbt   *dbt;
    char  *text; /* the log's */
    size_t len;
} Fixture;

/* mov ecx, 10; loop: add rax, [rbx]; dec ecx; jnz loop; hlt */
static const uint8_t loop_code[] = { 0xb9, 10, 0, 0, 0, 0x48, 0x03, 0x03, 0xff, 0xc9, 0x75, 0xf9, 0xf4 };

static void setup(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = { 0 };
    g_assert_true(x86_vector_init(&err));
    f->guest           = guest_new(1);
    f->dbt             = dbt_new(16 << 20, &err);
    f->guest->log.file = open_memstream(&f->text, &f->len);
    g_assert_nonnull(f->dbt);
}

static void teardown(Fixture *f, gconstpointer unused)
{
    fclose(f->guest->log.file);
    free(f->text);
    guest_free(f->guest);
    dbt_free(f->dbt);
}

static void run_loop(Fixture *f)
{
    X86Cpu *cpu = f->guest->cpus[0];
    guest_set_mode(f->guest, 0, GUEST_LONG64, 0);
    if (memcmp(f->guest->host + GUEST_CODE, loop_code, sizeof loop_code) != 0) { /* a write ends units */
        guest_poke(f->guest, GUEST_CODE, loop_code, sizeof loop_code);
    }
    guest_poke(f->guest, GUEST_DATA, &(uint64_t){ 7 }, 8);
    cpu->gpr[X86_RBX] = GUEST_DATA;
    vcpu_enter(&cpu->vcpu);
    g_assert_cmpint(dbt_run(f->dbt, cpu), ==, X86_EXIT_HALT);
    vcpu_leave(&cpu->vcpu);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 70);
    fflush(f->guest->log.file);
}

static unsigned count(const char *text, const char *word)
{
    unsigned n = 0;
    for (const char *p = text; (p = strstr(p, word)); p += strlen(word)) {
        n++;
    }
    return n;
}

/* --- counters --- */

static uint64_t counter(Fixture *f, const char *name)
{
    uint64_t value = UINT64_MAX;
    g_assert_true(dbt_counter(f->dbt, name, &value));
    return value;
}

static void test_counters(Fixture *f, gconstpointer unused)
{
    DbtCounter all[64], one;
    size_t     n = dbt_counters(f->dbt, all, G_N_ELEMENTS(all));
    g_assert_cmpuint(n, >, 20);
    g_assert_cmpuint(n, <=, G_N_ELEMENTS(all));
    for (size_t i = 0; i < n; i++) {
        g_assert_cmpuint(all[i].value, ==, 0);
        g_assert_true(*all[i].name && *all[i].help);
        for (size_t k = 0; k < i; k++) {
            g_assert_cmpstr(all[i].name, !=, all[k].name);
        }
    }
    g_assert_cmpuint(dbt_counters(f->dbt, &one, 1), ==, n);
    g_assert_cmpstr(one.name, ==, all[0].name);
    uint64_t value;
    g_assert_false(dbt_counter(f->dbt, "no such counter", &value));

    run_loop(f);
    uint64_t units = counter(f, "units");
    g_assert_cmpuint(units, >=, 2);
    g_assert_cmpuint(counter(f, "guest-insns"), >=, units);
    g_assert_cmpuint(counter(f, "guest-bytes"), >=, sizeof loop_code);
    g_assert_cmpuint(counter(f, "hot-bytes"), >, 0);
    g_assert_cmpuint(counter(f, "link"), >=, 1);
    g_assert_cmpuint(counter(f, "slow-access"), >=, 1);
    run_loop(f);
    g_assert_cmpuint(counter(f, "units"), ==, units); /* nothing is translated twice */
    f->guest->log.items = LOG_JIT;
    dbt_log_counters(f->dbt, &f->guest->log);
    fflush(f->guest->log.file);
    g_assert_cmpuint(count(f->text, "jit "), ==, n);
    g_autofree char *line = g_strdup_printf("jit units %" G_GUINT64_FORMAT "\n", units);
    g_assert_nonnull(strstr(f->text, line));
}

/* --- the log --- */

static void test_listings(Fixture *f, gconstpointer unused)
{
    f->guest->log.items = LOG_IN_ASM | LOG_OP | LOG_OUT_ASM;
    run_loop(f);
    uint64_t units = counter(f, "units");
    g_assert_cmpuint(count(f->text, "IN:\n"), ==, units);
    g_assert_cmpuint(count(f->text, "OP:\n"), ==, units);
    g_assert_cmpuint(count(f->text, "OUT: ["), ==, units);
    g_assert_nonnull(strstr(f->text, ":  mov ecx, 0x0A\n"));
    g_assert_nonnull(strstr(f->text, ": GEN     dec ecx  | reads - writes OSZAP live "));
    g_assert_nonnull(strstr(f->text, "  guest 0x100005: add rax, [rbx]\n"));
    g_assert_nonnull(strstr(f->text, "add r9, 64[rbx+rcx*1]\n"));
    g_assert_nonnull(strstr(f->text, "call tlb_read_counted(8)\n"));
    g_assert_null(strstr(f->text, "(bad)"));
    g_assert_null(strstr(f->text, "Trace"));
}

static void test_filter(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err   = { 0 };
    f->guest->log.items = LOG_IN_ASM | LOG_OP | LOG_OUT_ASM | LOG_EXEC;
    g_assert_true(log_parse_filter(&f->guest->log, "0x5000+0x1000", &err));
    run_loop(f);
    g_assert_cmpuint(f->len, ==, 0);
    g_free(f->guest->log.ranges);
}

static void test_exec(Fixture *f, gconstpointer unused)
{
    f->guest->log.items = LOG_EXEC;
    run_loop(f);
    /* The first unit goes through the loop's body once; HLT behind it may be in the unit or not. */
    g_assert_cmpuint(count(f->text, "Trace 0: [0000000000100000/"), ==, 1);
    g_assert_cmpuint(count(f->text, "Trace 0: [0000000000100005/"), ==, 9);
    g_assert_null(strstr(f->text, "RAX="));
    g_assert_cmpuint(counter(f, "c-insn"), >=, 1); /* HLT: it ran in translated code */
}

static void test_cpu(Fixture *f, gconstpointer unused)
{
    f->guest->log.items = LOG_CPU;
    run_loop(f);
    g_assert_null(strstr(f->text, "Trace"));
    for (unsigned i = 1; i < 10; i++) {
        g_autofree char *line = g_strdup_printf("RAX=%016x RCX=%016x ", 7 * i, 10 - i);
        g_assert_cmpuint(count(f->text, line), >=, 1);
    }
}

static void test_nochain(Fixture *f, gconstpointer unused)
{
    f->guest->log.items = LOG_NOCHAIN;
    run_loop(f);
    g_assert_cmpuint(f->len, ==, 0);
    g_assert_cmpuint(counter(f, "link"), >=, 9); /* each time anew */
}

/* --- perf --- */

static void check_map(const Fixture *f, const char *path)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    unsigned n          = g_strv_length(lines) - 1;
    g_assert_cmpstr(lines[n], ==, "");
    for (unsigned i = 0; i < n; i++) {
        guint64 start, size;
        char    name[64];
        g_assert_cmpint(sscanf(lines[i], "%" G_GINT64_MODIFIER "x %" G_GINT64_MODIFIER "x %63s", &start, &size, name),
                        ==, 3);
        g_assert_cmpuint(start, >=, (uintptr_t)f->dbt->rx);
        g_assert_cmpuint(start + size, <=, (uintptr_t)f->dbt->rx + f->dbt->size);
    }
    g_assert_nonnull(strstr(text, " stub:enter\n"));
    g_assert_nonnull(strstr(text, " stub:fault\n"));
    g_assert_nonnull(strstr(text, " guest:0x100000\n"));
    g_assert_nonnull(strstr(text, " guest:0x100000:slow\n"));
}

static uint32_t u32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static uint64_t u64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static void check_dump(const Fixture *f, const char *path)
{
    g_autofree char *data = NULL;
    gsize            len;
    unsigned         loads = 0, closes = 0;
    uint64_t         last = 0;

    g_assert_true(g_file_get_contents(path, &data, &len, NULL));
    g_assert_cmpuint(len, >, 40);
    g_assert_cmphex(u32(data), ==, 0x4a695444);
    g_assert_cmpuint(u32(data + 4), ==, 1);
    g_assert_cmpuint(u32(data + 8), ==, 40);
    g_assert_cmpuint(u32(data + 12), ==, EM_X86_64);
    g_assert_cmpuint(u32(data + 20), ==, getpid());
    for (const char *p = data + 40; p < data + len; p += u32(p + 4)) {
        g_assert_cmpuint(u32(p + 4), <=, (gsize)(data + len - p));
        g_assert_cmpuint(u64(p + 8), >=, last);
        last = u64(p + 8);
        if (u32(p) == 3) {
            closes++;
            continue;
        }
        g_assert_cmpuint(u32(p), ==, 0);
        g_assert_cmpuint(closes, ==, 0);
        g_assert_cmpuint(u32(p + 16), ==, getpid());
        uint64_t address = u64(p + 32), size = u64(p + 40);
        g_assert_cmpuint(u64(p + 24), ==, address);
        g_assert_cmpuint(u64(p + 48), ==, loads++);
        const char *name = p + 56;
        g_assert_cmpuint(56 + strlen(name) + 1 + size, ==, u32(p + 4));
        if (g_str_has_prefix(name, "stub:")) { /* code of units is patched meanwhile */
            g_assert_cmpmem(name + strlen(name) + 1, size, (const void *)(uintptr_t)address, size);
        }
    }
    g_assert_cmpuint(closes, ==, 1);
    g_assert_cmpuint(loads, >, N_STUBS);
}

static void test_perf(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err     = { 0 };
    g_autofree char *back = g_get_current_dir();
    g_autofree char *dir  = g_dir_make_tmp("quern-perf-XXXXXX", NULL);
    g_autofree char *map  = g_strdup_printf("/tmp/perf-%ld.map", (long)getpid());
    g_autofree char *dump = g_strdup_printf("jit-%ld.dump", (long)getpid());

    g_assert_cmpint(chdir(dir), ==, 0);
    g_assert_true(dbt_perf_start(f->dbt, DBT_PERF_MAP | DBT_PERF_DUMP, &err));
    run_loop(f);
    check_map(f, map); /* complete at any moment */
    dbt_perf_stop(f->dbt);
    check_map(f, map);
    check_dump(f, dump);
    g_unlink(dump);
    g_unlink(map);

    /* /tmp is everybody's. */
    g_assert_cmpint(symlink("elsewhere", map), ==, 0);
    g_assert_false(dbt_perf_start(f->dbt, DBT_PERF_MAP, &err));
    g_assert_nonnull(strstr(err.text, "-perfmap: cannot create /tmp/perf-"));
    error_clear(&err);
    g_unlink(map);
    g_assert_cmpint(mkdir(dump, 0700), ==, 0);
    g_assert_false(dbt_perf_start(f->dbt, DBT_PERF_DUMP, &err));
    g_assert_nonnull(strstr(err.text, "-jitdump: cannot create jit-"));
    error_clear(&err);
    g_rmdir(dump);
    g_assert_cmpint(chdir(back), ==, 0);
    g_rmdir(dir);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define TEST(name, function) g_test_add(name, Fixture, NULL, setup, function, teardown)
    TEST("/dbt/trace/counters", test_counters);
    TEST("/dbt/trace/listings", test_listings);
    TEST("/dbt/trace/filter", test_filter);
    TEST("/dbt/trace/exec", test_exec);
    TEST("/dbt/trace/cpu", test_cpu);
    TEST("/dbt/trace/nochain", test_nochain);
    TEST("/dbt/trace/perf", test_perf);
    return g_test_run();
}
