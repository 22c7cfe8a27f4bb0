/* Legacy modes: switching long mode on and off, from where 32-bit paging is on and 4 GiB are mapped 1:1. */

#include "check.h"

enum { LME = 0x100, LMA = 0x400, PG_AND_REST = 0x80010033 };
static u64 pml4[512] __attribute__((aligned(4096)));
static u64 pdpt4[512] __attribute__((aligned(4096)));
static u64 pds4[4][512] __attribute__((aligned(4096)));
__asm__(".set pml4_table, pml4");

static bool has_long_mode(void)
{
    return cpuid(0x80000000, 0).a >= 0x80000001 && cpuid(0x80000001, 0).d >> 29 & 1;
}
static void tables(Frame *f)
{
    pml4[0] = (u32)pdpt4 | 7;
    for (u32 i = 0; i < 2048; i++) {
        pds4[i >> 9][i & 511] = (u64)i << 21 | 0x87;
    }
    for (u32 i = 0; i < 4; i++) {
        pdpt4[i] = (u32)pds4[i] | 7;
    }
}
BEFORE(tables_lme, tables(f); WRITE_CR(0, READ_CR(0) & 0x7fffffff); wrmsr(0xc0000080, LME); WRITE_CR(4, 0x630);
       WRITE_CR(3, pml4))
BEFORE(no_pae, tables_lme(f); WRITE_CR(4, 0x610))
static bool paging_off(const Frame *f)
{
    bool off = !(READ_CR(0) >> 31) && !(rdmsr(0xc0000080) & LMA);
    wrmsr(0xc0000080, 0);
    return off;
}
#define SET_PG      "mov %cr0, %eax\n or $0x80000000, %eax\n"
#define CLEAR_PG    "mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
#define EFER_IN_EAX "mov $0xc0000080, %ecx\n rdmsr\n"
#define LME_OFF     "push %eax\n mov $0xc0000080, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n pop %eax\n"
CASE("lma.on", "PG with LME and PAE sets LMA", "SDM 3, 10.8.5", R0,
     SET_PG "mov %eax, %cr0\n" EFER_IN_EAX "mov %eax, %ebx\n" CLEAR_PG "mov %ebx, %eax\n" LME_OFF, "nop",
     VALUE(LME | LMA), .before = tables_lme, .when = has_long_mode)
CASE("lma.compatibility", "the code that runs then is in compatibility mode: 40h is INC", "SDM 3, 10.8.5.4", R0,
     SET_PG "mov %eax, %cr0\n xor %ebx, %ebx\n .byte 0x43\n" CLEAR_PG "mov %ebx, %eax\n" LME_OFF, "nop", VALUE(1),
     .before = tables_lme, .when = has_long_mode)
CASE("lma.off", "clearing PG clears LMA", "SDM 3, 10.8.5.2", R0, SET_PG "mov %eax, %cr0\n" CLEAR_PG EFER_IN_EAX LME_OFF,
     "nop", VALUE(LME), .before = tables_lme, .when = has_long_mode)
CASE("lma.no-pae", "PG with LME without PAE is #GP(0)", "SDM 2, MOV", R0, SET_PG, "mov %eax, %cr0", GP(0),
     .before = no_pae, .after = paging_off, .when = has_long_mode)
CASE("lma.cs-l", "PG with LME and a 64-bit CS is #GP(0)", "SDM 2, MOV", R0, SET_PG "ljmp $S_T1, $1f\n 1:\n",
     "mov %eax, %cr0", GP(0), .t1 = SEGMENT(0, 0xfffff, 0xe09b), .before = tables_lme, .after = paging_off,
     .when = has_long_mode)
CASE("lma.tss16", "PG with LME and a 16-bit TSS is #GP(0)", "SDM 2, MOV", R0, SET_PG "mov $S_T1, %ecx\n ltr %cx\n",
     "mov %eax, %cr0", GP(0), .t1 = SEGMENT(0x9000, 0x2b, 0x81), .before = tables_lme, .after = paging_off,
     .when = has_long_mode)
CASE("lma.lme-paging", "LME cannot be changed while paging is on: #GP(0)", "SDM 3, 10.8.5", R0,
     "mov $0xc0000080, %ecx\n mov $0x100, %eax\n xor %edx, %edx", "wrmsr", GP(0), .when = has_long_mode)
CASE("lma.l-ignored", "without LMA the L bit of a code segment means nothing", "SDM 3, 3.4.5", R0,
     "mov $0x7f, %eax\n ljmp $S_T1, $1f\n 1:", ".byte 0x40", VALUE(0x80), .t1 = SEGMENT(0, 0xfffff, 0xe09b))
