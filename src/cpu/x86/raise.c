/* How an instruction ends early: faults and software interrupts, exits and traps that follow it, and code that it
 * changed under itself.
 *
 * vCPU thread, inside x86_run() or whoever else armed cpu->fault_exit. Hot set (park.h). */

#include "cpu/x86/cache.h"
#include "cpu/x86/tlb.h"

void x86_raise_error(X86Cpu *cpu, X86Vector vector, uint32_t code)
{
    cpu->fault.vector    = vector;
    cpu->fault.has_error = true;
    cpu->fault.error     = code;
    x86_longjmp(cpu->fault_exit, X86_THROW_FAULT);
}

void x86_raise(X86Cpu *cpu, X86Vector vector)
{
    /* Vectors with an error code: 8, 10 to 14, 17 (SDM 3, table 6-1). */
    bool has_error       = vector < 32 && (UINT32_C(0x27d00) >> vector & 1);
    cpu->fault.vector    = vector;
    cpu->fault.has_error = has_error;
    cpu->fault.error     = 0;
    x86_longjmp(cpu->fault_exit, X86_THROW_FAULT);
}

void x86_raise_page_fault(X86Cpu *cpu, uint64_t address, uint32_t code)
{
    cpu->cr2 = address;
    x86_raise_error(cpu, X86_PF, code);
}

void x86_raise_missing(X86Cpu *cpu, const char *what)
{
    cpu->exit_detail = (uint64_t)(uintptr_t)what;
    x86_longjmp(cpu->fault_exit, X86_THROW_MISSING);
}

void x86_raise_software(X86Cpu *cpu, X86Event event, unsigned vector)
{
    cpu->cache->software_event  = event;
    cpu->cache->software_vector = vector;
    x86_longjmp(cpu->fault_exit, X86_THROW_SOFTWARE);
}

void x86_want_exit(X86Cpu *cpu, X86Exit exit)
{
    cpu->exit_wanted = (uint8_t)(exit + 1);
    cpu->cache->attention |= ATTENTION_EXIT;
}

void x86_want_trap(X86Cpu *cpu)
{
    cpu->cache->attention |= ATTENTION_TRAP;
    if (cpu->insn) {
        cpu->insn_end = cpu->insn + 1;
    }
}

void x86_ram_written(X86Cpu *cpu, RamBlock *ram, uint64_t offset, unsigned len)
{
    if (ram->code_listener && ram_block_hits_code(ram, offset, len)) {
        x86_park(cpu); /* before anybody is told */
    }
    ram_block_written(ram, offset, len);
    if (cpu->insn && x86_code_changed(cpu)) {
        cpu->insn_end = cpu->insn + 1;
    }
}
