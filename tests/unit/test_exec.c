/* The executor: blocks, faults, self-modifying code, paging, atomics, steps. Instruction semantics have tests of their
 * own. */

#include "guest.h"

#include <string.h>

#define CODE(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

static void test_loop(void)
{
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    /* mov ecx, 1000; 1: add rax, rcx; dec ecx; jnz 1b */
    X86Exit exit = guest_run_code(g, 0, CODE(0xb9, 0xe8, 0x03, 0, 0, 0x48, 0x01, 0xc8, 0xff, 0xc9, 0x75, 0xf9));
    g_assert_cmpint(exit, ==, X86_EXIT_HALT);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 500500);
    g_assert_cmpuint(cpu->gpr[X86_RCX], ==, 0);
    g_assert_cmphex(cpu->rip, ==, GUEST_CODE + 13);
    guest_free(g);
}

static void test_modes(void)
{
    static const GuestMode modes[] = { GUEST_REAL, GUEST_PROTECTED16, GUEST_PROTECTED32, GUEST_COMPAT32 };
    Guest                 *g       = guest_new(1);
    X86Cpu                *cpu     = g->cpus[0];

    for (unsigned i = 0; i < G_N_ELEMENTS(modes); i++) {
        guest_set_mode(g, 0, modes[i], 0);
        cpu->gpr[X86_RAX] = 0x1234;
        /* push ax/eax; pop bx/ebx; call +1; hlt; inc cx/ecx; ret (to hlt) */
        X86Exit exit = modes[i] < GUEST_PROTECTED32
                           ? guest_run_code(g, 0, CODE(0x50, 0x5b, 0xe8, 1, 0, 0xf4, 0x41, 0xc3))
                           : guest_run_code(g, 0, CODE(0x50, 0x5b, 0xe8, 1, 0, 0, 0, 0xf4, 0x41, 0xc3));
        g_assert_cmpint(exit, ==, X86_EXIT_HALT);
        g_assert_cmphex(cpu->gpr[X86_RBX], ==, 0x1234);
        g_assert_cmphex(cpu->gpr[X86_RCX], ==, 1);
    }
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/exec/loop", test_loop);
    g_test_add_func("/exec/modes", test_modes);
    return g_test_run();
}
