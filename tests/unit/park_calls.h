/* Calls into the CPU's hot set while the vector state is live. Built without vector registers, like the hot set. */

#ifndef QUERN_TESTS_PARK_CALLS_H
#define QUERN_TESTS_PARK_CALLS_H

#include "cpu/x86/insn.h"
#include "cpu/x86/park.h"

typedef struct ParkCall {
    const char *name;
    void (*call)(X86Cpu *cpu);
    int  vector; /* that it raises; -1 for none */
    bool parks;  /* it may leave the state parked */
} ParkCall;

extern const ParkCall park_calls[];
extern const size_t   n_park_calls;

/* Makes the state live, calls, and parks. Returns what was thrown; *live: the state was live still after the call. */
int park_call(X86Cpu *cpu, void (*call)(X86Cpu *cpu), bool *live);

/* The same for one decoded instruction. */
int park_insn(X86Cpu *cpu, const X86Insn *in, bool *live);

/* Live: FLD1, FSTP ST(0). */
void park_x87(X86Cpu *cpu);

/* XINUSE of the live state, or UINT64_MAX where the host does not tell. */
uint64_t park_xinuse(X86Cpu *cpu);

/* Where the test put its pages (guest_map). */
enum {
    PARK_ABSENT   = 0x600000,
    PARK_USER     = 0x601000,
    PARK_READONLY = 0x602000,
    PARK_CODE     = 0x603000, /* marked as code */
    PARK_TWO      = 0x604000, /* two pages, not one after the other in memory */
    PARK_DEVICE   = 0x20000000,
};

#endif
