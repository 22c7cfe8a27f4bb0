/* Guest code from random bytes, in the translator and in the plain executor, from the same state: both must end alike.
 *
 * Input: [0] mode and ring, [1] flags, [2..17] what each register holds, [18] seed of the vector registers, then code.
 * The executor goes first, one instruction at a time; what has not come to a halt after MAX_STEPS instructions, or
 * reads a clock or random numbers, is left out. The translator runs it twice: the code is new to it, then known.
 *
 * Both guests and the translator are made once; each run puts back all memory that the code can reach. */

#include "fuzz.h"

#include "../unit/guest.h"
#include "accel/dbt/run.h"
#include "base/bytes.h"
#include "cpu/x86/mem.h"
#include "cpu/x86/vector.h"

#include <stdlib.h>
#include <string.h>

enum {
    MAX_STEPS   = 300,
    MAX_CODE    = 256,
    HEAD        = 19,
    PAGE        = 0x1000,
    CHUNK       = 64,
    N_DATA      = 4, /* pages; the last is read-only with paging */
    DATA16      = 0x9000,
    RING0_STACK = GUEST_STACK - 0x10000,
    FX_MXCSR    = 24,
    FX_XMM0     = 160,
    XSTATE_BV   = 512,
};

typedef struct Window {
    uint32_t start, len;
} Window;

/* What code can write to: with paging, and without in 16-bit modes. */
static const Window paged[] = { { GUEST_CODE, 2 * PAGE },
                                { GUEST_DATA, N_DATA *PAGE },
                                { GUEST_STACK - PAGE, PAGE },
                                { RING0_STACK - PAGE, PAGE },
                                {} };
static const Window low[]   = { { 0, 0x110000 }, {} };
static const Window all[]   = { { 0, GUEST_RAM_SIZE }, {} };

typedef struct Start {
    GuestMode mode;
    unsigned  ring;
    bool      wide;
    uint64_t  flags, gpr[16];
    uint8_t   seed;
} Start;

static Guest   *plain, *translated;
static Dbt     *dbt;
static uint8_t *want; /* memory before each run, but for descriptor and page tables */
static Window   reset = { 0, GUEST_RAM_SIZE };

static void begin(void)
{
    g_auto(Error) err = { 0 };
    if (plain) {
        return;
    }
    g_assert_true(x86_vector_init(&err));
    dbt = dbt_new(16 << 20, &err);
    g_assert_nonnull(dbt);
    dbt_set_verify(dbt, true);
    dbt_set_mixed(dbt, true);
    plain      = guest_new(1);
    translated = guest_new(1);
    want       = g_malloc0(GUEST_RAM_SIZE);
}

/* --- the state before --- */

static uint64_t value_of(const Start *s, uint8_t v)
{
    uint64_t data = s->wide ? GUEST_DATA : DATA16, n = v & 31;
    switch (v >> 5) {
    case 0: return n;
    case 1: return data + 8 * n;
    case 2: return data + PAGE * (1 + (n & 3)) - (n >> 2);
    case 3: return ~n;
    case 4: return guest_code_address(s->mode) + 4 * n;
    case 5: return data + 0x800 + n;
    case 6: return UINT64_C(1) << (2 * n);
    default: return UINT64_C(0x7ffffffffff0) + n * 0x123456789;
    }
}

static Start start_of(const uint8_t *data)
{
    static const struct {
        GuestMode mode;
        unsigned  ring;
    } rows[8] = { { GUEST_LONG64, 0 },   { GUEST_LONG64, 3 }, { GUEST_LONG64, 3 },      { GUEST_COMPAT32, 0 },
                  { GUEST_COMPAT32, 3 }, { GUEST_LONG64, 0 }, { GUEST_PROTECTED16, 0 }, { GUEST_REAL, 0 } };
    Start s   = { .mode = rows[data[0] & 7].mode, .ring = rows[data[0] & 7].ring, .seed = data[18] };
    s.wide    = s.mode == GUEST_LONG64 || s.mode == GUEST_COMPAT32;
    s.flags   = (data[1] & 0xd5) | (data[1] & 2 ? EFLAGS_OF : 0) | (data[1] & 8 ? EFLAGS_DF : 0);
    for (unsigned i = 0; i < 16; i++) {
        s.gpr[i] = value_of(&s, data[2 + i]);
        if (i == X86_RSP && data[2 + i] < 0xe0) {
            s.gpr[i] = (s.wide ? GUEST_STACK : 0x7000) - (data[2 + i] & 0x78);
        }
        if (s.mode != GUEST_LONG64) {
            s.gpr[i] = i < 8 ? (uint32_t)s.gpr[i] : 0;
        }
    }
    return s;
}

/* What differs only, so that translated code lives on where it may. */
static void put_back(Guest *g, const Window *windows)
{
    for (; windows->len; windows++) {
        for (uint32_t at = windows->start; at < windows->start + windows->len; at += CHUNK) {
            if (memcmp(g->host + at, want + at, CHUNK) != 0) {
                guest_poke(g, at, want + at, CHUNK);
            }
        }
    }
}

/* Only what a run may write is there for it, and the tables to read. */
static void map_pages(Guest *g)
{
    uint64_t *pd = (uint64_t *)(g->host + GUEST_TABLES + 0x2000);
    uint64_t *pt[3];
    for (unsigned i = 0; i < 512; i++) {
        pd[i] = 0;
    }
    for (unsigned i = 0; i < 3; i++) {
        uint64_t table = GUEST_TABLES + 0x3000 + i * PAGE;
        pd[i]          = table | 7;
        pt[i]          = (uint64_t *)(g->host + table);
        memset(pt[i], 0, PAGE);
    }
    for (uint64_t page = GUEST_GDT; page < GUEST_STUBS + PAGE; page += PAGE) {
        pt[0][page >> 12] = page | 0x21;
    }
    for (const Window *w = paged; w->len; w++) {
        for (uint64_t page = w->start; page < w->start + w->len; page += PAGE) {
            pt[page >> 21][page >> 12 & 511] = page | 7;
        }
    }
    uint64_t last                    = GUEST_DATA + (N_DATA - 1) * PAGE;
    pt[last >> 21][last >> 12 & 511] = last | 5;
    x86_tlb_flush(g->cpus[0], true);
}

static void load(Guest *g, const Start *s, const Window *windows)
{
    X86Cpu *cpu = g->cpus[0];
    put_back(g, windows);
    cpu->cr2 = 0;
    memset(cpu->dr, 0, sizeof cpu->dr);
    cpu->dr[6] = 0xffff0ff0;
    cpu->dr[7] = 0x400;
    guest_set_mode(g, 0, s->mode, s->ring);
    if (s->wide) {
        map_pages(g);
    }
    memcpy(cpu->gpr, s->gpr, sizeof s->gpr);
    x86_set_eflags(cpu, s->flags | EFLAGS_ONE, ~UINT64_C(0));
    cpu->fpu_cs = cpu->fpu_ds = 0;
    for (unsigned i = 0; i < 256; i++) {
        cpu->xsave[FX_XMM0 + i] = (uint8_t)((s->seed + i * 5) * (i % 16 == 15 ? 9 : 37));
    }
    store_le64(cpu->xsave + XSTATE_BV, 3);
    x86_update_mode(cpu);
}

/* --- running and comparing --- */

static const uint8_t *code_at(const Guest *g)
{
    const X86Cpu *cpu = g->cpus[0];
    uint64_t      at  = cpu->code_size == X86_CODE64 ? cpu->rip : (uint32_t)(cpu->seg[X86_CS].base + cpu->rip);
    return at < GUEST_RAM_SIZE - 16 ? g->host + at : NULL;
}

/* Reads of clocks and of random numbers; rotates by an immediate, whose OF is undefined unless it is 1: by CL, as the
 * executor does it, processors give another. */
static bool varies(const uint8_t p[16])
{
    for (unsigned i = 0; i < 13; i++) {
        if ((p[i] & 0xfe) == 0xc0 && !(p[i + 1] & 0x20)) {
            return true;
        }
        if (p[i] == 0x0f) {
            return p[i + 1] == 0x31 || p[i + 1] == 0x32 || p[i + 1] == 0x33 || (p[i + 1] == 0x01 && p[i + 2] == 0xf9) ||
                   (p[i + 1] == 0xc7 && p[i + 2] >= 0xf0);
        }
    }
    return false;
}

/* How far a REP instruction goes that overwrites itself is the processor's choice. Code near the end of 64 KiB is left
 * out. */
static bool run_plain(X86Exit *exit)
{
    X86Cpu *cpu   = plain->cpus[0];
    bool    plays = true;
    vcpu_enter(&cpu->vcpu);
    *exit = X86_EXIT_DEBUG;
    for (unsigned i = 0; i < MAX_STEPS && plays && *exit == X86_EXIT_DEBUG; i++) {
        uint8_t        before[16] = { 0 };
        uint64_t       rip        = cpu->rip;
        const uint8_t *p          = code_at(plain);
        if (p) {
            memcpy(before, p, sizeof before);
        }
        plays = !varies(before) && (cpu->code_size != X86_CODE16 || rip < 0xfff0);
        if (plays) {
            *exit = x86_step(cpu);
            plays = cpu->rip != rip || !p || memcmp(before, p, sizeof before) == 0;
        }
    }
    vcpu_leave(&cpu->vcpu);
    return plays && (*exit == X86_EXIT_HALT || *exit == X86_EXIT_SHUTDOWN);
}

static bool controls_stand(const X86Cpu *cpu, const Start *s)
{
    return cpu->cr3 == (s->wide ? GUEST_TABLES : 0) && !(cpu->cr0 & CR0_PG) == !s->wide &&
           !(cpu->cr0 & CR0_PE) == (s->mode == GUEST_REAL) && (s->wide || cpu->seg[X86_CS].limit <= 0xffff);
}

static void differ(const char *what, uint64_t a, uint64_t b)
{
    g_printerr("%s: %#" G_GINT64_MODIFIER "x in the executor, %#" G_GINT64_MODIFIER "x in the translator\n", what, a,
               b);
}

#define SAME(what, member)                                                                                             \
    do {                                                                                                               \
        if (a->member != b->member) {                                                                                  \
            differ(what, (uint64_t)a->member, (uint64_t)b->member);                                                    \
            same = false;                                                                                              \
        }                                                                                                              \
    } while (0)

static bool compare(const Window *windows, X86Exit exit, X86Exit exit2)
{
    static const char *const names[16] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                           "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15" };
    static const char *const segs[]    = { "ES", "CS", "SS", "DS", "FS", "GS" };
    X86Cpu                  *a = plain->cpus[0], *b = translated->cpus[0];
    bool                     same = exit == exit2;
    if (!same) {
        differ("exit", exit, exit2);
    }
    for (unsigned i = 0; i < 16; i++) {
        SAME(names[i], gpr[i]);
    }
    SAME("RIP", rip);
    uint64_t flags[2] = { x86_get_eflags(a) & ~(uint64_t)EFLAGS_RF, x86_get_eflags(b) & ~(uint64_t)EFLAGS_RF };
    if (flags[0] != flags[1]) {
        differ("flags", flags[0], flags[1]);
        same = false;
    }
    for (unsigned i = 0; i < 6; i++) {
        SAME(segs[i], seg[i].base);
        SAME(segs[i], seg[i].limit);
        SAME(segs[i], seg[i].selector);
    }
    SAME("CR0", cr0);
    SAME("CR2", cr2);
    SAME("CR3", cr3);
    SAME("CR4", cr4);
    SAME("EFER", efer);
    SAME("DR6", dr[6]);
    for (unsigned i = 0; i < FX_XMM0 + 256; i++) {
        if (i < FX_FOP || (i >= FX_MXCSR && i - FX_MXCSR - 4 >= 4)) { /* no pointers, no MXCSR_MASK */
            g_autofree char *name = a->xsave[i] != b->xsave[i] ? g_strdup_printf("byte %u of FP state", i) : NULL;
            SAME(name, xsave[i]);
        }
    }
    for (; windows->len && same; windows++) {
        for (uint32_t at = windows->start; at < windows->start + windows->len; at += CHUNK) {
            if (memcmp(plain->host + at, translated->host + at, CHUNK) != 0) {
                g_autofree char *name = g_strdup_printf("memory at %#x", at);
                differ(name, load_le64(plain->host + at), load_le64(translated->host + at));
                same = false;
            }
        }
    }
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= HEAD) {
        return 0;
    }
    begin();
    Start    s    = start_of(data);
    uint64_t code = guest_code_address(s.mode);
    size_t   len  = MIN(size - HEAD, (size_t)MAX_CODE);

    memset(want, 0, 0x110000);
    memset(want + GUEST_DATA, 0, N_DATA * PAGE);
    uint64_t place = s.wide ? GUEST_DATA : DATA16;
    for (unsigned i = 0; i < N_DATA * PAGE; i++) {
        want[place + i] = (uint8_t)(i * 7 + i / 251);
    }
    memset(want + code, 0xf4, s.wide ? 2 * PAGE : DATA16 - 0x8000);
    memcpy(want + code, data + HEAD, len);

    const Window *windows = reset.len ? all : s.wide ? paged : low;
    load(plain, &s, windows);
    X86Exit exit, again;
    bool    ended  = run_plain(&exit);
    bool    stands = controls_stand(plain->cpus[0], &s);
    for (unsigned i = 0; i < 2 && ended && stands; i++) {
        load(translated, &s, windows);
        vcpu_enter(&translated->cpus[0]->vcpu);
        again = dbt_run(dbt, translated->cpus[0]);
        vcpu_leave(&translated->cpus[0]->vcpu);
        if (!compare(s.wide ? paged : low, exit, again)) {
            g_printerr("different%s\n", i ? " the second time" : "");
            abort();
        }
    }
    reset.len = stands ? 0 : GUEST_RAM_SIZE;
    return 0;
}
