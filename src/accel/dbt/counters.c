/* What the translator counts, by name. */

#include "accel/dbt/dbt.h"

#include <inttypes.h>

typedef struct CounterName {
    const char *name;
    bool        call; /* in DbtCalls, of each vCPU; else in DbtCounters */
    uint16_t    offset;
    const char *help;
} CounterName;

#define COUNTER(member, name, help)                                                                                    \
    {                                                                                                                  \
        name, false, offsetof(DbtCounters, member), help                                                               \
    }
#define CALL(member, name, help)                                                                                       \
    {                                                                                                                  \
        name, true, offsetof(DbtCalls, member), help                                                                   \
    }

static const CounterName names[] = {
    COUNTER(units, "units", "units translated"),
    COUNTER(insns, "guest-insns", "guest instructions in them"),
    COUNTER(guest_bytes, "guest-bytes", "bytes of those"),
    COUNTER(hot_bytes, "hot-bytes", "host code on the straight way"),
    COUNTER(cold_bytes, "cold-bytes", "host code of slow paths and exits"),
    COUNTER(killed, "killed", "units whose guest code was written, or whose memory was needed"),
    COUNTER(resets, "emptied", "regions of code memory that were emptied"),
    COUNTER(relocated, "relocated", "units copied to another linear address"),
    COUNTER(besides, "pages-beside", "pages that lost their units because they were written beside them often"),
    COUNTER(judged, "sites-judged", "memory accesses whose micro TLB entry missed often, counted and judged"),
    COUNTER(judged_run, "sites-runs", "those that look into a run of pages since, at first at least"),
    COUNTER(retried, "sites-retried", "those that look into the TLB, and try a run again"),
    COUNTER(windows, "windows", "times that scattered pages were mapped as a run"),
    COUNTER(window_pages, "window-pages", "those pages"),
    COUNTER(judged_tlb, "sites-tlb", "those that look into the TLB themselves since"),
    CALL(access, "slow-access", "memory accesses that the TLB had to be filled for, or that C ran"),
    CALL(access_run, "slow-access-run", "those that C ran"),
    CALL(group, "slow-group", "the same for groups of accesses"),
    CALL(group_failed, "slow-group-failed", "groups that went on in the plain variant of their unit"),
    CALL(insn, "c-insn", "instructions that have no template"),
    CALL(insn_ends, "c-insn-ends", "those that did not come back into their unit"),
    CALL(link, "link", "direct branches taken for the first time"),
    CALL(lookup, "lookup", "jumps to other pages that neither cells nor the jump cache knew"),
    CALL(ret, "ret-miss", "indirect jumps and returns that the jump cache did not know"),
    CALL(kick, "kick", "requests found by polling"),
    CALL(fault, "host-fault", "host exceptions in translated code"),
    CALL(rounds, "rounds", "turns of the run loop"),
    CALL(executor, "executor", "instructions that no unit could be made for"),
    CALL(unparked, "unpark", "returns to translated code that had to load the vector state"),
    CALL(flushes, "flush", "times that micro TLBs were flushed"),
    CALL(first, "first", "instructions that the executor ran since nobody had been there before"),
};

G_STATIC_ASSERT(G_N_ELEMENTS(names) == (sizeof(DbtCounters) + sizeof(DbtCalls)) / sizeof(uint64_t));

/* A vCPU that runs counts on meanwhile: its figures are those of some moment. */
__attribute__((no_sanitize("thread"))) static uint64_t value_at(const void *base, unsigned offset)
{
    return *(const volatile uint64_t *)((const char *)base + offset);
}

static uint64_t value_of(const Dbt *dbt, const CounterName *n)
{
    if (!n->call) {
        return value_at(&dbt->counters, n->offset);
    }
    uint64_t sum = value_at(&dbt->calls, n->offset);
    for (unsigned i = 0; i < dbt->frames->len; i++) {
        const DbtFrame *f = g_ptr_array_index(dbt->frames, i);
        sum += value_at(&f->calls, n->offset);
    }
    return sum;
}

size_t dbt_counters(Dbt *dbt, DbtCounter *out, size_t max)
{
    g_mutex_lock(&dbt->lock);
    for (size_t i = 0; i < G_N_ELEMENTS(names) && i < max; i++) {
        out[i] = (DbtCounter){ .name = names[i].name, .help = names[i].help, .value = value_of(dbt, &names[i]) };
    }
    g_mutex_unlock(&dbt->lock);
    return G_N_ELEMENTS(names);
}

bool dbt_counter(Dbt *dbt, const char *name, uint64_t *value)
{
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(names[i].name, name) == 0) {
            g_mutex_lock(&dbt->lock);
            *value = value_of(dbt, &names[i]);
            g_mutex_unlock(&dbt->lock);
            return true;
        }
    }
    return false;
}

void dbt_log_counters(Dbt *dbt, const Log *log)
{
    DbtCounter c[G_N_ELEMENTS(names)];
    size_t     n = dbt_counters(dbt, c, G_N_ELEMENTS(c));
    for (size_t i = 0; i < n; i++) {
        log_print(log, LOG_JIT, "jit %s %" PRIu64 "\n", c[i].name, c[i].value);
    }
}
