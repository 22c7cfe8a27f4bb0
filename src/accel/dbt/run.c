/* The vCPU's loop over translated code: finding the next unit, what the translator keeps in its frame, and the way
 * between the two.
 *
 * dbt_loop() holds the frame at the end of its own stack frame and enters translated code with RSP at it: what the code
 * calls lies below. Faults that C raises on behalf of translated code come back to it.
 *
 * vCPU thread. */

#include "accel/dbt/run.h"

#include "accel/dbt/cells.h"
#include "accel/dbt/runs.h"
#include "accel/dbt/slow.h"
#include "cpu/x86/cache.h"
#include "cpu/x86/cpuid.h"
#include "cpu/x86/tlb.h"
#include "cpu/x86/vector.h"

#include <alloca.h>

static _Thread_local DbtFrame *current_frame;

/* --- the next unit --- */

/* Where a unit has been made, all vCPUs know the page for code. */
static bool has_units(Dbt *dbt, const uint8_t *host)
{
    g_mutex_lock(&dbt->lock);
    bool has = dbt_pages_find(&dbt->pages, host);
    g_mutex_unlock(&dbt->lock);
    return has;
}

static bool is_marked(const X86TlbPage *page)
{
    return atomic_load_explicit(&ram_block_page(page->ram, page->ram_offset)->code_mask, memory_order_relaxed);
}

/* Makes writes to the page visible before anything of it is translated. Others may have run meanwhile: true. A mark
 * alone does not say that all vCPUs know: who has put it may not have told them yet. */
static bool watch(X86Cpu *cpu, Dbt *dbt, const X86TlbPage *page, unsigned offset, const uint8_t **told)
{
    bool alone = vcpu_group_size(cpu->vcpu.group) == 1;
    if (!page->ram->code_listener) {
        atomic_store_explicit(&page->ram->code_listener, &dbt->listener, memory_order_release);
    }
    if (is_marked(page) && (alone || *told == page->host || has_units(dbt, page->host))) {
        return false;
    }
    ram_block_mark_code(page->ram, page->ram_offset + offset, 1);
    x86_tlb_forbid_writes(cpu, page->host);
    if (!alone) {
        vcpu_flush_all(cpu->vcpu.group, &cpu->vcpu);
        x86_take_flush_request(cpu);
        *told = page->host;
    }
    return true;
}

DbtUnit *dbt_make_unit(DbtFrame *f, DbtFetch *fetch, const uint8_t *told[2], bool *again)
{
    X86Cpu  *cpu = f->cpu;
    Dbt     *dbt = f->dbt;
    DbtUnit *u   = NULL;

    X86TlbPage page = *x86_translate(cpu, x86_tlb_mode(cpu), fetch->linear, X86_FETCH);
    *again          = true;
    if (page.host + fetch->page_offset != fetch->host || watch(cpu, dbt, &page, fetch->page_offset, &told[0])) {
        return NULL;
    }
    g_mutex_lock(&dbt->lock);
    if (!is_marked(&page)) { /* who wrote there has taken the mark along with the last unit */
        g_mutex_unlock(&dbt->lock);
        told[0] = NULL;
        return NULL;
    }
    u = dbt_lookup(dbt, fetch->host, fetch->key, fetch->rip, fetch->linear, fetch->groups, &fetch->entry);
    if (!u) {
        u = dbt_relocate(dbt, fetch);
        if (u) {
            dbt_watch_copy(dbt, cpu, u);
        }
    }
    if (!u && !dbt->full) {
        u = dbt_translate(dbt, cpu, fetch);
    }
    g_mutex_unlock(&dbt->lock);
    if (u || dbt->full) {
        *again = false;
        return u;
    }

    /* One instruction that lies in two pages. Near the segment's end, what lies behind that is not fetched. */
    if (fetch->entry.kind != RECIPE_NONE || fetch->limit < 15) {
        *again = false;
        return NULL;
    }
    uint64_t next = (fetch->linear | X86_PAGE_MASK) + 1;
    if (cpu->code_size != X86_CODE64) {
        next = (uint32_t)next;
    }
    *again            = false;
    X86TlbPage second = *x86_translate(cpu, x86_tlb_mode(cpu), next, X86_FETCH);
    if (!second.host) {
        return NULL;
    }
    *again = true;
    if (watch(cpu, dbt, &second, 0, &told[1])) {
        return NULL;
    }
    fetch->host2       = second.host;
    fetch->ram2        = second.ram;
    fetch->ram_offset2 = second.ram_offset;
    fetch->linear2     = next;
    g_mutex_lock(&dbt->lock);
    if (is_marked(&page) && is_marked(&second)) {
        u      = dbt_translate(dbt, cpu, fetch);
        *again = false;
    } else {
        told[0] = told[1] = NULL;
    }
    g_mutex_unlock(&dbt->lock);
    return u;
}

/* The bytes of a unit's instruction as they are now; their number. */
static unsigned insn_bytes(const DbtUnit *u, unsigned n, uint8_t buf[16])
{
    unsigned off = u->insn_off[n], len = (unsigned)(u->insn_off[n + 1] - off);
    unsigned first = len;
    if (u->host2) {
        first = MIN(len, X86_PAGE_SIZE - (unsigned)(u->ram_offset & X86_PAGE_MASK));
        ram_copy_out(buf + first, u->host2, len - first);
    }
    ram_copy_out(buf, u->host + off, first);
    return len;
}

bool dbt_decode_slow(X86Cpu *cpu, const DbtUnit *u, unsigned n, X86Insn *in)
{
    uint8_t  buf[16] = { 0 };
    unsigned len     = insn_bytes(u, n, buf);
    return x86_decode_insn(cpu, buf, len, 0, in) == DECODE_OK && in->len == len;
}

/* --- x87 pointers --- */

/* The guest address behind a host address that translated code has just accessed; 0: not found. */
static uint64_t guest_address(const DbtFrame *f, uint64_t host)
{
    for (unsigned mode = 0; mode < DBT_MODES; mode++) {
        for (unsigned i = 0; i < 2 * DBT_MICRO; i++) {
            const DbtMicro *m      = &f->micro[mode][i / DBT_MICRO][i % DBT_MICRO];
            uint64_t        linear = host - m->addend;
            if (m->tag != DBT_NO_TAG && linear - m->tag < X86_PAGE_SIZE) {
                return linear;
            }
        }
    }
    return 0;
}

/* What the host keeps of the last x87 instruction is about the translated one: FIP, FDP, and in FOP its ModRM. */
static void map_fpu_pointers(X86Cpu *cpu, uint64_t host_fip, uint64_t host_fdp)
{
    DbtFrame *f       = current_frame;
    uint8_t   buf[16] = { 0 };
    uint64_t  rip     = 0;

    g_mutex_lock(&f->dbt->lock);
    DbtUnit *u = dbt_unit_at(f->dbt, (const uint8_t *)(uintptr_t)host_fip);
    if (u) {
        unsigned n = dbt_insn_at(u, (uint32_t)(host_fip - (uintptr_t)u->hot));
        rip        = u->rip + u->insn_off[n];
        insn_bytes(u, n, buf);
    }
    g_mutex_unlock(&f->dbt->lock);
    unsigned i    = 0;
    uint64_t base = 0;
    while (i < 14 && (buf[i] & 0xf8) != 0xd8) {
        if (cpu->code_size == X86_CODE64 && (buf[i] == 0x64 || buf[i] == 0x65)) {
            base = cpu->seg[buf[i] == 0x64 ? X86_FS : X86_GS].base;
        }
        i++; /* prefixes */
    }
    store_le64(cpu->xsave + FX_FIP, rip);
    store_le16(cpu->xsave + FX_FOP, rip ? (uint16_t)((buf[i] & 7) << 8 | buf[i + 1]) : 0);
    if (host_fdp) {
        store_le64(cpu->xsave + FX_FDP, guest_address(f, host_fdp) - base);
    }
    bool deprecated = x86_has(cpu, X86_FEATURE_ZERO_FCS_FDS);
    cpu->fpu_cs     = deprecated || !rip ? 0 : cpu->seg[X86_CS].selector;
    cpu->fpu_ds     = deprecated || !host_fdp ? 0 : cpu->seg[X86_DS].selector;
}

/* --- the loop --- */

static void frame_init(DbtFrame *f, Dbt *dbt, X86Cpu *cpu)
{
    dbt_signals_init();
    /* All but the jump caches, most of it, which are filled below. */
    memset(f, 0, offsetof(DbtFrame, jumps));
    memset((uint8_t *)f + offsetof(DbtFrame, misses), 0, sizeof *f - offsetof(DbtFrame, misses));
    f->cpu  = cpu;
    f->dbt  = dbt;
    f->kick = DBT_RUN;
    for (unsigned mode = 0; mode < DBT_MODES; mode++) {
        DbtJump *jumps = &f->jumps[dbt_first_jump(mode)];
        for (unsigned i = 0; i < dbt_n_jumps(mode); i++) {
            jumps[i] = (DbtJump){ .rip = dbt_empty_tag(mode, i), .code = dbt->stubs[STUB_LOOKUP] };
        }
    }
    for (unsigned i = 0; i < DBT_HEATS; i++) {
        f->heat[i] = DBT_WARM_RUNS;
    }
    f->trials = g_new0(DbtTrial, DBT_HEATS);
    for (unsigned i = 0; i < G_N_ELEMENTS(f->misses); i++) {
        f->misses[i] = i < DBT_MICROS ? DBT_MISSES : DBT_RUN_MISSES;
    }
    dbt_descriptors_flush(f);
    memset(f->micro_used, 1, sizeof f->micro_used);
    memset(f->runs_used, 0xff, sizeof f->runs_used);
    dbt_micro_flush(f, false);
    g_mutex_lock(&dbt->lock);
    dbt_cells_begin(f);
    dbt_watch_from(dbt, cpu->vcpu.log);
    g_ptr_array_add(dbt->frames, f);
    g_mutex_unlock(&dbt->lock);
    cpu->map_fpu_pointers = map_fpu_pointers;
    cpu->vcpu.kick_value  = DBT_KICKED;
    atomic_store_explicit(&cpu->vcpu.kick_word, &f->kick, memory_order_release);
}

static void frame_done(DbtFrame *f)
{
    f->cpu->map_fpu_pointers = NULL;
    dbt_windows_free(f);
    g_free(f->trials);
    atomic_store_explicit(&f->cpu->vcpu.kick_word, NULL, memory_order_release);
    g_mutex_lock(&f->dbt->lock);
    g_ptr_array_remove(f->dbt->frames, f);
    uint64_t *sum = (uint64_t *)&f->dbt->calls, *add = (uint64_t *)&f->calls;
    for (unsigned i = 0; i < sizeof(DbtCalls) / sizeof *sum; i++) {
        sum[i] += add[i];
    }
    g_mutex_unlock(&f->dbt->lock);
}

/* A region is emptied while nobody runs translated code. */
void dbt_make_room(DbtFrame *f)
{
    VcpuGroup *group = f->cpu->vcpu.group;
    vcpu_exclusive_begin(group, &f->cpu->vcpu);
    g_mutex_lock(&f->dbt->lock);
    if (f->dbt->full) {
        dbt_empty_region(f->dbt);
    }
    g_mutex_unlock(&f->dbt->lock);
    vcpu_exclusive_end(group, &f->cpu->vcpu);
    x86_take_flush_request(f->cpu);
}

DbtFrame *dbt_current_frame(void)
{
    return current_frame;
}

enum { FRAME_SPACE = 2 * HUGE_PAGE };

__attribute__((noinline, no_sanitize("address", "undefined", "thread"), no_stack_protector)) void
dbt_loop(Dbt *dbt, X86Cpu *cpu, const DbtHost *host)
{
    G_STATIC_ASSERT(sizeof(DbtFrame) <= FRAME_SPACE);
    /* Down to a multiple of HUGE_PAGE: what is called from translated code has its stack below this function's, where
     * ThreadSanitizer expects those who come back by a long jump. */
    uintptr_t here             = (uintptr_t)alloca(1);
    void     *space            = alloca(FRAME_SPACE + (here & (HUGE_PAGE - 1)));
    DbtFrame *volatile f       = (DbtFrame *)(((uintptr_t)space + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    DbtFrame *volatile outer   = current_frame;
    const uint8_t *volatile go = NULL;

    huge_advise(f, FRAME_SPACE);
    frame_init(f, dbt, cpu);
    current_frame = f;
    x86_run_begin(cpu, false);
    for (;;) {
        int thrown = x86_setjmp(cpu->fault_exit);
        go         = dbt_next_code(f, thrown, host);
        if (!go) {
            break;
        }
        /* From here, where the frame is: what is called from translated code has the stack below it. */
        ((void (*)(DbtFrame *, const uint8_t *))(uintptr_t)dbt->stubs[STUB_ENTER])(f, go);
    }
    current_frame = outer;
    frame_done(f);
}

/* --- one run, as x86_run() does it --- */

static bool stop_at_exit(void *opaque, X86Exit exit)
{
    *(X86Exit *)opaque = exit;
    return false;
}

X86Exit dbt_run(Dbt *dbt, X86Cpu *cpu)
{
    X86Exit exit = X86_EXIT_REQUEST;
    DbtHost host = { .exited = stop_at_exit, .opaque = &exit };
    dbt_loop(dbt, cpu, &host);
    return exit;
}
