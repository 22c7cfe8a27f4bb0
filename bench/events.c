/* What the kernel events of a guest cost in the CPU's C functions, in nanoseconds, without executor or translator
 * around them: TLB misses, faults, interrupts, system calls, control registers.
 *
 *     events [thousands of each, default 1000] */

#include "../tests/unit/guest.h"

#include "cpu/x86/cache.h"
#include "cpu/x86/fpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    PAGE_A  = 0x601000,
    PAGE_B  = PAGE_A + (X86_TLB_SIZE << 12), /* in the same slot of the TLB */
    LARGE_A = 0x800000,
    LARGE_B = LARGE_A + (X86_TLB_SIZE << 12),
    ABSENT  = 0x602000,
    MANY    = 0x700000,
    N_MANY  = 64,
};

typedef struct Event {
    const char *name;
    void (*run)(X86Cpu *cpu);
    unsigned per_run; /* events that one call makes */
} Event;

static X86Insn insns[8];

static void insn(X86Cpu *cpu, unsigned n)
{
    x86_insn_run(cpu, &insns[n]);
}

/* --- memory --- */

static void miss_small(X86Cpu *cpu)
{
    x86_load(cpu, PAGE_A, 8);
    x86_load(cpu, PAGE_B, 8);
}

static void miss_large(X86Cpu *cpu)
{
    x86_load(cpu, LARGE_A, 8);
    x86_load(cpu, LARGE_B, 8);
}

static void miss_write(X86Cpu *cpu)
{
    x86_store(cpu, PAGE_A, 1, 8);
    x86_store(cpu, PAGE_B, 1, 8);
}

static void page_fault(X86Cpu *cpu)
{
    if (x86_setjmp(cpu->fault_exit) == 0) {
        x86_load(cpu, ABSENT, 8);
    }
}

static void page_fault_delivered(X86Cpu *cpu)
{
    if (x86_setjmp(cpu->fault_exit) == 0) {
        x86_load(cpu, ABSENT, 8);
    }
    x86_deliver(cpu, X86_EVENT_EXCEPTION, cpu->fault.vector, true, cpu->fault.error, cpu->rip);
    cpu->gpr[X86_RSP] += 8;
    x86_iret(cpu, 8);
}

static void flush_page(X86Cpu *cpu)
{
    x86_tlb_flush_page(cpu, PAGE_A);
    x86_load(cpu, PAGE_A, 8);
}

static void cross_page(X86Cpu *cpu)
{
    x86_load(cpu, PAGE_A - 4, 8);
}

/* --- address spaces --- */

static void cr3_keep(X86Cpu *cpu)
{
    uint64_t keep = UINT64_C(1) << 63;
    x86_write_cr(cpu, 3, keep | GUEST_TABLES | 1);
    x86_write_cr(cpu, 3, keep | GUEST_TABLES | 2);
}

static void cr3_flush(X86Cpu *cpu)
{
    x86_write_cr(cpu, 3, GUEST_TABLES | 1);
    x86_write_cr(cpu, 3, GUEST_TABLES | 2);
}

static void cr3_flush_many(X86Cpu *cpu)
{
    x86_write_cr(cpu, 3, GUEST_TABLES | 1);
    for (unsigned i = 0; i < N_MANY; i++) {
        x86_load(cpu, MANY + 0x1000 * i, 8);
    }
}

/* --- transfers --- */

static void system_call(X86Cpu *cpu)
{
    cpu->gpr[X86_RCX] = GUEST_CODE;
    cpu->gpr[X86_R11] = 0x202;
    x86_sysret(cpu, 8);
    x86_syscall(cpu, GUEST_CODE);
}

static void sysenter(X86Cpu *cpu)
{
    cpu->gpr[X86_RDX] = GUEST_CODE;
    cpu->gpr[X86_RCX] = GUEST_STACK;
    x86_sysexit(cpu, 8);
    x86_sysenter(cpu);
}

static void interrupt_same(X86Cpu *cpu)
{
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x40, false, 0, cpu->rip);
    x86_iret(cpu, 8);
}

static void interrupt_user(X86Cpu *cpu)
{
    cpu->gpr[X86_RCX] = GUEST_CODE;
    cpu->gpr[X86_R11] = 0x202;
    x86_sysret(cpu, 8);
    x86_deliver(cpu, X86_EVENT_EXTERNAL, 0x40, false, 0, cpu->rip);
    x86_iret(cpu, 8);
    x86_syscall(cpu, GUEST_CODE);
}

/* --- single instructions --- */

static void swapgs(X86Cpu *cpu)
{
    insn(cpu, 0);
}

static void sti_cli(X86Cpu *cpu)
{
    insn(cpu, 1);
    insn(cpu, 2);
}

static void pushf_popf(X86Cpu *cpu)
{
    insn(cpu, 3);
    insn(cpu, 4);
}

static void rdtsc(X86Cpu *cpu)
{
    insn(cpu, 5);
}

static void wrfsbase_msr(X86Cpu *cpu)
{
    cpu->gpr[X86_RCX] = 0xc0000100;
    insn(cpu, 6);
}

static void wrmsr_kernel_gs(X86Cpu *cpu)
{
    cpu->gpr[X86_RCX] = 0xc0000102;
    insn(cpu, 6);
}

static void stac_clac(X86Cpu *cpu)
{
    cpu->eflags ^= EFLAGS_AC;
    x86_update_mode(cpu);
}

static void load_ds(X86Cpu *cpu)
{
    x86_load_segment(cpu, X86_DS, GUEST_DS);
    x86_load_segment(cpu, X86_DS, 0);
}

static void task_switched(X86Cpu *cpu)
{
    x86_write_cr(cpu, 0, cpu->cr0 | CR0_TS);
    x86_clts(cpu);
}

static void park(X86Cpu *cpu)
{
    x86_unpark(cpu);
    x86_park(cpu);
}

static const Event events[] = {
    { "TLB miss, 4 KiB page, read", miss_small, 2 },
    { "TLB miss, 4 KiB page, write", miss_write, 2 },
    { "TLB miss, 2 MiB page, read", miss_large, 2 },
    { "load across two pages, TLB full", cross_page, 1 },
    { "page fault found, long jump", page_fault, 1 },
    { "page fault, delivery, IRET", page_fault_delivered, 1 },
    { "INVLPG and miss", flush_page, 1 },
    { "MOV CR3, no flush", cr3_keep, 2 },
    { "MOV CR3, flush of nothing", cr3_flush, 2 },
    { "64 misses and MOV CR3 that flushes them", cr3_flush_many, 1 },
    { "SYSRET and SYSCALL", system_call, 1 },
    { "SYSEXIT and SYSENTER", sysenter, 1 },
    { "interrupt and IRET in ring 0", interrupt_same, 1 },
    { "interrupt and IRET from ring 3, SYSCALL, SYSRET", interrupt_user, 1 },
    { "SWAPGS", swapgs, 1 },
    { "STI and CLI", sti_cli, 1 },
    { "PUSHF and POPF", pushf_popf, 1 },
    { "RDTSC", rdtsc, 1 },
    { "WRMSR FS_BASE", wrfsbase_msr, 1 },
    { "WRMSR KERNEL_GS_BASE", wrmsr_kernel_gs, 1 },
    { "AC flips", stac_clac, 1 },
    { "MOV DS twice", load_ds, 1 },
    { "CR0.TS set, CLTS", task_switched, 1 },
    { "x86_unpark() and x86_park()", park, 1 },
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void set_up(Guest *g)
{
    static const X86Model model  = { .kind = X86_VENDOR_INTEL };
    static const uint8_t  code[] = {
         0x0f, 0x01, 0xf8, /* swapgs */
         0xfb, 0xfa, 0x9c, 0x9d, 0x0f, 0x31, 0x0f, 0x30,
    };
    X86Cpu *cpu = g->cpus[0];

    guest_set_mode(g, 0, GUEST_LONG64, 0);
    cpu->cr4 |= CR4_PCIDE | CR4_SMEP;
    cpu->model = &model;
    cpu->efer |= EFER_SCE;
    cpu->star         = (uint64_t)GUEST_US32 << 48 | (uint64_t)GUEST_CS64 << 32;
    cpu->lstar        = GUEST_CODE;
    cpu->sysenter_cs  = GUEST_CS64;
    cpu->sysenter_eip = GUEST_CODE;
    cpu->sysenter_esp = GUEST_STACK;
    x86_update_mode(cpu);
    guest_map(g, PAGE_A - 0x1000, PAGE_A - 0x1000, 0x163);
    guest_map(g, PAGE_A, PAGE_A, 0x163);
    guest_map(g, ABSENT, 0, 0);
    for (unsigned i = 0; i < N_MANY; i++) {
        guest_map(g, MANY + 0x1000 * i, MANY + 0x1000 * i, 0x63);
    }
    uint64_t *pd      = (uint64_t *)(g->host + GUEST_TABLES + 0x2000);
    pd[PAGE_B >> 21]  = pd[PAGE_A >> 21];
    pd[LARGE_B >> 21] = pd[LARGE_A >> 21];
    x86_tlb_flush(cpu, true);

    unsigned at = 0;
    for (unsigned i = 0; at < sizeof code; i++) {
        x86_decode_insn(cpu, code + at, (unsigned)sizeof code - at, 0, &insns[i]);
        at += insns[i].len;
    }
    x86_init_tsc(cpu, 0);
    x86_tsc_set_running(g->group, true);
    x86_fpu_init_state(cpu, 0x37f);
}

int main(int argc, char **argv)
{
    unsigned n   = (argc > 1 ? (unsigned)strtoul(argv[1], NULL, 0) : 1000) * 1000;
    Guest   *g   = guest_new(1);
    X86Cpu  *cpu = g->cpus[0];

    set_up(g);
    vcpu_enter(&cpu->vcpu);
    if (x86_setjmp(cpu->fault_exit)) {
        fprintf(stderr, "unexpected exception %d\n", cpu->fault.vector);
        return 1;
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(events); i++) {
        const Event *e    = &events[i];
        double       best = 1e9;
        for (unsigned round = 0; round < 100; round++) {
            double start = now();
            for (unsigned k = 0; k < n / 100; k++) {
                e->run(cpu);
            }
            best = MIN(best, (now() - start) / (n / 100) / e->per_run);
        }
        printf("%-48s %7.1f ns\n", e->name, best);
    }
    vcpu_leave(&cpu->vcpu);
    guest_free(g);
    return 0;
}
