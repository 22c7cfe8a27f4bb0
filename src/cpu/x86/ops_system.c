/* System instructions: thin layers over system.h, and those that do nothing here.
 * Specification: Intel SDM 2 (December 2023). vCPU thread, inside x86_run(). */

#include "cpu/x86/cache.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/ops.h"
#include "cpu/x86/park.h"

enum { ARITH_CF = 0x100, ARITH_ZF = 0x4000 };

static void set_zf(X86Cpu *cpu, bool on)
{
    cpu->arith = (uint16_t)(on ? cpu->arith | ARITH_ZF : cpu->arith & ~ARITH_ZF);
}

static bool protected_mode(const X86Cpu *cpu)
{
    return (cpu->cr0 & CR0_PE) && !(cpu->eflags & EFLAGS_VM);
}

static void need_protected_mode(X86Cpu *cpu)
{
    if (!protected_mode(cpu)) {
        x86_raise(cpu, X86_UD);
    }
}

static uint16_t load16_operand(X86Cpu *cpu, const X86Insn *in)
{
    return in->flags & X86_INSN_MEMORY ? LOAD_OPERAND(16, cpu, in) : REG16(cpu, in->rm);
}

/* Stores a 16-bit value to memory, or a wider one to a register of the operand size. */
static void store_operand(X86Cpu *cpu, const X86Insn *in, uint64_t value)
{
    if (in->flags & X86_INSN_MEMORY) {
        STORE(16, cpu, in, x86_ea(cpu, in, 2, X86_WRITE), (uint16_t)value);
    } else {
        x86_set_sized(cpu, in->rm, in->opsize, value);
    }
}

/* --- waiting --- */

static void hlt(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    x86_want_exit(cpu, X86_EXIT_HALT);
}

/* Who spins may wait for a vCPU whose thread has no processor. Where there is no other vCPU it waits for time to pass
 * (a driver's delay): on a busy host a yield would make milliseconds of that. */
static void pause_insn(X86Cpu *cpu, const X86Insn *in)
{
    enum { PAUSES_A_YIELD = 64 };

    if (++cpu->cache->pauses % PAUSES_A_YIELD == 0) {
        x86_park(cpu);
        if (vcpu_group_size(cpu->vcpu.group) > 1) {
            g_thread_yield();
        }
    } else {
        __builtin_ia32_pause();
    }
}

static void monitor(X86Cpu *cpu, const X86Insn *in)
{
    if (cpu->cpl) {
        x86_raise(cpu, X86_UD);
    }
    if (x86_get_sized(cpu, X86_RCX, 4)) {
        x86_raise(cpu, X86_GP);
    }
    uint64_t offset      = x86_get_sized(cpu, X86_RAX, in->addrsize);
    uint64_t linear      = x86_linear(cpu, in->seg, offset, 1, X86_READ);
    cpu->monitor_address = x86_probe_read(cpu, linear);
    cpu->monitor_armed   = true;
}

/* The line that RAX points into becomes 0. */
static void clzero(X86Cpu *cpu, const X86Insn *in)
{
    static const uint8_t zeros[64];
    uint64_t             offset = x86_get_sized(cpu, X86_RAX, in->addrsize) & ~UINT64_C(63);
    x86_store_bytes(cpu, x86_linear(cpu, in->seg, offset, sizeof zeros, X86_WRITE), zeros, sizeof zeros);
}

/* Stores of others are not watched: with more than one vCPU it waits no longer than PAUSE does, which the architecture
 * allows, since a wake-up must not be lost. */
static void mwait(X86Cpu *cpu, const X86Insn *in)
{
    if (cpu->cpl) {
        x86_raise(cpu, X86_UD);
    }
    uint32_t extensions = REG32(cpu, X86_RCX);
    if (extensions & ~1u) {
        x86_raise(cpu, X86_GP);
    }
    bool armed         = cpu->monitor_armed;
    cpu->monitor_armed = false;
    x86_park(cpu);
    if (armed && vcpu_group_size(cpu->vcpu.group) == 1 && (cpu->eflags & EFLAGS_IF)) {
        x86_want_exit(cpu, X86_EXIT_HALT);
    } else {
        __builtin_ia32_pause();
    }
}

/* --- descriptor tables --- */

static void load_table(X86Cpu *cpu, const X86Insn *in, X86Table *table)
{
    x86_check_cpl0(cpu);
    bool     wide   = cpu->code_size == X86_CODE64;
    bool     stack  = in->seg == X86_SS;
    uint64_t linear = x86_ea(cpu, in, wide ? 10 : 6, X86_READ);
    uint16_t limit  = x86_load16(cpu, linear, stack);
    uint64_t base;

    if (wide) {
        base = x86_load64(cpu, linear + 2, stack);
        if (!x86_canonical(cpu, base)) {
            x86_raise(cpu, X86_GP);
        }
    } else {
        base = x86_load32(cpu, (uint32_t)(linear + 2), stack);
        base &= in->opsize == 2 ? 0xffffff : 0xffffffff;
    }
    *table = (X86Table){ .base = base, .limit = limit };
}

static void store_table(X86Cpu *cpu, const X86Insn *in, const X86Table *table)
{
    x86_check_umip(cpu);
    bool     wide   = cpu->code_size == X86_CODE64;
    bool     stack  = in->seg == X86_SS;
    unsigned len    = wide ? 10 : 6;
    uint64_t linear = x86_ea(cpu, in, len, X86_WRITE);

    x86_probe_write(cpu, linear, len);
    x86_store16(cpu, linear, table->limit, stack);
    if (wide) {
        x86_store64(cpu, linear + 2, table->base, stack);
    } else {
        x86_store32(cpu, (uint32_t)(linear + 2), (uint32_t)table->base, stack);
    }
}

static void lgdt(X86Cpu *cpu, const X86Insn *in)
{
    load_table(cpu, in, &cpu->gdt);
    cpu->segment_changes++;
}

static void lidt(X86Cpu *cpu, const X86Insn *in)
{
    load_table(cpu, in, &cpu->idt);
}

static void sgdt(X86Cpu *cpu, const X86Insn *in)
{
    store_table(cpu, in, &cpu->gdt);
}

static void sidt(X86Cpu *cpu, const X86Insn *in)
{
    store_table(cpu, in, &cpu->idt);
}

static void lldt(X86Cpu *cpu, const X86Insn *in)
{
    need_protected_mode(cpu);
    x86_check_cpl0(cpu);
    x86_lldt(cpu, load16_operand(cpu, in));
}

static void ltr(X86Cpu *cpu, const X86Insn *in)
{
    need_protected_mode(cpu);
    x86_check_cpl0(cpu);
    x86_ltr(cpu, load16_operand(cpu, in));
}

static void sldt(X86Cpu *cpu, const X86Insn *in)
{
    need_protected_mode(cpu);
    x86_check_umip(cpu);
    store_operand(cpu, in, cpu->ldt.selector);
}

static void str(X86Cpu *cpu, const X86Insn *in)
{
    need_protected_mode(cpu);
    x86_check_umip(cpu);
    store_operand(cpu, in, cpu->tr.selector);
}

static void smsw(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_umip(cpu);
    store_operand(cpu, in, cpu->cr0);
}

static void lmsw(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    x86_lmsw(cpu, load16_operand(cpu, in));
}

static void clts(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    x86_clts(cpu);
}

/* --- looking at descriptors --- */

static void lar(X86Cpu *cpu, const X86Insn *in)
{
    need_protected_mode(cpu);
    uint32_t rights;
    bool     ok = x86_lar(cpu, load16_operand(cpu, in), &rights);
    if (ok) {
        x86_set_sized(cpu, in->reg, in->opsize, rights);
    }
    set_zf(cpu, ok);
}

static void lsl(X86Cpu *cpu, const X86Insn *in)
{
    need_protected_mode(cpu);
    uint32_t limit;
    bool     ok = x86_lsl(cpu, load16_operand(cpu, in), &limit);
    if (ok) {
        x86_set_sized(cpu, in->reg, in->opsize, limit);
    }
    set_zf(cpu, ok);
}

static void verr(X86Cpu *cpu, const X86Insn *in)
{
    need_protected_mode(cpu);
    set_zf(cpu, x86_verr(cpu, load16_operand(cpu, in)));
}

static void verw(X86Cpu *cpu, const X86Insn *in)
{
    need_protected_mode(cpu);
    set_zf(cpu, x86_verw(cpu, load16_operand(cpu, in)));
}

static void arpl(X86Cpu *cpu, const X86Insn *in)
{
    need_protected_mode(cpu);
    uint16_t source = REG16(cpu, in->reg);
    if (in->flags & X86_INSN_MEMORY) {
        uint16_t dest = LOAD_OPERAND(16, cpu, in);
        bool     less = (dest & 3) < (source & 3);
        if (less) { /* otherwise nothing is written, and a read-only page is fine */
            uint64_t linear = x86_ea(cpu, in, 2, X86_WRITE);
            STORE(16, cpu, in, linear, (uint16_t)((dest & ~3) | (source & 3)));
        }
        set_zf(cpu, less);
    } else {
        uint16_t dest = REG16(cpu, in->rm);
        bool     less = (dest & 3) < (source & 3);
        if (less) {
            x86_set16(cpu, in->rm, (uint16_t)((dest & ~3) | (source & 3)));
        }
        set_zf(cpu, less);
    }
}

/* --- TLB and caches --- */

static void invlpg(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    uint64_t linear = x86_operand_offset(cpu, in);
    if (cpu->code_size != X86_CODE64) {
        linear = (uint32_t)(linear + cpu->seg[in->seg].base);
    } else if (in->seg == X86_FS || in->seg == X86_GS) {
        linear += cpu->seg[in->seg].base;
    }
    if (!cpu->long_mode || x86_canonical(cpu, linear)) {
        x86_tlb_flush_page(cpu, linear);
    }
}

static void invpcid(X86Cpu *cpu, const X86Insn *in)
{
    if (!protected_mode(cpu) && (cpu->cr0 & CR0_PE)) {
        x86_raise(cpu, X86_GP); /* virtual-8086 mode */
    }
    x86_check_cpl0(cpu);
    uint64_t type    = x86_get_sized(cpu, in->reg, cpu->code_size == X86_CODE64 ? 8 : 4);
    uint64_t linear  = x86_ea(cpu, in, 16, X86_READ);
    uint64_t low     = LOAD(64, cpu, in, linear);
    uint64_t address = LOAD(64, cpu, in, linear + 8);
    uint16_t pcid    = low & 0xfff;

    if (type > 3 || low >> 12 || (type < 2 && pcid && !(cpu->cr4 & CR4_PCIDE)) ||
        (type == 0 && !x86_canonical(cpu, address))) {
        x86_raise(cpu, X86_GP);
    }
    x86_invpcid(cpu, (unsigned)type, pcid, address);
}

static void invd(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
}

/* There are no caches to flush, but the address must be readable. */
static void flush_line(X86Cpu *cpu, const X86Insn *in)
{
    x86_probe_read(cpu, x86_ea(cpu, in, 1, X86_READ));
}

static void nop(X86Cpu *cpu, const X86Insn *in)
{
}

static void fence(X86Cpu *cpu, const X86Insn *in)
{
    atomic_thread_fence(memory_order_seq_cst);
}

/* --- identification, time, random numbers --- */

static void cpuid(X86Cpu *cpu, const X86Insn *in)
{
    x86_park(cpu);
    X86CpuidLeaf leaf = x86_cpuid(cpu, REG32(cpu, X86_RAX), REG32(cpu, X86_RCX));
    x86_set32(cpu, X86_RAX, leaf.eax);
    x86_set32(cpu, X86_RBX, leaf.ebx);
    x86_set32(cpu, X86_RCX, leaf.ecx);
    x86_set32(cpu, X86_RDX, leaf.edx);
}

static void set_edx_eax(X86Cpu *cpu, uint64_t value)
{
    x86_set32(cpu, X86_RAX, (uint32_t)value);
    x86_set32(cpu, X86_RDX, (uint32_t)(value >> 32));
}

static uint64_t get_edx_eax(const X86Cpu *cpu)
{
    return cpu->gpr[X86_RDX] << 32 | (uint32_t)cpu->gpr[X86_RAX];
}

static void check_tsd(X86Cpu *cpu)
{
    if ((cpu->cr4 & CR4_TSD) && cpu->cpl) {
        x86_raise(cpu, X86_GP);
    }
}

static void rdtsc(X86Cpu *cpu, const X86Insn *in)
{
    check_tsd(cpu);
    set_edx_eax(cpu, x86_tsc_now(cpu));
}

static void rdtscp(X86Cpu *cpu, const X86Insn *in)
{
    check_tsd(cpu);
    set_edx_eax(cpu, x86_tsc_now(cpu));
    x86_set32(cpu, X86_RCX, (uint32_t)cpu->tsc_aux);
}

static void rdpid(X86Cpu *cpu, const X86Insn *in)
{
    cpu->gpr[in->rm] = (uint32_t)cpu->tsc_aux;
}

/* No performance counters are offered: there is none that ECX could name. */
static void rdpmc(X86Cpu *cpu, const X86Insn *in)
{
    x86_raise(cpu, X86_GP);
}

/* With -seed: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014). */
static uint64_t next_random(X86Cpu *cpu)
{
    uint64_t z = cpu->random_state += UINT64_C(0x9e3779b97f4a7c15);
    z          = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z          = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#define RANDOM(op, bits)                                                                                               \
    static void op##bits(X86Cpu *cpu, const X86Insn *in)                                                               \
    {                                                                                                                  \
        uint##bits##_t value = cpu->random_seeded ? (uint##bits##_t)next_random(cpu) : 0;                              \
        bool           ok    = cpu->random_seeded;                                                                     \
        for (unsigned i = 0; i < 10 && !ok; i++) {                                                                     \
            __asm__ volatile(#op " %0" : "=r"(value), "=@ccc"(ok));                                                    \
        }                                                                                                              \
        x86_set##bits(cpu, in->rm, ok ? value : 0);                                                                    \
        cpu->arith = ok ? 0x200 | ARITH_CF : 0x200;                                                                    \
    }
RANDOM(rdrand, 16)
RANDOM(rdrand, 32)
RANDOM(rdrand, 64)
RANDOM(rdseed, 16)
RANDOM(rdseed, 32)
RANDOM(rdseed, 64)

/* --- MSRs, XCR0, FS and GS bases --- */

static void rdmsr(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    set_edx_eax(cpu, x86_rdmsr(cpu, REG32(cpu, X86_RCX)));
}

static void wrmsr(X86Cpu *cpu, const X86Insn *in)
{
    x86_check_cpl0(cpu);
    x86_wrmsr(cpu, REG32(cpu, X86_RCX), get_edx_eax(cpu));
}

static void need_osxsave(X86Cpu *cpu)
{
    if (!(cpu->cr4 & CR4_OSXSAVE)) {
        x86_raise(cpu, X86_UD);
    }
}

static void xgetbv(X86Cpu *cpu, const X86Insn *in)
{
    need_osxsave(cpu);
    set_edx_eax(cpu, x86_xgetbv(cpu, REG32(cpu, X86_RCX)));
}

static void xsetbv(X86Cpu *cpu, const X86Insn *in)
{
    need_osxsave(cpu);
    x86_check_cpl0(cpu);
    x86_xsetbv(cpu, REG32(cpu, X86_RCX), get_edx_eax(cpu));
}

static void swapgs(X86Cpu *cpu, const X86Insn *in)
{
    if (cpu->code_size != X86_CODE64) {
        x86_raise(cpu, X86_UD);
    }
    x86_check_cpl0(cpu);
    uint64_t base         = cpu->seg[X86_GS].base;
    cpu->seg[X86_GS].base = cpu->kernel_gs_base;
    cpu->kernel_gs_base   = base;
}

static void need_fsgsbase(X86Cpu *cpu)
{
    if (cpu->code_size != X86_CODE64 || !(cpu->cr4 & CR4_FSGSBASE)) {
        x86_raise(cpu, X86_UD);
    }
}

static void rdbase(X86Cpu *cpu, const X86Insn *in)
{
    need_fsgsbase(cpu);
    x86_set_sized(cpu, in->rm, in->opsize, cpu->seg[in->aux].base);
}

static void wrbase(X86Cpu *cpu, const X86Insn *in)
{
    need_fsgsbase(cpu);
    uint64_t base = x86_get_sized(cpu, in->rm, in->opsize);
    if (!x86_canonical(cpu, base)) {
        x86_raise(cpu, X86_GP);
    }
    cpu->seg[in->aux].base = base;
}

static void rsm(X86Cpu *cpu, const X86Insn *in)
{
    x86_park(cpu);
    bool halted = x86_rsm(cpu);
    if (cpu->in_shutdown) {
        x86_want_exit(cpu, X86_EXIT_SHUTDOWN);
    } else if (halted) {
        x86_want_exit(cpu, X86_EXIT_HALT);
    }
    cpu->branch = X86_BRANCH_SYSTEM;
}

/* --- decoding --- */

typedef struct SystemRow {
    uint16_t   mnemonic;
    X86Handler run;
    uint8_t    aux;
} SystemRow;

static const SystemRow system_rows[] = {
    { ZYDIS_MNEMONIC_HLT, hlt, 0 },
    { ZYDIS_MNEMONIC_PAUSE, pause_insn, 0 },
    { ZYDIS_MNEMONIC_MONITOR, monitor, 0 },
    { ZYDIS_MNEMONIC_MWAIT, mwait, 0 },
    { ZYDIS_MNEMONIC_LGDT, lgdt, 0 },
    { ZYDIS_MNEMONIC_LIDT, lidt, 0 },
    { ZYDIS_MNEMONIC_SGDT, sgdt, 0 },
    { ZYDIS_MNEMONIC_SIDT, sidt, 0 },
    { ZYDIS_MNEMONIC_LLDT, lldt, 0 },
    { ZYDIS_MNEMONIC_LTR, ltr, 0 },
    { ZYDIS_MNEMONIC_SLDT, sldt, 0 },
    { ZYDIS_MNEMONIC_STR, str, 0 },
    { ZYDIS_MNEMONIC_SMSW, smsw, 0 },
    { ZYDIS_MNEMONIC_LMSW, lmsw, 0 },
    { ZYDIS_MNEMONIC_CLTS, clts, 0 },
    { ZYDIS_MNEMONIC_LAR, lar, 0 },
    { ZYDIS_MNEMONIC_LSL, lsl, 0 },
    { ZYDIS_MNEMONIC_VERR, verr, 0 },
    { ZYDIS_MNEMONIC_VERW, verw, 0 },
    { ZYDIS_MNEMONIC_ARPL, arpl, 0 },
    { ZYDIS_MNEMONIC_INVLPG, invlpg, 0 },
    { ZYDIS_MNEMONIC_INVPCID, invpcid, 0 },
    { ZYDIS_MNEMONIC_INVD, invd, 0 },
    { ZYDIS_MNEMONIC_WBINVD, invd, 0 },
    { ZYDIS_MNEMONIC_CLFLUSH, flush_line, 0 },
    { ZYDIS_MNEMONIC_CLFLUSHOPT, flush_line, 0 },
    { ZYDIS_MNEMONIC_CLWB, flush_line, 0 },
    { ZYDIS_MNEMONIC_CLZERO, clzero, 0 },
    { ZYDIS_MNEMONIC_LFENCE, fence, 0 },
    { ZYDIS_MNEMONIC_SFENCE, fence, 0 },
    { ZYDIS_MNEMONIC_MFENCE, fence, 0 },
    { ZYDIS_MNEMONIC_SERIALIZE, fence, 0 }, /* fetches nothing ahead: the block ends */
    { ZYDIS_MNEMONIC_CPUID, cpuid, 0 },
    { ZYDIS_MNEMONIC_RDTSC, rdtsc, 0 },
    { ZYDIS_MNEMONIC_RDTSCP, rdtscp, 0 },
    { ZYDIS_MNEMONIC_RDPID, rdpid, 0 },
    { ZYDIS_MNEMONIC_RDPMC, rdpmc, 0 },
    { ZYDIS_MNEMONIC_RDMSR, rdmsr, 0 },
    { ZYDIS_MNEMONIC_WRMSR, wrmsr, 0 },
    { ZYDIS_MNEMONIC_XGETBV, xgetbv, 0 },
    { ZYDIS_MNEMONIC_XSETBV, xsetbv, 0 },
    { ZYDIS_MNEMONIC_SWAPGS, swapgs, 0 },
    { ZYDIS_MNEMONIC_RDFSBASE, rdbase, X86_FS },
    { ZYDIS_MNEMONIC_RDGSBASE, rdbase, X86_GS },
    { ZYDIS_MNEMONIC_WRFSBASE, wrbase, X86_FS },
    { ZYDIS_MNEMONIC_WRGSBASE, wrbase, X86_GS },
    { ZYDIS_MNEMONIC_RSM, rsm, 0 },
};

bool x86_decode_random(X86Decode *d)
{
    static const X86Handler handlers[2][3] = { { rdrand16, rdrand32, rdrand64 }, { rdseed16, rdseed32, rdseed64 } };

    d->in->run = handlers[d->arg][x86_size_index(d->op[0].size / 8) - 1];
    return true;
}

bool x86_decode_nop(X86Decode *d)
{
    /* PREFETCH with a register: reserved on AMD's processors, a NOP on Intel's. */
    if (d->z->opcode_map == ZYDIS_OPCODE_MAP_0F && d->z->opcode == 0x0d && !(d->in->flags & X86_INSN_MEMORY) &&
        __builtin_cpu_is("amd")) {
        return false;
    }
    d->in->run = nop;
    return true;
}

bool x86_decode_system(X86Decode *d)
{
    X86Insn *in = d->in;

    for (unsigned i = 0; i < G_N_ELEMENTS(system_rows); i++) {
        if (system_rows[i].mnemonic == d->z->mnemonic) {
            in->run = system_rows[i].run;
            in->aux = system_rows[i].aux;
            break;
        }
    }
    switch (d->z->mnemonic) {
    case ZYDIS_MNEMONIC_RSM: in->flags |= X86_INSN_ENDS | X86_INSN_TRANSFER; break;
    case ZYDIS_MNEMONIC_MONITOR:
    case ZYDIS_MNEMONIC_CLZERO:
        in->seg = d->z->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_FS   ? X86_FS
                  : d->z->attributes & ZYDIS_ATTRIB_HAS_SEGMENT_GS ? X86_GS
                                                                   : X86_DS;
        break;
    case ZYDIS_MNEMONIC_SLDT:
    case ZYDIS_MNEMONIC_STR:
    case ZYDIS_MNEMONIC_SMSW:
    case ZYDIS_MNEMONIC_LAR:
    case ZYDIS_MNEMONIC_LSL:
    case ZYDIS_MNEMONIC_RDFSBASE:
    case ZYDIS_MNEMONIC_RDGSBASE:
    case ZYDIS_MNEMONIC_WRFSBASE:
    case ZYDIS_MNEMONIC_WRGSBASE:
        if (x86_is_reg(&d->op[0])) {
            in->opsize = (uint8_t)(d->op[0].size / 8);
        }
        break;
    default: break;
    }
    return in->run;
}
