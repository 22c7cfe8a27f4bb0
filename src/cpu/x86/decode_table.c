/* Which family decodes which mnemonic, and what the guest's CPUID must offer for it.
 *
 * Vector, x87 and state instructions are not here: x86_vector_decode() knows them. */

#include "cpu/x86/cpuid.h"
#include "cpu/x86/ops.h"

#define ROW(mnemonic, family_, ...) [ZYDIS_MNEMONIC_##mnemonic] = { .family = x86_decode_##family_, __VA_ARGS__ }
#define NEEDS(feature)              .needs = X86_FEATURE_##feature
#define TRANSFER                    .ends = X86_INSN_ENDS | X86_INSN_TRANSFER
#define ENDS                        .ends = X86_INSN_ENDS

/* CMOVcc, SETcc, Jcc in the order of their opcodes. */
#define CONDITIONAL(prefix, family, ...)                                                                               \
    ROW(prefix##O, family, .arg = 0, __VA_ARGS__), ROW(prefix##NO, family, .arg = 1, __VA_ARGS__),                     \
        ROW(prefix##B, family, .arg = 2, __VA_ARGS__), ROW(prefix##NB, family, .arg = 3, __VA_ARGS__),                 \
        ROW(prefix##Z, family, .arg = 4, __VA_ARGS__), ROW(prefix##NZ, family, .arg = 5, __VA_ARGS__),                 \
        ROW(prefix##BE, family, .arg = 6, __VA_ARGS__), ROW(prefix##NBE, family, .arg = 7, __VA_ARGS__),               \
        ROW(prefix##S, family, .arg = 8, __VA_ARGS__), ROW(prefix##NS, family, .arg = 9, __VA_ARGS__),                 \
        ROW(prefix##P, family, .arg = 10, __VA_ARGS__), ROW(prefix##NP, family, .arg = 11, __VA_ARGS__),               \
        ROW(prefix##L, family, .arg = 12, __VA_ARGS__), ROW(prefix##NL, family, .arg = 13, __VA_ARGS__),               \
        ROW(prefix##LE, family, .arg = 14, __VA_ARGS__), ROW(prefix##NLE, family, .arg = 15, __VA_ARGS__)

/* The arguments are the families' own; they stand beside their tables. */
static const X86Mnemonic mnemonics[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
    ROW(ADD, alu, .arg = 0),
    ROW(OR, alu, .arg = 1),
    ROW(ADC, alu, .arg = 2),
    ROW(SBB, alu, .arg = 3),
    ROW(AND, alu, .arg = 4),
    ROW(SUB, alu, .arg = 5),
    ROW(XOR, alu, .arg = 6),
    ROW(CMP, alu, .arg = 7),
    ROW(TEST, alu, .arg = 8),
    ROW(INC, unary, .arg = 0),
    ROW(DEC, unary, .arg = 1),
    ROW(NEG, unary, .arg = 2),
    ROW(NOT, unary, .arg = 3),
    ROW(XADD, xadd, .arg = 0),
    ROW(CMPXCHG, cmpxchg, .arg = 0),
    ROW(CMPXCHG8B, cmpxchg_pair, NEEDS(CX8)),
    ROW(CMPXCHG16B, cmpxchg_pair, NEEDS(CX16)),

    ROW(MOV, mov, .arg = 0),
    ROW(MOVNTI, mov, NEEDS(SSE2)),
    ROW(MOVZX, mov_extend, .arg = 0),
    ROW(MOVSX, mov_extend, .arg = 1),
    ROW(MOVSXD, mov_extend, .arg = 1),
    ROW(XCHG, xchg, .arg = 0),
    ROW(LEA, lea, .arg = 0),
    CONDITIONAL(CMOV, cmov, NEEDS(CMOV)),
    CONDITIONAL(SET, setcc, .needs = 0),
    ROW(BSWAP, bswap, .arg = 0),
    ROW(MOVBE, movbe, NEEDS(MOVBE)),
    ROW(CBW, convert, .arg = 0),
    ROW(CWDE, convert, .arg = 0),
    ROW(CDQE, convert, .arg = 0),
    ROW(CWD, convert, .arg = 0),
    ROW(CDQ, convert, .arg = 0),
    ROW(CQO, convert, .arg = 0),
    ROW(LES, far_pointer, .arg = X86_ES, ENDS),
    ROW(LDS, far_pointer, .arg = X86_DS, ENDS),
    ROW(LFS, far_pointer, .arg = X86_FS, ENDS),
    ROW(LGS, far_pointer, .arg = X86_GS, ENDS),
    ROW(LSS, far_pointer, .arg = X86_SS, ENDS),

    ROW(PUSH, stack, .arg = 0),
    ROW(POP, stack, .arg = 0),
    ROW(PUSHA, stack, .arg = 0),
    ROW(PUSHAD, stack, .arg = 0),
    ROW(POPA, stack, .arg = 0),
    ROW(POPAD, stack, .arg = 0),
    ROW(PUSHF, stack, .arg = 0),
    ROW(PUSHFD, stack, .arg = 0),
    ROW(PUSHFQ, stack, .arg = 0),
    ROW(POPF, stack, .arg = 0),
    ROW(POPFD, stack, .arg = 0),
    ROW(POPFQ, stack, .arg = 0),
    ROW(ENTER, stack, .arg = 0),
    ROW(LEAVE, stack, .arg = 0),

    CONDITIONAL(J, jcc, TRANSFER),
    ROW(LOOP, loop, .arg = 0, TRANSFER),
    ROW(LOOPE, loop, .arg = 1, TRANSFER),
    ROW(LOOPNE, loop, .arg = 2, TRANSFER),
    ROW(JCXZ, loop, .arg = 3, TRANSFER),
    ROW(JECXZ, loop, .arg = 3, TRANSFER),
    ROW(JRCXZ, loop, .arg = 3, TRANSFER),
    ROW(JMP, jmp, TRANSFER),
    ROW(CALL, call, TRANSFER),
    ROW(RET, ret, TRANSFER),
    ROW(INT, interrupt, TRANSFER),
    ROW(INT1, interrupt, TRANSFER),
    ROW(INT3, interrupt, TRANSFER),
    ROW(INTO, interrupt, TRANSFER),
    ROW(IRET, interrupt, TRANSFER),
    ROW(IRETD, interrupt, TRANSFER),
    ROW(IRETQ, interrupt, TRANSFER),
    ROW(SYSCALL, interrupt, TRANSFER, NEEDS(SYSCALL)),
    ROW(SYSRET, interrupt, TRANSFER, NEEDS(SYSCALL)),
    ROW(SYSENTER, interrupt, TRANSFER, NEEDS(SEP)),
    ROW(SYSEXIT, interrupt, TRANSFER, NEEDS(SEP)),
    ROW(BOUND, interrupt, .arg = 0),

    /*MORE*/
    ROW(HLT, system, ENDS),
    ROW(NOP, nop, .arg = 0),
    ROW(UD0, ud, .arg = 0),
    ROW(UD1, ud, .arg = 0),
    ROW(UD2, ud, .arg = 0),
};

const X86Mnemonic *x86_mnemonic(ZydisMnemonic mnemonic)
{
    const X86Mnemonic *m = (unsigned)mnemonic <= ZYDIS_MNEMONIC_MAX_VALUE ? &mnemonics[mnemonic] : NULL;
    return m && m->family ? m : NULL;
}
