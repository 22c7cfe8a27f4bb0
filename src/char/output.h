/* Output of a protocol on a chardev: what the other side does not take now waits here, in order.
 * Machine lock held. */

#ifndef QUERN_CHAR_OUTPUT_H
#define QUERN_CHAR_OUTPUT_H

#include "char/char.h"

typedef struct CharOutput {
    CharFrontend *fe;
    GByteArray   *waiting;
} CharOutput;

void char_output_init(CharOutput *o, CharFrontend *fe);
void char_output_clear(CharOutput *o);

/* Sends what can be sent, and keeps the rest. */
void char_output_append(CharOutput *o, const void *data, size_t len);

/* To be called from CharFrontend.writable. */
void char_output_flush(CharOutput *o);

/* Forgets what waits: the other side has gone. */
void char_output_drop(CharOutput *o);

/* Does so much wait that no more requests should be read? */
bool char_output_is_full(const CharOutput *o);

#endif
