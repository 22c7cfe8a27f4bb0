/* The system side of the CPU on its own: descriptors, segment loads, far transfers, tasks, system calls. */

#include "x86_tables.h"

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
    g_assert_cmphex(r, ==, 0x00cff200); /* with the limit's bits, as processors do */
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

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x86-segments/segment-loads", test_segment_loads);
    g_test_add_func("/x86-segments/null-stack-64", test_null_stack_64);
    g_test_add_func("/x86-segments/real-mode-loads", test_real_mode_loads);
    g_test_add_func("/x86-segments/ldt-and-tr", test_ldt_and_tr);
    g_test_add_func("/x86-segments/lar-lsl-verr-verw", test_lar_lsl_verr_verw);
    g_test_add_func("/x86-segments/call-gate", test_call_gate_with_parameters);
    g_test_add_func("/x86-segments/call-gate-64", test_call_gate_64);
    g_test_add_func("/x86-segments/direct-far", test_direct_far);
    g_test_add_func("/x86-segments/iret-rings", test_iret_rings);
    g_test_add_func("/x86-segments/vm86", test_vm86);
    g_test_add_func("/x86-segments/task-switch", test_task_switch);
    g_test_add_func("/x86-segments/task-gate-loop", test_task_gate_loop);
    g_test_add_func("/x86-segments/syscall", test_syscall);
    return g_test_run();
}
