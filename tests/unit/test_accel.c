/* Accelerators: choosing one, and vCPU threads that run, pause, halt, step and end. Under an accelerator of the test's
 * own, whose vCPUs count instead of running guest code. */

#include "accel/accel.h"
#include "loop/loop.h"

#include <string.h>
#include <time.h>

enum { CPUS = 3 };

typedef struct Counter {
    X86Cpu           cpu; /* first */
    _Atomic uint64_t count;
    _Atomic bool     halts; /* after each round */
} Counter;

typedef struct Fixture {
    MachineLock lock;
    Loop       *loop;
    Accel      *accel;
    Counter    *cpus[CPUS];
    unsigned    debug_stops;
    Vcpu       *stopped;
    VcpuResume  how[CPUS];
} Fixture;

static void *counter_thread(X86Cpu *cpu)
{
    Counter *c     = (Counter *)cpu;
    Accel   *accel = cpu->vcpu.accel;
    while (accel_vcpu_wait(accel, cpu)) {
        bool step  = cpu->vcpu.single_step;
        int  depth = machine_lock_drop(cpu->vcpu.lock);
        do {
            vcpu_enter(&cpu->vcpu);
            c->count++;
            while (!c->halts && !step && !(vcpu_requests(&cpu->vcpu) & VCPU_REQUEST_EXIT)) {
                c->count++;
            }
            vcpu_leave(&cpu->vcpu);
            vcpu_request_done(&cpu->vcpu, X86_REQUEST_NMI);
            cpu->vcpu.halted = c->halts;
        } while (c->halts && !step && accel_vcpu_sleep(cpu));
        machine_lock_restore(cpu->vcpu.lock, depth);
        if (step) {
            cpu->vcpu.stopped = true;
            accel->host.debug(accel->host.opaque, &cpu->vcpu);
        }
        accel_vcpu_stopped(accel, cpu);
    }
    return NULL;
}

ACCEL_TYPE(counting) = {
    .name        = "counting",
    .parent      = "accel",
    .class       = OBJECT_CLASS_ACCEL,
    .size        = sizeof(Accel),
    .vcpu_thread = counter_thread,
};

static void host_debug(void *opaque, Vcpu *cpu)
{
    Fixture *f = opaque;
    g_assert_true(machine_lock_held(&f->lock));
    f->debug_stops++;
    f->stopped = cpu;
}

static Accel *try_accel(Fixture *f, const char *name, const char *key, const char *value, Error *err)
{
    AccelHost host          = { .debug = host_debug, .opaque = f };
    g_autoptr(Json) options = json_new_object();
    json_set(options, "accel", json_new_string(name));
    if (key) {
        json_set(options, key, json_new_string(value));
    }
    return accel_new(options, true, &f->lock, loop_clocks(f->loop), &host, err);
}

static void setup(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = {};
    machine_lock_init(&f->lock);
    machine_lock(&f->lock);
    f->loop  = loop_new(&f->lock, &err);
    f->accel = try_accel(f, "counting", NULL, NULL, &err);
    g_assert_nonnull(f->accel);
    for (unsigned i = 0; i < CPUS; i++) {
        Counter *c         = g_aligned_alloc0(1, sizeof *c, 64);
        f->cpus[i]         = c;
        c->cpu.vcpu.clocks = loop_clocks(f->loop);
        c->cpu.vcpu.lock   = &f->lock;
        c->cpu.tsc_hz      = 1000000000;
        c->cpu.vcpu.index  = (int)i;
        vcpu_init(&c->cpu.vcpu);
        g_assert_true(accel_add_vcpu(f->accel, &c->cpu, &err));
    }
}

static void teardown(Fixture *f, gconstpointer unused)
{
    accel_free(f->accel);
    for (unsigned i = 0; i < CPUS; i++) {
        vcpu_destroy(&f->cpus[i]->cpu.vcpu);
        g_aligned_free(f->cpus[i]);
    }
    loop_free(f->loop);
    machine_unlock(&f->lock);
    machine_lock_destroy(&f->lock);
}

/* Lets the vCPU threads have the machine lock for a while. */
static void let_run(Fixture *f, unsigned ms)
{
    int depth = machine_lock_drop(&f->lock);
    g_usleep(ms * 1000);
    machine_lock_restore(&f->lock, depth);
}

#define WAIT_FOR(f, condition)                                                                                         \
    do {                                                                                                               \
        gint64 until = g_get_monotonic_time() + 10 * G_USEC_PER_SEC;                                                   \
        while (!(condition)) {                                                                                         \
            g_assert_cmpint(g_get_monotonic_time(), <, until);                                                         \
            let_run(f, 1);                                                                                             \
        }                                                                                                              \
    } while (0)

static void refused(Fixture *f, const char *name, const char *key, const char *value, const char *pattern)
{
    g_auto(Error) err = {};
    g_assert_null(try_accel(f, name, key, value, &err));
    if (!g_pattern_match_simple(pattern, err.text)) {
        g_error("%s: '%s', not '%s'", name, err.text, pattern);
    }
}

static void test_choice(Fixture *f, gconstpointer unused)
{
    refused(f, "tgc", NULL, NULL, "*tgc*did you mean 'tcg'*");
    refused(f, "kvm", "device", "/dev/null", "/dev/null is not KVM's device");
    refused(f, "kvm", "kernel-irqchip", "perhaps", "*kernel-irqchip*");
    refused(f, "xen", NULL, NULL, "*xen*not supported yet*");
    refused(f, "tcg", "tb-size", "2000", "*tb-size*1024*");
    refused(f, "tcg", "split-wx", "off", "*split-wx*not supported yet*");
    refused(f, "tcg", "thread", "some", "*thread*");
    refused(f, "tcg", "threads", "multi", "*did you mean 'thread'*");
    refused(f, "qtest", "thread", "multi", "*thread*");
    g_auto(Error) err     = {};
    const char *fine[][3] = { { "tcg", NULL, NULL },         { "tcg", "thread", "multi" },
                              { "tcg", "thread", "single" }, { "tcg", "tb-size", "64" },
                              { "tcg", "split-wx", "on" },   { "tcg", "one-insn-per-tb", "on" } };
    for (unsigned i = 0; i < G_N_ELEMENTS(fine); i++) {
        Accel *accel = try_accel(f, fine[i][0], fine[i][1], fine[i][2], &err);
        g_assert_cmpstr(err.text, ==, NULL);
        accel_free(accel);
    }
    g_autoptr(GString) help = g_string_new(NULL);
    accel_print_help(help);
    g_assert_nonnull(strstr(help->str, "\ntcg\n"));
    g_assert_nonnull(strstr(help->str, "\nkvm\n"));
    g_assert_null(strstr(help->str, "xen"));
}

static void test_pause(Fixture *f, gconstpointer unused)
{
    for (int round = 0; round < 100; round++) {
        uint64_t before[CPUS];
        for (unsigned i = 0; i < CPUS; i++) {
            before[i] = f->cpus[i]->count;
        }
        accel_resume_all(f->accel);
        if (round % 10 == 0) {
            WAIT_FOR(f,
                     f->cpus[0]->count > before[0] && f->cpus[1]->count > before[1] && f->cpus[2]->count > before[2]);
        }
        accel_pause_all(f->accel);
        for (unsigned i = 0; i < CPUS; i++) {
            before[i] = f->cpus[i]->count;
        }
        if (round % 10 == 0) {
            let_run(f, 2);
        }
        for (unsigned i = 0; i < CPUS; i++) {
            g_assert_cmpuint(f->cpus[i]->count, ==, before[i]);
        }
    }
}

/* Virtual time stands still while the machine does. */
static void test_clock(Fixture *f, gconstpointer unused)
{
    Clocks *clocks = loop_clocks(f->loop);
    int64_t before = clock_now(clocks, VIRTUAL_CLOCK);
    let_run(f, 2);
    g_assert_cmpint(clock_now(clocks, VIRTUAL_CLOCK), ==, before);
    accel_resume_all(f->accel);
    let_run(f, 2);
    accel_pause_all(f->accel);
    int64_t after = clock_now(clocks, VIRTUAL_CLOCK);
    g_assert_cmpint(after, >=, before + 2 * NS_PER_MS);
    let_run(f, 2);
    g_assert_cmpint(clock_now(clocks, VIRTUAL_CLOCK), ==, after);
}

static int64_t process_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * NS_PER_SECOND + t.tv_nsec;
}

static void test_halt(Fixture *f, gconstpointer unused)
{
    for (unsigned i = 0; i < CPUS; i++) {
        f->cpus[i]->halts = true;
    }
    accel_resume_all(f->accel);
    WAIT_FOR(f, f->cpus[0]->count == 1 && f->cpus[1]->count == 1 && f->cpus[2]->count == 1);
    int64_t used = process_cpu_ns();
    let_run(f, 100);
    g_assert_cmpint(process_cpu_ns() - used, <, 20 * NS_PER_MS);
    g_assert_cmpuint(f->cpus[1]->count, ==, 1);

    /* An event wakes the one it is for; one that is masked wakes nobody. */
    vcpu_request(&f->cpus[1]->cpu.vcpu, X86_REQUEST_INTR);
    let_run(f, 5);
    g_assert_cmpuint(f->cpus[1]->count, ==, 1);
    for (unsigned n = 2; n < 50; n++) {
        vcpu_request(&f->cpus[1]->cpu.vcpu, X86_REQUEST_NMI);
        WAIT_FOR(f, f->cpus[1]->count == n);
    }
    g_assert_cmpuint(f->cpus[0]->count, ==, 1);

    /* What comes during a pause is not lost, and a pause ends no halt. */
    accel_pause_all(f->accel);
    vcpu_request(&f->cpus[2]->cpu.vcpu, X86_REQUEST_NMI);
    let_run(f, 5);
    g_assert_cmpuint(f->cpus[2]->count, ==, 1);
    accel_resume_all(f->accel);
    WAIT_FOR(f, f->cpus[2]->count == 2);
    let_run(f, 5);
    g_assert_cmpuint(f->cpus[0]->count, ==, 1);

    /* A vCPU that waits for its SIPI is woken by nothing else. */
    accel_pause_all(f->accel);
    f->cpus[0]->cpu.wait_for_sipi = true;
    accel_resume_all(f->accel);
    vcpu_request(&f->cpus[0]->cpu.vcpu, X86_REQUEST_NMI);
    let_run(f, 5);
    g_assert_cmpuint(f->cpus[0]->count, ==, 1);
    vcpu_request(&f->cpus[0]->cpu.vcpu, X86_REQUEST_SIPI);
    WAIT_FOR(f, f->cpus[0]->count > 1);
    accel_pause_all(f->accel);
}

typedef struct Work {
    pthread_t thread;
    bool      locked;
    unsigned  times;
} Work;

static void do_work(Vcpu *cpu, void *opaque)
{
    Work *w   = opaque;
    w->thread = pthread_self();
    w->locked = machine_lock_held(cpu->lock);
    w->times++;
}

static void test_work(Fixture *f, gconstpointer unused)
{
    Work  work = {};
    Vcpu *v    = &f->cpus[1]->cpu.vcpu;
    for (int round = 0; round < 30; round++) {
        if (round == 10) {
            accel_resume_all(f->accel);
        } else if (round == 20) {
            f->cpus[1]->halts = true;
        }
        vcpu_run_on(v, do_work, &work);
        g_assert_true(pthread_equal(work.thread, v->thread) && work.locked);
    }
    g_assert_cmpuint(work.times, ==, 30);
    accel_pause_all(f->accel);
}

static VcpuResume how_of(void *opaque, Vcpu *cpu)
{
    return ((Fixture *)opaque)->how[cpu->index];
}

static void test_each(Fixture *f, gconstpointer unused)
{
    Clocks *clocks = loop_clocks(f->loop);
    f->how[1]      = VCPU_STEP;
    int64_t before = clock_now(clocks, VIRTUAL_CLOCK);
    accel_resume_each(f->accel, how_of, f);
    WAIT_FOR(f, f->debug_stops == 1);
    g_assert_true(f->stopped == &f->cpus[1]->cpu.vcpu);
    let_run(f, 5);
    g_assert_cmpuint(f->cpus[1]->count, ==, 1);
    g_assert_cmpuint(f->cpus[0]->count + f->cpus[2]->count, ==, 0);
    accel_pause_all(f->accel);
    g_assert_cmpint(clock_now(clocks, VIRTUAL_CLOCK), ==, before);

    f->how[0] = VCPU_RUN;
    accel_resume_each(f->accel, how_of, f);
    WAIT_FOR(f, f->debug_stops == 2 && f->cpus[0]->count > 0);
    accel_pause_all(f->accel);
    g_assert_cmpuint(f->cpus[1]->count, ==, 2);
    g_assert_cmpuint(f->cpus[2]->count, ==, 0);
    g_assert_cmpint(clock_now(clocks, VIRTUAL_CLOCK), >, before);

    /* Afterwards all run again, and not by steps. */
    accel_resume_all(f->accel);
    WAIT_FOR(f, f->cpus[1]->count > 10 && f->cpus[2]->count > 10);
    g_assert_cmpuint(f->debug_stops, ==, 2);
}

#define TEST(name, function) g_test_add("/accel/" name, Fixture, NULL, setup, function, teardown)

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("choice", test_choice);
    TEST("pause", test_pause);
    TEST("clock", test_clock);
    TEST("halt", test_halt);
    TEST("work", test_work);
    TEST("each", test_each);
    return g_test_run();
}
