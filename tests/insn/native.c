/* Runs code on the host CPU: a made-up signal frame and rt_sigreturn load the whole state at once (general
 * registers, flags, code segment, vector and x87 registers), and the signal that an instruction or the breakpoint
 * behind the code raises brings the whole state back. */

#include "insn.h"

#include <asm/ldt.h>
#include <asm/prctl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

enum {
    FRAME_MAGIC1 = 0x46505853,
    FRAME_MAGIC2 = 0x46505845,
    FLAG_TF      = 0x100,
    FLAGS_USER   = 0x40cd5 | 0x200, /* AC OF DF SF ZF AF PF CF, IF */
    ALT_STACK    = 128 << 10,
    SA_RESTORER  = 0x4000000,
    LINUX_CALL   = 0x80,
};

/* What the kernel takes; libc's wrapper has another order and a larger mask. */
typedef struct KernelSigaction {
    void (*handler)(int, siginfo_t *, void *);
    uint64_t flags;
    void (*restorer)(void);
    uint64_t mask;
} KernelSigaction;

/* Kernel's idea of software-reserved bytes 464 to 511. */
typedef struct FrameExtra {
    uint32_t magic1, extended_size;
    uint64_t features;
    uint32_t xstate_size, padding[7];
} FrameExtra;

typedef struct Frame {
    uint8_t    fx[N_EXTENDED] __attribute__((aligned(64)));
    uint32_t   magic2;
    ucontext_t uc;
} Frame;

/* The signal handler's way back. */
static sigjmp_buf       back;
static uint8_t          caught_fx[N_EXTENDED];
static mcontext_t       caught_registers;
static bool             running;
static stack_t          signal_stack;
static struct sigaction quern_fpe, quern_segv; /* Quern's handlers, for what runs in Quern */
static bool             has_mode[N_MODES];
static bool             has_segments;
static bool             canonical_only; /* see native_takes_stack() */
static bool             answered[256];  /* see native_answers_int() */

static const uint8_t gpr_to_greg[16] = {
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
    REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

/* What the kernel leaves as it is for the handler, when the code may have changed it; C needs its own FS base. */
#define KEPT static __attribute__((used))
KEPT bool     caught_segments;
KEPT uint16_t caught_ds, caught_es, caught_fs, caught_gs;
KEPT uint64_t caught_fs_base, caught_gs_base, own_fs_base;
KEPT uint64_t runs, runs_at_tick; /* the clock, of processor time, breaks what still runs after a whole tick */

/* The kernel leaves EFLAGS.AC as the test set it too; C code would not survive that. A tick of the clock that breaks
 * nothing leaves all as it is: it may come between the test's instruction, or its signal, and the handler of that. */
void signal_entry(int number, siginfo_t *info, void *context);
__asm__("signal_entry:\n\t"
        "cmpl $27, %edi\n\t" /* SIGPROF */
        "jne 2f\n\t"
        "movq runs(%rip), %rax\n\t"
        "cmpq %rax, runs_at_tick(%rip)\n\t"
        "movq %rax, runs_at_tick(%rip)\n\t"
        "je 2f\n\t"
        "ret\n\t"
        "2:\n\t"
        "cmpb $0, caught_segments(%rip)\n\t"
        "je 1f\n\t"
        "movw %ds, caught_ds(%rip)\n\t"
        "movw %es, caught_es(%rip)\n\t"
        "movw %fs, caught_fs(%rip)\n\t"
        "movw %gs, caught_gs(%rip)\n\t"
        "pushq %rdi\n\t"
        "pushq %rsi\n\t"
        "movl $158, %eax\n\t" /* arch_prctl(ARCH_GET_FS) */
        "movl $0x1003, %edi\n\t"
        "leaq caught_fs_base(%rip), %rsi\n\t"
        "syscall\n\t"
        "movl $158, %eax\n\t" /* ARCH_GET_GS */
        "movl $0x1004, %edi\n\t"
        "leaq caught_gs_base(%rip), %rsi\n\t"
        "syscall\n\t"
        "movl $158, %eax\n\t" /* ARCH_SET_FS */
        "movl $0x1002, %edi\n\t"
        "movq own_fs_base(%rip), %rsi\n\t"
        "syscall\n\t"
        "popq %rsi\n\t"
        "popq %rdi\n\t"
        "1:\n\t"
        "pushfq\n\t"
        "andl $~0x40000, (%rsp)\n\t"
        "popfq\n\t"
        "jmp on_signal");

void signal_return(void);
__asm__("signal_return:\n\t"
        "movl $15, %eax\n\t" /* rt_sigreturn */
        "syscall");

void                       on_signal(int number, siginfo_t *info, void *context);
__attribute__((used)) void on_signal(int number, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    if (number == SIGPROF) {
        if (!running) {
            return;
        }
        uc->uc_mcontext.gregs[REG_TRAPNO] = HANGS;
    } else if (!running) {
        const struct sigaction *quern = number == SIGFPE ? &quern_fpe : number == SIGSEGV ? &quern_segv : NULL;
        if (quern && quern->sa_sigaction) {
            quern->sa_sigaction(number, info, context);
        } else {
            signal(number, SIG_DFL); /* the test's own fault */
        }
        return;
    }
    running          = false;
    caught_segments  = false;
    caught_registers = uc->uc_mcontext;
    memcpy(caught_fx, uc->uc_mcontext.fpregs, sizeof caught_fx);
    siglongjmp(back, 1);
}

/* By the system call: a sanitizer's sigaction() would put its own handler before ours, which would run with the test's
 * flags and would not learn that ours leaves by siglongjmp(). */
static void install(int number)
{
    KernelSigaction action = {
        .handler  = signal_entry,
        .flags    = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTORER,
        .restorer = signal_return,
    };
    if (syscall(SYS_rt_sigaction, number, &action, NULL, sizeof action.mask) != 0) {
        g_error("cannot handle signal %d", number);
    }
}

static void map_fixed(uintptr_t at, size_t size, int protection)
{
    void *p = mmap((void *)at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (void *)at) {
        g_error("cannot map %zu bytes at %#zx", size, (size_t)at);
    }
}

/* What the host will not have (16-bit segments are an option of kernels) is missing. */
static bool make_ldt(void)
{
    for (unsigned i = 1; i < N_LDT; i++) {
        if (syscall(SYS_modify_ldt, 0x11, &test_ldt[i], sizeof test_ldt[i]) != 0) {
            return false;
        }
    }
    return true;
}

uint64_t native_fs_base(void)
{
    if (!own_fs_base) {
        syscall(SYS_arch_prctl, ARCH_GET_FS, &own_fs_base);
    }
    return own_fs_base;
}

bool native_has_fsgsbase(void)
{
    return getauxval(AT_HWCAP2) & 2;
}

static void make_frame(Frame *f, const Code *code, const State *s)
{
    mcontext_t *m     = &f->uc.uc_mcontext;
    Mode        mode  = code->mode;
    unsigned    cs    = mode == MODE_64 ? CS_64 : mode == MODE_32 ? CS_32 : CS_16;
    unsigned    ss    = mode == MODE_16 ? DS_16 : SS_64;
    FrameExtra  extra = { FRAME_MAGIC1, sizeof f->fx + 4, 7, sizeof f->fx };

    memset(f, 0, sizeof *f);
    memcpy(f->fx, s->fx, sizeof f->fx);
    memcpy(f->fx + 464, &extra, sizeof extra);
    memset(f->fx + 512, 0, 64);
    store_le64(f->fx + 512, 7);
    f->magic2 = FRAME_MAGIC2;
    for (unsigned i = 0; i < 16; i++) {
        m->gregs[gpr_to_greg[i]] = (greg_t)s->gpr[i];
    }
    m->gregs[REG_RIP]    = (greg_t)s->rip;
    m->gregs[REG_EFL]    = (greg_t)(s->flags | 0x202 | (code->step ? FLAG_TF : 0));
    m->gregs[REG_CSGSFS] = (greg_t)(cs | (uint64_t)ss << 48);
    m->fpregs            = (fpregset_t)(void *)f->fx;
    f->uc.uc_stack       = signal_stack; /* the kernel takes it from here */
    f->uc.uc_flags       = 1 | 2 | 4;    /* XSTATE, SIGCONTEXT_SS, STRICT_RESTORE_SS */
}

static void __attribute__((noinline, noreturn)) enter_frame(Frame *f, unsigned data_segment)
{
    __asm__ volatile("movl %1, %%ds\n\t"
                     "movl %1, %%es\n\t"
                     "pushfq\n\t" /* sigreturn leaves ID and NT as they are */
                     "andl $~0x204000, (%%rsp)\n\t"
                     "popfq\n\t"
                     "movq %0, %%rsp\n\t"
                     "movl $15, %%eax\n\t" /* rt_sigreturn */
                     "syscall\n\t"
                     "ud2"
                     :
                     : "r"(&f->uc), "r"(data_segment)
                     : "memory");
    __builtin_unreachable();
}

static void read_back(Outcome *o, const Code *code, const State *before)
{
    const greg_t *g = caught_registers.gregs;
    o->state        = *before;
    for (unsigned i = 0; i < 16; i++) {
        o->state.gpr[i] = (uint64_t)g[gpr_to_greg[i]];
    }
    o->state.rip   = (uint64_t)g[REG_RIP];
    o->state.flags = (uint64_t)g[REG_EFL] & ~(uint64_t)(FLAG_TF | 0x10000 /* RF, set by the kernel's frame */);
    memcpy(o->state.fx, caught_fx, N_EXTENDED);
    uint64_t present = load_le64(caught_fx + 512);
    if (!(present & 4)) {
        memset(o->state.fx + 576, 0, 256);
    }
    memset(o->state.fx + 416, 0, 160); /* the frame's own, and the header */
    memcpy(o->state.data, (void *)(uintptr_t)DATA_BASE, DATA_TOTAL);
    o->state.sel[SEL_CS] = (uint16_t)g[REG_CSGSFS];
    o->state.sel[SEL_SS] = (uint16_t)((uint64_t)g[REG_CSGSFS] >> 48);
    if (code->segments) {
        o->state.sel[SEL_DS] = caught_ds;
        o->state.sel[SEL_ES] = caught_es;
        o->state.sel[SEL_FS] = caught_fs;
        o->state.sel[SEL_GS] = caught_gs;
        o->state.fs_base     = caught_fs_base;
        o->state.gs_base     = caught_gs_base;
    }

    o->vector = (int)g[REG_TRAPNO];
    o->error  = (uint32_t)g[REG_ERR];
    o->cr2    = o->vector == 14 ? (uint64_t)g[REG_CR2] : 0;
    if (o->vector == 3 && o->state.rip == code->rip + code->len + 1) {
        o->vector = NO_FAULT; /* the breakpoint behind the code */
        o->state.rip -= 1;
    } else if (o->vector == 1 && code->step) {
        o->vector = NO_FAULT;
    }
    if (o->vector != 14) {
        o->cr2 = 0;
    }
}

void native_run(const Code *code, const State *before, Outcome *after)
{
    static Frame frame;
    uint8_t     *at = (uint8_t *)(uintptr_t)CODE_BASE + (code->rip & (CODE_SIZE - 1));

    memset((void *)(uintptr_t)CODE_BASE, 0xcc, CODE_SIZE);
    memcpy(at, code->bytes, code->len);
    /* Reading it back serializes nothing, but the jump through the kernel does. */
    mprotect((void *)(uintptr_t)RO_BASE, DATA_END - RO_BASE, PROT_READ | PROT_WRITE);
    memcpy((void *)(uintptr_t)DATA_BASE, before->data, DATA_TOTAL);
    mprotect((void *)(uintptr_t)RO_BASE, DATA_END - RO_BASE, PROT_READ);
    memset((void *)(uintptr_t)LOOP_BASE, 0, 0x1000);
    *(uint8_t *)(uintptr_t)LOOP_BASE = code->loops;
    syscall(SYS_arch_prctl, ARCH_SET_GS, before->gs_base);
    make_frame(&frame, code, before);
    runs++;
    if (sigsetjmp(back, 0) == 0) {
        caught_segments = code->segments;
        running         = true;
        enter_frame(&frame, code->mode == MODE_16 ? DS_16 : SS_64);
    }
    read_back(after, code, before);
}

/* --- what the host has ---
 *
 * Hypervisors that run their guests' kernels in ring 3 offer little but 64-bit code: no segments of others, and when
 * they come back to a process they answer a stack pointer that is not canonical by #GP. They may have gates for INT
 * that do something: one has CPUID behind 1Ah. */

/* How these bytes end in a mode, with this RSP. */
static int try_code(Mode mode, const char *bytes, unsigned len, uint64_t rsp)
{
    static State   before;
    static Outcome after;
    Code           code = { .mode = mode, .rip = mode == MODE_16 ? 0 : CODE_BASE, .len = len };

    memcpy(code.bytes, bytes, len);
    memset(&before, 0, sizeof before);
    before.rip    = code.rip;
    before.gpr[4] = rsp;
    store_le16(before.fx, 0x37f);
    store_le32(before.fx + 24, 0x1f80);
    native_run(&code, &before, &after);
    return after.vector;
}

bool native_has_mode(Mode mode)
{
    return has_mode[mode];
}

bool native_has_segments(void)
{
    return has_segments;
}

bool native_answers_int(uint8_t vector)
{
    return answered[vector];
}

bool native_takes_stack(const State *s)
{
    return !canonical_only || (s->gpr[4] + (UINT64_C(1) << 47)) >> 48 == 0;
}

void native_init(void)
{
    map_fixed(CODE_BASE, CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC);
    map_fixed(LOOP_BASE, 0x1000, PROT_READ | PROT_WRITE);
    map_fixed(DATA_BASE, DATA_TOTAL, PROT_READ | PROT_WRITE);
    mprotect((void *)(uintptr_t)RO_BASE, DATA_END - RO_BASE, PROT_READ);

    signal_stack = (stack_t){ .ss_sp = g_malloc(ALT_STACK), .ss_size = ALT_STACK };
    sigaltstack(&signal_stack, NULL);
    static const int numbers[] = { SIGPROF, SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE };
    sigaction(SIGFPE, NULL, &quern_fpe);
    sigaction(SIGSEGV, NULL, &quern_segv);
    for (unsigned i = 0; i < G_N_ELEMENTS(numbers); i++) {
        install(numbers[i]);
    }
    struct itimerval tick = { .it_interval.tv_sec = 1, .it_value.tv_sec = 1 };
    setitimer(ITIMER_PROF, &tick, NULL);
    native_fs_base();
    bool has_ldt = make_ldt();
    for (Mode mode = MODE_64; mode < N_MODES; mode++) {
        has_mode[mode] = (mode != MODE_16 || has_ldt) && try_code(mode, "\x90", 1, DATA_SIZE / 2) == NO_FAULT;
    }
    /* MOV EAX, an LDT's selector; MOV ES, EAX */
    static const char load[] = { '\xb8', DS_16, 0, 0, 0, '\x8e', '\xc0' };
    has_segments             = has_ldt && try_code(MODE_64, load, sizeof load, DATA_BASE) == NO_FAULT;
    canonical_only           = try_code(MODE_64, "\x90", 1, UINT64_C(0x123456789abcdef0)) == 13;
    for (unsigned vector = 0; vector < G_N_ELEMENTS(answered); vector++) {
        const char interrupt[] = { '\xcd', (char)vector };
        answered[vector] =
            vector == LINUX_CALL || try_code(MODE_64, interrupt, sizeof interrupt, DATA_BASE) == NO_FAULT;
    }
}

void native_free(void)
{
    struct itimerval never = { 0 };
    setitimer(ITIMER_PROF, &never, NULL);
    stack_t none = { .ss_flags = SS_DISABLE };
    sigaltstack(&none, NULL);
    g_free(signal_stack.ss_sp);
}
