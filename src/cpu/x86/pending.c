/* Parts of the CPU that are declared and not built yet: each stops the VM with its name. Weak, so that the real
 * function takes its place as soon as it exists. */

#include "cpu/x86/insn.h"
#include "cpu/x86/system.h"

#define PENDING(result, name, ...)                                                                                     \
    __attribute__((weak)) result name(X86Cpu *cpu, ##__VA_ARGS__)                                                      \
    {                                                                                                                  \
        x86_raise_missing(cpu, #name);                                                                                 \
    }

#pragma GCC diagnostic ignored "-Wsuggest-attribute=noreturn"

PENDING(void, x86_load_segment, unsigned seg, uint16_t selector)
PENDING(void, x86_far_jump, uint16_t selector, uint64_t offset, unsigned opsize)
PENDING(void, x86_far_call, uint16_t selector, uint64_t offset, unsigned opsize, uint64_t next)
PENDING(void, x86_far_return, unsigned opsize, unsigned pop_bytes)
PENDING(void, x86_iret, unsigned opsize)
PENDING(void, x86_syscall, uint64_t next)
PENDING(void, x86_sysret, unsigned opsize)
PENDING(void, x86_sysenter)
PENDING(void, x86_sysexit, unsigned opsize)
PENDING(bool, x86_take_interrupt)
PENDING(uint64_t, x86_read_cr, unsigned n)
PENDING(void, x86_write_cr, unsigned n, uint64_t value)
PENDING(uint64_t, x86_read_dr, unsigned n)
PENDING(void, x86_write_dr, unsigned n, uint64_t value)
PENDING(void, x86_lldt, uint16_t selector)
PENDING(void, x86_ltr, uint16_t selector)
PENDING(bool, x86_lar, uint16_t selector, uint32_t *rights)
PENDING(bool, x86_lsl, uint16_t selector, uint32_t *limit)
PENDING(bool, x86_verr, uint16_t selector)
PENDING(bool, x86_verw, uint16_t selector)
PENDING(void, x86_lmsw, uint16_t value)
PENDING(void, x86_clts)
PENDING(void, x86_xsetbv, uint32_t index, uint64_t value)
PENDING(uint64_t, x86_xgetbv, uint32_t index)
PENDING(void, x86_check_io, uint16_t port, unsigned size)
PENDING(void, x86_check_umip)
PENDING(uint64_t, x86_rdmsr, uint32_t index)
PENDING(void, x86_wrmsr, uint32_t index, uint64_t value)
PENDING(uint64_t, x86_rdtsc)
PENDING(X86CpuidLeaf, x86_cpuid, uint32_t leaf, uint32_t subleaf)

__attribute__((weak)) void x86_deliver(X86Cpu *cpu, X86Event event, unsigned vector, bool has_error, uint32_t error,
                                       uint64_t next)
{
    cpu->in_shutdown = true;
}

__attribute__((weak)) void x86_check_cpl0(X86Cpu *cpu)
{
    if (cpu->cpl) {
        x86_raise(cpu, X86_GP);
    }
}

__attribute__((weak)) uint64_t x86_popf_mask(const X86Cpu *cpu, unsigned opsize)
{
    return EFLAGS_ARITH | EFLAGS_TF | EFLAGS_DF | EFLAGS_NT | (opsize == 2 ? 0 : EFLAGS_AC | EFLAGS_ID) |
           (cpu->cpl == 0 ? EFLAGS_IF | EFLAGS_IOPL : 0);
}

__attribute__((weak)) void x86_update_mode(X86Cpu *cpu)
{
    const X86Segment *cs = &cpu->seg[X86_CS];

    cpu->long_mode  = cpu->efer & EFER_LMA;
    cpu->cpl        = cpu->cr0 & CR0_PE ? (cpu->seg[X86_SS].attr & SEG_DPL) >> SEG_DPL_SHIFT : 0;
    cpu->code_size  = cpu->long_mode && (cs->attr & SEG_L) ? X86_CODE64 : cs->attr & SEG_DB ? X86_CODE32 : X86_CODE16;
    cpu->stack_size = cpu->code_size == X86_CODE64 ? 8 : cpu->seg[X86_SS].attr & SEG_DB ? 4 : 2;
    cpu->flat       = cpu->code_size == X86_CODE64 || (cpu->code_size == X86_CODE32 && cs->limit == UINT32_MAX);
    cpu->mode_key   = cpu->code_size | cpu->stack_size << 2 | cpu->flat << 6 | cpu->cpl << 7;
    x86_tlb_select(cpu);
}

__attribute__((weak)) bool x86_vector_decode(X86Cpu *cpu, const ZydisDecodedInstruction *decoded,
                                             const ZydisDecodedOperand *operands, X86Insn *insn)
{
    return false;
}
