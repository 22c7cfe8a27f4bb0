/* The plain executor's run loop: blocks one after the other, and between them faults, interrupts, traps and requests.
 *
 * vCPU thread. While a block runs, cpu->rip is the address of its first instruction and cpu->insn the instruction
 * itself; a fault leaves through x86_longjmp(), and the loop puts cpu->rip at the instruction before delivering it. */

#include "cpu/x86/cache.h"
#include "cpu/x86/tlb.h"

#include <inttypes.h>

/* --- logging --- */

void x86_log_entry(X86Cpu *cpu, unsigned n)
{
    static const char *const names[16] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                           "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15" };
    const Log               *log       = cpu->vcpu.log;
    uint64_t                 linear    = x86_linear_rip(cpu);

    if (!log_in_range(log, linear)) {
        return;
    }
    log_lock(log);
    log_print(log, LOG_EXEC, "Trace %d: [%016" PRIx64 "/%08x/%u]\n", cpu->vcpu.index, linear, cpu->mode_key, n);
    if (log_on(log, LOG_CPU)) {
        for (unsigned i = 0; i < 16; i++) {
            log_print(log, LOG_CPU, "%s=%016" PRIx64 "%c", names[i], cpu->gpr[i], i % 4 == 3 ? '\n' : ' ');
        }
        log_print(log, LOG_CPU, "RIP=%016" PRIx64 " RFL=%08" PRIx64 " CPL=%u CS=%04x CR2=%016" PRIx64 "\n", cpu->rip,
                  x86_get_eflags(cpu), cpu->cpl, cpu->seg[X86_CS].selector, cpu->cr2);
    }
    log_unlock(log);
}

/* --- running --- */

/* Runs blocks until something needs the outer loop. `max` of the first block's instructions are run. */
void x86_run_blocks(X86Cpu *cpu, unsigned max)
{
    X86Cache *c   = cpu->cache;
    Block    *b   = block_find(cpu);
    bool      log = log_on(cpu->vcpu.log, LOG_EXEC | LOG_CPU);

    for (;;) {
        if (__builtin_expect(log, 0)) {
            x86_log_entry(cpu, b->n);
        }
        c->current            = b;
        const X86Insn *in     = b->insns;
        unsigned       n      = MIN(b->n, max);
        uint64_t       start  = cpu->rip;
        max                   = CACHE_BLOCK_INSNS;
        cpu->interrupt_shadow = X86_SHADOW_NONE;
        cpu->insn_end         = in + n;
        do {
            cpu->insn = in;
            in->run(cpu, in);
            in++;
        } while (in != cpu->insn_end);

        unsigned branch;
        if (in[-1].flags & X86_INSN_TRANSFER) {
            branch = cpu->branch;
        } else {
            cpu->rip = x86_cut_rip(cpu, cpu->rip + in[-1].rip_offset + in[-1].len);
            branch   = in[-1].flags & X86_INSN_ENDS ? X86_BRANCH_SYSTEM
                       : in == b->insns + b->n      ? X86_BRANCH_NEXT
                                                    : X86_BRANCH_INDIRECT;
        }
        cpu->insn = NULL;
        if (branch == X86_BRANCH_SYSTEM) {
            x86_update_attention(cpu);
        }
        if (__builtin_expect(x86_requests_due(cpu) | c->attention | c->one_block, 0)) {
            return;
        }

        if (branch <= X86_BRANCH_TAKEN) {
            BlockLink *link = &b->links[branch];
            Block     *to   = link->to;
            if (to && (link->epoch == CACHE_ALWAYS || (link->epoch == x86_tlb_epoch(cpu) && link->rip == cpu->rip)) &&
                block_fresh(to)) {
                b = to;
                continue;
            }
            uint64_t resets = c->resets;
            Block   *from   = b;
            b               = block_find(cpu);
            if (cpu->flat && resets == c->resets && !b->volatile_code && !from->volatile_code && !from->two_pages) {
                bool near = !b->two_pages && b->pages[0] == from->pages[0] && (start ^ cpu->rip) >> X86_PAGE_BITS == 0;
                *link     = (BlockLink){ .to = b, .epoch = near ? CACHE_ALWAYS : x86_tlb_epoch(cpu), .rip = cpu->rip };
            }
            continue;
        }
        b = block_find(cpu);
    }
}

void x86_run_one(X86Cpu *cpu)
{
    cpu->cache->one_block = true;
    x86_run_blocks(cpu, 1);
    cpu->cache->current = NULL;
    if (cpu->eflags & (EFLAGS_TF | EFLAGS_RF)) {
        x86_update_attention(cpu);
    }
}

static bool run_round(X86Cpu *cpu, X86Exit *exit)
{
    int thrown = x86_setjmp(cpu->fault_exit);
    if (thrown) {
        return x86_deliver_thrown(cpu, thrown, exit);
    }
    return x86_round(cpu, exit, false) == X86_ROUND_EXIT;
}

void x86_run_begin(X86Cpu *cpu, bool one_insn)
{
    X86Cache *c = cpu->cache;

    cpu->insn        = NULL;
    cpu->exit_wanted = 0;
    c->current       = NULL;
    c->attention     = cpu->tlb->breakpoints_hit ? ATTENTION_TRAP : 0; /* a trap that is due keeps RF */
    c->one_insn      = one_insn;
    x86_tlb_select(cpu);
    x86_update_attention(cpu);
}

static X86Exit run(X86Cpu *cpu, bool one_insn)
{
    X86Exit exit;

    x86_run_begin(cpu, one_insn);
    while (!run_round(cpu, &exit)) {
    }
    cpu->insn           = NULL;
    cpu->cache->current = NULL;
    return exit;
}

X86Exit x86_run(X86Cpu *cpu)
{
    return run(cpu, false);
}

X86Exit x86_step(X86Cpu *cpu)
{
    return run(cpu, true);
}

void x86_set_one_insn(X86Cpu *cpu, bool on)
{
    cpu->cache->single_insns = on;
}

/* --- the debugger's breakpoints --- */

void x86_breakpoint_add(X86Cpu *cpu, uint64_t linear)
{
    g_array_append_val(cpu->cache->breakpoints, linear);
}

bool x86_breakpoint_remove(X86Cpu *cpu, uint64_t linear)
{
    GArray *list = cpu->cache->breakpoints;

    for (unsigned i = 0; i < list->len; i++) {
        if (g_array_index(list, uint64_t, i) == linear) {
            g_array_remove_index_fast(list, i);
            return true;
        }
    }
    return false;
}
