/* Flags where translated code leaves: what is in the frame, in EFLAGS or can be made again, against the plain executor.
 * Each piece of code runs at many places, so that with dbt_set_mixed() each kind of look-up gets there. */

#include "../unit/guest.h"
#include "accel/dbt/run.h"
#include "cpu/x86/vector.h"

#include <inttypes.h>
#include <string.h>

enum { PLACES = 16, AGAIN = 3 };

typedef struct Case {
    const char *name;
    GuestMode   mode;
    uint8_t     len, code[20];
} Case;

/* RAX, RCX, RDX, RBX, RSI and R8 are as start() says; all x87 registers are taken, and stack faults unmasked. */
static const Case cases[] = {
    { "sub, loop, wanted where it goes",
      GUEST_PROTECTED32,
      10,
      { 0x66, 0x29, 0xd1, /* sub cx, dx */
        0xe2, 0x02,       /* loop over the next */
        0x31, 0xc0,       /* xor eax, eax */
        0xf4, 0xf4, 0xf4 } },
    { "cmp, loop, wanted nowhere, backwards",
      GUEST_PROTECTED32,
      9,
      { 0xb1, 0x05, /* mov cl, 5 */
        0x39, 0xd1, /* cmp ecx, edx */
        0xe2, 0xfc, /* loop to it */
        0x31, 0xc0, 0xf4 /* xor eax, eax */ } },
    { "cmp, loop with an address-size prefix",
      GUEST_PROTECTED32,
      8,
      { 0x39, 0xd1,       /* cmp ecx, edx */
        0x67, 0xe2, 0x02, /* loop cx over the next */
        0x31, 0xc0,       /* xor eax, eax */
        0xf4 } },
    { "x87 exception, add, emms",
      GUEST_LONG64,
      7,
      { 0xd9, 0xee, /* fldz */
        0x04, 0xda, /* add al, 0xda */
        0x0f, 0x77, /* emms */
        0xf4 } },
    { "cmp, string that faults in its middle, wanted nowhere",
      GUEST_LONG64,
      12,
      { 0xbe, 0xf0, 0xff, 0xff, 0x3f, /* mov esi, 16 bytes below the end */
        0x39, 0xd1,                   /* cmp ecx, edx */
        0xf3, 0xa4,                   /* rep movsb */
        0x31, 0xc0,                   /* xor eax, eax */
        0xf4 } },
    { "a sum of seven registers as an address",
      GUEST_LONG64,
      18,
      { 0x48, 0x01, 0xf3,       /* add rbx, rsi */
        0x48, 0x01, 0xd3,       /* add rbx, rdx */
        0x48, 0x01, 0xfb,       /* add rbx, rdi */
        0x4c, 0x01, 0xc3,       /* add rbx, r8 */
        0x48, 0x8b, 0x04, 0x2b, /* mov rax, [rbx + rbp] */
        0xf4, 0xf4 } },
    { "and, access at an address that no entry has",
      GUEST_LONG64,
      12,
      { 0x4c, 0x89, 0xc3,       /* mov rbx, r8 */
        0x48, 0x83, 0xe6, 0x7d, /* and rsi, 0x7d */
        0x48, 0x83, 0x33, 0x00, /* xor qword [rbx], 0 */
        0xf4 } },
    { "shr, access at an address that no entry has",
      GUEST_LONG64,
      10,
      { 0x4c, 0x89, 0xc3,       /* mov rbx, r8 */
        0x48, 0xc1, 0xe9, 0x05, /* shr rcx, 5 */
        0x8b, 0x03,             /* mov eax, [rbx] */
        0xf4 } },
    { "sar by 1, access at an address that no entry has",
      GUEST_LONG64,
      8,
      { 0x4c, 0x89, 0xc3, /* mov rbx, r8 */
        0xd1, 0xf9,       /* sar ecx, 1 */
        0x8b, 0x03,       /* mov eax, [rbx] */
        0xf4 } },
    { "shl, access, carry",
      GUEST_LONG64,
      11,
      { 0x48, 0xc1, 0xe1, 0x3f, /* shl rcx, 63 */
        0x8b, 0x06,             /* mov eax, [rsi] */
        0x83, 0xd0, 0x00,       /* adc eax, 0 */
        0xf4, 0xf4 } },
    { "inc, access at an address that no entry has",
      GUEST_LONG64,
      12,
      { 0x4c, 0x89, 0xc3, /* mov rbx, r8 */
        0x48, 0x39, 0xd1, /* cmp rcx, rdx */
        0x48, 0xff, 0xc6, /* inc rsi */
        0x8b, 0x03,       /* mov eax, [rbx] */
        0xf4 } },
    { "cmp with memory, access at an address that no entry has",
      GUEST_LONG64,
      10,
      { 0x48, 0x3b, 0x13, /* cmp rdx, [rbx] */
        0x4c, 0x89, 0xc3, /* mov rbx, r8 */
        0x0f, 0x10, 0x0b, /* movups xmm1, [rbx] */
        0xf4 } },
    /* Flags that the host overwrites or leaves alone: dbt_host_writes() */
    { "sub, imul",
      GUEST_LONG64,
      8,
      { 0x48, 0x29, 0xd1,       /* sub rcx, rdx */
        0x48, 0x0f, 0xaf, 0xf2, /* imul rsi, rdx */
        0xf4 } },
    { "sub, imul, condition",
      GUEST_LONG64,
      12,
      { 0x48, 0x29, 0xd1, /* sub rcx, rdx */
        0x6b, 0xf2, 0x07, /* imul esi, edx, 7 */
        0x7e, 0x03,       /* jle over the next */
        0x48, 0xff, 0xc0, /* inc rax */
        0xf4 } },
    { "sub, mul",
      GUEST_LONG64,
      7,
      { 0x48, 0x29, 0xd1, /* sub rcx, rdx */
        0x48, 0xf7, 0xe6, /* mul rsi */
        0xf4 } },
    { "add, div",
      GUEST_LONG64,
      9,
      { 0x31, 0xd2,       /* xor edx, edx */
        0x48, 0x01, 0xf1, /* add rcx, rsi */
        0x48, 0xf7, 0xf1, /* div rcx */
        0xf4 } },
    { "add, div by memory that is not there",
      GUEST_LONG64,
      11,
      { 0x4c, 0x89, 0xc3, /* mov rbx, r8 */
        0x48, 0x01, 0xf1, /* add rcx, rsi */
        0x48, 0xf7, 0x33, /* div qword [rbx] */
        0xf4, 0xf4 } },
    { "add that overflows, tzcnt, lzcnt",
      GUEST_LONG64,
      18,
      { 0x66, 0xb8, 0xff, 0x7f,       /* mov ax, 0x7fff */
        0x66, 0x01, 0xc0,             /* add ax, ax */
        0xf3, 0x48, 0x0f, 0xbc, 0xca, /* tzcnt rcx, rdx */
        0xf3, 0x48, 0x0f, 0xbd, 0xf2, /* lzcnt rsi, rdx */
        0xf4 } },
};

typedef struct Fixture {
    Guest *guest;
    Dbt   *dbt;
} Fixture;

static void setup(Fixture *f, gconstpointer mixed)
{
    g_auto(Error) err = { 0 };
    g_assert_true(x86_vector_init(&err));
    f->guest = guest_new(1);
    f->dbt   = dbt_new(16 << 20, &err);
    g_assert_nonnull(f->dbt);
    dbt_set_verify(f->dbt, true);
    dbt_set_mixed(f->dbt, mixed != NULL);
}

static void teardown(Fixture *f, gconstpointer unused)
{
    guest_free(f->guest);
    dbt_free(f->dbt);
}

static void start(Fixture *f, GuestMode mode, uint64_t rip, unsigned round)
{
    static const uint64_t nowhere[] = { UINT64_C(1) << 63, UINT64_C(1) << 40, GUEST_DATA + 0xffc };
    X86Cpu               *cpu       = f->guest->cpus[0];
    guest_set_mode(f->guest, 0, mode, 0);
    cpu->rip          = rip;
    cpu->gpr[X86_RAX] = 0xdc;
    cpu->gpr[X86_RCX] = 0xf26;
    cpu->gpr[X86_RDX] = 0x15;
    cpu->gpr[X86_RBX] = GUEST_DATA;
    cpu->gpr[X86_RSI] = UINT64_C(1) << 31;
    cpu->gpr[8]       = nowhere[round % G_N_ELEMENTS(nowhere)];
    cpu->gpr[9]       = 3;
    store_le16(cpu->xsave, 0x37e); /* FCW, FSW, FTW */
    store_le16(cpu->xsave + 2, 0);
    cpu->xsave[4] = 0xff;
}

typedef struct End {
    uint64_t gpr[16], rip, flags;
    uint8_t  frame[48];
} End;

static End run(Fixture *f, bool translated)
{
    X86Cpu *cpu = f->guest->cpus[0];
    End     end = { 0 };
    vcpu_enter(&cpu->vcpu);
    X86Exit exit = translated ? dbt_run(f->dbt, cpu) : x86_run(cpu);
    vcpu_leave(&cpu->vcpu);
    g_assert_cmpint(exit, ==, X86_EXIT_HALT);
    memcpy(end.gpr, cpu->gpr, sizeof end.gpr);
    end.rip   = cpu->rip;
    end.flags = x86_get_eflags(cpu);
    memcpy(end.frame, f->guest->host + cpu->gpr[X86_RSP], sizeof end.frame);
    return end;
}

static void test_all(Fixture *f, gconstpointer unused)
{
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];
        for (unsigned k = 0; k < PLACES * AGAIN; k++) {
            uint64_t rip = guest_code_address(c->mode) + (k / AGAIN) * 65;
            if (memcmp(f->guest->host + rip, c->code, c->len) != 0) {
                guest_poke(f->guest, rip, c->code, c->len);
            }
            start(f, c->mode, rip, k);
            End expected = run(f, false);
            start(f, c->mode, rip, k);
            End is = run(f, true);
            if (memcmp(&expected, &is, sizeof is) != 0) {
                g_test_message("%s, at %" PRIx64 ", round %u: flags %" PRIx64 " instead of %" PRIx64, c->name, rip, k,
                               is.flags, expected.flags);
                g_test_fail();
            }
        }
    }
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add("/dbt/flags/usual", Fixture, NULL, setup, test_all, teardown);
    g_test_add("/dbt/flags/mixed", Fixture, "", setup, test_all, teardown);
    return g_test_run();
}
