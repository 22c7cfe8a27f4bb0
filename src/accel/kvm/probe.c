/* The probe VM: does KVM run guest code at the speed of the hardware, or does it emulate it?
 *
 * A loop of a million instructions in 32-bit protected mode has to end within 5 ms of this thread's CPU time; hardware
 * takes a tenth of that. A timer interrupts it each half millisecond: after the first one it is plain already that an
 * emulation will not make it, and a host that is busy with something else costs patience instead of a wrong answer. */

#include "accel/kvm/kvm.h"

#include "loop/clock.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { LOOPS = 500000, CODE_AT = 0x1000, RAM_SIZE = 0x2000, LIMIT_US = 5000, TICK_US = 500, MAX_TICKS = 50 };

/* mov ecx, LOOPS; again: dec ecx; jnz again; hlt */
static const uint8_t code[] = { 0xb9, LOOPS & 0xff, LOOPS >> 8 & 0xff, LOOPS >> 16 & 0xff, 0, 0x49, 0x75, 0xfd, 0xf4 };

typedef struct Probe {
    int             fd, vm, vcpu;
    uint8_t        *ram;
    struct kvm_run *run;
    int             run_size;
} Probe;

static int64_t thread_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static bool set_up(Probe *p)
{
    p->ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p->ram == MAP_FAILED) {
        p->ram = NULL;
        return false;
    }
    memcpy(p->ram + CODE_AT, code, sizeof code);
    struct kvm_userspace_memory_region slot = { .memory_size = RAM_SIZE, .userspace_addr = (uintptr_t)p->ram };
    if (kvm_ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0) {
        return false;
    }
    p->vcpu     = kvm_ioctl(p->vm, KVM_CREATE_VCPU, NULL);
    p->run_size = kvm_ioctl(p->fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
    if (p->vcpu < 0 || p->run_size <= 0) {
        return false;
    }
    p->run = mmap(NULL, (size_t)p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, p->vcpu, 0);
    if (p->run == MAP_FAILED) {
        p->run = NULL;
        return false;
    }
    struct kvm_sregs s;
    struct kvm_regs  r = { .rip = CODE_AT, .rflags = EFLAGS_ONE };
    if (kvm_ioctl(p->vcpu, KVM_GET_SREGS, &s) < 0) {
        return false;
    }
    struct kvm_segment flat = { .limit = UINT32_MAX, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
    s.ds = s.es = s.fs = s.gs = s.ss = s.cs = flat;
    s.cs.selector                           = 8;
    s.cs.type                               = 11;
    s.cr0                                   = CR0_PE | CR0_ET | CR0_NE;
    return kvm_ioctl(p->vcpu, KVM_SET_SREGS, &s) == 0 && kvm_ioctl(p->vcpu, KVM_SET_REGS, &r) == 0;
}

/* The part of the loop that is done; 1 when it has ended. */
static double progress(const Probe *p)
{
    struct kvm_regs r = {};
    return kvm_ioctl(p->vcpu, KVM_GET_REGS, &r) == 0 && r.rcx <= LOOPS && r.rip != CODE_AT ? 1 - (double)r.rcx / LOOPS
                                                                                           : 0;
}

static bool run_loop(const Probe *p, timer_t timer, char **why)
{
    struct itimerspec tick = { .it_interval.tv_nsec = TICK_US * 1000, .it_value.tv_nsec = TICK_US * 1000 };
    int64_t           from = thread_us();
    bool              fast = false;
    timer_settime(timer, 0, &tick, NULL);
    for (unsigned ticks = 0; ticks < MAX_TICKS; ticks++) {
        int     result = ioctl(p->vcpu, KVM_RUN, NULL);
        int64_t spent  = thread_us() - from;
        if (result == 0) {
            fast = p->run->exit_reason == KVM_EXIT_HLT && spent <= LIMIT_US;
            if (p->run->exit_reason != KVM_EXIT_HLT) {
                *why = g_strdup_printf("KVM's probe ended by exit %u", p->run->exit_reason);
            }
            break;
        }
        if (errno != EINTR && errno != EAGAIN) {
            *why = g_strdup_printf("KVM does not run code here (%s)", g_strerror(errno));
            break;
        }
        /* At this pace, would it be done in time? A tick that came early says nothing. */
        double done = progress(p);
        if (spent > LIMIT_US || (spent >= TICK_US / 2 && done * LIMIT_US < (double)spent)) {
            break;
        }
    }
    tick = (struct itimerspec){};
    timer_settime(timer, 0, &tick, NULL);
    if (!fast && !*why) {
        *why = g_strdup("KVM on this host only emulates, far below the speed of hardware");
    }
    return fast;
}

static bool run_timed(const Probe *p, char **why)
{
    timer_t         timer;
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1 };
    event._sigev_un._tid  = (pid_t)syscall(SYS_gettid);
    kvm_signal_init();
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) < 0) {
        *why = g_strdup_printf("no timer for KVM's probe (%s)", g_strerror(errno));
        return false;
    }
    bool fast = run_loop(p, timer, why);
    timer_delete(timer);
    return fast;
}

/* The kernel may take tens of milliseconds to end a VM: a thread waits for that. */
static void *tear_down(void *opaque)
{
    Probe *p = opaque;
    if (p->run) {
        munmap(p->run, (size_t)p->run_size);
    }
    int fds[] = { p->vcpu, p->vm, p->fd };
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    if (p->ram) {
        munmap(p->ram, RAM_SIZE);
    }
    g_free(p);
    return NULL;
}

bool kvm_probe(char **why)
{
    Probe p           = { .fd = -1, .vm = -1, .vcpu = -1 };
    g_auto(Error) err = {};
    bool fast         = false;
    *why              = NULL;
    p.fd              = kvm_open("/dev/kvm", &err);
    p.vm              = p.fd >= 0 ? kvm_create_vm(p.fd, &err) : -1;
    if (p.vm < 0) {
        *why = g_strdup(err.text);
    } else if (!set_up(&p)) {
        *why = g_strdup_printf("KVM's probe cannot be set up (%s)", g_strerror(errno));
    } else {
        fast = run_timed(&p, why);
    }
    g_thread_unref(g_thread_new("probe", tear_down, g_memdup2(&p, sizeof p)));
    return fast;
}
