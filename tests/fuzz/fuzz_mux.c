/* What is typed into a mux with front ends that read and do not read. */

#include "fuzz.h"

#include "char/char.h"

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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size) {
        type_into_mux(data, size);
    }
    return 0;
}
