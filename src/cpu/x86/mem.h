/* Guest memory as instructions see it: linear addresses through the TLB and the page tables.
 *
 * Every function here raises the guest's fault by itself (x86_raise_*, does not return) and then has changed
 * nothing. vCPU thread, inside x86_run(). Multi-byte accesses may cross pages; both pages are checked first.
 *
 * "Explicit" accesses are made with the privilege of CPL, "system" ones (descriptor tables, TSS) as supervisor. */

#ifndef QUERN_CPU_X86_MEM_H
#define QUERN_CPU_X86_MEM_H

#include "cpu/x86/x86.h"

typedef enum X86Access { X86_READ, X86_WRITE, X86_FETCH } X86Access;

/* Explicit accesses of 1, 2, 4 or 8 bytes. mmu.h has inline forms for the executor's hot path. */
uint64_t x86_load(X86Cpu *cpu, uint64_t linear, unsigned size);
void     x86_store(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size);

/* The same with the privilege of `cpl` instead of the current one: the stack of another ring. SMAP applies by AC. */
uint64_t x86_load_cpl(X86Cpu *cpu, uint64_t linear, unsigned size, unsigned cpl);
void     x86_store_cpl(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size, unsigned cpl);

/* System accesses. */
uint64_t x86_load_system(X86Cpu *cpu, uint64_t linear, unsigned size);
void     x86_store_system(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size);

/* Explicit accesses of up to 4096 bytes, all or nothing as far as faults go. */
void x86_load_bytes(X86Cpu *cpu, uint64_t linear, void *buf, unsigned len);
void x86_store_bytes(X86Cpu *cpu, uint64_t linear, const void *buf, unsigned len);

/* Faults like a write of len bytes would, and does nothing else. len <= 4096. */
void x86_probe_write(X86Cpu *cpu, uint64_t linear, unsigned len);

/* Segmentation: checks offset against limit, type and canonical form of seg for an access of len bytes and
 * returns the linear address. Raises #GP(0), or #SS(0) for the stack segment. `offset` is already cut to the
 * address size. */
uint64_t x86_linear(X86Cpu *cpu, unsigned seg, uint64_t offset, unsigned len, X86Access access);

/* Translates for debuggers: no fault, no accessed bits. false when not mapped. */
bool x86_debug_translate(X86Cpu *cpu, uint64_t linear, uint64_t *physical);

/* TLB maintenance. */
void x86_tlb_flush(X86Cpu *cpu, bool global_too); /* current PCID only unless global_too, which drops everything
                                                   * and reads the PDPTEs again (for CR0, CR4, EFER changes) */
void x86_tlb_flush_page(X86Cpu *cpu, uint64_t linear);
void x86_invpcid(X86Cpu *cpu, unsigned type, uint16_t pcid, uint64_t linear); /* operands already checked */
void x86_load_cr3(X86Cpu *cpu, uint64_t value); /* canonical value with PCID and no-flush bit; flushes as told */

/* Chooses the TLB for CPL, EFLAGS.AC, CR4.SMAP and CR0.AM: x86_update_mode() ends with it. */
void x86_tlb_select(X86Cpu *cpu);

/* Drops every cached host address (VCPU_REQUEST_FLUSH): TLBs of all address spaces and what was read from the map. */
void x86_tlb_drop(X86Cpu *cpu);

/* After a write to DR0 to DR3 or DR7. */
void x86_debug_changed(X86Cpu *cpu);

bool x86_tlb_init(X86Cpu *cpu, Error *err);
void x86_tlb_free(X86Cpu *cpu);

static inline bool x86_canonical(const X86Cpu *cpu, uint64_t linear)
{
    int shift = 64 - (cpu->cr4 & CR4_LA57 ? 57 : 48);
    return (uint64_t)((int64_t)(linear << shift) >> shift) == linear;
}

/* How many bytes of 64-bit code there can be from rip, which is canonical, up to the hole. */
static inline uint64_t x86_code_room(const X86Cpu *cpu, uint64_t rip)
{
    uint64_t hole = UINT64_C(1) << (cpu->cr4 & CR4_LA57 ? 56 : 47);
    return rip < hole ? hole - rip : UINT64_MAX;
}

#endif
