/* The plain executor: decodes guest code into blocks of X86Insns and runs their handlers one by one. */

#ifndef QUERN_CPU_X86_EXEC_H
#define QUERN_CPU_X86_EXEC_H

#include "cpu/x86/x86.h"

typedef enum X86Exit {
    X86_EXIT_REQUEST,  /* VCPU_REQUEST_EXIT is set; x86_run() does the others (YIELD, FLUSH, the CPU's) by itself */
    X86_EXIT_HALT,     /* HLT or MWAIT: nothing to do until x86_has_wakeup() */
    X86_EXIT_DEBUG,    /* x86_run(): at a breakpoint; x86_step(): the instruction is done */
    X86_EXIT_SHUTDOWN, /* triple fault */
    X86_EXIT_MISSING,  /* exit_detail is a const char *: what Quern does not implement */
} X86Exit;

/* Runs guest code until something ends it. The thread has called vcpu_enter(); takes requests by itself. */
X86Exit x86_run(X86Cpu *cpu);

/* Runs exactly one instruction, breakpoint or not (an interrupt may be taken instead). */
X86Exit x86_step(X86Cpu *cpu);

/* From now on x86_run() looks at everything after each single instruction. For logs. */
void x86_set_one_insn(X86Cpu *cpu, bool on);

/* Debugger's breakpoints at linear addresses; machine lock held and the vCPU outside. */
void x86_breakpoint_add(X86Cpu *cpu, uint64_t linear);
bool x86_breakpoint_remove(X86Cpu *cpu, uint64_t linear);

/* For the translator, which takes the place of the loop in x86_run() and arms the fault exit. x86_run_begin() starts a
 * run. x86_round() does what is due between blocks and then, with `translator`, says whether translated code may go on
 * at cpu->rip; if not, the executor has run one block. x86_run_one() runs one instruction that cannot be translated
 * (parked). x86_deliver_thrown() takes what the fault exit brought: true with an exit. x86_update_attention() follows
 * anything that may have changed flags, debug registers or breakpoints. */
typedef enum X86Round { X86_ROUND_AGAIN, X86_ROUND_TRANSLATE, X86_ROUND_EXIT } X86Round;
void     x86_run_begin(X86Cpu *cpu, bool one_insn);
X86Round x86_round(X86Cpu *cpu, X86Exit *exit, bool translator);
void     x86_run_one(X86Cpu *cpu);
bool     x86_deliver_thrown(X86Cpu *cpu, int thrown, X86Exit *exit);
void     x86_update_attention(X86Cpu *cpu);

bool x86_exec_init(X86Cpu *cpu, Error *err);
void x86_exec_free(X86Cpu *cpu);

#endif
