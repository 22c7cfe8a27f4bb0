/* The telnet protocol on a byte stream: strips the other side's commands and doubles our 0xff bytes. */

#ifndef QUERN_CHAR_TELNET_H
#define QUERN_CHAR_TELNET_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef enum TelnetState {
    TELNET_DATA,
    TELNET_IAC,
    TELNET_OPTION,
    TELNET_SUB,
    TELNET_SUB_IAC,
} TelnetState;

/* All zeros to begin with. */
typedef struct Telnet {
    TelnetState state;
    uint8_t     verb;   /* WILL, WONT, DO, DONT */
    bool        binary; /* the other side sends eight bits as they are */
    bool        after_cr;
} Telnet;

/* Appends what a new connection begins with. */
void telnet_begin(GByteArray *out);

void telnet_encode(const uint8_t *data, size_t len, GByteArray *out);

/* Decodes until the input ends or a break comes. Returns how many bytes of `in` were used; `data` (room for len bytes)
 * gets *n bytes; answers are appended to `out`. */
size_t telnet_decode(Telnet *t, const uint8_t *in, size_t len, uint8_t *data, size_t *n, bool *broke, GByteArray *out);

#endif
