/* The telnet protocol: the first byte says which side we are and how many bytes come at a time. */

#include "fuzz.h"

#include "char/telnet.h"

#include <string.h>

/* All that a decoder says of one input that comes in pieces of `step`. */
static void decode(bool client, const uint8_t *data, size_t size, size_t step, Telnet *t, GByteArray *text,
                   GByteArray *answers, unsigned *breaks)
{
    telnet_begin(t, client, answers);
    for (size_t used = 0; used < size;) {
        g_autofree uint8_t *piece = g_malloc(MIN(step, size - used));
        size_t              n, len = MIN(step, size - used);
        bool                broke;
        size_t              took = telnet_decode(t, data + used, len, piece, &n, &broke, answers);
        g_assert(took && n <= took && (broke || took == len));
        g_byte_array_append(text, piece, (guint)n);
        *breaks += broke;
        used += took;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    bool        client    = data[0] & 0x80;
    size_t      step      = (size_t)(data[0] & 0x7f) + 1;
    unsigned    breaks[2] = {};
    Telnet      t[2];
    GByteArray *text[2]    = { g_byte_array_new(), g_byte_array_new() };
    GByteArray *answers[2] = { g_byte_array_new(), g_byte_array_new() };
    data++, size--;
    decode(client, data, size, step, &t[0], text[0], answers[0], &breaks[0]);
    decode(client, data, size, size ? size : 1, &t[1], text[1], answers[1], &breaks[1]);
    g_assert(text[0]->len == text[1]->len && (!text[0]->len || !memcmp(text[0]->data, text[1]->data, text[0]->len)));
    g_assert(answers[0]->len == answers[1]->len && !memcmp(answers[0]->data, answers[1]->data, answers[0]->len));
    g_assert(breaks[0] == breaks[1] && answers[0]->len <= 4096 + 16);

    /* What we encode decodes to itself, in binary and in text. */
    Telnet peer = { .theirs = { [TELNET_BINARY] = t[0].plain ? TELNET_OFF : TELNET_ON } };
    g_byte_array_set_size(answers[0], 0);
    t[0].sent_cr = false;
    telnet_encode(&t[0], data, size, answers[0]);
    g_autofree uint8_t *again     = g_malloc(answers[0]->len + 1);
    g_autoptr(GByteArray) nothing = g_byte_array_new();
    size_t n;
    bool   broke;
    telnet_decode(&peer, answers[0]->data, answers[0]->len, again, &n, &broke, nothing);
    g_assert(n == size && !broke && !memcmp(again, data, size) && !nothing->len);
    for (unsigned i = 0; i < 2; i++) {
        g_byte_array_unref(text[i]);
        g_byte_array_unref(answers[i]);
    }
    return 0;
}
