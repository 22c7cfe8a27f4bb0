/* The machine's run state: running, paused, reset, shut down, and what -action makes of guest events.
 *
 * Requests come from any thread that holds the machine lock (mostly a vCPU inside a device callback). They stop the
 * vCPUs from going on, and are carried out on the main loop, which runs under the machine lock. */

#include "machine/runstate.h"
#include "base/trace.h"
#include "machine/machine.h"

const char *const run_state_names[] = { "prelaunch", "running",        "paused",   "debug",          "suspended",
                                        "shutdown",  "guest-panicked", "watchdog", "internal-error", "io-error",
                                        NULL };

/* Why the machine was reset or shut down, in QMP's words. */
enum {
    WORD_HOST_ERROR,
    WORD_HOST_QUIT,
    WORD_HOST_RESET,
    WORD_HOST_SIGNAL,
    WORD_HOST_UI,
    WORD_GUEST_SHUTDOWN,
    WORD_GUEST_RESET,
    WORD_GUEST_PANIC
};

const char *const shutdown_cause_names[] = { "host-error",  "host-qmp-quit", "host-qmp-system-reset",
                                             "host-signal", "host-ui",       "guest-shutdown",
                                             "guest-reset", "guest-panic",   NULL };

static const int shutdown_words[] = {
    [SHUTDOWN_GUEST] = WORD_GUEST_SHUTDOWN,      [SHUTDOWN_GUEST_RESET] = WORD_GUEST_RESET,
    [SHUTDOWN_HOST_SIGNAL] = WORD_HOST_SIGNAL,   [SHUTDOWN_HOST_REQUEST] = WORD_HOST_UI,
    [SHUTDOWN_GUEST_EXIT] = WORD_GUEST_SHUTDOWN, [SHUTDOWN_GUEST_PANIC] = WORD_GUEST_PANIC,
    [SHUTDOWN_HOST_QUIT] = WORD_HOST_QUIT,       [SHUTDOWN_HOST_ERROR] = WORD_HOST_ERROR,
};
static const int reset_words[] = {
    [RESET_GUEST] = WORD_GUEST_RESET, [RESET_HOST] = WORD_HOST_RESET, [RESET_PANIC] = WORD_GUEST_PANIC
};

/* SHUTDOWN and RESET */
static void emit_cause(Machine *m, const char *event, int word)
{
    Json *data = json_new_object();
    json_add(data, "guest", json_new_bool(word >= WORD_GUEST_SHUTDOWN));
    json_add(data, "reason", json_new_string(shutdown_cause_names[word]));
    platform_emit(&m->platform, event, data);
}

/* WATCHDOG and GUEST_PANICKED */
static void emit_action(Machine *m, const char *event, const char *action)
{
    machine_lock(m->platform.lock);
    Json *data = json_new_object();
    json_add(data, "action", json_new_string(action));
    platform_emit(&m->platform, event, data);
    machine_unlock(m->platform.lock);
}

const char *run_state_name(RunState state)
{
    return run_state_names[state];
}

static void carry_out_requests(void *opaque);

/* Keeps vCPUs from running more guest code, without waiting for them: the caller may be one of them. */
static void hold_vcpus(Machine *m)
{
    for (guint i = 0; i < m->cpus->len; i++) {
        X86Cpu *cpu       = m->cpus->pdata[i];
        cpu->vcpu.stopped = true;
        vcpu_request(&cpu->vcpu, VCPU_REQUEST_EXIT);
    }
}

static void schedule(Machine *m)
{
    hold_vcpus(m);
    loop_defer(m->platform.loop, carry_out_requests, m);
}

static void request_shutdown(Platform *p, ShutdownCause cause, int exit_code)
{
    Machine *m = (Machine *)p;
    machine_lock(p->lock);
    if (!m->shutdown_requested) {
        m->shutdown_requested = true;
        m->shutdown_cause     = cause;
        m->exit_code          = exit_code;
        schedule(m);
    }
    machine_unlock(p->lock);
}

static void request_reset(Platform *p, ResetCause cause)
{
    Machine *m = (Machine *)p;
    if (cause == RESET_GUEST && m->config.reboot_action == REBOOT_SHUTDOWN) {
        request_shutdown(p, SHUTDOWN_GUEST_RESET, 0);
        return;
    }
    machine_lock(p->lock);
    if (!m->reset_requested) {
        m->reset_requested = true;
        m->reset_cause     = cause;
        schedule(m);
    }
    machine_unlock(p->lock);
}

void run_state_request_pause(Machine *m, RunState state)
{
    machine_lock(m->platform.lock);
    m->pause_requested = true;
    m->pause_state     = state;
    schedule(m);
    machine_unlock(m->platform.lock);
}

static void request_suspend(Platform *p)
{
    Machine *m = (Machine *)p;
    machine_lock(p->lock);
    m->suspend_requested = true;
    schedule(m);
    machine_unlock(p->lock);
}

static void request_wakeup(Platform *p, WakeReason reason)
{
    Machine *m = (Machine *)p;
    machine_lock(p->lock);
    if (m->asleep && !m->wake_requested && p->may_wake && p->may_wake(p->power_button, reason)) {
        m->wake_requested = true;
        m->wake_reason    = reason;
        loop_defer(p->loop, carry_out_requests, m);
    }
    machine_unlock(p->lock);
}

static void guest_panicked(Platform *p)
{
    Machine    *m      = (Machine *)p;
    PanicAction action = m->config.panic_action;
    if (action == PANIC_SHUTDOWN && m->config.shutdown_action == SHUTDOWN_PAUSE) {
        action = PANIC_PAUSE; /* -no-shutdown: somebody wants to look at it */
    }
    emit_action(m, "GUEST_PANICKED", action == PANIC_NONE ? "run" : action == PANIC_PAUSE ? "pause" : "poweroff");
    switch (action) {
    case PANIC_NONE: break;
    case PANIC_PAUSE: run_state_request_pause(m, RUN_STATE_GUEST_PANICKED); break;
    case PANIC_SHUTDOWN: request_shutdown(p, SHUTDOWN_GUEST_PANIC, 0); break;
    case PANIC_EXIT_FAILURE: request_shutdown(p, SHUTDOWN_GUEST_PANIC, 1); break;
    }
}

static void raise_nmi(Platform *p)
{
    Machine *m = (Machine *)p;
    for (guint i = 0; i < m->cpus->len; i++) {
        X86Cpu *cpu = m->cpus->pdata[i];
        apic_set_lint(cpu->apic, 1, 1);
        apic_set_lint(cpu->apic, 1, 0);
    }
}

static void watchdog_expired(Platform *p)
{
    static const char *const actions[] = {
        [WATCHDOG_RESET] = "reset",           [WATCHDOG_SHUTDOWN] = "shutdown", [WATCHDOG_POWEROFF] = "poweroff",
        [WATCHDOG_PAUSE] = "pause",           [WATCHDOG_DEBUG] = "debug",       [WATCHDOG_NONE] = "none",
        [WATCHDOG_INJECT_NMI] = "inject-nmi",
    };
    Machine *m = (Machine *)p;
    emit_action(m, "WATCHDOG", actions[m->config.watchdog_action]);
    switch (m->config.watchdog_action) {
    case WATCHDOG_RESET: request_reset(p, RESET_GUEST); break;
    case WATCHDOG_SHUTDOWN:
        if (p->press_power_button) {
            machine_lock(p->lock);
            p->press_power_button(p->power_button);
            machine_unlock(p->lock);
        }
        break;
    case WATCHDOG_POWEROFF: request_shutdown(p, SHUTDOWN_HOST_REQUEST, 0); break;
    case WATCHDOG_PAUSE: run_state_request_pause(m, RUN_STATE_WATCHDOG); break;
    case WATCHDOG_DEBUG: info_report("watchdog: timer fired"); break;
    case WATCHDOG_NONE: break;
    case WATCHDOG_INJECT_NMI: raise_nmi(p); break;
    }
}

static bool is_running(Platform *p)
{
    return ((Machine *)p)->state == RUN_STATE_RUNNING;
}

void run_state_init(Machine *m)
{
    m->platform.request_reset    = request_reset;
    m->platform.request_shutdown = request_shutdown;
    m->platform.request_suspend  = request_suspend;
    m->platform.request_wakeup   = request_wakeup;
    m->platform.guest_panicked   = guest_panicked;
    m->platform.watchdog_expired = watchdog_expired;
    m->platform.raise_nmi        = raise_nmi;
    m->platform.is_running       = is_running;
    m->state                     = RUN_STATE_PRELAUNCH;
}

void machine_add_state_listener(Machine *m, RunStateListener *listener)
{
    listener->next     = m->state_listeners;
    m->state_listeners = listener;
}

void machine_remove_state_listener(Machine *m, RunStateListener *listener)
{
    for (RunStateListener **l = &m->state_listeners; *l; l = &(*l)->next) {
        if (*l == listener) {
            *l = listener->next;
            return;
        }
    }
}

static void set_state(Machine *m, RunState state)
{
    trace(m->platform.log, TRACE_RUN_STATE, "%s -> %s", run_state_names[m->state], run_state_names[state]);
    m->state = state;
    for (RunStateListener *l = m->state_listeners, *next; l; l = next) {
        next = l->next;
        l->changed(l, state);
    }
}

void machine_pause(Machine *m, RunState state)
{
    accel_pause_all(m->accel);
    set_state(m, state);
}

void machine_resume(Machine *m)
{
    if (m->asleep) { /* as far as it goes: the guest sleeps on */
        if (m->state != RUN_STATE_SUSPENDED) {
            set_state(m, RUN_STATE_SUSPENDED);
        }
    } else if (m->state != RUN_STATE_RUNNING) {
        set_state(m, RUN_STATE_RUNNING);
        accel_resume_all(m->accel);
    }
}

bool machine_continue(Machine *m, Error *err)
{
    if (m->state == RUN_STATE_SHUTDOWN || m->state == RUN_STATE_INTERNAL_ERROR) {
        return error_set(err, "the machine has stopped for good ('%s'); it needs system_reset before it can go on",
                         run_state_name(m->state));
    }
    if (m->being_dumped) {
        return error_set(err, "a dump of its memory is being written; it goes on by itself after that");
    }
    machine_resume(m);
    return true;
}

void machine_resume_each(Machine *m, VcpuResume (*how)(void *opaque, Vcpu *cpu), void *opaque)
{
    set_state(m, RUN_STATE_RUNNING);
    accel_resume_each(m->accel, how, opaque);
}

static void carry_out_shutdown(Machine *m)
{
    bool by_guest = m->shutdown_cause == SHUTDOWN_GUEST || m->shutdown_cause == SHUTDOWN_GUEST_RESET ||
                    m->shutdown_cause == SHUTDOWN_GUEST_PANIC;
    m->shutdown_requested = false;
    emit_cause(m, "SHUTDOWN", shutdown_words[m->shutdown_cause]);
    if (by_guest && m->config.shutdown_action == SHUTDOWN_PAUSE) {
        machine_pause(m, RUN_STATE_SHUTDOWN);
        return;
    }
    m->exit_requested = true; /* listeners see that it is for good */
    machine_pause(m, RUN_STATE_SHUTDOWN);
    loop_quit(m->platform.loop);
}

/* To the outside the machine goes on running. One that sleeps is awake then. */
static void carry_out_reset(Machine *m)
{
    RunState before    = m->state;
    m->reset_requested = m->suspend_requested = m->asleep = false;
    accel_pause_all(m->accel);
    machine_reset(m, RESET_WARM);
    emit_cause(m, "RESET", reset_words[m->reset_cause]);
    if (before == RUN_STATE_RUNNING) {
        accel_resume_all(m->accel);
    } else if (before == RUN_STATE_SUSPENDED) {
        machine_resume(m);
    } else if (before != RUN_STATE_DEBUG) {
        set_state(m, RUN_STATE_PRELAUNCH);
    }
}

static void carry_out_suspend(Machine *m)
{
    m->suspend_requested = false;
    m->asleep            = true;
    accel_pause_all(m->accel);
    if (m->state == RUN_STATE_RUNNING) { /* else somebody has paused it meanwhile */
        set_state(m, RUN_STATE_SUSPENDED);
    }
}

static void carry_out_wakeup(Machine *m)
{
    Platform *p       = &m->platform;
    m->wake_requested = false;
    if (!m->asleep) {
        return; /* a reset has come first */
    }
    m->asleep = false;
    machine_reset(m, RESET_WAKE);
    p->woken(p->power_button, m->wake_reason);
    if (m->state == RUN_STATE_SUSPENDED) {
        machine_resume(m);
    }
}

static void carry_out_requests(void *opaque)
{
    Machine *m = opaque;
    if (m->shutdown_requested) {
        carry_out_shutdown(m);
    } else if (m->reset_requested) {
        carry_out_reset(m);
    } else if (m->suspend_requested) {
        carry_out_suspend(m);
    } else if (m->wake_requested) {
        carry_out_wakeup(m);
    } else if (m->pause_requested) {
        m->pause_requested = false;
        machine_pause(m, m->pause_state);
    }
}

/* --- what the accelerator tells --- */

static void vcpu_shut_down(void *opaque, Vcpu *cpu)
{
    Machine *m = opaque;
    log_print(m->platform.log, LOG_CPU_RESET | LOG_INT, "triple fault on vCPU %d\n", cpu->index);
    request_reset(&m->platform, RESET_GUEST);
}

static void vcpu_is_missing(void *opaque, Vcpu *cpu, const char *what)
{
    Machine *m        = opaque;
    X86Cpu  *x86      = x86_cpu(cpu);
    g_auto(Error) err = { 0 };
    error_set(&err, "vCPU %d at %04x:%" G_GINT64_MODIFIER "x: %s: not supported yet; the machine is stopped",
              cpu->index, x86->seg[X86_CS].selector, x86->rip, what);
    error_report(&err);
    m->state = RUN_STATE_INTERNAL_ERROR;
    request_shutdown(&m->platform, SHUTDOWN_HOST_ERROR, 1);
}

static void vcpu_failed(void *opaque, Vcpu *cpu, const char *why)
{
    Machine *m        = opaque;
    g_auto(Error) err = { 0 };
    error_set(&err, "vCPU %d: %s; the machine is stopped", cpu->index, why);
    error_report(&err);
    m->state = RUN_STATE_INTERNAL_ERROR;
    request_shutdown(&m->platform, SHUTDOWN_HOST_ERROR, 1);
}

static void vcpu_debug_stop(void *opaque, Vcpu *cpu)
{
    Machine *m         = opaque;
    cpu->debug_stop    = true;
    m->pause_requested = true;
    m->pause_state     = RUN_STATE_DEBUG;
    m->debug_vcpu      = cpu;
    schedule(m);
}

AccelHost run_state_accel_host(Machine *m)
{
    return (AccelHost){ .shutdown = vcpu_shut_down,
                        .missing  = vcpu_is_missing,
                        .failed   = vcpu_failed,
                        .debug    = vcpu_debug_stop,
                        .opaque   = m };
}

int machine_run(Machine *m)
{
    while (!m->exit_requested) {
        loop_run(m->platform.loop);
    }
    return m->exit_code;
}
