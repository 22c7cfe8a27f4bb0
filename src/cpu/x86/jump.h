/* The long jump by which faults leave an instruction. Not the C library's, because that may use vector registers, which
 * can hold the guest's state (park.h), and costs three times as much. Sanitizers know only the C library's. */

#ifndef QUERN_CPU_X86_JUMP_H
#define QUERN_CPU_X86_JUMP_H

#include <stdint.h>

#if X86_ALWAYS_PARK

#include <setjmp.h>

typedef sigjmp_buf X86Jump;
#define x86_setjmp(buf)        sigsetjmp(buf, 0)
#define x86_longjmp(buf, what) siglongjmp(buf, what)

#else

/* RIP, RSP, and the registers that a function preserves. MXCSR and the x87 control word are park.h's business. */
typedef struct X86JumpRegs {
    uint64_t rip, rsp, rbx, rbp, r12, r13, r14, r15;
} X86Jump[1];

/* Returns 0, and once more, with `what`, for each x86_longjmp() while the caller has not returned. */
int            x86_setjmp(X86Jump buf) __attribute__((returns_twice));
_Noreturn void x86_longjmp(X86Jump buf, int what); /* what: not 0 */

#endif

static inline void x86_jump_copy(X86Jump to, X86Jump from)
{
    __builtin_memcpy(to, from, sizeof(X86Jump));
}

#endif
