/* Runs an instruction in the plain executor: a ring 3 guest under long mode, whose page tables put the test's memory at
 * the same linear addresses as natively. One x86_step(); a fault shows as the frame that its delivery has pushed. */

#include "insn.h"

#include "../unit/guest.h"

#include <string.h>

/* Physical memory of the test's own. */
enum {
    PHYS_TABLES = 0x600000, /* one page table for code, one for data */
    PHYS_CODE   = 0x610000,
    PHYS_DATA   = 0x620000,
    PAGE        = 0x1000,
};

enum { PTE_READ = 5, PTE_WRITE = 7 };

typedef struct Template {
    X86Segment seg[X86_N_SEG];
    uint64_t   cr0, cr4;
} Template;

static Guest   *guest;
static X86Cpu  *cpu;
static Template templates[N_MODES];

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
        pt[i] = (physical + i * PAGE) | (i < writable ? PTE_WRITE : PTE_READ);
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
    /* As a Linux process has them. */
    cpu->seg[X86_FS] = (X86Segment){ .attr = SEG_UNUSABLE };
    cpu->seg[X86_GS] = (X86Segment){ .attr = SEG_UNUSABLE };
    cpu->cr0 |= CR0_AM | CR0_MP;
    cpu->cr4 |= CR4_FSGSBASE | CR4_UMIP;
    memcpy(templates[mode].seg, cpu->seg, sizeof cpu->seg);
    templates[mode].cr0 = cpu->cr0;
    templates[mode].cr4 = cpu->cr4;
}

void executor_init(void)
{
    g_auto(Error) err = { 0 };
    if (!x86_vector_init(&err)) {
        g_error("%s", err.text);
    }
    guest = guest_new(1);
    cpu   = guest->cpus[0];
    x86_host_features(cpu->features);
    for (unsigned mode = 0; mode < N_MODES; mode++) {
        make_template((Mode)mode);
    }
    map(CODE_BASE, PHYS_CODE, 1, 1);
    map(DATA_BASE, PHYS_DATA, DATA_TOTAL / PAGE, DATA_SIZE / PAGE);
    x86_tlb_flush(cpu, true);
}

void executor_free(void)
{
    guest_free(guest);
}

static void load(const Instance *in, const State *s)
{
    const Template *t = &templates[in->form->mode];
    uint8_t         code[32];

    memcpy(code, in->code, in->len);
    memset(code + in->len, 0xcc, 16);
    guest_poke(guest, PHYS_CODE + (in->rip & 0xfff), code, in->len + 16u);
    memcpy(guest->host + PHYS_DATA, s->data, DATA_TOTAL);

    memcpy(cpu->seg, t->seg, sizeof cpu->seg);
    cpu->seg[X86_GS].base = s->gs_base;
    cpu->cr0              = t->cr0;
    cpu->cr4              = t->cr4;
    memcpy(cpu->gpr, s->gpr, sizeof s->gpr);
    cpu->rip    = s->rip;
    cpu->eflags = 0;
    x86_set_eflags(cpu, s->flags | EFLAGS_IF | EFLAGS_ONE, ~UINT64_C(0));
    memcpy(cpu->xsave, s->fx, N_EXTENDED);
    cpu->fpu_cs = cpu->fpu_ds = 0;
    cpu->cr2                  = 0;
    cpu->in_shutdown          = false;
    cpu->interrupt_shadow     = false;
    x86_update_mode(cpu);
}

static bool has_error_code(int vector)
{
    return vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
}

/* Takes rip, flags and rsp from the frame on the ring 0 stack. */
static void read_frame(Outcome *o)
{
    const uint8_t *frame = guest->host + cpu->gpr[X86_RSP];
    o->vector            = (int)((cpu->rip - GUEST_STUBS) / 16);
    if (has_error_code(o->vector)) {
        o->error = load_le32(frame);
        frame += 8;
    }
    o->state.rip    = load_le64(frame);
    o->state.flags  = load_le64(frame + 16);
    o->state.gpr[4] = load_le64(frame + 24);
    o->cr2          = o->vector == 14 ? cpu->cr2 : 0;
}

void executor_run(const Instance *in, const State *before, Outcome *after)
{
    load(in, before);
    vcpu_enter(&cpu->vcpu);
    X86Exit exit = x86_step(cpu);
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
    memcpy(after->state.data, guest->host + PHYS_DATA, DATA_TOTAL);
    if (exit == X86_EXIT_DEBUG && cpu->cpl == 0) {
        read_frame(after);
    } else if (exit != X86_EXIT_DEBUG) {
        after->vector = 1000 + (int)exit; /* no exception at all: missing, shutdown, halted */
        if (exit == X86_EXIT_MISSING) {
            g_printerr("missing: %s\n", (const char *)(uintptr_t)cpu->exit_detail);
        }
    }
    after->state.flags &= ~(uint64_t)(EFLAGS_TF | EFLAGS_RF);
}
