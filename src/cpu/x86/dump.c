/* A vCPU's state as text, laid out as "info registers" and the logs have always had it. */

#include "cpu/x86/segment.h"

#include <inttypes.h>
#include <string.h>

static void dump_general(const X86Cpu *cpu, GString *out, bool wide)
{
    static const char *const names[16] = { "AX", "CX", "DX", "BX", "SP", "BP", "SI", "DI",
                                           "8 ", "9 ", "10", "11", "12", "13", "14", "15" };
    static const uint8_t     order[16] = { X86_RAX, X86_RBX, X86_RCX, X86_RDX, X86_RSI, X86_RDI, X86_RBP, X86_RSP,
                                           X86_R8,  X86_R9,  X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15 };
    for (unsigned i = 0; i < (wide ? 16 : 8); i++) {
        char end = i % 4 == 3 ? '\n' : ' ';
        if (wide) {
            g_string_append_printf(out, "R%s=%016" PRIx64 "%c", names[order[i]], cpu->gpr[order[i]], end);
        } else {
            g_string_append_printf(out, "E%s=%08x%c", names[order[i]], (uint32_t)cpu->gpr[order[i]], end);
        }
    }
}

static void dump_flags(const X86Cpu *cpu, GString *out, bool wide)
{
    static const struct {
        uint32_t bit;
        char     letter;
    } flags[]       = { { EFLAGS_DF, 'D' }, { EFLAGS_OF, 'O' }, { EFLAGS_SF, 'S' }, { EFLAGS_ZF, 'Z' },
                        { EFLAGS_AF, 'A' }, { EFLAGS_PF, 'P' }, { EFLAGS_CF, 'C' } };
    uint32_t eflags = (uint32_t)x86_get_eflags(cpu);
    if (wide) {
        g_string_append_printf(out, "RIP=%016" PRIx64 " RFL=%08x [", cpu->rip, eflags);
    } else {
        g_string_append_printf(out, "EIP=%08x EFL=%08x [", (uint32_t)cpu->rip, eflags);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(flags); i++) {
        g_string_append_c(out, eflags & flags[i].bit ? flags[i].letter : '-');
    }
    g_string_append_printf(out, "] CPL=%d II=%d A20=1 SMM=%d HLT=%d\n", cpu->cpl,
                           cpu->interrupt_shadow != X86_SHADOW_NONE, cpu->smm, cpu->vcpu.halted);
}

static void describe_segment(const X86Cpu *cpu, const X86Segment *s, GString *out)
{
    static const char *const system_names[2][16] = {
        { "Reserved", "TSS16-avl", "LDT", "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16", "Reserved",
          "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32" },
        { "<hiword>", "Reserved", "LDT", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved", "Reserved",
          "TSS64-avl", "Reserved", "TSS64-busy", "CallGate64", "Reserved", "IntGate64", "TrapGate64" },
    };
    g_string_append_printf(out, " DPL=%d ", (s->attr & SEG_DPL) >> SEG_DPL_SHIFT);
    if (!(s->attr & SEG_S)) {
        g_string_append(out, system_names[cpu->long_mode][s->attr & SEG_TYPE]);
        return;
    }
    char accessed = s->attr & SEG_A ? 'A' : '-';
    if (s->attr & SEG_CODE) {
        g_string_append_printf(out, "%s [%c%c%c]",
                               s->attr & SEG_L    ? "CS64"
                               : s->attr & SEG_DB ? "CS32"
                                                  : "CS16",
                               s->attr & SEG_C ? 'C' : '-', s->attr & SEG_R ? 'R' : '-', accessed);
    } else {
        g_string_append_printf(out, "%s [%c%c%c]", s->attr & SEG_DB || cpu->long_mode ? "DS  " : "DS16",
                               s->attr & SEG_E ? 'E' : '-', s->attr & SEG_W ? 'W' : '-', accessed);
    }
}

static void dump_segment(const X86Cpu *cpu, const char *name, const X86Segment *s, GString *out, bool wide)
{
    uint32_t high = 0;
    if (!(s->attr & SEG_UNUSABLE)) {
        high = s->attr << 8 | ((s->attr & SEG_G ? s->limit >> 12 : s->limit) & 0x000f0000);
    }
    if (wide) {
        g_string_append_printf(out, "%-3s=%04x %016" PRIx64 " %08x %08x", name, s->selector, s->base, s->limit, high);
    } else {
        g_string_append_printf(out, "%-3s=%04x %08x %08x %08x", name, s->selector, (uint32_t)s->base, s->limit, high);
    }
    if (x86_protected_mode(cpu) && high & (SEG_P << 8)) {
        describe_segment(cpu, s, out);
    }
    g_string_append_c(out, '\n');
}

void x86_dump(X86Cpu *cpu, GString *out)
{
    static const char *const names[X86_N_SEG] = { "ES", "CS", "SS", "DS", "FS", "GS" };
    bool                     wide             = cpu->long_mode;
    dump_general(cpu, out, wide);
    dump_flags(cpu, out, wide);
    for (unsigned i = 0; i < X86_N_SEG; i++) {
        dump_segment(cpu, names[i], &cpu->seg[i], out, wide);
    }
    dump_segment(cpu, "LDT", &cpu->ldt, out, wide);
    dump_segment(cpu, "TR", &cpu->tr, out, wide);
    if (wide) {
        g_string_append_printf(out,
                               "GDT=     %016" PRIx64 " %08x\nIDT=     %016" PRIx64 " %08x\n"
                               "CR0=%08x CR2=%016" PRIx64 " CR3=%016" PRIx64 " CR4=%08x\n",
                               cpu->gdt.base, cpu->gdt.limit, cpu->idt.base, cpu->idt.limit, (uint32_t)cpu->cr0,
                               cpu->cr2, cpu->cr3, (uint32_t)cpu->cr4);
    } else {
        g_string_append_printf(out,
                               "GDT=     %08x %08x\nIDT=     %08x %08x\n"
                               "CR0=%08x CR2=%08x CR3=%08x CR4=%08x\n",
                               (uint32_t)cpu->gdt.base, cpu->gdt.limit, (uint32_t)cpu->idt.base, cpu->idt.limit,
                               (uint32_t)cpu->cr0, (uint32_t)cpu->cr2, (uint32_t)cpu->cr3, (uint32_t)cpu->cr4);
    }
    for (unsigned i = 0; i < 4; i++) {
        g_string_append_printf(out, "DR%u=%016" PRIx64 " ", i, cpu->dr[i]);
    }
    g_string_append_printf(out, "\nDR6=%016" PRIx64 " DR7=%016" PRIx64 "\nEFER=%016" PRIx64 "\n", cpu->dr[6],
                           cpu->dr[7], cpu->efer);
}

void x86_dump_vectors(X86Cpu *cpu, GString *out)
{
    uint16_t fcw, fsw;
    uint32_t mxcsr;
    memcpy(&fcw, cpu->xsave, sizeof fcw);
    memcpy(&fsw, cpu->xsave + 2, sizeof fsw);
    memcpy(&mxcsr, cpu->xsave + XSAVE_MXCSR, sizeof mxcsr);
    unsigned top = (fsw >> 11) & 7;
    g_string_append_printf(out, "FCW=%04x FSW=%04x [ST=%u] FTW=%02x MXCSR=%08x\n", fcw, fsw & ~0x3800u, top,
                           cpu->xsave[4], mxcsr);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t mantissa;
        uint16_t exponent;
        uint8_t *st = cpu->xsave + XSAVE_ST + 16 * ((i - top) & 7);
        memcpy(&mantissa, st, sizeof mantissa);
        memcpy(&exponent, st + 8, sizeof exponent);
        g_string_append_printf(out, "FPR%u=%016" PRIx64 " %04x%c", i, mantissa, exponent, i & 1 ? '\n' : ' ');
    }
    bool avx = cpu->xcr0 & XCR0_AVX;
    for (unsigned i = 0; i < (cpu->code_size == X86_CODE64 ? 16 : 8); i++) {
        uint64_t x[4];
        memcpy(x, x86_xmm(cpu, i), 16);
        memcpy(x + 2, x86_ymm_high(cpu, i), 16);
        if (avx) {
            g_string_append_printf(out, "YMM%02u=%016" PRIx64 " %016" PRIx64 " %016" PRIx64 " %016" PRIx64 "\n", i,
                                   x[3], x[2], x[1], x[0]);
        } else {
            g_string_append_printf(out, "XMM%02u=%016" PRIx64 " %016" PRIx64 "%c", i, x[1], x[0], i & 1 ? '\n' : ' ');
        }
    }
}
