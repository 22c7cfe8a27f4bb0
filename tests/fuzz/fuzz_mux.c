/* What is typed into a mux with front ends that read and do not read, and the telnet and WebSocket decoders. The first
 * byte of the input says which. */

#include "fuzz.h"

#include "char/char.h"
#include "char/telnet.h"
#include "char/websocket.h"

#include <string.h>

typedef struct Ear {
    CharFrontend fe;
    size_t       room, heard;
} Ear;

static size_t ear_can_read(void *opaque)
{
    return ((Ear *)opaque)->room;
}

static void ear_read(void *opaque, const uint8_t *buf, size_t len)
{
    Ear *e = opaque;
    g_assert(len && len <= e->room);
    e->room -= len;
    e->heard += len;
}

static void type_into_mux(const uint8_t *data, size_t size)
{
    g_auto(Error) err = {};
    MachineLock lock;
    machine_lock_init(&lock);
    machine_lock(&lock);
    Loop    *loop = loop_new(&lock, &err);
    Object  *root = object_root_new();
    CharHub *hub  = char_hub_new(loop, root);

    g_autoptr(Json) options = json_new_object();
    json_set(options, "backend", json_new_string("null"));
    json_set(options, "id", json_new_string("m"));
    json_set(options, "mux", json_new_bool(true));
    Chardev *mux  = char_create(hub, options, false, &err);
    Chardev *base = char_find(hub, "m-base", &err);
    Ear      ears[3];
    size_t   pushed = 0;
    for (unsigned i = 0; i < 3; i++) {
        ears[i] = (Ear){ .fe = { .opaque = &ears[i], .can_read = ear_can_read, .read = ear_read }, .room = i * 8 };
        bool ok = char_attach(&ears[i].fe, mux, &err);
        g_assert(ok);
    }
    for (size_t at = 0; at < size;) {
        size_t n = MIN(MIN(char_can_read(base), size - at), (size_t)data[at] + 1);
        char_push(base, data + at, n);
        pushed += n;
        at += n ? n : 1;
        Ear *e  = &ears[at % 3];
        e->room = data[at - 1] % 64;
        char_accept_input(&e->fe);
        char_write(&e->fe, data, n);
    }
    size_t heard = 0;
    for (unsigned i = 0; i < 3; i++) {
        heard += ears[i].heard;
        char_detach(&ears[i].fe);
    }
    g_assert(heard <= pushed);
    char_hub_free(hub);
    object_unref(root);
    loop_free(loop);
    machine_unlock(&lock);
    machine_lock_destroy(&lock);
}

static void decode_telnet(const uint8_t *data, size_t size)
{
    Telnet              t     = {};
    g_autofree uint8_t *text  = g_malloc(size + 1);
    g_autoptr(GByteArray) out = g_byte_array_new();
    for (size_t used = 0; used < size;) {
        size_t n;
        bool   broke;
        size_t step = telnet_decode(&t, data + used, size - used, text, &n, &broke, out);
        g_assert(step && n <= step && (broke || used + step == size));
        used += step;
    }
    /* What we encode decodes to itself. */
    Telnet peer = { .binary = true };
    size_t n;
    bool   broke;
    g_byte_array_set_size(out, 0);
    telnet_encode(data, size, out);
    g_autofree uint8_t *again   = g_malloc(out->len + 1);
    g_autoptr(GByteArray) reply = g_byte_array_new();
    telnet_decode(&peer, out->data, out->len, again, &n, &broke, reply);
    g_assert(n == size && !broke && !memcmp(again, data, size) && !reply->len);
}

static void decode_websocket(const uint8_t *data, size_t size)
{
    static const char   request[] = "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                                    "Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n";
    g_autofree uint8_t *text      = g_malloc(size + sizeof request);
    size_t              n;
    for (int open = 0; open < 2; open++) {
        WebSocket *ws             = websocket_new();
        g_autoptr(GByteArray) out = g_byte_array_new();
        if (open) {
            bool ok = websocket_decode(ws, (const uint8_t *)request, sizeof request - 1, text, &n, out);
            g_assert(ok && websocket_is_open(ws) && !n);
        }
        websocket_decode(ws, data, size, text, &n, out);
        g_assert(n <= size);
        websocket_free(ws);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size) {
        (data[0] % 3 == 0 ? type_into_mux : data[0] % 3 == 1 ? decode_telnet : decode_websocket)(data + 1, size - 1);
    }
    return 0;
}
