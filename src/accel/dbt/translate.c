/* Makes a unit: decodes up to an instruction that ends it, finds out where flags are needed, lets the templates emit,
 * and puts the result into the code cache.
 *
 * A unit lies in one guest page and goes on through conditional branches that are not taken. It depends on its own
 * bytes and on those that were looked at to see whether flags live on at a branch's target.
 *
 * Lock of the Dbt held. */

#include "accel/dbt/cells.h"
#include "accel/dbt/trace.h"

#include "cpu/x86/cache.h"
#include "cpu/x86/cpuid.h"

struct DbtScratch *dbt_scratch_new(void)
{
    return g_new(DbtScratch, 1);
}

void dbt_scratch_free(struct DbtScratch *s)
{
    g_free(s);
}

/* --- decoding --- */

static DbtMode mode_of(const Dbt *dbt, const X86Cpu *cpu)
{
    bool       smap = cpu->code_size == X86_CODE64 && !cpu->cpl && cpu->cr4 & CR4_SMAP;
    X86TlbMode mode = x86_tlb_mode(cpu);
    DbtMode    m    = {
              .code      = cpu->code_size == X86_CODE64   ? 8
                           : cpu->code_size == X86_CODE32 ? 4
                                                          : 2,
              .stack     = cpu->stack_size,
              .flat      = cpu->flat,
              .limit     = cpu->seg[X86_CS].limit,
              .forward   = !(cpu->eflags & EFLAGS_DF),
              .kernel    = cpu->cpl == 0,
              .user      = cpu->cpl == 3,
              .stac      = smap && mode == X86_TLB_KERNEL_SMAP,
              .clac      = smap && mode == X86_TLB_KERNEL_OPEN,
              .rdtscp    = x86_has(cpu, X86_FEATURE_RDTSCP),
              .serialize = x86_has(cpu, X86_FEATURE_SERIALIZE),
              .cx16      = x86_has(cpu, X86_FEATURE_CX16),
              .popcnt    = x86_has(cpu, X86_FEATURE_POPCNT),
              .lzcnt     = x86_has(cpu, X86_FEATURE_ABM),
              .tzcnt     = x86_has(cpu, X86_FEATURE_BMI1),
              .movbe     = x86_has(cpu, X86_FEATURE_MOVBE),
              .crc32     = x86_has(cpu, X86_FEATURE_SSE4_2),
              .bmi1      = x86_has(cpu, X86_FEATURE_BMI1),
              .bmi2      = x86_has(cpu, X86_FEATURE_BMI2),
              .writes    = dbt->writes,
    };
    for (unsigned i = 0; i < X86_N_SEG && m.code != 8; i++) {
        m.seg[i] = (uint8_t)x86_segment_kind(cpu->segment_key, i);
    }
    m.ints_by_c = log_on(cpu->vcpu.log, LOG_INT);
    m.protected = cpu->cr0 & CR0_PE && !cpu->long_mode;
    /* Loading segment registers must not make the mode flat, or another one. */
    unsigned cs = m.seg[X86_CS] & X86_SEGMENT_LIMIT;
    m.vm86      = cpu->eflags & EFLAGS_VM;
    m.real      = m.code != 8 && (m.vm86 ? cs == X86_SEGMENT_64K : !(cpu->cr0 & CR0_PE) && cs && cs != X86_SEGMENT_4G);
    return m;
}

static void note_range(Tr *t, unsigned start, unsigned end)
{
    t->range_start = MIN(t->range_start, start);
    t->range_end   = MAX(t->range_end, end);
}

static bool ends_unit(const DbtInsn *in)
{
    return in->t == T_CALL || in->t == T_CALLI || in->t == T_RET || in->t == T_JMP || in->t == T_JMPI ||
           in->t == T_STAC || in->t == T_CLAC || in->t == T_SYSCALL || in->t == T_SYSRET || in->t == T_FAR ||
           in->t == T_FARQ;
}

static bool is_branch(const DbtInsn *in)
{
    return in->t == T_JCC || in->t == T_LOOP || in->t == T_JMP || in->t == T_CALL;
}

/* Outside 64-bit mode a direct branch is cut to the operand size. Beyond CS's limit it faults: C. */
static void cut_branch(Tr *t, unsigned off, DbtInsn *in)
{
    if (t->mode.code == 8 || !is_branch(in)) {
        return;
    }
    uint32_t next   = (uint32_t)(t->f->rip + off + in->len);
    uint32_t target = next + (uint32_t)in->imm;
    target          = in->opsize == 2 ? (uint16_t)target : target;
    in->imm         = (int32_t)(target - next);
    if (target > t->mode.limit) {
        in->t = T_OTHER;
    }
}

/* The instruction as C runs it, for those that have no template or not for every case. */
static bool decode_c(Tr *t, const uint8_t *buf, unsigned avail, DbtInsn *in)
{
    if (x86_decode_insn(t->cpu, buf, avail, 0, &t->s->c[t->n_c]) == DECODE_MORE) {
        return false;
    }
    in->extra = (uint8_t)t->n_c++;
    return true;
}

static bool may_call_c(const Tr *t, const DbtInsn *in)
{
    bool checks_target = in->t == T_RET || in->t == T_CALLI || in->t == T_JMPI;
    return (checks_target && t->mode.code != 8) || in->t == T_FAR || in->t == T_FARQ || in->t == T_SEGC ||
           in->t == T_SEGQ || in->t == T_C || in->t == T_REP || in->t == T_STI || in->t == T_RDTSC || in->t == T_BASE ||
           in->t == T_SYSCALL || in->t == T_SYSRET;
}

/* Copies the guest's page from `at` to `end` as it is when first asked for. (Each unit with a copy of all of it took a
 * fortieth of a kernel's translation.) */
static void copy_code(Tr *t, unsigned at, unsigned end)
{
    enum { PART = 256 };
    for (unsigned part = at / PART; part * PART < MIN(end, (unsigned)X86_PAGE_SIZE); part++) {
        if (!(t->copied >> part & 1)) {
            memcpy(t->s->page + part * PART, t->f->host - t->f->page_offset + part * PART, PART);
            t->copied |= 1u << part;
        }
    }
}

static const uint8_t *code_at(Tr *t, unsigned at)
{
    copy_code(t, at, at + 15);
    return t->s->page + at;
}

static bool decode_one(Tr *t, unsigned off, DbtInsn *in, bool *ends)
{
    unsigned       at    = t->f->page_offset + off;
    const uint8_t *buf   = code_at(t, at);
    unsigned       avail = t->f->host2 ? 15u : MIN(X86_PAGE_SIZE - at, 15u);

    if (t->f->limit - off < avail) {
        avail = (unsigned)(t->f->limit - off);
    }
    if (!dbt_decode(&t->mode, buf, avail, in)) {
        return false;
    }
    if (in->t != T_OTHER && !emit_can(in)) {
        in->t = T_OTHER;
    }
    cut_branch(t, off, in);
    if (in->t == T_OTHER && !vector_decode(t, buf, avail, in)) {
        memset(in, 0, sizeof *in);
        if (!decode_c(t, buf, avail, in)) {
            return false;
        }
        const X86Insn *c = &t->s->c[in->extra];
        in->t            = T_C;
        in->len          = c->len;
        in->faults       = true;
        *ends            = c->flags & X86_INSN_ENDS;
    } else {
        *ends = ends_unit(in);
        if (may_call_c(t, in) && !decode_c(t, buf, avail, in)) {
            return false;
        }
        if (in->t == T_SEGC || in->t == T_SEGQ) {
            t->s->c[in->extra].flags &= (uint8_t)~X86_INSN_ENDS; /* whether the mode is the same, run_insn() asks */
        }
    }
    in->off = (uint16_t)off;
    return true;
}

/* --- flags --- */

/* The flags that code at rip needs before it overwrites them, as far as it can be seen nearby. The answer depends on
 * the bytes up to the last instruction that overwrites some: more flags than needed are never wrong. */
static uint8_t live_at(Tr *t, uint64_t rip)
{
    enum { LOOK = 6 };
    uint8_t need = 0, left = FL_ALL;
    int     start = page_offset(t, rip);

    if (start < 0) {
        return FL_ALL;
    }
    /* What lies behind the segment's end faults instead of overwriting them. */
    unsigned stop = (unsigned)MIN(t->f->page_offset + MIN(t->f->limit, X86_PAGE_SIZE), X86_PAGE_SIZE);
    unsigned at = (unsigned)start, end = at;
    for (unsigned i = 0; i < LOOK && left && at < stop; i++) {
        DbtInsn in;
        if (!dbt_decode(&t->mode, code_at(t, at), MIN(stop - at, 15u), &in)) {
            break;
        }
        if (in.t == T_OTHER || in.faults || in.t == T_JCC || in.t == T_LOOP || ends_unit(&in)) {
            break;
        }
        at += in.len;
        need |= in.read & left;
        if (left & in.write) {
            left &= (uint8_t)~in.write;
            end = at;
        }
    }
    if (end > (unsigned)start) {
        note_range(t, (unsigned)start, end);
    }
    return need | left;
}

static void find_live(Tr *t)
{
    const DbtInsn *last = &t->s->insns[t->n - 1];
    uint8_t        live = FL_ALL;

    if (!ends_unit(last) && last->t != T_C) {
        live = live_at(t, t->f->rip + t->len);
    }
    t->s->live[t->n] = live;
    for (unsigned i = t->n; i-- > 0;) {
        const DbtInsn *in = &t->s->insns[i];
        if (is_branch(in)) {
            uint64_t to         = t->f->rip + in->off + in->len + (uint64_t)in->imm;
            t->s->live_taken[i] = live_at(t, to);
            live                = (in->t == T_JCC || in->t == T_LOOP ? live : 0) | t->s->live_taken[i];
        }
        live          = (uint8_t)((live & ~in->write) | in->read | (in->faults || in->raises ? FL_ALL : 0));
        t->s->live[i] = live;
    }
}

/* --- finishing --- */

static DbtUnit *finish(Tr *t, const uint32_t *insn_host)
{
    Dbt   *dbt  = t->dbt;
    size_t tail = sizeof(DbtExit) * t->n_exits + sizeof(X86Insn) * t->n_c;
    size_t size = sizeof(DbtUnit) + tail + 4 * (t->n + 1) + sizeof(DbtPlace) * t->n_places +
                  sizeof(DbtLook) * t->n_looks + 2 * (t->n + 1) + t->n;
    uint32_t hot = asm_offset(&t->hot), cold = asm_offset(&t->cold);
    uint8_t *hot_at, *cold_at;
    if (!dbt_allocate(dbt, hot, cold, &hot_at, &cold_at)) {
        return NULL;
    }
    DbtUnit *u     = memset(dbt_unit_memory(dbt, size), 0, size);
    u->bytes       = size;
    u->hot         = hot_at;
    u->cold        = cold_at;
    u->hot_size    = hot;
    u->cold_size   = cold;
    u->rip         = t->f->rip;
    u->key         = t->f->key;
    u->mode        = (uint8_t)t->f->mode;
    u->host        = t->f->host;
    u->ram         = t->f->ram;
    u->ram_offset  = t->f->ram_offset;
    u->n           = (uint16_t)t->n;
    u->len         = (uint16_t)t->len;
    u->groups      = (uint8_t)t->f->groups;
    u->entry       = t->f->entry;
    u->n_c         = (uint8_t)t->n_c;
    u->vectors     = t->vectors;
    u->checks      = t->checks;
    u->may_run     = t->may_run;
    u->n_places    = (uint16_t)t->n_places;
    u->n_looks     = (uint16_t)t->n_looks;
    u->range_start = (uint16_t)t->range_start;
    u->range_len   = (uint16_t)(t->range_end - t->range_start);

    uint8_t *p = (uint8_t *)(u + 1);
    u->exits   = (DbtExit *)p;
    u->c       = (X86Insn *)(p + sizeof(DbtExit) * t->n_exits);
    p += tail;
    u->insn_host = (uint32_t *)p;
    p += 4 * (t->n + 1);
    u->places = (DbtPlace *)p;
    p += sizeof(DbtPlace) * t->n_places;
    u->looks = (DbtLook *)p;
    p += sizeof(DbtLook) * t->n_looks;
    u->insn_off = (uint16_t *)p;
    p += 2 * (t->n + 1);
    u->c_of = p;
    memcpy(u->c, t->s->c, sizeof(X86Insn) * t->n_c);
    memcpy(u->insn_host, insn_host, 4 * (t->n + 1));
    memcpy(u->places, t->s->places, sizeof(DbtPlace) * t->n_places);
    memcpy(u->looks, t->s->looks, sizeof(DbtLook) * t->n_looks);
    for (unsigned i = 0; i < t->n; i++) {
        const DbtInsn *in = &t->s->insns[i];
        u->insn_off[i]    = in->off;
        u->c_of[i]        = may_call_c(t, in) ? (uint8_t)(in->extra + 1) : 0;
    }
    u->insn_off[t->n] = (uint16_t)t->len;

    ptrdiff_t delta = dbt_writable(dbt);
    memcpy(u->hot + delta, t->hot.start, u->hot_size);
    memcpy(u->cold + delta, t->cold.start, u->cold_size);
    dbt_apply_relocs(dbt, u, t->s->relocs, t->n_relocs, 0);
    if (t->movable) {
        u->n_relocs = t->n_relocs;
        u->relocs =
            memcpy(dbt_unit_memory(dbt, sizeof(Reloc) * t->n_relocs), t->s->relocs, sizeof(Reloc) * t->n_relocs);
    }
    u->n_exits = (uint8_t)t->n_exits;
    for (unsigned i = 0; i < t->n_exits; i++) {
        const DraftExit *d = &t->s->exits[i];
        u->exits[i]        = (DbtExit){ .rip    = d->rip,
                                        .site   = u->hot + delta + d->site,
                                        .cold   = u->cold + delta + d->cold,
                                        .way    = u->cold + delta + d->way,
                                        .direct = d->direct,
                                        .groups = d->groups,
                                        .entry  = d->entry,
                                        .unit   = u };
        if (d->far) {
            dbt_cell_new(dbt, &u->exits[i]);
        }
    }
    if (t->f->host2) {
        u->host2              = t->f->host2;
        u->base               = t->f->linear - t->f->rip;
        u->second             = memset(dbt_unit_memory(dbt, sizeof(DbtUnit)), 0, sizeof(DbtUnit));
        u->second->stands_for = u;
        u->second->host       = t->f->host2;
        u->second->range_len  = 15;
    }
    dbt_verify(dbt, u);
    dbt_insert(dbt, u);
    dbt->counters.units++;
    dbt->counters.insns += t->n;
    dbt->counters.guest_bytes += t->len;
    dbt->counters.hot_bytes += u->hot_size;
    dbt->counters.cold_bytes += u->cold_size;
    if (dbt_is_watched(t)) {
        dbt_watch_unit(t, u);
    }
    return u;
}

static void emit_all(Tr *t, uint32_t *insn_host)
{
    const DbtInsn *in = &t->s->insns[0];

    t->recipe = t->f->entry;
    t->fl_mem = t->recipe.kind == RECIPE_NONE;
    if (t->f->host2) {
        emit_page_check(t);
    }
    if (t->n_vec) {
        emit_vectors_load(t);
    }
    for (t->i = 0; t->i < t->n; t->i++) {
        in              = &t->s->insns[t->i];
        insn_host[t->i] = asm_offset(&t->hot);
        emit_insn(t, in);
    }
    rsp_settle(t);
    insn_host[t->n] = asm_offset(&t->hot);
    /* Behind the last instruction. C's that end a unit never come back. */
    if (!ends_unit(in)) {
        t->i = t->n - 1;
        emit_exit(t, t->f->rip + t->len, -1, t->s->live[t->n]);
    }
    emit_later_exits(t);
    emit_short_ways(t);
}

/* How to try again. */
typedef struct Again {
    bool once_more, no_shorts;
} Again;

static DbtUnit *translate(Dbt *dbt, X86Cpu *cpu, const DbtFetch *f, unsigned max, Again *again)
{
    DbtScratch *s = dbt->scratch;
    Tr          t = { .dbt         = dbt,
                      .cpu         = cpu,
                      .f           = f,
                      .s           = s,
                      .mode        = mode_of(dbt, cpu),
                      .hot         = { .start = s->hot, .p = s->hot, .end = s->hot + HOT_MAX },
                      .cold        = { .start = s->cold, .p = s->cold, .end = s->cold + COLD_MAX },
                      .range_start = f->page_offset,
                      .range_end   = f->page_offset,
                      .part_at     = UINT32_MAX,
                      .no_shorts   = again->no_shorts,
                      .cells       = dbt_cells_left(dbt, G_N_ELEMENTS(s->exits)) };
    uint32_t    insn_host[DBT_MAX_INSNS + 1] __attribute__((uninitialized)); /* emit_all() fills it */
    unsigned    branches = 0;

    dbt_expect_unit(dbt);
    t.movable = dbt_may_move(f->rip, f->mode) && !f->host2;

    memset(s->page + X86_PAGE_SIZE, 0, 32);
    if (f->host2) {
        memcpy(s->page + X86_PAGE_SIZE, f->host2, 16);
        max = 1;
    }
    while (t.n < max) {
        DbtInsn *in   = &s->insns[t.n];
        bool     ends = false;
        bool     stop = t.len >= f->limit || (f->stop && t.len >= f->stop);
        if (stop || f->page_offset + t.len >= X86_PAGE_SIZE || !decode_one(&t, t.len, in, &ends)) {
            break;
        }
        t.n++;
        t.len += in->len;
        if (ends || ((in->t == T_JCC || in->t == T_LOOP) && ++branches == DBT_MAX_JCC)) {
            break;
        }
    }
    if (!t.n) {
        return NULL;
    }
    if (s->insns[t.n - 1].t == T_STI) {
        s->insns[t.n - 1].t = T_C; /* nobody may look for interrupts behind it */
    }
    note_range(&t, f->page_offset, MIN(f->page_offset + t.len, (unsigned)X86_PAGE_SIZE));
    uintptr_t misfits = dbt_is_noted(dbt, f->host) ? (uintptr_t)g_hash_table_lookup(dbt->misfits, f->host) : 0;
    t.split_groups    = misfits == 1;
    find_groups(&t, misfits > 1 ? GROUPS_NONE : (DbtGroups)f->groups);
    find_live(&t);
    emit_all(&t, insn_host);
    if (t.failed || t.hot.full || t.cold.full) {
        *again = (Again){ .once_more = true, .no_shorts = t.no_shorts };
        return NULL;
    }
    /* Marked first, compared then: a write at any moment is seen by one or the other. */
    uint64_t page = f->ram_offset & ~(uint64_t)X86_PAGE_MASK;
    if (f->host2) {
        ram_block_mark_code(f->ram2, f->ram_offset2, 15);
        if (memcmp(s->page + X86_PAGE_SIZE, f->host2, 15) != 0) {
            *again = (Again){ .once_more = true };
            return NULL;
        }
    }
    copy_code(&t, t.range_start, t.range_end); /* there may be bytes between that nobody has looked at */
    ram_block_mark_code(f->ram, page + t.range_start, t.range_end - t.range_start);
    if (memcmp(s->page + t.range_start, f->host - f->page_offset + t.range_start, t.range_end - t.range_start) != 0) {
        *again = (Again){ .once_more = true };
        return NULL;
    }
    return finish(&t, insn_host);
}

DbtUnit *dbt_translate(Dbt *dbt, X86Cpu *cpu, const DbtFetch *f)
{
    unsigned max  = DBT_MAX_INSNS;
    Again    next = { 0 };
    for (;;) {
        Again    again = { .no_shorts = next.no_shorts };
        DbtUnit *u     = translate(dbt, cpu, f, max, &again);
        if (!again.once_more) {
            return u;
        }
        next.no_shorts = again.no_shorts && !next.no_shorts;
        if (!next.no_shorts) {
            max = MAX(max / 4, 1u); /* more code than fits, or it was written meanwhile */
        }
    }
}
