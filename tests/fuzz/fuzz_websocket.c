/* The WebSocket server: the first byte says whether the handshake is done already and how many bytes come at a time. */

#include "fuzz.h"

#include "char/websocket.h"

#include <string.h>

static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

static bool decode(bool open, const uint8_t *data, size_t size, size_t step, GByteArray *text, GByteArray *answers)
{
    WebSocket *ws = websocket_new();
    bool       ok = true;
    size_t     n;
    if (open) {
        uint8_t nothing[sizeof request];
        ok = websocket_decode(ws, (const uint8_t *)request, sizeof request - 1, nothing, &n, answers);
        g_assert(ok && websocket_is_open(ws) && !n);
    }
    for (size_t used = 0; used < size && ok; used += step) {
        size_t              len   = MIN(step, size - used);
        g_autofree uint8_t *piece = g_malloc(len);
        ok                        = websocket_decode(ws, data + used, len, piece, &n, answers);
        g_assert(n <= len && (!n || websocket_is_open(ws)));
        g_byte_array_append(text, piece, (guint)n);
    }
    g_assert(ok || answers->len);
    websocket_close(ws, answers);
    websocket_free(ws);
    return ok;
}

/* What we send is made of whole frames, each as short as can be. */
static void check_frames(const uint8_t *data, size_t size)
{
    g_autoptr(GByteArray) out = g_byte_array_new();
    websocket_encode(data, size, out);
    g_assert(out->len >= 2 + size && out->data[0] == 0x82 && !(out->data[1] & 0x80));
    size_t header = size < 126 ? 2 : size <= UINT16_MAX ? 4 : 10;
    g_assert(out->len == header + size && (!size || !memcmp(out->data + header, data, size)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) {
        return 0;
    }
    bool        open       = data[0] & 0x80;
    size_t      step       = (size_t)(data[0] & 0x7f) + 1;
    GByteArray *text[2]    = { g_byte_array_new(), g_byte_array_new() };
    GByteArray *answers[2] = { g_byte_array_new(), g_byte_array_new() };
    data++, size--;
    bool ok = decode(open, data, size, step, text[0], answers[0]);
    g_assert(ok == decode(open, data, size, size ? size : 1, text[1], answers[1]));
    g_assert(text[0]->len == text[1]->len && (!text[0]->len || !memcmp(text[0]->data, text[1]->data, text[0]->len)));
    g_assert(answers[0]->len == answers[1]->len &&
             (!answers[0]->len || !memcmp(answers[0]->data, answers[1]->data, answers[0]->len)));
    check_frames(data, size);
    for (unsigned i = 0; i < 2; i++) {
        g_byte_array_unref(text[i]);
        g_byte_array_unref(answers[i]);
    }
    return 0;
}
