/* Output of devices that write byte by byte: a byte that comes within a millisecond of one that was sent waits for
 * others to go with it, and goes with the first that comes a millisecond later, or after five at the latest. A system
 * call for each byte, and waking who reads, took a tenth of a kernel's start. A lone byte goes at once. (The main loop's
 * timer is the last resort: it holds the machine lock while it sends, which a guest sees that measures its timer just
 * then. Linux does so after it has printed a few lines, and one hit in two cost it 90 ms.)
 * Machine lock held. */

#ifndef QUERN_CHAR_GATHER_H
#define QUERN_CHAR_GATHER_H

#include "char/char.h"

enum { CHAR_GATHER = 256 };

typedef struct CharGather {
    CharFrontend *fe; /* borrowed */
    Timer         timer;
    int64_t       sent;    /* when something was; of the REALTIME_CLOCK */
    bool          blocked; /* the other side took less than it was given */
    unsigned      n;       /* bytes that wait */
    uint8_t       data[CHAR_GATHER];
} CharGather;

void char_gather_init(CharGather *g, CharFrontend *fe, Clocks *clocks);
void char_gather_clear(CharGather *g); /* sends what can be sent; before char_detach() */

/* Takes a byte. False: the other side takes none now; CharFrontend.writable is called when it does again. */
bool char_gather_put(CharGather *g, uint8_t byte);

/* The same, but waits for the other side as char_write_all() does. */
void char_gather_put_all(CharGather *g, uint8_t byte);

/* Sends what waits: from CharFrontend.writable, and before anything that is to come after it (breaks, modem lines). */
void char_gather_flush(CharGather *g);

#endif
