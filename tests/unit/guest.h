/* A guest of one or two vCPUs with flat memory and no devices, for tests of the CPU: puts bytes into memory, chooses a
 * mode, runs until HLT. */

#ifndef QUERN_TESTS_GUEST_H
#define QUERN_TESTS_GUEST_H

#include "cpu/x86/cpuid.h"
#include "cpu/x86/exec.h"
#include "cpu/x86/insn.h"
#include "cpu/x86/system.h"
#include "memory/memory.h"
#include "memory/ram.h"

enum {
    GUEST_RAM_SIZE = 16 << 20,
    GUEST_MAX_CPUS = 2,

    /* Where things lie in guest-physical memory; the page tables map linear = physical. */
    GUEST_GDT    = 0x1000,
    GUEST_IDT    = 0x2000, /* every vector goes to GUEST_STUBS + 16 * vector */
    GUEST_TSS    = 0x3000,
    GUEST_STUBS  = 0x4000, /* HLT each */
    GUEST_TABLES = 0x10000,
    GUEST_CODE   = 0x100000,
    GUEST_STACK  = 0x300000, /* top; ring 0 stack of the TSS ends 64 KiB below */
    GUEST_DATA   = 0x400000,

    /* Selectors. */
    GUEST_CS64 = 0x08,
    GUEST_DS   = 0x10,
    GUEST_CS32 = 0x18,
    GUEST_CS16 = 0x20,
    GUEST_DS16 = 0x28,
    GUEST_US32 = 0x30, /* user code, 32 bits; SYSRET's base */
    GUEST_UDS  = 0x38,
    GUEST_US64 = 0x40,
    GUEST_TR   = 0x50,
};

typedef enum GuestMode {
    GUEST_REAL,        /* real mode, CS base 0 */
    GUEST_PROTECTED16, /* flat base, 64 KiB limits */
    GUEST_PROTECTED32, /* flat, no paging */
    GUEST_LONG64,      /* 64-bit, identity mapping of the first 1 GiB with 2 MiB pages */
    GUEST_COMPAT32,    /* 32-bit code under long mode */
} GuestMode;

typedef struct Guest {
    MachineLock   lock;
    Memory       *memory;
    Region        root, ram, io_root;
    RamBlock     *block;
    AddressSpace *as, *io;
    VcpuGroup    *group;
    X86Model     *model; /* for CPUID */
    Log           log;
    X86Cpu       *cpus[GUEST_MAX_CPUS];
    unsigned      n_cpus;
    uint8_t      *host; /* of guest-physical 0 */
} Guest;

/* All features that this host can offer. Aborts the test when something fails. */
Guest *guest_new(unsigned n_cpus);
void   guest_free(Guest *g);

/* Sets up descriptor tables, page tables and the vCPU's state for a mode and ring (0 or 3; 0 in real mode): rip at
 * GUEST_CODE (0x8000 in 16-bit modes), RSP at GUEST_STACK (0x7000), all other registers 0, flags clear. */
void guest_set_mode(Guest *g, unsigned cpu, GuestMode mode, unsigned ring);

/* Where guest_set_mode() points rip. */
uint64_t guest_code_address(GuestMode mode);

/* Copies bytes to guest-physical memory as DMA would. */
void guest_poke(Guest *g, uint64_t addr, const void *bytes, size_t len);

/* Runs until HLT, shutdown or the like. */
X86Exit guest_run(Guest *g, unsigned cpu);

/* Puts code at rip, HLT behind it, and runs it. */
X86Exit guest_run_code(Guest *g, unsigned cpu, const void *code, size_t len);

/* Maps one 4 KiB page in the 64-bit tables, replacing the 2 MiB mapping around it by small pages first. `flags`: low
 * bits of the entry and bit 63. Flushes the TLB. */
void guest_map(Guest *g, uint64_t linear, uint64_t physical, uint64_t flags);

/* The 64-bit page-table entry of a page that guest_map() has made. */
uint64_t *guest_pte(Guest *g, uint64_t linear);

/* Which exception stub halted the vCPU: its vector, or -1. The error code, when there is one, is at the top of the
 * stack. */
int guest_exception(Guest *g, unsigned cpu);

#endif
