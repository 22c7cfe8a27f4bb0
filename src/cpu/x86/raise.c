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

/* After anything but plain code: which requests can be taken, and whether blocks can run whole. */
void x86_update_attention(X86Cpu *cpu)
{
    X86Cache *c = cpu->cache;

    c->attention &= ATTENTION_EXIT | ATTENTION_TRAP;
    bool code_breakpoints = false;
    for (unsigned i = 0; i < 4 && (cpu->dr[7] & 0xff); i++) {
        code_breakpoints |= (cpu->dr[7] >> (2 * i) & 3) && (cpu->dr[7] >> (16 + 4 * i) & 3) == 0;
    }
    if (c->breakpoints->len || code_breakpoints) {
        c->attention |= ATTENTION_BREAK;
    }
    if (cpu->eflags & EFLAGS_TF || c->single_insns) {
        c->attention |= ATTENTION_STEP;
    }
    if (log_on(cpu->vcpu.log, LOG_EXEC | LOG_CPU)) {
        c->attention |= ATTENTION_LOG;
    }
    c->request_mask = ~(uint32_t)((cpu->eflags & EFLAGS_IF ? 0 : X86_REQUEST_INTR) |
                                  (cpu->nmi_blocked ? X86_REQUEST_NMI : 0) | (cpu->smm ? X86_REQUEST_SMI : 0));
    if (cpu->eflags & EFLAGS_RF) {
        /* It concerns the next instruction only, and there only breakpoints and the flags that an interrupt before it
         * would push: without either it has done its work. */
        if (c->attention & ATTENTION_BREAK || vcpu_requests(&cpu->vcpu) & c->request_mask) {
            c->attention |= ATTENTION_STEP;
        } else {
            cpu->eflags &= ~(uint32_t)EFLAGS_RF;
        }
    }
}
