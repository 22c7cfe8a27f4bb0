/* The short ways of protected and virtual-8086 mode (quick_legacy.c) against the long ones: from random states, valid
 * and not, both come to the same. With an empty TLB the short ways are never taken. */

#include "guest.h"

#include "base/bytes.h"
#include "cpu/x86/quick.h"

#include <string.h>

enum {
    ROUNDS  = 60000,
    LOW     = 0x8000, /* GDT, IDT, TSS and the stacks */
    STACK   = 0x6000, /* of both rings: 16-bit stack pointers reach it */
    N_STACK = 0x1000,
};

typedef struct Snapshot {
    X86Cpu  cpu;
    uint8_t low[LOW];
} Snapshot;

static void take(Guest *g, Snapshot *s)
{
    s->cpu = *g->cpus[0];
    memcpy(s->low, g->host, LOW);
}

static void restore(Guest *g, const Snapshot *s)
{
    *g->cpus[0] = s->cpu;
    memcpy(g->host, s->low, LOW);
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
    return !memcmp(x->gpr, y->gpr, sizeof x->gpr) && x->rip == y->rip && x86_get_eflags(x) == x86_get_eflags(y) &&
           x->cr2 == y->cr2 && x->mode_key == y->mode_key && x->segment_key == y->segment_key && x->cpl == y->cpl &&
           x->flat == y->flat && x->code_size == y->code_size && x->stack_size == y->stack_size &&
           x->in_shutdown == y->in_shutdown && x->nmi_blocked == y->nmi_blocked && x->n_events == y->n_events &&
           x->fault.vector == y->fault.vector && x->fault.error == y->fault.error && !memcmp(a->low, b->low, LOW);
}

/* One of many, mostly the first. */
static uint64_t pick(GRand *r, const uint64_t *from, unsigned n)
{
    return g_rand_int_range(r, 0, 10) < 8 ? from[0] : from[g_rand_int_range(r, 0, (int)n)];
}
#define PICK(r, ...) pick(r, (const uint64_t[]){ __VA_ARGS__ }, G_N_ELEMENTS(((const uint64_t[]){ __VA_ARGS__ })))

static uint32_t random_stack(GRand *r)
{
    uint32_t sp = STACK + 0x800 + (uint32_t)g_rand_int_range(r, 0, 0x400);
    return (uint32_t)PICK(r, sp & ~3u, sp, STACK + 0x1000, STACK + 8, 0, 4, 0xffff, 0xfffffffc, 0x10000 + sp);
}

/* Descriptors of everything that is loaded here, broken in some way now and then. */
static void random_descriptors(Guest *g, GRand *r)
{
    static const uint16_t code[] = { GUEST_CS32, GUEST_CS16, GUEST_US32 }, data[] = { GUEST_DS, GUEST_DS16, GUEST_UDS };
    for (unsigned i = 0; i < 3; i++) {
        for (unsigned k = 0; k < 2; k++) {
            uint8_t *d   = g->host + GUEST_GDT + (k ? data[i] : code[i]);
            unsigned dpl = i == 2 ? 0x60 : 0;
            d[0] = d[1] = 0xff;
            d[2] = d[3] = d[4] = d[7] = 0;
            d[4]                      = 0;
            d[6]                      = (uint8_t)PICK(r, i == 1 ? 0x0f : 0xcf, 0x40, 0x0f, 0xcf, 0x4f);
            d[5] = (uint8_t)((k ? 0x93 : 0x9b) | dpl) ^ (uint8_t)PICK(r, 0, 1, 2, 4, 8, 0x10, 0x20, 0x60, 0x80);
            d[2] = (uint8_t)PICK(r, 0, 0, 0x10);
        }
    }
}

static void random_state(Guest *g, GRand *r)
{
    static const GuestMode modes[] = { GUEST_PROTECTED32, GUEST_PROTECTED16 };
    X86Cpu                *cpu     = g->cpus[0];
    unsigned               ring    = g_rand_boolean(r) ? 3 : 0;
    bool                   vm86    = ring == 3 && PICK(r, 0, 1);

    guest_set_mode(g, 0, modes[g_rand_int_range(r, 0, 2)], ring);
    for (unsigned i = 0; i < N_STACK; i += 4) {
        store_le32(g->host + STACK + i, i * 0x01010101u);
    }
    cpu->cr0 |= PICK(r, 0, CR0_AM);
    cpu->cr4 |= PICK(r, 0, CR4_VME);
    random_descriptors(g, r);
    x86_set_eflags(cpu, g_rand_int(r), EFLAGS_ARITH | EFLAGS_IF | EFLAGS_IOPL);
    x86_set_eflags(cpu, PICK(r, 0, EFLAGS_AC, EFLAGS_NT, EFLAGS_RF, EFLAGS_TF),
                   EFLAGS_AC | EFLAGS_NT | EFLAGS_RF | EFLAGS_TF);
    if (vm86) {
        x86_set_eflags(cpu, EFLAGS_VM | PICK(r, EFLAGS_IOPL, 0), EFLAGS_VM | EFLAGS_IOPL);
        for (unsigned i = 0; i < X86_N_SEG; i++) {
            x86_set_vm86_segment(cpu, i, (uint16_t)PICK(r, 0, 0x100, 0xfff));
        }
    }
    cpu->rip               = 0x4000;
    cpu->gpr[X86_RSP]      = random_stack(r);
    cpu->nmi_blocked       = g_rand_boolean(r);
    cpu->idt.limit         = (uint16_t)PICK(r, 0xfff, 0x3f);
    cpu->gdt.limit         = (uint16_t)PICK(r, 0xfff, 0x1b);
    cpu->seg[X86_SS].limit = (uint32_t)PICK(r, cpu->seg[X86_SS].limit, STACK + 0x900);
    cpu->tr.attr           = (uint32_t)PICK(r, SEG_P | SYS_TSS_BUSY, SEG_P | SYS_TSS16_BUSY, SEG_UNUSABLE);
    cpu->tr.base           = GUEST_TSS;
    cpu->tr.limit          = (uint32_t)PICK(r, 0xfff, 8);
    store_le32(g->host + GUEST_TSS + 4, random_stack(r));
    store_le16(g->host + GUEST_TSS + 8, (uint16_t)PICK(r, GUEST_DS, GUEST_DS16, GUEST_UDS, GUEST_CS32, 0, 4));
    x86_update_mode(cpu);
}

/* --- what is run --- */

typedef struct Case {
    unsigned vector, size, pop_bytes, seg;
    bool     software, has_error;
    uint16_t selector;
    uint32_t offset;
} Case;

static uint16_t random_selector(GRand *r, bool code)
{
    return (uint16_t)(code ? PICK(r, GUEST_CS32, GUEST_CS16, GUEST_US32 | 3, GUEST_US32, GUEST_CS32 | 3, GUEST_DS, 0,
                                  0xff8, GUEST_CS32 | 4)
                           : PICK(r, GUEST_DS, GUEST_DS16, GUEST_UDS | 3, GUEST_UDS, GUEST_CS32, GUEST_DS | 3, 0, 0xff8,
                                  GUEST_DS | 4));
}

static void random_frame(Guest *g, GRand *r, Case *c)
{
    X86Cpu  *cpu  = g->cpus[0];
    uint32_t at   = (uint32_t)cpu->seg[X86_SS].base + (uint16_t)cpu->gpr[X86_RSP];
    uint32_t rest = (uint32_t)g_rand_int(r) & ~(uint32_t)EFLAGS_VM;
    uint32_t vm   = (uint32_t)PICK(r, 0, EFLAGS_VM);
    uint32_t w[9] = {
        c->offset, random_selector(r, true), rest | vm, random_stack(r), random_selector(r, false), 0x100, 0x200, 0x300,
        0x400
    };
    for (unsigned i = 0; i < 9 && at + 4 * i + 4 < LOW && at >= STACK; i++) {
        if (c->size == 4) {
            store_le32(g->host + at + 4 * i, w[i]);
        } else {
            store_le16(g->host + at + 2 * i, (uint16_t)w[i]);
        }
    }
}

static void random_gate(Guest *g, GRand *r, unsigned vector)
{
    uint8_t *gate = g->host + GUEST_IDT + 8 * vector;
    store_le16(gate, (uint16_t)PICK(r, 0x4123, 0xffff));
    store_le16(gate + 2, random_selector(r, true));
    gate[4] = 0;
    gate[5] = (uint8_t)PICK(r, 0x8e, 0xee, 0x8f, 0xef, 0x0e, 0x86, 0xe7, 0x85, 0x96, 0x9e);
    store_le16(gate + 6, (uint16_t)PICK(r, 0, 0, 0xffff));
}

static void run_interrupt(X86Cpu *cpu, const Case *c)
{
    x86_deliver(cpu,
                c->software    ? X86_EVENT_SOFTWARE
                : c->has_error ? X86_EVENT_EXCEPTION
                               : X86_EVENT_EXTERNAL,
                c->vector, c->has_error, 0x1234, 0x4002);
}

static bool quick_interrupt(X86Cpu *cpu, const Case *c)
{
    return x86_quick_interrupt(cpu, c->vector, c->software, c->has_error, 0, 0x4002, 0);
}

static void run_iret(X86Cpu *cpu, const Case *c)
{
    x86_iret(cpu, c->size);
}

static bool quick_iret(X86Cpu *cpu, const Case *c)
{
    return x86_quick_iret_legacy(cpu, c->size);
}

static void run_call(X86Cpu *cpu, const Case *c)
{
    x86_far_call(cpu, c->selector, c->offset, c->size, 0x4005);
}

static bool quick_call(X86Cpu *cpu, const Case *c)
{
    return x86_quick_far(cpu, c->selector, c->size == 2 ? (uint16_t)c->offset : c->offset, c->size, 0x4005);
}

static void run_jump(X86Cpu *cpu, const Case *c)
{
    x86_far_jump(cpu, c->selector, c->offset, c->size);
}

static bool quick_jump(X86Cpu *cpu, const Case *c)
{
    return x86_quick_far(cpu, c->selector, c->size == 2 ? (uint16_t)c->offset : c->offset, 0, 0);
}

static void run_return(X86Cpu *cpu, const Case *c)
{
    x86_far_return(cpu, c->size, c->pop_bytes);
}

static bool quick_return(X86Cpu *cpu, const Case *c)
{
    return x86_quick_far_return(cpu, c->size, c->pop_bytes);
}

static void run_load(X86Cpu *cpu, const Case *c)
{
    x86_load_segment(cpu, c->seg, c->selector);
}

/* The executor never loads a segment that way: the fast run is this one. */
static bool quick_load(X86Cpu *cpu, const Case *c)
{
    return x86_quick_segment(cpu, c->seg, c->selector);
}

typedef struct Way {
    const char *name;
    void (*run)(X86Cpu *cpu, const Case *c);
    bool (*quick)(X86Cpu *cpu, const Case *c);
    bool alone;
} Way;

static const Way ways[] = {
    { "interrupt", run_interrupt, quick_interrupt, false },
    { "iret", run_iret, quick_iret, false },
    { "call", run_call, quick_call, false },
    { "jump", run_jump, quick_jump, false },
    { "return", run_return, quick_return, false },
    { "load", run_load, quick_load, true },
};

/* Runs what `run` does with an empty TLB and with what that has left in it. */
static void compare(Guest *g, const Way *way, const Case *c, unsigned *n_quick)
{
    static Snapshot before, slow, fast;
    X86Cpu         *cpu = g->cpus[0];

    take(g, &before);
    if (!x86_setjmp(cpu->fault_exit)) {
        way->run(cpu, c);
    }
    take(g, &slow);
    restore(g, &before);
    bool quick = way->quick(cpu, c);
    *n_quick += quick;
    if (!way->alone || !quick) {
        restore(g, &before);
        if (!x86_setjmp(cpu->fault_exit)) {
            way->run(cpu, c);
        }
    }
    take(g, &fast);
    g_assert_true(same(&slow, &fast));
    restore(g, &before);
}

static void test_way(const void *arg)
{
    const Way *way     = arg;
    Guest     *g       = guest_new(1);
    GRand     *r       = g_rand_new_with_seed(3);
    unsigned   n_quick = 0;
    unsigned   rounds  = g_test_slow() ? ROUNDS * 10 : ROUNDS / (X86_ALWAYS_PARK ? 10 : 1);

    for (unsigned i = 0; i < rounds; i++) {
        static const X86Vector vectors[] = { X86_PF, X86_GP, X86_NP };
        random_state(g, r);
        Case c      = { .size      = g_rand_boolean(r) ? 4 : 2,
                        .selector  = random_selector(r, !way->alone),
                        .offset    = (uint32_t)PICK(r, 0x4100, 0xffff, 0x10000, 0xffffffff),
                        .pop_bytes = (unsigned)PICK(r, 0, 4, 0xfffe),
                        .seg       = (unsigned)PICK(r, X86_ES, X86_DS, X86_FS, X86_GS) };
        c.software  = g_rand_boolean(r);
        c.has_error = !c.software && g_rand_boolean(r);
        c.vector    = c.has_error ? vectors[g_rand_int_range(r, 0, 3)] : (unsigned)PICK(r, 0x21, 3, 0x80, 0xff);
        random_gate(g, r, c.vector);
        random_frame(g, r, &c);
        x86_tlb_flush(g->cpus[0], true);
        if (way->alone && !x86_protected_mode(g->cpus[0])) {
            continue;
        }
        compare(g, way, &c, &n_quick);
    }
    g_test_message("%s: %u of %u the short way", way->name, n_quick, rounds);
    g_assert_cmpuint(n_quick, >, rounds / 50);
    g_rand_free(r);
    guest_free(g);
}

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (unsigned i = 0; i < G_N_ELEMENTS(ways); i++) {
        g_autofree char *name = g_strdup_printf("/quick/legacy/%s", ways[i].name);
        g_test_add_data_func(name, &ways[i], test_way);
    }
    return g_test_run();
}
