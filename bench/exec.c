/* How many guest instructions a second the plain executor runs: small loops in 64-bit mode, kernel and user.
 *
 *     exec [millions of instructions, default 200] */

#include "../tests/unit/guest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CODE(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

/* Each loop counts RCX down; `insns` is the number of instructions of one pass. */
typedef struct Loop {
    const char    *name;
    const uint8_t *code;
    size_t         len;
    unsigned       insns;
} Loop;

static const Loop loops[] = {
    { "add, dec, jnz", CODE(0x48, 0x01, 0xc8, 0x48, 0xff, 0xc9, 0x75, 0xf8), 3 },
    /* 1: mov rax,[rdi+rdx*8]; add rbx,rax; lea rdx,[rdx+1]; and edx,511; mov [rsi+rdx*8],rbx; dec rcx; jnz 1b */
    { "loads and stores",
      CODE(0x48, 0x8b, 0x04, 0xd7, 0x48, 0x01, 0xc3, 0x48, 0x8d, 0x52, 0x01, 0x81, 0xe2, 0xff, 0x01, 0x00, 0x00, 0x48,
           0x89, 0x1c, 0xd6, 0x48, 0xff, 0xc9, 0x75, 0xe6),
      7 },
    /* 1: call 2f; dec rcx; jnz 1b; jmp 3f; 2: push rbx; xor ebx,eax; pop rbx; ret; 3: */
    { "calls", CODE(0xe8, 0x07, 0, 0, 0, 0x48, 0xff, 0xc9, 0x75, 0xf6, 0xeb, 0x05, 0x53, 0x31, 0xc3, 0x5b, 0xc3), 7 },
    /* 1: mov eax,ecx; shr eax,3; imul eax,eax,77; test al,8; jz 2f; add rbx,1; 2: cmp rbx,rax; cmova rdx,rbx;
     * movzx eax,al; dec rcx; jnz 1b */
    { "mixed",
      CODE(0x89, 0xc8, 0xc1, 0xe8, 0x03, 0x6b, 0xc0, 0x4d, 0xa8, 0x08, 0x74, 0x04, 0x48, 0x83, 0xc3, 0x01, 0x48, 0x39,
           0xc3, 0x48, 0x0f, 0x47, 0xd3, 0x0f, 0xb6, 0xc0, 0x48, 0xff, 0xc9, 0x75, 0xe1),
      11 },
    /* 1: movdqu xmm0,[rsi]; movaps xmm1,xmm0; movups [rsi+64],xmm1; movq xmm2,[rsi]; movd eax,xmm2; dec rcx; jnz 1b */
    { "SSE moves",
      CODE(0xf3, 0x0f, 0x6f, 0x06, 0x0f, 0x28, 0xc8, 0x0f, 0x11, 0x4e, 0x40, 0xf3, 0x0f, 0x7e, 0x16, 0x66, 0x0f, 0x7e,
           0xd0, 0x48, 0xff, 0xc9, 0x75, 0xe8),
      7 },
    /* 1: pxor xmm0,xmm0; pcmpeqb xmm0,[rsi]; pmovmskb eax,xmm0; por xmm1,xmm0; paddd xmm2,xmm1; dec rcx; jnz 1b */
    { "SSE integer",
      CODE(0x66, 0x0f, 0xef, 0xc0, 0x66, 0x0f, 0x74, 0x06, 0x66, 0x0f, 0xd7, 0xc0, 0x66, 0x0f, 0xeb, 0xc8, 0x66, 0x0f,
           0xfe, 0xd1, 0x48, 0xff, 0xc9, 0x75, 0xe7),
      7 },
    /* 1: addsd xmm0,xmm1; mulsd xmm2,[rsi]; cvtsi2sd xmm3,ecx; ucomisd xmm3,xmm0; dec rcx; jnz 1b */
    { "SSE floating point",
      CODE(0xf2, 0x0f, 0x58, 0xc1, 0xf2, 0x0f, 0x59, 0x16, 0xf2, 0x0f, 0x2a, 0xd9, 0x66, 0x0f, 0x2e, 0xd8, 0x48, 0xff,
           0xc9, 0x75, 0xeb),
      6 },
    /* 1: vpaddd ymm0,ymm1,[rsi]; vmovdqu [rsi+64],ymm0; vpxor ymm2,ymm2,ymm0; dec rcx; jnz 1b */
    { "AVX2 integer",
      CODE(0xc5, 0xf5, 0xfe, 0x06, 0xc5, 0xfe, 0x7f, 0x46, 0x40, 0xc5, 0xed, 0xef, 0xd0, 0x48, 0xff, 0xc9, 0x75, 0xee),
      5 },
    /* fninit; 1: fld qword [rsi]; fadd st0,st0; fstp qword [rsi+64]; dec rcx; jnz 1b */
    { "x87", CODE(0xdb, 0xe3, 0xdd, 0x06, 0xd8, 0xc0, 0xdd, 0x5e, 0x40, 0x48, 0xff, 0xc9, 0x75, 0xf4), 5 },
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    uint64_t insns = (argc > 1 ? strtoull(argv[1], NULL, 0) : 200) * 1000000;
    Guest   *g     = guest_new(1);

    for (unsigned i = 0; i < G_N_ELEMENTS(loops); i++) {
        const Loop *l   = &loops[i];
        X86Cpu     *cpu = g->cpus[0];
        guest_set_mode(g, 0, GUEST_LONG64, 0);
        cpu->gpr[X86_RCX] = insns / l->insns;
        cpu->gpr[X86_RSI] = cpu->gpr[X86_RDI] = GUEST_DATA;
        double start                          = now();
        if (guest_run_code(g, 0, l->code, l->len) != X86_EXIT_HALT || cpu->gpr[X86_RCX]) {
            fprintf(stderr, "%s: did not end as it should\n", l->name);
            return 1;
        }
        double seconds = now() - start;
        printf("%-20s %7.1f million instructions/s\n", l->name, (double)insns / seconds * 1e-6);
    }
    guest_free(g);
    return 0;
}
