/* A runtime for 32-bit bare-metal programs that look at the legacy modes: real mode, protected mode of 16 and 32 bits
 * in all rings, virtual-8086 mode, tasks.
 *
 * run() enters a Frame in any of these modes and returns when something is raised there, with the Frame as it was then.
 * A fault on a broken stack of ring 0 ends as a double fault, which a task of its own takes.
 *
 * Paging is on, except in real mode: 4 GiB are mapped 1:1 for everybody by 4 MiB pages, but for WINDOW, whose 4 KiB
 * pages are the checks' own. Every vector has a 32-bit interrupt gate of DPL 0; 3, 4 and 80h have DPL 3. */

#ifndef QUERN_TESTS_GUEST_CORNERS_LEGACY_H
#define QUERN_TESTS_GUEST_CORNERS_LEGACY_H

#include "../rt/insn.h"

/* Selectors, also for the assembler: S_name. */
#define SELECTORS(X)                                                                                                   \
    X(CODE, 0x08)                                                                                                      \
    X(DATA, 0x10)                                                                                                      \
    X(CODE16, 0x18)  /* base CODE16_BASE, 64 KiB */                                                                    \
    X(STACK16, 0x20) /* base STACK16_BASE, 64 KiB, 16-bit stack pointer */                                             \
    X(UCODE, 0x2b)                                                                                                     \
    X(UDATA, 0x33)                                                                                                     \
    X(UCODE16, 0x3b)                                                                                                   \
    X(USTACK16, 0x43)                                                                                                  \
    X(TSS, 0x48)                                                                                                       \
    X(TSS_DF, 0x50)                                                                                                    \
    X(LDT, 0x58)                                                                                                       \
    X(REAL_DATA, 0x60) /* base 0, 64 KiB */                                                                            \
    X(CODE1, 0x69)     /* ring 1 */                                                                                    \
    X(DATA1, 0x71)                                                                                                     \
    X(CONFORMING, 0x78) /* DPL 0, 4 GiB */                                                                             \
    X(T1, 0x80)         /* the checks' own */                                                                          \
    X(T2, 0x88)                                                                                                        \
    X(T3, 0x90)                                                                                                        \
    X(T4, 0x98)                                                                                                        \
    X(T5, 0xa0)                                                                                                        \
    X(REAL_CODE, 0xa8) /* base 0, 64 KiB, 16 bits */                                                                   \
    X(END, 0xb0)

/* Addresses, also for the assembler: A_name. */
#define ADDRESSES(X)                                                                                                   \
    X(CODE16_BASE, 0x20000)                                                                                            \
    X(SMBASE, 0x30000)                                                                                                 \
    X(STACK16_BASE, 0x40000)                                                                                           \
    X(STACK, 0x5f000) /* of rings 0 and 3 */                                                                           \
    X(STACK1, 0x5e000)                                                                                                 \
    X(STACK_TRAP, 0x5d000) /* of ring 0 after a change of rings */                                                     \
    X(STACK_TOP16, 0x8000) /* SP of 16-bit stacks */                                                                   \
    X(AREA, 0x60000)       /* data, 64 KiB */                                                                          \
    X(WINDOW, 0x40000000)                                                                                              \
    X(APIC, 0xfee00000)

#define ENUM_SELECTOR(name, value) S_##name = (value),
#define ENUM_ADDRESS(name, value)  A_##name = (value),
#define SET_SELECTOR(name, value)  ".set S_" #name ", " #value "\n"
#define SET_ADDRESS(name, value)   ".set A_" #name ", " #value "\n"
enum { SELECTORS(ENUM_SELECTOR) };
enum { ADDRESSES(ENUM_ADDRESS) };
__asm__(SELECTORS(SET_SELECTOR) ADDRESSES(SET_ADDRESS));

/* Where code runs, and how the assembler is told. */
enum { R0, R1, R3, R0_16, R3_16, V86, REAL };
#define CODE_OWN   ".code32\n"
#define CODE_R0    ".code32\n"
#define CODE_R1    ".code32\n"
#define CODE_R3    ".code32\n"
#define CODE_R0_16 ".code16\n"
#define CODE_R3_16 ".code16\n"
#define CODE_V86   ".code16\n"
#define CODE_REAL  ".code16\n"

typedef struct Frame {
    u32 edi, esi, ebp, ebx, edx, ecx, eax;
    u32 vector, error;
    u32 eip, cs, eflags, esp, ss, es, ds, fs, gs;
} Frame;

typedef struct Cpu {
    u32 cr2, dr6, dr7; /* after run(), which disables breakpoints */
} Cpu;
extern Cpu cpus[1];

typedef struct Tss {
    u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    u32 es, cs, ss, ds, fs, gs, ldt, trap_iomap;
    u8  rest[256]; /* interrupt redirection, I/O permissions */
} Tss;

typedef struct Tss16 {
    u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
} Tss16;

extern Tss tss, tss_df;
extern u64 gdt[], ldt[8], idt[256];
extern u32 page_directory[1024], window_table[1024];

/* Enters f; returns the vector. */
unsigned run(Frame *f);
/* A frame for code that lies in the program (32 bits), or was copied to A_CODE16_BASE (16 bits). */
Frame frame_for(unsigned mode, u32 at);
/* Copies 16-bit code to A_CODE16_BASE; 32-bit code runs where it is. Returns the offset to enter. */
u32 place(unsigned mode, const u8 *code, const u8 *end);

/* Machine code by name, of a mode (CODE_*): ends in INT3. */
#define SNIPPET(name, mode, text)                                                                                      \
    __asm__(".pushsection .text\n" CODE_##mode #name ":\n" text "\nint3\n" #name "_end:\n" CODE_OWN ".popsection");    \
    extern const u8 name[], name##_end[];

void set_idt(unsigned vector, u64 gate);
void reset_idt(void);
void set_gdt(u16 selector, u64 descriptor);
/* The page-table entry of a page of the window. */
static inline u32 *pte(u32 linear)
{
    return &window_table[linear >> 12 & 1023];
}

void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline volatile u32 *apic(u32 reg)
{
    return (volatile u32 *)(A_APIC + reg);
}
static inline u32 *mem32(u32 address)
{
    u32 *at = (u32 *)address;
    __asm__("" : "+r"(at));
    return at;
}
static inline u16 *mem16(u32 address)
{
    return (u16 *)mem32(address);
}

#endif
