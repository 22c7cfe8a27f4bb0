/* See legacy.h. */

#include "check.h"

Cpu                cpus[1];
Tss                tss, tss_df;
u64                ldt[8], idt[256];
u32                page_directory[1024] __attribute__((aligned(4096)));
u32                window_table[1024] __attribute__((aligned(4096)));
static u8          df_stack[4096] __attribute__((aligned(16)));
extern const u8    stubs[], double_fault[], real_stubs[], real[], gdt_pointer[], idt_pointer[];
static const char *what = "start";

enum { SAVE = 0x600, REAL_AT = 0x8000 };

unsigned enter_frame(Frame *f, unsigned real);
void     legacy_main(void);
void     double_fault_state(void);

void print(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    print_v(format, list);
    va_end(list);
}

/* --- tables --- */

void set_gdt(u16 selector, u64 descriptor)
{
    gdt[selector / 8] = descriptor;
}

void set_idt(unsigned vector, u64 gate)
{
    idt[vector] = gate;
}

void reset_idt(void)
{
    for (unsigned i = 0; i < 256; i++) {
        bool user = i == 3 || i == 4 || i == 0x80;
        idt[i]    = GATE(S_CODE, stubs + 16 * i, user ? 0xee : 0x8e);
    }
    idt[8] = GATE(S_TSS_DF, 0, 0x85);
}

static void reset_tables(void)
{
    set_gdt(S_CODE, 0x00cf9b000000ffff);
    set_gdt(S_DATA, 0x00cf93000000ffff);
    set_gdt(S_CODE16, SEGMENT(A_CODE16_BASE, 0xffff, 0x9b));
    set_gdt(S_STACK16, SEGMENT(A_STACK16_BASE, 0xffff, 0x93));
    set_gdt(S_UCODE, 0x00cffb000000ffff);
    set_gdt(S_UDATA, 0x00cff3000000ffff);
    set_gdt(S_UCODE16, SEGMENT(A_CODE16_BASE, 0xffff, 0xfb));
    set_gdt(S_USTACK16, SEGMENT(A_STACK16_BASE, 0xffff, 0xf3));
    set_gdt(S_TSS_DF, SEGMENT(&tss_df, 103, 0x89));
    set_gdt(S_LDT, SEGMENT(ldt, sizeof ldt - 1, 0x82));
    set_gdt(S_REAL_DATA, SEGMENT(0, 0xffff, 0x93));
    set_gdt(S_REAL_CODE, SEGMENT(0, 0xffff, 0x9b));
    set_gdt(S_CODE1, 0x00cfbb000000ffff);
    set_gdt(S_DATA1, 0x00cfb3000000ffff);
    set_gdt(S_CONFORMING, 0x00cf9f000000ffff);

    u32 cr3 = (u32)page_directory;
    memset(&tss, 0, sizeof tss);
    tss.cr3        = cr3;
    tss.esp0       = A_STACK_TRAP;
    tss.ss0        = S_DATA;
    tss.esp1       = A_STACK1;
    tss.ss1        = S_DATA1;
    tss.trap_iomap = (u32)(offsetof(Tss, rest) + 32) << 16;
    memset(tss.rest + 32, 0xff, sizeof tss.rest - 32);
    memset(&tss_df, 0, sizeof tss_df);
    tss_df.cr3    = cr3;
    tss_df.eip    = (u32)double_fault;
    tss_df.eflags = 2;
    tss_df.esp    = (u32)df_stack + sizeof df_stack - 16; /* vectors without an error code may come here too */
    tss_df.cs     = S_CODE;
    tss_df.ss = tss_df.ds = tss_df.es = S_DATA;
    reset_idt();
    set_gdt(S_TSS, SEGMENT(&tss, sizeof tss - 1, 0x89)); /* LTR makes it busy */
    __asm__ volatile("lgdt (%0)\n lidt (%1)\n lldt %w2\n ltr %w3"
                     :
                     : "r"(gdt_pointer), "r"(idt_pointer), "r"(S_LDT), "r"(S_TSS)
                     : "memory");
}

/* In the double fault's task: what the main task was doing, and the main task's registers back. */
void double_fault_state(void)
{
    u32  *save = mem32(SAVE);
    u32  *from = &tss.eip;
    Frame f    = { .edi    = tss.edi,
                   .esi    = tss.esi,
                   .ebp    = tss.ebp,
                   .ebx    = tss.ebx,
                   .edx    = tss.edx,
                   .ecx    = tss.ecx,
                   .eax    = tss.eax,
                   .vector = 8,
                   .error  = save[8],
                   .eip    = from[0],
                   .cs     = tss.cs,
                   .eflags = tss.eflags,
                   .esp    = tss.esp,
                   .ss     = tss.ss,
                   .es     = tss.es,
                   .ds     = tss.ds,
                   .fs     = tss.fs,
                   .gs     = tss.gs };
    memcpy(save, &f, sizeof f);
    reset_tables();
}

static void start_paging(void)
{
    for (u32 i = 0; i < 1024; i++) {
        page_directory[i] = i << 22 | 0x87;
        window_table[i]   = 0;
    }
    page_directory[A_APIC >> 22] |= 0x18;
    page_directory[A_WINDOW >> 22] = (u32)window_table | 7;
    WRITE_CR(0, READ_CR(0) & 0x7fffffff); /* it may have been another kind of paging */
    if (cpuid(0x80000000, 0).a >= 0x80000001 && cpuid(0x80000001, 0).d >> 20 & 0x201) { /* there is an EFER */
        wrmsr(0xc0000080, 0);
    }
    WRITE_CR(4, 0x610); /* PSE, OSFXSR, OSXMMEXCPT */
    WRITE_CR(3, page_directory);
    WRITE_CR(0, 0x80010033); /* PG, WP, NE, ET, MP, PE */
}

u32 place(unsigned mode, const u8 *code, const u8 *end)
{
    if (mode == R0 || mode == R1 || mode == R3) {
        return (u32)code;
    }
    memset(mem32(A_CODE16_BASE), 0xcc, 0x10000);
    memcpy(mem32(A_CODE16_BASE), code, (size_t)(end - code));
    return 0;
}

Frame frame_for(unsigned mode, u32 at)
{
    static const u16 cs[] = { [R0] = S_CODE, [R1] = S_CODE1, [R3] = S_UCODE, [R0_16] = S_CODE16, [R3_16] = S_UCODE16 };
    static const u16 ss[] = {
        [R0] = S_DATA, [R1] = S_DATA1, [R3] = S_UDATA, [R0_16] = S_STACK16, [R3_16] = S_USTACK16
    };
    static const u16 ds[] = { [R0] = S_DATA, [R1] = S_DATA1, [R3] = S_UDATA, [R0_16] = S_DATA, [R3_16] = S_UDATA };

    Frame f = { .eip = at, .eflags = 2 };
    if (mode == V86 || mode == REAL) {
        f.cs  = A_CODE16_BASE >> 4;
        f.ss  = A_STACK16_BASE >> 4;
        f.esp = A_STACK_TOP16;
        f.ds = f.es = f.fs = f.gs = A_AREA >> 4;
        f.eflags |= mode == V86 ? VM : 0x80000000; /* real mode: run() looks at it */
    } else {
        f.cs  = cs[mode];
        f.ss  = ss[mode];
        f.esp = mode == R0_16 || mode == R3_16 ? A_STACK_TOP16 : mode == R1 ? A_STACK1 - 0x800 : A_STACK;
        f.ds = f.es = ds[mode];
    }
    return f;
}

unsigned run(Frame *f)
{
    bool real_mode = f->eflags >> 31;
    f->eflags &= 0x7fffffff;
    if (real_mode) {
        for (unsigned i = 0; i < 256; i++) {
            *mem32(4 * i) = REAL_AT + (u32)(real_stubs - real) + 8 * i;
        }
    }
    unsigned vector = enter_frame(f, real_mode);
    __asm__ volatile("mov %%cr2, %0" : "=r"(cpus[0].cr2));
    cpus[0].dr6 = READ_DR(6);
    cpus[0].dr7 = READ_DR(7);
    WRITE_DR(7, 0x400);
    if (vector >= 32 && vector != 0x80) {
        *apic(0xb0) = 0;
    }
    return vector;
}

/* --- checks --- */

void case_frame(const Case *c, Frame *f, Word *start)
{
    what   = c->id;
    *start = place(c->mode, c->code, c->end + 1);
    *f     = frame_for(c->mode, *start);
}

void case_tables(const Case *c)
{
    reset_tables();
    set_gdt(S_T1, c->t1);
    set_gdt(S_T2, c->t2);
    set_gdt(S_T3, c->t3);
    set_gdt(S_T4, c->t4);
    start_paging();
    memset(mem32(A_AREA), 0, 0x100);
    WRITE_DR(7, 0x400);
    WRITE_DR(6, 0xffff0ff0);
}

void legacy_main(void)
{
    outb(0x21, 0xff); /* the PIC stays silent */
    outb(0xa1, 0xff);
    reset_tables();
    start_paging();
    *apic(0xf0) = 0x1ff;
    __asm__ volatile("fninit");
    finish(run_checks() ? 1 : 0);
}
