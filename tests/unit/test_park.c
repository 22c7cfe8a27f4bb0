/* The hot set (park.h): whatever it is asked to do while the host's registers hold the guest's vector and FP state,
 * that state is intact afterwards, parked or not. */

#include "guest.h"
#include "park_calls.h"

#include "base/bytes.h"
#include "cpu/x86/cache.h"
#include "cpu/x86/fpu.h"

#include <string.h>

/* Registers full of a pattern; unmasked exceptions are pending in the x87. */
static void fill(X86Cpu *cpu)
{
    for (unsigned i = XSAVE_XMM; i < XSAVE_XMM + 256; i++) {
        cpu->xsave[i] = (uint8_t)(i * 7 + 3);
    }
    for (unsigned i = 0; i < 256; i++) {
        cpu->xsave[XSAVE_YMM + i] = cpu->park_mask & XCR0_AVX ? (uint8_t)(i * 11 + 5) : 0;
    }
    for (unsigned i = 0; i < 8; i++) {
        store_le64(cpu->xsave + XSAVE_ST + 16 * i, UINT64_C(0x8000000000000000) | i * UINT64_C(0x0101010101));
        store_le16(cpu->xsave + XSAVE_ST + 16 * i + 8, (uint16_t)(0x3fff + i));
    }
    store_le16(cpu->xsave + FX_FCW, 0x0f7e); /* #IA unmasked, round to zero */
    store_le16(cpu->xsave + FX_FSW, 0x8081 | 3 << 11);
    cpu->xsave[FX_FTW] = 0xff;
    store_le16(cpu->xsave + FX_FOP, 0x123);
    store_le64(cpu->xsave + FX_FIP, UINT64_C(0x123456789abc));
    store_le64(cpu->xsave + FX_FDP, UINT64_C(0xfedcba987654) & 0x7fffffffffff);
    store_le32(cpu->xsave + XSAVE_MXCSR, 0x7fa5);
}

/* Asserts that the state is what fill() made. */
static void check(X86Cpu *cpu, const char *what)
{
    X86Cpu *expected    = g_aligned_alloc0(1, sizeof *expected, 64);
    expected->park_mask = cpu->park_mask;
    fill(expected);
    g_assert_false(cpu->vector_live);
    memset(cpu->xsave + XSAVE_MXCSR + 4, 0, 4); /* MXCSR_MASK */
    for (unsigned i = 0; i < XSAVE_SIZE; i++) {
        bool counts  = i < XSAVE_XMM + 256 || i >= XSAVE_YMM;
        bool padding = i >= XSAVE_ST && i < XSAVE_XMM && i % 16 >= 10;
        if (counts && !padding && cpu->xsave[i] != expected->xsave[i]) {
            g_error("%s: byte %u of the state: %02x instead of %02x", what, i, cpu->xsave[i], expected->xsave[i]);
        }
    }
    g_aligned_free(expected);

    uint32_t mxcsr;
    uint16_t fcw;
    __asm__ volatile("fwait\n\tstmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(fcw));
    g_assert_cmphex(mxcsr, ==, 0x1f80);
    g_assert_cmphex(fcw, ==, 0x37f);
}

static void set_state(Guest *g)
{
    X86Cpu *cpu = g->cpus[0];

    static const X86Model    model    = { .kind = X86_VENDOR_INTEL };
    static const X86Topology topology = { 1, 1, 1, 1, 1 };
    cpu->topology                     = &topology;
    cpu->model                        = &model;
    cpu->cr0 |= CR0_WP;
    cpu->cr4 |= CR4_OSXSAVE;
    cpu->efer |= EFER_SCE;
    cpu->star        = (uint64_t)GUEST_US32 << 48 | (uint64_t)GUEST_CS64 << 32;
    cpu->lstar       = GUEST_CODE;
    cpu->sysenter_cs = GUEST_CS64;
    cpu->in_shutdown = false;
    cpu->nmi_blocked = false;
    x86_update_mode(cpu);
    fill(cpu);
}

static void set_up(Guest *g)
{
    guest_set_mode(g, 0, GUEST_LONG64, 0);
    guest_map(g, PARK_ABSENT, 0, 0);
    guest_map(g, PARK_USER, PARK_USER, 7);
    guest_map(g, PARK_READONLY, PARK_READONLY, 1);
    guest_map(g, PARK_CODE, PARK_CODE, 3);
    guest_map(g, PARK_TWO, PARK_TWO, 3);
    guest_map(g, PARK_TWO + 0x1000, PARK_TWO + 0x5000, 3);
    ram_block_mark_code(g->block, PARK_CODE, 64);
    set_state(g);
}

static void test_calls(void)
{
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];

    vcpu_enter(&cpu->vcpu);
    for (size_t i = 0; i < n_park_calls; i++) {
        const ParkCall *c = &park_calls[i];
        for (unsigned round = 0; round < 2; round++) { /* the first may have to look up memory, which parks */
            g_test_message("%s", c->name);
            bool live;
            set_up(g);
            int thrown = park_call(cpu, c->call, &live);
            check(cpu, c->name);
            g_assert_cmpint(thrown, ==, c->vector == -1 ? 0 : c->vector ? X86_THROW_FAULT : X86_THROW_SOFTWARE);
            if (thrown == X86_THROW_FAULT) {
                g_assert_cmpint(cpu->fault.vector, ==, c->vector);
            }
            if (round == 1 && !c->parks && !X86_ALWAYS_PARK) {
                g_assert_true(live);
            }
        }
    }
    vcpu_leave(&cpu->vcpu);
    guest_free(g);
}

typedef struct InsnCase {
    const char *name;
    uint8_t     code[8], len;
    bool        parks;
} InsnCase;

static void test_instructions(void)
{
    static const InsnCase cases[] = {
        { "rep movsb", { 0xf3, 0xa4 }, 2, false },
        { "rep stosq", { 0xf3, 0x48, 0xab }, 3, false },
        { "repe cmpsb", { 0xf3, 0xa6 }, 2, false },
        { "push rax", { 0x50 }, 1, false },
        { "pushf", { 0x9c }, 1, false },
        { "popf", { 0x9d }, 1, false },
        { "mov [rsi], rax", { 0x48, 0x89, 0x06 }, 3, false },
        { "lock add [rsi], eax", { 0xf0, 0x01, 0x06 }, 3, false },
        { "lock cmpxchg16b [rsi]", { 0xf0, 0x48, 0x0f, 0xc7, 0x0e }, 5, false },
        { "div rbx", { 0x48, 0xf7, 0xf3 }, 3, false },
        { "idiv rbx", { 0x48, 0xf7, 0xfb }, 3, false },
        { "crc32 eax, rbx", { 0xf2, 0x48, 0x0f, 0x38, 0xf1, 0xc3 }, 6, false },
        { "sti", { 0xfb }, 1, false },
        { "cli", { 0xfa }, 1, false },
        { "rdtsc", { 0x0f, 0x31 }, 2, true },
        { "swapgs", { 0x0f, 0x01, 0xf8 }, 3, false },
        { "invlpg [rsi]", { 0x0f, 0x01, 0x3e }, 3, false },
        { "lgdt [rsi]", { 0x0f, 0x01, 0x06 }, 3, false },
        { "cpuid", { 0x0f, 0xa2 }, 2, true },
        { "out 80h, al", { 0xe6, 0x80 }, 2, true },
        { "in al, 80h", { 0xe4, 0x80 }, 2, true },
        { "movaps xmm2, xmm2", { 0x0f, 0x28, 0xd2 }, 3, true },
        { "stmxcsr [rsi]", { 0x0f, 0xae, 0x1e }, 3, true },
        { "fxsave [rsi]", { 0x0f, 0xae, 0x06 }, 3, true },
        { "mfence", { 0x0f, 0xae, 0xf0 }, 3, true },
    };
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];

    vcpu_enter(&cpu->vcpu);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const InsnCase *c = &cases[i];
        X86Insn         in;
        uint8_t         bytes[15] = { 0 };
        set_up(g);
        memcpy(bytes, c->code, c->len);
        g_assert_cmpint(x86_decode_insn(cpu, bytes, c->len, 0, &in), ==, DECODE_OK);
        for (unsigned round = 0; round < 2; round++) {
            bool live;
            g_test_message("%s", c->name);
            cpu->gpr[X86_RSI] = GUEST_DATA;
            cpu->gpr[X86_RDI] = GUEST_DATA + 0x10000;
            cpu->gpr[X86_RCX] = 3000;
            cpu->gpr[X86_RBX] = 77;
            cpu->gpr[X86_RAX] = 0x12345;
            cpu->gpr[X86_RDX] = 0;
            g_assert_cmpint(park_insn(cpu, &in, &live), ==, 0);
            if (round == 1 && !c->parks && !X86_ALWAYS_PARK) {
                g_assert_true(live);
            }
            check(cpu, c->name);
        }
    }
    vcpu_leave(&cpu->vcpu);
    guest_free(g);
}

/* --- the x87 pointers --- */

static void nothing(X86Cpu *cpu)
{
}

static void map_pointers(X86Cpu *cpu, uint64_t fip, uint64_t fdp)
{
    g_assert_cmphex(fip, !=, 0);
    g_assert_false(cpu->vector_live);
    store_le64(cpu->xsave + FX_FIP, 0x5678);
}

/* AMD's processors save the pointers only while an exception is pending (APM 2, 11.4.4), else 0. */
static bool host_keeps_pointers(void)
{
    uint8_t area[512] __attribute__((aligned(16))) = { 0 };
    __asm__ volatile("fninit; fldz; fxsave64 %0; fninit" : "+m"(area));
    return load_le64(area + 8) != 0;
}

static void test_pointers(void)
{
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];
    bool    live;

    x86_fpu_reset(cpu);
    x86_fpu_init_state(cpu, 0x37f);
    store_le64(cpu->xsave + FX_FIP, 0x1234);
    store_le64(cpu->xsave + FX_FDP, 0x4321);
    park_call(cpu, nothing, &live);
    g_assert_cmphex(load_le64(cpu->xsave + FX_FIP), ==, 0x1234);
    g_assert_cmphex(load_le64(cpu->xsave + FX_FDP), ==, 0x4321);
    if (!X86_ALWAYS_PARK) {
        cpu->map_fpu_pointers = map_pointers;
        park_call(cpu, park_x87, &live);
        g_assert_cmphex(load_le64(cpu->xsave + FX_FIP), ==, host_keeps_pointers() ? 0x5678 : 0x1234);
        cpu->map_fpu_pointers = NULL;
        park_call(cpu, park_x87, &live);
        g_assert_cmphex(load_le64(cpu->xsave + FX_FIP), ==, host_keeps_pointers() ? 0 : 0x1234);
    }
    guest_free(g);
}

/* --- what is in use --- */

static uint64_t inuse;

static void look(X86Cpu *cpu)
{
    inuse = park_xinuse(cpu);
}

static void test_inuse(void)
{
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];
    bool    live;

    x86_fpu_reset(cpu);
    x86_fpu_init_state(cpu, 0x37f);
    park_call(cpu, nothing, &live); /* that XINUSE can be told apart at all */
    if (park_call(cpu, look, &live) == 0 && inuse != UINT64_MAX && !X86_ALWAYS_PARK) {
        g_assert_cmphex(inuse & (XCR0_X87 | XCR0_AVX), ==, 0);
        fill(cpu);
        park_call(cpu, look, &live);
        g_assert_cmphex(inuse & (XCR0_X87 | XCR0_AVX), ==, cpu->park_mask & (XCR0_X87 | XCR0_AVX));
    }
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/park/calls", test_calls);
    g_test_add_func("/park/instructions", test_instructions);
    g_test_add_func("/park/x87-pointers", test_pointers);
    g_test_add_func("/park/in-use", test_inuse);
    return g_test_run();
}
