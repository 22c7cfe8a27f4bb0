/* The system side of the x86 CPU: what the executor's instruction handlers (and later the translator's helpers)
 * call for segments, control transfers, control registers, MSRs, CPUID and interrupts.
 *
 * vCPU thread, inside x86_run(), unless said otherwise. Functions raise the guest's faults by themselves and do not
 * return then. `next` is the offset (RIP/EIP/IP) of the following instruction. Those that transfer control set
 * cpu->rip and call x86_update_mode() as needed; the executor ends its block after them. */

#ifndef QUERN_CPU_X86_SYSTEM_H
#define QUERN_CPU_X86_SYSTEM_H

#include "cpu/x86/park.h"

/* --- seg.c: segment registers and descriptor tables --- */
void x86_load_segment(X86Cpu *cpu, unsigned seg, uint16_t selector); /* MOV/POP/LES... Sreg, not CS; no shadow set */
void x86_load_segment_real(X86Cpu *cpu, unsigned seg, uint16_t selector); /* real and virtual-8086 mode */
void x86_lldt(X86Cpu *cpu, uint16_t selector);
void x86_ltr(X86Cpu *cpu, uint16_t selector);
bool x86_lar(X86Cpu *cpu, uint16_t selector, uint32_t *rights); /* false: ZF = 0 */
bool x86_lsl(X86Cpu *cpu, uint16_t selector, uint32_t *limit);
bool x86_verr(X86Cpu *cpu, uint16_t selector);
bool x86_verw(X86Cpu *cpu, uint16_t selector);

/* --- far.c: far transfers; opsize is 2, 4 or 8 bytes --- */
void x86_far_jump(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize);
void x86_far_call(X86Cpu *cpu, uint16_t selector, uint64_t offset, unsigned opsize, uint64_t next);
void x86_far_return(X86Cpu *cpu, unsigned opsize, unsigned pop_bytes);
void x86_iret(X86Cpu *cpu, unsigned opsize);
void x86_syscall(X86Cpu *cpu, uint64_t next);
void x86_sysret(X86Cpu *cpu, unsigned opsize);
void x86_sysenter(X86Cpu *cpu);
void x86_sysexit(X86Cpu *cpu, unsigned opsize);

/* --- intr.c: exceptions and interrupts --- */
typedef enum X86Event {
    X86_EVENT_EXCEPTION,   /* a fault or trap of the CPU */
    X86_EVENT_SOFTWARE,    /* INT n */
    X86_EVENT_SOFTWARE_BP, /* INT3, INTO: no #GP(selector) difference but counts as trap */
    X86_EVENT_ICEBP,       /* INT1 */
    X86_EVENT_EXTERNAL,    /* external interrupt or NMI */
} X86Event;

/* Delivers through the IDT (or IVT): pushes, switches stacks, sets cpu->rip. A fault while delivering becomes the
 * exception that SDM 3, table 6-5 says; it comes back when something has been delivered, or with cpu->in_shutdown
 * set after a triple fault. cpu->rip is the address of the current instruction (and cpu->insn no longer counts): what
 * faults push; software events push `next`, and cpu->rip when their delivery faults. Called with the fault exit armed
 * by the caller: it re-arms it for itself. */
void x86_deliver(X86Cpu *cpu, X86Event event, unsigned vector, bool has_error, uint32_t error, uint64_t next);

/* Takes the most urgent pending event the CPU can take now (SMI, NMI, INTR, INIT, SIPI as SDM 3, 6.9 orders them).
 * Returns true when state changed. Called at a block boundary with request bits set; clears those it has seen. */
bool x86_take_interrupt(X86Cpu *cpu);

/* What a SIPI does to a CPU that waits for one. */
void x86_start_at_sipi(X86Cpu *cpu);

/* Would x86_take_interrupt() find something that ends HLT? Any thread. */
bool x86_has_wakeup(X86Cpu *cpu);

/* --- smm.c: system management mode --- */
void x86_enter_smm(X86Cpu *cpu);
bool x86_rsm(X86Cpu *cpu); /* #UD outside SMM; true: the SMI interrupted HLT, which goes on; may set in_shutdown */

/* --- control.c: control and debug registers --- */
uint64_t x86_read_cr(X86Cpu *cpu, unsigned n);
void     x86_write_cr(X86Cpu *cpu, unsigned n, uint64_t value); /* 0, 2, 3, 4, 8 */
uint64_t x86_read_dr(X86Cpu *cpu, unsigned n);
void     x86_write_dr(X86Cpu *cpu, unsigned n, uint64_t value);
bool     x86_write_efer(X86Cpu *cpu, uint64_t value); /* false: #GP, nothing has changed */

/* Could the CPU be in this state? For RSM and saved state: all the checks of x86_write_cr() and EFER, for all at once.
 */
bool     x86_valid_control(const X86Cpu *cpu, uint64_t cr0, uint64_t cr3, uint64_t cr4, uint64_t efer);
void     x86_lmsw(X86Cpu *cpu, uint16_t value);
void     x86_clts(X86Cpu *cpu);
void     x86_xsetbv(X86Cpu *cpu, uint32_t index, uint64_t value);
uint64_t x86_xgetbv(X86Cpu *cpu, uint32_t index);

/* POPF/IRET rule: which flags may change at this CPL, IOPL and mode; opsize 2, 4, 8. */
/* Does EFLAGS.VIF stand for IF, which IOPL denies? Virtual-8086 mode with CR4.VME, ring 3 with CR4.PVI (SDM 3, 21.3.3
 * and 21.4). */
static inline bool x86_virtual_if(const X86Cpu *cpu)
{
    uint64_t extension = cpu->eflags & EFLAGS_VM ? CR4_VME : CR4_PVI;
    return cpu->cpl == 3 && (cpu->eflags & EFLAGS_IOPL) != EFLAGS_IOPL && (cpu->cr4 & extension);
}

/* FLAGS as a 16-bit image of virtual-8086 mode shows them then: VIF in the place of IF, IOPL 3. */
static inline uint16_t x86_virtual_flags(const X86Cpu *cpu)
{
    uint64_t flags = x86_get_eflags(cpu) & ~(uint64_t)EFLAGS_IF;
    return (uint16_t)(flags | EFLAGS_IOPL | (cpu->eflags & EFLAGS_VIF ? EFLAGS_IF : 0));
}

/* A 16-bit image that POPF or IRET has popped there becomes FLAGS, IF becomes VIF; false: it is #GP(0). */
bool x86_set_virtual_flags(X86Cpu *cpu, uint16_t flags);

uint64_t x86_popf_mask(const X86Cpu *cpu, unsigned opsize);

/* Raises #GP(0) unless the I/O permission rules allow this port range (CPL, IOPL, TSS bitmap). */
void x86_check_io(X86Cpu *cpu, uint16_t port, unsigned size);

/* CR4.UMIP, CPL 0 checks as one call each. */
void x86_check_cpl0(X86Cpu *cpu);
void x86_check_umip(X86Cpu *cpu);

/* --- msr.c --- raise #GP(0) for what does not exist or may not be written; CPL 0 is checked inside --- */
uint64_t x86_rdmsr(X86Cpu *cpu, uint32_t index);
void     x86_wrmsr(X86Cpu *cpu, uint32_t index, uint64_t value);

/* The same without a guest fault: for debuggers, saved state and accelerators. false: no such MSR. */
bool x86_get_msr(X86Cpu *cpu, uint32_t index, uint64_t *value);
bool x86_set_msr(X86Cpu *cpu, uint32_t index, uint64_t value);

/* --- tsc.c --- */
uint64_t x86_rdtsc(X86Cpu *cpu);                   /* no checks; any thread; not in the hot set (park.h) */
void     x86_set_tsc(X86Cpu *cpu, uint64_t value); /* as saved state sets it: leaves TSC_ADJUST alone */
uint64_t x86_host_tsc_hz(void); /* CPUID 15h/40000010h of the host, else a short calibration, cached */

/* x86_rdtsc() on the vCPU's own thread, in the hot set. */
static inline uint64_t x86_tsc_now(X86Cpu *cpu)
{
    if (__builtin_expect(cpu->tsc_plain, 1)) {
        return __builtin_ia32_rdtsc() + (uint64_t)cpu->tsc_offset;
    }
    x86_park(cpu);
    return x86_rdtsc(cpu);
}

/* Virtual-clock time at which the guest's TSC reads that; INT64_MAX when beyond. Any thread. */
int64_t x86_tsc_to_ns(X86Cpu *cpu, uint64_t guest_tsc);

/* The guest's TSCs go on or stand still, together with the virtual clock: the accelerator calls it when the vCPUs of
 * the group are outside, machine lock held. A vCPU begins standing still at 0. */
void x86_tsc_set_running(VcpuGroup *group, bool running);

/* For x86_cpu_init(): a TSC of that frequency, 0 for the host's, standing still at 0. */
void x86_init_tsc(X86Cpu *cpu, uint64_t hz);

/* From now on the TSC counts the virtual clock instead of the host's TSC: manual clocks, hosts whose TSC is not
 * invariant. Before the vCPU runs. */
void x86_tsc_use_clock(X86Cpu *cpu);

/* The same TSC as another vCPU's, to the tick, but for what that one's guest has adjusted. Both stand. */
void x86_tsc_follow(X86Cpu *cpu, const X86Cpu *other);

/* --- cpuid.c --- */
typedef struct X86CpuidLeaf {
    uint32_t eax, ebx, ecx, edx;
} X86CpuidLeaf;
X86CpuidLeaf x86_cpuid(X86Cpu *cpu, uint32_t leaf, uint32_t subleaf);
uint32_t     x86_cpu_signature(const X86Cpu *cpu); /* EAX of leaf 1 */

/* --- reset.c --- */
/* Power-on values, or what INIT changes (SDM 3, table 10-1); the local APIC with them. The vCPU is outside, or it is
 * its own thread. Power-on drops pending interrupt requests. */
void x86_reset(X86Cpu *cpu, bool init_only);

/* --- dump.c --- */
/* Append the state in the layout of "info registers": the integer and system part, and x87 and vector registers. The
 * vCPU is outside, or it is its own thread between instructions. */
void x86_dump(X86Cpu *cpu, GString *out);
void x86_dump_vectors(X86Cpu *cpu, GString *out);

#endif
