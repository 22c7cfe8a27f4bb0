/* Floating point against stored vectors that came from exact arithmetic, not from any processor: tests/insn/
 * make_fp_vectors.py says how. Each line runs as legacy SSE and as VEX, or on the x87. */

#include "../unit/guest.h"

#include "base/bytes.h"

#include <inttypes.h>
#include <string.h>

/* The instruction of an operation: operands in XMM0 (and the destination), XMM1, XMM2 or RAX; in ST0 and ST1. */
typedef struct Operation {
    const char *name;
    uint8_t     legacy[6], vex[6]; /* a length, then bytes */
    enum { TO_XMM32, TO_XMM64, TO_RAX32, TO_RAX64, TO_ST } result;
    bool from_rax;
} Operation;

#define SCALAR(name, pp, pp_vex, op, result)                                                                           \
    {                                                                                                                  \
        name, { 4, pp, 0x0f, op, 0xc1 }, { 4, 0xc5, 0xf8 | pp_vex, op, 0xc1 }, result, false                           \
    }
#define X87(name, a, b)                                                                                                \
    {                                                                                                                  \
        name, { 2, a, b }, { 0 }, TO_ST, false                                                                         \
    }
#define X87_ALL(prefix)                                                                                                \
    X87(prefix ".add", 0xd8, 0xc1), X87(prefix ".sub", 0xd8, 0xe1), X87(prefix ".mul", 0xd8, 0xc9),                    \
        X87(prefix ".div", 0xd8, 0xf1), X87(prefix ".sqrt", 0xd9, 0xfa)

static const Operation operations[] = {
    SCALAR("f32.add", 0xf3, 2, 0x58, TO_XMM32),
    SCALAR("f32.sub", 0xf3, 2, 0x5c, TO_XMM32),
    SCALAR("f32.mul", 0xf3, 2, 0x59, TO_XMM32),
    SCALAR("f32.div", 0xf3, 2, 0x5e, TO_XMM32),
    SCALAR("f64.add", 0xf2, 3, 0x58, TO_XMM64),
    SCALAR("f64.sub", 0xf2, 3, 0x5c, TO_XMM64),
    SCALAR("f64.mul", 0xf2, 3, 0x59, TO_XMM64),
    SCALAR("f64.div", 0xf2, 3, 0x5e, TO_XMM64),
    { "f32.sqrt", { 4, 0xf3, 0x0f, 0x51, 0xc0 }, { 4, 0xc5, 0xfa, 0x51, 0xc0 }, TO_XMM32, false },
    { "f64.sqrt", { 4, 0xf2, 0x0f, 0x51, 0xc0 }, { 4, 0xc5, 0xfb, 0x51, 0xc0 }, TO_XMM64, false },
    /* vfmadd213: xmm0 = xmm1 * xmm0 + xmm2 */
    { "f32.fma", { 0 }, { 5, 0xc4, 0xe2, 0x71, 0xa9, 0xc2 }, TO_XMM32, false },
    { "f64.fma", { 0 }, { 5, 0xc4, 0xe2, 0xf1, 0xa9, 0xc2 }, TO_XMM64, false },
    { "f32.to_i32", { 4, 0xf3, 0x0f, 0x2d, 0xc0 }, { 4, 0xc5, 0xfa, 0x2d, 0xc0 }, TO_RAX32, false },
    { "f32.to_i64", { 5, 0xf3, 0x48, 0x0f, 0x2d, 0xc0 }, { 5, 0xc4, 0xe1, 0xfa, 0x2d, 0xc0 }, TO_RAX64, false },
    { "f32.trunc_i32", { 4, 0xf3, 0x0f, 0x2c, 0xc0 }, { 4, 0xc5, 0xfa, 0x2c, 0xc0 }, TO_RAX32, false },
    { "f32.trunc_i64", { 5, 0xf3, 0x48, 0x0f, 0x2c, 0xc0 }, { 5, 0xc4, 0xe1, 0xfa, 0x2c, 0xc0 }, TO_RAX64, false },
    { "f32.from_i32", { 4, 0xf3, 0x0f, 0x2a, 0xc0 }, { 4, 0xc5, 0xf2, 0x2a, 0xc0 }, TO_XMM32, true },
    { "f32.from_i64", { 5, 0xf3, 0x48, 0x0f, 0x2a, 0xc0 }, { 5, 0xc4, 0xe1, 0xf2, 0x2a, 0xc0 }, TO_XMM32, true },
    { "f64.to_i32", { 4, 0xf2, 0x0f, 0x2d, 0xc0 }, { 4, 0xc5, 0xfb, 0x2d, 0xc0 }, TO_RAX32, false },
    { "f64.to_i64", { 5, 0xf2, 0x48, 0x0f, 0x2d, 0xc0 }, { 5, 0xc4, 0xe1, 0xfb, 0x2d, 0xc0 }, TO_RAX64, false },
    { "f64.trunc_i32", { 4, 0xf2, 0x0f, 0x2c, 0xc0 }, { 4, 0xc5, 0xfb, 0x2c, 0xc0 }, TO_RAX32, false },
    { "f64.trunc_i64", { 5, 0xf2, 0x48, 0x0f, 0x2c, 0xc0 }, { 5, 0xc4, 0xe1, 0xfb, 0x2c, 0xc0 }, TO_RAX64, false },
    { "f64.from_i32", { 4, 0xf2, 0x0f, 0x2a, 0xc0 }, { 4, 0xc5, 0xf3, 0x2a, 0xc0 }, TO_XMM64, true },
    { "f64.from_i64", { 5, 0xf2, 0x48, 0x0f, 0x2a, 0xc0 }, { 5, 0xc4, 0xe1, 0xf3, 0x2a, 0xc0 }, TO_XMM64, true },
    { "f64.to_f32", { 4, 0xf2, 0x0f, 0x5a, 0xc0 }, { 4, 0xc5, 0xfb, 0x5a, 0xc0 }, TO_XMM32, false },
    X87_ALL("f80p24"),
    X87_ALL("f80p53"),
    X87_ALL("f80p64"),
};

/* Up to 80 bits. */
typedef struct Value {
    uint64_t low;
    uint16_t high;
} Value;

typedef struct Vector {
    const Operation *operation;
    unsigned         rounding, n;
    Value            operands[3], result;
    unsigned         flags;
} Vector;

static Guest      *guest;
static const char *path; /* of the vectors */

static Value parse_value(const char *hex)
{
    size_t len     = strlen(hex);
    char   low[17] = "0";
    Value  v       = { 0 };
    if (len > 16) {
        char high[8] = "";
        memcpy(high, hex, len - 16);
        v.high = (uint16_t)strtoul(high, NULL, 16);
        hex += len - 16;
    }
    g_strlcpy(low, hex, sizeof low);
    v.low = strtoull(low, NULL, 16);
    return v;
}

static Vector parse(const char *line)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    unsigned n          = g_strv_length(words);
    Vector   v          = { 0 };

    g_assert_cmpuint(n, >=, 5);
    g_assert_cmpuint(n, <=, 7);
    for (unsigned i = 0; i < G_N_ELEMENTS(operations); i++) {
        if (strcmp(operations[i].name, words[0]) == 0) {
            v.operation = &operations[i];
        }
    }
    g_assert_nonnull(v.operation);
    v.rounding = (unsigned)strtoul(words[1], NULL, 10);
    v.n        = n - 4;
    for (unsigned i = 0; i < v.n; i++) {
        v.operands[i] = parse_value(words[2 + i]);
    }
    v.result = parse_value(words[n - 2]);
    v.flags  = (unsigned)strtoul(words[n - 1], NULL, 16);
    return v;
}

static void load(X86Cpu *cpu, const Vector *v)
{
    bool     x87       = v->operation->result == TO_ST;
    unsigned precision = !x87 ? 3 : strstr(v->operation->name, "p24") ? 0 : strstr(v->operation->name, "p53") ? 2 : 3;

    guest_set_mode(guest, 0, GUEST_LONG64, 0);
    memset(cpu->xsave, 0, sizeof cpu->xsave);
    store_le16(cpu->xsave, (uint16_t)(0x7f | precision << 8 | v->rounding << 10));
    store_le16(cpu->xsave + 2, 6 << 11); /* TOP = 6: two registers in use */
    cpu->xsave[4] = 0xc0;
    store_le32(cpu->xsave + XSAVE_MXCSR, 0x1f80 | v->rounding << 13);
    for (unsigned i = 0; i < v->n; i++) {
        if (x87) {
            store_le64(cpu->xsave + XSAVE_ST + 16 * i, v->operands[i].low);
            store_le16(cpu->xsave + XSAVE_ST + 16 * i + 8, v->operands[i].high);
        } else {
            store_le64(x86_xmm(cpu, i), v->operands[i].low);
        }
    }
    if (v->operation->from_rax) {
        cpu->gpr[X86_RAX] = v->operands[0].low;
    }
}

static void run(const Vector *v, const uint8_t *code, const char *line)
{
    X86Cpu *cpu = guest->cpus[0];
    Value   got = { 0 };

    load(cpu, v);
    g_assert_cmpint(guest_run_code(guest, 0, code + 1, code[0]), ==, X86_EXIT_HALT);
    g_assert_cmpint(guest_exception(guest, 0), ==, -1);
    unsigned flags = load_le32(cpu->xsave + XSAVE_MXCSR) & 0x3f;
    switch (v->operation->result) {
    case TO_XMM32: got.low = load_le32(x86_xmm(cpu, 0)); break;
    case TO_XMM64: got.low = load_le64(x86_xmm(cpu, 0)); break;
    case TO_RAX32:
    case TO_RAX64: got.low = cpu->gpr[X86_RAX]; break;
    case TO_ST:
        got.low  = load_le64(cpu->xsave + XSAVE_ST);
        got.high = load_le16(cpu->xsave + XSAVE_ST + 8);
        flags    = load_le16(cpu->xsave + 2) & 0x3f;
        break;
    }
    if (got.low != v->result.low || got.high != v->result.high || flags != v->flags) {
        g_test_message("%s: got %04x%016" PRIx64 " %02x", line, got.high, got.low, flags);
        g_test_fail();
    }
}

static void test_vectors(void)
{
    g_autofree char *text   = NULL;
    unsigned         count  = 0;
    g_autoptr(GError) error = NULL;
    X86Cpu *cpu             = guest->cpus[0];

    g_file_get_contents(path, &text, NULL, &error);
    g_assert_no_error(error);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        if (!*lines[i] || *lines[i] == '#') {
            continue;
        }
        Vector v = parse(lines[i]);
        if (v.operation->legacy[0]) {
            run(&v, v.operation->legacy, lines[i]);
        }
        bool fma = strstr(v.operation->name, "fma") != NULL;
        if (v.operation->vex[0] && x86_has(cpu, fma ? X86_FEATURE_FMA : X86_FEATURE_AVX)) {
            run(&v, v.operation->vex, lines[i]);
        }
        count++;
    }
    g_assert_cmpuint(count, >, 500);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_assert_cmpint(argc, ==, 2);
    path  = argv[1];
    guest = guest_new(1);
    x86_host_features(guest->cpus[0]->features);
    g_test_add_func("/fp/vectors", test_vectors);
    int result = g_test_run();
    guest_free(guest);
    return result;
}
