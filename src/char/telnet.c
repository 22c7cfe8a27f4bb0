/* The telnet protocol.
 * Specification: RFC 854 and 855 (commands), 856 (binary), 857 (echo), 858 (suppress go ahead). */

#include "char/telnet.h"

#include <string.h>

enum {
    NUL = 0,
    LF  = 10,
    CR  = 13,

    SE   = 240,
    BRK  = 243,
    AYT  = 246,
    SB   = 250,
    WILL = 251,
    WONT = 252,
    DO   = 253,
    DONT = 254,
    IAC  = 255,

    /* A peer that asks on and on without reading gets no more answers. */
    ANSWERS_MAX = 4096
};

/* Who does what: the called side echoes. Asking is for what matters; the rest we agree to. */
static const struct {
    uint8_t code;
    bool    server, client; /* who may do it */
} options[TELNET_OPTIONS] = {
    [TELNET_BINARY] = { 0, true, true },
    [TELNET_ECHO]   = { 1, true, false },
    [TELNET_SGA]    = { 3, true, true },
};

static void say(GByteArray *out, uint8_t verb, uint8_t code)
{
    uint8_t words[] = { IAC, verb, code };
    if (out->len < ANSWERS_MAX) {
        g_byte_array_append(out, words, sizeof words);
    }
}

static void ask(uint8_t *have, uint8_t verb, TelnetOption option, GByteArray *out)
{
    have[option] = TELNET_ASKED;
    say(out, verb, options[option].code);
}

void telnet_begin(Telnet *t, bool client, GByteArray *out)
{
    *t = (Telnet){ .client = client };
    if (!client) {
        ask(t->ours, WILL, TELNET_ECHO, out);
        ask(t->ours, WILL, TELNET_SGA, out);
    }
    ask(t->ours, WILL, TELNET_BINARY, out);
    ask(t->theirs, DO, TELNET_BINARY, out);
}

/* In text, a carriage return alone is CR NUL. Who has refused binary mode wants it so; a peer that does not negotiate
 * is no telnet and gets what the guest sends. */
void telnet_encode(Telnet *t, const uint8_t *data, size_t len, GByteArray *out)
{
    static const uint8_t nul = NUL;
    for (size_t i = 0; i < len; i++) {
        if (t->sent_cr && t->plain && data[i] != LF) {
            g_byte_array_append(out, &nul, 1);
        }
        g_byte_array_append(out, &data[i], 1);
        if (data[i] == IAC) {
            g_byte_array_append(out, &data[i], 1);
        }
        t->sent_cr = data[i] == CR;
    }
}

void telnet_break(GByteArray *out)
{
    static const uint8_t words[] = { IAC, BRK };
    g_byte_array_append(out, words, sizeof words);
}

/* One side's option is to be on or off, says the other. Answers only changes that are news, so that two such sides
 * never go on answering each other. */
static void settle(uint8_t *have, bool on, bool may, uint8_t yes, uint8_t no, uint8_t code, GByteArray *out)
{
    if (on && !may) {
        say(out, no, code);
    } else if (on) {
        if (*have == TELNET_OFF) {
            say(out, yes, code);
        }
        *have = TELNET_ON;
    } else {
        if (*have == TELNET_ON) {
            say(out, no, code);
        }
        *have = TELNET_OFF;
    }
}

static void take_option(Telnet *t, uint8_t code, GByteArray *out)
{
    bool     ours = t->verb == DO || t->verb == DONT, on = t->verb == DO || t->verb == WILL;
    unsigned i = 0;
    while (i < TELNET_OPTIONS && options[i].code != code) {
        i++;
    }
    if (i == TELNET_OPTIONS) {
        if (on) {
            say(out, ours ? WONT : DONT, code);
        }
        return;
    }
    if (ours) {
        settle(&t->ours[i], on, t->client ? options[i].client : options[i].server, WILL, WONT, code, out);
        t->plain = i == TELNET_BINARY ? !on : t->plain;
    } else {
        settle(&t->theirs[i], on, t->client ? options[i].server : options[i].client, DO, DONT, code, out);
    }
}

size_t telnet_decode(Telnet *t, const uint8_t *in, size_t len, uint8_t *data, size_t *n, bool *broke, GByteArray *out)
{
    static const char here[] = "\r\n[Yes]\r\n";
    *n                       = 0;
    *broke                   = false;
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = in[i];
        switch (t->state) {
        case TELNET_DATA:
            if (byte == IAC) {
                t->state = TELNET_IAC;
                break;
            }
            if (byte != NUL || !t->after_cr || t->theirs[TELNET_BINARY] == TELNET_ON) {
                data[(*n)++] = byte;
            }
            t->after_cr = byte == CR;
            break;
        case TELNET_IAC:
            t->state = TELNET_DATA;
            if (byte == IAC) {
                data[(*n)++] = IAC;
                t->after_cr  = false;
            } else if (byte >= WILL) {
                t->verb  = byte;
                t->state = TELNET_OPTION;
            } else if (byte == SB) {
                t->state = TELNET_SUB;
            } else if (byte == AYT && out->len < ANSWERS_MAX) {
                g_byte_array_append(out, (const uint8_t *)here, sizeof here - 1);
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
