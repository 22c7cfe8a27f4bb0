/* Quick decoding (cpu/x86/decode_quick.c): whatever it decodes, it decodes as x86_decode_insn() does. */

#include "guest.h"

#include "cpu/x86/cache.h"

#include <string.h>

static void check(X86Cpu *cpu, const uint8_t *bytes, const X86Insn *quick)
{
    X86Insn real;
    g_assert_cmpint(x86_decode_insn(cpu, bytes, X86_QUICK_BYTES - 1, 0, &real), ==, DECODE_OK);
    g_autoptr(GString) text = g_string_new(NULL);
    for (unsigned i = 0; i < real.len; i++) {
        g_string_append_printf(text, " %02x", bytes[i]);
    }
#define SAME(member)                                                                                                   \
    if (quick->member != real.member) {                                                                                \
        g_error("%s: " #member, text->str);                                                                            \
    }
    SAME(run)
    SAME(disp)
    SAME(imm)
    SAME(extra)
    SAME(rip_offset)
    SAME(address)
    SAME(flags)
    SAME(len)
    SAME(opsize)
    SAME(addrsize)
    SAME(base)
    SAME(index)
    SAME(scale)
    SAME(seg)
    SAME(reg)
    SAME(rm)
    SAME(reg3)
    SAME(prefixes)
    SAME(aux)
#undef SAME
}

/* Random bytes behind each prefix and opcode, and how many of them are left to the other decoder. */
static void random_insns(void)
{
    enum { ROUNDS = 400000 };
    static const uint8_t prefixes[][3] = {
        { 0 },    { 0x66 }, { 0x64 }, { 0x65 }, { 0x66, 0x65 }, { 0x65, 0x66 },
        { 0xf3 }, { 0xf0 }, { 0x67 }, { 0x36 }, { 0x66, 0x66 },
    };
    Guest  *g             = guest_new(1);
    X86Cpu *cpu           = g->cpus[0];
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    unsigned n            = 0;

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    vcpu_enter(&cpu->vcpu);
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t        bytes[X86_QUICK_BYTES];
        unsigned       at     = 0;
        const uint8_t *prefix = prefixes[i % 4 ? 0 : (unsigned)g_rand_int_range(rand, 0, G_N_ELEMENTS(prefixes))];
        X86Insn        in;

        for (unsigned k = 0; k < sizeof bytes; k++) {
            bytes[k] = (uint8_t)g_rand_int(rand);
        }
        for (; *prefix; prefix++) {
            bytes[at++] = *prefix;
        }
        if (i & 1) {
            bytes[at++] = (uint8_t)(0x40 | g_rand_int_range(rand, 0, 16));
        }
        if (i & 8) {
            bytes[at] = 0x0f;
        }
        if (x86_decode_quick(cpu, bytes, &in)) {
            check(cpu, bytes, &in);
            n++;
        }
    }
    vcpu_leave(&cpu->vcpu);
    g_test_message("%u of %u", n, ROUNDS);
    g_assert_cmpuint(n, >, ROUNDS / 4);
    guest_free(g);
}

/* What kernels and programs consist of is decoded at all. */
static void common(void)
{
    static const struct {
        const char *name;
        uint8_t     bytes[X86_QUICK_BYTES];
    } cases[] = {
        { "mov rax, rbx", { 0x48, 0x89, 0xd8 } },
        { "mov [rsp+8], r9", { 0x4c, 0x89, 0x4c, 0x24, 0x08 } },
        { "mov ecx, [rip+1234h]", { 0x8b, 0x0d, 0x34, 0x12, 0, 0 } },
        { "mov rax, gs:[28h]", { 0x65, 0x48, 0x8b, 0x04, 0x25, 0x28, 0, 0, 0 } },
        { "mov rax, 1122334455667788h", { 0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11 } },
        { "mov ah, 5", { 0xb4, 5 } },
        { "mov spl, 5", { 0x40, 0xb4, 5 } },
        { "mov word [rax], -1", { 0x66, 0xc7, 0x00, 0xff, 0xff } },
        { "lea rdi, [r13+rcx*8-80h]", { 0x49, 0x8d, 0x7c, 0xcd, 0x80 } },
        { "xor eax, eax", { 0x31, 0xc0 } },
        { "xor r12d, r13d", { 0x45, 0x31, 0xec } },
        { "add byte [rdi], 80h", { 0x80, 0x07, 0x80 } },
        { "sub rsp, 28h", { 0x48, 0x83, 0xec, 0x28 } },
        { "test dl, 8", { 0xf6, 0xc2, 0x08 } },
        { "shl rax, 4", { 0x48, 0xc1, 0xe0, 4 } },
        { "shr edx, 1", { 0xd1, 0xea } },
        { "sar eax, cl", { 0xd3, 0xf8 } },
        { "imul eax, ecx, -3", { 0x6b, 0xc1, 0xfd } },
        { "div rcx", { 0x48, 0xf7, 0xf1 } },
        { "movzx eax, ah", { 0x0f, 0xb6, 0xc4 } },
        { "movsxd rax, edx", { 0x48, 0x63, 0xc2 } },
        { "cmovbe eax, ebx", { 0x0f, 0x46, 0xc3 } },
        { "sete al", { 0x0f, 0x94, 0xc0 } },
        { "bt dword [rax], 5", { 0x0f, 0xba, 0x20, 5 } },
        { "push r15", { 0x41, 0x57 } },
        { "pop rbp", { 0x5d } },
        { "jne", { 0x75, 0xf0 } },
        { "jae", { 0x0f, 0x83, 0, 1, 0, 0 } },
        { "call", { 0xe8, 0xff, 0xff, 0xff, 0xff } },
        { "call [rax+18h]", { 0xff, 0x50, 0x18 } },
        { "jmp rax", { 0xff, 0xe0 } },
        { "ret", { 0xc3 } },
        { "cqo", { 0x48, 0x99 } },
        { "nop dword [rax]", { 0x0f, 0x1f, 0x40, 0 } },
    };
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    vcpu_enter(&cpu->vcpu);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        X86Insn in;
        for (unsigned round = 0; round < 2; round++) { /* found out, and then known */
            if (!x86_decode_quick(cpu, cases[i].bytes, &in)) {
                g_error("%s is not decoded", cases[i].name);
            }
            check(cpu, cases[i].bytes, &in);
        }
    }
    vcpu_leave(&cpu->vcpu);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/decode-quick/random", random_insns);
    g_test_add_func("/decode-quick/common", common);
    return g_test_run();
}
