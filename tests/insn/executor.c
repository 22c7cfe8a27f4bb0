/* Runs code in Quern: a ring 3 guest under long mode, whose page tables put the test's memory at the same linear
 * addresses as natively. What ends it, a fault or the breakpoint behind the code, shows as the frame that its delivery
 * has pushed. */

#include "insn.h"

#include "../unit/guest.h"
#include "resident.h"

#include <string.h>

/* Physical memory of the test's own. */
enum {
    PHYS_TABLES = 0x600000, /* one page table for code, one for data */
    PHYS_CODE   = 0x610000, /* pages of both lie apart and in the opposite order */
    PHYS_DATA   = 0x620000,
    PHYS_LOOP   = 0x630000,
    PHYS_GDT    = 0x6000, /* as Linux has it, where ring 3 can see it */
    PHYS_LDT    = 0x6800,
    GDT_LIMIT   = 0x7f,
    LDT_SEL     = 0x50,
    ENTRY       = GUEST_STUBS + 16 * SYSCALL_ENTERED,
    SYSCALL_CS  = 0x10,
    REAL_DATA   = 0x800000, /* real mode: linear addresses are physical ones */
    REAL_CODE   = 0x810000,
    PAGE        = 0x1000,
};

enum { PTE_READ = 5, PTE_WRITE = 7 };

typedef struct Template {
    X86Segment seg[X86_N_SEG];
    uint64_t   cr0, cr4;
} Template;

const char *const runner_names[N_RUNNERS] = { "step", "run", "dbt", "dbt-mixed", "dbt-first" };

static Runner    runner;
static Guest    *guest;
static X86Cpu   *cpu;
static Dbt      *dbt;
static X86Model *model;
static Template  templates[N_MODES];
static Guise     guise;

static uint64_t physical_page(uint64_t first, unsigned pages, unsigned n)
{
    return first + (uint64_t)(pages - 1 - n) * 2 * PAGE;
}

static uint64_t data_page(unsigned n)
{
    return guise == GUISE_REAL ? REAL_DATA + n * PAGE : physical_page(PHYS_DATA, DATA_TOTAL / PAGE, n);
}

static uint64_t code_page(unsigned n)
{
    return guise == GUISE_REAL ? REAL_CODE + n * PAGE : physical_page(PHYS_CODE, CODE_SIZE / PAGE, n);
}

/* Copies between the data as one piece and its pages. */
static void data_out(const uint8_t *from)
{
    for (unsigned i = 0; i < DATA_TOTAL / PAGE; i++) {
        memcpy(guest->host + data_page(i), from + i * PAGE, PAGE);
    }
}

static void data_in(uint8_t *to)
{
    for (unsigned i = 0; i < DATA_TOTAL / PAGE; i++) {
        memcpy(to + i * PAGE, guest->host + data_page(i), PAGE);
    }
}

/* Both pages whole, where they are not as wanted already: code may have written to itself. */
static void code_out(const Code *code)
{
    uint8_t bytes[CODE_SIZE];

    memset(bytes, 0xcc, sizeof bytes);
    memcpy(bytes + (code->rip & (CODE_SIZE - 1)), code->bytes, code->len);
    if (guise == GUISE_REAL) { /* a breakpoint would use the test's stack */
        bytes[(code->rip & (CODE_SIZE - 1)) + code->len] = 0xf4;
    }
    for (unsigned i = 0; i < CODE_SIZE; i += 64) {
        uint64_t to = code_page(i / PAGE) + (i & (PAGE - 1));
        if (memcmp(guest->host + to, bytes + i, 64) != 0) {
            guest_poke(guest, to, bytes + i, 64);
        }
    }
}

static void map(uint64_t linear, uint64_t physical, unsigned pages, unsigned writable)
{
    uint64_t *pd    = (uint64_t *)(guest->host + GUEST_TABLES + 0x2000);
    uint64_t  table = PHYS_TABLES + (linear == CODE_BASE ? 0 : PAGE);
    uint64_t *pt    = (uint64_t *)(guest->host + table);

    /* Nothing near the test's memory but itself. */
    pd[(linear >> 21) - 1] = 0;
    pd[(linear >> 21) + 1] = 0;
    pd[linear >> 21]       = table | 7;
    memset(pt, 0, PAGE);
    for (unsigned i = 0; i < pages; i++) {
        pt[i] = physical_page(physical, pages, i) | (i < writable ? PTE_WRITE : PTE_READ);
    }
}

static void make_template(Mode mode)
{
    guest_set_mode(guest, 0, mode == MODE_64 ? GUEST_LONG64 : GUEST_COMPAT32, 3);
    if (mode == MODE_16) {
        cpu->seg[X86_CS].base  = CODE_BASE;
        cpu->seg[X86_CS].limit = 0xffff;
        cpu->seg[X86_CS].attr &= ~(uint32_t)(SEG_DB | SEG_G);
        for (unsigned s = 0; s < X86_N_SEG; s++) {
            if (s == X86_DS || s == X86_ES || s == X86_SS) {
                cpu->seg[s].base  = DATA_BASE;
                cpu->seg[s].limit = 0xffff;
                cpu->seg[s].attr &= ~(uint32_t)(SEG_DB | SEG_G);
            }
        }
    }
    uint16_t data = mode == MODE_16 ? DS_16 : SS_64;
    for (unsigned s = 0; s < X86_N_SEG; s++) {
        cpu->seg[s].selector = s == X86_CS ? (mode == MODE_64 ? CS_64 : mode == MODE_32 ? CS_32 : CS_16) : data;
    }
    /* As a Linux process has them. */
    cpu->seg[X86_FS] = (X86Segment){ .attr = SEG_UNUSABLE };
    cpu->seg[X86_GS] = (X86Segment){ .attr = SEG_UNUSABLE };
    cpu->cr0 |= CR0_AM | CR0_MP;
    cpu->cr4 |= (native_has_fsgsbase() ? CR4_FSGSBASE : 0) | CR4_UMIP;
    memcpy(templates[mode].seg, cpu->seg, sizeof cpu->seg);
    templates[mode].cr0 = cpu->cr0;
    templates[mode].cr4 = cpu->cr4;
}

static uint64_t flat_descriptor(unsigned attr)
{
    return UINT64_C(0x000f00000000ffff) | (uint64_t)(attr & 0xff) << 40 | (uint64_t)(attr >> 12) << 52;
}

/* The guest's own segments, in the first entries, are of ring 0, as the kernel's are. */
static void make_descriptors(void)
{
    uint64_t *gdt = (uint64_t *)(guest->host + PHYS_GDT), *ldt = (uint64_t *)(guest->host + PHYS_LDT);
    memcpy(gdt, guest->host + GUEST_GDT, 8 * 4);
    gdt[CS_32 >> 3] = flat_descriptor(0xc0fb);
    gdt[SS_64 >> 3] = flat_descriptor(0xc0f3);
    gdt[CS_64 >> 3] = flat_descriptor(0xa0fb);
    gdt[8]          = UINT64_C(0x00008b0000004087); /* the kernel's TSS and LDT */
    gdt[10]         = UINT64_C(0x000082000000003f);
    for (unsigned i = 1; i < N_LDT; i++) {
        ldt[i] = ldt_descriptor(&test_ldt[i]);
    }
    cpu->gdt = (X86Table){ .base = PHYS_GDT, .limit = GDT_LIMIT };
    cpu->ldt = (X86Segment){ .base = PHYS_LDT, .limit = 8 * N_LDT - 1, .attr = SEG_P | 2, .selector = LDT_SEL };
    /* Gates for ring 3: INT3 and INTO. */
    for (unsigned v = 0; v < 256; v++) {
        guest->host[GUEST_IDT + 16 * v + 5] = v == 3 || v == 4 ? 0xee : 0x8e;
    }
    cpu->star        = (uint64_t)SYSCALL_CS << 32 | (uint64_t)0x23 << 48;
    cpu->lstar       = ENTRY;
    cpu->cstar       = ENTRY;
    cpu->sfmask      = EFLAGS_TF | EFLAGS_DF | EFLAGS_IF | EFLAGS_AC | EFLAGS_CF;
    cpu->sysenter_cs = 0;
}

ExecutorSystem executor_system(void)
{
    return (ExecutorSystem){ .gdt_base     = cpu->gdt.base,
                             .gdt_limit    = cpu->gdt.limit,
                             .idt_base     = cpu->idt.base,
                             .idt_limit    = cpu->idt.limit,
                             .ldt          = cpu->ldt.selector,
                             .tr           = cpu->tr.selector,
                             .cr0          = cpu->cr0,
                             .entry        = ENTRY,
                             .syscall_cs   = SYSCALL_CS,
                             .syscall_mask = cpu->sfmask,
                             .amd          = cpu->model->kind == X86_VENDOR_AMD };
}

/* What is the guest's own is out of reach for ring 3, as the host's is. */
static void hide_the_rest(void)
{
    uint64_t *pd = (uint64_t *)(guest->host + GUEST_TABLES + 0x2000);
    for (unsigned i = 0; i < 512; i++) {
        if (pd[i] & 0x80) {
            pd[i] &= ~UINT64_C(4);
        }
    }
}

void executor_init(Runner how)
{
    runner            = how;
    g_auto(Error) err = { 0 };
    if (!x86_vector_init(&err)) {
        g_error("%s", err.text);
    }
    dbt = dbt_new(16 << 20, &err);
    dbt_set_verify(dbt, true);
    dbt_set_mixed(dbt, runner == RUNNER_DBT_MIXED);
    dbt_signals_init(); /* before those of native.c */
    guest = guest_new(1);
    cpu   = guest->cpus[0];
    model =
        x86_model_parse(__builtin_cpu_is("amd") ? "max,vendor=AuthenticAMD" : "max,vendor=GenuineIntel", NULL, &err);
    g_assert(model);
    cpu->model = model; /* the host's vendor */
    x86_host_features(cpu->features);
    for (unsigned mode = 0; mode < N_MODES; mode++) {
        make_template((Mode)mode);
    }
    static const X86Feature of_models[] = { X86_FEATURE_SSE4A, X86_FEATURE_3DNOW, X86_FEATURE_3DNOWEXT,
                                            X86_FEATURE_CLZERO, X86_FEATURE_RTM };
    for (unsigned i = 0; i < G_N_ELEMENTS(of_models); i++) {
        cpu->features[of_models[i] / 32] |= 1u << of_models[i] % 32;
    }
    make_descriptors();
    map(CODE_BASE, PHYS_CODE, CODE_SIZE / PAGE, CODE_SIZE / PAGE);
    map(DATA_BASE, PHYS_DATA, DATA_TOTAL / PAGE, DATA_SIZE / PAGE);
    ((uint64_t *)(guest->host + PHYS_TABLES + PAGE))[LOOP_BASE >> 12 & 511] = PHYS_LOOP | PTE_WRITE;
    hide_the_rest();
    x86_tlb_flush(cpu, true);
}

void executor_free(void)
{
    resident_end();
    guest_free(guest);
    x86_model_free(model);
    dbt_free(dbt);
}

static void load(const Code *code, const State *s)
{
    const Template *t = &templates[code->mode];

    code_out(code);
    data_out(s->data);
    memset(guest->host + PHYS_LOOP, 0, PAGE);
    guest->host[PHYS_LOOP] = code->loops;

    memcpy(cpu->seg, t->seg, sizeof cpu->seg);
    cpu->seg[X86_GS].base = s->gs_base;
    cpu->seg[X86_FS].base = s->fs_base;
    cpu->cr0              = t->cr0;
    cpu->cr4              = t->cr4 & ~(code->no_umip ? CR4_UMIP : 0);
    memcpy(cpu->gpr, s->gpr, sizeof s->gpr);
    cpu->rip    = s->rip;
    cpu->eflags = 0;
    x86_set_eflags(cpu,
                   (guise == GUISE_V86 ? EFLAGS_VM : 0) | s->flags | EFLAGS_IF | EFLAGS_ONE |
                       (code->step && runner != RUNNER_STEP ? EFLAGS_TF : 0),
                   ~UINT64_C(0));
    memcpy(cpu->xsave, s->fx, N_EXTENDED);
    cpu->fpu_cs = cpu->fpu_ds = 0;
    cpu->cr2                  = 0;
    cpu->in_shutdown          = false;
    cpu->interrupt_shadow     = X86_SHADOW_NONE;
    x86_update_mode(cpu);
}

/* --- real and virtual-8086 mode --- */

/* Two page tables of 4-byte entries; all else is the kernel's. */
static void map_v86(void)
{
    uint32_t *pd = (uint32_t *)(guest->host + GUEST_TABLES);
    uint32_t *pt[2];
    for (unsigned i = 0; i < 2; i++) {
        uint32_t at = PHYS_TABLES + (2 + i) * PAGE;
        pt[i]       = (uint32_t *)(guest->host + at);
        memset(pt[i], 0, PAGE);
        pd[(i ? DATA_BASE : CODE_BASE) >> 22] = at | 7;
    }
    pd[0] = 0x83; /* 4 MiB */
    for (unsigned i = 0; i < CODE_SIZE / PAGE; i++) {
        pt[0][i] = (uint32_t)code_page(i) | PTE_WRITE;
    }
    for (unsigned i = 0; i < DATA_TOTAL / PAGE; i++) {
        pt[1][i] = (uint32_t)data_page(i) | (i < DATA_SIZE / PAGE ? PTE_WRITE : PTE_READ);
    }
    pt[1][LOOP_BASE >> 12 & 1023] = PHYS_LOOP | PTE_WRITE;
}

void executor_set_guise(Guise g)
{
    Template *t    = &templates[MODE_16];
    bool      real = g == GUISE_REAL;
    guise          = g;
    guest_set_mode(guest, 0, real ? GUEST_REAL : GUEST_PROTECTED32, 0);
    if (real) {
        t->cr0 = cpu->cr0 | CR0_MP | CR0_AM;
    } else {
        memset(guest->host + GUEST_TABLES, 0, PAGE);
        map_v86();
        t->cr0 = cpu->cr0 | CR0_PG | CR0_WP | CR0_MP | CR0_AM;
    }
    t->cr4   = cpu->cr4 | CR4_PSE | CR4_UMIP;
    cpu->cr3 = GUEST_TABLES;
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        bool     code = i == X86_CS, flat = i == X86_FS || i == X86_GS;
        uint64_t base = flat ? 0 : code ? (real ? REAL_CODE : CODE_BASE) : real ? REAL_DATA : DATA_BASE;
        t->seg[i]     = (X86Segment){ .base     = base,
                                      .limit    = 0xffff,
                                      .attr     = SEG_P | SEG_S | SEG_W | SEG_A | (real ? 0 : SEG_DPL),
                                      .selector = flat   ? 0
                                                  : code ? CS_16
                                                         : DS_16 };
    }
    x86_tlb_flush(cpu, true);
}

static bool has_error_code(int vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

static void judge_end(Outcome *o, const Code *code)
{
    if (o->vector == 3 && o->state.rip == code->rip + code->len + 1) {
        o->vector = NO_FAULT; /* the breakpoint behind the code */
        o->state.rip -= 1;
    } else if (o->vector == 1 && code->step) {
        o->vector = NO_FAULT;
    }
}

/* The 32-bit one that virtual-8086 mode was left with, or the one of real mode, on the test's own stack. */
static void read_other_frame(Outcome *o, const Code *code)
{
    if (guise == GUISE_V86) {
        const uint8_t *frame = guest->host + cpu->gpr[X86_RSP];
        if (has_error_code(o->vector)) {
            o->error = load_le32(frame);
            frame += 4;
        }
        o->state.rip         = load_le32(frame);
        o->state.sel[SEL_CS] = load_le16(frame + 4);
        o->state.flags       = load_le32(frame + 8);
        o->state.gpr[4]      = load_le32(frame + 12);
        o->state.sel[SEL_SS] = load_le16(frame + 16);
        o->state.sel[SEL_ES] = load_le16(frame + 20);
        o->state.sel[SEL_DS] = load_le16(frame + 24);
        o->state.sel[SEL_FS] = load_le16(frame + 28);
        o->state.sel[SEL_GS] = load_le16(frame + 32);
        o->cr2               = o->vector == 14 ? cpu->cr2 : 0;
        o->state.fs_base = o->state.gs_base = 0;
    } else {
        uint8_t *frame       = o->state.data + MIN((uint16_t)cpu->gpr[X86_RSP], DATA_TOTAL - 6);
        o->state.rip         = load_le16(frame);
        o->state.sel[SEL_CS] = load_le16(frame + 2);
        o->state.flags       = (o->state.flags & ~UINT64_C(0xffff)) | load_le16(frame + 4);
        o->state.gpr[4]      = (o->state.gpr[4] & ~UINT64_C(0xffff)) | (uint16_t)(o->state.gpr[4] + 6);
    }
    judge_end(o, code);
}

/* Takes rip, flags and rsp from the frame on the ring 0 stack. */
static void read_frame(Outcome *o, const Code *code)
{
    const uint8_t *frame = guest->host + cpu->gpr[X86_RSP];
    o->vector            = (int)((cpu->rip - GUEST_STUBS) / 16);
    if (guise != GUISE_NONE) {
        read_other_frame(o, code);
        return;
    }
    if (has_error_code(o->vector)) {
        o->error = load_le32(frame);
        frame += 8;
    }
    o->state.rip         = load_le64(frame);
    o->state.flags       = load_le64(frame + 16);
    o->state.gpr[4]      = load_le64(frame + 24);
    o->state.sel[SEL_CS] = load_le16(frame + 8);
    o->state.sel[SEL_SS] = load_le16(frame + 32);
    o->cr2               = o->vector == 14 ? cpu->cr2 : 0;
    judge_end(o, code);
}

bool executor_is_handler(uint16_t cs, uint64_t rip)
{
    return cs == 0 && rip >= GUEST_STUBS && rip <= GUEST_STUBS + 16 * 256;
}

/* Has no exception come? */
static bool in_test(const Code *code)
{
    return guise == GUISE_REAL ? !executor_is_handler(cpu->seg[X86_CS].selector, cpu->rip) : cpu->cpl == 3;
}

/* Until the code has ended: the stub of an exception halts. A single step ends with the instruction. */
static X86Exit run(const Code *code)
{
    X86Exit exit;
    switch (runner) {
    case RUNNER_STEP: do { exit = x86_step(cpu);
        } while (exit == X86_EXIT_DEBUG && in_test(code) && !code->step);
        return exit == X86_EXIT_DEBUG ? X86_EXIT_HALT : exit;
    case RUNNER_DBT:
    case RUNNER_DBT_MIXED:
    case RUNNER_DBT_FIRST: dbt_set_first(dbt, runner == RUNNER_DBT_FIRST ? 1 : 0); return resident_run(dbt, cpu);
    default: return x86_run(cpu);
    }
}

void executor_run(const Code *code, const State *before, Outcome *after)
{
    load(code, before);
    vcpu_enter(&cpu->vcpu);
    X86Exit exit = run(code);
    vcpu_leave(&cpu->vcpu);

    after->state  = *before;
    after->vector = NO_FAULT;
    after->error  = 0;
    after->cr2    = 0;
    memcpy(after->state.gpr, cpu->gpr, sizeof after->state.gpr);
    after->state.rip   = cpu->rip;
    after->state.flags = x86_get_eflags(cpu);
    memcpy(after->state.fx, cpu->xsave, N_EXTENDED);
    memset(after->state.fx + 416, 0, 160);
    for (unsigned i = 0; i < N_SEL; i++) {
        after->state.sel[i] = cpu->seg[i].selector;
    }
    after->state.fs_base = cpu->seg[X86_FS].base;
    after->state.gs_base = cpu->seg[X86_GS].base;
    data_in(after->state.data);
    if (exit != X86_EXIT_HALT) {
        after->vector = 1000 + (int)exit; /* no exception at all: missing, shutdown */
        if (exit == X86_EXIT_MISSING) {
            g_printerr("missing: %s\n", (const char *)(uintptr_t)cpu->exit_detail);
        }
    } else if (guise == GUISE_NONE && cpu->cpl == 0 && (cpu->rip == ENTRY || cpu->rip == ENTRY + 1)) {
        after->vector    = SYSCALL_ENTERED;
        after->state.rip = ENTRY;
    } else if (!in_test(code)) {
        read_frame(after, code);
    } else if (guise == GUISE_REAL && !code->step) {
        after->state.rip = code->rip + code->len; /* not behind the HLT */
    }
    if (guise != GUISE_NONE) { /* handlers have none of them */
        after->state.fs_base = before->fs_base;
        after->state.gs_base = before->gs_base;
    }
    after->state.flags &= ~(uint64_t)(EFLAGS_TF | EFLAGS_RF | EFLAGS_VM);
}
