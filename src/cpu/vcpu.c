/* vCPUs as threads see each other: requests, work on another vCPU's thread, exclusive sections.
 *
 * One mutex a group guards who is inside guest code. Entering and leaving take it; both are rare next to what runs in
 * between. Order of locks: machine lock, group mutex, wake_mutex. Nobody waits for the machine lock while inside: the
 * lock's waiter hook leaves first. */

#include "cpu/vcpu.h"

struct VcpuGroup {
    GMutex     mutex;
    GCond      changed; /* somebody left, or a section ended */
    GPtrArray *cpus;
    void      *exclusive; /* mark of the thread whose section runs, NULL for none */
    uint64_t   ticket;    /* of the last vcpu_flush_all() */
};

/* One byte a thread; its address is the thread's mark. */
static _Thread_local char thread_mark;

/* A call that waits for its vCPU. On the caller's stack. */
typedef struct Work {
    void (*call)(Vcpu *cpu, void *opaque);
    void *opaque;
    bool  done;  /* guarded by wake_mutex */
    GCond ended; /* with wake_mutex */
} Work;

static void set_requests(Vcpu *cpu, uint32_t bits)
{
    vcpu_request_self(cpu, bits);
    if (cpu->kick) {
        cpu->kick(cpu);
    }
}

/* --- inside and outside; all with the group's mutex held --- */

static void set_outside(Vcpu *cpu)
{
    cpu->inside  = false;
    cpu->runner  = NULL;
    cpu->left_at = cpu->group->ticket;
    g_cond_broadcast(&cpu->group->changed);
}

static void set_inside(Vcpu *cpu)
{
    VcpuGroup *group = cpu->group;

    while (group->exclusive && group->exclusive != &thread_mark) {
        g_cond_wait(&group->changed, &group->mutex);
    }
    cpu->inside  = true;
    cpu->runner  = &thread_mark;
    cpu->left_at = cpu->group->ticket; /* it comes in after those flushes, and was asked to leave by none of them */
}

/* The vCPU that this thread runs, if it is inside. */
static Vcpu *own_vcpu(const VcpuGroup *group)
{
    for (unsigned i = 0; i < group->cpus->len; i++) {
        Vcpu *cpu = g_ptr_array_index(group->cpus, i);
        if (cpu->inside && cpu->runner == &thread_mark) {
            return cpu;
        }
    }
    return NULL;
}

/* --- the machine lock's waiter --- */

static void lock_wait_begins(void *opaque)
{
    Vcpu *cpu = opaque;

    g_mutex_lock(&cpu->group->mutex);
    cpu->inside_before_wait = cpu->inside;
    if (cpu->inside) {
        set_outside(cpu);
    }
    g_mutex_unlock(&cpu->group->mutex);
}

static void lock_wait_ends(void *opaque)
{
    Vcpu *cpu = opaque;

    g_mutex_lock(&cpu->group->mutex);
    if (cpu->inside_before_wait) {
        cpu->inside_before_wait = false;
        set_inside(cpu);
    }
    g_mutex_unlock(&cpu->group->mutex);
}

/* --- one vCPU --- */

void vcpu_init(Vcpu *cpu)
{
    g_cond_init(&cpu->wake);
    g_mutex_init(&cpu->wake_mutex);
    g_queue_init(&cpu->work);
    cpu->waiter = (LockWaiter){ .before_wait = lock_wait_begins, .after_wait = lock_wait_ends, .opaque = cpu };
}

void vcpu_destroy(Vcpu *cpu)
{
    g_assert(!cpu->inside && !cpu->group);
    g_queue_clear(&cpu->work);
    g_mutex_clear(&cpu->wake_mutex);
    g_cond_clear(&cpu->wake);
}

void vcpu_request(Vcpu *cpu, uint32_t bits)
{
    set_requests(cpu, bits);
    g_mutex_lock(&cpu->wake_mutex);
    g_cond_broadcast(&cpu->wake);
    g_mutex_unlock(&cpu->wake_mutex);
}

void vcpu_enter(Vcpu *cpu)
{
    g_mutex_lock(&cpu->group->mutex);
    set_inside(cpu);
    g_mutex_unlock(&cpu->group->mutex);
    machine_lock_set_waiter(&cpu->waiter);
}

void vcpu_leave(Vcpu *cpu)
{
    machine_lock_set_waiter(NULL);
    g_mutex_lock(&cpu->group->mutex);
    set_outside(cpu);
    g_mutex_unlock(&cpu->group->mutex);
}

void vcpu_run_on(Vcpu *cpu, void (*call)(Vcpu *cpu, void *opaque), void *opaque)
{
    if (!cpu->has_thread || pthread_equal(cpu->thread, pthread_self())) {
        call(cpu, opaque);
        return;
    }

    Work work = { .call = call, .opaque = opaque };
    g_cond_init(&work.ended);
    g_mutex_lock(&cpu->wake_mutex);
    g_queue_push_tail(&cpu->work, &work);
    g_mutex_unlock(&cpu->wake_mutex);
    vcpu_request(cpu, VCPU_REQUEST_EXIT);

    /* Its thread may wait for this one to leave guest code. */
    g_mutex_lock(&cpu->group->mutex);
    Vcpu *me = own_vcpu(cpu->group);
    if (me) {
        set_outside(me);
    }
    g_mutex_unlock(&cpu->group->mutex);

    int depth = machine_lock_drop(cpu->lock);
    g_mutex_lock(&cpu->wake_mutex);
    while (!work.done) {
        g_cond_wait(&work.ended, &cpu->wake_mutex);
    }
    g_mutex_unlock(&cpu->wake_mutex);
    machine_lock_restore(cpu->lock, depth);
    if (me) {
        g_mutex_lock(&cpu->group->mutex);
        set_inside(me);
        g_mutex_unlock(&cpu->group->mutex);
    }
    g_cond_clear(&work.ended);
}

void vcpu_run_work(Vcpu *cpu)
{
    g_mutex_lock(&cpu->wake_mutex);
    Work *work;
    while ((work = g_queue_pop_head(&cpu->work))) {
        g_mutex_unlock(&cpu->wake_mutex);
        work->call(cpu, work->opaque);
        g_mutex_lock(&cpu->wake_mutex);
        work->done = true;
        g_cond_signal(&work->ended);
    }
    g_mutex_unlock(&cpu->wake_mutex);
}

/* --- groups --- */

VcpuGroup *vcpu_group_new(void)
{
    VcpuGroup *group = g_new0(VcpuGroup, 1);
    g_mutex_init(&group->mutex);
    g_cond_init(&group->changed);
    group->cpus = g_ptr_array_new();
    return group;
}

void vcpu_group_free(VcpuGroup *group)
{
    if (!group) {
        return;
    }
    for (unsigned i = 0; i < group->cpus->len; i++) {
        ((Vcpu *)g_ptr_array_index(group->cpus, i))->group = NULL;
    }
    g_ptr_array_free(group->cpus, true);
    g_cond_clear(&group->changed);
    g_mutex_clear(&group->mutex);
    g_free(group);
}

void vcpu_group_add(VcpuGroup *group, Vcpu *cpu)
{
    g_mutex_lock(&group->mutex);
    cpu->group = group;
    g_ptr_array_add(group->cpus, cpu);
    g_mutex_unlock(&group->mutex);
}

void vcpu_group_remove(VcpuGroup *group, Vcpu *cpu)
{
    g_mutex_lock(&group->mutex);
    g_assert(!cpu->inside);
    g_ptr_array_remove(group->cpus, cpu);
    cpu->group = NULL;
    g_cond_broadcast(&group->changed);
    g_mutex_unlock(&group->mutex);
}

unsigned vcpu_group_size(const VcpuGroup *group)
{
    return group->cpus->len;
}

Vcpu *vcpu_group_get(const VcpuGroup *group, unsigned index)
{
    return g_ptr_array_index(group->cpus, index);
}

/* --- exclusive sections --- */

void vcpu_exclusive_begin(VcpuGroup *group, Vcpu *self)
{
    g_mutex_lock(&group->mutex);
    Vcpu *me         = self ? self : own_vcpu(group);
    bool  was_inside = me && me->inside;
    if (was_inside) {
        set_outside(me);
    }
    while (group->exclusive) {
        g_cond_wait(&group->changed, &group->mutex);
    }
    group->exclusive = &thread_mark;

    bool waiting = true;
    while (waiting) {
        waiting = false;
        for (unsigned i = 0; i < group->cpus->len; i++) {
            Vcpu *cpu = g_ptr_array_index(group->cpus, i);
            if (cpu->inside) {
                set_requests(cpu, VCPU_REQUEST_YIELD);
                waiting = true;
            }
        }
        if (waiting) {
            g_cond_wait(&group->changed, &group->mutex);
        }
    }
    if (was_inside) {
        set_inside(me);
    }
    g_mutex_unlock(&group->mutex);
}

void vcpu_exclusive_end(VcpuGroup *group, Vcpu *self)
{
    g_mutex_lock(&group->mutex);
    g_assert(group->exclusive == &thread_mark);
    group->exclusive = NULL;
    g_cond_broadcast(&group->changed);
    g_mutex_unlock(&group->mutex);
}

void vcpu_flush_all(VcpuGroup *group, Vcpu *self)
{
    g_mutex_lock(&group->mutex);
    uint64_t ticket  = ++group->ticket;
    Vcpu    *me      = self ? self : own_vcpu(group);
    bool     waiting = false;
    for (unsigned i = 0; i < group->cpus->len; i++) {
        Vcpu *cpu = g_ptr_array_index(group->cpus, i);
        if (cpu == self) {
            continue;
        }
        uint32_t bits = VCPU_REQUEST_FLUSH | (cpu->inside && cpu != me ? VCPU_REQUEST_YIELD : 0);
        set_requests(cpu, bits);
        waiting |= cpu->inside && cpu != me;
    }

    bool was_inside = waiting && me && me->inside;
    if (was_inside) {
        set_outside(me);
    }
    while (waiting) {
        waiting = false;
        for (unsigned i = 0; i < group->cpus->len; i++) {
            Vcpu *cpu = g_ptr_array_index(group->cpus, i);
            waiting |= cpu != me && cpu->inside && cpu->left_at < ticket;
        }
        if (waiting) {
            g_cond_wait(&group->changed, &group->mutex);
        }
    }
    if (was_inside) {
        set_inside(me);
    }
    g_mutex_unlock(&group->mutex);
}
