/* The ringbuf back end: keeps the last `size` bytes of output in memory for the monitor to read. */

#include "char/char.h"

#include "base/checked.h"
#include "base/text.h"

#include <string.h>

#define RINGBUF_MAX (64 * MiB)

typedef struct RingBuf {
    Chardev  chr;
    uint64_t size;
    uint8_t *data;
    uint64_t written, read; /* bytes since the beginning; written - read <= size */
} RingBuf;

static const Field ringbuf_properties[] = { FIELD(RingBuf, size, "size", .size_unit = 1, .initial = 65536,
                                                  .power_of_two = true, .min = 1, .max = RINGBUF_MAX,
                                                  .help = "bytes to keep, a power of two"),
                                            {} };

static const CharType ringbuf_type;

static bool ringbuf_open(Chardev *chr, Error *err)
{
    RingBuf *r = (RingBuf *)chr;
    if (!is_power_of_two(r->size)) {
        return error_set(err, "size=%" G_GUINT64_FORMAT " is no power of two", r->size);
    }
    r->data = g_try_malloc(r->size);
    if (!r->data) {
        return error_set(err, "size=%" G_GUINT64_FORMAT ": not enough memory", r->size);
    }
    char_event(chr, CHAR_OPENED);
    return true;
}

static void ringbuf_close(Chardev *chr)
{
    g_free(((RingBuf *)chr)->data);
}

static ssize_t ringbuf_write(Chardev *chr, const uint8_t *buf, size_t len)
{
    RingBuf *r = (RingBuf *)chr;
    for (size_t i = 0; i < len; i++) {
        r->data[r->written++ & (r->size - 1)] = buf[i];
    }
    if (r->written - r->read > r->size) {
        r->read = r->written - r->size;
    }
    return (ssize_t)len;
}

bool char_is_ringbuf(const Chardev *chr)
{
    return char_type(chr) == &ringbuf_type;
}

bool char_ringbuf_put(Chardev *chr, const void *data, size_t len)
{
    return char_is_ringbuf(chr) && ringbuf_write(chr, data, len) == (ssize_t)len;
}

bool char_ringbuf_take(Chardev *chr, size_t max, GByteArray *data)
{
    if (!char_is_ringbuf(chr)) {
        return false;
    }
    RingBuf *r = (RingBuf *)chr;
    while (max-- && r->read != r->written) {
        g_byte_array_append(data, &r->data[r->read++ & (r->size - 1)], 1);
    }
    return true;
}

CHAR_TYPE(ringbuf) = {
    .name       = "ringbuf",
    .parent     = "chardev",
    .alias      = "memory",
    .help       = "keeps the last bytes in memory",
    .class      = OBJECT_CLASS_CHARDEV,
    .size       = sizeof(RingBuf),
    .properties = ringbuf_properties,
    .open       = ringbuf_open,
    .write      = ringbuf_write,
    .close      = ringbuf_close,
};
