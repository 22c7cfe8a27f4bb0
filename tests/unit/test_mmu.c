/* Paging: rights and error codes, accessed and dirty bits, every kind of page table, what flushes the TLB. */

#include "guest.h"

#include "base/bytes.h"
#include "cpu/x86/mmu.h"
#include "cpu/x86/tlb.h"

#include <string.h>

#define CODE(...) (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ })

enum { P = 1, W = 2, U = 4, A = 0x20, D = 0x40, PS = 0x80, G = 0x100 };
#define NX (UINT64_C(1) << 63)

/* Everything below the data becomes the supervisor's, so that SMEP and SMAP leave the test's own code alone. */
static void make_supervisor(Guest *g)
{
    for (uint64_t page = 0; page < GUEST_DATA; page += 0x1000) {
        if (page % 0x200000 == 0) {
            guest_map(g, page, page, P | W);
        } else {
            *guest_pte(g, page) = page | P | W;
        }
    }
    x86_tlb_flush(g->cpus[0], true);
}

typedef enum Kind { READ, WRITE, FETCH } Kind;

/* Makes one access to GUEST_DATA; returns the page fault's error code, or -1 when it went through. */
static int64_t try_access(Guest *g, Kind kind)
{
    static const struct {
        uint8_t  code[8];
        unsigned len;
    } codes[] = {
        [READ]  = { { 0x48, 0x8b, 0x07, 0x0f, 0x0b }, 5 }, /* mov rax, [rdi]; ud2 */
        [WRITE] = { { 0x48, 0x89, 0x07, 0x0f, 0x0b }, 5 }, /* mov [rdi], rax; ud2 */
        [FETCH] = { { 0xff, 0xe7 }, 2 },                   /* jmp rdi, to a ud2 */
    };
    X86Cpu *cpu = g->cpus[0];

    store_le16(g->host + GUEST_DATA, 0x0b0f);
    cpu->gpr[X86_RDI] = GUEST_DATA;
    cpu->gpr[X86_RAX] = 0x0b0f;
    cpu->rip          = GUEST_CODE;
    guest_run_code(g, 0, codes[kind].code, codes[kind].len);
    if (guest_exception(g, 0) == X86_UD) {
        return -1;
    }
    g_assert_cmpint(guest_exception(g, 0), ==, X86_PF);
    g_assert_cmphex(cpu->cr2, ==, GUEST_DATA);
    g_assert_cmphex(load_le64(g->host + cpu->gpr[X86_RSP] + 8), ==, kind == FETCH ? GUEST_DATA : GUEST_CODE);
    return load_le32(g->host + cpu->gpr[X86_RSP]);
}

typedef struct Case {
    const char *name;
    uint64_t    pte;
    unsigned    ring;
    Kind        kind;
    int         error; /* -1: goes through */
    uint32_t    set;   /* SMEP, SMAP, AC, NO_WP, NO_NX */
} Case;

enum { SMEP = 1, SMAP = 2, AC = 4, NO_WP = 8, NO_NX = 16 };

static const Case cases[] = {
    { "not present, read", 0, 0, READ, 0, 0 },
    { "not present, write", 0, 0, WRITE, 2, 0 },
    { "not present, user", W | U, 3, READ, 4, 0 },
    { "not present, fetch", 0, 0, FETCH, 0x10, 0 },
    { "not present, fetch, no NX", 0, 0, FETCH, 0, NO_NX },
    { "not present, fetch, no NX, SMEP", 0, 0, FETCH, 0x10, NO_NX | SMEP },
    { "supervisor reads user", P | U, 0, READ, -1, 0 },
    { "supervisor writes read-only", P, 0, WRITE, 3, 0 },
    { "supervisor writes read-only, WP off", P, 0, WRITE, -1, NO_WP },
    { "user reads supervisor", P | W, 3, READ, 5, 0 },
    { "user writes supervisor", P | W, 3, WRITE, 7, 0 },
    { "user writes read-only", P | U, 3, WRITE, 7, 0 },
    { "user writes read-only, WP off", P | U, 3, WRITE, 7, NO_WP },
    { "user writes", P | W | U, 3, WRITE, -1, 0 },
    { "user fetches", P | U, 3, FETCH, -1, 0 },
    { "user fetches supervisor", P, 3, FETCH, 0x15, 0 },
    { "fetch of NX", P | NX, 0, FETCH, 0x11, 0 },
    { "user fetch of NX", P | U | NX, 3, FETCH, 0x15, 0 },
    { "read of NX", P | NX, 0, READ, -1, 0 },
    { "NX bit without NX", P | NX, 0, READ, 9, NO_NX },
    { "SMEP", P | U, 0, FETCH, 0x11, SMEP },
    { "SMEP, supervisor page", P, 0, FETCH, -1, SMEP },
    { "SMAP read", P | U | W, 0, READ, 1, SMAP },
    { "SMAP write", P | U | W, 0, WRITE, 3, SMAP },
    { "SMAP with AC", P | U | W, 0, WRITE, -1, SMAP | AC },
    { "SMAP, supervisor page", P | W, 0, WRITE, -1, SMAP },
    { "SMAP, user", P | U | W, 3, WRITE, -1, SMAP },
    { "reserved address bit", P | W | UINT64_C(1) << 45, 0, READ, 9, 0 },
    { "reserved address bit, user write", P | W | U | UINT64_C(1) << 51, 3, WRITE, 0xf, 0 },
    { "reserved before rights", P | UINT64_C(1) << 45, 3, WRITE, 0xf, 0 },
};

static void prepare(Guest *g, const Case *c)
{
    X86Cpu *cpu = g->cpus[0];

    guest_set_mode(g, 0, GUEST_LONG64, c->ring);
    if (c->ring == 0) {
        make_supervisor(g);
    } else {
        guest_map(g, GUEST_STACK - 0x11000, GUEST_STACK - 0x11000, P | W); /* the TSS's stack */
        for (uint64_t page = 0; page < 0x10000; page += 0x1000) {
            guest_map(g, page, page, P | W);
        }
    }
    guest_map(g, GUEST_DATA, GUEST_DATA, c->pte);
    cpu->cr4 |= (c->set & SMEP ? CR4_SMEP : 0) | (c->set & SMAP ? CR4_SMAP : 0);
    if (c->set & AC) {
        cpu->eflags |= EFLAGS_AC;
    }
    if (c->set & NO_WP) {
        cpu->cr0 &= ~CR0_WP;
    }
    if (c->set & NO_NX) {
        cpu->efer &= ~EFER_NXE;
    }
    x86_update_mode(cpu);
    x86_tlb_flush(cpu, true);
}

static void test_rights(void)
{
    Guest *g = guest_new(1);

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const Case *c = &cases[i];
        g_test_message("%s", c->name);
        prepare(g, c);
        g_assert_cmpint(try_access(g, c->kind), ==, c->error);
        uint64_t pte = *guest_pte(g, GUEST_DATA);
        g_assert_cmphex(pte, ==, GUEST_DATA | c->pte | (c->error < 0 ? A | (c->kind == WRITE ? D : 0) : 0));
        /* Once more, now that the TLB may know something. */
        if (c->error >= 0) {
            prepare(g, c);
            g_assert_cmpint(try_access(g, c->kind), ==, c->error);
        }
    }
    guest_free(g);
}

/* A write after a read finds the dirty bit clear and sets it. */
static void test_dirty(void)
{
    static const Case plain = { "", P | W, 0, READ, -1, 0 };
    Guest            *g     = guest_new(1);

    prepare(g, &plain);
    g_assert_cmpint(try_access(g, READ), ==, -1);
    g_assert_cmphex(*guest_pte(g, GUEST_DATA), ==, GUEST_DATA | P | W | A);
    g_assert_cmpint(try_access(g, WRITE), ==, -1);
    g_assert_cmphex(*guest_pte(g, GUEST_DATA), ==, GUEST_DATA | P | W | A | D);
    guest_free(g);
}

/* --- flushing --- */

static void test_flush(void)
{
    Guest    *g   = guest_new(1);
    X86Cpu   *cpu = g->cpus[0];
    uint64_t *pte;

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    guest_map(g, GUEST_DATA, GUEST_DATA, P | W | U);
    pte = guest_pte(g, GUEST_DATA);
    store_le64(g->host + GUEST_DATA, 1);
    store_le64(g->host + GUEST_DATA + 0x1000, 2);
    cpu->gpr[X86_RDI] = GUEST_DATA;
    guest_run_code(g, 0, CODE(0x48, 0x8b, 0x07));
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1);

    *pte     = (GUEST_DATA + 0x1000) | P | W | U;
    cpu->rip = GUEST_CODE;
    guest_run_code(g, 0, CODE(0x0f, 0x01, 0x3f, 0x48, 0x8b, 0x07)); /* invlpg [rdi]; mov rax, [rdi] */
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 2);

    *pte     = GUEST_DATA | P | W | U;
    cpu->rip = GUEST_CODE;
    guest_run_code(g, 0, CODE(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0x48, 0x8b, 0x07)); /* mov cr3, cr3 */
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1);

    /* INVLPG of any address of a large page drops all of it. */
    uint64_t *pd = (uint64_t *)(g->host + GUEST_TABLES + 0x2000);
    pd[3]        = 0x600000 | P | W | U | PS;
    x86_tlb_flush(cpu, true);
    store_le64(g->host + 0x601000, 3);
    store_le64(g->host + 0x801000, 4);
    cpu->rip          = GUEST_CODE;
    cpu->gpr[X86_RDI] = 0x601000;
    cpu->gpr[X86_RSI] = 0x7ff000;
    guest_run_code(g, 0, CODE(0x48, 0x8b, 0x07));
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 3);
    pd[3]    = 0x800000 | P | W | U | PS;
    cpu->rip = GUEST_CODE;
    guest_run_code(g, 0, CODE(0x0f, 0x01, 0x3e, 0x48, 0x8b, 0x07)); /* invlpg [rsi]; mov rax, [rdi] */
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 4);
    guest_free(g);
}

/* A page that becomes code may not be written past its marks, however the TLB came to allow writes. */
static void test_forbidden_writes(void)
{
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    X86TlbMode  mode = x86_tlb_mode(cpu);
    X86TlbPage *page = x86_translate(cpu, mode, GUEST_DATA, X86_WRITE);
    unsigned    slot = (GUEST_DATA >> X86_PAGE_BITS) % X86_TLB_SIZE;
    X86TlbPage *next = x86_translate(cpu, mode, GUEST_DATA + 0x1000, X86_WRITE);

    const X86TlbEntry *entries = tlb_table(cpu, cpu->tlb->current, mode)->entries;
    g_assert_cmphex(entries[slot].write, ==, GUEST_DATA);
    for (unsigned round = 0; round < 3; round++) {
        ram_block_mark_code(page->ram, page->ram_offset, 1);
        x86_tlb_forbid_writes(cpu, page->host);
        g_assert_cmphex(entries[slot].write, !=, GUEST_DATA);
        g_assert_cmphex(entries[slot].read, ==, GUEST_DATA);
        g_assert_cmphex(entries[slot + 1].write, ==, GUEST_DATA + 0x1000);
        /* A store finds that nobody watches it any more. */
        ram_block_keep_marks(page->ram, page->ram_offset, 0);
        g_assert_cmpint(try_access(g, WRITE), ==, -1);
        g_assert_cmphex(entries[slot].write, ==, GUEST_DATA);
    }
    x86_tlb_forbid_writes(cpu, next->host);
    g_assert_cmphex(entries[slot + 1].write, !=, GUEST_DATA + 0x1000);
    guest_free(g);
}

/* Two address spaces with PCIDs, switched without flushing; INVPCID. */
static void test_pcid(void)
{
    Guest         *g     = guest_new(1);
    X86Cpu        *cpu   = g->cpus[0];
    const uint64_t other = 0x80000; /* a second set of tables */

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    guest_map(g, GUEST_DATA, GUEST_DATA, P | W | U);
    memcpy(g->host + other, g->host + GUEST_TABLES, 0x3000);
    uint64_t *pml4 = (uint64_t *)(g->host + other), *pdpt = pml4 + 512, *pd = pml4 + 1024, *pt = pml4 + 1536;
    pml4[0] = (other + 0x1000) | 7;
    pdpt[0] = (other + 0x2000) | 7;
    memcpy(pt, g->host + (pd[GUEST_DATA >> 21] & ~UINT64_C(0xfff)), 4096);
    pd[GUEST_DATA >> 21] = (other + 0x3000) | 7;
    pt[0]                = (GUEST_DATA + 0x1000) | 7;
    store_le64(g->host + GUEST_DATA, 1);
    store_le64(g->host + GUEST_DATA + 0x1000, 2);

    cpu->cr4 |= CR4_PCIDE;
    x86_update_mode(cpu);
    x86_tlb_flush(cpu, true);
    cpu->gpr[X86_RDI] = GUEST_DATA;
    cpu->gpr[X86_RSI] = other | 5 | UINT64_C(1) << 63;
    cpu->gpr[X86_RDX] = GUEST_TABLES | UINT64_C(1) << 63;
    /* mov rbx, [rdi]; mov cr3, rsi; mov rcx, [rdi]; mov cr3, rdx; mov rbp, [rdi] */
    guest_run_code(g, 0,
                   CODE(0x48, 0x8b, 0x1f, 0x0f, 0x22, 0xde, 0x48, 0x8b, 0x0f, 0x0f, 0x22, 0xda, 0x48, 0x8b, 0x2f));
    g_assert_cmpint(guest_exception(g, 0), ==, -1);
    g_assert_cmpuint(cpu->gpr[X86_RBX], ==, 1);
    g_assert_cmpuint(cpu->gpr[X86_RCX], ==, 2);
    g_assert_cmpuint(cpu->gpr[X86_RBP], ==, 1);

    /* The other one's page changes; INVPCID of its address; switched to without a flush. */
    pt[0] = GUEST_DATA | 7;
    store_le64(g->host + GUEST_DATA + 0x10000, 5);
    store_le64(g->host + GUEST_DATA + 0x10008, GUEST_DATA);
    cpu->rip          = GUEST_CODE;
    cpu->gpr[X86_RAX] = 0;
    cpu->gpr[X86_RBX] = GUEST_DATA + 0x10000;
    /* invpcid rax, [rbx]; mov cr3, rsi; mov rcx, [rdi] */
    guest_run_code(g, 0, CODE(0x66, 0x0f, 0x38, 0x82, 0x03, 0x0f, 0x22, 0xde, 0x48, 0x8b, 0x0f));
    g_assert_cmpuint(cpu->gpr[X86_RCX], ==, 1);

    /* Descriptors with reserved bits, and types that do not exist. */
    cpu->rip          = GUEST_CODE;
    cpu->gpr[X86_RAX] = 4;
    guest_run_code(g, 0, CODE(0x66, 0x0f, 0x38, 0x82, 0x03));
    g_assert_cmpint(guest_exception(g, 0), ==, X86_GP);
    guest_free(g);
}

/* What was found by the address of code is found again exactly when it may have become something else. */
static void test_code_mapping(void)
{
    enum { FUNCTION = 0x700000, OTHER = 0x701000, NOT_CODE = 0x702000 };
    static const uint8_t one[] = { 0xb8, 1, 0, 0, 0, 0xc3 }, two[] = { 0xb8, 2, 0, 0, 0, 0xc3 }; /* mov eax, n; ret */
    Guest               *g    = guest_new(1);
    X86Cpu              *cpu  = g->cpus[0];
    const uint64_t       pcid = 0x80000; /* the second address space's tables */

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    guest_poke(g, FUNCTION, one, sizeof one);
    guest_poke(g, OTHER, two, sizeof two);
    guest_map(g, FUNCTION, FUNCTION, P | W | U);
    guest_map(g, NOT_CODE, NOT_CODE, P | W | U | NX);
    cpu->gpr[X86_RDI] = FUNCTION;
    cpu->gpr[X86_RSI] = NOT_CODE;
    cpu->rip          = GUEST_CODE;
    guest_run_code(g, 0, CODE(0xff, 0xd7, 0x48, 0x8b, 0x1e)); /* call rdi; mov rbx, [rsi] */
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1);

    uint64_t epoch = x86_tlb_epoch(cpu);
    x86_tlb_flush_page(cpu, NOT_CODE);
    g_assert_cmpuint(x86_tlb_epoch(cpu), ==, epoch);
    *guest_pte(g, FUNCTION) = OTHER | P | W | U;
    x86_tlb_flush_page(cpu, FUNCTION);
    g_assert_cmpuint(x86_tlb_epoch(cpu), !=, epoch);
    cpu->rip = GUEST_CODE;
    guest_run_code(g, 0, CODE(0xff, 0xd7, 0x48, 0x8b, 0x1e));
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 2);

    /* Another address space, in which the function is the first one. */
    memcpy(g->host + pcid, g->host + GUEST_TABLES, 0x3000);
    uint64_t *pml4 = (uint64_t *)(g->host + pcid), *pdpt = pml4 + 512, *pd = pml4 + 1024, *pt = pml4 + 1536;
    pml4[0] = (pcid + 0x1000) | 7;
    pdpt[0] = (pcid + 0x2000) | 7;
    memcpy(pt, g->host + (pd[FUNCTION >> 21] & ~UINT64_C(0xfff)), 4096);
    pd[FUNCTION >> 21]       = (pcid + 0x3000) | 7;
    pt[FUNCTION >> 12 & 511] = FUNCTION | P | W | U;
    cpu->cr4 |= CR4_PCIDE;
    x86_update_mode(cpu);
    x86_tlb_flush(cpu, true);
    cpu->gpr[X86_RSI] = pcid | 5 | UINT64_C(1) << 63;
    cpu->gpr[X86_RDX] = GUEST_TABLES | UINT64_C(1) << 63;
    epoch             = x86_tlb_epoch(cpu);
    for (unsigned i = 0; i < 3; i++) {
        cpu->rip = GUEST_CODE;
        /* call rdi; mov ebx, eax; mov cr3, rsi; call rdi; mov cr3, rdx; mov ecx, eax; call rdi */
        guest_run_code(
            g, 0, CODE(0xff, 0xd7, 0x89, 0xc3, 0x0f, 0x22, 0xde, 0xff, 0xd7, 0x0f, 0x22, 0xda, 0x89, 0xc1, 0xff, 0xd7));
        g_assert_cmpuint(cpu->gpr[X86_RBX], ==, 2);
        g_assert_cmpuint(cpu->gpr[X86_RCX], ==, 1);
        g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 2);
        g_assert_cmpuint(x86_tlb_epoch(cpu), ==, epoch);
    }

    /* The other one's function changes while this one runs. */
    pt[FUNCTION >> 12 & 511] = OTHER | P | W | U;
    x86_invpcid(cpu, 0, 5, FUNCTION);
    g_assert_cmpuint(x86_tlb_epoch(cpu), ==, epoch);
    cpu->rip = GUEST_CODE;
    guest_run_code(g, 0, CODE(0x0f, 0x22, 0xde, 0xff, 0xd7)); /* mov cr3, rsi; call rdi */
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 2);

    /* A flush when CR3 is loaded. */
    epoch                    = x86_tlb_epoch(cpu);
    pt[FUNCTION >> 12 & 511] = FUNCTION | P | W | U;
    cpu->gpr[X86_RSI]        = pcid | 5;
    cpu->rip                 = GUEST_CODE;
    guest_run_code(g, 0, CODE(0x0f, 0x22, 0xde, 0xff, 0xd7));
    g_assert_cmpuint(cpu->gpr[X86_RAX], ==, 1);
    g_assert_cmpuint(x86_tlb_epoch(cpu), !=, epoch);
    guest_free(g);
}

/* --- 32-bit and PAE tables --- */

static void set_paging32(Guest *g, uint64_t cr3, uint64_t cr4, uint64_t efer)
{
    X86Cpu *cpu = g->cpus[0];
    cpu->cr3    = cr3;
    cpu->cr4    = cr4;
    cpu->efer   = efer;
    cpu->cr0 |= CR0_PG | CR0_WP;
    x86_update_mode(cpu);
    x86_tlb_flush(cpu, true);
}

/* Reads (or writes) at a linear address in 32-bit code: the value, or the negative error code less 1. */
static int64_t access32(Guest *g, uint32_t linear, bool write)
{
    X86Cpu *cpu       = g->cpus[0];
    cpu->gpr[X86_RDI] = linear;
    cpu->gpr[X86_RSP] = GUEST_STACK;
    cpu->rip          = GUEST_CODE;
    if (write) {
        guest_run_code(g, 0, CODE(0x89, 0x07));
    } else {
        guest_run_code(g, 0, CODE(0x8b, 0x07));
    }
    if (guest_exception(g, 0) < 0) {
        return (int64_t)(uint32_t)cpu->gpr[X86_RAX];
    }
    g_assert_cmpint(guest_exception(g, 0), ==, X86_PF);
    g_assert_cmphex(cpu->cr2, ==, linear);
    return -(int64_t)load_le32(g->host + cpu->gpr[X86_RSP]) - 1;
}

static void test_paging32(void)
{
    Guest    *g  = guest_new(1);
    uint32_t *pd = (uint32_t *)(g->host + GUEST_TABLES), *pt = pd + 1024;

    guest_set_mode(g, 0, GUEST_PROTECTED32, 0);
    memset(pd, 0, 0x2000);
    for (unsigned i = 0; i < 4; i++) {
        pd[i] = i << 22 | P | W | U | PS;
    }
    pd[16] = (GUEST_TABLES + 0x1000) | P | W | U;
    pt[5]  = GUEST_DATA | P | W;
    pt[6]  = GUEST_DATA | P;
    pd[17] = 0x800000 | P | W | PS | 1 << 21; /* reserved */
    pd[18] = 0x400000 | P | W | PS;
    store_le32(g->host + GUEST_DATA + 0x10, 0x1234);
    set_paging32(g, GUEST_TABLES, CR4_PSE, 0);
    g_assert_cmphex(access32(g, 16 << 22 | 5 << 12 | 0x10, false), ==, 0x1234);
    g_assert_cmphex(pt[5], ==, GUEST_DATA | P | W | A);
    g_assert_cmphex(pd[16], ==, (GUEST_TABLES + 0x1000) | P | W | U | A);
    g_assert_cmphex(access32(g, 18u << 22 | 0x10, false), ==, 0x1234);
    g_assert_cmphex(access32(g, 18u << 22 | 0x20, true), ==, 0x1234);
    g_assert_cmphex(pd[18], ==, 0x400000 | P | W | PS | A | D);
    g_assert_cmpint(access32(g, 16 << 22 | 6 << 12, true), ==, -1 - 3);
    g_assert_cmpint(access32(g, 16 << 22 | 7 << 12, false), ==, -1 - 0);
    g_assert_cmpint(access32(g, 17u << 22, false), ==, -1 - 9);

    /* Without PSE the bit means nothing: the page table at 0x800000 is empty. */
    memset(g->host + 0x400000, 0, 0x400);
    for (unsigned i = 0; i < 4; i++) { /* identity through page tables */
        uint32_t *t = (uint32_t *)(g->host + 0xc00000 + i * 0x1000);
        for (unsigned n = 0; n < 1024; n++) {
            t[n] = i << 22 | n << 12 | P | W | U;
        }
        pd[i] = (0xc00000 + i * 0x1000) | P | W | U;
    }
    set_paging32(g, GUEST_TABLES, 0, 0);
    g_assert_cmpint(access32(g, 18u << 22, false), ==, -1 - 0);
    guest_free(g);
}

static void test_pae(void)
{
    Guest    *g    = guest_new(1);
    uint64_t *pdpt = (uint64_t *)(g->host + GUEST_TABLES), *pd = pdpt + 512, *pt = pdpt + 1024;

    guest_set_mode(g, 0, GUEST_PROTECTED32, 0);
    memset(pdpt, 0, 0x3000);
    pdpt[0] = (GUEST_TABLES + 0x1000) | P;
    for (unsigned i = 0; i < 8; i++) {
        pd[i] = (uint64_t)i << 21 | P | W | U | PS;
    }
    pd[100] = (GUEST_TABLES + 0x2000) | P | W | U;
    pt[3]   = GUEST_DATA | P | W | NX;
    pt[4]   = GUEST_DATA | P | UINT64_C(1) << 45;
    pd[101] = 0x400000 | P | W | PS | 1 << 13; /* reserved */
    store_le32(g->host + GUEST_DATA + 0x10, 0x5678);
    set_paging32(g, GUEST_TABLES, CR4_PAE, EFER_NXE);
    g_assert_cmphex(access32(g, 100 << 21 | 3 << 12 | 0x10, false), ==, 0x5678);
    g_assert_cmpint(access32(g, 100 << 21 | 4 << 12, false), ==, -1 - 9);
    g_assert_cmpint(access32(g, 101 << 21, true), ==, -1 - 0xb);
    g_assert_cmpint(access32(g, 1 << 30, false), ==, -1 - 0); /* its PDPTE is not present */

    /* MOV CR3 with reserved bits in a PDPTE: #GP, and CR3 keeps its value. mov cr3, edi */
    pdpt[2]                  = P | 2;
    g->cpus[0]->rip          = GUEST_CODE;
    g->cpus[0]->gpr[X86_RDI] = GUEST_TABLES;
    guest_run_code(g, 0, CODE(0x0f, 0x22, 0xdf));
    g_assert_cmpint(guest_exception(g, 0), ==, X86_GP);
    guest_free(g);
}

/* An access that crosses into a page that faults changes nothing in the first. */
static void test_crossing(void)
{
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    guest_map(g, GUEST_DATA + 0x1000, GUEST_DATA + 0x1000, P); /* read-only */
    store_le64(g->host + GUEST_DATA + 0xffc, UINT64_C(0x1122334455667788));
    cpu->gpr[X86_RDI] = GUEST_DATA + 0xffc;
    guest_run_code(g, 0, CODE(0x48, 0x8b, 0x1f, 0x48, 0x89, 0x07)); /* mov rbx, [rdi]; mov [rdi], rax */
    g_assert_cmpint(guest_exception(g, 0), ==, X86_PF);
    g_assert_cmphex(cpu->cr2, ==, GUEST_DATA + 0x1000);
    g_assert_cmphex(load_le64(g->host + cpu->gpr[X86_RSP]), ==, 3);
    g_assert_cmphex(cpu->gpr[X86_RBX], ==, UINT64_C(0x1122334455667788));
    g_assert_cmphex(load_le64(g->host + GUEST_DATA + 0xffc), ==, UINT64_C(0x1122334455667788));

    /* The same with add [rdi], rax and lock add; then with the page writable. */
    for (unsigned lock = 0; lock < 2; lock++) {
        for (unsigned writable = 0; writable < 2; writable++) {
            guest_set_mode(g, 0, GUEST_LONG64, 0);
            guest_map(g, GUEST_DATA + 0x1000, GUEST_DATA + 0x1000, writable ? P | W : P);
            store_le64(g->host + GUEST_DATA + 0xffc, UINT64_C(0x1122334455667788));
            cpu->gpr[X86_RDI] = GUEST_DATA + 0xffc;
            cpu->gpr[X86_RAX] = 1;
            uint8_t code[]    = { lock ? 0xf0 : 0x90, 0x48, 0x01, 0x07 };
            guest_run_code(g, 0, code, sizeof code);
            g_assert_cmpint(guest_exception(g, 0), ==, writable ? -1 : X86_PF);
            g_assert_cmphex(load_le64(g->host + GUEST_DATA + 0xffc), ==, UINT64_C(0x1122334455667788) + writable);
        }
    }
    guest_free(g);
}

/* EFLAGS.AC in ring 3 with CR0.AM. */
static void test_alignment(void)
{
    Guest  *g   = guest_new(1);
    X86Cpu *cpu = g->cpus[0];

    for (unsigned misaligned = 0; misaligned < 2; misaligned++) {
        guest_set_mode(g, 0, GUEST_LONG64, 3);
        cpu->cr0 |= CR0_AM;
        cpu->eflags |= EFLAGS_AC;
        x86_update_mode(cpu);
        cpu->gpr[X86_RDI] = GUEST_DATA + 4 * misaligned;
        guest_run_code(g, 0, CODE(0x48, 0x8b, 0x07, 0x0f, 0x0b));
        g_assert_cmpint(guest_exception(g, 0), ==, misaligned ? X86_AC : X86_UD);
    }
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/mmu/rights", test_rights);
    g_test_add_func("/mmu/dirty", test_dirty);
    g_test_add_func("/mmu/flush", test_flush);
    g_test_add_func("/mmu/forbidden-writes", test_forbidden_writes);
    g_test_add_func("/mmu/pcid", test_pcid);
    g_test_add_func("/mmu/code-mapping", test_code_mapping);
    g_test_add_func("/mmu/32-bit", test_paging32);
    g_test_add_func("/mmu/pae", test_pae);
    g_test_add_func("/mmu/crossing", test_crossing);
    g_test_add_func("/mmu/alignment", test_alignment);
    return g_test_run();
}
