/* The software TLB, and loads and stores that hit it: inline, for instruction handlers.
 *
 * An entry answers for one 4 KiB page of linear addresses in one mode (user, kernel with SMAP in force, kernel
 * without). read, write and fetch are that page's address when the access needs nothing but host memory, and otherwise
 * an address that cannot be found in this slot: rights, MMIO, ROM, watched pages and breakpoints all go the slow way.
 * One unsigned compare covers the tag and accesses that cross the page's end.
 *
 * vCPU thread, inside x86_run(). Entries and host addresses die with x86_tlb_*(), thus possibly with any slow access.
 */

#ifndef QUERN_CPU_X86_MMU_H
#define QUERN_CPU_X86_MMU_H

#include "cpu/x86/mem.h"

#include "base/sanitize.h"

enum {
    X86_PAGE_BITS = 12,
    X86_PAGE_SIZE = 1 << X86_PAGE_BITS,
    X86_PAGE_MASK = X86_PAGE_SIZE - 1,
    X86_TLB_BITS  = 12,
    X86_TLB_SIZE  = 1 << X86_TLB_BITS,
};

typedef struct X86TlbEntry {
    uint64_t  read, write, fetch;
    uintptr_t addend; /* host address = linear address + addend */
} X86TlbEntry;

/* Whose rights an access has. */
typedef enum X86TlbMode {
    X86_TLB_USER,
    X86_TLB_KERNEL_SMAP, /* supervisor who may not touch user pages; also all system accesses when CR4.SMAP is set */
    X86_TLB_KERNEL_OPEN,
    X86_N_TLB_MODES,
} X86TlbMode;

/* What is known about a page that is in the TLB. */
typedef struct X86TlbPage {
    uint64_t  linear;     /* of the page, bit 0 set; 0: empty */
    uint64_t  physical;   /* of the page */
    uint8_t  *host;       /* of the page; NULL: not RAM or ROM throughout */
    RamBlock *ram;        /* with host */
    uint64_t  ram_offset; /* with host */
    uint8_t   rights;     /* 1 << X86Access; WRITE only once the dirty bit is set */
    uint8_t   shift;      /* of the mapping: 12, 21, 22, 30; 32 without paging */
    bool      global;
    bool      writable; /* with host: RAM */
} X86TlbPage;

/* The page at `linear`, with the right to make that access: from the TLB or the page tables. Raises the page fault.
 * The address is canonical. Valid until the next slow access. */
X86TlbPage *x86_translate(X86Cpu *cpu, X86TlbMode mode, uint64_t linear, X86Access access);

/* The mode of explicit accesses now, and that of system accesses. */
X86TlbMode x86_tlb_mode(const X86Cpu *cpu);
X86TlbMode x86_tlb_system_mode(const X86Cpu *cpu);

static inline X86TlbEntry *x86_tlb_slot(const X86Cpu *cpu, uint64_t linear)
{
    return &cpu->tlb_entries[(linear >> X86_PAGE_BITS) & (X86_TLB_SIZE - 1)];
}

static inline bool x86_tlb_hit(uint64_t tag, uint64_t linear, unsigned size)
{
    return __builtin_expect(linear - tag <= X86_PAGE_SIZE - size, 1);
}

/* Guest memory is written by many at once, unaligned and under many types. */
typedef uint16_t __attribute__((aligned(1), may_alias)) X86Guest16;
typedef uint32_t __attribute__((aligned(1), may_alias)) X86Guest32;
typedef uint64_t __attribute__((aligned(1), may_alias)) X86Guest64;
typedef uint8_t __attribute__((may_alias)) X86Guest8;

/* One access of that size to guest memory at a host address. Races on guest memory are the guest's: a sanitizer that
 * looks for ours is kept from seeing them. */
#if WITH_TSAN
#define GUEST_LOAD(insn, letter, to, host)                                                                             \
    __asm__ volatile(insn " %1, %" letter "0" : "=q"(to) : "m"(*(const char(*)[sizeof(to)])(host)))
#define GUEST_STORE(insn, letter, host, value)                                                                         \
    __asm__ volatile(insn " %" letter "1, %0" : "=m"(*(char(*)[sizeof(value)])(host)) : "q"(value))
#else
#define GUEST_LOAD(insn, letter, to, host)     ((to) = *(const volatile __typeof__(to) *)(host))
#define GUEST_STORE(insn, letter, host, value) (*(volatile __typeof__(value) *)(host) = (value))
#endif

#define DEFINE_GUEST(bits, insn, letter)                                                                               \
    static inline uint##bits##_t x86_guest_get##bits(const void *host)                                                 \
    {                                                                                                                  \
        X86Guest##bits v;                                                                                              \
        GUEST_LOAD(insn, letter, v, host);                                                                             \
        return v;                                                                                                      \
    }                                                                                                                  \
    static inline void x86_guest_put##bits(void *host, uint##bits##_t value)                                           \
    {                                                                                                                  \
        X86Guest##bits v = value;                                                                                      \
        GUEST_STORE(insn, letter, host, v);                                                                            \
    }

DEFINE_GUEST(8, "movb", "b")
DEFINE_GUEST(16, "movw", "w")
DEFINE_GUEST(32, "movl", "k")
DEFINE_GUEST(64, "movq", "q")
#undef DEFINE_GUEST
#undef GUEST_LOAD
#undef GUEST_STORE

/* Slow forms: `stack` chooses #SS over #GP for addresses that are not canonical. */
uint64_t x86_load_slow(X86Cpu *cpu, uint64_t linear, unsigned size, bool stack);
void     x86_store_slow(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size, bool stack);

#define DEFINE_ACCESS(bits)                                                                                            \
    static inline uint##bits##_t x86_load##bits(X86Cpu *cpu, uint64_t linear, bool stack)                              \
    {                                                                                                                  \
        const X86TlbEntry *e = x86_tlb_slot(cpu, linear);                                                              \
        if (x86_tlb_hit(e->read, linear, bits / 8)) {                                                                  \
            return x86_guest_get##bits((const void *)(linear + e->addend));                                            \
        }                                                                                                              \
        return (uint##bits##_t)x86_load_slow(cpu, linear, bits / 8, stack);                                            \
    }                                                                                                                  \
    static inline void x86_store##bits(X86Cpu *cpu, uint64_t linear, uint##bits##_t value, bool stack)                 \
    {                                                                                                                  \
        const X86TlbEntry *e = x86_tlb_slot(cpu, linear);                                                              \
        if (x86_tlb_hit(e->write, linear, bits / 8)) {                                                                 \
            x86_guest_put##bits((void *)(linear + e->addend), value);                                                  \
            return;                                                                                                    \
        }                                                                                                              \
        x86_store_slow(cpu, linear, value, bits / 8, stack);                                                           \
    }

DEFINE_ACCESS(8)
DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)
#undef DEFINE_ACCESS

/* Faults like a read of one byte would, and returns the physical address. */
uint64_t x86_probe_read(X86Cpu *cpu, uint64_t linear);

/* Reading and writing one operand in place. begin returns where to work: guest memory itself, or a copy that end
 * writes back. Faults come in begin. With `locked` the work is one host LOCK instruction (or XCHG) on that place and
 * atomic for all vCPUs; every begin is followed by its end. */
typedef enum X86RmwKind { X86_RMW_DIRECT, X86_RMW_WATCHED, X86_RMW_COPY } X86RmwKind;

typedef struct X86Rmw {
    X86RmwKind kind;
    uint8_t    size;
    bool       exclusive;
    RamBlock  *ram; /* WATCHED */
    uint64_t   ram_offset;
    uint64_t   linear;
    uint64_t   copy[2] __attribute__((aligned(16)));
} X86Rmw;

void *x86_rmw_begin_slow(X86Cpu *cpu, uint64_t linear, unsigned size, bool locked, bool stack, X86Rmw *rmw);
void  x86_rmw_end_slow(X86Cpu *cpu, X86Rmw *rmw);

static inline void *x86_rmw_begin(X86Cpu *cpu, uint64_t linear, unsigned size, bool locked, bool stack, X86Rmw *rmw)
{
    const X86TlbEntry *e = x86_tlb_slot(cpu, linear);
    /* Hosts may trap a LOCK that crosses a cache line. */
    if (x86_tlb_hit(e->write, linear, size) && (!locked || (linear & 63) <= 64 - size)) {
        rmw->kind = X86_RMW_DIRECT;
        return (void *)(linear + e->addend);
    }
    return x86_rmw_begin_slow(cpu, linear, size, locked, stack, rmw);
}

static inline void x86_rmw_end(X86Cpu *cpu, X86Rmw *rmw)
{
    if (__builtin_expect(rmw->kind != X86_RMW_DIRECT, 0)) {
        x86_rmw_end_slow(cpu, rmw);
    }
}

/* Host memory behind linear addresses from `linear` on, for string instructions: *len bytes (up to the page's end),
 * or NULL when the access must go the slow way or would fault. */
uint8_t *x86_host_span(X86Cpu *cpu, uint64_t linear, X86Access access, unsigned *len);

/* Ports, and physical memory that is no RAM: the machine lock is taken when the device needs it. Afterwards the block
 * ends after this instruction if requests are waiting. */
uint64_t x86_io_load(X86Cpu *cpu, AddressSpace *as, uint64_t address, unsigned size);
void     x86_io_store(X86Cpu *cpu, AddressSpace *as, uint64_t address, uint64_t value, unsigned size);

/* Exclusive sections of this vCPU (ended by the run loop after a fault). May drop the TLB. */
void x86_exclusive_begin(X86Cpu *cpu);
void x86_exclusive_end(X86Cpu *cpu);

/* Bytes [offset, offset + len) of a watched page have been written: tells those who track code or dirty pages, and
 * ends the block after this instruction when it was changed itself. */
void x86_ram_written(X86Cpu *cpu, RamBlock *ram, uint64_t offset, unsigned len);

/* Looks whether an I/O instruction has hit a breakpoint on its ports. */
void x86_note_port(X86Cpu *cpu, uint16_t port, unsigned size);

/* A data breakpoint was hit: a debug trap follows this instruction. */
void x86_want_trap(X86Cpu *cpu);
/* The same for a single step of the instruction that runs, whether or not TF was set before it. */
void x86_want_step_trap(X86Cpu *cpu);

/* After anything that may have let others run: drops the TLB when asked to. */
void x86_take_flush_request(X86Cpu *cpu);

/* This vCPU must not write fast to this page of RAM any more, at whatever linear address. */
void x86_tlb_forbid_writes(X86Cpu *cpu, const uint8_t *host_page);

/* Changes when what linear addresses mean to code may have changed: what was found by the linear address of code is
 * valid while it is the same. Each address space (PCID) has its own, and gets it back when CR3 is loaded without a
 * flush. Never 0. */
uint64_t x86_tlb_epoch(const X86Cpu *cpu);

#endif
