/* Nothing of the host shows: what FXSAVE, XSAVE, FNSTENV and FNSAVE store after x87 and SSE instructions, with and
 * without faults between them. The instruction pointer is the guest's or 0, the data pointer the operand's or 0.
 * test_leak.py looks through all of memory afterwards ("hold=1"). */

#include "rt/rt.h"

enum {
    CODE_AT = WINDOW,
    STACK   = WINDOW + 0x10000,
    DATA    = WINDOW + 0x20000,
    IMAGE   = WINDOW + 0x30000,
    ABSENT  = DATA + PAGE
};
enum { N_MODES = 3, FILL = 0x5a };

/* rsi: an operand; rdi: the image. Operands are 3.0 as double, then other things. */
#define THREE(id, text)                                                                                                \
    CODE(id##_64, ".set S, %rsi\n.set D, %rdi\n.set N16, 0\n" text)                                                    \
    CODE32(id##_32, ".set S, %esi\n.set D, %edi\n.set N16, 0\n" text)                                                  \
    CODE16(id##_16, ".set S, %esi\n.set D, %edi\n.set N16, 1\n" text)

typedef enum Format { FORMAT_NONE, FORMAT_FX, FORMAT_FX64, FORMAT_ENV32, FORMAT_ENV16 } Format;

typedef struct Text {
    const char *name;
    const u8   *code[N_MODES], *end[N_MODES];
    Format      format; /* of what it saves */
} Text;

#define TEXT(section_, id, format, text)                                                                               \
    THREE(id, text)                                                                                                    \
    static const Text text_##id __attribute__((section(section_), used, aligned(8))) = {                               \
        #id, { id##_64, id##_32, id##_16 }, { id##_64_end, id##_32_end, id##_16_end }, format                          \
    };
#define WORK(id, text)         TEXT("works", id, FORMAT_NONE, text)
#define SAVE(id, format, text) TEXT("saves", id, format, text)
#define SAVE64(id, format, text)                                                                                       \
    CODE(id##_64, text)                                                                                                \
    static const Text text_##id                                                                                        \
        __attribute__((section("saves"), used, aligned(8))) = { #id, { id##_64 }, { id##_64_end }, format };

WORK(w_none, "nop")
WORK(w_load, "fldl (S)")
WORK(w_register, "fld1\n fldpi\n faddp")
WORK(w_store, "fld1\n fstps 64(S)")
WORK(w_divide, "fld1\n fldz\n fdivrp")
WORK(w_invalid, "fld1\n fchs\n fsqrt")
WORK(w_stack, "fstpl 64(S)\n fstp %st(0)") /* stack faults, masked */
WORK(w_long, "fldt 32(S)\n fsin\n fpatan")
WORK(w_integer, "fildl (S)\n fistpl 64(S)")
WORK(w_mmx, "movq (S), %mm1\n paddb %mm1, %mm2\n emms")
WORK(w_sse, "movups (S), %xmm1\n mulps %xmm1, %xmm2\n divps %xmm3, %xmm2")
WORK(w_avx, "vaddps (S), %ymm1, %ymm2\n vzeroupper")
/* An exception that is pending when the image is stored. */
WORK(w_pending, "fninit\n fld1\n fldz\n fdivrp\n movw $0x37b, 128(S)\n fldcw 128(S)")
SAVE(s_fxsave, FORMAT_FX, "fxsave (D)")
SAVE(s_xsave, FORMAT_FX, "xsave (D)")
SAVE(s_xsavec, FORMAT_FX, "xsavec (D)")
SAVE(s_xsaveopt, FORMAT_FX, "xsaveopt (D)")
SAVE(s_fnstenv32, FORMAT_ENV32, ".rept N16\n .byte 0x66\n .endr\n fnstenv (D)")
SAVE(s_fnsave32, FORMAT_ENV32, ".rept N16\n .byte 0x66\n .endr\n fnsave (D)")
SAVE(s_fnstenv16, FORMAT_ENV16, ".rept 1 - N16\n .byte 0x66\n .endr\n fnstenv (D)")
SAVE(s_fnsave16, FORMAT_ENV16, ".rept 1 - N16\n .byte 0x66\n .endr\n fnsave (D)")
SAVE64(s_fxsave64, FORMAT_FX64, "fxsave64 (%rdi)")
SAVE64(s_xsave64, FORMAT_FX64, "xsave64 (%rdi)")
SAVE64(s_xsavec64, FORMAT_FX64, "xsavec64 (%rdi)")
SAVE64(s_xsaveopt64, FORMAT_FX64, "xsaveopt64 (%rdi)")

extern const Text __start_works[], __stop_works[], __start_saves[], __stop_saves[];

static const u64 code_segments[2][N_MODES] = { { CS64, CS32, CS16 }, { UCS64, UCS32, UCS16 } };

static void fresh(void)
{
    static const double numbers[8] = { 3.0, -2.5, 1e300, 1.0, 0.1, 7.0, 1e-310, 2.0 };
    if (!(*pte(CODE_AT) & P)) {
        const u64 at[] = { CODE_AT, STACK, DATA, IMAGE };
        for (unsigned i = 0; i < 4; i++) {
            map(at[i], page(), P | W | U);
        }
    }
    memset((void *)(u64)CODE_AT, 0xcc, PAGE);
    memset((void *)(u64)IMAGE, FILL, PAGE);
    memset((void *)(u64)DATA, 0, PAGE);
    memset((void *)(u64)(IMAGE + 512), 0, 64); /* XSAVE's header */
    memcpy((void *)(u64)DATA, numbers, sizeof numbers);
    u32 mxcsr = 0x1f80;
    __asm__ volatile("fninit\n ldmxcsr %0" : : "m"(mxcsr));
    WRITE_CR(0, READ_CR(0) & ~8ull);
}

static u64 field(unsigned offset, unsigned size)
{
    u64 value = 0;
    memcpy(&value, (const u8 *)(u64)IMAGE + offset, size);
    return value;
}

/* `from` and `to`: where the code lies as it sees itself. */
static void check_image(const char *what, const Text *save, unsigned mode, u64 from, u64 to)
{
    u64 ip, dp, mask;
    switch (save->format) {
    case FORMAT_FX: ip = field(8, 4), dp = field(16, 4), mask = 0xffffffff; break;
    case FORMAT_FX64: ip = field(8, 8), dp = field(16, 8), mask = ~0ull; break;
    case FORMAT_ENV32: ip = field(12, 4), dp = field(20, 4), mask = 0xffffffff; break;
    default: ip = field(6, 2), dp = field(10, 2), mask = 0xffff; break;
    }
    if (ip == (0x5a5a5a5a5a5a5a5a & mask)) {
        ip = dp = 0; /* XSAVEOPT and XSAVEC leave out what is in its first state */
    }
    bool ip_good = ip == 0 || (ip >= (from & mask) && ip < (to & mask));
    bool dp_good = dp == 0 || (dp & mask & ~0xffull) == (DATA & mask & ~0xffull);
    expect(ip_good && dp_good, "%s, %s in mode %u: FIP %lx (code at %lx to %lx), FDP %lx (data at %x)", what,
           save->name, mode, ip, from, to, dp, DATA);
}

static Frame frame_in(unsigned mode, bool user, u64 from)
{
    Frame f = frame_at(from, STACK + PAGE - 64, user);
    f.cs    = code_segments[user][mode];
    f.rsi   = DATA;
    f.rdi   = IMAGE;
    f.rax   = 7;
    if (mode == 2) {
        set_segment(&cpus[0], (unsigned)f.cs & ~7u, CODE_AT, 0xffff, user ? SEG_UCODE16 : SEG_CODE16);
        f.rip = from - CODE_AT;
    }
    return f;
}

TEST(images, "FIP and FDP of every saving instruction, after all kinds of work, in all modes")
{
    for (const Text *work = __start_works; work < __stop_works; work++) {
        for (const Text *save = __start_saves; save < __stop_saves; save++) {
            for (unsigned m = 0; m < 2 * N_MODES; m++) {
                unsigned mode = m / 2;
                if (!save->code[mode]) {
                    continue;
                }
                fresh();
                u64 at = put(CODE_AT + 0x80, work->code[mode], (size_t)(work->end[mode] - work->code[mode]));
                put(at, save->code[mode], (size_t)(save->end[mode] - save->code[mode]) + 1);
                /* the bytes between CODE and its end are the INT3 that end it: the work's was overwritten */
                for (unsigned again = 0; again < 2; again++) {
                    Frame f = frame_in(mode, m & 1, CODE_AT + 0x80);
                    u64   v = run(&f);
                    expect(v == 3, "%s, %s in mode %u: vector %lu at %lx", work->name, save->name, mode, v, f.rip);
                    check_image(work->name, save, mode, mode == 2 ? 0x80 : CODE_AT + 0x80,
                                mode == 2 ? 0x200 : CODE_AT + 0x200);
                    memset((void *)(u64)IMAGE, FILL, 512);
                    __asm__ volatile("fninit");
                }
            }
        }
    }
}

/* Work that faults: the handler saves, as a kernel does. */
CODE(fault_load, "fld1\n fldl 0x40021000")
CODE(fault_store, "fld1\n fstpl 0x40021000")
CODE(fault_sse, "fld1\n addps 0x40021000, %xmm1")
CODE(fault_x87, "fld1\n fldz\n movw $0x37b, 128(%rsi)\n fldcw 128(%rsi)\n fdivrp\n fld1")
CODE(fault_xm, "fld1\n movl $0, 128(%rsi)\n ldmxcsr 128(%rsi)\n divps %xmm7, %xmm6")
CODE(fault_ud, "fldl (%rsi)\n ud2")

TEST(faulted, "what a handler saves behind a fault")
{
    const struct {
        const char *name;
        const u8   *code;
        size_t      len;
        unsigned    vector;
    } works[] = {
        { "load", fault_load, SIZE_OF(fault_load), 14 }, { "store", fault_store, SIZE_OF(fault_store), 14 },
        { "sse", fault_sse, SIZE_OF(fault_sse), 14 },    { "x87", fault_x87, SIZE_OF(fault_x87), 16 },
        { "xm", fault_xm, SIZE_OF(fault_xm), 19 },       { "ud", fault_ud, SIZE_OF(fault_ud), 6 },
    };
    for (unsigned i = 0; i < 6; i++) {
        for (const Text *save = __start_saves; save < __stop_saves; save++) {
            for (unsigned user = 0; user < 2; user++) {
                fresh();
                map(ABSENT, 0, 0);
                __asm__ volatile("xorps %xmm7, %xmm7\n xorps %xmm6, %xmm6");
                put(CODE_AT + 0x80, works[i].code, works[i].len + 1);
                Frame f = frame_in(0, user, CODE_AT + 0x80);
                equal(run(&f), works[i].vector);
                put(CODE_AT + 0x400, save->code[0], (size_t)(save->end[0] - save->code[0]) + 1);
                f = frame_in(0, false, CODE_AT + 0x400);
                equal(run(&f), 3);
                /* what faulted may be the last one, at an operand that is not there */
                u64 dp = save->format == FORMAT_FX64 ? field(16, 8) : save->format == FORMAT_FX ? field(16, 4) : 0;
                if (dp == ABSENT) {
                    memset((void *)(u64)(IMAGE + 16), 0, save->format == FORMAT_FX64 ? 8 : 4);
                }
                check_image(works[i].name, save, 0, CODE_AT + 0x80, CODE_AT + 0x100);
            }
        }
    }
}

/* Registers that other code has left: none of them may point into the host. */
TEST(registers, "vector registers hold what the guest put there")
{
    static u8 image[1024] __attribute__((aligned(64)));
    fresh();
    memset(image, 0, sizeof image);
    __asm__ volatile("xsave %0" : "+m"(image) : "a"(7), "d"(0));
    for (unsigned i = 160; i < 416; i += 8) {
        u64 value;
        memcpy(&value, image + i, 8);
        expect(value >> 40 != 0x7f && value >> 40 != 0x55 && value >> 40 != 0x56, "offset %u: %lx", i, value);
    }
}
