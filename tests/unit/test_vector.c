/* Vector and FP instructions as far as the instruction tests, which run as user code of one CPU model, do not see them:
 * what control registers and CPUID allow, pending exceptions, environments in all modes, XSAVE as the kernel uses it.
 */

#include "guest.h"

#include "base/bytes.h"
#include "cpu/x86/fpu.h"

#include <string.h>

#define CODE(...) .code = { __VA_ARGS__ }, .len = sizeof((const uint8_t[]){ __VA_ARGS__ })

static Guest   *guest;
static X86Cpu  *cpu;
static uint32_t host_words[X86_N_WORDS];

static void set_mode(GuestMode mode)
{
    guest_set_mode(guest, 0, mode, 0);
    memcpy(cpu->features, host_words, sizeof host_words);
    x86_fpu_init_state(cpu, 0x37f);
    cpu->gpr[X86_RSI] = cpu->gpr[X86_RDI] = mode == GUEST_REAL || mode == GUEST_PROTECTED16 ? 0x5000 : GUEST_DATA;
    memset(guest->host + cpu->gpr[X86_RSI], 0, 4096);
}

/* Runs code and returns the exception that ended it, or -1. */
static int run(const uint8_t *code, size_t len)
{
    guest_poke(guest, x86_cut_rip(cpu, cpu->rip), code, len);
    X86Exit exit = guest_run_code(guest, 0, code, len);
    g_assert_cmpint(exit, ==, X86_EXIT_HALT);
    return guest_exception(guest, 0);
}

#define RUN(...) run((const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* --- control registers --- */

enum { NONE = -1, CLEAR_OSFXSR = 1, CLEAR_OSXSAVE = 2, CLEAR_AVX = 4, REAL = 8 };

typedef struct Gate {
    const char *name;
    uint8_t     code[8];
    uint8_t     len;
    uint8_t     cr0; /* bits to set */
    uint8_t     how;
    int         expected;
} Gate;

static const Gate gates[] = {
    { "addps", CODE(0x0f, 0x58, 0xc1), .expected = NONE },
    { "addps, TS", CODE(0x0f, 0x58, 0xc1), .cr0 = CR0_TS, .expected = X86_NM },
    { "addps, EM", CODE(0x0f, 0x58, 0xc1), .cr0 = CR0_EM, .expected = X86_UD },
    { "addps, EM and TS", CODE(0x0f, 0x58, 0xc1), .cr0 = CR0_EM | CR0_TS, .expected = X86_UD },
    { "addps, no OSFXSR", CODE(0x0f, 0x58, 0xc1), .how = CLEAR_OSFXSR, .expected = X86_UD },
    { "addps, no OSFXSR, TS", CODE(0x0f, 0x58, 0xc1), .cr0 = CR0_TS, .how = CLEAR_OSFXSR, .expected = X86_UD },
    { "movaps load, TS", CODE(0x0f, 0x28, 0x06), .cr0 = CR0_TS, .expected = X86_NM },
    { "movntdq, no OSFXSR", CODE(0x66, 0x0f, 0xe7, 0x06), .how = CLEAR_OSFXSR, .expected = X86_UD },
    { "movnti, no OSFXSR, EM", CODE(0x0f, 0xc3, 0x06), .cr0 = CR0_EM, .how = CLEAR_OSFXSR, .expected = NONE },
    { "ldmxcsr, EM", CODE(0x0f, 0xae, 0x16), .cr0 = CR0_EM, .expected = X86_UD },
    { "stmxcsr, TS", CODE(0x0f, 0xae, 0x1e), .cr0 = CR0_TS, .expected = X86_NM },
    { "paddb mm, no OSFXSR", CODE(0x0f, 0xfc, 0xc1), .how = CLEAR_OSFXSR, .expected = NONE },
    { "paddb mm, EM", CODE(0x0f, 0xfc, 0xc1), .cr0 = CR0_EM, .expected = X86_UD },
    { "paddb mm, TS", CODE(0x0f, 0xfc, 0xc1), .cr0 = CR0_TS, .expected = X86_NM },
    { "emms, EM", CODE(0x0f, 0x77), .cr0 = CR0_EM, .expected = X86_UD },
    { "cvtpi2ps, no OSFXSR", CODE(0x0f, 0x2a, 0xc1), .how = CLEAR_OSFXSR, .expected = X86_UD },
    { "fld1, EM", CODE(0xd9, 0xe8), .cr0 = CR0_EM, .expected = X86_NM },
    { "fld1, TS", CODE(0xd9, 0xe8), .cr0 = CR0_TS, .expected = X86_NM },
    { "fnstsw ax, EM", CODE(0xdf, 0xe0), .cr0 = CR0_EM, .expected = X86_NM },
    { "fninit, TS", CODE(0xdb, 0xe3), .cr0 = CR0_TS, .expected = X86_NM },
    { "fwait, TS", CODE(0x9b), .cr0 = CR0_TS, .expected = NONE },
    { "fwait, MP", CODE(0x9b), .cr0 = CR0_MP, .expected = NONE },
    { "fwait, MP and TS", CODE(0x9b), .cr0 = CR0_MP | CR0_TS, .expected = X86_NM },
    { "fxsave, no OSFXSR", CODE(0x0f, 0xae, 0x06), .how = CLEAR_OSFXSR, .expected = NONE },
    { "fxsave, EM", CODE(0x0f, 0xae, 0x06), .cr0 = CR0_EM, .expected = X86_NM },
    { "fxrstor, TS", CODE(0x0f, 0xae, 0x0e), .cr0 = CR0_TS, .expected = X86_NM },
    { "xsave, no OSXSAVE", CODE(0x0f, 0xae, 0x26), .how = CLEAR_OSXSAVE, .expected = X86_UD },
    { "xsave, no OSXSAVE, TS", CODE(0x0f, 0xae, 0x26), .cr0 = CR0_TS, .how = CLEAR_OSXSAVE, .expected = X86_UD },
    { "xsave, TS", CODE(0x0f, 0xae, 0x26), .cr0 = CR0_TS, .expected = X86_NM },
    { "xsave, EM", CODE(0x0f, 0xae, 0x26), .cr0 = CR0_EM, .expected = NONE },
    { "vaddps", CODE(0xc5, 0xf0, 0x58, 0xc1), .expected = NONE },
    { "vaddps, EM, no OSFXSR", CODE(0xc5, 0xf0, 0x58, 0xc1), .cr0 = CR0_EM, .how = CLEAR_OSFXSR, .expected = NONE },
    { "vaddps, TS", CODE(0xc5, 0xf0, 0x58, 0xc1), .cr0 = CR0_TS, .expected = X86_NM },
    { "vaddps, no OSXSAVE, TS", CODE(0xc5, 0xf0, 0x58, 0xc1), .cr0 = CR0_TS, .how = CLEAR_OSXSAVE, .expected = X86_UD },
    { "vaddps, XCR0 without AVX", CODE(0xc5, 0xf0, 0x58, 0xc1), .how = CLEAR_AVX, .expected = X86_UD },
    { "vmovaps, XCR0 without AVX", CODE(0xc5, 0xf8, 0x28, 0xc1), .how = CLEAR_AVX, .expected = X86_UD },
    { "vzeroupper, XCR0 without AVX", CODE(0xc5, 0xf8, 0x77), .how = CLEAR_AVX, .expected = X86_UD },
    { "vpgatherdd, TS", CODE(0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0e), .cr0 = CR0_TS, .expected = X86_NM },
    { "vaddps in real mode", CODE(0xc5, 0xf0, 0x58, 0xc1), .how = REAL, .expected = X86_UD },
    { "addps in real mode", CODE(0x0f, 0x58, 0xc1), .how = REAL, .expected = NONE },
};

static void test_gates(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(gates); i++) {
        const Gate *gate = &gates[i];
        bool        vex  = gate->code[0] == 0xc5 || gate->code[0] == 0xc4;
        if (vex && !x86_words_have(host_words, X86_FEATURE_AVX2)) {
            continue;
        }
        set_mode(gate->how & REAL ? GUEST_REAL : GUEST_LONG64);
        cpu->cr0 |= gate->cr0;
        cpu->cr4 &= ~((gate->how & CLEAR_OSFXSR ? CR4_OSFXSR : 0) | (gate->how & CLEAR_OSXSAVE ? CR4_OSXSAVE : 0));
        cpu->xcr0 &= gate->how & CLEAR_AVX ? ~XCR0_AVX : ~UINT64_C(0);
        x86_update_mode(cpu);
        int vector = run(gate->code, gate->len);
        if (vector != gate->expected) {
            g_test_message("%s: exception %d, expected %d", gate->name, vector, gate->expected);
            g_test_fail();
        }
    }
}

/* --- CPUID --- */

typedef struct Offer {
    X86Feature feature;
    uint8_t    code[8], len;
} Offer;

/* One instruction that each feature brings. */
static const Offer offers[] = {
    { X86_FEATURE_FPU, CODE(0xd9, 0xe8) },
    { X86_FEATURE_CMOV, CODE(0xda, 0xc1) }, /* fcmovb */
    { X86_FEATURE_CMOV, CODE(0xdb, 0xf1) }, /* fcomi */
    { X86_FEATURE_MMX, CODE(0x0f, 0xfc, 0xc1) },
    { X86_FEATURE_FXSR, CODE(0x0f, 0xae, 0x06) },
    { X86_FEATURE_SSE, CODE(0x0f, 0x58, 0xc1) },
    { X86_FEATURE_SSE2, CODE(0x66, 0x0f, 0x58, 0xc1) },
    { X86_FEATURE_SSE3, CODE(0xf2, 0x0f, 0xd0, 0xc1) },
    { X86_FEATURE_SSE3, CODE(0xdd, 0x0e) }, /* fisttp */
    { X86_FEATURE_SSSE3, CODE(0x66, 0x0f, 0x38, 0x00, 0xc1) },
    { X86_FEATURE_SSE4_1, CODE(0x66, 0x0f, 0x38, 0x17, 0xc1) },
    { X86_FEATURE_SSE4_2, CODE(0x66, 0x0f, 0x38, 0x37, 0xc1) },
    { X86_FEATURE_SSE4A, CODE(0x66, 0x0f, 0x79, 0xc1) },
    { X86_FEATURE_3DNOW, CODE(0x0f, 0x0f, 0xc1, 0x9e) },    /* pfadd */
    { X86_FEATURE_3DNOWEXT, CODE(0x0f, 0x0f, 0xc1, 0xbb) }, /* pswapd */
    { X86_FEATURE_AES, CODE(0x66, 0x0f, 0x38, 0xdc, 0xc1) },
    { X86_FEATURE_AES, CODE(0xc4, 0xe2, 0x71, 0xdc, 0xc1) },
    { X86_FEATURE_PCLMULQDQ, CODE(0x66, 0x0f, 0x3a, 0x44, 0xc1, 0) },
    { X86_FEATURE_PCLMULQDQ, CODE(0xc4, 0xe3, 0x71, 0x44, 0xc1, 0) },
    { X86_FEATURE_SHA_NI, CODE(0x0f, 0x38, 0xc8, 0xc1) },
    { X86_FEATURE_GFNI, CODE(0x66, 0x0f, 0x38, 0xcf, 0xc1) },
    { X86_FEATURE_AVX, CODE(0xc5, 0xf0, 0x58, 0xc1) },
    { X86_FEATURE_AVX2, CODE(0xc5, 0xf5, 0xfc, 0xc1) },
    { X86_FEATURE_AVX2, CODE(0xc4, 0xe2, 0x69, 0x90, 0x04, 0x0e) },
    { X86_FEATURE_F16C, CODE(0xc4, 0xe2, 0x79, 0x13, 0xc1) },
    { X86_FEATURE_FMA, CODE(0xc4, 0xe2, 0x71, 0xa8, 0xc1) },
    { X86_FEATURE_VAES, CODE(0xc4, 0xe2, 0x75, 0xdc, 0xc1) },
    { X86_FEATURE_VPCLMULQDQ, CODE(0xc4, 0xe3, 0x75, 0x44, 0xc1, 0) },
    { X86_FEATURE_AVX_VNNI, CODE(0xc4, 0xe2, 0x71, 0x50, 0xc1) },
    { X86_FEATURE_XSAVE, CODE(0x0f, 0xae, 0x26) },
    { X86_FEATURE_XSAVEOPT, CODE(0x0f, 0xae, 0x36) },
    { X86_FEATURE_XSAVEC, CODE(0x0f, 0xc7, 0x26) },
};

static int run_offer(const Offer *o, bool with)
{
    set_mode(GUEST_LONG64);
    if (!with) {
        cpu->rip += 0x1000; /* features do not change under decoded code */
        cpu->features[o->feature / 32] &= ~(1u << o->feature % 32);
    }
    cpu->gpr[X86_RCX] = 0;
    cpu->gpr[X86_RDX] = 0;
    cpu->gpr[X86_RAX] = 7;
    memset(cpu->xsave + XSAVE_XMM, 0, 256); /* the gather's indexes and mask */
    return run(o->code, o->len);
}

static void test_cpuid(void)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(offers); i++) {
        if (!x86_words_have(host_words, offers[i].feature)) {
            continue;
        }
        int with = run_offer(&offers[i], true), without = run_offer(&offers[i], false);
        if (with != NONE || without != X86_UD) {
            g_test_message("row %u: exception %d with the feature, %d without", i, with, without);
            g_test_fail();
        }
    }
    /* Never offered: EVEX, XOP, FMA4. */
    set_mode(GUEST_LONG64);
    g_assert_cmpint(RUN(0x62, 0xf1, 0x7c, 0x48, 0x58, 0xc1), ==, X86_UD);
    set_mode(GUEST_LONG64);
    g_assert_cmpint(RUN(0x8f, 0xe9, 0x78, 0x80, 0xc1), ==, X86_UD);
    set_mode(GUEST_LONG64);
    g_assert_cmpint(RUN(0xc4, 0xe3, 0x71, 0x69, 0xc1, 0x20), ==, X86_UD);
}

/* --- exceptions --- */

static void set_mxcsr(uint32_t value)
{
    store_le32(cpu->xsave + XSAVE_MXCSR, value);
}

static void test_simd_exception(void)
{
    for (unsigned enabled = 0; enabled < 2; enabled++) {
        set_mode(GUEST_LONG64);
        cpu->cr4 = enabled ? cpu->cr4 | CR4_OSXMMEXCPT : cpu->cr4 & ~CR4_OSXMMEXCPT;
        set_mxcsr(0x1f80 & ~0x200u); /* division by zero */
        store_le32(x86_xmm(cpu, 0), 0x3f800000);
        memset(x86_xmm(cpu, 1), 0, 16);
        uint64_t rip = cpu->rip;
        g_assert_cmpint(RUN(0xf3, 0x0f, 0x5e, 0xc1), ==, enabled ? X86_XM : X86_UD); /* divss */
        g_assert_cmphex(load_le32(cpu->xsave + XSAVE_MXCSR), ==, 0x1d84);
        g_assert_cmphex(load_le32(x86_xmm(cpu, 0)), ==, 0x3f800000);
        g_assert_cmphex(load_le64(guest->host + cpu->gpr[X86_RSP]), ==, rip);
    }
}

/* An x87 exception is reported by the next waiting instruction, and by no other. */
static void test_x87_exception(void)
{
    set_mode(GUEST_LONG64);
    store_le16(cpu->xsave + FX_FCW, 0x37b);
    uint64_t rip = cpu->rip;
    /* fldz; fld1; fdiv st0, st1; fnstsw ax; fnstcw [rsi]; fwait */
    g_assert_cmpint(RUN(0xd9, 0xee, 0xd9, 0xe8, 0xd8, 0xf1, 0xdf, 0xe0, 0xd9, 0x3e, 0x9b), ==, X86_MF);
    g_assert_cmphex(load_le64(guest->host + cpu->gpr[X86_RSP]), ==, rip + 10);
    g_assert_cmphex(cpu->gpr[X86_RAX] & 0xffff, ==, 0xb084); /* B, TOP = 6, ES, ZE */
    g_assert_cmphex(load_le64(cpu->xsave + FX_FIP), ==, rip + 4);
    g_assert_cmphex(load_le16(cpu->xsave + FX_FOP), ==, 0x0f1);

    /* MMX waits, too; FNCLEX forgets. */
    set_mode(GUEST_LONG64);
    store_le16(cpu->xsave + FX_FCW, 0x37b);
    g_assert_cmpint(RUN(0xd9, 0xee, 0xd9, 0xe8, 0xd8, 0xf1, 0x0f, 0xfc, 0xc1), ==, X86_MF);
    set_mode(GUEST_LONG64);
    store_le16(cpu->xsave + FX_FCW, 0x37b);
    g_assert_cmpint(RUN(0xd9, 0xee, 0xd9, 0xe8, 0xd8, 0xf1, 0xdb, 0xe2, 0x9b), ==, NONE);

    /* Without CR0.NE the CPU stands still before the instruction, until there is IGNNE#. */
    set_mode(GUEST_LONG64);
    store_le16(cpu->xsave + FX_FCW, 0x37b);
    cpu->cr0 &= ~CR0_NE;
    const uint8_t code[] = { 0xd9, 0xee, 0xd9, 0xe8, 0xd8, 0xf1, 0x9b };
    uint64_t      end    = cpu->rip + sizeof code;
    g_assert_cmpint(guest_run_code(guest, 0, code, sizeof code), ==, X86_EXIT_HALT);
    g_assert_cmphex(cpu->rip, ==, end - 1);
    g_assert_true(cpu->ferr);
    g_assert_false(x86_has_wakeup(cpu));
    atomic_store(&cpu->ignne, true);
    g_assert_true(x86_has_wakeup(cpu));
    g_assert_cmpint(guest_run(guest, 0), ==, X86_EXIT_HALT);
    g_assert_cmphex(cpu->rip, ==, end + 1); /* behind HLT */
    g_assert_cmphex(x86_fsw(cpu) & 0x80ff, ==, 0x8084);
    g_assert_true(cpu->ferr);
    atomic_store(&cpu->ignne, false);
    cpu->ferr = false;
}

/* A store that an unmasked exception keeps from happening, and one that precision does not. */
static void test_x87_store(void)
{
    set_mode(GUEST_LONG64);
    store_le16(cpu->xsave + FX_FCW, 0x377); /* overflow is not masked */
    store_le32(guest->host + GUEST_DATA, 0x12345678);
    memset(cpu->xsave + XSAVE_ST, 0xff, 8);
    store_le16(cpu->xsave + XSAVE_ST + 8, 0x7ffe);
    cpu->xsave[FX_FTW] = 1;
    g_assert_cmpint(RUN(0xd9, 0x1e), ==, NONE); /* fstp dword [rsi] */
    g_assert_cmphex(load_le32(guest->host + GUEST_DATA), ==, 0x12345678);
    g_assert_cmpint(cpu->xsave[FX_FTW], ==, 1); /* and not popped */

    set_mode(GUEST_LONG64);
    store_le16(cpu->xsave + FX_FCW, 0x35f); /* precision is not */
    store_le64(cpu->xsave + XSAVE_ST, UINT64_C(0x8000000000000001));
    store_le16(cpu->xsave + XSAVE_ST + 8, 0x3fff);
    cpu->xsave[FX_FTW] = 1;
    g_assert_cmpint(RUN(0xd9, 0x1e), ==, NONE);
    g_assert_cmphex(load_le32(guest->host + GUEST_DATA), ==, 0x3f800000);
    g_assert_cmpint(cpu->xsave[FX_FTW], ==, 0);
}

/* --- environments --- */

typedef struct EnvironmentCase {
    GuestMode mode;
    bool      prefix; /* 66h */
    uint8_t   len;
    uint32_t  words[7]; /* of 4 bytes or 2; FIP is relative to the code */
} EnvironmentCase;

/* After FLD DWORD [RSI or SI]: FOP 106h or, in 16-bit modes, 104h. */
static void test_environments(void)
{
    static const GuestMode modes[] = { GUEST_REAL, GUEST_PROTECTED16, GUEST_PROTECTED32, GUEST_LONG64 };

    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        for (unsigned prefix = 0; prefix < 2; prefix++) {
            bool sixteen = modes[i] == GUEST_REAL || modes[i] == GUEST_PROTECTED16;
            bool wide    = sixteen == prefix;
            set_mode(modes[i]);
            cpu->features[X86_FEATURE_ZERO_FCS_FDS / 32] &= ~(1u << X86_FEATURE_ZERO_FCS_FDS % 32);
            uint32_t rip = (uint32_t)cpu->rip, data = (uint32_t)cpu->gpr[X86_RSI];
            uint16_t cs = cpu->seg[X86_CS].selector, ds = cpu->seg[X86_DS].selector;
            /* fld dword [si or rsi]; [66h] fnstenv [same + 64] */
            uint8_t rm     = sixteen ? 4 : 6;
            uint8_t code[] = { 0xd9, rm, (uint8_t)(prefix ? 0x66 : 0x3e), 0xd9, (uint8_t)(0x70 | rm), 0x40 };
            g_assert_cmpint(run(code, sizeof code), ==, NONE);
            const uint8_t *e   = guest->host + data + 64;
            uint32_t       fop = 0x100u | rm;
            if (wide) {
                g_assert_cmphex(load_le32(e), ==, 0xffff037f);
                g_assert_cmphex(load_le32(e + 4), ==, 0xffff3800);
                g_assert_cmphex(load_le32(e + 8), ==, 0xffff7fff); /* a zero in R7 */
                bool real = modes[i] == GUEST_REAL;
                g_assert_cmphex(load_le32(e + 12), ==, real ? 0xffff0000u | rip : rip);
                g_assert_cmphex(load_le32(e + 16), ==, real ? fop : fop << 16 | cs);
                g_assert_cmphex(load_le32(e + 20), ==, real ? 0xffff0000u | data : data);
                g_assert_cmphex(load_le32(e + 24), ==, real ? 0 : 0xffff0000u | ds);
            } else {
                g_assert_cmphex(load_le16(e + 4), ==, 0x7fff);
                g_assert_cmphex(load_le16(e + 6), ==, (uint16_t)rip);
                g_assert_cmphex(load_le16(e + 8), ==, modes[i] == GUEST_REAL ? (rip >> 16) << 12 | fop : cs);
                g_assert_cmphex(load_le16(e + 10), ==, (uint16_t)data);
                g_assert_cmphex(load_le16(e + 12), ==, modes[i] == GUEST_REAL ? (data >> 16) << 12 : ds);
            }
            /* Exceptions are masked afterwards. */
            g_assert_cmphex(load_le16(cpu->xsave + FX_FCW) & 0x3f, ==, 0x3f);
        }
    }
}

/* FNSAVE and FRSTOR give back what was there, in all formats. */
static void test_save_restore(void)
{
    for (unsigned prefix = 0; prefix < 2; prefix++) {
        set_mode(GUEST_PROTECTED32);
        for (unsigned i = 0; i < 8; i++) {
            store_le64(cpu->xsave + XSAVE_ST + 16 * i, UINT64_C(0x8000000000000000) | i);
            store_le16(cpu->xsave + XSAVE_ST + 16 * i + 8, (uint16_t)(0x3fff + i));
        }
        store_le16(cpu->xsave + FX_FCW, 0xb7f);
        store_le16(cpu->xsave + FX_FSW, 0x2900);
        cpu->xsave[FX_FTW] = 0xe1;
        uint8_t before[XSAVE_XMM];
        memcpy(before, cpu->xsave, sizeof before);
        uint8_t p = prefix ? 0x66 : 0x3e;
        g_assert_cmpint(RUN(p, 0xdd, 0x36), ==, NONE); /* fnsave [esi] */
        g_assert_cmphex(load_le16(cpu->xsave + FX_FCW), ==, 0x37f);
        g_assert_cmpint(cpu->xsave[FX_FTW], ==, 0);
        cpu->rip = GUEST_CODE;
        g_assert_cmpint(RUN(p, 0xdd, 0x26), ==, NONE); /* frstor [esi] */
        g_assert_cmpmem(cpu->xsave, FX_FOP, before, FX_FOP);
        g_assert_cmpmem(cpu->xsave + XSAVE_ST, 128, before + XSAVE_ST, 128);
    }
}

/* What FXSAVE shows are the guest's addresses. */
static void test_no_host_addresses(void)
{
    set_mode(GUEST_LONG64);
    uint64_t rip = cpu->rip;
    /* fld1; fmul qword [rsi+8]; fxsave64 [rsi+64]; rdi + 1024: xsave64 */
    g_assert_cmpint(RUN(0xd9, 0xe8, 0xdc, 0x4e, 0x08, 0x48, 0x0f, 0xae, 0x46, 0x40), ==, NONE);
    const uint8_t *area = guest->host + GUEST_DATA + 64;
    g_assert_cmphex(load_le64(area + FX_FIP), ==, rip + 2);
    g_assert_cmphex(load_le64(area + FX_FDP), ==, GUEST_DATA + 8);
    g_assert_cmphex(load_le16(area + FX_FOP), ==, 0x44e);
    g_assert_cmphex(load_le32(area + 28), ==, x86_mxcsr_mask(cpu));
    for (unsigned i = 0; i < 512; i += 8) {
        uint64_t word = load_le64(area + i);
        g_assert_false(word >> 40 == 0x7f || word >> 40 == 0x55 || word >> 40 == 0x56);
    }
}

/* --- XSAVE --- */

static uint8_t *xsave_area(void)
{
    return guest->host + GUEST_DATA;
}

/* Components: 1 x87, 2 SSE, 4 AVX. */
static int run_xsave(uint8_t modrm_reg, uint8_t opcode, uint32_t mask)
{
    cpu->gpr[X86_RAX] = mask;
    cpu->gpr[X86_RDX] = 0;
    cpu->gpr[X86_RSI] = GUEST_DATA;
    cpu->rip          = GUEST_CODE;
    return RUN(0x48, 0x0f, opcode, (uint8_t)(modrm_reg << 3 | 6));
}

static void test_xsave(void)
{
    if (!x86_words_have(host_words, X86_FEATURE_AVX) || !x86_words_have(host_words, X86_FEATURE_XSAVEC)) {
        g_test_skip("the host has no AVX or XSAVEC");
        return;
    }
    set_mode(GUEST_LONG64);
    memset(cpu->xsave, 0, sizeof cpu->xsave);
    x86_fpu_init_state(cpu, 0x37f);
    set_mxcsr(0x1f80);

    /* Nothing in use: XSAVE writes the components, XSTATE_BV says that they are initial. */
    memset(xsave_area(), 0xee, 1024);
    g_assert_cmpint(run_xsave(4, 0xae, 7), ==, NONE);
    g_assert_cmphex(load_le64(xsave_area() + 512), ==, UINT64_C(0xeeeeeeeeeeeeeee8));
    g_assert_cmphex(load_le64(xsave_area() + 520), ==, UINT64_C(0xeeeeeeeeeeeeeeee));
    g_assert_cmphex(load_le64(xsave_area() + 160), ==, 0);
    g_assert_cmphex(load_le64(xsave_area() + 576), ==, 0);
    g_assert_cmphex(load_le64(xsave_area() + 416), ==, UINT64_C(0xeeeeeeeeeeeeeeee));

    /* XSAVEC leaves them out, but for the header; MXCSR alone brings SSE in. */
    memset(xsave_area(), 0xee, 1024);
    g_assert_cmpint(run_xsave(4, 0xc7, 7), ==, NONE);
    g_assert_cmphex(load_le64(xsave_area() + 512), ==, 0);
    g_assert_cmphex(load_le64(xsave_area() + 520), ==, UINT64_C(0x8000000000000007));
    g_assert_cmphex(load_le64(xsave_area() + 160), ==, UINT64_C(0xeeeeeeeeeeeeeeee));
    set_mxcsr(0x1fa0);
    g_assert_cmpint(run_xsave(4, 0xc7, 7), ==, NONE);
    g_assert_cmphex(load_le64(xsave_area() + 512), ==, 2);
    g_assert_cmphex(load_le32(xsave_area() + 24), ==, 0x1fa0);
    g_assert_cmphex(load_le64(xsave_area() + 160), ==, 0);

    /* Each component alone. */
    store_le64(x86_ymm_high(cpu, 5), 55);
    store_le64(x86_xmm(cpu, 6), 66);
    for (unsigned mask = 0; mask < 8; mask++) {
        memset(xsave_area(), 0, 1024);
        g_assert_cmpint(run_xsave(6, 0xae, mask), ==, NONE); /* XSAVEOPT */
        g_assert_cmphex(load_le64(xsave_area() + 512), ==, mask & 6);
        g_assert_cmphex(load_le64(xsave_area() + 160 + 96), ==, mask & 2 ? 66 : 0);
        g_assert_cmphex(load_le64(xsave_area() + 576 + 80), ==, mask & 4 ? 55 : 0);
        g_assert_cmphex(load_le32(xsave_area() + 24), ==, mask & 6 ? 0x1fa0 : 0);
    }

    /* XRSTOR: absent components become initial; MXCSR is loaded with SSE or AVX. */
    memset(xsave_area(), 0, 1024);
    store_le64(xsave_area() + 512, 4);
    store_le64(xsave_area() + 576 + 80, 77);
    store_le32(xsave_area() + 24, 0x1f80);
    g_assert_cmpint(run_xsave(5, 0xae, 7), ==, NONE);
    g_assert_cmphex(load_le64(x86_ymm_high(cpu, 5)), ==, 77);
    g_assert_cmphex(load_le64(x86_xmm(cpu, 6)), ==, 0);
    g_assert_cmphex(load_le32(cpu->xsave + XSAVE_MXCSR), ==, 0x1f80);
}

static void test_xrstor_refusals(void)
{
    static const struct {
        unsigned at;
        uint64_t value;
    } rows[] = {
        { 512, 8 },                            /* a component that XCR0 does not have */
        { 512, UINT64_C(1) << 63 },            /* no component at all */
        { 520, 1 },                            /* neither format */
        { 520, UINT64_C(0x8000000000000010) }, /* compacted, unknown component */
        { 528, 1 },                            /* reserved */
        { 24, 0x80000000 },                    /* MXCSR */
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        set_mode(GUEST_LONG64);
        memset(xsave_area(), 0, 1024);
        store_le64(xsave_area() + rows[i].at, rows[i].value);
        g_assert_cmpint(run_xsave(5, 0xae, 7), ==, X86_GP);
    }
    /* Compacted: XSTATE_BV outside XCOMP_BV, and reserved bytes behind. */
    set_mode(GUEST_LONG64);
    memset(xsave_area(), 0, 1024);
    store_le64(xsave_area() + 512, 3);
    store_le64(xsave_area() + 520, UINT64_C(0x8000000000000001));
    g_assert_cmpint(run_xsave(5, 0xae, 7), ==, X86_GP);
    set_mode(GUEST_LONG64);
    memset(xsave_area(), 0, 1024);
    store_le64(xsave_area() + 520, UINT64_C(0x8000000000000001));
    store_le64(xsave_area() + 568, 1);
    g_assert_cmpint(run_xsave(5, 0xae, 7), ==, X86_GP);
    /* Misaligned. */
    set_mode(GUEST_LONG64);
    cpu->gpr[X86_RSI] += 32;
    g_assert_cmpint(RUN(0x0f, 0xae, 0x2e), ==, X86_GP);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    guest = guest_new(1);
    cpu   = guest->cpus[0];
    x86_host_features(host_words);
    g_test_add_func("/vector/control-registers", test_gates);
    g_test_add_func("/vector/cpuid", test_cpuid);
    g_test_add_func("/vector/simd-exception", test_simd_exception);
    g_test_add_func("/vector/x87-exception", test_x87_exception);
    g_test_add_func("/vector/x87-store", test_x87_store);
    g_test_add_func("/vector/environments", test_environments);
    g_test_add_func("/vector/save-restore", test_save_restore);
    g_test_add_func("/vector/no-host-addresses", test_no_host_addresses);
    g_test_add_func("/vector/xsave", test_xsave);
    g_test_add_func("/vector/xrstor-refusals", test_xrstor_refusals);
    int result = g_test_run();
    guest_free(guest);
    return result;
}
