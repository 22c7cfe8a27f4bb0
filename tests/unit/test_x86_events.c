/* The system side of the CPU on its own: exceptions and interrupts, faults while faulting, SMM, machine checks. */

#include "cpu/x86/mce.h"
#include "x86_tables.h"

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

/* RSM of a state that cannot be shuts the processor down (SDM 3, 32.4.1). */
static void test_rsm_bad_states(void)
{
    enum { LONG = 1, GOOD = 2 };
    static const struct {
        const char *what;
        uint32_t    field;
        uint64_t    clear, set;
        unsigned    flags;
    } rows[] = {
        { "nothing", 0xff58, 0, 0, GOOD },
        { "nothing in long mode", 0xff58, 0, 0, LONG | GOOD },
        { "PG without PE", 0xff58, CR0_PE, CR0_PG, 0 },
        { "NW without CD", 0xff58, CR0_CD, CR0_NW, 0 },
        { "NW with CD", 0xff58, 0, CR0_NW | CR0_CD, GOOD },
        { "the upper half of CR0", 0xff58, 0, UINT64_C(1) << 32, LONG },
        { "a reserved bit of CR4", 0xff48, 0, UINT64_C(1) << 15, 0 },
        { "the upper half of CR4", 0xff48, 0, UINT64_C(1) << 40, LONG },
        { "a feature in CR4 that is not offered", 0xff48, 0, UINT64_C(1) << 25, 0 },
        { "a reserved bit of EFER", 0xfed0, 0, UINT64_C(2), 0 },
        { "LMA without LME", 0xfed0, EFER_LME, 0, LONG },
        { "LMA without paging", 0xff58, CR0_PG, 0, LONG },
        { "LMA without PAE", 0xff48, CR4_PAE, 0, LONG },
        { "LME and PG without LMA", 0xfed0, EFER_LMA, 0, LONG },
        { "PCIDE outside of long mode", 0xff48, 0, CR4_PCIDE, 0 },
        { "reserved bits of CR3", 0xff50, 0, UINT64_C(1) << 62, LONG },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Stub   *s   = rows[i].flags & LONG ? long_mode(0) : protected_mode(0);
        X86Cpu *cpu = s->cpu;
        g_test_message("%s", rows[i].what);
        x86_enter_smm(cpu);
        uint32_t at = 0x30000 + rows[i].field;
        stub_put(s, at, (stub_get(s, at, 8) & ~rows[i].clear) | rows[i].set, 8);
        STUB_OK(s, x86_rsm(cpu));
        g_assert_cmpint(cpu->in_shutdown, ==, !(rows[i].flags & GOOD));
        g_assert_cmpint(cpu->smm, ==, !(rows[i].flags & GOOD));
        stub_free(s);
    }
}

/* --- machine checks from outside --- */

static void test_mce(void)
{
    static const X86MceError corrected = { .bank = 3, .status = MCI_STATUS_VAL | 0x150, .addr = 0x1000, .misc = 7 };
    static const X86MceError fatal     = { .bank       = 3,
                                           .status     = MCI_STATUS_VAL | MCI_STATUS_UC | MCI_STATUS_PCC | 0x151,
                                           .mcg_status = MCG_STATUS_EIPV,
                                           .addr       = 0x2000 };
    static const X86MceError optional  = { .bank       = 2,
                                           .status     = MCI_STATUS_VAL | MCI_STATUS_UC | MCI_STATUS_S | 0x17a,
                                           .mcg_status = MCG_STATUS_RIPV,
                                           .addr       = 0x3000 };
    Stub                    *s         = long_mode(0);
    X86Cpu                  *cpu       = s->cpu;
    uint64_t                *bank      = cpu->mc_bank[3];

    /* Corrected ones are logged, the last one stays. */
    cpu->cr4 |= CR4_MCE;
    g_assert_cmpint(x86_mce_record(cpu, &corrected), ==, X86_MCE_LOGGED);
    g_assert_true(bank[1] == corrected.status && bank[2] == 0x1000 && bank[3] == 7);
    g_assert_cmpint(x86_mce_record(cpu, &corrected), ==, X86_MCE_LOGGED);
    g_assert_cmphex(bank[1], ==, corrected.status | MCI_STATUS_OVER);
    g_assert_cmphex(vcpu_requests(&cpu->vcpu), ==, 0);
    g_assert_cmphex(cpu->mcg_status, ==, 0);

    /* An uncorrected one displaces them, and interrupts, with IF clear, NMIs blocked and halted. */
    cpu->nmi_blocked = true;
    cpu->vcpu.halted = true;
    g_assert_cmpint(x86_mce_record(cpu, &fatal), ==, X86_MCE_REPORTED);
    g_assert_cmphex(bank[1], ==, fatal.status | MCI_STATUS_OVER);
    g_assert_cmphex(bank[2], ==, 0x2000);
    g_assert_cmphex(cpu->mcg_status, ==, MCG_STATUS_EIPV | MCG_STATUS_MCIP);
    g_assert_true(x86_has_wakeup(cpu));
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_cmphex(cpu->rip, ==, HANDLERS + 16 * X86_MC);
    g_assert_false(cpu->vcpu.halted || cpu->in_shutdown);
    g_assert_cmphex(stub_get(s, (uint32_t)cpu->gpr[X86_RSP], 8), ==, 0x7000); /* no error code */

    /* Corrected ones do not displace it. */
    g_assert_cmpint(x86_mce_record(cpu, &corrected), ==, X86_MCE_LOGGED);
    g_assert_cmphex(bank[2], ==, 0x2000);

    /* While MCIP is set: what is optional can wait, unless told otherwise; another one is the end. */
    g_assert_cmpint(x86_mce_record(cpu, &optional), ==, X86_MCE_POSTPONED);
    g_assert_true(cpu->mc_bank[2][1] == 0 && vcpu_requests(&cpu->vcpu) == 0);
    cpu->mcg_status = 0;
    g_assert_cmpint(x86_mce_record(cpu, &optional), ==, X86_MCE_REPORTED);
    g_assert_cmphex(cpu->mcg_status, ==, MCG_STATUS_RIPV | MCG_STATUS_MCIP);
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_cmpint(x86_mce_record(cpu, &fatal), ==, X86_MCE_SHUTDOWN);
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_true(cpu->in_shutdown);
    x86_reset(cpu, false);
    g_assert_false(cpu->mce_fatal);
    stub_free(s);

    s   = long_mode(0);
    cpu = s->cpu;
    cpu->cr4 |= CR4_MCE;
    cpu->mcg_status         = MCG_STATUS_MCIP;
    X86MceError insistent   = optional;
    insistent.unconditional = true;
    g_assert_cmpint(x86_mce_record(cpu, &insistent), ==, X86_MCE_SHUTDOWN);
    stub_free(s);

    /* A second uncorrected one in a bank that was not cleared: the first stays. */
    s   = long_mode(0);
    cpu = s->cpu;
    cpu->cr4 |= CR4_MCE;
    g_assert_cmpint(x86_mce_record(cpu, &fatal), ==, X86_MCE_REPORTED);
    g_assert_true(x86_take_interrupt(cpu));
    cpu->mcg_status    = 0;
    X86MceError second = fatal;
    second.addr        = 0x9000;
    g_assert_cmpint(x86_mce_record(cpu, &second), ==, X86_MCE_REPORTED);
    g_assert_cmphex(cpu->mc_bank[3][1], ==, fatal.status | MCI_STATUS_OVER);
    g_assert_cmphex(cpu->mc_bank[3][2], ==, 0x2000);
    g_assert_true(x86_take_interrupt(cpu));
    /* Reporting that is switched off. */
    cpu->mcg_status    = 0;
    cpu->mc_bank[3][0] = 0;
    g_assert_cmpint(x86_mce_record(cpu, &second), ==, X86_MCE_DISABLED);
    cpu->mc_bank[3][0] = UINT64_MAX;
    cpu->mcg_ctl       = 0;
    g_assert_cmpint(x86_mce_record(cpu, &second), ==, X86_MCE_DISABLED);
    cpu->mcg_ctl = UINT64_MAX;
    /* Nobody is there to hear of it: CR4.MCE clear, and a processor that waits for a SIPI. */
    cpu->cr4 &= ~CR4_MCE;
    g_assert_cmpint(x86_mce_record(cpu, &second), ==, X86_MCE_SHUTDOWN);
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_true(cpu->in_shutdown);
    x86_reset(cpu, false);
    cpu->wait_for_sipi = true;
    g_assert_cmpint(x86_mce_record(cpu, &second), ==, X86_MCE_SHUTDOWN);
    g_assert_true(x86_has_wakeup(cpu));
    g_assert_true(x86_take_interrupt(cpu));
    g_assert_true(cpu->in_shutdown);
    stub_free(s);
}

static void test_mce_refused(void)
{
    static const struct {
        const char *model, *error;
        X86MceError e;
    } rows[] = {
        { "max", "no machine-check bank 10", { .bank = 10, .status = MCI_STATUS_VAL } },
        { "max", "bit 63 is clear", { .bank = 1, .status = 1 } },
        { "EPYC", "does not broadcast", { .bank = 1, .status = MCI_STATUS_VAL, .broadcast = true } },
        { "486", "no machine-check architecture", { .bank = 1, .status = MCI_STATUS_VAL } },
    };
    for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
        Stub         *s = stub_new(rows[i].model);
        X86MceOutcome outcome;
        g_auto(Error) err = { 0 };
        g_assert_false(x86_mce_inject(s->cpu, &rows[i].e, &outcome, &err));
        g_assert_nonnull(strstr(err.text, rows[i].error));
        stub_free(s);
    }
    Stub         *s = stub_new("Nehalem");
    X86MceOutcome outcome;
    g_auto(Error) err = { 0 };
    s->cpu->cr4 |= CR4_MCE;
    X86MceError e = { .bank = 9, .status = MCI_STATUS_VAL | MCI_STATUS_UC, .broadcast = true };
    g_assert_true(x86_mce_inject(s->cpu, &e, &outcome, &err));
    g_assert_cmpint(outcome, ==, X86_MCE_REPORTED);
    stub_free(s);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/x86-events/fault-pairs", test_fault_pairs);
    g_test_add_func("/x86-events/error-codes", test_error_codes);
    g_test_add_func("/x86-events/double-and-triple-fault", test_double_and_triple_fault);
    g_test_add_func("/x86-events/delivery-64", test_delivery_64);
    g_test_add_func("/x86-events/delivery-real", test_delivery_real);
    g_test_add_func("/x86-events/priorities", test_priorities);
    g_test_add_func("/x86-events/smm", test_smm);
    g_test_add_func("/x86-events/rsm-bad-states", test_rsm_bad_states);
    g_test_add_func("/x86-events/mce", test_mce);
    g_test_add_func("/x86-events/mce-refused", test_mce_refused);
    return g_test_run();
}
