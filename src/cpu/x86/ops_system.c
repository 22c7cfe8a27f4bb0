/* System instructions: thin layers over system.h, and those that do nothing here.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run(). */

#include "cpu/x86/ops.h"

static void hlt(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    x86_want_exit(cpu, X86_EXIT_HALT);
}

uint64_t x86_ea_slow(X86Cpu *cpu, const X86Insn *in, uint64_t sum, unsigned len, X86Access access)
{
    if (in->address == X86_ADDRESS_BASED) {
        return cpu->seg[in->seg].base + sum;
    }
    uint64_t offset = in->addrsize == 8 ? sum : in->addrsize == 4 ? (uint32_t)sum : (uint16_t)sum;
    return x86_linear(cpu, in->seg, offset, len, access);
}

static void nop(X86Cpu *cpu, const X86Insn *in)
{
}

bool x86_decode_nop(X86Decode *d)
{
    d->in->run = nop;
    return true;
}

bool x86_decode_system(X86Decode *d)
{
    switch (d->z->mnemonic) {
    case ZYDIS_MNEMONIC_HLT: d->in->run = hlt; return true;
    default: return false;
    }
}
