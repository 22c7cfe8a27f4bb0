/* Output of a protocol on a chardev. */

#include "char/output.h"

enum { FULL = 1 << 20 };

void char_output_init(CharOutput *o, CharFrontend *fe)
{
    o->fe      = fe;
    o->waiting = g_byte_array_new();
}

void char_output_clear(CharOutput *o)
{
    g_clear_pointer(&o->waiting, g_byte_array_unref);
}

void char_output_flush(CharOutput *o)
{
    bool was_full = char_output_is_full(o);
    while (o->waiting->len) {
        ssize_t n = char_write(o->fe, o->waiting->data, o->waiting->len);
        if (n < 0) {
            g_byte_array_set_size(o->waiting, 0);
        } else if (n == 0) {
            break;
        } else {
            g_byte_array_remove_range(o->waiting, 0, (guint)n);
        }
    }
    if (was_full && !char_output_is_full(o)) {
        char_accept_input(o->fe);
    }
}

void char_output_append(CharOutput *o, const void *data, size_t len)
{
    if (!o->waiting->len) {
        ssize_t n = char_write(o->fe, data, len);
        if (n < 0 || (size_t)n == len) {
            return;
        }
        data = (const uint8_t *)data + n;
        len -= (size_t)n;
    }
    g_byte_array_append(o->waiting, data, (guint)len);
}

void char_output_drop(CharOutput *o)
{
    g_byte_array_set_size(o->waiting, 0);
}

bool char_output_is_full(const CharOutput *o)
{
    return o->waiting->len >= FULL;
}
