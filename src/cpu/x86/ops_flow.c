/* Control flow: JMP, Jcc, LOOPcc, JCXZ, CALL, RET, far transfers, software interrupts, BOUND.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run().
 *
 * Targets of direct branches count from the start of the block (X86Insn.imm), like cpu->rip while it runs. */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/ops.h"

#include "cpu/x86/cache.h"

/* A branch to where no code can be is the branch's own fault. */
static inline void check_target64(X86Cpu *cpu, uint64_t target)
{
    if (__builtin_expect(((uint64_t)((int64_t)target >> 47) + 1) >> 1 != 0, 0) && !x86_canonical(cpu, target)) {
        x86_raise(cpu, X86_GP);
    }
}

static inline void check_target(X86Cpu *cpu, uint64_t target)
{
    if (cpu->code_size == X86_CODE64) {
        check_target64(cpu, target);
    } else if (target > cpu->seg[X86_CS].limit) {
        x86_raise(cpu, X86_GP);
    }
}

static inline uint64_t cut(uint64_t value, unsigned size)
{
    return size == 8 ? value : size == 4 ? (uint32_t)value : (uint16_t)value;
}

static inline void go_taken64(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t target = cpu->rip + in->imm;
    check_target64(cpu, target);
    cpu->rip    = target;
    cpu->branch = X86_BRANCH_TAKEN;
}

static inline void go_next64(X86Cpu *cpu, const X86Insn *in)
{
    cpu->rip += in->rip_offset + in->len;
    cpu->branch = X86_BRANCH_NEXT;
}

/* aux: size to which the target is cut. */
static inline void go_taken(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t target = cut(cpu->rip + in->imm, in->aux);
    check_target(cpu, target);
    cpu->rip    = target;
    cpu->branch = X86_BRANCH_TAKEN;
}

static inline void go_next(X86Cpu *cpu, const X86Insn *in)
{
    cpu->rip    = x86_insn_next(cpu, in);
    cpu->branch = X86_BRANCH_NEXT;
}

static void go_indirect(X86Cpu *cpu, uint64_t target)
{
    check_target(cpu, target);
    cpu->rip    = target;
    cpu->branch = X86_BRANCH_INDIRECT;
}

/* The size of RIP that a near branch works with. */
static uint8_t branch_size(const X86Decode *d)
{
    return d->in->opsize;
}

/* --- Jcc --- */

#define JCC(n, cc)                                                                                                     \
    static void j##cc##_64(X86Cpu *cpu, const X86Insn *in)                                                             \
    {                                                                                                                  \
        if (x86_condition(cpu, n)) {                                                                                   \
            go_taken64(cpu, in);                                                                                       \
        } else {                                                                                                       \
            go_next64(cpu, in);                                                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    static void j##cc##_cut(X86Cpu *cpu, const X86Insn *in)                                                            \
    {                                                                                                                  \
        if (x86_condition(cpu, n)) {                                                                                   \
            go_taken(cpu, in);                                                                                         \
        } else {                                                                                                       \
            go_next(cpu, in);                                                                                          \
        }                                                                                                              \
    }
CONDITIONS(JCC)

#define JCC_ROW(n, cc) { j##cc##_64, j##cc##_cut },
static const X86Handler jcc_handlers[16][2] = { CONDITIONS(JCC_ROW) };

bool x86_decode_jcc(X86Decode *d)
{
    d->in->aux = branch_size(d);
    d->in->run = jcc_handlers[d->arg][d->in->aux != 8];
    return true;
}

/* --- LOOP, LOOPE, LOOPNE, JCXZ --- */

enum { LOOP, LOOPE, LOOPNE, JCXZ };

static inline void loop(X86Cpu *cpu, const X86Insn *in, unsigned kind)
{
    bool     zero  = cpu->arith & 0x4000;
    uint64_t count = x86_get_sized(cpu, X86_RCX, in->addrsize) - (kind != JCXZ);
    bool     taken = cut(count, in->addrsize) != 0;

    taken = kind == JCXZ ? !taken : kind == LOOPE ? taken && zero : kind == LOOPNE ? taken && !zero : taken;
    if (taken) {
        go_taken(cpu, in);
    } else {
        go_next(cpu, in);
    }
    if (kind != JCXZ) {
        x86_set_sized(cpu, X86_RCX, in->addrsize, count);
    }
}

static void loop_plain(X86Cpu *cpu, const X86Insn *in)
{
    loop(cpu, in, LOOP);
}

static void loope(X86Cpu *cpu, const X86Insn *in)
{
    loop(cpu, in, LOOPE);
}

static void loopne(X86Cpu *cpu, const X86Insn *in)
{
    loop(cpu, in, LOOPNE);
}

static void jcxz(X86Cpu *cpu, const X86Insn *in)
{
    loop(cpu, in, JCXZ);
}

bool x86_decode_loop(X86Decode *d)
{
    static const X86Handler handlers[] = { loop_plain, loope, loopne, jcxz };

    d->in->aux = branch_size(d);
    d->in->run = handlers[d->arg];
    return true;
}

/* --- JMP --- */

static void jmp64(X86Cpu *cpu, const X86Insn *in)
{
    go_taken64(cpu, in);
}

static void jmp_cut(X86Cpu *cpu, const X86Insn *in)
{
    go_taken(cpu, in);
}

static void jmp_r(X86Cpu *cpu, const X86Insn *in)
{
    go_indirect(cpu, x86_get_sized(cpu, in->reg, in->opsize));
}

static uint64_t load_target(X86Cpu *cpu, const X86Insn *in)
{
    return in->opsize == 8   ? LOAD_OPERAND(64, cpu, in)
           : in->opsize == 4 ? LOAD_OPERAND(32, cpu, in)
                             : LOAD_OPERAND(16, cpu, in);
}

static void jmp_m(X86Cpu *cpu, const X86Insn *in)
{
    go_indirect(cpu, load_target(cpu, in));
}

/* --- far transfers: the rest is far.c's --- */

static void transferred(X86Cpu *cpu)
{
    cpu->branch = X86_BRANCH_SYSTEM;
}

/* Far pointer in memory: offset, then selector. */
static uint16_t load_far(X86Cpu *cpu, const X86Insn *in, uint64_t *offset)
{
    uint64_t linear  = x86_ea(cpu, in, in->opsize + 2u, X86_READ);
    uint64_t wrapped = cpu->code_size == X86_CODE64 ? UINT64_MAX : UINT32_MAX;
    bool     stack   = in->seg == X86_SS;

    *offset = in->opsize == 8   ? x86_load64(cpu, linear, stack)
              : in->opsize == 4 ? x86_load32(cpu, linear, stack)
                                : x86_load16(cpu, linear, stack);
    return x86_load16(cpu, (linear + in->opsize) & wrapped, stack);
}

static void jmp_far_i(X86Cpu *cpu, const X86Insn *in)
{
    x86_far_jump(cpu, (uint16_t)in->disp, in->imm, in->opsize);
    transferred(cpu);
}

static void jmp_far_m(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t offset;
    uint16_t selector = load_far(cpu, in, &offset);
    x86_far_jump(cpu, selector, offset, in->opsize);
    transferred(cpu);
}

static void call_far_i(X86Cpu *cpu, const X86Insn *in)
{
    x86_far_call(cpu, (uint16_t)in->disp, in->imm, in->opsize, x86_insn_next(cpu, in));
    transferred(cpu);
}

static void call_far_m(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t offset;
    uint16_t selector = load_far(cpu, in, &offset);
    x86_far_call(cpu, selector, offset, in->opsize, x86_insn_next(cpu, in));
    transferred(cpu);
}

static void ret_far(X86Cpu *cpu, const X86Insn *in)
{
    x86_far_return(cpu, in->opsize, (unsigned)in->imm);
    transferred(cpu);
}

static bool decode_far_branch(X86Decode *d, X86Handler immediate, X86Handler memory)
{
    const ZydisDecodedOperand *op = &d->op[0];
    X86Insn                   *in = d->in;

    if (op->type == ZYDIS_OPERAND_TYPE_POINTER) {
        in->imm  = op->ptr.offset;
        in->disp = op->ptr.segment;
        in->run  = immediate;
    } else {
        in->run = memory;
        x86_cut_far_pointer(d);
    }
    return true;
}

bool x86_decode_jmp(X86Decode *d)
{
    X86Insn *in = d->in;

    if (d->z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
        return decode_far_branch(d, jmp_far_i, jmp_far_m);
    }
    in->aux = branch_size(d);
    if (x86_is_imm(&d->op[0])) {
        in->run = in->aux == 8 ? jmp64 : jmp_cut;
    } else if (x86_is_mem(&d->op[0])) {
        in->run = jmp_m;
    } else {
        in->reg = x86_decode_register(d->op[0].reg.value);
        in->run = jmp_r;
    }
    return true;
}

/* --- CALL, RET --- */

/* Raises the fault of a bad target. One of the push comes first, as on hosts. */
static inline void check_call(X86Cpu *cpu, uint64_t target, unsigned size)
{
    bool good = cpu->code_size == X86_CODE64 ? x86_canonical(cpu, target) : target <= cpu->seg[X86_CS].limit;
    if (__builtin_expect(!good, 0)) {
        x86_probe_write(cpu, x86_stack_linear(cpu, cpu->gpr[X86_RSP] - size, size, X86_WRITE), size);
        x86_raise(cpu, X86_GP);
    }
}

static void call64(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t target = cpu->rip + in->imm;
    uint64_t rsp    = cpu->gpr[X86_RSP] - 8;

    check_call(cpu, target, 8);
    x86_store64(cpu, rsp, cpu->rip + in->rip_offset + in->len, true);
    cpu->gpr[X86_RSP] = rsp;
    cpu->rip          = target;
    cpu->branch       = X86_BRANCH_TAKEN;
}

static void call_cut(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t target = cut(cpu->rip + in->imm, in->aux);

    check_call(cpu, target, in->opsize);
    x86_push(cpu, x86_insn_next(cpu, in), in->opsize);
    cpu->rip    = target;
    cpu->branch = X86_BRANCH_TAKEN;
}

static void call_indirect(X86Cpu *cpu, const X86Insn *in, uint64_t target)
{
    check_call(cpu, target, in->opsize);
    x86_push(cpu, x86_insn_next(cpu, in), in->opsize);
    cpu->rip    = target;
    cpu->branch = X86_BRANCH_INDIRECT;
}

static void call_r(X86Cpu *cpu, const X86Insn *in)
{
    call_indirect(cpu, in, x86_get_sized(cpu, in->reg, in->opsize));
}

static void call_m(X86Cpu *cpu, const X86Insn *in)
{
    call_indirect(cpu, in, load_target(cpu, in));
}

bool x86_decode_call(X86Decode *d)
{
    X86Insn *in = d->in;

    if (d->z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
        return decode_far_branch(d, call_far_i, call_far_m);
    }
    in->aux = branch_size(d);
    if (x86_is_imm(&d->op[0])) {
        in->run = in->aux == 8 ? call64 : call_cut;
    } else if (x86_is_mem(&d->op[0])) {
        in->run = call_m;
    } else {
        in->reg = x86_decode_register(d->op[0].reg.value);
        in->run = call_r;
    }
    return true;
}

/* imm: bytes to drop from the stack. */
static void ret64(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rsp    = cpu->gpr[X86_RSP];
    uint64_t target = x86_load64(cpu, rsp, true);

    check_target64(cpu, target);
    cpu->gpr[X86_RSP] = rsp + 8 + in->imm;
    cpu->rip          = target;
    cpu->branch       = X86_BRANCH_INDIRECT;
}

static void ret_cut(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t rsp    = cpu->gpr[X86_RSP];
    uint64_t linear = x86_stack_linear(cpu, rsp, in->opsize, X86_READ);
    uint64_t target = in->opsize == 8   ? x86_load64(cpu, linear, true)
                      : in->opsize == 4 ? x86_load32(cpu, linear, true)
                                        : x86_load16(cpu, linear, true);

    check_target(cpu, target);
    x86_stack_set(cpu, rsp + in->opsize + in->imm);
    cpu->rip    = target;
    cpu->branch = X86_BRANCH_INDIRECT;
}

bool x86_decode_ret(X86Decode *d)
{
    X86Insn *in = d->in;

    in->imm = x86_is_imm(&d->op[0]) ? (uint16_t)d->op[0].imm.value.u : 0;
    if (d->z->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) {
        in->run = ret_far;
    } else {
        in->run = in->opsize == 8 ? ret64 : ret_cut;
    }
    return true;
}

/* --- interrupts --- */

/* In virtual-8086 mode INT n needs IOPL 3; with CR4.VME the TSS is asked first, by x86_deliver(). */
static void int_n(X86Cpu *cpu, const X86Insn *in)
{
    if ((cpu->eflags & EFLAGS_VM) && (cpu->eflags & EFLAGS_IOPL) != EFLAGS_IOPL && !(cpu->cr4 & CR4_VME)) {
        x86_raise(cpu, X86_GP);
    }
    x86_raise_software(cpu, X86_EVENT_SOFTWARE, (uint8_t)in->imm);
}

static void int3(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise_software(cpu, X86_EVENT_SOFTWARE_BP, X86_BP);
}

static void int1(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise_software(cpu, X86_EVENT_ICEBP, X86_DB);
}

static void into(X86Cpu *cpu, const X86Insn *in)
{
    if (cpu->arith & 1) {
        x86_raise_software(cpu, X86_EVENT_SOFTWARE_BP, X86_OF);
    }
    go_next(cpu, in);
}

static void iret(X86Cpu *cpu, const X86Insn *in)
{
    x86_iret(cpu, in->opsize);
    transferred(cpu);
}

static void syscall_insn(X86Cpu *cpu, const X86Insn *in)
{
    x86_syscall(cpu, x86_insn_next(cpu, in));
    /* SYSCALL masks TF itself: no single-step trap before the handler's first instruction. */
    cpu->cache->no_step_trap = !(cpu->eflags & EFLAGS_TF);
    transferred(cpu);
}

static void sysret_insn(X86Cpu *cpu, const X86Insn *in)
{
    x86_sysret(cpu, in->opsize);
    if (cpu->eflags & EFLAGS_TF) {
        x86_want_step_trap(cpu); /* unlike behind IRET and POPF, the trap comes at once, in ring 3 */
    }
    transferred(cpu);
}

static void sysenter_insn(X86Cpu *cpu, const X86Insn *in)
{
    x86_sysenter(cpu);
    transferred(cpu);
}

static void sysexit_insn(X86Cpu *cpu, const X86Insn *in)
{
    x86_sysexit(cpu, in->opsize);
    transferred(cpu);
}

static void bound(X86Cpu *cpu, const X86Insn *in)
{
    uint64_t linear = x86_ea(cpu, in, 2u * in->opsize, X86_READ);
    bool     stack  = in->seg == X86_SS;
    int64_t  index, low, high;

    if (in->opsize == 4) {
        index = (int32_t)cpu->gpr[in->reg];
        low   = (int32_t)x86_load32(cpu, linear, stack);
        high  = (int32_t)x86_load32(cpu, (uint32_t)(linear + 4), stack);
    } else {
        index = (int16_t)cpu->gpr[in->reg];
        low   = (int16_t)x86_load16(cpu, linear, stack);
        high  = (int16_t)x86_load16(cpu, (uint32_t)(linear + 2), stack);
    }
    if (index < low || index > high) {
        x86_raise(cpu, X86_BR);
    }
}

bool x86_decode_interrupt(X86Decode *d)
{
    X86Insn *in = d->in;

    switch (d->z->mnemonic) {
    case ZYDIS_MNEMONIC_INT: in->run = int_n; return true;
    case ZYDIS_MNEMONIC_INT3: in->run = int3; return true;
    case ZYDIS_MNEMONIC_INT1: in->run = int1; return true;
    case ZYDIS_MNEMONIC_INTO: in->run = into; return true;
    case ZYDIS_MNEMONIC_IRET:
        in->run    = iret;
        in->opsize = 2;
        return true;
    case ZYDIS_MNEMONIC_IRETD:
        in->run    = iret;
        in->opsize = 4;
        return true;
    case ZYDIS_MNEMONIC_IRETQ:
        in->run    = iret;
        in->opsize = 8;
        return true;
    case ZYDIS_MNEMONIC_SYSCALL: in->run = syscall_insn; return true;
    case ZYDIS_MNEMONIC_SYSRET: in->run = sysret_insn; return true;
    case ZYDIS_MNEMONIC_SYSENTER: in->run = sysenter_insn; return true;
    case ZYDIS_MNEMONIC_SYSEXIT: in->run = sysexit_insn; return true;
    case ZYDIS_MNEMONIC_BOUND:
        in->reg = x86_decode_register(d->op[0].reg.value);
        in->run = bound;
        return true;
    default: return false;
    }
}

/* --- RTM: every transaction aborts at once (SDM 1, 16.3) --- */

/* EAX = 0: no reason, and no use in another try. */
static void xbegin(X86Cpu *cpu, const X86Insn *in)
{
    go_taken(cpu, in); /* faults first, if the target is beyond the limit */
    x86_set32(cpu, X86_RAX, 0);
}

static void xend(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise_error(cpu, X86_GP, 0);
}

static void xabort(X86Cpu *cpu, const X86Insn *in)
{
}

/* ZF: outside transactions. */
static void xtest(X86Cpu *cpu, const X86Insn *in)
{
    cpu->arith = 0x4000;
}

bool x86_decode_transaction(X86Decode *d)
{
    X86Insn *in = d->in;

    switch (d->z->mnemonic) {
    case ZYDIS_MNEMONIC_XBEGIN:
        in->aux = d->cpu->code_size == X86_CODE64 ? 8 : 4; /* the operand size is that of the offset only */
        in->run = xbegin;
        return true;
    case ZYDIS_MNEMONIC_XEND: in->run = xend; return true;
    case ZYDIS_MNEMONIC_XABORT: in->run = xabort; return true;
    default: in->run = xtest; return x86_has(d->cpu, X86_FEATURE_RTM) || x86_has(d->cpu, X86_FEATURE_HLE);
    }
}
