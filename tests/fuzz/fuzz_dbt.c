/* Guest code from random bytes, in the translator and in the plain executor, from the same state: both must end alike.
 *
 * Input: START_HEAD bytes that say mode and state (dbt_state.c), then code. The executor goes first, one instruction at
 * a time; what has not come to a halt after MAX_STEPS instructions, or reads random numbers, is left out. The
 * translator runs it three times: what is new is the executor's (dbt_set_first()), all is translated, all is known.
 *
 * Both guests and the translator are made once; each run puts back all memory that the code can reach. FUZZ_DBT_MODE
 * (64, 32, 16, real, v86, segments) keeps libFuzzer to inputs of one mode; FUZZ_DBT_STATS has it say at the end how
 * many came to a comparison. */

#include "dbt_state.h"
#include "fuzz.h"

#include "accel/dbt/run.h"
#include "base/bytes.h"
#include "cpu/x86/tlb.h"
#include "cpu/x86/vector.h"

#include <Zydis/Zydis.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_STEPS = 300,
    MAX_REPS  = 20000, /* of REP instructions, that stop after some elements */
    VECTOR    = 0x31,
};

static const Window everything[] = { { 0, GUEST_RAM_SIZE }, {} }, none[] = { {} };

typedef struct Side {
    Guest        *guest;
    const Window *touched; /* memory outside is as the model's, which has zeros there */
} Side;

static Side         model, plain, translated; /* `model` never runs: its state is what the others begin with */
static Dbt         *dbt;
static ZydisDecoder decoders[3];
static bool         traced;
static uint64_t     n_inputs, n_compared, n_odd;

static int answer_interrupt(void *opaque)
{
    return VECTOR;
}

static void report(void)
{
    g_printerr("%" G_GUINT64_FORMAT " inputs, %" G_GUINT64_FORMAT " compared, %" G_GUINT64_FORMAT
               " of them with other control registers at their end\n",
               n_inputs, n_compared, n_odd);
}

/* g_error() traps, which libFuzzer does not catch: it would not keep the input. */
static void give_up(int signal)
{
    abort();
}

static void begin(void)
{
    static const ZydisMachineMode modes[3]  = { [X86_CODE16] = ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
                                                [X86_CODE32] = ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
                                                [X86_CODE64] = ZYDIS_MACHINE_MODE_LONG_64 };
    static const ZydisStackWidth  widths[3] = { ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64 };
    g_auto(Error) err                       = { 0 };
    if (plain.guest) {
        return;
    }
    signal(SIGTRAP, give_up);
    g_assert_true(x86_vector_init(&err));
    dbt = dbt_new(16 << 20, &err);
    g_assert_nonnull(dbt);
    dbt_set_verify(dbt, true);
    dbt_set_mixed(dbt, true);
    model      = (Side){ guest_new(1), none };
    plain      = (Side){ guest_new(1), everything };
    translated = (Side){ guest_new(1), everything };
    for (unsigned i = 0; i < 3; i++) {
        ZydisDecoderInit(&decoders[i], modes[i], widths[i]);
    }
    X86Cpu *cpu                      = model.guest->cpus[0];
    cpu->tsc_hz                      = x86_host_tsc_hz();
    cpu->tsc_frozen                  = true; /* all clocks stand */
    plain.guest->cpus[0]->ack_extint = translated.guest->cpus[0]->ack_extint = answer_interrupt;
    traced                                                                   = getenv("FUZZ_DBT_TRACE");
    if (getenv("FUZZ_DBT_STATS")) {
        atexit(report);
    }
}

/* --- the state before --- */

/* What differs only, so that translated code lives on where it may. */
static void put_back(Guest *g, const Window *windows)
{
    enum { CHUNK = 64 };
    for (; windows->len; windows++) {
        for (uint32_t page = windows->start; page < windows->start + windows->len; page += START_PAGE) {
            for (uint32_t at = page; memcmp(g->host + page, model.guest->host + page, START_PAGE) != 0; at += CHUNK) {
                if (memcmp(g->host + at, model.guest->host + at, CHUNK) != 0) {
                    guest_poke(g, at, model.guest->host + at, CHUNK);
                }
            }
        }
    }
}

static void load(Side *side, const Start *s)
{
    Guest  *g     = side->guest;
    X86Cpu *cpu   = g->cpus[0];
    size_t  first = offsetof(X86Cpu, gpr), len = offsetof(X86Cpu, ferr_changed) - first;
    put_back(g, side->touched);
    put_back(g, s->windows);
    side->touched = s->windows;
    memcpy((uint8_t *)cpu + first, (uint8_t *)model.guest->cpus[0] + first, len);
    cpu->vcpu.halted          = false;
    cpu->tlb->breakpoints_hit = 0; /* of a run that was given up */
    vcpu_request_done(&cpu->vcpu, ~(uint32_t)(VCPU_REQUEST_CPU - 1));
    vcpu_request_self(&cpu->vcpu, s->requests);
    x86_tlb_flush(cpu, true);
    x86_update_mode(cpu);
    x86_debug_changed(cpu);
}

/* --- running and comparing --- */

static const uint8_t *code_at(const Guest *g)
{
    const X86Cpu *cpu = g->cpus[0];
    uint64_t      at  = cpu->code_size == X86_CODE64 ? cpu->rip : (uint32_t)(cpu->seg[X86_CS].base + cpu->rip);
    return at < GUEST_RAM_SIZE - 16 ? g->host + at : NULL;
}

/* Random numbers; rotates by an immediate, whose OF is undefined unless it is 1: by CL, as the executor does it,
 * processors give another. AMD's do not tell where the last x87 instruction was while no exception waits (APM 2,
 * 11.4.4), so that translated code has 0 in place of the executor's address: what stores it to memory. */
static bool varies(const X86Cpu *cpu, const uint8_t p[16])
{
    ZydisDecodedInstruction d;
    ZydisDecodedOperand     ops[ZYDIS_MAX_OPERAND_COUNT];
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[cpu->code_size], p, 15, &d, ops))) {
        return false;
    }
    switch (d.mnemonic) {
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED: return true;
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FXSAVE:
    case ZYDIS_MNEMONIC_FXSAVE64:
    case ZYDIS_MNEMONIC_XSAVE:
    case ZYDIS_MNEMONIC_XSAVE64:
    case ZYDIS_MNEMONIC_XSAVEC:
    case ZYDIS_MNEMONIC_XSAVEC64:
    case ZYDIS_MNEMONIC_XSAVEOPT:
    case ZYDIS_MNEMONIC_XSAVEOPT64: return __builtin_cpu_is("amd");
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
        return (d.opcode & 0xfe) == 0xc0 && (ops[1].imm.value.u & (ops[0].size == 64 ? 63 : 31)) > 1;
    default: return false;
    }
}

static void print_step(const X86Cpu *cpu, const uint8_t p[16])
{
    static ZydisFormatter   formatter;
    ZydisDecodedInstruction d;
    ZydisDecodedOperand     ops[ZYDIS_MAX_OPERAND_COUNT];
    char                    text[128] = "?";
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[cpu->code_size], p, 15, &d, ops))) {
        ZydisFormatterFormatInstruction(&formatter, &d, ops, d.operand_count_visible, text, sizeof text, cpu->rip,
                                        NULL);
    }
    g_printerr("%u:%04x:%" G_GINT64_MODIFIER "x %-40s", cpu->cpl, cpu->seg[X86_CS].selector, cpu->rip, text);
    for (unsigned i = 0; i < 8; i++) {
        g_printerr(" %" G_GINT64_MODIFIER "x", cpu->gpr[i]);
    }
    g_printerr(" %" G_GINT64_MODIFIER "x\n", x86_get_eflags(cpu));
}

/* How far a REP instruction goes that overwrites itself is the processor's choice. */
static bool run_plain(X86Exit *exit)
{
    X86Cpu *cpu   = plain.guest->cpus[0];
    bool    plays = true;
    vcpu_enter(&cpu->vcpu);
    *exit = X86_EXIT_DEBUG;
    for (unsigned steps = 0, reps = 0; steps < MAX_STEPS && reps < MAX_REPS && plays && *exit == X86_EXIT_DEBUG;) {
        uint8_t        before[16] = { 0 };
        uint64_t       rip        = cpu->rip;
        const uint8_t *p          = code_at(plain.guest);
        if (p) {
            memcpy(before, p, sizeof before);
        }
        if (traced) {
            print_step(cpu, before);
        }
        plays = !varies(cpu, before);
        if (plays) {
            *exit = x86_step(cpu);
            plays = cpu->rip != rip || !p || memcmp(before, p, sizeof before) == 0;
        }
        steps += cpu->rip != rip;
        reps++;
    }
    vcpu_leave(&cpu->vcpu);
    if (*exit == X86_EXIT_MISSING) {
        g_printerr("not implemented: %s\n", (const char *)(uintptr_t)cpu->exit_detail);
        abort();
    }
    return plays && (*exit == X86_EXIT_HALT || *exit == X86_EXIT_SHUTDOWN);
}

/* Code that changes them may reach any memory. */
static bool controls_stand(void)
{
    const X86Cpu *a = plain.guest->cpus[0], *b = model.guest->cpus[0];
    bool          same = a->cr3 == b->cr3 && !((a->cr0 ^ b->cr0) & (CR0_PG | CR0_PE | CR0_WP)) && a->efer == b->efer &&
                a->gdt.base == b->gdt.base;
    return same && !((a->cr4 ^ b->cr4) & (CR4_PAE | CR4_PSE)) && (a->cr0 & CR0_PG || a->seg[X86_CS].limit <= 0xffff);
}

static void differ(const char *what, uint64_t a, uint64_t b)
{
    g_printerr("%s: %#" G_GINT64_MODIFIER "x in the executor, %#" G_GINT64_MODIFIER "x in the translator\n", what, a,
               b);
}

/* No pointers to instructions and operands, no MXCSR_MASK, no header. */
static bool is_compared(unsigned i)
{
    return i < FX_FOP || (i >= XSAVE_MXCSR && i < XSAVE_MXCSR + 4) || (i >= XSAVE_ST && i < XSAVE_XMM + 256) ||
           i >= XSAVE_YMM;
}

/* A processor may set accessed bits of its own accord, and of accesses that fault (SDM 3, 4.8). */
static bool same_page(uint32_t page)
{
    static const uint64_t accessed = 0x2000000020;
    bool                  same     = true;
    if (memcmp(plain.guest->host + page, translated.guest->host + page, START_PAGE) == 0) {
        return true;
    }
    for (uint32_t at = page; at < page + START_PAGE; at += 8) {
        uint64_t a = load_le64(plain.guest->host + at), b = load_le64(translated.guest->host + at);
        uint64_t mask = page >= GUEST_TABLES && page < GUEST_TABLES + 0x8000 ? accessed : 0;
        if ((a ^ b) & ~mask) {
            same                  = false;
            g_autofree char *name = g_strdup_printf("memory at %#x", at);
            differ(name, a, b);
        }
    }
    return same;
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
    X86Cpu                  *a = plain.guest->cpus[0], *b = translated.guest->cpus[0];
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
        SAME(segs[i], seg[i].attr);
    }
    for (unsigned i = 0; i < 8; i++) {
        SAME("DR", dr[i]);
    }
    SAME("CR0", cr0);
    SAME("CR2", cr2);
    SAME("CR3", cr3);
    SAME("CR4", cr4);
    SAME("EFER", efer);
    SAME("XCR0", xcr0);
    SAME("CPL", cpl);
    SAME("breakpoints hit", tlb->breakpoints_hit);
    SAME("shadow", interrupt_shadow);
    SAME("NMI blocking", nmi_blocked);
    SAME("FERR#", ferr);
    SAME("requests", vcpu.requests);
    SAME("TR", tr.selector);
    SAME("TR", tr.attr);
    SAME("LDTR", ldt.selector);
    SAME("GDTR", gdt.base);
    SAME("IDTR", idt.base);
    SAME("IDTR", idt.limit);
    SAME("STAR", star);
    SAME("LSTAR", lstar);
    SAME("KERNEL_GS_BASE", kernel_gs_base);
    SAME("TSC_AUX", tsc_aux);
    SAME("TSC", tsc_frozen_at);
    for (unsigned i = 0; i < XSAVE_SIZE; i++) {
        if (is_compared(i)) {
            g_autofree char *name = a->xsave[i] != b->xsave[i] ? g_strdup_printf("byte %u of FP state", i) : NULL;
            SAME(name, xsave[i]);
        }
    }
    for (; windows->len && same; windows++) {
        for (uint32_t at = windows->start; at < windows->start + windows->len; at += START_PAGE) {
            same = same_page(at) && same;
        }
    }
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size <= START_HEAD) {
        return 0;
    }
    begin();
    for (const Window *w = model.touched; w->len; w++) {
        memset(model.guest->host + w->start, 0, w->len);
    }
    Start s       = start_make(model.guest, data, data + START_HEAD, size - START_HEAD);
    model.touched = s.windows;
    load(&plain, &s);
    X86Exit       exit;
    bool          ended   = run_plain(&exit);
    bool          stands  = controls_stand();
    const Window *windows = stands ? s.windows : everything;
    plain.touched         = windows;
    if (ended && !stands) { /* all memory counts: it must have been the same before */
        translated.touched = everything;
        load(&plain, &s);
        ended         = run_plain(&exit);
        plain.touched = everything;
    }
    n_inputs++;
    n_compared += ended;
    n_odd += ended && !stands;
    static const char *const times[] = { " while it is new", "", " the second time" };
    for (unsigned i = 0; i < G_N_ELEMENTS(times) && ended; i++) {
        X86Cpu *cpu = translated.guest->cpus[0];
        load(&translated, &s);
        dbt_set_first(dbt, i == 0 ? 1 : 0);
        vcpu_enter(&cpu->vcpu);
        X86Exit again = dbt_run(dbt, cpu);
        vcpu_leave(&cpu->vcpu);
        translated.touched = windows;
        if (!compare(windows, exit, again)) {
            g_printerr("different%s\n", times[i]);
            abort();
        }
    }
    return 0;
}

/* --- inputs of one mode --- */

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size) __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    const char *name = getenv("FUZZ_DBT_MODE");
    size             = LLVMFuzzerMutate(data, size, max_size);
    for (unsigned i = 0; name && size && i < start_n_modes; i++) {
        unsigned row = (data[0] + i) % start_n_modes;
        if (strcmp(start_modes[row].name, name) == 0) {
            data[0] = (uint8_t)row;
            break;
        }
    }
    return size;
}
