/* See long.h. */

#include "check.h"

u64        code_page, stack_page, area_page;
u64        saved_cr4, saved_efer, saved_cr0;
static u64 saved_tss_descriptor, saved_idtr[2];
static u8  saved_tss[sizeof cpus[0].tss];

typedef struct Pointer {
    u16 limit;
    u64 base;
} __attribute__((packed)) Pointer;

u64 *idt_entry(unsigned vector)
{
    Pointer p;
    __asm__ volatile("sidt %0" : "=m"(p));
    return (u64 *)p.base + 2ull * vector;
}

u64 *gdt_entry(unsigned selector)
{
    return &cpus[0].gdt[selector / 8];
}

void without_ist(unsigned vector)
{
    *idt_entry(vector) &= ~(7ull << 32);
}

void put_handler(const u8 *code, size_t len)
{
    memcpy((void *)(code_page + HANDLER - A_CODE), code, len);
}

/* --- the CPU model --- */

bool is_intel(void)
{
    return cpuid(0, 0).b == 0x756e6547;
}

bool is_amd(void)
{
    return cpuid(0, 0).b == 0x68747541 || cpuid(0, 0).b == 0x6f677948;
}

bool offered(u32 leaf, unsigned reg, unsigned bit)
{
    if (cpuid(leaf & 0x80000000, 0).a < leaf) {
        return false;
    }
    Cpuid r = cpuid(leaf, 0);
    return (reg == EAX ? r.a : reg == EBX ? r.b : reg == ECX ? r.c : r.d) >> bit & 1;
}

/* --- cases --- */

void frame_in(unsigned mode, const void *code, size_t len, Frame *f)
{
    if (!code_page) {
        code_page  = page();
        stack_page = page();
        area_page  = page();
    }
    u64 user = mode == L3 || mode == C3 ? U : 0;
    memset((void *)code_page, 0xcc, PAGE);
    memset((void *)area_page, 0, PAGE);
    memcpy((void *)code_page, code, len);
    map(A_CODE, code_page, P | W | user);
    map(A_STACK, stack_page, P | W | user);
    map(A_AREA, area_page, P | W | user);
    map(A_AREA + PAGE, 0, 0);
    map(A_HOLE, 0, 0);
    *f     = frame_at(A_CODE, STACK_TOP, user);
    f->cs  = mode == C3 ? UCS32 : mode == C0 ? CS32 : f->cs;
    f->rdi = A_AREA;
}

void user_pages(Frame *f)
{
    map(A_CODE, code_page, P | W | U);
    map(A_STACK, stack_page, P | W | U);
    map(A_AREA, area_page, P | W | U);
}

unsigned run_bytes(unsigned mode, const void *code, size_t len, Frame *f)
{
    frame_in(mode, code, len, f);
    return run(f);
}

void case_frame(const Case *c, Frame *f, Word *start)
{
    frame_in(c->mode, c->code, (size_t)(c->end + 1 - c->code), f);
    *start = A_CODE;
}

void case_tables(const Case *c)
{
    Cpu *cpu = &cpus[0];
    if (!saved_cr4) {
        saved_cr0            = READ_CR(0);
        saved_cr4            = READ_CR(4);
        saved_efer           = rdmsr(EFER);
        saved_tss_descriptor = *gdt_entry(TSS);
        memcpy(saved_tss, cpu->tss, sizeof saved_tss);
    }
    WRITE_CR(0, saved_cr0);
    WRITE_CR(3, pml4);
    WRITE_CR(4, saved_cr4);
    WRITE_DR(7, 0x400);
    WRITE_DR(6, 0xffff0ff0);
    wrmsr(EFER, saved_efer);
    wrmsr(STAR, (u64)CS64 << 32 | (u64)UCS32 << 48);
    wrmsr(LSTAR, HANDLER);
    wrmsr(CSTAR, HANDLER);
    wrmsr(FMASK, 0x4700);
    memset(gdt_entry(S_T1), 0, sizeof cpu->gdt - S_T1);
    *gdt_entry(S_T1)     = c->t1;
    *gdt_entry(S_T1 + 8) = c->t2;
    *gdt_entry(S_T2)     = c->t3;
    *gdt_entry(S_T2 + 8) = c->t4;
    *gdt_entry(TSS)      = saved_tss_descriptor & ~(2ull << 40); /* not busy */
    memcpy(cpu->tss, saved_tss, sizeof saved_tss);

    Pointer gdtr = { sizeof cpu->gdt - 1, (u64)cpu->gdt };
    __asm__ volatile("lgdt %0\n lldt %w1\n ltr %w2\n mov %w1, %%fs\n mov %w1, %%gs"
                     :
                     : "m"(gdtr), "r"(0), "r"(TSS)
                     : "memory");
    wrmsr(FS_BASE, 0);
    wrmsr(GS_BASE, 0);
    /* Ours is not in memory: the entry is what it is read as. */
    Pointer idtr;
    __asm__ volatile("sidt %0" : "=m"(idtr));
    if (!saved_idtr[1]) {
        saved_idtr[0] = idtr.limit;
        saved_idtr[1] = idtr.base;
    }
    idtr = (Pointer){ (u16)saved_idtr[0], saved_idtr[1] };
    __asm__ volatile("lidt %0" : : "m"(idtr));
    for (unsigned i = 0; i < 256; i++) {
        reset_gate(i);
    }
}

TEST(all, "all checks")
{
    unsigned bad = run_checks();
    finish(bad ? 1 : 0);
}
