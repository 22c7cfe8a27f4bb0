/* The stack: PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run().
 *
 * RSP and all other registers change after the last access that can fault. */

#include "cpu/x86/ops.h"

/* --- any mode --- */

uint64_t x86_stack_linear(X86Cpu *cpu, uint64_t offset, unsigned len, X86Access access)
{
    if (cpu->stack_size == 8) {
        return offset; /* a miss looks at its form */
    }
    offset = x86_stack_offset(cpu, offset);
    return cpu->flat && cpu->stack_size == 4 ? offset : x86_linear(cpu, X86_SS, offset, len, access);
}

static void store_sized(X86Cpu *cpu, uint64_t linear, uint64_t value, unsigned size)
{
    if (size == 8) {
        x86_store64(cpu, linear, value, true);
    } else if (size == 4) {
        x86_store32(cpu, linear, (uint32_t)value, true);
    } else {
        x86_store16(cpu, linear, (uint16_t)value, true);
    }
}

static uint64_t load_sized(X86Cpu *cpu, uint64_t linear, unsigned size)
{
    return size == 8   ? x86_load64(cpu, linear, true)
           : size == 4 ? x86_load32(cpu, linear, true)
                       : x86_load16(cpu, linear, true);
}

/* A value at `offset` of the stack segment, without moving the stack pointer. */
static void stack_store(X86Cpu *cpu, uint64_t offset, uint64_t value, unsigned size)
{
    store_sized(cpu, x86_stack_linear(cpu, offset, size, X86_WRITE), value, size);
}

static uint64_t stack_load(X86Cpu *cpu, uint64_t offset, unsigned size)
{
    return load_sized(cpu, x86_stack_linear(cpu, offset, size, X86_READ), size);
}

void x86_push(X86Cpu *cpu, uint64_t value, unsigned size)
{
    uint64_t rsp = cpu->gpr[X86_RSP] - size;
    stack_store(cpu, rsp, value, size);
    x86_stack_set(cpu, rsp);
}

uint64_t x86_pop(X86Cpu *cpu, unsigned size)
{
    uint64_t rsp   = cpu->gpr[X86_RSP];
    uint64_t value = stack_load(cpu, rsp, size);
    x86_stack_set(cpu, rsp + size);
    return value;
}

/* --- PUSH, POP --- */

static void push64_r(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rsp = cpu->gpr[X86_RSP] - 8;
    x86_store64(cpu, rsp, cpu->gpr[in->reg], true);
    cpu->gpr[X86_RSP] = rsp;
}

static void pop64_r(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rsp      = cpu->gpr[X86_RSP];
    uint64_t value    = x86_load64(cpu, rsp, true);
    cpu->gpr[X86_RSP] = rsp + 8;
    cpu->gpr[in->reg] = value; /* last: POP RSP */
}

static void push64_i(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rsp = cpu->gpr[X86_RSP] - 8;
    x86_store64(cpu, rsp, in->imm, true);
    cpu->gpr[X86_RSP] = rsp;
}

static void push_r(X86Cpu *cpu, const X86Insn *in)
{
    x86_push(cpu, cpu->gpr[in->reg], in->opsize);
}

static void push_i(X86Cpu *cpu, const X86Insn *in)
{
    x86_push(cpu, in->imm, in->opsize);
}

static uint64_t load_operand(X86Cpu *cpu, const X86Insn *in)
{
    return in->opsize == 8   ? LOAD_OPERAND(64, cpu, in)
           : in->opsize == 4 ? LOAD_OPERAND(32, cpu, in)
                             : LOAD_OPERAND(16, cpu, in);
}

static void push_m(X86Cpu *cpu, const X86Insn *in)
{
    x86_push(cpu, load_operand(cpu, in), in->opsize);
}

static void pop_r(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t value = x86_pop(cpu, in->opsize);
    x86_set_sized(cpu, in->reg, in->opsize, value);
}

/* The address is computed with RSP as it is after the pop, and the store may fault: the pop is undone then. */
static void pop_m(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rsp   = cpu->gpr[X86_RSP];
    uint64_t value = stack_load(cpu, rsp, in->opsize);
    X86Insn  moved = *in;

    if (in->base == X86_RSP) {
        moved.disp += in->opsize;
    }
    uint64_t linear = x86_ea(cpu, &moved, in->opsize, X86_WRITE);
    bool     stack  = in->seg == X86_SS;
    if (in->opsize == 8) {
        x86_store64(cpu, linear, value, stack);
    } else if (in->opsize == 4) {
        x86_store32(cpu, linear, (uint32_t)value, stack);
    } else {
        x86_store16(cpu, linear, (uint16_t)value, stack);
    }
    x86_stack_set(cpu, rsp + in->opsize);
}

/* A selector is pushed with its upper bytes zero, or, on current processors and with 32 bits, as a 16-bit write that
 * leaves them alone (SDM 2, PUSH). */
static void push_segment(X86Cpu *cpu, const X86Insn *in)
{
    uint16_t selector = cpu->seg[in->aux].selector;
    if (in->opsize == 4) {
        uint64_t rsp = cpu->gpr[X86_RSP] - 4;
        stack_store(cpu, rsp, selector, 2);
        x86_stack_set(cpu, rsp);
    } else {
        x86_push(cpu, selector, in->opsize);
    }
}

static void pop_segment(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rsp      = cpu->gpr[X86_RSP];
    uint16_t selector = (uint16_t)stack_load(cpu, rsp, in->opsize == 4 ? 2 : in->opsize);
    uint8_t  width    = cpu->stack_size;

    x86_load_segment(cpu, in->aux, selector);
    x86_set_sized(cpu, X86_RSP, width, rsp + in->opsize);
    if (in->aux == X86_SS) {
        cpu->interrupt_shadow = X86_SHADOW_SS;
    }
}

/* --- PUSHA, POPA --- */

static void pusha(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rsp  = cpu->gpr[X86_RSP];
    unsigned size = in->opsize;

    /* All eight fit, or nothing is pushed. */
    for (unsigned i = 0; i < 8; i++) {
        uint64_t linear = x86_stack_linear(cpu, rsp - size * (i + 1), size, X86_WRITE);
        x86_probe_write(cpu, linear, size);
    }
    for (unsigned i = 0; i < 8; i++) {
        stack_store(cpu, rsp - size * (i + 1), i == X86_RSP ? rsp : cpu->gpr[i], size);
    }
    x86_stack_set(cpu, rsp - 8 * size);
}

static void popa(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rsp  = cpu->gpr[X86_RSP];
    unsigned size = in->opsize;
    uint64_t values[8];

    for (unsigned i = 0; i < 8; i++) {
        values[i] = i == 3 ? 0 : stack_load(cpu, rsp + size * i, size); /* the saved SP is skipped */
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i != 3) {
            x86_set_sized(cpu, 7 - i, size, values[i]);
        }
    }
    x86_stack_set(cpu, rsp + 8 * size);
}

/* --- PUSHF, POPF --- */

/* In virtual-8086 mode IOPL must be 3, or, with CR4.VME, the operand 16 bits: true then. */
static bool flags_are_virtual(X86Cpu *cpu, const X86Insn *in)
{
    if (!(cpu->eflags & EFLAGS_VM) || (cpu->eflags & EFLAGS_IOPL) == EFLAGS_IOPL) {
        return false;
    }
    if (!x86_virtual_if(cpu) || in->opsize != 2) {
        x86_raise(cpu, X86_GP);
    }
    return true;
}

static void pushf(X86Cpu *cpu, const X86Insn *in)
{
    bool virtual = flags_are_virtual(cpu, in);
    x86_push(cpu, virtual ? x86_virtual_flags(cpu) : x86_get_eflags(cpu) & ~(uint64_t)(EFLAGS_VM | EFLAGS_RF),
             in->opsize);
}

static void popf(X86Cpu *cpu, const X86Insn *in)
{
    bool virtual = flags_are_virtual(cpu, in);
    uint64_t rsp = cpu->gpr[X86_RSP], value = x86_pop(cpu, in->opsize);
    if (virtual) {
        if (!x86_set_virtual_flags(cpu, (uint16_t)value)) {
            cpu->gpr[X86_RSP] = rsp;
            x86_raise(cpu, X86_GP);
        }
        x86_update_mode(cpu);
        return;
    }
    uint64_t mask = x86_popf_mask(cpu, in->opsize);
    uint32_t old  = cpu->eflags;

    x86_set_eflags(cpu, value, mask);
    if (in->opsize > 2) {
        cpu->eflags &= ~(uint32_t)EFLAGS_RF;
    }
    if ((old ^ cpu->eflags) & (EFLAGS_IOPL | EFLAGS_AC | EFLAGS_TF | EFLAGS_VM)) {
        x86_update_mode(cpu);
    }
}

/* --- ENTER, LEAVE --- */

static void enter(X86Cpu *cpu, const X86Insn *in)
{
    unsigned size  = in->opsize;
    unsigned level = in->aux & 31;
    uint64_t rsp   = cpu->gpr[X86_RSP];
    uint64_t rbp   = cpu->gpr[X86_RBP];
    uint64_t frame;

    rsp -= size;
    stack_store(cpu, rsp, rbp, size);
    frame = rsp;
    for (unsigned i = 1; i < level; i++) {
        uint64_t value = stack_load(cpu, rbp - size * i, size);
        rsp -= size;
        stack_store(cpu, rsp, value, size);
    }
    if (level) {
        rsp -= size;
        stack_store(cpu, rsp, frame, size);
    }
    rsp -= (uint16_t)in->imm;
    /* A write at the new top of stack must not fault either (SDM 2, ENTER). */
    x86_probe_write(cpu, x86_stack_linear(cpu, rsp, size, X86_WRITE), size);
    x86_set_sized(cpu, X86_RBP, size, frame);
    x86_stack_set(cpu, rsp);
}

static void leave(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rbp   = cpu->gpr[X86_RBP];
    uint64_t value = stack_load(cpu, rbp, in->opsize);

    x86_stack_set(cpu, rbp + in->opsize);
    x86_set_sized(cpu, X86_RBP, in->opsize, value);
}

/* --- decoding --- */

static bool decode_push_pop(X86Decode *d, bool push)
{
    const ZydisDecodedOperand *op   = &d->op[0];
    X86Insn                   *in   = d->in;
    bool                       wide = in->opsize == 8 && d->cpu->stack_size == 8;

    if (x86_is_mem(op)) {
        in->run = push ? push_m : pop_m;
    } else if (x86_is_imm(op)) {
        in->run = wide ? push64_i : push_i;
    } else if (ZydisRegisterGetClass(op->reg.value) == ZYDIS_REGCLASS_SEGMENT) {
        in->aux = (uint8_t)ZydisRegisterGetId(op->reg.value);
        in->run = push ? push_segment : pop_segment;
        in->flags |= push ? 0 : X86_INSN_ENDS;
        return push || in->aux != X86_CS;
    } else {
        in->reg = x86_decode_register(op->reg.value);
        in->run = push ? (wide ? push64_r : push_r) : (wide ? pop64_r : pop_r);
    }
    return true;
}

bool x86_decode_stack(X86Decode *d)
{
    X86Insn *in = d->in;

    switch (d->z->mnemonic) {
    case ZYDIS_MNEMONIC_PUSH: return decode_push_pop(d, true);
    case ZYDIS_MNEMONIC_POP: return decode_push_pop(d, false);
    case ZYDIS_MNEMONIC_PUSHA:
    case ZYDIS_MNEMONIC_PUSHAD: in->run = pusha; return true;
    case ZYDIS_MNEMONIC_POPA:
    case ZYDIS_MNEMONIC_POPAD: in->run = popa; return true;
    case ZYDIS_MNEMONIC_PUSHF:
    case ZYDIS_MNEMONIC_PUSHFD:
    case ZYDIS_MNEMONIC_PUSHFQ: in->run = pushf; return true;
    case ZYDIS_MNEMONIC_POPF:
    case ZYDIS_MNEMONIC_POPFD:
    case ZYDIS_MNEMONIC_POPFQ:
        in->run = popf;
        in->flags |= X86_INSN_ENDS;
        return true;
    case ZYDIS_MNEMONIC_ENTER:
        in->run = enter;
        in->imm = d->op[0].imm.value.u;
        in->aux = (uint8_t)d->op[1].imm.value.u;
        return true;
    case ZYDIS_MNEMONIC_LEAVE: in->run = leave; return true;
    default: return false;
    }
}
