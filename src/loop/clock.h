/* Clocks and timers. All times are nanoseconds in int64_t.
 *
 *   VIRTUAL_CLOCK   runs while the machine runs; stops with it (devices of the guest)
 *   HOST_CLOCK      wall-clock time, may jump (RTC base)
 *   REALTIME_CLOCK  monotonic, always runs (user interfaces, time-outs)
 *
 * Timers fire on the main loop under the machine lock, in order of their deadline. */

#ifndef QUERN_LOOP_CLOCK_H
#define QUERN_LOOP_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef enum ClockKind { VIRTUAL_CLOCK, HOST_CLOCK, REALTIME_CLOCK, N_CLOCKS } ClockKind;

#define NS_PER_SECOND INT64_C(1000000000)
#define NS_PER_MS     INT64_C(1000000)
#define NS_PER_US     INT64_C(1000)

typedef struct Clocks Clocks; /* the clocks of one machine; made by loop_new() */

/* Any thread, no lock. */
int64_t clock_now(const Clocks *clocks, ClockKind kind);

/* Starts or stops the virtual clock. Machine lock held. It is stopped at first. */
void clock_set_running(Clocks *clocks, bool running);

/* For saved state and qtest. clock_set_virtual sets the time; clock_use_manual makes the virtual clock stand
 * still but for clock_step, which fires what falls due in order and returns the new time. Machine lock held. */
void    clock_set_virtual(Clocks *clocks, int64_t now);
void    clock_use_manual(Clocks *clocks);
int64_t clock_step(Clocks *clocks, int64_t ns);
int64_t clock_next_deadline(const Clocks *clocks, ClockKind kind); /* absolute, -1 for none */

/* Embedded in its owner. `deadline` is -1 while it does not run. */
typedef struct Timer {
    Clocks   *clocks;
    ClockKind kind;
    void (*fire)(void *opaque);
    void    *opaque;
    int64_t  deadline;
    unsigned index; /* place in the clock's heap */
} Timer;

/* timer_init once; timer_set (re)arms at an absolute time of its clock, timer_cancel stops. A timer fires once.
 * Any thread may set and cancel; the callback runs on the main loop with the machine lock held. After
 * timer_cancel under the machine lock the callback does not run any more. */
void timer_init(Timer *t, Clocks *clocks, ClockKind kind, void (*fire)(void *opaque), void *opaque);
void timer_set(Timer *t, int64_t deadline);
void timer_cancel(Timer *t);

static inline bool timer_armed(const Timer *t)
{
    return t->deadline >= 0;
}

/* value * mul / div without overflow in the middle, rounded down. */
static inline uint64_t muldiv64(uint64_t value, uint64_t mul, uint64_t div)
{
    return (uint64_t)((unsigned __int128)value * mul / div);
}

#endif
