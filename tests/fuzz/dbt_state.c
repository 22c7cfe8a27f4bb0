/* States for fuzz_dbt.c; see dbt_state.h. The bytes of the head:
 *
 *     0       row of start_modes
 *     1       arithmetic flags and DF
 *     2..17   what each register holds: value_of()
 *     18      seed of vector and x87 registers; bit 7: the x87 stack is full, bit 6: exceptions are unmasked
 *     19      TF, IF, IOPL 3, AC, an interrupt and an NMI that wait, two bits of shadow
 *     20      what handlers do (2 bits), -, gates for ring 0 only, trap gates, 32-bit IST, NMIs blocked, CR0.NE clear
 *     21      which breakpoints are on (4 bits), and where
 *     22      CR0.AM, EM, TS, MP; CR4.VME and PVI, TSD and DE, UMIP, SMEP and SMAP
 *     23      segments: see choose_segments() */

#include "dbt_state.h"

#include "base/bytes.h"
#include "cpu/x86/mem.h"

#include <string.h>

const ModeRow start_modes[] = {
    { .name = "64", .base = GUEST_LONG64, .ring = 0, .paging = PAGING_4LEVEL },
    { .name = "64", .base = GUEST_LONG64, .ring = 3, .paging = PAGING_4LEVEL },
    { .name = "64", .base = GUEST_LONG64, .ring = 3, .paging = PAGING_4LEVEL },
    { .name = "32", .base = GUEST_COMPAT32, .ring = 0, .paging = PAGING_4LEVEL },
    { .name = "32", .base = GUEST_COMPAT32, .ring = 3, .paging = PAGING_4LEVEL },
    { .name = "64", .base = GUEST_LONG64, .ring = 0, .paging = PAGING_4LEVEL },
    { .name = "16", .base = GUEST_PROTECTED16, .ring = 0 },
    { .name = "real", .base = GUEST_REAL, .ring = 0 },
    { .name = "32", .base = GUEST_PROTECTED32, .ring = 0, .paging = PAGING_32 },
    { .name = "32", .base = GUEST_PROTECTED32, .ring = 3, .paging = PAGING_32 },
    { .name = "32", .base = GUEST_PROTECTED32, .ring = 3, .paging = PAGING_PAE },
    { .name = "32", .base = GUEST_PROTECTED32, .ring = 0 },
    { .name = "v86", .base = GUEST_PROTECTED32, .ring = 3, .paging = PAGING_32, .vm = true },
    { .name = "v86", .base = GUEST_PROTECTED32, .ring = 3, .vm = true },
    { .name = "16", .base = GUEST_COMPAT32, .ring = 0, .paging = PAGING_4LEVEL, .code16 = true },
    { .name = "16", .base = GUEST_COMPAT32, .ring = 3, .paging = PAGING_4LEVEL, .code16 = true },
    { .name = "16", .base = GUEST_PROTECTED16, .ring = 3 },
    { .name = "16", .base = GUEST_PROTECTED16, .ring = 3, .paging = PAGING_PAE },
    { .name = "16", .base = GUEST_PROTECTED16, .ring = 0, .paging = PAGING_32 },
    { .name = "v86", .base = GUEST_PROTECTED32, .ring = 3, .paging = PAGING_PAE, .vm = true },
    { .name = "segments", .base = GUEST_PROTECTED32, .ring = 0, .paging = PAGING_32, .segments = true },
    { .name = "segments", .base = GUEST_PROTECTED32, .ring = 3, .paging = PAGING_PAE, .segments = true },
    { .name = "segments", .base = GUEST_COMPAT32, .ring = 3, .paging = PAGING_4LEVEL, .segments = true },
    { .name = "segments", .base = GUEST_PROTECTED16, .ring = 0, .segments = true },
    { .name = "segments", .base = GUEST_PROTECTED16, .ring = 3, .paging = PAGING_32, .segments = true },
    { .name     = "segments",
      .base     = GUEST_COMPAT32,
      .ring     = 0,
      .paging   = PAGING_4LEVEL,
      .code16   = true,
      .segments = true },
};
const unsigned start_n_modes = G_N_ELEMENTS(start_modes);

enum {
    LOW_LIMIT  = 0x10ffff, /* of segments without paging in 16-bit modes */
    TABLES_END = GUEST_STUBS + START_PAGE,
    PAGING_LEN = 0x8000,
    LOW_END    = 0x10000, /* 16-bit modes: pages below, and the one that addresses beyond 1 MiB reach */
    HIGH_AREA  = 0x100000,
    FX_FTW8    = 4,
    XSTATE_BV  = 512,
};

/* What code can write to: 64 and 32-bit modes with paging, 16-bit ones with it and without, 32-bit ones without. */
static const Window paged[]   = { { 0, TABLES_END },
                                  { GUEST_TABLES, PAGING_LEN },
                                  { GUEST_CODE, 2 * START_PAGE },
                                  { GUEST_DATA, START_N_DATA *START_PAGE },
                                  { GUEST_STACK - START_PAGE, START_PAGE },
                                  { START_RING0 - START_PAGE, START_PAGE },
                                  {} };
static const Window paged16[] = { { 0, LOW_END },
                                  { GUEST_TABLES, PAGING_LEN },
                                  { HIGH_AREA, 2 * START_PAGE },
                                  { GUEST_DATA, START_N_DATA *START_PAGE },
                                  { START_RING0 - START_PAGE, START_PAGE },
                                  {} };
static const Window low[]     = {
        { 0, 0x110000 }, { GUEST_DATA, START_N_DATA *START_PAGE }, { START_RING0 - START_PAGE, START_PAGE }, {}
};
static const Window all[] = { { 0, GUEST_RAM_SIZE }, {} };

static bool is_16(const ModeRow *m)
{
    return m->vm || m->code16 || m->base == GUEST_REAL || m->base == GUEST_PROTECTED16;
}

static bool is_long(const ModeRow *m)
{
    return m->base == GUEST_LONG64 || m->base == GUEST_COMPAT32;
}

/* --- registers --- */

static uint64_t value_of(uint64_t data, uint64_t code, uint8_t v)
{
    uint64_t n = v & 31;
    switch (v >> 5) {
    case 0: return n;
    case 1: return data + 8 * n;
    case 2: return data + START_PAGE * (1 + (n & 3)) - (n >> 2);
    case 3: return ~n;
    case 4: return code + 4 * n;
    case 5: return data + 0x800 + n;
    case 6: return UINT64_C(1) << (2 * n);
    default: return UINT64_C(0x7ffffffffff0) + n * 0x123456789;
    }
}

static void set_registers(X86Cpu *cpu, const ModeRow *m, const uint8_t *head)
{
    uint64_t data  = is_16(m) ? START_DATA16 : GUEST_DATA;
    uint64_t stack = cpu->gpr[X86_RSP];
    for (unsigned i = 0; i < 16; i++) {
        cpu->gpr[i] = value_of(data, cpu->rip, head[2 + i]);
        if (i == X86_RSP && head[2 + i] < 0xe0) {
            cpu->gpr[i] = stack - (head[2 + i] & 0x78);
        }
        if (m->base != GUEST_LONG64) {
            cpu->gpr[i] = i < 8 ? (uint32_t)cpu->gpr[i] : 0;
        }
    }
    uint8_t seed = head[18];
    for (unsigned i = 0; i < 256; i++) {
        cpu->xsave[XSAVE_XMM + i] = (uint8_t)((seed + i * 5) * (i % 16 == 15 ? 9 : 37));
        cpu->xsave[XSAVE_YMM + i] = (uint8_t)((seed + i * 3) * (i % 8 == 7 ? 9 : 29));
    }
    if (seed & 0x80) {
        for (unsigned i = 0; i < 8; i++) {
            uint8_t *st = cpu->xsave + XSAVE_ST + 16 * i;
            store_le64(st, UINT64_C(0x8000000000000000) + seed * i * UINT64_C(0x10204081020304));
            store_le16(st + 8, (uint16_t)(0x3ff0 + i * (seed & 15)));
        }
        cpu->xsave[FX_FTW8] = 0xff;
    }
    if (seed & 0x40) {
        store_le16(cpu->xsave, 0x340 | (seed & 0x3f)); /* FCW */
        store_le32(cpu->xsave + XSAVE_MXCSR, (0x3fu & ~(uint32_t)seed) << 7);
    }
    store_le64(cpu->xsave + XSTATE_BV, 7);
}

static void set_flags(X86Cpu *cpu, const ModeRow *m, const uint8_t *head)
{
    uint64_t flags = (head[1] & 0xd5) | (head[1] & 2 ? EFLAGS_OF : 0) | (head[1] & 8 ? EFLAGS_DF : 0) | EFLAGS_ONE;
    flags |= head[19] & 1 ? EFLAGS_TF : 0;
    flags |= head[19] & 2 ? EFLAGS_IF : 0;
    flags |= head[19] & 4 ? EFLAGS_IOPL : 0;
    flags |= head[19] & 8 ? EFLAGS_AC : 0;
    flags |= m->vm ? EFLAGS_VM : 0;
    x86_set_eflags(cpu, flags, ~UINT64_C(0));
}

/* --- interrupts --- */

static bool has_error_code(unsigned vector)
{
    return vector == X86_DF || (vector >= X86_TS && vector <= X86_PF) || vector == X86_AC || vector == 21;
}

/* Halts, or goes back behind, or to, where it came from: drops the error code, adds to the saved RIP, IRET. */
static void put_handler(uint8_t *stub, unsigned vector, const ModeRow *m, unsigned action)
{
    static const struct {
        uint8_t drop[4], skip[7], back[2];
        uint8_t n_drop, n_skip, n_back, at; /* of the number to add, in skip */
    } rows[4] = {
        /* add rsp, 8; add qword [rsp], n; iretq */
        { { 0x48, 0x83, 0xc4, 8 }, { 0x48, 0x83, 0x04, 0x24, 0 }, { 0x48, 0xcf }, 4, 5, 2, 4 },
        { { 0x83, 0xc4, 4 }, { 0x83, 0x04, 0x24, 0 }, { 0xcf }, 3, 4, 1, 3 },
        /* add esp, 2; add word [esp], n; iret */
        { { 0x66, 0x83, 0xc4, 2 }, { 0x67, 0x83, 0x04, 0x24, 0 }, { 0xcf }, 4, 5, 1, 4 },
        /* mov bp, sp; add word [bp], n; iret */
        { {}, { 0x89, 0xe5, 0x83, 0x46, 0, 0 }, { 0xcf }, 0, 6, 1, 5 },
    };
    unsigned row = is_long(m) ? 0 : m->base == GUEST_PROTECTED32 ? 1 : m->base == GUEST_PROTECTED16 ? 2 : 3;
    uint8_t *p   = stub;
    memset(stub, 0xf4, 16);
    if (!action) {
        return;
    }
    if (has_error_code(vector)) {
        memcpy(p, rows[row].drop, rows[row].n_drop);
        p += rows[row].n_drop;
    }
    if (action != 2) {
        memcpy(p, rows[row].skip, rows[row].n_skip);
        p[rows[row].at] = (uint8_t)action;
        p += rows[row].n_skip;
    }
    memcpy(p, rows[row].back, rows[row].n_back);
}

static void set_interrupts(Guest *g, const ModeRow *m, const uint8_t *head)
{
    bool    wide = is_long(m);
    uint8_t how  = head[20];
    for (unsigned v = 0; v < 256; v++) {
        uint8_t *gate = g->host + GUEST_IDT + (wide ? 16 : 8) * v;
        if (m->base != GUEST_REAL) {
            gate[4] = how & 0x20 && wide && v < 32 ? 1 : 0; /* IST 1 */
            gate[5] = (uint8_t)((gate[5] & ~0x60) | (how & 8 ? 0 : 0x60) | (how & 0x10 ? 1 : 0));
        }
        put_handler(g->host + GUEST_STUBS + 16 * v, v, m, how & 3);
    }
    if (wide) {
        store_le64(g->host + GUEST_TSS + 36, START_RING0 - 0x800);
    }
    if (m->vm) { /* for redirected INT n */
        for (unsigned v = 0; v < 256; v++) {
            store_le16(g->host + 4 * v, (uint16_t)(GUEST_STUBS + 16 * v));
            store_le16(g->host + 4 * v + 2, 0);
        }
    }
    X86Cpu *cpu      = g->cpus[0];
    cpu->nmi_blocked = how & 0x40;
    if (how & 0x80) {
        cpu->cr0 &= ~CR0_NE;
    }
    cpu->interrupt_shadow = (head[19] >> 6) % 3;
    /* Where SYSCALL, SYSENTER and SWAPGS lead. */
    cpu->star           = (uint64_t)GUEST_CS64 << 32 | (uint64_t)(GUEST_US32 | 3) << 48;
    cpu->lstar          = GUEST_STUBS + 16 * 0x80;
    cpu->cstar          = GUEST_STUBS + 16 * 0x81;
    cpu->sfmask         = EFLAGS_TF | EFLAGS_IF | EFLAGS_DF;
    cpu->kernel_gs_base = GUEST_DATA + 0x100;
    cpu->sysenter_cs    = GUEST_CS64;
    cpu->sysenter_esp   = START_RING0;
    cpu->sysenter_eip   = GUEST_STUBS + 16 * 0x82;
}

static void set_controls(X86Cpu *cpu, const ModeRow *m, const uint8_t *head)
{
    static const uint64_t cr0[4] = { CR0_AM, CR0_EM, CR0_TS, CR0_MP };
    static const uint64_t cr4[4] = { CR4_VME | CR4_PVI, CR4_TSD | CR4_DE, CR4_UMIP, CR4_SMEP | CR4_SMAP };
    for (unsigned i = 0; i < 4; i++) {
        cpu->cr0 |= head[22] >> i & 1 ? cr0[i] : 0;
        cpu->cr4 |= head[22] >> (4 + i) & 1 ? cr4[i] : 0;
    }
    unsigned on = head[21] & 15;
    uint64_t n = head[21] >> 4, data = is_16(m) ? START_DATA16 : GUEST_DATA;
    cpu->dr[0] = cpu->rip + n;
    cpu->dr[1] = data + 8 * n;
    cpu->dr[2] = (is_16(m) ? START_STACK16 : GUEST_STACK) - 8 * n;
    cpu->dr[3] = n;
    cpu->dr[6] = DR6_FIXED;
    cpu->dr[7] = DR7_FIXED;
    for (unsigned i = 0; i < 4; i++) {
        /* Instruction; write of 4; read or write of 8 or 4; port. */
        static const uint64_t kinds[4] = { 0, 0xd, 0xf, 2 };
        cpu->dr[7] |= on >> i & 1 ? UINT64_C(2) << (2 * i) | kinds[i] << (16 + 4 * i) : 0;
    }
}

/* --- segments --- */

enum {
    N_FIRST = 0x60, /* selector of the first of ours */
    CODE    = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A,
    DATA    = SEG_P | SEG_S | SEG_W | SEG_A,
};

typedef struct OddSegment {
    uint32_t base, limit, attr; /* limit as in the descriptor */
} OddSegment;

static const OddSegment odd[] = {
    { GUEST_DATA, 0xfff, DATA | SEG_DB },
    { 0, 0x3ff, DATA | SEG_E | SEG_DB | SEG_G },              /* expand-down: valid from 4 MiB on */
    { 0, 0xfffff, (DATA & ~SEG_W) | SEG_DB | SEG_G },         /* read-only */
    { GUEST_DATA + 0x800, 0xfffff, DATA | SEG_DB | SEG_G },   /* runs over 4 GiB */
    { GUEST_DATA - START_DATA16, START_DATA16 + 0x57, DATA }, /* 16-bit addresses reach the data, for a while */
    { 0, 0xfffff, CODE | SEG_C | SEG_DB | SEG_G },            /* conforming code */
    { 0, 0xfffff, (DATA & ~(SEG_P | SEG_A)) | SEG_DB | SEG_G },
    { GUEST_STACK - 0x10000, 0xffff, DATA },         /* stacks: 16-bit, */
    { 0, GUEST_STACK - 1, DATA | SEG_DB },           /* limited, */
    { 0x10, 0xfffff, DATA | SEG_DB | SEG_G },        /* moved, */
    { GUEST_STACK - 0x10000, 0x6fff, DATA | SEG_E }, /* 16-bit expand-down */
    { 0x40, 0xfffff, CODE | SEG_DB | SEG_G },        /* code: moved, */
    { 0, GUEST_CODE + 0x40, CODE | SEG_DB },         /* limited, */
    { 0x40, 0xffff, CODE },
    { 0, 0x8040, CODE & ~SEG_R }, /* 16 bits of both; the last cannot be read */
    { 0, 0xffff, CODE },
    { 0, 0xffff, DATA }, /* flat ones that the guest has not */
    { 0, 0xfffff, CODE | SEG_G },
    { 0, 0xfffff, DATA | SEG_G },
};
enum { N_DATA_ODD = 7, STACK_ODD = 7, CODE32_ODD = 11, CODE16_ODD = 13, FLAT16 = 15, FLAT16_WIDE = 17 };

/* 16-bit modes have data and stacks low. Without paging nothing is beyond what is put back. */
static OddSegment odd_segment(const ModeRow *m, unsigned n)
{
    enum { DOWN = GUEST_DATA - START_DATA16 };
    OddSegment o = odd[n];
    o.attr |= m->ring << SEG_DPL_SHIFT;
    if (is_16(m)) {
        o.base  = o.base >= DOWN ? o.base - DOWN : o.base >= GUEST_STACK - 0x10000 ? 0 : o.base;
        o.limit = o.limit == GUEST_STACK - 1 ? START_STACK16 - 1 : o.limit;
        if (o.attr & SEG_G && !m->paging) {
            o.limit = LOW_LIMIT >> 12;
            o.attr &= o.attr & SEG_E && !(o.attr & SEG_CODE) ? ~(uint32_t)(SEG_G | SEG_DB) : ~0u;
        }
    }
    return o;
}

static void put_descriptors(Guest *g, const ModeRow *m)
{
    for (unsigned at = 8; at < GUEST_TR && is_16(m) && !m->paging; at += 8) {
        uint8_t *e = g->host + GUEST_GDT + at;
        if (e[6] & 0x80) {
            store_le16(e, LOW_LIMIT >> 12);
            e[6] &= 0xf0;
        }
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(odd); i++) {
        OddSegment o = odd_segment(m, i);
        store_le64(g->host + GUEST_GDT + N_FIRST + 8 * i,
                   (uint64_t)(o.limit & 0xffff) | (uint64_t)(o.base & 0xffffff) << 16 |
                       (uint64_t)(o.attr & 0xff) << 40 | (uint64_t)(o.limit >> 16) << 48 |
                       (uint64_t)(o.attr >> 12 & 15) << 52 | (uint64_t)(o.base >> 24) << 56);
    }
    /* A call gate to a handler, and an available task that has no state. */
    uint8_t *gate = g->host + GUEST_GDT + N_FIRST + 8 * G_N_ELEMENTS(odd);
    store_le64(gate, (uint64_t)(GUEST_STUBS + 16 * 0x83) | (uint64_t)GUEST_CS32 << 16 | UINT64_C(0xec01) << 32);
    store_le64(gate + 8, UINT64_C(0x0000e90000000000) | (uint64_t)(GUEST_TSS + 0x400) << 16 | 0x67);
}

static void load_odd(X86Cpu *cpu, const ModeRow *m, unsigned seg, unsigned n)
{
    OddSegment o = odd_segment(m, n);
    if (!(o.attr & SEG_P)) {
        cpu->seg[seg] = (X86Segment){ .attr = SEG_UNUSABLE, .selector = 0 };
        return;
    }
    cpu->seg[seg] = (X86Segment){ .base     = o.base,
                                  .limit    = o.attr & SEG_G ? o.limit << 12 | 0xfff : o.limit,
                                  .attr     = o.attr,
                                  .selector = (uint16_t)(N_FIRST + 8 * n + m->ring) };
}

/* Bits 0 to 2: DS, of the list above; 3 to 5: ES, FS, GS; 6: SS; 7: CS. Real and virtual-8086 mode: paragraphs, and bit
 * 7 for limits beyond 64 KiB in real mode. 64-bit mode: bases of FS and GS. */
static void choose_segments(X86Cpu *cpu, const ModeRow *m, uint8_t how)
{
    unsigned ds = how & 7, es = how >> 3 & 7;
    if (m->vm || m->base == GUEST_REAL) {
        uint16_t selectors[X86_N_SEG] = {
            [X86_DS] = (uint16_t)(ds * 0x77),   [X86_ES] = (uint16_t)(es * 0x1155),
            [X86_FS] = (uint16_t)(es * 0x2222), [X86_GS] = (uint16_t)(how == 0xff ? 0xffff : 0),
            [X86_SS] = how & 0x40 ? 0x10 : 0,   [X86_CS] = how & 0x80 && m->vm ? 0x10 : 0
        };
        for (unsigned i = 0; i < X86_N_SEG; i++) {
            uint32_t attr = m->vm ? DATA | SEG_DPL : i == X86_CS ? CODE : DATA;
            bool     big  = !m->vm && how & 0x80 && i != X86_CS;
            cpu->seg[i]   = (X86Segment){ .base     = (uint32_t)selectors[i] << 4,
                                          .limit    = big ? LOW_LIMIT - ((uint32_t)selectors[i] << 4) : 0xffff,
                                          .attr     = attr,
                                          .selector = selectors[i] };
        }
        cpu->rip -= cpu->seg[X86_CS].base;
        return;
    }
    if (m->base == GUEST_LONG64) {
        cpu->seg[X86_FS].base = ds ? value_of(GUEST_DATA, 0, (uint8_t)(ds << 5 | 3)) & 0x7fffffffffff : 0;
        cpu->seg[X86_GS].base = es ? ~UINT64_C(0) << 12 << es : GUEST_DATA;
        return;
    }
    ds = m->segments && !(how & 0xc7) ? 1 : ds;
    if (ds) {
        load_odd(cpu, m, X86_DS, ds - 1);
    }
    if (es) {
        load_odd(cpu, m, X86_ES, es - 1);
        load_odd(cpu, m, X86_FS, (es + 2) % N_DATA_ODD);
        load_odd(cpu, m, X86_GS, (es + 4) % N_DATA_ODD);
    }
    if (how & 0x40) {
        unsigned n = STACK_ODD + (how & 3);
        load_odd(cpu, m, X86_SS, n);
        cpu->gpr[X86_RSP] = odd[n].attr & SEG_E    ? 0xfff8
                            : is_16(m)             ? START_STACK16
                            : odd[n].attr & SEG_DB ? GUEST_STACK
                                                   : 0x10000;
    }
    if (how & 0x80) {
        unsigned n = (is_16(m) ? CODE16_ODD : CODE32_ODD) + (how & 1);
        load_odd(cpu, m, X86_CS, n);
        cpu->rip -= odd[n].base;
    }
}

/* --- paging --- */

typedef struct Tables {
    uint8_t *host;
    Paging   paging;
    unsigned n; /* page tables so far */
    uint64_t directory;
    unsigned entry; /* bytes */
} Tables;

static void put_entry(Tables *t, uint64_t at, uint64_t value)
{
    if (t->entry == 4) {
        store_le32(t->host + at, (uint32_t)value);
    } else {
        store_le64(t->host + at, value);
    }
}

static void map_page(Tables *t, uint64_t page, uint64_t flags)
{
    unsigned bits = t->entry == 4 ? 22 : 21;
    uint64_t pde  = t->directory + (page >> bits) * t->entry;
    uint64_t now  = t->entry == 4 ? load_le32(t->host + pde) : load_le64(t->host + pde);
    if (!now) {
        now = (GUEST_TABLES + 0x3000 + t->n++ * START_PAGE) | 7;
        put_entry(t, pde, now);
    }
    put_entry(t, (now & ~UINT64_C(0xfff)) + (page >> 12 & (START_PAGE / t->entry - 1)) * t->entry, page | flags);
}

/* Only what a run may write is there for it, and the tables to read. */
static void map_pages(Guest *g, const ModeRow *m, const Window *windows, bool supervisor)
{
    X86Cpu *cpu = g->cpus[0];
    Tables  t   = { .host = g->host, .paging = m->paging, .entry = m->paging == PAGING_32 ? 4 : 8 };
    memset(g->host + GUEST_TABLES, 0, PAGING_LEN);
    cpu->cr3     = GUEST_TABLES;
    t.directory  = GUEST_TABLES;
    uint64_t top = GUEST_TABLES;
    if (m->paging == PAGING_4LEVEL) {
        put_entry(&t, top, (GUEST_TABLES + 0x1000) | 7);
        top += 0x1000;
    }
    if (m->paging != PAGING_32) {
        t.directory = GUEST_TABLES + 0x2000;
        put_entry(&t, top, t.directory | (m->paging == PAGING_PAE ? 1 : 7));
    }
    cpu->cr0 |= CR0_PG | CR0_WP;
    cpu->cr4 |= m->paging == PAGING_32 ? 0 : CR4_PAE;
    for (uint64_t page = GUEST_GDT; page < TABLES_END; page += START_PAGE) {
        map_page(&t, page, page | 0x21);
    }
    uint64_t last = (is_16(m) ? START_DATA16 : GUEST_DATA) + (START_N_DATA - 1) * START_PAGE;
    for (const Window *w = windows; w->len; w++) {
        bool tables = w->start == GUEST_TABLES, data = w->start == GUEST_DATA;
        for (uint64_t page = w->start; page < w->start + w->len && !tables; page += START_PAGE) {
            if (page >= TABLES_END || (!page && is_16(m))) {
                map_page(&t, page, page == last ? 5 : supervisor && !data ? 3 : 7);
            }
        }
    }
}

/* --- all of it --- */

static const Window *windows_of(const ModeRow *m)
{
    if (m->paging) {
        return is_16(m) ? paged16 : paged;
    }
    return is_16(m) ? low : all;
}

Start start_make(Guest *g, const uint8_t head[START_HEAD], const uint8_t *code, size_t len)
{
    const ModeRow *m   = &start_modes[head[0] % start_n_modes];
    X86Cpu        *cpu = g->cpus[0];
    Start          s   = { .mode = m, .high = !is_16(m), .windows = windows_of(m) };

    guest_set_mode(g, 0, m->base, m->ring);
    if (is_16(m)) {
        cpu->rip          = 0x8000;
        cpu->gpr[X86_RSP] = START_STACK16;
    }
    if (m->code16 || (m->base == GUEST_PROTECTED16 && m->ring == 3)) {
        for (unsigned i = 0; i < X86_N_SEG; i++) {
            load_odd(cpu, m, i, (m->code16 ? FLAT16_WIDE : FLAT16) + (i != X86_CS));
        }
    }
    if (m->paging) {
        map_pages(g, m, s.windows, head[22] & 0x80);
    }
    if (is_16(m) && !m->paging && m->base != GUEST_REAL) {
        store_le32(g->host + GUEST_TSS + 4, START_STACK16 - 0x800);
    }
    s.code = cpu->rip;
    set_controls(cpu, m, head);
    set_interrupts(g, m, head);
    if (m->base != GUEST_REAL) {
        put_descriptors(g, m);
    }
    choose_segments(cpu, m, head[23]);
    set_registers(cpu, m, head);
    set_flags(cpu, m, head);
    s.requests = (head[19] & 0x10 ? X86_REQUEST_INTR : 0) | (head[19] & 0x20 ? X86_REQUEST_NMI : 0);

    uint64_t place = s.high ? GUEST_DATA : START_DATA16;
    for (unsigned i = 0; i < START_N_DATA * START_PAGE; i++) {
        g->host[place + i] = (uint8_t)(i * 7 + i / 251);
    }
    memset(g->host + s.code, 0xf4, s.high ? 2 * START_PAGE : START_DATA16 - 0x8000);
    memcpy(g->host + s.code, code, MIN(len, (size_t)START_CODE));
    return s;
}
