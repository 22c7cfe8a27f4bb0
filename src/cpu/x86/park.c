/* Saving and restoring the vector and FP registers, and the long jump that leaves them alone: see park.h and jump.h.
 *
 * Specification: Intel SDM 1, 13.6 to 13.8 (XSAVE, XRSTOR, XINUSE), 8.1.8 (x87 pointers), December 2023. vCPU thread.
 * Never built with sanitizers: nothing here may use a vector register but the instructions that are meant to. */

#include "cpu/x86/park.h"

#include "cpu/x86/fpu.h"

#include <cpuid.h>

enum { HOST_MXCSR = 0x1f80, FCW_INIT = 0x37f, AVX512 = 0xe0, AREA_XCOMP_BV = XSAVE_HEADER + 8 };

static inline uint64_t word(const X86Cpu *cpu, unsigned offset)
{
    return *(const uint64_t *)(const void *)(cpu->xsave + offset);
}

static inline void set_word(X86Cpu *cpu, unsigned offset, uint64_t value)
{
    *(uint64_t *)(void *)(cpu->xsave + offset) = value;
}

static bool all_zero(const X86Cpu *cpu, unsigned from, unsigned end)
{
    uint64_t any = 0;
    for (unsigned i = from; i < end; i += 16) {
        any |= word(cpu, i) | word(cpu, i + 8);
    }
    return !any;
}

/* The same of 128 bytes, on hosts with AVX, while the registers are free. */
static inline bool are_zero(const X86Cpu *cpu, unsigned from)
{
    bool zero;
    __asm__("vmovdqa (%1), %%xmm0\n"
            "vmovdqa 16(%1), %%xmm1\n"
            "vpor 32(%1), %%xmm0, %%xmm0\n"
            "vpor 48(%1), %%xmm1, %%xmm1\n"
            "vpor 64(%1), %%xmm0, %%xmm0\n"
            "vpor 80(%1), %%xmm1, %%xmm1\n"
            "vpor 96(%1), %%xmm0, %%xmm0\n"
            "vpor 112(%1), %%xmm1, %%xmm1\n"
            "vpor %%xmm0, %%xmm1, %%xmm0\n"
            "vptest %%xmm0, %%xmm0"
            : "=@ccz"(zero)
            : "r"(cpu->xsave + from)
            : "memory");
    return zero;
}

/* 128 bytes of zeros. XMM0 is 0. */
static inline void put_zeros(X86Cpu *cpu, unsigned from)
{
    __asm__ volatile("vmovdqa %%xmm0, (%0)\n"
                     "vmovdqa %%xmm0, 16(%0)\n"
                     "vmovdqa %%xmm0, 32(%0)\n"
                     "vmovdqa %%xmm0, 48(%0)\n"
                     "vmovdqa %%xmm0, 64(%0)\n"
                     "vmovdqa %%xmm0, 80(%0)\n"
                     "vmovdqa %%xmm0, 96(%0)\n"
                     "vmovdqa %%xmm0, 112(%0)"
                     :
                     : "r"(cpu->xsave + from)
                     : "memory");
}

/* Can the host tell which components are in use (XGETBV with ECX = 1)? */
static bool tells_use(void)
{
    uint32_t a, b, c, d;
    return __get_cpuid_count(0xd, 1, &a, &b, &c, &d) && a & 4;
}

static inline uint32_t in_use(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
    return low;
}

static inline uint32_t get_mxcsr(void)
{
    uint32_t mxcsr;
    __asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
    return mxcsr;
}

static inline void set_mxcsr(uint32_t mxcsr)
{
    __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
}

/* "op" for all 16 vector registers. */
#define ALL_VECTORS(op)                                                                                                \
    op(0) op(1) op(2) op(3) op(4) op(5) op(6) op(7) op(8) op(9) op(10) op(11) op(12) op(13) op(14) op(15)
#define SAVE_LOW(n)  "vmovdqa %%xmm" #n ", 160 + 16 * " #n "(%0)\n"
#define SAVE_HIGH(n) "vextracti128 $1, %%ymm" #n ", 576 + 16 * " #n "(%0)\n"
#define LOAD_LOW(n)  "vmovdqa 160 + 16 * " #n "(%0), %%xmm" #n "\n" /* and clears the upper half */
#define LOAD_HIGH(n) "vinserti128 $1, 576 + 16 * " #n "(%0), %%ymm" #n ", %%ymm" #n "\n"
G_STATIC_ASSERT(XSAVE_XMM == 160 && XSAVE_YMM == 576);

void x86_park_init(X86Cpu *cpu)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    cpu->park_quick = low & XCR0_AVX && __builtin_cpu_supports("avx2") && tells_use();
    cpu->park_mask  = (XCR0_X87 | XCR0_SSE | XCR0_AVX) & low;
    /* What only the C library uses is initialized with the rest, or it would be in use for ever. */
    cpu->unpark_mask = cpu->park_mask | ((low & AVX512) == AVX512 ? AVX512 : 0);
}

/* Nothing of the x87 is in use: what the guest has of it is as FNINIT leaves it, but for the pointers. */
static inline void park_vectors(X86Cpu *cpu, uint32_t use)
{
    uint8_t *area = cpu->xsave;
    set_word(cpu, 0, FCW_INIT);
    __asm__ volatile(ALL_VECTORS(SAVE_LOW) : : "r"(area) : "memory");
    if (use & XCR0_AVX) {
        __asm__ volatile(ALL_VECTORS(SAVE_HIGH) : : "r"(area) : "memory");
        __asm__ volatile("vzeroupper");
    }
    __asm__ volatile("vpxor %xmm0, %xmm0, %xmm0");
    put_zeros(cpu, XSAVE_ST);
    if (!(use & XCR0_AVX)) {
        put_zeros(cpu, XSAVE_YMM);
        put_zeros(cpu, XSAVE_YMM + 128);
    }
    uint32_t mxcsr = get_mxcsr();
    if (mxcsr != HOST_MXCSR) {
        set_mxcsr(HOST_MXCSR);
    }
    *(uint32_t *)(void *)(cpu->xsave + XSAVE_MXCSR) = mxcsr;
    set_word(cpu, XSAVE_HEADER, XCR0_SSE | (use & XCR0_AVX));
    cpu->vector_live = false;
}

void x86_park_slow(X86Cpu *cpu)
{
    if (cpu->park_quick) {
        uint32_t use = in_use();
        if (!(use & XCR0_X87)) {
            park_vectors(cpu, use);
            return;
        }
    }
    uint64_t fip = word(cpu, FX_FIP), fdp = word(cpu, FX_FDP);

    __asm__ volatile("xsave64 %0" : "+m"(cpu->xsave) : "a"(cpu->park_mask), "d"(0));
    cpu->vector_live = false;

    if (word(cpu, XSAVE_HEADER) & XCR0_X87) {
        __asm__ volatile("fninit");
    }
    if (cpu->park_mask & XCR0_AVX) {
        __asm__ volatile("vzeroupper");
    }
    uint32_t mxcsr = HOST_MXCSR;
    if ((uint32_t)word(cpu, XSAVE_MXCSR) != mxcsr) {
        __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    }

    uint64_t host_fip = word(cpu, FX_FIP), host_fdp = word(cpu, FX_FDP);
    if (!host_fip) { /* no x87 instruction has run that changes it */
        set_word(cpu, FX_FIP, fip);
        set_word(cpu, FX_FDP, fdp);
        return;
    }
    set_word(cpu, FX_FIP, 0);
    set_word(cpu, FX_FDP, host_fdp ? 0 : fdp);
    if (cpu->map_fpu_pointers) {
        cpu->map_fpu_pointers(cpu, host_fip, host_fdp);
    }
}

/* Whether the x87 and the upper halves are as they begin, by what is in memory. */
static uint64_t components_used(const X86Cpu *cpu)
{
    uint64_t used = XCR0_SSE;
    /* FCW, FSW, FTW and FOP in one word. */
    if (word(cpu, 0) != FCW_INIT || !all_zero(cpu, XSAVE_ST, XSAVE_ST + 128)) {
        used |= XCR0_X87;
    }
    if ((cpu->park_mask & XCR0_AVX) && !all_zero(cpu, XSAVE_YMM, XSAVE_SIZE)) {
        used |= XCR0_AVX;
    }
    return used;
}

/* false: something of the x87 is in use, by the guest or the host. */
static inline bool unpark_vectors(X86Cpu *cpu)
{
    if (word(cpu, 0) != FCW_INIT || !are_zero(cpu, XSAVE_ST) || in_use() & XCR0_X87) {
        return false;
    }
    bool     low   = are_zero(cpu, XSAVE_YMM) && are_zero(cpu, XSAVE_YMM + 128);
    uint32_t mxcsr = (uint32_t)word(cpu, XSAVE_MXCSR);
    if (get_mxcsr() != mxcsr) {
        set_mxcsr(mxcsr);
    }
    __asm__ volatile(ALL_VECTORS(LOAD_LOW) : : "r"(cpu->xsave) : "memory");
    if (!low) {
        __asm__ volatile(ALL_VECTORS(LOAD_HIGH) : : "r"(cpu->xsave) : "memory");
    }
    cpu->vector_live = true;
    return true;
}

void x86_unpark(X86Cpu *cpu)
{
    if (cpu->vector_live || (cpu->park_quick && unpark_vectors(cpu))) {
        return;
    }
    uint64_t present = components_used(cpu);
    uint64_t fip = word(cpu, FX_FIP), fdp = word(cpu, FX_FDP);
    set_word(cpu, FX_FIP, 0);
    set_word(cpu, FX_FDP, 0);
    set_word(cpu, XSAVE_HEADER, present);
    set_word(cpu, AREA_XCOMP_BV, 0);
    set_word(cpu, AREA_XCOMP_BV + 8, 0);
    __asm__ volatile("xrstor64 %0" : : "m"(cpu->xsave), "a"(cpu->unpark_mask), "d"(0) : "memory");
    set_word(cpu, FX_FIP, fip);
    set_word(cpu, FX_FDP, fdp);
    cpu->vector_live = true;
}

void x86_vector_get(unsigned n, unsigned size, void *to)
{
#define TAKE(i)                                                                                                        \
    case i:                                                                                                            \
        if (size == 32) {                                                                                              \
            __asm__ volatile("vmovdqu %%ymm" #i ", %0" : "=m"(*(uint8_t(*)[32])to));                                   \
        } else {                                                                                                       \
            __asm__ volatile("movdqu %%xmm" #i ", %0" : "=m"(*(uint8_t(*)[16])to));                                    \
        }                                                                                                              \
        break;
    switch (n) {
        TAKE(0)
        TAKE(1)
        TAKE(2)
        TAKE(3)
        TAKE(4)
        TAKE(5)
        TAKE(6)
        TAKE(7)
        TAKE(8)
        TAKE(9)
        TAKE(10)
        TAKE(11)
        TAKE(12)
        TAKE(13)
        TAKE(14)
        TAKE(15)
    default: break;
    }
#undef TAKE
}

#if !X86_ALWAYS_PARK

__asm__(".text\n"
        ".globl x86_setjmp\n"
        ".type x86_setjmp, @function\n"
        "x86_setjmp:\n"
        "\tmovq (%rsp), %rax\n"
        "\tleaq 8(%rsp), %rdx\n"
        "\tmovq %rax, (%rdi)\n"
        "\tmovq %rdx, 8(%rdi)\n"
        "\tmovq %rbx, 16(%rdi)\n"
        "\tmovq %rbp, 24(%rdi)\n"
        "\tmovq %r12, 32(%rdi)\n"
        "\tmovq %r13, 40(%rdi)\n"
        "\tmovq %r14, 48(%rdi)\n"
        "\tmovq %r15, 56(%rdi)\n"
        "\txorl %eax, %eax\n"
        "\tret\n"
        ".size x86_setjmp, . - x86_setjmp\n"
        ".globl x86_longjmp\n"
        ".type x86_longjmp, @function\n"
        "x86_longjmp:\n"
        "\tmovl %esi, %eax\n"
        "\tmovq 8(%rdi), %rsp\n"
        "\tmovq 16(%rdi), %rbx\n"
        "\tmovq 24(%rdi), %rbp\n"
        "\tmovq 32(%rdi), %r12\n"
        "\tmovq 40(%rdi), %r13\n"
        "\tmovq 48(%rdi), %r14\n"
        "\tmovq 56(%rdi), %r15\n"
        "\tjmpq *(%rdi)\n"
        ".size x86_longjmp, . - x86_longjmp\n");

#endif
