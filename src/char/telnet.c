/* The telnet protocol.
 * Specification: RFC 854 and 855 (commands), 856 (binary), 857 (echo), 858 (suppress go ahead). */

#include "char/telnet.h"

enum {
    SE   = 240,
    BRK  = 243,
    SB   = 250,
    WILL = 251,
    WONT = 252,
    DO   = 253,
    DONT = 254,
    IAC  = 255,

    BINARY = 0,
    ECHO   = 1,
    SGA    = 3,

    /* A peer that asks on and on without reading gets no more answers. */
    ANSWERS_MAX = 4096
};

void telnet_begin(GByteArray *out)
{
    static const uint8_t hello[] = { IAC, WILL, ECHO, IAC, WILL, SGA, IAC, WILL, BINARY, IAC, DO, BINARY };
    g_byte_array_append(out, hello, sizeof hello);
}

void telnet_encode(const uint8_t *data, size_t len, GByteArray *out)
{
    for (size_t i = 0; i < len; i++) {
        g_byte_array_append(out, &data[i], 1);
        if (data[i] == IAC) {
            g_byte_array_append(out, &data[i], 1);
        }
    }
}

/* What telnet_begin() announced needs no answer; the rest we refuse. */
static void take_option(Telnet *t, uint8_t option, GByteArray *out)
{
    uint8_t answer[] = { IAC, 0, option };
    if (t->verb == DO && option != BINARY && option != ECHO && option != SGA) {
        answer[1] = WONT;
    } else if (t->verb == WILL && option != BINARY && option != SGA) {
        answer[1] = DONT;
    }
    if (option == BINARY && (t->verb == WILL || t->verb == WONT)) {
        t->binary = t->verb == WILL;
    }
    if (answer[1] && out->len < ANSWERS_MAX) {
        g_byte_array_append(out, answer, sizeof answer);
    }
}

size_t telnet_decode(Telnet *t, const uint8_t *in, size_t len, uint8_t *data, size_t *n, bool *broke, GByteArray *out)
{
    *n     = 0;
    *broke = false;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = in[i];
        switch (t->state) {
        case TELNET_DATA:
            if (byte == IAC) {
                t->state = TELNET_IAC;
            } else if (byte != 0 || !t->after_cr || t->binary) {
                /* Without binary mode, CR NUL is how a carriage return is sent. */
                data[(*n)++] = byte;
            }
            t->after_cr = byte == '\r';
            break;
        case TELNET_IAC:
            t->state = TELNET_DATA;
            if (byte == IAC) {
                data[(*n)++] = IAC;
            } else if (byte >= WILL) {
                t->verb  = byte;
                t->state = TELNET_OPTION;
            } else if (byte == SB) {
                t->state = TELNET_SUB;
            } else if (byte == BRK) {
                *broke = true;
                return i + 1;
            }
            break;
        case TELNET_OPTION:
            take_option(t, byte, out);
            t->state = TELNET_DATA;
            break;
        case TELNET_SUB:
            if (byte == IAC) {
                t->state = TELNET_SUB_IAC;
            }
            break;
        case TELNET_SUB_IAC: t->state = byte == SE ? TELNET_DATA : TELNET_SUB; break;
        }
    }
    return len;
}
