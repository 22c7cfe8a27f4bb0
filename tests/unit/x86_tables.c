/* See x86_tables.h. */

#include "x86_tables.h"

void put_segment(Stub *s, unsigned selector, uint32_t base, uint32_t limit, uint32_t attr)
{
    uint32_t raw = attr & SEG_G ? limit >> 12 : limit;
    stub_put(s, GDT + (selector & 0xfff8), (raw & 0xffff) | base << 16, 4);
    stub_put(s, GDT + (selector & 0xfff8) + 4, (base >> 16 & 0xff) | attr << 8 | (raw & 0xf0000) | (base & 0xff000000),
             4);
}

void put_gate(Stub *s, uint32_t at, unsigned type, unsigned dpl, unsigned selector, uint64_t offset, unsigned extra)
{
    stub_put(s, at, (offset & 0xffff) | selector << 16, 4);
    stub_put(s, at + 4, (offset & 0xffff0000) | 0x8000 | dpl << 13 | type << 8 | extra, 4);
}

uint32_t rights(unsigned dpl, unsigned type)
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

X86Segment flat_segment(unsigned selector, unsigned type, uint32_t size)
{
    return (X86Segment){ .limit    = UINT32_MAX,
                         .attr     = rights(selector & 3, type | SEG_A) | SEG_S | SEG_G | size,
                         .selector = (uint16_t)selector };
}

Stub *protected_mode(unsigned cpl)
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

Stub *long_mode_of(const char *model, unsigned cpl)
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

Stub *long_mode(unsigned cpl)
{
    return long_mode_of("max", cpl);
}
