/* Instructions that C has no words for, bits of EFLAGS, the command line and the end: for programs of 32 and 64 bits.
 */

#ifndef QUERN_TESTS_GUEST_RT_INSN_H
#define QUERN_TESTS_GUEST_RT_INSN_H

#include "text.h"

typedef unsigned long Word; /* as wide as a register */

enum {
    CF    = 1,
    PF    = 4,
    AF    = 0x10,
    ZF    = 0x40,
    SF    = 0x80,
    TF    = 0x100,
    IF    = 0x200,
    DF    = 0x400,
    OF    = 0x800,
    IOPL3 = 0x3000,
    NT    = 0x4000,
    RF    = 0x10000,
    VM    = 0x20000,
    AC    = 0x40000,
    VIF   = 0x80000,
    VIP   = 0x100000,
    ARITH = CF | PF | AF | ZF | SF | OF
};

#define READ_CR(n)                                                                                                     \
    ({                                                                                                                 \
        Word value_;                                                                                                   \
        __asm__ volatile("mov %%cr" #n ", %0" : "=r"(value_) : : "memory");                                            \
        value_;                                                                                                        \
    })
#define WRITE_CR(n, x) __asm__ volatile("mov %0, %%cr" #n : : "r"((Word)(x)) : "memory")
#define READ_DR(n)                                                                                                     \
    ({                                                                                                                 \
        Word value_;                                                                                                   \
        __asm__ volatile("mov %%db" #n ", %0" : "=r"(value_));                                                         \
        value_;                                                                                                        \
    })
#define WRITE_DR(n, x) __asm__ volatile("mov %0, %%db" #n : : "r"((Word)(x)))

static inline void invlpg(Word linear)
{
    __asm__ volatile("invlpg (%0)" : : "r"(linear) : "memory");
}
static inline u64 rdmsr(u32 n)
{
    u32 low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(n));
    return (u64)high << 32 | low;
}
static inline void wrmsr(u32 n, u64 value)
{
    __asm__ volatile("wrmsr" : : "c"(n), "a"((u32)value), "d"((u32)(value >> 32)) : "memory");
}
static inline u64 rdtsc(void)
{
    u32 low, high;
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    return (u64)high << 32 | low;
}

typedef struct Cpuid {
    u32 a, b, c, d;
} Cpuid;
static inline Cpuid cpuid(u32 leaf, u32 sub)
{
    Cpuid r;
    __asm__ volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}
static inline void pause_(void)
{
    __asm__ volatile("pause" : : : "memory");
}

/* The number after "name=" on the command line. */
Word           option(const char *name, Word otherwise);
_Noreturn void finish(int status);

#endif
