/* Two compressed formats that readers of kdump files know, made here: their libraries are GPL (LZO) or C++ (Snappy),
 * and what is needed of them is small. Both are greedy: a hash of four bytes leads to where they were seen last.
 *
 * Specification: Snappy's format_description.txt (2011-10-05); for LZO1X Linux' Documentation/staging/lzo.rst
 * ("LZO stream format as understood by Linux's LZO decompressor"). Any thread. */

#include "machine/dump_private.h"

#include "base/bytes.h"

#include <string.h>

enum { HASH_BITS = 11, NONE = 0xffff, MATCH_MIN = 4 };

typedef struct Finder {
    uint16_t seen[1 << HASH_BITS]; /* positions; NONE: nothing yet */
} Finder;

/* The last place before `at` with the same four bytes; -1: none. Remembers `at`. */
static int find(Finder *f, const uint8_t *in, unsigned at)
{
    uint32_t  four = load_le32(in + at);
    uint16_t *slot = &f->seen[four * UINT32_C(0x9e3779b1) >> (32 - HASH_BITS)];
    int       hit  = *slot != NONE && load_le32(in + *slot) == four ? *slot : -1;
    *slot          = (uint16_t)at;
    return hit;
}

static unsigned match_length(const uint8_t *in, unsigned from, unsigned at, unsigned end)
{
    unsigned n = MATCH_MIN;
    while (at + n < end && in[from + n] == in[at + n]) {
        n++;
    }
    return n;
}

typedef struct Out {
    uint8_t *p, *start;
} Out;

static void copy(Out *o, const uint8_t *from, unsigned n)
{
    memcpy(o->p, from, n);
    o->p += n;
}

typedef struct Packer {
    void (*match)(Out *o, const uint8_t *literals, unsigned n, unsigned distance, unsigned length);
    void (*end)(Out *o, const uint8_t *literals, unsigned n);
} Packer;

static void pack(const Packer *packer, Out *o, const uint8_t *in, unsigned size)
{
    Finder   f;
    unsigned literals = 0;
    memset(f.seen, 0xff, sizeof f.seen);
    for (unsigned at = 0; at + MATCH_MIN <= size;) {
        int from = find(&f, in, at);
        if (from < 0) {
            at++;
            continue;
        }
        unsigned length = match_length(in, (unsigned)from, at, size);
        packer->match(o, in + literals, at - literals, at - (unsigned)from, length);
        at += length;
        literals = at;
    }
    packer->end(o, in + literals, size - literals);
}

/* --- Snappy --- */

enum { SNAPPY_LITERAL = 0, SNAPPY_COPY_2 = 2, SNAPPY_COPY_MAX = 64, SNAPPY_SHORT = 60 };

static void snappy_literals(Out *o, const uint8_t *literals, unsigned n)
{
    if (!n) {
        return;
    }
    if (n <= SNAPPY_SHORT) {
        *o->p++ = (uint8_t)((n - 1) << 2 | SNAPPY_LITERAL);
    } else {
        *o->p++ = (uint8_t)((SNAPPY_SHORT + 1) << 2 | SNAPPY_LITERAL); /* the length follows in two bytes */
        store_le16(o->p, (uint16_t)(n - 1));
        o->p += 2;
    }
    copy(o, literals, n);
}

static void snappy_match(Out *o, const uint8_t *literals, unsigned n, unsigned distance, unsigned length)
{
    snappy_literals(o, literals, n);
    for (unsigned left = length, part; left; left -= part) {
        part    = MIN(left, SNAPPY_COPY_MAX);
        *o->p++ = (uint8_t)((part - 1) << 2 | SNAPPY_COPY_2);
        store_le16(o->p, (uint16_t)distance);
        o->p += 2;
    }
}

size_t dump_pack_snappy(uint8_t *out, const uint8_t *in, size_t size)
{
    static const Packer snappy = { .match = snappy_match, .end = snappy_literals };
    Out                 o      = { .p = out, .start = out };
    size_t              left   = size; /* length of what it becomes, seven bits a byte */
    for (; left > 0x7f; left >>= 7) {
        *o.p++ = (uint8_t)(left | 0x80);
    }
    *o.p++ = (uint8_t)left;
    pack(&snappy, &o, in, (unsigned)size);
    return (size_t)(o.p - out);
}

/* --- LZO1X --- */

/* A length above what the instruction holds: a byte 0 for each 255 more, then the rest. */
static void lzo_long(Out *o, unsigned n)
{
    for (; n > 255; n -= 255) {
        *o->p++ = 0;
    }
    *o->p++ = (uint8_t)n;
}

/* Literals. Up to three of them ride in the low bits of the instruction before; the first ones of all have a byte of
 * their own. */
static void lzo_literals(Out *o, const uint8_t *literals, unsigned n)
{
    if (!n) {
        return;
    }
    if (o->p == o->start && n <= 238) {
        *o->p++ = (uint8_t)(17 + n);
    } else if (o->p != o->start && n <= 3) {
        o->p[-2] |= (uint8_t)n; /* of a match: its distance ends with two bytes, the first of which has the bits */
    } else if (n <= 18) {
        *o->p++ = (uint8_t)(n - 3);
    } else {
        *o->p++ = 0;
        lzo_long(o, n - 18);
    }
    copy(o, literals, n);
}

enum { LZO_NEAR = 0x4000 };

/* 001LLLLL (2 to 33 bytes and more) up to 16 KiB away, and 0001HLLL farther: both are followed by 14 bits of distance
 * and 2 of literals. A page is no larger than 4 KiB, so that the first will do. */
static void lzo_match(Out *o, const uint8_t *literals, unsigned n, unsigned distance, unsigned length)
{
    lzo_literals(o, literals, n);
    g_assert(distance <= LZO_NEAR);
    if (length <= 33) {
        *o->p++ = (uint8_t)(0x20 | (length - 2));
    } else {
        *o->p++ = 0x20;
        lzo_long(o, length - 33);
    }
    store_le16(o->p, (uint16_t)((distance - 1) << 2));
    o->p += 2;
}

static void lzo_end(Out *o, const uint8_t *literals, unsigned n)
{
    static const uint8_t mark[] = { 0x11, 0, 0 };
    lzo_literals(o, literals, n);
    copy(o, mark, sizeof mark);
}

size_t dump_pack_lzo(uint8_t *out, const uint8_t *in, size_t size)
{
    static const Packer lzo = { .match = lzo_match, .end = lzo_end };
    Out                 o   = { .p = out, .start = out };
    pack(&lzo, &o, in, (unsigned)size);
    return (size_t)(o.p - out);
}
