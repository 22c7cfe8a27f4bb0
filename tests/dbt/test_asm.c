/* accel/dbt/asm.c: every form, with every register and kind of address, decodes in Zydis to what was asked for. */

#include "accel/dbt/asm.h"

#include <Zydis/Zydis.h>
#include <glib.h>

static uint8_t                 buffer[64];
static Asm                     a;
static ZydisDecodedInstruction z;
static ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];

static void begin(void)
{
    a = (Asm){ .start = buffer, .p = buffer, .end = buffer + sizeof buffer };
}

/* What was emitted is one instruction. */
static void decode(void)
{
    ZydisDecoder decoder;
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    g_assert_false(a.full);
    g_assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, buffer, asm_offset(&a), &z, op)));
    g_assert_cmpuint(z.length, ==, asm_offset(&a));
}

static ZydisRegister gpr(unsigned n, unsigned size)
{
    switch (size) {
    case 1: return n < 4 ? ZYDIS_REGISTER_AL + n : ZYDIS_REGISTER_SPL + n - 4;
    case 2: return ZYDIS_REGISTER_AX + n;
    case 4: return ZYDIS_REGISTER_EAX + n;
    default: return ZYDIS_REGISTER_RAX + n;
    }
}

static void expect_name(ZydisMnemonic m)
{
    g_assert_cmpstr(ZydisMnemonicGetString(z.mnemonic), ==, ZydisMnemonicGetString(m));
}

static void expect_reg(unsigned n, ZydisRegister reg)
{
    g_assert_cmpuint(op[n].type, ==, ZYDIS_OPERAND_TYPE_REGISTER);
    g_assert_cmpstr(ZydisRegisterGetString(op[n].reg.value), ==, ZydisRegisterGetString(reg));
}

static void expect_mem(unsigned n, const HostMem *m)
{
    ZydisRegister base  = m->base == H_NONE ? ZYDIS_REGISTER_NONE : gpr(m->base, 8);
    ZydisRegister index = m->index == H_NONE ? ZYDIS_REGISTER_NONE : gpr(m->index, 8);
    int64_t       disp  = op[n].mem.disp.has_displacement ? op[n].mem.disp.value : 0;
    g_assert_cmpuint(op[n].type, ==, ZYDIS_OPERAND_TYPE_MEMORY);
    g_assert_cmpstr(ZydisRegisterGetString(op[n].mem.base), ==, ZydisRegisterGetString(base));
    g_assert_cmpstr(ZydisRegisterGetString(op[n].mem.index), ==, ZydisRegisterGetString(index));
    if (m->index != H_NONE) {
        g_assert_cmpuint(op[n].mem.scale, ==, 1u << m->scale);
    }
    g_assert_cmpint(disp, ==, m->disp);
}

static void expect_imm(unsigned n, int64_t imm)
{
    g_assert_cmpuint(op[n].type, ==, ZYDIS_OPERAND_TYPE_IMMEDIATE);
    g_assert_cmpint(op[n].imm.value.s, ==, imm);
}

/* Calls `with` for all kinds of addresses. */
static void each_address(void (*with)(const HostMem *m))
{
    static const int32_t disps[] = { 0, 1, 127, 128, -128, -129, INT32_MAX, INT32_MIN };
    for (unsigned base = 0; base <= 16; base++) {
        for (unsigned index = 0; index <= 16; index++) {
            if (index == H_RSP) {
                continue; /* cannot be an index */
            }
            for (unsigned k = 0; k < 4 * G_N_ELEMENTS(disps); k++) {
                with(&(HostMem){ .base  = base == 16 ? H_NONE : (uint8_t)base,
                                 .index = index == 16 ? H_NONE : (uint8_t)index,
                                 .scale = k & 3,
                                 .disp  = disps[k / 4] });
            }
        }
    }
}

/* --- asm_emit --- */

static void test_registers(void)
{
    static const unsigned sizes[] = { 1, 2, 4, 8 };
    for (unsigned reg = 0; reg < 16; reg++) {
        for (unsigned rm = 0; rm < 16; rm++) {
            for (unsigned i = 0; i < 4; i++) {
                unsigned size = sizes[i];
                begin();
                asm_emit(&a, &(Enc){ .prefix   = size == 2 ? 0x66 : 0,
                                     .w        = size == 8,
                                     .op       = size == 1 ? 0x00 : 0x01,
                                     .reg      = (uint8_t)reg,
                                     .rm       = (uint8_t)rm,
                                     .byte_reg = size == 1,
                                     .byte_rm  = size == 1 });
                decode();
                expect_name(ZYDIS_MNEMONIC_ADD);
                expect_reg(0, gpr(rm, size));
                expect_reg(1, gpr(reg, size));
            }
            begin(); /* MOVZX: only one of the two is a byte */
            asm_emit(
                &a,
                &(Enc){ .w = reg & 1, .map = 1, .op = 0xb6, .reg = (uint8_t)reg, .rm = (uint8_t)rm, .byte_rm = true });
            decode();
            expect_name(ZYDIS_MNEMONIC_MOVZX);
            expect_reg(0, gpr(reg, reg & 1 ? 8 : 4));
            expect_reg(1, gpr(rm, 1));
            for (unsigned w = 0; w < 2; w++) {
                begin();
                asm_emit(
                    &a, &(Enc){ .prefix = 0xf3, .w = w, .map = 1, .op = 0xb8, .reg = (uint8_t)reg, .rm = (uint8_t)rm });
                decode();
                expect_name(ZYDIS_MNEMONIC_POPCNT);
                expect_reg(0, gpr(reg, w ? 8 : 4));
                expect_reg(1, gpr(rm, w ? 8 : 4));
                begin();
                asm_emit(
                    &a, &(Enc){ .prefix = 0xf2, .w = w, .map = 2, .op = 0xf1, .reg = (uint8_t)reg, .rm = (uint8_t)rm });
                decode();
                expect_name(ZYDIS_MNEMONIC_CRC32);
                expect_reg(0, gpr(reg, w ? 8 : 4));
                expect_reg(1, gpr(rm, w ? 8 : 4));
                begin();
                asm_emit(&a, &(Enc){ .prefix   = 0x66,
                                     .map      = 3,
                                     .op       = 0x0f,
                                     .reg      = (uint8_t)reg,
                                     .rm       = (uint8_t)rm,
                                     .imm      = 7,
                                     .imm_size = 1 });
                decode();
                expect_name(ZYDIS_MNEMONIC_PALIGNR);
                expect_reg(0, ZYDIS_REGISTER_XMM0 + reg);
                expect_reg(1, ZYDIS_REGISTER_XMM0 + rm);
                expect_imm(2, 7);
            }
        }
    }
}

static void test_high_bytes(void)
{
    static const ZydisRegister names[] = { ZYDIS_REGISTER_AL, ZYDIS_REGISTER_CL, ZYDIS_REGISTER_DL, ZYDIS_REGISTER_BL,
                                           ZYDIS_REGISTER_AH, ZYDIS_REGISTER_CH, ZYDIS_REGISTER_DH, ZYDIS_REGISTER_BH };
    for (unsigned reg = 0; reg < 8; reg++) {
        for (unsigned rm = 0; rm < 8; rm++) {
            begin();
            asm_emit(&a, &(Enc){ .op       = 0x88,
                                 .reg      = (uint8_t)reg,
                                 .rm       = (uint8_t)rm,
                                 .byte_reg = true,
                                 .byte_rm  = true,
                                 .no_rex   = true });
            decode();
            expect_name(ZYDIS_MNEMONIC_MOV);
            expect_reg(0, names[rm]);
            expect_reg(1, names[reg]);
        }
        begin();
        asm_emit(&a, &(Enc){ .op       = 0x88,
                             .reg      = (uint8_t)reg,
                             .memory   = true,
                             .mem      = asm_at(H_RCX, 0),
                             .byte_reg = true,
                             .no_rex   = true });
        decode();
        expect_reg(1, names[reg]);
    }
}

static unsigned reg_for_address;

static void emit_address(const HostMem *m)
{
    unsigned reg = reg_for_address++ & 15;
    begin();
    asm_emit(&a, &(Enc){ .w = true, .op = 0x8b, .reg = (uint8_t)reg, .memory = true, .mem = *m });
    decode();
    expect_name(ZYDIS_MNEMONIC_MOV);
    expect_reg(0, gpr(reg, 8));
    expect_mem(1, m);

    begin(); /* an extension, a displacement and an immediate; a byte: no REX because of the address */
    asm_emit(&a, &(Enc){ .op = 0x80, .reg = 7, .memory = true, .mem = *m, .byte_rm = true, .imm = -2, .imm_size = 1 });
    decode();
    expect_name(ZYDIS_MNEMONIC_CMP);
    expect_mem(0, m);
    expect_imm(1, -2);

    begin();
    asm_emit(&a, &(Enc){ .lock = true, .op = 0x29, .reg = (uint8_t)reg, .memory = true, .mem = *m });
    decode();
    expect_name(ZYDIS_MNEMONIC_SUB);
    g_assert_true(z.attributes & ZYDIS_ATTRIB_HAS_LOCK);
    expect_mem(0, m);
    expect_reg(1, gpr(reg, 4));

    begin();
    asm_emit(&a, &(Enc){ .vex    = true,
                         .map    = 2,
                         .op     = 0xf2,
                         .w      = true,
                         .reg    = (uint8_t)reg,
                         .vvvv   = (uint8_t)(15 - reg),
                         .memory = true,
                         .mem    = *m });
    decode();
    expect_name(ZYDIS_MNEMONIC_ANDN);
    expect_reg(0, gpr(reg, 8));
    expect_reg(1, gpr(15 - reg, 8));
    expect_mem(2, m);

    begin();
    asm_lea(&a, reg & 1, reg, *m);
    decode();
    expect_name(ZYDIS_MNEMONIC_LEA);
    expect_reg(0, gpr(reg, reg & 1 ? 8 : 4));
    expect_mem(1, m);

    begin();
    asm_rm(&a, reg & 1, 0x03, reg, *m);
    decode();
    expect_name(ZYDIS_MNEMONIC_ADD);
    expect_reg(0, gpr(reg, reg & 1 ? 8 : 4));
    expect_mem(1, m);

    begin();
    asm_load(&a, reg, *m);
    decode();
    expect_reg(0, gpr(reg, 8));
    expect_mem(1, m);

    begin();
    asm_store(&a, *m, reg);
    decode();
    expect_mem(0, m);
    expect_reg(1, gpr(reg, 8));
}

static void test_addresses(void)
{
    each_address(emit_address);
    HostMem frame = asm_frame(0x1234), at = asm_at(H_R13, 0);
    g_assert_true(frame.base == H_RSP && frame.index == H_NONE && frame.disp == 0x1234);
    g_assert_true(at.base == H_R13 && at.index == H_NONE && at.disp == 0);
}

static void test_vex(void)
{
    static const struct {
        uint8_t       prefix, map, op, imm;
        bool          two; /* operands beside an immediate */
        ZydisMnemonic name;
    } rows[] = {
        { 0, 2, 0xf2, 0, false, ZYDIS_MNEMONIC_ANDN },    { 0, 2, 0xf5, 0, false, ZYDIS_MNEMONIC_BZHI },
        { 0x66, 2, 0xf7, 0, false, ZYDIS_MNEMONIC_SHLX }, { 0xf3, 2, 0xf7, 0, false, ZYDIS_MNEMONIC_SARX },
        { 0xf2, 2, 0xf7, 0, false, ZYDIS_MNEMONIC_SHRX }, { 0xf3, 2, 0xf5, 0, false, ZYDIS_MNEMONIC_PEXT },
        { 0xf2, 2, 0xf5, 0, false, ZYDIS_MNEMONIC_PDEP }, { 0, 2, 0xf7, 0, false, ZYDIS_MNEMONIC_BEXTR },
        { 0xf2, 3, 0xf0, 1, true, ZYDIS_MNEMONIC_RORX },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows) * 256; i++) {
        unsigned reg = i & 15, rm = i >> 4 & 15, n = i >> 8, vvvv = (reg + 3 * rm) & 15;
        for (unsigned w = 0; w < 2; w++) {
            begin();
            asm_emit(&a, &(Enc){ .vex      = true,
                                 .prefix   = rows[n].prefix,
                                 .map      = rows[n].map,
                                 .op       = rows[n].op,
                                 .w        = w,
                                 .reg      = (uint8_t)reg,
                                 .rm       = (uint8_t)rm,
                                 .vvvv     = (uint8_t)(rows[n].two ? 0 : vvvv),
                                 .imm      = 5,
                                 .imm_size = rows[n].imm });
            decode();
            expect_name(rows[n].name);
            expect_reg(0, gpr(reg, w ? 8 : 4));
            if (rows[n].two) {
                expect_reg(1, gpr(rm, w ? 8 : 4));
                expect_imm(2, 5);
            } else {
                bool andn = z.mnemonic == ZYDIS_MNEMONIC_ANDN || z.mnemonic == ZYDIS_MNEMONIC_PEXT ||
                            z.mnemonic == ZYDIS_MNEMONIC_PDEP;
                expect_reg(andn ? 1 : 2, gpr(vvvv, w ? 8 : 4));
                expect_reg(andn ? 2 : 1, gpr(rm, w ? 8 : 4));
            }
        }
    }
    begin(); /* 256 bits */
    asm_emit(&a,
             &(Enc){ .vex = true, .prefix = 0x66, .map = 1, .op = 0xfe, .l = true, .reg = 9, .vvvv = 10, .rm = 11 });
    decode();
    expect_name(ZYDIS_MNEMONIC_VPADDD);
    expect_reg(0, ZYDIS_REGISTER_YMM9);
    expect_reg(1, ZYDIS_REGISTER_YMM10);
    expect_reg(2, ZYDIS_REGISTER_YMM11);
}

/* --- the short ones --- */

static void test_short(void)
{
    for (unsigned i = 0; i < 256; i++) {
        unsigned x = i & 15, y = i >> 4;
        for (unsigned w = 0; w < 2; w++) {
            begin();
            asm_rr(&a, w, 0x2b, x, y);
            decode();
            expect_name(ZYDIS_MNEMONIC_SUB);
            expect_reg(0, gpr(x, w ? 8 : 4));
            expect_reg(1, gpr(y, w ? 8 : 4));
        }
        begin();
        asm_mov(&a, x, y);
        decode();
        expect_name(ZYDIS_MNEMONIC_MOV);
        expect_reg(0, gpr(x, 8));
        expect_reg(1, gpr(y, 8));
        begin();
        asm_mov32(&a, x, y);
        decode();
        expect_name(ZYDIS_MNEMONIC_MOV);
        expect_reg(0, gpr(x, 4));
        expect_reg(1, gpr(y, 4));
    }
}

static void test_immediates(void)
{
    static const ZydisMnemonic names[] = { ZYDIS_MNEMONIC_ADD, ZYDIS_MNEMONIC_OR,  ZYDIS_MNEMONIC_ADC,
                                           ZYDIS_MNEMONIC_SBB, ZYDIS_MNEMONIC_AND, ZYDIS_MNEMONIC_SUB,
                                           ZYDIS_MNEMONIC_XOR, ZYDIS_MNEMONIC_CMP };
    static const int32_t       imms[]  = { 0, 1, -1, 127, 128, -128, -129, INT32_MAX, INT32_MIN };
    static const uint64_t      wide[]  = { 0,
                                           1,
                                           INT32_MAX,
                                           UINT64_C(1) << 31,
                                           UINT32_MAX,
                                           UINT64_C(1) << 32,
                                           (uint64_t)INT32_MIN,
                                           (uint64_t)INT32_MIN - 1,
                                           UINT64_MAX,
                                           UINT64_C(0x123456789abcdef0) };
    for (unsigned reg = 0; reg < 16; reg++) {
        for (unsigned ext = 0; ext < 8; ext++) {
            for (unsigned i = 0; i < 2 * G_N_ELEMENTS(imms); i++) {
                begin();
                asm_ri(&a, i & 1, ext, reg, imms[i / 2]);
                decode();
                expect_name(names[ext]);
                expect_reg(0, gpr(reg, i & 1 ? 8 : 4));
                g_assert_cmpint((int32_t)op[1].imm.value.s, ==, imms[i / 2]);
            }
        }
        for (unsigned i = 0; i < G_N_ELEMENTS(wide); i++) {
            begin();
            asm_mov_imm(&a, reg, wide[i]);
            decode();
            expect_name(ZYDIS_MNEMONIC_MOV);
            bool narrow = wide[i] <= UINT32_MAX;
            expect_reg(0, gpr(reg, narrow ? 4 : 8));
            g_assert_cmphex(narrow ? (uint32_t)op[1].imm.value.u : op[1].imm.value.u, ==, wide[i]);
            begin();
            asm_mov_imm64(&a, reg, wide[i]);
            decode();
            g_assert_cmpuint(z.length, ==, 10);
            expect_reg(0, gpr(reg, 8));
            g_assert_cmphex(op[1].imm.value.u, ==, wide[i]);
        }
    }
}

static void test_branches(void)
{
    static const int32_t       rels[]  = { 0, 1, -1, 127, 128, -129, INT32_MAX, INT32_MIN };
    static const ZydisMnemonic names[] = { ZYDIS_MNEMONIC_JO,  ZYDIS_MNEMONIC_JNO,  ZYDIS_MNEMONIC_JB,
                                           ZYDIS_MNEMONIC_JNB, ZYDIS_MNEMONIC_JZ,   ZYDIS_MNEMONIC_JNZ,
                                           ZYDIS_MNEMONIC_JBE, ZYDIS_MNEMONIC_JNBE, ZYDIS_MNEMONIC_JS,
                                           ZYDIS_MNEMONIC_JNS, ZYDIS_MNEMONIC_JP,   ZYDIS_MNEMONIC_JNP,
                                           ZYDIS_MNEMONIC_JL,  ZYDIS_MNEMONIC_JNL,  ZYDIS_MNEMONIC_JLE,
                                           ZYDIS_MNEMONIC_JNLE };
    for (unsigned i = 0; i < G_N_ELEMENTS(rels); i++) {
        for (unsigned cc = CC_O; cc <= CC_G; cc++) {
            begin();
            asm_jcc(&a, cc, rels[i]);
            decode();
            expect_name(names[cc]);
            expect_imm(0, rels[i]);
            g_assert_cmpuint(z.length, ==, 6);
        }
        begin();
        asm_jmp(&a, rels[i]);
        decode();
        expect_name(ZYDIS_MNEMONIC_JMP);
        expect_imm(0, rels[i]);
        begin();
        asm_call(&a, rels[i]);
        decode();
        expect_name(ZYDIS_MNEMONIC_CALL);
        expect_imm(0, rels[i]);
    }
}

static void test_nops(void)
{
    for (unsigned n = 0; n < 40; n++) {
        begin();
        asm_nops(&a, n);
        g_assert_cmpuint(asm_offset(&a), ==, n);
        ZydisDecoder decoder;
        ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
        for (unsigned at = 0; at < n; at += z.length) {
            g_assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, buffer + at, n - at, &z, op)));
            expect_name(ZYDIS_MNEMONIC_NOP);
        }
    }
}

/* What does not fit is not written, and is not forgotten. */
static void test_full(void)
{
    for (unsigned room = 0; room < 10 + ASM_ROOM; room++) {
        memset(buffer, 0xcc, sizeof buffer);
        a = (Asm){ .start = buffer, .p = buffer, .end = buffer + room };
        asm_mov_imm64(&a, H_R12, UINT64_MAX / 3);
        asm_ri(&a, true, 0, H_RBX, 100000);
        g_assert_true(a.full);
        g_assert_true(a.p <= a.end);
        for (unsigned i = room; i < sizeof buffer; i++) {
            g_assert_cmphex(buffer[i], ==, 0xcc);
        }
    }
    a = (Asm){ .start = buffer, .p = buffer, .end = buffer + 10 + ASM_ROOM };
    asm_mov_imm64(&a, H_R12, UINT64_MAX / 3);
    asm_ri(&a, true, 0, H_RBX, 100000);
    g_assert_false(a.full);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dbt/asm/registers", test_registers);
    g_test_add_func("/dbt/asm/high-bytes", test_high_bytes);
    g_test_add_func("/dbt/asm/addresses", test_addresses);
    g_test_add_func("/dbt/asm/vex", test_vex);
    g_test_add_func("/dbt/asm/short", test_short);
    g_test_add_func("/dbt/asm/immediates", test_immediates);
    g_test_add_func("/dbt/asm/branches", test_branches);
    g_test_add_func("/dbt/asm/nops", test_nops);
    g_test_add_func("/dbt/asm/full", test_full);
    return g_test_run();
}
