/* dump_pack: what is packed becomes what it was, by decoders that were written from the formats' descriptions alone. */

#include "base/bytes.h"
#include "machine/dump_private.h"

#include <string.h>

enum { PAGE = 4096 };

/* Snappy: length in sevens of bits; then literals and copies. */
static size_t unpack_snappy(const uint8_t *in, size_t len, uint8_t *out)
{
    const uint8_t *end  = in + len;
    size_t         size = 0, n = 0;
    for (unsigned shift = 0;; shift += 7) {
        size |= (size_t)(*in & 0x7f) << shift;
        if (!(*in++ & 0x80)) {
            break;
        }
    }
    while (in < end) {
        unsigned tag = *in++;
        if ((tag & 3) == 0) {
            unsigned l = tag >> 2;
            if (l >= 60) {
                g_assert_cmpuint(l, ==, 61);
                l = load_le16(in);
                in += 2;
            }
            l++;
            g_assert_true(in + l <= end && n + l <= size);
            memcpy(out + n, in, l);
            n += l;
            in += l;
        } else {
            g_assert_cmpuint(tag & 3, ==, 2);
            unsigned l = (tag >> 2) + 1, distance = load_le16(in);
            in += 2;
            g_assert_true(distance && distance <= n && n + l <= size);
            for (unsigned i = 0; i < l; i++, n++) {
                out[n] = out[n - distance];
            }
        }
    }
    g_assert_cmpuint(n, ==, size);
    return n;
}

static unsigned lzo_more(const uint8_t **in, unsigned base)
{
    while (!**in) {
        base += 255;
        (*in)++;
    }
    return base + *(*in)++;
}

/* LZO1X, but for the forms that a packer of pages does not need. */
static size_t unpack_lzo(const uint8_t *in, size_t len, uint8_t *out)
{
    const uint8_t *end   = in + len;
    unsigned       state = 0, literals = 0;
    size_t         n = 0;
    if (*in > 17) {
        literals = *in++ - 17u;
        state    = MIN(literals, 4u);
    }
    for (;;) {
        g_assert_true(in + literals <= end && n + literals <= PAGE);
        memcpy(out + n, in, literals);
        n += literals;
        in += literals;
        literals       = 0;
        unsigned instr = *in++;
        if (instr < 16) {
            g_assert_cmpuint(state, ==, 0); /* else it is a match of another form */
            literals = 3 + (instr ? instr : lzo_more(&in, 15));
            state    = 4;
        } else if (instr < 32) {
            g_assert_cmphex(instr, ==, 0x11);
            g_assert_cmphex(load_le16(in), ==, 0);
            g_assert_true(in + 2 == end);
            return n;
        } else {
            g_assert_cmpuint(instr, <, 64);
            unsigned l = 2 + (instr & 31 ? instr & 31 : lzo_more(&in, 31));
            unsigned d = load_le16(in);
            in += 2;
            literals = state = d & 3;
            d                = (d >> 2) + 1;
            g_assert_true(d <= n && n + l <= PAGE);
            for (unsigned i = 0; i < l; i++, n++) {
                out[n] = out[n - d];
            }
        }
    }
}

static void check(const uint8_t *page, size_t size)
{
    uint8_t             out[PAGE];
    g_autofree uint8_t *packed = g_malloc(dump_pack_bound(size));
    size_t              len    = dump_pack_snappy(packed, page, size);
    g_assert_cmpuint(len, <=, dump_pack_bound(size));
    g_assert_cmpmem(out, unpack_snappy(packed, len, out), page, size);
    len = dump_pack_lzo(packed, page, size);
    g_assert_cmpuint(len, <=, dump_pack_bound(size));
    g_assert_cmpmem(out, unpack_lzo(packed, len, out), page, size);
}

static void test_pages(void)
{
    uint8_t page[PAGE];
    g_autoptr(GRand) r = g_rand_new_with_seed(1);
    for (unsigned round = 0; round < 600; round++) {
        unsigned alphabet = 1u << (round % 9), run = 1 + round / 9; /* from all the same to noise, in runs */
        for (unsigned i = 0; i < PAGE;) {
            uint8_t  byte = (uint8_t)g_rand_int_range(r, 0, (gint)alphabet);
            unsigned n    = (unsigned)g_rand_int_range(r, 1, (gint)run + 1);
            for (; n && i < PAGE; n--) {
                page[i++] = byte;
            }
        }
        check(page, round % 3 ? PAGE : 1 + (unsigned)g_rand_int_range(r, 0, PAGE));
    }
}

/* Literals of every number before a match, which have different forms. */
static void test_literals(void)
{
    uint8_t page[PAGE];
    for (unsigned n = 1; n < 700; n++) {
        for (unsigned i = 0; i < n; i++) {
            page[i] = (uint8_t)(i * 7 + i / 256 * 31 + 1);
        }
        memset(page + n, 0xee, 600);
        for (unsigned i = 0; i < n; i++) {
            page[n + 600 + i] = (uint8_t)(i * 11 + i / 256 * 17 + 3);
        }
        memset(page + 2 * n + 600, 0xdd, 40);
        check(page, 2 * n + 640);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dump/pages", test_pages);
    g_test_add_func("/dump/literals", test_literals);
    return g_test_run();
}
