/* What the fuzz targets of devices share: the input, read as operations and their operands, and states. */

#ifndef QUERN_FUZZ_DEVICE_H
#define QUERN_FUZZ_DEVICE_H

#include "fuzz.h"

#include "base/bytes.h"
#include "devices/device.h"

#include <string.h>

typedef struct Input {
    const uint8_t *at, *end;
} Input;

/* The next bytes, eight at most; zeros behind the end. One an expression: arguments are evaluated in any order. */
static inline uint64_t take(Input *in, unsigned bytes)
{
    uint8_t  buf[8] = {};
    unsigned n      = (unsigned)MIN((size_t)(in->end - in->at), bytes);
    memcpy(buf, in->at, n);
    in->at += n;
    return load_le64(buf);
}

/* Saves a device and loads it again, with one byte changed if flip says so: then it may be refused, and is reset. */
static inline void save_and_load(Device *dev, uint16_t at, uint8_t flip)
{
    g_auto(Error) err           = {};
    g_autoptr(GByteArray) state = g_byte_array_new();
    device_save(dev, state);
    if (flip && state->len) {
        state->data[at % state->len] ^= flip;
    }
    bool ok = device_load(dev, state->data, state->len, &err);
    g_assert(ok || flip);
    fuzz_check_error(ok, &err);
    if (!ok && device_type(dev)->reset) {
        device_type(dev)->reset(dev, RESET_COLD);
    }
}

#endif
