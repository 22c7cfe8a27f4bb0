/* Exceptions, single steps, nested faults and interrupt windows, and the exact state in which they are raised. */

#include "rt/rt.h"

enum { CODE_AT = WINDOW, STACK = WINDOW + 0x10000, DATA = WINDOW + 0x100000, N_DATA = 16 };

/* Code for both rings at CODE_AT (two pages), a stack that ends at STACK + PAGE, data pages. */
static void fresh(void)
{
    for (unsigned i = 0; i < 2; i++) {
        if (!(*pte(CODE_AT + i * PAGE) & P)) {
            map(CODE_AT + i * PAGE, page(), P | W | U);
            map(STACK + i * PAGE, page(), P | W | U);
        }
        memset((void *)(u64)(CODE_AT + i * PAGE), 0xcc, PAGE);
    }
    for (unsigned i = 0; i < N_DATA; i++) {
        u64 *entry = pte(DATA + i * PAGE);
        map(DATA + i * PAGE, *entry & ~0xfffull ? *entry & ~(0xfffull | NX) : page(), P | W | U);
    }
}

static Frame frame_for(const u8 *code, size_t len, unsigned offset, bool user)
{
    fresh();
    put(CODE_AT + offset, code, len);
    Frame f = frame_at(CODE_AT + offset, STACK + PAGE - 64, user);
    f.rdi   = DATA;
    return f;
}

static u32 seed;

static u32 random32(void)
{
    seed = seed * 1664525 + 1013904223;
    return seed >> 8;
}

/* --- single steps --- */

enum { MAX_STEPS = 256 };
static Frame    steps[MAX_STEPS];
static unsigned n_steps;

static bool record(Cpu *cpu, Frame *f)
{
    if (f->vector != 1 || n_steps == MAX_STEPS) {
        return false;
    }
    steps[n_steps++] = *f;
    return true;
}

/* Runs with TF set; returns the last vector. */
static unsigned step(Frame *f)
{
    n_steps = 0;
    f->rflags |= TF;
    cpus[0].hook    = record;
    unsigned vector = run(f);
    cpus[0].hook    = NULL;
    return vector;
}

/* The offsets at which single steps must trap; ends with -1. */
static void expect_steps(const char *what, u64 start, const int *offsets)
{
    unsigned n = 0;
    while (offsets[n] >= 0) {
        n++;
    }
    expect(n == n_steps, "%s: %u steps, not %u", what, n_steps, n);
    for (unsigned i = 0; i < n && i < n_steps; i++) {
        expect(steps[i].rip == start + (u64)offsets[i], "%s: step %u at %lx, not %x", what, i, steps[i].rip - start,
               offsets[i]);
    }
}

#define OFFSETS(...)                                                                                                   \
    (const int[])                                                                                                      \
    {                                                                                                                  \
        __VA_ARGS__, -1                                                                                                \
    }

CODE(plain, "nop\n inc %eax\n dec %ecx\n nop")
CODE(branches,
     "mov $3, %ecx\n 1: dec %ecx\n jnz 1b\n nop\n jmp 2f\n ud2\n 2: jz 3f\n ud2\n 3: call 4f\n ud2\n 4: pop %rax")
CODE(rep, "mov $4, %ecx\n rep movsb\n rep movsb\n nop")
CODE(pushes, "pushf\n pop %rax\n nop")
CODE(ret, "lea 1f(%rip), %rax\n push %rax\n ret\n ud2\n 1: jmp *%rdx\n ud2\n 2: nop")
CODE(mov_ss, "mov %ss, %eax\n mov %eax, %ss\n nop\n nop\n sti\n nop\n cli\n nop")

TEST(step_flow, "single steps over blocks, branches, calls, REP")
{
    for (unsigned i = 0; i < 8; i++) {
        bool     user = i & 1;
        unsigned at   = i < 4 ? 0x100 : 0x1000 - 3 * i; /* also across a page */
        u64      from = CODE_AT + at;
        Frame    f    = frame_for(plain, SIZE_OF(plain), at, user);
        equal(step(&f), 3);
        expect_steps("plain", from, OFFSETS(1, 3, 5, 6));
        equal(f.rax, 1);
        expect(f.rflags & TF, "no TF in the frame of INT3: %lx", f.rflags);
        f = frame_for(branches, SIZE_OF(branches), at, user);
        equal(step(&f), 3);
        expect_steps("branches", from, OFFSETS(5, 7, 5, 7, 5, 7, 9, 10, 14, 18, 25, 26));
        f     = frame_for(rep, SIZE_OF(rep), at, user);
        f.rsi = DATA + 0xffe;
        f.rdi = DATA + 0x1ffe;
        equal(step(&f), 3);
        expect_steps("rep", from, OFFSETS(5, 5, 5, 5, 7, 9, 10));
        for (unsigned k = 1; k < 5 && k < n_steps; k++) {
            equal(steps[k].rcx, 4 - k);
        }
        f = frame_for(pushes, SIZE_OF(pushes), at, user);
        equal(step(&f), 3);
        expect_steps("pushf", from, OFFSETS(1, 2, 3));
        equal(f.rax & TF, TF);
        f     = frame_for(ret, SIZE_OF(ret), at, user);
        f.rdx = from + 15;
        equal(step(&f), 3);
        expect_steps("ret", from, OFFSETS(7, 8, 11, 15, 16));
    }
}

TEST(step_shadow, "no step behind MOV SS; one behind STI and CLI")
{
    Frame f = frame_for(mov_ss, SIZE_OF(mov_ss), 0, false);
    equal(step(&f), 3);
    expect_steps("mov ss", CODE_AT, OFFSETS(2, 5, 6, 7, 8, 9, 10));
}

CODE(popf_on, "pushf\n orl $0x100, (%rsp)\n popf\n nop\n nop\n nop")
TEST(step_popf, "POPF that sets TF: the first step is behind the next instruction")
{
    for (unsigned user = 0; user < 2; user++) {
        Frame f      = frame_for(popf_on, SIZE_OF(popf_on), 0, user);
        n_steps      = 0;
        cpus[0].hook = record;
        equal(run(&f), 3);
        expect_steps("popf", CODE_AT, OFFSETS(10, 11, 12));
    }
}

CODE32(plain32, "nop\n inc %eax\n push %eax\n pop %ecx\n loop 1f\n 1: nop")
CODE16(plain16, "nop\n inc %ax\n addr32 incl (%edi)\n jmp 1f\n nop\n 1: nop")
TEST(step_modes, "single steps in 32-bit and 16-bit code")
{
    for (unsigned user = 0; user < 2; user++) {
        Frame f = frame_for(plain32, SIZE_OF(plain32), 0, user);
        f.cs    = user ? UCS32 : CS32;
        equal(step(&f), 3);
        expect_steps("32", CODE_AT, OFFSETS(1, 2, 3, 4, 6, 7));
        f    = frame_for(plain16, SIZE_OF(plain16), 0, user);
        f.cs = user ? UCS16 : CS16;
        set_segment(&cpus[0], user ? UCS16 & ~7u : CS16, CODE_AT, 0xffff, user ? SEG_UCODE16 : SEG_CODE16);
        f.rip = 0;
        equal(step(&f), 3);
        expect_steps("16", 0, OFFSETS(1, 2, 6, 9, 10));
    }
}

/* SYSCALL: the target in ring 0 is reached with the flags of SFMASK cleared, and not stepped. */
CODE(syscall_user, "syscall\n nop")
CODE(syscall_kernel, "nop\n nop\n mov %r11, %rax\n sysretq")
TEST(step_syscall, "SYSCALL out of single steps, SYSRET back into them")
{
    wrmsr(0xc0000081, (u64)CS64 << 32 | (u64)(0x30 | 3) << 48);
    wrmsr(0xc0000082, (u64)syscall_kernel);
    wrmsr(0xc0000084, TF | IF | AC | DF);
    Frame f = frame_for(syscall_user, SIZE_OF(syscall_user), 0, true);
    equal(step(&f), 3);
    equal(f.rax & TF, TF);
    equal(f.rcx, CODE_AT + 2);
    /* Whether SYSRET's own restoring of TF traps before the next instruction is the implementation's: at 2, or not. */
    unsigned last = n_steps ? n_steps - 1 : 0;
    expect(n_steps >= 1 && n_steps <= 2 && steps[last].rip == CODE_AT + 3, "%u steps, the last at %lx", n_steps,
           steps[last].rip);
    for (unsigned i = 0; i < n_steps; i++) {
        expect(steps[i].cs == UCS64, "step %u in ring 0 at %lx", i, steps[i].rip);
    }
}

/* Flags go to R11 and, less SFMASK, to ring 0, and come back from R11. */
CODE(syscall_flags, "syscall\n")
CODE(syscall_look,
     "mov %rsp, %rbx\n mov %cs, %r8d\n mov %ss, %r9d\n lea syscall_stack+256(%rip), %rsp\n pushfq\n pop %rdx\n"
     "mov %rbx, %rsp\n mov %r11, %r10\n mov %rsi, %r11\n sysretq")
static u8 syscall_stack[256] __attribute__((used, aligned(16)));
TEST(syscalls, "SYSCALL and SYSRET: registers, selectors and flags, with SMAP and without")
{
    enum { FREE = ARITH | AC | NT | 1 << 21, SMAP = 1 << 21 };
    bool smap = cpuid(7, 0).b & 1 << 20;
    seed      = 99;
    wrmsr(0xc0000081, (u64)CS64 << 32 | (u64)(0x30 | 3) << 48);
    wrmsr(0xc0000082, (u64)syscall_look);
    for (unsigned i = 0; i < 600; i++) {
        u64   mask = i < 200 ? 0x257fd5 : (random32() & 0x257fd5) | TF | IF;
        Frame f    = frame_for(syscall_flags, SIZE_OF(syscall_flags), 64 * (i % 3), true);
        u64   back = (i % 5 ? random32() & (ARITH | NT) : random32() & FREE) | 2;
        wrmsr(0xc0000084, mask);
        WRITE_CR(4, i & 1 && smap ? READ_CR(4) | SMAP : READ_CR(4) & ~(u64)SMAP);
        f.rflags     = 2 | (i % 7 ? random32() & (ARITH | NT) : random32() & (FREE | DF));
        f.rsi        = back;
        Frame before = f;
        equal(run(&f), 3);
        equal(f.r10, before.rflags);
        equal(f.rdx, before.rflags & ~mask);
        equal(f.r8, CS64);
        equal(f.r9, CS64 + 8);
        equal(f.rcx, before.rip + 2);
        equal(f.r11, back);
        equal(f.rflags & ~(u64)RF, back);
        equal(f.rip, before.rip + 3);
        equal(f.cs, UCS64);
        equal(f.ss, UDS);
        equal(f.rsp, before.rsp);
        WRITE_CR(4, READ_CR(4) & ~(u64)SMAP);
    }
}

/* A fault while stepping: no step for what did not happen, one when it happens at last. */
static bool map_and_record(Cpu *cpu, Frame *f)
{
    if (f->vector == 14) {
        steps[n_steps++] = *f;
        *pte(cpu->cr2) |= P;
        return true;
    }
    return record(cpu, f);
}
CODE(load, "nop\n mov (%rdi), %rax\n nop")
TEST(step_fault, "a page fault between single steps")
{
    for (unsigned user = 0; user < 2; user++) {
        Frame f = frame_for(load, SIZE_OF(load), 0, user);
        map(DATA, *pte(DATA) & ~1ull, 0);
        f.rflags |= TF;
        n_steps      = 0;
        cpus[0].hook = map_and_record;
        equal(run(&f), 3);
        expect_steps("fault", CODE_AT, OFFSETS(1, 1, 4, 5));
        equal(steps[1].vector, 14);
        equal(steps[1].rflags & TF, TF);
    }
}

/* --- exact state in long straight-line code --- */

/* A random instruction between low registers (rax, rcx, rdx, rbx, rsi, rbp) and r8 to r15; no undefined flags. */
static u8 *random_alu(u8 *p)
{
    static const u8 low[] = { 0, 1, 2, 3, 5, 6 };
    static const u8 two[] = { 0x01, 0x29, 0x11, 0x19, 0x21, 0x09, 0x31, 0x39, 0x85, 0x89 };
    unsigned        a = random32() % 14, b = random32() % 14;
    a            = a < 6 ? low[a] : a + 2;
    b            = b < 6 ? low[b] : b + 2;
    u8 rex       = (u8)(0x40 | (random32() & 1) << 3 | (a >> 3) << 2 | b >> 3);
    u8 registers = (u8)(0xc0 | (a & 7) << 3 | (b & 7));
    switch (random32() % 8) {
    default:
        *p++ = rex;
        *p++ = two[random32() % sizeof two];
        *p++ = registers;
        break;
    case 0: /* inc, dec */
        *p++ = rex & ~4;
        *p++ = 0xff;
        *p++ = (u8)(0xc0 | (random32() & 1) << 3 | (b & 7));
        break;
    case 1: /* neg, not */
        *p++ = rex & ~4;
        *p++ = 0xf7;
        *p++ = (u8)(0xd0 | (random32() & 1) << 3 | (b & 7));
        break;
    case 2: /* rol, ror, rcl, rcr by one */
        *p++ = rex & ~4;
        *p++ = 0xd1;
        *p++ = (u8)(0xc0 | (random32() & 3) << 3 | (b & 7));
        break;
    case 3: /* cmovcc, setcc */
        *p++ = rex;
        *p++ = 0x0f;
        *p++ = (u8)((random32() & 1 ? 0x40 : 0x90) | (random32() & 15));
        *p++ = registers;
        break;
    case 4: /* stc, clc, cmc */ *p++ = (u8[]){ 0xf9, 0xf8, 0xf5 }[random32() % 3]; break;
    }
    return p;
}

/* op disp32(%rdi), reg, or reg to memory */
static u8 *random_access(u8 *p, unsigned data_page)
{
    static const u8 codes[] = { 0x8b, 0x03, 0x2b, 0x13, 0x3b, 0x89, 0x01, 0x31, 0x11 };
    unsigned        a       = 8 + random32() % 8;
    u32             at      = data_page * PAGE + random32() % 4000;
    *p++                    = (u8)(0x44 | (random32() & 1) << 3);
    *p++                    = codes[random32() % sizeof codes];
    *p++                    = (u8)(0x87 | (a & 7) << 3);
    memcpy(p, &at, 4);
    return p + 4;
}

static bool same_state(const Frame *a, const Frame *b)
{
    return memcmp(a, b, offsetof(Frame, vector)) == 0 && a->rip == b->rip && a->rsp == b->rsp &&
           ((a->rflags ^ b->rflags) & ~(u64)(TF | RF)) == 0;
}

TEST(exact, "faults in long straight-line code: registers and flags are exact")
{
    static u64 saved[N_DATA][512];
    seed = 12345;
    for (unsigned round = 0; round < 60; round++) {
        u8       code[640], *p = code;
        unsigned order[N_DATA];
        bool     user = round & 1;
        for (unsigned i = 0; i < N_DATA; i++) {
            for (unsigned n = random32() % 6; n; n--) {
                p = random_alu(p);
            }
            order[i] = i;
            p        = random_access(p, i);
        }
        *p++     = 0xcc;
        Frame f  = frame_for(code, (size_t)(p - code), round * 50 % 3500, user);
        f.rax    = random32();
        f.rbx    = random32() | 1ull << 63;
        f.r8     = random32();
        f.r9     = ~0ull;
        f.rflags = 2 | (random32() & ARITH);
        for (unsigned i = 0; i < N_DATA; i++) {
            for (unsigned j = 0; j < 512; j++) {
                saved[i][j] = random32() | (u64)random32() << 32;
            }
            memcpy((void *)(u64)(DATA + i * PAGE), saved[i], PAGE);
        }
        Frame at_start = f, reference = f;
        equal(step(&reference), 3);
        unsigned n = n_steps;
        for (unsigned i = 0; i < N_DATA; i++) {
            for (unsigned j = 0; j < N_DATA; j++) {
                memcpy((void *)(u64)(DATA + j * PAGE), saved[j], PAGE);
            }
            u64 *entry = pte(DATA + order[i] * PAGE), kept = *entry;
            map(DATA + order[i] * PAGE, kept & ~0xfffull, 0);
            for (unsigned again = 0; again < 2; again++) {
                f = at_start;
                if (again) { /* memory as before, but for the page that is away */
                    for (unsigned j = 0; j < N_DATA; j++) {
                        if (j != order[i]) {
                            memcpy((void *)(u64)(DATA + j * PAGE), saved[j], PAGE);
                        }
                    }
                }
                unsigned vector = run(&f);
                expect(vector == 14, "round %u page %u: vector %u", round, i, vector);
                unsigned k = 0;
                while (k < n && steps[k].rip != f.rip) {
                    k++;
                }
                const Frame *want = f.rip == at_start.rip ? &at_start : k < n ? &steps[k] : NULL;
                expect(want && same_state(want, &f), "round %u page %u at %lx: flags %lx, not %lx", round, i, f.rip,
                       f.rflags, want ? want->rflags : 0);
                expect(f.rflags & RF, "no RF in the frame of a fault");
            }
            map(DATA + order[i] * PAGE, kept & ~0xfffull, P | W | U);
        }
    }
}

/* --- one exception each --- */

CODE(divide, "xor %edx, %edx\n mov $7, %eax\n div %ecx\n nop")
CODE(overflow, "mov $0x80000000, %eax\n cltd\n mov $-1, %ecx\n idiv %ecx\n nop")
CODE(breakpoint, "int3\n nop")
CODE(undefined, "ud2")
CODE(noncanonical, "mov %rax, (%rdx)")
CODE(stack_noncanonical, "push %rax")
CODE(stack_noncanonical2, "mov (%rsp), %rax")
CODE(jump_noncanonical, "jmp *%rdx")
CODE(misaligned, "mov 1(%rdi), %eax")
CODE(sse_misaligned, "movaps 8(%rdi), %xmm0")
CODE(privileged, "hlt")
CODE(gate, "int $0x21")

typedef struct Case {
    const char *name;
    const u8   *code;
    size_t      len;
    unsigned    vector, user; /* user: 1 only in ring 3, 2 only in ring 0 */
    int         offset;       /* where rip is */
    u64         error, flags;
} Case;

#define CASE(id, vector, user, offset, error, flags)                                                                   \
    {                                                                                                                  \
#id, id, SIZE_OF(id), vector, user, offset, error, flags                                                       \
    }

TEST(exceptions, "each exception with its error code, RIP and untouched registers")
{
    const Case cases[] = {
        CASE(divide, 0, 0, 7, 0, 0),
        CASE(overflow, 0, 0, 11, 0, 0),
        CASE(breakpoint, 3, 0, 1, 0, 0),
        CASE(undefined, 6, 0, 0, 0, 0),
        CASE(noncanonical, 13, 0, 0, 0, 0),
        CASE(stack_noncanonical, 12, 0, 0, 0, 0),
        CASE(stack_noncanonical2, 12, 0, 0, 0, 0),
        CASE(jump_noncanonical, 13, 0, 0, 0, 0),
        CASE(misaligned, 17, 1, 0, 0, AC),
        CASE(sse_misaligned, 13, 0, 0, 0, 0),
        CASE(privileged, 13, 1, 0, 0, 0),
        CASE(gate, 13, 1, 0, 0x21 * 8 + 2, 0),
    };
    WRITE_CR(0, READ_CR(0) | 1 << 18); /* AM */
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const Case *c = &cases[i];
        for (unsigned user = 0; user < 2; user++) {
            for (unsigned flags = 0; flags < 2; flags++) {
                if ((c->user == 1 && !user) || (c->user == 2 && user)) {
                    continue;
                }
                Frame f = frame_for(c->code, c->len, 0x200, user);
                f.rflags |= c->flags | (flags ? ARITH : 0);
                f.rdx = 0x8000123456789000;
                f.r12 = 0x1234;
                if (c->vector == 12) {
                    f.rsp = 0x8000000000001000;
                }
                Frame    was    = f;
                unsigned vector = run(&f);
                expect(vector == c->vector && f.error == c->error && f.rip == CODE_AT + 0x200 + (u64)c->offset,
                       "%s: vector %u error %lx rip +%lx", c->name, vector, f.error, f.rip - CODE_AT - 0x200);
                if (!c->offset) {
                    expect(same_state(&was, &f), "%s: registers changed, flags %lx", c->name, f.rflags);
                }
            }
        }
    }
}

/* --- FP: #MF, #XM, #NM --- */

static unsigned fp_fixes;

static bool fix_fp(Cpu *cpu, Frame *f)
{
    u32 mxcsr = 0x1f80;
    if (f->vector == 16) {
        fp_fixes++;
        __asm__ volatile("fninit");
        return true;
    }
    if (f->vector == 19) {
        fp_fixes++;
        __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
        return true;
    }
    if (f->vector == 7) {
        fp_fixes++;
        __asm__ volatile("clts");
        return true;
    }
    return false;
}

CODE(x87_divide, "fninit\n mov $0x37b, %eax\n push %rax\n fldcw (%rsp)\n fld1\n fldz\n fdivrp\n nop\n mov $5, %ecx\n"
                 "fld1\n fstp %st(0)\n mov $6, %edx\n pop %rax")
CODE(sse_divide,
     "mov $0x1d80, %eax\n push %rax\n ldmxcsr (%rsp)\n xorps %xmm1, %xmm1\n mov $0x3f800000, %eax\n movd %eax, %xmm0\n"
     "movaps %xmm0, %xmm2\n divss %xmm1, %xmm2\n movd %xmm2, %edx\n mov $7, %ecx\n pop %rax")
TEST(fp_faults, "#MF and #XM, mended by the handler")
{
    WRITE_CR(4, READ_CR(4) | 1 << 10);
    for (unsigned i = 0; i < 50; i++) {
        bool  user   = i & 1;
        Frame f      = frame_for(x87_divide, SIZE_OF(x87_divide), 0, user);
        fp_fixes     = 0;
        cpus[0].hook = fix_fp;
        equal(run(&f), 3);
        equal(fp_fixes, 1);
        equal(f.rdx, 6);
        f        = frame_for(sse_divide, SIZE_OF(sse_divide), 0, user);
        fp_fixes = 0;
        equal(run(&f), 3);
        equal(fp_fixes, 1);
        equal(f.rdx, 0x7f800000);
        cpus[0].hook = NULL;
        /* Unmended: RIP is the instruction that waits, or the one that divides. */
        f = frame_for(x87_divide, SIZE_OF(x87_divide), 0, user);
        equal(run(&f), 16);
        equal(f.rip, CODE_AT + 23);
        equal(f.rcx, 5);
        __asm__ volatile("fninit");
        f = frame_for(sse_divide, SIZE_OF(sse_divide), 0, user);
        equal(run(&f), 19);
        equal(f.rip, CODE_AT + 25);
        u32 mxcsr = 0x1f80;
        __asm__ volatile("ldmxcsr %0" : : "m"(mxcsr));
    }
}

CODE(touch_fp, "movd %xmm3, %eax\n inc %eax\n movd %eax, %xmm3\n fnop\n inc %ecx")
TEST(lazy_fp, "CR0.TS: #NM at the first use, and only there")
{
    for (unsigned i = 0; i < 200; i++) {
        Frame f = frame_for(touch_fp, SIZE_OF(touch_fp), 0, i & 1);
        __asm__ volatile("movd %0, %%xmm3" : : "r"(i));
        WRITE_CR(0, READ_CR(0) | 8);
        if (i % 3 == 0) {
            equal(run(&f), 7);
            equal(f.rip, CODE_AT);
            f = frame_for(touch_fp, SIZE_OF(touch_fp), 0, i & 1);
        }
        fp_fixes     = 0;
        cpus[0].hook = fix_fp;
        equal(run(&f), 3);
        equal(fp_fixes, 1);
        equal(f.rax, i + 1);
        equal(f.rcx, 1);
        cpus[0].hook = NULL;
        __asm__ volatile("clts");
    }
}

/* --- nested --- */

/* A handler of its own, for #UD, on a stack of its own, that touches an absent page: the page fault is delivered from
 * inside it, mended, and both return. With a #PF handler that does so itself, the gate would be the same. */
extern const u8 nested_handler[], nested_touch[];
__asm__(".pushsection .text\n nested_handler:\n push %rax\n nested_touch: movq 0x40102000, %rax\n"
        "pop %rax\n addq $2, (%rsp)\n iretq\n"
        ".globl fault_handler\n fault_handler:\n push %rax\n push %rbx\n mov %cr2, %rax\n"
        "cmpq $0x40102000, %rax\n je 1f\n"
        "movq 0x40102000, %rbx\n" /* the first fault: raise another one, on the same stack */
        "1: movq fault_ptes(%rip), %rbx\n cmpq $0x40102000, %rax\n jne 2f\n movq fault_ptes+8(%rip), %rbx\n"
        "2: orq $1, (%rbx)\n incq fault_count(%rip)\n pop %rbx\n pop %rax\n add $8, %rsp\n iretq\n .popsection");
u64             fault_ptes[2], fault_count;
extern const u8 fault_handler[];

CODE(ud_then, "nop\n ud2\n inc %ecx")
static bool mend(Cpu *cpu, Frame *f)
{
    if (f->vector != 14 || f->rip != (u64)nested_touch) {
        return false;
    }
    *pte(cpu->cr2) |= P;
    return true;
}

TEST(nested, "page faults in handlers of #UD and of page faults")
{
    u64 stack = page() + PAGE;
    set_ist(&cpus[0], 2, stack);
    for (unsigned i = 0; i < 20; i++) {
        bool  user = i & 1;
        Frame f    = frame_for(ud_then, SIZE_OF(ud_then), 0, user);
        map(DATA + 0x2000, *pte(DATA + 0x2000) & ~1ull, 0);
        set_gate(6, (u64)nested_handler, 2, 0);
        cpus[0].hook = mend;
        f.rax        = 0x1234;
        equal(run(&f), 3);
        equal(f.rcx, 1);
        equal(f.rax, 0x1234);
        cpus[0].hook = NULL;
        reset_gate(6);

        f = frame_for(load, SIZE_OF(load), 0, user);
        map(DATA, *pte(DATA) & ~1ull, 0);
        map(DATA + 0x2000, *pte(DATA + 0x2000) & ~1ull, 0);
        fault_ptes[0] = (u64)pte(DATA);
        fault_ptes[1] = (u64)pte(DATA + 0x2000);
        fault_count   = 0;
        u64 rsp0      = stack - 1024;
        u64 kept;
        memcpy(&kept, cpus[0].tss + 4, 8);
        memcpy(cpus[0].tss + 4, &rsp0, 8);
        set_gate(14, (u64)fault_handler, 0, 0);
        *(u64 *)(*pte(DATA) & ~0xfffull) = 0x99;
        equal(run(&f), 3);
        equal(f.rax, 0x99);
        equal(fault_count, 2);
        memcpy(cpus[0].tss + 4, &kept, 8);
        reset_gate(14);
    }
}

/* #PF whose handler's stack is absent: #DF. */
TEST(double_fault, "a page fault while a page fault is delivered is a double fault")
{
    for (unsigned user = 0; user < 2; user++) {
        Frame f = frame_for(load, SIZE_OF(load), 0, user);
        map(DATA, *pte(DATA) & ~1ull, 0);
        map(WINDOW + 0x80000, 0, 0);
        set_ist(&cpus[0], 3, WINDOW + 0x81000);
        set_gate(14, (u64)nested_handler, 3, 0);
        equal(run(&f), 8);
        equal(f.error, 0);
        equal(f.rip, CODE_AT + 1);
        equal(cpus[0].cr2, WINDOW + 0x81000 - 8);
        reset_gate(14);
    }
}

CODE(iret_bad, "push $0x10\n push %rsp\n pushf\n push $8\n push %rdx\n iretq")
TEST(iret_fault, "IRET to a place that is not canonical, to a bad selector")
{
    Frame f = frame_for(iret_bad, SIZE_OF(iret_bad), 0, false);
    f.rdx   = 0x8000000000000000;
    equal(run(&f), 13);
    f     = frame_for(iret_bad, SIZE_OF(iret_bad), 0, false);
    f.rdx = CODE_AT + 0x100; /* INT3 there */
    equal(run(&f), 3);
    equal(f.rip, CODE_AT + 0x101);
}

/* --- interrupts --- */

enum { TIMER = 0x40, IPI = 0x41 };

static volatile u64 irq_rip;
static u64          irq_to; /* where an interrupt sends the code; 0: on */

static void irq(Cpu *cpu, Frame *f)
{
    irq_rip = f->rip;
    if (irq_to) {
        f->rip = irq_to;
    }
}

static void start_timer(u32 count)
{
    apic_write(APIC_DIVIDE, 0xb); /* by 1 */
    apic_write(APIC_TIMER, TIMER);
    apic_write(APIC_INIT_COUNT, count);
}

CODE(sti_hlt, "sti\n hlt\n cli")
TEST(hlt, "the timer wakes HLT")
{
    irq_to = 0;
    for (unsigned i = 0; i < 50; i++) {
        Frame f      = frame_for(sti_hlt, SIZE_OF(sti_hlt), 0, false);
        u64   before = cpus[0].n_irqs[TIMER];
        cpus[0].irq  = irq;
        start_timer(1000 + 20000 * (i % 5));
        equal(run(&f), 3);
        equal(cpus[0].n_irqs[TIMER], before + 1);
        equal(irq_rip, CODE_AT + 2);
    }
}

/* An endless loop of each kind: the interrupt must come through. */
CODE(self_jump, "1: jmp 1b")
CODE(counting, "1: inc %rax\n jmp 1b")
CODE(calling, "1: call 2f\n jmp 1b\n 2: inc %rax\n ret")
CODE(pausing, "1: pause\n jmp 1b")
CODE(indirect, "lea 1f(%rip), %rdx\n 1: jmp *%rdx")
CODE(conditional, "1: xor %ecx, %ecx\n 2: dec %ecx\n test %ecx, %ecx\n jz 1b\n jnz 1b")
CODE(loops_rep, "cld\n 1: mov $0x7fffffff, %ecx\n mov %rdi, %rsi\n 2: lodsb\n mov %rdi, %rsi\n loop 2b\n jmp 1b")
TEST(endless, "the timer interrupts endless loops")
{
    const struct {
        const u8 *code;
        size_t    len;
    } loops[] = { { self_jump, SIZE_OF(self_jump) }, { counting, SIZE_OF(counting) },
                  { calling, SIZE_OF(calling) },     { pausing, SIZE_OF(pausing) },
                  { indirect, SIZE_OF(indirect) },   { conditional, SIZE_OF(conditional) },
                  { loops_rep, SIZE_OF(loops_rep) } };
    for (unsigned i = 0; i < 7 * 4; i++) {
        Frame f = frame_for(loops[i / 4].code, loops[i / 4].len, i & 2 ? 0xffe : 0, i & 1);
        f.rflags |= IF;
        irq_to      = CODE_AT + 0x800; /* INT3's */
        cpus[0].irq = irq;
        start_timer(300000);
        equal(run(&f), 3);
        equal(f.rip, CODE_AT + 0x801);
    }
    irq_to = 0;
}

/* A pending interrupt: STI; CLI leaves no window, STI; NOP does; MOV SS closes it for one more instruction. */
CODE(window_none, "sti\n cli\n nop\n nop")
CODE(window_one, "sti\n nop\n nop\n cli")
CODE(window_ss, "mov %ss, %eax\n sti\n mov %eax, %ss\n nop\n nop\n cli")
CODE(window_popf, "pushf\n orl $0x200, (%rsp)\n popf\n nop\n cli")
TEST(windows, "interrupt windows of STI, CLI, POPF and MOV SS")
{
    irq_to = 0;
    for (unsigned i = 0; i < 40; i++) {
        Frame f     = frame_for(window_none, SIZE_OF(window_none), 0, false);
        cpus[0].irq = irq;
        u64 before  = cpus[0].n_irqs[IPI];
        apic_write(APIC_ICR, 0x40000 | IPI); /* to itself */
        equal(run(&f), 3);
        equal(cpus[0].n_irqs[IPI], before);
        f = frame_for(window_one, SIZE_OF(window_one), 0, false);
        equal(run(&f), 3);
        equal(cpus[0].n_irqs[IPI], before + 1);
        equal(irq_rip, CODE_AT + 2);
        apic_write(APIC_ICR, 0x40000 | IPI);
        f = frame_for(window_ss, SIZE_OF(window_ss), 0, false);
        equal(run(&f), 3);
        equal(cpus[0].n_irqs[IPI], before + 2);
        /* STI's shadow ends behind MOV SS, whose own lasts one instruction; a shadow in a shadow may count or not. */
        expect(irq_rip == CODE_AT + 6 || irq_rip == CODE_AT + 5, "interrupted at %lx", irq_rip);
        apic_write(APIC_ICR, 0x40000 | IPI);
        f = frame_for(window_popf, SIZE_OF(window_popf), 0, false);
        equal(run(&f), 3);
        equal(cpus[0].n_irqs[IPI], before + 3);
        equal(irq_rip, CODE_AT + 9);
    }
}

/* An interrupt in the middle of REP: registers say how far it is, and it goes on. */
CODE(long_rep, "cld\n rep stosb\n nop")
TEST(rep_interrupt, "REP STOS is interrupted and goes on")
{
    irq_to = 0;
    for (unsigned i = 0; i < 40; i++) {
        Frame f = frame_for(long_rep, SIZE_OF(long_rep), 0, i & 1);
        f.rflags |= IF;
        f.rdi       = DATA;
        f.rcx       = N_DATA * PAGE;
        f.rax       = i;
        cpus[0].irq = irq;
        start_timer(2000 + 500 * i);
        equal(run(&f), 3);
        equal(f.rcx, 0);
        equal(f.rdi, DATA + N_DATA * PAGE);
        for (unsigned k = 0; k < N_DATA * PAGE; k += 509) {
            equal(*(u8 *)(u64)(DATA + k), i & 0xff);
        }
    }
    apic_write(APIC_INIT_COUNT, 0);
}
