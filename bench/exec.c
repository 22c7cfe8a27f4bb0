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
