/* The plain executor's run loop: blocks one after the other, and between them faults, interrupts, traps and requests.
 *
 * vCPU thread. While a block runs, cpu->rip is the address of its first instruction and cpu->insn the instruction
 * itself; a fault leaves through x86_longjmp(), and the loop puts cpu->rip at the instruction before delivering it. */

#include "cpu/x86/cache.h"
#include "cpu/x86/tlb.h"

#include <inttypes.h>

/* --- what the loop has to look at --- */

/* After anything but plain code: which requests can be taken, and whether blocks can run whole. */
static void update_attention(X86Cpu *cpu)
{
    X86Cache *c = cpu->cache;

    c->attention &= ATTENTION_EXIT | ATTENTION_TRAP;
    if (cpu->eflags & (EFLAGS_TF | EFLAGS_RF) || c->single_insns) {
        c->attention |= ATTENTION_STEP;
    }
    bool code_breakpoints = false;
    for (unsigned i = 0; i < 4; i++) {
        code_breakpoints |= (cpu->dr[7] >> (2 * i) & 3) && (cpu->dr[7] >> (16 + 4 * i) & 3) == 0;
    }
    if (c->breakpoints->len || code_breakpoints) {
        c->attention |= ATTENTION_BREAK;
    }
    if (log_on(cpu->vcpu.log, LOG_EXEC | LOG_CPU)) {
        c->attention |= ATTENTION_LOG;
    }
    c->request_mask = ~(uint32_t)((cpu->eflags & EFLAGS_IF ? 0 : X86_REQUEST_INTR) |
                                  (cpu->nmi_blocked ? X86_REQUEST_NMI : 0) | (cpu->smm ? X86_REQUEST_SMI : 0));
}

static uint64_t linear_rip(const X86Cpu *cpu)
{
    return cpu->code_size == X86_CODE64 ? cpu->rip : (uint32_t)(cpu->seg[X86_CS].base + cpu->rip);
}

static void log_block(X86Cpu *cpu, const Block *b)
{
    static const char *const names[16] = { "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
                                           "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15" };
    const Log               *log       = cpu->vcpu.log;
    uint64_t                 linear    = linear_rip(cpu);

    if (!log_in_range(log, linear)) {
        return;
    }
    log_lock(log);
    log_print(log, LOG_EXEC, "Trace %d: [%016" PRIx64 "/%08x/%u]\n", cpu->vcpu.index, linear, cpu->mode_key, b->n);
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
static void run_blocks(X86Cpu *cpu, unsigned max)
{
    X86Cache *c = cpu->cache;
    Block    *b = block_find(cpu);

    for (;;) {
        if (__builtin_expect(c->attention & ATTENTION_LOG, 0)) {
            log_block(cpu, b);
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
            update_attention(cpu);
        }
        if (__builtin_expect((vcpu_requests(&cpu->vcpu) & c->request_mask) | c->attention | c->one_block, 0)) {
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

/* --- between blocks --- */

static bool at_breakpoint(const X86Cpu *cpu, uint64_t first, unsigned len)
{
    const GArray *list = cpu->cache->breakpoints;

    for (unsigned i = 0; i < list->len; i++) {
        if (g_array_index(list, uint64_t, i) - first < len) {
            return true;
        }
    }
    return false;
}

/* DR6 bits of the instruction breakpoints of DR7 in [first, first + len). */
static unsigned code_breakpoints_at(const X86Cpu *cpu, uint64_t first, unsigned len)
{
    unsigned hits = 0;

    for (unsigned i = 0; i < 4; i++) {
        bool enabled = cpu->dr[7] >> (2 * i) & 3;
        bool execute = (cpu->dr[7] >> (16 + 4 * i) & 3) == 0;
        if (enabled && execute && cpu->dr[i] - first < len) {
            hits |= 1u << i;
        }
    }
    return hits;
}

static bool delivered(X86Cpu *cpu, X86Exit *exit)
{
    update_attention(cpu);
    if (cpu->in_shutdown) {
        *exit = X86_EXIT_SHUTDOWN;
        return true;
    }
    if (cpu->cache->one_insn) {
        *exit = X86_EXIT_DEBUG;
        return true;
    }
    return false;
}

static bool deliver_trap(X86Cpu *cpu, uint64_t dr6, X86Exit *exit)
{
    cpu->dr[6] |= dr6;
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_DB, false, 0, cpu->rip);
    return delivered(cpu, exit);
}

static bool deliver_thrown(X86Cpu *cpu, int thrown, X86Exit *exit)
{
    X86Cache *c    = cpu->cache;
    uint64_t  next = cpu->rip;

    c->current                = NULL;
    cpu->tlb->breakpoints_hit = 0; /* the access they saw is made again */
    c->attention &= ~(uint32_t)ATTENTION_TRAP;
    x86_exclusive_end(cpu);
    if (cpu->insn) {
        next      = x86_insn_next(cpu, cpu->insn);
        cpu->rip  = x86_insn_rip(cpu, cpu->insn);
        cpu->insn = NULL;
    }
    if (thrown == X86_THROW_MISSING) {
        *exit = X86_EXIT_MISSING;
        return true;
    }
    if (thrown == X86_THROW_SOFTWARE) {
        x86_deliver(cpu, c->software_event, c->software_vector, false, 0, next);
    } else {
        x86_deliver(cpu, X86_EVENT_EXCEPTION, cpu->fault.vector, cpu->fault.has_error, cpu->fault.error, next);
    }
    return delivered(cpu, exit);
}

/* Takes what was asked of the vCPU. true: leave, or start over when `*again`. */
static bool take_requests(X86Cpu *cpu, bool shadow, X86Exit *exit, bool *again)
{
    uint32_t requests = vcpu_requests(&cpu->vcpu);

    if (requests & VCPU_REQUEST_YIELD) {
        vcpu_request_done(&cpu->vcpu, VCPU_REQUEST_YIELD);
        vcpu_leave(&cpu->vcpu);
        vcpu_enter(&cpu->vcpu);
    }
    x86_take_flush_request(cpu);
    if (requests & VCPU_REQUEST_EXIT) {
        *exit = X86_EXIT_REQUEST;
        return true;
    }
    if ((requests & cpu->cache->request_mask & ~(uint32_t)(VCPU_REQUEST_CPU - 1)) && !shadow) {
        *again = x86_take_interrupt(cpu);
        update_attention(cpu);
        if (*again && !cpu->wait_for_sipi) {
            return delivered(cpu, exit);
        }
    }
    if (cpu->wait_for_sipi) {
        *exit = X86_EXIT_HALT;
        return true;
    }
    return false;
}

/* Looks after everything that is not running blocks, and runs them until it is needed again, or leaves that to the
 * translator: X86_ROUND_TRANSLATE, when nothing speaks against it. */
static X86Round round_of(X86Cpu *cpu, X86Exit *exit, bool translator)
{
    X86Cache *c = cpu->cache;

    if (c->attention & ATTENTION_EXIT) {
        c->attention &= ~(uint32_t)ATTENTION_EXIT;
        *exit            = (X86Exit)(cpu->exit_wanted - 1);
        cpu->exit_wanted = 0;
        return X86_ROUND_EXIT;
    }
    bool shadow     = cpu->interrupt_shadow != X86_SHADOW_NONE;
    bool traps_held = cpu->interrupt_shadow == X86_SHADOW_SS;
    if (cpu->tlb->breakpoints_hit && !traps_held) {
        uint32_t hits             = cpu->tlb->breakpoints_hit;
        cpu->tlb->breakpoints_hit = 0;
        c->attention &= ~(uint32_t)ATTENTION_TRAP;
        return deliver_trap(cpu, hits, exit) ? X86_ROUND_EXIT : X86_ROUND_AGAIN;
    }
    if (vcpu_requests(&cpu->vcpu) || cpu->wait_for_sipi) {
        bool again = false;
        if (take_requests(cpu, shadow, exit, &again)) {
            return X86_ROUND_EXIT;
        }
        if (again) {
            return X86_ROUND_AGAIN;
        }
    }

    unsigned max = shadow || c->one_insn || (c->attention & ATTENTION_STEP) ? 1 : CACHE_BLOCK_INSNS;
    if (c->attention & ATTENTION_BREAK) {
        uint64_t linear = linear_rip(cpu);
        if (!c->one_insn && at_breakpoint(cpu, linear, 1)) {
            *exit = X86_EXIT_DEBUG;
            return X86_ROUND_EXIT;
        }
        unsigned hits = cpu->eflags & EFLAGS_RF ? 0 : code_breakpoints_at(cpu, linear, 1);
        if (hits && !traps_held) {
            cpu->eflags |= EFLAGS_RF; /* a fault: the image on the stack says so */
            return deliver_trap(cpu, hits, exit) ? X86_ROUND_EXIT : X86_ROUND_AGAIN;
        }
        unsigned len = block_find(cpu)->len;
        if (at_breakpoint(cpu, linear + 1, len - 1) || code_breakpoints_at(cpu, linear + 1, len - 1)) {
            max = 1;
        }
    }

    bool stepping = cpu->eflags & EFLAGS_TF;
    cpu->eflags &= ~(uint32_t)EFLAGS_RF;
    c->no_step_trap = false;
    c->one_block    = stepping || c->one_insn;
    if (translator && max != 1 && !stepping && !c->attention && !cpu->tlb->check_alignment) {
        return X86_ROUND_TRANSLATE;
    }
    c->one_block |= translator;
    run_blocks(cpu, max);
    c->current = NULL;

    if (stepping && cpu->interrupt_shadow != X86_SHADOW_SS && !c->no_step_trap) {
        uint32_t hits             = cpu->tlb->breakpoints_hit;
        cpu->tlb->breakpoints_hit = 0;
        c->attention &= ~(uint32_t)ATTENTION_TRAP;
        update_attention(cpu);
        return deliver_trap(cpu, DR6_BS | hits, exit) ? X86_ROUND_EXIT : X86_ROUND_AGAIN;
    }
    if (cpu->eflags & (EFLAGS_TF | EFLAGS_RF) || (c->attention & ATTENTION_STEP)) {
        update_attention(cpu);
    }
    if (c->one_insn && !(c->attention & ATTENTION_EXIT)) {
        *exit = X86_EXIT_DEBUG;
        return X86_ROUND_EXIT;
    }
    return X86_ROUND_AGAIN;
}

X86Round x86_round(X86Cpu *cpu, X86Exit *exit)
{
    return round_of(cpu, exit, true);
}

void x86_run_one(X86Cpu *cpu)
{
    cpu->cache->one_block = true;
    run_blocks(cpu, 1);
    cpu->cache->current = NULL;
    if (cpu->eflags & (EFLAGS_TF | EFLAGS_RF)) {
        update_attention(cpu);
    }
}

bool x86_deliver_thrown(X86Cpu *cpu, int thrown, X86Exit *exit)
{
    return deliver_thrown(cpu, thrown, exit);
}

void x86_update_attention(X86Cpu *cpu)
{
    update_attention(cpu);
}

static bool run_round(X86Cpu *cpu, X86Exit *exit)
{
    int thrown = x86_setjmp(cpu->fault_exit);
    if (thrown) {
        return deliver_thrown(cpu, thrown, exit);
    }
    return round_of(cpu, exit, false) == X86_ROUND_EXIT;
}

void x86_run_begin(X86Cpu *cpu, bool one_insn)
{
    X86Cache *c = cpu->cache;

    cpu->insn        = NULL;
    cpu->exit_wanted = 0;
    c->current       = NULL;
    c->attention     = 0;
    c->one_insn      = one_insn;
    x86_tlb_select(cpu);
    update_attention(cpu);
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
