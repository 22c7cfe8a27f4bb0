/* vCPU threads among each other: exclusive sections, flushes, work, the machine lock. */

#include "cpu/vcpu.h"

#include <string.h>

enum { N_CPUS = 3, ROUNDS = 300 };

typedef struct World {
    MachineLock lock;
    VcpuGroup  *group;
    Vcpu        cpus[N_CPUS];
    int         stop; /* atomic, like the two below */
    int         inside;
    int         exclusive;
    unsigned    flushes[N_CPUS], works;
} World;

typedef struct Runner {
    World *world;
    Vcpu  *cpu;
} Runner;

static World *world_new(void)
{
    World *w = g_new0(World, 1);
    machine_lock_init(&w->lock);
    w->group = vcpu_group_new();
    for (unsigned i = 0; i < N_CPUS; i++) {
        w->cpus[i].lock = &w->lock;
        vcpu_init(&w->cpus[i]);
        w->cpus[i].index = (int)i;
        vcpu_group_add(w->group, &w->cpus[i]);
    }
    return w;
}

static void world_free(World *w)
{
    for (unsigned i = 0; i < N_CPUS; i++) {
        vcpu_group_remove(w->group, &w->cpus[i]);
        vcpu_destroy(&w->cpus[i]);
    }
    vcpu_group_free(w->group);
    machine_lock_destroy(&w->lock);
    g_free(w);
}

/* What an accelerator's thread does, without guest code. */
static gpointer run_vcpu(gpointer data)
{
    Runner *r   = data;
    World  *w   = r->world;
    Vcpu   *cpu = r->cpu;

    while (!g_atomic_int_get(&w->stop)) {
        vcpu_enter(cpu);
        g_atomic_int_inc(&w->inside);
        g_assert_cmpint(g_atomic_int_get(&w->exclusive), ==, 0);
        while (!vcpu_requests(cpu) && !g_atomic_int_get(&w->stop)) {
            g_thread_yield();
        }
        g_assert_cmpint(g_atomic_int_get(&w->exclusive), ==, 0);
        g_atomic_int_add(&w->inside, -1);
        vcpu_leave(cpu);
        uint32_t requests = vcpu_requests(cpu);
        vcpu_request_done(cpu, requests);
        if (requests & VCPU_REQUEST_FLUSH) {
            w->flushes[cpu->index]++;
        }
        if (requests & VCPU_REQUEST_EXIT) {
            machine_lock(cpu->lock);
            vcpu_run_work(cpu);
            machine_unlock(cpu->lock);
        }
    }
    return NULL;
}

static void start(World *w, Runner *runners)
{
    for (unsigned i = 0; i < N_CPUS; i++) {
        runners[i] = (Runner){ w, &w->cpus[i] };
        g_assert_cmpint(pthread_create(&w->cpus[i].thread, NULL, run_vcpu, &runners[i]), ==, 0);
        w->cpus[i].has_thread = true;
    }
}

static void end(World *w)
{
    g_atomic_int_set(&w->stop, true);
    for (unsigned i = 0; i < N_CPUS; i++) {
        pthread_join(w->cpus[i].thread, NULL);
        w->cpus[i].has_thread = false;
    }
}

static void count_work(Vcpu *cpu, void *opaque)
{
    World *w = opaque;
    g_assert_true(machine_lock_held(&w->lock));
    g_assert_true(pthread_equal(cpu->thread, pthread_self()));
    w->works++;
}

static void test_sections(void)
{
    World *w = world_new();
    Runner runners[N_CPUS];

    start(w, runners);
    for (unsigned i = 0; i < ROUNDS; i++) {
        vcpu_exclusive_begin(w->group, NULL);
        g_assert_cmpint(g_atomic_int_get(&w->inside), ==, 0);
        g_atomic_int_set(&w->exclusive, 1);
        g_thread_yield();
        g_assert_cmpint(g_atomic_int_get(&w->inside), ==, 0);
        g_atomic_int_set(&w->exclusive, 0);
        vcpu_exclusive_end(w->group, NULL);
    }
    end(w);
    world_free(w);
}

static void test_flush_and_work(void)
{
    World *w = world_new();
    Runner runners[N_CPUS];

    start(w, runners);
    machine_lock(&w->lock);
    for (unsigned i = 0; i < ROUNDS; i++) {
        vcpu_flush_all(w->group, NULL);
        vcpu_run_on(&w->cpus[i % N_CPUS], count_work, w);
        g_assert_cmpuint(w->works, ==, i + 1);
    }
    machine_unlock(&w->lock);
    end(w);
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_assert_cmpuint(w->flushes[i], >, 0);
    }
    world_free(w);
}

/* Two vCPUs flush each other from inside, one of them under the machine lock that the other wants. */
typedef struct Mutual {
    World   *world;
    unsigned index;
} Mutual;

static gpointer flush_others(gpointer data)
{
    Mutual *m   = data;
    World  *w   = m->world;
    Vcpu   *cpu = &w->cpus[m->index];

    vcpu_enter(cpu);
    for (unsigned i = 0; i < ROUNDS; i++) {
        machine_lock(&w->lock);
        if (m->index) {
            vcpu_flush_all(w->group, cpu);
        }
        machine_unlock(&w->lock);
        vcpu_flush_all(w->group, cpu);
        if (m->index == 2) {
            machine_lock(&w->lock);
            vcpu_exclusive_begin(w->group, cpu);
            vcpu_exclusive_end(w->group, cpu);
            machine_unlock(&w->lock);
        }
        if (vcpu_requests(cpu) & VCPU_REQUEST_YIELD) {
            vcpu_request_done(cpu, VCPU_REQUEST_YIELD);
            vcpu_leave(cpu);
            vcpu_enter(cpu);
        }
    }
    vcpu_leave(cpu);
    return NULL;
}

static void test_mutual(void)
{
    World   *w = world_new();
    Mutual   mutual[N_CPUS];
    GThread *threads[N_CPUS];

    for (unsigned i = 0; i < N_CPUS; i++) {
        mutual[i]  = (Mutual){ w, i };
        threads[i] = g_thread_new("vcpu", flush_others, &mutual[i]);
    }
    for (unsigned i = 0; i < N_CPUS; i++) {
        g_thread_join(threads[i]);
    }
    world_free(w);
}

/* A vCPU that was outside when a flush began and enters while it waits for another one: nobody asks it to leave, so
 * nobody may wait for it. */
static gpointer flush_alone(gpointer data)
{
    World *w = data;
    vcpu_flush_all(w->group, NULL);
    g_atomic_int_set(&w->stop, true);
    return NULL;
}

static gpointer enter_late(gpointer data)
{
    World *w = data;
    vcpu_enter(&w->cpus[1]);
    g_atomic_int_inc(&w->inside);
    for (unsigned i = 0; i < 5000 && !g_atomic_int_get(&w->stop); i++) {
        g_usleep(1000); /* stays inside for as long as the flush takes, or 5 s */
    }
    bool in_time = g_atomic_int_get(&w->stop);
    vcpu_leave(&w->cpus[1]);
    return GINT_TO_POINTER(in_time);
}

static void test_late(void)
{
    World *w = world_new();

    vcpu_enter(&w->cpus[0]);
    GThread *flusher = g_thread_new("flush", flush_alone, w);
    while (!(vcpu_requests(&w->cpus[0]) & VCPU_REQUEST_FLUSH)) {
        g_usleep(100);
    }
    GThread *late = g_thread_new("late", enter_late, w);
    while (!g_atomic_int_get(&w->inside)) {
        g_usleep(100);
    }
    vcpu_leave(&w->cpus[0]);
    g_assert_true(GPOINTER_TO_INT(g_thread_join(late)));
    g_thread_join(flusher);
    world_free(w);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/vcpu/sections", test_sections);
    g_test_add_func("/vcpu/flush-and-work", test_flush_and_work);
    g_test_add_func("/vcpu/mutual", test_mutual);
    g_test_add_func("/vcpu/late", test_late);
    return g_test_run();
}
