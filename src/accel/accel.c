/* Accelerators: choosing one, and starting, pausing and ending the vCPU threads.
 *
 * A vCPU thread holds the machine lock but while it runs guest code or sleeps. Whoever wants something of it sets
 * VCPU_REQUEST_EXIT; it clears that bit before it looks at what is wanted, so that nothing gets lost. */

#include "accel/accel.h"

#include "cpu/x86/system.h"
#include "loop/loop.h"

#include <string.h>
#include <unistd.h>

/* --- types --- */

typedef struct TypeSearch {
    const char      *name;
    const AccelType *found;
} TypeSearch;

static void match_type(const ObjectType *type, void *opaque)
{
    TypeSearch *search = opaque;
    if (type->class == OBJECT_CLASS_ACCEL && strcmp(type->name, search->name) == 0) {
        search->found = (const AccelType *)type;
    }
}

static void collect_type(const ObjectType *type, void *opaque)
{
    if (type->class == OBJECT_CLASS_ACCEL && !((const AccelType *)type)->missing) {
        g_ptr_array_add(opaque, (void *)type);
    }
}

static gint compare_types(gconstpointer a, gconstpointer b)
{
    return strcmp((*(const ObjectType *const *)a)->name, (*(const ObjectType *const *)b)->name);
}

void accel_print_help(GString *out)
{
    g_autoptr(GPtrArray) types = g_ptr_array_new();
    object_type_foreach(collect_type, types);
    g_ptr_array_sort(types, compare_types);
    g_string_append(out, "Accelerators supported in QEMU binary:\n");
    for (guint i = 0; i < types->len; i++) {
        g_string_append_printf(out, "%s\n", ((const ObjectType *)g_ptr_array_index(types, i))->name);
    }
}

static const AccelType *find_type(const char *name, Error *err)
{
    TypeSearch search = { .name = name };
    object_type_foreach(match_type, &search);
    if (!search.found) {
        object_type_unknown(OBJECT_CLASS_ACCEL, "accelerator", name, err);
    } else if (search.found->missing) {
        error_set_unsupported(err, "%s (%s)", name, search.found->missing);
        return NULL;
    }
    return search.found;
}

bool accel_print_type_help(const char *name, GString *out, Error *err)
{
    const AccelType *type = find_type(name, err);
    if (!type) {
        return false;
    }
    g_string_append_printf(out, "%s options:\n", name);
    if (type->properties) {
        fields_print_help(type->properties, out);
    }
    return true;
}

static const Field       no_properties[]  = { {} };
static const char *const not_properties[] = { "accel", NULL };

static bool parse_properties(Accel *accel, const Json *options, bool lenient, Error *err)
{
    const AccelType *type = accel_type(accel);
    return fields_parse(type->properties ? type->properties : no_properties, accel, options, lenient, not_properties,
                        err);
}

bool accel_check(const Json *options, bool lenient, Error *err)
{
    const char *name   = json_get_string(options, "accel");
    TypeSearch  search = { .name = name };
    if (!name) {
        return error_set(err, "no accelerator given ('help' lists them)");
    }
    object_type_foreach(match_type, &search);
    if (!search.found) {
        return object_type_unknown(OBJECT_CLASS_ACCEL, "accelerator", name, err);
    }
    if (search.found->missing) {
        return true;
    }
    Accel *accel = object_new((const ObjectType *)search.found);
    bool   ok    = parse_properties(accel, options, lenient, err);
    object_discard(&accel->obj);
    return ok;
}

bool accel_suits(const char *name, char **why)
{
    TypeSearch search = { .name = name };
    object_type_foreach(match_type, &search);
    if (!search.found || search.found->missing) {
        *why = g_strdup("it is not built");
        return false;
    }
    return !search.found->suits || search.found->suits(why);
}

Accel *accel_new(const Json *options, bool lenient, MachineLock *lock, Clocks *clocks, const AccelHost *host,
                 Error *err)
{
    const char *name = json_get_string(options, "accel");
    if (!name) {
        error_set(err, "no accelerator given ('help' lists them)");
        return NULL;
    }
    const AccelType *type = find_type(name, err);
    if (!type) {
        return NULL;
    }
    Accel *accel  = object_new((const ObjectType *)type);
    accel->host   = *host;
    accel->clocks = clocks;
    accel->lock   = lock;
    accel->group  = vcpu_group_new();
    g_cond_init(&accel->state_changed);
    g_mutex_init(&accel->state_mutex);
    if (!parse_properties(accel, options, lenient, err) || (type->init && !type->init(accel, err))) {
        accel_free(accel);
        return NULL;
    }
    accel->obj.complete = true;
    return accel;
}

void accel_free(Accel *accel)
{
    if (!accel) {
        return;
    }
    accel_shutdown(accel);
    if (accel_type(accel)->free) {
        accel_type(accel)->free(accel);
    }
    vcpu_group_free(accel->group);
    g_cond_clear(&accel->state_changed);
    g_mutex_clear(&accel->state_mutex);
    object_unref(&accel->obj);
}

/* --- vCPUs --- */

static void *vcpu_thread(void *opaque)
{
    X86Cpu *cpu   = opaque;
    Vcpu   *v     = &cpu->vcpu;
    Accel  *accel = v->accel;

    g_autofree char *type = g_ascii_strup(accel->obj.type->name, -1);
    g_autofree char *name = g_strdup_printf("CPU %d/%s", v->index, type);
    thread_set_name(name);
    machine_lock(v->lock);
    v->thread_id = gettid();
    void *result = accel_type(accel)->vcpu_thread(cpu);
    machine_unlock(v->lock);
    return result;
}

/* A stack of fixed size: the translator's frame takes two to four megabytes of it, and the usual size depends on a
 * limit of the process. */
static bool start_thread(X86Cpu *cpu, Error *err)
{
    enum { STACK = 12 << 20 };
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK);
    int failed = pthread_create(&cpu->vcpu.thread, &attr, vcpu_thread, cpu);
    pthread_attr_destroy(&attr);
    cpu->vcpu.has_thread = !failed;
    return !failed || error_set_errno(err, failed, "cannot start the thread of vCPU %d", cpu->vcpu.index);
}

bool accel_add_vcpu(Accel *accel, X86Cpu *cpu, Error *err)
{
    const AccelType *type = accel_type(accel);
    Vcpu            *v    = &cpu->vcpu;

    vcpu_group_add(accel->group, v);
    v->accel   = accel;
    v->stopped = true;
    if (type->vcpu_init && !type->vcpu_init(accel, cpu, err)) {
        vcpu_group_remove(accel->group, v);
        return false;
    }
    if (type->vcpu_thread && !start_thread(cpu, err)) {
        if (type->vcpu_free) {
            type->vcpu_free(accel, cpu);
        }
        vcpu_group_remove(accel->group, v);
        return false;
    }
    return true;
}

/* The thread has been told to end. */
static void take_out(Accel *accel, Vcpu *v)
{
    if (v->has_thread) {
        int depth = machine_lock_drop(accel->lock);
        pthread_join(v->thread, NULL);
        machine_lock_restore(accel->lock, depth);
        v->has_thread = false;
    }
    if (accel_type(accel)->vcpu_free) {
        accel_type(accel)->vcpu_free(accel, x86_cpu(v));
    }
    vcpu_group_remove(accel->group, v);
    v->accel = NULL;
}

void accel_remove_vcpu(Accel *accel, X86Cpu *cpu)
{
    g_assert(!accel->running);
    cpu->vcpu.ending = true;
    vcpu_request(&cpu->vcpu, VCPU_REQUEST_EXIT);
    take_out(accel, &cpu->vcpu);
}

/* Is there nothing to do for it before an interrupt comes? */
static bool is_idle(X86Cpu *cpu)
{
    if (((Accel *)cpu->vcpu.accel)->halts_inside) {
        return false;
    }
    return (cpu->vcpu.halted || cpu->wait_for_sipi) && !x86_has_wakeup(cpu);
}

/* It runs again. But whether it was halted is what an SMI saves: x86_enter_smm() looks, and ends that. */
static void wake(X86Cpu *cpu)
{
    bool smi         = (vcpu_requests(&cpu->vcpu) & X86_REQUEST_SMI) && !cpu->smm;
    cpu->vcpu.halted = cpu->vcpu.halted && smi;
}

bool accel_vcpu_sleep(X86Cpu *cpu)
{
    Vcpu *v = &cpu->vcpu;
    g_mutex_lock(&v->wake_mutex);
    while (!(vcpu_requests(v) & VCPU_REQUEST_EXIT) && is_idle(cpu)) {
        g_cond_wait(&v->wake, &v->wake_mutex);
    }
    g_mutex_unlock(&v->wake_mutex);
    if (vcpu_requests(v) & VCPU_REQUEST_EXIT) {
        return false;
    }
    wake(cpu);
    return true;
}

bool accel_vcpu_wait(Accel *accel, X86Cpu *cpu)
{
    Vcpu *v = &cpu->vcpu;
    for (;;) {
        vcpu_request_done(v, VCPU_REQUEST_EXIT);
        vcpu_run_work(v);
        if (accel->ending || v->ending) {
            return false;
        }
        bool may_run = accel->running && !v->stopped;
        if (may_run && (v->single_step || !is_idle(cpu))) {
            break;
        }
        int depth = machine_lock_drop(v->lock);
        g_mutex_lock(&v->wake_mutex);
        while (!(vcpu_requests(v) & VCPU_REQUEST_EXIT) && !(may_run && !is_idle(cpu))) {
            g_cond_wait(&v->wake, &v->wake_mutex);
        }
        g_mutex_unlock(&v->wake_mutex);
        machine_lock_restore(v->lock, depth);
    }
    if (!v->single_step && !accel->halts_inside) {
        wake(cpu);
    }
    g_mutex_lock(&accel->state_mutex);
    accel->inside++;
    g_mutex_unlock(&accel->state_mutex);
    return true;
}

void accel_vcpu_stopped(Accel *accel, X86Cpu *cpu)
{
    g_mutex_lock(&accel->state_mutex);
    accel->inside--;
    g_cond_broadcast(&accel->state_changed);
    g_mutex_unlock(&accel->state_mutex);
}

/* --- run control --- */

/* Makes every vCPU look at what is wanted of it. */
static void kick_all(Accel *accel)
{
    for (unsigned i = 0; i < vcpu_group_size(accel->group); i++) {
        vcpu_request(vcpu_group_get(accel->group, i), VCPU_REQUEST_EXIT);
    }
}

/* Each vCPU does what is noted in it. */
static void set_going(Accel *accel, bool any, bool freely)
{
    accel->running = any;
    if (any && accel_type(accel)->resuming) {
        accel_type(accel)->resuming(accel);
    }
    clock_set_running(accel->clocks, freely);
    x86_tsc_set_running(accel->group, freely);
    kick_all(accel);
}

void accel_resume_each(Accel *accel, VcpuResume (*how)(void *opaque, Vcpu *cpu), void *opaque)
{
    bool any = false, freely = false;
    for (unsigned i = 0; i < vcpu_group_size(accel->group); i++) {
        Vcpu      *v      = vcpu_group_get(accel->group, i);
        VcpuResume action = how(opaque, v);
        v->stopped        = action == VCPU_STAY;
        v->single_step    = action == VCPU_STEP;
        v->debug_stop     = false;
        any |= action != VCPU_STAY;
        freely |= action == VCPU_RUN;
    }
    set_going(accel, any, freely);
}

static VcpuResume run_all(void *opaque, Vcpu *cpu)
{
    return VCPU_RUN;
}

void accel_resume_all(Accel *accel)
{
    accel_resume_each(accel, run_all, NULL);
}

void accel_pause_all(Accel *accel)
{
    accel->running = false;
    clock_set_running(accel->clocks, false);
    kick_all(accel);

    int depth = machine_lock_drop(accel->lock);
    g_mutex_lock(&accel->state_mutex);
    while (accel->inside) {
        g_cond_wait(&accel->state_changed, &accel->state_mutex);
    }
    g_mutex_unlock(&accel->state_mutex);
    machine_lock_restore(accel->lock, depth);
    if (accel_type(accel)->paused) {
        accel_type(accel)->paused(accel);
    }
    x86_tsc_set_running(accel->group, false);
}

bool accel_hold(Accel *accel)
{
    bool held = accel->running;
    if (held) {
        accel_pause_all(accel);
    }
    return held;
}

void accel_release(Accel *accel, bool held)
{
    bool freely = false;
    for (unsigned i = 0; i < vcpu_group_size(accel->group); i++) {
        const Vcpu *v = vcpu_group_get(accel->group, i);
        freely |= !v->stopped && !v->single_step;
    }
    if (held) {
        set_going(accel, true, freely);
    }
}

/* --- boards and debuggers --- */

bool accel_attach(Accel *accel, const AccelBoard *board, Error *err)
{
    return !accel_type(accel)->attach || accel_type(accel)->attach(accel, board, err);
}

void accel_detach(Accel *accel)
{
    if (accel_type(accel)->detach) {
        accel_type(accel)->detach(accel);
    }
}

const X86Hypervisor *accel_hypervisor(Accel *accel)
{
    return accel_type(accel)->hypervisor ? accel_type(accel)->hypervisor(accel) : NULL;
}

bool accel_dirty_log(Accel *accel, RamBlock *ram, bool on, Error *err)
{
    return !accel_type(accel)->dirty_log || accel_type(accel)->dirty_log(accel, ram, on, err);
}

void accel_dirty_sync(Accel *accel, RamBlock *ram)
{
    if (accel_type(accel)->dirty_sync) {
        accel_type(accel)->dirty_sync(accel, ram);
    }
}

void accel_breakpoint(Accel *accel, uint64_t linear, bool insert)
{
    for (unsigned i = 0; i < vcpu_group_size(accel->group) && accel_type(accel)->breakpoint; i++) {
        accel_type(accel)->breakpoint(accel, x86_cpu(vcpu_group_get(accel->group, i)), linear, insert);
    }
}

void accel_shutdown(Accel *accel)
{
    if (!vcpu_group_size(accel->group)) {
        return;
    }
    accel_pause_all(accel);
    accel->ending = true;
    kick_all(accel);
    while (vcpu_group_size(accel->group)) {
        take_out(accel, vcpu_group_get(accel->group, vcpu_group_size(accel->group) - 1));
    }
}
