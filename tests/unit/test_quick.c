/* The short ways of interrupts and IRET in long mode (quick.c) against the long ones: from random states, valid and
 * not, both come to the same. With an empty TLB the short ways are never taken. */

#include "guest.h"

#include "base/bytes.h"
#include "cpu/x86/quick.h"

#include <string.h>

enum {
    ROUNDS  = 40000,
    LOW     = 0x5000, /* GDT, IDT and TSS lie below it */
    STACK   = GUEST_STACK - 0x20000,
    N_STACK = 0x21000,
};

typedef struct Snapshot {
    X86Cpu  cpu;
    uint8_t low[LOW], stack[N_STACK];
} Snapshot;

static void take(Guest *g, Snapshot *s)
{
    s->cpu = *g->cpus[0];
    memcpy(s->low, g->host, LOW);
    memcpy(s->stack, g->host + STACK, N_STACK);
}

static void restore(Guest *g, const Snapshot *s)
{
    *g->cpus[0] = s->cpu;
    memcpy(g->host, s->low, LOW);
    memcpy(g->host + STACK, s->stack, N_STACK);
    x86_update_mode(g->cpus[0]);
}

static bool same(const Snapshot *a, const Snapshot *b)
{
    const X86Cpu *x = &a->cpu, *y = &b->cpu;
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        const X86Segment *s = &x->seg[i], *t = &y->seg[i];
        if (s->base != t->base || s->limit != t->limit || s->attr != t->attr || s->selector != t->selector) {
            return false;
        }
    }
    return !memcmp(x->gpr, y->gpr, sizeof x->gpr) && x86_get_eflags(x) == x86_get_eflags(y) && x->cr2 == y->cr2 &&
           x->mode_key == y->mode_key && x->cpl == y->cpl && x->stack_size == y->stack_size &&
           x->in_shutdown == y->in_shutdown && x->nmi_blocked == y->nmi_blocked && x->n_events == y->n_events &&
           x->pending_vector == y->pending_vector && x->fault.vector == y->fault.vector &&
           x->fault.error == y->fault.error && !memcmp(a->low, b->low, LOW) && !memcmp(a->stack, b->stack, N_STACK);
}

/* --- states --- */

/* One of many, mostly the first. */
static uint64_t pick(GRand *r, const uint64_t *from, unsigned n)
{
    return g_rand_int_range(r, 0, 10) < 8 ? from[0] : from[g_rand_int_range(r, 0, (int)n)];
}
#define PICK(r, ...) pick(r, (const uint64_t[]){ __VA_ARGS__ }, G_N_ELEMENTS(((const uint64_t[]){ __VA_ARGS__ })))

static uint64_t random_stack(GRand *r)
{
    uint64_t sp = GUEST_STACK - 0x800 - (uint64_t)g_rand_int_range(r, 0, 0x800);
    return PICK(r, sp & ~UINT64_C(15), sp, GUEST_STACK - 0x1000 + 8, GUEST_STACK - 0x1000 + 24,
                UINT64_C(0x800000000010), 0x600010, sp & ~UINT64_C(7));
}

static void random_state(Guest *g, GRand *r, unsigned ring)
{
    X86Cpu *cpu = g->cpus[0];

    guest_set_mode(g, 0, ring == 3 && PICK(r, 0, 1) ? GUEST_COMPAT32 : GUEST_LONG64, ring);
    guest_map(g, 0x600000, 0, 0);
    for (uint64_t at = STACK; at < STACK + N_STACK; at += 0x1000) {
        guest_map(g, at, at, PICK(r, 0x67, 0x63, 0x61, 0));
    }
    for (unsigned i = 0; i < N_STACK; i += 8) {
        store_le64(g->host + STACK + i, i * UINT64_C(0x0101010101010101));
    }
    cpu->cr0 |= PICK(r, CR0_WP, CR0_AM, 0);
    cpu->cr4 |= PICK(r, 0, CR4_SMAP);
    x86_set_eflags(cpu, g_rand_int(r), EFLAGS_ARITH | EFLAGS_IF | EFLAGS_IOPL);
    x86_set_eflags(cpu, PICK(r, 0, EFLAGS_AC, EFLAGS_NT, EFLAGS_RF, EFLAGS_TF),
                   EFLAGS_AC | EFLAGS_NT | EFLAGS_RF | EFLAGS_TF);
    cpu->gpr[X86_RSP] = random_stack(r);
    cpu->nmi_blocked  = g_rand_boolean(r);
    cpu->idt.limit    = (uint16_t)PICK(r, 0xfff, 0x3f);
    cpu->gdt.limit    = (uint16_t)PICK(r, 0xfff, 0xb);
    cpu->tr.limit     = (uint32_t)PICK(r, 0xfff, 8);
    /* Access bytes and flags of the segments. */
    static const uint16_t selectors[] = { GUEST_CS64, GUEST_DS, GUEST_US64, GUEST_UDS };
    for (unsigned i = 0; i < G_N_ELEMENTS(selectors); i++) {
        uint8_t *d = g->host + GUEST_GDT + selectors[i];
        d[5]       = (uint8_t)((d[5] | 1) ^ PICK(r, 0, 1, 2, 4, 8, 0x10, 0x20, 0x60, 0x80));
        d[6]       = (uint8_t)(d[6] ^ PICK(r, 0, 0x20, 0x40));
    }
    store_le64(g->host + GUEST_TSS + 4, random_stack(r));
    store_le64(g->host + GUEST_TSS + 0x24, random_stack(r));
    x86_tlb_flush(cpu, true);
    x86_update_mode(cpu);
}

typedef struct Delivered {
    X86Event event;
    unsigned vector;
    bool     has_error;
} Delivered;

static void random_gate(Guest *g, GRand *r, unsigned vector)
{
    uint8_t *gate   = g->host + GUEST_IDT + 16 * vector;
    uint64_t offset = PICK(r, GUEST_CODE + 0x123, UINT64_C(0xffff800000001234), UINT64_C(0x1234800000000000));
    store_le16(gate, (uint16_t)offset);
    store_le16(gate + 2, (uint16_t)PICK(r, GUEST_CS64, GUEST_CS64 | 3, GUEST_CS32, GUEST_US64, GUEST_DS, 0, 0xff8,
                                        GUEST_CS64 | 4));
    gate[4] = (uint8_t)PICK(r, 0, 1, 2);
    gate[5] = (uint8_t)PICK(r, 0x8e, 0xee, 0x8f, 0xef, 0x0e, 0x86, 0x85);
    store_le16(gate + 6, (uint16_t)(offset >> 16));
    store_le32(gate + 8, (uint32_t)(offset >> 32));
}

/* --- both ways --- */

/* Runs what `run` does with an empty TLB and with what that has left in it. */
static void compare(Guest *g, void (*run)(X86Cpu *cpu, const Delivered *d),
                    bool (*quick)(X86Cpu *cpu, const Delivered *d), const Delivered *d, unsigned *n_quick)
{
    static Snapshot before, slow, fast;
    X86Cpu         *cpu = g->cpus[0];

    take(g, &before);
    if (!x86_setjmp(cpu->fault_exit)) {
        run(cpu, d);
    }
    take(g, &slow);
    restore(g, &before);
    if (!x86_setjmp(cpu->fault_exit)) {
        run(cpu, d);
    }
    take(g, &fast);
    g_assert_true(same(&slow, &fast));
    restore(g, &before);
    *n_quick += quick(cpu, d);
    restore(g, &before);
}

static void run_deliver(X86Cpu *cpu, const Delivered *d)
{
    x86_deliver(cpu, d->event, d->vector, d->has_error, 0x1234, GUEST_CODE + 2);
}

static bool quick_deliver(X86Cpu *cpu, const Delivered *d)
{
    return x86_quick_deliver(cpu, d->vector, false, d->has_error, 0, 0, 0);
}

static void run_iret(X86Cpu *cpu, const Delivered *d)
{
    x86_iret(cpu, 8);
}

static bool quick_iret(X86Cpu *cpu, const Delivered *d)
{
    return x86_quick_iret(cpu);
}

static void test_deliver(void)
{
    Guest   *g       = guest_new(1);
    GRand   *r       = g_rand_new_with_seed(1);
    unsigned n_quick = 0;
    unsigned rounds  = g_test_slow() ? ROUNDS * 10 : ROUNDS / (X86_ALWAYS_PARK ? 10 : 1);

    for (unsigned i = 0; i < rounds / 8; i++) {
        unsigned ring = g_rand_boolean(r) ? 3 : 0;
        random_state(g, r, ring);
        for (unsigned k = 0; k < 8; k++) {
            static const X86Event events[] = { X86_EVENT_EXCEPTION, X86_EVENT_EXTERNAL, X86_EVENT_SOFTWARE,
                                               X86_EVENT_SOFTWARE_BP, X86_EVENT_ICEBP };
            Delivered             d        = { .event  = events[g_rand_int_range(r, 0, G_N_ELEMENTS(events))],
                                               .vector = (unsigned)PICK(r, X86_PF, X86_GP, X86_DB, 3, 0x20, 0xff, X86_DF) };
            d.has_error =
                d.event == X86_EVENT_EXCEPTION && (d.vector == X86_PF || d.vector == X86_GP || d.vector == X86_DF);
            random_gate(g, r, d.vector);
            g->cpus[0]->gpr[X86_RSP] = random_stack(r);
            x86_tlb_flush(g->cpus[0], true);
            compare(g, run_deliver, quick_deliver, &d, &n_quick);
        }
    }
    g_test_message("%u of %u the short way", n_quick, rounds);
    g_assert_cmpuint(n_quick, >, rounds / 50);
    g_rand_free(r);
    guest_free(g);
}

static void test_iret(void)
{
    Guest   *g       = guest_new(1);
    GRand   *r       = g_rand_new_with_seed(2);
    unsigned n_quick = 0;
    unsigned rounds  = g_test_slow() ? ROUNDS * 10 : ROUNDS / (X86_ALWAYS_PARK ? 10 : 1);

    for (unsigned i = 0; i < rounds / 8; i++) {
        random_state(g, r, (unsigned)PICK(r, 0, 3));
        X86Cpu *cpu = g->cpus[0];
        for (unsigned k = 0; k < 8; k++) {
            bool     user  = g_rand_boolean(r);
            uint64_t sp    = random_stack(r);
            uint8_t *frame = sp >= STACK && sp < GUEST_STACK - 0x100 ? g->host + sp : g->host + STACK;
            store_le64(frame, PICK(r, GUEST_CODE, UINT64_C(0xffffffff80000000), UINT64_C(0x8000000000000000)));
            store_le64(frame + 8, user ? PICK(r, GUEST_US64 | 3, GUEST_US32 | 3, GUEST_US64, GUEST_UDS | 3, 0)
                                       : PICK(r, GUEST_CS64, GUEST_CS64 | 3, GUEST_CS32, GUEST_US64 | 1, 0xff8));
            store_le64(frame + 16, g_rand_int(r) & ~(uint32_t)EFLAGS_VM);
            store_le64(frame + 24, random_stack(r));
            store_le64(frame + 32, user ? PICK(r, GUEST_UDS | 3, 0, 3, GUEST_DS, GUEST_US64 | 3, GUEST_UDS)
                                        : PICK(r, GUEST_DS, 0, 3, 0x14, GUEST_UDS | 3, GUEST_CS64));
            cpu->gpr[X86_RSP] = sp;
            x86_tlb_flush(cpu, true);
            compare(g, run_iret, quick_iret, NULL, &n_quick);
        }
    }
    g_test_message("%u of %u the short way", n_quick, rounds);
    g_assert_cmpuint(n_quick, >, rounds / 50);
    g_rand_free(r);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/quick/deliver", test_deliver);
    g_test_add_func("/quick/iret", test_iret);
    return g_test_run();
}
