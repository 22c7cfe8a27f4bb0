/* accel/dbt/decode.c: millions of byte strings, half of them at random, half with the shape of instructions; what it
 * accepts must be the same to Zydis. */

#include "check_decode.h"

#include <string.h>

/* The same numbers each time. */
static uint64_t next_random(void)
{
    static uint64_t x = UINT64_C(0x9e3779b97f4a7c15);
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

static void fill(uint8_t bytes[16], bool shaped)
{
    static const uint8_t prefixes[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x66 };
    uint64_t             r          = next_random();
    unsigned             n          = 0;

    for (unsigned i = 0; i < 2; i++) {
        uint64_t v = next_random();
        memcpy(bytes + 8 * i, &v, 8);
    }
    if (!shaped) {
        return;
    }
    for (unsigned i = 0; i < (r & 3); i++) {
        bytes[n++] = prefixes[(r >> (8 + 8 * i)) % sizeof prefixes];
    }
    if (r >> 40 & 1) {
        bytes[n++] = 0x40 | (r >> 41 & 15);
    }
    switch (r >> 48 & 7) {
    case 0:
    case 1: bytes[n++] = 0x0f; break;
    case 2:
        bytes[n++] = 0x0f;
        bytes[n++] = 0x38;
        bytes[n++] = 0xf0 | (r >> 56 & 1);
        break;
    case 3:
        bytes[n++] = 0xc4;
        bytes[n++] = (uint8_t)((r >> 56 & 0xe0) | 2 | (r >> 51 & 1));
        n++;
        bytes[n++] = (uint8_t[]){ 0xf0, 0xf2, 0xf5, 0xf7 }[r >> 52 & 3];
        break;
    default: break;
    }
}

static void test_random(void)
{
    const unsigned times = g_test_thorough() ? 40000000 : g_test_slow() ? 20000000 : 3000000;
    uint8_t        bytes[16];
    char           why[256];
    unsigned       accepted = 0, findings = 0;

    for (unsigned i = 0; i < times; i++) {
        DbtMode  mode  = check_decode_mode(i / 2 % 6);
        unsigned avail = i % 7 == 0 ? (unsigned)(next_random() % 16) : 15;
        bool     took;
        fill(bytes, i & 1);
        const char *bad = check_decode(&mode, bytes, avail, why, &took);
        accepted += took;
        if (bad) {
            g_autoptr(GString) hex = g_string_new(NULL);
            for (unsigned k = 0; k < 16; k++) {
                g_string_append_printf(hex, " %02x", bytes[k]);
            }
            g_test_message("code %u stack %u:%s: %s", mode.code, mode.stack, hex->str, bad);
            g_test_fail();
            if (++findings == 20) {
                break;
            }
        }
    }
    g_test_message("%u of %u accepted", accepted, times);
    g_assert_cmpuint(accepted, >, times / 10);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dbt/decode/random", test_random);
    return g_test_run();
}
