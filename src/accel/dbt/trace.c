/* Tells people what the translator does: see trace.h.
 *
 * Units are reported when they are made, with the Dbt's lock held. Entries (-d exec, cpu) are reported where a vCPU
 * looks for its next unit; so that it looks each time, units are not linked and jump caches stay empty. */

#include "accel/dbt/trace.h"

#include "cpu/x86/cache.h"

#include <inttypes.h>

static void print(const Log *log, uint32_t item, const char *title, const GString *text)
{
    log_lock(log);
    log_print(log, item, "----------------\n%s\n%s", title, text->str);
    log_unlock(log);
}

static void perf_unit(const Dbt *dbt, const DbtUnit *u)
{
    char        name[64];
    const char *variant = u->groups == GROUPS_NARROW     ? ":narrow"
                          : u->groups == GROUPS_NONE     ? ":plain"
                          : u->entry.kind != RECIPE_NONE ? ":loop"
                                                         : "";
    g_snprintf(name, sizeof name, "guest:0x%" PRIx64 "%s", u->rip, variant);
    dbt_perf_code(dbt->perf, u->hot, u->hot_size, name);
    g_snprintf(name, sizeof name, "guest:0x%" PRIx64 "%s:slow", u->rip, variant);
    dbt_perf_code(dbt->perf, u->cold, u->cold_size, name);
}

static bool wants(const Log *log, uint64_t linear)
{
    return log_on(log, LOG_IN_ASM | LOG_OP | LOG_OUT_ASM) && log_in_range(log, linear);
}

static void log_code(const Dbt *dbt, const X86Cpu *cpu, const DbtUnit *u)
{
    const Log *log = cpu->vcpu.log;
    if (log_on(log, LOG_OUT_ASM)) {
        g_autoptr(GString) text = g_string_new(NULL);
        char title[64];
        g_snprintf(title, sizeof title, "OUT: [size=%u+%u]", u->hot_size, u->cold_size);
        dbt_list_code(text, dbt, u, cpu->code_size, DBT_LIST_ADDRESSES);
        print(log, LOG_OUT_ASM, title, text);
    }
}

void dbt_watch_unit(const Tr *t, const DbtUnit *u)
{
    const Log *log = t->cpu->vcpu.log;

    if (t->dbt->perf) {
        perf_unit(t->dbt, u);
    }
    if (!wants(log, t->f->linear)) {
        return;
    }
    if (log_on(log, LOG_IN_ASM)) {
        x86_log_code(t->cpu, t->s->page + t->f->page_offset, t->len, t->f->linear);
    }
    if (log_on(log, LOG_OP)) {
        g_autoptr(GString) text = g_string_new(NULL);
        dbt_list_ops(text, t);
        print(log, LOG_OP, "OP:", text);
    }
    log_code(t->dbt, t->cpu, u);
}

void dbt_watch_copy(const Dbt *dbt, X86Cpu *cpu, const DbtUnit *u)
{
    const Log *log = cpu->vcpu.log;

    if (dbt->perf) {
        perf_unit(dbt, u);
    }
    if (!wants(log, u->rip)) {
        return;
    }
    if (log_on(log, LOG_IN_ASM)) {
        uint8_t bytes[X86_PAGE_SIZE];
        ram_copy_out(bytes, u->host, u->len);
        x86_log_code(cpu, bytes, u->len, u->rip);
    }
    log_code(dbt, cpu, u);
}

void dbt_watch_from(Dbt *dbt, const Log *log)
{
    /* The first vCPU's doing: others look without the lock. */
    if (log_on(log, LOG_EXEC | LOG_CPU | LOG_NOCHAIN) && !dbt->no_links) {
        dbt->no_links = true;
        dbt->no_jumps = log_on(log, LOG_EXEC | LOG_CPU);
    }
}

void dbt_watch_entry(DbtFrame *f, const DbtUnit *u)
{
    x86_log_entry(f->cpu, u->n);
}

bool dbt_perf_start(Dbt *dbt, unsigned what, Error *err)
{
    dbt->perf = dbt_perf_new(what, err);
    if (!dbt->perf) {
        return false;
    }
    for (unsigned i = 0; i < N_STUBS; i++) {
        char name[64];
        g_snprintf(name, sizeof name, "stub:%s", dbt_stub_name((DbtStub)i));
        const uint8_t *end = i + 1 < N_STUBS ? dbt->stubs[i + 1] : dbt->rx + dbt->stub_size;
        dbt_perf_code(dbt->perf, dbt->stubs[i], (size_t)(end - dbt->stubs[i]), name);
    }
    return true;
}

void dbt_perf_stop(Dbt *dbt)
{
    g_mutex_lock(&dbt->lock);
    dbt_perf_free(dbt->perf);
    dbt->perf = NULL;
    g_mutex_unlock(&dbt->lock);
}
