/* Descriptor tables and CPU modes for tests of the system side (x86_stub.h). */

#ifndef QUERN_TESTS_X86_TABLES_H
#define QUERN_TESTS_X86_TABLES_H

#include "x86_stub.h"

/* Where things lie in the stub's memory. */
enum {
    GDT      = 0x1000,
    IDT      = 0x2000,
    LDT      = 0x3000,
    TSS      = 0x4000,
    TSS_B    = 0x4800,
    STACK0   = 0x8000, /* ring 0, top */
    STACK3   = 0xa000,
    STACK_TS = 0xc000, /* what the TSS says for ring 0 */
    IST1     = 0xe000,
    HANDLERS = 0x10000 /* of vector n: + 16 n */
};

/* Selectors. */
enum {
    CODE0      = 0x08,
    DATA0      = 0x10,
    CODE3      = 0x1b,
    DATA3      = 0x23,
    CONFORMING = 0x28,
    ABSENT     = 0x30,
    READ_ONLY  = 0x38,
    LDT_SEL    = 0x40,
    TSS_SEL    = 0x48,
    GATE       = 0x50,
    EXEC_ONLY  = 0x60,
    CODE64     = 0x68,
    TSS_B_SEL  = 0x70,
    TASK_GATE  = 0x78,
    CODE16     = 0x80,
    DATA3_ABS  = 0x8b, /* not present, ring 3 */
    CODE64_3   = 0x93,
    GDT_SIZE   = 0x98,
};

/* Writes a descriptor; attributes as in X86Segment. */
void put_segment(Stub *s, unsigned selector, uint32_t base, uint32_t limit, uint32_t attr);
/* Writes a gate at an address; `extra` are the low bits of its second doubleword. */
void put_gate(Stub *s, uint32_t at, unsigned type, unsigned dpl, unsigned selector, uint64_t offset, unsigned extra);
uint32_t rights(unsigned dpl, unsigned type);
/* A flat segment as it is in the register. */
X86Segment flat_segment(unsigned selector, unsigned type, uint32_t size);

/* A vCPU in flat protected mode, in ring 0 or 3, or in 64-bit mode; `model` chooses the vendor. */
Stub *protected_mode(unsigned cpl);
Stub *long_mode_of(const char *model, unsigned cpl);
Stub *long_mode(unsigned cpl);

#endif
