/* Checked memory operands.
 *
 * A check compares the linear address with a micro TLB entry that is chosen when translating, by code region and base
 * register, so that its load does not wait for the address:
 *
 *     lea rax, ea;  sub rax, [tag];  cmp rax, 4096 - size;  ja slow;  mov rcx, [addend]
 *
 * Where that misses too often (adapt.c), the pages may lie side by side in host memory:
 *
 *     lea rax, ea;  sub rax, [start];  cmp rax, [last8];  ja slow;  mov rcx, [addend]
 *
 * Where that misses too, the entry of the TLB that the address asks for is looked at. In code that has not run often
 * yet a stub does, without a slow side here: it calls C by itself, which finds what it needs by where the call comes
 * back to (DbtLook).
 *
 *     lea rax, ea;  call tlb_read
 *
 * The access then goes to [base + rcx + disp]: the checked value is on nobody's way. Operands whose registers are in
 * the frame, or with a segment base or cut address, have the address itself in RAX instead.
 *
 * Lock of the Dbt held. */

#include "accel/dbt/emit.h"

/* --- addresses --- */

MemSpec operand_spec(const Tr *t, const DbtInsn *in, unsigned size, bool write)
{
    MemSpec m = { .base      = in->base,
                  .index     = in->index,
                  .scale     = in->scale,
                  .seg       = in->seg,
                  .addrsize  = in->addrsize,
                  .disp      = in->disp,
                  .size      = (uint8_t)size,
                  .write     = write,
                  .group     = t->s->operand_group[t->i],
                  .group_off = t->s->access_off[t->i] };
    segment_spec(t, &m);
    if (in->rip_relative) {
        m.rip_based = true;
        m.linear    = insn_rip(t, t->i) + in->len + (uint64_t)(int64_t)in->disp;
    } else if (in->base == DBT_NO_REG && in->index == DBT_NO_REG) {
        m.linear = (uint64_t)(int64_t)in->disp;
    } else {
        return m;
    }
    m.constant = true;
    if (in->addrsize < 8) {
        m.linear = in->addrsize == 4 ? (uint32_t)m.linear : (uint16_t)m.linear;
    }
    return m;
}

/* RAX = the linear address; RCX is used. EFLAGS stay but for bit_offset. */
static void put_address(Tr *t, bool in_cold, const MemSpec *m)
{
    Asm *a    = in_cold ? &t->cold : &t->hot;
    bool wide = m->addrsize == 8;
    if (m->ready) {
        return;
    }
    if (m->based) {
        put_offset(t, m);
        return;
    }
    if (m->constant && m->rip_based) {
        put_linear(t, in_cold, H_RAX, m->linear);
    } else if (m->constant) {
        asm_mov_imm(a, H_RAX, m->linear);
    } else {
        HostMem ea = { .base = H_NONE, .index = H_NONE, .scale = m->scale, .disp = m->disp };
        if (m->base != DBT_NO_REG) {
            ea.base = dbt_host_register[m->base];
            if (ea.base == H_NONE) {
                asm_load(a, H_RAX, guest_slot(m->base));
                ea.base = H_RAX;
            }
        }
        if (m->index != DBT_NO_REG) {
            ea.index = dbt_host_register[m->index];
            if (ea.index == H_NONE) {
                asm_load(a, H_RCX, guest_slot(m->index));
                ea.index = H_RCX;
            }
        }
        if (ea.index == H_NONE && !ea.disp && ea.base != H_NONE) {
            if (ea.base != H_RAX || !wide) {
                asm_rr(a, wide, 0x8b, H_RAX, ea.base);
            }
        } else {
            asm_lea(a, wide, H_RAX, ea);
        }
    }
    if (m->seg == X86_FS || m->seg == X86_GS) {
        asm_load(a, H_RCX, asm_frame(m->seg == X86_FS ? DBT_FRAME(fs_base) : DBT_FRAME(gs_base)));
        asm_lea(a, true, H_RAX, (HostMem){ .base = H_RAX, .index = H_RCX });
    }
    if (m->bit_offset) {
        asm_rm(a, wide, 0x03, H_RAX, asm_frame(DBT_FRAME(keep[0])));
    }
}

/* Which micro entry: what is accessed through the same base register in the same piece of code shares one. */
static unsigned micro_index(const Tr *t, const MemSpec *m)
{
    if (m->seg == X86_FS || m->seg == X86_GS) {
        return m->seg - X86_FS;
    }
    if (m->base == X86_RSP) {
        return MICRO_STACK + ((uint64_t)m->group_off >> MICRO_WINDOW) % MICRO_STACKS;
    }
    uint64_t h = m->constant ? (m->linear >> 12) * 0x2545f491u : (insn_rip(t, t->i) >> 8) * 0x9e3779b1u;
    h ^= m->constant ? 0x5bd1e995u : (uint64_t)m->base * 0x85ebca6bu ^ (uint64_t)m->index * 0xc2b2ae35u;
    h ^= m->based ? (m->seg + 1u) * 0x27d4eb2fu : 0;
    h *= UINT64_C(0x9e3779b97f4a7c15);
    return MICRO_HASHED + (unsigned)(h >> 40) % (DBT_MICRO - MICRO_HASHED);
}

unsigned micro_of_operand(const Tr *t, const DbtInsn *in)
{
    MemSpec m = operand_spec(t, in, 1, false);
    return micro_index(t, &m);
}

unsigned micro_of_stack(const Tr *t, const DbtInsn *in)
{
    MemSpec m = stack_spec(t, in);
    return micro_index(t, &m);
}

unsigned micro_next(unsigned index)
{
    return index < MICRO_HASHED ? MICRO_HASHED : MICRO_HASHED + (index - MICRO_HASHED + 1) % (DBT_MICRO - MICRO_HASHED);
}

MemSpec stack_spec(const Tr *t, const DbtInsn *in)
{
    unsigned size  = in->opsize;
    bool     write = in->t == T_PUSH || in->t == T_PUSHI || in->t == T_PUSHM || in->t == T_CALL || in->t == T_CALLI;
    MemSpec  m     = { .base      = in->t == T_LEAVE ? X86_RBP : X86_RSP,
                       .index     = DBT_NO_REG,
                       .seg       = X86_SS,
                       .addrsize  = t->mode.stack,
                       .disp      = t->rsp_due + (write ? -(int)size : 0),
                       .size      = (uint8_t)size,
                       .write     = write,
                       .group     = t->s->stack_group[t->i],
                       .group_off = t->s->stack_off[t->i] };
    segment_spec(t, &m);
    return m;
}

static unsigned host_or_none(unsigned guest)
{
    return guest == DBT_NO_REG ? (unsigned)H_NONE : dbt_host_register[guest];
}

/* Can the access use the guest's own registers, or does RAX have to hold the address? */
static bool is_plain(const MemSpec *m)
{
    return !m->constant && host_or_none(m->base) != H_NONE &&
           (m->index == DBT_NO_REG || host_or_none(m->index) != H_NONE) && m->addrsize == 8 && m->seg != X86_FS &&
           m->seg != X86_GS && !m->locked && !m->bit_offset;
}

/* What the check of an access (or of a group) is, for its slow side. */
typedef struct Site {
    const MemSpec *m; /* what is checked */
    const Group   *group;
    unsigned       size, micro;
    bool           tlb;     /* looked up in the TLB */
    bool           called;  /* by a stub, which calls C by itself */
    bool           run;     /* looked up in a run of pages */
    bool           less;    /* RAX is the address less the entry's tag */
    bool           retry;   /* the slow side comes back to the check, not behind it */
    bool           counted; /* see adapt.c */
    uint32_t       start;   /* where the check begins in the hot part */
    unsigned       copy;    /* relocation of the way to the access with another operand; 0: there is none */
} Site;

static int32_t entry_of(unsigned micro)
{
    return DBT_FRAME(micro) + (int32_t)(micro * sizeof(DbtMicro));
}

static const uint8_t *insn_bytes(const Tr *t)
{
    return t->f->host + t->s->insns[t->i].off;
}

static int32_t tlb_tag(bool write)
{
    return (int32_t)(write ? offsetof(X86TlbEntry, write) : offsetof(X86TlbEntry, read));
}

static DbtSite describe(const Tr *t, const Site *s, unsigned flags)
{
    const MemSpec *m = s->m;
    return (DbtSite){
        .limit  = (uint16_t)(X86_PAGE_SIZE - s->size),
        .micro  = (uint16_t)s->micro,
        .insn   = (uint8_t)t->i,
        .size   = m->size,
        .stored = s->group || flags & SITE_EXEC ? 0 : m->stored,
        .flags  = (uint8_t)(flags | (s->tlb ? SITE_TLB : 0) | (s->retry && !(flags & SITE_EXEC) ? SITE_RETRY : 0) |
                           (m->aligned ? SITE_ALIGN : 0) | (m->fpu ? SITE_FPU : 0) |
                           (!m->write && !m->no_copy && !s->group && !(flags & SITE_EXEC) ? SITE_LOAD : 0) |
                           (s->run ? SITE_RUN : 0) | (is_plain(m) ? SITE_PLAIN : 0))
    };
}

static void put_call_with(Tr *t, DbtStub stub, const DbtSite *site)
{
    uint64_t bits;
    memcpy(&bits, site, 8);
    asm_mov_imm64(&t->cold, H_RCX, bits);
    asm_call(&t->cold, 0);
    reloc(t, true, RELOC_STUB, stub);
}

/* On in a variant with fewer groups, from the instruction at hand: offset in the cold part. */
static uint32_t leave_group(Tr *t, const Group *g)
{
    return emit_group_exit(t, insn_rip(t, t->i), g->hi - g->lo > RANGE_NARROW ? GROUPS_NARROW : GROUPS_NONE);
}

/* The slow side of a check, in the cold part: address in RAX (`address`: it has to be made), the stub, and the three
 * ways on of dbt.h: to the access or its check, to the tail that emit_insn() puts or a variant with fewer groups, to
 * the access with another operand. The hot part is behind the branch that leads here. */
static void put_slow(Tr *t, Site *s, unsigned flags, bool address)
{
    Asm    *a     = &t->cold;
    bool    write = s->m->write, exec = flags & SITE_EXEC;
    DbtStub stub = write ? STUB_WRITE_MISS : STUB_READ_MISS;
    DbtSite site = describe(t, s, flags);

    if (s->counted && !exec) {
        asm_emit(a, &(Enc){ .prefix = 0x66,
                            .op     = 0xff,
                            .memory = true,
                            .mem    = asm_frame(DBT_FRAME(missed) + 2 * (int32_t)dbt_count_slot(insn_bytes(t))) });
    }
    if (s->less && !exec) {
        asm_rm(a, true, 0x03, H_RAX, asm_frame(entry_of(s->micro)));
    }
    if (!t->fl_mem) { /* EFLAGS are gone */
        if (!address) {
            asm_store(a, asm_frame(DBT_FRAME(keep[3])), H_RAX);
        }
        flags_sync(t, a);
        if (!address) {
            asm_load(a, H_RAX, asm_frame(DBT_FRAME(keep[3])));
        }
    }
    if (address) {
        put_address(t, true, s->m);
    }
    if (exec || s->tlb) {
        stub = s->group ? (write ? STUB_GROUP_WRITE : STUB_GROUP_READ) : write ? STUB_WRITE : STUB_READ;
    } else if (s->run) {
        stub = s->group ? (write ? STUB_RUN_GROUP_WRITE : STUB_RUN_GROUP_READ) : write ? STUB_RUN_WRITE : STUB_RUN_READ;
    } else if (s->group) {
        stub = write ? STUB_GROUP_WRITE_MISS : STUB_GROUP_READ_MISS;
    }
    uint32_t crosses = 0;
    if (s->group) { /* no entry can help where the page ends in between */
        asm_mov32(a, H_RCX, H_RAX);
        asm_ri(a, false, 4, H_RCX, X86_PAGE_MASK);
        asm_ri(a, false, 7, H_RCX, (int32_t)(X86_PAGE_SIZE - s->size));
        asm_jcc(a, CC_A, 0);
        crosses = asm_offset(a);
    }
    put_call_with(t, stub, &site);
    asm_jmp(a, 0);
    reloc(t, true, RELOC_HOT, s->retry && !exec ? s->start : asm_offset(&t->hot));
    asm_jmp(a, 0);
    uint32_t done = asm_offset(a);
    if (site.flags & SITE_LOAD) {
        s->copy = t->n_relocs;
        asm_jmp(a, 0);
        reloc(t, true, RELOC_HOT, 0); /* behind what takes the addend */
    }
    if (s->group) {
        uint32_t to  = leave_group(t, s->group);
        int32_t  rel = (int32_t)(to - done);
        if (!a->full) {
            memcpy(a->start + done - 4, &rel, 4);
            rel = (int32_t)(to - crosses);
            memcpy(a->start + crosses - 4, &rel, 4);
        }
        return;
    }
    if (t->n_tails == MAX_TAILS) {
        t->failed = true;
        return;
    }
    t->s->tails[t->n_tails++] = done;
}

/* What C needs of the look-up whose call comes back here. */
static void put_look(Tr *t, const Site *s)
{
    const Group *g = s->group;
    if (t->n_looks == MAX_LOOKS) {
        t->failed = true;
        return;
    }
    t->s->looks[t->n_looks++] = (DbtLook){ .host   = asm_offset(&t->hot),
                                           .groups = !g                             ? GROUPS_WIDE
                                                     : g->hi - g->lo > RANGE_NARROW ? GROUPS_NARROW
                                                                                    : GROUPS_NONE,
                                           .site   = describe(t, s, 0),
                                           .recipe = t->fl_mem ? (Recipe){ 0 } : t->recipe };
}

/* Counts an execution of the site; every so many times C judges it. EFLAGS are free. */
static void put_count(Tr *t, const Site *s)
{
    DbtSite site = describe(t, s, 0);
    asm_emit(&t->hot, &(Enc){ .prefix = 0x66,
                              .op     = 0xff,
                              .reg    = 1,
                              .memory = true,
                              .mem    = asm_frame(DBT_FRAME(left) + 2 * (int32_t)dbt_count_slot(insn_bytes(t))) });
    asm_jcc(&t->hot, CC_Z, 0);
    reloc(t, false, RELOC_COLD, asm_offset(&t->cold));
    if (!t->fl_mem) {
        flags_sync(t, &t->cold);
    }
    put_call_with(t, STUB_COUNTED, &site);
    asm_jmp(&t->cold, 0);
    reloc(t, true, RELOC_HOT, asm_offset(&t->hot));
}

/* By FS or GS, which one register at most adds to: RCX takes the base, and then the addend too. */
static bool is_segment(const MemSpec *m)
{
    return (m->seg == X86_FS || m->seg == X86_GS) && m->addrsize == 8 && !m->locked && !m->bit_offset &&
           !m->rip_based && m->index == DBT_NO_REG && (m->base == DBT_NO_REG || host_or_none(m->base) != H_NONE);
}

static int32_t segment_slot(const MemSpec *m)
{
    return m->seg == X86_FS ? DBT_FRAME(fs_base) : DBT_FRAME(gs_base);
}

static HostMem segment_operand(const MemSpec *m)
{
    return (HostMem){ .base = H_RCX, .index = (uint8_t)host_or_none(m->base), .disp = m->disp };
}

/* An address that is known, all of whose bytes are in one page: whether the entry is for that page decides. */
static bool is_fixed(const MemSpec *m, unsigned size)
{
    int64_t top = (int64_t)m->linear >> 47;
    return m->constant && !m->based && m->seg != X86_FS && m->seg != X86_GS && !m->locked && !m->bit_offset &&
           (m->linear & X86_PAGE_MASK) + size <= X86_PAGE_SIZE && (top == 0 || top == -1);
}

/* Can [addend + address] be written down? */
static bool is_near(const Tr *t, const MemSpec *m)
{
    return (int64_t)m->linear == (int32_t)m->linear && !(m->rip_based && t->movable);
}

/* [base + index + disp] with the addend in RCX; no flags change. */
static HostMem plain_operand(Asm *a, const MemSpec *m)
{
    unsigned base = host_or_none(m->base), index = host_or_none(m->index);
    if (index == H_NONE) {
        return (HostMem){ .base = (uint8_t)base, .index = H_RCX, .disp = m->disp };
    }
    asm_lea(a, true, H_RCX, (HostMem){ .base = H_RCX, .index = (uint8_t)base });
    return (HostMem){ .base = H_RCX, .index = (uint8_t)index, .scale = m->scale, .disp = m->disp };
}

static Operand finish_operand(Tr *t, const MemSpec *m, HostMem mem, unsigned free)
{
    if (m->scratch && free == H_RAX) {
        asm_lea(&t->hot, true, H_RCX, mem);
        mem = asm_at(H_RCX, 0);
    } else if (m->scratch) {
        asm_lea(&t->hot, true, H_RCX, mem);
        return (Operand){ .mem = asm_at(H_RCX, 0), .free = H_RAX };
    }
    return (Operand){ .mem = mem, .free = (uint8_t)free };
}

/* An access that another one's check covers. No flags change. */
static Operand member(Tr *t, const MemSpec *m, const Group *g)
{
    Asm    *a      = &t->hot;
    HostMem addend = asm_frame(g->addend);

    if (g->host) {
        if (t->rcx_entry != g->addend) {
            t->failed |= !g->stored;
            asm_load(a, H_RCX, addend);
        }
        t->rcx_entry = m->scratch ? 0 : g->addend;
        return finish_operand(t, m, asm_at(H_RCX, (int32_t)(m->group_off - g->lo)), H_RAX);
    }
    if (is_plain(m)) {
        if (t->rcx_entry != g->addend) {
            asm_load(a, H_RCX, addend);
        }
        t->rcx_entry = m->index == DBT_NO_REG && !m->scratch ? g->addend : 0;
        return finish_operand(t, m, plain_operand(a, m), H_RAX);
    }
    if (is_fixed(m, 1) && is_near(t, m)) {
        if (t->rcx_entry != g->addend) {
            asm_load(a, H_RCX, addend);
        }
        t->rcx_entry = m->scratch ? 0 : g->addend;
        return finish_operand(t, m, asm_at(H_RCX, (int32_t)m->linear), H_RAX);
    }
    t->rcx_entry = 0;
    if (is_segment(m)) {
        asm_load(a, H_RAX, asm_frame(segment_slot(m)));
        asm_load(a, H_RCX, addend);
        asm_lea(a, true, H_RCX, (HostMem){ .base = H_RCX, .index = H_RAX });
        return finish_operand(t, m, segment_operand(m), H_RAX);
    }
    put_address(t, false, m);
    asm_load(a, H_RCX, addend);
    asm_lea(a, true, H_RAX, (HostMem){ .base = H_RAX, .index = H_RCX });
    return finish_operand(t, m, asm_at(H_RAX, 0), H_RCX);
}

/* Does RCX keep what the members need until the last of them? */
static bool rcx_stays(const Tr *t, const Group *g)
{
    unsigned n = (unsigned)(g - t->s->groups) + 1;
    for (unsigned i = t->i; i <= g->last; i++) {
        const DbtInsn *in    = &t->s->insns[i];
        bool           flags = in->read || (in->write && t->s->live[i + 1] & ~in->write);
        bool           known = in->t == T_JCC || (!in->memory && !t->s->stack_group[i]) || !flags;
        if (!leaves_rcx(t, in) || !known || (in->memory && in->t != T_LEA && t->s->operand_group[i] != n) ||
            (t->s->stack_group[i] && t->s->stack_group[i] != n) || (in->faults && i != g->first)) {
            return false;
        }
    }
    return true;
}

/* An entry that no open group uses. */
static unsigned free_index(const Tr *t, unsigned index, bool write)
{
    for (unsigned k = 0; k < t->n_groups; k++) {
        const Group *g = &t->s->groups[k];
        if (g->n >= 2 && g->micro == index && g->write == write && g->first <= t->i && t->i <= g->last) {
            index = micro_next(index);
            k     = (unsigned)-1;
        }
    }
    return index;
}

/* x87's data pointer is turned into the guest's by the micro entry (run.c). */
static bool is_x87(const Tr *t, const MemSpec *m)
{
    for (unsigned i = t->i; i < t->n; i++) {
        const DbtInsn *in = &t->s->insns[i];
        if (in->t == T_VECTOR && t->s->vec[in->extra].x87 &&
            (m->group ? t->s->operand_group[i] == m->group : i == t->i)) {
            return true;
        }
    }
    return false;
}

/* May the check look into the TLB? By look-ups for certain sizes, and groups whose addend can be kept. */
static bool can_look_up(Tr *t, Site *s)
{
    unsigned size = 1;
    while (size < s->size) {
        size *= 2;
    }
    if (size >> DBT_SIZES || (s->group ? t->n_addends == DBT_ADDENDS : size != s->size)) {
        return false;
    }
    s->size = size;
    return true;
}

/* RAX -= the tag of the TLB's entry for it, whose address is in RCX then. EFLAGS change. */
static void put_look_up(const Tr *t, Asm *a, bool write)
{
    enum { SHIFT = X86_PAGE_BITS - 5 };
    if (t->dbt->bmi2) { /* rorx ecx, eax: what comes in above is cut off */
        static const uint8_t rorx[] = { 0xc4, 0xe3, 0x7b, 0xf0, 0xc8, SHIFT };
        for (unsigned i = 0; i < sizeof rorx; i++) {
            asm_8(a, rorx[i]);
        }
    } else {
        asm_mov32(a, H_RCX, H_RAX);
        asm_emit(a, &(Enc){ .op = 0xc1, .reg = 5, .rm = H_RCX, .imm = SHIFT, .imm_size = 1 });
    }
    asm_ri(a, false, 4, H_RCX, (X86_TLB_SIZE - 1) << 5);
    asm_rm(a, true, 0x03, H_RCX, asm_frame(DBT_FRAME(tlb)));
    asm_rm(a, true, 0x2b, H_RAX, asm_at(H_RCX, tlb_tag(write)));
}

/* May the check look into a run? What it needs of an addend must be kept, as with the TLB. */
static bool can_run(const Tr *t, const Site *s)
{
    return (s->m->addrsize == 8 || t->mode.code != 8) && !s->m->locked && s->size <= 64 &&
           (!s->group || t->n_addends < DBT_ADDENDS) && !is_x87(t, s->m);
}

static int32_t run_member(const Site *s, size_t member)
{
    return DBT_FRAME(runs) + (int32_t)((s->micro - DBT_MICROS) * sizeof(DbtRun) + member);
}

static void put_compare(Asm *a, unsigned reg, unsigned size)
{
    if (reg == H_RAX) { /* the short form */
        asm_8(a, 0x48);
        asm_8(a, 0x3d);
        asm_32(a, X86_PAGE_SIZE - size);
    } else {
        asm_ri(a, true, 7, reg, (int32_t)(X86_PAGE_SIZE - size));
    }
}

/* Is all of it within the segment, and does no 16-bit address of it come round to 0? The members' offsets count from
 * its start then. */
static void put_group_limits(Tr *t, const MemSpec *m, const Group *g)
{
    unsigned size  = (unsigned)(g->hi - g->lo);
    bool     round = m->addrsize == 2 && m->kind != X86_SEGMENT_64K;
    uint32_t cold  = asm_offset(&t->cold);

    if (round) {
        asm_ri(&t->hot, false, 7, H_RAX, 0x10000 - (int32_t)size);
        asm_jcc(&t->hot, CC_A, 0);
        reloc(t, false, RELOC_COLD, cold);
    }
    int beyond = put_limit(t, m, size);
    if (beyond >= 0) {
        asm_jcc(&t->hot, (unsigned)beyond, 0);
        reloc(t, false, RELOC_COLD, cold);
    }
    if (round || beyond >= 0) {
        if (!t->fl_mem) {
            flags_sync(t, &t->cold);
        }
        leave_group(t, g);
    }
}

Operand check(Tr *t, const MemSpec *m)
{
    Asm   *a = &t->hot;
    Group *g = NULL;

    if (m->group) {
        g = &t->s->groups[m->group - 1];
        if (g->checked) {
            return member(t, m, g);
        }
    }
    MemSpec   c      = *m; /* what is checked */
    DbtAdvice advice = dbt_advice(t->dbt, insn_bytes(t));
    bool      plain  = is_plain(m), fixed, near, segment;
    int64_t   into   = 0; /* from where the check begins to the operand */
    Site      s      = { .m = &c, .group = g, .size = m->size };
    if (g) {
        g->checked = true;
        into       = m->group_off - g->lo;
        s.size     = (unsigned)(g->hi - g->lo);
        c.write    = g->write;
        c.disp     = (int32_t)(c.disp - into);
        c.linear -= (uint64_t)into;
    }
    bool runs = advice == ADVICE_RUN || advice == ADVICE_COUNT_RUN, may_run = can_run(t, &s);
    s.run     = runs && may_run;
    s.counted = advice == ADVICE_COUNT || (advice == ADVICE_COUNT_RUN && s.run);
    runs &= !s.run; /* the TLB then */
    s.tlb = (advice == ADVICE_NONE || advice == ADVICE_TLB || runs) && !is_x87(t, m) && !m->fpu && can_look_up(t, &s);
    s.called = s.tlb && (advice == ADVICE_NONE || !plain);
    fixed    = !s.tlb && !s.run && !(g && g->host) && is_fixed(&c, s.size);
    near     = fixed && is_near(t, &c);
    segment  = !s.tlb && !s.run && is_segment(m);
    s.less   = g && g->host && !s.tlb && !s.run;
    s.retry  = s.tlb || fixed || segment || s.less;
    c.no_copy |= fixed || segment;
    unsigned index = g ? g->micro : free_index(t, micro_index(t, m), m->write);
    unsigned table = t->f->mode * 2u + c.write;
    s.micro        = s.run ? DBT_MICROS + table * DBT_RUNS + index % DBT_RUNS : table * DBT_MICRO + index;
    int32_t addend = entry_of(s.micro) + 8, kept = addend;
    if (g && (s.tlb || s.run || g->host)) {
        kept = DBT_FRAME(addends) + 8 * (int32_t)t->n_addends++;
    }
    if (g) {
        g->addend = kept;
    }

    t->checks |= UINT64_C(1) << t->i;
    t->may_run |= (uint64_t)may_run << t->i;
    t->rcx_entry = 0;
    flags_save(t);
    if (!t->fl_mem && !fixed && t->mode.code == 8) {
        place(t); /* an address like DBT_NO_TAG passes the check of an empty entry, and faults at the access */
    }
    if (s.counted) {
        put_count(t, &s);
    }
    s.start = asm_offset(a);
    if (fixed && !near) {
        put_linear(t, false, H_RAX, c.linear & ~(uint64_t)X86_PAGE_MASK);
    } else if (segment) {
        asm_load(a, H_RCX, asm_frame(segment_slot(m)));
        asm_lea(a, true, H_RAX, segment_operand(&c));
    } else if (!fixed) {
        put_address(t, false, &c);
    }
    if (m->based) {
        if (g) {
            put_group_limits(t, &c, g);
        } else {
            int beyond = put_limit(t, m, m->size);
            if (beyond >= 0) {
                asm_jcc(a, (unsigned)beyond, 0);
                reloc(t, false, RELOC_COLD, asm_offset(&t->cold));
                put_slow(t, &s, SITE_EXEC, false);
            }
        }
        put_base(t, m);
    }
    if (m->locked && m->size > 1) {
        asm_8(a, 0xa8); /* test al, size - 1 */
        asm_8(a, m->size - 1u);
        asm_jcc(a, CC_NZ, 0);
        reloc(t, false, RELOC_COLD, asm_offset(&t->cold));
        put_slow(t, &s, SITE_EXEC, false);
    }
    if (s.called) {
        bool counts = advice == ADVICE_NONE && !t->counts;
        t->counts |= counts;
        asm_call(a, 0);
        reloc(t, false, RELOC_STUB, dbt_tlb_stub((unsigned)g_bit_nth_lsf(s.size, -1), c.write, g, !plain, counts));
        put_look(t, &s);
    } else if (s.tlb) {
        put_look_up(t, a, c.write);
        put_compare(a, H_RAX, s.size);
    } else if (near) {
        asm_emit(a, &(Enc){ .w        = true,
                            .op       = 0x81,
                            .reg      = 7,
                            .memory   = true,
                            .mem      = asm_frame(addend - 8),
                            .imm      = (int32_t)(c.linear & ~(uint64_t)X86_PAGE_MASK),
                            .imm_size = 4 });
    } else if (fixed) {
        asm_rm(a, true, 0x3b, H_RAX, asm_frame(addend - 8));
    } else if (s.less) {
        asm_load(a, H_RCX, asm_frame(addend));
        asm_rr(a, true, 0x03, H_RCX, H_RAX);
        asm_rm(a, true, 0x2b, H_RAX, asm_frame(addend - 8));
        put_compare(a, H_RAX, s.size);
    } else {
        unsigned reg = plain || segment ? H_RAX : H_RCX;
        if (reg == H_RCX) {
            asm_mov(a, H_RCX, H_RAX);
        }
        asm_rm(a, true, 0x2b, reg, asm_frame(s.run ? run_member(&s, offsetof(DbtRun, start)) : addend - 8));
        if (s.run) {
            size_t last = s.size <= 8 ? offsetof(DbtRun, last8) : offsetof(DbtRun, last64);
            asm_rm(a, true, 0x3b, reg, asm_frame(run_member(&s, last)));
        } else {
            put_compare(a, reg, s.size);
        }
    }
    if (!s.called) {
        put_cold_branch(t, fixed ? CC_NZ : CC_A);
        if (s.run) { /* the slow side comes back behind it, with the addend for this time */
            asm_load(a, H_RCX, asm_frame(run_member(&s, offsetof(DbtRun, addend))));
        }
        put_slow(t, &s, 0, plain || fixed || segment);
    }

    if (s.tlb && !s.called) {
        asm_load(a, H_RCX, asm_at(H_RCX, (int32_t)offsetof(X86TlbEntry, addend)));
    }
    if (g && g->host) {
        if (s.tlb) {
            asm_mov(a, H_RCX, H_RAX);
        } else if (s.run) {
            asm_rr(a, true, 0x03, H_RCX, H_RAX);
        }
        g->stored = m->scratch || !rcx_stays(t, g);
        if (g->stored) {
            asm_store(a, asm_frame(kept), H_RCX);
        }
        t->rcx_entry = m->scratch ? 0 : kept;
        return finish_operand(t, m, asm_at(H_RCX, (int32_t)into), H_RAX);
    }
    if (s.run) {
        if (s.copy) {
            t->s->relocs[s.copy].value = asm_offset(a);
        }
        if (g) {
            asm_store(a, asm_frame(kept), H_RCX);
        }
        if (!plain) {
            asm_lea(a, true, H_RAX, (HostMem){ .base = H_RAX, .index = H_RCX });
        }
    } else if (!s.tlb && (plain || near)) {
        asm_load(a, H_RCX, asm_frame(addend));
    } else if (segment) {
        asm_rm(a, true, 0x03, H_RCX, asm_frame(addend));
        return finish_operand(t, m, segment_operand(m), H_RAX);
    } else if (!s.tlb) {
        asm_rm(a, true, 0x03, H_RAX, asm_frame(addend));
    } else if (g) { /* for the members */
        asm_store(a, asm_frame(kept), H_RCX);
    }
    if (s.copy && !s.run) {
        t->s->relocs[s.copy].value = asm_offset(a);
    }
    if (near) {
        t->rcx_entry = m->scratch ? 0 : addend;
        return finish_operand(t, m, asm_at(H_RCX, (int32_t)m->linear), H_RAX);
    }
    if (fixed) {
        into += (int64_t)(c.linear & X86_PAGE_MASK);
    }
    if (!plain) {
        return finish_operand(t, m, asm_at(H_RAX, (int32_t)into), H_RCX);
    }
    t->rcx_entry = m->index == DBT_NO_REG && !m->scratch && (g || !(s.tlb || s.run)) ? kept : 0;
    return finish_operand(t, m, plain_operand(a, m), H_RAX);
}
