/* Bytes of devices, gathered: see gather.h. */

#include "char/gather.h"

#include <string.h>

#define LATEST (5 * NS_PER_MS)

static void send_due(void *opaque)
{
    char_gather_flush(opaque);
}

void char_gather_init(CharGather *g, CharFrontend *fe, Clocks *clocks)
{
    *g = (CharGather){ .fe = fe, .sent = INT64_MIN };
    timer_init(&g->timer, clocks, REALTIME_CLOCK, send_due, g);
}

void char_gather_clear(CharGather *g)
{
    char_gather_flush(g);
    timer_cancel(&g->timer);
    g->n = 0;
}

void char_gather_flush(CharGather *g)
{
    timer_cancel(&g->timer);
    g->blocked = false;
    if (!g->n) {
        return;
    }
    ssize_t done = char_write(g->fe, g->data, g->n);
    if (done >= 0 && (size_t)done < g->n) {
        g->n -= (unsigned)done;
        memmove(g->data, g->data + done, g->n);
        g->blocked = true;
    } else {
        g->n = 0; /* sent, or there is nobody any more */
    }
    g->sent = clock_now(g->timer.clocks, REALTIME_CLOCK);
}

bool char_gather_put(CharGather *g, uint8_t byte)
{
    if (g->blocked) {
        return false;
    }
    if (!g->n && !char_costs_a_call(g->fe)) {
        return char_write(g->fe, &byte, 1) != 0;
    }
    g->data[g->n++] = byte;
    int64_t now = clock_now(g->timer.clocks, REALTIME_CLOCK);
    if (g->n == CHAR_GATHER || now - NS_PER_MS >= g->sent) {
        char_gather_flush(g);
    } else if (g->n == 1) {
        timer_set(&g->timer, now + LATEST);
    }
    return true;
}

void char_gather_put_all(CharGather *g, uint8_t byte)
{
    if (!char_gather_put(g, byte)) {
        char_write_all(g->fe, g->data, g->n);
        g->n       = 0;
        g->blocked = false;
        char_write_all(g->fe, &byte, 1);
    }
}
