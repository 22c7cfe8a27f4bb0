/* Instructions and data on two pages: faults on either are precise (vector, error code, CR2; registers and memory as
 * before), and what does not fault is right although the two pages lie apart in physical memory. Pushes and pops in a
 * row, of which any one may fault. */

#include "rt/rt.h"

enum { CODE_AT = WINDOW, STACK = WINDOW + 0x10000, DATA = WINDOW + 0x20000, SCRATCH = WINDOW + 0x28000 };

static u64 pages[2]; /* of DATA; far apart, the second one below the first */

static void fresh(void)
{
    if (!pages[0]) {
        pages[1] = page();
        (void)page();
        pages[0] = page();
        map(CODE_AT, page(), P | W | U);
        map(CODE_AT + PAGE, page(), P | W | U);
        map(STACK, page(), P | W | U);
        map(SCRATCH, page(), P | W | U);
    }
    memset((void *)(u64)CODE_AT, 0xcc, 2 * PAGE);
    for (unsigned i = 0; i < 2; i++) {
        map(DATA + i * PAGE, pages[i], P | W | U);
        for (unsigned j = 0; j < PAGE; j++) {
            ((u8 *)pages[i])[j] = (u8)(j * 7 + i * 13 + (j >> 8));
        }
    }
    map(DATA + 2 * PAGE, 0, 0);
    map(DATA - PAGE, 0, 0);
}

/* What DATA holds, whether mapped or not. */
static void snapshot(u8 *to)
{
    memcpy(to, (void *)pages[0], PAGE);
    memcpy(to + PAGE, (void *)pages[1], PAGE);
}

/* --- single accesses --- */

typedef struct Case {
    const char *name;
    const u8   *code;
    size_t      len;
    unsigned    size;
    bool        writes, reads;
    bool        up, down; /* rdi is RSP: pops above it, pushes below it */
    bool        partly;   /* accesses in pieces: memory may be partly written */
} Case;

#define ACCESS(id, text, size, ...)                                                                                    \
    CODE(access_##id, text)                                                                                            \
    static const Case case_##id                                                                                        \
        __attribute__((section("cases"), used, aligned(8))) = { #id, access_##id, 0, size, __VA_ARGS__ };

ACCESS(load2, "movw (%rdi), %ax", 2, .reads = true)
ACCESS(load4, "movl (%rdi), %eax", 4, .reads = true)
ACCESS(load8, "movq (%rdi), %rax", 8, .reads = true)
ACCESS(movzx, "movzwl (%rdi), %ebx", 2, .reads = true)
ACCESS(store2, "movw %ax, (%rdi)", 2, .writes = true)
ACCESS(store4, "movl %eax, (%rdi)", 4, .writes = true)
ACCESS(store8, "movq %rax, (%rdi)", 8, .writes = true)
ACCESS(store_imm, "movq $0x12345678, (%rdi)", 8, .writes = true)
ACCESS(add, "addq %rax, (%rdi)", 8, .reads = true, .writes = true)
ACCESS(adc_from, "adcq (%rdi), %rax", 8, .reads = true)
ACCESS(inc, "incl (%rdi)", 4, .reads = true, .writes = true)
ACCESS(neg, "negw (%rdi)", 2, .reads = true, .writes = true)
ACCESS(shl, "shlq $3, (%rdi)", 8, .reads = true, .writes = true)
ACCESS(shld, "shldl $5, %eax, (%rdi)", 4, .reads = true, .writes = true)
ACCESS(lock_add, "lock addq %rax, (%rdi)", 8, .reads = true, .writes = true)
ACCESS(xadd, "lock xaddl %eax, (%rdi)", 4, .reads = true, .writes = true)
ACCESS(xchg, "xchgq %rax, (%rdi)", 8, .reads = true, .writes = true)
ACCESS(cmpxchg, "lock cmpxchgq %rbx, (%rdi)", 8, .reads = true, .writes = true)
ACCESS(cmpxchg8b, "lock cmpxchg8b (%rdi)", 8, .reads = true, .writes = true)
ACCESS(bts, "lock btsq $7, (%rdi)", 8, .reads = true, .writes = true)
ACCESS(mul, "mulq (%rdi)", 8, .reads = true)
ACCESS(cmov, "cmovzq (%rdi), %rax", 8, .reads = true)
ACCESS(movups, "movups (%rdi), %xmm0\n movq %xmm0, %rax", 16, .reads = true)
ACCESS(movups_store, "movups %xmm1, (%rdi)", 16, .writes = true)
ACCESS(movq_store, "movq %xmm1, (%rdi)", 8, .writes = true)
ACCESS(fld, "fldt (%rdi)\n fstp %st(0)", 10, .reads = true)
ACCESS(fstp, "fld1\n fstpt (%rdi)", 10, .writes = true, .partly = true)
ACCESS(fild, "fildll (%rdi)\n fstp %st(0)", 8, .reads = true)
ACCESS(movs_from, "mov %rdi, %rsi\n mov $0x40028000, %edi\n movsq", 8, .reads = true)
ACCESS(movs_to, "mov $0x40028000, %esi\n movsq", 8, .writes = true)
ACCESS(stos, "stosl", 4, .writes = true)
ACCESS(cmps, "mov $0x40028000, %esi\n cmpsq", 8, .reads = true)
ACCESS(push, "mov %rdi, %rsp\n push %rax", 8, .writes = true, .down = true)
ACCESS(push_mem, "mov %rdi, %rsp\n push 0x40028000", 8, .writes = true, .down = true)
ACCESS(push2, "mov %rdi, %rsp\n pushw %ax", 2, .writes = true, .down = true)
ACCESS(pop, "mov %rdi, %rsp\n pop %rax", 8, .reads = true, .up = true)
ACCESS(pop_mem, "mov %rdi, %rsp\n pop 0x40028000", 8, .reads = true, .up = true)
ACCESS(call, "mov %rdi, %rsp\n call 1f\n 1:", 8, .writes = true, .down = true)
ACCESS(call_mem, "mov %rdi, %rsp\n lea 1f(%rip), %rax\n mov %rax, 0x40028000\n call *0x40028000\n 1:", 8,
       .writes = true, .down = true)
ACCESS(leave, "mov %rdi, %rbp\n mov %rdi, %rsp\n leave", 8, .reads = true, .up = true)
ACCESS(enter, "mov %rdi, %rsp\n enter $32, $0", 8, .writes = true, .down = true)
ACCESS(pushf, "mov %rdi, %rsp\n pushf", 8, .writes = true, .down = true)

extern const Case __start_cases[], __stop_cases[];

static Frame start(const Case *c, u64 at, bool user)
{
    put(CODE_AT + 0x100, c->code, 64);
    Frame f  = frame_at(CODE_AT + 0x100, STACK + PAGE - 64, user);
    f.rdi    = c->down ? at + c->size : at;
    f.rax    = 0x1122334455667788;
    f.rbx    = 0x99;
    f.rflags = 2 | CF | ZF;
    return f;
}

static Frame before; /* at the last single step */

static bool is_step(Cpu *cpu, Frame *f)
{
    if (f->vector != 1) {
        return false;
    }
    before = *f;
    return true;
}

static bool same_registers(const Frame *a, const Frame *b)
{
    return memcmp(a, b, offsetof(Frame, vector)) == 0 && a->rip == b->rip && a->rsp == b->rsp &&
           ((a->rflags ^ b->rflags) & ARITH) == 0;
}

static void set_page(unsigned n, u64 flags)
{
    map(DATA + n * PAGE, pages[n], flags);
}

/* One access at `at`, with one of the two pages absent or not writable. */
static void faulting(const Case *c, u64 at, unsigned bad, bool read_only, bool user)
{
    static u8 was[2 * PAGE], is[2 * PAGE];
    u32       error = (read_only ? 1 : 0) | (c->writes ? 2 : 0) | (user ? 4 : 0);
    u64       cr2   = bad ? DATA + PAGE : at;

    fresh();
    /* The state just before the access, by single steps. */
    Frame f = start(c, at, user);
    f.rflags |= TF;
    before = f;
    set_page(bad, read_only ? P | U : 0);
    snapshot(was);
    cpus[0].hook = is_step;
    run(&f);
    cpus[0].hook  = NULL;
    Frame stepped = f;

    fresh();
    set_page(bad, read_only ? P | U : 0);
    f                  = start(c, at, user);
    unsigned vector    = run(&f);
    u64      fault_cr2 = cpus[0].cr2;
    snapshot(is);
    expect(vector == 14 && f.error == error && fault_cr2 == cr2,
           "%s at %lx, page %u%s%s: vector %u error %lx cr2 %lx, not %x, %lx", c->name, at, bad,
           read_only ? " read-only" : "", user ? " user" : "", vector, f.error, fault_cr2, error, cr2);
    expect(stepped.vector == 14 && same_registers(&stepped, &f) && same_registers(&before, &f),
           "%s at %lx page %u: registers changed (rip %lx rsp %lx, not %lx, %lx)", c->name, at, bad, f.rip, f.rsp,
           before.rip, before.rsp);
    if (!c->partly) {
        expect(memcmp(was, is, sizeof was) == 0, "%s at %lx page %u: memory changed", c->name, at, bad);
    }
}

static void each(void (*test)(const Case *c, u64 at, bool user))
{
    for (const Case *c = __start_cases; c < __stop_cases; c++) {
        for (unsigned user = 0; user < 2; user++) {
            for (unsigned first = 1; first<c->size; first += c->size> 4 ? 3 : 1) {
                test(c, DATA + PAGE - first, user);
            }
        }
    }
}

static void both_ways(const Case *c, u64 at, bool user)
{
    for (unsigned again = 0; again < 2; again++) {
        faulting(c, at, 1, false, user);
        faulting(c, at, 0, false, user);
        if (c->writes) {
            faulting(c, at, 1, true, user);
            faulting(c, at, 0, true, user);
        }
    }
}

TEST(faults, "accesses across two pages of which one is absent or read-only")
{
    each(both_ways);
}

/* The same access on two pages must do what it does on one. */
static void compare(const Case *c, u64 at, bool user)
{
    static u8 one[2 * PAGE], two[2 * PAGE], fill[32];
    Frame     results[2];
    for (unsigned i = 0; i < 32; i++) {
        fill[i] = (u8)(0x5a + 17 * i);
    }
    for (unsigned i = 0; i < 2; i++) {
        u64 where = i ? at : DATA + 0x400 + (at & 7);
        fresh();
        memset((void *)(u64)SCRATCH, 0x11, 16);
        if (c->code == access_leave) {
            memset(fill, 0, 8); /* RBP */
        }
        memcpy((void *)where, fill, 32);
        Frame f = start(c, where, user);
        __asm__ volatile("fninit");
        unsigned vector = run(&f);
        expect(vector == 3, "%s at %lx: vector %u cr2 %lx", c->name, where, vector, cpus[0].cr2);
        /* addresses are relative to the operand */
        f.rsp -= f.rsp - where < 0x1000 || where - f.rsp < 0x1000 ? where : 0;
        f.rbp -= f.rbp - where < 0x1000 || where - f.rbp < 0x1000 ? where : 0;
        f.rdi -= f.rdi - where < 0x1000 ? where : 0;
        f.rsi -= f.rsi - where < 0x1000 ? where : 0;
        results[i] = f;
        memcpy(i ? two : one, (void *)(where - 16), 64);
        memcpy((i ? two : one) + 64, (void *)(u64)SCRATCH, 16);
    }
    bool same = memcmp(one + 16, two + 16, 32) == 0 && memcmp(one + 64, two + 64, 16) == 0;
    expect(same, "%s at %lx: memory differs", c->name, at);
    expect(memcmp(&results[0], &results[1], offsetof(Frame, vector)) == 0 && results[0].rsp == results[1].rsp,
           "%s at %lx: registers differ: rax %lx %lx", c->name, at, results[0].rax, results[1].rax);
}

TEST(results, "accesses across two pages do what they do on one")
{
    each(compare);
}

/* --- stacks --- */

CODE(prologue,
     "push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n sub $24, %rsp\n mov %rax, 8(%rsp)")
CODE(epilogue, "add $24, %rsp\n pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n nop")

/* Pushes that reach a bad page at the n-th: RSP and memory are as after n pushes, RIP is the n-th. */
TEST(prologues, "six pushes in a row, of which any one faults")
{
    static const u8 offsets[] = { 0, 1, 2, 4, 6, 8 };
    for (unsigned mode = 0; mode < 8; mode++) {
        bool user = mode & 1, read_only = mode & 2;
        for (unsigned n = 0; n < 6; n++) {
            fresh();
            set_page(0, read_only ? P | U : 0);
            put(CODE_AT + 0x100, prologue, SIZE_OF(prologue));
            Frame f   = frame_at(CODE_AT + 0x100, DATA + PAGE + 8 * n + (mode & 4 ? 3 : 0), user);
            f.rbp     = 0x1111111111111111;
            f.rbx     = 0x2222222222222222;
            f.r12     = 0x3333333333333333;
            f.r13     = 0x4444444444444444;
            f.r14     = 0x5555555555555555;
            f.r15     = 0x6666666666666666;
            Frame was = f;
            equal(run(&f), 14);
            equal(f.rip, CODE_AT + 0x100 + offsets[n]);
            equal(f.rsp, was.rsp - 8 * n);
            equal(f.error, (u32)(read_only | 2 | user << 2));
            expect(cpus[0].cr2 == f.rsp - 8, "cr2 %lx, rsp %lx", cpus[0].cr2, f.rsp);
            for (unsigned i = 0; i < n; i++) {
                u64 value;
                memcpy(&value, (void *)(was.rsp - 8 * (i + 1)), 8);
                equal(value, 0x1111111111111111 * (i + 1));
            }
            /* mended, it goes on */
            set_page(0, P | W | U);
            equal(run(&f), 3);
            equal(f.rsp, was.rsp - 48 - 24);
        }
    }
}

TEST(epilogues, "six pops in a row, of which any one faults")
{
    static const u8 offsets[] = { 4, 6, 8, 10, 12, 13 };
    for (unsigned mode = 0; mode < 4; mode++) {
        bool user = mode & 1;
        for (unsigned n = 0; n < 6; n++) {
            fresh();
            u64 from = DATA + PAGE - 8 * n - (mode & 2 ? 5 : 0);
            for (unsigned i = 0; i < 8; i++) {
                u64 value = 0x0101010101010101 * (i + 1);
                memcpy((void *)(from + 8 * i), &value, 8);
            }
            set_page(1, 0);
            put(CODE_AT + 0x100, epilogue, SIZE_OF(epilogue));
            Frame f = frame_at(CODE_AT + 0x100, from - 24, user);
            f.r15 = f.r14 = f.r13 = f.r12 = f.rbx = f.rbp = 0xabcd;
            equal(run(&f), 14);
            equal(f.rip, CODE_AT + 0x100 + offsets[n]);
            equal(f.rsp, from + 8 * n);
            equal(cpus[0].cr2, mode & 2 ? DATA + PAGE : from + 8 * n);
            const u64 got[] = { f.r15, f.r14, f.r13, f.r12, f.rbx, f.rbp };
            for (unsigned i = 0; i < 6; i++) {
                equal(got[i], i < n ? 0x0101010101010101 * (i + 1) : 0xabcd);
            }
            set_page(1, P | W | U);
            equal(run(&f), 3);
            equal(f.rbp, 0x0606060606060606);
        }
    }
}

/* Accesses off one register: the third of five faults. */
CODE(group, "mov 0(%rdi), %rax\n mov %rax, 8(%rdi)\n add 16(%rdi), %rax\n mov %rcx, 24(%rdi)\n mov 32(%rdi), %rdx")
TEST(groups, "five accesses off one register, of which any one faults")
{
    for (unsigned n = 0; n < 5 * 2; n++) {
        static const u8 offsets[] = { 0, 3, 7, 11, 15 };
        unsigned        k         = n / 2;
        bool            user      = n & 1;
        for (unsigned shift = 0; shift < 8; shift += 7) {
            fresh();
            set_page(1, 0);
            put(CODE_AT, group, SIZE_OF(group));
            Frame f = frame_at(CODE_AT, STACK + PAGE, user);
            f.rdi   = DATA + PAGE - 8 * k - shift;
            f.rcx   = 0x77;
            f.rdx   = 0x88;
            equal(run(&f), 14);
            equal(f.rip, CODE_AT + offsets[k]);
            equal(cpus[0].cr2, DATA + PAGE);
            equal(f.error, (user ? 4 : 0) | (k == 1 || k == 3 ? 2 : 0));
            equal(f.rdx, 0x88);
            if (k == 0) {
                equal(f.rax, 0);
            }
        }
    }
}

/* --- instructions on two pages --- */

CODE(long_insn, "movabs $0x1122334455667788, %rax\n nop\n lock addl $0x12345678, 0x100(%rdi)\n nop\n jmp 1f\n 1: nop\n "
                "call 2f\n 2: pop %rbx")
TEST(instructions, "instructions on two pages of which the second is absent, then present")
{
    for (unsigned user = 0; user < 2; user++) {
        for (unsigned back = 1; back < SIZE_OF(long_insn); back++) {
            fresh();
            u64 at = CODE_AT + PAGE - back;
            put(at, long_insn, SIZE_OF(long_insn));
            u64 kept = *pte(CODE_AT + PAGE) & ~0xfffull;
            for (unsigned again = 0; again < 2; again++) {
                map(CODE_AT + PAGE, kept, 0);
                Frame f = frame_at(at, STACK + PAGE - 64, user);
                f.rdi   = DATA;
                equal(run(&f), 14);
                equal(cpus[0].cr2, CODE_AT + PAGE);
                equal(f.error, user ? 0x14 : 0x10);
                expect(f.rip <= CODE_AT + PAGE && f.rip + 15 > CODE_AT + PAGE, "rip %lx", f.rip);
                map(CODE_AT + PAGE, kept, P | W | U);
                equal(run(&f), 3);
                equal(f.rip, at + SIZE_OF(long_insn));
                equal(f.rax, 0x1122334455667788);
            }
            map(CODE_AT + PAGE, kept, P | U | W | NX); /* present, not executable */
            Frame f = frame_at(at, STACK + PAGE - 64, user);
            f.rdi   = DATA;
            equal(run(&f), 14);
            equal(f.error, user ? 0x15 : 0x11);
            map(CODE_AT + PAGE, kept, P | W | U);
        }
    }
}

/* --- REP MOVS and STOS --- */

enum { REP_AT = WINDOW + 0x40000, REP_PAGES = 5 };

static u64 rep_pages[REP_PAGES];
static u32 rep_seed = 4711;

static u32 rep_random(void)
{
    rep_seed = rep_seed * 1664525 + 1013904223;
    return rep_seed >> 8;
}

/* What an element does: the address that faults, or 0; its error code. */
static u64 rep_fault(const u64 *rights, u64 at, unsigned size, bool write, bool user, unsigned *error)
{
    for (unsigned i = 0; i < size; i++) {
        u64 have = rights[(at + i - REP_AT) / PAGE];
        if (!(have & P) || (write && !(have & W))) {
            *error = (have & P ? 1 : 0) | (write ? 2 : 0) | (user ? 4 : 0);
            return at + i;
        }
    }
    return 0;
}

TEST(rep, "REP MOVS and STOS of any length from anywhere to anywhere, pages absent and read-only")
{
    static u8       want[REP_PAGES * PAGE], start[REP_PAGES * PAGE];
    static const u8 codes[8][4] = { { 0xf3, 0xa4, 0xcc },       { 0xf3, 0x66, 0xa5, 0xcc }, { 0xf3, 0xa5, 0xcc },
                                    { 0xf3, 0x48, 0xa5, 0xcc }, { 0xf3, 0xaa, 0xcc },       { 0xf3, 0x66, 0xab, 0xcc },
                                    { 0xf3, 0xab, 0xcc },       { 0xf3, 0x48, 0xab, 0xcc } };
    fresh();
    for (unsigned i = 0; i < REP_PAGES; i++) {
        rep_pages[i] = page();
        (void)page();
    }
    for (unsigned i = 0; i < 8; i++) {
        put(CODE_AT + 64 * i, codes[i], 4);
    }
    for (unsigned i = 0; i < REP_PAGES * PAGE; i += 4) {
        u32 v = rep_random();
        memcpy(start + i, &v, 4);
    }
    for (unsigned round = 0; round < 700; round++) {
        unsigned kind = rep_random() % 8, size = 1u << kind % 4,
                 n    = rep_random() % 4 ? rep_random() % 40 : rep_random() % 1200;
        bool     move = kind < 4, user = rep_random() & 1;
        u64      rights[REP_PAGES + 1], from, to;
        unsigned room = REP_PAGES * PAGE - n * size;
        for (unsigned i = 0; i <= REP_PAGES; i++) {
            unsigned what = rep_random() % 16;
            rights[i]     = what == 0 || i == REP_PAGES ? 0 : what == 1 ? P | U : P | W | U;
        }
        from = REP_AT + rep_random() % (room + 1);
        to   = REP_AT + rep_random() % (room + 1);
        if (rep_random() % 4 == 0) { /* close by */
            to = from + (rep_random() & 15);
            to = to > REP_AT + room ? from : to;
        }
        for (unsigned i = 0; i < REP_PAGES; i++) {
            memcpy((void *)rep_pages[i], start + i * PAGE, PAGE);
            map(REP_AT + i * PAGE, rep_pages[i], rights[i]);
        }
        Frame f  = frame_at(CODE_AT + 64 * kind, STACK + PAGE - 64, user);
        f.rsi    = from;
        f.rdi    = to;
        f.rcx    = n;
        f.rax    = 0x1234567890abcdef;
        f.rflags = 2 | (rep_random() & ARITH);

        u64      fault = 0;
        unsigned error = 0, done = 0;
        memcpy(want, start, sizeof want);
        for (; done < n; done++) {
            fault = move ? rep_fault(rights, from + done * size, size, false, user, &error) : 0;
            fault = fault ? fault : rep_fault(rights, to + done * size, size, true, user, &error);
            if (fault) {
                break;
            }
            u64 value = f.rax;
            if (move) {
                memcpy(&value, want + (from + done * size - REP_AT), size);
            }
            memcpy(want + (to + done * size - REP_AT), &value, size);
        }
        Frame    before = f;
        unsigned vector = run(&f);
        expect(vector == (fault ? 14 : 3), "round %u: vector %u", round, vector);
        if (fault) {
            equal(cpus[0].cr2, fault);
            equal(f.error, error);
        }
        equal(f.rip, CODE_AT + 64 * kind + (fault ? 0 : kind % 4 == 0 || kind % 4 == 2 ? 3 : 4));
        equal(f.rcx, n - done);
        equal(f.rdi, to + done * size);
        equal(f.rsi, move ? from + done * size : from);
        equal(f.rax, before.rax);
        equal(f.rflags & ARITH, before.rflags & ARITH);
        for (unsigned i = 0; i < REP_PAGES; i++) {
            expect(memcmp((void *)rep_pages[i], want + i * PAGE, PAGE) == 0, "round %u, kind %u: page %u differs",
                   round, kind, i);
        }
    }
    /* Not canonical: with no elements that is nothing. */
    for (unsigned kind = 0; kind < 8; kind++) {
        for (unsigned n = 0; n < 2; n++) {
            Frame f = frame_at(CODE_AT + 64 * kind, STACK + PAGE - 64, true);
            map(REP_AT, rep_pages[0], P | W | U);
            f.rsi        = kind & 1 ? REP_AT : 1ull << 63;
            f.rdi        = kind & 1 || kind >= 4 ? 1ull << 63 | 0x123 : REP_AT;
            f.rcx        = n;
            Frame before = f;
            equal(run(&f), n ? 13 : 3);
            equal(f.rcx, n);
            equal(f.rsi, before.rsi);
            equal(f.rdi, before.rdi);
        }
    }
}
