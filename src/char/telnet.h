/* The telnet protocol on a byte stream, as the side that has been called or the one that calls: options, commands, and
 * how bytes go through. */

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

typedef enum TelnetOption { TELNET_BINARY, TELNET_ECHO, TELNET_SGA, TELNET_OPTIONS } TelnetOption;
typedef enum TelnetHave { TELNET_OFF, TELNET_ASKED, TELNET_ON } TelnetHave;

typedef struct Telnet {
    TelnetState state;
    bool        client;
    uint8_t     verb;                                         /* WILL, WONT, DO, DONT */
    uint8_t     ours[TELNET_OPTIONS], theirs[TELNET_OPTIONS]; /* TelnetHave: what each side does */
    bool        plain;                                        /* the other side refuses eight bits as they are */
    bool        after_cr, sent_cr;
} Telnet;

/* Appends what a new connection begins with. */
void telnet_begin(Telnet *t, bool client, GByteArray *out);

void telnet_encode(Telnet *t, const uint8_t *data, size_t len, GByteArray *out);
void telnet_break(GByteArray *out);

/* Decodes until the input ends or a break comes. Returns how many bytes of `in` were used; `data` (room for len bytes)
 * gets *n bytes; answers are appended to `out`. */
size_t telnet_decode(Telnet *t, const uint8_t *in, size_t len, uint8_t *data, size_t *n, bool *broke, GByteArray *out);

#endif
