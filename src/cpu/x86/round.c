/* Between blocks: what is due before guest code goes on (faults, traps, interrupts, requests), for the plain executor
 * and the translator alike.
 *
 * Part of the hot set (park.h): the vector state may be live. vCPU thread. */

#include "cpu/x86/cache.h"
#include "cpu/x86/tlb.h"
#include "cpu/x86/vector.h"

/* After anything but plain code: which requests can be taken, and whether blocks can run whole. */
void x86_update_attention(X86Cpu *cpu)
{
    X86Cache *c = cpu->cache;

    c->attention &= ATTENTION_EXIT | ATTENTION_TRAP;
    if (cpu->eflags & EFLAGS_TF || c->single_insns || cpu->ferr) {
        c->attention |= ATTENTION_STEP;
    }
    bool code_breakpoints = false;
    for (unsigned i = 0; i < 4 && (cpu->dr[7] & 0xff); i++) {
        code_breakpoints |= (cpu->dr[7] >> (2 * i) & 3) && (cpu->dr[7] >> (16 + 4 * i) & 3) == 0;
    }
    if (c->breakpoints->len || code_breakpoints) {
        c->attention |= ATTENTION_BREAK;
    }
    c->request_mask = ~(uint32_t)((cpu->nmi_blocked ? X86_REQUEST_NMI : 0) | (cpu->smm ? X86_REQUEST_SMI : 0));
    if (cpu->eflags & EFLAGS_RF) {
        /* It concerns the next instruction only, and there only breakpoints and the flags that a trap or an interrupt
         * before it would push: without any it has done its work. */
        if (c->attention || x86_requests_due(cpu)) {
            c->attention |= ATTENTION_STEP;
        } else {
            cpu->eflags &= ~(uint32_t)EFLAGS_RF;
        }
    }
}

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
    x86_update_attention(cpu);
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

/* HLT and MWAIT are over at once when a trap follows them: debug exceptions wake (SDM 2, HLT). */
static bool trap_wakes(const X86Cpu *cpu)
{
    return cpu->exit_wanted == X86_EXIT_HALT + 1;
}

static bool deliver_trap(X86Cpu *cpu, uint64_t dr6, X86Exit *exit)
{
    if (trap_wakes(cpu)) {
        cpu->cache->attention &= ~(uint32_t)ATTENTION_EXIT;
        cpu->exit_wanted = 0;
    }
    cpu->dr[6] |= dr6;
    x86_deliver(cpu, X86_EVENT_EXCEPTION, X86_DB, false, 0, cpu->rip);
    return delivered(cpu, exit);
}

bool x86_deliver_thrown(X86Cpu *cpu, int thrown, X86Exit *exit)
{
    X86Cache *c    = cpu->cache;
    uint64_t  next = cpu->rip;

    c->current = NULL;
    if (thrown != X86_THROW_SOFTWARE) {
        cpu->tlb->breakpoints_hit = 0; /* the access they saw is made again */
        c->attention &= ~(uint32_t)ATTENTION_TRAP;
    } /* else a MOV SS before it saw them: they are reported in the handler (SDM 3, 18.3.1.2) */
    x86_exclusive_end(cpu);
    if (cpu->insn) {
        next      = x86_insn_next(cpu, cpu->insn);
        cpu->rip  = x86_insn_rip(cpu, cpu->insn);
        cpu->insn = NULL;
    }
    if (cpu->ferr || thrown == X86_THROW_FERR) {
        x86_park(cpu);
        x86_fpu_follow_error(cpu);
    }
    if (thrown == X86_THROW_FERR) {
        /* The processor stands still before the instruction and takes interrupts there (SDM 1, appendix D). */
        cpu->interrupt_shadow = X86_SHADOW_NONE;
        bool frozen           = x86_fpu_report_error(cpu);
        x86_update_attention(cpu);
        *exit = X86_EXIT_HALT;
        return frozen;
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
        x86_park(cpu);
        vcpu_leave(&cpu->vcpu);
        vcpu_enter(&cpu->vcpu);
    }
    x86_take_flush_request(cpu);
    if (requests & VCPU_REQUEST_EXIT) {
        *exit = X86_EXIT_REQUEST;
        return true;
    }
    if ((x86_requests_due(cpu) & ~(uint32_t)(VCPU_REQUEST_CPU - 1)) && !shadow) {
        *again = x86_take_interrupt(cpu);
        x86_update_attention(cpu);
        if (*again && (!cpu->wait_for_sipi || cpu->in_shutdown)) {
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
X86Round x86_round(X86Cpu *cpu, X86Exit *exit, bool translator)
{
    X86Cache *c = cpu->cache;

    bool shadow     = cpu->interrupt_shadow != X86_SHADOW_NONE;
    bool traps_held = cpu->interrupt_shadow == X86_SHADOW_SS;
    bool trap_due   = cpu->tlb->breakpoints_hit && !traps_held;
    if (c->attention & ATTENTION_EXIT && !(trap_due && trap_wakes(cpu))) {
        c->attention &= ~(uint32_t)ATTENTION_EXIT;
        *exit            = (X86Exit)(cpu->exit_wanted - 1);
        cpu->exit_wanted = 0;
        return X86_ROUND_EXIT;
    }
    if (trap_due) {
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

    if (translator && !c->attention && !c->one_insn && !(cpu->eflags & EFLAGS_TF) && !cpu->tlb->check_alignment) {
        return X86_ROUND_TRANSLATE;
    }
    unsigned max = shadow || c->one_insn || (c->attention & ATTENTION_STEP) ? 1 : CACHE_BLOCK_INSNS;
    if (c->attention & ATTENTION_BREAK) {
        uint64_t linear = x86_linear_rip(cpu);
        if (!c->one_insn && at_breakpoint(cpu, linear, 1)) {
            *exit = X86_EXIT_DEBUG;
            return X86_ROUND_EXIT;
        }
        unsigned hits = cpu->eflags & EFLAGS_RF ? 0 : code_breakpoints_at(cpu, linear, 1);
        if (hits && !traps_held) {
            /* The image on the stack has RF as it is, clear: debuggers set it (SDM 3, 18.3.1.1). */
            return deliver_trap(cpu, hits, exit) ? X86_ROUND_EXIT : X86_ROUND_AGAIN;
        }
        x86_park(cpu);
        unsigned len = block_find(cpu)->len;
        if (at_breakpoint(cpu, linear + 1, len - 1) || code_breakpoints_at(cpu, linear + 1, len - 1)) {
            max = 1;
        }
    }

    bool stepping = cpu->eflags & EFLAGS_TF;
    cpu->eflags &= ~(uint32_t)EFLAGS_RF;
    c->no_step_trap = false;
    c->one_block    = stepping || c->one_insn;
    c->one_block |= translator;
    x86_park(cpu);
    x86_run_blocks(cpu, max);
    c->current = NULL;
    if (cpu->ferr) {
        x86_fpu_follow_error(cpu);
    }

    if (stepping && cpu->interrupt_shadow != X86_SHADOW_SS && !c->no_step_trap) {
        uint32_t hits             = cpu->tlb->breakpoints_hit;
        cpu->tlb->breakpoints_hit = 0;
        c->attention &= ~(uint32_t)ATTENTION_TRAP;
        x86_update_attention(cpu);
        return deliver_trap(cpu, DR6_BS | hits, exit) ? X86_ROUND_EXIT : X86_ROUND_AGAIN;
    }
    if (cpu->eflags & (EFLAGS_TF | EFLAGS_RF) || (c->attention & ATTENTION_STEP)) {
        x86_update_attention(cpu);
    }
    if (c->one_insn && !(c->attention & ATTENTION_EXIT)) {
        *exit = X86_EXIT_DEBUG;
        return X86_ROUND_EXIT;
    }
    return X86_ROUND_AGAIN;
}
