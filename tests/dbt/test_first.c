/* Code that runs for the first time (first.c), and vector registers that are loaded by who needs them. */

#include "../unit/guest.h"
#include "accel/dbt/run.h"
#include "cpu/x86/fpu.h"
#include "cpu/x86/vector.h"

#include <string.h>

enum { PAGE_FAULT = 14 };

typedef struct Fixture {
    Guest  *guest;
    Dbt    *dbt;
    X86Cpu *cpu;
} Fixture;

static void setup(Fixture *f, gconstpointer unused)
{
    g_auto(Error) err = { 0 };
    g_assert_true(x86_vector_init(&err));
    f->guest = guest_new(1);
    f->cpu   = f->guest->cpus[0];
    f->dbt   = dbt_new(16 << 20, &err);
    g_assert_nonnull(f->dbt);
    dbt_set_verify(f->dbt, true);
    dbt_set_first(f->dbt, 1);
}

static void teardown(Fixture *f, gconstpointer unused)
{
    guest_free(f->guest);
    dbt_free(f->dbt);
}

static uint64_t counter(Fixture *f, const char *name)
{
    uint64_t value = UINT64_MAX;
    g_assert_true(dbt_counter(f->dbt, name, &value));
    return value;
}

static void put(Fixture *f, uint64_t at, const void *code, size_t len)
{
    guest_poke(f->guest, at, code, len);
}

static void run(Fixture *f, uint64_t rcx)
{
    guest_set_mode(f->guest, 0, GUEST_LONG64, 0);
    f->cpu->gpr[X86_RCX] = rcx;
    f->cpu->gpr[X86_RBX] = GUEST_DATA;
    vcpu_enter(&f->cpu->vcpu);
    g_assert_cmpint(dbt_run(f->dbt, f->cpu), ==, X86_EXIT_HALT);
    vcpu_leave(&f->cpu->vcpu);
}

/* Once by the executor, then in units; a loop is new once from its start and once from its head. */
static void test_twice(Fixture *f, gconstpointer unused)
{
    static const uint8_t code[] = { 0x31, 0xc0, /* xor eax, eax */
                                    0x03, 0x03, /* loop: add eax, [rbx] */
                                    0xff, 0xc9, /* dec ecx */
                                    0x75, 0xfa, /* jnz loop */
                                    0xf4 };
    uint32_t             three  = 3;
    put(f, GUEST_CODE, code, sizeof code);
    put(f, GUEST_DATA, &three, 4);

    run(f, 2);
    g_assert_cmpuint(f->cpu->gpr[X86_RAX], ==, 6);
    g_assert_cmpuint(counter(f, "units"), ==, 0);
    g_assert_cmpuint(counter(f, "first"), ==, 1 + 2 * 3 + 1);
    run(f, 10);
    g_assert_cmpuint(f->cpu->gpr[X86_RAX], ==, 30);
    g_assert_cmpuint(counter(f, "first"), ==, 1 + 2 * 3 + 1);
    g_assert_cmpuint(counter(f, "units"), >=, 2);

    dbt_set_first(f->dbt, 0);
    static const uint8_t other[] = { 0xff, 0xc0, 0xf4 }; /* inc eax */
    put(f, GUEST_CODE, other, sizeof other);
    run(f, 0);
    g_assert_cmpuint(counter(f, "first"), ==, 1 + 2 * 3 + 1);
}

/* As machines have it: the executor runs a place three times. */
static void test_often(Fixture *f, gconstpointer unused)
{
    static const uint8_t code[] = { 0xff, 0xc1, 0xf4 }; /* inc ecx */
    dbt_set_first(f->dbt, DBT_FIRST_RUNS);
    put(f, GUEST_CODE, code, sizeof code);
    for (unsigned i = 0; i < 5; i++) {
        run(f, i);
        g_assert_cmpuint(f->cpu->gpr[X86_RCX], ==, i + 1);
        g_assert_cmpuint(counter(f, "first"), ==, 2 * MIN(i + 1, 3));
        g_assert_cmpuint(counter(f, "units"), ==, i >= 3);
    }
}

/* What is written in front of where it runs, runs as it is then. */
static void test_written(Fixture *f, gconstpointer unused)
{
    static const uint8_t code[] = { 0xc6, 0x05, 0x01, 0, 0, 0, 0xc3, /* mov byte [rip + 1], 0xc3: of the ADD's ModRM */
                                    0x83, 0xc0, 0x05,                /* add eax, 5, add ebx, 5 then */
                                    0xf4 };
    put(f, GUEST_CODE, code, sizeof code);
    run(f, 0);
    g_assert_cmpuint(f->cpu->gpr[X86_RAX], ==, 0);
    g_assert_cmpuint(f->cpu->gpr[X86_RBX], ==, GUEST_DATA + 5);
    g_assert_cmpuint(counter(f, "units"), ==, 0);
}

/* A fault is the instruction's own, and nothing behind it has happened. */
static void test_fault(Fixture *f, gconstpointer unused)
{
    static const uint8_t code[] = { 0xff, 0xc0,                      /* inc eax */
                                    0x8b, 0x14, 0x25, 0, 0, 0, 0x7f, /* mov edx, [0x7f000000] */
                                    0xff, 0xc0, 0xf4 };
    put(f, GUEST_CODE, code, sizeof code);
    run(f, 0);
    g_assert_cmpint(guest_exception(f->guest, 0), ==, PAGE_FAULT);
    g_assert_cmphex(f->cpu->cr2, ==, 0x7f000000);
    g_assert_cmpuint(f->cpu->gpr[X86_RAX], ==, 1);
}

/* A unit's branch to code that is new: it finds the flags that nobody has saved. */
static void test_flags(Fixture *f, gconstpointer unused)
{
    static const uint8_t code[] = { 0x83, 0xf9, 0x05,       /* cmp ecx, 5 */
                                    0x72, 0x01,             /* jb over the next */
                                    0xf4, 0x83, 0xd0, 0x00, /* adc eax, 0 */
                                    0x0f, 0x90, 0xc2,       /* seto dl */
                                    0xf4 };
    put(f, GUEST_CODE, code, sizeof code);
    run(f, 7);
    run(f, 7); /* a unit now, whose branch has never been taken */
    g_assert_cmpuint(counter(f, "units"), ==, 1);
    run(f, 4);
    g_assert_cmpuint(f->cpu->gpr[X86_RAX], ==, 1);
    g_assert_cmpuint(counter(f, "units"), ==, 1);
    run(f, 3);
    g_assert_cmpuint(f->cpu->gpr[X86_RAX], ==, 1);
    g_assert_cmpuint(counter(f, "units"), ==, 2);
}

/* In C instructions park the registers. Code without vectors never loads them; code with some has them wherever it is
 * entered. */
static void test_vectors(Fixture *f, gconstpointer unused)
{
    static const uint8_t plain[]  = { 0xe4, 0x80, /* in al, 80h */
                                      0xe2, 0xfc, /* loop to it */
                                      0xf4 };
    static const uint8_t vector[] = { 0x66, 0x48, 0x0f, 0x6e, 0xc1, /* movq xmm0, rcx */
                                      0xe6, 0x80,                   /* loop: out 80h, al */
                                      0x66, 0x0f, 0xd4, 0xc8,       /* paddq xmm1, xmm0 */
                                      0xe4, 0x80,                   /* in al, 80h */
                                      0xeb, 0x00,                   /* jmp to the next */
                                      0x66, 0x0f, 0xd4, 0xc8,       /* paddq xmm1, xmm0 */
                                      0xff, 0xc9,                   /* dec ecx */
                                      0x75, 0xee,                   /* jnz loop */
                                      0x66, 0x48, 0x0f, 0x7e, 0xca, /* movq rdx, xmm1 */
                                      0xf4 };
    dbt_set_first(f->dbt, 0);
    put(f, GUEST_CODE, plain, sizeof plain);
    run(f, 100);
    g_assert_cmpuint(counter(f, "unpark"), ==, 0);
    put(f, GUEST_CODE, vector, sizeof vector);
    for (unsigned i = 0; i < 2; i++) {
        memset(f->cpu->xsave + XSAVE_XMM, 0, 32);
        run(f, 50);
        g_assert_cmpuint(f->cpu->gpr[X86_RDX], ==, 2 * 50 * 50);
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/dbt/first/twice", Fixture, NULL, setup, test_twice, teardown);
    g_test_add("/dbt/first/often", Fixture, NULL, setup, test_often, teardown);
    g_test_add("/dbt/first/written", Fixture, NULL, setup, test_written, teardown);
    g_test_add("/dbt/first/fault", Fixture, NULL, setup, test_fault, teardown);
    g_test_add("/dbt/first/flags", Fixture, NULL, setup, test_flags, teardown);
    g_test_add("/dbt/first/vectors", Fixture, NULL, setup, test_vectors, teardown);
    return g_test_run();
}
