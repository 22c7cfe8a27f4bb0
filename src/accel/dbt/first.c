/* Code that runs for the first times. A third of what a kernel's start comes to never runs again: to translate it takes
 * several times as long as the executor needs to run it. So 64-bit code is translated when it is branched to for the
 * fourth time.
 *
 * Its bytes are read instruction by instruction, each when its turn comes: nobody need be told that they are code.
 *
 * vCPU thread; part of the hot set. */

#include "accel/dbt/slow.h"

#include "cpu/x86/cache.h"
#include "cpu/x86/ops.h"

enum { LOGS = LOG_IN_ASM | LOG_OP | LOG_OUT_ASM | LOG_EXEC | LOG_CPU | LOG_NOCHAIN };

typedef enum Ran {
    RAN_ON,     /* to the next instruction */
    RAN_BRANCH, /* somewhere else */
    RAN_OUT,    /* there is more to be done than running code */
    RAN_NOT,    /* it is left to a unit */
} Ran;

static void forget(Dbt *dbt)
{
    for (unsigned i = 0; i < DBT_FIRST_WORDS; i++) {
        __atomic_store_n(&dbt->branched[i], 0, __ATOMIC_RELAXED);
    }
    __atomic_store_n(&dbt->n_branched, 0, __ATOMIC_RELAXED);
}

void dbt_set_first(Dbt *dbt, unsigned runs)
{
    dbt->first_runs = runs;
    if (dbt->n_branched) {
        forget(dbt);
    }
}

static bool is_wanted(const DbtFrame *f)
{
    const X86Cpu *cpu = f->cpu;
    return f->dbt->first_runs && cpu->code_size == X86_CODE64 && !log_on(cpu->vcpu.log, LOGS);
}

/* The byte at rip; NULL: it is not in RAM, or rip is no address. */
static const uint8_t *code_at(X86Cpu *cpu)
{
    const X86TlbEntry *e = x86_tlb_slot(cpu, cpu->rip);
    if (e->fetch != (cpu->rip & ~(uint64_t)X86_PAGE_MASK)) {
        if (!x86_canonical(cpu, cpu->rip)) {
            return NULL;
        }
        x86_translate(cpu, x86_tlb_mode(cpu), cpu->rip, X86_FETCH);
        if (e->fetch != (cpu->rip & ~(uint64_t)X86_PAGE_MASK)) {
            return NULL;
        }
    }
    return (const uint8_t *)(cpu->rip + e->addend);
}

/* Two bits for each place that code has been branched to: how often. Who shares them with another is translated sooner;
 * when many are in use all are cleared, and code that has been in use for long, but not translated, runs like this
 * again. vCPUs may undo each other's counting: code is the executor's once more then. */
static bool is_new(Dbt *dbt, const uint8_t *host)
{
    uint64_t  place = (uintptr_t)host * UINT64_C(0x9e3779b97f4a7c15) >> (65 - DBT_FIRST_BITS);
    uint64_t *word = &dbt->branched[place / 32], counts = __atomic_load_n(word, __ATOMIC_RELAXED);
    unsigned  shift = 2 * (place % 32), count = counts >> shift & 3;

    if (count >= dbt->first_runs) {
        return false;
    }
    __atomic_store_n(word, counts + (UINT64_C(1) << shift), __ATOMIC_RELAXED);
    if (count == 0 && __atomic_add_fetch(&dbt->n_branched, 1, __ATOMIC_RELAXED) > DBT_FIRST_MOST) {
        forget(dbt);
    }
    return true;
}

/* The instruction at cpu->rip. */
static Ran run_insn(DbtFrame *f)
{
    X86Cpu        *cpu  = f->cpu;
    X86Insn       *in   = &f->insn;
    const uint8_t *host = code_at(cpu);

    if (!host || (cpu->rip & X86_PAGE_MASK) > X86_PAGE_SIZE - X86_QUICK_BYTES) {
        return RAN_NOT;
    }
    if (!x86_decode_quick(cpu, host, in)) {
        uint64_t bytes[X86_QUICK_BYTES / 8] = { x86_guest_get64(host), x86_guest_get64(host + 8) };
        x86_park(cpu);
        if (x86_decode_insn(cpu, (const uint8_t *)bytes, X86_QUICK_BYTES - 1, 0, in) != DECODE_OK) {
            return RAN_NOT;
        }
    }
    cpu->insn             = in;
    cpu->insn_end         = in + 2;
    cpu->interrupt_shadow = X86_SHADOW_NONE;
    x86_insn_run(cpu, in);
    bool stop = cpu->insn_end != in + 2;
    cpu->insn = NULL;
    f->calls.first++;

    bool transfer = in->flags & X86_INSN_TRANSFER;
    if (!transfer) {
        cpu->rip = x86_cut_rip(cpu, cpu->rip + in->len);
    }
    if (in->flags & X86_INSN_ENDS && (!transfer || cpu->branch == X86_BRANCH_SYSTEM)) {
        x86_update_attention(cpu);
        return RAN_OUT;
    }
    if (stop || cpu->cache->attention) {
        return RAN_OUT;
    }
    return transfer && cpu->branch != X86_BRANCH_NEXT ? RAN_BRANCH : RAN_ON;
}

const uint8_t *dbt_run_first(DbtFrame *f)
{
    X86Cpu *cpu = f->cpu;
    bool    ran = false;
    Ran     how = RAN_BRANCH;

    while (how == RAN_BRANCH && is_wanted(f)) {
        const uint8_t *host = code_at(cpu);
        if (!host || !is_new(f->dbt, host)) {
            break;
        }
        ran = true;
        do {
            how = run_insn(f);
        } while (how == RAN_ON);
        if (how == RAN_OUT || dbt_is_polled(f)) {
            return dbt_go_on(f);
        }
    }
    if (!ran) {
        return NULL;
    }
    if (cpu->tlb->changes.any) {
        dbt_sync_flush(f);
    }
    const uint8_t *to = dbt_find_quickly(f);
    if (to) {
        return dbt_go(f, to);
    }
    DbtUnit *u = dbt_next_unit(f, GROUPS_WIDE, NULL);
    return u ? dbt_go(f, u->hot) : dbt_leave(f);
}
