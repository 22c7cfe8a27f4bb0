/* Loads and stores of unaligned integers of a stated byte order. */

#ifndef QUERN_BASE_BYTES_H
#define QUERN_BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define DEFINE_BYTES(bits)                                                                                             \
    static inline uint##bits##_t load_le##bits(const void *from)                                                       \
    {                                                                                                                  \
        uint##bits##_t v;                                                                                              \
        __builtin_memcpy(&v, from, sizeof v);                                                                          \
        return le##bits##toh(v);                                                                                       \
    }                                                                                                                  \
    static inline uint##bits##_t load_be##bits(const void *from)                                                       \
    {                                                                                                                  \
        uint##bits##_t v;                                                                                              \
        __builtin_memcpy(&v, from, sizeof v);                                                                          \
        return be##bits##toh(v);                                                                                       \
    }                                                                                                                  \
    static inline void store_le##bits(void *to, uint##bits##_t v)                                                      \
    {                                                                                                                  \
        v = htole##bits(v);                                                                                            \
        __builtin_memcpy(to, &v, sizeof v);                                                                            \
    }                                                                                                                  \
    static inline void store_be##bits(void *to, uint##bits##_t v)                                                      \
    {                                                                                                                  \
        v = htobe##bits(v);                                                                                            \
        __builtin_memcpy(to, &v, sizeof v);                                                                            \
    }

DEFINE_BYTES(16)
DEFINE_BYTES(32)
DEFINE_BYTES(64)
#undef DEFINE_BYTES

/* Little-endian integer of 1, 2, 4 or 8 bytes. */
static inline uint64_t load_le(const void *from, unsigned size)
{
    uint64_t v = 0;
    __builtin_memcpy(&v, from, size);
    return le64toh(v);
}

static inline void store_le(void *to, uint64_t v, unsigned size)
{
    v = htole64(v);
    __builtin_memcpy(to, &v, size);
}

#endif
