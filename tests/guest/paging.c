/* Page tables that change, and what the TLB may remember of them (SDM 3, 4.10): stale entries where they are allowed
 * (the old or the new, never anything else), never after an invalidation; access rights, A and D bits, large pages,
 * several address spaces. */

#include "rt/rt.h"

enum { CR4_PGE = 1 << 7, CR4_PCIDE = 1 << 17, CR4_SMEP = 1 << 20, CR4_SMAP = 1 << 21, CR0_WP = 1 << 16 };

enum {
    PROBES = WINDOW + 0x8000, /* a page of user code */
    STACK  = WINDOW + 0xa000, /* and its stack: one page */
    AT     = WINDOW + 0x10000,
    BIG    = WINDOW + 0x400000, /* 2 MiB aligned */
};

/* rdi: address; rax: value */
CODE(probe_read, "mov (%rdi), %rax")
CODE(probe_write, "mov %rax, (%rdi)")
CODE(probe_call, "call *%rdi")
CODE(probe_rmw, "lock addq $1, (%rdi)")
enum { READS, WRITES, CALLS, ADDS };

/* Top of a stack for ring 0. */
static u64 page_for_stack(void)
{
    static u64 stack;
    if (!stack) {
        stack = page();
    }
    return stack + PAGE;
}

typedef struct Result {
    unsigned vector;
    u32      error;
    u64      cr2, value;
} Result;

static Result probe(unsigned kind, u64 at, u64 value, bool user)
{
    static const u8 *const code[] = { probe_read, probe_write, probe_call, probe_rmw };
    if (!(*pte(PROBES) & P)) {
        map(PROBES, page(), P | U);
        map(STACK, page(), P | W | U);
        u64 to = *pte(PROBES) & ~0xfffull;
        for (unsigned i = 0; i < 4; i++) {
            put(to + 64 * i, code[i], 32);
        }
    }
    Frame f = frame_at(user ? PROBES + 64ull * kind : (u64)code[kind], STACK + PAGE, user);
    if (!user) {
        f.rsp = page_for_stack();
    }
    f.rdi    = at;
    f.rax    = value;
    Result r = { .vector = run(&f), .error = (u32)f.error, .cr2 = cpus[0].cr2, .value = f.rax };
    return r;
}

#define expect_fault(r, want_error, at)                                                                                \
    do {                                                                                                               \
        Result r_ = (r);                                                                                               \
        expect(r_.vector == 14 && r_.error == (want_error) && r_.cr2 == (at),                                          \
               "vector %u error %x cr2 %lx, not 14, %x, %lx", r_.vector, r_.error, r_.cr2, (u32)(want_error),          \
               (u64)(at));                                                                                             \
    } while (0)
#define expect_value(r, want)                                                                                          \
    do {                                                                                                               \
        Result r_ = (r);                                                                                               \
        expect(r_.vector == 3 && r_.value == (want), "vector %u error %x cr2 %lx value %lx, not %lx", r_.vector,       \
               r_.error, r_.cr2, r_.value, (u64)(want));                                                               \
    } while (0)

/* mov $value, %eax; ret, at the start of a page; the page's number at 64 */
static u64 marked(u32 value)
{
    u64 at            = page();
    *(u8 *)at         = 0xb8;
    *(u32 *)(at + 1)  = value;
    *(u8 *)(at + 5)   = 0xc3;
    *(u64 *)(at + 64) = value;
    return at;
}

static Result data(bool user)
{
    return probe(READS, AT + 64, 0, user);
}

static Result code(bool user)
{
    return probe(CALLS, AT, 0, user);
}

/* --- invalidation --- */

static void by_invlpg(void)
{
    invlpg(AT + 123);
}

static void by_cr3(void)
{
    WRITE_CR(3, READ_CR(3));
}

static void by_pge(void)
{
    WRITE_CR(4, READ_CR(4) ^ CR4_PGE);
    WRITE_CR(4, READ_CR(4) ^ CR4_PGE);
}

static void invpcid(u64 type, u64 pcid, u64 linear)
{
    struct {
        u64 pcid, linear;
    } d = { pcid, linear };
    __asm__ volatile("invpcid %0, %1" : : "m"(d), "r"(type) : "memory");
}

static void by_invpcid_address(void)
{
    invpcid(0, 0, AT + 5);
}

static void by_invpcid_context(void)
{
    invpcid(1, 0, 0);
}

static void by_invpcid_all(void)
{
    invpcid(2, 0, 0);
}

static void by_invpcid_all_but_global(void)
{
    invpcid(3, 0, 0);
}

static void by_far_away(void)
{
    WRITE_CR(0, READ_CR(0) & ~(1ull << 3)); /* nothing: only a serializing instruction */
}

typedef struct Way {
    const char *name;
    void (*invalidate)(void);
    bool effective, global; /* of pages, of global pages */
} Way;

static const Way ways[] = {
    { "nothing", by_far_away, false, false },
    { "invlpg", by_invlpg, true, true },
    { "mov cr3", by_cr3, true, false },
    { "cr4.pge", by_pge, true, true },
    { "invpcid address", by_invpcid_address, true, false },
    { "invpcid context", by_invpcid_context, true, false },
    { "invpcid all", by_invpcid_all, true, true },
    { "invpcid all but global", by_invpcid_all_but_global, true, false },
};

static bool has_invpcid(void)
{
    return cpuid(7, 0).b & 1 << 10;
}

static void changes(u64 flags)
{
    u64 a = marked(0xa), b = marked(0xb);
    WRITE_CR(4, READ_CR(4) | CR4_PGE);
    for (unsigned w = 0; w < (has_invpcid() ? 8 : 4); w++) {
        bool must = flags & G ? ways[w].global : ways[w].effective;
        for (unsigned i = 0; i < 60; i++) {
            bool user = i & 1;
            map(AT, a, flags);
            for (unsigned warm = 0; warm < 3; warm++) {
                expect_value(data(user), 0xa);
                expect_value(code(user), 0xa);
            }
            *pte(AT) = b | flags;
            ways[w].invalidate();
            for (unsigned again = 0; again < 4; again++) {
                Result d = data(user), c = code(user);
                bool   ok = d.vector == 3 && c.vector == 3 && (d.value == 0xb || (d.value == 0xa && !must)) &&
                          (c.value == 0xb || (c.value == 0xa && !must));
                expect(ok, "%s: data %u %lx code %u %lx", ways[w].name, d.vector, d.value, c.vector, c.value);
            }
        }
    }
    map(AT, 0, 0);
}

TEST(plain_changes, "a page is mapped elsewhere, with and without invalidation")
{
    changes(P | W | U);
}

TEST(global_changes, "a global page is mapped elsewhere")
{
    changes(P | W | U | G);
}

TEST(absent, "absent pages are not remembered, and present ones go away")
{
    u64 a = marked(0x77);
    for (unsigned i = 0; i < 200; i++) {
        bool user = i & 1;
        map(AT, a, 0);
        expect_fault(data(user), user ? 4 : 0, AT + 64);
        expect_fault(probe(WRITES, AT + 64, 1, user), user ? 6 : 2, AT + 64);
        expect_fault(code(user), user ? 0x14 : 0x10, AT);
        *pte(AT) = a | P | W | U; /* no INVLPG is needed for what was absent (SDM 3, 4.10.4.3) */
        expect_value(data(user), 0x77);
        expect_value(code(user), 0x77);
        map(AT, a, 0);
        expect_fault(code(user), user ? 0x14 : 0x10, AT);
        expect_fault(data(user), user ? 4 : 0, AT + 64);
    }
}

/* --- rights --- */

TEST(read_only, "read-only pages, CR0.WP")
{
    u64 a = marked(5);
    for (unsigned i = 0; i < 100; i++) {
        map(AT, a, P | U);
        expect_value(data(true), 5);
        expect_fault(probe(WRITES, AT + 64, 9, true), 7, AT + 64);
        expect_fault(probe(ADDS, AT + 64, 9, true), 7, AT + 64);
        expect_fault(probe(WRITES, AT + 64, 9, false), 3, AT + 64);
        WRITE_CR(0, READ_CR(0) & ~(u64)CR0_WP);
        expect_value(probe(WRITES, AT + 64, 6, false), 6);
        expect_fault(probe(WRITES, AT + 64, 9, true), 7, AT + 64);
        WRITE_CR(0, READ_CR(0) | CR0_WP);
        expect_fault(probe(WRITES, AT + 64, 9, false), 3, AT + 64);
        expect_value(data(false), 6);
        /* Rights that grow: one more fault is allowed, none after it. */
        *pte(AT) |= W;
        Result r = probe(WRITES, AT + 64, 5, i & 1);
        if (r.vector == 14) {
            r = probe(WRITES, AT + 64, 5, i & 1);
        }
        expect_value(r, 5);
    }
}

TEST(rings, "the same page for user and supervisor in turn")
{
    u64 a = marked(0x31);
    for (unsigned i = 0; i < 300; i++) {
        map(AT, a, P | W);
        expect_value(data(false), 0x31);
        expect_value(code(false), 0x31);
        expect_fault(data(true), 5, AT + 64);
        expect_fault(probe(WRITES, AT + 64, 1, true), 7, AT + 64);
        expect_fault(code(true), 0x15, AT);
        expect_value(probe(WRITES, AT + 64, 0x31, false), 0x31);
        map(AT, a, P | W | U);
        expect_value(data(true), 0x31);
        expect_value(code(true), 0x31);
        expect_value(code(false), 0x31);
    }
}

TEST(nx, "NX, and the reserved bit that it is without EFER.NXE")
{
    u64 a = marked(0x32);
    for (unsigned i = 0; i < 100; i++) {
        map(AT, a, P | W | U | NX);
        expect_value(data(i & 1), 0x32);
        expect_fault(code(true), 0x15, AT);
        expect_fault(code(false), 0x11, AT);
        wrmsr(0xc0000080, rdmsr(0xc0000080) & ~(1ull << 11));
        invlpg(AT);
        expect_fault(data(false), 9, AT + 64);
        expect_fault(data(true), 0xd, AT + 64);
        wrmsr(0xc0000080, rdmsr(0xc0000080) | 1ull << 11);
        map(AT, a, P | W | U);
        expect_value(code(i & 1), 0x32);
    }
}

/* stac; read; clac; read again: the second one faults */
CODE(smap_toggle, ".byte 0x0f, 0x01, 0xcb\n mov (%rdi), %rax\n .byte 0x0f, 0x01, 0xca\n mov (%rdi), %rcx")
/* the same by popf */
CODE(smap_popf, "pushf\n pop %rdx\n mov %rdx, %rsi\n or $0x40000, %rsi\n push %rsi\n popf\n mov (%rdi), %rax\n"
                "push %rdx\n popf\n mov (%rdi), %rcx")

TEST(smap, "SMEP and SMAP, AC changing within a block")
{
    if ((cpuid(7, 0).b & (1 << 7 | 1 << 20)) != (1 << 7 | 1 << 20)) {
        skip("no SMEP or SMAP");
        return;
    }
    u64 a = marked(0x33);
    map(AT, a, P | W | U);
    for (unsigned i = 0; i < 200; i++) {
        WRITE_CR(4, READ_CR(4) & ~(u64)(CR4_SMEP | CR4_SMAP));
        expect_value(data(false), 0x33);
        expect_value(code(false), 0x33);
        WRITE_CR(4, READ_CR(4) | CR4_SMEP);
        expect_fault(code(false), 0x11, AT);
        expect_value(data(false), 0x33);
        expect_value(code(true), 0x33);
        WRITE_CR(4, READ_CR(4) | CR4_SMAP);
        expect_fault(data(false), 1, AT + 64);
        expect_fault(probe(WRITES, AT + 64, 1, false), 3, AT + 64);
        expect_value(data(true), 0x33);
        for (unsigned kind = 0; kind < 2; kind++) {
            Frame f = frame_at((u64)(kind ? smap_popf : smap_toggle), page_for_stack(), false);
            f.rdi   = AT + 64;
            equal(run(&f), 14);
            equal(f.error, 1);
            equal(f.rax, 0x33);
            equal(f.rip, (u64)(kind ? smap_popf_end : smap_toggle_end) - 4);
        }
    }
    WRITE_CR(4, READ_CR(4) & ~(u64)(CR4_SMEP | CR4_SMAP));
}

/* --- accessed and dirty --- */

TEST(accessed, "accessed and dirty bits")
{
    u64 a = marked(0x34);
    for (unsigned i = 0; i < 100; i++) {
        bool user = i & 1;
        map(AT, a, P | W | U);
        equal(*pte(AT) & (A | D), 0);
        expect_value(data(user), 0x34);
        equal(*pte(AT) & (A | D), A);
        expect_value(code(user), 0x34);
        equal(*pte(AT) & (A | D), A);
        expect_value(probe(WRITES, AT + 64, 0x34, user), 0x34);
        equal(*pte(AT) & (A | D), A | D);
        *pte(AT) &= ~(u64)(A | D);
        invlpg(AT);
        expect_value(probe(ADDS, AT + 72, 0, user), 0);
        equal(*pte(AT) & (A | D), A | D);
        map(AT, a, P | U); /* a write that faults does not make it dirty */
        expect_fault(probe(WRITES, AT + 64, 1, true), 7, AT + 64);
        equal(*pte(AT) & D, 0);
        map(AT, a, P | W);
        expect_fault(data(true), 5, AT + 64);
        equal(*pte(AT) & D, 0);
    }
}

/* --- large pages --- */

static u64 *pde(u64 linear)
{
    u64 *pd = (u64 *)(pdpt[linear >> 30] & ~0xfffull);
    return &pd[linear >> 21 & 511];
}

TEST(large, "a 2 MiB page is split, and made whole again")
{
    u64  saved = *pde(BIG), table = page();
    u64  base = 0x4000000; /* physical 64 MiB: unused memory */
    u64 *pt   = (u64 *)table;
    for (unsigned i = 0; i < 512; i++) {
        *(u64 *)(base + i * PAGE) = i;
    }
    for (unsigned round = 0; round < 20; round++) {
        bool user = round & 1;
        *pde(BIG) = base | P | W | U | PS | (round & 2 ? G : 0);
        by_pge();
        for (unsigned i = 0; i < 512; i += 37) {
            expect_value(probe(READS, BIG + i * PAGE, 0, user), i);
        }
        equal(*pde(BIG) & D, 0);
        expect_value(probe(WRITES, BIG + 8, 1, user), 1);
        equal(*pde(BIG) & (A | D), A | D);
        /* The same by small pages, two of which are exchanged. */
        for (unsigned i = 0; i < 512; i++) {
            pt[i] = (base + i * PAGE) | P | W | U | (round & 2 ? G : 0);
        }
        pt[37]    = (base + 74 * PAGE) | P | W | U;
        pt[74]    = (base + 37 * PAGE) | P | U;
        *pde(BIG) = table | P | W | U;
        by_pge();
        for (unsigned i = 0; i < 512; i += 37) {
            expect_value(probe(READS, BIG + i * PAGE, 0, user), i == 37 ? 74 : i == 74 ? 37 : i);
        }
        expect_fault(probe(WRITES, BIG + 74 * PAGE, 1, true), 7, BIG + 74 * PAGE);
        /* The directory's rights count too. */
        *pde(BIG) = table | P | U;
        by_pge();
        expect_fault(probe(WRITES, BIG + 8, 1, user), user ? 7 : 3, BIG + 8);
        *pde(BIG) = table | P | W;
        by_pge();
        expect_fault(probe(READS, BIG + 8, 1, true), 5, BIG + 8);
        expect_value(probe(READS, BIG, 0, false), 0);
        *pde(BIG) = 0;
        by_pge();
        expect_fault(probe(READS, BIG + 8, 1, user), user ? 4 : 0, BIG + 8);
        *pde(BIG) = base | P | W | U | PS | 1 << 13; /* reserved */
        by_pge();
        expect_fault(probe(READS, BIG + 8, 1, user), user ? 0xd : 9, BIG + 8);
    }
    *pde(BIG) = saved;
    by_pge();
}

/* --- address spaces --- */

static u64 other_pml4, other_pt;

/* A second address space, where only AT's 2 MiB differ. */
static void second_space(void)
{
    if (other_pml4) {
        return;
    }
    u64  pml4_2 = page(), pdpt_2 = page(), pd_2 = page();
    u64 *own_pd = (u64 *)(pdpt[1] & ~0xfffull);
    other_pt    = page();
    memcpy((void *)pml4_2, pml4, PAGE);
    memcpy((void *)pdpt_2, pdpt, PAGE);
    memcpy((void *)pd_2, own_pd, PAGE);
    memcpy((void *)other_pt, (void *)(own_pd[0] & ~0xfffull), PAGE);
    ((u64 *)pml4_2)[0] = pdpt_2 | P | W | U;
    ((u64 *)pdpt_2)[1] = pd_2 | P | W | U;
    ((u64 *)pd_2)[0]   = other_pt | P | W | U;
    other_pml4         = pml4_2;
}

static u64 *other_pte(u64 linear)
{
    return &((u64 *)other_pt)[linear >> 12 & 511];
}

TEST(spaces, "two address spaces with other code and data at the same addresses")
{
    u64 a = marked(0xa0), b = marked(0xb0), own = READ_CR(3);
    (void)data(true); /* the probe's pages exist before they are copied */
    second_space();
    map(AT, a, P | W | U);
    *other_pte(AT)     = b | P | W | U;
    *other_pte(PROBES) = *pte(PROBES);
    *other_pte(STACK)  = *pte(STACK);
    for (unsigned i = 0; i < 2000; i++) {
        bool other = i % 3 == 1, user = i & 1;
        WRITE_CR(3, other ? other_pml4 : own);
        expect_value(data(user), other ? 0xb0 : 0xa0);
        expect_value(code(user), other ? 0xb0 : 0xa0);
    }
    WRITE_CR(3, own);
}

TEST(pcid, "address spaces with PCIDs, switched without a flush")
{
    if (!(cpuid(1, 0).c & 1 << 17)) {
        skip("no PCID");
        return;
    }
    u64 a = marked(0xa1), b = marked(0xb1), c = marked(0xc1), own = READ_CR(3);
    (void)data(true);
    second_space();
    map(AT, a, P | W | U);
    *other_pte(AT)     = b | P | W | U;
    *other_pte(PROBES) = *pte(PROBES);
    *other_pte(STACK)  = *pte(STACK);
    WRITE_CR(4, READ_CR(4) | CR4_PCIDE);
    WRITE_CR(3, other_pml4 | 2);
    WRITE_CR(3, own | 1);
    for (unsigned i = 0; i < 2000; i++) {
        bool other = i % 3 == 1, user = i & 1, keep = i % 10 != 9;
        WRITE_CR(3, (other ? other_pml4 | 2 : own | 1) | (keep ? 1ull << 63 : 0));
        expect_value(data(user), other ? 0xb1 : 0xa1);
        expect_value(code(user), other ? 0xb1 : 0xa1);
    }
    /* The other space changes while this one runs; told by INVPCID, or by a CR3 load that does not keep. */
    for (unsigned i = 0; i < 200; i++) {
        bool user = i & 1;
        WRITE_CR(3, other_pml4 | 2 | 1ull << 63);
        expect_value(data(user), 0xb1);
        expect_value(code(user), 0xb1);
        WRITE_CR(3, own | 1 | 1ull << 63);
        expect_value(data(user), 0xa1);
        *other_pte(AT) = c | P | W | U;
        unsigned how   = has_invpcid() ? i % 4 : 3;
        if (how < 3) {
            invpcid(how == 0 ? 0 : how == 1 ? 1 : 3, 2, AT);
        }
        WRITE_CR(3, other_pml4 | 2 | (how < 3 ? 1ull << 63 : 0));
        expect_value(data(user), 0xc1);
        expect_value(code(user), 0xc1);
        *other_pte(AT) = b | P | W | U;
        invlpg(AT); /* this PCID only, which is the one */
        expect_value(data(user), 0xb1);
        expect_value(code(user), 0xb1);
    }
    /* Stale is allowed where nobody invalidated: old or new. */
    WRITE_CR(3, own | 1 | 1ull << 63);
    *other_pte(AT) = c | P | W | U;
    WRITE_CR(3, other_pml4 | 2 | 1ull << 63);
    Result r = data(true);
    expect(r.vector == 3 && (r.value == 0xb1 || r.value == 0xc1), "vector %u value %lx", r.vector, r.value);
    WRITE_CR(3, own & ~0xfffull);
    WRITE_CR(4, READ_CR(4) & ~(u64)CR4_PCIDE);
    WRITE_CR(3, own);
    by_pge();
}

/* An address space is left while a chain of jumps between its pages is hot. */
CODE(bounce, "mov $2001, %ecx\n jmp 2f\n .skip 4090, 0x90\n 2: dec %ecx\n jnz 3f\n mov 64(%rip), %eax\n int3\n"
             "3: jmp 4f\n .skip 4080, 0x90\n 4: dec %ecx\n jnz 2b")
TEST(chains, "hot loops over three pages in two address spaces")
{
    u64 own = READ_CR(3);
    u64 pages[2][3];
    second_space();
    for (unsigned s = 0; s < 2; s++) {
        for (unsigned i = 0; i < 3; i++) {
            pages[s][i]                                           = page();
            (s ? other_pte : pte)(WINDOW + 0x20000 + i * PAGE)[0] = pages[s][i] | P | W | U;
        }
        for (unsigned i = 0; i < SIZE_OF(bounce); i++) {
            ((u8 *)pages[s][i / PAGE])[i % PAGE] = bounce[i];
        }
        /* what mov 64(%rip) reads tells which page ran; find it by its opcode */
        for (unsigned i = 0; i < PAGE - 128; i++) {
            u8 *p = (u8 *)pages[s][1] + i % PAGE;
            if (p[0] == 0x8b && p[1] == 0x05) {
                *(u32 *)(p + 6 + 64) = 0x500 + s;
            }
        }
    }
    *other_pte(STACK) = *pte(STACK);
    for (unsigned i = 0; i < 200; i++) {
        WRITE_CR(3, i & 1 ? other_pml4 : own);
        Frame f = frame_at(WINDOW + 0x20000, STACK + PAGE, i & 2);
        equal(run(&f), 3);
        equal(f.rax, 0x500 + (i & 1));
    }
    WRITE_CR(3, own);
}

/* An array whose pages are scattered in memory, walked until its accesses are judged by it: whatever the translator
 * remembers of such pages goes when one is mapped to another place, or only to be read. */
enum { ARRAY = WINDOW + 0x30000, ARRAY_PAGES = 8, WALK = 60000 };

/* Adds up, and adds 1 to, one word of the array after the other, a page and a bit farther each time. */
static u64 walk(unsigned n)
{
    u64 sum = 0, at = 0;
    for (unsigned i = 0; i < n; i++) {
        volatile u64 *p = (volatile u64 *)((u64)ARRAY + at);
        sum += *p;
        *p = *p + 1;
        at = (at + PAGE + 8 * 37) % (ARRAY_PAGES * PAGE);
    }
    return sum;
}

static u64 array_sum(const u64 *pages)
{
    u64 sum = 0;
    for (unsigned i = 0; i < ARRAY_PAGES * PAGE / 8; i++) {
        sum += ((volatile u64 *)pages[i / (PAGE / 8)])[i % (PAGE / 8)];
    }
    return sum;
}

TEST(scattered, "pages in no order, walked, swapped, taken away and made read-only")
{
    static const u8 order[ARRAY_PAGES] = { 5, 2, 7, 0, 6, 1, 4, 3 };
    u64             pages[ARRAY_PAGES], at[ARRAY_PAGES];
    for (unsigned i = 0; i < ARRAY_PAGES; i++) {
        at[i] = page();
    }
    for (unsigned i = 0; i < ARRAY_PAGES; i++) {
        pages[i] = at[order[i]];
        map((u64)ARRAY + i * PAGE, pages[i], P | W);
    }
    for (unsigned round = 0; round < 4; round++) {
        u64 before = array_sum(pages);
        walk(WALK);
        equal(array_sum(pages), before + WALK);

        /* Two pages change places: what is written through the array must be found in the right one. */
        unsigned a = round, b = ARRAY_PAGES - 1 - round;
        u64      swap = pages[a];
        pages[a]      = pages[b];
        pages[b]      = swap;
        map((u64)ARRAY + a * PAGE, pages[a], P | W);
        map((u64)ARRAY + b * PAGE, pages[b], P | W);
        invlpg(ARRAY + a * PAGE);
        invlpg(ARRAY + b * PAGE);
        *(volatile u64 *)(pages[a] + 64) = 0xa000 + round;
        *(volatile u64 *)(pages[b] + 64) = 0xb000 + round;
        equal(*(volatile u64 *)((u64)ARRAY + a * PAGE + 64), 0xa000 + round);
        equal(*(volatile u64 *)((u64)ARRAY + b * PAGE + 64), 0xb000 + round);
    }
    map((u64)ARRAY + 3 * PAGE, pages[3], P | U);
    invlpg(ARRAY + 3 * PAGE);
    expect_fault(probe(WRITES, ARRAY + 3 * PAGE + 8, 1, true), 7, ARRAY + 3 * PAGE + 8);
    map((u64)ARRAY + 4 * PAGE, 0, 0);
    invlpg(ARRAY + 4 * PAGE);
    expect_fault(probe(READS, ARRAY + 4 * PAGE, 0, false), 0, ARRAY + 4 * PAGE);
}
