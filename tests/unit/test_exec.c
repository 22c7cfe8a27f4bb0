/* The executor: blocks, faults, self-modifying code, strings, atomics, steps and breakpoints. Paging has test_mmu.c,
 * what instructions compute has tests of its own. */

#include "guest.h"

#include "base/bytes.h"

#include <string.h>

#define CODE(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

/* A guest with one vCPU in a mode of ring 0. */
static Guest *guest_in(GuestMode mode)
{
    Guest *g = guest_new(1);
    guest_set_mode(g, 0, mode, 0);
    return g;
}

static void test_loop(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

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

/* Real mode: segments other than 0, prefixes, strings, LOOP to itself. */
static void test_real_segments(void)
{
    Guest  *g   = guest_in(GUEST_REAL);
    X86Cpu *cpu = g->cpus[0];

    store_le16(g->host + 0x12340 + 0x10, 0xbeef);
    cpu->gpr[X86_RBX] = 0x10;
    cpu->gpr[X86_RCX] = 3;
    /* mov ax, 1234h; mov ds, ax; mov ax, [bx]; mov [bx+2], ax; push cs; pop es; loop . */
    guest_run_code(g, 0, CODE(0xb8, 0x34, 0x12, 0x8e, 0xd8, 0x8b, 0x07, 0x89, 0x47, 0x02, 0x0e, 0x07, 0xe2, 0xfe));
    g_assert_cmphex(load_le16(g->host + 0x12352), ==, 0xbeef);
    g_assert_cmpuint(cpu->gpr[X86_RCX], ==, 0);

    /* mov ax, [0ffffh]: beyond the limit. The stub is at an offset of segment 0. */
    guest_set_mode(g, 0, GUEST_REAL, 0);
    guest_run_code(g, 0, CODE(0xa1, 0xff, 0xff));
    g_assert_cmpint(guest_exception(g, 0), ==, X86_GP);
    guest_free(g);
}

/* --- exceptions --- */

typedef struct Fault {
    const char   *name;
    const uint8_t code[8];
    unsigned      len;
    int           vector;
    unsigned      offset; /* of the address pushed */
} Fault;

static void test_faults(void)
{
    static const Fault faults[] = {
        { "ud2", { 0x90, 0x0f, 0x0b }, 3, X86_UD, 1 },
        { "divide by zero", { 0x90, 0x90, 0xf7, 0xf1 }, 4, X86_DE, 2 },
        { "int3", { 0x90, 0xcc }, 2, X86_BP, 2 },
        { "int 41h", { 0xcd, 0x41 }, 2, 0x41, 2 },
        { "lock nop", { 0xf0, 0x90 }, 2, X86_UD, 0 },
        { "lock mov", { 0xf0, 0x89, 0x07 }, 3, X86_UD, 0 },
        { "lock add to a register", { 0xf0, 0x01, 0xc0 }, 3, X86_UD, 0 },
        { "not canonical", { 0x48, 0x8b, 0x03 }, 3, X86_GP, 0 },
        { "not canonical, stack", { 0x48, 0x8b, 0x45, 0x00 }, 4, X86_SS_FAULT, 0 },
        { "jump to not canonical", { 0x90, 0xff, 0xe3 }, 3, X86_GP, 1 },
        { "mov cs", { 0x8e, 0xc8 }, 2, X86_UD, 0 },
        { "push es in 64-bit mode", { 0x06 }, 1, X86_UD, 0 },
        { "cmpxchg16b misaligned", { 0x48, 0x0f, 0xc7, 0x4e, 0x01 }, 5, X86_GP, 0 },
    };
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];

    for (unsigned i = 0; i < G_N_ELEMENTS(faults); i++) {
        const Fault *f = &faults[i];
        g_test_message("%s", f->name);
        guest_set_mode(g, 0, GUEST_LONG64, 0);
        cpu->gpr[X86_RBX] = cpu->gpr[X86_RBP] = UINT64_C(0x8000000000000000);
        cpu->gpr[X86_RSI]                     = GUEST_DATA;
        guest_run_code(g, 0, f->code, f->len);
        g_assert_cmpint(guest_exception(g, 0), ==, f->vector);
        bool     code = f->vector == X86_GP || f->vector == X86_SS_FAULT;
        uint64_t rip  = load_le64(g->host + cpu->gpr[X86_RSP] + (code ? 8 : 0));
        g_assert_cmphex(rip, ==, GUEST_CODE + f->offset);
    }
    guest_free(g);
}

/* Sixteen bytes of prefixes and an instruction. */
static void test_too_long(void)
{
    Guest  *g = guest_in(GUEST_LONG64);
    uint8_t code[16];
    memset(code, 0x66, sizeof code);
    code[15] = 0x90;
    guest_run_code(g, 0, code, sizeof code);
    g_assert_cmpint(guest_exception(g, 0), ==, X86_GP);

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    guest_run_code(g, 0, code + 1, 15);
    g_assert_cmpint(guest_exception(g, 0), ==, -1);
    guest_free(g);
}

/* An instruction on two pages, the second of which is not there: a page fault at the second page, before any #UD; and
 * a complete one that ends with its page does not touch the next. */
static void test_fetch_across_pages(void)
{
    Guest         *g      = guest_in(GUEST_LONG64);
    X86Cpu        *cpu    = g->cpus[0];
    const uint64_t page   = GUEST_CODE + 0x1000;
    const uint8_t  nops[] = { 0x90, 0x90 }, mov[] = { 0xb8, 0x01 }, ud2[] = { 0x90, 0x0f };

    guest_map(g, page, page, 0);
    guest_poke(g, page - 4, nops, 2);
    guest_poke(g, page - 2, mov, 2);
    cpu->rip = page - 4;
    guest_run(g, 0);
    g_assert_cmpint(guest_exception(g, 0), ==, X86_PF);
    g_assert_cmphex(cpu->cr2, ==, page);
    g_assert_cmphex(load_le64(g->host + cpu->gpr[X86_RSP] + 8), ==, page - 2);
    g_assert_cmphex(load_le64(g->host + cpu->gpr[X86_RSP]), ==, 0x10); /* NXE: fetch is told */

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    guest_map(g, page, page, 0);
    guest_poke(g, page - 2, ud2, 2);
    cpu->rip = page - 2;
    guest_run(g, 0);
    g_assert_cmpint(guest_exception(g, 0), ==, X86_PF);

    /* The same with both pages there, and again with another second page. */
    guest_set_mode(g, 0, GUEST_LONG64, 0);
    const uint8_t tail[] = { 0x02, 0x03, 0x04, 0xf4 }, other[] = { 0x05, 0x06, 0x07, 0xf4 };
    guest_map(g, page, page, 7);
    guest_poke(g, page - 2, mov, 2);
    guest_poke(g, page, tail, sizeof tail);
    guest_poke(g, GUEST_DATA, other, sizeof other);
    cpu->rip = page - 2;
    guest_run(g, 0);
    g_assert_cmphex(cpu->gpr[X86_RAX], ==, 0x04030201);
    guest_map(g, page, GUEST_DATA, 7);
    cpu->rip = page - 2;
    guest_run(g, 0);
    g_assert_cmphex(cpu->gpr[X86_RAX], ==, 0x07060501);
    guest_free(g);
}

/* --- self-modifying code --- */

static void test_smc_next_instruction(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

    /* lea rdi, [1f]; mov byte [rdi+1], 42h; 1: mov al, 11h; inc ecx */
    guest_run_code(g, 0, CODE(0x48, 0x8d, 0x3d, 4, 0, 0, 0, 0xc6, 0x47, 0x01, 0x42, 0xb0, 0x11, 0xff, 0xc1));
    g_assert_cmphex(cpu->gpr[X86_RAX], ==, 0x42);
    g_assert_cmphex(cpu->gpr[X86_RCX], ==, 1);
    guest_free(g);
}

static void test_smc_loop(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

    /* xor edx, edx; mov ecx, 5; lea rdi, [1f]; 1: mov al, 1; movzx eax, al; add edx, eax; inc byte [rdi+1]; dec ecx;
     * jnz 1b */
    guest_run_code(g, 0,
                   CODE(0x31, 0xd2, 0xb9, 5, 0, 0, 0, 0x48, 0x8d, 0x3d, 0, 0, 0, 0, 0xb0, 0x01, 0x0f, 0xb6, 0xc0, 0x01,
                        0xc2, 0xfe, 0x47, 0x01, 0xff, 0xc9, 0x75, 0xf2));
    g_assert_cmpuint(cpu->gpr[X86_RDX], ==, 1 + 2 + 3 + 4 + 5);
    guest_free(g);
}

/* Code written by a string instruction, through another mapping, by DMA, and data beside code. */
static void test_smc_others(void)
{
    Guest        *g     = guest_in(GUEST_LONG64);
    X86Cpu       *cpu   = g->cpus[0];
    const uint8_t one[] = { 0xb8, 1, 0, 0, 0, 0xf4 }, two[] = { 0xb8, 2, 0, 0, 0, 0xf4 };

    guest_poke(g, GUEST_DATA, one, sizeof one);
    cpu->rip = GUEST_DATA;
    guest_run(g, 0);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1);

    guest_poke(g, GUEST_DATA, two, sizeof two); /* DMA */
    cpu->rip = GUEST_DATA;
    guest_run(g, 0);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 2);

    /* Through an alias: rep movsb; jmp rbx. */
    guest_map(g, GUEST_DATA + 0x10000, GUEST_DATA, 7);
    guest_poke(g, GUEST_DATA + 0x20000, one, sizeof one);
    cpu->rip          = GUEST_CODE;
    cpu->gpr[X86_RSI] = GUEST_DATA + 0x20000;
    cpu->gpr[X86_RDI] = GUEST_DATA + 0x10000;
    cpu->gpr[X86_RCX] = sizeof one;
    cpu->gpr[X86_RBX] = GUEST_DATA;
    guest_run_code(g, 0, CODE(0xf3, 0xa4, 0xff, 0xe3));
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1);
    g_assert_cmphex(cpu->rip, ==, GUEST_DATA + sizeof one);

    /* A counter in the same page, and in the same 64 bytes. */
    for (unsigned i = 0; i < 2; i++) {
        cpu->rip          = GUEST_CODE;
        cpu->gpr[X86_RCX] = 1000;
        cpu->gpr[X86_RDI] = GUEST_CODE + (i ? 0x30 : 0x800);
        store_le64(g->host + cpu->gpr[X86_RDI], 0);
        guest_run_code(g, 0, CODE(0xf0, 0x48, 0xff, 0x07, 0xff, 0xc9, 0x75, 0xf8));
        g_assert_cmpuint(load_le64(g->host + cpu->gpr[X86_RDI]), ==, 1000);
    }
    guest_free(g);
}

/* A stale block that was found out through one caller must not look fresh to another that is linked to it. */
static void test_smc_linked(void)
{
    Guest        *g     = guest_in(GUEST_LONG64);
    X86Cpu       *cpu   = g->cpus[0];
    const uint8_t one[] = { 0xb8, 1, 0, 0, 0, 0xc3 }, two[] = { 0xb8, 2, 0, 0, 0, 0xc3 };
    const uint8_t call[] = { 0xe8, 0xfb, 0, 0, 0, 0xf4 }, other[] = { 0xe8, 0xbb, 0, 0, 0, 0xf4 };

    guest_poke(g, GUEST_CODE, call, sizeof call);          /* call f */
    guest_poke(g, GUEST_CODE + 0x40, other, sizeof other); /* call f */
    guest_poke(g, GUEST_CODE + 0x100, one, sizeof one);    /* f */
    guest_run(g, 0);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1);
    guest_poke(g, GUEST_CODE + 0x100, two, sizeof two);
    cpu->rip = GUEST_CODE + 0x40;
    guest_run(g, 0);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 2);
    cpu->rip = GUEST_CODE;
    guest_run(g, 0);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 2);
    guest_free(g);
}

/* --- strings --- */

static void fill(uint8_t *to, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        to[i] = (uint8_t)(i * 7 + (i >> 8));
    }
}

/* REP MOVSB over two page borders into a page that is not there: exact progress. */
static void test_string_fault(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

    guest_map(g, GUEST_DATA + 0x3000, 0, 0);
    fill(g->host + GUEST_DATA + 0x10000, 0x4000);
    cpu->gpr[X86_RSI] = GUEST_DATA + 0x10123;
    cpu->gpr[X86_RDI] = GUEST_DATA + 0x456;
    cpu->gpr[X86_RCX] = 0x4000;
    guest_run_code(g, 0, CODE(0xf3, 0xa4));
    g_assert_cmpint(guest_exception(g, 0), ==, X86_PF);
    g_assert_cmphex(cpu->cr2, ==, GUEST_DATA + 0x3000);
    uint64_t done = 0x3000 - 0x456;
    g_assert_cmphex(cpu->gpr[X86_RCX], ==, 0x4000 - done);
    g_assert_cmphex(cpu->gpr[X86_RSI], ==, GUEST_DATA + 0x10123 + done);
    g_assert_cmphex(cpu->gpr[X86_RDI], ==, GUEST_DATA + 0x3000);
    g_assert_cmpmem(g->host + GUEST_DATA + 0x456, done, g->host + GUEST_DATA + 0x10123, done);
    g_assert_cmphex(load_le64(g->host + cpu->gpr[X86_RSP] + 8), ==, GUEST_CODE);
    guest_free(g);
}

/* Overlapping copies up and down, elements across pages, against a plain loop. */
static void test_string_copy(void)
{
    static const struct {
        int64_t  from, to;
        uint64_t count;
        unsigned size;
        bool     down;
    } cases[] = {
        { 0x100, 0x101, 0x1800, 1, false },  { 0x101, 0x100, 0x1800, 1, false }, { 0xffd, 0x2ffb, 0x300, 4, false },
        { 0x1803, 0x1807, 0x300, 4, true },  { 0x2ff9, 0x1001, 0x200, 8, true }, { 0x10, 0x13, 0x900, 2, false },
        { 0x2fff, 0x1fff, 0x1801, 1, true },
    };
    static uint8_t expected[0x6000];
    Guest         *g   = guest_in(GUEST_LONG64);
    X86Cpu        *cpu = g->cpus[0];

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        unsigned size = cases[i].size;
        int64_t  step = cases[i].down ? -(int64_t)size : size;
        uint8_t *data = g->host + GUEST_DATA;
        fill(data, sizeof expected);
        memcpy(expected, data, sizeof expected);
        for (uint64_t n = 0; n < cases[i].count; n++) {
            uint8_t element[8];
            memcpy(element, expected + cases[i].from + step * (int64_t)n, size);
            memcpy(expected + cases[i].to + step * (int64_t)n, element, size);
        }
        guest_set_mode(g, 0, GUEST_LONG64, 0);
        cpu->gpr[X86_RSI] = (uint64_t)(GUEST_DATA + cases[i].from);
        cpu->gpr[X86_RDI] = (uint64_t)(GUEST_DATA + cases[i].to);
        cpu->gpr[X86_RCX] = cases[i].count;
        uint8_t code[]    = { cases[i].down ? 0xfd : 0xfc, 0xf3, 0x90, 0xa5, 0x90, 0x90 };
        memcpy(code + 1,
               size == 1   ? "\xf3\xa4\x90\x90"
               : size == 2 ? "\x66\xf3\xa5\x90"
               : size == 4 ? "\xf3\xa5\x90\x90"
                           : "\xf3\x48\xa5\x90",
               4);
        guest_run_code(g, 0, code, sizeof code);
        g_assert_cmpint(guest_exception(g, 0), ==, -1);
        g_assert_cmpmem(data, sizeof expected, expected, sizeof expected);
        g_assert_cmpuint(cpu->gpr[X86_RCX], ==, 0);
        g_assert_cmphex(cpu->gpr[X86_RDI], ==, (uint64_t)(GUEST_DATA + cases[i].to + step * (int64_t)cases[i].count));
    }
    guest_free(g);
}

static void test_string_scan(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

    memset(g->host + GUEST_DATA, 'x', 0x3000);
    g->host[GUEST_DATA + 0x2345] = 0;
    cpu->gpr[X86_RDI]            = GUEST_DATA + 5;
    cpu->gpr[X86_RCX]            = UINT64_MAX;
    guest_run_code(g, 0, CODE(0xf2, 0xae)); /* repne scasb */
    g_assert_cmphex(cpu->gpr[X86_RDI], ==, GUEST_DATA + 0x2346);
    g_assert_cmphex(~cpu->gpr[X86_RCX], ==, 0x2346 - 5);
    g_assert_true(x86_get_eflags(cpu) & EFLAGS_ZF);

    cpu->rip          = GUEST_CODE;
    cpu->gpr[X86_RSI] = GUEST_DATA;
    cpu->gpr[X86_RDI] = GUEST_DATA + 0x1000;
    cpu->gpr[X86_RCX] = 0x2000;
    guest_run_code(g, 0, CODE(0xf3, 0xa6)); /* repe cmpsb: stops at the 0 */
    g_assert_cmphex(cpu->gpr[X86_RDI], ==, GUEST_DATA + 0x2346);
    g_assert_false(x86_get_eflags(cpu) & (EFLAGS_ZF | EFLAGS_CF));

    /* A count of 0 leaves the flags alone. */
    cpu->rip          = GUEST_CODE;
    cpu->gpr[X86_RCX] = 0;
    uint64_t before   = x86_get_eflags(cpu);
    guest_run_code(g, 0, CODE(0xf3, 0xa6));
    g_assert_cmphex(x86_get_eflags(cpu), ==, before);
    guest_free(g);
}

/* --- atomics --- */

static gpointer run_second(gpointer data)
{
    g_assert_cmpint(guest_run(data, 1), ==, X86_EXIT_HALT);
    return NULL;
}

/* Two vCPUs on the same words: aligned, across a cache line, across a page. */
static void test_lock(void)
{
    static const uint64_t places[] = { 0x100, 0x13e, 0xffc, 0xfff };
    enum { COUNT = 20000 };
    Guest *g = guest_new(2);

    for (unsigned i = 0; i < G_N_ELEMENTS(places); i++) {
        uint64_t at    = GUEST_DATA + places[i];
        unsigned count = i ? COUNT / 40 : COUNT;
        memset(g->host + GUEST_DATA, 0, 0x2000);
        /* 1: lock inc dword [rdi]; mov eax, 1; lock xadd [rdi+8], eax; mov eax, [rdi+16];
         * 2: lea edx, [rax+3]; lock cmpxchg [rdi+16], edx; jnz 2b; dec ecx; jnz 1b; hlt */
        static const uint8_t code[] = { 0xf0, 0xff, 0x07, 0xb8, 1,    0,    0,    0,    0xf0, 0x0f, 0xc1,
                                        0x47, 0x08, 0x8b, 0x47, 0x10, 0x8d, 0x50, 0x03, 0xf0, 0x0f, 0xb1,
                                        0x57, 0x10, 0x75, 0xf6, 0xff, 0xc9, 0x75, 0xe2, 0xf4 };
        for (unsigned n = 0; n < 2; n++) {
            guest_set_mode(g, n, GUEST_LONG64, 0);
            g->cpus[n]->gpr[X86_RDI] = at;
            g->cpus[n]->gpr[X86_RCX] = count;
        }
        guest_poke(g, GUEST_CODE, code, sizeof code);
        GThread *second = g_thread_new("vcpu 1", run_second, g);
        g_assert_cmpint(guest_run(g, 0), ==, X86_EXIT_HALT);
        g_thread_join(second);
        g_assert_cmpuint(load_le32(g->host + at), ==, 2 * count);
        g_assert_cmpuint(load_le32(g->host + at + 8), ==, 2 * count);
        g_assert_cmpuint(load_le32(g->host + at + 16), ==, 6 * count);
    }
    guest_free(g);
}

/* One vCPU writes code that the other runs. */
static void test_cross_modifying(void)
{
    Guest *g = guest_new(2);
    for (unsigned n = 0; n < 2; n++) {
        guest_set_mode(g, n, GUEST_LONG64, 0);
    }
    /* 0: 1: mov eax, 0; cmp eax, 77; jne 1b; hlt. 1: loops a while, then writes the immediate. */
    static const uint8_t runs[]   = { 0xb8, 0, 0, 0, 0, 0x83, 0xf8, 77, 0x75, 0xf6, 0xf4 };
    static const uint8_t writes[] = { 0xff, 0xc9, 0x75, 0xfc, 0xc7, 0x07, 77, 0, 0, 0, 0xf4 };
    guest_poke(g, GUEST_CODE, runs, sizeof runs);
    guest_poke(g, GUEST_CODE + 0x4000, writes, sizeof writes);
    g->cpus[1]->rip          = GUEST_CODE + 0x4000;
    g->cpus[1]->gpr[X86_RCX] = 1000000;
    g->cpus[1]->gpr[X86_RDI] = GUEST_CODE + 1;
    GThread *second          = g_thread_new("vcpu 1", run_second, g);
    g_assert_cmpint(guest_run(g, 0), ==, X86_EXIT_HALT);
    g_thread_join(second);
    g_assert_cmpuint(g->cpus[0]->gpr[X86_RAX], ==, 77);
    guest_free(g);
}

/* --- steps and breakpoints --- */

static void test_step(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

    /* mov eax, 1; mov ebx, 2; jmp +0; hlt */
    const uint8_t code[] = { 0xb8, 1, 0, 0, 0, 0xbb, 2, 0, 0, 0, 0xeb, 0, 0xf4 };
    const uint8_t ends[] = { 5, 10, 12 };
    guest_poke(g, GUEST_CODE, code, sizeof code);
    vcpu_enter(&cpu->vcpu);
    for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_assert_cmpint(x86_step(cpu), ==, X86_EXIT_DEBUG);
        g_assert_cmphex(cpu->rip, ==, GUEST_CODE + ends[i]);
    }
    g_assert_cmpint(x86_step(cpu), ==, X86_EXIT_HALT);
    g_assert_cmphex(cpu->rip, ==, GUEST_CODE + 13);
    vcpu_leave(&cpu->vcpu);
    guest_free(g);
}

static void test_breakpoint(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

    const uint8_t code[] = { 0x90, 0x90, 0xff, 0xc0, 0x90, 0xf4 };
    guest_poke(g, GUEST_CODE, code, sizeof code);
    guest_run(g, 0); /* decoded as one block already */
    cpu->rip = GUEST_CODE;
    x86_breakpoint_add(cpu, GUEST_CODE + 4);
    g_assert_cmpint(guest_run(g, 0), ==, X86_EXIT_DEBUG);
    g_assert_cmphex(cpu->rip, ==, GUEST_CODE + 4);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 2);
    g_assert_true(x86_breakpoint_remove(cpu, GUEST_CODE + 4));
    g_assert_false(x86_breakpoint_remove(cpu, GUEST_CODE + 4));
    g_assert_cmpint(guest_run(g, 0), ==, X86_EXIT_HALT);
    guest_free(g);
}

/* The handler of #DB counts in R15 and returns with RF set, so that an instruction breakpoint is passed: inc r15;
 * bts qword [rsp+16], 16; iretq. */
static void count_debug_traps(Guest *g)
{
    const uint8_t handler[] = { 0x49, 0xff, 0xc7, 0x48, 0x0f, 0xba, 0x6c, 0x24, 0x10, 16, 0x48, 0xcf };
    guest_poke(g, GUEST_STUBS + 16 * X86_DB, handler, sizeof handler);
}

static void test_trap_flag(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

    count_debug_traps(g);
    /* pushfq; or qword [rsp], 100h; popfq; nop; inc eax; inc eax; pushfq; and qword [rsp], ~100h; popfq; nop */
    guest_run_code(g, 0,
                   CODE(0x9c, 0x48, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0x90, 0xff, 0xc0, 0xff, 0xc0, 0x9c, 0x48, 0x81,
                        0x24, 0x24, 0xff, 0xfe, 0xff, 0xff, 0x9d, 0x90));
    /* After nop, inc, inc, pushfq, and, and the popfq that clears TF. */
    g_assert_cmpuint(cpu->gpr[X86_R15], ==, 6);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 2);
    g_assert_true(cpu->dr[6] & DR6_BS);
    guest_free(g);
}

/* A single step of HLT, and a watched POP SS before one, trap when HLT has begun to wait, which ends it. */
static void test_trap_ends_hlt(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

    /* #DB: inc r15d; and byte [rsp+17], ~1; iretq */
    const uint8_t handler[] = { 0x41, 0xff, 0xc7, 0x80, 0x64, 0x24, 0x11, 0xfe, 0x48, 0xcf };
    guest_poke(g, GUEST_STUBS + 16 * X86_DB, handler, sizeof handler);
    /* pushfq; or qword [rsp], 100h; popfq; hlt; inc eax */
    guest_run_code(g, 0, CODE(0x9c, 0x48, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d, 0xf4, 0xff, 0xc0));
    g_assert_cmpuint(cpu->gpr[X86_R15], ==, 1);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1);

    guest_set_mode(g, 0, GUEST_COMPAT32, 0);
    count_debug_traps(g);
    cpu->dr[0] = GUEST_DATA;
    cpu->dr[7] = DR7_FIXED | 2 | 0xf << 16;
    x86_debug_changed(cpu);
    store_le32(g->host + GUEST_DATA, GUEST_DS);
    /* mov ss, [GUEST_DATA]; hlt; inc eax */
    guest_run_code(g, 0, CODE(0x8e, 0x15, 0, 0, 0x40, 0, 0xf4, 0xff, 0xc0));
    g_assert_cmpuint(cpu->gpr[X86_R15], ==, 1);
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1);
    guest_free(g);
}

static void test_debug_registers(void)
{
    Guest  *g   = guest_in(GUEST_LONG64);
    X86Cpu *cpu = g->cpus[0];

    /* Execute at +1 (DR0), write of 4 at GUEST_DATA + 4 (DR1), read or write of 1 at GUEST_DATA + 16 (DR2). */
    const uint8_t code[] = { 0x90, 0xff, 0xc0, /* inc eax: DR0 */
                             0x88, 0x47, 0x03, /* mov [rdi+3], al: no */
                             0x89, 0x47, 0x03, /* mov [rdi+3], eax: DR1 */
                             0x8b, 0x47, 0x04, /* mov eax, [rdi+4]: no */
                             0x8a, 0x47, 0x10, 0xf4,
                             /* mov al, [rdi+16]: DR2 */ };
    count_debug_traps(g);
    guest_poke(g, GUEST_CODE, code, sizeof code);
    cpu->gpr[X86_RDI] = GUEST_DATA;
    cpu->dr[0]        = GUEST_CODE + 1;
    cpu->dr[1]        = GUEST_DATA + 4;
    cpu->dr[2]        = GUEST_DATA + 16;
    cpu->dr[6]        = DR6_FIXED;
    cpu->dr[7]        = DR7_FIXED | 0x2a | 0xd << 20 | 0x3 << 24;
    x86_debug_changed(cpu);
    g_assert_cmpint(guest_run(g, 0), ==, X86_EXIT_HALT);
    g_assert_cmpuint(cpu->gpr[X86_R15], ==, 3);
    g_assert_cmphex(cpu->dr[6], ==, DR6_FIXED | 7);
    guest_free(g);
}

/* --- devices --- */

typedef struct Probe {
    uint64_t value, offset;
    unsigned n, size;
} Probe;

static uint64_t probe_read(void *opaque, uint64_t offset, unsigned size)
{
    Probe *p  = opaque;
    p->offset = offset;
    p->size   = size;
    p->n++;
    return p->value;
}

static void probe_write(void *opaque, uint64_t offset, uint64_t value, unsigned size)
{
    Probe *p  = opaque;
    p->offset = offset;
    p->size   = size;
    p->value  = value;
    p->n++;
}

static const IoOps probe_ops = { .name = "probe", .access = IO_ANY, .read = probe_read, .write = probe_write };

static void test_devices(void)
{
    Guest  *g     = guest_in(GUEST_LONG64);
    X86Cpu *cpu   = g->cpus[0];
    Probe   port  = { .value = 0x99 };
    Probe   space = { .value = 0x10 };
    Region  io, mmio;

    machine_lock(&g->lock);
    region_init_io(&io, g->memory, "port", 8, &probe_ops, &port);
    region_map(&g->io_root, 0x3f8, &io, 0);
    region_init_io(&mmio, g->memory, "mmio", 0x1000, &probe_ops, &space);
    region_map(&g->root, 0x2000000, &mmio, 0);
    machine_unlock(&g->lock);
    x86_tlb_drop(cpu);

    /* mov dx, 3f9h; in al, dx; add [rdi+8], eax; lock add [rdi+8], eax; movsb */
    cpu->gpr[X86_RDI] = 0x2000000;
    cpu->gpr[X86_RSI] = GUEST_DATA;
    guest_run_code(g, 0, CODE(0x66, 0xba, 0xf9, 0x03, 0xec, 0x01, 0x47, 0x08, 0xf0, 0x01, 0x47, 0x08, 0xa4));
    g_assert_cmphex(cpu->gpr[X86_RAX], ==, 0x99);
    g_assert_cmphex(port.offset, ==, 1);
    g_assert_cmpuint(port.n, ==, 1);
    g_assert_cmpuint(space.n, ==, 5);
    g_assert_cmphex(space.offset, ==, 0);
    g_assert_cmpuint(space.size, ==, 1);

    /* A breakpoint on ports 3f8h to 3fbh: in al, dx; out dx, al; both trap. */
    guest_set_mode(g, 0, GUEST_LONG64, 0);
    count_debug_traps(g);
    cpu->cr4 |= CR4_DE;
    cpu->dr[0] = 0x3f8;
    cpu->dr[7] = DR7_FIXED | 2 | 0xe << 16;
    x86_debug_changed(cpu);
    cpu->gpr[X86_RDX] = 0x3fb;
    guest_run_code(g, 0, CODE(0xec, 0xee, 0x66, 0xba, 0xfc, 0x03, 0xec));
    g_assert_cmpuint(cpu->gpr[X86_R15], ==, 2);
    cpu->dr[7] = DR7_FIXED;
    x86_debug_changed(cpu);

    /* rep insb: 0 bytes into memory from the port. */
    guest_set_mode(g, 0, GUEST_LONG64, 0);
    port.value        = 0x5a;
    cpu->gpr[X86_RDI] = GUEST_DATA + 0xffe;
    cpu->gpr[X86_RCX] = 4;
    cpu->gpr[X86_RDX] = 0x3f8;
    guest_run_code(g, 0, CODE(0xf3, 0x6c));
    g_assert_cmphex(load_le32(g->host + GUEST_DATA + 0xffe), ==, 0x5a5a5a5a);
    g_assert_cmpuint(cpu->gpr[X86_RCX], ==, 0);

    machine_lock(&g->lock);
    region_unmap(&io);
    region_unmap(&mmio);
    region_destroy(&io);
    region_destroy(&mmio);
    machine_unlock(&g->lock);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/exec/loop", test_loop);
    g_test_add_func("/exec/modes", test_modes);
    g_test_add_func("/exec/real-segments", test_real_segments);
    g_test_add_func("/exec/faults", test_faults);
    g_test_add_func("/exec/too-long", test_too_long);
    g_test_add_func("/exec/fetch-across-pages", test_fetch_across_pages);
    g_test_add_func("/exec/smc/next-instruction", test_smc_next_instruction);
    g_test_add_func("/exec/smc/loop", test_smc_loop);
    g_test_add_func("/exec/smc/others", test_smc_others);
    g_test_add_func("/exec/smc/linked", test_smc_linked);
    g_test_add_func("/exec/string/fault", test_string_fault);
    g_test_add_func("/exec/string/copy", test_string_copy);
    g_test_add_func("/exec/string/scan", test_string_scan);
    g_test_add_func("/exec/lock", test_lock);
    g_test_add_func("/exec/cross-modifying", test_cross_modifying);
    g_test_add_func("/exec/step", test_step);
    g_test_add_func("/exec/breakpoint", test_breakpoint);
    g_test_add_func("/exec/trap-ends-hlt", test_trap_ends_hlt);
    g_test_add_func("/exec/trap-flag", test_trap_flag);
    g_test_add_func("/exec/debug-registers", test_debug_registers);
    g_test_add_func("/exec/devices", test_devices);
    return g_test_run();
}
