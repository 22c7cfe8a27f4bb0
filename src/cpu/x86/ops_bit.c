/* Bit tests and scans, counts, BMI, ADX, CRC32.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run(). */

#include "cpu/x86/ops.h"

#define SOURCE(bits) (in->flags & X86_INSN_MEMORY ? LOAD_OPERAND(bits, cpu, in) : REG##bits(cpu, in->rm))

/* --- BT, BTS, BTR, BTC --- */

#define BIT_TEST(op, writes, bits)                                                                                     \
    static void op##bits##_r(X86Cpu *cpu, const X86Insn *in)                                                           \
    {                                                                                                                  \
        uint16_t       flags = cpu->arith;                                                                             \
        uint##bits##_t a     = REG##bits(cpu, in->reg);                                                                \
        uint##bits##_t b     = in->aux ? REG##bits(cpu, in->rm) : (uint##bits##_t)in->imm;                             \
        __asm__(LOAD_FLAGS #op " %[b], %[a]" SAVE_FLAGS : [a] "+r"(a), "+a"(flags) : [b] "r"(b) : "cc");               \
        cpu->arith = flags;                                                                                            \
        if (writes) {                                                                                                  \
            x86_set##bits(cpu, in->reg, a);                                                                            \
        }                                                                                                              \
    }                                                                                                                  \
    static void op##bits##_m(X86Cpu *cpu, const X86Insn *in)                                                           \
    {                                                                                                                  \
        uint16_t       flags = cpu->arith;                                                                             \
        uint##bits##_t b     = (uint##bits##_t)in->imm;                                                                \
        uint64_t       linear;                                                                                         \
        if (in->aux) { /* a bit string: the register is a signed distance */                                           \
            X86Insn moved = *in;                                                                                       \
            b             = REG##bits(cpu, in->rm);                                                                    \
            moved.disp += (int64_t)((int##bits##_t)b >> __builtin_ctz(bits)) * (bits / 8);                             \
            linear = x86_ea(cpu, &moved, bits / 8, writes ? X86_WRITE : X86_READ);                                     \
        } else {                                                                                                       \
            linear = x86_ea(cpu, in, bits / 8, writes ? X86_WRITE : X86_READ);                                         \
        }                                                                                                              \
        b &= bits - 1;                                                                                                 \
        if (!writes) {                                                                                                 \
            uint##bits##_t a = LOAD(bits, cpu, in, linear);                                                            \
            __asm__(LOAD_FLAGS "bt %[b], %[a]" SAVE_FLAGS : "+a"(flags) : [a] "r"(a), [b] "r"(b) : "cc");              \
            cpu->arith = flags;                                                                                        \
            return;                                                                                                    \
        }                                                                                                              \
        X86Rmw          rmw;                                                                                           \
        bool            locked = in->prefixes & X86_PREFIX_LOCK;                                                       \
        X86Guest##bits *at     = x86_rmw_begin(cpu, linear, bits / 8, locked, in->seg == X86_SS, &rmw);                \
        if (locked) {                                                                                                  \
            __asm__ volatile(LOAD_FLAGS LOCKED_##op SUFFIX_##bits " %[b], %[a]" SAVE_FLAGS                             \
                             : [a] "+m"(*at), "+&a"(flags)                                                             \
                             : [b] "r"(b)                                                                              \
                             : "cc", "memory");                                                                        \
        } else {                                                                                                       \
            uint##bits##_t a = x86_guest_get##bits(at);                                                                \
            __asm__(LOAD_FLAGS #op " %[b], %[a]" SAVE_FLAGS : [a] "+r"(a), "+a"(flags) : [b] "r"(b) : "cc");           \
            x86_guest_put##bits(at, a);                                                                                \
        }                                                                                                              \
        cpu->arith = flags;                                                                                            \
        x86_rmw_end(cpu, &rmw);                                                                                        \
    }

#define LOCKED_bt  "bt" /* never reached */
#define LOCKED_bts "lock bts"
#define LOCKED_btr "lock btr"
#define LOCKED_btc "lock btc"

#define BIT_TEST_SIZES(op, writes) BIT_TEST(op, writes, 16) BIT_TEST(op, writes, 32) BIT_TEST(op, writes, 64)
BIT_TEST_SIZES(bt, false)
BIT_TEST_SIZES(bts, true)
BIT_TEST_SIZES(btr, true)
BIT_TEST_SIZES(btc, true)

#define BIT_TEST_FORMS(op)                                                                                             \
    {                                                                                                                  \
        { op##16_r, op##32_r, op##64_r },                                                                              \
        {                                                                                                              \
            op##16_m, op##32_m, op##64_m                                                                               \
        }                                                                                                              \
    }
static const X86Handler bit_test_handlers[4][2][3] = { BIT_TEST_FORMS(bt), BIT_TEST_FORMS(bts), BIT_TEST_FORMS(btr),
                                                       BIT_TEST_FORMS(btc) };

bool x86_decode_bit_test(X86Decode *d)
{
    X86Insn *in  = d->in;
    bool     mem = x86_is_mem(&d->op[0]);

    in->aux = x86_is_reg(&d->op[1]);
    in->reg = mem ? X86_NO_REG : x86_decode_register(d->op[0].reg.value);
    in->rm  = in->aux ? x86_decode_register(d->op[1].reg.value) : X86_NO_REG;
    in->run = bit_test_handlers[d->arg][mem][x86_size_index(d->op[0].size / 8) - 1];
    return true;
}

/* --- BSF, BSR, TZCNT, LZCNT, POPCNT --- */

/* On whole registers: the host decides what a 32-bit destination becomes when the source is 0. */
#define SCAN(op, bits, letter)                                                                                         \
    static void op##bits(X86Cpu *cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        uint16_t flags = cpu->arith;                                                                                   \
        uint64_t a = cpu->gpr[in->reg], b = SOURCE(bits);                                                              \
        __asm__(LOAD_FLAGS #op " %" letter "[b], %" letter "[a]" SAVE_FLAGS                                            \
                : [a] "+r"(a), "+a"(flags)                                                                             \
                : [b] "r"(b)                                                                                           \
                : "cc");                                                                                               \
        cpu->arith        = flags;                                                                                     \
        cpu->gpr[in->reg] = a;                                                                                         \
    }
#define SCAN_SIZES(op) SCAN(op, 16, "w") SCAN(op, 32, "k") SCAN(op, 64, "q")
SCAN_SIZES(bsf)
SCAN_SIZES(bsr)
SCAN_SIZES(tzcnt)
SCAN_SIZES(lzcnt)
SCAN_SIZES(popcnt)

#define SCAN_FORMS(op)                                                                                                 \
    {                                                                                                                  \
        op##16, op##32, op##64                                                                                         \
    }
static const X86Handler scan_handlers[][3] = { SCAN_FORMS(bsf), SCAN_FORMS(bsr), SCAN_FORMS(tzcnt), SCAN_FORMS(lzcnt),
                                               SCAN_FORMS(popcnt) };

bool x86_decode_bit_scan(X86Decode *d)
{
    d->in->run = scan_handlers[d->arg][x86_size_index(d->op[0].size / 8) - 1];
    return true;
}

/* --- BMI --- */

/* dst = op(a, b) with flags; `order` says which operand is ModRM.rm and which VEX.vvvv, in AT&T order. */
#define BMI3(op, bits, first, second)                                                                                  \
    static void op##bits(X86Cpu *cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        uint16_t       flags = cpu->arith;                                                                             \
        uint##bits##_t rm = SOURCE(bits), v = REG##bits(cpu, in->reg3), to;                                            \
        __asm__(LOAD_FLAGS #op " %[" first "], %[" second "], %[to]" SAVE_FLAGS                                        \
                : [to] "=&r"(to), "+&a"(flags)                                                                         \
                : [rm] "r"(rm), [v] "r"(v)                                                                             \
                : "cc");                                                                                               \
        cpu->arith = flags;                                                                                            \
        x86_set##bits(cpu, in->reg, to);                                                                               \
    }
#define BMI2(op, bits)                                                                                                 \
    static void op##bits(X86Cpu *cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        uint16_t       flags = cpu->arith;                                                                             \
        uint##bits##_t rm    = SOURCE(bits), to;                                                                       \
        __asm__(LOAD_FLAGS #op " %[rm], %[to]" SAVE_FLAGS : [to] "=&r"(to), "+&a"(flags) : [rm] "r"(rm) : "cc");       \
        cpu->arith = flags;                                                                                            \
        x86_set##bits(cpu, in->reg3, to);                                                                              \
    }

BMI3(andn, 32, "rm", "v")
BMI3(andn, 64, "rm", "v")
BMI3(bextr, 32, "v", "rm")
BMI3(bextr, 64, "v", "rm")
BMI3(bzhi, 32, "v", "rm")
BMI3(bzhi, 64, "v", "rm")
BMI3(pdep, 32, "rm", "v")
BMI3(pdep, 64, "rm", "v")
BMI3(pext, 32, "rm", "v")
BMI3(pext, 64, "rm", "v")
BMI2(blsi, 32)
BMI2(blsi, 64)
BMI2(blsmsk, 32)
BMI2(blsmsk, 64)
BMI2(blsr, 32)
BMI2(blsr, 64)

bool x86_decode_bmi(X86Decode *d)
{
    static const X86Handler handlers[][2] = { { andn32, andn64 }, { bextr32, bextr64 },  { bzhi32, bzhi64 },
                                              { pdep32, pdep64 }, { pext32, pext64 },    { blsi32, blsi64 },
                                              { blsr32, blsr64 }, { blsmsk32, blsmsk64 } };

    /* ModRM.reg, ModRM.rm and VEX.vvvv are in reg, rm and reg3. */
    d->in->run = handlers[d->arg][d->op[0].size == 64];
    return true;
}

/* --- ADCX, ADOX --- */

#define ADX(op, bits)                                                                                                  \
    static void op##bits(X86Cpu *cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        uint16_t       flags = cpu->arith;                                                                             \
        uint##bits##_t b = SOURCE(bits), a = REG##bits(cpu, in->reg);                                                  \
        __asm__(LOAD_FLAGS #op " %[b], %[a]" SAVE_FLAGS : [a] "+r"(a), "+a"(flags) : [b] "r"(b) : "cc");               \
        cpu->arith = flags;                                                                                            \
        x86_set##bits(cpu, in->reg, a);                                                                                \
    }
ADX(adcx, 32)
ADX(adcx, 64)
ADX(adox, 32)
ADX(adox, 64)

bool x86_decode_adx(X86Decode *d)
{
    static const X86Handler handlers[][2] = { { adcx32, adcx64 }, { adox32, adox64 } };

    d->in->run = handlers[d->arg][d->op[0].size == 64];
    return true;
}

/* --- CRC32 --- */

#define CRC32(bits, suffix, modifier)                                                                                  \
    static void crc32_##bits(X86Cpu *cpu, const X86Insn *in)                                                           \
    {                                                                                                                  \
        uint##bits##_t b = SOURCE(bits);                                                                               \
        uint64_t       a = REG32(cpu, in->reg);                                                                        \
        __asm__("crc32" suffix " %[b], %" modifier "[a]" : [a] "+r"(a) : [b] "q"(b));                                  \
        cpu->gpr[in->reg] = a;                                                                                         \
    }
CRC32(8, "b", "k")
CRC32(16, "w", "k")
CRC32(32, "l", "k")
CRC32(64, "q", "q")

bool x86_decode_crc32(X86Decode *d)
{
    static const X86Handler handlers[] = { crc32_8, crc32_16, crc32_32, crc32_64 };

    d->in->run = handlers[x86_size_index(d->op[1].size / 8)];
    return true;
}
