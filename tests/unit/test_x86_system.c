/* The system side of the CPU on its own: descriptors, gates, faults while faulting, control registers, MSRs. */

#include "x86_stub.h"

/* Where things lie in the stub's memory. */
enum {
    GDT      = 0x1000,
    IDT      = 0x2000,
    LDT      = 0x3000,
    TSS      = 0x4000,
    TSS_B    = 0x4800,
    STACK0   = 0x8000, /* ring 0, top */
    STACK3   = 0xa000,
    STACK_TS = 0xc000, /* what the TSS says for ring 0 */
    IST1     = 0xe000,
    HANDLERS = 0x10000 /* of vector n: + 16 n */
};

/* Selectors. */
enum {
    CODE0      = 0x08,
    DATA0      = 0x10,
    CODE3      = 0x1b,
    DATA3      = 0x23,
    CONFORMING = 0x28,
    ABSENT     = 0x30,
    READ_ONLY  = 0x38,
    LDT_SEL    = 0x40,
    TSS_SEL    = 0x48,
    GATE       = 0x50,
    EXEC_ONLY  = 0x60,
    CODE64     = 0x68,
    TSS_B_SEL  = 0x70,
    TASK_GATE  = 0x78,
    CODE16     = 0x80,
    DATA3_ABS  = 0x8b, /* not present, ring 3 */
    CODE64_3   = 0x93,
    GDT_SIZE   = 0x98,
};

static void put_segment(Stub *s, unsigned selector, uint32_t base, uint32_t limit, uint32_t attr)
{
    uint32_t raw = attr & SEG_G ? limit >> 12 : limit;
    stub_put(s, GDT + (selector & 0xfff8), (raw & 0xffff) | base << 16, 4);
    stub_put(s, GDT + (selector & 0xfff8) + 4, (base >> 16 & 0xff) | attr << 8 | (raw & 0xf0000) | (base & 0xff000000),
             4);
}

static void put_gate(Stub *s, uint32_t at, unsigned type, unsigned dpl, unsigned selector, uint64_t offset,
                     unsigned extra)
{
    stub_put(s, at, (offset & 0xffff) | selector << 16, 4);
    stub_put(s, at + 4, (offset & 0xffff0000) | 0x8000 | dpl << 13 | type << 8 | extra, 4);
}

static uint32_t rights(unsigned dpl, unsigned type)
{
    return SEG_P | dpl << SEG_DPL_SHIFT | type;
}

static void put_tables(Stub *s, bool wide)
{
    X86Cpu  *cpu  = s->cpu;
    uint32_t flat = SEG_G | SEG_DB | SEG_S;
    put_segment(s, CODE0, 0, UINT32_MAX, rights(0, SEG_CODE | SEG_R) | flat);
    put_segment(s, DATA0, 0, UINT32_MAX, rights(0, SEG_W) | flat);
    put_segment(s, CODE3, 0, UINT32_MAX, rights(3, SEG_CODE | SEG_R) | flat);
    put_segment(s, DATA3, 0, UINT32_MAX, rights(3, SEG_W) | flat);
    put_segment(s, CONFORMING, 0, UINT32_MAX, rights(0, SEG_CODE | SEG_R | SEG_C) | flat);
    put_segment(s, ABSENT, 0, UINT32_MAX, (rights(0, SEG_W) & ~SEG_P) | flat);
    put_segment(s, READ_ONLY, 0, UINT32_MAX, rights(0, 0) | flat);
    put_segment(s, LDT_SEL, LDT, 0x1f, rights(0, SYS_LDT));
    put_segment(s, TSS_SEL, TSS, 0x67, rights(0, SYS_TSS_AVAILABLE));
    put_segment(s, EXEC_ONLY, 0, UINT32_MAX, rights(0, SEG_CODE) | flat);
    put_segment(s, CODE64, 0, UINT32_MAX, rights(0, SEG_CODE | SEG_R) | SEG_S | SEG_G | SEG_L);
    put_segment(s, CODE64_3, 0, UINT32_MAX, rights(3, SEG_CODE | SEG_R) | SEG_S | SEG_G | SEG_L);
    put_segment(s, TSS_B_SEL, TSS_B, 0x67, rights(0, SYS_TSS_AVAILABLE));
    put_gate(s, GDT + TASK_GATE, SYS_TASK_GATE, 3, TSS_B_SEL, 0, 0);
    put_segment(s, CODE16, 0, 0xffff, rights(0, SEG_CODE | SEG_R) | SEG_S);
    put_segment(s, DATA3_ABS, 0, UINT32_MAX, (rights(3, SEG_W) & ~SEG_P) | flat);
    for (unsigned v = 0; v < 256; v++) {
        uint32_t at = IDT + v * (wide ? 16 : 8);
        put_gate(s, at, SYS_INT_GATE, v == 3 || v == 0x80 ? 3 : 0, wide ? CODE64 : CODE0, HANDLERS + 16 * v, 0);
    }
    stub_put(s, TSS + 4, STACK_TS, wide ? 8 : 4);
    if (!wide) {
        stub_put(s, TSS + 8, DATA0, 2);
    }
    stub_put(s, TSS + 0x24, IST1, wide ? 8 : 4);
    cpu->gdt = (X86Table){ GDT, GDT_SIZE - 1 };
    cpu->idt = (X86Table){ IDT, wide ? 0xfff : 0x7ff };
    cpu->tr  = (X86Segment){ .base = TSS, .limit = 0x67, .attr = rights(0, SYS_TSS_BUSY), .selector = TSS_SEL };
    cpu->ldt = (X86Segment){ .attr = SEG_UNUSABLE };
}

static X86Segment flat_segment(unsigned selector, unsigned type, uint32_t size)
{
    return (X86Segment){ .limit    = UINT32_MAX,
                         .attr     = rights(selector & 3, type | SEG_A) | SEG_S | SEG_G | size,
                         .selector = (uint16_t)selector };
}

/* Protected mode, flat, in ring 0 or 3. */
static Stub *protected_mode(unsigned cpl)
{
    Stub   *s   = stub_new("max");
    X86Cpu *cpu = s->cpu;
    put_tables(s, false);
    cpu->cr0 = CR0_PE | CR0_ET;
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        cpu->seg[i] = i == X86_CS ? flat_segment(cpl ? CODE3 : CODE0, SEG_CODE | SEG_R, SEG_DB)
                                  : flat_segment(cpl ? DATA3 : DATA0, SEG_W, SEG_DB);
    }
    cpu->gpr[X86_RSP] = cpl ? STACK3 : STACK0;
    cpu->rip          = 0x7000;
    x86_update_mode(cpu);
    g_assert_cmpuint(cpu->cpl, ==, cpl);
    return s;
}

/* 64-bit mode; `model` chooses the vendor. */
static Stub *long_mode_of(const char *model, unsigned cpl)
{
    Stub   *s   = stub_new(model);
    X86Cpu *cpu = s->cpu;
    put_tables(s, true);
    cpu->cr0  = CR0_PE | CR0_ET | CR0_PG;
    cpu->cr4  = CR4_PAE;
    cpu->efer = EFER_LME | EFER_LMA | EFER_SCE;
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        cpu->seg[i] = i == X86_CS ? flat_segment(cpl ? CODE64_3 : CODE64, SEG_CODE | SEG_R, SEG_L)
                                  : flat_segment(cpl ? DATA3 : DATA0, SEG_W, SEG_DB);
    }
    cpu->gpr[X86_RSP] = cpl ? STACK3 : STACK0;
    cpu->rip          = 0x7000;
    x86_update_mode(cpu);
    g_assert_cmpint(cpu->code_size, ==, X86_CODE64);
    return s;
}

static Stub *long_mode(unsigned cpl)
{
    return long_mode_of("max", cpl);
}

/* --- segment loads --- */

typedef struct LoadCase {
    unsigned seg, selector, cpl;
    int      vector; /* -1: loads */
    unsigned code;
} LoadCase;

static void test_segment_loads(void)
{
    static const LoadCase cases[] = {
        { X86_DS, 0x0000, 0, -1, 0 },
        { X86_DS, 0x0003, 3, -1, 0 },
        { X86_DS, DATA0, 0, -1, 0 },
        { X86_DS, DATA0, 3, X86_GP, DATA0 },
        { X86_DS, DATA0 | 3, 0, X86_GP, DATA0 },
        { X86_DS, DATA3, 3, -1, 0 },
        { X86_DS, DATA3, 0, -1, 0 },
        { X86_ES, CODE0, 0, -1, 0 },
        { X86_ES, CONFORMING | 3, 3, -1, 0 },
        { X86_ES, EXEC_ONLY, 0, X86_GP, EXEC_ONLY },
        { X86_FS, ABSENT, 0, X86_NP, ABSENT },
        { X86_GS, TSS_SEL, 0, X86_GP, TSS_SEL },
        { X86_GS, GDT_SIZE, 0, X86_GP, GDT_SIZE },
        { X86_GS, 0x0c, 0, X86_GP, 0x0c },
        { X86_SS, 0, 0, X86_GP, 0 },
        { X86_SS, DATA0, 0, -1, 0 },
        { X86_SS, DATA3, 3, -1, 0 },
        { X86_SS, DATA3, 0, X86_GP, DATA3 & ~3 },
        { X86_SS, DATA0, 3, X86_GP, DATA0 },
        { X86_SS, READ_ONLY, 0, X86_GP, READ_ONLY },
        { X86_SS, CODE0, 0, X86_GP, CODE0 },
        { X86_SS, ABSENT, 0, X86_SS_FAULT, ABSENT },
        { X86_SS, DATA3_ABS, 3, X86_SS_FAULT, DATA3_ABS & ~3 },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const LoadCase *c      = &cases[i];
        Stub           *s      = protected_mode(c->cpl);
        X86Segment      before = s->cpu->seg[c->seg];
        STUB_TRY(s, x86_load_segment(s->cpu, c->seg, (uint16_t)c->selector));
        g_test_message("case %u", i);
        g_assert_cmpint(stub_vector, ==, c->vector);
        if (c->vector >= 0) {
            g_assert_cmphex((unsigned)stub_code, ==, c->code);
            g_assert_true(memcmp(&before, &s->cpu->seg[c->seg], sizeof before) == 0);
        } else {
            g_assert_cmphex(s->cpu->seg[c->seg].selector, ==, c->selector);
            bool null = c->selector < 4;
            g_assert_cmpint((s->cpu->seg[c->seg].attr & SEG_UNUSABLE) != 0, ==, null);
            if (!null) {
                g_assert_cmphex(stub_get(s, GDT + (c->selector & 0xfff8) + 5, 1) & SEG_A, ==, SEG_A);
            }
        }
        stub_free(s);
    }
}

static void test_null_stack_64(void)
{
    Stub *s = long_mode(0);
    STUB_OK(s, x86_load_segment(s->cpu, X86_SS, 0));
    STUB_RAISES(s, x86_load_segment(s->cpu, X86_SS, 1), X86_GP, 0);
    g_assert_cmpuint(s->cpu->cpl, ==, 0);
    stub_free(s);
    s = long_mode(3);
    STUB_RAISES(s, x86_load_segment(s->cpu, X86_SS, 3), X86_GP, 0);
    stub_free(s);
}

static void test_real_mode_loads(void)
{
    Stub   *s              = stub_new("max");
    X86Cpu *cpu            = s->cpu;
    cpu->seg[X86_DS].limit = UINT32_MAX; /* left behind by protected mode: must stay */
    STUB_OK(s, x86_load_segment(cpu, X86_DS, 0x1234));
    g_assert_cmphex(cpu->seg[X86_DS].base, ==, 0x12340);
    g_assert_cmphex(cpu->seg[X86_DS].limit, ==, UINT32_MAX);
    STUB_OK(s, x86_far_jump(cpu, 0x0700, 0x12, 2));
    g_assert_cmphex(cpu->seg[X86_CS].base, ==, 0x7000);
    g_assert_cmphex(cpu->rip, ==, 0x12);
    STUB_RAISES(s, x86_far_jump(cpu, 0x0700, 0x12345, 4), X86_GP, 0);
    stub_free(s);
}

static void test_ldt_and_tr(void)
{
    Stub   *s   = protected_mode(0);
    X86Cpu *cpu = s->cpu;
    STUB_OK(s, x86_lldt(cpu, LDT_SEL));
    g_assert_cmphex(cpu->ldt.base, ==, LDT);
    g_assert_cmphex(cpu->ldt.limit, ==, 0x1f);
    STUB_RAISES(s, x86_lldt(cpu, TSS_SEL), X86_GP, TSS_SEL);
    STUB_RAISES(s, x86_lldt(cpu, 4), X86_GP, 4);
    STUB_OK(s, x86_lldt(cpu, 0));
    STUB_RAISES(s, x86_load_segment(cpu, X86_DS, 4), X86_GP, 4);
    STUB_OK(s, x86_ltr(cpu, TSS_B_SEL));
    g_assert_cmphex(stub_get(s, GDT + TSS_B_SEL + 5, 1), ==, 0x8b);
    STUB_RAISES(s, x86_ltr(cpu, TSS_B_SEL), X86_GP, TSS_B_SEL);
    STUB_RAISES(s, x86_ltr(cpu, 0), X86_GP, 0);
    stub_free(s);

    s = protected_mode(3);
    STUB_RAISES(s, x86_ltr(s->cpu, TSS_SEL), X86_GP, 0);
    STUB_RAISES(s, x86_lldt(s->cpu, LDT_SEL), X86_GP, 0);
    stub_free(s);

    s = stub_new("max");
    STUB_RAISES(s, x86_lldt(s->cpu, 0), X86_UD, -1);
    stub_free(s);

    /* In long mode the descriptor has 16 bytes, and the base must be canonical. */
    s = long_mode(0);
    stub_put(s, GDT + TSS_SEL + 8, 0, 8);
    STUB_OK(s, x86_ltr(s->cpu, TSS_SEL));
    put_segment(s, TSS_SEL, TSS, 0x67, rights(0, SYS_TSS_AVAILABLE));
    stub_put(s, GDT + TSS_SEL + 8, 0x00800000, 8);
    STUB_RAISES(s, x86_ltr(s->cpu, TSS_SEL), X86_GP, TSS_SEL);
    stub_free(s);
}

static void test_lar_lsl_verr_verw(void)
{
    Stub    *s   = protected_mode(3);
    X86Cpu  *cpu = s->cpu;
    uint32_t r   = 0;
    put_gate(s, GDT + GATE, SYS_CALL_GATE, 3, CODE0, 0x5000, 0);
    g_assert_true(x86_lar(cpu, DATA3, &r));
    g_assert_cmphex(r, ==, 0x00c0f200);
    g_assert_false(x86_lar(cpu, DATA0, &r));
    g_assert_false(x86_lar(cpu, 0, &r));
    g_assert_true(x86_lar(cpu, GATE | 3, &r));
    g_assert_false(x86_lsl(cpu, GATE | 3, &r));
    g_assert_true(x86_lsl(cpu, DATA3, &r));
    g_assert_cmphex(r, ==, UINT32_MAX);
    g_assert_true(x86_lsl(cpu, CONFORMING | 3, &r));
    g_assert_true(x86_verr(cpu, DATA3) && x86_verw(cpu, DATA3) && x86_verr(cpu, CODE3));
    g_assert_false(x86_verw(cpu, CODE3) || x86_verr(cpu, DATA0) || x86_verr(cpu, GATE) || x86_verr(cpu, 0));
    g_assert_true(x86_lar(cpu, TASK_GATE | 3, &r));
    stub_free(s);

    s = long_mode(0);
    g_assert_false(x86_lar(s->cpu, TASK_GATE, &r));
    g_assert_true(x86_lsl(s->cpu, TSS_SEL, &r));
    g_assert_cmphex(r, ==, 0x67);
    stub_free(s);
}

/* --- far transfers --- */

static void test_call_gate_with_parameters(void)
{
    Stub   *s   = protected_mode(3);
    X86Cpu *cpu = s->cpu;
    put_gate(s, GDT + GATE, SYS_CALL_GATE, 3, CODE0, 0x5000, 2);
    stub_put(s, STACK3, 0x11111111, 4);
    stub_put(s, STACK3 + 4, 0x22222222, 4);
    STUB_OK(s, x86_far_call(cpu, GATE | 3, 0xdead, 4, 0x7007));
    g_assert_cmphex(cpu->rip, ==, 0x5000);
    g_assert_cmpuint(cpu->cpl, ==, 0);
    g_assert_cmphex(cpu->seg[X86_SS].selector, ==, DATA0);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, STACK_TS - 24);
    static const uint32_t frame[] = { 0x7007, CODE3, 0x11111111, 0x22222222, STACK3, DATA3 };
    for (unsigned i = 0; i < 6; i++) {
        g_assert_cmphex(stub_get(s, STACK_TS - 24 + 4 * i, 4), ==, frame[i]);
    }
    /* RETF 8 undoes it, and takes the data segments of ring 0 away. */
    STUB_OK(s, x86_load_segment(cpu, X86_DS, DATA0));
    STUB_OK(s, x86_far_return(cpu, 4, 8));
    g_assert_cmphex(cpu->rip, ==, 0x7007);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, STACK3 + 8);
    g_assert_cmpuint(cpu->cpl, ==, 3);
    g_assert_true(cpu->seg[X86_DS].attr & SEG_UNUSABLE);
    g_assert_cmphex(cpu->seg[X86_ES].selector, ==, DATA3);

    put_gate(s, GDT + GATE, SYS_CALL_GATE, 0, CODE0, 0x5000, 0);
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_GP, GATE);
    put_gate(s, GDT + GATE, SYS_CALL_GATE, 3, 0, 0x5000, 0);
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_GP, 0);
    put_gate(s, GDT + GATE, SYS_CALL_GATE, 3, DATA0, 0x5000, 0);
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_GP, DATA0);
    put_gate(s, GDT + GATE, SYS_CALL_GATE, 3, CODE0, 0x5000, 0);
    STUB_RAISES(s, x86_far_jump(cpu, GATE | 3, 0, 4), X86_GP, CODE0);
    cpu->tr.limit = 7; /* SS0 lies beyond */
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_TS, TSS_SEL);
    cpu->tr.limit = 0x67;
    stub_put(s, TSS + 8, DATA3, 2);
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_TS, DATA3 & ~3);
    stub_put(s, TSS + 8, ABSENT, 2);
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_SS_FAULT, ABSENT);
    stub_put(s, TSS + 8, 0, 2);
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_TS, 0);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, STACK3 + 8);
    stub_free(s);
}

static void test_call_gate_64(void)
{
    Stub   *s   = long_mode(3);
    X86Cpu *cpu = s->cpu;
    put_gate(s, GDT + GATE, SYS_CALL_GATE, 3, CODE64, 0x5000, 0);
    stub_put(s, GDT + GATE + 8, 0, 8);
    STUB_OK(s, x86_far_call(cpu, GATE | 3, 0, 4, 0x7007));
    g_assert_cmphex(cpu->rip, ==, 0x5000);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, STACK_TS - 32);
    g_assert_cmphex(cpu->seg[X86_SS].selector, ==, 0);
    g_assert_cmpuint(cpu->cpl, ==, 0);
    STUB_OK(s, x86_far_return(cpu, 8, 0));
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, STACK3);
    g_assert_cmpuint(cpu->cpl, ==, 3);
    stub_put(s, GDT + GATE + 12, 0x100, 4); /* a type where none may be */
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_GP, GATE);
    stub_put(s, GDT + GATE + 8, 0x00008000, 8); /* not canonical */
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_GP, 0);
    put_gate(s, GDT + GATE, SYS_CALL_GATE, 3, CODE0, 0x5000, 0);
    stub_put(s, GDT + GATE + 8, 0, 8);
    STUB_RAISES(s, x86_far_call(cpu, GATE | 3, 0, 4, 0), X86_GP, CODE0);
    STUB_RAISES(s, x86_far_call(cpu, TASK_GATE | 3, 0, 4, 0), X86_GP, TASK_GATE);
    stub_free(s);
}

static void test_direct_far(void)
{
    Stub   *s   = protected_mode(0);
    X86Cpu *cpu = s->cpu;
    STUB_OK(s, x86_far_call(cpu, CODE0, 0x6000, 4, 0x7005));
    g_assert_cmphex(stub_get(s, STACK0 - 8, 4), ==, 0x7005);
    STUB_OK(s, x86_far_return(cpu, 4, 0));
    g_assert_cmphex(cpu->rip, ==, 0x7005);
    STUB_OK(s, x86_far_jump(cpu, CODE16, 0x6000, 4));
    g_assert_cmpint(cpu->code_size, ==, X86_CODE16);
    STUB_RAISES(s, x86_far_jump(cpu, CODE16, 0x16000, 4), X86_GP, 0);
    STUB_RAISES(s, x86_far_jump(cpu, CODE3, 0, 4), X86_GP, CODE3 & ~3);
    STUB_RAISES(s, x86_far_jump(cpu, CODE0 | 1, 0, 4), X86_GP, CODE0);
    STUB_RAISES(s, x86_far_jump(cpu, DATA0, 0, 4), X86_GP, DATA0);
    STUB_RAISES(s, x86_far_jump(cpu, 3, 0, 4), X86_GP, 0);
    STUB_OK(s, x86_far_jump(cpu, CONFORMING, 0x6000, 4));
    stub_free(s);

    s = long_mode(0);
    put_segment(s, CODE16, 0, 0xffff, rights(0, SEG_CODE | SEG_R) | SEG_S | SEG_L | SEG_DB);
    STUB_RAISES(s, x86_far_jump(s->cpu, CODE16, 0, 4), X86_GP, CODE16);
    STUB_OK(s, x86_far_jump(s->cpu, CODE0, 0x6000, 4)); /* to compatibility mode */
    g_assert_cmpint(s->cpu->code_size, ==, X86_CODE32);
    STUB_OK(s, x86_far_jump(s->cpu, CODE64, 0x6000, 4));
    g_assert_cmpint(s->cpu->code_size, ==, X86_CODE64);
    stub_free(s);
}

static void push_frame(Stub *s, unsigned size, const uint64_t *values, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        s->cpu->gpr[X86_RSP] -= size;
        stub_put(s, (uint32_t)s->cpu->gpr[X86_RSP], values[i], size);
    }
}

static void test_iret_rings(void)
{
    Stub   *s          = protected_mode(0);
    X86Cpu *cpu        = s->cpu;
    cpu->nmi_blocked   = true;
    uint64_t outward[] = { DATA3, STACK3, EFLAGS_IF | EFLAGS_IOPL | EFLAGS_RF | EFLAGS_AC, CODE3, 0x9000 };
    push_frame(s, 4, outward, 5);
    STUB_OK(s, x86_iret(cpu, 4));
    g_assert_cmpuint(cpu->cpl, ==, 3);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, STACK3);
    g_assert_cmphex(x86_get_eflags(cpu), ==, EFLAGS_IF | EFLAGS_IOPL | EFLAGS_RF | EFLAGS_AC | EFLAGS_ONE);
    g_assert_false(cpu->nmi_blocked);
    /* In ring 3 IOPL cannot change; to an inner ring there is no return. */
    cpu->eflags     = EFLAGS_ONE;
    uint64_t same[] = { EFLAGS_IF | EFLAGS_IOPL, CODE3, 0x9100 };
    push_frame(s, 4, same, 3);
    STUB_OK(s, x86_iret(cpu, 4));
    g_assert_cmphex(x86_get_eflags(cpu), ==, EFLAGS_ONE);
    uint64_t inward[] = { 0, CODE0, 0x9100 };
    push_frame(s, 4, inward, 3);
    STUB_RAISES(s, x86_iret(cpu, 4), X86_GP, CODE0);
    stub_free(s);

    s               = long_mode(0);
    uint64_t wide[] = { 0, STACK0 - 0x100, EFLAGS_IF, CODE64, 0x9000 };
    push_frame(s, 8, wide, 5);
    STUB_OK(s, x86_iret(s->cpu, 8)); /* 64-bit mode takes SS:RSP in any case, and SS may be null */
    g_assert_cmphex(s->cpu->gpr[X86_RSP], ==, STACK0 - 0x100);
    g_assert_true(s->cpu->seg[X86_SS].attr & SEG_UNUSABLE);
    uint64_t null3[] = { 3, STACK3, EFLAGS_IF, CODE64_3, 0x9000 };
    push_frame(s, 8, null3, 5);
    STUB_RAISES(s, x86_iret(s->cpu, 8), X86_GP, 0);
    uint64_t bent[] = { DATA3, STACK3, EFLAGS_IF, CODE64_3, UINT64_C(0x800000000000) };
    push_frame(s, 8, bent, 5);
    STUB_RAISES(s, x86_iret(s->cpu, 8), X86_GP, 0);
    s->cpu->eflags |= EFLAGS_NT;
    STUB_RAISES(s, x86_iret(s->cpu, 8), X86_GP, 0);
    stub_free(s);
}

static void test_vm86(void)
{
    Stub    *s       = protected_mode(0);
    X86Cpu  *cpu     = s->cpu;
    uint64_t frame[] = { 0x6000, 0x5000, 0x4000, 0x3000, 0x2000, 0xfffe, EFLAGS_VM | EFLAGS_IF, 0x1000, 0x0100 };
    push_frame(s, 4, frame, 9);
    STUB_OK(s, x86_iret(cpu, 4));
    g_assert_cmpuint(cpu->cpl, ==, 3);
    g_assert_cmpint(cpu->code_size, ==, X86_CODE16);
    static const unsigned order[] = { X86_GS, X86_FS, X86_DS, X86_ES, X86_SS };
    for (unsigned i = 0; i < 5; i++) {
        g_assert_cmphex(cpu->seg[order[i]].selector, ==, frame[i]);
        g_assert_cmphex(cpu->seg[order[i]].base, ==, frame[i] << 4);
        g_assert_cmphex(cpu->seg[order[i]].limit, ==, 0xffff);
    }
    STUB_RAISES(s, x86_iret(cpu, 2), X86_GP, 0); /* IOPL 0 */
    /* INT n with IOPL below 3 is #GP(0), which goes to ring 0 with all the segments pushed. */
    x86_deliver(cpu, X86_EVENT_SOFTWARE, 0x80, false, 0, 0x102);
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * X86_GP);
    g_assert_cmpuint(cpu->cpl, ==, 0);
    g_assert_false(cpu->eflags & EFLAGS_VM);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, STACK_TS - 40);
    g_assert_cmphex(stub_get(s, STACK_TS - 40, 4), ==, 0);      /* error code */
    g_assert_cmphex(stub_get(s, STACK_TS - 36, 4), ==, 0x0100); /* the INT itself */
    g_assert_cmphex(stub_get(s, STACK_TS - 28, 4) & EFLAGS_VM, ==, EFLAGS_VM);
    g_assert_cmphex(stub_get(s, STACK_TS - 4, 4), ==, 0x6000);
    g_assert_true(cpu->seg[X86_DS].attr & SEG_UNUSABLE);
    /* Back, and with IOPL 3 it goes through; the gate must lead to ring 0. */
    cpu->gpr[X86_RSP] += 4;
    STUB_OK(s, x86_iret(cpu, 4));
    cpu->eflags |= EFLAGS_IOPL;
    x86_deliver(cpu, X86_EVENT_SOFTWARE, 0x80, false, 0, 0x102);
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * 0x80);
    g_assert_cmphex(stub_get(s, STACK_TS - 36, 4), ==, 0x102);
    STUB_OK(s, x86_iret(cpu, 4));
    put_gate(s, IDT + 8 * 0x80, SYS_INT_GATE, 3, CODE3, 0x5000, 0);
    x86_deliver(cpu, X86_EVENT_SOFTWARE, 0x80, false, 0, 0x102);
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * X86_GP);
    g_assert_cmphex(stub_get(s, STACK_TS - 40, 4), ==, CODE3 & ~3);
    stub_free(s);
}

static void test_task_switch(void)
{
    Stub   *s   = protected_mode(0);
    X86Cpu *cpu = s->cpu;
    stub_put(s, TSS_B + 0x20, 0x5550, 4);          /* EIP */
    stub_put(s, TSS_B + 0x24, EFLAGS_IF, 4);       /* EFLAGS */
    stub_put(s, TSS_B + 0x28 + 4 * X86_RBX, 7, 4); /* EBX */
    stub_put(s, TSS_B + 0x28 + 4 * X86_RSP, 0xb000, 4);
    static const uint16_t selectors[] = { DATA3, CODE3, DATA3, DATA3, 0, 0 };
    for (unsigned i = 0; i < 6; i++) {
        stub_put(s, TSS_B + 0x48 + 4 * i, selectors[i], 2);
    }
    cpu->gpr[X86_RBX] = 5;
    STUB_OK(s, x86_far_call(cpu, TASK_GATE, 0, 4, 0x7007));
    g_assert_cmphex(cpu->rip, ==, 0x5550);
    g_assert_cmpuint(cpu->cpl, ==, 3);
    g_assert_cmpuint(cpu->gpr[X86_RBX], ==, 7);
    g_assert_cmphex(cpu->tr.selector, ==, TSS_B_SEL);
    g_assert_cmphex(x86_get_eflags(cpu), ==, EFLAGS_IF | EFLAGS_NT | EFLAGS_ONE);
    g_assert_true(cpu->cr0 & CR0_TS);
    g_assert_cmphex(stub_get(s, TSS_B, 2), ==, TSS_SEL);
    g_assert_cmphex(stub_get(s, TSS + 0x20, 4), ==, 0x7007);
    g_assert_cmphex(stub_get(s, GDT + TSS_B_SEL + 5, 1), ==, 0x8b);
    /* The old task is busy still: IRET goes back to it. */
    put_segment(s, TSS_SEL, TSS, 0x67, rights(0, SYS_TSS_BUSY));
    STUB_OK(s, x86_iret(cpu, 4));
    g_assert_cmphex(cpu->rip, ==, 0x7007);
    g_assert_cmpuint(cpu->cpl, ==, 0);
    g_assert_cmpuint(cpu->gpr[X86_RBX], ==, 5);
    g_assert_cmphex(stub_get(s, GDT + TSS_B_SEL + 5, 1), ==, 0x89);
    g_assert_false(cpu->eflags & EFLAGS_NT);
    /* A bad selector in the new task: #TS there. */
    stub_put(s, TSS_B + 0x48 + 4 * X86_DS, GDT_SIZE, 2);
    stub_put(s, TSS_B + 4, STACK_TS, 4);
    stub_put(s, TSS_B + 8, DATA0, 2);
    STUB_OK(s, x86_far_call(cpu, TSS_B_SEL, 0, 4, 0x7007));
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * X86_TS);
    g_assert_cmphex(stub_get(s, STACK_TS - 24, 4), ==, GDT_SIZE);
    g_assert_cmphex(stub_get(s, STACK_TS - 20, 4), ==, 0x5550);
    stub_free(s);

    s = protected_mode(0);
    put_segment(s, TSS_B_SEL, TSS_B, 0x66, rights(0, SYS_TSS_AVAILABLE));
    STUB_RAISES(s, x86_far_jump(s->cpu, TSS_B_SEL, 0, 4), X86_TS, TSS_B_SEL);
    put_segment(s, TSS_B_SEL, TSS_B, 0x67, rights(0, SYS_TSS_BUSY));
    STUB_RAISES(s, x86_far_jump(s->cpu, TSS_B_SEL, 0, 4), X86_GP, TSS_B_SEL);
    put_segment(s, TSS_B_SEL, TSS_B, 0x67, rights(0, SYS_TSS_AVAILABLE) & ~SEG_P);
    STUB_RAISES(s, x86_far_jump(s->cpu, TASK_GATE, 0, 4), X86_NP, TSS_B_SEL);
    stub_free(s);
}

/* A double fault through a task gate whose task cannot be loaded, over and over: must end, and not on our stack. */
static void test_task_gate_loop(void)
{
    Stub *s = protected_mode(0);
    for (unsigned v = 0; v < 256; v++) {
        put_gate(s, IDT + 8 * v, SYS_TASK_GATE, 0, TSS_B_SEL, 0, 0);
    }
    x86_deliver(s->cpu, X86_EVENT_EXCEPTION, X86_GP, true, 0, 0);
    g_assert_true(s->cpu->in_shutdown);
    stub_free(s);
}

static void test_syscall(void)
{
    static const struct {
        const char *model;
        bool        amd;
    } models[] = { { "max", true }, { "max,vendor=GenuineIntel", false } };
    for (unsigned i = 0; i < 2; i++) {
        bool    amd = models[i].amd;
        Stub   *s   = long_mode_of(models[i].model, 3);
        X86Cpu *cpu = s->cpu;
        cpu->star   = (uint64_t)CODE0 << 32 | (uint64_t)0x13 << 48;
        cpu->lstar  = 0x1234;
        cpu->cstar  = 0x5678;
        cpu->sfmask = EFLAGS_IF | EFLAGS_DF;
        cpu->eflags = EFLAGS_ONE | EFLAGS_IF | EFLAGS_RF;
        STUB_OK(s, x86_syscall(cpu, 0x7002));
        g_assert_cmphex(cpu->rip, ==, 0x1234);
        g_assert_cmpuint(cpu->cpl, ==, 0);
        g_assert_cmphex(cpu->gpr[X86_RCX], ==, 0x7002);
        g_assert_cmphex(cpu->gpr[X86_R11], ==, EFLAGS_ONE | EFLAGS_IF);
        g_assert_cmphex(x86_get_eflags(cpu), ==, EFLAGS_ONE);
        g_assert_cmphex(cpu->seg[X86_SS].selector, ==, CODE0 + 8);
        cpu->gpr[X86_RCX] = UINT64_C(0x800000000000);
        if (amd) {
            STUB_OK(s, x86_sysret(cpu, 8));
        } else {
            STUB_RAISES(s, x86_sysret(cpu, 8), X86_GP, 0);
            cpu->gpr[X86_RCX] = 0x7002;
            STUB_OK(s, x86_sysret(cpu, 8));
        }
        g_assert_cmpuint(cpu->cpl, ==, 3);
        g_assert_cmphex(cpu->seg[X86_CS].selector, ==, 0x23);
        g_assert_cmphex(cpu->seg[X86_SS].selector, ==, 0x1b);
        g_assert_true(cpu->eflags & EFLAGS_IF);
        STUB_RAISES(s, x86_sysret(cpu, 8), X86_GP, 0);

        cpu->seg[X86_CS].attr ^= SEG_L | SEG_DB; /* compatibility mode */
        x86_update_mode(cpu);
        if (amd) {
            STUB_OK(s, x86_syscall(cpu, 0x7002));
            g_assert_cmphex(cpu->rip, ==, 0x5678);
        } else {
            STUB_RAISES(s, x86_syscall(cpu, 0x7002), X86_UD, -1);
        }
        cpu->efer &= ~EFER_SCE;
        STUB_RAISES(s, x86_syscall(cpu, 0x7002), X86_UD, -1);

        cpu->sysenter_cs = CODE0;
        if (amd) {
            STUB_RAISES(s, x86_sysenter(cpu), X86_UD, -1);
        } else {
            STUB_OK(s, x86_sysenter(cpu));
            g_assert_cmpint(cpu->code_size, ==, X86_CODE64);
            STUB_OK(s, x86_sysexit(cpu, 4));
            g_assert_cmphex(cpu->seg[X86_CS].selector, ==, CODE0 + 16 + 3);
            g_assert_cmpint(cpu->code_size, ==, X86_CODE32);
        }
        stub_free(s);
    }
    Stub *s             = protected_mode(3);
    s->cpu->sysenter_cs = 3;
    STUB_RAISES(s, x86_sysenter(s->cpu), X86_GP, 0);
    s->cpu->sysenter_cs = CODE0;
    STUB_OK(s, x86_sysenter(s->cpu));
    g_assert_cmpuint(s->cpu->cpl, ==, 0);
    stub_free(s);
}

/* --- exceptions --- */

static void test_fault_pairs(void)
{
    /* SDM 3, table 6-5, for every pair of vectors. */
    for (unsigned a = 0; a < 32; a++) {
        for (unsigned b = 0; b < 32; b++) {
            if (b == X86_DF) {
                continue; /* nothing raises it but a pair */
            }
            bool         a_con = a == 0 || (a >= 10 && a <= 13), b_con = b == 0 || (b >= 10 && b <= 13);
            bool         a_pf = a == 14, b_pf = b == 14;
            X86FaultPair want = X86_FAULTS_SERIAL;
            if ((a_con && b_con) || (a_pf && (b_con || b_pf))) {
                want = X86_FAULTS_DOUBLE;
            } else if (a == 8 && (b_con || b_pf)) {
                want = X86_FAULTS_SHUTDOWN;
            }
            g_assert_cmpint(x86_combine_faults(X86_EVENT_EXCEPTION, a, (X86Vector)b), ==, want);
            g_assert_cmpint(x86_combine_faults(X86_EVENT_EXTERNAL, a, (X86Vector)b), ==, X86_FAULTS_SERIAL);
            g_assert_cmpint(x86_combine_faults(X86_EVENT_SOFTWARE, a, (X86Vector)b), ==, X86_FAULTS_SERIAL);
        }
    }
}

/* What arrives in the handler: vector and error code, out of 32-bit ring 0. */
static void check_delivered(Stub *s, unsigned vector, uint32_t code)
{
    X86Cpu *cpu = s->cpu;
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * vector);
    g_assert_cmphex(stub_get(s, (uint32_t)cpu->gpr[X86_RSP], 4), ==, code);
    g_assert_cmphex(stub_get(s, (uint32_t)cpu->gpr[X86_RSP] + 4, 4), ==, 0x7000);
    cpu->gpr[X86_RSP] = STACK0;
    cpu->rip          = 0x7000;
    cpu->eflags       = EFLAGS_ONE | EFLAGS_IF;
    x86_update_mode(cpu);
}

static void test_error_codes(void)
{
    Stub   *s   = protected_mode(0);
    X86Cpu *cpu = s->cpu;
    /* The gate is not there, of a wrong type, or out of the table's limit: IDT bit, and EXT but for INT n. */
    stub_put(s, IDT + 8 * 0x30 + 5, 0x0e, 1);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x30, false, 0, 0);
    check_delivered(s, X86_NP, 0x30 * 8 + 3);
    x86_deliver(cpu, X86_EVENT_SOFTWARE, 0x30, false, 0, 0x7002);
    check_delivered(s, X86_NP, 0x30 * 8 + 2);
    stub_put(s, IDT + 8 * 0x30 + 5, 0x8c, 1);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x30, false, 0, 0);
    check_delivered(s, X86_GP, 0x30 * 8 + 3);
    cpu->idt.limit = 0x30 * 8 + 6;
    x86_deliver(cpu, X86_EVENT_SOFTWARE, 0x30, false, 0, 0x7002);
    check_delivered(s, X86_GP, 0x30 * 8 + 2);
    cpu->idt.limit = 0x7ff;
    /* The handler's segment. */
    put_gate(s, IDT + 8 * 0x30, SYS_INT_GATE, 0, ABSENT, 0, 0);
    put_segment(s, ABSENT, 0, UINT32_MAX, (rights(0, SEG_CODE) & ~SEG_P) | SEG_S | SEG_G);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x30, false, 0, 0);
    check_delivered(s, X86_NP, ABSENT + 1);
    put_gate(s, IDT + 8 * 0x30, SYS_INT_GATE, 0, 0, 0, 0);
    x86_deliver(cpu, X86_EVENT_SOFTWARE, 0x30, false, 0, 0x7002);
    check_delivered(s, X86_GP, 0);
    put_gate(s, IDT + 8 * 0x30, SYS_INT_GATE, 0, DATA0, 0, 0);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x30, false, 0, 0);
    check_delivered(s, X86_GP, DATA0 + 1);
    put_gate(s, IDT + 8 * 0x30, SYS_INT_GATE, 0, CODE16, 0x12345, 0);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x30, false, 0, 0);
    check_delivered(s, X86_GP, 1);
    /* A page fault's own code comes through untouched. */
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_PF, true, 0x15, 0);
    check_delivered(s, X86_PF, 0x15);
    /* Interrupt gates clear IF, trap gates do not; TF, NT and RF are cleared by both; faults push RF. */
    cpu->eflags |= EFLAGS_TF | EFLAGS_NT;
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_PF, true, 0, 0);
    g_assert_cmphex(x86_get_eflags(cpu), ==, EFLAGS_ONE);
    g_assert_cmphex(stub_get(s, (uint32_t)cpu->gpr[X86_RSP] + 12, 4), ==,
                    EFLAGS_ONE | EFLAGS_IF | EFLAGS_TF | EFLAGS_NT | EFLAGS_RF);
    check_delivered(s, X86_PF, 0);
    put_gate(s, IDT + 8 * 0x30, SYS_TRAP_GATE, 0, CODE0, HANDLERS, 0);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x30, false, 0, 0);
    g_assert_cmphex(x86_get_eflags(cpu), ==, EFLAGS_ONE | EFLAGS_IF);
    g_assert_cmphex(stub_get(s, (uint32_t)cpu->gpr[X86_RSP] + 8, 4), ==, EFLAGS_ONE | EFLAGS_IF);
    stub_free(s);

    /* From ring 3: a gate of ring 0 for INT n, but not for an exception of the same vector. */
    s = protected_mode(3);
    x86_deliver(s->cpu, X86_EVENT_SOFTWARE, 13, false, 0, 0x7002);
    g_assert_cmphex(stub_get(s, STACK_TS - 24, 4), ==, 13 * 8 + 2);
    stub_free(s);
    s = protected_mode(3);
    x86_deliver(s->cpu, X86_EVENT_SOFTWARE_BP, 3, false, 0, 0x7001);
    g_assert_cmphex(s->cpu->rip, ==, HANDLERS + 16 * 3);
    g_assert_cmphex(stub_get(s, STACK_TS - 20, 4), ==, 0x7001);
    g_assert_cmphex(stub_get(s, STACK_TS - 8, 4), ==, STACK3);
    stub_free(s);
    /* #TS for the inner stack carries EXT for an interrupt. */
    s = protected_mode(3);
    stub_put(s, TSS + 8, GDT_SIZE, 2);
    put_gate(s, IDT + 8 * X86_TS, SYS_INT_GATE, 0, CONFORMING, 0x5000, 0);
    x86_deliver(s->cpu, X86_EVENT_EXTERNAL, 0x30, false, 0, 0);
    g_assert_cmphex(s->cpu->rip, ==, 0x5000);
    g_assert_cmphex(stub_get(s, STACK3 - 16, 4), ==, GDT_SIZE + 1);
    stub_free(s);
}

static void test_double_and_triple_fault(void)
{
    Stub   *s   = protected_mode(0);
    X86Cpu *cpu = s->cpu;
    /* #GP on #GP, #PF on #PF, #GP on #PF: double fault, code 0. #PF on #GP: the page fault comes. */
    stub_put(s, IDT + 8 * X86_GP + 5, 0, 1);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_GP, true, 0x123, 0);
    check_delivered(s, X86_DF, 0);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x30, false, 0, 0);
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * 0x30);
    cpu->gpr[X86_RSP] = STACK0;
    cpu->rip          = 0x7000;
    /* A benign one first: its #GP is delivered, fails, and only then it doubles. */
    stub_put(s, IDT + 8 * X86_UD + 5, 0, 1);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_UD, false, 0, 0);
    check_delivered(s, X86_DF, 0);
    put_gate(s, IDT + 8 * X86_GP, SYS_INT_GATE, 0, CODE0, HANDLERS + 16 * X86_GP, 0);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_UD, false, 0, 0);
    check_delivered(s, X86_GP, X86_UD * 8 + 3);
    g_assert_cmpint(cpu->pending_vector, ==, -1);
    g_assert_false(cpu->in_shutdown);
    stub_put(s, IDT + 8 * X86_DF + 5, 0, 1);
    stub_put(s, IDT + 8 * X86_PF + 5, 0, 1);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_PF, true, 2, 0);
    g_assert_true(cpu->in_shutdown);
    stub_free(s);

    /* The stack itself is gone: #PF while delivering #PF doubles; with the IST of #DF it arrives. */
    s                              = long_mode(0);
    cpu                            = s->cpu;
    s->missing[(STACK0 - 1) >> 12] = true;
    stub_put(s, IDT + 16 * X86_DF + 4, 1, 1);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_PF, true, 2, 0);
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * X86_DF);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, IST1 - 48);
    g_assert_cmphex(stub_get(s, IST1 - 48, 8), ==, 0);
    g_assert_cmphex(stub_get(s, IST1 - 16, 8), ==, STACK0);
    g_assert_cmphex(cpu->cr2, ==, STACK0 - 8);
    g_assert_cmphex(cpu->seg[X86_SS].selector, ==, DATA0); /* no change of ring: SS stays */
    stub_free(s);
}

static void test_delivery_64(void)
{
    Stub   *s         = long_mode(3);
    X86Cpu *cpu       = s->cpu;
    cpu->gpr[X86_RSP] = STACK3 - 3;
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_PF, true, 7, 0);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, STACK_TS - 48);
    g_assert_cmphex(cpu->seg[X86_SS].selector, ==, 0);
    static const uint64_t frame[] = { 7, 0x7000, CODE64_3, EFLAGS_ONE | EFLAGS_RF, STACK3 - 3, DATA3 };
    for (unsigned i = 0; i < 6; i++) {
        g_assert_cmphex(stub_get(s, STACK_TS - 48 + 8 * i, 8), ==, frame[i]);
    }
    /* In ring 0 the stack stays, aligned down to 16. */
    cpu->gpr[X86_RSP] = STACK0 - 3;
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x30, false, 0, 0);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, STACK0 - 16 - 40);
    g_assert_cmphex(stub_get(s, STACK0 - 16 - 16, 8), ==, STACK0 - 3);
    /* A handler in a 32-bit segment is refused. */
    put_gate(s, IDT + 16 * 0x31, SYS_INT_GATE, 0, CODE0, 0x5000, 0);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x31, false, 0, 0);
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * X86_GP);
    g_assert_cmphex(stub_get(s, (uint32_t)cpu->gpr[X86_RSP], 8), ==, CODE0 + 1);
    stub_free(s);
}

static void test_delivery_real(void)
{
    Stub   *s   = stub_new("max");
    X86Cpu *cpu = s->cpu;
    x86_load_segment(cpu, X86_SS, 0);
    cpu->gpr[X86_RSP] = 0x8000;
    cpu->rip          = 0x1111;
    cpu->eflags |= EFLAGS_IF;
    stub_put(s, 4 * 0x10, 0x20000300, 4);
    x86_deliver(cpu, X86_EVENT_SOFTWARE, 0x10, false, 0, 0x1113);
    g_assert_cmphex(cpu->rip, ==, 0x300);
    g_assert_cmphex(cpu->seg[X86_CS].base, ==, 0x20000);
    g_assert_cmphex(stub_get(s, 0x7ffa, 2), ==, 0x1113);
    g_assert_cmphex(stub_get(s, 0x7ffc, 2), ==, 0xf000);
    g_assert_cmphex(stub_get(s, 0x7ffe, 2), ==, EFLAGS_IF | EFLAGS_ONE);
    g_assert_false(cpu->eflags & EFLAGS_IF);
    STUB_OK(s, x86_iret(cpu, 2));
    g_assert_cmphex(cpu->rip, ==, 0x1113);
    g_assert_true(cpu->eflags & EFLAGS_IF);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, 0x8000);
    /* No error code on the stack. An IDT of nothing shuts down. */
    stub_put(s, 4 * X86_GP, 0x20000300, 4);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_GP, true, 0, 0);
    g_assert_cmphex(cpu->gpr[X86_RSP], ==, 0x7ffa);
    cpu->idt.limit = 0;
    x86_deliver(cpu, X86_EVENT_SOFTWARE, 0x10, false, 0, 0x1113);
    g_assert_true(cpu->in_shutdown);
    stub_free(s);
}

static void test_priorities(void)
{
    Stub   *s   = long_mode(0);
    X86Cpu *cpu = s->cpu;
    g_assert_false(x86_take_interrupt(cpu));
    s->apic_vector = 0x50;
    vcpu_request(&cpu->vcpu, X86_REQUEST_INTR | X86_REQUEST_NMI);
    g_assert_true(x86_has_wakeup(cpu));
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * X86_NMI);
    g_assert_true(cpu->nmi_blocked);
    g_assert_false(x86_take_interrupt(cpu)); /* IF is clear */
    g_assert_false(x86_has_wakeup(cpu));
    vcpu_request(&cpu->vcpu, X86_REQUEST_NMI);
    g_assert_false(x86_has_wakeup(cpu));
    g_assert_false(x86_take_interrupt(cpu)); /* blocked until IRET */
    STUB_OK(s, x86_iret(cpu, 8));
    g_assert_cmphex(cpu->rip, ==, 0x7000);
    cpu->nmi_blocked = true;
    cpu->eflags |= EFLAGS_IF;
    cpu->interrupt_shadow = X86_SHADOW_STI;
    g_assert_false(x86_take_interrupt(cpu));
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * 0x50);
    g_assert_cmphex(vcpu_requests(&cpu->vcpu), ==, X86_REQUEST_NMI);
    /* INIT: an application processor waits for SIPI, and for nothing else. */
    cpu->bsp = false;
    vcpu_request(&cpu->vcpu, X86_REQUEST_INIT);
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_true(cpu->wait_for_sipi && cpu->vcpu.halted);
    vcpu_request(&cpu->vcpu, X86_REQUEST_NMI);
    g_assert_false(x86_has_wakeup(cpu));
    g_assert_false(x86_take_interrupt(cpu));
    cpu->sipi_vector = 0x9a;
    vcpu_request(&cpu->vcpu, X86_REQUEST_SIPI);
    g_assert_true(x86_has_wakeup(cpu));
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_cmphex(cpu->seg[X86_CS].base, ==, 0x9a000);
    g_assert_cmphex(cpu->rip, ==, 0);
    g_assert_false(cpu->wait_for_sipi || cpu->vcpu.halted);
    stub_free(s);
}

/* --- system management mode --- */

static void smm_changed(void *opaque, bool smm)
{
    *(int *)opaque += smm ? 1 : 100;
}

static void test_smm(void)
{
    Stub   *s        = long_mode(3);
    X86Cpu *cpu      = s->cpu;
    int     changes  = 0;
    cpu->board       = &changes;
    cpu->smm_changed = smm_changed;
    cpu->cr4 |= CR4_OSFXSR;
    cpu->cr3 = 0x5000;
    for (unsigned i = 0; i < 16; i++) {
        cpu->gpr[i] = UINT64_C(0x1111111111111111) * i;
    }
    x86_set_eflags(cpu, EFLAGS_IF | EFLAGS_ZF | EFLAGS_DF, UINT64_MAX);
    x86_set_null_segment(cpu, X86_DS, 0);
    x86_update_mode(cpu);
    X86Cpu *before = g_memdup2(cpu, sizeof *cpu);

    STUB_RAISES(s, x86_rsm(cpu), X86_UD, -1);
    vcpu_request(&cpu->vcpu, X86_REQUEST_SMI);
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_true(cpu->smm);
    g_assert_cmpint(changes, ==, 1);
    g_assert_cmpuint(cpu->cpl, ==, 0);
    g_assert_cmpint(cpu->code_size, ==, X86_CODE16);
    g_assert_cmphex(cpu->seg[X86_CS].base + cpu->rip, ==, 0x38000);
    g_assert_cmphex(cpu->seg[X86_DS].limit, ==, UINT32_MAX);
    g_assert_cmphex(cpu->cr0, ==, CR0_ET);
    g_assert_true(cpu->cr4 == 0 && cpu->efer == 0);
    /* Where firmware looks: revision, SMBASE, RIP, RAX. */
    g_assert_cmphex(stub_get(s, 0x3fefc, 4), ==, 0x20064);
    g_assert_cmphex(stub_get(s, 0x3ff00, 4), ==, 0x30000);
    g_assert_cmphex(stub_get(s, 0x3ff78, 8), ==, 0x7000);
    g_assert_cmphex(stub_get(s, 0x3fff0, 8), ==, 0x1111111111111111); /* RCX */
    g_assert_cmphex(stub_get(s, 0x3fed0, 8), ==, before->efer);
    /* NMI, SMI and INIT wait. */
    vcpu_request(&cpu->vcpu, X86_REQUEST_SMI | X86_REQUEST_NMI | X86_REQUEST_INIT);
    g_assert_false(x86_has_wakeup(cpu) || x86_take_interrupt(cpu));
    cpu->vcpu.requests = 0;

    stub_put(s, 0x3ff00, 0x60000, 4); /* SMBASE moves */
    bool halted = true;
    STUB_OK(s, halted = x86_rsm(cpu));
    g_assert_false(halted || cpu->smm || cpu->in_shutdown || cpu->nmi_blocked);
    g_assert_cmpint(changes, ==, 101);
    g_assert_cmphex(cpu->smbase, ==, 0x60000);
    g_assert_true(memcmp(cpu->gpr, before->gpr, sizeof cpu->gpr) == 0);
    g_assert_true(memcmp(cpu->seg, before->seg, sizeof cpu->seg) == 0);
    g_assert_true(memcmp(&cpu->tr, &before->tr, sizeof cpu->tr) == 0);
    g_assert_cmphex(cpu->gdt.base, ==, before->gdt.base);
    g_assert_cmphex(cpu->idt.limit, ==, before->idt.limit);
    g_assert_cmphex(x86_get_eflags(cpu), ==, x86_get_eflags(before));
    g_assert_true(cpu->cr0 == before->cr0 && cpu->cr3 == before->cr3 && cpu->cr4 == before->cr4);
    g_assert_true(cpu->efer == before->efer && cpu->rip == before->rip && cpu->mode_key == before->mode_key);

    /* Out of HLT and back into it; then a state that cannot be. */
    cpu->vcpu.halted = true;
    x86_enter_smm(cpu);
    g_assert_cmphex(cpu->seg[X86_CS].base, ==, 0x60000);
    g_assert_false(cpu->vcpu.halted);
    STUB_OK(s, halted = x86_rsm(cpu));
    g_assert_true(halted);
    x86_enter_smm(cpu);
    stub_put(s, 0x6ff58, CR0_ET | CR0_PG, 8);
    STUB_OK(s, x86_rsm(cpu));
    g_assert_true(cpu->in_shutdown && cpu->smm);
    g_assert_cmpuint(cpu->smi_count, ==, 3);
    x86_reset(cpu, false);
    g_assert_false(cpu->smm);
    g_assert_cmpint(changes, ==, 303);
    g_free(before);
    stub_free(s);
}

/* --- control registers --- */

typedef struct ControlCase {
    uint64_t cr0, cr3, cr4, efer; /* before */
    unsigned n;
    uint64_t value;
    bool     fine;
} ControlCase;

static void test_control_registers(void)
{
#define PM (CR0_PE | CR0_ET)
    static const ControlCase cases[] = {
        { CR0_ET, 0, 0, 0, 0, CR0_PE, true },
        { CR0_ET, 0, 0, 0, 0, CR0_PG, false },
        { CR0_ET, 0, 0, 0, 0, CR0_NW, false },
        { CR0_ET, 0, 0, 0, 0, CR0_NW | CR0_CD, true },
        { CR0_ET, 0, 0, 0, 0, UINT64_C(1) << 32, false },
        { CR0_ET, 0, 0, 0, 0, 0x00008000, true }, /* reserved bits below 32 are dropped */
        { PM, 0, 0, 0, 0, PM | CR0_PG, true },
        { PM, 0, 0, EFER_LME, 0, PM | CR0_PG, false }, /* long mode takes PAE */
        { PM, 0, CR4_PAE, EFER_LME, 0, PM | CR0_PG, true },
        { PM | CR0_PG, 0, CR4_PAE | CR4_PCIDE, EFER_LME | EFER_LMA, 0, PM, false },
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 0, PM, true }, /* from compatibility mode */
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 4, 0, false },
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 4, CR4_PAE | CR4_PCIDE, true },
        { PM | CR0_PG, 1, CR4_PAE, EFER_LME | EFER_LMA, 4, CR4_PAE | CR4_PCIDE, false }, /* CR3[11:0] */
        { PM | CR0_PG, 0, CR4_PAE, 0, 4, CR4_PAE | CR4_PCIDE, false },
        { PM, 0, 0, 0, 4, CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_SMEP | CR4_SMAP | CR4_UMIP | CR4_FSGSBASE, true },
        { PM, 0, 0, 0, 4, CR4_VME, true },
        { PM, 0, 0, 0, 4, CR4_LA57, false },
        { PM, 0, 0, 0, 4, 0x2000, false },   /* VMXE */
        { PM, 0, 0, 0, 4, 0x400000, false }, /* PKE */
        { PM, 0, 0, 0, 4, UINT64_C(1) << 32, false },
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 3, UINT64_C(1) << 40, false },
        { PM | CR0_PG, 0, CR4_PAE, EFER_LME | EFER_LMA, 3, UINT64_C(1) << 63, false },
        { PM | CR0_PG, 0, CR4_PAE | CR4_PCIDE, EFER_LME | EFER_LMA, 3, UINT64_C(1) << 63 | 0x1005, true },
        { PM, 0, 0, 0, 8, 15, true },
        { PM, 0, 0, 0, 8, 16, false },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const ControlCase *c   = &cases[i];
        Stub              *s   = protected_mode(0);
        X86Cpu            *cpu = s->cpu;
        cpu->cr0 = c->cr0, cpu->cr3 = c->cr3, cpu->cr4 = c->cr4, cpu->efer = c->efer;
        x86_update_mode(cpu);
        g_test_message("case %u", i);
        if (c->fine) {
            STUB_OK(s, x86_write_cr(cpu, c->n, c->value));
        } else {
            STUB_RAISES(s, x86_write_cr(cpu, c->n, c->value), X86_GP, 0);
            g_assert_true(cpu->cr0 == c->cr0 && cpu->cr3 == c->cr3 && cpu->cr4 == c->cr4 && cpu->efer == c->efer);
        }
        stub_free(s);
    }
#undef PM
    Stub *s = long_mode(0);
    STUB_RAISES(s, x86_write_cr(s->cpu, 0, CR0_PE), X86_GP, 0); /* paging off in 64-bit mode */
    STUB_RAISES(s, x86_write_cr(s->cpu, 1, 0), X86_UD, -1);
    stub_free(s);
    s = long_mode(3);
    STUB_RAISES(s, x86_read_cr(s->cpu, 0), X86_GP, 0);
    STUB_RAISES(s, x86_clts(s->cpu), X86_GP, 0);
    stub_free(s);

    /* PAE: a reserved bit in a page-directory-pointer entry refuses CR3 and the switch to paging. */
    s           = protected_mode(0);
    s->cpu->cr4 = CR4_PAE;
    stub_put(s, 0x20000 + 8, 0x21003, 8); /* R/W is reserved here */
    s->cpu->cr3 = 0x20000;
    STUB_RAISES(s, x86_write_cr(s->cpu, 0, CR0_PE | CR0_PG), X86_GP, 0);
    stub_put(s, 0x20000 + 8, 0x21001, 8);
    STUB_OK(s, x86_write_cr(s->cpu, 0, CR0_PE | CR0_PG));
    stub_put(s, 0x22000, UINT64_C(1) << 52 | 1, 8);
    STUB_RAISES(s, x86_write_cr(s->cpu, 3, 0x22000), X86_GP, 0);
    stub_free(s);

    /* LMSW sets PE and never clears it. */
    s = stub_new("max");
    STUB_OK(s, x86_lmsw(s->cpu, CR0_PE | CR0_TS));
    g_assert_cmphex(s->cpu->cr0 & 0xf, ==, CR0_PE | CR0_TS);
    STUB_OK(s, x86_lmsw(s->cpu, 0));
    g_assert_cmphex(s->cpu->cr0 & 0xf, ==, CR0_PE);
    stub_free(s);
}

static void test_long_mode_activation(void)
{
    Stub   *s   = protected_mode(0);
    X86Cpu *cpu = s->cpu;
    STUB_OK(s, x86_write_cr(cpu, 4, CR4_PAE));
    STUB_OK(s, x86_wrmsr(cpu, 0xc0000080, EFER_LME | EFER_NXE | EFER_SCE));
    STUB_OK(s, x86_write_cr(cpu, 0, CR0_PE | CR0_PG));
    g_assert_true(cpu->long_mode);
    g_assert_cmpint(cpu->code_size, ==, X86_CODE32);
    STUB_RAISES(s, x86_wrmsr(cpu, 0xc0000080, EFER_NXE), X86_GP, 0); /* LME while paging */
    STUB_OK(s, x86_wrmsr(cpu, 0xc0000080, EFER_LME | EFER_SCE));
    g_assert_true(cpu->efer & EFER_LMA);
    STUB_RAISES(s, x86_wrmsr(cpu, 0xc0000080, EFER_LME | 2), X86_GP, 0);
    STUB_OK(s, x86_write_cr(cpu, 0, CR0_PE));
    g_assert_false(cpu->long_mode);
    stub_free(s);
}

static void test_debug_registers(void)
{
    Stub   *s   = protected_mode(0);
    X86Cpu *cpu = s->cpu;
    STUB_OK(s, x86_write_dr(cpu, 7, 0xffffffff & ~(uint64_t)DR7_GD));
    g_assert_cmphex(cpu->dr[7], ==, 0xffff07ff);
    STUB_OK(s, x86_write_dr(cpu, 6, 0));
    g_assert_cmphex(cpu->dr[6], ==, DR6_FIXED);
    STUB_OK(s, x86_write_dr(cpu, 4, 0xffffffff)); /* DR6 under its old name */
    g_assert_cmphex(cpu->dr[6], ==, DR6_FIXED | DR6_WRITABLE);
    STUB_RAISES(s, x86_write_dr(cpu, 7, UINT64_C(1) << 32), X86_GP, 0);
    cpu->cr4 = CR4_DE;
    STUB_RAISES(s, x86_read_dr(cpu, 5), X86_UD, -1);
    STUB_OK(s, x86_write_dr(cpu, 7, DR7_GD));
    STUB_RAISES(s, x86_read_dr(cpu, 0), X86_DB, -1);
    g_assert_true(cpu->dr[6] & DR6_BD);
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_DB, false, 0, 0);
    g_assert_false(cpu->dr[7] & DR7_GD);
    g_assert_true(stub_get(s, (uint32_t)cpu->gpr[X86_RSP] + 8, 4) & EFLAGS_RF);
    stub_free(s);
}

static void test_xcr0(void)
{
    Stub   *s   = stub_new("max");
    X86Cpu *cpu = s->cpu;
    if (!x86_has(cpu, X86_FEATURE_AVX)) {
        g_test_skip("the host has no AVX");
        stub_free(s);
        return;
    }
    STUB_RAISES(s, x86_xgetbv(cpu, 0), X86_UD, -1);
    STUB_OK(s, x86_write_cr(cpu, 4, CR4_OSXSAVE));
    STUB_OK(s, x86_xsetbv(cpu, 0, 7));
    static const uint64_t bad[] = { 0, 2, 5, 6, 0xb, 0x27, UINT64_C(1) << 63 | 7 };
    for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
        STUB_RAISES(s, x86_xsetbv(cpu, 0, bad[i]), X86_GP, 0);
    }
    STUB_RAISES(s, x86_xsetbv(cpu, 1, 7), X86_GP, 0);
    g_assert_cmphex(x86_xgetbv(cpu, 0), ==, 7);
    stub_free(s);
}

static void test_io_permission(void)
{
    Stub   *s   = protected_mode(3);
    X86Cpu *cpu = s->cpu;
    stub_put(s, TSS + 0x66, 0x68, 2);
    cpu->tr.limit = 0x68 + 4; /* ports 0 to 31, and the byte of ones after them */
    stub_put(s, TSS + 0x68, 0, 4);
    stub_put(s, TSS + 0x6c, 0xff, 1);
    STUB_OK(s, x86_check_io(cpu, 0, 4));
    STUB_OK(s, x86_check_io(cpu, 28, 4));
    STUB_RAISES(s, x86_check_io(cpu, 29, 4), X86_GP, 0);
    STUB_RAISES(s, x86_check_io(cpu, 32, 1), X86_GP, 0);
    stub_put(s, TSS + 0x68, 0x10, 4);
    STUB_RAISES(s, x86_check_io(cpu, 2, 4), X86_GP, 0);
    STUB_OK(s, x86_check_io(cpu, 2, 2));
    cpu->eflags |= EFLAGS_IOPL;
    STUB_OK(s, x86_check_io(cpu, 32, 1));
    cpu->eflags |= EFLAGS_VM;
    x86_update_mode(cpu);
    STUB_RAISES(s, x86_check_io(cpu, 32, 1), X86_GP, 0);
    cpu->tr.limit = 0x66;
    STUB_RAISES(s, x86_check_io(cpu, 0, 1), X86_GP, 0);
    stub_free(s);
}

/* --- MSRs --- */

static void test_msr_table(void)
{
    uint32_t    first, count, end = 0;
    const char *name;
    bool        begun = false;
    for (size_t i = 0; (name = x86_msr_row(i, &first, &count)) != NULL; i++) {
        g_assert_true(!begun || first >= end); /* sorted, without overlap: it is searched by halves */
        g_assert_cmpuint(count, >, 0);
        end   = first + count;
        begun = true;
    }
    /* Whatever can be read can be read before long mode, and written back without a change. */
    static const char *const names[] = { "max", "qemu64", "kvm64", "qemu32",
                                         "max,vendor=GenuineIntel,+arch-capabilities,+spec-ctrl,+flush-l1d" };
    for (unsigned m = 0; m < G_N_ELEMENTS(names); m++) {
        Stub *s = stub_new(names[m]);
        for (size_t i = 0; x86_msr_row(i, &first, &count) != NULL; i++) {
            for (uint32_t index = first; index < first + count; index++) {
                uint64_t value, again;
                if (x86_get_msr(s->cpu, index, &value) && x86_set_msr(s->cpu, index, value)) {
                    g_assert_true(x86_get_msr(s->cpu, index, &again));
                    g_assert_true(value == again || index == 0x10);
                }
            }
        }
        stub_free(s);
    }
}

typedef struct MsrCase {
    uint32_t index;
    uint64_t value;
    bool     fine;
} MsrCase;

static void test_msr_writes(void)
{
    static const MsrCase cases[] = {
        { 0x277, UINT64_C(0x0007040600070406), true },
        { 0x277, UINT64_C(0x0007040600070402), false },
        { 0x277, UINT64_C(0x0807040600070406), false },
        { 0x200, 0x00000006, true },
        { 0x200, 0x00000002, false },
        { 0x200, 0x00000106, false },
        { 0x200, UINT64_C(1) << 40, false },
        { 0x201, 0xfff00800, true },
        { 0x201, 0xfff00400, false },
        { 0x210, 0, false },
        { 0x250, UINT64_C(0x0606060606060606), true },
        { 0x250, UINT64_C(0x0606060606060607), false },
        { 0x259, UINT64_C(0x1e06060606060606), false },
        { 0x26f, UINT64_C(0x0505050505050505), true },
        { 0x2ff, 0xc06, true },
        { 0x2ff, 0x1c06, false },
        { 0x2ff, 0xc07, false },
        { 0xfe, 0x508, false },
        { 0x179, 0, false },
        { 0x17a, 7, true },
        { 0x17a, 8, false },
        { 0x400, UINT64_MAX, true },
        { 0x401, 0, true },
        { 0x401, 1, false },
        { 0x428, 0, false },
        { 0x174, 8, true },
        { 0x175, UINT64_C(0xffff800000000000), true },
        { 0x175, UINT64_C(0x0000800000000000), false },
        { 0xc0000082, UINT64_C(0x8000000000000000), false },
        { 0xc0000084, UINT64_C(0x100000000), false },
        { 0xc0000100, UINT64_C(0x00007fffffffffff), true },
        { 0xc0000101, UINT64_C(0x0001000000000000), false },
        { 0xc0000102, UINT64_C(0xffffffffffffffff), true },
        { 0xc0000103, UINT64_C(0x100000000), false },
        { 0xc0010015, 0x01000040, true },
        { 0xc0010015, 0x200, false }, /* MonMwaitDis */
        { 0xc0011029, 2, true },
        { 0x48, 1, false }, /* no SPEC_CTRL offered */
        { 0x49, 1, false },
        { 0x1d9, 2, false }, /* BTF is not built */
        { 0x8b, 0, true },
        { 0x12345, 0, false },
        { 0x4b564d00, 0, false },
        { 0xc0010000, 0, false },
    };
    Stub *s = protected_mode(0);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("MSR %x, %" PRIx64, cases[i].index, cases[i].value);
        if (cases[i].fine) {
            STUB_OK(s, x86_wrmsr(s->cpu, cases[i].index, cases[i].value));
        } else {
            STUB_RAISES(s, x86_wrmsr(s->cpu, cases[i].index, cases[i].value), X86_GP, 0);
        }
    }
    STUB_RAISES(s, x86_rdmsr(s->cpu, 0x49), X86_GP, 0);
    stub_free(s);
    s = protected_mode(3);
    STUB_RAISES(s, x86_rdmsr(s->cpu, 0x10), X86_GP, 0);
    stub_free(s);
    s = stub_new("qemu64");
    STUB_RAISES(s, x86_rdmsr(s->cpu, 0x3b), X86_GP, 0);
    STUB_RAISES(s, x86_rdmsr(s->cpu, 0x6e0), X86_GP, 0);
    STUB_RAISES(s, x86_wrmsr(s->cpu, 0x1b, 0xfee00000 | APIC_BASE_ENABLE | APIC_BASE_X2APIC), X86_GP, 0);
    stub_free(s);
}

static void test_misc_enable(void)
{
    Stub   *s   = stub_new("max");
    X86Cpu *cpu = s->cpu;
    g_assert_true(x86_cpuid(cpu, 1, 0).ecx & 8);
    STUB_OK(s, x86_wrmsr(cpu, 0x1a0, x86_rdmsr(cpu, 0x1a0) & ~MISC_ENABLE_MONITOR));
    g_assert_false(x86_cpuid(cpu, 1, 0).ecx & 8);
    STUB_OK(s, x86_wrmsr(cpu, 0x1a0, x86_rdmsr(cpu, 0x1a0) | MISC_ENABLE_LIMIT_CPUID));
    g_assert_cmpuint(x86_cpuid(cpu, 0, 0).eax, ==, 3);
    STUB_OK(s, x86_wrmsr(cpu, 0x1a0, x86_rdmsr(cpu, 0x1a0) | MISC_ENABLE_XD_DISABLE));
    STUB_RAISES(s, x86_wrmsr(cpu, 0xc0000080, EFER_NXE), X86_GP, 0);
    STUB_RAISES(s, x86_wrmsr(cpu, 0x1a0, x86_rdmsr(cpu, 0x1a0) | 0x80), X86_GP, 0);
    x86_reset(cpu, false);
    g_assert_true(x86_cpuid(cpu, 1, 0).ecx & 8);
    stub_free(s);
}

/* --- time --- */

static void test_tsc(void)
{
    Stub   *s   = stub_new("max");
    X86Cpu *cpu = s->cpu;
    g_assert_cmpuint(x86_rdtsc(cpu), ==, 0);
    if (cpu->tsc_from_clock) {
        g_test_skip("the host's TSC is not invariant");
        stub_free(s);
        return;
    }
    x86_tsc_set_running(NULL, true);
    uint64_t a = x86_rdtsc(cpu);
    g_usleep(2000);
    uint64_t b = x86_rdtsc(cpu);
    g_assert_cmpuint(b - a, >, cpu->tsc_hz / 1000);
    x86_tsc_set_running(NULL, false);
    b = x86_rdtsc(cpu);
    g_usleep(1000);
    g_assert_cmpuint(x86_rdtsc(cpu), ==, b);
    x86_tsc_set_running(NULL, true);
    g_assert_cmpuint(x86_rdtsc(cpu) - b, <, cpu->tsc_hz / 100);
    x86_tsc_set_running(NULL, false);
    /* TSC and TSC_ADJUST move each other. */
    b = x86_rdtsc(cpu);
    STUB_OK(s, x86_wrmsr(cpu, 0x3b, 0));
    STUB_OK(s, x86_wrmsr(cpu, 0x10, 1000000));
    g_assert_cmpuint(x86_rdmsr(cpu, 0x3b), ==, 1000000 - b);
    STUB_OK(s, x86_wrmsr(cpu, 0x3b, 5 - b));
    g_assert_cmpuint(x86_rdtsc(cpu), ==, 5);
    s->now = 1000;
    g_assert_cmpint(x86_tsc_to_ns(cpu, 5 + cpu->tsc_hz), ==, 1000 + NS_PER_SECOND);
    g_assert_cmpint(x86_tsc_to_ns(cpu, 0), <=, 1000);
    g_assert_cmpint(x86_tsc_to_ns(cpu, UINT64_MAX), >, 0);
    x86_tsc_use_clock(cpu);
    g_assert_cmpuint(x86_rdtsc(cpu), ==, 5);
    s->now += NS_PER_SECOND;
    g_assert_cmpuint(x86_rdtsc(cpu), <=, 5 + cpu->tsc_hz);
    g_assert_cmpuint(x86_rdtsc(cpu), >=, 4 + cpu->tsc_hz);
    stub_free(s);
}

static void test_dump(void)
{
    Stub *s                = long_mode(3);
    g_autoptr(GString) out = g_string_new(NULL);
    x86_dump(s->cpu, out);
    x86_dump_vectors(s->cpu, out);
    g_assert_nonnull(strstr(out->str, "RIP=0000000000007000 RFL=00000002 [-------] CPL=3 II=0 A20=1 SMM=0 HLT=0\n"));
    g_assert_nonnull(strstr(out->str, "CS =0093 0000000000000000 ffffffff 00affb00 DPL=3 CS64 [-RA]\n"));
    g_assert_nonnull(strstr(out->str, "TR =0048 0000000000004000 00000067 00008b00 DPL=0 TSS64-busy\n"));
    stub_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x86-system/segment-loads", test_segment_loads);
    g_test_add_func("/x86-system/null-stack-64", test_null_stack_64);
    g_test_add_func("/x86-system/real-mode-loads", test_real_mode_loads);
    g_test_add_func("/x86-system/ldt-and-tr", test_ldt_and_tr);
    g_test_add_func("/x86-system/lar-lsl-verr-verw", test_lar_lsl_verr_verw);
    g_test_add_func("/x86-system/call-gate", test_call_gate_with_parameters);
    g_test_add_func("/x86-system/call-gate-64", test_call_gate_64);
    g_test_add_func("/x86-system/direct-far", test_direct_far);
    g_test_add_func("/x86-system/iret-rings", test_iret_rings);
    g_test_add_func("/x86-system/vm86", test_vm86);
    g_test_add_func("/x86-system/task-switch", test_task_switch);
    g_test_add_func("/x86-system/task-gate-loop", test_task_gate_loop);
    g_test_add_func("/x86-system/syscall", test_syscall);
    g_test_add_func("/x86-system/fault-pairs", test_fault_pairs);
    g_test_add_func("/x86-system/error-codes", test_error_codes);
    g_test_add_func("/x86-system/double-and-triple-fault", test_double_and_triple_fault);
    g_test_add_func("/x86-system/delivery-64", test_delivery_64);
    g_test_add_func("/x86-system/delivery-real", test_delivery_real);
    g_test_add_func("/x86-system/priorities", test_priorities);
    g_test_add_func("/x86-system/smm", test_smm);
    g_test_add_func("/x86-system/control-registers", test_control_registers);
    g_test_add_func("/x86-system/long-mode", test_long_mode_activation);
    g_test_add_func("/x86-system/debug-registers", test_debug_registers);
    g_test_add_func("/x86-system/xcr0", test_xcr0);
    g_test_add_func("/x86-system/io-permission", test_io_permission);
    g_test_add_func("/x86-system/msr-table", test_msr_table);
    g_test_add_func("/x86-system/msr-writes", test_msr_writes);
    g_test_add_func("/x86-system/misc-enable", test_misc_enable);
    g_test_add_func("/x86-system/tsc", test_tsc);
    g_test_add_func("/x86-system/dump", test_dump);
    return g_test_run();
}
