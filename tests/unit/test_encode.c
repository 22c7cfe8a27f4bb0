/* The encoder and the thunk cache. */

#include "cpu/x86/encode.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/thunk.h"

#include <glib.h>
#include <string.h>

/* --- the encoder --- */

static void decode(const uint8_t *code, size_t len, ZydisDecodedInstruction *d, ZydisDecodedOperand *op)
{
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    g_assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, len, d, op)));
    g_assert_cmpuint(d->length, ==, len);
}

/* The form of some bytes, with registers 0. */
static X86Form form_of(const uint8_t *code, size_t len)
{
    ZydisDecodedInstruction d;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    X86Form                 form;
    decode(code, len, &d, op);
    g_assert_true(x86_form_from_decoded(&form, &d, op));
    return form;
}

#define BYTES(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static void expect(const X86Form *form, const uint8_t *bytes, size_t len)
{
    uint8_t out[15];
    g_assert_cmpmem(out, x86_encode(form, out), bytes, len);
}

static void test_registers(void)
{
    X86Form addps = form_of(BYTES(0x0f, 0x58, 0xc1));
    addps.reg     = 3;
    addps.rm      = 12;
    expect(&addps, BYTES(0x41, 0x0f, 0x58, 0xdc));
    addps.reg = 9;
    addps.rm  = 2;
    expect(&addps, BYTES(0x44, 0x0f, 0x58, 0xca));

    X86Form vaddps = form_of(BYTES(0xc5, 0xec, 0x58, 0xcb));
    vaddps.reg     = 1;
    vaddps.vvvv    = 2;
    vaddps.rm      = 3;
    expect(&vaddps, BYTES(0xc5, 0xec, 0x58, 0xcb));
    vaddps.rm = 11; /* needs the long prefix */
    expect(&vaddps, BYTES(0xc4, 0xc1, 0x6c, 0x58, 0xcb));

    /* Extensions, prefixes and immediates stay. */
    X86Form psrldq = form_of(BYTES(0x66, 0x0f, 0x73, 0xdf, 0x05));
    psrldq.rm      = 1;
    expect(&psrldq, BYTES(0x66, 0x0f, 0x73, 0xd9, 0x05));
    X86Form insertq = form_of(BYTES(0xf2, 0x0f, 0x78, 0xca, 0x10, 0x08));
    expect(&insertq, BYTES(0xf2, 0x0f, 0x78, 0xc0, 0x10, 0x08));
}

static void test_memory(void)
{
    static const struct {
        uint8_t base, index, scale;
        int32_t disp;
        uint8_t len, bytes[10];
    } rows[] = {
        { 7, X86_FORM_NONE, 0, 0, 3, { 0x0f, 0x58, 0x0f } },
        { 7, X86_FORM_NONE, 0, 127, 4, { 0x0f, 0x58, 0x4f, 0x7f } },
        { 7, X86_FORM_NONE, 0, 128, 7, { 0x0f, 0x58, 0x8f, 0x80, 0, 0, 0 } },
        { 5, X86_FORM_NONE, 0, 0, 4, { 0x0f, 0x58, 0x4d, 0 } },        /* RBP wants a displacement */
        { 13, X86_FORM_NONE, 0, 0, 5, { 0x41, 0x0f, 0x58, 0x4d, 0 } }, /* R13, too */
        { 4, X86_FORM_NONE, 0, 0, 4, { 0x0f, 0x58, 0x0c, 0x24 } },     /* RSP wants a SIB byte */
        { 12, X86_FORM_NONE, 0, -8, 6, { 0x41, 0x0f, 0x58, 0x4c, 0x24, 0xf8 } },
        { 3, 14, 2, 0, 5, { 0x42, 0x0f, 0x58, 0x0c, 0xb3 } },
        { X86_FORM_NONE, 6, 3, 0x1234, 8, { 0x0f, 0x58, 0x0c, 0xf5, 0x34, 0x12, 0, 0 } },
        { X86_FORM_NONE, X86_FORM_NONE, 0, 0x1234, 8, { 0x0f, 0x58, 0x0c, 0x25, 0x34, 0x12, 0, 0 } },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        X86Form form = form_of(BYTES(0x0f, 0x58, 0x08));
        form.reg     = 1;
        form.base    = rows[i].base;
        form.index   = rows[i].index;
        form.scale   = rows[i].scale;
        form.disp    = rows[i].disp;
        expect(&form, rows[i].bytes, rows[i].len);
    }
    X86Form rip      = form_of(BYTES(0x0f, 0x58, 0x08));
    rip.rip_relative = 1;
    rip.disp         = -4;
    expect(&rip, BYTES(0x0f, 0x58, 0x05, 0xfc, 0xff, 0xff, 0xff));

    X86Form bad = form_of(BYTES(0x0f, 0x58, 0x08));
    bad.index   = 4;
    uint8_t out[15];
    g_assert_cmpuint(x86_encode(&bad, out), ==, 0);
}

/* What would act on Quern itself is refused, whatever the bytes. */
static void test_refusals(void)
{
    static const struct {
        uint8_t len, bytes[5];
    } rows[] = {
        { 2, { 0x0f, 0x05 } },                   /* syscall */
        { 2, { 0xcd, 0x80 } },                   /* int 80h */
        { 3, { 0x0f, 0x01, 0xef } },             /* wrpkru */
        { 3, { 0x0f, 0x01, 0xd0 } },             /* xgetbv */
        { 3, { 0x0f, 0x01, 0xd5 } },             /* xend */
        { 3, { 0x0f, 0xae, 0x28 } },             /* xrstor */
        { 3, { 0x0f, 0xae, 0x08 } },             /* fxrstor without W */
        { 2, { 0x8e, 0xd8 } },                   /* mov ds, eax */
        { 5, { 0xf3, 0x48, 0x0f, 0xae, 0xd0 } }, /* wrfsbase */
        { 1, { 0xf4 } },                         /* hlt */
        { 2, { 0xff, 0xe0 } },                   /* jmp rax */
        { 2, { 0x0f, 0xa2 } },                   /* cpuid */
        { 4, { 0x66, 0x0f, 0xf7, 0xc1 } },       /* maskmovdqu: writes to RDI */
        { 2, { 0xdd, 0x30 } },                   /* fnsave */
        { 2, { 0xd9, 0x30 } },                   /* fnstenv: host addresses */
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        X86Form form = form_of(rows[i].bytes, rows[i].len);
        uint8_t out[15];
        g_assert_cmpuint(x86_encode(&form, out), ==, 0);
    }
    /* Memory and register forms are allowed apart. */
    X86Form movlps = form_of(BYTES(0x0f, 0x12, 0x00));
    uint8_t out[15];
    g_assert_true(x86_form_allowed(&movlps));
    movlps.memory = false;
    g_assert_false(x86_form_allowed(&movlps));
    g_assert_cmpuint(x86_encode(&movlps, out), ==, 0);
    /* EVEX and LOCK cannot be expressed. */
    ZydisDecodedInstruction d;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    X86Form                 form;
    decode(BYTES(0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1), &d, op);
    g_assert_false(x86_form_from_decoded(&form, &d, op));
    decode(BYTES(0xf0, 0x01, 0x00), &d, op);
    g_assert_false(x86_form_from_decoded(&form, &d, op));
}

/* W would widen a general register when the bytes come from 32-bit code. */
static void test_w_outside_64_bit_mode(void)
{
    ZydisDecoder            decoder;
    ZydisDecodedInstruction d;
    ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
    X86Form                 form;
    const uint8_t           code[] = { 0xc4, 0xe1, 0xf3, 0x2a, 0xc0 }; /* vcvtsi2sd xmm0, xmm1, eax with W = 1 */

    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
    g_assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code, sizeof code, &d, op)));
    g_assert_true(x86_form_from_decoded(&form, &d, op));
    g_assert_cmpuint(form.w, ==, 0);
    decode(code, sizeof code, &d, op);
    g_assert_true(x86_form_from_decoded(&form, &d, op));
    g_assert_cmpuint(form.w, ==, 1);
}

/* --- the cache --- */

static X86ThunkSpec addps_spec(void)
{
    X86ThunkSpec spec;
    memset(&spec, 0, sizeof spec);
    spec.form        = form_of(BYTES(0x0f, 0x58, 0xc1));
    spec.kind[0]     = X86_THUNK_XMM;
    spec.kind[1]     = X86_THUNK_XMM;
    spec.encoding[0] = ZYDIS_OPERAND_ENCODING_MODRM_REG;
    spec.encoding[1] = ZYDIS_OPERAND_ENCODING_MODRM_RM;
    spec.written     = 1;
    spec.flags       = X86_THUNK_MXCSR;
    return spec;
}

static uint32_t host_mxcsr(void)
{
    uint32_t value;
    __asm__ volatile("stmxcsr %0" : "=m"(value));
    return value;
}

static uint16_t host_fcw(void)
{
    uint16_t value;
    __asm__ volatile("fnstcw %0" : "=m"(value));
    return value;
}

static X86Cpu *new_cpu(void)
{
    X86Cpu *cpu = aligned_alloc(64, (sizeof(X86Cpu) + 63) & ~(size_t)63);
    memset(cpu, 0, sizeof *cpu);
    return cpu;
}

static void test_thunk(void)
{
    X86ThunkSpec    spec  = addps_spec();
    const X86Thunk *thunk = x86_thunk_get(&spec);
    X86Cpu         *cpu   = new_cpu();
    float           a[4] = { 1, 2, 3, 0.1f }, b[4] = { 10, 20, 30, 0.2f };
    uint32_t        mxcsr = 0x1f80;

    g_assert_nonnull(thunk);
    g_assert_true(x86_thunk_get(&spec) == thunk);
    memcpy(x86_xmm(cpu, 3), a, 16);
    memcpy(x86_xmm(cpu, 7), b, 16);
    memcpy(cpu->xsave + XSAVE_MXCSR, &mxcsr, 4);
    g_assert_cmpuint(thunk->code(x86_xmm(cpu, 3), x86_xmm(cpu, 7), NULL, NULL, cpu), ==, 0);
    memcpy(a, x86_xmm(cpu, 3), 16);
    g_assert_true(a[0] == 11 && a[1] == 22 && a[2] == 33);
    memcpy(&mxcsr, cpu->xsave + XSAVE_MXCSR, 4);
    g_assert_cmphex(mxcsr, ==, 0x1fa0); /* inexact */
    g_assert_cmphex(host_mxcsr() & ~0x3fu, ==, 0x1f80);
    free(cpu);
}

/* An unmasked exception comes back as the thunk's answer, and leaves the destination and the host's state alone. */
static void test_fault(void)
{
    X86ThunkSpec    spec  = addps_spec();
    const X86Thunk *thunk = x86_thunk_get(&spec);
    X86Cpu         *cpu   = new_cpu();
    const uint32_t  snan  = 0x7f800001;
    uint32_t        mxcsr = 0x1f00; /* invalid is not masked */
    uint32_t        after;

    memcpy(x86_xmm(cpu, 0), &snan, 4);
    memcpy(cpu->xsave + XSAVE_MXCSR, &mxcsr, 4);
    for (unsigned i = 0; i < 3; i++) {
        g_assert_cmpuint(thunk->code(x86_xmm(cpu, 0), x86_xmm(cpu, 1), NULL, NULL, cpu), ==, 1);
        memcpy(&after, cpu->xsave + XSAVE_MXCSR, 4);
        g_assert_cmphex(after, ==, 0x1f01);
        memcpy(&after, x86_xmm(cpu, 0), 4);
        g_assert_cmphex(after, ==, snan);
        g_assert_cmphex(host_mxcsr(), ==, 0x1f80);
        g_assert_cmphex(host_fcw(), ==, 0x37f);
    }
    free(cpu);
}

static gpointer get_many(gpointer out)
{
    const X86Thunk **thunks = out;
    for (unsigned imm = 0; imm < 256; imm++) {
        X86ThunkSpec spec;
        memset(&spec, 0, sizeof spec);
        spec.form        = form_of(BYTES(0x66, 0x0f, 0x70, 0xc1, 0)); /* pshufd */
        spec.form.imm    = imm;
        spec.kind[0]     = X86_THUNK_XMM;
        spec.kind[1]     = X86_THUNK_XMM;
        spec.encoding[0] = ZYDIS_OPERAND_ENCODING_MODRM_REG;
        spec.encoding[1] = ZYDIS_OPERAND_ENCODING_MODRM_RM;
        spec.written     = 1;
        thunks[imm]      = x86_thunk_get(&spec);
    }
    return NULL;
}

/* Threads that ask for the same thunks get the same, and the cache grows by one set only. */
static void test_threads(void)
{
    static const X86Thunk *thunks[4][256];
    GThread               *threads[4];
    size_t                 before = x86_thunk_stats().thunks;

    for (unsigned i = 0; i < 4; i++) {
        threads[i] = g_thread_new("thunks", get_many, thunks[i]);
    }
    for (unsigned i = 0; i < 4; i++) {
        g_thread_join(threads[i]);
        g_assert_cmpmem(thunks[i], sizeof thunks[i], thunks[0], sizeof thunks[0]);
    }
    g_assert_nonnull(thunks[0][0]);
    g_assert_true(thunks[0][0] != thunks[0][255]);
    g_assert_cmpuint(x86_thunk_stats().thunks, ==, before + 256);
}

/* No mapping of the cache may be writable and executable. */
static void test_mappings(void)
{
    g_autofree char *maps = NULL;
    unsigned         seen = 0;

    g_assert_true(g_file_get_contents("/proc/self/maps", &maps, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(maps, "\n", -1);
    for (unsigned i = 0; lines[i]; i++) {
        if (strstr(lines[i], "quern-thunks")) {
            seen++;
            g_assert_true(strstr(lines[i], " rw-s ") || strstr(lines[i], " r-xs "));
        }
        g_assert_null(strstr(lines[i], " rwx"));
    }
    g_assert_cmpuint(seen, ==, 2);
}

int main(int argc, char **argv)
{
    g_auto(Error) err = { 0 };
    g_test_init(&argc, &argv, NULL);
    g_assert_true(x86_vector_init(&err));
    g_test_add_func("/encode/registers", test_registers);
    g_test_add_func("/encode/memory", test_memory);
    g_test_add_func("/encode/refusals", test_refusals);
    g_test_add_func("/encode/w-outside-64-bit-mode", test_w_outside_64_bit_mode);
    g_test_add_func("/thunk/run", test_thunk);
    g_test_add_func("/thunk/fault", test_fault);
    g_test_add_func("/thunk/threads", test_threads);
    g_test_add_func("/thunk/mappings", test_mappings);
    return g_test_run();
}
