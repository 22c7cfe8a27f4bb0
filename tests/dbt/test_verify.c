/* Code that the translator's verifier has to find right. */

#include "../unit/guest.h"
#include "accel/dbt/run.h"
#include "cpu/x86/vector.h"

enum { WORDS = 16 };

/* lea rsi, [rax + rbx]; add rsi, rdx; add rsi, rbp; rep movsq; hlt: four registers in an address that gets an addend */
static const uint8_t string_code[] = { 0x48, 0x8d, 0x34, 0x18, 0x48, 0x01, 0xd6,
                                       0x48, 0x01, 0xee, 0xf3, 0x48, 0xa5, 0xf4 };

static void test_string(void)
{
    g_auto(Error) err = { 0 };
    uint64_t words[WORDS];
    g_assert_true(x86_vector_init(&err));
    Guest  *guest = guest_new(1);
    Dbt    *dbt   = dbt_new(16 << 20, &err);
    X86Cpu *cpu   = guest->cpus[0];
    g_assert_nonnull(dbt);
    dbt_set_verify(dbt, true);
    for (unsigned i = 0; i < WORDS; i++) {
        words[i] = i * UINT64_C(0x9e3779b97f4a7c15);
    }
    guest_poke(guest, GUEST_CODE, string_code, sizeof string_code);
    guest_poke(guest, GUEST_DATA, words, sizeof words);
    guest_set_mode(guest, 0, GUEST_LONG64, 0);
    cpu->gpr[X86_RAX] = GUEST_DATA - 6;
    cpu->gpr[X86_RBX] = 1;
    cpu->gpr[X86_RDX] = 2;
    cpu->gpr[X86_RBP] = 3;
    cpu->gpr[X86_RDI] = GUEST_DATA + 0x10000;
    cpu->gpr[X86_RCX] = WORDS;
    vcpu_enter(&cpu->vcpu);
    g_assert_cmpint(dbt_run(dbt, cpu), ==, X86_EXIT_HALT);
    vcpu_leave(&cpu->vcpu);
    g_assert_cmpmem(guest->host + GUEST_DATA + 0x10000, sizeof words, words, sizeof words);
    g_assert_cmpuint(cpu->gpr[X86_RSI], ==, GUEST_DATA + sizeof words);
    guest_free(guest);
    dbt_free(dbt);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/dbt/verify/string", test_string);
    return g_test_run();
}
