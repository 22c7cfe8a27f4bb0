/* System management mode: SMI and RSM.
 *
 * Specification: AMD APM 2, chapter 10 and table 10-1 (rev. 3.42): the state-save area of processors with long mode,
 * revision 20064h, which is what PC firmware for virtual machines expects of every model. No I/O instruction restart.
 * vCPU thread, between instructions (SMI) or in one (RSM). */

#include "base/bytes.h"
#include "cpu/x86/segment.h"

#include <string.h>

enum {
    SAVE_START    = 0xfe00, /* from SMBASE; the area ends at FFFFh */
    SAVE_SIZE     = 0x200,
    SAVE_SEGMENTS = 0xfe00, /* ES, CS, SS, DS, FS, GS: 16 bytes each */
    SAVE_GDT      = 0xfe60,
    SAVE_LDT      = 0xfe70,
    SAVE_IDT      = 0xfe80,
    SAVE_TR       = 0xfe90,
    SAVE_HALT     = 0xfec9, /* autohalt restart: 1 when HLT was interrupted */
    SAVE_NMI_MASK = 0xfeca,
    SAVE_EFER     = 0xfed0,
    SAVE_REVISION = 0xfefc,
    SAVE_SMBASE   = 0xff00,
    SAVE_CR4      = 0xff48,
    SAVE_CR3      = 0xff50,
    SAVE_CR0      = 0xff58,
    SAVE_DR7      = 0xff60,
    SAVE_DR6      = 0xff68,
    SAVE_RFLAGS   = 0xff70,
    SAVE_RIP      = 0xff78,
    SAVE_R15      = 0xff80, /* R15 down to R8, then RDI, RSI, RBP, RSP, RBX, RDX, RCX, RAX */

    REVISION = 0x20064, /* with SMBASE relocation */
    ENTRY    = 0x8000,  /* from SMBASE */
};

typedef struct SaveArea {
    uint8_t bytes[SAVE_SIZE];
} SaveArea;

static uint8_t *field(SaveArea *a, unsigned offset)
{
    return a->bytes + (offset - SAVE_START);
}

static const uint8_t register_order[16] = { X86_R15, X86_R14, X86_R13, X86_R12, X86_R11, X86_R10, X86_R9,  X86_R8,
                                            X86_RDI, X86_RSI, X86_RBP, X86_RSP, X86_RBX, X86_RDX, X86_RCX, X86_RAX };

static void save_segment(SaveArea *a, unsigned offset, const X86Segment *s)
{
    uint8_t *at = field(a, offset);
    store_le16(at, s->selector);
    /* A null segment keeps its DPL, where CPL lives, and nothing else. */
    store_le16(at + 2, (uint16_t)(s->attr & SEG_UNUSABLE ? s->attr & SEG_DPL : s->attr));
    store_le32(at + 4, s->limit);
    store_le64(at + 8, s->base);
}

static void load_segment(SaveArea *a, unsigned offset, X86Segment *s)
{
    const uint8_t *at = field(a, offset);
    s->selector       = load_le16(at);
    s->attr           = load_le16(at + 2) & 0xf0ff;
    s->limit          = load_le32(at + 4);
    s->base           = load_le64(at + 8);
    if (!(s->attr & SEG_P)) {
        s->attr |= SEG_UNUSABLE;
    }
}

static void save_table(SaveArea *a, unsigned offset, const X86Table *t)
{
    store_le16(field(a, offset) + 4, t->limit);
    store_le64(field(a, offset) + 8, t->base);
}

static void load_table(SaveArea *a, unsigned offset, X86Table *t)
{
    t->limit = load_le16(field(a, offset) + 4);
    t->base  = load_le64(field(a, offset) + 8);
}

static void save_state(X86Cpu *cpu, SaveArea *a)
{
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        save_segment(a, SAVE_SEGMENTS + 16 * i, &cpu->seg[i]);
    }
    save_table(a, SAVE_GDT, &cpu->gdt);
    save_segment(a, SAVE_LDT, &cpu->ldt);
    save_table(a, SAVE_IDT, &cpu->idt);
    save_segment(a, SAVE_TR, &cpu->tr);
    *field(a, SAVE_HALT)     = cpu->vcpu.halted;
    *field(a, SAVE_NMI_MASK) = cpu->nmi_blocked;
    store_le64(field(a, SAVE_EFER), cpu->efer);
    store_le32(field(a, SAVE_REVISION), REVISION);
    store_le32(field(a, SAVE_SMBASE), (uint32_t)cpu->smbase);
    store_le64(field(a, SAVE_CR4), cpu->cr4);
    store_le64(field(a, SAVE_CR3), cpu->cr3);
    store_le64(field(a, SAVE_CR0), cpu->cr0);
    store_le64(field(a, SAVE_DR7), cpu->dr[7]);
    store_le64(field(a, SAVE_DR6), cpu->dr[6]);
    store_le64(field(a, SAVE_RFLAGS), x86_get_eflags(cpu));
    store_le64(field(a, SAVE_RIP), cpu->rip);
    for (unsigned i = 0; i < 16; i++) {
        store_le64(field(a, SAVE_R15 + 8 * i), cpu->gpr[register_order[i]]);
    }
}

static void log_state(X86Cpu *cpu, const char *what)
{
    if (log_on(cpu->vcpu.log, LOG_INT)) {
        g_autoptr(GString) text = g_string_new(NULL);
        x86_dump(cpu, text);
        log_print(cpu->vcpu.log, LOG_INT, "CPU %d: SMM: %s\n%s", cpu->vcpu.index, what, text->str);
    }
}

/* The view of memory with or without SMRAM. */
static void set_smm(X86Cpu *cpu, bool smm)
{
    cpu->smm = smm;
    if (cpu->smm_changed) {
        cpu->smm_changed(cpu->board, smm);
    }
    x86_tlb_drop(cpu);
}

void x86_enter_smm(X86Cpu *cpu)
{
    SaveArea area;
    memset(&area, 0, sizeof area);
    log_state(cpu, "enter");
    save_state(cpu, &area);
    cpu->smi_count++;
    set_smm(cpu, true);
    address_space_write(cpu->vcpu.memory, cpu->smbase + SAVE_START, area.bytes, sizeof area.bytes);

    cpu->vcpu.halted      = false;
    cpu->nmi_blocked      = true;
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    cpu->monitor_armed    = false;
    cpu->cr0 &= ~(CR0_PE | CR0_EM | CR0_TS | CR0_PG);
    cpu->cr4   = 0;
    cpu->efer  = 0;
    cpu->dr[7] = DR7_FIXED;
    x86_set_eflags(cpu, 0, UINT64_MAX);
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        cpu->seg[i] = (X86Segment){ .limit = UINT32_MAX, .attr = SEG_P | SEG_S | SEG_W | SEG_A | SEG_G };
    }
    cpu->seg[X86_CS].selector = (uint16_t)(cpu->smbase >> 4);
    cpu->seg[X86_CS].base     = cpu->smbase;
    cpu->rip                  = ENTRY;
    x86_tlb_flush(cpu, true);
    x86_debug_changed(cpu);
    x86_update_mode(cpu);
}

bool x86_rsm(X86Cpu *cpu)
{
    if (!cpu->smm) {
        x86_raise(cpu, X86_UD);
    }
    SaveArea area;
    address_space_read(cpu->vcpu.memory, cpu->smbase + SAVE_START, area.bytes, sizeof area.bytes);
    uint64_t cr0 = load_le64(field(&area, SAVE_CR0)), cr3 = load_le64(field(&area, SAVE_CR3));
    uint64_t cr4 = load_le64(field(&area, SAVE_CR4)), efer = load_le64(field(&area, SAVE_EFER));
    if (!x86_valid_control(cpu, cr0, cr3, cr4, efer)) {
        cpu->in_shutdown = true;
        return false;
    }
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        load_segment(&area, SAVE_SEGMENTS + 16 * i, &cpu->seg[i]);
    }
    load_table(&area, SAVE_GDT, &cpu->gdt);
    load_segment(&area, SAVE_LDT, &cpu->ldt);
    load_table(&area, SAVE_IDT, &cpu->idt);
    load_segment(&area, SAVE_TR, &cpu->tr);
    for (unsigned i = 0; i < 16; i++) {
        cpu->gpr[register_order[i]] = load_le64(field(&area, SAVE_R15 + 8 * i));
    }
    cpu->rip         = load_le64(field(&area, SAVE_RIP));
    cpu->dr[7]       = (load_le64(field(&area, SAVE_DR7)) & DR7_WRITABLE) | DR7_FIXED;
    cpu->dr[6]       = (load_le64(field(&area, SAVE_DR6)) & DR6_WRITABLE) | DR6_FIXED;
    cpu->nmi_blocked = *field(&area, SAVE_NMI_MASK) & 1;
    cpu->smbase      = load_le32(field(&area, SAVE_SMBASE));
    bool     halted  = *field(&area, SAVE_HALT) & 1;
    uint64_t flags   = load_le64(field(&area, SAVE_RFLAGS)) & 0x3f7fd5;
    x86_set_eflags(cpu, efer & EFER_LMA ? flags & ~(uint64_t)EFLAGS_VM : flags, UINT64_MAX);
    cpu->cr0  = cr0;
    cpu->cr4  = cr4;
    cpu->efer = efer;
    set_smm(cpu, false);
    x86_load_cr3(cpu, cr3);
    x86_tlb_flush(cpu, true);
    x86_debug_changed(cpu);
    x86_update_mode(cpu);
    log_state(cpu, "after RSM");
    return halted;
}
