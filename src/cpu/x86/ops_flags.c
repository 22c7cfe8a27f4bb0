/* Instructions on single flags: CLC, STC, CMC, CLD, STD, CLI, STI, LAHF, SAHF, SALC, STAC, CLAC.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run(). */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/ops.h"

enum { ARITH_CF = 0x100 };

static void clc(X86Cpu *cpu, const X86Insn *in)
{
    cpu->arith &= (uint16_t)~ARITH_CF;
}

static void stc(X86Cpu *cpu, const X86Insn *in)
{
    cpu->arith |= ARITH_CF;
}

static void cmc(X86Cpu *cpu, const X86Insn *in)
{
    cpu->arith ^= ARITH_CF;
}

static void cld(X86Cpu *cpu, const X86Insn *in)
{
    cpu->eflags &= ~(uint32_t)EFLAGS_DF;
}

static void std(X86Cpu *cpu, const X86Insn *in)
{
    cpu->eflags |= EFLAGS_DF;
}

/* May IF be changed? In real mode CPL is 0. */
static bool has_iopl(const X86Cpu *cpu)
{
    return cpu->cpl <= (cpu->eflags & EFLAGS_IOPL) >> 12;
}

static void cli(X86Cpu *cpu, const X86Insn *in)
{
    if (has_iopl(cpu)) {
        cpu->eflags &= ~(uint32_t)EFLAGS_IF;
    } else if (x86_virtual_if(cpu)) {
        cpu->eflags &= ~(uint32_t)EFLAGS_VIF;
    } else {
        x86_raise(cpu, X86_GP);
    }
}

static void sti(X86Cpu *cpu, const X86Insn *in)
{
    if (!has_iopl(cpu)) {
        if (!x86_virtual_if(cpu) || (cpu->eflags & EFLAGS_VIP)) {
            x86_raise(cpu, X86_GP);
        }
        cpu->eflags |= EFLAGS_VIF;
        return;
    }
    if (!(cpu->eflags & EFLAGS_IF)) {
        cpu->eflags |= EFLAGS_IF;
        cpu->interrupt_shadow = X86_SHADOW_STI;
    }
}

static void lahf(X86Cpu *cpu, const X86Insn *in)
{
    REG8(cpu, 1) = (uint8_t)(cpu->arith >> 8);
}

static void sahf(X86Cpu *cpu, const X86Insn *in)
{
    cpu->arith = (uint16_t)(((REG8(cpu, 1) & 0xd5) | 2) << 8 | (cpu->arith & 1));
}

static void salc(X86Cpu *cpu, const X86Insn *in)
{
    REG8(cpu, 0) = cpu->arith & ARITH_CF ? 0xff : 0;
}

static void set_ac(X86Cpu *cpu, bool on)
{
    if (cpu->cpl) {
        x86_raise(cpu, X86_UD);
    }
    cpu->eflags = on ? cpu->eflags | EFLAGS_AC : cpu->eflags & ~(uint32_t)EFLAGS_AC;
    x86_tlb_select(cpu);
}

static void stac(X86Cpu *cpu, const X86Insn *in)
{
    set_ac(cpu, true);
}

static void clac(X86Cpu *cpu, const X86Insn *in)
{
    set_ac(cpu, false);
}

bool x86_decode_flag_op(X86Decode *d)
{
    X86Insn *in = d->in;

    switch (d->z->mnemonic) {
    case ZYDIS_MNEMONIC_CLC: in->run = clc; return true;
    case ZYDIS_MNEMONIC_STC: in->run = stc; return true;
    case ZYDIS_MNEMONIC_CMC: in->run = cmc; return true;
    case ZYDIS_MNEMONIC_CLD: in->run = cld; return true;
    case ZYDIS_MNEMONIC_STD: in->run = std; return true;
    case ZYDIS_MNEMONIC_CLI: in->run = cli; return true;
    case ZYDIS_MNEMONIC_STI:
        in->run = sti;
        in->flags |= X86_INSN_ENDS;
        return true;
    case ZYDIS_MNEMONIC_LAHF:
    case ZYDIS_MNEMONIC_SAHF:
        in->run = d->z->mnemonic == ZYDIS_MNEMONIC_LAHF ? lahf : sahf;
        return d->cpu->code_size != X86_CODE64 || x86_has(d->cpu, X86_FEATURE_LAHF_LM);
    case ZYDIS_MNEMONIC_SALC: in->run = salc; return true;
    case ZYDIS_MNEMONIC_STAC: in->run = stac; return true;
    case ZYDIS_MNEMONIC_CLAC: in->run = clac; return true;
    default: return false;
    }
}
