/* A small runtime for bare-metal tests in 64-bit mode: output, exceptions, page tables, other vCPUs.
 *
 * A program is a set of TEST()s. It writes TAP to the debug console and ends through isa-debug-exit, with 0 when all
 * passed. Compiled with -mgeneral-regs-only: FP and vector state is what the tests make of it.
 *
 * Everything that may fault, trap or run in another mode is run by run(): it enters a Frame (any ring, any code
 * segment, any flags) and returns when something is raised, with the Frame as it was then. */

#ifndef QUERN_TESTS_GUEST_RT_H
#define QUERN_TESTS_GUEST_RT_H

#include "insn.h"

enum {
    PAGE     = 0x1000,
    MAX_CPUS = 8,

    /* Linear addresses 0 to 1 GiB are mapped 1:1, for the supervisor, by 2 MiB pages. From WINDOW on, WINDOW_SIZE bytes
     * are small pages of the test's own, absent at first. */
    WINDOW      = 0x40000000,
    WINDOW_SIZE = 0x1000000,

    /* Selectors. */
    CS64  = 0x08,
    DS64  = 0x10,
    CS32  = 0x18,
    CS16  = 0x20, /* base and limit by set_segment() */
    DS16  = 0x28,
    UCS32 = 0x30 | 3, /* SYSRET's base */
    UDS   = 0x38 | 3,
    UCS64 = 0x40 | 3,
    UCS16 = 0x48 | 3,
    UDS16 = 0x50 | 3,
    TSS   = 0x58,

    /* Page-table entries. */
    P   = 1,
    W   = 2,
    U   = 4,
    PWT = 8,
    PCD = 0x10,
    A   = 0x20,
    D   = 0x40,
    PS  = 0x80,
    G   = 0x100,
};
#define NX (1ull << 63)

typedef struct Frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u64 vector, error;
    u64 rip, cs, rflags, rsp, ss;
} Frame;

typedef struct Cpu Cpu;
struct Cpu {
    Cpu   *self;
    u64    return_rsp; /* run()'s */
    Frame *frame;      /* run()'s; NULL: nothing is running that may fault */
    u64    cr2;        /* at the last exception */
    u64    n_traps;    /* all exceptions so far */
    /* Looks at exceptions before run() ends. true: handled, go on with the frame. */
    bool (*hook)(Cpu *cpu, Frame *f);
    /* Interrupts, vectors 32 and above; the APIC is told afterwards. */
    void (*irq)(Cpu *cpu, Frame *f);
    volatile u64  n_irqs[256];
    unsigned      index;
    u32           apic_id;
    volatile bool up;
    void (*volatile work)(Cpu *cpu);
    u64 gdt[20];
    u8  tss[104];
};

/* --- tests --- */

typedef struct Test {
    const char *name;
    void (*run)(void);
} Test;

#define TEST(id, title)                                                                                                \
    static void       id(void);                                                                                        \
    static const Test test_##id __attribute__((section("tests"), used, aligned(8))) = { title, id };                   \
    static void       id(void)

/* A failed one fails the test, which goes on. */
void expect_(bool ok, const char *file, int line, const char *format, ...) __attribute__((format(printf, 4, 5)));
#define expect(ok, ...) expect_(ok, __FILE__, __LINE__, __VA_ARGS__)
/* Prints both when they differ. */
void equal_(u64 got, u64 want, const char *file, int line, const char *what);
#define equal(got, want) equal_((u64)(got), (u64)(want), __FILE__, __LINE__, #got)
/* Marks the test as skipped (a feature that the CPU does not have); the test then returns. */
void skip(const char *why);

void print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* --- running code --- */

/* Machine code between two labels, which can be copied anywhere; ends in INT3. */
#define CODE(name, text)                                                                                               \
    __asm__(".pushsection .text\n" #name ":\n" text "\nint3\n" #name "_end:\n.popsection");                            \
    extern const u8 name[], name##_end[];
/* The same for 32-bit and 16-bit code. */
#define CODE32(name, text) CODE(name, ".code32\n" text "\n.code64\n")
#define CODE16(name, text) CODE(name, ".code16\n" text "\n.code64\n")
#define SIZE_OF(name)      ((size_t)(name##_end - name))

/* The calling vCPU. */
Cpu            *this_cpu(void);
extern Cpu      cpus[MAX_CPUS];
extern unsigned n_cpus;

/* A frame for 64-bit code at rip, ring 0 or 3, with a stack. Flags: IF clear, others 0. */
Frame frame_at(u64 rip, u64 rsp, bool user);
/* Enters f; returns the vector that ended it, with f as it was when that was raised. */
unsigned run(Frame *f);
/* Points a vector elsewhere: a handler of one's own, and one of the stacks of set_ist(), 0: the one that is in use. */
void set_gate(unsigned vector, u64 to, unsigned ist, unsigned dpl);
/* The runtime's own handler again. */
void reset_gate(unsigned vector);
/* Stacks 2 to 7 of this vCPU; 1 is the runtime's. */
void set_ist(Cpu *cpu, unsigned n, u64 top);
/* run() of a function of ours in ring 0; -1 when it returned. For what may fault without being looked at closely. */
int attempt(void (*function)(void *), void *argument);

/* --- memory --- */

/* The entry of a linear address in the window. */
u64 *pte(u64 linear);
/* Maps a page of the window, and invalidates it. */
void map(u64 linear, u64 physical, u64 flags);
/* A cleared physical page of its own, at the same linear address. */
u64 page(void);
/* Copies code to physical (= linear) memory; returns the address behind it. */
u64  put(u64 to, const void *code, size_t len);
void set_segment(Cpu *cpu, unsigned selector, u32 base, u32 limit, u32 attributes);
/* Attributes as in bits 40 to 55 of a descriptor. */
enum { SEG_CODE16 = 0x009a, SEG_DATA16 = 0x0092, SEG_UCODE16 = 0x00fa, SEG_UDATA16 = 0x00f2 };

extern u64 pml4[512], pdpt[512];

/* --- other vCPUs --- */

/* Starts those that are there ("cpus=N" on the command line says how many to wait for). */
void smp_start(void);
/* Starts work on another vCPU; smp_wait() waits until it has ended. */
void smp_go(unsigned index, void (*work)(Cpu *cpu));
void smp_wait(unsigned index);

enum {
    APIC            = 0xfee00000,
    APIC_ID         = 0x20,
    APIC_EOI        = 0xb0,
    APIC_SVR        = 0xf0,
    APIC_ICR        = 0x300,
    APIC_TIMER      = 0x320,
    APIC_INIT_COUNT = 0x380,
    APIC_NOW        = 0x390,
    APIC_DIVIDE     = 0x3e0
};
static inline u32 apic_read(unsigned reg)
{
    return *(volatile u32 *)(u64)(APIC + reg);
}
static inline void apic_write(unsigned reg, u32 value)
{
    *(volatile u32 *)(u64)(APIC + reg) = value;
}
void send_ipi(unsigned index, u32 command);

/* Ticks of the TSC a second, measured by the PIT's channel 2. */
u64 tsc_hz(void);

/* The TSC in so many milliseconds: loops that wait for other vCPUs are bounded by time. */
static inline u64 after_ms(u64 ms)
{
    return rdtsc() + ms * (tsc_hz() / 1000);
}
static inline void serialize(void)
{
    cpuid(0, 0);
}

#define READ(x)         (*(volatile __typeof__(x) *)&(x))
#define WRITE(x, value) (*(volatile __typeof__(x) *)&(x) = (value))

#endif
