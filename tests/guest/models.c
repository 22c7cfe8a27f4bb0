/* What goes with the CPU model: instructions that CPUID does not offer are #UD, SYSCALL and SYSENTER follow the vendor,
 * and what only some models have: 3DNow!, SSE4A, CLZERO, transactions that always abort. Run with several models. */

#include "rt/rt.h"

enum { CODE_AT = WINDOW, STACK = WINDOW + 0x10000, DATA = WINDOW + 0x100000 };

static u64 *const data = (u64 *)(u64)DATA;

static Frame frame_for(const u8 *code, size_t len, bool user)
{
    if (!(*pte(CODE_AT) & P)) {
        map(CODE_AT, page(), P | W | U);
        map(STACK, page(), P | W | U);
        map(DATA, page(), P | W | U);
    }
    WRITE_CR(4, READ_CR(4) | 0x600 | (cpuid(1, 0).c >> 26 & 1) << 18);
    memset((void *)(u64)CODE_AT, 0xcc, PAGE);
    put(CODE_AT, code, len);
    Frame f = frame_at(CODE_AT, STACK + PAGE - 64, user);
    f.rdi   = DATA;
    f.rax   = DATA;
    return f;
}

static bool is_amd(void)
{
    return cpuid(0, 0).b == 0x68747541 || cpuid(0, 0).b == 0x6f677948;
}

/* Registers of CPUID leaves. */
enum { EAX, EBX, ECX, EDX };

static bool offered(u32 leaf, unsigned reg, unsigned bit)
{
    if (cpuid(leaf & 0x80000000, 0).a < leaf) {
        return false;
    }
    Cpuid r = cpuid(leaf, 0);
    return (reg == EAX ? r.a : reg == EBX ? r.b : reg == ECX ? r.c : r.d) >> bit & 1;
}

#define GATED(name, text) CODE(gated_##name, text)
GATED(cmov, "cmovz %eax, %ecx")
GATED(cx8, "movl $0, (%rdi)\n cmpxchg8b (%rdi)")
GATED(cx16, "cmpxchg16b (%rdi)")
GATED(clflush, "clflush (%rdi)")
GATED(sse3, "haddps %xmm0, %xmm1")
GATED(ssse3, "pabsb %xmm0, %xmm1")
GATED(sse41, "pmulld %xmm0, %xmm1")
GATED(sse42, "pcmpgtq %xmm0, %xmm1")
GATED(popcnt, "popcnt %ecx, %ecx")
GATED(movbe, "movbe (%rdi), %ecx")
GATED(pclmul, "pclmulqdq $0, %xmm0, %xmm1")
GATED(aes, "aesenc %xmm0, %xmm1")
GATED(xsave, "xor %ecx, %ecx\n xgetbv")
GATED(rdrand, "rdrand %ecx")
GATED(bmi1, "andn %ecx, %ecx, %ecx")
GATED(bmi2, "pdep %ecx, %ecx, %ecx")
GATED(rdseed, "rdseed %ecx")
GATED(adx, "adcx %ecx, %ecx")
GATED(smap, "stac\n clac")
GATED(clflushopt, "clflushopt (%rdi)")
GATED(clwb, "clwb (%rdi)")
GATED(sha, "sha1msg1 %xmm0, %xmm1")
GATED(rdpid, "rdpid %rcx")
GATED(rdtscp, "rdtscp")
GATED(lahf, "lahf")
GATED(sse4a, "extrq $8, $8, %xmm0")
GATED(movntsd, "movntsd %xmm0, (%rdi)")
GATED(3dnow, "pfadd %mm0, %mm1")
GATED(3dnowext, "pswapd %mm0, %mm1")
GATED(femms, "femms")
GATED(clzero, "clzero")
GATED(rtm, "xbegin 1f\n 1: nop")
GATED(fma4, ".byte 0xc4, 0xe3, 0xf1, 0x68, 0xd3, 0x40") /* VFMADDPS */
GATED(xop, ".byte 0x8f, 0xe9, 0x78, 0x81, 0xc8")        /* VFRCZPD */
GATED(vmcall, ".byte 0x0f, 0x01, 0xc1")
GATED(vmmcall, ".byte 0x0f, 0x01, 0xd9")

static const struct {
    const char *name;
    u32         leaf;
    u8          reg, bit;
    const u8   *code, *end;
} gated[] = {
#define ROW(name, leaf, reg, bit)                                                                                      \
    {                                                                                                                  \
#name, leaf, reg, bit, gated_##name, gated_##name##_end                                                        \
    }
    ROW(cmov, 1, EDX, 15),
    ROW(cx8, 1, EDX, 8),
    ROW(cx16, 1, ECX, 13),
    ROW(clflush, 1, EDX, 19),
    ROW(sse3, 1, ECX, 0),
    ROW(ssse3, 1, ECX, 9),
    ROW(sse41, 1, ECX, 19),
    ROW(sse42, 1, ECX, 20),
    ROW(popcnt, 1, ECX, 23),
    ROW(movbe, 1, ECX, 22),
    ROW(pclmul, 1, ECX, 1),
    ROW(aes, 1, ECX, 25),
    ROW(xsave, 1, ECX, 26),
    ROW(rdrand, 1, ECX, 30),
    ROW(bmi1, 7, EBX, 3),
    ROW(bmi2, 7, EBX, 8),
    ROW(rdseed, 7, EBX, 18),
    ROW(adx, 7, EBX, 19),
    ROW(smap, 7, EBX, 20),
    ROW(clflushopt, 7, EBX, 23),
    ROW(clwb, 7, EBX, 24),
    ROW(sha, 7, EBX, 29),
    ROW(rdpid, 7, ECX, 22),
    ROW(rdtscp, 0x80000001, EDX, 27),
    ROW(lahf, 0x80000001, ECX, 0),
    ROW(sse4a, 0x80000001, ECX, 6),
    ROW(movntsd, 0x80000001, ECX, 6),
    ROW(3dnow, 0x80000001, EDX, 31),
    ROW(3dnowext, 0x80000001, EDX, 30),
    ROW(femms, 0x80000001, EDX, 31),
    ROW(clzero, 0x80000008, EBX, 0),
    ROW(rtm, 7, EBX, 11),
    ROW(fma4, 0x80000001, ECX, 16),
    ROW(xop, 0x80000001, ECX, 11),
    ROW(vmcall, 1, ECX, 5),
    ROW(vmmcall, 0x80000001, ECX, 2),
#undef ROW
};

TEST(undefined, "what CPUID does not offer is #UD, what it offers runs")
{
    for (unsigned i = 0; i < sizeof gated / sizeof gated[0]; i++) {
        bool     has    = offered(gated[i].leaf, gated[i].reg, gated[i].bit);
        Frame    f      = frame_for(gated[i].code, (size_t)(gated[i].end - gated[i].code), false);
        unsigned vector = run(&f);
        expect(vector == (has ? 3 : 6), "%s: offered %d, vector %u", gated[i].name, has, vector);
    }
}

/* LZCNT and TZCNT are BSR and BSF with a prefix that nobody looks at where they do not exist. */
CODE(counts, "mov $0x10, %eax\n lzcnt %eax, %ecx\n tzcnt %eax, %edx")
TEST(count_zeros, "LZCNT and TZCNT, or BSR and BSF")
{
    Frame f = frame_for(counts, SIZE_OF(counts), false);
    equal(run(&f), 3);
    equal(f.rcx, offered(0x80000001, ECX, 5) ? 27 : 4);
    equal(f.rdx, 4);
}

/* --- by vendor --- */

CODE(sysenter64, "sysenter")
TEST(sysenter, "SYSENTER in 64-bit mode is Intel's alone")
{
    if (!offered(1, EDX, 11)) {
        skip("no SYSENTER");
        return;
    }
    Frame f = frame_for(sysenter64, SIZE_OF(sysenter64), false);
    if (!is_amd()) {
        wrmsr(0x174, 0);
    }
    equal(run(&f), is_amd() ? 6 : 13); /* a null SYSENTER_CS */
}

/* In a code segment of 32 bits; the handler is at LSTAR for 64-bit mode, CSTAR for this. */
CODE32(syscall32, "syscall")
TEST(syscall, "SYSCALL in compatibility mode is AMD's alone")
{
    Frame f = frame_for(syscall32, SIZE_OF(syscall32), false);
    f.cs    = CS32;
    if (!is_amd()) {
        equal(run(&f), 6);
        return;
    }
    u64 efer = rdmsr(0xc0000080);
    put(CODE_AT + 0x800, (const u8[]){ 0xcc }, 1);
    wrmsr(0xc0000080, efer | 1);
    wrmsr(0xc0000081, (u64)(CS64 | (u64)UCS32 << 16) << 32);
    wrmsr(0xc0000083, CODE_AT + 0x800);
    equal(run(&f), 3);
    equal(f.rip, CODE_AT + 0x801);
    equal(f.rcx, CODE_AT + 2);
    wrmsr(0xc0000080, efer);
}

/* --- 3DNow! --- */

static void put_pair(unsigned n, u32 low, u32 high)
{
    data[n] = low | (u64)high << 32;
}

enum {
    ONE     = 0x3f800000,
    TWO     = 0x40000000,
    THREE   = 0x40400000,
    HALF    = 0x3f000000,
    MINUS   = 0x80000000,
    LARGEST = 0x7f7fffff,
    THIRD   = 0x3eaaaaab,
};

#define BINARY(name) CODE(op_##name, "movq (%rdi), %mm0\n" #name " 8(%rdi), %mm0\n movq %mm0, 16(%rdi)\n femms")
BINARY(pfadd)
BINARY(pfsub)
BINARY(pfsubr)
BINARY(pfmul)
BINARY(pfmin)
BINARY(pfmax)
BINARY(pfacc)
BINARY(pfcmpeq)
BINARY(pfcmpge)
BINARY(pfcmpgt)
BINARY(pf2id)
BINARY(pi2fd)
BINARY(pmulhrw)
BINARY(pavgusb)
BINARY(pf2iw)
BINARY(pi2fw)
BINARY(pfnacc)
BINARY(pfpnacc)
BINARY(pswapd)

static const struct {
    const u8 *code, *end;
    bool      extension;
    u32       a[2], b[2], want[2];
} numbers[] = {
#define OP(name, ...)                                                                                                  \
    {                                                                                                                  \
        op_##name, op_##name##_end, false, __VA_ARGS__                                                                 \
    }
#define OP_EXT(name, ...)                                                                                              \
    {                                                                                                                  \
        op_##name, op_##name##_end, true, __VA_ARGS__                                                                  \
    }
    OP(pfadd, { ONE, LARGEST }, { TWO, LARGEST }, { THREE, LARGEST }),
    OP(pfadd, { ONE, 1 }, { ONE | MINUS, 1 }, { 0, 0 }),
    OP(pfsub, { THREE, ONE }, { ONE, TWO }, { TWO, ONE | MINUS }),
    OP(pfsubr, { THREE, ONE }, { ONE, TWO }, { TWO | MINUS, ONE }),
    OP(pfmul, { TWO, 0x00800000 }, { HALF, HALF }, { ONE, 0 }),
    OP(pfmul, { LARGEST | MINUS, ONE }, { TWO, THREE }, { LARGEST | MINUS, THREE }),
    OP(pfmin, { ONE, MINUS }, { TWO | MINUS, ONE }, { TWO | MINUS, 0 }),
    OP(pfmax, { ONE, MINUS }, { TWO | MINUS, ONE | MINUS }, { ONE, 0 }),
    OP(pfacc, { ONE, TWO }, { TWO, HALF | MINUS }, { THREE, 0x3fc00000 }),
    OP(pfcmpeq, { ONE, MINUS }, { TWO, 0 }, { 0, 0xffffffff }),
    OP(pfcmpge, { ONE, TWO }, { TWO, TWO }, { 0, 0xffffffff }),
    OP(pfcmpgt, { THREE, TWO }, { TWO, TWO }, { 0xffffffff, 0 }),
    OP(pf2id, { 0, 0 }, { 0xc0200000, LARGEST }, { 0xfffffffe, 0x7fffffff }),
    OP(pf2id, { 0, 0 }, { LARGEST | MINUS, HALF }, { 0x80000000, 0 }),
    OP(pi2fd, { 0, 0 }, { 3, 0x01ffffff }, { THREE, 0x4bffffff }), /* cut, not rounded */
    OP(pmulhrw, { 0x00020003, 0x7fff8000 }, { 0x40004000, 0x7fff8000 }, { 0x00010001, 0x3fff4000 }),
    OP(pavgusb, { 0x00ff0102, 0 }, { 0x01fe0203, 0xff }, { 0x01ff0203, 0x80 }),
    OP_EXT(pf2iw, { 0, 0 }, { 0x49000000, 0xc0200000 }, { 0x7fff, 0xfffffffe }),
    OP_EXT(pi2fw, { 0, 0 }, { 0x1234ffff, 3 }, { ONE | MINUS, THREE }),
    OP_EXT(pfnacc, { THREE, ONE }, { ONE, TWO }, { TWO, ONE | MINUS }),
    OP_EXT(pfpnacc, { THREE, ONE }, { ONE, TWO }, { TWO, THREE }),
    OP_EXT(pswapd, { 0, 0 }, { 1, 2 }, { 2, 1 }),
#undef OP
#undef OP_EXT
};

TEST(now, "3DNow! arithmetic")
{
    if (!offered(0x80000001, EDX, 31)) {
        skip("no 3DNow!");
        return;
    }
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        if (numbers[i].extension && !offered(0x80000001, EDX, 30)) {
            continue;
        }
        Frame f = frame_for(numbers[i].code, (size_t)(numbers[i].end - numbers[i].code), i & 1);
        put_pair(0, numbers[i].a[0], numbers[i].a[1]);
        put_pair(1, numbers[i].b[0], numbers[i].b[1]);
        equal(run(&f), 3);
        expect(data[2] == (numbers[i].want[0] | (u64)numbers[i].want[1] << 32), "case %u: %lx", i, data[2]);
    }
}

/* 1/3 and 1/sqrt(3) by the sequences of the manual: exact to the last bit but one. */
CODE(reciprocal, "movd (%rdi), %mm0\n pfrcp %mm0, %mm1\n punpckldq %mm0, %mm0\n pfrcpit1 %mm1, %mm0\n"
                 "pfrcpit2 %mm1, %mm0\n movq %mm0, 16(%rdi)\n femms")
CODE(root, "movd (%rdi), %mm0\n pfrsqrt %mm0, %mm1\n movq %mm1, %mm2\n pfmul %mm1, %mm1\n punpckldq %mm0, %mm0\n"
           "pfrsqit1 %mm1, %mm0\n pfrcpit2 %mm2, %mm0\n movq %mm0, 16(%rdi)\n femms")
TEST(approximations, "PFRCP, PFRSQRT and their refinement")
{
    if (!offered(0x80000001, EDX, 31)) {
        skip("no 3DNow!");
        return;
    }
    Frame f = frame_for(reciprocal, SIZE_OF(reciprocal), false);
    put_pair(0, THREE, 0);
    equal(run(&f), 3);
    expect((u32)data[2] - THIRD + 1 <= 2 && (u32)data[2] == (u32)(data[2] >> 32), "1/3 is %lx", data[2]);
    f = frame_for(root, SIZE_OF(root), false);
    put_pair(0, THREE, 0);
    equal(run(&f), 3);
    expect((u32)data[2] - 0x3f13cd3a + 1 <= 2, "1/sqrt(3) is %lx", data[2]);
}

CODE(now_ts, "pfadd (%rdi), %mm0")
TEST(now_faults, "3DNow! looks at CR0.TS, CR0.EM and its operand's page")
{
    if (!offered(0x80000001, EDX, 31)) {
        skip("no 3DNow!");
        return;
    }
    u64   cr0 = READ_CR(0);
    Frame f   = frame_for(now_ts, SIZE_OF(now_ts), false);
    WRITE_CR(0, cr0 | 8);
    equal(run(&f), 7);
    f = frame_for(now_ts, SIZE_OF(now_ts), false);
    WRITE_CR(0, cr0 | 4);
    equal(run(&f), 6);
    WRITE_CR(0, cr0);
    f     = frame_for(now_ts, SIZE_OF(now_ts), false);
    f.rdi = DATA + PAGE;
    equal(run(&f), 14);
}

/* --- SSE4A, CLZERO, transactions --- */

CODE(bit_fields, "movdqu (%rdi), %xmm0\n movdqu 16(%rdi), %xmm1\n extrq $8, $16, %xmm0\n movq %xmm0, 32(%rdi)\n"
                 "movdqu (%rdi), %xmm0\n insertq $8, $16, %xmm1, %xmm0\n movq %xmm0, 40(%rdi)\n"
                 "movdqu (%rdi), %xmm0\n extrq %xmm1, %xmm0\n movq %xmm0, 48(%rdi)\n"
                 "movdqu (%rdi), %xmm0\n insertq %xmm1, %xmm0\n movq %xmm0, 56(%rdi)\n movntss %xmm1, 64(%rdi)\n"
                 "movdqu (%rdi), %xmm0\n extrq $0, $0, %xmm0\n movq %xmm0, 72(%rdi)")
TEST(sse4a, "EXTRQ, INSERTQ, MOVNTSS")
{
    if (!offered(0x80000001, ECX, 6)) {
        skip("no SSE4A");
        return;
    }
    Frame f = frame_for(bit_fields, SIZE_OF(bit_fields), true);
    data[0] = 0x1122334455667788;
    data[2] = 0xa0c08; /* length 8, index 12 for EXTRQ */
    data[3] = 0x2010;  /* length 16, index 32 for INSERTQ */
    equal(run(&f), 3);
    equal(data[4], 0x6677);
    equal(data[5], 0x11223344550c0888);
    equal(data[6], 0x67);
    equal(data[7], 0x11220c0855667788);
    equal(data[8], 0xa0c08);
    equal(data[9], 0x1122334455667788);
}

CODE(zero_line, "clzero")
TEST(clzero, "CLZERO clears the line that RAX points into, and faults like a store")
{
    if (!offered(0x80000008, EBX, 0)) {
        skip("no CLZERO");
        return;
    }
    Frame f = frame_for(zero_line, SIZE_OF(zero_line), true);
    for (unsigned i = 0; i < 24; i++) {
        data[i] = ~0ull;
    }
    f.rax = DATA + 64 + 13;
    equal(run(&f), 3);
    for (unsigned i = 0; i < 24; i++) {
        equal(data[i], i >= 8 && i < 16 ? 0 : ~0ull);
    }
    f = frame_for(zero_line, SIZE_OF(zero_line), true);
    map(DATA, *pte(DATA) & ~0xfffull, P | U);
    equal(run(&f), 14);
    equal(f.error, 7);
    map(DATA, *pte(DATA) & ~0xfffull, P | W | U);
}

CODE(transaction, "mov $-1, %eax\n xor %ecx, %ecx\n xbegin 1f\n mov $1, %ecx\n xend\n 1: xabort $5\n cmp $1, %ecx\n"
                  "stc\n xtest\n pushf\n pop %rdx")
CODE(end_only, "xend")
CODE(elision, "movl $0, (%rdi)\n .byte 0xf2\n lock incl (%rdi)\n .byte 0xf3\n lock decl (%rdi)\n mov (%rdi), %ecx")
TEST(rtm, "transactions abort at once, without a reason; HLE's prefixes do nothing")
{
    if (!offered(7, EBX, 11)) {
        skip("no RTM");
        return;
    }
    Frame f = frame_for(transaction, SIZE_OF(transaction), true);
    equal(run(&f), 3);
    equal(f.rax, 0);
    equal(f.rcx, 0);
    equal(f.rdx & ARITH, ZF);
    f = frame_for(end_only, SIZE_OF(end_only), true);
    equal(run(&f), 13);
    f = frame_for(elision, SIZE_OF(elision), true);
    equal(run(&f), 3);
    equal(f.rcx, 0);
}

/* --- MSRs --- */

static void read_msr(void *argument)
{
    *(u64 *)argument = rdmsr((u32) * (u64 *)argument);
}

TEST(msrs, "MSRs of the vendor, and of features")
{
    static const struct {
        u32  index;
        bool amd;
    } rows[] = { { 0x17, false }, { 0xce, false }, { 0xc0010015, true }, { 0xc001001f, true } };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        u64 value = rows[i].index;
        expect(attempt(read_msr, &value) == (rows[i].amd == is_amd() ? -1 : 13), "MSR %x", rows[i].index);
    }
    u64 value = 0xc0010140;
    equal(attempt(read_msr, &value), offered(0x80000001, ECX, 9) ? -1 : 13);
    value = 0x19a;
    equal(attempt(read_msr, &value), offered(1, EDX, 22) ? -1 : 13);
}
