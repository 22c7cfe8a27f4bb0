/* The telnet and WebSocket decoders, and UTF-8 byte by byte: what goes in, what comes out, what is answered. Each row
 * goes through whole and byte by byte. */

#include "base/utf8.h"
#include "char/telnet.h"
#include "char/websocket.h"

#include <stdio.h>
#include <string.h>

typedef struct Bytes {
    const char *data;
    size_t      len;
} Bytes;

#define B(text)                                                                                                        \
    {                                                                                                                  \
        text, sizeof(text) - 1                                                                                         \
    }

/* --- telnet --- */

#define IAC    "\xff"
#define SE     "\xf0"
#define BRK    "\xf3"
#define AYT    "\xf6"
#define SB     "\xfa"
#define WILL   "\xfb"
#define WONT   "\xfc"
#define DO     "\xfd"
#define DONT   "\xfe"
#define BINARY "\x00"
#define ECHO   "\x01"
#define SGA    "\x03"
#define TTYPE  "\x18"

typedef struct TelnetRow {
    const char *what;
    bool        client;
    Bytes       in, data, answer;
    unsigned    breaks;
    Bytes       written, sent; /* what the guest writes then, and how it goes out */
} TelnetRow;

static const TelnetRow telnet_rows[] = {
    { "text goes through", false, B("abc\r\n"), B("abc\r\n"), B("") },
    { "a byte 255 is doubled", false, B(IAC IAC "x" IAC IAC), B("\xffx\xff"), B(""), 0, B("\xff"), B("\xff\xff") },
    { "CR NUL is a carriage return", false, B("a\r\0b\r\nc\0"), B("a\rb\r\nc\0"), B("") },
    { "not in binary mode", false, B(IAC WILL BINARY "\r\0"), B("\r\0"), B("") },
    { "nor when it ends", false, B(IAC WILL BINARY IAC WONT BINARY "\r\0"), B("\r"), B(IAC DONT BINARY) },
    { "what was asked for needs no answer", false, B(IAC DO ECHO IAC DO SGA IAC DO BINARY IAC WILL BINARY), B(""),
      B("") },
    { "nor does a refusal", false, B(IAC DONT ECHO IAC DONT SGA IAC DONT BINARY IAC WONT BINARY), B(""), B("") },
    { "an end is acknowledged once", false, B(IAC DO ECHO IAC DONT ECHO IAC DONT ECHO), B(""), B(IAC WONT ECHO) },
    { "and may begin again", false, B(IAC DONT ECHO IAC DO ECHO IAC DO ECHO), B(""), B(IAC WILL ECHO) },
    { "the client may not echo", false, B(IAC WILL ECHO), B(""), B(IAC DONT ECHO) },
    { "the client suppresses go ahead", false, B(IAC WILL SGA IAC WILL SGA), B(""), B(IAC DO SGA) },
    { "unknown options are refused", false, B(IAC DO TTYPE IAC WILL TTYPE IAC WONT TTYPE IAC DONT TTYPE), B(""),
      B(IAC WONT TTYPE IAC DONT TTYPE) },
    { "subnegotiations are skipped", false, B("a" IAC SB TTYPE "\x01" IAC IAC "x" IAC SE "b"), B("ab"), B("") },
    { "breaks", false, B("a" IAC BRK "b" IAC BRK IAC BRK), B("ab"), B(""), 3 },
    { "are you there", false, B("a" IAC AYT "b"), B("ab"), B("\r\n[Yes]\r\n") },
    { "other commands", false, B("a" IAC "\xf1" IAC "\xf2" IAC "\xf4" IAC "\xf9" IAC SE "b"), B("ab"), B("") },
    { "binary: carriage returns as they are", false, B(IAC DO BINARY), B(""), B(""), 0, B("a\rb\r\n\r\r"),
      B("a\rb\r\n\r\r") },
    { "no negotiation: the same", false, B("x"), B("x"), B(""), 0, B("\r\r"), B("\r\r") },
    { "refused: CR NUL", false, B(IAC DONT BINARY), B(""), B(""), 0, B("a\rb\r\n\r\rc"), B("a\r\0b\r\n\r\0\r\0c") },
    { "calling: the server may echo", true, B(IAC WILL ECHO IAC WILL SGA IAC DO SGA), B(""),
      B(IAC DO ECHO IAC DO SGA IAC WILL SGA) },
    { "calling: we do not", true, B(IAC DO ECHO), B(""), B(IAC WONT ECHO) },
};

static void run_telnet(const TelnetRow *row, size_t step)
{
    Telnet t;
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GString) all    = g_string_new(NULL);
    unsigned breaks           = 0;
    g_test_message("%s, %zu at a time", row->what, step);
    telnet_begin(&t, row->client, out);
    g_byte_array_set_size(out, 0);
    for (size_t at = 0; at < row->in.len;) {
        uint8_t data[128];
        size_t  n, len = MIN(step, row->in.len - at);
        bool    broke;
        at += telnet_decode(&t, (const uint8_t *)row->in.data + at, len, data, &n, &broke, out);
        g_string_append_len(all, (const char *)data, (gssize)n);
        breaks += broke;
    }
    g_assert_cmpmem(all->str, all->len, row->data.data, row->data.len);
    g_assert_cmpmem(out->data, out->len, row->answer.data, row->answer.len);
    g_assert_cmpuint(breaks, ==, row->breaks);
    g_byte_array_set_size(out, 0);
    for (size_t at = 0; at < row->written.len; at += step) {
        telnet_encode(&t, (const uint8_t *)row->written.data + at, MIN(step, row->written.len - at), out);
    }
    g_assert_cmpmem(out->data, out->len, row->sent.data, row->sent.len);
}

static void test_telnet(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(telnet_rows); i++) {
        run_telnet(&telnet_rows[i], 1000);
        run_telnet(&telnet_rows[i], 1);
    }
    Telnet t;
    g_autoptr(GByteArray) out = g_byte_array_new();
    telnet_begin(&t, false, out);
    Bytes server = B(IAC WILL ECHO IAC WILL SGA IAC WILL BINARY IAC DO BINARY),
          client = B(IAC WILL BINARY IAC DO BINARY IAC BRK);
    g_assert_cmpmem(out->data, out->len, server.data, server.len);
    g_byte_array_set_size(out, 0);
    telnet_begin(&t, true, out);
    telnet_break(out);
    g_assert_cmpmem(out->data, out->len, client.data, client.len);
}

/* Two sides that talk to each other come to an end, and both are binary then. */
static void test_telnet_pair(void)
{
    Telnet      side[2];
    GByteArray *to[2] = { g_byte_array_new(), g_byte_array_new() };
    unsigned    turns = 0;
    telnet_begin(&side[0], false, to[1]);
    telnet_begin(&side[1], true, to[0]);
    for (; to[0]->len || to[1]->len; turns++) {
        g_assert_cmpuint(turns, <, 10);
        g_autofree uint8_t *in  = g_memdup2(to[turns & 1]->data, to[turns & 1]->len);
        size_t              len = to[turns & 1]->len, n;
        uint8_t             data[64];
        bool                broke;
        g_byte_array_set_size(to[turns & 1], 0);
        telnet_decode(&side[turns & 1], in, len, data, &n, &broke, to[!(turns & 1)]);
        g_assert_cmpuint(n, ==, 0);
    }
    for (unsigned i = 0; i < 2; i++) {
        g_assert_cmpuint(side[i].ours[TELNET_BINARY], ==, TELNET_ON);
        g_assert_cmpuint(side[i].theirs[TELNET_BINARY], ==, TELNET_ON);
        g_byte_array_unref(to[i]);
    }
    g_assert_cmpuint(side[1].theirs[TELNET_ECHO], ==, TELNET_ON);
}

/* --- WebSocket --- */

#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define REQUEST "GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY VERSION "\r\n"

/* What the answer to a request begins with. */
static const struct {
    const char *request, *answer;
} requests[] = {
    { REQUEST, "HTTP/1.1 101 " },
    { "GET /chat HTTP/1.1\r\nHost: x\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n" KEY VERSION
      "Sec-WebSocket-Protocol: chat, binary\r\n\r\n",
      "HTTP/1.1 101 " },
    { "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: upgrade\r\nUpgrade: h2c\r\nUpgrade: "
      "websocket\r\n" KEY VERSION "\r\n",
      "HTTP/1.1 101 " },
    { "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 " },
    { "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426 " },
    { "GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY "Sec-WebSocket-Version: 8\r\n\r\n", "HTTP/1.1 426 " },
    { "GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE VERSION "\r\n", "HTTP/1.1 400 " },
    { "GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE VERSION "Sec-WebSocket-Key: eA==\r\n\r\n", "HTTP/1.1 400 " },
    { "GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE VERSION "Sec-WebSocket-Key: !!!!!!!!!!!!!!!!!!!!!!!!\r\n\r\n",
      "HTTP/1.1 400 " },
    { "GET / HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY VERSION "Sec-WebSocket-Protocol: chat\r\n\r\n", "HTTP/1.1 400 " },
    { "GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n" UPGRADE KEY VERSION "\r\n", "HTTP/1.1 400 " },
    { "GET / HTTP/1.1\r\nHost: x\r\n: empty\r\n" UPGRADE KEY VERSION "\r\n", "HTTP/1.1 400 " },
    { "GET / HTTP/1.1\r\nHost : x\r\n" UPGRADE KEY VERSION "\r\n", "HTTP/1.1 400 " },
    { "GET / HTTP/1.0\r\nHost: x\r\n" UPGRADE KEY VERSION "\r\n", "HTTP/1.1 400 " },
    { "POST / HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY VERSION "\r\n", "HTTP/1.1 400 " },
    { "GET x HTTP/1.1\r\nHost: x\r\n" UPGRADE KEY VERSION "\r\n", "HTTP/1.1 400 " },
    { "GET / HTTP/1.1\nHost: x\n\n", "HTTP/1.1 400 " },
    { "\r\n\r\n", "HTTP/1.1 400 " },
};

static void test_handshakes(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(requests); i++) {
        WebSocket *ws             = websocket_new();
        g_autoptr(GByteArray) out = g_byte_array_new();
        bool    ok = true, wanted = strstr(requests[i].answer, "101") != NULL;
        uint8_t data[1];
        size_t  n;
        g_test_message("%s", requests[i].request);
        for (const char *p = requests[i].request; *p && ok; p++) {
            ok = websocket_decode(ws, (const uint8_t *)p, 1, data, &n, out);
            g_assert_cmpuint(n, ==, 0);
        }
        g_byte_array_append(out, (const uint8_t *)"", 1);
        g_assert_true(g_str_has_prefix((const char *)out->data, requests[i].answer));
        g_assert_true(g_str_has_suffix((const char *)out->data, "\r\n\r\n"));
        g_assert_true(ok == wanted && websocket_is_open(ws) == wanted);
        if (wanted) {
            g_assert_nonnull(strstr((const char *)out->data, "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
        }
        websocket_free(ws);
    }
    /* Without an end. */
    WebSocket *ws             = websocket_new();
    g_autoptr(GByteArray) out = g_byte_array_new();
    uint8_t data[1];
    size_t  n, sent = 0;
    while (websocket_decode(ws, (const uint8_t *)"x", 1, data, &n, out)) {
        g_assert_cmpuint(++sent, <, 10000);
    }
    websocket_free(ws);
}

#define M "\x01\x02\x03\x04" /* a mask */

typedef struct FrameRow {
    const char *what;
    Bytes       in, data, answer;
    bool        ends;
} FrameRow;

/* "a" masked is 60h, "b" in second place 60h, "c" in third 60h, "d" in fourth 60h: nicely enough. */
static const FrameRow frame_rows[] = {
    { "binary", B("\x82\x84" M "````"), B("abcd"), B("") },
    { "text", B("\x81\x82" M "``"), B("ab"), B("") },
    { "empty", B("\x82\x80" M "\x82\x81" M "`"), B("a"), B("") },
    { "fragments", B("\x02\x81" M "`\x00\x81" M "`\x80\x81" M "`"), B("aaa"), B("") },
    { "an empty last fragment", B("\x02\x81" M "`\x80\x80" M "\x82\x81" M "`"), B("aa"), B("") },
    { "ping among fragments", B("\x02\x81" M "`\x89\x81" M "`\x80\x81" M "`"), B("aa"),
      B("\x8a\x01"
        "a") },
    { "empty ping", B("\x89\x80" M), B(""), B("\x8a\x00") },
    { "pong is no news", B("\x8a\x82" M "``"), B(""), B("") },
    { "continues nothing", B("\x80\x81" M "`"), B(""), B("\x88\x02\x03\xea"), true },
    { "a message in a message", B("\x02\x81" M "`\x82\x81" M "`"), B("a"), B("\x88\x02\x03\xea"), true },
    { "continues what has ended", B("\x82\x81" M "`\x80\x81" M "`"), B("a"), B("\x88\x02\x03\xea"), true },
    { "no mask", B("\x82\x01x"), B(""), B("\x88\x02\x03\xea"), true },
    { "reserved bit", B("\xc2\x81" M "`"), B(""), B("\x88\x02\x03\xea"), true },
    { "unknown opcode", B("\x83\x81" M "`"), B(""), B("\x88\x02\x03\xea"), true },
    { "unknown control", B("\x8b\x81" M "`"), B(""), B("\x88\x02\x03\xea"), true },
    { "fragment of a ping", B("\x09\x80" M), B(""), B("\x88\x02\x03\xea"), true },
    { "long ping", B("\x89\xfe\x00\x7e" M), B(""), B("\x88\x02\x03\xea"), true },
    { "longer form than needed", B("\x82\xfe\x00\x7d" M), B(""), B("\x88\x02\x03\xea"), true },
    { "much longer", B("\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff" M), B(""), B("\x88\x02\x03\xea"), true },
    { "negative length", B("\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00" M), B(""), B("\x88\x02\x03\xea"), true },
    { "no UTF-8", B("\x81\x81" M "\xc1"), B(""), B("\x88\x02\x03\xef"), true },
    { "UTF-8 in two fragments", B("\x01\x81" M "\xc2\x80\x81" M "\xa8"), B("\xc3\xa9"), B("") },
    { "half of it", B("\x81\x81" M "\xc2"), B("\xc3"), B("\x88\x02\x03\xef"), true },
    { "close", B("\x88\x80" M "\x82\x81" M "`"), B(""), B("\x88\x00"), true },
    { "close with a code", B("\x88\x82" M "\x02\xea"), B(""), B("\x88\x02\x03\xe8"), true },
    { "close with a reason", B("\x88\x84" M "\x02\xea``"), B(""), B("\x88\x02\x03\xe8"), true },
    { "close with half a code", B("\x88\x81" M "\x02"), B(""), B("\x88\x02\x03\xea"), true },
    { "close with a bad code", B("\x88\x82" M "\x02\xef"), B(""), B("\x88\x02\x03\xea"), true },
    { "close with a bad reason", B("\x88\x83" M "\x02\xea\xfc"), B(""), B("\x88\x02\x03\xef"), true },
};

static void run_frames(const FrameRow *row, size_t step)
{
    WebSocket *ws             = websocket_new();
    g_autoptr(GByteArray) out = g_byte_array_new();
    g_autoptr(GString) all    = g_string_new(NULL);
    bool    ok                = true;
    uint8_t data[256];
    size_t  n;
    g_test_message("%s, %zu at a time", row->what, step);
    g_assert_true(websocket_decode(ws, (const uint8_t *)REQUEST, sizeof REQUEST - 1, data, &n, out));
    g_byte_array_set_size(out, 0);
    for (size_t at = 0; at < row->in.len && ok; at += step) {
        ok = websocket_decode(ws, (const uint8_t *)row->in.data + at, MIN(step, row->in.len - at), data, &n, out);
        g_string_append_len(all, (const char *)data, (gssize)n);
    }
    g_assert_cmpmem(all->str, all->len, row->data.data, row->data.len);
    g_assert_cmpmem(out->data, out->len, row->answer.data, row->answer.len);
    g_assert_true(ok != row->ends);
    g_byte_array_set_size(out, 0);
    websocket_close(ws, out);
    g_assert_cmpmem(out->data, out->len, "\x88\x02\x03\xe9", row->ends ? 0 : 4);
    websocket_free(ws);
}

static void test_frames(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(frame_rows); i++) {
        run_frames(&frame_rows[i], 1000);
        run_frames(&frame_rows[i], 1);
    }
    static const struct {
        size_t len;
        Bytes  header;
    } lengths[] = {
        { 0, B("\x82\x00") },
        { 125, B("\x82\x7d") },
        { 126, B("\x82\x7e\x00\x7e") },
        { 65535, B("\x82\x7e\xff\xff") },
        { 65536, B("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00") },
    };
    g_autofree uint8_t *big = g_malloc0(65536);
    for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(GByteArray) out = g_byte_array_new();
        websocket_encode(big, lengths[i].len, out);
        g_assert_cmpuint(out->len, ==, lengths[i].len + lengths[i].header.len);
        g_assert_cmpmem(out->data, lengths[i].header.len, lengths[i].header.data, lengths[i].header.len);
    }
}

/* --- UTF-8 --- */

/* Every sequence of up to three bytes, and some of four: the same verdict as GLib's. */
static void test_utf8(void)
{
    static const uint8_t edges[] = { 0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf,
                                     0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff };
    enum { N = G_N_ELEMENTS(edges), TRIES = N * N * N * N };
    for (unsigned i = 0; i < TRIES; i++) {
        uint8_t  text[4] = { edges[i % N], edges[i / N % N], edges[i / N / N % N], edges[i / N / N / N] };
        Utf8     u       = {};
        bool     ok      = true;
        GString *again   = g_string_new(NULL);
        for (unsigned k = 0; k < 4; k++) {
            Utf8Result r = utf8_feed(&u, text[k]);
            ok           = ok && r < UTF8_WRONG;
            if (r == UTF8_CHARACTER) {
                g_string_append_unichar(again, u.code);
            }
        }
        /* g_utf8_validate takes no NUL; in here it is a character like others. */
        uint8_t plain[4];
        for (unsigned k = 0; k < 4; k++) {
            plain[k] = text[k] ? text[k] : 1;
        }
        g_assert_true((ok && !u.left) == g_utf8_validate((const char *)plain, 4, NULL));
        if (ok && !u.left) {
            g_assert_cmpmem(again->str, again->len, text, 4);
        }
        g_string_free(again, true);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/wire/telnet", test_telnet);
    g_test_add_func("/wire/telnet-pair", test_telnet_pair);
    g_test_add_func("/wire/handshakes", test_handshakes);
    g_test_add_func("/wire/frames", test_frames);
    g_test_add_func("/wire/utf8", test_utf8);
    return g_test_run();
}
