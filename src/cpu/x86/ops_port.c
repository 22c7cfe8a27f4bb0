/* IN and OUT.
 * Specification: Intel SDM 1, chapter 19 (December 2023). vCPU thread, inside x86_run(). */

#include "cpu/x86/ops.h"

static uint16_t port_of(const X86Cpu *cpu, const X86Insn *in)
{
    return in->aux ? (uint16_t)cpu->gpr[X86_RDX] : (uint8_t)in->imm;
}

static void in_port(X86Cpu *cpu, const X86Insn *in)
{
    uint16_t port = port_of(cpu, in);
    x86_check_io(cpu, port, in->opsize);
    uint64_t value = x86_io_load(cpu, cpu->vcpu.io, port, in->opsize);
    x86_note_port(cpu, port, in->opsize);
    if (in->opsize == 1) {
        REG8(cpu, 0) = (uint8_t)value;
    } else {
        x86_set_sized(cpu, X86_RAX, in->opsize, value);
    }
}

static void out_port(X86Cpu *cpu, const X86Insn *in)
{
    uint16_t port  = port_of(cpu, in);
    uint64_t value = in->opsize == 1 ? REG8(cpu, 0) : x86_get_sized(cpu, X86_RAX, in->opsize);
    x86_check_io(cpu, port, in->opsize);
    x86_io_store(cpu, cpu->vcpu.io, port, value, in->opsize);
    x86_note_port(cpu, port, in->opsize);
}

bool x86_decode_port(X86Decode *d)
{
    bool                       out  = d->arg;
    const ZydisDecodedOperand *port = &d->op[!out];

    d->in->opsize = (uint8_t)(d->op[out].size / 8);
    d->in->aux    = x86_is_reg(port);
    d->in->imm    = x86_is_reg(port) ? 0 : port->imm.value.u;
    d->in->run    = out ? out_port : in_port;
    return true;
}
