/* Clocks and timers. All times are nanoseconds in int64_t.
 *
 *   VIRTUAL_CLOCK   runs while the machine runs; stops with it (devices of the guest)
 *   HOST_CLOCK      wall-clock time, may jump (RTC base)
 *   REALTIME_CLOCK  monotonic, always runs (user interfaces, time-outs)
 *
 * Timers fire on the main loop under the machine lock, in order of their deadline. */

#ifndef QUERN_LOOP_CLOCK_H
#define QUERN_LOOP_CLOCK_H

#include "base/error.h"
#include "loop/lock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum ClockKind { VIRTUAL_CLOCK, HOST_CLOCK, REALTIME_CLOCK, N_CLOCKS } ClockKind;

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS     INT64_C(1000000)
#define NS_PER_US     INT64_C(1000)

typedef struct Clocks Clocks; /* the clocks of one machine; made by loop_new() */

/* For loop.c. The caller watches the file descriptors for input and then calls clocks_run, machine lock held.
 * clock_fd stands for all deadlines; jump_fd becomes readable when somebody sets the host's clock. */
Clocks *clocks_new(MachineLock *lock, Error *err);
void    clocks_free(Clocks *clocks); /* no timer is armed any more */
int     clocks_clock_fd(const Clocks *clocks);
int     clocks_jump_fd(const Clocks *clocks);
void    clocks_run(Clocks *clocks);

/* Any thread, no lock. */
int64_t clock_now(const Clocks *clocks, ClockKind kind);

/* Starts or stops the virtual clock. Machine lock held. It is stopped at first. */
void clock_set_running(Clocks *clocks, bool running);

/* For saved state and qtest. clock_set_virtual sets the time; clock_use_manual makes the virtual clock stand
 * still but for clock_step, which fires what falls due in order, timers armed by those included, and returns the
 * new time. A callback sees its own deadline as the time. In manual mode clock_set_running is of no effect, and
 * timers armed at a time already past fire on the main loop. Machine lock held. */
void    clock_set_virtual(Clocks *clocks, int64_t now);
void    clock_use_manual(Clocks *clocks);
int64_t clock_step(Clocks *clocks, int64_t ns);
int64_t clock_next_deadline(const Clocks *clocks, ClockKind kind); /* absolute, -1 for none; any thread */

/* Embedded in its owner. `deadline` is -1 while it does not run. */
typedef struct Timer {
    Clocks   *clocks;
    ClockKind kind;
    void (*fire)(void *opaque);
    void           *opaque;
    _Atomic int64_t deadline;
    unsigned        index; /* place in the clock's heap */
    uint64_t        order; /* when it was armed: timers of the same deadline fire in that order */
} Timer;

/* timer_init once; timer_set (re)arms at an absolute time of its clock (one that is past fires at once, one before
 * 0 counts as 0), timer_cancel stops. A timer fires once. Any thread may set and cancel; the callback runs on the
 * main loop with the machine lock held (in clock_step: on its caller's thread). After timer_cancel under the
 * machine lock the callback does not run any more. Cancel before the owner is freed. */
void timer_init(Timer *t, Clocks *clocks, ClockKind kind, void (*fire)(void *opaque), void *opaque);
void timer_set(Timer *t, int64_t deadline);
void timer_cancel(Timer *t);

/* For tables of saved state: FIELD(Rtc, update, "update-timer", .custom = &timer_field). */
extern const struct FieldCustom timer_field;

static inline bool timer_armed(const Timer *t)
{
    return atomic_load_explicit(&t->deadline, memory_order_relaxed) >= 0;
}

/* value * mul / div without overflow in the middle, rounded down. */
static inline uint64_t muldiv64(uint64_t value, uint64_t mul, uint64_t div)
{
    return (uint64_t)((unsigned __int128)value * mul / div);
}

#endif
