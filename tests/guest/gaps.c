/* How long this vCPU does not run, or waits for a device: bench/hotplug.py plugs memory in meanwhile.
 *
 * Watches the TSC all the time, and reads the serial port now and then. The first line says how many ticks a second
 * has. A byte that comes is answered with a line of the longest time between two looks at the TSC and of the longest
 * access, since the last such line; 'q' ends it. */

#include "rt/rt.h"
#include "rt/text.h"

enum { COM1 = 0x3f8, DATA_READY = 1, LOOKS = 1000 };

static inline u64 longest(u64 so_far, u64 ticks)
{
    return ticks > so_far ? ticks : so_far;
}

TEST(gaps, "the time that others take")
{
    print("# hz %lu\n", tsc_hz());
    for (u8 byte = 0; byte != 'q';) {
        u64 running = 0, access = 0;
        u8  status;
        do {
            u64 last = rdtsc();
            for (int i = 0; i < LOOKS; i++) {
                u64 now = rdtsc();
                running = longest(running, now - last);
                last    = now;
            }
            status = inb(COM1 + 5);
            access = longest(access, rdtsc() - last);
        } while (!(status & DATA_READY));
        byte = inb(COM1);
        print("# longest %lu %lu\n", running, access);
    }
}
