/* What the checks in long mode run in, over ../rt: 64-bit code in rings 0 and 3, compatibility mode with 32-bit code.
 *
 * Code is copied to A_CODE, RDI points to a page of data at A_AREA; both are the user's in ring 3. The page behind
 * A_AREA, and A_HOLE, are absent. Exceptions are taken on a stack of their own (IST 1), wherever RSP points. Before
 * each case the tables, control registers and MSRs that checks change are as they were. */

#ifndef QUERN_TESTS_GUEST_CORNERS_LONG_H
#define QUERN_TESTS_GUEST_CORNERS_LONG_H

#include "../rt/rt.h"

/* Modes. */
enum { L0, L3, C0, C3 };
#define CODE_OWN ".code64\n"
#define CODE_L0  ".code64\n"
#define CODE_L3  ".code64\n"
#define CODE_C0  ".code32\n"
#define CODE_C3  ".code32\n"

/* Addresses, also for the assembler. */
enum {
    A_CODE    = WINDOW,
    A_STACK   = WINDOW + 0x10000, /* the page; RSP is STACK_TOP */
    A_AREA    = WINDOW + 0x20000,
    A_HOLE    = WINDOW + 0x30000,
    STACK_TOP = A_STACK + 0x800,
    HANDLER   = A_CODE + 0x800, /* of the checks that put one into the code's page */
};
/* Selectors: the last slots of Cpu.gdt, of 16 bytes where that is needed. */
enum { S_T1 = 0x68, S_T2 = 0x78, S_T3 = 0x88 };
__asm__(
    ".set A_CODE, 0x40000000\n.set A_STACK, 0x40010000\n.set A_AREA, 0x40020000\n.set A_HOLE, 0x40030000\n"
    ".set HANDLER, 0x40000800\n.set STACK_TOP, 0x40010800\n"
    ".set S_CS64, 8\n.set S_DS64, 0x10\n.set S_CS32, 0x18\n.set S_UCS32, 0x33\n.set S_UDS, 0x3b\n.set S_UCS64, 0x43\n"
    ".set S_TSS, 0x58\n.set S_T1, 0x68\n.set S_T2, 0x78\n.set S_T3, 0x88\n");

enum { EFER = 0xc0000080, STAR, LSTAR, CSTAR, FMASK, FS_BASE = 0xc0000100, GS_BASE, KERNEL_GS_BASE };
enum {
    EFER_SCE = 1,
    EFER_NXE = 0x800,
};
#define CR4_TSD      (1ull << 2)
#define CR4_DE       (1ull << 3)
#define CR4_PGE      (1ull << 7)
#define CR4_UMIP     (1ull << 11)
#define CR4_FSGSBASE (1ull << 16)
#define CR4_PCIDE    (1ull << 17)
#define CR4_SMEP     (1ull << 20)
#define CR4_SMAP     (1ull << 21)

/* The pages at A_CODE, A_STACK and A_AREA, where they are mapped 1:1. */
extern u64 code_page, stack_page, area_page;
/* As they are before each case. */
extern u64 saved_cr4, saved_efer, saved_cr0;

/* Both halves of a vector's gate, where they are. */
u64 *idt_entry(unsigned vector);
/* The descriptor's first half, where it is. */
u64 *gdt_entry(unsigned selector);
/* The next exceptions through `vector` are taken without a stack of their own. */
void without_ist(unsigned vector);
/* Copies a handler (CODE()) to HANDLER: for handlers that must be in ring 3 too. */
void put_handler(const u8 *code, size_t len);
/* For a CASE of ring 0 that goes on in ring 3: code, stack and data are the user's (BEFORE). */
void user_pages(Frame *f);
/* For checks that make their code up: a frame for it, as a CASE has; running it, which returns the vector. */
void     frame_in(unsigned mode, const void *code, size_t len, Frame *f);
unsigned run_bytes(unsigned mode, const void *code, size_t len, Frame *f);

bool is_intel(void);
bool is_amd(void);
/* A bit of CPUID. */
bool offered(u32 leaf, unsigned reg, unsigned bit);
enum { EAX, EBX, ECX, EDX };

/* An IPI to this processor, by its ID: the shorthand is for fixed interrupts only (SDM 3, table 11-3). Clobbers EBX and
 * ECX. */
#define SEND_IPI(command)                                                                                              \
    "mov $0xfee00000, %ebx\n mov 0x20(%ebx), %ecx\n mov %ecx, 0x310(%ebx)\n movl $" command                            \
    ", 0x300(%ebx)\n nop\n nop\n nop\n"
#define SEND_NMI SEND_IPI("0x4400")
#define SEND_SMI SEND_IPI("0x4200")

/* An address that is not canonical. */
#define BAD "movabs $0x800000000000, %rbx\n"

#endif
