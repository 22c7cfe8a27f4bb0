/* The verifier: a second look at the host code of a unit, by another decoder and without knowledge of the templates.
 *
 * This file goes through the parts of a unit; verify_insn.c is about one instruction. It follows what registers and the
 * frame's words hold as sums of unknowns (`Expr`), so that it can prove of each access to guest memory that a check
 * before it covers it: after
 *
 *     R = address - tag of entry k;  cmp R, 4096 - size;  ja slow
 *
 * [address, address + size) lies where the addend of entry k leads, until k is checked for something else or C has run
 * an instruction. Entries are those of the micro TLB, and each look-up into the TLB makes one more. Everything else
 * that has a memory operand must be a word of the frame that code may touch. Branches lead to instructions of the unit
 * or to stubs, and slow paths ask for what was checked and come back behind the check. Only instructions of an
 * allow-list occur.
 *
 * It takes on trust: what stubs do, that C's way of running an instruction changes registers as the host's does, and
 * the distance that BT and its like go from their operand.
 *
 * Lock of the Dbt held. On in builds with sanitizers, in fuzzing and in tests. */

#include "accel/dbt/verify.h"

#include "accel/dbt/verify_insn.h"
#include "cpu/x86/encode.h"

/* --- branches --- */

static int stub_at(const Dbt *dbt, const uint8_t *to)
{
    for (unsigned i = 0; i < N_STUBS; i++) {
        if (dbt->stubs[i] == to) {
            return (int)i;
        }
    }
    return -1;
}

/* A short branch's way from there on, where the unit's end has a jump for it into the cold part. */
static const uint8_t *whole_way(const DbtUnit *u, const uint8_t *to)
{
    int32_t rel;
    if (to < u->hot || to + 5 > u->hot + u->hot_size || *to != 0xe9) {
        return to;
    }
    memcpy(&rel, to + 1, 4);
    const uint8_t *end = to + 5 + rel;
    return end >= u->cold && end < u->cold + u->cold_size ? end : to;
}

/* Where the branch at hand leads; NULL: it is none with a fixed place. */
static const uint8_t *branch_target(const DbtVerifier *v)
{
    const ZydisDecodedOperand *o = &v->op[0];
    bool branch = v->z.meta.category == ZYDIS_CATEGORY_COND_BR || v->z.meta.category == ZYDIS_CATEGORY_UNCOND_BR ||
                  v->z.meta.category == ZYDIS_CATEGORY_CALL;
    if (!branch || o->type != ZYDIS_OPERAND_TYPE_IMMEDIATE) {
        return NULL;
    }
    const uint8_t *to = v->at + v->z.length + o->imm.value.s;
    return v->z.length == 2 && v->z.meta.category == ZYDIS_CATEGORY_COND_BR ? whole_way(v->u, to) : to;
}

static bool is_masked(const DbtVerifier *v)
{
    Expr masked = expr_root(ROOT_MASKED);
    return expr_same(&v->s.reg[H_RCX], &masked);
}

static bool branch(DbtVerifier *v)
{
    const DbtUnit *u    = v->u;
    const uint8_t *to   = branch_target(v);
    bool           call = v->z.mnemonic == ZYDIS_MNEMONIC_CALL;

    if (!to) {
        return v->z.mnemonic == ZYDIS_MNEMONIC_JMP ? verify_is_frame(&v->op[0]) || verify_bad(v, "an indirect jump")
                                                   : !call || verify_bad(v, "an indirect call");
    }
    int stub = stub_at(v->dbt, to);
    if (stub >= STUB_JUMP_MISS && stub <= STUB_RET_MISS_LAST &&
        (unsigned)(stub - STUB_JUMP_MISS) % DBT_MODES != u->mode) {
        return verify_bad(v, "a branch to the stub of another mode");
    }
    if (stub >= STUB_TLB) {
        return (call && !v->cold) || verify_bad(v, "a branch to a look-up that is called");
    }
    switch (stub) {
    case STUB_JUMP_MISS ... STUB_JUMP_MISS_LAST:
    case STUB_KICK:
    case STUB_STAC:
    case STUB_CLAC:
    case STUB_PAGES: return !call || verify_bad(v, "a call of a stub that does not come back");
    case STUB_SYSCALL:
    case STUB_QUICK_SEGMENT ... STUB_QUICK_SEGMENTS_LAST:
    case STUB_QUICK_FAR:
    case STUB_SYSRET: return (call && !v->cold) || verify_bad(v, "a branch to a stub that is called from the hot part");
    case STUB_INSN: return call || verify_bad(v, "a branch to a stub that is called");
    case STUB_VECTORS: return (call && v->cold) || verify_bad(v, "vector registers loaded in the wrong place");
    case STUB_READ_MISS:
    case STUB_WRITE_MISS:
    case STUB_GROUP_READ_MISS:
    case STUB_GROUP_WRITE_MISS:
    case STUB_READ:
    case STUB_WRITE:
    case STUB_GROUP_READ:
    case STUB_GROUP_WRITE:
    case STUB_RUN_READ:
    case STUB_RUN_WRITE:
    case STUB_RUN_GROUP_READ:
    case STUB_RUN_GROUP_WRITE:
    case STUB_COUNTED:
    case STUB_LINK:
    case STUB_FAR:
    case STUB_RET_MISS ... STUB_RET_MISS_LAST:
    case STUB_CALL_MISS:
        return (call && v->cold) || verify_bad(v, "a branch to a stub that is called from the cold part");
    case -1: break;
    default: return verify_bad(v, "a branch to a stub that is C's");
    }
    bool hot  = to >= u->hot && to < u->hot + u->hot_size;
    bool cold = to >= u->cold && to < u->cold + u->cold_size;
    if (call || !(hot ? verify_begins(v->hot_at, (uint64_t)(to - u->hot))
                      : cold && verify_begins(v->cold_at, (uint64_t)(to - u->cold)))) {
        return verify_bad(v, "a branch to what is no instruction of the unit");
    }
    if (v->cold && hot && v->z.mnemonic != ZYDIS_MNEMONIC_JMP && !is_masked(v)) {
        return verify_bad(v, "a conditional branch out of the cold part");
    }
    if (!v->cold && cold && is_masked(v)) {
        v->masked_at[(to - u->cold) / 8] |= (uint8_t)(1 << (to - u->cold) % 8);
    }
    if (!v->cold && hot && to <= v->at && to != u->hot) {
        return verify_bad(v, "a branch backwards");
    }
    return true;
}

/* The description that RCX has, by the instruction before the call of a miss stub that ends at p. */
static bool site_before(const DbtUnit *u, const uint8_t *p, DbtSite *site)
{
    if (p - u->cold < 15 || p[-15] != 0x48 || p[-14] != 0xb9) {
        return false;
    }
    *site = dbt_site_of(p);
    return true;
}

static unsigned mode_of_entry(unsigned entry)
{
    return entry < DBT_MICROS ? entry / (2 * DBT_MICRO) : (entry - DBT_MICROS) / (2 * DBT_RUNS);
}

static DbtStub stub_for(const DbtSite *site, bool write, bool group)
{
    if (site->flags & SITE_RUN && !(site->flags & SITE_EXEC)) {
        return group ? (write ? STUB_RUN_GROUP_WRITE : STUB_RUN_GROUP_READ) : write ? STUB_RUN_WRITE : STUB_RUN_READ;
    }
    if (site->flags & (SITE_TLB | SITE_EXEC)) {
        return group ? (write ? STUB_GROUP_WRITE : STUB_GROUP_READ) : write ? STUB_WRITE : STUB_READ;
    }
    return group ? (write ? STUB_GROUP_WRITE_MISS : STUB_GROUP_READ_MISS) : write ? STUB_WRITE_MISS : STUB_READ_MISS;
}

/* The slow side of the check that has just ended: asks for the same, and comes back behind it, or to its begin if it
 * looks into the TLB. */
static bool slow_side(DbtVerifier *v, const uint8_t *to, const uint8_t *back)
{
    const DbtUnit *u     = v->u;
    const uint8_t *end   = u->cold + u->cold_size;
    Fact          *f     = &v->checking;
    State          saved = v->s;
    DbtSite        site;

    if (to < u->cold || to >= end) {
        return verify_bad(v, "a check whose slow side is not cold");
    }
    bool page  = v->pending == ZYDIS_MNEMONIC_JNZ;
    v->pending = 0;
    v->cold    = true;
    unsigned n = 0;
    do {
        if (!verify_decode(v, to, end) || !verify_step(v)) {
            return false;
        }
        to += v->z.length;
    } while (v->z.mnemonic != ZYDIS_MNEMONIC_CALL && ++n < 24);
    v->cold    = false;
    bool write = verify_is_write(f->k), run = v->run >= 0, tlb = f->k >= N_MICRO && !run;
    int  stub      = branch_target(v) ? stub_at(v->dbt, branch_target(v)) : -1;
    bool described = site_before(u, to, &site);
    if (described && run) { /* the way back from here has it for that size */
        f->size = MIN(f->size, X86_PAGE_SIZE - (unsigned)site.limit);
    }
    if (!described || (!tlb && site.micro != (run ? DBT_MICROS + (unsigned)v->run : f->k)) ||
        !(site.flags & SITE_RUN) != !run || (!page && site.limit != X86_PAGE_SIZE - f->size) ||
        site.limit >= X86_PAGE_SIZE || site.insn != v->insn || !(site.flags & SITE_TLB) != !tlb) {
        return verify_bad(v, "a slow side whose description is not the check's");
    }
    if (stub != (int)stub_for(&site, write, false) && stub != (int)stub_for(&site, write, true)) {
        return verify_bad(v, "a slow side without its stub");
    }
    const Expr *rax = &v->s.reg[H_RAX];
    if (page ? rax->n || rax->c - f->address.c > site.limit : !expr_same(rax, &f->address)) {
        return verify_bad(v, "a slow side for another address than the check's");
    }
    if (!verify_decode(v, to, end) || v->z.mnemonic != ZYDIS_MNEMONIC_JMP || !branch_target(v)) {
        return verify_bad(v, "a slow side that does not come back");
    }
    const uint8_t *again = branch_target(v);
    if (run) { /* behind the load of the addend */
        if (!verify_decode(v, back, u->hot + u->hot_size)) {
            return false;
        }
        back += v->z.length;
    }
    uint64_t offset = (uint64_t)(again - u->hot);
    bool     retry  = site.flags & SITE_RETRY;
    if (((tlb || page) && !retry) ||
        (retry ? again < u->hot + u->insn_host[v->insn] || again >= back || !verify_begins(v->again_at, offset)
               : again != back)) {
        return verify_bad(v, "a slow side that comes back to the wrong place");
    }
    v->s = saved;
    return true;
}

/* --- the two parts --- */

static bool find_begins(DbtVerifier *v, const uint8_t *start, uint32_t size, uint8_t *bits)
{
    memset(bits, 0, CODE_MAX / 8);
    for (uint32_t at = 0; at < size; at += v->z.length) {
        if (!verify_decode(v, start + at, start + size)) {
            return false;
        }
        bits[at / 8] |= (uint8_t)(1 << at % 8);
    }
    return true;
}

/* A branch forwards within the hot part: the state goes along. */
static bool join_later(DbtVerifier *v, uint32_t offset)
{
    for (unsigned i = 0; i < v->n_joins; i++) {
        if (v->joins[i].offset == offset) {
            verify_meet(v, &v->joins[i].state, &v->s);
            return true;
        }
    }
    if (v->n_joins == MAX_JOINS) {
        return verify_bad(v, "too many branches within the unit");
    }
    v->joins[v->n_joins++] = (Join){ .offset = offset, .state = v->s };
    return true;
}

static bool find_ways_back(DbtVerifier *v)
{
    const DbtUnit *u   = v->u;
    const uint8_t *end = u->cold + u->cold_size;

    DbtStub called = N_STUBS;
    DbtSite site   = { 0 };

    memset(v->back_at, 0, sizeof v->back_at);
    memset(v->again_at, 0, sizeof v->again_at);
    for (const uint8_t *p = u->cold; p < end; p += v->z.length) {
        if (!verify_decode(v, p, end)) {
            return false;
        }
        const uint8_t *to = branch_target(v);
        if (to && v->z.mnemonic != ZYDIS_MNEMONIC_CALL && to >= u->hot && to < u->hot + u->hot_size) {
            uint32_t offset = (uint32_t)(to - u->hot);
            v->back_at[offset / 8] |= (uint8_t)(1 << offset % 8);
            if (called == STUB_COUNTED || (dbt_stub_has_site(called) && site.flags & SITE_RETRY)) {
                v->again_at[offset / 8] |= (uint8_t)(1 << offset % 8);
            }
        }
        called = N_STUBS;
        if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL && to && site_before(u, p + v->z.length, &site)) {
            int stub = stub_at(v->dbt, to);
            called   = stub < 0 ? N_STUBS : (DbtStub)stub;
        }
    }
    return true;
}

/* A call of a look-up, which comes back to `next` when its bytes are to be had. */
static bool look_up(DbtVerifier *v, unsigned stub, const uint8_t *next)
{
    unsigned n     = stub - STUB_TLB;
    bool     write = n & (dbt_tlb_stub(0, true, false, false, false) - STUB_TLB);
    bool     group = n & (dbt_tlb_stub(0, false, true, false, false) - STUB_TLB);
    unsigned k     = N_MICRO + 2 * v->n_lookups + (write ? X86_WRITE : X86_READ);
    if (v->n_lookups++ == MAX_LOOKUPS) {
        return verify_bad(v, "too many look-ups");
    }
    bool host   = n & (dbt_tlb_stub(0, false, false, true, false) - STUB_TLB);
    Expr addend = expr_root(verify_addend_root(k)), e = v->s.reg[H_RAX];
    Fact fact = { .k = k, .size = 1u << n / DBT_TLB_KINDS, .address = e };

    const DbtLook *look = v->u->looks, *end = look + v->u->n_looks;
    while (look < end && look->host != next - v->u->hot) {
        look++;
    }
    if (look == end || look->site.insn != v->insn || look->site.limit != X86_PAGE_SIZE - fact.size ||
        mode_of_entry(look->site.micro) != v->u->mode || (look->groups != GROUPS_WIDE) != group) {
        return verify_bad(v, "a look-up that is not described");
    }
    v->s.reg[H_RAX] = host ? verify_sum(v, &e, &addend, 1) : verify_fresh(v);
    v->s.reg[H_RCX] = addend;
    return verify_learn(v, &fact);
}

/* The description behind a call of C, which is for that instruction. */
static bool c_call(DbtVerifier *v, const uint8_t *next, const uint8_t *end, unsigned insn)
{
    uint64_t want = (uint64_t)(uintptr_t)v->u | (uint64_t)insn << 56, found;
    if (end - next < 10 || next[0] != 0x48 || next[1] != 0xb9) {
        return verify_bad(v, "a call of C without its description");
    }
    memcpy(&found, next + 2, 8);
    return (found == want && insn < v->u->n && v->u->c_of[insn]) ||
           verify_bad(v, "a call of C for another instruction");
}

/* The same of a way to another page: whose exit it is. */
static bool far_call(DbtVerifier *v, const uint8_t *call, const uint8_t *next, const uint8_t *end)
{
    uint64_t found = 0;
    if (end - next >= 10 && next[0] == 0x48 && next[1] == 0xb9) {
        memcpy(&found, next + 2, 8);
    }
    unsigned       n = (unsigned)(found >> 56);
    const DbtUnit *u = (const DbtUnit *)(uintptr_t)(found << 8 >> 8);
    return (u && u == v->u && n < u->n_exits && u->exits[n].cold - dbt_writable(v->dbt) == call) ||
           verify_bad(v, "a way to another page that is no exit's");
}

static bool hot_part(DbtVerifier *v)
{
    const DbtUnit *u       = v->u;
    const uint8_t *end     = u->hot + u->hot_size;
    bool           reached = true;

    v->insn = 0;
    verify_forget_all(v);
    memset(v->masked_at, 0, sizeof v->masked_at);
    for (unsigned i = 0; i < u->n_looks; i++) { /* C comes back behind the instruction */
        unsigned behind = u->looks[i].site.insn + 1u;
        if (u->looks[i].resumes && behind < u->n) {
            v->back_at[u->insn_host[behind] / 8] |= (uint8_t)(1 << u->insn_host[behind] % 8);
        }
    }
    for (const uint8_t *p = u->hot; p < end;) {
        uint32_t offset = (uint32_t)(p - u->hot);
        for (unsigned i = 0; i < v->n_joins; i++) {
            if (v->joins[i].offset == offset) {
                v->fits = (Fits){ 0 };
                if (reached) {
                    verify_meet(v, &v->s, &v->joins[i].state);
                } else {
                    v->s = v->joins[i].state;
                }
                reached     = true;
                v->joins[i] = v->joins[--v->n_joins];
                break;
            }
        }
        if (!reached) {
            verify_forget_all(v);
        }
        while (v->insn + 1 < u->n && u->insn_host[v->insn + 1] <= offset) {
            v->insn++;
        }
        if (offset == u->insn_host[v->insn]) {
            verify_next_insn(v, offset);
        }
        if (verify_begins(v->again_at, offset)) {
            v->s.reg[H_RAX] = verify_fresh(v);
            v->s.reg[H_RCX] = verify_fresh(v);
        }
        if (!verify_decode(v, p, end) || !verify_step(v) || !branch(v)) {
            return false;
        }
        const uint8_t *next = p + v->z.length, *to = branch_target(v);
        bool           jump = v->z.mnemonic == ZYDIS_MNEMONIC_JMP;
        if (v->pending) {
            if (v->z.mnemonic == v->pending && (!slow_side(v, to, next) || !verify_learn(v, &v->checking))) {
                return false;
            }
        } else if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL && stub_at(v->dbt, to) >= STUB_TLB) {
            if (!look_up(v, (unsigned)stub_at(v->dbt, to), next)) {
                return false;
            }
        } else if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL && stub_at(v->dbt, to) >= STUB_QUICK_SEGMENT &&
                   stub_at(v->dbt, to) <= STUB_QUICK_FAR) {
            v->s.reg[H_RAX] = verify_fresh(v);
            v->s.reg[H_RCX] = verify_fresh(v);
        } else if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL) {
            if (!c_call(v, next, end, v->insn)) {
                return false;
            }
            verify_forget_all(v);
        } else if (to && to > p && to < end && !join_later(v, (uint32_t)(to - u->hot))) {
            return false;
        }
        reached = !jump;
        p       = next;
    }
    return !v->pending || verify_bad(v, "a check without its end");
}

/* What follows a call is its description as well as not. */
static bool is_constant(const DbtVerifier *v)
{
    return v->z.mnemonic == ZYDIS_MNEMONIC_MOV && v->op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

static bool cold_part(DbtVerifier *v)
{
    const DbtUnit *u   = v->u;
    const uint8_t *end = u->cold + u->cold_size;

    bool reached = false;

    v->cold = true;
    verify_forget_all(v);
    for (const uint8_t *p = u->cold; p < end; p += v->z.length) {
        if (verify_begins(v->masked_at, (uint64_t)(p - u->cold)) && !reached) {
            v->s.reg[H_RCX] = expr_root(ROOT_MASKED);
        }
        if (!verify_decode(v, p, end) || !verify_step(v) || !branch(v)) {
            return false;
        }
        if (v->z.mnemonic == ZYDIS_MNEMONIC_CALL) {
            DbtSite        site = { 0 };
            const uint8_t *next = p + v->z.length;
            int            stub = stub_at(v->dbt, branch_target(v));
            if (stub >= 0 && dbt_stub_has_site((DbtStub)stub) &&
                (!site_before(u, next, &site) || mode_of_entry(site.micro) != u->mode || site.insn >= u->n)) {
                return verify_bad(v, "a slow side with a wrong description");
            }
            if (stub == STUB_FAR && !far_call(v, p, next, end)) {
                return false;
            }
            if (stub == STUB_INSN && !c_call(v, next, end, end - next >= 10 ? next[9] : 0)) {
                return false;
            }
            verify_forget_all(v);
            reached = stub != STUB_LINK && stub != STUB_FAR && stub != STUB_CALL_MISS &&
                      (stub < STUB_RET_MISS || stub > STUB_RET_MISS_LAST);
        } else if (v->z.mnemonic == ZYDIS_MNEMONIC_JMP || v->z.mnemonic == ZYDIS_MNEMONIC_UD2) {
            reached = false;
        } else if (v->z.mnemonic != ZYDIS_MNEMONIC_NOP && !is_constant(v)) {
            reached = true;
        }
    }
    v->cold = false;
    return true;
}

/* Displacements that are patched while others run them lie in one cache line, and end a branch. */
static bool exits_and_places(DbtVerifier *v)
{
    const DbtUnit *u     = v->u;
    ptrdiff_t      delta = dbt_writable(v->dbt);

    v->at = u->hot;
    for (unsigned i = 0; i < u->n_exits; i++) {
        const DbtExit *e    = &u->exits[i];
        const uint8_t *site = e->site - delta, *cold = e->cold - delta;
        if (cold < u->cold || cold + 5 > u->cold + u->cold_size || (!e->cell && (uintptr_t)cold & 7) ||
            !verify_begins(v->cold_at, (uint64_t)(cold - u->cold))) {
            return verify_bad(v, "an exit whose cold side is in the wrong place");
        }
        uint64_t offset = (uint64_t)(site - u->hot);
        if (e->direct && ((uintptr_t)site % DBT_ALIGN > DBT_ALIGN - 4 || offset + 4 > u->hot_size ||
                          (offset + 4 < u->hot_size && !verify_begins(v->hot_at, offset + 4)))) {
            return verify_bad(v, "an exit that cannot be patched");
        }
    }
    for (unsigned i = 0; i < u->n_places; i++) {
        if (!verify_begins(v->hot_at, u->places[i].host) || u->places[i].insn >= u->n) {
            return verify_bad(v, "a place that is no instruction");
        }
    }
    return true;
}

/* What is in front of `vectors` looks at the frame's member: cmp byte [rsp + vectors], 0; jz. */
static bool loads_vectors(const DbtUnit *u)
{
    static const uint8_t look[] = { 0x80, 0x7c, 0x24, DBT_FRAME(vectors), 0 };
    G_STATIC_ASSERT(DBT_FRAME(vectors) <= INT8_MAX);
    for (unsigned jz = 2; jz <= 6; jz += 4) { /* its length */
        if (u->vectors >= sizeof look + jz && u->vectors <= u->hot_size) {
            const uint8_t *p = u->hot + u->vectors - jz, *before = p - sizeof look;
            if (memcmp(before, look, sizeof look) == 0 && (jz == 2 ? p[0] == 0x74 : p[0] == 0x0f && p[1] == 0x84)) {
                return true;
            }
        }
    }
    return false;
}

static bool verify(DbtVerifier *v, const DbtUnit *u)
{
    if (u->hot_size > CODE_MAX || u->cold_size > CODE_MAX) {
        return verify_bad(v, "more code than there can be");
    }
    if (u->vectors && !loads_vectors(u)) {
        v->at = u->hot;
        return verify_bad(v, "vector registers that nobody loads");
    }
    return find_begins(v, u->hot, u->hot_size, v->hot_at) && find_begins(v, u->cold, u->cold_size, v->cold_at) &&
           find_ways_back(v) && hot_part(v) && cold_part(v) && exits_and_places(v);
}

static void list(const DbtVerifier *v, GString *to, const char *name, const uint8_t *start, uint32_t size)
{
    ZydisFormatter formatter;
    ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
    g_string_append_printf(to, "%s:\n", name);
    for (uint32_t at = 0; at < size;) {
        ZydisDecodedInstruction z;
        ZydisDecodedOperand     op[ZYDIS_MAX_OPERAND_COUNT];
        char                    text[100];
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&v->decoder, start + at, size - at, &z, op))) {
            g_string_append_printf(to, "%s %4x  ?\n", start + at == v->at ? "->" : "  ", at);
            return;
        }
        ZydisFormatterFormatInstruction(&formatter, &z, op, z.operand_count_visible, text, sizeof text,
                                        (uint64_t)(uintptr_t)(start + at), NULL);
        g_string_append_printf(to, "%s %4x  %s\n", start + at == v->at ? "->" : "  ", at, text);
        at += z.length;
    }
}

_Noreturn static void complain(const DbtVerifier *v)
{
    const DbtUnit *u    = v->u;
    GString       *text = g_string_new(NULL);
    list(v, text, "hot", u->hot, u->hot_size);
    list(v, text, "cold", u->cold, u->cold_size);
    g_error("the translator's code for %#" G_GINT64_MODIFIER "x has %s\n%sin guest instruction %u", u->rip, v->problem,
            text->str, v->insn);
}

void dbt_verify(Dbt *dbt, const DbtUnit *u)
{
    DbtVerifier *v = dbt->verifier;
    if (!v) {
        return;
    }
    v->dbt       = dbt;
    v->u         = u;
    v->next_root = ROOT_FRESH;
    v->n_joins   = 0;
    v->n_lookups = 0;
    v->pending   = 0;
    v->run       = -1;
    v->cold      = false;
    v->problem   = NULL;
    if (!verify(v, u)) {
        complain(v);
    }
}

void dbt_set_verify(Dbt *dbt, bool on)
{
    g_mutex_lock(&dbt->lock);
    if (!on) {
        g_free(dbt->verifier);
        dbt->verifier = NULL;
    } else if (!dbt->verifier) {
        dbt->verifier = g_new0(DbtVerifier, 1);
        ZydisDecoderInit(&dbt->verifier->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    }
    g_mutex_unlock(&dbt->lock);
}
