/* A vCPU without an executor: the system side of the CPU alone, on a flat megabyte of memory in which linear and
 * physical addresses are the same. Pages can be taken away to make accesses fault. */

#ifndef QUERN_TESTS_X86_STUB_H
#define QUERN_TESTS_X86_STUB_H

#include "cpu/x86/cpuid.h"
#include "cpu/x86/mem.h"
#include "cpu/x86/msr.h"
#include "cpu/x86/segment.h"
#include "cpu/x86/system.h"

enum { STUB_MEMORY = 1 << 20, STUB_PAGES = STUB_MEMORY >> 12 };

typedef struct Stub {
    X86Cpu     *cpu;
    X86Model   *model;
    X86Topology topology;
    Log         log;
    uint8_t    *memory;
    bool        missing[STUB_PAGES];
    int         apic_vector; /* what the local APIC has to give */
    uint64_t    apic_base;
    uint64_t    deadline;
    uint8_t     tpr;
    int64_t     now; /* virtual clock */
    unsigned    flushes;
} Stub;

/* A vCPU of that model after reset. One at a time. */
Stub *stub_new(const char *model);
void  stub_free(Stub *s);

static inline void stub_put(Stub *s, uint32_t at, uint64_t value, unsigned size)
{
    memcpy(s->memory + at, &value, size);
}

static inline uint64_t stub_get(Stub *s, uint32_t at, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, s->memory + at, size);
    return value;
}

/* gcc fears for every loop variable around x86_setjmp(); none changes between it and the jump. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wclobbered"
#endif

/* Runs `statement`; afterwards stub_vector is the exception that it raised, or -1, and stub_code its error code. */
#define STUB_TRY(s, statement)                                                                                         \
    do {                                                                                                               \
        stub_vector = -1;                                                                                              \
        stub_code   = 0;                                                                                               \
        if (x86_setjmp((s)->cpu->fault_exit) == 0) {                                                                   \
            statement;                                                                                                 \
        } else {                                                                                                       \
            stub_vector = (int)(s)->cpu->fault.vector;                                                                 \
            stub_code   = (s)->cpu->fault.has_error ? (int64_t)(s)->cpu->fault.error : -1;                             \
        }                                                                                                              \
    } while (0)

#define STUB_RAISES(s, statement, vector, code)                                                                        \
    do {                                                                                                               \
        STUB_TRY(s, statement);                                                                                        \
        g_assert_cmpint(stub_vector, ==, (vector));                                                                    \
        g_assert_cmphex((uint32_t)stub_code, ==, (uint32_t)(code));                                                    \
    } while (0)

#define STUB_OK(s, statement)                                                                                          \
    do {                                                                                                               \
        STUB_TRY(s, statement);                                                                                        \
        g_assert_cmpint(stub_vector, ==, -1);                                                                          \
    } while (0)

extern volatile int     stub_vector;
extern volatile int64_t stub_code;

#endif
