/* The time-stamp counter.
 *
 * Specification: Intel SDM 3, 18.17 (December 2023). The guest's TSC runs off the host's, so that the two clocks of a
 * guest that calibrates one against the other stay together: the virtual clock is the host kernel's monotonic clock,
 * which counts the same crystal. All vCPUs of a machine start from one sample and so agree to the tick.
 * Read from any thread; started, stopped and set under the machine lock or by the vCPU's own thread. */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/system.h"
#include "devices/irq/apic.h"
#include "loop/clock.h"

#include <cpuid.h>
#include <time.h>
#include <x86intrin.h>

/* --- the host's frequency --- */

static int64_t raw_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return now.tv_sec * NS_PER_SECOND + now.tv_nsec;
}

typedef struct Sample {
    uint64_t tsc;
    int64_t  ns;
} Sample;

/* The tightest of a few readings of the clock between two of the TSC. */
static Sample take_sample(void)
{
    Sample   best      = { 0 };
    uint64_t best_span = UINT64_MAX;
    for (unsigned i = 0; i < 16; i++) {
        unsigned aux;
        uint64_t before = __rdtscp(&aux);
        int64_t  ns     = raw_ns();
        uint64_t span   = __rdtscp(&aux) - before;
        if (span < best_span) {
            best_span = span;
            best      = (Sample){ .tsc = before + span / 2, .ns = ns };
        }
    }
    return best;
}

static uint64_t measure_hz(void)
{
    Sample first = take_sample(), last;
    do {
        last = take_sample();
    } while (last.ns - first.ns < 2 * NS_PER_MS);
    return muldiv64(last.tsc - first.tsc, NS_PER_SECOND, (uint64_t)(last.ns - first.ns));
}

static uint64_t hz_from_cpuid(void)
{
    unsigned a, b, c, d;
    if (__get_cpuid_max(0, NULL) >= 0x15) {
        __cpuid_count(0x15, 0, a, b, c, d);
        if (a && b && c) {
            return muldiv64(c, b, a);
        }
    }
    __cpuid(1, a, b, c, d);
    if (c & (1u << 31)) {
        __cpuid(0x40000000, a, b, c, d);
        if (a >= 0x40000010 && a < 0x40000100) {
            __cpuid(0x40000010, a, b, c, d);
            return (uint64_t)a * 1000;
        }
    }
    return 0;
}

uint64_t x86_host_tsc_hz(void)
{
    static _Atomic uint64_t cached; /* a constant of the host */
    uint64_t                hz = atomic_load_explicit(&cached, memory_order_relaxed);
    if (!hz) {
        hz = hz_from_cpuid();
        hz = hz ? hz : measure_hz();
        atomic_store_explicit(&cached, hz, memory_order_relaxed);
    }
    return hz;
}

static bool host_tsc_is_invariant(void)
{
    unsigned a, b, c, d;
    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 0x100);
}

/* --- the guest's counter --- */

/* After any change of frequency, source or state. */
static void update_plain(X86Cpu *cpu)
{
    cpu->tsc_plain = !cpu->tsc_frozen && !cpu->tsc_from_clock && cpu->tsc_hz == x86_host_tsc_hz();
}

/* Ticks at the guest's frequency, without the offset. */
static uint64_t guest_ticks(X86Cpu *cpu, uint64_t host_tsc)
{
    if (cpu->tsc_from_clock) {
        return muldiv64((uint64_t)clock_now(cpu->vcpu.clocks, VIRTUAL_CLOCK), cpu->tsc_hz, NS_PER_SECOND);
    }
    uint64_t host_hz = x86_host_tsc_hz();
    return host_hz == cpu->tsc_hz ? host_tsc : muldiv64(host_tsc, cpu->tsc_hz, host_hz);
}

void x86_init_tsc(X86Cpu *cpu, uint64_t hz)
{
    cpu->tsc_hz         = hz ? hz : x86_host_tsc_hz();
    cpu->tsc_from_clock = !host_tsc_is_invariant();
    cpu->tsc_frozen     = !cpu->tsc_from_clock;
    cpu->tsc_frozen_at  = 0;
    cpu->tsc_offset     = 0;
    update_plain(cpu);
}

uint64_t x86_rdtsc(X86Cpu *cpu)
{
    return cpu->tsc_frozen ? cpu->tsc_frozen_at : guest_ticks(cpu, __rdtsc()) + (uint64_t)cpu->tsc_offset;
}

void x86_set_tsc(X86Cpu *cpu, uint64_t value)
{
    if (cpu->tsc_frozen) {
        cpu->tsc_frozen_at = value;
    } else {
        cpu->tsc_offset += (int64_t)(value - x86_rdtsc(cpu));
    }
    if (cpu->apic) {
        apic_tsc_changed(cpu->apic);
    }
}

int64_t x86_tsc_to_ns(X86Cpu *cpu, uint64_t guest_tsc)
{
    uint64_t          now   = x86_rdtsc(cpu);
    int64_t           time  = clock_now(cpu->vcpu.clocks, VIRTUAL_CLOCK);
    bool              later = guest_tsc >= now;
    uint64_t          delta = later ? guest_tsc - now : now - guest_tsc;
    unsigned __int128 ns    = ((unsigned __int128)delta * NS_PER_SECOND + cpu->tsc_hz - 1) / cpu->tsc_hz;
    if (!later) {
        return ns > (uint64_t)time ? 0 : time - (int64_t)ns;
    }
    return ns > (uint64_t)(INT64_MAX - time) ? INT64_MAX : time + (int64_t)ns;
}

void x86_tsc_set_running(VcpuGroup *group, bool running)
{
    uint64_t host = __rdtsc();
    for (unsigned i = 0; i < vcpu_group_size(group); i++) {
        X86Cpu *cpu = x86_cpu(vcpu_group_get(group, i));
        if (cpu->tsc_from_clock) {
            continue; /* stops with its clock */
        }
        if (running && cpu->tsc_frozen) {
            cpu->tsc_offset = (int64_t)(cpu->tsc_frozen_at - guest_ticks(cpu, host));
            cpu->tsc_frozen = false;
            update_plain(cpu);
            if (cpu->apic) {
                apic_tsc_changed(cpu->apic);
            }
        } else if (!running && !cpu->tsc_frozen) {
            cpu->tsc_frozen_at = guest_ticks(cpu, host) + (uint64_t)cpu->tsc_offset;
            cpu->tsc_frozen    = true;
            update_plain(cpu);
        }
    }
}

void x86_tsc_follow(X86Cpu *cpu, const X86Cpu *other)
{
    cpu->tsc_from_clock = other->tsc_from_clock;
    cpu->tsc_frozen     = other->tsc_frozen;
    cpu->tsc_frozen_at  = other->tsc_frozen_at - other->tsc_adjust;
    cpu->tsc_offset     = other->tsc_offset - (int64_t)other->tsc_adjust;
    update_plain(cpu);
}

void x86_tsc_use_clock(X86Cpu *cpu)
{
    uint64_t value      = x86_rdtsc(cpu);
    cpu->tsc_from_clock = true;
    cpu->tsc_frozen     = false; /* the clock itself stops with the machine */
    update_plain(cpu);
    cpu->tsc_offset = 0;
    cpu->tsc_offset = (int64_t)(value - x86_rdtsc(cpu));
}
